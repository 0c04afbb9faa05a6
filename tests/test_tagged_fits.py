"""Fits with tags: where these come from, what a run keeps of them, and when it is another fit."""

import json

import numpy as np
import pytest
from small import small_dataset
from toys import SMALL, TAGS

from pyrosynth.data.labeling import DESCRIBED, default_tags
from pyrosynth.data.tags import labelled, write_tags
from pyrosynth.errors import InputError, RunError
from pyrosynth.evaluation.compare import compare
from pyrosynth.training.fit import fit
from pyrosynth.training.run import load_run
from pyrosynth.training.svi import CHECKPOINT

QUICK = {"steps": 2, "batch_size": 32, "progress": False}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return small_dataset(tmp_path_factory.mktemp("fits"), augmented=10)


@pytest.fixture(scope="module")
def table(dataset):
    rng = np.random.default_rng(0)
    return labelled(TAGS, rng.integers(0, 2, (len(dataset), 2)))


def dis(dataset, out=None, **more):
    return fit("flow_dis", dataset, out, options=SMALL["flow_dis"], **{**QUICK, **more})


def test_a_run_knows_its_tags(dataset, table, tmp_path):
    write_tags(tmp_path / "tags.csv", table, dataset)
    run = dis(dataset, tmp_path / "run", tags=tmp_path / "tags.csv")
    again = load_run(tmp_path / "run")
    for dims in (run.variant.dims, again.variant.dims):
        assert dims.tags == ("tone", "size")
        assert dims.classes == tuple(tag.classes for tag in TAGS)
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    # Of the file only the human presets have labels, of the table all of them.
    assert facts["settings"]["tags"] != table.fingerprint()
    assert again.settings == facts["settings"]


def test_other_tags_are_another_fit(dataset, table, tmp_path):
    first = dis(dataset, tmp_path, tags=table)
    assert dis(dataset, tmp_path, tags=table).training == first.training
    with pytest.raises(RunError, match="a finished run with other tags; give another folder"):
        dis(dataset, tmp_path, tags=table.hide(0.5))
    (tmp_path / "run.json").unlink()  # as if it had been stopped before its end
    with pytest.raises(RunError, match=f"{CHECKPOINT}' was fitted with other data; "):
        dis(dataset, tmp_path, tags=table.hide(0.5))
    assert dis(dataset, tmp_path, tags=table).training.rows == first.training.rows


def test_without_tags_they_are_made_from_the_sounds(dataset, capsys):
    run = dis(dataset)
    said = capsys.readouterr()
    assert said.err.startswith("no tags were given: they are made from how the presets sound, 70%")
    assert said.out == ""
    assert run.variant.dims.tags == tuple(tag.name for tag in DESCRIBED)
    assert run.settings["tags"] == default_tags(dataset, progress=False).fingerprint()


def test_tags_that_nothing_would_read_are_refused(dataset, table, tmp_path):
    """Whether they are a table or a file, which may not even be there."""
    for tags in (table, tmp_path / "tags.csv"):
        with pytest.raises(InputError, match=r"'flow_reg' uses no tags, but .*; leave out --tags"):
            fit("flow_reg", dataset, tmp_path / "run", tags=tags, **QUICK)
        with pytest.raises(InputError, match=r"none of the models \(mlp, flow_reg\) uses any"):
            compare(dataset, tmp_path / "out", models=["mlp", "flow_reg"], tags=tags)
    assert not list(tmp_path.iterdir())


def test_in_a_comparison_only_models_that_use_tags_get_them(dataset, table, tmp_path):
    options = {f"flow_dis.{key}": value for key, value in SMALL["flow_dis"].items()}
    compare(
        dataset, tmp_path, models=["mlp", "flow_dis"], methods=["none"], seeds=1, n_presets=1,
        draws=16, tags=table, options=options, workers=1, steps=2, batch_size=32, progress=False,
    )  # fmt: skip
    tags = [
        load_run(tmp_path / "runs" / f"{name}-0").settings["tags"] for name in ("mlp", "flow_dis")
    ]
    assert tags == [None, table.fingerprint()]


def test_tags_of_another_dataset(dataset):
    with pytest.raises(InputError, match="tags of 3 presets for a dataset of 90"):
        dis(dataset, tags=labelled(TAGS, np.zeros((3, 2))))
    with pytest.raises(InputError, match=r"cannot read tags from 'none.csv'"):
        dis(dataset, tags="none.csv")
