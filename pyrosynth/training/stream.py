"""Training sounds that do not fit in memory, read from the dataset while a fit learns.

An epoch takes the chunks of the dataset in an order of its own, a buffer of them after the other,
and shuffles the rows of each buffer. While one buffer is learnt from, threads read the next. So
all rows of a buffer meet in batches, and rows of different buffers in other epochs: with hundreds
of chunks to a buffer, a batch is nearly drawn at random from the whole dataset; with eight it
comes from eight stretches of it.
"""

import hashlib
import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyrosynth.data.dataset import Dataset, Rows
from pyrosynth.data.tags import TagTable
from pyrosynth.errors import InputError
from pyrosynth.training.batches import TrainData, seed_of
from pyrosynth.training.memory import free_memory, memory_text, parse_memory

LEAST_CHUNKS = 8  # in a buffer: the rows of fewer would hardly be mixed
READERS = 4  # threads
STAGED = 16  # chunks on their way to a GPU


def buffer_size(
    dataset: Dataset, tags: TagTable | None, memory: int | str | None = None,
    device: str = "cpu", begun: Mapping[str, Any] | None = None,
) -> int | None:  # fmt: skip
    """Return how many chunks a buffer may have, None if all sounds fit in memory.

    Args:
        dataset: The dataset.
        tags: Tags of its presets.
        memory: What the sounds may take, see `pyrosynth.training.memory.parse_memory`; if left
            out, three quarters of what is free, or what the stopped fit took.
        device: Where they are learnt from.
        begun: Settings of the stopped fit that goes on.
    """
    if memory is None and begun is not None:
        return begun.get("buffer_chunks")
    most = free_memory(torch.device(device)) if memory is None else parse_memory(memory)
    if memory_of(dataset, tags, len(dataset.rows("train"))) <= most:
        return None
    held = memory_of(dataset, tags, 0)
    a_chunk_twice = memory_of(dataset, tags, 2 * dataset.chunk_rows) - held
    return max(1, (most - held) // a_chunk_twice)


def training_data(
    dataset: Dataset, tags: TagTable | None, buffer_chunks: int | None
) -> "TrainData | StreamedData":
    """Read the sounds of a dataset into memory, or see to it that they are read in a fit.

    Args:
        dataset: The dataset.
        tags: Tags of its presets.
        buffer_chunks: Chunks in a buffer, None for all sounds in memory.
    """
    if buffer_chunks is None:
        return TrainData.from_dataset(dataset, tags)
    return StreamedData(dataset, tags, buffer_chunks)


def memory_of(dataset: Dataset, tags: TagTable | None, n: int) -> int:
    """Return the bytes of n training sounds and of those of the valid split."""
    row = 2 * dataset.mean.size + 2 * len(dataset.space)
    row += tags.label_mask[0].size if tags else 0
    return row * (n + len(dataset.rows("valid", human_only=True)))


def least_buffer(sizes: Sequence[int], batch_size: int) -> int:
    """Return the least number of chunks for a buffer, none of which is smaller than a batch.

    Args:
        sizes: Number of training rows of each chunk.
        batch_size: Presets per step.
    """
    held = np.cumsum(sorted(sizes))
    for least in range(min(LEAST_CHUNKS, len(sizes)), len(sizes)):
        n_buffers = -(-len(sizes) // least)
        if held[len(sizes) // n_buffers - 1] >= batch_size:
            return least
    return len(sizes)


class StreamedData:
    """The training sounds of a dataset, of which two buffers are in memory at a time.

    Args:
        dataset: The dataset. Sounds of its valid split, human ones only, stay in memory.
        tags: Tags of its presets.
        buffer_chunks: Number of chunks in a buffer.

    Attributes:
        chunks: The training rows of each chunk that has some.
        n_buffers: Number of buffers in an epoch, of nearly as many chunks each.
    """

    def __init__(self, dataset: Dataset, tags: TagTable | None, buffer_chunks: int) -> None:
        """Find the training rows of each chunk; nothing else is read yet."""
        self.dataset, self.tags, self.buffer_chunks = dataset, tags, buffer_chunks
        train, self.valid = dataset.rows("train"), dataset.rows("valid", human_only=True)
        self.chunks = np.split(train, np.flatnonzero(np.diff(train // dataset.chunk_rows)) + 1)
        self.n_train = len(train)
        self.n_buffers = -(-len(self.chunks) // buffer_chunks)

    @property
    def n_bytes(self) -> int:
        """Bytes that two buffers and the validation rows take."""
        rows = 2 * self.buffer_chunks * self.dataset.chunk_rows
        return memory_of(self.dataset, self.tags, rows)

    def fingerprint(self) -> str:
        """Return a hash of the sizes, the split and the statistics, not of every sound."""
        dataset = self.dataset
        arrays = dataset.space.resolution, dataset.mean, dataset.std, *self.chunks, self.valid
        digest = hashlib.sha256(str(len(dataset)).encode())
        for array in arrays:
            digest.update(np.ascontiguousarray(array).tobytes())
        digest.update(self.tags.fingerprint().encode() if self.tags else b"")
        return digest.hexdigest()

    @contextmanager
    def batches(
        self, device: torch.device, batch_size: int, seed: int
    ) -> Iterator["StreamedBatches"]:
        """Start to read; the arguments are those of `TrainData.batches`.

        Raises:
            InputError: Buffers are too small.
        """
        least = least_buffer([*map(len, self.chunks)], batch_size)
        if self.buffer_chunks < least:
            rows = min(2 * least * self.dataset.chunk_rows, self.n_train)  # or all of them
            size = memory_text(memory_of(self.dataset, self.tags, rows))
            raise InputError(
                f"too little memory for the sounds: batches of {batch_size} of this dataset take "
                f"at least {size}, two buffers of {least} chunks; give --memory {size} or more"
            )
        with ThreadPoolExecutor(min(READERS, os.cpu_count() or 1), "pyrosynth-read") as readers:
            try:
                yield StreamedBatches(self, device, batch_size, seed, readers)
            finally:
                readers.shutdown(cancel_futures=True)

    def read(self, rows: Rows, into: "list[NDArray[Any]]") -> None:
        """Read features, levels, and label masks if there are tags, into arrays."""
        np.copyto(into[0], self.dataset.x(rows, np.float16))
        np.copyto(into[1], self.dataset.levels(rows), casting="same_kind")
        if self.tags:
            np.copyto(into[2], self.tags.label_mask[rows])


class _Buffer:
    """A buffer that is being read.

    Args:
        order: Places of its rows in the order in which they are learnt, shape (n,).
        todo: What is still to be read: the rows of a chunk, and the place of the first.
    """

    def __init__(self, order: Tensor, todo: list[tuple[Rows, int]]) -> None:
        self.order, self.todo = order, deque(todo)
        self.reading: deque[tuple[Future[None], int, int, list[Tensor]]] = deque()


class StreamedBatches:
    """The batches of a fit whose data are read meanwhile.

    The rows of a step depend on the seed, the step's number and the size of a buffer alone. A
    batch begins where the one before ended, be it in two buffers; what an epoch has left over is
    left out.

    Args:
        stream: The data.
        device: Where they are learnt from.
        batch_size: Presets per step.
        seed: Of the order of the rows.
        readers: Threads that read.

    Attributes:
        data: Two buffers and the validation rows, as if they were all data. Its ``train`` is
            empty: which places hold what changes.
    """

    def __init__(
        self, stream: StreamedData, device: torch.device, batch_size: int, seed: int,
        readers: ThreadPoolExecutor,
    ) -> None:  # fmt: skip
        self.stream, self.batch_size, self.seed, self.readers = stream, batch_size, seed, readers
        self.device, self.size = device, stream.buffer_chunks * stream.dataset.chunk_rows
        self.per_epoch = stream.n_train // batch_size
        valid, tags, dataset = stream.valid, stream.tags, stream.dataset
        n = 2 * self.size + len(valid)
        self.columns = self._columns(n, device)
        self.data = TrainData(
            x=self.columns[0],
            levels=self.columns[1],
            resolution=torch.tensor(dataset.space.resolution).float(),
            mean=torch.tensor(dataset.mean),
            std=torch.tensor(dataset.std),
            train=torch.arange(0),
            valid=torch.arange(2 * self.size, n),
            tags=tags.tags if tags else (),
            label_mask=self.columns[2] if tags else None,
        ).to(device)
        held = self._columns(len(valid), torch.device("cpu"))
        stream.read(valid, [column.numpy() for column in held])
        self._place(held, 2 * self.size)
        # A GPU copies from memory that the system cannot move; elsewhere threads write in place.
        self._free: list[list[Tensor]] = []
        self._copying: deque[tuple[torch.cuda.Event, list[Tensor]]] = deque()
        if device.type == "cuda":
            rows = dataset.chunk_rows
            self._free = [self._columns(rows, torch.device("cpu"), True) for _ in range(STAGED)]
        self._buffers: dict[int, _Buffer] = {}  # by number, counted over all epochs
        self._epoch, self._starts = -1, np.zeros(1, np.int64)

    def first(self, n: int) -> Tensor:
        """Return the first rows of the first buffer, n at most: chunks are in random order."""
        self._read_ahead(0)
        return self._whole(0).order[:n]

    def __call__(self, step: int) -> Tensor:
        """Return the places of the rows of a step, shape (batch_size,); steps only ascend."""
        epoch, i = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            sizes = [sum(map(len, chunks)) for chunks in self._parts(epoch)]
            self._epoch, self._starts = epoch, np.cumsum([0, *sizes])
        start, stop = i * self.batch_size, (i + 1) * self.batch_size
        first, last = (np.searchsorted(self._starts, (start, stop - 1), "right") - 1).tolist()
        self._read_ahead(epoch * self.stream.n_buffers + first)
        rows = []
        for part in range(first, last + 1):
            order = self._whole(epoch * self.stream.n_buffers + part).order
            offset = int(self._starts[part])
            rows.append(order[max(start - offset, 0) : stop - offset])
        return torch.cat(rows)

    def _parts(self, epoch: int) -> list[list[Rows]]:
        """Return the chunks of each buffer of an epoch."""
        rng = np.random.default_rng(seed_of(self.seed, 0, epoch))
        order = rng.permutation(len(self.stream.chunks))
        parts = np.array_split(order, self.stream.n_buffers)
        return [[self.stream.chunks[chunk] for chunk in part] for part in parts]

    def _read_ahead(self, number: int) -> None:
        """Forget the buffers before a number, and go on reading it, then the next."""
        self._buffers = {k: buffer for k, buffer in self._buffers.items() if k >= number}
        for k in (number, number + 1):
            self._go_on(self._buffer(k))
            if self._buffers[k].todo:  # all room for what is on its way is taken
                return

    def _buffer(self, number: int) -> _Buffer:
        """Return a buffer; at first, decide where its rows go and in which order they come."""
        if number in self._buffers:
            return self._buffers[number]
        epoch, part = divmod(number, self.stream.n_buffers)
        chunks = self._parts(epoch)[part]
        ends = np.cumsum([0, *map(len, chunks)]) + number % 2 * self.size
        rng = np.random.default_rng(seed_of(self.seed, 4, epoch, part))
        order = ends[0] + rng.permutation(ends[-1] - ends[0])
        todo = list(zip(chunks, ends[:-1].tolist(), strict=True))
        buffer = _Buffer(torch.from_numpy(order).to(self.device), todo)
        return self._buffers.setdefault(number, buffer)

    def _go_on(self, buffer: _Buffer, wait: bool = False) -> None:
        """Give threads what is to be read, and take what they have read.

        Args:
            buffer: The buffer.
            wait: Whether to wait for the chunk that is next.
        """
        on_gpu = self.device.type == "cuda"
        while self._copying and (self._copying[0][0].query() or (wait and not self._free)):
            event, room = self._copying.popleft()
            event.synchronize()
            self._free.append(room)
        while buffer.todo and (self._free or not on_gpu):
            rows, place = buffer.todo.popleft()
            room = self._free.pop() if on_gpu else [c[place:] for c in self.columns]
            into = [column[: len(rows)].numpy() for column in room]
            done = self.readers.submit(self.stream.read, rows, into)
            buffer.reading.append((done, len(rows), place, room))
        while buffer.reading and (wait or buffer.reading[0][0].done()):
            done, n, place, room = buffer.reading.popleft()
            done.result()
            wait = False
            if on_gpu:  # in the order of the stream: after all steps that read what was there
                self._place([column[:n] for column in room], place)
                event = torch.cuda.Event()
                event.record()
                self._copying.append((event, room))

    def _whole(self, number: int) -> _Buffer:
        """Wait until a buffer is read."""
        buffer = self._buffer(number)
        while buffer.todo or buffer.reading:
            self._go_on(buffer, wait=True)
        return buffer

    def _columns(self, n: int, device: torch.device, pinned: bool = False) -> list[Tensor]:
        """Return room for n rows of features, levels, and label masks if there are tags."""
        dataset, tags = self.stream.dataset, self.stream.tags
        kinds: list[tuple[tuple[int, ...], torch.dtype]] = [
            (dataset.mean.shape, torch.float16), ((len(dataset.space),), torch.int16),
        ]  # fmt: skip
        if tags:
            kinds.append((tags.label_mask.shape[1:], torch.bool))
        return [
            torch.zeros((n, *shape), dtype=dtype, device=device, pin_memory=pinned)
            for shape, dtype in kinds
        ]

    def _place(self, columns: list[Tensor], place: int) -> None:
        """Copy rows to their places."""
        for column, part in zip(self.columns, columns, strict=True):
            column[place : place + len(part)].copy_(part, non_blocking=True)
