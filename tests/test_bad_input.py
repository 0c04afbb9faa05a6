"""Whatever is wrong with the input: one clear line, exit code 2, and nothing is lost."""

import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import forked
import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from plain import PLAIN
from rights import run_without_rights
from small import small_run

import pyrosynth as ps
from pyrosynth.audio.features import FeatureSpec
from pyrosynth.cli.app import main
from pyrosynth.cli.options import settings
from pyrosynth.data.gathering import read_presets
from pyrosynth.errors import InputError
from pyrosynth.explore import folder as exploring
from pyrosynth.inference import infer as inference
from pyrosynth.synths.presets import Preset
from pyrosynth.training import fit as fitting
from pyrosynth.training import zoo

RATE = 22050


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with a dataset `data`, a run `run` and a sound `good.wav`."""
    folder = tmp_path_factory.mktemp("bad")
    dataset, _ = small_run(folder)
    soundfile.write(folder / "good.wav", dataset.audio(dataset.rows("test")[:1])[0], RATE)
    return folder


@pytest.fixture
def refused(capfd):
    """Run a command that must fail; return its one line."""

    def refused(*arguments):
        capfd.readouterr()
        assert main([str(argument) for argument in arguments]) == 2
        out, error = capfd.readouterr()
        lines = [line for line in error.splitlines() if line.startswith("pyrosynth: ")]
        assert len(lines) == 1, error
        assert "Traceback" not in error
        assert out == "" or "dB after" in out
        return lines[0]

    return refused


def contents(folder):
    return {
        file.relative_to(folder): file.read_bytes() for file in folder.rglob("*") if file.is_file()
    }


# Names


def test_unknown_names_list_the_known_ones(refused, here, tmp_path):
    out = ["--out", tmp_path / "out"]
    assert "unknown synth 'moog'; known: voice, amsynth" in refused("render", "moog", *out)
    assert "unknown synth 'moog'; known: voice, amsynth" in refused("install", "moog")
    line = refused("render", "voice", "--params", "warmth", *out)
    assert "unknown parameter 'warmth'; known: osc1_waveform" in line
    line = refused("render", "voice", "--params", "cutoff,warmth", *out)
    assert "unknown parameter 'cutoff'; known: filter_cutoff, osc1_waveform" in line
    line = refused("render", "voice", "--params", "filter_cutof", *out)
    assert "unknown parameter 'filter_cutof'; known: filter_cutoff, osc1_waveform" in line
    assert "unknown parameter selection '17'; known: all, 16" in refused(
        "render", "voice", "--params", "17", *out
    )
    assert "unknown model 'gan'; known: ae, cnn" in refused("fit", "gan", here / "data", *out)
    assert "unknown model 'gan'" in refused("models", "gan")
    line = refused("fit", "flow_reg", here / "data", *out, "--set", "depth=3")
    assert "unknown argument of FlowReg 'depth'; known: networks" in line
    for option, kind in (("--models", "model"), ("--methods", "method")):
        line = refused("compare", here / "data", *out, option, "mlp , moog")  # blanks are nothing
        assert f"unknown {kind} 'moog'" in line
    assert "unknown setting of the features 'mels'; known: n_mels, sample_rate" in refused(
        "render", "voice", *out, "--feature", "mels=3"
    )
    assert "unknown kind of audio to keep 'some'" in refused(
        "render", "voice", *out, "--audio", "some"
    )
    assert not (tmp_path / "out").exists() or not contents(tmp_path / "out")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--set", "hidden"], "'hidden' is not a setting; write KEY=VALUE"),
        (["--set", " = 3"], "' = 3' is not a setting; write KEY=VALUE"),
        (["--set", "hidden=wide"], "FlowReg: hidden 'wide': give an integer from 2 to 1000000"),
        (["--lr", "fast"], "(given 'fast'; see pyrosynth fit --help)"),
        (["--steps=0"], "(given '0'; see pyrosynth fit --help)"),
        (["-o", "run"], "('-o': an option begins with two hyphens, such as --out; see "),
        (["\N{EN DASH}out", "run"], "('\N{EN DASH}out': an option begins with two hyphens"),
        (["--tags="], "path '' is no usable path (it is empty); give another"),
        (["--set", "bins=4", "--set", "bins=8"], "setting 'bins' is there twice"),
        (["--device", "abacus"], "device 'abacus'"),
    ],
)
def test_settings_that_cannot_be(refused, here, tmp_path, option, message):
    line = refused("fit", "flow_reg", here / "data", "--out", tmp_path / "run", *option)
    assert message in line


@pytest.mark.parametrize(
    "option", [["--note", "200"], ["--velocity", "0"], ["--hold", "9"], ["--feature", "fmin=-1"]]
)
def test_numbers_out_of_range(refused, tmp_path, option):
    refused("render", "voice", "--out", tmp_path / "data", *option)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("number", ["1000000000000", "10000000000000000000000"])
@pytest.mark.parametrize(
    "command",
    ["fit --batch-size", "fit --threads", "fit --lr", "infer --budget", "infer --draws",
     "check --draws", "check --budget", "explore --draws", "compare --draws",
     "compare --seeds", "compare --threads", "compare --lr", "fit --steps",
     "learn --threads", "learn --minutes", "scan --seconds"],
)  # fmt: skip
def test_numbers_that_no_memory_holds(refused, here, tmp_path, command, number):
    name, option = command.split()
    given = {
        "fit": ["flow_reg", here / "data", "--steps", "1"],
        "infer": [here / "run", here / "good.wav", "--workers", "1"],
        "compare": [here / "data", "--models", "mlp"],
        "learn": [PLAIN, "--workers", "1"],
        "scan": [tmp_path],
    }.get(name, [here / "run"])
    given += [] if name == "scan" else ["--out", tmp_path / "out"]
    line = refused(name, *given, option, number)
    assert option.strip("-").replace("-", "_") in line
    assert number in line or f"{float(number)}" in line


def test_settings_of_wrong_types(refused, here, tmp_path):
    for setting in ("recipe=[1]", "recipe={}", "recipe=1", "hidden=" + "[" * 100_000):
        refused("fit", "mlp", here / "data", "--out", tmp_path / "run", "--set", setting)


# Plugins


def test_plugins(refused, faulty_plugin, tmp_path):
    cut, text = tmp_path / "cut.so", tmp_path / "text.so"
    cut.write_bytes(faulty_plugin.read_bytes()[:9000])
    text.write_text("no library")
    assert "no plugin" in refused("scan", tmp_path / "none.so")
    assert "'pyrosynth synths' lists the synths" in refused("scan", "vital")
    assert str(cut) in refused("scan", cut)
    (tmp_path / "lacks.so").write_bytes(
        faulty_plugin.read_bytes().replace(b"libc.so.6", b"libx.so.6")
    )
    lacks = refused("scan", tmp_path / "lacks.so")
    assert "lacks.so' is not a usable DSSI plugin: libx.so.6: cannot open" in lacks
    assert "install the package that holds libx.so.6" in lacks
    said = refused("scan", text)
    assert "is not a usable DSSI plugin" in said
    assert said.count(str(text)) == 1
    (tmp_path / "a.wav").write_bytes(b"")
    assert "a.wav' is no plugin by its name; give" in refused("scan", tmp_path / "a.wav")
    assert str(cut) in refused("render", cut, "--out", tmp_path / "data")
    assert "unknown synth in" in refused(
        "render", f"{faulty_plugin}#Moog", "--out", tmp_path / "data"
    )
    assert "no presets of its own" in refused("render", faulty_plugin, "--out", tmp_path / "data")
    assert not (tmp_path / "data").exists()


# Sounds


def write_sound(path, kind):
    tone = np.sin(np.arange(RATE) / 20).astype(np.float32)
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("this is not a sound\n" * 50)
    elif kind == "cut":
        soundfile.write(path, tone, RATE)
        path.write_bytes(path.read_bytes()[:30])
    elif kind == "nan":
        tone[100] = np.nan
        soundfile.write(path, tone, RATE, subtype="FLOAT")
    elif kind == "huge":
        soundfile.write(path, np.float32(1e30) * tone, RATE, subtype="FLOAT")
    elif kind == "silent":
        soundfile.write(path, 0 * tone, RATE)
    elif kind == "clicks":
        soundfile.write(path, 0.5 * (np.arange(len(tone)) % 4000 == 2000), RATE)
    elif kind == "short":
        soundfile.write(path, tone[:200], RATE)
    elif kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to("nowhere")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("missing", "no sound file"),
        ("link", "is a link to 'nowhere', where nothing is; give the sound itself"),
        ("folder", "is a folder; name sound files"),
        ("empty", "not a readable sound file"),
        ("text", "not a readable sound file"),
        ("cut", "not a readable sound file"),
        ("nan", "NaN or infinite"),
        ("huge", "has samples of up to 1e+30, where 1 is full scale"),
        ("silent", "silent"),
        ("clicks", "holds only clicks"),
        ("short", "at least 50 ms"),
    ],
)
def test_sounds_that_cannot_be_used(refused, here, tmp_path, kind, message):
    sound = tmp_path / "sound.wav"
    write_sound(sound, kind)
    assert message in refused("infer", here / "run", sound, "--out", tmp_path / "out")
    assert not list((tmp_path / "out").glob("*"))


def test_a_bad_sound_costs_only_itself_and_eight_channels_at_96_khz_are_fine(
    refused, here, tmp_path
):
    write_sound(tmp_path / "bad.wav", "silent")
    tone = np.sin(np.arange(96000) * 2 * np.pi * 262 / 96000)
    soundfile.write(tmp_path / "wide.flac", np.outer(tone, np.linspace(0.1, 0.5, 8)), 96000)
    out, few = tmp_path / "out", ["--budget", "2", "--draws", "1", "--workers", "1"]
    sounds = [tmp_path / "bad.wav", tmp_path / "wide.flac"]
    assert "bad.wav' is silent" in refused("infer", here / "run", *sounds, "--out", out, *few)
    assert [folder.name for folder in out.iterdir()] == ["wide"]
    assert (out / "wide" / "preset.json").is_file()


def test_a_sound_that_may_not_be_read_costs_only_itself(here, tmp_path):
    (tmp_path / "secret.wav").write_bytes((here / "good.wav").read_bytes())
    (tmp_path / "secret.wav").chmod(0)
    (tmp_path / "closed").mkdir(0)
    sounds = tmp_path / "secret.wav", here / "good.wav", tmp_path / "closed" / "in.wav"
    few = ["--budget", "2", "--draws", "1"]
    done = run_without_rights("infer", here / "run", *sounds, "--out", tmp_path / "out", *few)
    assert done.returncode == 2
    for named in sounds[0], sounds[2]:
        said = f"'{named}' cannot be opened (Permission denied); ask its owner to let you"
        assert said in done.stderr
    assert [folder.name for folder in (tmp_path / "out").iterdir()] == ["good"]


@pytest.mark.parametrize("force", [[], ["--force"]])
@pytest.mark.parametrize("closed", ["", "preset.json", "render.wav"])
def test_an_answer_that_may_not_be_read_costs_only_itself(here, tmp_path, closed, force):
    for name in ("one", "two"):
        shutil.copy(here / "good.wav", tmp_path / f"{name}.wav")
    sounds, out = [tmp_path / "one.wav", tmp_path / "two.wav"], tmp_path / "out"
    few = ["--budget", "2", "--draws", "1", "--workers", "1", "--out", out]
    assert main([str(word) for word in ("infer", here / "run", sounds[0], *few)]) == 0
    place = out / "one" / closed
    mode = place.stat().st_mode
    place.chmod(0)
    done = run_without_rights("infer", here / "run", *sounds, *few, *force)
    place.chmod(mode)
    assert (out / "two" / "preset.json").is_file()
    assert f"{out / 'two'}: " in done.stdout
    if closed == "render.wav" and not force:  # which is not read
        assert done.returncode == 0
        return
    assert done.returncode == 2
    (told,) = [line for line in done.stderr.splitlines() if line.startswith("pyrosynth: ")]
    named = place if closed else place / "preset.json"
    assert f"'{named}' cannot be opened (Permission denied); ask its owner to let you" in told
    assert "Errno" not in told
    assert "write" not in told


@pytest.mark.parametrize("closed", ["run/run.json", "run/bank.safetensors", "data/zarr.json"])
def test_what_may_not_be_read_is_not_said_to_be_damaged(here, tmp_path, closed):
    for name in ("run", "data"):
        shutil.copytree(here / name, tmp_path / name)
    (tmp_path / closed).chmod(0)
    command = ["infer", tmp_path / "run", here / "good.wav", "--out", tmp_path / "out"]
    if closed.startswith("data"):
        command = ["tags", tmp_path / "data", "--out", tmp_path / "tags.csv"]
    done = run_without_rights(*command)
    assert done.returncode == 2
    (said,) = done.stderr.splitlines()[-1:]
    assert f"'{tmp_path / closed}'" in said
    assert "(Permission denied); " in said
    assert "damaged" not in said


def test_a_table_that_may_not_be_read_is_said_to_be_that(here, tmp_path):
    table = tmp_path / "presets.csv"
    table.write_text("name,P1\na,0.5\n")
    table.chmod(0)
    out = tmp_path / "out.json"
    done = run_without_rights("presets", "voice", table, "--out", out)
    assert done.returncode == 2
    assert f"'{table}' cannot be opened (Permission denied); ask its owner" in done.stderr
    assert "UTF-8" not in done.stderr


def test_a_sound_that_is_replaced_while_it_is_read_is_said(here, tmp_path, monkeypatch):
    from pyrosynth.inference import infer as module

    file, other = tmp_path / "take.wav", tmp_path / "new.wav"
    for place in (file, other):
        shutil.copy(here / "good.wav", place)
    heard = module.hear

    def replaced(posterior, path, **options):
        ways = heard(posterior, path, **options)
        if other.exists():
            other.replace(file)
        return ways

    monkeypatch.setattr(module, "hear", replaced)
    posterior = ps.Posterior.load(here / "run")
    options = {"budget": 2, "draws": 1, "workers": 1, "progress": False}
    found, failed = ps.infer_sounds(posterior, [file], tmp_path / "out", **options)
    assert (found, len(failed)) == ([], 1)
    assert f"'{file}' was replaced while it was read; infer it again" in failed[0].error
    assert not list((tmp_path / "out").iterdir())
    found, failed = ps.infer_sounds(posterior, [file], tmp_path / "out", **options)
    assert (len(found), failed) == (1, [])


def test_what_is_no_sound_leaves_its_folder_to_one_sound_of_its_stem(here, tmp_path):
    posterior = ps.Posterior.load(here / "run")
    files = [tmp_path / f"take.{suffix}" for suffix in ("flac", "wav", "aiff")]
    files[0].write_text("no sound")
    for file in files[1:]:
        shutil.copy(here / "good.wav", file)
    options = {"budget": 2, "draws": 1, "workers": 1, "progress": False, "force": True}
    found, failed = ps.infer_sounds(posterior, files, tmp_path / "out", **options)
    assert len(found) == 1
    told = {one.sound: one.error for one in failed}
    assert sorted(told) == sorted(map(str, (files[0], files[2])))
    assert f"is called as '{files[1]}', whose results go into" in told[str(files[2])]


def test_a_sound_of_the_same_stem_costs_only_itself(refused, here, tmp_path):
    shutil.copy(here / "good.wav", tmp_path / "good.aiff")
    shutil.copy(here / "good.wav", tmp_path / "other.wav")
    few = ["--budget", "2", "--draws", "1", "--workers", "1"]
    sounds = [here / "good.wav", tmp_path / "good.aiff", tmp_path / "other.wav"]
    for _ in range(2):  # the second time, what was made is kept
        line = refused("infer", here / "run", *sounds, "--out", tmp_path / "out", *few)
        assert f"'{tmp_path / 'good.aiff'}' is called as '{here / 'good.wav'}', whose res" in line
        assert "infer it into another --out" in line
        assert sorted(folder.name for folder in (tmp_path / "out").iterdir()) == ["good", "other"]
    own = tmp_path / "out" / "render" / "render.wav"  # the answer to a sound of that name
    own.parent.mkdir()
    shutil.copytree(tmp_path / "out" / "other", own.parent, dirs_exist_ok=True)
    line = refused("infer", here / "run", own, "--out", tmp_path / "out", "--force", *few)
    assert f"'{own}' lies in '{own.parent}', which it would replace; give another --out" in line
    assert own.is_file()
    (tmp_path / "other.mid").write_bytes(b"MThd")  # is no sound, and takes no name
    for sounds in (["other.mid", "other.wav"], ["other.wav", "other.mid"]):
        found = [tmp_path / name for name in sounds]
        line = refused("infer", here / "run", *found, "--out", tmp_path / f"to {sounds[0]}", *few)
        assert f"'{tmp_path / 'other.mid'}' is not a readable sound file" in line
        assert [folder.name for folder in (tmp_path / f"to {sounds[0]}").iterdir()] == ["other"]


def test_what_is_no_sound_is_told_before_anything_is_loaded(refused, here, tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "my sounds").mkdir()
    for given, message in (
        (tmp_path / "pipe.wav", "pipe.wav' is no file but a pipe or a device; write the sound"),
        (here, f"'{here}' is a folder; name sound files, such as all of one kind: {here}/*.wav"),
        (here / "run/run.json", "run.json' is JSON, such as a preset, no sound; give what is to"),
        ("kick/*.wav", "no sound file matches 'kick/*.wav'; look at the folder and the pattern"),
        (f"{here}/go*.wav", f"is a pattern in quotes, and no file; write {here}/go*.wav"),
        (tmp_path / "my sounds", f"such as all of one kind: '{tmp_path / 'my sounds'}'/*.wav"),
        ("https://example.com/a.wav", "'https://example.com/a.wav' is a URL; download the sound"),
        ("file:///home/my%20flute.wav", "a URL; give the path, '/home/my flute.wav'"),
    ):
        assert message in refused("infer", "none", given, "--out", tmp_path / "out")


def test_sounds_are_not_inferred_into_the_folder_of_another_command(refused, here, tmp_path):
    before = sorted((here / "run").rglob("*"))
    for more in ([here / "good.wav"], ["--example"]):
        line = refused("infer", here / "run", *more, "--out", here / "run")
        assert "was made by `pyrosynth fit`, not by `pyrosynth infer`; give another folder" in line
    assert sorted((here / "run").rglob("*")) == before


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--set", "hiden=3"], "unknown argument of FlowDis 'hiden'; known: "),
        (["--set", 'hidden="70"'], "FlowDis: hidden '70': give an integer"),
        (["--lr", "-1"], "lr -1.0: give a number from"),
        (["--memory", "much"], "memory 'much': give a size with its unit, such as"),
        (["--precision", "low"], "precision"),
        (["--start", "nowhere"], "no run directory 'nowhere'"),
        (["--out"], "which pyrosynth did not write"),
    ],
)
def test_a_fit_describes_sounds_after_all_else_is_checked(
    refused, here, tmp_path, monkeypatch, more, message
):
    """It may take minutes, and so may what `learn`, `tags` and `compare` do first."""

    def too_early(*given, **options):
        raise AssertionError("this takes minutes")

    monkeypatch.setattr("pyrosynth.training.fit.default_tags", too_early)
    monkeypatch.setattr("pyrosynth.cli.learn.gather", too_early)
    monkeypatch.setattr("pyrosynth.evaluation.compare.claim", too_early)
    monkeypatch.setattr("pyrosynth.data.labeling.describe_features", too_early)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    out = tmp_path / "mine" if more == ["--out"] else tmp_path / "out"
    more = [] if more == ["--out"] else more
    assert message in refused("fit", "flow_dis", here / "data", "--out", out, *more)
    if "--set" in more:
        assert message in refused("learn", "voice", "--model", "flow_dis", "--out", out, *more)
        line = refused("compare", here / "data", "--models", "flow_dis", "--out", out, *more)
        assert message in line or "unknown hyper-parameter of these models 'hiden'" in line
        hidden = refused("tags", here / "data", "--out", tmp_path / "t.csv", "--hidden", "70")
        assert "'--hidden'" in hidden
        assert "given '70'" in hidden


def test_slips_are_told_with_what_was_meant(refused, here, tmp_path):
    data, run, out = here / "data", here / "run", ["--out", tmp_path / "out"]
    for arguments, message in (
        (["render", "voice", *out, "--note", "a#3"], "note 'a#3': give the number of a MIDI note, "
         "such as 58 for A#3"),
        (["learn", "voice", *out, "--note", "high"], "such as 60 for C4"),
        (["fit", data, "flow_reg", *out], f"MODEL comes first: pyrosynth fit flow_reg {data}"),
        (["fit", "flow_reg", run, *out], "run' is no dataset; give a folder that `pyrosynth ren"),
        (["fit", "mlp", data, *out, "--memory", "2"], "memory '2': give a size with its unit"),
        (["infer", run, here / "good.wav", "--out", here / "good.wav"], "good.wav' is a file, wh"
         "ere a folder is wanted"),
        (["infer", run, here / "good.wav", "--out", here / "good.wav/x"], "good.wav' is a file, "
         "where a folder is wanted"),
        (["explore", run, *out, "--axis", "z1,z2"], "'z1,z2' has a comma: give each by itself, "
         "as in --axis A --axis B"),
        (["explore", run, *out, "--morph", "a,b"], "'a,b' has a comma: give each by itself"),
        (["fit", "flow_dis", data, *out, "--tags", here / "good.wav"], "it is no text in utf-8"),
        (["describe", "voice", "--out", tmp_path / "s.json", "--use", "drive", "--fix", "drive"],
         "'drive' is named by --use and by --fix"),
        (["learn", "voice", *out, "--use", "drive", "--fix", "drive"], "'drive' is named by"),
        (["learn", "voice", tmp_path / "none", *out], "none' (No such file or directory); give a"),
        (["fit", "mlp", data, *out, "--set", "batch_size=8"], "but a setting of the fit; give it"
         " as --batch-size (batch_size=), not by --set"),
        (["compare", data, *out, "--set", "steps=1"], "give it as --steps (steps=), not by"),
        (["render", "dexed", *out, "--option", "rate=1"], "has no option 'rate'; known: none"),
        (["infer", run, here / "Good.WAV", *out], f"Good.WAV'; '{here / 'good.wav'}' is there"),
    ):  # fmt: skip
        assert message in refused(*arguments)
    assert not (tmp_path / "out").exists()


def test_a_mistake_is_told_before_a_file_that_is_there_already(refused, tmp_path):
    files = [tmp_path / "there.json", tmp_path / "there.csv"]
    for file in files:
        file.write_text("mine")
    assert "unknown synth 'nosuch'" in refused("presets", "nosuch", "--out", files[0])
    assert "no dataset" in refused("tags", tmp_path / "nosuch", "--out", files[1])
    assert [file.read_text() for file in files] == ["mine", "mine"]


# Outputs


@pytest.mark.parametrize("command", ["render", "fit", "infer", "check"])
def test_outputs_that_cannot_be_written(refused, here, tmp_path, command):
    (tmp_path / "file").write_text("mine")
    given = {
        "render": ["voice", "--duration", "0.3", "--hold", "0.2", "--workers", "1"],
        "fit": ["flow_reg", here / "data", "--steps", "1"],
        "infer": [here / "run", here / "good.wav"],
        "check": [here / "run"],
    }[command]
    line = refused(command, *given, "--out", tmp_path / "file" / "out")
    assert "file' is a file, where a folder is wanted; give the name of a folder" in line
    assert (tmp_path / "file").read_text() == "mine"


def on_a_full_disk(kilobytes, *arguments):
    """Run a command that may not write files larger than so much, once its results are written.

    What renderers share with workers is larger.
    """

    def limited(begin):
        def limit(*arguments, **options):
            most = kilobytes * 1024, resource.RLIM_INFINITY
            resource.setrlimit(resource.RLIMIT_FSIZE, most)
            return begin(*arguments, **options)

        return limit

    def limit():
        sys.dont_write_bytecode = True  # Python would keep what it could write of a module
        for module, name in ((inference, "whole"), (fitting, "claim"), (exploring, "whole")):
            setattr(module, name, limited(getattr(module, name)))

    done = forked.command(*arguments, before=limit)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


def test_full_disk_while_fitting(here, tmp_path):
    line = on_a_full_disk(
        64, "fit", "flow_reg", here / "data", "--out", tmp_path / "run", "--steps", "1"
    )
    assert "cannot write" in line
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == [".pyrosynth.json"]


def test_full_disk_while_inferring(here, tmp_path):
    out, few = tmp_path / "out", ["--budget", "2", "--draws", "1", "--workers", "1"]
    line = on_a_full_disk(100, "infer", here / "run", here / "good.wav", "--out", out, *few)
    assert "cannot write" in line
    assert not list(out.iterdir())


def test_full_disk_while_exploring(here, tmp_path):
    for kilobytes in (2, 24):
        out = tmp_path / f"out{kilobytes}"
        few = ["--axes", "0", "--draws", "1", "--workers", "1"]
        line = on_a_full_disk(kilobytes, "explore", here / "run", "--out", out, *few)
        assert line.startswith("pyrosynth: cannot write")
        assert not [file for file in out.rglob("*") if ".part" in file.name]


def test_full_disk_while_writing_a_sound(tmp_path):
    sound = tmp_path / "sound.wav"
    write_sound(sound, "short")
    before = sound.read_bytes()
    script = f"""
