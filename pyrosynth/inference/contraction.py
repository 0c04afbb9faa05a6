"""What a sound tells of each control, what it leaves open, and which controls trade off.

The prior is the marginal spread of the known presets: those that a run has learnt from, human
and augmented. They are what its posterior falls back on for a sound that tells nothing; the
model's own prior draws say what the model makes of them, which is one more thing that may be
wrong.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from pyrosynth.errors import InputError, counted, numbers, require_shapes
from pyrosynth.synths.params import ParamSpace

if TYPE_CHECKING:
    from pyrosynth.inference.posterior import Posterior

Float = NDArray[np.float64]

FEWEST_DRAWS = 8  # that sound alike; fewer say nothing of how controls hang together
MOST_PAIRS = 8  # that trade off, listed for a sound
BY_CHANCE = 0.05  # probability that any correlation shown is there by chance


class TradeOff(NamedTuple):
    """Two controls that can stand in for each other, and the rank correlation of their draws."""

    first: str
    second: str
    correlation: float


def contraction(v: ArrayLike, known: ArrayLike, space: ParamSpace) -> Float:
    """Return how much narrower draws are than the prior, for each control.

    Args:
        v: Draws on the unit cube, shape (n_draws, ..., n_params).
        known: Known presets on the unit cube, shape (m, n_params).
        space: The parameters.

    Returns:
        Shape (..., n_params). 1 - variance of the draws / variance of the known presets; of
        discrete controls 1 - entropy / entropy. 1: the sound tells the control; 0: nothing;
        negative: the draws are wider than the prior. NaN where all known presets agree.

    References:
        Betancourt (2018), Calibrating model-based inferences and decisions,
        https://arxiv.org/abs/1803.08393.
    """
    drawn, before = numbers("draws", v, np.float64), numbers("known presets", known, np.float64)
    left, prior = drawn.var(axis=0), before.var(axis=0)
    for i in np.flatnonzero(space.discrete):
        n_levels = int(space.resolution[i])
        left[..., i] = _entropy(drawn[..., i], n_levels)
        prior[i] = _entropy(before[:, i], n_levels)
    share = np.full(left.shape, np.nan)
    return 1 - np.divide(left, prior, out=share, where=np.broadcast_to(prior > 0, left.shape))


def _entropy(v: Float, n_levels: int) -> Float:
    """Return the entropy in nats, over the first axis, of points of the unit interval."""
    level = np.minimum((v * n_levels).astype(np.int64), n_levels - 1)
    shares = np.stack([(level == k).mean(axis=0) for k in range(n_levels)])
    return -np.sum(shares * np.log(np.maximum(shares, 1e-300)), axis=0)


def correlations(v: ArrayLike, lsd: ArrayLike | None = None) -> Float:
    """Return the rank correlations of the draws of one sound, between all pairs of controls.

    Args:
        v: Draws on the unit cube, shape (n_draws, n_params).
        lsd: Distance to the sound of what the synth plays for each, shape (n_draws,), where they
            were rendered: the nearer half counts, of which it was heard that it is alike.

    Returns:
        Shape (n_params, n_params); 0 for a control on which all draws agree.
    """
    return _spearman(_alike(_draws(v), lsd))


def trade_offs(v: ArrayLike, names: Sequence[str], lsd: ArrayLike | None = None) -> list[TradeOff]:
    """Return pairs of controls that trade off against each other, given one sound.

    Args:
        v: Draws on the unit cube, shape (n_draws, n_params).
        names: Of the controls.
        lsd: As in `correlations`.

    Returns:
        The eight pairs of greatest correlation, of those that chance alone does not explain
        (Bonferroni over all pairs).
    """
    draws = _alike(_draws(v), lsd)
    if len(names) != draws.shape[1]:
        raise InputError(f"{counted(len(names), 'name')} for draws of shape {draws.shape}")
    n_pairs = max(1, len(names) * (len(names) - 1) // 2)
    if len(draws) < FEWEST_DRAWS:
        return []
    limit = np.tanh(-ndtri(BY_CHANCE / n_pairs / 2) / np.sqrt(len(draws) - 3))
    return strongest(_spearman(draws), names, MOST_PAIRS, float(limit))


def strongest(correlation: Float, names: Sequence[str], most: int, limit: float) -> list[TradeOff]:
    """Return the pairs whose correlation is greatest, and greater than a limit."""
    first, second = np.triu_indices(len(names), 1)
    size = np.abs(correlation[first, second])
    order = np.argsort(-size, kind="stable")[:most]
    return [
        TradeOff(names[i], names[j], float(correlation[i, j]))
        for i, j, found in zip(first[order], second[order], size[order], strict=True)
        if found > limit
    ]


def known_points(posterior: "Posterior") -> Float | None:
    """Return the known presets of a run on the unit cube, shape (m, n_params); None without."""
    if posterior.bank is None:
        return None
    return posterior.run.space.encode(posterior.learnt(posterior.bank.values)).astype(np.float64)


def _draws(v: ArrayLike) -> Float:
    draws = numbers("draws", v, np.float64)
    require_shapes("one sound", {"draws": (draws, ("n_draws", "n_params"))})
    return draws


def _alike(v: Float, lsd: ArrayLike | None) -> Float:
    """Return the draws that sound nearest, half of them, where it is known."""
    if lsd is None:
        return v
    far = numbers("distances", lsd, np.float64)
    require_shapes("the draws", {"distances": (far, (len(v),))})
    return v[np.argsort(far, kind="stable")[: (len(v) + 1) // 2]]


def _spearman(v: Float) -> Float:
    """Return rank correlations of the columns."""
    place = np.stack([_ranks(column) for column in v.T], axis=1)
    place -= place.mean(axis=0)
    size = np.sqrt((place**2).sum(axis=0))
    place /= np.where(size > 0, size, 1.0)
    return place.T @ place


def _ranks(values: Float) -> Float:
    """Return the rank of each value; equal ones share the mean of their ranks.

    As ``scipy.stats.rankdata``, whose import takes half a second.
    """
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[group]
