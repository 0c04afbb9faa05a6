"""VST2 plugins, which DawDreamer plays, and their preset files."""

import copy
import importlib.util
import json
import re
import shutil
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toys import SMALL

from pyrosynth import synths
from pyrosynth.audio.note import Note
from pyrosynth.data.dataset import render_dataset
from pyrosynth.data.gathering import gather
from pyrosynth.errors import InputError, SynthError
from pyrosynth.inference.posterior import Posterior
from pyrosynth.synths.hosts.fxp import FxFile, FxPreset
from pyrosynth.synths.presets import Preset
from pyrosynth.training.fit import fit

RATE = 22050
NOTE = Note(hold_seconds=0.1234, duration_seconds=0.3)
needs_dawdreamer = pytest.mark.skipif(
    importlib.util.find_spec("dawdreamer") is None,
    reason="DawDreamer is not installed; run pip install 'pyrosynth[plugins]'",
)
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@pytest.fixture(scope="module")
def synth(probe):
    return synths.load_synth(probe / "vst2/Probe.so", host="dawdreamer", isolation="fork")


@pytest.fixture(scope="module")
def plain(probe):
    """The same synth, which keeps parameters where the other keeps a chunk."""
    return synths.load_synth(probe / "vst2/Plain.so", host="dawdreamer", isolation="fork")


def units(space, n=1, seed=0):
    drawn = np.random.default_rng(seed).random((n, len(space)), dtype=np.float32)
    drawn[:, space.index(["Channel", "Boom"])] = 0.0
    return space.to_unit(space.from_unit(drawn))


@needs_dawdreamer
def test_the_own_hosts_play_the_same(probe, synth, tmp_path):
    vst3 = synths.load_synth(probe / "Probe.vst3")
    # A copy: DawDreamer never lets go of a library, which other tests have to load anew.
    bundle = shutil.copytree(probe / "Probe.vst3", tmp_path / "Probe.vst3")
    other = synths.load_synth(bundle, host="dawdreamer", isolation="fork")
    assert synth.param_space.names == other.param_space.names == vst3.param_space.names
    assert other.dropped == {
        "2080 MIDI controllers": "midi controller",
        "Current Program": "program change",
    }
    drawn = units(vst3.param_space, 4)
    own = vst3.render_batch(vst3.param_space.from_unit(drawn), NOTE, RATE)
    assert (np.abs(own).max(axis=1) > 1e-3).all()
    np.testing.assert_allclose(synth.render_batch(drawn, NOTE, RATE), own, atol=1e-6)
    np.testing.assert_allclose(other.render_batch(drawn, NOTE, RATE), own, atol=1e-6)
    assert "dawdreamer" in synths.from_spec(other.spec()).spec()["host"]


@needs_dawdreamer
def test_controls_are_told_by_their_texts(synth):
    params = {param.name: param for param in synth.param_space.params}
    told = {p.name: (p.kind, p.resolution) for p in params.values() if p.kind != "continuous"}
    assert told == {
        "Wave": ("categorical", 4),
        "Octave": ("stepped", 5),
        "Square": ("toggle", 2),
        "Pan": ("categorical", 3),
        "Channel": ("stepped", 16),
    }
    assert params["Pan"].labels == ("Left", "Centre", "Right")
    assert {(p.minimum, p.maximum) for p in params.values()} == {(0, 1)}
    assert params["Wave"].default == pytest.approx(1 / 3)
    assert params["Sustain"].default == pytest.approx(0.8)  # DawDreamer says 0
    assert synth.described.id == "Prob"


@needs_dawdreamer
@pytest.mark.parametrize("isolation", ["reuse", "fork", "fresh"])
def test_isolations_clear_noise_and_echo(synth, isolation):
    assert synth.isolations == ("reuse", "fork", "fresh", "reload", "load")
    played = copy.copy(synth)
    played.isolation = isolation
    noisy = Preset("", {"Noise": 1.0, "Echo": 1.0}).array(synth.param_space)
    first = played.render(noisy, NOTE, RATE)
    assert np.abs(first).max() > 0.01
    again = played.render(noisy, NOTE, RATE)
    assert np.array_equal(first, again) == (isolation != "reuse")
    assert played.render(noisy, NOTE, 2 * RATE).shape == (NOTE.n_samples(2 * RATE),)


