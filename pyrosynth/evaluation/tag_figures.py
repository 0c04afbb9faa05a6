"""Figures of the axes of tags: what they follow, what else moves, presets steered along them.

Every function draws on the axes it is given, else on those of a new figure, and returns them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from pyrosynth.data.labeling import DESCRIBED_UNITS
from pyrosynth.evaluation.disentanglement import AxisMeasures
from pyrosynth.evaluation.steering import AMOUNTS, CENTER, DESCRIPTORS, DOWN, UP, Steering
from pyrosynth.plots import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    axes_for,
    bare,
    new_axes,
    require_axes,
    shortened,
)

Float = NDArray[np.float64]

COLORS = (BLUE, ORANGE, GREEN, RED, PURPLE)  # of the descriptors
AXES_WIDTH = 11.0  # inches, of figures of tag axes
PANELS = 5  # side by side, in figures of tag axes


def tag_axes(
    measures: AxisMeasures,
    coordinates: Float,
    descriptors: Float,
    labels: Float,
    classes: Sequence[Sequence[str]],
    ax: Any = None,
) -> Any:
    """Show the descriptor behind each tag against its axis, one point for each preset.

    A tag without a descriptor shows its classes instead.

    Args:
        measures: The measures of the axes.
        coordinates: Of the presets along the axes, shape (n, n_tags).
        descriptors: Behind the tags, same shape; NaN where there is none.
        labels: Number of the class, NaN where none is known, same shape.
        classes: Names of the classes of each tag.
        ax: An axes for each tag to draw on.
    """
    n_tags = len(measures.tags)
    axes = _panels(n_tags, 2.9) if ax is None else require_axes(ax, n_tags)
    for i, one in enumerate(axes):
        known = np.isfinite(descriptors[:, i]).any()
        y = descriptors[:, i] if known else labels[:, i]
        ends = np.nanmin(labels[:, i]), np.nanmax(labels[:, i])
        for label, color in ((None, "0.75"), (ends[0], BLUE), (ends[1], ORANGE)):
            rows = labels[:, i] == label if label is not None else ~np.isin(labels[:, i], ends)
            one.scatter(coordinates[rows, i], y[rows], s=7, color=color, linewidth=0, alpha=0.8)
        said = f"ρ {measures.correlation[i, i]:.2f}, " if known else ""
        if known:
            one.set_ylabel(f"{measures.tags[i]} ({DESCRIBED_UNITS[measures.tags[i]]})", fontsize=8)
        else:
            one.set_yticks(range(len(classes[i])), classes[i])
        one.set_title(f"{measures.tags[i]}\n{said}AUC {measures.auc[i]:.2f}", fontsize=10)
        one.set_xlabel("axis (standard deviations)")
        one.tick_params(labelsize=8)
        bare(one)
    return axes


def leakage(measures: AxisMeasures, steering: Steering, ax: Any = None) -> Any:
    """Show what else axes follow, how related descriptors are, and what steering changes.

    Args:
        measures: The measures of the axes.
        steering: What is rendered along them.
        ax: Three axes to draw on.
    """
    tags = measures.tags
    size = (max(AXES_WIDTH, 1.3 * len(tags) + 3.0), 1.5 + 0.42 * len(tags))
    axes = axes_for(ax, size, 1, 3, width_ratios=(len(tags), len(tags), 5))
    panels = (
        ("axis and descriptor, ρ", tags, measures.correlation),
        ("descriptor and descriptor, ρ", tags, measures.related),
        ("change from −1 to +1 (std)", DESCRIPTORS, steering.change),
    )
    for one, (title, columns, values) in zip(axes, panels, strict=True):
        limit = max(1.0, float(np.nanmax(np.abs(values), initial=0.0)))
        one.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
        for (i, j), value in np.ndenumerate(values):
            color = "white" if abs(value) > 0.6 * limit else "black"
            one.text(j, i, _signed(value), ha="center", va="center", fontsize=8.5, color=color)
        one.set_xticks(range(len(columns)), columns, rotation=30, ha="right", fontsize=9)
        one.set_yticks(range(len(tags)), tags, fontsize=9)
        one.set_title(title, fontsize=10.5)
        one.tick_params(length=0)
    return axes


def steering(found: Steering, ax: Any = None) -> Any:
    """Show how all descriptors move along each axis, and the tag's own preset by preset.

    Presets that are left out of the figures of an axis are left out here too.

    Args:
        found: What is rendered along the axes.
        ax: An axes for each tag to draw on.
    """
    n_tags = len(found.tags)
    axes = _panels(n_tags, 3.3, sharey=True) if ax is None else require_axes(ax, n_tags)
    for i, one in enumerate(axes):
        sounding = found.descriptors[i, found.sounding[i]]
        moved = (sounding - sounding[:, [CENTER]]) / found.spread
        if not len(moved):
            moved = np.full((1, len(AMOUNTS), len(DESCRIPTORS)), np.nan)
        own = found.own(i)
        if own is not None:
            one.plot(AMOUNTS, moved[:, :, own].T, color="0.85", linewidth=0.7, zorder=0)
        for j, (name, color) in enumerate(zip(DESCRIPTORS, COLORS, strict=True)):
            one.plot(
                AMOUNTS, moved[:, :, j].mean(axis=0), color=color, label=name,
                linewidth=2.6 if j == own else 1.3, linestyle="-" if j == own else "--",
            )  # fmt: skip
        one.axhline(0, color=GREY, linewidth=0.6, zorder=0)
        one.set_ylim(-3.2, 3.2)
        one.set_title(found.tags[i], fontsize=11)
        one.set_xlabel("moved along the axis (std)")
        one.tick_params(labelsize=9)
        bare(one)
    for one in axes[::PANELS]:
        one.set_ylabel("change of descriptor (std)")
    _legend_above(axes[0], len(DESCRIPTORS))
    return axes


def before_and_after(found: Steering, chosen: Sequence[int], i: int, ax: Any = None) -> Any:
    """Show some presets steered down and up one axis: all descriptors, before and after.

    Args:
        found: What is rendered along the axes.
        chosen: The presets.
        i: The axis.
        ax: An axes for each preset to draw on.
    """
    own = found.own(i)
    shape = (1, len(chosen))
    axes = axes_for(ax, (AXES_WIDTH, 2.4), *shape, sharex=True, sharey=True)
    axes, reach = np.atleast_1d(axes), 1.0
    for one, k in zip(axes, chosen, strict=True):
        shown = found.descriptors[i, k, [DOWN, CENTER, UP]] / found.spread
        shown = shown - shown[1]
        for step, (color, label) in enumerate(((BLUE, "−1"), (GREY, "as it is"), (ORANGE, "+1"))):
            one.plot(shown[step], range(len(DESCRIPTORS)), "o", color=color, label=label)
        reach = max(reach, float(np.nanmax(np.abs(shown), initial=0.0)))
        one.hlines(range(len(DESCRIPTORS)), shown.min(0), shown.max(0), color="0.8", zorder=0)
        if own is not None:
            one.axhspan(own - 0.4, own + 0.4, color="#fff1dc", zorder=-1)
        one.set_yticks(range(len(DESCRIPTORS)), DESCRIPTORS, fontsize=9)
        one.set_ylim(len(DESCRIPTORS) - 0.5, -0.5)
        one.set_title(shortened(found.presets[k], 20), fontsize=10)
        one.set_xlabel("change (std)")
        bare(one)
    axes[0].set_xlim(-1.08 * reach, 1.08 * reach)
    _legend_above(axes[0], 3)
    return axes


def _panels(n: int, height: float, **shared: bool) -> NDArray[Any]:
    """Return the axes of a new figure with so many panels, in rows of a few."""
    columns = min(n, PANELS)
    rows = -(-n // columns)
    axes = new_axes((max(4.0, 2.3 * columns), height * rows), rows, columns, **shared)
    axes = np.ravel(axes)
    for one in axes[n:]:
        one.set_axis_off()
    return axes[:n]


def _legend_above(ax: Axes, columns: int) -> None:
    handles, labels = ax.get_legend_handles_labels()
    place: Any = {"loc": "outside upper center", "ncols": columns, "frameon": False}
    ax.get_figure().legend(handles, labels, **place)  # type: ignore[union-attr]


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−") if np.isfinite(value) else ""
