"""What people are told of how a sound was heard: the note to play, and what to mind."""

from collections.abc import Mapping
from typing import Any

from pyrosynth.audio.note import Note
from pyrosynth.inference.hearing import Hearing
from pyrosynth.inference.pool import IN_TUNE


def note_to_play(play: Mapping[str, Any]) -> str:
    """Say which note plays what was heard, and how far from that note it was if that is much.

    Args:
        play: From `TunedSound.to_json`; with the distance there, ``lsd_db``, if it was measured.

    Returns:
        Such as ``play C3, 1.2 s (4.31 dB there)``.
    """
    there = f" ({play['lsd_db']:.2f} dB there)" if "lsd_db" in play else ""
    name, cents = play["name"], play["cents"]
    heard = f"heard {name} {cents:+.0f} cents, " if abs(cents) > 100 * IN_TUNE else ""
    return f"{heard}play {Note(**play['note']).words}{there}"


def hearing_advice(way: Hearing, off: float | None) -> str:
    """Say at which pitch a preset sounds, where it is not that of the key, and what was not used.

    Args:
        way: How the sound was taken.
        off: Semitones of the preset above the pitch that is wanted, from `off_pitch`.
    """
    return "; ".join(filter(None, (_tuning_advice(way, off), way.coverage)))


def _tuning_advice(way: Hearing, off: float | None) -> str:
    says = "" if way.tuned else way.says
    if off is None or abs(off) <= IN_TUNE:
        return says
    away = f"the preset sounds {100 * abs(off):.0f} cents {'above' if off > 0 else 'below'}"
    # Of the sound itself it says nothing: taken as it is, that may be off its key as well.
    return f"{says}; {away} that" if says else f"{away} its key"
