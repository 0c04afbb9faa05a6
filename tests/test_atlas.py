"""The presets of a run in its latent space, and the axes along which one moves."""

import numpy as np
import pytest
import torch
from small import small_run
from toys import SMALL

from pyrosynth.errors import InputError
from pyrosynth.explore.latent_space import Atlas, latents
from pyrosynth.inference.posterior import Posterior
from pyrosynth.training.fit import fit


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A dataset and a posterior of ``flow_reg``."""
    return small_run(tmp_path_factory.mktemp("atlas"))


@pytest.fixture(scope="module")
def atlas(run):
    return Atlas(run[1])


def test_it_holds_the_human_presets(run, atlas):
    dataset, posterior = run
    rows = posterior.bank.rows[atlas.found]
    assert (dataset.origin[rows] == "human").all()
    assert len(atlas) == (dataset.origin[posterior.bank.rows] == "human").sum()
    assert len(set(atlas.names)) == len(atlas)
    np.testing.assert_array_equal(atlas.bank.values, dataset.values(rows))


def test_presets_come_back_from_their_latents(run, atlas):
    space = run[1].run.space
    there, back = run[1].learnt(atlas.bank.values), run[1].learnt(atlas.values(atlas.z))
    assert (space.levels(there) == space.levels(back)).mean() > 0.999


def test_principal_axes(atlas):
    lines = [line for name, line in atlas.lines.items() if name.startswith("pc")]
    positions = np.stack([line.position(atlas.z) for line in lines], axis=1)
    np.testing.assert_allclose(positions.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(np.cov(positions.T), np.eye(len(lines)), atol=1e-3)
    lengths = [np.linalg.norm(line.direction) for line in lines]
    assert lengths == sorted(lengths, reverse=True)


@pytest.mark.parametrize("name", ["z2", "pc1"])
def test_moving_along_a_line(atlas, name):
    axis, z = atlas.axis(name), atlas.z[:5]
    there = axis.at(z, np.arange(5.0))
    np.testing.assert_allclose(axis.position(there), np.arange(5.0), atol=1e-4)
    np.testing.assert_allclose(axis.at(there, axis.position(z)), z, atol=1e-4)
    other = atlas.axis("pc3" if name == "pc1" else "z4")
    np.testing.assert_allclose(other.position(there), other.position(z), atol=1e-4)
    assert axis.at(z[0], [-1.0, 0.0, 1.0]).shape == (3, z.shape[1])


def test_axes_of_tags(run, tmp_path):
    dataset, _ = run
    fit(
        "flow_dis", dataset, tmp_path / "run", options=SMALL["flow_dis"], steps=3, batch_size=32,
        progress=False,
    )  # fmt: skip
    posterior = Posterior.load(tmp_path / "run")
    atlas = Atlas(posterior)
    axis, z = atlas.axis("brightness"), atlas.z[:4]
    there = axis.at(z, axis.position(z) + 1.5)
    wanted = posterior.variant.steer(torch.as_tensor(z), "brightness", 1.5)
    np.testing.assert_allclose(there, wanted.detach().numpy(), atol=1e-4)
    assert axis.at(z[0], [-1.0, 2.0]).shape == (2, z.shape[1])
    with pytest.raises(InputError, match=r"unknown axis 'warmth'; known: z1 to z16, .*brightness"):
        atlas.axis("warmth")


def test_places(run, atlas):
    posterior = run[1]
    name = atlas.names[3]
    preset_z = latents(posterior, atlas.bank.values[3:4])[0]
    np.testing.assert_allclose(atlas.place(name), preset_z, atol=1e-3)
    np.testing.assert_array_equal(atlas.place(None), np.zeros(16))
    np.testing.assert_array_equal(atlas.place(preset_z), preset_z)
    preset = posterior.synth.presets()[0]
    np.testing.assert_array_equal(
        atlas.place(preset), latents(posterior, preset.array(posterior.run.full_space)[None])[0]
    )


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("Wrm Pad", r"unknown preset 'Wrm Pad'; known: .*, … \(\d+ in all\)"),
        ([1.0, 2.0], "give 16 finite numbers"),
        (np.full(16, np.nan), "give 16 finite numbers"),
    ],
)
def test_places_that_are_none(atlas, where, message):
    with pytest.raises(InputError, match=message):
        atlas.place(where)


def test_an_axis_that_is_none(atlas):
    with pytest.raises(InputError, match="unknown axis 'z17'.*this run has no tags"):
        atlas.axis("z17")


@pytest.mark.parametrize("model", ["vae_flow", "npe"])
def test_other_variants(run, tmp_path, model):
    fit(
        model, run[0], tmp_path / "run", options=SMALL[model], steps=3, batch_size=32,
        progress=False,
    )  # fmt: skip
    posterior = Posterior.load(tmp_path / "run")
    if model == "npe":
        with pytest.raises(InputError, match="has no latent space"):
            Atlas(posterior)
        return
    atlas = Atlas(posterior)
    assert atlas.z.shape == (len(atlas), 5)
    assert atlas.values(atlas.z).shape == (len(atlas), len(posterior.run.full_space))
    np.testing.assert_array_equal(Atlas(Posterior.load(tmp_path / "run")).z, atlas.z)
    with pytest.raises(InputError, match="does not determine its latent"):
        atlas.place(posterior.synth.presets()[0])


def test_a_run_without_a_bank(run):
    with pytest.raises(InputError, match="no bank of presets to explore"):
        Atlas(Posterior(run[1].run))
