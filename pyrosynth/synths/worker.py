"""Start a worker process, watch it, and replace it when it ends or has to be ended.

Plugins crash, hang and leak, so they run only in workers, and the parent does the watching: a
worker is killed, with all that the plugin started, if it stays at one sound for too long or sends
what is no message. Another worker then goes on in the same slot. A sound has failed if its worker
ended at it and had done nothing before; otherwise an earlier sound may have done the damage, and
it is tried again. Of several sounds that are rendered at once, none is known to have done it: they
are tried again one after the other.
"""

import fcntl
import mmap
import os
import pickle
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyrosynth.audio.note import Note
from pyrosynth.errors import LONGEST, SynthError
from pyrosynth.synths.sandbox import (
    THREAD_LIMITS,
    Scratch,
    has_ended,
    kill_all,
    private_home,
    python,
    seconds_of_work,
    size_below,
    starves,
)
from pyrosynth.synths.worker_process import (
    BATCH_SIZE,
    CRASHED,
    FINE,
    HEADER,
    LONGEST_TEXT,
    READY,
    REQUEST,
    SLOTS,
    TIMED_OUT,
    Slot,
    WorkerSettings,
    main,
    unpacked,
)

ENDING_SECONDS = 0.25  # between the end of a process's connection and its own
START_SECONDS = 120.0  # imports and the synth's own loading, on a busy machine
PATIENCE = 20  # times the time allowed, for a sound whose process is not given a core
MOST_LEFT = 2**26  # bytes of files that a plugin may leave behind before its process is renewed
MOST_STARTS = 4  # in a row of which none gets as far as a sound
MOST_KILLS = 3  # from outside at one sound, as for want of memory, before it counts as crashed
HIGH_DESCRIPTOR = 700  # far above what plugins open, and close or write to by mistake
COMMAND = f"import sys; from {main.__module__} import main; main(sys.argv[1:])"


@dataclass
class _Batch:
    """A batch in work: where it lies, and how far dead workers came with it."""

    key: Any
    slot: int
    values: NDArray[np.float64]
    note: Note
    together: bool  # rendered at once; else one sound after the other
    start: int = 0
    kills: int = 0
    blamed: bool = False  # whether the sound to start with may have broken what plays it


