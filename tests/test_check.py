"""A check from end to end, killed and called again; and its arithmetic."""

import json
import re
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from killed import killed_after_draws
from matplotlib import pyplot
from plain import FAILS
from scipy.stats import kstest
from small import small_run
from test_report import assert_self_contained

from pyrosynth.audio.descriptors import NAMES, describe
from pyrosynth.audio.metrics import log_distance
from pyrosynth.audio.note import Note
from pyrosynth.errors import DataError, InputError
from pyrosynth.evaluation import cache, methods, runner
from pyrosynth.evaluation import check as checks
from pyrosynth.evaluation.calibration import Calibration
from pyrosynth.evaluation.check import check
from pyrosynth.evaluation.scores import BANK, GUESS, REFERENCE, TRUTH, answer_name
from pyrosynth.evaluation.targets import held_out
from pyrosynth.inference.arviz import arviz
from pyrosynth.inference.posterior import Posterior
from pyrosynth.synths.rendering import RenderResult
from pyrosynth.training.run import load_run

FAST = {"draws": 16, "budget": 0, "n_presets": 4, "workers": 1, "progress": False}
OPTIONS = {**FAST, "budget": 20, "baselines": "all"}


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checks")
    return (*small_run(folder), folder)


@pytest.fixture(scope="module")
def result(fitted):
    dataset, posterior, folder = fitted
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(methods, "STEPS", 20)
        return check(posterior, dataset, folder / "check", **OPTIONS)


def test_table(result):
    frame = result.table.set_index(["method", "answer"])
    own = [GUESS, "mean draw", "one draw", "best of 4 draws", "best of 16 draws"]
    assert list(frame.index) == [
        *((name, "") for name in ("random human preset", "median preset", "ridge regression",
                                  "MLP", "CNN", REFERENCE, BANK)),
        *(("FlowReg", answer) for answer in own),
        ("CMA-ES from retrieval", "20 renders"), ("CMA-ES from scratch", "20 renders"),
        ("FlowReg", "infer, 20 renders"), (TRUTH, ""),
    ]  # fmt: skip
    assert (frame["n"] == 4).all()
    lsd = frame["lsd_mean"]
    assert lsd[TRUTH, ""] < 0.005
    assert frame.loc[(TRUTH, ""), "mse_n_mean"] == 0
    draws = [lsd["FlowReg", answer] for answer in own[2:]]
    assert draws == sorted(draws, reverse=True)
    evolved = lsd["CMA-ES from retrieval", "20 renders"]
    assert evolved <= lsd[REFERENCE, ""] < lsd["random human preset", ""]
    assert lsd["FlowReg", "infer, 20 renders"] < lsd["FlowReg", "one draw"]
    assert frame.loc[("FlowReg", "infer, 20 renders"), "renders"] == 20
    stored = pd.read_csv(result.folder / "table.csv")
    np.testing.assert_allclose(stored["lsd_mean"], result.table["lsd_mean"])
    assert (result.folder / "table.md").read_text().count("\n") == len(frame) + 2
    scores = result.scores[result.scores["answer"] == "one draw"]
    assert len(scores) == 16 * 4  # a row for each draw and preset
    assert lsd["FlowReg", "one draw"] == pytest.approx(scores["lsd"].mean())


def test_distances_are_of_the_sounds_themselves(result, fitted):
    """The draws of one preset, decoded and rendered apart from the check."""
    dataset, posterior, _ = fitted
    row = int(result.inference_data.constant_data["row"][1])
    stored = result.inference_data.posterior["value"][0, :, 1].values
    with posterior.renderer(1, keep_audio=True) as renderer:
        rendered = renderer.render(posterior.complete(stored))
    found = log_distance(rendered.features, dataset.x([row])[0])
    np.testing.assert_allclose(
        result.inference_data.sample_stats["lsd"][0, :, 1], found, rtol=1e-5
    )
    predicted = result.inference_data.posterior_predictive["descriptors"][0, :, 1]
    np.testing.assert_allclose(
        predicted, describe(rendered.audio, dataset.features), rtol=1e-4, atol=1e-4
    )


