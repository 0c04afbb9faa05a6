"""The data a fit reads: on its device once, turned into batches there."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from pyrosynth.data.tags import Tag, TagTable
from pyrosynth.modeling import Batch, Dims
from pyrosynth.synths.params import EDGE

if TYPE_CHECKING:
    from pyrosynth.data.dataset import Dataset


@dataclass(frozen=True)
class TrainData:
    """Sounds and the levels of the parameters that made them.

    Args:
        x: Log-mel features, shape (n, n_mels, n_frames), float16 or float32.
        levels: Level of each parameter, shape (n, n_params), any integer type.
        resolution: Number of levels of each parameter, shape (n_params,).
        mean: Mean of each cell over the train split, shape (n_mels, n_frames).
        std: Standard deviation of each cell over the train split, same shape.
        train: Numbers of the rows to train on.
        valid: Numbers of the held-out rows; may be empty.
        has_v: Which rows know their parameters, shape (n,) bool; None when all do.
        tags: The tags; none by default.
        label_mask: Which classes may hold, shape (n, n_tags, n_classes) bool, see
            `pyrosynth.data.tags`.
    """

    x: Tensor
    levels: Tensor
    resolution: Tensor
    mean: Tensor
    std: Tensor
    train: Tensor
    valid: Tensor
    has_v: Tensor | None = None
    tags: tuple[Tag, ...] = ()
    label_mask: Tensor | None = None
    buffer_chunks: ClassVar[None] = None  # all is in memory, see `pyrosynth.training.stream`

    @classmethod
    def from_dataset(cls, dataset: "Dataset", tags: TagTable | None = None) -> "TrainData":
        """Read the train split, and the human presets of the valid split, into memory."""
        train = dataset.rows("train")
        rows = np.concatenate([train, dataset.rows("valid", human_only=True)])
        return cls(
            x=torch.from_numpy(dataset.x(rows, np.float16)),
            levels=torch.from_numpy(dataset.levels(rows).astype(np.int16)),
            resolution=torch.tensor(dataset.space.resolution).float(),
            mean=torch.tensor(dataset.mean),
            std=torch.tensor(dataset.std),
            train=torch.arange(len(train)),
            valid=torch.arange(len(train), len(rows)),
            tags=tags.tags if tags else (),
            label_mask=torch.from_numpy(tags.label_mask[rows]) if tags else None,
        )

    @property
    def dims(self) -> Dims:
        """The sizes a variant for these data is built for."""
        shape = self.x.shape[1], self.x.shape[2]
        resolution = tuple(self.resolution.int().tolist())
        names, classes = tuple(t.name for t in self.tags), tuple(t.classes for t in self.tags)
        return Dims(self.levels.shape[1], shape, resolution, names, classes)

    @property
    def n_train(self) -> int:
        """Number of the rows to train on."""
        return len(self.train)

    @contextmanager
    def batches(self, device: torch.device, batch_size: int, seed: int) -> Iterator["Batches"]:
        """Move the data to a device, to be learnt from there.

        Args:
            device: The device.
            batch_size: Presets per step, at most as many as there are to train on.
            seed: Of the order of the rows.
        """
        yield Batches(self.to(device), batch_size, seed)

    def to(self, device: torch.device) -> "TrainData":
        """Move everything to a device."""
        moved: dict[str, Any] = {
            name: t.to(device) for name, t in vars(self).items() if isinstance(t, Tensor)
        }
        return replace(self, **moved)

    def fingerprint(self) -> str:
        """Return a hash of the sizes, the split and the statistics, not of every sound."""
        digest = hashlib.sha256(str(tuple(self.x.shape)).encode())
        for tensor in (self.resolution, self.mean, self.std, self.train, self.valid):
            digest.update(tensor.cpu().numpy().tobytes())
        if self.label_mask is not None:
            digest.update(
                TagTable(self.tags, self.label_mask.cpu().numpy()).fingerprint().encode()
            )
        return digest.hexdigest()

    def standardised(self, rows: Tensor) -> Tensor:
        """Return the standardised features of rows, shape (n, n_mels, n_frames), float32."""
        return (self.x[rows].float() - self.mean) / self.std

    def batch(self, rows: Tensor) -> Batch:
        """Gather rows, standardise their features and dequantise their levels afresh.

        Args:
            rows: Row numbers, shape (batch,).

        Returns:
            The batch, float32. Its noise comes from torch's generator of the device.
        """
        levels = self.levels[rows].float()
        v = ((levels + torch.rand_like(levels)) / self.resolution).clamp(EDGE, 1 - EDGE)
        batch = {"x": self.standardised(rows), "v": v}
        if self.has_v is not None:
            batch["has_v"] = self.has_v[rows]
        if self.label_mask is not None:
            batch["label_mask"] = self.label_mask[rows]
        return batch


class Batches:
    """The batches of a fit whose data lie on its device: each epoch goes through all rows.

    The rows of a step depend on the seed and the step's number alone.

    Args:
        data: The data, on the device.
        batch_size: Presets per step; what an epoch has left over is left out.
        seed: Of the order of the rows.
    """

    def __init__(self, data: TrainData, batch_size: int, seed: int) -> None:
        self.data, self.batch_size, self.seed = data, batch_size, seed
        self.per_epoch = data.n_train // batch_size
        self._epoch, self._order = -1, data.train

    def first(self, n: int) -> Tensor:
        """Return n training rows drawn at random, or all, to be looked at before a fit."""
        rng = torch.Generator().manual_seed(seed_of(self.seed, 3, 0))
        rows = torch.randperm(self.data.n_train, generator=rng)[:n]
        return self.data.train[rows.to(self.data.train.device)]

    def __call__(self, step: int) -> Tensor:
        """Return the numbers of the rows of a step, counted from 0, shape (batch_size,)."""
        epoch, i = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            rng = torch.Generator().manual_seed(seed_of(self.seed, 0, epoch))
            rows = torch.randperm(self.data.n_train, generator=rng)
            self._epoch, self._order = epoch, self.data.train[rows.to(self.data.train.device)]
        return self._order[i * self.batch_size :][: self.batch_size]


def seed_of(*numbers: int) -> int:
    """Mix numbers into the seed of one stream of random numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
