"""Directions of the latent space that one can move along: straight ones, and those of tags."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from pyrosynth.inference.posterior import Posterior

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Line:
    """A straight axis.

    Args:
        name: Of the axis, such as ``z3`` or ``pc1``.
        origin: Where its position is 0, shape (latent_dim,).
        direction: From there to position 1, shape (latent_dim,).
    """

    name: str
    origin: Array
    direction: Array

    def position(self, z: Array) -> Array:
        """Return where latents (..., latent_dim) are along the axis, shape (...)."""
        along: Array = (z - self.origin) @ self.direction / (self.direction @ self.direction)
        return along

    def at(self, z: Array, position: ArrayLike) -> Array:
        """Move latents (..., latent_dim) to positions (...) along the axis, and nowhere else."""
        step = np.asarray(position, np.float32) - self.position(z)
        return np.asarray(z + step[..., None] * self.direction, np.float32)


@dataclass(frozen=True, eq=False)
class Curve:
    """The axis of a tag, which bends with the flow that made it.

    Args:
        name: Of the tag.
        posterior: Its run.
    """

    name: str
    posterior: Posterior

    def position(self, z: Array) -> Array:
        """Return where latents (..., latent_dim) are along the axis, shape (...)."""
        return self._axes(z)[..., self._column].cpu().numpy()

    @torch.no_grad()
    def at(self, z: Array, position: ArrayLike) -> Array:
        """Move latents (..., latent_dim) to positions (...) along the axis, and nowhere else."""
        axes = self._axes(z)
        goal = torch.as_tensor(np.asarray(position, np.float32), device=axes.device)
        axes = axes.expand(*goal.shape, axes.shape[-1]).clone()
        axes[..., self._column] = goal
        return self.posterior.variant.latent_of(axes).cpu().numpy()

    @torch.no_grad()
    def _axes(self, z: Array) -> Tensor:
        latent = torch.as_tensor(np.asarray(z, np.float32), device=self.posterior.device)
        return self.posterior.variant.axes(latent)

    @property
    def _column(self) -> int:
        return self.posterior.variant.dims.tags.index(self.name)


Axis = Line | Curve
"""A direction of the latent space with a scale; 1 is about the spread of all presets."""
