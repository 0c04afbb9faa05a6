"""Descriptions: what is found out by listening, and the file that people edit."""

import json
from dataclasses import replace

import numpy as np
import pytest
from plain import PLAIN

from pyrosynth import synths
from pyrosynth.audio.note import Note
from pyrosynth.errors import InputError, SynthError
from pyrosynth.synths import discovery
from pyrosynth.synths.description import DescribedControl, Description, read_description
from pyrosynth.synths.discovery import describe
from pyrosynth.synths.unfinished import require_replaceable
from pyrosynth.synths.verdicts import SWEEP, even_steps

NOTES = tuple(Note(pitch, 100, 0.2, 0.3) for pitch in (60, 36))
TRAP = "trap_synth:TrapSynth"
SEED = 42  # of the settings it draws, none ends the process of the synth with traps


@pytest.fixture(scope="module")
def described(tmp_path_factory):
    """The description of the synth with traps, interrupted once, and its file."""
    file = tmp_path_factory.mktemp("describe") / "synth.json"
    options = {"notes": NOTES, "workers": 1, "seconds": 1e-3, "seed": SEED, "progress": False}
    listened = []
    listen = discovery._Listening._listen

    def interrupted(self, base, tests, note, wanted):
        if len(listened) == 2:
            listened.append("stop")
            raise KeyboardInterrupt
        listened.append(note.pitch)
        return listen(self, base, tests, note, wanted)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(discovery._Listening, "_listen", interrupted)
        with pytest.raises(KeyboardInterrupt):
            describe(synths.load_synth(TRAP), file, **options)
        with pytest.raises(InputError, match="is unfinished; run the same"):
            read_description(file)
        kept = file.read_bytes()
        for other, message in (
            ({"seed": 1}, f"with seed {SEED}, not 1; give the settings it was made with, another"),
            ({"notes": NOTES[:1]}, "was made with notes.1"),
        ):
            with pytest.raises(InputError, match=message):
                describe(synths.load_synth(TRAP), file, **{**options, **other})
        file.write_bytes(kept.replace(b'"renders": ', b'"renders": 1'))
        with pytest.raises(InputError, match="is unfinished, and not as it was written"):
            describe(synths.load_synth(TRAP), file, **options)
        file.write_bytes(kept)
        whole = describe(synths.load_synth(TRAP), file, **options)
    assert listened == [60, 60, "stop", 36, 36]  # what was done before is not done again
    return whole, file, options


def test_all_traps_are_found(described):
    found = {control.param.name: control for control in described[0].controls}
    uses = {name: control.use for name, control in found.items()}
    learnt = ("Level", "Brightness", "Octave", "Uneven", "Key Track", "Boom", "Wave")
    assert tuple(name for name, use in uses.items() if use == "learn") == learnt
    why = {name: control.why for name, control in found.items()}
    assert why["Dead"] == "not heard in 2 settings and 2 notes of 0.3 s"
    assert why["MIDI Channel"] == "other values silence the synth"
    assert "no finite sound" in why["Fragile"]
    assert "by its name" in why["Polyphony"]
    assert "C2 at velocity 100 only: one C4 does not tell it" in why["Key Track"]
    assert found["Key Track"].audible_db[0] == 0 < found["Key Track"].audible_db[1]
    assert found["Boom"].failed > 0
    assert found["MIDI Channel"].param.default == 1


def test_ranges_and_steps_follow_the_evidence(described):
    params = {control.param.name: control.param for control in described[0].controls}
    boom, octave = params["Boom"], params["Octave"]
    assert (boom.minimum, boom.maximum, boom.resolution) == (0, 14, 15)
    assert (octave.kind, octave.resolution, octave.default) == ("stepped", 3, 0.5)
    assert params["Uneven"].kind == "continuous"  # even steps would miss one of its settings
    assert params["Level"].resolution == 128
    assert described[0].probe["isolation"]["exact"] == "fresh"
    assert described[0].probe["noise_db"] == 0


def test_few_presets_of_a_large_synth_are_listened_in(tmp_path, monkeypatch):
    monkeypatch.setattr(discovery, "MANY", 1)
    synth = synths.load_synth(PLAIN)
    probe = describe(
        synth, tmp_path / "synth.json", presets=synth.presets()[:3],
        notes=[Note(60, 100, 0.1, 0.15)], seconds=1e-3, workers=1, progress=False,
    ).probe  # fmt: skip
    assert (probe["bases"], probe["from_presets"]) == (2, True)


def test_a_description_is_a_synth(described):
    _, file, _ = described
    trap = synths.load_synth(file)
    assert trap.param_space.select(trap.param_space.usual).names[0] == "Level"
    assert len(trap.param_space.select("learn")) == 7
    again = synths.from_spec(json.loads(json.dumps(trap.spec())))
    assert again.identity() == trap.identity()
    values = trap.param_space.defaults
    plain = synths.load_synth(TRAP)
    np.testing.assert_array_equal(
        again.render(values, NOTES[0], 22050), plain.render(values, NOTES[0], 22050)
    )


