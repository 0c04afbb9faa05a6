"""Measure a fit whose sounds are read from disk against one that holds them in memory.

    python benchmarks/stream.py make SOURCE DATA --sounds 2000000
    OMP_NUM_THREADS=1 python benchmarks/stream.py measure DATA --memory 2GB

``make`` repeats the chunks of a dataset of augmented presets until there are so many sounds.
``measure`` takes steps of both kinds in turns, on one thread: what is read lies in two buffers of
the given size in all, what is held are the first sounds of the same dataset. It prints the time
of the processor, that of the threads that read included, the time by the clock, and the most
memory that the process took before anything was held.
"""

import argparse
import itertools
import resource
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from pyrosynth.cli.process import run_program
from pyrosynth.data.dataset import open_dataset
from pyrosynth.data.store import PENDING, VARIABLES, Store
from pyrosynth.modeling.elbo import SyncFreeELBO
from pyrosynth.training import zoo
from pyrosynth.training.batches import Batches, TrainData
from pyrosynth.training.capture import side_stream
from pyrosynth.training.memory import memory_text
from pyrosynth.training.step import Step
from pyrosynth.training.stream import StreamedBatches, StreamedData, buffer_size, training_data
from pyrosynth.training.svi import adamw, torch_threads

HELD = 20_000  # sounds of the fit that holds them
TURN = 20  # steps before the other kind has its turn


def make(source: Path, out: Path, n: int) -> None:
    """Repeat the chunks of a dataset that hold augmented presets only."""
    shutil.copytree(source, out)
    store = Store(out, write=True)
    rows, chunk_rows = store.n_rows, store.attribute("chunk_rows")
    first, last = -(-store.attribute("n_human") // chunk_rows), rows // chunk_rows
    n = n // chunk_rows * chunk_rows
    store.set_attribute("augmented", n - store.attribute("n_human"))
    store.resize(n)
    copied = itertools.cycle(range(first, last))
    names = [v for v in store.arrays if VARIABLES[v].dims[0] == "preset" and v != "audio"]
    for chunk in range(last, n // chunk_rows):
        original = next(copied)
        for name in names:
            more = ["0"] * (store.arrays[name].ndim - 1)
            place = out.joinpath(name, "c", str(chunk), *more)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(out.joinpath(name, "c", str(original), *more), place)
    assert not (Store(out).read("status") == PENDING).any()
    store.set_attribute("statistics_of", n)


def steps_of(
    batches: Batches | StreamedBatches, model: str, device: torch.device, batch_size: int
) -> Callable[[int], object]:
    """Return a function that takes a step of a fit, and waits for it."""
    variant = zoo.load_model(model)(batches.data.dims).to(device)
    optimiser, elbo = adamw(variant, 1e-4, 1e-2), SyncFreeELBO(variant.terms)
    step = Step(variant, elbo, batches.data, optimiser, batch_size=batch_size, clip=20.0)
    return lambda i: step(i, batches(i), 1e-4, seed=i)


def measure(path: Path, memory: str, model: str, batch_size: int, steps: int, name: str) -> None:
    """Print the figures of one dataset."""
    dataset, device = open_dataset(path), torch.device(name)
    stream = training_data(dataset, None, buffer_size(dataset, None, memory))
    assert isinstance(stream, StreamedData), "all sounds fit into this memory; give less"
    print(
        f"{stream.n_train:,} sounds, {memory_text(stream.n_bytes)} held at a time in two buffers "
        f"of {stream.buffer_chunks} chunks; an epoch has {stream.n_buffers} buffers"
    )
    print(f"before anything is read: {peak()} of memory")
    with torch_threads(1), side_stream(device), stream.batches(device, batch_size, 0) as batches:
        streamed = steps_of(batches, model, device, batch_size)
        in_buffer = stream.buffer_chunks * dataset.chunk_rows // batch_size
        for i in range(2 * in_buffer + 5):  # both buffers are used, and the next is being read
            streamed(i)
        print(f"after {i + 1} steps of {batch_size}: at most {peak()} of memory")
        rows = dataset.rows("train")[-HELD:]
        data = TrainData(
            x=torch.from_numpy(dataset.x(rows, np.float16)),
            levels=torch.from_numpy(dataset.levels(rows).astype(np.int16)),
            resolution=batches.data.resolution, mean=batches.data.mean, std=batches.data.std,
            train=torch.arange(len(rows)), valid=torch.arange(0),
        )  # fmt: skip
        held = steps_of(Batches(data.to(device), batch_size, 0), model, device, batch_size)
        held(0)
        times: dict[str, list[tuple[float, float]]] = {"held": [], "streamed": []}
        done = 2 * in_buffer + 5
        for turn in range(steps // TURN):
            for kind, take in (("held", held), ("streamed", streamed)):
                began = time.perf_counter(), time.process_time()
                for i in range(TURN):
                    take(done + turn * TURN + i)
                if name != "cpu":
                    torch.cuda.synchronize()
                spent = time.perf_counter() - began[0], time.process_time() - began[1]
                times[kind].append(spent)
    for which, clock in enumerate(("clock", "processor")):
        a, b = (sum(t[which] for t in times[kind]) / TURN for kind in times)
        turns = [y[which] / x[which] for x, y in zip(*times.values(), strict=True)]
        n = len(turns)
        print(
            f"{clock:10} held {1e3 * a / n:8.2f} ms a step, streamed {1e3 * b / n:8.2f} ms, ratio "
            f"{b / a:.3f}, median of {n} turns {statistics.median(turns):.3f}"
        )


def peak() -> str:
    """Return the most memory that this process has taken."""
    return memory_text(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def main() -> None:
    """Make a dataset, or measure one."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(required=True, dest="command")
    making = commands.add_parser("make")
    making.add_argument("source", type=Path)
    making.add_argument("data", type=Path)
    making.add_argument("--sounds", type=int, default=2_000_000)
    measuring = commands.add_parser("measure")
    measuring.add_argument("data", type=Path)
    measuring.add_argument("--memory", default="2GB")
    measuring.add_argument("--model", default="flow_reg")
    measuring.add_argument("--batch-size", type=int, default=256)
    measuring.add_argument("--steps", type=int, default=200)
    measuring.add_argument("--device", default="cpu")
    given = parser.parse_args()
    if given.command == "make":
        make(given.source, given.data, given.sounds)
    else:
        torch.manual_seed(0)
        measure(given.data, given.memory, given.model, given.batch_size, given.steps, given.device)


if __name__ == "__main__":
    run_program(main)
