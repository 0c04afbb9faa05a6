"""Baselines and searches: what a model must beat, and how a model's own answers are found.

A baseline takes features of sounds and gives one preset for each, as native values of all
parameters. The regressions learn from the rows a run learns from, with the squared error of unit
values. They average over presets that sound alike, which is why they lose to the nearest preset
although their parameters are closer. A search renders with the real synth, up to a budget.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from tqdm.auto import tqdm

from pyrosynth.data.bank import Bank
from pyrosynth.data.dataset import Dataset, Rows
from pyrosynth.errors import InputError, counted, require_type, unknown, unseen
from pyrosynth.evaluation.runner import Arrays, EvaluationRunner
from pyrosynth.evaluation.scores import BANK, GUESS, REFERENCE
from pyrosynth.inference.pool import Pool
from pyrosynth.inference.posterior import Posterior
from pyrosynth.inference.search import evolve
from pyrosynth.modeling.adamw import AdamW
from pyrosynth.modeling.networks import MLP, MelEncoder
from pyrosynth.training.capture import seed_noise
from pyrosynth.training.identity import run_hash
from pyrosynth.training.torch_modes import plain_torch

Float = NDArray[np.float64]
Array = NDArray[np.float32]

MOST_ROWS = 20_000  # rows a regression learns from at most: all human ones, then augmented ones
AXES = 512  # principal axes of the features that the ridge regression reads
PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)  # tried on the validation split
STEPS, BATCH, RATE = 800, 128, 1e-3  # of the networks: 100,000 examples
POPULATION = 15  # of CMA-ES
STEP_SIZES = {"retrieval": 0.1, "draw": 0.1, "scratch": 0.3}  # first one from each start
BLOCK = 1024  # rows read at once

BEST = "best"  # stands for the model that does best
STARTS = {"": "scratch", "retrieval": "retrieval", "bank": "the training bank"}  # without a model
BASELINES = {  # by the names they are asked for
    "random": "random human preset", "median": "median preset", "ridge": "ridge regression",
    "mlp": "MLP", "cnn": "CNN", "retrieval": REFERENCE, "bank": BANK,
}  # fmt: skip
ALL_METHODS = (
    "median", "retrieval", "bank", "cma-200", "cma-1000", "retrieval+cma-200", "bank+cma-200",
    "bank+cma-1000", "best+guess", "best+cma-200", "best+cma-1000", "best+infer-200",
    "best+infer-1000",
)  # fmt: skip
SEARCH = re.compile(
    r"(?:(?P<start>.+)\+)?(?:(?P<method>cma|infer)-(?P<budget>[1-9]\d{0,5})|guess)"
)


@dataclass(frozen=True)
class Search:
    """A search with the real synth.

    Args:
        start: What it starts from: a model, ``best``, the nearest human (``retrieval``) or other
            training preset (``bank``) or, empty, from scratch.
        method: ``cma`` for plain CMA-ES over all learnt parameters, from the start alone (one
            draw of a model); ``infer`` for all that
            `pyrosynth.inference.posterior.Posterior.refine` does;
            ``guess`` for what `pyrosynth.inference.posterior.Posterior.guess` says.
        budget: Number of sounds it may render for each target; a guess needs none.
    """

    start: str
    method: str
    budget: int

    def __str__(self) -> str:
        """Return the name it was asked for by."""
        budget = f"-{self.budget}" if self.budget else ""
        return f"{self.start}{'+' * bool(self.start)}{self.method}{budget}"

    @property
    def starts_from_model(self) -> bool:
        """Whether it needs a model."""
        return self.start not in STARTS

    @property
    def method_name(self) -> str:
        """What it is called in tables: a model's own search by the model."""
        if self.method != "cma":
            return self.start
        if self.starts_from_model:
            return f"CMA-ES from a draw of {self.start}"
        return f"CMA-ES from {STARTS[self.start]}"

    @property
    def answer(self) -> str:
        """Which of a method's answers it is."""
        if self.method == "guess":
            return GUESS
        return f"{'infer, ' if self.method == 'infer' else ''}{counted(self.budget, 'render')}"

    def run(
        self,
        runner: EvaluationRunner,
        bank: Callable[[], Bank],
        posterior: Posterior | None = None,
        v: NDArray[np.floating] | None = None,
    ) -> Arrays:
        """Search for every target of a runner.

        Args:
            runner: Renders and caches.
            bank: Gives all training presets of the dataset of the targets.
            posterior: The model that it starts from, if it starts from one.
            v: Draws from it for each target, shape (n, draws, n_learnt).

        Returns:
            ``values`` (n, n_params), the best preset of each target, ``renders`` (n,), and of a
            search what `EvaluationRunner.infer` returns.
        """
        targets = runner.targets
        if self.method == "guess" and posterior is not None:
            return {"values": runner.guess(posterior), "renders": np.zeros(len(targets))}
        if self.method == "infer" and posterior is not None:
            return runner.infer(posterior, self.budget)
        of: dict[str, str | int] = {}
        kind = "retrieval" if self.start else "scratch"
        if posterior is not None and v is not None:
            kind, of = "draw", {"run": run_hash(posterior)}
            unit = targets.space.to_unit(targets.space.decode(v[:, 0]))
        elif self.start:
            human = self.start == "retrieval"
            known = Bank.from_dataset(targets.dataset, augmented=False) if human else bank()
            of = {"presets": len(known)}
            unit = targets.unit(nearest_presets(known, targets.x))
        else:
            unit = np.full((len(targets), len(targets.space)), 0.5)
        sigma = STEP_SIZES[kind]
        search = partial(cma_es, sigma=sigma)
        return runner.evolve(self.start or "scratch", unit, search, self.budget, sigma=sigma, **of)


