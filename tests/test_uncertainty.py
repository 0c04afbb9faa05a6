import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from small import small_dataset
from toys import SMALL

from pyrosynth.errors import InputError
from pyrosynth.inference.posterior import Posterior
from pyrosynth.modeling import Dims, Temperature, build, set_temperature
from pyrosynth.training import zoo
from pyrosynth.training.fit import calibrate, fit
from pyrosynth.training.identity import run_hash
from pyrosynth.training.run import load_run
from pyrosynth.training.state import score
from pyrosynth.training.torch_modes import plain_torch
from pyrosynth.training.uncertainty import (
    conformal_quantile,
    conformal_scores,
    coverage_error,
    find_temperature,
    shares_denser,
)

DIMS = Dims(5, (8, 11), (3, 16, 4, 16, 16))


def variant(name):
    torch.manual_seed(0)
    made = build(
        zoo.load_model(name),
        DIMS,
        {**SMALL[name], **({"max_levels": 8} if "mixed" in name else {})},
    )
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
        if name == "flow_mixed":
            made.switches.net[-1].bias.copy_(torch.tensor([3.0, 0, -1, 0, 2, -2, 1]))
    return made.eval()


@pytest.mark.parametrize(
    ("name", "temperature"),
    [
        ("flow_mixed", Temperature(1.2, 1.5)),
        ("flow_mixed", Temperature(1.1, 0.9, 0.3)),
        ("flow_reg", Temperature(1.2, 1.5)),
        ("npe", Temperature(1.2, 1.5)),
    ],
)
@plain_torch()
def test_draws_and_density_follow_the_temperature_alike(name, temperature):
    made, x = variant(name), torch.randn(3, 8, 11)
    set_temperature(made, temperature)
    v, log_q = made.sample_v(x, 4000, torch.Generator().manual_seed(1))
    away = (log_q - made.log_prob_v(v, x)).abs()
    assert (away < 2e-2).float().mean() > 0.99  # the others lie at the very edge of the cube
    if name == "flow_mixed":
        q = made.presets(made.encode(x[:1]))
        torch.testing.assert_close(q.at(q.noise(v[:, :1])), v[:, :1], rtol=0, atol=1e-3)
        noise = q.noise(v[:, 0])
        if not temperature.doubt:
            assert noise.std(0).numpy() == pytest.approx(np.ones(5), abs=0.06)
    set_temperature(made, Temperature())
    ratio = (made.log_prob_v(v, x) - log_q).double().exp()
    assert ratio.mean(0).numpy() == pytest.approx(np.ones(3), abs=0.1)  # both have a mass of 1
    again = made.sample_v(x, 4, torch.Generator().manual_seed(1))
    assert torch.equal(again[1], variant(name).sample_v(x, 4, torch.Generator().manual_seed(1))[1])


@plain_torch()
def test_temperatures_are_found_again():
    made, x = variant("flow_mixed"), torch.randn(600, 8, 11)
    set_temperature(made, Temperature(1.4, 1.6))
    v = made.sample_v(x, 1, torch.Generator().manual_seed(2))[0][0]
    assert coverage_error(shares_denser(made, x, v)) < 0.04
    found = find_temperature(made, x, v)
    assert found == pytest.approx((1.4, 1.6, 0.0), abs=0.15)
    assert find_temperature(made, x[:64], v[:64]) == find_temperature(made, x[:64], v[:64])
    assert coverage_error(shares_denser(made, x, v)) > 0.06  # it is back at 1

    set_temperature(made, Temperature())
    v = made.sample_v(x, 1, torch.Generator().manual_seed(2))[0][0]
    assert find_temperature(made, x, v) == pytest.approx((1, 1, 0), abs=0.1)

    doubtful = Temperature(1.0, 1.0, 0.4)
    set_temperature(made, doubtful)
    v = made.sample_v(x, 1, torch.Generator().manual_seed(2))[0][0]
    assert coverage_error(shares_denser(made, x, v)) < 0.04
    held_out = float(made.log_prob_v(v, x).mean())
    found = find_temperature(made, x, v)
    assert found.doubt > 0.1
    set_temperature(made, found)
    assert float(made.log_prob_v(v, x).mean()) > held_out - 0.02  # nats


