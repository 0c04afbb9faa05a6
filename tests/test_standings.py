"""The arithmetic of a comparison: seeds, statistics, marks; and what its options mean."""

import numpy as np
import pytest
from scipy.stats import wilcoxon

from pyrosynth.errors import InputError
from pyrosynth.evaluation import progress
from pyrosynth.evaluation.compare_figures import standings_plot
from pyrosynth.evaluation.entrants import entrants
from pyrosynth.evaluation.progress import Progress
from pyrosynth.evaluation.rivals import STOCK, Search, parse
from pyrosynth.evaluation.scoreboard import costs_table, markdown_page, order, standings_table
from pyrosynth.evaluation.standings import HELD_OUT, OUTSIDE, Row, standings, statistics, together
from pyrosynth.evaluation.tables import REFERENCE, Scores
from pyrosynth.plots import png


def row(method, answer, lsd, budget=0, sounds=HELD_OUT, **more):
    lsd = np.asarray(lsd, float)
    return Row(sounds, method, answer, Scores({"lsd": lsd, "sc": lsd / 10}, budget),
               budget=budget, **more)  # fmt: skip


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    base = rng.normal(6, 1, 40)
    costs = {"weights": 1000.0, "steps": 50.0, "best_step": 40.0, "fit_seconds": 90.0,
             "fit_cpu_seconds": 60.0}  # fmt: skip
    return [
        row("weak", "mean draw", base + 4, facts=costs),
        row("weak", "best of 16 draws", base + 1 + rng.normal(0, 0.3, 40), 16, facts=costs),
        row("good", "mean draw", base + 3 + rng.normal(0, 0.3, 40), facts=costs),
        row("good", "best of 16 draws", base - 1, 16, facts=costs),
        row("good", "infer, 200 renders", base - 3, 200),
        Row(HELD_OUT, "lost", "", None, 0, failed="seed 0: no luck"),
        row(REFERENCE, "", base),
        row("twin", "", base[::-1] + 0.01),
    ]


def test_seeds_of_a_sound_are_averaged_first():
    seeds = [Scores({"lsd": np.array([1.0, 5.0, 6.0])}, 0),
             Scores({"lsd": np.array([3.0, 5.0, 0.0])}, 0)]  # fmt: skip
    both = together(seeds)
    np.testing.assert_array_equal(both.per_sound(), [2.0, 5.0, 3.0])
    cells = standings([Row(HELD_OUT, "m", "", both, 2)]).iloc[0]
    assert cells["lsd_median"] == 3.0  # not that of all six numbers, 4
    assert cells["lsd_mean"] == pytest.approx(10 / 3)
    assert cells["n"] == 3
    draws = together([Scores({"lsd": np.ones((16, 3))}, 0)] * 2)
    assert draws.lsd.shape == (32, 3)


def test_tests_are_within_equal_budgets(rows):
    tests = statistics(rows)
    lsd = tests[tests["measure"] == "lsd"].set_index(["budget", "method"])
    assert set(lsd.loc[0]["best"]) <= {REFERENCE, "twin"}
    assert lsd.loc[16].index.tolist() == ["weak"]
    assert 200 not in tests["budget"].tolist()  # nobody to compare with
    values = {r.name: r.scores.lsd for r in rows if r.scores is not None}
    best = lsd.loc[0]["best"].iloc[0]
    others = [n for n in ("weak, mean draw", "good, mean draw", REFERENCE, "twin") if n != best]
    p = {n: wilcoxon(values[n] - values[best]).pvalue for n in others}
    smallest = min(p, key=p.get)
    found = lsd.loc[0].set_index("answer", append=True)["p"]
    method, _, answer = smallest.partition(", ")
    assert found[method, answer] == pytest.approx(3 * p[smallest])
    weak = lsd.loc[16, "weak"]
    assert weak["difference"] == pytest.approx(np.mean(rows[1].scores.lsd - rows[3].scores.lsd))
    assert weak["low"] < weak["difference"] < weak["high"]
    assert weak["wins"] == 1.0


def test_table_marks_the_best_and_what_may_be_as_good(rows):
    frame = standings(rows)
    headers, cells = standings_table(frame, HELD_OUT)
    assert headers[:5] == ["method", "mean draw", "guess", "best of 16", "200 renders"]
    table = {line[0]: dict(zip(headers, line, strict=True)) for line in cells}
    assert list(table) == order(frame) == ["good", "weak", "lost", REFERENCE, "twin"]
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
    page = markdown_page(frame, statistics(rows))
    assert len({line.count("|") for line in page.split("\n\n")[1].splitlines()}) == 1


def test_a_silent_target_has_no_spectral_convergence():
    scores = Scores({"lsd": np.ones(3), "sc": np.array([1.0, np.inf, 3.0])}, 0)
    other = Scores({"lsd": np.ones(3), "sc": np.array([2.0, np.inf, 5.0])}, 0)
    rows = [Row(HELD_OUT, "a", "", scores), Row(HELD_OUT, "b", "", other)]
    assert standings(rows)["sc_mean"].tolist() == [2.0, 3.5]
    tests = statistics(rows).set_index("measure")
    assert tests.loc["sc", "best"] == "a"
    assert tests.loc["sc", "difference"] == 1.5
    assert tests.loc["lsd", "p"] == 1.0


