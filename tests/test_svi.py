"""The loop: resuming, stopping, interrupts, and what it leaves untouched."""

import math
import os
import signal
import time
from functools import cache

import numpy as np
import pyro
import pytest
import torch
from toys import SMALL, toy_data

from pyrosynth.errors import InputError, RunError
from pyrosynth.modeling import SyncFreeELBO, Term, build
from pyrosynth.training import svi, zoo
from pyrosynth.training.batches import TrainData, seed_of
from pyrosynth.training.state import read_tensors, settings_of
from pyrosynth.training.step import require_dense
from pyrosynth.training.svi import CHECKPOINT, fit

QUICK = {"batch_size": 32, "validate_every": 10, "warm_up": 5, "lr": 3e-3, "progress": False}


def small(data, name="flow_reg", **more):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return zoo.load_model(name)(data.dims, **SMALL[name], **more)


def same_weights(a, b):
    states = a.state_dict(), b.state_dict()
    return all(torch.equal(states[0][k], states[1][k]) for k in states[0])


@pytest.fixture
def interrupt(monkeypatch):
    """Press Ctrl-C at the n-th batch from now on."""
    batch = TrainData.batch

    def press(at):
        made = []

        def counted(data, rows):
            made.append(rows)
            if len(made) == at:
                os.kill(os.getpid(), signal.SIGINT)
            return batch(data, rows)

        monkeypatch.setattr(TrainData, "batch", counted)

    yield press
    monkeypatch.undo()


@cache
def uninterrupted(unknown):
    """Return data, what is fitted to them without a stop, and its history."""
    data = toy_data(n=128, unknown=unknown)
    whole = small(data)
    return data, whole, fit(whole, data, steps=25, jitter=0.1, **QUICK)


@pytest.mark.parametrize("stop_at", [7, 11, 18])
@pytest.mark.parametrize("unknown", [0.0, 0.3])
def test_resuming_is_bit_identical(tmp_path, interrupt, monkeypatch, stop_at, unknown):
    data, whole, history = uninterrupted(unknown)
    began = time.monotonic()
    stopped = small(data)
    interrupt(stop_at)
    with pytest.raises(KeyboardInterrupt, match="the same fit into the same folder goes on"):
        fit(stopped, data, steps=25, jitter=0.1, out=tmp_path, **QUICK)
    monkeypatch.undo()
    half = read_tensors(tmp_path / CHECKPOINT)[1]["times"]
    assert not same_weights(stopped, whole)
    resumed = small(data)
    again = fit(resumed, data, steps=25, jitter=0.1, out=tmp_path, resume=True, **QUICK)
    assert same_weights(resumed, whole)
    assert again.rows == history.rows
    assert again.best_step == history.best_step
    assert all(("valid_coverage_error" in row) == (not unknown) for row in history.rows)
    # It took as long as both calls together.
    whole_time = read_tensors(tmp_path / CHECKPOINT)[1]["times"]
    assert 0 < half[0] < whole_time[0] < again.seconds < time.monotonic() - began
    assert 0 < half[1] < whole_time[1] < again.cpu_seconds
    # A finished fit is not done again.
    third = small(data)
    interrupt(1)
    fit(third, data, steps=25, jitter=0.1, out=tmp_path, resume=True, **QUICK)
    assert same_weights(third, whole)


def test_interrupt_in_the_last_validation_is_heard(tmp_path, monkeypatch):
    score = svi._Validation.__call__

    def pressed(validation, *arguments):
        os.kill(os.getpid(), signal.SIGINT)
        return score(validation, *arguments)

    data = toy_data(n=64)
    monkeypatch.setattr(svi._Validation, "__call__", pressed)
    with pytest.raises(KeyboardInterrupt, match="stopped after step 3; the same fit"):
        fit(small(data), data, steps=3, out=tmp_path, **QUICK)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_that_end_a_command_leave_a_checkpoint_too(tmp_path, monkeypatch, number):
    """As the scheduler of a cluster sends them; a command notes which one it was."""
    heard, score = [], svi._Validation.__call__

    def end(number, frame):
        heard.append(number)
        raise KeyboardInterrupt

    def ended(validation, *arguments):
        os.kill(os.getpid(), number)
        return score(validation, *arguments)

    data = toy_data(n=64)
    monkeypatch.setattr(svi._Validation, "__call__", ended)
    before = signal.signal(number, end)
    try:
        with pytest.raises(KeyboardInterrupt, match="stopped after step 3; the same fit"):
            fit(small(data), data, steps=3, out=tmp_path, **QUICK)
        assert signal.getsignal(number) is end
    finally:
        signal.signal(number, before)
    assert heard == [number]
    assert (tmp_path / CHECKPOINT).is_file()


