"""Tables of how well methods do, by re-rendering what they found."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pyrosynth.statistics import Interval, interval

if TYPE_CHECKING:
    from pandas import DataFrame

REFERENCE = "retrieval, human presets"  # whom the wins are counted against
BANK = "retrieval, whole training bank"

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
        lsd: Log-spectral distances in dB, shape (n,), or (k, n) for k answers to each sound.
        sc: Spectral convergences, same shape.
        mse_n: Normalised parameter errors, same shape.
        renders: Sounds rendered for each to find the answer.
    """

    lsd: NDArray[np.float64]
    sc: NDArray[np.float64]
    mse_n: NDArray[np.float64]
    renders: float

    @property
    def per_sound(self) -> NDArray[np.float64]:
        """Log-spectral distance of each sound, the mean over its answers, shape (n,)."""
        return self.lsd.mean(axis=0) if self.lsd.ndim == 2 else self.lsd


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
        mean = interval(score.per_sound)
        wins = np.nan
        if reference is not None and method != REFERENCE:
            wins = float(np.mean(score.lsd < reference.lsd))
        rows.append(
            {
                "method": method,
                "n": len(score.per_sound),
                "lsd_mean_db": mean.estimate,
                "lsd_low_db": mean.low,
                "lsd_high_db": mean.high,
                "lsd_median_db": float(np.median(score.per_sound)),
                "sc_median": float(np.median(score.sc)),
                "mse_n_mean": float(np.mean(score.mse_n)),
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
