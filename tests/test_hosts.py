"""The hosts of LV2 and CLAP plugins, on a synth built from one source, and on Debian's mda."""

import json
import os
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import quote

import numpy as np
import pytest
from rights import run_without_rights

from pyrosynth import synths
from pyrosynth.audio.note import Note
from pyrosynth.data.gathering import gather
from pyrosynth.errors import InputError, SynthError
from pyrosynth.live.files import SessionFiles
from pyrosynth.synths import dssi
from pyrosynth.synths.hosts.formats import choose, split_class
from pyrosynth.synths.hosts.lv2_files import Bundle
from pyrosynth.synths.hosts.plugin import Control, PluginClass, distinct_names
from pyrosynth.synths.hosts.turtle import RDF, Graph
from pyrosynth.synths.params import Param, ParamSpace
from pyrosynth.synths.presets import Preset
from pyrosynth.synths.rendering import Renderer

RATE = 22050
NOTE = Note(hold_seconds=0.1, duration_seconds=0.2)
MDA = Path("/usr/lib/lv2/mda.lv2")
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@pytest.fixture(scope="module")
def lv2(probe):
    return synths.load_synth(probe / "Probe.lv2")


@pytest.fixture(scope="module")
def clap(probe):
    return synths.load_synth(probe / "Probe.clap")


def values(synth, **changed):
    space = synth.param_space
    plain = {"Channel": 1.0, "Boom": 0.0, **changed}
    return Preset("", plain).array(space)


def draws(synth, n):
    space = synth.param_space
    drawn = space.from_unit(np.random.default_rng(0).random((n, len(space))))
    drawn[:, space.index(["Channel", "Boom"])] = 1.0, 0.0
    return drawn


def test_one_source_sounds_the_same_in_every_format(probe, lv2, clap):
    drawn = draws(lv2, 6)
    through_lv2 = lv2.render_batch(drawn, NOTE, RATE)
    assert (np.abs(through_lv2).max(axis=1) > 1e-3).all()
    assert len(np.unique(through_lv2, axis=0)) == 6
    np.testing.assert_array_equal(clap.render_batch(drawn, NOTE, RATE), through_lv2)
    ladspa = synths.load_synth(probe / "Probe.so", isolation="load")
    assert ladspa.param_space.names == lv2.param_space.names
    assert np.abs(ladspa.render_batch(drawn, NOTE, RATE) - through_lv2).max() <= 1e-7


def test_controls_are_what_the_source_says(lv2, clap):
    """Kinds, ranges, settings and labels in both formats; what only LV2 tells, there."""
    told = {
        "Wave": ("categorical", 0, 3, 1, ("Sine", "Saw", "Pulse", "Noise")),
        "Octave": ("stepped", -2, 2, 0, ()),
        "Cutoff": ("continuous", 20, 20000, 2000, ()),
        "Resonance": ("continuous", 0, 1, 0.2, ()),
        "Attack": ("continuous", 0.001, 1, 0.01, ()),
        "Release": ("continuous", 0.01, 1, 0.1, ()),
        "Sustain": ("continuous", 0, 100, 80, ()),
        "Square": ("toggle", 0, 1, 0, ()),
        "Noise": ("continuous", 0, 1, 0, ()),
        "Echo": ("continuous", 0, 1, 0, ()),
        "Drive": ("continuous", 0, 24, 0, ()),
        "Pan": ("categorical", 0, 2, 1, ("Left", "Centre", "Right")),
        "Dead": ("continuous", 0, 1, 0.5, ()),
        "Key Track": ("continuous", 0, 1, 0, ()),
        "Channel": ("stepped", 1, 16, 1, ()),
        "Boom": ("continuous", 0, 1, 0, ()),
        "Level": ("continuous", -40, 6, -6, ()),
    }
    for synth in (lv2, clap):
        assert {
            p.name: (p.kind, p.minimum, p.maximum, p.default, p.labels)
            for p in synth.param_space.params
        } == told
        counts = {p.name: p.resolution for p in synth.param_space.params if p.kind != "continuous"}
        assert counts == {"Wave": 4, "Octave": 5, "Square": 2, "Pan": 3, "Channel": 16}
        assert (synth.described.maker, synth.described.has_threads) == ("pyrosynth", False)
    params = {p.name: p for p in lv2.param_space.params}
    assert {p.unit for p in params.values()} == {"", "Hz", "s", "%", "dB"}
    assert {name for name, p in params.items() if p.curve == "logarithmic"} == {
        "Cutoff", "Attack", "Release",
    }  # fmt: skip
    assert params["Key Track"].group == "Filter"
    assert [p.group for p in clap.param_space.params[:4]] == ["osc", "osc", "filter", "filter"]


