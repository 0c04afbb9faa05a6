"""The latent space of a run: where its known presets lie, and the axes along which one can move.

A place is a latent, which is what one hears, and what the sound does not tell; see
`pyrosynth.explore.places`. All is the model's own computation, a few milliseconds for a place.
Nothing is rendered but a preset that is given together with a renderer.
"""

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property, partial
from numbers import Number
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import ArrayLike

from pyrosynth.audio.descriptors import describe_features
from pyrosynth.audio.qualities import qualities
from pyrosynth.audio.sound_files import SUFFIXES
from pyrosynth.errors import InputError, counted, numbers, require_type, shown, unknown
from pyrosynth.explore.axes import Axis, LinearAxis, NamedAxis, TagAxis, principal_axes
from pyrosynth.explore.places import (
    BATCH,
    Array,
    Float,
    Place,
    drawn,
    latents,
    latents_of_sounds,
    of_sound,
    remainders,
    values_at,
)
from pyrosynth.inference.posterior import Posterior
from pyrosynth.synths.presets import Preset, distinct_names
from pyrosynth.synths.rendering import Renderer
from pyrosynth.training.torch_modes import plain_torch

log = logging.getLogger(__name__)
Location = str | Preset | Place | ArrayLike | None
"""A place: the name of a known preset, any preset, a place, a latent, or the origin."""

