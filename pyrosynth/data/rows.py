"""Numbers of presets, by which a dataset or a bank is read."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyrosynth.errors import InputError, numbers, one_line

Rows = NDArray[np.int64]


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
