"""A whole comparison: killed, called again, and with models that fail."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import soundfile
from killed import killed_after_draws
from small import NOTE, small_dataset
from test_report import assert_self_contained
from toys import SMALL

from pyrosynth.audio.example import string_and_flute
from pyrosynth.audio.metrics import log_distance, mse_n
from pyrosynth.cli.app import main
from pyrosynth.data.bank import Bank
from pyrosynth.data.dataset import Dataset
from pyrosynth.errors import InputError
from pyrosynth.evaluation.compare import compare
from pyrosynth.evaluation.runner import MEAN_OF
from pyrosynth.evaluation.scores import BANK, GUESS, HELD_OUT, OUTSIDE, REFERENCE
from pyrosynth.evaluation.targets import held_out
from pyrosynth.files import claim
from pyrosynth.inference.posterior import Posterior
from pyrosynth.training import zoo

METHODS = (
    "median", "retrieval", "bank", "cma-12", "bank+cma-12", "best+cma-12", "best+infer-20",
    "best+guess",
)  # fmt: skip
FAST = {
    "seeds": 2, "n_presets": 2, "draws": 16, "workers": 1, "threads": 1, "progress": False,
    "steps": 6, "batch_size": 32,
    "options": {f"flow_reg.{key}": value for key, value in SMALL["flow_reg"].items()},
}  # fmt: skip


def outside_folder(folder):
    """A folder with a sound that no preset made, as people have them: stereo, of another rate."""
    (folder / "recorded").mkdir(parents=True)
    sound = string_and_flute(seconds=0.5, sample_rate=48000)
    soundfile.write(folder / "recorded" / "one.flac", 0.4 * sound / np.abs(sound).max(), 48000)
    (folder / "notes.txt").write_text("not a sound")
    return folder


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A dataset, sounds from outside, and the file of a user's own model."""
    folder = tmp_path_factory.mktemp("compare")
    mine = folder / "mine.py"
    mine.write_text(zoo.source("npe"))
    outside = outside_folder(folder / "outside")
    options = {
        **FAST["options"], **{f"mine.{key}": value for key, value in SMALL["npe"].items()},
    }  # fmt: skip
    more = {"models": ("flow_reg", mine), "methods": METHODS, "outside_sounds": outside}
    return small_dataset(folder, 50, 20), {**FAST, **more, "options": options}, folder / "out"


@pytest.fixture(scope="module")
def result(given):
    """A comparison that was killed after the first results, and called again."""
    dataset, options, out = given

    killed_after_draws(2, compare, dataset, out, **options)
    kept = {f: f.stat().st_mtime_ns for f in out.glob("cache/*/*.npz")}
    kept |= {f: f.stat().st_mtime_ns for f in out.glob("runs/*/weights.safetensors")}
    assert kept
    assert not (out / "report.html").exists()
    found = compare(dataset, out, **options)
    assert all(file.stat().st_mtime_ns == when for file, when in kept.items())
    return found


def test_every_method_has_its_rows(result):
    assert result.failures == {}
    table = result.table
    answers = ["mean draw", "one draw", "best of 16 draws"]
    others = ["median preset", REFERENCE, BANK, "CMA-ES from scratch"]
    others.append("CMA-ES from the training bank")
    for sounds, n in ((HELD_OUT, 2), (OUTSIDE, 1)):
        here = table[table["sounds"] == sounds]
        assert (here["n"] == n).all()
        for model in ("flow_reg", "mine"):
            assert here[here["method"] == model]["answer"].tolist()[:3] == answers
        assert set(others) < set(here["method"])
    means = table[table["sounds"] == HELD_OUT].groupby("method")["lsd_mean"].min()
    assert means["CMA-ES from the training bank"] <= means[BANK] + 1e-6  # it plays its start first
    best = table[table["answer"] == GUESS]["method"].unique().tolist()
    assert len(best) == 1
    assert (table["answer"] == "infer, 20 renders").sum() == 2
    assert f"CMA-ES from a draw of {best[0]}" in set(table["method"])
    fitted = table[table["answer"].isin(answers)]
    assert (fitted["seeds"] == 2).all()
    assert (fitted["steps"] == 6).all()
    assert (fitted["fit_cpu_seconds"] > 0).all()
    lsd = fitted[fitted["sounds"] == HELD_OUT].set_index(["method", "answer"])["lsd_mean"]
    assert (lsd[:, "best of 16 draws"] < lsd[:, "one draw"]).all()


def test_what_is_not_known_is_empty(result):
    table = result.table
    columns = ["mse_n_mean", "log_q", "region_90", "tarp_90"]
    assert table[table["sounds"] == OUTSIDE][columns].isna().all(axis=None)
    known = table[(table["sounds"] == HELD_OUT) & (table["answer"] == "one draw")]
    assert known[columns].notna().all(axis=None)
    for measure in ("lsd", "sc", "mel_mse", "lm", "mss", "mfcc", "loudness", "pitch"):
        assert table[f"{measure}_mean"].notna().all(), measure


