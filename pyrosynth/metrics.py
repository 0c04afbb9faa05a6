"""Distances between sounds and between presets.

All distances work on the last axes, with any leading axes, which broadcast.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

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


def _ratio(numerator: Float, denominator: Float) -> Float:
    """Divide, with 0 / 0 = 0 and x / 0 infinite: no error is no error."""
    safe = np.where(denominator > 0, denominator, 1.0)
    undefined = np.where(numerator > 0, np.inf, 0.0)
    return np.where(denominator > 0, numerator / safe, undefined)
