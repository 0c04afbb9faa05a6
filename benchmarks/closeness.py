"""Calibrate the words for distances on held-out presets, see `pyrosynth.audio.closeness`.

    python benchmarks/closeness.py DATA --run amsynth --presets 100

Prints quantiles of log-spectral distances in dB: between a held-out preset and the same with one
control 3 % of its range further, and the nearest other preset that people made; between two
random ones; and what a search with 256 renders leaves between a held-out preset and its answer.
"""

import argparse

import numpy as np

import pyrosynth as ps
from pyrosynth.audio.metrics import log_distance
from pyrosynth.cli.process import run_program

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
STEP = 4 / 127  # of a control, 3 % of its range


def show(name: str, lsd: np.ndarray) -> None:
    """Print the quantiles of some distances."""
    told = "  ".join(f"{q:.0%}: {np.quantile(lsd, q):5.2f}" for q in QUANTILES)
    print(f"{name:36} n {len(lsd):5}  {told}", flush=True)


def main() -> None:
    """Read the arguments, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", help="dataset of the run")
    parser.add_argument("--run", default="amsynth")
    parser.add_argument("--presets", type=int, default=100)
    parser.add_argument("--budget", type=int, default=256)
    asked = parser.parse_args()
    rng = np.random.default_rng(0)
    data, posterior = ps.open_dataset(asked.data), ps.Posterior.load(asked.run)
    rows = data.rows("test", human_only=True)
    known = data.rows("train", human_only=True)
    x, others = data.x(rows), data.x(known)
    all_distances = np.stack([log_distance(others, one) for one in x])
    show("nearest other preset", all_distances.min(axis=1))
    show("two random presets", rng.permutation(all_distances.ravel())[:10_000])
    chosen = rng.choice(rows, min(asked.presets, len(rows)), replace=False)
    space = posterior.run.full_space
    with posterior.renderer() as renderer:
        steps, found = [], []
        for row in np.sort(chosen):
            (target,), (values,) = data.x(np.array([row])), data.values(np.array([row]))
            unit = space.to_unit(values)
            moved = np.repeat(unit[None], len(space), axis=0)
            moved[np.diag_indices(len(space))] += np.where(unit + STEP <= 1, STEP, -STEP)
            moved = moved[~np.asarray(space.discrete)]
            steps += log_distance(
                renderer.render(space.from_unit(moved)).features, target
            ).tolist()
            match = posterior.refine(target, renderer, asked.budget)
            found.append(match.lsd[0])
    show("one continuous control 3 % further", np.array(steps))
    show(f"found with {asked.budget} renders", np.array(found))


if __name__ == "__main__":
    run_program(main)
