"""The folder of a report on axes of tags: a table, figures, pictures, a page with sounds."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pyrosynth._version import __version__
from pyrosynth.data.dataset import Dataset
from pyrosynth.data.labeling import descriptor_tags
from pyrosynth.data.tags import Tag, TagTable, read_tags
from pyrosynth.errors import DataError, InputError
from pyrosynth.evaluation import axes_figures as axes_plots
from pyrosynth.evaluation.axes import Axes, coordinates, measure, require_axes
from pyrosynth.evaluation.axes_report import axes_report
from pyrosynth.evaluation.costs import Cost, cost
from pyrosynth.evaluation.sweeps import NUMBERS, Sweeps, play
from pyrosynth.files import writable, write_bytes
from pyrosynth.inference.posterior import Posterior
from pyrosynth.plots import png
from pyrosynth.training.fit import require_same_contract
from pyrosynth.training.run import run_hash

if TYPE_CHECKING:
    from pandas import DataFrame

Float = NDArray[np.float64]

FACTS, TABLE, REPORT = "axes.json", "axes.csv", "report.html"
HEARD = 4  # presets in the report, with sounds


@dataclass(frozen=True)
class AxesResult:
    """What was found about the axes of a run.

    Attributes:
        folder: Where ``report.html``, ``axes.csv``, ``axes.json`` and the pictures are.
        table: One row for each axis.
        axes: Measures on all held-out presets.
        sweeps: What was heard along the axes.
        cost: The run beside one without tags, if there is one.
        facts: All figures, JSON-ready.
    """

    folder: Path
    table: "DataFrame"
    axes: Axes
    sweeps: Sweeps
    cost: Cost | None
    facts: dict[str, Any]


def report_axes(
    posterior: Posterior,
    dataset: Dataset,
    out: str | Path,
    *,
    tags: str | Path | None = None,
    beside: Posterior | None = None,
    n_presets: int = 32,
    draws: int = 16,
    split: str = "test",
    seed: int = 0,
    workers: int | None = None,
    force: bool = False,
    progress: bool = True,
) -> AxesResult:
    """Say how good the axes of tags of a run are, on held-out human presets.

    What was rendered is kept below ``out``; called again, it goes on where it was.

    Args:
        posterior: The run.
        dataset: The dataset it was fitted on.
        out: Folder for the results.
        tags: CSV file of tags that holds those of held-out presets; else they are made from the
            sounds.
        beside: A run fitted alike, without tags, to say what they cost; it is met on ``test``.
        n_presets: Presets moved along the axes, and met by both runs, picked at random.
        draws: Draws of which the nearest counts where runs are compared.
        split: Which presets: ``test``, or ``valid`` while one still chooses between models.
        seed: Of everything random.
        workers: Processes that render; all cores if left out.
        force: Whether results of another run in the folder may be replaced.
        progress: Whether to show progress bars.

    Returns:
        What was found, which has been written too.

    Raises:
        InputError: The run has no axes of tags, the tags lack one, an argument is out of range,
            or the folder cannot be written or holds the results of another run.
        DataError: The dataset is of another synth, note, parameters or features, or it has no
            held-out presets.
    """
    if n_presets < 2 or draws < 1:
        raise InputError(f"{n_presets} presets, {draws} draws: give at least 2 and 1")
    run = posterior.run
    require_axes(run)
    require_same_contract(run, dataset)
    held_out = dataset.rows(split, human_only=True)
    if len(held_out) < 2:
        raise DataError(f"dataset '{dataset.path}' has no held-out presets; render more presets")
    folder = writable(out)
    _require_same(folder, posterior, force)
    truth = known(dataset, tags, progress)
    assert truth.descriptors is not None
    found = measure(run, dataset, truth, split)
    rows = np.random.default_rng(seed).permutation(held_out)[:n_presets]
    with posterior.renderer(workers, keep_audio=True) as renderer:
        sweeps = play(posterior, dataset, rows, renderer, folder / "trials", progress=progress)
        price = None
        if beside is not None:
            price = cost(
                posterior, beside, dataset, folder / "trials", n_presets=n_presets, draws=draws,
                seed=seed, workers=workers, progress=progress,
            )  # fmt: skip
        columns = [truth.names.index(name) for name in found.tags]
        its_tags = [truth.tags[i] for i in columns]
        frame = table(its_tags, found, sweeps)
        facts = {
            "pyrosynth": __version__, "run": run_hash(posterior), "split": split, "seed": seed,
            "axes": found.to_json(), "sweeps": sweeps.to_json(),
            "cost": price.to_json() if price else None,
        }  # fmt: skip
        drawn = {
            "scatter": axes_plots.scatter(
                found,
                coordinates(run, dataset.levels(held_out))[:, : len(columns)],
                truth.descriptors[held_out][:, columns],
                truth.labels[held_out][:, columns],
            ),
            "leakage": axes_plots.leakage(found, sweeps),
            "sweeps": axes_plots.sweeps(sweeps),
        }
        pictures = {name: png(figure) for name, figure in drawn.items()}
        write_bytes(folder / FACTS, (json.dumps(facts, indent=1) + "\n").encode())
        write_bytes(folder / TABLE, frame.to_csv(index=False).encode())
        for name, content in pictures.items():
            write_bytes(folder / f"{name}.png", content)
        axes_report(
            folder / REPORT, posterior, its_tags, found, sweeps, price, frame, pictures,
            dataset.values(rows[:HEARD]), renderer,
        )  # fmt: skip
    return AxesResult(folder, frame, found, sweeps, price, facts)


def known(dataset: Dataset, tags: str | Path | None = None, progress: bool = True) -> TagTable:
    """Return what is known of the tags of human presets, no label hidden.

    Args:
        dataset: The presets.
        tags: CSV file; a tag in it that is called like one made from the sounds gets its number.
            Without, the tags are those made from the sounds.
        progress: Whether to show a progress bar.
    """
    described = descriptor_tags(dataset, human_only=True, progress=progress)
    if tags is None:
        return described
    given = read_tags(tags, dataset)
    assert described.descriptors is not None
    found = np.full((len(given), len(given.tags)), np.nan)
    for i, name in enumerate(given.names):
        if name in described.names:
            found[:, i] = described.descriptors[:, described.names.index(name)]
    return replace(given, descriptors=found)


def table(tags: Sequence[Tag], found: Axes, sweeps: Sweeps) -> "DataFrame":
    """Return the figures of each axis, one row each; NaN where there is no number behind it."""
    import pandas as pd

    by_tag = found.to_json()["tags"]
    rows = []
    for i, tag in enumerate(tags):
        own = sweeps.own(i)
        beside = [j for j in range(len(NUMBERS)) if j != own]
        rows.append(
            {
                "tag": tag.name,
                "words": "/".join(tag.classes),
                **by_tag[tag.name],
                "monotony": sweeps.monotony[i],
                "rising": sweeps.rising[i],
                "right": sweeps.right[i],
                "own_change": np.nan if own is None else sweeps.change[i, own],
                "other_change": np.abs(sweeps.change[i, beside]).max(),
                "other_size": sweeps.size[i, beside].max(),
            }
        )
    frame = pd.DataFrame(rows)
    measured = frame.columns.drop(["tag", "words"])
    return frame.astype(dict.fromkeys(measured, float))


def _require_same(folder: Path, posterior: Posterior, force: bool) -> None:
    """Make sure that a folder does not hold the results of another run."""
    file = folder / FACTS
    if force or not file.exists():
        return
    try:
        same = json.loads(file.read_text())["run"] == run_hash(posterior)
    except (OSError, ValueError, KeyError, TypeError):
        same = False
    if not same:
        raise InputError(
            f"'{folder}' holds the results of another run; give another --out, or --force to "
            "replace them"
        )
