"""Traversals, nearby and new presets, morphs, projections of a small run and the real synth."""

import itertools
import json
from dataclasses import replace
from pathlib import Path
from runpy import run_path

import numpy as np
import pytest
import soundfile
import torch
from lively import small_posterior
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from plain import FAILS
from rights import run_without_rights
from small import small_dataset, small_run
from toys import SMALL

import pyrosynth as ps
from benchmarks.morph_smoothness import bend
from pyrosynth import explore
from pyrosynth.audio.metrics import log_distance
from pyrosynth.cli.app import main
from pyrosynth.data.bank import Bank
from pyrosynth.errors import InputError, SynthError
from pyrosynth.explore.chains import even_chain
from pyrosynth.explore.folder import swept_by_default
from pyrosynth.explore.morphing import GRID, METHODS, smooth_leg
from pyrosynth.explore.ranking import sensitivity, title
from pyrosynth.explore.result import PLAYERS
from pyrosynth.explore.steering import move
from pyrosynth.inference.posterior import Posterior
from pyrosynth.synths.knobs import titles
from pyrosynth.synths.presets import Preset
from pyrosynth.training.fit import fit
from pyrosynth.training.run import load_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("explore")


@pytest.fixture(scope="module")
def run(folder):
    return small_run(folder)


@pytest.fixture(scope="module")
def posterior(run):
    return run[1]


@pytest.fixture(scope="module")
def renderer(posterior):
    with posterior.renderer(1, keep_audio=True) as renderer:
        yield renderer


@pytest.fixture(scope="module")
def space(posterior):
    return explore.LatentSpace(posterior)


shown = set()  # kinds of results that have shown themselves as a notebook shows them


def whole(found):
    """Return a result after making sure that it shows itself and that JSON takes its facts."""
    drawn = np.ravel(found.plot())
    assert all(isinstance(ax, Axes) for ax in drawn)
    assert drawn[0].figure.axes[0] is drawn[0]
    json.dumps(found.facts(), allow_nan=False)
    assert len(repr(found)) < 80
    kind = type(found), *sorted(found.data.variables)
    if kind in shown:
        return found
    shown.add(kind)
    html = found._repr_html_()
    assert len(html) > 5000
    assert html.count("<img") == 1
    n_sounds = len(found.data.get("audio", ())) if "audio" in found.data else 0
    assert html.count("<audio") == min(n_sounds, PLAYERS)
    return found


def rendered(posterior, values):
    """Render presets in this process; native values of the learnt parameters (n, n_learnt)."""
    note, rate = posterior.run.note, posterior.run.features.sample_rate
    return np.stack([posterior.synth.render(v, note, rate) for v in posterior.complete(values)])


def test_traversal(posterior, space, renderer):
    name = space.names[2]
    found = whole(explore.traverse(posterior, "z3", renderer, at=name, steps=5, draws=2))
    data = found.data
    np.testing.assert_allclose(data["z"].values[:, 2], [-4, -2, 0, 2, 4], atol=1e-5)
    others = np.delete(data["z"].values, 2, axis=1)
    np.testing.assert_allclose(others, np.tile(others[0], (5, 1)), atol=1e-5)
    np.testing.assert_allclose(others[0], np.delete(space.locate(name), 2), atol=1e-5)
    audio = rendered(posterior, data["value"].values)
    np.testing.assert_array_equal(data["audio"].values, audio)
    np.testing.assert_array_equal(data["x"].values, posterior.features(audio))
    assert (data["low"] <= data["high"]).all()
    assert data.attrs["center"] == name
    ranked = found.ranked()
    assert [spread for _, spread in ranked] == sorted((s for _, s in ranked), reverse=True)
    assert set(name for name, _ in ranked) == set(posterior.run.space.names)


def test_a_traversal_becomes_a_macro_control(posterior):
    found = whole(explore.traverse(posterior, "pc1", steps=9))
    assert "x" not in found.data
    table = found.mapping()
    assert table["macro"].tolist() == np.linspace(0, 1, 9).tolist()
    assert table["position"].tolist() == np.linspace(-4, 4, 9).tolist()
    params = posterior.run.space
    for name in table.columns[2:]:
        param = params.params[params.index([name])[0]]
        assert table[name].between(param.minimum, param.maximum).all()
        assert table[name].nunique() > 1
    still = set(params.names) - set(table.columns)
    assert all(spread < 0.02 for name, spread in found.ranked() if name in still)


def test_axes_are_ranked_and_named(posterior, renderer):
    axes = ["z1", "z2", "pc1", "pc2"]
    found = whole(explore.rank_axes(posterior, axes, centers=3))
    effect = found.data["effect"].values
    assert (np.diff(effect) <= 0).all()
    assert set(found.data["axis"].values) == set(axes)
    # controls have the names that people read
    for row in found.facts():
        assert set(row["evidence"].split("; moves ")[1].split(", ")) <= set(
            titles(posterior.run.space)
        )
    heard = explore.rank_axes(posterior, axes, renderer, centers=2)
    assert heard.data["effect"].notnull().all()
    # Of an axis that was rendered, what was expected is not said.
    some = explore.AxisRanking(heard.data.sel(axis=["pc1", "z2"]))
    both = whole(found.updated(some))
    for row in both.facts():
        source = some if row["axis"] in ("pc1", "z2") else found
        assert row in source.facts()
        assert row["sounds"] == ("rendered" if source is some else "expected")
    assert (np.diff(both.data["effect"].values) <= 0).all()


