"""The two distributions of our own against torch's."""

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrosynth.distributions import Known, MelNormal, flow_normal, log_normal
from pyrosynth.flows import coupling_flow


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("bands", [(), (6,)])
def test_mel_normal_is_a_normal(bands):
    loc, log_scale, x = torch.randn(3, 6, 5), 0.3 * torch.randn(bands), torch.randn(3, 6, 5)
    loc.requires_grad_()
    log_scale.requires_grad_()
    ours = MelNormal(loc, log_scale)
    scale = log_scale.exp() if not bands else log_scale.exp()[:, None]
    theirs = dist.Normal(loc, scale.expand(6, 5)).to_event(2)
    torch.testing.assert_close(ours.log_prob(x), theirs.log_prob(x))
    assert ours.batch_shape == (3,)
    assert ours.event_shape == (6, 5)
    ours_grad = torch.autograd.grad(ours.log_prob(x).sum(), (loc, log_scale))
    theirs_grad = torch.autograd.grad(theirs.log_prob(x).sum(), (loc, log_scale))
    torch.testing.assert_close(ours_grad, theirs_grad)


def test_mel_normal_draws():
    loc, log_scale = torch.randn(6, 5), torch.linspace(-1, 1, 6)
    draws = MelNormal(loc, log_scale).sample((20000,))
    assert draws.shape == (20000, 6, 5)
    torch.testing.assert_close(draws.mean(0), loc, atol=0.1, rtol=0)
    std = draws.std(0).mean(-1)
    torch.testing.assert_close(std, log_scale.exp(), atol=0, rtol=0.02)


def test_known_scores_only_the_unknown_rows():
    flow = coupling_flow(4, n_layers=2, hidden=8)
    q = flow_normal(flow, torch.zeros(5, 4))
    value = torch.randn(5, 4)
    known = torch.tensor([True, False, True, False, False])
    point = Known(q, value, known)
    z = point.rsample()
    assert torch.equal(z[known], value[known])
    assert not torch.isclose(z[~known], value[~known]).any()
    log_q = point.log_prob(z)
    assert (log_q[known] == 0).all()
    torch.testing.assert_close(log_q[~known], log_normal(z)[~known], atol=1e-4, rtol=1e-4)


def test_known_everywhere_leaves_q_alone():
    flow = coupling_flow(4, n_layers=2, hidden=8)
    flow.register_forward_hook(lambda *_: pytest.fail("q was evaluated"))
    value = torch.randn(5, 4)
    point = Known(flow_normal(flow, torch.zeros(5, 4)), value, None)
    assert torch.equal(point.rsample(), value)
    assert torch.equal(point.log_prob(value), torch.zeros(5))


def test_known_is_a_pyro_site():
    q = dist.Normal(torch.zeros(5, 4), 1.0).to_event(1)
    known = torch.tensor([True, False, True, False, False])
    with pyro.validation_enabled(True), pyro.plate("presets", 5):
        trace = pyro.poutine.trace(
            lambda: pyro.sample("z", Known(q, torch.ones(5, 4), known))
        ).get_trace()
    trace.compute_log_prob()
    assert trace.nodes["z"]["log_prob"].shape == (5,)
