"""Fifty descriptors of the timbre of a sound and of how it moves; morphs are compared by them.

Most are those of the Timbre Toolbox (Peeters et al., 2011, "The Timbre Toolbox: extracting audio
descriptors from musical signals"), in our own code: numbers of each frame, of which the median
and the interquartile range over the audible frames are kept, and numbers of the envelope.
"""

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from pyrosynth.audio.descriptors import LOWEST_DB, ROLL_OFF, attack_seconds
from pyrosynth.audio.features import FeatureSpec, require_spec
from pyrosynth.audio.io import checked_audio
from pyrosynth.audio.note import Note, require_note

Float = NDArray[np.float64]

SPECTRAL = (
    "centroid", "spread", "skewness", "kurtosis", "slope", "decrease", "roll-off", "variation",
    "flatness", "crest", "level",
)  # fmt: skip
HARMONIC = ("tristimulus 1", "tristimulus 2", "tristimulus 3", "odd to even", "harmonicity")
BANDS = ("band centroid", "band spread", "band slope", "band variation", "band flatness")
OF_FRAMES = (*SPECTRAL, *HARMONIC, *BANDS)
OF_ENVELOPE = (
    "attack", "rise", "fall", "temporal centroid", "effective duration", "modulation rate",
    "modulation depth", "mean level",
)  # fmt: skip
NAMES = (
    *(f"{name}, {what}" for name in OF_FRAMES for what in ("median", "range")),
    *OF_ENVELOPE,
)

AUDIBLE = 1e-6  # share of the loudest frame's power above which a frame counts, -60 dB
SMALLEST = 1e-12  # power added where a logarithm or a quotient needs it
N_HARMONICS = 20
MODULATION_HZ = (1.0, 15.0)
ENVELOPE_SECONDS = 0.01
EFFECTIVE = 0.4  # share of its maximum above which the envelope is effectively on


