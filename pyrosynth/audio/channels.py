"""What channels cancel of each other in their mean, by which a recording is heard."""

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

WINDOW = 4096  # samples of a spectrum at RATE; as long at other rates
RATE = 44100
LOWEST = 2  # bin, below which is what nobody hears
MOST_CHANNELS = 8  # more are no recording of one sound, and their spectra would take long
PARTIAL = 12  # bins of one partial
HEARD = 1e-5  # power that counts, as a share of the greatest: -50 dB


class Cancellation:
    """Sums up the power of channels, and of their mean, block by block."""

    def __init__(self, rate: int = RATE) -> None:
        self._n_channels = 1
        self._window = max(64, WINDOW * rate // RATE)
        self._of_each = np.zeros(self._window // 2 + 1)
        self._of_mean = np.zeros(self._window // 2 + 1)

    def add(self, block: NDArray[np.float32]) -> None:
        """Take in the next block, shape (n_frames, n_channels)."""
        n, self._n_channels = block.shape
        if not 1 < self._n_channels <= MOST_CHANNELS:
            return
        import scipy.fft  # which half of what renders would wait for, and never needs

        if n < self._window:
            block = np.pad(block, ((0, self._window - n), (0, 0)))
        pieces = sliding_window_view(block, self._window, axis=0)[:: self._window // 2]
        window = np.hanning(self._window).astype(np.float32)
        spectrum = scipy.fft.rfft(pieces * window, axis=-1)  # single precision, at any length
        self._of_each += _power(spectrum).mean(axis=1).sum(axis=0)
        self._of_mean += _power(spectrum.mean(axis=1)).sum(axis=0)

    def decibels(self) -> float:
        """Return how much weaker the mean is than that of channels that do not go together.

        Of those, whatever their levels, the mean has the power of one over their number. What is
        the same in all channels gives less than 0; what is the same but a little later in one of
        them, or opposite, gives more.

        Returns:
            The mean over the frequencies that are heard, in dB.
        """
        of_each, of_mean = self._of_each[LOWEST:], self._of_mean[LOWEST:]
        heard = of_each > HEARD * of_each.max()
        bins = np.flatnonzero(heard)
        # A single partial loses its level alone.
        if not len(bins) or bins[-1] - bins[0] < PARTIAL:
            return 0.0
        least = np.finfo(np.float32).eps * of_each[heard]
        lost = 10 * np.log10(of_each[heard] / np.maximum(of_mean[heard], least))
        return float(lost.mean()) - 10 * math.log10(self._n_channels)


def _power(spectrum: NDArray[np.complexfloating]) -> NDArray[np.float64]:
    return np.square(np.abs(spectrum), dtype=np.float64)
