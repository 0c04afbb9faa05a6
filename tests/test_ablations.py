"""The ablations: variants of a user's own kind that differ from a model in one thing."""

from pathlib import Path

import pyro
import pytest
import torch
import torch.distributions as dist
from toys import SMALL, toy_data

from pyrosynth.modeling import SyncFreeELBO, coupling_flow
from pyrosynth.training import zoo
from pyrosynth.training.svi import fit

FOLDER = Path(__file__).parents[1] / "benchmarks" / "ablations"

# What each is made of, and the parts of either in which the two differ.
OF = {
    "flow_dis_split": ("flow_dis", {"log_weight", "logit_scale", "log_scale_tags"}),
    "flow_reg_global": ("flow_reg", {"posterior_flow"}),
    "flow_reg_mlp": ("flow_reg", {"regression", "regressor", "log_scale_v"}),
    "flow_reg_raw": ("flow_reg", set()),
}
every_ablation = pytest.mark.parametrize("name", OF)


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def small(name, data, nudge=0.05):
    options = dict(SMALL[OF[name][0]])
    if name == "flow_dis_split":
        del options["delta"]  # the weight of a term that the published sum has in it
    variant = zoo.load_model(FOLDER / f"{name}.py")(data.dims, **options)
    with torch.no_grad():
        for parameter in variant.parameters():
            parameter += nudge * torch.randn_like(parameter)
    return variant


def loss_of(variant, batch):
    elbo = SyncFreeELBO(variant.terms)
    torch.manual_seed(1)
    return elbo.loss(variant, batch, elbo.weights(10**6, torch.device("cpu")))


def test_each_file_is_tested():
    assert {file.stem for file in FOLDER.glob("*.py")} == set(OF)


@every_ablation
def test_all_else_is_equal(name):
    data = toy_data(n=8)
    original, parts = OF[name]
    ours, theirs = small(name, data), zoo.load_model(original)(data.dims, **SMALL[original])
    options, defaults = (type(v)(data.dims).hyperparameters() for v in (ours, theirs))
    if name == "flow_dis_split":
        del defaults["delta"]
    assert {**options, **defaults} == options
    shapes = [{(k, t.shape) for k, t in v.state_dict().items()} for v in (ours, theirs)]
    assert {key.partition(".")[0] for key, _ in shapes[0] ^ shapes[1]} == parts
    assert "An ablation: " in type(ours).__doc__


@every_ablation
@pytest.mark.parametrize("unknown", [0.0, 0.5])
def test_gradients(name, unknown):
    data = toy_data(n=64, unknown=unknown)
    variant = small(name, data)
    loss_of(variant, data.batch(data.train)).backward()
    for key, parameter in variant.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.abs().sum() > 0, key


@every_ablation
def test_fit_and_draws(name):
    data = toy_data(n=256)
    variant = small(name, data, nudge=0.0)
    batch = data.batch(data.valid)
    with torch.no_grad():
        before = loss_of(variant, batch)
    fit(variant, data, steps=40, batch_size=64, lr=5e-3, warm_up=10, progress=False)
    with torch.no_grad():
        assert loss_of(variant, batch) < before - 3
        v, log_q = variant.sample_v(batch["x"], 6, torch.Generator().manual_seed(5))
        assert v.shape == (6, len(data.valid), 4)
        assert ((v > 0) & (v < 1)).all()
        if variant.exact:
            scored = variant.log_prob_v(v, batch["x"])
            torch.testing.assert_close(scored, log_q, atol=0.02, rtol=1e-3)
        z = variant.posterior(variant.encode(batch["x"])).sample()
        assert variant.expected_x(z).shape == batch["x"].shape
        assert variant.params_of(z).shape == (len(z), 4)
        if name != "flow_reg_mlp":
            there, _ = variant.latent(v)
            torch.testing.assert_close(variant.params_of(there), v, atol=1e-3, rtol=1e-3)


def test_global_couplings_are_the_same_for_every_sound():
    data = toy_data(n=16)
    variant = small("flow_reg_global", data)
    h = variant.encode(data.batch(data.train)["x"])
    z = torch.randn(1, 4).expand(len(h), -1)
    spread, shape = variant.posterior_flow.flows
    assert spread(z, h)[0].std(0).min() > 1e-4
    assert shape(z, h)[0].std(0).max() == 0


def test_perceptron_is_as_large_as_the_flow():
    data = toy_data(n=8, n_params=16)
    variant = zoo.load_model(FOLDER / "flow_reg_mlp.py")(data.dims)
    flow = coupling_flow(16, n_layers=3, hidden=256, bins=8)
    ours, theirs = (
        sum(p.numel() for p in part.parameters()) for part in (variant.regressor, flow)
    )
    assert ours == pytest.approx(theirs, rel=0.01)


def test_raw_presets_are_the_same_all_over_a_level():
    data = toy_data(n=16)
    variant = small("flow_reg_raw", data).eval()
    batch, again = data.batch(data.train), data.batch(data.train)
    assert not torch.equal(batch["v"], again["v"])
    log_q = variant.log_prob_v(batch["v"], batch["x"])
    assert torch.equal(log_q, variant.log_prob_v(again["v"], batch["x"]))
    levels = data.levels[data.train].float()
    torch.testing.assert_close(variant.grid.inverse(batch["v"])[0], (levels + 0.5) / 16)


def test_split_is_the_published_sum():
    data = toy_data(n=32)
    variant = small("flow_dis_split", data)
    mask = data.label_mask[data.train]
    u, ladj = torch.randn(24, 4), torch.randn(24)
    ends = {0: (0, 1), 1: (0, 2)}  # numbers of the first and the last class
    total = ladj.mean() / (24 * 4)
    for j, classes in ends.items():
        groups = {classes[0]: [], classes[1]: [], None: []}
        for row in range(24):
            held = mask[row, j].nonzero().flatten().tolist()
            label = held[0] if len(held) == 1 and held[0] in classes else None
            groups[label].append(row)
        assert all(groups.values())
        rest = [d for d in range(4) if d != j]
        wide = dist.Normal(0.0, torch.e)
        for k, (label, place) in enumerate(zip(classes, (-1.0, 1.0), strict=True)):
            near = dist.Normal(place, variant.log_scale_tags[j, k].exp())
            total = total + 10 * near.log_prob(u[groups[label], j]).sum()
            total = total + wide.log_prob(u[groups[label]][:, rest]).sum(-1).mean()
        total = total + wide.log_prob(u[groups[None]]).sum(-1).mean()
    model = pyro.poutine.trace(variant.model).get_trace(data.batch(data.train))
    labels = type(model.nodes["t"]["fn"])(u, ladj, variant.log_scale_tags, variant.classes)
    torch.testing.assert_close(labels.total(mask), total)
