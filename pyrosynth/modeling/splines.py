"""Monotone rational-quadratic splines on an interval.

References:
    Durkan, Bekasov, Murray & Papamakarios (2019), Neural spline flows,
    https://arxiv.org/abs/1906.04032.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

SMALLEST = 1e-3  # least width and height (as a share of the range) and slope of a bin


def spline(
    x: Tensor, shape: Tensor, bins: int, bound: float, *, invert: bool
) -> tuple[Tensor, Tensor]:
    """Evaluate rational-quadratic splines, or their inverse, element by element.

    Args:
        x: Points, shape (...).
        shape: Unconstrained widths and heights (``bins`` each) and inner slopes (``bins`` - 1),
            shape (..., 3 * bins - 1); all zero makes the identity.
        bins: Number of bins.
        bound: The spline acts on [-bound, bound]; outside, it is the identity.
        invert: Whether to evaluate the inverse.

    Returns:
        Images and log-derivatives, both of shape (...).
    """
    # Bins come first: over a short last axis a softmax is ten times slower on a CPU. Widths and
    # heights are one tensor, half as many kernels.
    raw = shape.movedim(-1, 0)
    share = raw[: 2 * bins].unflatten(0, (2, bins)).softmax(1)
    size = 2 * bound * (SMALLEST + (1 - bins * SMALLEST) * share)
    end = size.cumsum(1) - bound

    inside = x.clamp(-bound, bound)
    searched = end[1 if invert else 0, :-1].detach()
    bin_ = (inside.detach() >= searched).sum(0, keepdim=True)
    pair = bin_.expand(2, 1, *bin_.shape[1:])
    width, height = size.gather(1, pair).squeeze(1).unbind(0)
    right, top = end.gather(1, pair).squeeze(1).unbind(0)
    left, bottom = right - width, top - height
    one = math.log(math.expm1(1 - SMALLEST))  # softplus of this plus SMALLEST is a slope of 1
    flat = torch.zeros_like(raw[:1])
    slope = torch.cat([flat, raw[2 * bins :], flat]).gather(0, torch.cat([bin_, bin_ + 1]))
    d0, d1 = (SMALLEST + F.softplus(slope + one)).unbind(0)

    mean = height / width
    bend = d0 + d1 - 2 * mean
    if invert:
        rise = inside - bottom
        a = height * (mean - d0) + rise * bend
        b = height * d0 - rise * bend
        c = -mean * rise
        # The root that does not subtract nearly equal numbers; clamping guards against rounding.
        t = (2 * c / (-b - (b.square() - 4 * a * c).clamp_min(1e-30).sqrt())).clamp(0.0, 1.0)
        y = left + t * width
    else:
        t = ((inside - left) / width).clamp(0.0, 1.0)
    tt = t * (1 - t)
    denominator = mean + bend * tt
    if not invert:
        y = bottom + height * (mean * t.square() + d0 * tt) / denominator
    derivative = d1 * t.square() + 2 * mean * tt + d0 * (1 - t).square()
    ladj = 2 * (mean.log() - denominator.log()) + derivative.log()
    within = (x > -bound) & (x < bound)
    return torch.where(within, y, x), torch.where(within, -ladj if invert else ladj, 0.0)
