"""How inference fills a machine: sounds searched side by side, against one core.

    python benchmarks/infer.py [--workers 1 4 16] [--sounds 2] [--budget 256] [--out infer.json]

Infers sounds, by the run that comes with the package, with each number of workers on as many
cores and as many sounds for each worker, so that a perfect machine takes the same time each time.
The sounds are made here: known presets, moved a little and rendered. With one worker it also
times the searches alone against the bare rendering of what they have rendered. The start of all
processes is counted. JSON goes to standard output or a file, the rest to standard error. Linux;
needs amsynth: in the system's folders, in a folder of ``DSSI_PATH``, or where ``pyrosynth install
amsynth`` puts it below ``XDG_DATA_HOME``.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from pyrosynth.audio.io import save_audio
from pyrosynth.cli.process import run_program
from pyrosynth.errors import integer
from pyrosynth.evaluation.compare import provenance
from pyrosynth.inference.infer import infer_sounds
from pyrosynth.inference.posterior import Posterior
from pyrosynth.synths.rendering import n_cores

WORKERS = (1, 4, 16)
MOVED = 0.1  # standard deviation of the moves in unit values
Row = dict[str, Any]


def make_sounds(posterior: Posterior, n: int, folder: Path) -> list[Path]:
    """Render known presets whose continuous parameters were moved, a file for each."""
    run, rng = posterior.run, np.random.default_rng(0)
    assert posterior.bank is not None
    rows = rng.choice(len(posterior.bank), n, replace=False)
    unit = run.full_space.to_unit(posterior.bank.values[rows])
    moved = ~run.full_space.discrete
    unit[:, moved] += MOVED * rng.standard_normal((n, int(moved.sum())))
    values = run.full_space.from_unit(np.clip(unit, 0.0, 1.0))
    files = [folder / f"sound-{i:03d}.wav" for i in range(n)]
    for file, audio in zip(files, posterior.render(values, n_cores()), strict=True):
        save_audio(file, audio, run.features.sample_rate)
    return files


def time_searches(posterior: Posterior, files: list[Path], budget: int) -> Row:
    """Time searches on one core, and the rendering of the same presets without a search."""
    searching, rendering = [], []
    with posterior.renderer(1) as renderer:
        targets = [posterior.features(posterior.listen(file)) for file in files]
        posterior.refine(targets[0], renderer, 64)  # what the first time costs: CMA-ES is imported
        for x in targets:
            began = time.perf_counter()
            match = posterior.refine(x, renderer, budget)
            between = time.perf_counter()
            renderer.render(match.values)
            searching.append(between - began)
            rendering.append(time.perf_counter() - between)
    ratios = np.array(searching) / np.array(rendering)
    return {
        "renders": budget, "search_seconds": float(np.median(searching)),
        "rendering_seconds": float(np.median(rendering)), "ratio": float(np.median(ratios)),
    }  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workers", type=int, nargs="+", default=WORKERS, help="how many at once")
    parser.add_argument("--sounds", type=int, default=2, help="sounds for each worker")
    parser.add_argument("--budget", type=int, default=256, help="sounds to render in a search")
    parser.add_argument("--draws", type=int, default=64, help="draws to render and keep")
    parser.add_argument("--out", type=Path, help="JSON file; standard output if left out")
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    cores = sorted(os.sched_getaffinity(0))
    wanted = {1, *(integer("--workers", n, 1) for n in arguments.workers)}
    counts = [n for n in sorted(wanted) if n <= len(cores)]
    posterior = Posterior.load("amsynth")
    rows: list[Row] = []
    with TemporaryDirectory() as folder:
        files = make_sounds(posterior, arguments.sounds * counts[-1], Path(folder) / "sounds")
        os.sched_setaffinity(0, cores[:1])
        search = time_searches(posterior, files[: arguments.sounds], arguments.budget)
        text = "one core: {renders} renders {search_seconds:.2f} s, bare {rendering_seconds:.2f} s"
        print(f"{text}, ratio {{ratio:.2f}}".format(**search), file=sys.stderr)
        render_seconds = search["rendering_seconds"] / arguments.budget
        for n in counts:
            os.sched_setaffinity(0, cores[:n])
            chosen = files[: arguments.sounds * n]
            began = time.perf_counter()
            done, failed = infer_sounds(
                posterior, chosen, Path(folder) / str(n), budget=arguments.budget,
                draws=arguments.draws, workers=n, progress=False,
            )  # fmt: skip
            seconds = time.perf_counter() - began
            if failed:
                sys.exit(f"{failed[0].sound}: {failed[0].error}")
            n_renders = len(chosen) * (arguments.budget + arguments.draws)
            first = rows[0] if rows else None
            rows.append({
                "workers": n, "sounds": len(chosen), "seconds": seconds,
                "seconds_per_sound": seconds / len(chosen),
                "times_one_worker": (
                    first["seconds_per_sound"] * len(chosen) / seconds if first else 1.0
                ),
                "times_bare_rendering": seconds * n / (n_renders * render_seconds),
                "lsd_db": float(np.mean([one.lsd_db for one in done])),
                "same_as_one_worker": (
                    not first
                    or [one.lsd_db for one in done[: len(first["lsds"])]] == first["lsds"]
                ),
                "lsds": [one.lsd_db for one in done],
            })  # fmt: skip
            text = "{workers} workers, {sounds} sounds: {seconds:.1f} s, {times_one_worker:.2f} "
            text += "times one worker, {times_bare_rendering:.2f} times bare rendering"
            print(text.format(**rows[-1]), file=sys.stderr)
        os.sched_setaffinity(0, cores)
    facts = {"provenance": provenance(), "search": search, "infer": rows}
    write = arguments.out.write_text if arguments.out else sys.stdout.write
    write(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    run_program(main)
