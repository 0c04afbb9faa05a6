"""Any synth in one command: gather its presets, describe it, render it, learn it, check it.

Everything lies in the folder of the run, what led to it in ``learn`` below it. How much is done
follows from the minutes that are given and from what the machine was measured to do; it is
written down once, so that a run that was interrupted goes on as it began.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pyrosynth.audio.io import Note
from pyrosynth.cli.demo import MODEL
from pyrosynth.data.dataset import Dataset, render_dataset
from pyrosynth.data.gathering import (
    DRAWN,
    SAMPLE_RATE,
    Gathered,
    drawn_presets,
    gather,
    read_presets,
)
from pyrosynth.errors import InputError, number
from pyrosynth.evaluation.check import check
from pyrosynth.evaluation.scores import REFERENCE
from pyrosynth.files import claim, require_same, write_bytes
from pyrosynth.inference.posterior import Posterior
from pyrosynth.synths import from_spec
from pyrosynth.synths.base import Synth
from pyrosynth.synths.description import LEARN, DescribedSynth, Description
from pyrosynth.synths.discovery import describe
from pyrosynth.synths.presets import Preset, preset_array
from pyrosynth.synths.rendering import Renderer, n_cores
from pyrosynth.training.fit import fit

FOLDER = "learn"  # below the run: what led to it
SYNTH, PRESETS, PLAN, RESULT = "synth.json", "presets.json", "plan.json", "result.json"
# Shares of the time; the rest is reserve.
DESCRIBING, RENDERING, FITTING, CHECKING = 0.12, 0.2, 0.4, 0.18
FEW_PRESETS, DRAWN_BESIDE = 40, 200  # with fewer presets, so many are drawn at random
FULL_MINUTES = 3.0  # from here on a search renders as much as `pyrosynth infer` does
LEFT_OUT = 8  # names of controls in a line
MEASURED_STEPS = 12  # by which the time of a step is measured, a validation included
GOOD = 0.9  # share of presets on which a good run is nearer than retrieval


@dataclass(frozen=True)
class Plan:
    """How much is done.

    Args:
        augmented: Augmented presets.
        steps: Steps of the fit; 0 until they have been measured.
        batch_size: Presets per step.
        checked: Held-out presets that the run is checked on.
        draws: Posterior draws of each.
        budget: Sounds that the search for each may render.
    """

    augmented: int
    batch_size: int
    checked: int
    draws: int
    budget: int
    steps: int = 0


def learn(
    synth: Synth,
    out: str | Path,
    files: Sequence[str | Path] = (),
    *,
    minutes: float = 15.0,
    model: str = MODEL,
    options: Mapping[str, Any] | None = None,
    use: Sequence[str] = (),
    fix: Sequence[str] = (),
    note: Note | None = None,
    seed: int = 0,
    device: str = "cpu",
    threads: int | None = None,
    workers: int | None = None,
    say: Callable[[str], object] = print,
) -> dict[str, Any]:
    """Learn a synth, or go on learning it.

    Args:
        synth: The synth, described or not.
        out: Folder of the run.
        files: Files or folders of presets, beside those of the synth itself.
        minutes: About how long it may take on this machine.
        model: The variant to fit.
        options: Hyper-parameters of the variant.
        use: Controls to learn, whatever is heard of them.
        fix: Controls to leave at their defaults.
        note: The note to learn.
        seed: Of everything random.
        device: ``"cpu"`` or ``"cuda"``.
        threads: Torch threads of the fit.
        workers: Processes that render; all cores if left out.
        say: Called with each line for the user.

    Returns:
        What came of it, JSON-ready; ``lines`` are those said at the end.

    Raises:
        InputError: ``out`` holds something else or was made with other arguments, or a file holds
            no presets.
        SynthError: The synth gives no sound.
        DataError: There are too few different sounds.
    """
    seconds = 60 * number("minutes", minutes, 1e-3, 1e5)
    folder = Path(out)
    with claim(folder, "fit"):
        pass  # the folder of a run, into which `fit` writes below
    with claim(folder / FOLDER, "learn") as work:
        made = {
            "synth": synth.identity(), "files": [_content(Path(file)) for file in files],
            "minutes": minutes, "model": model, "options": dict(options or {}),
            "use": list(use), "fix": list(fix), "note": (note or Note()).to_json(), "seed": seed,
        }  # fmt: skip
        require_same(work, made)
        if (work / RESULT).exists():
            held: dict[str, Any] = json.loads((work / RESULT).read_text(encoding="utf-8"))
            for line in held["lines"]:
                say(line)
            return held
        job = _Job(synth, folder, work, seconds, note or Note(), seed, workers, say)
        described, presets = job.describe(files, use, fix)
        data, plan = job.render(described, presets)
        plan = job.fit(data, plan, model, dict(options or {}), device, threads)
        result = job.check(data, plan, described, device)
        write_bytes(work / RESULT, (json.dumps(result, indent=1) + "\n").encode())
        return result


@dataclass
class _Job:
    """The stages; each uses what an earlier call has left."""

    synth: Synth
    folder: Path
    work: Path
    seconds: float
    note: Note
    seed: int
    workers: int | None
    say: Callable[[str], object]

    def describe(
        self, files: Sequence[str | Path], use: Sequence[str], fix: Sequence[str]
    ) -> tuple[DescribedSynth, list[Preset]]:
        """Gather presets, describe the synth, and draw presets where there are few."""
        file = self.work / PRESETS
        if not file.exists():
            self.say(f"1/5 gather presets of {self.synth.name}")
            gathered = gather(self.synth, files, workers=self.workers)
            for path, reason in gathered.skipped.items():
                self.say(f"  left out {path}: {reason}")
            for source, n in gathered.sources.items():
                self.say(f"  {n} presets {source}")
            n_silent = int(gathered.silent.sum())
            n = len(gathered.presets)
            self.say(f"  {n} distinct presets, {n_silent} of them silent")
            people = gathered.loud
        else:
            people = None
        if isinstance(self.synth, DescribedSynth):
            described = self.synth.description.with_use(use, fix)
            described.save(self.work / SYNTH)
        else:
            self.say(f"2/5 describe {self.synth.name} by listening")
            described = describe(
                self.synth, self.work / SYNTH, presets=people or (), use=use, fix=fix,
                seconds=DESCRIBING * self.seconds * (self.workers or n_cores()),
                workers=self.workers, seed=self.seed,
            )  # fmt: skip
        synth = _described(self.synth, described)
        if people is None:
            return synth, read_presets(synth, file)
        if len(people) < FEW_PRESETS:
            n = DRAWN_BESIDE - len(people)
            self.say(f"  {len(people)} presets are few: {n} are drawn at random beside them")
            people += drawn_presets(synth, n, self.seed, workers=self.workers)
        _save_presets(file, synth, people)
        return synth, read_presets(synth, file)

    def render(self, synth: DescribedSynth, presets: list[Preset]) -> tuple[Dataset, Plan]:
        """Plan how much is done, and render the dataset."""
        plan = self._plan() or self._planned(synth, presets)
        n = len(synth.param_space.select(LEARN))
        self.say(
            f"3/5 render {len(presets)} presets and {plan.augmented} augmented ones, "
            f"{n} controls learnt"
        )
        data = render_dataset(
            synth, self.work / "data", presets=presets, augmented=plan.augmented,
            note=self.note, seed=self.seed, workers=self.workers,
        )  # fmt: skip
        return data, plan

    def _plan(self) -> Plan | None:
        """Read the plan of an earlier call."""
        file = self.work / PLAN
        return Plan(**json.loads(file.read_text(encoding="utf-8"))) if file.exists() else None

    def _planned(self, synth: Synth, presets: Sequence[Preset]) -> Plan:
        """Measure how fast the synth renders, and plan by that."""
        values = preset_array(presets, synth.param_space)
        with Renderer(
            synth, self.note, SAMPLE_RATE, workers=self.workers, keep_audio=False
        ) as renderer:
            renderer.render(np.resize(values, (16, values.shape[1])))  # until all have started
            n = int(np.clip(self.seconds / 4, 16, 128))
            began = time.monotonic()
            renderer.render(np.resize(values, (n, values.shape[1])))
        rate = n / (time.monotonic() - began)
        n_sounds = int(RENDERING * self.seconds * rate)
        full = self.seconds >= 60 * FULL_MINUTES
        draws, budget = (64, 256) if full else (16, 32)
        per_check = (draws + budget) / rate + 1.0
        augmented = int(np.clip(n_sounds - len(presets), 200, 60_000))
        batch_size = int(2 ** np.floor(np.log2(np.clip((augmented + len(presets)) / 16, 32, 256))))
        checked = int(np.clip(CHECKING * self.seconds / per_check, 4, 50))
        return self._keep(Plan(augmented, batch_size, checked, draws, budget))

    def _keep(self, plan: Plan) -> Plan:
        write_bytes(self.work / PLAN, (json.dumps(asdict(plan), indent=1) + "\n").encode())
        return plan

    def fit(
        self,
        data: Dataset,
        plan: Plan,
        model: str,
        options: dict[str, Any],
        device: str,
        threads: int | None,
    ) -> Plan:
        """Fit the model, for as many steps as the time allows."""
        common: dict[str, Any] = {
            "options": options, "seed": self.seed, "device": device, "threads": threads,
            "batch_size": plan.batch_size,
        }  # fmt: skip
        if not plan.steps:
            trial = fit(model, data, steps=MEASURED_STEPS, progress=False, **common)
            per_step = max(1e-3, trial.training.seconds / MEASURED_STEPS)
            steps = int(np.clip(FITTING * self.seconds / per_step, 20, 20_000))
            plan = self._keep(Plan(**{**asdict(plan), "steps": steps}))
        n = len(data.rows("train"))
        self.say(f"4/5 fit {model} to {n} sounds, {plan.steps} steps of {plan.batch_size} presets")
        fit(
            model, data, self.folder, steps=plan.steps, warm_up=min(200, plan.steps // 5),
            validate_every=max(10, plan.steps // 12), **common,
        )  # fmt: skip
        return plan

    def check(
        self, data: Dataset, plan: Plan, synth: DescribedSynth, device: str
    ) -> dict[str, Any]:
        """Check the run, and say what came of it."""
        posterior = Posterior.load(self.folder, device)
        self.say(f"5/5 check it on up to {plan.checked} presets it has not seen")
        summary = check(
            posterior, data, self.work / "check", n_presets=plan.checked, draws=plan.draws,
            budget=plan.budget, baselines="few", seed=self.seed, workers=self.workers,
        ).summary  # fmt: skip
        drawn = float(np.mean(np.array(data.banks(data.rows("all", human_only=True))) == DRAWN))
        controls = synth.description.controls
        lines = [
            *_scores(summary),
            *controls_lines(synth.description),
            *_next(self.folder, synth, summary, drawn, self.seconds / 60),
        ]
        for line in lines:
            self.say(line)
        return {
            "run": str(self.folder),
            "synth": synth.name,
            "plan": asdict(plan),
            "presets": len(data.rows("all", human_only=True)),
            "drawn": drawn,
            "methods": summary["methods"],
            "learnt": [c.param.name for c in controls if c.use == LEARN],
            "left_out": {c.param.name: c.why for c in controls if c.use != LEARN},
            "lines": lines,
        }


def _described(synth: Synth, description: Description) -> DescribedSynth:
    """Return the synth with its description's controls and isolation."""
    inner = synth.synth if isinstance(synth, DescribedSynth) else from_spec(description.spec)
    return DescribedSynth(inner, description)


