"""The log-mel spectrogram that models see in place of the sound."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from pyrosynth.audio.io import Audio, checked_audio
from pyrosynth.errors import (
    InputError,
    fixed_array,
    integer,
    number,
    numbers,
    require_shapes,
    require_type,
    unknown,
)

Array = NDArray[np.float32]

LIMITS = (  # of the integers of a spec; beyond them one sound would take gigabytes
    ("sample_rate", 1000, 768_000),
    ("n_fft", 2, 2**17),
    ("hop_length", 1, 2**17),
    ("n_mels", 1, 1024),
)
SMALLEST_FLOOR = 1e-30  # power; a smaller one is 0 in single precision, whose logarithm is none
LINEAR_HZ = 200.0 / 3.0  # Slaney's scale: Hz per mel below the break, …
BREAK_HZ = 1000.0
LOG_STEP = np.log(6.4) / 27.0  # … and log-frequency per mel above it


@dataclass(frozen=True)
class FeatureSpec:
    """How a sound becomes the array ``x``: a power mel spectrogram on a floored log scale.

    The same numbers as ``librosa.feature.melspectrogram`` with its defaults (centred Hann
    windows, zeros beyond the ends, power 2, Slaney's scale and normalisation), by test.

    Args:
        sample_rate: Rate of the audio in Hz.
        n_fft: Samples per window.
        hop_length: Samples between two windows.
        n_mels: Number of bands.
        fmin: Lower edge of the lowest band in Hz.
        fmax: Upper edge of the highest band in Hz.
        floor: Power added before the logarithm; what lies far below it counts as silence.

    Raises:
        InputError: A number is out of range.

    References:
        M. Slaney, "Auditory Toolbox", Technical Report 1998-010, Interval Research, 1998.
    """

    sample_rate: int = 22050
    n_fft: int = 2048
    hop_length: int = 1024
    n_mels: int = 64
    fmin: float = 30.0
    fmax: float = 11000.0
    floor: float = 1e-3

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, low, high in LIMITS:
            object.__setattr__(self, name, integer(name, getattr(self, name), low, high))
        for name in ("fmin", "fmax", "floor"):
            object.__setattr__(self, name, number(name, getattr(self, name)))
        if not 0 <= self.fmin < self.fmax <= self.sample_rate / 2:
            raise InputError(
                f"mel bands from {self.fmin} to {self.fmax} Hz at {self.sample_rate} Hz: "
                f"give 0 <= fmin < fmax <= {self.sample_rate / 2}"
            )
        if not SMALLEST_FLOOR <= self.floor <= 1:
            raise InputError(
                f"floor {self.floor}: it is a power; give a number from {SMALLEST_FLOOR} to 1"
            )

    def shape(self, n_samples: int) -> tuple[int, int]:
        """Return (n_mels, n_frames) of a sound of ``n_samples`` samples."""
        return self.n_mels, 1 + integer("n_samples", n_samples, 0) // self.hop_length

    @fixed_array
    def filters(self) -> Array:
        """Triangular mel filters of unit area, shape (n_mels, n_fft // 2 + 1)."""
        edges = self._edges_hz
        hz = np.arange(self.n_fft // 2 + 1) * (self.sample_rate / self.n_fft)
        rise = (hz - edges[:-2, None]) / np.diff(edges)[:-1, None]
        fall = (edges[2:, None] - hz) / np.diff(edges)[1:, None]
        triangles = np.maximum(0.0, np.minimum(rise, fall))
        return (triangles * (2.0 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)

    def require_all_heard(self) -> None:
        """Make sure that all of a sound is heard, before a dataset is begun.

        A band into which no frequency of the spectrum falls, as may be with low notes, is
        as silent in all sounds, and makes them alike.

        Raises:
            InputError: Some bands hear nothing, or the windows leave something out.
        """
        if self.hop_length > self.n_fft:
            raise InputError(
                f"hop_length {self.hop_length} is above n_fft {self.n_fft}: what is between the "
                "windows is not heard; give n_fft or less"
            )
        if deaf := int((self.filters.max(axis=1) == 0).sum()):
            raise InputError(
                f"{deaf} of the {self.n_mels} bands hear nothing, as windows of {self.n_fft} "
                "samples tell frequencies no finer; give a larger n_fft, a smaller n_mels, or a "
                "higher fmin"
            )

    @property
    def centers_hz(self) -> NDArray[np.float64]:
        """Middle frequency of each band, shape (n_mels,)."""
        return self._edges_hz[1:-1]

    @property
    def _edges_hz(self) -> NDArray[np.float64]:
        """Feet and middles of the triangles, shape (n_mels + 2,)."""
        low, high = hz_to_mel([self.fmin, self.fmax])
        return mel_to_hz(np.linspace(low, high, self.n_mels + 2))

    @fixed_array
    def window(self) -> Array:
        """Periodic Hann window, shape (n_fft,)."""
        return np.hanning(self.n_fft + 1)[:-1].astype(np.float32)

    @np.errstate(under="ignore")
    def mel(self, audio: ArrayLike) -> Array:
        """Return the power mel spectrogram.

        Each sound is computed on its own, so a result does not depend on its neighbours.

        Args:
            audio: Mono sound, shape (..., n_samples).

        Returns:
            Power, shape (..., n_mels, n_frames), float32.
        """
        sounds = checked_audio(audio)
        if not sounds.size:
            raise InputError(f"audio of shape {sounds.shape} holds no samples; give a sound")
        flat = sounds.reshape(-1, sounds.shape[-1])
        mel = np.empty((len(flat), *self.shape(flat.shape[-1])), np.float32)
        for out, sound in zip(mel, flat, strict=True):
            padded = np.pad(sound, self.n_fft // 2)
            frames = sliding_window_view(padded, self.n_fft)[:: self.hop_length]
            spectrum = scipy.fft.rfft(frames * self.window, overwrite_x=True)
            np.matmul(self.filters, (spectrum.real**2 + spectrum.imag**2).T, out=out)
        return mel.reshape(*sounds.shape[:-1], *mel.shape[1:])

    def __call__(self, audio: ArrayLike) -> Array:
        """Return ``x = log(mel + floor)``, shape (..., n_mels, n_frames), float32."""
        return np.log(self.mel(audio) + np.float32(self.floor))

    def audible(self, x: ArrayLike) -> NDArray[np.float64]:
        """Return the share of the cells of sounds whose power is above the floor, shape (...).

        Two sounds that are below it nearly everywhere are near each other whatever they are.

        Args:
            x: Features, shape (..., n_mels, n_frames).

        Raises:
            InputError: They are no numbers, or have another shape.
        """
        loud = _spectra(x) > np.log(2 * self.floor)
        return np.asarray(loud.mean(axis=(-2, -1)), np.float64)

    @np.errstate(under="ignore")
    def power(self, x: ArrayLike) -> Array:
        """Return the power mel spectrogram that ``x`` stands for, the inverse of a call.

        Raises:
            InputError: The features are no numbers, or have another shape.
        """
        power = np.exp(_spectra(x)) - np.float32(self.floor)
        return np.maximum(power, np.float32(0.0))

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON-ready dictionary; ``from_json`` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "FeatureSpec":
        """Rebuild a spec from ``to_json``'s dictionary.

        Raises:
            InputError: It is no such dictionary.
        """
        require_type("description of features", data, Mapping, "what to_json() returns")
        known = [field.name for field in fields(cls)]
        for name in data:
            if name not in known:
                raise unknown("setting of features", str(name), known)
        return cls(**data)


def _spectra(x: ArrayLike) -> Array:
    """Return features as an array, after making sure of their axes."""
    spectra: Array = numbers("features", x, np.float32)
    if spectra.ndim < 2 or 0 in spectra.shape[-2:]:
        raise InputError(f"features of shape {spectra.shape}; give (..., n_mels, n_frames)")
    return spectra


def power_of_each(x: ArrayLike, spec: FeatureSpec) -> Array:
    """Return the power mel spectrograms of a batch of sounds, see `FeatureSpec.power`.

    Args:
        x: Features, shape (n, n_mels, n_frames).
        spec: How they were computed.

    Raises:
        InputError: The features have another shape, or the spec is none.
    """
    require_spec(spec)
    power = spec.power(x)
    require_shapes("sounds", {"features": (power, ("n", spec.n_mels, "n_frames"))})
    return power


def require_spec(spec: Any) -> None:
    """Make sure that an argument is a `FeatureSpec`.

    Raises:
        InputError: It is something else.
    """
    require_type("spec", spec, FeatureSpec, "a FeatureSpec, such as run.features")


def hz_to_mel(hz: ArrayLike) -> NDArray[np.float64]:
    """Return frequencies on Slaney's mel scale: linear below 1 kHz, logarithmic above."""
    f = numbers("frequencies", hz, np.float64)
    above = np.log(np.maximum(f, BREAK_HZ) / BREAK_HZ) / LOG_STEP
    return np.minimum(f, BREAK_HZ) / LINEAR_HZ + above


def mel_to_hz(mel: ArrayLike) -> NDArray[np.float64]:
    """Return the frequencies in Hz of points of Slaney's mel scale."""
    m = numbers("mels", mel, np.float64)
    knee = BREAK_HZ / LINEAR_HZ
    return np.minimum(m, knee) * LINEAR_HZ * np.exp(LOG_STEP * np.maximum(m - knee, 0.0))


DB = 10.0 / np.log(10.0)  # decibels of power per unit of natural logarithm


def loudest(x: NDArray[np.float32], spec: FeatureSpec) -> NDArray[np.float32]:
    """Return the power of the loudest frame of sounds, shape (...).

    Args:
        x: Their features, shape (..., n_mels, n_frames).
        spec: What the features are.

    Raises:
        InputError: They are no features, or the spec is none.
    """
    require_spec(spec)
    power: NDArray[np.float32] = spec.power(x).sum(axis=-2).max(axis=-1)
    return power


def match_loudness(audio: Audio, power: float | np.floating, spec: FeatureSpec) -> Audio:
    """Bring a sound to the loudness of others; silence stays.

    Args:
        audio: The sound, shape (n_samples,).
        power: Of the loudest frame, such as the median of known sounds, see `loudest`.
        spec: What the features are.

    Returns:
        Audio, shape (n_samples,).

    Raises:
        InputError: It is no audio of that shape, the power is negative, or the spec is none.
    """
    require_spec(spec)
    audio, power = checked_audio(audio, ndim=1), np.float32(number("power", power, 0.0))
    peak = np.abs(audio).max(initial=0)
    if peak == 0:
        return audio
    audio = audio / peak
    return audio * np.float32(np.sqrt(power / loudest(spec(audio), spec)))