import resource, numpy
from pyrosynth.audio.io import save_audio
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, resource.RLIM_INFINITY))
save_audio({str(sound)!r}, numpy.zeros(22050, numpy.float32), 22050)
"""
    command = [sys.executable, "-B", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "InputError: cannot write" in done.stderr
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [before]


# Datasets


@pytest.fixture
def data(here, tmp_path):
    """A copy of the dataset, to be damaged."""
    return shutil.copytree(here / "data", tmp_path / "data")


def test_datasets_that_cannot_be_used(refused, here, data, tmp_path):
    fit = ["fit", "flow_reg", "--out", tmp_path / "run", "--steps", "1"]
    assert "no dataset" in refused(*fit, tmp_path / "none")
    assert "is no dataset; give a folder that `pyrosynth render` wrote" in refused(*fit, here)
    (data / "zarr.json").write_text("{}")
    assert "is not a pyrosynth dataset" in refused(*fit, data)


def test_presets_of_a_page_that_is_not_written_are_refused(refused, here):
    line = refused("serve", here / "run", "--presets", "5")
    assert "--presets is of the page that --static writes; give that option, too" in line
    line = refused("serve", here / "run", "--static", here / "page", "--play")
    assert "--play is of a server, and --static writes a page that needs none" in line


def test_an_interrupted_dataset_says_how_to_go_on(refused, data, tmp_path):
    meta = json.loads((data / "zarr.json").read_text())
    meta["attributes"]["augmented"] += 10
    (data / "zarr.json").write_text(json.dumps(meta))
    line = refused("fit", "flow_reg", data, "--out", tmp_path / "run")
    assert "is incomplete (140 of 150 sounds)" in line
    assert f"pyrosynth render {PLAIN} --out {data} --augmented 70" in line


def test_a_damaged_chunk(refused, data, tmp_path):
    for chunk in (data / "x" / "c").rglob("*"):
        if chunk.is_file():
            content = bytearray(chunk.read_bytes())
            content[len(content) // 2] ^= 1
            chunk.write_bytes(content)
    assert "damaged" in refused("fit", "flow_reg", data, "--out", tmp_path / "run", "--steps", "1")


@pytest.mark.parametrize(
    "option",
    [["--note", "50"], ["--feature", "n_mels=32"], ["--params", "32"], ["--seed", "7"]],
)
def test_a_dataset_of_other_settings_is_left_alone(refused, data, option):
    before = contents(data)
    same = ["--params", "16", "--hold", "0.3", "--duration", "0.5", "--augmented", "60"]
    refused("render", PLAIN, "--out", data, *same, *option)
    assert contents(data) == before


def test_a_check_on_another_dataset(refused, here, tmp_path):
    from pyrosynth import synths
    from pyrosynth.audio.note import Note
    from pyrosynth.data.dataset import render_dataset

    synth = synths.load_synth(PLAIN)
    render_dataset(
        synth, tmp_path / "other", params="16", note=Note(50, 100, 0.3, 0.5), workers=1,
        presets=synth.presets()[:30],
    )  # fmt: skip
    out = ["--out", tmp_path / "out"]
    line = refused("check", here / "run", "--data", tmp_path / "other", *out)
    assert "another note than the run" in line
    assert "no dataset" in refused("check", here / "run", "--data", tmp_path / "none", *out)


# Runs


@pytest.fixture
def run(here, tmp_path):
    """A copy of the run, to be damaged."""
    return shutil.copytree(here / "run", tmp_path / "run")


@pytest.mark.parametrize(
    "file", ["run.json", "weights.safetensors", "variant.py", "bank.safetensors"]
)
def test_runs_with_a_tampered_or_missing_file(refused, here, run, tmp_path, file):
    infer = ["infer", run, here / "good.wav", "--out", tmp_path / "out"]
    content = (run / file).read_bytes()
    half = len(content) // 2
    (run / file).write_bytes(content[: half - 1] + b"!" + content[half:])
    assert file in refused(*infer)
    (run / file).unlink()
    assert file in refused(*infer)


def test_runs_that_are_none(refused, here, tmp_path):
    infer = [here / "good.wav", "--out", tmp_path / "out"]
    assert "no run directory" in refused("infer", tmp_path / "none", *infer)
    assert "'run.json' is missing" in refused("infer", here, *infer)
    packed = shutil.make_archive(str(tmp_path / "run"), "zip", here)
    assert "run.zip' is a file, a run is a folder; unpack it" in refused("infer", packed, *infer)


def test_a_variant_that_cannot_be(refused, here, tmp_path):
    own = tmp_path / "own.py"
    fit = ["fit", own, here / "data", "--out", tmp_path / "run"]
    assert "no variant file" in refused(*fit)
    own.write_text("def broken(:\n")
    assert "cannot be run: SyntaxError" in refused(*fit)
    own.write_text(zoo.source("flow_reg") + "\nassert False\n")
    assert "cannot be run: AssertionError" in refused(*fit)
    own.write_text("raise SystemExit(3)\n")
    assert "cannot be run: SystemExit: 3" in refused(*fit)
    own.write_text(zoo.source("flow_reg").replace("self.decoder(r.inv(v))", "self.painter(v)"))
    line = next(i for i, text in enumerate(own.read_text().splitlines(), 1) if "painter" in text)
    assert f"FlowReg does not run in line {line} of '{own}'" in refused(*fit)


def test_a_model_that_prints_leaves_one_json_document(here, tmp_path, capsys):
    own = tmp_path / "own.py"
    own.write_text(f"print('hello')\n{zoo.source('mlp')}")
    fit = ["fit", own, here / "data", "--out", tmp_path / "run", "--set", "hidden=[8]"]
    assert main([*map(str, fit), "--steps", "1", "--batch-size", "8", "--json"]) == 0
    out, error = capsys.readouterr()
    assert json.loads(out)["run"] == str(tmp_path / "run")
    assert "hello" in error


def test_devices_and_places_that_are_none(refused, here, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    infer = ["infer", here / "run", here / "good.wav", "--out"]
    assert "device 'cpu:1' is not supported" in refused(*infer, "out", "--device", "cpu:1")
    for call in (
        [*infer, "s3://bucket/found"],
        ["fit", "mlp", here / "data", "--out", "https://host/run"],
        ["render", "voice", "--out", "memory://data"],
        ["tags", here / "data", "--out", "ftp://host/tags.csv"],
    ):
        assert "URL" in refused(*call)
    url = "http://host/x"
    for call in (
        ["infer", url, here / "good.wav", "--out", "out"],
        ["infer", here / "run", f"{url}.wav", "--out", "out"],
        ["explore", here / "run", "--sound", url, "--out", "out"],
        ["fit", "flow_dis", here / "data", "--out", "out", "--tags", url],
        ["fit", "mlp", here / "data", "--out", "out", "--start", url],
        ["fit", f"{url}.py", here / "data", "--out", "out"],
        ["presets", PLAIN, url, "--out", "out.json"],
        ["describe", f"{url}.json", "--out", "out.json"],
        ["serve", here / "run", "--static", url],
    ):
        assert f"'{url}" in refused(*call)  # as it was written, with both slashes
    for call in (ps.Posterior.load, ps.Preset.load):
        with pytest.raises(ps.errors.InputError, match=f"'{url}'"):
            call(url)
    assert not contents(tmp_path)
    assert "lr 0.0: give a number from 1e-12" in refused(
        "fit", "mlp", here / "data", "--out", "run", "--lr", "0"
    )


@pytest.mark.parametrize(
    "path", [None, 5, b"run", "a\0b", "\ud800", "x" * 5000, "d/" * 1500], ids=ascii
)
def test_what_is_no_path_is_one_line_in_python_too(here, path):
    data = ps.open_dataset(here / "data")
    for call in (
        lambda: ps.load_synth(path),
        lambda: ps.load_run(path),
        lambda: ps.open_dataset(path),
        lambda: ps.Posterior.load(path),
        lambda: ps.load_audio(path, RATE),
        lambda: ps.Preset.load(path),
        lambda: ps.load_model(path),
        lambda: ps.fit("mlp", data, path or b"", steps=1),
        lambda: ps.render_dataset(ps.load_synth("voice"), path),
        lambda: ps.Preset("a", {"b": 1.0}).save(path),
        lambda: ps.save_audio(path, np.zeros(9, np.float32), RATE),
    ):
        with pytest.raises(ps.PyrosynthError):
            call()


def test_an_unfinished_fit_with_other_settings_is_kept(refused, here, run):
    (run / "run.json").unlink()
    before = contents(run)
    assert "was fitted with" in refused("fit", "flow_reg", here / "data", "--out", run)
    # Another model takes other data of the same dataset: it is the model that is named.
    said = refused("fit", "npe", here / "data", "--out", run)
    assert 'was fitted with variant "' in said
    assert 'not "NPE"; resume' in said
    assert contents(run) == before


@pytest.mark.parametrize(
    "rows",
    [None, "x", 0, -1, [-1], [10**9], [1.0], [[0]], slice(3), np.arange(140) > 3, [True, False]],
    ids=lambda rows: ascii(rows)[:20],
)
def test_rows_that_a_dataset_lacks(here, rows):
    data = ps.open_dataset(here / "data")
    assert len(data.values([])) == 0
    for read in (data.values, data.x, data.audio, data.names, data.banks, data.levels):
        with pytest.raises(ps.PyrosynthError, match=r"^rows .*give (a list of integers|numbers)"):
            read(rows)
    with pytest.raises(ps.PyrosynthError, match="unknown split"):
        data.rows(rows)


def test_numbers_that_are_no_preset_no_rate_and_no_features(here):
    posterior = ps.Posterior.load(here / "run")
    voice, note = ps.load_synth("voice"), posterior.run.note
    x = posterior.features(torch.tensor(posterior.listen(here / "good.wav"), requires_grad=True))
    draws = posterior.sample(torch.tensor(x), 3)
    one = draws.values[0]
    wrong = (None, "x", one[:3], draws.values[None], draws.values.T, one * np.nan, {"a": 1})
    for values in (*wrong, one):
        for call in (
            lambda v: posterior.log_prob(v, x), posterior.render,
            lambda v: posterior.log_likelihood(v, x), posterior.predict,
        ):  # fmt: skip
            with pytest.raises(ps.PyrosynthError):
                call(values)
    default = voice.param_space.defaults
    for values in (None, "x", default[:3], default[None], default * np.nan, {"a": 1}):
        with pytest.raises(ps.PyrosynthError):
            voice.render(values, note, RATE)
    for note_given in (60, None, [60]):
        for call in (
            lambda n: voice.render(default, n, RATE),
            lambda n: voice.render_batch(default[None], n, RATE),
        ):
            with pytest.raises(ps.PyrosynthError, match="^note is .*; give a Note"):
                call(note_given)
    assert posterior.log_likelihood(draws.v, x).shape == (3, *x.shape)
    assert draws.v.shape == (3, len(posterior.run.space))
    for features in ("x", None, [[1.0], [2.0, 3.0]], x.T):
        with pytest.raises(ps.PyrosynthError, match="^features"):
            posterior.sample(features, 2)
    for rate in (0, -1, 22050.5, "x", None, 10**9, np.nan):
        for call in (
            lambda r: voice.render(default, note, r),
            lambda r: ps.load_audio(here / "good.wav", r),
            lambda r: ps.save_audio(here / "bad.wav", np.zeros(9, np.float32), r),
        ):
            with pytest.raises(ps.PyrosynthError, match="^sample_rate"):
                call(rate)
    for audio in (np.zeros((9, 2000), np.float32), np.zeros((1, 1, 9), np.float32)):
        with pytest.raises(ps.PyrosynthError, match="^audio has shape"):
            ps.save_audio(here / "bad.wav", audio, RATE)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda p, d: p.features(np.full(11025, np.nan)),
            "audio contains NaN or infinite samples",
        ),
        (lambda p, d: p.listen(np.zeros(9)), "sound file is ndarray .*; give the path of a file"),
        (lambda p, d: p.hear(np.zeros(9)), "sound file is ndarray .*; give the path of a file"),
        (lambda p, d: p.render(Preset("a")), r"values are Preset .*; give preset\.array"),
        (lambda p, d: p.refine(x_of(d), 16), "renderer is int 16; give posterior.renderer"),
        (lambda p, d: p.refine(x_of(d), budget=8, report=True), "report is bool True; give a fun"),
        (lambda p, d: p.decode(np.zeros(3)), r"latents have shape \(3,\); give \(n, 16\)"),
        (lambda p, d: p.decode(np.zeros(16)), r"latents have shape \(16,\); give \(n, 16\)"),
        (lambda p, d: p.decode([]), r"latents have shape \(0,\); give \(n, 16\)"),
        (lambda p, d: ps.infer_sounds(p, [np.zeros(9)], "o"), "sound 1 is ndarray"),
        (lambda p, d: ps.check(p, d, "o", beside=[p]), r"beside is list \[.*; give a dictionary"),
        (lambda p, d: ps.check(p, d, "o", seed="1"), "seed '1': give an integer from 0"),
        (lambda p, d: ps.compare(d, "o", models=["mlp"], methods=None), "methods is None; give a"),
        (lambda p, d: ps.compare(d, "o", models="mlp", methods=[None]), "a method is None; give"),
        (lambda p, d: ps.compare(d, "o", models="mpl", methods="all"), "unknown model 'mpl'"),
        (lambda p, d: ps.compare(d, "o", models="mlp", methods="cam"), "unknown method 'cam'"),
        (lambda p, d: ps.compare(d, "o", models=None), "models is None; give a list of names"),
        (
            lambda p, d: ps.fit("mlp", d, "o", steps=2, bank=p.bank),
            "file of a bank is Bank .*; gi",
        ),
        (
            lambda p, d: ps.fit("mlp", d, "o", steps=2, bank="no"),
            "no file 'no' of a bank; give one",
        ),
        (lambda p, d: ps.fit("flow_dis", d, "o", tags={"a": [1]}), "file of tags is dict"),
        (
            lambda p, d: ps.fit("flow_dis", d, "o", tags=pd.DataFrame()),
            "file of tags is DataFrame",
        ),
        (
            lambda p, d: p.run.save(d.path),
            "was made by `pyrosynth render`, not by `pyrosynth fit`",
        ),
        (
            lambda p, d: p.run.save(mine()),
            "'mine' holds 'song.wav', which pyrosynth did not write",
        ),
        (lambda p, d: ps.Bank.from_dataset("data"), "dataset is str 'data'; give a dataset, such"),
        (lambda p, d: p.bank.sounds([10**6]), r"positions \[1000000\]: give a list of integers"),
        (lambda p, d: p.bank.sounds([-1]), r"positions \[-1\]: give a list of integers from 0"),
        (lambda p, d: p.bank.sounds(["a"]), "positions that are no numbers"),
        (
            lambda p, d: ps.fit(torch.nn.Linear, d, "o"),
            r"^class Linear is no Variant; inherit from pyrosynth\.modeling\.Variant$",
        ),
        (
            lambda p, d: ps.fit(p.run.variant, d, "o"),
            r"^model is an object of the class \w+; give the class itself$",
        ),
        (lambda p, d: ps.fit(torch.nn.ReLU(), d, "o"), "^model is of type ReLU; give a name, a"),
        (lambda p, d: ps.compare(d, "o", models=[torch.nn.Linear]), "^models: Linear is no name"),
        (lambda p, d: ps.compare(d, "o", models=torch.nn.Linear), "^models: Linear is no name"),
        (
            lambda p, d: ps.compare(d, "o", models=[p.run.variant]),
            r"^models: a \w+ is no name; give a list of names or \.py files, or all$",
        ),
    ],
)
def test_arguments_beside_a_run_are_one_line(here, tmp_path, monkeypatch, call, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ps.errors.InputError, match=message) as refused:
        call(ps.Posterior.load(here / "run"), ps.open_dataset(here / "data"))
    assert len(str(refused.value)) <= 300
    assert not [file for file in tmp_path.rglob("*") if file.name in ("run.json", "table.csv")]


def mine():
    """A folder that pyrosynth did not make."""
    folder = Path("mine")
    folder.mkdir()
    (folder / "song.wav").write_bytes(b"mine")
    return folder


def x_of(dataset):
    return dataset.x([0])[0]


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_cuda_where_there_is_none(refused, here, tmp_path):
    out = ["--device", "cuda", "--out", tmp_path / "out"]
    for command in (
        ["fit", "flow_reg", here / "data"],
        ["infer", here / "run", here / "good.wav"],
        ["check", here / "run"],
    ):
        assert "torch sees 0 CUDA devices" in refused(*command, *out)
    assert not (tmp_path / "out").exists()


def test_links_that_lead_nowhere_are_one_line(refused, here, tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for call in (
        ("describe", tmp_path / "loop"),
        ("serve", here / "run", "--midi-map", "x" * 5000),
        ("serve", tmp_path / "loop", "--static", tmp_path / "site"),
        ("serve", here / "run", "--sounds", tmp_path / "loop"),
    ):
        assert len(refused(*call)) <= 320


def test_blanks_around_a_setting_and_tables_without_a_header(tmp_path):
    assert settings(["n_mels = 128", "kind= spline "]) == {"n_mels": 128, "kind": "spline"}
    (tmp_path / "bare.csv").write_text("lead,0.1,0.2,0.1\nbass,0.3,0.2,0.1\n")
    with pytest.raises(InputError, match="begins with lead, 0.1, 0.2, 0.1, of which none is 'na"):
        read_presets(ps.load_synth(PLAIN), tmp_path / "bare.csv")


def test_bands_that_hear_nothing_are_refused_before_sounds_are_rendered(tmp_path, capsys):
    command = ["render", "voice", "--out", str(tmp_path / "data"), "--feature", "n_mels=256"]
    assert main([*command, "--feature", "n_fft=512", "--feature", "hop_length=512"]) == 2
    said = capsys.readouterr().err
    assert "37 of the 256 bands hear nothing" in said
    assert "give a larger n_fft, a smaller n_mels" in said
    assert not (tmp_path / "data").exists()
    (tmp_path / "data").mkdir()
    assert main([*command, "--feature", "n_fft=512", "--feature", "hop_length=512"]) == 2
    FeatureSpec(n_mels=128).require_all_heard()
