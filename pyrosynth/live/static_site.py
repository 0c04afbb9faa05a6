"""The page of a run as a folder that needs no server: all its sounds are rendered beforehand.

Its sliders move the preset that is loaded, if that is one of those with sweeps: a sweep holds, for
each control, the preset a few steps to either side, at the position that its own sound has.
"""

import base64
import hashlib
import json
import shutil
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from pyrosynth.audio.closeness import closeness
from pyrosynth.audio.io import Audio, encoded, load_audio
from pyrosynth.audio.metrics import log_distance
from pyrosynth.errors import (
    InputError,
    SynthError,
    checked_name,
    counted,
    integer,
    number,
    reading,
    require_type,
    unseen,
)
from pyrosynth.explore.places import Array, Float
from pyrosynth.files import read_json, whole
from pyrosynth.live.engine import Live
from pyrosynth.live.page_state import PageState
from pyrosynth.live.sounds import Sound
from pyrosynth.synths.bases import spread_out
from pyrosynth.synths.presets import Preset

PAGES = Path(__file__).parent / "page"
STEPS = (-2.0, -1.0, 1.0, 2.0)  # of each sweep, from where the preset is
DIGITS = 7  # of the values of presets
SHADES = 32  # of the pictures
RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)  # of MP3, in Hz
COMPRESSION = 0.8  # of sounds, of 1 at most: about 14 kB for 4 s

Point = dict[str, Any]


def write_site(
    live: Live,
    name: str,
    out: str | Path,
    *,
    presets: int = 200,
    moved: int = 10,
    axes: Sequence[str] | None = None,
    steps: Sequence[float] = STEPS,
    answers: Sequence[tuple[str | Path, str | Path]] = (),
    progress: bool = True,
) -> dict[str, Any]:
    """Write the page of a run to a folder, which appears complete.

    Presets are chosen so that they cover the plane, and those that the sliders move so that they
    cover these. The page cannot find the preset of a new sound, nor mix controls.

    Args:
        live: The run.
        name: What it is called.
        out: The folder; a site of before is replaced, anything else is refused.
        presets: Number of presets at most.
        moved: Number of presets that the sliders move at most; those of ``answers`` come on top.
        axes: Names of the controls that have a slider; all that bear the name of a quality or tag
            if left out.
        steps: Where a sweep leads on the axis of a control, from where the preset is.
        answers: Sound files, and for each the folder that `pyrosynth infer` wrote for it with
            this run: sounds that were looked for, shown beside what was found.
        progress: Whether to show a progress bar.

    Returns:
        The numbers of ``presets``, presets ``moved``, ``answers`` and ``sounds`` in it; and
        ``failed``, why a preset or an answer is left out, or what the sliders make of it, by their
        names: the synth or the model fails there, or an answer cannot be read.

    Raises:
        InputError: The folder holds something else or cannot be written, or a control is unknown.
        SynthError: There is a sound of none of the presets.
    """
    require_type("live", live, Live, "Live(Posterior.load(folder))")
    integer("presets", presets, 1), integer("moved", moved, 0)
    if not all(isinstance(pair, Sequence) and len(pair) == 2 for pair in answers):
        raise InputError("answers are no pairs; give (sound file, folder of its answer) for each")
    named = [control.name for control in live.controls.values() if control.kind != "principal"]
    chosen_axes = list(named if axes is None else axes)
    for axis in chosen_axes:
        checked_name("axis", axis, live.controls)
    page = PageState(live, name)
    state = page.state()
    chosen = sorted(spread_out(page.plane, presets))
    swept = {chosen[i] for i in spread_out(page.plane[chosen], moved)} if moved else set()
    steps = [number("step", step) for step in steps]
    in_sweep = len(chosen_axes) * len(steps)
    total = len(chosen) + len(answers) + (len(swept) + len(answers)) * in_sweep
    with (
        whole(out, "serve --static") as folder,
        tqdm(total=total, desc="site", unit="sound", disable=unseen(progress)) as bar,
    ):
        writer = _Writer(page, folder, chosen_axes, steps, bar)
        points = []
        for place in chosen:
            point = writer.known(place, place in swept)
            if point is not None:
                points.append({**point, "number": place})
        if not points:
            first, why = next(iter(writer.failed.items()))
            raise SynthError(
                f"none of {counted(len(chosen), 'preset')} gave a sound; {first}: {why}"
            )
        found = []
        for i, (sound, answer) in enumerate(answers):
            try:
                found.append(writer.answer(Path(sound), Path(answer), i))
            except (InputError, SynthError) as error:
                writer.failed[f"the answer to {sound}"] = str(error)
        kept = [point.pop("number") for point in points]
        state["names"] = [state["names"][i] for i in kept]
        state["plane"] = [state["plane"][i] for i in kept]
        for one in (*state["colours"], *state["tags"]):
            one["of"] = [one["of"][i] for i in kept]
        state["controls"] = [c for c in state["controls"] if c["name"] in chosen_axes]
        data = {"state": state, "presets": points, "found": found, "sweeps": writer.sweeps}
        for file in PAGES.glob("*.*"):
            shutil.copyfile(file, folder / file.name)
        (folder / "data.js").write_text(
            f'"use strict";\nconst EXPORTED = "{_packed(data)}"; // JSON, deflated\n'
        )
        n_sounds = len(list((folder / "sounds").iterdir()))
    return {
        "presets": len(points), "moved": len(writer.sweeps), "answers": len(found),
        "sounds": n_sounds, "failed": writer.failed,
    }  # fmt: skip


