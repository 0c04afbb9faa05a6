"""The kernels of a GPU against the plain code of flows, and the networks' faster convolutions."""

import copy

import pytest
import torch
from torch import nn

from pyrosynth.modeling import flow_layers
from pyrosynth.modeling.convolutions import DoublingConv2d, HalvingConv2d
from pyrosynth.modeling.flows import autoregressive_flow, coupling_flow


def results(flow, invert, x, context, dtype, fused, monkeypatch):
    """Return images, log-determinants and all gradients."""
    with monkeypatch.context() as patch:
        if not fused:
            patch.setattr(flow_layers, "kernels_usable", lambda x: False)
        flow, x = copy.deepcopy(flow).to(dtype), x.to(dtype).requires_grad_()
        assert flow_layers.kernels_usable(x) == fused
        inputs = [x]
        if context is not None:
            context = context.to(dtype).requires_grad_()
            inputs.append(context)
        y, ladj = (flow.inverse if invert else flow)(x, context)
        rng = torch.Generator().manual_seed(1)
        weights = (torch.randn(t.shape, generator=rng).to(t) for t in (y, ladj))
        loss = sum((w * t).sum() for w, t in zip(weights, (y, ladj), strict=True))
        return [y, ladj, *torch.autograd.grad(loss, [*inputs, *flow.parameters()])]


def error(those, truth):
    return max(
        float(((a - b).abs().max() / b.abs().max()).detach())
        for a, b in zip(those, truth, strict=True)
    )


def moved(flow, device):
    torch.manual_seed(0)
    with torch.no_grad():
        for weights in flow.parameters():
            weights.normal_(std=0.06)
    return flow.to(device)


@pytest.mark.gpu
@pytest.mark.parametrize("features", [2, 5, 41])
@pytest.mark.parametrize("n_context", [0, 32])
@pytest.mark.parametrize("lead", [(64,), (3, 20)])
def test_couplings_are_as_exact_as_the_plain_code(features, n_context, lead, device, monkeypatch):
    flow = moved(coupling_flow(features, n_context=n_context, n_layers=3, hidden=64), device)
    x = 3 * torch.randn(*lead, features, device=device)  # some are outside of the splines
    context = torch.randn(lead[-1], n_context, device=device) if n_context else None
    for invert in (False, True):
        given = flow, invert, x, context
        truth = results(*given, torch.float64, False, monkeypatch)
        plain = error(results(*given, torch.float32, False, monkeypatch), truth)
        assert error(results(*given, torch.float32, True, monkeypatch), truth) < 4 * plain + 1e-4


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["iaf", "maf"])
@pytest.mark.parametrize("n_context", [0, 32])
@pytest.mark.parametrize("n_layers", [1, 4, 5])
def test_stacks_are_as_exact_as_the_plain_code(kind, n_context, n_layers, device, monkeypatch):
    options = {"n_context": n_context, "n_layers": n_layers, "hidden": 48, "kind": kind}
    flow = moved(autoregressive_flow(11, **options), device)
    x = torch.randn(5, 7, 11, device=device)
    context = torch.randn(7, n_context, device=device) if n_context else None
    given = flow, kind == "maf", x, context
    truth = results(*given, torch.float64, False, monkeypatch)
    assert error(results(*given, torch.float32, True, monkeypatch), truth) < 1e-4
    with torch.no_grad():
        y, ladj = (flow.inverse if kind == "maf" else flow)(x, context)
        back, minus = (flow if kind == "maf" else flow.inverse)(y, context)
    torch.testing.assert_close(back, x, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(minus, -ladj, rtol=1e-4, atol=1e-4)


def same(ours, theirs, x):
    """Compare values and gradients of two convolutions of the same weights."""
    theirs.load_state_dict(ours.state_dict())
    found = []
    for layer in (ours.double(), theirs.double()):
        y = layer(x)
        rng = torch.Generator().manual_seed(0)
        weights = torch.randn(y.shape, generator=rng, dtype=y.dtype)
        found.append([y, *torch.autograd.grad((weights * y).sum(), [x, *layer.parameters()])])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("dilation", [1, 2, 4, 16])
@pytest.mark.parametrize("size", [(16, 22), (5, 7), (1, 3)])
def test_halving_and_doubling_are_the_convolutions_of_torch(dilation, size):
    torch.manual_seed(0)
    x, pad = torch.randn(3, 4, *size, dtype=torch.float64, requires_grad=True), 3 * dilation
    same(HalvingConv2d(4, 5, 7, dilation), nn.Conv2d(4, 5, 7, 2, pad, dilation, bias=False), x)
    for more in ((0, 0), (1, 0), (1, 1)):
        theirs = nn.ConvTranspose2d(4, 5, 7, 2, pad, more, bias=True, dilation=dilation)
        same(DoublingConv2d(4, 5, 7, dilation, more, bias=True), theirs, x)
