"""Run every method on every target, render its answers with the real synth, cache the scores.

The results of each target are a file of their own, so an evaluation that was killed goes on where
it stopped, and one of more targets uses what is there.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm.auto import tqdm

from pyrosynth.audio.descriptors import UNITS, SoundSummary
from pyrosynth.audio.metrics import (
    METRICS,
    compare_audio,
    log_distance,
    mel_mse,
    mse_n,
    spectral_convergence,
)
from pyrosynth.errors import DataError, PyrosynthError, RunError, SynthError, unseen
from pyrosynth.evaluation.cache import Arrays, each, read_arrays, write_arrays
from pyrosynth.evaluation.searching import (
    Evolve,
    Search,
    Searching,
    Target,
    evolved,
    guessing,
    refined,
)
from pyrosynth.evaluation.targets import Targets
from pyrosynth.inference.posterior import Posterior
from pyrosynth.inference.side_by_side import Tick, side_by_side
from pyrosynth.synths.rendering import Renderer, RenderResult
from pyrosynth.training.identity import run_hash
from pyrosynth.training.torch_modes import plain_torch

Float = NDArray[np.float64]

MEAN_OF = 256  # draws behind the mean draw; only their mean is rendered
GUESS_RENDERS = 64  # sounds that can be rendered in the time of a guess
OF_FEATURES = ("lsd", "sc", "mel_mse")  # metrics that need no audio


@dataclass(eq=False)
class EvaluationRunner:
    """Renders answers to targets and scores them.

    A target for which a method raises an error of this package is left out of ``targets`` from
    then on; ``failures`` says why, by its number. What was returned before still has it: ask
    again, which costs nothing, as the results are cached.

    Args:
        targets: What is to be met.
        folder: Where results are cached.
        renderer: Renders answers; its transform is a ``SoundSummary``, with ``all_metrics`` the
            features.
        search_renderer: Renders for searches; its transform is the features.
        seed: Of everything random.
        progress: Whether to show progress bars.
        all_metrics: Whether to score answers by all of `pyrosynth.audio.metrics`, not to
            describe them; the targets then have their audio, and the renderer keeps audio.
    """

    targets: Targets
    folder: Path
    renderer: Renderer
    search_renderer: Renderer
    seed: int = 0
    progress: bool = True
    all_metrics: bool = False
    failures: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Settle what a relative folder means."""
        self.folder = self.folder.absolute()

    def render_draws(
        self, posterior: Posterior, draws: int, chosen: Callable[[Float], Sequence[int]]
    ) -> Arrays:
        """Render draws of the posterior of each target, their mean and, if known, the true preset.

        Args:
            posterior: The run.
            draws: Number of draws.
            chosen: Of the LSD of all sounds of a target, those to score by all metrics.

        Returns:
            ``v`` (n, draws, n_learnt) and ``log_q`` (n, draws); where the truth is known, it
            dequantised, ``v_true`` (n, n_learnt), and its ``log_q_true`` (n,), NaN where the
            variant has no exact density; and what ``render_answers`` returns, of the draws, then
            the mean, then the truth.
        """

        def answers(i: int) -> tuple[Float, Arrays]:
            x, seed = self.targets.x[i], self.targets.seed(i, self.seed)
            drawn = posterior.sample(x, draws, seed)
            rows = [drawn.values, posterior.mean(x, MEAN_OF, seed)[None]]
            arrays = {"v": drawn.v, "log_q": drawn.log_q}
            if self.targets.values is not None:
                rows.append(self.targets.values[[i]])
                arrays |= self._truth(posterior, i)
            return np.concatenate(rows), arrays

        settings = {"run": run_hash(posterior), "draws": draws, "averaged": MEAN_OF}
        n_sounds = draws + 1 + self.targets.n_truths
        return self._render(self._place("draws", **settings), "draws", answers, n_sounds, chosen)

    def render_answers(self, answers: Mapping[str, Float]) -> Arrays:
        """Render and score what methods answer.

        Args:
            answers: Native values, shape (n, n_params), of each method.

        Returns:
            ``lsd``, ``sc``, ``mel_mse``, where the truth is known ``mse_n``, and ``failed``
            (n, n_sounds); ``descriptors`` (n, n_sounds, n_descriptors), NaN for a failed sound;
            with ``all_metrics`` the other metrics instead, (n, n_sounds), NaN where not chosen.
        """
        values = np.stack(list(answers.values()), axis=1)
        place = self._place("answers", sha256=hashlib.sha256(values.tobytes()).hexdigest())
        return self._render(
            place, "answers", lambda i: (values[i], {}), len(answers), lambda lsd: range(len(lsd))
        )

    def cached(self, make: Callable[[], Mapping[str, Float]], **of: Any) -> Arrays:
        """Return the native values that methods answer, from disk if they were asked before.

        Args:
            make: Gives native values, shape (n, n_params), of each method.
            of: What the answers depend on beside the targets and the seed; JSON-ready.
        """
        ids = hashlib.sha256(self.targets.ids.tobytes()).hexdigest()
        file = self._place("baselines", ids=ids, **of) / "answers.npz"
        stored = read_arrays(file)
        if stored is None:
            stored = dict(make())
            write_arrays(file, stored)
        return stored

    def infer(self, posterior: Posterior, budget: int) -> Arrays:
        """Let ``Posterior.refine`` search for each target; see ``_search`` for the result."""
        place = self._place("infer", run=run_hash(posterior), budget=budget)
        return self._search(place, "infer", partial(refined, posterior), budget)

    def evolve(
        self,
        start: str,
        unit: Float,
        evolve: Evolve,
        budget: int,
        **of: Any,
    ) -> Arrays:
        """Let an evolution strategy search for each target; see ``_search`` for the result.

        Args:
            start: What it starts from, in words.
            unit: The same in unit values of the learnt parameters, shape (n, n_learnt).
            evolve: Searches, given pool, start, budget and seed; travels by name.
            budget: Number of sounds to render.
            of: What the result depends on beside the targets and the words; JSON-ready.
        """
        spaces = self.targets.full_space, self.targets.space
        place = self._place("cma", start=start, budget=budget, **of)
        search = partial(evolved, evolve, *spaces)
        return self._search(place, f"CMA-ES from {start}", search, budget, unit)

    def guess(self, posterior: Posterior) -> Float:
        """Let ``Posterior.guess`` answer each target, shape (n, n_params)."""
        targets = [
            Target(x, self.targets.seed(i, self.seed)) for i, x in enumerate(self.targets.x)
        ]
        values = np.empty((len(targets), len(self.targets.full_space)))
        opened, workers = partial(guessing, posterior), len(self.renderer.workers)
        for i, answer in side_by_side(opened, targets, GUESS_RENDERS, workers):
            if isinstance(answer, ChildProcessError):
                raise RunError(f"{self.targets.names[i]}: {answer}")
            values[i] = answer
        return values

    def _render(
        self,
        place: Path,
        label: str,
        answers: Callable[[int], tuple[Float, Arrays]],
        n_sounds: int,
        chosen: Callable[[Float], Sequence[int]],
    ) -> Arrays:
        """Render native values (n_sounds, n_params) for each target, and score them."""
        pending: dict[int, tuple[Float, Arrays]] = {}

        def chunks(missing: list[int]) -> Iterator[tuple[int, Float]]:
            for i in missing:
                try:
                    pending[i] = answers(i)
                except PyrosynthError as error:
                    self._fail(i, error)
                else:
                    yield i, pending[i][0]

        def work(missing: list[int], tick: Tick) -> Iterator[tuple[int, Arrays]]:
            for i, rendered in self.renderer.stream(chunks(missing)):
                values, more = pending.pop(i)
                scores = self._score_rendered(i, values, rendered)
                if self.all_metrics:
                    scores |= self._score_audio(i, rendered, list(chosen(scores["lsd"])))
                yield i, {**more, **scores}
                tick(n_sounds)

        return self._each(place, label, work, n_sounds)

    def _search(
        self, place: Path, label: str, search: Search, budget: int, unit: Float | None = None
    ) -> Arrays:
        """Search for every target, from unit values of each if they are given.

        Returns:
            Of the best answers ``lsd``, ``sc``, ``mel_mse``, ``mse_n`` where the truth is known,
            ``renders``, ``source`` (n,) and ``values`` (n, n_params); ``best_so_far``
            (n, budget), the smallest distance after each render, infinite before the first.
        """
        targets, renderer = self.targets, self.search_renderer
        opened = Searching(search, budget, renderer, targets.features)

        def work(missing: list[int], tick: Tick) -> Iterator[tuple[int, Arrays]]:
            wanted = [
                Target(targets.x[i], targets.seed(i, self.seed), None if unit is None else unit[i])
                for i in missing
            ]
            for j, answer in side_by_side(
                opened, wanted, budget, len(renderer.workers), lambda _, n: tick(n)
            ):
                i = missing[j]
                if isinstance(answer, Exception):
                    self._fail(i, answer)
                    continue
                scores = self._score(i, answer["values"][None], answer.pop("x")[None])
                yield i, {**answer, **{name: array[0] for name, array in scores.items()}}

        return self._each(place, label, work, budget)

    def _each(
        self,
        place: Path,
        label: str,
        work: Callable[[list[int], Tick], Iterator[tuple[int, Arrays]]],
        n_sounds: int,
    ) -> Arrays:
        """Do what is missing, with a progress bar; leave out the targets that failed."""
        files = [place / f"{number:06d}.npz" for number in self.targets.ids]

        def shown(missing: list[int]) -> Iterator[tuple[int, Arrays]]:
            done = (len(files) - len(missing)) * n_sounds
            with tqdm(
                total=len(files) * n_sounds, initial=done, desc=label, unit="sound", leave=False,
                disable=unseen(self.progress),
            ) as bar:  # fmt: skip
                yield from work(missing, bar.update)

        results = each(files, shown)
        self._leave_out()
        return results

    def leave_out_unplayable(self, rendered: Arrays) -> None:
        """Leave out the targets whose own presets the synth fails at now, as after an update.

        Args:
            rendered: What `render_draws` has returned of the targets.
        """
        failed = rendered["failed"][:, -1]
        if self.targets.n_truths and len(failed) == len(self.targets):
            for i in np.flatnonzero(failed).tolist():
                self._fail(i, SynthError("the synth fails when it plays the preset itself again"))
            self._leave_out()

    def _leave_out(self) -> None:
        """Leave out the targets that failed."""
        kept = [i for i, number in enumerate(self.targets.ids) if int(number) not in self.failures]
        if not kept:
            raise DataError(f"every sound failed; the last one: {[*self.failures.values()][-1]}")
        if len(kept) < len(self.targets):
            self.targets = self.targets.take(kept)

    def _fail(self, i: int, error: Exception) -> None:
        self.failures[int(self.targets.ids[i])] = f"{self.targets.names[i]}: {error}"

    def _place(self, kind: str, **settings: Any) -> Path:
        """Return the folder of results of these settings."""
        measured = list(METRICS if self.all_metrics else UNITS)
        settings |= {"of": self.targets.identity, "measured": measured, "seed": self.seed}
        text = json.dumps(settings, sort_keys=True)
        return self.folder / f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def _score_rendered(self, i: int, values: Float, rendered: RenderResult) -> Arrays:
        """Score rendered sounds by their features, and describe them."""
        assert rendered.features is not None
        spec, x = self.targets.features, rendered.features
        arrays: Arrays = {"failed": rendered.failed}
        if not self.all_metrics:
            x, descriptors = SoundSummary(spec).split(x)
            descriptors[rendered.failed] = np.nan
            arrays["descriptors"] = descriptors
        x[rendered.failed] = np.log(spec.floor)  # a failed sound counts as silence
        return {**self._score(i, values, x), **arrays}

    def _score(self, i: int, values: Float, x: NDArray[np.float32]) -> Arrays:
        """Compare answers and their features with a target."""
        targets, power = self.targets, self.targets.features.power
        target_mel, mel = power(targets.x[i]), power(x)
        scores: Arrays = {
            "lsd": log_distance(x, targets.x[i]),
            "sc": spectral_convergence(target_mel, mel),
            "mel_mse": mel_mse(target_mel, mel),
        }
        if targets.values is not None:
            scores["mse_n"] = mse_n(targets.unit(targets.values[[i]]), targets.unit(values))
        return scores

    def _score_audio(self, i: int, rendered: RenderResult, chosen: list[int]) -> Arrays:
        """Score chosen sounds by the metrics that need audio."""
        assert rendered.audio is not None
        assert self.targets.audio is not None
        suite = compare_audio(
            self.targets.audio[[i]], rendered.audio[chosen], self.targets.features
        )
        arrays = {}
        for name, scores in suite.items():
            if name not in OF_FEATURES:
                arrays[name] = np.full(len(rendered.audio), np.nan)
                arrays[name][chosen] = scores.numpy()
        return arrays

    @plain_torch()
    def _truth(self, posterior: Posterior, i: int) -> Arrays:
        """Dequantise the true preset as in training, and return its log-density."""
        assert self.targets.values is not None
        run, variant = posterior.run, posterior.variant
        rng = np.random.default_rng([self.seed, int(self.targets.ids[i])])
        v = run.space.encode(self.targets.learnt(self.targets.values[[i]]), rng)
        log_q = np.array(np.nan, np.float32)
        if variant.exact:
            x = run.standardise(torch.as_tensor(self.targets.x[i])[None])
            log_q = variant.log_prob_v(torch.as_tensor(v).to(x), x)[0].cpu().numpy()
        return {"v_true": v[0], "log_q_true": log_q}
