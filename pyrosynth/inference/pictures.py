"""The pictures of an inference's report, written as SVG.

They show what the functions of `pyrosynth.plots` of the same names draw. To import matplotlib and
to draw with it would be a third of the work of a short inference.
"""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import cycle
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyrosynth.audio.features import DB, FeatureSpec, hz_to_mel
from pyrosynth.audio.note import Note
from pyrosynth.plots import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    RANGE_DB,
    TICKS_HZ,
    VALUES,
)
from pyrosynth.synths.knobs import NO_READINGS, Reading, native, places, spread, titles
from pyrosynth.synths.params import ParamSpace

Pair: TypeAlias = tuple[float, float]

WIDTH = 990  # pixels of each picture
SIZE, LETTER = 14, 7.4  # of text, and of one letter on average, in pixels
INK, GRID, TICK = "#1a1a1a", "#e6e6e6", 5
# The colours of ColorBrewer that matplotlib calls BuPu and RdBu_r, from the lowest power on.
LEVELS = "f7fcfd e0ecf4 bfd3e6 9ebcda 8c96c6 8c6bb1 88419d 810f7c 4d004b".split()
CHANGES = "053061 2166ac 4393c3 92c5de d1e5f0 f7f7f7 fddbc7 f4a582 d6604d b2182b 67001f".split()
ROW = 26  # pixels from one control to the next
DASHES = ("6 4", "2 3", "8 3 2 3")


class Panel:
    """A part of a picture with a horizontal and a vertical scale.

    Args:
        left: Its left edge in pixels.
        top: Its upper edge.
        size: Width and height in pixels.
        x: The numbers at its left and right edge.
        y: Those at its lower and upper edge.
    """

    def __init__(self, left: float, top: float, size: Pair, x: Pair, y: Pair) -> None:
        self.left, self.top, self.size = left, top, size
        self._x, self._y = x, y
        self.parts: list[str] = []

    def x(self, number: float) -> float:
        """Return where a number of the horizontal scale lies, in pixels."""
        return round(
            self.left + self.size[0] * (number - self._x[0]) / (self._x[1] - self._x[0]), 2
        )

    def y(self, number: float) -> float:
        """Return where a number of the vertical scale lies, in pixels."""
        share = (number - self._y[0]) / (self._y[1] - self._y[0])
        return round(self.top + self.size[1] * (1 - share), 2)

    def line(self, x: Pair, y: Pair, color: str, width: float, more: str = "") -> None:
        """Draw a straight line between two points."""
        self.parts.append(
            f'<line x1="{self.x(x[0])}" y1="{self.y(y[0])}" x2="{self.x(x[1])}" '
            f'y2="{self.y(y[1])}" stroke="{color}" stroke-width="{width}" {more}/>'
        )

    def curve(self, points: Iterable[Pair], color: str, width: float) -> None:
        """Draw lines from point to point."""
        joined = " ".join(f"{self.x(x)},{self.y(y)}" for x, y in points)
        self.parts.append(
            f'<polyline points="{joined}" fill="none" stroke="{color}" stroke-width="{width}"/>'
        )

    def dot(self, x: float, y: float, size: float, how: str) -> None:
        """Draw a circle of that radius in pixels."""
        self.parts.append(f'<circle cx="{self.x(x)}" cy="{self.y(y)}" r="{size}" {how}/>')

    def diamond(self, x: float, y: float) -> None:
        """Draw the mark of the inferred preset."""
        self.parts.append(_diamond(self.x(x), self.y(y)))

    def ticks(
        self,
        x: Iterable[tuple[float, str]] = (),
        y: Iterable[tuple[float, str]] = (),
        *,
        grid: bool = False,
    ) -> None:
        """Mark numbers of the scales, with lines all over the panel or without."""
        (width, height), bottom = self.size, self.top + self.size[1]
        for number, label in x:
            at = self.x(number)
            line = f"M{at} {self.top}v{height}" if grid else ""
            self._tick(line, f"M{at} {bottom}v{TICK}")
            self.parts.append(_text(at, bottom + TICK + SIZE, label, "middle"))
        for number, label in y:
            at = self.y(number)
            line = f"M{self.left} {at}h{width}" if grid else ""
            self._tick(line, f"M{self.left} {at}h{-TICK}")
            self.parts.append(_text(self.left - TICK - 4, at + 0.35 * SIZE, label, "end"))

    def _tick(self, line: str, tick: str) -> None:
        if line:
            self.parts.append(f'<path d="{line}" stroke="{GRID}"/>')
        self.parts.append(f'<path d="{tick}" stroke="{INK}"/>')

    def frame(self, *, closed: bool = False) -> None:
        """Draw the axes, or all four edges."""
        (width, height), (left, top) = self.size, (self.left, self.top)
        edges = f"M{left} {top}v{height}h{width}" + (f"v{-height}z" if closed else "")
        self.parts.append(f'<path d="{edges}" fill="none" stroke="{INK}"/>')

    def names(self, x: str = "", y: str = "", title: str = "", gap: float = 50) -> None:
        """Say what the scales are, and what the panel shows; ``gap`` is left of it, in pixels."""
        middle, height = self.left + self.size[0] / 2, self.size[1]
        self.parts.append(_text(middle, self.top + height + 42, x, "middle"))
        self.parts.append(_text(middle, self.top - 9, title, "middle", size=SIZE + 2))
        self.parts.append(_upright(self.left - gap, self.top + height / 2, y))


