"""One conformance suite over every variant of the zoo."""

import inspect
import itertools
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import Predictive, Trace_ELBO
from torch._subclasses.fake_tensor import FakeTensorMode
from toys import SMALL, TAGS, toy_data

from pyrosynth.data.tags import missing
from pyrosynth.errors import InputError
from pyrosynth.modeling import (
    Conditioned,
    Dims,
    SyncFreeELBO,
    Term,
    WarmUp,
    build,
    noise_from,
    standard_normal,
    with_recipe,
)
from pyrosynth.modeling.recipes import require_runnable
from pyrosynth.training import zoo
from pyrosynth.training.svi import fit

every_variant = pytest.mark.parametrize("name", zoo.list_models())
DIMS = Dims(4, (8, 11), (16,) * 4, tuple(t.name for t in TAGS), tuple(t.classes for t in TAGS))


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def small(name, dims, nudge=True):
    """Build a small variant, moved a little away from its start."""
    variant = zoo.load_model(name)(dims, **SMALL.get(name, {}))
    with torch.no_grad():
        for parameter in variant.parameters():
            parameter += 0.05 * nudge * torch.randn_like(parameter)
    return variant


def loss_of(variant, batch, seed=1):
    elbo = SyncFreeELBO(variant.terms)
    torch.manual_seed(seed)
    return elbo.loss(variant, batch, elbo.weights(10**6, batch["x"].device))


def trace_of(program, *args):
    return poutine.trace(program).get_trace(*args)


def drawn(trace):
    """Return the sites of a trace that were drawn."""
    return {n: trace.nodes[n]["value"] for n in trace.stochastic_nodes if n != "presets"}


@every_variant
@pytest.mark.parametrize("parallel", [False, True])
def test_the_model_runs_forward_without_data(name, parallel):
    """Each draw is a playable preset with a sound, and conditions the model like any data."""
    variant = small(name, DIMS).eval()
    settings = {"num_samples": 6, "parallel": parallel}
    with torch.no_grad(), pyro.validation_enabled(True):
        draws = Predictive(variant.model, **settings)()
        assert draws["v"].reshape(6, -1).shape == (6, 4)
        assert ((draws["v"] > 0) & (draws["v"] < 1)).all()
        assert draws["v"].std(0).min() > 0.01
        assert draws["x"].reshape(6, -1).shape == (6, 88)
        assert all(value.isfinite().all() for value in draws.values())
        several = Predictive(variant.model, **settings)({"x": torch.zeros(3, 8, 11)})
        assert several["v"].shape == (6, 3, 4)
        assert several["x"].shape == (6, 3, 8, 11)


@every_variant
def test_the_model_is_conditioned_on_any_subset_of_its_sites(name):
    variant = small(name, DIMS).eval()
    batch = {"x": torch.zeros(3, 8, 11)}
    with torch.no_grad(), pyro.validation_enabled(True):
        whole = drawn(trace_of(variant.model, batch))
        for n in range(len(whole) + 1):
            for names in itertools.combinations(sorted(whole), n):
                data = {key: whole[key] for key in names}
                trace = trace_of(poutine.condition(variant.model, data), batch)
                assert set(drawn(trace)) == set(whole) - set(names)
                assert all(torch.equal(trace.nodes[key]["value"], data[key]) for key in names)
                assert trace.log_prob_sum().isfinite()


@every_variant
def test_the_guide_draws_what_the_model_does_not_observe(name):
    data = toy_data(n=16)
    variant, batch = small(name, DIMS).eval(), data.batch(data.train)
    known = {"x": batch["x"], "v": batch["v"], "t": batch["label_mask"]}
    with torch.no_grad(), pyro.validation_enabled(True):
        for sites in (("x", "t"), ("x", "v", "t")):
            given = {key: known[key] for key in sites}
            model = trace_of(poutine.condition(variant.model, given), batch)
            guide = trace_of(poutine.condition(variant.guide, given), batch)
            unobserved = set(drawn(guide))
            if any(term.sites for term in variant.terms):
                assert unobserved == set(drawn(model))
            assert ("v" in unobserved) == ("v" not in sites)