@needs_dawdreamer
@pytest.mark.parametrize("suffix", [".fxp", ".fxb"])
def test_a_preset_comes_back_and_dawdreamer_loads_it(probe, synth, tmp_path, suffix):
    values = units(synth.param_space, seed=3)[0]
    file = tmp_path / f"mine{suffix}"
    assert synth.write_bank(file, [Preset.from_array(synth.param_space, values, "Löwe")])
    content = FxFile.load(file)
    assert (content.plugin_id, content.is_bank) == (b"Prob", suffix == ".fxb")
    assert content.has_chunk == (suffix == ".fxb")
    (again,) = synth.read_bank(file)
    assert again.name == ("mine" if suffix == ".fxb" else "Löwe")
    np.testing.assert_allclose(again.array(synth.param_space), values, atol=1e-6)
    settings = {"preset": str(file), "note": NOTE.to_json(), "rate": RATE, "values": {}}
    referee = Path(__file__).with_name("referee.py")
    command = [sys.executable, referee, "dawdreamer", probe / "vst2/Probe.so"]
    out = tmp_path / "sound.npy"
    subprocess.run([*command, json.dumps(settings), out], check=True, capture_output=True)
    sound = synth.render(values, NOTE, RATE)
    assert np.abs(sound).max() > 1e-3
    np.testing.assert_allclose(np.load(out)[:, : len(sound)].mean(axis=0), sound, atol=1e-6)


@needs_dawdreamer
def test_chunks_go_through_the_plugin(synth, plain, tmp_path):
    values = units(synth.param_space, seed=4)[0]
    synth.write_bank(tmp_path / "all.fxb", [Preset.from_array(synth.param_space, values)])
    bank = FxFile.load(tmp_path / "all.fxb")
    one = replace(bank, is_bank=False, chunk=b"", presets=(FxPreset("one", chunk=bank.chunk),))
    one.save(tmp_path / "one.fxp")
    (preset,) = synth.read_bank(tmp_path / "one.fxp")
    assert preset.name == "one"
    np.testing.assert_allclose(preset.array(synth.param_space), values, atol=1e-6)
    # What the plugin makes of a chunk may be no number, or out of range.
    replace(bank, chunk=_with_wave(bank.chunk, b"nan")).save(tmp_path / "nan.fxb")
    with pytest.raises(InputError, match=r"'nan' in '.*nan.fxb' has a value that is no number$"):
        synth.read_bank(tmp_path / "nan.fxb")
    replace(bank, chunk=_with_wave(bank.chunk, b"77")).save(tmp_path / "high.fxb")
    assert synth.read_bank(tmp_path / "high.fxb")[0].values["Wave"] == 1.0
    for name in ("one.fxp", "all.fxb"):
        with pytest.raises(InputError, match="a chunk .* but Plain keeps parameters"):
            plain.read_bank(tmp_path / name)


def _with_wave(chunk, value):
    """Return a chunk of the synth with another value of its wave."""
    return re.sub(rb"(?<=\0wave\0)[^\0]*", value, chunk, count=1)