def spectrograms(target: ArrayLike, result: ArrayLike, spec: FeatureSpec) -> bytes:
    """Show two sounds and where they differ.

    Args:
        target: Log-mel features of the wanted sound, shape (n_mels, n_frames).
        result: Those of the found one.
        spec: What the features are.
    """
    pair = [DB * np.asarray(x, np.float64) for x in (target, result)]
    change = pair[1] - pair[0]
    bottom, top = (float(mel) for mel in hz_to_mel([spec.fmin, spec.fmax]))
    seconds = change.shape[1] * spec.hop_length / spec.sample_rate
    loudness = (float(10 * np.log10(spec.floor)), float(max(power.max() for power in pair)))
    shown: list[tuple[float, str, Any, Pair, list[str]]] = [
        (78, "target", pair[0], loudness, LEVELS),
        (326, "inferred", pair[1], loudness, LEVELS),
        (676, f"inferred − target: LSD {np.sqrt(np.mean(change**2)):.2f} dB", change,
         (-RANGE_DB, RANGE_DB), CHANGES),
    ]  # fmt: skip
    size = (228.0, 240.0)
    parts = []
    for left, title, power, limits, colors in shown:
        panel = Panel(left, 34, size, (0.0, seconds), (bottom, top))
        panel.parts.append(_heat(panel, power, limits, colors))
        panel.frame(closed=True)
        ticks = [(float(hz_to_mel(hz)), f"{hz:,}" if left == 78 else "") for hz in TICKS_HZ]
        panel.ticks(round_numbers(0, seconds, 4), [t for t in ticks if bottom <= t[0] <= top])
        panel.names("time (s)", "frequency (Hz)" if left == 78 else "", title, 60)
        parts += panel.parts
        if power is not pair[0]:
            label = "difference (dB)" if power is change else "power (dB)"
            parts += _color_bar(left + size[0] + 8, 34, size[1], limits, colors, label)
    return _svg(334, parts)


def trace(tried: ArrayLike, levels: Mapping[str, float]) -> bytes:
    """Show the smallest distance so far against the number of sounds rendered.

    Args:
        tried: Pairs of renders and distance in dB, shape (k, 2).
        levels: Distances in dB of answers that need no search, drawn as lines.
    """
    renders, best = np.asarray(tried, np.float64).T.tolist()
    most, highest = 1.03 * renders[-1], 1.06 * max([*best, *levels.values()])
    panel = Panel(64, 40, (WIDTH - 84, 250), (0.0, most), (0.0, highest))
    panel.ticks(round_numbers(0, most, 10), round_numbers(0, highest, 6), grid=True)
    before = [best[0], *best[:-1]]
    corners = [(n, y) for n, *ends in zip(renders, before, best, strict=True) for y in ends]
    panel.curve(corners, ORANGE, 3)
    panel.dot(renders[-1], best[-1], 5, f'fill="{ORANGE}"')
    entries = [(_stroke(ORANGE, 3), f"this sound: {best[-1]:.2f} dB")]
    for (label, level), dashes in zip(levels.items(), cycle(DASHES), strict=False):
        dashed = f'stroke-dasharray="{dashes}"'
        panel.line((0.0, most), (level, level), GREY, 1.8, dashed)
        entries.append((_stroke(GREY, 1.8, dashed), f"{label}: {level:.2f} dB"))
    panel.frame()
    panel.names("sounds rendered", "best LSD so far (dB)", gap=44)
    return _svg(340, [*panel.parts, *_legend(entries)])


