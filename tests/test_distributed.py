"""Several processes that take each step together: the losses and weights of one process."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys

import pytest
import torch
from small import small_dataset
from test_svi import QUICK, small
from torch import distributed
from torch.nn.functional import dropout
from toys import SMALL, toy_data

from pyrosynth.errors import InputError
from pyrosynth.modeling.whole_batch import split_batch
from pyrosynth.training.batches import TrainData
from pyrosynth.training.distributed import ALONE, Processes
from pyrosynth.training.fit import fit as fit_dataset
from pyrosynth.training.run import load_run
from pyrosynth.training.svi import fit

N = 2
SETTINGS = {**QUICK, "validate_every": 6, "steps": 24, "jitter": 0.1}
# Rows without parameters, pairs of a batch, batch norm and dropout.
FITS = {
    "flow_reg": {}, "flow_audio": {}, "wae": {}, "cnn": {"dropout": 0.3},
}  # fmt: skip

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def fitted(name, processes=ALONE, **settings):
    """Fit a small variant; return its history and weights."""
    data = toy_data(n=128, unknown=0.3 if name == "flow_reg" else 0.0)
    variant = small(data, name, **FITS[name])
    history = fit(variant, data, processes=processes, **{**SETTINGS, **settings})
    return history.rows, variant.state_dict()


def together(work, place):
    """Do some work in two processes over gloo; return what each of them found."""
    context = multiprocessing.get_context("fork")  # what is imported stays imported
    meeting = place / "meeting"

    def run(rank):
        distributed.init_process_group(
            "gloo", init_method=f"file://{meeting}", rank=rank, world_size=N
        )
        torch.save(work(Processes(rank, N)), place / f"found{rank}")
        distributed.destroy_process_group()

    processes = [context.Process(target=run, args=(rank,)) for rank in range(N)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(600)
        process.kill()
    meeting.unlink(missing_ok=True)
    return [torch.load(place / f"found{rank}", weights_only=False) for rank in range(N)]


def losses(rows):
    return [row["loss"] for row in rows]


def test_two_processes_take_the_steps_of_one(tmp_path):
    found = together(lambda processes: {n: fitted(n, processes) for n in FITS}, tmp_path)
    for name in FITS:
        rows, _ = fitted(name)
        (first_rows, first), (second_rows, second) = (each[name] for each in found)
        assert first_rows == second_rows
        assert all(torch.equal(first[k], second[k]) for k in first), name
        assert losses(first_rows) == pytest.approx(losses(rows), rel=1e-6), name
        assert len(rows) == 4
        # Where it ends they have the same weights, but for rounding.
        last = {k: v for k, v in rows[-1].items() if k.startswith("valid_")}
        assert first_rows[-1] == pytest.approx({**first_rows[-1], **last}, abs=1e-5), name


def test_a_signal_to_one_stops_all_and_they_go_on_as_if_not_stopped(tmp_path, monkeypatch):
    """They stop at the same step, one of them writes, and the end is that of a whole fit."""
    settings = {"validate_every": 10, "steps": 24}
    whole, _ = fitted("flow_reg", **settings)
    batch, made = TrainData.batch, []

    def stopped(processes):
        def counted(data, rows):
            made.append(rows)
            if len(made) == 4 and processes.rank == 1:
                os.kill(os.getpid(), signal.SIGINT)
            return batch(data, rows)

        monkeypatch.setattr(TrainData, "batch", counted)
        with pytest.raises(KeyboardInterrupt, match="stopped after step 10"):
            fitted("flow_reg", processes, out=tmp_path / f"run{processes.rank}", **settings)
        return sorted(file.name for file in tmp_path.glob("run*/*/*"))

    assert together(stopped, tmp_path)[0] == ["last.safetensors"]  # that of the first alone
    assert not (tmp_path / "run1").exists()

    def resumed(processes):
        return fitted("flow_reg", processes, out=tmp_path / "run0", resume=True, **settings)

    (first, _), (second, _) = together(resumed, tmp_path)
    assert first == second
    assert losses(first) == pytest.approx(losses(whole), rel=1e-6)


def test_a_batch_is_split_evenly_or_not_at_all():
    with pytest.raises(
        InputError, match="batches of 32 .* over 3 processes; give --batch-size 30"
    ):
        fit(small(toy_data(n=64)), toy_data(n=64), processes=Processes(0, 3), **SETTINGS)
    rows = torch.arange(12)
    assert torch.equal(torch.cat([Processes(i, 4).part(rows) for i in range(4)]), rows)


def noise(rows):
    """Draw by every function that has its own way to take shapes, from torch's generator."""
    n = len(rows)
    ones = torch.ones(n, 3)
    return [
        torch.rand(n, 1), torch.randn((n, 2)), torch.randn(4, n, 2), torch.randint(0, 9, (n, 2)),
        torch.rand_like(ones), torch.randn_like(ones.expand(2, n, 3)),
        torch.normal(0 * ones, ones),
        torch.bernoulli(0.5 * ones), torch.empty(n).normal_(2, 3), torch.multinomial(ones, 2),
        torch.empty(n, 2).uniform_(), dropout(ones + rows[:, None], 0.5),
        torch.distributions.Gamma(ones, 1.0).sample(),
    ]  # fmt: skip


@pytest.mark.parametrize("n", [2, 5])
def test_noise_is_that_of_the_whole_batch(n):
    rows, parts = torch.arange(30.0), []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        whole = noise(rows)
        after = torch.rand(())
        for rank in range(n):
            torch.manual_seed(0)
            with split_batch(rank, n, len(rows) // n):
                parts.append(noise(rows.chunk(n)[rank]))
            assert torch.rand(()) == after
            # Draws of the same rows one after the other lie along one axis.
            torch.manual_seed(0)
            drawn = torch.randn(4 * 30)
            torch.manual_seed(0)
            with split_batch(rank, n, 30 // n):
                assert torch.equal(
                    torch.randn(4 * 30 // n), drawn.reshape(4, n, -1)[:, rank].flatten()
                )
    for drawn, *pieces in zip(whole, *parts, strict=True):
        axis = list(drawn.shape).index(30)
        assert torch.equal(torch.cat(pieces, axis), drawn)


def test_torchrun_fits_with_the_command(tmp_path):
    dataset = small_dataset(tmp_path)
    options = [f"{key}={json.dumps(value)}" for key, value in SMALL["flow_reg"].items()]
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(N),
        "-m", "pyrosynth", "fit", "flow_reg", str(dataset.path), "--out", str(tmp_path / "run"),
        "--steps", "20", "--batch-size", "32", "--json",
        *(argument for option in options for argument in ("--set", option)),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["best_step"] == 20  # one document, of the first process
    run = load_run(tmp_path / "run")
    alone = fit_dataset(
        "flow_reg", dataset, options=SMALL["flow_reg"], steps=20, batch_size=32, progress=False
    )
    assert losses(run.training.rows) == pytest.approx(losses(alone.training.rows), rel=1e-5)
    assert run.temperature == pytest.approx(alone.temperature, rel=1e-3)
    assert (tmp_path / "run" / "bank.safetensors").is_file()
