"""Mono float32 audio, in and out of sound files."""

import io
import math
import os
import shutil
import tempfile
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyrosynth.audio.channels import Cancellation
from pyrosynth.audio.decoder_notes import decoder_errors
from pyrosynth.audio.joined import LENGTH_UNKNOWN, fault, frames_said
from pyrosynth.audio.sound_files import no_sound
from pyrosynth.errors import (
    InputError,
    checked_name,
    counted,
    integer,
    not_opened,
    numbers,
    reason,
)
from pyrosynth.files import checked_path, write_bytes

if TYPE_CHECKING:
    import soundfile

Audio = NDArray[np.float32]

WAV_HEADER = 64  # bytes in which libsndfile places what comes before the peaks of a WAV file
SILENCE = 1e-4  # peak below which a sound counts as silent, -80 dB full scale
LOUDEST = 1e10  # sample of a sound; integers of 32 bits that were written as floats are below
SHORTEST_SECONDS = 0.05  # a shorter sound holds less than one analysis window
LONGEST_SECONDS = 600.0  # of a sound file
MOST_SAMPLES = 2**26  # of a sound file, over all channels: 256 MiB
CANCELLED = 0.1  # share of the channels' mean peak that the mean of the channels must keep
OFFSET = 0.1  # share of the peak from which the median of a sound is an offset
CUT = 0.9  # share of the frames that it says it has, that must be read of a sound file
FRAME = 576  # samples that the decoder of MP3 files leaves out with each error
HEARD = 1e-3  # share of a sound's energy that must be left at a lower rate
MOST_RATE, MOST_CHANNELS = 768_000, 1024  # Hz, and of a file that is written
SUBTYPES = ("PCM_16", "FLOAT")
BLOCK = 2**18  # samples decoded at a time, over all channels


def checked_rate(sample_rate: Any) -> int:
    """Return a sample rate in Hz as a plain integer.

    Raises:
        InputError: It is something else, or no rate of audio.
    """
    return integer("sample_rate", sample_rate, 1, MOST_RATE)


def checked_audio(
    audio: ArrayLike, what: str = "audio", *, ndim: int | None = None, least: int = 0
) -> Audio:
    """Return audio as float32, after making sure that it is audio.

    Args:
        audio: Floating-point samples around full scale 1, shape (..., n_samples).
        what: What an error calls it.
        ndim: Number of axes that it must have; any from 1 on if left out.
        least: Number of samples that each sound must have.

    Returns:
        The samples, same shape.

    Raises:
        InputError: They are integers, NaN or infinite, or the shape is another one.
    """
    samples = numbers(what, audio)
    if samples.dtype.kind != "f":
        raise InputError(
            f"{what} holds {samples.dtype} values; give floats from -1 to 1 (16-bit integers "
            "divided by 32768)"
        )
    if samples.ndim < 1 or samples.ndim != (ndim or samples.ndim):
        wanted = {1: "(n_samples,)", 2: "(n, n_samples)"}.get(ndim or 0, "(..., n_samples)")
        raise InputError(f"{what} has shape {samples.shape}; give mono audio of shape {wanted}")
    if samples.shape[-1] < least:
        raise InputError(
            f"{what} has shape {samples.shape}; give at least {counted(least, 'sample')}"
        )
    with np.errstate(over="ignore"):
        sound = samples.astype(np.float32, copy=False)
    if not np.isfinite(sound).all():
        bad = np.unravel_index(np.isfinite(sound).argmin(), sound.shape)
        where = f" at {tuple(map(int, bad))}" if sound.ndim > 1 else ""
        raise InputError(f"{what} contains NaN or infinite samples{where}; give finite ones")
    if sound.size and max(sound.max(), -sound.min()) > LOUDEST:
        raise InputError(
            f"{what} has samples of up to {np.abs(sound).max():.0e}, where 1 is full scale; "
            "divide it by its peak"
        )
    return sound


