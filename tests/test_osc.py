"""The OSC server, over real sockets."""

import asyncio
import gc
import json
import random
import re
import socket
import struct
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import soundfile
from lively import small_posterior
from pythonosc.osc_message import OscMessage
from small import small_dataset
from toys import SMALL

from pyrosynth.audio.descriptors import NAMES
from pyrosynth.audio.note import Note
from pyrosynth.errors import InputError, SynthError
from pyrosynth.inference.posterior import Posterior
from pyrosynth.live import background, connections, files, messages, osc, osc_hosts
from pyrosynth.live.analysis import CURVES
from pyrosynth.live.engine import Live
from pyrosynth.live.messages import MESSAGES
from pyrosynth.live.osc_packets import read, write
from pyrosynth.live.protocol import Session
from pyrosynth.training.fit import fit

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
    def __init__(self, port, host="127.0.0.1"):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
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
            self.raw(write("/ping", []))
            try:
                while self.hear()[0] != "/pong":
                    pass
            except TimeoutError:
                continue
            self.socket.settimeout(WAIT)
            return

    def ask(self, address, *arguments, until=None):
        """Send a message; return all answers up to the one wanted."""
        self.raw(write(address, list(arguments)))
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
    (folder / "loop").symlink_to(folder / "loop")
    soundfile.write(folder / "tone.wav", 0.3 * np.sin(np.arange(22050) * 0.05), 22050)
    (folder / "data").mkdir()
    (folder / "data" / "zarr.json").write_text("{}")  # which is no sound
    return folder


@pytest.fixture(scope="module")
def live(folder):
    with Live(small_posterior()[1], [folder]) as live:
        yield live


