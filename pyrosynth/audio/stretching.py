"""Sounds made longer or shorter at the same pitch, by a phase vocoder.

The sounds are those of ``librosa.effects.time_stretch``, by test.
"""

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from pyrosynth.audio.io import Audio


def time_stretch(audio: Audio, rate: float, window: int) -> Audio:
    """Change the pace of a sound.

    Args:
        audio: Mono sound, shape (n_samples,), of at least a window.
        rate: How many times faster; below 1 it gets longer.
        window: Samples of the vocoder's windows, a multiple of 4; they are a quarter apart.

    Returns:
        The sound, shape (round(n_samples / rate),).

    References:
        Flanagan and Golden, 1966, "Phase vocoder"; Ellis, 2002, "A phase vocoder in Matlab".
    """
    hop = window // 4
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    frames = sliding_window_view(np.pad(audio, window // 2), window)[::hop]
    spectrum = scipy.fft.rfft(frames * hann).astype(np.complex64)
    steps = np.arange(0, len(spectrum), rate)
    spectrum = np.pad(spectrum, ((0, 2), (0, 0)))
    size, angle = np.abs(spectrum), np.angle(spectrum)
    advance = hop * 2 * np.pi * scipy.fft.rfftfreq(window)
    phase = angle[0].copy()
    stretched = np.empty((len(steps), window // 2 + 1), np.complex64)
    for i, (at, part) in enumerate(zip(steps.astype(int), steps % 1.0, strict=True)):
        turned = np.cos(phase) + 1j * np.sin(phase)
        stretched[i] = turned * ((1 - part) * size[at] + part * size[at + 1])
        more = angle[at + 1] - angle[at] - advance
        phase += advance + more - 2 * np.pi * np.round(more / (2 * np.pi))
    return _joined(stretched, hann, hop, round(len(audio) / rate))


def _joined(
    spectrum: NDArray[np.complex64], hann: NDArray[np.float64], hop: int, n_samples: int
) -> Audio:
    """Add windows up, each a hop after the other, shape (n_samples,)."""
    window = len(hann)
    parts = hann * scipy.fft.irfft(spectrum, window)
    length = max(window + hop * (len(parts) - 1), window // 2 + n_samples)
    sound, weight = np.zeros(length, np.float32), np.zeros(length, np.float32)
    for i, part in enumerate(parts):
        sound[i * hop : i * hop + window] += part
        weight[i * hop : i * hop + window] += hann**2
    heard = weight > np.finfo(np.float32).tiny
    sound[heard] /= weight[heard]
    return sound[window // 2 :][:n_samples]
