"""An example sound that no synth here made: a plucked string and a flute, composed by formula."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pyrosynth.audio.io import MOST_RATE, wav_bytes
from pyrosynth.errors import InputError, integer, number
from pyrosynth.files import writable, write_bytes

EXAMPLE = "string-and-flute"  # what it is called
RATE = 44100  # Hz, of its file
FLUTE_PARTIALS = (1.0, 0.45, 0.2, 0.06, 0.03)  # amplitudes of the harmonics


def save_example(folder: str | Path) -> Path:
    """Write the example sound into a folder as ``string-and-flute.wav``.

    Args:
        folder: The folder, made if it is missing.

    Returns:
        The file. One that is there already from an earlier call is kept.

    Raises:
        InputError: Another file of that name is there, or the folder cannot be written.
    """
    file = writable(folder) / f"{EXAMPLE}.wav"
    content = wav_bytes(string_and_flute(sample_rate=RATE), RATE, "PCM_16")
    if not file.exists():
        write_bytes(file, content)
    elif not file.is_file() or file.read_bytes() != content:
        raise InputError(f"'{file}' is another sound; give another folder for the example")
    return file


def string_and_flute(
    pitch: int = 60, seconds: float = 4.0, sample_rate: int = 96000
) -> NDArray[np.float32]:
    """Compose the sound; the string is on the left, the flute on the right.

    Args:
        pitch: MIDI note number.
        seconds: Length.
        sample_rate: Rate in Hz.

    Returns:
        Stereo audio, shape (n_samples, 2), peak 0.5.

    Raises:
        InputError: A number is out of range, see `plucked_string`.
    """
    pitch = integer("pitch", pitch, 0, 127)
    rng = np.random.default_rng(0)
    frequency = 440.0 * 2.0 ** ((pitch - 69) / 12)
    string = plucked_string(frequency, seconds, sample_rate, rng)
    flute = breathy_flute(frequency, seconds, sample_rate, rng)
    stereo = np.stack([0.8 * string + 0.2 * flute, 0.2 * string + 0.8 * flute], axis=1)
    return (0.5 * stereo / np.abs(stereo).max()).astype(np.float32)


def plucked_string(
    frequency: float, seconds: float, sample_rate: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Pluck a string: a burst of noise runs round a delay line that averages neighbours.

    Args:
        frequency: Of the lowest partial in Hz, from 20 to a quarter of the rate.
        seconds: Length, 0.1 to 60.
        sample_rate: Rate in Hz, at least 11,025.
        rng: Source of the noise.

    Raises:
        InputError: A number is out of range.

    References:
        Karplus and Strong, 1983, "Digital synthesis of plucked-string and drum timbres".
    """
    _check(frequency, seconds, sample_rate)
    from scipy.signal import lfilter

    period = round(sample_rate / frequency - 0.5)  # the average of two delays by half a sample
    burst = np.zeros(int(seconds * sample_rate))
    pluck = rng.uniform(-1, 1, period)
    burst[:period] = pluck - pluck.mean()
    loop = np.zeros(period + 2)
    loop[0], loop[-2:] = 1.0, -0.498
    return np.asarray(lfilter([1.0], loop, burst))


def breathy_flute(
    frequency: float, seconds: float, sample_rate: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Blow a flute: few harmonics, a vibrato that grows, and breath around 3 kHz.

    Raises:
        InputError: A number is out of range, see `plucked_string`.
    """
    _check(frequency, seconds, sample_rate)
    from scipy.signal import butter, sosfilt

    time = np.arange(int(seconds * sample_rate)) / sample_rate
    vibrato = 0.004 * np.clip(time - 0.5, 0, 1) * np.sin(2 * np.pi * 5.0 * time)
    phase = 2 * np.pi * frequency * np.cumsum(1 + vibrato) / sample_rate
    tone = sum(a * np.sin(k * phase) for k, a in enumerate(FLUTE_PARTIALS, 1))
    band = butter(2, [1500.0, 5000.0], "bandpass", fs=sample_rate, output="sos")
    breath = sosfilt(band, rng.standard_normal(len(time)))
    level = np.minimum(time / 0.08, 1.0) * np.clip((seconds - time) / 0.8, 0, 1)
    return np.asarray(level * (0.4 * tone + 0.1 * breath))


def _check(frequency: float, seconds: float, sample_rate: int) -> None:
    """Raise InputError unless the numbers are in the ranges of `plucked_string`."""
    integer("sample_rate", sample_rate, 11025, MOST_RATE)
    number("seconds", seconds, 0.1, 60.0)
    number("frequency", frequency, 20.0, sample_rate / 4)
