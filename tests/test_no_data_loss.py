"""Nothing is lost that pyrosynth did not write: every command that writes, at foreign folders."""

import shutil

import numpy as np
import pytest
import typer
from plain import PLAIN
from small import small_run
from toys import SMALL

from pyrosynth.audio.io import save_audio
from pyrosynth.cli.app import app, main
from pyrosynth.data import dataset, gathering
from pyrosynth.errors import LONGEST
from pyrosynth.evaluation import methods
from pyrosynth.training.fit import fit

RATE = 22050
# Names that commands write, and others, each with bytes that exist nowhere else.
NAMES = (
    "table.csv", "table.md", "report.html", "summary.json", "facts.json", "check.nc", "run.json",
    "weights.safetensors", "variant.py", "bank.safetensors", "checkpoint.safetensors",
    "preset.json", "render.wav", "posterior.nc", "ranking.csv", "ranking.png", "index.html",
    "data.js", "zarr.json", "compare.json", "statistics.csv", "tags.csv", "notes.txt",
    "note/note.wav", "note/preset.json", "x/c/0/0/0", "status/zarr.json", "trials/mine.npz",
    "sounds/1.mp3", "voice/data/zarr.json", "voice/run/run.json", "map/data.nc", "map/mine.png",
    "runs/mine/run.json", ".hidden", "axes/facts.json",
)  # fmt: skip


@pytest.fixture(autouse=True)
def little_work(few_presets, monkeypatch):
    """Render few presets, and fit the baselines of a check for two steps only."""
    monkeypatch.setattr(methods, "STEPS", 2)


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A dataset, a run fitted to it, and a sound."""
    folder = tmp_path_factory.mktemp("results")
    data, _ = small_run(folder, PLAIN)
    fit(
        "flow_dis", data, folder / "tagged", options=SMALL["flow_dis"], steps=2,
        batch_size=32, progress=False,
    )  # fmt: skip
    save_audio(folder / "note.wav", tone(), RATE)
    return folder


def tone():
    time = np.arange(RATE // 2) / RATE
    return (0.5 * np.sin(2 * np.pi * 262 * time) * np.exp(-3 * time)).astype(np.float32)


@pytest.fixture
def foreign(tmp_path):
    """A folder in which each file is somebody's own."""
    folder = tmp_path / "mine"
    for name in NAMES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(f"my own {name}, of which there is one".encode())
    (folder / "empty").mkdir()
    return folder


def contents(folder):
    return {
        str(f.relative_to(folder)): f.read_bytes() if f.is_file() else None
        for f in sorted(folder.rglob("*"))
    }


COMMANDS = {
    "render": f"{PLAIN} --params 16 --augmented 0 --hold 0.2 --duration 0.3 --workers 1",
    "tags": "DATA --from names",
    "fit": "flow_reg DATA --steps 1",
    "export": "RUN",
    "infer": "RUN note.wav --budget 2 --draws 1 --workers 1",
    "check": "RUN --presets 1 --draws 2 --budget 0 --workers 1",
    "compare": "DATA --models flow_reg --methods none --seeds 1 --steps 1 --presets 1 --draws 16",
    "axes": "TAGGED --presets 2 --workers 1",
    "explore": "RUN --axes 0 --draws 1 --workers 1",
    "serve": "RUN --presets 1",
    "demo": "--synth voice --smoke --workers 1",
    "learn": f"{PLAIN} --minutes 0.001 --workers 1",
}
ONE_FILE = {"describe": ["--force"], "presets": []}  # commands whose --out is a file
FORCED = ("fit", "export", "infer", "compare", "axes")
OUT = {"serve": "--static"}


def arguments(command, here, out, *more):
    known = {
        "TAGGED": here / "tagged",
        "DATA": here / "data",
        "RUN": here / "run",
        "note.wav": here / "note.wav",
    }
    words = [str(known.get(word, word)) for word in COMMANDS[command].split()]
    return [command, *words, OUT.get(command, "--out"), str(out), *more]


