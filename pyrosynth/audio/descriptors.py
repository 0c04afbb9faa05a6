"""Descriptors of sounds: loudness, timbre, attack.

The spectral ones are those of librosa up to float32 rounding (by test), averaged over the frames
of a sound by the energy of each, so that silence after the note does not count.
"""

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from pyrosynth.audio.features import FeatureSpec, power_of_each, require_spec
from pyrosynth.audio.io import checked_audio, checked_rate
from pyrosynth.errors import InputError, require_shapes

UNITS = {
    "loudness": "dB",
    "centroid": "Hz",
    "bandwidth": "Hz",
    "flatness": "dB",
    "roll-off": "Hz",
    "attack": "s",
}
NAMES = tuple(UNITS)

LOWEST_DB = -100.0  # loudness of digital silence
ROLL_OFF = 0.85  # share of the spectrum's magnitude below the roll-off
AMIN = np.float32(1e-10)  # power below which flatness sees no difference
ATTACK = (0.1, 0.9)  # shares of the loudest level between which the attack lasts
ATTACK_SECONDS = 0.01  # window of the level; twice as many values per second


@np.errstate(under="ignore")
def describe(audio: ArrayLike, spec: FeatureSpec) -> NDArray[np.float64]:
    """Describe sounds by a few numbers each.

    Args:
        audio: Mono sounds, shape (..., n_samples).
        spec: Rate, window and hop of the analysis.

    Returns:
        The numbers in the order of ``NAMES``, in ``UNITS``, shape (..., 6): RMS level of the
        whole sound relative to full scale, spectral centroid, bandwidth, flatness (of power, as
        decibels; 0 is a click, whose bins are equal, white noise is -2.5, a tone far below),
        roll-off, and the time the level takes from a tenth of its maximum to nine tenths. All
        are finite: silence has the level -100 dB and zeros.

    Raises:
        InputError: The sounds are no audio or hold no samples, or the spec is none.

    References:
        Peeters et al., 2011, "The Timbre Toolbox".
    """
    require_spec(spec)
    sounds = checked_audio(audio, least=1)
    flat = sounds.reshape(-1, sounds.shape[-1])
    hz = np.linspace(0.0, spec.sample_rate / 2, spec.n_fft // 2 + 1, dtype=np.float32)
    rows = [_describe(sound, spec, hz) for sound in flat]
    return np.array(rows).reshape(*sounds.shape[:-1], len(NAMES))


def _describe(
    sound: NDArray[np.float32], spec: FeatureSpec, hz: NDArray[np.float32]
) -> list[float]:
    rms = float(np.sqrt(np.mean(sound.astype(np.float64) ** 2)))
    if rms <= 10 ** (LOWEST_DB / 20):
        return [LOWEST_DB, 0.0, 0.0, 0.0, 0.0, 0.0]
    padded = np.pad(sound, spec.n_fft // 2)
    frames = sliding_window_view(padded, spec.n_fft)[:: spec.hop_length]
    spectrum = scipy.fft.rfft(frames * spec.window, overwrite_x=True)
    power = spectrum.real**2 + spectrum.imag**2
    weight = power.sum(axis=1)
    power, weight = power[weight > 0], weight[weight > 0] / weight.sum()
    magnitude = np.sqrt(power)
    total = magnitude.sum(axis=1)
    centroid = magnitude @ hz / total
    spread = np.einsum("fk,fk->f", magnitude, (hz - centroid[:, None]) ** 2) / total
    safe = np.maximum(power, AMIN)
    flatness = 10 / np.log(10) * (np.log(safe).mean(axis=1) - np.log(safe.mean(axis=1)))
    running = np.cumsum(magnitude, axis=1)
    roll_off = hz[np.argmax(running >= ROLL_OFF * running[:, -1:], axis=1)]
    averages = [float(weight @ row) for row in (centroid, np.sqrt(spread), flatness, roll_off)]
    return [20 * np.log10(rms), *averages, attack_seconds(sound, spec.sample_rate)]


@np.errstate(under="ignore")
def attack_seconds(sound: NDArray[np.float32], sample_rate: int) -> float:
    """Return the time the level of a sound takes from 10 % to 90 % of its maximum.

    Args:
        sound: Mono audio, shape (n_samples,).
        sample_rate: Rate in Hz.

    Raises:
        InputError: It is no audio of that shape, or no rate.
    """
    sound, sample_rate = checked_audio(sound, ndim=1, least=1), checked_rate(sample_rate)
    window = max(2, int(ATTACK_SECONDS * sample_rate))
    hop = max(1, window // 2)
    padded = np.pad(sound.astype(np.float64) ** 2, (window, 0))
    level = np.sqrt(sliding_window_view(padded, window)[::hop].mean(axis=1))
    start, end = (int(np.argmax(level >= share * level.max())) for share in ATTACK)
    return (end - start) * hop / sample_rate


@dataclass(frozen=True)
class SoundSummary:
    """Features and descriptors of rendered sounds, in one row each: what checks keep of them.

    A transform of `pyrosynth.synths.rendering.Renderer`, so that no audio leaves the workers.

    Args:
        spec: The features.
    """

    spec: FeatureSpec

    def __call__(self, audio: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map audio (n, n_samples) to rows (n, n_mels * n_frames + 6)."""
        require_spec(self.spec)
        audio = checked_audio(audio, ndim=2, least=1)
        x = self.spec(audio).reshape(len(audio), -1)
        return np.concatenate([x, describe(audio, self.spec).astype(np.float32)], axis=1)

    def split(self, rows: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Split rows into features (n, n_mels, n_frames) and descriptors (n, 6)."""
        n = len(NAMES)
        wanted = {"rows": (rows, ("n", f"{self.spec.n_mels} * n_frames + {n}"))}
        require_shapes("summaries", wanted)
        if (rows.shape[1] - n) % self.spec.n_mels:
            raise InputError(
                f"rows of {rows.shape[1]} numbers are no summaries of {self.spec.n_mels} bands; "
                "give what a call returns"
            )
        x = rows[:, :-n].reshape(len(rows), self.spec.n_mels, -1)
        return x, rows[:, -n:].astype(np.float64)


SILENT = 1e-9  # power added where a silent frame would divide by zero
NOISE_DB, MOTION_DB = 60.0, 40.0  # how far below its peak a sound is heard, in two descriptors
ONSET_SECONDS = 0.3  # at the start, where every sound changes


@np.errstate(under="ignore")
def describe_features(x: ArrayLike, spec: FeatureSpec) -> NDArray[np.float64]:
    """Describe sounds by one number for each tag of ``DESCRIBED``.

    All but the first are averages by energy, so that silence after the note does not count.

    Args:
        x: Features, shape (n, n_mels, n_frames).
        spec: How they were computed.

    Returns:
        Shape (n, 5): the mean level in dB; the mean height of the spectrum in octaves above
        1 Hz (by magnitude); the flatness of the mel spectrum in nats, 0 for bands of equal power,
        down to 60 dB below the loudest cell; the mean time of the energy in seconds; and how much
        a cell differs from the one before in nats, after the onset and down to 40 dB.

    Raises:
        InputError: The features have another shape, or the spec is none.
    """
    power = power_of_each(x, spec)
    energy = power.sum(1) + SILENT
    share = energy / energy.sum(1, keepdims=True)
    magnitude = np.sqrt(power)
    octaves = np.log2(spec.centers_hz).astype(np.float32)
    heights = np.einsum("nft,f->nt", magnitude, octaves) / (magnitude.sum(1) + SILENT)
    peak = power.max((1, 2), keepdims=True) + SILENT
    log_power = np.log(power + peak * np.float32(10 ** (-NOISE_DB / 10)))
    flatness = log_power.mean(1) - np.log(np.exp(log_power).mean(1))
    seconds = np.arange(power.shape[2]) * (spec.hop_length / spec.sample_rate)
    log_power = np.log(power + peak * np.float32(10 ** (-MOTION_DB / 10)))
    later = (power[:, :, 1:] + power[:, :, :-1]) * (seconds[1:] > ONSET_SECONDS)
    change = (later * np.abs(np.diff(log_power, axis=2))).sum((1, 2))
    described = (
        10 * np.log10(energy.mean(1)),
        (share * heights).sum(1),
        (share * flatness).sum(1),
        (share * seconds).sum(1),
        change / (later.sum((1, 2)) + SILENT),
    )
    return np.stack(described, 1).astype(np.float64)
