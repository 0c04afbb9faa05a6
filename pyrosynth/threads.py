"""Threads that the end of a program never waits for, and Ctrl-C that waits for the main thread.

What belongs to others, such as the code of a synth's class, may never come back; what is broken
off half-way, such as an import, may never be whole.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

from pyrosynth.errors import InputError

Result = TypeVar("Result")


def in_daemon_thread(work: Callable[..., Result], *given: Any) -> "Future[Result]":
    """Do something in a thread of its own; the future holds what it returns, or raises.

    Raises:
        InputError: The system gives no more threads.
    """
    done: Future[Result] = Future()
    done.set_running_or_notify_cancel()
    try:
        threading.Thread(target=_do, args=(done, work, given), daemon=True).start()
    except RuntimeError as error:
        raise InputError(
            "the machine is short of threads; end other programs, or try again in a moment"
        ) from error
    return done


def _do(done: "Future[Result]", work: Callable[..., Result], given: tuple[Any, ...]) -> None:
    try:
        done.set_result(work(*given))
    except BaseException as error:
        ordinary = isinstance(error, Exception | SystemExit | KeyboardInterrupt)
        if isinstance(error, StopIteration) or not ordinary:  # no event loop takes these
            error = RuntimeError(repr(error)).with_traceback(error.__traceback__)
        done.set_exception(error)
    finally:
        # An error holds its frames, this one too: it would hold itself, and what was given.
        del done, work, given


@contextmanager
def collected_interrupts(patiently: bool = True) -> Iterator[list[int]]:
    """Collect Ctrl-C, so that what is done meanwhile is never left half done.

    So are SIGTERM and SIGHUP where the handler that the program has for them, which is called,
    raises KeyboardInterrupt.

    Args:
        patiently: Whether a second Ctrl-C waits too; else it stops at once.

    Yields:
        The signals so far; always empty in another thread than the main one, which hears none.
    """
    pressed: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            if pressed and not patiently:
                raise KeyboardInterrupt
        else:
            try:
                before[number](number, frame)
            except KeyboardInterrupt:  # which is for later
                pass
            else:  # one that only notes it, and goes on
                return
        pressed.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield pressed
        return
    before: dict[int, Any] = {signal.SIGINT: signal.signal(signal.SIGINT, note)}
    for number in (signal.SIGTERM, signal.SIGHUP):
        if callable(signal.getsignal(number)):
            before[number] = signal.signal(number, note)
    try:
        yield pressed
    finally:
        for caught, handler in before.items():
            signal.signal(caught, handler)
