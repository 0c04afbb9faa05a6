"""Macro-controls: one slider that moves many parameters, what it does to the sound, what it is.

A macro sweeps the coordinate of one axis, a latent dimension, a principal axis of the presets or
the axis of a tag, from one end to the other, and keeps all other coordinates of its center.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pyrosynth.audio.descriptors import NAMES, UNITS, describe
from pyrosynth.errors import InputError
from pyrosynth.explore.latent_space import Array, Atlas, Axis, Place
from pyrosynth.inference.posterior import Posterior
from pyrosynth.synths.presets import Preset
from pyrosynth.synths.rendering import Renderer, RenderResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame
    from xarray import Dataset

Float = NDArray[np.float64]

REACH = 4.0  # how far a macro goes to either side, in spreads of the presets
STEPS = 9
MOVED = 0.02  # share of its range that a control of a mapping moves at least
BAND = (0.05, 0.95)


@dataclass(frozen=True, eq=False)
class Macro:
    """A sweep along one axis.

    Attributes:
        data: ``value`` and ``unit`` (position, param), ``z`` (position, latent); ``spread``
            (param), the standard deviation of the unit values, and ``discrete`` (param);
            ``expected`` (position, mel, frame), the sound the model expects. If it was played
            also ``x`` (position, mel, frame), ``audio`` (position, sample), ``descriptor``
            (position, name) and its 5 % and 95 % among the draws of the posterior, ``low`` and
            ``high``.
    """

    data: "Dataset"

    def plot(self) -> "Figure":
        """Draw parameters, spectrograms and descriptors along the sweep."""
        from pyrosynth.explore.figures import macro

        return macro(self.data)

    def ranked(self) -> list[tuple[str, float]]:
        """Return the parameters and their spread, the strongest first."""
        spread = self.data["spread"].values
        order = np.argsort(-spread, kind="stable")
        return [(str(self.data["param"].values[i]), float(spread[i])) for i in order]

    def mapping(self) -> "DataFrame":
        """Return the knob mapping: native values of the controls that move, by position.

        ``macro`` runs from 0 to 1, as the macro of a host does, ``position`` is along the axis.
        """
        import pandas as pd

        names = [name for name, spread in self.ranked() if spread >= MOVED / 2]
        position = self.data["position"].values
        table = pd.DataFrame(self.data["value"].sel(param=names).values, columns=names)
        table.insert(0, "position", position)
        span = np.ptp(position) or 1.0
        table.insert(0, "macro", (position - position.min()) / span)
        return table

    def facts(self) -> dict[str, Any]:
        """Return what it is and its mapping, JSON-ready."""
        table = self.mapping()
        found: dict[str, Any] = {
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
            found["descriptors"] = {
                name: {
                    "unit": UNITS[name],
                    "values": plain(self.data["descriptor"].sel(name=name)),
                    "low": plain(self.data["low"].sel(name=name)),
                    "high": plain(self.data["high"].sel(name=name)),
                }
                for name in NAMES
            }
        return found


def macro(
    posterior: Posterior,
    axis: str = "pc1",
    renderer: Renderer | None = None,
    *,
    at: Place = None,
    reach: float = REACH,
    steps: int = STEPS,
    draws: int = 8,
    seed: int = 0,
) -> Macro:
    """Sweep one axis around a place.

    The bands of the descriptors say what the macro does to other presets that sound like its
    center: the same sweep is played from latents drawn from the posterior of the center's sound.

    Args:
        posterior: The run.
        axis: ``z1``, ``z2``, … for a latent dimension, ``pc1``, ``pc2``, … for a principal axis
            of the presets, or the name of a tag of the run.
        renderer: From ``posterior.renderer(keep_audio=True)``; None plays nothing.
        at: The center: a known preset's name, a preset, a latent; by default the origin.
        reach: How far to go to either side of the axis' origin, in spreads of the presets.
        steps: Number of positions.
        draws: Latents drawn for the bands; 0 for none.
        seed: Of the draws.

    Returns:
        The sweep.

    Raises:
        InputError: Axis or preset are unknown, or a number is out of range.
    """
    import xarray

    if not 0 < reach <= 10 or steps < 2 or draws < 0:
        raise InputError(
            f"reach {reach}, {steps} steps, {draws} draws: give a reach above 0 and up to 10, "
            "at least 2 steps, and no negative number of draws"
        )
    atlas = Atlas(posterior)
    line, center = atlas.axis(axis), atlas.place(at)
    position = np.linspace(-reach, reach, steps)
    z = line.at(center, position)
    values = atlas.values(z)
    unit = posterior.run.space.to_unit(posterior.learnt(values))
    data: dict[str, Any] = {
        "value": (("position", "param"), posterior.learnt(values)),
        "unit": (("position", "param"), unit),
        "z": (("position", "latent"), z),
        "spread": ("param", unit.std(axis=0)),
        "expected": (("position", "mel", "frame"), atlas.expected(z)),
    }
    if renderer is not None:
        data |= _played(atlas, line, center, position, renderer, draws, seed)
    return Macro(
        xarray.Dataset(
            data,
            {"position": position, "param": list(posterior.run.space.names), **labels(posterior)},
            {
                "axis": axis,
                "center": place_name(at),
                "center_position": float(line.position(center)),
                "synth": posterior.run.synth_spec["synth"],
            },
        )
    )


def _played(
    atlas: Atlas,
    line: Axis,
    center: Array,
    position: Float,
    renderer: Renderer,
    draws: int,
    seed: int,
) -> dict[str, Any]:
    """Play the sweep, and those of the draws of the posterior at its center."""
    spec = atlas.posterior.run.features
    rendered = renderer.render(atlas.values(np.stack([center, *line.at(center, position)])))
    if rendered.audio is None:
        raise InputError("exploring needs sounds; use posterior.renderer(keep_audio=True)")
    audio, x = rendered.audio, heard(rendered)
    described = describe(audio, spec)
    low = high = described[1:]
    if draws and not rendered.failed[0]:
        z = atlas.posterior.encode(x[0], draws, seed)
        there = np.stack([line.at(one, position) for one in z])
        others = renderer.render(atlas.values(there.reshape(-1, z.shape[-1])))
        assert others.audio is not None
        around = describe(others.audio, spec)
        around[others.failed] = np.nan
        around = around.reshape(draws, len(position), -1)
        low, high = np.nanquantile(around, BAND, axis=0)
    described[rendered.failed] = np.nan
    return {
        "x": (("position", "mel", "frame"), x[1:]),
        "audio": (("position", "sample"), audio[1:]),
        "reason": ("position", rendered.reason[1:]),
        "descriptor": (("position", "name"), described[1:]),
        "low": (("position", "name"), low),
        "high": (("position", "name"), high),
    }


def heard(rendered: RenderResult) -> Array:
    """Return the features of what was played, NaN where the synth failed.

    Raises:
        InputError: The renderer computes none.
    """
    if rendered.features is None:
        raise InputError("exploring needs features; use posterior.renderer()")
    return np.where(rendered.failed[:, None, None], np.float32(np.nan), rendered.features)


def labels(posterior: Posterior) -> dict[str, Any]:
    """Return the coordinates that sounds share."""
    spec = posterior.run.features
    frames = spec.shape(posterior.run.note.n_samples(spec.sample_rate))[1]
    return {
        "mel": ("mel", spec.centers_hz, {"units": "Hz"}),
        "frame": ("frame", np.arange(frames) * spec.hop_length / spec.sample_rate, {"units": "s"}),
        "name": list(NAMES),
    }


def place_name(where: Place) -> str:
    """Return how a place is called."""
    if where is None:
        return "origin"
    if isinstance(where, str | Preset):
        return where if isinstance(where, str) else where.name
    return "a latent"


def plain(array: Any) -> list[float | None]:
    """Return numbers JSON-ready; those that are none as None."""
    return [float(v) if np.isfinite(v) else None for v in np.ravel(array.values)]
