"""Run directories: exact reload, and what happens to damaged ones."""

import json
import linecache
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from small import small_run
from toys import SMALL, toy_data

from pyrosynth.audio.features import FeatureSpec
from pyrosynth.audio.note import Note
from pyrosynth.data.dataset import render_dataset
from pyrosynth.errors import DataError, InputError, RunError
from pyrosynth.evaluation.check import check
from pyrosynth.inference.posterior import Posterior
from pyrosynth.modeling import Temperature, Variant
from pyrosynth.modeling.bijections import Permutation
from pyrosynth.synths.params import Param, ParamSpace
from pyrosynth.synths.presets import Preset
from pyrosynth.training import zoo
from pyrosynth.training.export import export_run
from pyrosynth.training.fit import fit, take_weights
from pyrosynth.training.identity import weights_hash
from pyrosynth.training.run import Run, load_run
from pyrosynth.training.state import History

SPACE = ParamSpace(tuple(Param(name, resolution=16) for name in "abcd"))
FULL = ParamSpace((*SPACE.params, Param("e", "toggle", resolution=2)))


def make_run(variant, data):
    return Run(
        variant.eval(),
        space=SPACE,
        full_space=FULL,
        features=FeatureSpec(n_mels=8),
        note=Note(48, 90, 1.0, 2.0),
        synth_spec={"name": "toy"},
        mean=data.mean,
        std=data.std,
        dataset={"path": "toys"},
        seed=3,
        training=History([{"step": 10, "loss": 0.1}], 10, "early", 1.5),
    )


@pytest.fixture(scope="module")
def data():
    return toy_data(n=64)


@pytest.fixture
def saved(tmp_path, data):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        run = make_run(zoo.load_model("flow_reg")(data.dims, **SMALL["flow_reg"]), data)
    run.save(tmp_path / "run")
    return run, tmp_path / "run"


@pytest.mark.parametrize("name", zoo.list_models())
def test_reload_is_exact(tmp_path, data, name):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        variant = zoo.load_model(name)(data.dims, **SMALL[name])
        batch = data.batch(data.valid)
    run = make_run(variant, data)
    run.save(tmp_path)
    again = load_run(tmp_path)
    assert type(again.variant).__name__ == type(variant).__name__
    assert not again.variant.training
    for key, tensor in variant.state_dict().items():
        assert torch.equal(again.variant.state_dict()[key], tensor), key
    scores = [
        r.variant.log_prob_v(batch["v"], batch["x"], torch.Generator().manual_seed(0))
        for r in (run, again)
    ]
    assert torch.equal(*scores)
    for key in ("space", "full_space", "features", "note", "synth_spec", "dataset", "training"):
        assert getattr(again, key) == getattr(run, key), key
    x = data.x[:3].float()
    assert torch.equal(again.standardise(x), run.standardise(x))
    torch.testing.assert_close(again.unstandardise(again.standardise(x)), x)
    # And what was loaded can be saved again.
    again.save(tmp_path / "second")
    assert (tmp_path / "second/variant.py").read_text() == zoo.source(name)


