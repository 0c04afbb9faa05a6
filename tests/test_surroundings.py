"""Inference wherever it is called: other processes, threads, locales, torch's modes, log files."""

import json
import os
import pickle
import re
import shlex
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import forked
import numpy as np
import pytest
import soundfile
import torch
from small import small_run
from toys import SMALL
from tqdm.auto import tqdm

from pyrosynth.audio.descriptors import describe
from pyrosynth.audio.io import save_audio
from pyrosynth.audio.qualities import qualities
from pyrosynth.cli.app import main
from pyrosynth.cli.process import progress_as_lines
from pyrosynth.data.dataset import render_dataset
from pyrosynth.data.labeling import descriptor_tags
from pyrosynth.errors import InputError, RunError, SynthError
from pyrosynth.evaluation import methods
from pyrosynth.evaluation.check import check
from pyrosynth.evaluation.disentanglement import coordinates, require_axes
from pyrosynth.explore import LatentSpace, novel_presets, rank_axes, sample_prior, traverse
from pyrosynth.explore.folder import explore
from pyrosynth.inference import side_by_side
from pyrosynth.inference.arviz import arviz
from pyrosynth.inference.infer import infer_sounds
from pyrosynth.inference.posterior import Posterior
from pyrosynth.live.engine import Live
from pyrosynth.live.page_state import PageState
from pyrosynth.live.static_site import write_site
from pyrosynth.synths import load_synth
from pyrosynth.synths.bases import spread_out
from pyrosynth.training.fit import fit
from pyrosynth.training.memory import free_memory
from pyrosynth.training.run import load_run

RATE = 22050
FEW = ["--budget", "2", "--draws", "2", "--workers", "1"]


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with a dataset, a run, and the sound of a test preset."""
    folder = tmp_path_factory.mktemp("here")
    dataset, posterior = small_run(folder)
    sound = dataset.audio(dataset.rows("test")[:1])[0]
    soundfile.write(folder / "note.wav", sound, RATE, subtype="FLOAT")
    return folder, dataset, posterior


def python(code, *arguments, **environment):
    """Run Python code in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def command(*arguments, before="", **environment):
    """Run a command in a process of its own."""
    code = f"import sys; from pyrosynth.cli.app import main; {before}sys.exit(main(sys.argv[1:]))"
    return python(code, *arguments, **environment)


def contents(folder):
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


# What is the user's


def test_a_folder_beside_a_sound_of_its_name_is_kept(here, tmp_path, monkeypatch, capsys):
    folder, _, _ = here
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flute").mkdir()
    for name in ("flute/flute.wav", "..wav", "flute/plain"):
        (tmp_path / name).write_bytes((folder / "note.wav").read_bytes())
    before = contents(tmp_path)
    infer = ["infer", str(folder / "run"), *FEW, "--force", "--out"]
    assert main([*infer, ".", "flute/flute.wav"]) == 2
    assert "holds 'flute.wav', which pyrosynth did not write" in capsys.readouterr().err
    assert main([*infer, ".", "..wav"]) == 2
    assert main([*infer, "flute", "flute/plain"]) == 2
    assert contents(tmp_path) == before


def test_one_bad_sound_costs_only_itself(here, tmp_path, monkeypatch, capfd):
    folder, _, _ = here
    monkeypatch.chdir(tmp_path)
    good = (folder / "note.wav").read_bytes()
    names = [b"\xff\xfe.wav", b"esc\x1b[31m.wav", b"..wav", b"raw.raw", b"good.wav"]
    for name in names:
        (tmp_path / os.fsdecode(name)).write_bytes(good if b"raw" not in name else b"12")
    sounds = [os.fsdecode(name) for name in names]
    sounds += ["none.wav", "x" * 5000 + ".wav"]
    assert main(["infer", str(folder / "run"), *sounds, "--out", "out", *FEW]) == 2
    out, error = capfd.readouterr()
    assert {entry.name for entry in (tmp_path / "out").iterdir()} == {"__", "esc_[31m", "good"}
    complaints = [line for line in error.splitlines() if line.startswith("pyrosynth: ")]
    assert len(complaints) == 4
    assert max(map(len, complaints)) <= 312
    assert (out + error).replace("\n", "").isprintable()


# What is wrong with a run


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"format": \xff}', b"[]", b"\x00" * 50_000])
def test_a_damaged_description_is_one_short_line(here, tmp_path, content):
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(RunError, match="is damaged") as error:
        load_run(tmp_path)
    assert len(str(error.value)) <= 300


