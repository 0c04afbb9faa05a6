"""Turns of what only one can do at a time, in the order in which it was asked for."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from threading import Event, Lock
from types import TracebackType

from pyrosynth.live.sounds import BusyError

LOOK_SECONDS = 0.05  # between two looks whether it is one's turn


class Turns:
    """A lock that is had in the order of asking, which none of the standard library is.

    Who asks for it again as soon as it is free would else have it before those who wait.
    """

    def __init__(self) -> None:
        self._queue, self._lock = deque[Event](), Lock()

    def ask(self) -> Event:
        """Stand in line; the event is set when it is one's turn. Whoever asks leaves as well."""
        turn = Event()
        with self._lock:
            self._queue.append(turn)
            self._queue[0].set()
        return turn

    def leave(self, turn: Event) -> None:
        """Give a turn back, or wait for it no longer."""
        with self._lock:
            self._queue.remove(turn)
            if self._queue:
                self._queue[0].set()

    @asynccontextmanager
    async def taken(self, is_there: Callable[[], bool]) -> AsyncIterator[None]:
        """Wait for a turn beside an event loop, with no thread that is held for it.

        Args:
            is_there: Tells whether somebody still waits.

        Raises:
            BusyError: Nobody does.
        """
        turn = self.ask()
        try:
            while not turn.is_set():
                if not is_there():
                    raise BusyError("who has asked did not wait; ask again")
                await asyncio.sleep(LOOK_SECONDS)
            yield
        finally:
            self.leave(turn)

    def __enter__(self) -> None:
        """Wait for a turn."""
        self.ask().wait()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give it back: whose turn it is stands first in line."""
        self.leave(self._queue[0])
