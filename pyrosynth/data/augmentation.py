"""Augmented presets: a broader training set made from the presets of people.

Real presets are few. Rendering their neighbours teaches a model the way from sound to
parameters where presets live; presets drawn uniformly sound unlike real ones and teach little.
The uniform prior is here to measure how much that costs.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyrosynth.errors import InputError, unknown
from pyrosynth.synths.params import ParamSpace

Prior = Literal["broadened", "uniform"]
PRIORS: tuple[Prior, ...] = ("broadened", "uniform")
KINDS = ("perturbed", "crossed", "marginal")
UNIFORM = "uniform"  # the only kind of the uniform prior
SHARES = (0.4, 0.4, 0.2)
MOST_CHANGES = 8  # parameters changed at most in a perturbed preset
JITTER = 0.1  # standard deviation, in unit values, of a small change
BLOCK = 256  # rows drawn from one random stream; changing it changes every dataset

Unit = NDArray[np.float64]


def augment(
    train_values: ArrayLike,
    space: ParamSpace,
    n: int,
    seed: int,
    start: int = 0,
    prior: Prior = "broadened",
) -> tuple[Unit, NDArray[np.str_]]:
    """Make augmented presets from training presets, or draw them uniformly.

    ``broadened``: 40 % are one training preset with 1 to 8 parameters changed, each drawn anew
    from that parameter's values in the training presets or moved a little; 40 % take every
    parameter from one of two training presets; in 20 % each parameter is drawn from its training
    values.

    ``uniform``: every parameter is drawn from its whole range, each setting of a discrete one as
    often as any other; the training presets have no say.

    Row ``i`` depends only on the training presets, ``seed`` and ``start + i``, so they may be
    made in pieces of any size and order.

    Args:
        train_values: Native values of the training presets, shape (n_train, n_params).
        space: Their parameters.
        n: Number of rows to make.
        seed: Seed of what is drawn.
        start: Position of the first row among all augmented ones.
        prior: ``broadened`` or ``uniform``.

    Returns:
        Native values, shape (n, n_params), and the kind of each row, shape (n,).

    Raises:
        InputError: The prior is unknown, or there are no training presets.
    """
    if prior not in PRIORS:
        raise unknown("training prior", prior, PRIORS)
    units = space.to_unit(train_values)
    if not len(units):
        raise InputError("no training presets to augment; give at least one")
    first, last = start // BLOCK, -(-(start + n) // BLOCK)
    if first >= last:
        return np.empty((0, len(space))), np.empty(0, dtype="U9")
    wanted = slice(start - first * BLOCK, start - first * BLOCK + n)
    if prior == "uniform":
        drawn = np.concatenate([_uniform(space, seed, block) for block in range(first, last)])
        return drawn[wanted], np.full(n, UNIFORM)
    blocks = [_block(units, space, seed, block) for block in range(first, last)]
    values = space.from_unit(np.concatenate([values for values, _ in blocks])[wanted])
    kinds = np.concatenate([kinds for _, kinds in blocks])[wanted]
    return values, np.array(KINDS)[kinds]


def _uniform(space: ParamSpace, seed: int, block: int) -> Unit:
    """Draw one block of native values, shape (BLOCK, n_params)."""
    drawn = np.random.default_rng([seed, block]).random((BLOCK, len(space)))
    # Not from_unit alone: it rounds, which would make the outer settings half as frequent.
    return np.where(space.discrete, space.decode(drawn), space.from_unit(drawn))


def _block(
    units: Unit, space: ParamSpace, seed: int, block: int
) -> tuple[Unit, NDArray[np.int64]]:
    """Make one block of unit values and their kinds, shapes (BLOCK, n_params) and (BLOCK,)."""
    rng = np.random.default_rng([seed, block])
    shape = BLOCK, len(space)
    kinds = rng.choice(len(KINDS), size=BLOCK, p=SHARES)
    one, two = units[rng.integers(len(units), size=(2, BLOCK))]
    marginal = units[rng.integers(len(units), size=shape), np.arange(len(space))]

    unordered = np.array([p.kind in ("categorical", "toggle") for p in space.params])
    redraw = (rng.random(shape) < 0.5) | unordered
    moved = np.clip(one + JITTER * rng.standard_normal(shape), 0.0, 1.0)
    rank = rng.random(shape).argsort(axis=1).argsort(axis=1)
    changed = rank < rng.integers(1, MOST_CHANGES, endpoint=True, size=(BLOCK, 1))
    perturbed = np.where(changed, np.where(redraw, marginal, moved), one)

    crossed = np.where(rng.random(shape) < 0.5, one, two)
    return np.choose(kinds[:, None], [perturbed, crossed, marginal]), kinds
