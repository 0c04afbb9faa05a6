"""Presets moved down a cost along its gradient, by a few steps of Adam."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim.adam import adam

INSIDE = 1e-3  # distance from the ends of a range, where logits have no slope


def descend(
    cost: Callable[[Tensor], Tensor], start: Tensor, fixed: Tensor, steps: int, rate: float
) -> Tensor:
    """Move presets to where they cost less; they stay inside the ranges of their parameters.

    Args:
        cost: Of each of n presets, shape (n,), by their unit values (n, n_learnt); differentiable.
        start: Unit values where they start, shape (n, n_learnt).
        fixed: Which parameters do not move, shape (n_learnt,).
        steps: Number of steps.
        rate: Size of a step, of the logits of the unit values.

    Returns:
        Unit values where they end, shape (n, n_learnt).
    """
    logits = torch.logit(start.clamp(INSIDE, 1 - INSIDE)).requires_grad_()
    moments, taken = [torch.zeros_like(logits) for _ in range(2)], torch.tensor(0.0)
    for _ in range(steps):
        there = torch.where(fixed, start, logits.sigmoid())
        gradient = torch.autograd.grad(cost(there).sum(), logits)
        with torch.no_grad():
            # The function, not torch.optim.Adam, whose use imports torch's compiler: seconds.
            adam(
                [logits], [*gradient], [moments[0]], [moments[1]], [], [taken], foreach=False,
                amsgrad=False, beta1=0.9, beta2=0.999, lr=rate, weight_decay=0.0, eps=1e-8,
                maximize=False,
            )  # fmt: skip
    with torch.no_grad():
        return torch.where(fixed, start, logits.sigmoid())
