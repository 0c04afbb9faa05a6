"""What follows from what was heard of a control: whether it is learnt, and its type and range."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyrosynth.audio.note import Note
from pyrosynth.errors import SynthError, counted
from pyrosynth.synths.description import LEARN, DescribedControl, Use
from pyrosynth.synths.params import Param, ParamSpace

AUDIBLE_DB = 0.1  # less is not heard, nor is less than NOISE_FACTOR times the noise floor
NOISE_FACTOR = 3.0
SILENT_VALUES, SILENT_BASES = 0.9, 0.8  # shares from which on a control silences the synth
FAILING_BASES = 0.5  # share of the bases from which on a value counts as failing
# Controls of the set-up rather than of the sound, by their names. A hint only: one that presets
# move is learnt.
HOUSEKEEPING = re.compile(
    r"\b(midi|channel|polyphony|voices|bpm|tempo|mpe|oversampl\w*|master tun\w*)\b", re.IGNORECASE
)

VALUES, MOST_LEVELS = 4, 6  # values of a control; levels of one that has no more
SWEEP = 33  # values among which steps are looked for
MOST_STEPS = 16  # different sounds in a sweep that make a control stepped

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Heard:
    """What was heard of all controls with one base and one note.

    Attributes:
        loud: Whether the base itself has a sound with the note.
        noise_db: Distance between two sounds of the base.
        db: Distance from the base of each value of each control.
        silent: Which values were silent.
        failed: Which crashed, hung, or gave no finite sound.
    """

    loud: bool
    noise_db: float
    db: list[list[float]]
    silent: list[list[bool]]
    failed: list[list[bool]]

    def to_json(self) -> dict[str, Any]:
        """Return it JSON-ready."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Heard":
        """Read `to_json`'s dictionary."""
        return cls(**data)


def probe_values(param: Param) -> Values:
    """Return the values at which a control is listened to, in ascending order."""
    if param.kind != "continuous" and param.resolution <= MOST_LEVELS:
        unit = np.linspace(0, 1, param.resolution)
    else:
        unit = np.linspace(0, 1, VALUES if param.kind == "continuous" else MOST_LEVELS)
    return np.unique(ParamSpace((param,)).from_unit(unit[:, None])[:, 0])


def even_steps(alike: NDArray[np.bool_]) -> int | None:
    """Return the number of steps of a control by which neighbours in a sweep are identical.

    Args:
        alike: Whether each value of the sweep sounds like the one before, shape (SWEEP - 1,).

    Returns:
        The number, or None if there are many sounds, or evenly spaced values miss one of them.
    """
    plateau = np.concatenate([[0], np.cumsum(~alike)])
    n = int(plateau[-1]) + 1
    if not 2 <= n <= MOST_STEPS:
        return None
    nearest = np.round(np.linspace(0, SWEEP - 1, n)).astype(int)
    return n if len(set(plateau[nearest].tolist())) == n else None


