"""Ctrl-C that waits until something is whole."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def collected_interrupts(patiently: bool = True) -> Iterator[list[int]]:
    """Collect Ctrl-C, so that what is done meanwhile is never left half done.

    Args:
        patiently: Whether a second one waits too; else it stops at once.

    Yields:
        The signals so far; always empty in another thread than the main one, which hears none.
    """
    pressed: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if pressed and not patiently:
            raise KeyboardInterrupt
        pressed.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield pressed
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)
