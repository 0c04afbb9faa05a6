"""The command that explores a run."""

from pathlib import Path
from typing import Annotated

import typer

from pyrosynth.cli.options import Device, Json, Out, Run, Seed, Workers, show


def explore(
    run: Run,
    out: Out,
    at: Annotated[
        str | None, typer.Option(metavar="PRESET", help="Known preset to look around.")
    ] = None,
    sound: Annotated[
        Path | None, typer.Option(help="Sound file to find the nearest presets of.")
    ] = None,
    morph: Annotated[
        list[str] | None,
        typer.Option(metavar="PRESET", help="Known preset to morph through; repeat it."),
    ] = None,
    axis: Annotated[
        list[str] | None,
        typer.Option(help="Axis to sweep: z1, pc1, a tag; repeatable. Else the most audible."),
    ] = None,
    macros: Annotated[int, typer.Option(min=0, help="How many of the most audible.")] = 4,
    draws: Annotated[
        int, typer.Option(min=0, help="Draws of the posterior played for the bands of a sweep.")
    ] = 8,
    map_by: Annotated[str, typer.Option("--map", help="pca, or umap if it is installed.")] = "pca",
    seed: Seed = 0,
    workers: Workers = None,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Explore a run: macros, neighbours, morphs, a map; call it again to go on."""
    from pyrosynth.explore.folder import explore as explore_run
    from pyrosynth.inference.posterior import Posterior

    facts = explore_run(
        Posterior.load(run, device),
        out,
        at=at,
        sound=sound,
        presets=morph or (),
        axes=axis or (),
        n_macros=macros,
        draws=draws,
        by=map_by,  # type: ignore[arg-type]
        seed=seed,
        workers=workers,
    )
    lines = [
        f"{name}: {row['title']}, {row['effect_db']:.1f} dB; {row['evidence']}"
        for name, row in facts["macros"].items()
    ]
    show(facts, [*lines, f"report: {out / 'report.html'}"], as_json)
