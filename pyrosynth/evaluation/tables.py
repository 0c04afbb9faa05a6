"""Tables of how well methods do, by re-rendering what they found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pyrosynth.audio.metric_suite import METRICS
from pyrosynth.statistics import Interval, interval

if TYPE_CHECKING:
    from pandas import DataFrame

Float = NDArray[np.float64]
Int = NDArray[np.int64]

BEST_OF = (4, 16, 64, 256)  # draws of which the nearest is taken
REFERENCE = "retrieval, human presets"  # whom the wins are counted against
BANK = "retrieval, whole training bank"
GUESS = "guess from bank and model"  # of the run, before anything is rendered

HEADERS = {
    "method": "method",
    "n": "n",
    "lsd_mean_db": "LSD mean dB",
    "lsd_median_db": "LSD median dB",
    "sc_median": "SC median",
    "mse_n_mean": "MSE_n mean",
    "wins": "beats retrieval",
    "renders": "renders",
}


@dataclass(frozen=True)
class Scores:
    """How a method did on some sounds.

    Args:
        measures: By the names of `pyrosynth.audio.metric_suite.METRICS`, shape (n,), or (k, n)
        for k answers
            to each sound.
        renders: Sounds rendered for each to find the answer.
    """

    measures: Mapping[str, Float]
    renders: float

    @property
    def lsd(self) -> Float:
        """Log-spectral distances in dB."""
        return self.measures["lsd"]

    def per_sound(self, measure: str = "lsd") -> Float:
        """Return a measure of each sound, shape (n,): the mean over its answers, of SC the median.

        SC has no upper bound, so that its mean is that of the few answers that are too loud.
        """
        values = self.measures[measure]
        typical = np.median if measure == "sc" else np.mean
        return typical(values, axis=0) if values.ndim == 2 else values


def measured(arrays: Mapping[str, Float], where: Any = ...) -> dict[str, Float]:
    """Return the part of each array that holds a measure, by the names of ``METRICS``."""
    return {name: arrays[name][where] for name in METRICS if name in arrays}


def picks(lsd: Float, draws: int, best_of: Sequence[int] = BEST_OF) -> dict[str, Int]:
    """Say which of the sounds that were rendered for a target are an answer to it.

    Args:
        lsd: Log-spectral distances, shape (n, n_sounds): of the draws, then of their mean.
        draws: Number of draws.
        best_of: Numbers of draws of which the nearest is an answer; larger ones are left out.

    Returns:
        Position of the sound for each target, shape (n,), by answer: ``mean draw``,
        ``one draw`` and such as ``best of 16 draws``.
    """
    n = len(lsd)
    found = {"mean draw": np.full(n, draws), "one draw": np.zeros(n, np.int64)}
    for k in best_of:
        if k <= draws:
            found[f"best of {k} draws"] = np.argmin(lsd[:, :k], axis=1)
    return found


def drawn(
    played: Mapping[str, Float], draws: int, best_of: Sequence[int] = BEST_OF
) -> dict[str, Scores]:
    """Score the answers that come of draws.

    Args:
        played: From `pyrosynth.evaluation.trials.Trials.play`, shape (n, n_sounds) each.
        draws: Number of draws.
        best_of: As in ``picks``.

    Returns:
        Scores of each answer. Where all draws were measured, each of them is one draw.
    """
    measures = measured(played)
    scores = {}
    for answer, where in picks(played["lsd"], draws, best_of).items():
        taken = {m: np.take_along_axis(a, where[:, None], 1)[:, 0] for m, a in measures.items()}
        if answer == "one draw":
            of_all = {m: a[:, :draws].T for m, a in measures.items()}
            taken |= {m: a for m, a in of_all.items() if not np.isnan(a).any()}
        renders = int(answer.split()[2]) if answer.startswith("best of") else 0
        scores[answer] = Scores(taken, renders)
    return scores


def table(scores: Mapping[str, Scores]) -> "DataFrame":
    """Compare methods on the same sounds.

    Args:
        scores: Of each method; ``REFERENCE`` among them if wins are to be counted.

    Returns:
        One row per method with the columns of ``HEADERS`` and the ends of the 95 % bootstrap
        intervals of the means, ``lsd_low_db`` and ``lsd_high_db``. Wins are the share of sounds
        whose distance is lower than that of the reference.
    """
    import pandas as pd

    reference = scores.get(REFERENCE)
    rows = []
    for method, score in scores.items():
        mean = interval(score.per_sound())
        wins = np.nan
        if reference is not None and method != REFERENCE:
            wins = float(np.mean(score.lsd < reference.lsd))
        rows.append(
            {
                "method": method,
                "n": len(score.per_sound()),
                "lsd_mean_db": mean.estimate,
                "lsd_low_db": mean.low,
                "lsd_high_db": mean.high,
                "lsd_median_db": float(np.median(score.per_sound())),
                "sc_median": float(np.median(score.per_sound("sc"))),
                "mse_n_mean": float(np.mean(score.measures["mse_n"])),
                "wins": wins,
                "renders": float(score.renders),
            }
        )
    return pd.DataFrame(rows)


def text_rows(frame: "DataFrame") -> list[list[str]]:
    """Return the cells of a table as people read them, one list per row, as in ``HEADERS``."""
    rows = []
    for row in frame.to_dict("records"):
        mean = Interval(row["lsd_mean_db"], row["lsd_low_db"], row["lsd_high_db"])
        wins = "" if np.isnan(row["wins"]) else f"{100 * row['wins']:.0f} %"
        rows.append(
            [
                str(row["method"]),
                str(row["n"]),
                str(mean),
                f"{row['lsd_median_db']:.2f}",
                f"{row['sc_median']:.2f}",
                f"{row['mse_n_mean']:.3f}",
                wins,
                f"{row['renders']:.0f}",
            ]
        )
    return rows


def markdown(frame: "DataFrame") -> str:
    """Return a table in Markdown."""
    lines = [list(HEADERS.values()), ["---"] * len(HEADERS), *text_rows(frame)]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
