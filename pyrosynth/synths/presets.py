"""Presets: named points in a parameter space, and the JSON file that carries one."""

import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyrosynth.errors import (
    InputError,
    counted,
    number,
    numbers,
    reading,
    require_type,
    shown,
    unknown,
)
from pyrosynth.files import checked_path, read_limited, unrepeated_keys, write_bytes
from pyrosynth.synths.params import SLACK, ParamSpace

log = logging.getLogger(__name__)
LARGEST_FILE = 2**24  # bytes of a preset file
KEYS = "give JSON with the keys synth, name and parameters"
BETWEEN = 0.05  # of a step, farther from which a value is no rounded setting


@dataclass(frozen=True, repr=False)
class Preset:
    """A named setting of a synth.

    Args:
        name: What its maker called it.
        values: Native value of each parameter; a parameter left out is at its default.
        bank: Where it comes from, such as a bank file's name.

    Example:
        >>> preset = Preset("warm pad", {"cutoff": 0.25})
        >>> preset.save("warm.json")  # doctest: +SKIP
        >>> Preset.load("warm.json") == preset  # doctest: +SKIP
        True
    """

    name: str
    values: Mapping[str, float] = field(default_factory=dict)
    bank: str = ""

    def __post_init__(self) -> None:
        """Check the types; halves of characters, as in names that are not UTF-8, become "?".

        A text ends where a C program would end it, at a zero: fixed fields of banks hold what
        was there before behind it.
        """
        for field_name in ("name", "bank"):
            text = getattr(self, field_name)
            require_type(f"{field_name} of a preset", text, str, "text")
            text = text.partition("\0")[0].encode(errors="replace").decode()
            object.__setattr__(self, field_name, text)
        require_type("values of a preset", self.values, Mapping, "a dictionary of numbers by name")

    def __hash__(self) -> int:
        """Hash name, bank and values, so that presets may be in a set or be keys."""
        return hash((self.name, self.bank, frozenset(self.values.items())))

    def array(self, space: ParamSpace, *, clamp: bool = False) -> NDArray[np.float64]:
        """Return the native values in the order of ``space``, shape (n_params,).

        Args:
            space: All parameters of the synth.
            clamp: Whether to bring values that lie outside their range to its ends, as a synth
                does with files of its own, instead of refusing them.

        Raises:
            InputError: The preset names a parameter that the space does not have, or a value is
                no finite number or far outside its range.
        """
        require_type("parameters", space, ParamSpace, "a ParamSpace, such as synth.param_space")
        for name in self.values:
            if name not in space.names:
                raise unknown("parameter", name, space.names)
        native = [self.values.get(param.name, param.default) for param in space.params]
        try:
            values = np.array(native, np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise InputError(
                f"preset '{self.name}' has a value that is no number ({error}); give numbers"
            ) from error
        if not np.isfinite(values).all():
            name = space.names[int(np.argmin(np.isfinite(values)))]
            raise InputError(
                f"preset '{self.name}' has a value that is no number ({name}: "
                f"{self.values[name]}); give finite numbers"
            )
        if clamp:
            return np.clip(values, space.minimum, space.maximum)
        try:
            return space.within(values)
        except InputError as error:
            raise InputError(f"preset '{self.name}': {error}") from error

    @classmethod
    def from_array(
        cls, space: ParamSpace, values: ArrayLike, name: str = "", bank: str = ""
    ) -> "Preset":
        """Build a preset from native values in the order of ``space``, shape (n_params,).

        Raises:
            InputError: They are no numbers, of another shape, or far outside their ranges.
        """
        require_type("parameters", space, ParamSpace, "a ParamSpace, such as synth.param_space")
        array = numbers("values", values, np.float64, space.names)
        if array.shape != (len(space),):
            raise InputError(
                f"values of shape {array.shape} for one preset; give "
                f"{counted(len(space), 'number')}"
            )
        space.within(array)
        return cls(name, dict(zip(space.names, array.tolist(), strict=True)), bank)

    def save(self, path: str | Path, synth: str = "") -> None:
        """Write the preset as JSON, atomically: its name, bank and values.

        Args:
            path: The file; an existing one is replaced.
            synth: Name of its synth, which `load` can then compare; without it the preset is taken
                for one of any synth that has its parameters.

        Raises:
            InputError: The file cannot be written, or a value is no finite number.
        """
        require_type("synth of a preset", synth, str, "its name, such as voice.name")
        values = {name: number(name, value) for name, value in self.values.items()}
        content = {"synth": synth, "name": self.name, "bank": self.bank, "parameters": values}
        write_bytes(path, (json.dumps(content, indent=1) + "\n").encode())

    @classmethod
    def load(cls, path: str | Path, synth: str | None = None) -> "Preset":
        """Read a preset from a JSON file that `save`, `pyrosynth infer` or the explorer wrote.

        Args:
            path: The file, with the keys ``synth``, ``name`` and ``parameters``.
            synth: Name of the synth it must be of, if it says of which it is; any if left out.

        Raises:
            InputError: The file is missing, not JSON, lacks a key, holds no numbers, or is of
                another synth.
        """
        file = checked_path("preset file", path)
        require_type("synth of a preset", synth, (str, NoneType), "its name, such as voice.name")
        with reading(InputError, f"cannot read a preset from '{path}'", KEYS):
            data = json.loads(read_limited(file, LARGEST_FILE), object_pairs_hook=keys_or_error)
        return preset_from_json(data, synth, f"'{path}'", file.stem)

    def __repr__(self) -> str:
        """Say what it is called and where it comes from, in a line."""
        bank = f", bank '{self.bank}'" if self.bank else ""
        return f"Preset('{self.name}', {counted(len(self.values), 'value')}{bank})"

    def _repr_html_(self) -> str:
        """Show its values as a table in a notebook."""
        import pandas as pd

        table = pd.Series(dict(self.values), dtype=float).to_frame("value")
        return f"{escape(repr(self))}{table.to_html(border=0, float_format='{:.4g}'.format)}"


def keys_or_error(pairs: list[tuple[str, Any]]) -> dict[str, Any] | ValueError:
    """Make a dictionary of a JSON object; if a key is there twice, the error for its preset."""
    try:
        return unrepeated_keys(pairs)
    except ValueError as error:
        return error


def preset_from_json(data: Any, synth: str | None, where: str, bank: str) -> Preset:
    """Read a preset from JSON as `Preset.save` writes it.

    Args:
        data: The JSON, read with ``keys_or_error`` as the hook of its objects.
        synth: Name of the synth it must be of, if it says of which it is; any if left out.
        where: What an error calls the place it is from, such as a file in quotes.
        bank: Where it comes from, if it does not say so.

    Raises:
        InputError: A key is missing, a value is no number, or it is of another synth.
    """
    with reading(InputError, f"cannot read a preset from {where}", KEYS):
        held = (data, *data.values()) if isinstance(data, dict) else (data,)
        for error in (one for one in held if isinstance(one, ValueError)):
            raise error
        parameters = data.get("parameters") if isinstance(data, dict) else None
        if not isinstance(parameters, dict):
            raise ValueError(f"no object with an object 'parameters': {shown(data, 20)}")
        values = {name: number(name, value) for name, value in parameters.items()}
        owner, name = data["synth"], data["name"]
        if not isinstance(owner, str) or not isinstance(name, str):
            raise ValueError("synth and name are text")
    if synth is not None and owner not in ("", synth):
        raise InputError(
            f"{where} is a preset of '{owner}', not of '{synth}'; give one of '{synth}'"
        )
    return Preset(name, values, str(data.get("bank", bank)))


def preset_array(
    presets: Sequence[Preset], space: ParamSpace, *, clamp: bool = False
) -> NDArray[np.float64]:
    """Stack presets into native values, shape (n_presets, n_params); see `Preset.array`."""
    return np.stack([preset.array(space, clamp=clamp) for preset in checked_presets(presets)])


def checked_presets(presets: Sequence[Preset], least: int = 1) -> list[Preset]:
    """Return an argument that is a sequence of so many presets at least, as a list.

    Raises:
        InputError: It is something else.
    """
    require_type("presets", presets, Sequence, "a list of Preset")
    for preset in presets:
        require_type("one of the presets", preset, Preset, "a Preset, such as Preset.load(file)")
    if len(presets) < least:
        raise InputError("presets: none; give one or more")
    return list(presets)


def checked_values(values: ArrayLike, space: ParamSpace, n_axes: int) -> NDArray[np.float64]:
    """Return native values as floats.

    Args:
        values: Values of all parameters of the space.
        space: The space.
        n_axes: 1 for those of one preset, shape (n_params,), 2 for a row for each preset.

    Raises:
        InputError: They have another shape, are no finite numbers, or lie far outside their
            ranges.
    """
    rows = values if isinstance(values, list | tuple) else [values]
    if any(isinstance(row, Preset) for row in rows):
        raise InputError(f"values are {shown(values)}; give preset.array(synth.param_space)")
    array = np.array(space.within(values), order="C")
    if array.ndim != n_axes:
        wanted = "(n_params,)" if n_axes == 1 else "(n, n_params)"
        raise InputError(f"values have shape {array.shape}; they must be {wanted}")
    return array


def say_moved(presets: Sequence[Preset], space: ParamSpace, of: str = "") -> int:
    """Warn of presets that are moved to the ends of ranges or to steps; return how many there are.

    Args:
        presets: The presets.
        space: The ranges and steps.
        of: Where they come from, such as " of 'a.bank'".
    """
    if not presets:
        return 0
    given = preset_array(presets, space, clamp=True)
    raw = np.array([[one.values.get(name, np.nan) for name in space.names] for one in presets])
    far = np.abs(raw - given) > SLACK * (space.maximum - space.minimum)
    count, worst = int(far.any(1).sum()), int(far.sum(0).argmax())
    if count:
        log.warning(
            "%d of %d presets%s lie beyond the ranges of the description, most often in '%s', "
            "which goes from %g to %g: they are moved to its ends",
            count, len(presets), of, space.names[worst], space.minimum[worst],
            space.maximum[worst],
        )  # fmt: skip
    return count + say_between(presets, space, of)


def say_between(presets: Sequence[Preset], space: ParamSpace, of: str = "") -> int:
    """Warn of presets with settings that the synth does not have; return how many there are.

    Args:
        presets: The presets.
        space: The steps, of which the nearest are taken.
        of: Where they come from, such as " of 'a.csv'".
    """
    if not presets:
        return 0
    given = preset_array(presets, space, clamp=True)
    taken = space.from_unit(space.to_unit(given))
    steps = (space.maximum - space.minimum) / np.maximum(space.resolution - 1, 1)
    moved = np.argwhere(space.discrete & (np.abs(given - taken) > BETWEEN * steps))
    if len(moved):
        row, column = moved[0]
        log.warning(
            "preset '%s'%s sets '%s', which has steps, to %g: %g is taken; write the step that is "
            "meant, or describe the control anew%s",
            presets[row].name, of, space.names[column], given[row, column], taken[row, column],
            f" ({counted(len(moved) - 1, 'other value')} alike)" if len(moved) > 1 else "",
        )  # fmt: skip
    return len(np.unique(moved[:, 0]))


def all_good(each: Iterable[Preset | InputError]) -> list[Preset]:
    """Return presets, or raise the first error that is in the place of one."""
    presets = []
    for one in each:
        if isinstance(one, InputError):
            raise one
        presets.append(one)
    return presets


def distinct(presets: Sequence[Preset], space: ParamSpace) -> list[Preset]:
    """Keep the first of each group of presets whose unit values agree to five decimals."""
    units = np.round(space.to_unit(preset_array(presets, space)), 5)
    _, first = np.unique(units, axis=0, return_index=True)
    return [presets[i] for i in sorted(first)]


def distinct_names(names: Iterable[str]) -> list[str]:
    """Number the second and later ones of equal names: coordinates and columns differ by them."""
    counts: Counter[str] = Counter()
    taken = set(names := list(names))
    result = []
    for name in names:
        counts[name] += 1
        label = name
        while counts[name] > 1 and (label := f"{name} ({counts[name]})") in taken:
            counts[name] += 1
        taken.add(label)
        result.append(label)
    return result


def own_columns(controls: Iterable[str], names: Sequence[str]) -> list[str]:
    """Return what columns beside those of the controls are called, as ``log_q`` is.

    The column of a control is called as it is; a name that it takes is numbered.

    Args:
        controls: The names of all parameters.
        names: What the further columns should be called.

    Returns:
        The names, such as ``log_q``, or ``log_q (2)`` where a control is called ``log_q``.
    """
    return distinct_names([*controls, *names])[-len(names) :]


def preset_json(
    preset: Preset, synth: str, space: ParamSpace, note: dict[str, Any], **more: Any
) -> dict[str, Any]:
    """Describe a preset so that any host can play it without pyrosynth.

    Args:
        preset: The preset; parameters it leaves out are written at their defaults.
        synth: Name of the synth.
        space: The synth's whole parameter space.
        note: The note to play it with.
        **more: Further keys, such as ``score``.

    Returns:
        A JSON-ready dictionary with ``synth``, ``name``, ``note`` and ``parameters``.
    """
    values = preset.array(space).tolist()
    parameters = dict(zip(space.names, values, strict=True))
    return {"synth": synth, "name": preset.name, "note": note, "parameters": parameters, **more}
