"""The command line: what each command prints, writes and returns."""

import importlib.metadata
import json
import os
import shlex
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from plain import PLAIN, Plain
from small import small_run
from toys import SMALL

from pyrosynth._version import __version__
from pyrosynth.audio.closeness import closeness
from pyrosynth.cli import options
from pyrosynth.cli.app import main
from pyrosynth.inference.arviz import arviz
from pyrosynth.synths import load_synth
from pyrosynth.synths.params import ParamSpace
from pyrosynth.synths.presets import Preset
from pyrosynth.training import zoo

SETTINGS = [f"--set={key}={json.dumps(value)}" for key, value in SMALL["flow_reg"].items()]
RENDER = ["render", PLAIN, "--params", "16", "--augmented", "20", "--duration", "0.3"]
RENDER += ["--hold", "0.2", "--feature", "n_mels=16", "--workers", "1"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run's folder, with a held-out sound beside it."""
    folder = tmp_path_factory.mktemp("cli")
    dataset, posterior = small_run(folder)
    row = dataset.rows("test")[:1]
    soundfile.write(folder / "target.wav", dataset.audio(row)[0], 22050, subtype="FLOAT")
    return folder / "run"


@pytest.fixture
def call(capfd):
    """Run a command in this process; return exit code, standard output, standard error."""

    def call(*arguments):
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        return code, *capfd.readouterr()

    return call


def test_help_is_complete(call):
    code, out, _ = call("--help")
    assert code == 0
    commands = (
        "synths", "install", "scan", "render", "tags", "describe", "presets", "learn",
        "models", "fit", "compare", "export", "infer", "check", "axes", "explore", "serve", "demo",
    )  # fmt: skip
    for command in commands:
        assert f"  {command} " in out
        assert call(command, "--help")[0] == 0
    assert call()[1] == out
    assert call("--version")[1] == f"pyrosynth {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["play"], "No such command 'play'"),
        (["fit"], "Missing argument 'MODEL'"),
        (["fit", "flow_reg", "data"], "Missing option '--out'"),
        (["fit", "flow_reg", "data", "--out", "run", "--steps", "many"], "'--steps'"),
    ],
)
def test_usage_errors_are_one_line(call, arguments, message):
    code, out, error = call(*arguments)
    assert (code, out) == (2, "")
    assert message in error
    assert "--help)\n" in error
    assert error.count("\n") == 1


def test_synths_and_models(call):
    assert "voice     yes  built in" in call("synths")[1]
    listed = json.loads(call("synths", "--json")[1])["synths"]
    assert listed[0] == {"name": "voice", "available": True, "note": "built in"}
    assert [row["name"] for row in json.loads(call("models", "--json")[1])["models"]] == [
        *zoo.list_models()
    ]
    assert call("models", "flow_reg")[1] == zoo.source("flow_reg")


def test_what_install_does_not_fetch_is_said_with_what_to_do(call, monkeypatch):
    assert call("install", "voice")[:2] == (0, "voice is there already: built in\n")
    code, said, _ = call("install", __file__)
    assert (code, said.partition(";")[0]) == (0, f"'{__file__}' is there already")
    assert "unknown synth 'surge'; known: voice, amsynth, " in call("install", "surge")[2]

    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    for name in ("dexed", "vital"):
        code, out, error = call("install", name)
        assert (code, out) == (2, "")
        assert f"only amsynth is fetched by this command; {name}: " in error
        assert f"run pip install 'pyrosynth[{name}]'" in error


@pytest.mark.parametrize("option", ["--models", "--methods"])
def test_an_empty_item_of_a_list_is_called_that(call, run, tmp_path, option):
    code, _, error = call("compare", run.parent / "data", "--out", tmp_path, option, "mlp, ,cnn")
    assert (code, "an item of the list 'mlp, ,cnn' is empty; take out" in error) == (2, True)


CHANGES = [
    ({"name": "other"}, "name of its parameter '{name}' is 'other', it was '{name}'"),
    ({"maximum": 2.0}, "maximum of its parameter '{name}' is 2.0, it was 1.0"),
    (
        {"curve": "logarithmic", "minimum": 0.5, "default": 0.5},
        "minimum of its parameter '{name}'",
    ),
    (None, "it has 31 parameters, it had 32"),
]


@pytest.mark.parametrize(("change", "said"), CHANGES, ids=["name", "range", "curve", "number"])
def test_a_run_does_not_answer_with_parameters_that_have_changed(
    call, run, tmp_path, monkeypatch, change, said
):
    params = [*Plain.param_space.params]
    which = next(i for i, p in enumerate(params) if (p.kind, p.maximum) == ("continuous", 1.0))
    param = params[which]
    params[which : which + 1] = [] if change is None else [replace(param, **change)]
    monkeypatch.setattr(Plain, "param_space", ParamSpace(tuple(params)))
    sound, out = run.parent / "target.wav", tmp_path / "answers"
    code, _, error = call("infer", run, sound, "--out", out, "--budget", 1, "--workers", 1)
    assert (code, "synth 'plain' has changed since it was rendered: " in error) == (2, True)
    assert said.format(name=param.name) in error