def test_the_mean_draw_apart_from_the_comparison(result, given):
    """Both seeds of one model, played and measured here; seeds averaged for each sound."""
    dataset, _, out = given
    targets = held_out(dataset, 2)
    lsd, errors, answers = [], [], []
    for seed in (0, 1):
        posterior = Posterior.load(out / "runs" / f"mine-{seed}")
        assert posterior.bank is not None
        values = np.stack(
            [posterior.mean(x, MEAN_OF, targets.seed(i, seed)) for i, x in enumerate(targets.x)]
        )
        audio = [posterior.synth.render(preset, NOTE, 22050) for preset in values]
        lsd.append(log_distance(posterior.features(np.stack(audio)), targets.x))
        answers.append(targets.unit(values))
        errors.append(mse_n(targets.unit(targets.values), answers[-1]))
    row = result.table.set_index(["sounds", "method", "answer"]).loc[HELD_OUT, "mine", "mean draw"]
    assert row["lsd_mean"] == pytest.approx(np.mean(lsd), rel=1e-5)
    assert row["lsd_median"] == pytest.approx(np.median(np.mean(lsd, axis=0)), rel=1e-5)
    assert row["mse_n_mean"] == pytest.approx(np.mean(errors), rel=1e-6)
    true = targets.unit(targets.values)
    published = [np.mean((true - answer) ** 2) / np.mean(true**2) for answer in answers]
    assert row["mse_n_published"] == pytest.approx(np.mean(published), rel=1e-6)


def test_files(result, given):
    dataset, _, out = given
    page = assert_self_contained(out / "report.html")
    assert page.tags.count("img") == 2
    assert page.tags.count("audio") == 9  # three sounds, each with two answers
    assert {file.name for file in out.glob("*.png")} == {
        "plot.png",
        "plot-out-of-domain-sounds.png",
    }
    stored = json.loads((out / "compare.json").read_text())
    assert stored == json.loads(json.dumps(result.summary))
    assert set(stored["runs"]) == {"flow_reg-0", "flow_reg-1", "mine-0", "mine-1"}
    assert {"torch", "pyrosynth"} < set(stored["versions"])
    for name, facts in stored["runs"].items():
        kept = json.loads((out / "runs" / name / "run.json").read_text())
        assert facts["settings"]["model"] == kept["settings"]["model"]
        assert kept["settings"]["seed"] == int(name[-1])
    table = pd.read_csv(out / "table.csv")
    np.testing.assert_allclose(table["lsd_mean"], result.table["lsd_mean"])
    text = (out / "table.md").read_text()
    assert text.startswith("## Held-out presets (2)\n\n| method | mean draw | one draw | guess |")
    assert "## Out-of-domain sounds (1)" in text
    banks = [out / "bank.safetensors", *out.glob("runs/*/bank.safetensors")]
    assert len(banks) == 5
    assert len({file.stat().st_ino for file in banks}) == 1
    assert not list(out.rglob("*.part"))


def test_again_makes_only_what_is_missing(result, given):
    dataset, options, out = given
    runs = {f: f.stat().st_mtime_ns for f in out.glob("runs/*/weights.safetensors")}
    lost = sorted(out.glob("cache/draws-*/*.npz"))[0]
    kept = {f: f.stat().st_mtime_ns for f in out.glob("cache/*/*.npz") if f != lost}
    lost.write_bytes(lost.read_bytes()[:99])
    again = compare(dataset, out, **options)
    assert all(file.stat().st_mtime_ns == when for file, when in {**runs, **kept}.items())
    pd.testing.assert_frame_equal(again.table, result.table)
    pd.testing.assert_frame_equal(again.tests, result.tests)


