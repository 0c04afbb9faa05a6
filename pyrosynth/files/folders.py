"""Folders of results: made by one command, with one set of settings, by one process at a time.

The mark in such a folder says who made it; what it does not know of is somebody else's, and stays.
"""

import hashlib
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from pyrosynth.errors import InputError, not_opened, one_line
from pyrosynth.files.reading import OF_SYSTEM, checked_path, read_json
from pyrosynth.files.writing import (
    PART,
    Claim,
    atomic,
    claimed,
    locked,
    remove_part,
    write_bytes,
    writing,
)

WRITTEN = "written"  # in a mark: digests of what people edit in a folder filled file by file
DATASET = "zarr.json"  # which marks a dataset
MARK = ".pyrosynth.json"  # in every folder of results: who made it, with which settings, its files


def require_ours(path: str | Path, maker: str = "", damaged: Collection[str] = ()) -> None:
    """Make sure that writing to a place loses nothing that pyrosynth did not write.

    Args:
        path: A file or folder. It may be missing, or a folder that is empty or carries our mark;
            if the mark lists files, nothing else may be in it, and they must be as written.
        maker: The command that is to replace a whole folder; one that another command made, or
            whose mark does not list its files, is refused.
        damaged: Names of files of ours that need not be as written.

    Raises:
        InputError: The place holds something else, or what may not be read, which is named.
    """
    place = checked_path("place", path)
    with writing(place):
        if not place.exists():
            return
        if maker:
            require_maker(place, maker)
        foreign = _foreign(place, bool(maker), damaged) if place.is_dir() else ""
    if foreign is not None:
        what = f"'{place}' holds '{foreign}'" if foreign else f"'{place}' is a file"
        raise InputError(
            f"{what}, which pyrosynth did not write or somebody changed: it stays; give a new or "
            "empty place"
        )


def missing_files(folder: Path) -> str:
    """Say which files are not there now that `whole` wrote into a folder; empty if all are."""
    listed = _mark(folder).get("files")
    names = map(str, listed) if isinstance(listed, list | dict) else ()
    missing = ", ".join(name for name in names if not (folder / name).exists())
    return (
        f"no longer there: {missing}; --force (force=True) makes all of it again"
        if missing
        else ""
    )


def require_kind(path: str | Path, maker: str, file: str) -> Path:
    """Make sure that a folder may be filled without a claim, and return it.

    Args:
        path: The folder, which may be missing, empty, claimed by the command, or hold the file.
        maker: The command that makes such folders.
        file: Name of a file by which such a folder is known.

    Raises:
        InputError: It holds something else, which is named.
    """
    folder = checked_path("place", path)
    with writing(folder):
        require_maker(folder, maker)
        known = (folder / file).exists()
    if not known:
        require_ours(folder)
    return folder


@contextmanager
def whole(
    path: str | Path, maker: str, *, damaged: Collection[str] = (), unless: str | None = None
) -> Iterator[Path]:
    """Yield an empty folder that takes the place of ``path`` once the block ends well.

    What was at ``path`` stays until then, and stays for good if the block fails. Until the block
    ends, no other process may do the same.

    Args:
        path: The folder; if it is there, it must be empty or written by `whole`, with no other
            file in it.
        maker: The command that makes it.
        damaged: Names of files that may be replaced although they have changed, as they cannot be
            read; all others stay if somebody changed them.
        unless: Name of a file; a folder that holds it, since another process was quicker, is not
            replaced.

    Raises:
        InputError: The place holds something else, is the working folder, cannot be written, or
            another process is writing to it or just has.
    """
    if Path.cwd().is_relative_to(os.path.realpath(path)):
        raise InputError(
            f"'{path}' is the folder that this command runs in, which it cannot replace; give the "
            "name of another folder"
        )
    require_ours(path, maker=maker, damaged=damaged)
    with atomic(path, alone=True) as folder:
        if unless is not None and (Path(path) / unless).exists():
            raise InputError(
                f"another process was quicker and has written '{path}'; look at it, or give "
                "another place"
            )
        folder.mkdir()
        yield folder
        written = (file for file in sorted(folder.rglob("*")) if file.is_file())
        files = {str(f.relative_to(folder)): f for f in written}
        listed = {name: _digest(file) for name, file in files.items()}
        mark = {"made_by": f"pyrosynth {maker}", "files": listed}
        (folder / MARK).write_text(json.dumps(mark, indent=1) + "\n")
        require_ours(path, maker=maker, damaged=damaged)  # the block may have taken hours


@contextmanager
def only_writer(path: str | Path) -> Iterator[int]:
    """Let no other process write to a folder that is there, such as a run; yield the lock.

    Raises:
        InputError: It cannot be opened, or another process is at work there.
    """
    folder = checked_path("place", path)
    with writing(folder):
        lock = os.open(folder, os.O_RDONLY)
    try:
        if not locked(lock):
            raise InputError(
                f"another process is writing to '{folder}'; wait until it ends, or give another "
                "folder"
            )
        yield lock
    finally:
        os.close(lock)


