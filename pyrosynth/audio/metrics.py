"""Distances between sounds, given as spectrograms, and between presets: lower is better.

All distances work on the last axes, with any leading axes, which broadcast, and compute in double
precision. They take NumPy arrays and return them, or take tensors of torch and return those, on
the same device. `pyrosynth.audio.metric_suite` computes them, and others, from audio.
"""

from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyrosynth.audio.features import DB

Array = TypeVar("Array", NDArray[Any], Tensor)

LM_FLOOR = 1e-9  # the published one of `log_magnitude`
N_MFCC = 13
CELLS = (-2, -1)  # axes of a spectrogram


def log_distance(x: Array, other: Array) -> Array:
    """Return the log-spectral distance (LSD) in dB of sounds given as ``x = log(mel + floor)``.

    The root mean square over all cells of ``10 log10((M + floor) / (M' + floor))`` with power mel
    spectrograms M (Gray and Markel, 1976, "Distance measures for speech processing", with a
    floor, on which every LSD depends).

    Args:
        x: Features of `pyrosynth.audio.features`, shape (..., n_mels, n_frames).
        other: Those of the other sounds.

    Returns:
        Distances, shape (...).
    """
    xp, (first, second) = _double(x, other)
    distance: Array = DB * xp.sqrt(xp.mean((first - second) ** 2, axis=CELLS))
    return distance


def spectral_convergence(mel: Array, other: Array) -> Array:
    """Return ``‖M − M'‖ / ‖M‖`` (Frobenius) on linear power: how well the peaks are met.

    Silence scores 1 and a louder guess any number above, so report its median, not its mean
    (Sturmel and Daudet, 2011, "Signal reconstruction from STFT magnitude"). As in the evaluation
    of Esling et al., 2019, "Universal audio synthesizer control with normalizing flows".

    Args:
        mel: Power mel spectrograms of the targets, shape (..., n_mels, n_frames).
        other: Those of the guesses.

    Returns:
        Ratios, shape (...); infinite where the target is all zeros and the guess is not.
    """
    xp, (target, guess) = _double(mel, other)
    error = xp.sqrt(xp.sum((target - guess) ** 2, axis=CELLS))
    ratio: Array = _ratio(xp, error, xp.sqrt(xp.sum(target**2, axis=CELLS)))
    return ratio


def mel_mse(mel: Array, other: Array) -> Array:
    """Return ``mean((M − M')²)`` on linear power, not normalised: loud sounds decide.

    The "MSE" of sounds of Esling et al., 2019; see ``spectral_convergence``.

    Args:
        mel: Power mel spectrograms, shape (..., n_mels, n_frames).
        other: Those of the other sounds.

    Returns:
        Squared powers, shape (...).
    """
    xp, (first, second) = _double(mel, other)
    error: Array = xp.mean((first - second) ** 2, axis=CELLS)
    return error


def log_magnitude(mel: Array, other: Array) -> Array:
    """Return ``Σ|log M − log M'| / Σ|log M|`` with 1e-9 added to the powers: "LM".

    From the code of Esling et al., 2019; see ``spectral_convergence``. The offset lies far below
    what can be heard, so it is cells of near silence that decide, and loud cells whose power is
    around 1 that shrink the denominator.

    Args:
        mel: Power mel spectrograms of the targets, shape (..., n_mels, n_frames).
        other: Those of the guesses.

    Returns:
        Ratios, shape (...), finite for silence too.
    """
    xp, (target, guess) = _double(mel, other)
    log = xp.log(target + LM_FLOOR)
    error = xp.sum(xp.abs(log - xp.log(guess + LM_FLOOR)), axis=CELLS)
    ratio: Array = _ratio(xp, error, xp.sum(xp.abs(log), axis=CELLS))
    return ratio


def mfcc_distance(x: Array, other: Array) -> Array:
    """Return the mean absolute difference of 13 mel-frequency cepstral coefficients, in dB.

    The coefficients are those of ``librosa.feature.mfcc``: of each frame, the first of the
    orthonormal cosine transform (type 2) of the mel spectrum in dB (Davis and Mermelstein, 1980,
    "Comparison of parametric representations for monosyllabic word recognition"). The spectrum
    has the floor of ``x``, so what is silent there is silent here.

    Args:
        x: Features of `pyrosynth.audio.features`, shape (..., n_mels, n_frames).
        other: Those of the other sounds.

    Returns:
        Distances, shape (...).
    """
    xp, (first, second) = _double(x, other)
    n_mels = first.shape[-2]
    middles = (np.arange(n_mels) + 0.5) / n_mels
    basis = np.cos(np.pi * np.arange(min(N_MFCC, n_mels))[:, None] * middles)
    basis *= np.sqrt(2.0 / n_mels)
    basis[0] /= np.sqrt(2.0)
    difference = xp.asarray(DB * basis, device=first.device) @ (first - second)
    distance: Array = xp.mean(xp.abs(difference), axis=CELLS)
    return distance


def mse_n(unit: Array, other: Array) -> Array:
    """Return ``mean((p − p')²) / mean(p²)`` of presets: the normalised parameter error.

    The published error (Esling et al., 2019; see ``spectral_convergence``) divides by the mean
    square of all true presets together. Presets with very different parameters may sound alike:
    never choose a model by it alone.

    Args:
        unit: Unit values of the true presets (``ParamSpace.to_unit``), shape (..., n_params).
        other: Those of the guesses.

    Returns:
        Ratios, shape (...); infinite where the target is all zeros and the guess is not.
    """
    xp, (target, guess) = _double(unit, other)
    error = xp.mean((target - guess) ** 2, axis=-1)
    square = xp.mean(target**2, axis=-1)
    ratio: Array = _ratio(xp, error, square)
    return ratio


def _double(*arrays: Any) -> tuple[Any, list[Any]]:
    """Return the library some arrays are of, NumPy or torch, and them in double precision."""
    if isinstance(arrays[0], Tensor):
        return torch, [array.double() for array in arrays]
    return np, [np.asarray(array, np.float64) for array in arrays]


def _ratio(xp: Any, numerator: Any, denominator: Any) -> Any:
    """Divide, with 0 / 0 = 0 and x / 0 infinite: no error is no error."""
    undefined = xp.where(numerator > 0, np.inf, 0.0)
    return xp.where(
        denominator > 0, numerator / xp.where(denominator > 0, denominator, 1.0), undefined
    )
