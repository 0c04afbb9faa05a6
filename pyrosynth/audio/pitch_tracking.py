"""The pitch of a recording by pYIN, and whether it is beyond doubt that of one note.

The tracker takes a chord for a note at the common period of its notes, or between them; the
spectrum tells what it was.
"""

import atexit
import fcntl
import shutil
import tempfile
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyrosynth.audio.io import SILENCE, Audio, checked_audio
from pyrosynth.errors import InputError

RATE = 22050  # Hz, of the analysis
FRAME, HOP = 1024, 256  # samples of it: levels in frames of 46 ms every 12 ms
PITCH_FRAME, PITCH_HOP = 2048, 512  # three periods of the lowest pitch, every 23 ms
STEP = 0.2  # semitones that the tracker tells apart
PITCHES_HZ = (32.7, 2033.0)  # C1 to half a semitone above B6
TRACKED_HZ = (PITCHES_HZ[0], 2093.0)  # beyond the highest, so that a higher one does not seem it
ANALYSED_SECONDS = 6.0  # of a longer sound, for its pitch
VOICED = 0.4  # share of a sound's energy that must have a pitch
SURELY_VOICED, SURELY_ONE = 0.8, 0.85  # shares of periodic energy, and of it at one pitch
LOW_PARTIALS, SURELY_LOW = (0.5, 3.5), 0.05  # multiples of a sure pitch, and their share of energy
# Two notes at a simple interval have only partials of their common period that are multiples of
# one of these, whatever the interval: a fourth is 3 : 4, a sixth 3 : 5, a third 4 : 5. At least a
# share of the energy is at each one's own, and hardly any at others: of 0.00006 to 0.020 in dyads,
# of 0.037 and more in 107 of 109 single instruments; the other two play fifths.
PERIODS, HIGHEST_PARTIAL = ((2, 3), (2, 5), (3, 5)), 24
OWN, OTHER = 0.06, 0.025
# Where a short period lies between two samples, the tracker may find two or three times as much.
# Partials that only the longer period has then have less than this share of the energy; the odd
# ones of 170 single sounds have 0.1 and more.
MULTIPLES, MISSING = (2, 3), 0.003
# Share of the energy around the lowest partials that is at them, within some semitones: at most
# 0.63 in seconds and thirds, whose notes the tracker takes in turn, or one between them; at least
# 0.72 in 202 of 206 single sounds, the others being bells and bars; 0.74 in a vibrato of a tone.
AROUND, AT_PARTIALS, SURELY_AT = (0.6, 4.5), 0.6, 0.68
BELOW_ALL, ABOVE_ALL = 0.97, 0.9  # of the lowest and highest pitch: where others are, and seem so
ONE_NOTE = 0.75  # semitones around the middle that belong to the note, twice that with a vibrato
TURNS = 4  # times that the middle is taken of what is around it
AT_MIDDLE = 0.85  # share of the frames of a note around its middle, less than which is a vibrato


class OutsideError(InputError):
    """A sound has a pitch, but one so low or high that it is not told from others."""


@cache
def load_librosa() -> Any:
    """Import librosa, which compiles functions and keeps them for the next process.

    One process at a time: numba's cache mixes up what two write at once, and whoever reads it
    later crashes. Where there is no folder that may keep the functions, a temporary one does.
    """
    import librosa

    with open(librosa.__file__, "rb") as lock:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            librosa.pyin, librosa.feature.rms  # noqa: B018  it imports them
        except RuntimeError:
            import numba

            folder = tempfile.mkdtemp(prefix="pyrosynth-numba-")
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            numba.config.CACHE_DIR = folder  # type: ignore[attr-defined]
            librosa.pyin, librosa.feature.rms  # noqa: B018
    return librosa


def levels(audio: Audio, frame: int = FRAME, hop: int = HOP) -> NDArray[np.float64]:
    """Return the root mean square of each frame of a sound, the middles of frames a hop apart.

    Args:
        audio: Shape (n_samples,).
        frame: Samples of a frame.
        hop: Samples between the middles of two.

    Raises:
        InputError: It is no audio of that shape.
    """
    librosa = load_librosa()
    audio = checked_audio(audio, ndim=1, least=1)
    level = librosa.feature.rms(y=audio, frame_length=frame, hop_length=hop)[0]
    return np.asarray(level, np.float64)


