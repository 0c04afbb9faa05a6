"""The note a sound is played with."""

from dataclasses import asdict, dataclass
from typing import Any

from pyrosynth.errors import InputError

NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")  # of pitches


@dataclass(frozen=True)
class Note:
    """The note a synth is asked to play.

    Args:
        pitch: MIDI note number, 0 to 127; 60 is C4.
        velocity: MIDI velocity, 1 to 127.
        hold_seconds: Time from note-on to note-off.
        duration_seconds: Length of the recording, release included.

    Raises:
        InputError: A number is out of range.
    """

    pitch: int = 60
    velocity: int = 100
    hold_seconds: float = 3.0
    duration_seconds: float = 4.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 0 <= self.pitch <= 127 or not 1 <= self.velocity <= 127:
            raise InputError(
                f"note {self.pitch} with velocity {self.velocity}: pitch must be 0 to 127 and "
                "velocity 1 to 127"
            )
        if not 0 < self.hold_seconds <= self.duration_seconds <= 60:
            raise InputError(
                f"note held {self.hold_seconds} s of {self.duration_seconds} s: hold must be "
                "above 0 and at most the duration, the duration at most 60 s"
            )

    @property
    def name(self) -> str:
        """The pitch as musicians write it, such as ``C4`` or ``F#3``."""
        return f"{NAMES[self.pitch % 12]}{self.pitch // 12 - 1}"

    def n_samples(self, sample_rate: int) -> int:
        """Return the number of samples of the recording."""
        return int(self.duration_seconds * sample_rate)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON-ready dictionary; ``Note(**data)`` reads it back."""
        return asdict(self)
