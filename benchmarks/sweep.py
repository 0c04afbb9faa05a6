"""Fit every variant with random hyper-parameters, and see that nothing goes wrong.

    OMP_NUM_THREADS=1 python benchmarks/sweep.py --configurations 100 [--data DATA] [MODEL ...]

The variants take turns. Every number of a configuration is drawn by its seed: the constructor's
arguments by their types and names, sizes and oddities of the data, the schedule. A configuration
passes if a short fit ends with finite losses, scores and weights, every parameter has had a
gradient, and draws lie inside the unit cube with a finite density. Those that do not pass are
printed, each with the seed that repeats it, and the exit code is 1.
"""

import argparse
import inspect
import math
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from pyrosynth.cli.process import run_program
from pyrosynth.data.dataset import open_dataset
from pyrosynth.data.tags import Tag, labelled
from pyrosynth.modeling import Variant, build
from pyrosynth.training import zoo
from pyrosynth.training.batches import TrainData
from pyrosynth.training.svi import fit

TAGS = Tag("tone", ("dark", "bright")), Tag("size", ("small", "medium", "large"))
STEPS = 6


@dataclass(frozen=True)
class Configuration:
    """A random fit.

    Args:
        model: Name of the variant.
        seed: Of all that is random.
        options: Hyper-parameters of the variant.
        training: Arguments of `pyrosynth.training.svi.fit`.
    """

    model: str
    seed: int
    options: dict[str, Any]
    training: dict[str, Any]


def draw(model: str, seed: int) -> Configuration:
    """Draw a configuration."""
    rng = np.random.default_rng(seed)
    kind = zoo.load_model(model)
    types = get_type_hints(kind.__init__)
    arguments = inspect.signature(kind).parameters.values()
    names = [p.name for p in arguments if p.kind is p.KEYWORD_ONLY]
    return Configuration(
        model,
        seed,
        {name: _value(rng, name, types[name]) for name in names},
        {
            "lr": _power(rng, -4, -1.5),
            "batch_size": int(rng.integers(4, 33)),
            "warm_up": int(rng.integers(0, 4)),
            "weight_decay": float(rng.choice([0.0, 0.01, 0.3])),
            "clip": _power(rng, -1, 2),
            "jitter": float(rng.choice([0.0, 0.1])),
            "halve_after": [None, 1][rng.integers(2)],
        },
    )


def toy_data(seed: int) -> TrainData:
    """Draw data of random sizes and with random oddities.

    Steps of any size, and discrete parameters; in some, a parameter that never moves, a silent
    sound among the others, sounds whose parameters are unknown.
    """
    rng = np.random.default_rng(seed)
    n, n_params = 48, int(rng.integers(2, 8))
    shape = int(rng.integers(6, 16)), int(rng.integers(8, 24))
    resolution = rng.choice([2, 3, 16, 128, 1000], n_params)
    levels = rng.integers(0, resolution, (n, n_params))
    if rng.random() < 0.3:
        levels[:, 0] = 0
    mixing = rng.normal(size=(2 * n_params, shape[0] * shape[1]))
    v = (levels + 0.5) / resolution
    x = np.concatenate([np.sin(3 * v), np.cos(3 * v)], 1) @ mixing
    x = (x + 0.1 * rng.normal(size=x.shape)).reshape(n, *shape)
    mean, std = x.mean(0), x.std(0)
    if rng.random() < 0.3:
        x[rng.integers(n)] = -60.0
    known = torch.from_numpy(rng.random(n) < 0.7) if rng.random() < 0.5 else None
    return TrainData(
        x=torch.from_numpy(x).half(),
        levels=torch.from_numpy(levels).to(torch.int16),
        resolution=torch.from_numpy(resolution).float(),
        mean=torch.from_numpy(mean).float(),
        std=torch.from_numpy(std).float(),
        train=torch.arange(36),
        valid=torch.arange(36, n),
        has_v=known,
    )


def tagged(data: TrainData, seed: int) -> TrainData:
    """Put random labels on the sounds, half of them hidden."""
    rng = np.random.default_rng(seed)
    labels = np.stack([rng.integers(0, len(tag.classes), len(data.x)) for tag in TAGS], 1)
    label_mask = labelled(TAGS, labels).hide(0.5, seed).label_mask
    return replace(data, tags=TAGS, label_mask=torch.from_numpy(label_mask))


