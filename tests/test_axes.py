"""Axes of tags: measured right, learnt from few labels, and steering along them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from small import small_dataset
from toys import SMALL, TAGS, toy_data

from pyrosynth.data.labeling import descriptor_tags
from pyrosynth.data.tags import labelled
from pyrosynth.errors import InputError
from pyrosynth.evaluation.disentanglement import (
    classes,
    coordinates,
    entropy,
    information,
    measure,
)
from pyrosynth.evaluation.steering import steer
from pyrosynth.inference.posterior import Posterior
from pyrosynth.statistics import auc, spearman
from pyrosynth.training import zoo
from pyrosynth.training.fit import fit
from pyrosynth.training.svi import fit as fit_loop


def test_auc_counts_pairs():
    rng = np.random.default_rng(0)
    scores, positive = rng.integers(0, 6, 60), rng.random(60) < 0.4
    pairs = scores[positive][:, None] - scores[~positive]
    assert auc(scores, positive) == pytest.approx(np.mean((pairs > 0) + 0.5 * (pairs == 0)))
    assert auc([3, 1, 2], [True, False, False]) == 1.0
    assert np.isnan(auc([1, 2], [True, True]))
    with pytest.raises(InputError, match="positive holds NaN"):  # which would be true
        auc([3, 1, 2], [1.0, 0.0, np.nan])
    assert np.isnan(auc([], []))


def test_rank_correlation():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 40))
    b[:10] = a[:10] = 0.5
    assert spearman(a, b) == pytest.approx(spearmanr(a, b)[0])
    holes = np.where(np.arange(40) % 3, a, np.nan)
    known = np.isfinite(holes)
    assert spearman(holes, b) == pytest.approx(spearmanr(a[known], b[known])[0])
    assert np.isnan(spearman(a, np.ones(40)))
    assert np.isnan(spearman(a, np.full(40, np.nan)))
    both = spearman(np.stack([holes, a])[:, None], [b, np.ones(40), holes])
    alone = [[spearman(x, y) for y in (b, np.ones(40), holes)] for x in (holes, a)]
    np.testing.assert_array_equal(both, alone)


@pytest.fixture(scope="module")
def learnt():
    """A small flow_dis that has seen a third of the labels."""
    data = toy_data(n=2000)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        variant = zoo.load_model("flow_dis")(data.dims, **SMALL["flow_dis"])
    fit_loop(variant, data, steps=150, batch_size=128, lr=2e-2, warm_up=10, progress=False)
    held_out = (data.levels[data.valid].float() + 0.5) / 16
    return variant, held_out


def test_axes_follow_their_tags_and_the_others_keep_their_spread(learnt):
    variant, v = learnt
    with torch.no_grad():
        u = variant.axes(variant.latent(v)[0])
    assert auc(u[:, 0], v[:, 0] > 0.5) > 0.95
    size = np.searchsorted([1 / 3, 2 / 3], v[:, 1].numpy())
    assert auc(u[size != 1, 1], size[size != 1] == 2) > 0.95
    assert abs(spearman(u[:, 0], v[:, 1])) < 0.2
    assert abs(spearman(u[:, 1], v[:, 0])) < 0.2
    spread = u[:, 2:].std(0)
    assert ((spread > 0.8) & (spread < 1.2)).all()


def test_steered_presets_have_the_other_word(learnt):
    """Generation, not only classification: what is heard changes, and what should stay stays."""
    variant, v = learnt
    dark = v[v[:, 0] < 0.5]
    with torch.no_grad():
        z = variant.latent(dark)[0]
        back = variant.params_of(variant.steer(z, "tone", 0.0))
        bright = variant.params_of(variant.steer(z, "tone", 2.0))
    torch.testing.assert_close(back, dark, atol=1e-3, rtol=0)
    assert (bright[:, 0] > 0.5).float().mean() > 0.9
    moved = (bright - dark).abs().mean(0)
    assert moved[0] > 3 * moved[1:].max()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("axes")
    dataset = small_dataset(folder)
    truth = descriptor_tags(dataset, progress=False)
    fit(
        "flow_dis", dataset, folder / "run", tags=truth.hide(0.5), options=SMALL["flow_dis"],
        steps=20, batch_size=32, progress=False,
    )  # fmt: skip
    return Posterior.load(folder / "run"), dataset, truth


def test_measures_of_a_run(run):
    posterior, dataset, truth = run
    names = posterior.variant.dims.tags
    assert names == truth.names
    found = measure(posterior.run, dataset, truth, "train")
    rows = dataset.rows("train", human_only=True)
    u = coordinates(posterior.run, dataset, rows)
    assert found.n_presets == len(rows)
    assert found.auc.shape == (5,)
    within = coordinates(posterior.run, dataset, rows, np.random.default_rng(0))
    assert found.spread == pytest.approx(within[:, 5:].std(0))
    assert not np.allclose(found.spread, u[:, 5:].std(0))
    label = truth.labels[rows, 1]
    told = label != 1
    assert found.auc[1] == pytest.approx(auc(u[told, 1], label[told] == 2))
    described = truth.descriptors[rows]
    assert found.correlation[1, 3] == pytest.approx(spearmanr(u[:, 1], described[:, 3])[0])
    assert found.related[0, 2] == pytest.approx(spearmanr(described[:, 0], described[:, 2])[0])
    facts = found.to_json()
    assert facts["tags"]["brightness"]["spearman"] == pytest.approx(found.correlation[1, 1])
    others = np.delete(np.abs(found.correlation[1]), 1)
    assert facts["tags"]["brightness"]["leakage"] == pytest.approx(others.max())
    assert facts["spread"] == pytest.approx([found.spread.min(), found.spread.max()])


def test_measures_without_numbers_behind_the_tags(run):
    posterior, dataset, truth = run
    bare = labelled(truth.tags, truth.labels)
    found = measure(posterior.run, dataset, bare, "train")
    assert found.auc == pytest.approx(measure(posterior.run, dataset, truth, "train").auc)
    assert found.to_json()["tags"]["length"]["spearman"] is None
    with pytest.raises(InputError, match="has an axis for loudness.*, the tags are tone, size;"):
        measure(posterior.run, dataset, labelled(TAGS, np.zeros((len(dataset), 2))))
    turned = [replace(tag, classes=tag.classes[::-1]) for tag in truth.tags]
    learnt = "/".join(truth.tags[0].classes)
    with pytest.raises(InputError, match=f"the run has learnt {learnt}; write the classes"):
        measure(posterior.run, dataset, labelled(turned, truth.labels), "train")


def test_gaps_of_a_run(run):
    """They are those of all coordinates, and of the words where no number is known."""
    posterior, dataset, truth = run
    found = measure(posterior.run, dataset, truth, "train")
    rows = dataset.rows("train", human_only=True)
    u = coordinates(posterior.run, dataset, rows)
    factor = classes(truth.descriptors[rows, 1])
    shared = information(u, factor)
    gap = (shared[1] - np.delete(shared, 1).max()) / entropy(factor)
    assert found.gap[1] == pytest.approx(gap)
    assert found.to_json()["tags"]["brightness"]["gap"] == pytest.approx(gap)
    assert 0 <= found.mig <= 1
    assert (found.gap_of_descriptors > 0.1).all()
    words = measure(posterior.run, dataset, labelled(truth.tags, truth.labels), "train")
    label = truth.labels[rows, 1]
    shared = information(u, label)
    assert words.gap[1] == pytest.approx((shared[1] - np.delete(shared, 1).max()) / entropy(label))
    assert np.isnan(words.gap_of_descriptors).all()


def test_steering_begins_where_a_preset_is(run):
    posterior, dataset, _ = run
    rows = dataset.rows("train", human_only=True)[:4]
    values = dataset.values(rows)
    still = steer(posterior, values, "length", 0.0)
    assert np.array_equal(dataset.full_space.levels(still), dataset.full_space.levels(values))
    steps = steer(posterior, values, "length", [[-1.0], [2.0]])
    assert steps.shape == (2, *values.shape)
    np.testing.assert_allclose(steps[1], steer(posterior, values, "length", 2.0), rtol=1e-6)
    with pytest.raises(InputError, match="shape"):
        steer(posterior, values[0], "length", 1.0)
    with pytest.raises(InputError, match=r"amounts of shape .* shape \(k, 1\)"):
        steer(posterior, values, "length", np.zeros(len(values) + 1))
    with pytest.raises(InputError, match="unknown tag 'warmth'"):
        steer(posterior, values, "warmth", 1.0)
