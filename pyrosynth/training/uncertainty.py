"""The uncertainty of a fitted variant: temperatures, conformal scores, coverage in a fit.

All three look at the held-out presets alone, which a fit does not learn from. A density that is
fitted to few parents is too sure of presets of others; its log-likelihood alone does not tell.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from pyrosynth.errors import numbers
from pyrosynth.modeling import Variant
from pyrosynth.modeling.temperature import Temperature, set_temperature, tempered_parts

LEVELS = (0.5, 0.8, 0.9)  # of the intervals and regions that are looked at
FEWEST = 30  # held-out presets; fewer say nothing of coverage and of temperatures
WATCHED_ROWS, WATCHED_DRAWS = 96, 64  # held-out presets and draws of each at a validation
SCORED_ROWS = 64  # held-out presets whose draws are made at once: bounds the memory
DRAWS = 128  # of each held-out preset, for its score and for the width of intervals
RANGE = 0.5, 2.0  # of temperatures
DOUBTS = 0.0, 0.15, 0.3  # shares of draws in doubt
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the way to the temperatures of greatest log q


def watched(rows: Tensor) -> Tensor:
    """Return the held-out rows whose coverage is watched: some, spread evenly over all."""
    n = len(rows)
    picked = torch.linspace(0, n - 1, min(n, WATCHED_ROWS), device=rows.device)
    return rows[picked.round().long()]


@torch.no_grad()
def shares_denser(variant: Variant, x: Tensor, v: Tensor) -> Tensor:
    """Return for each preset the share of draws that are denser than itself.

    Args:
        variant: A variant whose density is exact.
        x: Standardised features of sounds, shape (n, n_mels, n_frames).
        v: Their presets, shape (n, n_params).

    Returns:
        Shares of the draws, whose noise comes from torch's own generator, shape (n,).
    """
    log_q = variant.sample_v(x, WATCHED_DRAWS)[1]
    return (log_q > variant.log_prob_v(v, x)).float().mean(0)


def coverage_error(denser: Tensor) -> float:
    """Return how far highest-density regions are from holding as many truths as they should.

    Args:
        denser: Shares of draws that are denser than the truths, shape (n,).

    Returns:
        How far the share of truths is from the level, on average over ``LEVELS``: 0 when
        calibrated.
    """
    levels = torch.tensor(LEVELS)
    held = (denser.cpu()[:, None] < levels).float().mean(0)
    return float((held - levels).abs().mean())


def conformal_scores(log_q: ArrayLike, log_q_truth: ArrayLike) -> NDArray[np.float64]:
    """Return how far below the middle of its draws the density of each truth is.

    Args:
        log_q: Log-density of the draws, shape (n_draws, ...).
        log_q_truth: That of the truth, shape (...).

    Returns:
        (median of the draws - truth) / their standard deviation, shape (...).
    """
    drawn = numbers("log_q", log_q, np.float64)
    spread = np.maximum(drawn.std(axis=0), 1e-6)
    return (np.median(drawn, axis=0) - numbers("log_q", log_q_truth, np.float64)) / spread


def conformal_quantile(scores: ArrayLike, level: float) -> float:
    """Return the score that a new truth stays below with a probability of at least ``level``.

    Args:
        scores: Of presets that were held out, shape (n,).
        level: Such as 0.9.

    Returns:
        The ⌈(n + 1) level⌉-th smallest score; infinite where there are too few for the level.

    References:
        Vovk, Gammerman and Shafer (2005), Algorithmic learning in a random world.
    """
    ordered = np.sort(numbers("scores", scores, np.float64))
    place = math.ceil((len(ordered) + 1) * level - 1e-9)
    return float(ordered[place - 1]) if place <= len(ordered) else math.inf


@torch.no_grad()
def find_temperature(variant: Variant, x: Tensor, v: Tensor) -> Temperature:
    """Find temperatures by held-out presets.

    Those of greatest log q are found first: for each share of draws in doubt, one temperature
    after the other, since each acts on a part of the density of its own. Of the way there from 1,
    the share is taken after which the central intervals of single parameters hold as many truths
    as they should. So log q rises, and intervals are not widened past what they need, which would
    cost draws their nearness.

    Args:
        variant: A variant whose density is exact.
        x: Standardised features of held-out sounds, shape (n, n_mels, n_frames).
        v: Their presets, shape (n, n_params).

    Returns:
        The temperatures; 1 where fewer than ``FEWEST`` presets are held out.
    """
    enough = len(v) >= FEWEST
    parts = [name for name, found in tempered_parts(variant).items() if found and enough]
    likely: dict[Temperature, float] = {}
    for doubt in DOUBTS if "doubt" in parts else (0.0,):
        temperature, log_q = Temperature(doubt=doubt), 0.0
        for part in parts:
            if part != "doubt":
                temperature, log_q = _likeliest(variant, x, v, temperature, part)
        likely[temperature] = log_q
    likeliest = max(likely, key=lambda temperature: likely[temperature])
    errors: dict[Temperature, float] = {}
    for share in SHARES if parts else ():
        base, levels = (round(1 + share * (t - 1), 3) for t in likeliest[:2])
        temperature = Temperature(base, levels, likeliest.doubt)
        set_temperature(variant, temperature)
        errors[temperature] = central_error(variant, x, v)
    set_temperature(variant, Temperature())
    return min(errors, key=lambda temperature: errors[temperature], default=Temperature())


def _likeliest(
    variant: Variant, x: Tensor, v: Tensor, at: Temperature, part: str
) -> tuple[Temperature, float]:
    """Return temperatures of which one is where presets have the greatest log q, and that."""
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        set_temperature(variant, at._replace(**{part: math.exp(log_temperature)}))
        return -sum(float(variant.log_prob_v(*block).sum()) for block in _blocks(v, x))

    bounds = math.log(RANGE[0]), math.log(RANGE[1])
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 0.01})
    return at._replace(**{part: math.exp(float(found.x))}), -float(found.fun)


@torch.no_grad()
def central_error(variant: Variant, x: Tensor, v: Tensor) -> float:
    """Return how far central intervals of parameters are from holding as many truths as needed.

    Args:
        variant: The variant.
        x: Standardised features, shape (n, n_mels, n_frames).
        v: Their presets, shape (n, n_params).

    Returns:
        How far the share of truths, over all parameters, is from the level, on average over
        ``LEVELS``.
    """
    n, levels = DRAWS, torch.tensor(LEVELS, device=x.device)
    held = torch.zeros_like(levels)
    for i, (some_v, some_x) in enumerate(_blocks(v, x)):
        drawn = variant.draw_v(some_x, n, _generator(x, i))
        ranks = ((drawn < some_v).sum(0) + 0.5) / (n + 1)
        held = held + ((ranks - 0.5).abs()[..., None] < levels / 2).float().sum((0, 1))
    return float((held / v.numel() - levels).abs().mean())


@torch.no_grad()
def scores_of(variant: Variant, x: Tensor, v: Tensor) -> list[float]:
    """Return the conformal scores of held-out presets, in ascending order.

    Args:
        variant: A variant whose density is exact.
        x: Standardised features, shape (n, n_mels, n_frames).
        v: Their presets, shape (n, n_params).
    """
    scores: list[float] = []
    for i, (some_v, some_x) in enumerate(_blocks(v, x)):
        log_q = variant.sample_v(some_x, DRAWS, _generator(x, i))[1]
        truth = variant.log_prob_v(some_v, some_x)
        scores += conformal_scores(log_q.cpu().numpy(), truth.cpu().numpy()).tolist()
    return sorted(round(score, 4) for score in scores)


def _blocks(v: Tensor, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Return presets and sounds, a few at a time."""
    return zip(v.split(SCORED_ROWS), x.split(SCORED_ROWS), strict=True)


def _generator(x: Tensor, seed: int) -> torch.Generator:
    return torch.Generator(x.device).manual_seed(seed)
