"""The presets a run knows, laid out in its latent space, and the axes one can move along.

Everything here is the model's own computation, a few milliseconds for a point; nothing renders.
"""

from dataclasses import replace
from functools import cached_property
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from pyrosynth.audio.descriptors import describe_features
from pyrosynth.errors import InputError, unknown
from pyrosynth.explore.axes import Array, Axis, Curve, Line
from pyrosynth.inference.arviz import distinct_names
from pyrosynth.inference.posterior import Posterior
from pyrosynth.synths.presets import Preset

Place = str | Preset | ArrayLike | None
"""A place of the latent space: the name of a known preset, any preset, a latent, or the origin."""

CODED_DRAWS = 16  # a preset that does not determine its latent is at the mean of so many draws
LISTED = 12  # names an error lists at most
BLOCK = 512  # sounds encoded at once


class Atlas:
    """The human presets of a run's bank in its latent space, with principal axes.

    It is made once for each posterior, in about a second, and then costs nothing.

    Args:
        posterior: The run.

    Attributes:
        posterior: The run.
        found: Positions of the presets in ``posterior.bank``, shape (n,).
        bank: The bank of these presets only.
        names: What they are called; those of the same name get a number.
        z: Their latents, shape (n, latent_dim).
        lines: The straight axes by name: ``z1``, ``z2``, … (each latent dimension), ``pc1``,
            ``pc2``, … (principal axes of the presets, the widest first).

    Raises:
        InputError: The variant has no latent, or the run has no bank.

    Example:
        >>> import pyrosynth as ps
        >>> atlas = ps.explore.Atlas(ps.Posterior.load("run"))  # doctest: +SKIP
        >>> z = atlas.axis("pc1").at(atlas.place("Warm Pad"), 2.0)  # doctest: +SKIP
        >>> atlas.values(z).shape  # doctest: +SKIP
        (41,)
    """

    def __init__(self, posterior: Posterior) -> None:
        if not posterior.variant.has_latent:
            posterior.variant.params_of(torch.zeros(1, 0))  # says what it lacks
        if posterior.bank is None:
            raise InputError("the run has no bank of presets to explore; fit it again")
        if posterior not in _KNOWN:
            _KNOWN[posterior] = _Known(posterior)
        self.posterior, self._known = posterior, _KNOWN[posterior]
        self.found, self.bank = self._known.found, self._known.bank
        self.names, self.z, self.lines = self.bank.names, self._known.z, self._known.lines

    def __len__(self) -> int:
        """Return the number of presets."""
        return len(self.names)

    @property
    def tags(self) -> tuple[str, ...]:
        """Names of the tags that have an axis."""
        return self.posterior.variant.dims.tags

    @property
    def sounds(self) -> Array:
        """What the bank keeps of the presets' features, shape (n, n_mels, n_frames)."""
        return self._known.sounds

    @property
    def numbers(self) -> NDArray[np.float64]:
        """Descriptors of the presets, shape (n, 5); see `describe_features`."""
        return self._known.numbers

    def axis(self, name: str) -> Axis:
        """Return an axis by its name.

        Raises:
            InputError: There is none (the kinds that exist are listed), or the run has no tags.
        """
        if name in self.lines:
            return self.lines[name]
        if name in self.tags:
            return Curve(name, self.posterior)
        size = self.z.shape[1]
        kinds = [f"z1 to z{size}", f"pc1 to pc{len(self.lines) - size}"]
        if self.tags:
            raise unknown("axis", name, (*kinds, *self.tags))
        raise InputError(
            f"unknown axis '{name}'; known: {', '.join(kinds)} (this run has no tags; fit a model "
            "that reads them, such as flow_dis, for axes of tags)"
        )

    def preset(self, name: str) -> int:
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

    def place(self, where: Place) -> Array:
        """Return the latent of a place, shape (latent_dim,).

        Args:
            where: The name of a known preset, a preset, a latent; None for the origin.

        Raises:
            InputError: The name is unknown, or the numbers are not a latent of the run.
        """
        size = self.z.shape[1]
        if where is None:
            return np.zeros(size, np.float32)
        if isinstance(where, str):
            return self.z[self.preset(where)]
        if isinstance(where, Preset):
            values = where.array(self.posterior.run.full_space)
            return latents(self.posterior, values[None])[0]
        z = np.asarray(where, np.float32)
        if z.shape != (size,) or not np.isfinite(z).all():
            raise InputError(
                f"a place of shape {z.shape} is not a latent of this run; give {size} finite "
                "numbers, a preset, or the name of a known preset"
            )
        return z

    @torch.no_grad()
    def values(self, z: ArrayLike) -> NDArray[np.float64]:
        """Return native values of all parameters at latents, shape (..., n_params).

        Args:
            z: Latents, shape (..., latent_dim).
        """
        latent = torch.as_tensor(np.asarray(z, np.float32), device=self.posterior.device)
        v = self.posterior.variant.params_of(latent).cpu().numpy()
        return self.posterior.complete(self.posterior.run.space.decode(v))

    @torch.no_grad()
    def expected(self, z: ArrayLike) -> Array:
        """Return the features the model expects at latents, shape (n, n_mels, n_frames).

        Args:
            z: Latents, shape (n, latent_dim).
        """
        latent = torch.as_tensor(np.asarray(z, np.float32), device=self.posterior.device)
        run = self.posterior.run
        parts = [run.restore(self.posterior.variant.expected_x(p)) for p in latent.split(BLOCK)]
        return torch.cat(parts).cpu().numpy()


