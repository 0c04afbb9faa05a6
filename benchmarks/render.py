"""Speed of rendering amsynth: the bare host in one process against `Renderer`.

    python benchmarks/render.py --sounds 300 --rounds 3

Renders the same human presets with each of them in turn, for some rounds, and prints each one's
best round: sounds per second of processor time (parent and workers together) and of wall time.
The start of the workers is not counted. Linux; needs amsynth (``pyrosynth install amsynth``).
"""

import argparse
import os
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from pyrosynth import synths
from pyrosynth.audio.note import Note
from pyrosynth.cli.process import run_program
from pyrosynth.synths.presets import distinct, preset_array
from pyrosynth.synths.rendering import Renderer
from pyrosynth.synths.sandbox import private_home


def processor_seconds(pids: list[int]) -> float:
    """Return processor time of this process and of others."""
    seconds = time.process_time()
    for pid in pids:
        seconds += int(Path(f"/proc/{pid}/schedstat").read_text(encoding="utf-8").split()[0]) / 1e9
    return seconds


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sounds", type=int, default=300, help="number of presets to render")
    parser.add_argument("--rounds", type=int, default=3, help="times each renders them")
    parser.add_argument("--sample-rate", type=int, default=22050, help="in Hz")
    arguments = parser.parse_args()

    synth = synths.load_synth("amsynth")
    presets = distinct(synth.presets(), synth.param_space)
    chosen = np.random.default_rng(0).permutation(len(presets))[: arguments.sounds]
    values = preset_array([presets[i] for i in chosen], synth.param_space)
    n, note, rate = len(values), Note(), arguments.sample_rate

    with ExitStack() as stack:
        home = stack.enter_context(tempfile.TemporaryDirectory())
        renderers: dict[str, Renderer | None] = {"bare host": None}
        for workers in (1, 2):
            renderer = stack.enter_context(Renderer(synth, note, rate, workers=workers))
            renderers[f"{workers} worker(s)"] = renderer
            renderer.render(values[:1].repeat(workers, axis=0))
        os.environ.update(private_home(home))

        def bare() -> None:
            sounds = np.empty((n, note.n_samples(rate)), np.float32)
            for i, row in enumerate(values):
                sounds[i] = synth.render(row, note, rate)

        best: dict[str, tuple[float, float]] = {}
        for _ in range(arguments.rounds):
            for name, started in renderers.items():
                workers_of = started.workers if started else []
                pids = [worker.pid for worker in workers_of if worker.pid]
                busy, wall = processor_seconds(pids), time.perf_counter()
                if started:
                    started.render(values)
                else:
                    bare()
                took = processor_seconds(pids) - busy, time.perf_counter() - wall
                before = best.get(name, took)
                best[name] = min(before[0], took[0]), min(before[1], took[1])

    print(f"{n} presets of amsynth, {note.duration_seconds} s at {rate} Hz, best of rounds")
    print("| renderer | processor ms/sound | share of bare host | sounds/s of wall | gain |")
    print("|---|---|---|---|---|")
    host_busy, host_wall = best["bare host"]
    for name, (busy, wall) in best.items():
        share, gain = host_busy / busy, host_wall / wall
        print(f"| {name} | {1e3 * busy / n:.2f} | {share:.0%} | {n / wall:.1f} | {gain:.2f} |")


if __name__ == "__main__":
    run_program(main)
