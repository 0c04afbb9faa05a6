"""Search for the preset behind a sound with the real synth: propose, render, keep what is nearest.

Every proposal is rendered and counted; what comes out is the best that was heard.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyrosynth.audio.features import DB
from pyrosynth.audio.metrics import log_distance
from pyrosynth.errors import InputError, SynthError, counted, require_type, shown
from pyrosynth.inference.answers import Match
from pyrosynth.inference.descent import descend
from pyrosynth.inference.pool import Pool
from pyrosynth.inference.surrogate import Surrogate
from pyrosynth.synths.rendering import Renderer

if TYPE_CHECKING:
    from pyrosynth.inference.posterior import Posterior

POPULATION = 12  # sounds per generation of the search, a little below CMA's own 4 + 3 ln n
FAILED = 1e6  # distance in dB that CMA-ES is told of a failed sound; it takes no infinity

ELITES = 6  # presets that a round of model steps starts from
TRUST = (0.3, 3.0, 30.0)  # cost in dB² of a squared unit step: bold and careful ones from each
PROPOSALS = ELITES * len(TRUST)  # of such a round
GUESS_TRUST = 100.0  # the same of a guess, of which nothing is rendered before the answer
STEPS, RATE = 20, 0.08  # of Adam to a guess, on the logits of the unit values
ROUNDS = 4  # of model steps, at least, however few renders are left
MOST_FREE = 64  # controls of which few renders teach enough for small steps
CHANGED, MUTATION = 16, 0.15  # controls that differ from a parent, on average; step in unit values
OFFERED = 8  # children of a generation for each that is rendered, where a model can choose
FRUITLESS = 20  # generations without a new preset after which nothing more is tried
SMALLEST, LARGEST = 0.01, 0.3  # bounds of the first steps of the evolution, in unit values
NEIGHBOURS = 16  # known presets that a guess starts from
CONSIDERED = 512  # draws that the model ranks by its own prediction before any is rendered
CONSIDERED_FIRST = 64  # of them where only the best ones are rendered, to see how near they come
PART = 16  # of the renders of a search are guesses, and as many are known presets
PLAYED = 32  # part of the renders that is kept for answers at the note they are played at
PREDICTED = 128  # sounds predicted at once, which hardly needs memory


def tell(pool: Pool, surrogate: Surrogate) -> None:
    """Tell a model of the synth of all that was rendered since it was last told."""
    new = np.arange(surrogate.n_told, len(pool))
    new = new[np.isfinite(pool.lsd[new])]
    new = new[np.argsort(pool.lsd[new], kind="stable")]  # whatever order they were rendered in
    if len(new):
        surrogate.hear(pool.unit[new], pool.x[new])
    surrogate.n_told = len(pool)


def move_best(pool: Pool, surrogate: Surrogate, n: int = ELITES) -> int:
    """Propose steps from the nearest presets, bold and careful ones from each.

    Args:
        pool: Where proposals go.
        surrogate: A model of the synth; it is told of all that was rendered since.
        n: Number of presets to move.

    Returns:
        Number of sounds that were rendered.
    """
    before = len(pool)
    tell(pool, surrogate)
    best = pool.answers()[0][:n]  # among them the answer, however many are nearer
    best = best[np.isfinite(pool.lsd[best])]
    if not len(best):
        return 0
    there = surrogate.steps(pool.target, pool.unit[best], pool.x[best], TRUST, pool.fixed)
    pool.add(np.concatenate(there), "model")
    return len(pool) - before


def evolve(
    pool: Pool,
    start: NDArray[np.float64],
    spread: NDArray[np.float64],
    budget: int,
    seed: int,
    population: int = POPULATION,
) -> None:
    """Search around a preset by CMA-ES.

    Args:
        pool: Where proposals go.
        start: Unit values of the learnt parameters, shape (n_learnt,).
        spread: First standard deviation of each in unit values, shape (n_learnt,); a parameter
            with none keeps its value.
        budget: Number of sounds to render at most; fewer if the search converges.
        seed: Of the proposals.
        population: Sounds per generation.

    References:
        Hansen and Ostermeier, 2001, "Completely derandomized self-adaptation in evolution
        strategies"; package ``cma``.
    """
    free = np.flatnonzero(spread > 0)
    if budget < 1 or not len(free):
        return
    rng = np.random.default_rng(seed)
    if budget < population:  # too few to learn from: what its first generation would be
        pool.add(start + spread * rng.standard_normal((budget, len(start))), "cma")
        return
    import cma

    searched = free if len(free) > 1 else np.repeat(free, 2)  # it is not defined on a line
    options = {
        "bounds": [0, 1], "popsize": population, "CMA_stds": spread[searched], "verbose": -9,
        # Its own seed would be numpy's global one.
        "seed": np.nan, "randn": lambda *size: rng.standard_normal(size),
    }  # fmt: skip
    strategy = cma.CMAEvolutionStrategy(np.clip(start[searched], 0.0, 1.0), 1.0, options)
    end = len(pool) + budget
    while (left := end - len(pool)) > 0 and not strategy.stop():
        asked = strategy.ask()
        unit = np.tile(start, (min(left, len(asked)), 1))
        unit[:, searched] = asked[: len(unit)]
        answer = pool.add(unit, "cma")
        if len(answer) == len(asked):
            strategy.tell(asked, np.minimum(answer, FAILED).tolist())


def recombine(pool: Pool, budget: int, seed: int, surrogate: Surrogate | None = None) -> None:
    """Search around the nearest presets by a genetic algorithm, which moves every kind of control.

    A child has most controls of one of the nearest presets. Some have the setting of another of
    them (uniform crossover), or are moved by a random step where small steps exist (mutation).
    Of more children than are rendered, a model of the synth chooses those that it expects to
    sound nearest (pre-selection).

    Args:
        pool: Where proposals go; holds at least one preset.
        budget: Number of sounds to render; fewer if there are no more presets.
        seed: Of the proposals.
        surrogate: A model of the synth; it is told of all that was rendered since.

    References:
        Syswerda, 1989, "Uniform crossover in genetic algorithms"; Jin, 2011, "Surrogate-assisted
        evolutionary computation: recent advances and future challenges".
    """
    rng, end, n_free = np.random.default_rng(seed), len(pool) + budget, len(pool.space)
    fruitless = 0
    while (left := end - len(pool)) > 0 and fruitless < FRUITLESS:
        n_rendered = min(left, POPULATION)
        n = n_rendered * (OFFERED if surrogate else 1)
        best = pool.best(POPULATION)
        parents = best[np.minimum(rng.geometric(0.5, n) - 1, len(best) - 1)]
        parent, other = pool.unit[parents], pool.unit[rng.choice(best, n)]
        if fruitless:  # the nearest hold nothing new: any setting may come in
            other = rng.random(parent.shape)
        stepped = parent + MUTATION * rng.standard_normal(parent.shape)
        crossed = (rng.random(parent.shape) < 0.5) | ~pool.space.gradual
        changed = rng.random(parent.shape) < rng.geometric(1 / CHANGED, (n, 1)) / n_free
        changed[np.arange(n), rng.integers(n_free, size=n)] = True
        children = np.where(changed, np.where(crossed, other, stepped), parent)
        if surrogate:
            children = promising(pool, surrogate, children, parents, n_rendered)
        pool.add(children, "genetic")
        fruitless = fruitless + 1 if len(pool) == end - left else 0


def promising(
    pool: Pool,
    surrogate: Surrogate,
    children: NDArray[np.float64],
    parents: NDArray[np.int64],
    n: int,
) -> NDArray[np.float64]:
    """Return the n children not rendered yet that a model of the synth expects to sound nearest.

    Args:
        pool: Whose target they should be near to.
        surrogate: The model; it is told of all that was rendered since.
        children: Unit values of the learnt parameters, shape (n_children, n_learnt).
        parents: Positions in the pool of the presets beside them, shape (n_children,).
        n: Number of those to return, if there are so many.
    """
    tell(pool, surrogate)
    settled = pool.settled(children)
    fresh = pool.fresh(settled)
    unit, beside = settled[fresh], parents[fresh]
    if not len(unit):
        return unit
    expected = surrogate.expected(unit, pool.unit[beside], pool.x[beside])
    return unit[np.argsort(log_distance(expected, pool.target), kind="stable")[:n]]


def search(
    posterior: "Posterior",
    target: NDArray[np.float32],
    renderer: Renderer,
    budget: int,
    seed: int,
    report: Callable[[int], object],
) -> Match:
    """Find the preset behind a sound, see `pyrosynth.inference.posterior.Posterior.refine`."""
    require_type("renderer", renderer, Renderer, "posterior.renderer(); a budget goes by its name")
    require_report(report)
    pool = Pool(target, posterior.run.full_space, posterior.run.space, renderer, report)
    going = Search(posterior, pool, seed)
    going.run(budget)
    return going.answer()


def require_report(report: Any) -> None:
    """Make sure that what is told of progress is a function.

    Raises:
        InputError: It is something else.
    """
    if not callable(report):
        raise InputError(f"report is {shown(report)}; give a function of the number of sounds")


class Search:
    """A search for the preset of one sound, which may begin with few proposals and go on.

    What it begins with is what it would render anyway, so it ends at the same presets; draws that
    it was tried out with come in addition.

    Args:
        posterior: The run.
        pool: Where its proposals are rendered.
        seed: Of everything random.
    """

    def __init__(self, posterior: "Posterior", pool: Pool, seed: int = 0) -> None:
        self.posterior, self.pool, self.seed = posterior, pool, seed
        self._guesses: tuple[int, NDArray[np.float64]] | None = None
        self._draws: NDArray[np.float64] | None = None
        self._surrogate = Surrogate(posterior.predict_unit, posterior.device)

    def begin(self, n: int, guess: bool = True) -> None:
        """Render the n nearest known presets and, if asked, the n best guesses.

        Guesses take as long as ten renders, draws longer.
        """
        if guess:
            self._guess(n)
        self._recall(n)

    def try_out(self, n_draws: int) -> None:
        """Render the nearest known preset and the best of a few draws: a tenth of a second."""
        self._recall(1)
        draws = ranked(self.posterior, self.pool.target, CONSIDERED_FIRST, self.seed)
        self.pool.add(self._units(draws[:n_draws]), "posterior")

    def run(self, budget: int) -> None:
        """Go on until as many sounds are rendered as the budget says."""
        pool = self.pool
        n_played = 0 if pool.play is None else budget // PLAYED
        if len(pool) < budget:
            self._guess(max(1, budget // PART))
        self._draw(min(max(2, budget * 3 // 16), budget - len(pool)))
        self._recall(budget // PART)
        small_steps = 2 <= np.count_nonzero(~pool.fixed) <= MOST_FREE
        if small_steps:
            self._step(budget, n_played)
            # The best that was rendered, not the posterior, says how far there is still to go.
            spread = np.clip(pool.unit[pool.best(PROPOSALS)].std(axis=0), SMALLEST, LARGEST)
            spread[pool.fixed] = 0.0
            left = budget - n_played - len(pool)
            evolve(pool, pool.unit[pool.best(1)[0]], spread, left, self.seed)
        else:
            guide = self._surrogate if self.posterior.predicts else None
            recombine(pool, budget - n_played - len(pool), self.seed, guide)
        pool.play_answer(budget - len(pool))

    def _step(self, end: int, kept: int) -> None:
        """Follow the model until so many renders are kept of the end, or nothing new comes."""
        if not self.posterior.predicts:
            return
        n = min(ELITES, max(1, (end - len(self.pool)) // (ROUNDS * len(TRUST))))
        while (left := (end - kept - len(self.pool)) // len(TRUST)) > 0:
            if not move_best(self.pool, self._surrogate, min(n, left)):
                break

    def match(self) -> Match:
        """Return all presets, the answer first; see `pyrosynth.inference.pool.Pool.answers`."""
        return replace(self.pool.match(), posterior=self.posterior)

    def answer(self) -> Match:
        """Return what `match` does, where there is an answer.

        Raises:
            SynthError: No preset that was tried gave a sound.
        """
        match = self.match()
        if not np.isfinite(match.lsd).any():
            tried = counted(self.pool.n_renders, "preset")
            raise SynthError(
                f"'{self.posterior.synth.name}' gave no sound for any of {tried}, so there is no "
                "answer; play one of its presets to see why"
            )
        return match

    def _guess(self, n: int) -> None:
        if self._guesses is None or self._guesses[0] < n:
            considered = max(n, NEIGHBOURS)
            self._guesses = considered, guesses(self.posterior, self.pool.target, considered)
        self.pool.add(self._guesses[1][:n], "model")

    def _draw(self, n: int) -> None:
        if n < 1:
            return
        if self._draws is None or len(self._draws) < n:
            n_drawn = max(n, CONSIDERED)
            self._draws = ranked(self.posterior, self.pool.target, n_drawn, self.seed)
        self.pool.add(self._units(self._draws[:n]), "posterior")

    def _recall(self, n: int) -> None:
        bank = self.posterior.bank
        if bank and n:
            nearest = bank.nearest(self.pool.target[None], min(n, len(bank)))[0][0]
            self.pool.add(self._units(bank.values[nearest]), "bank")

    def _units(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.posterior.run.space.to_unit(self.posterior.learnt(values))


def guesses(posterior: "Posterior", x: NDArray[np.float32], n: int) -> NDArray[np.float64]:
    """Move known presets of like sound towards a sound, without rendering any.

    The prediction is corrected at each of them by how it is known to sound (space mapping). A
    single step of least squares, as in the search, leads less far than many small steps: to
    4.5 dB instead of 4.3 on 80 validation presets of amsynth.

    Args:
        posterior: The run; without a bank, or a prediction of sounds, there are no guesses.
        x: Features of the sound, shape (n_mels, n_frames).
        n: Number of guesses.

    Returns:
        Unit values of the learnt parameters, those expected nearest first, shape (n, n_learnt).
    """
    space, bank = posterior.run.space, posterior.bank
    if bank is None or not posterior.predicts:
        return np.empty((0, len(space)))
    nearest = bank.nearest(x[None], min(max(n, NEIGHBOURS), len(bank)))[0][0]
    unit = space.to_unit(posterior.learnt(bank.values[nearest]))
    device = posterior.device
    here = torch.tensor(unit, dtype=torch.float32, device=device)
    fixed = torch.tensor(~space.gradual, device=device)
    with torch.no_grad():
        error = torch.tensor(bank.sounds(nearest), device=device) - posterior.predict_unit(here)
    corrected = torch.tensor(x, device=device) - error

    def squares(there: Tensor) -> Tensor:
        distance = DB**2 * (posterior.predict_unit(there) - corrected).square().mean((-1, -2))
        return distance + GUESS_TRUST * (there - here).square().sum(-1)

    there = descend(squares, here, fixed, STEPS, RATE)
    with torch.no_grad():
        order = torch.argsort(squares(there), stable=True)[:n]
    return there[order].double().cpu().numpy()


def ranked(
    posterior: "Posterior", x: NDArray[np.float32], n: int, seed: int
) -> NDArray[np.float64]:
    """Draw presets, those first whose predicted sound is nearest to a sound.

    Returns:
        Native values of all parameters, shape (n, n_params).
    """
    drawn = posterior.draw(x, n, seed)
    if not posterior.predicts:
        return drawn
    batches = np.array_split(drawn, -(-n // PREDICTED))
    away = [log_distance(posterior.predict(values), x) for values in batches]
    return drawn[np.argsort(np.concatenate(away), kind="stable")]
