"""Every method on several synths, with one protocol and one budget: is their order the same?

    OMP_NUM_THREADS=1 python benchmarks/synths.py --out synths [--presets 30] NAME=RUN ...

RUN is a run of the default model with its dataset, such as `learn` or `fit` writes. An `mlp` is
fitted to the same dataset with the same settings, so that it sees as many presets, and both answer
the held-out presets beside retrieval and plain searches; `compare` does all of it, and keeps it in
the folder, so a call that was killed goes on. A name that is given several times, with runs on
several splits of the presets of one synth, is one column: the scores of a preset that is held out
of more than one of them are averaged first.

Prints and writes `synths.md`: mean distances with intervals, the share of presets on which each
answer is nearer than retrieval, and the order of the methods on each synth, with the rank
correlation (Kendall's tau) of the orders of every two synths. `scores.csv` has every score.
"""

import argparse
import shutil
import sys
from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

import pandas as pd
from scipy.stats import kendalltau, wilcoxon

from pyrosynth.cli.demo import MODEL
from pyrosynth.cli.process import run_program
from pyrosynth.data.dataset import open_dataset
from pyrosynth.evaluation.benchmark import RUNS
from pyrosynth.evaluation.compare import compare
from pyrosynth.evaluation.scores import ANSWER, answer_name, estimate, per_target, summarise
from pyrosynth.evaluation.tables import ALIKE, markdown
from pyrosynth.files import claim, write_bytes
from pyrosynth.statistics import holm
from pyrosynth.training.run import Run, load_run

MLP = "mlp"
BUDGET = 256  # renders of every search
METHODS = (
    "retrieval", "bank", f"cma-{BUDGET}", f"retrieval+cma-{BUDGET}",
    f"{MLP}+infer-{BUDGET}", f"{MODEL}+infer-{BUDGET}",
)  # fmt: skip
NOT_OF_TRAINING = ("model", "options", "dataset", "presets", "tags", "seed", "start")
LEFT_OUT = ("mean draw",)  # answers that are in no table


def score(
    run_folder: Path, folder: Path, presets: int, methods: Sequence[str], workers: int
) -> tuple[Run, pd.DataFrame]:
    """Let all methods answer the held-out presets of the dataset of a run."""
    run = load_run(run_folder)
    with claim(folder, "compare"):  # the run is fitted to the same data with the same settings,
        copy = folder / RUNS / f"{MODEL}-0"  # so `compare` takes it as its own
        if not copy.exists():
            own = shutil.ignore_patterns("learn", "checkpoints")
            shutil.copytree(run_folder, copy, ignore=own)
    settings: Mapping[str, Any] = run.settings
    result = compare(
        open_dataset(run.dataset["path"]), folder, models=[MODEL, MLP], methods=methods, seeds=1,
        n_presets=presets, workers=workers, threads=1,
        options={f"{MODEL}.{name}": value for name, value in settings["options"].items()},
        **{name: value for name, value in settings.items() if name not in NOT_OF_TRAINING},
    )  # fmt: skip
    for what, reason in result.failures.items():
        print(f"{folder.name}: {what} failed: {reason}", file=sys.stderr)
    return run, result.scores[~result.scores["answer"].isin(LEFT_OUT)]


def distances(scores: pd.DataFrame) -> dict[str, pd.Series]:
    """Return the distance of each answer to each target in dB, nearest on average first."""
    found = {
        answer_name(str(method), str(answer)): own.droplevel([*ANSWER])
        for (_, method, answer, _), own in per_target(scores)["lsd"].groupby(ANSWER, sort=False)
    }
    return dict(sorted(found.items(), key=lambda item: item[1].mean()))


def order(scores: pd.DataFrame) -> str:
    """Return the answers, nearest first, with ≈ between those that are not told apart."""
    found = distances(scores)
    pairs = [(found[a].align(found[b], join="inner")) for a, b in pairwise(found)]
    p_values = holm([wilcoxon(a, b).pvalue if (a != b).any() else 1.0 for a, b in pairs])
    signs = ["<" if p < ALIKE else "≈" for p in p_values]
    return " ".join(
        f"{sign} {name}" if sign else name for sign, name in zip(["", *signs], found, strict=True)
    )


def tables(by_synth: Mapping[str, pd.DataFrame]) -> str:
    """Return the tables of distances and of wins, the orders, and how alike the orders are."""
    frames = {name: summarise(scores) for name, scores in by_synth.items()}
    rows = {
        name: {answer_name(row["method"], row["answer"]): row for row in frame.to_dict("records")}
        for name, frame in frames.items()
    }
    answers = list(dict.fromkeys(answer for own in rows.values() for answer in own))
    renders = {answer: row["budget"] for own in rows.values() for answer, row in own.items()}
    n = {name: f"{name}, n = {frame['n'].max()}" for name, frame in frames.items()}

    def table(cell: Any) -> str:
        lines = [
            [answer, f"{renders[answer]}",
             *(cell(own[answer]) if answer in own else "–" for own in rows.values())]
            for answer in answers
        ]  # fmt: skip
        return markdown(["answer", "renders", *n.values()], lines)

    def share(row: Mapping[str, Any]) -> str:
        return "" if pd.isna(row["wins"]) else f"{100 * row['wins']:.0f} %"

    means = {name: {a: d.mean() for a, d in distances(s).items()} for name, s in by_synth.items()}
    parts = [
        "LSD in dB, mean over presets\n", table(lambda row: str(estimate(row, "lsd_mean"))),
        "Nearer than the nearest human training preset\n", table(share),
        "Order, nearest first; ≈: not told apart\n",
        "\n".join(f"- {name}: {order(scores)}" for name, scores in by_synth.items()),
        "Kendall's tau of the orders\n",
        "\n".join(
            f"- {a}, {b}: {kendalltau(*_common(means[a], means[b])).statistic:.2f}"
            for a, b in combinations(means, 2)
        ),
    ]  # fmt: skip
    return "\n".join(parts) + "\n"


def _common(first: Mapping[str, float], second: Mapping[str, float]) -> tuple[list[float], ...]:
    """Return the values of the keys that both have."""
    keys = [key for key in first if key in second]
    return [first[key] for key in keys], [second[key] for key in keys]


def main(arguments: Sequence[str] | None = None) -> None:
    """Score the runs and write the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", metavar="NAME=RUN")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--presets", type=int, default=30, help="held-out presets of each run")
    parser.add_argument("--methods", default=",".join(METHODS), help="as `compare` takes them")
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args(arguments)
    parts: dict[str, list[pd.DataFrame]] = {}
    for i, (name, _, path) in enumerate(text.partition("=") for text in given.runs):
        folder = given.out / f"{name}-{len(parts.get(name, ()))}"
        run, scores = score(
            Path(path),
            folder,
            given.presets,
            [name.strip() for name in given.methods.split(",")],
            given.workers,
        )
        parts.setdefault(name, []).append(scores)
        by_synth = {key: pd.concat(own, ignore_index=True) for key, own in parts.items()}
        every = pd.concat([own.assign(synth=key) for key, own in by_synth.items()])
        write_bytes(given.out / "scores.csv", every.to_csv(index=False).encode())
        write_bytes(given.out / "synths.md", tables(by_synth).encode())
        print(f"{name}: {run.settings['steps']} steps of {run.settings['batch_size']}, {i + 1} of "
              f"{len(given.runs)} runs done", file=sys.stderr)  # fmt: skip
    print((given.out / "synths.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    run_program(main)
