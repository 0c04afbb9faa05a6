"""amsynth, a subtractive synth with 3,482 presets by many people, and its bank files.

amsynth 1.13 is free software (GPL-2 or later) by Nick Dowell and others. Nothing of it is part of
this package; `install` fetches it.
"""

import hashlib
import json
import logging
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from pyrosynth.errors import InputError, SynthError, counted, reading
from pyrosynth.files import checked_path, data_home, read_limited, whole, write_bytes
from pyrosynth.synths.amsynth_params import READINGS, SPACE
from pyrosynth.synths.apt import download, unpack
from pyrosynth.synths.base import Isolation
from pyrosynth.synths.dssi import DssiSynth
from pyrosynth.synths.presets import LARGEST_FILE, Preset, all_good, checked_presets

log = logging.getLogger(__name__)

PLUGIN_FILE = "amsynth_dssi.so"
BANK_PRESETS = 128  # amsynth reads no more from one bank file, and writes past its memory if asked
CONTROLLERS, NO_PARAMETER = 128, "null"  # in its file of controllers
BANK_HEADER, PRESET_HEADER = "amSynth", "amSynth1.0preset"  # first lines of files
BANK_END = "EOF"  # last line of a bank
THREE_SETTINGS = ("keyboard_mode", "freq_mod_osc")  # toggles by the hints of the ports


class Amsynth(DssiSynth):
    """The DSSI plugin of amsynth, with 41 controls.

    Args:
        path: The plugin; None to look for it as `find` does.
        isolation: ``reload`` is exact: amsynth's noise generator is one variable of the library,
            which only unloading resets.

    Raises:
        SynthError: The plugin is missing, damaged, or has other controls.
    """

    preset_suffix = ".bank"
    readings = READINGS
    controllers = MappingProxyType({
        "freq_mod_amount": 1, "portamento_time": 5, "master_vol": 7, "filter_resonance": 71,
        "amp_release": 72, "amp_attack": 73, "filter_cutoff": 74, "amp_decay": 75,
        "reverb_wet": 91,
    })  # fmt: skip

    def __init__(
        self, path: str | os.PathLike[str] | None = None, isolation: Isolation = "reload"
    ) -> None:
        """Find the plugin and compare its ports with the table."""
        plugin = find() if path is None else path
        if plugin is None:
            raise SynthError(
                "amsynth is not installed; run 'pyrosynth install amsynth', install the package "
                "'amsynth' with your system's tool, or use the built-in synth 'voice'"
            )
        try:
            super().__init__(plugin, isolation)
        except SynthError as error:
            why, _, advice = str(error).rpartition("; ")
            is_damaged = advice.endswith(("get another one", "install it again"))
            if not (is_damaged and Path(plugin).is_relative_to(data_folder())):
                raise
            raise SynthError(f"{why}; run 'pyrosynth install amsynth --force'") from error
        ports = self.param_space
        plain = ~np.isin(SPACE.names, THREE_SETTINGS)
        if (
            ports.names != SPACE.names
            or not np.allclose(ports.minimum, SPACE.minimum, atol=1e-6)
            or not np.allclose(ports.maximum[plain], SPACE.maximum[plain], atol=1e-6)
        ):
            raise SynthError(
                f"'{self.path}' is not an amsynth with the 41 controls of version 1.13; "
                "run 'pyrosynth install amsynth'"
            )
        self.name, self.param_space = "amsynth", SPACE

    def spec(self) -> dict[str, Any]:
        """Return the path and isolation."""
        return {"synth": "amsynth", "path": str(self.path), "isolation": self.isolation}

    def presets(self) -> list[Preset]:
        """Read all presets of the bank files that come with the plugin.

        Values are as amsynth takes them: clamped to the range, steps rounded. What is damaged is
        left out, and named in the log.

        Raises:
            SynthError: There is no bank file beside the plugin.
        """
        presets = []
        for file in bank_files(self.path):
            try:
                each = _read_each(file)
            except InputError as error:
                each = [error]
            for one in each:
                if isinstance(one, InputError):
                    log.warning("left out: %s", one)
                else:
                    presets.append(_legal(one))
        if not presets:
            raise SynthError(
                f"no preset banks beside '{self.path}'; run 'pyrosynth install amsynth'"
            )
        return presets

    def read_bank(self, path: str | os.PathLike[str]) -> list[Preset]:
        """Read a bank or a single preset, with values as amsynth takes them; see `read_bank`."""
        return [_legal(preset) for preset in read_bank(path)]

    def read_each(self, path: str | os.PathLike[str]) -> list[Preset | InputError]:
        """Read a bank, of which one preset may be bad; see `Synth.read_each`."""
        return [one if isinstance(one, InputError) else _legal(one) for one in _read_each(path)]

    def write_bank(self, path: Path, presets: Sequence[Preset]) -> bool:
        """Write presets as a bank file that amsynth loads; see `write_bank`."""
        write_bank(path, presets)
        return True

    def read_controllers(self, content: str) -> dict[str, int]:
        """Read ``~/.config/amsynth/controllers``: a parameter's name for each controller."""
        lines, known = content.split(), {*SPACE.names, NO_PARAMETER}
        for number, name in enumerate(lines, 1):
            if name not in known:
                raise InputError(f"its line {number}, '{name}', is no parameter of amsynth")
        if len(lines) != CONTROLLERS:
            held = counted(len(lines), "line")
            raise InputError(f"it has {held}, not one for each of {CONTROLLERS} controllers")
        return {name: number for number, name in enumerate(lines) if name != NO_PARAMETER}

    def write_controllers(self, controllers: Mapping[str, int]) -> str:
        """Write a file for ``~/.config/amsynth/controllers``."""
        names = {number: name for name, number in controllers.items()}
        return "".join(f"{names.get(i, NO_PARAMETER)}\n" for i in range(CONTROLLERS))


