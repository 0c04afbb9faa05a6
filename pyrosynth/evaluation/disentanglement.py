"""How much of what is known of presets lies in one coordinate, and in no other."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Float = NDArray[np.float64]

CLASSES = 5  # of equal size, that a number is cut into
NEIGHBOURS = 3  # of the estimator, as Ross recommends


def classes(numbers: ArrayLike, n: int = CLASSES) -> Float:
    """Cut numbers into classes of equal size.

    Args:
        numbers: Shape (n_presets,); NaN where there is none.
        n: Number of classes.

    Returns:
        From 0 to n − 1, in the order of the numbers, NaN where there is none; shape (n_presets,).
        Equal numbers are in one class.
    """
    array = np.asarray(numbers, np.float64)
    known = np.isfinite(array)
    found = np.full(len(array), np.nan)
    if known.any():
        edges = np.quantile(array[known], np.arange(1, n) / n)
        found[known] = np.searchsorted(edges, array[known], side="right")
    return found


def entropy(factor: ArrayLike) -> float:
    """Return the entropy of classes (n_presets,) in nats, NaN left out; 0 if there are none."""
    array = np.asarray(factor, np.float64)
    counts = np.unique(array[np.isfinite(array)], return_counts=True)[1]
    return float(stats.entropy(counts)) if len(counts) else 0.0


def information(coordinates: ArrayLike, factor: ArrayLike, seed: int = 0) -> Float:
    """Estimate the mutual information of each coordinate with classes.

    By distances to the nearest neighbours of the same class, which needs no bins (scikit-learn's
    ``mutual_info_classif``).

    Args:
        coordinates: Shape (n_presets, n_coordinates).
        factor: Class of each preset, NaN where unknown, shape (n_presets,).
        seed: Of the tiny noise that separates equal coordinates.

    Returns:
        Nats, at least 0, shape (n_coordinates,); NaN if fewer than two classes have more than one
        preset.

    References:
        Ross, 2014, "Mutual information between discrete and continuous data sets",
        https://doi.org/10.1371/journal.pone.0087357.
    """
    from sklearn.feature_selection import mutual_info_classif

    u, y = np.asarray(coordinates, np.float64), np.asarray(factor, np.float64)
    known = np.isfinite(y)
    if (np.unique(y[known], return_counts=True)[1] > 1).sum() < 2:
        return np.full(u.shape[1], np.nan)
    return np.asarray(
        mutual_info_classif(
            u[known], y[known].astype(int), discrete_features=False, n_neighbors=NEIGHBOURS,
            random_state=seed,
        )
    )  # fmt: skip


def mutual_information_gap(shared: ArrayLike, entropies: ArrayLike) -> float:
    """Return the mutual information gap.

    It is the mean over the factors v_k of

        (I(u_(1); v_k) − I(u_(2); v_k)) / H(v_k),

    where u_(1) and u_(2) are the two coordinates that share most with v_k: 1 if one coordinate
    determines each factor and the others know nothing of it, 0 if two know equally much.

    Args:
        shared: I(u_j; v_k) in nats, shape (n_coordinates, n_factors), at least two coordinates.
        entropies: H(v_k) in nats, shape (n_factors,).

    Returns:
        From 0 to 1; NaN if a factor is unknown or constant.

    References:
        Chen, Li, Grosse and Duvenaud, 2018, "Isolating sources of disentanglement in variational
        autoencoders", https://arxiv.org/abs/1802.04942.
    """
    best = np.sort(np.asarray(shared, np.float64), axis=0)
    return float(np.mean(_share(best[-1] - best[-2], entropies)))


def own_gaps(shared: ArrayLike, entropies: ArrayLike) -> Float:
    """Return the gap of each factor whose coordinate is the one of its own number.

    As ``mutual_information_gap``, with the factor's own coordinate for the one that shares most:
    equal if it is that one, and negative if another coordinate knows more than it does.

    Args:
        shared: I(u_j; v_k) in nats, shape (n_coordinates, n_factors); at least two coordinates.
        entropies: H(v_k) in nats, shape (n_factors,).

    Returns:
        From −1 to 1, shape (n_factors,); NaN for a factor that is unknown or constant.
    """
    array = np.asarray(shared, np.float64)
    own = array.diagonal()
    others = np.array([np.delete(column, k).max() for k, column in enumerate(array.T)])
    return _share(own - others, entropies)


def _share(nats: Float, entropies: ArrayLike) -> Float:
    """Divide by entropies; NaN where they are 0."""
    whole = np.asarray(entropies, np.float64)
    return np.divide(nats, whole, out=np.full_like(whole, np.nan), where=whole > 0)