def test_every_command_that_writes_is_tried():
    commands = typer.main.get_command(app).commands
    writing = {
        name for name, command in commands.items()
        if any("--out" in p.opts or "--static" in p.opts for p in command.params)
    }  # fmt: skip
    assert writing == set(COMMANDS) | set(ONE_FILE)
    forced = {n for n in COMMANDS if any("--force" in p.opts for p in commands[n].params)}
    assert forced == set(FORCED)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("force", [False, True])
def test_foreign_folders_are_refused_and_kept(here, foreign, capsys, command, force):
    if force and command not in FORCED:
        pytest.skip("has no --force")
    before = contents(foreign)
    code = main(arguments(command, here, foreign, *["--force"] * force))
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert contents(foreign) == before
    assert code == 2
    assert len(line) < LONGEST + 20
    assert str(foreign) in line


@pytest.mark.parametrize("command", [c for c in COMMANDS if c != "infer"])
def test_one_foreign_file_is_enough(here, tmp_path, capsys, command):
    for name in ("report.html", "x/y"):
        out = tmp_path / f"{name[0]}.csv"  # as tags are called
        (out / name).parent.mkdir(parents=True)
        (out / name).write_bytes(b"mine")
        before = contents(out)
        assert main(arguments(command, here, out, *["--force"] * (command in FORCED))) == 2
        said = "is there already" if command == "tags" else "did not write"
        assert said in capsys.readouterr().err
        assert contents(out) == before


@pytest.mark.parametrize("command", ONE_FILE)
def test_files_that_are_there_stay(foreign, capsys, command):
    (foreign / "notes.txt").rename(foreign / "notes.json")
    (foreign / "empty").rename(foreign / "empty.json")
    before = contents(foreign)
    for name in ("notes.json", "empty.json", ""):
        for more in ([], ONE_FILE[command]):
            out = str(foreign / name)
            assert main([command, "voice", "--out", out, "--workers", "1", *more]) == 2
            assert len(capsys.readouterr().err.strip().splitlines()[-1]) < LONGEST + 20
            assert contents(foreign) == before


@pytest.mark.parametrize("command", ["tags", "presets"])
def test_a_file_that_comes_while_a_command_works_stays(
    here, tmp_path, capsys, command, monkeypatch
):
    """Of another process of the same command, or of somebody who wrote it by hand."""
    out = tmp_path / ("out.csv" if command == "tags" else "out.json")

    def meanwhile(work):
        def worked(*arguments, **options):
            out.write_text("mine")
            return work(*arguments, **options)

        return worked

    if command == "tags":
        call = arguments("tags", here, out)
        monkeypatch.setattr(dataset, "open_dataset", meanwhile(dataset.open_dataset))
    else:
        call = ["presets", PLAIN, "--out", str(out), "--workers", "1"]
        monkeypatch.setattr(gathering, "gather", meanwhile(gathering.gather))
    assert main(call) == 2
    assert f"{out.name}' is there already; give another --out" in capsys.readouterr().err
    assert contents(tmp_path) == {out.name: b"mine"}


@pytest.mark.parametrize("command", ONE_FILE)
@pytest.mark.parametrize("name", ["mine.vital", "bank.syx", "plain", ".json"])
def test_json_is_written_only_where_its_name_tells(tmp_path, capsys, command, name):
    assert main([command, "voice", "--out", str(tmp_path / name), "--workers", "1"]) == 2
    assert "give a name that ends in .json" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_the_folder_of_osc_messages_must_be_ours(here, foreign, capsys):
    before = contents(foreign)
    assert main(["serve", str(here / "run"), "--out", str(foreign), "--port", "0"]) == 2
    assert "did not write" in capsys.readouterr().err
    assert contents(foreign) == before


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("out", ["", ".", "..", "../mine/.", "notes.txt"])
def test_odd_places_keep_what_they_hold(here, foreign, capsys, monkeypatch, command, out):
    monkeypatch.chdir(foreign)
    before = contents(foreign.parent)
    force = ["--force"] * (command in FORCED)
    code = main(arguments(command, here, out, *force))
    capsys.readouterr()
    after = contents(foreign.parent)
    assert {name: after.get(name) for name in before} == before
    # Two write into folders of their own below, which are free in "..".
    assert code == 2 or (out == ".." and command in ("infer", "demo"))


