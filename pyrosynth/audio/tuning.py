"""A recording of any pitch and length, brought to the note that a run has learnt.

What was sung, hummed or played becomes a sound that the run can read; the note that was heard
says how to play the preset that is found for it.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyrosynth.audio.background import ABOVE_DB, QUIETEST_SECONDS, measure_background
from pyrosynth.audio.io import (
    LOUDEST,
    SHORTEST_SECONDS,
    SILENCE,
    Audio,
    checked_audio,
    checked_rate,
)
from pyrosynth.audio.note import Note, require_note
from pyrosynth.audio.pitch_tracking import (
    FRAME,
    HOP,
    PITCH_HOP,
    RATE,
    levels,
    load_librosa,
    track_pitch,
)
from pyrosynth.errors import InputError

DEEPEST_DB, HIGHEST_DB = 45.0, 12.0  # below the loudest frame, whatever the background
GAP_SECONDS = 0.25  # of silence, which do not end a sound

HELD_DB = 6.0  # that a sound may fall until it is let go; one that falls further decays by itself
HELD_SHARE = 0.4  # of a sound that it must last; one that is let go sooner is a pluck
RELEASE_DB, RELEASE_SECONDS = 10.0, 0.15  # that it falls by after that, at least, and how long
HEAD_SECONDS = 0.15  # of a held sound that keep their pace
FADE_SECONDS = 0.05  # from one stretch of it to the next
IN_TUNE = 0.05  # semitones that are left as they are
WINDOW = 2048  # samples, of the phase vocoder
LONGEST_SECONDS = 60.0  # of a note


@dataclass(frozen=True, eq=False)
class TunedSound:
    """A recording, and what of it a run can read.

    Attributes:
        audio: The sound at the pitch and of the length of the run's note, shape (n_samples,).
        note: The note that was heard, to the nearest semitone; its velocity is the run's, since
            the loudness of a recording says more of the microphone than of the playing.
        cents: How far above that semitone it was, -50 to 50.
        onset_seconds: When it began in the recording.
        held: Whether it lasted until it was let go; otherwise it decayed by itself.
        sure: Whether the pitch is beyond doubt: most of the energy is periodic, at one pitch.
        times: Times in the recording of the pitches, in seconds, shape (n_frames,).
        pitches: MIDI note numbers with fractions, NaN where there is none, shape (n_frames,).
    """

    audio: Audio
    note: Note
    cents: float
    onset_seconds: float
    held: bool
    sure: bool
    times: NDArray[np.float64]
    pitches: NDArray[np.float64]

    @property
    def words(self) -> str:
        """The note to play, see `Note.words`."""
        return self.note.words

    def to_json(self) -> dict[str, Any]:
        """Describe what was heard, JSON-ready; ``Note(**data["note"])`` reads the note back."""
        return {
            "note": self.note.to_json(),
            "name": self.note.name,
            "cents": round(self.cents, 1),
            "onset_seconds": round(self.onset_seconds, 3),
            "held": self.held,
        }


def tune(audio: ArrayLike, sample_rate: int, note: Note, name: str = "the sound") -> TunedSound:
    """Bring a recording of one note, of any pitch and length, to the note that a run has learnt.

    Of several sounds with silence between them, the one with the most energy counts. It begins
    and ends where its level rises above and sinks to that of the background. Its pitch is the
    median of those of its frames by pYIN, weighted by their energy and by how sure they are.

    The sound is transposed by resampling, and a phase vocoder brings it back to its pace. A sound
    that is held and then let go is stretched to the hold of the run's note, after a head that
    keeps its pace and with its own release. One that decays by itself, such as a pluck, keeps its
    length, and so does one that is about as long as the run's note. The point at which a sound is
    let go is the best break between two straight lines through its level in dB.

    Args:
        audio: Mono recording, shape (any,), of at least 0.05 s.
        sample_rate: Rate in Hz, of the result too.
        note: The run's note.
        name: What errors call the recording.

    Returns:
        The sound at the note, and what was heard.

    Raises:
        InputError: The recording is too short, silent, not finite, or has no pitch from C1 to B6;
            or the rate or the note is none.

    References:
        Mauch and Dixon, 2014, "pYIN: a fundamental frequency estimator using probabilistic
        threshold distributions".

    Example:
        >>> time = np.arange(22050) / 22050
        >>> hum = tune(0.3 * np.sin(2 * np.pi * 196.0 * time), 22050, Note())
        >>> hum.words, hum.audio.shape
        ('G3, 1.0 s', (88200,))
    """
    import soxr

    require_note(note)
    sound, sample_rate = checked_audio(audio, name, ndim=1), checked_rate(sample_rate)
    if len(sound) < SHORTEST_SECONDS * sample_rate:
        raise InputError(
            f"{name} has shape {sound.shape}; give mono audio of at least {SHORTEST_SECONDS} s"
        )
    if not SILENCE <= np.abs(sound).max() <= LOUDEST:
        raise InputError(
            f"{name} is silent, or has samples that are NaN or beyond {LOUDEST:g}; record it again"
        )
    background = measure_background(sound, sample_rate)
    sound = sound - np.float32(background.offset)
    low = soxr.resample(sound, sample_rate, RATE)
    start, end = _loudest_part(low, background.level)
    low = low[start:end]
    pitch, sure, pitches = track_pitch(low, name)
    let_go, held = _let_go(low)
    nearest = round(pitch)
    hold = min(let_go if held else len(low) / RATE, LONGEST_SECONDS)
    release = note.duration_seconds - note.hold_seconds
    heard = Note(nearest, note.velocity, hold, min(hold + release, LONGEST_SECONDS))
    part = sound[int(start * sample_rate / RATE) : math.ceil(end * sample_rate / RATE)]
    shift = note.pitch - pitch
    return TunedSound(
        _fitted(part, sample_rate, shift, let_go if held else None, note),
        heard,
        100 * (pitch - nearest),
        start / RATE,
        held,
        sure,
        start / RATE + np.arange(len(pitches)) * PITCH_HOP / RATE,
        pitches,
    )


def _loudest_part(audio: Audio, background: float) -> tuple[int, int]:
    """Return where the sound with the most energy begins and ends, in samples.

    Args:
        audio: The recording.
        background: Level of the noise it begins with; a quieter stretch does not count.
    """
    from scipy import ndimage

    level = levels(audio)
    power = (level / level.max()) ** 2
    power = power[power > SILENCE**2]  # what a recorder fills in is no background
    n = min(len(power), round(QUIETEST_SECONDS * RATE / HOP))
    quietest = np.convolve(power, np.full(n, 1 / n), "valid").min()
    depth = -10 * math.log10(max(quietest, (background / level.max()) ** 2)) - ABOVE_DB
    depth = float(np.clip(depth, HIGHEST_DB, DEEPEST_DB))
    loud = load_librosa().amplitude_to_db(np.float32(level), ref=np.max, top_db=None) > -depth
    parts: list[list[int]] = []
    for (frames,) in ndimage.find_objects(ndimage.label(loud)[0]):
        start, end = frames.start * HOP, min(frames.stop * HOP, len(audio))
        if parts and start - parts[-1][1] < GAP_SECONDS * RATE:
            parts[-1][1] = end
        else:
            parts.append([start, end])
    energy = np.concatenate([[0.0], np.square(audio, dtype=np.float64).cumsum()])
    start, end = max(parts, key=lambda part: float(energy[part[1]] - energy[part[0]]))
    # A frame is loud as soon as the sound touches it, which is half a frame from its middle.
    start += FRAME // 2 if start else 0
    end -= FRAME // 2 if end < len(audio) else 0
    return start, max(end, start + HOP)


def _let_go(audio: Audio) -> tuple[float, bool]:
    """Return when a sound is let go, in seconds, and whether it is held until then."""
    level = levels(audio)
    db = 20 * np.log10(np.maximum(level / level.max(), 1e-3))
    n = len(db)
    at = np.arange(n)
    whole = np.polyfit(at, db, 1)
    last, falls, least = n, -whole[0] * n, math.inf
    for k in range(max(4, n // 10), n - 3, max(1, n // 100)):
        before, after = np.polyfit(at[:k], db[:k], 1), np.polyfit(at[k:], db[k:], 1)
        error = float(np.square(np.polyval(before, at[:k]) - db[:k]).sum())
        error += float(np.square(np.polyval(after, at[k:]) - db[k:]).sum())
        drops = -after[0] * (n - k) > RELEASE_DB and after[0] < before[0]
        if drops and error < least:
            last, falls, least = k, -before[0] * k, error
    if n - last < RELEASE_SECONDS * RATE / HOP:  # too short to be anything but the letting go
        last = n
    held = falls < HELD_DB and last > HELD_SHARE * n
    return min(last * HOP, len(audio)) / RATE, bool(held)


def _fitted(audio: Audio, rate: int, shift: float, let_go: float | None, note: Note) -> Audio:
    """Transpose a sound by semitones and give it the length of a note, shape (n_samples,)."""
    import soxr

    seconds, wanted = len(audio) / rate, note.n_samples(rate)
    ratio = 2 ** (shift / 12) if abs(shift) > IN_TUNE else 1.0
    moved = audio if ratio == 1 else soxr.resample(audio, rate * ratio, rate)
    if let_go is None or note.hold_seconds <= seconds <= note.duration_seconds:
        fitted = _stretched(moved, len(audio))
    else:
        head = min(HEAD_SECONDS, let_go / 3, note.hold_seconds / 3)
        cuts = np.array([0.0, head, let_go, seconds])
        goals = np.array([0.0, head, note.hold_seconds, note.hold_seconds + seconds - let_go])
        fitted = _joined(moved, cuts * rate / ratio, goals * rate, int(FADE_SECONDS * rate))
    kept = fitted[:wanted].copy()
    fade = min(len(kept), max(1, rate // 100))
    kept[-fade:] *= np.linspace(1.0, 0.0, fade, dtype=np.float32)
    return np.pad(kept, (0, wanted - len(kept)))


def _joined(audio: Audio, cuts: NDArray[Any], goals: NDArray[Any], fade: int) -> Audio:
    """Stretch what lies between cuts to what lies between goals, and fade from one to the next."""
    bounds = np.stack([cuts, goals], axis=1).astype(int)
    pieces = [(a, b) for a, b in pairwise(bounds.tolist()) if b[0] > a[0] and b[1] > a[1]]
    ramp = np.linspace(0.0, 1.0, fade, dtype=np.float32)
    joined = np.zeros(bounds[-1, 1] + fade, np.float32)
    for i, ((start, there), (end, then)) in enumerate(pieces):
        n, last = then - there, i == len(pieces) - 1
        more = 0 if last else fade
        piece = _stretched(audio[start : end + more * (end - start) // n], n + more).copy()
        if i:
            piece[:fade] *= ramp[: len(piece)]
        if not last:
            piece[-fade:] *= 1 - ramp
        joined[there : there + len(piece)] += piece
    return joined[: bounds[-1, 1]]


def _stretched(audio: Audio, n_samples: int) -> Audio:
    """Change the pace of a sound, not its pitch, to give it a length."""
    librosa = load_librosa()
    if len(audio) == n_samples:
        return audio
    whole = np.pad(audio, (0, max(0, WINDOW - len(audio))))
    rate = len(audio) / n_samples
    moved = librosa.phase_vocoder(librosa.stft(whole, n_fft=WINDOW), rate=rate, n_fft=WINDOW)
    length = round(len(whole) / rate)
    found = librosa.istft(moved, n_fft=WINDOW, dtype=whole.dtype, length=length)[:n_samples]
    return np.pad(found, (0, n_samples - len(found))).astype(np.float32, copy=False)