@needs_dawdreamer
def test_banks_of_parameters_are_gathered(plain, tmp_path):
    space = plain.param_space
    rows = units(space, 3, seed=5).astype(np.float32).astype(float)
    presets = tuple(FxPreset(f"p{i}", tuple(row)) for i, row in enumerate(rows))
    FxFile(b"Prob", 7, presets, is_bank=True).save(tmp_path / "bank.fxb")
    FxFile(b"Prob", 7, (replace(presets[0], values=presets[0].values[:-1]),)).save(
        tmp_path / "short.fxp"
    )
    FxFile(b"Prob", 7, (replace(presets[0], values=(np.nan,) * 17),)).save(tmp_path / "nan.fxp")
    FxFile(b"\0\1xy", 7, presets[:1]).save(tmp_path / "other.fxp")
    (tmp_path / "cut.fxp").write_bytes((tmp_path / "short.fxp").read_bytes()[:-1])
    found = gather(plain, [tmp_path], workers=1, progress=False)
    (factory,) = plain.presets()  # of a plugin without a chunk, JUCE tells the programs
    assert [preset.name for preset in found.presets] == [factory.name, "p0", "p1", "p2"]
    told = [preset.array(space) for preset in found.presets[1:]]
    np.testing.assert_allclose(told, rows, atol=1e-6)
    said = {Path(file).name: reason for file, reason in found.skipped.items()}
    assert said.keys() == {"short.fxp", "nan.fxp", "other.fxp", "cut.fxp"}
    assert "holds 16 parameters, Plain has 17" in said["short.fxp"]
    assert "a value that is no number" in said["nan.fxp"]
    assert "is of the VST2 plugin 00017879, not of Plain (Prob)" in said["other.fxp"]
    assert "cut off" in said["cut.fxp"]


@needs_dawdreamer
def test_a_bad_preset_of_a_bank_costs_only_itself(plain, tmp_path):
    rows = units(plain.param_space, 5, seed=5).astype(np.float32).astype(float)
    rows[1, 3], rows[3, 5] = np.nan, -np.inf
    presets = [FxPreset(f"p{i}", tuple(row)) for i, row in enumerate(rows)]
    presets[2] = replace(presets[2], values=presets[2].values[:-1])
    file = tmp_path / "bank.fxb"
    FxFile(b"Prob", 7, tuple(presets), is_bank=True).save(file)
    found = gather(plain, [file], strict=False, workers=1, progress=False)
    assert [preset.name for preset in found.presets[1:]] == ["p0", "p4"]
    assert found.failed == [
        f"preset 'p1' in '{file}' has a value that is no number",
        f"preset 'p2' in '{file}' holds 16 parameters, Plain has 17",
        f"preset 'p3' in '{file}' has a value that is no number",
    ]
    with pytest.raises(InputError, match="preset 'p1' in"):
        plain.read_bank(file)