def test_each_isolation_clears_what_it_says(probe, clap):
    noisy, echoing = values(clap, Noise=1.0), values(clap, Echo=1.0)
    exact = {}
    for mode in clap.isolations:
        synth = synths.load_synth(probe / "Probe.clap", isolation=mode)
        exact[mode] = [
            np.array_equal(*synth.render_batch(np.stack([vector] * 2), NOTE, RATE))
            for vector in (noisy, echoing)
        ]
    assert exact == {
        "reuse": [False, False],
        "fresh": [False, True],
        "reload": [True, True],
        "load": [True, True],
        "fork": [True, True],
    }


def test_a_plugin_with_threads_is_never_forked_after_loading(probe, monkeypatch):
    monkeypatch.setenv("PROBE_THREAD", "1")
    synth = synths.load_synth(probe / "Probe.clap")
    assert synth.isolations == ("reuse", "fresh", "reload", "load")
    with pytest.raises(InputError, match="use isolation 'load' instead of 'fork'"):
        synths.load_synth(probe / "Probe.clap", isolation="fork")


def test_a_value_that_crashes_costs_its_own_sound(lv2):
    three = np.stack([values(lv2), values(lv2, Boom=1.0), values(lv2, Channel=2.0)])
    with Renderer(lv2, NOTE, RATE, workers=1) as renderer:
        rendered = renderer.render(three)
    assert rendered.reason.tolist() == ["", "crashed", "silent"]
    np.testing.assert_array_equal(rendered.audio[0], lv2.render(three[0], NOTE, RATE))


def test_presets_go_out_and_come_back(tmp_path, lv2, clap):
    for synth in (lv2, clap):
        file = tmp_path / f"ours{synth.preset_suffix}"
        row = draws(synth, 1)[0]
        assert synth.write_bank(file, [Preset.from_array(synth.param_space, row, 'a "b" \\ ü')])
        (again,) = synth.read_bank(file)
        assert again.name == 'a "b" \\ ü'
        np.testing.assert_allclose(again.array(synth.param_space), row, atol=1e-6, rtol=1e-6)
    folder = tmp_path / "all" / "below"
    folder.mkdir(parents=True)
    shutil.copytree(tmp_path / f"ours{lv2.preset_suffix}", folder / "ours.lv2")
    found = gather(lv2, [folder.parent], workers=1, progress=False)
    assert found.sources[str(folder / "ours.lv2")] == 1
    assert not found.skipped
    (tmp_path / "void").mkdir()
    with pytest.raises(InputError, match="the folder '.*void' is empty; give one that holds"):
        gather(lv2, [tmp_path / "void"], workers=1, progress=False)
    (tmp_path / "text.clapstate").write_text("no state")
    with pytest.raises(InputError, match="no CLAP state that pyrosynth wrote"):
        clap.read_bank(tmp_path / "text.clapstate")
    content = (tmp_path / "ours.clapstate").read_bytes()
    (tmp_path / "of.clapstate").write_bytes(
        content.replace(b"pyrosynth.probe", b"pyrosynth.other")
    )
    with pytest.raises(
        InputError, match="a preset of 'pyrosynth.other', not of 'pyrosynth.probe'"
    ):
        clap.read_bank(tmp_path / "of.clapstate")
    empty = bundle(tmp_path / "empty.lv2").path
    with pytest.raises(InputError, match="holds no preset for https://pyrosynth.example/probe"):
        lv2.read_bank(empty)


def test_a_live_session_gives_several_presets_and_those_that_are_folders(tmp_path, lv2, clap):
    for synth in (lv2, clap):
        posterior = SimpleNamespace(synth=synth, run=SimpleNamespace(full_space=synth.param_space))
        rows = draws(synth, 2)
        suffix, content = SessionFiles(posterior).bank([("a / b", rows[0]), ("c", rows[1])])
        assert suffix == f"{synth.preset_suffix}.zip"
        (tmp_path / "both.zip").write_bytes(content)
        shutil.unpack_archive(tmp_path / "both.zip", tmp_path)
        for name, row in zip(("a  b 1", "c 2"), rows, strict=True):
            (preset,) = synth.read_bank(tmp_path / f"{name}{synth.preset_suffix}")
            np.testing.assert_allclose(preset.array(synth.param_space), row, atol=1e-6, rtol=1e-6)
        suffix, content = SessionFiles(posterior).bank([("c", rows[0])])
        assert suffix == synth.preset_suffix + (".zip" if synth is lv2 else "")


def test_factory_programs_are_presets(lv2):
    plain, hollow, bell = lv2.presets()
    assert (plain.name, hollow.name, bell.name) == ("Plain", "Hollow", "Bell (soft)")
    assert hollow.values["Cutoff"] == 600
    assert hollow.values["Resonance"] == pytest.approx(0.7)
    assert bell.values["Wave"] == 0


