"""Removal of what is not the sound in a recording: silence, noise, an offset, clicks.

Every sound that comes from outside is heard against its background, by this one measurement:
`fit_length` begins at its onset, `load_note` reads it so from a file, which must hold more than
clicks, and `pyrosynth.audio.tuning` cuts it out of its recording.
"""

import os
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from pyrosynth.audio.io import LOUDEST, SILENCE, Audio, checked_audio, checked_rate, load_audio
from pyrosynth.errors import InputError, counted, integer

FRAME_SECONDS, HOP_SECONDS = 0.04, 0.005  # of levels
QUIETEST_SECONDS = 0.1  # the shortest stretch in which a background can be measured
ABOVE_DB = 6.0  # of the background, from which a sound is heard
STEADY_SHARE = 0.9  # of a background that is within so many dB of its median
LEAVES_DB = 10.0  # of the background, from which it is at an end: rumble varies by that much
RISE_DB = 15.0  # from a background to the sound within 0.1 s, at least
SWELL_DB = 3.0  # within which a background stays from which a sound rises slowly
PERIODS = 0.002, 0.05  # seconds, at one of which a note resembles itself
# Least correlation with itself of a note, and of its differences, which hold less of the rumble
# that resembles itself for long.
ALIKE_SOUND, ALIKE_STEPS = 0.8, 0.4
LOOKED_AT = 2**16  # samples of what is before a sound, to know noise by
FAINT = 0.01  # share of the peak below which nothing is heard, whatever the background
OFFSET_SHARE = 0.5  # of the spread of the quietest stretch; a smaller mean is no offset
START_SECONDS = 0.001  # in which an offset is there already

CLICK_SECONDS = 0.03  # that a click lasts, at most
CLICK_SHARE = 0.05  # of the energy of all that follows, at most
PAUSE_SECONDS, CLICK_DB = 0.05, 15.0  # after a click, and how much fainter than it and the sound
CLICKS = 20  # that are skipped, at most
NOISE, NOISE_SHARE = 6.0, 0.1  # times the median sample, and of the peak: clicks stand out of it


@dataclass(frozen=True)
class Background:
    """What a recording holds beside the sound.

    Attributes:
        offset: Constant that is added to all samples.
        level: Root mean square of the noise, 0 where there is none.
        onset: Sample at which the sound begins, after silence, noise and clicks.
    """

    offset: float
    level: float
    onset: int


def measure_background(audio: ArrayLike, sample_rate: int) -> Background:
    """Measure the background of a recorded sound, and find where the sound begins.

    The offset is the mean of the quietest tenth of a second, if that is more than its own
    fluctuation and the recording begins with it too. A recording that begins with a steady level,
    for at least 0.1 s, and then rises by 15 dB at once has that background, and its sound begins
    where it stands out of it. If it rises slowly, the level before must stay within 3 dB and be
    that of noise, as of hiss and unlike the quiet beginning of a note. Any other begins at 1 %
    of its peak, so that a slow attack is not taken for a background. A click is skipped: 30 ms
    with less than 5 % of the energy of what follows, and a pause of 50 ms 15 dB below both.

    Args:
        audio: Mono sound, shape (n_samples,).
        sample_rate: Rate in Hz.

    Returns:
        The background.

    Raises:
        InputError: The audio is not mono floats, or not finite, or the rate is none.
    """
    sound, sample_rate = checked_audio(audio, ndim=1), checked_rate(sample_rate)
    if not len(sound) or not np.abs(sound).max() <= LOUDEST:
        raise InputError(
            f"audio of {counted(len(sound), 'sample')} has none, "
            f"or some that are NaN or beyond {LOUDEST:g}; record it again"
        )
    offset = _offset(sound, sample_rate)
    sound = sound - np.float32(offset) if offset else sound
    onset, level = 0, 0.0
    for _ in range(CLICKS):
        begin, steady = _onset(sound[onset:], sample_rate)
        onset, level = onset + begin, steady or level
        end = _click_end(sound[onset:], sample_rate)
        if not end:
            break
        onset += end
    return Background(offset, level, onset)