def load_audio(file: str | os.PathLike[str] | BinaryIO, sample_rate: int) -> Audio:
    """Read a sound file as mono float32 at the wanted rate.

    It is decoded a block at a time and given up as soon as it is too long, whatever its header
    says.

    Args:
        file: Path of any file libsndfile reads, with any number of channels and any rate, or the
            open file.
        sample_rate: Rate of the result in Hz; the sound is resampled to it (soxr, high quality).

    Returns:
        Audio, shape (n_samples,).

    Raises:
        InputError: The file is missing, empty, no sound, not finite, silent, too short, or longer
            than 10 minutes or 67 million samples; or its channels cancel each other.
    """
    return load_heard(file, sample_rate)[0]


def load_heard(
    file: str | os.PathLike[str] | BinaryIO, sample_rate: int
) -> tuple[Audio, float, float]:
    """Read a sound file as `load_audio` does, and tell how much of it is heard.

    Returns:
        Audio, shape (n_samples,); the share of its energy that is left at the rate; and what its
        channels cancel of each other, in dB, see `pyrosynth.audio.channels`.

    Raises:
        InputError: As of `load_audio`.
    """
    rate_wanted = checked_rate(sample_rate)
    mono, rate, said, cancelled = _mono(file)
    audio, share = _resampled(mono, rate, rate_wanted)
    if share < HEARD:
        raise InputError(
            f"all of '{said}' is above {rate_wanted / 2:g} Hz, where nothing is heard at "
            f"{rate_wanted} Hz; give a sound below it"
        )
    return audio, share, cancelled


def _mono(file: str | os.PathLike[str] | BinaryIO) -> tuple[Audio, int, str, float]:
    """Return the mean of the channels, their rate, what errors call it, and what they cancel."""
    if not isinstance(file, str | os.PathLike) and hasattr(file, "read"):
        said = "the sound"
        mono, peaks, rate, cancelled = _decode(file, said)
    else:
        path, said = checked_path("sound file", file), str(file)
        if wrong := no_sound(said):
            raise InputError(wrong)
        try:
            with path.open("rb") as opened:
                mono, peaks, rate, cancelled = _decode(opened, said)
        except OSError as error:
            error.filename = said
            raise InputError(not_opened(error)) from error
    if not len(mono):
        raise InputError(
            f"'{said}' is empty or cut off: no sound can be read from it; copy it again, or "
            "record it anew"
        )
    if len(mono) < SHORTEST_SECONDS * rate:
        raise InputError(
            f"'{said}' lasts {1000 * len(mono) / rate:.3g} ms; at least "
            f"{1000 * SHORTEST_SECONDS:g} ms are needed"
        )
    peak = float(max(mono.max(), -mono.min()))
    if peaks.max() < SILENCE:
        raise InputError(
            f"'{said}' is silent (peak below {20 * math.log10(SILENCE):.0f} dB full scale); "
            "record it louder"
        )
    if peak < max(SILENCE, CANCELLED * float(peaks.mean())):
        raise InputError(
            f"the channels of '{said}' cancel each other: little is left in their mean; turn the "
            "phase of one channel over, or keep one channel only"
        )
    if float(mono.max()) - float(mono.min()) < SILENCE:
        raise InputError(
            f"'{said}' is silent but for a constant offset; check the input of the recorder"
        )
    return mono, rate, said, cancelled


def _resampled(mono: Audio, rate: int, rate_wanted: int) -> tuple[Audio, float]:
    """Return a sound at another rate, and the share of its energy that is left there."""
    import soxr

    if rate == rate_wanted:
        return np.ascontiguousarray(mono, np.float32), 1.0
    middle, peak = np.median(mono), np.abs(mono).max()
    offset = middle if abs(middle) > OFFSET * peak else np.float32(0.0)  # whose edges ring
    whole = mono - offset
    left = soxr.resample(whole, rate, rate_wanted)
    energy = float(np.square(left).mean()) if len(left) else 0.0
    share = min(1.0, energy / float(np.square(whole).mean())) if rate > rate_wanted else 1.0
    left += offset
    return np.ascontiguousarray(left, np.float32), share


