"""The messages of `pyrosynth.live.messages` by OSC over UDP, for any number of clients.

Whatever arrives, the server goes on: what is malformed, too large, too much or here for the
second time is counted and dropped. Datagrams are taken from the socket before any of them is
worked on, then answered in turn: one host after the other, one port after the other, each host
within its share of the server's time. So nobody's messages are lost because of somebody else's.
"""

import asyncio
import ipaddress
import socket
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from copy import copy

from pythonosc.osc_message_builder import BuildError

from pyrosynth.errors import InputError, counted, integer, one_line, reason
from pyrosynth.explore.places import Place
from pyrosynth.live.background import TURN_SECONDS, in_background, turn_of
from pyrosynth.live.connections import failure
from pyrosynth.live.engine import Live
from pyrosynth.live.messages import MESSAGES
from pyrosynth.live.osc_hosts import HERE, Address, Credit, Host, Port, digest, machine_of
from pyrosynth.live.osc_packets import Malformed, Part, Sent, read, write
from pyrosynth.live.protocol import Answer, Arguments, Session

CLOCKS = 3_155_673_600  # seconds from 1900 to 2000: a clock that is set is later
LARGEST = 8192  # bytes of a datagram
LONGEST_ANSWER = 65_507  # bytes of a datagram that is sent, as IPv4 takes them
DRAINED = 256  # datagrams taken from the socket at once
SHARE = 0.8  # of the server's time, for all hosts
HOSTS, PORTS = 64, 64  # that are remembered, and of each; the one silent longest goes first
MOST_PORTS = 1024  # of a host at which something waits
QUEUED = 128  # datagrams of a port that wait; fewer if more than PORTS share the room
ENDING_SECONDS = 5.0  # for what is being worked on when the server ends
PENDING = {"work": 8, "notes": 64}  # slow messages of a lane that may wait; of one host half
SILENT_SECONDS = 10.0  # after which a host may be forgotten for another
COUNTED = (
    "received", "answered", "errors", "malformed", "oversized", "flooding", "replayed", "echoed",
)  # fmt: skip


