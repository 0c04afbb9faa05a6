"""How good a run is: held-out presets, found again through the real synth and beside rivals."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from pyrosynth._version import __version__
from pyrosynth.audio.descriptors import NAMES, Heard
from pyrosynth.data.bank import Bank
from pyrosynth.data.dataset import Dataset
from pyrosynth.errors import DataError, InputError, unknown
from pyrosynth.evaluation.baselines import (
    CMA_STEPS,
    cnn,
    median_preset,
    mlp,
    nearest_presets,
    random_presets,
    ridge,
)
from pyrosynth.evaluation.check_report import check_report, pictures
from pyrosynth.evaluation.findings import Findings
from pyrosynth.evaluation.tables import BANK, GUESS, REFERENCE, Scores, markdown, table
from pyrosynth.evaluation.targets import Targets, held_out
from pyrosynth.evaluation.trials import Trials
from pyrosynth.files import writable, write_bytes
from pyrosynth.inference.arviz import inference_data, label_groups, save_groups
from pyrosynth.inference.posterior import Posterior
from pyrosynth.synths.rendering import Renderer
from pyrosynth.training.fit import contract_hash, require_same_contract
from pyrosynth.training.run import run_hash

if TYPE_CHECKING:
    import xarray
    from pandas import DataFrame

Float = NDArray[np.float64]

Baselines = Literal["fast", "all"]
BASELINES: tuple[Baselines, ...] = ("fast", "all")


@dataclass(frozen=True)
class CheckResult:
    """What a check found.

    Attributes:
        folder: Where ``report.html``, ``table.csv``, ``table.md``, ``check.nc``,
            ``summary.json`` and the pictures are.
        table: One row per method, see `pyrosynth.evaluation.tables.table`.
        scores: Scores of each method.
        summary: The main numbers, JSON-ready.
        idata: Draws, what they sound like, and the truth, labelled.
    """

    folder: Path
    table: "DataFrame"
    scores: Mapping[str, Scores]
    summary: dict[str, Any]
    idata: Any


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
    progress: bool = True,
) -> CheckResult:
    """Check a run on the held-out human presets of its dataset, by re-rendering.

    What was rendered is kept below ``out``, so a killed check goes on where it stopped.

    Args:
        posterior: The run.
        dataset: The dataset it was fitted on.
        out: Folder for the results.
        n_presets: Number of held-out presets, picked at random; None for all.
        draws: Posterior draws rendered for each.
        budget: Sounds that the search may render for each; 0 leaves it out.
        baselines: ``fast``, or ``all`` for plain CMA-ES with the same budget as well.
        beside: Other runs of the same synth, by the names they go by in the table, that infer the
            same presets with the same budget.
        seed: Of everything random.
        workers: Processes that render; all cores if left out.
        progress: Whether to show progress bars.

    Returns:
        The results, which have been written too.

    Raises:
        InputError: An argument is out of range, or ``out`` cannot be written.
        DataError: The dataset is of another synth, note, parameters or features, it has no
            held-out presets, or a run has learnt some of them.
    """
    if baselines not in BASELINES:
        raise unknown("set of baselines", baselines, BASELINES)
    if draws < 2 or budget < 0 or (n_presets is not None and n_presets < 1):
        raise InputError(
            f"{draws} draws, budget {budget}, {n_presets} presets: give at least 2 draws, a "
            "budget of at least 0 and at least 1 preset"
        )
    others = dict(beside or {})
    for one in (posterior, *others.values()):
        require_same_contract(one.run, dataset)
    folder = writable(out)
    targets = held_out(dataset, n_presets, seed)
    for one in (posterior, *others.values()):
        _require_unseen(one, targets)
    run, rate = posterior.run, posterior.run.features.sample_rate
    heard = Heard(run.features)
    with (
        Renderer(
            posterior.synth, run.note, rate, workers=workers, transform=heard, keep_audio=False
        ) as listener,
        posterior.renderer(workers) as searcher,
    ):
        trials = Trials(targets, folder / "trials", listener, searcher, seed, progress)
        answers = trials.answers(
            lambda: guesses(posterior, dataset, targets.x, seed, progress),
            run=run_hash(posterior), presets=len(dataset),
        )  # fmt: skip
        played, rivals = trials.play(posterior, draws), trials.rivals(answers)
        searched = {}
        if budget and baselines == "all":
            scratch = np.full((len(targets), len(run.space)), 0.5)
            starts = {"retrieval": targets.unit(answers[REFERENCE]), "scratch": scratch}
            for start, unit in starts.items():
                label = f"CMA-ES from {start}, {budget} renders"
                searched[label] = trials.evolve(start, unit, CMA_STEPS[start], budget)
        if budget:
            searched[f"infer, {budget} renders"] = trials.infer(posterior, budget)
            for name, other in others.items():
                searched[f"{name}, {budget} renders"] = trials.infer(other, budget)
        findings = Findings(trials, draws, answers, rivals, played, searched)
        return _write(posterior, findings, folder, budget)


def _require_unseen(posterior: Posterior, targets: Targets) -> None:
    """Make sure that no held-out preset is among those that a run has learnt.

    Raises:
        DataError: Some are.
    """
    if posterior.bank is None or targets.values is None:
        return
    learnt = {row.tobytes() for row in posterior.bank.values}
    seen = sum(row.tobytes() in learnt for row in np.ascontiguousarray(targets.values))
    if seen:
        raise DataError(
            f"{seen} of {len(targets)} held-out presets were learnt by the run, so a check would "
            "flatter it; give the dataset it was fitted on, or one split alike"
        )


def guesses(
    posterior: Posterior, dataset: Dataset, x: NDArray[Any], seed: int, progress: bool
) -> dict[str, Float]:
    """Return what methods that render nothing answer to sounds, the run's own guess last.

    Args:
        posterior: The run; its bank is used if it has one.
        dataset: To learn from.
        x: Features of the sounds, shape (n, n_mels, n_frames).
        seed: Of everything random.
        progress: Whether to show progress bars.

    Returns:
        Native values of all parameters, shape (n, n_params), for each method.
    """
    human = Bank.from_dataset(dataset, augmented=False)
    found = {
        "random human preset": random_presets(dataset, len(x), seed),
        "median preset": median_preset(dataset, len(x)),
        "ridge regression": ridge(dataset, x, seed),
        "MLP": mlp(dataset, x, seed, progress=progress),
        "CNN": cnn(dataset, x, seed, progress=progress),
        REFERENCE: nearest_presets(human, x),
    }
    bank = posterior.bank or Bank.from_dataset(dataset)
    if len(bank) > len(human):
        found[BANK] = nearest_presets(bank, x)
    found[GUESS] = np.stack([posterior.guess(sound, seed) for sound in x])
    return found


def labelled(findings: Findings, facts: Mapping[str, Any]) -> "dict[str, xarray.Dataset]":
    """Label a check's findings for ArviZ.

    Args:
        findings: The findings.
        facts: Attributes of each group.

    Returns:
        Draws, what they sound like, their scores; the truth, and descriptors of random human
        presets as what the prior predicts.
    """
    targets, played, draws = findings.trials.targets, findings.played, findings.draws
    spec, space = targets.features, targets.space
    assert targets.values is not None
    drawn = {name: played[name][:, :draws].T for name in ("lsd", "failed")}
    heard = played["descriptors"].swapaxes(0, 1)
    return label_groups(
        presets=targets.names,
        params=space.names,
        posterior={
            "v": played["v"].swapaxes(0, 1),
            "value": space.decode(played["v"]).swapaxes(0, 1),
        },
        posterior_predictive={"descriptors": heard[:draws]},
        prior_predictive={"descriptors": findings.rivals["descriptors"][:, 0]},  # random presets
        observed_data={
            "x": targets.x,
            "descriptors": heard[-1],
            "v": played["v_true"],
            "value": targets.learnt(targets.values),
            "row": targets.ids,
        },
        sample_stats={"log_q": played["log_q"].T, **drawn},
        coords={
            "descriptor": list(NAMES),
            "mel": spec.centers_hz,
            "frame": np.arange(targets.x.shape[2]) * spec.hop_length / spec.sample_rate,
        },
        attrs={k: int(v) if isinstance(v, bool) else v for k, v in facts.items()},
    )


def _write(posterior: Posterior, findings: Findings, folder: Path, budget: int) -> CheckResult:
    """Write all files of a check; the report last."""
    dataset = findings.trials.targets.dataset
    frame = table(findings.scores)
    facts = {
        "pyrosynth": __version__,
        "synth": posterior.synth.name,
        "variant": type(posterior.variant).__name__,
        "dataset": str(dataset.path),
        "same_dataset": posterior.run.dataset.get("contract") == contract_hash(dataset),
        "presets": len(findings.trials.targets),
        "draws": findings.draws,
        "budget": budget,
        "seed": findings.trials.seed,
    }
    summary = {
        **facts,
        "failed_draws": int(findings.played["failed"][:, : findings.draws].sum()),
        "methods": json.loads(frame.to_json(orient="records")),
        **findings.coverage(),
    }
    groups = labelled(findings, facts)
    idata = inference_data(groups)
    save_groups(groups, folder / "check.nc")
    write_bytes(folder / "summary.json", (json.dumps(summary, indent=1) + "\n").encode())
    write_bytes(folder / "table.csv", frame.to_csv(index=False).encode())
    write_bytes(folder / "table.md", markdown(frame).encode())
    drawn = pictures(findings)
    for name, (content, _) in drawn.items():
        write_bytes(folder / f"{name}.png", content)
    check_report(folder / "report.html", findings, frame, drawn, summary)
    return CheckResult(folder, frame, findings.scores, summary, idata)
