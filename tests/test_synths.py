"""Plugins: probing, the DSSI host, and a second synth through it."""

import faulthandler
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from pyrosynth import synths
from pyrosynth.audio.note import Note
from pyrosynth.errors import InputError, SynthError
from pyrosynth.synths.amsynth import find
from pyrosynth.synths.apt import download, unpack
from pyrosynth.synths.catalog import argument
from pyrosynth.synths.dssi import DssiSynth

RATE = 22050
NOTE = Note(hold_seconds=0.2, duration_seconds=0.4)


def fault(plugin, number, **options):
    synth = DssiSynth(plugin, **options)
    return synth, np.array([number, 441.0, 0.0])


def test_ports_become_parameters(faulty_plugin):
    kind, frequency, level = DssiSynth(faulty_plugin).param_space.params
    assert (kind.kind, kind.minimum, kind.maximum, kind.default) == ("stepped", 0, 35, 0)
    assert kind.resolution == 36
    assert (frequency.minimum, frequency.maximum) == (50, 5000)
    assert frequency.default == pytest.approx(50 * 100**0.25)
    assert frequency.unit == "logarithmic"
    assert (level.minimum, level.maximum) == (0, 1)


def test_a_note_has_the_pitch_asked_for(faulty_plugin):
    synth, values = fault(faulty_plugin, 0)
    audio = synth.render(values, NOTE, RATE)
    assert audio.dtype == np.float32
    assert audio.shape == (NOTE.n_samples(RATE),)
    expected = 0.5 * np.sin(2 * np.pi * 441 / RATE * np.arange(len(audio)))
    np.testing.assert_allclose(audio, expected, atol=1e-4)


@pytest.mark.parametrize("isolation", ["reuse", "fresh", "load"])
@pytest.mark.parametrize("note", [60, None])
def test_a_note_that_is_none_is_one_line(faulty_plugin, isolation, note):
    synth, values = fault(faulty_plugin, 0, isolation=isolation)
    for render, given in ((synth.render, values), (synth.render_batch, values[None])):
        with pytest.raises(InputError, match="^note is .*; give a Note"):
            render(given, note, RATE)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize(
    ("isolation", "clean"),
    [("reuse", False), ("fresh", False), ("reload", True), ("load", True), ("fork", True)],
)
def test_isolations_clear_what_the_library_keeps(faulty_plugin, isolation, clean):
    synth, values = fault(faulty_plugin, 5, isolation=isolation)
    first = synth.render(values, NOTE, RATE)
    second = synth.render(values, NOTE, RATE)
    assert (np.array_equal(first, second)) == clean


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_plugin_with_threads_is_loaded_after_the_fork(faulty_plugin, monkeypatch):
    monkeypatch.setenv("FAULTY_HAS_THREADS", "1")
    assert "fork" not in DssiSynth(faulty_plugin).isolations
    with pytest.raises(InputError, match="starts threads.*use isolation 'load'"):
        DssiSynth(faulty_plugin, "fork")
    synth, values = fault(faulty_plugin, 5, isolation="load")
    sounds = synth.render_batch(np.stack([values] * 2), NOTE, RATE)
    np.testing.assert_array_equal(sounds[0], sounds[1])
    monkeypatch.delenv("FAULTY_HAS_THREADS")
    assert DssiSynth(faulty_plugin).isolations == synths.ISOLATIONS


def test_a_kept_instance_survives_its_library_being_reloaded(faulty_plugin):
    kept, values = fault(faulty_plugin, 0, isolation="reuse")
    reloading, _ = fault(faulty_plugin, 0, isolation="reload")
    for _ in range(3):
        assert np.isfinite(kept.render(values, NOTE, RATE)).all()
        reloading.render(values, NOTE, RATE)
        kept.render(values, NOTE, 2 * RATE)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_crash_in_a_forked_child_is_an_error(faulty_plugin):
    synth, values = fault(faulty_plugin, 1, isolation="fork")
    faulthandler.disable()  # else the child prints a trace
    with pytest.raises(SynthError, match="crashed"):
        synth.render(values, NOTE, RATE)
    faulthandler.enable()