def test_a_plugin_is_rebuilt_from_its_spec_and_known_by_its_file(tmp_path, probe, lv2):
    assert synths.from_spec(json.loads(json.dumps(lv2.spec()))).described == lv2.described
    shutil.copytree(probe / "Probe.lv2", tmp_path / "Probe.lv2")
    copied = synths.load_synth(tmp_path / "Probe.lv2")
    assert copied.identity() == lv2.identity()
    with (tmp_path / "Probe.lv2" / "Probe.so").open("ab") as file:
        file.write(b"\0")
    assert copied.identity() != lv2.identity()
    shutil.rmtree(tmp_path / "Probe.lv2")
    with pytest.raises(SynthError, match="'.*Probe.lv2', has gone, and no standard folder"):
        synths.from_spec(copied.spec())


def test_a_worker_takes_what_the_plugin_has_told(probe, lv2, clap, tmp_path, monkeypatch):
    """To ask it again would take another process, as long to start as the worker."""
    file = synths.load_synth(probe / "Probe.so")
    started = tmp_path / "started"
    (tmp_path / "sitecustomize.py").write_text(f"open({str(started)!r}, 'a').write('.')")
    monkeypatch.syspath_prepend(tmp_path)
    for synth in (lv2, clap):
        with Renderer(synth, NOTE, RATE, workers=1) as renderer:
            assert renderer.render([values(synth)]).reason.tolist() == [""]
    assert started.read_text() == ".."
    monkeypatch.setattr(dssi, "probe", None)
    assert synths.from_spec(file.spec(), file.told).param_space == file.param_space


