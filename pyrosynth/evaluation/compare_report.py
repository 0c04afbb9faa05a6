"""The pictures and the report of a comparison."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pyrosynth.data.bank import Bank
from pyrosynth.evaluation.baselines import nearest_presets
from pyrosynth.evaluation.compare_figures import standings_plot
from pyrosynth.evaluation.contest import Contest
from pyrosynth.evaluation.scoreboard import (
    LEGEND,
    SURE,
    costs_table,
    differences_table,
    measures_table,
    order,
    standings_table,
)
from pyrosynth.evaluation.standings import HELD_OUT
from pyrosynth.plots import png
from pyrosynth.report import (
    Block,
    heading,
    picture,
    player,
    players,
    section,
    table,
    text,
    wav_sources,
    write_report,
)
from pyrosynth.synths.params import Subspace

if TYPE_CHECKING:
    from pandas import DataFrame

NAMES = {HELD_OUT: "plot"}  # of the pictures; those of other sounds by what they are
STAR = "★"  # before the best of those that cost as many renders
HEARD = (0.1, 0.5, 0.9)  # quantiles of the distance that examples are taken at


def pictures(frame: "DataFrame") -> dict[str, bytes]:
    """Return the PNG of each set of sounds, by the name of its file."""
    done = frame[frame["lsd_mean"].notna()] if "lsd_mean" in frame else frame[:0]
    return {
        NAMES.get(sounds, f"plot-{sounds.replace(' ', '-')}"): png(standings_plot(frame, sounds))
        for sounds in done["sounds"].unique()
    }


def compare_report(
    path: str | Path,
    contest: Contest,
    frame: "DataFrame",
    tests: "DataFrame",
    drawn: Mapping[str, bytes],
    summary: Mapping[str, Any],
) -> None:
    """Play some of the sounds once more, to listen to, and write the report of a comparison.

    Args:
        path: The HTML file.
        contest: What was done.
        frame: Its standings.
        tests: Its statistics.
        drawn: From ``pictures``.
        summary: As in ``compare.json``.

    Raises:
        RunError: The file cannot be written.
    """
    best = contest.best()
    sections = []
    for sounds, plot in zip(_shown(frame), drawn.values(), strict=True):
        headers, rows = standings_table(frame, sounds)
        brief = [[_brief(cell) for cell in row] for row in rows]
        sections.append(
            section(
                sounds.capitalize(),
                table(headers, brief, note=LEGEND.format(best=STAR)),
                picture(
                    plot, f"Distances of all methods to {sounds}",
                    "Dots: each answer of each method, with the 95 % interval; left: mean "
                    "log-spectral distance, right: median spectral convergence. Below the line: "
                    "methods that learn nothing.",
                ),
                table(*measures_table(frame, sounds), folded="all measures"),
                table(*differences_table(tests, sounds, "lsd"), folded="paired tests, LSD"),
                table(*differences_table(tests, sounds, "sc"), folded="paired tests, SC"),
            )
        )  # fmt: skip
    if best is not None:
        sections.append(section("Listen", *_examples(contest, best)))
    sections.append(section("What it cost, and how it was made", *_making(frame, summary)))
    facts = {"best model": best or "none"}
    if best is not None:
        own = frame[(frame["method"] == best) & (frame["sounds"] == HELD_OUT)]
        row = own[own["answer"].str.startswith("best of")].iloc[-1]
        facts[f"LSD, {row['answer']}"] = f"{row['lsd_mean']:.2f} dB"
    facts |= {k: str(n) for k, n in summary["sounds"].items()}
    data = summary["dataset"]
    title = f"Comparison on {data['synth']}, {len(data['learnt'])} parameters"
    lead = (
        f"{len(order(frame))} methods on one split: {data['train']:,} training "
        "sounds, one budget for all, every answer played by the real synth."
    )
    write_report(path, title, lead, facts, sections)


def _brief(cell: str) -> str:
    """Leave out the interval, which the picture shows, and mark the best by a star."""
    text = re.sub(r" \[.*?\]", "", cell)
    return f"{STAR} {text.strip('*')}" if text.startswith(SURE) else text


def _shown(frame: "DataFrame") -> list[str]:
    """Return the sets of sounds that there are pictures of."""
    return frame[frame["lsd_mean"].notna()]["sounds"].unique().tolist() if len(frame) else []


def _examples(contest: Contest, best: str) -> list[Block]:
    """Return players of sounds, and of what the best model and retrieval say to them."""
    _, judged = contest.first(best)
    human = Bank.from_dataset(contest.dataset, augmented=False)
    blocks: list[Block] = []
    rate = contest.dataset.features.sample_rate
    for sounds, targets in contest.targets.items():
        assert targets.audio is not None
        lsd = np.asarray(judged.scores[sounds]["one draw"].lsd)
        nearest = lsd.min(axis=0)
        places = np.unique(np.round(np.array(HEARD) * (len(targets) - 1)).astype(int))
        chosen = np.argsort(nearest, kind="stable")[places]
        points = judged.v[sounds][chosen, lsd.argmin(axis=0)[chosen]]
        values = Subspace(targets.full_space, targets.space).complete(targets.space.decode(points))
        known = nearest_presets(human, targets.x[chosen])
        rendered = contest.renderer.render(np.concatenate([values, known]))
        assert rendered.audio is not None
        answers, presets = np.split(rendered.audio, 2)
        for k, i in enumerate(chosen):
            sources = wav_sources([targets.audio[i], answers[k], presets[k]], rate)
            blocks += [
                heading(targets.names[i]),
                players(
                    [
                        player("target", "", sources[0]),
                        player(f"{best}, nearest draw", f"{nearest[i]:.2f} dB away", sources[1]),
                        player("nearest human preset", "", sources[2]),
                    ]
                ),
            ]
    return blocks


def _making(frame: "DataFrame", summary: Mapping[str, Any]) -> list[Block]:
    """Return times, failures and provenance."""
    facts = {
        "command": summary["made_by"],
        "time": summary["time"],
        "processor": f"{summary['processor']}, {summary['cores']} cores",
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
