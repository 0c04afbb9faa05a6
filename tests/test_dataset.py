import json
import multiprocessing
import os
import pickle
import shutil
import signal
import time
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from plain import PLAIN, Plain
from small import small_dataset
from zarr.errors import ContainsGroupError

from pyrosynth import synths
from pyrosynth.audio.features import FeatureSpec
from pyrosynth.audio.note import Note
from pyrosynth.data.dataset import open_dataset, render_dataset
from pyrosynth.data.render import STD_FLOOR, split_human
from pyrosynth.data.splits import DB, SPLITS
from pyrosynth.data.store import METADATA, Store
from pyrosynth.errors import DataError, InputError, PyrosynthError
from pyrosynth.files import claim
from pyrosynth.synths.presets import Preset

NOTE = Note(hold_seconds=0.2, duration_seconds=0.3)


class Other(Plain):
    def identity(self):
        return "another"


def bank():
    """Sixty presets: forty of the synth's own, variants and copies of them, a silent one."""
    presets = synths.load_synth(PLAIN).presets()[:40]
    variants = [
        Preset(f"{preset.name} new", {**preset.values, "amp_release": 0.31 + 0.01 * i}, "mine")
        for i, preset in enumerate(presets[:18])
    ]
    silent = Preset("nothing", {"filter_cutoff": 16, "level": -24, "amp_attack": 1}, "mine")
    return [*presets, *variants, presets[0], silent]


def render(out, augmented=40, **changes):
    settings = {"params": "16", "presets": bank(), "note": NOTE, "seed": 5, "workers": 1}
    settings.update({"chunk_rows": 16, **changes})
    synth = settings.pop("synth", None) or synths.load_synth(PLAIN)
    return render_dataset(synth, out, augmented=augmented, **settings)


def files(path):
    """Return the bytes of every file; metadata parsed, since their keys have no order."""
    found = {}
    for file in sorted(path.rglob("*")):
        if file.is_file():
            data = file.read_bytes()
            found[str(file.relative_to(path))] = (
                json.loads(data) if file.name == "zarr.json" else data
            )
    return found


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("dataset") / "data"
    render(path)
    return path


@pytest.fixture
def data(path):
    return open_dataset(path)


def test_rows(data):
    human = np.flatnonzero(data.origin == "human")
    assert human.tolist() == list(range(59))  # one of the sixty is a copy
    assert len(data) == 99
    assert data.names([58, 0]) == ["nothing", "bass 1"]
    assert data.banks([58, 0, 98]) == ["mine", "drawn", ""]
    assert data.names([98]) == [f"{data.origin[98]} 98"]
    assert data.status[58] == "silent"
    assert data.split[58] == "none"
    everything = data.rows("all")
    assert 58 not in everything
    parts = [data.rows(split) for split in ("train", "valid", "test")]
    assert sorted(np.concatenate(parts)) == everything.tolist()
    assert all(len(part) >= 5 for part in parts)
    assert set(data.split[59:]) == {"train"}
    assert (data.rows(human_only=True) < 59).all()
    with pytest.raises(InputError, match="unknown split 'dev'; known: train"):
        data.rows("dev")


def test_near_duplicates_stay_together(data):
    rows = data.rows("all", human_only=True)
    x = data.x(rows)
    for i in range(len(rows)):
        near = DB * np.abs(x - x[i]).mean(axis=(1, 2)) < 0.99
        assert len(set(data.cluster[rows[near]])) == 1
        assert len(set(data.split[rows[near]])) == 1
    assert len(np.unique(data.cluster[rows])) < len(rows) - 5
    assert (data.cluster[59:] == -1).all()


def test_sounds_are_those_of_the_synth(data):
    synth = synths.load_synth(PLAIN)
    rows = np.array([70, 3, 41])
    audio = synth.render_batch(data.values(rows), NOTE, 22050)
    x = data.x(rows)
    assert x.dtype == np.float32
    assert DB * np.sqrt(((x - data.features(audio)) ** 2).mean(axis=(1, 2))).max() < 0.01
    assert data.x(rows, np.float16).dtype == np.float16
    for kind in (torch.float16, "flot", "str", int):
        with pytest.raises(InputError, match="dtype is .*; give 'float16', 'float32' or"):
            data.x(rows, kind)
    assert data.audio(rows[1:]).tobytes() == audio[1:].tobytes()
    with pytest.raises(InputError, match="keeps the sound of human presets only"):
        data.audio(rows)


