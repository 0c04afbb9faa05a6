"""The documentation: what it shows runs, at small size, and every page can be reached."""

import ast
import importlib.util
import inspect
import json
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest
import soundfile
import typer
from hums import hum
from plain import PLAIN
from toys import SMALL

import pyrosynth as ps
from pyrosynth import cli
from pyrosynth.audio import example as sounds
from pyrosynth.audio.closeness import closeness
from pyrosynth.explore import naming

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [DOCS / "start.md", DOCS / "explore.md", *sorted((DOCS / "howto").glob("*.md"))]
PAGES.remove(DOCS / "howto" / "scale_out.md")  # run by test_cluster, which has the cluster
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)

# Commands that these tests cannot run: they install, test, need a plugin or a screen.
NOT_RUN = {
    "make demo",
    "PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make demo",
    "make test",
    "python -m benchmarks.outside --out outside",
    "python -m benchmarks.morph_smoothness amsynth --pairs 60 --seed 1 --out smoothness",
    "pip install -c constraints.txt .",
    'pip install -c constraints.txt ".[notebooks]"',
    'pip install "pyrosynth[dexed]"',
    'pip install "pyrosynth[plugins]"',
    'pip install "pyrosynth[vital]"',
    "jupyter lab notebooks",
    'python -c "import torch; print(torch.cuda.is_available())"',
    "python docs/explore_media.py explored docs/_static/explore",
    "pytest tests/test_models.py -k plain",
    "pytest --device cuda -m gpu",
    "torchrun --nproc-per-node 4 -m pyrosynth fit flow_reg data --out run-gpus --device cuda "
    "--batch-size 1024",
}
# Commands and calls whose options are only read, since other tests run them.
ONLY_READ = ("scan", "check", "install", "explore", "describe", "presets", "learn")
ONLY_COMPARED = ("ps.check(", "ps.compare(", "az.from_netcdf(")

SMALLER = {
    "augmented": 40, "steps": 4, "budget": 12, "draws": 4, "n_presets": 3,
    "device": "cpu",
}  # fmt: skip
OPTIONS = {
    "render": "--hold 0.2 --duration 0.3 --feature n_mels=16 --workers 1",
    "fit": "--steps 4",
    "axes": "--presets 2 --draws 2 --workers 1",
    "infer": "--budget 12 --draws 4 --workers 1",
    "compare": "--seeds 1 --presets 2 --draws 16 --methods median,cma-20 --workers 1 "
    "--set embedding_dim=16 --set channels=[8,16] --set hidden=16 --set rank=8",
}
NETWORKS = {name: SMALL[name] for name in ("flow_audio", "flow_reg", "flow_dis")}
NETWORKS["mine.py"] = SMALL["flow_reg"]
CALLS = {
    "render_dataset": "note=ps.Note(hold_seconds=0.2, duration_seconds=0.3), workers=1, "
    "features=ps.FeatureSpec(n_mels=16)",
    "fit": "steps=4, progress=False",
    "renderer": "workers=1",
    "traverse": "steps=2, draws=0",
    "morph": "steps=3",
}


def small_command(arguments):
    """Return the arguments of a command with small numbers, and a synth that starts quickly."""
    arguments = [PLAIN if a in ("amsynth", "voice") else a for a in arguments]
    for i, option in enumerate(arguments[:-1]):
        name = option.removeprefix("--")
        if option.startswith("--") and name in SMALLER:
            arguments[i + 1] = str(SMALLER[name])
    arguments += shlex.split(OPTIONS.get(arguments[0], ""))
    if arguments[0] == "fit":
        network = NETWORKS.get(arguments[1], {})
        arguments += [f"--set={key}={json.dumps(value)}" for key, value in network.items()]
    return arguments


class Small(ast.NodeTransformer):
    """Puts small numbers into calls, small sizes where a call leaves them out, and `PLAIN`."""

    def visit_Constant(self, node):
        return ast.Constant(PLAIN) if node.value == "voice" else node

    def visit_Call(self, node):
        self.generic_visit(node)
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        for keyword in node.keywords:
            if keyword.arg in SMALLER:
                keyword.value = ast.Constant(SMALLER[keyword.arg])
        given = {keyword.arg for keyword in node.keywords}
        more = CALLS.get(name, "")
        if name == "fit" and (network := NETWORKS.get(ast.unparse(node.args[0]).strip("'"))):
            more += f", options={network}"
        call = ast.parse(f"f({more})", mode="eval").body
        node.keywords += [keyword for keyword in call.keywords if keyword.arg not in given]
        return node


def run_command(line, capfd):
    """Run a line of a console block, or read its options only."""
    line, _, target = line.partition(" > ")
    if line in NOT_RUN:
        return
    program, *arguments = shlex.split(line)
    assert program == "pyrosynth", f"'{line}' is neither run nor listed in NOT_RUN"
    command = typer.main.get_command(cli.app)
    with command.make_context("pyrosynth", list(arguments), resilient_parsing=True) as context:
        name, found, rest = command.resolve_command(context, list(arguments))
        found.make_context(name, list(rest)).close()
    if name not in ONLY_READ and "--device cuda" not in line:
        capfd.readouterr()
        code = cli.main(small_command(arguments))
        out, err = capfd.readouterr()
        assert code == 0, err
        if target:
            Path(target).write_text(out, encoding="utf-8")


