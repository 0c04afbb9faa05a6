"""The commands that show what a fitted run has learnt: axes, names, maps, live playing."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from pyrosynth.cli.options import (
    DataOfRun,
    Device,
    Json,
    Out,
    Run,
    Seed,
    Workers,
    aside,
    dataset_of,
    opens,
    path_option,
    say,
    show,
    tell_failures,
)
from pyrosynth.errors import InputError, counted
from pyrosynth.files import claim, only_writer, require_ours, writable


def axes(
    run: Run,
    out: Out,
    data: DataOfRun = None,
    tags: Annotated[
        Path | None,
        path_option(help="CSV file with the tags of held-out presets; else from the sounds."),
    ] = None,
    beside: Annotated[
        Path | None,
        path_option(metavar="RUN", help="A run fitted alike without tags: what do they cost?"),
    ] = None,
    presets: Annotated[
        int, typer.Option(min=2, help="Held-out presets to render along the axes.")
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
    """Measure how well the tag axes of a run follow their tags. The code in RUN is run."""
    from pyrosynth.evaluation.disentanglement import require_axes
    from pyrosynth.evaluation.tables import axes_table, markdown
    from pyrosynth.evaluation.tag_axes import report_axes
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
        markdown(*axes_table(found.table)).rstrip(),
        f"mutual information gap {found.measures.mig:.2f}, spread of the rest {low:.2f} to "
        f"{high:.2f}",
    ]
    if found.cost:
        share, low, high = (100 * number for number in found.cost["share"])
        beside_it = f"distance beside {found.cost['beside']}"
        lines.append(f"{beside_it}: {share:+.1f} % [{low:+.1f} to {high:+.1f}]")
    show(found.facts, [*lines, opens(out)], as_json)
    tell_failures(found.failures)


def name(
    run: Run,
    data: DataOfRun = None,
    seed: Seed = 0,
    workers: Workers = None,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Name axes by what they do to rendered sounds, and keep them with RUN. Its code is run."""
    from pyrosynth.explore.naming import failures, keep, name_axes, told
    from pyrosynth.inference.posterior import Posterior
    from pyrosynth.training.run import run_folder

    posterior = Posterior.load(run, device)
    with only_writer(writable(run_folder(run))), posterior.renderer(workers) as renderer:
        found = name_axes(posterior, dataset_of(posterior.run, data), renderer, seed=seed)
        kept = keep(posterior, run, found)
    show(
        {"axes": [one.facts() for one in found], "kept": [axis.name for axis in kept]},
        [
            *told(found),
            f"{len(kept)} {'axis has' if len(kept) == 1 else 'axes have'} a name in '{run}'",
        ],
        as_json,
    )
    tell_failures(failures(found))


