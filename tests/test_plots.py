"""Pictures: what they show, not how they look, and that they leave matplotlib's state alone."""

import io
import itertools

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from pyrosynth import plots
from pyrosynth.audio.descriptors import UNITS
from pyrosynth.audio.features import FeatureSpec
from pyrosynth.errors import InputError
from pyrosynth.evaluation import figures as charts
from pyrosynth.evaluation.calibration import Calibration
from pyrosynth.evaluation.scores import HELD_OUT, REFERENCE
from pyrosynth.evaluation.steering import Steering
from pyrosynth.evaluation.tag_figures import steering
from pyrosynth.synths.knobs import Reading, native, titles
from pyrosynth.synths.params import Param, ParamSpace

RNG = np.random.default_rng(0)
PLACE = 1.0, (0.0, 1.0), (-80.0, 0.0)  # of a spectrogram: seconds, mels, limits
SPACE = ParamSpace(
    (
        Param("cutoff", minimum=20, maximum=20020, default=100, unit="Hz"),
        Param("wave", "categorical", 0, 2, 0, 3, labels=("sine", "saw", "pulse")),
        Param("sync", "toggle", resolution=2),
    )
)


def texts(figure):
    axes = figure.axes
    labels = [label for ax in axes for label in (ax.get_title(), ax.get_xlabel(), ax.get_ylabel())]
    return " | ".join(labels)


def is_png(figure):
    content = plots.png(figure)
    picture = mpl.image.imread(io.BytesIO(content))
    return content.startswith(b"\x89PNG") and picture.shape[1] > 700 and picture.std() > 0.01


def test_spectrograms():
    spec = FeatureSpec()
    x = RNG.normal(-3, 1, (64, 87))
    figure = plots.spectrograms(x, x + 0.5, spec)[0].figure
    shown = texts(figure)
    assert "LSD 2.17 dB" in shown  # half a neper of power
    assert all(unit in shown for unit in ("(s)", "(Hz)", "(dB)"))
    assert figure.axes[0].images[0].get_clim() == figure.axes[1].images[0].get_clim()
    assert figure.axes[0].images[0].get_extent()[1] == pytest.approx(87 * 1024 / 22050)
    assert is_png(figure)


def test_names_that_people_give_are_drawn_as_they_are(recwarn):
    """A pair of dollar signs is no formula, and a script that the font lacks no warning."""
    for name in ("$\\frac{$", "cost $5 or $6", "日本"):
        ax = plots.new_axes((7.0, 2.0))
        ax.set_title(name)
        ax.set_xticks([0, 1], [name, "b"])
        assert is_png(ax.figure)
    assert not recwarn.list


def test_forest():
    draws = np.column_stack([RNG.uniform(20, 20020, 50), np.repeat([0, 2], 25), np.ones(50)])
    readings = {SPACE.params[0].name: Reading("s", 0.01)}
    shown = plots.forest(SPACE, draws, [520.0, 1.0, 1.0], [20.0, 2.0, 0.0], readings)
    figure = shown.figure
    ax = figure.axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == list(SPACE.names)
    marks = {line.get_marker(): line.get_xdata() for line in ax.lines}
    np.testing.assert_allclose(marks["D"], [0.025, 1 / 2, 3 / 4])  # the middle of a setting
    np.testing.assert_allclose(marks["o"], [0.0, 5 / 6, 1 / 4])
    right = [t.get_text() for child in ax.child_axes for t in child.get_yticklabels()]
    assert right == ["5.2 s", "saw", "on"]
    # Half of the draws have the first of three settings, half the last; all have sync on.
    cells = [c for c in ax.collections if mpl.colors.to_hex(c.get_color()[0]) == "#009e73"]
    shares = [np.ptp(np.array(c.get_segments())[..., 0], axis=1) / 0.9 for c in cells]
    np.testing.assert_allclose(shares[0], np.array([0.5, 0, 0.5]) / 3)
    np.testing.assert_allclose(shares[1], np.array([0, 1]) / 2)
    assert is_png(figure)


def test_forest_of_many_parameters_grows():
    space = ParamSpace(tuple(Param(f"parameter_{i}") for i in range(41)))
    figure = plots.forest(space, RNG.random((20, 41)), np.full(41, 0.5)).figure
    assert figure.get_size_inches()[1] > 8