def test_uses_that_are_asked_for_are_kept(described, tmp_path):
    _, file, options = described
    mine = tmp_path / "mine.json"
    mine.write_text(file.read_text().replace('"default": 0.8', '"default": 0.7'))
    describe(synths.load_synth(TRAP), mine, use=["Dead"], fix=["Wave"], **options)
    again = read_description(mine)
    uses = {control.param.name: control.use for control in again.controls}
    assert (uses["Dead"], uses["Wave"]) == ("learn", "fix")
    assert again.controls[0].param.default == 0.7
    with pytest.raises(InputError, match=f"was made with seed {SEED}, not 7; .* anew with --f"):
        describe(synths.load_synth(TRAP), mine, use=["Dead"], **{**options, "seed": 7})
    with pytest.raises(InputError, match="unknown parameter 'Wawe'"):
        describe(synths.load_synth(TRAP), mine, use=["Wawe"], **options)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            '"Brightness", "kind"',
            '"Brightness" "kind"',
            "line 7, column 25: .* a comma between",
        ),
        ("{", "// mine\n{", "line 1, column 1: '// mine' cannot begin it; .* no comments"),
        ('"maximum": 16', '"maximum": 0', "line 12: parameter 'MIDI Channel': range 1"),
        ('"use": "learn"', '"use": "lern"', "line 6: unknown use of 'Level' 'lern'"),
        ('"maximum": 16', '"maximun": 16', "line 12: unknown key 'maximun'"),
        ('"default": 0.8', '"default": "loud"', "line 6: parameter 'Level': default 'loud'"),
        ('"name": "Dead"', '"name": "Level"', "line 10: a second control of the name 'Level'"),
        ('"silent": 0.0', '"silent": false', "line .*: silent False: give a number from 0 to 1"),
        ('"name": "Dead"', '"name": 3', "line 10: parameter 3: a name is text"),
        ('"format": 1', '"format": 2', "has format 2, this pyrosynth reads 1"),
        ('"format": 1', '"format": true', "has format True, this pyrosynth reads 1"),
        ('"format": 1,', "", "no description of a synth; name another file, such"),
        ('"learn"', '"fix"', "no control has the use 'learn'"),
        ('"identity": "trap, version 1"', '"identity": "trap, version 0"', "has changed since"),
        ('"name": "Dead"', '"name": "Alive"', "control 5 .*'trap' is 'Alive', .* 'Dead'; a desc"),
    ],
)
def test_wrong_edits_tell_the_line(described, tmp_path, old, new, message):
    text = described[1].read_text()
    assert old in text
    mine = tmp_path / "mine.json"
    mine.write_text(text.replace(old, new, -1 if "fix" in new else 1))
    with pytest.raises((InputError, SynthError), match=message) as caught:
        synths.load_synth(mine)
    assert len(str(caught.value)) <= 300


def test_a_run_of_a_described_synth_answers_if_only_its_sound_has_changed():
    synth = synths.load_synth(PLAIN)
    controls = tuple(DescribedControl(param, "learn") for param in synth.param_space.params)
    old = Description(synth.name, synth.spec(), "an older version", controls)
    spec = {"synth": "described", "description": old.to_json()}
    with pytest.raises(SynthError, match="has changed since it was described"):
        synths.from_spec(spec)
    again = synths.from_spec(spec, space=old.space())
    assert again.identity().startswith(synth.identity())
    assert synths.from_spec(again.spec()).identity() == again.identity()  # as workers rebuild it
    i = next(i for i, control in enumerate(controls) if control.param.kind == "continuous")
    wider = replace(controls[i], param=replace(controls[i].param, maximum=9.0))
    old = replace(old, controls=(*controls[:i], wider, *controls[i + 1 :]))
    spec = {"synth": "described", "description": old.to_json()}
    with pytest.raises(SynthError, match="has changed since it was described"):
        synths.from_spec(spec, space=old.space())


def test_what_was_edited_is_not_described_anew(described, tmp_path):
    _, file, options = described
    mine, trap = tmp_path / "mine.json", synths.load_synth(TRAP)
    mine.write_text(json.dumps(json.loads(file.read_text()), sort_keys=True))  # as by a formatter
    describe(trap, mine, fix=["Wave"], **options)
    require_replaceable(mine)  # what --force asks, before minutes of work
    mine.write_text(file.read_text().replace('"default": 0.8', '"default": 0.7'))
    for _ in range(2):  # also after another call has written it with the edit
        with pytest.raises(InputError, match="was edited, .* move it elsewhere, or give another"):
            describe(trap, mine, force=True, **options)
        describe(trap, mine, fix=["Wave"], **options)
    assert read_description(mine).controls[0].param.default == 0.7


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1])
def test_times_that_make_no_sense(tmp_path, seconds):
    with pytest.raises(InputError, match="seconds .*: give a number of at least 0"):
        describe(synths.load_synth(PLAIN), tmp_path / "synth.json", seconds=seconds)
    with pytest.raises(InputError, match="seconds .*: give a number from 0.1 to 3600"):
        next(synths.scan([tmp_path], seconds))


