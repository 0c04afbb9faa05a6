"""A batch whose rows are split over processes, learnt from as if one process had them all.

Rows of a batch are not independent: noise is drawn for all of them by one generator, batch norm
takes their mean, and scores compare them in pairs. Here each of these is made that of the whole
batch, so that any number of processes takes the same step.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, distributed
from torch.nn.functional import batch_norm, dropout
from torch.overrides import TorchFunctionMode

from pyrosynth.modeling.distributions import NOISE, NOISE_LIKE

_split: ContextVar[tuple[int, int] | None] = ContextVar("split", default=None)


class _Sum(torch.autograd.Function):
    """The sum of a tensor over the processes, whose losses are summed as well."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Add up."""
        total = x.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Add up what each process makes of the sum."""
        return _Sum.apply(gradient)


def whole_batch(rows: Tensor) -> Tensor:
    """Return the rows of the whole batch, those of all processes one after the other.

    A score that compares the rows of a batch has to ask for them; within one process nothing
    happens. Gradients go back to the process that a row came from.

    Args:
        rows: Rows of this process, shape (n, ...).

    Returns:
        Shape (n_processes * n, ...).
    """
    split = _split.get()
    if split is None:
        return rows
    rank, n = split
    whole = [torch.zeros_like(rows)] * n
    whole[rank] = rows
    return _Sum.apply(torch.cat(whole))


@contextmanager
def split_batch(rank: int, n_processes: int, n_rows: int) -> Iterator[None]:
    """Take rows to be one of several equal parts of a batch, in this thread, while this lasts.

    Noise is drawn for the whole batch from a generator that all processes have seeded alike, and
    each keeps what belongs to its rows. Batch norm uses the mean and variance of the whole batch.
    The rows lie along the first axis of their number, else along the first that is a multiple of
    it: draws of the same rows one after the other.

    Args:
        rank: Number of this process.
        n_processes: Number of processes.
        n_rows: Number of rows that each has.
    """
    token = _split.set((rank, n_processes))
    try:
        with _Split(rank, n_processes, n_rows):
            yield
    finally:
        _split.reset(token)


class _Split(TorchFunctionMode):
    """Widens what is drawn or averaged over rows to those of all processes."""

    def __init__(self, rank: int, n_processes: int, n_rows: int) -> None:
        super().__init__()
        self.rank, self.n, self.n_rows = rank, n_processes, n_rows

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is batch_norm:
            return self._batch_norm(*args, **kwargs)
        if func in NOISE_LIKE:
            tensor, func = args[0], NOISE_LIKE[func]
            kwargs = {"dtype": tensor.dtype, "device": tensor.device, **kwargs}
            args = (tuple(tensor.shape),)
        if func not in NOISE and func is not dropout:
            return func(*args, **kwargs)
        if args and all(isinstance(size, int) for size in args) and func is not torch.randint:
            args = (args,)  # a shape, size by size
        drawn = func(*map(self._widened, args), **{k: self._widened(v) for k, v in kwargs.items()})
        axis = self._axis(drawn.shape, self.n * self.n_rows)
        if axis is not None:
            draws = drawn.unflatten(axis, (-1, self.n, self.n_rows))
            drawn = draws.select(axis + 1, self.rank).flatten(axis, axis + 1)
        in_place = func.__name__.endswith("_") and not func.__name__.startswith("_")
        return args[0].copy_(drawn) if in_place else drawn

    def _axis(self, shape: Any, n_rows: int) -> int | None:
        """Return the axis of the rows, None if there is none."""
        sizes = list(shape)
        if n_rows in sizes:
            return sizes.index(n_rows)
        return next((i for i, size in enumerate(sizes) if size and size % n_rows == 0), None)

    def _widened(self, value: Any) -> Any:
        """Return a shape or a tensor with the rows of all processes; anything else as it is."""
        shape = value.shape if isinstance(value, Tensor) else value
        axis = self._axis(shape, self.n_rows) if isinstance(shape, tuple | list) else None
        if axis is None:
            return value
        if isinstance(value, Tensor):
            rows = value.unflatten(axis, (-1, 1, self.n_rows))
            sizes = list(rows.shape)
            sizes[axis + 1] = self.n
            return rows.expand(sizes).flatten(axis, axis + 2)
        return (*value[:axis], self.n * value[axis], *value[axis + 1 :])

    def _batch_norm(
        self, x: Tensor, running_mean: Tensor, running_var: Tensor, weight: Tensor | None = None,
        bias: Tensor | None = None, training: bool = False, momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor:  # fmt: skip
        """Normalise by the mean and variance of the whole batch."""
        if not training:
            return batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
        axes = [axis for axis in range(x.dim()) if axis != 1]
        n = self.n * x.numel() // x.shape[1]
        each = [1, -1] + [1] * (x.dim() - 2)
        mean = _Sum.apply(x.sum(axes)) / n
        away = x - mean.reshape(each)
        variance = _Sum.apply(away.square().sum(axes)) / n
        with torch.no_grad():
            running_mean.lerp_(mean, momentum)
            running_var.lerp_(variance * (n / (n - 1)), momentum)
        y = away * (variance + eps).rsqrt().reshape(each)
        if weight is not None and bias is not None:
            y = y * weight.reshape(each) + bias.reshape(each)
        return y
