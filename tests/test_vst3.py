"""VST3 plugins: what the host reads, plays and writes, and what it refuses."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from pyrosynth import synths
from pyrosynth.audio.io import Note
from pyrosynth.errors import InputError, SynthError
from pyrosynth.synths.hosts.formats import open_plugin
from pyrosynth.synths.hosts.vstpreset import VstPreset
from pyrosynth.synths.presets import Preset

RATE = 22050
NOTE = Note(hold_seconds=0.2, duration_seconds=0.4)
DPF = Path("/usr/share/dpf/distrho")
SOURCE = Path(__file__).parent / "plugins"
LIBRARY = "Contents/x86_64-linux"


def built(source, bundle, *flags):
    """Build a DPF plugin as a VST3 bundle."""
    (bundle / LIBRARY).mkdir(parents=True)
    library = bundle / LIBRARY / f"{bundle.stem}.so"
    command = [
        "g++",
        "-std=gnu++14",
        "-O1",
        "-fPIC",
        "-shared",
        "-fvisibility=hidden",
        "-w",
        *flags,
    ]
    command += [f"-I{SOURCE}", f"-I{DPF}", "-DDISTRHO_PLUGIN_TARGET_VST3", source]
    subprocess.run(
        [*command, DPF / "DistrhoPluginMain.cpp", "-o", library, "-pthread"], check=True
    )
    return bundle


@pytest.fixture(scope="module")
def probe(tmp_path_factory):
    return built(SOURCE / "probe.cpp", tmp_path_factory.mktemp("vst3") / "Probe.vst3")


@pytest.fixture(scope="module")
def synth(probe):
    return synths.load_synth(probe)


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
def test_isolations_clear_noise_and_echo(probe, isolation, clean):
    synth = synths.load_synth(probe, isolation=isolation)
    preset = {"Noise": 1.0, "Echo": 1.0}
    values = Preset("noisy", preset).array(synth.param_space)
    first = synth.render(values, NOTE, RATE)
    assert np.abs(first).max() > 0.01
    assert np.array_equal(first, synth.render(values, NOTE, RATE)) == clean
    synth.file.close()


def test_release_and_blocks_are_where_they_are_asked_for(probe):
    file = open_plugin(probe)
    described = file.describe(file.classes()[0].id)
    space = synths.load_synth(probe).param_space
    values = Preset("", {"Attack": 0.001, "Release": 0.01}).array(space)
    note = Note(hold_seconds=0.1234, duration_seconds=0.4)
    with file.instance(described, RATE) as instance:
        sound = instance.play(values, note)
    release = int(0.1234 * RATE)
    assert np.abs(sound[release - 200 : release]).max() > 0.1
    assert np.abs(sound[release + 600 :]).max() < 0.01 * np.abs(sound).max()


def test_an_effect_is_refused(tmp_path, probe):
    effect = shutil.copytree(probe, tmp_path / "Probe.vst3")
    library = effect / LIBRARY / "Probe.so"
    binary = library.read_bytes()
    assert b"Instrume" in binary  # the compiler may keep it in words of eight letters
    library.write_bytes(binary.replace(b"Instrume", b"Fx|Filte"))
    with pytest.raises(SynthError, match=r"Probe is no instrument but 'Fx\|Filtent\|Synth'"):
        synths.load_synth(effect)


def test_what_is_no_plugin_is_refused_in_a_line(probe, tmp_path):
    cases = {}
    for name in ("text", "cut", "other", "empty", "library"):
        bundle = tmp_path / f"{name}.vst3"
        machine = "aarch64-linux" if name == "other" else "x86_64-linux"
        (bundle / "Contents" / machine).mkdir(parents=True)
        cases[name] = bundle, bundle / "Contents" / machine / f"{name}.so"
    cases["text"][1].write_text("not a library\n")
    binary = (probe / LIBRARY / "Probe.so").read_bytes()
    cases["cut"][1].write_bytes(binary[: len(binary) // 2])
    cases["other"][1].write_bytes(binary)
    c = tmp_path / "library.c"
    c.write_text("int nothing;\n")
    subprocess.run(["gcc", "-shared", "-fPIC", c, "-o", cases["library"][1]], check=True)
    expected = {
        "text": "not a plugin",
        "cut": "cut short",
        "other": "no library for x86_64-linux, only for aarch64-linux",
        "empty": "no library for x86_64-linux",
        "library": "is no VST3 plugin: .*ModuleEntry",
    }
    for name, message in expected.items():
        with pytest.raises(SynthError, match=message) as error:
            synths.load_synth(cases[name][0])
        assert "\n" not in str(error.value)


def test_a_changed_plugin_has_another_identity(probe, tmp_path):
    copy = shutil.copytree(probe, tmp_path / "Probe.vst3")
    same = open_plugin(copy).fingerprint()
    assert same == open_plugin(probe).fingerprint()
    with (copy / LIBRARY / "Probe.so").open("ab") as file:
        file.write(b"\0")
    assert open_plugin(copy).fingerprint() != same
