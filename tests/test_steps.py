"""The step of a fit: equal to a loop written out, and fit to be captured on a GPU."""

import math
import re
import sys
from pathlib import Path

import pyro
import pytest
import torch
from test_svi import QUICK, same_weights, small
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from toys import SMALL, toy_data

import pyrosynth
from pyrosynth.errors import InputError
from pyrosynth.modeling import WarmUp
from pyrosynth.modeling.elbo import SyncFreeELBO
from pyrosynth.training import zoo
from pyrosynth.training.batches import seed_of
from pyrosynth.training.capture import seed_noise, side_stream
from pyrosynth.training.optimiser import FlatAdamW
from pyrosynth.training.state import TrainingState
from pyrosynth.training.step import Step
from pyrosynth.training.svi import adamw, fit
from pyrosynth.training.uncertainty import shares_denser


def step_of(variant, data, **options):
    optimiser, elbo = adamw(variant, 1e-3, 1e-2), SyncFreeELBO(variant.terms)
    return Step(variant, elbo, data, optimiser, batch_size=16, clip=20.0, **options)


@pytest.mark.parametrize(("name", "unknown"), [("flow_reg", 0.3), ("vae_flow", 0.0)])
def test_a_fit_is_the_loop_written_out_bit_for_bit(name, unknown):
    data = toy_data(n=128, unknown=unknown)
    fitted, by_hand = (small(data, name, gamma_steps=9) for _ in range(2))
    data = type(data)(**{**vars(data), "valid": torch.arange(0)})
    fit(fitted, data, steps=20, jitter=0.1, seed=3, **QUICK)

    elbo, parameters = SyncFreeELBO(by_hand.terms), list(by_hand.parameters())
    optimiser = torch.optim.AdamW(parameters, 1.0, weight_decay=1e-2, fused=True)
    with torch.random.fork_rng(devices=[]):
        for step in range(20):
            if step % 3 == 0:
                rng = torch.Generator().manual_seed(seed_of(3, 0, step // 3))
                order = torch.randperm(96, generator=rng)
            torch.manual_seed(seed_of(3, 1, step))
            batch = data.batch(order[step % 3 * 32 :][:32])
            batch["x"] = batch["x"] + 0.1 * torch.randn_like(batch["x"])
            loss = elbo.loss(by_hand, batch, elbo.weights(step, torch.device("cpu")))
            rate = 3e-3 * min(1.0, (step + 1) / 5) * 0.5 * (1 + math.cos(math.pi * step / 20))
            optimiser.param_groups[0]["lr"] = torch.tensor(rate).item()
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 20.0)
            optimiser.step()
    assert same_weights(fitted, by_hand)


def test_a_fit_does_without_torchs_compiler(tmp_path, monkeypatch):
    """Importing it takes longer than many a fit."""
    monkeypatch.setitem(sys.modules, "torch._dynamo", None)  # an import fails
    data = toy_data(n=128)
    fit(small(data), data, steps=2, out=tmp_path, **QUICK)
    fit(small(data), data, steps=4, out=tmp_path, resume=True, **QUICK)


def test_what_changes_is_read_from_tensors_that_stay():
    """A captured step sees only what lies where it lay during the capture."""
    data = toy_data(n=64)
    variant = small(data, gamma=2.0, gamma_steps=3)
    step = step_of(variant, data)
    rate = step.optimiser.param_groups[0]["lr"]
    places = [t.data_ptr() for t in (step.rows, step.weights, rate)]
    for i in range(4):
        step(i, data.train[i : i + 16], 0.1 / (i + 1), seed=i)
        assert step.weights.tolist() == pytest.approx([1.0, 1.0, WarmUp(2.0, 3)(i)])
        assert torch.equal(step.rows, data.train[i : i + 16])
        assert step.optimiser.param_groups[0]["lr"].item() == pytest.approx(0.1 / (i + 1))
    assert [t.data_ptr() for t in (step.rows, step.weights, rate)] == places


def test_the_seed_of_a_step_fixes_its_noise():
    data, losses = toy_data(n=64, unknown=0.5), []
    for seed in (1, 1, 2):
        step = step_of(small(data), data, jitter=0.5)
        with torch.random.fork_rng(devices=[]):
            losses.append(step(0, data.train[:16], 1e-3, seed).item())
    assert losses[0] == losses[1] != losses[2]


def draws(device="cpu"):
    noise = torch.randn(100, device=device), torch.rand(3, device=device)
    return torch.cat(noise).tolist() + torch.randperm(9, device=device).tolist()


@pytest.mark.parametrize("seed", [0, 7, 2**63 - 1])
def test_seeded_noise_is_that_of_torch(seed):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        expected, state = draws(), torch.get_rng_state()
        seed_noise(seed, torch.device("cpu"))
        assert draws() == expected
        assert torch.equal(torch.get_rng_state(), state)


def test_nothing_is_seeded_that_is_not_in_use():
    """torch.manual_seed seeds all devices and formats a traceback for each, at every step."""
    for file in (*Path(pyrosynth.__file__).parent.rglob("*.py"), *zoo.FOLDER.glob("*.py")):
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"torch\.(manual_seed|cuda\.manual_seed\w*)\(|set_rng_seed", text), (
            file
        )


