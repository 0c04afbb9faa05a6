"""Describe a synth by listening to it: which controls are heard, which are dangerous, which inert.

Every control of a few settings that sound, the bases, is set to a handful of values, for several
notes, and the sounds are compared with those of the bases. What was heard is kept after each base
and note, so that a description that is interrupted goes on.
"""

import os
import resource
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from pyrosynth.audio.features import FeatureSpec
from pyrosynth.audio.note import Note
from pyrosynth.errors import SynthError, checked_seed, counted, number, unseen
from pyrosynth.files import checked_path, read_limited
from pyrosynth.synths.base import Synth, checked_notes, require_synth
from pyrosynth.synths.bases import MANY, MOST_BASES, covering, spread_out, still_to_hear, usage_of
from pyrosynth.synths.catalog import from_spec
from pyrosynth.synths.description import Description, is_as_made, read_description, read_file
from pyrosynth.synths.presets import LARGEST_FILE, Preset, distinct, preset_array
from pyrosynth.synths.probing import probe_isolation
from pyrosynth.synths.rendering import Renderer, n_cores
from pyrosynth.synths.unfinished import (
    read_unfinished,
    require_replaceable,
    write_over,
    write_unfinished,
)
from pyrosynth.synths.verdicts import SWEEP, Heard, even_steps, judge, probe_values

HOLD_SECONDS, DURATION_SECONDS = 1.0, 1.6
NOTES = tuple(
    Note(pitch, velocity, HOLD_SECONDS, DURATION_SECONDS)
    for pitch, velocity in ((60, 100), (36, 100), (84, 100), (60, 40))
)
SAMPLE_RATE = 22050
CANDIDATES = 48  # settings of which the bases are chosen
BASES = (2, 6)  # fewest and most bases
PROBED = 24  # settings with which the isolation is chosen
REPEATS = 5  # of a base among the sounds that are compared with it
DB = 10 / np.log(10)

Values = NDArray[np.float64]


def describe(
    synth: Synth,
    out: str | Path,
    *,
    presets: Sequence[Preset] = (),
    use: Sequence[str] = (),
    fix: Sequence[str] = (),
    notes: Sequence[Note] = NOTES,
    seconds: float = 60.0,
    workers: int | None = None,
    seed: int = 0,
    force: bool = False,
    progress: bool = True,
) -> Description:
    """Describe a synth, or go on describing it, and write the description.

    A finished description is kept as it is, edits included, but for what ``use`` and ``fix`` ask.

    Args:
        synth: The synth.
        out: The file, such as ``synth.json``.
        presets: Presets of the synth, of which the bases are chosen; its own if there are none,
            else settings drawn at random.
        use: Names of controls to learn, whatever was heard of them.
        fix: Names of controls to leave at their defaults.
        notes: The notes to listen to; the first decides most.
        seconds: Time to spend, about, of one core, waiting for it included; it sets the number of
            bases.
        workers: Processes that render; all cores if left out.
        seed: Of what is drawn.
        force: Whether to discard what ``out`` holds of an earlier description.
        progress: Whether to show progress bars.

    Returns:
        The description.

    Raises:
        InputError: ``out`` holds something else, or was made with another seed or other notes,
            or a name is unknown.
        SynthError: No setting of the synth gives a sound, or it has changed since ``out`` was
            begun.
    """
    require_synth(synth)
    seed, path, seconds = (
        checked_seed(seed),
        checked_path("out", out),
        number("seconds", seconds, 0),
    )
    Description.asked_use(synth.param_space, use, fix)
    settings = {"seed": seed, "notes": [note.to_json() for note in checked_notes(notes)]}
    held: dict[str, Any] = {}
    if path.exists() and force:
        require_replaceable(path)
    elif path.exists():
        held = read_unfinished(path, synth, settings)
        if not held:
            described = read_description(path).with_use(use, fix)
            if len(use) or len(fix):
                described.save(path, made=is_as_made(read_file(path)[0]))
            return described
    began = _cpu_seconds()
    held = held or {"identity": synth.identity(), "settings": settings, "renders": 0}
    listening = _Listening(synth, path, held, seed, workers, progress)
    try:
        described = listening.run(presets, notes, seconds).with_use(use, fix)
    finally:
        listening.close()
    described.probe["cpu_seconds"] = round(_cpu_seconds() - began, 1)
    write_over(path, described.to_bytes(made=True), listening.file)
    return described


