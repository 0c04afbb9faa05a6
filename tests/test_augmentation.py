import hashlib

import numpy as np
import pytest

from pyrosynth.data.augmentation import (
    BLOCK,
    MOST_CHANGES,
    PRIORS,
    augment,
    parameter_groups,
)
from pyrosynth.errors import InputError
from pyrosynth.synths.params import Param, ParamSpace

SPACE = ParamSpace(
    (
        *(Param(f"knob{i}", minimum=-1.0, maximum=3.0) for i in range(20)),
        Param("octave", "stepped", -2, 2, 0, 5),
        Param("wave", "categorical", 0, 4, 0, 5),
        Param("sync", "toggle", 0, 1, 0, 2),
        Param("still", default=0.25),
    )
)


@pytest.fixture
def train():
    values = SPACE.from_unit(np.random.default_rng(0).random((300, len(SPACE))))
    values[:, SPACE.index(["still"])] = 0.25
    return values


@pytest.mark.parametrize("prior", PRIORS)
def test_any_pieces_give_the_same_rows(train, prior):
    whole, kinds = augment(train, SPACE, 1500, seed=1, prior=prior)
    edges = [0, 1, 2, BLOCK, BLOCK + 7, 1000, 1500]
    pieces = [
        augment(train, SPACE, b - a, seed=1, start=a, prior=prior)
        for a, b in zip(edges[:-1], edges[1:], strict=True)
    ]
    assert np.concatenate([v for v, _ in pieces]).tobytes() == whole.tobytes()
    assert np.concatenate([k for _, k in pieces]).tolist() == kinds.tolist()
    assert not np.array_equal(augment(train, SPACE, 10, seed=2, prior=prior)[0], whole[:10])
    assert augment(train, SPACE, 0, seed=1, prior=prior)[0].shape == (0, len(SPACE))


def test_kinds_come_in_their_shares(train):
    _, kinds = augment(train, SPACE, 20000, seed=0)
    for kind, share in {"perturbed": 0.4, "crossed": 0.4, "marginal": 0.2}.items():
        assert np.mean(kinds == kind) == pytest.approx(share, abs=0.015)


def test_every_row_is_made_from_training_presets(train):
    values, kinds = augment(train, SPACE, 2000, seed=0)
    known = [set(column.tolist()) for column in train.T]

    changes = []
    for row in values[kinds == "perturbed"]:
        changes.append((row != train).sum(axis=1).min())
    assert max(changes) == MOST_CHANGES
    assert np.mean(changes) == pytest.approx(4.2, abs=0.5)  # a redraw may draw the same value

    for row in values[kinds == "crossed"][:200]:
        same = row == train
        best = np.argmax(same.sum(axis=1))
        assert (same[best] | same).all(axis=1).any()

    for row in values[kinds == "marginal"]:
        assert all(value in column for value, column in zip(row.tolist(), known, strict=True))


def test_rows_are_legal_settings(train):
    values, _ = augment(train, SPACE, 3000, seed=0)
    np.testing.assert_allclose(SPACE.from_unit(SPACE.to_unit(values)), values, atol=1e-12)
    assert (values >= SPACE.minimum).all()
    assert (values <= SPACE.maximum).all()


def test_uniform_presets_know_nothing_of_the_training_presets(train):
    n = 20000
    values, kinds = augment(train[:1], SPACE, n, seed=3, prior="uniform")
    assert values.shape == (n, len(SPACE))
    assert set(kinds) == {"uniform"}
    assert augment(train, SPACE, n, seed=3, prior="uniform")[0].tobytes() == values.tobytes()
    np.testing.assert_array_equal(SPACE.from_unit(SPACE.to_unit(values)), values)
    for column, param in zip(values.T, SPACE.params, strict=True):
        if param.kind == "continuous":
            counts, _ = np.histogram(column, 10, (param.minimum, param.maximum))
        else:
            counts = np.unique(column, return_counts=True)[1]
            assert len(counts) == param.resolution
        # five standard deviations of a count: the outer settings are as frequent as the others
        share = 1 / len(counts)
        assert np.abs(counts / n - share).max() < 5 * np.sqrt(share * (1 - share) / n)
    correlation = np.corrcoef(values.T)
    assert np.abs(correlation - np.eye(len(SPACE))).max() < 0.05
    with pytest.raises(InputError, match="unknown training prior 'flat'; known: broadened"):
        augment(train, SPACE, 5, seed=0, prior="flat")


@pytest.mark.parametrize("prior", PRIORS)
def test_one_preset_is_enough_and_none_is_not(train, prior):
    values, _ = augment(train[:1], SPACE, 50, seed=0, prior=prior)
    assert len(np.unique(values, axis=0)) > 10
    with pytest.raises(InputError, match="no training presets"):
        augment(train[:0], SPACE, 5, seed=0, prior=prior)


def test_existing_datasets_keep_their_bytes(train):
    digest = hashlib.sha256(augment(train, SPACE, 1000, seed=1)[0].tobytes())
    assert digest.hexdigest()[:16] == "68b018729af66e6f"


def test_the_mixture_keeps_groups_together(train):
    params = [Param(f"{part} {i}", group=part) for part in "abcd" for i in range(5)]
    params += [Param("Filter cutoff"), Param("Filter drive"), Param("volume")]
    space = ParamSpace((*params, Param("wave", "categorical", 0, 2, 0, 3)))
    groups = parameter_groups(space)
    assert [len(set(groups[i : i + 5])) for i in (0, 5, 10, 15)] == [1] * 4
    assert groups[20] == groups[21] != groups[22]
    assert len(set(groups)) == 7
    known = np.random.default_rng(0).random((40, len(space)))
    known[:, -1] = np.arange(40) % 3
    values, kinds = augment(known, space, 4000, seed=0, prior="mixture")
    shares = {"perturbed": 0.4, "interpolated": 0.15, "crossed": 0.15, "marginal": 0.2}
    for kind, share in {**shares, "uniform": 0.1}.items():
        assert np.mean(kinds == kind) == pytest.approx(share, abs=0.03)
    for row in values[kinds == "crossed"]:
        same = np.isclose(row, known)
        whole = [same[:, groups == group].all(axis=1).any() for group in set(groups)]
        assert all(whole)
    for row in values[kinds == "interpolated"][:50]:
        assert row[-1] in (0, 1, 2)
        assert (row >= known.min(axis=0) - 1e-9).all()
        assert (row <= known.max(axis=0) + 1e-9).all()
    changes = [(~np.isclose(row, known)).sum(axis=1).min() for row in values[kinds == "perturbed"]]
    assert 0 < max(changes) <= 8
