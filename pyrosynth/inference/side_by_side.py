"""Work on many sounds side by side, each in a process of its own.

Inference takes turns between the model and the synth: while one computes, the other waits. So a
machine is filled by as many searches as it has cores, and each computes on one thread, so that
its result does not depend on what is done beside it.
"""

import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from pyrosynth.errors import integer
from pyrosynth.synths.rendering import MOST_WORKERS, n_cores
from pyrosynth.synths.sandbox import PYTHON, THREAD_LIMITS, Scratch, die_with_parent

Item = TypeVar("Item")
Result = TypeVar("Result")
Tick = Callable[[int], object]
Work: TypeAlias = Callable[[Item, Tick], Result]
Opened: TypeAlias = Callable[[int], AbstractContextManager[Work[Item, Result]]]

LEAST_RENDERS = 512  # for which it is worth to start a process: a few seconds
WORKER_RENDERS = 64  # for which it is worth to start a worker that renders: half a second
ENDING_SECONDS = 5.0  # for a process that was interrupted to tidy up
COMMAND = f"import sys; from {__name__} import main; main(sys.argv[1:])"


def side_by_side(
    opened: Opened[Item, Result],
    items: Sequence[Item],
    n_renders: int,
    workers: int | None = None,
    tick: Callable[[int, int], object] = lambda i, n: None,
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
    processes = [_Process(scratch, function) for _ in range(n_processes)]
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
        scratch.close()


class _Process:
    """The parent's end of a process that works on items.

    Attributes:
        at: Position of the item it works on.
        busy: Whether it works on one.
        connection: Where its messages come from.
    """

    def __init__(self, scratch: Scratch, function: Path) -> None:
        self._scratch, self._function = scratch, function
        self._process: subprocess.Popen[bytes] | None = None
        self.connection: Connection[Any, Any] | None = None
        self.at, self.busy = -1, False

    def give(self, numbered: tuple[int, Any] | None) -> None:
        """Hand over an item and its position; None if there is none."""
        self.busy = numbered is not None
        if numbered is None:
            return
        self.at, item = numbered
        if self._process is not None and self._process.poll() is not None:
            self.end()
        if self.connection is None:
            self._start()
        assert self.connection is not None
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
        if self._process is not None:
            self._process.terminate()

    def end(self) -> int:
        """Wait for its end, or kill it; return its exit code."""
        if self._process is None or self.connection is None:
            return 0
        try:
            code = self._process.wait(ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._scratch.release(self._process.pid)
        self.connection.close()
        self._process = self.connection = None
        return code

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        self.connection = Connection(ours.detach())
        in_main = threading.current_thread() is threading.main_thread()
        numbers = [theirs.fileno(), os.getpid() if in_main else 0]
        paths = [path or os.getcwd() for path in sys.path]
        with theirs, self._function.open("rb") as function:
            self._process = subprocess.Popen(
                [*PYTHON, "-P", "-c", COMMAND, *map(str, numbers)],
                env={
                    **os.environ,
                    **dict.fromkeys(THREAD_LIMITS, "1"),
                    "PYTHONPATH": os.pathsep.join(paths),
                },
                pass_fds=numbers[:1],
                stdin=function,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is the parent's business
            )
        self._scratch.adopt(self._process.pid)


def main(arguments: list[str]) -> None:
    """Be a process that works on items until the parent closes the connection or interrupts.

    Args:
        arguments: Descriptor of the connection; number of the process to end with, or 0.
    """
    number, parent = map(int, arguments)
    if parent:
        die_with_parent(parent)
    os.set_inheritable(number, False)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # tidies up
    try:
        _work(Connection(number))
    except (KeyboardInterrupt, EOFError, BrokenPipeError, ConnectionResetError):
        pass
    finally:
        os._exit(0)  # at once; all contexts have been left


def _work(connection: Connection) -> None:
    with open(0, "rb", closefd=False) as file:
        opened, workers = pickle.load(file)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
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
