"""Calibration of posterior draws: ranks of the truth, HPD and conformal levels, TARP, coverage.

Each test turns a truth and draws of it into numbers that are uniform on (0, 1) if and only if
the truth could be one of the draws. Ties and the gaps of finitely many draws are filled with
random numbers, so that the uniformity is exact.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyrosynth.audio.descriptors import NAMES
from pyrosynth.errors import (
    MOST,
    InputError,
    integer,
    number,
    numbers,
    require_shapes,
    require_type,
)
from pyrosynth.statistics import Interval
from pyrosynth.training.uncertainty import LEVELS, conformal_scores

Float = NDArray[np.float64]

REFERENCES = 20  # points of the cube that TARP measures distances from, for each sound
CENTRAL, HPD, CONFORMAL, TARP = "central", "highest density", "conformal", "TARP"
DIFFERING = (0, 4, 8, 15)  # where groups of presets by their differing controls begin
COMPARED = 64  # presets compared with all known ones at once: bounds the memory


@dataclass(frozen=True, eq=False)
class Calibration:
    """Numbers that are uniform on (0, 1) if a posterior is calibrated.

    Attributes:
        ranks: Of each true parameter among its draws, shape (n, n_learnt).
        joint: Of the tests of all parameters together: ``TARP``, shape (n, n_references), and,
            where the model's density is exact, ``highest density`` and, where the run keeps
            conformal scores, ``conformal``, shape (n,) each.
        descriptors: Ranks of the descriptors of the true sounds among those of the draws, shape
            (n, n_descriptors), for the sounds that rendered again; None if there are none, or
            they were not described.
    """

    ranks: Float
    joint: Mapping[str, Float]
    descriptors: Float | None = None

    @classmethod
    def of(
        cls,
        rendered: Mapping[str, Float],
        draws: int,
        seed: int = 0,
        scores: Sequence[float] = (),
    ) -> "Calibration":
        """Compute them from draws of targets whose presets are known.

        Args:
            rendered: From ``EvaluationRunner.render_draws``.
            draws: Number of draws.
            seed: Of the numbers that fill ties and gaps.
            scores: Conformal scores of the run.
        """
        rng = np.random.default_rng(seed)
        v, truth = rendered["v"].swapaxes(0, 1), rendered["v_true"]
        param_ranks = ranks(v, truth, rng)
        references = rng.random((REFERENCES, *truth.shape))
        shares = [tarp_levels(v, truth, points, rng) for points in references]
        joint = {TARP: np.stack(shares, axis=1)}
        descriptors = None
        if "descriptors" in rendered:
            # Without the true sounds that did not render again: they have no place among draws.
            again = np.isfinite(rendered["descriptors"][:, -1]).all(axis=-1)
            described = rendered["descriptors"][again]
            # A draw that cannot be rendered is as far off as can be, not missing.
            of_draws = np.nan_to_num(described[:, :draws], nan=-np.inf).swapaxes(0, 1)
            descriptors = ranks(of_draws, described[:, -1], rng) if len(described) else None
        log_q = rendered["log_q_true"]
        if np.isfinite(log_q).all():
            drawn = rendered["log_q"].T
            exact = {HPD: hpd_levels(drawn, log_q, rng)}
            if len(scores):
                exact[CONFORMAL] = conformal_levels(drawn, log_q, scores, rng)
            joint = {**exact, **joint}
        return cls(param_ranks, joint, descriptors)

    def coverage(self, params: Sequence[str]) -> dict[str, Any]:
        """Return how often intervals and regions of ``LEVELS`` hold the truth, JSON-ready."""
        parameters = dict(coverage_table(self.ranks, params))
        n, regions = len(self.ranks), self.shares()
        means = regions.pop(CENTRAL)
        summary = {
            "levels": list(LEVELS),
            "expected_by_chance": [list(expected_range(level, n)[1:]) for level in LEVELS],
            "coverage": {"mean of parameters": means, **regions},
            "coverage_of_parameters": parameters,
        }
        if self.descriptors is not None:
            summary["coverage_of_descriptors"] = dict(coverage_table(self.descriptors, NAMES))
        return summary

    def shares(self, which: NDArray[np.bool_] | None = None) -> dict[str, list[float]]:
        """Return how many truths intervals and regions hold at each of ``LEVELS``, by name.

        Args:
            which: Which truths to count, shape (n,); all if left out.
        """
        rows = np.ones(len(self.ranks), bool) if which is None else which
        held = {CENTRAL: [central_coverage(self.ranks[rows], level) for level in LEVELS]}
        for name, found in self.joint.items():
            held[name] = [region_coverage(found[rows], level) for level in LEVELS]
        return {name: [float(np.mean(one)) for one in shares] for name, shares in held.items()}

    def by_difference(self, differing: NDArray[np.int64]) -> list[dict[str, Any]]:
        """Return the shares in groups of presets that are ever less like a known one.

        Args:
            differing: From ``differing_controls``, shape (n,).

        Returns:
            A JSON-ready row for each group that is not empty: ``differing``, ``presets``, and
            the shares by name.
        """
        rows: list[dict[str, Any]] = []
        for first, after in zip(DIFFERING, (*DIFFERING[1:], None), strict=True):
            which = (differing >= first) & (differing < after if after else True)
            if which.any():
                name = f"{first}–{after - 1}" if after else f"{first} or more"
                rows.append({"differing": name, "presets": int(which.sum()), **self.shares(which)})
        return rows


def differing_controls(levels: ArrayLike, known: ArrayLike) -> NDArray[np.int64]:
    """Return in how many controls presets differ from the known one that shares most levels.

    Args:
        levels: Levels of the learnt parameters, shape (n, n_params).
        known: Those of known presets, shape (m, n_params).

    Returns:
        Shape (n,).
    """
    ours, theirs = np.asarray(levels), np.asarray(known)
    blocks = [ours[i : i + COMPARED] for i in range(0, len(ours), COMPARED)]
    least = [(block[:, None] != theirs).sum(axis=-1).min(axis=1) for block in blocks]
    return np.concatenate([np.empty(0, np.int64), *least])


def ranks(draws: ArrayLike, truth: ArrayLike, rng: np.random.Generator) -> Float:
    """Return the rank of each truth among its draws, as a number in (0, 1).

    Args:
        draws: Draws on the first axis, shape (n_draws, ...).
        truth: What was to be inferred, shape (...).
        rng: Fills ties and gaps.

    Returns:
        Ranks, shape (...): uniform for a calibrated posterior.

    References:
        Talts et al., 2018, "Validating Bayesian inference algorithms with simulation-based
        calibration".
    """
    require_type("rng", rng, np.random.Generator, "np.random.default_rng(0)")
    drawn, true = numbers("draws", draws, np.float64), numbers("truth", truth, np.float64)
    require_shapes(
        "ranks", {"truth": (true, true.shape), "draws": (drawn, ("n_draws", *true.shape))}
    )
    if not len(drawn) or np.isnan(drawn).any() or np.isnan(true).any():
        raise InputError(
            "draws or truth of ranks are NaN, or there are no draws, and any rank would do; leave "
            "those sounds out, or put -inf for a draw that is as far off as can be"
        )
    below = np.sum(drawn < true, axis=0)
    equal = np.sum(drawn == true, axis=0)
    return (below + rng.random(true.shape) * (equal + 1)) / (len(drawn) + 1)


def hpd_levels(log_q: ArrayLike, log_q_truth: ArrayLike, rng: np.random.Generator) -> Float:
    """Return the probability of the smallest highest-density region that holds each truth.

    Args:
        log_q: Log-density of the draws, shape (n_draws, ...).
        log_q_truth: That of the truth, shape (...).
        rng: Fills ties and gaps.

    Returns:
        Levels, shape (...): uniform for a calibrated posterior.

    References:
        Hyndman, 1996, "Computing and graphing highest density regions".
    """
    drawn = numbers("log_q", log_q, np.float64)
    return ranks(-drawn, -numbers("log_q_truth", log_q_truth, np.float64), rng)


def conformal_levels(
    log_q: ArrayLike, log_q_truth: ArrayLike, scores: ArrayLike, rng: np.random.Generator
) -> Float:
    """Return the level of the smallest conformal region that holds each truth.

    Args:
        log_q: Log-density of the draws, shape (n_draws, ...).
        log_q_truth: That of the truth, shape (...).
        scores: Of held-out presets that are not among these, shape (m,).
        rng: Fills ties and gaps.

    Returns:
        Levels, shape (...): uniform if the truths are like those of the scores.
    """
    found = conformal_scores(log_q, log_q_truth)
    known = numbers("scores", scores, np.float64).reshape(-1, *(1,) * found.ndim)
    return ranks(np.broadcast_to(known, (len(known), *found.shape)), found, rng)


def tarp_levels(
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
    drawn, true = numbers("draws", draws, np.float64), numbers("truth", truth, np.float64)
    points = numbers("references", references, np.float64)
    rows = "n", "n_params"
    shapes = {"truth": (true, rows), "references": (points, rows)}
    require_shapes("TARP", {**shapes, "draws": (drawn, ("n_draws", *rows))})
    near = np.linalg.norm(drawn - points, axis=-1)
    return ranks(near, np.linalg.norm(true - points, axis=-1), rng)


def central_coverage(ranks: ArrayLike, level: float) -> Float:
    """Return the share of truths inside the central interval of a level.

    Args:
        ranks: From ``ranks``, shape (n, ...).
        level: Such as 0.9.

    Returns:
        Shares, shape (...).

    Raises:
        InputError: The ranks are no numbers, there are none, or the level is no share.
    """
    return np.mean(np.abs(_uniform("ranks", ranks) - 0.5) < _share("level", level) / 2, axis=0)


def region_coverage(levels: ArrayLike, level: float) -> Float:
    """Return the share of truths inside the region of a level.

    Args:
        levels: From ``hpd_levels``, ``conformal_levels`` or ``tarp_levels``, shape (n, ...).
        level: Such as 0.9.

    Returns:
        Shares, shape (...).

    Raises:
        InputError: The levels are no numbers, there are none, or the level is no share.
    """
    return np.mean(_uniform("levels", levels) < _share("level", level), axis=0)


def _uniform(what: str, values: ArrayLike) -> Float:
    """Return what is uniform where a posterior is calibrated, at least one for each thing."""
    array = numbers(what, values, np.float64)
    if not ((array >= 0) & (array <= 1)).all():
        raise InputError(f"{what} are not from 0 to 1; give what ranks or hpd_levels returns")
    if not array.ndim or not len(array):
        raise InputError(
            f"{what} have the shape {array.shape}; give one or more of each, (n, ...)"
        )
    return array


def _share(what: str, value: float) -> float:
    return number(f"{what} is a share;", value, 0, 1)


def expected_range(level: float, n: int, *, content: float = 0.95) -> Interval:
    """Return the range that the coverage of a level shows by chance when all is well.

    Args:
        level: The level, and so the expected coverage.
        n: Number of truths.
        content: Probability of the range.

    Raises:
        InputError: One of the two is no share, or ``n`` is below 1.
    """
    from scipy.stats import binom

    n, level, content = (
        integer("n", n, 1, MOST),
        _share("level", level),
        _share("content", content),
    )
    low, high = binom.ppf([(1 - content) / 2, (1 + content) / 2], n, level) / n
    return Interval(level, float(low), float(high))


def coverage_table(ranks: ArrayLike, names: Sequence[str]) -> list[tuple[str, list[float]]]:
    """Return each name with its coverage of the central intervals of ``LEVELS``.

    Args:
        ranks: From ``ranks``, shape (n, n_names).
        names: What the columns are called.
    """
    held = numbers("ranks", ranks, np.float64)
    require_shapes("coverage", {"ranks": (held, ("n", len(names)))})
    columns = [central_coverage(held, level) for level in LEVELS]
    return [(name, [float(c[i]) for c in columns]) for i, name in enumerate(names)]
