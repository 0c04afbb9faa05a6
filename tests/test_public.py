"""What the README shows works, and what the wheel holds is what is needed."""

import os
import re
import shlex
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

from plain import PLAIN

import pyrosynth as ps
from pyrosynth.cli.app import main
from pyrosynth.training import zoo

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()

# What the README says, and what it takes to see that it runs.
SMALLER = {
    "render voice": f"render {PLAIN}",
    'load_synth("voice")': f'load_synth("{PLAIN}")',
    "fit flow_audio": "fit flow_audio --set latent_dim=8 --set decoder_hidden=16",
    "--augmented 4000": "--augmented 20 --hold 0.2 --duration 0.4 --feature n_mels=16",
    "--steps 1000": "--steps 3 --batch-size 32 --set channels=[8,16] --set rank=8",
    "--out found": "--out found --budget 16 --draws 2",
    "--out heard": "--out heard --budget 16 --draws 2",
    "--out explored": "--out explored --axis length --draws 1",
    "--presets 20": "--presets 2 --draws 2 --budget 0",
    "augmented=4000": "augmented=20, note=ps.Note(hold_seconds=0.2, duration_seconds=0.4), "
    "features=ps.FeatureSpec(n_mels=16)",
    "steps=1000": "steps=3, batch_size=32, options={'latent_dim': 8, 'decoder_hidden': 16, "
    "'channels': (8, 16), 'rank': 8}",
    "budget=256": "budget=16",
}


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def smaller(text):
    for said, done in SMALLER.items():
        text = text.replace(said, done)
    return text


def test_what_is_made_smaller_is_there():
    for said in SMALLER:
        assert said in README


def test_the_quickstart_runs(few_presets, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pyrosynth.evaluation.methods.STEPS", 2)
    for name in ("N_PRESETS", "CENTERS"):  # of what `explore` shows, and of what it measures
        monkeypatch.setattr(f"pyrosynth.explore.folder.{name}", 2)
    lines = "".join(blocks("bash")).splitlines()
    commands = [shlex.split(smaller(line), comments=True) for line in lines]
    for command in (words for words in commands if words[0] == "pyrosynth"):
        if command[1] == "serve":  # it runs until it is stopped, see test_explorer
            continue
        target = command[-1] if ">" in command else None
        capfd.readouterr()
        assert main(command[1:-2] if target else command[1:]) == 0, capfd.readouterr().err
        if target:
            Path(target).write_text(capfd.readouterr().out, encoding="utf-8")
    assert {"data", "run", "found", "heard", "check", "explored", "mine", "mine.py"} <= set(
        os.listdir()
    )
    assert Path("found/string-and-flute/report.html").is_file()

    # "The same in Python" finds what the commands made, and makes nothing anew.
    script, excerpt = blocks("python")
    before = {file: file.stat().st_mtime_ns for file in Path().rglob("*") if file.is_file()}
    capfd.readouterr()
    exec(compile(smaller(script), "README.md", "exec"), {"__name__": "quickstart"})
    assert "osc1_waveform" in capfd.readouterr().out
    assert len(script.splitlines()) <= 13
    shown = textwrap.indent(excerpt.rstrip(), "    ").replace("\n\n\n", "\n\n")
    assert shown in zoo.source("flow_reg")
    after = {file: file.stat().st_mtime_ns for file in Path().rglob("*") if file.is_file()}
    assert after == before


def test_the_citation_is_of_this_version():
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {ps.__version__}\n" in citation
    assert "\nlicense: Apache-2.0\n" in citation


def test_targets_of_make_exist():
    for target in re.findall(r"^make (\w+)", "".join(blocks("bash")), re.MULTILINE):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_models_and_links():
    assert set(re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE)) == set(zoo.list_models())
    for link in re.findall(r"\]\((?!http)([^)]+)\)", README):
        assert (ROOT / link.partition("#")[0]).exists(), link


def test_every_public_name_has_an_example_that_runs():
    """In its docstring, or on a page or in a notebook whose blocks other tests run."""
    pages = [ROOT / "README.md", ROOT / "docs/start.md", ROOT / "docs/explore.md"]
    pages += [*(ROOT / "docs/howto").glob("*.md"), *(ROOT / "notebooks").glob("*.ipynb")]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    imported = " ".join(re.findall(r"from pyrosynth.modeling import ([^)]*)", text))
    for name in ps.__all__:
        docstring = (getattr(ps, name).__doc__ or "").splitlines()
        runs = [line for line in docstring if ">>>" in line and "+SKIP" not in line]
        shown = re.search(rf"\bps\.{name}\b", text) or re.search(rf"\b{name}\b", imported)
        assert shown or len(runs) > 1 or name in ("modeling", "evaluation"), name


def test_the_wheel(tmp_path):
    """It holds the package, the models inside it, and nothing else."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"pyrosynth"}
    assert {f"pyrosynth/models/{name}.py" for name in zoo.list_models()} <= names
    here = {
        f"pyrosynth/{file.relative_to(ROOT / 'pyrosynth')}"
        for file in (ROOT / "pyrosynth").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert here <= names
    assert any(name.endswith("entry_points.txt") for name in names)
    assert not [name for name in names if "__pycache__" in name]
