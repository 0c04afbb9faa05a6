"""MIDI ports of JACK: a server and what it is connected to, two programs with real ports."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import mido
import numpy as np
import pytest
from lively import small_posterior
from test_osc import Client

from pyrosynth.live.controllers import Controller
from pyrosynth.live.engine import Live
from pyrosynth.live.midi import MidiPorts

WAIT = 180.0  # seconds; machines are busy
BACKEND = "mido.backends.rtmidi/UNIX_JACK"


def control(at, value):
    return mido.Message("control_change", channel=at.channel - 1, control=at.number, value=value)


def position(osc, axis):
    """Return where on an axis the point of the programs on this machine is."""
    told = osc.ask("/axes")["/axes"]
    return told[told.index(axis) + 1]


def until(condition):
    ends = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < ends, "waited too long"
        time.sleep(0.02)


@pytest.fixture
def jack(monkeypatch, tmp_path):
    """Run JACK without a sound card; mido and what is started use its MIDI."""
    if shutil.which("jackd") is None:
        pytest.skip("needs JACK; install it, such as by apt install jackd2")
    name = f"pyrosynth-tests-{os.getpid()}"
    for key, value in {"JACK_DEFAULT_SERVER": name, "JACK_NO_START_SERVER": "1"}.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("MIDO_BACKEND", BACKEND)
    log = (tmp_path / "jackd.log").open("w", encoding="utf-8")
    # JACK drops clients that miss its clock, as they do on a busy machine: it is to be patient.
    command = ["jackd", "--no-realtime", "-t", "60000", "-n", name, "-d", "dummy", "-p", "1024"]
    process = subprocess.Popen(command, stdout=log, stderr=log)
    before = mido.backend
    try:
        until(lambda: not subprocess.run(["jack_lsp"], capture_output=True).returncode)
        mido.set_backend(BACKEND)
        yield process
    finally:
        mido.set_backend(before)
        process.terminate()
        process.wait(WAIT)
        log.close()


@contextmanager
def served(*options):
    """Run `pyrosynth serve`; give the process, the port of OSC, and what it has said."""
    command = [sys.executable, "-m", "pyrosynth", "serve", str(small_posterior()[0])]
    process = subprocess.Popen(
        [*command, "--port", "0", "--osc-port", "0", *options], stderr=subprocess.PIPE, text=True
    )
    try:
        said = []
        for line in process.stderr:
            said.append(line)
            if "Ctrl-C" in line:
                break
        (port,) = re.findall(r"OSC.*?:(\d+)", "".join(said))
        yield process, int(port), "".join(said)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(WAIT)
        process.stderr.close()


def test_two_new_ports_of_one_name_are_not_connected_to_each_other(jack):
    with MidiPorts("my knobs", "my knobs") as ports:
        assert ports.lines == [
            f"MIDI {kind}: a new port 'my knobs', to be connected to"
            for kind in ("output", "input")
        ]
        assert "pyrosynth:my knobs" in mido.get_input_names()
        with MidiPorts(into="my knobs") as others:  # of another program
            assert others.lines == ["MIDI input: port 'pyrosynth:my knobs'"]


def test_a_server_plays_a_synth_and_follows_faders(jack, tmp_path):
    _, posterior = small_posterior()
    heard = {}  # the knobs of the synth

    def turn(message):
        assert message.type == "control_change"
        heard[Controller(message.channel + 1, message.control)] = message.value

    ports = ("--midi-out", "Synth", "--midi-in", "pyrosynth", "--midi-map", tmp_path / "map.toml")
    with (
        Live(posterior) as live,
        mido.open_input("Synth", virtual=True, callback=turn),
        served(*ports) as (process, port, said),
    ):
        assert "MIDI output: port '" in said
        assert "MIDI input: a new port 'pyrosynth', to be connected to" in said
        osc = Client(port)
        try:
            # a preset goes out: all of it, then what is different
            for number in (0, 1, 5):
                osc.ask("/load", live.space.names[number])
                wanted = live.midi.values(live.known(number))
                until(lambda wanted=wanted: heard == wanted)

            # a fader comes in, and what it moves goes out; the last of many values counts
            (name,) = (name for name in mido.get_output_names() if "pyrosynth" in name)
            axis, at = next(iter(live.midi.axes.items()))
            before = osc.ask("/move", axis, 0.0)
            with mido.open_output(name) as faders:
                for value in range(0, 125, 4):
                    faders.send(control(at, value))

                def followed():
                    faders.send(control(at, 124))  # again, should JACK have lost it
                    return position(osc, axis) == pytest.approx(3.0 * 60 / 63, abs=1e-3)

                until(followed)
                now = osc.ask("/move", axis, 0.0)
                assert now["/params"] != before["/params"]
                until(lambda: heard == live.midi.values(np.array(now["/params"][1::2])))
                for message in map(control, heard, heard.values()):
                    faders.send(message)  # as a DAW sends back what it receives
            again = osc.ask("/move", axis, 0.0)
            # The last of the faders may have come after that: to where it was, but for rounding.
            assert again["/z"] == pytest.approx(now["/z"], abs=1e-6)
            assert again["/params"] == now["/params"]

            # faders go away, come back; the server goes on
            with mido.open_output(name) as faders:
                faders.send(mido.Message("program_change", program=3))
            assert process.poll() is None
            assert osc.ask("/ping")
        finally:
            osc.socket.close()
