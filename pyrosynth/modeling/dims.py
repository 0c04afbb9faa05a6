"""The sizes a variant is built for, and the batches it reads."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyrosynth.errors import InputError, counted, integer, numbers, require_type

Batch = dict[str, Tensor]
"""``x`` (batch, n_mels, n_frames), ``v`` (batch, n_params) and, unless every row knows its
``v``, ``has_v`` (batch,) bool; where unknown, ``v`` holds any legal numbers. With tags,
``label_mask`` (batch, n_tags, n_classes) bool, see `pyrosynth.data.tags`."""

DATA = {"x": "x", "v": "v", "t": "label_mask"}
"""The sites that have data, and their keys in a batch."""


@dataclass(frozen=True)
class Dims:
    """The sizes a variant is built for.

    Args:
        n_params: Number of synth parameters learnt.
        x_shape: (n_mels, n_frames) of the features.
        resolution: Number of levels of each parameter; empty where nobody needs to know.
        tags: Names of the tags, none by default.
        classes: Names of the classes of each tag.

    Raises:
        InputError: They are no sizes, or do not fit each other.
    """

    n_params: int
    x_shape: tuple[int, int]
    resolution: tuple[int, ...] = ()
    tags: tuple[str, ...] = ()
    classes: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        """Check the sizes."""
        integer("n_params", self.n_params, 1)
        require_type("x_shape", self.x_shape, (tuple, list), "(n_mels, n_frames)")
        for size in self.x_shape:
            integer(f"x_shape {self.x_shape!r} with", size, 1)
        for name in ("resolution", "tags", "classes"):
            require_type(f"{name} of dims", getattr(self, name), (tuple, list), "a tuple")
        sizes = len(self.x_shape), len(self.resolution), len(self.tags)
        if sizes[0] != 2 or sizes[1] not in (0, self.n_params) or sizes[2] != len(self.classes):
            raise InputError(
                f"sizes that do not fit: x_shape {self.x_shape} is (n_mels, n_frames), "
                f"{counted(sizes[1], 'resolution')} for {counted(self.n_params, 'parameter')}, "
                f"{counted(len(self.classes), 'list')} of classes for {counted(sizes[2], 'tag')}; "
                "give one of each"
            )

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> "Dims":
        """Rebuild them from their fields, whose tuples JSON has made lists."""
        return cls(**{name: _tuples(value) for name, value in facts.items()})


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def tensor_like(like: Tensor, what: str, values: Any, *, width: bool = False) -> Tensor:
    """Return numbers of torch, NumPy or Python as a tensor of another one's type and device.

    Args:
        like: The other one.
        what: What an error calls the numbers.
        values: The numbers; a tensor keeps its gradients.
        width: Whether their last axis must be as long as that of the other one.

    Raises:
        InputError: They are no numbers, or of another width.
    """
    given = values if isinstance(values, Tensor) else torch.tensor(numbers(what, values))
    if width and given.shape[-1:] != like.shape[-1:]:
        raise InputError(f"{what} have shape {tuple(given.shape)}; give (..., {like.shape[-1]})")
    return given.to(like)
