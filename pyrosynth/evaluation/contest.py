"""Models and rivals put to the same test: fits, what they answer, and the rows that come of it."""

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyrosynth.data.bank import Bank
from pyrosynth.data.dataset import Dataset
from pyrosynth.data.tags import TagTable
from pyrosynth.errors import PyrosynthError, RunError
from pyrosynth.evaluation.calibration import central_coverage, region_coverage
from pyrosynth.evaluation.entrants import Entrant
from pyrosynth.evaluation.findings import Findings
from pyrosynth.evaluation.progress import Progress
from pyrosynth.evaluation.rivals import BEST, Search, guess, search
from pyrosynth.evaluation.standings import HELD_OUT, Row, together
from pyrosynth.evaluation.tables import Scores, drawn
from pyrosynth.evaluation.targets import Targets
from pyrosynth.evaluation.trials import Trials
from pyrosynth.files import write_bytes
from pyrosynth.inference.posterior import Posterior
from pyrosynth.statistics import interval
from pyrosynth.synths.rendering import Renderer
from pyrosynth.training.fit import fit
from pyrosynth.training.run import FACTS, run_hash
from pyrosynth.training.svi import torch_threads

Float = NDArray[np.float64]

BEST_OF = (16, 64)  # draws of which the nearest is taken
REGION = 0.9  # content of the regions whose coverage is reported


@dataclass(frozen=True, eq=False)
class Judged:
    """What came of one fit.

    Args:
        facts: What it cost and what it is; JSON-ready.
        scores: Of each answer, by the sounds.
        v: Points of the unit cube drawn for each sound, (n, draws, n_learnt), by the sounds.
        log_q: Log-density of the true presets in nats, shape (n,); None where it is not exact.
        coverage: Share of the truths that regions and intervals of ``REGION`` hold.
    """

    facts: dict[str, Any]
    scores: dict[str, dict[str, Scores]]
    v: dict[str, NDArray[np.float32]]
    log_q: Float | None
    coverage: dict[str, float]


