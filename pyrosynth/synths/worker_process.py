"""The program of a worker process: render batches of sounds into shared memory.

Parent and worker share memory with two slots, each for a batch of up to `BATCH_SIZE` sounds, so
that the next batch lies ready while one is rendered. Small messages say which slot is to be
rendered and which is ready. What comes from a worker is plain bytes, since a plugin may write
anything anywhere; nothing of it is unpickled.
"""

import ctypes
import gc
import math
import mmap
import os
import pickle
import socket
import struct
import traceback
import zlib
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyrosynth.audio.io import SILENCE
from pyrosynth.audio.note import Note
from pyrosynth.errors import PyrosynthError, SynthError
from pyrosynth.synths import from_spec
from pyrosynth.synths.base import Synth
from pyrosynth.synths.contract import failure
from pyrosynth.synths.sandbox import (
    adopt_orphans,
    die_with_parent,
    keep_freed_memory,
    limit_resources,
)

BATCH_SIZE = 16  # sounds per slot
SLOTS = 2
REASONS = ("", "crashed", "timed out", "not finite", "silent")
FINE, CRASHED, TIMED_OUT, NOT_FINITE, SILENT = range(len(REASONS))
# Slot, number of sounds, first to render, whether all at once, whether the first is blamed.
REQUEST = struct.Struct("<BBB??")
HEADER = struct.Struct("<IIBB")  # length and CRC-32 of the text, kind, slot
READY, FAILED = 1, 2  # kinds of message: a slot is rendered; the worker ends, the text says why
LONGEST_TEXT = 2000  # bytes

FAILURES = Exception, SystemExit  # of the code of a synth

Memory = mmap.mmap | memoryview
Transform = Callable[[NDArray[np.float32]], NDArray[Any]]


@dataclass(frozen=True)
class WorkerSettings:
    """What all batches of a worker have in common.

    Args:
        spec: The synth, as its ``spec`` gives it.
        told: What its plugin has told the parent of itself.
        identity: Of the synth that the parent has, which is what is to be played.
        batched: Whether the synth renders all sounds of a batch at once.
        note: What to play; a batch may ask for another of the same length.
        sample_rate: Rate in Hz.
        timeout_seconds: Time for one sound.
        transform: Turns audio (n, n_samples) into features (n, ...); None for none.
        n_params: Number of parameters of the synth.
        feature_shape: Shape of the features of one sound.
        feature_dtype: Their NumPy type.
    """

    spec: dict[str, Any]
    told: Mapping[str, Any]
    identity: str
    batched: bool
    note: Note
    sample_rate: int
    timeout_seconds: float
    transform: Transform | None
    n_params: int
    feature_shape: tuple[int, ...]
    feature_dtype: str


class Slot:
    """The arrays of one batch, laid out in shared memory.

    Attributes:
        at: Index of the sound that is being rendered, shape (1,); the number of sounds while they
            are transformed.
        reason: Index into `REASONS` of each sound, shape (BATCH_SIZE,).
        values: Native parameter values, shape (BATCH_SIZE, n_params).
        note: Pitch, velocity and seconds of hold of the note to play, shape (3,).
        audio: Sounds, shape (BATCH_SIZE, n_samples).
        features: Their features, shape (BATCH_SIZE, ...).
    """

    def __init__(self, settings: WorkerSettings, memory: Memory, number: int) -> None:
        """View the slot of that number in the memory."""
        offset = number * self.n_bytes(settings)
        arrays: list[NDArray[Any]] = []
        for shape, dtype in self._layout(settings):
            arrays.append(np.ndarray(shape, dtype, memory, offset))
            offset += _padded(shape, dtype)
        self.at, self.reason, self.values, self.note, self.audio, self.features = arrays

    def lost(self, n: int) -> NDArray[np.intp]:
        """Return at which of the first sounds a process ended or was late."""
        return np.flatnonzero(np.isin(self.reason[:n], (CRASHED, TIMED_OUT)))

    @classmethod
    def n_bytes(cls, settings: WorkerSettings) -> int:
        """Return the size of a slot."""
        return sum(_padded(shape, dtype) for shape, dtype in cls._layout(settings))

    @staticmethod
    def _layout(settings: WorkerSettings) -> list[tuple[tuple[int, ...], str]]:
        n_samples = settings.note.n_samples(settings.sample_rate)
        return [
            ((1,), "int64"),
            ((BATCH_SIZE,), "uint8"),
            ((BATCH_SIZE, settings.n_params), "float64"),
            ((3,), "float64"),
            ((BATCH_SIZE, n_samples), "float32"),
            ((BATCH_SIZE, *settings.feature_shape), settings.feature_dtype),
        ]


