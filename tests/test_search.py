import numpy as np
import pytest
import torch
from plain import PLAIN
from small import NOTE
from toys import SMALL

from pyrosynth import synths
from pyrosynth.data.dataset import render_dataset
from pyrosynth.inference.descent import bounded_minimum, descend_squares
from pyrosynth.inference.pool import NO_FARTHER_DB, Pool
from pyrosynth.inference.posterior import Posterior
from pyrosynth.inference.search import TRUST, evolve, move_best, recombine
from pyrosynth.inference.surrogate import Surrogate
from pyrosynth.synths.params import Param, ParamSpace
from pyrosynth.synths.rendering import RenderResult
from pyrosynth.training.fit import fit

SHAPE = (6, 5)
SPACE = ParamSpace((
    *(Param(f"knob{i}", minimum=-1.0, default=0.5) for i in range(4)),
    Param("switch", "toggle", resolution=2),
    Param("unlearnt", default=0.25),
))  # fmt: skip
LEARNT = SPACE.select([name for name in SPACE.names if name != "unlearnt"])
MIXING = np.random.default_rng(0).normal(size=(6, 30)).astype(np.float32)


class LinearSynth:
    """A synth in closed form in place of worker processes: features linear in the values."""

    def __init__(self):
        self.played = []

    def render(self, values):
        self.played.append(values)
        failed = values[:, 0] < -0.99
        x = (SPACE.to_unit(values).astype(np.float32) @ MIXING).reshape(-1, *SHAPE)
        reason = np.where(failed, "crashed", "")
        return RenderResult(
            values.astype(np.float32),
            np.where(failed[:, None, None], 0, x).astype(np.float32),
            reason,
        )


def sound(unit):
    return (np.append(unit, 0.625 - 0.375) @ MIXING).reshape(SHAPE).astype(np.float32)


def predict(unit):
    full = torch.cat([unit, torch.full((len(unit), 1), 0.25)], -1)
    return (full @ torch.from_numpy(MIXING)).unflatten(-1, SHAPE)


def surrogate(predict=predict):
    return Surrogate(predict, torch.device("cpu"))


@pytest.fixture
def pool():
    target = sound(np.array([0.3, 0.8, 0.45, 0.6, 1.0]))
    return Pool(target, SPACE, LEARNT, LinearSynth())


def test_pool_renders_counts_and_sorts(pool):
    pool.add([[0.3, 0.8, 0.45, 0.5, 1.0], [0.3, 0.8, 0.45, 0.6, 1.0]], "posterior")
    pool.add([[0.0, 0.5, 0.5, 0.5, 0.0]], "bank")
    match = pool.match()
    assert match.n_renders == 3
    assert match.trace.tolist() == [[2, match.lsd[0]], [3, match.lsd[0]]]
    assert match.lsd[0] == pytest.approx(0, abs=1e-4)
    assert (np.diff(match.lsd) >= 0).all()
    assert match.source.tolist() == ["posterior", "posterior", "bank"]
    assert (match.values[:, -1] == 0.25).all(), "what is not learnt stays at its default"


def test_no_preset_is_rendered_twice(pool):
    first = pool.add([[0.1, 0.2, 0.3, 0.4, 0.0], [0.5, 0.5, 0.5, 0.5, 1.0]], "posterior")
    again = [[0.5, 0.5, 0.5, 0.5, 1.0], [0.9, 0.9, 0.9, 0.9, 1.0], [0.9, 0.9, 0.9, 0.9, 1.0]]
    lsd = pool.add(again, "bank")
    assert pool.add(again, "model").tolist() == lsd.tolist()
    assert [len(values) for values in pool.renderer.played] == [2, 1]
    assert (lsd[0], lsd[1]) == (first[1], lsd[2])
    assert pool.match().n_renders == len(pool) == 3


def test_failed_sound_is_infinitely_far_and_never_best(pool):
    lsd = pool.add([[0.0, 0.8, 0.45, 0.6, 1.0], [0.9, 0.1, 0.9, 0.1, 0.0]], "cma")
    assert np.isinf(lsd[0])
    assert np.isfinite(pool.match().lsd[0])


def test_model_steps_reach_the_target_when_the_model_is_right(pool):
    before = pool.add([[0.4, 0.7, 0.5, 0.5, 1.0]], "posterior")[0]
    right = surrogate()
    for _ in range(2):
        move_best(pool, right)
    assert pool.match().lsd[0] < before / 20
    assert pool.match().source[0] == "model"


