"""A benchmark: models fitted on one split, baselines and searches, scored on the same sounds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pyrosynth.data.bank import Bank
from pyrosynth.data.dataset import Dataset
from pyrosynth.data.tags import TagTable
from pyrosynth.errors import RunError
from pyrosynth.evaluation.calibration import (
    HPD,
    TARP,
    Calibration,
    central_coverage,
    region_coverage,
)
from pyrosynth.evaluation.entries import Failure, Fitting, ModelEntry, attempt
from pyrosynth.evaluation.methods import BEST, Search, answer_baselines
from pyrosynth.evaluation.runner import EvaluationRunner
from pyrosynth.evaluation.scores import (
    HELD_OUT,
    best_of,
    draw_rows,
    metrics_of,
    per_target,
    score_rows,
)
from pyrosynth.evaluation.targets import Targets
from pyrosynth.files import write_bytes
from pyrosynth.inference.posterior import Posterior
from pyrosynth.statistics import interval
from pyrosynth.synths.rendering import Renderer
from pyrosynth.training.identity import run_hash
from pyrosynth.training.run import load_run
from pyrosynth.training.svi import torch_threads

if TYPE_CHECKING:
    from pandas import DataFrame

Float = NDArray[np.float64]

BEST_OF = (16, 64)  # draws of which the nearest is taken
RUNS = "runs"  # folder of the fits
REGION = 0.9  # probability of the regions whose coverage is reported
COVERAGES = {HPD: "region_90", TARP: "tarp_90"}


@dataclass(frozen=True, eq=False)
class FitResult:
    """One fit of a model, and its scores.

    Attributes:
        facts: What it cost and what it is; JSON-ready.
        scores: Rows of the score table.
        v: Points of the unit cube drawn for each target, (n, draws, n_learnt), by the sounds.
        draw_lsd: Distances of these draws in dB, (n, draws), by the sounds.
        log_q: Log-density of the true presets in nats, shape (n,); None where it is not exact.
        coverage: Share of the truths that regions and intervals of ``REGION`` hold.
    """

    facts: dict[str, Any]
    scores: "DataFrame"
    v: dict[str, NDArray[np.float32]]
    draw_lsd: dict[str, Float]
    log_q: Float | None
    coverage: dict[str, float]


@dataclass(eq=False)
class Benchmark:
    """Fits, answers and scores of a comparison, as far as they have come.

    Args:
        dataset: What all learn from.
        folder: Where everything is kept.
        targets: The targets by sounds, ``HELD_OUT`` and perhaps ``OUTSIDE``; with their audio.
        renderer: Renders; its transform is the features, and it keeps the audio.
        bank: File of the bank of the training presets.
        draws: Posterior draws of each target.
        training: Arguments of the fit.
        tags: Tags for models that use them.
        device: Where models compute.
        threads: Torch threads of a fit.
        force: Whether to fit anew what has been fitted.
        progress: Whether to show progress bars.
    """

    dataset: Dataset
    folder: Path
    targets: Mapping[str, Targets]
    renderer: Renderer
    bank: Path
    draws: int
    training: Mapping[str, Any]
    tags: TagTable | None = None
    device: str = "cpu"
    threads: int | None = None
    force: bool = False
    progress: bool = True
    fits: dict[tuple[str, int], FitResult] = field(default_factory=dict)
    methods: "list[DataFrame]" = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)

    def run_folder(self, name: str, seed: int) -> Path:
        """Return the folder of the run of a model and a seed."""
        return self.folder / RUNS / f"{name}-{seed}"

    def fitting(self) -> Fitting:
        """Return the task that fits a model, which may be done on another machine."""
        return Fitting(
            self.dataset, self.folder.absolute() / RUNS, self.bank.absolute(), self.training,
            self.tags, self.device, self.threads, self.force, self.progress,
        )  # fmt: skip

    def add_fit(self, fitted: tuple[ModelEntry, int], failure: Failure | None) -> None:
        """Score the answers of a fitted model; a failure costs its row and nothing else."""
        entry, seed = fitted
        folder = self.run_folder(entry.name, seed)

        def work() -> None:
            posterior = Posterior(load_run(folder, self.device))
            with torch_threads(1):  # the cores are for the renderer
                self.fits[entry.name, seed] = self._score(entry.name, posterior, seed)

        failure = failure or attempt(work)
        label, log = f"{entry.name}-{seed}", folder / "error.txt"
        if failure:
            self.failures[label] = failure.reason
            write_bytes(log, failure.traceback.encode())
        else:
            log.unlink(missing_ok=True)

    def run_baselines(self, names: Sequence[str]) -> None:
        """Let baselines answer."""

        def work() -> None:
            for sounds, targets in self.targets.items():
                answers = answer_baselines(names, self.dataset, targets.x, self.load_bank)
                self._add_rendered(sounds, {(label, ""): v for label, v in answers.items()})

        self._try(", ".join(names), work)

    def run_search(self, search: Search) -> None:
        """Let one search answer."""

        def work() -> None:
            named, posterior, fitted = search, None, None
            if search.starts_from_model:
                name = self.best() if search.start == BEST else search.start
                if name not in {n for n, _ in self.fits}:
                    raise RunError("there is no fit to start from; see why it failed")
                named, fitted = replace(search, start=name), self.first(name)
                seed = self._first_seed(name)
                posterior = Posterior.load(self.run_folder(name, seed), self.device)
            with torch_threads(1):
                for sounds in self.targets:
                    v = fitted.v[sounds] if fitted else None
                    found = named.run(self._runner(sounds), self.load_bank, posterior, v)
                    self._add_rendered(
                        sounds, {(named.method_name, named.answer): found["values"]},
                        search.budget, float(np.mean(found["renders"])),
                    )  # fmt: skip

        self._try(str(search), work)

    def load_bank(self) -> Bank:
        """Return the bank of all training presets."""
        return Bank.load(self.bank)

    def best(self) -> str | None:
        """Return the model whose nearest draws are nearest to the held-out presets."""
        names = dict.fromkeys(name for name, _ in self.fits)
        scores = self.scores(list(names))
        if not names:
            return None
        own = scores[(scores["sounds"] == HELD_OUT) & scores["method"].isin(names)]
        own = own[own["answer"].str.startswith("best of")]
        own = own[own["budget"] == own["budget"].max()]
        lsd = per_target(own)["lsd"].groupby("method", sort=False).mean()
        return str(lsd.idxmin())

    def first(self, name: str) -> FitResult:
        """Return the first fit of a model."""
        return self.fits[name, self._first_seed(name)]

    def scores(self, names: Sequence[str]) -> "DataFrame":
        """Return the score table: models, by name, then baselines and searches."""
        import pandas as pd

        parts = [
            result.scores[result.scores["sounds"] == sounds]
            for name in names
            for sounds in self.targets
            for result in self._of(name)
        ]
        tables = [*parts, *self.methods]
        return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()

    def facts(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Return what is known of models beside their scores, means over their seeds."""
        rows = []
        costs = ("weights", "steps", "best_step", "fit_seconds", "fit_cpu_seconds")
        for name in names:
            fitted = self._of(name)
            for sounds, targets in self.targets.items() if fitted else ():
                row: dict[str, Any] = {"sounds": sounds, "method": name}
                row |= {k: float(np.mean([one.facts[k] for one in fitted])) for k in costs}
                if targets.n_truths:
                    for k in fitted[0].coverage:
                        row[k] = float(np.mean([one.coverage[k] for one in fitted]))
                    log_q = [one.log_q for one in fitted if one.log_q is not None]
                    if log_q:
                        found = interval(np.mean(log_q, axis=0))
                        row |= {"log_q": found[0], "log_q_low": found[1], "log_q_high": found[2]}
                rows.append(row)
        return rows

    def failed(self, names: Sequence[str]) -> dict[str, str]:
        """Return why models, or some of their seeds, failed."""
        reasons: dict[str, list[str]] = {}
        for label, reason in self.failures.items():
            name, _, seed = label.rpartition("-")
            if name in names and seed.isdigit():
                reasons.setdefault(name, []).append(f"seed {seed}: {reason}")
        return {name: "; ".join(reasons[name]) for name in names if name in reasons}

    def _of(self, name: str) -> list[FitResult]:
        return [result for (of, _), result in sorted(self.fits.items()) if of == name]

    def _first_seed(self, name: str) -> int:
        return min(seed for of, seed in self.fits if of == name)

    def _runner(self, sounds: str, seed: int = 0) -> EvaluationRunner:
        return EvaluationRunner(
            self.targets[sounds], self.folder / "cache", self.renderer, self.renderer, seed,
            self.progress, all_metrics=True,
        )  # fmt: skip

    def _add_rendered(
        self,
        sounds: str,
        answers: Mapping[tuple[str, str], Float],
        budget: int = 0,
        renders: float = 0.0,
    ) -> None:
        """Render and score native values, by method and answer."""
        if answers:
            runner = self._runner(sounds)
            rendered = runner.render_answers({", ".join(k): v for k, v in answers.items()})
            self.methods += [
                score_rows(
                    runner.targets, sounds, method, answer, metrics_of(rendered, np.s_[:, i]),
                    budget=budget, renders=renders,
                )
                for i, (method, answer) in enumerate(answers)
            ]  # fmt: skip

    def _score(self, name: str, posterior: Posterior, seed: int) -> FitResult:
        """Render the draws of a fit for all targets."""
        import pandas as pd

        run, history, n = posterior.run, posterior.run.training, self.draws
        scores, v, draw_lsd, log_q, coverage = [], {}, {}, None, {}
        failed, seconds = 0, 0.0

        def chosen(lsd: Float) -> list[int]:
            return sorted({int(where[0]) for where in best_of(lsd[None], n, BEST_OF).values()})

        for sounds, targets in self.targets.items():
            runner = self._runner(sounds, seed)
            rendered = runner.render_draws(posterior, n, chosen)
            if runner.failures:
                raise RunError(next(iter(runner.failures.values())))
            scores.append(draw_rows(targets, sounds, name, rendered, n, BEST_OF, seed))
            v[sounds], draw_lsd[sounds] = rendered["v"], rendered["lsd"][:, :n]
            failed += int(rendered["failed"].sum())
            seconds += float(rendered["seconds"].sum())
            if targets.n_truths:
                coverage = _coverage(Calibration.of(rendered, n, seed))
                log_q = rendered["log_q_true"] if posterior.variant.exact else None
        facts = {
            "weights": sum(p.numel() for p in posterior.variant.parameters()),
            "steps": int(history.rows[-1]["step"]) if history.rows else 0,
            "best_step": history.best_step,
            "fit_seconds": history.seconds,
            "fit_cpu_seconds": history.cpu_seconds,
            "render_seconds": seconds,
            "failed_sounds": failed,
            "settings": run.settings,
            "weights_sha256": run_hash(posterior),
        }
        return FitResult(facts, pd.concat(scores), v, draw_lsd, log_q, coverage)

    def _try(self, label: str, work: Callable[[], object]) -> None:
        """Do something; keep the reason if it fails."""
        if failure := attempt(work):
            self.failures[label] = failure.reason


def _coverage(calibration: Calibration) -> dict[str, float]:
    """Return how many truths lie in regions and intervals of ``REGION``."""
    shares = {"interval_90": float(central_coverage(calibration.ranks, REGION).mean())}
    for name, levels in calibration.joint.items():
        shares[COVERAGES[name]] = float(np.mean(region_coverage(levels, REGION)))
    return shares