@every_variant
def test_draws_and_densities_are_the_guides(name):
    data = toy_data(n=16)
    variant, batch = small(name, DIMS).eval(), data.batch(data.train)
    x, rng = batch["x"], torch.Generator
    with torch.no_grad():
        v, _ = variant.sample_v(x, 5, rng().manual_seed(3))
        with noise_from(rng().manual_seed(3)), pyro.plate("draws", 5, dim=-2):
            trace = trace_of(variant.guide, {"x": x})
        assert torch.equal(trace.nodes["v"]["value"], v)
        if variant.n_mixture > 1:
            return
        scored = variant.log_prob_v(batch["v"], x, rng().manual_seed(3))
        with noise_from(rng().manual_seed(3)):
            trace = trace_of(poutine.condition(variant.guide, {"v": batch["v"]}), batch)
            trace.compute_log_prob()
        torch.testing.assert_close(trace.nodes["v"]["log_prob"], scored)


@every_variant
def test_draws_are_fixed_by_their_seed_in_threads_too(name):
    variant = small(name, DIMS).eval()
    x = toy_data(n=8).batch(torch.arange(2))["x"]
    state = torch.get_rng_state()

    @torch.no_grad()
    def draws(seed):
        return variant.sample_v(x, 20, torch.Generator().manual_seed(seed))[0]

    alone = [draws(seed) for seed in range(12)]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(draws, range(12)))
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))
    assert torch.equal(state, torch.get_rng_state())


def lines_of(name):
    return [line.strip() for line in zoo.source(name).splitlines() if line.strip()]


@every_variant
def test_no_model_is_mostly_another(name):
    lines = lines_of(name)
    for other in set(zoo.list_models()) - {name}:
        shared = set(lines_of(other)) & set(lines)
        assert sum(line in shared for line in lines) <= 0.5 * len(lines), other


def test_models_are_short():
    lengths = {name: len(zoo.source(name).splitlines()) for name in zoo.list_models()}
    assert lengths["flow_reg"] <= 120
    assert max(lengths.values()) <= 170
    assert sum(lengths.values()) <= 1800
    assert sum("pyro.factor" in zoo.source(name) for name in zoo.list_models()) <= 3


# What `fit_tags` finds once the rest of a variant stands still.
AFTERWARDS = ("tags.mixing", "tags.shift.", "tags.rest.")


@every_variant
@pytest.mark.parametrize("unknown", [0.0, 0.5])
def test_every_parameter_gets_a_finite_gradient(name, unknown):
    data = toy_data(n=64, unknown=unknown)
    variant = small(name, data.dims)
    pyro.clear_param_store()
    with pyro.validation_enabled(True):
        loss_of(variant, data.batch(data.train)).backward()
    for key, parameter in variant.named_parameters():
        if key.startswith(AFTERWARDS):
            assert not parameter.requires_grad, key
            continue
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        assert parameter.grad.abs().sum() > 0, key
    assert len(pyro.get_param_store()) == 0


@every_variant
def test_fitting_lowers_the_loss_and_learns_the_parameters(name):
    data = toy_data(n=256)
    variant = small(name, data.dims, nudge=False)
    batch = data.batch(data.valid)
    with torch.no_grad():
        before = loss_of(variant, batch), variant.log_prob_v(batch["v"], batch["x"]).mean()
    fit(variant, data, steps=80, batch_size=64, lr=5e-3, warm_up=10, progress=False)
    with torch.no_grad():
        after = loss_of(variant, batch), variant.log_prob_v(batch["v"], batch["x"]).mean()
    # A variant with a latent also pictures the sound, which has more to gain than the preset.
    assert after[0] < before[0] - (5 if variant.has_latent else 1)
    assert after[1] > before[1] + 0.2


@every_variant
def test_a_single_parameter_takes_a_step_and_is_drawn(name):
    data = toy_data(n=64, n_params=1)
    variant = small(name, data.dims)
    fit(variant, data, steps=2, batch_size=32, progress=False)
    assert loss_of(variant, data.batch(data.train)).isfinite()
    v, log_q = variant.eval().sample_v(data.batch(data.valid)["x"], 3)
    assert v.shape == (3, 16, 1)
    assert not variant.exact or log_q.isfinite().all()


