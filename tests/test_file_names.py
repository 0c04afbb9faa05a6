"""Names of files as people give them: endings of any case, and ``~`` for the home."""

import json
import pathlib

import numpy as np
import pytest
import soundfile
from small import small_run

import pyrosynth as ps
from pyrosynth.cli.app import main
from pyrosynth.cli.options import json_file, listed
from pyrosynth.data.labeling import DESCRIBED
from pyrosynth.data.tags import read_tags
from pyrosynth.errors import InputError, SynthError
from pyrosynth.evaluation.entries import model_entries
from pyrosynth.live.controllers import ControllerMap
from pyrosynth.synths import load_synth
from pyrosynth.training import zoo


def test_a_match_is_saved_by_the_ending_of_the_name(tmp_path):
    dataset, posterior = small_run(tmp_path)
    x = dataset.x(dataset.rows("test"))[0]
    with posterior.renderer(1) as renderer:
        match = posterior.refine(x, budget=2, renderer=renderer)
    match.save(tmp_path / "take.WAV")
    sound, rate = soundfile.read(tmp_path / "take.WAV", dtype="float32")
    np.testing.assert_array_equal(sound, match.audio)
    assert rate == posterior.run.features.sample_rate
    match.save(tmp_path / "take.JSON")
    assert json.loads((tmp_path / "take.JSON").read_text())["synth"] == posterior.synth.name


def test_a_map_of_controllers_is_written_and_read(tmp_path):
    voice, file = load_synth("voice"), tmp_path / "MAP.TOML"
    ControllerMap.load(file, voice, ["pc1"])
    assert ControllerMap.load(file, voice, ["pc1"]) == ControllerMap.usual(voice, ["pc1"])


def test_a_model_file_is_known(tmp_path):
    file = tmp_path / "MINE.PY"
    file.write_text(zoo.source("mlp"))
    assert zoo.load_model(str(file)).__name__ == zoo.load_model("mlp").__name__
    assert [entry.name for entry in model_entries([str(file)], {})] == ["MINE"]


def test_a_described_synth_and_a_plugin_are_known(tmp_path):
    file = tmp_path / "SYNTH.JSON"
    assert json_file(str(file)) == file
    with pytest.raises(InputError, match="SYNTH.JSON.*No such file"):
        load_synth(str(file))
    with pytest.raises(SynthError, match=r"no plugin '.*none\.SO'"):
        load_synth("none.SO")


def test_a_path_after_an_equals_sign_or_from_python_may_begin_with_a_tilde(tmp_path, monkeypatch):
    """Which a shell leaves alone there, and Python everywhere."""
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    _, posterior = small_run(home)
    ps.save_audio("~/tone.wav", 0.1 * np.sin(np.arange(22050) / 8), 22050)
    assert ps.load_audio("~/tone.wav", 22050).shape == (22050,)
    posterior.bank.save("~/bank.safetensors")
    assert len(ps.Bank.load("~/bank.safetensors")) == len(posterior.bank)
    posterior.run.save("~/saved")
    assert repr(ps.load_run("~/saved")) == repr(posterior.run)
    assert ps.open_dataset("~/data").path == home / "data"
    infer = ["infer", "~/run", "~/tone.wav", "--budget=2", "--draws=2", "--workers=1"]
    assert main([*infer, "--out=~/found"]) == 0
    assert main(["tags", "~/data", "--out=~/tags.csv"]) == 0
    (home / "synth.json").write_text("{}")
    with pytest.raises(InputError, match=f"'{home}/synth.json'"):  # which is there
        load_synth("~/synth.json")
    assert len(read_tags("~/tags.csv", ps.open_dataset("~/data")).tags) == len(DESCRIBED)
    assert main(["export", "~/run", "--out=~/small"]) == 0
    (home / "own.py").write_text(zoo.source("mlp"))
    (own,) = model_entries(listed("~/own.py"), {})
    assert (own.name, own.model) == ("own", str(home / "own.py"))
    assert zoo.source("~/own.py") == zoo.source("mlp")
    assert not list(here.iterdir())
    (here / "~").mkdir()  # such as an earlier version has made
    ps.save_audio("./~/tone.wav", 0.1 * np.sin(np.arange(11025) / 8), 22050)
    (file,) = here.rglob("*.wav")
    assert ps.load_audio(file.relative_to(here), 22050).shape == (11025,)
    (file,) = pathlib.Path().rglob("*.wav")
    assert ps.load_audio(file, 22050).shape == (11025,)
    assert {"found", "tags.csv", "small"} <= {file.name for file in home.iterdir()}
