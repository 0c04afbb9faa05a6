"""Limits of the web server: connections that wait for too long or are too many, and its log."""

import asyncio
import errno
import logging
import resource
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from pyrosynth.errors import PyrosynthError, one_line, raised, reason
from pyrosynth.training.zoo import place_in

MOST = 128  # connections at once; fewer where a process may open few files
FEW = 8  # connections of a machine, such as of one browser, that nobody minds
SHARE = 3  # part of the files that a process may open, for connections
HEAD_SECONDS = 1.0  # within which that of a new one arrives, on a slow line too
WAIT_SECONDS = 15.0  # for the head of a request, or for the next one
BODY_SECONDS = 60.0  # for its body
ANSWER_SECONDS = 180.0  # to render and send the answer
FULL = errno.ENOSPC, errno.EDQUOT, errno.ENOMEM
LOG_SECONDS = 60.0  # between two lines of the log


class Connections:
    """Closes connections that take too long and, of too many, those that wait longest."""

    def __init__(self) -> None:
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.most = max(4, min(MOST, files // SHARE))
        # Deadline; since when it waits, None of one that is being answered; whether for a body.
        self._open: dict[asyncio.Transport, tuple[float, float | None, bool]] = {}
        self._unsent: dict[asyncio.Transport, int] = {}  # bytes when the deadline was put off

    def __len__(self) -> int:
        """Return how many are open."""
        return len(self._open)

    def watch(self, make: Callable[[], Any]) -> Callable[[], Any]:
        """Return a factory of protocols whose connections are watched."""
        return lambda: _Watched(make(), self)

    def opened(self, transport: asyncio.Transport) -> None:
        """Count a new connection; if it is one too many, close another, or the new one.

        Whoever has more than a few, and the most, loses one that waits for a request or for its
        body, or cannot open another. Else one goes that has been between two requests for a
        while, then the one that was opened last by whoever has so many. Where nobody has, the
        body goes that has come for longest, of a machine that has as many as this one at least.
        """
        if len(self._open) >= self.most:
            self._close(self._least_needed(transport))
        if not transport.is_closing():
            self.waits(transport, WAIT_SECONDS)

    def _least_needed(self, new: asyncio.Transport) -> asyncio.Transport:
        """Return the connection that is closed for a new one, or the new one; see ``opened``."""
        count, own = Counter(map(_machine, [*self._open, new])), _machine(new)
        most = max(count.values())
        many = {m for m, n in count.items() if n == most > min(FEW, self.most // 2)}
        now, theirs = time.monotonic(), [t for t in self._open if _machine(t) in many]
        asked = [own] if own in many else many
        since = {
            t: (body, began) for t, (_, began, body) in self._open.items() if began is not None
        }
        waits = sorted((t for t in since if _machine(t) in asked), key=since.__getitem__)
        idle = [
            t for t, (body, began) in since.items() if not body and now - began >= HEAD_SECONDS
        ]
        idle.sort(key=lambda t: (-count[_machine(t)], since[t]))
        if waits or own in many:
            return waits[0] if waits else new
        if idle or theirs:
            return idle[0] if idle else theirs[-1]
        bodies = [t for t, (body, _) in since.items() if body and count[_machine(t)] >= count[own]]
        return min(bodies, key=lambda t: (-count[_machine(t)], since[t]), default=new)

    def waits(self, transport: asyncio.Transport | None, seconds: float) -> None:
        """Give a connection time to send something."""
        if transport is not None:
            now = time.monotonic()
            self._open[transport] = now + seconds, now, seconds > WAIT_SECONDS

    def answers(self, transport: asyncio.Transport | None) -> None:
        """Give the server time to answer what a connection has sent."""
        if transport is not None:
            self._open[transport] = time.monotonic() + ANSWER_SECONDS, None, False
            self._unsent.pop(transport, None)

    def closed(self, transport: asyncio.Transport) -> None:
        """Forget a connection."""
        self._open.pop(transport, None)
        self._unsent.pop(transport, None)

    async def close_late_ones(self) -> None:
        """Close connections that took too long, for ever."""
        while True:
            await asyncio.sleep(1.0)
            self.close_late()

    def close_late(self) -> None:
        """Close those that have taken too long by now."""
        now = time.monotonic()
        for transport, (deadline, _, _) in list(self._open.items()):
            if deadline < now and not self._reads_on(transport):
                self._close(transport)

    def _reads_on(self, transport: asyncio.Transport) -> bool:
        """Give a client on a slow line more time, if it still takes what it is sent."""
        unsent, before = transport.get_write_buffer_size(), self._unsent.get(transport)
        if not unsent or (before is not None and unsent >= before):
            return False
        self.waits(transport, WAIT_SECONDS)
        self._unsent[transport] = unsent
        return True

    def _close(self, transport: asyncio.Transport) -> None:
        self.closed(transport)
        transport.abort()


class _Watched:
    """A protocol that tells when its connection opens and closes."""

    def __init__(self, inner: Any, connections: Connections) -> None:
        self._inner, self._connections = inner, connections
        self._transport: Any = None
        self._refused = False  # one that was refused never reached the server

    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._connections.opened(transport)
        self._refused = transport.is_closing()
        if not self._refused:
            self._inner.connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._connections.closed(self._transport)
        if not self._refused:
            self._inner.connection_lost(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def _machine(transport: asyncio.Transport) -> str:
    """Return the address of the machine at the other end."""
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) else ""


class OncePerMinute(logging.Filter):
    """Lets one record a minute through, as one line that says how many there were."""

    def __init__(self) -> None:
        super().__init__()
        self._last, self._left_out = -LOG_SECONDS, 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is written."""
        now = time.monotonic()
        if now - self._last < LOG_SECONDS:
            self._left_out += 1
            return False
        error = record.exc_info[1] if record.exc_info else None
        text = f"{record.getMessage()}{f' ({error!r})' if error else ''}"
        more = f"; {self._left_out} more lines were left out" if self._left_out else ""
        record.msg, record.args = one_line(f"pyrosynth: {text}{more}"), ()
        record.exc_info = record.exc_text = None
        self._last, self._left_out = now, 0
        return True


def server_log() -> logging.Logger:
    """Return the log of a server: whatever happens, one line a minute at most."""
    log = logging.getLogger("pyrosynth.live")
    if not log.filters:
        log.addFilter(OncePerMinute())
    return log


def failure(error: BaseException, asked: str) -> str:
    """Say in a line why something that a client asked for has failed.

    Args:
        error: What was raised. What comes from the code of the run or the synth is in the log too.
        asked: What was asked for and by whom, for the log.
    """
    told = isinstance(error, PyrosynthError)  # it says itself what to do
    if not told or (error.__cause__ and place_in(error.__cause__)):
        server_log().error("%s failed", asked, exc_info=error)
    if told:
        return str(error)
    if isinstance(error, MemoryError) or getattr(error, "errno", 0) in FULL:
        return f"the server has no room left ({reason(error)}); try again when others have ended"
    why = raised(error, 160)
    return f"the code of the run or the synth raised {why}; try another sound or preset"
