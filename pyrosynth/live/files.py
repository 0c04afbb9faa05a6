"""The files of a live session: sounds that come in, presets that go out."""

import hashlib
import json
import logging
import os
import re
import shutil
import unicodedata
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pyrosynth.audio.io import Audio, save_audio, wav_bytes
from pyrosynth.audio.joined import LENGTH_UNKNOWN
from pyrosynth.audio.sound_files import SUFFIXES, folder_of_sounds
from pyrosynth.errors import InputError, PyrosynthError, require_type, unknown
from pyrosynth.files import files_below, writable
from pyrosynth.inference.hearing import Hearing
from pyrosynth.inference.posterior import Posterior
from pyrosynth.synths.base import Synth
from pyrosynth.synths.presets import Preset, preset_json
from pyrosynth.synths.sandbox import Scratch

LARGEST_FILE = 64 * 2**20  # bytes of a sound file
log = logging.getLogger(__name__)
LONGEST_SECONDS = 120.0  # of a sound file
IN_FILE = 128  # presets that are written into one file; amsynth reads no more
NOTES = 256  # files of notes that are kept
NOTE = re.compile(r"note-\d{1,3}-([0-9a-f]{16})\.wav")  # pitch, and digest of the sound

Values = NDArray[np.float64]


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
        self.written: dict[Path, tuple[int, str]] = {}  # bytes and digest
        # By folder, those of earlier servers too; the one played last at the end.
        self._notes: dict[Path, OrderedDict[Path, None]] = {}
        self._hidden: set[Path] = set()  # sounds that another one of their name hides
        self.folders = [Path(os.path.realpath(folder_of_sounds(one))) for one in folders]

    def sounds(self) -> list[str]:
        """Return the names of the sounds in the folders that they may be read from."""
        return sorted(self._listed())

    def _listed(self) -> dict[str, Path]:
        """Return the files by the names that `sounds` gives, without links that lead outside."""
        found: dict[str, Path] = {}
        for folder in self.folders:
            for file in files_below(folder, *SUFFIXES)[0]:
                name, real = str(file.relative_to(folder)), Path(os.path.realpath(file))
                if (
                    os.path.isfile(file)  # no pipe, which would be waited for
                    and name.isprintable()
                    and not file.name.startswith(".")
                    and real.is_relative_to(folder)
                    and found.setdefault(name, real) != real
                    and real not in self._hidden
                ):
                    says = "'%s' is the sound of that name, not '%s'; give one of them another"
                    log.warning(says, found[name], real)
                    self._hidden.add(real)
        return found

    def sound(self, name: str) -> list[Hearing]:
        """Read a sound file of any pitch by its name, from the folders given at the start only.

        Raises:
            InputError: There is none of that name, or it cannot be used.
        """
        return _read(self._file(name), name, self._posterior)

    def upload(self, content: bytes, name: str) -> list[Hearing]:
        """Read the content of a sound file of any pitch, see `pyrosynth.inference.hearing`.

        Raises:
            InputError: It cannot be used.
        """
        with _stored(content) as file:
            return _read(file, name, self._posterior)

    def _file(self, name: str) -> Path:
        require_type("the name of a sound", name, str, "one that sounds() lists")
        failed = None
        for folder in self.folders:
            try:
                file = Path(os.path.realpath(folder / name))  # which takes loops of links
                if file.is_relative_to(folder) and file.is_file():
                    return file
            except (OSError, ValueError) as error:  # such as of one that may not be read now
                failed = error
        for listed, file in self._listed().items():  # files from a Mac spell accents otherwise
            if unicodedata.normalize("NFC", listed) == unicodedata.normalize("NFC", name):
                return file
        if failed:
            raise InputError(f"'{name[:80]}' is not the name of a file ({failed})") from failed
        if not (known := self.sounds()[:20]):
            raise InputError(
                f"unknown sound '{name[:80]}': --sounds names no folder of sounds yet"
            )
        raise unknown("sound", name[:80], known)

    def note(self, audio: Audio, pitch: int, folder: Path) -> Path:
        """Keep the sound of a note as a file for programs that play it; the latest 256 are kept.

        It is named after what is in it, so the same sound is written once. Those that earlier
        servers wrote count too; a file whose sound is not the one that its name tells is none.

        Args:
            audio: Shape (n_samples,).
            pitch: MIDI number.
            folder: Where it goes.

        Returns:
            The file.

        Raises:
            InputError: It cannot be written, or another file has its name.
        """
        file = writable(folder) / f"note-{pitch}-{_digest(audio.tobytes())}.wav"
        if folder not in self._notes:
            self._notes[folder] = _written_before(folder)
        if not file.exists():
            save_audio(file, audio, self._posterior.run.features.sample_rate)
        elif not _is_note(file):
            raise InputError(f"'{file}' holds another sound than its name tells; move it away")
        notes = self._notes[folder]
        notes[file] = None
        notes.move_to_end(file)
        while len(notes) > NOTES:
            oldest, _ = notes.popitem(last=False)
            if _is_note(oldest, untouched=True):
                oldest.unlink(missing_ok=True)
        return file

    def bank(self, presets: Sequence[tuple[str, Values]]) -> tuple[str, bytes]:
        """Write presets as one file.

        Args:
            presets: Name and native values of all parameters, shape (n_params,), of each.

        Returns:
            How the name of the file ends, and what is in it: the synth's own format, as a ZIP
            archive where it is a folder, such as of LV2, or holds fewer presets than there are;
            or JSON if it has none, a list where there are several.
        """
        synth, space = self._posterior.synth, self._posterior.run.full_space
        named = [Preset.from_array(space, v, name, "pyrosynth") for name, v in presets]
        with Scratch() as scratch:
            folder = scratch.path / "presets"
            folder.mkdir()
            places = [folder / f"{name}{synth.preset_suffix}" for name in _file_names(named)]
            if synth.write_bank(places[0], named[:IN_FILE]):
                each = 1 if len(named) > 1 and _holds_one(synth, places[0]) else IN_FILE
                for i in range(each, len(named), each):
                    synth.write_bank(places[i], named[i : i + each])
                if len(named) <= each and places[0].is_file():
                    return synth.preset_suffix, places[0].read_bytes()
                archive = shutil.make_archive(str(scratch.path / "archive"), "zip", folder)
                return f"{synth.preset_suffix}.zip", Path(archive).read_bytes()
        texts = [self.text(values, name) for name, values in presets]
        return ".json", (texts[0] if len(texts) == 1 else f"[{','.join(texts)}]\n").encode()

    def may_write(self, file: Path) -> bool:
        """Tell whether a file is not there, or is as this server has written it."""
        if not os.path.lexists(file):
            return True
        n_bytes, digest = self.written.get(file, (-1, ""))
        if not file.is_file() or file.stat().st_size != n_bytes:  # a long take, and not to be read
            return False
        return digest == _digest(file.read_bytes())

    def wrote(self, file: Path) -> None:
        """Remember a file that this server has written."""
        content = file.read_bytes()
        self.written[file] = len(content), _digest(content)

    def text(self, values: Values, name: str) -> str:
        """Describe a preset as JSON that any host can play, see `pyrosynth.synths.presets`."""
        run, synth = self._posterior.run, self._posterior.synth
        preset = Preset.from_array(run.full_space, values, name, "pyrosynth")
        facts = preset_json(preset, synth.name, run.full_space, run.note.to_json())
        return json.dumps(facts, indent=1) + "\n"


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def _written_before(folder: Path) -> OrderedDict[Path, None]:
    """Return the files in a folder that are named as notes are, the latest at the end."""
    files = [file for file in folder.iterdir() if NOTE.fullmatch(file.name)]
    return OrderedDict.fromkeys(sorted(files, key=lambda file: file.lstat().st_mtime))


