"""Work on many sounds side by side, each in a process of its own.

Inference takes turns between the model and the synth: while one computes, the other waits. So a
machine is filled by as many searches as it has cores, and each computes on one thread, so that
its result does not depend on what is done beside it.

The processes are forked from one that has imported what they need and has done nothing else: it
has one thread, and neither a model nor a GPU. Importing takes seconds, and half a gigabyte that
they share.
"""

import gc
import os
import pickle
import signal
import socket
import struct
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from importlib import import_module
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NoReturn, TypeAlias, TypeVar

from pyrosynth.errors import integer
from pyrosynth.synths.rendering import MOST_WORKERS, n_cores
from pyrosynth.synths.sandbox import (
    THREAD_LIMITS,
    Scratch,
    die_with_parent,
    keep_freed_memory,
    python,
)

Item = TypeVar("Item")
Result = TypeVar("Result")
Tick = Callable[[int], object]
Work: TypeAlias = Callable[[Item, Tick], Result]
Opened: TypeAlias = Callable[[int], AbstractContextManager[Work[Item, Result]]]

LEAST_RENDERS = 512  # for which it is worth to start a process: a few seconds
WORKER_RENDERS = 64  # for which it is worth to start a worker that renders: half a second
LONGEST_PATH = 4096  # bytes
PID = struct.Struct("<i")
ENDING_SECONDS = 5.0  # for a process that was interrupted to tidy up
COMMAND = f"import sys; from {__name__} import main; main(sys.argv[1:])"


