"""What a command needs of its process: streams, signals, a place for caches, and a quick end."""

import atexit
import io
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn, TextIO

from pyrosynth.cli.options import complain
from pyrosynth.errors import InputError, PyrosynthError

TIDYING_SECONDS = 5.0  # after a signal
received: list[int] = []  # numbers of the signals that have ended the command


class _Log(io.TextIOWrapper):
    """Standard error: where its disk is full, that costs what it says, not the work."""

    def write(self, text: str) -> int:
        with suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            super().flush()


def log_if_possible() -> None:
    """Let nothing fail because standard error cannot be written."""
    log = sys.stderr
    if log is sys.__stderr__ and isinstance(log, io.TextIOWrapper):  # which lives on with it
        sys.stderr = _Log(log.buffer, log.encoding, log.errors, line_buffering=True)


def open_standard_streams() -> None:
    """Give the standard streams that are closed a place, so that no file takes their numbers."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r+", encoding="utf-8"))  # for good
    for stream in (sys.stdout, sys.stderr):  # where a locale has no such character
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def require_working_folder() -> None:
    """Make sure that the folder one works in is there: libraries end the program where it is not.

    Raises:
        InputError: It was deleted, or may not be read.
    """
    try:
        os.getcwd()
    except OSError as error:
        raise InputError(
            f"the working folder cannot be read ({error.strerror}); change to another, such as by "
            "`cd`, and run the command again"
        ) from error


def require_docstrings() -> None:
    """Make sure that Python keeps docstrings, which Pyro reads when it is imported.

    Raises:
        InputError: It leaves them out.
    """
    if sys.flags.optimize > 1:
        raise InputError(
            "Python leaves docstrings out (-OO, or PYTHONOPTIMIZE=2), without which Pyro cannot "
            "be imported; run the command without that"
        )


def end_by_signals() -> None:
    """Let a terminal that closes (SIGHUP) and SIGTERM end the command as Ctrl-C does.

    So what it has begun is tidied up, and a further one changes nothing for a while; after that
    it does, since a library may have lost the first, as where it calls Python from C. A signal
    that is ignored, as under ``nohup``, stays so.
    """
    first = float("-inf")

    def end(number: int, frame: Any) -> None:
        nonlocal first
        if time.monotonic() < first + TIDYING_SECONDS:
            return
        first = time.monotonic()
        received.append(number)
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, end)


def leave(code: int) -> None:
    """End the program without taking apart all that it has imported: half a second with torch.

    What was registered for the end of the program runs. It is left to the interpreter where a
    thread is still at work, or where not all could be written.
    """
    working = (thread for thread in threading.enumerate() if not thread.daemon)
    if any(thread is not threading.main_thread() for thread in working):
        return
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        return
    os._exit(code)


def run_program(main: Callable[[], int | None]) -> NoReturn:
    """Run a program that uses the package, such as a benchmark, and end with its exit code.

    A mistake that one can put right is told in one line, with the exit code 2, as by a command.
    """
    try:
        code = main()
    except PyrosynthError as error:
        complain(str(error))
        code = 2
    sys.exit(code)


def draw_alike() -> None:
    """Let pictures be drawn into files, and alike for everybody, whatever matplotlib is set to.

    What people set for figures of their own may need a window, or a LaTeX that is not there.
    """
    os.environ |= {"MPLBACKEND": "agg", "MATPLOTLIBRC": os.devnull}


def place_torch_cache() -> None:
    """Give torch's compiler a folder in the user's cache, where one can be made.

    Optimisers import the compiler, and that makes a folder at once, for good: by default among the
    temporary files.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = Path(cache) / "pyrosynth" / "torch"
    with suppress(OSError):
        there = next(parent for parent in (folder, *folder.parents) if parent.exists())
        if folder.is_absolute() and os.access(there, os.W_OK | os.X_OK):
            os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder))


@contextmanager
def progress_as_lines() -> Iterator[None]:
    """Where progress goes to a file, write a line for every tenth instead of moving bars."""
    if sys.stderr.isatty():
        yield
        return
    from tqdm.std import tqdm

    def printer(file: TextIO) -> Callable[[str], None]:
        said = -1

        def say(bar: str) -> None:
            nonlocal said
            share = re.search(r"(\d+)%", bar)
            tenth = int(share[1]) // 10 if share else 0
            if tenth > said:
                said = tenth
                print(bar.strip(), file=file, flush=True)

        return say

    before, moveto = tqdm.status_printer, tqdm.moveto
    tqdm.status_printer = staticmethod(printer)
    tqdm.moveto = lambda bar, lines: None  # from one bar to another, by codes of a terminal
    try:
        yield
    finally:
        tqdm.status_printer, tqdm.moveto = staticmethod(before), moveto