def test_centers_around_which_a_sound_fails_are_left_out_of_a_ranking(
    posterior, space, monkeypatch
):
    known = space.names[np.random.default_rng(0).permutation(len(space))[0]]
    z = [space.axis("pc1").at(space.place(at).z, np.linspace(-2, 2, 5)) for at in (None, known)]
    kept = [np.repeat([space.place(at).u], 5, axis=0) for at in (None, known)]
    i = posterior.run.full_space.names.index("filter_cutoff")
    cutoffs = space.values(np.stack(z), np.stack(kept))[..., i]

    def ranked(centers, limit):
        monkeypatch.setenv(FAILS, f"filter_cutoff {limit}")
        with posterior.renderer(1) as renderer:
            return explore.rank_axes(posterior, ["pc1"], renderer, centers=centers).data.isel(
                axis=0
            )

    highest = cutoffs.max(axis=1)
    assert highest[0] != highest[1]
    found, both, origin = ranked(2, highest.mean()), ranked(2, np.inf), ranked(1, np.inf)
    assert str(found["evidence"].values).endswith("; 1 of 2 centers left out")
    assert "left out" not in str(both["evidence"].values)
    for name in ("effect", "change", "monotony"):
        expected = origin[name] if highest.argmin() == 0 else 2 * both[name] - origin[name]
        np.testing.assert_allclose(found[name], expected, rtol=1e-4, atol=1e-4)
    assert cutoffs[0].min() < highest[0]
    with pytest.raises(SynthError, match="axis 'pc1': around none of 1 center do all positions"):
        ranked(1, cutoffs[0].min())
    with pytest.raises(SynthError, match="axis 'pc1': none of 5 presets gave a sound"):
        ranked(1, -np.inf)


def test_an_axis_along_which_nothing_sounds_costs_only_itself(
    posterior, space, monkeypatch, tmp_path
):
    i = posterior.run.full_space.names.index("filter_cutoff")
    origin = space.place(None)
    highest = {}
    for axis in ("pc1", "pc2", "pc3"):
        z = space.axis(axis).at(origin.z, np.linspace(-2, 2, 5))
        highest[axis] = space.values(z, np.repeat([origin.u], 5, axis=0))[:, i].max()
    *others, worst = sorted(highest, key=highest.__getitem__)
    limit = (highest[others[-1]] + highest[worst]) / 2
    monkeypatch.setenv(FAILS, f"filter_cutoff {limit}")
    with posterior.renderer(1) as renderer:
        found = whole(explore.rank_axes(posterior, list(highest), renderer, centers=1))
    assert set(found.data["axis"].values) == set(others)
    assert list(found.failed) == [worst]
    assert "around none of 1 center do all" in found.failed[worst]
    monkeypatch.setattr("pyrosynth.explore.folder.CENTERS", 1)
    facts = explore.folder.explore(
        posterior, tmp_path / "map", axes=list(highest), workers=1, progress=False
    )
    rows = {row["axis"]: row["sounds"] for row in facts["ranking"]}
    assert {axis: rows[axis] for axis in highest} == {
        worst: "expected", **dict.fromkeys(others, "rendered")
    }  # fmt: skip
    assert facts["failed"][f"axes {worst}"] == found.failed[worst]


def test_what_is_not_heard_is_no_evidence(posterior, space):
    depends = dict(
        zip(posterior.run.space.names, sensitivity(posterior, space.bank.values[:20]), strict=True)
    )
    assert min(depends.values()) >= 0
    preset, params = space.bank.values[:1], posterior.run.space
    column = posterior.run.full_space.index(["filter_cutoff"])
    moved = preset.copy()
    unit = params.to_unit(posterior.learnt(preset))[0, params.index(["filter_cutoff"])]
    step = 0.25 if unit < 0.5 else -0.25
    moved[:, column] += step * (params.maximum - params.minimum)[params.index(["filter_cutoff"])]
    distance = log_distance(posterior.predict(moved), posterior.predict(preset))
    one = sensitivity(posterior, preset)[params.index(["filter_cutoff"])]
    np.testing.assert_allclose(one, distance / 0.25, rtol=1e-4)


def test_an_axis_is_called_by_what_it_does():
    params, heard = ["cutoff", "decay", "mix"], np.array([0.1, 0.4, 0.2])
    change, follows = np.array([0.1, -2.0, 0.2, -1.5, 0.0]), np.array([0.5, -1, 0.1, -0.9, 0.0])
    assert title(change, follows, heard, params) == (
        "darkness + percussivity",
        "brightness -2.0 spreads (ρ -1.00), length -1.5 spreads (ρ -0.90); moves decay, mix, "
        "cutoff",
    )
    assert title(0.1 * change, follows, heard, params)[0] == "timbre (decay)"
    assert title(change, 0.1 * follows, heard, params)[0] == "timbre (decay)"
    # What changes most, but not in the same direction everywhere, is no name.
    name, evidence = title(change, np.array([0.5, -0.4, 0.1, -0.9, 0.0]), heard, params)
    assert name == "percussivity"
    assert evidence.startswith("length -1.5 spreads (ρ -0.90), brightness -2.0 spreads (ρ -0.40)")