def data_folder() -> Path:
    """Return the folder of pyrosynth's own data, which need not exist."""
    return data_home() / "pyrosynth"


def find() -> Path | None:
    """Look for the plugin: pyrosynth's data folder, ``DSSI_PATH``, the system's folders."""
    folders = [data_folder() / "amsynth"]
    folders += [Path(part) for part in os.environ.get("DSSI_PATH", "").split(":") if part]
    for root in ("/usr/lib", "/usr/local/lib", "/usr/lib64"):
        folders += [Path(root) / "dssi", *sorted(Path(root).glob("*-linux-gnu*/dssi"))]
    files = (folder / PLUGIN_FILE for folder in folders)
    return next((file for file in files if os.path.isfile(file)), None)


def install(dest: str | os.PathLike[str] | None = None) -> Path:
    """Fetch the distribution's amsynth package and unpack what is needed of it, without root.

    Args:
        dest: Folder to install into; pyrosynth's data folder if None. What was installed there
            before is replaced once the new one is whole, as is a plugin that cannot be used; a
            folder with other files is refused.

    Returns:
        The plugin file. Beside it lie the preset banks, amsynth's licence and ``install.json``
        with the package's name and the SHA-256 of package and plugin.

    Raises:
        SynthError: There is no package tool, it fails, or the package lacks the plugin.
        InputError: The folder holds other files, or cannot be written.
    """
    folder = Path(dest) if dest is not None else data_folder() / "amsynth"
    if dest is None and not folder.is_absolute():
        raise InputError(
            f"'{folder}' is no place to install into; name a folder of yours by HOME, or by "
            "XDG_DATA_HOME"
        )
    damaged = []
    if os.path.isfile(plugin := folder / PLUGIN_FILE):
        try:
            DssiSynth(plugin)
        except SynthError:  # nobody made it so
            damaged = [PLUGIN_FILE]
    with whole(folder, "install amsynth", damaged=damaged) as new:
        work = new / "download"  # so that it goes too if this process is killed
        work.mkdir()
        _unpack_plugin(download("amsynth", work), new)
        shutil.rmtree(work)
    return folder / PLUGIN_FILE


