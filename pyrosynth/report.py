"""Reports to look at and listen to: one HTML file each, which needs neither others nor network."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from pyrosynth._version import __version__
from pyrosynth.audio.io import wav_bytes
from pyrosynth.files import write_bytes

Block = dict[str, Any]
Section = dict[str, Any]

TEMPLATE = Path(__file__).with_name("report.html.jinja")
# The only script that the page's policy lets run.
SCRIPT = TEMPLATE.with_name("report.js").read_text(encoding="utf-8").strip()
LOUDEST = 0.98  # peak that sounds beyond full scale are brought down to


def write_report(
    path: str | Path,
    title: str,
    lead: str,
    facts: Mapping[str, str],
    sections: Sequence[Section],
) -> None:
    """Fill the template and write the file, atomically.

    Args:
        path: The HTML file.
        title: Heading.
        lead: One sentence below it.
        facts: The numbers to see first.
        sections: From ``section``.

    Raises:
        RunError: The file cannot be written.
    """
    import jinja2

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.ChainableUndefined)
    html = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        title=title, lead=lead, facts=list(facts.items()), sections=sections,
        footer=f"pyrosynth {__version__}", script=SCRIPT,
        script_hash=base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode(),
    )  # fmt: skip
    write_bytes(Path(path), html.encode())


def notebook(title: str, facts: Mapping[str, Any], *blocks: Block) -> str:
    """Return HTML that shows an object in a notebook: its facts, pictures and players.

    Args:
        title: What it is.
        facts: What is known of it, in a few words each.
        *blocks: Pictures and players.
    """
    rows = "".join(
        f"<tr><td style='text-align:left'>{escape(name)}</td>"
        f"<td style='text-align:left'>{escape(str(value))}</td></tr>"
        for name, value in facts.items()
    )
    parts = [f"<div><b>{escape(title)}</b><table>{rows}</table>"]
    for block in blocks:
        if block["kind"] == "picture":
            parts.append(f"<img src='{block['source']}' alt='{escape(block['alt'])}'>")
        for sound in block.get("sounds", ()):
            parts.append(
                f"<div>{escape(sound['name'])} {escape(sound['detail'])}<br>"
                f"<audio controls preload='none' src='{sound['source']}'></audio></div>"
            )
    return "".join([*parts, "</div>"])


def section(title: str, *blocks: Block) -> Section:
    """Return a part of a report."""
    return {"title": title, "blocks": list(blocks)}


def table(
    headers: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    marked: Sequence[int] = (),
    note: str = "",
    folded: str = "",
) -> Block:
    """Return a table; with ``folded``, one that opens by a click on that text."""
    return {
        "kind": "table", "headers": headers, "rows": rows, "marked": marked, "note": note,
        "folded": folded,
    }  # fmt: skip


def players(sounds: Sequence[Mapping[str, str]], *, switch: bool = False) -> Block:
    """Return sounds to listen to, side by side; with ``switch``, a button changes between them."""
    return {"kind": "players", "sounds": sounds, "switch": switch and len(sounds) > 1}


def picture(content: bytes, alt: str, caption: str) -> Block:
    """Return a picture from the bytes of a PNG or SVG file."""
    kind = "image/svg+xml" if content.startswith(b"<svg") else "image/png"
    source = _data_uri(kind, content)
    return {"kind": "picture", "source": source, "alt": alt, "caption": caption}


def text(words: str) -> Block:
    """Return a paragraph."""
    return {"kind": "text", "text": words}


def heading(words: str) -> Block:
    """Return a small heading."""
    return {"kind": "heading", "text": words}


def player(name: str, detail: str, source: str, gain: float = 1.0) -> dict[str, str]:
    """Return one sound to listen to; in ``players`` or in a table's cell.

    Args:
        name: What it is called.
        detail: What else is to be said.
        source: A data URI, see ``wav_sources``.
        gain: Of the sound where one changes between it and others, see ``matched_gains``.
    """
    return {"name": name, "detail": detail, "source": source, "gain": f"{gain:.3f}"}


SWITCH = {"switch": True}
"""A cell of a table: a button that changes between the sounds of its row."""


def matched_gains(sounds: Sequence[NDArray[Any]]) -> list[float]:
    """Return gains of at most 1 that make sounds equally loud, by their RMS level."""
    levels = [float(np.sqrt(np.mean(np.square(sound, dtype=np.float64)))) for sound in sounds]
    softest = min((level for level in levels if level > 0), default=1.0)
    return [softest / level if level > 0 else 1.0 for level in levels]


def files_beside(path: str | Path, about: Mapping[str, str]) -> Section:
    """Return a section of links to files in the folder of a report, of those that are there.

    Args:
        path: The report.
        about: Names of files, and what they hold.
    """
    folder = Path(path).parent
    rows = [
        [{"href": quote(name), "text": name}, held]
        for name, held in about.items()
        if (folder / name).is_file()
    ]
    return section("Files in this folder", table(("file", "what it holds"), rows))


def wav_sources(sounds: Sequence[NDArray[Any]], rate: int) -> list[str]:
    """Return sounds as 16-bit WAV in data URIs, at one common gain, so that levels compare."""
    peak = max(float(np.abs(sound).max()) for sound in sounds)
    gain = min(1.0, LOUDEST / peak) if peak > 0 else 1.0
    return [_data_uri("audio/wav", wav_bytes(gain * sound, rate)) for sound in sounds]


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
