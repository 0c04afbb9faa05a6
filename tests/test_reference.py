"""Numbers known from elsewhere: integrals, a bimodal posterior, a bound and its evidence."""

import math

import pytest
import torch
from torch import nn
from toys import SMALL, toy_data

from pyrosynth.modeling import Dims
from pyrosynth.modeling.networks import MLP
from pyrosynth.training import zoo
from pyrosynth.training.batches import TrainData
from pyrosynth.training.svi import SyncFreeELBO, fit


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def centres(n):
    return (torch.arange(n, dtype=torch.float64) + 0.5) / n


def square(n):
    """Return the centres of an n by n grid on the unit square, shape (n², 2)."""
    return torch.cartesian_prod(centres(n), centres(n))


@pytest.mark.parametrize("name", zoo.list_models())
def test_density_of_parameters_integrates_to_one(name):
    data = toy_data(n=64, n_params=2)
    variant = zoo.load_model(name)(data.dims, **SMALL[name]).double()
    with torch.no_grad():
        for parameter in variant.parameters():
            parameter += 0.06 * torch.randn_like(parameter)
    x = data.batch(data.train[:3])["x"].double()
    # On a grid of Phi⁻¹(v) a coarse midpoint rule is enough: there the tails at the faces of the
    # square are those of a normal density.
    y = 9.5 * (square(120) - 0.5)
    weight = (-0.5 * y.square().sum(-1)).exp() / (2 * math.pi) * (9.5 / 120) ** 2
    v = torch.special.ndtr(y)
    with torch.no_grad():
        log_q = variant.log_prob_v(
            v[:, None].expand(-1, 3, 2), x, torch.Generator().manual_seed(0)
        )
    mass = (weight[:, None] * log_q.exp()).sum(0)
    assert log_q.std() > 0.1  # not the uniform density
    torch.testing.assert_close(mass, torch.ones(3, dtype=torch.float64), atol=3e-3, rtol=0)


def test_density_along_the_paths_of_a_flow():
    """Draws are scored as they were drawn; random directions give the same density on average."""
    data = toy_data(n=64)
    variant = zoo.load_model("flow_matching")(
        data.dims, **{**SMALL["flow_matching"], "n_steps": 10}
    )
    with torch.no_grad():
        for parameter in variant.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    x = data.batch(data.train[:3])["x"]
    v, log_q = variant.sample_v(x, 5, torch.Generator().manual_seed(0))
    exact = variant.log_prob_v(v, x)
    assert exact.std() > 0.5
    torch.testing.assert_close(log_q, exact, atol=2e-3, rtol=1e-3)

    variant.n_probes = 1
    guesses = variant.log_prob_v(v[:, None].expand(-1, 500, 3, 4).movedim(1, 0), x)
    error = guesses.std(0) / math.sqrt(500)
    assert error.min() > 0
    assert ((guesses.mean(0) - exact).abs() < 5 * error).all()


NOISE = 0.1


def fold(v):
    """Fold the first parameter around 1/2: the sound cannot tell its two sides apart."""
    return torch.stack([4 * (v[..., 0] - 0.5).square(), v[..., 1]], -1)


def folded_data(n, resolution=4096, seed=0):
    rng = torch.Generator().manual_seed(seed)
    levels = torch.randint(0, resolution, (n, 2), generator=rng)
    x = fold((levels + 0.5) / resolution)
    x = x + NOISE * torch.randn(x.shape, generator=rng)
    return TrainData(
        x=x[:, None], levels=levels, resolution=torch.full((2,), float(resolution)),
        mean=x.mean(0)[None], std=x.std(0)[None],
        train=torch.arange(n - 2000), valid=torch.arange(n - 2000, n),
    )  # fmt: skip