def test_scan(call, faulty_plugin, tmp_path):
    code, out, _ = call("scan", faulty_plugin)
    assert code == 0
    assert "stepped" in out
    code, out, error = call("scan", faulty_plugin, tmp_path / "missing.so")
    assert (code, "Faulty" in out, "no plugin" in error) == (2, True, True)
    (synth,) = json.loads(call("scan", faulty_plugin, "--json")[1])["synths"]
    assert [p["name"] for p in synth["params"]]


def test_tags_and_a_fit_with_them(call, run, tmp_path):
    data, file = run.parent / "data", tmp_path / "tags.csv"
    write = ["tags", data, "--out", file]
    code, out, error = call(*write, "--hidden", "0.5", "--json")
    assert code == 0, error
    facts = json.loads(out)
    assert facts["presets"] == len(file.read_text().splitlines()) - 1
    assert set(facts["labels"]["length"]) == {"short", "medium", "long"}
    assert "a name that ends in .csv" in call("tags", data, "--out", tmp_path / "tags.xlsx")[2]
    code, out, error = call(*write)
    assert (code, out) == (2, "")
    assert "is there already; give another --out, or delete it" in error
    file = tmp_path / "names.csv"
    assert call("tags", data, "--out", file, "--from", "names")[1].startswith(f"{file}: ")
    assert (
        "unknown source of tags 'ears'; known: descriptors, names"
        in (call("tags", data, "--out", tmp_path / "new.csv", "--from", "ears")[2])
    )
    settings = [f"--set={key}={json.dumps(value)}" for key, value in SMALL["flow_dis"].items()]
    fit = [
        "fit",
        "flow_dis",
        data,
        "--out",
        tmp_path / "run",
        "--steps",
        "2",
        "--batch-size",
        "32",
    ]
    code, out, error = call(*fit, "--tags", file, *settings, "--force")  # there is nothing yet
    assert code == 0, error
    assert "no tags were given" not in error
    file.write_text(file.read_text() + "0,,dark,,,\n")
    number = len(file.read_text().splitlines())
    code, _, error = call(*fit, "--tags", file, *settings)
    assert code == 2
    assert f"names.csv' line {number}: preset 0 was in line 2 already" in error


def test_render_and_fit(call, tmp_path):
    data, run = tmp_path / "data", tmp_path / "run"
    code, out, error = call(*RENDER, "--out", data, "--json")
    assert code == 0, error
    facts = json.loads(out)
    assert facts["presets"] == 500
    assert "human presets" in error  # progress
    assert call(*RENDER, "--out", data)[1].startswith(f"{data}: ")

    fit = ["fit", "flow_reg", data, "--out", run, "--steps", "3", "--batch-size", "32", *SETTINGS]
    code, out, error = call(*fit)
    assert code == 0, error
    assert f"{run} is fitted: the weights of step 3 of 3 are kept, after 0." in out
    assert "nats of log q(v|x) on average" in out
    assert f"pyrosynth infer {run} --example --out found" in out
    files = {f.name: f.stat().st_mtime_ns for f in run.rglob("*") if f.is_file()}
    assert {"run.json", "weights.safetensors", "variant.py", "bank.safetensors"} <= set(files)
    assert json.loads(call(*fit, "--json")[1])["best_step"] == 3
    assert {f.name: f.stat().st_mtime_ns for f in run.rglob("*") if f.is_file()} == files
    code, out, error = call(*fit, "--seed", "1")
    assert (code, out) == (2, "")
    assert "holds a finished run with seed 0, not 1" in error
    facts = (run / "run.json").read_bytes()
    (run / "run.json").write_text("{")
    assert "run.json' is damaged" in call(*fit)[2]
    assert "; fit again with --force (force=True)" in call(*fit)[2]
    (run / "run.json").write_bytes(facts)
    own = run / "variant.py"
    written = own.read_bytes()
    own.write_bytes(written + b"# a change of mine\n")
    code, out, error = call(*fit, "--seed", "1", "--force")
    assert (code, out) == (2, "")
    assert "was changed after the fit, and a new fit would replace it; move it elsewhere" in error
    assert own.read_bytes() == written + b"# a change of mine\n"
    own.write_bytes(written)
    assert call(*fit, "--seed", "1", "--force")[0] == 0