def test_a_handler_that_only_notes_a_signal_ends_no_fit(tmp_path, monkeypatch):
    heard, score = [], svi._Validation.__call__

    def noted(validation, *arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        return score(validation, *arguments)

    data = toy_data(n=64)
    monkeypatch.setattr(svi._Validation, "__call__", noted)
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        history = fit(small(data), data, steps=3, out=tmp_path, **QUICK)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM]
    assert history.rows[-1]["step"] == 3


def test_interrupt_without_a_folder_says_so(interrupt):
    data = toy_data(n=64)
    interrupt(3)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match="stopped after step 3; nothing was saved"):
        fit(small(data), data, steps=20, **QUICK)
    assert signal.getsignal(signal.SIGINT) is handler


def test_seed_fixes_everything_and_global_state_is_left_alone():
    data = toy_data(n=128)
    before = torch.get_rng_state()
    threads, validation = torch.get_num_threads(), pyro.distributions.is_validation_enabled()
    models = [small(data) for _ in range(3)]
    histories = [
        fit(m, data, steps=12, seed=s, threads=1, **QUICK)
        for m, s in zip(models, (1, 1, 2), strict=True)
    ]
    assert same_weights(models[0], models[1])
    assert histories[0].rows == histories[1].rows
    assert not same_weights(models[0], models[2])
    assert torch.equal(before, torch.get_rng_state())
    assert torch.get_num_threads() == threads
    assert pyro.distributions.is_validation_enabled() == validation


def test_early_stopping_keeps_the_best_weights():
    data = toy_data(n=40)  # few sounds: the posterior overfits soon
    variant = small(data)
    settings = QUICK | {"lr": 3e-2, "validate_every": 5}
    history = fit(variant, data, steps=400, patience=3, **settings)
    assert history.stopped == "early"
    scores = [row["valid_log_q"] for row in history.rows]
    steps = [row["step"] for row in history.rows]
    assert history.best_step == steps[scores.index(max(scores))]
    assert steps[-1] == history.best_step + 3 * 5
    # The weights are those of the best row, not of the last.
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed_of(0, 2, 0))  # the noise of every validation
        batch = data.batch(data.valid)
        kept = variant.log_prob_v(batch["v"], batch["x"]).mean()
    assert kept.item() == pytest.approx(max(scores), abs=1e-5)


def test_the_rate_is_halved_where_validation_stalls():
    data = toy_data(n=128)
    settings = QUICK | {"lr": 0.1, "warm_up": 1, "validate_every": 4}
    history = fit(small(data), data, steps=60, halve_after=2, **settings)
    scores = [row["valid_log_q"] for row in history.rows]
    best, late, rate, expected = -math.inf, 0, 0.1, []
    for value in scores:
        expected.append(rate)  # of the steps before this validation
        late = 0 if value > best else late + 1
        best = max(best, value)
        if late == 2:
            late, rate = 0, rate / 2
    assert [row["lr"] for row in history.rows] == pytest.approx(expected)
    assert rate < 0.1


