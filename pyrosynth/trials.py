"""Held-out presets put to the test: draws, rivals and searches, all through the real synth.

The result of each preset is a file of its own, so a check that was killed goes on where it
stopped, and one of more presets uses what is there.
"""

import hashlib
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from pyrosynth.baselines import cma_es
from pyrosynth.dataset import Dataset, Rows
from pyrosynth.descriptors import UNITS, Heard
from pyrosynth.fitting import contract_hash
from pyrosynth.metrics import log_distance, mse_n, spectral_convergence
from pyrosynth.posterior import Posterior
from pyrosynth.rendering import Renderer
from pyrosynth.search import Match, Pool
from pyrosynth.store import writing

Arrays = dict[str, NDArray[Any]]
Float = NDArray[np.float64]

CMA_STARTS = {"retrieval": 0.1, "scratch": 0.3}  # first step size from each start


@dataclass(frozen=True)
class Trials:
    """The held-out presets of one check.

    Args:
        posterior: What is checked.
        dataset: Where the presets are from.
        rows: Their rows, shape (n,).
        folder: Where results are kept.
        listener: Renders what is only to be heard; its transform is a ``Heard``.
        searcher: Renders for searches; its transform is the run's features.
        seed: Of everything random.
        progress: Whether to show progress bars.
    """

    posterior: Posterior
    dataset: Dataset
    rows: Rows
    folder: Path
    listener: Renderer
    searcher: Renderer
    seed: int = 0
    progress: bool = True

    def play(self, draws: int) -> Arrays:
        """Render draws of each preset's posterior, and the preset itself.

        Args:
            draws: Number of draws.

        Returns:
            ``v`` (n, draws, n_learnt), ``log_q`` (n, draws), the dequantised truth ``v_true``
            (n, n_learnt) and its ``log_q_true`` (n,), NaN where the variant has no exact
            density; and of the draws and then the truth what ``rivals`` returns.
        """

        def chunk(i: int) -> tuple[Float, Arrays]:
            row = int(self.rows[i])
            drawn = self.posterior.sample(self._x(row), draws, self._seed_of(row))
            values = np.concatenate([drawn.values, self.dataset.values([row])])
            return values, {"v": drawn.v, "log_q": drawn.log_q, **self._truth(row)}

        return self._hear(self._folder("draws", draws=draws), "draws", chunk, draws + 1)

    def rivals(self, answers: Mapping[str, Float]) -> Arrays:
        """Render what other methods answer.

        Args:
            answers: Native values, shape (n, n_params), of each method.

        Returns:
            ``lsd``, ``sc``, ``mse_n`` and ``failed`` (n, n_sounds), ``descriptors``
            (n, n_sounds, n_descriptors), NaN for a failed sound.
        """
        values = np.stack(list(answers.values()), axis=1)
        folder = self._folder("answers", sha256=hashlib.sha256(values.tobytes()).hexdigest())
        return self._hear(folder, "rivals", lambda i: (values[i], {}), len(answers))

    def answers(self, make: Callable[[], dict[str, Float]]) -> dict[str, Float]:
        """Return what other methods answer, from disk if they were asked before.

        Args:
            make: Gives native values, shape (n, n_params), of each method.
        """
        rows = hashlib.sha256(np.asarray(self.rows, np.int64).tobytes()).hexdigest()
        file = self._folder("rivals", rows=rows, presets=len(self.dataset)) / "answers.npz"
        stored = _read(file)
        if stored is None:
            stored = dict(make())
            _write(file, stored)
        return stored

    def infer(self, budget: int) -> Arrays:
        """Let ``Posterior.refine`` search for each preset; see ``_search`` for the result."""

        def search(i: int, tick: Callable[[int], Any]) -> Match:
            row = int(self.rows[i])
            seed = self._seed_of(row)
            return self.posterior.refine(self._x(row), self.searcher, budget, seed, tick)

        return self._search(self._folder("infer", budget=budget), "infer", search, budget)

    def evolve(self, start: str, presets: Float, budget: int) -> Arrays:
        """Let plain CMA-ES search for each preset; see ``_search`` for the result.

        Args:
            start: One of ``CMA_STARTS``.
            presets: Native values that it starts from, shape (n, n_params).
            budget: Number of sounds to render.
        """
        space = self.posterior.run.space
        units = space.to_unit(self.posterior.learnt(presets))

        def search(i: int, tick: Callable[[int], Any]) -> Match:
            row, run = int(self.rows[i]), self.posterior.run
            pool = Pool(self._x(row), run.full_space, space, self.searcher, tick)
            cma_es(pool, units[i], CMA_STARTS[start], budget, self._seed_of(row))
            return pool.match()

        folder = self._folder(f"cma-{start}", budget=budget)
        return self._search(folder, f"CMA-ES from {start}", search, budget)

    def _hear(
        self, folder: Path, label: str, chunk: Callable[[int], tuple[Float, Arrays]], sounds: int
    ) -> Arrays:
        """Render native values (sounds, n_params) for each preset, and score them."""
        heard = Heard(self.posterior.run.features)
        pending: dict[int, tuple[Float, Arrays]] = {}

        def chunks(missing: list[int]) -> Iterator[tuple[int, Float]]:
            for i in missing:
                pending[i] = chunk(i)
                yield i, pending[i][0]

        def work(missing: list[int], tick: Callable[[int], Any]) -> Iterator[tuple[int, Arrays]]:
            for i, rendered in self.listener.stream(chunks(missing)):
                assert rendered.features is not None
                values, more = pending.pop(i)
                x, descriptors = heard.split(rendered.features)
                x[rendered.failed] = np.log(heard.spec.floor)  # nothing was heard
                descriptors[rendered.failed] = np.nan
                scores = self._scores(int(self.rows[i]), values, x)
                yield i, {**more, **scores, "failed": rendered.failed, "descriptors": descriptors}
                tick(sounds)

        return self._each(folder, label, work, sounds)

    def _search(
        self,
        folder: Path,
        label: str,
        search: Callable[[int, Callable[[int], Any]], Match],
        budget: int,
    ) -> Arrays:
        """Search for every preset.

        Returns:
            Of the best answers ``lsd``, ``sc``, ``mse_n``, ``renders``, ``source`` (n,) and
            ``values`` (n, n_params); ``best_so_far`` (n, budget), the smallest distance after
            each render, infinite before the first.
        """

        def work(missing: list[int], tick: Callable[[int], Any]) -> Iterator[tuple[int, Arrays]]:
            for i in missing:
                match = search(i, tick)
                renders, best = match.trace.T
                steps = np.searchsorted(renders, np.arange(1, budget + 1), side="right")
                found = self._scores(int(self.rows[i]), match.values[:1], match.x[:1])
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
        work: Callable[[list[int], Callable[[int], Any]], Iterator[tuple[int, Arrays]]],
        sounds: int,
    ) -> Arrays:
        """Do what is missing, keep each result as it comes, and return all, stacked."""
        files = [folder / f"{row:06d}.npz" for row in self.rows]
        results = [_read(file) for file in files]
        missing = [i for i, result in enumerate(results) if result is None]
        total, n_missing = len(files) * sounds, len(missing) * sounds
        with tqdm(
            total=total, initial=total - n_missing, desc=label, unit="sound",
            disable=not (self.progress and missing),
        ) as bar:  # fmt: skip
            for i, result in work(missing, bar.update) if missing else ():
                _write(files[i], result)
                results[i] = result
        done = [result for result in results if result is not None]
        return {name: np.stack([result[name] for result in done]) for name in done[0]}

    def _folder(self, kind: str, **settings: Any) -> Path:
        """Return the place of results of these settings."""
        settings = {
            **settings,
            "run": _run_hash(self.posterior),
            "dataset": contract_hash(self.dataset),
            "descriptors": UNITS,
            "seed": self.seed,
        }
        text = json.dumps(settings, sort_keys=True)
        return self.folder / f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def _seed_of(self, row: int) -> int:
        """Return the seed of one preset, whichever others are tried."""
        return int(np.random.SeedSequence([self.seed, row]).generate_state(1)[0] >> 1)

    def _x(self, row: int) -> NDArray[np.float32]:
        return self.dataset.x([row])[0]

    def _scores(self, row: int, values: Float, x: NDArray[np.float32]) -> Arrays:
        """Compare answers and their sounds with a preset and its sound."""
        target, power = self._x(row), self.posterior.run.features.power
        space, learnt = self.posterior.run.space, self.posterior.learnt
        truth = space.to_unit(self.dataset.learnt([row]))
        return {
            "lsd": log_distance(x, target),
            "sc": spectral_convergence(power(target), power(x)),
            "mse_n": mse_n(truth, space.to_unit(learnt(values))),
        }

    @torch.no_grad()
    def _truth(self, row: int) -> Arrays:
        """Dequantise the true preset as in training, and score it."""
        run, variant = self.posterior.run, self.posterior.variant
        rng = np.random.default_rng([self.seed, row])
        v = run.space.encode(self.dataset.learnt([row]), rng)
        log_q = np.array(np.nan, np.float32)
        if variant.exact:
            x = run.standardise(torch.as_tensor(self._x(row))[None])
            log_q = variant.log_prob_v(torch.as_tensor(v).to(x), x)[0].cpu().numpy()
        return {"v_true": v[0], "log_q_true": log_q}


def _run_hash(posterior: Posterior) -> str:
    """Return a hash of the weights."""
    digest = hashlib.sha256(type(posterior.variant).__name__.encode())
    for name, tensor in sorted(posterior.variant.state_dict().items()):
        digest.update(name.encode() + tensor.cpu().numpy().tobytes())
    return digest.hexdigest()


def _read(file: Path) -> Arrays | None:
    """Read a result; None if it is missing or damaged, and so has to be made."""
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            return dict(stored)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None


def _write(file: Path, arrays: Arrays) -> None:
    """Write a result atomically.

    Raises:
        DataError: The disk is full or the place cannot be written.
    """
    part = file.with_suffix(".part")
    with writing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **arrays)
        part.replace(file)
