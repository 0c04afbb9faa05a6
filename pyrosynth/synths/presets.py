"""Presets: named points in a parameter space, and the JSON file that carries one."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyrosynth.errors import InputError, unknown
from pyrosynth.synths.params import ParamSpace


@dataclass(frozen=True)
class Preset:
    """A named setting of a synth.

    Args:
        name: What its maker called it.
        values: Native value of each parameter; a parameter left out is at its default.
        bank: Where it comes from, such as a bank file's name.
    """

    name: str
    values: Mapping[str, float] = field(default_factory=dict)
    bank: str = ""

    def array(self, space: ParamSpace) -> NDArray[np.float64]:
        """Return the native values in the order of ``space``, shape (n_params,).

        Raises:
            InputError: The preset names a parameter that the space does not have.
        """
        for name in self.values:
            if name not in space.names:
                raise unknown("parameter", name, space.names)
        return np.array([self.values.get(p.name, p.default) for p in space.params], np.float64)

    @classmethod
    def from_array(
        cls, space: ParamSpace, values: ArrayLike, name: str = "", bank: str = ""
    ) -> "Preset":
        """Build a preset from native values in the order of ``space``, shape (n_params,)."""
        array = np.asarray(values, np.float64)
        return cls(name, dict(zip(space.names, array.tolist(), strict=True)), bank)


def preset_array(presets: Sequence[Preset], space: ParamSpace) -> NDArray[np.float64]:
    """Stack presets into native values, shape (n_presets, n_params)."""
    return np.stack([preset.array(space) for preset in presets])


def distinct(presets: Sequence[Preset], space: ParamSpace) -> list[Preset]:
    """Keep the first of each group of presets whose unit values agree to five decimals."""
    units = np.round(space.to_unit(preset_array(presets, space)), 5)
    _, first = np.unique(units, axis=0, return_index=True)
    return [presets[i] for i in sorted(first)]


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


def read_preset(path: Path, space: ParamSpace, synth: str) -> Preset:
    """Read a preset from a JSON file that ``preset_json`` described.

    Raises:
        InputError: The file is missing, not JSON, lacks a key, or is of another synth.
    """
    try:
        data = json.loads(Path(path).read_text())
        values = {str(k): float(v) for k, v in data["parameters"].items()}
        owner, name = data["synth"], str(data["name"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"cannot read a preset from '{path}': {error!r}; expected JSON with the keys synth, "
            "name and parameters"
        ) from error
    if owner != synth:
        raise InputError(f"'{path}' is a preset of '{owner}', not of '{synth}'")
    preset = Preset(name, values, bank=Path(path).stem)
    preset.array(space)
    return preset
