"""The presets of a bank on a plane: by the latent space, or by how they sound."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from pyrosynth.data.labeling import DESCRIBED, DESCRIBED_UNITS
from pyrosynth.errors import InputError, checked_name
from pyrosynth.explore.latent_space import LatentSpace
from pyrosynth.explore.places import Array, Float
from pyrosynth.explore.result import Result
from pyrosynth.inference.posterior import Posterior

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Method = Literal["pca", "umap"]
Of = Literal["latent", "sound"]
METHODS: tuple[Method, ...] = ("pca", "umap")
SPACES: tuple[Of, ...] = ("latent", "sound")

# Words in the names of presets, in lower case, and the category they stand for; the first counts.
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


class Projection(Result):
    """The human presets of a bank, projected onto a plane.

    Attributes:
        data: By ``preset``: ``x``, ``y``, ``category`` (by the words of its name), ``number``
            (preset, name) of `pyrosynth.audio.descriptors.describe_features`, and in a run with
            tags ``tag`` (preset, axis), its position along the axis of each.
    """

    def plot(self, color: str = "category", ax: "Axes | None" = None) -> "Axes":
        """Draw the presets as dots.

        Args:
            color: ``category``, a number such as ``brightness``, or a tag of the run that is none.
            ax: Where to draw.

        Returns:
            The axes.

        Raises:
            InputError: There is nothing of that name to colour by; the known ones are listed.
        """
        from pyrosynth.explore.figures import projection

        return projection(self.data, color, self.colors(color), ax)

    def sound_names(self) -> Sequence[str]:
        """Return nothing: a projection keeps no sounds."""
        return ()

    def colors(self, by: str = "category") -> NDArray[Any]:
        """Return what the presets are coloured by, shape (n,): a number rather than a tag.

        Raises:
            InputError: There is nothing of that name; the known ones are listed.
        """
        data = self.data
        columns = {"category": data["category"].values}
        columns |= zip(data["name"].values, data["number"].values.T, strict=True)
        for axis, tag in enumerate(data["axis"].values if "tag" in data else ()):
            columns.setdefault(tag, data["tag"].values[:, axis])
        return columns[checked_name("colour", by, columns)]

    def facts(self) -> dict[str, Any]:
        """Return the coordinates and what is known of each preset, JSON-ready."""
        data = self.data
        table = data[["x", "y", "category"]].to_dataframe()
        table[data["name"].values.tolist()] = data["number"].values
        table.insert(0, "name", table.index)
        return {
            "method": data.attrs["method"],
            "of": data.attrs["of"],
            "explained": [float(share) for share in data.attrs.get("explained", ())],
            "presets": table.to_dict("records"),
        }


def project(
    posterior: Posterior, *, method: Method = "pca", of: Of = "latent", seed: int = 0
) -> Projection:
    """Project the human presets of the bank onto a plane.

    Args:
        posterior: The run.
        method: ``pca``, the two widest principal axes, or ``umap``, which keeps neighbours
            together (McInnes et al., 2018; needs ``pip install umap-learn``).
        of: ``latent``, where ``x`` and ``y`` of ``pca`` are positions along the axes ``pc1`` and
            ``pc2`` (if latents are read off sounds, along ``z1`` and ``z2``), or ``sound``. In a
            latent of one dimension, ``y`` of ``pca`` is 0.
        seed: Of ``umap``.

    Returns:
        The projection.

    Raises:
        InputError: There is no such method, or umap-learn is not installed.
    """
    import xarray

    require_projection(method)
    checked_name("space", of, SPACES)
    space = LatentSpace(posterior)
    points = space.z if of == "latent" else space.bank.codes
    attrs: dict[str, Any] = {"method": method, "of": of}
    if method == "umap":
        plane = _umap(points, seed)
    elif of == "latent" and space.of_sound:
        plane, attrs["explained"] = first_plane(space)
    else:
        plane, attrs["explained"] = principal_plane(points)
    data = xarray.Dataset(
        {
            "x": ("preset", plane[:, 0].astype(np.float64)),
            "y": ("preset", plane[:, 1].astype(np.float64)),
            "category": ("preset", [category(name) for name in space.names]),
            "number": (("preset", "name"), space.descriptors),
        },
        {"preset": list(space.names), "name": [tag.name for tag in DESCRIBED]},
        attrs | {f"unit of {name}": unit for name, unit in DESCRIBED_UNITS.items()},
    )
    if space.tags:
        positions = np.stack([space.axis(tag).position(space.z) for tag in space.tags], axis=1)
        data = data.assign_coords(axis=list(space.tags)).assign(
            tag=(("preset", "axis"), positions)
        )
    return Projection(data)


def require_projection(method: Method) -> None:
    """Make sure that a method of projection can be used here.

    Raises:
        InputError: There is no such method, or umap-learn is not installed.
    """
    checked_name("projection", method, METHODS)
    if method == "umap":
        try:
            import umap  # noqa: F401
        except ImportError as error:
            raise InputError(
                "a projection by umap needs the package umap-learn; pip install umap-learn, or "
                "take --projection pca (method='pca')"
            ) from error


def principal_plane(points: Array) -> tuple[Float, list[float]]:
    """Project points on their two widest principal axes.

    Args:
        points: Shape (n, n_coordinates).

    Returns:
        The coordinates, in standard deviations, shape (n, 2), and the share of the variance that
        each axis explains. Of points with one coordinate the second is 0.
    """
    from sklearn.decomposition import PCA

    pca = PCA(min(2, points.shape[1]), svd_solver="full", whiten=True)
    return _flat(pca.fit_transform(points), pca.explained_variance_ratio_)


def first_plane(space: LatentSpace) -> tuple[Float, list[float]]:
    """Return the first two latent dimensions, which are the widest if they are read off sounds.

    Args:
        space: The latent space.

    Returns:
        Positions of the presets along ``z1`` and ``z2``, shape (n, 2), and the share of the
        variance that each explains. Of a latent of one dimension the second is 0.
    """
    axes = [space.axis(f"z{i + 1}") for i in range(min(2, space.dim))]
    plane = np.stack([axis.position(space.z) for axis in axes], axis=1).astype(np.float64)
    variance = space.z.var(axis=0, dtype=np.float64)
    return _flat(plane, (variance / variance.sum())[:2])


def _flat(coordinates: Float, shares: Float) -> tuple[Float, list[float]]:
    """Return a plane of one or two coordinates (n, k), and the share of the variance of each."""
    missing = 2 - coordinates.shape[1]
    return np.pad(coordinates, ((0, 0), (0, missing))), [*shares.tolist(), *[0.0] * missing]


def category(name: str) -> str:
    """Return the category that the words of a preset's name indicate, else ``other``."""
    words = [w.lower() for w in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]
    for kind, pattern in CATEGORIES.items():
        if any(re.fullmatch(pattern, word) for word in words):
            return kind
    return OTHER


def _umap(points: Array, seed: int) -> Float:
    import umap

    plane: Float = umap.UMAP(random_state=seed, n_jobs=1).fit_transform(points)
    return plane