def test_specs_rebuild_a_synth(faulty_plugin):
    synth, _ = fault(faulty_plugin, 0, isolation="reload")
    again = synths.from_spec(synth.spec())
    assert again.spec() == synth.spec()
    assert again.param_space == synth.param_space
    assert again.identity() == synth.identity()
    assert len(synth.identity()) == 64


def test_scan_lists_the_synths_of_a_library(faulty_plugin):
    (found,) = synths.scan([faulty_plugin])
    assert found.name == "Faulty"
    assert synths.load_synth(found.path).name == "faulty"
    with pytest.raises(InputError, match="known: faulty"):
        synths.load_synth(f"{faulty_plugin}#other")
    (other,) = synths.scan([f"{faulty_plugin}#other"])
    assert other.reason.endswith("holds no 'other'; known: faulty")


def test_links_that_lead_nowhere_or_back_cost_only_themselves(tmp_path, faulty_plugin):
    (tmp_path / "a.so").write_bytes(Path(faulty_plugin).read_bytes())
    (tmp_path / "b.so").symlink_to("a.so")
    (tmp_path / "loop.so").symlink_to("loop.so")
    for name in ("again", "once more", "up"):
        (tmp_path / name).symlink_to(tmp_path)
    good, bad = synths.scan([tmp_path])
    assert good.name == "Faulty"
    assert "loop.so" in bad.reason


def test_a_path_without_a_plugin_costs_only_itself(tmp_path, faulty_plugin):
    foreign, missing = tmp_path / "x.dll", tmp_path / "missing" / "x.clap"
    foreign.touch()
    other, none, good = synths.scan([foreign, faulty_plugin, missing])
    assert good.name == "Faulty"
    assert f"'{foreign}' is no plugin by its name" in other.reason
    assert f"no plugin '{missing}'; give a plugin" in none.reason


def test_a_label_is_told_from_a_path(tmp_path, faulty_plugin):
    folder = tmp_path / "a#b"
    folder.mkdir()
    plugin = folder / "c#d.so"
    plugin.write_bytes(Path(faulty_plugin).read_bytes())
    for path in (plugin, f"{plugin}#faulty"):
        synth = synths.load_synth(path)
        assert synths.from_spec(synth.spec()).path == plugin
        assert next(synths.scan([path])).path == f"{plugin}#faulty"
    with pytest.raises(SynthError, match="no plugin '.*/a#b/missing.so'"):
        synths.load_synth(folder / "missing.so")


def test_a_synth_prints_as_a_line_and_as_a_table(faulty_plugin):
    assert repr(synths.load_synth("voice")) == "<Voice 'voice': 32 parameters, isolation 'reuse'>"
    table = synths.load_synth(faulty_plugin)._repr_html_()
    for text in ("frequency", "logarithmic", "stepped", "5000"):
        assert f"<td>{text}</td>" in table


def test_unusable_libraries_cost_one_line_and_not_the_process(tmp_path, faulty_plugin):
    whole = faulty_plugin.read_bytes()
    (tmp_path / "text.so").write_text("not a library")
    (tmp_path / "empty.so").touch()
    shutil.copy(next(Path("/").glob("lib*/**/libm.so.6"), faulty_plugin), tmp_path / "libm.so")
    for name in ("missing.so", "text.so", "empty.so", "libm.so"):
        with pytest.raises(SynthError) as caught:
            synths.load_synth(tmp_path / name)
        assert "\n" not in str(caught.value)
        assert str(tmp_path / name) in str(caught.value)
    refused = 0
    for size in range(1000, len(whole), 1500):
        (tmp_path / "cut.so").write_bytes(whole[:size])
        (cut,) = synths.scan([tmp_path / "cut.so"])
        refused += bool(cut.reason)  # a library that lacks only its tail may still open
    assert refused > 0