@dataclass(frozen=True)
class Timbre:
    """Computes the numbers; a transform of `pyrosynth.synths.rendering.Renderer`.

    Args:
        spec: Rate, window, and mel bands; the hop is a quarter of the window.
        note: The note the sounds play, whose harmonics are looked at.

    Raises:
        InputError: The spec or the note is none.
    """

    spec: FeatureSpec
    note: Note

    def __post_init__(self) -> None:
        """Check the types."""
        require_spec(self.spec)
        require_note(self.note)

    @np.errstate(under="ignore")
    def __call__(self, audio: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map audio (n, n_samples) to numbers (n, len(NAMES)); silence has zeros.

        Raises:
            InputError: It is no audio of that shape, or lasts less than 10 ms.
        """
        audio = checked_audio(audio, ndim=2, least=_window(self.spec.sample_rate))
        return np.array([self._one(sound) for sound in audio], np.float32)

    def _one(self, sound: NDArray[np.float32]) -> Float:
        spec = self.spec
        padded = np.pad(sound.astype(np.float64), spec.n_fft // 2)
        frames = sliding_window_view(padded, spec.n_fft)[:: spec.n_fft // 4]
        spectrum = scipy.fft.rfft(frames * spec.window, overwrite_x=True)
        power = spectrum.real**2 + spectrum.imag**2
        total = power.sum(axis=1)
        if total.max() <= SMALLEST:
            return np.zeros(len(NAMES))
        power = power[total > AUDIBLE * total.max()]
        hz = np.arange(power.shape[1]) * (spec.sample_rate / spec.n_fft)
        f0 = 440.0 * 2.0 ** ((self.note.pitch - 69) / 12)
        rows = [
            *_spectral(np.sqrt(power), hz),
            *_harmonic(power, f0 * spec.n_fft / spec.sample_rate),
            *_bands(power @ spec.filters.T.astype(np.float64), spec.centers_hz),
        ]
        low, middle, high = np.quantile(rows, (0.25, 0.5, 0.75), axis=1)
        per_frame = np.stack([middle, high - low], axis=1).ravel()
        return np.concatenate([per_frame, _envelope(sound, spec.sample_rate)])


def _spectral(magnitude: Float, hz: Float) -> list[Float]:
    """Return the numbers of ``SPECTRAL`` of each frame from magnitudes (n_frames, n_bins)."""
    total = magnitude.sum(axis=1, keepdims=True) + SMALLEST
    share = magnitude / total
    octaves = np.log2(1 + hz / 100.0)  # near to how pitch is heard
    centroid = share @ octaves
    away = octaves - centroid[:, None]
    square = away * away
    second = share * square
    spread = np.sqrt(second.sum(axis=1)) + SMALLEST
    skewness = np.einsum("fk,fk->f", second, away) / spread**3
    kurtosis = np.einsum("fk,fk->f", second, square) / spread**4
    roll_off = octaves[np.argmax(np.cumsum(share, axis=1) >= ROLL_OFF, axis=1)]
    power = magnitude**2 + SMALLEST
    log_power, mean_power = np.log(power), power.mean(axis=1)
    decrease = ((magnitude[:, 1:] - magnitude[:, :1]) / np.arange(1, len(hz))).sum(axis=1) / total[
        :, 0
    ]
    return [
        centroid, spread, skewness, kurtosis, _slope(log_power, octaves), decrease, roll_off,
        _variation(magnitude), log_power.mean(axis=1) - np.log(mean_power),
        np.log(power.max(axis=1) / mean_power), 10 * np.log10(power.sum(axis=1)),
    ]  # fmt: skip


def _harmonic(power: Float, bins: float) -> list[Float]:
    """Return the numbers of ``HARMONIC`` of each frame.

    Args:
        power: Power spectra, shape (n_frames, n_bins).
        bins: Bins from one harmonic to the next.
    """
    count = min(N_HARMONICS, int((power.shape[1] - 2) / bins))
    around = np.round(bins * np.arange(1, count + 1)).astype(int)[:, None] + np.arange(-1, 2)
    amplitude = np.sqrt(power[:, around].sum(axis=2))
    total = amplitude.sum(axis=1) + SMALLEST
    odd = (amplitude[:, 2::2] ** 2).sum(axis=1) + SMALLEST
    even = (amplitude[:, 1::2] ** 2).sum(axis=1) + SMALLEST
    inside = power[:, np.unique(around)].sum(axis=1)
    return [
        amplitude[:, 0] / total,
        amplitude[:, 1:4].sum(axis=1) / total,
        amplitude[:, 4:].sum(axis=1) / total,
        np.log(odd / even),
        inside / (power.sum(axis=1) + SMALLEST),
    ]


def _bands(mel: Float, centers_hz: Float) -> list[Float]:
    """Return the numbers of ``BANDS`` of each frame from mel powers (n_frames, n_mels)."""
    octaves = np.log2(1 + centers_hz / 100.0)
    loudness = (mel + SMALLEST) ** 0.3  # Stevens's power law
    share = loudness / loudness.sum(axis=1, keepdims=True)
    centroid = share @ octaves
    spread = np.sqrt((share * (octaves - centroid[:, None]) ** 2).sum(axis=1))
    flatness = np.log(loudness).mean(axis=1) - np.log(loudness.mean(axis=1))
    return [centroid, spread, _slope(np.log(loudness), octaves), _variation(loudness), flatness]


def _envelope(sound: NDArray[np.float32], sample_rate: int) -> Float:
    """Return the numbers of ``OF_ENVELOPE`` of a sound."""
    window = _window(sample_rate)
    usable = len(sound) // window * window
    level = np.sqrt((sound[:usable].astype(np.float64) ** 2).reshape(-1, window).mean(axis=1))
    time = np.arange(len(level)) * window / sample_rate
    peak, first = level.max(), int(np.argmax(level > 0.1 * level.max()))
    top, last = int(np.argmax(level)), int(np.flatnonzero(level > 0.1 * peak)[-1])
    db = 20 * np.log10(level / peak + 1e-3)
    rise = (db[top] - db[first]) / max(time[top] - time[first], ENVELOPE_SECONDS)
    fall = (db[last] - db[top]) / max(time[last] - time[top], ENVELOPE_SECONDS)
    held = np.log(level[first : last + 1] + 1e-3 * peak)
    rate, depth = _modulation(held, sample_rate / window)
    rms = np.sqrt(np.mean(sound.astype(np.float64) ** 2))
    return np.array(
        [
            np.log10(attack_seconds(sound, sample_rate) + ENVELOPE_SECONDS),
            np.log1p(rise),
            -np.log1p(-fall),
            float(level @ time / level.sum()),
            float((level > EFFECTIVE * peak).mean() * time[-1]),
            rate,
            depth,
            max(20 * np.log10(rms + 1e-12), LOWEST_DB),
        ]
    )


def _window(sample_rate: int) -> int:
    """Return the number of samples of which the envelope has a level."""
    return max(2, int(ENVELOPE_SECONDS * sample_rate))


def _modulation(held: Float, rate: float) -> tuple[float, float]:
    """Return frequency in Hz and depth of the strongest modulation of a log-envelope."""
    n = len(held)
    low, high = MODULATION_HZ
    if n < 1.5 * rate / low:
        return 0.0, 0.0
    time = np.arange(n)
    flat = held - np.polyval(np.polyfit(time, held, 1), time)
    spectrum = np.abs(np.fft.rfft(flat * np.hanning(n))) * 4 / n
    hz = np.fft.rfftfreq(n, 1 / rate)
    inside = np.flatnonzero((hz >= low) & (hz <= high))
    best = inside[np.argmax(spectrum[inside])]
    return float(hz[best]), float(spectrum[best])


def _slope(values: Float, places: Float) -> Float:
    """Return the slope of the straight line through each row."""
    away = places - places.mean()
    slope: Float = values @ away / (away @ away)
    return slope


def _variation(frames: Float) -> Float:
    """Return one less the correlation of each frame with the one before; 0 for the first."""
    length = np.sqrt((frames**2).sum(axis=1)) + SMALLEST
    same = (frames[1:] * frames[:-1]).sum(axis=1) / (length[1:] * length[:-1])
    return np.concatenate([[0.0], 1 - same])
