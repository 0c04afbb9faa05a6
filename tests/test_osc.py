"""The OSC server, over real sockets."""

import asyncio
import gc
import random
import socket
import struct
import threading
import tracemalloc

import numpy as np
import pytest
import soundfile
from lively import small_posterior
from pythonosc.osc_message import OscMessage

from pyrosynth.errors import InputError
from pyrosynth.live import osc
from pyrosynth.live.engine import Live
from pyrosynth.live.session import MESSAGES, Session

WAIT = 120.0  # seconds; machines are busy


class Served:
    """A server in a thread, with its loop."""

    def __init__(self, live, out):
        self.loop, ready = asyncio.new_event_loop(), threading.Event()
        self.stopped = threading.Event()

        async def begin():
            self.server = await osc.listen(live, "127.0.0.1", 0, out, self.stopped.set)
            ready.set()

        def run():
            self.loop.create_task(begin())
            self.loop.run_forever()

        self.thread = threading.Thread(target=run)
        self.thread.start()
        assert ready.wait(WAIT)

    def close(self):
        asyncio.run_coroutine_threadsafe(self.server.close(), self.loop).result(WAIT)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


class Client:
    def __init__(self, port):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(WAIT)
        self.port = port

    def raw(self, data):
        self.socket.sendto(data, ("127.0.0.1", self.port))

    def hear(self):
        message = OscMessage(self.socket.recv(65536))
        return message.address, message.params

    def settle(self):
        """Ask until the server answers; a full buffer of the system drops datagrams."""
        self.socket.settimeout(1)
        while True:
            self.raw(osc.write("/ping", []))
            try:
                while self.hear()[0] != "/pong":
                    pass
            except TimeoutError:
                continue
            self.socket.settimeout(WAIT)
            return

    def ask(self, address, *arguments, until=None):
        """Send a message; return all answers up to the one wanted."""
        self.raw(osc.write(address, list(arguments)))
        last = until or MESSAGES[address].answers.split()[-1]
        answers = {}
        while last not in answers:
            name, values = self.hear()
            answers[name] = values
            if name == "/error":
                return values
        return answers


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sounds")
    soundfile.write(folder / "tone.wav", 0.3 * np.sin(np.arange(22050) * 0.05), 22050)
    return folder


@pytest.fixture(scope="module")
def live(folder):
    with Live(small_posterior()[1], [folder]) as live:
        yield live


@pytest.fixture
def served(live, tmp_path, monkeypatch):
    monkeypatch.setattr(osc, "BURST", 1e6)
    served = Served(live, str(tmp_path / "out"))
    yield served
    served.close()


@pytest.fixture
def client(served):
    client = Client(served.server.port)
    yield client
    client.socket.close()