def _padded(shape: tuple[int, ...], dtype: str) -> int:
    return -(-math.prod(shape) * np.dtype(dtype).itemsize // 64) * 64


def packed(kind: int, slot: int, text: str = "") -> bytes:
    """Write a message of a worker."""
    content = text.encode("utf-8", "backslashreplace")[:LONGEST_TEXT]
    return HEADER.pack(len(content), zlib.crc32(content, kind), kind, slot) + content


def unpacked(message: bytes) -> tuple[int, int, str]:
    """Read a message of a worker: kind, slot and text; kind 0 if it is not whole."""
    if len(message) < HEADER.size:
        return 0, 0, ""
    length, checksum, kind, slot = HEADER.unpack_from(message)
    content = message[HEADER.size :]
    if length != len(content) or checksum != zlib.crc32(content, kind):
        return 0, 0, ""
    return kind, slot, content.decode("utf-8", "replace")


def main(arguments: list[str]) -> None:
    """Be a worker: render batches until the parent closes the connection or ends.

    Args:
        arguments: Descriptors of the connection and of the shared memory; number of the process
            to end with, or 0.
    """
    connection_number, shared_number, parent = map(int, arguments)
    if parent:
        die_with_parent(parent)
    adopt_orphans()
    keep_freed_memory()
    connection, synth = socket.socket(fileno=connection_number), None
    os.set_inheritable(connection_number, False)
    try:
        with open(0, "rb", closefd=False) as file:
            settings: WorkerSettings = pickle.load(file)
        with open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), 0)
        memory = _mapped(shared_number, SLOTS * Slot.n_bytes(settings))
        slots = [Slot(settings, memory, number) for number in range(SLOTS)]
        synth = from_spec(settings.spec, settings.told)
        require_same_synth(synth, settings.identity)
        limit_resources(synth.memory_limit)
        if synth.memory_limit is not None:  # a plugin, which may write files where it works
            os.chdir(os.environ["HOME"])
        gc.freeze()  # what a forked child does not collect, it need not copy
        is_new = True
        while request := _next_request(connection):
            number, size, start, together, blamed = REQUEST.unpack(request)
            step = size if together else 1
            if blamed:
                _blame(settings, synth, slots[number], start)
                start += 1
            _render_batch(settings, synth, slots[number], start, size, step, is_new)
            connection.send(packed(READY, number))
            is_new = False
    except FAILURES as error:
        if isinstance(error, PyrosynthError):
            text = str(error)
        else:
            text = failure(synth, error)
            with suppress(OSError):
                traceback.print_exc()
        with suppress(OSError):
            connection.send(packed(FAILED, 0, text))
    finally:
        os._exit(0)  # without what the plugin wants to do at the end


def identity_of(synth: Synth) -> str:
    """Return the identity of a synth; empty if it fails, of which its first sound tells."""
    try:
        return synth.identity()
    except KeyboardInterrupt:
        raise
    except BaseException:
        return ""


def require_same_synth(synth: Synth, identity: str) -> None:
    """Make sure that sounds of two versions of a synth do not mix.

    Raises:
        SynthError: Its identity is another one by now.
    """
    if "" not in (now := identity_of(synth), identity) and now != identity:
        raise SynthError(
            f"the synth '{synth.name}' was changed while it was played; put back what it was, or "
            "begin anew with what it is"
        )


def _next_request(connection: socket.socket) -> bytes:
    """Wait for a request; empty if the parent is gone, or a plugin has damaged the connection."""
    try:
        return connection.recv(REQUEST.size)
    except OSError:
        return b""


