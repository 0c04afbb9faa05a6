"""The distributions of our own against torch's and Pyro's."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import TraceEnum_ELBO, config_enumerate

from benchmarks.gpu import NoiseOfTheCpu
from pyrosynth.modeling.bijections import log_normal
from pyrosynth.modeling.distributions import (
    CubeNormal,
    FlowTransform,
    MelNormal,
    log_mixture,
    noise_from,
)
from pyrosynth.modeling.flows import coupling_flow
from pyrosynth.modeling.labels import Labels, TagBase


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


def test_cube_normal_is_a_normal_seen_through_its_distribution_function():
    loc, log_scale = torch.randn(3, 4), torch.linspace(-1, 0.5, 4)
    ours = CubeNormal(loc, log_scale)
    squash = dist.transforms.CumulativeDistributionTransform(dist.Normal(0.0, 1.0))
    stretched = dist.Normal(loc.double(), log_scale.double().exp())
    theirs = dist.TransformedDistribution(stretched, [squash]).to_event(1)
    v = torch.rand(5, 3, 4) * 0.98 + 0.01
    torch.testing.assert_close(ours.log_prob(v), theirs.log_prob(v.double()).float())
    assert (ours.batch_shape, ours.event_shape) == ((3,), (4,))
    draws = ours.rsample((40000,))
    assert ((draws > 0) & (draws < 1)).all()
    torch.testing.assert_close(draws.mean(0), ours.mean, atol=0.01, rtol=0)
    grid = torch.linspace(0, 1, 4002)[1:-1]
    density = CubeNormal(loc[0, :1], log_scale[:1]).log_prob(grid[:, None]).exp()
    assert density.mean() == pytest.approx(1.0, abs=0.01)
    parts = torch.stack([CubeNormal(part, log_scale).log_prob(v[:, 0]) for part in loc])
    mixture = CubeNormal(loc.unsqueeze(1), log_scale).log_mixture(v[:, :1])[:, 0]
    torch.testing.assert_close(mixture, parts.logsumexp(0) - math.log(3), atol=1e-4, rtol=1e-4)
    assert CubeNormal(torch.tensor([-9.0, 9.0]), torch.zeros(2)).log_prob(v[0, 0, :2]).isfinite()


def tag_base(mask, features=3, **changes):
    """A binary tag and one of three classes, of unequal weight and width."""
    parts = {
        "loc": torch.tensor([[-0.8, 0.8, 0.0], [-1.0, 0.2, 1.0]]),
        "scale": torch.tensor([[0.6], [0.3]]),
        "log_weight": torch.tensor([[0.3, 0.7, 0.0], [0.2, 0.5, 0.3]]).log(),
        **changes,
    }
    return TagBase(**parts, label_mask=torch.tensor(mask), features=features)


def log_probability(mask):
    """Return the log probability of a mask of the two tags."""
    base = tag_base(mask)
    return Labels(base.log_weight).log_prob(base.label_mask)


YES, NO = True, False
MISSING = [[YES, YES, NO], [YES, YES, YES]]
OBSERVED = [[NO, YES, NO], [YES, NO, NO]]
EXCLUDED = [[YES, YES, NO], [YES, NO, YES]]


@pytest.mark.parametrize("mask", [MISSING, OBSERVED, EXCLUDED])
def test_tag_base_integrates_to_one(mask):
    axis = torch.linspace(-6, 6, 81, dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1)
    total = tag_base(mask).log_prob(grid).exp().sum() * (axis[1] - axis[0]) ** 3
    assert total.item() == pytest.approx(1, abs=1e-5)


def test_missing_tag_is_the_mixture():
    u = torch.randn(50, 3)
    weight = tag_base(MISSING).log_joint
    whole = []
    for first in range(2):
        for second in range(3):
            held = torch.zeros(2, 3, dtype=torch.bool)
            held[0, first] = held[1, second] = True
            whole.append(
                tag_base(held.tolist()).log_prob(u) + weight[0, first] + weight[1, second]
            )
    torch.testing.assert_close(torch.stack(whole).logsumexp(0), tag_base(MISSING).log_prob(u))
    # The joint of mask and point is what is left of that sum.
    for mask in (MISSING, OBSERVED, EXCLUDED):
        base = tag_base(mask)
        kept = [
            term
            for i, term in enumerate(whole)
            if mask[0][i // 3] and mask[1][i % 3]
        ]  # fmt: skip
        joint = base.log_prob(u) + log_probability(mask)
        torch.testing.assert_close(joint, torch.stack(kept).logsumexp(0))
    assert log_probability(MISSING) == pytest.approx(0, abs=1e-6)
    assert log_probability(EXCLUDED).exp() == pytest.approx(0.5)


def test_tag_base_is_what_pyro_enumerates():
    """The closed form against Pyro's own sum over the missing labels, value and gradients."""
    loc = torch.tensor([[-0.8, 0.8], [-1.0, 0.5]], dtype=torch.float64, requires_grad=True)
    log_scale = torch.tensor([[-0.5], [-1.0]], dtype=torch.float64, requires_grad=True)
    logits = torch.tensor([[0.4, -0.2], [-1.0, 0.3]], dtype=torch.float64, requires_grad=True)
    label = torch.tensor([[0, 1], [1, 0], [0, 0], [1, 1], [0, 1]])
    known = torch.tensor([[YES, YES], [NO, YES], [YES, NO], [NO, NO], [YES, YES]])
    u = torch.randn(5, 3, dtype=torch.float64)
    parameters = (loc, log_scale, logits)

    def model():
        with pyro.plate("presets", 5):
            for j in range(2):
                label_ = pyro.sample(
                    f"t{j}", dist.Categorical(logits=logits[j]),
                    obs=label[:, j], obs_mask=known[:, j],
                )  # fmt: skip
                around = dist.Normal(loc[j][label_], log_scale[j].exp())
                pyro.sample(f"u{j}", around, obs=u[:, j])
            pyro.sample("free", dist.Normal(0.0, 1.0), obs=u[:, 2])

    def guide():
        """Draw nothing: what is not observed is enumerated."""

    elbo = TraceEnum_ELBO(max_plate_nesting=1)
    enumerated = -elbo.differentiable_loss(config_enumerate(model), guide)
    mask = torch.nn.functional.one_hot(label, 2).bool() | ~known.unsqueeze(-1)
    base = TagBase(loc, log_scale.exp(), logits.log_softmax(-1), mask, 3)
    known_labels = Labels(base.log_weight).log_prob(mask)
    closed = (base.log_prob(u) + known_labels).sum()
    torch.testing.assert_close(closed, enumerated, atol=1e-12, rtol=1e-12)
    ours = torch.autograd.grad(closed, parameters)
    theirs = torch.autograd.grad(enumerated, parameters)
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-10)