@every_variant
def test_a_fresh_instance_with_the_arguments_and_weights_is_equal(name):
    data = toy_data(n=64, unknown=0.3)
    variant = small(name, data.dims)
    fresh = type(variant)(data.dims, **variant.hyperparameters())
    fresh.load_state_dict(variant.state_dict())
    batch = data.batch(data.train)
    assert torch.equal(loss_of(fresh, batch), loss_of(variant, batch))


@every_variant
def test_loss_reads_nothing_back_from_the_device(name):
    data = toy_data(n=32, unknown=0.5)
    variant = small(name, data.dims)
    elbo = SyncFreeELBO(variant.terms)
    weights = elbo.weights(0, torch.device("cpu"))
    batch = data.batch(data.train)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fake = {key: mode.from_tensor(tensor) for key, tensor in batch.items()}
        # With validation on, torch's own distributions would read their checks back.
        with pyro.validation_enabled(False):
            loss = elbo.loss(variant, fake, weights)
    assert loss.shape == ()


@every_variant
def test_rows_do_not_depend_on_each_other(name):
    data = toy_data(n=64)
    variant = small(name, data.dims).eval()
    batch = data.batch(data.train[:8])
    v, log_q = batch["v"], variant.log_prob_v
    together = log_q(v, batch["x"], torch.Generator().manual_seed(0))
    if variant.exact:
        alone = torch.cat([log_q(v[i : i + 1], batch["x"][i : i + 1]) for i in range(8)])
        torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)
    assert together.shape == (8,)
    stacked = log_q(v.expand(3, 8, 4), batch["x"], torch.Generator().manual_seed(0))
    torch.testing.assert_close(stacked, together.expand(3, 8), atol=1e-4, rtol=1e-4)


@every_variant
def test_draws(name):
    data = toy_data(n=64)
    variant = small(name, data.dims).eval()
    x = data.batch(data.train[:3])["x"]
    state = torch.get_rng_state()
    v, log_q = variant.sample_v(x, 50, torch.Generator().manual_seed(5))
    again, _ = variant.sample_v(x, 50, torch.Generator().manual_seed(5))
    assert torch.equal(v, again)
    assert torch.equal(state, torch.get_rng_state())
    assert v.shape == (50, 3, 4)
    assert log_q.shape == (50, 3)
    assert ((v > 0) & (v < 1)).all()
    assert v.std(0).min() > 0.05
    if variant.exact:
        torch.testing.assert_close(variant.log_prob_v(v, x), log_q, atol=0.02, rtol=1e-3)
    assert variant.mean_v(x, 50, torch.Generator().manual_seed(5)).shape == (3, 4)
    if not variant.has_latent:
        for method in (variant.posterior, variant.expected_x, variant.params_of):
            with pytest.raises(InputError, match="has no latent space"):
                method(x)
        return
    z = variant.posterior(variant.encode(x)).sample((7,))
    assert z.shape == (7, 3, variant.latent_dim)
    assert variant.expected_x(z).shape == (7, 3, 8, 11)
    assert variant.params_of(z).shape == (7, 3, 4)


@every_variant
def test_a_preset_and_its_latent(name):
    data = toy_data(n=64)
    variant = small(name, data.dims).eval()
    v = data.batch(data.train[:6])["v"].requires_grad_()
    if not variant.predicts:
        with pytest.raises(InputError, match="does not determine its latent"):
            variant.expected_x_of_v(v)
        return
    if variant.invertible:
        z, logdet = variant.latent(v)
        torch.testing.assert_close(variant.params_of(z), v, atol=1e-4, rtol=1e-4)
        assert logdet.shape == (6,)
    variant.expected_x_of_v(v).square().sum().backward()
    assert v.grad.isfinite().all()
    assert (v.grad != 0).all()


