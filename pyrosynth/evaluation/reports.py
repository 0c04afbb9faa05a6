"""The reports of a check and of a comparison: two views of one kind of score table."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import pyrosynth.plots as plots
from pyrosynth.audio.descriptors import UNITS
from pyrosynth.data.bank import Bank
from pyrosynth.errors import counted
from pyrosynth.evaluation import figures
from pyrosynth.evaluation.calibration import LEVELS, Calibration
from pyrosynth.evaluation.methods import nearest_presets
from pyrosynth.evaluation.scores import BANK, HELD_OUT, REFERENCE, answer_name, per_target
from pyrosynth.evaluation.tables import (
    CHECK_LEGEND,
    COMPARE_LEGEND,
    COVERAGE_LEGEND,
    SURE,
    budget_table,
    check_table,
    costs_table,
    coverage_table,
    metrics_table,
    order,
    tests_table,
)
from pyrosynth.evaluation.targets import Targets
from pyrosynth.plots import png
from pyrosynth.report import (
    Block,
    files_beside,
    heading,
    matched_gains,
    picture,
    player,
    players,
    section,
    table,
    text,
    wav_sources,
    write_report,
)
from pyrosynth.synths.knobs import titles
from pyrosynth.synths.rendering import Renderer

if TYPE_CHECKING:
    from pandas import DataFrame

    from pyrosynth.evaluation.benchmark import Benchmark
    from pyrosynth.evaluation.check import CheckScores

Figures = Mapping[str, tuple[bytes, str]]

# Quantiles of the distance that examples to listen to are taken at.
CHECK_EXAMPLES = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0)
COMPARE_EXAMPLES = (0.1, 0.5, 0.9)
CHECK_FILES = {
    "table.csv": "the distances of all methods, all metrics",
    "table.md": "the same, to read",
    "summary.json": "all figures of this page",
    "coverage.md": "how often intervals hold the truth",
    "check.nc": "every draw and every score, for ArviZ and xarray",
}
COMPARE_FILES = {
    "table.csv": "the scores of all methods, all metrics",
    "table.md": "the tables of this page, to read",
    "tests.csv": "the paired tests",
    "compare.json": "all figures of this page, and how they were made",
}
STAR = "★"  # before the best of those that cost as many renders


def check_figures(result: "CheckScores", calibration: Calibration) -> dict[str, tuple[bytes, str]]:
    """Return PNG and caption of each figure of a check, by name."""
    rendered, draws = result.rendered, result.draws
    described = rendered["descriptors"].swapaxes(0, 1)
    drawn: dict[str, tuple[Any, str]] = {
        "distances": (
            figures.distances(result.scores),
            "Log-spectral distance of each method's answers, re-rendered.",
        ),
        "calibration": (
            figures.calibration(calibration, titles(result.runner.targets.space)),
            "On held-out human presets. Left: where the truth ranks among the draws; lines that "
            "leave the grey band are off. Middle and right: how often intervals and regions hold "
            "the truth; grey is what chance allows. Below the diagonal: too sure; above: too "
            "cautious.",
        ),
        "descriptors": (
            figures.descriptors(described[draws], described[:draws], UNITS),
            "Descriptors of each held-out sound, and of the draws of its posterior, re-rendered: "
            f"about {100 * figures.share_inside(draws):.0f} % should be inside (blue).",
        ),
    }
    if result.searches:
        lsd = result.scores.groupby("method")["lsd"].mean()
        levels = {name: float(lsd[name]) for name in (REFERENCE, BANK) if name in lsd}
        curves = {}
        for (method, answer), found in reversed(list(result.searches.items())):
            best = found["best_so_far"].mean(axis=0)
            known = np.flatnonzero(np.isfinite(best))
            curves[answer_name(method, answer)] = np.stack([known + 1.0, best[known]], axis=1)
        caption = "What rendering more brings: smallest distance so far, mean over the presets."
        drawn["search"] = plots.trace(curves, levels), caption
    return {name: (png(axes), caption) for name, (axes, caption) in drawn.items()}


def check_report(
    path: str | Path,
    result: "CheckScores",
    frame: "DataFrame",
    drawn: Figures,
    summary: Mapping[str, Any],
) -> None:
    """Render some of the presets once more, to listen to, and write the report of a check.

    Args:
        path: The HTML file.
        result: What all methods answered.
        frame: The summary of their scores.
        drawn: From ``check_figures``.
        summary: Facts and coverage, as in ``summary.json``.

    Raises:
        InputError: The file cannot be written.
    """

    def shown(*names: str) -> list[Block]:
        return [picture(drawn[n][0], n, drawn[n][1]) for n in names if n in drawn]

    rows: Any = frame.set_index(["method", "answer"])
    best = rows.loc[result.best]
    facts = {
        "held-out presets": str(summary["presets"]),
        f"LSD, {result.best[1]}": f"{best['lsd_mean']:.2f} dB",
        "LSD, retrieval": f"{rows.loc[(REFERENCE, ''), 'lsd_mean']:.2f} dB",
        "beats retrieval on": f"{100 * best['wins']:.0f} %",
    }
    lead = (
        f"Model '{summary['variant']}' of {summary['synth']}: "
        f"{counted(summary['presets'], 'preset')} made "
        "by people and never seen in training, inferred from their sounds."
    )
    if not summary["same_dataset"]:
        lead += " The run was fitted on another dataset, so it may have seen some of them."
    percent = [f"{100 * level:.0f} %" for level in LEVELS]
    called = dict(
        zip(result.runner.targets.space.names, titles(result.runner.targets.space), strict=True)
    )
    coverage = [
        [called[name], *(f"{100 * share:.0f} %" for share in shares)]
        for name, shares in summary["coverage_of_parameters"].items()
    ]
    headers, cells = check_table(frame)
    answers = zip(frame["method"], frame["answer"], strict=True)
    marked = [i for i, answer in enumerate(answers) if answer == result.best]
    failed = [text("Left out: " + "; ".join(summary["failures"]))] if summary["failures"] else []
    sections = [
        section(
            "How near", table(headers, cells, note=CHECK_LEGEND, marked=marked), *failed,
            *shown("distances", "search"),
        ),
        section("Listen", *_check_examples(result)),
        section(
            "Does the posterior mean what it says?",
            *shown("calibration"),
            table(*coverage_table(summary), note=COVERAGE_LEGEND),
            table(("control", *percent), coverage, folded="coverage of each control"),
        ),
        section("What the sounds tell", *_told(summary, called)),
        section("Do its draws sound right?", *shown("descriptors")),
    ]  # fmt: skip
    sections.append(files_beside(path, CHECK_FILES))
    title = f"Check of {summary['variant']} on {summary['synth']}"
    write_report(path, title, lead, facts, sections)


def _told(summary: Mapping[str, Any], called: Mapping[str, str]) -> list[Block]:
    """Return what sounds tell of each control, and which controls trade off."""
    blocks: list[Block] = []
    if "contraction" in summary:
        shares = sorted(summary["contraction"].items(), key=lambda item: -item[1])
        note = "How much narrower the draws are than the known presets, mean over the sounds: "
        note += "1 - variance / variance, of controls with few settings 1 - entropy / entropy."
        rows = [[called[name], f"{share:.2f}"] for name, share in shares]
        blocks.append(table(("control", "contraction"), rows, note=note))
    pairs = [
        [called[pair["first"]], called[pair["second"]], f"{pair['correlation']:+.2f}"]
        for pair in summary["trade_offs"]
    ]
    if pairs:
        note = "Rank correlation of the half of the draws that sounds nearest, mean over the "
        note += "sounds: one control can stand in for the other."
        blocks.append(table(("control", "trades off with", "correlation"), pairs, note=note))
    return blocks or [text("No controls trade off on average.")]


def _check_examples(result: "CheckScores") -> list[Block]:
    """Return players of presets from the nearest to the farthest, and of what was inferred."""
    targets = result.runner.targets
    assert targets.values is not None
    by_answer = per_target(result.scores)["lsd"].groupby(["method", "answer"])
    lsd = by_answer.get_group(result.best).to_numpy()
    chosen = _spread(lsd, CHECK_EXAMPLES)
    answers: dict[str, tuple[Any, Any]] = {"held-out preset": (targets.values, None)}
    if result.best in result.searches:
        answers["inferred"] = (result.searches[result.best]["values"], lsd)
    nearest = by_answer.get_group((REFERENCE, "")).to_numpy()
    answers["nearest human preset"] = (result.baselines[REFERENCE], nearest)
    renderer = result.runner.renderer
    renderer.keep_audio = True
    return _examples(targets, chosen, renderer, answers)


def comparison_figures(frame: "DataFrame") -> dict[str, bytes]:
    """Return the PNG of each set of sounds, by the name of its file."""
    return {
        "plot" if sounds == HELD_OUT else f"plot-{sounds.replace(' ', '-')}": png(
            figures.comparison(frame, sounds)
        )
        for sounds in _answered(frame)
    }


def compare_report(
    path: str | Path,
    benchmark: "Benchmark",
    frame: "DataFrame",
    tests: "DataFrame",
    drawn: Mapping[str, bytes],
    summary: Mapping[str, Any],
) -> None:
    """Render some of the sounds once more, to listen to, and write the report of a comparison.

    Args:
        path: The HTML file.
        benchmark: What was done.
        frame: The summary of its scores.
        tests: Its paired tests.
        drawn: From ``comparison_figures``.
        summary: As in ``compare.json``.

    Raises:
        InputError: The file cannot be written.
    """
    best = benchmark.best()
    sections = []
    for sounds, figure in zip(_answered(frame), drawn.values(), strict=True):
        headers, rows = budget_table(frame, sounds)
        brief = [[_brief(cell) for cell in row] for row in rows]
        sections.append(
            section(
                sounds.capitalize(),
                table(headers, brief, note=COMPARE_LEGEND.format(best=STAR)),
                picture(
                    figure, f"Distances of all methods to {sounds}",
                    "Dots: each answer of each method, with the 95 % interval; left: mean "
                    "log-spectral distance, right: median spectral convergence. Below the line: "
                    "methods that learn nothing.",
                ),
                table(*metrics_table(frame, sounds), folded="all metrics"),
                table(*tests_table(tests, sounds, "lsd"), folded="paired tests, LSD"),
                table(*tests_table(tests, sounds, "sc"), folded="paired tests, SC"),
            )
        )  # fmt: skip
    if best is not None:
        sections.append(section("Listen", *_comparison_examples(benchmark, best)))
    sections.append(section("What it cost, and how it was made", *_making(frame, summary)))
    sections.append(files_beside(path, COMPARE_FILES))
    facts = {"best model": best or "none"}
    if best is not None:
        own = frame[(frame["method"] == best) & (frame["sounds"] == HELD_OUT)]
        row = own[own["answer"].str.startswith("best of")].iloc[-1]
        facts[f"LSD, {row['answer']}"] = f"{row['lsd_mean']:.2f} dB"
    facts |= {k: str(n) for k, n in summary["sounds"].items()}
    data = summary["dataset"]
    title = f"Comparison on {data['synth']}, {counted(len(data['learnt']), 'parameter')}"
    lead = (
        f"{counted(len(order(frame)), 'method')} on one split: "
        f"{counted(data['train'], 'training sound')}, one budget for all, every "
        "answer rendered by the real synth."
    )
    write_report(path, title, lead, facts, sections)


def _comparison_examples(benchmark: "Benchmark", best: str) -> list[Block]:
    """Return players of sounds, of the best model's nearest draws, and of nearest presets."""
    result = benchmark.first(best)
    human = Bank.from_dataset(benchmark.dataset, augmented=False)
    blocks: list[Block] = []
    for sounds, targets in benchmark.targets.items():
        lsd = result.draw_lsd[sounds]
        chosen = _spread(lsd.min(axis=1), COMPARE_EXAMPLES)
        points = result.v[sounds][np.arange(len(targets)), lsd.argmin(axis=1)]
        answers = {
            f"{best}, nearest draw": (
                targets.complete(targets.space.to_unit(targets.space.decode(points))),
                lsd.min(axis=1),
            ),
            "nearest human preset": (nearest_presets(human, targets.x), None),
        }
        blocks += _examples(targets, chosen, benchmark.renderer, answers)
    return blocks