def test_a_conformal_quantile_holds_what_it_promises():
    assert conformal_quantile([3, 1, 2], 0.5) == 2
    assert conformal_quantile([3, 1, 2], 0.75) == 3
    assert conformal_quantile([3, 1, 2], 0.9) == math.inf
    assert conformal_quantile([], 0.5) == math.inf
    rng = np.random.default_rng(0)
    log_q = rng.normal(0, 2, (100, 400)) - 5
    truth = 3 * rng.standard_cauchy(400)  # as wrong as can be
    scores = conformal_scores(log_q, truth)
    assert scores[0] == pytest.approx((np.median(log_q[:, 0]) - truth[0]) / log_q[:, 0].std())
    held = [np.mean(scores[200:] <= conformal_quantile(scores[:200], p)) for p in (0.5, 0.8, 0.9)]
    assert held == pytest.approx([0.5, 0.8, 0.9], abs=0.08)


def test_weights_that_are_too_sure_are_not_kept():
    sure = {"step": 2, "valid_loss": 0.0, "valid_log_q": 10.4, "valid_coverage_error": 0.2}
    fair = {"step": 1, "valid_loss": 0.0, "valid_log_q": 10.0, "valid_coverage_error": 0.1}
    assert score(fair) > score(sure)
    assert score(sure | {"valid_log_q": 11.5}) > score(fair)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    dataset = small_dataset(folder)
    options = SMALL["flow_mixed"]
    run = fit("flow_mixed", dataset, folder / "run", options=options, steps=20, progress=False)
    return dataset, run, folder / "run"


def test_a_run_keeps_its_temperatures_and_scores(fitted):
    dataset, run, folder = fitted
    assert len(run.conformal_scores) == len(dataset.rows("valid"))
    assert list(run.conformal_scores) == sorted(run.conformal_scores)

    x = dataset.x(dataset.rows("test"))[0]
    wider = replace(load_run(folder), temperature=Temperature(1.25, 1.5, 0.2))
    wider.save(folder.parent / "wider")
    drawn = Posterior(wider).sample(x, 8)
    for other in (load_run(folder.parent / "wider"), pickle.loads(pickle.dumps(wider))):
        assert other.temperature == Temperature(1.25, 1.5, 0.2)
        assert other.conformal_scores == run.conformal_scores
        assert Posterior(other).sample(x, 8).log_q.tobytes() == drawn.log_q.tobytes()

    fit_as_was = load_run(folder)
    assert Posterior(fit_as_was).sample(x, 8).log_q.tobytes() != drawn.log_q.tobytes()
    assert run_hash(Posterior(fit_as_was)) != run_hash(Posterior(wider))
    again = calibrate(wider, dataset)
    assert (again.temperature, again.conformal_scores) == (run.temperature, run.conformal_scores)


def test_regions_say_which_presets_they_hold(fitted):
    dataset, run, _ = fitted
    posterior, rows = Posterior(run), dataset.rows("valid")
    held = {level: [] for level in (0.2, 0.8)}
    for x, values in zip(dataset.x(rows), dataset.values(rows), strict=True):
        draws = posterior.sample(x, 64)
        for level, truths in held.items():
            truths.append(draws.region_holds(values[None], level)[0])
    n = len(rows)
    assert np.mean(held[0.2]) == pytest.approx(0.2, abs=0.25 + 1 / n)
    assert np.mean(held[0.8]) == pytest.approx(0.8, abs=0.25 + 1 / n)

    draws = posterior.sample(dataset.x(rows)[0], 64)
    many = draws.region_holds(draws.values, 0.8)
    assert many.shape == (64,)
    assert draws.region_threshold(0.8) < draws.region_threshold(0.2)
    with pytest.raises(InputError, match="level 1.5"):
        draws.region_holds(draws.values, 1.5)
    with pytest.raises(InputError, match="scores"):
        replace(draws, posterior=Posterior(replace(run, conformal_scores=()))).region_threshold()
