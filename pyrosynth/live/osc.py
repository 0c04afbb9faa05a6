"""The messages of `pyrosynth.live.messages` by OSC over UDP, for any number of clients.

Whatever arrives, the server goes on: what is malformed, too large, too much or here for the
second time is counted and dropped.
"""

import asyncio
import ipaddress
import struct
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from pythonosc.osc_message import OscMessage, ParseError
from pythonosc.osc_message_builder import BuildError, OscMessageBuilder

from pyrosynth.errors import InputError, PyrosynthError
from pyrosynth.live import messages
from pyrosynth.live.engine import Live
from pyrosynth.live.session import MESSAGES, Answer, Arguments, Session

LARGEST = 8192  # bytes of a datagram
CLIENTS = 64  # sessions that are remembered; the one that was silent longest goes first
RATE, BURST = 400.0, 100.0  # messages of a client per second, and at once
PENDING = 8  # slow messages of all clients that may wait
COMPLAINTS_SECONDS = 1.0  # between two complaints about a flood
BUNDLE = b"#bundle\0"
IMMEDIATELY = 1  # time tag of a bundle that has none
TYPES = frozenset(",ifsdhTF")
COUNTED = (
    "received", "answered", "errors", "malformed", "oversized", "flooding", "replayed", "repeated",
)  # fmt: skip
PROTOCOL = messages.PROTOCOL

Address = tuple[str, int]


class Malformed(Exception):
    """A datagram is not OSC, or uses a part of it that no message here needs."""