def _spread(lsd: NDArray[Any], quantiles: Sequence[float]) -> NDArray[np.int64]:
    """Return the positions of targets at quantiles of the distance."""
    positions = np.unique(np.round(np.array(quantiles) * (len(lsd) - 1)).astype(int))
    return np.argsort(lsd, kind="stable")[positions]


def _examples(
    targets: Targets,
    chosen: NDArray[np.int64],
    renderer: Renderer,
    answers: Mapping[str, tuple[NDArray[Any], NDArray[Any] | None]],
) -> list[Block]:
    """Return players of chosen targets, first the audio of each if it is kept, and of answers.

    Args:
        targets: The targets.
        chosen: Positions of those to listen to.
        renderer: Renders the answers, and keeps audio.
        answers: Native values (n, n_params), and distances in dB (n,) if known, by label.
    """
    rendered = renderer.render(np.concatenate([values[chosen] for values, _ in answers.values()]))
    assert rendered.audio is not None
    audio = rendered.audio.reshape(len(answers), len(chosen), -1)
    blocks = []
    for k, i in enumerate(chosen):
        sounds = list(audio[:, k])
        labels = [
            (label, "" if lsd is None else f"{lsd[i]:.2f} dB away")
            for label, (_, lsd) in answers.items()
        ]
        if targets.audio is not None:
            sounds, labels = [targets.audio[i], *sounds], [("target", ""), *labels]
        sources = wav_sources(sounds, targets.features.sample_rate)
        each = zip(labels, sources, matched_gains(sounds), strict=True)
        items = [player(*label, source, gain) for label, source, gain in each]
        blocks += [heading(targets.names[i]), players(items, switch=True)]
    return blocks


