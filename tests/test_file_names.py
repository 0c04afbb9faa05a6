"""The endings of the names of files that people give are compared without regard to case."""

import json

import numpy as np
import pytest
import soundfile
from small import small_run

from pyrosynth.cli.options import json_file
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
