"""The commands about synths and their sounds: what is here, and datasets of rendered presets."""

import os
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pyrosynth.cli.options import (
    Data,
    DataOut,
    Json,
    MidiNote,
    Scheduler,
    Seed,
    Workers,
    csv_file,
    say,
    settings,
    show,
    tell_failures,
)
from pyrosynth.errors import SynthError, counted, unknown
from pyrosynth.files import atomic, typed

if TYPE_CHECKING:
    from pyrosynth.synths.scanning import Instrument


def synths(as_json: Json = False) -> None:
    """List the synths and say which are installed."""
    from pyrosynth.synths import status

    keys = ("name", "available", "note")
    rows = [dict(zip(keys, row, strict=True)) for row in status()]
    lines = [f"{r['name']:10}{'yes' if r['available'] else 'no':5}{r['note']}" for r in rows]
    lines.append("plugins work too: 'pyrosynth scan' lists the instruments on this machine")
    show({"synths": rows}, lines, as_json)


def install(
    synth: Annotated[str, typer.Argument(metavar="SYNTH", help="Only amsynth so far.")],
    force: Annotated[bool, typer.Option("--force", help="Install it again.")] = False,
) -> None:
    """Install a synth from the system's packages, without root."""
    from pyrosynth.synths import amsynth, status

    if synth != "amsynth":
        for name, available, note in status():
            if name == synth and not available:
                raise SynthError(f"only amsynth is fetched by this command; {name}: {note}")
            if name == synth:
                say(f"{name} is there already: {note}")
                return
        if os.path.exists(synth):
            say(f"'{synth}' is there already; whether it can be used: pyrosynth scan '{synth}'")
            return
        known = [name for name, *_ in status()]
        raise unknown("synth", synth, (*known, "and the plugins here, by 'pyrosynth scan'"))
    plugin = None if force else amsynth.find()
    if plugin:
        say(f"amsynth is installed already: {plugin}")
    else:
        say(f"installed {amsynth.install()}")


def scan(
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PATH]...",
            help="Plugins (.lv2, .clap, .vst3, .so), or folders of them; else the standard ones.",
        ),
    ] = None,
    seconds: Annotated[float, typer.Option(help="Time for a plugin to answer.")] = 20.0,
    as_json: Json = False,
) -> None:
    """List the instruments in plugins, with their controls, or say why one cannot be used."""
    from tqdm.auto import tqdm

    import pyrosynth.synths as library

    found, scanned = [], library.scan(paths or (), seconds)
    for instrument in tqdm(scanned, desc="instruments", unit="", disable=None):
        found.append(instrument)
        if not (as_json or (paths and instrument.reason)):
            with tqdm.external_write_mode():
                say(instrument.line())  # at once: who interrupts the rest has what was found
    lines = []
    if paths and len(found) == 1:
        lines = [
            f"  {p.name:28}{p.kind:12}{p.minimum:g} to {p.maximum:g}, default {p.default:g}"
            f"{f' {p.unit}' if p.unit else ''}{f' ({p.group})' if p.group else ''}"
            for p in found[0].params
        ]
    if not found:
        lines = ["no instrument there; 'pyrosynth synths' lists those that need no plugin"]
    if lines or as_json:
        show({"synths": [instrument.to_json() for instrument in found]}, lines, as_json)
    tell_failures(_reason(one) for one in found if paths and one.reason)


def _reason(instrument: "Instrument") -> str:
    """Say why an instrument cannot be used, and which it is."""
    file, _, name = instrument.path.partition("#")
    named = file in instrument.reason and name in instrument.reason
    return instrument.reason if named else f"'{instrument.path}': {instrument.reason}"


