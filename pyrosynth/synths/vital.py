"""Vital, a wavetable synth whose engine is a Python package, and the presets on this machine.

``vita`` is free software under the GPL, version 3, and no part of this package: the extra
``vital`` installs it, and only the processes that render import it.

Its 772 controls are not the whole of a preset. What they leave out, wavetables, the shapes of
LFOs, routings and a sample, a sound takes from the preset of a bank whose controls are nearest.
"""

import functools
import hashlib
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyrosynth.audio.io import Audio
from pyrosynth.audio.note import Note
from pyrosynth.errors import InputError, SynthError
from pyrosynth.files import (
    checked_path,
    data_home,
    expanded,
    files_below,
    is_there,
    safe_name,
    whole,
    with_home,
)
from pyrosynth.synths.answers import answer, kept
from pyrosynth.synths.isolation import IsolatedSynth
from pyrosynth.synths.packages import version_of
from pyrosynth.synths.params import Param, ParamSpace
from pyrosynth.synths.presets import Preset, all_good, checked_presets
from pyrosynth.synths.sandbox import python
from pyrosynth.synths.vital_presets import (
    SUFFIX,
    SUFFIXES,
    Source,
    VitalPreset,
    is_bank,
    kept_vital,
    read_vital,
    read_vital_bank,
    unlike,
    vital_preset,
    write_vital,
)

log = logging.getLogger(__name__)
PACKAGE = "vita"
VERSION = 1  # to be raised when this module changes what one hears
VITAL = "1.0.8"  # the Vital whose controls vita has
BPM = 120.0
MOST_SETTINGS = 128  # of a control; the order of effects has more and is left to the templates
SECONDS = 60.0  # for the package to tell its controls, on a busy machine
# Asks the package what its controls are, in a process of its own.
COMMAND = """
import json, vita
synth = vita.Synth()
keys = "min", "max", "default_value", "display_units", "display_multiply", "is_discrete", "options"
controls = {}
for name in synth.get_controls():
    info = synth.get_control_details(name)
    controls[name] = {key: getattr(info, key) for key in keys}
    controls[name]["scale"] = info.scale.name
print(json.dumps({"controls": controls, "init": json.loads(synth.to_json())}))
"""


