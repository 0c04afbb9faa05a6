"""Axes of the latent space: straight ones, those with a trusted name, and those of tags."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from pyrosynth.errors import InputError, RunError, numbers, reading
from pyrosynth.explore.places import Array
from pyrosynth.inference.posterior import Posterior
from pyrosynth.training.torch_modes import plain_torch


def _positions(given: ArrayLike) -> Array:
    positions: Array = numbers("positions", given, np.float32)
    if not np.isfinite(positions).all():
        raise InputError("positions that are not finite; give numbers, 0 is the axis's origin")
    return positions


@dataclass(frozen=True, eq=False)
class LinearAxis:
    """A straight axis of the latent space.

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
        latent = numbers("latents", z, np.float32)
        if latent.shape[-1:] != self.origin.shape:
            raise InputError(f"latents have shape {latent.shape}; give (..., {len(self.origin)})")
        along: Array = (latent - self.origin) @ self.direction / (self.direction @ self.direction)
        return along

    def at(self, z: Array, position: ArrayLike) -> Array:
        """Move latents (..., latent_dim) to positions (...) along the axis, and nowhere else."""
        step = _positions(position) - self.position(z)
        return np.asarray(
            numbers("latents", z, np.float32) + step[..., None] * self.direction, np.float32
        )


@dataclass(frozen=True, eq=False)
class TagAxis:
    """The axis of a tag, which bends with the flow that disentangles it from the others.

    Args:
        name: Of the tag.
        posterior: Its run.
    """

    name: str
    posterior: Posterior

    def position(self, z: Array) -> Array:
        """Return where latents (..., latent_dim) are along the axis, shape (...)."""
        return self._coordinates(z)[..., self._column].cpu().numpy()

    @plain_torch()
    def at(self, z: Array, position: ArrayLike) -> Array:
        """Move latents (..., latent_dim) to positions (...) along the axis, and nowhere else."""
        coordinates = self._coordinates(z)
        goal = torch.as_tensor(_positions(position), device=coordinates.device)
        coordinates = coordinates.expand(*goal.shape, coordinates.shape[-1]).clone()
        coordinates[..., self._column] = goal
        return self.posterior.variant.latent_of(coordinates).cpu().numpy()

    @plain_torch()
    def _coordinates(self, z: Array) -> Tensor:
        return self.posterior.variant.axes(self.posterior.run.latents(z))

    @property
    def _column(self) -> int:
        return self.posterior.variant.dims.tags.index(self.name)


@dataclass(frozen=True, eq=False)
class NamedAxis:
    """A straight axis along which a quality of rendered sounds grows.

    Args:
        line: Where it leads; it bears the name of the quality.
        less: What there is at its lower end, in a word.
        more: What there is at its upper end.
    """

    line: LinearAxis
    less: str
    more: str

    @property
    def name(self) -> str:
        """The name of the quality."""
        return self.line.name

    def position(self, z: Array) -> Array:
        """Return where latents (..., latent_dim) are along the axis, shape (...)."""
        return self.line.position(z)

    def at(self, z: Array, position: ArrayLike) -> Array:
        """Move latents (..., latent_dim) to positions (...) along the axis, and nowhere else."""
        return self.line.at(z, position)

    def to_json(self) -> dict[str, Any]:
        """Return it JSON-ready."""
        return {
            "name": self.name, "less": self.less, "more": self.more,
            "origin": self.line.origin.tolist(), "direction": self.line.direction.tolist(),
        }  # fmt: skip

    @classmethod
    def from_json(cls, facts: Mapping[str, Any], dim: int) -> "NamedAxis":
        """Make it of what `to_json` returned.

        Raises:
            RunError: It is not an axis of a latent of this size.
        """
        with reading(RunError, "an axis in the run's run.json is damaged", "name the axes again"):
            name, less, more = (str(facts[key]) for key in ("name", "less", "more"))
            ends = np.array([facts["origin"], facts["direction"]], np.float32)
            if ends.shape != (2, dim) or not np.isfinite(ends).all() or not ends[1].any():
                raise ValueError("not a direction of the latent")
            return cls(LinearAxis(name, *ends), less, more)


Axis = LinearAxis | TagAxis | NamedAxis
"""A direction of the latent space with a scale; 1 is about the spread of all presets."""


def principal_axes(z: Array) -> list[LinearAxis]:
    """Return the principal axes of latents (n, latent_dim), the widest first."""
    from sklearn.decomposition import PCA

    pca = PCA(svd_solver="full").fit(z)
    spread = np.sqrt(pca.explained_variance_)
    return [
        LinearAxis(f"pc{i + 1}", pca.mean_, (width * row).astype(np.float32))
        for i, (width, row) in enumerate(zip(spread, pca.components_, strict=True))
        if width > 0
    ]


def outermost(axis: Axis, z: Array) -> float:
    """Return how far out latents (n, latent_dim) lie on an axis; 0 if its model fails at one."""
    try:
        return float(np.abs(axis.position(z)).max())
    except InputError:
        return 0.0
