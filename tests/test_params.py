import numpy as np
import pandas as pd
import pytest
import xarray as xr

from pyrosynth.errors import InputError
from pyrosynth.synths.params import Param, ParamSpace
from pyrosynth.synths.presets import Preset
from pyrosynth.synths.subspace import Subspace

SPACE = ParamSpace(
    (
        Param("cutoff", "continuous", -0.5, 1.5, 0.25),
        Param("octave", "stepped", -2, 3, 0, 6),
        Param("wave", "categorical", 0, 2, 1, 3, labels=("sine", "saw", "noise")),
        Param("sync", "toggle", 0, 1, 0, 2),
    ),
    {"2": ("wave", "cutoff")},
)


def random_values(n=200, seed=0):
    return SPACE.from_unit(np.random.default_rng(seed).random((n, len(SPACE))))


def test_unit_and_native_values_are_inverse():
    values = random_values()
    np.testing.assert_allclose(SPACE.from_unit(SPACE.to_unit(values)), values, atol=1e-12)


def test_small_steps_move_continuous_controls_and_those_with_many_steps_in_order():
    level = Param("level", "stepped", 0, 99, 0, 100)
    names = Param("program", "categorical", 0, 99, 0, 100)
    space = ParamSpace((*SPACE.params, level, names))
    assert space.gradual.tolist() == [True, False, False, False, True, False]


@pytest.mark.parametrize(
    "name", ["minimum", "maximum", "defaults", "resolution", "discrete", "gradual", "logarithmic"]
)
def test_what_all_share_cannot_be_changed_in_place(name):
    with pytest.raises(ValueError, match="read-only"):
        getattr(SPACE, name)[0] = 1
    getattr(SPACE, name).copy()[0] = 1


def test_discrete_controls_are_rounded_and_all_clamped():
    values = [9.0, 1.4, 0.6, -3.0]
    np.testing.assert_allclose(SPACE.from_unit(SPACE.to_unit(values)), [1.5, 1.0, 1.0, 0.0])


def test_any_point_of_the_cube_decodes_to_a_fixed_point_of_coding():
    v = np.random.default_rng(1).random((500, len(SPACE)))
    v[0], v[1] = 0.0, 1.0
    values = SPACE.decode(v)
    assert (values >= SPACE.minimum).all()
    assert (values <= SPACE.maximum).all()
    np.testing.assert_array_equal(SPACE.decode(SPACE.encode(values)), values)


def test_dequantised_values_stay_in_their_level_and_in_the_open_cube():
    values = random_values(2000)
    v = SPACE.encode(values, np.random.default_rng(2))
    assert v.dtype == np.float32
    assert ((v > 0) & (v < 1)).all()
    np.testing.assert_array_equal(np.floor(v * SPACE.resolution), SPACE.levels(values))


def test_dequantisation_fills_each_level_evenly():
    values = np.tile(SPACE.defaults, (20_000, 1))
    within = (SPACE.encode(values, np.random.default_rng(3)) * SPACE.resolution) % 1
    np.testing.assert_allclose(within.mean(0), 0.5, atol=0.02)
    np.testing.assert_allclose(within.var(0), 1 / 12, atol=0.004)


def test_selection_keeps_the_order_of_the_space():
    assert SPACE.select("2").names == ("cutoff", "wave")
    assert SPACE.select("sync, cutoff").names == ("cutoff", "sync")
    assert SPACE.select(["octave"]).names == ("octave",)
    assert SPACE.select("all") == SPACE


def test_json_round_trip():
    assert ParamSpace.from_json(SPACE.to_json()) == SPACE


@pytest.mark.parametrize(
    ("action", "word"),
    [
        (lambda: SPACE.select("wawe"), "known: wave, cutoff, octave, sync"),
        (lambda: SPACE.select("16"), "known: all, 2"),
        (lambda: SPACE.select("cutoff,"), "a name is empty in 'cutoff,'; take out a comma"),
        (lambda: SPACE.select(""), "a name is empty in ''"),
        (lambda: SPACE.to_unit([0, 0, 0]), "last axis must hold 4"),
        (lambda: SPACE.to_unit([0, np.nan, 0, 0]), "'octave' is not a finite number"),
        (lambda: ParamSpace((SPACE.params[0],) * 2), "are called '"),
        (lambda: Param("x", "knob"), "known: continuous"),
        (lambda: Param("x", minimum=1, maximum=1, default=1), "empty"),
        (lambda: Param("x", default=2.0), "lies outside"),
        (lambda: Param("x", "toggle"), "has the resolution 128"),
        (
            lambda: Param("x", "categorical", resolution=3, labels=("a",)),
            "give 3 labels, not 1",
        ),
    ],
)
def test_errors_name_the_value_and_the_rule(action, word):
    with pytest.raises(InputError, match=word):
        action()


def test_completing_a_part_adds_the_defaults_of_the_rest():
    subspace = Subspace(SPACE, SPACE.select("2"))
    full = subspace.complete([[[1.0, 2.0], [0.5, 0.0]]])
    assert subspace.of(full).tolist() == [[[1.0, 2.0], [0.5, 0.0]]]
    assert full.tolist() == [[[1.0, 0.0, 2.0, 0.0], [0.5, 0.0, 0.0, 0.0]]]


def test_a_name_that_ends_in_a_blank_is_one():
    space = ParamSpace((Param("bright "), Param("dark")))
    for which in (("bright ",), ["bright ", "dark"], "bright ,dark", "bright , dark"):
        assert space.select(which).names[0] == "bright "


def test_columns_in_another_order_than_the_controls_are_refused():
    table = pd.DataFrame(random_values(3), columns=SPACE.names)
    other = table[sorted(SPACE.names)]
    data = xr.DataArray(other, dims=("preset", "param"))
    np.testing.assert_array_equal(SPACE.to_unit(table), SPACE.to_unit(table.to_numpy()))
    unnamed = table.set_axis(range(len(SPACE)), axis=1)
    np.testing.assert_array_equal(SPACE.to_unit(unnamed), SPACE.to_unit(table))
    by_names = {name: float(value) for name, value in table.iloc[0].items()}
    assert Preset.from_array(SPACE, table.iloc[0]).values == by_names
    for values in (other, other.iloc[0], [other.iloc[0], other.iloc[1]], data, data[0]):
        with pytest.raises(InputError, match=r"'octave' in column 1, where .*|table\[list\(space"):
            SPACE.within(values)
    with pytest.raises(InputError, match=r"give table\[list\(space.names\)\]"):
        Preset.from_array(SPACE, other.iloc[0])
