"""Those that send OSC messages: what waits of each, its share of the time, echoes of answers."""

import hashlib
import ipaddress
import math
import socket
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Hashable
from functools import lru_cache
from itertools import chain

import numpy as np
import psutil

from pyrosynth.live.osc_packets import Malformed, Part
from pyrosynth.live.protocol import Arguments, Session

HOST_SHARE = 0.5  # of the server's time
BURST_SECONDS = 0.25  # of work at once
COMPLAINTS_SECONDS = 1.0  # between two complaints about a flood
REMEMBERED = 32  # bundles of a port that are recognised when they arrive again
ECHO_SECONDS, ECHOES = 0.2, 8  # within which what was sent is an echo, and how many are answered
LONGEST_NAME = 80  # letters of an unknown message by which it is known again
ANSWERS = 1024  # that are remembered for as long

HERE = "127.0.0.1"  # what this machine is called, at whichever of its addresses it is
KNOWN_SECONDS = 10.0  # for which it is remembered which addresses these are
FAMILIES = socket.AF_INET, socket.AF_INET6

Address = tuple[str, int]


def machine_of(name: str) -> str:
    """Return what the machine at an address is called: the address, or ``HERE`` for this one.

    The addresses from 127.0.0.2 to 127.255.255.254 count as machines of their own, though they are
    all this one.
    """
    address = ipaddress.ip_address(name.partition("%")[0])
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_loopback:
        return str(address) if address.version == 4 else HERE
    return HERE if address in _own_addresses(int(time.monotonic() // KNOWN_SECONDS)) else name


@lru_cache(1)
def _own_addresses(_: int) -> frozenset[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """Return those of this machine, which may change: they are looked up again and again."""
    try:
        found = [*chain.from_iterable(psutil.net_if_addrs().values())]
    except OSError:  # the system does not tell
        return frozenset()
    numbers = (one.address.partition("%")[0] for one in found if one.family in FAMILIES)
    return frozenset(map(ipaddress.ip_address, numbers))


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
        self.datagrams: deque[tuple[float, bytes]] = deque()  # with the times of their arrival
        self.arrived = 0.0  # when the one that is worked on did
        self.messages: deque[Part] = deque()  # of the datagram worked on
        self.bundles: deque[bytes] = deque(maxlen=REMEMBERED)  # digests of those with a time tag

    @property
    def waits(self) -> bool:
        """Whether there is anything to answer."""
        return bool(self.datagrams or self.messages)


class Host:
    """A machine that sends messages: its session, its ports, and its share of the time."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.ports: OrderedDict[Address, Port] = OrderedDict()
        self.turns: deque[Port] = deque()  # ports at which something waits, the next one first
        self.credit = Credit(HOST_SHARE)
        self.slow = Counter[str]()  # slow messages that are being worked on or wait, by lane
        self.heard = time.monotonic()
        self._complained = -COMPLAINTS_SECONDS
        self._sent: OrderedDict[Hashable, float] = OrderedDict()  # answers, and when
        self._echoes = 0  # one after the other
        # By name, messages that there are none of: when the last came, and how many in turn.
        self._strange: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def may_hear(self) -> bool:
        """Whether it is time for another complaint."""
        now = time.monotonic()
        if now - self._complained < COMPLAINTS_SECONDS:
            return False
        self._complained = now
        return True

    def told(self, address: str, arguments: Arguments) -> None:
        """Remember an answer that it was sent."""
        key = _plain(address, arguments)
        self._sent[key] = time.monotonic()
        self._sent.move_to_end(key)
        if len(self._sent) > ANSWERS:
            self._sent.popitem(last=False)

    def only_echoes(self, sent: Part, arrived: float, is_known: bool) -> bool:
        """Whether a message is one of many in turn that come back as they were just sent.

        What a program sends on to where it came from would be answered for ever, as some answers
        are messages too. Who sends the same presets in turn, such as a sequencer, is slower. So
        would programs that answer what they do not know, such as scsynth by ``/fail``, or by what
        is no OSC.

        Args:
            sent: The message, or what is malformed.
            arrived: When it arrived.
            is_known: Whether there is such a message.
        """
        if is_known and not isinstance(sent, Malformed):
            before = self._sent.get(_plain(*sent), -math.inf)
            self._echoes = self._echoes + 1 if arrived - before < ECHO_SECONDS else 0
            return self._echoes > ECHOES
        name = (sent.address if isinstance(sent, Malformed) else sent[0])[:LONGEST_NAME]
        before, in_turn = self._strange.pop(name, (-math.inf, 0))
        in_turn = in_turn + 1 if arrived - before < ECHO_SECONDS else 1
        self._strange[name] = arrived, in_turn
        if len(self._strange) > ANSWERS:
            self._strange.popitem(last=False)
        return in_turn > ECHOES


@np.errstate(over="ignore")
def _plain(address: str, arguments: Arguments) -> Hashable:
    """Return what a message says, whatever the types of its numbers."""
    return address, *(
        float(np.float32(value)) if isinstance(value, int | float) else value
        for value in arguments
    )


def digest(data: bytes) -> bytes:
    """Return what a datagram is recognised by."""
    return hashlib.blake2b(data, digest_size=16).digest()
