"""Presets that the page keeps, as one file."""

from collections.abc import Mapping, Sequence
from typing import Any

from pyrosynth.errors import InputError, PyrosynthError, one_line, reason
from pyrosynth.live.engine import Live
from pyrosynth.live.files import Values
from pyrosynth.live.questions import name_of

LONGEST = 2000  # characters that say what is left out


def kept_bank(live: Live, kept: Sequence[Mapping[str, Any]]) -> tuple[str, bytes, str]:
    """Write presets as one file; one that cannot be written costs only itself.

    Args:
        live: The run.
        kept: Of each preset its ``name``, and its ``values``.

    Returns:
        How the name of the file ends, what is in it, and the names of those that are left out,
        each with the reason.

    Raises:
        InputError: A name is no text, or no preset can be written.
        SynthError: The synth's own writer fails at all of them together only.
    """
    good, left_out = list[tuple[str, Values]](), list[str]()
    for preset in kept:
        name = name_of(preset, "preset")
        try:
            good.append((name, live.checked(preset["values"])))
        except (PyrosynthError, KeyError) as error:
            left_out.append(f"'{name}' ({reason(error)})")
    try:
        written = live.files.bank(good) if good else None
    except Exception:  # the code of the synth may raise anything
        alone = [(one, _failure(live, one)) for one in good]
        left_out += [f"'{name}' ({why})" for (name, _), why in alone if why]
        good = [one for one, why in alone if not why]
        if len(good) == len(alone):
            raise
        written = live.files.bank(good) if good else None
    told = one_line("; ".join(left_out), LONGEST)
    if written is None:
        raise InputError(f"no preset fits this run and synth: {told}")
    return *written, told


def _failure(live: Live, preset: tuple[str, Values]) -> str:
    """Say why a preset cannot be written alone; nothing if it can."""
    try:
        live.files.bank([preset])
    except Exception as error:
        return reason(error)
    return ""
