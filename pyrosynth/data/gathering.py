"""Gather the presets of a synth: its own, those in files, or drawn ones where there are none."""

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pyrosynth.audio.note import Note
from pyrosynth.data.augmentation import augment
from pyrosynth.data.csv_files import read_csv
from pyrosynth.errors import (
    MOST,
    InputError,
    SynthError,
    checked_seed,
    counted,
    integer,
    number,
    one_line,
    reading,
    require_type,
)
from pyrosynth.files import OF_SYSTEM, checked_path, read_limited, write_bytes
from pyrosynth.synths.base import Synth, require_synth
from pyrosynth.synths.description import legal
from pyrosynth.synths.presets import (
    LARGEST_FILE,
    Preset,
    all_good,
    distinct,
    keys_or_error,
    own_columns,
    preset_array,
    preset_from_json,
    say_between,
)
from pyrosynth.synths.rendering import Renderer
from pyrosynth.synths.subspace import Subspace

NOTE = Note(hold_seconds=1.0, duration_seconds=1.5)  # that tells silent presets
SAMPLE_RATE = 22050
QUIET = 1e-3  # peak below which a drawn preset counts as silent: -60 dB full scale
DRAWN = "drawn"  # bank of presets that nobody made
TEXTS = ("name", "bank")  # columns of a table that hold no number
DECIMAL_COMMA = re.compile(r"[-+]?\d*,\d+")
NAMED = 5  # presets at which a synth fails that are named, at most
MOST_DRAWS = 20  # settings drawn for one that sounds


@dataclass(frozen=True)
class Gathered:
    """Presets, and what became of the files.

    Attributes:
        presets: Distinct ones, in the order they were met.
        silent: Which have no sound, or fail, shape (n,).
        sources: Number of presets of each source, before equal ones were left out.
        skipped: Files in folders that hold no presets of the synth, and why.
        failed: What is wrong with single presets, and with files that were named.
        crashed: Names of the presets at which the synth crashed, hung or gave no numbers; they
            count as silent.
    """

    presets: list[Preset]
    silent: NDArray[np.bool_]
    sources: dict[str, int]
    skipped: dict[str, str]
    failed: list[str] = field(default_factory=list)
    crashed: list[str] = field(default_factory=list)

    @property
    def loud(self) -> list[Preset]:
        """Those with a sound."""
        return [p for p, silent in zip(self.presets, self.silent, strict=True) if not silent]

    def crashes(self) -> str:
        """Say at which presets the synth fails, in a line."""
        named = ", ".join(f"'{name}'" for name in self.crashed[:NAMED])
        return f"the synth crashes, hangs or gives no numbers at {len(self.crashed)}: {named}"

    def save(self, path: str | Path, synth: str) -> None:
        """Write the presets as JSON, silent ones marked.

        Raises:
            InputError: The file cannot be written.
        """
        rows = [
            {"name": p.name, "bank": p.bank, "silent": bool(silent), "parameters": dict(p.values)}
            for p, silent in zip(self.presets, self.silent, strict=True)
        ]
        lines = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in rows)
        text = f'{{\n "synth": {json.dumps(synth)},\n "presets": [\n{lines}\n ]\n}}\n'
        write_bytes(path, text.encode())


def gather(
    synth: Synth,
    files: Sequence[str | Path] = (),
    *,
    strict: bool = True,
    workers: int | None = None,
    progress: bool = True,
) -> Gathered:
    """Gather the presets that come with a synth and those in files, and listen to them.

    In a folder lies whatever its owner keeps there: what holds no presets is left out.

    Args:
        synth: The synth.
        files: Files of presets, as `read_presets` takes them, or folders of such files.
        strict: Whether to refuse a file that is named if it or one of its presets is bad; else
            all that is good is gathered.
        workers: Processes that render; all cores if left out.
        progress: Whether to show a progress bar.

    Returns:
        The presets, equal ones once.

    Raises:
        InputError: A file that is named is bad, and ``strict``.
    """
    require_synth(synth)
    require_type("files", files, Sequence, "a list of paths")
    own: list[Preset] = []
    skipped: dict[str, str] = {}
    failed: list[str] = []
    try:
        own = synth.presets()
    except SynthError as error:  # such as of amsynth without its banks, beside which files will do
        if files:
            skipped[f"the presets of {synth.name}"] = str(error)
        else:
            failed.append(str(error))
    sources = {"of the synth": len(own)} if own else {}
    found = list(own)
    for given, is_named in _listed(files):
        try:
            file = checked_path("file of presets", given)
            if _is_folder(file):
                with reading(InputError, f"cannot read the folder '{file}'", "give another"):
                    os.listdir(file)
                raise InputError(f"the folder '{file}' is empty; give one that holds presets")
            if not os.path.exists(file):
                raise InputError(f"no file or folder '{file}'; give one that holds presets")
            each = _read_each(synth, file)
        except (InputError, SynthError) as error:
            if not is_named:
                skipped[str(given)] = str(error)
            elif strict:
                raise
            else:
                failed.append(_of(given, error))
            continue
        bad = [one for one in each if isinstance(one, InputError)]
        if bad and strict and is_named:
            raise bad[0]
        failed += [_of(given, error) for error in bad]
        good = [one for one in each if isinstance(one, Preset)]
        sources[str(file)] = len(good)
        found += legal(good, synth.param_space)
        if file.suffix.lower() in TABLES:
            say_between(good, synth.param_space, f" of '{file}'")
    presets = distinct(found, synth.param_space) if found else []
    silent, crashed = np.zeros(len(presets), bool), list[str]()
    if presets:
        with Renderer(synth, NOTE, SAMPLE_RATE, workers=workers, keep_audio=False) as renderer:
            values = preset_array(presets, synth.param_space)
            heard = renderer.render(values, "listen" if progress else None)
        silent = heard.reason != ""
        crashed = [presets[i].name for i in np.flatnonzero(heard.failed)]
    return Gathered(presets, silent, sources, skipped, failed, crashed)


