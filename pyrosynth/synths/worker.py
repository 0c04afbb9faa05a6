"""A process of its own that renders sounds: both ends of it.

Plugins crash, hang and leak, so they play only here. The parent and its worker share one block of
memory with two slots, each for a part of up to `PART` sounds, so that the next part lies ready
while one is rendered. The worker notes which sound it is at; when it dies the parent knows whose
fault it was, and a new worker goes on behind that sound in the same slot.
"""

import math
import mmap
import os
import pickle
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyrosynth.audio.io import SILENCE, Note
from pyrosynth.errors import PyrosynthError, SynthError
from pyrosynth.synths import from_spec
from pyrosynth.synths.base import Synth
from pyrosynth.synths.sandbox import private_home

PART = 16  # sounds per slot
SLOTS = 2
REASONS = ("", "crashed", "timed out", "not finite", "silent")
FINE, CRASHED, TIMED_OUT, NOT_FINITE, SILENT = range(len(REASONS))
START_SECONDS = 120.0  # imports and the synth's own loading, on a busy machine
COMMAND = f"import sys; from {__name__} import main; main(sys.argv[1:])"
THREAD_LIMITS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)

Transform = Callable[[NDArray[np.float32]], NDArray[Any]]


@dataclass(frozen=True)
class Job:
    """What a worker does all its life.

    Args:
        spec: The synth, as its ``spec`` gives it.
        note: What to play.
        sample_rate: Rate in Hz.
        timeout_seconds: Time for one sound.
        transform: Turns audio (n, n_samples) into features (n, ...); None for none.
        n_params: Number of parameters of the synth.
        feature_shape: Shape of the features of one sound.
        feature_dtype: Their NumPy type.
    """

    spec: dict[str, Any]
    note: Note
    sample_rate: int
    timeout_seconds: float
    transform: Transform | None
    n_params: int
    feature_shape: tuple[int, ...]
    feature_dtype: str


class Slot:
    """The arrays of one part, laid out in shared memory.

    Attributes:
        at: Which sound is being rendered, shape (1,); -1 before the first, the number of sounds
            behind the last.
        reason: Index into `REASONS` of each sound, shape (PART,).
        values: Native parameter values, shape (PART, n_params).
        audio: Sounds, shape (PART, n_samples).
        features: Their features, shape (PART, ...).
    """

    def __init__(self, job: Job, memory: mmap.mmap, number: int) -> None:
        """View the slot of that number in the memory."""
        offset = number * self.n_bytes(job)
        arrays: list[NDArray[Any]] = []
        for shape, dtype in self._layout(job):
            arrays.append(np.ndarray(shape, dtype, memory, offset))
            offset += _padded(shape, dtype)
        self.at, self.reason, self.values, self.audio, self.features = arrays

    @classmethod
    def n_bytes(cls, job: Job) -> int:
        """Return the size of a slot."""
        return sum(_padded(shape, dtype) for shape, dtype in cls._layout(job))

    @staticmethod
    def _layout(job: Job) -> list[tuple[tuple[int, ...], str]]:
        return [
            ((1,), "int64"),
            ((PART,), "uint8"),
            ((PART, job.n_params), "float64"),
            ((PART, job.note.n_samples(job.sample_rate)), "float32"),
            ((PART, *job.feature_shape), job.feature_dtype),
        ]


