"""The pictures of a report: what they show, and that it is what the figures of `plots` show."""

import base64
import io
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from pyrosynth.audio.features import FeatureSpec
from pyrosynth.audio.note import Note
from pyrosynth.inference import pictures
from pyrosynth.plots import BLUE, GREEN, GREY, ORANGE
from pyrosynth.synths.params import Param, ParamSpace

RNG = np.random.default_rng(0)
SPACE = ParamSpace(
    (
        Param("cutoff", minimum=20, maximum=20020, default=100, unit="Hz"),
        Param("wave", "categorical", 0, 2, 0, 3, labels=("sine", "<saw>", "pulse")),
        Param("sync", "toggle", resolution=2),
    )
)


def drawn(picture):
    """Return the elements of a picture by name, after making sure that it needs no other file."""
    by_name = {}
    for element in ElementTree.fromstring(picture).iter():
        by_name.setdefault(element.tag.rpartition("}")[2], []).append(element)
        assert element.get("href", "data:image/png").startswith("data:image/png")
    return by_name


def texts(shown):
    return [element.text for element in shown["text"]]


def scale(shown, first, last):
    """Return a function from pixels to the numbers of a horizontal scale, by two of its ticks."""
    at = {e.text: float(e.get("x")) for e in shown["text"] if e.get("text-anchor") == "middle"}
    low, high = float(first), float(last)
    return lambda x: low + (float(x) - at[first]) / (at[last] - at[first]) * (high - low)


def test_spectrograms():
    spec = FeatureSpec()
    x = RNG.normal(-3, 1, (64, 87))
    shown = drawn(pictures.spectrograms(x, x + 0.5, spec))
    assert "inferred − target: LSD 2.17 dB" in texts(shown)  # half a neper of power
    assert {"time (s)", "frequency (Hz)", "power (dB)", "difference (dB)", "−30"} <= {
        *texts(shown)
    }
    target, inferred, change = (
        Image.open(io.BytesIO(base64.b64decode(image.get("href").partition(",")[2])))
        for image in shown["image"]
    )
    assert target.size == (87, 64)
    # In the middle between no difference and the largest one that is shown: 2.17 of 30 dB.
    assert {*np.asarray(change).ravel().tolist()} == {int(128 + 128 * 2.1715 / 30)}
    low, high = 10 * np.log10(spec.floor), 10 / np.log(10) * (x.max() + 0.5)
    loud = 10 / np.log(10) * x
    level = np.clip(256 * (loud - low) / (high - low), 0, 255).astype(int)
    np.testing.assert_array_equal(np.asarray(target), level[::-1])  # the lowest band at the bottom
    assert np.asarray(inferred).mean() > np.asarray(target).mean()


@pytest.mark.parametrize(
    ("colors", "name"), [(pictures.LEVELS, "BuPu"), (pictures.CHANGES, "RdBu_r")]
)
def test_colors_are_those_of_the_figures(colors, name):
    known = mpl.colormaps[name](np.arange(256), bytes=True)[:, :3]
    np.testing.assert_allclose(pictures.palette(colors), known, atol=1)


def test_forest():
    draws = np.column_stack([RNG.uniform(20, 20020, 50), np.repeat([0, 2], 25), np.ones(50)])
    shown = drawn(pictures.forest(SPACE, draws, [520.0, 1.0, 1.0], truth=[20.0, 2.0, 0.0]))
    assert {*SPACE.names, "520 Hz", "<saw>", "on", "true preset"} <= {*texts(shown)}
    at = scale(shown, "0", "1")
    marks = [path.get("d") for path in shown["path"] if path.get("fill") == ORANGE][:3]
    found = [at(float(mark[1:].split()[0]) + 6) for mark in marks]
    np.testing.assert_allclose(found, [0.025, 1 / 2, 3 / 4], atol=1e-3)  # the middle of a setting
    rings = [at(ring.get("cx")) for ring in shown["circle"]][:3]
    np.testing.assert_allclose(rings, [0.0, 5 / 6, 1 / 4], atol=1e-3)
    ends = {
        color: [(at(e.get("x1")), at(e.get("x2"))) for e in shown["line"]
                if e.get("stroke") == color]
        for color in (BLUE, GREEN)
    }  # fmt: skip
    unit = SPACE.to_unit(draws)[:, 0]
    quantiles = np.quantile(unit, [0.05, 0.95, 0.25, 0.75]).reshape(2, 2)
    np.testing.assert_allclose(ends[BLUE], quantiles, atol=1e-3)
    # Half of the draws have the first of three settings, half the last; all have sync on.
    shares = np.ptp(ends[GREEN], axis=1) / 0.9
    np.testing.assert_allclose(shares, [0.5 / 3, 0.5 / 3, 1 / 2], atol=1e-3)


def test_forest_of_many_parameters_grows():
    space = ParamSpace(tuple(Param(f"parameter_{i}") for i in range(41)))
    shown = drawn(pictures.forest(space, RNG.random((20, 41)), np.full(41, 0.5)))
    assert float(shown["svg"][0].get("height")) > 41 * 20
    assert "true preset" not in texts(shown)


def test_trace():
    shown = drawn(pictures.trace([[4, 9.0], [10, 3.5]], {"known": 5.0}))
    assert {"this sound: 3.50 dB", "known: 5.00 dB", "best LSD so far (dB)"} <= {*texts(shown)}
    at = scale(shown, "0", "10")
    (curve,) = shown["polyline"]
    points = np.array([p.split(",") for p in curve.get("points").split()], float)
    np.testing.assert_allclose([at(x) for x in points[:, 0]], [4, 4, 10, 10], atol=0.01)
    assert points[0, 1] == points[2, 1] < points[3, 1]  # downwards when the better one is heard
    (level,) = (line for line in shown["line"] if line.get("stroke") == GREY)
    assert points[0, 1] < float(level.get("y1")) < points[3, 1]


def test_pitch_track():
    pitches = np.array([np.nan, 60.0, 60.2, np.nan, 61.0])
    shown = drawn(pictures.pitch_track(np.arange(5) * 0.1, pitches, Note(60, 100, 0.2, 1.0), 0.1))
    assert {"C4", "D4", "seconds", "pitch"} <= {*texts(shown)}
    assert len(shown["circle"]) == 3
    assert [len(line.get("points").split()) for line in shown["polyline"]] == [2, 1]
    at = scale(shown, "0", "0.4")
    (held,) = (e for e in shown["rect"] if e.get("fill") == ORANGE)
    assert at(held.get("x")) == pytest.approx(0.1, abs=1e-3)


@pytest.mark.parametrize(
    ("low", "high", "shown"),
    [(0, 1.03, "0 0.2 0.4 0.6 0.8 1"), (-30, 30, "−30 −20 −10 0 10 20 30"),
     (0, 263, "0 50 100 150 200 250"), (0, 20_000, "0 5000 10000 15000 20000")],
)  # fmt: skip
def test_ticks_are_round_numbers(low, high, shown):
    assert [words for _, words in pictures.round_numbers(low, high, 6)] == shown.split()