def track_pitch(audio: Audio, name: str) -> tuple[float, bool, NDArray[np.float64]]:
    """Find the pitch of a sound.

    Args:
        audio: One sound at ``RATE``, shape (n_samples,).
        name: What errors call it.

    Returns:
        The pitch as a MIDI number with a fraction; whether it is beyond doubt; and that of each
        frame ``PITCH_HOP`` samples apart, NaN where there is none.

    Raises:
        InputError: Too little of the sound is periodic, or it is no audio of that shape.
        OutsideError: Its pitch is not from C1 to B6.
    """
    audio = checked_audio(audio, name, ndim=1, least=1)
    pitch, sure, pitches = _pitch(audio, name)
    if _is_outside(audio, pitch):
        raise OutsideError(
            f"the pitch of {name} is not from C1 to B6, where pitches are told apart; give a note "
            "played in another octave"
        )
    sure = sure and _is_one_note(audio, pitch)
    return pitch, sure and _share_at_pitches(audio, pitches) >= SURELY_AT, pitches


def _pitch(audio: Audio, name: str) -> tuple[float, bool, NDArray[np.float64]]:
    """Return the pitch of a sound, whether it is sure, and that of each frame, as MIDI numbers."""
    librosa = load_librosa()
    cut = audio[: int(ANALYSED_SECONDS * RATE)]
    cut = np.pad(cut, (0, max(0, 2 * PITCH_FRAME - len(cut))))
    hz, _, sure = librosa.pyin(
        cut, fmin=TRACKED_HZ[0], fmax=TRACKED_HZ[1], sr=RATE, frame_length=PITCH_FRAME,
        hop_length=PITCH_HOP, resolution=STEP,
    )  # fmt: skip
    energy = levels(cut, PITCH_FRAME, PITCH_HOP) ** 2
    voiced = np.isfinite(hz)
    share = float(energy[voiced].sum() / max(energy.sum(), SILENCE**4))
    if share < VOICED:
        raise InputError(
            f"{name} has no pitch ({100 * share:.0f} % of its energy is periodic, at least "
            f"{100 * VOICED:.0f} % must be); give one sung, hummed or played note"
        )
    pitches = np.full(len(hz), np.nan)
    pitches[voiced] = librosa.hz_to_midi(hz[voiced])
    # A frame of which the tracker is not sure at all still has the pitch of its neighbours.
    weight, known = (energy * (sure + STEP))[voiced], pitches[voiced]
    order = np.argsort(known, kind="stable")
    below = weight[order].cumsum()
    middle = median = known[order][np.searchsorted(below, below[-1] / 2)]
    # A wide vibrato is seldom at its middle, and half of its frames lie at either of its turns.
    for _ in range(TURNS):
        wide = np.abs(known - middle) < 2 * ONE_NOTE
        middle = float(np.average(known[wide], weights=weight[wide]))
    near = np.abs(known - middle) < ONE_NOTE
    if weight[near].sum() < AT_MIDDLE * weight[wide].sum():
        near = wide
    higher = 12 * np.log2(_lowest_partial(audio, middle))
    known[near] += higher
    pitches[voiced], median = known, median + higher
    # Frames of a vibrato or a glide are near it too, so that only jumps of the tracker count.
    steady = float(weight[np.abs(known - median) < 2 * ONE_NOTE].sum() / weight.sum())
    sure = share >= SURELY_VOICED and steady >= SURELY_ONE
    return float(np.average(known[near], weights=weight[near])), sure, pitches


