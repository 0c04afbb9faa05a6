"""The latent space of a run: where its known presets lie, and the axes along which one can move.

Everything here is the model's own computation, a few milliseconds for a point; nothing is
rendered.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from pyrosynth.audio.descriptors import describe_features
from pyrosynth.errors import InputError, unknown
from pyrosynth.inference.arviz import distinct_names
from pyrosynth.inference.posterior import Posterior
from pyrosynth.synths.presets import Preset

Array = NDArray[np.float32]
Float = NDArray[np.float64]
Location = str | Preset | ArrayLike | None
"""A point of the latent space: the name of a known preset, any preset, a latent, or the origin."""

LATENT_DRAWS = 16  # a preset that does not determine its latent is at the mean of so many draws
LISTED = 12  # names an error lists at most
BATCH = 512  # sounds that pass the networks at once


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
        along: Array = (z - self.origin) @ self.direction / (self.direction @ self.direction)
        return along

    def at(self, z: Array, position: ArrayLike) -> Array:
        """Move latents (..., latent_dim) to positions (...) along the axis, and nowhere else."""
        step = np.asarray(position, np.float32) - self.position(z)
        return np.asarray(z + step[..., None] * self.direction, np.float32)


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

    @torch.no_grad()
    def at(self, z: Array, position: ArrayLike) -> Array:
        """Move latents (..., latent_dim) to positions (...) along the axis, and nowhere else."""
        coordinates = self._coordinates(z)
        goal = torch.as_tensor(np.asarray(position, np.float32), device=coordinates.device)
        coordinates = coordinates.expand(*goal.shape, coordinates.shape[-1]).clone()
        coordinates[..., self._column] = goal
        return self.posterior.variant.latent_of(coordinates).cpu().numpy()

    @torch.no_grad()
    def _coordinates(self, z: Array) -> Tensor:
        latent = torch.as_tensor(np.asarray(z, np.float32), device=self.posterior.device)
        return self.posterior.variant.axes(latent)

    @property
    def _column(self) -> int:
        return self.posterior.variant.dims.tags.index(self.name)


Axis = LinearAxis | TagAxis
"""A direction of the latent space with a scale; 1 is about the spread of all presets."""


class LatentSpace:
    """The human presets of a run's bank in its latent space, with axes to move along.

    It is computed once for each posterior, in about a second, and then costs nothing.

    Args:
        posterior: The run.

    Attributes:
        posterior: The run.
        in_bank: Positions of the presets in ``posterior.bank``, shape (n,).
        bank: The bank of these presets only.
        names: What they are called; those of the same name get a number.
        z: Their latents, shape (n, latent_dim).
        linear_axes: The straight axes by name: ``z1``, ``z2``, … (each latent dimension),
            ``pc1``, ``pc2``, … (principal axes of the presets, the widest first).

    Raises:
        InputError: The variant has no latent, or the run has no bank.

    Example:
        >>> import pyrosynth as ps
        >>> space = ps.explore.LatentSpace(ps.Posterior.load("amsynth"))
        >>> z = space.axis("pc1").at(space.locate("Warm Pad"), 2.0)  # doctest: +SKIP
        >>> space.values(z).shape  # doctest: +SKIP
        (41,)
    """

    def __init__(self, posterior: Posterior) -> None:
        if not posterior.variant.has_latent:
            posterior.variant.params_of(torch.zeros(1, 0))  # says what it lacks
        if posterior.bank is None:
            raise InputError("the run has no bank of presets to explore; fit it again")
        if posterior not in _COMPUTED:
            _COMPUTED[posterior] = _Computed(posterior)
        self.posterior, self._computed = posterior, _COMPUTED[posterior]
        self.in_bank, self.bank = self._computed.in_bank, self._computed.bank
        self.names, self.z = self.bank.names, self._computed.z
        self.linear_axes = self._computed.linear_axes

    def __len__(self) -> int:
        """Return the number of presets."""
        return len(self.names)

    def __repr__(self) -> str:
        """Return one line."""
        synth = self.posterior.run.synth_spec["synth"]
        tags = f", tags {', '.join(self.tags)}" if self.tags else ""
        return f"<LatentSpace of {synth}: {len(self):,} presets, {self.dim} dimensions{tags}>"

    @property
    def dim(self) -> int:
        """Number of latent dimensions."""
        return self.z.shape[1]

    @property
    def tags(self) -> tuple[str, ...]:
        """Names of the tags that have an axis."""
        return self.posterior.variant.dims.tags

    @property
    def features(self) -> Array:
        """What the bank keeps of the presets' features, shape (n, n_mels, n_frames)."""
        return self._computed.features

    @property
    def descriptors(self) -> Float:
        """Descriptors of the presets' sounds, shape (n, 5); see `describe_features`."""
        return self._computed.descriptors

    def axis(self, name: str) -> Axis:
        """Return an axis by its name.

        Raises:
            InputError: There is none (the kinds that exist are listed), or the run has no tags.
        """
        if name in self.linear_axes:
            return self.linear_axes[name]
        if name in self.tags:
            return TagAxis(name, self.posterior)
        if self.tags:
            raise unknown("axis", name, (*self.axis_kinds(), *self.tags))
        raise InputError(
            f"unknown axis '{name}'; known: {', '.join(self.axis_kinds())} (this run has no tags; "
            "fit a model that reads them, such as flow_dis, for axes of tags)"
        )

    def axis_kinds(self) -> tuple[str, str]:
        """Return which straight axes there are, in words."""
        return f"z1 to z{self.dim}", f"pc1 to pc{len(self.linear_axes) - self.dim}"

    def index(self, name: str) -> int:
        """Return the number of a known preset by its name.

        Raises:
            InputError: There is none of that name; similar ones are listed.
        """
        if name in self.names:
            return self.names.index(name)
        from difflib import get_close_matches

        near = get_close_matches(name, self.names, LISTED, 0.5) or self.names[:LISTED]
        more = f"… ({len(self)} in all)"
        raise unknown("preset", name, (*near, more) if len(near) < len(self) else near)

    def locate(self, where: Location) -> Array:
        """Return the latent of a location, shape (latent_dim,).

        Args:
            where: The name of a known preset, a preset, a latent; None for the origin.

        Raises:
            InputError: The name is unknown, or the numbers are not a latent of the run.
        """
        if where is None:
            return np.zeros(self.dim, np.float32)
        if isinstance(where, str):
            return self.z[self.index(where)]
        if isinstance(where, Preset):
            values = where.array(self.posterior.run.full_space)
            return latents(self.posterior, values[None])[0]
        z = np.asarray(where, np.float32)
        if z.shape != (self.dim,) or not np.isfinite(z).all():
            raise InputError(
                f"a place of shape {z.shape} is not a latent of this run; give {self.dim} finite "
                "numbers, a preset, or the name of a known preset"
            )
        return z

    def values_at(self, where: Location) -> Float:
        """Return native values of all parameters at a location, shape (n_params,).

        Those of a preset are kept exactly.
        """
        if isinstance(where, str):
            return self.bank.values[self.index(where)]
        if isinstance(where, Preset):
            return where.array(self.posterior.run.full_space)
        return self.values(self.locate(where))

    @torch.no_grad()
    def values(self, z: ArrayLike) -> Float:
        """Return native values of all parameters, shape (..., n_params).

        Args:
            z: Latents, shape (..., latent_dim).
        """
        v = self.posterior.variant.params_of(self._latent(z)).cpu().numpy()
        return self.posterior.complete(self.posterior.run.space.decode(v))

    @torch.no_grad()
    def expected(self, z: ArrayLike) -> Array:
        """Return the features the model expects at latents, shape (n, n_mels, n_frames).

        Args:
            z: Latents, shape (n, latent_dim).
        """
        run, variant = self.posterior.run, self.posterior.variant
        latents = self._latent(z).split(BATCH)
        parts = [run.unstandardise(variant.expected_x(part)) for part in latents]
        return torch.cat(parts).cpu().numpy()

    def _latent(self, z: ArrayLike) -> Tensor:
        return torch.as_tensor(np.asarray(z, np.float32), device=self.posterior.device)


