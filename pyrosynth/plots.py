"""The style of all figures, and the figures that several reports share.

Every function draws on the axes it is given (``ax``), else on those of a new figure, and returns
them; ``png`` turns their figure into a file's bytes, and Jupyter shows ``ax.figure``. Only
matplotlib's object interface is used, so that no global state is touched.
"""

import io
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import cycle
from types import NoneType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyrosynth.audio.features import DB, FeatureSpec, hz_to_mel
from pyrosynth.errors import InputError, counted, numbers, require_shapes, require_type, shown
from pyrosynth.synths.knobs import NO_READINGS, Reading, native, places, spread, titles
from pyrosynth.synths.params import ParamSpace

if TYPE_CHECKING:  # matplotlib takes a third of a second, which those pay who draw with it
    from matplotlib.axes import Axes

Float = NDArray[np.float64]

# Okabe and Ito's colours, which everybody can tell apart.
BLUE, ORANGE, GREEN, RED, PURPLE, GREY = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#777777",
)  # fmt: skip
WIDTH = 9.0  # inches
DPI = 110
VALUES = "#8a5f00"  # of text: the values of the inferred preset
COLORS = (ORANGE, BLUE, GREEN, PURPLE, RED)  # of curves, in order
DASHES = ("--", ":", "-.")  # of levels, in order
SOUNDS = "BuPu"  # colours of spectrograms, white where there is nothing: pages invert them
TICKS_HZ = (100, 500, 1000, 2000, 5000, 10000)
RANGE_DB = 30.0  # largest difference shown of two spectrograms
SOUND_DB = 70.0  # below the loudest cell of sounds side by side, what is drawn of them


@cache
def _figure_class() -> Any:
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    if os.environ.get("MATPLOTLIBRC") == os.devnull:  # as in a command, see `draw_alike`
        mpl.rcdefaults()  # of a file where one works, which comes before that variable

    class NamesFigure(Figure):
        """A figure with names that people gave, which are no formulas and of any script."""

        def draw(self, renderer: Any) -> None:
            """Draw dollar signs as they are; letters that the font lacks are drawn as boxes."""
            for text in self.findobj(Text):
                text.set_parse_math(False)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)
                super().draw(renderer)

    return NamesFigure


def new_figure(size: tuple[float, float]) -> Any:
    """Return a new figure of so many inches, which draws any names as they are."""
    return _figure_class()(figsize=size, layout="constrained")


def new_axes(size: tuple[float, float], *shape: int, **options: Any) -> Any:
    """Return the axes of a new figure.

    Args:
        size: Width and height in inches.
        shape: Rows and columns; none for a single one.
        options: Of ``Figure.subplots``.
    """
    return new_figure(size).subplots(*shape, **options)


def axes_for(ax: Any, size: tuple[float, float], *shape: int, **options: Any) -> Any:
    """Return the axes that a caller gave to draw on, or those of a new figure; see `new_axes`.

    Raises:
        InputError: They are none, or too few.
    """
    if ax is None:
        return new_axes(size, *shape, **options)
    axes = require_axes(ax, math.prod(shape))
    return axes if shape else axes[0]


def require_axes(ax: Any, n: int) -> NDArray[Any]:
    """Return the first n axes of what a caller gave, an array or a list of them or one alone.

    Raises:
        InputError: They are no axes of matplotlib, or fewer.
    """
    from matplotlib.axes import Axes

    axes = np.ravel(np.asarray(ax, dtype=object))
    if not all(isinstance(one, Axes) for one in axes):
        raise InputError(f"ax is {shown(ax)}; give axes of matplotlib, at least {n}, or none")
    if len(axes) < n:
        raise InputError(f"ax has {len(axes)}; give axes of matplotlib, at least {n}, or none")
    for one in axes[:n]:
        if one.name != "rectilinear" or one.figure is None:
            what = "removed from their figure" if one.figure is None else one.name
            raise InputError(f"ax are axes that are {what}; give plain ones, as of plt.subplots()")
    return axes[:n]