def test_infer(call, run, tmp_path):
    sound, out = run.parent / "target.wav", tmp_path / "out"
    infer = ["infer", run, sound, "--out", out, "--budget", "24", "--draws", "4", "--workers", "1"]
    code, printed, error = call(*infer, "--json")
    assert code == 0, error
    ((item,), failed) = json.loads(printed).values()
    assert failed == []
    assert item["n_renders"] == 24
    folder = out / "target"
    names = {"preset.json", "render.wav", "posterior.nc", "report.html"}
    assert names <= {f.name for f in folder.iterdir()}
    assert [f.name for f in out.iterdir()] == ["target"]

    facts = json.loads((folder / "preset.json").read_text())
    synth = load_synth(PLAIN)
    assert set(facts["parameters"]) == set(synth.param_space.names)
    assert facts["score"]["lsd_db"] == item["lsd_db"]
    preset = Preset.load(folder / "preset.json", "plain")
    audio, rate = soundfile.read(folder / "render.wav", dtype="float32")
    assert (rate, audio.ndim) == (22050, 1)
    from pyrosynth.audio.note import Note

    played = synth.render(preset.array(synth.param_space), Note(**facts["note"]), rate)
    np.testing.assert_array_equal(audio, played)
    idata = arviz().from_netcdf(folder / "posterior.nc")
    assert dict(idata.posterior.sizes) == {"chain": 1, "draw": 4, "preset": 1, "param": 16}
    assert idata.sample_stats.lsd.notnull().all()
    assert idata.posterior.preset.values.tolist() == ["target"]

    before = (folder / "preset.json").stat().st_mtime_ns
    out_again = call(*infer)[1]
    assert "made earlier" in out_again
    assert f"{folder}: {closeness(item['lsd_db'])}, {item['lsd_db']:.2f} dB after" in out_again
    assert f"open {folder / 'report.html'}" in out_again
    for lost in ("render.wav", "report.html"):
        (folder / lost).rename(tmp_path / lost)
        printed = call(*infer)[1]
        assert f"  no longer there: {lost}; --force (force=True) makes all of it again" in printed
        assert ("Look and listen" in printed) == (lost == "render.wav")
        (tmp_path / lost).rename(folder / lost)
    assert "by another run or with other settings" in call(*infer, "--seed", "4")[1]
    assert (folder / "preset.json").stat().st_mtime_ns == before
    assert "made earlier" not in call(*infer, "--seed", "4", "--force")[1]
    assert (folder / "preset.json").stat().st_mtime_ns != before

    again = tmp_path / "again" / "target.wav"  # another sound of this name
    again.parent.mkdir()
    soundfile.write(again, soundfile.read(sound)[0][::-1], rate)
    infer[2] = again
    for more in ([], ["--seed", "4"]):
        code, printed, error = call(*infer, *more)
        assert (code, printed) == (2, ""), "no score of the first sound"
        assert f"'{folder}' was made earlier from another sound than '{again}'; " in error
        assert "--force" in error
    assert call(*infer, "--force")[0] == 0
    assert "made earlier" in call(*infer)[1]
    facts = json.loads((folder / "preset.json").read_text())
    (folder / "preset.json").write_text(json.dumps({**facts, "synth": "other"}))
    code, printed, error = call(*infer)
    assert (code, printed) == (2, "")
    assert f"'{folder}' was made earlier for the synth 'other', not for 'plain'; " in error


def commands(printed):
    """Return the commands of pyrosynth at the ends of lines, as a shell reads their words."""
    lines = (line.partition(": pyrosynth ") for line in printed.splitlines())
    return [shlex.split(command) for _, found, command in lines if found]


@pytest.mark.parametrize("stem", ["my run; $HOME", "-run"])
def test_commands_that_are_printed_can_be_typed(call, run, tmp_path, monkeypatch, stem):
    monkeypatch.chdir(tmp_path)
    data, out = f"{stem}.data", f"{stem}.run"
    ((_, model, place, _, _),) = commands(call(*RENDER, f"--out={data}")[1])
    assert (model, Path(place)) == ("flow_audio", tmp_path / data)
    fit = ["fit", "flow_reg", place, f"--out={out}", "--steps", "1", "--batch-size", "32"]
    infer, check = commands(call(*fit, *SETTINGS)[1])
    settings = ["--budget", "2", "--draws", "2", "--workers", "1"]
    code, printed, error = call(*infer, *settings)
    assert code == 0, error
    (serve,) = commands(printed)
    assert [serve[0], Path(serve[1]), serve[2]] == ["serve", Path(out), "--open"]
    assert [check[0], Path(check[1]), *check[2:]] == ["check", Path(out), "--out", "check"]
    sound = "./" + f"{stem}.wav"
    soundfile.write(sound, np.zeros(100), 22050)
    (turned,) = commands(call("infer", sound, infer[1], "--out", "found")[2])
    assert [Path(word) for word in turned] == [Path("infer"), Path(out), Path(sound)]
    assert not any(word[1].startswith("-") for word in (infer, check, serve, turned))


