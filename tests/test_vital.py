"""Vital: its files and banks, what a template adds to the controls, and the engine."""

import io
import json
import re
import shutil
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from pyrosynth import synths
from pyrosynth.audio.note import Note
from pyrosynth.cli.app import main
from pyrosynth.data.gathering import gather
from pyrosynth.errors import InputError, SynthError
from pyrosynth.synths.discovery import describe
from pyrosynth.synths.presets import Preset, preset_array
from pyrosynth.synths.rendering import Renderer
from pyrosynth.synths.vital_presets import LARGEST_FILE, read_vital, write_vital

NOTE = Note(hold_seconds=0.2, duration_seconds=0.4)
RATE = 22050
# The package itself, in a process of its own: what it makes of a file.
JUDGE = """
import json, sys, numpy, vita
synth = vita.Synth()
synth.set_sample_rate(22050)
assert synth.load_preset(sys.argv[1])
audio = synth.render(60, 100 / 127, 0.2, 0.4)
numpy.save(sys.argv[2], audio.mean(axis=0))
print(synth.to_json())
"""


def save(folder, name, routing=None, **values):
    """Write a preset of one's own: the first one, with other values and a routing."""
    init = synths.load_synth("vital", bank="").init
    content = json.loads(init.text(values, name))
    settings = content["settings"]
    if routing:
        settings["modulations"][0] = dict(zip(("source", "destination"), routing, strict=True))
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.vital").write_text(json.dumps(content))


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    """Three presets that are far from each other."""
    folder = tmp_path_factory.mktemp("vital") / "bank"
    save(folder, "plain")
    save(folder, "wobble", ("lfo_1", "filter_1_cutoff"), filter_1_on=1.0, modulation_1_amount=0.9)
    save(folder, "wide", osc_1_unison_voices=7.0, osc_2_on=1.0, reverb_on=1.0, delay_on=1.0)
    (folder / "notes.vital").write_text("not a preset")
    return folder


def played_by_vita(file, tmp_path):
    """Return what the package itself plays for a file, and what it has read."""
    sound = tmp_path / "sound.npy"
    call = [sys.executable, "-c", JUDGE, str(file), str(sound)]
    told = json.loads(subprocess.run(call, check=True, capture_output=True).stdout)
    return np.load(sound), told["settings"]


def test_presets_play_in_workers_as_vita_plays_their_files(bank, tmp_path):
    vital = synths.load_synth("vital", bank=bank)
    presets = vital.presets()
    assert [preset.name for preset in presets] == ["plain", "wide", "wobble"]
    values = preset_array(presets, vital.param_space)
    with Renderer(vital, NOTE, RATE, workers=1) as renderer:
        sounds = renderer.render(np.concatenate([values, values[::-1]]))
    assert not sounds.failed.any()
    assert "vita" not in sys.modules
    np.testing.assert_array_equal(sounds.audio[:3], sounds.audio[:2:-1])
    expected, _ = played_by_vita(bank / "wobble.vital", tmp_path)
    np.testing.assert_array_equal(sounds.audio[2], expected[: NOTE.n_samples(RATE)])
    # A change of a control keeps the routing of the nearest preset.
    near = values[2].copy()
    near[vital.param_space.index(["osc_1_level"])] = 0.3
    assert vital.template(near).content["settings"]["modulations"][0]["source"] == "lfo_1"


def test_answers_are_files_that_vita_loads(bank, tmp_path):
    vital = synths.load_synth("vital", bank=bank)
    space = vital.param_space
    drawn = space.from_unit(np.random.default_rng(0).random(len(space)))
    learnt = space.index(["osc_1_level", "filter_1_cutoff", "env_1_release", "osc_1_transpose"])
    values = vital.presets()[2].array(space)
    values[learnt] = drawn[learnt]
    file = tmp_path / "answer.vital"
    assert vital.write_bank(file, [Preset.from_array(space, values, "answer")])
    (back,) = vital.read_bank(file)
    assert back.name == "answer"
    np.testing.assert_array_equal(back.array(space), values)
    sound, settings = played_by_vita(file, tmp_path)
    assert np.abs(sound).max() > 1e-3
    np.testing.assert_allclose([settings[name] for name in space.names], values, atol=1e-5)
    template = read_vital(bank / "wobble.vital").content["settings"]
    assert read_vital(file).content["settings"] == template
    assert all(settings[name] == template[name] for name in ("wavetables", "lfos"))
    assert settings["modulations"][0] == template["modulations"][0]
    version = json.loads(file.read_text())["synth_version"]
    assert version == "1.0.8"  # not vita's own, which is newer than any Vital