def _of(file: str | Path, error: Exception) -> str:
    """Return what is wrong with a file, which a synth's own words need not name."""
    return str(error) if str(file) in str(error) else f"'{file}': {error}"


def read_presets(synth: Synth, path: str | Path) -> list[Preset]:
    """Read the presets of a synth from a file.

    Args:
        synth: The synth.
        path: JSON of one preset or of many, as pyrosynth and the explorer write them; CSV with a
            column for each parameter in native values, and ``name`` and ``bank`` if there are
            any, which are called ``name (2)`` and ``bank (2)`` where a parameter has that name;
            else a file of the synth's own format.

    Raises:
        InputError: There are none in the file, or they name unknown parameters.
    """
    require_synth(synth)
    return all_good(_read_each(synth, Path(path)))


def _read_each(synth: Synth, file: Path) -> list[Preset | InputError]:
    """Read presets as `read_presets` does, with an error in the place of a preset that is bad.

    Raises:
        InputError: The file as a whole is bad, or each preset in it.
    """
    reader = TABLES.get(file.suffix.lower())
    each = synth.read_each(file) if reader is None else list(reader(synth, file))
    if not each:
        raise InputError(f"there are no presets in '{file}'; give a file of presets")
    for i, one in enumerate(each):
        if isinstance(one, Preset):
            try:
                one.array(synth.param_space)
            except InputError as error:
                each[i] = InputError(f"'{file}': {error}")
    if isinstance(each[0], InputError) and not any(isinstance(one, Preset) for one in each):
        raise each[0]
    return each


def drawn_presets(
    synth: Synth, n: int, seed: int = 0, *, workers: int | None = None, progress: bool = True
) -> list[Preset]:
    """Draw presets that sound, where nobody has made any: each parameter from its whole range.

    Args:
        synth: The synth; the parameters its description leaves out stay at their defaults.
        n: Number of presets.
        seed: Of the draws.
        workers: Processes that render; all cores if left out.
        progress: Whether to show progress bars.

    Raises:
        SynthError: Hardly any setting gives a sound.
    """
    require_synth(synth)
    n, seed, space = integer("presets to draw", n, 1, MOST), checked_seed(seed), synth.param_space
    part = Subspace(space, space.select(space.usual))
    presets: list[Preset] = []
    n_drawn = 0
    with Renderer(synth, NOTE, SAMPLE_RATE, workers=workers) as renderer:
        while len(presets) < n:
            if n_drawn >= MOST_DRAWS * n:
                raise SynthError(
                    f"of {counted(n_drawn, 'random setting')} of '{synth.name}' only "
                    f"{len(presets)} sounded; give presets, or --fix the controls that silence it"
                )
            size = min(n, 512)
            learnt, _ = augment(
                part.learnt.defaults[None], part.learnt, size, seed, n_drawn, "uniform"
            )
            n_drawn += size
            values = part.complete(learnt)
            rendered = renderer.render(values, "draw presets" if progress else None)
            assert rendered.audio is not None
            loud = (rendered.reason == "") & (np.abs(rendered.audio).max(axis=1) >= QUIET)
            for row in values[loud]:
                presets.append(Preset.from_array(space, row, f"drawn {len(presets)}", DRAWN))
    return presets[:n]


def _is_folder(path: Path) -> bool:
    """Tell whether a path is a folder of files, and not a bundle that is one preset."""
    return os.path.isdir(path) and not os.path.exists(path / "manifest.ttl")