def test_nearest_presets(posterior, space, tmp_path):
    row = 7  # about as loud as most, which sounds from files are brought to
    name = space.names[row]
    found = whole(explore.nearest_presets(posterior, name, 4))
    lsd = log_distance(space.features, space.features[row])
    wanted = [i for i in np.argsort(lsd, kind="stable") if i != row][:4]
    assert found.data["preset"].values.tolist() == [space.names[i] for i in wanted]
    np.testing.assert_allclose(found.data["lsd"], lsd[wanted], atol=0.05)
    # The same from a sound file: nearest to a preset's sound is the preset.
    audio = rendered(posterior, posterior.learnt(space.bank.values[[row]]))[0]
    soundfile.write(tmp_path / "sound.wav", audio, 22050, subtype="FLOAT")
    by_file = explore.nearest_presets(posterior, str(tmp_path / "sound.wav"), 3)
    by_x = explore.nearest_presets(
        posterior, posterior.features(posterior.listen(tmp_path / "sound.wav")), 3
    )
    assert by_file.data["preset"].values.tolist() == by_x.data["preset"].values.tolist()
    assert name in by_file.data["preset"].values


def sawtooth(file, semitones):
    """Save half a second so far above C4; return the file."""
    phase = 2 * np.pi * 261.6256 * 2 ** (semitones / 12) * np.arange(11025) / 22050
    saw = 0.3 * sum(np.sin(k * phase) / k for k in range(1, 12))
    soundfile.write(file, saw, 22050, subtype="FLOAT")
    return file


def test_the_nearest_presets_of_a_sound_at_another_pitch_are_those_at_the_note(
    posterior, tmp_path
):
    files = sawtooth(tmp_path / "C4.wav", 0), sawtooth(tmp_path / "A4.wav", 9)
    at_note, higher = (explore.nearest_presets(posterior, file, 5) for file in files)
    assert (at_note.heard, at_note.facts()[0].get("play")) == ({"play": None, "advice": ""}, None)
    (way,) = posterior.hear(files[1])
    assert higher.heard["play"] == higher.facts()[0]["play"] == way.play
    as_it_is = posterior.features(posterior.listen(files[1]))
    far = explore.nearest_presets(posterior, as_it_is, 1).data["lsd"].item()
    near = higher.data["lsd"].values[0]
    assert near == pytest.approx(at_note.data["lsd"].values[0], abs=1)
    assert far > near + 2


def test_variations(posterior, space, renderer):
    name = space.names[1]
    found = whole(explore.sample_around(posterior, name, 6, renderer, radius=0.1))
    assert len(found) == 6
    assert found.data["audio"].shape == (6, 11025)
    wide = explore.sample_around(posterior, name, 6, radius=1.5)
    near = explore.sample_around(posterior, name, 6, radius=0.1)
    assert wide.data["lsd"].mean() > near.data["lsd"].mean()
    again = explore.sample_around(posterior, name, 6, radius=0.1)
    np.testing.assert_array_equal(near.data["value"], again.data["value"])


def test_new_and_novel_presets(posterior, space, renderer):
    new = whole(explore.sample_prior(posterior, 5, renderer))
    assert set(new.data["nearest"].values) <= set(space.names)
    novel = whole(explore.novel_presets(posterior, 4, renderer))
    distance = novel.data["nearest_lsd"].values
    assert (np.diff(distance) <= 0).all()
    expected = explore.sample_prior(posterior, 100).data["nearest_lsd"]
    assert explore.novel_presets(posterior, 4).data["nearest_lsd"].min() > expected.mean()


def test_a_model_that_expects_soft_sounds_only_has_no_novel_presets(posterior, monkeypatch):
    monkeypatch.setattr("pyrosynth.explore.neighbors.QUIET_DB", -200.0)
    with pytest.raises(InputError, match="drawn from the prior to be too soft, .*; fit longer"):
        explore.novel_presets(posterior, 4)


@pytest.mark.parametrize("method", METHODS)
def test_morphs(posterior, space, renderer, method):
    names = list(space.names[:3])
    found = whole(explore.morph(posterior, names, renderer, steps=5, method=method))
    assert found.data["position"].values.tolist() == [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2]
    params = posterior.run.space
    ends = posterior.learnt(space.bank.values[:3])
    there = found.data["value"].values[::4]
    # Through the latent, a value comes back as the middle of its level.
    np.testing.assert_array_equal(params.levels(there), params.levels(ends))
    if method != "latent":
        np.testing.assert_allclose(there, ends, atol=1e-9)
    if method not in {"latent", "rendered"}:
        free = ~params.discrete
        unit = found.data["unit"].values[:, free]
        np.testing.assert_allclose(unit[2], (unit[0] + unit[4]) / 2, atol=1e-9)
    if method == "halfway":
        switches = found.data["unit"].values[:, params.discrete]
        assert all((switches[1] == switches[0]) & (switches[3] == switches[4]))
    assert found.data["x"].notnull().all()


def test_the_most_even_chain_of_sounds_is_found():
    rng = np.random.default_rng(0)
    sounds = [rng.normal(size=(n, 3)).astype(np.float32) for n in (1, 4, 3, 4, 1)]
    sounds[2][1] = np.nan  # one that could not be rendered
    share = np.linspace(0, 1, 5)[:, None]
    line = (1 - share) * sounds[0] + share * sounds[-1]

    def cost(chain):
        x = np.stack([sound[i] for sound, i in zip(sounds, chain, strict=True)])
        return np.square(np.diff(x, axis=0)).sum() + 0.5 * np.square(x - line).sum()

    every = [c for c in itertools.product(*(range(len(s)) for s in sounds)) if c[2] != 1]
    assert even_chain(sounds, line) == list(min(every, key=cost))