BIMODAL = {
    "flow_reg": {
        "n_layers": 4, "n_regression_layers": 1, "hidden": 32, "decoder_hidden": 32, "rank": 4,
    },
    "flow_matching": {"hidden": 64, "n_blocks": 1, "n_steps": 6, "n_probes": 2},
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "steps", "lr", "n_drawn", "margin"),
    [("flow_reg", 200, 1e-2, 2000, 0.04), ("flow_matching", 400, 1e-2, 800, 0.05)],
)
def test_bimodal_posterior_is_calibrated(name, steps, lr, n_drawn, margin):
    data = folded_data(22000)
    variant = zoo.load_model(name)(data.dims, embedding_dim=32, channels=(8,), **BIMODAL[name])
    variant.encoder = nn.Sequential(nn.Flatten(-2), MLP(2, (64,), 32))  # no spectrogram here
    fit(
        variant, data, steps=steps, batch_size=256, lr=lr, warm_up=50, validate_every=steps,
        progress=False,
    )  # fmt: skip

    batch, few = data.batch(data.valid), slice(n_drawn)
    with torch.no_grad():
        log_q = variant.log_prob_v(batch["v"], batch["x"])
        draws, _ = variant.sample_v(batch["x"][few], 100)
    # The exact posterior, by a grid: the two parameters are independent given the sound.
    x = data.x[data.valid, 0].double()
    grid = centres(2000)
    columns = fold(torch.stack([grid, grid], -1))
    cells = -0.5 * ((x[:, None] - columns) / NOISE).square()
    evidence = cells.logsumexp(1) - math.log(len(grid))
    truth = -0.5 * ((x - fold(batch["v"].double())) / NOISE).square() - evidence
    assert log_q.mean() > truth.sum(-1).mean() - 0.15
    assert log_q.mean() < truth.sum(-1).mean() + 0.05

    low, high = draws.quantile(0.05, 0), draws.quantile(0.95, 0)
    cover = ((batch["v"][few] > low) & (batch["v"][few] < high)).float().mean(0)
    assert ((cover - 0.9).abs() <= margin).all(), cover
    # Both sides of the fold are drawn, and little between them.
    far = data.x[data.valid[few], 0, 0] > 0.5
    side = draws[:, far, 0]
    assert 0.35 < (side < 0.5).float().mean() < 0.65
    assert ((side - 0.5).abs() < 0.15).float().mean() < 0.03

    if not variant.has_latent:
        return
    # What was learnt can still be inverted.
    z, logdet = variant.latent(batch["v"])
    torch.testing.assert_close(variant.params_of(z), batch["v"], atol=1e-4, rtol=0)
    assert logdet.isfinite().all()


def test_bound_is_the_evidence_less_the_divergence():
    """On two latent dimensions a grid gives log p(x) and KL(q || p(z|x)) exactly."""
    data = toy_data(n=8, n_params=2, unknown=1.0)
    variant = zoo.load_model("flow_reg")(Dims(2, data.dims.x_shape), **SMALL["flow_reg"])
    with torch.no_grad():
        for parameter in variant.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
        variant.log_scale.fill_(1.5)  # a broad likelihood, so that a coarse grid is enough
    variant.double()
    batch = {
        k: t.double() if t.is_floating_point() else t for k, t in data.batch(data.train).items()
    }
    assert not batch["has_v"].any()

    elbo = SyncFreeELBO(variant.terms)
    with torch.no_grad():
        bound = torch.stack([elbo.values(variant, batch).sum() for _ in range(600)])
        z = 12 * (square(150) - 0.5)
        cell = math.log((12 / 150) ** 2)
        scale = variant.log_scale.exp()[:, None]
        sounds = torch.distributions.Normal(variant.expected_x(z)[:, None], scale)
        log_x = sounds.log_prob(batch["x"]).sum((-1, -2))
        log_z = -0.5 * z.square().sum(-1, keepdim=True) - math.log(2 * math.pi)
        joint = log_x + log_z
        log_q = variant.posterior(variant.encode(batch["x"])).log_prob(
            z[:, None].expand(-1, len(batch["x"]), 2)
        )
        q = (log_q + cell).exp()
        torch.testing.assert_close(q.sum(0), torch.ones_like(q[0]), atol=2e-3, rtol=0)
        evidence = (joint + cell).logsumexp(0)
        divergence = (q * (log_q - (joint - evidence))).sum(0)
    expected = (evidence - divergence).mean()
    error = bound.std() / math.sqrt(len(bound))
    assert error < 0.05
    assert abs(bound.mean() - expected) < 4 * error + 0.01
    assert (divergence > 0).all()