class _Computed:
    """What is computed once for all latent spaces of a posterior."""

    def __init__(self, posterior: Posterior) -> None:
        bank = posterior.bank
        assert bank is not None
        self.spec = posterior.run.features
        self.in_bank = np.flatnonzero(bank.human)
        if len(self.in_bank) < 2:
            raise InputError(
                f"the bank of the run has {len(self.in_bank)} human presets; exploring needs 2"
            )
        self.bank = replace(
            bank,
            values=bank.values[self.in_bank],
            names=tuple(distinct_names(bank.names[i] for i in self.in_bank)),
            rows=bank.rows[self.in_bank],
            codes=bank.codes[self.in_bank],
            missed=bank.missed[self.in_bank],
        )
        predicts = posterior.predicts
        self.z = (
            latents(posterior, self.bank.values) if predicts else _means(posterior, self.features)
        )
        dims = np.eye(self.z.shape[1], dtype=np.float32)
        axes = [LinearAxis(f"z{i + 1}", np.zeros_like(row), row) for i, row in enumerate(dims)]
        self.linear_axes = {axis.name: axis for axis in [*axes, *principal_axes(self.z)]}

    @cached_property
    def features(self) -> Array:
        return self.bank.sounds(np.arange(len(self.bank)))

    @cached_property
    def descriptors(self) -> Float:
        return describe_features(self.features, self.spec)


_COMPUTED: WeakKeyDictionary[Posterior, _Computed] = WeakKeyDictionary()


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


@torch.no_grad()
def latents(posterior: Posterior, values: ArrayLike) -> Array:
    """Return the latents that presets determine, shape (n, latent_dim).

    Args:
        posterior: The run.
        values: Native values of all parameters, shape (n, n_params).

    Raises:
        InputError: In the run's variant a preset does not determine its latent.
    """
    v = posterior.run.space.encode(posterior.learnt(values))
    z, _ = posterior.variant.latent(torch.as_tensor(v, device=posterior.device))
    return z.cpu().numpy()


@torch.no_grad()
def _means(posterior: Posterior, x: Array) -> Array:
    """Return the mean latents of sounds, shape (n, latent_dim)."""
    devices = [posterior.device] if posterior.device.type == "cuda" else []
    parts = []
    with torch.random.fork_rng(devices):
        torch.manual_seed(0)
        for part in torch.as_tensor(x).split(BATCH):
            h = posterior.variant.encode(posterior.run.standardise(part.to(posterior.device)))
            parts.append(posterior.variant.posterior(h).sample((LATENT_DRAWS,)).mean(0))
    return torch.cat(parts).cpu().numpy()
