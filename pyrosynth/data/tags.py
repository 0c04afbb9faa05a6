"""Tags: classes of sounds, what is known of them for each preset, and the CSV files that hold it.

A tag is a name and its classes in order, such as ``brightness: dark/bright``. What is known is
kept as a *label mask*, one truth value for each preset, tag and class: whether the class may
hold. One that remains is a label, all of them mean that the label is missing, and some that one
of the others was excluded; everything that reads tags treats the three alike.
"""

import csv
import hashlib
import io
import logging
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyrosynth.data.csv_files import line_of_file, read_csv
from pyrosynth.data.rows import PresetFinder
from pyrosynth.errors import (
    InputError,
    checked_seed,
    counted,
    number,
    numbers,
    one_line,
    require_type,
    unknown,
)
from pyrosynth.files import LONGEST_NAME, checked_path, safe_name, write_bytes

if TYPE_CHECKING:
    from pyrosynth.data.dataset import Dataset

log = logging.getLogger(__name__)

OF_ALL = re.compile(r"(z|pc)\d+")  # names of axes that every latent has
BETWEEN = "|"  # between classes of a cell of which either may hold
UNNAMED = ("", "Unnamed: 0")  # names of the index that pandas writes, and reads and writes again
ID, NAME = "preset", "name"  # columns that say which preset a line is about
LabelMask = NDArray[np.bool_]


