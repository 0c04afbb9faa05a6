"""The parameters of a synth: kinds, ranges, levels, and the vector ``v`` models see.

A control has three views:

* ``value``: what the synth itself takes, in its native range and unit;
* ``unit``: the same on [0, 1];
* ``level``: one of ``resolution`` evenly spaced positions, 0 … K-1.

Models see ``v = (level + u) / K`` with ``u ~ U(0, 1)``: uniform dequantisation (Theis et al.,
2016, "A note on the evaluation of generative models"). So a density over ``v`` is an ordinary
density on the open unit cube and bounds the log-probability of the discrete preset from below,
although real presets pile up at 0, 1/2, 1 and at defaults. ``decode`` takes any ``v`` in (0, 1)
back to a legal setting.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyrosynth.errors import InputError, checked_name, counted, integer, number, numbers, reading

from pyrosynth.errors import fixed_array, require_type, unknown  # isort: skip

Kind = Literal["continuous", "stepped", "categorical", "toggle"]
KINDS: tuple[Kind, ...] = ("continuous", "stepped", "categorical", "toggle")
Curve = Literal["linear", "logarithmic"]
CURVES: tuple[Curve, ...] = ("linear", "logarithmic")

SHOWN = 6  # names in a representation
GRADUAL = 64  # settings from which small steps move a stepped control like a continuous one
SLACK = 0.01  # of its range: so far outside of it a value may lie, and is clamped
MOST_LEVELS = 2**31 - 1  # of a control, as plugins count them
EDGE = 1e-6  # v keeps this distance from 0 and 1, where float32 logits stop being finite


@dataclass(frozen=True)
class Param:
    """One control of a synth.

    Args:
        name: Its name, as the synth spells it.
        kind: ``continuous``, ``stepped`` (ordered), ``categorical`` (unordered) or ``toggle``.
        minimum: Lowest native value.
        maximum: Highest native value.
        default: Native value of an untouched control.
        resolution: Number of levels K; for other kinds than ``continuous`` the number of settings.
        unit: Physical unit of the native value, empty if it has none.
        labels: Names of the settings of a categorical control, one per level.
        group: Part of the synth that it belongs to, such as an operator; empty if none is known.
        curve: Whether equal steps of the unit value add to the native value (``linear``) or
            multiply it (``logarithmic``, for positive ranges, such as frequencies).

    Raises:
        InputError: The numbers contradict each other.
    """

    name: str
    kind: Kind = "continuous"
    minimum: float = 0.0
    maximum: float = 1.0
    default: float = 0.0
    resolution: int = 128
    unit: str = ""
    labels: tuple[str, ...] = ()
    group: str = ""
    curve: Curve = "linear"

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not isinstance(self.name, str):
            raise InputError(f"parameter {self.name!r}: a name is text")
        for name in ("unit", "group"):
            require_type(f"{name} of a parameter", getattr(self, name), str, "text")
        require_type(f"parameter '{self.name}': labels", self.labels, (tuple, list), "a list")
        for label in self.labels:
            require_type(f"parameter '{self.name}': a label", label, str, "text")
        object.__setattr__(self, "labels", tuple(self.labels))
        checked_name("parameter kind", self.kind, KINDS)
        checked_name("curve of a parameter", self.curve, CURVES)
        for name in ("minimum", "maximum", "default"):
            checked = number(f"parameter '{self.name}': {name}", getattr(self, name))
            object.__setattr__(self, name, checked)
        levels = integer(f"parameter '{self.name}': resolution", self.resolution)
        object.__setattr__(self, "resolution", levels)
        if not 0 < self.maximum - self.minimum < math.inf:
            ends = f"{self.minimum} to {self.maximum}"
            raise InputError(f"parameter '{self.name}': range {ends} is empty or infinite")
        if not self.minimum <= self.default <= self.maximum:
            raise InputError(
                f"parameter '{self.name}': default {self.default} lies outside "
                f"{self.minimum} to {self.maximum}"
            )
        if self.curve == "logarithmic" and (self.minimum <= 0 or self.kind != "continuous"):
            raise InputError(
                f"parameter '{self.name}': a logarithmic curve is for continuous controls with a "
                f"minimum above 0, not for {self.kind} ones from {self.minimum}"
            )
        if not 2 <= levels <= MOST_LEVELS or (self.kind == "toggle" and levels != 2):
            raise InputError(
                f"parameter '{self.name}': no {self.kind} control has the resolution {levels}"
            )
        if self.labels and len(self.labels) != self.resolution:
            raise InputError(
                f"parameter '{self.name}': give {self.resolution} labels, not {len(self.labels)}"
            )

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready description; fields newer than format 2 only if not default."""
        later = {"group": "", "curve": "linear"}
        return {k: v for k, v in asdict(self).items() if later.get(k) != v}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Param":
        """Rebuild a parameter from ``to_json``'s description; other keys are ignored."""
        require_type("description of a parameter", data, Mapping, "what its to_json() returns")
        known = {f.name: data[f.name] for f in fields(cls) if f.name in data}
        return cls(**{"name": None, **known})