def test_model_steps_are_corrected_by_what_was_heard(pool):
    """A model that is wrong by a constant proposes the same as one that is right."""
    other = Pool(pool.target, SPACE, LEARNT, LinearSynth())
    for tried, shift in ((pool, 0.0), (other, 5.0)):
        tried.add([[0.4, 0.7, 0.5, 0.5, 1.0]], "posterior")
        move_best(tried, surrogate(lambda unit, by=shift: predict(unit) + by))
    np.testing.assert_allclose(other.unit, pool.unit, atol=1e-3)


def test_slopes_are_corrected_by_what_was_heard_nearby():
    """The model says that the first control does nothing; presets around the start say it does."""
    start = np.array([[0.4, 0.7, 0.5, 0.5, 1.0]])
    goal, around = start + [0.2, 0, 0, 0, 0], start + [[0.05, 0, 0, 0, 0], [-0.05, 0, 0, 0, 0]]
    deaf = surrogate(lambda unit: predict(unit * torch.tensor([0.0, 1.0, 1.0, 1.0, 1.0])))

    def step():
        heard = sound(start[0])[None]
        return deaf.steps(sound(goal[0]), start, heard, [0.01], LEARNT.discrete)[0]

    assert step()[0, 0] == pytest.approx(0.4, abs=1e-3)
    deaf.hear(np.concatenate([start, around]), [sound(unit) for unit in (*start, *around)])
    np.testing.assert_allclose(step(), goal, atol=0.03)


def test_model_steps_leave_switches_and_locked_controls_alone_and_end_inside(pool):
    pool.locked = {2: 0.5}
    pool.target = sound(np.array([3.0, 0.8, 0.9, -2.0, 1.0]))
    pool.add([[0.4, 0.7, 0.5, 0.5, 0.0]], "posterior")
    assert move_best(pool, surrogate()) == len(TRUST)
    assert (pool.unit[:, 4] == 0.0).all()
    assert (pool.unit[:, 2] == pool.unit[0, 2]).all()
    assert pool.unit[1].tolist()[0] == 1.0
    assert pool.unit[1].tolist()[3] == 0.0


def test_failed_sounds_teach_the_model_nothing_and_move_nowhere(pool):
    pool.add([[0.0, 0.8, 0.45, 0.6, 1.0]], "cma")
    assert np.isinf(pool.lsd).all()
    assert move_best(pool, surrogate()) == 0
    pool.add([[0.4, 0.7, 0.5, 0.5, 1.0]], "posterior")
    told = surrogate()
    assert move_best(pool, told) == len(TRUST)
    other = Pool(pool.target, SPACE, LEARNT, LinearSynth())
    other.add(pool.unit[1:2], "posterior")
    move_best(other, surrogate())
    np.testing.assert_array_equal(pool.unit[2:], other.unit[1:])


def test_where_nothing_may_move_nothing_is_proposed(pool):
    pool.locked = dict(enumerate([0.4, 0.7, 0.5, 0.5, 1.0]))
    pool.add([[0.4, 0.7, 0.5, 0.5, 1.0]], "posterior")
    assert pool.fixed.all()
    assert move_best(pool, surrogate()) == 0


def test_minimum_between_bounds_is_nearly_that_of_scipy():
    from scipy.optimize import lsq_linear

    rng = np.random.default_rng(0)
    factors, goals = rng.normal(size=(20, 9, 5)), rng.normal(size=(20, 9))
    bounds = -rng.random((20, 5)), rng.random((20, 5))
    curvature = factors.transpose(0, 2, 1) @ factors
    gradient = (factors.transpose(0, 2, 1) @ goals[..., None])[..., 0]
    found = bounded_minimum(*map(torch.from_numpy, (curvature, gradient, *bounds))).numpy()
    clipped = np.clip(np.linalg.solve(curvature, gradient[..., None])[..., 0], *bounds)
    lowest = [
        lsq_linear(*problem).x
        for problem in zip(factors, goals, zip(*bounds, strict=True), strict=True)
    ]

    def costs(x):
        return np.square((factors @ np.array(x)[..., None])[..., 0] - goals).sum(1)

    assert ((found >= bounds[0]) & (found <= bounds[1])).all()
    assert (costs(clipped) > costs(lowest) * 1.001).sum() >= 5, "bounds are active"
    assert (costs(found) - costs(lowest)).sum() < 0.6 * (costs(clipped) - costs(lowest)).sum()


