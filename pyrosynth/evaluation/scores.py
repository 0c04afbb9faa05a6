"""The score table, which holds every metric of every answer to every target, and its statistics.

``check`` and ``compare`` are two reports on one kind of table: a data frame with a row for each
answer to each target (``score_rows``), its summary by answer (``summarise``) and its paired tests
(``paired_tests``).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pyrosynth.audio.metrics import METRICS
from pyrosynth.errors import InputError
from pyrosynth.evaluation.targets import Targets
from pyrosynth.statistics import Interval, against_best, interval, paired_difference, share_of_wins

if TYPE_CHECKING:
    from pandas import DataFrame, Series

Float = NDArray[np.float64]
Int = NDArray[np.int64]

HELD_OUT, OUTSIDE = "held-out presets", "out-of-domain sounds"
REFERENCE = "retrieval, human presets"  # whom the wins are counted against
BANK = "retrieval, whole training bank"
GUESS = "guess from bank and model"  # of a model, before anything is rendered
TRUTH = "truth, rendered again"

MEAN_DRAW, ONE_DRAW = "mean draw", "one draw"
ANSWER = ["sounds", "method", "answer", "budget"]  # columns that tell answers apart
COLUMNS = (  # in every summary, whatever there is to put into them
    *ANSWER, "n", "seeds", "renders", "failed", "wins", "p_lsd", "p_sc", "lsd_mean",
)  # fmt: skip
# What methods are ranked by. The mean of SC is that of its few largest values.
RANKED: Mapping[str, Callable[..., Any]] = {"lsd": np.mean, "sc": np.median}


def best_of(lsd: Float, draws: int, counts: Sequence[int]) -> dict[str, Int]:
    """Say which of the sounds that were rendered for a target are an answer to it.

    Args:
        lsd: Log-spectral distances, shape (n, n_sounds): of the draws, then of their mean.
        draws: Number of draws.
        counts: Numbers of draws of which the nearest is an answer; larger ones are left out.

    Returns:
        Position of the sound for each target, shape (n,), by answer: ``mean draw``,
        ``one draw`` and such as ``best of 16 draws``.
    """
    n = len(lsd)
    positions = {MEAN_DRAW: np.full(n, draws), ONE_DRAW: np.zeros(n, np.int64)}
    for k in counts:
        if k <= draws:
            positions[f"best of {k} draws"] = np.argmin(lsd[:, :k], axis=1)
    return positions


def metrics_of(arrays: Mapping[str, Float], where: Any = ...) -> dict[str, Float]:
    """Return part of each array that holds a metric, by the names of ``METRICS``."""
    return {name: arrays[name][where] for name in METRICS if name in arrays}


def score_rows(
    targets: Targets,
    sounds: str,
    method: str,
    answer: str,
    scores: Mapping[str, Float],
    *,
    seed: int = 0,
    budget: int = 0,
    renders: float = 0.0,
) -> "DataFrame":
    """Return the rows of the score table for one answer of one method.

    Args:
        targets: The targets.
        sounds: ``HELD_OUT`` or ``OUTSIDE``.
        method: Name of the model, baseline or search.
        answer: Which of its answers, such as ``best of 16 draws``; empty for the only one.
        scores: Arrays of shape (n,), or (k, n) for k draws; those that are no metric are ignored.
        seed: Of the fit.
        budget: Sounds it may render for each target.
        renders: Sounds it did render, on average.

    Returns:
        A row for each draw and target: ``sounds``, ``method``, ``answer``, ``budget``,
        ``renders``, ``seed``, ``target`` (its number), ``true_square`` (mean square of the unit
        values of the true preset, NaN where it is unknown) and the metrics.
    """
    import pandas as pd

    metrics = {name: np.atleast_2d(array) for name, array in metrics_of(scores).items()}
    k = len(metrics["lsd"])
    square = np.full(len(targets), np.nan)
    if targets.values is not None:
        square = np.mean(targets.unit(targets.values) ** 2, axis=-1)
    labels = {
        "sounds": sounds, "method": method, "answer": answer, "budget": budget,
        "renders": float(renders), "seed": seed, "target": np.tile(targets.ids, k),
        "true_square": np.tile(square, k),
    }  # fmt: skip
    return pd.DataFrame({**labels, **{name: array.ravel() for name, array in metrics.items()}})


def draw_rows(
    targets: Targets,
    sounds: str,
    method: str,
    rendered: Mapping[str, Float],
    draws: int,
    counts: Sequence[int],
    seed: int = 0,
) -> "DataFrame":
    """Return the rows of the answers that come of draws.

    Args:
        targets: The targets.
        sounds: ``HELD_OUT`` or ``OUTSIDE``.
        method: Name of the model.
        rendered: From ``EvaluationRunner.render_draws``.
        draws: Number of draws.
        counts: As in ``best_of``.
        seed: Of the fit.

    Returns:
        As ``score_rows``. Where a metric is known of all draws, each of them is one draw.
    """
    import pandas as pd

    metrics = metrics_of(rendered)
    tables = []
    for answer, where in best_of(rendered["lsd"], draws, counts).items():
        scores = {m: np.take_along_axis(a, where[:, None], 1)[:, 0] for m, a in metrics.items()}
        if answer == ONE_DRAW:
            first = np.arange(draws)[:, None] == 0
            every = {m: a[:, :draws].T for m, a in metrics.items()}
            scores = {
                m: np.where(first, a, np.nan) if np.isnan(a).any() else a for m, a in every.items()
            }
        k = int(answer.split()[2]) if answer.startswith("best of") else 0
        tables.append(
            score_rows(
                targets, sounds, method, answer, scores, seed=seed, budget=k, renders=k
            )
        )  # fmt: skip
    return pd.concat(tables, ignore_index=True)


def per_target(scores: "DataFrame") -> "DataFrame":
    """Return the scores of each answer to each target: draws and seeds are put together.

    Args:
        scores: Rows of ``score_rows``.

    Returns:
        Indexed by sounds, method, answer, budget and target, in the order they come in: means
        over draws and seeds, of SC the median, as it has no upper bound and its mean would be
        that of the few answers that are too loud.
    """
    groups = scores.groupby([*ANSWER, "target"], sort=False)
    table = groups[
        [name for name in scores if name in (*METRICS, "renders", "true_square")]
    ].mean()
    if "sc" in table:
        table["sc"] = groups["sc"].median()
    return table


def summarise(
    scores: "DataFrame",
    tests: "DataFrame | None" = None,
    facts: Sequence[Mapping[str, Any]] = (),
    failed: Mapping[str, str] | None = None,
) -> "DataFrame":
    """Summarise a score table over the targets.

    Args:
        scores: Rows of ``score_rows``.
        tests: From ``paired_tests``, if the p-values are wanted.
        facts: Further columns of models, with ``method`` and ``sounds``, which they are joined by.
        failed: Why a method, or some of its seeds, failed.

    Returns:
        One row for each answer: ``sounds``, ``method``, ``answer``, ``budget``, ``n`` targets,
        ``seeds`` and ``renders``; of each metric the mean and the median over targets, such as
        ``lsd_mean``, with their 95 % bootstrap intervals, ``lsd_mean_low`` and ``lsd_mean_high``
        (see ``per_target``; targets for which a metric is infinite are left out);
        ``mse_n_published``, the error with the mean square of all true presets below the line
        (Esling et al., 2019); ``wins``, the share of answers nearer than the nearest human
        preset; ``p_lsd`` and ``p_sc`` of the tests, NaN for the best; the facts; and
        ``failed``. Empty cells are NaN.
    """
    import pandas as pd

    failed = failed or {}
    known = {(row["sounds"], row["method"]): row for row in facts}
    by_target: Any = per_target(scores).groupby(ANSWER, sort=False) if len(scores) else ()
    p_values = {} if tests is None else tests.set_index([*ANSWER, "metric"])["p"].to_dict()
    seeds: Any = scores.groupby(ANSWER, sort=False)["seed"].nunique() if len(scores) else {}
    wins = _wins(scores) if len(scores) else {}
    rows: list[dict[str, Any]] = []
    for name, own in by_target:
        rows.append(
            {
                **dict(zip(ANSWER, name, strict=True)),
                "n": len(own), "seeds": int(seeds[name]), "renders": own["renders"].mean(),
                "wins": wins.get(name, np.nan),
                **{f"p_{metric}": p_values.get((*name, metric), np.nan) for metric in RANKED},
                **_metrics(own),
                **known.get(name[:2], {}),
                "failed": failed.get(name[1], ""),
            }
        )  # fmt: skip
    answered = {row["method"] for row in rows}
    for method, reason in failed.items():
        if method not in answered:
            for sounds in scores["sounds"].unique() if len(scores) else [HELD_OUT]:
                rows.append({"sounds": sounds, "method": method, "answer": "", "budget": 0,
                             "n": 0, "failed": reason})  # fmt: skip
    frame = pd.DataFrame(rows)
    return frame.reindex(columns=list(dict.fromkeys([*COLUMNS, *frame.columns])))


def paired_tests(scores: "DataFrame") -> "DataFrame":
    """Test every answer against the best of those that may render as many sounds.

    Args:
        scores: Rows of ``score_rows``.

    Raises:
        InputError: Two of them have answered different targets.

    Returns:
        One row per test and metric of ``RANKED``: ``sounds``, ``method``, ``answer``, ``budget``,
        ``metric``, the ``best``, the mean ``difference`` to it over the same targets (of SC the
        median) with ``low`` and ``high``, the share of targets on which the best ``wins``, and
        ``p`` of the paired Wilcoxon test, corrected by Holm for the tests of that group.
    """
    import pandas as pd

    tests = []
    groups: Any = ()
    if len(scores):
        groups = per_target(scores).groupby(["sounds", "budget"], sort=False)
    for _, group in groups:
        for metric, statistic in RANKED.items():
            values = {
                name: own[metric].droplevel([*ANSWER]).sort_index()
                for name, own in group.groupby(ANSWER, sort=False)
                if own[metric].notna().all()
            }
            values = {name: own.to_numpy() for name, own in _paired(values).items()}
            if not values:
                continue
            best, p_values = against_best(values, statistic)
            for name, p in p_values.items():
                pairs = _finite(values[name], values[best])
                difference = paired_difference(*pairs, statistic=statistic)
                tests.append(
                    {
                        **dict(zip(ANSWER, name, strict=True)), "metric": metric,
                        "best": answer_name(best[1], best[2]), "difference": difference.estimate,
                        "low": difference.low, "high": difference.high,
                        "wins": share_of_wins(values[best], values[name]), "p": p,
                    }
                )  # fmt: skip
    columns = [*ANSWER, "metric", "best", "difference", "low", "high", "wins", "p"]
    return pd.DataFrame(tests, columns=columns)


def _paired(values: Mapping[Any, "Series"]) -> Mapping[Any, "Series"]:
    """Return scores by target; they must be of the same targets.

    Raises:
        InputError: They are not.
    """
    first = next(iter(values.values()), None)
    for (_, method, answer, _), own in values.items():
        if first is not None and not own.index.equals(first.index):
            raise InputError(
                f"'{answer_name(method, answer)}' has other targets than the other answers; give "
                "scores of one check or comparison"
            )
    return values


def answer_name(method: str, answer: str) -> str:
    """Return such as ``flow_reg, one draw``."""
    return f"{method}, {answer}" if answer else method


def estimate(row: Mapping[str, Any], name: str) -> Interval:
    """Return a number of a row of ``summarise`` and its interval."""
    return Interval(row[name], row[f"{name}_low"], row[f"{name}_high"])


def _wins(scores: "DataFrame") -> dict[Any, float]:
    """Return the share of answers of each kind that are nearer than the reference's."""
    by_target = scores.set_index(["sounds", "target"])
    reference: Any = by_target[by_target["method"] == REFERENCE]["lsd"]
    others = scores[scores["method"] != REFERENCE]
    if not len(reference) or not len(others):
        return {}
    known = others.set_index(["sounds", "target"]).index.map(reference)
    nearer: Any = (others["lsd"] < np.asarray(known, np.float64)).groupby(
        [others[name] for name in ANSWER], sort=False
    )
    return nearer.mean().to_dict()


def _metrics(own: "DataFrame") -> dict[str, float]:
    """Return mean and median of each metric with their intervals."""
    cells: dict[str, float] = {}
    for metric in METRICS:
        if metric in own and own[metric].notna().any():
            (values,) = _finite(own[metric].to_numpy())
            for name, statistic in (("mean", np.mean), ("median", np.median)):
                found = interval(values, statistic)
                cells |= {
                    f"{metric}_{name}": found.estimate,
                    f"{metric}_{name}_low": found.low,
                    f"{metric}_{name}_high": found.high,
                }
    if "mse_n_mean" in cells:
        square = own["true_square"]
        cells["mse_n_published"] = float((own["mse_n"] * square).mean() / square.mean())
    return cells


def _finite(*arrays: Float) -> list[Float]:
    """Return arrays without the targets for which one is infinite: silence has no SC."""
    finite = np.isfinite(arrays).all(axis=0)
    return [array[finite] for array in arrays] if finite.any() else [*map(np.asarray, arrays)]
