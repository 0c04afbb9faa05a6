"""A whole stack of autoregressive layers as one kernel of a GPU, with its gradient."""
# Annotations stay text, so that the file can be read where Triton is missing.

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pyrosynth.modeling.kernels import beside, flat, jit, join, padded, tl, triton

ROWS = 16  # that one program maps: the fewest a product of tiles takes
WARPS = 8  # that share a program


@jit
def _dot(a, b, PRECISION: tl.constexpr):
    return tl.dot(a, b, input_precision=PRECISION)


@jit
def _net(
    x, context, row, w1, b1, w2, b2, w3, b3, position, LAYERS: tl.constexpr, layer,
    N: tl.constexpr, H: tl.constexpr, NP: tl.constexpr, HP: tl.constexpr, PRECISION: tl.constexpr,
    size,
):  # fmt: skip
    """Run the conditioner of a layer; features are in the order of the stack's input.

    The tiles of the weights are returned as well, the last layer's split in shift and log-scale.
    """
    f = tl.arange(0, NP)
    h = tl.arange(0, HP)
    there = (f < N)[:, None] & (h < H)[None, :]
    both = (h < H)[:, None] & (h < H)[None, :]
    # Each as (in, out).
    first = tl.load(w1 + layer * H * N + h[None, :] * N + position[:, None], mask=there, other=0.0)
    middle = tl.load(w2 + layer * H * H + h[None, :] * H + h[:, None], mask=both, other=0.0)
    last = w3 + layer * 2 * N * H + 2 * position[None, :] * H + h[:, None]
    turned = (h < H)[:, None] & (f < N)[None, :]
    shift_w = tl.load(last, mask=turned, other=0.0)
    scale_w = tl.load(last + H, mask=turned, other=0.0)
    a1 = _dot(x, first, PRECISION) + tl.load(b1 + layer * H + h, mask=h < H, other=0.0)[None, :]
    a1 += tl.load(
        context + row[:, None] * LAYERS * H + layer * H + h[None, :],
        mask=(row < size)[:, None] & (h < H)[None, :], other=0.0,
    )  # fmt: skip
    h1 = a1 * tl.sigmoid(a1)
    a2 = _dot(h1, middle, PRECISION) + tl.load(b2 + layer * H + h, mask=h < H, other=0.0)[None, :]
    h2 = h1 + a2 * tl.sigmoid(a2)
    bias = b3 + layer * 2 * N + 2 * position
    shift = _dot(h2, shift_w, PRECISION) + tl.load(bias, mask=f < N, other=0.0)[None, :]
    scale = _dot(h2, scale_w, PRECISION) + tl.load(bias + 1, mask=f < N, other=0.0)[None, :]
    log_scale = 2 * (2 * tl.sigmoid(scale) - 1)  # 2 tanh(scale / 2)
    return a1, h1, a2, h2, shift, log_scale, first, middle, shift_w, scale_w