class _Known:
    """What is computed once for all atlases of a posterior."""

    def __init__(self, posterior: Posterior) -> None:
        bank = posterior.bank
        assert bank is not None
        self.spec = posterior.run.features
        self.found = np.flatnonzero(bank.human)
        if len(self.found) < 2:
            raise InputError(
                f"the bank of the run has {len(self.found)} human presets; exploring needs 2"
            )
        self.bank = replace(
            bank,
            values=bank.values[self.found],
            names=tuple(distinct_names(bank.names[i] for i in self.found)),
            rows=bank.rows[self.found],
            codes=bank.codes[self.found],
            missed=bank.missed[self.found],
        )
        if posterior.predicts:
            self.z = latents(posterior, self.bank.values)
        else:
            self.z = _coded(posterior, self.sounds)
        size = self.z.shape[1]
        center = self.z.mean(axis=0)
        _, spread, axes = np.linalg.svd(self.z - center, full_matrices=False)
        spread /= np.sqrt(len(self.z) - 1)
        # The sign is free: the largest part of each direction is made positive.
        sign = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])
        directions = axes * (sign * spread)[:, None]
        lines = [
            Line(f"z{i + 1}", np.zeros(size, np.float32), row)
            for i, row in enumerate(np.eye(size, dtype=np.float32))
        ]
        lines += [
            Line(f"pc{i + 1}", center, row.astype(np.float32))
            for i, row in enumerate(directions)
            if spread[i] > 0
        ]
        self.lines = {line.name: line for line in lines}

    @cached_property
    def sounds(self) -> Array:
        return self.bank.sounds(np.arange(len(self.bank)))

    @cached_property
    def numbers(self) -> NDArray[np.float64]:
        return describe_features(self.sounds, self.spec)


_KNOWN: WeakKeyDictionary[Posterior, _Known] = WeakKeyDictionary()


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
def _coded(posterior: Posterior, x: Array) -> Array:
    """Return the mean latents of sounds, shape (n, latent_dim)."""
    devices = [posterior.device] if posterior.device.type == "cuda" else []
    parts = []
    with torch.random.fork_rng(devices):
        torch.manual_seed(0)
        for part in torch.as_tensor(x).split(BLOCK):
            h = posterior.variant.encode(posterior.run.standardise(part.to(posterior.device)))
            parts.append(posterior.variant.posterior(h).sample((CODED_DRAWS,)).mean(0))
    return torch.cat(parts).cpu().numpy()
