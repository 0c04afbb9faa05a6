"""Information and its gaps: against closed forms and cases worked out by hand."""

import numpy as np
import pytest

from pyrosynth.evaluation.disentanglement import (
    classes,
    entropy,
    information,
    mutual_information_gap,
    own_gaps,
)


def test_classes_of_equal_size():
    numbers = np.random.default_rng(0).permutation(20.0 * np.arange(20))
    found = classes(numbers, 4)
    assert np.array_equal(np.bincount(found.astype(int)), [5, 5, 5, 5])
    assert np.array_equal(found, numbers // 100)
    holes = classes([3.0, np.nan, 1.0], 2)
    assert np.array_equal(holes, [1, np.nan, 0], equal_nan=True)
    assert len(np.unique(classes([2.0, 2.0, 2.0]))) == 1


def test_entropy():
    assert entropy([0, 1, 0, 1]) == pytest.approx(np.log(2))
    assert entropy([0, np.nan, 0]) == 0.0
    assert entropy([0, 0, 0, 1]) == pytest.approx(np.log(4) - 0.75 * np.log(3))
    assert entropy([]) == 0.0


def test_information_of_known_cases():
    """Of what determines the class H; of what has nothing to do with it 0; in between I."""
    rng = np.random.default_rng(0)
    n = 4000
    word = rng.integers(0, 2, n)
    told = word + rng.uniform(0, 0.5, n)  # the word can be read from it
    half = np.where(rng.random(n) < 0.5, told, rng.uniform(3, 4, n))  # in half of the cases
    found = information(np.stack([told, half, rng.normal(size=n)], 1), word)
    assert found == pytest.approx([np.log(2), 0.5 * np.log(2), 0.0], abs=0.03)
    unknown = np.where(np.arange(n) < 2000, word, np.nan)
    assert information(told[:, None], unknown)[0] == pytest.approx(np.log(2), abs=0.03)
    assert np.isnan(information(told[:, None], np.zeros(n))).all()
    assert np.isnan(information(told[:, None], np.full(n, np.nan))).all()


def test_gaps_by_hand():
    nats = np.array([[0.8, 0.1], [0.2, 0.3], [0.4, 0.5]])  # three coordinates, two factors
    entropies = np.array([1.0, 0.5])
    # factor 1: (0.8 - 0.4) / 1; factor 2: (0.5 - 0.3) / 0.5, but its own has 0.3 against 0.5
    assert mutual_information_gap(nats, entropies) == pytest.approx((0.4 + 0.4) / 2)
    assert own_gaps(nats, entropies) == pytest.approx([0.4, -0.4])
    assert mutual_information_gap(np.eye(2), np.ones(2)) == 1.0
    assert mutual_information_gap(np.ones((2, 2)), np.ones(2)) == 0.0
    assert np.isnan(own_gaps(np.eye(2), [1.0, 0.0])[1])


def test_gap_of_an_ideal_and_of_a_mixed_code():
    numbers = np.random.default_rng(1).normal(size=(2000, 2))
    factors = [classes(column) for column in numbers.T]
    entropies = [entropy(factor) for factor in factors]

    def gap(coordinates):
        shared = np.stack([information(coordinates, factor) for factor in factors], 1)
        return mutual_information_gap(shared, entropies)

    turned = numbers @ np.array([[1, 1], [-1, 1]]) / np.sqrt(2)  # each axis as much of either
    assert gap(numbers) > 0.9
    assert gap(turned) < 0.05
