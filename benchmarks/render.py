"""Speed of rendering amsynth: the bare host in one process against `Renderer`.

    python benchmarks/render.py --sounds 300

Prints, for the same human presets, sounds per second of processor time and of wall time, start-up
of the workers not counted in the wall time. Needs amsynth (``pyrosynth install amsynth``).
"""

import argparse
import os
import resource
import tempfile
import time

import numpy as np

from pyrosynth import synths
from pyrosynth.audio import Note
from pyrosynth.presets import distinct, preset_array
from pyrosynth.rendering import Renderer
from pyrosynth.synths.dssi import private_home


def processor_seconds() -> float:
    """Return processor time of this process and of its ended children."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sounds", type=int, default=300, help="number of presets to render")
    parser.add_argument("--sample-rate", type=int, default=22050, help="in Hz")
    arguments = parser.parse_args()

    synth = synths.load("amsynth")
    presets = distinct(synth.presets(), synth.param_space)
    chosen = np.random.default_rng(0).permutation(len(presets))[: arguments.sounds]
    values = preset_array([presets[i] for i in chosen], synth.param_space)
    note, rate = Note(), arguments.sample_rate
    print(f"{len(values)} presets of amsynth, {note.duration_seconds} s at {rate} Hz")
    print("| renderer | processor ms/sound | sounds/s of processor | sounds/s of wall |")
    print("|---|---|---|---|")

    def report(name: str, busy: float, wall: float) -> None:
        n = len(values)
        print(f"| {name} | {1e3 * busy / n:.2f} | {n / busy:.1f} | {n / wall:.1f} |", flush=True)

    with tempfile.TemporaryDirectory() as home:
        before = dict(os.environ)
        os.environ.update(private_home(home))
        busy, wall = processor_seconds(), time.perf_counter()
        for row in values:
            synth.render(row, note, rate)
        report("bare host", processor_seconds() - busy, time.perf_counter() - wall)
        os.environ.clear()
        os.environ.update(before)

    for workers in (1, 2):
        start = processor_seconds()
        with Renderer(synth, note, rate, workers=workers) as renderer:
            renderer.render(values[:1].repeat(workers, axis=0))
        idle = processor_seconds() - start
        start = processor_seconds()
        with Renderer(synth, note, rate, workers=workers) as renderer:
            renderer.render(values[:1].repeat(workers, axis=0))
            began = time.perf_counter()
            renderer.render(values)
            wall = time.perf_counter() - began
        report(f"{workers} worker(s)", processor_seconds() - start - idle, wall)


if __name__ == "__main__":
    main()