@every_variant
def test_labels(name):
    """They count where tags are used, and only there; none is all of them missing."""
    data = toy_data(n=64)
    variant = small(name, data.dims)
    batch = data.batch(data.train)
    loss = loss_of(variant, batch)
    unlabelled = {**batch, "label_mask": torch.from_numpy(missing(TAGS)).expand(48, -1, -1)}
    without = {key: tensor for key, tensor in batch.items() if key != "label_mask"}
    torch.testing.assert_close(loss_of(variant, without), loss_of(variant, unlabelled))
    assert torch.equal(loss_of(variant, without), loss) != variant.uses_tags
    # And a dataset without tags needs none.
    plain = Dims(data.dims.n_params, data.dims.x_shape, data.dims.resolution)
    assert loss_of(small(name, plain), without).isfinite()


@every_variant
def test_axes_of_tags(name):
    data = toy_data(n=64)
    variant = small(name, data.dims).eval()
    z = torch.randn(7, 3, max(2, variant.latent_dim))
    if not variant.uses_tags:
        for method in (variant.axes, variant.latent_of):
            with pytest.raises(InputError, match="has no axes of tags; use one"):
                method(z)
        return
    u = variant.axes(z)
    torch.testing.assert_close(variant.latent_of(u), z, atol=1e-4, rtol=1e-4)
    brighter = variant.axes(variant.steer(z, "size", -0.7))
    assert torch.equal(variant.axes(variant.steer(z.numpy(), "size", -0.7)), brighter)
    assert torch.equal(
        variant.axes(variant.steer(z.numpy().astype(float), "size", -0.7)), brighter
    )
    with pytest.raises(InputError, match=r"latents have shape \(2,\); give \(\.\.\., "):
        variant.steer(np.zeros(2), "size", 1.0)
    with pytest.raises(InputError, match="amount that are no numbers"):
        variant.steer(z, "size", "far")
    expected = u - 0.7 * torch.eye(variant.latent_dim)[1]
    torch.testing.assert_close(brighter, expected, atol=1e-4, rtol=1e-4)
    each = variant.axes(variant.steer(z, "tone", torch.arange(3.0)))
    torch.testing.assert_close(each[..., 0], u[..., 0] + torch.arange(3.0), atol=1e-4, rtol=1e-4)
    with pytest.raises(InputError, match="unknown tag 'warmth'; known: tone, size"):
        variant.steer(z, "warmth", 1.0)


@every_variant
def test_docstring_and_bad_arguments(name):
    assert zoo.describe(name).endswith(".")
    kind = zoo.load_model(name)
    known = sorted(small(name, toy_data(n=8).dims).hyperparameters())
    with pytest.raises(InputError, match=rf"unknown argument.*known: .*{known[0]}"):
        build(kind, Dims(4, (8, 11)), {"no_such": 2})
    with pytest.raises(InputError, match="give a|unknown kind"):
        build(kind, Dims(4, (8, 11)), dict.fromkeys(known, object()))


UNUSABLE = {
    "dropout": (1.5, -0.1, 1), "kernel": (1.5, "wide"), "noise": (0, -1), "latent_dim": (0, -2),
    **dict.fromkeys(("alpha", "beta", "gamma", "delta", "tension"), (-1, math.nan, "much")),
    **dict.fromkeys(("beta_steps", "gamma_steps", "max_levels"), (-1, 0.5)),
    **dict.fromkeys(("channels", "regressor_hidden"), ([], [0], [16, -1], 16, None)),
}  # fmt: skip


@every_variant
def test_hyper_parameters_have_ranges(name):
    """Each of every variant is checked where the variant is made: none has been forgotten."""
    kind = zoo.load_model(name)
    named = {"networks", "kind", "regression_kind"}
    for option in sorted(set(small(name, DIMS).hyperparameters()) - named):
        for value in UNUSABLE.get(option, (0, -1, 1.5, "wide", 10**9, math.inf, None, [])):
            with pytest.raises(InputError, match=f"{kind.__name__}: {option} .*: give a") as error:
                build(kind, DIMS, {**SMALL[name], option: value})
            assert "\n" not in str(error.value)


