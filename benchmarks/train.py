"""Measure training and inference speed of a variant on one core.

    OMP_NUM_THREADS=1 python benchmarks/train.py [MODEL ...]

Process time, one thread, medians. Training includes gathering, standardising and dequantising
the batch, clipping and the optimiser's step; the data are noise of the default size, 64 x 87
mel cells and 32 parameters.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import pyro
import torch

from pyrosynth import zoo
from pyrosynth.batches import TrainData
from pyrosynth.svi import SyncFreeELBO

N_SOUNDS, N_PARAMS, X_SHAPE, BATCH, RUNS = 4096, 32, (64, 87), 256, 11


def seconds(call: Callable[[], object]) -> float:
    """Return the median process time of a call, after one to warm up."""
    call()
    times = []
    for _ in range(RUNS):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return statistics.median(times)


def measure(name: str) -> None:
    """Print the figures of one variant."""
    data = TrainData(
        x=torch.randn(N_SOUNDS, *X_SHAPE).half(),
        levels=torch.randint(0, 128, (N_SOUNDS, N_PARAMS), dtype=torch.int16),
        resolution=torch.full((N_PARAMS,), 128.0),
        mean=torch.zeros(X_SHAPE),
        std=torch.ones(X_SHAPE),
        train=torch.arange(N_SOUNDS),
        valid=torch.arange(0),
    )
    variant = zoo.load(name)(data.dims)
    elbo = SyncFreeELBO(variant.terms)
    weights = elbo.weights(10**6, torch.device("cpu"))
    parameters = list(variant.parameters())
    optimiser = torch.optim.AdamW(parameters, 1e-4, fused=True)

    def step() -> None:
        loss = elbo.loss(variant, data.batch(torch.randint(0, N_SOUNDS, (BATCH,))), weights)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 20.0)
        optimiser.step()

    one = data.batch(torch.arange(1))["x"]
    print(f"{name}: {sum(p.numel() for p in parameters) / 1e6:.2f} M weights")
    print(f"  training            {BATCH / seconds(step):8.0f} presets/s")
    variant.eval()
    with torch.no_grad():
        print(
            f"  1,000 draws         {1e3 * seconds(lambda: variant.sample_v(one, 1000)):8.1f} ms"
        )
        print(f"  first preset        {1e3 * seconds(lambda: variant.sample_v(one, 1)):8.1f} ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs="*", default=zoo.names())
    torch.set_num_threads(1)
    torch.manual_seed(0)
    pyro.enable_validation(False)
    for model in parser.parse_args().models:
        measure(model)