@pytest.fixture
def served(live, tmp_path):
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
        "/protocol": (3,), "/z": (0.0,) * 16, "/listen": (client.socket.getsockname()[1],),
        "/param": (live.posterior.run.space.names[0],), "/freeze": (1,),
        "/decode": ("brightness", 1.0, "pc1", -0.5), "/move": ("brightness", -1.0),
        "/axis": ("brightness",), "/analysis": ("pc1", 3), "/search": (names[0][:3],),
        "/load": (names[0],), "/encode": ("tone.wav",), "/note": (60,),
        "/midi": (0,), "/cc": (16, 3, 64),
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
    np.testing.assert_allclose(start, live.space.locate(names[0]), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(end, live.space.locate(names[1]), rtol=1e-5, atol=1e-6)
    client.ask("/path/knobs", 1)
    halfway = client.ask("/path/play", 0.5)["/params"]
    assert halfway[::2] == list(live.posterior.run.full_space.names)
    assert {f.name for f in (tmp_path / "out").iterdir()} == {"mine.wav", "mine.json", "notes"}


def test_answers_are_those_of_the_run(client, live):
    name = live.space.names[2]
    answers = client.ask("/load", name)
    np.testing.assert_allclose(answers["/z"], live.space.locate(name), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(answers["/params"][1::2], live.known(2), rtol=1e-5, atol=1e-6)
    moved = client.ask("/move", "brightness", 1.0)
    expected = live.move(live.space.place(name), {"brightness": 1.0}, by=True)
    np.testing.assert_allclose(moved["/z"], expected.z, rtol=1e-4, atol=1e-5)
    assert client.ask("/state")["/state"][:3] == [3, "FlowReg", "plain"]
    assert client.ask("/near", 2)["/near"][1] <= client.ask("/near", 2)["/near"][3]
    distance, pitch, cents, hold = client.ask("/encode", "tone.wav")["/encoded"][1:]
    match, way = live.encode(live.files.sound("tone.wav"))
    note = way.tuned.note if way.tuned else live.posterior.run.note
    assert (pitch, hold) == pytest.approx((note.pitch, note.hold_seconds))
    assert cents == pytest.approx(way.tuned.cents if way.tuned else 0.0, abs=1e-3)
    assert distance == pytest.approx(match.lsd_db, abs=1e-4)
    curves = client.ask("/analysis", "pc1", 4, until="/analysed")
    assert curves["/curve"][:3] == ["pc1", "descriptor", "attack"]
    assert len(curves["/curve"]) == 3 + 4


def test_hosts_do_not_disturb_each_other_and_answers_go_where_they_are_wanted(
    client, live, served
):
    other, ear = Client(client.port, "127.0.0.2"), Client(client.port)
    one = client.ask("/load", live.space.names[0])["/z"]
    two = other.ask("/load", live.space.names[1])["/z"]
    assert client.ask("/z")["/z"] == one != two == other.ask("/z")["/z"]
    client.raw(write("/listen", [ear.socket.getsockname()[1]]))
    assert ear.hear()[0] == "/listening"
    client.raw(write("/ping", []))
    assert ear.hear()[0] == "/pong"
    assert client.ask("/listen", 0) == {"/listening": [0]}  # which a program that left had moved
    assert "/pong" in client.ask("/ping")
    other.socket.close()
    ear.socket.close()


def test_a_program_that_opens_a_port_for_each_message_keeps_its_point(live, served, tmp_path):
    def once(address, *arguments):
        client = Client(served.server.port)
        answers = client.ask(address, *arguments)
        client.socket.close()
        return answers

    name = live.space.names[3]
    told = once("/load", name)["/params"]
    assert once("/state")["/state"][-2] == name
    (file,) = once("/save", "mine")["/saved"]
    saved = json.loads(Path(file).read_text(encoding="utf-8"))["parameters"]
    assert list(saved.values()) == pytest.approx(told[1::2])
    np.testing.assert_allclose(list(saved.values()), live.known(3))


def test_what_is_told_is_what_is_saved(client, live):
    client.ask("/path/add", live.space.names[0])
    client.ask("/path/add", live.space.names[2])
    client.ask("/path/knobs", 1)
    told = client.ask("/path/play", 0.5)
    params = live.posterior.run.space
    ends = params.to_unit(live.posterior.learnt(np.stack([live.known(0), live.known(2)])))
    half = live.posterior.complete(params.from_unit(ends.mean(axis=0)))
    np.testing.assert_allclose(told["/params"][1::2], half, rtol=1e-5, atol=1e-6)
    assert client.ask("/params")["/params"] == told["/params"]
    (file,) = client.ask("/save", "knobs")["/saved"]
    saved = json.loads(Path(file).read_text(encoding="utf-8"))["parameters"]
    assert list(saved.values()) == pytest.approx(told["/params"][1::2], rel=1e-5, abs=1e-6)
    assert client.ask("/z")["/z"] == told["/z"]


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (("/nothing",), "unknown message '/nothing'; known: /ping, "),
        (("/ping", 1), "/ping cannot be used with 1 such argument; send it without arguments"),
        (("/decode", "pc1"), "/decode cannot be used with 1 such argument; send it axis pos"),
        (("/decode", "brightness", "much"), "'brightness' 'much': give a number"),
        (("/decode", "brightness", "1"), "'brightness' '1': give a number"),
        (("/decode", "pc1", 1.0, "brightness", 1.0, "pc1", 2.0), "'pc1' is there twice"),
        (("/move", "brightness", 1.0, "brightness", 1.0), "name each axis once"),
        (("/decode", "pc1", 6.1), "give -6 to 6"),
        (("/z", *[0.0] * 15, -57.0), "a point has the number -57; give -10 to 10"),
        (("/decode", "nowhere", 1.0), "unknown axis 'nowhere'; known: loudness"),
        (("/load", "nobody"), "unknown preset 'nobody'; known:"),
        (("/param", "nothing"), "unknown parameter 'nothing'; known:"),
        (("/z", 1.0, 2.0), "16 finite numbers"),
        (("/z", *[float("nan")] * 16), "latent nan: give a number"),
        (("/protocol", 1), "this server speaks 3"),
        (("/encode", "../run/run.json"), "unknown sound '../run/run.json'; known: tone.wav"),
        (("/encode", "loop"), "unknown sound 'loop'; known:"),
        (("/save", "../out"), "'../out' cannot name a file"),
        (("/render", ""), "'' cannot name a file"),
        (("/save", "  "), "' ' cannot name a file"),
        (("/path/play", 0.5), "the path is empty"),
        (("/presets", -1), "first preset -1: give an integer of at least 0"),
        (("/presets", 0, 51), "number of presets 51: give an integer from 1 to 50"),
        (("/presets", 0, 1, 2), "/presets cannot be used with 3 such arguments"),
        (("/analysis", "pc1", 100000), "100000: give an integer from 2 to 101"),
        (("/analysis", "pc1", 2, 3), "/analysis cannot be used with 3 such arguments"),
        (("/listen", 99999), "port 99999: give an integer from 0 to 65535"),
        (("/near", 3.5), "number of presets 3.5: give an integer from 1 to 50"),
        (("/near", "\uff13"), "number of presets '\uff13': give an integer"),
        (("/freeze", 7), "switch 7: give an integer from 0 to 1"),
        (("/path/knobs", 0.5), "switch 0.5: give an integer from 0 to 1"),
        (("/random", 0.5), "seed 0.5: give an integer"),
        (("/midi", "on"), "switch 'on': give an integer from 0 to 1"),
        (("/protocol", "3"), "protocol 3: this server speaks 3"),
        (("/cc", 1, 2, 3), "controller 2 of channel 1 moves no axis; on channel 16 these do: 3 ("),
        (("/cc", 16, 3, 128), "value 128: give an integer from 0 to 127"),
        (("/cc", 0, 3, 0), "channel 0: give an integer from 1 to 16"),
        (("/cc", 16, 3), "/cc cannot be used with 2 such arguments"),
        (("/note",), "/note cannot be used with 0 such arguments; send it pitch [velocity"),
        (("/note", 128), "pitch 128: give an integer from 0 to 127"),
        (("/note", 60.5), "pitch 60.5: give an integer from 0 to 127"),
        (("/note", "C4"), "pitch 'C4': give an integer from 0 to 127"),
        (("/note", 60, 200), "velocity 200: give an integer from 1 to 127"),
        (("/note", 60, 100, -1.0), "hold -1.0: give a number of at least 0.05"),
        (("/note", 128, 0), "pitch 128: give an integer from 0 to 127"),
    ],
)  # fmt: skip
def test_mistakes_get_one_clear_line(client, message, says):
    address, text = client.ask(*message, until="never")
    assert address == message[0]
    assert says in text
    assert "\n" not in text


def test_a_note_is_a_sound_file_of_the_preset_at_hand(client, live, tmp_path):
    name, own = live.space.names[1], live.posterior.run.note
    client.ask("/load", name)
    told = client.ask("/note", 67, 80, 0.2)
    assert "/noted" in told, told
    pitch, velocity, hold, file = told["/noted"]
    assert (pitch, velocity) == (67, 80)
    assert hold == pytest.approx(0.2)
    played, rate = soundfile.read(file, dtype="float32")
    note = Note(67, 80, 0.2, own.duration_seconds)
    direct = live.posterior.synth.render(live.known(1), note, rate)
    np.testing.assert_allclose(played, direct, atol=1e-6)
    softer = client.ask("/note", 67, 20, 0.2)["/noted"][-1]
    assert np.abs(soundfile.read(softer)[0]).max() < 0.7 * np.abs(played).max()
    assert client.ask("/note", 67, 80, 0.2)["/noted"][-1] == file  # the same sound, once
    assert len(list((tmp_path / "out" / "notes").iterdir())) == 2
    longest = client.ask("/note", 67, 80, 99.0)["/noted"][2]
    assert longest == pytest.approx(own.hold_seconds)
    assert client.ask("/note", 67, 0)["/noted"] == [67, 0, 0.0, ""]


