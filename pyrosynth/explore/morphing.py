"""Morphs: ways from one preset to the next, through more if wanted, that sound even.

A straight line of the knobs is even for the knobs, not for the ear: switches, such as waveforms
and filter types, turn through everything that happens to lie between two settings. A straight
line in the latent does no better, as the same switches turn on it. Much is gained where each
switch turns once, halfway. More where the model is asked: the way ``sound`` keeps the line of the
knobs that turn continuously, and lets each switch turn where the expected sound stays smoothest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyrosynth.errors import InputError, unknown
from pyrosynth.explore.axes import Array
from pyrosynth.explore.latent_space import Atlas, Place
from pyrosynth.explore.macros import heard, labels, place_name
from pyrosynth.inference.arviz import distinct_names
from pyrosynth.inference.posterior import Posterior
from pyrosynth.synths.presets import Preset
from pyrosynth.synths.rendering import Renderer

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from xarray import Dataset

Float = NDArray[np.float64]
Way = Literal["sound", "halfway", "latent", "knobs"]
WAYS: tuple[Way, ...] = ("sound", "halfway", "latent", "knobs")

GRID = 9  # points of a leg between which a way is straight
ROUNDS = 3  # times each switch is looked at again after the others have moved
STRAIGHT = (
    0.2  # weight of the distance from the straight line of sounds, against second differences
)


@dataclass(frozen=True, eq=False)
class Path:
    """A way through presets that can be entered anywhere.

    Args:
        atlas: Of the run.
        way: One of ``WAYS``.
        points: Latents (n, latent_dim) of the way ``latent``, else unit values of the learnt
            parameters (n, n_learnt); evenly spaced, of each leg the first and the last included.
        n_presets: Number of presets it goes through.
    """

    atlas: Atlas
    way: Way
    points: Float
    n_presets: int

    def values(self, position: ArrayLike) -> Float:
        """Return native values of all parameters on the way, in well under a millisecond.

        Args:
            position: From 0, the first preset, to ``n_presets - 1``, the last one; shape (...).

        Returns:
            Shape (..., n_params).
        """
        posterior = self.atlas.posterior
        if self.way == "latent":
            return self.atlas.values(self._between(position))
        unit, space = self._between(position), posterior.run.space
        if self.way != "knobs":  # switches stay until the middle between two points
            nearest = np.round(self._index(position)).astype(int)
            unit = np.where(space.discrete, self.points[nearest], unit)
        return posterior.complete(space.from_unit(unit))

    def _index(self, position: ArrayLike) -> Float:
        place = np.asarray(position, np.float64) / (self.n_presets - 1)
        return np.clip(place, 0.0, 1.0) * (len(self.points) - 1)

    def _between(self, position: ArrayLike) -> Float:
        index = self._index(position)
        before = np.minimum(index.astype(int), len(self.points) - 2)
        share = (index - before)[..., None]
        return (1 - share) * self.points[before] + share * self.points[before + 1]


def path(posterior: Posterior, presets: Sequence[Place], way: Way = "sound") -> Path:
    """Find a way through presets; see `morph`."""
    if way not in WAYS:
        raise unknown("way of morphing", way, WAYS)
    if len(presets) < 2:
        raise InputError(f"a morph through {len(presets)} presets: give at least 2")
    if way == "sound" and not posterior.predicts:
        raise InputError(
            f"variant '{type(posterior.variant).__name__}' does not say how a preset sounds; take "
            "way='latent', or a variant with an invertible regression flow, such as flow_reg"
        )
    atlas = Atlas(posterior)
    if way == "latent":
        z = np.stack([atlas.place(place) for place in presets]).astype(np.float64)
        return Path(atlas, way, z, len(presets))
    space = posterior.run.space
    values = np.stack([_values(atlas, place) for place in presets])
    ends = space.to_unit(posterior.learnt(values))
    if way == "sound":
        legs = [even(posterior, *pair) for pair in zip(ends[:-1], ends[1:], strict=True)]
        ends = np.concatenate([legs[0][:1], *(leg[1:] for leg in legs)])
    return Path(atlas, way, ends, len(presets))


def even(posterior: Posterior, first: Float, last: Float) -> Float:
    """Let each switch between two presets turn where the model expects the smoothest sound.

    One switch after the other is tried at every place, turning at once, and as on the straight
    line. What is kept has the smallest second differences of the expected features, and is not
    far from a straight line between the features at its ends.

    Args:
        posterior: A run that predicts the sound of presets.
        first: Unit values of the learnt parameters, shape (n_learnt,).
        last: Those at the other end.

    Returns:
        Unit values on the way, shape (9, n_learnt).
    """
    space = posterior.run.space
    share = np.linspace(0.0, 1.0, GRID)[:, None]
    line = (1 - share) * first + share * last
    line = np.where(space.discrete, space.to_unit(space.from_unit(line)), line)

    def expected(paths: Float) -> Array:
        """Return the features on paths (n, 9, n_learnt), shape (n, 9, n_cells)."""
        values = posterior.complete(space.from_unit(paths.reshape(-1, len(space))))
        return posterior.predict(values).reshape(len(paths), GRID, -1)

    best, cost = line, float(_unevenness(expected(line[None]))[0])
    switches = np.flatnonzero(space.discrete & (first != last))
    for _ in range(ROUNDS):
        before = cost
        for i in switches:
            turns = np.where(np.arange(GRID) < np.arange(1, GRID)[:, None], first[i], last[i])
            tried = np.repeat(best[None], GRID, axis=0)
            tried[:, :, i] = np.concatenate([turns, line[None, :, i]])
            costs = _unevenness(expected(tried))
            if costs.min() < cost:
                best, cost = tried[costs.argmin()], float(costs.min())
        if cost == before:
            break
    return best


@dataclass(frozen=True, eq=False)
class Morph:
    """A morph.

    Attributes:
        data: By ``position``, from 0 at the first preset to the number of the last: ``value`` and
            ``unit`` (position, param), the learnt parameters; ``expected`` (position, mel,
            frame), the sound the model expects, where it does; ``x`` and ``audio`` (position,
            sample) if it was played.
    """

    data: "Dataset"

    def plot(self) -> "Figure":
        """Draw the parameters that move, and spectrograms on the way."""
        from pyrosynth.explore.figures import morph

        return morph(self.data)

    def facts(self) -> dict[str, Any]:
        """Return the way and its parameters, JSON-ready."""
        return {
            "way": self.data.attrs["way"],
            "presets": self.data["preset"].values.tolist(),
            "positions": self.data["position"].values.tolist(),
            "parameters": {
                str(name): self.data["value"].sel(param=name).values.tolist()
                for name in self.data["param"].values
            },
        }


def morph(
    posterior: Posterior,
    presets: Sequence[Place],
    renderer: Renderer | None = None,
    *,
    steps: int = 9,
    way: Way = "sound",
) -> Morph:
    """Morph from preset to preset.

    Args:
        posterior: The run.
        presets: Two or more: names of known presets, presets, or latents.
        renderer: From ``posterior.renderer(keep_audio=True)``; None plays nothing.
        steps: Number of presets on each leg, both ends included.
        way: ``knobs``, a straight line of the knobs; ``halfway``, the same, but each switch
            turns at once, halfway; ``sound``, each switch turns where the model expects the
            smoothest sound; ``latent``, a straight line in the latent.

    Returns:
        The morph.

    Raises:
        InputError: A preset or the way are unknown, the variant does not say how presets sound,
            or there are fewer than two presets or steps.
    """
    import xarray

    if steps < 2:
        raise InputError(f"{steps} steps from one preset to the next: give at least 2")
    found = path(posterior, presets, way)
    position = np.linspace(0, len(presets) - 1, (len(presets) - 1) * (steps - 1) + 1)
    values = found.values(position)
    learnt = posterior.learnt(values)
    data: dict[str, Any] = {
        "value": (("position", "param"), learnt),
        "unit": (("position", "param"), posterior.run.space.to_unit(learnt)),
    }
    cells = ("position", "mel", "frame")
    if posterior.predicts:
        data["expected"] = (cells, posterior.predict(values))
    elif way == "latent":
        data["expected"] = (cells, found.atlas.expected(found._between(position)))
    if renderer is not None:
        rendered = renderer.render(values)
        data["x"] = (cells, heard(rendered))
        data["reason"] = ("position", rendered.reason)
        if rendered.audio is not None:
            data["audio"] = (("position", "sample"), rendered.audio)
    shared = labels(posterior)
    del shared["name"]
    return Morph(
        xarray.Dataset(
            data,
            {
                "position": position,
                "param": list(posterior.run.space.names),
                "preset": distinct_names(map(place_name, presets)),
                **shared,
            },
            {"way": way},
        )
    )


def _values(atlas: Atlas, place: Place) -> Float:
    """Return native values of all parameters of a place: those of a preset are kept exactly."""
    if isinstance(place, str):
        return atlas.bank.values[atlas.preset(place)]
    if isinstance(place, Preset):
        return place.array(atlas.posterior.run.full_space)
    return atlas.values(atlas.place(place))


def _unevenness(x: Array) -> Float:
    """Return the cost of features (..., n, n_cells) on a way, shape (...)."""
    share = np.linspace(0.0, 1.0, x.shape[-2], dtype=np.float32)[:, None]
    away = x - ((1 - share) * x[..., :1, :] + share * x[..., -1:, :])
    bends = np.diff(x, 2, axis=-2)
    costs = [np.einsum("...nc,...nc->...", d, d, dtype=np.float64) for d in (bends, away)]
    return np.asarray(costs[0] + STRAIGHT * costs[1])
