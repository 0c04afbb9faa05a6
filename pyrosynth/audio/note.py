"""The note that is played."""

from dataclasses import asdict, dataclass
from typing import Any

from pyrosynth.audio.io import checked_rate
from pyrosynth.errors import InputError, integer, number, require_type

NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")  # of pitches
SHORTEST_NOTE, LONGEST_NOTE = 0.01, 60.0  # seconds


@dataclass(frozen=True)
class Note:
    """The note a synth is asked to play.

    Args:
        pitch: MIDI note number, 0 to 127; 60 is C4.
        velocity: MIDI velocity, 1 to 127.
        hold_seconds: Time from note-on to note-off.
        duration_seconds: Length of the recording, release included, 0.01 to 60.

    Raises:
        InputError: A number is out of range.

    Example:
        >>> Note(69).name, Note(duration_seconds=3.5).n_samples(22050)
        ('A4', 77175)
    """

    pitch: int = 60
    velocity: int = 100
    hold_seconds: float = 3.0
    duration_seconds: float = 4.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        checked = {
            "pitch": integer("pitch", self.pitch, 0, 127),
            "velocity": integer("velocity", self.velocity, 1, 127),
            "hold_seconds": number("hold_seconds", self.hold_seconds),
            "duration_seconds": number("duration_seconds", self.duration_seconds),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        if not (
            0 < self.hold_seconds <= self.duration_seconds
            and SHORTEST_NOTE <= self.duration_seconds <= LONGEST_NOTE
        ):
            raise InputError(
                f"note held {self.hold_seconds} s of {self.duration_seconds} s: hold must be "
                f"above 0 and at most the duration, the duration {SHORTEST_NOTE} to "
                f"{LONGEST_NOTE:.0f} s"
            )

    @property
    def name(self) -> str:
        """The pitch as musicians write it, such as ``C4`` or ``F#3``."""
        return f"{NAMES[self.pitch % 12]}{self.pitch // 12 - 1}"

    @property
    def words(self) -> str:
        """How to play it, such as ``C3, 1.2 s``; with its velocity if that is not the usual."""
        return f"{self.name}, {self.hold_seconds:.1f} s{self._strength}"

    @property
    def facts(self) -> str:
        """What it is, such as ``C4, 1 of 1.5 s held``; with its velocity likewise."""
        length = f"{self.hold_seconds:g} of {self.duration_seconds:g} s held"
        return f"{self.name}, {length}{self._strength}"

    @property
    def _strength(self) -> str:
        return f", velocity {self.velocity}" if self.velocity != type(self).velocity else ""

    def n_samples(self, sample_rate: int) -> int:
        """Return the number of samples of the recording."""
        return int(self.duration_seconds * checked_rate(sample_rate))

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON-ready dictionary; ``Note(**data)`` reads it back."""
        return asdict(self)


def require_note(note: Any) -> None:
    """Make sure that an argument is a `Note`.

    Raises:
        InputError: It is something else.
    """
    require_type("note", note, Note, "a Note, such as run.note")
