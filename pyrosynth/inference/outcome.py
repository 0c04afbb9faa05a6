"""What came of sounds whose presets were looked for, now or earlier."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pyrosynth.errors import InputError, reading
from pyrosynth.files import missing_files, read_json
from pyrosynth.inference.hearing_words import note_to_play

PRESET = "preset.json"
SOUND_HASH, FILE_HASH = "sound_sha256", "file_sha256"


@dataclass(frozen=True)
class Inferred:
    """What came of one sound.

    Attributes:
        sound: The file.
        folder: Where the results are.
        lsd_db: Log-spectral distance of the best preset's sound in dB.
        source: What proposed it, see `pyrosynth.inference.search.Match`.
        n_renders: Number of sounds that were rendered to find it.
        kept: Whether the folder was there before and has been left as it was.
        same: Whether a folder that was kept was made with these settings.
        play: Of a sound that was brought to the run's note, the note to play the preset with, see
            `pyrosynth.audio.tuning.TunedSound.to_json`, and the distance there, ``lsd_db``.
        advice: What to know of the result, such as that the sound is at another pitch than the
            note of the run; empty if there is nothing.
        audible: Share of the spectrogram in which the sound sounds, which words for distances
            depend on, see `pyrosynth.audio.closeness.closeness`.
    """

    sound: str
    folder: str
    lsd_db: float
    source: str
    n_renders: int
    kept: bool = False
    same: bool = True
    play: dict[str, Any] | None = None
    advice: str = ""
    audible: float = 1.0


@dataclass(frozen=True)
class Failed:
    """A sound from which nothing could be inferred, and why."""

    sound: str
    error: str


def earlier(file: Path, folder: Path, made: dict[str, Any], of: str) -> Inferred:
    """Describe a folder that was made earlier, of the same sound and synth."""
    other = "give another folder, or delete it"
    with reading(InputError, f"'{folder}' holds something else than an inferred preset", other):
        facts = read_json(folder / PRESET)
        score, held = facts["score"], facts["made"]
        asked = json.loads(json.dumps(made))
        # At another rate the same file is another array; with other remarks inside, another file.
        same_sound = any(held.get(key) == asked[key] for key in (SOUND_HASH, FILE_HASH))
        kept = Inferred(
            str(file), str(folder), float(score["lsd_db"]), str(score["source"]),
            int(score["n_renders"]), kept=True,
            same={**held, FILE_HASH: ""} == {**asked, FILE_HASH: ""}, play=facts.get("play"),
            advice="; ".join(filter(None, [missing_files(folder), str(facts.get("advice", ""))])),
            audible=float(score.get("audible", 1.0)),
        )  # fmt: skip
        _ = note_to_play(kept.play) if kept.play else None  # what a person changed may be no note
    differs = "" if same_sound else f"from another sound than '{file}'"
    if (synth := facts.get("synth")) != of:
        differs = f"for the synth '{synth}', not for '{of}'"
    if differs:
        other = "replace it with --force (force=True), or give another --out"
        raise InputError(f"'{folder}' was made earlier {differs}; {other}")
    return kept


def to_json(done: Sequence[Inferred], failed: Sequence[Failed]) -> dict[str, Any]:
    """Return both lists JSON-ready."""
    return {"sounds": [asdict(item) for item in done], "failed": [asdict(f) for f in failed]}
