"""Kernels of a GPU, written in Triton: what those of couplings and of stacks share.

Layer by layer, a flow launches hundreds of kernels, each of which takes longer to start than to
run. `pyrosynth.modeling.coupling_kernels` and `pyrosynth.modeling.stack_kernels` do the same work
in a few. What they compute is defined by the plain code in `pyrosynth.modeling.flow_layers`,
which all other devices run; tests hold the two against each other.

Triton comes with torch's builds for CUDA. It is imported when the first kernel is wanted: that
takes a fifth of a second.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor

try:
    import triton
    from triton import language as tl
except ImportError:
    triton = tl = None


def jit(function: Callable[..., Any]) -> Any:
    """Compile a kernel when it is first launched, where Triton is installed."""
    return function if triton is None else triton.jit(function)


@contextmanager
def beside() -> Iterator[None]:
    """Launch kernels beside those that the stream in use gets afterwards.

    In a backward pass these are the gradients of weights, which the gradients of inputs need not
    wait for. What is read and written has to be held on to until `join`.
    """
    stream = torch.cuda.current_stream()
    other = _beside(stream)
    other.wait_stream(stream)
    with torch.cuda.stream(other):
        yield


def join() -> None:
    """Let the stream in use wait for what was launched `beside` it."""
    stream = torch.cuda.current_stream()
    stream.wait_stream(_beside(stream))


@cache
def _beside(stream: torch.cuda.Stream) -> torch.cuda.Stream:
    return torch.cuda.Stream(stream.device)


def flat(x: Tensor, given: Tensor) -> tuple[Tensor, Tensor, torch.Size]:
    """Return points and what belongs to each as two tables, and the leading axes."""
    lead = torch.broadcast_shapes(x.shape[:-1], given.shape[:-1])
    tables = (t.expand(*lead, t.shape[-1]).reshape(-1, t.shape[-1]) for t in (x, given))
    return *tables, lead


def padded(n: int) -> int:
    """Return the size of a tile that holds n numbers: a power of 2, at least 16."""
    return max(16, triton.next_power_of_2(n))