class _Listening:
    """A description in the making; what it has heard so far is in its file."""

    def __init__(
        self,
        synth: Synth,
        path: Path,
        held: dict[str, Any],
        seed: int,
        workers: int | None,
        progress: bool,
    ) -> None:
        self.synth, self.path, self.seed = synth, path, seed
        self.file = read_limited(path, LARGEST_FILE) if path.exists() else None
        self.workers, self.progress = workers, progress
        self._renderer: Renderer | None = None
        self._key = "", 0.0
        self.space, self.held = synth.param_space, held
        self.features = FeatureSpec(sample_rate=SAMPLE_RATE)

    def run(self, presets: Sequence[Preset], notes: Sequence[Note], seconds: float) -> Description:
        """Do what is left to do."""
        held, self.first = self.held, notes[0]
        if "bases" not in held:
            self._choose_bases(presets, notes, seconds)
        bases = np.array(held["bases"])
        self.synth = _with_isolation(self.synth, held["isolation"].get("exact"))
        tests = [probe_values(param) for param in self.space.params]
        moved = np.array(held["moved"], np.bool_) if "moved" in held else None
        if moved is None and len(self.space) >= MANY:
            notes = notes[:1]  # all would take hours
        heard: list[list[Heard]] = []
        total = len(notes) * len(bases)
        with tqdm(total=total, desc="listen", unit="base", disable=unseen(self.progress)) as bar:
            for n, b in np.ndindex(len(notes), len(bases)):
                heard += [[]] if b == 0 else []
                key = f"{n} {b}"
                if key not in held["heard"]:
                    wanted = None if moved is None else still_to_hear(moved, heard)
                    held["heard"][key] = self._listen(bases[b], tests, notes[n], wanted).to_json()
                    self._save()
                heard[n].append(Heard.from_json(held["heard"][key]))
                bar.update()
        if "steps" not in held:
            steps = self._find_steps(bases, heard[0], notes[0]) if moved is None else {}
            held["steps"] = steps  # none are looked for in many controls, which would take hours
            held["limits"] = self._find_limits(bases, tests, heard[0], notes[0])
            self._save()
        usual = preset_array(presets, self.space) if len(presets) else None
        controls = judge(
            self.space, tests, bases, heard, held["steps"], held["limits"], usual, notes,
            held.get("moving"),
        )  # fmt: skip
        probe = {
            "bases": len(bases),
            "from_presets": held["from_presets"],
            "isolation": held["isolation"],
            "noise_db": max(h.noise_db for row in heard for h in row),
            "renders": held["renders"],
            "seed": self.seed,
        }
        synth = self.synth
        return Description(
            synth.name, synth.spec(), synth.identity(), controls, tuple(notes), probe,
            dict(synth.dropped),
        )  # fmt: skip

    def close(self) -> None:
        """End the workers."""
        if self._renderer is not None:
            self._renderer.close()
        self._renderer = None

    def _save(self) -> None:
        self.file = write_unfinished(self.path, self.held, self.file)

    def _render(self, values: Values, note: Note) -> tuple[NDArray[np.float32], NDArray[np.str_]]:
        """Render settings to features and reasons, and count what it took."""
        key = self.synth.isolation, note.duration_seconds
        if self._renderer is None or self._key != key:
            self.close()
            self._key = key
            usual = self.first if self.first.duration_seconds == key[1] else note
            self._renderer = Renderer(
                self.synth, usual, SAMPLE_RATE, workers=self.workers, transform=self.features,
                keep_audio=False, timeout_seconds=5.0,
            )  # fmt: skip
        rendered = self._renderer.render(values, note=note)  # which a synth need not have
        assert rendered.features is not None
        self.held["renders"] += len(values)
        return rendered.features, rendered.reason

    def _choose_bases(
        self, presets: Sequence[Preset], notes: Sequence[Note], seconds: float
    ) -> None:
        """Choose the isolation, and settings that sound and sound unlike each other."""
        rng = np.random.default_rng(self.seed)
        usage = None
        if not presets:
            with suppress(SynthError):  # of a synth without its banks
                presets = self.synth.presets()
        if presets:
            known = preset_array(distinct(presets, self.space), self.space)
            usage = usage_of(self.space, known)
            if usage:
                order = np.array(covering(usage.moved, CANDIDATES))
            else:
                order = rng.permutation(len(known))[:CANDIDATES]
            values = self.space.from_unit(self.space.to_unit(known[order]))
        elif len(self.space) >= MANY:
            values = self.space.defaults[None]  # what is drawn of so many is noise
        else:
            drawn = rng.random((CANDIDATES - 1, len(self.space)))
            values = np.concatenate([self.space.defaults[None], self.space.decode(drawn)])
        self._render(values[: self.workers or n_cores()], notes[0])  # starts them all
        assert self._renderer is not None
        began, before = time.perf_counter(), _worker_seconds(self._renderer)
        x, reason = self._render(values, notes[0])
        waited = (time.perf_counter() - began) * len(self._renderer.workers)
        # Processors tell nothing where workers were replaced, and a busy machine takes longer.
        per_sound = max(_worker_seconds(self._renderer) - before, waited) / len(values)
        loud = np.flatnonzero(reason == "")
        if not len(loud):
            raise SynthError(
                f"of {counted(len(values), 'setting')} of '{self.synth.name}' none gives a sound "
                f"at {notes[0].name} (the first is '{reason[0]}'); check that it is an instrument"
            )
        if usage:
            moved = usage.moved[order[loud]]
            chosen = covering(moved, MOST_BASES)
            self.held["moved"] = moved[chosen].astype(int).tolist()
            self.held["moving"] = usage.share.tolist()
        else:
            rows = sum(len(probe_values(param)) for param in self.space.params) * len(notes)
            wanted = int(np.clip(seconds / (per_sound * rows), *BASES))
            chosen = spread_out(x[loud], wanted)
        self.held["bases"] = values[loud[chosen]].tolist()
        self.held["from_presets"] = bool(presets)
        self.held["isolation"] = {}
        if len(self.synth.isolations) > 1:
            probed = values[np.resize(loud, PROBED)]
            self.held["isolation"] = probe_isolation(
                self.synth, notes, SAMPLE_RATE, probed, self.seed, first_exact=True
            )
        self.held["heard"] = {}
        self._save()

    def _listen(
        self, base: Values, tests: Sequence[Values], note: Note, wanted: NDArray[np.bool_] | None
    ) -> Heard:
        """Compare the sounds of all values of the controls wanted, or of all, with a base's."""
        if wanted is not None:
            if not wanted.any():
                nothing: list[list[Any]] = [[]] * len(tests)
                return Heard(False, 0.0, nothing, nothing, nothing)
            tests = [
                values if want else values[:0] for values, want in zip(tests, wanted, strict=True)
            ]
        sizes = [len(values) for values in tests]
        rows = np.repeat(base[None], sum(sizes), axis=0)
        at = 0
        for control, values in enumerate(tests):
            rows[at : at + len(values), control] = values
            at += len(values)
        # The base itself is rendered here and there among them: its sounds differ by noise.
        places = np.linspace(0, len(rows), REPEATS).astype(int)
        is_base = np.insert(np.zeros(len(rows), bool), places, True)
        all_x, all_reason = self._render(np.insert(rows, places, base, axis=0), note)
        repeats, own = all_x[is_base], all_reason[is_base]
        x, reason = all_x[~is_base], all_reason[~is_base]
        noise = max(_distance(repeats[0], one) for one in repeats[(own == own[0])])
        db, silent, failed = [], [], []
        at = 0
        for size in sizes:
            piece = slice(at, at + size)
            bad = (reason[piece] != "") & (reason[piece] != "silent")
            moved = np.array([_distance(repeats[0], one) for one in x[piece]])
            db.append(np.where(bad, 0.0, moved).round(3).tolist())
            silent.append((reason[piece] == "silent").tolist())
            failed.append(bad.tolist())
            at += size
        return Heard(bool(own[0] == ""), noise, db, silent, failed)

    def _find_steps(
        self, bases: Values, heard: Sequence[Heard], note: Note
    ) -> dict[str, int | None]:
        """Find continuous controls that have few different sounds, evenly spaced."""
        found: dict[str, int | None] = {}
        wanted = [
            i for i, param in enumerate(self.space.params)
            if param.kind == "continuous" and max(max(h.db[i]) for h in heard) > 0
        ]  # fmt: skip
        if not wanted or max(h.noise_db for h in heard) > 0:
            return found  # without exact sounds, plateaus cannot be told from noise
        unit = np.linspace(0, 1, SWEEP)
        rows, order = [], []
        for i in wanted:
            best = np.argsort([-max(h.db[i]) for h in heard], kind="stable")[:2]
            for b in best:
                block = self.space.to_unit(np.repeat(bases[b][None], SWEEP, axis=0))
                block[:, i] = unit
                rows.append(self.space.from_unit(block))
                order.append(i)
        x, reason = self._render(np.concatenate(rows), note)
        same = (x[1:] == x[:-1]).all(axis=(1, 2)) & (reason[1:] == reason[:-1])
        for i in wanted:
            blocks = [k for k, owner in enumerate(order) if owner == i]
            alike = np.all([same[k * SWEEP : (k + 1) * SWEEP - 1] for k in blocks], axis=0)
            found[self.space.names[i]] = even_steps(alike)
        return found

    def _find_limits(
        self, bases: Values, tests: Sequence[Values], heard: Sequence[Heard], note: Note
    ) -> dict[str, list[float]]:
        """Find how far a control goes that fails at an end of its range."""
        limits: dict[str, list[float]] = {}
        for i, param in enumerate(self.space.params):
            loud = [k for k, h in enumerate(heard) if h.loud and h.failed[i]]
            fails = np.mean([heard[k].failed[i] for k in loud] or [[False]], axis=0) > 0.5
            at_low, at_high = fails[0], fails[-1]
            inside = fails[int(at_low) : len(fails) - int(at_high)]
            if not fails.any() or inside.any() or not len(inside):
                continue
            low, high = tests[i][0], tests[i][-1]
            if at_high:
                high = self._last_good(bases[loud[0]], i, tests[i][-2], tests[i][-1], note)
            if at_low:
                low = self._last_good(bases[loud[0]], i, tests[i][1], tests[i][0], note)
            if low < high:
                limits[param.name] = [float(low), float(high)]
        return limits

    def _last_good(self, base: Values, i: int, good: float, bad: float, note: Note) -> float:
        """Return the last of evenly spaced values from a good to a bad one that does not fail."""
        param = self.space.params[i]
        if param.kind == "continuous":
            values = np.linspace(good, bad, 10)[1:-1]
        else:
            step = (param.maximum - param.minimum) / (param.resolution - 1)
            values = np.arange(good, bad, np.sign(bad - good) * step)[1:]
        if not len(values):
            return good
        rows = np.repeat(base[None], len(values), axis=0)
        rows[:, i] = values
        _, reason = self._render(rows, note)
        fine = (reason == "") | (reason == "silent")
        first_bad = len(values) if fine.all() else int(np.argmin(fine))
        return float(values[first_bad - 1]) if first_bad else good


def _with_isolation(synth: Synth, isolation: str | None) -> Synth:
    if isolation is None or isolation == synth.isolation:
        return synth
    return from_spec({**synth.spec(), "isolation": isolation}, synth.told)


def _distance(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Return the RMS difference of two log-mel spectrograms in dB."""
    return round(float(DB * np.sqrt(np.mean((one.astype(np.float64) - other) ** 2))), 3)


def _worker_seconds(renderer: Renderer) -> float:
    """Return the processor time of the workers and of their children, where Linux tells it."""
    ticks = 0
    for worker in renderer.workers:
        with suppress(OSError, ValueError, IndexError):
            stat = Path(f"/proc/{worker.pid}/stat").read_text(encoding="utf-8")
            ticks += sum(map(int, stat.rpartition(")")[2].split()[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _cpu_seconds() -> float:
    """Return the processor time of this process and of its children that have ended."""
    kinds = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    return sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, kinds))
