"""The commands that ask a fitted run for presets: of sounds, and to check it."""

import os
from pathlib import Path
from typing import Annotated

import typer

from pyrosynth.cli.options import (
    DataOfRun,
    Device,
    Json,
    Out,
    Run,
    Scheduler,
    Seed,
    Workers,
    complain,
    dataset_of,
    opens,
    plays,
    show,
    tell_failures,
)
from pyrosynth.errors import InputError, counted
from pyrosynth.files import require_maker, typed


def infer(
    run: Run,
    out: Out,
    sounds: Annotated[
        list[str] | None, typer.Argument(metavar="SOUND...", help="Sound files.")
    ] = None,
    example: Annotated[
        bool, typer.Option("--example", help="A sound that comes along: a string and a flute.")
    ] = False,
    budget: Annotated[int, typer.Option(min=1, help="Sounds to render in the search.")] = 256,
    draws: Annotated[int, typer.Option(min=1, help="Posterior draws to keep.")] = 64,
    own_level: Annotated[
        bool,
        typer.Option("--own-level", help="The synth has played them: level and pitch stay."),
    ] = False,
    seed: Seed = 0,
    workers: Workers = None,
    device: Device = "cpu",
    force: Annotated[bool, typer.Option("--force", help="Replace results made earlier.")] = False,
    as_json: Json = False,
) -> None:
    """Find the presets behind sounds: one folder per sound. The code in RUN is run."""
    from pyrosynth.audio.example import save_example
    from pyrosynth.audio.sound_files import SUFFIXES, no_sound

    if run.suffix.lower() in SUFFIXES and run.is_file():
        first = next((given for given in sounds or () if not os.path.isfile(given)), "amsynth")
        command = f"pyrosynth infer {typed(first)} {typed(run)}"
        raise InputError(f"'{run}' is a sound; RUN comes first: {command}")
    require_maker(out, "infer")
    asked = [*(sounds or ()), *([save_example(out)] if example else ())]
    if not asked:
        raise InputError("no sound; name a sound file, or give --example for one that comes along")
    wrong = {str(sound): no_sound(sound) for sound in asked}
    there = [sound for sound in asked if not wrong[str(sound)]]
    missing = [{"sound": sound, "error": error} for sound, error in wrong.items() if error]
    for bad in missing:  # said before anything is loaded
        complain(bad["error"])
    if not there:
        if as_json:
            show({"sounds": [], "failed": missing}, [], as_json)
        raise typer.Exit(2)
    from pyrosynth.audio.closeness import closeness
    from pyrosynth.inference.hearing_words import note_to_play
    from pyrosynth.inference.infer import infer_sounds
    from pyrosynth.inference.outcome import to_json
    from pyrosynth.inference.posterior import Posterior
    from pyrosynth.inference.report import next_steps

    posterior = Posterior.load(run, device)
    done, failed = infer_sounds(
        posterior,
        there,
        out,
        budget=budget,
        draws=draws,
        seed=seed,
        own_level=own_level,
        workers=workers,
        force=force,
    )
    lines = []
    for item in done:
        kept = "" if not item.kept else ", made earlier"
        kept += "" if item.same else " by another run or with other settings (--force: anew)"
        lines.append(
            f"{item.folder}: {closeness(item.lsd_db, item.audible)}, {item.lsd_db:.2f} dB after "
            f"{counted(item.n_renders, 'render')} ({item.source}){kept}"
        )
        lines[-1] += f"; {note_to_play(item.play)}" if item.play else ""
        if item.advice:
            lines.append(f"  {item.advice}")
    if done:
        lines += next_steps(posterior.synth, Path(done[0].folder))
        lines += plays(posterior, run)
    if done or as_json:
        facts = to_json(done, failed)
        show({**facts, "failed": [*missing, *facts["failed"]]}, lines, as_json)
    for one in failed:
        complain(one.error)
    if failed or missing:
        raise typer.Exit(2)


def check(
    run: Run,
    out: Out,
    data: DataOfRun = None,
    presets: Annotated[
        int | None, typer.Option(min=1, help="Held-out presets to check on, else all.")
    ] = None,
    draws: Annotated[int, typer.Option(min=2, help="Posterior draws of each.")] = 64,
    budget: Annotated[
        int, typer.Option(min=0, help="Sounds to render in the search for each; 0: none.")
    ] = 256,
    baselines: Annotated[
        str,
        typer.Option(help="fast, all for plain CMA-ES as well, few for those that fit nothing."),
    ] = "fast",
    seed: Seed = 0,
    workers: Workers = None,
    scheduler: Scheduler = None,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Check a run on held-out presets, beside baselines. The code in RUN is run."""
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
        scheduler=scheduler,
    )
    lines = [(out / "table.md").read_text(encoding="utf-8").rstrip(), opens(out)]
    show(found.summary, lines, as_json)
    tell_failures(found.failures)