LISTED = 12  # names an error lists at most
HOLDS = {  # what holds presets, by an attribute of it, and how to take one
    "preset": "its preset (match.preset)",
    "presets": "one of its presets, such as near.presets()[0]",
    "place": "what its method `place` returns, such as path.place(0.5)",
}
TINY = 1e-6  # least spread of a latent dimension that the presets do not use


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
        of_sound: Whether latents are read off sounds. Else a preset determines its own.
        z: Their latents, shape (n, latent_dim).
        u: What their sounds do not tell, shape (n, n_remainder); empty unless ``of_sound``.
        spread: Standard deviation of each latent dimension among them if ``of_sound``, else 1,
            which it is about; shape (latent_dim,).
        linear_axes: The straight axes by name: ``z1``, ``z2``, … (each latent dimension),
            ``pc1``, ``pc2``, … (principal axes of the presets, the widest first). Their scale
            is the spread of the presets.
        named_axes: Those named by what they do to rendered sounds, by name; none until
            `pyrosynth.explore.naming` has found them.

    Raises:
        InputError: The variant has no latent, or the run has no bank.

    Example:
        >>> import pyrosynth as ps
        >>> space = ps.explore.LatentSpace(ps.Posterior.load("amsynth"))
        >>> pad = space.place("Warm Pad")  # doctest: +SKIP
        >>> z = space.axis("pc1").at(pad.z, 2.0)  # doctest: +SKIP
        >>> space.values(z, pad.u).shape  # doctest: +SKIP
        (41,)
    """

    def __init__(self, posterior: Posterior) -> None:
        require_type("posterior", posterior, Posterior, "Posterior.load(folder)")
        if not posterior.variant.has_latent:
            with plain_torch():
                posterior.variant.params_of(torch.zeros(1, 0))  # says what it lacks
        if posterior.bank is None:
            raise InputError("the run has no bank of presets to explore; fit it again")
        if posterior not in _COMPUTED:
            _COMPUTED[posterior] = _Computed(posterior)
        self.posterior, self._computed = posterior, _COMPUTED[posterior]
        self.in_bank, self.bank = self._computed.in_bank, self._computed.bank
        self.names, self.z, self.u = self.bank.names, self._computed.z, self._computed.u
        self.of_sound, self.spread = of_sound(posterior), self._computed.spread
        self.linear_axes = self._computed.linear_axes
        named = (NamedAxis.from_json(facts, self.dim) for facts in posterior.run.axes)
        self.named_axes = {axis.name: axis for axis in named}

    def __len__(self) -> int:
        """Return the number of presets."""
        return len(self.names)

    def __repr__(self) -> str:
        """Return one line."""
        synth = self.posterior.run.synth_spec["synth"]
        tags = f", tags {', '.join(self.tags)}" if self.tags else ""
        size = f"{counted(len(self), 'preset')}, {counted(self.dim, 'dimension')}"
        return f"<LatentSpace of {synth}: {size}{tags}>"

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

    @property
    def qualities(self) -> Float:
        """Qualities of the presets' sounds, shape (n, 13); see `pyrosynth.audio.qualities`."""
        return self._computed.qualities

    def axis(self, name: str) -> Axis:
        """Return an axis by its name.

        Raises:
            InputError: There is none (the kinds that exist are listed), or the run has no tags.
        """
        require_type("axis", name, str, "its name, such as pc1")
        if name in self.linear_axes:
            return self.linear_axes[name]
        if name in self.named_axes:
            return self.named_axes[name]
        if name in self.tags:
            return TagAxis(name, self.posterior)
        if self.tags or self.named_axes:
            raise unknown("axis", name, (*self.axis_kinds(), *self.named_axes, *self.tags))
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
        require_type("preset", name, str, "the name of a known one")
        if name in self.names:
            return self.names.index(name)
        suffixes = (*SUFFIXES, ".json", self.posterior.synth.preset_suffix)
        if (suffix := Path(name).suffix.lower()) and suffix in suffixes:
            raise InputError(_no_name_but_a_file(name))  # there or not, which clients are not told
        from difflib import get_close_matches

        near = get_close_matches(name, self.names, LISTED, 0.5) or self.names[:LISTED]
        more = f"… ({len(self)} in all)"
        raise unknown("preset", name, (*near, more) if len(near) < len(self) else near)

    def locate(self, where: Location, renderer: Renderer | None = None) -> Array:
        """Return the latent of a location, shape (latent_dim,); see `place`."""
        if where is None:
            return np.zeros(self.dim, np.float32)
        if isinstance(where, str):
            return self.z[self.index(where)]
        if isinstance(where, Place):
            return where.z
        if isinstance(where, Preset):
            values = where.array(self.posterior.run.full_space)
            if renderer is not None and self.of_sound:
                rendered = renderer.render(values[None])
                if rendered.features is not None and not rendered.failed[0]:
                    return latents_of_sounds(self.posterior, rendered.features)[0]
            return latents(self.posterior, values[None])[0]
        _require_location(where)
        z = numbers("latent", where, np.float32)
        if z.shape != (self.dim,) or not np.isfinite(z).all():
            raise InputError(
                f"a place of shape {z.shape} is not a latent of this run; give {self.dim} finite "
                "numbers, a preset, or the name of a known preset"
            )
        return z

    def place(self, where: Location, renderer: Renderer | None = None) -> Place:
        """Return the place of a location. The values of a preset are kept exactly.

        A warning tells of values that the run does not learn, and are not in what is made of it.

        Args:
            where: The name of a known preset, a preset, a place, a latent; None for the origin.
                A latent, and the origin, are taken with the most ordinary preset there.
            renderer: From ``posterior.renderer()``. With it a preset that is not known is
                rendered once, if latents are read off sounds; without, its latent is what the
                preset encoder expects.

        Raises:
            InputError: The name is unknown, the numbers are not a latent of the run, or a preset
                is given and the variant predicts no sound.
        """
        require_renderer(renderer)
        if isinstance(where, Place):
            return where
        if isinstance(where, str):
            number = self.index(where)
            return Place(self.z[number], self.u[number], self.bank.values[number])
        z = self.locate(where, renderer)
        if isinstance(where, Preset):
            values = where.array(self.posterior.run.full_space)
            self._tell_unlearnt(where.name, values)
            return self.place_of(values, z)
        values = self.values(z)
        # What remains is known beforehand: this is the preset of u = 0, up to its levels.
        return Place(z, np.zeros(self.u.shape[1]), values)

    def _tell_unlearnt(self, name: str, values: Float) -> None:
        """Say which values of a preset (n_params,) are not in what is made from it."""
        run = self.posterior.run
        usual = self.posterior.complete(self.posterior.learnt(values[None]))[0]
        learnt = set(run.space.names)
        others = [
            param
            for param, own, default in zip(run.full_space.names, values, usual, strict=True)
            if param not in learnt and own != default
        ]
        if others:
            more = f" and {counted(len(others) - 1, 'other parameter')}" if others[1:] else ""
            log.warning(
                "preset '%s' sets %s%s, which this run does not learn: what is made from it has "
                "them at their defaults, and may sound otherwise", name, others[0], more,
            )  # fmt: skip

    def place_of(self, values: Float, z: Array | None = None) -> Place:
        """Return the place of presets (..., n_params), where they are known or expected to sound.

        Args:
            values: Native values of all parameters.
            z: Their latents, shape (..., latent_dim); those expected without sounds by default.
        """
        latent = latents(self.posterior, values) if z is None else z
        return Place(latent, partial(remainders, self.posterior, values, latent), values)

    def heard(self, x: ArrayLike) -> Array:
        """Return the latents of sounds, by their features (n, n_mels, n_frames)."""
        return latents_of_sounds(self.posterior, x)

    def values(self, z: ArrayLike, u: ArrayLike | None = None) -> Float:
        """Return native values of all parameters at places, shape (..., n_params).

        Args:
            z: Latents, shape (..., latent_dim).
            u: What the sounds do not tell, shape (..., n_remainder); None for the most ordinary
                presets of these sounds.

        Raises:
            InputError: They have another shape, or are no numbers.
        """
        return values_at(self.posterior, z, u, self.u.shape[1])

    def sample(self, n: int, seed: int = 0) -> Place:
        """Draw places from the model: what people might have made, shapes (n, ...).

        Raises:
            InputError: The number or the seed is no integer, or out of range.
        """
        z, u = drawn(self.posterior, n, seed)
        return Place(z, u, self.values(z, u))

    @plain_torch()
    def expected(self, z: ArrayLike) -> Array:
        """Return the features the model expects at latents, shape (n, n_mels, n_frames).

        Args:
            z: Latents, shape (n, latent_dim).
        """
        run, variant = self.posterior.run, self.posterior.variant
        latents = run.latents(z, 2).split(BATCH)
        parts = [run.unstandardise(variant.expected_x(part)) for part in latents]
        return torch.cat(parts).cpu().numpy()