def test_what_moves_is_told_as_controllers_that_have_changed(client, live):
    def heard(address, *arguments):
        client.raw(write(address, list(arguments)))
        client.raw(write("/ping", []))
        told = {}
        while (answer := client.hear())[0] != "/pong":
            assert answer[0] != "/error", answer
            told.setdefault(answer[0], []).append(answer[1])
        return told

    names = live.space.names
    heard("/load", names[0])
    first = {(c, n): value for c, n, value in heard("/midi", 1)["/cc"]}
    assert first == live.midi.values(live.known(0))
    then = {(c, n): value for c, n, value in heard("/load", names[1])["/cc"]}
    assert first | then == live.midi.values(live.known(1))
    assert all(first[c] != value for c, value in then.items())
    assert "/cc" not in heard("/load", names[1])
    by_controller = heard("/cc", 16, 3, 127)  # the first axis, to its end
    expected = live.move(live.space.place(names[1]), {next(iter(live.controls)): 3.0})
    np.testing.assert_allclose(by_controller["/z"][0], expected.z, rtol=1e-4, atol=1e-5)
    assert by_controller["/cc"]
    # A host that echoes what it is told, some of it late, gets no answer, and so no loop.
    for echo in (first, then):
        for controller, value in echo.items():
            assert heard("/cc", *controller, value) == {}
    np.testing.assert_allclose(heard("/z")["/z"][0], by_controller["/z"][0])
    # A search that ends after the point was moved: the last that is told is where the point is.
    at = {(c, n): value for c, n, value in heard("/midi", 1)["/cc"]}
    client.raw(write("/encode", ["tone.wav"]))
    client.raw(write("/load", [names[1]]))
    answer = ("", [])
    while answer[0] != "/encoded":
        answer = client.hear()
        at |= {tuple(answer[1][:2]): answer[1][2]} if answer[0] == "/cc" else {}
    at |= {(c, n): value for c, n, value in heard("/ping").get("/cc", [])}
    here = client.ask("/params")["/params"][1::2]
    for controller, value in live.midi.values(np.array(here)).items():
        assert abs(at[controller] - value) <= 1  # what is told has single precision
    assert not np.allclose(here, live.known(1))  # it was found, and gone to
    heard("/midi", 0)
    assert "/cc" not in heard("/load", names[0])


def test_the_sound_files_of_notes_do_not_fill_the_disk(live, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "NOTES", 3)
    session = Session(live, str(tmp_path))
    kept = [session.answer("/note", [p, 100, 0.1])[0][1][-1] for p in (60, 61, 60, 62, 63)]
    assert kept[0] == kept[2]
    folder = tmp_path / "notes"
    assert {str(f) for f in folder.iterdir()} == set(kept[2:])
    # A later server goes on with these, and leaves alone what only bears such a name.
    Path(kept[2]).write_bytes(theirs := b"cut by hand")
    foreign = [folder / "note-60-mine.wav", folder / f"note-61-{'0' * 16}.wav"]
    for file in foreign:
        file.write_bytes(theirs)
    monkeypatch.setattr(live, "files", files.SessionFiles(live.posterior))
    later = [session.answer("/note", [p, 100, 0.1])[0][1][-1] for p in (63, 64, 65)]
    assert later[0] == kept[-1]
    assert {str(f) for f in folder.iterdir()} == {*later, kept[2], *map(str, foreign)}
    assert all(f.read_bytes() == theirs for f in (Path(kept[2]), *foreign))
    with pytest.raises(InputError, match="holds another sound than its name tells"):
        session.answer("/note", [60, 100, 0.1])


def test_a_note_to_whose_file_a_sampler_has_added_something_stays(live, tmp_path, monkeypatch):
    monkeypatch.setattr(files, "NOTES", 1)
    session = Session(live, str(tmp_path))
    first = Path(session.answer("/note", [60, 100, 0.1])[0][1][-1])
    chunk = b"smpl" + struct.pack("<I", 36) + bytes(36)  # loop points; the samples are the same
    first.write_bytes(edited := first.read_bytes() + chunk)
    session.answer("/note", [61, 100, 0.1])
    session.answer("/note", [62, 100, 0.1])
    assert session.answer("/note", [60, 100, 0.1])[0][1][-1] == str(first)
    assert first.read_bytes() == edited


def test_slow_messages_find_the_point_where_it_was_when_they_arrived(client, live):
    """In one bundle: load, play, load, play; and a chord of more notes than searches may wait."""
    names, sent = live.space.names, []
    for name, pitch in zip(names[:2], (60, 72), strict=True):
        sent += [write("/load", [name]), write("/note", [pitch, 100, 0.1])]
    parts = b"".join(struct.pack(">i", len(part)) + part for part in sent)
    client.raw(b"#bundle\0" + struct.pack(">Q", 1) + parts)
    found = {}
    while len(found) < 2:
        address, values = client.hear()
        assert address != "/error", values
        if address == "/noted":
            found[values[0]] = soundfile.read(values[-1], dtype="float32")
    for number, (played, rate) in enumerate([found[60], found[72]]):
        note = live.note((60, 72)[number], 0.1)
        direct = live.posterior.synth.render(live.known(number), note, rate)
        np.testing.assert_allclose(played, direct, atol=1e-6)
    for pitch in range(60, 70):
        client.raw(write("/note", [pitch, 100, 0.1]))
    heard = [client.hear() for _ in range(10)]
    assert [values[0] for address, values in heard] == list(range(60, 70)), heard


def test_a_machine_does_not_replace_what_another_has_saved(live, tmp_path):
    first, second = Session(live, str(tmp_path)), Session(live, str(tmp_path))
    for address in ("/save", "/render"):
        file = Path(first.answer(address, ["lead"])[0][1][0])
        first.answer("/load", [live.space.names[3]])
        first.answer(address, ["lead"])  # its own it may
        written = file.read_bytes()
        with pytest.raises(InputError, match=f"'{file.name}' was written for another machine"):
            second.answer(address, ["lead"])
        assert file.read_bytes() == written
    with pytest.raises(InputError, match="is too long for a file; give a shorter name"):
        first.answer("/save", ["リード" * 25])


