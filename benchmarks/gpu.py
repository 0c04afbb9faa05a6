"""Time the paper's schedule on a GPU, and compare its losses with those of the CPU.

    python benchmarks/gpu.py [--full] [--precision tf32] [--out gpu.json] [MODEL ...]
    python benchmarks/gpu.py --check [--out gpu.json]

Esling et al. (2019) train for 500 epochs of 11,000 presets in batches of 64, which took them five
hours on a Titan Xp. This fits the same schedule, `recipe=paper`, to as many random sounds, 64 x 87
mel cells and 41 parameters each, with a validation after every epoch. Without ``--full`` it fits
two pieces of it, one ten times as long as the other, and extrapolates along the line through both.
It also takes steps kernel by kernel, to say what recording them gains, and holds loss and gradient
of one batch against those of the CPU. ``--check`` also runs the tests that need a GPU, and
measures the model at the paper's size and at its default, in three minutes. JSON goes to standard
output or a file, the rest to standard error. Without a GPU it says so and ends with exit code 2; a
rehearsal without one:

    python benchmarks/gpu.py --device cpu --steps 20
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from pyrosynth.cli.process import run_program
from pyrosynth.errors import InputError
from pyrosynth.evaluation.compare import provenance
from pyrosynth.modeling import PAPER_TRAINING, Batch, Dims, Variant, build, with_recipe
from pyrosynth.modeling.distributions import NOISE, NOISE_LIKE
from pyrosynth.modeling.elbo import SyncFreeELBO
from pyrosynth.training import zoo
from pyrosynth.training.batches import TrainData
from pyrosynth.training.capture import side_stream
from pyrosynth.training.step import Step
from pyrosynth.training.svi import adamw, find_device, fit, shortened

PRESETS, HELD_OUT, N_PARAMS, X_SHAPE = 11_000, 1_000, 41, (64, 87)
TARGET_SECONDS = {"paper": 300, None: 120}
Precision = Literal["bfloat16", "tf32"] | None


def random_data() -> TrainData:
    """Return sounds that depend smoothly on their parameters, with noise."""
    rng = torch.Generator().manual_seed(0)
    n = PRESETS + HELD_OUT
    levels = torch.randint(0, 128, (n, N_PARAMS), generator=rng)
    v = (levels + 0.5) / 128
    mixing = torch.randn(2 * N_PARAMS, X_SHAPE[0] * X_SHAPE[1], generator=rng)
    x = torch.cat([(6 * v).sin(), (6 * v).cos()], -1) @ mixing / N_PARAMS**0.5
    x = (x + 0.3 * torch.randn(x.shape, generator=rng)).reshape(n, *X_SHAPE)
    return TrainData(
        x=x.half(),
        levels=levels.to(torch.int16),
        resolution=torch.full((N_PARAMS,), 128.0),
        mean=x.mean(0),
        std=x.std(0),
        train=torch.arange(PRESETS),
        valid=torch.arange(PRESETS, n),
    )


def fresh(model: str, dims: Dims, size: str | None) -> Variant:
    """Build a variant, always with the same weights."""
    kind = zoo.load_model(model)
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        variant = build(kind, dims, with_recipe(kind, {"recipe": size} if size else {})[0])
        x = torch.randn(256, *dims.x_shape)
        variant.initialise(x, torch.zeros(dims.x_shape), torch.ones(dims.x_shape))
        return variant


class NoiseOfTheCpu(TorchFunctionMode):
    """Draws all noise on the CPU, so that two devices see the same."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """Draw on the CPU what a function draws, and move it to where it is wanted."""
        kwargs = dict(kwargs or {})
        if func not in {*NOISE, *NOISE_LIKE, torch.randperm}:
            return func(*args, **kwargs)
        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        device = kwargs.pop("device", None) or (tensors[0].device if tensors else "cpu")
        drawn = func(*map(_on_cpu, args), **{key: _on_cpu(v) for key, v in kwargs.items()})
        return args[0].copy_(drawn) if func.__name__.endswith("_") else drawn.to(device)


def _on_cpu(value: Any) -> Any:
    return value.cpu() if isinstance(value, Tensor) else value


def loss_and_gradient(
    variant: Variant, batch: Batch, device: torch.device
) -> tuple[float, Tensor]:
    """Return the loss of a batch and its gradient as one vector, on the CPU."""
    variant.to(device).zero_grad()
    elbo = SyncFreeELBO(variant.terms)
    torch.manual_seed(0)
    with NoiseOfTheCpu():
        there = {key: tensor.to(device) for key, tensor in batch.items()}
        loss = elbo.loss(variant, there, elbo.weights(10**6, device))
    loss.backward()
    gradients = [p.grad.flatten().cpu() for p in variant.parameters() if p.grad is not None]
    return loss.item(), torch.cat(gradients)


def compare(variant: Variant, data: TrainData, device: torch.device) -> dict[str, float]:
    """Return how far loss and gradient on the device are from those on the CPU, as shares."""
    variant.eval()  # dropout has no common stream
    torch.manual_seed(0)
    with torch.no_grad():
        for weights in variant.parameters():  # at the start most flows are the identity
            weights.add_(torch.randn_like(weights), alpha=0.02)
    batch = data.batch(data.train[:64])
    with torch.backends.cudnn.flags(allow_tf32=False):
        here, there = (loss_and_gradient(variant, batch, d) for d in (torch.device("cpu"), device))
    rounded = loss_and_gradient(variant, batch, device)  # as torch comes: products in TF32
    distance = (there[1] - here[1]).norm() / here[1].norm()
    return {
        "cpu_loss": here[0],
        "loss_difference": abs(there[0] - here[0]) / abs(here[0]),
        "gradient_difference": float(distance),
        "loss_difference_tf32": abs(rounded[0] - here[0]) / abs(here[0]),
    }


def seconds_per_step(
    variant: Variant, data: TrainData, device: torch.device, steps: int, precision: Precision, *,
    capture: bool,
) -> float:  # fmt: skip
    """Return the duration of a step after the first ones, without validation."""
    variant.to(device).train()
    optimiser = adamw(variant, 1e-4, 1e-2)
    elbo, rows = SyncFreeELBO(variant.terms), data.train[:64]
    step = Step(
        variant, elbo, data, optimiser,
        batch_size=64, clip=20.0, capture=capture, rounded=precision == "bfloat16",
    )  # fmt: skip
    gpus = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(gpus), side_stream(device), shortened(precision == "tf32"):
        for i in range(5):  # the last ones are replays
            step(i, rows, 1e-4, i)
        start = _now(device)
        for i in range(steps):
            step(i, rows, 1e-4, i)
        elapsed = _now(device) - start
    if capture and device.type == "cuda" and not step.captured.capture:
        print("  the step could not be captured, see above", file=sys.stderr)
    return elapsed / steps


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def time_schedule(
    model: str, data: TrainData, size: str | None, device: str, steps: int | None,
    precision: Precision = None,
) -> dict[str, float]:  # fmt: skip
    """Fit the schedule, or two pieces of it, and return its duration.

    Args:
        model: Name of the variant.
        data: What to fit.
        size: Name of its size.
        device: Torch device.
        steps: Steps of the longer piece; None fits all.
        precision: Of the products, as in a fit.
    """
    whole = dict(PAPER_TRAINING)
    every, total = whole["validate_every"], whole["steps"]

    def duration(n: int) -> float:
        settings = whole | {"steps": n, "validate_every": min(every, n)}
        variant = fresh(model, data.dims, size)
        with TemporaryDirectory() as folder:
            history = fit(
                variant,
                data,
                device=device,
                out=Path(folder),
                progress=False,
                precision=precision,
                **settings,
            )
        return history.seconds

    if steps is None:
        return {"measured_steps": total, "seconds": duration(total)}
    few = max(1, steps // 10, min(2 * every, steps // 2))  # either writes two checkpoints
    duration(2)  # compiles the kernels
    short, long = duration(few), duration(steps)
    each = (long - short) / (steps - few)
    return {"measured_steps": steps, "seconds": long + each * (total - steps)}


def run_tests() -> dict[str, Any]:
    """Run the tests that need a GPU; return how they ended."""
    root = Path(__file__).parent.parent
    files = [f for f in sorted(root.glob("tests/test_*.py")) if "mark.gpu" in f.read_text()]
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "--device", "cuda"]
    command += map(str, files)
    alone = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # their warnings are errors here
    start = time.perf_counter()
    ended = subprocess.run(
        command, cwd=root, env=alone, capture_output=True, text=True, check=False
    )
    last = ended.stdout.strip().rpartition("\n")[2]
    print(f"tests that need a GPU: {last}", file=sys.stderr)
    if ended.returncode:
        print(ended.stdout[-4000:], file=sys.stderr)
    seconds = time.perf_counter() - start
    return {"passed": ended.returncode == 0, "last_line": last, "seconds": seconds}


def measure(
    model: str, size: str | None, device: str, steps: int | None,
    precision: Precision = None,
) -> dict[str, Any]:  # fmt: skip
    """Return all figures of a variant, and print them."""
    target, data = find_device(device), random_data()
    variant = fresh(model, data.dims, size)
    weights = sum(p.numel() for p in variant.parameters())
    print(f"{model} ({size or 'default'} size, {weights / 1e6:.1f} M weights)", file=sys.stderr)
    facts: dict[str, Any] = {"model": model, "size": size, "weights": weights}
    facts |= compare(variant, data, target)
    there, taken = data.to(target), min(steps or 200, 200)
    if target.type == "cuda":
        torch.cuda.reset_peak_memory_stats(target)
    for name, capture in (("launched", False), ("captured", True)):
        if capture and target.type != "cuda":
            continue  # only a GPU records
        variant = fresh(model, data.dims, size)
        each = seconds_per_step(variant, there, target, taken, precision, capture=capture)
        facts[f"milliseconds_per_{name}_step"] = 1e3 * each
    facts |= {"precision": precision}
    facts |= time_schedule(model, data, size, device, steps, precision)
    if target.type == "cuda":
        facts["gigabytes"] = torch.cuda.max_memory_allocated(target) / 1e9
        facts["speed_up_by_recording"] = (
            facts["milliseconds_per_launched_step"] / facts["milliseconds_per_captured_step"]
        )
        target_seconds = TARGET_SECONDS.get(size, 300)
        facts |= {"target_seconds": target_seconds, "met": facts["seconds"] <= target_seconds}
    for name, value in facts.items():
        print(f"  {name:32}{value}", file=sys.stderr)
    return facts


def main() -> None:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", default=["flow_reg"])
    parser.add_argument("--device", default="cuda")
    parser.add_argument(
        "--size", default="paper", help="one of the variant's, '' for its defaults"
    )
    parser.add_argument("--steps", type=int, default=1720, help="of 86,000, to extrapolate from")
    parser.add_argument("--full", action="store_true", help="fit the whole schedule")
    parser.add_argument("--precision", choices=["bfloat16", "tf32"], help="of the schedule's fit")
    parser.add_argument("--check", action="store_true", help="tests, and both sizes")
    parser.add_argument("--out", type=Path, help="file for the JSON")
    arguments = parser.parse_args()
    try:
        find_device(arguments.device)
    except InputError as error:
        print(f"gpu.py: {error}", file=sys.stderr)
        sys.exit(2)
    steps = None if arguments.full else arguments.steps
    tests = {"tests": run_tests()} if arguments.check else {}
    sizes = ["paper", None] if arguments.check else [arguments.size or None]
    results = [
        measure(model, size, arguments.device, steps, arguments.precision)
        for model in arguments.models
        for size in sizes
    ]
    facts = {"provenance": provenance(arguments.device), **tests, "results": results}
    write = arguments.out.write_text if arguments.out else sys.stdout.write
    write(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    run_program(main)