@pytest.mark.parametrize(("number", "advice"), [(None, "fit it again"), (99, "update pyrosynth")])
def test_a_run_of_another_format_says_what_to_do(here, tmp_path, number, advice):
    held = json.loads((here[0] / "run/run.json").read_text("utf-8"))
    held |= {"pyrosynth": "0.1.0", "format": number}
    if number is None:
        del held["format"]
    (tmp_path / "run.json").write_text(json.dumps(held), encoding="utf-8")
    with pytest.raises(RunError, match=advice):
        load_run(tmp_path)


# Where it runs


def test_missing_sounds_are_told_before_anything_is_loaded(tmp_path):
    done = command(
        "infer", "amsynth", "none.wav", "--out", tmp_path / "out",
        before="import atexit; atexit.register(lambda: print('torch' in sys.modules)); ",
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "False\n")
    assert done.stderr.startswith("pyrosynth: no sound file 'none.wav'")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams(here, tmp_path, closed):
    folder, _, _ = here
    line = f"{sys.executable} -m pyrosynth models flow_reg {closed}; echo $? > {tmp_path / 'code'}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert (tmp_path / "code").read_text(encoding="utf-8") == "0\n", done.stderr
    assert "Traceback" not in done.stderr
    numbers = [int(stream[0]) for stream in closed.replace("<", "0").replace(">", "1").split()]
    infer = ["infer", folder / "run", folder / "note.wav", "--out", tmp_path / "out", *FEW]
    if len(numbers) < 3:
        assert forked.command(*infer, closed=numbers).returncode == 0
    else:  # once with all that Python does when it starts
        line = shlex.join([sys.executable, "-m", "pyrosynth", *map(str, infer)])
        assert subprocess.run(["bash", "-c", f"{line} {closed}"], check=False).returncode == 0
    assert (tmp_path / "out/note/report.html").is_file()


def test_a_program_without_streams_needs_no_progress_bars(here, tmp_path):
    """As one with windows of its own, where Python has no standard error."""
    folder, _, _ = here
    script = f"""
import sys
sys.stdout = sys.stderr = None
import pyrosynth as ps
data = ps.render_dataset(ps.load_synth("voice"), "data", augmented=20, workers=1,
    note=ps.Note(hold_seconds=0.2, duration_seconds=0.3),
    presets=ps.load_synth("voice").presets()[:30])
ps.fit("mlp", data, "run", steps=2, batch_size=16, options={{"hidden": (8,)}})
ps.infer_sounds(ps.Posterior.load({str(folder / "run")!r}), [{str(folder / "note.wav")!r}],
    budget=4, draws=8, workers=1, out="out")
open("done", "w").write("so")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "done").read_text() == "so"


def test_a_log_on_a_full_disk_costs_no_results(here, tmp_path):
    folder, _, _ = here
    infer = ["infer", folder / "run", folder / "note.wav", "--out", tmp_path / "out", *FEW]
    line = shlex.join([sys.executable, "-m", "pyrosynth", *map(str, infer)])
    assert subprocess.run(["bash", "-c", f"{line} 2> /dev/full"], check=False).returncode == 0
    assert (tmp_path / "out/note/report.html").is_file()


def test_python_without_docstrings_is_one_line():
    done = subprocess.run(
        [sys.executable, "-OO", "-m", "pyrosynth", "models"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("pyrosynth: Python leaves docstrings out (-OO")


def test_a_working_folder_that_is_gone_is_one_line(here, tmp_path):
    line = f"{sys.executable} -m pyrosynth infer {here[0] / 'run'} x.wav --out {tmp_path / 'out'}"
    (tmp_path / "gone").mkdir()
    done = subprocess.run(
        ["bash", "-c", f"cd {tmp_path / 'gone'} && rmdir {tmp_path / 'gone'} && {line}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    says = "pyrosynth: the working folder cannot be read (No such file or directory); change to"
    assert says in done.stderr


@pytest.fixture(scope="module")
def inferred(here, tmp_path_factory):
    """A short inference in a locale without Unicode, which prints the modules it imported."""
    folder, out = here[0], tmp_path_factory.mktemp("out")
    return command(
        "infer", folder / "run", folder / "note.wav", "--out", out, *FEW, "--own-level",
        before="import atexit; atexit.register(lambda: print('imported', *sys.modules)); ",
        LC_ALL="POSIX", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0",
    )  # fmt: skip


def test_a_locale_without_unicode(inferred):
    assert inferred.returncode == 0, inferred.stderr


def test_a_short_inference_imports_what_it_uses(inferred):
    """Each of these takes a tenth of a second or more of a command that takes a few."""
    imported = set(inferred.stdout.splitlines()[-1].split())
    assert {"torch", "pyrosynth.inference.report"} < imported
    heavy = {
        "arviz", "cma", "librosa", "matplotlib", "numba", "pandas", "scipy.optimize",
        "scipy.signal", "scipy.spatial", "scipy.stats", "sklearn", "torch._dynamo",
        "torch._inductor", "xarray", "zarr",
    }  # fmt: skip
    assert not imported & heavy


FORKED = """
import multiprocessing, sys