def test_for_want_of_a_thread_a_slow_message_is_refused_and_the_next_answered(
    client, served, monkeypatch
):
    def start(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    client.raw(write("/note", [60, 100, 0.1]))
    address, values = client.hear()
    monkeypatch.undo()
    assert address == "/error"
    assert "the machine is short of threads; end other programs, or try again" in values[1]
    assert not served.server._slow.total()
    assert "/noted" in client.ask("/note", 60, 100, 0.1)


def test_who_waits_for_a_drive_that_hangs_does_not_keep_the_others_waiting(
    client, served, monkeypatch
):
    drive, answer = threading.Event(), Session.answer

    def waiting(session, address, arguments):
        if address == "/sounds":
            assert drive.wait(WAIT)
        return answer(session, address, arguments)

    monkeypatch.setattr(Session, "answer", waiting)
    monkeypatch.setattr(background, "TURN_SECONDS", 0.2)
    other = Client(served.server.port, "127.0.0.2")
    client.raw(write("/sounds", []))
    assert "/rendered" in other.ask("/render", "mine")
    other.socket.close()
    assert client.hear() == (
        "/error",
        ["/sounds", "no answer within 60 s; it follows if there is one"],
    )
    drive.set()
    assert client.hear()[0] == "/sounds"


def test_an_answer_that_no_datagram_holds_is_said_to_be(client, monkeypatch):
    monkeypatch.setattr(Session, "answer", lambda *_: [("/params", ["x" * 70_000])])
    client.raw(write("/params", []))
    address, (asked, why) = client.hear()
    assert (address, asked) == ("/error", "/params")
    assert re.fullmatch(
        r"the answer has 70,\d+ bytes, more than .* \(65507\); ask for a part .*", why
    )


def test_without_a_folder_nothing_is_written(live):
    with pytest.raises(InputError, match="--play to hear .* or with --out FOLDER"):
        Session(live).answer("/note", [60])
    with pytest.raises(InputError, match="--out FOLDER"):
        Session(live).answer("/save", ["mine"])


def test_files_that_were_there_are_not_replaced(live, tmp_path):
    session = Session(live, str(tmp_path))
    (tmp_path / "take.wav").write_bytes(b"a recording that exists once")
    (tmp_path / "take.json").write_bytes(b"a preset that exists once")
    for address in ("/render", "/save"):
        with pytest.raises(InputError, match=r"take\..* was there before"):
            session.answer(address, ["take"])
        for _ in range(2):  # its own files are
            session.answer(address, ["mine"])
    for folder in ("folder.wav", "folder.json"):
        (tmp_path / folder).mkdir()
    (tmp_path / "link.wav").symlink_to("nowhere")
    (tmp_path / "link.json").symlink_to("nowhere")
    for address in ("/render", "/save"):
        for name in ("folder", "link"):
            with pytest.raises(InputError, match=rf"{name}\..* there before .*give another name"):
                session.answer(address, [name])
    for address, suffix in (("/render", ".wav"), ("/save", ".json")):
        (tmp_path / f"mine{suffix}").write_bytes(b"edited by hand")
        with pytest.raises(InputError, match=r"mine\..* was changed since; give another name"):
            session.answer(address, ["mine"])
        assert (tmp_path / f"mine{suffix}").read_bytes() == b"edited by hand"
    assert (tmp_path / "take.wav").read_bytes() == b"a recording that exists once"
    assert (tmp_path / "take.json").read_bytes() == b"a preset that exists once"


def bundle(tag, *messages):
    parts = [struct.pack(">i", len(m)) + m for m in messages]
    return b"#bundle\0" + struct.pack(">Q", tag) + b"".join(parts)


@pytest.mark.parametrize("ratio", [-0.5, 1.5, float("nan"), "0.5"])
def test_what_is_off_the_path_is_refused(client, ratio):
    client.ask("/path/add")
    assert isinstance(client.ask("/random", 1e30), dict)
    client.ask("/path/add")
    _, said = client.ask("/path/play", ratio)
    assert said == f"ratio {ratio!r}: give a number from 0 to 1"
    client.ask("/path/play", 1)  # whole numbers are numbers


def test_bundles_and_replays(client, served):
    ping, state = write("/ping", []), write("/state", [])
    client.raw(bundle(1, ping, ping))
    assert [client.hear()[0], client.hear()[0]] == ["/pong", "/pong"]
    # Of bundles with one time tag, only the one that has been here is dropped.
    now = 3_900_000_000 << 32
    sent = bundle(now, ping), bundle(now, state), bundle(now, ping), bundle(now - 1, ping)
    for one in sent:
        client.raw(one)
    assert [client.hear()[0] for _ in range(3)] == ["/pong", "/state", "/pong"]
    for _ in range(2):
        client.raw(bundle(1000, ping))  # no time, as some programs send always
    assert [client.hear()[0], client.hear()[0]] == ["/pong", "/pong"]
    counts = client.ask("/stats")["/stats"]
    counts = dict(zip(counts[::2], counts[1::2], strict=True))
    assert counts["replayed"] == 1


def test_bundles_within_bundles(client):
    ping, state = write("/ping", []), write("/state", [])
    client.raw(bundle(1, bundle(1, ping, bundle(2, state)), ping))
    assert [client.hear()[0] for _ in range(3)] == ["/pong", "/state", "/pong"]
    deep = ping
    for _ in range(300):
        deep = bundle(1, deep)
    client.raw(deep)
    address, (_, text) = client.hear()
    assert address == "/error"
    assert "bundles within bundles" in text


HOSTILE = [
    b"", b"\0", b"hello", b"/", b"/a", b"/ping\0\0\0", b"/ping\0\0\0,", b"/ping\0\0\0,i\0\0",
    b"/ping\0\0\0,[[[[", b"/ping\0\0\0,q\0\0", b"/load\0\0\0,b\0\0\xff\xff\xff\xff",
    b"/load\0\0\0,s\0\0\xff\xfe\0\0", b"#bundle\0", b"#bundle\0" + b"\0" * 8 + b"\xff\xff\xff\xfc",
    bundle(1, bundle(1)[:-1]), bundle(1, b""), bundle(1)[:-1], b"#bundle\0" + b"\xff" * 64,
    b"/z\0\0,i\0\0", b"/" * 4000, bytes(9000),
]  # fmt: skip


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        (b"/ping\0\0\0,,\0\0", "type tags ,; send numbers"),
        (b"/near\0\0\0,N\0\0", "type tags N; send numbers (i, h, f, d) and text (s)"),
        (b"/near\0\0\0,[i]\0\0\0\0\0\0\0\1", "type tags [ ]; send numbers"),
        (b"/load\0\0\0,s\0\0caf\xe9\0\0\0\0", "it is no text in utf-8"),
        (b"/load\0\0\0,s\0\0abc", "it has 15 bytes; every text ends with 1 to 4 zeros"),
        (b"/load\0\0\0,s\0\0abcd", "a part of it is cut off; every text ends"),
        (b"/load\0\0\0,s\0\0ab\0cdef\0", "something between its parts or behind them"),
        (b"/load\0\0\0,ss\0abcd\0xyz\0\0\0\0", "something between its parts or behind them"),
        (b"/near\0\0\0,i\0\0\0\0\0\1\0\0\0\2", "something between its parts or behind them"),
        (b"/near\0\0 ,i\0\0\0\0\0\1", "something between its parts or behind them"),
    ],
)
def test_what_is_not_understood_of_a_datagram_is_said(client, sent, says):
    client.raw(sent)
    address, (about, text) = client.hear()
    assert address == "/error"
    assert about == sent[:5].decode()  # the message that is meant
    assert says in text


