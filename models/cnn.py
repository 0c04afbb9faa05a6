"""Two-dimensional convolutions from the sound to the parameters."""

from collections.abc import Sequence

import pyro
import torch
from torch import nn

from pyrosynth.modeling import (
    Batch, ConvEncoder, CubeNormal, Dims, Term, Variant, paper_recipe, squared_error,
)  # fmt: skip


class CNN(Variant):
    """Two-dimensional convolutions from the sound to the parameters.

    Direct regression, a baseline of the paper: no latent, one answer per sound. The guide says
    all, as in ``mlp``; with Phi the normal distribution function,

        Phi⁻¹(v) | x ~ N(answer(encoder(x)), scale²)    one learnt scale for each parameter

    ``encoder`` slides over bands and frames: convolutions that halve both, the l-th dilated by
    ``dilation ** l``, each with batch norm and ELU, then dense layers that have dropout as well.
    The answer, ``mean_v``, is the mean of v; why it is scored so is said in ``mlp``.

    Recipe ``paper``: five convolutions of 128 channels and kernel 7, dilated by 1 to 16, and
    three dense layers of 2048 units. The deeper ones read little but padding then, their reach
    being larger than what is left of the spectrogram; by default nothing is dilated.

    Args:
        dims: The sizes.
        channels: Channels of the convolutions.
        kernel: Their width, odd.
        dilation: Base of their dilation.
        hidden: Sizes of the dense layers.
        dropout: Share of the dense units that are dropped in training.
        delta: Weight of the squared error.

    References:
        Esling et al. (2019), Universal audio synthesizer control with normalizing flows,
        https://arxiv.org/abs/1907.00971.
    """

    exact = True
    recipes = paper_recipe(
        channels=(128,) * 5, kernel=7, dilation=2, hidden=(2048,) * 3, dropout=0.3,
    )  # fmt: skip

    def __init__(
        self, dims: Dims, *, hidden: Sequence[int] = (512, 256), dropout: float = 0.0,
        channels: Sequence[int] = (8, 16, 32, 64, 128), kernel: int = 3, dilation: int = 1,
        delta: float = 100.0,
    ) -> None:  # fmt: skip
        super().__init__(dims)
        self.terms = (
            Term("preset", guide=("v",)),
            Term("error", guide=("v",), weight=delta, score=squared_error),
        )
        self.encoder = ConvEncoder(
            dims.x_shape, hidden, channels=channels, kernel=kernel, dilation=dilation,
            dropout=dropout,
        )  # fmt: skip
        self.answer = nn.Linear(hidden[-1], dims.n_params)
        self.log_scale = nn.Parameter(torch.zeros(dims.n_params))

    def guide(self, batch: Batch) -> None:
        """Draw presets given their sounds."""
        h = self.encode(batch["x"])
        with self.rows(batch):
            pyro.sample("v", CubeNormal(self.answer(h), self.log_scale))
