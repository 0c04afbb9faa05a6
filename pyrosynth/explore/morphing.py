"""Morphs: paths from one preset to the next, through more if wanted, that sound even.

A straight line between two presets is even for the parameters, not for the ear: parameters of few
settings, such as waveforms and filter types, turn through everything that happens to lie between
two of them. A straight line in the latent space does no better if its presets are not heard. Much
is gained where each of these parameters turns once, halfway. More where the model is asked: the
method ``sound`` keeps the straight line of the gradual parameters, and lets each other one turn
where the expected sound stays smoothest. Most where some presets are rendered at each step, of
which the method ``rendered`` takes the smoothest chain (`pyrosynth.explore.chains`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyrosynth.errors import (
    MOST,
    InputError,
    checked_name,
    counted,
    integer,
    numbers,
    require_type,
)
from pyrosynth.explore.chains import smooth_chain
from pyrosynth.explore.latent_space import LatentSpace, Location
from pyrosynth.explore.places import Array, Float, Place
from pyrosynth.explore.result import Result, controls, labelled, location_name, rendered_sounds
from pyrosynth.inference.posterior import Posterior
from pyrosynth.synths.presets import distinct_names
from pyrosynth.synths.rendering import Renderer

Method = Literal["rendered", "sound", "halfway", "latent", "knobs"]
METHODS: tuple[Method, ...] = ("rendered", "sound", "halfway", "latent", "knobs")

GRID = 9  # points of a leg between which a path is straight
ROUNDS = 3  # times each parameter that turns is looked at again after the others have moved
ROUNDING = 1e-9  # how far off a path a position may be by it
STRAIGHT = 0.2  # weight of the distance from a straight line of sounds, against second differences


@dataclass(frozen=True, eq=False)
class PresetPath:
    """A path through presets that can be entered anywhere.

    Args:
        space: The latent space of the run.
        method: One of ``METHODS``.
        points: Latents and what remains, (n, latent_dim + n_remainder), if the method is
            ``latent``, else unit values of the learnt parameters (n, n_learnt); evenly spaced, of
            each leg the first and the last included.
        n_presets: Number of presets it goes through.
    """

    space: LatentSpace
    method: Method
    points: NDArray[np.floating]
    n_presets: int

    def values(self, position: ArrayLike) -> Float:
        """Return native values of all parameters on the path, in well under a millisecond.

        Args:
            position: From 0, the first preset, to ``n_presets - 1``, the last one; shape (...).

        Returns:
            Shape (..., n_params).

        Raises:
            InputError: A position is off the path, or no number.
        """
        if self.method == "latent":
            return self.place(position).values
        posterior = self.space.posterior
        unit, params = self.between(position), posterior.run.space
        if self.method != "knobs":  # those of few settings stay until the middle of two points
            nearest = np.round(self._index(position)).astype(int)
            unit = np.where(params.gradual, unit, self.points[nearest])
        return posterior.complete(params.from_unit(unit))

    @classmethod
    def through(cls, space: LatentSpace, places: Sequence[Place], method: Method) -> "PresetPath":
        """Return the straight path through places, in the latent space or in the parameters.

        Raises:
            InputError: There are no places, one is something else, or the method is unknown.
        """
        require_type("space", space, LatentSpace, "LatentSpace(posterior)")
        require_type("places", places, Sequence, "a list of what space.place returns")
        for place in places:
            require_type("one of the places", place, Place, "what space.place returns")
        if not places:
            raise InputError("a path through 0 places: give at least 1")
        checked_name("method of morphing", method, METHODS)
        points = [np.concatenate([place.z, place.u]) for place in places]
        if method != "latent":
            values = np.stack([place.values for place in places])
            points = [*space.posterior.run.space.to_unit(space.posterior.learnt(values))]
        return cls(space, method, np.stack(points), len(places))

    def place(self, position: ArrayLike) -> Place:
        """Return the place at a position, see ``values``."""
        if self.method != "latent":
            return self.space.place_of(self.values(position))
        z, u = np.split(self.between(position), [self.space.dim], axis=-1)
        latent = z.astype(np.float32)
        return Place(latent, u, self.space.values(latent, u))

    def between(self, position: ArrayLike) -> Float:
        """Return the points at positions (...) along the path, shape (..., n_coordinates)."""
        index = self._index(position)
        before = np.clip(index.astype(int), 0, max(len(self.points) - 2, 0))
        after = np.minimum(before + 1, len(self.points) - 1)
        share = (index - before)[..., None]
        return (1 - share) * self.points[before] + share * self.points[after]

    def _index(self, position: ArrayLike) -> Float:
        last = self.n_presets - 1
        given = numbers(f"positions on a path from 0 to {last}", position, np.float64)
        off = given[~((given >= -ROUNDING) & (given <= last + ROUNDING))]
        if off.size:
            raise InputError(
                f"position {off.flat[0]:g} on a path: give a number from 0, the first of its "
                f"presets, to {last}, the last"
            )
        return np.clip(given / max(last, 1), 0.0, 1.0) * (len(self.points) - 1)


def find_path(
    posterior: Posterior,
    presets: Sequence[Location],
    method: Method | None = None,
    renderer: Renderer | None = None,
    steps: int = GRID,
) -> PresetPath:
    """Find a path through presets; see `morph`."""
    space = LatentSpace(posterior)
    method = usable_method(posterior, method, rendering=renderer is not None)
    require_type(
        "presets", presets, (Sequence, np.ndarray), "a list of two or more, by their names"
    )
    if len(presets) < 2:
        raise InputError(f"a morph through {counted(len(presets), 'preset')}: give at least 2")
    places = [space.place(preset, renderer) for preset in presets]
    straight = PresetPath.through(space, places, method)
    if renderer is not None and method == "rendered":
        pairs = zip(places[:-1], places[1:], strict=True)
        legs = [smooth_chain(space, *pair, renderer, steps) for pair in pairs]
    elif method == "sound":
        ends = straight.points
        legs = [smooth_leg(posterior, *pair) for pair in zip(ends[:-1], ends[1:], strict=True)]
    else:
        return straight
    points = np.concatenate([legs[0][:1], *(leg[1:] for leg in legs)])
    return PresetPath(space, method, points, len(presets))


def usable_method(posterior: Posterior, method: Method | None, *, rendering: bool) -> Method:
    """Return a method of morphing, the default one for None.

    Args:
        posterior: The run.
        method: See `morph`.
        rendering: Whether there is a renderer.

    Raises:
        InputError: The method is unknown, or cannot be used.
    """
    if method is None:
        without: Method = "sound" if posterior.predicts else "latent"
        return "rendered" if rendering else without
    checked_name("method of morphing", method, METHODS)
    if method == "sound" and not posterior.predicts:
        raise InputError(
            f"variant '{type(posterior.variant).__name__}' does not say how a preset sounds; take "
            "--interpolation latent (method='latent'), or a variant with an invertible regression "
            "flow, such as flow_reg"
        )
    if method == "rendered" and not rendering:
        raise InputError("a morph of rendered presets needs a renderer, or take method='sound'")
    return method


def smooth_leg(posterior: Posterior, first: Float, last: Float) -> Float:
    """Let each parameter of few settings turn where the model expects the smoothest sound.

    One after the other is tried at every place, turning at once, and as on the straight line.
    What is kept has the smallest second differences of the expected features, and is not far from
    a straight line between the features at its ends.

    Args:
        posterior: A run that predicts the sound of presets.
        first: Unit values of the learnt parameters, shape (n_learnt,).
        last: Those at the other end.

    Returns:
        Unit values from one preset to the other, shape (9, n_learnt).
    """
    params = posterior.run.space
    share = np.linspace(0.0, 1.0, GRID)[:, None]
    line = (1 - share) * first + share * last
    line = np.where(params.gradual, line, params.rounded(line))

    def expected(paths: Float) -> Array:
        """Return the features on paths (n, 9, n_learnt), shape (n, 9, n_cells)."""
        values = posterior.complete(params.from_unit(paths.reshape(-1, len(params))))
        return posterior.predict(values).reshape(len(paths), GRID, -1)

    best, cost = line, float(_unevenness(expected(line[None]))[0])
    turning = np.flatnonzero(~params.gradual & (first != last))
    for _ in range(ROUNDS):
        before = cost
        for i in turning:
            turns = np.where(np.arange(GRID) < np.arange(1, GRID)[:, None], first[i], last[i])
            tried = np.repeat(best[None], GRID, axis=0)
            tried[:, :, i] = np.concatenate([turns, line[None, :, i]])
            costs = _unevenness(expected(tried))
            if costs.min() < cost:
                best, cost = tried[costs.argmin()], float(costs.min())
        if cost == before:
            break
    return best


class Morph(Result):
    """A path from preset to preset, in steps.

    Attributes:
        data: By ``position``, from 0 at the first preset to the number of the last: ``value`` and
            ``unit`` (position, param), the learnt parameters; ``expected`` (position, mel,
            frame), the sound the model expects, where it does; ``x`` and ``audio`` (position,
            sample) if it was rendered.
    """

    def plot(self, ax: NDArray[Any] | None = None) -> NDArray[Any]:
        """Draw the parameters that move, and spectrograms on the path.

        Args:
            ax: Axes to draw on, of as many panels as are returned without.

        Returns:
            The axes: of the parameters, then of the spectrograms.
        """
        from pyrosynth.explore.figures import morph

        return morph(self.data, ax)

    def sound_names(self) -> Sequence[str]:
        """Return the positions, as text."""
        return [f"{position:.2f}" for position in self.data["position"].values]

    def facts(self) -> dict[str, Any]:
        """Return the method and the parameters on the path, JSON-ready."""
        return {
            "method": self.data.attrs["method"],
            "presets": self.data["preset"].values.tolist(),
            "positions": self.data["position"].values.tolist(),
            "parameters": {
                str(name): self.data["value"].sel(param=name).values.tolist()
                for name in self.data["param"].values
            },
        }


def morph(
    posterior: Posterior,
    presets: Sequence[Location],
    renderer: Renderer | None = None,
    *,
    steps: int = 9,
    method: Method | None = None,
) -> Morph:
    """Morph from preset to preset.

    Args:
        posterior: The run.
        presets: Two or more: names of known presets, presets, or latents.
        renderer: From ``posterior.renderer(keep_audio=True)``; None renders nothing.
        steps: Number of presets on each leg, both ends included.
        method: ``knobs``, a straight line of the parameters; ``halfway``, the same, but each
            parameter of few settings turns at once, halfway; ``sound``, each turns where the model
            expects the smoothest sound; ``latent``, a straight line in the latent space;
            ``rendered``, at each step of this line one of 24 presets that are rendered, so that
            the sounds move evenly. By default ``rendered`` with a renderer, which takes seconds;
            without, ``sound`` if the variant predicts sounds, else ``latent``.

    Returns:
        The morph.

    Raises:
        InputError: A preset or the method are unknown, the variant does not say how presets
            sound, or there are fewer than two presets or steps.
    """
    steps = integer("steps", steps, 2, MOST)
    path = find_path(posterior, presets, method, renderer, steps)
    position = np.linspace(0, len(presets) - 1, (len(presets) - 1) * (steps - 1) + 1)
    values = path.values(position)
    data: dict[str, Any] = controls(posterior, values)
    if posterior.predicts:
        data["expected"] = (("position", "mel", "frame"), posterior.predict(values))
    elif path.method == "latent":
        expected = path.space.expected(path.place(position).z)
        data["expected"] = (("position", "mel", "frame"), expected)
    if renderer is not None:
        data |= rendered_sounds(renderer.render(values), "position")
    coords = {
        "position": position,
        "param": list(posterior.run.space.names),
        "preset": distinct_names(map(location_name, presets)),
    }
    return Morph(labelled(posterior, data, coords, {"method": path.method}))


def _unevenness(x: Array) -> Float:
    """Return the cost of features (..., n, n_cells) on a path, shape (...)."""
    share = np.linspace(0.0, 1.0, x.shape[-2], dtype=np.float32)[:, None]
    away = x - ((1 - share) * x[..., :1, :] + share * x[..., -1:, :])
    bends = np.diff(x, 2, axis=-2)
    costs = [np.einsum("...nc,...nc->...", d, d, dtype=np.float64) for d in (bends, away)]
    return np.asarray(costs[0] + STRAIGHT * costs[1])