def test_least_squares_lead_inside_the_ranges_to_where_scipy_ends():
    from scipy.optimize import least_squares

    goal, fixed = torch.tensor([0.3, 0.6, 1.4]), torch.tensor([False, False, False, True])
    start = torch.tensor([[0.5, 0.5, 0.5, 0.2], [0.1, 0.9, 0.8, 0.7], [0.9, 0.2, 0.3, 0.4]])

    def residuals(unit):
        x, y, z, w = unit.T
        return torch.stack([(2 * x).sin() - goal[0], x * y - goal[1], z - goal[2] + w * x], -1)

    trust = torch.tensor([1e-3, 1e-2, 1.0, 100.0])
    ends = descend_squares(residuals, start, fixed, trust, 12)
    once = descend_squares(residuals, start, fixed, trust, 1)
    assert ((ends >= 0) & (ends <= 1)).all()
    assert (ends[:, 3] == start[:, 3]).all()
    costs = [residuals(unit).square().sum(-1) for unit in (start, once, ends)]
    assert (costs[1] < 0.5 * costs[0]).all()
    for unit, found in zip(start, costs[2], strict=True):

        def of_three(free, w=unit[3]):
            return residuals(torch.tensor([[*free, w]], dtype=torch.float64))[0].numpy()

        lowest = least_squares(of_three, unit[:3].numpy(), bounds=(0, 1)).cost * 2
        assert float(found) < lowest * 1.02 + 1e-4


@pytest.mark.parametrize("budget", [0, 1, 5, 40, 300])
def test_evolution_uses_its_budget_and_repeats(budget):
    runs = []
    for _ in range(2):
        pool = Pool(sound(np.array([0.3, 0.8, 0.45, 0.6, 1.0])), SPACE, LEARNT, LinearSynth())
        pool.add([[0.6, 0.6, 0.6, 0.6, 1.0]], "posterior")
        evolve(pool, pool.unit[0], np.array([0.1, 0.1, 0.1, 0.1, 0.0]), budget, seed=3)
        runs.append(pool)
    assert len(runs[0]) <= 1 + budget
    assert len(runs[0]) == 1 + budget or budget == 300, "CMA may stop early once it converged"
    np.testing.assert_array_equal(runs[0].unit, runs[1].unit)
    if budget == 300:
        assert runs[0].match().lsd[0] < 0.05 * runs[0].lsd[0]


def test_evolution_searches_a_single_control():
    pool = Pool(sound(np.array([0.3, 0.8, 0.45, 0.6, 1.0])), SPACE, LEARNT, LinearSynth())
    pool.add([[0.9, 0.8, 0.45, 0.6, 1.0]], "posterior")
    evolve(pool, pool.unit[0], np.array([0.2, 0.0, 0.0, 0.0, 0.0]), 80, seed=3)
    assert len(pool) == 81
    assert (pool.unit[:, 1:] == pool.unit[0, 1:]).all()
    assert pool.match().lsd[0] < 0.05 * pool.lsd[0]


def test_evolution_leaves_numpys_own_generator_alone(pool):
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    pool.add([[0.6, 0.6, 0.6, 0.6, 1.0]], "posterior")
    evolve(pool, pool.unit[0], np.full(5, 0.1), 30, seed=3)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_a_genetic_search_moves_every_kind_of_control_and_keeps_locked_ones():
    """As in an FM synth: hardly any control is continuous."""
    runs = []
    for _ in range(2):
        pool = Pool(sound(np.array([0.3, 0.8, 0.45, 0.6, 1.0])), SPACE, LEARNT, LinearSynth())
        pool.locked = {1: 0.7}
        pool.add([[0.6, 0.6, 0.6, 0.6, 0.0], [0.2, 0.2, 0.9, 0.9, 1.0]], "bank")
        recombine(pool, 100, seed=3)
        runs.append(pool)
    assert len(pool) == 102
    assert (pool.unit[:, 1] == 0.7).all()
    assert pool.match().lsd[0] < 0.5 * pool.lsd[:2].min()
    assert pool.unit[pool.best(1)[0], 4] == 1.0
    np.testing.assert_array_equal(runs[0].unit, runs[1].unit)


def test_a_genetic_search_renders_the_children_that_a_model_expects_nearest():
    """Also if the model is off by a constant, which what was heard takes out."""
    nearest = []
    for model in (None, predict, lambda unit: predict(unit) + 3.0):
        pool = Pool(sound(np.array([0.3, 0.8, 0.45, 0.6, 1.0])), SPACE, LEARNT, LinearSynth())
        pool.locked = {2: 0.45}
        pool.add([[0.6, 0.6, 0.6, 0.6, 0.0], [0.2, 0.2, 0.9, 0.9, 1.0]], "bank")
        recombine(pool, 40, seed=3, surrogate=surrogate(model) if model else None)
        assert len(pool) == 42
        assert (pool.unit[:, 2] == 0.45).all()
        assert len(np.unique(pool.unit, axis=0)) == 42
        nearest.append(pool.match().lsd[0])
    assert max(nearest[1:]) < 0.6 * nearest[0]


