"""What the models of a comparison are set against: known presets, and search with the synth."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyrosynth.data.bank import Bank
from pyrosynth.errors import InputError, unknown
from pyrosynth.evaluation.baselines import CMA_STEPS, median_preset, nearest_presets
from pyrosynth.evaluation.tables import BANK, GUESS, REFERENCE, Scores, measured
from pyrosynth.evaluation.trials import Trials
from pyrosynth.inference.posterior import Posterior
from pyrosynth.training.run import run_hash

Float = NDArray[np.floating]

BEST = "best"  # stands for the model that does best
STARTS = {"": "scratch", "retrieval": "retrieval", "bank": "the training bank"}  # without a model
GUESSES = {"median": "median preset", "retrieval": REFERENCE, "bank": BANK}
STOCK = (
    *GUESSES, "cma-200", "cma-1000", "retrieval+cma-200", "bank+cma-200", "bank+cma-1000",
    "best+guess", "best+cma-200", "best+cma-1000", "best+infer-200", "best+infer-1000",
)  # fmt: skip
SEARCH = re.compile(r"(?:(?P<start>.+)\+)?(?:(?P<method>cma|infer)-(?P<budget>[1-9]\d*)|guess)")


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
        return f"{'infer, ' if self.method == 'infer' else ''}{self.budget} renders"


def parse(names: Sequence[str], models: Sequence[str]) -> tuple[list[str], list[Search]]:
    """Read names of rivals.

    Args:
        names: Such as ``median``, ``cma-200``, ``retrieval+cma-200``, ``flow_reg+infer-1000``;
            ``all`` stands for those of ``STOCK``, ``none`` for none.
        models: Names of the models that are compared.

    Returns:
        Those of ``GUESSES``, and the searches.

    Raises:
        InputError: A name is none of these (the known ones are listed).
    """
    given = [one for name in names for one in {"all": STOCK, "none": ()}.get(name, (name,))]
    guesses, searches = [], []
    for name in dict.fromkeys(given):
        found = SEARCH.fullmatch(name)
        if name in GUESSES:
            guesses.append(name)
        elif found:
            method, budget = found["method"] or "guess", int(found["budget"] or 0)
            search = Search(found["start"] or "", method, budget)
            if search.starts_from_model and search.start not in (BEST, *models):
                starts = (*filter(None, STARTS), BEST, *models)
                raise unknown("start of a search", search.start, starts)
            if search.method != "cma" and not search.starts_from_model:
                raise InputError(f"'{name}' searches with a model; write such as best+{name}")
            searches.append(search)
        else:
            raise unknown("rival", name, (*STOCK, "all", "none"))
    return guesses, searches


def guess(names: Sequence[str], trials: Trials, bank: Bank) -> dict[str, Scores]:
    """Let those that render nothing answer, and play what they say.

    Args:
        names: Those of ``GUESSES`` to ask.
        trials: The sounds.
        bank: All training presets of their dataset.

    Returns:
        Scores by the labels of ``GUESSES``; without ``bank`` where it holds no augmented presets.
    """
    dataset, x = trials.targets.dataset, trials.targets.x
    answers = {}
    if "median" in names:
        answers[GUESSES["median"]] = median_preset(dataset, len(x))
    if {"retrieval", "bank"} & {*names}:
        human = Bank.from_dataset(dataset, augmented=False)
        if "retrieval" in names:
            answers[REFERENCE] = nearest_presets(human, x)
        if "bank" in names and len(bank) > len(human):
            answers[BANK] = nearest_presets(bank, x)
    heard = trials.rivals(answers) if answers else {}
    return {name: Scores(measured(heard, np.s_[:, i]), 0) for i, name in enumerate(answers)}


def search(
    what: Search,
    trials: Trials,
    bank: Path,
    posterior: Posterior | None,
    played: Float | None,
) -> Scores:
    """Let one search for every sound, and play what it found.

    Args:
        what: The search.
        trials: The sounds.
        bank: File of the bank of all training presets of their dataset.
        posterior: The model that it starts from, if it starts from one.
        played: Points of the unit cube of draws from it for each sound, (n, draws, n_learnt).

    Returns:
        Scores of the best presets found.
    """
    targets = trials.targets
    found: Mapping[str, NDArray[Any]]
    if what.method == "guess" and posterior is not None:
        guesses = [
            posterior.guess(x, targets.seed(i, trials.seed)) for i, x in enumerate(targets.x)
        ]
        found = {"values": np.stack(guesses), "renders": np.zeros(len(targets))}
    elif what.method == "infer" and posterior is not None:
        found = trials.infer(posterior, what.budget)
    elif posterior is not None and played is not None:
        unit = targets.space.to_unit(targets.space.decode(played[:, 0]))
        found = trials.evolve(
            what.start, unit, CMA_STEPS["draw"], what.budget, run=run_hash(posterior)
        )
    elif what.start:
        human = what.start == "retrieval"
        known = Bank.from_dataset(targets.dataset, augmented=False) if human else Bank.load(bank)
        unit = targets.unit(nearest_presets(known, targets.x))
        found = trials.evolve(
            what.start, unit, CMA_STEPS["retrieval"], what.budget, presets=len(known)
        )
    else:
        unit = np.full((len(targets), len(targets.space)), 0.5)
        found = trials.evolve("scratch", unit, CMA_STEPS["scratch"], what.budget)
    heard = trials.rivals({what.method_name: found["values"]})
    return Scores(measured(heard, np.s_[:, 0]), float(np.mean(found["renders"])))