@pytest.mark.parametrize(
    ("bad", "about", "says"),
    [
        (b"/load\0\0\0,b\0\0\0\0\0\4abcd", "/load", "no message here takes type tags b; send num"),
        (b"/near\0\0\0,m\0\0\0\0\0\1", "/near", "no message here takes type tags m; send numb"),
        (b"/near\0\0\0,Q\0\0what is.", "/near", "no message here takes type tags Q; send numbe"),
        (b"/load\0\0\0,s\0\0\xff\xfe\0\0", "/load", "it is no text in utf-8; send text in UTF-8"),
        (b"/load\0\0\0,s\0\0abcd", "/load", "a part of it is cut off"),
        (b"/l\xffd\0\0\0\0,s\0\0abc\0", "/l\ufffdd", "it is no text in utf-8"),
        (b"load\0\0\0\0", "", "not an OSC message: it begins neither with / nor with #bundle"),
        (b"#bundle\0\0\0\0\0", "", "not an OSC message: a bundle without a time tag"),
        (bundle(1, b"")[:-1], "", "a bundle whose sizes do not fit; what is behind that is lost"),
    ],
)  # fmt: skip
def test_of_a_bundle_only_the_message_that_is_bad_is_refused(client, live, bad, about, says):
    name = live.space.names[3]
    client.raw(bundle(1, write("/load", [name]), bad, bundle(1, bad), write("/state", [])))
    heard = [client.hear() for _ in range(5)]
    assert [address for address, _ in heard] == ["/params", "/z", "/error", "/error", "/state"]
    assert [heard[2][1][0], heard[3][1][0]] == [about, about]
    assert says in heard[2][1][1]
    assert heard[-1][1][-2] == name
    counts = client.ask("/stats")["/stats"]
    assert dict(zip(counts[::2], counts[1::2], strict=True))["malformed"] == 2


def test_before_a_size_that_does_not_fit_messages_are_done(client):
    client.raw(bundle(1, write("/ping", [])) + b"\0\0\1\0" + write("/state", []))
    assert client.hear()[0] == "/pong"
    address, (about, _) = client.hear()
    assert (address, about) == ("/error", "")
    client.raw(b"/error\0\0,b\0\0")  # which would be answered for ever
    client.settle()


RAISED = [
    RuntimeError("wants\nlouder"),
    ValueError("wants louder"),
    KeyError("louder"),
    SystemExit(5),
]


@pytest.mark.parametrize("raised", RAISED, ids=lambda raised: type(raised).__name__)
def test_whatever_a_model_raises_its_message_is_answered(
    client, live, monkeypatch, caplog, raised
):
    def sample_v(*_, **__):
        raise raised

    connections.server_log().filters[0]._last = -connections.LOG_SECONDS
    with monkeypatch.context() as patch:
        patch.setattr(type(live.posterior.variant), "sample_v", sample_v)
        address, text = client.ask("/encode", "tone.wav")
    assert address == "/encode"
    assert "\n" not in text
    told = f"{type(raised).__name__}: {' '.join(str(raised).split())}"
    assert text == f"the code of the run or the synth raised {told}; try another sound or preset"
    (line,) = [record.getMessage() for record in caplog.records]
    assert "OSC /encode ['tone.wav'] of 127.0.0.1 failed" in line
    counts = client.ask("/stats")["/stats"]
    assert dict(zip(counts[::2], counts[1::2], strict=True))["errors"] == 1
    assert "/encoded" in client.ask("/encode", "tone.wav")


ODD = """
import os

from pyrosynth.training.zoo import load_model


class Odd(load_model("flow_reg")):
    def encode(self, x):
        if "ODD" in os.environ:
            raise RuntimeError("wants louder")
        return super().encode(x)
"""


