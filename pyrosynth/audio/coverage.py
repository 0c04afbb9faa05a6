"""Whether the part of a recording that is used stands for the rest of it."""

import logging

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from pyrosynth.audio.background import ABOVE_DB, measure_background
from pyrosynth.audio.features import FeatureSpec
from pyrosynth.audio.io import Audio

PIECE_SECONDS = 0.5  # long enough for the spectrum of noise to settle
STEPS = 4  # in which pieces of the part that is used follow each other, in each of them
UNLIKE_DB = 6.0  # root mean square of the bands, from which two pieces differ
LOUDER_DB = 3.0  # than all that is used; a slow attack goes on
MUCH = 0.25  # share of the energy of the recording
LITTLE = 0.1  # share of the energy that is heard; white noise at 192 kHz has more at 22 kHz
log = logging.getLogger(__name__)
FAR_BEYOND = 100.0  # samples, 40 dB above full scale; integers written as floats are there
LATE = 2  # windows without a sound from which on a synth is late
FLOORED = 1.01  # times the floor, up to which nothing is heard
CANCELLED_DB = 1.8  # that channels cancel of each other; short noises reach 1.6
DEPTH = 1e-3  # power of a band that counts, as a share of the mean band of the loudest piece


def coverage_advice(recording: Audio, used: tuple[int, int], spec: FeatureSpec) -> str:
    """Say that much of a recording is not used, and sounds unlike the part that is.

    A note that is held or dies away longer than the run's is represented by its first seconds:
    whatever comes later sounds like a piece of them, or is faint. Of 256 General MIDI notes and
    240 notes of amsynth that were held for 6 and 10 seconds, with a run that uses 4 s, four are
    told.

    Args:
        recording: All of it, shape (n_samples,).
        used: The first sample that is used, and the one after the last.
        spec: Rate and bands.

    Returns:
        A sentence; empty unless a quarter of the energy lies outside, and either in half seconds
        that are unlike all those that are used by 6 dB, or with one that is louder by 3 dB.
    """
    n = round(PIECE_SECONDS * spec.sample_rate)
    start, end = max(0, used[0]), min(used[1], len(recording))
    if max(start, len(recording) - end) < n or end <= start:
        return ""
    background = measure_background(recording, spec.sample_rate)
    sound = recording - np.float32(background.offset)
    kept = np.pad(sound[start:end], (0, max(0, n - (end - start))))
    ours = _power(sliding_window_view(kept, n)[:: n // STEPS], spec)
    rest = [part[: len(part) // n * n].reshape(-1, n) for part in (sound[:start], sound[end:])]
    pieces = np.concatenate(rest)
    energy = np.square(pieces, dtype=np.float64).mean(axis=1)
    heard = energy > background.level**2 * 10 ** (ABOVE_DB / 10)
    whole = float(np.square(sound, dtype=np.float64).sum()) / n
    if not energy[heard].sum() >= MUCH * whole > 0:
        return ""
    theirs = _power(pieces, spec)
    loudest = float(ours.sum(axis=1).max())
    faint = DEPTH * max(loudest, float(theirs.sum(axis=1).max())) / spec.n_mels
    known, asked = 10 * np.log10(ours + faint), 10 * np.log10(theirs + faint)
    unlike = np.array([np.square(known - one).mean(axis=1).min() for one in asked])
    louder = theirs[heard].sum(axis=1).max() > loudest * 10 ** (LOUDER_DB / 10)
    if not louder and energy[heard & (unlike > UNLIKE_DB**2)].sum() < MUCH * whole:
        return ""
    first, last, total = (at / spec.sample_rate for at in (start, end, len(recording)))
    return (
        f"only {first:.1f} s to {last:.1f} s of its {total:.1f} s were used, and the rest sounds "
        "different; cut the file to the part that you mean"
    )


def rate_advice(share: float, sample_rate: int) -> str:
    """Say that little of a sound is heard at a rate, as most of it is higher than half the rate.

    Args:
        share: Of its energy, that is left at the rate, see `pyrosynth.audio.io.load_heard`.
        sample_rate: The rate in Hz.

    Returns:
        A sentence; empty unless less than a tenth of the energy is heard.
    """
    if share >= LITTLE:
        return ""
    return (
        f"{100 * (1 - share):.1f} % of its energy is above {sample_rate / 2:g} Hz, where this run "
        "hears nothing; what was found answers the rest alone"
    )


def say_late(mean: NDArray[np.floating], spec: FeatureSpec) -> None:
    """Warn that no sound of a synth begins at once.

    Args:
        mean: Mean of ``x`` over its presets, shape (n_mels, n_frames).
        spec: How a sound became ``x``.
    """
    heard = np.exp(mean).max(axis=0) > FLOORED * spec.floor
    first = int(heard.argmax()) if heard.any() else 0
    if first >= LATE:
        log.warning(
            "no preset is heard before %.2f s: if the synth is late, as with a lookahead, let its "
            "sounds begin with the key, for recordings are heard from their beginning",
            ((first - 1) * spec.hop_length + spec.n_fft // 2) / spec.sample_rate,
        )


def channel_advice(cancelled: float) -> str:
    """Say that the channels of a recording cancel each other in part.

    Args:
        cancelled: What they cancel, in dB, see `pyrosynth.audio.channels`.

    Returns:
        A sentence; empty unless much is cancelled.
    """
    if cancelled < CANCELLED_DB:
        return ""
    return (
        "its channels cancel each other in part, such as where one is a little late, and what is "
        "heard is their mean; give one channel alone if the mean sounds different"
    )


def scale_advice(recording: Audio) -> str:
    """Say that a recording at a synth's own level is no sound that a synth gives.

    Args:
        recording: Shape (n_samples,).

    Returns:
        A sentence; empty unless it is far beyond full scale.
    """
    peak = float(np.abs(recording).max())
    if peak <= FAR_BEYOND:
        return ""
    return (
        f"its samples reach {peak:,.0f}, where 1 is full scale, and its level is taken as it is: "
        "divide it by its full scale, or leave out --own-level"
    )


def _power(pieces: Audio, spec: FeatureSpec) -> NDArray[np.float64]:
    """Return the mean power of each band of pieces, shape (n, n_mels)."""
    return np.stack([spec.mel(piece).mean(axis=1) for piece in pieces]).astype(np.float64)