def test_a_rendered_morph_is_smoother_than_the_knobs(posterior, space, renderer):
    rough = {}
    for method in ("rendered", "knobs"):
        legs = [
            explore.morph(
                posterior, list(space.names[i : i + 2]), renderer, steps=5, method=method
            )
            for i in (0, 2, 4)
        ]
        x = np.stack([leg.data["x"].values for leg in legs])
        rough[method] = np.square(np.diff(x, axis=1)).sum()
    assert rough["rendered"] < rough["knobs"]
    with pytest.raises(InputError, match="needs a renderer"):
        explore.morph(posterior, list(space.names[:2]), method="rendered")


def test_a_path_can_be_entered_anywhere(posterior, space):
    path = explore.find_path(posterior, space.names[:2])
    both = path.values([0.3, 0.9])
    np.testing.assert_allclose(path.values(0.3), both[0])
    place = path.place([0.3, 0.9])
    np.testing.assert_array_equal(place.values, both)
    np.testing.assert_allclose(place.z, space.place_of(both).z, atol=1e-6)
    for off in (-1.0, [0.5, 1.5], np.nan):
        with pytest.raises(
            InputError, match="on a path: give a number from 0, .*, to 1, the last"
        ):
            path.place(off)
    with pytest.raises(InputError, match="path from 0 to 1 that are no numbers [(]str 'half'[)]"):
        path.place("half")
    params = posterior.run.space
    unit = params.to_unit(posterior.learnt(path.values(np.linspace(0, 1, 101))))
    turns = (np.diff(unit[:, params.discrete], axis=0) != 0).sum(axis=0)
    assert turns.max() >= 1


def test_discrete_parameters_turn_where_the_model_expects_least(posterior, space):
    params = posterior.run.space
    units = params.to_unit(posterior.learnt(space.bank.values))
    first, last = units[0], units[np.argmax((units != units[0])[:, params.discrete].sum(axis=1))]
    way = smooth_leg(posterior, first, last)
    share = np.linspace(0, 1, GRID)[:, None]
    line = params.to_unit(params.from_unit((1 - share) * first + share * last))

    def cost(path):
        x = posterior.predict(posterior.complete(params.from_unit(path))).reshape(GRID, -1)
        return (np.diff(x, 2, axis=0) ** 2).sum() + 0.2 * GRID * (bend(x) ** 2).sum()

    np.testing.assert_array_equal(way[[0, -1]], np.stack([first, last]))
    np.testing.assert_allclose(way[:, ~params.discrete], line[:, ~params.discrete], atol=1e-12)
    assert cost(way) < cost(line)
    # No other place of one switch is better.
    for i in np.flatnonzero(params.discrete & (first != last)):
        for turn in range(1, GRID):
            other = way.copy()
            other[:, i] = np.where(np.arange(GRID) < turn, first[i], last[i])
            assert cost(other) >= cost(way) * (1 - 1e-4)


def test_projection(posterior, space):
    found = whole(explore.project(posterior))
    data = found.data
    np.testing.assert_allclose(data["x"], space.linear_axes["pc1"].position(space.z), atol=1e-5)
    np.testing.assert_allclose(data["y"], space.linear_axes["pc2"].position(space.z), atol=1e-5)
    assert 0 < data.attrs["explained"][1] <= data.attrs["explained"][0] < 1
    ax = Figure().subplots()
    assert found.plot("brightness", ax) is ax
    by_sound = explore.project(posterior, of="sound").data
    np.testing.assert_allclose(by_sound[["x", "y"]].to_array().var("preset", ddof=1), 1, rtol=1e-4)
    with pytest.raises(InputError, match="unknown colour 'taste'; known: category, loudness"):
        found.plot("taste")
    with pytest.raises(InputError, match=r"unknown colour '\[0. 0. .*; known: category, loudness"):
        found.plot(np.zeros(len(data["x"])))
    # A tag of the same name as a number has no unit: the number is shown.
    tags = {"axis": ["brightness", "taste"]}
    tag = (("preset", "axis"), np.tile([0.0, 1.0], (len(data["x"]), 1)))
    tagged = type(found)(data.assign_coords(tags).assign(tag=tag))
    np.testing.assert_array_equal(tagged.colors("brightness"), found.colors("brightness"))
    np.testing.assert_array_equal(tagged.colors("taste"), 1)


