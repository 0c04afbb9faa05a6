"""Whether an answer is in tune, and as near as without the search for a pitch: 40 sounds.

    python -m benchmarks.any_pitch amsynth --budget 64

Voices, flutes, plucked strings from C2 to C6, drums and chords, which no synth of the package
has played (`benchmarks.outside` fetches what plays them; four voices are the hums of the tests).
Each is answered twice with as many renders: as `infer` does it, and with the sound taken as it
is. Then the answer is played at the note that it says. It is in tune if it sounds within 20 cents
of the key that was played or sung, in the same octave. The distance is that between the recording
and what is played, both from where they begin. The sounds come in an order that mixes their
kinds, so that ``--sounds`` may stop before the last.
"""

import argparse
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.outside.families import FAMILIES, Sound
from benchmarks.outside.players import Job, packages
from pyrosynth.audio.background import fit_length
from pyrosynth.audio.io import Audio, load_audio, save_audio
from pyrosynth.audio.metrics import log_distance
from pyrosynth.audio.note import Note
from pyrosynth.audio.tuning import tune
from pyrosynth.cli.process import run_program
from pyrosynth.errors import InputError
from pyrosynth.inference.hearing import Hearing, refine
from pyrosynth.inference.posterior import Posterior
from pyrosynth.synths.rendering import Renderer
from tests.hums import hum

RATE = 22050
IN_TUNE_CENTS = 20.0
STRIDE = 7  # of the order that mixes the kinds of sounds
HOLDS = (0.7, 1.3, 2.4)  # seconds, in turn
VOWELS = {"ah": 48, "eh": 53, "ee": 57, "oo": 60, "aw": 64, "uh": 69}
HUMS = (41, 50, 62, 72)
FLUTES = ((73, 60), (73, 67), (73, 84), (74, 72), (75, 65), (75, 77), (79, 70), (72, 79))
PLUCKS = (
    (24, 40), (24, 55), (25, 45), (25, 64), (26, 52), (32, 36), (33, 38), (45, 57), (46, 48),
    (46, 76), (107, 62), (104, 50),
)  # fmt: skip
DRUMS = (36, 38, 42, 45, 56)
CHORDS = ((0, 48), (4, 60), (16, 57), (24, 52), (48, 55))
MAJOR, MINOR = (0, 4, 7), (0, 3, 7)


@dataclass(frozen=True)
class Recording:
    """A sound to be found.

    Attributes:
        kind: Such as ``flute``.
        file: Where it is.
        pitch: MIDI number of the key that was played or sung; None of a drum or a chord.
    """

    kind: str
    file: Path
    pitch: int | None


@dataclass(frozen=True)
class Outcome:
    """An answer, played.

    Attributes:
        cents: How far above the key it sounds; NaN if it has no pitch, or there is no key.
        lsd_db: Log-spectral distance in dB between the recording and what is played.
        way: How the sound was taken.
    """

    cents: float
    lsd_db: float
    way: str

    @property
    def in_tune(self) -> bool:
        """Whether it sounds at the key that was played."""
        return abs(self.cents) <= IN_TUNE_CENTS


