"""The presets of a run in its latent space, and the axes along which one moves."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist
from small import small_run
from toys import SMALL

from benchmarks import space as space_benchmark
from pyrosynth.audio.metrics import log_distance
from pyrosynth.errors import InputError
from pyrosynth.evaluation.disentanglement import coordinates
from pyrosynth.evaluation.steering import steer
from pyrosynth.explore.latent_space import LatentSpace
from pyrosynth.explore.places import latents
from pyrosynth.explore.steering import SoundModel, move
from pyrosynth.inference.posterior import Posterior
from pyrosynth.synths.presets import Preset
from pyrosynth.training.fit import fit


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A dataset and a posterior of ``flow_reg``."""
    return small_run(tmp_path_factory.mktemp("space"))


@pytest.fixture(scope="module")
def space(run):
    return LatentSpace(run[1])


def test_it_holds_the_human_presets(run, space):
    dataset, posterior = run
    rows = posterior.bank.rows[space.in_bank]
    assert (dataset.origin[rows] == "human").all()
    assert len(space) == (dataset.origin[posterior.bank.rows] == "human").sum()
    assert len(set(space.names)) == len(space)
    np.testing.assert_array_equal(space.bank.values, dataset.values(rows))


def test_presets_come_back_from_their_latents(run, space):
    params = run[1].run.space
    there, back = run[1].learnt(space.bank.values), run[1].learnt(space.values(space.z))
    assert (params.levels(there) == params.levels(back)).mean() > 0.999


def test_principal_axes(space):
    lines = [line for name, line in space.linear_axes.items() if name.startswith("pc")]
    positions = np.stack([line.position(space.z) for line in lines], axis=1)
    np.testing.assert_allclose(positions.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(np.cov(positions.T), np.eye(len(lines)), atol=1e-3)
    lengths = [np.linalg.norm(line.direction) for line in lines]
    assert lengths == sorted(lengths, reverse=True)


@pytest.mark.parametrize("name", ["z2", "pc1"])
def test_moving_along_a_line(space, name):
    axis, z = space.axis(name), space.z[:5]
    there = axis.at(z, np.arange(5.0))
    np.testing.assert_allclose(axis.position(there), np.arange(5.0), atol=1e-4)
    with pytest.raises(InputError, match="latents have shape .*; give"):
        axis.position(there[:, :-1])
    np.testing.assert_allclose(axis.at(there, axis.position(z)), z, atol=1e-4)
    other = space.axis("pc3" if name == "pc1" else "z4")
    np.testing.assert_allclose(other.position(there), other.position(z), atol=1e-4)
    assert axis.at(z[0], [-1.0, 0.0, 1.0]).shape == (3, z.shape[1])
    with pytest.raises(InputError, match="positions that are not finite"):
        axis.at(z, np.nan)


def test_axes_of_tags(run, tmp_path):
    dataset, _ = run
    fit(
        "flow_dis", dataset, tmp_path / "run", options=SMALL["flow_dis"], steps=3, batch_size=32,
        progress=False,
    )  # fmt: skip
    posterior = Posterior.load(tmp_path / "run")
    space = LatentSpace(posterior)
    axis, z = space.axis("brightness"), space.z[:4]
    there = axis.at(z, axis.position(z) + 1.5)
    wanted = posterior.variant.steer(torch.as_tensor(z), "brightness", 1.5)
    np.testing.assert_allclose(there, wanted.detach().numpy(), atol=1e-4)
    assert axis.at(z[0], [-1.0, 2.0]).shape == (2, z.shape[1])
    with pytest.raises(InputError, match="positions that are not finite"):
        axis.at(z[0], [-1.0, np.inf])
    with pytest.raises(InputError, match=r"unknown axis 'warmth'; known: z1 to z16, .*brightness"):
        space.axis("warmth")


def test_places(run, space):
    posterior = run[1]
    name = space.names[3]
    preset_z = latents(posterior, space.bank.values[3:4])[0]
    np.testing.assert_allclose(space.locate(name), preset_z, atol=1e-3)
    np.testing.assert_array_equal(space.locate(None), np.zeros(16))
    np.testing.assert_array_equal(space.locate(preset_z), preset_z)
    preset = posterior.synth.presets()[0]
    np.testing.assert_array_equal(
        space.locate(preset), latents(posterior, preset.array(posterior.run.full_space)[None])[0]
    )


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("Wrm Pad", r"unknown preset 'Wrm Pad'; known: .*, … \(\d+ in all\)"),
        ([1.0, 2.0], "give 16 finite numbers"),
        (np.full(16, np.nan), "give 16 finite numbers"),
        (np.array(["Warm Pad"]), r"a place is ndarray .*'Warm Pad'.*; give one name as text"),
        (np.array("Warm Pad"), "give one name as text"),
        (["Warm Pad", "Bells"], "give one name as text"),
    ],
)
def test_places_that_are_none(space, where, message):
    with pytest.raises(InputError, match=message):
        space.locate(where)