class Vital(IsolatedSynth):
    """Vital with the controls that have up to 128 settings, or a range.

    Args:
        bank: A folder of ``.vital`` and ``.vitalbank`` files, or one such file: its presets, of
            which each sound takes what no control holds. The user's own folder of Vital if left
            out, or if there is none the preset that Vital starts with; empty for that one alone.

    Raises:
        InputError: The bank is not there, or a file that is named is none of Vital's.
        SynthError: ``vita`` is not installed.
    """

    name = "vital"
    # Random phases follow from how many engines a process has made and what they have played.
    isolation = "fork"
    isolations = ("fork",)
    preset_suffix = SUFFIX
    usual_prior = "mixture"

    def __init__(self, bank: str | os.PathLike[str] | None = None) -> None:
        """Read what the controls of the presets are."""
        self.version = package_version()
        question = f"vital: controls of {self.version}"
        told = answer(question, [], lambda: _told(self.version))
        self.told = kept(question, [], told)
        self.param_space, self.dropped, self.init = told
        usual = user_folder()
        self.bank = os.path.abspath(with_home(bank)) if bank else ""
        if bank is None and os.path.isdir(usual):
            self.bank = str(usual)
        read = self._read(Path(self.bank)) if self.bank else ([], [], [])
        self._sources, self._presets, self._wrong = read
        digest = hashlib.sha256()
        for file in dict.fromkeys(file for file, _ in self._sources):
            digest.update(file.read_bytes())
        self._digest = digest.hexdigest()

    def spec(self) -> dict[str, Any]:
        """Return the name and the bank."""
        return {"synth": "vital", "bank": self.bank}

    def identity(self) -> str:
        """Return the versions of the engine and of this module, and a hash of the bank."""
        return f"{PACKAGE} {self.version}, {VERSION}, {self._digest}"

    def presets(self) -> list[Preset]:
        """Return the presets of the bank; the log says what is left out of it."""
        for line in self._wrong:
            log.warning("left out: %s", line)
        return list(self._presets)

    def read_bank(self, path: str | os.PathLike[str]) -> list[Preset]:
        """Read the values of the controls in a ``.vital`` file, or in those of a ``.vitalbank``.

        Raises:
            InputError: It is none of Vital's, or of a newer Vital.
        """
        return all_good(self.read_each(path))

    def read_each(self, path: str | os.PathLike[str]) -> list[Preset | InputError]:
        """Read a file, or a bank, of which one preset may be bad; see `Synth.read_each`."""
        return [one for _, one in self._read_each(checked_path("preset file", path))]

    def write_bank(self, path: Path, presets: Sequence[Preset]) -> bool:
        """Write the first preset as a ``.vital`` file, with all else as its template has it."""
        preset = checked_presets(presets)[0]
        values = preset.array(self.param_space)
        named = dict(zip(self.param_space.names, values.tolist(), strict=True))
        write_vital(checked_path("preset file", path), self.template(values), named, preset.name)
        return True

    def with_files(self, files: Sequence[Path], folder: Path) -> "Vital":
        """Return Vital with a bank of copies: of these files, and of the bank it has."""
        if not folder.exists():
            own = [
                file for file in files if os.path.isdir(file) or file.suffix.lower() in SUFFIXES
            ]
            found = [source for place in own for source in self._read(place)[0]] + self._sources
            if not found:
                return self
            with whole(folder, "learn") as new:
                for i, file in enumerate(dict.fromkeys(file for file, _ in found)):
                    owner = safe_name(file.absolute().parent.name or "bank")
                    copy = new / owner / f"{i:04d} {file.name}"
                    copy.parent.mkdir(exist_ok=True)
                    shutil.copyfile(file, copy)
        return Vital(folder)

    def template(self, values: NDArray[np.float64]) -> VitalPreset:
        """Return the preset of the bank with the nearest controls, or Vital's first preset.

        Args:
            values: Native parameter values, shape (n_params,).

        Raises:
            SynthError: Its file is gone or has changed.
        """
        if not self._sources:
            return self.init
        distances = ((self._units - self.param_space.to_unit(values)) ** 2).sum(axis=1)
        try:
            return kept_vital(*self._sources[int(distances.argmin())])
        except InputError as error:
            raise SynthError(f"the bank has changed: {error}") from error

    def render(self, values: NDArray[np.float64], note: Note, sample_rate: int) -> Audio:
        """Render one note, in a process of its own; see `Synth.render`."""
        named = dict(zip(self.param_space.names, values.tolist(), strict=True))
        with ENGINE.lock:
            ENGINE.load(self.template(values), sample_rate)
            return self.play(named, note, sample_rate)

    @property
    def library(self) -> "_Engine":
        """The engine of this process."""
        return ENGINE

    def open_library(self, sample_rate: int) -> None:
        """Make the engine."""
        ENGINE.open()

    def new_instance(self, sample_rate: int) -> "_Playing":
        """Return the engine, to play at the rate at which it has loaded a template."""
        return _Playing(ENGINE.open(), sample_rate)

    @functools.cached_property
    def _units(self) -> NDArray[np.float64]:
        """Unit values of the presets of the bank, shape (n_presets, n_params)."""
        arrays = [preset.array(self.param_space) for preset in self._presets]
        return self.param_space.to_unit(np.stack(arrays))

    def _read(self, place: Path) -> tuple[list[Source], list[Preset], list[str]]:
        """Read a file, or those of a folder: where presets are, their controls, what is wrong."""
        if not is_there(place):
            raise InputError(f"there is no bank '{place}'; give a folder of .vital files, or one")
        is_folder = os.path.isdir(place)
        files, closed = files_below(place, *SUFFIXES) if is_folder else ([place], {})
        wrong = [*closed.values()]
        sources, presets = [], []
        first: dict[tuple[float, ...], Source] = {}  # by the values of the controls
        for file in files:
            try:
                each = self._read_each(file)
            except InputError as error:
                wrong.append(str(error))
                continue
            for source, one in each:
                if isinstance(one, InputError):
                    wrong.append(str(one))
                elif why := unlike(source, first.setdefault((*one.values.values(),), source)):
                    wrong.append(why)
                else:
                    sources.append(source)
                    presets.append(one)
        if not is_folder and not presets:
            raise InputError(wrong[0])
        return sources, presets, wrong

    def _read_each(self, file: Path) -> list[tuple[Source, Preset | InputError]]:
        """Read the preset of a file, or those of a bank, each with where it is."""
        if not is_bank(file):
            return [((file, ""), self._preset(read_vital(file), file.parent.name))]
        each: list[tuple[Source, Preset | InputError]] = []
        for entry, read in read_vital_bank(file):
            if isinstance(read, InputError):
                each.append(((file, entry), read))
                continue
            folders = PurePosixPath(entry).parts[:-1]  # Vital names the first like the bank
            preset = self._preset(read, folders[0] if folders else file.stem)
            each.append(((file, entry), preset))
        return each

    def _preset(self, read: VitalPreset, bank: str) -> Preset:
        """Return the values of the controls that the engine has, in their ranges."""
        values = {k: v for k, v in read.values.items() if k in self.param_space.names}
        array = Preset(read.name, values).array(self.param_space, clamp=True)
        legal = self.param_space.from_unit(self.param_space.to_unit(array))
        return Preset.from_array(self.param_space, legal, read.name, bank)