def test_unknown_names_and_options_are_listed(monkeypatch, tmp_path):
    with pytest.raises(InputError, match="known: voice, amsynth"):
        synths.load_synth("moog")
    with pytest.raises(InputError, match="unknown synth 'None'"):
        synths.from_spec({})
    with pytest.raises(InputError, match="'voice' has no option 'colour'; known: device, seed"):
        synths.load_synth("voice", colour="red")
    with pytest.raises(InputError, match="has no option 'path'; known: isolation"):
        synths.load_synth("a.so", path="b.so")
    with pytest.raises(InputError, match="unknown isolation '5'; known: reuse"):
        synths.load_synth("a.so", isolation=5)
    with pytest.raises(InputError, match="plugin 5 is not a path"):
        synths.load_synth("amsynth", path=5)
    for name in ("XDG_DATA_HOME", "DSSI_PATH"):
        monkeypatch.setenv(name, str(tmp_path))
    if find() is None:
        with pytest.raises(SynthError, match="pyrosynth install amsynth"):
            synths.load_synth("amsynth")
        assert not synths.status()[1][1]


def test_labels_and_names_of_ports_must_be_some(tmp_path, faulty_plugin, monkeypatch):
    content = Path(faulty_plugin).read_bytes()
    for label, says in ((b"fau/ty", "the label 'fau/ty'"), (b"\0aulty", "the label ''")):
        file = tmp_path / "a.so"
        file.write_bytes(content.replace(b"\0faulty\0", b"\0" + label + b"\0"))
        with pytest.raises(SynthError, match=f"not a usable DSSI plugin.*{says}"):
            synths.load_synth(file)
    monkeypatch.setenv("FAULTY_NEVER_ENDS", "1")
    assert [found.name for found in synths.scan([faulty_plugin])] == ["Faulty"]
    monkeypatch.setenv("FAULTY_LACKS_A_NAME", "1")
    with pytest.raises(SynthError, match="port 1 of 'faulty' has no name; get another one"):
        synths.load_synth(faulty_plugin)


def test_a_synth_without_a_label_costs_only_itself(faulty_plugin, monkeypatch):
    monkeypatch.setenv("FAULTY_HAS_A_NAMELESS", "1")
    nameless, good = synths.scan([faulty_plugin])
    assert re.search("has the label '', by which it cannot be named; get another", nameless.reason)
    assert (good.reason, good.path) == ("", f"{faulty_plugin}#faulty")
    assert synths.load_synth(faulty_plugin).label == "faulty"
    with pytest.raises(SynthError, match="the label '', by which .*, in '.*'; get another one"):
        synths.load_synth(f"{faulty_plugin}#synth 1")


@pytest.fixture(scope="module")
def xsynth_plugin(tmp_path_factory):
    """The plugin of Debian's package xsynth-dssi, from the system or fetched like amsynth."""
    name = "xsynth-dssi.so"
    folders = [Path(part) for part in os.environ.get("DSSI_PATH", "").split(":") if part]
    folders += [Path("/usr/lib/dssi"), *sorted(Path("/usr/lib").glob("*/dssi"))]
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    file = tmp_path_factory.mktemp("xsynth") / name
    try:
        package = download("xsynth-dssi", file.parent)
    except SynthError as error:
        pytest.fail(str(error))
    file.write_bytes(dict(unpack(package))[f"./usr/lib/dssi/{name}"])
    return file


@pytest.mark.plugin
def test_a_second_synth_needs_no_code_of_its_own(xsynth_plugin):
    xsynth = synths.load_synth(xsynth_plugin)
    assert len(xsynth.param_space) == 32
    rng = np.random.default_rng(0)
    values = xsynth.param_space.from_unit(rng.random((8, 32)))
    sounds = xsynth.render_batch(values, NOTE, RATE)
    assert np.isfinite(sounds).all()
    assert len(np.unique(sounds, axis=0)) == 8
    backwards = xsynth.render_batch(values[::-1], NOTE, RATE)
    np.testing.assert_array_equal(sounds, backwards[::-1])


@pytest.mark.parametrize(
    ("spec", "called"),
    [({"synth": "voice", "seed": 1}, "voice"), ({"synth": "plain:Plain"}, "plain:Plain"),
     ({"synth": "dssi", "path": "/x/y.so#z"}, "/x/y.so#z"), ({"synth": "described"}, "SYNTH")],
)  # fmt: skip
def test_what_commands_call_a_synth(spec, called):
    assert argument(spec) == called


def test_a_name_with_blanks_around_it_is_that_name():
    assert synths.load_synth(" voice ").name == "voice"