def test_trace():
    ax = plots.trace({"this": [[4, 9.0], [10, 3.5]]}, {"known": 5.0})
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert legend == ["this: 3.50 dB", "known: 5.00 dB"]
    assert is_png(ax)
    given = plots.new_axes((5, 3))
    assert plots.trace({"this": [[4, 9.0], [10, 3.5]]}, ax=given) is given  # and on one's own axes


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: plots.spectrograms(x, x[:, :3], FeatureSpec()), r"result of two .* \(64, 3\)"),
        (
            lambda x: plots.spectrograms(x[0], x[0], FeatureSpec()),
            r"target of two sounds .* \(87,",
        ),
        (lambda x: plots.spectrograms(x, x, 22050), "spec is int 22050; give a FeatureSpec"),
        (lambda x: plots.gallery([x[0]], ["a"]), r"features of sounds have the shape \(1, 87\)"),
        (lambda x: plots.gallery([x, x], ["a"]), "1 name for 2 sounds; give as many"),
        (lambda x: plots.forest("x", x, x[0]), "space is str 'x'; give a ParamSpace"),
        (lambda x: plots.trace([1, 2]), r"curves is list \[1, 2\]; give a dictionary"),
        (lambda x: plots.trace({"a": []}), r"curve 'a' has shape \(0,\); give \(k, 2\)"),
        (lambda x: plots.trace({"a": "b"}), "curves that are no numbers"),
        (lambda x: plots.trace({"a": x[:2, :2]}, [3]), r"levels is list \[3\]; give a dictionary"),
        (
            lambda x: plots.trace({"a": x[:2, :2]}, ax=x),
            "ax is ndarray .*; give axes of matplotlib, at least 1",
        ),
        (lambda x: plots.png([]), r"a picture is list \[\]; give a figure of matplotlib"),
        (lambda x: plots.png(x), "a picture is ndarray"),
        (
            lambda x: plots.mel_image(None, x, *PLACE),
            "ax is None; give axes of matplotlib, at least 1",
        ),
        (
            lambda x: plots.mel_image(plots.new_axes((1, 1)), x[0], *PLACE),
            r"power of a spectrogram have the shape \(87,\)",
        ),
        (
            lambda x: plots.spectrograms(x, x, FeatureSpec(), plots.new_axes((1, 1))),
            "ax has 1; give axes of matplotlib, at least 3",
        ),
        (
            lambda x: plots.gallery([x, x], ["a", "b"], ax=plots.new_axes((1, 1))),
            "give axes of matplotlib, at least 2",
        ),
        (lambda x: plots.gallery([x], ["a"], 22050), "spec is int 22050; give a FeatureSpec"),
        (lambda x: plots.gallery([x], 5), "names is int 5; give a list of names"),
        (lambda x: plots.gallery([x, x], "ab"), "names is str 'ab'; give a list of names"),
        (lambda x: plots.forest(SPACE, x[0, :3], x[0, :3]), r"draws have shape \(3,\)"),
        (
            lambda x: plots.forest(SPACE, x[:, :3], x[:2, :3]),
            r"values of one preset have the shape \(2, 3\)",
        ),
        (
            lambda x: steering(Steering(("a", "b"), [], x, x), plots.new_axes((1, 1))),
            "ax has 1; give axes of matplotlib, at least 2",
        ),
        (
            lambda x: charts.calibration(Calibration(x, {}), ["a"] * x.shape[1], x),
            "ax is ndarray .*; give axes of matplotlib, at least 3",
        ),
    ],
)
def test_what_cannot_be_drawn_is_one_line(call, message):
    with pytest.raises(InputError, match=message):
        call(np.zeros((64, 87)))


