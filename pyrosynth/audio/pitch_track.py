"""The pitch of a recording over time, by pYIN: the numbers of ``librosa.pyin``, by test.

librosa itself takes three seconds of processor time to import, several times as long as the work.
"""

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.special import betainc

from pyrosynth.audio.io import Audio

THRESHOLDS = 100  # at which troughs are looked for
PRIOR = (2.0, 18.0)  # parameters of the beta distribution of the right threshold
EARLIER = 2.0  # of the Boltzmann distribution that favours shorter periods
NO_TROUGH = 0.01  # probability of the lowest trough where none is below the threshold
SWITCH = 0.01  # probability of a change between voiced and unvoiced from frame to frame
RATE = 35.92  # octaves per second that the pitch moves at most
NEVER = float(np.log(np.finfo(np.float64).tiny))  # log-probability of what does not happen

Array = NDArray[np.float64]


def pyin(
    audio: Audio,
    sample_rate: int,
    frame: int,
    hop: int,
    range_hz: tuple[float, float],
    step: float,
) -> tuple[Array, Array]:
    """Track the pitch of a sound.

    Args:
        audio: Mono sound, shape (n_samples,).
        sample_rate: Rate in Hz.
        frame: Samples of a frame, which must hold the longest period.
        hop: Samples between the middles of two frames.
        range_hz: Lowest and highest pitch in Hz.
        step: Semitones that are told apart.

    Returns:
        Pitch of each frame in Hz, NaN where there is none, and the probability that there is one,
        both of shape (1 + n_samples // hop,).

    References:
        Mauch and Dixon, 2014, "pYIN: a fundamental frequency estimator using probabilistic
        threshold distributions".
    """
    frames = sliding_window_view(np.pad(audio, frame // 2), frame)[::hop]
    low, high = range_hz
    shortest = int(sample_rate / high)
    longest = min(int(np.ceil(sample_rate / low)), frame - 1)
    difference = _normalised_difference(frames, shortest, longest)
    per_semitone = int(np.ceil(1 / step))
    n_bins = int(12 * per_semitone * np.log2(high / low)) + 1
    observed = np.zeros((len(frames), n_bins))
    for probabilities, dips in zip(observed, difference, strict=True):
        troughs, chances = _troughs(dips)
        hz = sample_rate / (shortest + troughs + _vertex(dips)[troughs])
        bins = np.round(12 * per_semitone * np.log2(hz / low)).astype(int)
        inside = bins < n_bins
        probabilities[bins[inside].clip(min=0)] = chances[inside]
    voiced = observed.sum(axis=1).clip(0, 1)
    width = round(RATE * 12 * hop / sample_rate) * per_semitone // 2
    path = _likeliest_path(observed, (1 - voiced) / n_bins, width)
    hz = low * 2 ** (np.arange(n_bins) / (12 * per_semitone))
    return np.where(path < n_bins, hz[path % n_bins], np.nan), voiced


def _normalised_difference(frames: Audio, shortest: int, longest: int) -> Array:
    """Return the cumulative mean normalised difference of YIN, shape (n_frames, n_periods)."""
    n = scipy.fft.next_fast_len(2 * frames.shape[1] - 1, real=True)
    spectrum = scipy.fft.rfft(frames, n)
    same = scipy.fft.irfft(spectrum.real**2 + spectrum.imag**2, n)[:, : longest + 1]
    energy = np.square(frames).cumsum(axis=1)[:, :longest]
    difference = 2 * (same[:, :1] - same[:, 1:]) - energy
    mean = difference.cumsum(axis=1) / np.arange(1, longest + 1)
    tiny = np.finfo(np.float64).tiny
    return np.asarray(difference[:, shortest - 1 :] / (mean[:, shortest - 1 :] + tiny))


def _troughs(dips: Array) -> tuple[NDArray[np.int64], Array]:
    """Return the troughs that may be the period, and the probability of each.

    As in the authors' program, which differs from the paper.
    """
    falls = np.diff(dips) < 0
    troughs = np.flatnonzero(np.append(falls, False) < np.append(True, falls))
    if dips[0] >= dips[1]:
        troughs = troughs[troughs > 0]
    if falls[-1]:
        troughs = np.append(troughs, len(dips) - 1)
    if not len(troughs):
        return troughs, np.empty(0)
    thresholds = np.linspace(0, 1, THRESHOLDS + 1)
    prior = np.diff(betainc(*PRIOR, thresholds))
    below = dips[troughs][:, None] < thresholds[1:]
    count = np.maximum(below.sum(axis=0), 1)
    rank = below.cumsum(axis=0) - 1
    share = np.exp(-EARLIER * rank) * (1 - np.exp(-EARLIER)) / (1 - np.exp(-EARLIER * count))
    chances = np.where(below, share, 0.0) @ prior
    lowest = dips[troughs].argmin()
    chances[lowest] += NO_TROUGH * prior[~below[lowest]].sum()
    return troughs[chances > 0], chances[chances > 0]


def _vertex(dips: Array) -> Array:
    """Return how far the vertex of the parabola through each point and its neighbours is away."""
    left, middle, right = dips[:-2], dips[1:-1], dips[2:]
    bend, slope = right + left - 2 * middle, (right - left) / 2
    shift, near = np.zeros_like(dips), np.abs(slope) < np.abs(bend)
    shift[1:-1][near] = -slope[near] / bend[near]
    return shift


def _likeliest_path(voiced: Array, unvoiced: Array, width: int) -> NDArray[np.int64]:
    """Find the likeliest path through the pitches of each frame, by Viterbi's algorithm.

    Args:
        voiced: Probability of each pitch in each frame, shape (n_frames, n_bins).
        unvoiced: That of each pitch without a voice, shape (n_frames,).
        width: Bins that a pitch moves at most; the farther, the less likely.

    Returns:
        Bin of each frame, plus ``n_bins`` where it is unvoiced, shape (n_frames,).
    """
    n_frames, n = voiced.shape
    away = np.abs(np.arange(-width, width + 1))
    moves = 1 - away / (width + 1)
    bins = np.arange(n)
    total = sliding_window_view(np.pad(np.ones(n), width), len(moves)) @ moves
    switch = np.log([[1 - SWITCH, SWITCH], [SWITCH, 1 - SWITCH]])
    observed = np.stack([voiced, np.repeat(unvoiced[:, None], n, axis=1)], axis=1)
    log_p = np.log(observed + np.finfo(np.float64).tiny)
    value = log_p[0] - np.log(2 * n)
    before = np.zeros((n_frames, 2, n), int)
    for i in range(1, n_frames):
        near = np.pad(value - np.log(total), ((0, 0), (width, width)), constant_values=-np.inf)
        reached = sliding_window_view(near, len(moves), axis=1) + np.log(moves)
        best = reached.argmax(axis=2)
        state = best + bins - width + np.array([[0], [n]])
        gain = np.take_along_axis(reached, best[..., None], 2)[..., 0]
        ways = gain[:, None] + switch[..., None]  # from voiced or not, to voiced or not
        kind = ways.argmax(axis=0)
        score, chosen = ways.max(axis=0), state[kind, bins]
        leap = value.max() + NEVER  # from anywhere, where all that is near is impossible
        before[i] = np.where(score >= leap, chosen, value.argmax())
        value = np.maximum(score, leap) + log_p[i]
    path = np.empty(n_frames, int)
    path[-1] = value.argmax()
    for i in range(n_frames - 1, 0, -1):
        path[i - 1] = before[i].reshape(-1)[path[i]]
    return path
