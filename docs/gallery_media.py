"""Find twelve sounds on two synths, and make what gallery.md and the demo show of it.

The page shows the command. The searches are kept in the folder for work, so that what takes long
is done once.
"""

import argparse
import json
import re
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image

import pyrosynth as ps
from pyrosynth.audio.closeness import ALIKE, RELATED, TWINS, closeness
from pyrosynth.audio.example import save_example
from pyrosynth.audio.io import load_audio, save_audio
from pyrosynth.evaluation.targets import held_out
from pyrosynth.inference.infer import infer_sounds
from pyrosynth.inference.posterior import Posterior
from pyrosynth.live.engine import Live
from pyrosynth.live.static_site import write_site

DOCS = Path(__file__).parent
PAGE, MEDIA, DEMO = DOCS / "gallery.md", DOCS / "_static" / "gallery", DOCS / "demo"
RESULTS = MEDIA / "results.json"
TABLE = re.compile(r"(?<=<!-- targets -->\n).*(?=<!-- end of targets -->)", re.DOTALL)

SETTINGS: dict[str, Any] = {"budget": 256, "draws": 64, "seed": 0}
HELD_OUT = (4, 2)  # presets of each run's own that it has not learnt, drawn by seed 0
SAMPLED = "sampled, of the SoundFont FluidR3 Mono (MIT)"
OUTSIDE = {  # chosen before anything was searched
    "grand-piano": ("gm/000-yamaha-grand-piano.wav", "Grand piano", SAMPLED),
    "violin": ("gm/040-violin.wav", "Violin", SAMPLED),
    "flute": ("gm/073-flute.wav", "Flute", SAMPLED),
    "snare": ("drums/38-acoustic-snare.wav", "Snare drum", SAMPLED),
    "sung-ah": ("speech/vowel-ah.wav", "Sung “ah”", "a voice of eSpeak NG"),
}
WORDS = (TWINS, ALIKE, RELATED, np.inf)  # the largest distance of each word
SHOWN_SECONDS, RMS, PEAK = 4.0, 0.1, 0.95  # of the sounds on the page
COMPRESSION = 0.8  # of sounds, of 1 at most
DECIBELS = 70.0  # between black and white in the pictures

DEMO_PRESETS, DEMO_STEPS = 30, (-2.0, 2.0)
DEMO_AXES = ("brightness", "noisiness", "sustain", "release")

Result = dict[str, Any]


