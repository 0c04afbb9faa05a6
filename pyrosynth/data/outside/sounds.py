"""Sounds from outside: instruments, drums and voices that no synth of the package made.

Programs of the Debian distribution, fetched without root, play them at the note a model was
trained on. They test it where there is no true preset; nothing is ever trained on them. The same
command makes the same bytes on the same machine.
"""

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyrosynth._version import __version__
from pyrosynth.audio.io import load_audio
from pyrosynth.audio.note import Note
from pyrosynth.data.outside.families import FAMILIES, Sound
from pyrosynth.data.outside.players import PEAK, SILENT, Job, packages, play_all
from pyrosynth.errors import DataError, InputError, unknown
from pyrosynth.files import writable
from pyrosynth.synths.rendering import n_cores

CONTRACT, INDEX = "outside.json", "index.csv"
COLUMNS = ("file", "family", "instrument", "package", "version", "licence", "pitch")


@dataclass(frozen=True)
class Outside:
    """Sounds from outside, in the order of their index.

    Attributes:
        names: What they are, such as ``gm/056-trumpet``.
        families: One of `pyrosynth.data.outside.families.FAMILIES` each, shape (n,).
        audio: Shape (n, n_samples), float32, peak `pyrosynth.data.outside.players.PEAK`.
    """

    names: list[str]
    families: NDArray[np.str_]
    audio: NDArray[np.float32]


def load(folder: str | os.PathLike[str], note: Note, sample_rate: int) -> Outside:
    """Read the sounds that `make` made.

    Args:
        folder: The folder.
        note: The note they must have been made for.
        sample_rate: Rate in Hz; sounds of another one are resampled.

    Returns:
        The sounds.

    Raises:
        DataError: There are none, they are of another note, or a file is missing or damaged.
    """
    path = Path(folder)
    contract, rows = _read_contract(path), _read_index(path)
    if contract is None or not rows:
        raise DataError(
            f"'{folder}' holds no sounds from outside; make them with "
            f"`pyrosynth outside --out {folder}{_options(note)}`"
        )
    if contract["note"] != note.to_json():
        raise DataError(
            f"the sounds in '{folder}' are of another note ({json.dumps(contract['note'])}); "
            f"make others with `pyrosynth outside --out FOLDER{_options(note)}`"
        )
    audio = np.zeros((len(rows), note.n_samples(sample_rate)), np.float32)
    for line, row in zip(audio, rows, strict=True):
        try:
            sound = load_audio(path / row["file"], sample_rate)[: len(line)]
        except InputError as error:
            raise DataError(
                f"{error}; delete '{path / row['file']}' and call `pyrosynth outside` again"
            ) from error
        line[: len(sound)] = sound
    names = [row["file"].removesuffix(".wav") for row in rows]
    return Outside(names, np.array([row["family"] for row in rows], str), audio)


