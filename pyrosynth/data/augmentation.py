"""Augmented presets: a broader training set made from the presets of people.

Real presets are few. Rendering their neighbours teaches a model the way from sound to
parameters where presets live; presets drawn uniformly sound unlike real ones and teach little.
The uniform prior is here to measure how much that costs.
"""

import re
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyrosynth.errors import InputError, checked_name
from pyrosynth.synths.params import ParamSpace

Prior = Literal["broadened", "mixture", "uniform"]
PRIORS: tuple[Prior, ...] = ("broadened", "mixture", "uniform")
KINDS = ("perturbed", "crossed", "marginal")
UNIFORM = "uniform"  # the only kind of the uniform prior, and one of the mixture
SHARES = (0.4, 0.4, 0.2)
MIXED_KINDS = ("perturbed", "interpolated", "crossed", "marginal", UNIFORM)
MIXED_SHARES = (0.4, 0.15, 0.15, 0.2, 0.1)
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

    ``mixture``, for synths of any size: 40 % are perturbed likewise, with 1 to a quarter of the
    parameters changed, 8 at least; 15 % lie between two training presets, their discrete
    parameters taken from either; 15 % take every group of parameters, such as an operator, from
    one of two; in 20 % each parameter is drawn from its training values, and 10 % are uniform.

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
        prior: ``broadened``, ``mixture`` or ``uniform``.

    Returns:
        Native values, shape (n, n_params), and the kind of each row, shape (n,).

    Raises:
        InputError: The prior is unknown, or there are no training presets.
    """
    checked_name("training prior", prior, PRIORS)
    units = space.to_unit(train_values)
    if not len(units):
        raise InputError("no training presets to augment; give at least one")
    first, last = start // BLOCK, -(-(start + n) // BLOCK)
    if first >= last:
        return np.empty((0, len(space))), np.empty(0, dtype="U12")
    wanted = slice(start - first * BLOCK, start - first * BLOCK + n)
    if prior == "uniform":
        drawn = np.concatenate([_uniform(space, seed, block) for block in range(first, last)])
        return drawn[wanted], np.full(n, UNIFORM)
    if prior == "mixture":
        mixed = [_mixed(units, space, seed, block) for block in range(first, last)]
        values = np.concatenate([values for values, _ in mixed])[wanted]
        kinds = np.concatenate([kinds for _, kinds in mixed])[wanted]
        return values, np.array(MIXED_KINDS)[kinds]
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

    perturbed = _perturbed(one, marginal, space, rng, MOST_CHANGES)
    crossed = np.where(rng.random(shape) < 0.5, one, two)
    return np.choose(kinds[:, None], [perturbed, crossed, marginal]), kinds


def _perturbed(
    one: Unit, marginal: Unit, space: ParamSpace, rng: np.random.Generator, most: int
) -> Unit:
    """Change 1 to ``most`` parameters of each row, by a little or to another training value."""
    unordered = np.array([p.kind in ("categorical", "toggle") for p in space.params])
    redraw = (rng.random(one.shape) < 0.5) | unordered
    moved = np.clip(one + JITTER * rng.standard_normal(one.shape), 0.0, 1.0)
    rank = rng.random(one.shape).argsort(axis=1).argsort(axis=1)
    changed = rank < rng.integers(1, most, endpoint=True, size=(len(one), 1))
    return np.where(changed, np.where(redraw, marginal, moved), one)


def _mixed(
    units: Unit, space: ParamSpace, seed: int, block: int
) -> tuple[Unit, NDArray[np.int64]]:
    """Make one block of native values of the mixture, and their kinds."""
    rng = np.random.default_rng([seed, block])
    shape = BLOCK, len(space)
    kinds = rng.choice(len(MIXED_KINDS), size=BLOCK, p=MIXED_SHARES)
    one, two = units[rng.integers(len(units), size=(2, BLOCK))]
    marginal = units[rng.integers(len(units), size=shape), np.arange(len(space))]
    most = max(MOST_CHANGES, len(space) // 4)
    perturbed = _perturbed(one, marginal, space, rng, most)
    share = rng.random((BLOCK, 1))
    picked = np.where(rng.random(shape) < share, one, two)
    between = np.where(space.discrete, picked, share * one + (1 - share) * two)
    groups = parameter_groups(space)
    first = rng.random((BLOCK, int(groups.max()) + 1)) < 0.5
    crossed = np.where(first[:, groups], one, two)
    drawn = space.to_unit(space.decode(rng.random(shape)))
    unit = np.choose(kinds[:, None], [perturbed, between, crossed, marginal, drawn])
    return space.from_unit(unit), kinds


def parameter_groups(space: ParamSpace) -> NDArray[np.int64]:
    """Return the group of each parameter, numbered from 0, shape (n_params,).

    A group is what the synth calls one, else parameters whose names begin with the same word.
    """
    names = [param.group or _first_word(param.name) for param in space.params]
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def _first_word(name: str) -> str:
    words = re.split(r"[\s_.:/-]+", name.strip())
    return words[0].casefold() if len(words) > 1 else name
