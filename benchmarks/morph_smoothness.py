"""How smooth morphs are: descriptors of the timbre along real renders, method against method.

    python -m benchmarks.morph_smoothness amsynth --pairs 60 --seed 1 --out smoothness

As in the evaluation of SPINVAE (Le Vaillant and Dutoit, 2023, "Synthesizer preset interpolation
using transformer auto-encoders"): the roughness of a morph is the root mean square of the second
differences of a descriptor along it, its bend the root mean square distance from the straight
line between its ends; both relative to the morph that interpolates every parameter. Each
descriptor counts by its mean over the pairs, and all descriptors count the same.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray
from tqdm.auto import tqdm

from pyrosynth.audio.timbre import NAMES, Timbre
from pyrosynth.cli.process import run_program
from pyrosynth.errors import InputError
from pyrosynth.explore.latent_space import LatentSpace
from pyrosynth.explore.morphing import METHODS, Method, find_path
from pyrosynth.files import writable
from pyrosynth.inference.posterior import Posterior
from pyrosynth.plots import BLUE, RED, WIDTH, bare, png
from pyrosynth.synths.rendering import Renderer

Float = NDArray[np.float64]

STEPS = 9  # of a morph, both ends included
RESAMPLES = 2000  # of the pairs, for intervals
LEVEL = 0.95


def roughness(numbers: ArrayLike) -> Float:
    """Return the root mean square of second differences, (..., steps, n) to (..., n)."""
    bends = np.diff(np.asarray(numbers, np.float64), 2, axis=-2)
    return np.sqrt((bends**2).mean(axis=-2))


def bend(numbers: ArrayLike) -> Float:
    """Return the root mean square distance from the line of the ends, (..., steps, n)."""
    array = np.asarray(numbers, np.float64)
    share = np.linspace(0.0, 1.0, array.shape[-2])[:, None]
    line = (1 - share) * array[..., :1, :] + share * array[..., -1:, :]
    return np.sqrt(((array - line) ** 2).mean(axis=-2))


def resampled(data: xarray.Dataset, method: str, key: str = "roughness", seed: int = 0) -> Float:
    """Return the changes of each feature for resampled pairs, shape (2000, n_features).

    Args:
        data: From ``measure``.
        method: Compared with ``knobs``.
        key: ``roughness`` or ``bend``.
        seed: Of the resampling.

    References:
        Efron and Tibshirani, 1993, "An Introduction to the Bootstrap".
    """
    n = data.sizes["pair"]
    share = np.random.default_rng(seed).multinomial(n, [1 / n] * n, RESAMPLES) / n
    mean, usual = (share @ data[key].sel({"method": one}).values for one in (method, "knobs"))
    return relative(mean, usual)


def summary(data: xarray.Dataset) -> dict[str, Any]:
    """Return the figures of each method, with 95 % intervals over the pairs, JSON-ready."""
    found: dict[str, Any] = {
        "pairs": data.sizes["pair"],
        "steps": int(data.attrs["steps"]),
        "features": data.sizes["feature"],
    }
    for method in data["method"].values:
        if method != "knobs":
            change, bends = (
                data[key].sel({"method": method}).values for key in ("change", "bend_change")
            )
            rough, bent = (resampled(data, method, key) for key in ("roughness", "bend"))
            found[str(method)] = {
                "smoother_on": int((change < 0).sum()),
                "smoother_on_95": _middle((rough < 0).sum(axis=1)),
                "roughness_change": float(np.nanmean(change)),
                "roughness_change_95": _middle(np.nanmean(rough, axis=1)),
                "straighter_on": int((bends < 0).sum()),
                "bend_change": float(np.nanmean(bends)),
                "bend_change_95": _middle(np.nanmean(bent, axis=1)),
            }
    return found


def figure(data: xarray.Dataset) -> Figure:
    """Show by how much each method differs in roughness from straight lines of the knobs."""
    methods = [str(method) for method in data["method"].values if method != "knobs"]
    n = data.sizes["feature"]
    drawn = Figure(figsize=(WIDTH, 1.5 + 0.17 * n), layout="constrained")
    drawn.supxlabel("roughness relative to straight lines of the knobs (%)", fontsize=10)
    axes = np.atleast_1d(drawn.subplots(1, len(methods), sharex=True))
    for ax, method in zip(axes, methods, strict=True):
        change = 100 * data["change"].sel({"method": method}).values
        order = np.argsort(change)
        ax.barh(np.arange(n), change[order], color=np.where(change[order] < 0, BLUE, RED))
        ax.set_yticks(np.arange(n), data["feature"].values[order], fontsize=7.5)
        ax.set_ylim(n - 0.4, -0.6)
        ax.axvline(0, color="black", linewidth=0.8)
        better, mean = int((change < 0).sum()), float(np.nanmean(change))
        ax.set_title(f"{method}\nsmoother on {better} of {n}, mean {mean:+.1f} %", fontsize=10)
        bare(ax)
    return drawn


def measure(
    posterior: Posterior,
    n_pairs: int = 16,
    *,
    methods: tuple[Method, ...] | None = None,
    steps: int = STEPS,
    workers: int | None = None,
    seed: int = 0,
    progress: bool = True,
) -> xarray.Dataset:
    """Render morphs between presets of the bank by each method, and measure how smooth they are.

    Args:
        posterior: The run.
        n_pairs: Number of pairs; a pair of which a sound fails is left out.
        methods: Those compared, ``knobs`` among them; all by default.
        steps: Number of presets of a morph, both ends included.
        workers: Processes that render; all cores if left out.
        seed: Of the choice of pairs; the first of many are those of few.
        progress: Whether to show a progress bar.

    Returns:
        ``roughness`` and ``bend`` (method, pair, feature); ``change`` and ``bend_change``
        (method, feature), the mean over the pairs relative to that of ``knobs``, less 1. The
        method ``sound`` is there only if the variant predicts how presets sound.

    Raises:
        InputError: There are not so many presets, or fewer than three steps.
    """
    space = LatentSpace(posterior)
    if not 1 <= n_pairs <= len(space) // 2 or steps < 3:
        raise InputError(
            f"{n_pairs} pairs of {len(space)} presets, {steps} steps: give 1 to {len(space) // 2} "
            "pairs and at least 3 steps"
        )
    if methods is None:
        methods = tuple(one for one in METHODS if one != "sound" or posterior.predicts)
    pairs = np.random.default_rng(seed).permutation(len(space))[: 2 * n_pairs].reshape(-1, 2)
    position = np.linspace(0.0, 1.0, steps)
    run = posterior.run
    timbre = Timbre(run.features, run.note)
    numbers, names = [], []
    with (
        posterior.renderer(workers, keep_audio=True) as trial,
        Renderer(
            posterior.synth, run.note, run.features.sample_rate, workers=workers,
            transform=timbre, keep_audio=False,
        ) as renderer,
        tqdm(pairs, desc="morph", unit="pair", dynamic_ncols=True, disable=not progress) as bar,
    ):  # fmt: skip
        for pair in bar:
            presets = [space.names[i] for i in pair]
            ends = space.bank.values[pair]
            between = [
                find_path(posterior, presets, method, trial, steps).values(position[1:-1])
                for method in methods
            ]
            rendered = renderer.render(np.concatenate([ends, *between]))
            if rendered.failed.any() or rendered.features is None:
                continue
            inner = rendered.features[2:].reshape(len(methods), steps - 2, -1)
            first, last = (np.tile(end, (len(methods), 1, 1)) for end in rendered.features[:2])
            numbers.append(np.concatenate([first, inner, last], axis=1))
            names.append(" → ".join(presets))
    if not numbers:
        raise InputError("no pair of presets could be rendered; check the synth, give more pairs")
    return compared(np.stack(numbers, axis=1), methods, names)


def compared(numbers: Float, methods: Sequence[Method], pairs: Sequence[str]) -> xarray.Dataset:
    """Compare the methods, ``knobs`` among them, by descriptors (method, pair, step, feature)."""
    dims = ("method", "pair", "feature")
    data = xarray.Dataset(
        {"roughness": (dims, roughness(numbers)), "bend": (dims, bend(numbers))},
        {"method": list(methods), "pair": list(pairs), "feature": list(NAMES)},
        {"steps": numbers.shape[2]},
    )
    for key, found in (("change", "roughness"), ("bend_change", "bend")):
        mean = data[found].mean("pair")
        data[key] = (mean.dims, relative(mean.values, mean.sel({"method": "knobs"}).values))
    return data


def relative(mean: Float, usual: Float) -> Float:
    """Return the change from usual means, -1 to infinity; NaN for what is usually 0.

    What moves by neither method, such as the modulation of a short note, has not changed: 0.
    """
    usual = np.broadcast_to(usual, mean.shape)
    change = np.full(mean.shape, np.nan)
    np.divide(mean, usual, out=change, where=usual > 0)
    return np.where((usual == 0) & (mean == 0), 0.0, change - 1)


def _middle(values: NDArray[Any]) -> list[float]:
    """Return the ends of the interval that holds 95 % of resampled values."""
    return [float(end) for end in np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])]


def main() -> None:
    """Measure, print the figures, and keep data and picture if a folder is given."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("--pairs", type=int, default=16)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    data = measure(
        Posterior.load(given.run), given.pairs, steps=given.steps, workers=given.workers,
        seed=given.seed,
    )  # fmt: skip
    print(json.dumps(summary(data), indent=1))
    if given.out:
        folder = writable(given.out)
        data.to_netcdf(folder / "smoothness.nc", engine="h5netcdf")
        (folder / "smoothness.png").write_bytes(png(figure(data)))


if __name__ == "__main__":
    run_program(main)
