"""Which presets a synth with many controls is listened to in, and for how long."""

import numpy as np

from pyrosynth.synths.bases import MANY, covering, spread_out, still_to_hear, usage_of
from pyrosynth.synths.params import Param, ParamSpace
from pyrosynth.synths.verdicts import Heard

SPACE = ParamSpace(tuple(Param(f"control {i}", default=0.5) for i in range(MANY)))


def test_what_enough_presets_move_is_counted():
    presets = np.full((40, MANY), 0.7)  # the usual value, which is not the default
    presets[:30, 0] = np.linspace(0, 1, 30)
    presets[5, 1] = 0.2
    presets[5:8, 2] = 0.71
    usage = usage_of(SPACE, presets)
    np.testing.assert_allclose(usage.share[:4], [0.75, 0.025, 0.075, 0], atol=0.03)
    assert usage.moved.any(axis=0).tolist() == [True, False, True] + [False] * (MANY - 3)
    assert usage_of(SPACE, presets[:7]) is None
    assert usage_of(SPACE.select("control 0,control 1"), presets[:, :2]) is None


def test_bases_cover_each_control_twice():
    moved = np.zeros((6, 5), bool)
    moved[0, :3] = moved[2, :3] = moved[4, 3:] = moved[5, 4] = True
    assert set(covering(moved, 4)) == {0, 2, 4, 5}
    assert len(covering(moved, 9)) == 6


def test_a_control_is_listened_to_until_it_is_heard():
    moved = np.ones((9, 4), bool)
    moved[1, 0] = False

    def heard(db, silent=False):
        return Heard(True, 0.0, [[x] for x in db], [[silent]] * 4, [[False]] * 4)

    first = heard([0.0, 5.0, 0.0, 0.0])
    assert still_to_hear(moved, [[]]).tolist() == [True] * 4
    assert still_to_hear(moved, [[first]]).tolist() == [False, False, True, True]
    silenced = heard([0.0, 5.0, 0.0, 0.0], silent=True)  # is no evidence that it is worth it
    assert still_to_hear(moved, [[silenced]]).tolist() == [False, True, True, True]
    unheard = heard([0.0] * 4)
    assert not still_to_hear(moved, [[unheard] * 6]).any()  # enough with the first note
    assert still_to_hear(moved, [[unheard] * 9, [unheard]]).tolist() == [False, True, True, True]
    assert not still_to_hear(moved, [[unheard] * 9, [unheard] * 2]).any()


def test_points_are_chosen_that_cover_all():
    line = np.stack([np.linspace(0, 1, 101), np.zeros(101)], axis=1).astype(np.float32)
    assert spread_out(line, 3) == [0, 100, 50]
    assert sorted(spread_out(line[:4], 10)) == [0, 1, 2, 3]
    assert sorted(spread_out(np.zeros((3, 2, 2), np.float32), 3)) == [0, 1, 2]  # all alike
