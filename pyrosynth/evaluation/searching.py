"""Search for the presets of many targets side by side, each with workers of its own."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pyrosynth.audio.features import FeatureSpec
from pyrosynth.audio.note import Note
from pyrosynth.errors import PyrosynthError
from pyrosynth.inference.answers import Match
from pyrosynth.inference.pool import Pool
from pyrosynth.inference.posterior import Posterior
from pyrosynth.inference.side_by_side import Tick
from pyrosynth.synths import from_spec
from pyrosynth.synths.params import ParamSpace
from pyrosynth.synths.rendering import Renderer

Float = NDArray[np.float64]
Arrays = dict[str, NDArray[Any]]


class Target(NamedTuple):
    """What a search is for.

    Attributes:
        x: Features of the sound, shape (n_mels, n_frames).
        seed: Of the search.
        start: Unit values of the learnt parameters that it starts from, shape (n_learnt,), of a
            search that is given some.
    """

    x: NDArray[np.float32]
    seed: int
    start: Float | None = None


Search = Callable[[Target, Renderer, int, Tick], Match]
Evolve = Callable[[Pool, Float, int, int], None]
Work = Callable[[Target, Tick], Arrays | PyrosynthError]


@dataclass(frozen=True)
class Searching:
    """How to search for targets, in this process or, pickled, in another one.

    Args:
        search: Given target, renderer, budget and tick, searches; it travels by name.
        budget: Number of sounds to render for each.
        renderer: Renders in this process; others open one like it.
        features: What it transforms sounds into.
    """

    search: Search
    budget: int
    renderer: Renderer
    features: FeatureSpec

    def __call__(self, workers: int) -> AbstractContextManager[Work]:
        """Return a context of what searches for one target."""
        return nullcontext(partial(_found, self.search, self.budget, self.renderer))

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave the renderer's processes here."""
        one = self.renderer
        settings = one.synth.spec(), one.note, one.sample_rate, self.features
        return partial, (_searching, self.search, self.budget, *settings)


@contextmanager
def _searching(
    search: Search,
    budget: int,
    synth: dict[str, Any],
    note: Note,
    sample_rate: int,
    features: FeatureSpec,
    workers: int,
) -> Iterator[Work]:
    """Open a renderer, and yield what searches for one target with it."""
    with Renderer(
        from_spec(synth), note, sample_rate, workers=workers, transform=features,
        keep_audio=False,
    ) as renderer:  # fmt: skip
        yield partial(_found, search, budget, renderer)


def _found(
    search: Search, budget: int, renderer: Renderer, target: Target, tick: Tick
) -> Arrays | PyrosynthError:
    """Search for one target; return what is kept of it, or why it failed.

    Returns:
        ``values`` (n_params,), its features ``x``, ``renders``, ``source``, and ``best_so_far``
        (budget,), the smallest distance after each render, infinite before the first.
    """
    try:
        match = search(target, renderer, budget, tick)
    except PyrosynthError as error:
        return error
    renders, best = match.trace.T
    steps = np.searchsorted(renders, np.arange(1, budget + 1), side="right")
    return {
        "values": match.values[0], "x": match.x[0], "renders": np.array(match.n_renders),
        "source": match.source[0], "best_so_far": np.concatenate([[np.inf], best])[steps],
    }  # fmt: skip


def refined(
    posterior: Posterior, target: Target, renderer: Renderer, budget: int, tick: Tick
) -> Match:
    """Let a run search for a target."""
    return posterior.refine(target.x, renderer, budget, target.seed, tick)


def evolved(
    evolve: Evolve,
    full_space: ParamSpace,
    space: ParamSpace,
    target: Target,
    renderer: Renderer,
    budget: int,
    tick: Tick,
) -> Match:
    """Let an evolution strategy search for a target."""
    assert target.start is not None
    pool = Pool(target.x, full_space, space, renderer, tick)
    evolve(pool, target.start, budget, target.seed)
    return pool.match()


@contextmanager
def guessing(posterior: Posterior, workers: int) -> Iterator[Callable[[Target, Tick], Float]]:
    """Yield what guesses the preset of a target, shape (n_params,), without rendering."""
    yield lambda target, tick: posterior.guess(target.x, target.seed)
