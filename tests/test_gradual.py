"""A control with a hundred settings in order is explored by steps, as a continuous one is."""

import numpy as np
import pytest
from plain import LAST, STEPPED
from small import small_dataset
from toys import SMALL

from pyrosynth import explore
from pyrosynth.audio.metrics import log_distance
from pyrosynth.explore.chains import smooth_chain
from pyrosynth.explore.figures import moving
from pyrosynth.explore.morphing import smooth_leg
from pyrosynth.explore.ranking import sensitivity
from pyrosynth.explore.steering import Chooser
from pyrosynth.inference.posterior import Posterior
from pyrosynth.training.fit import fit


@pytest.fixture(scope="module")
def posterior(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stepped")
    dataset = small_dataset(folder, 40, 20, STEPPED)
    fit(
        "flow_audio", dataset, folder / "run", options=SMALL["flow_audio"], steps=20,
        batch_size=32, progress=False,
    )  # fmt: skip
    return Posterior.load(folder / "run")


@pytest.fixture(scope="module")
def space(posterior):
    return explore.LatentSpace(posterior)


@pytest.fixture(scope="module")
def gradual(posterior):
    params = posterior.run.space
    assert params.discrete.all()
    assert 0 < params.gradual.sum() < len(params)
    return params.gradual


@pytest.fixture(scope="module")
def ends(posterior, space):
    """Unit values of two presets that differ in many controls."""
    units = posterior.run.space.to_unit(posterior.learnt(space.bank.values))
    pairs = (units[:, None] != units).sum(axis=-1)
    first, last = np.unravel_index(pairs.argmax(), pairs.shape)
    return units[[first, last]], [space.names[first], space.names[last]]


@pytest.mark.parametrize("method", ["sound", "halfway", "knobs"])
def test_morphs_move_by_steps(posterior, gradual, ends, method):
    (first, last), names = ends
    unit = explore.morph(posterior, names, steps=9, method=method).data["unit"].values
    line = first + np.linspace(0, 1, 9)[:, None] * (last - first)
    np.testing.assert_allclose(unit[:, gradual], line[:, gradual], atol=0.51 / LAST)
    if method == "halfway":
        assert np.isin(unit[:, ~gradual], np.stack([first, last])[:, ~gradual]).all()


def test_what_is_tried_for_a_morph(posterior, gradual, ends):
    first, last = ends[0]
    leg = smooth_leg(posterior, first, last)
    turned = np.isclose(leg, first) | np.isclose(leg, last)
    differ = first != last
    assert not turned[1:-1][:, gradual & differ].any()
    found = explore.morph(posterior, ends[1], steps=9)
    # The figure draws curves of those that go by steps, and names the settings of the others.
    assert gradual[moving(found.data, gradual=True)].all()
    assert not gradual[moving(found.data, gradual=False)].any()


def test_rendered_morphs_move_by_steps(posterior, space, gradual, ends):
    names = ends[1]
    with posterior.renderer(1) as renderer:
        points = smooth_chain(space, *(space.place(name) for name in names), renderer, 5)
        path = explore.find_path(posterior, names, "rendered", renderer, 5)
    between = points[1:-1][:, gradual & (ends[0][0] != ends[0][1])]
    assert (~np.isin(np.round(between, 6), np.round(ends[0], 6))).mean() > 0.5
    # Between two points of the path as well.
    params = posterior.run.space
    unit = params.to_unit(posterior.learnt(path.values(np.linspace(0, 1, 41))))
    jumps = np.abs(np.diff(unit, axis=0)).max(axis=0)
    widest = np.abs(np.diff(path.points, axis=0)).max(axis=0)
    assert (jumps[gradual] <= widest[gradual] / 10 + 1.01 / LAST).all()


def test_a_step_moves_by_steps(space, gradual):
    start = space.place(space.names[2])
    goal = space.axis("z1").at(start.z, space.axis("z1").position(start.z) - 1.0)
    chooser = Chooser(space, start, goal.astype(np.float32))
    turned = chooser._turns()
    assert len(turned) == chooser.params.resolution[~gradual].sum()
    np.testing.assert_array_equal(
        turned[:, gradual], np.repeat(turned[:1, gradual], len(turned), 0)
    )
    near = chooser.unit[chooser.best(4)]
    changes = np.abs(chooser._changes()[:, None] - near).max(axis=-1, where=gradual, initial=0)
    assert changes.min(axis=1).max() < 5 * 0.15
    mixed = chooser._mixes()
    known = (np.abs(mixed[:, None] - chooser.unit) < 1e-9).any(axis=1)
    assert known[:, ~gradual].all()
    assert not known[:, gradual].all()
    before = chooser.unit[:3]
    moved = chooser._descend(before) - before
    assert (np.abs(moved[:, gradual]).max(axis=1) > 0).all()
    np.testing.assert_allclose(moved[:, ~gradual], 0, atol=1e-6)


def test_how_much_one_hears_is_measured_by_a_small_step(posterior, space, gradual):
    params, preset = posterior.run.space, space.bank.values[:1]
    i = int(np.flatnonzero(gradual)[0])
    unit = params.to_unit(posterior.learnt(preset))
    moved = unit.copy()
    moved[0, i] = np.round((unit[0, i] + (0.25 if unit[0, i] < 0.5 else -0.25)) * LAST) / LAST
    there = posterior.predict(posterior.complete(params.from_unit(moved)))
    wanted = log_distance(there, posterior.predict(preset)) / abs(moved[0, i] - unit[0, i])
    np.testing.assert_allclose(sensitivity(posterior, preset)[i], wanted, rtol=1e-4)
