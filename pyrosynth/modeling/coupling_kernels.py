"""A spline coupling of a flow as two kernels of a GPU and some products, with its gradient."""
# Annotations stay text, so that the file can be read where Triton is missing.

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pyrosynth.modeling.kernels import beside, flat, jit, join, padded, tl


@jit
def _shares(raw, n, k, top_w, top_h, sum_w, sum_h, BINS: tl.constexpr):
    """Return the shares of width and height of bin k."""
    share_w = tl.exp(tl.load(raw + k, mask=n, other=0.0) - top_w) / sum_w
    share_h = tl.exp(tl.load(raw + BINS + k, mask=n, other=0.0) - top_h) / sum_h
    return share_w, share_h


@jit
def _bin(raw, n, x, bound, least, BINS: tl.constexpr, INVERT: tl.constexpr):
    """Find the bin of each point; ``raw`` points at the numbers of each spline, ``n`` masks."""
    top_w = tl.load(raw, mask=n, other=0.0)
    top_h = tl.load(raw + BINS, mask=n, other=0.0)
    for k in tl.static_range(1, BINS):
        top_w = tl.maximum(top_w, tl.load(raw + k, mask=n, other=0.0))
        top_h = tl.maximum(top_h, tl.load(raw + BINS + k, mask=n, other=0.0))
    sum_w = tl.zeros_like(x)
    sum_h = tl.zeros_like(x)
    for k in tl.static_range(BINS):
        sum_w += tl.exp(tl.load(raw + k, mask=n, other=0.0) - top_w)
        sum_h += tl.exp(tl.load(raw + BINS + k, mask=n, other=0.0) - top_h)
    inside = tl.minimum(tl.maximum(x, -bound), bound)
    left = tl.zeros_like(x) - bound
    bottom = tl.zeros_like(x) - bound
    width = tl.zeros_like(x)
    height = tl.zeros_like(x)
    number = tl.zeros_like(x).to(tl.int32)
    end_w = tl.zeros_like(x) - bound
    end_h = tl.zeros_like(x) - bound
    for k in tl.static_range(BINS):
        share_w, share_h = _shares(raw, n, k, top_w, top_h, sum_w, sum_h, BINS)
        size_w = 2 * bound * (least + (1 - BINS * least) * share_w)
        size_h = 2 * bound * (least + (1 - BINS * least) * share_h)
        if INVERT:
            here = inside >= end_h
        else:
            here = inside >= end_w
        if k == 0:
            here = inside >= -bound
        left = tl.where(here, end_w, left)
        bottom = tl.where(here, end_h, bottom)
        width = tl.where(here, size_w, width)
        height = tl.where(here, size_h, height)
        number = tl.where(here, k, number)
        end_w += size_w
        end_h += size_h
    return inside, number, left, bottom, width, height, top_w, top_h, sum_w, sum_h


@jit
def _softplus(x):
    return tl.maximum(x, 0.0) + tl.log(1 + tl.exp(-tl.abs(x)))


@jit
def _slopes(raw, n, number, one, least, BINS: tl.constexpr):
    """Return the unconstrained slopes at both ends of a bin, and the slopes."""
    before = tl.load(raw + 2 * BINS + number - 1, mask=n & (number > 0), other=0.0) + one
    after = tl.load(raw + 2 * BINS + number, mask=n & (number < BINS - 1), other=0.0) + one
    return before, after, least + _softplus(before), least + _softplus(after)


@jit
def _fraction(inside, left, bottom, width, height, d0, d1, INVERT: tl.constexpr):
    """Return the place t of each point in its bin, from 0 to 1, and what the spline is made of.

    These are the mean slope of the bin, ``bend``, t (1 - t), numerator and denominator of the
    rise within the bin, and the numerator of the derivative.
    """
    mean = height / width
    bend = d0 + d1 - 2 * mean
    if INVERT:
        rise = inside - bottom
        a = height * (mean - d0) + rise * bend
        b = height * d0 - rise * bend
        c = -mean * rise
        t = 2 * c / (-b - tl.sqrt(tl.maximum(b * b - 4 * a * c, 1e-30)))
    else:
        t = (inside - left) / width
    t = tl.minimum(tl.maximum(t, 0.0), 1.0)
    tt = t * (1 - t)
    numerator = mean * t * t + d0 * tt
    denominator = mean + bend * tt
    derivative = d1 * t * t + 2 * mean * tt + d0 * (1 - t) * (1 - t)
    return t, mean, bend, tt, numerator, denominator, derivative


