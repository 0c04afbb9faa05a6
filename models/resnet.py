"""Residual convolutions from the sound to the parameters."""

from collections.abc import Sequence

import pyro
import torch
from torch import Tensor, nn

from pyrosynth.modeling import (
    Batch, ConvBlock, ConvEncoder, CubeNormal, Dims, Term, Variant, paper_recipe, squared_error,
)  # fmt: skip


class ResidualBlock(nn.Module):
    """Convolution that halves both axes, plus a shortcut: a 1×1 convolution to the same size.

    Args:
        n_in: Channels of the input.
        n_out: Channels of the output.
        kernel: Width of the convolution, odd.
        dilation: Distance between the cells it reads.
    """

    def __init__(self, n_in: int, n_out: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.path = ConvBlock(n_in, n_out, kernel, dilation)
        self.shortcut = nn.Conv2d(n_in, n_out, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, n_in, height, width) to (batch, n_out, height / 2, width / 2)."""
        return self.path(x) + self.shortcut(x)


class ResNet(Variant):
    """Residual convolutions from the sound to the parameters.

    Direct regression, a baseline of the paper, as ``cnn`` is: the guide's law of Phi⁻¹(v) given a
    sound is normal about answer(encoder(x)), with one learnt scale for each parameter, and the
    model knows nothing of how presets sound.

    ``encoder`` is that of ``cnn`` with shortcuts: to each convolution with its batch norm and ELU
    a plain 1×1 convolution of the same stride is added. (In the authors' code the shortcut was a
    frozen random projection; here it learns.) The answer, ``mean_v``, is the mean of v.

    Recipe ``paper``: that of ``cnn``.

    Args:
        dims: The sizes.
        channels: Channels of each block.
        kernel: Width of the blocks' convolutions, odd.
        dilation: Block l is dilated by ``dilation ** l``.
        hidden: Units of the dense layers behind the blocks.
        dropout: Share of those units that are dropped in training.
        delta: Weight of the answer's squared error.

    References:
        Esling et al. (2019), Universal audio synthesizer control with normalizing flows,
        https://arxiv.org/abs/1907.00971.
    """

    exact = True
    recipes = paper_recipe(
        channels=(128,) * 5, kernel=7, dilation=2, hidden=(2048,) * 3, dropout=0.3,
    )  # fmt: skip

    def __init__(
        self, dims: Dims, *, channels: Sequence[int] = (8, 16, 32, 64, 128), kernel: int = 3,
        dilation: int = 1, hidden: Sequence[int] = (512, 256), dropout: float = 0.0,
        delta: float = 100.0,
    ) -> None:  # fmt: skip
        super().__init__(dims)
        error = Term("error", guide=("v",), weight=delta, score=squared_error)
        self.terms = Term("preset", guide=("v",)), error
        self.encoder = ConvEncoder(
            dims.x_shape, hidden, channels=channels, kernel=kernel, dilation=dilation,
            dropout=dropout, block=ResidualBlock,
        )  # fmt: skip
        self.answer = nn.Linear(hidden[-1], dims.n_params)
        self.log_scale = nn.Parameter(torch.zeros(dims.n_params))

    def guide(self, batch: Batch) -> None:
        """Draw presets given their sounds."""
        q = CubeNormal(self.answer(self.encode(batch["x"])), self.log_scale)
        with self.rows(batch):
            pyro.sample("v", q)