@dataclass(frozen=True)
class Tag:
    """A name and the classes it tells apart, in their order along an axis.

    Args:
        name: What the classes are about.
        classes: Two or more classes, from one end to the other.

    Raises:
        InputError: The name is empty, there are fewer than two classes, one is there twice, or a
            name cannot stand in that of a file or is that of another axis.
    """

    name: str
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check the classes."""
        require_type("name of a tag", self.name, str, "text")
        require_type(f"classes of tag '{self.name}'", self.classes, (tuple, list), "a list")
        for name in self.classes:
            require_type(f"a class of tag '{self.name}'", name, str, "text")
        object.__setattr__(self, "classes", tuple(self.classes))
        odd = next((name for name in (self.name, *self.classes) if not _usable(name)), None)
        if odd is not None:
            raise InputError(
                f"'{odd}' is no name for a tag or a class; take at most {LONGEST_NAME} letters "
                "and digits, without the signs that file names cannot hold, and none that an axis "
                "has already, such as z1 or pc1"
            )
        distinct = len({name.casefold() for name in self.classes})
        if not self.name or distinct < 2 or distinct < len(self.classes) or "" in self.classes:
            raise InputError(
                f"tag '{self}' is not usable; write a name, a colon, and different classes with "
                "slashes between them, such as 'brightness: dark/bright'"
            )

    def __str__(self) -> str:
        """Return such as ``brightness: dark/bright``."""
        return f"{self.name}: {'/'.join(self.classes)}"

    @classmethod
    def parse(cls, text: str) -> "Tag":
        """Read what ``str`` wrote."""
        require_type("a tag", text, str, "text, such as 'brightness: dark/bright'")
        name, colon, classes = text.partition(":")
        if not colon:
            raise InputError(
                f"'{text}' is no tag; write a name, a colon, and its classes with slashes between "
                "them, such as 'brightness: dark/bright', or leave it out"
            )
        return cls(name.strip(), tuple(part.strip() for part in classes.split("/")))

    def possible(self, cell: str) -> list[int]:
        """Return the numbers of the classes that a cell of a table leaves possible.

        Args:
            cell: A class, its number unless classes are called by numbers, several with ``|``
                between them, or nothing.

        Raises:
            InputError: One is not a class of the tag (they are listed).
        """
        if not cell.strip():
            return list(range(len(self.classes)))
        numerals = any(name.isdecimal() for name in self.classes)  # no numbers of classes, too
        places = {} if numerals else {str(i): i for i in range(len(self.classes))}
        places |= {name.casefold(): i for i, name in enumerate(self.classes)}
        found = []
        for name in cell.split(BETWEEN):
            if name.strip().casefold() not in places:
                raise unknown(f"value of {self.name}", name.strip(), (*self.classes, "(empty)"))
            found.append(places[name.strip().casefold()])
        return found


def _usable(name: str) -> bool:
    """Tell whether a name can stand on axes and in the names of files; that none is another's.

    An empty one is none of this function's business.
    """
    if not name:
        return True
    with suppress(InputError):
        return safe_name(name) == name and not OF_ALL.fullmatch(name)
    return False


@dataclass(frozen=True, eq=False)
class TagTable:
    """What is known of the tags of all presets of a dataset.

    Args:
        tags: The tags; no two of one name.
        label_mask: Which classes may hold, shape (n_presets, n_tags, n_classes); a tag of fewer
            classes than another leaves the last ones out.
        descriptors: The number behind each tag, shape (n_presets, n_tags), NaN where there is
            none: what labels were made of, kept to measure how well an axis follows it.

    Raises:
        InputError: Two tags have one name, or the mask rules out every class of a tag.
    """

    tags: tuple[Tag, ...]
    label_mask: LabelMask
    descriptors: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        """Check that the parts agree."""
        mask, possible = numbers("label_mask", self.label_mask), missing(self.tags)
        if mask.dtype != bool or mask.ndim != 3 or mask.shape[1:] != possible.shape:
            raise InputError(
                f"label_mask holds {mask.dtype} of shape {mask.shape}; give booleans of shape "
                f"(n_presets, {', '.join(map(str, possible.shape))})"
            )
        object.__setattr__(self, "tags", tuple(self.tags))
        object.__setattr__(self, "label_mask", mask)
        if self.descriptors is not None and np.shape(self.descriptors) != mask.shape[:2]:
            raise InputError(
                f"descriptors have shape {np.shape(self.descriptors)}; give {mask.shape[:2]}"
            )
        if len(set(self.names)) < len(self.names):
            raise InputError(f"tags {', '.join(self.names)}: each needs a name of its own")
        if not (self.label_mask & missing(self.tags)).any(-1).all():
            raise InputError("the mask rules out every class of a tag; leave one possible")

    def __len__(self) -> int:
        """Return the number of presets."""
        return len(self.label_mask)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the tags."""
        return tuple(tag.name for tag in self.tags)

    @property
    def classes(self) -> tuple[tuple[str, ...], ...]:
        """Classes of each tag."""
        return tuple(tag.classes for tag in self.tags)

    @property
    def labels(self) -> NDArray[np.float64]:
        """Number of the class that holds, NaN where unknown, shape (n_presets, n_tags)."""
        single = self.label_mask.sum(-1) == 1
        return np.where(single, self.label_mask.argmax(-1), np.nan)

    def hide(self, share: float, seed: int = 0) -> "TagTable":
        """Return a table in which labels are missing at random.

        Args:
            share: Probability that a label is hidden, each by itself.
            seed: Of what is hidden; the same for the first presets of a longer table.

        Raises:
            InputError: The share is not one.
        """
        share = number("share of the labels to hide", share, 0, 1)
        hidden = (
            np.random.default_rng(checked_seed(seed)).random(self.label_mask.shape[:2]) < share
        )
        return replace(self, label_mask=self.label_mask | (hidden[..., None] & missing(self.tags)))

    def require_contrast(self, rows: NDArray[np.intp]) -> None:
        """Make sure that the labels of these presets tell classes of some tag apart.

        A tag of which they do not is warned of: it costs only its own axis.

        Raises:
            InputError: One class may hold of all of them, of each tag, so no axis could follow.
        """
        flat = [
            one_line(tag.name, 40)
            for tag, labels in zip(self.tags, self.label_mask[rows].swapaxes(0, 1), strict=True)
            if labels[:, : len(tag.classes)].all(0).any()
        ]
        if not flat:
            return
        same = f"no two labels of tag '{flat[0]}' differ among the training presets"
        if len(flat) == len(self.tags):
            raise InputError(
                f"{same}, so no axis can follow it; label some of two classes at least, or leave "
                "the tag out"
            )
        more = f", nor of {counted(len(flat) - 1, 'other tag')}" if flat[1:] else ""
        log.warning("%s%s: no axis follows it", same, more)

    def fingerprint(self) -> str:
        """Return a hash of the tags and the label mask."""
        digest = hashlib.sha256("\n".join(map(str, self.tags)).encode())
        digest.update(np.packbits(self.label_mask).tobytes())
        return digest.hexdigest()


def missing(tags: Sequence[Tag]) -> LabelMask:
    """Return the label mask of a preset without labels, shape (n_tags, n_classes)."""
    require_type("tags", tags, (tuple, list), "a sequence of Tag")
    for tag in tags:
        require_type("one of tags", tag, Tag, "Tag(name, classes)")
    counts = np.array([len(tag.classes) for tag in tags], int)
    return np.arange(counts.max(initial=0)) < counts[:, None]