@jit
def _coupling_forward(
    x_, shape_, y_, ladj_, bound, one, least,
    N: tl.constexpr, KEPT: tl.constexpr, BINS: tl.constexpr, INVERT: tl.constexpr,
    POINTS: tl.constexpr,
):  # fmt: skip
    row, point = tl.program_id(0), tl.arange(0, POINTS)
    rest = N - KEPT
    n = point < rest
    # Forwards, what is kept comes first in x and last in y; backwards it is the other way round.
    if INVERT:
        from_rest, from_kept, to_rest, to_kept = 0, rest, KEPT, 0
    else:
        from_rest, from_kept, to_rest, to_kept = KEPT, 0, 0, rest
    x = tl.load(x_ + row * N + from_rest + point, mask=n, other=0.0)
    raw = shape_ + (row * rest + point) * (3 * BINS - 1)
    inside, number, left, bottom, width, height, _a, _b, _c, _d = _bin(
        raw, n, x, bound, least, BINS, INVERT
    )
    _before, _after, d0, d1 = _slopes(raw, n, number, one, least, BINS)
    t, mean, _bend, _tt, numerator, denominator, derivative = _fraction(
        inside, left, bottom, width, height, d0, d1, INVERT
    )
    ladj = 2 * (tl.log(mean) - tl.log(denominator)) + tl.log(derivative)
    if INVERT:
        y = left + t * width
        ladj = -ladj
    else:
        y = bottom + height * numerator / denominator
    within = n & (x > -bound) & (x < bound)
    tl.store(y_ + row * N + to_rest + point, tl.where(within, y, x), mask=n)
    kept = tl.load(x_ + row * N + from_kept + point, mask=point < KEPT, other=0.0)
    tl.store(y_ + row * N + to_kept + point, kept, mask=point < KEPT)
    tl.store(ladj_ + row, tl.sum(tl.where(within, ladj, 0.0)))


@jit
def _of_size(k, number, g_start, g_size):
    """Return the gradient of the size of bin k: those before a point's own move its start."""
    return tl.where(k < number, g_start, tl.where(k == number, g_size, 0.0))


@jit
def _coupling_backward(
    x_, shape_, gy_, gl_, gx_, gshape_, bound, one, least,
    N: tl.constexpr, KEPT: tl.constexpr, BINS: tl.constexpr, INVERT: tl.constexpr,
    POINTS: tl.constexpr,
):  # fmt: skip
    row, point = tl.program_id(0), tl.arange(0, POINTS)
    rest = N - KEPT
    n = point < rest
    if INVERT:
        from_rest, from_kept, to_rest, to_kept = 0, rest, KEPT, 0
    else:
        from_rest, from_kept, to_rest, to_kept = KEPT, 0, 0, rest
    x = tl.load(x_ + row * N + from_rest + point, mask=n, other=0.0)
    above = tl.load(gy_ + row * N + to_rest + point, mask=n, other=0.0)
    gy = above
    gl = tl.load(gl_ + row)
    raw = shape_ + (row * rest + point) * (3 * BINS - 1)
    inside, number, left, bottom, width, height, top_w, top_h, sum_w, sum_h = _bin(
        raw, n, x, bound, least, BINS, INVERT
    )
    before, after, d0, d1 = _slopes(raw, n, number, one, least, BINS)
    t, mean, bend, tt, numerator, denominator, derivative = _fraction(
        inside, left, bottom, width, height, d0, d1, INVERT
    )
    within = (x > -bound) & (x < bound)
    # Gradients with respect to the place t of the denominator and of the derivative's numerator.
    slope_d = bend * (1 - 2 * t)
    slope_v = 2 * d1 * t + 2 * mean * (1 - 2 * t) - 2 * d0 * (1 - t)
    if INVERT:
        # x = F(y), F the spline and l its log-derivative, so the implicit function theorem gives
        # the gradients of y: those of F and l, weighted like this.
        l_t = slope_v / derivative - 2 * slope_d / denominator
        rate = derivative * (mean / denominator) * (mean / denominator)
        gx = (gy - gl * l_t / width) / rate
        gy = -gx
        gl = -gl
    # Gradients of gy F + gl l.
    g_num = gy * height / denominator
    g_den = -gy * height * numerator / (denominator * denominator) - 2 * gl / denominator
    g_der = gl / derivative
    g_mean = g_num * t * t + g_den * (1 - 2 * tt) + g_der * 2 * tt + 2 * gl / mean
    g_d0 = g_num * tt + g_den * tt + g_der * (1 - t) * (1 - t)
    g_d1 = g_den * tt + g_der * t * t
    g_t = g_num * (2 * mean * t + d0 * (1 - 2 * t)) + g_den * slope_d + g_der * slope_v
    if not INVERT:
        gx = g_t / width
    g_bottom = gy
    g_height = gy * numerator / denominator + g_mean / width
    g_left = -g_t / width
    g_width = -g_mean * height / (width * width) - g_t * t / width
    tl.store(gx_ + row * N + from_rest + point, tl.where(within, gx, above), mask=n)
    kept = tl.load(gy_ + row * N + to_kept + point, mask=point < KEPT, other=0.0)
    tl.store(gx_ + row * N + from_kept + point, kept, mask=point < KEPT)

    scale = 2 * bound * (1 - BINS * least)
    mean_w = tl.zeros_like(x)
    mean_h = tl.zeros_like(x)
    for k in tl.static_range(BINS):
        share_w, share_h = _shares(raw, n, k, top_w, top_h, sum_w, sum_h, BINS)
        g_w = _of_size(k, number, g_left, g_width)
        g_h = _of_size(k, number, g_bottom, g_height)
        mean_w += share_w * g_w
        mean_h += share_h * g_h
    out = gshape_ + (row * rest + point) * (3 * BINS - 1)
    for k in tl.static_range(BINS):
        share_w, share_h = _shares(raw, n, k, top_w, top_h, sum_w, sum_h, BINS)
        g_w = _of_size(k, number, g_left, g_width)
        g_h = _of_size(k, number, g_bottom, g_height)
        g_w = scale * share_w * (g_w - mean_w)
        g_h = scale * share_h * (g_h - mean_h)
        tl.store(out + k, tl.where(within, g_w, 0.0), mask=n)
        tl.store(out + BINS + k, tl.where(within, g_h, 0.0), mask=n)
    for k in tl.static_range(BINS - 1):
        g = tl.where(number == k + 1, g_d0 * tl.sigmoid(before), 0.0)
        g = tl.where(number == k, g_d1 * tl.sigmoid(after), g)
        tl.store(out + 2 * BINS + k, tl.where(within, g, 0.0), mask=n)