class _Engine:
    """The engine of this process. There is one only: a second one has other random phases."""

    generation = 0

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._synth: Any = None
        self._loaded: tuple[VitalPreset, int] | None = None

    def open(self) -> Any:
        """Return the engine, made when it is first asked for."""
        if self._synth is None:
            import vita

            self._synth = vita.Synth()
        return self._synth

    def load(self, template: VitalPreset, sample_rate: int) -> None:
        """Load a template, unless it is the last that was: most of the work for a sound.

        The forked processes that play find it loaded; they only set the controls.
        """
        synth = self.open()
        if self._loaded and self._loaded[0] is template and self._loaded[1] == sample_rate:
            return
        self._loaded = None
        synth.set_sample_rate(sample_rate)
        synth.set_bpm(BPM)
        if not synth.load_json(template.text({}, template.name)):
            raise SynthError(
                f"vita does not take the preset '{template.name}'; it may be damaged or too new"
            )
        self._loaded = template, sample_rate

    def close(self) -> None:
        """Do nothing: a package is not unloaded."""


ENGINE = _Engine()


class _Playing:
    """The engine, about to play one note."""

    generation = 0

    def __init__(self, synth: Any, sample_rate: int) -> None:
        self.synth, self.sample_rate = synth, sample_rate

    def __enter__(self) -> "_Playing":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Do nothing: the forked process ends."""

    def play(self, values: dict[str, float], note: Note) -> Audio:
        """Play one note with other values of the controls; mean of left and right."""
        controls = self.synth.get_controls()
        for name, value in values.items():
            controls[name].set(value)
        n_samples = note.n_samples(self.sample_rate)
        seconds = (n_samples + 0.5) / self.sample_rate  # not a sample less by rounding
        audio = self.synth.render(note.pitch, note.velocity / 127, note.hold_seconds, seconds)
        return np.asarray(audio[:, :n_samples].mean(axis=0), np.float32)


def package_version() -> str:
    """Return the version of ``vita``.

    Raises:
        SynthError: It is not installed.
    """
    return version_of(PACKAGE, "the synth 'vital'", "vita (GPL-3.0)", "vital")


def user_folder() -> Path:
    """Return the folder in which Vital keeps presets, which need not exist."""
    if sys.platform == "darwin":
        return expanded("~/Music/Vital")
    return data_home() / "vital"


@functools.cache
def _told(version: str) -> tuple[ParamSpace, dict[str, str], VitalPreset]:
    """Ask the package for its controls, those that are dropped and why, and its first preset."""
    paths = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    try:
        answer = subprocess.run(
            [*python(), "-P", "-c", COMMAND], env={**os.environ, "PYTHONPATH": paths},
            stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=True,
        ).stdout  # fmt: skip
        told = json.loads(answer)
    except (subprocess.SubprocessError, OSError, ValueError) as error:
        said = getattr(error, "stderr", b"") or str(error).encode()
        reason = said.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise SynthError(
            f"the package vita {version} does not load ({reason}); install it again"
        ) from error
    controls = told["controls"]
    told["init"]["synth_version"] = VITAL  # its own, 99999.9.9, is newer than any Vital
    dropped = {
        name: f"left to the template, since it has more than {MOST_SETTINGS} settings"
        for name, info in controls.items()
        if info["is_discrete"] and info["max"] - info["min"] >= MOST_SETTINGS
    }
    params = (_param(name, info) for name, info in controls.items() if name not in dropped)
    return ParamSpace(tuple(params)), dropped, vital_preset(told["init"], "the first preset")


def _param(name: str, info: dict[str, Any]) -> Param:
    """Return a control as the package tells it; its values are those of files."""
    parts = re.match(r"[a-z]+(_\d+)?", name)
    group = parts[0] if parts else ""
    low, high, default = info["min"], info["max"], info["default_value"]
    if not info["is_discrete"]:
        plain = info["scale"] == "Linear" and info["display_multiply"] == 1
        unit = info["display_units"].strip() if plain else ""
        return Param(name, "continuous", low, high, default, unit=unit, group=group)
    n = round(high - low) + 1
    labels = tuple(info["options"])
    if n == 2 and set(labels) <= {"Off", "On"}:
        return Param(name, "toggle", low, high, default, 2, group=group)
    if not labels:
        return Param(name, "stepped", low, high, default, n, group=group)
    labels += tuple(str(i) for i in range(len(labels), n))  # settings that nobody has named
    return Param(name, "categorical", low, high, default, n, labels=labels, group=group)
