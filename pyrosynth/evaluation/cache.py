"""Results that are kept on disk as they come, so that a killed evaluation goes on."""

import hashlib
import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyrosynth.files import regular_file, write_bytes

Arrays = dict[str, NDArray[Any]]
DIGEST_BYTES = 32  # of the SHA-256 that ends a cached file


def each(
    files: Sequence[Path], work: Callable[[list[int]], Iterator[tuple[int, Arrays]]]
) -> Arrays:
    """Do what is missing, cache each result as it comes, and return all, stacked.

    Args:
        files: Where each result is cached.
        work: Given the positions of those that are missing, yields them with their results, in
            any order; it may leave some out.

    Returns:
        The arrays of the results, each with a first axis more, in the order of ``files``; and
        ``seconds``, what each has cost when it was made.

    Raises:
        InputError: A file cannot be written.
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
    return {name: np.stack([result[name] for result in done]) for name in done[0]} if done else {}


def read_arrays(file: Path) -> Arrays | None:
    """Read a cached result; None if it is missing, damaged or changed, and so has to be made."""
    try:
        content = regular_file(file).read_bytes()
    except (OSError, ValueError):
        return None
    arrays, digest = content[:-DIGEST_BYTES], content[-DIGEST_BYTES:]
    if hashlib.sha256(arrays).digest() != digest:
        return None
    with np.load(io.BytesIO(arrays), allow_pickle=False) as stored:
        return dict(stored)


def write_arrays(file: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Cache a result: an ``.npz`` file, atomically, with the SHA-256 of its bytes at its end.

    Raises:
        InputError: The disk is full or the place cannot be written.
    """
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **arrays)
    content = stream.getvalue()
    write_bytes(file, content + hashlib.sha256(content).digest())
