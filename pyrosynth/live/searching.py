"""A live search: candidates at once, then better ones until it is stopped.

It is the search of ``infer``, told as it goes on, and ends at the same preset; everything that is
shown was rendered and measured.
"""

import time
from collections.abc import Mapping, Sequence
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyrosynth.audio.closeness import closeness, short_advice
from pyrosynth.audio.metrics import log_distance
from pyrosynth.errors import InputError
from pyrosynth.explore.places import Float
from pyrosynth.inference.hearing import Hearing, choose, open_search
from pyrosynth.inference.hearing_words import hearing_advice
from pyrosynth.inference.pool import IN_TUNE, Pool
from pyrosynth.inference.search import PART, Search
from pyrosynth.live.background import Tell
from pyrosynth.live.page_state import PageState
from pyrosynth.synths.worker_process import BATCH_SIZE
from pyrosynth.training.torch_modes import plain_torch

SHOWN = 6  # candidates
FIRST_EACH = 3  # guesses and known presets that are rendered first; more if some sound alike
APART_DB = 0.5  # between two candidates that are shown
PATIENCE_SECONDS = 60.0  # for the search before this one to end
LOOK_SECONDS = 0.25  # between two looks whether its turn has come
CLOUD = 16  # draws of the posterior that are shown on the plane
HALO = (0.1, 0.9)  # quantiles of the draws, for each parameter


class Stopped(Exception):
    """Nobody listens any longer."""


class GrowingSearch:
    """A search of the page.

    Args:
        page: The page of the run.
        tell: Called with what is new, which may be nothing; returns whether somebody listens.
    """

    def __init__(self, page: PageState, tell: Tell) -> None:
        self.page, self.live, self._tell = page, page.live, tell
        self._points: dict[int, dict[str, Any]] = {}

    @plain_torch(gradients=True)
    def run(
        self,
        hearings: Sequence[Hearing],
        *,
        budget: int,
        seed: int = 0,
        locked: Mapping[str, float] | None = None,
        start: Float | None = None,
    ) -> None:
        """Search until the budget is spent or nobody listens.

        Args:
            hearings: The ways to take the sound; the one that is met better is kept.
            budget: Number of sounds to render.
            seed: Of everything random.
            locked: Native values, by name, that parameters keep.
            start: A preset to go on from, native values of all parameters.

        Raises:
            InputError: Another search is still under way.
            SynthError: The synth cannot play.
        """
        live = self.live
        turn = live.searching.ask()
        try:
            self._wait_for(turn)
            searches = [self._opened(way, seed, locked or {}, start) for way in hearings]
            chosen = choose(searches, budget)
            way, search, pool = hearings[chosen], searches[chosen], searches[chosen].pool
            self._say(self._target(way, pool))
            spent = sum(len(other.pool) for other in searches if other is not search)
            begin(search, budget - spent, guess=len(searches) == 1)
            pool.on_render = lambda n: self._say(self._candidates(pool))
            pool.on_render(0)
            self._say(self._told_by_posterior(pool, seed))
            search.run(budget - spent)
            best = pool.answers()[0][0]
            off = pool.off[best] if np.isfinite(pool.off[best]) else None
            short = short_advice(float(pool.lsd[best]), self._audible(pool))
            told = filter(None, (hearing_advice(way, off), short))
            self._say({"done": True, "says": "; ".join(told)})
        except Stopped:
            return
        finally:
            live.searching.leave(turn)

    def _wait_for(self, turn: Event) -> None:
        patience, news = time.monotonic() + PATIENCE_SECONDS, {"waits": True}
        while not turn.wait(LOOK_SECONDS):
            self._say(news)
            news = {}
            if time.monotonic() > patience:
                raise InputError(
                    "another search or path is under way; stop it, then drop the sound again"
                )

    def _say(self, news: dict[str, Any]) -> None:
        if not self._tell(news):
            raise Stopped

    def _opened(
        self, way: Hearing, seed: int, locked: Mapping[str, float], start: Float | None
    ) -> Search:
        """Open a search whose presets keep what is locked, at the preset to go on from."""
        live, posterior = self.live, self.live.posterior
        run = posterior.run
        unit = run.space.to_unit
        held = unit(posterior.learnt(live.held(run.full_space.defaults, locked)[None]))[0]
        kept = {i: float(held[i]) for i, name in enumerate(run.space.names) if name in locked}
        search = open_search(posterior, way, live.search_renderer, seed, locked=kept)
        search.pool.at_once = BATCH_SIZE
        search.pool.on_render = lambda n: self._say({})
        if start is not None:
            search.pool.add(unit(posterior.learnt(start[None])), "model")
        return search

    def _target(self, hearing: Hearing, pool: Pool) -> dict[str, Any]:
        return {
            "target": self.page.sound(hearing.audio, pool.target),
            "play": hearing.play,
            "says": hearing.says,
        }

    def _audible(self, pool: Pool) -> float:
        """Return the share of the spectrogram in which the target sounds."""
        return float(self.live.posterior.run.features.audible(pool.target))

    def _candidates(self, pool: Pool) -> dict[str, Any]:
        """Tell the best presets so far, and how many were rendered."""
        chosen = []
        for i in shown(pool):
            if i not in self._points:
                values = pool.values(pool.unit[i : i + 1])[0]
                place = self.live.place_of_sound(values, pool.x[i])
                self._points[i] = {
                    **self.page.told(place), "lsd_db": float(pool.lsd[i]),
                    "closeness": closeness(float(pool.lsd[i]), self._audible(pool)),
                    "source": str(pool.source[i]),
                }  # fmt: skip
            # The answer is heard once more at the end, at the note that it is played at.
            chosen.append({**self._points[i], "tuning": tuning(float(pool.off[i]))})
        return {"candidates": chosen, "renders": pool.n_renders}

    def _told_by_posterior(self, pool: Pool, seed: int) -> dict[str, Any]:
        """Tell where the draws are on the plane, and the interval of each learnt parameter."""
        z, values = self.live.draws(pool.target, seed)
        run = self.live.posterior.run
        ends = np.quantile(run.space.to_unit(self.live.posterior.learnt(values)), HALO, axis=0)
        return {
            "cloud": [self.page.place(one) for one in z[:CLOUD]],
            "halo": dict(zip(run.space.names, ends.T.tolist(), strict=True)),
        }


def begin(search: Search, budget: int, guess: bool = True) -> None:
    """Render what a search begins with, until there are enough candidates to show.

    Args:
        search: The search; one of several has been tried out, which took time, and has draws.
        budget: Sounds that it may render.
        guess: Whether guesses are among them.
    """
    for n in range(FIRST_EACH, max(FIRST_EACH, budget // PART) + 1):
        search.begin(n, guess)
        if len(shown(search.pool)) == SHOWN:
            break


def shown(pool: Pool) -> list[int]:
    """Choose the candidates to show: the answer first, each heard to differ from the others."""
    chosen: list[int] = []
    for i in pool.answers()[0]:
        if not np.isfinite(pool.lsd[i]) or len(chosen) == SHOWN:
            break
        others: NDArray[np.float64] = log_distance(pool.x[chosen], pool.x[i][None])
        if not chosen or others.min() >= APART_DB:
            chosen.append(int(i))
    return chosen


def tuning(off: float) -> str:
    """Say how far a preset is from the pitch that is wanted, in semitones; NaN is not known."""
    if np.isnan(off):
        return ""
    if abs(off) <= IN_TUNE:
        return "in tune"
    return f"{100 * abs(off):.0f} cents {'sharp' if off > 0 else 'flat'}"
