"""Calibration tests on posteriors that are known to be right or wrong."""

import numpy as np
import pytest
from scipy.stats import kstest

from pyrosynth.errors import InputError
from pyrosynth.evaluation.calibration import (
    LEVELS,
    Calibration,
    central_coverage,
    conformal_levels,
    coverage_table,
    differing_controls,
    expected_range,
    hpd_levels,
    ranks,
    region_coverage,
    tarp_levels,
)
from pyrosynth.training.uncertainty import conformal_quantile, conformal_scores

N, DRAWS = 2000, 64
MIX = np.array([[1.0, 0.0], [0.9, 0.5]])


def problem(spread=1.0, shift=0.0, correlated=True):
    """Truth and draws from correlated normals around known centres, perhaps of a wrong width."""
    rng = np.random.default_rng(1)
    centre = rng.standard_normal((N, 2))
    mix = MIX if correlated else np.diag(np.linalg.norm(MIX, axis=1))
    truth = centre + rng.standard_normal((N, 2)) @ MIX.T
    noise = rng.standard_normal((DRAWS, N, 2))
    draws = centre + shift + spread * noise @ mix.T

    def log_q(v):
        return -0.5 * np.sum(
            np.linalg.solve(spread * mix, (v - centre - shift)[..., None]) ** 2, (-2, -1)
        )

    return draws, truth, log_q(draws), log_q(truth), rng


def p_value(u):
    return kstest(u, "uniform").pvalue


def test_a_calibrated_posterior_passes_everything():
    draws, truth, log_q, log_q_truth, rng = problem()
    places = ranks(draws, truth, rng)
    contents = hpd_levels(log_q, log_q_truth, rng)
    shares = tarp_levels(draws, truth, rng.standard_normal(truth.shape), rng)
    assert p_value(places[:, 0]) > 0.01
    assert p_value(places[:, 1]) > 0.01
    assert p_value(contents) > 0.01
    assert p_value(shares) > 0.01
    for level in LEVELS:
        low, high = expected_range(level, N, content=0.999)[1:]
        assert ((low <= (c := central_coverage(places, level))) & (c <= high)).all()
        assert low <= region_coverage(contents, level) <= high
        assert low <= region_coverage(shares, level) <= high


def test_nothing_that_is_no_number_has_a_rank():
    """A rank among no draws, or of NaN, would be a random number, and so look calibrated."""
    draws, truth, log_q, log_q_truth, rng = problem()
    lost = np.where(np.arange(N) == 3, np.nan, log_q_truth)
    for wrong in (
        lambda: ranks(draws[:0], truth, rng),
        lambda: ranks(draws, np.full_like(truth, np.nan), rng),
        lambda: hpd_levels(log_q, lost, rng),
        lambda: tarp_levels(draws * np.nan, truth, truth, rng),
    ):
        with pytest.raises(InputError, match="are NaN, or there are no draws"):
            wrong()
    for wrong in (lost, log_q_truth - 5):
        with pytest.raises(InputError, match="are not from 0 to 1; give what ranks"):
            region_coverage(wrong, 0.9)
        with pytest.raises(InputError, match="are not from 0 to 1; give what ranks"):
            central_coverage(wrong, 0.9)
    # A draw that cannot be rendered is farther off than any other.
    assert ranks(np.full((9, 1), -np.inf), np.zeros(1), rng) > 0.9


def test_too_narrow_covers_too_little():
    draws, truth, log_q, log_q_truth, rng = problem(spread=0.5)
    places = ranks(draws, truth, rng)
    # A normal of half the width: its central 90 % hold P(|z| < 1.645 / 2) = 0.589 of the truth.
    assert central_coverage(places, 0.9) == pytest.approx([0.589, 0.589], abs=0.04)
    assert region_coverage(hpd_levels(log_q, log_q_truth, rng), 0.9) < 0.8
    shares = tarp_levels(draws, truth, rng.standard_normal(truth.shape), rng)
    assert p_value(shares) < 1e-6


def test_ranks_miss_wrong_correlation_and_tarp_sees_it():
    draws, truth, *_, rng = problem(correlated=False)
    places = ranks(draws, truth, rng)
    assert p_value(places[:, 0]) > 0.01
    assert p_value(places[:, 1]) > 0.01
    # A reference far off on the diagonal, along which the truth varies the most.
    shares = tarp_levels(draws, truth, np.full(truth.shape, 20.0), rng)
    assert p_value(shares) < 1e-6


def test_shifted_draws_fail_the_rank_test():
    draws, truth, *_, rng = problem(shift=0.3)
    assert p_value(ranks(draws, truth, rng)[:, 0]) < 1e-6


def test_ties_stay_uniform():
    rng = np.random.default_rng(0)
    draws, truth = rng.integers(0, 2, (DRAWS, N)), rng.integers(0, 2, N)
    assert p_value(ranks(draws, truth, rng)) > 0.01


def test_expected_range_and_table():
    assert expected_range(0.9, 288) == pytest.approx((0.9, 0.865, 0.934), abs=0.002)
    places = np.linspace(0, 1, 1001)[:, None] * [1.0, 0.0] + [0.0, 0.5]
    table = coverage_table(places, ["a", "b"])
    assert table[0] == ("a", pytest.approx([0.5, 0.8, 0.9], abs=0.002))
    assert table[1] == ("b", [1.0, 1.0, 1.0])


def test_conformal_levels_are_right_though_the_density_is_wrong():
    _, _, log_q, log_q_truth, rng = problem(spread=0.5)
    scores = conformal_scores(log_q[:, :1000], log_q_truth[:1000])
    levels = conformal_levels(log_q[:, 1000:], log_q_truth[1000:], scores, rng)
    assert p_value(levels) > 0.001
    inside = log_q_truth[1000:] >= np.median(log_q[:, 1000:], axis=0) - log_q[:, 1000:].std(
        axis=0
    ) * conformal_quantile(scores, 0.9)
    assert np.mean(levels < 0.9) == pytest.approx(inside.mean(), abs=0.005)


def test_coverage_is_counted_by_how_many_controls_differ():
    known = np.zeros((2, 20), int)
    known[1] = 1
    levels = np.zeros((6, 20), int)
    for i, n in enumerate((0, 3, 4, 10, 8, 20)):
        levels[i, :n] = 7
    levels[3, 10:] = 1
    differing = differing_controls(levels, known)
    assert differing.tolist() == [0, 3, 4, 10, 8, 20]
    u = np.array([0.5, 0.5, 0.01, 0.5, 0.99, 0.01])
    found = Calibration(u[:, None], {"TARP": u[:, None]}).by_difference(differing)
    assert [row["differing"] for row in found] == ["0–3", "4–7", "8–14", "15 or more"]
    assert [row["presets"] for row in found] == [2, 1, 2, 1]
    assert [row["central"][2] for row in found] == [1, 0, 0.5, 0]
    assert [row["TARP"][2] for row in found] == [1, 1, 0.5, 1]