class _Writer:
    """Writes the sounds of a site, and gathers what the page says of them."""

    def __init__(
        self, page: PageState, folder: Path, axes: Sequence[str], steps: Sequence[float], bar: Any
    ) -> None:
        self.page, self.live, self.folder, self.bar = page, page.live, folder, bar
        self.axes, self.steps = axes, steps
        self.sweeps: list[dict[str, list[Point]]] = []
        self.failed: dict[str, str] = {}
        (folder / "sounds").mkdir()

    def known(self, number: int, swept: bool) -> Point | None:
        """Return the point of a known preset; None if the synth or the model fails there."""
        called = self.live.space.names[number]
        try:
            point = self.page.point({"preset": number})
            sound = self.live.render(np.array(point["values"]))
        except (SynthError, InputError) as error:
            self.failed[called] = str(error)
            return None
        finally:
            self.bar.update()
        shown = self.preset(np.array(point["values"]), sound, called, f"p{number}")
        return {**_short(point), **shown, **(self.sweep(point, called) if swept else {})}

    def answer(self, sound: Path, folder: Path, number: int) -> Point:
        """Return the point of a preset that was found for a sound, and of that sound."""
        live, file = self.live, folder / "preset.json"
        with reading(InputError, f"'{folder}' holds no inferred preset", "infer the sound first"):
            facts = read_json(file)
            made, play = facts["made"], facts.get("play")
            run, sound_sha256 = made["run"], made["sound_sha256"]
        preset = Preset.load(file, live.posterior.synth.name)
        recording = load_audio(sound, live.posterior.run.features.sample_rate)
        same = hashlib.sha256(recording.tobytes()).hexdigest() == sound_sha256
        if not same or run != json.loads(json.dumps(live.posterior.run.settings)):
            raise InputError(
                f"'{folder}' was inferred from another {'run' if same else 'sound'}; give the "
                "sound and the run that it was inferred from"
            )
        if made.get("own_level"):
            target = live.posterior.listen(sound, own_level=True)
        else:
            ways = live.posterior.hear(sound)
            same_way = [way.audio for way in ways if (way.play is None) == (play is None)]
            if not same_way:
                raise InputError(
                    f"'{folder}' was inferred at another pitch than the sound has now; infer the "
                    "sound again"
                )
            target = same_way[0]
        x = live.posterior.features(target)
        values = preset.array(live.posterior.run.full_space)
        rendered = live.render(values)
        point = self.page.told(live.place_of_sound(values, rendered.x))
        audible = float(live.posterior.run.features.audible(x))
        called, lsd_db = f"like {folder.name}", float(log_distance(rendered.x, x))
        shown = self.preset(values, rendered, called, f"f{number}")
        self.bar.update()
        heard = self.sound(target, x, f"t{number}")
        return {
            **_short(point), **shown, **self.sweep(point, called), "target": folder.name,
            "play": play, "heard": heard, "lsd_db": lsd_db,
            "closeness": closeness(lsd_db, audible),
        }  # fmt: skip

    def sweep(self, point: Point, called: str) -> dict[str, int]:
        """Render a preset moved along each axis, as far as one may; return which sweep it has.

        A step at which the synth or the model fails is left out.
        """
        sweep: dict[str, list[Point]] = {axis: [] for axis in self.axes}
        number = len(self.sweeps)
        self.sweeps.append(sweep)
        at = {"z": point["z"], "values": point["values"]}
        for i, axis in enumerate(self.axes):
            for k, step in enumerate(self.steps):
                goal = point["positions"][axis] + step
                try:
                    if abs(goal) > self.live.furthest(axis, point["z"]):
                        continue
                    values = np.array(self.page.point({**at, "to": {axis: goal}})["values"])
                    sound = self.live.render(values)
                    there = self.page.told(self.live.place_of_sound(values, sound.x))
                except (SynthError, InputError) as error:
                    self.failed.setdefault(f"{called} (moved)", str(error))
                    continue
                finally:
                    self.bar.update()
                shown = self.preset(values, sound, f"{called} (moved)", f"m{number}-{i}-{k}")
                sweep[axis].append({**_short(there), **shown, "sweep": number})
        return {"sweep": number}

    def preset(self, values: Float, sound: Sound, called: str, file: str) -> Point:
        """Write the sound of a preset and return what the page shows of it."""
        shown = self.sound(sound.audio, sound.x, file)
        suffix, bank = self.live.files.bank([(called, values)])
        own = {"bank": bank.decode("latin-1"), "suffix": suffix} if suffix != ".json" else {}
        return {"name": called, **shown, **own}

    def sound(self, audio: Audio, x: Array, file: str) -> Point:
        """Write a sound and return what the page shows of it."""
        content = mp3(audio, self.live.posterior.run.features.sample_rate)
        (self.folder / "sounds" / f"{file}.mp3").write_bytes(content)
        return {"sound": f"sounds/{file}.mp3", **self.page.seen(audio, x, SHADES)}


def mp3(audio: Audio, sample_rate: int) -> bytes:
    """Return audio (n_samples,) as an MP3 file, at the highest rate up to its own that MP3 has."""
    import soxr

    rate = max((one for one in RATES if one <= sample_rate), default=RATES[0])
    if rate != sample_rate:
        audio = soxr.resample(audio, sample_rate, rate)
    return encoded(np.clip(audio, -1, 1), rate, format="MP3", compression_level=COMPRESSION)


def _short(point: Point) -> Point:
    """Leave out the latent of a point, which only a server needs, and shorten its numbers."""
    return {
        "values": [_rounded(value, DIGITS) for value in point["values"]],
        "unit": [_rounded(share) for share in point["unit"]],
        "positions": {axis: _rounded(at) for axis, at in point["positions"].items()},
        "place": [_rounded(c) for c in point["place"]],
    }


def _rounded(value: float, digits: int = 4) -> float:
    return float(f"{value:.{digits}g}")


def _packed(data: Any) -> str:
    """Return JSON, deflated, in base64."""
    text = json.dumps(data, separators=(",", ":"))
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()