def test_labels_given_a_point_are_bayes_rule():
    """log p(t, u) - log p(u) is the logarithm of what the classes that are left are worth."""
    u = torch.randn(20, 3)
    every = tag_base(MISSING)
    classes = every.log_weight.exp() * normal(u[:, :2, None], every.loc, every.scale)
    classes = classes / classes.sum(-1, keepdim=True)
    for mask in (MISSING, EXCLUDED, OBSERVED):
        joint = tag_base(mask).log_prob(u) + log_probability(mask)
        expected = (classes * torch.tensor(mask)).sum(-1).log().sum(-1)
        found = joint - every.log_prob(u) - log_probability(MISSING)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def normal(value, loc, scale):
    return dist.Normal(loc, scale).log_prob(value).exp()


def test_labels_draw_one_class_of_each_tag():
    labels = Labels(tag_base(MISSING).log_weight).expand((5,))
    assert (labels.batch_shape, labels.event_shape) == ((5,), (2, 3))
    draws = labels.sample((20_000,))
    assert draws.shape == (20_000, 5, 2, 3)
    assert (draws.sum(-1) == 1).all()
    torch.testing.assert_close(
        draws.float().mean((0, 1)), labels.log_weight.exp(), atol=0.01, rtol=0
    )
    assert labels.log_prob(labels.missing).abs().max() < 1e-6
    one = labels.log_prob(torch.tensor(OBSERVED)).exp()
    assert one.item() == pytest.approx(0.7 * 0.2)


