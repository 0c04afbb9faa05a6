"""The arithmetic of score tables: draws, seeds, intervals, tests; and how they read."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import wilcoxon

from pyrosynth.errors import InputError
from pyrosynth.evaluation import figures
from pyrosynth.evaluation.entries import model_entries
from pyrosynth.evaluation.methods import ALL_METHODS, Search, parse
from pyrosynth.evaluation.scores import (
    HELD_OUT,
    OUTSIDE,
    REFERENCE,
    best_of,
    paired_tests,
    per_target,
    summarise,
)
from pyrosynth.evaluation.tables import (
    budget_table,
    check_table,
    compare_page,
    costs_table,
    markdown,
    order,
)
from pyrosynth.plots import png


def rows_of(method, answer, lsd, budget=0, sounds=HELD_OUT, seed=0, **metrics):
    """Rows of a score table: distances (n,) or, of k draws, (k, n)."""
    lsd = np.atleast_2d(np.asarray(lsd, float))
    scores = {"lsd": lsd, "sc": lsd / 10, **metrics}
    labels = {"sounds": sounds, "method": method, "answer": answer, "budget": budget,
              "renders": float(budget), "seed": seed, "true_square": 1.0,
              "target": np.tile(np.arange(lsd.shape[1]), len(lsd))}  # fmt: skip
    cells = {name: np.broadcast_to(values, lsd.shape).ravel() for name, values in scores.items()}
    return pd.DataFrame({**labels, **cells})


COSTS = {"weights": 1000.0, "steps": 50.0, "best_step": 40.0, "fit_seconds": 90.0,
         "fit_cpu_seconds": 60.0}  # fmt: skip
FACTS = [{"sounds": HELD_OUT, "method": name, **COSTS} for name in ("weak", "good")]
FAILED = {"lost": "seed 0: no luck"}


@pytest.fixture(scope="module")
def scores():
    rng = np.random.default_rng(0)
    base = rng.normal(6, 1, 40)
    return pd.concat(
        [
            rows_of("weak", "mean draw", base + 4),
            rows_of("weak", "best of 16 draws", base + 1 + rng.normal(0, 0.3, 40), 16),
            rows_of("good", "mean draw", base + 3 + rng.normal(0, 0.3, 40)),
            rows_of("good", "best of 16 draws", base - 1, 16),
            rows_of("good", "infer, 200 renders", base - 3, 200),
            rows_of(REFERENCE, "", base),
            rows_of("twin", "", base[::-1] + 0.01),
        ]
    )


@pytest.fixture(scope="module")
def frame(scores):
    return summarise(scores, paired_tests(scores), FACTS, FAILED)


def test_nearest_of_some_draws():
    lsd = np.array([[5.0, 3.0, 4.0, 1.0, 9.0], [2.0, 3.0, 4.0, 1.0, 9.0]])
    found = best_of(lsd, 4, (2, 4, 8))
    assert list(found) == ["mean draw", "one draw", "best of 2 draws", "best of 4 draws"]
    assert [where.tolist() for where in found.values()] == [[4, 4], [0, 0], [1, 0], [3, 3]]


def test_seeds_of_a_target_are_averaged_first():
    both = pd.concat(
        [rows_of("m", "", [1.0, 5.0, 6.0]), rows_of("m", "", [3.0, 5.0, 0.0], seed=1)]
    )
    assert per_target(both)["lsd"].tolist() == [2.0, 5.0, 3.0]
    cells = summarise(both).iloc[0]
    assert cells["lsd_median"] == 3.0  # not that of all six numbers, 4
    assert cells["lsd_mean"] == pytest.approx(10 / 3)
    assert (cells["n"], cells["seeds"]) == (3, 2)


def test_a_metric_of_some_draws_only_is_that_of_these():
    draws = rows_of("m", "one draw", [[1.0, 2.0], [3.0, 4.0]], mss=np.array([[7.0], [np.nan]]))
    assert per_target(draws)["lsd"].tolist() == [2.0, 3.0]
    assert per_target(draws)["mss"].tolist() == [7.0, 7.0]


def test_wins_count_answers(scores):
    draws = rows_of("m", "one draw", [[4.0] * 4, [8.0] * 4])
    table = pd.concat([rows_of(REFERENCE, "", [5.0, 5.0, 6.0, 6.0]), draws,
                       rows_of("best", "", [1.0, 5.0, 5.0, 5.0])])  # fmt: skip
    wins = summarise(table).set_index("method")["wins"]
    assert np.isnan(wins[REFERENCE])
    assert wins["m"] == 0.5  # half of the answers, not of the means
    assert wins["best"] == 0.75  # a tie is no win
    assert summarise(draws)["wins"].isna().all()  # without the reference


def test_the_published_error_divides_by_the_mean_square_of_all():
    error, square = np.array([0.5, 0.1]), np.array([0.2, 0.8])
    table = rows_of("m", "", [1.0, 1.0], mse_n=error / square).assign(true_square=square)
    assert summarise(table)["mse_n_published"][0] == pytest.approx(0.6)
    assert summarise(table)["mse_n_mean"][0] == pytest.approx((0.5 / 0.2 + 0.1 / 0.8) / 2)


def test_the_table_of_a_check():
    inferred = rows_of("best", "infer, 256 renders", [3.0, 5.0], 256, mse_n=0.2)
    table = pd.concat([rows_of(REFERENCE, "", [5.0, 6.0], mse_n=0.4), inferred])
    headers, cells = check_table(summarise(table))
    assert cells[1][0] == "best, infer, 256 renders"
    assert cells[1][2].startswith("4.00 [")
    assert cells[1][3:] == ["4.00", "0.40", "0.200", "100 %", "256"]
    assert cells[0][-2] == ""
    assert {line.count("|") for line in markdown(headers, cells).splitlines()} == {
        len(headers) + 1
    }


def test_scores_are_paired_by_their_targets(scores):
    tests = paired_tests(scores).set_index(["budget", "method", "answer", "metric"]).sort_index()
    mixed = paired_tests(scores.sample(frac=1, random_state=0))
    mixed = mixed.set_index(["budget", "method", "answer", "metric"]).sort_index()
    columns = ["difference", "wins", "p"]
    np.testing.assert_allclose(mixed[columns], tests[columns], atol=1e-12)
    others = scores.assign(target=scores["target"].where(scores["method"] != "twin", "another"))
    with pytest.raises(InputError, match="'twin' has other targets than the other answers; give"):
        paired_tests(others)


def test_tests_are_within_equal_budgets(scores):
    tests = paired_tests(scores)
    lsd = tests[tests["metric"] == "lsd"].set_index(["budget", "method"])
    assert set(lsd.loc[0]["best"]) <= {REFERENCE, "twin"}
    assert lsd.loc[16].index.tolist() == ["weak"]
    assert 200 not in tests["budget"].tolist()  # nobody to compare with
    by_target = per_target(scores)["lsd"]
    values = {
        f"{method}, {answer}" if answer else method: own.to_numpy()
        for (method, answer), own in by_target.groupby(["method", "answer"])
    }
    best = lsd.loc[0]["best"].iloc[0]
    others = [n for n in ("weak, mean draw", "good, mean draw", REFERENCE, "twin") if n != best]
    p = {n: wilcoxon(values[n] - values[best]).pvalue for n in others}
    smallest = min(p, key=p.get)
    found = lsd.loc[0].set_index("answer", append=True)["p"]
    method, _, answer = smallest.partition(", ")
    assert found[method, answer] == pytest.approx(3 * p[smallest])
    weak = lsd.loc[16, "weak"]
    assert weak["difference"] == pytest.approx(
        np.mean(values["weak, best of 16 draws"] - values["good, best of 16 draws"])
    )
    assert weak["low"] < weak["difference"] < weak["high"]
    assert weak["wins"] == 1.0


def test_table_marks_the_best_and_what_may_be_as_good(frame, scores):
    headers, cells = budget_table(frame, HELD_OUT)
    assert headers[:5] == ["method", "mean draw", "guess", "best of 16", "200 renders"]
    table = {line[0]: dict(zip(headers, line, strict=True)) for line in cells}
    assert list(table) == order(frame) == ["good", "weak", REFERENCE, "twin", "lost"]
    assert table["good"]["best of 16"].startswith("**")
    assert not table["weak"]["best of 16"].endswith("≈")
    marks = {table[name]["guess"][-1] for name in (REFERENCE, "twin")}
    assert marks == {"*", "≈"}
    assert table["lost"]["mean draw"] == "failed: seed 0: no luck"
    assert frame.set_index("method").loc["lost", "failed"] == "seed 0: no luck"
    wins = frame.set_index(["method", "answer"])["wins"]
    assert wins["good", "best of 16 draws"] == 1
    assert wins["weak", "mean draw"] == 0
    assert costs_table(frame)[1] == [
        ["good", "1,000", "50", "40", "1.5", "1.0"], ["weak", "1,000", "50", "40", "1.5", "1.0"]
    ]  # fmt: skip
    page = compare_page(frame, paired_tests(scores))
    assert len({line.count("|") for line in page.split("\n\n")[1].splitlines()}) == 1


def test_a_silent_target_has_no_spectral_convergence():
    table = pd.concat([rows_of("a", "", np.ones(3), sc=np.array([1.0, np.inf, 3.0])),
                       rows_of("b", "", np.ones(3), sc=np.array([2.0, np.inf, 5.0]))])  # fmt: skip
    assert summarise(table)["sc_mean"].tolist() == [2.0, 3.5]
    tests = paired_tests(table).set_index("metric")
    assert tests.loc["sc", "best"] == "a"
    assert tests.loc["sc", "difference"] == 1.5
    assert tests.loc["lsd", "p"] == 1.0


def test_of_spectral_convergence_medians_are_compared():
    """Over draws, over targets, and of differences: answers that are too loud decide nothing."""
    draws = np.array([[0.5, 0.6, 0.7], [0.7, 0.8, 0.9], [900.0, 0.7, 0.8]])
    table = per_target(rows_of("m", "one draw", draws, sc=draws))
    np.testing.assert_allclose(table["sc"], [0.7, 0.7, 0.8])
    np.testing.assert_allclose(table["lsd"], draws.mean(0))
    pairs = (("calm", np.full(9, 1.0)), ("wild", np.array([0.4] * 8 + [90.0])))
    both = pd.concat([rows_of(name, "", np.ones(9), sc=sc) for name, sc in pairs])
    tests = paired_tests(both).set_index("metric")
    assert tests.loc["sc", "best"] == "wild"
    assert tests.loc["sc", "difference"] == pytest.approx(0.6)


def test_table_has_the_convergence_of_a_draw_and_of_the_nearest(frame):
    headers, cells = budget_table(frame, HELD_OUT)
    at = headers.index("SC, one draw"), headers.index("SC, nearest")
    (good,) = [line for line in cells if line[0] == "good"]
    assert float(good[at[1]]) < float(good[at[0]])


def test_nothing_to_show():
    nothing = pd.DataFrame()
    assert summarise(nothing).empty
    assert paired_tests(nothing).empty
    failed = summarise(nothing, failed={"a": "x"})
    assert "failed: x" in compare_page(failed, paired_tests(nothing))


def test_plot(scores):
    more = rows_of("good", "mean draw", np.ones(3), sounds=OUTSIDE)
    axes = figures.comparison(summarise(pd.concat([scores, more])), HELD_OUT)
    labels = [text.get_text() for text in axes[0].get_yticklabels()]
    assert labels == ["good", "weak", REFERENCE, "twin"]
    shown = [text.get_text() for text in axes[0].figure.legends[0].get_texts()]
    assert shown == ["mean draw", "guess", "best of 16", "200 renders"]
    assert png(axes)[:4] == b"\x89PNG"


def test_options_are_dealt_to_those_that_take_them(tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text("oops")
    found = {
        e.name: e.options
        for e in model_entries(
            ("flow_reg", "npe", broken),
            {"hidden": 8, "npe.hidden": 4, "rank": 2, "recipe": "paper"},
        )
    }
    assert found["flow_reg"] == {"hidden": 8, "rank": 2, "recipe": "paper"}
    assert found["npe"] == {"hidden": 4}
    assert found["broken"] == {"hidden": 8, "rank": 2, "recipe": "paper"}
    for options in ({"nothing": 1}, {"npe.rank": 1}):
        with pytest.raises(InputError, match="unknown hyper-parameter"):
            model_entries(("flow_reg", "npe"), options)
    with pytest.raises(InputError, match="'flow_dis.rank' is one of the model 'flow_dis', which"):
        model_entries(("flow_reg", "npe"), {"flow_dis.rank": 1})


@pytest.mark.parametrize(
    ("models", "message"),
    [
        (("flow_rag",), "unknown model 'flow_rag'; known: "),
        (("nothing.py",), "no model file 'nothing.py'"),
        (("one/same.py", "two/same.py"), "two models are called 'same'"),
    ],
)
def test_bad_models(tmp_path, monkeypatch, models, message):
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "same.py").write_text("")
    with pytest.raises(InputError, match=message):
        model_entries(models, {})


def test_methods_by_name():
    baselines, searches = parse(("all",), ("flow_reg",))
    assert baselines == ["median", "retrieval", "bank"]
    assert [str(search) for search in searches] == list(ALL_METHODS[3:])
    assert parse(("none",), ()) == ([], [])
    baselines, searches = parse(
        ("bank", "cma-7", "flow_reg+infer-9", "flow_reg+guess"), ("flow_reg",)
    )
    assert baselines == ["bank"]
    assert searches == [
        Search("", "cma", 7), Search("flow_reg", "infer", 9), Search("flow_reg", "guess", 0)
    ]  # fmt: skip
    for wrong in ("median2", "cma-0", "npe+cma-5", "infer-5", "guess", "cma"):
        with pytest.raises(InputError):
            parse((wrong,), ("flow_reg",))
