"""Places of the latent space: what one hears of a preset, and what its sound does not tell.

A place is a pair (z, u). The latent ``z`` is what one hears; the remainder ``u`` says which of the
presets that sound so it is. Both together are a preset, exactly. In a variant whose presets
determine their latents nothing remains, and ``u`` is empty.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyro
import torch
from numpy.typing import ArrayLike, NDArray
from pyro import poutine
from torch import Tensor

from pyrosynth.errors import MOST, InputError, checked_seed, integer, numbers, require_shapes
from pyrosynth.inference.posterior import Posterior
from pyrosynth.modeling import noise_from
from pyrosynth.modeling.distributions import apart
from pyrosynth.training.torch_modes import plain_torch

Array = NDArray[np.float32]
Float = NDArray[np.float64]

LATENT_DRAWS = 16  # the mean of a posterior that has no closed one is that of so many draws
BATCH = 512  # sounds, or draws of the model, that pass the networks at once


@dataclass(frozen=True, eq=False)
class Place:
    """A preset and its place in the latent space; or several, with leading axes.

    Attributes:
        z: The latent, what one hears, shape (latent_dim,).
        remainder: ``u``, or what computes it when it is asked for, which takes milliseconds.
        values: The preset: native values of all parameters, shape (n_params,).
    """

    z: Array
    remainder: Float | Callable[[], Float]
    values: Float

    @cached_property
    def u(self) -> Float:
        """What the sound does not tell, shape (n_remainder,)."""
        return self.remainder() if callable(self.remainder) else self.remainder

    def each(self) -> "Iterator[Place]":
        """Yield each of several."""
        for one in zip(self.z, self.u, self.values, strict=True):
            yield Place(*one)


def of_sound(posterior: Posterior) -> bool:
    """Return whether latents are read off sounds, as a preset does not determine its own."""
    return not posterior.variant.invertible


@plain_torch()
def latents_of_sounds(posterior: Posterior, x: ArrayLike) -> Array:
    """Return the mean latents of sounds, shape (n, latent_dim).

    Args:
        posterior: The run.
        x: Their features, shape (n, n_mels, n_frames), not standardised.
    """
    variant, run, parts = posterior.variant, posterior.run, []
    features = numbers("features", x, np.float32)
    require_shapes("sounds", {"features": (features, ("n", *variant.dims.x_shape))})
    with noise_from(torch.Generator(posterior.device).manual_seed(0)):
        for part in torch.as_tensor(features).split(BATCH):
            q = variant.posterior(variant.encode(run.standardise(part.to(posterior.device))))
            try:
                mean = q.mean
            except NotImplementedError:
                mean = q.sample((LATENT_DRAWS,)).mean(0)
            parts.append(mean)
    return torch.cat(parts).cpu().numpy()


@plain_torch()
def latents(posterior: Posterior, values: ArrayLike) -> Array:
    """Return the latents of presets whose sounds are not at hand, shape (n, latent_dim).

    They are what the presets determine, or what the preset encoder expects.

    Args:
        posterior: The run.
        values: Native values of all parameters, shape (n, n_params).

    Raises:
        InputError: The run's variant does not predict how a preset sounds.
    """
    return posterior.variant.encode_preset(_cube(posterior, values)).cpu().numpy()


@plain_torch()
def remainders(posterior: Posterior, values: ArrayLike, z: ArrayLike) -> Float:
    """Return what presets say beyond their latents.

    Args:
        posterior: The run.
        values: Native values of all parameters, shape (..., n_params).
        z: The latents, shape (..., latent_dim).

    Returns:
        ``u``, shape (..., n_remainder).
    """
    latent = posterior.run.latents(z)
    u = posterior.variant.remainder(_cube(posterior, values), latent)
    return u.double().cpu().numpy()


@plain_torch()
def values_at(posterior: Posterior, z: ArrayLike, u: ArrayLike | None, n_remainder: int) -> Float:
    """Return the presets at places.

    Args:
        posterior: The run.
        z: Latents, shape (..., latent_dim).
        u: What the sounds do not tell, shape (..., n_remainder); None for the most ordinary
            presets of these sounds.
        n_remainder: How many numbers that are.

    Returns:
        Native values of all parameters, shape (..., n_params).

    Raises:
        InputError: They are no finite numbers, or their shapes do not fit each other.
    """
    variant, latent = posterior.variant, posterior.run.latents(z)
    if u is None:
        v = variant.params_of(latent)
    else:
        remainder = torch.as_tensor(numbers("remainders", u, np.float64), device=posterior.device)
        given = f"remainders have shape {tuple(remainder.shape)}, latents {tuple(latent.shape)}"
        advice = "give those of the same places, such as place.z and place.u"
        if remainder.shape[-1:] != (n_remainder,):
            raise InputError(f"{given}; {advice}, of shape (..., {n_remainder})")
        try:
            latent = latent.expand(*remainder.shape[:-1], latent.shape[-1])
        except RuntimeError as error:
            raise InputError(f"{given}; {advice}") from error
        v = variant.params_at(latent, remainder)
    return posterior.complete(posterior.run.space.decode(v.cpu().numpy()))


@plain_torch()
def drawn(posterior: Posterior, n: int, seed: int) -> tuple[Array, Float]:
    """Draw places from the model, run forward.

    Args:
        posterior: The run.
        n: Number of draws.
        seed: Of the draws.

    Returns:
        Latents, shape (n, latent_dim), and what remains, shape (n, n_remainder).
    """
    variant, parts, n = posterior.variant, [], integer("n", n, 1, MOST)
    generator = torch.Generator(posterior.device).manual_seed(checked_seed(seed))
    with noise_from(generator):
        for size in np.diff([*range(0, n, BATCH), n]).tolist():
            with apart(), pyro.plate("draws", size, dim=-2):
                nodes: dict[str, Any] = poutine.trace(variant.model).get_trace().nodes
            v = nodes["v"]["value"][:, 0]
            z = nodes["z"]["value"][:, 0] if "z" in nodes else variant.latent(v)[0]
            parts.append((z, variant.remainder(v, z)))
    z, u = (torch.cat(column) for column in zip(*parts, strict=True))
    return z.cpu().numpy(), u.double().cpu().numpy()


def _cube(posterior: Posterior, values: ArrayLike) -> Tensor:
    """Return presets as points of the unit cube, shape (..., n_learnt)."""
    v = posterior.run.space.encode(posterior.learnt(values))
    return torch.as_tensor(v, device=posterior.device)