def test_file_opens_with_arviz(result, fitted):
    dataset, *_ = fitted
    data = arviz().from_netcdf(result.folder / "check.nc")
    rows = data.constant_data["row"].values
    assert set(rows) < set(dataset.rows("test", human_only=True))
    v = data.posterior["v"]
    assert v.dims == ("chain", "draw", "preset", "param")
    assert v.shape == (1, 16, len(rows), len(dataset.space))
    assert data.posterior["param"].values.tolist() == list(dataset.space.names)
    assert data.posterior["preset"].values.tolist() == dataset.names(rows)
    np.testing.assert_allclose(data.constant_data["value"], dataset.learnt(rows))
    assert data.posterior_predictive["descriptor"].values.tolist() == list(NAMES)
    assert data.posterior.attrs["draws"] == 16
    truth = data.constant_data["v"].values
    assert (dataset.space.levels(dataset.learnt(rows)) == np.floor(
        truth * dataset.space.resolution
    )).all()  # fmt: skip


def test_log_q_of_the_draws_is_that_of_the_truth(result, fitted):
    """The density that scores the truth is the one that scores the draws."""
    dataset, posterior, _ = fitted
    import torch

    rows = result.inference_data.constant_data["row"].values
    x = posterior.run.standardise(torch.as_tensor(dataset.x(rows)))
    v = torch.as_tensor(result.inference_data.posterior["v"][0].values)
    with torch.no_grad():
        log_q = posterior.variant.log_prob_v(v, x)
    np.testing.assert_allclose(
        result.inference_data.sample_stats["log_q"][0], log_q, rtol=1e-3, atol=0.02
    )


def test_report_and_pictures(result):
    page = assert_self_contained(result.folder / "report.html")
    html = (result.folder / "report.html").read_text()
    pictures = sorted(file.stem for file in result.folder.glob("*.png"))
    assert pictures == ["calibration", "descriptors", "distances", "search"]
    assert page.tags.count("img") == 4
    assert page.tags.count("audio") == 3 * page.tags.count("h3") == 12
    for method, answer in result.table[["method", "answer"]].itertuples(index=False):
        assert f"<td>{answer_name(method, answer)}</td>" in html
    assert not list(result.folder.glob("*.part"))


def test_summary(result):
    stored = json.loads((result.folder / "summary.json").read_text())
    assert stored == json.loads(json.dumps(result.summary))
    assert stored["same_dataset"] is True
    assert stored["failed_draws"] == 0
    assert stored["failures"] == result.failures == []
    kinds = {"highest density", "conformal", "TARP"}
    assert set(stored["coverage"]) == {"mean of parameters", *kinds}
    groups = stored["coverage_by_differing_controls"]
    assert sum(group["presets"] for group in groups) == stored["presets"]
    assert set(groups[0]) == {"differing", "presets", "central", *kinds}
    for name in ("coverage_of_parameters", "coverage_of_descriptors"):
        for shares in stored[name].values():
            assert len(shares) == 3
            assert sorted(shares) == shares


def test_again_makes_only_what_is_missing_or_damaged(result, fitted, monkeypatch):
    dataset, posterior, folder = fitted
    kept = {f: f.read_bytes() for f in result.folder.glob("*.*") if f.suffix != ".nc"}
    damaged = sorted(result.folder.glob("cache/infer-*/*.npz"))[0]
    damaged.write_bytes(damaged.read_bytes()[:100])
    mine = result.folder / "my notes.txt"
    mine.write_text("mine")
    scored, score = [], runner.EvaluationRunner._score

    def count(self, i, values, x):
        scored.append(int(self.targets.ids[i]))
        return score(self, i, values, x)

    def refuse(*_):
        raise AssertionError("these answers are there already")

    monkeypatch.setattr(runner.EvaluationRunner, "_score", count)
    monkeypatch.setattr(checks, "answer_baselines", refuse)
    again = check(posterior, dataset, folder / "check", **OPTIONS)
    assert scored == [int(damaged.stem)]
    pd.testing.assert_frame_equal(again.table, result.table)
    for file, content in kept.items():
        assert file.read_bytes() == content, file.name
    assert mine.read_text() == "mine"