def test_results_draw_on_the_axes_given_and_count_those_that_lack(posterior, renderer):
    names = explore.LatentSpace(posterior).names[:2]
    for found in (
        explore.traverse(posterior, "z1", steps=3),
        explore.morph(posterior, names),
        explore.rank_axes(posterior, ["z1"]),
        explore.sample_prior(posterior, 2, renderer),
    ):
        n = len(np.ravel(found.plot()))
        alone, one_less = Figure().subplots(), Figure().subplots(1, n - 1, squeeze=False)
        for ax in (alone, one_less):
            few = np.size(ax)
            with pytest.raises(InputError, match=f"ax has {few}; give .* at least {n}, or none"):
                found.plot(ax)
        enough = Figure().subplots(2, -(-n // 2))
        assert list(np.ravel(found.plot(enough))) == list(np.ravel(enough)[:n])


@pytest.mark.parametrize(
    ("name", "kind"),
    [("WarmPad2", "pad"), ("sub bass", "bass"), ("DXish", "other"), ("Choir Strings", "strings")],
)
def test_categories(name, kind):
    assert explore.category(name) == kind


def test_umap_that_is_not_installed(posterior, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "umap", None)
    with pytest.raises(InputError, match=r"umap-learn, or take --projection pca \(method"):
        explore.project(posterior, method="umap")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: explore.traverse(p, "z99"), "unknown axis 'z99'; known: z1 to z16, pc1 to pc"),
        (lambda p: explore.traverse(p, "brightness"), "this run has no tags"),
        (lambda p: explore.traverse(p, at="nobody's"), "unknown preset 'nobody's'; known: "),
        (lambda p: explore.traverse(p, reach=0), "give a reach above 0"),
        (lambda p: explore.rank_axes(p, ["z0"]), "unknown axis 'z0'"),
        (lambda p: explore.morph(p, ["one"]), "through 1 preset: give at least 2"),
        (
            lambda p: explore.morph(p, [None, None], method="by foot"),
            "known: rendered, sound, halfway",
        ),
        (lambda p: explore.morph(p, [None, None], method=np.zeros(2)), "unknown method of morph"),
        (lambda p: explore.project(p, of=np.zeros(2)), "unknown space '.0. 0..'; known: latent"),
        (lambda p: explore.morph(p, [None, None], steps=1), "steps 1: give an integer from 2"),
        (lambda p: explore.morph(p, None), "presets is None; give a list of two or more, by the"),
        (lambda p: explore.morph(p, "ab"), "presets is str 'ab'; give a list of two or more, by"),
        (
            lambda p: explore.morph(p, [None, None], 5),
            "renderer is int 5; give posterior.renderer",
        ),
        (
            lambda p: explore.traverse(p, ["z1", "z2"]),
            r"axis is list \['z1', 'z2'\]; give its name",
        ),
        (
            lambda p: explore.traverse(p, "z1", True),
            "renderer is bool True; give posterior.rendere",
        ),
        (lambda p: explore.traverse(p, reach="far"), "reach 'far': give a number"),
        (lambda p: explore.traverse(p, steps="9"), "steps '9': give an integer from 2"),
        (lambda p: explore.rank_axes(p, 1), "axes is int 1; give a list of their names"),
        (lambda p: explore.rank_axes(p, "z0"), "unknown axis 'z0'"),
        (
            lambda p: explore.nearest_presets(p, np.zeros((64, 11)), "5"),
            "k '5': give an integer fr",
        ),
        (lambda p: explore.sample_prior(p, 4.5), "n 4.5: give an integer from 1"),
        (lambda p: explore.sample_prior(p, 4, seed=-1), "seed -1: give an integer from 0"),
        (
            lambda p: explore.sample_prior(p, 4, True),
            "renderer is bool True; give posterior.rende",
        ),
        (lambda p: explore.sample_around(p, None, radius="wide"), "radius 'wide': give a number"),
        (lambda p: explore.novel_presets(p, "2"), "n '2': give an integer from 1 to"),
        (lambda p: explore.LatentSpace(p).index(None), "preset is None; give the name of a known"),
        (lambda p: explore.LatentSpace(p).sample("4"), "n '4': give an integer from 1"),
        (lambda p: explore.LatentSpace(p).values(np.zeros(3)), r"latents have shape \(3,\); give"),
        (
            lambda p: explore.LatentSpace(p).values(np.zeros(16), 0.0),
            r"remainders have shape \(\), latents \(16,\); give those of the same places",
        ),
        (
            lambda p: explore.LatentSpace(p).values(np.zeros(16), np.zeros(99)),
            r"remainders have shape \(99,\), latents \(16,\); give those of the same",
        ),
        (
            lambda p: explore.LatentSpace(p).values(
                np.zeros((2, 16)), explore.LatentSpace(p).u[:3]
            ),
            r"remainders have shape \(3, \d+\), latents \(2, 16\); give those of the same places",
        ),
        (
            lambda p: explore.LatentSpace(p).expected(np.zeros(16)),
            r"shape \(16,\); give \(n, 16\)",
        ),
        (
            lambda p: move(explore.LatentSpace(p), "name", np.zeros(16)),
            "place is str 'name'; give space.place",
        ),
        (
            lambda p: move(
                explore.LatentSpace(p), explore.LatentSpace(p).place(None), np.zeros(3)
            ),
            r"goal of a step have the shape \(3,\); give one of shape \(16\)",
        ),
        (
            lambda p: explore.LatentSpace(p).heard(np.zeros(3)),
            r"features of sounds have the shape \(3,\); give one of shape \(n, 64, 11\)",
        ),
        (lambda p: explore.nearest_presets(p, "nothing.wav"), "no sound file 'nothing.wav'"),
        (lambda p: explore.nearest_presets(p, {}), "a sound is dict {}; give a known preset's"),
        (lambda p: explore.nearest_presets(p, np.zeros((3, 3))), r"features have shape \(1, 3, 3"),
        (
            lambda p: explore.nearest_presets(p, np.zeros((64, 11)), 10**6),
            "k 1000000: give an int",
        ),
        (lambda p: explore.sample_around(p, None, 0), "n 0: give an integer from 1"),
        (lambda p: explore.sample_prior(p, 0), "n 0: give an integer from 1"),
        (lambda p: explore.novel_presets(p, 10**6), "n 1000000: give an integer from 1 to "),
        (
            lambda p: explore.project(p, method="magic"),
            "unknown projection 'magic'; known: pca, umap",
        ),
        (lambda p: explore.project(p, of="magic"), "unknown space 'magic'; known: latent, sound"),
    ],
)
def test_bad_input(posterior, call, message):
    with pytest.raises(InputError, match=message):
        call(posterior)


