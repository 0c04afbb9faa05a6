"""The pitch of sounds, frame by frame, and how far one sound's is from another's."""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn.functional import pad

from pyrosynth.audio.features import FeatureSpec, require_spec
from pyrosynth.audio.pitch_tracking import PITCHES_HZ
from pyrosynth.errors import InputError, numbers, require_type

PERIODIC = 0.1  # the threshold of YIN
SHORTEST = 2  # samples of a period
FINE, TAPS = 8, 8  # parts of a sample for short periods; samples on each side to interpolate from
AUDIBLE = 1e-6  # share of the loudest frame's energy above which a frame counts, -60 dB
ROUNDING = 1e-12  # share of a frame's energy below which a difference is none
OCTAVE = 12.0  # semitones; the largest error


def pitch(audio: Tensor, spec: FeatureSpec) -> Tensor:
    """Estimate the fundamental frequency of each frame by YIN.

    The steps 1 to 5 of the paper on the frame ``x``, with a window of ``W = n_fft // 2``:
    the difference ``d(τ) = Σ_{j<W} (x_j − x_{j+τ})²``, divided by its mean over the lags 1 to τ;
    the period is the first minimum below 0.1, refined by the parabola through ``d`` around it.
    Where there is none, a frame has no pitch (the paper's fallback, the deepest of all minima,
    is not used), nor where its pitch is above the highest. Short periods are looked for between
    the samples as well, or a multiple would be taken where none of the samples is near enough.
    Frames begin at multiples of the hop; beyond the end is silence.

    Args:
        audio: Mono sounds, shape (n, n_samples).
        spec: Rate, window and hop.

    Returns:
        Frequencies in Hz from 32.7 (C1; or of a period of ``W`` samples if that is higher) to
        2033 (B6), NaN without pitch or above; shape (n, 1 + n_samples // hop_length), float64.

    References:
        de Cheveigné and Kawahara, 2002, "YIN, a fundamental frequency estimator for speech and
        music".

    Raises:
        InputError: The sounds are no tensor of that shape, or the spec is none.
    """
    require_spec(spec)
    require_sounds(audio)
    frames, half = _frames(audio, spec), spec.n_fft // 2
    low, high = PITCHES_HZ
    shortest = max(int(spec.sample_rate / high), SHORTEST)
    longest = min(math.ceil(spec.sample_rate / low), spec.n_fft - half - 1)
    lags = torch.arange(1, longest + 2, device=audio.device)

    # Σ x_j x_{j+τ} by Fourier transforms: no lag is long enough to wrap around.
    product = torch.fft.rfft(frames) * torch.fft.rfft(frames[..., :half], spec.n_fft).conj()
    both = torch.fft.irfft(product, spec.n_fft)[..., 1 : longest + 2]
    running = pad(frames.square().cumsum(-1), (1, 0))
    energy = running[..., half : half + longest + 2] - running[..., : longest + 2]
    difference = (energy[..., :1] + energy[..., 1:] - 2 * both).clamp_(min=0)
    mean = difference.cumsum(-1) / lags
    normal = torch.where(mean > ROUNDING * energy[..., :1], difference / mean, 1.0)

    at = _first_dip(normal, shortest - 1)
    lag = at + 1 + _to_minimum(difference, at)
    # Where a period before it lies between two lags, this is a multiple of that.
    short = _short_period(difference, energy[..., :1], 2 * spec.sample_rate / high)
    period = torch.where((short < at) | at.isinf(), short, lag)
    known = period.isfinite() & (period >= spec.sample_rate / high)
    return torch.where(known, spec.sample_rate / period, torch.nan)


def _short_period(difference: Tensor, energy: Tensor, longest: float) -> Tensor:
    """Return the period of frames whose period is short, looking between the lags too.

    Args:
        difference: That of YIN at the lags from 1 sample on, shape (n, n_frames, n_lags).
        energy: Of the frames, shape (n, n_frames, 1).
        longest: Period in samples.

    Returns:
        Periods in samples, infinite where there is none, shape (n, n_frames).
    """
    reach = min(math.ceil(longest) + TAPS, difference.shape[-1])
    near = difference[..., :reach]
    mirrored = torch.cat([near.flip(-1), torch.zeros_like(energy), near], -1)
    places = torch.arange(-reach, reach + 1, device=difference.device)
    lags = torch.arange(1, min(math.ceil(longest), reach) * FINE + 1, device=difference.device)
    apart = (lags / FINE - places[:, None]).double()
    kernel = apart.sinc() * (apart / TAPS).sinc() * (apart.abs() < TAPS)  # Lanczos
    fine = (mirrored @ kernel).clamp_(min=0)
    mean = fine.cumsum(-1) / lags
    at = _first_dip(torch.where(mean > ROUNDING * energy, fine / mean, 1.0), SHORTEST * FINE - 1)
    return (at + 1 + _to_minimum(fine, at)) / FINE