@dataclass(frozen=True)
class ParamSpace:
    """The ordered controls of a synth, or of the part of it that is learnt.

    Arrays have the controls on the last axis, any leading axes.

    Args:
        params: The controls.
        selections: Named sub-spaces of this synth, such as ``"16"`` and ``"32"``.

    Raises:
        InputError: Two controls share a name, or a selection names an unknown control.
    """

    params: tuple[Param, ...]
    selections: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the types and the names."""
        require_type("params", self.params, (tuple, list), "a sequence of Param")
        for param in self.params:
            require_type("one of params", param, Param, "Param(name, …)")
        object.__setattr__(self, "params", tuple(self.params))
        require_type("selections", self.selections, Mapping, "a dictionary of names")
        if len(set(self.names)) != len(self.params):
            twice = max(self.names, key=self.names.count)
            raise InputError(f"two parameters are called '{twice}'; give each a name of its own")
        for names in self.selections.values():
            require_type("a selection", names, (tuple, list), "a sequence of names")
            self.index(names)
        named = {str(name): tuple(names) for name, names in self.selections.items()}
        object.__setattr__(self, "selections", named)

    def __len__(self) -> int:
        """Return the number of controls."""
        return len(self.params)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the controls, in order."""
        return tuple(param.name for param in self.params)

    @fixed_array
    def minimum(self) -> NDArray[np.float64]:
        """Lowest native values, shape (n_params,)."""
        return np.array([param.minimum for param in self.params])

    @fixed_array
    def maximum(self) -> NDArray[np.float64]:
        """Highest native values, shape (n_params,)."""
        return np.array([param.maximum for param in self.params])

    @fixed_array
    def defaults(self) -> NDArray[np.float64]:
        """Native default values, shape (n_params,)."""
        return np.array([param.default for param in self.params])

    @fixed_array
    def resolution(self) -> NDArray[np.int64]:
        """Number of levels of each control, shape (n_params,)."""
        return np.array([param.resolution for param in self.params])

    @fixed_array
    def discrete(self) -> NDArray[np.bool_]:
        """Which controls have only the settings their levels name, shape (n_params,)."""
        return np.array([param.kind != "continuous" for param in self.params])

    @fixed_array
    def gradual(self) -> NDArray[np.bool_]:
        """Which controls small steps move: continuous ones, and stepped ones of 64 and more."""
        many = [p.kind == "stepped" and p.resolution >= GRADUAL for p in self.params]
        return ~self.discrete | many

    @fixed_array
    def logarithmic(self) -> NDArray[np.bool_]:
        """Which controls have a logarithmic curve, shape (n_params,)."""
        return np.array([param.curve == "logarithmic" for param in self.params], np.bool_)

    def to_unit(self, value: ArrayLike) -> NDArray[np.float64]:
        """Map native values to [0, 1], clamping to the range and rounding discrete controls.

        Args:
            value: Native values, shape (..., n_params).

        Returns:
            Unit values, same shape.

        Raises:
            InputError: A value is not finite or the last axis has the wrong size.
        """
        array = self.checked(value)
        unit = (array - self.minimum) / (self.maximum - self.minimum)
        if self.logarithmic.any():
            log = self.logarithmic
            at, low, high = (a[..., log] for a in (array, self.minimum, self.maximum))
            unit[..., log] = np.log(np.maximum(at, low) / low) / np.log(high / low)
        return self.rounded(unit)

    def from_unit(self, unit: ArrayLike) -> NDArray[np.float64]:
        """Map unit values to native ones, rounding discrete controls to their settings.

        Args:
            unit: Values on [0, 1], shape (..., n_params); values outside are clamped.

        Returns:
            Native values, same shape.
        """
        return self._native(self.rounded(unit))

    def rounded(self, unit: ArrayLike) -> NDArray[np.float64]:
        """Round unit values (..., n_params) of discrete controls to settings; the others stay."""
        array, steps = np.clip(self.checked(unit), 0.0, 1.0), self.resolution - 1
        return np.where(self.discrete, np.round(array * steps) / steps, array)

    def levels(self, value: ArrayLike) -> NDArray[np.int64]:
        """Return the level of each native value, an integer from 0 to resolution - 1.

        Args:
            value: Native values, shape (..., n_params).

        Returns:
            Levels, same shape.
        """
        return np.round(self.to_unit(value) * (self.resolution - 1)).astype(np.int64)

    def encode(
        self, value: ArrayLike, rng: np.random.Generator | None = None
    ) -> NDArray[np.float32]:
        """Turn native values into the vector ``v`` that models see.

        Args:
            value: Native values, shape (..., n_params).
            rng: Source of the dequantisation noise; without it, the middle of each level.

        Returns:
            ``v`` in the open unit cube, same shape, float32.
        """
        require_type("rng", rng, (np.random.Generator, type(None)), "numpy.random.default_rng(0)")
        levels = self.levels(value)
        noise = 0.5 if rng is None else rng.random(levels.shape)
        v = (levels + noise) / self.resolution
        return np.clip(v, EDGE, 1 - EDGE).astype(np.float32)

    def decode(self, v: ArrayLike) -> NDArray[np.float64]:
        """Turn ``v`` back into native values: the level it falls in.

        Args:
            v: Points of the unit cube, shape (..., n_params).

        Returns:
            Native values, same shape; every one is legal.
        """
        array = np.clip(self.checked(v), 0.0, 1.0)
        levels = np.minimum(np.floor(array * self.resolution), self.resolution - 1)
        return self._native(levels / (self.resolution - 1))

    def index(self, names: Sequence[str]) -> NDArray[np.int64]:
        """Return the positions of the named controls.

        Raises:
            InputError: A name is unknown; the known ones are listed.
        """
        require_type("names of parameters", names, Iterable, "a list of names")
        position = {name: i for i, name in enumerate(self.names)}
        for name in names:
            checked_name("parameter", name, position)
        return np.array([position[name] for name in names], dtype=np.int64)

    @property
    def usual(self) -> str:
        """The default selection of parameters to learn: ``learn`` if it exists, else ``all``."""
        return "learn" if "learn" in self.selections else "all"

    def select(self, which: str | Sequence[str]) -> "ParamSpace":
        """Return the sub-space of some controls, in this space's order.

        Args:
            which: ``"all"``, one of ``selections``, or names, in a sequence or with commas.

        Returns:
            The sub-space.

        Raises:
            InputError: A name is unknown; the known ones are listed.
        """
        if isinstance(which, str) and which == "all":
            return self
        if isinstance(which, str):
            which = self.selections.get(which) or tuple(which.split(","))
        require_type("a selection of parameters", which, Iterable, "its name, or a list of names")
        names = [n if n in self.names else n.strip() for n in map(str, which)]  # "a, b"
        if "" in names:
            raise InputError(
                f"a name is empty in {','.join(names)!r}; take out a comma, or name it"
            )
        if not names or (len(names) == 1 and names[0].isdigit()):
            raise unknown("parameter selection", "".join(names), ("all", *self.selections))
        chosen = sorted(set(self.index(names).tolist()))
        return replace(self, params=tuple(self.params[i] for i in chosen), selections={})

    def __repr__(self) -> str:
        """Say how many controls there are, in a line."""
        names = ", ".join(self.names[:SHOWN]) + (", …" if len(self) > SHOWN else "")
        return f"ParamSpace({counted(len(self), 'parameter')}: {names})"

    def _repr_html_(self) -> str:
        """Show the controls as a table in a notebook."""
        import pandas as pd

        table = pd.DataFrame(
            {
                "parameter": param.name,
                "kind": param.kind,
                "minimum": param.minimum,
                "maximum": param.maximum,
                "default": param.default,
                "levels": param.resolution,
                "unit": param.unit or ", ".join(param.labels),
                "curve": param.curve,
            }
            for param in self.params
        )
        return str(table.to_html(index=False, border=0, float_format="{:g}".format))

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready description that ``from_json`` reads back exactly."""
        return {
            "params": [param.to_json() for param in self.params],
            "selections": {name: list(names) for name, names in self.selections.items()},
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "ParamSpace":
        """Rebuild a space from ``to_json``'s description; an `InputError` if it is none."""
        with reading(InputError, "that describes no parameters", "give what to_json() returns"):
            return cls(tuple(map(Param.from_json, data["params"])), dict(data["selections"]))

    def _native(self, unit: NDArray[np.float64]) -> NDArray[np.float64]:
        native = self.minimum + unit * (self.maximum - self.minimum)
        if self.logarithmic.any():
            log = self.logarithmic
            at, low, high = (a[..., log] for a in (unit, self.minimum, self.maximum))
            native[..., log] = np.clip(low * (high / low) ** at, low, high)
        return native

    def checked(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return values of all controls, shape (..., n_params), after making sure of them.

        Raises:
            InputError: A value is no finite number, or the last axis has the wrong size.
        """
        array: NDArray[np.float64] = numbers("values", values, np.float64, self.names)
        if array.shape[-1:] != (len(self),):
            n = counted(len(self), "parameter")
            raise InputError(f"values have shape {array.shape}; the last axis must hold {n}")
        if not np.isfinite(array).all():
            bad = self.names[int(np.argwhere(~np.isfinite(array))[0][-1])]
            raise InputError(f"parameter '{bad}' is not a finite number; give a number")
        return array

    def within(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return native values, shape (..., n_params), after making sure of their ranges too.

        Raises:
            InputError: A value lies outside its range by more than rounding explains.
        """
        array = self.checked(values)
        slack = SLACK * (self.maximum - self.minimum)
        if (outside := (array < self.minimum - slack) | (array > self.maximum + slack)).any():
            at = np.argwhere(outside)[0]
            param = self.params[at[-1]]
            raise InputError(
                f"parameter '{param.name}' is {array[tuple(at)]:g}, outside its range from "
                f"{param.minimum:g} to {param.maximum:g}; give native values of this synth"
            )
        return array
