"""The files of a live session: sounds that come in, presets that go out."""

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pyrosynth.audio.io import Audio
from pyrosynth.audio.sketch import Sketch
from pyrosynth.errors import InputError, unknown
from pyrosynth.inference.posterior import Posterior
from pyrosynth.synths.presets import Preset, preset_json

LARGEST_FILE = 64 * 2**20  # bytes of a sound file
LONGEST_SECONDS = 120.0  # of a sound file

Values = NDArray[np.float64]
T = TypeVar("T", Audio, Sketch)


class SessionFiles:
    """Reads sounds and writes presets for a run.

    Args:
        posterior: The run.
        folders: Where sound files may be read from by name.

    Raises:
        InputError: A folder is missing.
    """

    def __init__(self, posterior: Posterior, folders: Sequence[str | Path] = ()) -> None:
        self._posterior = posterior
        self.written: set[Path] = set()
        self.folders = [Path(folder).resolve() for folder in folders]
        for folder in self.folders:
            if not folder.is_dir():
                raise InputError(f"no folder '{folder}'; give one that exists, with sounds in it")

    def sounds(self) -> list[str]:
        """Return the names of the files in the folders that sounds may be read from."""
        files = (f.relative_to(folder) for folder in self.folders for f in folder.rglob("*.*"))
        names = {str(file) for file in files if not file.name.startswith(".")}
        return sorted(name for name in names if name.isprintable())  # others cannot be told

    def sound(self, name: str) -> Audio:
        """Read a sound file by its name, from the folders given at the start only.

        Raises:
            InputError: There is none of that name, or it cannot be used.
        """
        return _read(self._file(name), name, self._posterior.listen)

    def sketch(self, name: str) -> Sketch:
        """Read a sound file of one note of any pitch and length by its name, as ``sound`` does."""
        return _read(self._file(name), name, self._posterior.sketch)

    def upload(self, content: bytes, name: str) -> Audio:
        """Read the content of a sound file.

        Raises:
            InputError: It cannot be used.
        """
        with _stored(content) as file:
            return _read(file, name, self._posterior.listen)

    def upload_sketch(self, content: bytes, name: str) -> Sketch:
        """Read the content of a sound file of one note of any pitch and length.

        Raises:
            InputError: It cannot be used, or has no pitch.
        """
        with _stored(content) as file:
            return _read(file, name, self._posterior.sketch)

    def _file(self, name: str) -> Path:
        for folder in self.folders:
            try:
                file = (folder / name).resolve()
                if file.is_relative_to(folder) and file.is_file():
                    return file
            except (OSError, ValueError) as error:
                raise InputError(f"'{name[:80]}' is not the name of a file ({error})") from error
        raise unknown("sound", name[:80], self.sounds()[:20])

    def preset(self, values: Values, name: str) -> tuple[str, bytes]:
        """Write a preset as a file.

        Args:
            values: Native values of all parameters, shape (n_params,).
            name: Of the preset.

        Returns:
            How the name of the file ends, and what is in it: the synth's own format, or JSON if
            it has none.
        """
        synth = self._posterior.synth
        preset = Preset.from_array(self._posterior.run.full_space, values, name, "pyrosynth")
        with tempfile.TemporaryDirectory(prefix="pyrosynth-") as folder:
            file = Path(folder) / f"preset{synth.preset_suffix}"
            if synth.write_bank(file, [preset]):
                return synth.preset_suffix, file.read_bytes()
        return ".json", self.text(values, name).encode()

    def text(self, values: Values, name: str) -> str:
        """Describe a preset as JSON that any host can play, see `pyrosynth.synths.presets`."""
        run, synth = self._posterior.run, self._posterior.synth
        preset = Preset.from_array(run.full_space, values, name, "pyrosynth")
        facts = preset_json(preset, synth.name, run.full_space, run.note.to_json())
        return json.dumps(facts, indent=1) + "\n"


@contextmanager
def _stored(content: bytes) -> Iterator[Path]:
    """Keep the content of a file on disk for a while."""
    with tempfile.TemporaryDirectory(prefix="pyrosynth-") as folder:
        file = Path(folder) / "sound"
        file.write_bytes(content)
        yield file


def _read(file: Path, name: str, read: Callable[[Path], T]) -> T:
    """Read a sound file of bearable size; errors call it by ``name``."""
    import soundfile

    if file.stat().st_size > LARGEST_FILE:
        raise InputError(f"'{name}' is larger than {LARGEST_FILE >> 20} MiB; cut it shorter")
    try:
        seconds = soundfile.info(file).duration
    except (soundfile.LibsndfileError, RuntimeError):
        seconds = 0.0  # no sound; the posterior says so
    if seconds > LONGEST_SECONDS:
        raise InputError(f"'{name}' lasts {seconds:.0f} s; give at most {LONGEST_SECONDS:.0f} s")
    try:
        return read(file)
    except InputError as error:
        raise InputError(str(error).replace(str(file), name)) from error
