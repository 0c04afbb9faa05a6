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
    # In a forked process the threads of its parent are gone, and torch would wait for them.
    threads = 1 if os.getpid() == IMPORTED_IN else torch.get_num_threads()
    if threads > 1:
        torch.set_num_threads(1)
    before = torch.get_default_dtype()
    usual = np.errstate(under="ignore")
    with (
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
            if threads > 1:
                torch.set_num_threads(threads)
