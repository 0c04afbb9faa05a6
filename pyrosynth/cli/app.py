"""The command line: each command reads its options, calls one function, prints what came of it.

Results go to standard output (with ``--json`` one JSON document and nothing else), progress and
errors to standard error. Exit codes: 0 done, 2 for a mistake one can put right (one line says
how), 130 after Ctrl-C; whatever else fails is a bug and shows where.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from pyrosynth._version import __version__
from pyrosynth.cli import explore as cli_explore
from pyrosynth.cli import live as cli_live
from pyrosynth.cli import models as cli_models
from pyrosynth.cli import tags as cli_tags
from pyrosynth.cli.options import (
    Device,
    Json,
    Out,
    Run,
    Seed,
    Workers,
    complain,
    dataset_of,
    settings,
    show,
)
from pyrosynth.errors import InputError, PyrosynthError

INTERRUPTED = 130  # exit code after Ctrl-C, as shells have it

# Everything heavy is imported inside the commands, so that --help answers at once.
app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(asked: bool) -> None:
    if asked:
        print(f"pyrosynth {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Learn a synthesizer from its presets, then find the preset behind a sound."""


@app.command()
def synths(as_json: Json = False) -> None:
    """List the synths that are here."""
    from pyrosynth import synths as found

    keys = ("name", "available", "note")
    rows = [dict(zip(keys, row, strict=True)) for row in found.status()]
    lines = [f"{r['name']:10}{'yes' if r['available'] else 'no':5}{r['note']}" for r in rows]
    lines.append("any DSSI plugin works too: pyrosynth scan PATH")
    show({"synths": rows}, lines, as_json)


@app.command()
def install(
    synth: Annotated[str, typer.Argument(metavar="SYNTH", help="Only amsynth so far.")],
    force: Annotated[bool, typer.Option("--force", help="Fetch it anew.")] = False,
) -> None:
    """Fetch a synth with the system's package tool, without root."""
    from pyrosynth.errors import unknown
    from pyrosynth.synths import amsynth

    if synth != "amsynth":
        raise unknown("synth to install", synth, ("amsynth",))
    found = None if force else amsynth.find()
    if found:
        print(f"amsynth is here already: {found}")
    else:
        print(f"installed {amsynth.install()}")


@app.command()
def scan(
    path: Annotated[str, typer.Argument(metavar="PATH", help="A DSSI plugin library (.so).")],
    as_json: Json = False,
) -> None:
    """Describe the synths in a plugin, from a process that it may crash."""
    from dataclasses import asdict

    from pyrosynth.synths import scan as look

    found = look(path)
    lines = []
    for synth in found:
        lines.append(f"{synth['path']}: {synth['name']} by {synth['maker']}")
        lines += [
            f"  {p.name:28}{p.kind:12}{p.minimum:g} to {p.maximum:g}, default {p.default:g}"
            for p in synth["params"]
        ]
    listed = [{**synth, "params": [asdict(p) for p in synth["params"]]} for synth in found]
    show({"synths": listed}, lines, as_json)


@app.command()
def render(
    synth: Annotated[str, typer.Argument(metavar="SYNTH", help="A name, or a DSSI plugin.")],
    out: Out,
    params: Annotated[
        str, typer.Option(help="Learnt parameters: all, 32, 16, or names with commas.")
    ] = "all",
    derived: Annotated[
        int, typer.Option(min=0, help="Presets derived from the human training presets.")
    ] = 20_000,
    note: Annotated[int, typer.Option(help="MIDI note; 60 is C4.")] = 60,
    velocity: Annotated[int, typer.Option(help="MIDI velocity.")] = 100,
    hold: Annotated[float, typer.Option(help="Seconds from note-on to note-off.")] = 3.0,
    duration: Annotated[float, typer.Option(help="Seconds in all.")] = 4.0,
    audio: Annotated[str, typer.Option(help="Whose sound is kept: none, human, all.")] = "human",
    prior: Annotated[
        str, typer.Option(help="How presets are derived: broadened, uniform.")
    ] = "broadened",
    feature: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Of the features, such as n_mels=128; repeatable."),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Of the synth; repeatable."),
    ] = None,
    seed: Seed = 0,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Render a synth's presets to a dataset; call it again to go on, or to extend it."""
    from pyrosynth.audio.features import FeatureSpec
    from pyrosynth.audio.note import Note
    from pyrosynth.data.dataset import render_dataset
    from pyrosynth.synths import load

    try:
        features = FeatureSpec(**settings(feature))
    except TypeError as error:
        raise InputError(f"--feature: {error}; known: {', '.join(vars(FeatureSpec()))}") from error
    data = render_dataset(
        load(synth, **settings(option)),
        out,
        params=params,
        derived=derived,
        note=Note(note, velocity, hold, duration),
        features=features,
        audio=audio,  # type: ignore[arg-type]
        prior=prior,  # type: ignore[arg-type]
        seed=seed,
        workers=workers,
    )
    human = {part: len(data.rows(part, human_only=True)) for part in ("train", "valid", "test")}
    usable = len(data.rows("all"))
    facts = {"dataset": str(out), "presets": len(data), "usable": usable, "human": human}
    counts = ", ".join(f"{n} {part}" for part, n in human.items())
    line = f"{out}: {usable} of {len(data)} sounds usable; human presets: {counts}"
    show(facts, [line], as_json)


