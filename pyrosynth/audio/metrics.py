"""Distances between sounds, given as spectrograms, and between presets: lower is better.

All distances work on the last axes, with any leading axes, which broadcast, and compute in double
precision. They take NumPy arrays and return them, or take tensors of torch and return those, on
the same device. What has other shapes, or is no numbers, is an `InputError`. `compare_audio`
computes them, and others, from audio.
"""

from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from pyrosynth.audio.features import DB, FeatureSpec, require_spec
from pyrosynth.audio.pitch import as_tensor, pitch_error, require_sounds
from pyrosynth.errors import InputError, numbers, require_type

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
    xp, (target, guess) = _double(unit, other, n_axes=1)
    error = xp.mean((target - guess) ** 2, axis=-1)
    square = xp.mean(target**2, axis=-1)
    ratio: Array = _ratio(xp, error, square)
    return ratio


def _double(first: Any, second: Any, n_axes: int = 2) -> tuple[Any, list[Any]]:
    """Return the library of two arrays, NumPy or torch, and them in double precision.

    Raises:
        InputError: They are no numbers, or their last axes, so many, are not of equal lengths.
    """
    pair: list[Any]
    if isinstance(first, Tensor):
        require_type("the other", second, Tensor, "two tensors, or two arrays of NumPy")
        pair = [first.double(), second.double()]
    else:
        pair = [numbers("sounds", array, np.float64) for array in (first, second)]
    shapes = [tuple(array.shape) for array in pair]
    try:
        np.broadcast_shapes(*(shape[:-n_axes] for shape in shapes))
        last = [shape[-n_axes:] for shape in shapes]
        fits = len(last[0]) == n_axes and last[0] == last[1] and 0 not in last[0]
    except ValueError:
        fits = False
    if not fits:
        wanted = "(..., n_mels, n_frames)" if n_axes == 2 else "(..., n_params)"
        raise InputError(f"the shapes are {shapes[0]} and {shapes[1]}; give {wanted} twice")
    return torch if isinstance(first, Tensor) else np, pair


def _ratio(xp: Any, numerator: Any, denominator: Any) -> Any:
    """Divide, with 0 / 0 = 0 and x / 0 infinite: no error is no error."""
    undefined = xp.where(numerator > 0, np.inf, 0.0)
    return xp.where(
        denominator > 0, numerator / xp.where(denominator > 0, denominator, 1.0), undefined
    )


SCALES = (2048, 1024, 512, 256, 128, 64)  # windows of the multi-scale distance, in samples
SCALE_FLOOR = 1e-8  # power below which its cells are equal
QUIET = 1e-8  # mean square below which a frame has no loudness, -80 dB
BLOCK = 4  # sounds at a time: more leave the processor's cache


class Metric(NamedTuple):
    """How a metric is called in tables. Lower is better for all."""

    label: str
    unit: str

    @property
    def heading(self) -> str:
        """Such as ``LSD (dB)``."""
        return f"{self.label} ({self.unit})" if self.unit else self.label


# In the order of tables. All but mse_n, which is of presets, are those of `compare_audio`.
METRICS = {
    "mse_n": Metric("MSE_n", ""),
    "sc": Metric("SC", ""),
    "mel_mse": Metric("mel-MSE", ""),
    "lm": Metric("LM", ""),
    "lsd": Metric("LSD", "dB"),
    "mss": Metric("MSS", ""),
    "mfcc": Metric("MFCC", "dB"),
    "loudness": Metric("loudness", "dB"),
    "pitch": Metric("pitch", "semitones"),
}


