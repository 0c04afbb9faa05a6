"""The presets of a bank on a plane."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from pyrosynth.data.labeling import DESCRIBED
from pyrosynth.errors import InputError, unknown
from pyrosynth.explore.axes import Array
from pyrosynth.explore.latent_space import Atlas
from pyrosynth.inference.posterior import Posterior

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from xarray import Dataset

Float = NDArray[np.float64]
By = Literal["pca", "umap"]
Of = Literal["latent", "sound"]
WAYS: tuple[By, ...] = ("pca", "umap")
SPACES: tuple[Of, ...] = ("latent", "sound")

# Words in the names of presets, in lower case, and the category they speak for; the first counts.
CATEGORIES = {
    "bass": "bass(es)?|sub",
    "drum": "drums?|kick|snare|hat|hihat|tom|perc|percussion|clap|cymbal|conga",
    "bell": "bells?|glock|chimes?|vibes?|marimba|kalimba|celesta|harp|music",
    "keys": "piano|keys?|organs?|e?piano|clav|clavi|rhodes|harpsi|harpsichord|accordion",
    "pluck": "plucks?|plucked|guitar|koto|sitar|banjo|pizz",
    "brass": "brass|horns?|trumpets?|tuba|trombone",
    "wind": "flute|oboe|sax|clarinet|whistle|whistler|pipe|recorder",
    "strings": "strings?|violin|cello|viola|solina|orchestra",
    "voice": "voices?|vox|choir|vocal|aah|ooh",
    "pad": "pads?|ambient|drone|atmo|swell|space|dream|dreamy",
    "lead": "leads?|solo|synth|saw|square",
    "effect": "fx|effects?|noise|wind|laser|zap|siren|sweep|alarm|rain|thunder|storm|machine",
}
OTHER = "other"
UNITS = {
    "loudness": "dB", "brightness": "octaves above 1 Hz", "noisiness": "nats below white noise",
    "length": "s", "movement": "nats from frame to frame",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Map:
    """The human presets of a bank on a plane.

    Attributes:
        data: By ``preset``: ``x``, ``y``, ``category`` (by the words of its name), ``number``
            (preset, number) of `pyrosynth.audio.descriptors.describe_features`, and in a run with
            tags
            ``tag`` (preset, tag), its position along the axis of each.
    """

    data: "Dataset"

    def plot(self, color: str = "category") -> "Figure":
        """Draw the map.

        Args:
            color: ``category``, a number such as ``brightness``, or a tag of the run.

        Raises:
            InputError: There is nothing of that name to colour by; the known ones are listed.
        """
        from pyrosynth.explore.figures import scatter

        return scatter(self.data, color, self.colors(color))

    def colors(self, by: str = "category") -> NDArray[Any]:
        """Return what the presets are coloured by, shape (n,).

        Raises:
            InputError: There is nothing of that name; the known ones are listed.
        """
        if by == "category":
            return self.data["category"].values
        for variable, axis in (("tag", "axis"), ("number", "name")):
            if variable in self.data and by in self.data[axis].values:
                column: NDArray[Any] = self.data[variable].sel({axis: by}).values
                return column
        known = [*self.data["axis"].values] if "tag" in self.data else []
        raise unknown("colour", by, ("category", *known, *self.data["name"].values))

    def facts(self) -> dict[str, Any]:
        """Return the coordinates and what is known of each preset, JSON-ready."""
        data = self.data
        return {
            "by": data.attrs["by"],
            "of": data.attrs["of"],
            "explained": [float(share) for share in data.attrs.get("explained", ())],
            "presets": [
                {
                    "name": str(name),
                    "x": float(data["x"].values[i]),
                    "y": float(data["y"].values[i]),
                    "category": str(data["category"].values[i]),
                    **dict(zip(data["name"].values.tolist(), data["number"].values[i].tolist(),
                               strict=True)),
                }
                for i, name in enumerate(data["preset"].values)
            ],
        }  # fmt: skip


def map(posterior: Posterior, *, by: By = "pca", of: Of = "latent", seed: int = 0) -> Map:
    """Lay out the human presets of the bank on a plane.

    Args:
        posterior: The run.
        by: ``pca``, the two widest principal axes, or ``umap``, which keeps neighbours together
            (McInnes et al., 2018; needs ``pip install umap-learn``).
        of: ``latent``, where ``x`` and ``y`` of ``pca`` are positions along the axes ``pc1`` and
            ``pc2``, or ``sound``.
        seed: Of ``umap``.

    Returns:
        The map.

    Raises:
        InputError: There is no such way, or umap-learn is not installed.
    """
    import xarray

    if by not in WAYS or of not in SPACES:
        raise unknown(*(("map", by, WAYS) if by not in WAYS else ("space", of, SPACES)))
    atlas = Atlas(posterior)
    places = atlas.z if of == "latent" else atlas.bank.codes
    attrs: dict[str, Any] = {"by": by, "of": of}
    if by == "umap":
        flat = _umap(places, seed)
    else:
        away = places - places.mean(axis=0)
        u, lengths, _ = np.linalg.svd(away, full_matrices=False)
        attrs["explained"] = (lengths[:2] ** 2 / (lengths**2).sum()).tolist()
        flat = u[:, :2] * np.sqrt(len(u) - 1)
        if of == "latent":
            flat = np.stack([atlas.lines[f"pc{i}"].position(atlas.z) for i in (1, 2)], axis=1)
    data = xarray.Dataset(
        {
            "x": ("preset", flat[:, 0].astype(np.float64)),
            "y": ("preset", flat[:, 1].astype(np.float64)),
            "category": ("preset", [category(name) for name in atlas.names]),
            "number": (("preset", "name"), atlas.numbers),
        },
        {"preset": list(atlas.names), "name": [tag.name for tag in DESCRIBED]},
        attrs | {f"unit of {name}": unit for name, unit in UNITS.items()},
    )
    if atlas.tags:
        positions = np.stack([atlas.axis(tag).position(atlas.z) for tag in atlas.tags], axis=1)
        data = data.assign_coords(axis=list(atlas.tags)).assign(
            tag=(("preset", "axis"), positions)
        )
    return Map(data)


def category(name: str) -> str:
    """Return the category that the words of a preset's name speak for, else ``other``."""
    words = [w.lower() for w in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]
    for kind, pattern in CATEGORIES.items():
        if any(re.fullmatch(pattern, word) for word in words):
            return kind
    return OTHER


def _umap(places: Array, seed: int) -> Float:
    try:
        import umap
    except ImportError as error:
        raise InputError(
            "a map by umap needs the package umap-learn; pip install umap-learn, or take by='pca'"
        ) from error
    flat: Float = umap.UMAP(random_state=seed, n_jobs=1).fit_transform(places)
    return flat