def test_other_runs_are_shown_beside(result, fitted):
    dataset, posterior, folder = fitted
    options = {**OPTIONS, "baselines": "fast"}
    both = check(posterior, dataset, folder / "check", beside={"its twin": posterior}, **options)
    rows = both.table[both.table["answer"] == "infer, 20 renders"].drop(columns="method")
    assert rows.iloc[0].equals(rows.iloc[1])


def test_killed_check_goes_on(result, fitted, tmp_path, monkeypatch):
    dataset, posterior, folder = fitted
    monkeypatch.setattr(methods, "STEPS", 20)
    killed_after_draws(2, check, posterior, dataset, tmp_path, **FAST)
    kept = {f: f.stat().st_mtime_ns for f in tmp_path.glob("cache/*/*.npz")}
    assert kept
    assert not (tmp_path / "report.html").exists()
    check(posterior, dataset, tmp_path, **FAST)
    assert all(file.stat().st_mtime_ns == when for file, when in kept.items())
    table, other = (
        pd.read_csv(folder / "table.csv", keep_default_na=False).set_index(["method", "answer"])
        for folder in (tmp_path, result.folder)
    )
    assert not any("renders" in answer for _, answer in table.index)
    assert not (tmp_path / "search.png").exists()
    assert "best of 16 draws" in (tmp_path / "report.html").read_text()
    pd.testing.assert_frame_equal(table, other.loc[table.index])


def test_more_presets_use_what_is_there(result, fitted, monkeypatch):
    dataset, posterior, folder = fitted
    monkeypatch.setattr(methods, "STEPS", 20)
    kept = set(folder.glob("check/cache/draws-*/*.npz"))
    options = {**OPTIONS, "n_presets": 5, "budget": 0}
    found = check(posterior, dataset, folder / "check", **options)
    assert (found.table["n"] == 5).all()
    new = set(folder.glob("check/cache/draws-*/*.npz")) - kept
    assert len(kept) == 4
    assert len(new) == 1
    again = found.inference_data.posterior["v"].sel(
        preset=result.inference_data.posterior["preset"]
    )
    np.testing.assert_array_equal(again, result.inference_data.posterior["v"])


def test_a_calibrated_run_has_uniform_numbers(fitted):
    """Draws and truth from one distribution pass; draws that are too narrow do not."""
    dataset, *_ = fitted
    rng = np.random.default_rng(0)
    n, draws, n_params = 400, 32, len(dataset.space)
    numbers = {"descriptors": rng.normal(size=(n, draws + 1, 6)), "log_q_true": np.full(n, np.nan)}
    numbers |= {"v": rng.random((n, draws, n_params)), "v_true": rng.random((n, n_params))}
    numbers["log_q"] = numbers["v"].sum(-1)
    good = Calibration.of(numbers, draws)
    assert set(good.joint) == {"TARP"}  # the variant had no density
    assert kstest(good.ranks.ravel(), "uniform").pvalue > 0.001
    assert kstest(good.joint["TARP"][:, 0], "uniform").pvalue > 0.001
    assert kstest(good.descriptors.ravel(), "uniform").pvalue > 0.001
    names = dataset.space.names
    assert good.coverage(names)["coverage"]["mean of parameters"] == pytest.approx(
        [0.5, 0.8, 0.9], abs=0.02
    )
    narrow = {**numbers, "v": 0.5 + 0.2 * (numbers["v"] - 0.5)}
    bad = Calibration.of(narrow, draws).coverage(names)
    assert bad["coverage"]["mean of parameters"] == pytest.approx([0.1, 0.16, 0.18], abs=0.03)