def test_the_source_of_a_variant_does_not_depend_on_where_one_works(tmp_path, monkeypatch):
    text = "# of my own\n" + zoo.source("mlp")
    (tmp_path / "mine.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    kind = zoo.load_model("mine.py")
    monkeypatch.chdir("/")
    assert zoo.variant_source(kind) == text
    (tmp_path / "mine.py").unlink()
    assert zoo.variant_source(kind) == text


def test_contents(saved):
    run, path = saved
    assert sorted(p.name for p in path.iterdir()) == [
        "run.json",
        "variant.py",
        "weights.safetensors",
    ]
    facts = json.loads((path / "run.json").read_text())
    assert facts["variant"] == "FlowReg"
    assert facts["arguments"]["channels"] == [8, 16]
    assert facts["dims"] == {
        "n_params": 4, "x_shape": [8, 11], "resolution": [16] * 4, "tags": ["tone", "size"],
        "classes": [["dark", "bright"], ["small", "medium", "large"]],
    }  # fmt: skip
    assert facts["terms"][2] == {
        "name": "preset", "sites": [], "guide": ["v"],
        "weight": {"value": 1.0, "steps": 0, "start": 0.0},
    }  # fmt: skip
    assert (path / "variant.py").read_text() == zoo.source("flow_reg")


def test_a_new_process_loads_it_alone(saved):
    run, path = saved
    code = (
        "import sys; from pyrosynth.training.run import load_run; r = load_run(sys.argv[1]); "
        "print(type(r.variant).__name__, 'librosa' in sys.modules, 'arviz' in sys.modules)"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert out.stdout.split() == ["FlowReg", "False", "False"]
    assert not list(path.rglob("*.pyc"))


@pytest.mark.parametrize("name", ["run.json", "variant.py", "weights.safetensors"])
@pytest.mark.parametrize("damage", ["missing", "changed", "cut"])
def test_missing_and_tampered_files(saved, name, damage):
    _, path = saved
    file = path / name
    if damage == "missing":
        file.unlink()
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[:200])
    elif name == "run.json":
        file.write_text(file.read_text().replace('"seed": 3', '"seed": 4'))
    else:
        file.write_bytes(file.read_bytes() + b"#")
    with pytest.raises(RunError, match=name) as error:
        load_run(path)
    assert "\n" not in str(error.value)


def test_the_order_of_the_keys_in_its_facts_is_of_no_meaning(saved):
    run, path = saved
    facts = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps(facts, indent=4, sort_keys=True))  # a formatter's
    again = load_run(path)
    assert again.variant.dims == run.variant.dims
    assert again.space == run.space
    assert weights_hash(again.variant) == weights_hash(run.variant)


def test_an_order_that_is_none_and_a_temperature_below_zero_are_refused(saved):
    run, path = saved
    permutation = next(m for m in run.variant.modules() if isinstance(m, Permutation))
    permutation.order[0] = 10**9
    run.save(path)
    with pytest.raises(RunError, match="cannot be rebuilt .an order of features that is none."):
        load_run(path)
    for wrong in (Temperature(base=-1.0), Temperature(levels=float("nan")), Temperature(doubt=2)):
        with pytest.raises(InputError, match="temperature .* give a number"):
            replace(run, temperature=wrong)


def test_parts_of_other_sizes_are_refused(saved):
    run, path = saved
    few = replace(run, space=ParamSpace(SPACE.params[:3]))
    for name, wrong in (("few", few), ("mean", replace(run, mean=run.mean[:3]))):
        wrong.save(path / name)
        with pytest.raises(RunError, match="of other sizes than those of its model"):
            load_run(path / name)


def test_no_run_at_all(tmp_path):
    with pytest.raises(RunError, match="no run directory"):
        load_run(tmp_path / "none")
    with pytest.raises(RunError, match="holds no finished fit"):
        load_run(tmp_path)


def test_another_run_and_what_is_none_are_not_written_over(saved, tmp_path):
    run, path = saved
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "run.json").write_text('{"wandb": 1}')
    other = replace(run, note=replace(run.note, pitch=36))
    for one, place in ((run, tmp_path / "config"), (other, path), (replace(run, seed=1), path)):
        held = {file.name: file.read_bytes() for file in place.iterdir()}
        with pytest.raises(InputError, match="holds another run, or a 'run.json' of something"):
            one.save(place)
        assert held == {file.name: file.read_bytes() for file in place.iterdir()}
    replace(run, axes=({"name": "warmth"},)).save(path)
    assert load_run(path).axes == ({"name": "warmth"},)


def test_unwritable_folder(tmp_path, data):
    (tmp_path / "run").write_text("a file, not a folder")
    run = make_run(zoo.load_model("flow_reg")(data.dims, **SMALL["flow_reg"]), data)
    with pytest.raises(InputError, match="is a file, which pyrosynth did not write"):
        run.save(tmp_path / "run")
    with pytest.raises(InputError, match="is a file, where a folder is wanted"):
        run.save(tmp_path / "run" / "below")


