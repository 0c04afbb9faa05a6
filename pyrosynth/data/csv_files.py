"""CSV files that people make: any separator and text encoding that a spreadsheet writes."""

import csv
import io
from collections.abc import Container, Iterator
from contextlib import contextmanager
from pathlib import Path

from pyrosynth.errors import InputError, reading
from pyrosynth.files import read_limited

LARGEST_FILE = 2**28  # bytes
SEPARATORS = (",", ";", "\t")


def read_csv(
    path: str | Path, what: str, known: Container[str]
) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """Read a CSV file in UTF-8 or UTF-16, with a comma, a semicolon or a tab between its cells.

    Args:
        path: The file.
        what: What an error says is in it, such as ``"tags"``.
        known: Names of columns, one of which tells the separator.

    Returns:
        The columns, and the further lines that hold something, each with its number.

    Raises:
        InputError: The file cannot be read, or while its lines are read: it is no CSV.
    """
    failure = f"cannot read {what} from '{path}'"
    with reading(InputError, failure, "give a CSV file in UTF-8"):
        content = read_limited(path, LARGEST_FILE)
        wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
        text = content.decode("utf-16" if wide else "utf-8-sig")
    header = next((line for line in text.splitlines() if line.strip()), "").replace('"', "")
    separator = next(
        (s for s in SEPARATORS if any(cell.strip() in known for cell in header.split(s))), ","
    )
    lines = _lines(text, separator, path)
    return [column.strip() for column in next(lines, (1, []))[1]], lines


def _lines(text: str, separator: str, path: str | Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the lines that hold something, each with its number."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
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
def line_of_file(path: str | Path, number: int) -> Iterator[None]:
    """Say in front of an error which line it is about."""
    try:
        yield
    except InputError as error:
        raise InputError(f"'{path}' line {number}: {error}") from error
