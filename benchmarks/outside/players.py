"""Runs the program of each out-of-domain sound, in a process that it may take with it."""

import json
import os
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmarks.outside.families import FAMILIES, Family, Sound, environment
from pyrosynth.audio.background import fit_length
from pyrosynth.audio.io import load_audio, save_audio
from pyrosynth.audio.note import Note
from pyrosynth.errors import InputError, SynthError
from pyrosynth.synths.amsynth import data_folder
from pyrosynth.synths.apt import VERSIONS, fetch

PEAK = 0.4  # level of every sound
TIMEOUT_SECONDS = 60.0
SILENT = "is silent"  # as `load_audio` begins to say it


@dataclass(frozen=True)
class Job:
    """A sound to make.

    Args:
        folder: The folder of all sounds.
        family: Name of its family, the sub-folder that its file lies in.
        sound: What to play.
        tree: The unpacked packages of the family.
        note: The note.
        sample_rate: Rate of the file in Hz.
    """

    folder: Path
    family: str
    sound: Sound
    tree: Path
    note: Note
    sample_rate: int

    @property
    def file(self) -> str:
        """Path of the sound's file in the folder."""
        return f"{self.family}/{self.sound.name}.wav"

    def play(self) -> str:
        """Make the sound's file, whole or not at all.

        Returns:
            Why there is none, empty if there is.

        Raises:
            InputError: The file cannot be written.
        """
        family = FAMILIES[self.family]
        with tempfile.TemporaryDirectory(prefix="pyrosynth-") as name:
            work, file = Path(name), Path(name) / "out.wav"
            reason = self._run(family, work)
            if not reason and not file.exists():
                reason = "cannot be rendered: its program wrote nothing"
            if reason:
                return reason
            try:
                audio = load_audio(file, self.sample_rate)
            except InputError as error:
                reason = str(error).removeprefix(f"'{file}' ")
                return SILENT if reason.startswith(SILENT) else reason
        if not family.released:
            held = int(self.note.hold_seconds * self.sample_rate)
            audio = fit_length(audio, held, self.sample_rate)
        sound = np.zeros(self.note.n_samples(self.sample_rate), np.float32)
        sound[: len(audio)] = audio[: len(sound)]
        sound *= PEAK / np.abs(sound).max()
        save_audio(self.folder / self.file, sound, self.sample_rate, "PCM_16")
        return ""

    def _run(self, family: Family, work: Path) -> str:
        command, further = family.command(self.tree, self.sound.recipe, self.note, work)
        try:
            done = subprocess.run(
                command,
                cwd=work,
                env={**os.environ, **environment(self.tree, work), **further},
                capture_output=True,
                stdin=subprocess.DEVNULL,
                timeout=TIMEOUT_SECONDS,
                start_new_session=True,  # Ctrl-C is the business of this process
            )
        except subprocess.TimeoutExpired:
            return f"does not end within {TIMEOUT_SECONDS:.0f} s"
        except OSError as error:
            return f"cannot be rendered: {error.strerror or error}"
        if done.returncode < 0:
            return f"kills its program ({signal.Signals(-done.returncode).name})"
        said = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["no message"]
        return f"cannot be rendered: {said[-1]}" if done.returncode else ""


def play_all(jobs: Sequence[Job], workers: int) -> dict[str, str]:
    """Play sounds, some at once.

    Args:
        jobs: The sounds.
        workers: Programs that run at once.

    Returns:
        Why some are missing, by their files.

    Raises:
        SynthError: All sounds of a family are missing though not silent.
        InputError: A file cannot be written.
    """
    failed = {}
    with (
        tqdm(total=len(jobs), desc="sounds", unit="sound", disable=not jobs) as bar,
        ThreadPoolExecutor(workers) as pool,
    ):
        waiting = {pool.submit(job.play): job.file for job in jobs}
        try:
            for future in as_completed(waiting):
                if reason := future.result():
                    failed[waiting[future]] = reason
                bar.update()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    for family, n_jobs in Counter(job.family for job in jobs).items():
        reasons = [reason for file, reason in failed.items() if file.startswith(f"{family}/")]
        if len(reasons) == n_jobs and set(reasons) != {SILENT}:
            raise SynthError(
                f"no sound of the family '{family}' can be made; the last one {reasons[-1]}; "
                "leave the family out by --families"
            )
    return failed


def packages(family: Family) -> tuple[Path, dict[str, str]]:
    """Return the folder of a family's packages and their versions; fetch them if need be.

    Raises:
        SynthError: They cannot be fetched, or what was fetched is damaged.
    """
    tree = data_folder() / "outside" / family.packages[0]
    if not tree.exists():
        fetch(family.packages, tree)
    try:
        versions = json.loads((tree / VERSIONS).read_text())
        return tree, {package: versions[package] for package in family.packages}
    except (OSError, ValueError, KeyError) as error:
        raise SynthError(f"'{tree}' is damaged; delete it to have it fetched again") from error