def judge(
    space: ParamSpace,
    tests: Sequence[Values],
    bases: Values,
    heard: Sequence[Sequence[Heard]],
    steps: Mapping[str, int | None],
    limits: Mapping[str, Sequence[float]],
    usual: Values | None,
    notes: Sequence[Note],
    moving: Sequence[float] | None = None,
) -> tuple[DescribedControl, ...]:
    """Decide of each control what it is, and whether it is learnt.

    Args:
        space: The controls.
        tests: Values that each was set to.
        bases: Settings it was changed in, shape (n_bases, n_params).
        heard: What was heard, by note and base.
        steps: Numbers of steps that were found in continuous controls.
        limits: Ranges of controls that fail at an end.
        usual: Values of presets, shape (n_presets, n_params); None without presets.
        notes: The notes.
        moving: Share of the presets that move each control, where those that
            hardly any preset moves were not listened to; None where all were.

    Raises:
        SynthError: No control is left to be learnt.
    """
    noise = max(h.noise_db for row in heard for h in row)
    threshold = max(AUDIBLE_DB, NOISE_FACTOR * noise)
    controls = []
    for i, param in enumerate(space.params):
        listened = [[h for h in row if h.db[i]] for row in heard]
        db = tuple(max(max(h.db[i]) for h in row) for row in listened if row)
        others = [tests[i] != base[i] for base in bases]
        silent = [
            float(np.mean(np.array(h.silent[i])[other])) if other.any() else 0.0
            for h, other in zip(heard[0], others, strict=True)
            if h.loud and h.db[i]
        ]
        failed = int(sum(sum(h.failed[i]) for row in heard for h in row))
        moved = usual is not None and bool(np.ptp(usual[:, i]) > 0)
        described = replace(param, **_shape(param, steps.get(param.name)))
        use: Use = LEARN
        why = _why_audible(db, threshold, notes)
        fails = np.mean([h.failed[i] for h in listened[0]] or [[False]], axis=0) > FAILING_BASES
        if fails.any() and param.name in limits:
            described = _clipped(described, *limits[param.name])
            why = f"kept from values that break the sound; {why}"
        elif fails.any():
            use, why = "fix", "the synth crashes, hangs or gives no finite sound at some values"
        if np.mean(np.array(silent or [0.0]) > SILENT_VALUES) > SILENT_BASES:
            use, why = "fix", "other values silence the synth"
        elif use == LEARN and not db:
            use, why = "fix", _why_not_listened(moving, i)
        elif use == LEARN and max(db) < threshold:
            where = f"{counted(len(listened[0]), 'setting')} and {counted(len(db), 'note')}"
            where += f" of {max(note.duration_seconds for note in notes):g} s"
            but = ", but some values crash the synth or give no finite sound" if failed else ""
            use, why = "fix", f"not heard in {where}{but}"
        elif use == LEARN and not moved and HOUSEKEEPING.search(param.name):
            use, why = "fix", "by its name it belongs to the set-up, and no preset moves it"
        elif use == LEARN and described.resolution != param.resolution and not fails.any():
            why = f"{described.resolution} different sounds; {why}"
        if use == "fix":
            described = replace(described, default=_at(described, bases[:, i], why))
        controls.append(
            DescribedControl(
                described, use, why, db, round(float(np.mean(silent or [0.0])), 3), failed
            )
        )
    if not any(control.use == LEARN for control in controls):
        raise SynthError(
            f"of {counted(len(controls), 'control')} none is heard and safe; the synth may need "
            "another note or presets, give some"
        )
    return tuple(controls)


def _why_audible(db: Sequence[float], threshold: float, notes: Sequence[Note]) -> str:
    """Say at which notes a control is heard."""
    heard = [f"{notes[n].name} at velocity {notes[n].velocity}" for n, d in enumerate(db)
             if d >= threshold]  # fmt: skip
    if not heard or db[0] >= threshold:
        return f"heard, up to {max(db, default=0.0):.1f} dB"
    return f"heard with {', '.join(heard)} only: one {notes[0].name} does not tell it"


def _why_not_listened(moving: Sequence[float] | None, i: int) -> str:
    """Say whether presets move a control."""
    return "few presets move it" if moving is not None and moving[i] else "no preset moves it"


def _shape(param: Param, steps: int | None) -> dict[str, Any]:
    """Return kind and resolution of a control that was found to have steps."""
    if steps is None:
        return {}
    unit = (param.default - param.minimum) / (param.maximum - param.minimum)
    level = round(unit * (steps - 1)) / (steps - 1)
    default = param.minimum + level * (param.maximum - param.minimum)
    kind = "toggle" if steps == 2 else "stepped"
    return {"kind": kind, "resolution": steps, "default": default, "curve": "linear"}


def _clipped(param: Param, low: float, high: float) -> Param:
    """Return a control with a smaller range."""
    default = min(max(param.default, low), high)
    if param.kind == "continuous":
        return replace(param, minimum=low, maximum=high, default=default)
    step = (param.maximum - param.minimum) / (param.resolution - 1)
    first, last = (round((value - param.minimum) / step) for value in (low, high))
    n = last - first + 1
    kind = "toggle" if n == 2 and not param.labels else param.kind
    kind = "stepped" if kind == "toggle" and n != 2 else kind
    return replace(
        param, kind=kind, minimum=low, maximum=high, default=default, resolution=n,
        labels=param.labels[first : last + 1],
    )  # fmt: skip


def _at(param: Param, values: Values, why: str) -> float:
    """Return where a control that is not learnt stays: its default, if that is known to sound."""
    if why.startswith("not heard") or why.startswith("by its name"):
        return param.default
    found, counts = np.unique(values, return_counts=True)
    usual = float(found[counts.argmax()])
    return min(max(usual, param.minimum), param.maximum)