class Worker:
    """The parent's end of a worker process, which is replaced whenever it ends or has to.

    Args:
        settings: What it renders.
        scratch: Under its folder the plugin finds its home.
    """

    def __init__(self, settings: WorkerSettings, scratch: Scratch) -> None:
        """Lay out the shared memory; the process starts with the first batch."""
        self._settings, self._scratch = settings, scratch
        self._errors, self._pickled, self._shared = (_nameless_file() for _ in range(3))
        self._pickled.write(pickle.dumps(settings))
        size = SLOTS * Slot.n_bytes(settings)
        self._shared.truncate(size)
        memory = mmap.mmap(self._shared.fileno(), size)
        self.slots = [Slot(settings, memory, number) for number in range(SLOTS)]
        self._process: subprocess.Popen[bytes] | None = None
        self._home = ""
        self._loaded_bytes: int | None = None  # in the home when the first batch was finished
        self._socket: socket.socket | None = None
        self._handle: int | None = None  # becomes readable when the process ends; Linux only
        self._batches: list[_Batch] = []  # in working order
        self._free = list(range(SLOTS))
        self._is_new = True  # the process has finished no batch yet
        self.plays = self.has_played = False  # the process, or any of before, has given a sound
        self.n_saved = 0  # sounds since then that it had lost, and another worker has given
        self._starts = 0  # since a sound was begun
        self._seen: tuple[int, int] | None = None  # slot and sound when the parent looked last
        self._since, self._worked = 0.0, 0.0  # when that was, and what the process had worked

    @property
    def pid(self) -> int | None:
        """Number of the process, None if there is none."""
        return None if self._process is None else self._process.pid

    @property
    def n_batches(self) -> int:
        """Number of batches it holds."""
        return len(self._batches)

    @property
    def handles(self) -> list[Any]:
        """What becomes readable when there is something to ``take``."""
        return [handle for handle in (self._socket, self._handle) if handle is not None]

    def give(self, key: Any, values: NDArray[np.float64], note: Note | None = None) -> None:
        """Hand over a batch.

        Args:
            key: What to recognise it by.
            values: Native parameter values, shape (n, n_params) with n up to `BATCH_SIZE`.
            note: Another note than that of the settings, of the same length.
        """
        settings = self._settings
        batch = _Batch(key, self._free.pop(), values, note or settings.note, settings.batched)
        self.slots[batch.slot].reason[:] = FINE
        self._batches.append(batch)
        if self._process is None:
            self._start()
        else:
            self._send(batch)

    def take(self) -> tuple[Any, Slot, int] | None:
        """See what the process has done, without waiting; replace it if it ended or is late.

        Returns:
            Key, slot and size of a finished batch, to be read before the next ``give``, or None.

        Raises:
            SynthError: The synth does not load, or something but a sound failed.
        """
        assert self._socket is not None
        assert self._process is not None
        try:
            message = self._socket.recv(HEADER.size + LONGEST_TEXT, socket.MSG_DONTWAIT)
        except BlockingIOError:
            if has_ended(self._process):
                self._recover(CRASHED)
            elif self._is_late():
                self._recover(TIMED_OUT)
            return None
        except OSError:
            message = b""
        kind, number, text = unpacked(message)
        batch = self._batches[0]
        if kind != READY or number != batch.slot:
            if not message:  # the process is ending, if it did not merely close its connection
                has_ended(self._process, ENDING_SECONDS)
            self._recover(CRASHED, text)
            return None
        self._is_new, self._starts, self._seen = False, 0, None
        slot, n = self.slots[batch.slot], len(batch.values)
        if np.setdiff1d(np.arange(batch.start, n), slot.lost(n)).size:
            self.plays, self.has_played, self.n_saved = True, True, 0
        self._errors.seek(0)  # for the process too: some plugins complain at every sound
        self._errors.truncate()
        self._free.append(batch.slot)
        self._batches.pop(0)
        self._renew_if_it_litters()
        return batch.key, slot, n

    @property
    def keys(self) -> list[Any]:
        """Keys of the batches it holds."""
        return [batch.key for batch in self._batches]

    @property
    def n_lost(self) -> int:
        """Number of sounds of the batch in work at which a process ended or was late."""
        return len(self.slots[self._batches[0].slot].lost(BATCH_SIZE)) if self._batches else 0

    def hand_back(self) -> list[tuple[Any, NDArray[np.float64], NDArray[np.intp]]]:
        """End the process; return key and values of its batches, and which sounds were lost."""
        given = [
            (batch.key, batch.values, self.slots[batch.slot].lost(len(batch.values)))
            for batch in self._batches
        ]
        self.stop()
        return given

    def stop(self) -> None:
        """End the process and drop its batches."""
        self._end()
        self._batches, self._free = [], list(range(SLOTS))

    def close(self) -> None:
        """End the process and let go of the memory."""
        self.stop()
        for file in (self._errors, self._pickled, self._shared):
            file.close()

    def _start(self) -> None:
        self._scratch.path.mkdir(exist_ok=True)  # a cleaner of temporary files may have removed it
        self._home = tempfile.mkdtemp(dir=self._scratch.path)
        kind = socket.SOCK_SEQPACKET if sys.platform == "linux" else socket.SOCK_DGRAM
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, kind)
        end = _moved_up(theirs.detach())
        self._pickled.seek(0)
        self._errors.seek(0)
        self._errors.truncate()
        paths = map(os.path.abspath, sys.path)
        # The kernel would end it with this thread, so only the main thread asks for that; if
        # another one starts it, the guard of the scratch folder suffices.
        in_main = threading.current_thread() is threading.main_thread()
        numbers = [end, self._shared.fileno(), os.getpid() if in_main else 0]
        self._process = subprocess.Popen(
            [*python(), "-P", "-c", COMMAND, *map(str, numbers)],
            env={
                **os.environ,
                **private_home(self._home),
                **dict.fromkeys(THREAD_LIMITS, "1"),
                "PYTHONPATH": os.pathsep.join(paths),
            },
            pass_fds=numbers[:2],
            stdin=self._pickled,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            start_new_session=True,  # Ctrl-C is the parent's business
        )
        os.close(end)
        self._scratch.adopt(self._process.pid)
        with suppress(AttributeError, OSError):
            self._handle = os.pidfd_open(self._process.pid)
        self._is_new, self._seen, self._loaded_bytes = True, None, None
        self._starts += 1
        for batch in self._batches:
            self._send(batch)

    def _send(self, batch: _Batch) -> None:
        assert self._socket is not None
        slot, n = self.slots[batch.slot], len(batch.values)
        slot.values[:n], slot.at[0] = batch.values, batch.start - 1
        pressed = batch.note
        slot.note[:] = pressed.pitch, pressed.velocity, pressed.hold_seconds
        how = batch.start, batch.together, batch.blamed
        with suppress(OSError):  # it has ended; the next ``take`` finds out
            self._socket.send(REQUEST.pack(batch.slot, n, *how))

    def _is_late(self) -> bool:
        assert self._process is not None
        batch = self._batches[0]
        seen = batch.slot, int(self.slots[batch.slot].at[0])
        if seen != self._seen:
            self._seen, self._since = seen, time.monotonic()
            self._worked = seconds_of_work(self._process.pid)
        allowed = self._settings.timeout_seconds
        if batch.together:
            allowed *= len(batch.values)
        loads = self._is_new and seen[1] < batch.start
        if loads or seen[1] == len(batch.values):  # neither, nor the transform, is a sound
            allowed = START_SECONDS
        waited = time.monotonic() - self._since
        if waited <= allowed:
            return False
        # On a busy machine it may have stood in line, and would do so again.
        in_line = starves(self._process.pid, self._home, self._worked, allowed)
        return not in_line or waited > PATIENCE * allowed

    def _renew_if_it_litters(self) -> None:
        """Replace the process if the files that its plugin leaves behind fill the disk.

        What a plugin writes when it is loaded, such as a cache, does not count: a new one would
        write it too.
        """
        size = size_below(self._home)
        if self._loaded_bytes is None:
            self._loaded_bytes = size
        elif size - self._loaded_bytes > MOST_LEFT:
            self._end()
            if self._batches:
                self._start()

    def _recover(self, reason: int, text: str = "") -> None:
        """End the process, find out what that says of the sound it was at, and start another."""
        assert self._process is not None
        batch = self._batches[0]
        slot, n = self.slots[batch.slot], len(batch.values)
        at = int(slot.at[0])
        by_itself = has_ended(self._process)
        code = self._end()
        if not batch.start <= at <= n:
            if text or self._starts >= MOST_STARTS or (self._is_new and reason == TIMED_OUT):
                raise self._error(text or f"the synth does not load ({_cause(code)})")
        elif batch.together and at < n - 1:  # to find out which of them it is
            batch.start, batch.together = at, False
        elif by_itself and code == -signal.SIGKILL and batch.kills < MOST_KILLS - 1:
            batch.start, batch.kills = at, batch.kills + 1
        elif not (self._is_new and at == batch.start) and (reason == CRASHED or at == n):
            batch.start, batch.blamed = at, False
        elif text and at < n and not batch.blamed:
            batch.start, batch.blamed, batch.together = at, True, False
        elif at == n or text:
            raise self._error(text or f"the process ends after the sounds ({_cause(code)})")
        else:
            slot.audio[at], slot.reason[at] = 0.0, reason
            batch.start, batch.blamed, batch.kills, self._starts = at + 1, False, 0, 0
        self._start()

    def _end(self) -> int:
        """Kill the process and what the plugin started; return its exit code."""
        self.plays = False
        if self._process is None or self._socket is None:
            return 0
        code = kill_all(self._process, self._home)
        self._scratch.release(self._process.pid)
        self._socket.close()
        if self._handle is not None:
            os.close(self._handle)
        self._process = self._socket = self._handle = None
        return code

    def _error(self, text: str) -> SynthError:
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        room = min(120, LONGEST - len(text) - 30)  # what is to be done must not be cut off
        last = f"; {lines[-1][:room]}" if room > 0 and lines and lines[-1] not in text else ""
        self.stop()
        return SynthError(f"rendering failed: {text}{last}")


def close_all(workers: Sequence[Worker], scratch: Scratch, process: int) -> None:
    """End workers and what guards them.

    Args:
        workers: The workers.
        scratch: Theirs.
        process: Number of the process that has started them; one forked from it leaves them be.
    """
    if os.getpid() == process:
        for worker in workers:
            worker.close()
        scratch.close()


def _cause(code: int) -> str:
    known = -code in {int(number) for number in signal.Signals}
    return signal.Signals(-code).name if code < 0 and known else f"exit code {code}"


def _nameless_file() -> FileIO:
    """Open an empty file that nobody else sees."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("pyrosynth")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    return FileIO(_moved_up(descriptor), "r+")


def _moved_up(descriptor: int) -> int:
    """Move a descriptor away from those of the standard streams and of plugins."""
    highest = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    lowest = HIGH_DESCRIPTOR if highest < 0 else min(HIGH_DESCRIPTOR, highest // 2)
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, lowest)
    os.close(descriptor)
    return moved