def score_table(lsd):
    """A table with one distance for all sounds of each method."""
    rows = [
        {"sounds": HELD_OUT, "method": method, "answer": "", "budget": 0, "renders": 0.0,
         "seed": 0, "target": i, "true_square": 1.0, "lsd": distance}
        for method, distance in lsd.items() for i in range(4)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_distances():
    ax = charts.distances(score_table({REFERENCE: 5.0, "mine": 3.0}))
    assert {text.get_text() for text in ax.texts} == {"5.00", "3.00"}
    assert is_png(ax)


def test_calibration_names_the_worst():
    u = RNG.random((200, 5))
    u[:, 3] **= 3
    axes = charts.calibration(Calibration(u, {"TARP": RNG.random(200)}), list("abcde"))
    legend = [text.get_text() for text in axes[0].get_legend().get_texts()]
    assert legend[0] == "d"
    assert is_png(axes)


@pytest.mark.parametrize("n_draws", [2, 4, 16, 64])
def test_intervals_of_few_draws_hold_the_truth_less_often(n_draws):
    drawn = np.random.default_rng(0).standard_normal((n_draws + 1, 20_000))
    low, high = np.quantile(drawn[1:], [0.05, 0.95], axis=0)
    inside = ((low <= drawn[0]) & (drawn[0] <= high)).mean()
    assert charts.share_inside(n_draws) == pytest.approx(inside, abs=0.03)


def test_descriptors():
    truth = RNG.uniform(100, 200, (9, 6))
    draws = truth + RNG.normal(0, 10, (40, 9, 6))
    draws[0, 0] = draws[:, 8] = np.nan
    draws[:, :3, 1] += 500
    figure = charts.descriptors(truth, draws, UNITS)[0, 0].figure
    assert "centroid: 56 % inside" in texts(figure)
    assert "loudness: 89 % inside" in texts(figure)
    assert is_png(figure)


def test_no_global_state():
    before, backend = dict(mpl.rcParams), mpl.get_backend()
    plots.png(plots.trace({"this": [[4, 9.0], [10, 3.5]]}))
    assert dict(mpl.rcParams) == before
    assert mpl.get_backend() == backend
    from matplotlib import pyplot

    charts.distances(score_table({"a": 1.0}))
    assert not pyplot.get_fignums()


def test_many_curves_have_lines_of_their_own():
    curves = {f"search {i}": [[1, 9.0], [9, i + 1.0]] for i in range(6)}
    legend = plots.trace(curves, {"bank": 5.0}).get_legend().get_texts()
    assert len(legend) == 7


def test_gallery():
    spec = FeatureSpec()
    x = RNG.normal(-3, 1, (3, 64, 87))
    axes = plots.gallery(
        x, ["a", "b", "a name that is very much longer than its picture is wide"], spec
    )
    assert [ax.get_title() for ax in axes] == ["a", "b", "a name that is very much longer…"]
    assert axes[0].get_ylabel() == "frequency (Hz)"
    given = plots.new_axes((6, 2), 1, 3)
    assert list(plots.gallery(x, ["a", "b", "c"], ax=given)) == list(given)
    assert is_png(axes)


def test_plain_decades():
    ax = plots.new_axes((3, 2))
    ax.plot([800, 1900], [1, 30_000])
    ax.set(xscale="log", yscale="log")
    charts.plain_decades(ax.xaxis)
    charts.plain_decades(ax.yaxis)
    ax.figure.canvas.draw()
    shown = [label.get_text() for label in ax.get_xticklabels()]
    assert "1,000" in shown
    boxes = [t.get_window_extent() for t in ax.get_xticklabels() if t.get_text()]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"unit": None}, "unit of a reading is None; give text"),
        ({"scale": "1000"}, "scale of a reading '1000': give a number"),
        ({"power": "2"}, "power of a reading '2': give a number"),
        ({"power": -1.0}, "power of a reading -1.0: give a number above 0"),
        ({"offset": float("nan")}, "offset of a reading nan: give a number"),
    ],
)
def test_a_reading_of_no_numbers_is_refused_when_it_is_made(given, said):
    with pytest.raises(InputError, match=said):
        Reading(**{"unit": "s", **given})


def test_controls_and_values_read_well():
    found = [native(p, v) for p, v in zip(SPACE.params, (12345.6, 2.0, 1.0), strict=True)]
    assert found == ["12,346 Hz", "pulse", "on"]
    assert native(SPACE.params[0], -3.5) == "−3.5 Hz"
    readings = {SPACE.params[0].name: Reading("s", 2.0, 3.0, 0.5)}
    assert native(SPACE.params[0], 2.0, readings) == "16.5 s"
    assert native(SPACE.params[0], -1.0, readings) == "−1.5 s"
    assert native(SPACE.params[0], 0.1, readings) == "502 ms"
    assert native(SPACE.params[1], 2.0, readings) == "pulse"
    beyond = {SPACE.params[0].name: Reading("s", power=400.0)}
    assert [native(SPACE.params[0], v, beyond) for v in (10.0, -10.0)] == ["inf s", "−inf s"]
    names = ("osc1_pulsewidth", "osc1_waveform", "lfo-freq", "LFO wave", "master_vol")
    space = ParamSpace((*map(Param, names), Param("op2 rate 1", group="op 2")))
    assert titles(space) == [
        "oscillator 1 pulse width", "oscillator 1 waveform", "LFO frequency", "LFO wave",
        "master volume", "operator 2 rate 1",
    ]  # fmt: skip


def test_axes_that_cannot_take_a_picture_are_refused():
    figure = plots.new_figure((4, 3))
    round_ones = figure.add_subplot(projection="polar")
    with pytest.raises(InputError, match="axes that are polar; give plain ones"):
        plots.require_axes(round_ones, 1)
    removed = plots.new_axes((4, 3))
    removed.remove()
    with pytest.raises(InputError, match="removed from their figure; give plain ones"):
        plots.require_axes(removed, 1)