def only_clicks(audio: ArrayLike, sample_rate: int) -> bool:
    """Say whether a sound is nothing but clicks, with silence or noise between them.

    Of 1,200 presets of amsynth two are: a click has no pitch and no course, so that nearly every
    preset with a short envelope is near it.

    Args:
        audio: Mono sound, shape (n_samples,).
        sample_rate: Rate in Hz.

    Returns:
        Whether all stretches above 1 % of the peak and above the noise, with pauses of 50 ms
        between them, last at most 30 ms.

    Raises:
        InputError: The audio is not mono floats, or the rate is none.
    """
    sound, sample_rate = checked_audio(audio, ndim=1), checked_rate(sample_rate)
    if not len(sound):
        return False
    size = np.abs(sound - np.median(sound))  # without an offset
    peak, noise = float(size.max()), NOISE * float(np.median(size))
    loud = np.flatnonzero(size > max(FAINT * peak, noise))
    if noise > NOISE_SHARE * peak or not len(loud):
        return False
    ends = np.flatnonzero(np.diff(loud) > PAUSE_SECONDS * sample_rate)
    first, last = np.append(loud[0], loud[ends + 1]), np.append(loud[ends], loud[-1])
    return bool((last - first).max() < CLICK_SECONDS * sample_rate)


def load_note(path: str | os.PathLike[str], n_samples: int, sample_rate: int) -> Audio:
    """Read a sound file of one note from its onset on, at the wanted rate and length.

    Args:
        path: The file, see `pyrosynth.audio.io.load_audio`.
        n_samples: Wanted length.
        sample_rate: Rate of the result in Hz.

    Returns:
        Audio, shape (n_samples,).

    Raises:
        InputError: The file cannot be used, or holds only clicks.
    """
    sound = load_audio(path, sample_rate)
    if only_clicks(sound, sample_rate):
        raise InputError(
            f"'{os.fspath(path)}' holds only clicks, none longer than "
            f"{1000 * CLICK_SECONDS:.0f} ms; record a note"
        )
    return fit_length(sound, n_samples, sample_rate)