def test_parameters_that_are_not_learnt_stay_at_default(data):
    rows = np.arange(len(data))
    assert len(data.space) == 16
    fixed = ~np.isin(data.full_space.names, data.space.names)
    assert (data.values(rows)[:, fixed] == data.full_space.defaults[fixed]).all()
    assert data.learnt(rows).shape == data.levels(rows).shape == (99, 16)
    assert (data.levels(rows) < data.space.resolution).all()
    assert np.unique(data.levels(rows), axis=0).shape[0] > 90


def test_derived_presets_come_from_training_presets_only(data):
    levels = data.levels(np.arange(99))
    crossed = np.flatnonzero(data.origin == "crossed")
    held_out = [*data.rows("valid"), *data.rows("test")]
    train = data.rows(human_only=True)
    for row in crossed:
        for column in range(16):
            assert levels[row, column] in levels[train, column]
        assert (levels[row] == levels[train]).sum(axis=1).max() >= 4
    assert len(crossed) > 8
    assert not np.isin(held_out, data.rows("train")).any()


def test_statistics_are_those_of_the_train_split(data):
    x = data.x(data.rows("train")).astype(np.float64)
    np.testing.assert_allclose(data.mean, x.mean(axis=0), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(data.std, np.maximum(x.std(axis=0), STD_FLOOR), rtol=1e-4)


def test_xarray_opens_it_with_names(data):
    array = data.xarray
    assert array.x.dims == ("preset", "mel", "frame")
    assert array.v.sel(param="osc_mix").shape == (99,)
    assert array.value.sel(full_param="drive").values.tolist() == [0.0] * 99
    np.testing.assert_allclose(array.v, data.space.encode(data.learnt(np.arange(99))), rtol=1e-6)
    assert array.x.where(array.split == "test", drop=True).sizes["preset"] == len(
        data.rows("test")
    )
    assert json.loads(array.attrs["splitting"])["largest_cluster"] >= 2
    assert array.attrs["pyrosynth"]
    assert json.loads(array.attrs["contract"])["synth"]["identity"] == (
        synths.load_synth(PLAIN).identity()
    )


def test_a_finished_dataset_is_returned_at_once(path):
    before = {file: file.stat().st_mtime_ns for file in path.rglob("*")}
    start = time.process_time()
    assert len(render(path)) == 99
    assert time.process_time() - start < 1
    assert {file: file.stat().st_mtime_ns for file in path.rglob("*")} == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"note": Note(60, 90, 0.2, 0.3)}, r"note\.velocity 100, not 90"),
        ({"seed": 6}, "seed 5, not 6"),
        ({"params": "32"}, r"learnt\.2"),
        ({"audio": "none"}, 'audio "human", not "none"'),
        ({"prior": "uniform"}, 'prior "broadened", not "uniform"'),
        ({"presets": bank()[:30]}, "other presets"),
        ({"augmented": 39}, "holds 40 augmented presets, more than the 39 asked for"),
        ({"synth": Other()}, r"synth\.identity"),
    ],
)
def test_other_settings_are_refused_by_field(path, changes, message):
    with pytest.raises(DataError, match=message):
        render(path, **changes)
    assert len(open_dataset(path)) == 99


def test_bad_arguments_are_refused(tmp_path):
    with pytest.raises(InputError, match="augmented -1"):
        render(tmp_path / "data", augmented=-1)
    with pytest.raises(InputError, match="unknown kind of audio to keep 'some'"):
        render(tmp_path / "data", audio="some")
    with pytest.raises(InputError, match="unknown training prior 'flat'; known: broadened, m"):
        render(tmp_path / "data", prior="flat")
    with pytest.raises(InputError, match="0 presets were given"):
        render(tmp_path / "data", presets=[])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    with pytest.raises(InputError, match=r"holds 'notes\.txt', which pyrosynth did not write"):
        render(tmp_path / "mine")
    for change in ({"augmented": 10**9}, {"chunk_rows": 0}, {"seed": -1}, {"seed": 2**63}):
        with pytest.raises(InputError, match=f"{next(iter(change))} .*give an integer"):
            render(tmp_path / "data", **change)
    assert not (tmp_path / "data").exists()


