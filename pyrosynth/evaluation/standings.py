"""Who does best: the rows of a comparison, their statistics, and the tables of both."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pyrosynth.audio.metric_suite import METRICS
from pyrosynth.evaluation.tables import REFERENCE, Scores
from pyrosynth.statistics import Interval, against_best, interval, paired_difference, share_of_wins

if TYPE_CHECKING:
    from pandas import DataFrame

Float = NDArray[np.float64]

HELD_OUT, OUTSIDE = "held-out presets", "outside sounds"
COLUMNS = (  # in every table, whatever there is to put into them
    "sounds", "method", "answer", "n", "seeds", "budget", "renders", "failed", "wins",
    "p_lsd", "p_sc", "lsd_mean",
)  # fmt: skip
# What methods are ranked by. The mean of SC is that of its few largest values.
RANKED: Mapping[str, Callable[..., Any]] = {"lsd": np.mean, "sc": np.median}


@dataclass(frozen=True, eq=False)
class Row:
    """One answer of one method to one set of sounds.

    Args:
        sounds: ``HELD_OUT`` or ``OUTSIDE``.
        method: Name of the model or rival.
        answer: Which of its answers, such as ``best of 16 draws``; empty for the only one.
        scores: How it did, one answer of each seed, at least, to each sound; None if it failed.
        seeds: Number of fits behind it.
        budget: Sounds it may render for each.
        facts: Further numbers, by column.
        failed: Why it, or some of its seeds, failed.
    """

    sounds: str
    method: str
    answer: str
    scores: Scores | None
    seeds: int = 1
    budget: int = 0
    facts: Mapping[str, float] = field(default_factory=dict)
    failed: str = ""

    @property
    def name(self) -> str:
        """Such as ``flow_reg, one draw``."""
        return f"{self.method}, {self.answer}" if self.answer else self.method


def together(seeds: Sequence[Scores]) -> Scores:
    """Put the scores of several fits on the same sounds together."""
    measures = {
        name: np.concatenate([np.atleast_2d(scores.measures[name]) for scores in seeds])
        for name in seeds[0].measures
    }
    return Scores(measures, float(np.mean([scores.renders for scores in seeds])))


def standings(rows: Sequence[Row]) -> "DataFrame":
    """Tabulate rows.

    Args:
        rows: All rows of a comparison.

    Returns:
        One row each: ``sounds``, ``method``, ``answer``, ``n`` sounds, ``seeds``, ``budget`` and
        ``renders``; of each measure the mean and the median over sounds, such as ``lsd_mean``,
        with their 95 % bootstrap intervals, ``lsd_mean_low`` and ``lsd_mean_high`` (seeds and
        draws of a sound are put together first, see
        `pyrosynth.evaluation.tables.Scores.per_sound`; sounds
        for which a measure is infinite are left out); ``wins``, the share of sounds nearer than
        the nearest human preset; ``p_lsd`` and ``p_sc``, see ``statistics``, empty for the
        best; further facts of models; and ``failed``. Empty cells are NaN.
    """
    import pandas as pd

    p_values = {
        (test["sounds"], test["method"], test["answer"], test["measure"]): test["p"]
        for test in statistics(rows).to_dict("records")
    }
    references = {r.sounds: r.scores for r in rows if r.method == REFERENCE}
    table = []
    for row in rows:
        cells: dict[str, Any] = {
            "sounds": row.sounds, "method": row.method, "answer": row.answer,
            "n": 0, "seeds": row.seeds, "budget": row.budget,
        }  # fmt: skip
        if row.scores is not None:
            cells |= {"n": len(row.scores.per_sound()), "renders": row.scores.renders}
            cells |= _cells(row.scores)
            reference = references.get(row.sounds)
            if reference is not None and row.method != REFERENCE:
                cells["wins"] = share_of_wins(row.scores.lsd, reference.lsd)
            for measure in RANKED:
                key = (row.sounds, row.method, row.answer, measure)
                cells[f"p_{measure}"] = p_values.get(key, np.nan)
        table.append({**cells, **row.facts, "failed": row.failed})
    frame = pd.DataFrame(table)
    return frame.reindex(columns=list(dict.fromkeys([*COLUMNS, *frame.columns])))


def statistics(rows: Sequence[Row]) -> "DataFrame":
    """Test every row against the best of those that render as many sounds.

    Args:
        rows: All rows of a comparison.

    Returns:
        One row per test and measure of ``RANKED``: ``sounds``, ``budget``, ``measure``,
        ``method`` and ``answer``, the ``best``, the mean ``difference`` to it over the same
        sounds (of SC the median) with ``low`` and ``high``, the share of sounds on which the
        best ``wins``, and ``p`` of the paired Wilcoxon test, corrected by Holm for the tests of
        that group.
    """
    import pandas as pd

    groups: dict[tuple[str, int], dict[str, Row]] = {}
    for row in rows:
        if row.scores is not None:
            groups.setdefault((row.sounds, row.budget), {})[row.name] = row
    tests = []
    for (sounds, budget), group in groups.items():
        for measure, statistic in RANKED.items():
            values = {
                name: row.scores.per_sound(measure)
                for name, row in group.items()
                if row.scores is not None and measure in row.scores.measures
            }
            if not values:
                continue
            best, p_values = against_best(values, statistic)
            for name, p in p_values.items():
                pairs = _finite(values[name], values[best])
                difference = paired_difference(*pairs, statistic=statistic)
                tests.append(
                    {
                        "sounds": sounds, "budget": budget, "measure": measure,
                        "method": group[name].method, "answer": group[name].answer,
                        "best": best, "difference": difference.estimate,
                        "low": difference.low, "high": difference.high,
                        "wins": share_of_wins(values[best], values[name]), "p": p,
                    }
                )  # fmt: skip
    columns = (
        "sounds", "budget", "measure", "method", "answer", "best", "difference", "low", "high",
        "wins", "p",
    )  # fmt: skip
    return pd.DataFrame(tests, columns=list(columns))


def _cells(scores: Scores) -> dict[str, float]:
    """Return mean and median of each measure with their intervals."""
    cells: dict[str, float] = {}
    for measure in METRICS:
        if measure in scores.measures:
            (values,) = _finite(scores.per_sound(measure))
            for name, statistic in (("mean", np.mean), ("median", np.median)):
                found = interval(values, statistic)
                cells |= {
                    f"{measure}_{name}": found.estimate,
                    f"{measure}_{name}_low": found.low,
                    f"{measure}_{name}_high": found.high,
                }
    return cells


def _finite(*arrays: Float) -> list[Float]:
    """Return arrays without the sounds for which one is infinite: silence has no SC."""
    finite = np.isfinite(arrays).all(axis=0)
    return [array[finite] for array in arrays] if finite.any() else [*map(np.asarray, arrays)]


def estimate(cells: Mapping[str, Any], name: str) -> Interval:
    """Return a number of a row of ``standings`` and its interval."""
    return Interval(cells[name], cells[f"{name}_low"], cells[f"{name}_high"])