def _save_presets(file: Path, synth: Synth, presets: Sequence[Preset]) -> None:
    Gathered(list(presets), np.zeros(len(presets), bool), {}, {}).save(file, synth.name)


def _content(path: Path) -> str:
    """Return a hash of a file of presets, or of the files in a folder of them."""
    digest = hashlib.sha256()
    try:
        for file in sorted(f for f in path.rglob("*") if f.is_file()) if path.is_dir() else [path]:
            digest.update(file.read_bytes())
    except OSError as error:
        raise InputError(f"cannot read the presets in '{path}': {error.strerror}") from error
    return digest.hexdigest()


def controls_lines(description: Description) -> list[str]:
    """Say which controls are learnt, and which are left out and why, in lines."""
    left_out: dict[str, list[str]] = {}
    for control in description.controls:
        if control.use != LEARN:
            left_out.setdefault(control.why, []).append(control.param.name)
    n = sum(control.use == LEARN for control in description.controls)
    lines = [f"{n} of {len(description.controls)} controls are learnt"]
    for why, names in left_out.items():
        shown = ", ".join(names[:LEFT_OUT]) + (", …" if len(names) > LEFT_OUT else "")
        lines.append(f"  left out, {why}: {len(names)} ({shown})")
    for name, why in description.dropped.items():
        lines.append(f"  no control of the sound, {why}: {name}")
    learnt = (control for control in description.controls if control.use == LEARN)
    untold = [control.param.name for control in learnt if "does not tell" in control.why]
    if untold:
        lines.append(f"  one note does not tell, so they are guessed: {', '.join(untold)}")
    return lines


