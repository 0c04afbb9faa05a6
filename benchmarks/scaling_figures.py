"""Draw the figure of how cost grows from what ``benchmarks/scaling.py`` measured.

python -m benchmarks.scaling_figures scaling.json docs/_static
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from pyrosynth.plots import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, new_axes, png

TIMES = {
    "finish_seconds": ("check for leaks, statistics", BLUE),
    "read_seconds": ("read for a fit", ORANGE),
    "bank_seconds": ("make the bank", GREEN),
    "write_seconds": ("write", PURPLE),
}
BYTES = {
    "disk_bytes": ("disk", GREY),
    "read_bytes": ("memory of a fit", ORANGE),
    "bank_bytes": ("memory of the bank, while it is made", GREEN),
    "finish_bytes": ("memory of the checks", BLUE),
}


class Facts(TypedDict):
    """What ``benchmarks/scaling.py`` writes."""

    settings: dict[str, Any]
    provenance: dict[str, Any]
    presets: list[dict[str, Any]]
    presets_extrapolated: list[dict[str, Any]]
    human: list[dict[str, Any]]
    controls: list[dict[str, Any]]
    workers: list[dict[str, Any]]
    infer: dict[str, Any] | None
    seconds: float


def draw(facts: Facts, folder: Path) -> None:
    """Write ``scaling.png``: time, bytes, controls and processes; dashed what is extrapolated."""
    axes = new_axes((9.0, 6.8), 2, 2)
    _by_presets(axes[0, 0], facts, TIMES, 1.0, "processor seconds")
    _by_presets(axes[0, 1], facts, BYTES, 1e9, "gigabytes")
    for model, colour in zip(
        {r["model"]: 0 for r in facts["controls"]}, (BLUE, RED), strict=False
    ):
        rows = [row for row in facts["controls"] if row["model"] == model]
        for key, style, label in (
            ("step_seconds", "o-", f"{model}, a step of 256"),
            ("thousand_draws_seconds", "s:", f"{model}, 1,000 draws"),
        ):
            axes[1, 0].plot(*_columns(rows, "controls", key), style, color=colour, label=label)
    axes[1, 0].set(xlabel="controls", ylabel="processor seconds", ylim=(0, None))
    count, rate = _columns(facts["workers"], "workers", "sounds_per_second")
    axes[1, 1].plot(
        count, rate, "o-", color=BLUE, label=f"{facts['settings']['synth']}, rendering"
    )
    axes[1, 1].plot(
        count, [rate[0] * n / count[0] for n in count], "--", color=GREY, label="ideal"
    )
    if facts["infer"]:
        found = facts["infer"]["infer"]
        speed = [rate[0] * row["times_one_worker"] for row in found]
        axes[1, 1].plot(
            [row["workers"] for row in found], speed, "s-", color=GREEN,
            label="amsynth, inference, times one worker",
        )  # fmt: skip
    axes[1, 1].set_xticks(count)
    axes[1, 1].set(xlabel="worker processes", ylabel="sounds per second", ylim=(0, None))
    for ax in axes.flat:
        ax.grid(alpha=0.3)
        ax.legend(fontsize=8)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scaling.png").write_bytes(png(axes))


def _by_presets(ax: Any, facts: Facts, shown: Mapping[str, Any], unit: float, label: str) -> None:
    measured, further = facts["presets"], facts["presets_extrapolated"]
    for key, (name, colour) in shown.items():
        x, y = _columns(measured, "presets", key)
        ax.loglog(x, [v / unit for v in y], "o-", color=colour, label=name)
        x, y = _columns([measured[-1], *further], "presets", key)
        ax.loglog(x, [v / unit for v in y], "--", color=colour)
    ax.set(xlabel="presets (dashed: extrapolated)", ylabel=label)


def _columns(rows: Sequence[Mapping[str, Any]], *names: str) -> list[list[Any]]:
    return [[row[name] for row in rows] for name in names]


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text("utf-8")), Path(sys.argv[2]))