def test_rounded_products_change_little_and_only_in_training():
    data, rows = toy_data(n=128), []
    for precision in (None, "bfloat16"):
        variant = small(data)
        history = fit(variant, data, steps=40, precision=precision, **QUICK)
        assert {p.dtype for p in variant.parameters()} == {torch.float32}
        assert not any(getattr(m, "rounded", False) for m in variant.modules())
        rows.append(history.rows[-1])
    assert rows[0]["loss"] != rows[1]["loss"]
    assert rows[0]["loss"] == pytest.approx(rows[1]["loss"], rel=0.02)
    assert rows[0]["valid_log_q"] == pytest.approx(rows[1]["valid_log_q"], abs=0.3)
    with pytest.raises(InputError, match="unknown precision 'float8'; known: bfloat16, tf32"):
        fit(variant, data, steps=1, precision="float8", **QUICK)


def test_pyro_checks_the_first_step_of_a_fit_alone():
    """On a GPU each check waits for the device, and a step that waits cannot be captured."""
    data, seen = toy_data(n=64), []

    class Watched(SyncFreeELBO):
        def loss(self, *args):
            seen.append(pyro.settings.get("validate_distributions_pyro"))
            return super().loss(*args)

    variant = small(data)
    for check in (True, False):
        step = step_of(variant, data, check=check)
        step.elbo = Watched(variant.terms)
        with torch.random.fork_rng(devices=[]), pyro.validation_enabled(True):
            for i in range(3):
                step(i, data.train[:16], 1e-3, seed=i)
            assert pyro.settings.get("validate_distributions_pyro")
    assert seen == [True, False, False, False, False, False]


class NoNumbersFromTheHost(TorchFunctionMode):
    """Forbids tensors made of Python's numbers on the device: each is a copy from the host."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in (torch.tensor, torch.as_tensor) and str(kwargs.get("device")) == "meta":
            pytest.fail(f"{func.__name__}({args[0]}) copies from the host; use a buffer")
        return func(*args, **kwargs)


class NoCopies(TorchDispatchMode):
    """Forbids copies between devices."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        copies = torch.ops.aten._to_copy, torch.ops.aten.copy_
        if func.overloadpacket in copies:
            source = args[1] if func.overloadpacket is copies[1] else args[0]
            assert source.device == out.device, f"{source.device} is copied to {out.device}"
        return out


@pytest.mark.parametrize("name", zoo.list_models())
@pytest.mark.parametrize("unknown", [0.0, 0.5])
def test_no_step_talks_to_the_host(name, unknown):
    """On torch's meta device, which holds no numbers, reading one back is an error."""
    data = toy_data(n=64, unknown=unknown)
    variant = zoo.load_model(name)(data.dims, **SMALL.get(name, {})).to("meta")
    data = data.to(torch.device("meta"))
    idle = torch.optim.AdamW([torch.zeros(1)], 1e-3)  # torch's fused one needs a real device
    idle.param_groups[0]["lr"] = torch.zeros((), device="meta")
    step = Step(
        variant, SyncFreeELBO(variant.terms), data, idle, batch_size=16, clip=1.0, jitter=0.1
    )
    with pyro.validation_enabled(True), NoNumbersFromTheHost(), NoCopies():
        loss = step(0, data.train[:16], 1e-3, seed=0)
    assert loss.shape == ()
    # What is fitted once the rest stands still gets no gradient.
    assert all((p.grad is not None) == p.requires_grad for p in variant.parameters())
    if variant.exact:  # what a validation looks at may be captured as well
        batch = data.batch(data.valid)
        with NoNumbersFromTheHost(), NoCopies(), pyro.validation_enabled(False):
            assert shares_denser(variant.eval(), batch["x"], batch["v"]).shape == data.valid.shape