def parse(names: Sequence[str] | str, models: Sequence[str]) -> tuple[list[str], list[Search]]:
    """Read names of baselines and searches.

    Args:
        names: Such as ``median``, ``cma-200``, ``retrieval+cma-200``, ``flow_reg+infer-1000``, or
            a single one; ``all`` stands for those of ``ALL_METHODS``, ``none`` for none.
        models: Names of the models that are compared.

    Returns:
        Those of ``BASELINES``, and the searches.

    Raises:
        InputError: A name is none of these (the known ones are listed).
    """
    names = [names] if isinstance(names, str) else names
    require_type("methods", names, Sequence, "a list of names, all, or none")
    given = [one for name in names for one in {"all": ALL_METHODS, "none": ()}.get(name, (name,))]
    baselines, searches = [], []
    for name in dict.fromkeys(given):
        require_type("a method", name, str, "its name, such as retrieval")
        match = SEARCH.fullmatch(name)
        if name in BASELINES:
            baselines.append(name)
        elif match:
            method, budget = match["method"] or "guess", int(match["budget"] or 0)
            search = Search(match["start"] or "", method, budget)
            if search.starts_from_model and search.start not in (BEST, *models):
                starts = (*filter(None, STARTS), BEST, *models)
                raise unknown("start of a search", search.start, starts)
            if search.method != "cma" and not search.starts_from_model:
                raise InputError(f"'{name}' searches with a model; write such as best+{name}")
            searches.append(search)
        else:
            raise unknown("method", name, (*dict.fromkeys((*ALL_METHODS, *BASELINES)), "none"))
    return baselines, searches


def answer_baselines(
    names: Sequence[str],
    dataset: Dataset,
    x: NDArray[np.float32],
    bank: Callable[[], Bank],
    *,
    seed: int = 0,
    progress: bool = False,
) -> dict[str, Float]:
    """Let baselines answer sounds.

    Args:
        names: Those of ``BASELINES`` to ask.
        dataset: To learn from.
        x: Features of the sounds, shape (n, n_mels, n_frames).
        bank: Gives the bank of all training presets.
        seed: Of everything random.
        progress: Whether to show progress bars.

    Returns:
        Native values of all parameters, shape (n, n_params), by the labels of ``BASELINES``;
        without ``bank`` where it holds no augmented presets.
    """
    answers: dict[str, Float] = {}
    human = (
        Bank.from_dataset(dataset, augmented=False) if {*names} & {"retrieval", "bank"} else None
    )
    for name in names:
        label = BASELINES[name]
        if name == "random":
            answers[label] = random_presets(dataset, len(x), seed)
        elif name == "median":
            answers[label] = median_preset(dataset, len(x))
        elif name == "ridge":
            answers[label] = ridge(dataset, x, seed)
        elif name == "mlp":
            answers[label] = mlp(dataset, x, seed, progress=progress)
        elif name == "cnn":
            answers[label] = cnn(dataset, x, seed, progress=progress)
        elif human is not None and name == "retrieval":
            answers[label] = nearest_presets(human, x)
        elif human is not None and len(known := bank()) > len(human):
            answers[label] = nearest_presets(known, x)
    return answers


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
    from sklearn.decomposition import PCA
    from sklearn.linear_model import Ridge

    def read(sounds: ArrayLike) -> Array:
        return _standardise(dataset, sounds).reshape(-1, dataset.mean.size)

    rng = np.random.default_rng(seed)
    rows = _rows(dataset, rng)
    sample = read(dataset.x(np.sort(rng.permutation(rows)[: 4 * AXES])))
    axes = PCA(min(AXES, *sample.shape), svd_solver="randomized", random_state=seed).fit(sample)
    blocks = [rows[i : i + BLOCK] for i in range(0, len(rows), BLOCK)]
    codes = np.concatenate([axes.transform(read(dataset.x(block))) for block in blocks])
    unit, valid = _unit(dataset, rows), dataset.rows("valid", human_only=True)
    held_out, truth = axes.transform(read(dataset.x(valid))), _unit(dataset, valid)
    fits = [Ridge(penalty * len(rows)).fit(codes, unit) for penalty in PENALTIES]

    def predict(fit: Ridge, codes: Array) -> Float:
        return fit.predict(codes).reshape(len(codes), -1).astype(np.float64)  # of one, no column

    errors = [float(np.sum((predict(fit, held_out) - truth) ** 2)) for fit in fits]
    best = fits[int(np.argmin(errors))]
    return _full(dataset, predict(best, axes.transform(read(x))))


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


def cma_es(pool: Pool, start: ArrayLike, budget: int, seed: int = 0, *, sigma: float) -> None:
    """Search from one preset by plain CMA-ES over all learnt parameters.

    Args:
        pool: Renders and keeps the presets; empty before.
        start: Unit values of the learnt parameters, shape (n_learnt,).
        budget: Number of sounds to render, the start among them.
        seed: Of the search.
        sigma: First step size in unit values.
    """
    unit = np.asarray(start, np.float64)
    pool.add(unit[None], "bank")
    evolve(pool, unit, np.full(len(unit), sigma), budget - 1, seed, POPULATION)


@plain_torch(gradients=True)
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
    mean, std = torch.tensor(dataset.mean), torch.tensor(dataset.std)
    with torch.random.fork_rng([]):
        seed_noise(seed, torch.device("cpu"))
        network = build(unit.shape[1])
        optimiser = AdamW(network.parameters(), RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
        steps = tqdm(range(STEPS), desc=label, unit="step", disable=unseen(label))
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