def test_a_model_of_ones_own_that_fails_is_named_with_its_line(
    folder, tmp_path, monkeypatch, caplog
):
    (tmp_path / "odd.py").write_text(ODD)
    fit(
        tmp_path / "odd.py", small_dataset(tmp_path), tmp_path / "run", options=SMALL["flow_reg"],
        steps=2, batch_size=16, progress=False,
    )  # fmt: skip
    connections.server_log().filters[0]._last = -connections.LOG_SECONDS
    with (
        Live(Posterior.load(tmp_path / "run"), [folder]) as live,
        closing(Served(live, None)) as served,
    ):
        client = Client(served.server.port)
        monkeypatch.setenv("ODD", "1")
        address, text = client.ask("/encode", "tone.wav")
        monkeypatch.delenv("ODD")
        assert "/encoded" in client.ask("/encode", "tone.wav")
        client.socket.close()
    assert address == "/encode"
    assert "the model fails in line 10 of" in text
    assert "wants louder" in text
    (line,) = [record.getMessage() for record in caplog.records if "OSC" in record.getMessage()]
    assert "OSC /encode ['tone.wav'] of 127.0.0.1 failed" in line


def test_an_analysis_tells_what_sounds_and_where_nothing_does(client, live, monkeypatch):
    client.ask("/load", live.space.names[0])
    place, render = live.space.place(live.space.names[0]), live.render
    bad = [live.move(place, {"pc1": position}).values for position in (-4.0, 2.0)]

    def crashing(values, note=None):
        if any(np.allclose(values, one) for one in bad):
            raise SynthError("the synth crashed; try another preset")
        return render(values, note)

    client.raw(write("/analysis", ["pc1", 5]))
    whole = [client.hear() for _ in range(len(NAMES) + CURVES + 1)]
    monkeypatch.setattr(live, "render", crashing)
    client.raw(write("/analysis", ["pc1", 5]))
    gaps = [client.hear() for _ in range(len(whole) + 1)]
    assert gaps.pop(-2) == (
        "/error",
        ["/analysis", "no sound on 'pc1' at -4, 2, NaN in the curves: the synth crashed; try "
         "another preset"],
    )  # fmt: skip
    for (address, told), (also, expected) in zip(gaps, whole, strict=True):
        assert (address, told[:3]) == (also, expected[:3])
        if "descriptor" in told:
            assert np.isnan(told[3:]).tolist() == [True, False, False, True, False]
            expected[3], expected[6] = np.nan, np.nan
        np.testing.assert_array_equal(told[3:], expected[3:])


def test_switches_are_numbers_or_true_and_false(client):
    for tags, on in ((b",T", 1), (b",F", 0)):
        client.raw(b"/freeze\0" + tags + b"\0\0")
        assert client.hear() == ("/freeze", [on])


def test_whatever_arrives_the_server_answers_the_next_message(client, served):
    rng = random.Random(0)
    good = write("/decode", ["brightness", 1.0])
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


def test_a_flood_is_counted_and_others_are_served(client, served):
    """Beside thousands of expensive messages others are answered, and complaints are few."""
    flood = Client(client.port, "127.0.0.2")
    over, began = threading.Event(), time.monotonic()
    message = write("/decode", ["brightness", 1.0])

    def pour():
        while not over.is_set():
            for _ in range(50):
                flood.raw(message)
            time.sleep(0.005)  # up to 10,000 a second

    thread = threading.Thread(target=pour)
    thread.start()
    try:
        for _ in range(10):
            client.settle()
        while served.server.counts["flooding"] <= 100:
            client.settle()
    finally:
        over.set()
        thread.join()
    counts = dict(served.server.counts)
    assert counts["errors"] <= 1 + (time.monotonic() - began) / osc_hosts.COMPLAINTS_SECONDS
    flood.socket.close()


class Clock:
    """Time that passes as this thread works, or is told to wait: that others work is not in it."""

    def __init__(self):
        self.waited = 0.0

    def monotonic(self):
        return time.thread_time() + self.waited

    def sleep(self, seconds):
        self.waited += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(osc, "time", clock)
    monkeypatch.setattr(osc_hosts, "time", clock)
    return clock


@pytest.fixture
def quiet(clock, live):
    """A server that is given its messages by hand, and answers one when it is told to."""
    server = osc.OscServer(live)
    server.endpoint = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    yield server
    server.endpoint.close()


def test_in_a_flood_the_next_turn_is_that_of_another_host(quiet, clock):
    message, ping = write("/decode", ["brightness", 1.0]), write("/ping", [])
    other = Client(0)
    for _ in range(10):
        for _ in range(1000):
            quiet.receive(message, ("127.0.0.2", 5000))
        quiet.receive(ping, other.socket.getsockname())
        n_answered = quiet.counts["answered"]
        while quiet.hosts["127.0.0.1"].turns:
            if not quiet.step():
                clock.sleep(0.002)
        assert other.hear()[0] == "/pong"
        assert quiet.counts["answered"] - n_answered <= 2
    assert quiet.counts["flooding"] > 9000
    other.socket.close()


def test_a_flood_of_a_fader_ends_where_the_fader_stops(quiet, clock):
    for moment in range(5 * osc.QUEUED):
        message = write("/decode", ["brightness", moment / (5 * osc.QUEUED - 1)])
        quiet.receive(message, ("127.0.0.1", 5000))
    host = quiet.hosts["127.0.0.1"]
    while host.turns:
        if not quiet.step():
            clock.sleep(0.002)
    assert (quiet.counts["answered"], quiet.counts["flooding"]) == (osc.QUEUED, 4 * osc.QUEUED)
    assert quiet.live.positions(host.session.place.z)["brightness"] == pytest.approx(1.0, abs=1e-3)