def damaged(content):
    return json.dumps({"synth_version": "1.5.5", "settings": content})


SHAPES = {"wavetables": [], "lfos": [], "modulations": [], "sample": {}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "cannot read the preset"),
        ("{" * 100_000, "cannot read the preset"),
        ("[1, 2]", "no preset of Vital, it has no settings"),
        ('{"settings": 1}', "no preset of Vital, it has no settings"),
        (damaged({**SHAPES, "wavetables": 3}), "damaged, it has no wavetables"),
        (damaged({**SHAPES, "volume": "loud"}), "control 'volume' 'loud': give a number"),
        (damaged({**SHAPES, "volume": [1, 2]}), r"control 'volume' \[1, 2\]: give a number"),
        (damaged({**SHAPES, "volume": float("nan")}), "control 'volume' nan: give a number"),
        (damaged(SHAPES).replace("1.5.5", "2.0.1"), "is of Vital 2.0.1, newer than what is read"),
    ],
)
def test_what_is_no_preset_is_one_clear_line(tmp_path, content, message):
    file = tmp_path / "other.vital"
    file.write_text(content)
    with pytest.raises(InputError, match=message):
        synths.load_synth("vital", bank="").read_bank(file)
    with pytest.raises(InputError, match=message):
        synths.load_synth("vital", bank=file)


def test_a_bank_that_is_gone_or_has_changed_is_said(tmp_path):
    with pytest.raises(InputError, match="there is no bank"):
        synths.load_synth("vital", bank=tmp_path / "none")
    save(tmp_path, "one")
    vital = synths.load_synth("vital", bank=tmp_path)
    before = vital.identity()
    (tmp_path / "one.vital").unlink()
    with pytest.raises(SynthError, match="the bank has changed"):
        vital.template(vital.param_space.defaults)
    assert synths.from_spec(vital.spec()).identity() != before


def test_a_bank_may_lie_in_the_home_folder(bank, monkeypatch):
    monkeypatch.setenv("HOME", str(bank.parent))
    assert synths.load_synth("vital", bank="~/bank").bank == str(bank)


def test_controls_that_people_move_are_learnt(tmp_path):
    for i in range(7):
        save(tmp_path, f"preset {i}", osc_1_level=0.3 + 0.1 * i)
    cutoff = {"filter_1_on": 1.0, "filter_1_cutoff": 50.0, "modulation_1_amount": 0.5}
    route = "env_2", "filter_1_cutoff"
    save(tmp_path, "preset 7", route, osc_1_level=0.9, osc_2_level=0.3, **cutoff)
    vital = synths.load_synth("vital", bank=tmp_path)
    notes = [Note(60, 100, 0.1, 0.15)]
    file = tmp_path / "synth.json"
    described = describe(vital, file, notes=notes, workers=1, progress=False)
    learnt = {c.param.name for c in described.controls if c.use == "learn"}
    assert {"osc_1_level", "filter_1_on", "filter_1_cutoff", "modulation_1_amount"} == learnt
    why = {c.param.name: c.why for c in described.controls}
    assert (
        why["osc_2_level"] == "not heard in 1 setting and 1 note of 0.15 s"
    )  # its oscillator is off
    assert why["osc_2_on"] == "no preset moves it"
    assert described.probe["renders"] < 60
    again = synths.load_synth(file)  # the description has all that the synth is made of
    assert again.presets()[7].values["filter_1_cutoff"] == 50
    assert set(again.param_space.select("learn").names) == learnt