def test_a_genetic_search_ends_where_there_are_no_more_presets():
    space = SPACE.select(["switch"])
    pool = Pool(sound(np.array([0.3, 0.8, 0.45, 0.6, 1.0])), SPACE, space, LinearSynth())
    pool.add([[0.0]], "bank")
    recombine(pool, 10, seed=0)
    assert len(pool) <= 2
    recombine(pool, 10, seed=0, surrogate=surrogate(lambda unit: torch.zeros(len(unit), *SHAPE)))
    assert len(pool) <= 2


def test_what_is_kept_of_a_proposal_is_the_setting_that_was_rendered(pool):
    pool.add([[0.1, 0.2, 0.3, 0.4, 0.7]], "bank")
    np.testing.assert_allclose(pool.unit[0], [0.1, 0.2, 0.3, 0.4, 1.0])


def test_a_search_uses_its_whole_budget_whatever_the_controls_are(tmp_path):
    """No control of the DX7 is continuous; a search of 256 renders made 144."""
    synth = synths.load_synth(PLAIN)
    space = synth.param_space
    names = [name for name, one in zip(space.names, space.discrete, strict=True) if one]
    data = render_dataset(
        synth, tmp_path / "data", params=",".join(names), augmented=0, note=NOTE, workers=1
    )
    run = fit("mlp", data, tmp_path / "run", options=SMALL["mlp"], steps=2, progress=False)
    posterior = Posterior(run)
    with posterior.renderer(workers=1) as renderer:
        assert posterior.refine(data.x(data.rows("test"))[0], renderer, 64).n_renders == 64


def test_a_step_goes_as_far_as_it_is_trusted():
    """The model is off by a constant, which what was heard takes out."""
    start, goal = np.array([[0.5, 0.5, 0.5, 0.5, 1.0]]), np.array([0.55, 0.45, 0.5, 0.6, 1.0])
    target, heard = sound(goal), sound(start[0])[None]
    wrong = surrogate(lambda unit: predict(unit) + 3.0)
    there = wrong.steps(target, start, heard, [0.1, 1e4], LEARNT.discrete)
    assert there.shape == (2, 1, 5)
    assert (there[..., -1] == 1.0).all()
    bold, careful = np.abs(there[:, 0] - start).max(-1)
    assert careful < bold
    assert np.abs(there[0, 0] - goal).max() < 0.5 * np.abs(start - goal).max()


def test_the_answer_is_moved_however_many_presets_are_nearer():
    class Watched(Surrogate):
        def steps(self, target, unit, *others):
            moved.append(unit)
            return super().steps(target, unit, *others)

    moved = []
    right = np.array([0.3, 0.8, 0.45, 0.6, 1.0])
    for tuned, first in ((True, 2), (False, 0)):
        pool = Pool(sound(right), SPACE, LEARNT, LinearSynth())
        pool.add(right + np.array([[0.001], [0.002], [0.003]]) * [1, 1, 1, 1, 0], "bank")
        assert pool.best(3).tolist() == [0, 1, 2]
        assert pool.lsd[2] < pool.lsd[0] + NO_FARTHER_DB
        pool.off_pitch = lambda audio: 1.0  # of all that comes
        pool.off = np.array([0.3, 0.4, 0.0 if tuned else 0.5])
        move_best(pool, Watched(predict, torch.device("cpu")), 1)
        np.testing.assert_array_equal(moved[-1], pool.unit[[first]])


def test_what_is_surely_in_tune_comes_before_what_may_be(pool):
    pool.add(np.linspace(0.3, 0.31, 4)[:, None] * [1, 2, 1, 2, 0] + [0, 0, 0, 0, 1], "bank")
    pool.off_pitch = lambda audio: 0.0
    pool.lsd = np.array([1.0, 1.2, 1.4, 2.5])
    for off, expected in (
        ([0.4, -0.18, 0.05, 0.0], 2), ([0.4, -0.18, 0.15, 0.0], 1), ([0.4, 0.3, np.nan, 0.0], 0),
    ):  # fmt: skip
        pool.off = np.array(off)
        order, in_tune = pool.answers()
        assert (order[0], in_tune) == (expected, expected != 0)