@every_variant
def test_recipes(name):
    """Every recipe builds, and what is given by name comes before it."""
    kind, dims = zoo.load_model(name), Dims(16, (64, 87), (16,) * 16)
    for recipe in kind.recipes:
        options, settings = with_recipe(kind, {"recipe": recipe})
        variant = build(kind, dims, options)
        assert variant.hyperparameters().items() >= dict(settings.options).items()
        assert set(settings.training) <= set(inspect.signature(fit).parameters)
        key = next(iter(settings.options))
        assert with_recipe(kind, {"recipe": recipe, key: 1})[0][key] == 1
    with pytest.raises(InputError, match="unknown recipe"):
        with_recipe(kind, {"recipe": "huge"})


@every_variant
def test_recipes_learn_and_draw(name):
    """What a recipe is made of, at the measures of the toy."""
    data = toy_data(n=32, unknown=0.5)
    batch = data.batch(data.train)
    kind = zoo.load_model(name)
    for recipe in kind.recipes:
        options = {**with_recipe(kind, {"recipe": recipe})[0], **SMALL[name]}
        variant = build(kind, data.dims, options)
        with torch.no_grad():
            for parameter in variant.parameters():
                parameter += 0.05 * torch.randn_like(parameter)
        loss_of(variant, batch).backward()
        for key, parameter in variant.named_parameters():
            assert parameter.grad is not None, key
            assert parameter.grad.isfinite().all(), key
            assert parameter.grad.abs().sum() > 0, key
        x = batch["x"][:3]
        v, log_q = variant.eval().sample_v(x, 5, torch.Generator().manual_seed(0))
        assert ((v > 0) & (v < 1)).all()
        if variant.exact:
            torch.testing.assert_close(variant.log_prob_v(v, x), log_q, atol=0.02, rtol=1e-3)


@pytest.mark.parametrize("unknown", [0.0, 0.5])
def test_flow_reg_through_pyro_is_the_hand_written_sum(unknown):
    data = toy_data(n=48, unknown=unknown)
    variant = small("flow_reg", data.dims)
    batch = data.batch(data.train)
    loss = loss_of(variant, batch)
    known = batch.get("has_v", torch.ones(len(batch["x"]), dtype=torch.bool))

    torch.manual_seed(1)
    h = variant.encode(batch["x"])
    z_star, logdet = variant.regression.inverse(batch["v"])
    noise = torch.randn(len(h), 4) if unknown else torch.zeros(len(h), 4)
    z_draw, ladj = variant.posterior_flow(noise, h)
    z = torch.where(known[:, None], z_star, z_draw)

    def normal(value):
        return dist.Normal(0.0, 1.0).log_prob(value).sum(-1)

    scale = variant.log_scale.exp()[:, None]
    sound = dist.Normal(variant.decoder(z), scale).log_prob(batch["x"]).sum((-1, -2))
    back, back_ladj = variant.posterior_flow.inverse(z_star, h)
    log_q_v = normal(back) + back_ladj + logdet
    exact = sound + normal(z) + logdet + log_q_v
    bound = sound + normal(z) - (normal(noise) - ladj)
    expected = -torch.where(known, exact, bound).mean()
    torch.testing.assert_close(loss, expected, atol=1e-4, rtol=1e-5)

    parameters = list(variant.parameters())
    ours = torch.autograd.grad(loss, parameters)
    theirs = torch.autograd.grad(expected, parameters)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("unknown", [0.0, 0.5])