def test_learning_keeps_copies_of_the_files(bank, tmp_path):
    vital = synths.load_synth("vital", bank="")
    assert vital.with_files([tmp_path], tmp_path / "none") is vital
    kept = vital.with_files([bank, bank / "plain.vital"], tmp_path / "copies")
    named = [(preset.bank, preset.name) for preset in kept.presets()]
    assert named == [("bank", name) for name in ("plain", "wide", "wobble")]  # each file once
    again = vital.with_files([], tmp_path / "copies")
    assert again.identity() == kept.identity() != vital.identity()
    with pytest.raises(InputError, match="cannot read the preset"):
        vital.with_files([bank / "notes.vital"], tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.fixture
def exported(bank, tmp_path):
    """The same presets as Vital exports them, with what else is in such an archive."""
    file = tmp_path / "exports" / "Mine.vitalbank"
    file.parent.mkdir()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for preset in sorted(bank.iterdir()):  # one of them is damaged
            archive.write(preset, f"My bank/Presets/{preset.name}")
        archive.writestr("My bank/LFOs/slow.vitallfo", "{}")
        archive.writestr("__MACOSX/My bank/Presets/._plain.vital", "a resource fork")
    return file


@pytest.mark.parametrize("named", [True, False])
def test_a_bank_that_vital_exports_is_its_presets(bank, exported, tmp_path, named, caplog):
    given = exported if named else exported.parent
    loose, vital = synths.load_synth("vital", bank=bank), synths.load_synth("vital", bank=given)
    own = [(preset.bank, preset.name) for preset in vital.presets()]
    assert own == [("My bank", name) for name in ("plain", "wide", "wobble")]
    bad, *presets = vital.read_each(exported)  # those of a bank are in the order of its entries
    assert vital.presets() == presets
    assert str(bad).startswith(f"cannot read the preset '{exported}: My bank/Presets/notes.vital'")
    assert {record.getMessage() for record in caplog.records} == {f"left out: {bad}"}
    with pytest.raises(InputError, match=re.escape(str(bad))):
        vital.read_bank(exported)
    values = preset_array(vital.presets(), vital.param_space)
    np.testing.assert_array_equal(values, preset_array(loose.presets(), loose.param_space))
    for row in values:
        assert vital.template(row) == loose.template(row)
    kept = vital.with_files([given], tmp_path / "copies")
    assert kept.presets() == vital.presets()
    copies = [file.name for file in (tmp_path / "copies").rglob("*.*bank")]
    assert copies == ["0000 Mine.vitalbank"]
    for row in values:
        assert kept.template(row) == loose.template(row)


def test_a_preset_that_no_control_tells_from_another_is_said(bank, tmp_path, caplog):
    """Each sound takes the wavetables of the preset with the nearest controls: of one of them."""
    content = json.loads((bank / "plain.vital").read_text())
    for name, table in (("one", "Saw"), ("two", "Sine"), ("two again", "Sine")):
        content["settings"]["wavetables"][0]["name"] = table
        text = json.dumps({**content, "preset_name": name.split()[0]})
        (tmp_path / f"{name}.vital").write_text(text)
    other = {**content, "preset_name": "three", "author": "somebody", "comments": "mine"}
    content["settings"]["wavetables"][0]["name"] = "Saw"
    (tmp_path / "one_more.vital").write_text(json.dumps(other))
    vital = synths.load_synth("vital", bank=tmp_path)
    assert [preset.name for preset in vital.presets()] == ["one", "three"]
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert all("'two' has the controls of 'one'; what tells them apart" in line for line in lines)
    shutil.copyfile(tmp_path / "one.vital", tmp_path / "copy.vital")
    vital = synths.load_synth("vital", bank=tmp_path)
    assert [preset.name for preset in vital.presets()] == ["one", "one", "three"]


@pytest.mark.parametrize("version", ["²", "1" * 5000, "x", "1.0.8"])
def test_a_version_of_vital_that_is_no_number_is_no_trouble(bank, tmp_path, version):
    content = json.loads((bank / "plain.vital").read_text())
    (tmp_path / "a.vital").write_text(json.dumps({**content, "synth_version": version}))
    (preset,) = synths.load_synth("vital", bank=bank).read_bank(tmp_path / "a.vital")
    assert preset.values


def test_what_is_bad_in_a_bank_is_named(bank, exported, tmp_path, capfd, caplog):
    call = ["presets", "vital", "--workers", "1", "--out"]
    code = main([*call, str(tmp_path / "named.json"), "--option", "bank=", str(exported)])
    assert code == 2
    assert "left out: cannot read the preset" in capfd.readouterr().err
    assert len(json.loads((tmp_path / "named.json").read_text())["presets"]) == 3
    assert main([*call, str(tmp_path / "own.json"), "--option", f"bank={bank}"]) == 0
    (record,) = caplog.records  # and none of the processes that render
    assert f"left out: cannot read the preset '{bank}/notes.vital'" in record.getMessage()
    assert "left out" not in capfd.readouterr().err
    vital = synths.load_synth("vital", bank="")
    with pytest.raises(InputError, match=r"cannot read the preset .*notes\.vital"):
        gather(vital, [exported], workers=1, progress=False)  # as `learn` does, before the fit


def test_a_bank_that_vital_has_exported_and_is_gone_is_said(exported):
    vital = synths.load_synth("vital", bank=exported)
    exported.unlink()
    with pytest.raises(SynthError, match="the bank has changed: cannot read the bank"):
        vital.template(vital.param_space.defaults)


def test_entries_of_a_bank_name_no_places_on_the_disk(bank, tmp_path):
    file = tmp_path / "in" / "here" / "evil.vitalbank"
    file.parent.mkdir(parents=True)
    with zipfile.ZipFile(file, "w") as archive:
        for i, name in enumerate(("../../out.vital", "/out.vital", "a/../../../out.vital")):
            archive.writestr(name, (bank / "wide.vital").read_text().replace("wide", f"wide {i}"))
    kept = synths.load_synth("vital", bank="").with_files([file], tmp_path / "copies")
    assert [preset.name for preset in kept.presets()] == ["wide 0", "wide 1", "wide 2"]
    files = [found for found in tmp_path.rglob("*") if found.is_file()]
    assert sorted(found.suffix for found in files) == [".json", ".vitalbank", ".vitalbank"]
    assert not (tmp_path.parent / "out.vital").exists()


def archived(*entries, **options):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", **options) as archive:
        for name, text in entries:
            archive.writestr(name, text)
    return content.getvalue()


def understated(content):
    """Let an archive say that its entry is one byte long."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (info,) = archive.infolist()
    size = struct.pack("<I", info.file_size)
    return content.replace(size, struct.pack("<I", 1))


PRESET = damaged(SHAPES)
HUGE = " " * (LARGEST_FILE + 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot read the bank .*not a zip file"),
        (b"PK" + b"x" * 500, "cannot read the bank .*not a zip file"),
        (archived(("a.vital", PRESET))[:-30], "cannot read the bank"),
        (archived(), "holds no .vital file; give a .vitalbank file that Vital has exported"),
        (archived(("b/LFOs/slow.vitallfo", "{}")), "holds no .vital file"),
        (archived(("a.vital", "other"), ("b.vital", "[]")), "cannot read the preset .*: a.vital"),
        (archived(("a.vital", PRESET)).replace(b'"sample"', b'"sombre"'), "a.vital.*Bad CRC-32"),
        (archived(("a.vital", HUGE), compression=zipfile.ZIP_DEFLATED), "larger than 64 MiB"),
        (archived(("a.vital", PRESET), compression=zipfile.ZIP_LZMA), "a way that Vital does not"),
        (understated(archived(("a.vital", PRESET))), "cannot read the preset"),
    ],
)
def test_what_is_no_bank_is_one_clear_line(tmp_path, content, message):
    file = tmp_path / "other.vitalbank"
    file.write_bytes(content)
    with pytest.raises(InputError, match=message):
        synths.load_synth("vital", bank="").read_bank(file)
    with pytest.raises(InputError, match=message):
        synths.load_synth("vital", bank=file)
    assert synths.load_synth("vital", bank=tmp_path).presets() == []


def test_a_bank_is_unpacked_up_to_a_limit(bank, exported, monkeypatch):
    vital = synths.load_synth("vital", bank="")
    monkeypatch.setattr("pyrosynth.synths.vital_presets.LARGEST_UNPACKED", 1 << 10)
    with pytest.raises(InputError, match="its presets are larger than 0 MiB"):
        vital.read_bank(exported)
    monkeypatch.setattr("pyrosynth.synths.vital_presets.LARGEST_BANK", 1 << 10)
    with pytest.raises(InputError, match="it is larger than 0 MiB"):
        vital.read_bank(exported)


def test_without_the_package_vital_says_what_to_install(monkeypatch):
    monkeypatch.setattr("pyrosynth.synths.vital.PACKAGE", "no-such-package")
    with pytest.raises(SynthError, match=r"pip install 'pyrosynth\[vital\]'"):
        synths.load_synth("vital")


def test_the_init_preset_is_a_template(tmp_path):
    init = synths.load_synth("vital", bank="").init
    write_vital(tmp_path / "init.vital", init, {"volume": 5000.0}, "quiet")
    back = read_vital(tmp_path / "init.vital")
    assert back.values["volume"] == 5000.0
    write_vital(
        tmp_path / "newer.vital", init, {"osc_9_level": 0.5}, "a control of a Vital to come"
    )
    vital = synths.load_synth("vital", bank=tmp_path / "newer.vital")
    assert "osc_9_level" not in vital.presets()[0].values
    assert vital.write_bank(tmp_path / "answer.vital", vital.presets())
    assert read_vital(tmp_path / "answer.vital").values["osc_9_level"] == 0.5
    assert back.content["settings"] == init.content["settings"]