def compare_audio(
    target: ArrayLike | Tensor, audio: ArrayLike | Tensor, spec: FeatureSpec
) -> dict[str, Tensor]:
    """Return how far sounds are from others by every metric of sounds.

    Args:
        target: Mono sounds to be met, shape (n, n_samples), or (1, n_samples) for one to be met
            by all. Arrays are computed on the CPU, tensors where they are.
        audio: Those that should meet them, shape (n, n_samples).
        spec: Rate, windows, bands and floor of the analysis.

    Returns:
        For each name of ``METRICS`` but ``mse_n`` a tensor of shape (n,), float64: ``sc``,
        ``mel_mse``, ``lm``, ``lsd`` and ``mfcc`` as above, ``mss`` of
        ``multi_scale_distance``, ``loudness`` of ``loudness_distance`` and ``pitch`` of
        ``pitch_error``. All are 0 for equal sounds and finite, silence included, except that
        ``sc`` is infinite for a sound against digital silence.

    Raises:
        InputError: Shapes do not fit, sounds are too short or no numbers, samples are NaN or
            infinite, or the spec is none.
    """
    first, second = as_tensor(target), as_tensor(audio)
    require_sounds(first, second)  # as they are: as floats, integers would be
    first, second = first.float(), second.float()
    require_spec(spec)
    _check(first, second)
    parts: list[dict[str, Tensor]] = []
    for guess, i in zip(second.split(BLOCK), range(0, len(second), BLOCK), strict=True):
        goal = first if len(first) == 1 else first[i : i + BLOCK]
        parts.append(_compare_block(goal, guess, spec))
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _compare_block(target: Tensor, audio: Tensor, spec: FeatureSpec) -> dict[str, Tensor]:
    """Compute one block."""
    powers = [power_spectrum(sounds, spec) for sounds in (target, audio)]
    filters = torch.tensor(spec.filters, dtype=torch.float64, device=audio.device)
    mels = [filters @ power for power in powers]
    x = [torch.log(mel + spec.floor) for mel in mels]
    return {
        "sc": spectral_convergence(*mels),
        "mel_mse": mel_mse(*mels),
        "lm": log_magnitude(*mels),
        "lsd": log_distance(*x),
        "mss": multi_scale_distance(target, audio),
        "mfcc": mfcc_distance(*x),
        "loudness": loudness_distance(powers[0], powers[1], spec),
        "pitch": pitch_error(target, audio, spec),
    }