def test_a_model_that_fails_costs_its_row(given, tmp_path, capfd):
    dataset, *_ = given
    source = zoo.source("flow_reg")
    (tmp_path / "broken.py").write_text("import nothing_of_this_name\n" + source)
    (tmp_path / "sad.py").write_text(
        source.replace("    def guide(", "    def sample_v(self, *_, **__):\n"
                       "        raise OSError('no luck')\n\n    def guide(")
    )  # fmt: skip
    models = f"npe,flow_reg,{tmp_path / 'broken.py'},{tmp_path / 'sad.py'}"
    small = [f"--set={key}={json.dumps(value)}" for key, value in SMALL["flow_reg"].items()]
    for setting, message in (
        ("npe.rl=1", "unknown hyper-parameter of these models 'npe.rl'"),
        ("npe.lr=1", "'lr' is no hyper-parameter of a model but a setting of the fit"),
        ("npe.bins=0", "NPE"),
        ("sad.py.bins=0", "FlowReg: bins 0: give an integer from 1"),
        ("vae.beta=2", "'vae.beta' is one of the model 'vae', which is not compared; compare it"),
    ):
        code = main(
            ["compare", str(dataset.path), "--out", str(tmp_path / "out"), "--models", models,
             "--methods", "none", "--seeds", "1", "--presets", "2", "--draws", "16",
             "--steps", "2",
             "--batch-size", "16", "--workers", "1", f"--set={setting}", *small, "--json"]
        )  # fmt: skip
        out, error = capfd.readouterr()
        assert (code, out) == (2, "")
        assert message in error
        assert error.count("\n") == 1
        assert not (tmp_path / "out").exists()
    code = main(
        ["compare", str(dataset.path), "--out", str(tmp_path / "out"), "--models", models,
         "--methods", "none", "--seeds", "1", "--presets", "2", "--draws", "16", "--steps", "2",
         "--batch-size", "16", "--workers", "1", *small, "--json",
         "--lr", "0.002", "--precision", "bfloat16"]
    )  # fmt: skip
    out, error = capfd.readouterr()
    assert code == 2
    facts = json.loads(out)
    training = {"steps": 2, "batch_size": 16, "lr": 0.002, "precision": "bfloat16"}
    assert facts["training"] == training
    kept = json.loads((tmp_path / "out/runs/flow_reg-0/run.json").read_text())["settings"]
    assert {name: kept[name] for name in training} == training
    assert set(facts["failures"]) == {"broken-0", "sad-0"}
    assert "nothing_of_this_name" in facts["failures"]["broken-0"]
    why = facts["failures"]["sad-0"]
    assert re.search(r"line \d+ of '.*sad.py' \(OSError: no luck\)", why)
    last = error.splitlines()[-2:]
    assert [line.partition("-0: ")[0] for line in last] == ["pyrosynth: broken", "pyrosynth: sad"]
    assert "Traceback" not in error
    assert "no luck" in (tmp_path / "out" / "runs" / "sad-0" / "error.txt").read_text()
    table = pd.read_csv(tmp_path / "out" / "table.csv")
    assert table[table["method"] == "flow_reg"]["lsd_mean"].notna().sum() == 3
    assert table[table["method"] == "sad"]["failed"].tolist() == [f"seed 0: {why}"]
    assert f"| sad | failed: seed 0: {why} |" in (tmp_path / "out/table.md").read_text()
    assert "OSError: no luck" in (tmp_path / "out" / "report.html").read_text()


def test_other_settings_are_refused(result, given):
    dataset, options, out = given
    tables = {file: file.read_bytes() for file in out.glob("table.*")}
    with pytest.raises(InputError, match="was made with training.steps 6, not 7"):
        compare(dataset, out, **{**options, "steps": 7})
    other = Dataset(dataset.path)
    other.contract = {**dataset.contract, "seed": "other"}
    with pytest.raises(InputError, match="was made with another dataset"):
        compare(other, out, **options)
    assert all(file.read_bytes() == content for file, content in tables.items())


def test_a_fit_with_other_options_is_kept_and_costs_its_row(result, given):
    dataset, options, out = given
    weights = {f: f.read_bytes() for f in out.glob("runs/*/weights.safetensors")}
    changed = {**options["options"], "mine.hidden": 8}
    again = compare(dataset, out, **{**options, "options": changed})
    assert set(again.failures) == {"mine-0", "mine-1"}
    assert "hidden" in again.failures["mine-0"]
    mine = again.table[again.table["method"] == "mine"]
    assert mine["lsd_mean"].isna().all()
    assert all(file.read_bytes() == content for file, content in weights.items())
    restored = compare(dataset, out, **options)
    pd.testing.assert_frame_equal(restored.table, result.table)


def test_a_damaged_fit_is_named_and_the_others_stay(result, given):
    dataset, options, out = given
    file = out / "runs" / "mine-0" / "weights.safetensors"
    content = file.read_bytes()
    file.unlink()
    failures = compare(dataset, out, **options).failures
    assert list(failures) == ["mine-0"]
    assert f"delete '{file.parent}' and call the same again" in failures["mine-0"]
    file.write_bytes(content)
    pd.testing.assert_frame_equal(compare(dataset, out, **options).table, result.table)


def test_anew_takes_nothing_from_another_dataset(given, tmp_path):
    dataset, options, _ = given
    with claim(tmp_path, "compare"):
        Bank.from_dataset(dataset, augmented=False).save(tmp_path / "bank.safetensors")
    few = {"models": ("mlp",), "methods": (), "outside_sounds": None, "seeds": 1, "options": {}}
    compare(dataset, tmp_path, force=True, **{**options, **few})
    kept = Bank.load(tmp_path / "bank.safetensors")
    assert len(kept) == len(Bank.from_dataset(dataset))


@pytest.mark.parametrize(
    "wrong",
    [
        {"draws": 8},
        {"seeds": 0},
        {"n_presets": 0},
        {"models": ()},
        {"device": "tpu"},
        {"precision": "float8"},
    ],  # fmt: skip
)
def test_bad_arguments(given, tmp_path, wrong):
    dataset, options, _ = given
    with pytest.raises(InputError):
        compare(dataset, tmp_path, **{**options, **wrong})
    assert not list(tmp_path.iterdir())