def _padded(shape: tuple[int, ...], dtype: str) -> int:
    return -(-math.prod(shape) * np.dtype(dtype).itemsize // 64) * 64


class Worker:
    """The parent's end of a worker process, restarted whenever it dies.

    Args:
        job: What it renders.
        home: Empty folder under which the plugin finds its home.
    """

    def __init__(self, job: Job, home: Path) -> None:
        """Lay out the shared memory; the process starts with the first part."""
        self._job, self._home = job, home
        if hasattr(os, "memfd_create"):
            self._file = os.fdopen(os.memfd_create("pyrosynth"), "r+b")
        else:
            self._file = tempfile.TemporaryFile("r+b")
        size = SLOTS * Slot.n_bytes(job)
        self._file.truncate(size)
        memory = mmap.mmap(self._file.fileno(), size)
        self.slots = [Slot(job, memory, number) for number in range(SLOTS)]
        self.connection: Connection | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._errors = tempfile.TemporaryFile()
        self._free = list(range(SLOTS))
        self._parts: list[tuple[Any, int, int]] = []  # key, slot and size, in working order
        self._vain_starts = 0

    @property
    def pid(self) -> int | None:
        """Number of the process, None before it starts."""
        return None if self._process is None else self._process.pid

    @property
    def n_parts(self) -> int:
        """Number of parts it holds."""
        return len(self._parts)

    def give(self, key: Any, values: NDArray[np.float64]) -> None:
        """Hand over a part.

        Args:
            key: What to recognise it by.
            values: Native parameter values, shape (n, n_params) with n up to `PART`.
        """
        number = self._free.pop()
        slot = self.slots[number]
        slot.values[: len(values)], slot.reason[:], slot.at[0] = values, FINE, -1
        self._parts.append((key, number, len(values)))
        if self._process is None:
            self._start()
        else:
            self._send(number, len(values), 0)

    def take(self) -> tuple[Any, Slot, int] | None:
        """Receive the message that ``connection`` is ready to give.

        Returns:
            Key, slot and size of a finished part, to be read before the next ``give``; None if
            the worker died and goes on in a new process.

        Raises:
            SynthError: The synth does not load, or something but a sound failed.
        """
        assert self.connection is not None
        try:
            message = self.connection.recv()
        except (EOFError, OSError):
            self._recover()
            return None
        if message is not None:
            self.stop()
            raise SynthError(f"rendering failed: {message}")
        self._vain_starts = 0
        key, number, size = self._parts.pop(0)
        self._free.append(number)
        return key, self.slots[number], size

    def stop(self) -> None:
        """End the process and drop its parts."""
        if self._process is not None and self.connection is not None:
            self.connection.close()
            if self._parts:
                self._process.kill()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self.connection, self._process = None, None
        self._parts, self._free = [], list(range(SLOTS))

    def close(self) -> None:
        """End the process and let go of the memory."""
        self.stop()
        self._file.close()
        self._errors.close()

    def _start(self) -> None:
        self._home.mkdir(exist_ok=True)  # the last worker to end removes it
        home = tempfile.mkdtemp(dir=self._home)
        self.connection, child_end = Pipe()
        numbers = [child_end.fileno(), self._file.fileno()]
        paths = [path or os.getcwd() for path in sys.path]
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", COMMAND, *map(str, numbers), home],
            env={
                **os.environ,
                **private_home(home),
                **dict.fromkeys(THREAD_LIMITS, "1"),
                "PYTHONPATH": os.pathsep.join(paths),
            },
            pass_fds=numbers,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            start_new_session=True,  # Ctrl-C is the parent's business
        )
        child_end.close()
        self._vain_starts += 1
        self._write(pickle.dumps(self._job))
        for _, number, size in self._parts:
            self._send(number, size, int(self.slots[number].at[0]) + 1)

    def _send(self, number: int, size: int, start: int) -> None:
        self._write(pickle.dumps((number, size, start)))

    def _write(self, message: bytes) -> None:
        assert self.connection is not None
        try:
            self.connection.send_bytes(message)
        except OSError:
            pass  # it died; the next ``take`` finds out

    def _recover(self) -> None:
        assert self._process is not None
        assert self.connection is not None
        code = self._process.wait()
        self.connection.close()
        _, number, size = self._parts[0]
        slot = self.slots[number]
        at = int(slot.at[0])
        killed = code == -signal.SIGKILL  # from outside, as for want of memory: play it again
        if self._vain_starts > 3 or (at >= size and not killed):
            self.stop()
            raise SynthError(
                f"the process that renders ends again and again (exit code {code}"
                f"{self._last_words()}); try another isolation, or fewer workers"
            )
        if at >= 0 and killed:
            slot.at[0] = at - 1
        elif at >= 0:
            slot.audio[at] = 0.0
            slot.reason[at] = TIMED_OUT if code == -signal.SIGALRM else CRASHED
            self._vain_starts = 0
        self._start()

    def _last_words(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        return f"; {lines[-1]}" if lines else ""


def main(arguments: list[str]) -> None:
    """Be a worker: read parts and render them until the parent closes the connection.

    Args:
        arguments: File descriptors of the connection and of the shared memory, and the home
            folder, which is removed at the end.
    """
    connection, home = Connection(int(arguments[0])), arguments[2]
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # the alarm ends even a plugin that loops
    try:
        signal.setitimer(signal.ITIMER_REAL, START_SECONDS)
        job: Job = pickle.loads(connection.recv_bytes())
        memory = mmap.mmap(int(arguments[1]), SLOTS * Slot.n_bytes(job))
        slots = [Slot(job, memory, number) for number in range(SLOTS)]
        synth = from_spec(job.spec)
        while True:
            signal.setitimer(signal.ITIMER_REAL, 0)
            number, size, start = pickle.loads(connection.recv_bytes())
            _render_part(job, synth, slots[number], size, start, connection)
            connection.send(None)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the parent is gone or wants no more
    except PyrosynthError as error:
        connection.send(str(error))
    except Exception as error:
        traceback.print_exc()
        connection.send(f"{type(error).__name__}: {error}")
    finally:
        shutil.rmtree(home, ignore_errors=True)
        try:
            os.rmdir(os.path.dirname(home))  # the last one out of a killed parent's workers
        except OSError:
            pass


def _render_part(
    job: Job, synth: Synth, slot: Slot, size: int, start: int, connection: Connection
) -> None:
    parent = select.poll()
    parent.register(connection.fileno(), 0)
    step = size if synth.batched else 1
    for first in range(start, size, step):
        if parent.poll(0):
            raise EOFError
        last = min(first + step, size)
        slot.at[0] = first
        signal.setitimer(signal.ITIMER_REAL, job.timeout_seconds * (last - first))
        try:
            slot.audio[first:last] = synth.render_batch(
                slot.values[first:last], job.note, job.sample_rate
            )
        except SynthError:
            slot.audio[first:last], slot.reason[first:last] = 0.0, CRASHED
            continue
        peak = np.abs(slot.audio[first:last]).max(axis=1)
        slot.reason[first:last] = np.where(peak < SILENCE, SILENT, FINE)
        bad = np.flatnonzero(~np.isfinite(peak)) + first
        slot.audio[bad], slot.reason[bad] = 0.0, NOT_FINITE
    slot.at[0] = size
    signal.setitimer(signal.ITIMER_REAL, 0)
    if job.transform is not None:
        slot.features[:size] = job.transform(slot.audio[:size])
        failed = (slot.reason[:size] != FINE) & (slot.reason[:size] != SILENT)
        slot.features[:size][failed] = 0
    if os.fstat(2).st_size > 1_000_000:  # some plugins complain at every sound
        os.ftruncate(2, 0)
        os.lseek(2, 0, os.SEEK_SET)
