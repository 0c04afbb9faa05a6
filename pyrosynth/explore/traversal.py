"""Traversals: an axis swept from end to end, the parameters it moves, and how that sounds.

A traversal changes the coordinate of one axis, a latent dimension, a principal axis of the
presets or the axis of a tag, and keeps all other coordinates of its center. As a table of
parameter values it serves a macro knob of a host, which turns many parameters at once.
"""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pyrosynth.audio.descriptors import NAMES, UNITS, describe
from pyrosynth.errors import MOST, InputError, checked_seed, integer, number
from pyrosynth.explore.axes import Axis
from pyrosynth.explore.latent_space import LatentSpace, Location
from pyrosynth.explore.places import Array, Float, Place
from pyrosynth.explore.result import (
    Result,
    controls,
    json_numbers,
    labelled,
    location_name,
    rendered_sounds,
    signed,
)
from pyrosynth.explore.steering import move
from pyrosynth.inference.posterior import Posterior
from pyrosynth.synths.presets import own_columns
from pyrosynth.synths.rendering import Renderer

if TYPE_CHECKING:
    from pandas import DataFrame

REACH = 4.0  # how far a traversal goes to either side, in spreads of the presets
FURTHEST = 10.0  # that it may go
STEPS = 9
MOVED = 0.02  # share of its range that a parameter of a mapping moves at least
BAND = (0.05, 0.95)


class Traversal(Result):
    """An axis, swept.

    Attributes:
        data: ``value``, ``unit`` and ``setting`` (position, param), the last as people read it;
            ``label`` and ``gradual`` (param); ``z`` (position, latent); ``spread`` (param), the
            standard deviation of the unit values; ``expected`` (position, mel,
            frame), the sound the model expects. If it was rendered also ``x`` (position, mel,
            frame), ``audio`` (position, sample), ``descriptor`` (position, name) and its 5 % and
            95 % among the draws of the posterior, ``low`` and ``high``.
    """

    def plot(self, ax: NDArray[Any] | None = None) -> NDArray[Any]:
        """Draw parameters, spectrograms and descriptors along the axis.

        Args:
            ax: Axes to draw on, of as many panels as are returned without.

        Returns:
            The axes: of the parameters, the spectrograms, the descriptors.
        """
        from pyrosynth.explore.figures import traversal

        return traversal(self.data, ax)

    def sound_names(self) -> Sequence[str]:
        """Return the positions, as text."""
        return [signed(position) for position in self.data["position"].values]

    def ranked(self) -> list[tuple[str, float]]:
        """Return the parameters and their spread, the strongest first."""
        spread = self.data["spread"].values
        order = np.argsort(-spread, kind="stable")
        return [(str(self.data["param"].values[i]), float(spread[i])) for i in order]

    def mapping(self) -> "DataFrame":
        """Return a table for a macro knob: native values of the parameters that move.

        ``macro``, the first column, runs from 0 to 1, as the macro of a host does; ``position``,
        the second, is along the axis. They are called ``macro (2)`` and ``position (2)`` where a
        parameter has that name.
        """
        import pandas as pd

        names = [name for name, spread in self.ranked() if spread >= MOVED / 2]
        position = self.data["position"].values
        share = (position - position.min()) / (np.ptp(position) or 1.0)
        own = own_columns(self.data["param"].values.tolist(), ["macro", "position"])
        moved = self.data["value"].sel(param=names).values
        return pd.DataFrame(np.column_stack([share, position, moved]), columns=[*own, *names])

    def facts(self) -> dict[str, Any]:
        """Return what it is and its mapping, JSON-ready."""
        table = self.mapping()
        facts: dict[str, Any] = {
            "axis": self.data.attrs["axis"],
            "center": self.data.attrs["center"],
            "parameters": [
                {
                    "name": name,
                    "spread": spread,
                    "values": table[name].tolist() if name in table else None,
                }
                for name, spread in self.ranked()
            ],
            "positions": self.data["position"].values.tolist(),
        }
        if "descriptor" in self.data:
            facts["descriptors"] = {
                name: {
                    "unit": UNITS[name],
                    "values": json_numbers(self.data["descriptor"].sel(name=name)),
                    "low": json_numbers(self.data["low"].sel(name=name)),
                    "high": json_numbers(self.data["high"].sel(name=name)),
                }
                for name in NAMES
            }
        return facts


