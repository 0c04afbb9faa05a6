"""Write a file or a folder as a whole or not at all, and turn a failure into one clear error.

The new one is made in a private, locked folder beside its place, and moves there at the end.
"""

import errno
import fcntl
import filecmp
import hashlib
import os
import re
import shlex
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from pyrosynth.errors import InputError
from pyrosynth.files.reading import checked_path

PART = re.compile(r"\..*\.[0-9a-f]{12}\.part", re.DOTALL)  # names of private folders
SHORT = (
    errno.EAGAIN,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
)  # what no other place helps against
PATIENCE_SECONDS = 0.5  # for who removes a left-over, which takes less
LONGEST_NAME = 80  # of a file named after something, in characters
# Endings of the results that people write their remarks, drawings or groups into.
EDITED = (".csv", ".html", ".md", ".nc", ".png", "summary.json")


@dataclass(frozen=True)
class Claim:
    """A folder that this process fills.

    Attributes:
        folder: The folder.
        begin: Called before the first of the results that people edit is written.
        edited: Those of them that were written.
    """

    folder: Path
    begin: Callable[[], None]
    edited: set[Path] = field(default_factory=set)


claimed: dict[int, Claim] = {}  # by the locks of the folders


@contextmanager
def atomic(path: str | Path, *, replace: bool = True, alone: bool = False) -> Iterator[Path]:
    """Yield a private place for a file or folder, which moves to ``path`` if the block ends well.

    Until then, and for good if the block fails, what is at ``path`` stays. The place has the name
    of ``path``, and nothing is there yet.

    Args:
        path: Of a file or a folder; missing parents are made.
        replace: Whether it may replace what is there; else of a file, also if it came meanwhile.
        alone: Whether to refuse while another process writes to the same place in this way; else
            the last one stays.

    Raises:
        InputError: It cannot be written, for example on a full disk, may not be replaced, or
            another process is writing to it.
    """
    target = Path(os.path.realpath(checked_path("place", path)))
    taken = f"'{path}' is there already; give another --out, or delete it yourself"
    if not replace and target.exists():
        raise InputError(taken)
    with writing(target):
        if target.exists() and not (target.is_file() or target.is_dir()):
            raise InputError(f"'{path}' is a device or a pipe, which is not replaced; name a file")
        _require_in_place(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_parts(target)
        room, lock = _private_folder(target, alone)
        try:
            new, old = room / "new" / target.name, room / "old" / target.name
            new.parent.mkdir()
            old.parent.mkdir()
            yield new
            if not new.is_dir():
                with new.open("rb") as file:
                    os.fsync(file.fileno())  # on the disk before it takes its name
            elif target.exists():
                target.replace(old)
            if not replace:
                try:
                    target.touch(exist_ok=False)
                except FileExistsError:
                    raise InputError(taken) from None
            _remember(target, new)
            new.replace(target)
        finally:
            _remove_room(room)
            os.close(lock)


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a file atomically: an existing one is replaced only once the new one is whole.

    Raises:
        InputError: It cannot be written, for example on a full disk.
    """
    with atomic(path) as new:
        new.write_bytes(content)


def writable(path: str | Path) -> Path:
    """Make a folder that may hold anything, and make sure that files can be written into it.

    Raises:
        InputError: It cannot be made or written.
    """
    folder = checked_path("place", path)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    return folder


def safe_name(text: str) -> str:
    """Turn any text, such as the stem of a sound file, into the name of a file or folder.

    Args:
        text: The text; slashes and characters that cannot be printed become ``_``.

    Returns:
        The name, 80 characters at most; it does not begin with a dot.

    Raises:
        InputError: Nothing is left of it.

    Example:
        >>> safe_name("../my sound")
        '_my sound'
    """
    name = "".join(c if c.isprintable() and c not in '/\\:*?"<>|' else "_" for c in text)
    name = name.strip().lstrip(".")[:LONGEST_NAME].strip()
    if not name:
        raise InputError(f"'{text}' gives no name for a file; rename it, with a letter or a digit")
    return name


def typed(name: str | Path) -> str:
    """Return a name, such as that of a folder, as one types it into a command in a shell.

    Args:
        name: The name; one that begins with a hyphen would be taken for an option.

    Example:
        >>> typed("my run"), typed("-run")
        ("'my run'", './-run')
    """
    text = str(name)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


def _require_in_place(target: Path) -> None:
    """Make sure that a folder that was claimed is still there, and no other one of its name."""
    for lock, claim in list(claimed.items()):
        if target.is_relative_to(claim.folder) and not _is_open(claim.folder, lock):
            folder = claim.folder
            raise InputError(f"'{folder}' was moved or removed meanwhile; run the command again")


def _remember(target: Path, new: Path) -> None:
    """Note a file that is about to change in a claimed folder, for the innermost one."""
    around = [claim for claim in claimed.values() if target.is_relative_to(claim.folder)]
    if around and target.name.endswith(EDITED) and new.is_file():
        if target.is_file() and filecmp.cmp(new, target, shallow=False):
            return
        claim = max(around, key=lambda one: len(one.folder.parts))
        if not claim.edited:
            claim.begin()
        claim.edited.add(target)


def _private_folder(target: Path, alone: bool) -> tuple[Path, int]:
    """Make a locked folder beside a target; return it and the lock.

    Those who want to be alone share one name, so that one of them gets the lock.
    """
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        key = hashlib.sha256(os.fsencode(target.name)).hexdigest() if alone else uuid.uuid4().hex
        room = target.with_name(f".{target.name[:LONGEST_NAME]}.{key[:12]}.part")
        room.mkdir(exist_ok=alone)
        with suppress(FileNotFoundError):  # taken for a left-over before it was locked
            lock = os.open(room, os.O_RDONLY)
            is_ours = locked(lock)
            if is_ours and _is_open(room, lock) and not any(room.iterdir()):
                return room, lock
            os.close(lock)
            if is_ours:
                remove_part(room)
            if alone and time.monotonic() > end:
                raise InputError(
                    f"'{room}' was left behind, as by another user, and cannot be removed; delete "
                    "it, or give another place"
                    if is_ours
                    else f"another process is writing to '{target}'; wait until it ends, or give "
                    "another place"
                )
            time.sleep(0 if is_ours else 0.02)


def _is_open(folder: Path, descriptor: int) -> bool:
    """Tell whether a descriptor is of the folder that has this name now."""
    return folder.is_dir() and os.path.samestat(folder.stat(), os.fstat(descriptor))


def _remove_parts(target: Path) -> None:
    """Remove what killed processes left behind of a target."""
    stem = f".{target.name[:LONGEST_NAME]}."
    for entry in target.parent.iterdir():
        if entry.name.startswith(stem) and PART.fullmatch(entry.name):
            remove_part(entry)


def remove_part(part: Path) -> None:
    """Remove a half-written part unless a living process is at work on it."""
    with suppress(OSError):
        lock = os.open(part, os.O_RDONLY)
        try:
            if locked(lock):
                _remove_room(part)
        finally:
            os.close(lock)


def _remove_room(room: Path) -> None:
    """Remove a private folder; what was to be replaced goes back if the new one did not arrive."""
    for old in (room / "old").iterdir() if (room / "old").is_dir() else ():
        if not (room.parent / old.name).exists():
            old.replace(room.parent / old.name)
    shutil.rmtree(room, ignore_errors=True)


def locked(descriptor: int) -> bool:
    """Lock an open file or folder until it is closed.

    Args:
        descriptor: Of the file or folder.

    Returns:
        False if another process has locked it.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:  # a file system without locks has none to wait for
        return not isinstance(error, BlockingIOError)
    return True


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn a failed write into one clear error.

    Args:
        path: What is written; of a file in a private folder, the error names its place to be.

    Raises:
        InputError: The block failed with an error of the system.
    """
    try:
        yield
    except OSError as error:
        if error.errno in SHORT:
            raise InputError(
                f"the machine is short of memory, processes or open files ({error.strerror}); end "
                f"other programs and run the command again, '{_told(path)}' is untouched"
            ) from error
        if isinstance(error, IsADirectoryError) and path.is_dir():
            raise InputError(
                f"'{_told(path)}' is a folder, where a file is written; give the name of a file"
            ) from error
        file = next((one for one in (path, *path.parents) if one.is_file()), None)
        if isinstance(error, FileExistsError | NotADirectoryError) and file:
            raise InputError(
                f"'{_told(file)}' is a file, where a folder is wanted; give the name of a folder"
            ) from error
        why = "a link to nowhere" if path.is_symlink() and not path.exists() else error.strerror
        raise InputError(
            f"cannot write '{_told(path)}' ({why or error}); free space or give another place, "
            "what was there before is untouched"
        ) from error


def _told(path: Path) -> Path:
    """Return where a file of a private folder is to lie, which is what the user has asked for."""
    at = next((i for i, name in enumerate(path.parts) if PART.fullmatch(name)), None)
    return path if at is None else Path(*path.parts[:at], *path.parts[at + 2 :])