def test_flow_dis_is_flow_reg_with_another_prior(unknown, monkeypatch):
    """The whole loss, through Pyro: that of flow_reg, and the prior written by hand."""
    data = toy_data(n=48, unknown=unknown)
    variant, plain = small("flow_dis", data.dims), small("flow_reg", data.dims)
    plain.load_state_dict(variant.state_dict(), strict=False)
    batch = data.batch(data.train)
    inverse, inverted = variant.disentangling.inverse, []
    monkeypatch.setattr(
        variant.disentangling, "inverse", lambda *a: inverted.append(a) or inverse(*a)
    )
    loss, without = loss_of(variant, batch), loss_of(plain, batch)
    assert len(inverted) == 1

    torch.manual_seed(1)
    h = variant.encode(batch["x"])
    z_star, _ = variant.regression.inverse(batch["v"])
    noise = torch.randn(len(h), 4) if unknown else torch.zeros(len(h), 4)
    known = batch.get("has_v", torch.ones(len(h), dtype=torch.bool))
    z = torch.where(known[:, None], z_star, variant.posterior_flow(noise, h)[0])
    u, ladj = variant.disentangling.inverse(z)
    scale = variant.logit_scale.sigmoid()
    log_p = dist.Normal(0.0, 1.0).log_prob(u[:, 2:]).sum(-1) + ladj
    for j, n_words in enumerate((2, 3)):
        place = torch.linspace(-1, 1, n_words) * (1 - scale[j] ** 2).sqrt()
        weight = variant.log_weight[j, :n_words].softmax(-1)
        each = weight * dist.Normal(place, scale[j]).log_prob(u[:, j, None]).exp()
        held = (each * batch["label_mask"][:, j, :n_words]).sum(-1).log()
        log_p = log_p + 2 * held - each.sum(-1).log()  # delta, the weight of p(t|v), is 1
    standard = dist.Normal(0.0, 1.0).log_prob(z).sum(-1)
    expected = without + (standard - log_p).mean()
    torch.testing.assert_close(loss, expected, atol=1e-4, rtol=1e-5)

    parameters = list(variant.parameters())
    shared = dict(plain.named_parameters())
    ours = torch.autograd.grad(loss, parameters)
    prior = torch.autograd.grad((standard - log_p).mean(), parameters, allow_unused=True)
    theirs = dict(zip(shared, torch.autograd.grad(without, list(shared.values())), strict=True))
    for (key, _), a, b in zip(variant.named_parameters(), ours, prior, strict=True):
        expected = (0.0 if b is None else b) + theirs.get(key, 0.0)
        torch.testing.assert_close(a, expected, atol=2e-4, rtol=1e-3)


BOUND = [
    name for name in zoo.list_models() if any(t.sites for t in zoo.load_model(name)(DIMS).terms)
]


@pytest.mark.parametrize("name", BOUND)
def test_own_bound_is_pyros_bound(name):
    """Where sounds alone are known, the sum of all sites is what Pyro's own bound is."""
    data = toy_data(n=48)
    variant, batch = small(name, data.dims), data.batch(data.train)
    batch = {"x": batch["x"], "label_mask": batch["label_mask"]}
    sites = {n for n, s in trace_of(variant.model).nodes.items() if s["type"] == "sample"}
    every = SyncFreeELBO((Term("all", tuple(sites - {"presets"}), guide=("v",)),))
    torch.manual_seed(1)
    ours = every.values(variant, batch).sum() * len(batch["x"])
    torch.manual_seed(1)
    data = {"x": batch["x"], "t": batch["label_mask"]}
    model = Conditioned(data, {})(variant.model)
    theirs = -Trace_ELBO().differentiable_loss(model, variant.guide, batch)
    torch.testing.assert_close(ours, theirs, atol=1e-2, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cnn", {"kernel": 2}, "a kernel of 2 cells; give an odd number"),
        ("resnet", {"kernel": 0}, "a kernel of 0 cells; give an odd number"),
        ("mlp", {"hidden": 16}, "MLP: hidden 16: give a list with a size for each layer"),
        ("flow_reg", {"hidden": [16, 16]}, "FlowReg: hidden .*: give an integer from 2"),
        ("flow_audio", {"latent_dim": None}, "FlowAudio: latent_dim None: give an integer"),
        ("flow_audio", {"noise": 2**70}, "FlowAudio: noise 1180.*: give a number from 1e-06 to"),
    ],
)
def test_options_that_do_not_fit_are_one_line(name, options, message):
    with pytest.raises(InputError, match=message) as error:
        require_runnable(build(zoo.load_model(name), DIMS, {**SMALL[name], **options}))
    assert "\n" not in str(error.value)


@every_variant
def test_looking_whether_it_runs_changes_nothing(name):
    variant = small(name, DIMS)
    before, state = torch.get_rng_state(), {k: t.clone() for k, t in variant.state_dict().items()}
    require_runnable(variant)
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(state[key], t) for key, t in variant.state_dict().items())
    assert variant.training


