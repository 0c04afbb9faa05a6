"""Whether posterior draws mean what they say: ranks, coverage, joint tests.

Each test turns a truth and draws of it into numbers that are uniform on (0, 1) if and only if
the truth could be one of the draws. Ties and the gaps of finitely many draws are filled with
random numbers, so that the uniformity is exact.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyrosynth.statistics import Interval

Float = NDArray[np.float64]

LEVELS = (0.5, 0.8, 0.9)


def rank_uniform(draws: ArrayLike, truth: ArrayLike, rng: np.random.Generator) -> Float:
    """Return the place of each truth among its draws, as a number in (0, 1).

    Args:
        draws: Draws on the first axis, shape (n_draws, ...).
        truth: What was to be inferred, shape (...).
        rng: Fills ties and gaps.

    Returns:
        Places, shape (...): uniform for a calibrated posterior.

    References:
        Talts et al., 2018, "Validating Bayesian inference algorithms with simulation-based
        calibration".
    """
    drawn, true = np.asarray(draws, np.float64), np.asarray(truth, np.float64)
    below = np.sum(drawn < true, axis=0)
    equal = np.sum(drawn == true, axis=0)
    return (below + rng.random(true.shape) * (equal + 1)) / (len(drawn) + 1)


def density_uniform(log_q: ArrayLike, log_q_truth: ArrayLike, rng: np.random.Generator) -> Float:
    """Return the content of the smallest highest-density region that holds each truth.

    Args:
        log_q: Log-density of the draws, shape (n_draws, ...).
        log_q_truth: That of the truth, shape (...).
        rng: Fills ties and gaps.

    Returns:
        Contents, shape (...): uniform for a calibrated posterior.

    References:
        Hyndman, 1996, "Computing and graphing highest density regions".
    """
    return rank_uniform(-np.asarray(log_q), -np.asarray(log_q_truth), rng)


def tarp_uniform(
    draws: ArrayLike, truth: ArrayLike, references: ArrayLike, rng: np.random.Generator
) -> Float:
    """Return the share of draws nearer to a reference than the truth is.

    Uniform for every reference only if the joint posterior is calibrated; ranks of single
    parameters do not see how they hang together.

    Args:
        draws: Shape (n_draws, n, n_params).
        truth: Shape (n, n_params).
        references: Points chosen without looking at the truth, shape (n, n_params).
        rng: Fills ties and gaps.

    Returns:
        Shares, shape (n,).

    References:
        Lemos et al., 2023, "Sampling-based accuracy testing of posterior estimators for general
        inference" (TARP).
    """
    drawn, true, points = (np.asarray(a, np.float64) for a in (draws, truth, references))
    near = np.linalg.norm(drawn - points, axis=-1)
    return rank_uniform(near, np.linalg.norm(true - points, axis=-1), rng)


def central_coverage(places: ArrayLike, level: float) -> Float:
    """Return the share of truths inside the central interval of a level.

    Args:
        places: From ``rank_uniform``, shape (n, ...).
        level: Such as 0.9.

    Returns:
        Shares, shape (...).
    """
    return np.mean(np.abs(np.asarray(places) - 0.5) < level / 2, axis=0)


def region_coverage(contents: ArrayLike, level: float) -> Float:
    """Return the share of truths inside the region of a level.

    Args:
        contents: From ``density_uniform`` or ``tarp_uniform``, shape (n, ...).
        level: Such as 0.9.

    Returns:
        Shares, shape (...).
    """
    return np.mean(np.asarray(contents) < level, axis=0)


def expected_range(level: float, n: int, *, content: float = 0.95) -> Interval:
    """Return the range that the coverage of a level shows by chance when all is well.

    Args:
        level: The level, and so the expected coverage.
        n: Number of truths.
        content: Probability of the range.
    """
    from scipy.stats import binom

    low, high = binom.ppf([(1 - content) / 2, (1 + content) / 2], n, level) / n
    return Interval(level, float(low), float(high))


def coverage_table(
    places: ArrayLike, names: Sequence[str], levels: Sequence[float] = LEVELS
) -> list[tuple[str, list[float]]]:
    """Return each name with its coverage of central intervals at each level.

    Args:
        places: From ``rank_uniform``, shape (n, n_names).
        names: What the columns are called.
        levels: The levels.
    """
    columns = [central_coverage(places, level) for level in levels]
    return [(name, [float(c[i]) for c in columns]) for i, name in enumerate(names)]
