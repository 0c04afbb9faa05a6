"""Dexed, the engine of a DX7 as a Python package, and the voices that lie on this machine.

``dexed-py`` is free software under the GPL, version 3 or later, and no part of this package: the
extra ``dexed`` installs it, and only the processes that render import it.
"""

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyrosynth.audio.io import Audio
from pyrosynth.audio.note import Note, require_note
from pyrosynth.errors import InputError
from pyrosynth.files import checked_path, data_home, expanded, files_below
from pyrosynth.synths.base import Synth
from pyrosynth.synths.dx7 import SPACE, read_each_syx, read_syx, voice_bytes, write_syx
from pyrosynth.synths.packages import version_of
from pyrosynth.synths.presets import Preset, checked_presets

log = logging.getLogger(__name__)
PACKAGE = "dexed-py"
VERSION = 1  # to be raised when this module changes what one hears
GAIN = 0.25  # single notes of loud voices peak between 4 and 5


class Dexed(Synth):
    """The DX7 with its 145 controls, as whole numbers.

    Raises:
        SynthError: ``dexed-py`` is not installed.
    """

    name = "dexed"
    param_space = SPACE
    isolation = "reuse"  # exact: a note starts from nothing that the one before left
    preset_suffix = ".syx"
    usual_prior = "mixture"

    def __init__(self) -> None:
        """Make sure that the package is there, without importing it."""
        called = "dexed-py (GPL-3.0 or later)"
        self.version = version_of(PACKAGE, "the synth 'dexed'", called, "dexed")
        self._engines: dict[int, Any] = {}

    def spec(self) -> dict[str, Any]:
        """Return the name; there is nothing to choose."""
        return {"synth": "dexed"}

    def identity(self) -> str:
        """Return the versions of the engine and of this module."""
        return f"{PACKAGE} {self.version}, {VERSION}"

    def presets(self) -> list[Preset]:
        """Read the cartridges in Dexed's folder; none if Dexed is not installed there.

        What cannot be read is left out, and named in the log.
        """
        voices = []
        files, closed = files_below(cartridges(), ".syx")
        wrong = [*closed.values()]
        for file in files:
            try:
                each = read_each_syx(file)
            except InputError as error:
                wrong.append(str(error))
                continue
            wrong += [str(one) for one in each if isinstance(one, InputError)]
            voices += [one for one in each if isinstance(one, Preset)]
        for line in wrong:
            log.warning("left out: %s", line)
        return voices

    def read_bank(self, path: str | os.PathLike[str]) -> list[Preset]:
        """Read a ``.syx`` file, see `pyrosynth.synths.dx7.read_syx`."""
        return read_syx(checked_path("bank file", path))

    def read_each(self, path: str | os.PathLike[str]) -> list[Preset | InputError]:
        """Read a ``.syx`` file, with an error in the place of a message that is bad."""
        return read_each_syx(checked_path("bank file", path))

    def write_bank(self, path: Path, presets: Sequence[Preset]) -> bool:
        """Write a ``.syx`` file, see `pyrosynth.synths.dx7.write_syx`."""
        write_syx(checked_path("bank file", path), checked_presets(presets))
        return True

    def render(self, values: NDArray[np.float64], note: Note, sample_rate: int) -> Audio:
        """Render one note; see `Synth.render`."""
        require_note(note)
        engine = self._engines.get(sample_rate)
        if engine is None:
            from dexed import DexedSynth

            engine = self._engines[sample_rate] = DexedSynth(sample_rate)._synth
        name_and_switches = b" " * 10 + b"\x3f"  # all six operators on
        engine.load_sysex(voice_bytes(values).tobytes() + name_and_switches)
        n_samples = note.n_samples(sample_rate)
        seconds = (n_samples + 0.5) / sample_rate  # not a sample less by rounding
        audio = engine.render(note.pitch, note.velocity, note.hold_seconds, seconds)
        return np.asarray(GAIN * audio[:n_samples], np.float32)


def cartridges() -> Path:
    """Return the folder in which Dexed keeps its cartridges, which need not exist."""
    if sys.platform == "darwin":
        base = expanded("~/Library/Application Support")
    else:
        base = data_home()
    return base / "DigitalSuburban" / "Dexed" / "Cartridges"