import numpy as np
import torch

from pyrosynth.inference.posterior import Posterior

torch.set_num_threads(4)
posterior = Posterior.load("amsynth")
x = posterior.bank.sounds(np.arange(1))[0]
guess = posterior.guess(x)

def work(answers):
    answers.put((posterior.guess(x), torch.get_num_threads()))

if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=work, args=(answers,), daemon=True)
    child.start()
    again, threads = answers.get(timeout=60)
    np.testing.assert_allclose(again, guess, atol=1e-3)
    print(threads, torch.get_num_threads())
"""


def test_a_forked_process_computes_as_its_parent_does():
    """Torch waits for ever for the threads of the parent, which are not in the child."""
    done = python(FORKED, OMP_NUM_THREADS="4")
    assert done.stdout.split() == ["4", "4"], done.stderr


INTERRUPTED = """
import os, signal, sys, threading, time

from toys import SMALL, toy_data

from pyrosynth.modeling.recipes import require_runnable
from pyrosynth.training.zoo import load_model

def press():
    while "sympy" not in sys.modules:
        time.sleep(0.001)
    time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGINT)

variant = load_model("flow_reg")(toy_data().dims, **SMALL["flow_reg"])
threading.Thread(target=press, daemon=True).start()
try:
    require_runnable(variant)
except KeyboardInterrupt:
    print("interrupted")
require_runnable(variant)
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


def test_a_fit_that_is_interrupted_while_torch_imports_may_be_called_again():
    done = python(INTERRUPTED, PYTHONPATH=os.pathsep.join([str(Path(__file__).parent), *sys.path]))
    assert done.stdout.split() == ["interrupted", "True"], done.stderr


def test_pictures_are_drawn_whatever_matplotlib_is_set_to(here, tmp_path):
    """A style for figures of one's own may need a LaTeX or a window that is not there."""
    folder = here[0]
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nbackend: TkAgg\n")
    done = python(
        f"import os; os.chdir({str(tmp_path)!r}); from pyrosynth.cli.app import main; main()",
        "explore", folder / "run", "--out",
        tmp_path / "out", "--axes", "0", "--draws", "1", "--workers", "1",
        MPLCONFIGDIR=str(tmp_path), MPLBACKEND="module://nowhere",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "nearest" / "picture.png").stat().st_size > 1000


def test_pitches_where_no_cache_can_be_kept():
    done = python(
        "import numba.core.caching as caching\n"
        "def refuse(self): raise OSError('read-only')\n"
        "caching.InTreeCacheLocator.ensure_cache_path = refuse\n"
        "caching.UserWideCacheLocator.ensure_cache_path = refuse\n"
        # All functions ask for the cache; those of numbers are compiled, for their first types.
        "import numba\n"
        "def only(n, compiled):\n"
        "    return lambda types, *rest, **more: compiled(types[:n], *rest, **more)\n"
        "numba.vectorize = only(1, numba.vectorize)\n"
        "numba.guvectorize = only(0, numba.guvectorize)\n"
        "from pyrosynth.audio.pitch_tracking import load_librosa\n"
        "print(load_librosa().pyin.__name__)",
        # How well it compiles does not matter.
        NUMBA_OPT="0",
        NUMBA_LOOP_VECTORIZE="0",
        NUMBA_SLP_VECTORIZE="0",
        NUMBA_ENABLE_AVX="0",
        NUMBA_CPU_NAME="generic",
    )
    assert done.stdout == "pyin\n", done.stderr


def test_a_pitch_is_tracked_without_what_it_does_not_need():
    """`librosa.effects` imports scikit-learn, a fifth of what librosa takes; torch takes more."""
    done = python(
        "import sys, numpy as np\n"
        "from pyrosynth.audio.note import Note\n"
        "from pyrosynth.audio.tuning import tune\n"
        "hum = 0.3 * np.sin(2 * np.pi * 196.0 * np.arange(11025) / 22050)\n"
        "print(tune(hum, 22050, Note()).note.name, {'sklearn', 'torch'} & {*sys.modules})"
    )
    assert done.stdout == "G3 set()\n", done.stderr


