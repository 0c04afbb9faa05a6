"""Presets some of whose parameters are discrete."""

import itertools

import torch
from toys import SMALL

from pyrosynth.modeling import AutoregressiveCategorical, Dims
from pyrosynth.training import zoo

DIMS = Dims(5, (8, 11), (3, 16, 5, 301, 16))  # two discrete parameters between others


def mixed(dims=DIMS, nudge=0.2):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        variant = zoo.load_model("flow_mixed")(dims, **SMALL["flow_mixed"] | {"max_levels": 8})
        with torch.no_grad():
            for parameter in variant.parameters():
                parameter += nudge * torch.randn_like(parameter)
    return variant.eval()


def sounds(n=3):
    return torch.randn(n, 8, 11, generator=torch.Generator().manual_seed(1))


def test_levels_are_drawn_as_often_as_they_are_likely():
    variant = mixed()
    levels, x = variant.switches, sounds()
    v, _ = variant.sample_v(x, 20_000, torch.Generator().manual_seed(0))
    drawn, _ = levels.split(v)
    total = torch.zeros(3)
    for level in itertools.product(range(3), range(5)):
        one = torch.tensor(level)
        log_p = levels.log_prob(one.expand(3, 2), variant.encode(x))
        p = (log_p - levels.counts.log().sum()).exp().detach()
        often = (drawn == one).all(-1).float().mean(0)
        torch.testing.assert_close(often, p, atol=0.012, rtol=0)
        total += p
    torch.testing.assert_close(total, torch.ones(3), atol=1e-5, rtol=0)


def test_a_level_depends_on_the_levels_before_it_alone():
    variant = mixed()
    levels, h = variant.switches, variant.encode(sounds(1))

    def log_p(first, second):
        return levels.log_prob(torch.tensor([[first, second]]), h)

    # p(second | first) differs between the first's levels, p(first) sums to 1 by itself.
    ratios = [log_p(a, 0) - log_p(a, 1) for a in range(3)]
    assert max(ratios) - min(ratios) > 0.05
    weights = levels.among * levels.earlier
    assert (weights[3:] == 0).all()
    assert (weights[:3, 3:] != 0).all()


def test_density_integrates_to_one():
    variant = mixed(nudge=0.05)  # so little that no mass lies beyond the edge of the cube
    rng = torch.Generator().manual_seed(0)
    v = torch.rand(100_000, 1, 5, generator=rng)
    with torch.no_grad():
        mass = variant.log_prob_v(v.expand(-1, 3, -1), sounds()).exp().mean(0)
    torch.testing.assert_close(mass, torch.ones(3), atol=0.08, rtol=0)


def test_split_and_join_are_inverse_and_noise_fills_the_level():
    levels = mixed().switches
    v = torch.rand(50, 5, generator=torch.Generator().manual_seed(2))
    level, rest = levels.split(v)
    noise = (v.index_select(-1, levels.discrete) * levels.counts) % 1
    torch.testing.assert_close(levels.join(level, noise, rest), v)
    top, _ = levels.split(torch.ones(1, 5))
    assert top.tolist() == [[2, 4]]


def test_without_discrete_parameters_all_is_left_to_the_flow():
    for resolution in ((), (301,) * 5, (2,) * 5, (2, 2, 2, 2, 301)):
        variant = mixed(Dims(5, (8, 11), resolution))
        assert variant.switches.levels == ()
        v, log_q = variant.sample_v(sounds(), 10, torch.Generator().manual_seed(0))
        torch.testing.assert_close(variant.log_prob_v(v, sounds()), log_q, atol=1e-3, rtol=1e-3)


def test_constants_are_not_weights():
    assert not [k for k in mixed().state_dict() if "owner" in k or "padded" in k]
    assert isinstance(mixed().switches, AutoregressiveCategorical)