def faults(configuration: Configuration, data: TrainData) -> list[str]:
    """Fit a configuration; return what went wrong, nothing if all is well.

    Raises:
        PyrosynthError: The variant cannot be built, or the loss is not finite.
    """
    data = tagged(data, configuration.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(configuration.seed)
        variant = build(zoo.load_model(configuration.model), data.dims, configuration.options)
        moved = _watch(variant)
        with TemporaryDirectory() as folder:
            history = fit(
                variant, data, steps=STEPS, validate_every=STEPS // 2, seed=configuration.seed,
                out=Path(folder), progress=False, **configuration.training,
            )  # fmt: skip
        x = data.batch(data.train[:5])["x"]
        with torch.no_grad():
            v, log_q = variant.sample_v(x, 3)
            results = {"draws": v, "density": log_q, "mean": variant.mean_v(x)}
    found = [f"{key} is {value}" for row in history.rows for key, value in row.items()
             if not math.isfinite(value)]  # fmt: skip
    found += [f"{key} is not finite" for key, t in results.items() if not t.isfinite().all()]
    found += [
        f"{k} is not finite" for k, p in variant.named_parameters() if not p.isfinite().all()
    ]
    found += [f"{k} had no gradient" for k, there in moved.items() if not there]
    if not ((v > 0) & (v < 1)).all():
        found.append("a draw lies outside the unit cube")
    return found


def _watch(variant: Variant) -> dict[str, bool]:
    """Note for each parameter that learns whether it ever gets a gradient other than zero."""
    learnt = {n: p for n, p in variant.named_parameters() if p.requires_grad}
    moved = dict.fromkeys(learnt, False)

    def watcher(name: str) -> Any:
        def note(gradient: Tensor) -> None:
            moved[name] = moved[name] or bool(gradient.abs().sum() > 0)

        return note

    for name, parameter in learnt.items():
        parameter.register_hook(watcher(name))
    return moved


def _power(rng: np.random.Generator, low: float, high: float) -> float:
    return float(10 ** rng.uniform(low, high))


def _value(rng: np.random.Generator, name: str, kind: Any) -> Any:
    """Draw the value of an argument by its type and name."""
    choices = get_args(kind)
    if get_origin(kind) is Literal:
        return str(rng.choice(choices))
    if type(None) in choices:
        return None if rng.random() < 0.3 else _value(rng, name, choices[0])
    if get_origin(kind) is Sequence:
        return [int(n) for n in rng.integers(2, 13, rng.integers(1, 4))]
    if kind is float:
        return float(rng.uniform(0, 0.5)) if name == "dropout" else _power(rng, -3, 2)
    if name == "kernel":
        return int(rng.choice([1, 3, 5]))
    if name == "bins":
        return int(rng.integers(2, 13))
    small = name.startswith("n_") or name in ("dilation",)
    return int(rng.integers(1, 5)) if small else int(rng.integers(2, 17))


def main() -> None:
    """Sweep and print what went wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", default=zoo.list_models())
    parser.add_argument("--configurations", type=int, default=100, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="of the first one")
    parser.add_argument("--data", type=Path, help="folder of a dataset to fit beside toy data")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    real = TrainData.from_dataset(open_dataset(arguments.data)) if arguments.data else None
    failed = 0
    seeds = range(arguments.seed, arguments.seed + arguments.configurations)
    for seed in tqdm(seeds, unit=" fits"):
        configuration = draw(arguments.models[seed % len(arguments.models)], seed)
        few = real and replace(real, train=real.train[:64], valid=real.valid[:16])
        try:
            found = faults(configuration, few if few and seed % 2 else toy_data(seed))
        except Exception:  # noqa: BLE001 - whatever it is, the sweep reports it and goes on
            found = [traceback.format_exc(limit=-3)]
        failed += bool(found)
        if found:
            tqdm.write(f"{configuration}\n  " + "\n  ".join(found))
    print(f"{len(seeds) - failed} of {len(seeds)} configurations passed")
    sys.exit(failed > 0)


if __name__ == "__main__":
    run_program(main)