def fit_length(audio: ArrayLike, n_samples: int, sample_rate: int) -> Audio:
    """Cut what is before the onset of a sound, then cut or zero-pad to a length.

    Args:
        audio: Mono sound, shape (any,).
        n_samples: Wanted length.
        sample_rate: Rate in Hz; a cut end is faded out over 10 ms of it.

    Returns:
        Audio, shape (n_samples,).

    Raises:
        InputError: The audio is not mono floats, or not finite, or the length or rate is none.

    Example:
        >>> tone = np.sin(np.arange(1000.0)) * np.linspace(1, 0, 1000)
        >>> late = np.concatenate([np.full(500, 1e-4), tone])
        >>> bool(np.abs(fit_length(late, 2000, 22050)[:50]).max() > 0.9)
        True
    """
    sound, sample_rate = checked_audio(audio, ndim=1), checked_rate(sample_rate)
    n_samples = integer("n_samples", n_samples, 1)
    background = measure_background(sound, sample_rate)
    kept = sound[background.onset : background.onset + n_samples] - np.float32(background.offset)
    if background.onset + n_samples < len(sound):
        fade = min(len(kept), max(1, sample_rate // 100))
        kept[-fade:] *= np.linspace(1.0, 0.0, fade, dtype=np.float32)
    return np.pad(kept, (0, n_samples - len(kept)))


def _offset(sound: Audio, sample_rate: int) -> float:
    """Return the constant in a recording, 0 where none can be told."""
    mean, power = _moments(sound, QUIETEST_SECONDS, QUIETEST_SECONDS / 4, sample_rate)
    spread = np.sqrt(np.maximum(power - mean**2, 0.0))
    quietest = int(spread.argmin())
    offset, peak = float(mean[quietest]), float(np.abs(sound).max())
    real = abs(offset) > max(OFFSET_SHARE * float(spread[quietest]), SILENCE * peak)
    # What a synth plays begins at 0, even if it dies away at a constant.
    start = [float(sound[0]), float(sound[: max(1, round(START_SECONDS * sample_rate))].mean())]
    there = all(abs(level - offset) < OFFSET_SHARE * abs(offset) for level in start)
    # A recording that is nothing but its offset is left to be called silent by others.
    return offset if real and there and float(np.abs(sound - offset).max()) > SILENCE else 0.0


def _onset(sound: Audio, sample_rate: int) -> tuple[int, float]:
    """Return where a sound begins, and the level of the background before it, 0 for none."""
    size = np.abs(sound)
    peak = float(size.max(initial=0.0))
    if peak == 0:
        return 0, 0.0
    plain = int(np.argmax(size > FAINT * peak))
    first = int(np.argmax(size > SILENCE * peak))  # what a recorder fills in is no background
    hop = max(1, round(HOP_SECONDS * sample_rate))
    levels = _levels_db(sound[first:], sample_rate)
    shortest = round(QUIETEST_SECONDS / HOP_SECONDS)
    later = sliding_window_view(np.pad(levels, (0, shortest - 1), "symmetric"), shortest)
    soon = later.max(axis=1)  # of this frame and those after it
    early = np.median(levels[:shortest])
    leaves = np.flatnonzero((levels > early + LEAVES_DB) & (soon > early + RISE_DB))
    before = levels[: leaves[0]] if len(leaves) else levels[:0]
    # A swell begins long before it rises so much. Quiet beginnings of notes, which are no
    # background, vary by more than that of a room, or have partials.
    low = np.flatnonzero(before < early + SWELL_DB)
    quiet = before[: low[-1] + 1] if len(low) else before[:0]
    heard = sound[first : first + min(len(quiet) * hop, LOOKED_AT)]
    if _is_steady(quiet, SWELL_DB, shortest) and _is_noise(heard, sample_rate):
        before = quiet
    elif not _is_steady(before, ABOVE_DB, shortest):
        return plain, 0.0
    background = float(np.median(before))
    level = 10 ** (background / 20)
    # Within the first frame that is louder, the first sample that stands out of the noise.
    start = first + len(before) * hop
    frame = size[start : start + round(FRAME_SECONDS * sample_rate)]
    loud = frame > max(FAINT * peak, min(4 * level, 0.5 * float(frame.max())))
    return max(plain, start + int(np.argmax(loud))), level


def _is_steady(levels: NDArray[np.float64], within_db: float, shortest: int) -> bool:
    """Say whether levels in dB may be those of a background, of so many frames at least."""
    near = np.abs(levels - np.median(levels)) < within_db if len(levels) >= shortest else [0.0]
    return bool(np.mean(near) >= STEADY_SHARE)


def _is_noise(sound: Audio, sample_rate: int) -> bool:
    """Say whether a sound repeats itself at no period, as hiss does and no note."""
    n = len(sound)
    first, last = (max(1, round(seconds * sample_rate)) for seconds in PERIODS)
    for heard, least in ((sound, ALIKE_SOUND), (np.diff(sound), ALIKE_STEPS)):
        power = np.abs(np.fft.rfft(heard, 2 * n)) ** 2
        same = np.fft.irfft(power)[: n // 2] * n / np.arange(n, n - n // 2, -1)
        if same[first:last].max(initial=0.0) > least * same[0]:
            return False
    return True


def _click_end(sound: Audio, sample_rate: int) -> int:
    """Return where a click ends with which a sound begins, 0 if it begins with none."""
    longest, pause = (
        max(1, round(seconds * sample_rate)) for seconds in (CLICK_SECONDS, PAUSE_SECONDS)
    )
    power = np.square(sound, dtype=np.float64)
    click, after, rest = np.split(power, [longest, longest + pause])
    if not len(rest) or click.sum() > CLICK_SHARE * rest.sum():
        return 0
    loudest = _moments(sound[longest + pause :], FRAME_SECONDS, HOP_SECONDS, sample_rate)[1].max()
    fallen = after.mean() * 10 ** (CLICK_DB / 10)
    return longest if click.max() > fallen and loudest > fallen else 0


def _levels_db(sound: Audio, sample_rate: int) -> NDArray[np.float64]:
    """Return the level of each frame in dB; frames begin a hop apart."""
    power = _moments(sound, FRAME_SECONDS, HOP_SECONDS, sample_rate)[1]
    return 10 * np.log10(np.maximum(power, 1e-20))


def _moments(
    sound: Audio, frame_seconds: float, hop_seconds: float, sample_rate: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean and the mean square of each frame."""
    n = max(1, min(len(sound), round(frame_seconds * sample_rate)))
    starts = np.arange(0, len(sound) - n + 1, max(1, round(hop_seconds * sample_rate)))
    sums = [np.concatenate([[0.0], np.cumsum(sound.astype(np.float64) ** k)]) for k in (1, 2)]
    mean, power = ((total[starts + n] - total[starts]) / n for total in sums)
    return mean, power