def repeated(dataset, folder, n, renderer):
    """A runner on one held-out preset, n times."""
    one = held_out(dataset, 1)
    same = {k: np.repeat(getattr(one, k), n, axis=0) for k in ("ids", "x", "values")}
    targets = replace(one, names=one.names * n, **same)
    return runner.EvaluationRunner(targets, folder, renderer, None, progress=False)


class Broken:
    """A renderer whose every second sound fails."""

    def stream(self, chunks):
        for key, values in chunks:
            reason = np.where(np.arange(len(values)) % 2, "crashed", "")
            rows = np.zeros((len(values), 64 * 11 + len(NAMES)), np.float32)
            yield key, RenderResult(None, rows, reason)


def test_a_draw_that_cannot_be_rendered_is_silence(fitted, tmp_path):
    dataset, posterior, _ = fitted
    many = repeated(dataset, tmp_path, 1, Broken())
    rendered = many.render_draws(posterior, 4, lambda lsd: ())
    assert rendered["failed"].tolist() == [[False, True, False, True, False, True]]
    silence = np.full(dataset.mean.shape, np.log(dataset.features.floor))
    expected = log_distance(silence, many.targets.x[0])
    np.testing.assert_allclose(rendered["lsd"][0, [1, 3]], expected)
    assert rendered["sc"][0, [1, 3]] == pytest.approx(1)
    assert np.isnan(rendered["descriptors"][0, [1, 3]]).all()
    assert Calibration.of(rendered, 4).descriptors is None  # the true one did not render again
    twice = {name: np.concatenate([held, held]) for name, held in rendered.items()}
    twice["descriptors"][0, -1] = 1.0
    assert Calibration.of(twice, 4).descriptors.shape == (1, 6)


def test_bad_arguments(fitted, tmp_path):
    dataset, posterior, folder = fitted
    for options in (
        {"draws": 1},
        {"budget": -1},
        {"n_presets": 0},
        {"baselines": "some"},
        {"seed": -1},
        {"seed": 2**64},
    ):
        with pytest.raises(InputError):
            check(posterior, dataset, tmp_path, **options)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file, where a folder is wanted"):
        check(posterior, dataset, tmp_path / "file" / "out")
    run = load_run(folder / "run")
    other = type(posterior)(replace(run, note=Note(40)), posterior.bank)
    with pytest.raises(DataError, match=re.escape("another note")):
        check(other, dataset, tmp_path)


def test_a_run_that_has_learnt_the_held_out_presets_is_refused(fitted, tmp_path):
    dataset, posterior, _ = fitted
    seen = dataset.values(dataset.rows("test", human_only=True))
    knows = replace(posterior.bank, values=np.vstack([seen[:1], posterior.bank.values[1:]]))
    rounded = replace(knows, values=knows.values + 1e-7)  # as by a host
    for bank in (knows, rounded):
        with pytest.raises(DataError, match=r"the run has learnt [1-9] of \d+ held-out presets"):
            check(Posterior(posterior.run, bank), dataset, tmp_path, **{**FAST, "n_presets": None})


def test_arviz_users_find_what_they_call_first(result):
    """The predictive check by default, and no observed variable without its prediction."""
    az = arviz()
    data = az.from_netcdf(result.folder / "check.nc")
    assert set(data.observed_data) == set(data.posterior_predictive) == {"descriptors"}
    with warnings.catch_warnings():  # of ArviZ on a new matplotlib, and on few draws
        warnings.simplefilter("ignore")
        assert len(np.ravel(az.plot_ppc(data, num_pp_samples=5, show=False))) > 0
        pyplot.close("all")
        assert az.loo(data).n_data_points == data.posterior.sizes["preset"]
        assert len(az.compare({"one": data, "same": data})) == 2