def multi_scale_distance(target: Tensor, audio: Tensor) -> Tensor:
    """Return the multi-scale spectral distance of sounds.

    With the magnitudes ``S`` of short-time spectra (Hann windows of 2048, 1024, …, 64 samples, a
    quarter of it apart, ends mirrored; at least 1e-4), the mean over all scales of
    ``mean|S − S'| + mean|log S − log S'|`` (Engel et al., 2020, "DDSP: differentiable digital
    signal processing"; there a sum). That is auraloss's ``MultiResolutionSTFTLoss`` without
    spectral convergence, by test.

    Args:
        target: Mono sounds, shape (n, n_samples).
        audio: The other sounds.

    Returns:
        Distances, shape (n,), float64.

    Raises:
        InputError: Shapes do not fit, or sounds are too short.
    """
    _check(target, audio)
    distance = torch.zeros((), dtype=torch.float64, device=audio.device)
    for n_fft in SCALES:
        # In single precision, as half of the time goes here; the floor hides it.
        window = torch.hann_window(n_fft, dtype=audio.dtype, device=audio.device)
        powers = []
        for sounds in (target, audio):
            spectrum = torch.stft(sounds, n_fft, n_fft // 4, window=window, return_complex=True)
            powers.append(_power(spectrum).clamp_(min=SCALE_FLOOR))
        first, second = powers
        linear = (first.sqrt() - second.sqrt()).abs_().mean((-2, -1))
        logarithmic = (first.log_() - second.log_()).abs_().mean((-2, -1))
        distance = distance + (linear + 0.5 * logarithmic).double()
    return distance / len(SCALES)


def power_spectrum(audio: Tensor, spec: FeatureSpec) -> Tensor:
    """Return the power spectrum before the mel bands of `pyrosynth.audio.features`.

    Args:
        audio: Mono sounds, shape (n, n_samples).
        spec: Window and hop.

    Returns:
        Power, shape (n, n_fft // 2 + 1, n_frames), float64.

    Raises:
        InputError: The sounds have another shape, or the spec is none.
    """
    require_spec(spec)
    require_sounds(audio)
    return _power(
        torch.stft(
            audio.double(), spec.n_fft, spec.hop_length, window=_window(spec, audio.device),
            pad_mode="constant", return_complex=True,
        )
    )  # fmt: skip


def loudness(power: Tensor, spec: FeatureSpec) -> Tensor:
    """Return the A-weighted level of each frame in dB.

    ``10 log10`` of the mean square of the frame after the weighting of frequencies that
    IEC 61672-1 (2013, annex E) defines, as is usual since Engel et al., 2020, "DDSP". A sine of
    1 kHz and amplitude 1 has -3.0 dB. Levels below -80 dB count as -80 dB.

    Args:
        power: Power spectra of ``power_spectrum``, shape (n, n_fft // 2 + 1, n_frames).
        spec: Rate and window.

    Returns:
        Levels, shape (n, n_frames).

    Raises:
        InputError: The power has another shape, or the spec is none.
    """
    require_spec(spec)
    require_type("power", power, Tensor, "a tensor, such as power_spectrum returns")
    bins = spec.n_fft // 2 + 1
    if power.ndim != 3 or power.shape[1] != bins:
        raise InputError(f"power has shape {tuple(power.shape)}; give (n, {bins}, n_frames)")
    hz = torch.arange(power.shape[-2], device=power.device) * (spec.sample_rate / spec.n_fft)
    f2 = hz.double() ** 2
    low, middle, upper, high = (f**2 for f in (20.598997, 107.65265, 737.86223, 12194.217))
    gain = high * f2**2 / ((f2 + low) * ((f2 + middle) * (f2 + upper)).sqrt() * (f2 + high))
    weight = 10**0.2 * gain**2  # 2.00 dB, so that 1 kHz has none
    weight[1 : (spec.n_fft + 1) // 2] *= 2  # these stand for negative frequencies too
    energy = spec.n_fft * _window(spec, power.device).square().sum()  # Parseval
    return DB * (weight @ power / energy).clamp(min=QUIET).log()


def loudness_distance(power: Tensor, other: Tensor, spec: FeatureSpec) -> Tensor:
    """Return the mean absolute difference of loudness envelopes in dB; see ``loudness``.

    Args:
        power: Power spectra of ``power_spectrum``, shape (n, n_fft // 2 + 1, n_frames).
        other: Those of the other sounds.
        spec: Rate and window.

    Returns:
        Distances, shape (n,).

    Raises:
        InputError: The powers do not fit each other or the spec.
    """
    levels, others = loudness(power, spec), loudness(other, spec)
    if levels.shape[1] != others.shape[1] or len(levels) not in (1, len(others)):
        raise InputError(
            f"powers have the shapes {tuple(power.shape)} and {tuple(other.shape)}; give one twice"
        )
    return (levels - others).abs().mean(-1)


def _check(target: Tensor, audio: Tensor) -> None:
    """Raise InputError unless the sounds can be compared."""
    require_sounds(target, audio)
    if audio.shape[1] <= SCALES[0] // 2:
        shape = tuple(audio.shape)
        raise InputError(f"sounds of shape {shape} must be longer than {SCALES[0] // 2} samples")
    for sounds in (target, audio):
        if not (whole := sounds.isfinite().all(1)).all():
            which = f"sound {whole.int().argmin():d} of {len(sounds)}"
            said = f"{which} (from 0 on) contains NaN or infinite samples"
            raise InputError(f"{said}; count a failed one as silence")


def _window(spec: FeatureSpec, device: torch.device) -> Tensor:
    return torch.hann_window(spec.n_fft, dtype=torch.float64, device=device)


def _power(spectrum: Tensor) -> Tensor:
    # Three times as fast as the square of abs().
    return torch.addcmul(spectrum.real.square(), spectrum.imag, spectrum.imag)
