"""The table of several synths: splits of one synth are pooled, and the orders are told."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pyrosynth.evaluation.scores import HELD_OUT, REFERENCE

FILE = Path(__file__).parents[1] / "benchmarks" / "synths.py"
N = 30


@pytest.fixture(scope="module")
def synths():
    spec = importlib.util.spec_from_file_location("synths_table", FILE)
    sys.modules["synths_table"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def scores(offsets, first=0, seed=0):
    """Distances of methods that lie a constant apart, give or take 0.1 dB."""
    rng = np.random.default_rng(seed)
    target, base = np.arange(first, first + N), rng.uniform(3, 6, N)
    return pd.concat(
        pd.DataFrame(
            {
                "sounds": HELD_OUT, "method": method, "answer": "", "budget": 0, "renders": 0.0,
                "seed": 0, "target": target, "true_square": np.nan,
                "lsd": base + offset + rng.normal(0, 0.1, N), "sc": 1.0,
            }
        )
        for method, offset in offsets.items()
    )  # fmt: skip


def test_an_order_names_the_nearest_first_and_what_is_not_told_apart(synths):
    given = scores({"far": 2.0, "near": 0.0, "middle": 1.0, "as near": 0.0})
    said = synths.order(given)
    assert said.endswith(" < middle < far")
    assert set(said.split(" < ")[0].split(" ≈ ")) == {"near", "as near"}


def test_two_synths_with_opposite_orders_have_a_correlation_of_minus_one(synths):
    one = scores({REFERENCE: 0.0, "a": 1.0, "b": 2.0})
    other = scores({REFERENCE: 2.0, "a": 1.0, "b": 0.0}, seed=1)
    page = synths.tables({"one": one, "other": other, "again": one})
    assert "- one, other: -1.00" in page
    assert "- one, again: 1.00" in page
    assert "| a | 0 | 0 % | 100 % | 0 % |" in page


def test_splits_of_one_synth_are_one_column_of_all_their_presets(synths):
    """A preset that both hold out counts once, with its mean."""
    split = scores({"a": 0.0}), scores({"a": 2.0}, first=N - 10, seed=1)
    pooled = pd.concat(split)
    assert f"one, n = {2 * N - 10}" in synths.tables({"one": pooled})
    (distance,) = synths.distances(pooled).values()
    both = [own.set_index("target")["lsd"][N - 1] for own in split]
    assert distance.xs(N - 1) == pytest.approx(np.mean(both))
