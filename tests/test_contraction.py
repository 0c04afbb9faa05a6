import numpy as np
import pytest

from pyrosynth.inference.contraction import contraction, correlations, trade_offs
from pyrosynth.synths.params import Param, ParamSpace

WAVE = Param("wave", "categorical", 0, 3, resolution=4)
SPACE = ParamSpace((Param("cutoff"), Param("detune"), WAVE, Param("level")))


def test_contraction_is_that_of_the_definition():
    rng = np.random.default_rng(0)
    known = rng.random((5000, 4))
    known[:, 3] = 0.5
    v = rng.random((4000, 2, 4))
    v[:, 0, 0] = 0.5 + 0.1 * (v[:, 0, 0] - 0.5)
    v[:, 0, 2] = 0.1
    v[:, 1, 2] *= 0.5
    found = contraction(v, known, SPACE)
    assert found.shape == (2, 4)
    assert found[0, :3] == pytest.approx([0.99, 0, 1], abs=0.03)
    assert found[1, :3] == pytest.approx([0, 0, 0.5], abs=0.03)  # 2 of 4 waves are left
    assert np.isnan(found[:, 3]).all()


def test_controls_that_stand_in_for_each_other_are_named():
    rng = np.random.default_rng(1)
    v = rng.random((64, 4))
    v[:, 3] = 0.9 - 0.8 * v[:, 0] + 0.05 * rng.random(64)
    v[:, 2] = 0.5
    (pair,) = trade_offs(v, SPACE.names)
    assert pair[:2] == ("cutoff", "level")
    assert pair.correlation < -0.9
    assert correlations(v)[2, 0] == 0
    assert trade_offs(v[:6], SPACE.names) == []

    far = np.repeat(v, 2, axis=0)  # every second draw sounds otherwise, and says nothing
    far[1::2] = rng.random((64, 4))
    lsd = np.tile([1.0, 9.0], 64)
    assert correlations(far, lsd) == pytest.approx(correlations(v))
    lsd[1::2] = np.nan
    assert trade_offs(far, SPACE.names, lsd)[0].correlation < -0.9


def test_what_is_independent_is_not_named():
    rng = np.random.default_rng(2)
    named = [bool(trade_offs(rng.random((64, 4)), SPACE.names)) for _ in range(200)]
    assert np.mean(named) < 0.1
