"""The user's folders, on a machine that may know none, as in a container."""

import os
from pathlib import Path


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return a path with the user's home in the place of ``~``; as it is if nobody knows a home.

    Unlike `pathlib.Path.expanduser` it raises nothing: a path that begins with ``~`` names
    nothing then, as a folder that does not exist.
    """
    return Path(os.path.expanduser(path))


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


def files_below(folder: Path, *suffixes: str) -> tuple[list[Path], list[str]]:
    """Return the files in a folder and those below it, and what is wrong with folders.

    Args:
        folder: The folder, which need not be there.
        *suffixes: Of the files, in small letters.

    Returns:
        The files, sorted, and a line for each folder that cannot be read.
    """
    wrong = []

    def keep(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            wrong.append(f"the folder '{error.filename}' cannot be opened ({error.strerror})")

    walk = os.walk(folder, onerror=keep)
    found = [Path(root, name) for root, _, names in walk for name in names]
    return sorted(file for file in found if file.suffix.lower() in suffixes), wrong


def data_home() -> Path:
    """Return the folder of the user's data, ``~/.local/share`` or ``XDG_DATA_HOME``."""
    return Path(os.environ.get("XDG_DATA_HOME") or expanded("~/.local/share"))