def _first_dip(normal: Tensor, start: int) -> Tensor:
    """Return the first place, from a start on, of a minimum below the threshold, or infinity."""
    inner = normal[..., 1:-1]
    dip = (inner < normal[..., :-2]) & (inner <= normal[..., 2:]) & (inner < PERIODIC)
    places = torch.arange(1, normal.shape[-1] - 1, device=normal.device)
    return torch.where(dip & (places >= start), places, torch.inf).amin(-1)


def _to_minimum(difference: Tensor, at: Tensor) -> Tensor:
    """Return how far from each place the parabola around it has its minimum, at most 1."""
    middle = at.clamp(max=difference.shape[-1] - 2).long()[..., None]
    before, here, after = (difference.gather(-1, middle + k)[..., 0] for k in (-1, 0, 1))
    bend = before - 2 * here + after
    return torch.where(bend > 0, (before - after) / (2 * bend), 0.0).clamp(-1, 1)


def pitch_error(target: Tensor, audio: Tensor, spec: FeatureSpec) -> Tensor:
    """Return the mean pitch error in semitones over the frames in which the target sounds.

    The error of a frame is ``|12 log2(f / f')|``, at most an octave. It is an octave as well where
    only one of the sounds has a pitch, and 0 where neither has. Frames more than 60 dB below the
    target's loudest do not count; a silent target has no pitch to miss, which makes 0. (The mean
    absolute error of Engel et al., 2020, "DDSP", with a cost of voicing errors.)

    Args:
        target: Mono sounds to be met, shape (n, n_samples).
        audio: Those that should meet them.
        spec: Rate, window and hop; see ``pitch``.

    Returns:
        Errors from 0 to 12, shape (n,).

    Raises:
        InputError: The sounds are no tensors of one shape, or the spec is none.
    """
    require_sounds(target, audio)
    goal, guess = pitch(target, spec), pitch(audio, spec)
    error = (12 * (goal / guess).log2()).abs().clamp(max=OCTAVE).nan_to_num(nan=OCTAVE)
    error = error.masked_fill(goal.isnan() & guess.isnan(), 0.0)
    energy = _frames(target, spec).square().sum(-1)
    sounds = energy > AUDIBLE * energy.amax(-1, keepdim=True)
    return (error * sounds).sum(-1) / sounds.sum(-1).clamp(min=1)


def as_tensor(sounds: ArrayLike | Tensor) -> Tensor:
    """Return sounds of any library as a tensor, integers as integers, so that they are refused.

    Raises:
        InputError: They are no numbers.
    """
    if isinstance(sounds, Tensor):
        return sounds
    whole = numbers("sounds", sounds).dtype.kind in "biu"
    return torch.tensor(numbers("sounds", sounds, None if whole else np.float64))


def require_sounds(*sounds: Any) -> None:
    """Make sure that sounds can be analysed, and compared with the first of them.

    Raises:
        InputError: They are no tensors of floats of shape (n, n_samples), or not equally long.
    """
    for audio in sounds:
        require_type("sounds", audio, Tensor, "a tensor of shape (n, n_samples)")
        if not audio.is_floating_point() or audio.ndim != 2 or not audio.numel():
            raise InputError(
                f"sounds are {audio.dtype} of shape {tuple(audio.shape)}; give floats of shape "
                "(n, n_samples), neither 0"
            )
    first, last = (tuple(audio.shape) for audio in (sounds[0], sounds[-1]))
    if first[1] != last[1] or first[0] not in (1, last[0]):
        raise InputError(
            f"targets have shape {first}, sounds {last}; give (n, n_samples) twice, or one target "
            "for all"
        )


def _frames(audio: Tensor, spec: FeatureSpec) -> Tensor:
    """Return frames that begin at multiples of the hop, shape (n, n_frames, n_fft), float64."""
    return pad(audio.double(), (0, spec.n_fft)).unfold(-1, spec.n_fft, spec.hop_length)