def test_programs_that_open_a_port_for_each_message_take_nothing_from_others(quiet, clock):
    ping, program = write("/ping", []), ("127.0.0.1", 5000)
    for _ in range(20):
        quiet.receive(ping, program)
    for number in range(300):
        quiet.receive(ping, ("127.0.0.1", 10_000 + number))
    host = quiet.hosts["127.0.0.1"]
    while host.turns:
        if not quiet.step():
            clock.sleep(0.002)
    assert (quiet.counts["answered"], quiet.counts["flooding"]) == (320, 0)
    quiet.receive(ping, ("127.0.0.1", 20_000))
    assert len(host.ports) <= osc.PORTS  # those at which nothing waits are forgotten
    for number in range(osc.MOST_PORTS + 5):
        for _ in range(osc.QUEUED * osc.PORTS // osc.MOST_PORTS):
            quiet.receive(ping, ("127.0.0.1", 30_000 + number))
    assert sum(len(port.datagrams) for port in host.ports.values()) <= osc.QUEUED * osc.PORTS
    assert quiet.counts["flooding"] >= 5


def test_a_host_has_half_of_the_time_at_most(quiet, clock):
    message = write("/decode", ["brightness", 1.0])

    def used(hosts):
        """Serve hosts that always have something for a second; return their shares."""
        spent = dict.fromkeys(hosts, 0.0)
        for host in hosts:  # what they have at once is used up
            quiet._host(host).credit._left = 0.0
        quiet._credit._left = 0.0
        began = clock.monotonic()
        while (now := clock.monotonic()) < began + 1:
            for host in hosts:
                if len(quiet._port(quiet._host(host), (host, 5000)).datagrams) < 4:
                    quiet.receive(message, (host, 5000))
            before = {host: quiet.hosts[host].credit._left for host in hosts}
            if not quiet.step():
                clock.sleep(0.002)
                continue
            after = {host: quiet.hosts[host].credit._left for host in hosts}
            (worked,) = [h for h in hosts if after[h] < before[h]] or [None]
            if worked:
                spent[worked] += clock.monotonic() - now
        return spent

    one = used(["127.0.0.1"])
    assert one["127.0.0.1"] < 0.6
    two = used(["127.0.0.1", "127.0.0.2"])
    assert sum(two.values()) < 0.9
    assert min(two.values()) > 0.3 * max(two.values())


N_MESSAGES = 150


def test_memory_does_not_grow(live, quiet, monkeypatch):
    """Many messages by many clients, bad ones among them, are as if they had not been."""
    monkeypatch.setattr(osc_hosts, "HOST_SHARE", 1e9)
    monkeypatch.setattr(osc, "SILENT_SECONDS", 0.0)
    monkeypatch.setattr(quiet._credit, "share", 1e9)
    names = live.space.names
    requests = [
        write("/ping", []), write("/move", ["brightness", 0.1]), write("/near", []),
        write("/random", [3]), write("/path/add", []), write("/path/play", [0.4]),
        write("/load", [names[0]]), write("/nothing", ["x"] * 50), *HOSTILE,
    ]  # fmt: skip

    def play():
        """Return how many pieces of memory are held after the same messages as each time."""
        rng = random.Random(1)
        for _ in range(N_MESSAGES):
            host = f"127.0.{rng.randrange(100)}.1"
            quiet.receive(rng.choice(requests), (host, rng.randrange(1024, 2048)))
            while any(host.turns for host in quiet.hosts.values()):
                quiet.step()
        for number in range(osc.HOSTS):  # the others are forgotten
            quiet.receive(b"", (f"127.1.{number}.1", 1024))
        while quiet._turns and quiet.step():
            pass
        gc.collect()
        return sys.getallocatedblocks()

    held = [play() for _ in range(5)]
    assert len(quiet.hosts) == osc.HOSTS
    # What is kept of each message would be there each time; what grows once is there once.
    assert np.median(np.diff(held)) < N_MESSAGES, held


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


def test_a_server_does_not_talk_to_itself(client, served):
    port = served.server.port
    said = f"port {port} is the server's own; give the one at which you listen"
    assert client.ask("/listen", port) == ["/listen", said]
    client.settle()
    received = served.server.counts["received"]
    served.server._send(served.server.hosts["127.0.0.1"], ("127.0.0.1", port), "/ping", [])
    client.settle()
    assert served.server.counts["received"] - received == 2
    assert served.server.counts["unsent"] == 0


@pytest.mark.parametrize("here", ["0.0.0.0", "127.0.0.1"])
def test_each_address_at_which_a_server_hears_itself_is_its_own(live, here):
    server = osc.OscServer(live)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server.endpoint:
        server.endpoint.bind((here, 0))
        for name in ("127.0.0.1", "127.0.0.2", "192.0.2.1"):
            own = name == "127.0.0.1" or (name == "127.0.0.2" and here == "0.0.0.0")
            assert (server._host(name).session.server_port == server.port) == own
            server.receive(write("/ping", []), (name, server.port))
            assert bool(server.hosts[name].turns) == (not own)


def test_this_machine_is_known_by_each_of_its_addresses(live, quiet, monkeypatch):
    """As where the server listens at an address of the local network."""
    addresses = {
        "eth0": [(socket.AF_INET, "10.9.9.1"), (socket.AF_INET, "10.9.9.7")],
        "eth1": [(socket.AF_INET6, "fe80::1%eth1"), (psutil.AF_LINK, "00:00:00:00:00:00")],
    }
    named = {
        name: [SimpleNamespace(family=family, address=address) for family, address in found]
        for name, found in addresses.items()
    }
    assert psutil.net_if_addrs()["lo"]  # what is asked for is there
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: named)
    osc_hosts._own_addresses.cache_clear()
    for name in ("10.9.9.1", "10.9.9.7", "fe80::1", "127.0.0.1", "::1", "::ffff:127.0.0.1"):
        assert osc_hosts.machine_of(name) == osc_hosts.HERE
    for name in ("127.0.0.2", "10.9.9.2", "2001:db8::1"):
        assert osc_hosts.machine_of(name) == name
    for name in ("10.9.9.1", "10.9.9.2", "10.9.9.7"):
        quiet.receive(write("/random", [1]), (name, 1024))
    asked = [port.address for port in quiet.hosts[osc_hosts.HERE].turns]
    assert asked == [("10.9.9.1", 1024), ("10.9.9.7", 1024)]  # each is answered where it is
    osc_hosts._own_addresses.cache_clear()
    assert set(quiet.hosts) == {osc_hosts.HERE, "10.9.9.2"}
    assert quiet.hosts[osc_hosts.HERE].session is quiet.session_here()
    for name in quiet.hosts:
        assert quiet.hosts[name].session.local == (name == osc_hosts.HERE)