def _is_note(file: Path, untouched: bool = False) -> bool:
    """Whether a file holds the sound of a note, and nothing else if it is to be untouched."""
    import soundfile

    named = NOTE.fullmatch(file.name)
    try:
        if named is None or not file.is_file() or file.stat().st_size > LARGEST_FILE:
            return False
        sound, rate = soundfile.read(file, dtype="float32")
        # What a sampler has added, such as loop points, is somebody's work.
        plain = file.stat().st_size <= len(wav_bytes(sound, rate, "FLOAT"))
        return (plain or not untouched) and _digest(sound.tobytes()) == named[1]
    except (OSError, soundfile.LibsndfileError):
        return False


@contextmanager
def _stored(content: bytes) -> Iterator[Path]:
    """Keep the content of a file on disk for a while."""
    with Scratch() as scratch:
        file = scratch.path / "sound"
        file.write_bytes(content)
        yield file


def _read(file: Path, name: str, posterior: Posterior) -> list[Hearing]:
    """Read a sound file of bearable size; errors call it by ``name``."""
    import soundfile

    if file.stat().st_size > LARGEST_FILE:
        raise InputError(f"'{name}' is larger than {LARGEST_FILE >> 20} MiB; cut it shorter")
    try:
        seconds = soundfile.info(file).duration
    except (soundfile.LibsndfileError, RuntimeError):
        seconds = 0.0  # no sound; the posterior says so
    if LONGEST_SECONDS < seconds < LENGTH_UNKNOWN:
        raise InputError(f"'{name}' lasts {seconds:.0f} s; give at most {LONGEST_SECONDS:.0f} s")
    try:
        return posterior.hear(file)
    except InputError as error:
        raise InputError(str(error).replace(str(file), name)) from error


def is_plain(character: str) -> bool:
    """Tell whether a character may be in the name of a file that a session writes."""
    return character.isalnum() or character in " -_"


def _holds_one(synth: Synth, file: Path) -> bool:
    """Tell whether a file that was written for several presets holds only the first."""
    try:
        return len(synth.read_bank(file)) == 1
    except PyrosynthError:  # a class that writes its format need not read it
        return False


def _file_names(presets: Sequence[Preset]) -> list[str]:
    """Return names of files for presets, no two alike, of characters that every system takes."""
    names = ["".join(filter(is_plain, preset.name)).strip()[:80] or "preset" for preset in presets]
    return names if len(names) == 1 else [f"{name} {i}" for i, name in enumerate(names, 1)]