def forest(
    space: ParamSpace,
    draws: ArrayLike,
    chosen: ArrayLike,
    truth: ArrayLike | None = None,
    readings: Mapping[str, Reading] = NO_READINGS,
) -> bytes:
    """Show what is known of each control: the draws, the inferred preset, the true one.

    A control with few settings has a cell for each, filled by the share of the draws that has it;
    others have intervals.

    Args:
        space: The learnt parameters.
        draws: Their native values in each draw, shape (n_draws, n_params).
        chosen: Native values of the inferred preset, shape (n_params,).
        truth: Those of the true preset, where there is one.
        readings: What people read for native values, by name.
    """
    n, names = len(space), titles(space)
    values = [
        native(param, float(value), readings)
        for param, value in zip(space.params, np.ravel(np.asarray(chosen)), strict=True)
    ]
    left, right = (24 + LETTER * max(map(len, texts)) for texts in (names, values))
    size = (WIDTH - left - right, float(ROW * n))
    panel = Panel(left, 40, size, (-0.03, 1.03), (n - 0.5, -0.5))
    panel.ticks(round_numbers(0, 1, 5), enumerate(names), grid=True)
    known = spread(space, draws)
    faint, strong = 'stroke-opacity="0.45"', 'stroke-opacity="0.8"'
    for i, (low, first, middle, third, high) in known.quantiles.items():
        panel.line((low, high), (i, i), BLUE, 2.4, faint)
        panel.line((first, third), (i, i), BLUE, 7.6, strong)
        panel.line((middle, middle), (i - 0.16, i + 0.16), "white", 2)
    for i, shares in known.shares.items():
        for at, share in enumerate(shares):
            center, half = (at + 0.5) / len(shares), 0.45 * share / len(shares)
            if share:
                panel.line((center - half, center + half), (i, i), GREEN, 7.6)
        for at in range(len(shares) + 1):
            panel.line((at / len(shares),) * 2, (i - 0.3, i + 0.3), "#cccccc", 1.2)
    entries = [
        (_stroke(BLUE, 2.4, faint), "90 % of the draws"), (_stroke(BLUE, 7.6, strong), "50 %"),
    ]  # fmt: skip
    if known.shares:
        entries.append((_stroke(GREEN, 7.6), "share of each setting"))
    entries.append((_diamond(12, 0), "inferred preset"))
    for i, at in enumerate(places(space, chosen)):
        panel.diamond(at, i)
    if truth is not None:
        ring = f'fill="none" stroke="{INK}" stroke-width="2"'
        for i, at in enumerate(places(space, truth)):
            panel.dot(at, i, 6.5, ring)
        entries.append((f'<circle cx="12" cy="0" r="6.5" {ring}/>', "true preset"))
    panel.frame()
    panel.names("from the lowest value or first setting of the control to the highest or last")
    for i, value in enumerate(values):
        panel.parts.append(_text(WIDTH - right + 8, panel.y(i) + 5, value, color=VALUES))
    return _svg(100 + ROW * n, [*panel.parts, *_legend(entries)])


def pitch_track(times: ArrayLike, pitches: ArrayLike, note: Note, onset_seconds: float) -> bytes:
    """Show the pitch of a recording over time, and the note it was taken for.

    Args:
        times: In seconds, shape (n_frames,).
        pitches: MIDI note numbers with fractions, NaN without pitch, shape (n_frames,).
        note: The note.
        onset_seconds: When it begins.
    """
    seconds, heard = (np.asarray(array, np.float64) for array in (times, pitches))
    low = int(np.floor(np.nanmin([np.nanmin(heard), note.pitch]))) - 1
    high = int(np.ceil(np.nanmax([np.nanmax(heard), note.pitch]))) + 1
    panel = Panel(64, 14, (WIDTH - 84, 200), (0.0, float(seconds.max())), (low, high))
    left, right = panel.x(onset_seconds), panel.x(onset_seconds + note.hold_seconds)
    top, bottom = panel.y(note.pitch + 0.5), panel.y(note.pitch - 0.5)
    panel.parts.append(
        f'<rect x="{left}" y="{top}" width="{right - left}" height="{bottom - top}" '
        f'fill="{ORANGE}" fill-opacity="0.3"/>'
    )
    shown = range(low, high + 1, max(1, (high - low) // 8))
    named = [(p, Note(int(np.clip(p, 0, 127))).name) for p in shown]
    panel.ticks(round_numbers(0, float(seconds.max()), 10), named)
    voiced = np.isfinite(heard)
    for part in np.split(np.arange(len(heard)), np.flatnonzero(np.diff(voiced)) + 1):
        if voiced[part[0]]:
            points = list(zip(seconds[part], heard[part], strict=True))
            panel.curve(points, BLUE, 1.5)
            for x, y in points:
                panel.dot(x, y, 2.2, f'fill="{BLUE}"')
    panel.frame()
    panel.names("seconds", "pitch")
    return _svg(266, panel.parts)


def _svg(height: float, parts: Sequence[str]) -> bytes:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:g}" '
        f'viewBox="0 0 {WIDTH} {height:g}" font-family="system-ui, sans-serif" '
        f'font-size="{SIZE}" fill="{INK}">{"".join(parts)}</svg>'
    ).encode()


