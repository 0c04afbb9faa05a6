"""The main job from end to end: render a synth, learn it, infer presets, and tell how well.

Every stage keeps what it made below the folder of the demonstration and uses it again.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import pyrosynth.plots as plots
import pyrosynth.synths as synths
from pyrosynth.audio.closeness import ALIKE, RELATED, TWINS, closeness
from pyrosynth.audio.example import EXAMPLE, string_and_flute
from pyrosynth.audio.io import load_audio, save_audio
from pyrosynth.audio.note import Note
from pyrosynth.cli.options import plays
from pyrosynth.data.dataset import Dataset, render_dataset
from pyrosynth.errors import SynthError, counted, unknown
from pyrosynth.evaluation.check import check
from pyrosynth.evaluation.scores import BANK, REFERENCE, answer_name
from pyrosynth.evaluation.tables import check_table
from pyrosynth.files import claim, missing_files, read_json, writable, write_bytes
from pyrosynth.inference.infer import REPORT, SOUND, infer_sounds
from pyrosynth.inference.outcome import Failed, Inferred
from pyrosynth.inference.posterior import Posterior
from pyrosynth.report import (
    SWITCH,
    matched_gains,
    picture,
    player,
    section,
    table,
    text,
    wav_sources,
    write_report,
)
from pyrosynth.synths import amsynth
from pyrosynth.synths.base import Synth
from pyrosynth.training.fit import fit
from pyrosynth.training.run import pretrained, run_folder

MODEL = "flow_audio"
THIS = "this run"
PRETRAINED = "pretrained run"  # what it is called beside the one just fitted
BARS = {REFERENCE: "nearest human preset", BANK: "nearest preset of the whole bank"}


@dataclass(frozen=True)
class Sizes:
    """How much the demonstration does.

    Args:
        augmented: Number of augmented presets.
        steps: Steps of the fit.
        batch_size: Presets per step.
        presets: Held-out presets that the run is checked on.
        draws: Posterior draws of each.
        budget: Sounds that a search may render.
        sounds: Held-out sounds that are inferred into folders.
        note: The note that is played.
    """

    augmented: int
    steps: int
    batch_size: int
    presets: int
    draws: int
    budget: int
    sounds: int = 3
    note: Note = Note()


# Eight minutes on two cores, after two for the set-up: a quarter each for rendering, fitting,
# checking, and reserve.
SIZES = {
    "amsynth": Sizes(augmented=8_000, steps=550, batch_size=256, presets=24, draws=64, budget=256),
    "voice": Sizes(augmented=6_000, steps=700, batch_size=256, presets=24, draws=64, budget=256),
}
SMOKE = Sizes(
    augmented=40, steps=10, batch_size=32, presets=2, draws=4, budget=12, sounds=1,
    note=Note(hold_seconds=0.3, duration_seconds=0.5),
)  # fmt: skip


def demo(
    out: str | Path = "demo",
    synth: str = "amsynth",
    *,
    sizes: Sizes | None = None,
    seed: int = 0,
    workers: int | None = None,
    say: Callable[[str], object] = print,
) -> dict[str, Any]:
    """Run the demonstration, or what is left of it.

    Args:
        out: Folder for everything.
        synth: ``amsynth``, which is fetched if it is missing, or ``voice``.
        sizes: How much to do; what fits in ten minutes on two cores if left out.
        seed: Of everything random.
        workers: Processes that render; all cores if left out.
        say: Called with each line for the user.

    Returns:
        Paths and main numbers, JSON-ready.

    Raises:
        InputError: The synth is none of these, or ``out`` cannot be written.
    """
    if synth not in SIZES:
        raise unknown("synth of the demonstration", synth, SIZES)
    with claim(out, "demo") as top:
        return _steps(top, _synth(synth, say), sizes, seed, workers, say)


def _steps(
    top: Path,
    source: Synth,
    sizes: Sizes | None,
    seed: int,
    workers: int | None,
    say: Callable[[str], object],
) -> dict[str, Any]:
    """Render, fit, check and infer, all below one folder; see `demo`."""
    size = sizes or SIZES[source.name]
    folder = writable(top / source.name)

    say(f"1/4 render the presets of {source.name}, and {size.augmented} augmented presets")
    data = render_dataset(
        source, folder / "data", augmented=size.augmented, note=size.note, seed=seed,
        workers=workers,
    )  # fmt: skip
    say(f"2/4 fit {MODEL} to {counted(len(data.rows('train')), 'sound')}")
    fit(MODEL, data, folder / "run", steps=size.steps, batch_size=size.batch_size, seed=seed)
    posterior = Posterior.load(folder / "run")
    say(f"3/4 check it on {size.presets} held-out presets, against other methods")
    beside = {}
    if source.name in pretrained():
        beside[PRETRAINED] = Posterior.load(run_folder(source.name))
    summary = _check(posterior, beside, data, folder / "check", size, seed, workers)
    say("4/4 find presets behind held-out sounds, and behind one that the synth did not make")
    files = _sounds(data, folder / "sounds", size)
    found = {}
    for name, one in {THIS: posterior, **beside}.items():
        place = folder / ("infer" if name == THIS else "infer-pretrained")
        found[name], failed = _infer(one, files, place, size, seed, workers)
        for bad in failed:
            say(f"{bad.sound}: {bad.error}")
    report = top / REPORT
    lines = _verdict(summary)
    _report(report, posterior, lines, summary, found)
    for line in (*lines, f"Look and listen: open {report}", *plays(posterior, folder / "run")):
        say(line)
    return {
        "report": str(report),
        "synth": source.name,
        "verdict": lines,
        "methods": summary["methods"],
        "sounds": {name: [asdict(item) for item in items] for name, items in found.items()},
    }


def _synth(name: str, say: Callable[[str], object]) -> Synth:
    """Return the synth, fetched if need be, or the built-in one if it cannot be had."""
    if name == "amsynth":
        try:
            if amsynth.find() is None:
                say("fetch amsynth")
                amsynth.install()
            return synths.load_synth("amsynth")
        except SynthError as error:
            say(f"the built-in synth 'voice' takes the place of amsynth: {error}")
    return synths.load_synth("voice")


def _check(
    posterior: Posterior,
    beside: dict[str, Posterior],
    data: Dataset,
    folder: Path,
    size: Sizes,
    seed: int,
    workers: int | None,
) -> dict[str, Any]:
    """Check the run, unless the folder holds that check already."""
    stamp = folder / "made.json"
    runs = [one.run.settings for one in (posterior, *beside.values())]
    made = {"runs": runs, "sizes": asdict(size), "seed": seed}
    wanted = json.dumps(made, sort_keys=True)
    try:
        if read_json(stamp) == json.loads(wanted):
            held: dict[str, Any] = read_json(folder / "summary.json")
            return held
    except (OSError, ValueError, RecursionError):
        pass
    result = check(
        posterior, data, folder, n_presets=size.presets, draws=size.draws, budget=size.budget,
        beside=beside, seed=seed, workers=workers,
    )  # fmt: skip
    write_bytes(stamp, wanted.encode())
    return result.summary


def _sounds(data: Dataset, folder: Path, size: Sizes) -> list[Path]:
    """Write the sounds to infer: held-out ones, and one that no synth here made."""
    writable(folder)
    rows = data.rows("test", human_only=True)
    chosen = rows[np.linspace(0, len(rows) - 1, size.sounds).round().astype(int)]
    files = []
    for row, audio, name in zip(chosen, data.audio(chosen), data.names(chosen), strict=True):
        plain = "-".join("".join(c if c.isalnum() else " " for c in name).split()) or "preset"
        files.append(folder / f"{plain}-{row}.wav")
        if not files[-1].exists():
            save_audio(files[-1], audio, data.features.sample_rate)
    files.append(folder / f"{EXAMPLE}.wav")
    if not files[-1].exists():
        sound = string_and_flute(size.note.pitch, size.note.duration_seconds)
        save_audio(files[-1], sound, 96000)
    return files


def _infer(
    posterior: Posterior,
    files: list[Path],
    folder: Path,
    size: Sizes,
    seed: int,
    workers: int | None,
) -> tuple[list[Inferred], list[Failed]]:
    """Infer the sounds; folders that an earlier run left, or that lack files, are made anew.

    An answer whose preset the synth failed to play once more, which has no sound, has failed.
    """

    def infer(force: bool) -> tuple[list[Inferred], list[Failed]]:
        return infer_sounds(
            posterior, files, folder, budget=size.budget, draws=size.draws, seed=seed,
            workers=workers, force=force,
        )  # fmt: skip

    found, failed = infer(force=False)
    left = any((folder / Path(one.sound).stem).exists() for one in failed)  # of another sound
    if left or any(not item.same or missing_files(Path(item.folder)) for item in found):
        found, failed = infer(force=True)
    silent = [item for item in found if not (Path(item.folder) / SOUND).is_file()]
    failed += [Failed(item.sound, item.advice) for item in silent]
    return [item for item in found if item not in silent], failed


def _verdict(summary: dict[str, Any]) -> list[str]:
    """Say how good the result is against the baselines, in two lines."""
    methods = {_short(summary, row["method"], row["answer"]): row for row in summary["methods"]}
    shown = [name for name in methods if name.startswith(("infer", "best of"))]
    best = [shown[-1], *[name for name in shown[:-1] if name.startswith("best of")][-1:]]
    beside = [name for name in methods if name.startswith(PRETRAINED)]
    ours = "; ".join(f"{name} {methods[name]['lsd_mean']:.2f} dB" for name in best + beside)
    others = "; ".join(
        f"{label} {methods[name]['lsd_mean']:.2f} dB"
        for name, label in BARS.items()
        if name in methods
    )
    share = f"{100 * methods[best[0]]['wins']:.0f} %"
    return [
        f"Mean distance on {summary['presets']} held-out presets: {ours}.",
        f"To beat: {others}. {best[0].capitalize()}, comes nearer than the former on {share} of "
        "the sounds.",
    ]


def _grid(x: list[Any], names: list[str], columns: int, posterior: Posterior) -> Any:
    """Draw spectrograms in rows of so many; return their axes."""
    rows = max(1, len(x) // columns)
    axes = plots.new_axes((plots.WIDTH, 1.9 * rows), rows, columns, sharex=True, sharey=True)
    plots.gallery(x, names, posterior.run.features, axes)
    for ax in np.ravel(axes):
        ax.label_outer()
    return axes


def _short(summary: dict[str, Any], method: str, answer: str) -> str:
    """Return what an answer is called: one of this run's by the answer alone."""
    return answer if method == summary["variant"] else answer_name(method, answer)


