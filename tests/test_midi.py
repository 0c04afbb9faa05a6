"""MIDI ports of a server: real messages of mido, through a backend without a system below."""

import asyncio
import json
import sys
import threading
from pathlib import Path

import mido
import numpy as np
import pytest
from aiohttp.test_utils import TestClient, TestServer
from lively import small_posterior
from loopback_midi import PORTS, SENT

from pyrosynth.errors import InputError
from pyrosynth.live import osc, web
from pyrosynth.live.controllers import Controller
from pyrosynth.live.engine import Live
from pyrosynth.live.midi import MidiPorts
from pyrosynth.live.osc_packets import write
from pyrosynth.live.speaker import Mixer


@pytest.fixture(scope="module")
def live():
    with Live(small_posterior()[1]) as live:
        yield live


@pytest.fixture(autouse=True)
def _loopback():
    before = mido.backend
    mido.set_backend("loopback_midi")
    SENT.clear()
    yield
    mido.set_backend(before)
    assert not PORTS  # all are closed


def heard():
    """Return what the synth's controllers are at, after all that was sent."""
    assert {message.type for _, message in SENT} <= {"control_change"}
    return {Controller(m.channel + 1, m.control): m.value for _, m in SENT}


async def until(condition):
    for _ in range(60_000):  # machines are busy
        if condition():
            return
        await asyncio.sleep(0.01)
    raise TimeoutError


def test_presets_go_out_and_faders_come_in(live):
    asyncio.run(_out_and_in(live))


async def _out_and_in(live):
    with MidiPorts("Synth", "pyrosynth") as ports:
        assert ports.lines == [
            "MIDI output: port 'Synth 14:0'",
            "MIDI input: a new port 'pyrosynth', to be connected to",
        ]
        server = await osc.listen(
            live, "127.0.0.1", 0, moved=lambda told: ports.tell(told.place.values)
        )
        ports.start(live, server.session_here)
        fader = PORTS["input", "pyrosynth"].callback

        # what programs on this machine do by OSC; only what has changed is sent
        for number in (0, 1, 1):
            server.receive(write("/load", [live.space.names[number]]), ("127.0.0.1", 9))
            n_before = len(SENT)
            while server.hosts["127.0.0.1"].turns:
                server.step()
            assert heard() == live.midi.values(live.known(number))
        assert len(SENT) == n_before

        # a fader, from a thread of the port's own; of many values, the last counts
        first, second = list(live.controls)[:2]
        begun = server.session_here().place
        at = {name: live.midi.axes[name] for name in (first, second)}

        def turn():
            for value in range(128):
                for c in at.values():
                    fader(mido.Message("control_change", channel=c.channel - 1,
                                       control=c.number, value=value))  # fmt: skip

        thread = threading.Thread(target=turn)
        thread.start()
        thread.join()  # all of them wait by the time that the server looks
        goal = live.move(begun, {first: 3.0, second: 3.0})
        await until(lambda: server.session_here().place is not begun)
        np.testing.assert_allclose(server.session_here().place.z, goal.z, atol=1e-4)
        assert heard() == live.midi.values(server.session_here().place.values)

        # what a DAW sends back, and whatever else there is, moves nothing and is not answered
        n_sent, place = len(SENT), server.session_here().place
        for _, message in list(SENT):
            fader(message)
        for other in ("clock", "pitchwheel", "note_on", "sysex", "program_change"):
            fader(mido.Message(other))
        await asyncio.sleep(0.05)
        assert (len(SENT), server.session_here().place) == (n_sent, place)

        # the page; and a port that has gone
        async with TestClient(TestServer(web.Site(live, "small", midi=ports).app())) as client:
            assert (await (await client.get("/api/state")).json())["sends_midi"]
            asked = {"values": live.known(2).tolist()}
            assert (await client.post("/api/midi", data=json.dumps(asked))).status == 200
            assert heard() == live.midi.values(live.known(2))
            PORTS["output", "Synth 14:0"].gone = True
            asked = {"values": live.known(3).tolist()}
            response = await client.post("/api/midi", data=json.dumps(asked))
            assert response.status == 400
            assert (await response.json())["error"].startswith("MIDI cannot be sent (unplugged)")
            asked = {"values": [float("nan")] * len(live.known(3))}
            assert (await client.post("/api/midi", data=json.dumps(asked))).status == 400
        await server.close()


def test_keys_play_the_preset_where_there_is_a_sound_output(live, monkeypatch):
    asyncio.run(_keys(live, monkeypatch))


async def _keys(live, monkeypatch):
    mixer = Mixer(live.posterior.run.features.sample_rate)  # what a sound output takes blocks from
    monkeypatch.setattr(live, "speaker", mixer)
    with MidiPorts(into="Keys") as ports:
        server = await osc.listen(live, "127.0.0.1", 0)
        ports.start(live, server.session_here)
        keys = PORTS["input", "Keys 20:0"].callback
        keys(mido.Message("note_on", note=64, velocity=100))
        await until(lambda: len(mixer) == 1)
        note = live.note(64, live.posterior.run.note.hold_seconds, 100)
        sound = live.render(server.session_here().place.values, note).audio
        np.testing.assert_allclose(mixer.block(500), 0.5 * sound[:500], atol=1e-6)
        keys(mido.Message("note_off", note=64))
        await asyncio.sleep(0.05)
        await until(lambda: ports._n_notes == 0)
        mixer.block(2**14)  # longer than it takes to fade
        assert len(mixer) == 0
        await server.close()


def test_what_cannot_be_opened_is_one_line(monkeypatch):
    for name in ("", " ", "two\nlines", "x" * 61):
        with pytest.raises(InputError, match="names no MIDI output; give 1 to 60 printable"):
            MidiPorts(name)
    monkeypatch.setitem(sys.modules, "mido", None)
    with pytest.raises(InputError, match=r"'mido'; install it: pip install 'pyrosynth\[midi\]'"):
        MidiPorts("x")
    with MidiPorts() as none:  # needs nothing installed
        assert not none.sends


def test_the_ports_of_this_machine(monkeypatch):
    pytest.importorskip("rtmidi")
    mido.set_backend("mido.backends.rtmidi")
    if Path("/dev/snd/seq").exists() or sys.platform == "darwin":
        with MidiPorts(into="pyrosynth tests") as ports:
            assert ports.lines[0].startswith("MIDI input: a new port 'pyrosynth tests'")
            assert MidiPorts("pyrosynth tests").lines[0].startswith("MIDI output: port '")
    else:
        with pytest.raises(InputError, match=r"no MIDI output 'x' can be opened \(.*: none$"):
            MidiPorts("x")
    monkeypatch.setitem(sys.modules, "rtmidi", None)
    monkeypatch.delitem(sys.modules, "mido.backends.rtmidi", raising=False)
    mido.set_backend("mido.backends.rtmidi")
    with pytest.raises(InputError, match="'rtmidi'; install it: pip install"):
        MidiPorts("x")
