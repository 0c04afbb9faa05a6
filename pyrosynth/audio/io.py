"""Sound: the note that is played, and mono float32 audio in and out of files."""

import io
import math
import os
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pyrosynth.errors import InputError

Audio = NDArray[np.float32]

SILENCE = 1e-4  # peak below which a sound counts as silent, -80 dB full scale
SHORTEST_SECONDS = 0.05  # a shorter sound holds less than one analysis window


def load_audio(path: str | os.PathLike[str], sample_rate: int) -> Audio:
    """Read a sound file as mono float32 at the wanted rate.

    Args:
        path: Any file libsndfile reads, with any number of channels and any rate.
        sample_rate: Rate of the result in Hz; the sound is resampled to it (soxr, high quality).

    Returns:
        Audio, shape (n_samples,).

    Raises:
        InputError: The file is missing, empty, no sound, not finite, silent or too short.
    """
    import soundfile
    import soxr

    file = Path(path)
    if not file.is_file():
        raise InputError(f"no sound file '{file}'; give the path of a WAV, FLAC, OGG or AIFF file")
    try:
        frames, rate = soundfile.read(file, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise InputError(
            f"'{file}' is not a readable sound file ({error}); convert it to WAV or FLAC"
        ) from error
    if len(frames) < SHORTEST_SECONDS * rate:
        raise InputError(
            f"'{file}' lasts {len(frames) / rate:.3f} s; at least {SHORTEST_SECONDS} s are needed"
        )
    if not np.isfinite(frames).all():
        raise InputError(f"'{file}' contains NaN or infinite samples; export it again")
    audio = frames.mean(axis=1)
    if np.abs(audio).max() < SILENCE:
        raise InputError(
            f"'{file}' is silent (peak below {20 * math.log10(SILENCE):.0f} dB full scale); "
            "record it louder"
        )
    if rate != sample_rate:
        audio = soxr.resample(audio, rate, sample_rate)
    return np.ascontiguousarray(audio, np.float32)


def fit_length(audio: Audio, n_samples: int, sample_rate: int) -> Audio:
    """Cut the silence before the onset, then cut or zero-pad to a length.

    Args:
        audio: Mono sound, shape (any,).
        n_samples: Wanted length.
        sample_rate: Rate in Hz; a cut end is faded out over 10 ms of it.

    Returns:
        Audio, shape (n_samples,).
    """
    level = np.abs(audio)
    onset = int(np.argmax(level > 0.01 * level.max()))
    kept = audio[onset : onset + n_samples].copy()
    if onset + n_samples < len(audio):
        fade = min(len(kept), sample_rate // 100)
        kept[-fade:] *= np.linspace(1.0, 0.0, fade, dtype=np.float32)
    return np.pad(kept, (0, n_samples - len(kept)))


def save_audio(
    path: str | os.PathLike[str], audio: Audio, sample_rate: int, subtype: str = "FLOAT"
) -> None:
    """Write audio as a WAV file, atomically.

    Args:
        path: Where to write; an existing file is replaced only once the new one is whole.
        audio: Samples, shape (n_samples,), or (n_samples, n_channels).
        sample_rate: Rate in Hz.
        subtype: ``FLOAT``, whose files carry the time they were written at, or ``PCM_16``, whose
            bytes depend on the sound alone.

    Raises:
        InputError: The file cannot be written, for example on a full disk.
    """
    import soundfile

    # In memory first: what libsndfile says of a full disk is not to be understood.
    content = io.BytesIO()
    soundfile.write(content, audio, sample_rate, subtype=subtype, format="WAV")
    target = Path(path)
    part = target.with_name(target.name + ".part")
    try:
        part.write_bytes(content.getvalue())
        part.replace(target)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise InputError(
            f"cannot write '{target}' ({error.strerror or error}); free space or choose another "
            "folder"
        ) from error