def explore(
    run: Run,
    out: Out,
    at: Annotated[
        str | None, typer.Option(metavar="PRESET", help="Known preset to look around.")
    ] = None,
    sound: Annotated[
        Path | None, path_option(help="Sound file to find the nearest presets of.")
    ] = None,
    morph: Annotated[
        list[str] | None,
        typer.Option(metavar="PRESET", help="Known preset to morph through; repeat it."),
    ] = None,
    axis: Annotated[
        list[str] | None,
        typer.Option(help="Axis to sweep: z1, pc1, a tag; repeatable. Else the most audible."),
    ] = None,
    axes: Annotated[int, typer.Option(min=0, help="How many of the most audible.")] = 4,
    draws: Annotated[
        int, typer.Option(min=0, help="Draws of the posterior rendered for the bands of a sweep.")
    ] = 8,
    projection: Annotated[
        str, typer.Option(help="Plane to show the presets on: pca, or umap if it is installed.")
    ] = "pca",
    interpolation: Annotated[
        str,
        typer.Option(
            help="How a morph is made: rendered, the smoothest; sound, quicker; latent, knobs."
        ),
    ] = "rendered",
    seed: Seed = 0,
    workers: Workers = None,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Explore a run: axes, nearby presets, morphs, new presets. The code in RUN is run."""
    from pyrosynth.explore.folder import explore as explore_run
    from pyrosynth.explore.folder import told
    from pyrosynth.inference.posterior import Posterior

    facts = explore_run(
        Posterior.load(run, device),
        out,
        at=at,
        sound=sound,
        presets=morph or (),
        axes=axis or (),
        n_axes=axes,
        draws=draws,
        method=projection,  # type: ignore[arg-type]
        interpolation=interpolation,  # type: ignore[arg-type]
        seed=seed,
        workers=workers,
    )
    show(facts, [*told(facts), opens(out)], as_json)
    tell_failures(f"{part} is left out: {why}" for part, why in facts["failed"].items())


def serve(
    run: Run,
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than this let other machines in.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="TCP port of the explorer; 0: any.")
    ] = 8765,
    osc_port: Annotated[
        int, typer.Option(min=0, max=65535, help="UDP port of OSC messages; 0: any.")
    ] = 8766,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Host name, also of a proxy, to be opened under; repeatable."
        ),
    ] = None,
    sounds: Annotated[
        list[Path] | None,
        path_option(metavar="DIR", help="Folder whose sounds may be read by OSC; repeatable."),
    ] = None,
    out: Annotated[
        Path | None,
        path_option("--out", metavar="DIR", help="Folder that files may be written into by OSC."),
    ] = None,
    play: Annotated[
        bool, typer.Option("--play", help="Let notes asked for by OSC sound on this machine.")
    ] = False,
    midi_map: Annotated[
        Path | None,
        path_option(
            "--midi-map",
            metavar="FILE",
            help="Map of MIDI controllers, .toml or the synth's own; written if it is not there.",
        ),
    ] = None,
    midi_out: Annotated[
        str | None,
        typer.Option(
            "--midi-out", metavar="PORT", help="MIDI port to send presets to; made if not there."
        ),
    ] = None,
    midi_in: Annotated[
        str | None,
        typer.Option(
            "--midi-in", metavar="PORT", help="MIDI port of faders and keys; made if not there."
        ),
    ] = None,
    static: Annotated[
        Path | None,
        path_option("--static", metavar="DIR", help="Write a page that needs no server; end."),
    ] = None,
    presets: Annotated[int | None, typer.Option(min=1, help="Presets on it, else 200.")] = None,
    open_: Annotated[
        bool, typer.Option("--open", help="Open the explorer in the browser, where there is one.")
    ] = False,
    device: Device = "cpu",
) -> None:
    """Play a run live: a web explorer, and OSC for a DAW. The code in RUN is run."""
    try:
        from pyrosynth.live import server
    except ModuleNotFoundError as error:
        raise InputError(
            f"serving needs '{error.name}'; install it: pip install 'pyrosynth[serve]'"
        ) from error
    from pyrosynth.inference.posterior import Posterior
    from pyrosynth.live.engine import Live
    from pyrosynth.live.midi import MidiPorts

    if static is not None:
        for option, given in ("--play", play), ("--midi-out", midi_out), ("--midi-in", midi_in):
            if given:
                raise InputError(
                    f"{option} is of a server, and --static writes a page that needs none; give "
                    "one of them"
                )
        require_ours(static)  # before minutes of work
        writable(static.resolve().parent)
    elif presets is not None:
        raise InputError("--presets is of the page that --static writes; give that option, too")
    name = run.resolve().name
    place = nullcontext() if out is None else claim(out.resolve(), "serve")
    with (
        place as folder,
        MidiPorts(midi_out, midi_in) as midi,
        Live(Posterior.load(run, device), sounds or (), play=play, midi_map=midi_map) as live,
    ):
        if static is not None:
            from pyrosynth.live.static_site import write_site

            facts = write_site(live, name, static, presets=presets or 200)
            say(
                f"{static}: {counted(facts['presets'], 'preset')}, {facts['moved']} of them with "
                f"sliders, {counted(facts['sounds'], 'sound')}"
            )
            say(f"Look and listen: open {static / 'index.html'}")
            tell_failures(f"left out '{name}': {why}" for name, why in facts["failed"].items())
            return
        options = {"host": host, "port": port, "osc_port": osc_port, "allow": allow or ()}
        options |= {"browse": open_, "midi": midi, "say": aside(True)}
        server.run(live, name, out=str(folder) if folder else None, **options)
