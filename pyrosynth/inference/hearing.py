"""How a run hears a sound of any pitch: as it is, brought to the run's note, or both ways.

One rule for the command line, Python and the page. A sound whose pitch is sure and is another one
than that of the run's note is brought to that note; one without a pitch, or at that note, is taken
as it is. Where the preset rather than the key may be the reason, as of an unsure pitch, one whole
octaves away or an early end, both ways are tried, and the one that is met better is kept.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from pyrosynth.audio.background import fit_length, measure_background
from pyrosynth.audio.coverage import channel_advice, coverage_advice, rate_advice, scale_advice
from pyrosynth.audio.features import FeatureSpec
from pyrosynth.audio.io import Audio, load_heard
from pyrosynth.audio.metrics import log_distance
from pyrosynth.audio.note import Note
from pyrosynth.audio.pitch import pitch
from pyrosynth.audio.pitch_tracking import OutsideError
from pyrosynth.audio.tuning import TunedSound
from pyrosynth.errors import InputError, SynthError, checked_seed, integer, require_type
from pyrosynth.inference.answers import Match
from pyrosynth.inference.pool import NO_FARTHER_DB, Pool
from pyrosynth.inference.search import Search, require_report
from pyrosynth.synths.rendering import Renderer, RenderResult
from pyrosynth.training.torch_modes import plain_torch

if TYPE_CHECKING:
    from pyrosynth.inference.posterior import Posterior

OFF_PITCH = 0.6  # semitones from the note of the run, from which a sound is at another pitch
OCTAVE = 12  # semitones
PITCHED = 0.6  # share of a sound's frames that must have a pitch, for it to be at the run's note
SHORTER = 0.75  # of the hold of the run's note, before which a sound may have been let go
FADED = 100  # part of its peak that a sound has sunk to when it is over
BEFORE_SECONDS = 0.1  # by which a note may begin after what is heard first, as by its breath
OUTSIDE = "no pitch from C1 to B6 is told (another, or a chord?): the preset has one of its own"
TRIED = 2  # draws that each of two ways to take a sound is tried with, besides a known preset
LEAST_TRIED = 32  # renders of a search for which there are as many


@dataclass(frozen=True, eq=False)
class Hearing:
    """A sound as a run reads it.

    Attributes:
        audio: The sound at the length of the run's note, and at its usual loudness, shape
            (n_samples,).
        tuned: How it was brought to the run's note; None if it was taken as it is.
        says: What to tell of it, a sentence; empty if there is nothing to tell.
        pitch: Where a preset must sound when the key of the run's note is pressed, a MIDI number;
            None if the sound has no pitch that is sure.
        coverage: A sentence if much of the recording is not used or heard, see
            `pyrosynth.audio.coverage`.
    """

    audio: Audio
    tuned: TunedSound | None = None
    says: str = ""
    pitch: float | None = None
    coverage: str = ""

    @property
    def play(self) -> dict[str, Any] | None:
        """The note that plays what was heard, see `TunedSound.to_json`."""
        return None if self.tuned is None else self.tuned.to_json()

    def key(self, note: Note) -> Note:
        """Return the note that a preset is played at, of the length of a run's own note."""
        if self.tuned is None:
            return note
        heard = self.tuned.note
        hold = min(heard.hold_seconds, note.duration_seconds)
        return replace(note, pitch=heard.pitch, hold_seconds=hold)


def hear(posterior: "Posterior", path: str | Path, *, own_level: bool = False) -> list[Hearing]:
    """Read a sound file of any pitch as a run needs it.

    Args:
        posterior: The run.
        path: The file.
        own_level: Whether the synth itself has played it at the run's note, so that its level and
            pitch stay.

    Returns:
        The ways to take it, one or two.

    Raises:
        InputError: The file cannot be used.
    """
    _require_posterior(posterior)
    if own_level:
        ways = [Hearing(posterior.listen(path, own_level=True))]
    else:
        ways = _ways(posterior, path)
    spec = posterior.run.features
    recording, share, cancelled = load_heard(path, spec.sample_rate)
    scale = scale_advice(recording) if own_level else ""
    lost = [rate_advice(share, spec.sample_rate), channel_advice(cancelled), scale]
    unused = (coverage_advice(recording, _used(posterior, way, recording), spec) for way in ways)
    return [
        replace(way, coverage="; ".join(filter(None, (*lost, one))))
        for way, one in zip(ways, unused, strict=True)
    ]


def _require_posterior(posterior: Any) -> None:
    from pyrosynth.inference.posterior import Posterior  # which imports this file

    require_type("posterior", posterior, Posterior, "Posterior.load(folder)")


def _used(posterior: "Posterior", way: Hearing, recording: Audio) -> tuple[int, int]:
    """Return the samples of a recording between which a way takes it."""
    rate, note = posterior.run.features.sample_rate, posterior.run.note
    if way.tuned is None:
        onset = measure_background(recording, rate).onset
        return onset, onset + note.n_samples(rate)
    begins, ends = way.tuned.onset_seconds, float(way.tuned.times[-1])
    if not way.tuned.held:  # what is held is brought to the length of the note, as a whole
        ends = min(ends, begins + note.duration_seconds)
    return round(begins * rate), round(ends * rate)