def test_every_message_is_answered_as_the_table_says(client, live, tmp_path):
    names = live.space.names
    given = {
        "/protocol": (1,), "/z": (0.0,) * 16, "/listen": (client.socket.getsockname()[1],),
        "/param": (live.posterior.run.space.names[0],), "/freeze": (1,),
        "/decode": ("brightness", 1.0, "pc1", -0.5), "/move": ("brightness", -1.0),
        "/axis": ("brightness",), "/analysis": ("pc1", 3), "/search": (names[0][:3],),
        "/load": (names[0],), "/encode": ("tone.wav",), "/sketch": ("tone.wav",),
        "/path/knobs": (0,),
        "/path/play": (0.5,), "/render": ("mine",), "/save": ("mine",),
    }  # fmt: skip
    for address, known in MESSAGES.items():
        if address in ("/path/play", "/stop"):
            continue
        answers = client.ask(address, *given.get(address, ()))
        assert isinstance(answers, dict), answers
        assert set(answers) == set(known.answers.replace("...", "").split()), address
    client.ask("/path/clear")
    client.ask("/path/add", names[0])
    client.ask("/path/add", names[1])
    start, end = (client.ask("/path/play", ratio)["/z"] for ratio in (0.0, 1.0))
    np.testing.assert_allclose(start, live.place(names[0]), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(end, live.place(names[1]), rtol=1e-5, atol=1e-6)
    client.ask("/path/knobs", 1)
    halfway = client.ask("/path/play", 0.5)["/params"]
    assert halfway[::2] == list(live.posterior.run.full_space.names)
    assert {f.name for f in (tmp_path / "out").iterdir()} == {"mine.wav", "mine.json"}


def test_answers_are_those_of_the_run(client, live):
    name = live.space.names[2]
    answers = client.ask("/load", name)
    np.testing.assert_allclose(answers["/z"], live.place(name), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        answers["/params"][1::2], live.values(live.place(name)), rtol=1e-5, atol=1e-6
    )
    moved = client.ask("/move", "brightness", 1.0)
    expected = live.move(live.place(name), {"brightness": 1.0}, by=True)
    np.testing.assert_allclose(moved["/z"], expected, rtol=1e-4, atol=1e-5)
    assert client.ask("/state")["/state"][:3] == [1, "FlowReg", "voice"]
    assert client.ask("/near", 2)["/near"][1] <= client.ask("/near", 2)["/near"][3]
    pitch, cents, hold = client.ask("/sketch", "tone.wav")["/sketched"][2:]
    hummed = live.files.sketch("tone.wav")
    assert (pitch, hold) == pytest.approx((hummed.note.pitch, hummed.note.hold_seconds))
    assert cents == pytest.approx(hummed.cents, abs=1e-3)
    curves = client.ask("/analysis", "pc1", 4, until="/analysed")
    assert curves["/curve"][:3] == ["pc1", "descriptor", "attack"]
    assert len(curves["/curve"]) == 3 + 4


def test_clients_do_not_disturb_each_other_and_answers_go_where_they_are_wanted(
    client, live, served
):
    other, ear = Client(client.port), Client(client.port)
    one = client.ask("/load", live.space.names[0])["/z"]
    two = other.ask("/load", live.space.names[1])["/z"]
    assert client.ask("/z")["/z"] == one != two == other.ask("/z")["/z"]
    client.raw(osc.write("/listen", [ear.socket.getsockname()[1]]))
    assert ear.hear()[0] == "/listening"
    client.raw(osc.write("/ping", []))
    assert ear.hear()[0] == "/pong"
    other.socket.close()
    ear.socket.close()


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (("/nothing",), "unknown message '/nothing'; known: /ping, "),
        (("/ping", 1), "/ping cannot be used with these 1 arguments; send it without arguments"),
        (("/decode", "pc1"), "/decode cannot be used with these 1 arguments; send it axis pos"),
        (("/decode", "brightness", "much"), "/decode cannot be used"),
        (("/decode", "nowhere", 1.0), "unknown axis 'nowhere'; known: loudness"),
        (("/load", "nobody"), "unknown preset 'nobody'; known:"),
        (("/param", "nothing"), "unknown parameter 'nothing'; known:"),
        (("/z", 1.0, 2.0), "16 finite numbers"),
        (("/z", *[float("nan")] * 16), "16 finite numbers"),
        (("/protocol", 2), "this server speaks 1"),
        (("/encode", "../run/run.json"), "unknown sound '../run/run.json'; known: tone.wav"),
        (("/save", "../out"), "'../out' cannot name a file"),
        (("/render", ""), "'' cannot name a file"),
        (("/path/play", 0.5), "the path is empty"),
        (("/presets", -1), "ask for 1 to 50"),
        (("/analysis", "pc1", 100000), "give 2 to 101"),
        (("/listen", 99999), "give 1 to 65535"),
        (("/random", 1e30), "cannot be used|abs"),
    ],
)  # fmt: skip
def test_mistakes_get_one_clear_line(client, message, says):
    if message[0] == "/random":
        assert isinstance(client.ask(*message), dict)
        return
    address, text = client.ask(*message, until="never")
    assert address == message[0]
    assert says in text
    assert "\n" not in text


def test_without_a_folder_nothing_is_written(live):
    with pytest.raises(InputError, match="--out FOLDER"):
        Session(live).answer("/save", ["mine"])


def bundle(tag, *messages):
    parts = [struct.pack(">i", len(m)) + m for m in messages]
    return b"#bundle\0" + struct.pack(">Q", tag) + b"".join(parts)


