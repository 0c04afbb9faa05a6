"""What a model must beat: guesses, regressions, the nearest known preset, plain search.

Each takes features of sounds and gives one preset for each, as native values of all parameters;
whoever asks renders them. Regressions learn from the rows a run learns from, with the squared
error of unit values. They average over presets that sound alike, which is why they lose to the
nearest preset although their parameters are closer.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from tqdm import tqdm

from pyrosynth.data.bank import Bank, principal_axes
from pyrosynth.data.dataset import Dataset, Rows
from pyrosynth.inference.search import Pool, evolve
from pyrosynth.modeling.networks import MLP, MelEncoder

Float = NDArray[np.float64]
Array = NDArray[np.float32]

MOST_ROWS = 20_000  # rows a regression learns from at most: all human ones, then augmented ones
AXES = 512  # principal axes of the features that the ridge regression reads
PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)  # tried on the validation split
STEPS, BATCH, RATE = 800, 128, 1e-3  # of the networks: 100,000 examples
POPULATION = 15  # of CMA-ES
CMA_STEPS = {"retrieval": 0.1, "draw": 0.1, "scratch": 0.3}  # first step size from each start
BLOCK = 1024  # rows read at once


def random_presets(dataset: Dataset, n: int, seed: int = 0) -> Float:
    """Return human training presets picked at random, shape (n, n_params)."""
    rows = dataset.rows("train", human_only=True)
    return dataset.values(np.random.default_rng(seed).choice(rows, n))


def median_preset(dataset: Dataset, n: int) -> Float:
    """Return the median of each parameter over the human training presets, n times."""
    values = dataset.values(dataset.rows("train", human_only=True))
    space = dataset.full_space
    return np.tile(space.from_unit(np.median(space.to_unit(values), axis=0)), (n, 1))


def nearest_presets(bank: Bank, x: ArrayLike) -> Float:
    """Return the preset of a bank that sounds most like each sound, shape (n, n_params)."""
    return bank.values[bank.nearest(x)[0][:, 0]]


def ridge(dataset: Dataset, x: ArrayLike, seed: int = 0) -> Float:
    """Predict presets by ridge regression on the principal axes of the features.

    Args:
        dataset: To learn from.
        x: Features of the sounds, shape (n, n_mels, n_frames).
        seed: Of the choice of rows.

    Returns:
        Native values of all parameters, shape (n, n_params).
    """
    rng = np.random.default_rng(seed)
    rows = _rows(dataset, rng)
    flat = dataset.mean.size
    sample = np.sort(rng.permutation(rows)[: 4 * AXES])
    axes = principal_axes(_standardise(dataset, dataset.x(sample)).reshape(-1, flat), AXES, rng)

    def read(sounds: ArrayLike) -> Float:
        codes = _standardise(dataset, sounds).reshape(-1, flat) @ axes.T
        return np.concatenate([codes, np.ones((len(codes), 1))], axis=1).astype(np.float64)

    blocks = [rows[i : i + BLOCK] for i in range(0, len(rows), BLOCK)]
    codes = np.concatenate([read(dataset.x(block)) for block in blocks])
    unit = _unit(dataset, rows)
    valid = dataset.rows("valid", human_only=True)
    held_out, answer = read(dataset.x(valid)), _unit(dataset, valid)
    fits = []
    for penalty in PENALTIES:
        weight = np.full(codes.shape[1], penalty * len(rows))
        weight[-1] = 1e-9  # the offset is free
        fits.append(np.linalg.solve(codes.T @ codes + np.diag(weight), codes.T @ unit))
    errors = [float(np.sum((held_out @ fit - answer) ** 2)) for fit in fits]
    return _full(dataset, read(x) @ fits[int(np.argmin(errors))])


def mlp(dataset: Dataset, x: ArrayLike, seed: int = 0, *, progress: bool = False) -> Float:
    """Predict presets by a perceptron of two hidden layers; see ``ridge``."""
    n = dataset.mean.size
    return _network(
        lambda n_out: nn.Sequential(nn.Flatten(), MLP(n, (512, 256), n_out)),
        dataset, x, seed, "fit MLP" if progress else None,
    )  # fmt: skip


def cnn(dataset: Dataset, x: ArrayLike, seed: int = 0, *, progress: bool = False) -> Float:
    """Predict presets by the convolutions that models read sounds with; see ``ridge``."""
    shape = dataset.mean.shape
    return _network(
        lambda n_out: nn.Sequential(
            MelEncoder((shape[0], shape[1]), 256), nn.SiLU(), nn.Linear(256, n_out)
        ),
        dataset, x, seed, "fit CNN" if progress else None,
    )  # fmt: skip


def cma_es(pool: Pool, start: ArrayLike, sigma: float, budget: int, seed: int = 0) -> None:
    """Search from one preset by plain CMA-ES over all learnt parameters.

    Args:
        pool: Renders and keeps the presets; empty before.
        start: Unit values of the learnt parameters, shape (n_learnt,).
        sigma: First step size in unit values.
        budget: Number of sounds to render, the start among them.
        seed: Of the search.
    """
    unit = np.asarray(start, np.float64)
    pool.add(unit[None], "bank")
    evolve(pool, unit, np.full(len(unit), sigma), budget - 1, seed, POPULATION)


def _network(
    build: Callable[[int], nn.Module],
    dataset: Dataset,
    x: ArrayLike,
    seed: int,
    label: str | None,
) -> Float:
    """Fit a network by least squares on unit values and predict."""
    rows = _rows(dataset, np.random.default_rng(seed))
    sounds = torch.from_numpy(dataset.x(rows, np.float16))
    unit = torch.from_numpy(_unit(dataset, rows)).float()
    mean, std = torch.from_numpy(dataset.mean), torch.from_numpy(dataset.std)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        network = build(unit.shape[1])
        optimiser = torch.optim.AdamW(network.parameters(), RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
        steps = tqdm(range(STEPS), desc=label, unit="step", disable=label is None)
        for _ in steps:
            batch = torch.randint(len(rows), (BATCH,))
            predicted = network((sounds[batch].float() - mean) / std).sigmoid()
            loss = nn.functional.mse_loss(predicted, unit[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    with torch.no_grad():
        given: Tensor = torch.from_numpy(_standardise(dataset, x))
        found = torch.cat([network(part) for part in given.split(BLOCK)])
    return _full(dataset, found.sigmoid().double().numpy())


def _rows(dataset: Dataset, rng: np.random.Generator) -> Rows:
    """Choose the rows to learn from, ascending."""
    rows = dataset.rows("train")
    human = dataset.origin[rows] == "human"
    augmented = rng.permutation(rows[~human])
    return np.sort(np.concatenate([rows[human], augmented])[:MOST_ROWS])


def _unit(dataset: Dataset, rows: Rows) -> Float:
    return dataset.space.to_unit(dataset.learnt(rows))


def _standardise(dataset: Dataset, x: ArrayLike) -> Array:
    return (np.asarray(x, np.float32) - dataset.mean) / dataset.std


def _full(dataset: Dataset, unit: ArrayLike) -> Float:
    """Return native values of all parameters from unit values of the learnt ones."""
    return dataset.subspace.complete(dataset.space.from_unit(unit))
