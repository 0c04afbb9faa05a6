"""Presets around and between others: nearest by sound, samples nearby, new ones, lonely ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyrosynth.audio.descriptors import describe_features
from pyrosynth.audio.metrics import log_distance
from pyrosynth.errors import InputError
from pyrosynth.explore.axes import Array
from pyrosynth.explore.latent_space import Atlas, Place
from pyrosynth.explore.macros import heard, labels, place_name
from pyrosynth.inference.arviz import distinct_names
from pyrosynth.inference.posterior import Posterior
from pyrosynth.synths.rendering import Renderer

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from xarray import Dataset

Float = NDArray[np.float64]

CONSIDERED = 2048  # points of the prior among which gaps are looked for
QUIET_DB = 30.0  # a sound expected so far below the middle preset is no discovery
EXTREME = 0.99  # share of the presets that are at least as near to the origin as a gap


@dataclass(frozen=True, eq=False)
class Sounds:
    """Some presets with their sounds.

    Attributes:
        data: By ``preset``: ``value`` (preset, param), all parameters; ``x`` (preset, mel,
            frame), what was played, else what the model expects or the bank holds; where there
            are such, ``z`` (preset, latent), ``audio`` (preset, sample), ``lsd`` to the sound
            asked about, ``nearest``, the known preset that sounds most like it, and
            ``nearest_lsd``.
    """

    data: "Dataset"

    def __len__(self) -> int:
        """Return the number of presets."""
        return self.data.sizes["preset"]

    def plot(self) -> "Figure":
        """Draw their spectrograms."""
        from pyrosynth.explore.figures import sounds

        return sounds(self.data)

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
            rows.append(row)
        return rows


def neighbours(posterior: Posterior, sound: str | Path | ArrayLike, k: int = 8) -> Sounds:
    """Find the known presets that sound most like a sound.

    Args:
        posterior: The run.
        sound: The name of a known preset, a sound file, or features (n_mels, n_frames). A name
            comes before a file.
        k: Number of presets.

    Returns:
        The presets, nearest first, their distances in dB (see `pyrosynth.data.bank.Bank`).

    Raises:
        InputError: There are not so many presets, or the sound cannot be used.
    """
    atlas = Atlas(posterior)
    own = None
    if isinstance(sound, str) and (sound in atlas.names or not Path(sound).is_file()):
        own = atlas.preset(sound)
        x = atlas.bank.sounds([own])[0]
    elif isinstance(sound, str | Path):
        x = posterior.features(posterior.listen(sound))
    else:
        x = np.asarray(sound, np.float32)
    if not 1 <= k < len(atlas):
        raise InputError(f"{k} neighbours among {len(atlas)} presets: give 1 to {len(atlas) - 1}")
    near, lsd = (row[0] for row in atlas.bank.nearest(x[None], k + (own is not None)))
    found, lsd = near[near != own][:k], lsd[near != own][:k]
    data = _dataset(
        posterior, [atlas.names[i] for i in found], atlas.bank.values[found],
        atlas.bank.sounds(found), atlas.z[found],
    )  # fmt: skip
    data["lsd"] = ("preset", lsd.astype(np.float64))
    of = sound if isinstance(sound, str | Path) else "a sound"
    return Sounds(data.assign_attrs(of=str(of), what="neighbours"))


def around(
    posterior: Posterior,
    at: Place,
    n: int = 8,
    renderer: Renderer | None = None,
    *,
    radius: float = 0.5,
    seed: int = 0,
) -> Sounds:
    """Sample the neighbourhood of a place: presets like it, each another way.

    Args:
        posterior: The run.
        at: A known preset's name, a preset, a latent; None for the origin.
        n: Number of samples.
        renderer: From ``posterior.renderer(keep_audio=True)``; None plays nothing.
        radius: Standard deviation of each latent coordinate; that of all presets is about 1.
        seed: Of the samples.

    Returns:
        The samples; ``lsd`` is the distance to the center's sound in dB.

    Raises:
        InputError: The preset is unknown, or a number is out of range.
    """
    if n < 1 or radius <= 0:
        raise InputError(f"{n} samples within {radius}: give at least 1, and a radius above 0")
    atlas = Atlas(posterior)
    center = atlas.place(at)
    noise = np.random.default_rng(seed).standard_normal((n, len(center)), np.float32)
    z = np.concatenate([center[None], center + radius * noise])
    found = _sounds(atlas, z, renderer, [place_name(at), *(f"sample {i + 1}" for i in range(n))])
    x = found["x"].values
    found["lsd"] = ("preset", log_distance(x, x[0]))
    return Sounds(found.isel(preset=slice(1, None)).assign_attrs(
        of=place_name(at), what="neighbourhood", radius=radius
    ))  # fmt: skip


def imagine(
    posterior: Posterior, n: int = 8, renderer: Renderer | None = None, *, seed: int = 0
) -> Sounds:
    """Draw presets nobody made, but somebody might have: from the prior of the latent.

    Args:
        posterior: The run.
        n: Number of presets.
        renderer: From ``posterior.renderer(keep_audio=True)``; None plays nothing.
        seed: Of the draws.

    Returns:
        The presets, with the known preset that sounds most like each.

    Raises:
        InputError: The number is below 1.
    """
    if n < 1:
        raise InputError(f"{n} presets: give at least 1")
    atlas = Atlas(posterior)
    z = np.random.default_rng(seed).standard_normal((n, atlas.z.shape[1]), np.float32)
    found = _sounds(atlas, z, renderer, [f"imagined {i + 1}" for i in range(n)])
    return Sounds(_with_nearest(atlas, found).assign_attrs(what="imagined"))


def gaps(
    posterior: Posterior, n: int = 8, renderer: Renderer | None = None, *, seed: int = 0
) -> Sounds:
    """Find where nobody has been: plausible presets that sound unlike every known one.

    Of many draws of the prior, those are left out that the model expects to be very soft, or that
    lie farther out than the presets do. Of the rest, one after the other is taken that is
    expected to sound farthest from all known presets and from those taken before.

    Args:
        posterior: The run.
        n: Number of presets.
        renderer: From ``posterior.renderer(keep_audio=True)``; None plays nothing.
        seed: Of the draws.

    Returns:
        The presets, the loneliest first by what was played, else by what is expected.

    Raises:
        InputError: The number is out of range.
    """
    if not 1 <= n <= CONSIDERED // 8:
        raise InputError(f"{n} gaps: give 1 to {CONSIDERED // 8}")
    atlas = Atlas(posterior)
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((CONSIDERED, atlas.z.shape[1]), np.float32)
    inside = np.linalg.norm(z, axis=1) <= np.quantile(np.linalg.norm(atlas.z, axis=1), EXTREME)
    x = atlas.expected(z)
    spec = posterior.run.features
    level = describe_features(x, spec)[:, 0]
    usual = np.median(atlas.numbers[:, 0])
    keep = np.flatnonzero(inside & (level > usual - QUIET_DB))
    x = x[keep]
    lonely = atlas.bank.nearest(x)[1][:, 0].astype(np.float64)
    taken: list[int] = []
    for _ in range(min(n, len(keep))):
        taken.append(int(lonely.argmax()))
        lonely = np.minimum(lonely, log_distance(x, x[taken[-1]]))
    names = [f"gap {i + 1}" for i in range(len(taken))]
    found = _with_nearest(atlas, _sounds(atlas, z[keep[taken]], renderer, names))
    order = np.argsort(-np.nan_to_num(found["nearest_lsd"].values), kind="stable")
    return Sounds(found.isel(preset=order).assign_coords(preset=names).assign_attrs(what="gaps"))


def _with_nearest(atlas: Atlas, data: "Dataset") -> "Dataset":
    x = data["x"].values
    failed = ~np.isfinite(x).all(axis=(1, 2))
    found, lsd = atlas.bank.nearest(np.where(failed[:, None, None], 0, x))
    return data.assign(
        nearest=("preset", [atlas.names[i] for i in found[:, 0]]),
        nearest_lsd=("preset", np.where(failed, np.nan, lsd[:, 0])),
    )


def _sounds(atlas: Atlas, z: Array, renderer: Renderer | None, names: Sequence[str]) -> "Dataset":
    """Return presets at latents, played if there is a renderer."""
    values = atlas.values(z)
    if renderer is None:
        return _dataset(atlas.posterior, names, values, atlas.expected(z), z)
    rendered = renderer.render(values)
    data = _dataset(atlas.posterior, names, values, heard(rendered), z)
    data["reason"] = ("preset", rendered.reason)
    if rendered.audio is not None:
        data["audio"] = (("preset", "sample"), rendered.audio)
    return data


def _dataset(
    posterior: Posterior, names: Sequence[str], values: Float, x: Array, z: Array
) -> "Dataset":
    import xarray

    shared = labels(posterior)
    del shared["name"]
    return xarray.Dataset(
        {
            "value": (("preset", "param"), values),
            "x": (("preset", "mel", "frame"), x),
            "z": (("preset", "latent"), z),
        },
        {
            "preset": distinct_names(names),
            "param": list(posterior.run.full_space.names),
            **shared,
        },
    )
