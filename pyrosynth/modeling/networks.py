"""Networks that variants are made of; all take any leading dimensions.

``mel`` networks are the package's own; ``conv`` networks are the published ones, with convolutions
over bands and frames.

References:
    Esling et al. (2019), Universal audio synthesizer control with normalizing flows,
    https://arxiv.org/abs/1907.00971.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from pyrosynth.errors import InputError, unknown
from pyrosynth.modeling.convolutions import DoublingConv2d, HalvingConv2d

Networks = Literal["mel", "conv"]

DENSE, DROPOUT = 3, 0.3  # dense layers after and before the convolutions, as published


class Network(nn.Module):
    """A large network from tensor to tensor, whose products may be rounded to bfloat16.

    Rounded, they are up to twice as fast where the processor has instructions for them. Weights,
    sums, and what goes in and out keep their type.
    """

    rounded = False

    def __call__(self, x: Tensor) -> Any:
        """Apply the network."""
        if not self.rounded:
            return super().__call__(x)
        with torch.autocast(x.device.type, torch.bfloat16, cache_enabled=False):
            return super().__call__(x).to(x.dtype)


@contextmanager
def rounded(networks: Iterable[Network]) -> Iterator[None]:
    """Round the products of networks for a while."""
    networks = tuple(networks)
    for network in networks:
        network.rounded = True
    try:
        yield
    finally:
        for network in networks:
            network.rounded = False


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


class DenseLayers(nn.Sequential):
    """Hidden layers with batch norm, ELU and dropout; the last one is hidden as well.

    Args:
        n_in: Size of the input's last axis.
        hidden: Sizes of the layers.
        dropout: Share of the units that are dropped in training.
    """

    def __init__(self, n_in: int, hidden: Sequence[int], *, dropout: float = 0.0) -> None:
        layers: list[nn.Module] = []
        for left, right in pairwise((n_in, *hidden)):
            # Batch norm would take away a bias: it would have no gradient.
            layers += [nn.Linear(left, right, bias=False), nn.BatchNorm1d(right), nn.ELU()]
            layers += [nn.Dropout(dropout)] if dropout else []
        super().__init__(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., n_in) to (..., hidden[-1]).

        Raises:
            InputError: There is a single row in training, which batch norm cannot learn from.
        """
        rows = x.reshape(-1, x.shape[-1])
        if self.training and len(rows) == 1:
            raise InputError("batch norm learns from at least 2 presets a step; raise batch_size")
        return super().forward(rows).unflatten(0, x.shape[:-1])


class MelEncoder(Network):
    """Convolutions over time from a log-mel spectrogram to an embedding.

    The mel bands are the channels of the input: with one note played, a band means the same
    thing in every sound, so nothing is to be gained from sliding over frequency, and the network
    is half as dear on a CPU as one with two-dimensional convolutions.

    Args:
        x_shape: (n_mels, n_frames) of the input.
        n_out: Size of the embedding.
        channels: Channels of each convolution; every one halves the number of frames.
    """

    def __init__(
        self,
        x_shape: tuple[int, int],
        n_out: int,
        *,
        channels: Sequence[int] = (128, 192, 256),
    ) -> None:
        super().__init__()
        n_bands, n_frames = x_shape
        layers: list[nn.Module] = []
        for left, right in pairwise((n_bands, *channels)):
            width = 3 if layers else 5
            layers += [nn.Conv1d(left, right, width, 2, width // 2), nn.SiLU()]
            n_frames = (n_frames - 1) // 2 + 1
        self.convolutions = nn.Sequential(*layers)
        self.first = nn.Linear(channels[-1] * n_frames, n_out)
        self.second = nn.Linear(n_out, n_out)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., n_mels, n_frames) to (..., n_out)."""
        h = self.convolutions(x.reshape(-1, *x.shape[-2:])).flatten(1)
        h = nn.functional.silu(self.first(h))
        h = h + nn.functional.silu(self.second(h))
        return h.unflatten(0, x.shape[:-2])


class MelDecoder(Network):
    """Perceptron from a latent point to an expected log-mel spectrogram.

    The last layer mixes ``rank`` learnt spectrograms: two matrix products, several times
    cheaper on a CPU than transposed convolutions of the same error.

    Args:
        n_in: Size of the latent point.
        x_shape: (n_mels, n_frames) of the output.
        hidden: Width of the residual blocks.
        n_blocks: Number of them.
        rank: Number of learnt spectrograms.
    """

    def __init__(
        self,
        n_in: int,
        x_shape: tuple[int, int],
        *,
        hidden: int = 512,
        n_blocks: int = 2,
        rank: int = 256,
    ) -> None:
        super().__init__()
        self.x_shape = x_shape
        self.mixture = ResidualMLP(n_in, hidden, rank, n_blocks=n_blocks)
        self.spectrograms = nn.Linear(rank, math.prod(x_shape))

    def forward(self, z: Tensor) -> Tensor:
        """Map (..., n_in) to (..., n_mels, n_frames)."""
        return self.spectrograms(self.mixture(z)).unflatten(-1, self.x_shape)


class ConvBlock(nn.Sequential):
    """Convolution over bands and frames that halves both, batch norm, ELU.

    Args:
        n_in: Channels of the input.
        n_out: Channels of the output.
        kernel: Width of the convolution, odd.
        dilation: Distance between the cells it reads.
    """

    def __init__(self, n_in: int, n_out: int, kernel: int, dilation: int) -> None:
        convolution = HalvingConv2d(n_in, n_out, kernel, dilation)
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
        if kernel < 1 or kernel % 2 == 0:
            raise InputError(f"a kernel of {kernel} cells; give an odd number, such as 3")
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
    """The published decoder, which mirrors `ConvEncoder`.

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
            height, width = shapes[i]
            more = 1 - height % 2, 1 - width % 2  # halving rounded an odd side up
            sizes = channels[i], n_out, kernel, dilation**i, more
            layers.append(DoublingConv2d(*sizes, bias=i == 0))
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