def in_a_cell(text, names):
    """Run a class definition as a notebook does: known to linecache, in ``__main__``."""
    filename = "<ipython-input-1>"
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    names["__name__"] = "__main__"
    exec(compile(text, filename, "exec"), names)
    return names


def test_a_class_from_a_notebook_cell(tmp_path, data):
    import math

    text = zoo.source("flow_reg").replace("class FlowReg", "class Mine")
    imports, body = text.split("class Mine", 1)
    names = {}
    exec(imports + "import math as mu\n", names)  # imports made in another cell
    cell = "class Mine" + body.replace("super().__init__(dims", "mu.pi; super().__init__(dims")
    variant = in_a_cell(cell, names)["Mine"](data.dims, **SMALL["flow_reg"])
    assert isinstance(variant, Variant)
    run = make_run(variant, data)
    run.save(tmp_path)
    assert "import math as mu" in (tmp_path / "variant.py").read_text()
    again = load_run(tmp_path)
    assert type(again.variant).__name__ == "Mine"
    assert math.isclose(again.variant.log_scale.sum().item(), variant.log_scale.sum().item())


@pytest.mark.parametrize(
    ("before", "changed", "after", "said"),
    [
        ("def mine(): pass", "mine(); super().__init__(dims", "", "uses 'mine' of another cell, "),
        ("N = 3.0", "N; super().__init__(dims", "", "uses 'N' of another cell, without which the"),
        ("def deco(c): return c", "@deco", "", "uses 'deco' of another cell, without which the "),
        ("def round(x): pass", "round(1); super().__init__(dims", "", "uses 'round' of another "),
        ("class Plain(FlowReg): pass", "Plain; super().__init__(dims", "", "one complete class:"),
        ("", "", "fit = dict(model=Mine)", r"more than define it, in line \d+: fit = dict\(mod"),
        ("", "", "print(Mine)", r"does more than define it, in line \d+: print\(Mine\); put"),
        ("", "", "class Other(Mine): pass", "defines several, Mine, Other; a model is one c"),
    ],
)  # fmt: skip
def test_a_cell_that_would_be_no_model_by_itself_is_refused(before, changed, after, said):
    text = zoo.source("flow_reg").replace("class FlowReg", "class Mine")
    imports, body = text.split("class Mine", 1)
    cell = f"class Mine{body}\n{after}\n"
    if changed.startswith("@"):
        cell = f"{changed}\n{cell}"
    elif changed:
        cell = cell.replace("super().__init__(dims", changed)
    names = {"x": 1, "z": [2]}  # names of a notebook that are local ones in the class
    names["FlowReg"] = zoo.load_model("flow_reg")
    exec(f"{imports}{before}\n", {"__name__": "__main__"} | names, names)
    kind = in_a_cell(cell, names)["Mine"]
    with pytest.raises(RunError, match=said):
        zoo.variant_source(kind)


def test_what_a_cell_takes_from_libraries_is_imported_by_a_name_that_it_has_there(tmp_path, data):
    names = {}
    exec(
        "from torch import exp, sum\nimport torch\nact = torch.tanh\nfrom torch.nn.functional "
        "import max_pool2d, softplus\nfrom scipy.special import expit\nimport math as mu\n",
        names,
    )
    names["Base"] = zoo.load_model("flow_reg")
    cell = (
        "from __future__ import annotations\nclass Mine(Base):\n    def encode(self, x):\n"
        "        assert mu.isclose(expit(0.0), 0.5) and max_pool2d and len([1])\n"
        "        return super().encode(x) + 0 * sum(exp(act(softplus(x))))\n"
    )
    variant = in_a_cell(cell, names)["Mine"](data.dims, **SMALL["flow_reg"])
    make_run(variant, data).save(tmp_path)
    again, x = load_run(tmp_path).variant, data.x[:3].float()
    torch.testing.assert_close(again.encode(x), variant.encode(x))
    assert type(again) is not type(variant)