class OscServer:
    """Answers datagrams; made by ``listen``.

    Args:
        live: The run.
        out: Folder that clients may have files written into; None forbids it.
        stop: Called when a client asks the server to stop.
        moved: Called with the session of a program on this machine after each of its messages.

    Attributes:
        counts: How many datagrams were received, messages answered, and so on.
        hosts: The hosts that sent something, the one heard last at the end.
    """

    endpoint: socket.socket

    def __init__(
        self,
        live: Live,
        out: str | None = None,
        stop: Callable[[], object] = lambda: None,
        moved: Callable[[Session], object] = lambda _: None,
    ) -> None:
        self.live, self.out, self.stop, self._moved = live, out, stop, moved
        self.counts: Counter[str] = Counter(dict.fromkeys(COUNTED, 0))
        self.hosts: OrderedDict[str, Host] = OrderedDict()
        self._turns: deque[Host] = deque()  # hosts for which something waits
        self._credit = Credit(SHARE)
        self._lanes = {lane: asyncio.Lock() for lane in PENDING}
        self._closing = False
        self._slow = Counter[str]()  # of all hosts
        self._tasks: set[asyncio.Task[None]] = set()
        self._working: asyncio.Handle | None = None

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.endpoint.getsockname()[1])

    def _is_own(self, address: Address) -> bool:
        """Return whether what is sent to an address comes back here."""
        here, port = self.endpoint.getsockname()[:2]
        if address[1] != port:
            return False
        if not ipaddress.ip_address(here).is_unspecified:
            return address[0] == str(here)
        with socket.socket(self.endpoint.family, socket.SOCK_DGRAM) as trial, suppress(OSError):
            trial.bind((address[0], 0))  # which only an address of this machine can be
            return True
        return False

    def session_here(self) -> Session:
        """Return the session of the programs on this machine."""
        return self._host(HERE).session

    def open(self, bound: socket.socket) -> None:
        """Start to answer what arrives at a socket."""
        self.endpoint = bound
        asyncio.get_running_loop().add_reader(bound, self._drain)

    async def close(self) -> None:
        """Stop listening; what waits is dropped, what is being worked on may end for a while."""
        self._closing = True
        asyncio.get_running_loop().remove_reader(self.endpoint)
        if self._working:
            self._working.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=ENDING_SECONDS)
        self.endpoint.close()

    def _drain(self) -> None:
        """Take from the socket what has arrived, so that the system need not drop any of it."""
        for _ in range(DRAINED):
            try:
                data, address = self.endpoint.recvfrom(2**16)
            except BlockingIOError:
                break
            except OSError:  # a client has gone before it was answered
                continue
            self.receive(data, address[:2])
        self._schedule(0.0)

    def receive(self, data: bytes, address: Address) -> None:
        """Put a datagram into the queue of its sender."""
        self.counts["received"] += 1
        if self._is_own(address):
            return
        name = machine_of(address[0])
        if self._crowded(name):
            self.counts["flooding"] += 1
            return
        host = self._host(name)
        port = self._port(host, address)
        room = QUEUED * PORTS // max(PORTS, len(host.ports))
        if len(data) > LARGEST:
            self.counts["oversized"] += 1
            said = f"{counted(len(data), 'byte')}; send at most {LARGEST}"
            if not host.only_echoes(Malformed(said), host.heard, False):
                self._complain(host, address, "", said)
            return
        if port is None or len(port.datagrams) >= room:
            self.counts["flooding"] += 1
            if host.may_hear():
                many = room if port else MOST_PORTS
                text = f"too many messages: {many} wait for an answer; send fewer a second"
                self._complain(host, address, "", text)
        if port is not None:
            while len(port.datagrams) >= room:  # where a fader stops counts, not where it was
                port.datagrams.popleft()
            port.datagrams.append((time.monotonic(), data))
            if port not in host.turns:
                host.turns.append(port)
            if host not in self._turns:
                self._turns.append(host)

    def _schedule(self, seconds: float) -> None:
        if self._working is None and self._turns:
            self._working = asyncio.get_running_loop().call_later(seconds, self._work)

    def _work(self) -> None:
        self._working = None
        self._schedule(0.0 if self.step() else 0.005)

    def step(self) -> bool:
        """Answer one message of the host whose turn it is; False if nobody has credit left."""
        if not self._credit.left():
            return False
        for _ in range(len(self._turns)):
            host = self._turns.popleft()
            if not host.turns:
                continue
            self._turns.append(host)
            if host.credit.left():
                began = time.monotonic()
                self._answer_next(host)
                spent = time.monotonic() - began
                host.credit.spend(spent)
                self._credit.spend(spent)
                return True
        return False

    def _answer_next(self, host: Host) -> None:
        """Answer one message of the port whose turn it is."""
        port = host.turns.popleft()
        if not port.messages and port.datagrams:
            port.arrived, data = port.datagrams.popleft()
            port.messages.extend(self._read(port, data))
        if port.messages:
            self._act(host, port, port.messages.popleft())
        if port.messages or port.datagrams:
            host.turns.append(port)

    def _read(self, port: Port, data: bytes) -> list[Part]:
        """Return the messages of a datagram that is new."""
        tag, sent = read(data)
        if tag >> 32 >= CLOCKS:  # others are no times, and the same in all bundles of a program
            known = digest(data)
            if known in port.bundles:
                self.counts["replayed"] += 1
                return []
            port.bundles.append(known)
        return sent

    def _act(self, host: Host, port: Port, part: Part) -> None:
        sender = port.address
        address, arguments = (part.address, []) if isinstance(part, Malformed) else part
        if address == "/error":  # or two servers would go on telling each other for ever
            return
        known = MESSAGES.get(address)
        self.counts["malformed"] += isinstance(part, Malformed)
        if host.only_echoes(part, port.arrived, known is not None):
            self.counts["echoed"] += 1
            return
        if isinstance(part, Malformed):
            self._complain(host, sender, address, str(part))
            return
        if known is None or not known.slow:
            self._finish(host, sender, part, lambda: host.session.answer(address, arguments))
        elif self._slow[lane := known.lane] >= PENDING[lane] or (
            host.slow[lane] >= PENDING[lane] // 2
        ):
            text = f"{counted(self._slow[lane], 'slow message')} wait; ask again later"
            self._complain(host, sender, address, text)
        else:
            session = copy(host.session)  # as it is now, whatever is sent meanwhile
            began_at = session.place
            host.slow[lane] += 1
            self._slow[lane] += 1
            task = asyncio.get_running_loop().create_task(
                self._later(host, sender, part, session, began_at)
            )
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _later(
        self,
        host: Host,
        sender: Address,
        part: Sent,
        session: Session,
        began_at: Place,
    ) -> None:
        """Answer a slow message when its turn comes; it may lead the session elsewhere."""
        lane = MESSAGES[part[0]].lane
        try:
            async with self._lanes[lane]:
                if self._closing:
                    return
                answer = in_background(session.answer, *part)
                in_time = await turn_of(answer)
            if not in_time:
                text = f"no answer within {TURN_SECONDS:.0f} s; it follows if there is one"
                self._complain(host, sender, part[0], text)
                await asyncio.wait([answer])
        except InputError as error:  # there is no thread for it
            answer = asyncio.get_running_loop().create_future()
            answer.set_exception(error)
        finally:  # before the answer goes out, which may be followed by the next message
            host.slow[lane] -= 1
            self._slow[lane] -= 1
        if session.place is not began_at:
            host.session.place, host.session.name = session.place, session.name
        self._finish(host, sender, part, answer.result)

    def _finish(
        self, host: Host, sender: Address, part: Sent, answer: Callable[[], list[Answer]]
    ) -> None:
        try:
            for reply in answer():
                self._send(host, sender, *reply)
            for reply in host.session.midi():
                self._send(host, sender, *reply)
            self.counts["answered"] += 1
            if host.session.local:
                self._moved(host.session)
        except (Exception, SystemExit) as error:  # whatever the code of a run or a synth does
            asked = f"{part[0]} {part[1]}"[:120]
            self._complain(host, sender, part[0], failure(error, f"OSC {asked} of {sender[0]}"))
        if host.session.stopped:
            self.stop()

    def _crowded(self, name: str) -> bool:
        """Whether a host that is not known would have to take the place of one that is heard."""
        if name in self.hosts or len(self.hosts) < HOSTS:
            return False
        return time.monotonic() - next(iter(self.hosts.values())).heard < SILENT_SECONDS

    def _host(self, name: str) -> Host:
        if name not in self.hosts:
            local = ipaddress.ip_address(name.partition("%")[0]).is_loopback
            session = Session(self.live, self.out, local=local, counts=self.counts)
            own = self._is_own((name, self.port)) or name == HERE
            session.server_port = self.port if own else None
            self.hosts[name] = Host(session)
            while len(self.hosts) > HOSTS:
                _, gone = self.hosts.popitem(last=False)
                gone.turns.clear()
        self.hosts[name].heard = time.monotonic()
        self.hosts.move_to_end(name)
        return self.hosts[name]

    def _port(self, host: Host, address: Address) -> Port | None:
        """Return a port of a host; None if it is new and something waits at too many others."""
        if address not in host.ports:
            idle = [known for known, port in host.ports.items() if not port.waits]
            for gone in idle[: max(0, len(host.ports) - PORTS + 1)]:
                del host.ports[gone]
            if len(host.ports) >= MOST_PORTS:
                return None
            host.ports[address] = Port(address)
        host.ports.move_to_end(address)
        return host.ports[address]

    def _complain(self, host: Host, sender: Address, address: str, text: str) -> None:
        self._send(host, sender, "/error", [address[:80], one_line(text)])

    def _send(self, host: Host, sender: Address, address: str, arguments: Arguments) -> None:
        self.counts["errors"] += address == "/error"
        try:
            content = write(address, arguments)
        except BuildError:
            content = write("/error", [address, "the answer cannot be written as OSC"])
        if len(content) > LONGEST_ANSWER:
            why = f"the answer has {counted(len(content), 'byte')}, more than a message of OSC can"
            content = write("/error", [address, f"{why} ({LONGEST_ANSWER}); ask for a part of it"])
        try:
            self.endpoint.sendto(content, (sender[0], host.session.port or sender[1]))
            host.told(address, arguments)
        except OSError:  # the system is full, or the client has gone: UDP promises nothing
            self.counts["unsent"] += 1


async def listen(
    live: Live,
    host: str,
    port: int,
    out: str | None = None,
    stop: Callable[[], object] = lambda: None,
    moved: Callable[[Session], object] = lambda _: None,
) -> OscServer:
    """Start to answer OSC messages.

    Args:
        live: The run.
        host: Address to bind to.
        port: UDP port; 0 for any that is free.
        out: Folder that clients may have files written into; None forbids it.
        stop: Called when a client asks the server to stop.
        moved: Called with the session of a program on this machine after each of its messages.

    Raises:
        InputError: The port is in use, or the address is none of this machine.
    """
    port = integer("OSC port", port, 0, 65535)
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        bound = socket.socket(family, kind)
        try:
            bound.setblocking(False)
            bound.bind(address)
        except OSError:
            bound.close()
            raise
    except (OSError, UnicodeError) as error:
        raise InputError(
            f"cannot listen for OSC on {host}:{port} ({reason(error)}); give another "
            "by --osc-port, or 0 for any that is free"
        ) from error
    server = OscServer(live, out, stop, moved)
    server.open(bound)
    return server
