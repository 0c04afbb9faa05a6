"""Bootstrap intervals and paired tests over sounds; rank statistics."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from pyrosynth.errors import (
    MOST,
    InputError,
    checked_seed,
    integer,
    number,
    numbers,
    require_shapes,
    require_type,
    shown,
)

Float = NDArray[np.float64]


class Interval(NamedTuple):
    """A number and the interval it lies in."""

    estimate: float
    low: float
    high: float

    def __str__(self) -> str:
        """Return such as ``5.39 [5.15–5.63]``."""
        return f"{self.estimate:.2f} [{self.low:.2f}–{self.high:.2f}]"


def interval(
    values: ArrayLike,
    statistic: Callable[..., Float] = np.mean,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return a statistic with its bootstrap percentile interval over sounds.

    Args:
        values: One number per sound, shape (n,).
        statistic: Such as ``np.mean`` or ``np.median``. One without an argument ``axis`` is
            called for each resample, which takes longer.
        level: Share of the resampled statistics inside the interval.
        resamples: Number of resamples.
        seed: Seed of the resampling.

    Returns:
        The statistic of ``values`` and its interval; all NaN if the statistic is.

    Raises:
        InputError: ``values`` is empty or not a plain list of numbers, or an option is out of
            range.

    References:
        Efron and Tibshirani, 1993, "An Introduction to the Bootstrap", chapter 13.
    """
    array = numbers("values", values, np.float64)
    if array.ndim != 1 or not len(array):
        raise InputError(f"values have shape {array.shape}; give one number per sound")
    if not 0 < number("level", level) < 1:
        raise InputError(f"level {level}: it is a share; give a number above 0 and below 1")
    if not callable(statistic):
        raise InputError(f"statistic is {shown(statistic)}; give a function such as np.mean")
    resamples, seed = integer("resamples", resamples, 1, MOST), checked_seed(seed)
    vectorized = _takes_axis(statistic)
    told = partial(_told, statistic)
    estimate = float(told(array, axis=0) if vectorized else told(array))
    if len(array) == 1 or np.isnan(estimate):
        return Interval(estimate, estimate, estimate)
    low, high = stats.bootstrap(
        (array,), told, n_resamples=resamples, confidence_level=level, method="percentile",
        vectorized=vectorized, rng=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    return Interval(estimate, float(low), float(high))


def _told(statistic: Callable[..., Any], sounds: Float, **axis: int) -> Float:
    """Return what a statistic gives for each row of sounds, as numbers."""
    found = numbers("what statistic gives", statistic(sounds, **axis), np.float64)
    if found.shape != sounds.shape[:-1]:
        raise InputError(
            f"statistic gives shape {found.shape} for sounds of shape {sounds.shape}; give a "
            "function that makes one number of the last axis, such as np.mean"
        )
    return np.asarray(found)


def _takes_axis(statistic: Callable[..., Any]) -> bool:
    try:
        return "axis" in inspect.signature(statistic).parameters
    except ValueError:  # such as of max, which is built in
        return False


def paired_difference(first: ArrayLike, second: ArrayLike, **options: Any) -> Interval:
    """Return the mean, or another statistic, of ``first − second`` with its interval.

    Negative is in favour of ``first`` where lower is better. The options are those of
    ``interval``.

    Raises:
        InputError: The two are not one number each for the same sounds.
    """
    a, b = _pairs(first, second)
    return interval(a - b, **options)


def relative_difference(first: ArrayLike, second: ArrayLike, **options: Any) -> Interval:
    """Return ``mean(first) / mean(second) − 1`` over the same sounds with its interval.

    Both means are of the same resampled sounds. The options are ``level``, ``resamples`` and
    ``seed`` of ``interval``.

    Raises:
        InputError: The two are not one number each for the same sounds.
    """
    a, b = _pairs(first, second)

    def statistic(sounds: Float, axis: int) -> Float:
        chosen = sounds.astype(np.int64)
        return np.asarray(a[chosen].mean(axis=axis) / b[chosen].mean(axis=axis) - 1)

    return interval(np.arange(len(a)), statistic, **options)


def share_of_wins(first: ArrayLike, second: ArrayLike) -> float:
    """Return the share of sounds for which ``first`` is strictly lower than ``second``.

    Raises:
        InputError: The two are not one number each for the same sounds.
    """
    a, b = _pairs(first, second)
    return float(np.mean(a < b))


def _pairs(first: ArrayLike, second: ArrayLike) -> tuple[Float, Float]:
    """Return two numbers per sound, each of shape (n,), n at least 1."""
    a, b = numbers("values", first, np.float64), numbers("values", second, np.float64)
    require_shapes("the pairs", {"first": (a, ("n",)), "second": (b, ("n",))})
    if not len(a):
        raise InputError("there are no pairs; give one number per sound, twice")
    if unknown := int(np.isnan(a).sum() + np.isnan(b).sum()):
        raise InputError(
            f"{unknown} of the values in the pairs are NaN; leave these sounds out of both"
        )
    return a, b


class Lead(NamedTuple):
    """The best of some methods, and how probable the lead over each other one is by chance.

    Attributes:
        best: Its name.
        p_values: Of every other method, corrected for their number; small where the best is
            better for sure.
    """

    best: Any
    p_values: dict[Any, float]


def against_best(scores: Mapping[Any, ArrayLike], statistic: Callable[..., Any] = np.mean) -> Lead:
    """Test each method against the best: two-sided Wilcoxon tests on pairs, Holm's correction.

    The test asks whether the differences of the same sounds lie evenly around 0, by their ranks:
    a few enormous ones count no more than a few large ones. Sounds without a difference are left
    out. The best is chosen on the same sounds, so a lead over the second flatters it.

    Args:
        scores: Of each method one number per sound, lower is better, all of shape (n,) and in
            the same order. Infinite ones count as larger than all others.
        statistic: By which the best is the lowest; ``np.mean`` or ``np.median``.

    Returns:
        The best method (of equal ones the first) and the corrected p-values of the others; 1
        for one that does the same on every sound.

    Raises:
        InputError: There is no method, shapes differ, or a score is NaN.

    References:
        Wilcoxon, 1945, "Individual comparisons by ranking methods"; Holm, 1979, "A simple
        sequentially rejective multiple test procedure".
    """
    require_type("scores", scores, Mapping, "a dictionary of one number per sound by method")
    arrays = {name: numbers("values", values, np.float64) for name, values in scores.items()}
    shapes = {name: array.shape for name, array in arrays.items()}
    if len(set(shapes.values())) != 1 or any(len(s) != 1 or not s[0] for s in shapes.values()):
        raise InputError(f"scores have shapes {shapes}; give every method one number per sound")
    for name, array in arrays.items():
        if np.isnan(array).any():
            raise InputError(f"scores of '{name}' contain NaN; count a failed sound as silence")
    if not callable(statistic):
        raise InputError(f"statistic is {shown(statistic)}; give a function such as np.mean")
    best = min(arrays, key=lambda name: float(_told(statistic, arrays[name])))
    others = [name for name in arrays if name != best]
    p_values = holm([_signed_rank(arrays[name], arrays[best]) for name in others])
    return Lead(best, dict(zip(others, p_values.tolist(), strict=True)))


def holm(p_values: ArrayLike) -> Float:
    """Correct p-values of several tests, so that any false alarm has the stated probability.

    The smallest of m is multiplied by m, the next by m − 1 and so on; none gets smaller than
    one before it, or larger than 1 (Holm, 1979).

    Args:
        p_values: Of each test, shape (m,).

    Returns:
        Corrected ones, shape (m,).

    Raises:
        InputError: They have another shape, or one is no probability.
    """
    p = numbers("p-values", p_values, np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise InputError(f"p-values of shape {p.shape}; give numbers from 0 to 1, one per test")
    order = np.argsort(p, kind="stable")
    steps = p[order] * np.arange(len(p), 0, -1)
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected


def _signed_rank(first: Float, second: Float) -> float:
    """Return the p-value of the signed-rank test, exact for few sounds (see SciPy)."""
    differs = first != second  # infinite ones too, which have no difference
    if not differs.any():
        return 1.0
    return float(stats.wilcoxon(first[differs] - second[differs]).pvalue)


def auc(scores: ArrayLike, positive: ArrayLike) -> float:
    """Return the area under the ROC curve: how well scores tell positive ones from others.

    Args:
        scores: Shape (n,).
        positive: Which are positive, shape (n,) bool.

    Returns:
        From 0 to 1, the probability that a positive one scores higher than another; NaN if either
        kind is missing.

    Raises:
        InputError: The two are not one each for the same sounds.
    """
    from sklearn.metrics import roc_auc_score

    given, of = numbers("scores", scores, np.float64), numbers("positive", positive)
    require_shapes("the pairs", {"scores": (given, ("n",)), "positive": (of, ("n",))})
    if np.isnan(of.astype(np.float64)).any():
        raise InputError("positive holds NaN, as of labels nobody knows; leave those out of both")
    of = of.astype(bool)
    if not np.isfinite(given).all():
        raise InputError("scores are NaN or infinite; leave those out, or give their ranks")
    return float(roc_auc_score(of, given)) if of.any() and not of.all() else float("nan")


def spearman(first: ArrayLike, second: ArrayLike) -> Float:
    """Return rank correlations along the last axis, in which pairs with a NaN are left out.

    Args:
        first: Numbers, shape (..., n); both broadcast.
        second: The others.

    Returns:
        Correlations, shape (...); NaN where one of the two is constant.

    Raises:
        InputError: They are no numbers, or do not broadcast.
    """
    a, b = numbers("values", first, np.float64), numbers("values", second, np.float64)
    try:
        a, b = np.broadcast_arrays(np.atleast_1d(a), np.atleast_1d(b))
    except ValueError as error:
        raise InputError(
            f"values of shapes {a.shape} and {b.shape} do not belong together; give as many of "
            "both"
        ) from error
    known = np.isfinite(a) & np.isfinite(b)
    ranks = []
    for array in (a, b):
        rank = stats.rankdata(np.where(known, array, np.nan), axis=-1, nan_policy="omit")
        mean = rank.sum(axis=-1, keepdims=True, where=known) / np.maximum(
            known.sum(axis=-1, keepdims=True), 1
        )
        ranks.append(np.where(known, rank - mean, 0.0))
    sizes = np.prod([np.square(rank).sum(axis=-1) for rank in ranks], axis=0)
    products = (ranks[0] * ranks[1]).sum(axis=-1)
    return np.where(sizes > 0, products / np.sqrt(np.where(sizes > 0, sizes, 1.0)), np.nan)[()]
