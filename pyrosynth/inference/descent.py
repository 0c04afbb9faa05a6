"""Presets moved to where they cost less: by steps of Adam, or by steps of least squares."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim.adam import adam

INSIDE = 1e-3  # distance from the ends of a range, where logits have no slope
PROBE = 0.02  # in unit values: step of the differences that slopes are computed by
PASSES = 3  # in which parameters that would leave their range are fixed at its end


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


@torch.no_grad()
def descend_squares(
    residuals: Callable[[Tensor], Tensor], start: Tensor, fixed: Tensor, trust: Tensor, steps: int
) -> Tensor:
    """Move presets to where their sums of squares are less (Levenberg and Marquardt).

    Where residuals are few, a step of it costs about as much as one of Adam and leads farther.

    Args:
        residuals: Of presets, shape (n, m), by their unit values (n, n_learnt).
        start: Unit values where they start, shape (n, n_learnt).
        fixed: Which parameters do not move, shape (n_learnt,).
        trust: Costs of a squared unit step, shape (n_trusts,); the best of these steps is taken.
        steps: Number of steps.

    Returns:
        Unit values where they end, shape (n, n_learnt); where they started if no step is better.
    """

    def of_probes(probes: Tensor) -> Tensor:
        return residuals(probes.flatten(0, 1)).unflatten(0, probes.shape[:2])

    for _ in range(steps):
        at_start, along = slopes(of_probes, start, fixed)
        gradient = -(along @ at_start[..., None])[..., 0]
        there = stepped(start, fixed, along @ along.mT, gradient, trust)
        tried = torch.cat([start[None], there])
        best = of_probes(tried).square().sum(-1).argmin(0)
        start = tried[best, torch.arange(len(start), device=start.device)]
    return start


def slopes(
    function: Callable[[Tensor], Tensor], here: Tensor, fixed: Tensor
) -> tuple[Tensor, Tensor]:
    """Return a function of presets where they are, and its slopes by differences inwards.

    Args:
        function: Of probes around each preset, shape (n, n_probes, m), by their unit values
            (n, n_probes, n_learnt), of which the first probe is the preset itself.
        here: Unit values, shape (n, n_learnt).
        fixed: Parameters without slopes, shape (n_learnt,).

    Returns:
        Values, shape (n, m), and slopes along the free parameters, (n, n_free, m).
    """
    free = torch.nonzero(~fixed)[:, 0]
    inwards = torch.where(here[:, free] > 0.5, -PROBE, PROBE)
    probes = here[:, None].repeat(1, len(free) + 1, 1)
    probes[:, torch.arange(1, len(free) + 1, device=free.device), free] += inwards
    value = function(probes)
    return value[:, 0], (value[:, 1:] - value[:, :1]) / inwards[..., None]


def stepped(
    start: Tensor, fixed: Tensor, curvature: Tensor, gradient: Tensor, trust: Tensor
) -> Tensor:
    """Return where steps of least squares end, inside the ranges.

    Args:
        start: Unit values where the steps start, shape (n, n_learnt).
        fixed: Which parameters do not move, shape (n_learnt,).
        curvature: Products of the slopes of the free parameters, shape (n, n_free, n_free).
        gradient: Products of their slopes and what the step should add, shape (n, n_free).
        trust: Costs of a squared unit step, shape (n_trusts,).

    Returns:
        Unit values, shape (n_trusts, n, n_learnt).
    """
    free = ~fixed
    curvature = curvature + trust[:, None, None, None] * torch.eye(
        gradient.shape[-1], device=start.device
    )
    gradient = gradient.expand(curvature.shape[:-1])
    step = bounded_minimum(curvature, gradient, -start[:, free], 1 - start[:, free])
    there = start.repeat(len(trust), 1, 1)
    there[..., free] += step
    return there.clamp(0.0, 1.0)


def bounded_minimum(curvature: Tensor, gradient: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Minimise x·Ax/2 − g·x between bounds, fixing at its bound whatever would leave them.

    Args:
        curvature: Positive definite matrices A, shape (..., n, n).
        gradient: Vectors g, shape (..., n).
        lower: Lower bounds, at most 0, which broadcast to (..., n).
        upper: Upper bounds, at least 0.

    Returns:
        The minima, shape (..., n), those of many active bounds approximately.
    """
    x, free = torch.zeros_like(gradient), torch.ones_like(gradient, dtype=torch.bool)
    one = torch.eye(gradient.shape[-1], device=gradient.device)
    for _ in range(PASSES):
        kept = torch.where(free, 0.0, x)
        both = free[..., None] & free[..., None, :]
        rest = torch.where(free, gradient - (curvature @ kept[..., None])[..., 0], kept)
        x = torch.linalg.solve(torch.where(both, curvature, one), rest)
        free = free & (x >= lower) & (x <= upper)
        x = torch.maximum(torch.minimum(x, upper), lower)
    return x
