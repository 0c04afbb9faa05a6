"""Measure how cost grows with presets, controls, processes and sounds to infer.

    OMP_NUM_THREADS=1 python -m benchmarks.scaling --out scaling.json --figures docs/_static

Some sounds are rendered; larger datasets repeat them, each time a little changed, so that all that
follows the rendering is measured at its real size: the checks for leaks and the statistics, the
file, what a fit reads, the nearest-neighbour bank. Human presets are clustered, steps are taken
with other numbers of controls, and sounds are rendered by other numbers of processes. How
inference grows is read from the JSON that ``benchmarks/infer.py`` writes.

Times of one process are processor seconds; those of rendering are seconds of the clock. Memory is
what a stage takes beyond what the process held before it. What is extrapolated is said to be.
Linux only.
"""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.scaling_figures import Facts, draw
from benchmarks.train import noise
from pyrosynth.audio.features import FeatureSpec
from pyrosynth.audio.note import Note
from pyrosynth.cli.process import run_program
from pyrosynth.data.bank import Bank
from pyrosynth.data.dataset import Dataset, open_dataset, render_dataset
from pyrosynth.data.splits import cluster
from pyrosynth.data.store import Store
from pyrosynth.evaluation.compare import provenance
from pyrosynth.files import writable
from pyrosynth.modeling.elbo import SyncFreeELBO
from pyrosynth.synths import load_synth
from pyrosynth.synths.base import Synth
from pyrosynth.synths.rendering import Renderer, n_cores
from pyrosynth.training import zoo
from pyrosynth.training.batches import TrainData
from pyrosynth.training.step import Step
from pyrosynth.training.svi import adamw

SEED, SOUNDS = 0, 512  # augmented presets that are really rendered
CHUNK_ROWS = 1024  # of the dataset: fewer and larger files than by default
EXTRAPOLATED = (10**6, 10**7, 10**8)
BATCH, STEPS, DRAWS = 256, 3, 1000
Row = dict[str, Any]


class Stage:
    """What a block of code takes; a context.

    Attributes:
        seconds: Processor time of this process.
        bytes: Memory beyond what the process held before, at its peak.
    """

    def __enter__(self) -> "Stage":
        """Start to measure."""
        Path("/proc/self/clear_refs").write_bytes(b"5")  # the peak is what is held now
        self._held, self._began = resident("VmRSS"), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        """Take the figures."""
        self.seconds = time.process_time() - self._began
        self.bytes = max(0, resident("VmHWM") - self._held)

    def figures(self, name: str) -> Row:
        """Return both, by names that begin with the stage's."""
        return {f"{name}_seconds": self.seconds, f"{name}_bytes": self.bytes}