def _scores(summary: Mapping[str, Any]) -> list[str]:
    """Say how good the run is against retrieval."""
    rows = summary["methods"]
    reference = next(row for row in rows if row["method"] == REFERENCE)
    ours = [row for row in rows if row["method"] == summary["variant"]]
    best = next((row for row in ours if row["answer"].startswith("infer")), ours[-1])
    return [
        f"mean distance on {summary['presets']} held-out presets: {best['answer']} "
        f"{best['lsd_mean']:.2f} dB, nearest known preset (retrieval) "
        f"{reference['lsd_mean']:.2f} dB; nearer than retrieval on {100 * best['wins']:.0f} %"
    ]


def _next(
    folder: Path, synth: Synth, summary: Mapping[str, Any], drawn: float, minutes: float
) -> list[str]:
    """Say what to do next."""
    rows = [row for row in summary["methods"] if row["method"] == summary["variant"]]
    best = next((row for row in rows if row["answer"].startswith("infer")), rows[-1])
    lines = []
    if drawn > 0.5:
        lines.append(
            f"most presets were drawn at random, for want of presets: files of presets of "
            f"{synth.name} would teach the sounds that people make"
        )
    if best["wins"] < GOOD:
        lines.append(f"to learn better: another --out, and --minutes {3 * minutes:g}")
    lines += [
        f"to learn other controls: edit {folder / FOLDER / SYNTH} and learn that file, or --use "
        "and --fix names",
        f"next: pyrosynth infer {folder} SOUND.wav --out found",
    ]
    return lines
