"""What is said of a learnt synth: how good the run is, which controls it has, what to do next."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyrosynth.data.repeats import repeats_line
from pyrosynth.errors import counted, number
from pyrosynth.evaluation.scores import REFERENCE
from pyrosynth.files import typed
from pyrosynth.synths.base import Synth
from pyrosynth.synths.description import LEARN, Description

LEFT_OUT = 8  # names of controls in a line
GOOD = 0.9  # share of presets on which a good run is nearer than retrieval


def controls_lines(description: Description) -> list[str]:
    """Say which controls are learnt, and which are left out and why, in lines."""
    left_out: dict[str, list[str]] = {}
    for control in description.controls:
        if control.use != LEARN:
            left_out.setdefault(control.why, []).append(control.param.name)
    n = sum(control.use == LEARN for control in description.controls)
    controls = counted(len(description.controls), "control")
    lines = [f"{n} of {controls} {'is' if n == 1 else 'are'} learnt"]
    for why, names in left_out.items():
        shown = ", ".join(names[:LEFT_OUT]) + (", …" if len(names) > LEFT_OUT else "")
        lines.append(f"  left out, {why}: {len(names)} ({shown})")
    lines += repeats_line(number("noise_db", description.probe.get("noise_db", 0.0)))
    for name, why in description.dropped.items():
        lines.append(f"  no control of the sound, {why}: {name}")
    learnt = (control for control in description.controls if control.use == LEARN)
    untold = [control.param.name for control in learnt if "does not tell" in control.why]
    if untold:
        lines.append(f"  one note does not tell, so they are guessed: {', '.join(untold)}")
    return lines


def score_lines(summary: Mapping[str, Any]) -> list[str]:
    """Say how good the run is against retrieval."""
    reference = next(row for row in summary["methods"] if row["method"] == REFERENCE)
    best = _best(summary)
    return [
        f"mean distance on {summary['presets']} held-out presets: {best['answer']} "
        f"{best['lsd_mean']:.2f} dB, nearest known preset (retrieval) "
        f"{reference['lsd_mean']:.2f} dB; nearer than retrieval on {100 * best['wins']:.0f} %"
    ]


def advice_lines(
    synth: Synth, summary: Mapping[str, Any], drawn: float, minutes: float
) -> list[str]:
    """Say what would make a run better."""
    lines = []
    if drawn > 0.5:
        lines.append(
            f"most presets were drawn at random, for want of presets: files of presets of "
            f"{synth.name} would teach the sounds that people make"
        )
    if _best(summary)["wins"] < GOOD:
        lines.append(f"to learn better: another --out, and --minutes {3 * minutes:g}")
    return lines


def next_lines(folder: Path, description: Path) -> list[str]:
    """Say what to do next with a run, given its folder and the file of the synth's description."""
    return [
        f"to learn other controls: edit {description} and learn that file, or --use "
        "and --fix names",
        f"next: pyrosynth infer {typed(folder)} SOUND.wav --out found",
    ]


def _best(summary: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the scores of the run's best answer, that of the search if there was one."""
    rows = [row for row in summary["methods"] if row["method"] == summary["variant"]]
    return next((row for row in rows if row["answer"].startswith("infer")), rows[-1])