@jit
def _stack_forward(
    x_, context, w1, b1, w2, b2, w3, b3, positions, inputs, y_, ladj_, size,
    LAYERS: tl.constexpr, N: tl.constexpr, H: tl.constexpr, NP: tl.constexpr, HP: tl.constexpr,
    PRECISION: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    f = tl.arange(0, NP)
    there = (row < size)[:, None] & (f < N)[None, :]
    x = tl.load(x_ + row[:, None] * N + f[None, :], mask=there, other=0.0)
    ladj = tl.zeros([ROWS], tl.float32)
    for layer in range(LAYERS):
        position = tl.load(positions + layer * N + f, mask=f < N, other=0)
        tl.store(inputs + layer * size * N + row[:, None] * N + position[None, :], x, mask=there)
        _a1, _h1, _a2, _h2, shift, log_scale, _w, _x, _y, _z = _net(
            x, context, row, w1, b1, w2, b2, w3, b3, position, LAYERS, layer, N, H, NP, HP,
            PRECISION, size,
        )  # fmt: skip
        x = x * tl.exp(log_scale) + shift
        ladj += tl.sum(tl.where(there, log_scale, 0.0), axis=1)
    position = tl.load(positions + LAYERS * N + f, mask=f < N, other=0)
    tl.store(y_ + row[:, None] * N + position[None, :], x, mask=there)
    tl.store(ladj_ + row, ladj, mask=row < size)


@jit
def _stack_backward(
    gy_, gl_, context, w1, b1, w2, b2, w3, b3, positions, inputs, gx_, g_last, g_middle, g_first,
    h1_, h2_, size,
    LAYERS: tl.constexpr, N: tl.constexpr, H: tl.constexpr, NP: tl.constexpr, HP: tl.constexpr,
    PRECISION: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    f = tl.arange(0, NP)
    h = tl.arange(0, HP)
    there = (row < size)[:, None] & (f < N)[None, :]
    units = (row < size)[:, None] & (h < H)[None, :]
    position = tl.load(positions + LAYERS * N + f, mask=f < N, other=0)
    g = tl.load(gy_ + row[:, None] * N + position[None, :], mask=there, other=0.0)
    gl = tl.load(gl_ + row, mask=row < size, other=0.0)
    for i in range(LAYERS):
        layer = LAYERS - 1 - i
        position = tl.load(positions + layer * N + f, mask=f < N, other=0)
        x = tl.load(
            inputs + layer * size * N + row[:, None] * N + position[None, :], mask=there, other=0.0
        )
        a1, h1, a2, h2, _shift, log_scale, first, middle, shift_w, scale_w = _net(
            x, context, row, w1, b1, w2, b2, w3, b3, position, LAYERS, layer, N, H, NP, HP,
            PRECISION, size,
        )  # fmt: skip
        factor = tl.exp(log_scale)
        g_scale = (g * x * factor + gl[:, None]) * (1 - 0.25 * log_scale * log_scale)
        out = g_last + layer * size * 2 * N + row[:, None] * 2 * N + 2 * position[None, :]
        tl.store(out, g, mask=there)
        tl.store(out + 1, g_scale, mask=there)
        g_h2 = _dot(g, tl.trans(shift_w), PRECISION)
        g_h2 += _dot(g_scale, tl.trans(scale_w), PRECISION)
        sigmoid = tl.sigmoid(a2)
        g_a2 = g_h2 * sigmoid * (1 + a2 * (1 - sigmoid))
        g_h1 = g_h2 + _dot(g_a2, tl.trans(middle), PRECISION)
        sigmoid = tl.sigmoid(a1)
        g_a1 = g_h1 * sigmoid * (1 + a1 * (1 - sigmoid))
        g = g * factor + _dot(g_a1, tl.trans(first), PRECISION)
        place = layer * size * H + row[:, None] * H + h[None, :]
        tl.store(g_middle + place, g_a2, mask=units)
        tl.store(g_first + place, g_a1, mask=units)
        tl.store(h1_ + place, h1, mask=units)
        tl.store(h2_ + place, h2, mask=units)
    tl.store(gx_ + row[:, None] * N + f[None, :], g, mask=there)


@jit
def _stack_inverse(
    y_, context, w1, b1, w2, b2, w3, b3, positions, x_, ladj_, size,
    LAYERS: tl.constexpr, N: tl.constexpr, H: tl.constexpr, NP: tl.constexpr, HP: tl.constexpr,
    PRECISION: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    f = tl.arange(0, NP)
    there = (row < size)[:, None] & (f < N)[None, :]
    position = tl.load(positions + LAYERS * N + f, mask=f < N, other=0)
    y = tl.load(y_ + row[:, None] * N + position[None, :], mask=there, other=0.0)
    ladj = tl.zeros([ROWS], tl.float32)
    for i in range(LAYERS):
        layer = LAYERS - 1 - i
        position = tl.load(positions + layer * N + f, mask=f < N, other=N)
        x = tl.zeros_like(y)
        log_scale = tl.zeros_like(y)
        for feature in range(N):
            _a1, _h1, _a2, _h2, shift, log_scale, _w, _x, _y, _z = _net(
                x, context, row, w1, b1, w2, b2, w3, b3, position, LAYERS, layer, N, H, NP, HP,
                PRECISION, size,
            )  # fmt: skip
            found = (y - shift) * tl.exp(-log_scale)
            x = tl.where(position[None, :] <= feature, found, 0.0)
        ladj -= tl.sum(tl.where(there, log_scale, 0.0), axis=1)
        y = x
    tl.store(x_ + row[:, None] * N + f[None, :], y, mask=there)
    tl.store(ladj_ + row, ladj, mask=row < size)


def _precision() -> str:
    """Return how products are taken: with shortened factors where torch is asked for it.

    Otherwise in three products of shortened factors, which are as exact as float32 to a few units
    in the last place.
    """
    return "tf32" if torch.backends.cuda.matmul.allow_tf32 else "tf32x3"


class _Stack(torch.autograd.Function):
    """A stack of autoregressive layers as one function of torch."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, context: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor,
        w3: Tensor, b3: Tensor, positions: Tensor,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        (layers, hidden, features), size = w1.shape, len(x)
        x, context = x.contiguous(), context.contiguous()
        inputs, y = x.new_empty(layers, size, features), torch.empty_like(x)
        ladj = x.new_empty(size)
        weights = w1, b1, w2, b2, w3, b3, positions
        options = layers, features, hidden, padded(features), padded(hidden), _precision(), ROWS
        grid = (triton.cdiv(size, ROWS),)
        _stack_forward[grid](
            x, context, *weights, inputs, y, ladj, size, *options, num_warps=WARPS
        )
        ctx.save_for_backward(context, *weights, inputs)
        ctx.options = options
        return y, ladj

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        context, *weights, inputs = ctx.saved_tensors
        gy, gl = (gradient.contiguous() for gradient in gradients)
        (layers, size, features), hidden = inputs.shape, weights[0].shape[1]
        gx, g_last = torch.empty_like(gy), gy.new_empty(layers, size, 2 * features)
        g_middle, g_first, h1, h2 = (gy.new_empty(layers, size, hidden) for _ in range(4))
        grid = (triton.cdiv(size, ROWS),)
        _stack_backward[grid](
            gy, gl, context, *weights, inputs, gx, g_last, g_middle, g_first, h1, h2, size,
            *ctx.options, num_warps=WARPS,
        )  # fmt: skip
        with beside():
            biases = g_first.sum(1), g_middle.sum(1), g_last.sum(1)
            g_context = g_first.transpose(0, 1).reshape(size, -1)
        weights = [g_first.mT @ inputs, g_middle.mT @ h1, g_last.mT @ h2]
        join()
        each = (g for pair in zip(weights, biases, strict=True) for g in pair)
        return gx, g_context, *each, None


def stack(
    x: Tensor, context: Tensor, weights: tuple[Tensor, ...], positions: Tensor, *, invert: bool
) -> tuple[Tensor, Tensor]:
    """Map points through a stack of autoregressive layers.

    Args:
        x: Points, shape (..., features).
        context: What the first layers of the conditioners read of the context, shape
            (..., n_layers * hidden), leading axes broadcast.
        weights: Weights and biases of the three layers of all conditioners, masked, each with a
            first axis of n_layers.
        positions: Place of each feature of the input in what each layer sees, and at last in the
            output, shape (n_layers + 1, features).
        invert: Whether to map back, one feature after the other. This has no gradient.

    Returns:
        Images, shape (..., features), and log-determinants, shape (...).
    """
    x, context, lead = flat(x, context)
    if len(x) == 0:
        return x.reshape(*lead, -1), x.new_zeros(lead)
    if invert:
        (layers, hidden, features), size = weights[0].shape, len(x)
        y, ladj = torch.empty_like(x), x.new_empty(size)
        options = layers, features, hidden, padded(features), padded(hidden), _precision(), ROWS
        tensors = (tensor.contiguous() for tensor in (x, context, *weights))
        _stack_inverse[(triton.cdiv(size, ROWS),)](*tensors, positions, y, ladj, size, *options)
    else:
        y, ladj = _Stack.apply(x, context, *weights, positions)
    return y.reshape(*lead, x.shape[-1]), ladj.reshape(lead)
