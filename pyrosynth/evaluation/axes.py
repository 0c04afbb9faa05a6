"""How well the axes of a variant follow their tags, and steering along them.

Measured on held-out presets: whether an axis tells the words of its tag apart, whether it follows
the number behind the tag, what else it follows, and whether the other coordinates have kept their
spread, which an objective that is not a density makes them lose. `pyrosynth.evaluation.sweeps`
plays
what lies along them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from pyrosynth.audio.descriptors import describe_features
from pyrosynth.audio.features import FeatureSpec
from pyrosynth.data.dataset import Dataset
from pyrosynth.data.tags import TagTable
from pyrosynth.errors import InputError
from pyrosynth.evaluation.disentanglement import (
    classes,
    entropy,
    information,
    mutual_information_gap,
    own_gaps,
)
from pyrosynth.inference.posterior import Posterior
from pyrosynth.statistics import auc, spearman
from pyrosynth.synths.rendering import RenderResult
from pyrosynth.training.run import Run

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Axes:
    """How the coordinates of presets agree with what is known of them.

    Attributes:
        tags: Names of the tags.
        auc: How well each axis tells the first word of its tag from the last, see `auc`.
        follows: Rank correlation of each axis (rows) with the number behind each tag (columns);
            NaN where there is none.
        related: Rank correlation of these numbers with each other, the least that can leak.
        gap: How much more the axis of each tag knows of its number than any other coordinate
            does, see `pyrosynth.evaluation.disentanglement.own_gaps`; of the words where there is
            no number.
        gap_of_numbers: The same where the numbers themselves are the axes: related as they are,
            no axes that follow them could have a wider gap. NaN where there is none.
        mig: The mutual information gap of all coordinates, see
            `pyrosynth.evaluation.disentanglement.mutual_information_gap`.
        spread: Standard deviation of each of the other coordinates, of presets somewhere within
            their levels, as the model has them; 1 in the model.
        n_presets: Number of presets.
    """

    tags: tuple[str, ...]
    auc: Float
    follows: Float
    related: Float
    gap: Float
    gap_of_numbers: Float
    mig: float
    spread: Float
    n_presets: int

    def to_json(self) -> dict[str, Any]:
        """Return the figures by tag, and the least and largest spread; NaN as None."""
        columns = {
            "auc": self.auc,
            "spearman": self.follows.diagonal(),
            "leakage": _largest_other(self.follows),
            "related": _largest_other(self.related),
            "gap": self.gap,
            "gap_of_numbers": self.gap_of_numbers,
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


def measure(run: Run, dataset: Dataset, truth: TagTable, split: str = "test") -> Axes:
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
        InputError: The run has no axes of tags, or the truth lacks one of them.
    """
    rows = dataset.rows(split, human_only=True)
    names = run.variant.dims.tags
    lacking = [name for name in names if name not in truth.names]
    if lacking:
        raise InputError(
            f"the run has an axis for {', '.join(lacking)}, the tags are {', '.join(truth.names)}"
            "; give the tags it was fitted with"
        )
    columns = [truth.names.index(name) for name in names]
    levels = dataset.levels(rows)
    u, within = coordinates(run, levels), coordinates(run, levels, np.random.default_rng(0))
    n_words = [len(truth.tags[i].classes) for i in columns]
    labels = truth.labels[rows][:, columns]
    numbers = np.full(labels.shape, np.nan)
    if truth.descriptors is not None:
        numbers = truth.descriptors[rows][:, columns]
    steered, free = u[:, : len(names)], within[:, len(names) :]
    gap, mig = _gaps(u, numbers, labels)
    of_numbers, _ = _gaps(np.nan_to_num(numbers), numbers, np.full(labels.shape, np.nan))
    return Axes(
        tags=names,
        auc=np.array(list(map(_ends, steered.T, labels.T, n_words))),
        follows=np.array([[spearman(axis, number) for number in numbers.T] for axis in steered.T]),
        related=np.array([[spearman(a, b) for b in numbers.T] for a in numbers.T]),
        gap=gap,
        gap_of_numbers=of_numbers,
        mig=mig,
        spread=free.std(axis=0),
        n_presets=len(rows),
    )


def require_axes(run: Run) -> None:
    """Make sure that a run has axes of tags and can place presets on them.

    Raises:
        InputError: It has none.
    """
    coordinates(run, np.zeros((1, len(run.space)), np.int64))


@torch.no_grad()
def coordinates(run: Run, levels: ArrayLike, rng: np.random.Generator | None = None) -> Float:
    """Return the coordinates of presets, those of the tags first.

    Args:
        run: The run; of a variant with axes of tags in which a preset determines its latent.
        levels: Level of each learnt parameter, shape (n, n_params).
        rng: Where within its level a parameter is; without it, in the middle.

    Returns:
        Shape (n, latent_dim).

    Raises:
        InputError: The variant has no axes of tags, or a preset does not determine its latent.
    """
    array = np.asarray(levels)
    v = (array + (0.5 if rng is None else rng.random(array.shape))) / run.space.resolution
    z, _ = run.variant.latent(torch.as_tensor(v).to(run.mean))
    return run.variant.axes(z).cpu().numpy().astype(np.float64)


@torch.no_grad()
def steer(posterior: Posterior, values: ArrayLike, tag: str, amount: ArrayLike) -> Float:
    """Move presets along the axis of a tag, and keep what the other axes hold.

    Args:
        posterior: A run of a variant with axes of tags.
        values: Native values of all parameters, shape (n, n_params).
        tag: Name of the tag.
        amount: How far, in spreads of the axis; positive towards the last word. A number, or an
            array that broadcasts with shape (n,), such as (k, 1) for k steps of each.

    Returns:
        Native values of the presets there, shape (n, n_params) or (..., n, n_params); parameters
        that were not learnt are at their defaults.

    Raises:
        InputError: The tag is unknown, or the variant has no axes of tags.
    """
    run = posterior.run
    v = torch.as_tensor(run.space.encode(posterior.learnt(values))).to(run.mean)
    step = torch.as_tensor(np.asarray(amount)).to(run.mean)
    z = run.variant.steer(run.variant.latent(v)[0], tag, step)
    return posterior.complete(run.space.decode(run.variant.params_of(z).cpu().numpy()))


def described(rendered: RenderResult, spec: FeatureSpec) -> Float:
    """Describe rendered sounds, see `pyrosynth.audio.descriptors.describe_features`.

    Args:
        rendered: Sounds with their features.
        spec: What the features are.

    Returns:
        Shape (n, 5), NaN where there is no sound.
    """
    assert rendered.features is not None
    numbers = describe_features(rendered.features, spec)
    numbers[rendered.reason != ""] = np.nan
    return numbers


def or_none(number: float) -> float | None:
    """Return a number JSON-ready; None if it is none."""
    return float(number) if np.isfinite(number) else None


def _gaps(coordinates: Float, numbers: Float, labels: Float) -> tuple[Float, float]:
    """Return the gap of each tag, shape (n_tags,), and that of all together.

    The factor of a tag is its number in classes, or the words if it has none.
    """
    pairs = zip(numbers.T, labels.T, strict=True)
    factors = [classes(n) if np.isfinite(n).any() else label for n, label in pairs]
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


def _ends(axis: Float, label: Float, n_words: int) -> float:
    """Return how well an axis tells presets of the first word from those of the last."""
    last = label == n_words - 1
    either = last | (label == 0)
    return auc(axis[either], last[either])