def labelled(
    tags: Sequence[Tag], labels: ArrayLike, descriptors: NDArray[np.float64] | None = None
) -> TagTable:
    """Make a table of labels.

    Args:
        tags: The tags.
        labels: Number of the class that holds, NaN where unknown, shape (n_presets, n_tags).
        descriptors: The number behind each tag, same shape.
    """
    known = numbers("labels", labels, np.float64)
    possible = missing(tags)
    holds = np.arange(possible.shape[1]) == known[..., None]
    label_mask = np.where(np.isnan(known)[..., None], possible, holds)
    return TagTable(tuple(tags), label_mask, descriptors)


def write_tags(path: str | Path, table: TagTable, dataset: "Dataset") -> int:
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
    from pyrosynth.data.dataset import require_dataset  # whose libraries tags do not need

    require_dataset(dataset)
    require_type("table", table, TagTable, "tags, such as descriptor_tags(dataset)")
    rows = dataset.rows("all", human_only=True)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([ID, NAME, *map(str, table.tags)])
    possible = missing(table.tags)
    for row, name in zip(rows.tolist(), dataset.names(rows), strict=True):
        cells = map(_cell, table.tags, table.label_mask[row], possible)
        writer.writerow([row, name, *cells])
    write_bytes(path, text.getvalue().encode())
    return len(rows)


def read_tags(path: str | Path, dataset: "Dataset") -> TagTable:
    """Read tags from a CSV file, as `write_tags` or a spreadsheet wrote it.

    Its columns are ``preset`` (number of the row in the dataset), ``name``, or both, and one for
    each tag, headed such as ``brightness: dark/bright``. A cell holds a class or its number,
    several with ``|`` between them if either may hold, or nothing where it is not known. Presets
    that are left out have no labels. Commas, semicolons or tabs may separate the cells; the text
    is UTF-8 or, with a byte order mark, UTF-16.

    Args:
        path: The file.
        dataset: The presets it is about.

    Returns:
        The table of all presets of the dataset.

    Raises:
        InputError: The file cannot be read, or a column, a preset or a value is wrong; the
            message says in which line.
    """
    path = checked_path("file of tags", path)
    finder = PresetFinder(dataset)
    columns, lines = read_csv(path, "tags", (ID, NAME))
    if not {ID, NAME} & set(columns) or len(set(columns)) < len(columns):
        raise InputError(
            f"'{path}' line 1: the columns are {', '.join(columns) or 'none'}; there must be "
            f"'{ID}' or '{NAME}', none twice, with a comma, a semicolon or a tab between them"
        )
    indexed = columns[0] in UNNAMED
    if indexed:
        log.warning("'%s': the first column has no name and is left out, as an index", path)
    with line_of_file(path, 1):
        if "" in columns[indexed:]:
            number = columns.index("", indexed) + 1
            raise InputError(
                f"column {number} has no name; give it one such as 'brightness: dark/bright', or "
                "delete it"
            )
        headed = list(enumerate(columns))[indexed:]
        tags = {i: Tag.parse(column) for i, column in headed if column not in (ID, NAME)}
        if not tags:
            raise InputError("there is no tag; add a column such as 'brightness: dark/bright'")
        label_mask = np.repeat(missing(list(tags.values()))[None], len(dataset), 0)
        TagTable(tuple(tags.values()), label_mask[:0])
    first: dict[int, int] = {}
    for line, cells in lines:
        with line_of_file(path, line):
            if len(cells) != len(columns):
                raise InputError(f"{counted(len(cells), 'cell')}, the header has {len(columns)}")
            if indexed and not cells[0].strip().isdecimal():
                raise InputError(
                    f"'{one_line(cells[0], 40)}' is in a column without a name, and no number of "
                    "an index; name the column such as 'brightness: dark/bright', or delete it"
                )
            said = dict(zip(columns, cells, strict=True))
            row = finder(said.get(ID, "").strip(), said.get(NAME, "").strip())
            if row in first:
                raise InputError(f"preset {row} was in line {first[row]} already")
            first[row] = line
            for j, (i, tag) in enumerate(tags.items()):
                possible = tag.possible(cells[i])
                label_mask[row, j] = np.isin(np.arange(label_mask.shape[2]), possible)
    return TagTable(tuple(tags.values()), label_mask)


def _cell(tag: Tag, held: LabelMask, possible: LabelMask) -> str:
    """Write what is known of one tag of one preset."""
    left = [name for name, may in zip(tag.classes, held, strict=False) if may]
    return "" if (held == possible).all() else BETWEEN.join(left)
