"""The file of a description that is being made, with which an interrupted one goes on."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyrosynth.errors import InputError, SynthError
from pyrosynth.files import difference, read_limited, write_bytes
from pyrosynth.synths.base import Synth
from pyrosynth.synths.description import (
    FORMAT,
    SHA256,
    UNFINISHED,
    is_as_made,
    json_hash,
    read_description,
    read_file,
)
from pyrosynth.synths.presets import LARGEST_FILE


def write_over(path: Path, content: bytes, before: bytes | None) -> bytes:
    """Write a file that is made step by step, and never over what somebody else wrote.

    Args:
        path: The file.
        content: What is to be in it.
        before: What this process found or wrote there; None if there was no file.

    Returns:
        The content.

    Raises:
        InputError: Another process or a person changed the file, or it cannot be written.
    """
    if (read_limited(path, LARGEST_FILE) if path.exists() else None) not in (before, content):
        raise InputError(
            f"'{path}' was changed while it was made, by hand or by another process, whose work "
            "is kept; wait until that ends, or give another --out"
        )
    write_bytes(path, content)
    return content


def write_unfinished(path: Path, held: Mapping[str, Any], before: bytes | None) -> bytes:
    """Keep what a description that is being made holds so far, see `write_over`."""
    content = {"format": FORMAT, UNFINISHED: held, SHA256: json_hash(held)}
    return write_over(path, (json.dumps(content) + "\n").encode(), before)


def read_unfinished(path: Path, synth: Synth, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Read what a description holds that is being made; empty if it is finished.

    Args:
        path: Its file.
        synth: The synth that is to be described.
        settings: What decides the description: the seed and the notes; of a finished one only the
            seed is compared.

    Raises:
        InputError: It cannot be read, was changed by hand before it was finished, or was made with
            other settings.
        SynthError: It describes another synth.
    """
    data, _ = read_file(path)
    anew = "describe it anew with --force"
    held: dict[str, Any] = data.get(UNFINISHED, {})
    if UNFINISHED in data:
        if data.get(SHA256) != json_hash(held):
            raise InputError(f"'{path}' is unfinished, and not as it was written; {anew}")
        identity, before = held["identity"], held["settings"]
    else:
        finished = read_description(path)
        identity, before = finished.identity, {**settings, **finished.probe}
    if identity != synth.identity():
        raise SynthError(
            f"'{path}' describes another synth, or '{synth.name}' as it was before; give another "
            f"--out, or {anew}"
        )
    found = difference({key: before[key] for key in settings}, settings)
    if found:
        raise InputError(
            f"'{path}' was made with {found}; give the settings it was made with, another --out, "
            f"or {anew}"
        )
    return held


def require_replaceable(path: Path) -> None:
    """Make sure that what a description holds can be made again.

    Raises:
        InputError: Somebody has edited it, or it is no description.
    """
    data, _ = read_file(path)
    if not (UNFINISHED in data or is_as_made(data)):
        raise InputError(
            f"'{path}' was edited, or is of an earlier version, and --force would replace it; "
            "move it elsewhere, or give another --out"
        )
