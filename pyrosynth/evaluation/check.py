"""Check a run: its held-out presets inferred from their sounds, re-rendered, beside baselines."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from pyrosynth._version import __version__
from pyrosynth.audio.descriptors import NAMES, SoundSummary
from pyrosynth.data.bank import Bank
from pyrosynth.data.dataset import Dataset
from pyrosynth.errors import (
    MOST,
    checked_name,
    checked_seed,
    integer,
    require_type,
)
from pyrosynth.evaluation.calibration import Calibration, differing_controls
from pyrosynth.evaluation.methods import BASELINES, Search, answer_baselines
from pyrosynth.evaluation.reports import check_figures, check_report
from pyrosynth.evaluation.runner import Arrays, EvaluationRunner
from pyrosynth.evaluation.scores import (
    GUESS,
    HELD_OUT,
    TRUTH,
    answer_name,
    best_of,
    draw_rows,
    metrics_of,
    score_rows,
    summarise,
)
from pyrosynth.evaluation.tables import check_table, coverage_table, markdown
from pyrosynth.evaluation.targets import held_out
from pyrosynth.files import claim, write_bytes
from pyrosynth.inference.arviz import (
    Group,
    inference_data,
    label_groups,
    prior_of,
    save_groups,
    told,
)
from pyrosynth.inference.contraction import strongest
from pyrosynth.inference.posterior import Posterior
from pyrosynth.synths.executor import open_executor
from pyrosynth.training.identity import contract_hash, require_same_contract, run_hash
from pyrosynth.training.learnt import require_unseen

if TYPE_CHECKING:
    from arviz import InferenceData
    from pandas import DataFrame

Float = NDArray[np.float64]

Baselines = Literal["fast", "all", "few"]
KINDS: tuple[Baselines, ...] = ("fast", "all", "few")
FEW = ("random", "median", "retrieval", "bank")  # those that fit nothing
BEST_OF = (4, 16, 64, 256)  # draws of which the nearest is taken
SHOWN_PAIRS, WORTH_SHOWING = 8, 0.1  # controls that trade off, and their mean correlation
CMA_STARTS = ("retrieval", "")  # of plain CMA-ES, with all baselines


@dataclass(frozen=True)
class CheckResult:
    """The result of a check.

    Attributes:
        folder: Where ``report.html``, ``table.csv``, ``table.md``, ``coverage.md``,
            ``check.nc``, ``summary.json`` and the figures are.
        table: One row per answer, see `pyrosynth.evaluation.scores.summarise`.
        scores: One row per answer and preset, see `pyrosynth.evaluation.scores.score_rows`.
        summary: The main numbers, JSON-ready.
        inference_data: Draws, their sounds' descriptors, and the truth, labelled.
        failures: Presets that are left out, and why.
    """

    folder: Path
    table: "DataFrame"
    scores: "DataFrame"
    summary: dict[str, Any]
    inference_data: "InferenceData"
    failures: list[str]


@dataclass(frozen=True, eq=False)
class CheckScores:
    """What all methods answered in a check.

    Attributes:
        runner: The targets; their presets are known.
        model: Name of the run's model in the table.
        draws: Number of posterior draws of each target.
        baselines: Native values that baselines answered, shape (n, n_params) each.
        baseline_scores: From ``EvaluationRunner.render_answers``, of the baselines.
        rendered: From ``EvaluationRunner.render_draws``.
        searches: Results of the searches, by method and answer.
        scores: The score table.
    """

    runner: EvaluationRunner
    model: str
    draws: int
    baselines: Mapping[str, Float]
    baseline_scores: Arrays
    rendered: Arrays
    searches: Mapping[tuple[str, str], Arrays]
    scores: "DataFrame"

    @property
    def best(self) -> tuple[str, str]:
        """Method and answer that show what the run can do: inference, else the nearest draw."""
        inferred = [name for name in self.searches if name[0] == self.model]
        own = self.scores[self.scores["method"] == self.model]["answer"]
        drawn = [answer for answer in own.unique() if answer.startswith(("one draw", "best of"))]
        return inferred[0] if inferred else (self.model, drawn[-1])


def check(
    posterior: Posterior,
    dataset: Dataset,
    out: str | Path,
    *,
    n_presets: int | None = None,
    draws: int = 64,
    budget: int = 256,
    baselines: Baselines = "fast",
    beside: Mapping[str, Posterior] | None = None,
    seed: int = 0,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: bool = True,
) -> CheckResult:
    """Check a run on the held-out human presets of its dataset, by re-rendering.

    What was rendered is cached below ``out``, so a killed check goes on where it stopped. A preset
    for which inference fails, or that the synth fails to play again, is left out and named.

    Args:
        posterior: The run.
        dataset: The dataset it was fitted on.
        out: Folder for the results.
        n_presets: Number of held-out presets, picked at random; None for all.
        draws: Posterior draws rendered for each.
        budget: Sounds that the search may render for each; 0 leaves it out.
        baselines: ``fast``, ``all`` for plain CMA-ES with the same budget as well, or ``few``
            for those that fit nothing.
        beside: Other runs of the same synth, by the names they go by in the table, that infer the
            same presets with the same budget.
        seed: Of everything random.
        workers: Processes that render; all cores if left out.
        scheduler: Address of a Dask scheduler whose workers render instead.
        progress: Whether to show progress bars.

    Returns:
        The results, which have been written too.

    Raises:
        InputError: An argument is out of range, or ``out`` cannot be written or holds something
            else.
        DataError: The dataset is of another synth, note, parameters or features, it has no
            held-out presets, or a run has learnt some of them.
    """
    checked_name("set of baselines", baselines, KINDS)
    require_type("beside", beside, (Mapping, type(None)), "a dictionary of runs by their names")
    seed = checked_seed(seed)
    draws, budget = integer("draws", draws, 2, MOST), integer("budget", budget, 0, MOST)
    n_presets = None if n_presets is None else integer("n_presets", n_presets, 1)
    others = dict(beside or {})
    for one in (posterior, *others.values()):
        require_type("posterior", one, Posterior, "Posterior.load(folder)")
        require_same_contract(one.run, dataset)
    targets = held_out(dataset, n_presets, seed)
    for one in (posterior, *others.values()):
        if targets.values is not None:
            require_unseen(one.run, one.bank, targets.values)
    run, describe = posterior.run, SoundSummary(posterior.run.features)
    played = posterior.synth, run.note, run.features.sample_rate
    with (
        claim(out, "check") as folder,
        open_executor(workers, scheduler) as executor,
        executor.renderer(*played, transform=describe, keep_audio=False) as renderer,
        executor.renderer(*played, transform=run.features, keep_audio=False) as search_renderer,
    ):
        runner = EvaluationRunner(
            targets, folder / "cache", renderer, search_renderer, seed, progress
        )
        n_targets = 0
        while n_targets != len(runner.targets):  # again without the presets that have failed
            n_targets = len(runner.targets)
            result = _run(runner, posterior, dataset, others, draws, budget, baselines)
        return _write(posterior, result, folder, budget)


def _run(
    runner: EvaluationRunner,
    posterior: Posterior,
    dataset: Dataset,
    others: Mapping[str, Posterior],
    draws: int,
    budget: int,
    baselines: Baselines,
) -> CheckScores:
    """Let all methods answer, and make their score table."""
    import pandas as pd

    def bank() -> Bank:
        return posterior.bank or Bank.from_dataset(dataset)

    model = type(posterior.variant).__name__
    guess = Search(model, "guess", 0)

    names = FEW if baselines == "few" else (*BASELINES,)

    def answers() -> dict[str, Float]:
        found = answer_baselines(
            names, dataset, runner.targets.x, bank, seed=runner.seed, progress=runner.progress,
        )  # fmt: skip
        return {**found, GUESS: guess.run(runner, bank, posterior)["values"]}

    rendered = runner.render_draws(
        posterior, draws,
        lambda lsd: [int(i[0]) for i in best_of(lsd[None], draws, BEST_OF).values()],
    )  # fmt: skip
    runner.leave_out_unplayable(rendered)
    values = runner.cached(
        answers, run=run_hash(posterior), presets=len(dataset),
        **({} if len(names) == len(BASELINES) else {"baselines": names}),
    )  # fmt: skip
    baseline_scores = runner.render_answers(values)
    searches = {}
    if budget and baselines == "all":
        for start in CMA_STARTS:
            search = Search(start, "cma", budget)
            searches[search.method_name, search.answer] = search.run(runner, bank)
    if budget:
        for name, one in {model: posterior, **others}.items():
            search = Search(name, "infer", budget)
            searches[name, search.answer] = search.run(runner, bank, one)
    targets = runner.targets
    if len(targets) < len(rendered["lsd"]):
        return CheckScores(
            runner, model, draws, values, baseline_scores, rendered, searches, pd.DataFrame()
        )
    rows = [
        score_rows(
            targets, HELD_OUT, model if name == GUESS else name, GUESS if name == GUESS else "",
            metrics_of(baseline_scores, np.s_[:, i]),
        )
        for i, name in enumerate(values)
    ]  # fmt: skip
    rows.append(draw_rows(targets, HELD_OUT, model, rendered, draws, BEST_OF))
    rows += [
        score_rows(targets, HELD_OUT, method, answer, found, budget=budget,
                   renders=float(np.mean(found["renders"])))
        for (method, answer), found in searches.items()
    ]  # fmt: skip
    truth = metrics_of(rendered, np.s_[:, -1])
    rows.append(score_rows(targets, HELD_OUT, TRUTH, "", truth))
    scores = pd.concat(rows, ignore_index=True)
    return CheckScores(runner, model, draws, values, baseline_scores, rendered, searches, scores)


def labelled(
    posterior: Posterior, result: CheckScores, facts: Mapping[str, Any]
) -> dict[str, Group]:
    """Label a check for ArviZ.

    Args:
        posterior: The run.
        result: What all methods answered.
        facts: Attributes of each group.

    Returns:
        Draws, the descriptors of their sounds, their scores, and the log-likelihood of each sound
        where the model predicts sounds; the truth; known presets as the prior, and descriptors of
        random human presets as what it predicts; what each sound tells of each control.
    """
    targets, rendered, draws = result.runner.targets, result.rendered, result.draws
    spec, space = targets.features, targets.space
    assert targets.values is not None
    of_draws = {name: rendered[name][:, :draws].T for name in ("lsd", "failed")}
    described = rendered["descriptors"].swapaxes(0, 1)
    likelihood = None
    if posterior.predicts:
        pairs = zip(rendered["v"], targets.x, strict=True)
        cells = [posterior.log_likelihood(v, x) for v, x in pairs]
        likelihood = {"x": np.stack([np.sum(one, (1, 2)) for one in cells if one is not None], 1)}
    return label_groups(
        presets=targets.names,
        params=space.names,
        posterior={
            "v": rendered["v"].swapaxes(0, 1),
            "value": space.decode(rendered["v"]).swapaxes(0, 1),
        },
        posterior_predictive={"descriptors": described[:draws]},
        prior=prior_of(posterior),
        prior_predictive={"descriptors": result.baseline_scores["descriptors"][:, 0]},  # random
        observed_data={"descriptors": described[-1]},
        constant_data={
            "x": targets.x,
            "v": rendered["v_true"],
            "value": targets.learnt(targets.values),
            "row": targets.ids,
            **told(posterior, rendered["v"].swapaxes(0, 1), of_draws["lsd"]),
        },
        log_likelihood=likelihood,
        sample_stats={"log_q": rendered["log_q"].T, **of_draws},
        coords={
            "descriptor": list(NAMES),
            "mel": spec.centers_hz,
            "frame": np.arange(targets.x.shape[2]) * spec.hop_length / spec.sample_rate,
        },
        attrs={k: int(v) if isinstance(v, bool) else v for k, v in facts.items()},
    )


def _told(constant: Group, names: Sequence[str]) -> dict[str, Any]:
    """Return what sounds tell of each control, and which controls trade off, on average."""
    arrays = {name: array for name, (_, array) in constant.variables.items()}
    pairs = strongest(arrays["correlation"].mean(axis=0), names, SHOWN_PAIRS, WORTH_SHOWING)
    found: dict[str, Any] = {"trade_offs": [pair._asdict() for pair in pairs]}
    if "contraction" in arrays:
        means = np.nan_to_num(arrays["contraction"].mean(axis=0)).tolist()
        found["contraction"] = dict(zip(names, means, strict=True))
    return found


def _write(posterior: Posterior, result: CheckScores, folder: Path, budget: int) -> CheckResult:
    """Write all files of a check; the report last."""
    targets, runner = result.runner.targets, result.runner
    frame = summarise(result.scores)
    calibration = Calibration.of(
        result.rendered, result.draws, runner.seed, posterior.run.conformal_scores
    )
    assert targets.values is not None
    levels = targets.space.levels(targets.learnt(targets.values))
    known = targets.dataset.levels(targets.dataset.rows("train", human_only=True))
    facts = {
        "pyrosynth": __version__,
        "synth": posterior.synth.name,
        "variant": result.model,
        "dataset": str(targets.dataset.path),
        "same_dataset": posterior.run.dataset.get("contract") == contract_hash(targets.dataset),
        "presets": len(targets),
        "draws": result.draws,
        "budget": budget,
        "seed": runner.seed,
    }
    failures = list(runner.failures.values())
    groups = labelled(posterior, result, facts)
    summary = {
        **facts,
        "best": answer_name(*result.best),
        "failed_draws": int(result.rendered["failed"][:, : result.draws].sum()),
        "failures": failures,
        "methods": json.loads(frame.to_json(orient="records")),
        **calibration.coverage(targets.space.names),
        "coverage_by_differing_controls": calibration.by_difference(
            differing_controls(levels, known)
        ),
        "temperature": posterior.run.temperature._asdict(),
        "leaks": targets.dataset.leaks,
        **_told(groups["constant_data"], targets.space.names),
    }
    save_groups(groups, folder / "check.nc")
    write_bytes(folder / "summary.json", (json.dumps(summary, indent=1) + "\n").encode())
    write_bytes(folder / "table.csv", frame.to_csv(index=False).encode())
    write_bytes(folder / "table.md", markdown(*check_table(frame)).encode())
    write_bytes(folder / "coverage.md", markdown(*coverage_table(summary)).encode())
    figures = check_figures(result, calibration)
    for name, (content, _) in figures.items():
        write_bytes(folder / f"{name}.png", content)
    check_report(folder / "report.html", result, frame, figures, summary)
    data = inference_data(groups)
    return CheckResult(folder, frame, result.scores, summary, data, failures)
