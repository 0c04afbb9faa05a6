"""Any synth in one command: gather its presets, describe it, render it, learn it, check it.

Everything lies in the folder of the run, what led to it in ``learn`` below it. How much each stage
does follows from the minutes that are left when it begins, and from what the machine was measured
to do; it is written down once, so that a run that was interrupted goes on as it began.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pyrosynth.audio.features import FeatureSpec
from pyrosynth.audio.note import Note
from pyrosynth.cli.demo import MODEL
from pyrosynth.cli.learn_summary import advice_lines, controls_lines, next_lines, score_lines
from pyrosynth.cli.learn_time import least_advice, rendering_rate
from pyrosynth.data.dataset import Dataset, render_dataset
from pyrosynth.data.gathering import (
    DRAWN,
    SAMPLE_RATE,
    Gathered,
    drawn_presets,
    gather,
    read_presets,
)
from pyrosynth.data.labeling import HIDDEN, default_tags
from pyrosynth.errors import InputError, counted, number, reading, reason
from pyrosynth.evaluation.check import check
from pyrosynth.files import OF_SYSTEM, claim, read_json, read_limited, require_same, write_bytes
from pyrosynth.inference.posterior import Posterior
from pyrosynth.modeling import with_recipe
from pyrosynth.synths import from_spec
from pyrosynth.synths.base import Synth
from pyrosynth.synths.description import LEARN, DescribedSynth, Description
from pyrosynth.synths.discovery import describe
from pyrosynth.synths.presets import Preset, preset_array
from pyrosynth.synths.rendering import n_cores
from pyrosynth.training.arguments import new_variant
from pyrosynth.training.fit import fit
from pyrosynth.training.run import FACTS
from pyrosynth.training.svi import checked, find_device
from pyrosynth.training.zoo import load_model

FOLDER = "learn"  # below the run: what led to it
SYNTH, PRESETS, PLAN, RESULT = "synth.json", "presets.json", "plan.json", "result.json"
BANK = "bank"  # copies of presets, of a synth that takes more of them than values
# Shares: of the time, for describing; of what is then left, for rendering; of what is left after
# that, at most for checking. The rest is for fitting.
DESCRIBING, RENDERING, CHECKING = 0.12, 0.25, 0.35
MOST_CHECKED, LEAST_CHECKED = 50, 4  # held-out presets
MOST_STEPS, LEAST_STEPS = 20_000, 20
LARGEST_PRESETS = 2**28  # bytes of a file of presets
SEARCH_SECONDS = 1.0  # of the search for one preset, beside its renders
REPORT_SECONDS = 8.0  # of the report of a check
USUAL = 32  # parameters of a model that is built to see whether it takes its hyper-parameters
TRIAL_STEPS, TRIAL_SHARE = 12, 0.03  # of a fit that is measured: fewest, and of the time left
LEAST_AUGMENTED = 200  # presets
FEW_PRESETS, DRAWN_BESIDE = 40, 200  # with fewer presets, so many are drawn at random
FULL_CHECK, SHORT_CHECK = (64, 256), (16, 32)  # draws and renders for each preset


@dataclass(frozen=True)
class Plan:
    """How much is done.

    Args:
        augmented: Augmented presets.
        batch_size: Presets per step.
        draws: Posterior draws of each preset that the run is checked on.
        budget: Sounds that the search for each may render.
        steps: Steps of the fit; 0 until they have been measured.
        checked: Held-out presets that the run is checked on; 0 until it is known.
    """

    augmented: int
    batch_size: int
    draws: int
    budget: int
    steps: int = 0
    checked: int = 0


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
    began = time.monotonic()
    seconds = 60 * number("minutes", minutes, 1e-3, 1e5)
    note = note or Note()
    Description.asked_use(synth.param_space, use, fix)
    kind = load_model(model)  # what is wrong is said before minutes of work
    space, shape = synth.param_space, FeatureSpec().shape(note.n_samples(SAMPLE_RATE))
    usual = replace(space, params=space.params[:USUAL], selections={})
    new_variant(kind, with_recipe(kind, options or {})[0], usual, shape)
    find_device(device)
    if threads is not None:
        checked("threads", threads)
    folder, contents = Path(out), [_content(Path(file)) for file in files]
    with claim(folder, "fit"):  # the folder of a run, into which `fit` writes below
        if (folder / FACTS).exists() and not (folder / FOLDER).exists():
            raise InputError(
                f"'{folder}' holds a run that `pyrosynth fit` has made; give another --out"
            )
    with claim(folder / FOLDER, "learn") as work:
        made = {
            "synth": synth.identity(), "files": contents,
            "minutes": minutes, "model": model, "options": dict(options or {}),
            "use": list(use), "fix": list(fix), "note": note.to_json(), "seed": seed,
        }  # fmt: skip
        require_same(work, made)
        if (work / RESULT).exists():
            with reading(InputError, f"'{work / RESULT}' is damaged", "delete it"):
                held = read_json(work / RESULT)
                return _told({**held, "lines": list(map(str, held["lines"]))}, folder, say)
        synth = synth.with_files([Path(file) for file in files], work / BANK)
        job = _Job(synth, folder, work, seconds, note, seed, workers, say, began)
        described, presets = job.describe(files, use, fix)
        data, plan = job.render(described, presets)
        plan = job.fit(data, plan, described, presets, model, dict(options or {}), device, threads)
        result = job.check(data, plan, described, device)
        write_bytes(work / RESULT, (json.dumps(result, indent=1) + "\n").encode())
        return _told(result, folder, say)


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
    began: float

    def describe(
        self, files: Sequence[str | Path], use: Sequence[str], fix: Sequence[str]
    ) -> tuple[DescribedSynth, list[Preset]]:
        """Gather presets, describe the synth, and draw presets where there are few."""
        file = self.work / PRESETS
        if not file.exists():
            self.say(f"1/5 gather presets of {self.synth.name}")
            # Strict: who names a file wants it learnt, and mends it sooner than after the fit.
            gathered = gather(self.synth, files, workers=self.workers)
            for path, reason in gathered.skipped.items():
                self.say(f"  left out {path}: {reason}")
            for reason in gathered.failed:
                self.say(f"  left out: {reason}")
            for source, n in gathered.sources.items():
                self.say(f"  {counted(n, 'preset')} {source}")
            n_silent = int(gathered.silent.sum())
            n = len(gathered.presets)
            self.say(f"  {counted(n, 'distinct preset')}, {n_silent} of them without a sound")
            if gathered.crashed:
                self.say(f"  {gathered.crashes()}")
            people = gathered.loud
        else:
            people = None
        if isinstance(self.synth, DescribedSynth):
            described = self.synth.description.with_use(use, fix)
            described.save(self.work / SYNTH)
        else:
            self.say(f"2/5 describe {self.synth.name} by listening")
            few = len(people or ()) < FEW_PRESETS
            n = (DRAWN_BESIDE if few else 0) + LEAST_AUGMENTED + LEAST_CHECKED * sum(SHORT_CHECK)
            if line := least_advice(self.synth, self.note, n, self.seconds, self.workers):
                self.say(line)
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
            self.say(f"  few presets ({len(people)}): {n} are drawn at random beside them")
            people += drawn_presets(synth, n, self.seed, workers=self.workers)
        _save_presets(file, synth, people)
        return synth, read_presets(synth, file)

    def render(self, synth: DescribedSynth, presets: list[Preset]) -> tuple[Dataset, Plan]:
        """Plan how much is done, and render the dataset."""
        plan = self._plan() or self._planned(synth, presets)
        n = len(synth.param_space.select(LEARN))
        self.say(
            f"3/5 render {counted(len(presets), 'preset')} and {plan.augmented} augmented ones, "
            f"{counted(n, 'control')} learnt"
        )
        data = render_dataset(
            synth, self.work / "data", presets=presets, augmented=plan.augmented,
            note=self.note, seed=self.seed, workers=self.workers,
        )  # fmt: skip
        return data, plan

    def _plan(self) -> Plan | None:
        """Read the plan of an earlier call."""
        file = self.work / PLAN
        if not file.exists():
            return None
        with reading(InputError, f"'{file}' is damaged", "delete it"):
            return Plan(**read_json(file))

    def _planned(self, synth: Synth, presets: Sequence[Preset]) -> Plan:
        """Plan the dataset, by how fast the synth renders."""
        left, rate = self._left(), self._rate(synth, presets)
        n_sounds = int(RENDERING * left * rate)
        augmented = int(np.clip(n_sounds - len(presets), LEAST_AUGMENTED, 60_000))
        batch_size = int(2 ** np.floor(np.log2(np.clip((augmented + len(presets)) / 16, 32, 256))))
        per_preset = sum(FULL_CHECK) / rate + SEARCH_SECONDS
        full = LEAST_CHECKED * per_preset < CHECKING * left
        return self._keep(Plan(augmented, batch_size, *(FULL_CHECK if full else SHORT_CHECK)))

    def _rate(self, synth: Synth, presets: Sequence[Preset]) -> float:
        """Measure how many sounds are rendered in a second."""
        n = int(np.clip(self.seconds / 4, 16, 128))
        return rendering_rate(
            synth, preset_array(presets, synth.param_space), self.note, n, self.workers
        )

    def _left(self) -> float:
        """Return how many seconds are left."""
        return self.began + self.seconds - time.monotonic()

    def _keep(self, plan: Plan) -> Plan:
        write_bytes(self.work / PLAN, (json.dumps(asdict(plan), indent=1) + "\n").encode())
        return plan

    def fit(
        self,
        data: Dataset,
        plan: Plan,
        synth: Synth,
        presets: Sequence[Preset],
        model: str,
        options: dict[str, Any],
        device: str,
        threads: int | None,
    ) -> Plan:
        """Fit the model, for as many steps as the time allows."""
        tags = None
        if load_model(model).uses_tags:  # made once, for all the fits that follow
            tags = default_tags(data, progress=False)
            self.say(f"  tags are made from how the presets sound, {HIDDEN:.0%} of them hidden")
        common: dict[str, Any] = {
            "options": options, "seed": self.seed, "device": device, "threads": threads,
            "batch_size": plan.batch_size, "tags": tags,
        }  # fmt: skip
        if not plan.steps:
            rate = self._rate(synth, presets)
            per_preset = (plan.draws + plan.budget) / rate + SEARCH_SECONDS
            n_most = min(MOST_CHECKED, len(data.rows("test", human_only=True)))
            n_checked = self._affordable(per_preset, CHECKING, n_most)
            steps, beside = TRIAL_STEPS, 0.0
            for _ in range(2):  # the first is short, and loads what every fit needs
                began = time.monotonic()
                trial = fit(model, data, steps=steps, progress=False, **common).training
                beside = time.monotonic() - began - trial.seconds
                per_step = max(1e-3, trial.seconds / steps)
                steps = int(np.clip(TRIAL_SHARE * self._left() / per_step, TRIAL_STEPS, 1000))
            left = self._left() - beside - REPORT_SECONDS - n_checked * per_preset
            steps = int(np.clip(left / per_step, LEAST_STEPS, MOST_STEPS))
            plan = self._keep(replace(plan, steps=steps))
        n = len(data.rows("train"))
        self.say(
            f"4/5 fit {model} to {counted(n, 'sound')}, {counted(plan.steps, 'step')} of "
            f"{counted(plan.batch_size, 'preset')}"
        )
        fit(
            model, data, self.folder, steps=plan.steps, warm_up=min(200, plan.steps // 5),
            validate_every=max(10, plan.steps // 12), **common,
        )  # fmt: skip
        if not plan.checked:
            per_preset = (plan.draws + plan.budget) / self._rate(synth, presets)
            plan = self._keep(
                replace(plan, checked=self._affordable(per_preset + SEARCH_SECONDS, 1.0))
            )
        return plan

    def _affordable(self, per_preset: float, share: float, most: int = MOST_CHECKED) -> int:
        """Return how many presets are checked in a share of the time that is left."""
        n = (share * self._left() - REPORT_SECONDS) / per_preset
        return int(np.clip(n, LEAST_CHECKED, max(LEAST_CHECKED, most)))

    def check(
        self, data: Dataset, plan: Plan, synth: DescribedSynth, device: str
    ) -> dict[str, Any]:
        """Check the run, and return what came of it, which is kept wherever the run goes."""
        posterior = Posterior.load(self.folder, device)
        self.say(f"5/5 check it on up to {counted(plan.checked, 'preset')} it has not seen")
        summary = check(
            posterior, data, self.work / "check", n_presets=plan.checked, draws=plan.draws,
            budget=plan.budget, baselines="few", seed=self.seed, workers=self.workers,
        ).summary  # fmt: skip
        drawn = float(np.mean(np.array(data.banks(data.rows("all", human_only=True))) == DRAWN))
        controls = synth.description.controls
        lines = [
            *score_lines(summary),
            *controls_lines(synth.description),
            *advice_lines(synth, summary, drawn, self.seconds / 60),
        ]
        return {
            "synth": synth.name,
            "plan": asdict(plan),
            "presets": len(data.rows("all", human_only=True)),
            "drawn": drawn,
            "methods": summary["methods"],
            "learnt": [c.param.name for c in controls if c.use == LEARN],
            "left_out": {c.param.name: c.why for c in controls if c.use != LEARN},
            "lines": lines,
        }


def _told(result: dict[str, Any], folder: Path, say: Callable[[str], object]) -> dict[str, Any]:
    """Say what came of it, and what to do next where the run is now."""
    lines = [*result["lines"], *next_lines(folder, folder / FOLDER / SYNTH)]
    for line in lines:
        say(line)
    return {"run": str(folder), **result, "lines": lines}


def _described(synth: Synth, description: Description) -> DescribedSynth:
    """Return the synth with its description's controls and isolation."""
    inner = synth.synth if isinstance(synth, DescribedSynth) else from_spec(description.spec)
    return DescribedSynth(inner, description)


def _save_presets(file: Path, synth: Synth, presets: Sequence[Preset]) -> None:
    Gathered(list(presets), np.zeros(len(presets), bool), {}, {}).save(file, synth.name)


def _content(path: Path) -> str:
    """Return a hash of a file of presets, or of the files in a folder of them."""
    digest = hashlib.sha256()
    inside = os.path.isdir(path)
    try:
        for file in sorted(filter(os.path.isfile, path.rglob("*"))) if inside else [path]:
            if inside and OF_SYSTEM.fullmatch(file.name):
                continue
            with suppress(*[PermissionError] if inside else []):  # it is left out, and named
                digest.update(read_limited(file, LARGEST_PRESETS))
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot read the presets in '{path}' ({reason(error)}); give a file or folder of them"
        ) from error
    return digest.hexdigest()
