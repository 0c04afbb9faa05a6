import copy
import dataclasses

import numpy as np
import pytest
from plain import PLAIN

from pyrosynth import synths
from pyrosynth.audio.metrics import log_distance
from pyrosynth.audio.note import Note
from pyrosynth.data.augmentation import PRIORS, augment
from pyrosynth.data.bank import Bank, principal_axes
from pyrosynth.data.dataset import render_dataset
from pyrosynth.errors import InputError, RunError


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return render_dataset(
        synths.load_synth(PLAIN),
        tmp_path_factory.mktemp("retrieval") / "data",
        presets=synths.load_synth(PLAIN).presets()[:200],
        augmented=400,
        note=Note(hold_seconds=0.3, duration_seconds=0.5),
        audio="none",
        workers=1,
    )


@pytest.fixture(scope="module")
def bank(data):
    return Bank.from_dataset(data, dims=96)


@pytest.fixture(scope="module")
def held_out(data):
    return data.x([*data.rows("valid"), *data.rows("test")])


def test_nearest_is_that_of_an_exact_search_within_two_percent(data, bank, held_out):
    x = data.x(bank.rows)
    found, lsd = bank.nearest(held_out, k=5)
    exact = np.stack([log_distance(sound, x) for sound in held_out])
    chosen = np.take_along_axis(exact, found, axis=1)
    assert chosen[:, 0].mean() <= 1.02 * exact.min(axis=1).mean()
    assert lsd[:, 0].mean() == pytest.approx(chosen[:, 0].mean(), rel=0.1)
    assert (np.diff(lsd, axis=1) >= 0).all()
    assert all(len(set(row)) == 5 for row in found.tolist())


def test_neighbours_of_a_preset_are_those_of_its_sound(data):
    bank = Bank.from_dataset(data, dims=8)  # which miss much
    own = data.x(bank.rows[[3]])
    found, lsd = bank.neighbors(3, 6)
    assert 3 not in found
    assert len(found) == len(lsd) == 6
    others = bank.nearest(own, 7)[0][0]
    np.testing.assert_array_equal(found, others[others != 3][:6])
    exact = log_distance(own, data.x(bank.rows[found]))
    assert lsd.mean() == pytest.approx(exact.mean(), rel=0.1)
    np.testing.assert_array_less(0.95 * exact, lsd)
    with pytest.raises(InputError, match="an integer from 1 to 559"):
        bank.neighbors(0, len(bank))
    with pytest.raises(InputError, match="positions"):
        bank.neighbors(len(bank), 1)


def test_with_all_axes_the_distance_is_exact(data, held_out):
    bank = Bank.from_dataset(data, augmented=False, dims=10_000)
    found, lsd = bank.nearest(held_out, k=len(bank))
    exact = log_distance(held_out[:, None], data.x(bank.rows)[found[0]][None])
    assert sorted(found[0].tolist()) == list(range(len(bank)))
    missed = 4.35 * bank.missed.max() / np.sqrt(bank.mean.size)
    np.testing.assert_allclose(lsd[0], exact[0], atol=0.05 + 3 * missed)


def test_the_bank_holds_the_training_presets(data, bank):
    assert bank.rows.tolist() == data.rows("train").tolist()
    np.testing.assert_array_equal(bank.values, data.values(bank.rows))
    assert list(bank.names) == data.names(bank.rows)
    human = Bank.from_dataset(data, augmented=False, dims=16)
    assert human.rows.tolist() == data.rows("train", human_only=True).tolist()
    assert human.axes.shape == (16, human.mean.size)


def test_a_sound_of_the_bank_is_found(data, bank):
    positions = np.array([100, 7, 300])
    found, _ = bank.nearest(data.x(bank.rows[positions]))
    x = data.x(bank.rows[found[:, 0]])
    assert log_distance(x, data.x(bank.rows[positions])).max() < 0.5


def test_saved_and_loaded_it_finds_the_same(bank, held_out, tmp_path):
    bank.save(tmp_path / "bank.safetensors")
    again = Bank.load(tmp_path / "bank.safetensors")
    assert again.names == bank.names
    np.testing.assert_array_equal(again.values, bank.values)
    found, lsd = bank.nearest(held_out)
    found_again, lsd_again = again.nearest(held_out)
    np.testing.assert_allclose(lsd_again, lsd, atol=0.02)
    assert (found == found_again).mean() > 0.9
    assert [file.name for file in tmp_path.iterdir()] == ["bank.safetensors"]
    with pytest.raises(InputError, match="is a file, where a folder is wanted"):
        bank.save(tmp_path / "bank.safetensors" / "bank")


def test_a_missing_or_damaged_file_is_refused(bank, tmp_path):
    file = tmp_path / "bank.safetensors"
    with pytest.raises(RunError, match="cannot read the bank"):
        Bank.load(file)
    bank.save(file)
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(RunError, match="cannot read the bank"):
        Bank.load(file)
    for change in (
        {"codes": bank.codes[1:]}, {"axes": bank.axes[:, 1:]}, {"names": bank.names[1:]},
        {"mean": bank.mean.ravel()}, {"values": bank.values[:, :, None]},
    ):  # fmt: skip
        with pytest.raises(InputError, match="of a bank|for a bank"):
            dataclasses.replace(bank, **change)
        damaged = copy.copy(bank)
        vars(damaged).update(change)
        damaged.save(file)
        with pytest.raises(RunError, match="cannot read the bank"):
            Bank.load(file)


def test_it_shows_itself_briefly(bank):
    assert (
        repr(bank)
        == f"Bank({len(bank)} presets, {bank.human.sum()} of them human, 96 principal axes)"
    )
    assert "<img" in bank._repr_html_()


def test_augmented_presets_of_every_prior_are_not_human(bank):
    """Interpolated ones, which only the mixture makes, were taken for people's own."""
    space = synths.load_synth(PLAIN).param_space
    made = [augment(bank.values[:20], space, 200, 0, prior=prior)[1] for prior in PRIORS]
    names = [f"{kind} {row}" for kind, row in zip(np.unique(made), bank.rows, strict=False)]
    mixed = dataclasses.replace(bank, names=(*names, *bank.names[len(names) :]))
    assert len(names) == 5
    assert not mixed.human[:5].any()


def test_other_features_are_refused(bank, held_out):
    with pytest.raises(InputError, match="takes"):
        bank.nearest(held_out[:, :, 1:])
    with pytest.raises(InputError, match="k 9999: give an integer from 1 to"):
        bank.nearest(held_out, k=9999)


def test_principal_axes_are_those_of_a_full_decomposition():
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((300, 80)) * 0.8 ** np.arange(80)).astype(np.float32)
    x = x @ np.linalg.qr(rng.standard_normal((80, 80)))[0].astype(np.float32)
    axes = principal_axes(x, 10, rng)
    _, _, full = np.linalg.svd(x, full_matrices=False)
    np.testing.assert_allclose(axes @ axes.T, np.eye(10), atol=1e-5)
    np.testing.assert_allclose(np.abs((axes * full[:10]).sum(axis=1)), 1, atol=1e-3)
