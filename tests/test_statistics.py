"""Intervals and tests against SciPy's, and against examples worked by hand."""

import functools
import itertools
import statistics

import numpy as np
import pytest
import scipy.stats

from pyrosynth.errors import InputError
from pyrosynth.statistics import (
    against_best,
    auc,
    holm,
    interval,
    paired_difference,
    relative_difference,
    share_of_wins,
    spearman,
)


def test_interval_agrees_with_scipy():
    values = np.random.default_rng(2).gamma(2.0, 3.0, 80)
    for statistic in (np.mean, np.median):
        ours = interval(values, statistic, seed=3)
        theirs = scipy.stats.bootstrap(
            (values,), statistic, n_resamples=20000, method="percentile", rng=4
        ).confidence_interval
        assert ours.estimate == statistic(values)
        assert ours.low == pytest.approx(theirs.low, abs=0.15)
        assert ours.high == pytest.approx(theirs.high, abs=0.15)
    assert interval(values, seed=3) == interval(values, seed=3)
    assert str(interval([1.0, 1.0])) == "1.00 [1.00–1.00]"


def test_a_statistic_may_count():
    values = np.arange(20.0)
    alike = interval(values, lambda v, axis=-1: (v < 5).sum(axis=axis), resamples=200)
    assert alike.estimate == 5
    assert alike.low < 5 < alike.high
    assert interval(values, len, resamples=50) == (20, 20, 20)
    for work in (
        lambda: interval(values, np.sort, resamples=50),
        lambda: against_best({"a": values, "b": values}, np.sort),
    ):
        with pytest.raises(InputError, match="statistic gives"):
            work()


@pytest.mark.parametrize(
    ("own", "known"),
    [
        (lambda v: np.percentile(v, 90), functools.partial(np.percentile, q=90)),
        (statistics.median, np.median),
        (max, np.max),
    ],
)
def test_a_statistic_of_ones_own_needs_no_axis(own, known):
    values = np.random.default_rng(2).gamma(2.0, 3.0, 21)
    options = {"resamples": 200, "seed": 3}
    expected = pytest.approx(interval(values, known, **options))
    assert interval(values, own, **options) == expected
    assert paired_difference(values, 0 * values, statistic=own, **options) == expected
    assert interval([2.0], own) == (2.0, 2.0, 2.0)
    assert against_best({"a": values, "b": values + 1}, own).best == "a"


def test_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(5)
    hits = [
        low <= 0 <= high
        for _, low, high in (
            interval(rng.standard_normal(60), resamples=400, seed=i) for i in range(300)
        )
    ]
    assert 0.90 <= np.mean(hits) <= 0.98


def test_pairing_narrows_the_interval():
    rng = np.random.default_rng(6)
    base = rng.normal(10, 5, 100)
    better = base - rng.normal(0.7, 0.5, 100)
    difference = paired_difference(better, base)
    assert difference.high < 0
    assert difference.high - difference.low < 0.3
    assert share_of_wins(better, base) == pytest.approx(np.mean(better < base))
    assert share_of_wins(base, base) == 0


def test_relative_difference_is_of_the_same_sounds():
    base = np.random.default_rng(7).gamma(2.0, 3.0, 100)
    twice = relative_difference(2 * base, base)
    assert twice == pytest.approx((1.0, 1.0, 1.0))
    found = relative_difference(base + np.random.default_rng(8).normal(0.5, 1, 100), base)
    assert found.low < found.estimate < found.high
    assert found.estimate == pytest.approx(0.5 / base.mean(), abs=0.1)


def test_no_values_are_refused():
    with pytest.raises(InputError, match="one number per sound"):
        interval([])


def test_holm_by_hand():
    # Sorted: 0.01 x 4 = 0.04, 0.02 x 3 = 0.06, 0.03 x 2 = 0.06, 0.9 x 1 = 0.9.
    np.testing.assert_allclose(holm([0.03, 0.01, 0.9, 0.02]), [0.06, 0.04, 0.9, 0.06])
    # 0.02 x 3 = 0.06 holds up 0.025 x 2 = 0.05; 0.7 x 1 stays.
    np.testing.assert_allclose(holm([0.7, 0.02, 0.025]), [0.7, 0.06, 0.06])
    np.testing.assert_allclose(holm([0.4, 0.6]), [0.8, 0.8])
    assert holm([0.8, 0.9])[0] == 1.0
    assert holm([]).shape == (0,)