def test_loss_that_is_not_finite_names_the_step_and_keeps_the_checkpoint(tmp_path, monkeypatch):
    data = toy_data(n=128)
    variant = small(data)
    batch, made = TrainData.batch, []

    def poisoned(data, rows):
        made.append(rows)
        found = batch(data, rows)
        if len(made) > 21:  # 19 steps, and a validation that makes two
            found["x"][0, 0, 0] = torch.nan
        return found

    monkeypatch.setattr(TrainData, "batch", poisoned)
    with pytest.raises(RunError, match="the loss became nan at step 20; lower lr.*last good"):
        fit(variant, data, steps=60, out=tmp_path, **QUICK)
    monkeypatch.undo()
    assert (tmp_path / "checkpoints/last.safetensors").is_file()
    history = fit(variant, data, steps=60, out=tmp_path, resume=True, **QUICK)
    assert history.rows[-1]["step"] == 60


def test_a_stopped_fit_goes_on_along_a_longer_schedule(tmp_path):
    data = toy_data(n=64)
    fit(small(data), data, steps=10, out=tmp_path, **QUICK)
    variant = small(data)
    history = fit(variant, data, steps=20, out=tmp_path, resume=True, **QUICK)
    whole = fit(small(data), data, steps=20, **QUICK)
    assert history.rows[-1]["step"] == 20
    assert history.rows[-1]["lr"] == whole.rows[-1]["lr"]
    assert history.rows[0]["lr"] != whole.rows[0]["lr"]


def test_checkpoints_are_not_overwritten_or_mixed(tmp_path):
    data = toy_data(n=64)
    fit(small(data), data, steps=10, out=tmp_path, **QUICK)
    with pytest.raises(RunError, match="earlier fit; give resume=True"):
        fit(small(data), data, steps=10, out=tmp_path, **QUICK)
    with pytest.raises(RunError, match="steps 10, not 5"):
        fit(small(data), data, steps=5, out=tmp_path, resume=True, **QUICK)
    with pytest.raises(RunError, match="hyperparameters.gamma 1.0, not 2.0"):
        fit(small(data, gamma=2.0), data, steps=10, out=tmp_path, resume=True, **QUICK)
    with pytest.raises(RunError, match="with other data; resume"):
        fit(small(data), toy_data(n=65), steps=10, out=tmp_path, resume=True, **QUICK)
    file = tmp_path / "checkpoints/last.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(RunError, match="damaged"):
        fit(small(data), data, steps=10, out=tmp_path, resume=True, **QUICK)
    with pytest.raises(RunError, match="damaged"):
        settings_of(file)


def test_full_disk_is_one_clear_line(tmp_path, monkeypatch):
    data = toy_data(n=64)

    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match="No space left on device"):
        fit(small(data), data, steps=10, out=tmp_path, **QUICK)
    assert not list(tmp_path.rglob("*.part"))


def test_without_held_out_rows_the_last_weights_are_kept():
    data = toy_data(n=64)
    data = TrainData(**{**vars(data), "valid": torch.arange(0)})
    history = fit(small(data), data, steps=20, **QUICK)
    assert history.best_step == 20
    assert set(history.rows[0]) == {"loss", "step", "lr"}


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "meta"])
def test_missing_device(device):
    data = toy_data(n=64)
    with pytest.raises(InputError, match="cpu"):
        fit(small(data), data, steps=1, device=device, **QUICK)


def test_terms_name_sites_that_are_there_and_each_once():
    data = toy_data(n=64)
    variant = small(data)
    batch = data.batch(data.train[:8])
    for term in (Term("all", ("x", "z")), Term("all", ("x",), guide=("x",))):
        with pytest.raises(RunError, match="which the (model|guide) lacks; it has (v, x|v)$"):
            SyncFreeELBO((term,)).values(variant, batch)
    with pytest.raises(RunError, match="two terms count the model's site 'x'"):
        SyncFreeELBO((Term("a", ("x", "v")), Term("b", ("x",))))
    for terms in ((("a", ("x",)),), Term("a", ("x",)), None):
        with pytest.raises(InputError, match="terms of a model .*give a"):
            SyncFreeELBO(terms)


def test_a_model_without_parameters_is_refused():
    data = toy_data(n=64)
    variant = small(data).requires_grad_(False)
    with pytest.raises(InputError, match="has no parameters to learn; make layers attrib"):
        fit(variant, data, steps=1, **QUICK)


