"""Train, valid and test presets, with near-duplicates kept together.

Makers of presets save variants of one sound under other names and in other banks, so a random
split, or one by bank, tests on sounds that were trained on.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist

from pyrosynth.errors import DataError, counted

SPLITS = ("train", "valid", "test")
HELD_OUT = 0.1  # share of the presets in valid, and again in test
CHAINED = 0.05  # a cluster with more than this share of the presets is dealt to train

THRESHOLD_DB = 1.0
DB = 10.0 / np.log(10.0)
POOLED = (8, 8)  # cells averaged into one for the cheap lower bound
ROWS = 256  # rows compared at once: bounds the memory

Int = NDArray[np.int64]


def cluster(x: NDArray[np.floating], levels: ArrayLike) -> Int:
    """Join presets that sound alike or are equal, and all that are chained by such pairs.

    Two sounds are alike if their features differ by less than the threshold in the mean over
    all cells (single linkage). Averages over patches of cells give a lower bound of that
    difference, so that only few pairs need all cells.

    Args:
        x: Features of `pyrosynth.audio.features`, shape (n, n_mels, n_frames).
        levels: Levels of the learnt parameters, shape (n, n_params).

    Returns:
        Cluster of each preset, shape (n,), numbered in the order of their first presets.
    """
    n = len(x)
    patches = _patches(x)
    limit = THRESHOLD_DB / DB
    pairs = [_equal_rows(np.asarray(levels))]
    for start in range(0, n, ROWS):
        bound = cdist(patches[start : start + ROWS], patches[start:], "cityblock")
        left, right = np.nonzero(bound < limit)
        ahead = right > left
        left, right = left[ahead] + start, right[ahead] + start
        pairs.extend(
            _alike(x, x, left[i : i + ROWS], right[i : i + ROWS], limit)
            for i in range(0, len(left), ROWS)
        )
    edges = np.concatenate(pairs, axis=1)
    graph = coo_array((np.ones(edges.shape[1], bool), tuple(edges)), shape=(n, n))
    _, labels = connected_components(graph, directed=False)
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse]


def alike(x: NDArray[np.floating], others: NDArray[np.floating]) -> Int:
    """Return the pairs of sounds, one of each set, that differ by less than the threshold.

    Args:
        x: Features of `pyrosynth.audio.features`, shape (n, n_mels, n_frames).
        others: Features of the sounds they are compared with, shape (m, n_mels, n_frames).

    Returns:
        Positions among ``x`` and among ``others``, shape (2, any).
    """
    limit = THRESHOLD_DB / DB
    left, right = np.nonzero(cdist(_patches(x), _patches(others), "cityblock") < limit)
    pairs = [
        _alike(x, others, left[i : i + ROWS], right[i : i + ROWS], limit)
        for i in range(0, len(left), ROWS)
    ]
    return np.concatenate([np.empty((2, 0), np.int64), *pairs], axis=1)


def deal(clusters: Int, seed: int) -> Int:
    """Deal whole clusters to train, valid and test, about 80, 10 and 10 % of the presets.

    Single linkage chains quiet, dark sounds into one big cluster; a cluster with more than
    ``CHAINED`` of the presets goes to train, so that it cannot fill a held-out split.

    Args:
        clusters: Cluster of each preset, shape (n,).
        seed: Seed of the dealing.

    Returns:
        Position in ``SPLITS`` of each preset, shape (n,).

    Raises:
        DataError: There are too few different sounds to hold any out.
    """
    sizes = np.bincount(clusters)
    free = np.flatnonzero(sizes <= max(2, CHAINED * len(clusters)))
    if len(clusters) < len(SPLITS):
        raise DataError(
            f"{counted(len(clusters), 'preset')}, and the splits need at least {len(SPLITS)} that "
            "sound different; give more presets, or let `pyrosynth learn` draw some"
        )
    if len(free) < len(SPLITS):
        raise DataError(
            f"the sounds of {counted(len(clusters), 'preset')} make "
            f"{counted(len(sizes), 'group')} in which each is like the next, {len(free)} of them "
            f"small, and of small ones the splits need {len(SPLITS)}; render more parameters or a "
            "longer note into another folder"
        )
    order = np.random.default_rng(seed).permutation(free)
    wanted = max(1, round(HELD_OUT * len(clusters)))
    ends = np.searchsorted(np.cumsum(sizes[order]), [wanted, 2 * wanted]) + 1
    test = min(ends[0], len(order) - 2)
    valid = min(max(ends[1], test + 1), len(order) - 1)
    split = np.zeros(len(sizes), np.int64)
    split[order[:test]] = SPLITS.index("test")
    split[order[test:valid]] = SPLITS.index("valid")
    return split[clusters]


def _patches(x: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return sums over patches of cells, divided by the number of all cells, shape (n, any)."""
    cells = x.shape[1] * x.shape[2]
    for axis, size in zip((1, 2), POOLED, strict=True):
        x = np.add.reduceat(x, np.arange(0, x.shape[axis], size), axis, dtype=np.float64)
    return x.reshape(len(x), x.shape[1] * x.shape[2]) / cells


def _alike(
    x: NDArray[np.floating], others: NDArray[np.floating], left: Int, right: Int, limit: float
) -> Int:
    """Return those of the pairs that are alike, shape (2, any)."""
    distance = np.abs(x[left] - others[right]).mean(axis=(1, 2), dtype=np.float64)
    return np.stack([left, right])[:, distance < limit]


def _equal_rows(levels: NDArray[np.generic]) -> Int:
    """Pair every row with the first that equals it, shape (2, n)."""
    _, first, inverse = np.unique(levels, axis=0, return_index=True, return_inverse=True)
    return np.stack([first[inverse.reshape(-1)], np.arange(len(levels))])