def _mapped(descriptor: int, size: int) -> Memory:
    """Map shared memory and close its descriptor.

    ``mmap.mmap`` would keep a copy of it open, through which a plugin that writes to descriptors
    that are not its own would write over the sounds.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    access = mmap.PROT_READ | mmap.PROT_WRITE
    address = libc.mmap(None, size, access, mmap.MAP_SHARED, descriptor, 0)
    if address == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), "cannot map the memory shared with the parent")
    os.close(descriptor)
    return memoryview((ctypes.c_char * size).from_address(address)).cast("B")


class _WrongSoundError(SynthError):
    """A synth has returned something else than the sounds that were asked for."""


def _sounds(
    synth: Synth, values: NDArray[np.float64], note: Note, sample_rate: int
) -> NDArray[np.floating]:
    """Render presets, and make sure that what comes is sounds, shape (n, n_samples)."""
    pid = os.getpid()
    try:
        # A copy, into which a synth may write: the values may be needed again.
        audio = np.asarray(synth.render_batch(values.copy(), note, sample_rate))
    finally:
        if os.getpid() != pid:
            os._exit(0)  # a child that the plugin forked
    wanted = len(values), note.n_samples(sample_rate)
    if audio.shape != wanted or audio.dtype.kind != "f":
        raise _WrongSoundError(
            f"{synth.name} returned {audio.dtype} of shape {audio.shape[1:]}; `render` has "
            f"to return floats around full scale 1, of shape {wanted[1:]}"
        )
    return audio


def _plays(synth: Synth, note: Note, sample_rate: int) -> bool:
    """Return whether a synth of one's own works at all: whether it plays its defaults."""
    try:
        _sounds(synth, synth.param_space.defaults[None], note, sample_rate)
    except FAILURES:
        return False
    return True


def _blame(settings: WorkerSettings, synth: Synth, slot: Slot, at: int) -> None:
    """Count a sound as lost with which nothing can be rendered any more, but without it can."""
    slot.at[0] = at
    _sounds(synth, synth.param_space.defaults[None], settings.note, settings.sample_rate)
    slot.audio[at], slot.reason[at] = 0.0, CRASHED


def _render_batch(
    settings: WorkerSettings,
    synth: Synth,
    slot: Slot,
    start: int,
    size: int,
    step: int,
    is_new: bool,
) -> None:
    pitch, velocity, hold = slot.note.tolist()
    note = replace(settings.note, pitch=int(pitch), velocity=int(velocity), hold_seconds=hold)
    spans = deque((first, min(first + step, size)) for first in range(start, size, step))
    while spans:
        first, last = spans.popleft()
        slot.at[0] = first
        try:
            audio = _sounds(synth, slot.values[first:last], note, settings.sample_rate)
        except FAILURES as error:
            of_plugin = isinstance(error, SynthError | MemoryError)
            of_plugin &= not isinstance(error, _WrongSoundError)
            own = synth.memory_limit is None and not of_plugin
            # At the usual note: a sampled instrument need not have another one.
            if own and not _plays(synth, settings.note, settings.sample_rate):
                raise  # a new process tells whether the class is wrong or a sound has broken it
            if last - first > 1:  # to find out which of them it is
                spans.extendleft((one, one + 1) for one in reversed(range(first, last)))
                continue
            if not own:
                if not of_plugin and not isinstance(error, OSError):
                    raise
                if synth.isolation not in ("load", "fork") and not (is_new and first == start):
                    raise  # perhaps the damage of an earlier sound: to be tried in a new process
            slot.audio[first:last], slot.reason[first:last] = 0.0, CRASHED
            continue
        slot.audio[first:last] = audio
        peak = np.abs(slot.audio[first:last]).max(axis=1)
        slot.reason[first:last] = np.where(peak < SILENCE, SILENT, FINE)
        bad = np.flatnonzero(~np.isfinite(peak)) + first
        slot.audio[bad], slot.reason[bad] = 0.0, NOT_FINITE
    slot.at[0] = size
    if settings.transform is not None:
        features = slot.features[:size]
        features[:] = settings.transform(slot.audio[:size])
        # A finite sound may be so loud that its features are not.
        slot.reason[:size][~np.isfinite(features.reshape(size, -1)).all(axis=1)] = NOT_FINITE
        features[(slot.reason[:size] != FINE) & (slot.reason[:size] != SILENT)] = 0
