"""MIDI controllers: the map as a file, and what the real amsynth makes of it."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from pyrosynth.errors import InputError, PyrosynthError
from pyrosynth.live.controllers import FREE, Controller, ControllerMap
from pyrosynth.synths import load_synth
from pyrosynth.synths.voice import Voice

AXES = ["brightness", "length", "pc1"]
PLAY = """
import ctypes as C, json, sys
import numpy as np
from pyrosynth.synths import ladspa as abi
path, ports, controllers, out = sys.argv[1], *map(json.loads, sys.argv[2:4]), sys.argv[4]
dssi = abi.descriptors(C.CDLL(path))[0]
plugin = dssi.ladspa.contents
plugin_handle = plugin.instantiate(C.addressof(plugin), 44100)
n, values = 22050, np.array([0, 0, *ports], np.float32)
audio = np.zeros((2, n), np.float32)
for i in range(plugin.n_ports):
    memory = audio[i] if i < 2 else values[i:]
    plugin.connect_port(plugin_handle, i, memory.ctypes.data)
events = (abi.Event * (len(controllers) + 1))()
for event, (number, value) in zip(events, controllers):
    event.type, event.duration, event.padding = 10, number, value  # SND_SEQ_EVENT_CONTROLLER
note = events[len(controllers)]
note.type, note.note, note.velocity, note.tick = abi.NOTE_ON, 60, 100, 64
dssi.run_synth(plugin_handle, n, events, len(events))
np.save(out, audio)
"""


def test_a_map_is_a_file_that_people_edit(tmp_path):
    synth, file = load_synth("voice"), tmp_path / "voice.toml"
    written = ControllerMap.load(file, synth, AXES)
    assert written == ControllerMap.usual(synth, AXES) == ControllerMap.load(file, synth, AXES)
    assert len({*written.parameters.values(), *written.axes.values()}) == len(
        synth.param_space
    ) + len(AXES)
    name = synth.param_space.names[0]
    mine = (
        f'version = 1\nsynth = "voice"\n[parameters]\n{name} = {{ channel = 3, controller = 7 }}\n'
    )
    file.write_text(mine)
    read = ControllerMap.load(file, synth, AXES)
    assert (read.parameters, read.axes) == ({name: Controller(3, 7)}, {})
    assert file.read_text() == mine  # never written over


def test_a_map_is_read_back_whatever_things_are_called(tmp_path):
    class Odd(type(load_synth("voice"))):
        name = "odd {2}\n\x7f"

    file, axes = tmp_path / "odd.toml", ["\U0001f3b9 \x7f", "a = [b]"]
    written = ControllerMap.load(file, synth := Odd(), axes)
    assert ControllerMap.load(file, synth, axes) == written


def test_what_gets_no_controller_is_named():
    synth = load_synth("voice")
    axes = [f"axis {i}" for i in range(len(FREE) + 7)]
    said = ControllerMap.usual(synth, axes).left_out(axes)
    assert said.startswith(f"no MIDI controller for 7 of {len(axes)} axes (axis {len(FREE)}, ")
    assert said.endswith(", …); see --midi-map")
    assert ControllerMap.usual(synth, AXES).left_out(AXES) == ""
    names = synth.param_space.names
    one = ControllerMap(synth, {names[0]: Controller(1, 3)}, {}).left_out(AXES)
    assert f"{len(names) - 1} of {len(names)} parameters ({names[1]}, " in one
    assert "and 3 of 3 axes (brightness, length, pc1); see" in one


def test_controllers_go_from_end_to_end_of_a_parameter_and_of_an_axis():
    synth = load_synth("voice")
    space, usual = synth.param_space, ControllerMap.usual(synth, AXES)
    assert set(usual.values(np.array(space.minimum)).values()) == {0}
    assert set(usual.values(np.array(space.maximum)).values()) == {127}
    ends = [usual.moved(Controller(16, FREE[0]), value) for value in (0, 1, 64, 127)]
    assert [end["brightness"] for end in ends] == [-3.0, -3.0, 0.0, 3.0]
    with pytest.raises(InputError, match=r"controller 5 of channel 1 moves no axis; .*3 \(bright"):
        usual.moved(Controller(1, 5), 64)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("version = 2", "version 2: this reads 1"),
        ("version = true", "version True: this reads 1"),
        ('version = 1\nsynth = "amsynth"', "it is of synth 'amsynth', the run is of voice"),
        ("version 1", "Expected '='"),
        ('version = 1\nsynth = "voice"\n[axes]\nnowhere = 3', "unknown axis 'nowhere'; known: br"),
        ('version = 1\nsynth = "voice"\n[axes]\npc1 = 3', "axes is no table of name = { ch"),
        ('version = 1\nsynth = "voice"\nparameters = [1]', "parameters is no table of name = {"),
        ('version = 1\nsynth = "voice"\n[axes]\npc1 = {channel = 1}', "it has no 'controller'"),
        ("\ufeffversion = 2", "version 2: this reads 1"),  # as some editors write it
        (
            'version = 1\nsynth = "voice"\n[axes]\npc1 = {channel = 0, controller = 3}',
            "channel of pc1 0: give an integer from 1 to 16",
        ),
        (
            'version = 1\nsynth = "voice"\n[axes]\npc1 = {channel = 1, controller = 3}\n'
            "length = {channel = 1, controller = 3}",
            "pc1 and length have one controller",
        ),
        (
            'version = 1\nsynth = "voice"\n[parameters]\nlevel = {channel = 2, controller = 3}\n'
            "[axes]\npc1 = {channel = 2, controller = 3}",
            "parameter level and axis pc1 have one controller, so each move would be answered",
        ),
        ("\x00" * (2**20 + 1), "it is larger than 1 MiB"),
    ],
)
def test_a_map_that_cannot_be_used_is_one_line_and_stays(text, says, tmp_path):
    file = tmp_path / "map.toml"
    file.write_text(text)
    with pytest.raises(PyrosynthError) as caught:
        ControllerMap.load(file, load_synth("voice"), AXES)
    assert says in str(caught.value)
    assert "map.toml" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert file.read_text() == text
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"\(it is no text in utf-8\)"):
        ControllerMap.load(file, load_synth("voice"), AXES)
    with pytest.raises(InputError, match="File name too long"):
        ControllerMap.load(tmp_path / ("x" * 5000), load_synth("voice"), AXES)


def test_a_synth_without_a_file_of_its_own_says_so(tmp_path):
    with pytest.raises(InputError, match=r"'voice' has no file of controllers; give a \.toml"):
        ControllerMap.load(tmp_path / "controllers", load_synth("voice"), AXES)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"lever": 5}, "unknown parameter 'lever'; known: "),
        ({"level": 5, "drive": 5}, "level and drive have one controller"),
        ({"level": 300}, "controller of level 300: give an integer from 0 to 127"),
    ],
)
def test_what_a_class_reads_from_a_file_of_its_own_is_checked(given, says, tmp_path):
    class Own(Voice):
        def read_controllers(self, content):
            return given

    file = tmp_path / "controllers"
    file.write_text("mine")
    with pytest.raises(InputError, match=f"controllers' is no map of controllers .{says}"):
        ControllerMap.load(file, Own(), AXES)


@pytest.mark.plugin
def test_a_line_of_amsynths_controllers_that_cannot_be_used_is_told(tmp_path):
    file, amsynth = tmp_path / "controllers", load_synth("amsynth")
    file.write_text("null\n" * 5 + "osc1_wavefrom\n" + "null\n" * 122)
    with pytest.raises(
        InputError, match="its line 6, 'osc1_wavefrom', is no parameter of amsynth"
    ):
        ControllerMap.load(file, amsynth, AXES)
    file.write_text("null\n" * 127)
    with pytest.raises(InputError, match="it has 127 lines, not one for each of 128 controllers"):
        ControllerMap.load(file, amsynth, AXES)


@pytest.mark.plugin
def test_amsynth_plays_what_its_controllers_say(tmp_path):
    """The file of controllers is read by amsynth, which then turns its knobs by our messages."""
    synth = load_synth("amsynth")
    file = tmp_path / "amsynth" / "controllers"
    file.parent.mkdir()
    usual = ControllerMap.load(file, synth, AXES)
    assert ControllerMap.load(file, synth, AXES) == usual  # read back
    space, presets = synth.param_space, synth.presets()
    quiet = {"reverb_wet": 0.0, "portamento_time": 0.0}
    start, goal = (
        np.array([{**presets[i].values, **quiet}[name] for name in space.names]) for i in (3, 40)
    )
    told = {c.number: value for c, value in usual.values(goal).items()}
    coarse = start.copy()
    for name, controller in usual.parameters.items():
        i = space.names.index(name)
        reach = space.maximum[i] - space.minimum[i]
        coarse[i] = space.minimum[i] + told[controller.number] / 127 * reach
    coarse = np.where(space.discrete, np.rint(coarse), coarse)

    def play(ports, controllers, name):
        out = tmp_path / f"{name}.npy"
        subprocess.run(
            [sys.executable, "-c", PLAY, str(synth.path), json.dumps(list(ports)),
             json.dumps(controllers), str(out)],
            check=True, timeout=600, env={**os.environ, "XDG_CONFIG_HOME": str(tmp_path)},
        )  # fmt: skip
        return np.load(out)

    moved, there, before = (
        play(start, list(told.items()), "moved"), play(coarse, [], "there"),
        play(start, [], "before"),
    )  # fmt: skip
    peak = np.abs(there).max()
    assert np.abs(before - there).max() > 0.1 * peak
    assert np.abs(moved - there).max() < 0.01 * peak
