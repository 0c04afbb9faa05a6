"""Every flow of the catalogue goes through the same battery."""

import copy

import pytest
import torch

from pyrosynth.errors import InputError
from pyrosynth.modeling.bijections import Chain, DiagonalAffine, Inverse, Permutation, UnitCube
from pyrosynth.modeling.distributions import FlowTransform, flow_normal, noise_from
from pyrosynth.modeling.flow_layers import Autoregressive, spline
from pyrosynth.modeling.flows import (
    autoregressive_flow,
    coupling_flow,
    posterior_flow,
    regression_flow,
    zuko_flow,
)

D, C = 5, 3
CATALOGUE = {
    "affine": lambda: coupling_flow(D, n_context=C, n_layers=4, hidden=16, kind="affine"),
    "spline": lambda: coupling_flow(D, n_context=C, n_layers=4, hidden=16),
    "spline without context": lambda: coupling_flow(D, n_layers=3, hidden=16, bins=4, bound=3.0),
    "iaf": lambda: autoregressive_flow(D, n_context=C, n_layers=4, hidden=16),
    "maf": lambda: autoregressive_flow(D, n_context=C, n_layers=3, hidden=16, kind="maf"),
    "iaf without context": lambda: autoregressive_flow(D, n_layers=16, hidden=8),
    "posterior": lambda: posterior_flow(D, C, n_layers=2, hidden=16, kind="maf"),
    "inverse": lambda: Inverse(coupling_flow(D, n_context=C, n_layers=2, hidden=16)),
    "diagonal": lambda: DiagonalAffine(D, C, hidden=16),
    "permutation": lambda: Permutation(torch.tensor([3, 1, 4, 0, 2])),
    "chain": lambda: Chain(
        [
            DiagonalAffine(D, C, hidden=16),
            coupling_flow(D, n_context=C, n_layers=2, hidden=16),
            coupling_flow(D, n_layers=2, hidden=16, kind="affine"),
        ]
    ),
    "zuko": lambda: zuko_flow("NSF", D, n_context=C, transforms=2, passes=2),
}
LEARNT = [name for name in CATALOGUE if name != "permutation"]


def built(name, scale=0.06):
    """Build a flow with every parameter moved away from its start."""
    rng = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        flow = CATALOGUE[name]()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += scale * torch.randn(parameter.shape, generator=rng)
    return flow


def points(*shape, seed=1):
    rng = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(*shape, D, generator=rng), torch.randn(*shape, C, generator=rng)


@pytest.mark.parametrize("name", CATALOGUE)
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-4), (torch.float64, 1e-10)])
def test_round_trip_and_inverse_log_det(name, dtype, limit):
    flow = built(name).to(dtype)
    x, context = (t.to(dtype) for t in points(200))
    y, ladj = flow(x, context)
    back, inverse_ladj = flow.inverse(y, context)
    assert (back - x).abs().max() <= limit
    assert (ladj + inverse_ladj).abs().max() <= 10 * limit
    assert name == "permutation" or (y - x).abs().max() > 0.1


@pytest.mark.parametrize("name", CATALOGUE)
@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 1e-4), (torch.float64, 1e-10)])
def test_log_det_against_autograd(name, dtype, limit):
    flow = built(name).to(dtype)
    x, context = (t.to(dtype) for t in points(8))
    _, ladj = flow(x, context)
    for i in range(len(x)):
        jacobian = torch.autograd.functional.jacobian(lambda p, i=i: flow(p, context[i])[0], x[i])
        expected = ladj.expand(len(x))[i].item()
        assert torch.linalg.slogdet(jacobian)[1] == pytest.approx(expected, abs=limit)


@pytest.mark.parametrize("kind", ["spline", "affine"])
@pytest.mark.parametrize("n_context", [0, C])
def test_a_single_feature_is_reshaped_by_the_context_alone(kind, n_context):
    flow = coupling_flow(1, n_context=n_context, n_layers=3, hidden=16, kind=kind)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    x, context = torch.linspace(-3, 3, 50)[:, None], points(50)[1] if n_context else None
    y, ladj = flow(x, context)
    back, inverse_ladj = flow.inverse(y, context)
    assert y.shape == (50, 1)
    assert ladj.shape == (50,)
    torch.testing.assert_close(back, x, atol=1e-4, rtol=0)
    torch.testing.assert_close(inverse_ladj, -ladj, atol=1e-3, rtol=0)
    assert (y - x).abs().max() > 1e-3
    if context is not None:
        assert not torch.allclose(flow(x, context + 1)[0], y)


