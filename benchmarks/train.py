"""Measure training and inference speed of a variant on one core.

    OMP_NUM_THREADS=1 python benchmarks/train.py [MODEL ...]

Process time, one thread, medians. Training includes gathering, standardising and dequantising
the batch, clipping and the optimiser's step; the data are noise of the default size, 64 x 87
mel cells and 32 parameters. Steps in float32 and with rounded products take turns.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import pyro
import torch

from pyrosynth.cli.process import run_program
from pyrosynth.modeling.elbo import SyncFreeELBO
from pyrosynth.training import zoo
from pyrosynth.training.batches import TrainData
from pyrosynth.training.step import Step
from pyrosynth.training.svi import adamw

N_SOUNDS, N_PARAMS, X_SHAPE, BATCH, RUNS = 4096, 32, (64, 87), 256, 11


def seconds(*calls: Callable[[], object]) -> list[float]:
    """Return the median process times of calls that take turns, after one turn to warm up."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(RUNS + 1):
        for call, taken in zip(calls, times, strict=True):
            start = time.process_time()
            call()
            taken.append(time.process_time() - start)
    return [statistics.median(taken[1:]) for taken in times]


def noise(n_sounds: int, n_params: int) -> TrainData:
    """Return sounds and levels that have nothing to do with each other."""
    return TrainData(
        x=torch.randn(n_sounds, *X_SHAPE).half(),
        levels=torch.randint(0, 128, (n_sounds, n_params), dtype=torch.int16),
        resolution=torch.full((n_params,), 128.0),
        mean=torch.zeros(X_SHAPE),
        std=torch.ones(X_SHAPE),
        train=torch.arange(n_sounds),
        valid=torch.arange(0),
    )


def measure(name: str) -> None:
    """Print the figures of one variant."""
    data = noise(N_SOUNDS, N_PARAMS)
    variant = zoo.load_model(name)(data.dims)
    optimiser = adamw(variant, 1e-4, 1e-2)

    def training(rounded: bool) -> Callable[[], object]:
        step = Step(
            variant, SyncFreeELBO(variant.terms), data, optimiser,
            batch_size=BATCH, clip=20.0, rounded=rounded,
        )  # fmt: skip
        return lambda: step(10**6, torch.randint(0, N_SOUNDS, (BATCH,)), 1e-4, seed=0)

    one = data.batch(torch.arange(1))["x"]
    print(f"{name}: {sum(p.numel() for p in variant.parameters()) / 1e6:.2f} M weights")
    exact, rounded = seconds(training(rounded=False), training(rounded=True))
    print(f"  training            {BATCH / exact:8.0f} presets/s")
    print(f"  same, in bfloat16   {BATCH / rounded:8.0f} presets/s")
    variant.eval()
    with torch.no_grad():
        (many,) = seconds(lambda: variant.sample_v(one, 1000))
        (first,) = seconds(lambda: variant.sample_v(one, 1))
    print(f"  1,000 draws         {1e3 * many:8.1f} ms")
    print(f"  first preset        {1e3 * first:8.1f} ms")


def main() -> None:
    """Measure the models that are named."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs="*", default=zoo.list_models())
    torch.set_num_threads(1)
    torch.manual_seed(0)
    pyro.enable_validation(False)
    for model in parser.parse_args().models:
        measure(model)


if __name__ == "__main__":
    run_program(main)