def test_small_weights_as_one_tensor_take_the_steps_of_each(monkeypatch):
    """The optimiser of a GPU, on a CPU: the same weights, and a state that goes over."""
    monkeypatch.setattr("pyrosynth.training.optimiser.SMALL", 700)
    data, fitted = toy_data(n=64), []
    for flat in (False, True):
        variant = small(data)
        unused = torch.nn.Parameter(torch.ones(3))
        variant.register_parameter("unused", unused)
        rate = torch.tensor(1e-3)
        kind = FlatAdamW if flat else torch.optim.AdamW
        optimiser = kind(list(variant.parameters()), rate, **({} if flat else {"fused": True}))
        step = Step(variant, SyncFreeELBO(variant.terms), data, optimiser, batch_size=16, clip=1.0)
        with torch.random.fork_rng(devices=[]):
            for i in range(5):
                step(i, data.train[i : i + 16], 1e-2, seed=i)
        assert unused.tolist() == [1.0, 1.0, 1.0]  # without a gradient it does not decay either
        fitted.append((variant, optimiser))
    (one, plain), (other, flat) = fitted
    assert flat.small
    assert flat.large
    for (name, a), b in zip(one.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5, msg=name)
    state = flat.state_dict()
    for i, entry in plain.state_dict()["state"].items():
        torch.testing.assert_close(state["state"][i]["exp_avg"], entry["exp_avg"])
    flat.load_state_dict(state)
    assert all(
        torch.equal(flat.state_dict()["state"][i][k], v)
        for i in state["state"]
        for k, v in state["state"][i].items()
    )
    # That of each parameter alone has no entry for the unused one.
    alone = plain.state_dict()["state"]
    flat.load_state_dict({**state, "state": alone})
    for i, entry in alone.items():
        for name, value in entry.items():
            assert torch.equal(flat.state_dict()["state"][i][name], value)
    held = flat.flat.data_ptr()
    flat.release()
    assert all(
        p.data_ptr() != held and p.untyped_storage().nbytes() == p.numel() * 4
        for p in other.parameters()
    )


def losses_of(variant, data, device, capture):
    """Take some steps; return their losses, and whether they were captured."""
    target = torch.device(device)
    variant.to(target)
    data = data.to(target)
    step = step_of(variant, data, jitter=0.1, capture=capture)
    with torch.random.fork_rng([target]), side_stream(target):
        losses = [step(i, data.train[i : i + 16], 1e-3, seed=i) for i in range(12)]
        return torch.stack(losses).cpu(), step.captured.capture


@pytest.mark.gpu
@pytest.mark.parametrize("name", zoo.list_models())
def test_captured_steps_are_the_same_steps(name, device):
    data = toy_data(n=128, unknown=0.3)
    with torch.backends.cudnn.flags(allow_tf32=False):
        ordinary, _ = losses_of(small(data, name), data, device, capture=False)
        graph, captured = losses_of(small(data, name), data, device, capture=True)
    assert captured
    torch.testing.assert_close(graph, ordinary, rtol=1e-4, atol=1e-3)


@pytest.mark.gpu
def test_seeded_noise_of_a_gpu_is_that_of_torch(device):
    target = torch.device(device)
    with torch.random.fork_rng([target]):
        torch.manual_seed(5)
        expected = draws(), draws(device)
        seed_noise(5, target)
        assert (draws(), draws(device)) == expected
        before = torch.cuda.get_rng_state(target)
        seed_noise(6, torch.device("cpu"))
        assert torch.equal(torch.cuda.get_rng_state(target), before)


@pytest.mark.gpu
def test_a_step_that_cannot_be_captured_is_taken_all_the_same(device, caplog, monkeypatch):
    data = toy_data(n=128)
    ordinary, _ = losses_of(small(data), data, device, capture=False)
    variant = small(data)
    encode = variant.encode
    monkeypatch.setattr(variant, "encode", lambda x: encode(x) + 0.0 * x.sum().item())
    losses, captured = losses_of(variant, data, device, capture=True)
    assert not captured
    torch.testing.assert_close(losses, ordinary, rtol=1e-4, atol=1e-3)
    assert len(caplog.records) == 1
    assert "'FlowReg' cannot be captured as a CUDA graph" in caplog.text


@pytest.mark.gpu
def test_a_fit_goes_on_where_its_captured_steps_stopped(device, tmp_path, monkeypatch):
    data = toy_data(n=128, unknown=0.3)
    whole = fit(small(data), data, steps=30, device=device, **QUICK)
    monkeypatch.setattr("pyrosynth.training.state.SAVE_EVERY", 0.0)
    save = TrainingState.save

    def save_and_stop(state):
        save(state)
        if state.step == 20:
            raise KeyboardInterrupt

    monkeypatch.setattr(TrainingState, "save", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
        fit(small(data), data, steps=30, device=device, out=tmp_path, **QUICK)
    monkeypatch.undo()
    rest = fit(small(data), data, steps=30, device=device, out=tmp_path, resume=True, **QUICK)
    assert [row["step"] for row in rest.rows] == [10, 20, 30]
    for name, value in whole.rows[-1].items():
        assert rest.rows[-1][name] == pytest.approx(value, rel=1e-3, abs=0.05), name