class _Coupling(torch.autograd.Function):
    """A spline coupling with its conditioner as one function of torch.

    The products are torch's; written out, their gradients need half as many kernels.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, given: Tensor, w1: Tensor, w2: Tensor, b2: Tensor, w3: Tensor,
        b3: Tensor, bins: int, bound: float, one: float, least: float, invert: bool,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        x, (size, features), n_kept = x.contiguous(), x.shape, w1.shape[1]
        kept = x[:, features - n_kept :] if invert else x[:, :n_kept]
        a1 = torch.addmm(given, kept, w1.t())
        h1 = F.silu(a1)
        a2 = torch.addmm(b2, h1, w2.t())
        h2 = h1 + F.silu(a2)
        shape = torch.addmm(b3, h2, w3.t())
        y, ladj = torch.empty_like(x), x.new_empty(size)
        ctx.options = bound, one, least, features, n_kept, bins, invert, padded(features)
        _coupling_forward[(size,)](x, shape, y, ladj, *ctx.options, num_warps=1)
        ctx.save_for_backward(x, w1, w2, w3, a1, h1, a2, h2, shape)
        return y, ladj

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, w1, w2, w3, a1, h1, a2, h2, shape = ctx.saved_tensors
        gy, gl = (gradient.contiguous() for gradient in gradients)
        (size, features), n_kept, invert = x.shape, w1.shape[1], ctx.options[6]
        gx, g_shape = torch.empty_like(x), torch.empty_like(shape)
        _coupling_backward[(size,)](x, shape, gy, gl, gx, g_shape, *ctx.options, num_warps=1)
        with beside():
            g_w3, g_b3 = g_shape.t() @ h2, g_shape.sum(0)
        g_h2 = g_shape @ w3
        g_a2 = torch.ops.aten.silu_backward(g_h2, a2)
        with beside():
            g_w2, g_b2 = g_a2.t() @ h1, g_a2.sum(0)
        g_a1 = torch.ops.aten.silu_backward(torch.addmm(g_h2, g_a2, w2), a1)
        part = slice(features - n_kept, None) if invert else slice(n_kept)
        with beside():
            g_w1 = g_a1.t() @ x[:, part]
        gx[:, part].addmm_(g_a1, w1)
        join()
        return gx, g_a1, g_w1, g_w2, g_b2, g_w3, g_b3, None, None, None, None, None


def coupling(
    x: Tensor, given: Tensor, weights: tuple[Tensor, ...], *, bins: int, bound: float, one: float,
    least: float, invert: bool,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Map points through a spline coupling, see `pyrosynth.modeling.flow_layers.SplineCoupling`.

    Args:
        x: Points, shape (..., features).
        given: What the first layer of the conditioner reads of the context, and its bias, shape
            (..., hidden), leading axes broadcast.
        weights: Weights of the first layer that read what is kept; weights and biases of the
            second and third layers.
        bins: Number of bins.
        bound: The splines act on [-bound, bound].
        one: Unconstrained slope that stands for a slope of 1.
        least: Least width and height of a bin, as a share of the range, and least slope.
        invert: Whether to map back.

    Returns:
        Images, shape (..., features), and log-determinants, shape (...).
    """
    x, given, lead = flat(x, given)
    if len(x) == 0:
        return x.reshape(*lead, -1), x.new_zeros(lead)
    y, ladj = _Coupling.apply(x, given, *weights, bins, bound, one, least, invert)
    return y.reshape(*lead, x.shape[-1]), ladj.reshape(lead)
