"""The style of all figures, and those that several reports share.

Every function draws on the axes it is given (``ax``), else on those of a new figure, and returns
them; ``png`` turns their figure into a file's bytes, and Jupyter shows ``ax.figure``. Only
matplotlib's object interface is used, so that no global state is touched.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray

from pyrosynth.audio.features import DB, FeatureSpec, hz_to_mel
from pyrosynth.audio.io import Note
from pyrosynth.synths.params import Param, ParamSpace

Float = NDArray[np.float64]

# Okabe and Ito's colours, which everybody can tell apart.
BLUE, ORANGE, GREEN, RED, PURPLE, GREY = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#777777",
)  # fmt: skip
WIDTH = 9.0  # inches
DPI = 110
TICKS_HZ = (250, 500, 1000, 2000, 4000, 8000, 16000)
RANGE_DB = 30.0  # largest difference shown of two spectrograms


def new_axes(size: tuple[float, float], *shape: int, **options: Any) -> Any:
    """Return the axes of a new figure.

    Args:
        size: Width and height in inches.
        shape: Rows and columns; none for a single one.
        options: Of ``Figure.subplots``.
    """
    return Figure(figsize=size, layout="constrained").subplots(*shape, **options)


def png(drawn: Any) -> bytes:
    """Return a figure, or that of axes or an array of them, as a PNG file's bytes."""
    figure = drawn if isinstance(drawn, Figure) else np.ravel(np.asarray(drawn))[0].figure
    # Drawn once; `savefig` draws twice, the first time for the layout alone.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").save(buffer, "png")
    return buffer.getvalue()


def spectrograms(target: ArrayLike, result: ArrayLike, spec: FeatureSpec, ax: Any = None) -> Any:
    """Show two sounds and where they differ.

    Args:
        target: Log-mel features of the wanted sound, shape (n_mels, n_frames).
        result: Those of the found one.
        spec: What the features are.
        ax: Three axes to draw on.
    """
    pair = [DB * np.asarray(x, np.float64) for x in (target, result)]
    low, high = 10 * np.log10(spec.floor), max(p.max() for p in pair)
    axes = new_axes((WIDTH, 3.1), 1, 3, sharey=True) if ax is None else ax
    seconds = pair[0].shape[1] * spec.hop_length / spec.sample_rate
    bottom, top = (float(m) for m in hz_to_mel([spec.fmin, spec.fmax]))
    place = {"origin": "lower", "aspect": "auto", "extent": (0, seconds, bottom, top)}
    images = [
        ax.imshow(p, vmin=low, vmax=high, cmap="magma", **place)
        for ax, p in zip(axes, pair, strict=False)
    ]
    difference = axes[2].imshow(
        pair[1] - pair[0], vmin=-RANGE_DB, vmax=RANGE_DB, cmap="RdBu_r", **place
    )
    distance = np.sqrt(np.mean((pair[1] - pair[0]) ** 2))
    titles = ("target", "inferred", f"inferred − target, LSD {distance:.2f} dB")
    for ax, title in zip(axes, titles, strict=True):
        ax.set_title(title, fontsize=11)
        ax.set_xlabel("time (s)")
    ticks = [hz for hz in TICKS_HZ if spec.fmin <= hz <= spec.fmax]
    axes[0].set_yticks(hz_to_mel(ticks), [f"{hz:,}" for hz in ticks])
    axes[0].set_ylabel("frequency (Hz)")
    axes[1].figure.colorbar(images[0], ax=axes[1], label="power (dB)", pad=0.02)
    axes[2].figure.colorbar(difference, ax=axes[2], label="difference (dB)", pad=0.02)
    return axes


def gallery(x: ArrayLike, names: Sequence[str]) -> Figure:
    """Draw the spectrograms of some sounds side by side.

    Args:
        x: Features of the sounds, shape (n, n_mels, n_frames).
        names: What the sounds are called.
    """
    sounds = DB * np.asarray(x)
    figure = Figure(figsize=(2.4 * max(1, len(sounds)), 2.0), layout="constrained")
    panels = figure.subplots(1, max(1, len(sounds)), sharey=True, squeeze=False)[0]
    for ax, sound, name in zip(panels, sounds, names, strict=False):
        ax.imshow(
            sound, aspect="auto", origin="lower", cmap="magma", vmin=sounds.min(),
            vmax=sounds.max(),
        )  # fmt: skip
        ax.set_title(name[:24], fontsize=8)
        ax.set_xlabel("frame", fontsize=8)
    panels[0].set_ylabel("mel band", fontsize=8)
    return figure


