"""The sizes a variant is built for, and the batches it reads."""

from dataclasses import dataclass

from torch import Tensor

Batch = dict[str, Tensor]
"""``x`` (batch, n_mels, n_frames), ``v`` (batch, n_params) and, unless every row knows its
``v``, ``has_v`` (batch,) bool; where unknown, ``v`` holds any legal numbers. With tags,
``label_mask`` (batch, n_tags, n_classes) bool, see `pyrosynth.data.tags`."""


@dataclass(frozen=True)
class Dims:
    """The sizes a variant is built for.

    Args:
        n_params: Number of synth parameters learnt.
        x_shape: (n_mels, n_frames) of the features.
        resolution: Number of levels of each parameter; empty where nobody needs to know.
        tags: Names of the tags, none by default.
        classes: Names of the classes of each tag.
    """

    n_params: int
    x_shape: tuple[int, int]
    resolution: tuple[int, ...] = ()
    tags: tuple[str, ...] = ()
    classes: tuple[tuple[str, ...], ...] = ()