def _ways(posterior: "Posterior", path: str | Path) -> list[Hearing]:
    """Return the ways to take a sound of any pitch."""
    own, spec, as_it_is = posterior.run.note, posterior.run.features, posterior.listen(path)
    heard = sounding_pitch(as_it_is, spec)
    there = heard is not None and abs(heard - own.pitch) < OFF_PITCH
    if there and _sounding(as_it_is) > SHORTER * own.hold_seconds * spec.sample_rate:
        return [Hearing(as_it_is, pitch=own.pitch)]  # and nothing slow is imported
    try:
        tuned = posterior.tune(path)
    except InputError as error:
        says = OUTSIDE if isinstance(error, OutsideError) else ""  # else it has no pitch
        return [Hearing(as_it_is, says=says, pitch=own.pitch if there else None)]
    away = tuned.note.pitch + tuned.cents / 100 - own.pitch
    wanted = own.pitch if tuned.sure or there else None
    name, hold = tuned.note.name, tuned.note.hold_seconds
    brought = Hearing(tuned.audio, tuned, f"play it at {name}", wanted)
    if there or abs(away) < OFF_PITCH:
        short = tuned.held and abs(away) < OFF_PITCH and hold < SHORTER * own.hold_seconds
        says = f"was it let go after {hold:.1f} s? the preset ends by itself, {own.name} pressed"
        plain = Hearing(as_it_is, says=says if short else "", pitch=wanted)
        return [plain, brought] if short else [plain]
    octaves = abs(away - OCTAVE * round(away / OCTAVE)) < OFF_PITCH
    if tuned.sure and not octaves:
        return [brought]
    if not tuned.sure:
        says = f"the pitch is not sure ({name}, or a chord?): press {own.name} for what was heard"
        return [Hearing(as_it_is, says=says), brought]
    kept = f"the sound is at {name}, and the preset plays {name} when {own.name} is pressed"
    return [Hearing(as_it_is, says=kept, pitch=tuned.note.pitch), brought]


def sounding_pitch(audio: Audio, spec: FeatureSpec) -> float | None:
    """Return the pitch of most of a sound, a MIDI number with fractions; None if it has none.

    Args:
        audio: Shape (n_samples,).
        spec: Rate, window and hop.
    """
    frames = pitch(torch.from_numpy(audio)[None], spec)[0].numpy()
    voiced, n_sounding = np.isfinite(frames), np.ceil(_sounding(audio) / spec.hop_length)
    if not audio.any() or voiced.sum() < PITCHED * n_sounding:
        return None
    return float(69 + 12 * np.log2(np.median(frames[voiced]) / 440))


def _sounding(audio: Audio) -> int:
    """Return the number of samples until a sound is over."""
    level = np.abs(audio)
    return int(np.flatnonzero(level >= level.max() / FADED)[-1]) + 1


def off_pitch(audio: Audio, way: Hearing, spec: FeatureSpec) -> float | None:
    """Return how many semitones a preset's sound is above the pitch that is wanted.

    Args:
        audio: What the preset plays at the run's note, shape (n_samples,).
        way: How the sound was taken.
        spec: Rate, window and hop.

    Returns:
        None where it has no pitch, or none is wanted.
    """
    heard = None if way.pitch is None else sounding_pitch(audio, spec)
    return None if heard is None or way.pitch is None else heard - way.pitch


def off_its_key(
    posterior: "Posterior",
    way: Hearing,
    values: NDArray[np.float64],
    played: RenderResult,
    renderer: Renderer,
) -> float | None:
    """Return how many semitones a preset sounds above its key, where it is played.

    Args:
        posterior: The run.
        way: How the sound was taken.
        values: Native values, shape (1, n_params).
        played: The preset at the run's note, with audio.
        renderer: From ``posterior.renderer(keep_audio=True)``.

    Returns:
        None where it has no pitch, or none is wanted.
    """
    if way.pitch is None:
        return None
    run, key = posterior.run, way.key(posterior.run.note)
    there = played if key == run.note else renderer.render(values, note=key)
    assert there.audio is not None
    off = off_pitch(there.audio[0], way, run.features)
    return None if off is None else off - (key.pitch - run.note.pitch)


def play_tuned(posterior: "Posterior", tuned: TunedSound, values: NDArray[np.float64]) -> Audio:
    """Play a preset at the note that was heard.

    Args:
        posterior: The run.
        tuned: The sound, and the note that was heard.
        values: Native values, shape (n_params,).

    Returns:
        The sound, shape (n_samples,).

    Raises:
        SynthError: The synth cannot play it, or has no sound there.
    """
    rate = posterior.run.features.sample_rate
    with Renderer(posterior.synth, tuned.note, rate, workers=1) as renderer:
        rendered = renderer.render(values[None])
    if rendered.reason[0]:
        fate = rendered.fate(0) if rendered.failed[0] else "was silent"
        raise SynthError(f"the synth {fate} when it played {tuned.words}")
    assert rendered.audio is not None
    return rendered.audio[0]


