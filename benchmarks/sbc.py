"""Simulation-based calibration on `voice`, with presets that the prior itself draws.

    OMP_NUM_THREADS=1 python benchmarks/sbc.py --out sbc [--tested 1000] [--steps 6000] [MODEL ...]

Held-out human presets tell a wrong posterior from a right one, but not whether the model or a
difference between the presets is to blame. Here there is none: all presets, learnt and tested,
are drawn uniformly over the range of each control, and rendered. If the posterior is right, the
rank of each true control among its draws is uniform. Each control is tested by Kolmogorov and
Smirnov with Holm's correction over the controls, and so are the regions of all of them together.

Prints how many controls pass, writes `MODEL.csv`, and ends with exit code 1 where fewer than 95 %
of them do. What was rendered and fitted stays in the folder, for the next call.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.stats import kstest
from tqdm import tqdm

from pyrosynth.audio.note import Note
from pyrosynth.cli.options import settings
from pyrosynth.cli.process import run_program
from pyrosynth.data.dataset import Dataset, render_dataset
from pyrosynth.errors import integer
from pyrosynth.evaluation.calibration import central_coverage, hpd_levels, ranks, tarp_levels
from pyrosynth.modeling import Dims, Variant, build, set_temperature, with_recipe
from pyrosynth.statistics import holm
from pyrosynth.synths import load_synth
from pyrosynth.training import svi, zoo
from pyrosynth.training.batches import TrainData
from pyrosynth.training.uncertainty import find_temperature

NOTE = Note(hold_seconds=0.5, duration_seconds=1.0)
DRAWS, AT_ONCE = 255, 50  # of each preset; presets whose draws are made at once
ALPHA, WANTED = 0.05, 0.95


def prior_data(dataset: Dataset, n_tested: int) -> tuple[TrainData, torch.Tensor]:
    """Take the presets that the prior drew: to learn from, to validate with, to test."""
    rows = np.flatnonzero((dataset.status == "ok") & (dataset.origin == "uniform"))
    order = torch.arange(len(rows))
    train, valid, tested = order.split([len(rows) - 2 * n_tested, n_tested, n_tested])
    data = TrainData(
        x=torch.from_numpy(dataset.x(rows, np.float16)),
        levels=torch.from_numpy(dataset.levels(rows).astype(np.int16)),
        resolution=torch.from_numpy(dataset.space.resolution).float(),
        mean=torch.from_numpy(dataset.mean),
        std=torch.from_numpy(dataset.std),
        train=train,
        valid=valid,
    )
    return data, tested


def test(
    variant: Variant, data: TrainData, tested: torch.Tensor, names: Sequence[str]
) -> pd.DataFrame:
    """Draw from the posterior of each sound and test where the truths rank."""
    rng, found = np.random.default_rng(0), []
    for rows in tqdm(tested.split(AT_ONCE), desc="draws"):
        batch = data.batch(rows)
        v, log_q = variant.sample_v(batch["x"], DRAWS, torch.Generator().manual_seed(int(rows[0])))
        true, of_true = batch["v"], variant.log_prob_v(batch["v"], batch["x"])
        drawn, truth = v.numpy(), true.numpy()
        shares = tarp_levels(drawn, truth, rng.random(truth.shape), rng)
        regions = hpd_levels(log_q.numpy(), of_true.numpy(), rng)
        found.append(np.column_stack([ranks(drawn, truth, rng), regions, shares]))
    u = np.concatenate(found)
    p = np.array([kstest(column, "uniform").pvalue for column in u.T])
    n = len(names)
    frame = pd.DataFrame(
        {"p": p, "holm": [*holm(p[:n]), *p[n:]]}, [*names, "highest density", "TARP"]
    )
    frame["90 %"] = [*central_coverage(u[:, :n], 0.9), *(u[:, n:] < 0.9).mean(axis=0)]
    return frame


@svi.plain_torch()
def main() -> int:
    """Render, fit and test."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", default=["flow_mixed"])
    parser.add_argument("--out", type=Path, required=True, help="folder")
    parser.add_argument("--learnt", type=int, default=30000, help="presets to learn from")
    parser.add_argument("--tested", type=int, default=1000, help="presets to test")
    parser.add_argument("--params", default="16", help="learnt parameters")
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--batch-size", type=int, default=256, help="presets per step")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--device", default="cpu", help="what fits: cpu or cuda")
    parser.add_argument("--set", action="append", metavar="KEY=VALUE", help="of the models")
    arguments = parser.parse_args()
    for name in ("learnt", "tested"):
        integer(f"--{name}", getattr(arguments, name), 1)
    dataset = render_dataset(
        load_synth("voice"), arguments.out / "data", params=arguments.params, note=NOTE,
        prior="uniform", augmented=arguments.learnt + 2 * arguments.tested, audio="none",
    )  # fmt: skip
    data, tested = prior_data(dataset, arguments.tested)
    failed = False
    for name in arguments.models:
        kind = zoo.load_model(name)
        torch.manual_seed(0)
        shape = (data.x.shape[1], data.x.shape[2])
        dims = Dims(len(dataset.space), shape, tuple(dataset.space.resolution.tolist()))
        variant = build(kind, dims, with_recipe(kind, settings(arguments.set))[0])
        history = svi.fit(
            variant, data, steps=arguments.steps, batch_size=arguments.batch_size,
            lr=arguments.lr, device=arguments.device, out=arguments.out / name, resume=True,
        )  # fmt: skip
        variant.cpu()
        batch = data.batch(data.valid)
        temperature = find_temperature(variant, batch["x"], batch["v"])
        set_temperature(variant, temperature)
        frame = test(variant, data, tested, dataset.space.names)
        frame.to_csv(arguments.out / f"{name}.csv", float_format="%.4g")
        passed = int((frame["holm"][: len(dataset.space)] > ALPHA).sum())
        print(frame.round(3).to_string())
        print(
            f"{name}: {passed} of {len(dataset.space)} controls are calibrated, as far as "
            f"{len(tested)} presets tell; best step {history.best_step}, temperature "
            f"{temperature.base:g}, discrete {temperature.levels:g}"
        )
        failed |= passed < WANTED * len(dataset.space)
    return int(failed)


if __name__ == "__main__":
    run_program(main)