def require_renderer(renderer: Renderer | None) -> None:
    """Make sure that an argument is a renderer, or None.

    Raises:
        InputError: It is something else.
    """
    advice = "posterior.renderer(keep_audio=True), or None"
    require_type("renderer", renderer, (Renderer, type(None)), advice)


def _no_name_but_a_file(path: str) -> str:
    """Say what to do with a file that is given for the name of a known preset."""
    if Path(path).suffix.lower() in SUFFIXES:
        return (
            f"'{path}' is a sound, where the name of a known preset is asked for; --sound (in "
            "Python nearest_presets) finds the known presets near it, and infer the one behind it"
        )
    return (
        f"'{path}' is a file, where the name of a known preset is asked for; in Python "
        "Preset.load(file, synth) reads a preset, which is a place as well"
    )


def _require_location(where: Any) -> None:
    """Make sure that what is neither a name, a preset nor a place may be a latent.

    Raises:
        InputError: It is something else; the message says how a place is taken from it.
    """
    if isinstance(where, os.PathLike):
        raise InputError(_no_name_but_a_file(os.fspath(where)))
    if isinstance(where, Mapping):
        raise InputError(f"a place is {shown(where)}; make a preset of it: Preset(name, values)")
    for attribute, advice in HOLDS.items():
        if hasattr(where, attribute):
            raise InputError(f"a place is {shown(where)}; give {advice}")
    each = where if isinstance(where, list | tuple | np.ndarray) else ()
    kinds = {type(one) for one in np.ravel(np.asarray(each, dtype=object))}
    if str in kinds or np.str_ in kinds:
        raise InputError(f"a place is {shown(where)}; give one name as text, as str(names[0])")
    if Preset in kinds:
        raise InputError(f"a place is {shown(where)}; give one of them, such as presets[0]")
    if not isinstance(where, list | tuple | Number) and not hasattr(where, "__array__"):
        raise InputError(f"a place is {shown(where)}; give a preset, its name, or a latent")


class _Computed:
    """What is computed once for all latent spaces of a posterior."""

    def __init__(self, posterior: Posterior) -> None:
        bank = posterior.bank
        assert bank is not None
        self.spec, self.note = posterior.run.features, posterior.run.note
        self.in_bank = np.flatnonzero(bank.human)
        if len(self.in_bank) < 2:
            raise InputError(
                f"the run's bank has {counted(len(self.in_bank), 'human preset')}; give 2 or more"
            )
        self.bank = replace(
            bank,
            values=bank.values[self.in_bank],
            names=tuple(distinct_names(bank.names[i] for i in self.in_bank)),
            rows=bank.rows[self.in_bank],
            codes=bank.codes[self.in_bank],
            missed=bank.missed[self.in_bank],
        )
        if of_sound(posterior):
            self.z = latents_of_sounds(posterior, self.features)
        else:
            self.z = latents(posterior, self.bank.values)
        self.u = remainders(posterior, self.bank.values, self.z)
        self.spread = np.ones(self.z.shape[1], np.float32)
        if of_sound(posterior):
            self.spread = np.maximum(self.z.std(axis=0), TINY)
        dims = np.diag(self.spread)
        axes = [LinearAxis(f"z{i + 1}", np.zeros_like(row), row) for i, row in enumerate(dims)]
        self.linear_axes = {axis.name: axis for axis in [*axes, *principal_axes(self.z)]}

    @cached_property
    def features(self) -> Array:
        return self.bank.sounds(np.arange(len(self.bank)))

    @cached_property
    def descriptors(self) -> Float:
        return describe_features(self.features, self.spec)

    @cached_property
    def qualities(self) -> Float:
        return qualities(self.features, self.spec, self.note)


_COMPUTED: WeakKeyDictionary[Posterior, _Computed] = WeakKeyDictionary()