def png(drawn: Any) -> bytes:
    """Return a figure, or that of axes or an array of them, as a PNG file's bytes.

    Raises:
        InputError: It is none of these.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    first = next(iter(np.ravel(np.asarray(drawn, dtype=object))), None)
    figure = drawn if isinstance(drawn, Figure) else getattr(first, "figure", None)
    if not isinstance(figure, Figure):
        raise InputError(f"a picture is {shown(drawn)}; give a figure of matplotlib, or its axes")
    # Drawn once; `savefig` draws twice, the first time for the layout alone.
    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB").save(buffer, "png")
    return buffer.getvalue()


def mel_image(
    ax: "Axes",
    power: ArrayLike,
    seconds: float,
    mels: tuple[float, float],
    limits: tuple[float, float],
    cmap: str = SOUNDS,
) -> Any:
    """Draw one spectrogram, with a frequency axis in Hz on a mel scale, and return its image.

    Args:
        ax: Where to draw.
        power: In dB, shape (n_mels, n_frames).
        seconds: Where its last frame ends.
        mels: Where its lowest and highest band lie, see `pyrosynth.audio.features.hz_to_mel`.
        limits: The power drawn in the first and in the last colour, in dB.
        cmap: The colours.

    Raises:
        InputError: The power has another shape, or there are no axes.
    """
    from matplotlib.ticker import MaxNLocator

    (ax,) = require_axes(ax, 1)
    cells = numbers("power", power)
    require_shapes("a spectrogram", {"power": (cells, ("n_mels", "n_frames"))})
    low, high = limits
    image = ax.imshow(
        cells, origin="lower", aspect="auto", extent=(0.0, seconds, *mels),
        cmap=cmap, vmin=low, vmax=high,
    )  # fmt: skip
    ticks = [hz for hz in TICKS_HZ if mels[0] <= float(hz_to_mel(hz)) <= mels[1]]
    ax.set_yticks(hz_to_mel(ticks), [f"{hz:,}" for hz in ticks])
    ax.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    return image


def spectrograms(target: ArrayLike, result: ArrayLike, spec: FeatureSpec, ax: Any = None) -> Any:
    """Show two sounds and where they differ.

    Args:
        target: Log-mel features of the wanted sound, shape (n_mels, n_frames).
        result: Those of the found one.
        spec: What the features are.
        ax: Three axes to draw on.

    Raises:
        InputError: The sounds have other shapes, the spec is none, or there are no three axes.
    """
    require_type("spec", spec, FeatureSpec, "a FeatureSpec, such as run.features")
    pair = [DB * numbers("features", x, np.float64) for x in (target, result)]
    shape = ("n_mels", "n_frames")
    require_shapes("two sounds", {"target": (pair[0], shape), "result": (pair[1], shape)})
    sounds, change = (10 * np.log10(spec.floor), max(p.max() for p in pair)), pair[1] - pair[0]
    axes = axes_for(ax, (WIDTH, 3.1), 1, 3, sharey=True)
    place = _place(pair[0], spec)
    images = [mel_image(one, p, *place, sounds) for one, p in zip(axes[:2], pair, strict=True)]
    difference = mel_image(axes[2], change, *place, (-RANGE_DB, RANGE_DB), "RdBu_r")
    titles = ("target", "inferred", f"inferred − target: LSD {np.sqrt(np.mean(change**2)):.2f} dB")
    for one, title in zip(axes, titles, strict=True):
        one.set_title(title, fontsize=11)
        one.set_xlabel("time (s)")
    axes[0].set_ylabel("frequency (Hz)")
    axes[1].figure.colorbar(images[0], ax=axes[1], label="power (dB)", pad=0.02)
    axes[2].figure.colorbar(difference, ax=axes[2], label="difference (dB)", pad=0.02)
    return axes


def gallery(
    x: ArrayLike, names: Sequence[str], spec: FeatureSpec | None = None, ax: Any = None
) -> Any:
    """Show the spectrograms of some sounds side by side.

    Args:
        x: Features of the sounds, shape (n, n_mels, n_frames).
        names: What the sounds are called.
        spec: What the features are; without, the axes have no numbers.
        ax: An axes for each sound to draw on.

    Returns:
        The axes, shape (n,).

    Raises:
        InputError: The features have another shape, or there are not as many names or axes.
    """
    sounds = DB * numbers("features", x, np.float64)
    require_shapes("sounds", {"features": (sounds, ("n", "n_mels", "n_frames"))})
    require_type("spec", spec, (FeatureSpec, NoneType), "a FeatureSpec, such as run.features")
    require_type("names", names, (Sequence, np.ndarray), "a list of names")
    if len(names) != len(sounds):
        n_sounds = counted(len(sounds), "sound")
        raise InputError(f"{counted(len(names), 'name')} for {n_sounds}; give as many")
    n = max(1, len(sounds))
    axes = np.ravel(axes_for(ax, (2.4 * n, 2.1), 1, n, sharey=True))
    for one, sound, name in zip(axes, sounds, names, strict=False):
        place = _place(sound, spec) if spec else (float(sound.shape[1]), (0.0, 1.0))
        mel_image(one, sound, *place, (sounds.max() - SOUND_DB, sounds.max()))
        one.set_title(shortened(str(name), 32), fontsize=8.5)
        one.set_xlabel("time (s)" if spec else "time", fontsize=8.5)
        one.tick_params(labelsize=8)
        if spec is None:
            one.set(xticks=[], yticks=[])
    axes[0].set_ylabel("frequency (Hz)" if spec else "frequency", fontsize=8.5)
    return axes


def _place(sound: NDArray[Any], spec: FeatureSpec) -> tuple[float, tuple[float, float]]:
    """Return where a sound ends in seconds, and its lowest and highest mel."""
    bottom, top = (float(mel) for mel in hz_to_mel([spec.fmin, spec.fmax]))
    return sound.shape[1] * spec.hop_length / spec.sample_rate, (bottom, top)


def forest(
    space: ParamSpace,
    draws: ArrayLike,
    chosen: ArrayLike,
    truth: ArrayLike | None = None,
    readings: Mapping[str, Reading] = NO_READINGS,
    ax: "Axes | None" = None,
) -> "Axes":
    """Show what is known of each control: the draws, the inferred preset, the true one.

    A control with few settings has a cell for each, filled by the share of the draws that has it;
    others have intervals.

    Args:
        space: The learnt parameters.
        draws: Their native values in each draw, shape (n_draws, n_params).
        chosen: Native values of the inferred preset, shape (n_params,).
        truth: Those of the true preset, where there is one.
        readings: What people read for native values, by name.
        ax: Where to draw.

    Raises:
        InputError: The values have other shapes, or what is given for the space or axes is none.
    """
    from matplotlib.lines import Line2D

    require_type("space", space, ParamSpace, "a ParamSpace, such as run.space")
    require_type("readings", readings, Mapping, "what people read, such as synth.readings")
    n, y = len(space), np.arange(len(space))
    known, inferred = spread(space, draws), places(space, chosen)
    true = None if truth is None else places(space, truth)
    labels = [
        native(param, float(value), readings)
        for param, value in zip(space.params, space.within(chosen), strict=True)
    ]
    ax = axes_for(ax, (WIDTH, 1.5 + 0.235 * n))
    ax.hlines(y, 0, 1, color="0.9", linewidth=0.8, zorder=0)
    rows = [*known.quantiles]
    if rows:
        low, left, middle, right, high = np.transpose([*known.quantiles.values()])
        ax.hlines(rows, low, high, color=BLUE, alpha=0.45, linewidth=1.6)
        ax.hlines(rows, left, right, color=BLUE, alpha=0.8, linewidth=5)
        ax.plot(middle, rows, "|", color="white", markersize=5, markeredgewidth=1.4)
    for i, share in known.shares.items():
        count = len(share)
        center, half = (np.arange(count) + 0.5) / count, 0.45 * share / count
        ax.hlines(np.full(count, i), center - half, center + half, color=GREEN, linewidth=5)
        ax.vlines(np.arange(count + 1) / count, i - 0.3, i + 0.3, color="0.8", linewidth=0.8)
    handles = [
        Line2D([], [], color=BLUE, alpha=0.45, linewidth=1.6, label="90 % of the draws"),
        Line2D([], [], color=BLUE, alpha=0.8, linewidth=5, label="50 %"),
    ]
    if known.shares:
        handles.append(Line2D([], [], color=GREEN, linewidth=5, label="share of each setting"))
    handles.append(Line2D([], [], color=ORANGE, marker="D", linestyle="", label="inferred preset"))
    ax.plot(inferred, y, "D", color=ORANGE, markersize=5.5, zorder=4)
    if true is not None:
        ring: dict[str, Any] = {
            "marker": "o", "linestyle": "", "markerfacecolor": "none", "markeredgecolor": "black",
            "markersize": 8,
        }  # fmt: skip
        ax.plot(true, y, markeredgewidth=1.3, zorder=5, **ring)
        handles.append(Line2D([], [], label="true preset", **ring))
    ax.set_yticks(y, titles(space), fontsize=9)
    ax.set_ylim(n - 0.4, -0.6)
    ax.set_xlim(-0.03, 1.03)
    ax.set_xlabel("from the lowest value or first setting of the control to the highest or last")
    ax.grid(axis="x", color="0.9")
    values = ax.secondary_yaxis("right")
    values.set_yticks(y, labels, fontsize=8.5, color=VALUES)
    values.tick_params(length=0)
    bare(ax)
    values.spines["right"].set_visible(False)
    ax.get_figure().legend(  # type: ignore[union-attr]
        handles=handles, loc="outside upper center", ncols=5, frameon=False, fontsize=9.5,
        columnspacing=1.2,
    )  # fmt: skip
    return ax


def trace(
    curves: Mapping[str, ArrayLike],
    levels: Mapping[str, float] | None = None,
    ax: "Axes | None" = None,
) -> "Axes":
    """Show the smallest distance so far against the number of sounds rendered.

    Args:
        curves: Pairs of renders and distance in dB, shape (k, 2), of each search.
        levels: Distances in dB of answers that need no search, drawn as lines.
        ax: Where to draw.

    Raises:
        InputError: A curve has another shape, or no points.
    """
    require_type("curves", curves, Mapping, "a dictionary of arrays of shape (k, 2) by search")
    require_type("levels", levels, (Mapping, NoneType), "a dictionary of distances by answer")
    if not curves:
        raise InputError("curves to draw: none; give one or more")
    drawn = {label: numbers("curves", curve, np.float64) for label, curve in curves.items()}
    for label, curve in drawn.items():
        if curve.ndim != 2 or curve.shape[1] != 2 or not len(curve):
            raise InputError(f"curve '{label}' has shape {curve.shape}; give (k, 2), k at least 1")
    ax = axes_for(ax, (WIDTH, 3.2))
    for (label, curve), color in zip(drawn.items(), cycle(COLORS), strict=False):
        renders, best = curve.T
        text = f"{label}: {best[-1]:.2f} dB"
        ax.step(renders, best, where="post", color=color, linewidth=2, label=text)
        ax.plot(renders[-1], best[-1], "o", color=color)
    for (label, level), style in zip((levels or {}).items(), cycle(DASHES), strict=False):
        ax.axhline(
            level, color=GREY, linestyle=style, linewidth=1.2, label=f"{label}: {level:.2f} dB"
        )
    ax.set_xlabel("sounds rendered")
    ax.set_ylabel("best LSD so far (dB)")
    ax.set_ylim(bottom=0)
    ax.set_xlim(left=0)
    ax.grid(color="0.92")
    ax.legend(fontsize=9, loc="best", framealpha=0.9, edgecolor="none")
    bare(ax)
    return ax


def shortened(name: str, most: int) -> str:
    """Return a name, cut off with an ellipsis if it is longer than so many letters."""
    return name if len(name) <= most else f"{name[: most - 1].rstrip()}…"


def bare(ax: "Axes") -> None:
    """Leave out the lines above and to the right of a plot."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
