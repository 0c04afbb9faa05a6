"""Two-dimensional convolutions from the sound to the parameters."""

from collections.abc import Sequence

import pyro
import torch
from torch import Generator, Tensor, nn

from pyrosynth.modeling.convolutions import ConvEncoder
from pyrosynth.modeling.distributions import CubeNormal
from pyrosynth.modeling.variant import (
    PAPER_TRAINING,
    Batch,
    Dims,
    Size,
    Term,
    Variant,
    where_known,
)


class CNN(Variant):
    """Two-dimensional convolutions from the sound to the parameters.

    Direct regression, a baseline of the paper: no latent, one answer per sound. With Phi the
    normal distribution function,

        Phi⁻¹(v) | x ~ N(answer(encoder(x)), scale²)    one learnt scale for each parameter

    ``encoder`` slides over bands and frames: convolutions that halve both, the l-th dilated by
    ``dilation ** l``, each with batch norm and ELU, then dense layers that have dropout as well.
    The answer, ``mean_v``, is the mean of v; why it is scored so is said in ``mlp``.

    Size ``paper``: five convolutions of 128 channels and kernel 7, dilated by 1 to 16, and three
    dense layers of 2048 units. The deeper ones read little but padding then, their reach being
    larger than what is left of the spectrogram; by default nothing is dilated.

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
    sizes = {
        "paper": Size(
            {
                "channels": (128,) * 5, "kernel": 7, "dilation": 2,
                "hidden": (2048,) * 3, "dropout": 0.3,
            },
            PAPER_TRAINING,
        )
    }  # fmt: skip

    def __init__(
        self,
        dims: Dims,
        *,
        channels: Sequence[int] = (8, 16, 32, 64, 128),
        kernel: int = 3,
        dilation: int = 1,
        hidden: Sequence[int] = (512, 256),
        dropout: float = 0.0,
        delta: float = 100.0,
    ) -> None:
        super().__init__(dims)
        self.terms = Term("preset", ("v",)), Term("error", ("error",), delta)
        self.encoder = ConvEncoder(
            dims.x_shape, hidden, channels=channels, kernel=kernel, dilation=dilation,
            dropout=dropout,
        )  # fmt: skip
        self.answer = nn.Linear(hidden[-1], dims.n_params)
        self.log_scale = nn.Parameter(torch.zeros(dims.n_params))

    def encode(self, x: Tensor) -> Tensor:
        """Embed features (..., n_mels, n_frames) as the last dense layer."""
        return self.encoder(x)

    def preset(self, h: Tensor) -> CubeNormal:
        """Return q(v|x) for embeddings."""
        return CubeNormal(self.answer(h), self.log_scale)

    def model(self, batch: Batch) -> None:
        """Score the preset where it is known."""
        q, v = self.preset(batch["h"]), batch["v"]
        with pyro.plate("presets", len(batch["x"])), where_known(batch):
            pyro.sample("v", q, obs=v)
            pyro.factor("error", -(q.mean - v).square().sum(-1))

    def guide(self, batch: Batch) -> None:
        """Do nothing: there is nothing hidden."""

    def sample_v(
        self, x: Tensor, n: int, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw parameters (n, batch, n_params) and their exact log q(v|x)."""
        q = self.preset(self.encode(x))
        v = q.rsample((n,), generator)
        return v, q.log_prob(v)

    def log_prob_v(self, v: Tensor, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Return the exact log q(v|x)."""
        return self.preset(self.encode(x)).log_prob(v)

    @torch.no_grad()
    def mean_v(self, x: Tensor, n: int = 64, generator: Generator | None = None) -> Tensor:
        """Return the answer: the exact mean of q(v|x)."""
        return self.preset(self.encode(x)).mean