def test_noise_from_a_generator():
    """All distributions draw from it, and torch's own generator is not touched."""
    state = torch.get_rng_state()
    several = (
        dist.Normal(torch.zeros(3), 1.0), dist.Uniform(torch.zeros(3), 1.0),
        dist.Categorical(logits=torch.zeros(3)), dist.Beta(torch.ones(3), 2.0),
        dist.Bernoulli(torch.full((3,), 0.5)), MelNormal(torch.zeros(2, 3), torch.zeros(())),
        CubeNormal(torch.zeros(3), torch.zeros(3)), tag_base(MISSING),
        Labels(tag_base(MISSING).log_weight), dist.Laplace(torch.zeros(3), 1.0),
    )  # fmt: skip
    for fn in several:
        draws = []
        for seed in (0, 0, 1):
            with noise_from(torch.Generator().manual_seed(seed)):
                draws.append(fn.sample((50,)))
        assert torch.equal(draws[0], draws[1]), fn
        assert not torch.equal(draws[0], draws[2]), fn
    assert torch.equal(state, torch.get_rng_state())


def test_two_devices_are_given_the_same_noise(device):
    """As the CPU alone has it, by the mode in which the benchmark of a GPU holds it to the CPU."""

    def draws(place):
        torch.manual_seed(0)
        zeros = torch.zeros(3, device=place)
        return [
            torch.randn(3, device=place), torch.rand_like(zeros), zeros.clone().normal_(),
            torch.randperm(9, device=place), torch.bernoulli(zeros + 0.5),
            torch.normal(zeros, zeros + 1.0), zeros.clone().exponential_(),
            dist.Gamma(zeros + 2.0, zeros + 1.0).sample(), torch.randint(99, (5,), device=place),
        ]  # fmt: skip

    plain = draws("cpu")
    with NoiseOfTheCpu():
        there = draws(device)
    for given, drawn in zip(plain, there, strict=True):
        assert drawn.device.type == torch.device(device).type
        assert torch.equal(drawn.cpu(), given)


def test_tag_base_draws():
    mask = torch.tensor([MISSING, OBSERVED])
    base = tag_base(mask.tolist(), features=4)
    assert base.batch_shape == (2,)
    draws = base.sample((100_000,))
    assert draws.shape == (100_000, 2, 4)
    weight = torch.tensor([[0.3, 0.7, 0.0], [0.2, 0.5, 0.3]])
    mean = torch.stack([(weight * base.loc).sum(-1), torch.tensor([0.8, -1.0])])
    torch.testing.assert_close(draws[..., :2].mean(0), mean, atol=0.02, rtol=0)
    spread = (weight * (base.loc - mean[0, :, None]).square()).sum(-1) + base.scale[:, 0] ** 2
    torch.testing.assert_close(draws[:, 0, :2].var(0), spread, atol=0.02, rtol=0)
    torch.testing.assert_close(draws[:, 1, :2].std(0), base.scale[:, 0], atol=0.02, rtol=0)
    torch.testing.assert_close(draws[..., 2:].std(0), torch.ones(2, 2), atol=0.02, rtol=0)


def test_without_tags_it_is_a_standard_normal():
    nothing = torch.zeros(0, 2)
    base = TagBase(nothing, nothing, nothing, torch.zeros(5, 0, 2, dtype=torch.bool), 3)
    u = torch.randn(5, 3)
    torch.testing.assert_close(base.log_prob(u), log_normal(u))
    labels = Labels(nothing, (5,))
    assert torch.equal(labels.log_prob(labels.sample()), torch.zeros(5))
    assert base.sample((2,)).shape == (2, 5, 3)


def test_tag_base_behind_a_flow_integrates_to_one():
    """What the disentangling flow makes of it, with the whole log-determinant."""
    flow = coupling_flow(2, n_layers=4, hidden=16).double()
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    axis = torch.linspace(-8, 8, 201, dtype=torch.float64)
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1)
    for mask in (MISSING, OBSERVED, EXCLUDED):
        base = tag_base(mask, features=2)
        density = dist.TransformedDistribution(base, [FlowTransform(flow)])
        total = density.log_prob(grid).exp().sum() * (axis[1] - axis[0]) ** 2
        assert total.item() == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("leading", [(), (4,), (7, 4)])
def test_mixture_of_normals(leading):
    y, loc = torch.randn(*leading, 2, 3), torch.randn(5, 2, 3)
    for log_scale in (0.3 * torch.randn(5, 2, 3), 0.3 * torch.randn(3)):
        scale = log_scale.exp().expand(5, 2, 3)
        parts = dist.Normal(loc, scale).to_event(1).log_prob(y.unsqueeze(-3))
        expected = parts.logsumexp(-2) - torch.tensor(5.0).log()
        torch.testing.assert_close(log_mixture(y, loc, log_scale), expected, atol=1e-5, rtol=1e-5)