def _listed(files: Sequence[str | Path]) -> Iterator[tuple[str | Path, bool]]:
    """Yield what is given, what is in it in the place of a folder; and whether it was named."""
    for given in files:
        inside: list[Path] = []
        with suppress(InputError):  # whoever reads it says what is wrong
            inside = _inside(checked_path("file of presets", given))
        yield from ((file, False) for file in inside) if inside else [(given, True)]


def _inside(folder: Path) -> list[Path]:
    """Return the files and bundles in a folder and those below it, sorted; none of a file.

    A folder below it that may not be read is there itself.
    """
    found: list[Path] = []

    def keep(error: OSError) -> None:
        found.append(Path(error.filename))

    for root, folders, files in os.walk(folder, onerror=keep) if _is_folder(folder) else ():
        bundles = [name for name in folders if not _is_folder(Path(root, name))]
        folders[:] = [name for name in folders if name not in bundles]
        found += (Path(root, name) for name in (*files, *bundles))
    return sorted(file for file in found if file != folder and not OF_SYSTEM.fullmatch(file.name))


def _read_json(synth: Synth, file: Path) -> Iterator[Preset | InputError]:
    """Read presets from JSON, as `Preset.save`, `Gathered.save` and the explorer write them."""
    with reading(InputError, f"cannot read presets from '{file}'", "give JSON of presets"):
        data = json.loads(read_limited(file, LARGEST_FILE * 8), object_pairs_hook=keys_or_error)
        if isinstance(data, dict) and isinstance(data.get("presets"), list):
            if data["synth"] != synth.name:
                raise ValueError(f"they are of '{data['synth']}', not of '{synth.name}'")
            common = {"synth": synth.name, "name": ""}
            data = [{**common, **row} if isinstance(row, dict) else row for row in data["presets"]]
    one_only = not isinstance(data, list)
    for n, one in enumerate([data] if one_only else data, 1):
        where, bank = (
            (f"'{file}'", file.stem) if one_only else (f"'{file}', number {n}", file.name)
        )
        try:
            yield preset_from_json(one, synth.name, where, bank)
        except InputError as error:
            yield error


def _read_csv(synth: Synth, file: Path) -> Iterator[Preset | InputError]:
    """Read presets from a table, one in each row."""
    texts = dict(zip(TEXTS, own_columns(synth.param_space.names, TEXTS), strict=True))
    known = {texts["name"], *synth.param_space.names}
    columns, lines = read_csv(file, "presets", known)
    if not known & set(columns) and any(re.fullmatch(r"[-+\d.]+", one) for one in columns):
        held = one_line(", ".join(columns), 80)
        raise InputError(
            f"'{file}' begins with {held}, of which none is '{texts['name']}' or a parameter of "
            f"{synth.name}; let the first line name the columns"
        )
    twice = next((column for column, n in Counter(columns).items() if n > 1), None)
    if twice is not None:
        raise InputError(f"'{file}' has the column '{twice}' twice; leave one of them")
    for line, cells in lines:
        try:
            yield _preset_of_row(columns, cells, texts, f"'{file}' line {line}", file.name)
        except InputError as error:
            yield error


def _preset_of_row(
    columns: list[str], cells: list[str], texts: Mapping[str, str], where: str, bank: str
) -> Preset:
    """Read one row of a table; a parameter whose cell is empty is left out.

    Args:
        columns: What the columns are called.
        cells: Of the row.
        texts: What those of ``TEXTS`` are called.
        where: The row, for errors.
        bank: Of presets that say none.
    """
    if len(cells) != len(columns):
        raise InputError(
            f"{where} has {counted(len(cells), 'cell')} for {counted(len(columns), 'column')}; "
            "give one for each, and write decimals with a point"
        )
    row = dict(zip(columns, cells, strict=True))
    values = {
        column: _value(column, cell.strip(), texts, where)
        for column, cell in row.items()
        if column not in texts.values() and cell.strip()
    }
    return Preset(row.get(texts["name"], ""), values, row.get(texts["bank"]) or bank)


def _value(column: str, cell: str, texts: Mapping[str, str], where: str) -> float:
    """Return the number in a cell of a table."""
    plain = column and "_" not in cell  # Python reads 6_0 as 60, which nobody means
    with suppress(ValueError, InputError):
        return number(column, float(cell) if plain else cell)
    if not column:
        advice = "leave the column out; pandas does with to_csv(index=False)"
    elif column.casefold() in texts:
        advice = f"call the column '{texts[column.casefold()]}'"
    elif DECIMAL_COMMA.fullmatch(cell):
        advice = f"write it with a point: {cell.replace(',', '.')}"
    else:
        advice = "give a finite number, or leave out a column that is no parameter"
    said = "is under no name of a parameter" if not column else "is no number"
    raise InputError(f"{where}, column '{column}': '{cell}' {said}; {advice}")


TABLES = {".json": _read_json, ".csv": _read_csv}  # files that say native values