def traverse(
    posterior: Posterior,
    axis: str = "pc1",
    renderer: Renderer | None = None,
    *,
    at: Location = None,
    reach: float = REACH,
    steps: int = STEPS,
    draws: int = 8,
    seed: int = 0,
) -> Traversal:
    """Move along one axis, and keep all other coordinates of a center.

    The bands of the descriptors say what the axis does to other presets that sound like the
    center: the same sweep is rendered from latents drawn from the posterior of its sound.

    Args:
        posterior: The run.
        axis: ``z1``, ``z2``, … for a latent dimension, ``pc1``, ``pc2``, … for a principal axis
            of the presets, or the name of a tag of the run.
        renderer: From ``posterior.renderer(keep_audio=True)``; None renders nothing.
        at: The center: a known preset's name, a preset, a latent; by default the origin.
        reach: How far to go to either side of the axis' origin, in spreads of the presets.
        steps: Number of positions.
        draws: Latents drawn for the bands; 0 for none.
        seed: Of the draws.

    Returns:
        The traversal.

    Raises:
        InputError: Axis or preset are unknown, or a number is out of range.
    """
    reach = number("reach", reach)
    if not 0 < reach <= FURTHEST:
        raise InputError(f"reach {reach}: give a reach above 0 and up to {FURTHEST:g}")
    steps, draws = integer("steps", steps, 2, MOST), integer("draws", draws, 0, MOST)
    seed = checked_seed(seed)
    space = LatentSpace(posterior)
    line, center = space.axis(axis), space.place(at, renderer)
    position = np.linspace(-reach, reach, steps)
    z = line.at(center.z, position)
    values = np.stack([move(space, center, goal, renderer).place.values for goal in z])
    data: dict[str, Any] = controls(posterior, values)
    data |= {
        "z": (("position", "latent"), z),
        "spread": ("param", data["unit"][1].std(axis=0)),
        "expected": (("position", "mel", "frame"), space.expected(z)),
    }
    coords: dict[str, Any] = {"position": position, "param": list(posterior.run.space.names)}
    if renderer is not None:
        data |= _rendered(space, line, center, position, values, renderer, draws, seed)
        coords["name"] = list(NAMES)
    attrs = {
        "axis": axis,
        "center": location_name(at),
        "center_position": float(line.position(center.z)),
        "synth": posterior.run.synth_spec["synth"],
    }
    return Traversal(labelled(posterior, data, coords, attrs))


def _rendered(
    space: LatentSpace,
    line: Axis,
    center: Place,
    position: Float,
    values: Float,
    renderer: Renderer,
    draws: int,
    seed: int,
) -> dict[str, Any]:
    """Render the sweep, and those of the draws of the posterior at its center."""
    spec = space.posterior.run.features
    rendered = renderer.render(np.concatenate([center.values[None], values]))
    if rendered.audio is None:
        raise InputError("exploring needs sounds; use posterior.renderer(keep_audio=True)")
    sounds = rendered_sounds(rendered, "position")
    descriptors = describe(rendered.audio, spec)
    low = high = descriptors[1:]
    if draws and not rendered.failed[0]:
        others = renderer.render(
            _around(space, line, center, position, sounds["x"][1][0], draws, seed)
        )
        assert others.audio is not None
        around = describe(others.audio, spec)
        around[others.failed] = np.nan
        with warnings.catch_warnings():  # a position at which every draw failed has no interval
            warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
            low, high = np.nanquantile(around.reshape(draws, len(position), -1), BAND, axis=0)
    descriptors[rendered.failed] = np.nan
    return {
        **{key: (dims, array[1:]) for key, (dims, array) in sounds.items()},
        "descriptor": (("position", "name"), descriptors[1:]),
        "low": (("position", "name"), low),
        "high": (("position", "name"), high),
    }


def _around(
    space: LatentSpace, line: Axis, center: Place, position: Float, x: Array, draws: int, seed: int
) -> Float:
    """Return the same sweep from other presets that sound like its center, (n, n_params)."""
    if space.of_sound and space.posterior.predicts:
        values = space.posterior.sample(x, draws, seed).values
        others = space.place_of(values, np.repeat(center.z[None], draws, axis=0))
    else:
        z, u = space.posterior.encode(x, draws, seed), np.empty((draws, 0))
        others = Place(z, u, space.values(z, u))
    moved = [
        move(space, other, goal).place.values
        for other in others.each()
        for goal in line.at(other.z, position)
    ]
    return np.stack(moved)
