"""Several processes that take each step of a fit together, on one GPU or processor each.

``torchrun`` starts them. Each learns from its part of every batch, and the gradients are averaged,
so that all have the same weights: those that one process would have, but for rounding.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

from pyrosynth.errors import InputError, PyrosynthError, counted, reason
from pyrosynth.modeling.whole_batch import split_batch

BACKENDS = "cpu:gloo,cuda:nccl"
ONE_FIT = threading.RLock()  # at a time: torch's random numbers and Pyro are those of all threads
PATIENCE = 2.0  # seconds in which the first process says what is wrong with all

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """The processes of a fit, as one of them sees them.

    Args:
        rank: Number of this one.
        n: How many there are.
    """

    rank: int = 0
    n: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the first one: that alone writes, reports and validates."""
        return self.rank == 0

    def rows_each(self, batch_size: int) -> int:
        """Return how many rows of a batch each process has.

        Raises:
            InputError: They cannot have equally many.
        """
        if batch_size % self.n:
            raise InputError(
                f"batches of {counted(batch_size, 'preset')} "
                f"cannot be split evenly over {self.n} processes; "
                f"give --batch-size {max(1, batch_size // self.n) * self.n}, or another number of "
                "processes"
            )
        return batch_size // self.n

    def part(self, rows: Tensor) -> Tensor:
        """Return the rows of this process, shape (batch_size / n,)."""
        return rows.chunk(self.n)[self.rank]

    def split(self, n_rows: int) -> AbstractContextManager[None]:
        """Learn from n rows here as a part of the whole batch, see `split_batch`."""
        return split_batch(self.rank, self.n, n_rows) if self.n > 1 else nullcontext()

    def mean(self, loss: Tensor, parameters: Iterable[Tensor]) -> Tensor:
        """Average gradients over the processes, in place, and return the average of the loss."""
        if self.n == 1:
            return loss
        gradients = [p.grad for p in parameters if p.grad is not None]
        everything = torch.cat([loss.reshape(1), *(g.flatten() for g in gradients)])
        distributed.all_reduce(everything)
        everything /= self.n
        loss, *means = everything.split([1, *(g.numel() for g in gradients)])
        for gradient, mean in zip(gradients, means, strict=True):
            gradient.copy_(mean.view_as(gradient))
        return loss.squeeze(0)

    def of_first(self, find: Callable[[], T]) -> T:
        """Let the first process find something, and return it in all; the others wait."""
        if self.n == 1:
            return find()
        found: list[Any] = [find() if self.leads else None]
        distributed.broadcast_object_list(found, src=0, device=torch.device("cpu"))
        return found[0]

    def any(self, flag: bool) -> bool:
        """Tell whether a flag is true in some process."""
        if self.n == 1:
            return flag
        flags = torch.tensor([float(flag)])
        distributed.all_reduce(flags)
        return bool(flags.item())

    def copy_first(self, module: nn.Module) -> None:
        """Give a module of all processes the weights and buffers that it has in the first one."""
        if self.n > 1:
            for tensor in module.state_dict().values():
                distributed.broadcast(tensor, 0)


ALONE = Processes()


def leads() -> bool:
    """Tell whether this process is the only one, or the first that ``torchrun`` has started."""
    return not distributed.is_torchelastic_launched() or os.environ.get("RANK", "0") == "0"


def device_of_process(device: str) -> str:
    """Return the device of this process: of those that ``torchrun`` starts each has its GPU."""
    several = device == "cuda" and distributed.is_torchelastic_launched()
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if several else device


@contextmanager
def joined(device: str) -> Iterator[Processes]:
    """Join the processes that ``torchrun`` has started, or wait for other fits of this process.

    Args:
        device: That of this process.
    """
    if distributed.is_initialized() or not distributed.is_torchelastic_launched():
        with ONE_FIT:
            yield ALONE
        return
    with torch.cuda.device(device) if device.startswith("cuda") else nullcontext():
        try:
            distributed.init_process_group(BACKENDS if torch.cuda.is_available() else "gloo")
        except (RuntimeError, ValueError) as error:
            raise InputError(
                f"torchrun's other processes cannot be joined ({reason(error)}); start them by "
                "torchrun, or unset TORCHELASTIC_RUN_ID"
            ) from error
        processes = Processes(distributed.get_rank(), distributed.get_world_size())
        try:
            yield processes
        except PyrosynthError:
            # What is wrong here is mostly wrong everywhere: the first one says it, ends, and so
            # makes torchrun end the others.
            time.sleep(0 if processes.leads else PATIENCE)
            raise
        finally:
            distributed.destroy_process_group()