class Client:
    """What is known of a sender.

    Args:
        session: What it has in its hands.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.latest = 0  # time tag of its last bundle
        self.last = b""
        self._credit, self._seen = BURST, time.monotonic()
        self._complained = 0.0

    def takes(self) -> bool:
        """Whether one message more is not too many."""
        now = time.monotonic()
        self._credit = min(BURST, self._credit + RATE * (now - self._seen))
        self._seen = now
        if self._credit < 1:
            return False
        self._credit -= 1
        return True

    def may_hear(self) -> bool:
        """Whether it is time for another complaint."""
        now = time.monotonic()
        heard = now - self._complained < COMPLAINTS_SECONDS
        self._complained = self._complained if heard else now
        return not heard


class OscServer(asyncio.DatagramProtocol):
    """Answers datagrams; made by ``listen``.

    Args:
        live: The run.
        out: Folder that clients may have files written into; None forbids it.
        stop: Called when a client asks the server to stop.

    Attributes:
        counts: How many datagrams were received, messages answered, and so on.
    """

    transport: asyncio.DatagramTransport

    def __init__(
        self, live: Live, out: str | None = None, stop: Callable[[], object] = lambda: None
    ) -> None:
        self.live, self.out, self.stop = live, out, stop
        self.counts: Counter[str] = Counter(dict.fromkeys(COUNTED, 0))
        self.clients: OrderedDict[Address, Client] = OrderedDict()
        self._pool = ThreadPoolExecutor(1, "osc")
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.transport.get_extra_info("sockname")[1])

    async def close(self) -> None:
        """Stop listening; what is being worked on is finished first."""
        self.transport.close()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._pool.shutdown()

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        """Keep the socket."""
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Address) -> None:
        """Answer a datagram."""
        self.counts["received"] += 1
        client = self._client((addr[0], addr[1]))
        if not client.takes():
            self.counts["flooding"] += 1
            if client.may_hear():
                self._complain(client, addr, "", f"too many messages; at most {RATE:.0f} a second")
            return
        if len(data) > LARGEST:
            self.counts["oversized"] += 1
            self._complain(client, addr, "", f"{len(data)} bytes; send at most {LARGEST}")
            return
        try:
            tag, sent = read(data)
        except Malformed as error:
            self.counts["malformed"] += 1
            self._complain(client, addr, "", f"not an OSC message: {error}")
            return
        if tag != IMMEDIATELY:
            if tag <= client.latest:
                self.counts["replayed"] += 1
                return
            client.latest = tag
        self.counts["repeated"] += data == client.last
        client.last = data
        for number, (address, arguments) in enumerate(sent):
            if number and not client.takes():
                self.counts["flooding"] += 1
                continue
            self._act(client, addr, address, arguments)

    def _act(self, client: Client, addr: Address, address: str, arguments: Arguments) -> None:
        known = MESSAGES.get(address)
        if known is None or not known.slow:
            self._finish(client, addr, address, lambda: client.session.answer(address, arguments))
        elif len(self._tasks) >= PENDING:
            self._complain(client, addr, address, f"{PENDING} others are waiting; ask again later")
        else:
            task = asyncio.get_running_loop().create_task(
                self._slowly(client, addr, address, arguments)
            )
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _slowly(
        self, client: Client, addr: Address, address: str, arguments: Arguments
    ) -> None:
        loop = asyncio.get_running_loop()
        answer = loop.run_in_executor(self._pool, client.session.answer, address, arguments)
        await asyncio.wait([answer])
        self._finish(client, addr, address, answer.result)

    def _finish(
        self, client: Client, addr: Address, address: str, answer: Callable[[], list[Answer]]
    ) -> None:
        try:
            for reply in answer():
                self._send(client, addr, *reply)
            self.counts["answered"] += 1
        except PyrosynthError as error:
            self._complain(client, addr, address, str(error))
        if client.session.stopped:
            self.stop()

    def _client(self, addr: Address) -> Client:
        if addr not in self.clients:
            local = ipaddress.ip_address(addr[0].partition("%")[0]).is_loopback
            session = Session(self.live, self.out, local=local, counts=self.counts)
            self.clients[addr] = Client(session)
            while len(self.clients) > CLIENTS:
                self.clients.popitem(last=False)
        self.clients.move_to_end(addr)
        return self.clients[addr]

    def _complain(self, client: Client, addr: Address, address: str, text: str) -> None:
        self.counts["errors"] += 1
        self._send(client, addr, "/error", [address, " ".join(text.split())[:1000]])

    def _send(self, client: Client, addr: Address, address: str, arguments: Arguments) -> None:
        try:
            content = write(address, arguments)
        except BuildError:
            content = write("/error", [address, "the answer cannot be written as OSC"])
        if not self.transport.is_closing():
            self.transport.sendto(content, (addr[0], client.session.port or addr[1]))


def read(data: bytes) -> tuple[int, list[tuple[str, Arguments]]]:
    """Read a datagram: a message, or a bundle of messages.

    Returns:
        The time tag, and address and arguments of each message.

    Raises:
        Malformed: It is neither.
    """
    if not data.startswith(BUNDLE):
        return IMMEDIATELY, [_message(data)]
    if len(data) < 16:
        raise Malformed("a bundle without a time tag")
    return struct.unpack_from(">Q", data, 8)[0], [_message(part) for part in _parts(data)]


def _parts(data: bytes) -> Iterator[bytes]:
    """Yield the messages in a bundle."""
    at = 16
    while at < len(data):
        size = struct.unpack_from(">i", data, at)[0] if at + 4 <= len(data) else 0
        if not 0 < size <= len(data) - at - 4:
            raise Malformed("a bundle whose sizes do not fit")
        yield data[at + 4 : at + 4 + size]
        at += 4 + size


def _message(data: bytes) -> tuple[str, Arguments]:
    if not data.startswith(b"/"):
        raise Malformed("it begins neither with / nor with #bundle")
    _, comma, tags = data.partition(b"\0,")
    if comma and not set(tags.partition(b"\0")[0].decode("latin-1")) <= TYPES:
        raise Malformed("only numbers and text are understood")
    try:
        message = OscMessage(data)
        arguments = [float(a) if isinstance(a, float) else a for a in message.params]
    except (ParseError, ValueError, IndexError, struct.error) as error:
        raise Malformed(" ".join(map(str, error.args))) from error
    return message.address, arguments


def write(address: str, arguments: Arguments) -> bytes:
    """Write a message as a datagram.

    Raises:
        BuildError: A part of it is not to be written, such as text beyond UTF-8.
    """
    builder = OscMessageBuilder(address)
    for argument in arguments:
        builder.add_arg(argument)
    return builder.build().dgram


async def listen(
    live: Live,
    host: str,
    port: int,
    out: str | None = None,
    stop: Callable[[], object] = lambda: None,
) -> OscServer:
    """Start to answer OSC messages.

    Args:
        live: The run.
        host: Address to bind to.
        port: UDP port; 0 for any that is free.
        out: Folder that clients may have files written into; None forbids it.
        stop: Called when a client asks the server to stop.

    Raises:
        InputError: The port is in use, or the address is none of this machine.
    """
    loop = asyncio.get_running_loop()
    try:
        _, server = await loop.create_datagram_endpoint(
            lambda: OscServer(live, out, stop), local_addr=(host, port)
        )
    except OSError as error:
        raise InputError(
            f"cannot listen for OSC on {host}:{port} ({error.strerror or error}); give another "
            "by --osc-port, or 0 for any that is free"
        ) from error
    return server
