"""Figures of evaluations: distances, calibration, descriptors, comparisons.

Every function draws on the axes it is given, else on those of a new figure, and returns them.
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from numpy.typing import ArrayLike, NDArray

from pyrosynth.errors import InputError, counted, numbers, require_shapes, require_type
from pyrosynth.evaluation.calibration import (
    LEVELS,
    Calibration,
    central_coverage,
    expected_range,
    region_coverage,
)
from pyrosynth.evaluation.scores import TRUTH, answer_name, estimate, per_target
from pyrosynth.evaluation.tables import FIRST, column, order
from pyrosynth.inference.arviz import arviz
from pyrosynth.plots import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    WIDTH,
    axes_for,
    bare,
)
from pyrosynth.statistics import interval

if TYPE_CHECKING:
    from pandas import DataFrame

Float = NDArray[np.float64]

SHOWN = {"lsd_mean": "mean LSD (dB)", "sc_median": "median SC"}
STYLES = dict(zip(FIRST, (("D", GREY), ("o", BLUE), ("*", RED)), strict=True))
MORE = (("s", GREEN), ("^", ORANGE), ("v", PURPLE), ("P", "black"), ("X", BLUE))
SPREAD = 0.3  # half the height of a line that its dots are spread over


def distances(scores: "DataFrame", ax: Axes | None = None) -> Axes:
    """Show how the distances of each answer spread over the targets, and their mean.

    Args:
        scores: Rows of `pyrosynth.evaluation.scores.score_rows`.
        ax: Where to draw.
    """
    lsd = {
        answer_name(str(method), str(answer)): own.to_numpy()
        for (method, answer), own in per_target(scores)["lsd"].groupby(
            ["method", "answer"], sort=False
        )
        if method != TRUTH
    }
    ax = axes_for(ax, (WIDTH, 0.9 + 0.36 * len(lsd)))
    for y, (answer, values) in enumerate(lsd.items()):
        low, left, right, high = np.quantile(values, [0.05, 0.25, 0.75, 0.95])
        color = ORANGE if "infer, " in answer else BLUE
        ax.plot([low, high], [y, y], color=color, alpha=0.4, linewidth=1.6)
        ax.plot([left, right], [y, y], color=color, alpha=0.4, linewidth=11, solid_capstyle="butt")
        mean = interval(values)
        ax.errorbar(
            mean.estimate, y, xerr=[[mean.estimate - mean.low], [mean.high - mean.estimate]],
            fmt="o", color="black", markersize=4.5, capsize=3, linewidth=1.5,
        )  # fmt: skip
        ax.annotate(
            f"{mean.estimate:.2f}", (high, y), xytext=(6, 0), textcoords="offset points",
            va="center", fontsize=9,
        )  # fmt: skip
    ax.set_yticks(range(len(lsd)), list(lsd))
    ax.set_ylim(len(lsd) - 0.4, -0.6)
    ax.set_xlim(left=0)
    ax.margins(x=0.08)
    ax.set_xlabel("LSD (dB): 5–95 % and 25–75 % of the sounds; dot: mean and its 95 % interval")
    ax.grid(axis="x", color="0.92")
    ax.set_axisbelow(True)
    bare(ax)
    return ax


def calibration(found: Calibration, names: Sequence[str], ax: Any = None) -> Any:
    """Show whether the posterior means what it says.

    Args:
        found: The uniform numbers.
        names: What the parameters are called.
        ax: Three axes to draw on.

    Raises:
        InputError: ``found`` is something else, or there is not one name for each parameter.
    """
    require_type("found", found, Calibration, "what Calibration.of returns")
    require_type("names", names, Sequence, "those of the parameters, such as run.space.names")
    if len(names) != found.ranks.shape[1]:
        raise InputError(
            f"{counted(len(names), 'name')} for ranks of {found.ranks.shape[1]} parameters; "
            "give one for each, such as run.space.names"
        )
    u, n = found.ranks, len(found.ranks)
    ax = axes_for(ax, (WIDTH, 3.9), 1, 3)
    ranks, coverage, curves = ax
    _ranks(ranks, u, names)
    for level in LEVELS:
        expected = expected_range(level, n)
        coverage.plot([level] * 2, expected[1:], color="0.8", linewidth=16, solid_capstyle="butt")
        shares = central_coverage(u, level)
        spread = np.random.default_rng(0).uniform(-0.015, 0.015, len(shares))
        coverage.plot(level + spread, shares, "o", color=BLUE, alpha=0.5, markersize=4)
        coverage.plot(level, shares.mean(), "D", color=ORANGE, markersize=6)
    coverage.plot([0.4, 1], [0.4, 1], color=GREY, linewidth=1, zorder=0)
    coverage.set_xticks(LEVELS)
    coverage.set_title("central intervals", fontsize=11)
    coverage.set_xlabel("should hold")
    coverage.set_ylabel("share of truths inside")
    coverage.legend(
        handles=[
            Line2D([], [], color=BLUE, marker="o", linestyle="", alpha=0.5, label="a parameter"),
            Line2D([], [], color=ORANGE, marker="D", linestyle="", label="their mean"),
            Line2D([], [], color="0.8", linewidth=8, label="95 % by chance"),
        ],
        frameon=False, fontsize=8.5, loc="lower right",
    )  # fmt: skip
    levels = np.linspace(0, 1, 101)
    limits = np.array([expected_range(level, n)[1:] for level in levels])
    curves.fill_between(levels, *limits.T, color="0.88", linewidth=0)
    for (label, regions), color in zip(found.joint.items(), (PURPLE, ORANGE, GREEN), strict=False):
        held = [float(np.mean(region_coverage(regions, level))) for level in levels]
        curves.plot(levels, held, color=color, linewidth=1.8, label=label)
    curves.plot([0, 1], [0, 1], color=GREY, linewidth=1)
    curves.set_title("all parameters together", fontsize=11)
    curves.set_xlabel("should hold")
    curves.set_ylabel("share of truths inside")
    curves.legend(frameon=False, fontsize=8.5, loc="upper left")
    for one in ax:
        bare(one)
    return ax


def _ranks(ax: Axes, u: Float, names: Sequence[str]) -> None:
    """Draw the rank plot: lines outside the band are of parameters that are off."""
    levels = np.linspace(0, 1, 51)
    gaps = np.array([np.mean(u[:, [i]] <= levels, axis=0) - levels for i in range(u.shape[1])])
    worst = np.argsort(-np.abs(gaps).max(axis=1))[:3]
    for i in range(u.shape[1]):
        color, alpha = ("0.5", 0.35)
        if i in worst:
            color, alpha = (RED, PURPLE, GREEN)[int(np.flatnonzero(worst == i)[0])], 1.0
        arviz().plot_ecdf(
            u[:, i], cdf=_uniform_cdf, eval_points=levels, difference=True, ax=ax, show=False,
            confidence_bands="simulated" if i == 0 else False, rvs=_uniform_draws,
            random_state=np.random.default_rng(0), num_trials=500, ci_prob=0.95,
            plot_kwargs={"color": color, "alpha": alpha, "linewidth": 1.4 if alpha == 1 else 0.8},
            fill_kwargs={"color": "0.88", "alpha": 1.0},
            plot_outline_kwargs={"color": "0.6", "linewidth": 0.8},
        )  # fmt: skip
    ax.set_title("ranks of the truth (SBC)", fontsize=11)
    ax.set_xlabel("rank among the draws")
    ax.set_ylabel("ECDF − uniform")
    ax.axhline(0, color=GREY, linewidth=1)
    bottom, top = ax.get_ylim()
    ax.set_ylim(bottom, top + 0.5 * (top - bottom))  # room for the legend
    handles = [
        Line2D([], [], color=c, label=names[i])
        for c, i in zip((RED, PURPLE, GREEN), worst, strict=False)
    ]
    ax.legend(handles=handles, title="farthest off", frameon=False, fontsize=8.5, loc="upper left")


def share_inside(n_draws: int) -> float:
    """Return how often an interval from 5 to 95 % of draws has the truth in it, if they are alike.

    The truth is as likely between any two of the draws that are next to each other: of two draws
    that is in a third of all cases, so that quantiles of few draws are too near to each other.

    Args:
        n_draws: How many draws there are.
    """
    return 0.9 * (n_draws - 1) / (n_draws + 1)


def descriptors(
    truth: ArrayLike, draws: ArrayLike, units: Mapping[str, str], ax: Any = None
) -> Any:
    """Show descriptors of sounds beside what the draws predict of them.

    Args:
        truth: Descriptors of the sounds, shape (n, n_descriptors).
        draws: Those of the draws, shape (n_draws, n, n_descriptors); NaN for a failed one.
        units: Unit of each descriptor, in order.
        ax: Axes to draw on, shape (2, 3).

    Raises:
        InputError: The descriptors are no numbers, or their shapes do not fit each other, or there
            is not one unit for each.
    """
    true, drawn = numbers("truth", truth, np.float64), numbers("draws", draws, np.float64)
    require_type("units", units, Mapping, "the unit of each descriptor, such as UNITS")
    shapes = {
        "truth": (true, ("n", len(units))),
        "draws": (drawn, ("n_draws", "n", len(units))),
    }
    require_shapes("descriptors", shapes)
    if not drawn.size:
        raise InputError(f"draws of descriptors have the shape {drawn.shape}; give some")
    with warnings.catch_warnings():  # a sound of which every draw failed has no interval
        warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
        low, middle, high = np.nanquantile(drawn, [0.05, 0.5, 0.95], axis=0)
    axes = axes_for(ax, (WIDTH, 5.6), 2, 3)
    for i, (ax, (name, unit)) in enumerate(zip(axes.flat, units.items(), strict=True)):
        x = true[:, i]
        inside = (low[:, i] <= x) & (x <= high[:, i])
        for chosen, color in ((inside, BLUE), (~inside, RED)):
            ax.vlines(x[chosen], low[chosen, i], high[chosen, i], color=color, alpha=0.35)
            ax.plot(x[chosen], middle[chosen, i], "o", color=color, markersize=3, alpha=0.8)
        ends = [np.nanmin([x, low[:, i]]), np.nanmax([x, high[:, i]])]
        ax.plot(ends, ends, color=GREY, linewidth=1, zorder=0)
        ax.set_title(f"{name}: {100 * inside.mean():.0f} % inside", fontsize=11)
        ax.set_xlabel(f"of the sound ({unit})")
        if i % 3 == 0:
            ax.set_ylabel("of the draws: median, 5–95 %")
        if unit == "Hz":
            ax.set(xscale="log", yscale="log")
            for axis in (ax.xaxis, ax.yaxis):
                plain_decades(axis)
        bare(ax)
    return axes


def comparison(frame: "DataFrame", sounds: str, ax: Any = None) -> Any:
    """Show the distances of all methods, the best model first, baselines below a line.

    Args:
        frame: From `pyrosynth.evaluation.scores.summarise`.
        sounds: Which sounds.
        ax: Two axes to draw on.
    """
    here = frame[(frame["sounds"] == sounds) & frame["lsd_mean"].notna()]
    methods = order(here)
    rows: list[Any] = here.sort_values("budget", kind="stable").to_dict("records")
    columns = list(dict.fromkeys(column(row) for row in rows))
    more = [name for name in columns if name not in STYLES]
    styles = {**STYLES, **{name: MORE[i % len(MORE)] for i, name in enumerate(more)}}
    columns = [name for name in styles if name in columns]
    n_models = here[here["answer"].isin(FIRST)]["method"].nunique()
    size = (WIDTH, 1.3 + 0.42 * len(methods))
    axes = axes_for(ax, size, 1, len(SHOWN), sharey=True)
    offsets = dict(zip(columns, np.linspace(-SPREAD, SPREAD, len(columns) + 2)[1:-1], strict=True))
    for ax, (metric, label) in zip(axes, SHOWN.items(), strict=True):
        for row in rows:
            name = column(row)
            marker, color = styles[name]
            found = estimate(row, metric)
            ax.errorbar(
                found.estimate, methods.index(row["method"]) + offsets[name],
                xerr=[[found.estimate - found.low], [found.high - found.estimate]],
                fmt=marker, color=color, markersize=5, capsize=2, linewidth=1.3,
            )  # fmt: skip
        _method_lines(ax, len(methods), n_models, label)
    axes[0].set_yticks(range(len(methods)), methods)
    axes[0].set_xlim(left=0)
    axes[1].set_xscale("log")
    plain_decades(axes[1].xaxis)
    handles = [
        Line2D([], [], color=styles[c][1], marker=styles[c][0], linestyle="", label=c)
        for c in columns
    ]
    axes[0].figure.legend(
        handles=handles, loc="outside upper center", ncols=min(7, len(handles)), frameon=False,
        fontsize=9.5, columnspacing=1.2,
    )  # fmt: skip
    return axes


def plain_decades(axis: Axis) -> None:
    """Label a logarithmic axis by plain numbers, few enough to stand side by side."""
    low, high = axis.get_view_interval()
    wide = np.log10(high / low) > 1
    axis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 2, 5), numticks=6))
    axis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    axis.set_minor_formatter(NullFormatter())


def _method_lines(ax: Axes, n: int, n_models: int, label: str) -> None:
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


def _uniform_cdf(x: ArrayLike) -> Float:
    return np.clip(np.asarray(x, np.float64), 0.0, 1.0)


def _uniform_draws(size: Any, random_state: np.random.Generator) -> Float:
    return random_state.uniform(size=size)
