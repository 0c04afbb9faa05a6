"""The commands that make any synth learnable: describe it, gather its presets, learn it."""

from pathlib import Path
from typing import Annotated, Any

import typer

from pyrosynth.cli.options import (
    Device,
    Json,
    MidiNote,
    Options,
    Seed,
    Threads,
    Workers,
    aside,
    complain,
    json_file,
    local_path,
    path_option,
    settings,
    show,
)
from pyrosynth.files import atomic, typed, writable

Synth = Annotated[
    str,
    typer.Argument(
        metavar="SYNTH", help="A name, a plugin, MODULE:CLASS, or a description (synth.json)."
    ),
]
Option = Annotated[
    list[str] | None, typer.Option(metavar="KEY=VALUE", help="Of the synth; repeatable.")
]
Use = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="A control to learn, whatever is heard; repeatable."),
]
Fix = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="A control to leave at its default; repeatable."),
]
Files = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[FILE]...",
        parser=local_path,
        help="Presets, or folders of them: the synth's own files, JSON, CSV.",
    ),
]


def describe(
    synth: Synth,
    out: Annotated[Path, typer.Option("--out", parser=json_file, help="File to write.")] = Path(
        "synth.json"
    ),
    use: Use = None,
    fix: Fix = None,
    option: Option = None,
    seed: Seed = 0,
    workers: Workers = None,
    force: Annotated[bool, typer.Option("--force", help="Describe it anew.")] = False,
    as_json: Json = False,
) -> None:
    """Listen to a synth's controls: which are heard, safe, worth learning; call it to go on."""
    from pyrosynth.cli.learn_summary import controls_lines
    from pyrosynth.synths import load_synth
    from pyrosynth.synths.discovery import describe as describe_synth

    writable(out.parent)  # before minutes of work
    described = describe_synth(
        load_synth(synth, **settings(option)), out, use=use or (), fix=fix or (), seed=seed,
        workers=workers, force=force,
    )  # fmt: skip
    lines = []
    for c in described.controls:
        p = c.param
        kind = p.kind if p.kind == "continuous" else f"{p.kind} {p.resolution}"
        span = f"{p.minimum:g} to {p.maximum:g} {p.unit}".strip()
        lines.append(f"{p.name:28}{c.use:7}{kind:16}{span:22}{c.why}")
    lines += controls_lines(described)
    lines.append(f"{out}: edit it, or learn it: pyrosynth learn {typed(out)}")
    show(described.to_json(), lines, as_json)


def presets(
    synth: Synth,
    files: Files = None,
    out: Annotated[Path, typer.Option("--out", parser=json_file, help="File to write.")] = Path(
        "presets.json"
    ),
    option: Option = None,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Gather the presets of a synth and of files into one, equal ones once, silent ones marked."""
    from pyrosynth.data.gathering import gather
    from pyrosynth.errors import InputError, counted
    from pyrosynth.synths import load_synth

    loaded = load_synth(synth, **settings(option))
    with atomic(out, replace=False) as place:  # what is there may be somebody's work
        found = gather(loaded, files or (), strict=False, workers=workers)
        left_out = [
            f"left out: {reason}" if file in reason else f"left out {file}: {reason}"
            for file, reason in found.skipped.items()
        ]
        left_out += [f"left out: {reason}" for reason in found.failed]
        if not found.presets:
            if len(left_out) == len(found.failed) == 1:
                raise InputError(found.failed[0])
            for line in left_out:
                complain(line)
            where = "among these files" if files else "of its own that can be used"
            raise InputError(f"'{loaded.name}' has no presets {where}; name files of presets")
        found.save(place, loaded.name)
    n, n_silent = len(found.presets), int(found.silent.sum())
    facts: dict[str, Any] = {
        "presets": n, "silent": n_silent, "sources": found.sources, "skipped": found.skipped,
        "failed": found.failed, "crashed": found.crashed,
    }  # fmt: skip
    lines = [f"  {count} {source}" for source, count in found.sources.items()]
    lines += [f"{out}: {counted(n, 'distinct preset')}, {n_silent} of them without a sound"]
    if found.crashed:
        lines.append(f"  {found.crashes()}")
    show(facts, lines, as_json)
    for line in left_out:
        complain(line)
    if found.failed:
        raise typer.Exit(2)


def learn(
    synth: Synth,
    files: Files = None,
    out: Annotated[Path, path_option("--out", help="Folder of the run.")] = Path("run"),
    minutes: Annotated[
        float, typer.Option(min=0.001, help="About how long it may take on this machine.")
    ] = 15.0,
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="The model to fit, as `fit` takes it.")
    ] = None,
    use: Use = None,
    fix: Fix = None,
    note: MidiNote = 60,
    hold: Annotated[float, typer.Option(help="Seconds from note-on to note-off.")] = 3.0,
    duration: Annotated[float, typer.Option(help="Seconds in all.")] = 4.0,
    option: Option = None,
    set_: Options = None,
    seed: Seed = 0,
    device: Device = "cpu",
    threads: Threads = None,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Learn any synth in one command; call it again to go on. Its own code is run."""
    from pyrosynth.audio.note import Note
    from pyrosynth.cli.learn import MODEL
    from pyrosynth.cli.learn import learn as learn_synth
    from pyrosynth.synths import load_synth

    found = learn_synth(
        load_synth(synth, **settings(option)),
        out,
        files or (),
        minutes=minutes,
        model=model or MODEL,
        options=settings(set_),
        use=use or (),
        fix=fix or (),
        note=Note(note, hold_seconds=hold, duration_seconds=duration),
        seed=seed,
        device=device,
        threads=threads,
        workers=workers,
        say=aside(as_json),
    )
    if as_json:
        show(found, [], as_json)