def test_infer_proposes_to_play_only_what_can_be_played(call, run, tmp_path, monkeypatch):
    infer = ["infer", run, run.parent / "target.wav", "--out", tmp_path, "--budget", "2"]
    infer += ["--draws", "2", "--workers", "1"]
    assert "pyrosynth serve" in call(*infer)[1]
    with monkeypatch.context() as patch:
        patch.setattr(options, "find_spec", lambda name: None)
        assert "pyrosynth serve" not in call(*infer)[1]
    dataset = json.loads((run / "run.json").read_text())["dataset"]["path"]
    fit = ["fit", "mlp", dataset, "--out", tmp_path / "mlp", "--steps", "1"]
    assert call(*fit)[0] == 0
    infer[1], infer[4] = tmp_path / "mlp", tmp_path / "found"
    code, printed, error = call(*infer)
    assert code == 0, error
    assert "pyrosynth serve" not in printed
    assert call("serve", tmp_path / "mlp", "--port", "0", "--osc-port", "0")[0] == 2


def test_infer_says_that_the_run_comes_first(call, run, tmp_path):
    sound = tmp_path / "sound.wav"
    soundfile.write(sound, np.zeros(100), 22050)
    code, out, error = call("infer", sound, run, "--out", tmp_path / "out")
    assert (code, out) == (2, "")
    assert f"is a sound; RUN comes first: pyrosynth infer {run} {sound}" in error
    assert "amsynth" in call("infer", sound, "--out", tmp_path / "out")[2]


def test_infer_needs_a_sound_or_the_example(call, run, tmp_path):
    code, out, error = call("infer", run, "--out", tmp_path)
    assert (code, out) == (2, "")
    assert "give --example" in error
    (tmp_path / "string-and-flute.wav").write_text("mine")
    code, out, error = call("infer", run, "--example", "--out", tmp_path)
    assert (code, out) == (2, "")
    assert "is another sound; give another folder" in error
    assert (tmp_path / "string-and-flute.wav").read_text() == "mine"


def test_check(call, run, tmp_path, monkeypatch):
    monkeypatch.setattr("pyrosynth.evaluation.methods.STEPS", 2)
    check = ["check", run, "--out", tmp_path, "--presets", "2", "--draws", "4", "--budget", "8"]
    code, out, error = call(*check, "--workers", "1", "--json")
    assert code == 0, error
    assert json.loads(out)["presets"] == 2
    assert (tmp_path / "report.html").is_file()
    assert (tmp_path / "table.md").read_text().startswith("| answer")


def test_a_dataset_that_was_moved_is_asked_for(call, run, tmp_path):
    data = Path(json.loads((run / "run.json").read_text())["dataset"]["path"])
    moved = data.rename(tmp_path / "moved")
    try:
        code, _, error = call("check", run, "--out", tmp_path / "check")
    finally:
        moved.rename(data)
    assert code == 2
    assert f"there is no '{data}' any more" in error
    assert "name it with --data" in error


def test_a_reader_that_stops_early_is_no_error():
    command = f"{sys.executable} -m pyrosynth models flow_reg | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("thread", "said"), [(False, "registered\n"), (True, "worked\nregistered\n")]
)
def test_a_command_ends_without_taking_apart_what_it_imported(thread, said):
    """What was registered for the end of the program runs, and threads finish their work."""
    script = f"""
import atexit, sys, threading, time
from pyrosynth.cli.app import main

class Kept:
    def __del__(self):
        print("taken apart")

def wait():
    time.sleep(0.2)
    print("worked")

kept = Kept()
atexit.register(print, "registered")
if {thread}:
    threading.Thread(target=wait).start()
    del kept.__class__.__del__
sys.argv = ["pyrosynth", "infer", "amsynth", "none.wav", "--out", "out"]
sys.exit(main())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, said), done.stderr


def test_ctrl_c_says_how_to_go_on(tmp_path):
    command = [sys.executable, "-m", "pyrosynth", *RENDER, "--augmented", "100000"]
    child = subprocess.Popen(
        [*command, "--out", tmp_path / "data"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        # A job that a shell started in the background ignores the signal, and so do its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    with child:
        seen = ""
        while "presets:" not in seen and (more := child.stderr.read(1)):
            seen += more
        child.send_signal(signal.SIGINT)
        try:
            _, error = child.communicate(timeout=300)
        finally:
            child.kill()
    assert child.returncode == 130, error
    assert error.splitlines()[-1].endswith("interrupted; run the same command again to go on")
    assert "Traceback" not in error