@pytest.mark.parametrize(
    "name", ["..wav", "...wav", "note", ".wav", "empty", " .wav", "a\nb.wav", "note.wav.wav"]
)
def test_sounds_of_odd_names_cost_nothing(here, foreign, capsys, monkeypatch, name):
    """Beside the sounds, with `--out .`: names that are no stems, or those of other folders."""
    monkeypatch.chdir(foreign)
    shutil.rmtree(foreign / "empty")
    if name == "note":
        shutil.rmtree(foreign / "note")
    shutil.copy(here / "note.wav", foreign / name)
    before = contents(foreign.parent)
    command = ["infer", str(here / "run"), name, "--out", ".", "--force"]
    code = main([*command, *"--budget 2 --draws 1 --workers 1".split()])
    assert "Traceback" not in capsys.readouterr().err
    after = contents(foreign.parent)
    assert {key: after.get(key) for key in before} == before
    assert code in (0, 2)


@pytest.mark.parametrize("command", ["tags", "fit", "render"])
def test_what_was_put_beside_results_stays(here, tmp_path, capsys, command):
    """The second call does its work, or refuses it, and keeps a file that somebody added.

    So do `check` and `explore`, whose own tests call them twice.
    """
    out = tmp_path / ("tags.csv" if command == "tags" else "out")
    assert main(arguments(command, here, out)) == 0, capsys.readouterr().err
    mine = (out if out.is_dir() else tmp_path) / "my notes.txt"
    mine.write_text("mine")
    again = main(arguments(command, here, out, *["--force"] * (command in FORCED)))
    assert again == (2 if command == "tags" else 0)
    assert mine.read_text() == "mine"


def test_folders_written_at_once_keep_what_was_put_into_them(here, tmp_path, capsys):
    for command, inner in (("infer", "note"), ("serve", ""), ("export", "")):
        out = tmp_path / command
        force = ["--force"] * (command in FORCED)
        assert main(arguments(command, here, out, *force)) == 0, capsys.readouterr().err
        assert main(arguments(command, here, out, *force)) == 0, capsys.readouterr().err
        (out / inner / "my notes.txt").write_text("mine")
        before = contents(out)
        assert main(arguments(command, here, out, *force)) == 2
        assert "my notes.txt" in capsys.readouterr().err
        assert contents(out) == before


def test_results_of_other_commands_are_not_replaced(here, tmp_path, capsys):
    """A page in the place of a run, a run in the place of a page, a preset in that of a run."""
    shutil.copytree(here / "run", tmp_path / "run")
    shutil.copytree(here / "run", tmp_path / "note")
    assert main(arguments("serve", here, tmp_path / "site")) == 0
    before = contents(tmp_path)
    for command, out in (
        ("serve", "run"), ("export", "run"), ("export", "site"), ("infer", ""), ("check", "run"),
    ):  # fmt: skip
        force = ["--force"] * (command in FORCED)
        assert main(arguments(command, here, tmp_path / out, *force)) == 2, command
        assert "was made by `pyrosynth" in capsys.readouterr().err
    assert contents(tmp_path) == before


def test_the_folder_of_a_dataset_is_no_place_for_a_run(here, tmp_path, capsys):
    shutil.copytree(here / "data", tmp_path / "data")
    before = contents(tmp_path)
    assert main(arguments("fit", here, tmp_path / "data")) == 2
    assert (
        "data' was made by `pyrosynth render`, not by `pyrosynth fit`" in capsys.readouterr().err
    )
    assert contents(tmp_path) == before
