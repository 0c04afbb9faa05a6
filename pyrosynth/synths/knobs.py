"""The controls of a synth as people read them: parts of the synth, names within them, values.

And where draws put each of them.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyrosynth.errors import InputError, number, require_shapes, require_type
from pyrosynth.synths.params import Param, ParamSpace

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)  # of the draws of a control
MOST_LEVELS = 12  # settings of a control that are shown one by one
OTHERS = "others"  # the part of parameters that share none with any other
SPELLED_OUT = {
    "damp": "damping", "env": "envelope", "freq": "frequency", "kbd": "keyboard", "lfo": "LFO",
    "mod": "modulation", "op": "operator", "osc": "oscillator", "pulsewidth": "pulse width",
    "roomsize": "room size", "sens": "sensitivity", "vel": "velocity", "vol": "volume",
}  # fmt: skip


@dataclass(frozen=True)
class Reading:
    """What people read for a native value: ``scale * value**power + offset``, in a unit.

    Negative values keep their sign.

    Args:
        unit: The unit, such as ``"s"``.
        scale: Factor.
        power: Exponent, above 0.
        offset: What a native value of 0 is read as.

    Raises:
        InputError: The unit is no text, or another argument no finite number.
    """

    unit: str
    scale: float = 1.0
    power: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        """Check the types and the range."""
        require_type("unit of a reading", self.unit, str, "text, such as 'Hz'")
        for name in ("scale", "power", "offset"):
            given = getattr(self, name)
            object.__setattr__(self, name, number(f"{name} of a reading", given))
        if self.power <= 0:
            raise InputError(f"power of a reading {self.power}: give a number above 0")

    def of(self, value: float) -> float:
        """Return what is read for a native value; infinite where it is too large for a float."""
        try:
            size = abs(value) ** self.power
        except OverflowError:
            size = math.inf
        return self.scale * (size if value >= 0 else -size) + self.offset


NO_READINGS: Mapping[str, Reading] = MappingProxyType({})


def grouped(space: ParamSpace) -> list[tuple[str, str]]:
    """Return the part of the synth and the name within it of each parameter.

    A parameter that says its own group keeps it. Others are grouped by the first word of their
    names, where at least two share it: ``osc1_waveform`` becomes *oscillator 1* and *waveform*.

    Args:
        space: All parameters of the synth.

    Example:
        >>> from pyrosynth.synths import load_synth
        >>> space = load_synth("voice").param_space
        >>> dict(zip(space.names, grouped(space), strict=True))["osc1_waveform"]
        ('oscillator 1', 'waveform')
    """
    words = [re.split(r"[-_ ]+", name.strip("-_ ") or name) for name in space.names]
    shared = Counter(first for first, *_ in words)
    groups = []
    for param, (first, *rest) in zip(space.params, words, strict=True):
        name = _spelled_out([first, *rest])
        if param.group:
            group = _spelled_out(param.group.split(" "))
            groups.append((group, name.removeprefix(f"{group} ") or name))
        elif rest and shared[first] > 1:
            groups.append((_spelled_out([first]), _spelled_out(rest)))
        else:
            groups.append((OTHERS, name))
    return groups


def titles(space: ParamSpace) -> list[str]:
    """Return the name of each parameter with its part, such as *oscillator 1 waveform*.

    Args:
        space: The parameters.
    """
    return [name if group == OTHERS else f"{group} {name}" for group, name in grouped(space)]


def native(param: Param, value: float, readings: Mapping[str, Reading] = NO_READINGS) -> str:
    """Return a native value as people read it: by its label, with its unit, or as on or off.

    Args:
        param: The parameter.
        value: Its native value.
        readings: Those of the synth by name, see `pyrosynth.synths.base.Synth`.
    """
    settings = ("off", "on") if param.kind == "toggle" and not param.labels else param.labels
    if settings:
        share = (value - param.minimum) / (param.maximum - param.minimum)
        return settings[round(share * (param.resolution - 1))]
    reading = readings.get(param.name, Reading(param.unit))
    read, unit = reading.of(value), reading.unit
    if unit == "s" and abs(read) < 1:
        read, unit = 1000 * read, "ms"
    text = f"{read:.3g}" if abs(read) < 1000 else f"{read:,.0f}"
    return f"{text.replace('-', '−')} {unit}".rstrip()


def _spelled_out(words: list[str]) -> str:
    """Join words, abbreviations spelled out and numbers apart: ``osc1`` is *oscillator 1*."""
    found = []
    for word in words:
        letters, digits = re.fullmatch(r"(.*?)(\d*)", word, re.DOTALL).groups()  # type: ignore[union-attr]
        found += [SPELLED_OUT.get(letters.lower(), letters), digits]
    return " ".join(part for part in found if part)


class Spread(NamedTuple):
    """Where draws put each control, from its lowest value or first setting, 0, to the last, 1.

    Attributes:
        quantiles: Of the draws, shape (5,), see ``QUANTILES``, by the number of the control.
        shares: Of the draws that have each setting, of controls with few.
    """

    quantiles: dict[int, NDArray[np.float64]]
    shares: dict[int, NDArray[np.float64]]


def spread(space: ParamSpace, draws: ArrayLike) -> Spread:
    """Return where draws, native values of shape (n_draws, n_params), put each control.

    Raises:
        InputError: They have another shape, or there are none.
    """
    few, unit = _has_few_settings(space), space.to_unit(draws)
    if unit.ndim != 2 or not len(unit):
        raise InputError(f"draws have shape {unit.shape}; give (n_draws, n_params), one at least")
    quantiles = np.quantile(unit, QUANTILES, axis=0)
    levels = space.levels(draws)
    shares = {
        int(i): np.bincount(levels[:, i], minlength=int(space.resolution[i])) / len(levels)
        for i in np.flatnonzero(few)
    }
    return Spread({int(i): quantiles[:, i] for i in np.flatnonzero(~few)}, shares)


def places(space: ParamSpace, values: ArrayLike) -> NDArray[np.float64]:
    """Return where one preset's native values, shape (n_params,), lie, as ``spread`` has it.

    Raises:
        InputError: They have another shape.
    """
    unit = space.to_unit(values)
    require_shapes("one preset", {"values": (unit, (len(space),))})
    middles = (space.levels(values) + 0.5) / space.resolution
    return np.where(_has_few_settings(space), middles, unit)


def _has_few_settings(space: ParamSpace) -> NDArray[np.bool_]:
    return space.discrete & (space.resolution <= MOST_LEVELS)