@pytest.mark.parametrize("guard", ["", "if __name__ == '__main__': "])
def test_a_script_that_fits_its_own_model_does_so_under_a_guard(tmp_path, guard):
    """Or it would be fitted again whenever its run is loaded."""
    text = zoo.source("flow_reg").replace("class FlowReg", "class Mine")
    after = f"from pyrosynth.training import zoo\n{guard}zoo.variant_source(\n    Mine)\n"
    (tmp_path / "mine.py").write_text(text + after)
    done = subprocess.run([sys.executable, tmp_path / "mine.py"], capture_output=True, text=True)
    said = (
        f"works with it in line {text.count(chr(10)) + 2}, which would be run whenever the run is"
    )
    assert (done.returncode, said in done.stderr) == ((0, False) if guard else (1, True))


def test_a_cell_may_make_a_model_of_another_one(tmp_path, data):
    names = {"load_model": zoo.load_model, "torch": torch}
    names["Base"] = zoo.load_model("flow_reg")
    cell = (
        "WIDE = torch.tensor(2.0)\nclass Mine(Base):\n    more = WIDE\n"
        "    def encode(self, x):\n        return super().encode(x)\n"
    )
    variant = in_a_cell(cell, names)["Mine"](data.dims, **SMALL["flow_reg"])
    make_run(variant, data).save(tmp_path)
    assert type(load_run(tmp_path).variant).__mro__[1] is names["Base"]
    names = in_a_cell("class Less(Base):\n    pass\n", names)
    with pytest.raises(RunError, match="'Less' has no method of its own.* or fit FlowReg, from"):
        zoo.variant_source(names["Less"])


def test_a_class_without_source_is_refused(tmp_path, data):
    names = {"__name__": "nowhere"}
    exec(zoo.source("flow_reg"), names)
    run = make_run(names["FlowReg"](data.dims, **SMALL["flow_reg"]), data)
    with pytest.raises(RunError, match="no source of variant 'FlowReg'"):
        run.save(tmp_path)
    assert not list(tmp_path.iterdir())


def test_weights_are_not_taken_from_a_model_of_other_tags(data):
    model, options = zoo.load_model("flow_dis"), SMALL["flow_dis"]
    one = model(data.dims, **options)
    take_weights(model(data.dims, **options), one)
    renamed = replace(data.dims, tags=("tone", "weight"))
    with pytest.raises(ValueError, match="knows the tags"):
        take_weights(model(renamed, **options), one)
    with pytest.raises(ValueError, match=r"^it has hidden 16, not 24$"):
        take_weights(model(data.dims, **{**options, "hidden": 24}), one)


def test_a_fit_begins_with_a_run_that_fits_the_data(tmp_path):
    dataset, posterior = small_run(tmp_path)
    options = SMALL["flow_reg"]
    begun = fit("flow_reg", dataset, start=tmp_path / "run", options=options, steps=1, lr=1e-9,
                batch_size=32, progress=False)  # fmt: skip
    held, anew = posterior.variant.state_dict(), begun.variant.state_dict()
    assert all(torch.allclose(anew[key], tensor, atol=1e-6) for key, tensor in held.items())
    assert begun.settings["start"] == weights_hash(posterior.variant)

    with pytest.raises(InputError, match=r"of Run\(FlowReg.* \(it is a FlowReg, not a FlowMixed"):
        fit("flow_mixed", dataset, start=tmp_path / "run", options=SMALL["flow_mixed"])
    with pytest.raises(DataError, match="another synth than the run"):
        fit("flow_reg", dataset, start=load_run("amsynth"), options=options)
    with pytest.raises(RunError, match="no run directory"):
        fit("flow_reg", dataset, start=tmp_path / "none", options=options)

    fit("flow_reg", dataset, tmp_path / "two", start=tmp_path / "run", options=options, steps=1)
    with pytest.raises(RunError, match="another run to begin with"):
        fit("flow_reg", dataset, tmp_path / "two", options=options, steps=1)


