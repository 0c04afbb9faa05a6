"""The report of axes of tags: figures, pictures, and sounds before and after steering."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pyrosynth.data.tags import Tag
from pyrosynth.evaluation import axes_figures as axes_plots
from pyrosynth.evaluation.axes import Axes, steer
from pyrosynth.evaluation.costs import Cost
from pyrosynth.evaluation.sweeps import AMOUNTS, CENTER, DOWN, NUMBERS, UP, Sweeps
from pyrosynth.inference.posterior import Posterior
from pyrosynth.plots import png
from pyrosynth.report import (
    Block,
    heading,
    picture,
    player,
    section,
    table,
    wav_sources,
    write_report,
)
from pyrosynth.synths.rendering import Renderer

if TYPE_CHECKING:
    from pandas import DataFrame

Float = NDArray[np.float64]

UNITS = ("dB", "octaves", "nats", "s", "nats")  # of the numbers of `tagging.describe_features`
ENDS = (DOWN, CENTER, UP)
HEADERS = (
    "axis", "AUC", "Spearman", "leakage", "related", "gap", "at best", "monotony", "rising",
    "right way", "own change", "other change", "other size",
)  # fmt: skip
LEGEND = (
    "On presets held out from the fit. AUC: how well the axis tells the first word from the last. "
    "Spearman: rank correlation with the number behind the tag. Leakage: the largest one with the "
    "number of another tag; related: how related that tag's own number is to the others, which "
    "any axis that follows it leaks. Gap: mutual information gap of the axis (1: it alone knows "
    "the number; negative: another coordinate knows more); at best: the gap if the numbers "
    "themselves were the axes. The rest was played by the synth, in steps from −2 to +2. "
    "Monotony: rank correlation of step and number, mean over the presets; rising: share of steps "
    "in the right direction; right way: share of presets that −1 to +1 moves in it. Own and other "
    "change: what −1 to +1 adds to the tag's own number and, the largest, to another one, mean "
    "over the presets, in standard deviations of the human ones; other size: the same of the "
    "changes of single presets, whatever their sign."
)


def axes_report(
    path: str | Path,
    posterior: Posterior,
    tags: Sequence[Tag],
    found: Axes,
    sweeps: Sweeps,
    cost: Cost | None,
    frame: "DataFrame",
    drawn: Mapping[str, bytes],
    examples: Float,
    renderer: Renderer,
) -> None:
    """Play some presets down, as they are and up each axis, and write the report.

    Args:
        path: The HTML file.
        posterior: The run.
        tags: Its tags with their words.
        found: Measures of its axes.
        sweeps: What was heard along them.
        cost: The run beside one without tags, if there is one.
        frame: The table, one row for each axis.
        drawn: PNG of each picture: ``scatter``, ``leakage``, ``sweeps``.
        examples: Native values of the first presets of the sweeps, shape (n, n_params).
        renderer: From ``posterior.renderer(keep_audio=True)``.

    Raises:
        RunError: The file cannot be written.
    """
    low, high = found.to_json()["spread"]
    facts = {
        "axes": str(len(tags)),
        "held-out presets": str(found.n_presets),
        "information gap (MIG)": f"{found.mig:.2f}",
        "spread of the rest": f"{low:.2f} to {high:.2f}",
    }
    if cost is not None:
        share = cost.share
        facts[f"distance, beside {cost.model}"] = f"{100 * share.estimate:+.1f} %"
    lead = (
        f"The axes that the model '{type(posterior.variant).__name__}' of {posterior.synth.name} "
        f"has learnt for {', '.join(tag.name for tag in tags)}."
    )
    sections = [
        section(
            "How well they do",
            table(HEADERS, text_rows(frame), note=LEGEND),
            picture(
                drawn["scatter"], "The number behind each tag against its axis",
                "Each point is a held-out preset. Blue: the first word of the tag holds, orange: "
                "the last, grey: neither or unknown.",
            ),
        ),
        section(
            "What else moves",
            picture(
                drawn["leakage"], "Leakage",
                "Left: what each axis follows. Middle: how related the numbers are among presets. "
                "Right: what moving presets from −1 to +1 changes on average, as played.",
            ),
            picture(
                drawn["sweeps"], "Numbers along each axis",
                "Presets moved along each axis and played: mean change of each number; bold: "
                "its own; grey: its own, preset by preset.",
            ),
        ),
        section("Listen", *_examples(posterior, tags, sweeps, examples, renderer)),
    ]  # fmt: skip
    if cost is not None:
        low, high = 100 * cost.share.low, 100 * cost.share.high
        note = (
            f"By {100 * cost.share.estimate:+.1f} % [{low:+.1f} to {high:+.1f}] the distance is "
            f"larger than beside it: {cost.difference} dB, paired over the presets (95 % "
            "bootstrap intervals)."
        )
        cells = [
            [type(posterior.variant).__name__, f"{cost.lsd.mean():.2f}"],
            [f"{cost.model}, beside it", f"{cost.other_lsd.mean():.2f}"],
        ]
        of = f"{len(cost.lsd)} held-out presets, nearest of {cost.draws} draws"
        sections.append(
            section("What they cost", table(("model", f"LSD dB ({of})"), cells, note=note))
        )
    write_report(path, f"Axes of tags of {posterior.synth.name}", lead, facts, sections)


def text_rows(frame: "DataFrame") -> list[list[str]]:
    """Return the cells of a table of axes as people read them, as in ``HEADERS``."""
    rows = []
    for row in frame.drop(columns="words").to_dict("records"):
        cells = [str(row.pop("tag"))]
        for name, value in row.items():
            share = name in ("rising", "right")
            told = f"{100 * value:.0f} %" if share else f"{value:.2f}"
            cells.append("–" if np.isnan(value) else told)
        rows.append(cells)
    return rows


def markdown(frame: "DataFrame") -> str:
    """Return a table of axes in Markdown."""
    lines = [HEADERS, ["---"] * len(HEADERS), *text_rows(frame)]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _examples(
    posterior: Posterior, tags: Sequence[Tag], sweeps: Sweeps, values: Float, renderer: Renderer
) -> list[Block]:
    """Return players of some presets before and after steering, with all numbers."""
    blocks: list[Block] = []
    chosen = range(len(values))
    for i, tag in enumerate(tags):
        moved = steer(posterior, values, tag.name, AMOUNTS[list(ENDS), None])
        rendered = renderer.render(moved.swapaxes(0, 1).reshape(-1, values.shape[1]))
        assert rendered.audio is not None
        audio = rendered.audio.reshape(len(values), len(ENDS), -1)
        rate = posterior.run.features.sample_rate
        heard, lines = [], []
        for k in chosen:
            sounds = wav_sources(list(audio[k]), rate)
            name = sweeps.presets[k]
            heard.append([name, *(player(name, "", sound) for sound in sounds)])
            numbers = sweeps.numbers[i, k][list(ENDS)].T
            lines.append([name, *(" → ".join(f"{n:.2f}" for n in line) for line in numbers)])
        units = [f"{name} ({unit})" for name, unit in zip(NUMBERS, UNITS, strict=True)]
        first, last = tag.classes[0], tag.classes[-1]
        blocks += [
            heading(f"{tag.name}: {first} or {last} by one spread"),
            table(("preset", f"{first} (−1)", "as it is", f"{last} (+1)"), heard),
            picture(
                png(axes_plots.before_and_after(sweeps, chosen, i)),
                f"Before and after along {tag.name}",
                "By how much each number of what is heard changes, in standard deviations of the "
                "human presets.",
            ),
            table(("preset", *units), lines, folded="the numbers at −1, as it is, at +1"),
        ]
    return blocks