def resident(name: str) -> int:
    """Return a line of this process's status, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))


def grow(base: Path, folder: Path, n: int) -> Row:
    """Copy a dataset and extend it to ``n`` augmented presets by repeating its own."""
    shutil.copytree(base, folder)
    store = Store(folder, write=True)
    n_human, held = store.attribute("n_human"), store.attribute("augmented")
    rows = np.arange(n_human, n_human + held)
    shape = store.arrays["x"].shape[1:]
    x = store.read("x", rows, np.empty((held, *shape), np.float32))
    kept = [name for name in store.arrays if name not in ("x", "mean", "std")]
    columns = {name: store.read(name, rows) for name in kept}
    rng = np.random.default_rng(SEED)
    with Stage() as stage:
        store.set_attribute("augmented", n)
        store.set_attribute("statistics_of", None)
        store.resize(n_human + n)
        for start, stop in store.blocks(n_human, n_human + n):
            taken = np.arange(start, stop) % held
            changed = x[taken] + rng.normal(0, 0.05, (len(taken), *shape)).astype(np.float32)
            store.write(start, {"x": changed, **{k: c[taken] for k, c in columns.items()}})
    return stage.figures("write")


def presets(base: Path, again: Callable[[Path, int], Dataset], sizes: Sequence[int]) -> list[Row]:
    """Measure all that follows the rendering, for datasets of several sizes."""
    rows = []
    for n in sizes:
        with TemporaryDirectory(dir=base.parent) as scratch:
            folder = Path(scratch, "data")
            row = {"presets": n, **grow(base, folder, n)}
            with Stage() as stage:
                again(folder, n)  # nothing is left to be rendered
            row |= stage.figures("finish")
            files = [file.stat().st_size for file in folder.rglob("*") if file.is_file()]
            row |= {"disk_bytes": sum(files), "files": len(files)}
            data = open_dataset(folder)
            with Stage() as stage:
                held = TrainData.from_dataset(data)
            row |= stage.figures("read")
            del held
            with Stage() as stage:
                bank = Bank.from_dataset(data)
            row |= stage.figures("bank")
            with Stage() as stage:
                bank.nearest(data.x(np.arange(8)), 16)
            row["nearest_seconds"] = stage.seconds / 8
        report("presets", row)
        rows.append(row)
    return rows


def human(data: Dataset, sizes: Sequence[int]) -> list[Row]:
    """Measure how the clustering of human presets grows: all pairs are compared."""
    rng = np.random.default_rng(SEED)
    sounds, levels = data.x(data.rows("all")), data.levels(data.rows("all"))
    rows = []
    for n in sizes:
        taken = rng.integers(0, len(sounds), n)
        # So that most are no near-duplicates of those they repeat: other balances of bands.
        tilt = rng.normal(0, 1, (n, 8, 1)).repeat(-(-sounds.shape[1] // 8), axis=1)
        x = (sounds[taken] + tilt[:, : sounds.shape[1]]).astype(np.float32)
        with Stage() as stage:
            cluster(x, levels[taken] + np.arange(n)[:, None])
        rows.append({"human_presets": n, **stage.figures("cluster")})
        report("human", rows[-1])
    return rows


def controls(models: Sequence[str], sizes: Sequence[int]) -> list[Row]:
    """Measure steps, weights and draws of models for several numbers of controls."""
    rows = []
    for model in models:
        for n in sizes:
            torch.manual_seed(SEED)
            data = noise(BATCH, n)
            variant = zoo.load_model(model)(data.dims)
            optimiser = adamw(variant, 1e-4, 1e-2)
            step = Step(
                variant, SyncFreeELBO(variant.terms), data, optimiser, batch_size=BATCH, clip=20.0
            )
            step(10**6, data.train, 1e-4, 0)
            with Stage() as stage:
                for i in range(STEPS):
                    step(10**6, data.train, 1e-4, i)
            row: Row = {"model": model, "controls": n, "step_seconds": stage.seconds / STEPS}
            row["weights"] = sum(p.numel() for p in variant.parameters())
            with torch.no_grad(), Stage() as stage:
                variant.eval().sample_v(data.batch(torch.arange(1))["x"], DRAWS)
            row["thousand_draws_seconds"] = stage.seconds
            report("controls", row)
            rows.append(row)
    return rows


def workers(synth: Synth, values: NDArray[np.float64], sizes: Sequence[int]) -> list[Row]:
    """Measure how many sounds come in a second of the clock, by number of processes."""
    note, spec, rows = Note(), FeatureSpec(), []
    for n in sizes:
        with Renderer(
            synth, note, spec.sample_rate, workers=n, transform=spec, keep_audio=False
        ) as renderer:
            renderer.render(np.resize(values, (16 * n, values.shape[1])))  # until all have started
            began = time.monotonic()
            renderer.render(np.resize(values, (64 * n, values.shape[1])))
            rows.append({"workers": n, "sounds_per_second": 64 * n / (time.monotonic() - began)})
        report("workers", rows[-1])
    return rows


def extrapolate(rows: Sequence[Row]) -> list[Row]:
    """Continue the figures of datasets along the line through the two largest measured."""
    if len(rows) < 2:
        return []
    (a, b), further = rows[-2:], []
    for n in EXTRAPOLATED:
        share = (n - b["presets"]) / (b["presets"] - a["presets"])
        line = {k: b[k] + share * (b[k] - a[k]) for k in b}
        further.append({k: max(0.0, float(v)) for k, v in line.items()})
    return further


def report(what: str, row: Row) -> None:
    """Print a row to standard error."""
    shown = (f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in row.items())
    print(f"{what}: {' '.join(shown)}", file=sys.stderr, flush=True)


def main() -> None:
    """Measure, and write the figures."""
    cores = n_cores()
    usual = sorted({n for n in (1, 2, 4, 8, 16, 32, 64) if n < cores} | {cores})
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--synth", default="voice", help="a name or a plugin")
    parser.add_argument("--presets", type=int, nargs="*", default=[10**3, 10**4, 10**5])
    parser.add_argument("--human", type=int, nargs="*", default=[500, 1000, 2000, 4000])
    parser.add_argument("--controls", type=int, nargs="*", default=[16, 32, 64, 145])
    parser.add_argument("--models", nargs="*", default=["flow_reg", "flow_audio"])
    parser.add_argument("--workers", type=int, nargs="*", default=usual)
    parser.add_argument("--infer", type=Path, help="JSON of benchmarks/infer.py, to be shown too")
    parser.add_argument("--out", type=Path, default=Path("scaling.json"), help="file to write")
    parser.add_argument("--figures", type=Path, help="folder for the figure")
    arguments = parser.parse_args()
    writable(arguments.out.parent)
    torch.set_num_threads(1)
    synth, began = load_synth(arguments.synth), time.monotonic()

    def render(folder: Path, n: int) -> Dataset:
        return render_dataset(synth, folder, augmented=n, audio="none", chunk_rows=CHUNK_ROWS)

    with TemporaryDirectory() as scratch:
        base = Path(scratch, "base")
        data = render(base, min([SOUNDS, *arguments.presets]))
        of_workers = workers(synth, data.values(data.rows("all")[:64]), arguments.workers)
        of_human = human(data, arguments.human)
        of_presets = presets(base, render, sorted(arguments.presets))
    facts: Facts = {
        "settings": {k: v for k, v in vars(arguments).items() if isinstance(v, (str, list))},
        "provenance": provenance(),
        "presets": of_presets,
        "presets_extrapolated": extrapolate(of_presets),
        "human": of_human,
        "controls": controls(arguments.models, arguments.controls),
        "workers": of_workers,
        "infer": json.loads(arguments.infer.read_text()) if arguments.infer else None,
        "seconds": time.monotonic() - began,
    }
    arguments.out.write_text(json.dumps(facts, indent=1) + "\n")
    if arguments.figures:
        draw(facts, arguments.figures)
    report("done", {"seconds": facts["seconds"], "file": arguments.out})


if __name__ == "__main__":
    run_program(main)
