"""How a run hears a sound of any pitch: as it is, brought to the run's note, or both ways.

One rule for the command line, Python and the page. A sound whose pitch is sure and is another one
than that of the run's note is brought to that note; one without a pitch, or at that note, is taken
as it is. Where the pitch is not sure, or whole octaves away, so that the preset rather than the
key may be the reason, both ways are tried, and the one that is met better is kept.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pyrosynth.audio.io import Audio
from pyrosynth.audio.pitch import pitch
from pyrosynth.audio.tuning import TunedSound
from pyrosynth.errors import InputError
from pyrosynth.synths.rendering import Renderer

if TYPE_CHECKING:
    from pyrosynth.inference.posterior import Posterior

OFF_PITCH = 0.6  # semitones from the note of the run, from which a sound is at another pitch
OCTAVE = 12  # semitones
PITCHED = 0.6  # share of a sound's frames that must have a pitch, for it to be at the run's note
FADED = 100  # part of its peak that a sound has sunk to when it is over


@dataclass(frozen=True, eq=False)
class Hearing:
    """A sound as a run reads it.

    Attributes:
        audio: The sound at the length of the run's note, and at its usual loudness, shape
            (n_samples,).
        tuned: How it was brought to the run's note; None if it was taken as it is.
        says: What to tell of it, a sentence; empty if there is nothing to tell.
    """

    audio: Audio
    tuned: TunedSound | None = None
    says: str = ""

    @property
    def play(self) -> dict[str, Any] | None:
        """The note that plays what was heard, see `TunedSound.to_json`."""
        return None if self.tuned is None else self.tuned.to_json()


def hear(posterior: "Posterior", path: str | Path) -> list[Hearing]:
    """Read a sound file of any pitch as a run needs it.

    Args:
        posterior: The run.
        path: The file.

    Returns:
        The ways to take it, one or two.

    Raises:
        InputError: The file cannot be used.
    """
    own = posterior.run.note
    as_it_is = posterior.listen(path)
    if _is_at_note(posterior, as_it_is):  # nothing that costs seconds to import
        return [Hearing(as_it_is)]
    try:
        tuned = posterior.tune(path)
    except InputError:  # it has no pitch
        return [Hearing(as_it_is)]
    away = tuned.note.pitch + tuned.cents / 100 - own.pitch
    if abs(away) < OFF_PITCH:
        return [Hearing(as_it_is)]
    name = tuned.note.name
    brought = Hearing(tuned.audio, tuned, f"play it at {name}")
    octaves = abs(away - OCTAVE * round(away / OCTAVE)) < OFF_PITCH
    if tuned.sure and not octaves:
        return [brought]
    kept = f"the sound is at {name}, and the preset plays {name} when {own.name} is pressed"
    return [Hearing(as_it_is, says=kept), brought]


def _is_at_note(posterior: "Posterior", audio: Audio) -> bool:
    """Return whether most of a sound is at the run's note."""
    spec = posterior.run.features
    frames = pitch(torch.from_numpy(audio)[None], spec)[0].numpy()
    voiced, level = np.isfinite(frames), np.abs(audio)
    n_sounding = int(np.flatnonzero(level > level.max() / FADED)[-1]) + 1
    if voiced.sum() < PITCHED * np.ceil(n_sounding / spec.hop_length):
        return False
    number = 69 + 12 * np.log2(np.median(frames[voiced]) / 440)
    return bool(abs(number - posterior.run.note.pitch) < OFF_PITCH)


def choose(
    posterior: "Posterior",
    ways: Sequence[Hearing],
    renderer: Renderer,
    budget: int,
    seed: int,
    report: Callable[[int], object],
) -> tuple[Hearing, int]:
    """Choose the way to take a sound that presets come nearer to.

    Args:
        posterior: The run.
        ways: From ``hear``.
        renderer: From ``posterior.renderer()``.
        budget: Sounds to render for each way; without any, the known presets decide.
        seed: Of everything random.
        report: Called with the number of sounds each time some were rendered.

    Returns:
        The way, and the number of sounds rendered.
    """
    if len(ways) == 1:
        return ways[0], 0
    x = [posterior.features(way.audio) for way in ways]
    if budget:
        lsd = [posterior.refine(one, renderer, budget, seed, report).lsd[0] for one in x]
    elif posterior.bank is not None:
        lsd = posterior.bank.nearest(np.stack(x))[1][:, 0].tolist()
    else:
        return ways[0], 0
    return ways[int(np.argmin(lsd))], budget * len(ways)