def test_the_prior_changes_the_derived_presets_alone(data, tmp_path):
    other = render(tmp_path / "data", prior="uniform")
    human = np.arange(59)
    assert other.values(human).tobytes() == data.values(human).tobytes()
    assert other.x(human).tobytes() == data.x(human).tobytes()
    assert other.split.tolist() == data.split.tolist()
    assert set(other.origin[59:]) == {"uniform"}
    filled = np.array([len(set(column)) for column in other.levels(np.arange(59, 99)).T])
    assert (filled[~other.space.discrete] > 25).all()  # of 40, however few presets use
    with pytest.raises(DataError, match='prior "uniform", not "broadened"'):
        render(tmp_path / "data", augmented=60)
    assert len(render(tmp_path / "data", augmented=60, prior="uniform")) == 119


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_killed_resumed_damaged_and_extended_it_ends_with_the_same_bytes(path, tmp_path):
    other = tmp_path / "data"

    def make():
        write = Store.write

        def killed(self, start, columns):
            if start == 32:
                del columns["status"]  # in the middle of a chunk
            write(self, start, columns)
            if start == 32:
                os.kill(os.getpid(), signal.SIGKILL)

        Store.write = killed
        render(other, augmented=20)

    process = multiprocessing.get_context("fork").Process(target=make)
    process.start()
    process.join(600)
    assert process.exitcode == -signal.SIGKILL
    (other / "x" / "c" / "2" / "0" / f"0.{'0123' * 8}.partial").touch()
    assert (32, 48) in Store(other).blocks(0, 79)
    with pytest.raises(DataError, match=r"incomplete \(\d+ of 79 sounds\); go on with `pyrosynth"):
        open_dataset(other)

    written = {file: file.stat().st_mtime_ns for file in other.glob("x/c/[01]/0/0")}
    assert len(render(other, augmented=20)) == 79
    assert {file: file.stat().st_mtime_ns for file in written} == written

    damaged = other / "x" / "c" / "1" / "0" / "0"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"x/c/1/0/0' is damaged.*status/c/1'"):
        open_dataset(other).x([3, 20])
    damaged.unlink()
    (other / "status" / "c" / "1").unlink()
    assert len(render(other)) == 99
    assert files(other) == files(path)