def render(
    synth: Annotated[
        str, typer.Argument(metavar="SYNTH", help="A name, a plugin, or a description.")
    ],
    out: DataOut,
    params: Annotated[
        str | None,
        typer.Option(help="Learnt parameters: all, 32, 16, learn, or names with commas."),
    ] = None,
    augmented: Annotated[
        int, typer.Option(min=0, help="Presets made from the human training presets, beside them.")
    ] = 20_000,
    note: MidiNote = 60,
    velocity: Annotated[int, typer.Option(help="MIDI velocity.")] = 100,
    hold: Annotated[float, typer.Option(help="Seconds from note-on to note-off.")] = 3.0,
    duration: Annotated[float, typer.Option(help="Seconds in all.")] = 4.0,
    audio: Annotated[str, typer.Option(help="Whose sound is kept: none, human, all.")] = "human",
    prior: Annotated[
        str | None,
        typer.Option(help="How augmented presets are made: broadened, mixture, uniform."),
    ] = None,
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
    scheduler: Scheduler = None,
    as_json: Json = False,
) -> None:
    """Render a synth's presets to a dataset; call it again to go on, or to extend it."""
    from pyrosynth.audio.features import FeatureSpec
    from pyrosynth.audio.note import Note
    from pyrosynth.data.dataset import render_dataset
    from pyrosynth.data.repeats import repeats_line
    from pyrosynth.synths import load_synth

    asked = settings(feature)
    for key in asked:
        if key not in vars(FeatureSpec()):
            raise unknown("setting of the features", key, vars(FeatureSpec()))
    data = render_dataset(
        load_synth(synth, **settings(option)),
        out,
        params=params,
        augmented=augmented,
        note=Note(note, velocity, hold, duration),
        features=FeatureSpec(**asked),
        audio=audio,  # type: ignore[arg-type]
        prior=prior,  # type: ignore[arg-type]
        seed=seed,
        workers=workers,
        scheduler=scheduler,
    )
    human = {part: len(data.rows(part, human_only=True)) for part in ("train", "valid", "test")}
    usable = len(data.rows("all"))
    lost = Counter(data.status[data.status != "ok"].tolist())
    facts = {
        "dataset": str(out), "presets": len(data), "usable": usable, "human": human,
        "lost": dict(lost),
    }  # fmt: skip
    counts = ", ".join(f"{n} {part}" for part, n in human.items())
    lines = [f"{out}: {usable} of {counted(len(data), 'sound')} usable; human presets: {counts}"]
    if lost:
        kinds = ", ".join(f"{n} {kind}" for kind, n in lost.most_common())
        lines.append(f"  without a sound: {kinds}")
    facts["repeats_db"] = data.repeats_db
    lines += repeats_line(data.repeats_db)
    if data.leaks:
        facts["leaks"] = data.leaks
        lines.append(
            f"  dropped from training: {counted(data.leaks['dropped'], 'augmented preset')}, too "
            "near to a human preset of valid or test"
        )
    lines.append(f"Fit a model to them: pyrosynth fit flow_audio {typed(out)} --out run")
    show(facts, lines, as_json)


def tags(
    data: Data,
    out: Annotated[Path, typer.Option("--out", parser=csv_file, help="CSV file to write.")] = Path(
        "tags.csv"
    ),
    source: Annotated[
        str, typer.Option("--from", help="descriptors of the sounds, or names of the presets.")
    ] = "descriptors",
    hidden: Annotated[
        float, typer.Option(min=0, max=1, help="Share of labels to leave out, at random.")
    ] = 0.0,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Write tags of the human presets to a CSV file, to be edited and given to `fit`."""
    from pyrosynth.data.dataset import open_dataset
    from pyrosynth.data.labeling import SOURCES
    from pyrosynth.data.tags import write_tags

    if source not in SOURCES:
        raise unknown("source of tags", source, SOURCES)
    dataset = open_dataset(data)
    with atomic(out, replace=False) as file:  # what is there may be somebody's work
        table = SOURCES[source](dataset).hide(hidden, seed)
        n = write_tags(file, table, dataset)
    labels = table.labels[dataset.rows("all", human_only=True)]
    counts = {
        tag.name: {label: int((labels[:, i] == k).sum()) for k, label in enumerate(tag.classes)}
        for i, tag in enumerate(table.tags)
    }
    lines = [
        f"  {name}: {', '.join(f'{n_labels} {label}' for label, n_labels in classes.items())}"
        for name, classes in counts.items()
    ]
    facts = {"tags": str(out), "presets": n, "labels": counts}
    show(facts, [f"{out}: {counted(n, 'preset')}", *lines], as_json)
