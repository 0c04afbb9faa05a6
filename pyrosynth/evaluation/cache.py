"""Results of long work, a file each: what was killed goes on, what was damaged is redone."""

import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyrosynth.data.store import writing

Arrays = dict[str, NDArray[Any]]


def each(
    files: Sequence[Path], work: Callable[[list[int]], Iterator[tuple[int, Arrays]]]
) -> Arrays:
    """Do what is missing, keep each result as it comes, and return all, stacked.

    Args:
        files: Where each result is kept.
        work: Given the positions of those that are missing, yields them with their results, in
            any order.

    Returns:
        The arrays of the results, each with a first axis more, in the order of ``files``; and
        ``seconds``, what each has cost when it was made.

    Raises:
        DataError: A file cannot be written.
    """
    results = [read_arrays(file) for file in files]
    missing = [i for i, result in enumerate(results) if result is None]
    since = time.monotonic()
    for i, made in work(missing) if missing else ():
        now = time.monotonic()
        results[i] = result = {**made, "seconds": np.array(now - since)}
        write_arrays(files[i], result)
        since = now
    done = [result for result in results if result is not None]
    return {name: np.stack([result[name] for result in done]) for name in done[0]}


def read_arrays(file: Path) -> Arrays | None:
    """Read a result; None if it is missing or damaged, and so has to be made."""
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            return dict(stored)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None


def write_arrays(file: Path, arrays: Arrays) -> None:
    """Write a result atomically.

    Raises:
        DataError: The disk is full or the place cannot be written.
    """
    part = file.with_suffix(".part")
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **arrays)
        part.replace(file)
