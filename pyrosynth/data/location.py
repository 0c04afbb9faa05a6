"""The location of a dataset: a folder, or an object store at a URL that fsspec supports.

An object store has neither folders nor locks, and every object in it is whole or not there.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

from pyrosynth.errors import InputError, reading
from pyrosynth.files import URL, checked_path, claim, only_writer

OBJECT_STORES = (
    "s3",
    "gs",
    "az",
)  # protocols that obstore speaks, without the makers' own clients


def location(path: str | Path) -> Path:
    """Return an absolute path, or a path of an object store, which has the same methods.

    Args:
        path: A path, or a URL such as ``s3://bucket/data``. What a relative one means is settled
            here: it stays that place if the process moves to another working folder.

    Raises:
        InputError: There is no library for such URLs.
    """
    if not URL.match(str(path)):
        return checked_path("dataset", path).absolute()
    what = f"'{path}' is no folder or URL that can be used here"
    advice = 'give one such as s3://bucket/data, and install: pip install "pyrosynth[scale]"'
    with reading(InputError, what, advice):
        from upath import UPath

        _use_obstore()
        found: Any = UPath(path)
        assert found.fs  # its library is loaded
        if found.protocol == "memory":
            raise ValueError("what is in memory is lost at the end")
        return Path(found.path) if found.protocol in ("file", "local") else found


@cache
def _use_obstore() -> None:
    """Let fsspec reach object stores through obstore, which is one small package for all."""
    from obstore.fsspec import register

    register(OBJECT_STORES)


def is_remote(path: Path) -> bool:
    """Tell whether a place is in an object store."""
    return not isinstance(path, Path)


def failures(path: Path) -> tuple[type[Exception], ...]:
    """Return what is raised where a place cannot be written."""
    if not is_remote(path):
        return (OSError,)
    from obstore.exceptions import BaseError

    return OSError, NotImplementedError, BaseError  # some protocols can only be read


@contextmanager
def claimed(path: Path, maker: str, mark: str) -> Iterator[None]:
    """Open a place that is filled by this process alone; see `pyrosynth.files.claim`.

    An object store cannot be locked. Two processes that fill one dataset at once write the same
    bytes twice.

    Args:
        path: The place.
        maker: The command.
        mark: The file by which its places are known.

    Raises:
        InputError: It holds something else, it cannot be written, or another process is at work
            there.
    """
    if not is_remote(path):
        with claim(path, maker, mark=mark):
            yield
        return
    with reading(InputError, f"cannot read '{path}'", "check its bucket and your credentials"):
        other = None
        if path.exists() and not (path / mark).exists():
            other = next(iter(path.iterdir()), None)
    if other:
        raise InputError(
            f"'{path}' holds '{other.name}', which pyrosynth did not write; it stays as it is: "
            "give a new or empty place"
        )
    yield


def is_claimed(path: Path) -> bool:
    """Tell whether another process fills a place; of an object store that is not known."""
    try:
        with nullcontext() if is_remote(path) else only_writer(path):
            return False
    except InputError:
        return True
