"""Baselines and searches: legal presets, better than guessing where they should be, repeatable."""

import numpy as np
import pytest
from plain import PLAIN
from small import small_dataset

from pyrosynth import synths
from pyrosynth.audio.metrics import log_distance
from pyrosynth.data.bank import Bank
from pyrosynth.evaluation import methods
from pyrosynth.inference.pool import Pool
from pyrosynth.synths.rendering import Renderer


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return small_dataset(tmp_path_factory.mktemp("baselines"))


def error(data, values, rows):
    columns = data.full_space.index(data.space.names)
    unit = data.space.to_unit(values[:, columns])
    return float(np.mean((data.space.to_unit(data.learnt(rows)) - unit) ** 2))


def assert_legal(data, values, n):
    space = data.full_space
    assert values.shape == (n, len(space))
    np.testing.assert_allclose(space.from_unit(space.to_unit(values)), values)
    fixed = np.setdiff1d(np.arange(len(space)), space.index(data.space.names))
    np.testing.assert_allclose(values[:, fixed], np.tile(space.defaults[fixed], (n, 1)))


def test_guesses(data):
    human = data.values(data.rows("train", human_only=True))
    picked = methods.random_presets(data, 5, seed=1)
    assert_legal(data, picked, 5)
    assert all((human == row).all(axis=1).any() for row in picked)
    np.testing.assert_array_equal(picked, methods.random_presets(data, 5, seed=1))
    median = methods.median_preset(data, 3)
    assert_legal(data, median, 3)
    cutoff = data.full_space.index(["filter_cutoff"])
    assert median[0, cutoff] == pytest.approx(np.median(human[:, cutoff]))


@pytest.mark.parametrize("params", ["16", "amp_attack"])
@pytest.mark.parametrize("name", ["ridge", "mlp", "cnn"])
def test_regressions_learn(data, name, params, tmp_path, monkeypatch):
    data = data if params == "16" else small_dataset(tmp_path, params=params)
    monkeypatch.setattr(methods, "STEPS", 60)
    predict = getattr(methods, name)
    rows = data.rows("train")
    values = predict(data, data.x(rows), seed=3)
    assert_legal(data, values, len(rows))
    guess = error(data, methods.median_preset(data, len(rows)), rows)
    assert error(data, values, rows) < 0.9 * guess
    np.testing.assert_array_equal(predict(data, data.x(rows), seed=3), values)


def test_nearest_preset_of_a_known_sound_is_itself(data):
    bank = Bank.from_dataset(data)
    rows = data.rows("train")[[0, 7, 30]]
    np.testing.assert_array_equal(methods.nearest_presets(bank, data.x(rows)), data.values(rows))


def test_cma_es_counts_and_improves(data):
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    row = data.rows("test")[0]
    start = data.space.to_unit(data.learnt(data.rows("train")[:1]))[0]
    rate = data.features.sample_rate
    found = []
    with Renderer(
        synths.load_synth(PLAIN), data.note, rate, workers=1, transform=data.features
    ) as renderer:
        for _ in range(2):
            pool = Pool(data.x([row])[0], data.full_space, data.space, renderer)
            methods.cma_es(pool, start, 40, seed=2, sigma=0.1)
            found.append(pool.match())
    assert found[0].n_renders == 40
    assert found[0].lsd[0] < pool.trace[0][1]
    np.testing.assert_array_equal(found[0].lsd, found[1].lsd)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    np.testing.assert_allclose(log_distance(found[0].x[0], data.x([row])[0]), found[0].lsd[0])
