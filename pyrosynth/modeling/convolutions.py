"""Convolutions over bands and frames that halve or double both, faster where they are dilated."""

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
            weight, width = _laid_out(self.weight), int(self.padding[0])
            return nn.functional.conv2d(input, weight, None, 2, width, step)
        fewer, step = nn.functional.avg_pool2d(input, 1, 2), step // 2  # every second cell
        weight, padding = _within_reach(self.weight, fewer, step)
        return nn.functional.conv2d(fewer, _laid_out(weight), None, 1, padding, step)


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
        every_second = nn.functional.conv_transpose2d(
            input, _laid_out(weight), None, 1, padding, dilation=step
        )
        height, width = every_second.shape[-2:]
        tall, wide = (int(more) for more in self.output_padding)
        shape = *every_second.shape[:2], 2 * height - 1 + tall, 2 * width - 1 + wide
        whole = _laid_out(every_second.new_empty(shape))
        # The transpose of taking every second cell, in one pass.
        whole = torch.ops.aten.avg_pool2d_backward(
            every_second, whole, [1], [2], [0], False, True, None
        )
        return whole if self.bias is None else whole + self.bias[:, None, None]


def _laid_out(maps: Tensor) -> Tensor:
    """Put the channels of maps last in the memory of a GPU, whose products want them there."""
    return maps.contiguous(memory_format=torch.channels_last) if maps.is_cuda else maps


def _within_reach(weight: Tensor, input: Tensor, dilation: int) -> tuple[Tensor, tuple[int, int]]:
    """Return the part of a kernel that a small map can reach, and the padding it needs."""
    height, width = (
        min(side // 2, (n - 1) // dilation)
        for side, n in zip(weight.shape[-2:], input.shape[-2:], strict=True)
    )
    middle = weight.shape[-1] // 2
    rows, columns = (slice(middle - n, middle + n + 1) for n in (height, width))
    return weight[..., rows, columns], (height * dilation, width * dilation)