@dataclass(eq=False)
class Contest:
    """The state of a comparison.

    Args:
        dataset: What all learn from.
        folder: Where everything is kept.
        targets: The sounds, by what they are; with their audio.
        renderer: Renders; its transform is the features, and it keeps the audio.
        bank: File of the bank of the training presets.
        bar: The progress.
        draws: Posterior draws of each sound.
        training: Arguments of the fit.
        tags: Tags for models that use them.
        device: Where models compute.
        threads: Torch threads of a fit.
        force: Whether to fit anew what has been fitted.
    """

    dataset: Dataset
    folder: Path
    targets: Mapping[str, Targets]
    renderer: Renderer
    bank: Path
    bar: Progress
    draws: int
    training: Mapping[str, Any]
    tags: TagTable | None = None
    device: str = "cpu"
    threads: int | None = None
    force: bool = False
    judged: dict[tuple[str, int], Judged] = field(default_factory=dict)
    rivals: list[Row] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)

    def run_folder(self, name: str, seed: int) -> Path:
        """Return the folder of the run of a model and a seed."""
        return self.folder / "runs" / f"{name}-{seed}"

    def enter(self, entrant: Entrant, seed: int) -> None:
        """Fit a model and judge what it answers; a failure costs its row and nothing else."""
        label, folder = f"{entrant.name}-{seed}", self.run_folder(entrant.name, seed)
        presets, fresh = entrant.presets(self.training), not (folder / FACTS).exists()

        def work() -> None:
            with self.bar.stage("presets", presets, f"fit {label}"):
                run = fit(
                    entrant.model, self.dataset, folder, tags=self.tags, options=entrant.options,
                    seed=seed, device=self.device, threads=self.threads, bank=self.bank,
                    force=self.force, progress=self.bar.shown, **self.training,
                )  # fmt: skip
                if fresh or self.force:
                    self.bar.add("presets", presets)
            with self._playing(self.due(self.draws + 1, truths=True), label):
                self.judged[entrant.name, seed] = self._judge(Posterior(run), seed)

        self._try(label, work, folder / "error.txt")

    def guess(self, names: Sequence[str]) -> None:
        """Let rivals that render nothing answer."""

        def work() -> None:
            with self._playing(self.due(len(names)), "rivals"):
                for sounds in self.targets:
                    found = guess(names, self._trials(sounds), Bank.load(self.bank))
                    self.rivals += [self._row(sounds, name, "", s) for name, s in found.items()]

        self._try(", ".join(names), work)

    def search(self, what: Search) -> None:
        """Let one search for every sound."""

        def work() -> None:
            named, posterior, judged = what, None, None
            if what.starts_from_model:
                name = self.best() if what.start == BEST else what.start
                if name not in {n for n, _ in self.judged}:
                    raise RunError("there is no fit to start from; see why it failed")
                named, (seed, judged) = replace(what, start=name), self.first(name)
                posterior = Posterior.load(self.run_folder(name, seed), self.device)
            with self._playing(self.due(what.budget + 1), f"{what}"):
                for sounds in self.targets:
                    v = judged.v[sounds] if judged else None
                    scores = search(named, self._trials(sounds), self.bank, posterior, v)
                    self.rivals.append(
                        self._row(
                            sounds, named.method_name, named.answer, scores, budget=what.budget
                        )
                    )

        self._try(str(what), work)

    def due(self, sounds: int, *, truths: bool = False) -> int:
        """Return how many sounds are rendered for so many answers to each target."""
        return sum(len(t) * (sounds + truths * t.truths) for t in self.targets.values())

    def best(self) -> str | None:
        """Return the model whose nearest draws are nearest to the held-out presets."""
        distances = {}
        for name in dict.fromkeys(name for name, _ in self.judged):
            *_, last = self._of(name)[0].scores[HELD_OUT]
            scores = together([judged.scores[HELD_OUT][last] for judged in self._of(name)])
            distances[name] = float(scores.per_sound().mean())
        return min(distances, key=lambda name: distances[name], default=None)

    def first(self, name: str) -> tuple[int, Judged]:
        """Return the first fit of a model, and its seed."""
        seed = min(seed for of, seed in self.judged if of == name)
        return seed, self.judged[name, seed]

    def rows(self, names: Sequence[str]) -> list[Row]:
        """Return the rows of models, by name, and of rivals, as far as they have come."""
        rows = []
        for name in names:
            judged = self._of(name)
            prefix = f"{name}-"
            failed = "; ".join(
                f"seed {label.removeprefix(prefix)}: {reason}"
                for label, reason in self.failures.items()
                if label.removeprefix(prefix).isdigit()
            )
            for sounds in self.targets if judged or failed else ():
                if not judged:
                    rows.append(Row(sounds, name, "", None, 0, failed=failed))
                    continue
                facts = _facts(judged, known=sounds == HELD_OUT)
                for answer in judged[0].scores[sounds]:
                    scores = together([one.scores[sounds][answer] for one in judged])
                    rows.append(
                        self._row(
                            sounds, name, answer, scores, seeds=len(judged),
                            budget=round(scores.renders), facts=facts, failed=failed,
                        )
                    )  # fmt: skip
        return rows + self.rivals

    def _row(
        self,
        sounds: str,
        method: str,
        answer: str,
        scores: Scores,
        *,
        facts: Mapping[str, float] | None = None,
        **more: Any,
    ) -> Row:
        """Return a row, with the parameter error as it was published where it is known."""
        targets, facts = self.targets[sounds], dict(facts or {})
        if targets.values is not None:  # each error over the mean square of all presets
            square = np.mean(targets.unit(targets.values) ** 2, axis=-1)
            error = scores.per_sound("mse_n") * square
            facts["mse_n_published"] = float(np.mean(error) / np.mean(square))
        return Row(sounds, method, answer, scores, facts=facts, **more)

    @contextmanager
    def _playing(self, sounds: int, label: str) -> Iterator[None]:
        """Show and time the rendering of sounds; the cores are for the workers meanwhile."""
        with self.bar.stage("sounds", sounds, label), torch_threads(1):
            yield

    def _of(self, name: str) -> list[Judged]:
        return [judged for (of, _), judged in sorted(self.judged.items()) if of == name]

    def _trials(self, sounds: str, seed: int = 0) -> Trials:
        return Trials(
            self.targets[sounds], self.folder / "trials", self.renderer, self.renderer, seed,
            progress=False, panel=True, report=lambda n: self.bar.add("sounds", n),
        )  # fmt: skip

    def _judge(self, posterior: Posterior, seed: int) -> Judged:
        """Play the draws of a fit for all sounds."""
        run, history = posterior.run, posterior.run.training
        scores, v, log_q, coverage = {}, {}, None, {}
        failed, seconds = 0, 0.0
        for sounds, targets in self.targets.items():
            trials = self._trials(sounds, seed)
            played = trials.play(posterior, self.draws)
            scores[sounds] = drawn(played, self.draws, BEST_OF)
            v[sounds] = played["v"]
            failed += int(played["failed"].sum())
            seconds += float(played["seconds"].sum())
            if targets.truths:
                findings = Findings(trials, self.draws, {}, {}, played, {})
                coverage = _coverage(findings)
                log_q = played["log_q_true"] if posterior.variant.exact else None
        facts = {
            "weights": sum(p.numel() for p in posterior.variant.parameters()),
            "steps": int(history.rows[-1]["step"]) if history.rows else 0,
            "best_step": history.best_step,
            "fit_seconds": history.seconds,
            "fit_cpu_seconds": history.cpu_seconds,
            "play_seconds": seconds,
            "failed_sounds": failed,
            "settings": run.settings,
            "weights_sha256": run_hash(posterior),
        }
        return Judged(facts, scores, v, log_q, coverage)

    def _try(self, label: str, work: Callable[[], None], log: Path | None = None) -> None:
        """Do something; keep the reason if it fails."""
        try:
            work()
            if log:
                log.unlink(missing_ok=True)
        except Exception as error:  # whatever a model's own code does wrong
            known = isinstance(error, PyrosynthError)
            reason = str(error) if known else f"{type(error).__name__}: {error}"
            self.failures[label] = " ".join(reason.split())
            if log:
                write_bytes(log, traceback.format_exc().encode())


def _facts(judged: Sequence[Judged], *, known: bool) -> dict[str, float]:
    """Return the columns of a model's rows, means over its seeds."""
    costs = ("weights", "steps", "best_step", "fit_seconds", "fit_cpu_seconds")
    facts = {name: float(np.mean([one.facts[name] for one in judged])) for name in costs}
    if not known:
        return facts
    for name in judged[0].coverage:
        facts[name] = float(np.mean([one.coverage[name] for one in judged]))
    log_q = [one.log_q for one in judged if one.log_q is not None]
    if log_q:
        found = interval(np.mean(log_q, axis=0))
        facts |= {"log_q": found.estimate, "log_q_low": found.low, "log_q_high": found.high}
    return facts


def _coverage(findings: Findings) -> dict[str, float]:
    """Return how many truths lie in regions and intervals of ``REGION``."""
    names = {"highest density": "region_90", "TARP": "tarp_90"}
    places = findings.uniform["parameters"]
    found = {"interval_90": float(central_coverage(places, REGION).mean())}
    for name, numbers in findings.joint.items():
        found[names[name]] = float(region_coverage(numbers, REGION))
    return found