@contextmanager
def claim(path: str | Path, maker: str, mark: str = MARK) -> Iterator[Path]:
    """Open a folder of results, filled file by file, for this process alone; yield it.

    Args:
        path: The folder; made if missing. What it holds must come from the same command.
        maker: The command.
        mark: A JSON file of the command's own by which its folders are known, such as the
            ``zarr.json`` of a dataset, with ``pyrosynth`` among its ``attributes``.

    Raises:
        InputError: It holds something else, or a table, a page or the like that somebody changed
            since it was written; it cannot be written, or another process is at work there.
    """
    folder = checked_path("place", path)
    if folder.exists() and not folder.is_dir():
        require_ours(folder)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with only_writer(folder) as lock:
        made_by = require_maker(folder, maker)
        if mark == MARK or "pyrosynth" not in _mark(folder, mark).get("attributes", {}):
            require_ours(folder)
        with writing(folder):
            for part in list(folder.rglob("*.part")):
                if PART.fullmatch(part.name):
                    remove_part(part)
        kept = _require_unchanged(folder) if mark == MARK else {}
        if mark == MARK and "made_by" not in _mark(folder):
            _write_mark(folder, {**_mark(folder), "made_by": made_by})
        ours = Claim(Path(os.path.realpath(folder)), partial(_without_digests, folder))
        claimed[lock] = ours
        try:
            yield folder
        finally:
            new = {str(f.relative_to(ours.folder)): f for f in ours.edited if f.is_file()}
            if new and mark == MARK:
                kept |= {name: _digest(file) for name, file in new.items()}
                with suppress(InputError):  # moved, or a full disk: what was done counts
                    _write_mark(folder, {**_mark(folder), WRITTEN: dict(sorted(kept.items()))})
            del claimed[lock]


def _without_digests(folder: Path) -> None:
    """Take the digests out of a mark.

    If the process is killed, nobody shall take what it wrote for something that somebody changed.
    """
    if WRITTEN in (held := _mark(folder)):
        _write_mark(folder, {key: value for key, value in held.items() if key != WRITTEN})


def _require_unchanged(folder: Path) -> dict[str, str]:
    """Make sure that nobody changed results that people edit; return the digests of them."""
    held = _mark(folder).get(WRITTEN)
    digests = held if isinstance(held, dict) else {}
    for name, digest in digests.items():
        file = folder / name
        if file.is_file() and _digest(file) != digest:
            raise InputError(
                f"'{file}' was changed since pyrosynth wrote it, so it stays; give another --out, "
                "or move that file away"
            )
    return {name: digest for name, digest in digests.items() if (folder / name).is_file()}


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
                what = f"another content of {key}" if key[-1].isdigit() else f"another {key}"
                return f"other {key}" if key.endswith(("s", "data")) else what
            return f"{key} {one_line(json.dumps(old), 40)}, not {one_line(json.dumps(new), 40)}"
    return None


def require_maker(folder: Path, maker: str) -> str:
    """Make sure that no other command made a folder; return what its mark says of its maker.

    Raises:
        InputError: Another one did.
    """
    asked = f"pyrosynth {maker}"
    made_by = _mark(folder).get("made_by", asked)
    if "pyrosynth" in _mark(folder, DATASET).get("attributes", {}):
        made_by = "pyrosynth render"
    if made_by != asked:
        raise InputError(
            f"'{folder}' was made by `{made_by}`, not by `{asked}`; give another folder"
        )
    return asked


def _foreign(folder: Path, in_list: bool, damaged: Collection[str] = ()) -> str | None:
    """Return the name of something in a folder that pyrosynth did not write as it is, or None.

    Args:
        folder: The folder.
        in_list: Whether all files must be in the list of the mark; else a mark without a list
            lets all of them be.
        damaged: Names of files in it that need not be as written.
    """
    entries = sorted(
        entry.name
        for entry in folder.iterdir()
        if not (PART.fullmatch(entry.name) or _is_of_system(entry))
    )
    if MARK not in entries:
        return entries[0] if entries else None
    listed = _mark(folder).get("files")
    if not isinstance(listed, list | dict):
        if not in_list:
            return None  # filled file by file: other files stay beside ours
        listed = []
    for file in sorted(_files(folder)):
        if _is_of_system(file):
            continue
        name = str(file.relative_to(folder))
        ours = name in listed and file.is_file()
        if isinstance(listed, dict) and name not in damaged:
            ours = ours and listed[name] in (None, _digest(file))
        if not ours and name != MARK:
            return name
    return None


def _is_of_system(file: Path) -> bool:
    """Tell whether an operating system left a file when somebody looked into its folder."""
    return bool(OF_SYSTEM.fullmatch(file.name)) and file.is_file() and not file.is_symlink()


def _files(folder: Path) -> Iterator[Path]:
    """Yield all in a folder and those below it that is no folder; links to folders are files."""

    def refuse(error: OSError) -> None:
        raise InputError(not_opened(error)) from error

    for root, folders, names in os.walk(folder, onerror=refuse):
        yield from (Path(root, name) for name in names)
        yield from (link for name in folders if (link := Path(root, name)).is_symlink())


def _digest(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except PermissionError as error:
        raise InputError(not_opened(error)) from error


def _mark(folder: Path, name: str = MARK) -> dict[str, Any]:
    """Read the mark of a folder; empty if there is none that says anything.

    Raises:
        InputError: There is one that may not be read.
    """
    with suppress(OSError, ValueError, RecursionError):
        try:
            content = read_json(folder / name)
        except PermissionError as error:
            if os.path.lexists(folder / name):
                raise InputError(not_opened(error)) from error
            raise
        if isinstance(content, dict):
            return content
    return {}


def _write_mark(folder: Path, content: Mapping[str, Any]) -> None:
    write_bytes(folder / MARK, (json.dumps(content, indent=1) + "\n").encode())


def _leaves(data: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """List the values of nested JSON with dotted keys."""
    if isinstance(data, dict | list) and data:
        for name, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield from _leaves(value, f"{key}.{name}" if key else str(name))
    else:
        yield key, data
