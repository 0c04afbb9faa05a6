"""A folder of out-of-domain sounds, made or completed, with an index of where each comes from."""

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.outside.families import FAMILIES, Sound
from benchmarks.outside.players import PEAK, SILENT, Job, packages, play_all
from pyrosynth._version import __version__
from pyrosynth.audio.note import Note
from pyrosynth.errors import DataError, InputError, unknown
from pyrosynth.files import writable
from pyrosynth.synths.rendering import n_cores

CONTRACT, INDEX = "outside.json", "index.csv"
COLUMNS = ("file", "family", "instrument", "package", "version", "licence", "pitch")


def make(
    out: str | os.PathLike[str],
    note: Note | None = None,
    *,
    sample_rate: int = 22050,
    families: Sequence[str] = tuple(FAMILIES),
    each: int | None = None,
    workers: int | None = None,
) -> dict[str, Any]:
    """Make out-of-domain sounds, and fetch the programs that render them; call it again to go on.

    Args:
        out: The folder. Each sound is a 16-bit mono WAV file in a folder per family;
            ``index.csv`` says where it comes from.
        note: The note to play. Drums take its velocity and its length alone.
        sample_rate: Rate in Hz.
        families: Which of `benchmarks.outside.families.FAMILIES`.
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
