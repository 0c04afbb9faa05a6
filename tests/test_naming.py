"""Qualities of sounds, and axes that are named by them."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from plain import FAILS, PLAIN
from small import NOTE as SMALL_NOTE
from small import small_dataset
from toys import SMALL

from pyrosynth.audio.features import FeatureSpec
from pyrosynth.audio.note import Note
from pyrosynth.audio.qualities import QUALITIES, qualities
from pyrosynth.cli.app import main
from pyrosynth.data.dataset import render_dataset
from pyrosynth.errors import InputError, RunError, SynthError
from pyrosynth.explore.axes import NamedAxis
from pyrosynth.explore.latent_space import LatentSpace
from pyrosynth.explore.naming import (
    NAMES,
    POSITIONS,
    MeasuredAxis,
    directions,
    failures,
    keep,
    name_axes,
    told,
)
from pyrosynth.explore.steering import move
from pyrosynth.files import only_writer
from pyrosynth.inference.posterior import Posterior
from pyrosynth.live.controls import controls
from pyrosynth.statistics import spearman
from pyrosynth.synths import load_synth
from pyrosynth.training.fit import fit

SPEC, NOTE = FeatureSpec(), Note(hold_seconds=1.0, duration_seconds=2.0)
SECONDS = np.arange(NOTE.n_samples(SPEC.sample_rate)) / SPEC.sample_rate


def measured(audio):
    x = SPEC(np.asarray(audio, np.float32)[None])
    return dict(zip(NAMES, qualities(x, SPEC, NOTE)[0], strict=True))


def tone(hz, envelope=1.0):
    return 0.5 * np.sin(2 * np.pi * hz * SECONDS) * envelope


def test_qualities_of_sounds_that_have_them():
    held = SECONDS < NOTE.hold_seconds
    plain = measured(tone(440, held))
    assert measured(tone(100, held))["bass"] > plain["bass"] + 20
    assert measured(tone(6000, held))["treble"] > plain["treble"] + 20
    assert measured(tone(880, held))["register"] == pytest.approx(plain["register"] + 1, abs=0.2)
    both = measured(tone(440, held) + tone(3520, held))
    assert both["width"] > plain["width"] + 0.5
    assert measured(tone(440, held * SECONDS))["attack"] > plain["attack"] + 0.3
    assert measured(tone(440, np.exp(-8 * SECONDS)))["sustain"] < plain["sustain"] - 20
    assert measured(tone(440))["release"] > plain["release"] + 20
    struck = measured(tone(440, held) + tone(3520, SECONDS < 0.1))
    assert struck["hardness"] > plain["hardness"] + 0.5


def test_qualities_of_silence_are_numbers():
    found = measured(np.zeros(len(SECONDS)))
    assert len(found) == len(QUALITIES)
    assert np.isfinite(list(found.values())).all()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("naming")
    dataset = small_dataset(folder)
    fit(
        "flow_audio", dataset, folder / "run", options=SMALL["flow_audio"], steps=20,
        batch_size=32, progress=False,
    )  # fmt: skip
    return folder / "run", dataset


def test_directions_follow_their_quality_among_the_known_presets(run):
    space = LatentSpace(Posterior.load(run[0]))
    numbers = qualities(space.features, space.posterior.run.features, space.posterior.run.note)
    i = NAMES.index("loudness")
    for axis in directions(space, i):
        position = axis.position(space.z)
        assert spearman(position, numbers[:, i]) > 0.3
        assert position.std() == pytest.approx(1, rel=1e-3)


def test_a_quality_in_which_all_presets_are_alike_has_no_direction(run):
    space = LatentSpace(Posterior.load(run[0]))
    space.qualities[:, NAMES.index("release")] = -60.0
    assert directions(space, NAMES.index("release")) == []


def test_axes_are_named_by_what_is_rendered_and_kept_with_the_run(run):
    folder, dataset = run
    posterior = Posterior.load(folder)
    with posterior.renderer(1) as renderer:
        found = name_axes(
            posterior, dataset, renderer, names=("length", "loudness"), places=(1, 2),
            progress=False,
        )  # fmt: skip
        with pytest.raises(InputError, match="unknown quality 'warmth'; known: loudness"):
            name_axes(posterior, dataset, renderer, names=("warmth",))
    assert {one.axis.name for one in found} == {"length", "loudness"}
    assert found[0].correlation >= found[1].correlation
    assert all(-1 <= one.correlation <= 1 and 0 <= one.right <= 1 for one in found)
    steady = next(one for one in found if one.axis.name == "loudness")
    steady = steady._replace(correlation=0.9)
    doubtful = next(one for one in found if one.axis.name == "length")
    kept = keep(posterior, folder, [steady, doubtful._replace(correlation=0.7)])
    assert [axis.name for axis in kept] == ["loudness"]
    space = LatentSpace(Posterior.load(folder))
    axis = space.axis("loudness")
    assert isinstance(axis, NamedAxis)
    np.testing.assert_allclose(axis.line.direction, steady.axis.line.direction)
    sliders = controls(space)
    assert sliders["loudness"].ends == ("quiet", "loud")
    assert "length" not in sliders  # an axis that has not earned its name has no slider


def test_presets_that_do_not_sound_are_left_out_of_the_figures_of_an_axis(run, monkeypatch):
    posterior, dataset = Posterior.load(run[0]), run[1]
    rows = np.random.default_rng(0).permutation(dataset.rows("test", human_only=True))[:4]
    values, space = dataset.values(rows), LatentSpace(posterior)
    cutoffs = values[:, posterior.run.full_space.names.index("filter_cutoff")]
    assert len(set(cutoffs)) == 4
    options = {"names": ("loudness",), "places": (3, 4), "progress": False}

    def measured(limit):
        monkeypatch.setenv(FAILS, f"filter_cutoff {limit}")
        with posterior.renderer(1) as renderer:
            return name_axes(posterior, dataset, renderer, **options)[0]

    found = measured(np.median(cutoffs))
    places = space.place_of(values, space.heard(dataset.x(rows)))
    moved = np.array([
        [move(space, place, found.axis.at(place.z, p)).place.values for p in POSITIONS]
        for place in places.each()
    ])  # fmt: skip
    at = moved[..., posterior.run.full_space.names.index("filter_cutoff")]
    sounding = (at <= np.median(cutoffs)).all(axis=1)
    assert 0 < sounding.sum() < 4
    assert (found.n_presets, found.n_left_out) == (4, (~sounding).sum())
    monkeypatch.delenv(FAILS)
    with posterior.renderer(1) as renderer:
        x = renderer.render(moved[sounding].reshape(-1, values.shape[1])).features
    lines = qualities(x, posterior.run.features, posterior.run.note)[:, NAMES.index("loudness")]
    lines = lines.reshape(-1, len(POSITIONS))
    assert found.correlation == pytest.approx(spearman(POSITIONS, lines).mean(), abs=1e-6)
    assert found.right == np.mean(lines[:, -1] > lines[:, 0])
    with pytest.raises(SynthError, match="none of 4 presets gives a sound at all positions"):
        measured(-np.inf)


@pytest.mark.parametrize(("n_left_out", "trusted"), [(0, True), (8, True), (9, False)])
def test_no_name_of_an_axis_that_sounds_at_fewer_than_half_of_the_presets(
    run, tmp_path, n_left_out, trusted
):
    axis = directions(LatentSpace(Posterior.load(run[0])), NAMES.index("loudness"))[0]
    one = MeasuredAxis(axis, 0.9, 1.0, 0.9, 16, n_left_out)
    silent = MeasuredAxis(
        replace(axis, line=replace(axis.line, name="bass")), *3 * [np.nan], 16, 16
    )
    folder = shutil.copytree(run[0], tmp_path / "run")
    posterior = Posterior.load(folder)
    assert [kept.name for kept in keep(posterior, folder, [one, silent])] == trusted * ["loudness"]
    left = f", {n_left_out} of 16 presets left out" if n_left_out else ""
    assert told([one, silent]) == [
        f"loudness: rank correlation +0.90, grows at 100%{left}{'' if trusted else '; no name'}",
        "bass: 16 of 16 presets left out; no name",
    ]
    assert json.loads(json.dumps(silent.facts(), allow_nan=False))["correlation"] is None
    assert failures([]) == []
    assert len(failures([one])) == (n_left_out > 0)
    assert "most along bass: 16 of 16" in failures([one, silent])[0]
    assert len(failures([silent])[0]) < 280


def test_a_run_that_another_process_writes_to_is_refused_before_the_work(run, capfd):
    with only_writer(run[0]):
        assert main(["name", str(run[0]), "--workers", "1"]) == 2
    printed, error = capfd.readouterr()
    assert not printed
    assert f"another process is writing to '{run[0]}'; wait until it ends" in error


def test_a_dataset_that_is_not_rendered_alike_is_refused(run, tmp_path, capfd):
    synth = load_synth(PLAIN)
    for params, difference in (("all", "learnt parameters"), ("16", "note")):
        folder = tmp_path / params
        render_dataset(
            synth, folder, presets=synth.presets()[:40], params=params, augmented=0,
            note=replace(SMALL_NOTE, pitch=72), workers=1,
        )  # fmt: skip
        assert main(["name", str(run[0]), "--data", str(folder), "--workers", "1"]) == 2
        assert f"has another {difference} than the run" in capfd.readouterr().err


def test_a_damaged_axis_is_one_line(run):
    posterior = Posterior.load(run[0])
    posterior.run.axes = ({"name": "bass", "less": "", "more": "", "origin": [], "direction": []},)
    with pytest.raises(RunError, match=r"an axis in the run's run.json is damaged"):
        LatentSpace(posterior)
    facts = json.loads((run[0] / "run.json").read_text())
    facts["axes"] = [{"name": "bass"}]
    (run[0] / "run.json").write_text(json.dumps(facts))
    with pytest.raises(RunError, match="was changed after the fit"):
        Posterior.load(run[0])
