"""Sounds that do not fit in memory: read during a fit, shuffled, the same when it is resumed."""

import shutil

import numpy as np
import pytest
import test_svi
import torch
from small import small_dataset
from test_svi import QUICK, same_weights
from toys import SMALL

from pyrosynth.data.bank import Bank
from pyrosynth.data.dataset import open_dataset
from pyrosynth.data.labeling import default_tags
from pyrosynth.data.store import VARIABLES, Store
from pyrosynth.errors import DataError, InputError, RunError
from pyrosynth.training.batches import TrainData
from pyrosynth.training.fit import fit
from pyrosynth.training.memory import free_memory, memory_text, parse_memory
from pyrosynth.training.stream import StreamedData, buffer_size, least_buffer, memory_of

interrupt = test_svi.interrupt  # the fixture
CPU = torch.device("cpu")
BUFFER = 8  # chunks


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The small dataset in chunks of four presets, so that it has many."""
    place = tmp_path_factory.mktemp("chunks")
    old = small_dataset(place)._store
    attributes = {k: v for k, v in old.group.attrs.items() if k not in ("contract", "chunk_rows")}
    dims = {dim for variable in VARIABLES.values() for dim in variable.dims} - {"preset"}
    sizes = {"preset": old.n_rows} | {dim: old.sizes(dim)[0] for dim in dims}
    new = Store.create(place / "chunked", old.contract, sizes, 4, attributes)
    for name, array in old.arrays.items():
        new.arrays[name][...] = array[...]
    return new.path


@pytest.fixture
def data(folder):
    dataset = open_dataset(folder)
    return StreamedData(dataset, default_tags(dataset, progress=False), BUFFER)


def memory_for(dataset, tags, n_chunks):
    """Return the memory that two buffers take."""
    return memory_of(dataset, tags, 2 * n_chunks * dataset.chunk_rows)


def test_an_epoch_is_all_rows_once_chunks_and_rows_shuffled(data):
    dataset, tags, size = data.dataset, data.tags, 10
    train = TrainData.from_dataset(dataset, tags)
    rows = dataset.rows("train")
    assert data.n_train == len(rows)
    assert data.n_buffers >= 2
    seen = []
    with data.batches(CPU, size, seed=3) as batches:
        assert batches.per_epoch == data.n_train // size
        held = batches.data
        assert torch.equal(held.x[held.valid], train.x[train.valid])
        assert held.dims == train.dims
        for step in range(2 * batches.per_epoch):
            places = batches(step)
            # Which row of the dataset lies there is told by its sound and levels.
            same = (held.x[places][:, None] == train.x[None]).flatten(2).all(-1)
            same &= (held.levels[places][:, None] == train.levels[None]).all(-1)
            same &= (held.label_mask[places][:, None] == train.label_mask[None]).flatten(2).all(-1)
            assert same.any(1).all()
            seen.append(same.float().argmax(1))
    first, second = torch.cat(seen).chunk(2)
    for epoch in (first, second):
        assert len(epoch.unique()) >= len(epoch) - 2  # two sounds may be alike
    assert not torch.equal(first, second)
    # The first batches mix the chunks of one buffer.
    chunks = torch.from_numpy(rows)[first[:20]] // dataset.chunk_rows
    assert 4 < len(chunks.unique()) <= BUFFER
    assert (chunks.diff() != 0).sum() > 10


def test_the_rows_of_a_step_do_not_depend_on_where_a_fit_began(data):
    with data.batches(CPU, 16, seed=1) as batches:
        whole = [batches.data.x[batches(step)].clone() for step in range(12)]
    for first in (1, 5, 11):
        with data.batches(CPU, 16, seed=1) as batches:
            for step in range(first, 12):
                assert torch.equal(batches.data.x[batches(step)], whole[step])
    with data.batches(CPU, 16, seed=2) as batches:
        assert not torch.equal(batches.data.x[batches(0)], whole[0])


@pytest.mark.gpu
def test_a_gpu_gets_the_same_rows(data, device, monkeypatch):
    """Also where all room for what is on its way is taken."""
    monkeypatch.setattr("pyrosynth.training.stream.STAGED", 3)
    with (
        data.batches(CPU, 16, seed=1) as batches,
        data.batches(torch.device(device), 16, seed=1) as there,
    ):
        for step in range(3 * batches.per_epoch):
            rows, same = batches(step), there(step)
            assert torch.equal(same.cpu(), rows)
            for name in ("x", "levels", "label_mask"):
                moved = getattr(there.data, name)[same].cpu()
                assert torch.equal(moved, getattr(batches.data, name)[rows])


def test_resuming_is_bit_identical(folder, tmp_path, interrupt):
    dataset = open_dataset(folder)
    settings = {
        "options": SMALL["flow_audio"], "steps": 14, **QUICK, "batch_size": 8,
    }  # fmt: skip
    tags = default_tags(dataset, progress=False)
    settings["memory"] = memory_for(dataset, tags, BUFFER)
    whole = fit("flow_audio", dataset, tmp_path / "whole", tags=tags, **settings)
    interrupt(7)
    with pytest.raises(KeyboardInterrupt):
        fit("flow_audio", dataset, tmp_path / "run", tags=tags, **settings)
    interrupt(0)
    # Without --memory a stopped fit goes on as it began, whatever is free by now.
    again = fit("flow_audio", dataset, tmp_path / "run", tags=tags, **settings | {"memory": None})
    assert same_weights(again.variant, whole.variant)
    assert again.training.rows == whole.training.rows
    assert len(Bank.load(tmp_path / "run" / "bank.safetensors")) > 0
    held = TrainData.from_dataset(dataset, tags)
    principal = whole.variant.coordinates.points((held.x.float() - held.mean) / held.std)
    spread = principal[held.train] @ whole.variant.coordinates.components.T
    assert spread.std(0)[0] > 2 * principal.std()  # an axis of the sounds, not a random one


def test_buffers_are_as_large_as_memory_allows_and_a_stopped_fit_keeps_them(
    folder,
    tmp_path,
    interrupt,
    capfd,
):
    dataset = open_dataset(folder)
    whole = memory_of(dataset, None, len(dataset.rows("train")))
    assert buffer_size(dataset, None, whole) is None
    assert buffer_size(dataset, None) is None
    assert buffer_size(dataset, None, whole - 1) >= BUFFER
    assert buffer_size(dataset, None, memory_for(dataset, None, 9)) == 9
    assert buffer_size(dataset, None, memory_for(dataset, None, 9) - 1) == 8

    settings = {"options": SMALL["mlp"], "steps": 6, **QUICK, "batch_size": 8, "progress": True}
    interrupt(2)
    with pytest.raises(KeyboardInterrupt):
        fit("mlp", dataset, tmp_path / "run", memory=memory_for(dataset, None, 9), **settings)
    interrupt(0)
    assert "read during the fit:" in capfd.readouterr().err
    with pytest.raises(RunError, match="fitted with buffer_chunks 9, not 8"):
        fit("mlp", dataset, tmp_path / "run", memory=memory_for(dataset, None, 8), **settings)
    fit("mlp", dataset, tmp_path / "run", memory=memory_for(dataset, None, 9), **settings)
    fit("mlp", dataset, tmp_path / "other", **settings)
    assert "held in memory:" in capfd.readouterr().err


def test_too_little_memory_names_the_least_that_works(folder, tmp_path):
    dataset = open_dataset(folder)
    settings = {"options": SMALL["mlp"], "steps": 2, **QUICK}
    for batch_size in (8, 20, 60):
        settings["batch_size"] = batch_size
        with pytest.raises(InputError, match="give --memory") as raised:
            fit("mlp", dataset, memory="1KB", **settings)
        least = str(raised.value).rpartition("--memory ")[2].split()[0]
        fit("mlp", dataset, memory=least, **settings)
        with pytest.raises(InputError, match="at least"):
            fit("mlp", dataset, memory=int(0.9 * parse_memory(least)), **settings)


def test_a_buffer_is_never_smaller_than_a_batch():
    assert least_buffer([4] * 100, 8) == 8
    assert least_buffer([4] * 100, 40) == 10
    assert least_buffer([1] * 20 + [4] * 80, 40) > 20
    assert least_buffer([4] * 100, 400) == 100
    assert least_buffer([4] * 3, 8) == 3


def test_a_damaged_chunk_ends_a_fit_with_one_line(folder, tmp_path):
    path = shutil.copytree(folder, tmp_path / "data")
    dataset = open_dataset(path)
    settings = {"memory": memory_for(dataset, None, BUFFER), **QUICK, "batch_size": 8}
    for file in (path / "x").rglob("0"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(DataError, match="is damaged"):
        fit("mlp", dataset, options=SMALL["mlp"], steps=3, **settings)


def test_memory_is_written_as_people_do():
    for text, n in {
        "2GB": 2e9,
        "1.5 MiB": 1.5 * 2**20,
        "500m": 5e8,
        "12B": 12,
        "3kb": 3e3,
    }.items():
        assert parse_memory(text) == n
    for n in (1, 999, 1000, 123_456, 22_600_123_456, 10**12 + 1):
        assert n <= parse_memory(memory_text(n)) <= 1.001 * n
    for wrong in ("much", "", "2", "-1GB", "0", 0, "2 G B", "1e9", "99999999TB", None, True):
        with pytest.raises(InputError, match="give a size with its unit, such as 2GB"):
            parse_memory(wrong)
    assert 0 < free_memory(CPU) < 2**50


def test_a_bank_of_few_presets_has_human_ones_first(folder):
    dataset = open_dataset(folder)
    human = len(dataset.rows("train", human_only=True))
    bank = Bank.from_dataset(dataset, most=human + 10)
    assert bank.human[:human].all()
    assert len(bank) == human + 10 == len(np.unique(bank.rows))
    assert len(Bank.from_dataset(dataset, most=5)) == 5