def test_a_preset_that_the_synth_fails_at_now_is_named(fitted, monkeypatch):
    dataset, posterior, folder = fitted
    targets = held_out(dataset, 4)
    cutoff = targets.values[:, posterior.run.full_space.index(["filter_cutoff"])[0]]
    worst = int(cutoff.argmax())
    below = (np.sort(cutoff)[-1] + np.sort(cutoff)[-2]) / 2
    monkeypatch.setenv(FAILS, f"filter_cutoff {below}")
    for _ in range(2):  # rendered, and from the cache
        found = check(posterior, dataset, folder / "fails now", **{**FAST, "baselines": "few"})
        why = "the synth fails when it plays the preset itself again"
        assert found.failures == [f"{targets.names[worst]}: {why}"]
        table = found.table.set_index("method")
        assert (table["n"] == 3).all()
        assert table.loc[TRUTH, "lsd_mean"] < 0.005


def test_a_preset_that_fails_costs_only_itself(result, fitted, monkeypatch):
    dataset, posterior, folder = fitted
    bad = held_out(dataset, 4).x[2]
    refine = type(posterior).refine

    def refuse(self, x, *rest):
        if np.array_equal(x, bad):
            raise InputError("no preset for this one")
        return refine(self, x, *rest)

    monkeypatch.setattr(methods, "STEPS", 2)
    monkeypatch.setattr(type(posterior), "refine", refuse)
    found = check(posterior, dataset, folder / "one fails", **{**OPTIONS, "baselines": "fast"})
    name = held_out(dataset, 4).names[2]
    assert found.failures == [f"{name}: no preset for this one"]
    assert (found.table["n"] == 3).all()
    kept = [0, 1, 3]
    names = [held_out(dataset, 4).names[i] for i in kept]
    assert found.inference_data.posterior["preset"].values.tolist() == names
    rows = result.table.set_index(["method", "answer"])
    others = result.scores[result.scores["target"] != held_out(dataset, 4).ids[2]]
    for answer in ("one draw", "infer, 20 renders"):
        lsd = others[others["answer"] == answer]["lsd"].mean()
        again = found.table.set_index(["method", "answer"]).loc[("FlowReg", answer)]
        assert again["lsd_mean"] == pytest.approx(lsd)
        assert again["lsd_mean"] != rows.loc[("FlowReg", answer), "lsd_mean"]


def test_what_is_not_of_a_check_stays(fitted, tmp_path):
    dataset, posterior, _ = fitted
    (tmp_path / "table.csv").write_text("mine")
    with pytest.raises(InputError, match="holds 'table.csv', which pyrosynth did not write"):
        check(posterior, dataset, tmp_path, **FAST)
    assert [file.name for file in tmp_path.iterdir()] == ["table.csv"]
    assert (tmp_path / "table.csv").read_text() == "mine"


def test_any_damage_to_a_cached_result_is_noticed(tmp_path):
    """Cut, changed or swapped: it is made anew, never read as something else."""
    file = tmp_path / "000001.npz"
    rng = np.random.default_rng(0)
    cache.write_arrays(file, {"lsd": rng.random((4, 3)), "source": np.array(["cma"] * 4)})
    content = file.read_bytes()
    stored = cache.read_arrays(file)
    assert set(stored) == {"lsd", "source"}
    for _ in range(1500):
        mutant = bytearray(content)
        kind = rng.integers(4)
        at = rng.integers(len(mutant))
        if kind == 0:
            mutant[at] ^= 1 << rng.integers(8)
        elif kind == 1:
            del mutant[at:]
        elif kind == 2:
            del mutant[at : at + rng.integers(1, 40)]
        else:
            mutant[at:at] = rng.bytes(rng.integers(1, 40))
        file.write_bytes(mutant)
        assert cache.read_arrays(file) is None
