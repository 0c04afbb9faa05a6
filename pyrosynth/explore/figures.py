"""Figures of `pyrosynth.explore`: each takes labelled data, and axes to draw on if wanted."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from pyrosynth.audio.descriptors import UNITS
from pyrosynth.audio.features import DB, hz_to_mel
from pyrosynth.errors import counted
from pyrosynth.explore.result import signed
from pyrosynth.plots import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    SOUND_DB,
    axes_for,
    bare,
    mel_image,
    new_axes,
    new_figure,
    require_axes,
    shortened,
)

if TYPE_CHECKING:
    from xarray import Dataset

SHOWN = 6  # gradual parameters drawn of a traversal or a morph
SETTINGS = 4  # those of few settings
RANKED = 14  # axes drawn of a ranking
COLUMNS = 4  # of spectrograms of presets
STRIP = 9  # spectrograms side by side, at most
WIDTH = 11.0  # inches
HEIGHTS = (3.0, 0.3, 2.0, 2.4)  # of the rows: parameters, a setting, spectrograms, descriptors
LINES = (BLUE, ORANGE, GREEN, RED, PURPLE, "#56B4E9")
PALE = "#A9CCE3"  # of what is expected rather than rendered
DESCRIPTORS = ("loudness", "centroid", "bandwidth", "flatness", "roll-off")

CATEGORIES = 7  # that are told apart by colour and shape; the others are one
CATEGORY_STYLES = (
    (BLUE, "o"), (RED, "s"), (GREEN, "^"), (PURPLE, "D"), (ORANGE, "v"), ("#56B4E9", "P"),
    ("black", "X"),
)  # fmt: skip
OTHER, OTHER_COLOR = "other", "#BBBBBB"


def traversal(data: "Dataset", ax: NDArray[Any] | None = None) -> NDArray[Any]:
    """Show what an axis does: parameters, settings, spectrograms, descriptors, end to end."""
    names = DESCRIPTORS if "descriptor" in data else ()
    n, turned = min(data.sizes["position"], STRIP), bool(len(moving(data, gradual=False)))
    title = f"{data.attrs['synth']}: axis {data.attrs['axis']} around {data.attrs['center']}"
    ax = _rows(title, data, (1, int(turned), n, len(names)), ax)
    parameters(data, ax[0])
    if turned:
        settings(data, ax[1])
    strip, panels = np.split(ax[1 + turned :], [n])
    _strip(strip, data, [signed(p) for p in data["position"].values])
    position = data["position"].values
    for panel, name in zip(panels, names, strict=True):
        low, high = (data[key].sel(name=name).values for key in ("low", "high"))
        panel.fill_between(position, low, high, color=BLUE, alpha=0.2, linewidth=0)
        panel.plot(position, data["descriptor"].sel(name=name).values, color=BLUE, marker=".")
        panel.set_title(f"{name} ({UNITS[name]})", fontsize=10)
        panel.set_xlabel("position")
        panel.set_xticks(position[:: max(1, (len(position) - 1) // 4)])
        panel.tick_params(labelsize=9)
        panel.margins(x=0.02)
        bare(panel)
    return ax


def morph(data: "Dataset", ax: NDArray[Any] | None = None) -> NDArray[Any]:
    """Show a morph: parameters, settings and spectrograms on the path."""
    n, turned = min(data.sizes["position"], STRIP), bool(len(moving(data, gradual=False)))
    title = f"{' → '.join(data['preset'].values)}, method: {data.attrs['method']}"
    has_sounds = "x" in data or "expected" in data
    ax = _rows(title, data, (1, int(turned), n * has_sounds, 0), ax)
    parameters(data, ax[0])
    if turned:
        settings(data, ax[1])
    if has_sounds:
        _strip(ax[1 + turned :], data, [f"{round(p, 3):g}" for p in data["position"].values])
    return ax


def ranking(data: "Dataset", ax: NDArray[Any] | None = None) -> NDArray[Any]:
    """Show the most audible axes: how much one hears of each, and of what."""
    data = data.isel(axis=slice(0, RANKED))
    count = data.sizes["axis"]
    size = (WIDTH, 1.4 + 0.36 * count)
    ax = np.ravel(axes_for(ax, size, 1, 2, sharey=True, width_ratios=(3, 4)))
    effect, change = ax
    y, sounds = np.arange(count), data["sounds"].values
    for source, color in (("rendered", BLUE), ("expected", PALE)):
        rows = np.flatnonzero(sounds == source)
        if len(rows):
            label = "as rendered" if source == "rendered" else "as the model expects"
            effect.barh(y[rows], data["effect"].values[rows], color=color, height=0.7, label=label)
    labels = [
        str(axis) if axis == title else f"{axis}: {title}"
        for axis, title in zip(data["axis"].values, data["title"].values, strict=True)
    ]
    effect.set_yticks(y, labels, fontsize=9)
    effect.set_ylim(count - 0.5, -0.5)
    effect.set_xlabel("ends against middle, LSD (dB)")
    bare(effect)
    values = data["change"].values
    limit = max(1.0, float(np.abs(values).max()))
    change.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    numbers = data["number"].values.tolist()
    change.set_xticks(range(len(numbers)), numbers)
    for (i, j), value in np.ndenumerate(values):
        color = "white" if abs(value) > 0.6 * limit else "black"
        said = f"{round(value, 1) + 0.0:+.1f}".replace("-", "−")
        change.text(j, i, said, ha="center", va="center", fontsize=8, color=color)
    change.tick_params(length=0)
    change.set_xlabel("change from −2 to 2 (spreads of the presets)")
    effect.figure.legend(
        *effect.get_legend_handles_labels(), loc="outside upper left", ncols=2, frameon=False,
        fontsize=9,
    )  # fmt: skip
    return ax


def preset_set(data: "Dataset", ax: NDArray[Any] | None = None) -> NDArray[Any]:
    """Show the spectrograms of some presets."""
    n = data.sizes["preset"]
    rows = -(-n // COLUMNS)
    if ax is None:
        size = (WIDTH, 0.4 + 2.0 * rows)
        ax = np.ravel(new_axes(size, rows, COLUMNS, sharex=True, sharey=True))
        for panel in ax[n:]:
            panel.set_axis_off()
    shown = require_axes(ax, n)
    images = _spectrograms(shown, data["x"].values, data)
    for i, panel in enumerate(shown):
        name = str(data["preset"].values[i])
        lines = [shortened(name, 28)]
        if "lsd" in data:
            lines.append(f"{float(data['lsd'].values[i]):.1f} dB away")
        if "nearest" in data:
            near = float(data["nearest_lsd"].values[i])
            lines.append(f"{near:.1f} dB from {shortened(str(data['nearest'].values[i]), 20)}")
        panel.set_title("\n".join(lines), fontsize=9)
    for panel in shown[max(0, n - COLUMNS) :]:
        panel.set_xlabel("time (s)")
    for panel in shown[::COLUMNS]:
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
    ax = axes_for(ax, (8.4, 6.4))
    x, y = data["x"].values, data["y"].values
    if values.dtype.kind in "UO":
        kinds, counts = np.unique(values[values != OTHER].astype(str), return_counts=True)
        chosen = kinds[np.argsort(-counts, kind="stable")][:CATEGORIES]
        drawn = np.where(np.isin(values, chosen), values, OTHER)
        styles = dict(zip(chosen, CATEGORY_STYLES, strict=False))
        for kind in (OTHER, *chosen):
            rows, (shade, marker) = drawn == kind, styles.get(kind, (OTHER_COLOR, "."))
            if rows.any():
                ax.scatter(
                    x[rows], y[rows], s=8 if kind == OTHER else 18, color=shade, marker=marker,
                    label=f"{kind} ({rows.sum():,})", linewidth=0, alpha=0.8,
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
    ax.set_title(f"{counted(len(x), 'preset')} by {color}", fontsize=11)
    if np.any(y):
        ax.set_aspect("equal")
    else:  # a latent of one dimension
        ax.yaxis.set_visible(False)
    bare(ax)
    return ax


def moving(data: "Dataset", *, gradual: bool) -> NDArray[np.int64]:
    """Return the controls that move, as positions along ``param``, those that move most first."""
    spread = data["unit"].values.std(axis=0) * (data["gradual"].values == gradual)
    order = np.argsort(-spread, kind="stable")
    return order[spread[order] > 0]


def parameters(data: "Dataset", ax: Axes | None = None) -> Axes:
    """Show the gradual parameters along a traversal or a morph, the first named at its end."""
    ax = axes_for(ax, (WIDTH, 3.2))
    unit, position = data["unit"].values, data["position"].values
    order, span = moving(data, gradual=True), float(np.ptp(position)) or 1.0
    ax.plot(position, unit[:, order[SHOWN:]], color="0.85", linewidth=0.8, zorder=0)
    shown = order[:SHOWN]
    places = _apart(unit[-1, shown], 0.075)
    for i, color, place in zip(shown, LINES, places, strict=False):
        ax.plot(position, unit[:, i], color=color, marker="o", markersize=3.5, linewidth=1.8)
        ax.annotate(
            str(data["label"].values[i]), (position[-1], unit[-1, i]),
            (position[-1] + 0.02 * span, place), color=color, va="center", fontsize=9.5,
            annotation_clip=False,
        )  # fmt: skip
    ax.set_ylim(-0.04, 1.04)
    ax.set_xticks(position[:: max(1, len(position) // STRIP)])
    ax.tick_params(labelsize=9)
    ax.set_ylabel("place in the range")
    ax.set_xlabel("position")
    ax.grid(axis="y", color="0.93")
    at = data.attrs.get("center_position")
    if at is not None and position[0] <= at <= position[-1]:
        ax.axvline(at, color=GREY, linestyle=":", linewidth=1.2)
    _beside_names(ax, position)
    bare(ax)
    return ax


def settings(data: "Dataset", ax: Axes | None = None) -> Axes:
    """Show the parameters of few settings that move most, one row each."""
    shown = moving(data, gradual=False)[:SETTINGS]
    ax = axes_for(ax, (WIDTH, 0.6 + HEIGHTS[1] * len(shown)))
    position, every = data["position"].values, max(1, data.sizes["position"] // STRIP)
    step = float(np.diff(position)[0]) if len(position) > 1 else 1.0
    unit = data["unit"].values[:, shown].T
    extent = (position[0] - step / 2, position[-1] + step / 2, len(shown) - 0.5, -0.5)
    ax.imshow(unit, cmap="Blues", vmin=-0.15, vmax=2.0, aspect="auto", extent=extent)
    for row, i in enumerate(shown):
        for k in range(0, len(position), every):
            said = shortened(str(data["setting"].values[k, i]), 15)
            ax.text(position[k], row, said, ha="center", va="center", fontsize=7.5)
    ax.set_yticks(range(len(shown)), [])
    for row, label in enumerate(data["label"].values[shown]):
        right = position[-1] + 0.02 * float(np.ptp(position)) + step / 2
        ax.text(right, row, str(label), va="center", fontsize=9.5)
    ax.tick_params(length=0)
    ax.set_xticks([])
    _beside_names(ax, position)
    for side in ax.spines.values():
        side.set_visible(False)
    return ax


def _beside_names(ax: Axes, position: NDArray[Any]) -> None:
    """Leave room to the right of what is drawn for the names of the controls."""
    span = float(np.ptp(position)) or 1.0
    edge = span / max(1, len(position) - 1) / 2
    ax.set_xlim(position[0] - edge, position[-1] + edge + 0.2 * span)


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


def _rows(title: str, data: "Dataset", counts: Sequence[int], ax: Any) -> NDArray[Any]:
    """Return the axes given, or of a new figure with rows of so many panels, no empty ones."""
    if ax is not None:
        return require_axes(ax, sum(counts))
    heights = np.array(HEIGHTS)
    heights[1] *= len(moving(data, gradual=False)[:SETTINGS])
    kept = [i for i, count in enumerate(counts) if count]
    figure = new_figure((WIDTH, 0.4 + heights[kept].sum()))
    figure.suptitle(title)
    grid = figure.add_gridspec(len(kept), 1, height_ratios=heights[kept])
    rows: list[Any] = [  # what is alone in its row is aligned with the others that are
        grid[k].subgridspec(1, counts[i]).subplots(sharey=i == 2)
        if counts[i] > 1
        else figure.add_subplot(grid[k])
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
    known = power[np.isfinite(power)]
    high = float(known.max(initial=-np.inf)) if known.size else 0.0
    seconds, mels = float(data["frame"].values[-1]), hz_to_mel(data["mel"].values)
    limits = (max(high - SOUND_DB, float(known.min())) if known.size else -1.0, high)
    images = []
    for ax, cells in zip(axes, power, strict=True):
        images.append(mel_image(ax, cells, seconds, (float(mels[0]), float(mels[-1])), limits))
        ax.tick_params(labelsize=8)
    return images