class Stateful(torch.nn.Module):
    def get_extra_state(self):
        return {"version": 3}


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (Stateful(), "'part._extra_state' of Toy is .*, which a run cannot keep; make it"),
        (torch.nn.Linear(2, 2, device="meta"), "'part.weight' of Toy has no values"),
        (torch.nn.Parameter(torch.ones(1).expand(4)), "has one value in several places"),
        (torch.nn.LazyLinear(2), "'part.weight' of Toy has no shape, as it is never"),
    ],
)
def test_a_model_that_cannot_be_learnt_or_kept_is_refused(part, said):
    data = toy_data(n=64)
    variant = small(data)
    variant.part = part
    with pytest.raises(InputError, match=said.replace("Toy", type(variant).__name__)):
        fit(variant, data, steps=1, **QUICK)


def test_a_sparse_gradient_is_refused():
    data = toy_data(n=64)
    variant = small(data)
    variant.part = torch.nn.Embedding(4, 2, sparse=True)
    loss = variant.part(torch.tensor([1])).sum()
    loss.backward()
    with pytest.raises(InputError, match="gradient of 'part.weight' of .* is sparse, which AdamW"):
        require_dense(variant)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_the_callers_modes_are_not_the_fits(mode):
    data = toy_data(n=64)
    plain = small(data)
    fit(plain, data, steps=3, **QUICK)
    with mode(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        variant = build(zoo.load_model("flow_reg"), data.dims, SMALL["flow_reg"])
        fit(variant, data, steps=3, **QUICK)
    assert same_weights(variant, plain)


@pytest.mark.parametrize("name", ["flow_reg", "flow_mixed", "flow_matching", "vae"])
def test_a_default_type_of_64_bits_changes_nothing(name):
    data = toy_data(n=64)
    torch.set_default_dtype(torch.float64)
    try:
        variant = small(data, name)
        history = fit(variant, data, steps=3, **QUICK)
        v, _ = variant.sample_v(data.batch(data.valid)["x"], 3)
    finally:
        torch.set_default_dtype(torch.float32)
    assert history.rows[-1]["step"] == 3
    assert v.dtype == torch.float32
    assert {p.dtype for p in variant.parameters()} == {torch.float32}


def test_numbers_of_numpy_are_numbers(tmp_path):
    data = toy_data(n=64)
    settings = QUICK | {"lr": np.float32(3e-3), "batch_size": np.int64(32)}
    variant = small(data, bins=np.int64(4), beta_steps=np.int16(3))
    fit(variant, data, steps=np.int64(4), seed=np.uint8(3), out=tmp_path, **settings)
    again = small(data, bins=4, beta_steps=3)
    settings["lr"] = float(settings["lr"])
    fit(again, data, steps=4, seed=3, out=tmp_path, resume=True, **settings)
    assert same_weights(again, variant)


def test_batches_are_standardised_and_dequantised_afresh():
    data = toy_data(n=256)
    rows = data.train[:100]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        first, second = data.batch(rows), data.batch(rows)
    assert torch.equal(first["x"], second["x"])
    assert not torch.equal(first["v"], second["v"])
    assert torch.equal((first["v"] * 16).floor(), data.levels[rows].float())
    assert first["x"].dtype == first["v"].dtype == torch.float32
    torch.testing.assert_close(first["x"].mean(), torch.tensor(0.0), atol=0.05, rtol=0)
    assert "has_v" not in first
    assert toy_data(unknown=0.5).batch(rows)["has_v"].float().mean() < 0.7


@pytest.mark.gpu
def test_device_runs_the_same_code(device, tmp_path):
    data = toy_data(n=128, unknown=0.3)
    cpu, gpu = small(data), small(data)
    data_settings = QUICK | {"batch_size": 96}
    a = fit(cpu, data, steps=10, **data_settings)
    b = fit(gpu, data, steps=10, device=device, out=tmp_path, **data_settings)
    assert abs(a.rows[0]["valid_sound"] - b.rows[0]["valid_sound"]) < 1.0