def _answered(frame: "DataFrame") -> list[str]:
    """Return the sets of sounds that there are answers to."""
    if "lsd_mean" not in frame:
        return []
    sounds: list[str] = frame[frame["lsd_mean"].notna()]["sounds"].unique().tolist()
    return sounds


def _brief(cell: str) -> str:
    """Leave out the interval, which the figure shows, and mark the best by a star."""
    short = re.sub(r" \[.*?\]", "", cell)
    return f"{STAR} {short.strip('*')}" if short.startswith(SURE) else short


def _making(frame: "DataFrame", summary: Mapping[str, Any]) -> list[Block]:
    """Return times, failures and provenance."""
    facts = {
        "command": summary["made_by"],
        "time": summary["time"],
        "processor": f"{summary['processor']}, {counted(summary['cores'], 'core')}",
        "machine": summary["machine"],
        "GPU": summary.get("gpu", ""),
        "versions": ", ".join(f"{k} {v}" for k, v in summary["versions"].items()),
        "dataset": f"{summary['dataset']['path']} ({summary['dataset']['contract_sha256'][:12]})",
        "training": ", ".join(f"{k} {v}" for k, v in summary["training"].items()),
    }
    blocks = [
        table(*costs_table(frame), note="Means over the seeds, over all calls of a fit."),
        table(("", ""), [[k, v] for k, v in facts.items() if v], folded="how it was made"),
    ]
    if summary["failures"]:
        blocks.append(text("What failed, and why:"))
        blocks.append(table(("what", "why"), [[*item] for item in summary["failures"].items()]))
    return blocks