@pytest.mark.parametrize(
    "part", ["{", '{"zarr_format": 3, "node_type": "group", "attributes": {"format": 2}}']
)
def test_a_store_in_the_making_is_another_process(tmp_path, part):
    """Whoever comes while it is made sees any part of its metadata, which is no damage."""
    with claim(tmp_path / "data", "render", mark=METADATA) as folder:
        (folder / METADATA).write_text(part)
        with pytest.raises(PyrosynthError, match="another process is writing to"):
            render(folder, augmented=10)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_of_ten_processes_one_makes_the_dataset(tmp_path):
    context = multiprocessing.get_context("fork")  # what is imported stays imported
    together, said = context.Barrier(10), context.SimpleQueue()

    def make():
        together.wait()
        try:
            render(tmp_path / "data", augmented=10)
            said.put("won")
        except PyrosynthError as error:
            said.put(str(error))

    processes = [context.Process(target=make) for _ in range(10)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(600)
        assert process.exitcode == 0
    answers = [said.get() for _ in processes]
    assert "won" in answers
    lines = [answer for answer in answers if answer != "won"]
    assert all("another process is writing to" in line for line in lines), lines
    assert len(open_dataset(tmp_path / "data")) == 69


@dataclass(frozen=True)
class TooLoud(FeatureSpec):
    """Features that are not finite for two of the sounds."""

    def __call__(self, audio):
        x = super().__call__(audio)
        return np.where(np.abs(x.mean(axis=(1, 2), keepdims=True) * 1e4) % 10 < 1, np.nan, x)


def test_sounds_without_finite_features_cost_themselves_only(tmp_path):
    data = render(tmp_path / "data", features=TooLoud())
    bad = data.status == "not finite"
    assert 0 < bad.sum() < 40
    assert np.isfinite(data.x(np.arange(len(data)))).all()
    assert len(render(tmp_path / "data", features=TooLoud())) == len(data)


def test_scalars_of_numpy(data, tmp_path):
    again = render(
        tmp_path / "data", np.int64(40), seed=np.uint8(5), chunk_rows=np.int32(16),
        note=Note(np.int16(60), 100, np.float64(0.2), 0.3),
    )  # fmt: skip
    assert again.contract == data.contract


def test_it_stays_the_same_place_in_another_working_folder(path, data, tmp_path, monkeypatch):
    monkeypatch.chdir(path.parent)
    opened = open_dataset(path.name)
    (tmp_path / path.name).mkdir()
    shutil.copytree(path / "name", tmp_path / path.name / "name")  # another dataset, damaged
    monkeypatch.chdir(tmp_path)
    for one in (opened, pickle.loads(pickle.dumps(opened))):
        np.testing.assert_array_equal(one.x([3, 0]), data.x([3, 0]))
        assert one.names([3]) == data.names([3])
        assert one.xarray["x"].shape[0] == len(one)


def test_it_shows_itself(data):
    assert repr(data).startswith("Dataset('")
    assert "99 presets of plain, 59 human" in repr(data)
    assert len(repr(data)) < 300
    shown = data._repr_html_()
    assert shown.count("<audio") == 4
    assert "<img" in shown


def test_augmented_presets_that_sound_like_held_out_ones_are_dropped(path, data, tmp_path):
    assert data.leaks == {"threshold_db": 1.0, "of": 99, "dropped": 0, "valid": 0, "test": 0}
    store = Store(shutil.copytree(path, tmp_path / "data"), write=True)
    train, valid, test = (data.rows(split, human_only=True)[0] for split in SPLITS)
    offsets = np.reshape([0.9, -0.9, 0, 0, 1.2], (5, 1, 1)) / DB
    copies = data.x([test, valid, test, train, test]) + offsets
    store.write(60, {"x": copies})
    near = {
        split: np.array([np.abs(copies - x).mean(axis=(1, 2)) < 1 / DB for x in data.x(rows)])
        for split, rows in ((split, data.rows(split)) for split in SPLITS[1:])
    }
    del store.group.attrs["leaks"]  # as in a dataset of a version that did not look
    assert open_dataset(tmp_path / "data").leaks is None

    mended = render(tmp_path / "data")
    assert mended.split[59:].tolist() == ["train", "none", "none", "none"] + ["train"] * 36
    met = {split: int(pairs.any(axis=1).sum()) for split, pairs in near.items()}
    assert min(met.values()) >= 1
    assert mended.leaks == {"threshold_db": 1.0, "of": 99, "dropped": 3, **met}
    assert np.setdiff1d(data.rows(), mended.rows()).tolist() == [60, 61, 62]
    test_statistics_are_those_of_the_train_split(mended)

    written = files(tmp_path / "data")
    render(tmp_path / "data")
    assert files(tmp_path / "data") == written
    Store(tmp_path / "data", write=True).set_attribute("statistics_of", None)  # killed on the way
    with pytest.raises(DataError, match="incomplete"):
        open_dataset(tmp_path / "data")
    render(tmp_path / "data")
    assert files(tmp_path / "data") == written


def test_an_incomplete_dataset_says_whether_another_process_is_at_it(path, tmp_path):
    copied = tmp_path / "data"
    store = Store(shutil.copytree(path, copied), write=True)
    store.set_attribute("augmented", 1241)
    store.resize(1300)
    store.write(0, {"status": np.full(1300, "ok")})
    with pytest.raises(
        DataError, match=r"\(1,300 of 1,300 sounds\); go on with `pyrosynth render"
    ):
        open_dataset(copied)
    with claim(copied, "render", METADATA):
        message = (
            r"\(1,300 of 1,300 sounds\); another process is rendering it, wait until it ends$"
        )
        with pytest.raises(DataError, match=message):
            open_dataset(copied)


def test_nothing_but_silence_is_refused(path, tmp_path):
    store = Store(shutil.copytree(path, tmp_path / "data"), write=True)
    store.write(0, {"status": np.full(59, "silent")})
    with pytest.raises(DataError, match=r"of 59 human presets none gave a sound \(.*'silent'"):
        split_human(store, np.zeros((59, 16), np.int64), seed=0)


def test_two_that_make_one_dataset_in_an_object_store_are_told(tmp_path, monkeypatch):
    """It has no locks, and tells that somebody else was first by errors of zarr."""

    def taken(*_, **__):
        raise ContainsGroupError("data")

    monkeypatch.setattr("pyrosynth.data.store.zarr.create_group", taken)
    with pytest.raises(DataError, match="another process is making a dataset at .* wait until"):
        render_dataset(synths.load_synth(PLAIN), tmp_path / "data", augmented=0, workers=1)


def test_half_written_files_of_others_stay(tmp_path):
    data = small_dataset(tmp_path).path
    ours = data / "x" / f"0.{'ab' * 16}.partial"
    theirs = [data / "take1.wav.7f3ab2c1.partial", data / "x" / "big.partial"]
    for file in (ours, *theirs):
        file.write_bytes(b"half")
    (data / "sync.partial").mkdir()
    Store(data, write=True).clean()
    assert not ours.exists()
    assert all(file.read_bytes() == b"half" for file in theirs)
    assert (data / "sync.partial").is_dir()


def test_a_dataset_is_saved_by_xarray(tmp_path):
    import xarray

    data = small_dataset(tmp_path)
    data.xarray.to_netcdf(tmp_path / "copy.nc", engine="h5netcdf")
    with xarray.open_dataset(tmp_path / "copy.nc", engine="h5netcdf") as copy:
        np.testing.assert_array_equal(copy["x"].values, data.xarray["x"].values)
        assert json.loads(copy.attrs["contract"]) == json.loads(json.dumps(data.contract))
