"""Tables of results: the main table, all metrics, tests, costs, and tag axes."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pyrosynth.audio.metrics import METRICS
from pyrosynth.errors import counted
from pyrosynth.evaluation.calibration import LEVELS, REFERENCES
from pyrosynth.evaluation.scores import MEAN_DRAW, ONE_DRAW, RANKED, answer_name, estimate

if TYPE_CHECKING:
    from pandas import DataFrame

Cells = list[str]
Table = tuple[Cells, list[Cells]]

ALIKE = 0.05  # p-value from which a method is not told apart from the best
SURE, UNSURE = "**", " ≈"  # around the best, after what is not told apart from it
FIRST = (MEAN_DRAW, ONE_DRAW, "guess")  # columns that render nothing, for a guess of any kind
COMPARE_LEGEND = (
    "LSD in dB, the mean over sounds; the seeds of a sound are averaged first. Every answer was "
    "rendered by the real synth. A column holds answers that cost as many renders; of those, the "
    "nearest was taken by LSD, as a user would. {best}: the best of all that cost as many; ≈: not "
    f"told apart from it (p ≥ {ALIKE}, Wilcoxon signed ranks with Holm's correction). SC: median "
    "over sounds, of one draw and of the nearest of most. MSE_n: of the mean draw. "
    "log q(v given x): nats that the model gives to the true preset, where it is exact. "
    "90 % region, TARP 90 %: how many true presets lie in the regions that should hold 90 %."
)
CHECK_LEGEND = (
    "Every answer was rendered by the real synth. LSD: log-spectral distance, with the 95 % "
    "bootstrap interval of its mean over sounds. SC: spectral convergence. MSE_n: normalised "
    "error of the learnt parameters. Beats retrieval: share of sounds nearer than the nearest "
    "human training preset. Renders: sounds rendered to choose the answer; the nearest one is "
    "taken, so rows with renders choose on the LSD they are scored by, as a user would."
)
COVERAGE_LEGEND = (
    "How many of 100 truths lie in intervals and regions that should hold 50, 80 and 90. Central: "
    "intervals of single controls, their mean. Highest density: regions of all controls, as the "
    "density says; conformal: the same with levels taken from the validation presets, which holds "
    f"on average over all presets, not in each group. TARP: {REFERENCES} references for each "
    "sound. Groups: in how many controls the level differs from the nearest human training preset."
)

AXES_HEADERS = (
    "axis", "AUC", "Spearman", "leakage", "related", "gap", "at best", "monotony", "rising",
    "right way", "own change", "other change", "other size",
)  # fmt: skip
AXES_LEGEND = (
    "On presets held out from the fit. AUC: how well the axis tells the first class from the "
    "last; none where no preset is known to be of one of them. Spearman: rank correlation with "
    "the descriptor behind the tag, counted downwards where its classes go down in it, such as "
    "bright/dark. Leakage: the largest one with the descriptor of another tag; related: how "
    "related that tag's own descriptor is to the others, which any axis that follows it leaks. "
    "Gap: mutual information gap of the axis (1: it alone knows the descriptor; negative: "
    "another coordinate knows more); at best: the gap if the descriptors themselves were the "
    "axes. The rest was rendered by the synth, in steps from −2 to +2. Monotony: rank "
    "correlation of step and descriptor, mean over presets; rising: share of steps in the right "
    "direction; right way: share of presets that −1 to +1 moves in it. Own and other change: "
    "what −1 to +1 adds to the tag's own descriptor and, the largest, to another one, mean over "
    "the presets, in standard deviations of the human ones; other size: the same of the changes "
    "of single presets, whatever their sign."
)


def markdown(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [list(headers), ["---"] * len(headers), *rows]
    clean = [[str(cell).replace("|", "/") for cell in line] for line in lines]
    return "".join("| " + " | ".join(line) + " |\n" for line in clean)


def check_table(frame: "DataFrame", name_of: Callable[[str, str], str] = answer_name) -> Table:
    """Return the table of a check, one row for each answer.

    Args:
        frame: From `pyrosynth.evaluation.scores.summarise`.
        name_of: What an answer is called, from its method and what it is.

    Returns:
        Headers, and cells as people read them.
    """
    heads = {
        "n": "n", "lsd_mean": "LSD mean dB", "lsd_median": "LSD median dB",
        "sc_median": "SC median", "mse_n_mean": "MSE_n mean", "wins": "beats retrieval",
        "renders": "renders",
    }  # fmt: skip
    rows = []
    for row in _records(frame):
        cells = {name: _number(row, name) for name in heads}
        cells["lsd_mean"] = str(estimate(row, "lsd_mean"))
        cells |= {name: f"{row[name]:.2f}" for name in ("lsd_median", "sc_median")}
        rows.append([name_of(row["method"], row["answer"]), *cells.values()])
    return ["answer", *heads.values()], rows


def coverage_table(summary: Mapping[str, Any]) -> Table:
    """Return how many truths intervals and regions held in a check, of all presets and of groups.

    Args:
        summary: The summary of a check.

    Returns:
        Headers, and cells: shares in percent at 50, 80 and 90 %.
    """
    groups = summary["coverage_by_differing_controls"]
    every = {"differing": "all", "presets": summary["presets"], **summary["coverage"]}
    every["central"] = every.pop("mean of parameters")
    kinds = [name for name in every if name not in ("differing", "presets")]
    rows = []
    for group in (every, *groups):
        cells = [" / ".join(f"{100 * share:.0f}" for share in group[kind]) for kind in kinds]
        rows.append([group["differing"], str(group["presets"]), *cells])
    heads = [f"{kind} {'/'.join(f'{100 * level:.0f}' for level in LEVELS)}" for kind in kinds]
    return ["differing controls", "presets", *heads], rows


def order(frame: "DataFrame") -> list[str]:
    """Return the methods: models from the best to the worst by their best draws, then others."""
    models = frame[frame["answer"].isin(FIRST)]["method"].unique().tolist()
    last = {}
    for method in models:
        own = frame[(frame["method"] == method) & ~frame["answer"].str.startswith("infer")]
        own = own[own["sounds"] == own["sounds"].iloc[0]]
        last[method] = own.sort_values("budget", kind="stable")["lsd_mean"].iloc[-1]
    others = [m for m in frame["method"].unique() if m not in last]
    return [*sorted(models, key=lambda method: last[method]), *others]


def column(row: Mapping[str, Any]) -> str:
    """Return the column of the table by budget that an answer belongs into."""
    if row["budget"] == 0:
        return row["answer"] if row["answer"] in FIRST else FIRST[-1]
    if row["answer"].startswith("best of"):
        return f"best of {row['budget']:.0f}"
    return counted(round(row["budget"]), "render")


def budget_table(frame: "DataFrame", sounds: str) -> Table:
    """Return the table to choose by: methods down, what they may render across.

    Args:
        frame: From `pyrosynth.evaluation.scores.summarise`.
        sounds: Which sounds.

    Returns:
        Headers, and cells as people read them, in Markdown.
    """
    here = frame[frame["sounds"] == sounds]
    rows = _records(here)
    done = [row for row in rows if not _missing(row, "lsd_mean")]
    named = {column(row): row["budget"] for row in done}
    columns = sorted(
        (budget, FIRST.index(name) if name in FIRST else 0, name) for name, budget in named.items()
    )
    best = {
        budget: min(r["lsd_mean"] for r in done if r["budget"] == budget) for budget, *_ in columns
    }
    more = {
        "SC, one draw": (ONE_DRAW, "sc_median"),
        "SC, nearest": ("nearest", "sc_median"),
        "MSE_n": (MEAN_DRAW, "mse_n_mean"),
        "log q(v given x)": (ONE_DRAW, "log_q"),
        "90 % region": (ONE_DRAW, "region_90"),
        "TARP 90 %": (ONE_DRAW, "tarp_90"),
    }
    more = {
        head: (answer, name)
        for head, (answer, name) in more.items()
        if name in here and here[name].notna().any()
    }
    table = []
    for method in order(here):
        own = {column(row): row for row in done if row["method"] == method}
        if not own:
            reason = next(row["failed"] for row in rows if row["method"] == method)
            table.append([method, f"failed: {reason}", *[""] * (len(columns) + len(more) - 1)])
            continue
        cells = [_lsd(own.get(name), best[budget]) for budget, _, name in columns]
        first = next(iter(own.values()))
        nearest = [row for name, row in own.items() if name.startswith("best of")]
        own["nearest"] = max(nearest, key=lambda row: row["budget"]) if nearest else first
        facts = [_number(own.get(answer, first), name) for answer, name in more.values()]
        table.append([method, *cells, *facts])
    return ["method", *(name for *_, name in columns), *more], table


def metrics_table(frame: "DataFrame", sounds: str) -> Table:
    """Return every metric of every answer: means over sounds, of SC the median as well."""
    here = frame[frame["sounds"] == sounds].dropna(subset=["lsd_mean"])
    heads = {"n": "n", "seeds": "seeds", "renders": "renders", "lsd_median": "LSD median"}
    for name, metric in METRICS.items():
        heads[f"{name}_mean"] = metric.heading
        if name == "sc":
            heads["sc_median"] = "SC median"
        if name == "mse_n":
            heads["mse_n_published"] = "MSE_n as published"
    heads["wins"] = "beats retrieval"
    heads = {name: head for name, head in heads.items() if name in here}
    table = []
    for method in order(here):
        own = here[here["method"] == method].sort_values("budget", kind="stable")
        for row in _records(own):
            table.append([method, row["answer"], *(_number(row, name) for name in heads)])
    return ["method", "answer", *heads.values()], table


def tests_table(tests: "DataFrame", sounds: str, metric: str) -> Table:
    """Return the paired tests of one metric."""
    here = tests[(tests["sounds"] == sounds) & (tests["metric"] == metric)]
    table = []
    for row in _records(here):
        name = answer_name(row["method"], row["answer"])
        difference = f"{row['difference']:+.2f} [{row['low']:+.2f}, {row['high']:+.2f}]"
        table.append(
            [f"{row['budget']:.0f}", name, row["best"], difference, f"{100 * row['wins']:.0f} %",
             f"{row['p']:.2g}"]
        )  # fmt: skip
    unit = METRICS[metric].heading
    return (
        ["renders", "method", "best", f"behind the best, {unit}", "best is nearer on", "p (Holm)"],
        table,
    )


def costs_table(frame: "DataFrame") -> Table:
    """Return what the fits of each model cost, means over their seeds."""
    heads = {
        "weights": "weights", "steps": "steps", "best_step": "best step",
        "fit_seconds": "fit, minutes", "fit_cpu_seconds": "processor, minutes",
    }  # fmt: skip
    if "steps" not in frame:
        return ["model", *heads.values()], []
    fitted = frame.dropna(subset=["steps"]).drop_duplicates("method")
    rows = {row["method"]: row for row in _records(fitted)}
    cells = [
        [name, *(f"{row[k] / 60:.1f}" if "seconds" in k else f"{row[k]:,.0f}" for k in heads)]
        for name, row in sorted(rows.items(), key=lambda item: order(fitted).index(item[0]))
    ]
    return ["model", *heads.values()], cells


def compare_page(frame: "DataFrame", tests: "DataFrame") -> str:
    """Return all tables of a comparison in Markdown."""
    parts = []
    for sounds in frame["sounds"].unique() if len(frame) else ():
        n = int(frame[frame["sounds"] == sounds]["n"].max())
        parts += [
            f"## {sounds.capitalize()} ({n})",
            markdown(*budget_table(frame, sounds)),
            f"{COMPARE_LEGEND.format(best='Bold')} In brackets: 95 % bootstrap intervals.",
            "### All metrics",
            markdown(*metrics_table(frame, sounds)),
            "### Against the best",
            *(markdown(*tests_table(tests, sounds, metric)) for metric in RANKED),
        ]
    parts += ["## Cost of a fit", markdown(*costs_table(frame))]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def axes_table(frame: "DataFrame") -> Table:
    """Return headers and cells of a table of axes as people read them."""
    rows = []
    for row in frame.drop(columns=["classes", "n_left_out"]).to_dict("records"):
        cells = [str(row.pop("tag"))]
        for name, value in row.items():
            share = name in ("rising", "right_way")
            told = f"{100 * value:.0f} %" if share else f"{value:.2f}"
            cells.append("–" if np.isnan(value) else told)
        rows.append(cells)
    return list(AXES_HEADERS), rows


def _records(frame: "DataFrame") -> list[dict[str, Any]]:
    records: list[Any] = frame.to_dict("records")
    return records


def _lsd(row: Mapping[str, Any] | None, best: float) -> str:
    """Write a distance, marked if it is the best or may be as good."""
    if row is None:
        return ""
    text = str(estimate(row, "lsd_mean"))
    if row["lsd_mean"] == best:
        return f"{SURE}{text}{SURE}"
    return text + (UNSURE if row["p_lsd"] >= ALIKE else "")


def _number(row: Mapping[str, Any], name: str) -> str:
    """Write a number as people read it, nothing where there is none."""
    if _missing(row, name):
        return ""
    value = row[name]
    if name in ("n", "seeds", "renders"):
        return f"{value:.0f}"
    if name == "wins" or name.endswith("_90"):
        return f"{100 * value:.0f} %"
    if name == "log_q":
        return f"{value:.1f}"
    return f"{value:.3f}" if name.startswith("mse_n") else f"{value:#.3g}".rstrip(".")


def _missing(row: Mapping[str, Any], name: str) -> bool:
    return name not in row or bool(np.isnan(row[name]))