def _text(
    x: float, y: float, words: str, anchor: str = "start", *, size: float = SIZE, color: str = INK
) -> str:
    if not words:
        return ""
    return (
        f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" font-size="{size}" fill="{color}">'
        f"{escape(words)}</text>"
    )


def _upright(x: float, y: float, words: str) -> str:
    """Return text from below to above, around a middle."""
    return f'<g transform="translate({x:g} {y:g}) rotate(-90)">{_text(0, 0, words, "middle")}</g>'


def _stroke(color: str, width: float, more: str = "") -> str:
    return f'<path d="M0 0h26" stroke="{color}" stroke-width="{width}" {more}/>'


def _diamond(x: float, y: float) -> str:
    return f'<path d="M{x - 6} {y}l6 -6l6 6l-6 6z" fill="{ORANGE}"/>'


def _legend(entries: Sequence[tuple[str, str]]) -> list[str]:
    """Return marks and what they mean, in a row above a panel."""
    widths = [32 + LETTER * len(words) + 24 for _, words in entries]
    left, parts = (WIDTH - sum(widths)) / 2, []
    for (mark, words), width in zip(entries, widths, strict=True):
        text = _text(32, 0.35 * SIZE, words)
        parts.append(f'<g transform="translate({left:g} 18)">{mark}{text}</g>')
        left += width
    return parts


def round_numbers(low: float, high: float, most: int) -> list[tuple[float, str]]:
    """Return round numbers of a range, not many more than so many, and their texts."""
    ten = 10.0 ** np.floor(np.log10((high - low) / most))
    step = next(step for step in (ten, 2 * ten, 5 * ten, 10 * ten) if (high - low) / step <= most)
    numbers = step * np.arange(np.ceil(low / step), np.floor(high / step + 1e-9) + 1)
    return [(float(x), f"{x:.6g}".replace("-", "−")) for x in numbers]


def palette(colors: Sequence[str]) -> NDArray[np.uint8]:
    """Return 256 colours that go evenly through some, shape (256, 3)."""
    stops = np.array([list(bytes.fromhex(color)) for color in colors], np.float64)
    at = np.linspace(0, len(stops) - 1, 256)
    table = [np.interp(at, np.arange(len(stops)), channel) for channel in stops.T]
    return np.rint(np.stack(table, 1)).astype(np.uint8)


def _heat(panel: Panel, power: NDArray[Any], limits: Pair, colors: Sequence[str]) -> str:
    """Return a spectrogram that fills a panel, from an array (n_mels, n_frames)."""
    from PIL import Image

    low, high = limits
    level = np.clip(256 * (power - low) / (high - low), 0, 255).astype(np.uint8)
    image = Image.fromarray(np.ascontiguousarray(level[::-1]))
    image.putpalette(palette(colors).tobytes())
    file = io.BytesIO()
    image.save(file, "png")
    width, height = panel.size
    return (
        f'<image x="{panel.left}" y="{panel.top}" width="{width}" height="{height}" '
        'preserveAspectRatio="none" href="data:image/png;base64,'
        f'{base64.b64encode(file.getvalue()).decode()}"/>'
    )


def _color_bar(
    left: float, top: float, height: float, limits: Pair, colors: Sequence[str], label: str
) -> list[str]:
    """Return the scale of the colours of a spectrogram."""
    name, last = f"colors-{left:g}", len(colors) - 1
    stops = "".join(
        f'<stop offset="{i / last:.4f}" stop-color="#{color}"/>' for i, color in enumerate(colors)
    )
    bar = Panel(left, top, (13.0, height), (0.0, 1.0), limits)
    parts = [
        f'<linearGradient id="{name}" x1="0" y1="1" x2="0" y2="0">{stops}</linearGradient>'
        f'<rect x="{left:g}" y="{top:g}" width="13" height="{height:g}" fill="url(#{name})" '
        f'stroke="{INK}"/>'
    ]
    for number, words in round_numbers(*limits, 6):
        at = bar.y(number)
        parts.append(f'<path d="M{left + 13:g} {at}h{TICK}" stroke="{INK}"/>')
        parts.append(_text(left + 13 + TICK + 3, at + 0.35 * SIZE, words))
    return [*parts, _upright(left + 66, top + height / 2, label)]
