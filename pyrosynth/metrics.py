"""Distances between sounds and between presets, and how sure a mean of them is.

All distances work on the last axes, with any leading axes, which broadcast.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyrosynth.errors import InputError

Float = NDArray[np.float64]

DB = 10.0 / np.log(10.0)  # decibels of power per unit of natural logarithm
FLOOR = 1e-3  # power added before the logarithm; every LSD depends on it


def lsd(mel: ArrayLike, other: ArrayLike, floor: float = FLOOR) -> Float:
    """Return the log-spectral distance in dB: how different two sounds are to the ear.

    The root mean square over all cells of ``10 log10((M + floor) / (M' + floor))``
    (Gray and Markel, 1976, "Distance measures for speech processing", with a floor).

    Args:
        mel: Power mel spectrograms, shape (..., n_mels, n_frames).
        other: Those of the other sounds.
        floor: Power below which a cell counts as silent.

    Returns:
        Distances, shape (...).
    """
    logs = (np.log(np.asarray(m, np.float64) + floor) for m in (mel, other))
    return log_distance(*logs)


def log_distance(x: ArrayLike, other: ArrayLike) -> Float:
    """Return the log-spectral distance in dB of sounds given as ``x = log(mel + floor)``.

    Args:
        x: Features of `pyrosynth.features`, shape (..., n_mels, n_frames).
        other: Those of the other sounds.

    Returns:
        Distances, shape (...).
    """
    difference = np.asarray(x, np.float64) - np.asarray(other, np.float64)
    return DB * np.sqrt(np.mean(difference**2, axis=(-2, -1)))


def spectral_convergence(mel: ArrayLike, other: ArrayLike) -> Float:
    """Return ``‖M − M'‖ / ‖M‖`` (Frobenius) on linear power: how well the peaks are met.

    Silence scores 1 and a louder guess any number above, so report its median, not its mean
    (Sturmel and Daudet, 2011, "Signal reconstruction from STFT magnitude").

    Args:
        mel: Power mel spectrograms of the targets, shape (..., n_mels, n_frames).
        other: Those of the guesses.

    Returns:
        Ratios, shape (...); infinite where the target is all zeros and the guess is not.
    """
    target = np.asarray(mel, np.float64)
    error = np.linalg.norm(target - np.asarray(other, np.float64), axis=(-2, -1))
    return _ratio(error, np.linalg.norm(target, axis=(-2, -1)))


def mse_n(unit: ArrayLike, other: ArrayLike) -> Float:
    """Return ``mean((p − p')²) / mean(p²)`` of presets: the normalised parameter error.

    Presets with very different parameters may sound alike: never choose a model by it alone.

    Args:
        unit: Unit values of the true presets (``ParamSpace.to_unit``), shape (..., n_params).
        other: Those of the guesses.

    Returns:
        Ratios, shape (...); infinite where the target is all zeros and the guess is not.
    """
    target = np.asarray(unit, np.float64)
    error = np.mean((target - np.asarray(other, np.float64)) ** 2, axis=-1)
    return _ratio(error, np.mean(target**2, axis=-1))


class Interval(NamedTuple):
    """A number and the interval it lies in."""

    estimate: float
    low: float
    high: float

    def __str__(self) -> str:
        """Return such as ``5.39 [5.15–5.63]``."""
        return f"{self.estimate:.2f} [{self.low:.2f}–{self.high:.2f}]"


def interval(
    values: ArrayLike,
    statistic: Callable[..., Float] = np.mean,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return a statistic with its bootstrap percentile interval over sounds.

    Args:
        values: One number per sound, shape (n,).
        statistic: Such as ``np.mean`` or ``np.median``; takes an array and ``axis``.
        level: Share of the resampled statistics inside the interval.
        resamples: Number of resamples.
        seed: Seed of the resampling.

    Returns:
        The statistic of ``values`` and its interval.

    Raises:
        InputError: ``values`` is empty or not a plain list of numbers.

    References:
        Efron and Tibshirani, 1993, "An Introduction to the Bootstrap", chapter 13.
    """
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or not len(array):
        raise InputError(f"values have shape {array.shape}; give one number per sound")
    rng = np.random.default_rng(seed)
    means = statistic(array[rng.integers(len(array), size=(resamples, len(array)))], axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(statistic(array, axis=0)), float(low), float(high))


def paired_difference(first: ArrayLike, second: ArrayLike, **options: Any) -> Interval:
    """Return the mean of ``first − second`` over the same sounds with its interval.

    Negative is in favour of ``first`` where lower is better. The options are those of
    ``interval``.
    """
    difference = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    return interval(difference, **options)


def share_of_wins(first: ArrayLike, second: ArrayLike) -> float:
    """Return the share of sounds for which ``first`` is strictly lower than ``second``."""
    return float(np.mean(np.asarray(first) < np.asarray(second)))


def _ratio(numerator: Float, denominator: Float) -> Float:
    """Divide, with 0 / 0 = 0 and x / 0 infinite: no error is no error."""
    safe = np.where(denominator > 0, denominator, 1.0)
    undefined = np.where(numerator > 0, np.inf, 0.0)
    return np.where(denominator > 0, numerator / safe, undefined)
