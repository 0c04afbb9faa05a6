"""A live search: candidates at once, then better ones until it is stopped.

The proposals and the distances are those of `pyrosynth.inference.search`, so it ends where
``infer`` ends; everything that is shown was rendered and measured.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyrosynth.audio.closeness import closeness
from pyrosynth.audio.metrics import log_distance
from pyrosynth.errors import InputError, PyrosynthError, one_line
from pyrosynth.explore.places import Float
from pyrosynth.inference.hearing import Hearing
from pyrosynth.inference.search import Pool, guesses, propose
from pyrosynth.live.page_state import PageState
from pyrosynth.training.svi import plain_torch

SHOWN = 6  # candidates
FIRST_EACH = 2  # of the first candidates that each way of finding them gives
APART_DB = 0.5  # between two candidates that are shown
PATIENCE_SECONDS = 10.0  # for the search before this one to end
CLOUD = 16  # draws of the posterior that are shown on the plane
HALO = (0.1, 0.9)  # quantiles of the draws, for each parameter

Tell = Callable[[dict[str, Any]], bool]


class Stopped(Exception):
    """Nobody listens any longer."""


class GrowingSearch:
    """A search of the page.

    Args:
        page: The page of the run.
        tell: Called with what is new; returns whether somebody still listens.
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
            budget: Number of sounds to render after the first candidates.
            seed: Of everything random.
            locked: Native values, by name, that parameters keep.
            start: A preset to go on from, native values of all parameters.

        Raises:
            InputError: Another search is still under way.
            SynthError: The synth cannot play.
        """
        live = self.live
        if not live.searching.acquire(timeout=PATIENCE_SECONDS):
            raise InputError("another search is under way; stop it, then drop the sound again")
        try:
            pools = [self._opened(hearing, seed, locked or {}, start) for hearing in hearings]
            hearing, pool = min(
                zip(hearings, pools, strict=True), key=lambda pair: float(pair[1].lsd.min())
            )
            self._say(self._target(hearing, pool))
            pool.on_render = lambda n: self._say(self._candidates(pool))
            pool.on_render(0)
            self._say(self._told_by_posterior(pool, seed))
            propose(live.posterior, pool, budget, seed)
            self._say({"done": True})
        except Stopped:
            return
        finally:
            live.searching.release()

    def _say(self, news: dict[str, Any]) -> None:
        if not self._tell(news):
            raise Stopped

    def _opened(
        self, hearing: Hearing, seed: int, locked: Mapping[str, float], start: Float | None
    ) -> Pool:
        """Render the first candidates: guesses, the nearest known presets, draws."""
        live, posterior = self.live, self.live.posterior
        run = posterior.run
        x = posterior.features(hearing.audio)
        unit = run.space.to_unit
        held = unit(posterior.learnt(live.held(run.full_space.defaults, locked)[None]))[0]
        kept = [i for i, name in enumerate(run.space.names) if name in locked]
        pool = Pool(
            x, run.full_space, run.space, live.search_renderer,
            locked={i: float(held[i]) for i in kept},
        )  # fmt: skip
        if start is not None:
            pool.add(unit(posterior.learnt(start[None])), "model")
        nearest = live.space.bank.nearest(x[None], min(FIRST_EACH, len(live.space)))[0][0]
        z, values = live.draws(x, seed)
        order = np.argsort(log_distance(live.space.expected(z), x), kind="stable")[:FIRST_EACH]
        pool.add(guesses(posterior, x, FIRST_EACH), "model")
        pool.add(unit(posterior.learnt(live.space.bank.values[nearest])), "bank")
        pool.add(unit(posterior.learnt(values[order])), "posterior")
        return pool

    def _target(self, hearing: Hearing, pool: Pool) -> dict[str, Any]:
        return {
            "target": self.page.sound(hearing.audio, pool.target),
            "play": hearing.play,
            "says": hearing.says,
        }

    def _candidates(self, pool: Pool) -> dict[str, Any]:
        """Tell the nearest presets so far, and how many were rendered."""
        chosen = []
        for i in shown(pool):
            if i not in self._points:
                values = pool.values(pool.unit[i : i + 1])[0]
                place = self.live.place_of_sound(values, pool.x[i])
                self._points[i] = {
                    **self.page.told(place), "lsd_db": float(pool.lsd[i]),
                    "closeness": closeness(float(pool.lsd[i])), "source": str(pool.source[i]),
                }  # fmt: skip
            chosen.append(self._points[i])
        return {"candidates": chosen, "renders": len(pool)}

    def _told_by_posterior(self, pool: Pool, seed: int) -> dict[str, Any]:
        """Tell where the draws are on the plane, and the interval of each learnt parameter."""
        z, values = self.live.draws(pool.target, seed)
        run = self.live.posterior.run
        ends = np.quantile(run.space.to_unit(self.live.posterior.learnt(values)), HALO, axis=0)
        return {
            "cloud": [self.page.place(one) for one in z[:CLOUD]],
            "halo": dict(zip(run.space.names, ends.T.tolist(), strict=True)),
        }


def shown(pool: Pool) -> list[int]:
    """Choose the candidates to show: the nearest first, each heard to differ from the others."""
    chosen: list[int] = []
    for i in pool.best(len(pool)):
        if not np.isfinite(pool.lsd[i]) or len(chosen) == SHOWN:
            break
        others: NDArray[np.float64] = log_distance(pool.x[chosen], pool.x[i][None])
        if not chosen or others.min() >= APART_DB:
            chosen.append(int(i))
    return chosen


async def in_thread(work: Callable[[Tell], object]) -> AsyncGenerator[dict[str, Any], None]:
    """Do something in a thread, and yield what it tells; what goes wrong is told as ``error``."""
    loop, listening = asyncio.get_running_loop(), True
    told: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

    def tell(news: dict[str, Any]) -> bool:
        if listening:
            loop.call_soon_threadsafe(told.put_nowait, news)
        return listening

    def run() -> None:
        try:
            work(tell)
        except PyrosynthError as error:
            tell({"error": one_line(str(error))})
        finally:
            if listening:
                loop.call_soon_threadsafe(told.put_nowait, None)

    running = loop.run_in_executor(None, run)
    try:
        while (news := await told.get()) is not None:
            yield news
        await running
    finally:
        listening = False
