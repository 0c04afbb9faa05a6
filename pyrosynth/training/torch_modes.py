"""How torch computes while pyrosynth works, whatever its caller has asked of it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from pyrosynth.errors import InputError, PyrosynthError, one_line, reason
from pyrosynth.training.zoo import place_in

IMPORTED_IN = os.getpid()


@contextmanager
def plain_torch(gradients: bool = False) -> Iterator[None]:
    """Compute in float32, outside inference mode and autocast, whatever the caller asked for.

    Args:
        gradients: Whether gradients are recorded.

    Raises:
        InputError: A model's own code, which is in a file, has failed; it says in which line.
    """
    before = torch.get_default_dtype()
    usual = np.errstate(under="ignore")
    with (
        _threads_there_are(),
        usual,
        torch.autocast("cpu", enabled=False),
        torch.autocast("cuda", enabled=False),
        torch.inference_mode(False),
        torch.set_grad_enabled(gradients),
    ):
        if before != torch.float32:
            torch.set_default_dtype(torch.float32)
        try:
            yield
        except (Exception, SystemExit) as error:
            if isinstance(error, PyrosynthError | MemoryError) or not (where := place_in(error)):
                raise
            why = one_line(reason(error).partition("\n")[0], 120)
            raise InputError(f"the model fails in {where} ({why}); correct its code") from error
        finally:
            if before != torch.float32:
                torch.set_default_dtype(before)


@contextmanager
def _threads_there_are() -> Iterator[None]:
    """Compute in one thread in a forked process: torch would wait for those of its parent."""
    threads = torch.get_num_threads()
    if os.getpid() == IMPORTED_IN or threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