def test_an_axis_that_is_none(space):
    with pytest.raises(InputError, match="unknown axis 'z17'.*this run has no tags"):
        space.axis("z17")


@pytest.mark.parametrize("model", ["vae_flow", "npe"])
def test_other_variants(run, tmp_path, model):
    fit(
        model, run[0], tmp_path / "run", options=SMALL[model], steps=3, batch_size=32,
        progress=False,
    )  # fmt: skip
    posterior = Posterior.load(tmp_path / "run")
    if model == "npe":
        with pytest.raises(InputError, match="has no latent space"):
            LatentSpace(posterior)
        return
    space = LatentSpace(posterior)
    assert space.z.shape == (len(space), 5)
    assert space.values(space.z).shape == (len(space), len(posterior.run.full_space))
    np.testing.assert_array_equal(LatentSpace(Posterior.load(tmp_path / "run")).z, space.z)
    with pytest.raises(InputError, match="does not determine its latent"):
        space.locate(posterior.synth.presets()[0])


@pytest.fixture(scope="module")
def heard(run, tmp_path_factory):
    """A posterior of ``flow_audio``, whose latents are read off sounds."""
    folder = tmp_path_factory.mktemp("heard")
    fit(
        "flow_audio", run[0], folder / "run", options=SMALL["flow_audio"], steps=20,
        batch_size=32, progress=False,
    )  # fmt: skip
    return Posterior.load(folder / "run")


def test_a_place_is_what_one_hears_and_what_the_sound_does_not_tell(heard):
    posterior = heard
    space, params = LatentSpace(posterior), posterior.run.space

    def levels(values):
        return params.levels(posterior.learnt(values))

    # Latents are those of the sounds; with what remains they are the presets.
    sound = posterior.variant.posterior(
        posterior.variant.encode(posterior.run.standardise(torch.as_tensor(space.features)))
    ).mean
    np.testing.assert_allclose(space.z, sound.detach().numpy(), atol=1e-4)
    assert (levels(space.values(space.z, space.u)) == levels(space.bank.values)).mean() > 0.999
    np.testing.assert_allclose(space.axis("z1").position(space.z).std(), 1.0, rtol=1e-4)
    known = space.place(space.names[3])
    np.testing.assert_array_equal(known.values, space.bank.values[3])
    # A preset that is given is heard, if there is a renderer, else expected.
    values = dict(zip(posterior.run.full_space.names, known.values.tolist(), strict=True))
    preset = Preset("mine", values, "")
    with posterior.renderer(1) as renderer:
        np.testing.assert_allclose(space.place(preset, renderer).z, known.z, atol=0.05)
    expected = space.place(preset)
    np.testing.assert_array_equal(expected.z, latents(posterior, known.values[None])[0])
    assert np.abs(expected.z - known.z).max() > 0.05
    for place in (expected, space.place(None), space.place(known.z)):
        back = space.values(place.z, place.u)
        np.testing.assert_array_equal(levels(back), levels(place.values))
    drawn = space.sample(600, seed=1)
    assert drawn.values.shape == (600, len(posterior.run.full_space))
    np.testing.assert_array_equal(drawn.z, space.sample(600, seed=1).z)
    np.testing.assert_allclose(drawn.u.std(axis=0), 1.0, atol=0.15)


