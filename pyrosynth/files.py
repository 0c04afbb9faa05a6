"""Folders of results: checked before the work starts, and there only once they are whole."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pyrosynth.errors import InputError, RunError


def writable(path: str | Path) -> Path:
    """Make a folder, and make sure that files can be written into it.

    Args:
        path: The folder; missing parents are made too.

    Returns:
        The folder.

    Raises:
        InputError: It cannot be made or written.
    """
    folder = Path(path)
    probe = folder / f".{uuid.uuid4().hex}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(
            f"cannot write into '{folder}' ({error.strerror or error}); give another folder"
        ) from error
    return folder


def share(file: str | Path, target: str | Path) -> None:
    """Put a file at another place too, without a second copy of its bytes where that is possible.

    Nothing may write into either afterwards; replacing one leaves the other as it is.

    Raises:
        InputError: It cannot be written there.
    """
    part = Path(target).with_name(f".{uuid.uuid4().hex}.part")
    try:
        try:
            os.link(file, part)
        except OSError:  # another disk, or one without links
            shutil.copyfile(file, part)
        part.replace(target)
    except OSError as error:
        raise InputError(
            f"cannot write '{target}' ({error.strerror or error}); free space or give another "
            "folder"
        ) from error


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of ``path`` once the block ends well.

    What was at ``path`` stays until then, and stays for good if the block fails.

    Raises:
        InputError: A file cannot be written, for example on a full disk.
    """
    target = Path(path)
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
    old = part.with_suffix(".old")
    try:
        part.mkdir(parents=True)
        yield part
        if target.exists():
            target.replace(old)
        part.replace(target)
    except OSError as error:
        raise InputError(
            f"cannot write '{target}' ({error.strerror or error}); free space or give another "
            "folder, what was there before is untouched"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically: an existing one is replaced only once the new one is whole.

    Raises:
        RunError: It cannot be written, for example on a full disk.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise RunError(
            f"cannot write '{path}' ({error.strerror or error}); free space or choose another "
            "folder, what was there before is untouched"
        ) from error