def test_what_holds_a_place_is_none_itself(posterior, space):
    """A file, a match, a path, a set of presets: each error says how to take a place from it."""
    x = np.zeros(posterior.variant.dims.x_shape, np.float32)
    match = posterior.refine(x, budget=2)
    near = explore.nearest_presets(posterior, space.names[0], 2)
    for where, message in (
        ("S.wav", "'S.wav' is a sound, .* --sound .in Python nearest_presets"),
        (Path("S.wav"), "'S.wav' is a sound, .* --sound .in Python nearest_presets"),
        ("preset.json", "'preset.json' is a file, where the name .* Preset.load"),
        (match, r"a place is Match .*; give its preset [(]match\.preset"),
        (explore.find_path(posterior, space.names[:2]), "a place is PresetPath .*; .*path.place"),
        (near, r"a place is PresetSet .*; give one of its presets, such as near\.presets\(\)\[0"),
        (near.presets(), r"a place is list .*; give one of them, such as presets\[0\]"),
        (match.preset.values, r"a place is dict .*; make a preset of it: Preset\(name, values\)"),
        (posterior, "a place is Posterior .*; give a preset, its name, or a latent"),
    ):
        for ask in (
            lambda at: explore.sample_around(posterior, at, 2),
            lambda at: explore.traverse(posterior, at=at, steps=3),
            lambda at: explore.morph(posterior, [space.names[0], at]),
        ):
            with pytest.raises(InputError, match=message):
                ask(where)


def test_a_renderer_without_sound(posterior):
    with posterior.renderer(1) as renderer, pytest.raises(InputError, match="keep_audio=True"):
        explore.traverse(posterior, "z1", renderer, steps=2, draws=0)


def test_a_variant_that_predicts_no_sound(run, tmp_path):
    fit(
        "vae_flow", run[0], tmp_path / "run", options=SMALL["vae_flow"], steps=3, batch_size=32,
        progress=False,
    )  # fmt: skip
    posterior = ps.Posterior.load(tmp_path / "run")
    with pytest.raises(InputError, match=r"take --interpolation latent \(method='latent'\)"):
        explore.morph(posterior, [None, np.ones(5)], method="sound")
    found = explore.morph(posterior, [None, np.ones(5)], steps=3)
    assert found.data.attrs["method"] == "latent"
    assert found.data["expected"].shape == (3, 64, 11)
    with posterior.renderer(1) as renderer:
        found = explore.morph(posterior, [None, np.ones(5)], renderer, steps=3)
    assert found.data.attrs["method"] == "rendered"
    assert found.data["x"].notnull().all()
    assert set(explore.traverse(posterior, "z1", steps=3).data["param"].values) == {
        *posterior.run.space.names
    }


@pytest.mark.parametrize("model", ["flow_reg", "vae"])
def test_a_latent_of_one_dimension_is_a_line(model, tmp_path, capfd, monkeypatch):
    options = SMALL[model] | ({"latent_dim": 1} if model == "vae" else {})
    data = small_dataset(tmp_path, params="amp_attack")
    fit(model, data, tmp_path / "run", options=options, steps=3, batch_size=32, progress=False)
    posterior = ps.Posterior.load(tmp_path / "run")
    space = explore.LatentSpace(posterior)
    assert (space.dim, space.of_sound) == (1, model == "vae")
    found = whole(explore.project(posterior))
    along = space.axis("z1" if space.of_sound else "pc1").position(space.z)
    assert abs(np.corrcoef(found.data["x"], along)[0, 1]) == pytest.approx(1)
    assert not found.data["y"].any()
    assert found.facts()["explained"] == [1.0, 0.0]
    assert not found.plot("brightness").yaxis.get_visible()
    for number in ("N_PRESETS", "CENTERS"):
        monkeypatch.setattr(f"pyrosynth.explore.folder.{number}", 3)
    more = ["--axes", "1", "--draws", "1", "--workers", "1", "--interpolation", "knobs"]
    code = main(["explore", str(tmp_path / "run"), "--out", str(tmp_path / "out"), *more])
    assert code == 0, capfd.readouterr().err