class Recordings:
    """The 40 sounds, each made when it is asked for.

    Args:
        folder: Where they are kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kinds: list[tuple[str, tuple[Any, ...]]] = [
            *(("voice", item) for item in VOWELS.items()),
            *(("hum", (pitch,)) for pitch in HUMS),
            *(("flute", item) for item in FLUTES),
            *(("pluck", item) for item in PLUCKS),
            *(("drum", (key,)) for key in DRUMS),
            *(("chord", item) for item in CHORDS),
        ]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.kinds)

    def __getitem__(self, number: int) -> Recording:
        """Return a sound; its number says how long its note is held."""
        kind, recipe = self.kinds[number]
        hold = HOLDS[number % len(HOLDS)]
        name = "-".join([kind, *map(str, recipe)])
        if kind == "hum":
            (pitch,) = recipe
            save_audio(self.folder / f"{name}.wav", hum(pitch, hold), RATE)
            return Recording("voice", self.folder / f"{name}.wav", pitch)
        if kind == "voice":
            vowel, pitch = recipe
            tree, _ = packages(FAMILIES["speech"])
            listed = {s.name: s.recipe for s in FAMILIES["speech"].sounds(tree)}
            file = self._play("speech", name, listed[f"vowel-{vowel}"], pitch, hold)
            return Recording(kind, file, pitch)
        if kind == "drum":
            return Recording(kind, self._play("drums", name, (9, 0, recipe[0]), 60, hold), None)
        program, pitch = recipe
        if kind == "chord":
            intervals = MINOR if number % 2 else MAJOR
            tones = [
                load_audio(
                    self._play("gm", f"{name}-{i}", (0, program, None), pitch + i, hold), RATE
                )
                for i in intervals
            ]
            longest = max(map(len, tones))
            chord = sum(np.pad(tone, (0, longest - len(tone))) for tone in tones)
            save_audio(self.folder / f"{name}.wav", 0.3 * np.asarray(chord, np.float32), RATE)
            return Recording(kind, self.folder / f"{name}.wav", None)
        return Recording(kind, self._play("gm", name, (0, program, None), pitch, hold), pitch)

    def _play(self, family: str, name: str, recipe: Any, pitch: Any, hold: float) -> Path:
        tree, _ = packages(FAMILIES[family])
        note = Note(int(pitch), 100, hold, hold + 1.0)
        job = Job(self.folder, family, Sound(name, name, recipe), tree, note, RATE)
        file = self.folder / job.file
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists() and (failure := job.play()):
            sys.exit(f"{file}: {failure}")
        return file


def answers(
    posterior: Posterior, ways: list[Hearing], sound: Recording, renderer: Renderer, budget: int
) -> tuple[Outcome, Outcome]:
    """Find the preset of a sound, and play it at the note that the answer says.

    Returns:
        What came of the answer, and of the preset that was nearest, which it may be.
    """
    run, rate = posterior.run, posterior.run.features.sample_rate
    match, way, _ = refine(posterior, ways, renderer, budget)
    target = posterior.features(posterior.listen(sound.file))
    note = run.note
    if way.tuned:
        hold = min(way.tuned.note.hold_seconds, run.note.duration_seconds)
        note = replace(run.note, pitch=way.tuned.note.pitch, hold_seconds=hold)
    took = f"at {note.name}" if way.tuned else "as it is"
    outcomes = []
    for values in (match.values[0], match.values[int(np.argmin(match.lsd))]):
        played = posterior.synth.render(values, note, rate)
        heard = posterior.features(fit_length(played, run.note.n_samples(rate), rate))
        lsd = float(log_distance(heard, target))
        outcomes.append(Outcome(_cents(played, rate, run.note, sound.pitch), lsd, took))
    return outcomes[0], outcomes[1]


def _cents(audio: Audio, rate: int, note: Note, pitch: int | None) -> float:
    """Return how far a sound is above a key."""
    if pitch is None:
        return np.nan
    try:
        heard = tune(audio, rate, note)
    except InputError:
        return np.nan
    return 100 * (heard.note.pitch - pitch) + heard.cents


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("--budget", type=int, default=64, help="sounds to render in a search")
    parser.add_argument("--sounds", type=int, default=40, help="how many of the 40 sounds")
    parser.add_argument("--keep", type=Path, help="folder to keep the sounds in")
    given = parser.parse_args()

    posterior = Posterior.load(given.run)
    rate, rows = posterior.run.features.sample_rate, []
    with (
        tempfile.TemporaryDirectory() as folder,
        posterior.renderer(1, keep_audio=True) as renderer,
    ):
        sounds = Recordings(given.keep or Path(folder))
        sounds.folder.mkdir(parents=True, exist_ok=True)
        for i in tqdm(range(min(given.sounds, len(sounds)))):
            sound = sounds[i * STRIDE % len(sounds)]
            ways = posterior.hear(sound.file)
            found, nearest = answers(posterior, ways, sound, renderer, given.budget)
            as_it_is = [Hearing(posterior.listen(sound.file))]
            plain, _ = answers(posterior, as_it_is, sound, renderer, given.budget)
            rows.append((sound, (found, nearest, plain)))
            itself = _cents(load_audio(sound.file, rate), rate, posterior.run.note, sound.pitch)
            told = [f"{o.cents:+.0f} cents, {o.lsd_db:.2f} dB" for o in (found, nearest, plain)]
            print(
                f"{sound.file.stem} ({itself:+.0f} cents): {found.way}, {told[0]}; nearest "
                f"{told[1]}; without {told[2]}",
                file=sys.stderr, flush=True,
            )  # fmt: skip
    columns = ("answer", "nearest", "as it is")
    print(f"| sounds | {' | '.join(f'{c}, in tune | {c}, distance' for c in columns)} |")
    print("|---" * 7 + "|")
    kinds = list(dict.fromkeys(sound.kind for sound, _ in rows))
    for name, chosen in (*((kind, {kind}) for kind in sorted(kinds)), ("all", set(kinds))):
        these = [row for row in rows if row[0].kind in chosen]
        pitched = [outcomes for sound, outcomes in these if sound.pitch is not None]
        cells = []
        for column in range(len(columns)):
            in_tune = sum(outcomes[column].in_tune for outcomes in pitched)
            lsd = np.mean([outcomes[column].lsd_db for _, outcomes in these])
            cells += [f"{in_tune} of {len(pitched)}" if pitched else "–", f"{lsd:.2f} dB"]
        print(f"| {name} ({len(these)}) | {' | '.join(cells)} |")


if __name__ == "__main__":
    run_program(main)
