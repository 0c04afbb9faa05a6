"""Random hyper-parameters: no variant breaks, and a broken one is found out."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small import small_dataset
from torch import nn

from pyrosynth.errors import RunError
from pyrosynth.training import zoo
from pyrosynth.training.batches import TrainData

FILE = Path(__file__).parents[1] / "benchmarks" / "sweep.py"
MODELS = zoo.list_models()


@pytest.fixture(scope="module")
def sweep():
    spec = importlib.util.spec_from_file_location("sweep", FILE)
    sys.modules["sweep"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Presets of a small synth."""
    dataset = small_dataset(tmp_path_factory.mktemp("sweep"), n=40, augmented=0)
    data = TrainData.from_dataset(dataset)
    return replace(data, train=data.train[:20], valid=data.valid[:4])


@pytest.mark.parametrize("seed", range(2 * len(MODELS)))
def test_random_configurations(sweep, seed):
    configuration = sweep.draw(MODELS[seed % len(MODELS)], seed)
    assert sweep.faults(configuration, sweep.toy_data(seed)) == [], configuration


@pytest.mark.parametrize("name", MODELS)
def test_random_configurations_on_real_sounds(sweep, sounds, name):
    configuration = sweep.draw(name, seed=MODELS.index(name))
    assert sweep.faults(configuration, sounds) == [], configuration


def test_a_sweep_sees_what_is_wrong(sweep, monkeypatch):
    configuration, data = sweep.draw("flow_reg", 0), sweep.toy_data(0)
    build = sweep.build

    def idle(kind, dims, options):
        variant = build(kind, dims, options)
        variant.idle = nn.Linear(2, 2)
        return variant

    monkeypatch.setattr(sweep, "build", idle)
    found = ["idle.weight had no gradient", "idle.bias had no gradient"]
    assert sweep.faults(configuration, data) == found

    def poisoned(kind, dims, options):
        variant = build(kind, dims, options)
        nn.init.constant_(variant.log_scale, torch.nan)
        return variant

    monkeypatch.setattr(sweep, "build", poisoned)
    with (
        pytest.warns(UserWarning, match="NaN"),
        pytest.raises(RunError, match="loss became nan at step 1"),
    ):
        sweep.faults(configuration, data)