def test_what_another_process_wrote_meanwhile_is_kept(tmp_path, monkeypatch):
    file = tmp_path / "synth.json"
    listen = discovery._Listening._listen

    def meanwhile(self, *arguments):
        file.write_text("mine")
        return listen(self, *arguments)

    monkeypatch.setattr(discovery._Listening, "_listen", meanwhile)
    options = {"notes": NOTES, "workers": 1, "seconds": 1e-3, "progress": False}
    with pytest.raises(InputError, match="synth.json' was changed while it was made"):
        describe(synths.load_synth(PLAIN), file, **options)
    assert file.read_text() == "mine"


def test_another_synth_is_not_described_over(described, monkeypatch):
    _, file, options = described
    monkeypatch.setenv("TRAP_VERSION", "2")
    with pytest.raises(SynthError, match="as it was before; give another --out"):
        describe(synths.load_synth(TRAP), file, **options)
    with pytest.raises(InputError, match="cannot read the synth"):
        read_description(file.parent)


@pytest.mark.parametrize(
    ("levels", "n"), [(1, None), (2, 2), (5, 5), (6, 6), (16, 16), (17, None), (33, None)]
)
def test_even_steps(levels, n):
    sounds = np.round(np.linspace(0, 1, SWEEP) * (levels - 1))
    assert even_steps(np.diff(sounds) == 0) == n


def test_the_traps_of_a_plugin_are_found(probe, tmp_path):
    synth = synths.load_synth(probe / "Probe.clap")
    options = {"notes": NOTES, "workers": 1, "seconds": 1e-3, "progress": False}
    found = {c.param.name: c for c in describe(synth, tmp_path / "probe.json", **options).controls}
    fixed = {name: control.why for name, control in found.items() if control.use == "fix"}
    assert set(fixed) == {"Dead", "Channel", "Boom"}
    assert fixed["Channel"] == "other values silence the synth"
    assert fixed["Dead"] == "not heard in 2 settings and 2 notes of 0.3 s"
    assert fixed["Boom"].startswith("not heard")  # but where it ends the process
    assert found["Boom"].failed > 0
    assert found["Boom"].param.maximum <= 0.9
    assert "C2 at velocity 100 only" in found["Key Track"].why
    assert synths.load_synth(tmp_path / "probe.json").isolation in ("reload", "load", "fork")


def test_a_synth_need_not_have_all_notes(tmp_path):
    options = {"notes": NOTES, "workers": 1, "seconds": 1e-3, "progress": False}
    found = describe(synths.load_synth("alone_synth:Ranged"), tmp_path / "a.json", **options)
    assert min(note.pitch for note in found.notes) < 48
    (level,) = found.controls
    assert level.use == "learn"


def test_presets_beyond_a_range_that_was_narrowed_by_hand_are_told(tmp_path, caplog, monkeypatch):
    synth = synths.load_synth(PLAIN)
    space = synth.param_space
    level = space.params[space.names.index("filter_cutoff")]
    low, high = level.minimum, level.minimum + 0.5 * (level.maximum - level.minimum)
    narrow = replace(level, maximum=high, default=low)
    for params, n in ((space.params, 0), ([narrow if p is level else p for p in space.params], 1)):
        controls = tuple(DescribedControl(param, "learn") for param in params)
        file = tmp_path / f"{n}.json"
        Description(synth.name, synth.spec(), synth.identity(), controls).save(file)
        described = synths.load_synth(file)
        assert described.presets()
        assert len(described.presets()) == len(synth.presets())
        lines = [line for line in caplog.messages if "'filter_cutoff', which goes from" in line]
        assert len(lines) == n
    beyond = sum(
        one.values["filter_cutoff"] > high + 0.01 * (high - low) for one in synth.presets()
    )
    assert f"{beyond} of {len(synth.presets())} presets lie beyond the ranges" in lines[0]
    far = next(one for one in synth.presets() if one.values["filter_cutoff"] > high)
    monkeypatch.setattr(described.synth, "read_each", lambda path: [far])
    (moved,) = described.read_bank("a.bank")
    assert moved.values["filter_cutoff"] == pytest.approx(high)
    assert "1 of 1 presets of 'a.bank' lie beyond the ranges" in caplog.messages[-1]
