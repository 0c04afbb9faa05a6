"""Sound files by their names: what a folder holds of them, and why a path is that of none."""

import glob
import os
import shlex
from contextlib import suppress
from pathlib import Path
from urllib.parse import unquote

from pyrosynth.errors import InputError, not_opened, reading
from pyrosynth.files import URL, checked_path, with_home

SUFFIXES = (  # of sound files, by which they are found in a folder
    ".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".caf",
)  # fmt: skip


def folder_of_sounds(path: str | os.PathLike[str]) -> Path:
    """Return the path of a folder, or raise InputError if it is none or may not be read."""
    folder = checked_path("folder of sounds", path)
    if not os.path.isdir(folder):
        there = os.path.exists(folder)
        what = "is a file; give the folder" if there else "is not there; give a folder"
        raise InputError(f"'{folder}' {what} that the sound files are in")
    with reading(InputError, f"cannot read the folder '{folder}'", "give another"):
        os.listdir(folder)
    return folder


def no_sound(file: str | os.PathLike[str]) -> str:
    """Say why a path is not that of a sound file, before it is read; empty if it may be one."""
    path = os.fspath(file) if URL.match(os.fspath(file)) else os.fspath(with_home(file))
    if os.path.isdir(path):
        within = shlex.quote(path.rstrip("/") or "/")
        return f"'{path}' is a folder; name sound files, such as all of one kind: {within}/*.wav"
    if path.lower().startswith("file://"):
        return f"'{path}' is a URL; give the path, '{unquote(path[7:])}'"
    if URL.match(path):
        return f"'{path}' is a URL; download the sound, and give the path of the file"
    try:
        os.stat(path)
    except PermissionError as error:
        return not_opened(error)
    except (OSError, ValueError):
        pass
    if set(path) & set("*?") and not os.path.exists(path):
        folder, pattern = os.path.split(path)
        if not glob.glob(path):
            return f"no sound file matches '{path}'; look at the folder and the pattern"
        written = f"{shlex.quote(folder)}/{pattern}" if folder else pattern
        return f"'{path}' is a pattern in quotes, and no file; write {written}"
    if os.path.exists(path) and not os.path.isfile(path):
        return f"'{path}' is no file but a pipe or a device; write the sound into a file first"
    if os.path.islink(path) and not os.path.exists(path):
        return (
            f"'{path}' is a link to '{os.readlink(path)}', where nothing is; give the sound itself"
        )
    if not os.path.isfile(path):
        folder, name = os.path.split(path)
        with suppress(OSError, ValueError):
            for other in os.listdir(folder or "."):
                if other.casefold() == name.strip().casefold():
                    return f"no sound file '{path}'; '{os.path.join(folder, other)}' is there"
        return f"no sound file '{path}'; give the path of a WAV, FLAC, OGG, MP3 or AIFF file"
    if path.lower().endswith(".json"):
        return (
            f"'{path}' is JSON, such as a preset, no sound; give what is to be heard, a WAV file"
        )
    return ""
