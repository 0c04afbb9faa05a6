"""The picture of a comparison: each method a line, its answers dots with their intervals."""

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from pyrosynth.evaluation.scoreboard import FIRST, column, order
from pyrosynth.evaluation.standings import estimate
from pyrosynth.plots import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, WIDTH, bare

if TYPE_CHECKING:
    from pandas import DataFrame

SHOWN = {"lsd_mean": "mean LSD (dB)", "sc_median": "median SC"}
STYLES = dict(zip(FIRST, (("D", GREY), ("o", BLUE), ("*", RED)), strict=True))
MORE = (("s", GREEN), ("^", ORANGE), ("v", PURPLE), ("P", "black"), ("X", BLUE))
SPREAD = 0.3  # half the height of a line that its dots are spread over


def standings_plot(frame: "DataFrame", sounds: str) -> Figure:
    """Show the distances of all methods, the best model first, rivals below a line.

    Args:
        frame: From `pyrosynth.evaluation.standings.standings`.
        sounds: Which sounds.
    """
    here = frame[(frame["sounds"] == sounds) & frame["lsd_mean"].notna()]
    methods = order(here)
    rows: list[Any] = here.sort_values("budget", kind="stable").to_dict("records")
    columns = list(dict.fromkeys(column(row) for row in rows))
    more = [name for name in columns if name not in STYLES]
    styles = {**STYLES, **{name: MORE[i % len(MORE)] for i, name in enumerate(more)}}
    columns = [name for name in styles if name in columns]
    n_models = here[here["answer"].isin(FIRST)]["method"].nunique()
    figure = Figure(figsize=(WIDTH, 1.3 + 0.42 * len(methods)), layout="constrained")
    axes = figure.subplots(1, len(SHOWN), sharey=True)
    offsets = dict(zip(columns, np.linspace(-SPREAD, SPREAD, len(columns) + 2)[1:-1], strict=True))
    for ax, (measure, label) in zip(axes, SHOWN.items(), strict=True):
        for row in rows:
            name = column(row)
            marker, color = styles[name]
            found = estimate(row, measure)
            ax.errorbar(
                found.estimate, methods.index(row["method"]) + offsets[name],
                xerr=[[found.estimate - found.low], [found.high - found.estimate]],
                fmt=marker, color=color, markersize=5, capsize=2, linewidth=1.3,
            )  # fmt: skip
        _lines(ax, len(methods), n_models, label)
    axes[0].set_yticks(range(len(methods)), methods)
    axes[0].set_xlim(left=0)
    axes[1].set_xscale("log")
    axes[1].xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes[1].xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes[1].xaxis.set_minor_formatter(NullFormatter())
    handles = [
        Line2D([], [], color=styles[c][1], marker=styles[c][0], linestyle="", label=c)
        for c in columns
    ]
    figure.legend(
        handles=handles, loc="outside upper center", ncols=min(7, len(handles)), frameon=False,
        fontsize=9.5, columnspacing=1.2,
    )  # fmt: skip
    return figure


def _lines(ax: Axes, n: int, n_models: int, label: str) -> None:
    """Draw what all methods share."""
    for y in range(n):
        ax.axhspan(y - 0.5, y + 0.5, color="0.965" if y % 2 else "white", zorder=0)
    if 0 < n_models < n:
        ax.axhline(n_models - 0.5, color=GREY, linewidth=1)
    ax.set_ylim(n - 0.5, -0.5)
    ax.set_xlabel(f"{label}, 95 % interval")
    ax.grid(axis="x", color="0.88")
    ax.set_axisbelow(True)
    bare(ax)