COMMANDS = (
    cli_tags.tags, cli_models.fit, cli_models.compare, cli_models.models, cli_models.pack,
    cli_tags.axes, cli_explore.explore, cli_live.serve,
)  # fmt: skip
for command in COMMANDS:
    app.command()(command)


@app.command()
def infer(
    run: Run,
    sounds: Annotated[list[Path], typer.Argument(metavar="SOUND...", help="Sound files.")],
    out: Out,
    budget: Annotated[int, typer.Option(min=1, help="Sounds to render in the search.")] = 256,
    draws: Annotated[int, typer.Option(min=1, help="Posterior draws to keep.")] = 64,
    sketch: Annotated[
        bool,
        typer.Option("--sketch", help="They are sung, hummed or played, at any pitch and length."),
    ] = False,
    seed: Seed = 0,
    workers: Workers = None,
    device: Device = "cpu",
    force: Annotated[bool, typer.Option("--force", help="Replace results made earlier.")] = False,
    as_json: Json = False,
) -> None:
    """Find the presets behind sounds: one folder per sound. The code in RUN is run."""
    from pyrosynth.inference.infer import infer_sounds, to_json
    from pyrosynth.inference.posterior import Posterior

    done, failed = infer_sounds(
        Posterior.load(run, device),
        sounds,
        out,
        budget=budget,
        draws=draws,
        seed=seed,
        sketch=sketch,
        workers=workers,
        force=force,
    )
    lines = []
    for item in done:
        kept = "" if not item.kept else ", made earlier"
        kept += "" if item.same else " with other settings (--force makes it anew)"
        lines.append(
            f"{item.folder}: {item.lsd_db:.2f} dB after {item.n_renders} renders "
            f"({item.source}){kept}"
        )
        if item.play:
            hold = item.play["note"]["hold_seconds"]
            lines[-1] += f"; play {item.play['name']}, {hold:.1f} s"
    if done or as_json:
        show(to_json(done, failed), lines, as_json)
    for bad in failed:
        complain(bad.error)
    if failed:
        raise typer.Exit(2)


@app.command()
def check(
    run: Run,
    out: Out,
    data: Annotated[
        Path | None, typer.Option(help="Its dataset, if it is no longer where it was.")
    ] = None,
    presets: Annotated[
        int | None, typer.Option(min=1, help="Held-out presets to check on, else all.")
    ] = None,
    draws: Annotated[int, typer.Option(min=2, help="Posterior draws of each.")] = 64,
    budget: Annotated[
        int, typer.Option(min=0, help="Sounds to render in the search for each; 0: none.")
    ] = 256,
    baselines: Annotated[
        str, typer.Option(help="fast, or all for plain CMA-ES as well.")
    ] = "fast",
    seed: Seed = 0,
    workers: Workers = None,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Check a run on held-out presets, against baselines; call it again to go on."""
    from pyrosynth.evaluation.check import check as check_run
    from pyrosynth.inference.posterior import Posterior

    posterior = Posterior.load(run, device)
    found = check_run(
        posterior,
        dataset_of(posterior.run, data),
        out,
        n_presets=presets,
        draws=draws,
        budget=budget,
        baselines=baselines,  # type: ignore[arg-type]
        seed=seed,
        workers=workers,
    )
    lines = [(out / "table.md").read_text().rstrip(), f"report: {out / 'report.html'}"]
    show(found.summary, lines, as_json)


@app.command()
def demo(
    out: Out = Path("demo"),
    synth: Annotated[str, typer.Option(help="amsynth, or voice.")] = "amsynth",
    smoke: Annotated[
        bool, typer.Option("--smoke", help="As little as possible, to see that it runs.")
    ] = False,
    seed: Seed = 0,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Run the main job from end to end; call it again to go on."""
    from pyrosynth.cli.demo import SMOKE
    from pyrosynth.cli.demo import demo as run_demo

    def say(line: str) -> None:
        print(line, file=sys.stderr if as_json else sys.stdout, flush=True)

    facts = run_demo(
        out, synth, sizes=SMOKE if smoke else None, seed=seed, workers=workers, say=say
    )
    if as_json:
        show(facts, [], as_json)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line.

    Args:
        arguments: What follows the program's name; that of the process if left out.

    Returns:
        The exit code.
    """
    # typer's own class, whichever library it takes it from
    usage_error: Any = typer.BadParameter.__mro__[1]
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = app(given or ["--help"], prog_name="pyrosynth", standalone_mode=False)
        if code == INTERRUPTED:  # typer's way to say so, in some versions
            raise KeyboardInterrupt
        return code if isinstance(code, int) else 0
    except PyrosynthError as error:
        complain(str(error))
        return 2
    except usage_error as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "pyrosynth"
        complain(f"{error.format_message()} (see {command} --help)")
        return 2
    except OSError as error:
        where = f" '{error.filename}'" if error.filename else ""
        complain(f"cannot read or write{where} ({error.strerror or error}); see to it, try again")
        return 2
    except (KeyboardInterrupt, typer.Abort):
        complain("interrupted; run the same command again to go on")
        return INTERRUPTED
