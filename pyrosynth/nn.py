"""Networks that variants are made of; all take any leading dimensions."""

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn


class MLP(nn.Sequential):
    """Multi-layer perceptron with SiLU between its layers.

    Args:
        n_in: Size of the input's last axis.
        hidden: Sizes of the hidden layers; empty makes it one linear layer.
        n_out: Size of the output's last axis.
    """

    def __init__(self, n_in: int, hidden: Sequence[int], n_out: int) -> None:
        sizes = [n_in, *hidden]
        layers: list[nn.Module] = []
        for left, right in pairwise(sizes):
            layers += [nn.Linear(left, right), nn.SiLU()]
        super().__init__(*layers, nn.Linear(sizes[-1], n_out))


class ResidualMLP(nn.Module):
    """Perceptron whose hidden blocks add to what they read.

    Args:
        n_in: Size of the input's last axis.
        hidden: Width of every block.
        n_out: Size of the output's last axis.
        n_blocks: Number of blocks, each normalise-linear-SiLU-linear.
    """

    def __init__(self, n_in: int, hidden: int, n_out: int, *, n_blocks: int = 2) -> None:
        super().__init__()
        self.first = nn.Linear(n_in, hidden)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(hidden),
                nn.Linear(hidden, hidden),
                nn.SiLU(),
                nn.Linear(hidden, hidden),
            )
            for _ in range(n_blocks)
        )
        self.last = nn.Sequential(nn.LayerNorm(hidden), nn.SiLU(), nn.Linear(hidden, n_out))

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., n_in) to (..., n_out)."""
        h = self.first(x)
        for block in self.blocks:
            h = h + block(h)
        return self.last(h)


class MelEncoder(nn.Module):
    """Convolutions from a log-mel spectrogram to an embedding.

    A stem cuts the spectrogram into patches, one strided convolution each, so that the later
    3x3 convolutions of stride 2 see few positions; that is what makes it fast on a CPU.

    Args:
        x_shape: (n_mels, n_frames) of the input.
        n_out: Size of the embedding.
        channels: Channels of the stem and of each later convolution, multiples of 8.
        patch: Height and width of the stem's patches.
    """

    def __init__(
        self,
        x_shape: tuple[int, int],
        n_out: int,
        *,
        channels: Sequence[int] = (48, 96, 128),
        patch: int = 4,
    ) -> None:
        super().__init__()
        margins = math.ceil(-x_shape[0] % patch / 2), math.ceil(-x_shape[1] % patch / 2)
        sizes = [(n + 2 * m - patch) // patch + 1 for n, m in zip(x_shape, margins, strict=True)]
        layers: list[nn.Module] = [nn.Conv2d(1, channels[0], patch, patch, margins)]
        for left, right in pairwise(channels):
            layers += [nn.GroupNorm(8, left), nn.SiLU(), nn.Conv2d(left, right, 3, 2, 1)]
            sizes = [(n - 1) // 2 + 1 for n in sizes]
        self.convolutions = nn.Sequential(*layers, nn.GroupNorm(8, channels[-1]), nn.SiLU())
        self.head = nn.Linear(channels[-1] * math.prod(sizes), n_out)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., n_mels, n_frames) to (..., n_out)."""
        leading = x.shape[:-2]
        h = self.convolutions(x.reshape(-1, 1, *x.shape[-2:]))
        return self.head(h.flatten(1)).unflatten(0, leading)


class MelDecoder(nn.Module):
    """Perceptron from a latent point to an expected log-mel spectrogram.

    The last layer mixes ``rank`` learnt spectrograms: two matrix products, several times
    cheaper on a CPU than transposed convolutions of the same error.

    Args:
        n_in: Size of the latent point.
        x_shape: (n_mels, n_frames) of the output.
        hidden: Sizes of the hidden layers.
        rank: Number of learnt spectrograms.
    """

    def __init__(
        self,
        n_in: int,
        x_shape: tuple[int, int],
        *,
        hidden: Sequence[int] = (256, 512),
        rank: int = 128,
    ) -> None:
        super().__init__()
        self.x_shape = x_shape
        self.mixture = MLP(n_in, hidden, rank)
        self.spectrograms = nn.Linear(rank, math.prod(x_shape))

    def forward(self, z: Tensor) -> Tensor:
        """Map (..., n_in) to (..., n_mels, n_frames)."""
        return self.spectrograms(self.mixture(z)).unflatten(-1, self.x_shape)
