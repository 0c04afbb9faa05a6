"""Where results are written: nothing is lost that pyrosynth did not write, nothing is half there.

Every command that writes uses one of three ways:

- A **file** goes through `atomic` (or `write_bytes`): it is replaced only once the new one is
  whole. A file that people edit, such as one of tags, is never replaced.
- A **folder written at once**, such as a static site, goes through `whole`: it replaces a folder
  of its own kind, in which every file is still as it was written, and nothing else.
- A **folder filled file by file**, such as a run or a check, is opened by `claim`: it must be new,
  empty, or claimed before. It is locked until the block ends, and `require_same` compares the
  settings of this call with those of the first.

No option lifts these rules: ``--force`` replaces what pyrosynth wrote, and only that. What a
killed process left half-written is removed by the next call that writes the same file or folder.
A name that comes from outside becomes a file name by `safe_name`.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pyrosynth.errors import InputError, checked_path, one_line, read_json

MARK = ".pyrosynth.json"  # in every folder of results: who made it, with which settings, its files
PART = re.compile(r"\..*\.[0-9a-f]{12}\.part", re.DOTALL)
LONGEST_NAME = 80  # of a file named after something, in characters
_claimed: dict[int, Path] = {}  # the folders that this process fills, by their locks


@contextmanager
def atomic(path: str | Path, *, replace: bool = True) -> Iterator[Path]:
    """Yield a private place for a file or folder, which moves to ``path`` if the block ends well.

    Until then, and if the block fails, what is at ``path`` stays. The place has its name.

    Args:
        path: Of a file or a folder; missing parents are made.
        replace: Whether it may replace what is there; else of a file, also if it came meanwhile.

    Raises:
        InputError: It cannot be written, for example on a full disk, or may not be replaced.
    """
    target = Path(os.path.realpath(checked_path("place", path)))
    taken = f"'{path}' is there already; give another --out, or delete it yourself"
    if not replace and target.exists():
        raise InputError(taken)
    with _writing(target):
        _require_in_place(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_parts(target)
        room, lock = _private_folder(target)
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
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    return folder


def require_ours(path: str | Path, maker: str = "") -> None:
    """Make sure that writing to a place loses nothing that pyrosynth did not write.

    Args:
        path: A file or folder. It may be missing, or a folder that is empty or carries our mark;
            if the mark lists files, nothing else may be in it, and they must be as written.
        maker: The command that is to replace a whole folder; one that another command made, or
            whose mark does not list its files, is refused.

    Raises:
        InputError: The place holds something else, which is named.
    """
    place = checked_path("place", path)
    with _writing(place):
        if not place.exists():
            return
        if maker:
            _require_maker(place, maker)
        foreign = _foreign(place, bool(maker)) if place.is_dir() else ""
    if foreign is not None:
        what = f"'{place}' holds '{foreign}'" if foreign else f"'{place}' is a file"
        raise InputError(
            f"{what}, which pyrosynth did not write or somebody changed: it stays; give a new or "
            "empty place"
        )


@contextmanager
def whole(path: str | Path, maker: str, *, keep_changes: bool = True) -> Iterator[Path]:
    """Yield an empty folder that takes the place of ``path`` once the block ends well.

    What was at ``path`` stays until then, and stays for good if the block fails.

    Args:
        path: The folder; if it is there, it must be empty or written by `whole`, with no other
            file in it.
        maker: The command that makes it.
        keep_changes: Whether it is replaced later only if its files are as they were written.

    Raises:
        InputError: The place holds something else, is the working folder, or cannot be written.
    """
    if Path.cwd().is_relative_to(os.path.realpath(path)):
        raise InputError(
            f"'{path}' is the folder that this command runs in, which it cannot replace; give the "
            "name of another folder"
        )
    require_ours(path, maker=maker)
    with atomic(path) as folder:
        folder.mkdir()
        yield folder
        written = (file for file in sorted(folder.rglob("*")) if file.is_file())
        files = {str(file.relative_to(folder)): _digest(file) for file in written}
        listed = files if keep_changes else list(files)
        mark = {"made_by": f"pyrosynth {maker}", "files": listed}
        (folder / MARK).write_text(json.dumps(mark, indent=1) + "\n")
        require_ours(path, maker=maker)  # the block may have taken hours


@contextmanager
def claim(path: str | Path, maker: str, mark: str = MARK) -> Iterator[Path]:
    """Open a folder of results, filled file by file, for this process alone; yield it.

    Args:
        path: The folder; made if missing. What it holds must come from the same command.
        maker: The command.
        mark: A JSON file of the command's own by which its folders are known, such as the
            ``zarr.json`` of a dataset, with ``pyrosynth`` among its ``attributes``.

    Raises:
        InputError: It holds something else, it cannot be written, or another process is at work
            there.
    """
    folder = checked_path("place", path)
    if folder.exists() and not folder.is_dir():
        require_ours(folder)
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY)
    try:
        if not _locked(lock):
            raise InputError(
                f"another process is writing to '{folder}'; wait until it ends, or give another "
                "folder"
            )
        if mark == MARK or "pyrosynth" not in _mark(folder, mark).get("attributes", {}):
            require_ours(folder)
        made_by = _require_maker(folder, maker)
        with _writing(folder):
            for part in list(folder.rglob("*.part")):
                if PART.fullmatch(part.name):
                    _remove_part(part)
        if mark == MARK and "made_by" not in _mark(folder):
            _write_mark(folder, {**_mark(folder), "made_by": made_by})
        _claimed[lock] = Path(os.path.realpath(folder))
        yield folder
    finally:
        _claimed.pop(lock, None)
        os.close(lock)


def require_same(folder: Path, settings: Mapping[str, Any], *, force: bool = False) -> None:
    """Make sure that a claimed folder is filled with one set of settings from first to last.

    The first call keeps them in the folder.

    Args:
        folder: A folder that `claim` yielded.
        settings: What decides the results; JSON-ready. A hash counts as something without a
            readable value.
        force: Whether to keep these from now on, instead of those of before.

    Raises:
        InputError: They differ from those of the first call; the first difference is named.
    """
    mark = _mark(folder)
    asked = json.loads(json.dumps(settings))
    held = mark.get("settings", asked)
    if not force and (found := difference(held, asked)):
        raise InputError(
            f"'{folder}' was made with {found}; give another folder, or the settings it was made "
            "with"
        )
    if force or "settings" not in mark:
        _write_mark(folder, {**mark, "settings": asked})


def difference(held: Mapping[str, Any], asked: Mapping[str, Any]) -> str | None:
    """Say in which setting two sets of settings differ first, such as ``seed 0, not 1``.

    Args:
        held: Settings of before; JSON-ready, may be nested.
        asked: Settings of now.
    """
    before, now = (dict(_leaves(json.loads(json.dumps(one)))) for one in (held, asked))
    for key in [*now, *before]:
        old, new = before.get(key), now.get(key)
        if old != new or type(old) is not type(new) and bool in (type(old), type(new)):
            if any(isinstance(v, str) and re.fullmatch("[0-9a-f]{40,}", v) for v in (old, new)):
                return f"{'other' if key.endswith('s') else 'another'} {key}"
            return f"{key} {one_line(json.dumps(old), 40)}, not {one_line(json.dumps(new), 40)}"
    return None


def safe_name(text: str) -> str:
    """Turn any text, such as the stem of a sound file, into the name of a file or folder.

    Args:
        text: The text; slashes and characters that cannot be printed become ``_``.

    Returns:
        The name, such as ``_my sound`` of ``../my sound``; 80 characters at most, no dot first.

    Raises:
        InputError: Nothing is left of it.
    """
    name = "".join(c if c.isprintable() and c not in '/\\:*?"<>|' else "_" for c in text)
    name = name.strip().lstrip(".")[:LONGEST_NAME].strip()
    if not name:
        raise InputError(f"'{text}' gives no name for a file; rename it, with a letter or a digit")
    return name


def _require_in_place(target: Path) -> None:
    """Make sure that a folder that was claimed is still there, and no other one of its name."""
    for lock, folder in list(_claimed.items()):
        there = folder.is_dir() and os.path.samestat(folder.stat(), os.fstat(lock))
        if target.is_relative_to(folder) and not there:
            raise InputError(f"'{folder}' was moved or removed meanwhile; run the command again")


def _require_maker(folder: Path, maker: str) -> str:
    """Make sure that no other command made a folder; return what its mark says of its maker."""
    asked = f"pyrosynth {maker}"
    made_by = _mark(folder).get("made_by", asked)
    if made_by != asked:
        raise InputError(
            f"'{folder}' was made by `{made_by}`, not by `{asked}`; give another folder"
        )
    return asked


def _foreign(folder: Path, in_list: bool) -> str | None:
    """Return the name of something that pyrosynth did not write as it is, or None.

    Without ``in_list`` a mark without a list lets all files be.
    """
    entries = sorted(entry.name for entry in folder.iterdir() if not PART.fullmatch(entry.name))
    if MARK not in entries:
        return entries[0] if entries else None
    listed = _mark(folder).get("files")
    if not isinstance(listed, list | dict):
        if not in_list:
            return None  # filled file by file: other files stay beside ours
        listed = []
    for file in sorted(f for f in folder.rglob("*") if f.is_symlink() or not f.is_dir()):
        name = str(file.relative_to(folder))
        ours = name in listed and file.is_file()
        if isinstance(listed, dict):
            ours = ours and listed[name] == _digest(file)
        if not ours and name != MARK:
            return name
    return None


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _mark(folder: Path, name: str = MARK) -> dict[str, Any]:
    """Read the mark of a folder; empty if there is none that says anything."""
    with suppress(OSError, ValueError, RecursionError):
        content = read_json(folder / name)
        if isinstance(content, dict):
            return content
    return {}


def _write_mark(folder: Path, content: Mapping[str, Any]) -> None:
    write_bytes(folder / MARK, (json.dumps(content, indent=1) + "\n").encode())


def _private_folder(target: Path) -> tuple[Path, int]:
    """Make a locked folder beside a target; return it and the lock."""
    while True:
        room = target.with_name(f".{target.name[:LONGEST_NAME]}.{uuid.uuid4().hex[:12]}.part")
        room.mkdir()
        with suppress(FileNotFoundError):  # taken for a left-over before it was locked
            lock = os.open(room, os.O_RDONLY)
            if _locked(lock) and room.exists():
                return room, lock
            os.close(lock)


def _remove_parts(target: Path) -> None:
    """Remove what killed processes left behind of a target."""
    stem = f".{target.name[:LONGEST_NAME]}."
    for entry in target.parent.iterdir():
        if entry.name.startswith(stem) and PART.fullmatch(entry.name):
            _remove_part(entry)


def _remove_part(part: Path) -> None:
    """Remove a half-written part unless a living process is at work on it."""
    with suppress(OSError):
        lock = os.open(part, os.O_RDONLY)
        try:
            if _locked(lock):
                _remove_room(part)
        finally:
            os.close(lock)


def _remove_room(room: Path) -> None:
    """Remove a private folder; what was to be replaced goes back if the new one did not arrive."""
    for old in (room / "old").iterdir() if (room / "old").is_dir() else ():
        if not (room.parent / old.name).exists():
            old.replace(room.parent / old.name)
    shutil.rmtree(room, ignore_errors=True)


def _locked(descriptor: int) -> bool:
    """Lock an open file or folder, until it is closed; False if another process has done so."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:  # a file system without locks has none to wait for
        return not isinstance(error, BlockingIOError)
    return True


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn a failed write into one clear error."""
    try:
        yield
    except OSError as error:
        why = "a link to nowhere" if path.is_symlink() and not path.exists() else error.strerror
        raise InputError(
            f"cannot write '{_told(path)}' ({why or error}); free space or give another place, "
            "what was there before is untouched"
        ) from error


def _told(path: Path) -> Path:
    """Return where a file of a private folder is to lie, which is what the user has asked for."""
    at = next((i for i, name in enumerate(path.parts) if PART.fullmatch(name)), None)
    return path if at is None else Path(*path.parts[:at], *path.parts[at + 2 :])


def _leaves(data: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """List the values of nested JSON with dotted keys."""
    if isinstance(data, dict | list) and data:
        for name, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield from _leaves(value, f"{key}.{name}" if key else str(name))
    else:
        yield key, data