def _decode(file: BinaryIO, name: str) -> tuple[Audio, Audio, int, float]:
    """Return the mean of the channels, the peak of each, the rate, and what they cancel in dB."""
    import soundfile

    blocks, peaks, n_frames = [], np.zeros(1, np.float32), 0
    try:
        with (
            _stored(file) as stored,
            decoder_errors(stored.fileno()) as errors,
            soundfile.SoundFile(stored.fileno(), closefd=False) as sound,
        ):
            if wrong := fault(stored.fileno()):
                raise InputError(f"'{name}' {wrong}")
            rate, channels, n_said = sound.samplerate, sound.channels, frames_said(sound)
            cancellation = Cancellation(rate)
            most = min(MOST_SAMPLES // channels, int(LONGEST_SECONDS * rate))
            while n_frames <= most and len(block := _next_block(sound)):
                n_frames += len(block)
                peaks = np.maximum(peaks, np.abs(block).max(axis=0))
                if not np.isfinite(peaks).all():
                    raise InputError(f"'{name}' contains NaN or infinite samples; export it again")
                if peaks.max() > LOUDEST:
                    raise InputError(
                        f"'{name}' has samples of up to {peaks.max():.0e}, where 1 is full scale; "
                        "export it again"
                    )
                blocks.append(block.mean(axis=1))
                cancellation.add(block)
    except (soundfile.SoundFileError, RuntimeError, TypeError, ValueError, MemoryError) as error:
        reason, advice = getattr(error, "error_string", error), "convert it to WAV or FLAC"
        if _is_text(file):
            reason = "it holds text, such as a playlist, a web page or a pointer of Git LFS"
            advice = "give or download the sound itself"
        raise InputError(f"'{name}' is not a readable sound file ({reason}); {advice}") from error
    if n_frames > most:
        raise InputError(
            f"'{name}' holds more than {most / rate:g} s of {counted(channels, 'channel')} at "
            f"{rate} Hz, the most that is read; cut it to the note"
        )
    if n_frames and n_frames < CUT * n_said and n_said < LENGTH_UNKNOWN * rate:
        raise InputError(
            f"'{name}' is damaged or cut off: of {n_said / rate:.3g} s only {n_frames / rate:.3g} "
            "s can be read; copy it again, or record it anew"
        )
    if len(errors) * FRAME > (1 - CUT) * n_frames:
        raise InputError(
            f"'{name}' is damaged: {counted(len(errors), 'part')} of it cannot be decoded; copy "
            "it again, or record it anew"
        )
    whole = np.concatenate(blocks or [np.zeros(0, np.float32)])
    return whole, peaks, rate, cancellation.decibels()


def _is_text(file: BinaryIO) -> bool:
    """Tell whether a file that is no sound begins as a text does."""
    try:
        file.seek(0)
        words = file.read(100).decode("ascii").split()
        return bool(words) and "".join(words).isprintable()
    except (AttributeError, OSError, ValueError):
        return False


def _stored(file: BinaryIO) -> AbstractContextManager[BinaryIO]:
    """Return a file that libsndfile can read by itself.

    Through an object of Python's it reads by callbacks, whose errors go to the terminal.

    Raises:
        InputError: It cannot be read, such as a damaged member of an archive.
    """
    readable = getattr(file, "readable", None)
    if callable(readable) and not getattr(file, "closed", False) and not readable():
        raise InputError("the sound is a file that is open for writing; open it by open(f, 'rb')")
    try:
        if isinstance(file, io.BufferedIOBase) and not hasattr(file, "raw"):
            raise AttributeError  # its descriptor, if any, is of what it unpacks, such as of gzip
        # Of what Python has read ahead, the descriptor knows nothing.
        os.lseek(file.fileno(), file.tell(), os.SEEK_SET)
    except (AttributeError, OSError):  # none, or a pipe
        stored = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            shutil.copyfileobj(file, stored)
        except Exception as error:  # whatever an object of Python's raises when it is read
            stored.close()
            raise InputError(
                f"the sound cannot be read ({reason(error)}); give the path of a file, or one "
                "that is open for reading in binary mode"
            ) from error
        stored.seek(0)
        return stored
    return nullcontext(file)


def _next_block(sound: "soundfile.SoundFile") -> Audio:
    """Decode the next frames of a file, shape (n_frames, n_channels); none at its end."""
    import soundfile

    block = np.full((max(1, BLOCK // sound.channels), sound.channels), np.nan, np.float32)
    try:
        return block[: len(sound.read(out=block))]
    except soundfile.LibsndfileError:
        # In a stream that leaves its length open, such as a FLAC file may be, libsndfile cannot
        # seek to the end after reading up to it: what it read is there nevertheless.
        if sound.frames < MOST_SAMPLES:
            raise
        return block[~np.isnan(block[:, 0])]


def wav_bytes(audio: ArrayLike, sample_rate: int, subtype: str = "PCM_16") -> bytes:
    """Return audio as the content of a WAV file.

    Args:
        audio: Samples, shape (n_samples,), or (n_samples, n_channels).
        sample_rate: Rate in Hz.
        subtype: ``PCM_16``, which cuts samples beyond
            full scale off, or ``FLOAT``, which keeps them; the bytes depend on the sound alone.

    Raises:
        InputError: The audio is not one, or the rate or the subtype cannot be.
    """
    samples, rate = checked_audio(audio), checked_rate(sample_rate)
    checked_name("subtype", subtype, SUBTYPES)
    if samples.ndim > 2 or not 0 < (*samples.shape, 1)[1] <= MOST_CHANNELS:
        raise InputError(
            f"audio has shape {samples.shape}; give (n_samples,), or (n_samples, n_channels) with "
            f"1 to {MOST_CHANNELS} channels"
        )
    written = bytearray(encoded(samples, rate, subtype=subtype, format="WAV"))
    peak = written.find(b"PEAK", 0, WAV_HEADER)
    if peak >= 0:  # which is followed by its size, its version, and the time of writing
        written[peak + 12 : peak + 16] = bytes(4)
    return bytes(written)


def encoded(samples: Audio, sample_rate: int, **options: Any) -> bytes:
    """Return audio as the content of a sound file.

    It is written through a descriptor: in callbacks into an object of Python's, a signal that is
    to end the program would be lost, and what was to be written with it.

    Args:
        samples: Shape (n_samples,), or (n_samples, n_channels).
        sample_rate: Rate in Hz.
        **options: ``format`` and others of ``soundfile.write``.
    """
    import soundfile

    with _in_memory() as stored:
        try:
            soundfile.write(stored.fileno(), samples, sample_rate, closefd=False, **options)
        except soundfile.LibsndfileError as error:
            raise InputError(f"cannot write the sound ({error}); free memory or space") from error
        stored.seek(0)
        return stored.read()


def _in_memory() -> BinaryIO:
    in_memory = hasattr(os, "memfd_create")  # not on macOS
    file = os.fdopen(os.memfd_create("sound"), "w+b") if in_memory else tempfile.TemporaryFile()
    return cast(BinaryIO, file)


def save_audio(
    path: str | os.PathLike[str], audio: ArrayLike, sample_rate: int, subtype: str = "FLOAT"
) -> None:
    """Write audio as a WAV file, atomically.

    Args:
        path: Where to write, a name that ends in ``.wav``; an existing file is replaced only once
            the new one is whole.
        audio: Samples, shape (n_samples,), or (n_samples, n_channels).
        sample_rate: Rate in Hz.
        subtype: ``FLOAT`` or ``PCM_16``, see `wav_bytes`.

    Raises:
        InputError: The audio is not one, the name ends otherwise, or the file cannot be written,
            for example on a full disk.
    """
    file = checked_path("file", path)
    if file.suffix.lower() != ".wav":
        raise InputError(f"'{path}': WAV is what is written; give a name that ends in .wav")
    write_bytes(file, wav_bytes(audio, sample_rate, subtype))