def side_by_side(
    opened: Opened[Item, Result],
    items: Sequence[Item],
    n_renders: int,
    workers: int | None = None,
    tick: Callable[[int, int], object] = lambda i, n: None,
    imports: Sequence[str] = (),
) -> Iterator[tuple[int, Result | ChildProcessError]]:
    """Work on items, several at once if there are enough; the results are the same.

    Args:
        opened: Given a number of workers, returns a context whose value works on an item and
            reports how many sounds it has rendered. It travels by name, with its arguments.
        items: What to work on.
        n_renders: Number of sounds to render for each.
        workers: Processes that render, of all items together, at most; None for one per core.
        tick: Called with the position of an item and the number of sounds each time some were
            rendered for it.
        imports: Modules that the work imports late, to be imported once for all processes.

    Yields:
        Position and result of each item in the order they are finished; an error in place of the
        result if the process has ended.

    Raises:
        InputError: The number of workers is out of range.
        Exception: What opening, or the work on an item, raises.
    """
    workers = n_cores() if workers is None else integer("workers", workers, 1, MOST_WORKERS)
    worthwhile = len(items) * n_renders // LEAST_RENDERS
    n_processes = min(workers, len(items), worthwhile)
    if n_processes < 2:
        with opened(min(workers, max(1, len(items) * n_renders // WORKER_RENDERS))) as work:
            for i, item in enumerate(items):
                with _one_thread():
                    result = work(item, partial(tick, i))
                yield i, result
        return
    scratch = Scratch()
    function = scratch.path / "function"
    function.write_bytes(pickle.dumps((opened, workers // n_processes)))
    module = getattr(opened, "func", opened).__module__
    server = _ForkServer(scratch, [module, *imports])
    processes = [_Process(server, function) for _ in range(n_processes)]
    waiting = iter(enumerate(items))
    try:
        for process in processes:
            process.give(next(waiting))
        while busy := {process.connection: process for process in processes if process.busy}:
            for connection in wait([one for one in busy if one is not None]):
                process = busy[connection]  # type: ignore[index]
                i = process.at
                kind, content = process.hear()
                if kind == "tick":
                    tick(i, content)
                    continue
                if kind == "failed":
                    raise content
                process.give(next(waiting, None))
                yield i, content
    finally:
        for process in processes:
            process.interrupt()
        for process in processes:
            process.end()
        server.close()
        scratch.close()


class _ForkServer:
    """The parent's end of the process that the others are forked from.

    Args:
        scratch: What its processes end with.
        modules: What it imports before it forks.
    """

    def __init__(self, scratch: Scratch, modules: Sequence[str]) -> None:
        self._scratch, self._modules = scratch, modules
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def fork(self, function: Path) -> tuple[int, "Connection[Any, Any]"]:
        """Start a process; return its number and the connection to it, which is closed at 0."""
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._start()
        assert self._control is not None
        ours, theirs = socket.socketpair()
        with theirs, suppress(OSError):
            socket.send_fds(self._control, [os.fsencode(function)], [theirs.fileno()])
        if (pid := max(0, self._answer())) > 0:
            self._scratch.adopt(pid)
        return pid, Connection(ours.detach())

    def exit_code(self, pid: int) -> int:
        """Wait for the end of a process, or kill it; return its exit code."""
        if self._control is None or not pid:
            return -signal.SIGKILL
        with suppress(OSError):
            self._control.send(PID.pack(pid))
            if not wait([self._control], ENDING_SECONDS):
                _signalled(pid, signal.SIGKILL)
        code = self._answer()
        self._scratch.release(pid)
        return code

    def close(self) -> None:
        """End it, and with it all that it has forked."""
        if self._process is None or self._control is None:
            return
        self._control.close()
        self._process.kill()
        self._process.wait()
        self._scratch.release(self._process.pid)
        self._process = self._control = None

    def _answer(self) -> int:
        """Read a number; that of a kill if it has ended, and all that it has forked with it."""
        assert self._control is not None
        content = b""
        with suppress(OSError):
            content = self._control.recv(PID.size)
        if not content:
            self.close()  # the next fork is of a new one
            return -signal.SIGKILL
        return int(PID.unpack(content)[0])

    def _start(self) -> None:
        self._control, theirs = socket.socketpair()
        in_main = threading.current_thread() is threading.main_thread()
        numbers = [theirs.fileno(), os.getpid() if in_main else 0]
        paths = [path or os.getcwd() for path in sys.path]
        with theirs:
            self._process = subprocess.Popen(
                [*python(), "-P", "-c", COMMAND, *map(str, numbers), *self._modules],
                env={
                    **os.environ,
                    **dict.fromkeys(THREAD_LIMITS, "1"),
                    "PYTHONPATH": os.pathsep.join(paths),
                },
                pass_fds=numbers[:1],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is the parent's business
            )
        self._scratch.adopt(self._process.pid)


class _Process:
    """The parent's end of a process that works on items.

    Attributes:
        at: Position of the item it works on.
        busy: Whether it works on one.
        connection: Where its messages come from.
    """

    def __init__(self, server: _ForkServer, function: Path) -> None:
        self._server, self._function = server, function
        self._pid = 0
        self.connection: Connection[Any, Any] | None = None
        self.at, self.busy = -1, False

    def give(self, numbered: tuple[int, Any] | None) -> None:
        """Hand over an item and its position; None if there is none."""
        self.busy = numbered is not None
        if numbered is None:
            return
        self.at, item = numbered
        if self.connection is not None and self.connection.poll():  # it has ended
            self.end()
        if self.connection is None:
            self._pid, self.connection = self._server.fork(self._function)
        with suppress(OSError):  # it ends; ``hear`` finds out
            self.connection.send(item)

    def hear(self) -> tuple[str, Any]:
        """Return the next message: ``tick``, ``done`` or ``failed``, and what belongs to it."""
        assert self.connection is not None
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            code = self.end()
            cause = f"signal {-code}" if code < 0 else f"exit code {code}"
            return "done", ChildProcessError(
                f"its process has ended ({cause}), perhaps for want of memory; try it alone, or "
                "with fewer workers"
            )

    def interrupt(self) -> None:
        """Ask it to tidy up and end."""
        if self.connection is not None:
            _signalled(self._pid, signal.SIGTERM)

    def end(self) -> int:
        """Wait for its end, or kill it; return its exit code."""
        if self.connection is None:
            return 0
        code = self._server.exit_code(self._pid)
        self.connection.close()
        self.connection = None
        return code


def _signalled(pid: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        if pid:
            os.kill(pid, number)


def main(arguments: list[str]) -> None:
    """Fork processes for the parent, until it closes the connection.

    Each request is answered by a number: the path of a function and a descriptor by that of the
    process forked to work with them, the number of such a process by its exit code when it ends.

    Args:
        arguments: Descriptor of the connection; number of the process to end with, or 0; modules
            to import first.
    """
    number, parent = map(int, arguments[:2])
    if parent:
        die_with_parent(parent)
    os.set_inheritable(number, False)
    control = socket.socket(fileno=number)
    keep_freed_memory()
    for module in arguments[2:]:
        with suppress(ImportError):  # whoever needs it says so
            import_module(module)
    gc.collect()
    gc.freeze()  # what a forked child does not collect, it need not copy
    while True:
        content, descriptors, _, _ = socket.recv_fds(control, LONGEST_PATH, 1)
        if not content:
            return
        if descriptors:
            pid = _forked(control, content, *descriptors)
        else:
            (pid,) = PID.unpack(content)
            try:
                pid = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            except ChildProcessError:  # one of another server, which it has ended with
                pid = -signal.SIGKILL
        control.send(PID.pack(pid))


def _forked(control: socket.socket, function: bytes, descriptor: int) -> int:
    """Fork a process that works on items; return its number, 0 if there can be no more."""
    parent, pid = os.getpid(), 0
    with suppress(OSError):
        if (pid := os.fork()) == 0:
            control.close()
            _be_process(function, descriptor, parent)
        os.setpgid(pid, pid)  # here too, so that it is one when its number is known
    os.close(descriptor)
    return pid


def _be_process(function: bytes, descriptor: int, parent: int) -> NoReturn:
    """Work on items until the parent closes the connection or interrupts."""
    try:
        die_with_parent(parent)
        os.setpgid(0, 0)  # a group that can be killed with all that it starts
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # tidies up
        _work(Connection(descriptor), function)
    except (KeyboardInterrupt, EOFError, BrokenPipeError, ConnectionResetError):
        pass
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)  # at once; all contexts have been left


def _work(connection: Connection, function: bytes) -> None:
    with open(function, "rb") as file:
        opened, workers = pickle.load(file)
    try:
        with opened(workers) as work:
            while True:
                item = connection.recv()
                connection.send(("done", work(item, lambda n: connection.send(("tick", n)))))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        raise
    except Exception as error:
        error.add_note(traceback.format_exc())
        connection.send(("failed", error))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch compute on one thread, as in the processes."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
