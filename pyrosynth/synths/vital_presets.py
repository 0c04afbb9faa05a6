"""Presets of Vital, as their files (``.vital``) hold them.

Such a file is JSON. Its ``settings`` hold the value of each control by name, and beside them what
no control holds: wavetables, shapes of LFOs, the routings of modulations, and a sample.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyrosynth.errors import InputError, number, read_limited, reading
from pyrosynth.files import write_bytes

LARGEST_FILE = 2**26  # bytes; wavetables and samples are embedded
SHAPES: Mapping[str, type] = {
    "wavetables": list, "lfos": list, "modulations": list, "sample": dict,
}  # fmt: skip
NEWEST = 1  # main version of Vital whose files are read
ADVICE = "give a .vital file that Vital has saved"


@dataclass(frozen=True)
class VitalPreset:
    """A preset in a file.

    Attributes:
        name: What it is called.
        content: The whole file, without the values of its controls.
        values: Value of each control that it names, of those as well that the engine has not.
    """

    name: str
    content: dict[str, Any]
    values: dict[str, float]

    def text(self, values: Mapping[str, float], name: str = "") -> str:
        """Return the content of a file with other values, and everything else as it is here.

        Args:
            values: Value of each control.
            name: What the preset is called.
        """
        settings = {**self.values, **values, **self.content["settings"]}
        return json.dumps({**self.content, "preset_name": name, "settings": settings})


def read_vital(path: str | Path) -> VitalPreset:
    """Read a file.

    Raises:
        InputError: It cannot be read, is none of Vital's, or of a newer Vital.
    """
    with reading(InputError, f"cannot read the preset '{path}'", ADVICE):
        data = json.loads(read_limited(path, LARGEST_FILE))
    return vital_preset(data, path)


def vital_preset(data: Any, path: str | Path) -> VitalPreset:
    """Take apart what a file holds.

    Args:
        data: The parsed JSON.
        path: The file, for errors.

    Raises:
        InputError: It is none of Vital's.
    """
    settings = data.get("settings") if isinstance(data, dict) else None
    if not isinstance(settings, dict):
        raise InputError(f"'{path}' is no preset of Vital, it has no settings; {ADVICE}")
    version = str(data.get("synth_version", ""))
    main = version.partition(".")[0]
    if main.isdigit() and int(main) > NEWEST:
        raise InputError(
            f"'{path}' is of Vital {version[:20]}, newer than what is read; give one of Vital "
            f"{NEWEST}"
        )
    for name, shape in SHAPES.items():
        if not isinstance(settings.get(name), shape):
            raise InputError(f"'{path}' is damaged, it has no {name}; {ADVICE}")
    shapes = {k: v for k, v in settings.items() if isinstance(v, list | dict)}
    values = {
        name: number(f"'{path}': control '{name}'", value)
        for name, value in settings.items()
        if name not in shapes
    }
    name = data.get("preset_name") or Path(path).stem
    return VitalPreset(str(name), {**data, "settings": shapes}, values)


def write_vital(
    path: str | Path, template: VitalPreset, values: Mapping[str, float], name: str
) -> None:
    """Write a file, atomically.

    Args:
        path: The file.
        template: The preset that it takes everything but the values from.
        values: Value of each control.
        name: What the preset is called.

    Raises:
        InputError: The file cannot be written.
    """
    write_bytes(path, template.text(values, name).encode())
