"""The commands that write tags, and that say what became of them."""

from pathlib import Path
from typing import Annotated

import typer

from pyrosynth.cli.options import Device, Json, Out, Run, Seed, Workers, dataset_of, show
from pyrosynth.errors import InputError, unknown


def tags(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Folder that `render` wrote.")],
    out: Annotated[Path, typer.Option("--out", help="CSV file to write.")] = Path("tags.csv"),
    source: Annotated[
        str, typer.Option("--from", help="descriptors of the sounds, or names of the presets.")
    ] = "descriptors",
    hidden: Annotated[float, typer.Option(help="Share of labels to leave out, at random.")] = 0.0,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier file.")] = False,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Write tags of the human presets to a CSV file, to be edited and given to `fit`."""
    from pyrosynth.data.dataset import open_dataset
    from pyrosynth.data.labeling import SOURCES
    from pyrosynth.data.tags_csv import write_tags

    if source not in SOURCES:
        raise unknown("source of tags", source, SOURCES)
    if out.exists() and not force:
        raise InputError(f"'{out}' is there already; give another --out, or --force to replace it")
    dataset = open_dataset(data)
    table = SOURCES[source](dataset).hide(hidden, seed)
    n = write_tags(out, table, dataset)
    labels = table.labels[dataset.rows("all", human_only=True)]
    counts = {
        tag.name: {word: int((labels[:, i] == k).sum()) for k, word in enumerate(tag.words)}
        for i, tag in enumerate(table.tags)
    }
    lines = [
        f"  {name}: {', '.join(f'{count} {word}' for word, count in words.items())}"
        for name, words in counts.items()
    ]
    facts = {"tags": str(out), "presets": n, "labels": counts}
    show(facts, [f"{out}: {n} presets", *lines], as_json)


def axes(
    run: Run,
    out: Out,
    data: Annotated[
        Path | None, typer.Option(help="Its dataset, if it is no longer where it was.")
    ] = None,
    tags: Annotated[
        Path | None,
        typer.Option(help="CSV file with the tags of held-out presets; else from the sounds."),
    ] = None,
    beside: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="A run fitted alike without tags: what do they cost?"),
    ] = None,
    presets: Annotated[
        int, typer.Option(min=2, help="Held-out presets to play along the axes.")
    ] = 32,
    draws: Annotated[
        int, typer.Option(min=1, help="With --beside: draws of which the nearest counts.")
    ] = 16,
    seed: Seed = 0,
    workers: Workers = None,
    device: Device = "cpu",
    force: Annotated[
        bool, typer.Option("--force", help="Replace the results of another run.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Say how good the axes of tags of a run are; call it again to go on."""
    from pyrosynth.evaluation.axes import require_axes
    from pyrosynth.evaluation.axes_folder import report_axes
    from pyrosynth.evaluation.axes_report import markdown
    from pyrosynth.inference.posterior import Posterior

    posterior = Posterior.load(run, device)
    require_axes(posterior.run)  # before anybody is sent to render a dataset
    found = report_axes(
        posterior,
        dataset_of(posterior.run, data),
        out,
        tags=tags,
        beside=Posterior.load(beside, device) if beside else None,
        n_presets=presets,
        draws=draws,
        seed=seed,
        workers=workers,
        force=force,
    )
    low, high = found.facts["axes"]["spread"]
    lines = [
        markdown(found.table).rstrip(),
        f"mutual information gap {found.axes.mig:.2f}, spread of the rest {low:.2f} to {high:.2f}",
    ]
    if found.cost:
        share = found.cost.share
        lines.append(
            f"distance beside {found.cost.model}: {100 * share.estimate:+.1f} % "
            f"[{100 * share.low:+.1f} to {100 * share.high:+.1f}]"
        )
    show(found.facts, [*lines, f"report: {out / 'report.html'}"], as_json)
