"""Tags as CSV files that people edit."""

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from pyrosynth.data.dataset import Dataset
from pyrosynth.data.tags import BETWEEN, Evidence, Tag, TagTable, missing
from pyrosynth.errors import InputError

ID, NAME = "preset", "name"  # columns that say which preset a line is about


def write_tags(path: str | Path, table: TagTable, dataset: Dataset) -> int:
    """Write the tags of the human presets that have a sound as CSV, for people to edit.

    Args:
        path: The file; an existing one is replaced once the new one is whole.
        table: The tags.
        dataset: Their presets.

    Returns:
        The number of presets.

    Raises:
        InputError: The file cannot be written.
    """
    rows = dataset.rows("all", human_only=True)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([ID, NAME, *map(str, table.tags)])
    possible = missing(table.tags)
    for row, name in zip(rows.tolist(), dataset.names(rows), strict=True):
        cells = map(_cell, table.tags, table.evidence[row], possible)
        writer.writerow([row, name, *cells])
    target = Path(path)
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text.getvalue(), encoding="utf-8")
        part.replace(target)
    except OSError as error:
        raise InputError(
            f"cannot write '{path}' ({error.strerror or error}); give another file"
        ) from error
    return len(rows)


def read_tags(path: str | Path, dataset: Dataset) -> TagTable:
    """Read tags from a CSV file.

    Its columns are ``preset`` (number of the row in the dataset), ``name``, or both, and one for
    each tag, headed such as ``brightness: dark/bright``. A cell holds a word or its number,
    several with ``|`` between them if either may hold, or nothing where it is not known. Presets
    that are left out have no labels.

    Args:
        path: The file.
        dataset: The presets it is about.

    Returns:
        The table of all presets of the dataset.

    Raises:
        InputError: The file cannot be read, or a column, a preset or a value is wrong; the
            message says in which line.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot read tags from '{path}' ({reason}); give a CSV file") from error
    lines = _lines(text, path)
    _, header = next(lines, (1, []))
    columns = [column.strip() for column in header]
    if not {ID, NAME} & set(columns) or len(set(columns)) < len(columns):
        raise InputError(
            f"'{path}' line 1: the columns are {', '.join(columns) or 'none'}; there must be "
            f"'{ID}' or '{NAME}', and none twice"
        )
    with _line(path, 1):
        tags = {i: Tag.parse(c) for i, c in enumerate(columns) if c not in (ID, NAME)}
        if not tags:
            raise InputError("there is no tag; add a column such as 'brightness: dark/bright'")
        evidence = np.repeat(missing(list(tags.values()))[None], len(dataset), 0)
        TagTable(tuple(tags.values()), evidence[:0])
    find = _Finder(dataset)
    first: dict[int, int] = {}
    for number, cells in lines:
        with _line(path, number):
            if len(cells) != len(columns):
                raise InputError(f"{len(cells)} cells, the header has {len(columns)}")
            said = dict(zip(columns, cells, strict=True))
            row = find(said.get(ID, "").strip(), said.get(NAME, "").strip())
            if row in first:
                raise InputError(f"preset {row} was in line {first[row]} already")
            first[row] = number
            for j, (i, tag) in enumerate(tags.items()):
                evidence[row, j] = np.isin(np.arange(evidence.shape[2]), tag.classes(cells[i]))
    return TagTable(tuple(tags.values()), evidence)


class _Finder:
    """Finds presets by number and name.

    Args:
        dataset: Where they are.
    """

    def __init__(self, dataset: Dataset) -> None:
        human = np.flatnonzero(dataset.origin == "human")
        self.n = len(dataset)
        self.names = dict(zip(human.tolist(), dataset.names(human), strict=True))
        self.rows: dict[str, list[int]] = {}
        for row, name in self.names.items():
            self.rows.setdefault(name.strip(), []).append(row)

    def __call__(self, number: str, name: str) -> int:
        """Return the row that a number, a name or both stand for."""
        if number:
            row = int(number) if number.isdecimal() else -1
            if not 0 <= row < self.n:
                raise InputError(f"there is no preset '{number}'; give 0 to {self.n - 1}")
            held = self.names.get(row, name).strip()
            if name and held != name:
                raise InputError(
                    f"preset {row} is '{held}', not '{name}'; the tags are of another dataset, or "
                    "of another line"
                )
            return row
        found = self.rows.get(name, [])
        if len(found) != 1:
            some = f"{len(found)} presets have" if found else "no preset has"
            raise InputError(f"{some} the name '{name}'; give the number in column '{ID}'")
        return found[0]


def _cell(tag: Tag, held: Evidence, possible: Evidence) -> str:
    """Write what is known of one tag of one preset."""
    left = [word for word, may in zip(tag.words, held, strict=False) if may]
    return "" if (held == possible).all() else BETWEEN.join(left)


def _lines(text: str, path: str | Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the lines that hold something, each with its number."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise InputError(f"'{path}' line {reader.line_num}: {error}; mend the line") from error
        if any(cell.strip() for cell in cells):
            yield reader.line_num, cells


@contextmanager
def _line(path: str | Path, number: int) -> Iterator[None]:
    """Say in front of an error which line it is about."""
    try:
        yield
    except InputError as error:
        raise InputError(f"'{path}' line {number}: {error}") from error