def test_signed_ranks_by_hand():
    # Differences to the best 1, 2, -3, 4, 5: the ranks of the negative ones sum to 3. Of the 32
    # ways to give signs, 5 do not exceed it (nothing, 1, 2, 3, 1 + 2), on either side: 10 / 32.
    best = np.zeros(5)
    signs = itertools.product((0, 1), repeat=5)
    assert sum(np.dot(s, [1, 2, 3, 4, 5]) <= 3 for s in signs) == 5
    # All five worse: only one way of 32, on either side: 2 / 32. A tie is left out: 2 / 16.
    found = against_best(
        {
            "mixed": [1.0, 2.0, -3.0, 4.0, 5.0],
            "best": best,
            "worse": [0.1, 0.2, 0.3, 0.4, 5.0],
            "tied once": [0.0, 0.2, 0.3, 0.4, 5.0],
        }
    )
    assert found.best == "best"
    assert list(found.p_values) == ["mixed", "worse", "tied once"]
    # Holm: 2/32 x 3, then 2/16 x 2, then 10/32 x 1.
    np.testing.assert_allclose(list(found.p_values.values()), [10 / 32, 6 / 32, 4 / 16])


def test_large_samples_agree_with_scipy():
    rng = np.random.default_rng(7)
    a, b = rng.gamma(2.0, 1.0, (2, 300))
    found = against_best({"a": a, "b": b})
    assert found.best == ("a" if a.mean() < b.mean() else "b")
    assert list(found.p_values.values()) == [pytest.approx(scipy.stats.wilcoxon(a, b).pvalue)]


def test_false_alarms_are_as_rare_as_stated():
    rng = np.random.default_rng(8)
    base = rng.gamma(2.0, 2.0, (300, 40))
    p = [
        against_best({"a": row, "b": row + rng.standard_normal(40)}).p_values.popitem()[1]
        for row in base
    ]
    assert 0.02 <= np.mean(np.array(p) < 0.05) <= 0.08


def test_the_best_may_be_by_median():
    scores = {"steady": [2.0, 2.0, 2.0], "one bad": [1.0, 1.0, 30.0]}
    assert against_best(scores).best == "steady"
    assert against_best(scores, np.median).best == "one bad"


def test_equal_and_infinite_scores():
    found = against_best({"a": [1.0, 2.0, np.inf], "b": [1.0, 2.0, np.inf]})
    assert found == ("a", {"b": 1.0})
    found = against_best({"a": [1.0] * 6, "b": [2.0, 3.0, 4.0, 5.0, 6.0, np.inf]})
    assert found == ("a", {"b": 2 / 64})
    assert against_best({"alone": [1.0]}) == ("alone", {})


@pytest.mark.parametrize("scores", [{}, {"a": []}, {"a": [1.0], "b": [1.0, 2.0]}, {"a": [[1.0]]}])
def test_other_shapes_are_refused(scores):
    with pytest.raises(InputError, match="one number per sound"):
        against_best(scores)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: interval([1.0, 2.0], level=95), "level 95: it is a share; give a number above 0"),
        (lambda: interval([1.0, 2.0], level="wide"), "level 'wide': give a number"),
        (lambda: interval([1.0, 2.0], "mean"), "statistic is str 'mean'; give a function"),
        (lambda: interval([1.0, 2.0], resamples=0), "resamples 0: give an integer from 1"),
        (lambda: interval([1.0, 2.0], seed=-1), "seed -1: give an integer from 0"),
        (lambda: paired_difference([1, 2, 3], [1, 2]), r"second .* shape \(2,\); give .* \(3\)"),
        (lambda: paired_difference([[1, 2]], [[1, 2]]), r"first of the pairs .* shape \(1, 2\)"),
        (lambda: relative_difference([1, 2], [1, 2, 3]), r"second of the pairs .* shape \(3,\)"),
        (lambda: share_of_wins([1, 2, 3], [1, 2]), r"second of the pairs .* shape \(2,\)"),
        (lambda: share_of_wins([], []), "there are no pairs; give one number per sound"),
        (lambda: auc([1, 2, 3], [True, False]), r"positive of the pairs .* shape \(2,\)"),
        (lambda: spearman([1, 2, 3], [1, 2]), r"shapes \(3,\) and \(2,\) do not belong together"),
        (lambda: holm([0.5, 2]), r"p-values of shape \(2,\); give numbers from 0 to 1"),
        (lambda: against_best([[1, 2]]), r"scores is list \[\[1, 2\]\]; give a dictionary"),
    ],
)
def test_what_makes_no_sense_is_one_line(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.parametrize("compared", [paired_difference, relative_difference, share_of_wins])
def test_pairs_of_which_one_is_unknown_are_refused(compared):
    for pair in (([1.0, np.nan], [2.0, 3.0]), ([1.0, 2.0], [np.nan, 3.0])):
        with pytest.raises(InputError, match="1 of the values .* NaN; leave these sounds out"):
            compared(*pair)


def test_nan_is_refused():
    with pytest.raises(InputError, match="scores of 'b' contain NaN"):
        against_best({"a": [1.0], "b": [np.nan]})
