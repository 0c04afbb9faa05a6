"""Rendering, checks and comparisons on a Dask cluster: the bytes of one machine, whoever dies."""

import ast
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import dask
import distributed  # these tests never pass by being skipped: `make test` installs it
import numpy as np
import pytest
from object_store import serving
from ports import free_port
from test_dataset import files
from test_docs import BLOCK, compare_calls
from toys import SMALL

from pyrosynth import synths
from pyrosynth.audio.descriptors import SoundSummary
from pyrosynth.audio.features import FeatureSpec
from pyrosynth.audio.note import Note
from pyrosynth.cli.app import main
from pyrosynth.data.dataset import open_dataset, render_dataset
from pyrosynth.errors import DataError, InputError, SynthError
from pyrosynth.evaluation.runner import EvaluationRunner
from pyrosynth.evaluation.targets import held_out
from pyrosynth.inference.posterior import Posterior
from pyrosynth.synths import cluster as cluster_module
from pyrosynth.synths.cluster import Cluster
from pyrosynth.synths.executor import Local
from pyrosynth.training.run import load_run

BELLS = '''
"""A synth that needs nothing but NumPy, so that workers start fast; it breaks on demand."""

import os
import signal

import numpy as np

from pyrosynth.synths import Synth
from pyrosynth.synths.params import Param, ParamSpace
from pyrosynth.synths.presets import Preset


class Bells(Synth):
    name = "bells"
    param_space = ParamSpace(tuple(Param(name) for name in ("pitch", "decay", "level", "fault")))

    def identity(self):
        return "bells of 1734"

    def presets(self):
        values = np.random.default_rng(0).uniform(0, 1, (30, 4))
        values[:, 3] = 0
        return [Preset.from_array(self.param_space, v, f"bell {i}") for i, v in enumerate(values)]

    def render(self, values, note, sample_rate):
        pitch, decay, level, fault = values
        if fault > 0.9:
            os._exit(1)
        count = os.environ.get("BELLS_COUNT", "")
        if os.path.exists(count):
            with open(count, "ab") as sounds:
                sounds.write(b".")
                sounds.flush()
                if sounds.tell() == LAST:
                    os.kill(os.getppid(), signal.SIGKILL)
        t = np.arange(note.n_samples(sample_rate)) / sample_rate
        sound = np.sin(2 * np.pi * 100 * 2 ** (5 * pitch) * t) * np.exp(-20 * decay * t)
        return ((0.1 + level) * sound).astype(np.float32)
'''
LAST_OF_ITS_WORKER = 40  # of 160 sounds
PAGE = (Path(__file__).parents[1] / "docs/howto/scale_out.md").read_text("utf-8")
IN_PAGE = "tcp://127.0.0.1:8786"
DASK = Path(sys.executable).with_name("dask")
SMALLER = {
    "render": "--augmented 40 --hold 0.2 --duration 0.3 --feature n_mels=16",
    "fit": "--steps 4 --batch-size 32",
    "compare": "--seeds 1 --presets 2 --draws 16 --methods none --steps 4 --batch-size 32",
}
NOTE, FEATURES = Note(hold_seconds=0.2, duration_seconds=0.3), FeatureSpec(n_mels=16)
RUN_OF_COMPARISON = "compared-spread/runs/flow_reg-0"
BLOCKS = [code for language, code in BLOCK.findall(PAGE) if language == "python"]


@pytest.fixture(scope="module")
def bells(tmp_path_factory):
    """A synth in a module that all processes find; and another version of it beside."""
    folder = tmp_path_factory.mktemp("bells")
    for name, founded in (("here", 1734), ("there", 1899)):
        (folder / name).mkdir()
        (folder / name / "bells.py").write_text(
            BELLS.replace("1734", str(founded)).replace("LAST", str(LAST_OF_ITS_WORKER))
        )
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder / "here")
        patch.setenv("BELLS_COUNT", str(folder / "count"))
        for patience in ("CONNECT_SECONDS", "WAIT_SECONDS", "EXAMINE_SECONDS"):
            patch.setattr(cluster_module, patience, 300.0)  # machines are busy
        yield synths.load_synth("bells:Bells"), folder / "there", folder / "count"
    sys.modules.pop("bells", None)


@pytest.fixture(scope="module")
def object_store():
    """The objects of an empty object store on a server of this machine."""
    with serving() as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", server.url)
        patch.setenv("AWS_ALLOW_HTTP", "true")
        patch.setenv("AWS_ACCESS_KEY_ID", "nobody")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "knows")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield server.objects


