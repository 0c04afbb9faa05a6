"""Tables of controls that are called like the columns that stand beside those of controls."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from plain import COLUMNS, Called
from small import small_run

from pyrosynth import explore
from pyrosynth.cli.app import main
from pyrosynth.data.gathering import read_presets
from pyrosynth.errors import InputError
from pyrosynth.synths.presets import distinct_names, own_columns
from pyrosynth.training.run import load_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("called")


@pytest.fixture(scope="module")
def posterior(folder):
    return small_run(folder, "plain:Called")[1]


def test_distinct_names():
    names = ["a", "a", "a (2)", "b", "a"]
    assert distinct_names(names) == ["a", "a (3)", "a (2)", "b", "a (4)"]
    assert own_columns(["a", "a (2)"], ["a", "b"]) == ["a (3)", "b"]


def test_a_table_of_presets_has_the_values_of_controls_called_name_and_bank(tmp_path):
    table = tmp_path / "presets.csv"
    values = dict(zip(COLUMNS[:4], (3.0, 2.0, 1.0, -24.0), strict=True))
    pd.DataFrame([values]).to_csv(table, index=False)
    (preset,) = read_presets(Called(), table)
    assert (preset.name, preset.bank, preset.values) == ("", "presets.csv", values)
    named = {**values, "name (2)": "warm", "bank (2)": "pads"}
    pd.DataFrame([named]).to_csv(table, index=False)
    (preset,) = read_presets(Called(), table)
    assert (preset.name, preset.bank, preset.values) == ("warm", "pads", values)
    pd.DataFrame([{**values, "name": "warm"}]).to_csv(table, index=False)
    message = r"'name': 'warm' is no number; call the column 'name \(2\)'"
    with pytest.raises(InputError, match=message):
        read_presets(Called(), table)


def test_draws_have_the_values_of_a_control_called_log_q(posterior):
    draws = posterior.sample(posterior.bank.sounds([0])[0], 3)
    table = draws.to_dataframe()
    names = list(posterior.run.full_space.names)
    assert [*table.columns] == [*names, "log_q (2)"]
    np.testing.assert_array_equal(table[names], draws.values)
    np.testing.assert_array_equal(table["log_q (2)"], draws.log_q)


def test_traversals_are_tables_with_controls_called_macro_and_position(posterior):
    space = explore.LatentSpace(posterior)
    for axis in space.linear_axes:
        sweep = explore.traverse(posterior, axis, steps=3)
        table, values = sweep.mapping(), sweep.data["value"]
        assert [*table.columns[:2]] == ["macro (2)", "position (2)"]
        np.testing.assert_allclose(table.iloc[:, :2], [[0, -4], [0.5, 0], [1, 4]])
        for name in table.columns[2:]:
            np.testing.assert_array_equal(table[name], values.sel(param=name))
        moved = {row["name"]: row["values"] for row in sweep.facts()["parameters"]}
        assert {name for name, told in moved.items() if told} == {*table.columns[2:]}


def test_such_a_synth_is_explored_and_one_of_its_presets_may_be_called_none(
    posterior, folder, tmp_path, capfd, monkeypatch
):
    for number in ("N_PRESETS", "CENTERS"):
        monkeypatch.setattr(f"pyrosynth.explore.folder.{number}", 3)
    run, bank = tmp_path / "run", posterior.bank
    load_run(folder / "run").save(run)
    names = ("None" if i == bank.human.argmax() else name for i, name in enumerate(bank.names))
    replace(bank, names=tuple(names)).save(run / "bank.safetensors")
    more = ["--axis", "pc1", "--draws", "1", "--workers", "1", "--interpolation", "knobs"]
    code = main(["explore", str(run), "--out", str(tmp_path / "out"), *more])
    assert code == 0, capfd.readouterr().err
    header, *rows = (tmp_path / "out" / "traversal-pc1" / "mapping.csv").read_text().splitlines()
    assert header.startswith("macro (2),position (2),")
    assert [row.split(",")[0] for row in rows] == [str(k / 8) for k in range(9)]
    assert ">macro (2)</th>" in (tmp_path / "out" / "report.html").read_text()