def main() -> None:
    """Read the arguments and make all of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", nargs=2, required=True, help="two runs, the first for the demo")
    parser.add_argument("--data", nargs=2, required=True, help="the dataset of each")
    parser.add_argument("--outside", required=True, help="sounds of benchmarks.outside")
    parser.add_argument("--work", type=Path, required=True, help="folder for sounds and searches")
    asked = parser.parse_args()
    runs = {(run := Posterior.load(path)).synth.name: run for path in asked.runs}
    targets = save_targets(asked.work / "targets", runs, asked.data, Path(asked.outside))
    results = {
        **SETTINGS,
        "synths": {name: facts(run) for name, run in runs.items()},
        "targets": targets,
    }
    MEDIA.mkdir(parents=True, exist_ok=True)
    files = [asked.work / "targets" / f"{target['name']}.wav" for target in targets]
    for name, run in runs.items():
        done, failed = infer_sounds(run, files, asked.work / name, workers=1, **SETTINGS)
        if failed:
            raise SystemExit(f"not found: {failed}")
        for target, found in zip(targets, done, strict=True):
            target["found"][name] = {
                "lsd_db": round(found.lsd_db, 2),
                "closeness": closeness(found.lsd_db, found.audible),
                "play": found.play["name"] if found.play else "",
                "advice": found.advice,
                "audible": round(found.audible, 4),
            }
            tuned = Path(found.folder) / "played.wav"
            sound = tuned if tuned.exists() else Path(found.folder) / "render.wav"
            show(run, sound, f"{target['name']}-{name}")
    for file in files:
        show(next(iter(runs.values())), file, file.stem)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    PAGE.write_text(TABLE.sub(lambda _: page(results), PAGE.read_text()))
    save_demo(asked.runs[0], asked.work, [t["name"] for t in targets])


def facts(run: Posterior) -> Result:
    """Return what the page says of a run."""
    assert run.bank is not None
    return {
        "model": type(run.run.variant).__name__,
        "presets": int(run.bank.human.sum()),
        "controls": len(run.run.space),
    }


def save_targets(
    folder: Path, runs: dict[str, Posterior], data: list[str], outside: Path
) -> list[Result]:
    """Write the sounds that are looked for, and return what they are."""
    folder.mkdir(parents=True, exist_ok=True)
    targets = []
    for (name, run), path, n in zip(runs.items(), data, HELD_OUT, strict=True):
        assert run.bank is not None
        held = held_out(ps.open_dataset(path), 4 * n)
        assert held.values is not None
        order = np.random.default_rng(0).permutation(len(held))
        fresh = [i for i in order if held.names[i] not in run.bank.names][:n]
        with run.renderer(1, keep_audio=True) as renderer:
            rendered = renderer.render(held.values[fresh])
        assert rendered.audio is not None
        for i, sound in zip(fresh, rendered.audio, strict=True):
            target = f"{name}-{re.sub('[^a-z0-9]+', '-', held.names[i].lower()).strip('-')}"
            save_audio(folder / f"{target}.wav", sound, run.run.features.sample_rate)
            about = f"a preset of {name} that the run has not learnt"
            targets.append({"name": target, "called": held.names[i], "about": about, "of": name})
    example = save_example(folder)
    about = "the sound of `infer --example`"
    targets.append({"name": example.stem, "called": "String and flute", "about": about, "of": ""})
    for target, (file, called, about) in OUTSIDE.items():
        shutil.copyfile(outside / file, folder / f"{target}.wav")
        targets.append({"name": target, "called": called, "about": about, "of": ""})
    return [{**target, "found": {}} for target in targets]


def show(run: Posterior, file: Path, name: str) -> None:
    """Write a sound as the page plays it, at the level of all others, and its spectrogram."""
    spec = run.run.features
    audio = load_audio(file, spec.sample_rate)[: int(SHOWN_SECONDS * spec.sample_rate)]
    level = min(RMS / np.sqrt(np.mean(audio**2)), PEAK / np.abs(audio).max())
    soundfile.write(
        MEDIA / f"{name}.mp3", level * audio, spec.sample_rate, format="MP3",
        compression_level=COMPRESSION,
    )  # fmt: skip
    power = spec.power(spec(level * audio))
    level_db = 10 * np.log10(power / power.max() + 1e-12)
    grey: NDArray[np.float64] = np.clip(1 + level_db / DECIBELS, 0, 1)[::-1]
    colours = mpl.colormaps["magma"](grey, bytes=True)[..., :3]
    Image.fromarray(colours).quantize(32).save(MEDIA / f"{name}.png", optimize=True)


def page(results: Result) -> str:
    """Return the part of the page that follows from the results."""
    names = list(results["synths"])
    lines = [
        f"A distance of up to {TWINS:g} dB is called *twins*, up to {ALIKE:g} dB *alike*, up to "
        f"{RELATED:g} dB *related*; what is farther is *out of this synth's reach*. The snare "
        "drum is silent in most of its spectrogram, so its distances [weigh more]"
        "(howto/read_the_checks.md).\n"
    ]
    for name in names:
        found = [target["found"][name] for target in results["targets"]]
        far = sorted(one["lsd_db"] for one in found)
        counts = Counter(one["closeness"] for one in found)
        words = ", ".join(f"{word} {counts[word]}" for word in map(closeness, WORDS))
        lines.append(
            f"- On {name}: {words}; from {far[0]:.2f} to {far[-1]:.2f} dB, in the median "
            f"{np.median(far):.2f} dB."
        )
    lines += ["", f"| Target | {' | '.join(names)} |", "|---" * (1 + len(names)) + "|"]
    for target in results["targets"]:
        cells = [f"**{target['called']}**, {target['about']}"]
        cells[0] += player(target["name"], target["called"])
        for name in names:
            found = target["found"][name]
            play = f"; play it at {found['play']}" if found["play"] else ""
            said = f"**{found['lsd_db']:.2f} dB**, {found['closeness']}{play}"
            cells.append(
                said + player(f"{target['name']}-{name}", f"{target['called']} on {name}")
            )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def player(file: str, of: str) -> str:
    """Return the picture and the player of a sound, given what they are called."""
    source = f"_static/gallery/{file}"
    audio = f'<audio controls preload="none" aria-label="{of}" src="{source}.mp3"></audio>'
    return f"<br>![Spectrogram: {of}]({source}.png)<br>{audio}"


def save_demo(run: str, work: Path, targets: list[str]) -> None:
    """Write the sounds and data of the demo; the page itself comes from the package."""
    posterior = Posterior.load(run)
    synth = posterior.synth.name
    own = [name for name in targets if name.startswith(f"{synth}-") or name in OUTSIDE]
    chosen = [*own, *(name for name in targets if name == "string-and-flute")]
    with Live(posterior) as live, tempfile.TemporaryDirectory() as folder:
        write_site(
            live, synth, Path(folder) / "site", presets=DEMO_PRESETS, moved=0, axes=DEMO_AXES,
            steps=DEMO_STEPS,
            answers=[(work / "targets" / f"{name}.wav", work / synth / name) for name in chosen],
        )  # fmt: skip
        shutil.rmtree(DEMO, ignore_errors=True)
        (DEMO / "sounds").mkdir(parents=True)
        shutil.copyfile(Path(folder) / "site" / "data.js", DEMO / "data.js")
        shutil.copytree(Path(folder) / "site" / "sounds", DEMO / "sounds", dirs_exist_ok=True)


if __name__ == "__main__":
    main()