def compare_calls(tree):
    """Make sure that public functions take the arguments they are given."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("ps."):
            name = node.func.attr
            if isinstance(function := getattr(ps, name, None), type(compare_calls)):
                keywords = {keyword.arg: None for keyword in node.keywords}
                inspect.signature(function).bind(*node.args, **keywords)


def test_what_the_pages_show_runs(few_presets, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    for name in ("WHITENING", "CHOSEN_AT", "POSITIONS"):  # `name` tries and measures few places
        monkeypatch.setattr(naming, name, getattr(naming, name)[:2])
    monkeypatch.setitem(naming.name_axes.__kwdefaults__, "places", (2, 2))
    soundfile.write("sound.wav", sounds.string_and_flute(seconds=1.0), 96000)
    soundfile.write("hum.wav", hum(48, 1.2), 22050)
    Path("outside").mkdir()
    soundfile.write("outside/string.wav", sounds.string_and_flute(seconds=0.4), 96000)
    for page in PAGES:
        names = {"__name__": page.stem}
        for block in BLOCK.finditer(text := page.read_text()):
            language, code = block.groups()
            where = f"{page.name}, line {text[: block.start()].count(chr(10)) + 2}"
            if language == "console":
                for line in code.splitlines():
                    assert line.startswith("$ "), f"{where}: '{line}' lacks its prompt"
                    run_command(line.removeprefix("$ "), capfd)
            elif language == "python" and (file := re.match(r"# (\w+\.py)\n", code)):
                Path(file[1]).write_text(code, encoding="utf-8")
            elif language == "python" and any(call in code for call in ONLY_COMPARED):
                compare_calls(ast.parse(code))
            elif language == "python":
                tree = ast.fix_missing_locations(Small().visit(ast.parse(code)))
                exec(compile(tree, where, "exec"), names)


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: page.stem)
def test_pages_can_be_reached(page):
    if "_build" in page.parts:
        pytest.skip("made by the build")
    text = (DOCS / "api.md").read_text("utf-8")
    listed = re.findall(r"^   (pyrosynth[\w.]*)$", text, re.MULTILINE)
    for name in listed:
        assert importlib.util.find_spec(name), f"there is no {name}"
    for name in ps.__all__:
        public = getattr(ps, name)
        assert getattr(public, "__module__", public.__name__) in listed
        assert f"ps.{name}" in text or name in ("Variant", "Term", "Dims", "modeling")


GALLERY = (DOCS / "gallery.md").read_text(encoding="utf-8")
FOUND = json.loads((DOCS / "_static" / "gallery" / "results.json").read_text(encoding="utf-8"))


def test_the_gallery_shows_what_was_found():
    rows = [line for line in GALLERY.splitlines() if line.startswith("| **")]
    assert len(rows) == len(FOUND["targets"]) == 12
    for row, target in zip(rows, FOUND["targets"], strict=True):
        cell, *cells = row.strip("|").split(" | ")
        assert f"**{target['called']}**" in cell
        for name, found in zip(FOUND["synths"], target["found"].values(), strict=True):
            said, word = cells.pop(0), closeness(found["lsd_db"], found["audible"])
            assert f"**{found['lsd_db']:.2f} dB**, {word}" in said
            assert f"_static/gallery/{target['name']}-{name}.mp3" in said
            assert (f"play it at {found['play']}" in said) == bool(found["play"])
    distances = [found["lsd_db"] for t in FOUND["targets"] for found in t["found"].values()]
    assert f"to {max(distances):.2f} dB" in GALLERY


def test_the_targets_of_the_gallery_are_held_out():
    own = [target for target in FOUND["targets"] if target["of"] == "amsynth"]
    assert len(own) >= 3
    assert not {target["called"] for target in own} & set(ps.Posterior.load("amsynth").bank.names)


def test_the_sounds_of_the_gallery_and_the_demo_are_there_and_small():
    files = set(re.findall(r'\((_static/[^)]+)\)|src="(_static/[^"]+)"', GALLERY))
    files = {DOCS / (one or other) for one, other in files}
    assert len([file for file in files if file.suffix == ".mp3"]) == 36
    for file in files:
        assert file.is_file(), file
        if file.suffix == ".mp3":
            assert 0.3 < soundfile.info(file).duration < 4.5
    kept = {f for folder in ("_static/gallery", "demo") for f in (DOCS / folder).rglob("*.*")}
    assert {f for f in kept if f.is_relative_to(DOCS / "_static")} == files
    assert sum(file.stat().st_size for file in kept) < 3 * 2**20


def test_the_command_of_the_gallery_has_the_options_of_its_program(monkeypatch, capsys):
    (line,) = re.findall(r"^\$ (python docs/gallery_media.py .*)$", GALLERY, re.MULTILINE)
    monkeypatch.setattr(sys, "argv", ["gallery_media.py", "--help"])
    with pytest.raises(SystemExit):
        runpy.run_path(str(DOCS / "gallery_media.py"), run_name="__main__")
    helped = capsys.readouterr().out
    assert set(re.findall(r"--\w+", line)) == set(re.findall(r"--\w+", helped)) - {"--help"}