def test_progress_in_a_log_file_is_a_line_for_each_tenth(here, tmp_path, capfd):
    folder, out = here[0], tmp_path / "out"
    few = ["--budget", "200", "--draws", "30", "--workers", "1"]
    capfd.readouterr()
    assert (
        main(["infer", f"{folder / 'run'}", f"{folder / 'note.wav'}", f"--out={out}", *few]) == 0
    )
    said = capfd.readouterr().err
    lines = [line for line in said.splitlines() if line]
    assert "\r" not in said
    assert 3 <= len(lines) <= 12
    assert "100%" in lines[-1]


def test_another_process_unpickles_a_posterior(here):
    _, dataset, posterior = here
    x = dataset.x(dataset.rows("test"))[0]
    code = (
        "import sys, pickle; posterior, x = pickle.load(sys.stdin.buffer); "
        "print(posterior.sample(x, 4).values.sum())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps((posterior, x)), capture_output=True,
        check=False,
    )  # fmt: skip
    assert float(done.stdout) == posterior.sample(x, 4).values.sum(), done.stderr
    again = pickle.loads(pickle.dumps(posterior.sample(x, 4)))
    np.testing.assert_array_equal(again.values, posterior.sample(x, 4).values)


def test_loading_a_run_draws_nothing_from_the_callers_noise(here):
    folder, *_ = here
    before = torch.random.get_rng_state()
    pickle.loads(pickle.dumps(Posterior.load(folder / "run")))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_threads_give_what_a_seed_says(here):
    _, dataset, posterior = here
    x = dataset.x(dataset.rows("test"))[0]
    alone = [posterior.encode(x, 64, seed) for seed in range(20)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda seed: posterior.encode(x, 64, seed), range(20)))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


@contextmanager
def mode_of_torch(mode):
    """Compute in a mode of torch, or with double precision where none is asked for."""
    if mode != "float64":
        with getattr(torch, mode)():
            yield
        return
    torch.set_default_dtype(torch.float64)
    try:
        yield
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("mode", ["no_grad", "inference_mode", "float64"])
def test_torchs_modes_change_nothing(here, mode):
    folder, dataset, _ = here

    def answers():
        posterior = Posterior.load(folder / "run")
        x = dataset.x(dataset.rows("test"))[0]
        run = fit("flow_reg", dataset, steps=2, batch_size=16, progress=False)
        with posterior.renderer(1) as renderer:
            match = posterior.refine(x, renderer, 96)
        loss = run.history["loss"].iloc[-1]
        return *posterior.guess(x), *match.lsd, loss, *posterior.log_prob(match.values[:2], x)

    plain = answers()
    with mode_of_torch(mode):
        there = answers()
    assert there == plain


@pytest.mark.parametrize(
    ("mode", "model"),
    [("float64", "flow_audio"), ("inference_mode", "flow_matching"), ("no_grad", "baseline")],
)
def test_torchs_modes_change_no_model_or_baseline(here, mode, model, monkeypatch):
    monkeypatch.setattr(methods, "STEPS", 2)
    _, dataset, _ = here

    def learnt():
        if model == "baseline":
            return methods.mlp(dataset, dataset.x(dataset.rows("test")[:2])).tolist()
        options = {"options": SMALL[model], "steps": 1, "batch_size": 16, "progress": False}
        return fit(model, dataset, **options).history["loss"].tolist()

    plain = learnt()
    with mode_of_torch(mode):
        there = learnt()
    assert there == plain


def test_autocast_changes_nothing(here):
    _, dataset, posterior = here
    x = dataset.x(dataset.rows("test"))[0]
    draws = posterior.sample(x, 4)
    with torch.autocast("cpu", torch.bfloat16):
        there = posterior.sample(x, 4)
    np.testing.assert_array_equal(there.values, draws.values)
    np.testing.assert_array_equal(there.log_q, draws.log_q)