def _is_outside(audio: Audio, pitch: float) -> bool:
    """Return whether a sound is lower or higher than all pitches, of which it merely seems one."""
    lowest, highest = TRACKED_HZ
    heard = 440.0 * 2.0 ** ((pitch - 69) / 12)
    if heard > PITCHES_HZ[1]:
        return True
    size = max(2 * len(audio), 2 * PITCH_FRAME)
    power = np.square(np.abs(np.fft.rfft(audio, size)))
    below = np.fft.rfftfreq(size, 1 / RATE) < ABOVE_ALL * highest
    if heard < ABOVE_ALL * highest and power[below].sum() < SURELY_LOW / 5 * power.sum():
        return True
    # A lower sound seems at the lowest pitch, and repeats itself only later.
    first, last = (round(share * RATE / lowest) for share in (BELOW_ALL, 1 / BELOW_ALL + 2))
    again = np.fft.irfft(power)[first:last]
    near = heard * BELOW_ALL < lowest
    return bool(near and RATE / (first + again.argmax()) < BELOW_ALL * lowest)


def _is_one_note(audio: Audio, pitch: float) -> bool:
    """Return whether a sound is at its pitch, and not two or more notes at others.

    A chord has none of the lowest partials of its common period, of two notes most are missing.
    """
    partial, power = _partials(audio, pitch)
    low, high = LOW_PARTIALS
    share = power[(partial > low) & (partial < high)].sum() / power[partial > low].sum()
    energy = _energies(partial, power)
    numbers = np.arange(HIGHEST_PARTIAL + 1)
    for one, two in PERIODS:
        first, second = numbers % one == 0, numbers % two == 0
        own = min(energy[first & ~second].sum(), energy[second & ~first].sum())
        if own > OWN and energy[~(first | second)].sum() < OTHER:
            return False
    return bool(share >= SURELY_LOW)


def _lowest_partial(audio: Audio, pitch: float) -> int:
    """Return which partial of a pitch is a sound's own pitch: 1, or of which it has multiples."""
    energy, numbers = _energies(*_partials(audio, pitch)), np.arange(HIGHEST_PARTIAL + 1)
    return next((k for k in MULTIPLES if energy[numbers % k > 0].sum() < MISSING), 1)


def _partials(audio: Audio, pitch: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the frequencies of a sound's spectrum as multiples of a pitch, and their power."""
    hertz = 440.0 * 2.0 ** ((pitch - 69) / 12)
    return np.fft.rfftfreq(len(audio), 1 / RATE) / hertz, np.square(np.abs(np.fft.rfft(audio)))


def _energies(partial: NDArray[np.float64], power: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the shares of energy near each partial, shape (1 + HIGHEST_PARTIAL,)."""
    number = np.rint(partial).astype(int)
    near = (number > 0) & (number <= HIGHEST_PARTIAL) & (np.abs(partial - number) < 0.3)
    energy = np.bincount(number[near], power[near], HIGHEST_PARTIAL + 1)
    return np.asarray(energy / energy.sum())


def _share_at_pitches(audio: Audio, pitches: NDArray[np.float64]) -> float:
    """Return the share of the energy around a sound's lowest partials that lies at them.

    Args:
        audio: At ``RATE``.
        pitches: MIDI numbers of its frames ``PITCH_HOP`` apart, NaN where there is no pitch.
    """
    librosa = load_librosa()
    size, hop = 2 * PITCH_FRAME, 2 * PITCH_HOP  # twice as many periods tell two notes apart
    cut = audio[: int(ANALYSED_SECONDS * RATE)]
    cut = np.pad(cut, (0, max(0, size - len(cut))))
    power = np.square(np.abs(librosa.stft(cut, n_fft=size, hop_length=hop)))
    there = pitches[:: hop // PITCH_HOP][: power.shape[1]]
    voiced = np.isfinite(there)
    hertz, power = librosa.midi_to_hz(there[voiced]), power[1:, : len(there)][:, voiced]
    partial = np.fft.rfftfreq(size, 1 / RATE)[1:, None] / hertz
    around = (partial > AROUND[0]) & (partial < AROUND[1])
    number = np.maximum(np.rint(partial), 1)
    width = np.maximum(AT_PARTIALS, 12 * np.log2(1 + 2 * RATE / size / (number * hertz)))
    there = around & (np.abs(12 * np.log2(partial / number)) < width)
    return float(power[there].sum() / max(power[around].sum(), SILENCE**4))
