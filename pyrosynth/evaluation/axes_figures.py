"""Pictures of axes of tags: how they lie to what is heard, and what moving along them does."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pyrosynth.evaluation.axes import Axes
from pyrosynth.evaluation.sweeps import AMOUNTS, CENTER, DOWN, NUMBERS, UP, Sweeps
from pyrosynth.plots import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, bare

Float = NDArray[np.float64]

WIDTH = 11.0  # inches
COLORS = (BLUE, ORANGE, GREEN, RED, PURPLE)  # of the numbers


def scatter(found: Axes, coordinates: Float, numbers: Float, labels: Float) -> Figure:
    """Show the number behind each tag against its axis, one point for each preset.

    Args:
        found: The measures.
        coordinates: Of the presets along the axes, shape (n, n_tags).
        numbers: Behind the tags, same shape; NaN where there is none.
        labels: Number of the word, NaN where none holds, same shape.
    """
    n_tags = len(found.tags)
    figure = Figure(figsize=(max(4.0, 2.3 * n_tags), 2.9), layout="constrained")
    for i, ax in enumerate(np.atleast_1d(figure.subplots(1, n_tags))):
        known = np.isfinite(numbers[:, i]).any()
        y = numbers[:, i] if known else labels[:, i]
        ends = np.nanmin(labels[:, i]), np.nanmax(labels[:, i])
        for label, color in ((None, "0.75"), (ends[0], BLUE), (ends[1], ORANGE)):
            rows = labels[:, i] == label if label is not None else ~np.isin(labels[:, i], ends)
            ax.scatter(coordinates[rows, i], y[rows], s=7, color=color, linewidth=0, alpha=0.8)
        said = f"ρ {found.follows[i, i]:.2f}, " if known else ""
        ax.set_title(f"{found.tags[i]}\n{said}AUC {found.auc[i]:.2f}", fontsize=10)
        ax.set_xlabel("axis (spreads)")
        ax.tick_params(labelsize=8)
        bare(ax)
    return figure


def leakage(found: Axes, sweeps: Sweeps) -> Figure:
    """Show what else axes follow, how related the numbers are, and what steering changes."""
    figure = Figure(figsize=(WIDTH, 1.5 + 0.42 * len(found.tags)), layout="constrained")
    panels = (
        ("axis against number, ρ", found.tags, found.tags, found.follows),
        ("number against number, ρ", found.tags, found.tags, found.related),
        ("heard from −1 to +1 (spreads)", found.tags, NUMBERS, sweeps.change),
    )
    for ax, (title, rows, columns, values) in zip(figure.subplots(1, 3), panels, strict=True):
        limit = max(1.0, float(np.nanmax(np.abs(values), initial=0.0)))
        ax.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
        for (i, j), value in np.ndenumerate(values):
            color = "white" if abs(value) > 0.6 * limit else "black"
            ax.text(j, i, f"{value:+.2f}", ha="center", va="center", fontsize=8.5, color=color)
        ax.set_xticks(range(len(columns)), columns, rotation=30, ha="right", fontsize=9)
        ax.set_yticks(range(len(rows)), rows, fontsize=9)
        ax.set_title(title, fontsize=10.5)
        ax.tick_params(length=0)
    return figure


def sweeps(found: Sweeps) -> Figure:
    """Show how all numbers move along each axis, its own in front of those of all presets."""
    n_tags = len(found.tags)
    figure = Figure(figsize=(max(4.0, 2.3 * n_tags), 3.3), layout="constrained")
    for i, ax in enumerate(np.atleast_1d(figure.subplots(1, n_tags, sharey=True))):
        moved = found.numbers[i] - found.numbers[i][:, [CENTER]]
        moved = moved / found.spread
        own = found.own(i)
        if own is not None:
            ax.plot(AMOUNTS, moved[:, :, own].T, color="0.85", linewidth=0.7, zorder=0)
        for j, (name, color) in enumerate(zip(NUMBERS, COLORS, strict=True)):
            ax.plot(
                AMOUNTS, np.nanmean(moved[:, :, j], axis=0), color=color, label=name,
                linewidth=2.6 if j == own else 1.3, linestyle="-" if j == own else "--",
            )  # fmt: skip
        ax.axhline(0, color=GREY, linewidth=0.6, zorder=0)
        ax.set_ylim(-3.2, 3.2)
        ax.set_title(found.tags[i], fontsize=11)
        ax.set_xlabel("moved by (spreads of the axis)")
        ax.tick_params(labelsize=9)
        bare(ax)
        if not i:
            ax.set_ylabel("change heard (spreads of presets)")
            handles, labels = ax.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(NUMBERS), frameon=False)
    return figure


def before_and_after(found: Sweeps, chosen: Sequence[int], i: int) -> Figure:
    """Show some presets steered down and up one axis: all numbers, before and after.

    Args:
        found: The sweeps.
        chosen: The presets.
        i: The axis.
    """
    own = found.own(i)
    figure = Figure(figsize=(WIDTH, 2.4), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(chosen), sharex=True, sharey=True))
    reach = 1.0
    for ax, k in zip(panels, chosen, strict=True):
        shown = found.numbers[i, k, [DOWN, CENTER, UP]] / found.spread
        shown = shown - shown[1]
        for step, (color, label) in enumerate(((BLUE, "−1"), (GREY, "as is"), (ORANGE, "+1"))):
            ax.plot(shown[step], range(len(NUMBERS)), "o", color=color, label=label)
        reach = max(reach, float(np.nanmax(np.abs(shown), initial=0.0)))
        ax.hlines(range(len(NUMBERS)), shown.min(0), shown.max(0), color="0.8", zorder=0)
        if own is not None:
            ax.axhspan(own - 0.4, own + 0.4, color="#fff1dc", zorder=-1)
        ax.set_yticks(range(len(NUMBERS)), NUMBERS, fontsize=9)
        ax.set_ylim(len(NUMBERS) - 0.5, -0.5)
        ax.set_title(found.presets[k][:20], fontsize=10)
        ax.set_xlabel("change (spreads)")
        bare(ax)
    panels[0].set_xlim(-1.08 * reach, 1.08 * reach)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False)
    return figure