def no_terms(variant):
    del variant.terms


def in_the_store(variant):
    def guide(batch, plain=variant.guide):
        pyro.module("encoder", variant.encoder)
        plain(batch)

    variant.guide = guide


def undrawn_latent(variant):
    def model(batch=None, plain=variant.model):
        pyro.sample("w", standard_normal(variant.origin))
        plain(batch)

    variant.model = model


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (no_terms, "has no terms; set self.terms"),
        (in_the_store, "in Pyro's parameter store, which a fit does not train"),
        (undrawn_latent, "the model of FlowReg draws 'w', and its guide does not"),
    ],
)
def test_what_a_fit_would_silently_get_wrong_is_refused(spoil, message):
    variant = small("flow_reg", DIMS)
    spoil(variant)
    try:
        with pytest.raises(InputError, match=message) as error:
            require_runnable(variant)
    finally:
        pyro.clear_param_store()
    assert len(str(error.value)) <= 300


def test_terms_and_schedules():
    assert Term("a", ("x",)).at(3) == 1.0
    assert Term("a", ("x",), 0.5).at(0) == 0.5
    rise = Term("a", ("x",), WarmUp(2.0, 10))
    assert rise.at(0) == pytest.approx(0.2)
    assert rise.at(4) == pytest.approx(1.0)
    assert rise.at(9) == rise.at(500) == 2.0
    assert WarmUp(3.0)(0) == 3.0


def test_rows_are_conditioned_one_by_one():
    """Where a value is known it is observed, elsewhere it is drawn, with a gradient."""
    loc = torch.zeros(3, requires_grad=True)

    def program():
        with pyro.plate("presets", 3):
            pyro.sample("v", dist.Normal(loc, 1.0))

    value, rows = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([True, False, True])
    site = trace_of(Conditioned({"v": value}, {"v": rows})(program)).nodes["v"]
    assert not site["is_observed"]
    assert (site["value"] == value).tolist() == rows.tolist()
    assert torch.autograd.grad(site["value"].sum(), loc)[0].tolist() == [0.0, 1.0, 0.0]
    site = trace_of(Conditioned({"v": value}, {})(program)).nodes["v"]
    assert site["is_observed"]
    assert torch.equal(site["value"], value)
    assert not torch.equal(trace_of(Conditioned({}, {})(program)).nodes["v"]["value"], value)


def test_terms_are_partial_conditionings_of_one_model():
    """log p(t, v) - log p(v) is what the classes' probabilities given v say."""
    data = toy_data(n=32)
    variant, batch = small("flow_dis", data.dims), data.batch(data.train)
    terms = Term("joint", ("t", "v")), Term("latent", ("t", "v"), given=("x", "v"))
    joint, latent = SyncFreeELBO(terms).values(variant, batch)
    every = torch.ones_like(batch["label_mask"])
    for key, expected in (("joint", joint), ("latent", latent)):
        mask = batch["label_mask"] if key == "joint" else every
        model = poutine.condition(variant.model, {"x": batch["x"], "v": batch["v"], "t": mask})
        trace = trace_of(model, batch)
        trace.compute_log_prob()
        total = trace.nodes["t"]["log_prob_sum"] + trace.nodes["v"]["log_prob_sum"]
        torch.testing.assert_close(expected, total / 24)
    # A preset that is not given is drawn, also where it is known.
    (blind,) = SyncFreeELBO((Term("blind", ("v",), given=("x",)),)).values(variant, batch)
    assert blind != latent


@pytest.mark.gpu
@every_variant
def test_device_gives_the_same_loss(name, device):
    data = toy_data(n=64)
    variant = small(name, data.dims).eval()
    batch = data.batch(data.train)
    cpu = variant.log_prob_v(batch["v"], batch["x"])
    variant.to(device)
    gpu = variant.log_prob_v(batch["v"].to(device), batch["x"].to(device)).cpu()
    tolerance = 1e-3 if variant.exact else 2.0
    torch.testing.assert_close(gpu, cpu, atol=tolerance, rtol=1e-3)