def test_preset_files_are_those_of_the_standard(tmp_path):
    one = FxFile(b"Prob", 0x10203, (FxPreset("Pad", (0.25, 1.0)),))
    head = b"FxCk" + struct.pack(">i", 1) + b"Prob\0\1\2\3" + struct.pack(">i", 2)
    rest = head + b"Pad".ljust(28, b"\0") + struct.pack(">2f", 0.25, 1)
    assert one.to_bytes() == b"CcnK" + struct.pack(">i", len(rest)) + rest
    chunk = replace(one, presets=(FxPreset("Bell", chunk=b"abc"),))
    for file in (
        one,
        chunk,
        FxFile(b"Prob", 1, (*one.presets, *chunk.presets), is_bank=True),
        FxFile(b"Prob", 1, is_bank=True, chunk=b"all of them"),
    ):
        content = file.to_bytes()
        assert FxFile.from_bytes(content) == file
        assert FxFile.from_bytes(content[:4] + bytes(4) + content[8:]) == file  # as many write it
        for n in range(len(content)):
            with pytest.raises(ValueError, match=r"^it (is cut off|does not begin)"):
                FxFile.from_bytes(content[:n])
    odd = replace(one, presets=(FxPreset(" a\n\x1b[31m", (0.5,)),)).to_bytes()
    assert FxFile.from_bytes(odd).presets[0].name == r"a \x1b[31m"
    path = tmp_path / "some.fxp"
    one.save(path)
    assert FxFile.load(path) == one
    for content, said in (
        (b"RIFF" + bytes(60), "it does not begin with CcnK"),
        (b"CcnK" + bytes(60), "unknown kind"),
        (one.to_bytes()[:-1], "cut off: there are fewer than 2 parameters"),
        (chunk.to_bytes()[:-1], "cut off: 2 of 3 bytes of a chunk"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=rf"{said}.*give \.fxp or \.fxb files"):
            FxFile.load(path)


def test_who_may_play_a_plugin_is_said(probe, tmp_path, monkeypatch):
    with pytest.raises(SynthError, match="a VST2 plugin.* or try --option host=dawdreamer"):
        synths.load_synth(probe / "vst2/Probe.so")
    with pytest.raises(InputError, match="unknown host 'pedalboard'; known: own, dawdreamer"):
        synths.load_synth(probe / "vst2/Probe.so", host="pedalboard")
    for name, does, said in (
        ("no", "return 0", "does not start"),
        ("dead", "__builtin_trap()", "ends the process that opens it"),
    ):
        code = f"void *GetPluginFactory(void) {{ return 0; }} int ModuleEntry(void) {{ {does}; }}"
        (tmp_path / "code.c").write_text(code)
        plugin = tmp_path / f"{name}.vst3"
        command = ["gcc", "-shared", "-fPIC", tmp_path / "code.c", "-o", plugin]
        subprocess.run(command, check=True)
        with pytest.raises(SynthError, match=f"{said}.*; another host may: .*host=dawdreamer"):
            synths.load_synth(plugin)
    monkeypatch.setattr("pyrosynth.synths.hosts.dawdreamer.PACKAGE", "no-such-package")
    lone = shutil.copy(probe / "vst2/Probe.so", tmp_path / "Lone.so")
    with pytest.raises(SynthError, match=r"run pip install 'pyrosynth\[plugins\]'"):
        synths.load_synth(lone, host="dawdreamer")
    (found,) = synths.scan([lone])
    assert "not usable: the host 'dawdreamer' needs the package" in found.line()


@needs_dawdreamer
def test_what_dawdreamer_cannot_play_is_said(probe, tmp_path):
    with pytest.raises(InputError, match="Probe.clap' is not for .*another host may: .*host=own"):
        synths.load_synth(probe / "Probe.clap", host="dawdreamer")
    with pytest.raises(SynthError, match=r"Effect in '.*' is an effect: it takes no notes"):
        synths.load_synth(probe / "vst2/Effect.so", host="dawdreamer")
    with pytest.raises(SynthError, match=r"DawDreamer cannot load the plugin '.*Probe.so'"):
        synths.load_synth(probe / "Probe.so", host="dawdreamer")
    whole = (probe / "vst2/Probe.so").read_bytes()
    (tmp_path / "Cut.so").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SynthError, match="is cut short"):
        synths.load_synth(tmp_path / "Cut.so", host="dawdreamer")
    (tmp_path / "Lacking.so").write_bytes(whole.replace(b"libstdc++.so.6", b"libstdc--.so.6"))
    with pytest.raises(SynthError, match=r"libstdc--.so.6: cannot open .*apt install libstdc"):
        synths.load_synth(tmp_path / "Lacking.so", host="dawdreamer")
    lines = [found.line() for found in synths.scan([probe / "vst2"])]
    assert [line.split()[0] for line in lines] == ["Plain", "Probe"]  # no effect
    assert all(line.endswith(".so  --option host=dawdreamer") for line in lines)


@needs_dawdreamer
def test_a_run_of_a_vst2_synth_answers_with_a_preset(synth, tmp_path):
    played = synths.from_spec({**synth.spec(), "isolation": "reuse"})
    space = played.param_space
    presets = [Preset.from_array(space, row, str(i)) for i, row in enumerate(units(space, 24))]
    data = render_dataset(
        played, tmp_path / "data", presets=presets, augmented=0, note=NOTE, workers=1
    )
    run = tmp_path / "run"
    fit("flow_reg", data, run, options=SMALL["flow_reg"], steps=2, batch_size=8, progress=False)
    posterior = Posterior.load(run)
    with posterior.renderer(workers=1, keep_audio=False) as renderer:
        match = posterior.refine(data.x([0])[0], renderer, budget=4)
    match.save(tmp_path / "a.fxp")
    answer = FxFile.load(tmp_path / "a.fxp").presets[0].values
    np.testing.assert_allclose(answer, match.preset.array(space), atol=1e-6)
