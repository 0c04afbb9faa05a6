"""The command that says how good axes of tags are, from a run to its page."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from plain import FAILS
from small import small_dataset
from toys import SMALL

from pyrosynth.cli.app import main
from pyrosynth.data.dataset import open_dataset
from pyrosynth.data.labeling import descriptor_tags, name_tags
from pyrosynth.data.tags import write_tags
from pyrosynth.errors import DataError
from pyrosynth.evaluation.disentanglement import measure
from pyrosynth.evaluation.known_tags import directions, known_tags
from pyrosynth.evaluation.steering import steps
from pyrosynth.evaluation.tag_axes import report_axes, tag_cost
from pyrosynth.explore.naming import name_axes
from pyrosynth.files import claim, require_same
from pyrosynth.inference.posterior import Posterior
from pyrosynth.training.fit import fit


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A dataset, a run with axes and one without."""
    folder = tmp_path_factory.mktemp("axes")
    dataset = small_dataset(folder)
    truth = descriptor_tags(dataset, progress=False)
    write_tags(folder / "tags.csv", truth, dataset)
    settings = {"steps": 20, "batch_size": 32, "progress": False}
    fit("flow_dis", dataset, folder / "run", tags=truth.hide(0.5), options=SMALL["flow_dis"],
        **settings)  # fmt: skip
    fit("flow_reg", dataset, folder / "plain", options=SMALL["flow_reg"], **settings)
    return folder


def test_report_of_a_run(folder, capsys):
    command = ["axes", str(folder / "run"), "--out", str(folder / "out"), "--presets", "2"]
    command += ["--beside", str(folder / "plain"), "--draws", "2", "--workers", "1", "--json"]
    assert main(command) == 0
    facts = json.loads(capsys.readouterr().out)
    assert json.loads((folder / "out" / "axes.json").read_text()) == facts
    posterior, dataset = Posterior.load(folder / "run"), open_dataset(folder / "data")
    truth = descriptor_tags(dataset, progress=False)
    assert facts["axes"] == measure(posterior.run, dataset, truth).to_json()
    frame = pd.read_csv(folder / "out" / "axes.csv").set_index("tag")
    assert list(frame.index) == list(truth.names)
    told = facts["steering"]["tags"]["length"]
    assert frame.loc["length", "own_change"] == pytest.approx(told["change"]["length"])
    others = [abs(v) for name, v in told["change"].items() if name != "length"]
    assert frame.loc["length", "other_change"] == pytest.approx(max(others))
    sizes = [v for name, v in told["size_of_change"].items() if name != "length"]
    assert frame.loc["length", "other_size"] == pytest.approx(max(sizes))
    assert facts["cost"]["beside"] == "FlowReg"
    page = (folder / "out" / "report.html").read_text()
    assert page.count("<audio") == 5 * 3 * 2
    assert "http" not in page.split("</style>")[1].replace("https://", "http://")
    kept = {file: file.stat().st_mtime_ns for file in (folder / "out").glob("cache/*/*.npz")}
    assert main(command) == 0  # nothing is played again
    assert json.loads(capsys.readouterr().out) == facts
    assert {file: file.stat().st_mtime_ns for file in kept} == kept


def test_classes_that_are_headed_from_bright_to_dark_are_right_to_go_down(folder):
    """The columns of a CSV may name the classes of a tag in either order."""
    dataset = open_dataset(folder / "data")
    truth = descriptor_tags(dataset, human_only=True, progress=False)
    assert (directions(truth) == 1).all()
    mask = truth.label_mask.copy()
    mask[:, 1] = mask[:, 1, ::-1]
    assert directions(replace(truth, label_mask=mask)).tolist() == [
        -1 if i == 1 else 1 for i in range(len(truth.tags))
    ]
    nothing = np.full_like(truth.descriptors, np.nan)
    assert (directions(replace(truth, descriptors=nothing)) == 1).all()