def test_axes_of_tags(run, tmp_path):
    fit(
        "flow_dis", run[0], tmp_path / "run", options=SMALL["flow_dis"], steps=3, batch_size=32,
        progress=False,
    )  # fmt: skip
    posterior = ps.Posterior.load(tmp_path / "run")
    space = explore.LatentSpace(posterior)
    found = explore.traverse(posterior, "length", at=space.names[0], steps=3)
    axes = posterior.variant.axes(torch.as_tensor(found.data["z"].values)).detach().numpy()
    column = space.tags.index("length")
    np.testing.assert_allclose(axes[:, column], [-4, 0, 4], atol=1e-3)
    np.testing.assert_allclose(np.delete(axes, column, 1).std(axis=0), 0, atol=1e-3)
    ranking = explore.rank_axes(posterior)
    audible = ranking.data["axis"].values.tolist()
    assert swept_by_default(ranking, 2, space) == [*audible[:2], *space.tags]
    found = whole(explore.project(posterior))
    assert found.plot("length").get_title().endswith("by length")
    with pytest.raises(InputError, match="unknown axis 'warmth'.*length"):
        explore.traverse(posterior, "warmth")


def test_the_command(run, folder, space, tmp_path, capfd, monkeypatch):
    for number in ("N_PRESETS", "CENTERS"):  # of what is shown, and of what axes are measured at
        monkeypatch.setattr(f"pyrosynth.explore.folder.{number}", 3)
    out, name = tmp_path / "out", space.names[0]
    command = ["explore", folder / "run", "--out", out, "--axis", "pc1", "--draws", "1"]
    command += ["--at", name, "--workers", "1", "--morph", name]
    command += ["--morph", space.names[1]]

    def call(*more):
        code = main([str(argument) for argument in (*command, *more)])
        return code, *capfd.readouterr()

    code, printed, error = call("--json")
    assert code == 0, error
    facts = json.loads(printed)
    assert set(facts["traversals"]) == {"pc1"}
    assert facts["traversals"]["pc1"]["center"] == name
    assert facts["morph"]["presets"] == list(space.names[:2])
    assert facts["morph"]["method"] == "rendered"
    assert len(facts["ranking"]) == len(space.linear_axes)
    (swept,) = [row for row in facts["ranking"] if row["axis"] == "pc1"]
    assert swept["sounds"] == "rendered"
    assert swept["effect_db"] == facts["traversals"]["pc1"]["effect_db"]
    parts = ("traversal-pc1", "axes", "projection", "nearest", "variations", "morph", "prior",
             "novel")  # fmt: skip
    for part in parts:
        for file in ("data.nc", "picture.png", "facts.json"):
            assert (out / part / file).stat().st_size > 0
    mapping = (out / "traversal-pc1" / "mapping.csv").read_text().splitlines()
    assert mapping[0].startswith("macro,position,")
    assert len(mapping) == 10
    audio, rate = soundfile.read(out / "traversal-pc1" / "sounds.wav")
    assert abs(len(audio) / 9 - 0.75 * rate) < 1
    presets = json.loads((out / "novel" / "presets.json").read_text())["presets"]
    assert set(presets[0]["parameters"]) == set(run[1].run.full_space.names)
    html = (out / "report.html").read_text()
    assert "http" not in html.replace("http-equiv", "")
    assert html.count("<audio") == 5 + 9 + 3 * 3

    # What makes the pictures and sounds of the documentation reads the folder.
    script = Path(__file__).parents[1] / "docs" / "explore_media.py"
    run_path(str(script))["main"](out, tmp_path / "media")
    assert len(list((tmp_path / "media").glob("*.png"))) == 5
    assert all(soundfile.info(file).frames for file in (tmp_path / "media").glob("*.ogg"))

    # Called again, with a sound to be near to: what is there is kept, and what is missing, damaged
    # or of something else is made again.
    before = {file: file.stat().st_mtime_ns for file in out.rglob("data.nc")}
    novel, plane, nearest = (out / part / "data.nc" for part in ("novel", "projection", "nearest"))
    novel.unlink()
    size = plane.stat().st_size
    plane.write_bytes(plane.read_bytes()[: size // 2])
    mine = out / "my notes.txt"
    mine.write_text("mine")
    code, printed, error = call("--sound", sawtooth(tmp_path / "A4.wav", 9))
    assert code == 0, error
    assert "dB; play A4, 0." in printed
    facts = json.loads((out / "facts.json").read_text())
    assert facts["sound"]["play"]["name"] == facts["nearest"][0]["play"]["name"] == "A4"
    assert "Of the sound: play A4, 0." in (out / "report.html").read_text()
    assert "pc1: " in printed
    assert f"Look and listen: open {out / 'report.html'}" in printed
    after = {file: file.stat().st_mtime_ns for file in out.rglob("data.nc")}
    for remade in (novel, plane, nearest):
        assert before.pop(remade) < after.pop(remade)
    assert before == after
    assert plane.stat().st_size == size
    assert mine.read_text() == "mine"


def test_a_folder_of_something_else(run, folder, tmp_path, capfd):
    out = tmp_path / "out"
    (out / "traversal-z1").mkdir(parents=True)
    mine = out / "traversal-z1" / "mine.txt"
    mine.write_text("keep")
    code = main(["explore", str(folder / "run"), "--out", str(out), "--axis", "z1"])
    assert (code, mine.read_text()) == (2, "keep")
    assert "which pyrosynth did not write" in capfd.readouterr().err.splitlines()[-1]


def test_values_of_a_preset_that_are_not_learnt_are_told(caplog):
    _, posterior = small_posterior()
    run, space = posterior.run, explore.LatentSpace(posterior)
    other = next(p for p in run.full_space.params if p.name not in run.space.names)
    values = space.bank.values[0].copy()
    for level, told in ((other.default, False), (other.maximum, True)):
        values[list(run.full_space.names).index(other.name)] = level
        caplog.clear()
        given = Preset.from_array(run.full_space, values, "mine")
        np.testing.assert_array_equal(space.place(given).values, values)
        said = f"preset 'mine' sets {other.name}, which this run does not learn"
        assert (said in caplog.text) == told


ODD = """
from plain import Plain
from pyrosynth.errors import InputError

class Odd(Plain):
    silent = False

    def render(self, values, note, sample_rate):
        return (float("nan") if self.silent else 1.0) * super().render(values, note, sample_rate)

    def write_bank(self, path, presets):
        if "variations" in str(path):
            raise InputError("no bank of variations")
        return False

class Silent(Odd):
    silent = True
"""


def test_a_part_that_cannot_be_made_costs_only_itself(run, folder, tmp_path, capfd, monkeypatch):
    for number in ("N_PRESETS", "CENTERS"):
        monkeypatch.setattr(f"pyrosynth.explore.folder.{number}", 3)
    (tmp_path / "odd_synths.py").write_text(ODD)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("Odd", "Silent"):
        synth = f"odd_synths:{name}"
        other = replace(load_run(folder / "run"), synth_spec={"synth": synth})
        other.save(tmp_path / name)
        bank = Bank.load(folder / "run" / "bank.safetensors")
        replace(bank, synth=synth).save(tmp_path / name / "bank.safetensors")
    more = ["--axis", "pc1", "--draws", "1", "--workers", "1", "--interpolation", "knobs"]
    out = tmp_path / "out"
    code = main(["explore", str(tmp_path / "Odd"), "--out", str(out), *more])
    assert code == 2
    said = capfd.readouterr().err.splitlines()[-1]
    assert said == "pyrosynth: variations is left out: no bank of variations"
    assert {"morph", "prior", "novel", "nearest"} <= {p.name for p in out.iterdir()}
    assert not (out / "variations").exists()
    page = (out / "report.html").read_text()
    assert "Novel presets" in page
    assert "Variations of a preset" not in page
    code = main(["explore", str(tmp_path / "Silent"), "--out", str(tmp_path / "none"), *more])
    assert (code, "gave a sound" in capfd.readouterr().err.splitlines()[-1]) == (2, True)


def test_a_part_of_which_a_file_may_not_be_read_costs_only_itself(run, folder, tmp_path, capfd):
    out = tmp_path / "out"
    command = ["explore", str(folder / "run"), "--out", str(out), "--axes", "0", "--workers", "1"]
    command += ["--interpolation", "knobs"]
    assert main([*command, "--seed", "1"]) == 0, capfd.readouterr().err
    closed = {"morph": out / "morph" / "data.nc", "projection": out / "projection" / "picture.png"}
    for part in ("projection", "nearest"):
        (out / part / "data.nc").unlink()
    for file in closed.values():
        file.chmod(0)
    done = run_without_rights(*command, "--seed", "1")
    assert done.returncode == 2
    told = [line for line in done.stderr.splitlines() if line.startswith("pyrosynth: ")]
    assert sorted(told) == [
        f"pyrosynth: {part} is left out: '{file}' cannot be opened (Permission denied); ask its "
        "owner to let you"
        for part, file in closed.items()
    ]
    assert (out / "nearest" / "data.nc").is_file()


def test_as_many_presets_are_near_as_there_are(space):
    """A known preset is not told for itself; any other sound may be nearest to each of them."""
    bank = replace(space.bank, **{
        field: getattr(space.bank, field)[:2]
        for field in ("values", "names", "rows", "codes", "missed")
    })  # fmt: skip
    two = Posterior(space.posterior.run, bank)
    x = bank.sounds([0])[0]
    assert [len(explore.nearest_presets(two, x, k)) for k in (None, 1, 2)] == [2, 1, 2]
    assert len(explore.nearest_presets(two, bank.names[0])) == 1
    with pytest.raises(InputError, match="k 3: give an integer from 1 to 2"):
        explore.nearest_presets(two, x, 3)
    with pytest.raises(InputError, match="k 2: give an integer from 1 to 1"):
        explore.nearest_presets(two, bank.names[0], 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--at", "Nobody"], "unknown preset 'Nobody'; known: "),
        (["--morph", "Nobody"], "unknown preset 'Nobody'; known: "),
        (["--axis", "brightness"], "unknown axis 'brightness'; known: z1 to z16, "),
        (
            ["--at", "S.wav"],
            "'S.wav' is a sound, where the name of a known preset is asked for; --s",
        ),
        (["--morph", "S.wav"], "'S.wav' is a sound, where the name of a known preset is asked"),
        (["--sound", "none.wav"], "no sound file 'none.wav'"),
        (["--sound", "pad 45"], "'pad 45' is a known preset, no sound file; give it as at (--at)"),
        (["--projection", "magic"], "unknown projection 'magic'; known: pca, umap"),
        (["--interpolation", "magic"], "unknown method of morphing 'magic'; known: rendered"),
        (["--axes", "-1"], "'--axes'"),
    ],
)
def test_mistakes_on_the_command_line(run, folder, tmp_path, capfd, arguments, message):
    code = main(["explore", str(folder / "run"), "--out", str(tmp_path / "out"), *arguments])
    out, error = capfd.readouterr()
    assert (code, out) == (2, "")
    assert message in error
    assert error.count("\n") == 1
