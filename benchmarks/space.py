"""Whether the latent space is organised by what one hears, and what moving through it does.

    python -m benchmarks.space RUN DATA --out space.json

Three parts, each of which can be left out, on held-out human presets unless said otherwise:

- organisation: rank correlation between distances in the latent space and log-spectral distances
  of the sounds, over all pairs, and which share of the ten nearest by sound is among the ten
  nearest in the space; of the latents of sounds, of presets without their sounds, and of the
  settings of the parameters; how far off the sounds are that the model expects;
- steering: presets asked to move by one standard deviation along each of the main axes, rendered:
  how often they go the right way, the median share of the step that is heard, and how far they
  move along the other main axes for each standard deviation along the asked one;
- paths: how even the sounds of morphs between presets of the bank are, against turning the knobs,
  by spectrograms, and by descriptors of the timbre as in `benchmarks.morph_smoothness`.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import pdist, squareform
from tqdm.auto import tqdm

from benchmarks.morph_smoothness import STEPS, bend, compared, roughness, summary
from pyrosynth.audio.metrics import log_distance
from pyrosynth.audio.timbre import Timbre
from pyrosynth.cli.process import run_program
from pyrosynth.data.dataset import Dataset, open_dataset
from pyrosynth.evaluation.compare import provenance
from pyrosynth.explore.latent_space import LatentSpace
from pyrosynth.explore.morphing import METHODS, find_path
from pyrosynth.explore.places import latents
from pyrosynth.explore.steering import BUDGET, move
from pyrosynth.files import write_bytes
from pyrosynth.inference.posterior import Posterior
from pyrosynth.statistics import interval, relative_difference, spearman
from pyrosynth.synths.rendering import Renderer
from pyrosynth.training.identity import run_hash

Float = NDArray[np.float64]

WAYS = ("carried", "expected", "rendered")  # u stays; or is chosen without, or with renders
PARTS = ("organisation", "steering", "paths")
NEIGHBOURS = 10  # of each preset, by sound and in the space
AXES = 8  # the main ones, the widest first
PRESETS, PAIRS = 48, 60  # held-out presets that are moved, and pairs between which morphs lead


def organisation(posterior: Posterior, dataset: Dataset) -> dict[str, Any]:
    """Compare distances in the latent space with those of sounds.

    Returns:
        ``of_sounds``, ``of_presets`` and ``of_settings``, where the model has them: rank
        ``correlation`` and ``recall`` of the nearest; ``expected_of_latents_db`` and
        ``expected_of_presets_db``, how far off the sounds are that the model expects; JSON-ready.
    """
    space, rows = LatentSpace(posterior), dataset.rows("test", human_only=True)
    x, values = dataset.x(rows), dataset.values(rows)
    lsd = squareform(np.stack([log_distance(x, one) for one in x]), checks=False)
    z = space.heard(x)
    placed: dict[str, NDArray[Any]] = {"of_sounds": z}
    expected: dict[str, NDArray[Any]] = {"expected_of_latents_db": space.expected(z)}
    if posterior.predicts:
        placed["of_presets"] = latents(posterior, values)
        expected["expected_of_presets_db"] = posterior.predict(values)
    placed["of_settings"] = posterior.run.space.to_unit(posterior.learnt(values))
    return {
        "presets": len(rows),
        **{
            key: agreement(lsd, pdist(points.astype(np.float64))) for key, points in placed.items()
        },
        **{key: float(log_distance(one, x).mean()) for key, one in expected.items()},
    }


def agreement(lsd: Float, distance: Float) -> dict[str, float]:
    """Return rank correlation and recall of two lists of pairwise distances."""
    nearest = []
    for pairs in (lsd, distance):
        square = squareform(pairs)
        np.fill_diagonal(square, np.inf)
        nearest.append(np.argsort(square, axis=1, kind="stable")[:, :NEIGHBOURS])
    shared = [len({*a} & {*b}) / NEIGHBOURS for a, b in zip(*nearest, strict=True)]
    return {"correlation": float(spearman(lsd, distance)), "recall": float(np.mean(shared))}


def steering(
    posterior: Posterior,
    dataset: Dataset,
    renderer: Renderer,
    n_presets: int = PRESETS,
    seed: int = 0,
) -> dict[str, Any]:
    """Move presets along the main axes, half of them up and half of them down, and render them.

    Args:
        posterior: The run, whose latents are those of sounds.
        dataset: The held-out presets.
        renderer: From ``posterior.renderer()``.
        n_presets: Number of presets.
        seed: Of their choice.

    Returns:
        The figures of each of ``WAYS`` with 95 % bootstrap intervals over the presets, JSON-ready.
    """
    space = LatentSpace(posterior)
    rows = np.random.default_rng(seed).permutation(dataset.rows("test", human_only=True))
    rows = rows[:n_presets]
    where = space.place_of(dataset.values(rows), space.heard(dataset.x(rows)))
    places = [*where.each()]
    sign = np.where(np.arange(len(places)) % 2, -1.0, 1.0)
    goals = where.z[:, None] + sign[:, None, None] * np.diag(space.spread)[:AXES]
    found: dict[str, Any] = {"presets": len(places), "axes": AXES, "budget": BUDGET}
    for way in WAYS:
        moved = np.empty((len(places), AXES, posterior.run.full_space.minimum.size))
        for i, place in enumerate(tqdm(places, desc=way, unit="preset", dynamic_ncols=True)):
            for k, goal in enumerate(goals[i].astype(np.float32)):
                if way == "carried":
                    moved[i, k] = space.values(goal, place.u)
                else:
                    trial = renderer if way == "rendered" else None
                    moved[i, k] = move(space, place, goal, trial).place.values
        rendered = renderer.render(moved.reshape(-1, moved.shape[-1]))
        assert rendered.features is not None
        z = space.heard(rendered.features).reshape(*goals.shape)
        step = sign[:, None, None] * (z - where.z[:, None])[..., :AXES] / space.spread[:AXES]
        unit = posterior.run.full_space.to_unit
        knobs = np.abs(unit(moved) - unit(where.values)[:, None]).mean()
        found[way] = {**figures(step), "knobs_moved": float(knobs)}
    return found


def figures(step: ArrayLike) -> dict[str, Any]:
    """Return what steps do, in standard deviations, by (preset, axis asked, axis heard)."""
    array = np.asarray(step, np.float64)
    own = np.diagonal(array, axis1=1, axis2=2)
    others = np.abs(array[:, ~np.eye(array.shape[1], dtype=bool)])

    def told(statistic: Callable[[NDArray[np.int64]], Float]) -> list[float]:
        """Return a statistic of presets by their numbers (..., n), and its 95 % interval."""
        numbers = np.arange(len(own))
        return [*interval(numbers, lambda rows, axis: statistic(rows.astype(np.int64)))]

    return {
        "right_way": told(lambda rows: (own[rows] > 0).mean(axis=(-2, -1))),
        "share": told(lambda rows: np.median(own[rows], axis=(-2, -1))),
        "share_by_axis": np.median(own, axis=0).tolist(),
        "leakage": told(
            lambda rows: others[rows].mean(axis=(-2, -1)) / own[rows].mean(axis=(-2, -1))
        ),
    }


def paths(
    posterior: Posterior, renderer: Renderer, n_pairs: int = PAIRS, seed: int = 1
) -> dict[str, Any]:
    """Measure how even the sounds of morphs are, relative to a straight line of the knobs.

    The roughness of a morph is the root mean square of the second differences of its sounds, its
    bend their distance from the straight line between its ends; by spectrograms both are over all
    cells of the features, by timbre the mean of the changes of the descriptors.

    Args:
        posterior: The run.
        renderer: From ``posterior.renderer(keep_audio=True)``.
        n_pairs: Number of pairs of human presets of the bank; 9 steps between each.
        seed: Of their choice, as in `benchmarks.morph_smoothness`.

    Returns:
        The changes of both by method, with 95 % bootstrap intervals over the pairs, JSON-ready:
        ``spectrograms`` and ``timbre``.
    """
    space, run = LatentSpace(posterior), posterior.run
    pairs = np.random.default_rng(seed).permutation(len(space))[: 2 * n_pairs].reshape(-1, 2)
    names = [[space.names[i] for i in pair] for pair in pairs]
    timbre = Timbre(run.features, run.note)
    measured: list[Float] = []
    numbers: list[NDArray[np.float32]] = []
    for pair in tqdm(names, desc="paths", unit="pair", dynamic_ncols=True):
        values = [
            find_path(posterior, pair, method, renderer).values(np.linspace(0, 1, STEPS))
            for method in METHODS
        ]
        rendered = renderer.render(np.concatenate(values))
        assert rendered.features is not None
        assert rendered.audio is not None
        sounds = rendered.features.reshape(len(METHODS), STEPS, -1)
        told = [np.sqrt(np.square(measure(sounds)).mean(axis=-1)) for measure in (roughness, bend)]
        measured.append(np.stack(told))
        numbers.append(timbre(rendered.audio).reshape(len(METHODS), STEPS, -1))
    by_method = dict(zip(METHODS, np.stack(measured).transpose(2, 1, 0), strict=True))
    changes = {
        method: {
            key: [*relative_difference(own, knobs)]
            for key, own, knobs in zip(
                ("roughness", "bend"), by_method[method], by_method["knobs"], strict=True
            )
        }
        for method in METHODS
        if method != "knobs"
    }
    joined = [" → ".join(pair) for pair in names]
    by_timbre = summary(compared(np.stack(numbers, axis=1), METHODS, joined))
    return {"pairs": len(pairs), "spectrograms": changes, "timbre": by_timbre}


def main() -> None:
    """Measure, print, and write what was measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run")
    parser.add_argument("data", type=Path)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--presets", type=int, default=PRESETS)
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    posterior, dataset = Posterior.load(given.run), open_dataset(given.data)
    results: dict[str, Any] = {}
    if "organisation" in given.parts:
        results["organisation"] = organisation(posterior, dataset)
    if "steering" in given.parts:
        with posterior.renderer(given.workers) as renderer:
            results["steering"] = steering(posterior, dataset, renderer, given.presets, given.seed)
    if "paths" in given.parts:
        with posterior.renderer(given.workers, keep_audio=True) as renderer:
            results["paths"] = paths(posterior, renderer, given.pairs)
    facts = {
        "provenance": provenance(), "run": run_hash(posterior), "seed": given.seed,
        "results": results,
    }  # fmt: skip
    write_bytes(given.out, (json.dumps(facts, indent=1) + "\n").encode())
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    run_program(main)