def test_a_run_to_begin_with_is_not_discarded(tmp_path):
    dataset, _ = small_run(tmp_path)
    before = {file: file.read_bytes() for file in (tmp_path / "run").glob("*.*")}
    again = {"start": tmp_path / "run", "options": SMALL["flow_reg"], "steps": 1, "force": True}
    with pytest.raises(InputError, match="is the run to begin with, which would be discarded"):
        fit("flow_reg", dataset, tmp_path / "." / "run", **again)
    assert {file: file.read_bytes() for file in (tmp_path / "run").glob("*.*")} == before


def test_a_fit_anew_leaves_what_the_files_of_the_run_are_links_to(tmp_path):
    """Tools that keep versions of data put a link in the place of a file."""
    dataset, _ = small_run(tmp_path)
    store, run = tmp_path / "store", tmp_path / "run"
    store.mkdir()
    for name in ("run.json", "weights.safetensors", "bank.safetensors"):
        (run / name).rename(store / name)
        (run / name).symlink_to(store / name)
    before = {file: file.read_bytes() for file in store.iterdir()}
    fit("flow_reg", dataset, run, options=SMALL["flow_reg"], steps=1, force=True)
    assert {file: file.read_bytes() for file in store.iterdir()} == before
    assert not any(file.is_symlink() for file in run.iterdir())


def test_fits_in_threads_are_those_one_after_the_other(tmp_path):
    dataset, _ = small_run(tmp_path)

    def weights(seed):
        run = fit("mlp", dataset, options=SMALL["mlp"], steps=8, seed=seed, progress=False)
        return weights_hash(run.variant)

    alone = [weights(1), weights(2)]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(weights, (1, 2))) == alone


def test_a_fit_does_not_begin_with_a_run_that_has_learnt_what_is_held_out(tmp_path):
    dataset, posterior = small_run(tmp_path)
    rows = dataset.rows("all", human_only=True)
    space, names = dataset.full_space, dataset.names(rows)
    presets = [
        Preset.from_array(space, values, name)
        for values, name in zip(dataset.values(rows), names, strict=True)
    ]

    def rendered(presets, seed):
        return render_dataset(
            posterior.synth, tmp_path / f"{len(presets)}-{seed}", params=dataset.space.names,
            note=dataset.note, presets=presets, augmented=0, seed=seed, workers=1,
        )  # fmt: skip

    def held_out(dataset):
        return np.concatenate(
            [dataset.rows(split, human_only=True) for split in ("valid", "test")]
        )

    arguments = {"options": SMALL["flow_reg"], "steps": 1}
    alike, other = rendered(presets, 0), rendered(presets, 1)
    fit("flow_reg", alike, start=tmp_path / "run", **arguments)
    new = rendered([presets[i] for i in np.flatnonzero(np.isin(rows, held_out(dataset)))], 0)
    fit("flow_reg", new, tmp_path / "next", start=tmp_path / "run", **arguments)
    export_run(tmp_path / "next", tmp_path / "small", presets=1)
    learnt = {row.tobytes() for row in dataset.values(dataset.rows("train", human_only=True))}
    seen = [row.tobytes() in learnt for row in other.values(held_out(other))]
    assert sum(seen)
    for start in (tmp_path / "run", posterior.run):
        with pytest.raises(DataError, match=rf"has learnt {sum(seen)} of \d+ presets .*--seed"):
            fit("flow_reg", other, start=start, **arguments)
    with pytest.raises(DataError, match=r"has learnt \d+ of \d+ presets"):  # of both datasets
        fit("flow_reg", other, start=tmp_path / "small", **arguments)
    small = Posterior.load(tmp_path / "small")
    with pytest.raises(DataError, match="the run has learnt"):
        check(small, other, tmp_path / "check", budget=0, draws=2, workers=1)
