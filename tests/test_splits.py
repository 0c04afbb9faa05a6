import numpy as np
import pytest

from pyrosynth.data.splits import DB, alike, cluster, deal
from pyrosynth.errors import DataError


def features(n, seed=0, shape=(16, 21)):
    return np.random.default_rng(seed).normal(0, 1, (n, *shape)).astype(np.float32)


def by_hand(x, levels, threshold_db=1.0):
    """Join by brute force: repeat until no cluster changes."""
    n = len(x)
    labels = np.arange(n)
    while True:
        old = labels.copy()
        for i in range(n):
            for j in range(n):
                near = DB * np.abs(x[i] - x[j]).mean() < threshold_db
                if near or (levels[i] == levels[j]).all():
                    labels[[i, j]] = min(labels[i], labels[j])
        if (labels == old).all():
            return labels


def test_clusters_are_those_of_the_definition():
    rng = np.random.default_rng(1)
    x = features(60)
    levels = rng.integers(0, 100, (60, 4))
    for i in range(30, 60):  # near variants, chained variants and equal presets
        x[i] = x[rng.integers(i)] + rng.uniform(0, 0.5) * rng.standard_normal(x.shape[1:])
    levels[5] = levels[3]
    expected = by_hand(x, levels)
    found = cluster(x, levels)
    assert 10 < len(set(expected)) < 59
    assert (expected[:, None] == expected).tolist() == (found[:, None] == found).tolist()
    assert found[0] == 0
    assert [int(c) for c in np.unique(found)] == list(range(len(set(expected))))


def test_the_threshold_is_in_decibels():
    x = np.repeat(features(1), 3, axis=0)
    x[1] += 0.99 / DB
    x[2] -= 1.01 / DB
    assert cluster(x, np.arange(3)[:, None]).tolist() == [0, 0, 1]


def test_pairs_that_sound_alike_are_those_of_the_definition():
    rng = np.random.default_rng(3)
    others = features(25, 1)
    x = others[rng.integers(25, size=300)]
    x = x + rng.uniform(0, 0.6, (300, 1, 1)) * features(300, 2)
    difference = DB * np.abs(x[:, None] - others).mean(axis=(2, 3))
    expected = np.argwhere(difference < 1.0).T
    assert 50 < expected.shape[1] < 250
    assert alike(x, others).tolist() == expected.tolist()
    assert alike(x[:0], others).shape == alike(x, others[:0]).shape == (2, 0)


def test_no_cluster_is_split_and_shares_are_kept():
    rng = np.random.default_rng(2)
    clusters = np.sort(rng.integers(0, 700, 1000))
    _, clusters = np.unique(clusters, return_inverse=True)
    split = deal(clusters, seed=0)
    for label in np.unique(clusters):
        assert len(set(split[clusters == label])) == 1
    assert np.bincount(split, minlength=3) == pytest.approx([800, 100, 100], abs=10)
    assert deal(clusters, seed=0).tolist() == split.tolist()
    assert deal(clusters, seed=1).tolist() != split.tolist()


def test_a_chained_cluster_goes_to_train():
    clusters = np.concatenate([np.zeros(150, int), np.arange(1, 851)])
    for seed in range(20):
        split = deal(clusters, seed)
        assert (split[:150] == 0).all()
        assert np.bincount(split).tolist() == [800, 100, 100]


@pytest.mark.parametrize("n", [3, 4, 10, 25])
def test_small_sets_fill_every_split(n):
    for seed in range(10):
        assert set(deal(np.arange(n), seed)) == {0, 1, 2}


def test_too_few_sounds_are_refused():
    with pytest.raises(
        DataError, match="9 presets make 2 groups .*, 0 of them small, .*; render more"
    ):
        deal(np.array([0] * 5 + [1] * 4), seed=0)


def test_a_chain_of_sounds_is_one_cluster():
    x = 3 * np.kron(features(1500, shape=(8, 11)), np.ones((8, 8), np.float32))[:, :64, :87]
    x[:200] = x[:1] + 0.1 * features(200, shape=(64, 87))  # a chain
    labels = cluster(x, np.arange(1500)[:, None])
    assert labels.max() == 1300


@pytest.mark.parametrize("n", [1, 2])
def test_presets_too_few_for_any_split_are_told_as_that(n):
    with pytest.raises(DataError, match=rf"^{n} presets?, and the splits need at least 3 that"):
        deal(np.arange(n), seed=0)