def test_presets_that_do_not_sound_are_left_out_and_told(folder, capsys, monkeypatch):
    posterior, dataset = Posterior.load(folder / "run"), open_dataset(folder / "data")
    rows = np.random.default_rng(0).permutation(dataset.rows("test", human_only=True))[:3]
    moved = np.stack([steps(posterior, values) for values in dataset.values(rows)], axis=1)
    highest = moved[..., posterior.run.full_space.names.index("osc2_pitch")].max(axis=2)
    limit = np.median(highest[highest > np.median(highest)])  # some fail along some axes
    silent = highest > limit
    assert 0 < silent.sum() < silent.size
    monkeypatch.setenv(FAILS, f"osc2_pitch {limit}")
    command = ["axes", str(folder / "run"), "--presets", "3", "--workers", "1", "--json", "--out"]
    assert main([*command, str(folder / "partly")]) == 2
    printed, error = capsys.readouterr()
    n = silent.any(axis=0).sum()
    assert f"{n} of 3 presets left out of the means of axes along which" in error
    assert len(error.splitlines()[-1]) <= 300
    tags = json.loads(printed)["steering"]["tags"]
    names = np.array(dataset.names(rows))
    assert [tag["left_out"] for tag in tags.values()] == [names[one].tolist() for one in silent]
    frame = pd.read_csv(folder / "partly" / "axes.csv")
    assert frame["n_left_out"].tolist() == silent.sum(axis=1).tolist()
    page = (folder / "partly" / "report.html").read_text()
    assert f"{n} of 3 presets left out" in page
    assert page.count("<audio") == 3 * (~silent).sum()  # no player of what does not sound
    monkeypatch.setenv(FAILS, "osc2_pitch -inf")
    assert main([*command, str(folder / "silent")]) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert "none of 3 presets gives a sound at all steps along an axis; play one" in told
    assert not (folder / "silent" / "report.html").exists()


def test_cost_is_paired_on_the_nearest_draws(folder):
    dataset = open_dataset(folder / "data")
    run, plain = (Posterior.load(folder / name) for name in ("run", "plain"))
    options = {"n_presets": 3, "draws": 2, "workers": 1, "progress": False}
    cost = tag_cost(run, plain, dataset, folder / "cost", **options)
    same = tag_cost(run, run, dataset, folder / "cost", **options)
    assert same["lsd_db"] == same["other_lsd_db"] == cost["lsd_db"]
    assert same["difference_db"] == same["share"] == [0, 0, 0]
    assert cost["difference_db"][0] == pytest.approx(cost["lsd_db"] - cost["other_lsd_db"])
    assert cost["share"][0] == pytest.approx(cost["lsd_db"] / cost["other_lsd_db"] - 1)
    assert cost["difference_db"][1] <= cost["difference_db"][0] <= cost["difference_db"][2]


def test_runs_that_have_learnt_the_held_out_presets_are_refused(folder, tmp_path):
    dataset = open_dataset(folder / "data")
    run, plain = (Posterior.load(folder / name) for name in ("run", "plain"))
    seen = dataset.values(dataset.rows("test", human_only=True))
    knows = replace(plain.bank, values=np.vstack([seen[:1], plain.bank.values[1:]]))
    flattered = Posterior(plain.run, knows)
    for call in (
        lambda: tag_cost(run, flattered, dataset, tmp_path / "cost", draws=1, workers=1),
        lambda: report_axes(run, dataset, tmp_path / "axes", beside=flattered, workers=1),
        lambda: name_axes(flattered, dataset, None),
    ):
        with pytest.raises(
            DataError, match=r"the run has learnt [1-9] of \d+ held-out presets, wh"
        ):
            call()
    assert not list(tmp_path.iterdir())


def test_tags_from_a_file_get_the_numbers_of_their_name(folder):
    dataset = open_dataset(folder / "data")
    truth = descriptor_tags(dataset, progress=False)
    given = known_tags(dataset, folder / "tags.csv", progress=False)
    human = dataset.rows("all", human_only=True)
    np.testing.assert_array_equal(given.labels[human], truth.labels[human])
    np.testing.assert_array_equal(given.descriptors[human], truth.descriptors[human])
    write_tags(folder / "named.csv", name_tags(dataset), dataset)
    named = known_tags(dataset, folder / "named.csv", progress=False)
    assert np.isnan(named.descriptors[:, named.names.index("hardness")]).all()
    assert np.isfinite(named.descriptors[human, named.names.index("length")]).all()


@pytest.mark.parametrize(
    ("run", "more", "says"),
    [
        ("plain", [], "variant 'FlowReg' has no axes of tags; use one that has, such as flow_dis"),
        ("run", ["--tags", "named.csv"], "the run has an axis for loudness, noisiness, the tags"),
        ("run", ["--tags", "none.csv"], "cannot read tags from"),
    ],
)
def test_mistakes_are_told_in_one_line(folder, capsys, run, more, says):
    dataset = open_dataset(folder / "data")
    write_tags(folder / "named.csv", name_tags(dataset), dataset)
    more = [str(folder / m) if m.endswith(".csv") else m for m in more]
    assert main(["axes", str(folder / run), "--out", str(folder / "bad"), *more]) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert says in said[-1]
    assert not (folder / "bad" / "report.html").exists()


def test_another_run_is_not_overwritten_unasked(folder, capsys):
    with claim(folder / "taken", "axes") as taken:
        require_same(taken, {"run": 64 * "0"})
    command = ["axes", str(folder / "run"), "--out", str(folder / "taken"), "--presets", "2"]
    assert main(command) == 2
    assert "was made with another run" in capsys.readouterr().err
    assert main([*command, "--workers", "1", "--force"]) == 0
    assert (folder / "taken" / "report.html").exists()
