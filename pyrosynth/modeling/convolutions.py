"""Convolutions over bands and frames that halve or double both, faster where they are dilated."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class HalvingConv2d(nn.Conv2d):
    """Convolution that halves both axes, faster where its dilation is even.

    It then reads every second cell alone, so dropping the others first leaves a plain convolution
    of half the dilation. The result is that of ``nn.Conv2d`` with a stride of 2.

    Args:
        n_in: Channels of the input.
        n_out: Channels of the output.
        kernel: Width of the kernel, odd.
        dilation: Distance between the cells it reads.
    """

    def __init__(self, n_in: int, n_out: int, kernel: int, dilation: int) -> None:
        padding = dilation * (kernel // 2)
        super().__init__(n_in, n_out, kernel, 2, padding, dilation, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        """Map (batch, n_in, height, width) to (batch, n_out, height / 2, width / 2)."""
        step = self.dilation[0]
        if step % 2:
            return super().forward(input)
        fewer, step = _EverySecond.apply(input), step // 2
        weight, padding = _within_reach(self.weight, fewer, step)
        return nn.functional.conv2d(fewer, weight, None, 1, padding, step)


class DoublingConv2d(nn.ConvTranspose2d):
    """Transposed convolution that doubles both axes, faster where its dilation is even.

    It then writes every second cell alone and leaves the bias in the others, see `HalvingConv2d`.
    The result is that of ``nn.ConvTranspose2d`` with a stride of 2.

    Args:
        n_in: Channels of the input.
        n_out: Channels of the output.
        kernel: Width of the kernel, odd.
        dilation: Distance between the cells it writes.
        more: Rows and columns, 0 or 1, by which the output is longer than 2 n - 1.
        bias: Whether a bias is added.
    """

    def __init__(
        self, n_in: int, n_out: int, kernel: int, dilation: int, more: tuple[int, int], *,
        bias: bool,
    ) -> None:  # fmt: skip
        sizes = n_in, n_out, kernel, 2, dilation * (kernel // 2), more
        super().__init__(*sizes, bias=bias, dilation=dilation)

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Map (batch, n_in, height, width) to about twice the height and width."""
        if self.dilation[0] % 2 or output_size is not None:
            return super().forward(input, output_size)
        step = self.dilation[0] // 2
        weight, padding = _within_reach(self.weight, input, step)
        fewer = nn.functional.conv_transpose2d(input, weight, None, 1, padding, dilation=step)
        whole = _Between.apply(fewer, self.output_padding)
        return whole if self.bias is None else whole + self.bias[:, None, None]


class _EverySecond(torch.autograd.Function):
    """Every second cell of both axes; a slice would take two passes for its gradient."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor) -> Tensor:
        ctx.more = [1 - n % 2 for n in maps.shape[-2:]]
        return maps[..., ::2, ::2].contiguous()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return _spread(gradient, ctx.more)


class _Between(torch.autograd.Function):
    """The transpose of `_EverySecond`: zeros after every cell but the last of an axis."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, more: Sequence[int]) -> Tensor:
        return _spread(maps, more)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return gradient[..., ::2, ::2].contiguous(), None


def _spread(maps: Tensor, more: Sequence[int]) -> Tensor:
    """Return maps with zeros between their cells, and as many more at the end of each axis."""
    sides = (2 * n - 1 + m for n, m in zip(maps.shape[-2:], more, strict=True))
    whole = maps.new_zeros(*maps.shape[:-2], *sides)
    whole[..., ::2, ::2] = maps
    return whole


def _within_reach(weight: Tensor, input: Tensor, dilation: int) -> tuple[Tensor, tuple[int, int]]:
    """Return the part of a kernel that a small map can reach, and the padding it needs."""
    height, width = (
        min(side // 2, (n - 1) // dilation)
        for side, n in zip(weight.shape[-2:], input.shape[-2:], strict=True)
    )
    middle = weight.shape[-1] // 2
    rows, columns = (slice(middle - n, middle + n + 1) for n in (height, width))
    return weight[..., rows, columns], (height * dilation, width * dilation)
