"""Read what users and earlier runs left: where a path leads, and files that may be anything."""

import json
import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

from pyrosynth.errors import InputError, not_opened, reason, require_type

URL = re.compile(r"[a-z][\w+.-]*://", re.IGNORECASE)  # how one begins
OF_SYSTEM = re.compile(r"\.DS_Store|\._.*|Thumbs\.db|desktop\.ini", re.DOTALL)  # left in folders
LARGEST_JSON = 2**26  # bytes
DEEPEST = 200  # folders of a path: Python makes and removes nested ones by recursion


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return a path with the user's home in the place of ``~``; as it is if nobody knows a home.

    Unlike `pathlib.Path.expanduser` it raises nothing: a path that begins with ``~`` names
    nothing then, as a folder that does not exist.
    """
    return Path(os.path.expanduser(path))


def data_home() -> Path:
    """Return the folder of the user's data, ``~/.local/share`` or ``XDG_DATA_HOME``."""
    return Path(os.environ.get("XDG_DATA_HOME") or expanded("~/.local/share"))


def resolved(path: str | os.PathLike[str]) -> Path:
    """Return the absolute path without ``~`` and links; one that leads to itself stays a link.

    `pathlib.Path.resolve` raises a `RuntimeError` for the latter until Python 3.13.
    """
    return Path(os.path.realpath(expanded(path)))


def is_there(file: Path) -> bool:
    """Tell whether something is at a place, be it what may not be read, or a link to nowhere."""
    try:
        os.lstat(file)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError:  # whoever reads it says why not
        pass
    return True


def with_home(path: str | os.PathLike[str]) -> Path:
    """Return a path that a user names: ``~`` is the home, unless something here is called so.

    A shell leaves ``~`` alone after ``--out=``.
    """
    given = Path(path) if os.path.lexists(path) else expanded(path)
    return given.absolute() if str(given)[:1] == "~" else given  # which stays what is here


def given_path(what: str, path: Any) -> Path:
    """Return a path that a user names, see `with_home`; whoever opens it says what is wrong there.

    Args:
        what: What an error calls it, such as ``"sound file"``.
        path: What was given.

    Raises:
        InputError: It is none: another type, empty, or a URL.
    """
    require_type(what, path, (str, os.PathLike), "the path of a file or folder")
    try:
        if str(path) == "":  # as of a shell's variable that is not set; it would be "."
            raise ValueError("it is empty")
        if URL.match(str(path)):  # of which Path would drop a slash
            raise ValueError("it is a URL, where only datasets go")
        return with_home(path)
    except (TypeError, ValueError) as error:
        raise _unusable(what, path, error) from error


def files_below(folder: Path, *suffixes: str) -> tuple[list[Path], dict[str, str]]:
    """Return the files in a folder and those below it, and what is wrong with folders.

    What operating systems leave beside files is none of them, such as what a Mac keeps of
    ``a.syx`` in ``._a.syx``.

    Args:
        folder: The folder, which need not be there.
        *suffixes: Of the files, in small letters.

    Returns:
        The files, sorted, and by the path of each folder that cannot be read a line on it.
    """
    wrong = {}

    def keep(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            wrong[str(error.filename)] = not_opened(error)

    walk = os.walk(folder, onerror=keep)
    names = ((root, name) for root, _, files in walk for name in files)
    found = [Path(root, name) for root, name in names if not OF_SYSTEM.fullmatch(name)]
    return sorted(file for file in found if file.suffix.lower() in suffixes), wrong


def checked_path(what: str, path: Any) -> Path:
    """Return a path that a user names and the file system can take; it need not be there.

    Args:
        what: What an error calls it, such as ``"sound file"``.
        path: What was given.

    Raises:
        InputError: It is no path, too long, or cannot be reached.
    """
    checked = given_path(what, path)
    try:
        if len(checked.parts) > DEEPEST:
            raise ValueError(f"it is nested {len(checked.parts)} deep, {DEEPEST} at most")
        with suppress(FileNotFoundError, NotADirectoryError):
            os.lstat(checked)
    except (OSError, TypeError, ValueError) as error:
        raise _unusable(what, path, error) from error
    return checked


def _unusable(what: str, path: Any, error: Exception) -> InputError:
    return InputError(f"{what} {str(path)!r} is no usable path ({reason(error)}); give another")


def regular_file(path: str | Path) -> Path:
    """Return the path of a file that a library opens itself; for a pipe it would wait for ever.

    Raises:
        OSError, ValueError: It is not there, or no regular file.
    """
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode):
        raise ValueError("it is a folder" if stat.S_ISDIR(mode) else "it is no regular file")
    return Path(path)


def read_limited(path: str | Path, most: int) -> bytes:
    """Read a file that may be anything, without taking more memory than its kind needs.

    Args:
        path: The file.
        most: Bytes that one of its kind has at most.

    Raises:
        OSError: It cannot be read.
        ValueError: It is larger.
    """

    def at_once(name: str, flags: int) -> int:
        """Open a file; a pipe that nobody writes to is empty, instead of awaited for ever."""
        return os.open(name, flags | os.O_NONBLOCK)

    with open(path, "rb", opener=at_once) as opened:
        os.set_blocking(opened.fileno(), True)
        content = opened.read(most + 1)
    if len(content) > most:
        raise ValueError(f"it is larger than {most >> 20} MiB")
    return content


def read_json(path: str | Path) -> Any:
    """Read a JSON file that pyrosynth wrote, or something else that has taken its place.

    Args:
        path: The file.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no JSON, or larger than 64 MiB.
        RecursionError: It is nested too deeply.
    """
    return json.loads(read_limited(path, LARGEST_JSON))


def unrepeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make a dictionary of the keys and values of a JSON object that people may have edited.

    Raises:
        ValueError: A key is there twice, of which JSON would take the last without a word.
    """
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"'{key}' is there twice")
        found[key] = value
    return found