@pytest.mark.parametrize("name", [n for n in LEARNT if n != "zuko"])
def test_identity_at_the_start(name):
    flow = CATALOGUE[name]()
    x, context = points(50)
    y, ladj = flow(x, context)
    torch.testing.assert_close(y, x, atol=2e-6, rtol=0)
    torch.testing.assert_close(ladj, torch.zeros(50), atol=2e-5, rtol=0)


@pytest.mark.parametrize("name", LEARNT)
@pytest.mark.parametrize("direction", ["forward", "inverse"])
def test_gradient_reaches_every_parameter_and_the_context(name, direction):
    flow = built(name)
    x, context = points(64)
    context.requires_grad_("without" not in name)
    out, ladj = getattr(flow, direction)(x, context)
    (out.square().sum() + ladj.sum()).backward()
    for key, parameter in flow.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.abs().sum() > 0, key
    if context.requires_grad:
        assert context.grad.abs().sum() > 0


@pytest.mark.parametrize("name", CATALOGUE)
def test_leading_axes_and_a_broadcast_context(name):
    flow = built(name)
    x, context = points(4, 6)
    y, ladj = flow(x, context[:1].expand(4, 6, C))
    assert name == "permutation" or ladj.shape == (4, 6)
    for i in range(4):
        torch.testing.assert_close(flow(x[i], context[0])[0], y[i])
    torch.testing.assert_close(flow(x, context[0])[0], y)
    torch.testing.assert_close(flow.inverse(y, context[0])[0], x, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", CATALOGUE)
def test_copy_and_state_dict_reload_exactly(name):
    flow = built(name)
    x, context = points(16)
    FlowTransform(flow, context)(x)
    y = flow(x, context)[0]
    assert torch.equal(copy.deepcopy(flow)(x, context)[0], y)
    fresh = CATALOGUE[name]()
    if name == "permutation":
        fresh = Permutation(torch.arange(D))
    fresh.load_state_dict(flow.state_dict())
    assert torch.equal(fresh(x, context)[0], y)


@pytest.mark.gpu
@pytest.mark.parametrize("name", CATALOGUE)
def test_device_move(name, device):
    flow = built(name)
    x, context = points(32)
    y, ladj = flow(x, context)
    moved, moved_ladj = flow.to(device)(x.to(device), context.to(device))
    torch.testing.assert_close(moved.cpu(), y, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(moved_ladj.cpu(), ladj, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", ["spline", "chain"])
def test_transform_keeps_its_last_pair(name):
    flow = built(name)
    _, context = points(16)
    posterior = flow_normal(flow, torch.zeros(16, D), context)
    calls = []
    flow.register_forward_hook(lambda *_: calls.append(1))
    z = posterior.rsample()
    log_q = posterior.log_prob(z)
    assert len(calls) == 1
    assert posterior.event_shape == (D,)
    assert posterior.batch_shape == (16,)
    # The same density when nothing is remembered: through the inverse.
    again = flow_normal(flow, torch.zeros(16, D), context).log_prob(z.clone())
    torch.testing.assert_close(again, log_q, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(
        FlowTransform(flow, context).log_abs_det_jacobian(z, z), flow(z, context)[1]
    )


def test_draw_is_repeatable_and_scored_by_its_density():
    flow = built("spline")
    _, context = points(4)
    origin = torch.zeros(4, D)
    density, state = flow_normal(flow, origin, context), torch.get_rng_state()
    with noise_from(torch.Generator().manual_seed(3)):
        first = density.sample((7,))
    log_q = density.log_prob(first)
    with noise_from(torch.Generator().manual_seed(3)):
        second = density.sample((7,))
    assert torch.equal(first, second)
    assert torch.equal(state, torch.get_rng_state())
    assert first.shape == (7, 4, D)
    scored = flow_normal(flow, origin, context).log_prob(first)
    torch.testing.assert_close(scored, log_q, atol=1e-3, rtol=1e-4)


def test_spline_is_monotone_and_the_identity_outside():
    rng = torch.Generator().manual_seed(0)
    shape = 4 * torch.randn(20, 1, 23, generator=rng, dtype=torch.float64)
    x = torch.linspace(-4, 4, 2001, dtype=torch.float64).expand(20, 2001)
    y, ladj = spline(x, shape.expand(20, 2001, 23), 8, 3.0, invert=False)
    assert (y.diff(dim=-1) > 0).all()
    assert ladj.isfinite().all()
    outside = x.abs() > 3
    assert torch.equal(y[outside], x[outside])
    assert (ladj[outside] == 0).all()


def test_extreme_values_keep_gradients_finite():
    flow = built("spline", scale=0.5)
    x = torch.tensor([[1e4, -1e4, 5.0, -5.0, 0.0], [30.0, 4.999999, -4.999999, 0.0, 5.0]])
    x.requires_grad_()
    for direction in (flow, flow.inverse):
        y, ladj = direction(x, torch.zeros(2, C))
        (gradient,) = torch.autograd.grad(y.sum() + ladj.sum(), x)
        assert gradient.isfinite().all()


def test_unit_cube():
    cube = UnitCube()
    rng = torch.Generator().manual_seed(0)
    v = torch.rand(500, D, generator=rng, dtype=torch.float64).clamp(1e-5, 1 - 1e-5)
    y, ladj = cube.inverse(v)
    back, back_ladj = cube(y)
    torch.testing.assert_close(back, v, atol=1e-12, rtol=0)
    torch.testing.assert_close(ladj + back_ladj, torch.zeros_like(ladj), atol=1e-10, rtol=0)
    # A standard normal becomes the uniform density.
    density = -(0.5 * y.square()).sum(-1) - D * 0.5 * torch.log(torch.tensor(2 * torch.pi)) + ladj
    torch.testing.assert_close(density, torch.zeros_like(density), atol=1e-6, rtol=0)
    faces, _ = cube.inverse(torch.tensor([[0.0, 1.0, 0.5, 0.0, 1.0]]))
    assert faces.isfinite().all()
    assert (cube(100 * faces)[0] > 0).all()
    assert (cube(100 * faces)[0] < 1).all()


@pytest.mark.parametrize(("kind", "at_once"), [("iaf", "forward"), ("maf", "inverse")])
def test_autoregressive_steps(kind, at_once):
    """One direction takes one evaluation of the network, the other one for each feature."""
    flow = autoregressive_flow(D, n_layers=1, hidden=16, kind=kind)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    (step,) = [m for m in flow.modules() if isinstance(m, Autoregressive)]
    calls = []
    step.net.register_forward_hook(lambda *_: calls.append(1))
    x, _ = points(1)
    for direction in ("forward", "inverse"):
        calls.clear()
        jacobian = torch.autograd.functional.jacobian(
            lambda p, d=direction: getattr(flow, d)(p)[0], x[0]
        )
        assert len(calls) == (1 if direction == at_once else D)
        assert (jacobian.triu(1) == 0).all()
        assert (jacobian.tril(-1) != 0).sum() == D * (D - 1) // 2


@pytest.mark.parametrize("kind", ["spline", "affine", "iaf", "maf"])
def test_flow_onto_the_unit_cube(kind):
    flow = regression_flow(D, n_layers=2, hidden=16, kind=kind)
    v = torch.rand(50, D, generator=torch.Generator().manual_seed(0))
    z, ladj = flow.inverse(v)
    torch.testing.assert_close(flow(z)[0], v, atol=1e-5, rtol=0)
    torch.testing.assert_close(UnitCube()(z)[0], v, atol=1e-5, rtol=0)  # at the start
    torch.testing.assert_close(flow(z)[1], -ladj, atol=1e-3, rtol=1e-3)


def test_bad_arguments():
    with pytest.raises(InputError, match="known: spline, affine"):
        coupling_flow(4, kind="planar")
    with pytest.raises(InputError, match="known: iaf, maf"):
        autoregressive_flow(4, kind="planar")
    with pytest.raises(InputError, match="known: spline, affine, iaf, maf"):
        posterior_flow(4, 2, kind="planar")
    with pytest.raises(InputError, match="NSF"):
        zuko_flow("Nothing", 4)
