"""Sounds to be found again, put to the test: draws, rivals and searches, through the real synth.

The result of each sound is a file of its own, so a check that was killed goes on where it
stopped, and one of more sounds uses what is there.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from pyrosynth.audio.descriptors import UNITS, Heard
from pyrosynth.audio.metric_suite import METRICS, panel
from pyrosynth.audio.metrics import log_distance, mel_mse, mse_n, spectral_convergence
from pyrosynth.evaluation.baselines import cma_es
from pyrosynth.evaluation.cache import Arrays, each, read_arrays, write_arrays
from pyrosynth.evaluation.tables import picks
from pyrosynth.evaluation.targets import Targets
from pyrosynth.inference.posterior import Posterior
from pyrosynth.inference.search import Match, Pool
from pyrosynth.synths.rendering import Renderer, RenderResult
from pyrosynth.training.run import run_hash

Float = NDArray[np.float64]
Report = Callable[[int], Any]

AVERAGED = 256  # draws behind the mean draw; only their mean is rendered


@dataclass(frozen=True, eq=False)
class Trials:
    """The sounds of one check.

    Args:
        targets: What is to be found.
        folder: Where results are kept.
        listener: Renders what is only to be heard; its transform is a ``Heard``, with ``panel``
            the features.
        searcher: Renders for searches; its transform is the features.
        seed: Of everything random.
        progress: Whether to show progress bars.
        panel: Whether to measure answers by all of `pyrosynth.audio.metric_suite`, not to
        describe them; the
            targets then have their audio, and the listener keeps what it hears.
        report: Called with the number of sounds each time some were rendered.
    """

    targets: Targets
    folder: Path
    listener: Renderer
    searcher: Renderer
    seed: int = 0
    progress: bool = True
    panel: bool = False
    report: Report = lambda n: None

    def play(self, posterior: Posterior, draws: int) -> Arrays:
        """Render draws of each sound's posterior, their mean and, if known, the true preset.

        Args:
            posterior: The run.
            draws: Number of draws.

        Returns:
            ``v`` (n, draws, n_learnt) and ``log_q`` (n, draws); where the truth is known, it
            dequantised, ``v_true`` (n, n_learnt), and its ``log_q_true`` (n,), NaN where the
            variant has no exact density; and what ``rivals`` returns, of the draws, then the
            mean, then the truth.
        """

        def chunk(i: int) -> tuple[Float, Arrays]:
            x, seed = self.targets.x[i], self.targets.seed(i, self.seed)
            drawn = posterior.sample(x, draws, seed)
            rows = [drawn.values, posterior.mean(x, AVERAGED, seed)[None]]
            arrays = {"v": drawn.v, "log_q": drawn.log_q}
            if self.targets.values is not None:
                rows.append(self.targets.values[[i]])
                arrays |= self._truth(posterior, i)
            return np.concatenate(rows), arrays

        def chosen(lsd: Float) -> list[int]:
            return sorted({int(where[0]) for where in picks(lsd[None], draws).values()})

        settings = {"run": run_hash(posterior), "draws": draws, "averaged": AVERAGED}
        folder = self._folder("draws", **settings)
        return self._hear(folder, "draws", chunk, draws + 1 + self.targets.truths, chosen)

    def rivals(self, answers: Mapping[str, Float]) -> Arrays:
        """Render what other methods answer.

        Args:
            answers: Native values, shape (n, n_params), of each method.

        Returns:
            ``lsd``, ``sc``, ``mel_mse``, where the truth is known ``mse_n``, and ``failed``
            (n, n_sounds); ``descriptors`` (n, n_sounds, n_descriptors), NaN for a failed sound;
            with ``panel`` its other metrics instead, (n, n_sounds), NaN for draws that are no
            answer.
        """
        values = np.stack(list(answers.values()), axis=1)
        folder = self._folder("answers", sha256=hashlib.sha256(values.tobytes()).hexdigest())
        return self._hear(
            folder, "rivals", lambda i: (values[i], {}), len(answers),
            lambda lsd: list(range(len(lsd))),
        )  # fmt: skip

    def answers(self, make: Callable[[], dict[str, Float]], **of: Any) -> dict[str, Float]:
        """Return what other methods answer, from disk if they were asked before.

        Args:
            make: Gives native values, shape (n, n_params), of each method.
            of: What the answers depend on beside the sounds and the seed; JSON-ready.
        """
        ids = hashlib.sha256(self.targets.ids.tobytes()).hexdigest()
        file = self._folder("rivals", ids=ids, **of) / "answers.npz"
        stored = read_arrays(file)
        if stored is None:
            stored = dict(make())
            write_arrays(file, stored)
        return stored

    def infer(self, posterior: Posterior, budget: int) -> Arrays:
        """Let ``Posterior.refine`` search for each sound; see ``_search`` for the result."""

        def search(i: int, tick: Report) -> Match:
            x, seed = self.targets.x[i], self.targets.seed(i, self.seed)
            return posterior.refine(x, self.searcher, budget, seed, tick)

        folder = self._folder("infer", run=run_hash(posterior), budget=budget)
        return self._search(folder, "infer", search, budget)

    def evolve(self, start: str, unit: Float, sigma: float, budget: int, **of: Any) -> Arrays:
        """Let plain CMA-ES search for each sound; see ``_search`` for the result.

        Args:
            start: What it starts from, in words.
            unit: The same in unit values of the learnt parameters, shape (n, n_learnt).
            sigma: First step size in unit values.
            budget: Number of sounds to render.
            of: What the start depends on beside the sounds and the words; JSON-ready.
        """
        targets = self.targets

        def search(i: int, tick: Report) -> Match:
            pool = Pool(targets.x[i], targets.full_space, targets.space, self.searcher, tick)
            cma_es(pool, unit[i], sigma, budget, targets.seed(i, self.seed))
            return pool.match()

        folder = self._folder("cma", start=start, sigma=sigma, budget=budget, **of)
        return self._search(folder, f"CMA-ES from {start}", search, budget)

    def _hear(
        self,
        folder: Path,
        label: str,
        chunk: Callable[[int], tuple[Float, Arrays]],
        sounds: int,
        chosen: Callable[[Float], list[int]],
    ) -> Arrays:
        """Render native values (sounds, n_params) for each target, and score them."""
        pending: dict[int, tuple[Float, Arrays]] = {}

        def chunks(missing: list[int]) -> Iterator[tuple[int, Float]]:
            for i in missing:
                pending[i] = chunk(i)
                yield i, pending[i][0]

        def work(missing: list[int], tick: Report) -> Iterator[tuple[int, Arrays]]:
            for i, rendered in self.listener.stream(chunks(missing)):
                values, more = pending.pop(i)
                scores = self._heard(i, values, rendered)
                if self.panel:
                    scores |= self._measured(i, rendered, chosen(scores["lsd"]))
                yield i, {**more, **scores}
                tick(sounds)

        return self._each(folder, label, work, sounds)

    def _search(
        self,
        folder: Path,
        label: str,
        search: Callable[[int, Report], Match],
        budget: int,
    ) -> Arrays:
        """Search for every sound.

        Returns:
            Of the best answers ``lsd``, ``sc``, ``mel_mse``, ``mse_n`` where the truth is known,
            ``renders``, ``source`` (n,) and ``values`` (n, n_params); ``best_so_far``
            (n, budget), the smallest distance after each render, infinite before the first.
        """

        def work(missing: list[int], tick: Report) -> Iterator[tuple[int, Arrays]]:
            for i in missing:
                match = search(i, tick)
                renders, best = match.trace.T
                steps = np.searchsorted(renders, np.arange(1, budget + 1), side="right")
                found = self._scores(i, match.values[:1], match.x[:1])
                yield i, {
                    "values": match.values[0], "renders": np.array(match.n_renders),
                    "source": match.source[0],
                    "best_so_far": np.concatenate([[np.inf], best])[steps],
                    **{name: array[0] for name, array in found.items()},
                }  # fmt: skip

        return self._each(folder, label, work, budget)

    def _each(
        self,
        folder: Path,
        label: str,
        work: Callable[[list[int], Report], Iterator[tuple[int, Arrays]]],
        sounds: int,
    ) -> Arrays:
        """Do what is missing, with a progress bar."""
        files = [folder / f"{number:06d}.npz" for number in self.targets.ids]

        def shown(missing: list[int]) -> Iterator[tuple[int, Arrays]]:
            done = (len(files) - len(missing)) * sounds
            with tqdm(
                total=len(files) * sounds, initial=done, desc=label, unit="sound",
                disable=not self.progress,
            ) as bar:  # fmt: skip

                def tick(n: int) -> None:
                    bar.update(n)
                    self.report(n)

                yield from work(missing, tick)

        return each(files, shown)

    def _folder(self, kind: str, **settings: Any) -> Path:
        """Return the place of results of these settings."""
        measured = list(METRICS if self.panel else UNITS)
        settings |= {"of": self.targets.identity, "measured": measured, "seed": self.seed}
        text = json.dumps(settings, sort_keys=True)
        return self.folder / f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def _heard(self, i: int, values: Float, rendered: RenderResult) -> Arrays:
        """Score what was heard."""
        assert rendered.features is not None
        spec, x = self.targets.features, rendered.features
        arrays: Arrays = {"failed": rendered.failed}
        if not self.panel:
            x, descriptors = Heard(spec).split(x)
            descriptors[rendered.failed] = np.nan
            arrays["descriptors"] = descriptors
        x[rendered.failed] = np.log(spec.floor)  # nothing was heard
        return {**self._scores(i, values, x), **arrays}

    def _scores(self, i: int, values: Float, x: NDArray[np.float32]) -> Arrays:
        """Compare answers and their sounds with a target."""
        targets, power = self.targets, self.targets.features.power
        goal, mel = power(targets.x[i]), power(x)
        scores: Arrays = {
            "lsd": log_distance(x, targets.x[i]),
            "sc": spectral_convergence(goal, mel),
            "mel_mse": mel_mse(goal, mel),
        }
        if targets.values is not None:
            scores["mse_n"] = mse_n(targets.unit(targets.values[[i]]), targets.unit(values))
        return scores

    def _measured(self, i: int, rendered: RenderResult, chosen: list[int]) -> Arrays:
        """Measure chosen sounds by the rest of the panel."""
        assert rendered.audio is not None
        assert self.targets.audio is not None
        found = panel(self.targets.audio[[i]], rendered.audio[chosen], self.targets.features)
        rest = [name for name in found if name not in ("lsd", "sc", "mel_mse")]
        arrays = {name: np.full(len(rendered.audio), np.nan) for name in rest}
        for name in rest:
            arrays[name][chosen] = found[name].numpy()
        return arrays

    @torch.no_grad()
    def _truth(self, posterior: Posterior, i: int) -> Arrays:
        """Dequantise the true preset as in training, and score it."""
        assert self.targets.values is not None
        run, variant = posterior.run, posterior.variant
        rng = np.random.default_rng([self.seed, int(self.targets.ids[i])])
        v = run.space.encode(self.targets.learnt(self.targets.values[[i]]), rng)
        log_q = np.array(np.nan, np.float32)
        if variant.exact:
            x = run.standardise(torch.as_tensor(self.targets.x[i])[None])
            log_q = variant.log_prob_v(torch.as_tensor(v).to(x), x)[0].cpu().numpy()
        return {"v_true": v[0], "log_q_true": log_q}
