import errno
import json
import random
import re
import resource
import shutil
import time

import numpy as np
import pytest
import zarr
from rights import python_without_rights

from pyrosynth.data.store import METADATA, PENDING, VARIABLES, Store
from pyrosynth.errors import DataError
from pyrosynth.files import claim

SIZES = {"preset": 23, "full_param": 3, "param": 2, "mel": 4, "frame": 5, "sample": 100}
CONTRACT = {"note": {"pitch": 60, "velocity": 100}, "learnt": ["a", "b"]}
FACTS = {"n_human": 23, "augmented": 0}


def rows(start, stop, seed=0):
    rng = np.random.default_rng([seed, start])
    n = stop - start
    return {
        "status": np.full(n, "ok"),
        "value": rng.random((n, 3)),
        "v": rng.random((n, 2)),
        "x": rng.normal(-3, 2, (n, 4, 5)),
        "name": np.array([f"Préset {i}" for i in range(start, stop)]),
        "bank": np.full(n, "bank one"),
        "origin": np.full(n, "human"),
        "cluster": np.arange(start, stop),
        "split": np.full(n, "train"),
    }


@pytest.fixture
def store(tmp_path):
    return Store.create(tmp_path / "data", CONTRACT, SIZES, 8, FACTS)


@pytest.fixture
def full(store):
    for start in range(0, 23, 8):
        store.write(start, rows(start, min(start + 8, 23)))
    return store


def test_a_dataset_is_made_where_there_are_no_hard_links(tmp_path, monkeypatch):
    """As on a stick with exFAT."""

    def refused(*_, **__):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr("os.link", refused)
    store = Store.create(tmp_path / "data", CONTRACT, SIZES, 8, FACTS)
    store.write(0, rows(0, 8))
    assert Store(tmp_path / "data").read("status")[:8].tolist() == ["ok"] * 8


def test_a_store_that_was_moved_is_not_begun_anew_in_its_old_place(store, tmp_path):
    store.write(0, rows(0, 8))
    store.path.rename(tmp_path / "moved")
    for change in (lambda: store.write(8, rows(8, 16)), lambda: store.set_attribute("a", 1)):
        with pytest.raises(DataError, match="data' was moved or removed meanwhile; give"):
            change()
    assert not store.path.exists()
    moved = Store(tmp_path / "moved", write=True)
    moved.write(8, rows(8, 16))
    assert moved.read("status")[:16].tolist() == ["ok"] * 16


def test_what_is_written_is_read(full):
    again = Store(full.path)
    assert again.n_rows == 23
    assert again.read("status").tolist() == ["ok"] * 23
    assert again.read("name")[22] == "Préset 22"
    order = np.array([20, 3, 3, 9, 0])
    expected = np.concatenate([rows(a, b)["x"] for a, b in ((0, 8), (8, 16), (16, 23))])
    out = np.empty((5, 4, 5), np.float32)
    assert again.read("x", order, out) is out
    np.testing.assert_allclose(out, expected[order], atol=0.004)
    assert again.read("x", np.array([], int)).shape == (0, 4, 5)


def test_blocks_are_the_chunks_with_pending_rows(store):
    assert store.blocks(0, 23) == [(0, 8), (8, 16), (16, 23)]
    store.write(8, rows(8, 16))
    assert store.blocks(0, 23) == [(0, 8), (16, 23)]
    assert store.blocks(0, 5) == [(0, 5)]
    assert store.blocks(5, 23) == [(5, 8), (16, 23)]
    assert store.blocks(8, 16) == []
    assert store.blocks(23, 23) == []
    store.write(16, {name: column for name, column in rows(16, 23).items() if name != "status"})
    assert (store.read("status")[16:] == PENDING).all()


def test_a_killed_creation_is_begun_again(store, tmp_path):
    assert Store.exists(store.path)
    assert not Store.exists(tmp_path / "none")
    for kept in (1, 5):  # array, and what was written of the group first
        path = tmp_path / f"killed{kept}"
        shutil.copytree(store.path, path)
        for name in list(VARIABLES)[kept:]:
            shutil.rmtree(path / name)
        (path / "zarr.json").write_text(
            '{"zarr_format": 3, "node_type": "group", "attributes": {"pyrosynth": "0"}}'
        )
        (path / "notes.txt").write_text("mine")
        assert not Store.exists(path)
        with claim(path, "render", mark=METADATA):
            assert Store.create(path, CONTRACT, SIZES, 8, FACTS).n_rows == 23
        assert (path / "notes.txt").read_text() == "mine"


def test_another_format_says_what_to_do(store):
    for held, advice in ((None, "render it"), (1, "render it"), (3, "update"), ("2", "render it")):
        store.group.attrs.update({"format": held})
        with pytest.raises(DataError, match=f"of format {held!r}, .* reads format 2; {advice}"):
            Store(store.path)
    attributes = {key: value for key, value in store.group.attrs.items() if key != "format"}
    store.group.attrs.put(attributes)
    with pytest.raises(DataError, match="format 1"):
        Store(store.path)


def mutants(value, rng):
    """Yield JSON like some other JSON, but for one value, shape, length or nesting."""
    strange = [None, -1, 0, 10**9, 10**12, 2**70, 0.5, "x", [], {}, True, [10**12], "[" * 9]
    if isinstance(value, dict):
        for key in value:
            yield {k: v for k, v in value.items() if k != key}
            yield from ({**value, key: other} for other in mutants(value[key], rng))
    elif isinstance(value, list):
        yield value[1:]
        for i in range(len(value)):
            yield from ([*value[:i], other, *value[i + 1 :]] for other in mutants(value[i], rng))
    yield from rng.sample(strange, 3)


