"""Presets near others: the nearest by sound, variations, draws of the prior, and novel ones."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyrosynth.audio.descriptors import describe_features
from pyrosynth.audio.metrics import log_distance
from pyrosynth.audio.sound_files import SUFFIXES
from pyrosynth.errors import MOST, InputError, checked_seed, integer, number, numbers, shown
from pyrosynth.explore.latent_space import LatentSpace, Location, require_renderer
from pyrosynth.explore.places import Array, Float, Place
from pyrosynth.explore.result import Result, labelled, location_name, rendered_sounds
from pyrosynth.inference.hearing_words import hearing_advice, note_to_play
from pyrosynth.inference.posterior import Posterior
from pyrosynth.synths.presets import Preset, distinct_names
from pyrosynth.synths.rendering import Renderer

if TYPE_CHECKING:
    from xarray import Dataset

N_NEAREST = 8  # presets that are told, if there are as many
CANDIDATES = 2048  # draws of the prior among which novel presets are looked for
QUIET_DB = 30.0  # a sound expected so far below the middle preset is no discovery
CELLS = ("preset", "mel", "frame")
EXTREME = 0.99  # share of the presets that are at least as near to the origin as a novel one


class PresetSet(Result):
    """Some presets with their sounds.

    Attributes:
        data: By ``preset``: ``value`` (preset, param), all parameters; ``z`` (preset, latent);
            ``x`` (preset, mel, frame), what was rendered, else what the model expects or the bank
            holds; where there are such, ``audio`` (preset, sample), ``lsd`` to the sound asked
            about, ``nearest``, the known preset that sounds most like it, and ``nearest_lsd``.
            Of a sound file the attributes have ``play``, JSON of the note that plays it if that is
            not the run's, and ``advice``, as `pyrosynth.inference.outcome.Inferred` has them.
    """

    def __len__(self) -> int:
        """Return the number of presets."""
        return self.data.sizes["preset"]

    def presets(self) -> list[Preset]:
        """Return the presets."""
        params, names = self.data["param"].values.tolist(), self.data["preset"].values.tolist()
        rows = self.data["value"].values.tolist()
        return [
            Preset(name, dict(zip(params, row, strict=True)), "pyrosynth")
            for name, row in zip(names, rows, strict=True)
        ]

    def plot(self, ax: NDArray[Any] | None = None) -> NDArray[Any]:
        """Draw their spectrograms.

        Args:
            ax: Axes to draw on, one for each preset.

        Returns:
            The axes.
        """
        from pyrosynth.explore.figures import preset_set

        return preset_set(self.data, ax)

    def sound_names(self) -> Sequence[str]:
        """Return the names of the presets."""
        return self.data["preset"].values.tolist()

    @property
    def heard(self) -> dict[str, Any]:
        """What to know of the sound file asked about, JSON-ready: ``play`` and ``advice``."""
        attrs = self.data.attrs
        return {"play": json.loads(attrs.get("play", "null")), "advice": attrs.get("advice", "")}

    def facts(self) -> list[dict[str, Any]]:
        """Return one row for each preset, JSON-ready."""
        rows = []
        for i, name in enumerate(self.data["preset"].values):
            row: dict[str, Any] = {"name": str(name)}
            for key in ("lsd", "nearest_lsd"):
                if key in self.data:
                    number = float(self.data[key].values[i])
                    row[f"{key}_db"] = number if np.isfinite(number) else None
            if "nearest" in self.data:
                row["nearest"] = str(self.data["nearest"].values[i])
            if play := self.heard["play"]:
                row["play"] = play
            rows.append(row)
        return rows


def heard_words(heard: Mapping[str, Any]) -> str:
    """Say what `PresetSet.heard` holds, such as ``play A4, 3.0 s``; empty if there is nothing."""
    play = heard["play"]
    note = note_to_play(play) if play else ""
    return "; ".join(filter(None, (note, heard["advice"])))


def nearest_presets(
    posterior: Posterior, sound: str | Path | ArrayLike, k: int | None = None
) -> PresetSet:
    """Find the known presets that sound most like a sound.

    Args:
        posterior: The run.
        sound: The name of a known preset, a sound file, or features (n_mels, n_frames). A name
            comes before a file. A file is heard as `Posterior.hear` does, at any pitch; where
            there are two ways to take it, by the one that a known preset is nearer to.
        k: Number of presets; by default 8, or all if there are fewer.

    Returns:
        The presets, nearest first, their distances in dB (see `pyrosynth.data.bank.Bank`).

    Raises:
        InputError: There are not so many presets, or the sound cannot be used.
    """
    space = LatentSpace(posterior)
    own, heard, most = None, {}, len(space)
    named = isinstance(sound, str) and Path(sound).suffix.lower() not in SUFFIXES
    if isinstance(sound, str) and (sound in space.names or (named and not os.path.isfile(sound))):
        own, most = space.index(sound), most - 1
    elif isinstance(sound, str | Path):
        ways = posterior.hear(sound)
        read = np.stack([posterior.features(way.audio) for way in ways])
        chosen = int(space.bank.nearest(read)[1][:, 0].argmin())
        x, way = read[chosen], ways[chosen]
        heard = {"play": json.dumps(way.play), "advice": hearing_advice(way, None)}
    elif isinstance(sound, list | tuple) or hasattr(sound, "__array__"):
        x = numbers("features", sound, np.float32)
    else:
        raise InputError(
            f"a sound is {shown(sound)}; give a known preset's name, a sound file, or features"
        )
    k = min(N_NEAREST, most) if k is None else integer("k", k, 1, most)
    if own is None:
        near, lsd = (row[0] for row in space.bank.nearest(x[None], k))
    else:
        near, lsd = space.bank.neighbors(own, k)
    data = _dataset(
        posterior, [space.names[i] for i in near], space.bank.values[near], space.z[near],
        {"x": (CELLS, space.bank.sounds(near))},
    )  # fmt: skip
    data["lsd"] = ("preset", lsd.astype(np.float64))
    of = sound if isinstance(sound, str | Path) else "a sound"
    return PresetSet(data.assign_attrs(of=str(of), what="nearest presets", **heard))


def sample_around(
    posterior: Posterior,
    at: Location,
    n: int = 8,
    renderer: Renderer | None = None,
    *,
    radius: float = 0.5,
    seed: int = 0,
) -> PresetSet:
    """Draw variations of a preset: by small random steps in the latent space.

    Args:
        posterior: The run.
        at: The center: a known preset's name, a preset, a latent; None for the origin.
        n: Number of variations.
        renderer: From ``posterior.renderer(keep_audio=True)``; None renders nothing.
        radius: Standard deviation of each latent coordinate, in that of all presets.
        seed: Of the samples.

    Returns:
        The variations; ``lsd`` is the distance to the center's sound in dB.

    Raises:
        InputError: The preset is unknown, or a number is out of range.
    """
    n, seed = integer("n", n, 1, MOST), checked_seed(seed)
    radius = number("radius", radius)
    if radius <= 0:
        raise InputError(f"radius {radius}: give a number above 0")
    space = LatentSpace(posterior)
    center = space.place(at, renderer)
    noise = np.random.default_rng(seed).standard_normal((n, space.dim), np.float32)
    z = center.z + radius * space.spread * noise
    u = np.repeat(center.u[None], n, axis=0)
    places = Place(
        np.concatenate([center.z[None], z]),
        np.concatenate([center.u[None], u]),
        np.concatenate([center.values[None], space.values(z, u)]),
    )
    names = [location_name(at), *(f"variation {i + 1}" for i in range(n))]
    data = _presets(space, places, renderer, names)
    x = data["x"].values
    data["lsd"] = ("preset", log_distance(x, x[0]))
    attrs = {"of": names[0], "what": "variations", "radius": radius}
    return PresetSet(data.isel(preset=slice(1, None)).assign_attrs(attrs))


def sample_prior(
    posterior: Posterior, n: int = 8, renderer: Renderer | None = None, *, seed: int = 0
) -> PresetSet:
    """Draw new presets from the model, such as people might have made.

    Args:
        posterior: The run.
        n: Number of presets.
        renderer: From ``posterior.renderer(keep_audio=True)``; None renders nothing.
        seed: Of the draws.

    Returns:
        The presets, with the known preset that sounds most like each.

    Raises:
        InputError: The number is below 1.
    """
    n = integer("n", n, 1, MOST)
    space = LatentSpace(posterior)
    places = space.sample(n, seed)
    data = _presets(space, places, renderer, [f"prior sample {i + 1}" for i in range(n)])
    return PresetSet(_with_nearest(space, data).assign_attrs(what="prior samples"))


def novel_presets(
    posterior: Posterior, n: int = 8, renderer: Renderer | None = None, *, seed: int = 0
) -> PresetSet:
    """Find plausible presets that sound unlike every known one.

    Of many draws of the prior, those are left out that the model expects to be very soft, or that
    lie farther out than the presets do. Of the rest, one after the other is taken that is
    expected to sound farthest from all known presets and from those taken before.

    Args:
        posterior: The run.
        n: Number of presets.
        renderer: From ``posterior.renderer(keep_audio=True)``; None renders nothing.
        seed: Of the draws.

    Returns:
        The presets, the most novel first by what was rendered, else by what is expected.

    Raises:
        InputError: The number is out of range, or the model expects no draw to be loud enough.
    """
    n = integer("n", n, 1, CANDIDATES // 8)
    space = LatentSpace(posterior)
    drawn = space.sample(CANDIDATES, seed)
    far = np.quantile(np.linalg.norm(space.z, axis=1), EXTREME)
    inside = np.linalg.norm(drawn.z, axis=1) <= far
    x = space.expected(drawn.z)
    level = describe_features(x, posterior.run.features)[:, 0]
    keep = np.flatnonzero(inside & (level > np.median(space.descriptors[:, 0]) - QUIET_DB))
    if not len(keep):
        raise InputError(
            f"the model expects each of {CANDIDATES} presets drawn from the prior to be too soft, "
            "as after a fit of a few steps; fit longer, or take sample_prior"
        )
    x = x[keep]
    novelty = space.bank.nearest(x)[1][:, 0].astype(np.float64)
    taken: list[int] = []
    for _ in range(min(n, len(keep))):
        taken.append(int(novelty.argmax()))
        novelty = np.minimum(novelty, log_distance(x, x[taken[-1]]))
    names = [f"novel {i + 1}" for i in range(len(taken))]
    chosen = keep[taken]
    places = Place(drawn.z[chosen], drawn.u[chosen], drawn.values[chosen])
    data = _with_nearest(space, _presets(space, places, renderer, names))
    order = np.argsort(-np.nan_to_num(data["nearest_lsd"].values), kind="stable")
    data = data.isel(preset=order).assign_coords(preset=names)
    return PresetSet(data.assign_attrs(what="novel presets"))


def _with_nearest(space: LatentSpace, data: "Dataset") -> "Dataset":
    """Add the known preset that sounds most like each, and its distance in dB."""
    x = data["x"].values
    failed = ~np.isfinite(x).all(axis=(1, 2))
    nearest, lsd = space.bank.nearest(np.where(failed[:, None, None], 0, x))
    return data.assign(
        nearest=("preset", [space.names[i] for i in nearest[:, 0]]),
        nearest_lsd=("preset", np.where(failed, np.nan, lsd[:, 0])),
    )


def _presets(
    space: LatentSpace, places: Place, renderer: Renderer | None, names: Sequence[str]
) -> "Dataset":
    """Return the presets at places (n, ...), rendered if there is a renderer."""
    require_renderer(renderer)
    if renderer is None:
        sounds: dict[str, Any] = {"x": (CELLS, space.expected(places.z))}
    else:
        sounds = rendered_sounds(renderer.render(places.values), "preset")
    return _dataset(space.posterior, names, places.values, places.z, sounds)


def _dataset(
    posterior: Posterior, names: Sequence[str], values: Float, z: Array, sounds: dict[str, Any]
) -> "Dataset":
    variables = {"value": (("preset", "param"), values), "z": (("preset", "latent"), z), **sounds}
    params = list(posterior.run.full_space.names)
    return labelled(posterior, variables, {"preset": distinct_names(names), "param": params})