def _unpack_plugin(package: Path, folder: Path) -> None:
    (folder / "banks").mkdir()
    for name, content in unpack(package):
        if name.endswith(f"/dssi/{PLUGIN_FILE}"):
            (folder / PLUGIN_FILE).write_bytes(content)
        elif "/share/amsynth/banks/" in name:
            (folder / "banks" / Path(name).name).write_bytes(content)
        elif name.endswith("/doc/amsynth/copyright"):
            (folder / "copyright").write_bytes(content)
    plugin = folder / PLUGIN_FILE
    if not plugin.is_file() or not bank_files(plugin):
        raise SynthError(
            f"the package '{package.name}' holds no DSSI plugin with banks; install 'amsynth' "
            "with your system's tool, or use the built-in synth 'voice'"
        )
    record = {
        "package": package.name,
        "package_sha256": hashlib.sha256(package.read_bytes()).hexdigest(),
        "plugin_sha256": hashlib.sha256(plugin.read_bytes()).hexdigest(),
    }
    (folder / "install.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def bank_files(plugin: Path) -> list[Path]:
    """List the bank files that belong to a plugin file.

    They lie in ``banks`` beside it, where pyrosynth installs them, or in the ``share`` folder
    of the tree that it lies in.

    Raises:
        SynthError: The folder cannot be read.
    """
    roots = [plugin.parent / "banks"]
    roots += [parent / "share" / "amsynth" / "banks" for parent in plugin.parents]
    folder = next((root for root in roots if os.path.isdir(root)), None)
    if folder is None:
        return []
    with reading(SynthError, f"cannot read the banks in '{folder}'", "run 'pyrosynth install'"):
        return sorted(folder / name for name in os.listdir(folder) if name.endswith(".bank"))


def read_bank(path: str | os.PathLike[str]) -> list[Preset]:
    """Read a bank file of amsynth, or one of its files of a single preset.

    Args:
        path: A text file whose first line is ``amSynth`` or ``amSynth1.0preset``.

    Returns:
        Its presets with the values exactly as written; ``bank`` is the file's name. Controls
        that this amsynth does not have are left out, as amsynth does.

    Raises:
        InputError: The file is missing, no bank, or sets a control to what is no number.
    """
    return all_good(_read_each(path))


def _read_each(path: str | os.PathLike[str]) -> list[Preset | InputError]:
    """Read a file as `read_bank` does, with an error in the place of a preset that is bad."""
    file = checked_path("bank file", path)
    with reading(InputError, f"cannot read the bank file '{path}'", "give one of amsynth's"):
        content = read_limited(file, LARGEST_FILE)
    lines = content.decode("utf-8-sig", "replace").splitlines()
    if not lines or lines[0].strip() not in (BANK_HEADER, PRESET_HEADER):
        raise InputError(
            f"'{path}' is not an amsynth bank: its first line is not '{BANK_HEADER}' or "
            f"'{PRESET_HEADER}'; give a file that amsynth wrote, whole"
        )
    presets: list[Preset | InputError] = []
    values: dict[str, float] = {}
    known = set(SPACE.names)
    for number, line in enumerate(lines[1:], 2):
        if line.startswith("<preset> <name>"):
            values = {}
            presets.append(Preset(line[len("<preset> <name>") :].strip(), values, file.name))
        elif line.startswith("<parameter> "):
            preset = presets[-1] if presets else Preset("")
            if isinstance(preset, InputError):
                continue
            try:
                _, name, text = line.split()
                value = math.nan if "_" in text else float(text)
            except ValueError:
                value = math.nan
            if not math.isfinite(value):
                presets[-1:] = [
                    InputError(
                        f"'{path}', line {number}: '{line[:60]}' of preset '{preset.name[:60]}' "
                        "does not set a control to a number; mend it, or copy the file again"
                    )
                ]
            elif name in known:
                values[name] = value
    last = next(line.strip() for line in reversed(lines) if line.strip())
    if lines[0].strip() == BANK_HEADER and last != BANK_END:
        error = InputError(
            f"'{path}' is cut off: its last line is '{last[:60]}', not '{BANK_END}'; copy it again"
        )
        if len(presets) < 2:
            raise error
        presets[-1] = error  # the last one may lack controls; those before it are whole
    return presets


def write_bank(path: str | os.PathLike[str], presets: Sequence[Preset]) -> None:
    """Write presets as an amsynth bank file, atomically.

    ``read_bank`` gives back the very same numbers. All controls are written, so that the sound
    does not depend on the defaults of an amsynth version, and with an exponent, since amsynth
    reads such numbers exactly and others to six digits.

    Args:
        path: The file; amsynth finds it in ``~/.local/share/amsynth/banks``.
        presets: At most 128, all that amsynth reads from one file.

    Raises:
        InputError: There are too many presets, one names an unknown control, or the file
            cannot be written.
    """
    presets = checked_presets(presets, 0)  # an empty bank is one as well
    if len(presets) > BANK_PRESETS:
        raise InputError(
            f"{counted(len(presets), 'preset')} for one bank file; amsynth reads at most "
            f"{BANK_PRESETS}"
        )
    lines = [BANK_HEADER]
    for preset in presets:
        lines.append(f"<preset> <name> {' '.join(preset.name.split())}")
        values = preset.array(SPACE).tolist()
        lines += [
            f"<parameter> {name} {np.format_float_scientific(value)}"
            for name, value in zip(SPACE.names, values, strict=True)
        ]
    write_bytes(checked_path("bank file", path), "\n".join([*lines, BANK_END, ""]).encode("utf-8"))


def _legal(preset: Preset) -> Preset:
    values = preset.array(SPACE, clamp=True)
    snapped = SPACE.from_unit(SPACE.to_unit(values))
    values = np.where(SPACE.discrete, np.round(snapped), values)
    return Preset.from_array(SPACE, values, preset.name, preset.bank)