def forest(
    space: ParamSpace,
    draws: ArrayLike,
    chosen: ArrayLike,
    truth: ArrayLike | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Show what is known of each parameter: intervals of the draws, the answer, the truth.

    Args:
        space: The learnt parameters.
        draws: Their native values in each draw, shape (n_draws, n_params).
        chosen: Native values of the inferred preset, shape (n_params,).
        truth: Those of the true preset, where there is one.
        ax: Where to draw.
    """
    unit = space.to_unit(draws)
    n = len(space)
    ax = ax or new_axes((WIDTH, 1.3 + 0.235 * n))
    y = np.arange(n)
    ends = np.quantile(unit, [0.05, 0.25, 0.5, 0.75, 0.95], axis=0)
    ax.hlines(y, ends[0], ends[4], color=BLUE, alpha=0.45, linewidth=1.6)
    ax.hlines(y, ends[1], ends[3], color=BLUE, alpha=0.8, linewidth=5)
    ax.plot(ends[2], y, "|", color="white", markersize=5, markeredgewidth=1.4)
    handles = [
        Line2D([], [], color=BLUE, alpha=0.45, linewidth=1.6, label="90 % of the draws"),
        Line2D([], [], color=BLUE, alpha=0.8, linewidth=5, label="50 %"),
        Line2D([], [], color=ORANGE, marker="D", linestyle="", label="inferred preset"),
    ]
    ax.plot(space.to_unit(chosen), y, "D", color=ORANGE, markersize=5.5, zorder=4)
    if truth is not None:
        ax.plot(
            space.to_unit(truth), y, "o", markerfacecolor="none", markeredgecolor="black",
            markersize=8, markeredgewidth=1.3, zorder=5,
        )  # fmt: skip
        handles.append(
            Line2D(
                [], [], marker="o", linestyle="", markerfacecolor="none",
                markeredgecolor="black", markersize=8, label="true preset",
            )
        )  # fmt: skip
    ax.set_yticks(y, space.names, fontsize=9)
    ax.set_ylim(n - 0.4, -0.6)
    ax.set_xlim(-0.02, 1.02)
    ax.set_xlabel("position in the parameter's range (0 = lowest, 1 = highest)")
    ax.grid(axis="x", color="0.9")
    ax.hlines(y, 0, 1, color="0.93", linewidth=0.8, zorder=0)
    labels = [
        native(param, value) for param, value in zip(space.params, _row(chosen), strict=True)
    ]
    right = ax.secondary_yaxis("right")
    right.set_yticks(y, labels, fontsize=8.5, color="#8a5f00")
    right.tick_params(length=0)
    bare(ax)
    right.spines["right"].set_visible(False)
    ax.get_figure().legend(  # type: ignore[union-attr]
        handles=handles, loc="outside upper center", ncols=4, frameon=False
    )
    return ax


def trace(
    curves: Mapping[str, ArrayLike],
    levels: Mapping[str, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Show the smallest distance so far against the number of sounds rendered.

    Args:
        curves: Pairs of renders and distance in dB, shape (k, 2), of each search.
        levels: Distances in dB of answers that need no search, drawn as lines.
        ax: Where to draw.
    """
    ax = ax or new_axes((WIDTH, 3.2))
    for (label, curve), color in zip(curves.items(), (ORANGE, BLUE, GREEN, PURPLE), strict=False):
        renders, best = np.asarray(curve, np.float64).T
        text = f"{label}: {best[-1]:.2f} dB"
        ax.step(renders, best, where="post", color=color, linewidth=2, label=text)
        ax.plot(renders[-1], best[-1], "o", color=color)
    for (label, level), style in zip((levels or {}).items(), ("--", ":", "-."), strict=False):
        ax.axhline(
            level, color=GREY, linestyle=style, linewidth=1.2, label=f"{label}: {level:.2f} dB"
        )
    ax.set_xlabel("sounds rendered")
    ax.set_ylabel("best LSD so far (dB)")
    ax.set_ylim(bottom=0)
    ax.set_xlim(left=0)
    ax.grid(color="0.92")
    ax.legend(fontsize=9, loc="lower left", framealpha=0.9, edgecolor="white")
    bare(ax)
    return ax


def pitch_track(
    times: ArrayLike,
    pitches: ArrayLike,
    note: Note,
    onset_seconds: float,
    ax: Axes | None = None,
) -> Axes:
    """Show the pitch of a recording over time, and the note it was taken for.

    Args:
        times: In seconds, shape (n_frames,).
        pitches: MIDI note numbers with fractions, NaN without pitch, shape (n_frames,).
        note: The note.
        onset_seconds: When it begins.
        ax: Where to draw.
    """
    ax = ax or new_axes((WIDTH, 2.4))
    ends = (onset_seconds, onset_seconds + note.hold_seconds)
    ax.fill_between(ends, note.pitch - 0.5, note.pitch + 0.5, color=ORANGE, alpha=0.3, lw=0)
    ax.plot(times, pitches, color=BLUE, marker=".", markersize=4, linewidth=1)
    known = np.asarray(pitches, np.float64)
    low = int(np.floor(np.nanmin([np.nanmin(known), note.pitch]))) - 1
    high = int(np.ceil(np.nanmax([np.nanmax(known), note.pitch]))) + 1
    shown = range(low, high + 1, max(1, (high - low) // 8))
    ax.set_yticks(list(shown), [Note(int(np.clip(p, 0, 127))).name for p in shown])
    ax.set(xlabel="seconds", ylabel="pitch", ylim=(low, high))
    bare(ax)
    return ax


def native(param: Param, value: float) -> str:
    """Return a native value as people read it: by its label, or with its unit."""
    if param.labels:
        level = round((value - param.minimum) / (param.maximum - param.minimum)
                      * (param.resolution - 1))  # fmt: skip
        return str(param.labels[level])
    text = f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{text} {param.unit}".rstrip()


def _row(values: ArrayLike) -> list[float]:
    return [float(value) for value in np.ravel(np.asarray(values, np.float64))]


def bare(ax: Axes) -> None:
    """Leave out the lines above and to the right of a plot."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