@pytest.fixture(scope="module")
def cluster(bells, object_store, tmp_path_factory):
    """Address of a scheduler with two worker processes, started by the commands of the page."""
    address = f"tcp://127.0.0.1:{free_port()}"
    commands = [shlex.split(line.replace(IN_PAGE, address)) for line in shown("dask ")[:2]]
    assert [command[1] for command in commands] == ["scheduler", "worker"]
    commands[0][-1] = address.rpartition(":")[2]
    commands[0] += ["--no-dashboard"]
    commands[1] += ["--no-dashboard", "--local-directory", tmp_path_factory.mktemp("dask")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    started = [
        subprocess.Popen(
            [DASK, *command[1:]],
            env=environment,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for command in commands
    ]
    try:
        with distributed.Client(address, timeout=600, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=600)
        yield address
    finally:
        for process in started:  # and what it has started: to end in turn takes them seconds
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def shown(start):
    """Return the commands of the page that begin with something."""
    lines = [line.removeprefix("$ ") for line in PAGE.splitlines() if line.startswith("$ ")]
    return [line for line in lines if line.startswith(start)]


def render(synth, out, augmented=130, **changes):
    settings = {"note": NOTE, "features": FEATURES, "chunk_rows": 16, "audio": "all", **changes}
    return render_dataset(synth, out, augmented=augmented, **settings)


@pytest.fixture(scope="module")
def local(bells, tmp_path_factory):
    folder = tmp_path_factory.mktemp("local") / "data"
    return render(bells[0], folder, workers=1)


def test_a_worker_with_another_plugin_is_refused(bells, cluster, local, tmp_path, capfd):
    command = ["-m", "distributed.cli.dask_worker", cluster, "--no-nanny"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(bells[1]), *sys.path])}
    more = ["--nthreads", "1", "--no-dashboard", "--local-directory", tmp_path]
    with subprocess.Popen(
        [sys.executable, *command, *more], env=environment, stderr=subprocess.DEVNULL
    ) as other:
        with distributed.Client(cluster, set_as_default=False) as client:
            client.wait_for_workers(3, timeout=600)
        render(bells[0], tmp_path / "data", augmented=20, scheduler=cluster)
        other.kill()
    error = capfd.readouterr().err
    lines = [line for line in error.splitlines() if "is refused" in line]
    assert len(lines) == 1, error
    assert "it has another bells:Bells (bells of 1899, not bells of 1734)" in lines[0]


def test_workers_with_another_version_are_refused(bells, cluster, tmp_path, monkeypatch):
    facts = tmp_path / "here" / "numcodecs-0.1.dist-info" / "METADATA"
    facts.parent.mkdir(parents=True)
    facts.write_text("Metadata-Version: 2.1\nName: numcodecs\nVersion: 0.1\n", "utf-8")
    held = metadata.version("numcodecs")
    monkeypatch.syspath_prepend(tmp_path / "here")
    with pytest.raises(InputError, match=f"can be used; .*it has numcodecs {held}, not 0.1; in"):
        render(bells[0], tmp_path / "data", scheduler=cluster)


@pytest.fixture(scope="module")
def page(cluster, object_store, tmp_path_factory):
    """Folder in which the commands of the page were run."""
    folder = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for line in shown("pyrosynth "):
            line = line.replace(IN_PAGE, cluster).replace("amsynth", "bells:Bells")
            _, command, *arguments = shlex.split(line)
            if command == "check":  # what it does on the cluster is tested below
                continue
            arguments += shlex.split(SMALLER[command])
            if command != "render":
                prefix = "" if command == "fit" else "flow_reg."
                options = {prefix + k: v for k, v in SMALL["flow_reg"].items()}
                arguments += [f"--set={key}={json.dumps(value)}" for key, value in options.items()]
            assert main([command, *arguments]) == 0
    return folder


def test_a_fit_of_a_worker_is_that_of_this_machine(page):
    fitted = [page / run / "weights.safetensors" for run in ("run-spread", RUN_OF_COMPARISON)]
    assert fitted[0].read_bytes() == fitted[1].read_bytes()
    compare_calls(ast.parse(next(code for code in BLOCKS if "ps." in code)))


