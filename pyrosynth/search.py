"""Search for the preset behind a sound with the real synth: propose, render, keep what is nearest.

Every proposal is rendered and counted; what comes out is the best that was heard.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from pyrosynth.errors import InputError
from pyrosynth.metrics import DB, log_distance
from pyrosynth.params import ParamSpace
from pyrosynth.rendering import Renderer

Source = Literal["posterior", "bank", "model", "cma"]

POPULATION = 12  # sounds per generation of the search, a little below CMA's own 4 + 3 ln n
SMALLEST, LARGEST = 0.01, 0.3  # bounds of the first step sizes, in unit values

ELITES = 8  # presets that a round of model steps starts from
TRUST = (3.0, 100.0)  # cost in dB² of a squared unit step: a bold and a careful one from each
PROPOSALS = ELITES * len(TRUST)
STEPS, RATE = 20, 0.08  # of Adam, on the logits of the unit values
INSIDE = 1e-3  # distance from the ends of a range, where logits have no slope


@dataclass(frozen=True)
class Match:
    """Presets tried for a sound, nearest first.

    Attributes:
        values: Native values of all parameters, shape (n, n_params).
        x: Features of what the synth plays for them, shape (n, n_mels, n_frames).
        lsd: Log-spectral distance to the sound in dB, shape (n,).
        source: What proposed each, shape (n,): ``posterior`` (a draw), ``bank`` (a known
            preset), ``model`` (a step along the model's own gradient), ``cma`` (evolution).
        trace: Sounds rendered and the smallest distance so far, shape (n_batches, 2).
    """

    values: NDArray[np.float64]
    x: NDArray[np.float32]
    lsd: NDArray[np.float64]
    source: NDArray[np.str_]
    trace: NDArray[np.float64]

    @property
    def n_renders(self) -> int:
        """Number of sounds that were rendered."""
        return int(self.trace[-1, 0])


@dataclass
class Pool:
    """The presets rendered so far for one sound.

    Args:
        target: Features of the sound, shape (n_mels, n_frames).
        full_space: All parameters of the synth.
        space: The learnt ones; the others stay at their defaults.
        renderer: Renders, with the features as transform.
        report: Called with the number of sounds each time some were rendered.
    """

    target: NDArray[np.float32]
    full_space: ParamSpace
    space: ParamSpace
    renderer: Renderer
    report: Callable[[int], object] = lambda n: None
    unit: NDArray[np.float64] = field(init=False)
    x: NDArray[np.float32] = field(init=False)
    lsd: NDArray[np.float64] = field(init=False)
    source: NDArray[np.str_] = field(init=False)
    trace: list[tuple[int, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Start empty."""
        self.unit = np.empty((0, len(self.space)))
        self.x = np.empty((0, *self.target.shape), np.float32)
        self.lsd = np.empty(0)
        self.source = np.empty(0, "U9")

    def __len__(self) -> int:
        """Return the number of presets rendered."""
        return len(self.lsd)

    def add(self, unit: ArrayLike, source: Source) -> NDArray[np.float64]:
        """Render presets and keep them.

        Args:
            unit: Unit values of the learnt parameters, shape (n, n_learnt).
            source: What proposed them.

        Returns:
            Their distances to the target in dB, shape (n,); infinite for a failed sound.
        """
        proposed = np.clip(np.asarray(unit, np.float64), 0.0, 1.0)
        if not len(proposed):
            return np.empty(0)
        rendered = self.renderer.render(self.complete(proposed))
        if rendered.features is None:
            raise InputError("the search needs features; give the renderer its transform")
        lsd = np.where(rendered.failed, np.inf, log_distance(rendered.features, self.target))
        self.unit = np.concatenate([self.unit, proposed])
        self.x = np.concatenate([self.x, rendered.features.astype(np.float32)])
        self.lsd = np.concatenate([self.lsd, lsd])
        self.source = np.concatenate([self.source, np.full(len(lsd), source, "U9")])
        self.trace.append((len(self), float(self.lsd.min())))
        self.report(len(lsd))
        return lsd

    def complete(self, unit: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return native values of all parameters from unit values of the learnt ones."""
        values = np.tile(self.full_space.defaults, (len(unit), 1))
        values[:, self.full_space.index(self.space.names)] = self.space.from_unit(unit)
        return values

    def best(self, n: int) -> NDArray[np.int64]:
        """Return the positions of the nearest presets, nearest first."""
        return np.argsort(self.lsd, kind="stable")[:n]

    def match(self) -> Match:
        """Return all presets, nearest first."""
        order = self.best(len(self))
        return Match(
            self.complete(self.unit[order]),
            self.x[order],
            self.lsd[order],
            self.source[order],
            np.array(self.trace),
        )


def descend(pool: Pool, predict: Callable[[Tensor], Tensor], device: torch.device) -> None:
    """Propose moves of the nearest presets along the gradient of a model of the synth.

    What the model predicts is corrected at each preset by what was heard there (space mapping),
    so a move is right to first order however far off the model's own sound is.

    Args:
        pool: Where proposals go; holds at least one preset.
        predict: Features expected of unit values (n, n_learnt), differentiable.
        device: Where ``predict`` computes.

    References:
        Bandler et al., 2004, "Space mapping: the state of the art".
    """
    best = np.tile(pool.best(ELITES), len(TRUST))
    here = torch.tensor(pool.unit[best], dtype=torch.float32, device=device)
    trust = torch.tensor(np.repeat(TRUST, len(best) // len(TRUST)), device=device).float()
    fixed = torch.tensor(pool.space.discrete, device=device)
    heard = torch.tensor(pool.x[best], device=device)
    with torch.no_grad():
        missing = torch.tensor(pool.target, device=device) - (heard - predict(here))
    logits = torch.logit(here.clamp(INSIDE, 1 - INSIDE)).requires_grad_()
    optimiser = torch.optim.Adam([logits], RATE)

    def moved() -> Tensor:
        return torch.where(fixed, here, logits.sigmoid())

    for _ in range(STEPS):
        unit = moved()
        distance = DB**2 * (predict(unit) - missing).square().mean((-1, -2))
        loss = distance + trust * (unit - here).square().sum(-1)
        (logits.grad,) = torch.autograd.grad(loss.sum(), logits)
        optimiser.step()
    pool.add(moved().detach().cpu().numpy(), "model")


def evolve(pool: Pool, spread: NDArray[np.float64], budget: int, seed: int) -> None:
    """Improve the nearest preset by CMA-ES on the continuous parameters.

    Args:
        pool: Where proposals go; holds at least one preset.
        spread: First standard deviation of each learnt parameter in unit values, such as the
            posterior's, shape (n_learnt,).
        budget: Number of sounds to render.
        seed: Of the proposals.

    References:
        Hansen and Ostermeier, 2001, "Completely derandomized self-adaptation in evolution
        strategies"; package ``cma``.
    """
    free = np.flatnonzero(~pool.space.discrete)
    if budget < 1 or not len(free):
        return
    start = pool.unit[pool.best(1)[0]]
    for proposals, answer in _generations(start[free], spread[free], budget, seed):
        unit = np.tile(start, (len(proposals), 1))
        unit[:, free] = proposals
        answer[:] = pool.add(unit, "cma")


def _generations(
    start: NDArray[np.float64], spread: NDArray[np.float64], budget: int, seed: int
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Yield proposals and an array for their distances until the budget is used."""
    import cma

    population = min(POPULATION, max(4, budget))
    strategy = cma.CMAEvolutionStrategy(
        start,
        1.0,
        {
            "bounds": [0, 1],
            "CMA_stds": np.clip(spread, SMALLEST, LARGEST),
            "popsize": population,
            "seed": seed + 1,  # 0 would mean the time of day
            "verbose": -9,
        },
    )
    while budget > 0 and not strategy.stop():
        asked = strategy.ask()
        answer = np.full(len(asked), np.inf)
        n = min(budget, len(asked))
        yield np.array(asked[:n]), (part := np.full(n, np.inf))
        answer[:n] = part
        budget -= n
        if n == len(asked):
            strategy.tell(asked, np.minimum(answer, 1e6).tolist())