def distance_as_played(
    posterior: "Posterior", recording: Audio, tuned: TunedSound, played: Audio
) -> float:
    """Return how far a preset at the note that was heard is from the recording as it is, in dB.

    The distance at the run's note is to the sound that was transposed to it, and may be smaller:
    a preset need not sound the same at every key, nor a recording as the synth would transpose it.

    Args:
        posterior: The run.
        recording: What was recorded, at the run's rate, shape (any,).
        tuned: The note that was heard in it.
        played: From `play_tuned`, shape (n_samples,).
    """
    rate = posterior.run.features.sample_rate
    begins = round(tuned.onset_seconds * rate)
    if begins - measure_background(recording, rate).onset > BEFORE_SECONDS * rate:
        recording = recording[begins:]  # something else comes before the note
    n_samples = posterior.run.note.n_samples(rate)
    wanted = posterior.match_loudness(fit_length(recording, n_samples, rate))
    heard = posterior.features(fit_length(played, n_samples, rate))
    return float(log_distance(heard, posterior.features(wanted)))


def open_search(
    posterior: "Posterior",
    way: Hearing,
    renderer: Renderer,
    seed: int = 0,
    report: Callable[[int], object] = lambda n: None,
    locked: Mapping[int, float] | None = None,
) -> Search:
    """Return a search for the preset of a sound, which has not begun.

    Args:
        posterior: The run.
        way: How to take the sound.
        renderer: From ``posterior.renderer(keep_audio=True)``.
        seed: Of everything random.
        report: Called with the number of sounds each time some were rendered.
        locked: Unit values of learnt parameters that keep them, by their position.
    """
    run = posterior.run
    off = None if way.pitch is None else partial(off_pitch, way=way, spec=run.features)
    pool = Pool(
        posterior.features(way.audio), run.full_space, run.space, renderer, report,
        locked or {}, off, way.key(run.note) if way.tuned and off else None,
    )  # fmt: skip
    return Search(posterior, pool, seed)


def choose(searches: Sequence[Search], budget: int) -> int:
    """Choose the way to take a sound that presets come nearer to.

    A preset that should be in tune and is not counts as farther by 1 dB.

    Args:
        searches: One for each way, from `open_search`. If there are several, each is tried out
            with three renders.
        budget: Sounds to render in all; if they are few, the known presets decide.

    Returns:
        Which of them it is.
    """
    tried, several = budget >= LEAST_TRIED, len(searches) > 1
    return int(np.argmin([_distance(search, tried) if several else 0.0 for search in searches]))


def _distance(search: Search, tried: bool) -> float:
    """Return how near presets come to a sound, in dB, as far as that is known of a few."""
    pool, bank = search.pool, search.posterior.bank
    if not tried:
        return 0.0 if bank is None else float(bank.nearest(pool.target[None])[1][0, 0])
    search.try_out(TRIED)
    order, in_tune = pool.answers()
    return float(pool.lsd[order[0]]) + (0.0 if in_tune else NO_FARTHER_DB)


@plain_torch(gradients=True)
def refine(
    posterior: "Posterior",
    ways: Sequence[Hearing],
    renderer: Renderer,
    budget: int,
    seed: int = 0,
    report: Callable[[int], object] = lambda n: None,
) -> tuple[Match, Hearing, int]:
    """Search for the preset of a sound of any pitch.

    Args:
        posterior: The run.
        ways: How to take the sound, from ``hear``.
        renderer: From ``posterior.renderer(keep_audio=True)``.
        budget: Sounds to render.
        seed: Of everything random.
        report: Called with the number of sounds each time some were rendered.

    Returns:
        The presets, the way that they were found by, and the number of sounds rendered for it.

    Raises:
        InputError: There is no way, the renderer keeps no audio, or the budget is below 1.
        SynthError: No preset that was tried gave a sound.
    """
    _require_posterior(posterior)
    require_type("renderer", renderer, Renderer, "posterior.renderer(keep_audio=True)")
    require_type("ways", ways, Sequence, "what posterior.hear(path) gives")
    if not ways or not all(isinstance(way, Hearing) for way in ways):
        raise InputError("ways are no list of Hearing; give what posterior.hear(path) gives")
    require_report(report)
    budget, seed = integer("budget", budget, 1), checked_seed(seed)
    searches = [open_search(posterior, way, renderer, seed, report) for way in ways]
    chosen = choose(searches, budget)
    search = searches[chosen]
    spent = sum(len(other.pool) for other in searches if other is not search)
    search.run(budget - spent)
    return search.answer(), ways[chosen], spent + search.pool.n_renders
