"""VST3 plugins: what the host reads, plays and writes, and what it refuses."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pyrosynth import synths
from pyrosynth.audio.note import Note
from pyrosynth.errors import InputError, SynthError
from pyrosynth.synths.hosts.formats import open_plugin
from pyrosynth.synths.hosts.vstpreset import VstPreset
from pyrosynth.synths.presets import Preset

RATE = 22050
NOTE = Note(hold_seconds=0.2, duration_seconds=0.4)
LIBRARY = "Contents/x86_64-linux"


@pytest.fixture(scope="module")
def plugin(probe):
    return probe / "Probe.vst3"


@pytest.fixture(scope="module")
def synth(plugin):
    return synths.load_synth(plugin)


def test_midi_controllers_are_no_controls(synth):
    assert len(synth.described.controls) == 17
    roles = {control.role: control.name for control in synth.described.dropped}
    assert roles == {
        "midi controller": "2080 MIDI controllers",
        "program change": "Current Program",
    }


def test_controls_are_described(synth):
    params = {param.name: param for param in synth.param_space.params}
    kinds = {name: param.kind for name, param in params.items() if param.kind != "continuous"}
    assert kinds == {
        "Wave": "categorical",
        "Octave": "stepped",
        "Square": "toggle",
        "Pan": "categorical",
        "Channel": "stepped",
    }
    assert params["Wave"].labels == ("Sine", "Saw", "Pulse", "Noise")
    assert params["Pan"].labels == ("Left", "Centre", "Right")
    assert (params["Octave"].resolution, params["Channel"].resolution) == (5, 16)
    octave, cutoff, level = (params[name] for name in ("Octave", "Cutoff", "Level"))
    assert (octave.minimum, octave.maximum, octave.default) == (-2, 2, 0)
    assert (cutoff.minimum, cutoff.maximum, cutoff.unit) == (20, 20000, "Hz")
    assert cutoff.default == pytest.approx(2000)
    assert (level.minimum, level.maximum, level.unit) == (-40, 6, "dB")
    assert (level.default, params["Wave"].default) == (pytest.approx(-6), 1)


def test_programs_are_read_back(synth):
    programs = synth.presets()
    assert [preset.name for preset in programs] == ["Plain", "Hollow", "Bell (soft)"]
    told = [
        [preset.values[name] for name in ("Wave", "Cutoff", "Resonance", "Release")]
        for preset in programs
    ]
    assert told == [
        pytest.approx(values, rel=1e-6)
        for values in ([1, 2000, 0.2, 0.1], [2, 600, 0.7, 0.4], [0, 8000, 0, 0.2])
    ]


def test_a_preset_file_comes_back(synth, tmp_path):
    values = synth.param_space.from_unit(0.9 * np.random.default_rng(3).random(17))
    preset = Preset.from_array(synth.param_space, values, "mine")
    assert synth.write_bank(tmp_path / "mine.vstpreset", [preset])
    read = synth.read_bank(tmp_path / "mine.vstpreset")[0]
    assert read.name == "mine"
    units = [synth.param_space.to_unit(p.array(synth.param_space)) for p in (preset, read)]
    np.testing.assert_allclose(units[1], units[0], atol=1e-6)


def test_presets_of_the_user_are_found(synth, tmp_path, monkeypatch, caplog):
    folder = tmp_path / ".vst3" / "presets" / synth.described.maker / synth.described.name / "Pads"
    folder.mkdir(parents=True)
    values = synth.param_space.from_unit(0.9 * np.random.default_rng(4).random(17))
    synth.write_bank(folder / "wide.VSTPRESET", [Preset.from_array(synth.param_space, values)])
    VstPreset("AB" * 16, b"state").save(folder / "other.vstpreset")
    (folder / "cut.vstpreset").write_bytes(b"VST3")
    monkeypatch.setenv("HOME", str(tmp_path))
    *programs, mine = synth.presets()
    assert (len(programs), mine.name, mine.bank) == (3, "wide", "Pads")
    cut, other = [record.getMessage() for record in caplog.records]
    assert "left out: cannot read a preset from" in cut
    assert "cut.vstpreset" in cut
    assert "other.vstpreset' is a preset of the VST3 class" in other
    units = [synth.param_space.to_unit(v) for v in (values, mine.array(synth.param_space))]
    np.testing.assert_allclose(units[1], units[0], atol=1e-6)


def test_the_file_holds_class_and_states(tmp_path):
    preset = VstPreset("0123456789ABCDEF" * 2, b"component", b"controller")
    preset.save(tmp_path / "p.vstpreset")
    content = (tmp_path / "p.vstpreset").read_bytes()
    assert content[:8] == b"VST3\1\0\0\0"
    assert content[8:40] == b"0123456789ABCDEF" * 2
    assert content[48:67] == b"componentcontroller"
    assert VstPreset.load(tmp_path / "p.vstpreset") == preset
    for n in range(len(content)):
        (tmp_path / "cut.vstpreset").write_bytes(content[:n])
        with pytest.raises(InputError, match=r"give a \.vstpreset file"):
            VstPreset.load(tmp_path / "cut.vstpreset")


def test_presets_of_another_class_are_refused(synth, tmp_path):
    VstPreset("AB" * 16, b"state").save(tmp_path / "other.vstpreset")
    with pytest.raises(InputError, match=f"class {'AB' * 16}, not of Probe"):
        synth.read_bank(tmp_path / "other.vstpreset")


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize(
    ("isolation", "clean"),
    [("reuse", False), ("fresh", False), ("reload", True), ("load", True), ("fork", True)],
)
def test_isolations_clear_noise_and_echo(plugin, isolation, clean):
    synth = synths.load_synth(plugin, isolation=isolation)
    preset = {"Noise": 1.0, "Echo": 1.0}
    values = Preset("noisy", preset).array(synth.param_space)
    first = synth.render(values, NOTE, RATE)
    assert np.abs(first).max() > 0.01
    assert np.array_equal(first, synth.render(values, NOTE, RATE)) == clean
    synth.file.close()


def test_release_and_blocks_are_where_they_are_asked_for(plugin):
    file = open_plugin(plugin)
    described = file.describe(file.classes()[0].id)
    space = synths.load_synth(plugin).param_space
    values = Preset("", {"Attack": 0.001, "Release": 0.01}).array(space)
    note = Note(hold_seconds=0.1234, duration_seconds=0.4)
    with file.instance(described, RATE) as instance:
        sound = instance.play(values, note)
    release = int(0.1234 * RATE)
    assert np.abs(sound[release - 200 : release]).max() > 0.1
    assert np.abs(sound[release + 600 :]).max() < 0.01 * np.abs(sound).max()


def test_an_effect_is_refused(tmp_path, plugin):
    effect = shutil.copytree(plugin, tmp_path / "Probe.vst3")
    library = effect / LIBRARY / "Probe.so"
    binary = library.read_bytes()
    assert b"Instrume" in binary  # the compiler may keep it in words of eight letters
    library.write_bytes(binary.replace(b"Instrume", b"Fx|Filte"))
    with pytest.raises(SynthError, match=r"Probe is no instrument but 'Fx\|Filtent\|Synth'"):
        synths.load_synth(effect)


def test_what_is_no_plugin_is_refused_in_a_line(plugin, tmp_path):
    cases = {}
    elsewhere = {"other": "aarch64-linux", "mac": "MacOS"}
    for name in ("text", "cut", "other", "mac", "empty", "library"):
        bundle = tmp_path / f"{name}.vst3"
        machine = elsewhere.get(name, "x86_64-linux")
        (bundle / "Contents" / machine).mkdir(parents=True)
        cases[name] = bundle, bundle / "Contents" / machine / f"{name}.so"
    cases["text"][1].write_text("not a library\n")
    binary = (plugin / LIBRARY / "Probe.so").read_bytes()
    cases["cut"][1].write_bytes(binary[: len(binary) // 2])
    cases["other"][1].write_bytes(binary)
    c = tmp_path / "library.c"
    c.write_text("int nothing;\n")
    subprocess.run(["gcc", "-shared", "-fPIC", c, "-o", cases["library"][1]], check=True)
    expected = {
        "text": "not a plugin",
        "cut": "cut short",
        "other": "no library for x86_64-linux, only for aarch64-linux",
        "mac": "no library for x86_64-linux, only for MacOS",
        "empty": "no library for x86_64-linux",
        "library": "is no VST3 plugin: .*ModuleEntry",
    }
    for name, message in expected.items():
        with pytest.raises(SynthError, match=message) as error:
            synths.load_synth(cases[name][0])
        assert "\n" not in str(error.value)


def test_a_changed_plugin_has_another_identity(plugin, tmp_path):
    copy = shutil.copytree(plugin, tmp_path / "Probe.vst3")
    same = open_plugin(copy).fingerprint()
    assert same == open_plugin(plugin).fingerprint()
    with (copy / LIBRARY / "Probe.so").open("ab") as file:
        file.write(b"\0")
    assert open_plugin(copy).fingerprint() != same


def test_the_same_values_sound_the_same_in_every_format(probe, synth):
    space = synth.param_space
    values = space.from_unit(np.random.default_rng(5).random((4, len(space))))
    values[:, space.index(["Channel", "Boom"])] = 1.0, 0.0
    # DPF computes plain values in single precision, so that ranges from 0.001 cost their last bit.
    values[:, space.index(["Attack", "Release"])] = 1.0
    sounds = synth.render_batch(values, NOTE, RATE)
    assert (np.abs(sounds).max(axis=1) > 1e-3).all()
    for name in ("Probe.lv2", "Probe.clap"):
        other = synths.load_synth(probe / name)
        assert other.param_space.names == space.names
        np.testing.assert_array_equal(other.render_batch(values, NOTE, RATE), sounds)


def referee_python(host):
    """Return a Python that has another host, which is GPL and large and so no dependency."""
    python = os.environ.get("PYROSYNTH_REFEREE", sys.executable)
    found = subprocess.run([python, "-c", f"import {host}"], capture_output=True).returncode == 0
    if not found:
        pytest.skip(f"{host} is not installed; name a Python that has it by PYROSYNTH_REFEREE")
    return python


@pytest.mark.parametrize("host", ["dawdreamer", "minihost"])
def test_other_hosts_play_the_same(host, plugin, synth, tmp_path):
    python = referee_python(host)
    plugins = [plugin]
    plugins += filter(None, os.environ.get("PYROSYNTH_VST3", "").split(os.pathsep))
    for path in plugins:
        played = synth if path == plugin else synths.load_synth(path)
        space = played.param_space
        # Other hosts keep values in single precision.
        units = np.random.default_rng(1).random(len(space), dtype=np.float32).astype(float)
        if played is synth:
            units[space.index(["Channel", "Boom"])] = 0.0
        values = space.from_unit(units)
        settings = {
            "values": dict(zip(space.names, space.to_unit(values).tolist(), strict=True)),
            "note": NOTE.to_json(),
            "rate": RATE,
        }
        out = tmp_path / "sound.npy"
        command = [python, Path(__file__).with_name("referee.py"), host, path]
        subprocess.run([*command, json.dumps(settings), out], check=True, capture_output=True)
        sound = played.render(values, NOTE, RATE)
        assert np.abs(sound).max() > 1e-3
        theirs = np.load(out)[:, : len(sound)].mean(axis=0)
        np.testing.assert_allclose(theirs, sound, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "n_programs", "n_controls"), [("JX10", 52, 24), ("DX10", 32, 16)]
)
def test_programs_of_mda_equal_its_lv2_presets(name, n_programs, n_controls):
    bundle = os.environ.get("PYROSYNTH_MDA_VST3", "/usr/lib/vst3/mda-vst3.vst3")
    if not Path(bundle).is_dir():
        pytest.skip(
            "no mda-vst3.vst3; install vst3sdk-plugins (Debian 13), or build the source package "
            "vst3sdk and name the bundle by PYROSYNTH_MDA_VST3"
        )
    vst3 = synths.load_synth(f"{bundle}#mda {name}")
    lv2 = synths.load_synth(f"http://drobilla.net/plugins/mda/{name}")
    assert len(lv2.param_space) == n_controls
    programs = {preset.name: preset for preset in vst3.presets()}
    presets = {preset.name: preset for preset in lv2.presets()}
    assert len(programs) == n_programs
    assert programs.keys() == presets.keys()
    space = vst3.param_space
    levels = space.resolution[:n_controls]
    for program in programs.values():
        told = space.to_unit(program.array(space))[:n_controls]
        kept = presets[program.name].array(lv2.param_space)
        # Where VST3 tells steps, LV2 has a value somewhere in one of as many equal parts.
        steps = np.minimum(np.floor(kept * levels), levels - 1) / (levels - 1)
        expected = np.where(space.discrete[:n_controls], steps, kept)
        np.testing.assert_allclose(told, expected, atol=1e-3, err_msg=program.name)