def make(
    out: str | os.PathLike[str],
    note: Note | None = None,
    *,
    sample_rate: int = 22050,
    families: Sequence[str] = tuple(FAMILIES),
    each: int | None = None,
    workers: int | None = None,
) -> dict[str, Any]:
    """Make sounds from outside, and fetch what plays them; call it again to go on.

    Args:
        out: The folder. Each sound is a 16-bit mono WAV file in a folder per family;
            ``index.csv`` says where it comes from.
        note: The note to play. Drums take its velocity and its length alone.
        sample_rate: Rate in Hz.
        families: Which of `pyrosynth.data.outside.families.FAMILIES`.
        each: At most so many of each family, spread over it; all if left out.
        workers: Programs that run at once; all cores if left out.

    Returns:
        ``sounds``, how many of each family the folder holds, and ``left_out``, why a sound is
        missing, by its file.

    Raises:
        InputError: A family is unknown, a number is out of range, or a file cannot be written.
        SynthError: A package cannot be fetched, or nothing of a family can be played.
        DataError: The folder holds something else, or sounds of another note, rate or version.
    """
    note, folder = note or Note(), Path(out)
    families = list(dict.fromkeys(families))
    for name in families:
        if name not in FAMILIES:
            raise unknown("family of sounds", name, FAMILIES)
    if not families or sample_rate < 8000 or (each is not None and each < 1):
        raise InputError(
            f"{len(families)} families, {each} sounds of each, {sample_rate} Hz: give at least "
            "1, 1 and 8000"
        )
    held = _read_contract(folder)
    if held is None:
        if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            raise DataError(f"'{out}' holds something else; give a new or an empty folder")
        held = {"packages": {}, "silent": []}
    asked = {"note": note.to_json(), "sample_rate": sample_rate, "peak": PEAK}
    _require(folder, held, asked)
    found = {name: packages(FAMILIES[name]) for name in families}
    versions = {k: version for _, of in found.values() for k, version in of.items()}
    _require(folder, held["packages"], versions)
    held |= {**asked, "packages": {**held["packages"], **versions}, "pyrosynth": __version__}
    _write(writable(folder) / CONTRACT, json.dumps(held, indent=1) + "\n")

    rows = {row["file"]: row for row in _read_index(folder)}
    jobs = []
    for name, (tree, _) in found.items():
        writable(folder / name)
        for sound in _spread(FAMILIES[name].sounds(tree), each):
            job = Job(folder, name, sound, tree, note, sample_rate)
            rows[job.file] = _row(job, versions)
            if job.file not in held["silent"] and not (folder / job.file).exists():
                jobs.append(job)
    failed = play_all(jobs, workers or n_cores())
    silent = {file for file, reason in failed.items() if reason == SILENT}
    held["silent"] = sorted({*held["silent"], *silent})
    _write(folder / CONTRACT, json.dumps(held, indent=1) + "\n")
    kept = [row for row in rows.values() if (folder / row["file"]).exists()]
    kept.sort(key=lambda row: (list(FAMILIES).index(row["family"]), row["file"]))
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(kept)
    _write(folder / INDEX, text.getvalue())
    return {
        "sounds": dict(Counter(row["family"] for row in kept)),
        "left_out": {**dict.fromkeys(held["silent"], SILENT), **failed},
    }


def _row(job: Job, versions: dict[str, str]) -> dict[str, str]:
    """Return what the index says of a sound."""
    family = FAMILIES[job.family]
    pitch = str(job.note.pitch) if family.pitched else ""
    cells = (
        job.file,
        job.family,
        job.sound.instrument,
        family.source,
        versions[family.source],
        family.licence,
        pitch,
    )
    return dict(zip(COLUMNS, cells, strict=True))


def _spread(sounds: Sequence[Sound], each: int | None) -> list[Sound]:
    n = min(len(sounds), each or len(sounds))
    return [sounds[i] for i in np.linspace(0, len(sounds) - 1, n).round().astype(int)]


def _require(folder: Path, held: dict[str, Any], wanted: dict[str, Any]) -> None:
    for key, value in wanted.items():
        if held.get(key, value) != value:
            raise DataError(
                f"the sounds in '{folder}' were made with {key} = {json.dumps(held[key])}, not "
                f"{json.dumps(value)}; give another folder or the first settings"
            )


def _read_contract(folder: Path) -> dict[str, Any] | None:
    file = folder / CONTRACT
    if not file.exists():
        return None
    try:
        contract: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if {"note", "packages", "silent"} <= set(contract):
            return contract
    except (OSError, ValueError, TypeError):
        pass
    raise DataError(f"'{file}' is damaged; delete '{folder}' and make the sounds anew")


def _read_index(folder: Path) -> list[dict[str, str]]:
    file = folder / INDEX
    if not file.exists():
        return []
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def _write(file: Path, text: str) -> None:
    part = file.with_name(file.name + ".part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(file)
    except OSError as error:
        raise InputError(
            f"cannot write '{file}' ({error.strerror or error}); free space or choose another "
            "folder"
        ) from error


def _options(note: Note) -> str:
    """Return the options of the command line that make sounds of a note."""
    names = {"pitch": "note", "hold_seconds": "hold", "duration_seconds": "duration"}
    usual = Note().to_json()
    return "".join(
        f" --{names.get(key, key)} {value}"
        for key, value in note.to_json().items()
        if value != usual[key]
    )
