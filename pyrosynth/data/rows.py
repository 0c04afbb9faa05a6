"""Numbers of presets, by which a dataset or a bank is read."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyrosynth.errors import InputError, counted, numbers, one_line

if TYPE_CHECKING:
    from pyrosynth.data.dataset import Dataset

Rows = NDArray[np.int64]
MOST_DIGITS = 18  # of the number of a preset


def existing(what: str, rows: ArrayLike, n: int) -> Rows:
    """Return rows as an array, shape (k,), after making sure that they are among so many.

    Args:
        what: What an error calls them.
        rows: Integers from 0 to n - 1.
        n: Number of rows that there are.

    Raises:
        InputError: They are something else; a mask, for one, is no list of rows.
    """
    array = numbers(what, rows)
    array = array.astype(np.int64) if array.size == 0 else array
    if array.dtype.kind not in "iu" or array.ndim != 1 or not ((array >= 0) & (array < n)).all():
        raise InputError(
            f"{what} {one_line(repr(rows), 60)}: give a list of integers from 0 to {n - 1}; "
            "numpy.flatnonzero makes one of a mask"
        )
    return array


class PresetFinder:
    """Finds presets by number and name.

    Args:
        dataset: Where they are.

    Raises:
        InputError: It is something else, or, when called, there is no such preset.
    """

    def __init__(self, dataset: "Dataset") -> None:
        from pyrosynth.data.dataset import require_dataset  # whose libraries tags do not need

        require_dataset(dataset)
        human = np.flatnonzero(dataset.origin == "human")
        self.n = len(dataset)
        self.names = dict(zip(human.tolist(), dataset.names(human), strict=True))
        self.rows: dict[str, list[int]] = {}
        for row, name in self.names.items():
            self.rows.setdefault(name.strip(), []).append(row)

    def __call__(self, number: str, name: str) -> int:
        """Return the row that a number, a name or both stand for."""
        if number:
            row = int(number) if number.isdecimal() and len(number) <= MOST_DIGITS else -1
            if not 0 <= row < self.n:
                raise InputError(f"there is no preset '{number}'; give 0 to {self.n - 1}")
            held = self.names.get(row, name).strip()
            if name and held != name:
                raise InputError(
                    f"preset {row} is '{held}', not '{name}'; the tags are of another dataset, or "
                    "of another line"
                )
            return row
        rows = self.rows.get(name, [])
        if len(rows) != 1:
            some = f"{counted(len(rows), 'preset')} have" if rows else "no preset has"
            raise InputError(f"{some} the name '{name}'; give the number in column 'preset'")
        return rows[0]