def test_of_spectral_convergence_medians_are_compared():
    """Over draws, over sounds, and of differences: answers that are too loud decide nothing."""
    draws = np.array([[0.5, 0.6, 0.7], [0.7, 0.8, 0.9], [900.0, 0.7, 0.8]])
    scores = Scores({"lsd": draws, "sc": draws}, 0)
    np.testing.assert_allclose(scores.per_sound("sc"), [0.7, 0.7, 0.8])
    np.testing.assert_allclose(scores.per_sound("lsd"), draws.mean(0))
    calm = np.full(9, 1.0)
    wild = np.array([0.4] * 8 + [90.0])
    rows = [
        Row(HELD_OUT, name, "", Scores({"lsd": np.ones(9), "sc": sc}, 0))
        for name, sc in (("calm", calm), ("wild", wild))
    ]
    tests = statistics(rows).set_index("measure")
    assert tests.loc["sc", "best"] == "wild"
    assert tests.loc["sc", "difference"] == pytest.approx(0.6)


def test_table_has_the_convergence_of_a_draw_and_of_the_nearest(rows):
    headers, cells = standings_table(standings(rows), HELD_OUT)
    at = headers.index("SC, one draw"), headers.index("SC, nearest")
    (good,) = [line for line in cells if line[0] == "good"]
    assert float(good[at[1]]) < float(good[at[0]])


def test_nothing_to_show():
    assert standings([]).empty
    assert statistics([]).empty
    failed = [Row(HELD_OUT, "a", "", None, 0, failed="x")]
    assert "failed: x" in markdown_page(standings(failed), statistics(failed))


def test_plot(rows):
    more = [row("good", "mean draw", np.ones(3), sounds=OUTSIDE)]
    figure = standings_plot(standings([*rows, *more]), HELD_OUT)
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == ["good", "weak", REFERENCE, "twin"]
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert shown == ["mean draw", "guess", "best of 16", "200 renders"]
    assert png(figure)[:4] == b"\x89PNG"


def test_options_are_dealt_to_those_that_take_them(tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text("oops")
    found = {
        e.name: e.options
        for e in entrants(
            ("flow_reg", "npe", broken),
            {"hidden": 8, "npe.hidden": 4, "rank": 2, "recipe": "paper"},
        )
    }
    assert found["flow_reg"] == {"hidden": 8, "rank": 2, "recipe": "paper"}
    assert found["npe"] == {"hidden": 4}
    assert found["broken"] == {"hidden": 8, "rank": 2, "recipe": "paper"}
    for options in ({"nothing": 1}, {"npe.rank": 1}, {"flow_dis.rank": 1}):
        with pytest.raises(InputError, match="unknown hyper-parameter"):
            entrants(("flow_reg", "npe"), options)


def test_presets_a_fit_reads():
    (plain,) = entrants(("flow_reg",), {})
    assert plain.presets({"steps": 10, "batch_size": 4}) == 40
    assert plain.presets({}) == 4000 * 256
    (paper,) = entrants(("flow_reg",), {"recipe": "paper"})
    assert paper.presets({}) == 86_000 * 64


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
        entrants(models, {})


def test_rivals_by_name():
    guesses, searches = parse(("all",), ("flow_reg",))
    assert guesses == ["median", "retrieval", "bank"]
    assert [str(search) for search in searches] == list(STOCK[3:])
    assert parse(("none",), ()) == ([], [])
    guesses, searches = parse(
        ("bank", "cma-7", "flow_reg+infer-9", "flow_reg+guess"), ("flow_reg",)
    )
    assert guesses == ["bank"]
    assert searches == [
        Search("", "cma", 7), Search("flow_reg", "infer", 9), Search("flow_reg", "guess", 0)
    ]  # fmt: skip
    for wrong in ("median2", "cma-0", "npe+cma-5", "infer-5", "guess", "cma"):
        with pytest.raises(InputError):
            parse((wrong,), ("flow_reg",))


def test_time_that_is_left(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with Progress({"presets": 100, "sounds": 30}, "grid", show=False) as bar:
        with bar.stage("presets", 50, "fit"):
            now[0] = 10.0
            bar.add("presets", 50)
        assert bar.left is None  # nobody knows how long a sound takes
        with bar.stage("sounds", 20, "play"):
            now[0] = 12.0
            bar.add("sounds", 4)
            now[0] = 14.0
        # The other 16 were there already: 10 sounds at 1 s and 50 presets at 0.2 s are left.
        assert bar.totals["sounds"] == 14
        assert bar.left == pytest.approx(50 * 0.2 + 10 * 1.0)
        assert bar.bar.n == round(1000 * 14 / 34)
        assert bar.state == "play, 5 presets/s, 1 sounds/s, 00:20 left"