def test_unusable_plugins_are_told_in_one_line(tmp_path, probe):
    whole = (probe / "Probe.clap").read_bytes()
    arm = whole[:18] + b"\xb7\x00" + whole[20:]
    lacking = whole.replace(b"libstdc++.so.6\0", b"libstdc--.so.6\0")
    bad = {
        "text": (b"not a plugin", "is not a plugin"),
        "empty": (b"", "is not a plugin"),
        "cut": (whole[: len(whole) // 2], "is cut short"),
        "arm": (arm, "is for aarch64"),
        "lacking": (lacking, "libstdc--.so.6: cannot open .*apt install libstdc"),
        "dssi": ((probe / "Probe.so").read_bytes(), "has no clap_entry"),
        "windows": (b"MZ\x90\0" + whole[:100], "for Windows"),
    }
    for name, (content, said) in bad.items():
        file = tmp_path / f"{name}.clap"
        file.write_bytes(content)
        with pytest.raises(SynthError, match=said) as caught:
            synths.load_synth(file)
        assert "\n" not in str(caught.value)
    with pytest.raises(SynthError, match="no plugin '.*missing.clap'; 'pyrosynth scan' lists"):
        synths.load_synth(tmp_path / "missing.clap")
    (tmp_path / "empty.lv2").mkdir()
    with pytest.raises(SynthError, match="is no LV2 bundle: it holds no manifest.ttl"):
        synths.load_synth(tmp_path / "empty.lv2")


PORTS = """
@prefix lv2: <http://lv2plug.in/ns/lv2core#> . @prefix atom: <http://lv2plug.in/ns/ext/atom#> .
@prefix doap: <http://usefulinc.com/ns/doap#> . @prefix ev: <http://lv2plug.in/ns/ext/event#> .
@prefix midi: <http://lv2plug.in/ns/ext/midi#> . @prefix rdf: <{rdf}> .
@prefix rdfs: <http://www.w3.org/2000/01/rdf-schema#> .
<urn:x:one> a lv2:Plugin{kind} ; doap:name "One" ; lv2:binary <one.so> ; {more}
  lv2:port [ a lv2:AudioPort, lv2:OutputPort ; lv2:index 0 ; lv2:symbol "out" ] {ports} .
"""
CHOICE = """, [ a lv2:ControlPort, lv2:InputPort ; lv2:index 1 ; lv2:symbol "voices" ;
  lv2:name "Voices" ; lv2:default 4 ; lv2:minimum 1 ; lv2:maximum 8 ;
  lv2:portProperty lv2:enumeration, lv2:integer ;
  lv2:scalePoint [ rdfs:label "eight" ; rdf:value 8 ], [ rdfs:label "one" ; rdf:value 1 ],
    [ rdfs:label "four" ; rdf:value 4 ] ]"""
MIDI = ', [ a atom:AtomPort, lv2:InputPort ; lv2:index 1 ; lv2:symbol "in" ; {} ]'


def bundle(folder, kind="", more="", ports=""):
    folder.mkdir(exist_ok=True)
    text = PORTS.format(rdf=RDF, kind=kind, more=more, ports=ports)
    (folder / "manifest.ttl").write_text(text)
    return Bundle(folder)


def test_what_is_no_instrument_says_why(tmp_path):
    midi = MIDI.format("atom:supports midi:MidiEvent")
    event = MIDI.format("").replace("atom:AtomPort", "ev:EventPort")
    needs = "lv2:requiredFeature <http://lv2plug.in/ns/ext/morph#it> ;"
    sound_in = ', [ a lv2:AudioPort, lv2:InputPort ; lv2:index 2 ; lv2:symbol "sound" ]'
    cases = {
        "it takes no notes": bundle(tmp_path / "a.lv2"),
        "old event extension": bundle(tmp_path / "b.lv2", ports=event),
        "works on the sound of an input": bundle(tmp_path / "c.lv2", ports=midi + sound_in),
        "does not serve: morph#it": bundle(tmp_path / "d.lv2", "", needs, midi),
    }
    for said, described in cases.items():
        plugin = described.plugin("urn:x:one", ())
        with pytest.raises(SynthError, match=said):
            choose(described.path, [plugin], "")
    assert (
        not bundle(tmp_path / "e.lv2", ", lv2:InstrumentPlugin", "", midi + sound_in)
        .plugin("urn:x:one", ())
        .unusable
    )
    with pytest.raises(SynthError, match="lacks one.so; install the plugin again"):
        cases["it takes no notes"].binary("urn:x:one")


def test_a_plugin_that_was_moved_into_a_standard_folder_is_found(tmp_path, probe, monkeypatch):
    given = shutil.copytree(probe / "Probe.lv2", tmp_path / "here" / "Probe.lv2")
    learnt = synths.load_synth(given)
    spec, identity = learnt.spec(), learnt.identity()
    (tmp_path / "there").mkdir()
    shutil.move(given, tmp_path / "there" / "Probe.lv2")
    with pytest.raises(SynthError, match=r"'.*/here/Probe.lv2', has gone, .*'Probe.lv2'; put it"):
        synths.from_spec(spec)
    monkeypatch.setenv("LV2_PATH", str(tmp_path / "there"))
    found = synths.from_spec(spec)
    assert found.path == tmp_path / "there" / "Probe.lv2"
    assert found.identity() == identity


@pytest.mark.parametrize("name", ["one#stereo", "what?", "50%", "50%25", "a%20b", "a b"])
def test_files_of_a_bundle_may_be_called_anything(tmp_path, probe, name):
    given = shutil.copytree(probe / "Probe.lv2", tmp_path / "my #1 50%.lv2")
    manifest = given / "manifest.ttl"
    text = manifest.read_text()
    for end in ("ttl", "so"):
        (given / f"Probe.{end}").rename(given / f"{name}.{end}")
        text = text.replace(f"<Probe.{end}>", f"<{name}.{end}>")
    manifest.write_text(text)
    assert [one.reason for one in synths.scan([given])] == [""]
    manifest.write_text(text.replace(f"{name}.ttl", quote(f"{name}.ttl") + "#part"))
    assert [one.reason for one in synths.scan([given])] == [""]
    (given / f"{name}.ttl").write_text("<urn:x> <urn:y> 1 .")
    assert [one.reason for one in synths.scan([given])] != [""]


def test_an_effect_whose_files_have_a_fragment_in_their_names_is_left_out(tmp_path):
    described = bundle(tmp_path / "a.lv2")
    whole = (described.path / "manifest.ttl").read_text()
    (described.path / "one#stereo.ttl").write_text(whole)
    prefixes = whole[: whole.index("<urn:x:one>")]
    told = prefixes + "<urn:x:one> a lv2:Plugin ; rdfs:seeAlso <one#stereo.ttl> .\n"
    (described.path / "manifest.ttl").write_text(told)
    assert not list(synths.scan([described.path]))
    (described.path / "one#stereo.ttl").unlink()
    (damaged,) = synths.scan([described.path])
    assert "lacks one#stereo.ttl" in damaged.reason


def test_an_instrument_without_controls_is_not_usable(tmp_path, probe):
    plugin = tmp_path / "Probe.lv2"
    shutil.copytree(probe / "Probe.lv2", plugin)
    told = (plugin / "Probe.ttl").read_text()
    port = "a lv2:InputPort, lv2:ControlPort ;"
    hidden = f"{port} lv2:portProperty <http://lv2plug.in/ns/ext/port-props#notOnGUI> ;"
    assert port in told
    (plugin / "Probe.ttl").write_text(told.replace(port, hidden))
    with pytest.raises(SynthError, match="Probe in '.*' has no control to learn"):
        synths.load_synth(plugin)
    (found,) = synths.scan([plugin])
    assert "not usable: Probe has no control to learn" in found.line()


@pytest.mark.parametrize(
    ("numbers", "usable", "default"),
    [
        ("NaN 1 8", True, 1),
        ("4 -INF 8", False, 4),
        ("4 1 3.4e39", False, 4),
        ("INF NaN 8", False, 0),
    ],
)
def test_numbers_that_are_not_finite_cost_only_their_control(tmp_path, numbers, usable, default):
    said = "; ".join(
        f'lv2:{key} "{number}"^^<http://www.w3.org/2001/XMLSchema#float>'
        for key, number in zip(("default", "minimum", "maximum"), numbers.split(), strict=True)
    )
    port = ', [ a lv2:ControlPort, lv2:InputPort ; lv2:index 1 ; lv2:symbol "a" ; {} ]'
    (_, described) = bundle(tmp_path / "a.lv2", ports=port.format(said)).ports("urn:x:one")
    assert (described.control is not None) == usable
    assert described.default == default
    if usable:
        param = described.control.param()
        assert (param.minimum, param.maximum, param.default) == (1, 8, 1)


def test_two_ports_of_one_symbol_are_named(tmp_path):
    port = ', [ a lv2:ControlPort, lv2:InputPort ; lv2:index {} ; lv2:symbol "a" ]'
    with pytest.raises(SynthError, match=r"ports 1 and 2 of urn:x:one have one lv2:symbol, 'a'"):
        bundle(tmp_path / "a.lv2", ports=port.format(1) + port.format(2)).ports("urn:x:one")


def test_settings_that_are_not_evenly_spaced_are_numbered(tmp_path):
    (_, port) = bundle(tmp_path / "a.lv2", ports=CHOICE).ports("urn:x:one")
    param = port.control.param()
    assert (param.kind, param.labels) == ("categorical", ("one", "four", "eight"))
    assert (param.minimum, param.maximum, param.default) == (0, 2, 1)
    assert [port.native(i, RATE) for i in range(3)] == [1, 4, 8]
    assert port.value(8.0, RATE) == 2


def test_turtle(tmp_path):
    file = tmp_path / "a b.ttl"
    file.write_text(
        "@prefix : <http://a/> . PREFIX b: <c#>\n# comment <x>\n"
        ':s a :T ; b:p 1.5e2, -.5 , 3., "x\\u00e9\\n" ; :q """two\n"lines\\"""" , true;; .\n'
        "<> :r [ :in ( 1 2 ) ] , 'one'@en-GB, \"7\"^^<http://www.w3.org/2001/XMLSchema#int> .\n"
        "[] :r :x.y , :a%20b , _:n .".replace("3.,", "3,")
    )
    graph = Graph()
    graph.read(file)
    assert graph.subjects("http://a/T") == ["http://a/s"]
    assert graph.all("http://a/s", f"{file.parent.as_uri()}/c#p") == [150, -0.5, 3, "xé\n"]
    assert graph.all("http://a/s", "http://a/q") == ['two\n"lines"', True]
    listed = graph.all(file.as_uri().replace(" ", "%20"), "http://a/r")
    assert listed[1:] == ["one", 7]
    first = graph.one(graph.one(listed[0], "http://a/in"), RDF + "first")
    assert first == 1
    (blank,) = (s for s in graph.statements if "http://a/x.y" in graph.all(s, "http://a/r"))
    assert graph.all(blank, "http://a/r")[1] == "http://a/a%20b"
    known = len(graph.statements)
    for text, where in (
        ("a:b a 3 .", ", line 1: The prefix a: has not"),
        ("\n<a> <b> <c>\n<d>", ", line 3: "),
        ('<a> <b> "x', ", line 1: "),
        ("<a> <b> " + "(" * 100_000, ", line 1: "),
        (
            '<a> <b> <c> , "x"^^<http://www.w3.org/2001/XMLSchema#int> .',
            ": could not convert string to float: 'x'",
        ),
    ):
        file.write_text(text)
        with pytest.raises(InputError, match=re.escape(f"{file}'{where}")) as raised:
            graph.read(file)
        assert len(str(raised.value)) <= 300
        assert len(graph.statements) == known, "a file that is no Turtle says nothing"


def test_names_of_synths_and_controls_are_told_apart(tmp_path):
    listed = [PluginClass(f"id{i}", name) for i, name in enumerate(("Pad", "Pad", "Lead EX"))]
    assert choose(tmp_path, listed, "lead").id == "id2"
    assert choose(tmp_path, listed, "id1").id == "id1"
    with pytest.raises(InputError, match=r"2 instruments.*#id0 \(Pad\), #id1 \(Pad\)"):
        choose(tmp_path, listed, "Pad")
    with pytest.raises(InputError, match="no 'organ'; known: Pad, Pad, Lead EX"):
        choose(tmp_path, listed, "organ")
    names = [c.name for c in distinct_names([Control(str(i), n) for i, n in enumerate("aab")])]
    assert names == ["a", "a 2", "b"]
    (tmp_path / "x#y.clap").touch()
    assert split_class(f"{tmp_path}/x#y.clap#z/w") == (f"{tmp_path}/x#y.clap", "z/w")
    assert split_class("missing.lv2#JX10") == ("missing.lv2", "JX10")


def test_a_logarithmic_control_has_even_ratios():
    space = ParamSpace((Param("f", minimum=20, maximum=20000, default=20, curve="logarithmic"),))
    np.testing.assert_allclose(space.from_unit([[0], [1 / 3], [1]])[:, 0], [20, 200, 20000])
    levels = np.arange(128)[:, None]
    np.testing.assert_array_equal(space.levels(space.decode((levels + 0.5) / 128)), levels)
    assert ParamSpace.from_json(json.loads(json.dumps(space.to_json()))) == space
    assert set(Param("x").to_json()) == {
        "name", "kind", "minimum", "maximum", "default", "resolution", "unit", "labels",
    }  # fmt: skip
    with pytest.raises(InputError, match="minimum above 0"):
        Param("x", curve="logarithmic")


@pytest.mark.plugin
def test_a_damaged_description_costs_only_its_own_instrument(tmp_path, monkeypatch):
    bundle = shutil.copytree(MDA, tmp_path / "lv2" / "mda.lv2")
    monkeypatch.setenv("LV2_PATH", str(tmp_path / "lv2"))
    file = bundle / "DX10.ttl"
    text = file.read_bytes()
    for damage, said in (
        (lambda: file.write_bytes(text[: len(text) // 2]), r"'.*DX10.ttl'.* line \d+"),
        (file.mkdir, "'.*DX10.ttl' .it is a folder.; install the plugin again"),
        (lambda: file.symlink_to("nowhere"), "'.*DX10.ttl' .No such file or directory."),
        (lambda: None, "mda.lv2' tells no ports of .*DX10 and lacks DX10.ttl; install it again"),
    ):
        damage()
        found = {one.name: one.reason for one in synths.scan([bundle])}
        usable = {name for name, reason in found.items() if not reason}
        assert usable == {"MDA ePiano", "MDA JX10", "MDA Piano"}
        assert re.search(f"cannot be read: .*{said}", found["DX10"])
        assert len(synths.load_synth(f"{bundle}#MDA JX10").presets()) == 52
        file.rmdir() if file.is_dir() else file.unlink(missing_ok=True)


@pytest.mark.plugin
def test_a_bundle_that_cannot_be_read_costs_only_itself(tmp_path, monkeypatch, caplog):
    manifest = tmp_path / "lv2" / "a.lv2" / "manifest.ttl"
    manifest.parent.mkdir(parents=True)
    bundle = shutil.copytree(MDA, tmp_path / "lv2" / "mda.lv2")
    monkeypatch.setenv("LV2_PATH", str(tmp_path / "lv2"))
    for damage, why in (
        (manifest.mkdir, "it is a folder"),
        (lambda: os.mkfifo(manifest), "it is no regular file"),
        (lambda: manifest.symlink_to("nowhere"), "No such file or directory"),
    ):
        damage()
        caplog.clear()
        said = f"cannot read '{manifest}' ({why}); install the plugin again"
        found = {one.name: one for one in synths.scan([tmp_path / "lv2"])}
        assert found.pop("a").reason.startswith(said)
        assert [one.reason for one in found.values()] == [""] * 4
        assert len(caplog.records) == 1, "it is told once"
        synth = synths.load_synth("http://drobilla.net/plugins/mda/JX10")
        assert (synth.path, len(synth.presets())) == (bundle, 52)
        assert f"left out: {said}" in caplog.text
        manifest.rmdir() if manifest.is_dir() else manifest.unlink()


@pytest.mark.plugin
def test_of_two_copies_of_a_plugin_each_has_its_own_presets(tmp_path, monkeypatch, caplog):
    uri = "http://drobilla.net/plugins/mda/JX10"
    old, new, same = (tmp_path / name / "mda.lv2" for name in ("old", "new", "same"))
    for bundle in (old, new):
        shutil.copytree(MDA, bundle)
    same.parent.symlink_to(new.parent)
    text = (new / "JX10.ttl").read_text()
    (new / "JX10.ttl").write_text(text.replace("lv2:minorVersion 2", "lv2:minorVersion 4"))
    file = new / "JX10-presets.ttl"
    file.write_text(file.read_text().replace("pset:value 0.5", "pset:value 0.25"))
    monkeypatch.setenv("LV2_PATH", ":".join(str(one.parent) for one in (old, new, same)))
    synth = synths.load_synth(uri)
    assert synth.path == new
    assert f"is in 2 bundles, of which '{new}' is taken: none is newer; give" in caplog.text
    caplog.clear()
    own, other = synth.presets(), synths.load_synth(f"{old}#MDA JX10").presets()
    assert len(own) == len(other) == 52
    assert own != other
    assert [record.getMessage() for record in caplog.records] == [
        f"left out: the presets in '{a}', another copy of the plugin than '{b}'"
        for a, b in ((old, new), (new, old))
    ]


def test_files_of_every_format_that_may_not_be_read_are_named(tmp_path, probe):
    for name in ("open.clap", "closed.clap"):
        shutil.copy(probe / "Probe.clap", tmp_path / name)
    shutil.copy(probe / "Probe.so", tmp_path / "closed.so")
    shutil.copytree(probe / "Probe.vst3", tmp_path / "closed.vst3")
    for name in ("closed.clap", "closed.so", "closed.vst3/Contents"):
        (tmp_path / name).chmod(0)
    done = run_without_rights("scan", tmp_path)
    assert done.stdout.count("open.clap") == 1
    lines = done.stderr.splitlines()
    for name in ("closed.clap", "closed.so", "closed.vst3/Contents"):
        (line,) = [line for line in lines if name in line]
        assert re.search(r"Permission denied\)?; \w+", line)
    assert len(lines) == 3


@pytest.mark.plugin
def test_plugins_that_may_not_be_read_cost_only_themselves(tmp_path, monkeypatch):
    folder = tmp_path / "lv2"
    for name in ("a.lv2", "b.lv2", "mda.lv2"):
        shutil.copytree(MDA, folder / name)
    (folder / "closed").mkdir()
    monkeypatch.setenv("LV2_PATH", str(folder))
    closed = folder / "a.lv2" / "manifest.ttl", folder / "mda.lv2" / "DX10.ttl"
    for place in (*closed, folder / "b.lv2", folder / "closed"):
        place.chmod(0)
    for paths in ([folder], [folder / "closed", folder / "b.lv2", folder / "mda.lv2"]):
        done = run_without_rights("scan", *paths)
        for name in ("JX10", "ePiano", "Piano"):
            assert done.stdout.count(f"MDA {name} ") == 1
        for place in ("b.lv2/manifest.ttl", "mda.lv2/DX10.ttl", "closed"):
            assert f"{place}' cannot be opened (Permission denied)" in done.stderr
        assert done.returncode == 2
    out = tmp_path / "out.json"
    jx10 = f"{folder}/mda.lv2#MDA JX10"
    done = run_without_rights("presets", jx10, "--workers", "1", "--out", out)
    assert (done.returncode, len(json.loads(out.read_text())["presets"])) == (0, 52)
    assert f"left out: '{folder}/a.lv2/manifest.ttl' cannot be opened (Permis" in done.stderr


@pytest.mark.plugin
def test_a_plugin_given_otherwise_than_its_host_takes_it_is_named_as_it_is():
    with pytest.raises(InputError, match=r"mda.lv2' is not for the host 'dawdreamer'; .*host=own"):
        synths.load_synth(f"{MDA}#MDA JX10", host="dawdreamer")
    with pytest.raises(SynthError, match="JX10.so' is a part of an LV2 plugin; give its fold"):
        synths.load_synth(MDA / "JX10.so")


@pytest.mark.plugin
def test_a_description_that_is_cut_early_is_no_effect(tmp_path, monkeypatch):
    bundle = shutil.copytree(MDA, tmp_path / "lv2" / "mda.lv2")
    monkeypatch.setenv("LV2_PATH", str(tmp_path / "lv2"))
    text = (bundle / "DX10.ttl").read_bytes()
    for cut, said in (
        (text[: text.index(b"InstrumentPlugin")], r"cannot be read: '.*DX10.ttl'.* line \d+"),
        (b"", "cannot be read: '.*mda.lv2' tells no ports of .*DX10; install it again"),
    ):
        (bundle / "DX10.ttl").write_bytes(cut)
        assert any(re.search(said, one.reason) for one in synths.scan([bundle]))
        with pytest.raises(SynthError, match=said):
            synths.load_synth(f"{bundle}#DX10")


@pytest.mark.plugin
def test_presets_of_another_version_of_a_plugin_are_named(tmp_path, monkeypatch, caplog):
    bundle = shutil.copytree(MDA, tmp_path / "lv2" / "mda.lv2")
    monkeypatch.setenv("LV2_PATH", str(tmp_path / "lv2"))
    synth = synths.load_synth(f"{bundle}#MDA JX10")
    (own,) = synth.presets()[7:8]
    mine = tmp_path / "mine.lv2"
    synth.write_bank(mine, [own])
    (file,) = [one for one in mine.glob("*.ttl") if b"pset:value" in one.read_bytes()]
    whole = file.read_text()
    symbols = re.findall(r'lv2:symbol "(\w+)"', whole)
    value = re.search(rf'lv2:symbol "{symbols[1]}"\s*;\s*pset:value ([-\d.e]+)', whole)
    for content, says, n in (
        (
            whole.replace(f'"{symbols[0]}"', '"of_old"'),
            "sets 'of_old', which the plugin does not",
            1,
        ),
        (
            re.sub(r'(lv2:symbol ")(\w+")', r"\1old_\2", whole),
            "and nothing that the plugin has",
            0,
        ),
        (
            whole.replace(value[0], value[0].replace(value[1], "99.0")),
            "is brought into its range",
            1,
        ),
    ):
        caplog.clear()
        file.write_text(content)
        each = synth.read_each(mine)
        assert sum(isinstance(one, Preset) for one in each) == n
        assert says in caplog.text + "".join(str(one) for one in each)


@pytest.mark.plugin
def test_of_factory_presets_only_the_damaged_file_is_left_out(tmp_path, monkeypatch, caplog):
    bundle = shutil.copytree(MDA, tmp_path / "lv2" / "mda.lv2")
    monkeypatch.setenv("LV2_PATH", str(tmp_path / "lv2"))
    synth = synths.load_synth(f"{bundle}#MDA JX10")
    (own,) = synth.presets()[7:8]
    synth.write_bank(tmp_path / "lv2" / "mine.lv2", [own])
    assert len(synth.presets()) == 53
    file = bundle / "JX10-presets.ttl"
    whole = file.read_bytes()
    file.write_bytes(whole.replace(b"pset:value", b'pset:value "loud" ; pset:value', 1))
    assert len(synth.presets()) == 52
    (line,) = [record.getMessage() for record in caplog.records]
    assert re.match(rf"left out: preset '.*' in '{bundle}' has no number for '.*'; install", line)
    *each, bad = synth.read_each(bundle)
    assert ([type(one) for one in each], type(bad)) == ([Preset] * 51, InputError)
    assert f"left out: {bad}" == line
    caplog.clear()
    file.write_bytes(whole[:-200])
    presets = synth.presets()
    assert [(preset.name, preset.values) for preset in presets] == [(own.name, own.values)]
    (line,) = [record.getMessage() for record in caplog.records]
    assert re.match(rf"left out: '{file}', line \d+: .*; install the plugin again", line)
    caplog.clear()
    (found,) = synths.scan([f"{bundle}#MDA JX10"])
    assert found.presets == 1
    assert "JX10-presets.ttl" in caplog.text
    file.unlink()
    for damage in (lambda: None, lambda: file.symlink_to("nowhere"), file.mkdir):
        file.unlink(missing_ok=True)
        damage()
        caplog.clear()
        assert len(synth.presets()) == 1
        (line,) = [record.getMessage() for record in caplog.records]
        assert line.startswith(f"left out: cannot read '{file}' (")


@pytest.mark.plugin
def test_jx10_and_its_presets():
    """A synth of many years and its 52 presets, from Debian's mda-lv2."""
    if not MDA.is_dir():
        pytest.fail("mda-lv2 is not installed: apt install mda-lv2")
    with pytest.raises(InputError, match=r"holds 4 instruments.*#MDA JX10"):
        synths.load_synth(MDA)
    with pytest.raises(SynthError, match="MDA Overdrive in .* is an effect: it takes no notes"):
        synths.load_synth(f"{MDA}#MDA Overdrive")
    for name, said in (
        ("#JX10", ""),
        ("#Piano", "holds 2 instr.*"),
        ("#zzz", "holds no 'zzz'; .*"),
    ):
        (found,) = synths.scan([f"{MDA}{name}"])
        assert re.search(f"{said}$", found.reason)
    jx10 = synths.load_synth("http://drobilla.net/plugins/mda/JX10")
    assert (len(jx10.param_space), jx10.described.maker) == (24, "David Robillard")
    presets = jx10.presets()
    assert (len(presets), presets[0].name) == (52, "5th Sweep Pad")
    assert {len(preset.values) for preset in presets} == {24}
    some = np.stack([preset.array(jx10.param_space) for preset in presets[:4]])
    assert "bundle" not in vars(jx10.file)
    sounds = jx10.render_batch(some, NOTE, RATE)
    assert "bundle" in vars(jx10.file)  # read before the fork, not in each forked process
    for i in range(300):  # dirty the memory that the forked processes begin with
        np.full(17 * i, 0.7)
    np.testing.assert_array_equal(sounds, jx10.render_batch(some[::-1], NOTE, RATE)[::-1])
    assert len(np.unique(sounds, axis=0)) == 4
    fresh = synths.load_synth("http://drobilla.net/plugins/mda/JX10", isolation="fresh")
    for turn in ([0, 1, 2, 3], [2, 0, 3, 1]):  # in memory that was used before, too
        np.testing.assert_array_equal(fresh.render_batch(some[turn], NOTE, RATE), sounds[turn])
    assert os.path.basename(jx10.spec()["path"].partition("#")[0]) == "mda.lv2"