def test_a_program_that_echoes_whatever_it_is_told_is_not_answered_for_ever(client, served):
    """A loop in a patch: `/z` and `/freeze` are answers, and messages with the same answers."""
    for start in (write("/random", [5]), write("/freeze", [1.0]), write("/midi", [1])):
        client.raw(start)
        until, echoed = time.monotonic() + 3.0, served.server.counts["echoed"]
        client.socket.settimeout(0.5)
        with suppress(TimeoutError):
            while time.monotonic() < until:
                client.raw(client.socket.recv(2**16))
        assert time.monotonic() < until
        assert served.server.counts["echoed"] > echoed
    client.socket.settimeout(WAIT)
    assert set(client.ask("/random", 6)) == {"/params", "/z"}


def test_a_program_that_answers_what_it_does_not_know_is_not_answered_for_ever(client, served):
    """As scsynth does: each would tell the other for ever that it knows no such message."""
    client.raw(write("/ping", []))
    heard = 0
    client.socket.settimeout(0.5)
    with suppress(TimeoutError):
        while heard < 100:
            (asked, *_) = read(client.socket.recv(2**16))[1][0]
            client.raw(write("/fail", [asked, "Command not found"]))
            heard += 1
    client.socket.settimeout(WAIT)
    assert heard < 100
    assert "/pong" in client.ask("/ping")
    for _ in range(10):
        client.raw(write("/clock", [1]))
    client.raw(write("/fail", ["x"]))  # which nobody sends again and again
    assert "unknown message '/fail'" in str([client.hear() for _ in range(9)])
    time.sleep(2 * osc_hosts.ECHO_SECONDS)
    for _ in range(2):  # who asks for what there is not, now and then, is told so
        client.raw(write("/fail", ["x"]))
        assert "unknown message '/fail'" in str(client.hear())
        client.ask("/ping")


@pytest.mark.parametrize(
    "answer", [b"ERR unknown", b"{}", write("/fail", []) + b"x", b"x" * (osc.LARGEST + 1)]
)
def test_answers_that_are_no_osc_are_complained_of_a_few_times(quiet, answer):
    for _ in range(3 * osc_hosts.ECHOES):
        quiet.receive(answer, ("127.0.0.1", 1024))
        quiet.step()
    assert quiet.counts["errors"] == osc_hosts.ECHOES


def test_unknown_messages_make_no_echoes_of_others(quiet):
    here = ("127.0.0.1", 1024)
    for value in (1.0, 0.0):
        quiet.receive(write("/freeze", [value]), here)
    for _ in range(2 * osc_hosts.ECHOES):
        quiet.receive(write("/joint", [0.5]), here)
    quiet.receive(write("/freeze", [1.0]), here)  # as was answered a moment ago
    while quiet.hosts["127.0.0.1"].turns:
        quiet.step()
    assert quiet.hosts["127.0.0.1"].session.frozen
    assert 0 < quiet.counts["echoed"] <= osc_hosts.ECHOES


def test_a_client_that_repeats_itself_is_answered(client, served):
    assert client.ask("/freeze", 1) == client.ask("/freeze", 1) == {"/freeze": [1]}
    for _ in range(2 * osc_hosts.ECHOES):
        assert set(client.ask("/z", *[0.0] * 16)) == {"/params", "/z"}
        client.ask("/state")
    assert served.server.counts["echoed"] == 0


def test_presets_that_are_sent_in_turn_are_no_echo(live, quiet, clock):
    """Each is what was answered a while ago, as by a sequencer of two or more steps."""
    steps = live.space.z[:2].tolist()
    for step in range(40):
        quiet.receive(write("/z", steps[step % 2]), ("127.0.0.1", 1024))
        quiet.step()
        here = quiet.hosts["127.0.0.1"].session.place.z
        np.testing.assert_allclose(here, steps[step % 2], rtol=1e-6)
        clock.sleep(0.125)
    assert quiet.counts["echoed"] == 0


def test_new_hosts_do_not_drive_out_those_that_are_heard(live, quiet, monkeypatch):
    quiet.receive(write("/random", [1]), ("127.0.0.1", 1024))
    known = quiet.hosts["127.0.0.1"]
    for number in range(2 * osc.HOSTS):
        quiet.receive(write("/random", [2]), (f"127.1.{number}.1", 1024))
    assert quiet.hosts["127.0.0.1"] is known
    assert len(quiet.hosts) == osc.HOSTS
    assert quiet.counts["flooding"] == osc.HOSTS + 1
    monkeypatch.setattr(osc, "SILENT_SECONDS", 0.0)
    quiet.receive(write("/random", [2]), ("127.2.0.1", 1024))
    assert "127.2.0.1" in quiet.hosts
    assert "127.0.0.1" not in quiet.hosts


def test_clients_may_write_so_many_files_and_no_more(client, live, tmp_path, monkeypatch):
    monkeypatch.setattr(messages, "FILES", len(live.files.written) + 2)
    assert "/saved" in client.ask("/save", "one")
    assert "/rendered" in client.ask("/render", "one")
    _, said = client.ask("/save", "two")
    assert re.search(r"\d+ files were written, the most of one server; .*start it again", said)
    assert "/saved" in client.ask("/save", "one")  # as before


def test_two_servers_that_are_sent_to_each_other_fall_silent(client, served, live, tmp_path):
    with closing(Served(live, str(tmp_path / "other"))) as other:
        client.raw(write("/listen", [other.server.port]))
        time.sleep(0.5)
        received = other.server.counts["received"]
        time.sleep(0.5)
        assert other.server.counts["received"] == received == 1
