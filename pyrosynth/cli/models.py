"""The commands about models: list them, fit one, compare several, give a run away."""

from pathlib import Path
from typing import Annotated, Any

import typer

from pyrosynth.cli.options import (
    Data,
    Device,
    Json,
    Options,
    Out,
    Precision,
    Run,
    Scheduler,
    Seed,
    Tags,
    Threads,
    Workers,
    listed,
    opens,
    path_option,
    say,
    settings,
    show,
    tell_failures,
)
from pyrosynth.errors import InputError
from pyrosynth.files import typed


def models(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Print its source.")] = None,
    as_json: Json = False,
) -> None:
    """List the models, or print the source of one to start your own from."""
    from pyrosynth.training import zoo

    if name is not None:
        source = zoo.source(name)
        show({"name": name, "source": source}, [source.rstrip("\n")], as_json)
        return
    rows = [
        {"name": name, "about": zoo.describe(name), "paper": zoo.paper(name)}
        for name in zoo.list_models()
    ]
    lines = [f"{r['name']:15}{r['about']}\n{'':15}{r['paper']}".rstrip() for r in rows]
    show({"models": rows}, lines, as_json)


def fit(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A name, or a .py file.")],
    data: Data,
    out: Out,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Optimisation steps, 4000 if not said.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Presets per step, 256 if not said.")
    ] = None,
    lr: Annotated[
        float | None, typer.Option(help="Highest learning rate, 0.001 if not said.")
    ] = None,
    patience: Annotated[
        int | None, typer.Option(min=1, help="Stop after so many validations without gain.")
    ] = None,
    precision: Precision = None,
    tags: Tags = None,
    set_: Options = None,
    start: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="Begin with the weights of this run, to learn more."),
    ] = None,
    seed: Seed = 0,
    device: Device = "cpu",
    threads: Threads = None,
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="What sounds may take, such as 2GB; more of them are read during the fit.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Discard an earlier fit.")] = False,
    as_json: Json = False,
) -> None:
    """Fit a model to a dataset; call it again to go on. The code of a .py MODEL is run."""
    from pyrosynth.data.dataset import open_dataset
    from pyrosynth.training import zoo
    from pyrosynth.training.distributed import leads
    from pyrosynth.training.fit import fit as fit_model

    if data.name in zoo.list_models() and not data.exists():
        command = f"pyrosynth fit {data.name} {typed(model)}"
        raise InputError(f"'{data.name}' is a model; MODEL comes first: {command}")

    training: dict[str, Any] = {
        "steps": steps, "batch_size": batch_size, "lr": lr, "patience": patience,
        "precision": precision,
    }  # fmt: skip
    run = fit_model(
        model,
        open_dataset(data),
        out,
        tags=tags,
        options=settings(set_),
        start=start,
        seed=seed,
        device=device,
        threads=threads,
        memory=memory,
        force=force,
        **{name: value for name, value in training.items() if value is not None},
    )
    if not leads():
        return
    last = run.training.rows[-1] if run.training.rows else {}
    facts = {"run": str(out), "best_step": run.training.best_step, "last": last}
    lines = [f"{out} is fitted: {run.training.summary()}"]
    lines.append(f"Find the preset of a sound: pyrosynth infer {typed(out)} --example --out found")
    lines.append(f"See how good it is: pyrosynth check {typed(out)} --out check")
    show(facts, lines, as_json)


def compare(
    data: Data,
    out: Out,
    models: Annotated[
        str, typer.Option(help="Names with commas, paths of .py files among them, or all.")
    ] = "all",
    methods: Annotated[
        str,
        typer.Option(
            help="Baselines and searches: all, none, or names with commas, such as "
            "retrieval,cma-200."
        ),
    ] = "all",
    seeds: Annotated[int, typer.Option(min=1, help="Fits of each model.")] = 3,
    presets: Annotated[
        int, typer.Option(min=0, help="Held-out presets, and sounds of --outside; 0: all.")
    ] = 100,
    draws: Annotated[int, typer.Option(min=16, help="Posterior draws of each.")] = 64,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Steps of every fit, 4000 if not said.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Presets per step, 256 if not said.")
    ] = None,
    lr: Annotated[
        float | None, typer.Option(help="Highest learning rate, 0.001 if not said.")
    ] = None,
    precision: Precision = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="[MODEL.]KEY=VALUE",
            help="Hyper-parameter, as JSON, of one model or of all that take it; repeatable.",
        ),
    ] = None,
    outside: Annotated[
        Path | None, path_option(help="Folder of sound files that no preset of the synth made.")
    ] = None,
    tags: Tags = None,
    workers: Workers = None,
    scheduler: Scheduler = None,
    threads: Threads = None,
    device: Device = "cpu",
    force: Annotated[bool, typer.Option("--force", help="Discard earlier fits.")] = False,
    as_json: Json = False,
) -> None:
    """Compare models, baselines and searches on one split. The code of .py files is run."""
    from pyrosynth.data.dataset import open_dataset
    from pyrosynth.evaluation.compare import command
    from pyrosynth.evaluation.compare import compare as compare_models

    training: dict[str, Any] = {
        "steps": steps, "batch_size": batch_size, "lr": lr, "precision": precision,
    }  # fmt: skip
    found = compare_models(
        open_dataset(data),
        out,
        models=listed(models),
        methods=listed(methods),
        seeds=seeds,
        n_presets=presets or None,
        draws=draws,
        outside_sounds=outside,
        options=settings(set_),
        tags=tags,
        workers=workers,
        scheduler=scheduler,
        threads=threads,
        device=device,
        force=force,
        made_by=command(),
        **{name: value for name, value in training.items() if value is not None},
    )
    lines = [
        (out / "table.md").read_text(encoding="utf-8").rstrip(),
        opens(out),
    ]
    show(found.summary, lines, as_json)
    tell_failures(f"{what}: {reason}" for what, reason in found.failures.items())


def export(
    run: Run,
    out: Out,
    presets: Annotated[int, typer.Option(min=1, help="Presets kept in its bank.")] = 8000,
    recipe: Annotated[
        list[str] | None,
        typer.Option(metavar="COMMAND", help="A command that made the run; repeatable."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a run in OUT.")] = False,
) -> None:
    """Make a run small enough to give away: 16-bit weights, fewer presets. Its code is run."""
    from pyrosynth.training.export import export_run

    folder = export_run(run, out, presets=presets, recipe=recipe or (), force=force)
    size = sum(file.stat().st_size for file in folder.iterdir())
    say(f"{folder}: {size / 1e6:.1f} MB")
