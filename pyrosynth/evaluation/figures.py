"""Figures of a check: calibration, distances, descriptors."""

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from pyrosynth.evaluation.calibration import (
    LEVELS,
    central_coverage,
    expected_range,
    region_coverage,
)
from pyrosynth.inference.arviz import arviz
from pyrosynth.statistics import interval

if TYPE_CHECKING:
    from pyrosynth.evaluation.tables import Scores

from pyrosynth.plots import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, WIDTH, Float, bare


def distances(scores: Mapping[str, "Scores"]) -> Figure:
    """Show how the distances of each method spread over the sounds, and their mean.

    Args:
        scores: Of each method, as in `pyrosynth.evaluation.tables.table`.
    """
    figure = Figure(figsize=(WIDTH, 0.9 + 0.36 * len(scores)), layout="constrained")
    ax = figure.subplots()
    for y, (method, score) in enumerate(scores.items()):
        low, left, right, high = np.quantile(score.per_sound(), [0.05, 0.25, 0.75, 0.95])
        color = ORANGE if method.startswith("infer") else BLUE
        ax.plot([low, high], [y, y], color=color, alpha=0.4, linewidth=1.6)
        ax.plot([left, right], [y, y], color=color, alpha=0.4, linewidth=11, solid_capstyle="butt")
        mean = interval(score.per_sound())
        ax.errorbar(
            mean.estimate, y, xerr=[[mean.estimate - mean.low], [mean.high - mean.estimate]],
            fmt="o", color="black", markersize=4.5, capsize=3, linewidth=1.5,
        )  # fmt: skip
        ax.annotate(
            f"{mean.estimate:.2f}", (high, y), xytext=(6, 0), textcoords="offset points",
            va="center", fontsize=9,
        )  # fmt: skip
    ax.set_yticks(range(len(scores)), list(scores))
    ax.set_ylim(len(scores) - 0.4, -0.6)
    ax.set_xlim(left=0)
    ax.margins(x=0.08)
    ax.set_xlabel("LSD (dB): 5–95 % and 25–75 % of the sounds; dot: mean and its 95 % interval")
    ax.grid(axis="x", color="0.92")
    ax.set_axisbelow(True)
    bare(ax)
    return figure


def calibration(places: ArrayLike, joint: Mapping[str, ArrayLike], names: Sequence[str]) -> Figure:
    """Show whether the posterior means what it says.

    Args:
        places: Place of each truth among its draws, shape (n, n_params).
        joint: Uniform numbers of joint tests, shape (n,) each: content of the highest-density
            region, TARP.
        names: Of the parameters.
    """
    u = np.asarray(places, np.float64)
    n = len(u)
    figure = Figure(figsize=(WIDTH, 3.9), layout="constrained")
    ranks, coverage, curves = figure.subplots(1, 3)
    _ranks(ranks, u, names)
    for level in LEVELS:
        expected = expected_range(level, n)
        coverage.plot([level] * 2, expected[1:], color="0.8", linewidth=16, solid_capstyle="butt")
        found = central_coverage(u, level)
        spread = np.random.default_rng(0).uniform(-0.015, 0.015, len(found))
        coverage.plot(level + spread, found, "o", color=BLUE, alpha=0.5, markersize=4)
        coverage.plot(level, found.mean(), "D", color=ORANGE, markersize=6)
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
    for (label, numbers), color in zip(joint.items(), (PURPLE, GREEN), strict=False):
        shares = [float(region_coverage(numbers, level)) for level in levels]
        curves.plot(levels, shares, color=color, linewidth=1.8, label=label)
    curves.plot([0, 1], [0, 1], color=GREY, linewidth=1)
    curves.set_title("all parameters together", fontsize=11)
    curves.set_xlabel("should hold")
    curves.set_ylabel("share of truths inside")
    curves.legend(frameon=False, fontsize=8.5, loc="upper left")
    for ax in (ranks, coverage, curves):
        bare(ax)
    return figure


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
    ax.set_xlabel("place among the draws")
    ax.set_ylabel("ECDF − uniform")
    ax.axhline(0, color=GREY, linewidth=1)
    bottom, top = ax.get_ylim()
    ax.set_ylim(bottom, top + 0.5 * (top - bottom))  # room for the legend
    handles = [
        Line2D([], [], color=c, label=names[i])
        for c, i in zip((RED, PURPLE, GREEN), worst, strict=False)
    ]
    ax.legend(handles=handles, title="farthest off", frameon=False, fontsize=8.5, loc="upper left")


def descriptors(truth: ArrayLike, draws: ArrayLike, units: Mapping[str, str]) -> Figure:
    """Show descriptors of sounds beside what the draws predict of them.

    Args:
        truth: Descriptors of the sounds, shape (n, n_descriptors).
        draws: Those of the draws, shape (n_draws, n, n_descriptors); NaN for a failed one.
        units: Unit of each descriptor, in order.
    """
    true, drawn = np.asarray(truth, np.float64), np.asarray(draws, np.float64)
    with warnings.catch_warnings():  # a sound of which every draw failed has no interval
        warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
        low, middle, high = np.nanquantile(drawn, [0.05, 0.5, 0.95], axis=0)
    figure = Figure(figsize=(WIDTH, 5.6), layout="constrained")
    for i, (ax, (name, unit)) in enumerate(
        zip(figure.subplots(2, 3).flat, units.items(), strict=True)
    ):
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
            ax.set_xscale("log")
            ax.set_yscale("log")
        bare(ax)
    return figure


def _uniform_cdf(x: ArrayLike) -> Float:
    return np.clip(np.asarray(x, np.float64), 0.0, 1.0)


def _uniform_draws(size: Any, random_state: np.random.Generator) -> Float:
    return random_state.uniform(size=size)