def _report(
    path: Path,
    posterior: Posterior,
    verdict: list[str],
    summary: dict[str, Any],
    found: dict[str, list[Inferred]],
) -> None:
    """Write the page that leads to all others."""
    import pandas as pd

    synth, rate = posterior.synth.name, posterior.run.features.sample_rate
    rows, pictures, names = [], [], []
    by_sound = [{item.sound: item for item in items} for items in found.values()]
    for sound in [name for name in by_sound[0] if all(name in one for one in by_sound)]:
        file, answered = Path(sound), [one[sound] for one in by_sound]
        files = [file, *(Path(item.folder) / SOUND for item in answered)]
        audio = [load_audio(one, rate) for one in files]
        gains = matched_gains(audio)
        called = [f"{file.stem}, {name}" for name in ("target", *found)]
        heard = list(map(player, called, [""] * len(audio), wav_sources(audio, rate), gains))
        row: list[Any] = [file.stem, SWITCH, heard[0]]
        for item, played in zip(answered, heard[1:], strict=True):
            link = (Path(item.folder) / REPORT).relative_to(path.parent).as_posix()
            said = f"{item.lsd_db:.2f} dB, {closeness(item.lsd_db, item.audible)}"
            row += [played, {"href": link, "text": said}]
        rows.append(row)
        pictures += [posterior.features(posterior.listen(one, own_level=True)) for one in files]
        names += called
    answers = summary["methods"]
    headers, cells = check_table(pd.DataFrame(answers), partial(_short, summary))
    ours = [i for i, row in enumerate(answers) if row["answer"].startswith("infer")]
    shown = [i for i, row in enumerate(answers) if row["method"] in (REFERENCE, BANK)] + ours
    facts = {cells[i][0]: f"{answers[i]['lsd_mean']:.2f} dB" for i in shown}
    all_of_it = {"href": f"{synth}/check/{REPORT}", "text": "all about the check"}
    columns = [
        "sound",
        "compare",
        "target",
        *[cell for name in found for cell in (name, "distance and report")],
    ]
    drawn = picture(
        plots.png(_grid(pictures, names, len(found) + 1, posterior)),
        "Spectrograms of the targets and of what was found",
        "Each row is a sound: the target, then what was found for it.",
    )
    sections = [
        section(
            "Listen",
            table(
                tuple(columns), rows,
                note="A/B changes between the sounds of a row, equally loud; then the space bar "
                f"does. The last sound was not made by {synth}: it comes as close as it can.",
            ),
            *([drawn] if rows else []),
            text(
                "A distance is the mean difference of two spectrograms in dB (LSD): up to "
                f"{TWINS:g} dB sounds are twins, up to {ALIKE:g} alike, up to {RELATED:g} "
                "related, short sounds up to less; two presets of amsynth drawn at random are "
                "some 15 dB apart. Each report has, in its folder, the preset in the synth's own "
                "format."
            ),
            text(
                "Next: play it, with 'pyrosynth serve' and the folder of the run; or find the "
                "preset of a sound of yours, with 'pyrosynth infer'."
            ),
        ),
        section(
            "Against other methods",
            *[text(line) for line in verdict],
            table(headers, cells, marked=ours),
            table(("calibration, descriptors, examples",), [[all_of_it]]),
        ),
    ]  # fmt: skip
    lead = (
        f"The presets of {synth} behind sounds, found by a model that learnt it from its presets."
    )
    write_report(path, f"pyrosynth learns {synth}", lead, facts, sections)