def test_a_step_is_chosen_by_what_is_heard(heard):
    space = LatentSpace(heard)
    start = space.place(space.names[2])
    goal = space.axis("z1").at(start.z, space.axis("z1").position(start.z) - 1.0)
    assert move(space, start, start.z).place is start
    expected = move(space, start, goal)
    assert not expected.rendered
    np.testing.assert_array_equal(move(space, start, goal).place.values, expected.place.values)
    with heard.renderer(1) as renderer:
        step = move(space, start, goal, renderer, budget=9)
        x = renderer.render(step.place.values[None]).features
    assert step.rendered
    np.testing.assert_allclose(space.heard(x)[0], step.place.z, atol=0.02)
    assert step.share > 0  # as the start itself comes into question
    moved = (step.place.z - start.z) @ (goal - start.z) / np.square(goal - start.z).sum()
    assert step.share == pytest.approx(moved, rel=1e-5)
    back = space.values(step.place.z, step.place.u)
    params = heard.run.space
    np.testing.assert_array_equal(
        params.levels(heard.learnt(back)), params.levels(heard.learnt(step.place.values))
    )


def test_what_is_expected_of_presets_is_corrected_by_those_that_are_known(heard):
    space = LatentSpace(heard)
    model, unit = SoundModel(space), heard.run.space.to_unit(heard.learnt(space.bank.values))
    model.learn(unit[:4], space.z[:4])
    z, left = model.expect(torch.as_tensor(unit, dtype=torch.float32))
    plain = np.linalg.norm(latents(heard, space.bank.values)[:4] - space.z[:4], axis=1)
    off = np.linalg.norm(z[:4].detach().numpy() - space.z[:4], axis=1)
    assert (off < 0.1 * plain).all()
    assert left[:4].max() < 0.05
    assert left[4:].max() > 0.5


def test_coordinates_of_tags_are_read_off_sounds(run, heard):
    dataset, space = run[0], LatentSpace(heard)
    rows = dataset.rows("test")[:3]
    z = torch.as_tensor(space.heard(dataset.x(rows)))
    wanted = heard.variant.axes(z).detach().numpy()
    np.testing.assert_allclose(coordinates(heard.run, dataset, rows), wanted, atol=1e-5)


def test_tags_steer_presets_whose_latents_are_heard(heard):
    values = LatentSpace(heard).bank.values[:2]
    moved = steer(heard, values, "brightness", [[0.0], [1.0]])
    assert moved.shape == (2, *values.shape)
    np.testing.assert_array_equal(moved[0], values)
    assert (np.abs(moved[1] - values).max(axis=1) > 0).all()
    with pytest.raises(InputError, match="unknown tag 'warmth'"):
        steer(heard, values, "warmth", 1.0)


def test_neighbours_by_sound_are_neighbours_in_a_space_that_keeps_distances():
    points = np.random.default_rng(0).normal(size=(40, 3))
    distances = pdist(points)
    assert space_benchmark.agreement(distances, distances**2) == {
        "correlation": pytest.approx(1), "recall": 1,
    }  # fmt: skip
    shuffled = space_benchmark.agreement(distances, pdist(points[::-1] * [1, -3, 9]))
    assert abs(shuffled["correlation"]) < 0.3
    assert shuffled["recall"] < 0.5


def test_organisation_of_a_run(run, heard):
    dataset = run[0]
    found = space_benchmark.organisation(heard, dataset)
    rows = dataset.rows("test", human_only=True)
    x = dataset.x(rows)
    off = [log_distance(heard.predict(dataset.values(rows[[i]]))[0], x[i]) for i in range(len(x))]
    assert found["presets"] == len(rows)
    assert found["expected_of_presets_db"] == pytest.approx(np.mean(off), rel=1e-4)
    # The first coordinates of its latents are those of sounds: distances hold even untrained.
    assert found["of_sounds"]["correlation"] > found["of_settings"]["correlation"] + 0.1


def test_figures_of_steps():
    """Half of the step asked is heard, and a tenth along each other axis; one preset goes back."""
    step = np.full((20, 3, 3), -0.1) + 0.6 * np.eye(3)
    step[0] *= -1
    found = space_benchmark.figures(step)
    assert found["share_by_axis"] == pytest.approx([0.5] * 3)
    assert found["share"] == pytest.approx([0.5] * 3)
    assert found["right_way"][0] == pytest.approx(0.95)
    assert found["right_way"][1] < 0.95 < found["right_way"][2] == 1
    assert found["leakage"][0] == pytest.approx(0.1 / (0.5 * 0.9))


def test_a_run_without_a_bank(run):
    with pytest.raises(InputError, match="no bank of presets to explore"):
        LatentSpace(Posterior(run[1].run))