def test_a_dataset_may_lie_in_an_object_store(bells, page, object_store, tmp_path):
    url, there = "s3://sounds/spread", open_dataset(page / "spread")
    for name, content in object_store.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert files(tmp_path / "sounds" / "spread") == files(there.path)
    data = open_dataset(url)
    assert str(data.path) == url
    assert len(data.xarray["x"]) == len(data) == 70
    assert np.array_equal(data.x([3, 50]), there.x([3, 50]))
    settings = {"note": NOTE, "features": FEATURES, "workers": 1}
    assert len(render_dataset(bells[0], url, augmented=40, **settings)) == 70  # nothing to do
    with pytest.raises(DataError, match="seed 0, not 1"):
        render_dataset(bells[0], url, augmented=40, seed=1, **settings)
    with pytest.raises(InputError, match="holds 'spread', which pyrosynth did not write"):
        render_dataset(bells[0], "s3://sounds", **settings)
    with pytest.raises(DataError, match="no dataset 's3://sounds/nothing'"):
        open_dataset("s3://sounds/nothing")


def test_a_killed_dataset_in_an_object_store_is_completed(bells, page, object_store):
    whole = dict(object_store)
    del object_store["sounds/spread/status/c/0"]
    settings = {"note": NOTE, "features": FEATURES, "workers": 1}
    render_dataset(bells[0], "s3://sounds/spread", augmented=40, **settings)
    changed = [name for name in whole if object_store.get(name) != whole[name]]
    assert all(name.endswith("zarr.json") for name in changed), changed


def test_draws_are_rendered_as_on_one_machine(cluster, page, tmp_path):
    posterior, dataset = Posterior(load_run(page / "run-spread")), open_dataset(page / "spread")
    with Cluster(cluster) as there:
        drawn = [
            drawn_by(executor, posterior, dataset, tmp_path / type(executor).__name__)
            for executor in (there, Local(1))
        ]
    assert all(np.array_equal(drawn[0][name], drawn[1][name]) for name in ("v", "lsd", "sc"))


def drawn_by(executor, posterior, dataset, folder):
    """Render draws for two held-out presets, as `check` does."""
    run, targets = posterior.run, held_out(dataset, 2)
    describe = SoundSummary(run.features)
    with executor.renderer(
        posterior.synth, run.note, 22050, transform=describe, keep_audio=False
    ) as renderer:
        runner = EvaluationRunner(targets, folder, renderer, renderer, progress=False)
        return runner.render_draws(posterior, 4, lambda lsd: [])


def test_what_fails_on_a_worker_is_said_here(bells, cluster, tmp_path):
    broken = np.array([[0.5, 0.5, 0.5, 1.0], [0.5, 0.5, 0.5, 0.0]])
    with Cluster(cluster) as there:
        with there.renderer(bells[0], NOTE, 22050) as renderer:
            assert renderer.render(broken).reason.tolist() == ["crashed", ""]
        with pytest.raises(SynthError, match=r"a task failed on the cluster \(ZeroDivisionError"):
            list(there.map(lambda n: 1 // n, [0]))
        with pytest.raises(InputError, match="no such thing"):
            list(there.map(complain, ["no such thing"]))


def complain(text):
    raise InputError(text)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense", "a://b"])
def test_an_unreachable_scheduler_is_one_line_soon(address, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(cluster_module, "CONNECT_SECONDS", 0.5)
    out, began = str(tmp_path / "data"), time.monotonic()
    with dask.config.set({"distributed.comm.timeouts.connect": "1000s"}):  # or it would wait
        assert main(["render", "voice", "--out", out, "--scheduler", address]) == 2
    assert time.monotonic() - began < 300
    lines = [line for line in capfd.readouterr().err.splitlines() if line]
    assert len(lines) == 1, lines
    assert f"no Dask scheduler answers at '{address}'" in lines[0]
    assert not Path(out).exists()


def test_processes_of_this_machine_and_a_cluster_exclude_each_other(tmp_path, capfd):
    out = ["--out", str(tmp_path / "data"), "--workers", "2", "--scheduler", "tcp://host:8786"]
    assert main(["render", "voice", *out]) == 2
    assert "workers 2 are of this machine" in capfd.readouterr().err


def test_a_lost_worker_costs_its_chunk_only(bells, cluster, local, tmp_path):
    bells[2].touch()  # from now on sounds are counted, and one of them takes its worker along
    try:
        render(bells[0], tmp_path / "data", scheduler=cluster)
        assert len(bells[2].read_bytes()) > LAST_OF_ITS_WORKER
    finally:
        bells[2].unlink()
    assert files(tmp_path / "data") == files(local.path)


def test_a_port_at_which_no_scheduler_answers_is_given_up(monkeypatch):
    """Dask waits for ever for the greeting of something else that listens there."""
    monkeypatch.setattr("pyrosynth.synths.cluster.CONNECT_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(InputError, match="no Dask scheduler answers at .* start one with"):
            Cluster(f"tcp://127.0.0.1:{port}")