def test_a_synth_that_gives_no_sound_is_named_with_the_sound(here, tmp_path, monkeypatch):
    folder, *_ = here
    (tmp_path / "dead.py").write_text(
        "from plain import Plain\n"
        "class Dead(Plain):\n    def render(self, values, note, sample_rate):\n"
        "        return float('nan') * super().render(values, note, sample_rate)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    run = replace(load_run(folder / "run"), synth_spec={"synth": "dead:Dead"})
    posterior = Posterior(run, replace(Posterior.load(folder / "run").bank, synth="dead:Dead"))
    for name in ("one", "two"):
        save_audio(tmp_path / f"{name}.wav", np.sin(np.arange(11025) / 13), 22050)
    sounds = [tmp_path / "one.wav", tmp_path / "two.wav"]
    done, failed = infer_sounds(
        posterior, sounds, tmp_path / "out", budget=4, draws=2, workers=1, progress=False
    )
    assert not done
    for sound, lost in zip(sounds, failed, strict=True):
        assert lost.error.startswith(f"'{sound}': 'plain' gave no sound for any of 4 presets")
    x = np.zeros(run.mean.shape, np.float32)
    with (
        posterior.renderer(1) as renderer,
        pytest.raises(SynthError, match="'plain' gave no sound for any of 4 presets"),
    ):
        posterior.refine(x, renderer, 4)
    with pytest.raises(SynthError, match="plain .* on preset 0 of 2; leave it out"):
        posterior.render(posterior.bank.values[:2])
    for nothing in (traverse, sample_prior):
        with (
            posterior.renderer(1, keep_audio=True) as renderer,
            pytest.raises(SynthError, match=r"none of \d+ presets gave a sound .*; play one"),
        ):
            nothing(posterior, renderer=renderer)


ODD = '''
import builtins
import os

from pyrosynth.training.zoo import load_model


class Odd(load_model("flow_reg")):
    """A model that cannot take every sound."""

    def encode(self, x):
        if os.environ.get("ODD") and float(x.mean()) > 0.3:
            raise getattr(builtins, os.environ["ODD"])("too much")
        return super().encode(x)
'''


@pytest.mark.parametrize("fault", ["ValueError", "SystemExit"])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_model_that_fails_at_a_sound_costs_only_this_one(
    here, tmp_path, monkeypatch, fault, workers
):
    _, dataset, posterior = here
    (tmp_path / "odd.py").write_text(ODD)
    run = fit(
        tmp_path / "odd.py", dataset, tmp_path / "run", options=SMALL["flow_reg"], steps=2,
        batch_size=16, progress=False,
    )  # fmt: skip
    monkeypatch.setenv("ODD", fault)
    odd = Posterior.load(tmp_path / "run")
    quiet, loud = np.zeros_like(dataset.mean) + dataset.mean, dataset.mean + dataset.std
    assert np.isfinite(odd.sample(quiet, 2).values).all()
    line = next(i for i, text in enumerate(ODD.splitlines(), 1) if "raise" in text)
    told = (
        rf"the model fails in line {line} of '.*(odd|variant).py' \(.*too much\); correct its code"
    )
    with pytest.raises(InputError, match=told):
        odd.sample(loud, 2)
    rows = dataset.rows("all")[:40]
    means = run.standardise(torch.from_numpy(dataset.x(rows))).mean((1, 2)).numpy()
    names = []
    for name, row in (("a", rows[means.argmin()]), ("b", rows[means.argmax()])):
        save_audio(tmp_path / f"{name}.wav", dataset.audio([row])[0], RATE)
        names.append(tmp_path / f"{name}.wav")
    assert means.min() < 0.3 < means.max()
    done, failed = infer_sounds(
        odd, [names[1], names[0]], tmp_path / "out", budget=32, draws=32, workers=workers,
        own_level=True, progress=False,
    )  # fmt: skip
    assert [found.sound for found in done] == [str(names[0])]
    assert [lost.sound for lost in failed] == [str(names[1])]
    assert f"'{names[1]}': the model fails in line {line} of" in failed[0].error


FAR = '''
import os

from pyrosynth.training.zoo import load_model


class Far(load_model("flow_dis")):
    """A model of which one method fails at some places."""

    def _known(self, method, at):
        failing, limit = os.environ.get("FAR", " 0").split(" ")
        if failing == method and float(at.abs().mean(-1).max()) > float(limit):
            raise RuntimeError("too far")

    def expected_x(self, z):
        self._known("expected_x", z)
        return super().expected_x(z)

    def expected_x_of_v(self, v):
        self._known("expected_x_of_v", v)
        return super().expected_x_of_v(v)

    def axes(self, z):
        self._known("axes", z)
        return super().axes(z)

    def params_of(self, z):
        self._known("params_of", z)
        return super().params_of(z)

    def log_prob_v(self, v, x, generator=None):
        self._known("log_prob_v", v)
        return super().log_prob_v(v, x, generator)
'''
FAILS_FAR = r"the model fails in line 13 of '.*(far|variant).py' \(.*too far\); correct its code"


@pytest.fixture(scope="module")
def far(here, tmp_path_factory):
    """A run of a model of which one method fails at some places, if `FAR` says so."""
    _, dataset, _ = here
    folder = tmp_path_factory.mktemp("far")
    (folder / "far.py").write_text(FAR)
    fit(
        folder / "far.py", dataset, folder / "run", tags=descriptor_tags(dataset, progress=False),
        options=SMALL["flow_dis"], steps=2, batch_size=16, progress=False,
    )  # fmt: skip
    return Posterior.load(folder / "run")


@pytest.mark.parametrize(
    ("method", "ask"),
    [
        ("expected_x", lambda p, _: LatentSpace(p).expected(np.ones((1, 16)))),
        ("expected_x", lambda p, _: novel_presets(p, 2)),
        ("params_of", lambda p, _: LatentSpace(p).values(np.ones(16))),
        ("params_of", lambda p, _: LatentSpace(p).values(np.ones((2, 16)), np.ones((2, 0)))),
        ("params_of", lambda p, _: sample_prior(p, 2)),
        ("axes", lambda p, _: LatentSpace(p).axis("length").position(np.ones(16))),
        ("axes", lambda p, _: LatentSpace(p).axis("length").at(np.ones(16), 1.0)),
        ("axes", lambda p, _: require_axes(p.run)),
        ("axes", lambda p, d: coordinates(p.run, d, d.rows("test"))),
        ("axes", lambda p, _: rank_axes(p, ["length"])),
    ],
)
def test_a_model_that_fails_at_a_place_is_one_line(here, far, monkeypatch, method, ask):
    monkeypatch.setenv("FAR", f"{method} -1")
    with pytest.raises(InputError, match=FAILS_FAR):
        ask(far, here[1])


def test_a_model_that_fails_at_a_place_costs_an_exploration_only_this_part(
    far, monkeypatch, tmp_path
):
    asked = {"n_axes": 1, "draws": 0, "interpolation": "knobs", "workers": 1, "progress": False}
    z = LatentSpace(far).z
    monkeypatch.setenv("FAR", f"axes {np.median(np.abs(z).mean(axis=-1))}")
    facts = explore(far, tmp_path / "axes", **asked)
    tags = {f"axes {tag}" for tag in far.variant.dims.tags}
    assert set(facts["failed"]) >= {"projection", *tags}
    assert all(re.search(FAILS_FAR, why) for why in facts["failed"].values())
    assert {"nearest", "morph", "prior", "novel"} <= set(facts)
    assert len(facts["traversals"]) == 1
    assert (tmp_path / "axes" / "report.html").exists()
    monkeypatch.setenv("FAR", "expected_x_of_v -1")
    ranking = rank_axes(far, ["pc1"])
    assert ranking.data["axis"].values.tolist() == ["pc1"]
    assert re.search(FAILS_FAR, ranking.failed["sensitivity"])


def test_a_model_that_fails_at_a_place_costs_a_static_page_only_this_place(
    far, monkeypatch, tmp_path
):
    asked = {"presets": 4, "axes": ["brightness"], "steps": (-1, 1), "progress": False}
    with Live(far) as live:
        monkeypatch.setenv("FAR", "params_of -1")
        facts = write_site(live, "far", tmp_path / "still", moved=1, **asked)
        assert (facts["presets"], facts["sounds"]) == (4, 4)
        ((name, why),) = facts["failed"].items()
        assert name.removesuffix(" (moved)") in live.space.names
        assert re.search(FAILS_FAR, why)
        shown = np.array(spread_out(PageState(live, "far").plane, 4))
        z = np.abs(live.space.z[shown]).mean(axis=-1)
        monkeypatch.setenv("FAR", f"axes {np.sort(z)[1:3].mean()}")
        facts = write_site(live, "far", tmp_path / "near", moved=0, **asked)
        assert facts["failed"].keys() == {live.space.names[i] for i in shown[np.argsort(z)[2:]]}
        assert facts["presets"] == 2
        assert all(re.search(FAILS_FAR, why) for why in facts["failed"].values())
        monkeypatch.setenv("FAR", "axes -1")
        with pytest.raises(SynthError, match=f"none of 4 presets gave a sound; .*{FAILS_FAR}"):
            write_site(live, "far", tmp_path / "none", moved=0, **asked)


def test_a_model_that_fails_at_far_presets_still_moves_the_others(far, monkeypatch):
    space = LatentSpace(far)
    out = np.abs(space.z).mean(axis=-1)
    monkeypatch.setenv("FAR", f"axes {np.quantile(out, 0.9)}")
    place = space.place(space.names[int(out.argmin())])
    with Live(far) as live:
        moved = live.move(place, {"length": 0.1}, by=True)
        assert live.furthest("length", place.z) == 6.0
    position = space.axis("length").position
    assert float(position(moved.z) - position(place.z)) == pytest.approx(0.1, abs=1e-3)


def test_a_model_that_fails_at_a_preset_costs_a_check_only_this_preset(
    here, far, monkeypatch, tmp_path
):
    _, dataset, _ = here
    asked = {"draws": 4, "budget": 0, "n_presets": 4, "baselines": "few", "workers": 1}
    all_four = check(far, dataset, tmp_path / "all", progress=False, **asked).inference_data
    v = all_four.constant_data["v"].values.mean(axis=-1)
    monkeypatch.setenv("FAR", f"log_prob_v {np.sort(v)[1:3].mean()}")
    result = check(far, dataset, tmp_path / "two", progress=False, **asked)
    names = all_four.posterior["preset"].values
    assert result.inference_data.posterior["preset"].values.tolist() == [
        name for name, mean in zip(names, v, strict=True) if mean < np.median(v)
    ]
    assert len(result.failures) == 2
    assert all(re.search(FAILS_FAR, why) for why in result.failures)


def test_numpy_that_raises_changes_nothing(here, tmp_path):
    """A code or a decaying sound that is less than a number can say counts as nothing."""
    folder, dataset, _ = here
    decay = np.sin(np.arange(RATE)) * np.exp(-np.arange(RATE) / 150)

    def answers(name):
        posterior = Posterior.load(folder / "run")
        x = dataset.x(dataset.rows("test"))[0]
        fit("mlp", dataset, tmp_path / name, steps=2, batch_size=16, progress=False)
        spec = posterior.run.features
        bank = (tmp_path / name / "bank.safetensors").read_bytes()
        described = describe(decay, spec), qualities(x[None], spec, posterior.run.note)[0]
        return bank, *np.concatenate(described), *posterior.refine(x, budget=4).lsd

    plain = answers("plain")
    with np.errstate(all="raise"):
        assert answers("raising") == plain
        render_dataset(
            load_synth("voice"), tmp_path / "data", presets=load_synth("voice").presets()[:8],
            augmented=8, note=dataset.note, workers=1,
        )  # fmt: skip


# What it is given


def test_numpys_scalars_are_numbers(here, tmp_path):
    folder, dataset, posterior = here
    done, failed = infer_sounds(
        posterior, [folder / "note.wav"], tmp_path / "out", budget=np.int64(2), draws=np.int32(1),
        seed=np.int64(1), workers=1, progress=False,
    )  # fmt: skip
    assert (len(done), failed) == (1, [])
    settings = dict(steps=np.int64(2), lr=np.float32(1e-3), batch_size=np.int16(16))
    run = fit(
        "flow_reg", dataset, tmp_path / "run", seed=np.int64(1), progress=False,
        options={"hidden": np.int64(16), "channels": (np.int64(8), 16)}, **settings,
    )  # fmt: skip
    assert load_run(tmp_path / "run").settings == json.loads(json.dumps(run.settings))


@pytest.mark.parametrize("seed", ["-1", str(2**64)])
@pytest.mark.parametrize("name", ["render", "fit", "infer", "check", "explore"])
def test_seeds_out_of_range(name, seed, tmp_path, capsys):
    given = {"render": ["voice"], "fit": ["flow_reg", "data"], "infer": ["amsynth", "a.wav"]}
    arguments = [name, *given.get(name, ["amsynth"]), "--out", str(tmp_path / "o"), "--seed", seed]
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "'--seed'" in line


def test_features_of_something_else_are_refused(here):
    _, dataset, posterior = here
    x = dataset.x(dataset.rows("test"))[0]
    for wrong in (np.stack([x, x]), x[:-1], np.full_like(x, np.nan)):
        for ask in (posterior.sample, posterior.refine, posterior.encode):
            with pytest.raises(InputError, match="features"):
                ask(wrong, 2)
    with pytest.raises(InputError, match="int16"):
        posterior.features(np.zeros(posterior.run.note.n_samples(RATE), np.int16))


def test_the_same_presets_however_many_are_inferred_at_once(here, tmp_path, monkeypatch):
    folder, dataset, posterior = here
    sounds = [folder / "note.wav", tmp_path / "bad.wav", tmp_path / "two.wav"]
    sounds[1].write_bytes(b"no sound")
    audio = dataset.audio(dataset.rows("test")[1:2])[0]
    soundfile.write(sounds[2], audio, RATE, subtype="FLOAT")
    found = []
    for workers, least in ((1, side_by_side.LEAST_RENDERS), (2, 1)):
        monkeypatch.setattr(side_by_side, "LEAST_RENDERS", least)
        out = tmp_path / str(workers)
        done, failed = infer_sounds(
            posterior, sounds, out, budget=8, draws=2, workers=workers, progress=False
        )
        assert [item.sound for item in done] == [str(sounds[0]), str(sounds[2])]
        assert [item.sound for item in failed] == [str(sounds[1])]
        found.append([(out / name / "preset.json").read_bytes() for name in ("note", "two")])
        found[-1] += [soundfile.read(out / "two" / "render.wav")[0].tobytes()]
    assert found[0] == found[1]


def tone(path, hz):
    time = np.arange(RATE) / RATE
    sound = sum(np.sin(2 * np.pi * hz * k * time) / k for k in range(1, 8)) * np.exp(-time)
    soundfile.write(path, 0.1 * sound, RATE)


def test_a_sound_at_another_pitch_says_which_note_plays_it(here, tmp_path):
    _, _, posterior = here
    for name, hz in (("c4", 261.63), ("a4", 440.0)):
        tone(tmp_path / f"{name}.wav", hz)
    noise = 0.1 * np.random.default_rng(0).normal(size=RATE)
    soundfile.write(tmp_path / "noise.wav", noise, RATE)
    done, _ = infer_sounds(
        posterior, [tmp_path / f"{name}.wav" for name in ("c4", "a4", "noise")], tmp_path / "out",
        budget=2, draws=1, workers=1, progress=False,
    )  # fmt: skip
    assert [item.play and item.play["name"] for item in done] == [None, "A4", None]
    assert not any(item.advice for item in done)


@pytest.mark.filterwarnings("ignore")  # ArviZ about matplotlib, and about draws of a poor model
def test_what_arviz_is_asked_first(here, tmp_path):
    folder, _, posterior = here
    infer_sounds(
        posterior, [folder / "note.wav"], tmp_path, budget=4, draws=8, workers=1, progress=False
    )
    az = arviz()
    data = az.from_netcdf(tmp_path / "note" / "posterior.nc")
    az.plot_ppc(data)
    assert np.isfinite(az.loo(data).elpd_loo)
    assert list(az.compare({"one": data, "two": data}).index) == ["one", "two"]
    assert az.summary(data, var_names=["v"], kind="stats").shape[0] == 16


def test_ctrl_c_twice_is_no_traceback(here, tmp_path):
    folder, _, _ = here
    arguments = [
        "fit",
        "flow_reg",
        folder / "data",
        "--out",
        tmp_path / "run",
        "--steps",
        "100000",
    ]
    temporary, cache = tmp_path / "temporary", tmp_path / "cache"
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary), "XDG_CACHE_HOME": str(cache)}
    environment.pop("TORCHINDUCTOR_CACHE_DIR", None)  # where torch has put it in this process
    child = subprocess.Popen(
        [sys.executable, "-m", "pyrosynth", *map(str, arguments)], stderr=subprocess.PIPE,
        text=True, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        env=environment,
    )  # fmt: skip
    with child:
        while (line := child.stderr.readline()) and "fit:" not in line:
            pass
        for _ in range(3):
            child.send_signal(signal.SIGINT)
        _, error = child.communicate(timeout=300)
    assert child.returncode == 130, error
    assert "Traceback" not in error
    assert not list(temporary.iterdir())


