"""Presets of Vital, as its files (``.vital``) and banks (``.vitalbank``) hold them.

A file is JSON. Its ``settings`` hold the value of each control by name, and beside them what
no control holds: wavetables, shapes of LFOs, the routings of modulations, and a sample. A bank is
a ZIP archive of such files and of others; nothing of it is unpacked to the disk.
"""

import functools
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pyrosynth.errors import InputError, number, reading
from pyrosynth.files import read_limited, regular_file, write_bytes

SUFFIXES = SUFFIX, BANK_SUFFIX = ".vital", ".vitalbank"
LARGEST_FILE = 2**26  # bytes; wavetables and samples are embedded
LARGEST_BANK = 2**28  # bytes
LARGEST_UNPACKED = 2**30  # bytes of all presets of a bank
PACKED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
SHAPES: Mapping[str, type] = {
    "wavetables": list, "lfos": list, "modulations": list, "sample": dict,
}  # fmt: skip
NEWEST = 1  # main version of Vital whose files are read
ADVICE = "give a .vital file that Vital has saved"
BANK_ADVICE = "give a .vitalbank file that Vital has exported"

KEPT = 16  # presets that a process keeps in memory, of about a megabyte
Source = tuple[Path, str]  # where a preset is: a file, and its entry there if that is a bank


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
        settings = {**self.settings, **values}
        return json.dumps({**self.content, "preset_name": name, "settings": settings})

    @property
    def settings(self) -> dict[str, Any]:
        """All that makes its sound, controls and what no control holds."""
        return {**self.values, **self.content["settings"]}


def is_bank(path: str | Path) -> bool:
    """Tell whether a file is a bank, by its name."""
    return Path(path).suffix.lower() == BANK_SUFFIX


def read_vital(path: str | Path, entry: str = "") -> VitalPreset:
    """Read a preset.

    Args:
        path: A ``.vital`` file, or a bank.
        entry: Which preset of the bank.

    Raises:
        InputError: It cannot be read, is none of Vital's, or of a newer Vital.
    """
    if entry:
        with _opened(path) as (bank, _):
            return _read_entry(bank, path, entry)
    with reading(InputError, f"cannot read the preset '{path}'", ADVICE):
        data = json.loads(read_limited(path, LARGEST_FILE))
    return vital_preset(data, path)


def read_vital_bank(path: str | Path) -> Iterator[tuple[str, VitalPreset | InputError]]:
    """Yield the presets of a bank, each with the name of its entry, or an error in its place.

    Raises:
        InputError: It is no bank, is too large, or has no preset.
    """
    with _opened(path) as (bank, entries):
        if not entries:
            raise InputError(f"the bank '{path}' holds no .vital file; {BANK_ADVICE}")
        for entry in entries:
            try:
                preset = _read_entry(bank, path, entry)
            except InputError as error:
                yield entry, error
            else:
                yield entry, preset


@contextmanager
def _opened(path: str | Path) -> Iterator[tuple[zipfile.ZipFile, list[str]]]:
    """Open a bank that is not too large; yield it and the names of its presets."""
    with reading(InputError, f"cannot read the bank '{path}'", BANK_ADVICE):
        if regular_file(path).stat().st_size > LARGEST_BANK:
            raise ValueError(f"it is larger than {LARGEST_BANK >> 20} MiB")
        bank = zipfile.ZipFile(path)
        files = [
            info for info in bank.infolist()
            if (name := PurePosixPath(info.filename)).suffix.lower() == SUFFIX
            and not name.name.startswith(".")  # what macOS adds to a file
        ]  # fmt: skip
        if sum(info.file_size for info in files) > LARGEST_UNPACKED:
            raise ValueError(f"its presets are larger than {LARGEST_UNPACKED >> 20} MiB")
    with bank:
        yield bank, [info.filename for info in files]


def _read_entry(bank: zipfile.ZipFile, path: str | Path, entry: str) -> VitalPreset:
    """Read a preset of an open bank."""
    where = f"{path}: {entry}"
    with reading(InputError, f"cannot read the preset '{where}'", BANK_ADVICE):
        info = bank.getinfo(entry)
        if info.file_size > LARGEST_FILE:
            raise ValueError(f"it is larger than {LARGEST_FILE >> 20} MiB")
        if info.compress_type not in PACKED:  # of the others, much comes from a few bytes
            raise ValueError("it is packed in a way that Vital does not use")
        with bank.open(info) as file:
            data = json.loads(file.read(LARGEST_FILE))  # whatever size it claims to have
    return vital_preset(data, where)


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
    if re.fullmatch("[0-9]{1,9}", main) and int(main) > NEWEST:
        raise InputError(
            f"'{path}' is of Vital {version[:20]}, newer than what is read; give one of Vital "
            f"{NEWEST}"
        )
    for name, shape in SHAPES.items():
        if not isinstance(settings.get(name), shape):
            raise InputError(f"'{path}' is damaged, it has no {name}; {ADVICE}")
    shapes = {k: v for k, v in settings.items() if _is_shape(v)}
    values = {
        name: number(f"'{path}': control '{name}'", value)
        for name, value in settings.items()
        if name not in shapes
    }
    name = data.get("preset_name") or Path(path).stem
    return VitalPreset(str(name), {**data, "settings": shapes}, values)


def _is_shape(value: Any) -> bool:
    """Whether a value describes something, such as wavetables, and is not that of a control."""
    several = isinstance(value, list) and not any(isinstance(one, int | float) for one in value)
    return several or isinstance(value, dict)


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


kept_vital = functools.lru_cache(maxsize=KEPT)(read_vital)


def unlike(one: Source, other: Source) -> str:
    """Say that a preset sounds unlike another of equal controls; empty if it is the same."""
    if one == other or kept_vital(*one).settings == kept_vital(*other).settings:
        return ""
    return (
        f"'{one[0]}': '{kept_vital(*one).name}' has the controls of '{kept_vital(*other).name}'; "
        "what tells them apart, such as a wavetable, no control holds"
    )
