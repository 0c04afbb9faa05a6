"""Figures of `pyrosynth.explore`: each takes labelled data, and axes to draw on if wanted."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pyrosynth.audio.descriptors import UNITS
from pyrosynth.audio.features import DB, hz_to_mel
from pyrosynth.explore.result import signed
from pyrosynth.plots import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, bare, new_axes

if TYPE_CHECKING:
    from xarray import Dataset

SHOWN = 6  # parameters drawn of a traversal or a morph
STRIP = 9  # spectrograms side by side, at most
WIDTH = 11.0  # inches
LINES = (BLUE, ORANGE, GREEN, RED, PURPLE, "#56B4E9")
DESCRIPTORS = ("loudness", "centroid", "bandwidth", "flatness", "roll-off")
TICKS_HZ = (100, 1000, 5000)
RANGE_DB = 70.0  # below the loudest cell of a row of sounds

# Colours that can be told apart, dark ones and light ones (Paul Tol's "muted" and "light").
CATEGORY_COLORS = (
    "#332288", "#CC6677", "#DDCC77", "#117733", "#88CCEE", "#882255", "#44AA99", "#AA4499",
    "#EE8866", "#77AADD", "#999933", "#000000",
)  # fmt: skip
OTHER_COLOR = "#CCCCCC"


def traversal(data: "Dataset", ax: NDArray[Any] | None = None) -> NDArray[Any]:
    """Show what an axis does: parameters, spectrograms, descriptors, from end to end."""
    rendered = "descriptor" in data
    names = DESCRIPTORS if rendered else ()
    n = min(data.sizes["position"], STRIP)
    title = f"{data.attrs['synth']}: axis {data.attrs['axis']} around {data.attrs['center']}"
    if ax is None:
        ax = _rows(title, (1, n, len(names)), (3.0, 2.0, 2.4), 7.6 if rendered else 5.4)
    parameters(data, ax[0])
    titles = [signed(p) for p in data["position"].values]
    _strip(ax[1 : n + 1], data, titles)
    position = data["position"].values
    for panel, name in zip(ax[n + 1 :], names, strict=True):
        low, high = (data[key].sel(name=name).values for key in ("low", "high"))
        panel.fill_between(position, low, high, color=BLUE, alpha=0.2, linewidth=0)
        panel.plot(position, data["descriptor"].sel(name=name).values, color=BLUE, marker=".")
        panel.set_title(f"{name} ({UNITS[name]})", fontsize=10)
        panel.set_xlabel("position")
        panel.set_xticks(position[:: max(1, (len(position) - 1) // 4)])
        panel.margins(x=0.02)
        bare(panel)
    return ax


def morph(data: "Dataset", ax: NDArray[Any] | None = None) -> NDArray[Any]:
    """Show a morph: parameters and spectrograms on the path."""
    n = min(data.sizes["position"], STRIP)
    title = f"{' → '.join(data['preset'].values)}, method: {data.attrs['method']}"
    has_sounds = "x" in data or "expected" in data
    if ax is None:
        ax = _rows(title, (1, n * has_sounds), (3.0, 2.0), 5.4)
    parameters(data, ax[0])
    if has_sounds:
        _strip(ax[1:], data, [f"{p:.2f}" for p in data["position"].values])
    return ax


def ranking(data: "Dataset", ax: NDArray[Any] | None = None, n: int = 14) -> NDArray[Any]:
    """Show the most audible axes: how much one hears of each, and of what."""
    data = data.isel(axis=slice(0, n))
    count = data.sizes["axis"]
    if ax is None:
        ax = new_axes((WIDTH, 1.3 + 0.36 * count), 1, 2, sharey=True, width_ratios=(3, 4))
    effect, change = ax
    y = np.arange(count)
    effect.barh(y, data["effect"].values, color=BLUE, height=0.7)
    labels = [f"{a}: {t}" for a, t in zip(data["axis"].values, data["title"].values, strict=True)]
    effect.set_yticks(y, labels, fontsize=9)
    effect.set_ylim(count - 0.5, -0.5)
    effect.set_xlabel("ends against middle, LSD (dB)")
    bare(effect)
    values = data["change"].values
    limit = max(1.0, float(np.abs(values).max()))
    change.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    numbers = data["number"].values.tolist()
    change.set_xticks(range(len(numbers)), numbers)
    for i, row in enumerate(values):
        for j, value in enumerate(row):
            color = "white" if abs(value) > 0.6 * limit else "black"
            change.text(j, i, signed(value), ha="center", va="center", fontsize=8, color=color)
    change.tick_params(length=0)
    change.set_xlabel("change from −2 to 2 (spreads of the presets)")
    return ax


def preset_set(data: "Dataset", ax: NDArray[Any] | None = None, columns: int = 4) -> NDArray[Any]:
    """Show the spectrograms of some presets."""
    n = data.sizes["preset"]
    rows = -(-n // columns)
    if ax is None:
        size = (WIDTH, 0.4 + 2.0 * rows)
        ax = np.ravel(new_axes(size, rows, columns, sharex=True, sharey=True))
        for panel in ax[n:]:
            panel.set_axis_off()
    shown = ax[:n]
    images = _spectrograms(shown, data["x"].values, data)
    for i, panel in enumerate(shown):
        name = str(data["preset"].values[i])
        lines = [name if len(name) < 28 else f"{name[:26]}…"]
        if "lsd" in data:
            lines.append(f"{float(data['lsd'].values[i]):.1f} dB away")
        if "nearest" in data:
            near = float(data["nearest_lsd"].values[i])
            lines.append(f"{near:.1f} dB from {str(data['nearest'].values[i])[:20]}")
        panel.set_title("\n".join(lines), fontsize=9)
    for panel in shown[max(0, n - columns) :]:
        panel.set_xlabel("time (s)")
    for panel in shown[::columns]:
        panel.set_ylabel("Hz")
    if images:
        shown[0].figure.colorbar(images[-1], ax=list(ax), label="power (dB)", pad=0.01)
    return shown


def projection(data: "Dataset", color: str, values: NDArray[Any], ax: Axes | None = None) -> Axes:
    """Show presets on a plane.

    Args:
        data: Of `pyrosynth.explore.projection.Projection`.
        color: What it is coloured by.
        values: Of each preset: categories, or numbers.
        ax: Where to draw.
    """
    ax = ax or new_axes((8.4, 6.4))
    x, y = data["x"].values, data["y"].values
    if values.dtype.kind in "UO":
        counts = {str(kind): int((values == kind).sum()) for kind in np.unique(values)}
        others = [kind for kind in counts if kind != "other"]
        order = ["other"] * ("other" in counts) + sorted(others, key=lambda kind: -counts[kind])
        colors = dict(zip(sorted(others), CATEGORY_COLORS, strict=False)) | {"other": OTHER_COLOR}
        for kind in order:
            rows = values == kind
            ax.scatter(
                x[rows], y[rows], s=5 if kind == "other" else 16, color=colors[kind],
                label=f"{kind} ({counts[kind]})", linewidth=0, alpha=0.85,
            )  # fmt: skip
        ax.legend(fontsize=8.5, markerscale=1.5, frameon=False, loc="center left",
                  bbox_to_anchor=(1.0, 0.5))  # fmt: skip
    else:
        low, high = np.nanquantile(values, (0.02, 0.98))
        points = ax.scatter(x, y, c=values, s=10, cmap="viridis", vmin=low, vmax=high, linewidth=0)
        unit = data.attrs.get(f"unit of {color}", "")
        ax.figure.colorbar(points, ax=ax, label=f"{color} ({unit})" if unit else color, pad=0.01)
    method, of = data.attrs["method"], data.attrs["of"]
    shares = data.attrs.get("explained", (None, None))
    labels = [
        f"{method} {number} of the {of}" + (f" ({100 * share:.0f} %)" if share else "")
        for number, share in zip((1, 2), shares, strict=True)
    ]
    ax.set(xlabel=labels[0], ylabel=labels[1])
    ax.set_title(f"{len(x):,} presets by {color}", fontsize=11)
    ax.set_aspect("equal", adjustable="datalim")
    bare(ax)
    return ax


def parameters(data: "Dataset", ax: Axes | None = None) -> Axes:
    """Show the parameters that move most along a traversal or a morph, each named at its end."""
    ax = ax or new_axes((WIDTH, 3.2))
    unit, position = data["unit"].values, data["position"].values
    spread = unit.std(axis=0)
    order = [i for i in np.argsort(-spread, kind="stable")[:SHOWN] if spread[i] > 0]
    span = float(np.ptp(position)) or 1.0
    ends = np.array([unit[-1, i] for i in order])
    places = _apart(ends, 0.075)
    for i, color, place in zip(order, LINES, places, strict=False):
        ax.plot(position, unit[:, i], color=color, marker="o", markersize=3.5, linewidth=1.8)
        ax.annotate(
            str(data["param"].values[i]), (position[-1], unit[-1, i]),
            (position[-1] + 0.02 * span, place), color=color, va="center", fontsize=9.5,
            annotation_clip=False,
        )  # fmt: skip
    for i in np.setdiff1d(np.flatnonzero(spread > 0), order):
        ax.plot(position, unit[:, i], color="0.85", linewidth=0.8, zorder=0)
    ax.set_ylim(-0.04, 1.04)
    ax.set_xlim(position[0] - 0.02 * span, position[-1] + 0.18 * span)
    ax.set_xticks(position)
    ax.tick_params(labelsize=9)
    ax.set_ylabel("place in the range")
    ax.set_xlabel("position")
    ax.grid(axis="y", color="0.93")
    if "center_position" in data.attrs:
        at = data.attrs["center_position"]
        if position[0] <= at <= position[-1]:
            ax.axvline(at, color=GREY, linestyle=":", linewidth=1.2)
    bare(ax)
    return ax


def _apart(places: NDArray[Any], least: float) -> NDArray[Any]:
    """Move numbers from 0 to 1 a little, for neighbours to be that far apart."""
    order = np.argsort(places, kind="stable")
    moved = places[order].astype(float)
    for _ in range(200):
        moved = moved.clip(0.0, 1.0)
        for k in range(1, len(moved)):
            lack = least - (moved[k] - moved[k - 1])
            if lack > 0:
                moved[k - 1 : k + 1] += (-lack / 2, lack / 2)
    result = np.empty_like(moved)
    result[order] = moved
    return result


def _rows(
    title: str, counts: Sequence[int], heights: Sequence[float], height: float
) -> NDArray[Any]:
    """Return the axes of a new figure with rows of so many panels; empty rows are left out."""
    kept = [i for i, count in enumerate(counts) if count]
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    figure.suptitle(title)
    grid = figure.add_gridspec(len(kept), 1, height_ratios=[heights[i] for i in kept])
    rows = [
        grid[k].subgridspec(1, counts[i]).subplots(sharey=i == 1, squeeze=False)
        for k, i in enumerate(kept)
    ]
    return np.concatenate([np.ravel(row) for row in rows])


def _strip(axes: NDArray[Any], data: "Dataset", titles: list[str]) -> None:
    """Draw spectrograms side by side: of what was rendered, else of what is expected."""
    source = "rendered" if "x" in data else "expected by the model"
    x = data["x" if "x" in data else "expected"].values
    chosen = np.unique(np.round(np.linspace(0, len(x) - 1, len(axes))).astype(int))
    _spectrograms(axes, x[chosen], data)
    for ax, i in zip(axes, chosen, strict=True):
        ax.set_title(titles[i], fontsize=9)
        ax.set_xlabel("s", fontsize=9)
    axes[0].set_ylabel(f"Hz, {source}", fontsize=9)


def _spectrograms(axes: NDArray[Any], x: NDArray[Any], data: "Dataset") -> list[Any]:
    """Draw spectrograms on one scale."""
    power = DB * np.asarray(x, np.float64)
    high = float(np.nanmax(power)) if np.isfinite(power).any() else 0.0
    low = max(high - RANGE_DB, float(np.nanmin(power))) if np.isfinite(power).any() else -1.0
    frames, mels = data["frame"].values, hz_to_mel(data["mel"].values)
    extent = (0.0, float(frames[-1]), float(mels[0]), float(mels[-1]))
    ticks = [hz for hz in TICKS_HZ if mels[0] <= float(hz_to_mel(hz)) <= mels[-1]]
    images = []
    for ax, cells in zip(axes, power, strict=True):
        images.append(
            ax.imshow(
                cells,
                origin="lower",
                aspect="auto",
                extent=extent,
                cmap="magma",
                vmin=low,
                vmax=high,
            )  # fmt: skip
        )
        ax.set_yticks(hz_to_mel(ticks), [f"{hz:,}" for hz in ticks])
        ax.tick_params(labelsize=8)
    return images
