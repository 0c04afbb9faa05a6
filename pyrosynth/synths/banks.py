"""Files of a synth's own presets, of those presets that its format can hold."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from pyrosynth.errors import PyrosynthError
from pyrosynth.synths.base import Synth
from pyrosynth.synths.presets import Preset
from pyrosynth.synths.sandbox import Scratch


def write_presets(synth: Synth, path: Path, presets: Sequence[Preset]) -> tuple[bool, str]:
    """Write presets into a file of the synth's own kind, without those that it refuses.

    Args:
        synth: The synth.
        path: The file, or folder, where nothing is yet.
        presets: The presets.

    Returns:
        Whether it is written, False for a synth without such files; and a sentence about what is
        not in it, empty if all are.

    Raises:
        PyrosynthError: The synth refuses each of them, or all of them together only.
    """
    try:
        return synth.write_bank(path, presets), ""
    except PyrosynthError:
        _remove(path)
        refused = {i: why for i, one in enumerate(presets) if (why := _refusal(synth, path, one))}
        if not refused or len(refused) == len(presets):
            raise
    synth.write_bank(path, [one for i, one in enumerate(presets) if i not in refused])
    (first, why), more = next(iter(refused.items())), len(refused) - 1
    others = f" and {more} more" if more else ""
    return True, f"'{path.name}' is without '{presets[first].name}'{others}: {why}"


def _refusal(synth: Synth, path: Path, preset: Preset) -> str:
    """Return why a preset cannot be written, empty if it can be."""
    with Scratch() as scratch:
        try:
            synth.write_bank(scratch.path / path.name, [preset])
        except PyrosynthError as error:
            return str(error)
    return ""


def _remove(path: Path) -> None:
    """Remove what a failed call has left."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
