"""Disentanglement: whether a latent coordinate follows its tag, and no other coordinate does.

Measured on held-out presets: whether the axis of a tag tells the classes of the tag apart, whether
it follows the descriptor behind the tag, what else it follows, and whether the other coordinates
have kept their spread, which an objective that is not a density makes them lose.
`pyrosynth.evaluation.steering` renders what lies along the axes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from pyrosynth.data.dataset import Dataset, Rows
from pyrosynth.data.tags import TagTable
from pyrosynth.errors import InputError, numbers, require_type
from pyrosynth.explore.places import latents_of_sounds
from pyrosynth.inference.posterior import Posterior
from pyrosynth.modeling import Variant
from pyrosynth.statistics import auc, spearman
from pyrosynth.training.identity import require_same_contract
from pyrosynth.training.run import Run
from pyrosynth.training.torch_modes import plain_torch

Float = NDArray[np.float64]

CLASSES = 5  # of equal size, that a descriptor is cut into
NEIGHBOURS = 3  # of the estimator, as Ross recommends


@dataclass(frozen=True)
class AxisMeasures:
    """How the coordinates of presets agree with their tags and with the descriptors behind them.

    Attributes:
        tags: Names of the tags.
        auc: How well each axis tells the first class of its tag from the last.
        correlation: Rank correlation of each axis (rows) with the descriptor behind each tag
            (columns); NaN where there is none.
        related: Rank correlation of these descriptors with each other, the least that can leak.
        gap: How much more the axis of each tag knows of its descriptor than any other coordinate
            does, see `own_gaps`; of the classes where there is no descriptor.
        gap_of_descriptors: The same where the descriptors themselves are the axes: related as
            they are, no axes that follow them could have a wider gap. NaN where there is none.
        mig: The mutual information gap of all coordinates, see `mutual_information_gap`.
        spread: Standard deviation of each of the other coordinates, of presets somewhere within
            their levels, as the model has them; 1 in the model.
        n_presets: Number of presets.
    """

    tags: tuple[str, ...]
    auc: Float
    correlation: Float
    related: Float
    gap: Float
    gap_of_descriptors: Float
    mig: float
    spread: Float
    n_presets: int

    def to_json(self) -> dict[str, Any]:
        """Return the figures by tag, and the least and largest spread; NaN as None."""
        columns = {
            "auc": self.auc,
            "spearman": self.correlation.diagonal(),
            "leakage": _largest_other(self.correlation),
            "related": _largest_other(self.related),
            "gap": self.gap,
            "gap_of_descriptors": self.gap_of_descriptors,
        }
        by_tag = {
            tag: {name: or_none(column[i]) for name, column in columns.items()}
            for i, tag in enumerate(self.tags)
        }
        spread = [float(self.spread.min(initial=1.0)), float(self.spread.max(initial=1.0))]
        return {
            "n_presets": self.n_presets, "spread": spread, "mig": or_none(self.mig),
            "tags": by_tag,
        }  # fmt: skip


def measure(run: Run, dataset: Dataset, truth: TagTable, split: str = "test") -> AxisMeasures:
    """Measure the axes of a run on the human presets of a split.

    Args:
        run: The run; of a variant with axes of tags.
        dataset: The presets.
        truth: The tags of the run with no label hidden, such as those of
            `pyrosynth.data.labeling.descriptor_tags`; it may have others too.
        split: Which presets.

    Returns:
        The measures.

    Raises:
        InputError: The run has no axes of tags, or the truth lacks one of them, or has it with
            other classes or in another order.
        DataError: The dataset is of another synth, note, parameters or features than the run.
    """
    require_same_contract(run, dataset)
    require_type("truth", truth, TagTable, "tags, such as read_tags(path, dataset)")
    rows = dataset.rows(split, human_only=True)
    names = run.variant.dims.tags
    lacking = [name for name in names if name not in truth.names]
    if lacking:
        raise InputError(
            f"the run has an axis for {', '.join(lacking)}, the tags are {', '.join(truth.names)}"
            "; give the tags it was fitted with"
        )
    columns = [truth.names.index(name) for name in names]
    for i, learnt in zip(columns, run.variant.dims.classes, strict=True):
        if truth.tags[i].classes != tuple(learnt):
            raise InputError(
                f"the tags have '{truth.tags[i]}', the run has learnt {'/'.join(learnt)}; write "
                "the classes that it was fitted with, in their order"
            )
    u = coordinates(run, dataset, rows)
    within = coordinates(run, dataset, rows, np.random.default_rng(0))
    n_classes = [len(truth.tags[i].classes) for i in columns]
    labels = truth.labels[rows][:, columns]
    descriptors = np.full(labels.shape, np.nan)
    if truth.descriptors is not None:
        descriptors = truth.descriptors[rows][:, columns]
    steered, free = u[:, : len(names)], within[:, len(names) :]
    gap, mig = _gaps(u, descriptors, labels)
    of_descriptors, _ = _gaps(
        np.nan_to_num(descriptors), descriptors, np.full(labels.shape, np.nan)
    )
    return AxisMeasures(
        tags=names,
        auc=np.array(list(map(_ends, steered.T, labels.T, n_classes))),
        correlation=spearman(steered.T[:, None], descriptors.T),
        related=spearman(descriptors.T[:, None], descriptors.T),
        gap=gap,
        gap_of_descriptors=of_descriptors,
        mig=mig,
        spread=free.std(axis=0),
        n_presets=len(rows),
    )


def require_axes(run: Run) -> None:
    """Make sure that a run has tag axes and can place presets on them.

    Raises:
        InputError: It has none.
    """
    variant = run.variant
    with plain_torch():
        variant.axes(variant.origin)  # says what it lacks
    if not _hears(variant):
        _of_levels(run, np.zeros((1, len(run.space)), np.int64))


@plain_torch()
def coordinates(
    run: Run, dataset: Dataset, rows: Rows, rng: np.random.Generator | None = None
) -> Float:
    """Return the coordinates of presets, those of the tags first.

    Their latents are read off their sounds, or determined by the presets in a variant whose
    presets do that.

    Args:
        run: The run; of a variant with axes of tags.
        dataset: The presets.
        rows: Which of them, shape (n,).
        rng: Where within its level a parameter is; without it, in the middle. Sounds have no
            levels.

    Returns:
        Shape (n, latent_dim).

    Raises:
        InputError: The variant has no axes of tags, or knows no latents of presets.
        DataError: The dataset is of another synth, note, parameters or features than the run.
    """
    require_same_contract(run, dataset)
    require_type("rng", rng, (np.random.Generator, type(None)), "np.random.default_rng(seed)")
    if not _hears(run.variant):
        return _of_levels(run, dataset.levels(rows), rng)
    z = torch.as_tensor(latents_of_sounds(Posterior(run), dataset.x(rows)))
    return run.variant.axes(z.to(run.mean)).cpu().numpy().astype(np.float64)


@plain_torch()
def _of_levels(run: Run, levels: ArrayLike, rng: np.random.Generator | None = None) -> Float:
    """Return the coordinates of presets by the levels of their parameters."""
    array = np.asarray(levels)
    v = (array + (0.5 if rng is None else rng.random(array.shape))) / run.space.resolution
    z, _ = run.variant.latent(torch.as_tensor(v).to(run.mean))
    return run.variant.axes(z).cpu().numpy().astype(np.float64)


def _hears(variant: Variant) -> bool:
    """Return whether a latent belongs to a sound and not to a preset."""
    return variant.predicts and not variant.invertible


def classes(values: ArrayLike, n: int = CLASSES) -> Float:
    """Cut numbers into classes of equal size.

    Args:
        values: Shape (n_presets,); NaN where there is none.
        n: Number of classes.

    Returns:
        From 0 to n − 1, in the order of the numbers, NaN where there is none; shape (n_presets,).
        Equal numbers are in one class.
    """
    array = numbers("values", values, np.float64)
    known = np.isfinite(array)
    found = np.full(len(array), np.nan)
    if known.any():
        edges = np.quantile(array[known], np.arange(1, n) / n)
        found[known] = np.searchsorted(edges, array[known], side="right")
    return found


def entropy(factor: ArrayLike) -> float:
    """Return the entropy of classes (n_presets,) in nats, NaN left out; 0 if there are none."""
    array = numbers("values", factor, np.float64)
    counts = np.unique(array[np.isfinite(array)], return_counts=True)[1]
    return float(stats.entropy(counts)) if len(counts) else 0.0


def information(coordinates: ArrayLike, factor: ArrayLike) -> Float:
    """Estimate the mutual information of each coordinate with classes.

    By distances to the nearest neighbours of the same class, which needs no bins (scikit-learn's
    ``mutual_info_classif``).

    Args:
        coordinates: Shape (n_presets, n_coordinates).
        factor: Class of each preset, NaN where unknown, shape (n_presets,).

    Returns:
        Nats, at least 0, shape (n_coordinates,); NaN if fewer than two classes have more than one
        preset.

    References:
        Ross, 2014, "Mutual information between discrete and continuous data sets",
        https://doi.org/10.1371/journal.pone.0087357.
    """
    from sklearn.feature_selection import mutual_info_classif

    u, y = numbers("values", coordinates, np.float64), numbers("values", factor, np.float64)
    known = np.isfinite(y)
    if (np.unique(y[known], return_counts=True)[1] > 1).sum() < 2:
        return np.full(u.shape[1], np.nan)
    return np.asarray(
        mutual_info_classif(
            u[known], y[known].astype(int), discrete_features=False, n_neighbors=NEIGHBOURS,
            random_state=0,  # of the tiny noise that separates equal coordinates
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
    best = np.sort(numbers("values", shared, np.float64), axis=0)
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
    array = numbers("values", shared, np.float64)
    own = array.diagonal()
    others = np.array([np.delete(column, k).max() for k, column in enumerate(array.T)])
    return _share(own - others, entropies)


def _share(nats: Float, entropies: ArrayLike) -> Float:
    """Divide by entropies; NaN where they are 0."""
    whole = numbers("values", entropies, np.float64)
    return np.divide(nats, whole, out=np.full_like(whole, np.nan), where=whole > 0)


def or_none(number: float) -> float | None:
    """Return a number JSON-ready; None if it is none."""
    return float(number) if np.isfinite(number) else None


def _gaps(coordinates: Float, descriptors: Float, labels: Float) -> tuple[Float, float]:
    """Return the gap of each tag, shape (n_tags,), and that of all together.

    The factor of a tag is its descriptor in classes, or the tag's own classes if it has none.
    """
    pairs = zip(descriptors.T, labels.T, strict=True)
    factors = [classes(d) if np.isfinite(d).any() else label for d, label in pairs]
    shared = np.stack([information(coordinates, factor) for factor in factors], axis=1)
    entropies = [entropy(factor) for factor in factors]
    if len(shared) < 2:
        return np.full(len(factors), np.nan), np.nan
    return own_gaps(shared, entropies), mutual_information_gap(shared, entropies)


def _largest_other(matrix: Float) -> Float:
    """Return the largest absolute entry of each row beside the diagonal, NaN left out."""
    found = np.abs(matrix)
    np.fill_diagonal(found, np.nan)
    return np.max(found, axis=1, initial=0.0, where=np.isfinite(found))


def _ends(axis: Float, label: Float, n_classes: int) -> float:
    """Return how well an axis tells presets of the first class from those of the last."""
    last = label == n_classes - 1
    either = last | (label == 0)
    return auc(axis[either], last[either])
