"""What is known of the tags of human presets, and of the descriptors behind them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pyrosynth.data.dataset import Dataset
from pyrosynth.data.labeling import descriptor_tags
from pyrosynth.data.tags import TagTable, read_tags
from pyrosynth.statistics import spearman

Float = NDArray[np.float64]
LEAST = 10  # presets that tell which way the classes of a tag go


def known_tags(
    dataset: Dataset, tags: str | Path | None = None, progress: bool = True
) -> TagTable:
    """Return what is known of the tags of human presets, no label hidden.

    Args:
        dataset: The presets.
        tags: CSV file; a tag in it that is called like one made from the sounds gets its
            descriptor. Without, the tags are those made from the sounds.
        progress: Whether to show a progress bar.
    """
    described = descriptor_tags(dataset, human_only=True, progress=progress)
    if tags is None:
        return described
    given = read_tags(tags, dataset)
    assert described.descriptors is not None
    descriptors = np.full((len(given), len(given.tags)), np.nan)
    for i, name in enumerate(given.names):
        if name in described.names:
            descriptors[:, i] = described.descriptors[:, described.names.index(name)]
    return replace(given, descriptors=descriptors)


def directions(truth: TagTable) -> Float:
    """Return for each tag whether its classes rise with the descriptor behind it, 1, or fall, −1.

    The classes of a tag may be headed from bright to dark as well as from dark to bright; of
    those of which fewer than ten presets tell, and of tags without a descriptor, they count as
    rising.
    """
    assert truth.descriptors is not None
    ways = np.ones(len(truth.tags))
    for i, (labels, values) in enumerate(zip(truth.labels.T, truth.descriptors.T, strict=True)):
        known = np.isfinite(labels) & np.isfinite(values)
        if known.sum() >= LEAST and spearman(labels[known], values[known]) < 0:
            ways[i] = -1.0
    return ways
