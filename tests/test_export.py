"""Runs that are given away."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small import small_run
from toys import SMALL

from pyrosynth import explore
from pyrosynth.cli.app import main
from pyrosynth.data.bank import Bank
from pyrosynth.errors import InputError, RunError
from pyrosynth.inference.posterior import Posterior
from pyrosynth.training import run as runs
from pyrosynth.training.export import export_run
from pyrosynth.training.fit import fit
from pyrosynth.training.run import load_run, run_folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    dataset, posterior = small_run(folder)
    return folder / "run", posterior, dataset.x(dataset.rows("test")[:1])[0]


def test_an_exported_run_is_smaller_and_infers_the_same(whole, tmp_path, capsys):
    folder, posterior, x = whole
    recipe = "pyrosynth fit flow_reg data"
    assert main([
        "export", str(folder), "--out", str(tmp_path / "small"), "--presets", "20",
        "--recipe", recipe,
    ]) == 0  # fmt: skip
    assert "MB" in capsys.readouterr().out
    exported = Posterior.load(tmp_path / "small")
    sizes = [(f / "weights.safetensors").stat().st_size for f in (folder, tmp_path / "small")]
    assert sizes[1] < 0.6 * sizes[0]
    assert sorted(file.name for file in (tmp_path / "small").iterdir()) == [
        ".pyrosynth.json", "bank.safetensors", "run.json", "variant.py", "weights.safetensors",
    ]  # fmt: skip
    np.testing.assert_allclose(exported.sample(x, 20).v, posterior.sample(x, 20).v, atol=0.01)
    assert len(exported.bank) == 20
    assert exported.bank.names == posterior.bank.names[:20]
    assert (exported.bank.values == posterior.bank.values[:20]).all()
    before, after = (p.bank.nearest(x[None])[1][0, 0] for p in (posterior, exported))
    assert after == pytest.approx(posterior.bank.first(20).nearest(x[None])[1][0, 0], rel=0.1)
    assert before <= after + 0.5
    facts = json.loads((tmp_path / "small" / "run.json").read_text())
    assert facts["dataset"]["recipe"] == [recipe]
    assert str(folder.parent) not in json.dumps(facts)


@pytest.mark.parametrize(("synth", "kept"), [("plugin", True), ("dssi", True), ("amsynth", False)])
def test_an_exported_run_keeps_the_path_of_a_plugin_that_nothing_else_tells(
    whole, tmp_path, synth, kept
):
    spec = {"synth": synth, "path": "/usr/lib/lv2/mda.lv2#JX10"}
    replace(runs.load_run(whole[0]), synth_spec=spec).save(tmp_path / "run")
    export_run(tmp_path / "run", tmp_path / "small")
    assert ("path" in runs.load_run(tmp_path / "small").synth_spec) == kept


def test_a_run_of_few_presets_is_explored(whole, tmp_path):
    folder = export_run(whole[0], tmp_path / "small", presets=5)
    few = Posterior.load(folder)
    assert len(explore.nearest_presets(few, few.bank.names[0]).facts()) == 4
    out = tmp_path / "map"
    assert main(["explore", str(folder), "--out", str(out), "--axes", "0", "--workers", "1"]) == 0
    assert len(json.loads((out / "facts.json").read_text())["nearest"]) == 4


def test_a_run_that_is_there_is_kept_unless_asked(whole, tmp_path):
    folder = export_run(whole[0], tmp_path / "small", presets=5)
    before = [file.stat().st_mtime_ns for file in folder.iterdir()]
    assert export_run(whole[0], folder, presets=5) == folder  # the same again: nothing to do
    assert [file.stat().st_mtime_ns for file in folder.iterdir()] == before
    with pytest.raises(RunError, match="--force"):
        export_run(whole[0], folder, presets=6)
    assert len(Posterior.load(folder).bank) == 5
    export_run(whole[0], folder, presets=6, force=True)
    assert len(Posterior.load(folder).bank) == 6


def test_numbers_that_16_bits_cannot_hold_are_kept(tmp_path):
    dataset, _ = small_run(tmp_path)
    own, begin = tmp_path / "own.py", "        super().__init__(dims"
    text = (Path("models") / "mlp.py").read_text()
    held = '        self.register_buffer("held", torch.tensor([1e-8, 1e5]))\n'
    learnt = "        self.big, self.tiny = nn.Parameter(torch.tensor(1e5)), nn.Parameter("
    line = next(line for line in text.splitlines() if line.startswith(begin))
    learnt += "torch.full((2,), 1e-8))\n"
    learnt += "        self.order = nn.Parameter(torch.arange(5000), requires_grad=False)\n"
    learnt += "        self.mask = nn.Parameter(torch.ones(3, dtype=bool), requires_grad=False)\n"
    own.write_text(text.replace(line, f"{line}\n{held}{learnt}"))
    run = fit(own, dataset, tmp_path / "whole", options=SMALL["mlp"], steps=1)
    export_run(tmp_path / "whole", tmp_path / "little")
    before, after = run.variant.state_dict(), load_run(tmp_path / "little").variant.state_dict()
    for name in ("held", "big", "tiny", "order", "mask"):
        assert (before[name] == after[name]).all()


def test_of_two_exports_to_one_folder_one_says_that_it_lost(whole, tmp_path, monkeypatch):
    load = Bank.load

    def meanwhile(path):
        monkeypatch.undo()
        export_run(whole[0], tmp_path / "small", presets=5)
        return load(path)

    monkeypatch.setattr(Bank, "load", meanwhile)
    with pytest.raises(InputError, match="another process was quicker and has written"):
        export_run(whole[0], tmp_path / "small", presets=6)
    assert len(Posterior.load(tmp_path / "small").bank) == 5


def test_a_path_comes_before_a_name(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "PRETRAINED", tmp_path / "pretrained")
    export_run(whole[0], tmp_path / "pretrained" / "tiny", presets=5)
    monkeypatch.chdir(tmp_path)
    assert runs.pretrained() == ("tiny",)
    assert run_folder("tiny") == tmp_path / "pretrained" / "tiny"
    assert len(Posterior.load("tiny").bank) == 5
    with pytest.raises(RunError, match="pretrained one: tiny"):
        Posterior.load("tiniest")
    (tmp_path / "tiny").mkdir()
    assert len(Posterior.load("tiny").bank) == 5, "a folder without a run hides none"
    export_run(whole[0], tmp_path / "tiny", presets=6)
    assert run_folder("tiny").resolve() == tmp_path / "tiny"
    assert len(Posterior.load("tiny").bank) == 6


def test_what_cannot_be_exported_loses_nothing(whole, tmp_path):
    folder = export_run(whole[0], tmp_path / "small", presets=5)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(RunError, match="no run directory"):
        export_run(tmp_path / "none", folder, presets=6, force=True)
    with pytest.raises(InputError, match="is the run itself"):
        export_run(whole[0], whole[0], force=True)
    (folder / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="holds 'mine.txt', which pyrosynth did not write"):
        export_run(whole[0], folder, presets=6, force=True)
    (folder / "mine.txt").unlink()
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_what_fewer_axes_keep(whole):
    bank = whole[1].bank
    small = bank.first(len(bank), 8)
    assert small.codes.shape[1] == 8
    x = bank.sounds([3])
    kept = small.sounds([3])
    lost = np.linalg.norm((x - kept).ravel()) ** 2
    assert small.missed[3] ** 2 - bank.missed[3] ** 2 == pytest.approx(lost, rel=1e-3, abs=1e-3)


def test_what_is_printed_of_its_name_is_no_command_of_the_terminal(whole, tmp_path, capsys):
    assert (
        main(["export", str(whole[0]), "--out", str(tmp_path / "a\x1b[2Jb"), "--presets", "5"])
        == 0
    )
    assert "a\\x1b[2Jb: " in capsys.readouterr().out


def test_a_place_that_is_none_is_refused(whole):
    with pytest.raises(InputError, match="no usable path"):
        export_run(whole[0], "a\0b")
