"""The pictures and the report of a check."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pyrosynth import plots
from pyrosynth.audio.descriptors import UNITS
from pyrosynth.evaluation import figures as charts
from pyrosynth.evaluation.calibration import LEVELS
from pyrosynth.evaluation.findings import TRUTH, Findings
from pyrosynth.evaluation.tables import BANK, HEADERS, REFERENCE, text_rows
from pyrosynth.report import (
    Block,
    heading,
    picture,
    player,
    players,
    section,
    table,
    wav_sources,
    write_report,
)

if TYPE_CHECKING:
    from pandas import DataFrame

Pictures = Mapping[str, tuple[bytes, str]]

HEARD = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)  # quantiles of the distance that examples are taken at
LEGEND = (
    "Every answer was played by the real synth. LSD: log-spectral distance, with the 95 % "
    "bootstrap interval of its mean over sounds. SC: spectral convergence. MSE_n: normalised "
    "error of the learnt parameters. Beats retrieval: share of sounds nearer than the nearest "
    "human training preset. Renders: sounds played to choose the answer; the nearest one is "
    "taken, so rows with renders choose on the LSD they are scored by, as a user would."
)


def pictures(findings: Findings) -> dict[str, tuple[bytes, str]]:
    """Return PNG and caption of each picture of a check, by name."""
    played, draws, scores = findings.played, findings.draws, findings.scores
    names = findings.trials.targets.space.names
    heard = played["descriptors"].swapaxes(0, 1)
    figures = {
        "distances": (
            charts.distances({name: s for name, s in scores.items() if name != TRUTH}),
            "Log-spectral distance of each method's answers, re-rendered.",
        ),
        "calibration": (
            charts.calibration(findings.uniform["parameters"], findings.joint, names),
            "On held-out human presets. Left: where the truth ranks among the draws; lines that "
            "leave the grey band are off. Middle and right: how often intervals and regions hold "
            "the truth; grey is what chance allows. Below the diagonal: too sure; above: too "
            "cautious.",
        ),
        "descriptors": (
            charts.descriptors(heard[draws], heard[:draws], UNITS),
            "Each held-out sound against what the draws of its posterior sound like when "
            "re-rendered: 90 % should be inside (blue).",
        ),
    }
    if findings.searched:
        levels = {k: float(scores[k].lsd.mean()) for k in (REFERENCE, BANK) if k in scores}
        curves = {}
        for name, found in reversed(list(findings.searched.items())):
            best = found["best_so_far"].mean(axis=0)
            heard_by = np.flatnonzero(np.isfinite(best))
            curves[name] = np.stack([heard_by + 1.0, best[heard_by]], axis=1)
        caption = "What rendering more brings: smallest distance so far, mean over the presets."
        figures["search"] = plots.trace(curves, levels), caption
    return {name: (plots.png(figure), caption) for name, (figure, caption) in figures.items()}


def check_report(
    path: str | Path,
    findings: Findings,
    frame: "DataFrame",
    drawn: Pictures,
    summary: Mapping[str, Any],
) -> None:
    """Play some of the presets once more, to listen to, and write the report of a check.

    Args:
        path: The HTML file.
        findings: The findings.
        frame: Their table.
        drawn: From ``pictures``.
        summary: Facts and coverage, as in ``summary.json``.

    Raises:
        RunError: The file cannot be written.
    """

    def shown(*names: str) -> list[Block]:
        return [picture(drawn[n][0], n, drawn[n][1]) for n in names if n in drawn]

    best, scores = findings.best, findings.scores
    row = frame.set_index("method").loc[best]
    facts = {
        "held-out presets": str(summary["presets"]),
        f"LSD, {best}": f"{row['lsd_mean_db']:.2f} dB",
        "LSD, retrieval": f"{scores[REFERENCE].lsd.mean():.2f} dB",
        "beats retrieval on": f"{100 * row['wins']:.0f} %",
    }
    lead = (
        f"Model '{summary['variant']}' of {summary['synth']}: {summary['presets']} presets made "
        "by people and never seen in training, found again from their sound."
    )
    if not summary["same_dataset"]:
        lead += " The run was fitted on another dataset, so it may have seen some of them."
    percent = [f"{100 * level:.0f} %" for level in LEVELS]
    coverage = [
        [name, *(f"{100 * share:.0f} %" for share in shares)]
        for name, shares in summary["coverage_of_parameters"].items()
    ]
    methods = text_rows(frame)
    sections = [
        section(
            "How near",
            table(
                tuple(HEADERS.values()), methods, note=LEGEND,
                marked=[i for i, cells in enumerate(methods) if cells[0] == best],
            ),
            *shown("distances", "search"),
        ),
        section("Listen", *_examples(findings)),
        section(
            "Does the posterior mean what it says?",
            *shown("calibration"),
            table(("parameter", *percent), coverage, folded="coverage of each parameter"),
        ),
        section("Do its draws sound right?", *shown("descriptors")),
    ]  # fmt: skip
    title = f"Check of {summary['variant']} on {summary['synth']}"
    write_report(path, title, lead, facts, sections)


def _examples(findings: Findings) -> list[Block]:
    """Return players of presets from the nearest to the farthest, and of what was found."""
    trials, best, scores = findings.trials, findings.best, findings.scores
    targets = trials.targets
    assert targets.values is not None
    distance = scores[best].per_sound()
    order = np.argsort(distance, kind="stable")
    chosen = order[np.unique(np.round(np.array(HEARD) * (len(targets) - 1)).astype(int))]
    values = {"held-out preset": targets.values}
    details = {"held-out preset": [""] * len(targets)}
    if findings.inferred:
        values["inferred"] = findings.searched[findings.inferred]["values"]
        details["inferred"] = [f"{d:.2f} dB away" for d in distance]
    values["nearest human preset"] = findings.answers[REFERENCE]
    details["nearest human preset"] = [f"{d:.2f} dB away" for d in scores[REFERENCE].lsd]
    trials.listener.keep_audio = True
    rendered = trials.listener.render(np.concatenate([v[chosen] for v in values.values()]))
    assert rendered.audio is not None
    audio = rendered.audio.reshape(len(values), len(chosen), -1)
    rate = targets.features.sample_rate
    blocks = []
    for k, i in enumerate(chosen):
        sources = wav_sources(list(audio[:, k]), rate)
        sounds = [
            player(label, details[label][i], source)
            for label, source in zip(values, sources, strict=True)
        ]
        blocks += [heading(targets.names[i]), players(sounds)]
    return blocks
