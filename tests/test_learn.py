"""Presets gathered from files, and a synth learnt in one command."""

import json
import os
import re

import numpy as np
import pytest
from plain import PLAIN
from rights import run_without_rights
from small import small_run
from toys import SMALL

from pyrosynth import synths
from pyrosynth.audio.features import FeatureSpec
from pyrosynth.audio.note import Note
from pyrosynth.cli import learn as stages
from pyrosynth.cli.app import main
from pyrosynth.cli.learn_time import least_advice
from pyrosynth.data.gathering import drawn_presets, gather, read_presets
from pyrosynth.data.render import Job
from pyrosynth.errors import InputError, SynthError
from pyrosynth.files.folders import difference
from pyrosynth.synths.description import DescribedControl, Description
from pyrosynth.synths.dx7 import SPACE, write_syx
from pyrosynth.synths.presets import Preset

TRAP = "trap_synth:TrapSynth"
LEARNT = ("Level", "Brightness", "Octave", "Wave")


def test_presets_of_files_are_gathered_once(tmp_path, capsys):
    trap = synths.load_synth(TRAP)
    loud = Preset("loud", {"Level": 0.9, "Octave": 1.0})
    loud.save(tmp_path / "one.json", "trap")
    (tmp_path / "table.csv").write_text("name,Level,Boom\nloud too,0.5,2\nsilent,0,\nagain,0.9,\n")
    (tmp_path / "notes.txt").write_text("mine")
    found = gather(trap, [tmp_path], workers=1, progress=False)
    assert [p.name for p in found.presets] == ["loud", "loud too", "silent", "again"]
    assert found.silent.tolist() == [False, False, True, False]
    assert list(found.skipped) == [str(tmp_path / "notes.txt")]
    assert found.failed == []
    bad = [Preset("boom", {"Boom": 15.0}), Preset("odd", {"Fragile": 2.0})]
    for preset in bad:
        preset.save(tmp_path / "bad" / f"{preset.name}.json", "trap")
    worse = gather(trap, [tmp_path / "bad"], workers=1, progress=False)
    assert worse.silent.tolist() == [True, True]
    assert (worse.failed, worse.crashed) == ([], ["boom", "odd"])
    assert main(["presets", TRAP, str(tmp_path / "bad"), "--out", str(tmp_path / "b.json")]) == 0
    assert "hangs or gives no numbers at 2: 'boom', 'odd'" in capsys.readouterr().out
    found.save(tmp_path / "bank.json", "trap")
    again = read_presets(trap, tmp_path / "bank.json")
    assert [p.values for p in again] == [p.values for p in found.presets]
    rows = [{"synth": "trap", "name": p.name, "parameters": p.values} for p in found.presets]
    (tmp_path / "page.json").write_text(json.dumps(rows))  # a bank that the explorer wrote
    assert [p.values for p in read_presets(trap, tmp_path / "page.json")] == [
        p.values for p in found.presets
    ]
    with pytest.raises(InputError, match="file of presets '' is no usable path .it is empty."):
        gather(trap, [""], workers=1, progress=False)
    twice = gather(
        trap, [tmp_path / "bank.json", tmp_path / "one.json"], workers=1, progress=False
    )
    assert len(twice.presets) == 4
    found.presets[0].save(tmp_path / "own.json")  # does not say of which synth it is
    (own,) = read_presets(trap, tmp_path / "own.json")
    assert own.values == found.presets[0].values
    (tmp_path / "wide.csv").write_text(" Level ;name\n0.5;as a spreadsheet\n", "utf-16")
    (wide,) = read_presets(trap, tmp_path / "wide.csv")
    assert wide.values == {"Level": 0.5}
    for name, content, message in (
        ("other.json", '{"synth": "moog", "presets": []}', "of 'moog', not of 'trap'"),
        ("empty.json", '{"synth": "trap", "presets": []}', "there are no presets"),
        ("word.csv", "Level\nloud\n", "line 2, column 'Level': 'loud' is no number; give a fin"),
        ("apart.csv", "Level\n0_5\n", "line 2, column 'Level': '0_5' is no number"),
        (
            "german.csv",
            "name;Level\nwarm;0,5\n",
            "line 2, .* '0,5' .*; write it with a point: 0",
        ),
        ("excel.csv", "Name,Level\nwarm,0.5\n", "'Name': 'warm' is no .*; call the column 'name'"),
        ("pandas.csv", ",Level\n0,0.5\n", "'0' is under no name of a .* to_csv.index=False"),
        ("short.csv", "Level,Boom\n0.5\n", "line 2"),
        ("twice.csv", "Level,Boom,Level\n0.5,1,0.6\n", "the column 'Level' twice"),
        ("strange.csv", "Levle\n0.5\n", "unknown parameter 'Levle'"),
        ("far.csv", "name,Level\nwarm,50\n", "far.csv': preset 'warm': .*'Level' is 50, outside"),
        (
            "far.json",
            '{"synth": "trap", "name": "warm", "parameters": {"Level": -1e9}}',
            "far.json': preset 'warm': .*'Level' is -1e.09, outside its range from 0 to 1; give",
        ),
        ("any.json", '{"synth": "", "name": "x", "parameters": {"x": 0}}', "parameter 'x'; known"),
        ("a.fxp", "", "reads no"),
        (
            "again.json",
            '{"synth": "trap", "presets": [{"parameters": {"Level": 0, "Level": 1}}]}',
            "'Level' is there twice",
        ),
        ("wide.csv", "Level," * 100_000, "has the column 'Level' twice"),
        ("none.json", "[]", "there are no presets in .*none.json'"),
        ("word.json", '"trap"', "no object with an object 'parameters': str 'trap'.; give JSON"),
        (
            "one_bad.json",
            '[{"synth": "trap", "name": "x", "parameters": {}}, null]',
            "one_bad.json', number 2 .no object with an object 'parameters': None.; give JSON",
        ),
        (
            "text.json",
            '{"synth": "trap", "presets": [{"parameters": {"Level": "0.5"}}]}',
            "text.json', number 1 .Level '0.5': give a number",
        ),
        ("long.csv", "Level,name\n0.5,x,7\n", "line 2 has 3 cells for 2 columns; give"),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(InputError, match=message):
            gather(trap, [tmp_path / name], workers=1, progress=False)
    with pytest.raises(
        InputError, match="no file or folder '.*gone'; give one that holds presets"
    ):
        gather(trap, [tmp_path / "gone"], workers=1, progress=False)


def test_a_folder_without_presets_says_why_of_each_file(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("trap_synth.TrapSynth.presets", lambda self: [])
    folder, out = tmp_path / "presets", tmp_path / "out.json"
    folder.mkdir()
    (folder / "a.csv").write_text("Levle\n0.5\n")
    (folder / "b.txt").write_text("mine")
    assert main(["presets", TRAP, str(folder), "--out", str(out), "--workers", "1"]) == 2
    first, second, last = capfd.readouterr().err.splitlines()
    assert first.startswith(f"pyrosynth: left out: '{folder / 'a.csv'}': ")
    assert "unknown parameter 'Levle'" in first
    assert second.startswith("pyrosynth: left out: synth 'trap' reads no ")
    assert last == "pyrosynth: 'trap' has no presets among these files; name files of presets"
    assert main(["presets", TRAP, "--out", str(out), "--workers", "1"]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    said = "'trap' has no presets of its own that can be used; name files of presets"
    assert line == f"pyrosynth: {said}"
    assert not out.exists()


def test_a_bad_preset_costs_only_itself(tmp_path, capfd):
    files = {
        "good.csv": "name,Level\none,0.5\n",
        "mixed.csv": "name,Level\ntwo,0.6\nloud,loud\nfar,50\n",
        "mixed.json": '[{"synth": "trap", "name": "three", "parameters": {"Level": 0.7}}, null]',
        "bad.csv": "Level\nnan\n",
        "again.json": '[{"synth": "trap", "name": "four", "parameters": {"Level": 0.8}}, '
        '{"synth": "trap", "name": "five", "parameters": {"Level": 0, "Level": 1}}]',
        "cut.json": "{",
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    call = ["presets", TRAP, *(str(tmp_path / name) for name in files), "--workers", "1"]
    assert main([*call, "--out", str(tmp_path / "out.json")]) == 2
    said = capfd.readouterr().err
    for words in (
        "mixed.csv' line 3", "mixed.csv': preset 'far'", "mixed.json', number 2",
        "bad.csv' line 2", "again.json', number 2 .'Level' is there twice", "cut.json",
    ):  # fmt: skip
        assert len(re.findall(words, said)) == 1
    trap, names = synths.load_synth(TRAP), ["one", "two", "three", "four"]
    assert [p.name for p in read_presets(trap, tmp_path / "out.json")] == names
    with pytest.raises(InputError, match="mixed.csv' line 3"):  # as `learn` does, before the fit
        gather(trap, [tmp_path / "mixed.csv"], workers=1, progress=False)
    inside = tmp_path / "folder"
    inside.mkdir()
    for name in ("mixed.csv", "cut.json"):
        (tmp_path / name).rename(inside / name)
    (inside / "link.json").symlink_to("nowhere")
    os.mkfifo(inside / "pipe")
    found = gather(trap, [inside], workers=1, progress=False)
    assert [p.name for p in found.presets] == ["two"]
    assert len(found.failed) == 2
    assert [*found.skipped] == [str(inside / n) for n in ("cut.json", "link.json", "pipe")]
    assert (
        main(["presets", TRAP, str(tmp_path / "bad.csv"), "--out", str(tmp_path / "b.json")]) == 2
    )
    assert not (tmp_path / "b.json").exists()


def test_presets_that_may_not_be_read_cost_only_themselves(tmp_path):
    folder, out = tmp_path / "presets", tmp_path / "out.json"
    closed = folder / "closed"
    closed.mkdir(parents=True)
    (closed / "in.json").write_text("{}")
    for name, level in ("a", 0.9), ("b", 0.5), ("secret", 0.7):
        Preset(name, {"Level": level}).save(folder / f"{name}.json", "trap")
    (folder / "secret.json").chmod(0)
    closed.chmod(0)
    given = folder / "a.json", closed, closed / "in.json", folder / "b.json"
    for code, files in ((0, [folder]), (2, given)):
        done = run_without_rights("presets", TRAP, *files, "--workers", "1", "--out", out)
        assert done.returncode == code, done.stderr
        assert f"left out: '{closed}' cannot be opened (Permission denied); ask" in done.stderr
        other = "closed/in.json" if code else "secret.json"
        assert re.search(rf"left out: .*{other}'.*Permission denied", done.stderr)
        names = [preset["name"] for preset in json.loads(out.read_text())["presets"]]
        assert {"a", "b"} <= {*names}
        out.unlink()


def test_a_setting_between_two_steps_is_told(tmp_path, caplog):
    trap = synths.load_synth(TRAP)
    (tmp_path / "a.csv").write_text("name,Wave,Octave\nexact,1,0\nrounded,1.004,0\n")
    (tmp_path / "b.csv").write_text("name,Wave,Octave\nbetween,1.4,0\nsecond,0.6,0\n")
    gather(trap, [tmp_path / "a.csv"], workers=1, progress=False)
    assert not caplog.records
    gather(trap, [tmp_path / "b.csv"], workers=1, progress=False)
    (record,) = caplog.records
    said = record.getMessage()
    assert said.startswith("preset 'between' of '")
    assert "b.csv' sets 'Wave', which has steps, to 1.4: 1 is taken; " in said
    assert "1 other value" in said


def test_a_setting_between_two_steps_is_told_of_presets_of_the_synth_too(
    described, caplog, monkeypatch
):
    trap = synths.load_synth(TRAP)
    given = [
        Preset("exact", {"Wave": 1.0}),
        Preset("between", {"Wave": 1.4, "Level": 0.7}),
        Preset("second", {"Wave": 0.4, "Level": 0.6}),
    ]
    monkeypatch.setattr("trap_synth.TrapSynth.presets", lambda self: given)
    job = Job(trap, trap.param_space, Note(), FeatureSpec(), "none", "mixture")
    np.testing.assert_array_equal(
        [preset.values["Wave"] for preset in job.human(None)], [1.0, 1.0, 0.0]
    )
    (record,) = caplog.records
    assert "preset 'between' sets 'Wave', which has steps, to 1.4: 1 is" in record.getMessage()
    assert "1 other value" in record.getMessage()
    caplog.clear()
    synth = synths.load_synth(described)
    for _ in range(2):  # said once
        assert [preset.values["Wave"] for preset in synth.presets()] == [1.0, 1.0, 0.0]
    (record,) = caplog.records
    assert "1.4: 1 is taken; write the step that is meant" in record.getMessage()


def test_names_that_are_not_utf_8_are_kept_as_far_as_they_can_be(tmp_path):
    trap = synths.load_synth(TRAP)
    file = tmp_path / os.fsdecode(b"caf\xe9.csv")
    file.write_text("name,Level\none,0.5\n")
    (tmp_path / "half.json").write_text(
        '{"synth": "trap", "name": "half \\ud800", "parameters": {"Level": 0.7}}'
    )
    found = gather(trap, [file, tmp_path / "half.json"], workers=1, progress=False)
    assert [(p.name, p.bank) for p in found.presets] == [("one", "caf?.csv"), ("half ?", "half")]
    assert Preset("Bass\0ead 3", {}).name == "Bass"  # of a fixed field that was filled before
    found.save(tmp_path / "bank.json", "trap")
    assert [p.name for p in read_presets(trap, tmp_path / "bank.json")] == ["one", "half ?"]


def test_a_bank_of_dx7_voices_is_gathered(tmp_path, capfd):
    rng = np.random.default_rng(0)
    levels = rng.integers(0, SPACE.resolution, (2, len(SPACE)))
    voices = [Preset.from_array(SPACE, row, f"V{i}") for i, row in enumerate(levels)]
    write_syx(tmp_path / "bank.syx", voices)
    out = tmp_path / "presets.json"
    call = ["presets", "dexed", str(tmp_path / "bank.syx"), "--out", str(out), "--workers", "1"]
    assert main([*call, "--json"]) == 0
    facts = json.loads(capfd.readouterr().out)
    assert facts["presets"] == 3  # two voices, and the one that fills the bank
    assert facts["sources"] == {str(tmp_path / "bank.syx"): 32}
    assert main(call) == 2
    assert "is there already" in capfd.readouterr().err


def test_presets_are_drawn_where_there_are_none():
    trap = synths.load_synth(TRAP)
    space = trap.param_space
    description = Description(
        trap.name, trap.spec(), trap.identity(),
        tuple(
            DescribedControl(p, "learn" if p.name in ("Level", "Wave") else "fix")
            for p in space.params
        ),
    )  # fmt: skip
    described = synths.from_spec({"synth": "described", "description": description.to_json()})
    presets = drawn_presets(described, 12, seed=1, workers=1, progress=False)
    values = np.stack([p.array(space) for p in presets])
    assert len(np.unique(values[:, 0])) == 12
    assert set(values[:, 10]) == {0, 1, 2}
    np.testing.assert_array_equal(values[:, 1:10], np.tile(space.defaults[1:10], (12, 1)))


@pytest.fixture
def described(tmp_path):
    """The file of a description of the synth with traps, which nobody listened to."""
    trap = synths.load_synth(TRAP)
    controls = tuple(
        DescribedControl(p, "learn" if p.name in LEARNT else "fix", "of this test")
        for p in trap.param_space.params
    )
    Description(trap.name, trap.spec(), trap.identity(), controls).save(tmp_path / "synth.json")
    return tmp_path / "synth.json"


def test_a_run_of_fit_is_refused_before_the_work(tmp_path):
    small_run(tmp_path)
    with pytest.raises(InputError, match="holds a run that `pyrosynth fit` has made"):
        stages.learn(synths.load_synth("voice"), tmp_path / "run")
    assert not (tmp_path / "run" / "learn").exists()


def test_a_synth_is_learnt_in_one_command_that_goes_on(described, tmp_path, capfd, monkeypatch):
    run = tmp_path / "run"
    small = [f"--set={key}={json.dumps(value)}" for key, value in SMALL["flow_audio"].items()]
    call = [
        "learn",
        described,
        "--out",
        run,
        "--minutes",
        "0.02",
        "--hold",
        "0.2",
        "--duration",
        "0.3",
    ]
    call = [str(part) for part in (*call, "--model", "flow_audio", "--workers", "1", *small)]
    check = stages.check

    def killed(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, "check", killed)
    assert main(call) == 130
    said = "".join(capfd.readouterr())
    assert said.count("made from how the presets sound, 70% of them hidden") == 1
    assert "no tags were given" not in said
    made = {file: file.stat().st_mtime_ns for file in (run / "learn" / "data").rglob("*")}
    weights = (run / "weights.safetensors").read_bytes()
    monkeypatch.setattr(stages, "check", check)
    assert main(call) == 0
    out = capfd.readouterr().out
    assert (run / "weights.safetensors").read_bytes() == weights
    assert {file: file.stat().st_mtime_ns for file in made} == made
    last = out[out.index("mean distance") :].splitlines()
    assert "nearest known preset (retrieval)" in last[0]
    assert "nearer than retrieval on" in last[0]
    assert last[1] == "4 of 11 controls are learnt"
    assert last[2].startswith("  left out, of this test: 7 (")
    assert last[3].startswith("most presets were drawn at random")
    assert last[-1] == f"next: pyrosynth infer {run} SOUND.wav --out found"
    assert main([*call, "--json"]) == 0
    facts = json.loads(capfd.readouterr().out)
    assert facts["lines"] == last
    assert sorted(facts["learnt"]) == sorted(LEARNT)
    moved = run.rename(tmp_path / "moved run")
    assert main([*call[:3], str(moved), *call[4:]]) == 0
    said = capfd.readouterr().out.splitlines()
    assert said[:-2] == last[:-2]
    assert said[-2].startswith(f"to learn other controls: edit {moved / 'learn' / 'synth.json'} ")
    assert said[-1] == f"next: pyrosynth infer '{moved}' SOUND.wav --out found"
    moved.rename(run)
    assert main([*call, "--seed", "1"]) == 2
    assert "was made with seed 0, not 1" in capfd.readouterr().err
    assert main([*call[:3], str(tmp_path / "new"), "--model", "flow_moog"]) == 2
    assert "flow_moog" in capfd.readouterr().err
    assert not (tmp_path / "new").exists()


def test_presets_of_a_synth_that_cannot_be_read_are_named(tmp_path, monkeypatch):
    synth, why = synths.load_synth(PLAIN), "'bank.syx' is missing; put it beside the class"
    synth.presets()[0].save(tmp_path / "one.json", synth.name)

    def missing(self):
        raise SynthError(why)

    monkeypatch.setattr(type(synth), "presets", missing)
    found = gather(synth, workers=1, progress=False)
    assert (found.presets, found.failed) == ([], [why])
    found = gather(synth, [tmp_path / "one.json"], workers=1, progress=False)
    assert found.skipped == {"the presets of plain": why}
    assert len(found.presets) == 1


def test_that_a_slow_synth_needs_more_than_the_time_given_is_said():
    synth, note = synths.load_synth(PLAIN), Note(hold_seconds=0.1, duration_seconds=0.2)
    said = least_advice(synth, note, 10**6, 6.0, workers=1)
    assert re.search(r"sounds a second: this takes [\d.,]+ minutes at least, not 0.1;", said)
    assert not least_advice(synth, note, 10, 1e5, workers=1)


BOOMING = """
from trap_synth import TrapSynth
from pyrosynth.synths.presets import Preset

class Booming(TrapSynth):
    name = "booming"

    def spec(self):
        return {"synth": "booming_here:Booming"}

    def presets(self):
        odd = [{"Boom": 15.0}, {"Boom": 15.0, "Octave": 0.0}, {"Fragile": 2.0}]
        good = [
            {"Brightness": 1 / (1 + i), "Octave": i // 3 % 3 / 2, "Wave": i % 3} for i in range(16)
        ]
        return [Preset(f"p{i}", values) for i, values in enumerate([*good, *odd])]
"""


def test_render_says_why_sounds_are_missing(tmp_path, capsys, monkeypatch):
    (tmp_path / "booming_here.py").write_text(BOOMING)
    monkeypatch.syspath_prepend(str(tmp_path))
    command = ["render", "booming_here:Booming", "--out", str(tmp_path / "data"), "--workers", "1"]
    short = ["--hold", "0.1", "--duration", "0.2", "--augmented", "0"]
    assert main([*command, *short, "--params", "Brightness,Octave,Wave,Boom,Fragile"]) == 0
    assert "16 of 19 sounds usable" in (said := capsys.readouterr().out)
    assert "without a sound: 2 crashed, 1 not finite" in said


def test_what_a_system_leaves_in_a_folder_of_presets_is_no_preset(tmp_path):
    (tmp_path / "a.csv").write_text("name,Level\none,0.5\n")
    before = stages._content(tmp_path)
    for name in (".DS_Store", "Thumbs.db", "._a.csv"):
        (tmp_path / name).write_bytes(b"of the system")
    assert stages._content(tmp_path) == before
    (tmp_path / "b.csv").write_text("name,Level\ntwo,0.7\n")
    after = stages._content(tmp_path)
    assert difference({"files": [before]}, {"files": [after]}) == "another content of files.0"