def test_bundles_and_replays(client, served):
    ping = osc.write("/ping", [])
    client.raw(bundle(1, ping, ping))
    assert [client.hear()[0], client.hear()[0]] == ["/pong", "/pong"]
    for tag in (1000, 1000, 999, 1001):
        client.raw(bundle(tag, ping))
    assert [client.hear()[0], client.hear()[0]] == ["/pong", "/pong"]
    client.raw(ping)
    client.raw(ping)
    client.hear(), client.hear()
    counts = client.ask("/stats")["/stats"]
    counts = dict(zip(counts[::2], counts[1::2], strict=True))
    assert (counts["replayed"], counts["repeated"]) == (2, 1)


HOSTILE = [
    b"", b"\0", b"hello", b"/", b"/a", b"/ping\0\0\0", b"/ping\0\0\0,", b"/ping\0\0\0,i\0\0",
    b"/ping\0\0\0,[[[[", b"/ping\0\0\0,q\0\0", b"/load\0\0\0,b\0\0\xff\xff\xff\xff",
    b"/load\0\0\0,s\0\0\xff\xfe\0\0", b"#bundle\0", b"#bundle\0" + b"\0" * 8 + b"\xff\xff\xff\xfc",
    bundle(1, bundle(1, b"/ping\0\0\0")), bundle(1)[:-1], b"#bundle\0" + b"\xff" * 64,
    b"/z\0\0,i\0\0", b"/" * 4000, bytes(9000),
]  # fmt: skip


def test_whatever_arrives_the_server_answers_the_next_message(client, served):
    rng = random.Random(0)
    good = osc.write("/decode", ["brightness", 1.0])
    for data in HOSTILE:
        client.raw(data)
    client.settle()
    for number in range(200):  # random bytes, and good messages with damage
        client.raw(rng.randbytes(rng.randrange(200)))
        broken = bytearray(good)
        broken[rng.randrange(len(broken))] = rng.randrange(256)
        client.raw(bytes(broken[: rng.randrange(len(broken) + 1)]))
        if number % 20 == 0:
            client.settle()
    counts = served.server.counts
    assert counts["malformed"] > 200
    assert counts["oversized"] == 1


def test_a_flood_is_counted_and_others_are_served(live, client, served, monkeypatch):
    monkeypatch.setattr(osc, "BURST", 20.0)
    monkeypatch.setattr(osc, "RATE", 10.0)
    flood, calm = Client(client.port), Client(client.port)
    for _ in range(200):
        flood.raw(osc.write("/decode", ["brightness", 1.0]))
    calm.settle()
    counts = dict(served.server.counts)
    assert counts["flooding"] > 50
    assert counts["answered"] < counts["flooding"]
    assert counts["errors"] < counts["flooding"] / 10
    flood.socket.close()
    calm.socket.close()


def test_memory_does_not_grow(live, served):
    """Many messages by many clients, bad ones among them."""
    rng = random.Random(1)
    server = served.server

    class Nowhere:
        def is_closing(self):
            return True

    quiet = osc.OscServer(live)
    quiet.transport = Nowhere()
    names = live.space.names
    requests = [
        osc.write("/ping", []), osc.write("/move", ["brightness", 0.1]), osc.write("/near", []),
        osc.write("/random", [3]), osc.write("/path/add", []), osc.write("/path/play", [0.4]),
        osc.write("/load", [names[0]]), osc.write("/nothing", ["x"] * 50), *HOSTILE,
    ]  # fmt: skip

    def play(n):
        for _ in range(n):
            quiet.datagram_received(rng.choice(requests), ("127.0.0.1", rng.randrange(1024, 2048)))
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before, after = play(1500), play(1500)
    finally:
        tracemalloc.stop()
    assert len(quiet.clients) == osc.CLIENTS
    assert after - before < 200_000
    assert server.counts["received"] == 0


def test_a_client_on_this_machine_may_stop_the_server(client, served, live):
    assert client.ask("/stop") == {"/stopped": []}
    assert served.stopped.wait(WAIT)
    with pytest.raises(InputError, match="own machine"):
        Session(live, local=False).answer("/stop", [])


def test_a_port_in_use_is_one_message(live, served):
    async def again():
        await osc.listen(live, "127.0.0.1", served.server.port)

    with pytest.raises(InputError, match=r"cannot listen for OSC on 127.0.0.1:\d+ .*--osc-port"):
        asyncio.run(again())
