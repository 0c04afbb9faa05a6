"""Those that send OSC messages: what waits of each, its share of the time, echoes of answers."""

import hashlib
import time
from collections import Counter, OrderedDict, deque

from pyrosynth.live.osc_packets import Part
from pyrosynth.live.protocol import Session

HOST_SHARE = 0.5  # of the server's time
BURST_SECONDS = 0.25  # of work at once
COMPLAINTS_SECONDS = 1.0  # between two complaints about a flood
REMEMBERED = 32  # bundles of a port, and answers, that are recognised when they arrive again
ECHO_SECONDS, ECHOES = 1.0, 8  # within which what was sent is an echo, and how many are answered

Address = tuple[str, int]


class Credit:
    """How long somebody may be worked for: a share of the time, and a burst.

    Args:
        share: Seconds of work for each second.
    """

    def __init__(self, share: float) -> None:
        self.share, self._left, self._seen = share, BURST_SECONDS, time.monotonic()

    def left(self) -> bool:
        """Whether there is any."""
        now = time.monotonic()
        self._left = min(BURST_SECONDS, self._left + self.share * (now - self._seen))
        self._seen = now
        return self._left > 0

    def spend(self, seconds: float) -> None:
        """Take seconds of work from it."""
        self._left -= seconds


class Port:
    """What waits to be answered at one port of a host."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.datagrams: deque[bytes] = deque()
        self.messages: deque[Part] = deque()  # of the datagram worked on
        self.bundles: deque[bytes] = deque(maxlen=REMEMBERED)  # digests of those with a time tag


class Host:
    """A machine that sends messages: its session, its ports, and its share of the time."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.ports: OrderedDict[int, Port] = OrderedDict()
        self.turns: deque[Port] = deque()  # ports at which something waits, the next one first
        self.credit = Credit(HOST_SHARE)
        self.slow = Counter[str]()  # slow messages that are being worked on or wait, by lane
        self.heard = time.monotonic()
        self._complained = -COMPLAINTS_SECONDS
        self._sent: deque[tuple[float, bytes]] = deque(maxlen=REMEMBERED)  # when, and digests
        self._echoes = 0  # one after the other

    def may_hear(self) -> bool:
        """Whether it is time for another complaint."""
        now = time.monotonic()
        if now - self._complained < COMPLAINTS_SECONDS:
            return False
        self._complained = now
        return True

    def told(self, data: bytes) -> None:
        """Remember a datagram that it was sent."""
        self._sent.append((time.monotonic(), digest(data)))

    def only_echoes(self, data: bytes) -> bool:
        """Whether a datagram is one of many in turn that come back as they were just sent.

        What a program sends on to where it came from would be answered for ever, as some answers
        are messages too. A client that repeats what it was answered is no echo at first.
        """
        since, known = time.monotonic() - ECHO_SECONDS, digest(data)
        echo = any(known == sent and when >= since for when, sent in self._sent)
        self._echoes = self._echoes + 1 if echo else 0
        return self._echoes > ECHOES


def digest(data: bytes) -> bytes:
    """Return what a datagram is recognised by."""
    return hashlib.blake2b(data, digest_size=16).digest()
