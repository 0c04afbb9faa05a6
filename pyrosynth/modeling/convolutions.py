"""The published networks, with convolutions over bands and frames, and the choice of networks.

References:
    Esling et al. (2019), Universal audio synthesizer control with normalizing flows,
    https://arxiv.org/abs/1907.00971.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal, get_args

from torch import Tensor, nn

from pyrosynth.errors import unknown
from pyrosynth.modeling.networks import DenseLayers, MelDecoder, MelEncoder, Network

Networks = Literal["mel", "conv"]

DENSE, DROPOUT = 3, 0.3  # dense layers after and before the convolutions, as published


class ConvBlock(nn.Sequential):
    """Convolution over bands and frames that halves both, batch norm, ELU.

    Args:
        n_in: Channels of the input.
        n_out: Channels of the output.
        kernel: Width of the convolution, odd.
        dilation: Distance between the cells it reads.
    """

    def __init__(self, n_in: int, n_out: int, kernel: int, dilation: int) -> None:
        padding = dilation * (kernel // 2)
        convolution = nn.Conv2d(n_in, n_out, kernel, 2, padding, dilation, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(n_out), nn.ELU())


class ConvEncoder(Network):
    """Convolutions over bands and frames, then dense layers: the published encoder.

    Args:
        x_shape: (n_mels, n_frames) of the input.
        hidden: Sizes of the dense layers; the last one is the embedding.
        channels: Channels of each convolution; every one halves both axes.
        kernel: Width of the convolutions, odd.
        dilation: Convolution l reads cells at a distance of ``dilation ** l``, l from 0.
        dropout: Share of the dense units that are dropped in training.
        block: Makes a convolution, with the arguments of `ConvBlock`.
    """

    def __init__(
        self,
        x_shape: tuple[int, int],
        hidden: Sequence[int],
        *,
        channels: Sequence[int],
        kernel: int = 7,
        dilation: int = 2,
        dropout: float = 0.0,
        block: Callable[[int, int, int, int], nn.Module] = ConvBlock,
    ) -> None:
        super().__init__()
        pairs = pairwise((1, *channels))
        self.convolutions = nn.Sequential(
            *(block(left, right, kernel, dilation**i) for i, (left, right) in enumerate(pairs))
        )
        height, width = _halved(x_shape, len(channels))[-1]
        self.dense = DenseLayers(channels[-1] * height * width, hidden, dropout=dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., n_mels, n_frames) to (..., hidden[-1])."""
        h = self.convolutions(x.reshape(-1, 1, *x.shape[-2:])).flatten(1)
        return self.dense(h).unflatten(0, x.shape[:-2])


class ConvDecoder(Network):
    """The published decoder: a `ConvEncoder` the other way round.

    Args:
        n_in: Size of the latent point.
        x_shape: (n_mels, n_frames) of the output.
        hidden: Sizes of the dense layers.
        channels: Channels of the encoder's convolutions; here they come in reverse.
        kernel: Width of the convolutions, odd.
        dilation: As in the encoder.
        dropout: Share of the dense units that are dropped in training.
    """

    def __init__(
        self,
        n_in: int,
        x_shape: tuple[int, int],
        hidden: Sequence[int],
        *,
        channels: Sequence[int],
        kernel: int = 7,
        dilation: int = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        shapes = _halved(x_shape, len(channels))
        self.first = channels[-1], *shapes[-1]
        self.dense = DenseLayers(n_in, (*hidden, math.prod(self.first)), dropout=dropout)
        layers: list[nn.Module] = []
        for i in reversed(range(len(channels))):
            n_out = channels[i - 1] if i else 1
            step = dilation**i
            height, width = shapes[i]
            more = 1 - height % 2, 1 - width % 2  # halving rounded an odd side up
            sizes = channels[i], n_out, kernel, 2, step * (kernel // 2), more
            layers.append(nn.ConvTranspose2d(*sizes, bias=i == 0, dilation=step))
            layers += [nn.BatchNorm2d(n_out), nn.ELU()] if i else []
        self.convolutions = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        """Map (..., n_in) to (..., n_mels, n_frames)."""
        h = self.dense(z.reshape(-1, z.shape[-1])).unflatten(-1, self.first)
        return self.convolutions(h).squeeze(1).unflatten(0, z.shape[:-1])


def sound_encoder(
    kind: Networks, x_shape: tuple[int, int], embedding_dim: int, channels: Sequence[int]
) -> nn.Module:
    """Build the network that embeds sounds.

    Args:
        kind: ``"mel"`` for `MelEncoder`, ``"conv"`` for `ConvEncoder`.
        x_shape: (n_mels, n_frames) of the sounds.
        embedding_dim: Size of the embedding.
        channels: Channels of the convolutions.

    Raises:
        InputError: The kind is unknown.
    """
    if kind == "mel":
        return MelEncoder(x_shape, embedding_dim, channels=channels)
    if kind == "conv":
        hidden = (embedding_dim,) * DENSE
        return ConvEncoder(x_shape, hidden, channels=channels, dropout=DROPOUT)
    raise unknown("kind of networks", kind, get_args(Networks))


def sound_decoder(
    kind: Networks,
    latent_dim: int,
    x_shape: tuple[int, int],
    *,
    channels: Sequence[int],
    hidden: int,
    rank: int,
) -> nn.Module:
    """Build the network that predicts sounds.

    Args:
        kind: ``"mel"`` for `MelDecoder`, ``"conv"`` for `ConvDecoder`.
        latent_dim: Size of the latent point.
        x_shape: (n_mels, n_frames) of the sounds.
        channels: Channels of the encoder's convolutions, which `ConvDecoder` mirrors.
        hidden: Width of the layers before the last.
        rank: Spectrograms that `MelDecoder` mixes.

    Raises:
        InputError: The kind is unknown.
    """
    if kind == "mel":
        return MelDecoder(latent_dim, x_shape, hidden=hidden, rank=rank)
    if kind == "conv":
        layers = (hidden,) * DENSE
        return ConvDecoder(latent_dim, x_shape, layers, channels=channels, dropout=DROPOUT)
    raise unknown("kind of networks", kind, get_args(Networks))


def _halved(shape: tuple[int, int], times: int) -> list[tuple[int, int]]:
    """Return a shape, and what is left of it after each halving, rounded up."""
    shapes = [shape]
    for _ in range(times):
        height, width = shapes[-1]
        shapes.append(((height + 1) // 2, (width + 1) // 2))
    return shapes