def test_damaged_metadata_are_one_line_in_no_time(full):
    """Whatever JSON is there, the answer is right or one error, without gigabytes or minutes."""
    rng = random.Random(0)
    expected = full.read("x").tobytes()
    for file in ("zarr.json", "x/zarr.json", "status/zarr.json"):
        text = (full.path / file).read_text()
        texts = [json.dumps(m) for m in mutants(json.loads(text), rng)]
        texts = [*rng.sample(texts, 60), "", "[", "[" * 100_000, "\0", "null", '"x"']
        for mutant in texts:
            (full.path / file).write_text(mutant)
            start = time.process_time()
            try:
                store = Store(full.path)
                store.is_complete(23)
                assert store.read("x").tobytes() == expected, mutant
            except DataError as error:
                assert len(str(error)) <= 300  # noqa: PT017
            assert time.process_time() - start < 1, mutant
        (full.path / file).write_text(text)
    assert Store(full.path).read("x").tobytes() == expected


def test_growing_keeps_rows_and_may_be_killed(full):
    before = full.read("value")
    full.arrays["x"].resize((40, 4, 5))  # as if killed after the first array
    full.resize(40)
    assert full.n_rows == 40
    assert full.blocks(0, 40) == [(16, 24), (24, 32), (32, 40)]
    assert full.read("value", np.arange(23)).tobytes() == before.tobytes()
    full.write(23, rows(23, 24))
    assert full.read("value", np.arange(23)).tobytes() == before.tobytes()


def test_another_contract_is_refused_by_field(store):
    store.require(json.loads(json.dumps(CONTRACT)))
    with pytest.raises(DataError, match=r"note\.velocity 100, not 90; give another"):
        store.require({**CONTRACT, "note": {"pitch": 60, "velocity": 90}})
    with pytest.raises(DataError, match=r'learnt\.1 "b", not null'):
        store.require({**CONTRACT, "learnt": ["a"]})


def test_a_damaged_chunk_is_named_and_can_be_rendered_again(full):
    file = full.path / "x" / "c" / "1" / "0" / "0"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    full.read("x", np.arange(8))
    with pytest.raises(DataError, match="x/c/1/0/0' is damaged.*status/c/1'.*render"):
        full.read("x", np.array([2, 9]))
    file.write_bytes(data[:7])
    with pytest.raises(DataError, match="damaged"):
        full.read("x", np.array([9]))
    file.unlink()
    with pytest.raises(DataError, match=r"damaged \(rows are missing\)"):
        full.read("x", np.array([9]))
    (full.path / "status" / "c" / "1").unlink()
    assert full.blocks(0, 23) == [(8, 16)]
    full.write(8, rows(8, 16))
    assert np.isfinite(full.read("x")).all()


def test_a_damaged_text_is_named(full):
    (full.path / "split" / "c" / "0").write_bytes(b"")
    with pytest.raises(DataError, match="split/c/0' is damaged"):
        full.read("split")


@pytest.mark.parametrize("closed", ["x/c/1/0/0", "x/c/1", "status/c/1"])
def test_a_chunk_that_may_not_be_read_is_not_called_damaged(full, closed):
    (full.path / closed).chmod(0)
    read = f"Store(Path({str(full.path)!r})).read({closed.split('/')[0]!r})"
    head = "from pathlib import Path; from pyrosynth.data.store import Store; "
    said = python_without_rights("-c", head + read).stderr.splitlines()[-1]
    file = str(full.path / closed)
    assert re.search(f"'{file}[^']*' cannot be opened .Permission denied.; ask its owner", said)
    assert "damaged" not in said
    assert "delete" not in said


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), MemoryError("of 9 GiB")])
def test_a_chunk_that_was_not_read_is_not_called_damaged(full, monkeypatch, error):
    def fails(*_):
        raise error

    monkeypatch.setattr(zarr.Array, "__getitem__", fails)
    with pytest.raises(DataError, match=r"x/c/0/0/0' cannot be read \(.*\); run the same") as said:
        full.read("x")
    assert "damaged" not in str(said.value)


@pytest.mark.parametrize("name", ["zarr.json", "x/zarr.json"])
def test_damaged_metadata_are_refused(full, name):
    file = full.path / name
    file.write_text(file.read_text()[:50])
    with pytest.raises(DataError, match="metadata are damaged"):
        Store(full.path)


def test_what_is_no_dataset_is_refused(tmp_path):
    with pytest.raises(DataError, match="no dataset .*render"):
        Store(tmp_path / "nothing")
    (tmp_path / "notes.txt").write_text("mine")
    for place in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(DataError, match="is no dataset; give a folder that .* render. wrote"):
            Store(place)


def test_a_full_disk_is_one_clear_error_and_what_is_done_stays(store):
    store.write(0, rows(0, 8))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))  # the kernel refuses larger files
    try:
        with pytest.raises(DataError, match="cannot write .*data'.*run the same command again"):
            store.write(8, rows(8, 16))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert store.blocks(0, 23) == [(8, 16), (16, 23)]
    assert np.isfinite(store.read("x", np.arange(8))).all()
    store.clean()
    assert not list(store.path.rglob("*.partial"))
    store.write(8, rows(8, 16))
    assert store.blocks(0, 23) == [(16, 23)]


def test_an_unwritable_place_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot write"):
        Store.create(tmp_path / "file" / "data", CONTRACT, SIZES, 8, FACTS)