def test_bars_within_bars_write_no_terminal_codes(capsys):
    with progress_as_lines():
        for _ in tqdm(range(3), desc="outer"):
            for _ in tqdm(range(3), desc="inner", leave=False):
                pass
    said = capsys.readouterr().err
    assert "outer: 100%" in said
    assert "\x1b" not in said
    assert "\r" not in said


@pytest.mark.parametrize("several", ["", "abc", "0"])
def test_settings_of_torchrun_that_are_none_are_left_out(several, monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", several)
    assert free_memory(torch.device("cpu")) > 0


def test_a_program_that_embeds_python_is_told_to_name_one():
    script = """
import sys
sys.executable = ""
import pyrosynth as ps
voice = ps.load_synth("voice")  # which needs no other process
print(len(voice.render(voice.param_space.defaults, ps.Note(), 22050)))
try:
    with ps.Renderer(voice, ps.Note(), 22050, workers=1) as renderer:
        renderer.render(voice.param_space.defaults[None])
except ps.PyrosynthError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    length, said = done.stdout.splitlines()
    assert int(length) > 0
    assert "set sys.executable to a Python that has pyrosynth" in said


def test_processes_that_torchrun_has_not_started_are_not_waited_for(here, tmp_path):
    folder, _, _ = here
    done = subprocess.run(
        [sys.executable, "-m", "pyrosynth", "fit", "mlp", folder / "data", "--steps", "1", "--out",
         tmp_path / "run"],
        env={**os.environ, "TORCHELASTIC_RUN_ID": "none"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "or unset TORCHELASTIC_RUN_ID" in done.stderr.splitlines()[-1]
