"""The metric suite: all distances of a results table at once, from pairs of sounds.

Everything is batched in torch, on the device of the tensors. What is compared cell by cell is
computed in double precision: the power of quiet cells is else mostly rounding.
"""

from typing import NamedTuple

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from pyrosynth.audio import metrics
from pyrosynth.audio.features import FeatureSpec
from pyrosynth.audio.pitch import pitch_error
from pyrosynth.errors import InputError

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
        ``mel_mse``, ``lm``, ``lsd`` and ``mfcc`` as in `pyrosynth.audio.metrics`, ``mss`` of
        ``multi_scale_distance``, ``loudness`` of ``loudness_distance`` and ``pitch`` of
        ``pitch_error``. All are 0 for equal sounds and finite, silence included, except that
        ``sc`` is infinite for a sound against digital silence.

    Raises:
        InputError: Shapes do not fit, sounds are too short, or samples are NaN or infinite.
    """
    first, second = (torch.as_tensor(sounds, dtype=torch.float32) for sounds in (target, audio))
    _check(first, second)
    parts: list[dict[str, Tensor]] = []
    for guess, i in zip(second.split(BLOCK), range(0, len(second), BLOCK), strict=True):
        goal = first if len(first) == 1 else first[i : i + BLOCK]
        parts.append(_compare_block(goal, guess, spec))
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _compare_block(target: Tensor, audio: Tensor, spec: FeatureSpec) -> dict[str, Tensor]:
    """Compute one block."""
    powers = [power_spectrum(sounds, spec) for sounds in (target, audio)]
    filters = torch.as_tensor(spec.filters, dtype=torch.float64, device=audio.device)
    mels = [filters @ power for power in powers]
    x = [torch.log(mel + spec.floor) for mel in mels]
    return {
        "sc": metrics.spectral_convergence(*mels),
        "mel_mse": metrics.mel_mse(*mels),
        "lm": metrics.log_magnitude(*mels),
        "lsd": metrics.log_distance(*x),
        "mss": multi_scale_distance(target, audio),
        "mfcc": metrics.mfcc_distance(*x),
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
    """
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
    """
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
    """
    hz = torch.arange(power.shape[-2], device=power.device) * (spec.sample_rate / spec.n_fft)
    f2 = hz.double() ** 2
    low, middle, upper, high = (f**2 for f in (20.598997, 107.65265, 737.86223, 12194.217))
    gain = high * f2**2 / ((f2 + low) * ((f2 + middle) * (f2 + upper)).sqrt() * (f2 + high))
    weight = 10**0.2 * gain**2  # 2.00 dB, so that 1 kHz has none
    weight[1 : (spec.n_fft + 1) // 2] *= 2  # these stand for negative frequencies too
    energy = spec.n_fft * _window(spec, power.device).square().sum()  # Parseval
    return metrics.DB * (weight @ power / energy).clamp(min=QUIET).log()


def loudness_distance(power: Tensor, other: Tensor, spec: FeatureSpec) -> Tensor:
    """Return the mean absolute difference of loudness envelopes in dB; see ``loudness``.

    Args:
        power: Power spectra of ``power_spectrum``, shape (n, n_fft // 2 + 1, n_frames).
        other: Those of the other sounds.
        spec: Rate and window.

    Returns:
        Distances, shape (n,).
    """
    return (loudness(power, spec) - loudness(other, spec)).abs().mean(-1)


def _check(target: Tensor, audio: Tensor) -> None:
    """Raise InputError unless the sounds can be compared."""
    shapes = f"targets have shape {tuple(target.shape)}, sounds {tuple(audio.shape)}"
    if (
        target.ndim != 2
        or target.shape[-1:] != audio.shape[-1:]
        or len(target) not in (1, len(audio))
        or not len(audio)
    ):
        raise InputError(f"{shapes}; give (n, n_samples) twice, or one target for all")
    if audio.shape[1] <= SCALES[0] // 2:
        raise InputError(f"{shapes}; sounds must be longer than {SCALES[0] // 2} samples")
    if not (target.isfinite().all() and audio.isfinite().all()):
        raise InputError("sounds contain NaN or infinite samples; count a failed one as silence")


def _window(spec: FeatureSpec, device: torch.device) -> Tensor:
    return torch.hann_window(spec.n_fft, dtype=torch.float64, device=device)


def _power(spectrum: Tensor) -> Tensor:
    # Three times as fast as the square of abs().
    return torch.addcmul(spectrum.real.square(), spectrum.imag, spectrum.imag)
