"""The published networks: their sizes, and that nothing in them is idle."""

import pytest
import torch
from torch import nn

from pyrosynth.errors import InputError
from pyrosynth.modeling.networks import (
    ConvDecoder,
    ConvEncoder,
    DenseLayers,
    sound_decoder,
    sound_encoder,
)


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("shape", [(64, 87), (65, 32), (8, 11)])
@pytest.mark.parametrize(("kernel", "dilation"), [(7, 2), (3, 1)])
def test_decoder_mirrors_the_encoder(shape, kernel, dilation):
    settings = {"channels": (4, 5, 6), "kernel": kernel, "dilation": dilation}
    encoder = ConvEncoder(shape, (16, 8), **settings)
    decoder = ConvDecoder(8, shape, (16,), **settings)
    x = torch.randn(2, 3, *shape)
    h = encoder(x)
    assert h.shape == (2, 3, 8)
    assert decoder(h).shape == x.shape
    decoder(h).square().sum().backward()
    for network in (encoder, decoder):
        for key, parameter in network.named_parameters():
            assert parameter.grad.abs().sum() > 1e-6, key


def test_published_sizes():
    """Five convolutions of kernel 7 and stride 2, dilated by 1 to 16, then three dense layers."""
    encoder = ConvEncoder((64, 87), (2048,) * 3, channels=(128,) * 5, dropout=0.3)
    found = [layer for layer in encoder.modules() if isinstance(layer, nn.Conv2d)]
    assert [layer.dilation[0] for layer in found] == [1, 2, 4, 8, 16]
    assert {(layer.kernel_size, layer.stride) for layer in found} == {((7, 7), (2, 2))}
    assert encoder.convolutions(torch.randn(2, 1, 64, 87)).shape == (2, 128, 2, 3)
    kinds = [type(layer).__name__ for layer in encoder.dense]
    assert kinds == ["Linear", "BatchNorm1d", "ELU", "Dropout"] * 3


def test_rows_are_alone_once_trained():
    encoder = sound_encoder("conv", (8, 11), 6, (4, 4)).eval()
    decoder = sound_decoder("conv", 6, (8, 11), channels=(4, 4), hidden=7, rank=2).eval()
    x = torch.randn(5, 8, 11)
    h = encoder(x)
    torch.testing.assert_close(encoder(x[2:3]), h[2:3], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(decoder(h[2:3]), decoder(h)[2:3], atol=1e-5, rtol=1e-4)


def test_one_row_teaches_nothing():
    with pytest.raises(InputError, match="at least 2 presets a step; raise batch_size"):
        DenseLayers(3, (4,))(torch.randn(1, 3))


def test_unknown_networks():
    with pytest.raises(InputError, match="unknown kind of networks 'rnn'; known: mel, conv"):
        sound_encoder("rnn", (8, 11), 6, (4,))
    with pytest.raises(InputError, match="unknown kind of networks"):
        sound_decoder("rnn", 6, (8, 11), channels=(4,), hidden=8, rank=2)
