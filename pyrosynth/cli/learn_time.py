"""What the time given to `learn` is enough for, by how fast a synth renders."""

import math
import time

import numpy as np
from numpy.typing import NDArray

from pyrosynth.audio.note import Note
from pyrosynth.data.gathering import SAMPLE_RATE
from pyrosynth.synths.base import Synth
from pyrosynth.synths.discovery import BASES, CANDIDATES
from pyrosynth.synths.rendering import Renderer
from pyrosynth.synths.verdicts import probe_values

MEASURED = 16  # sounds


def rendering_rate(
    synth: Synth,
    values: NDArray[np.float64],
    note: Note,
    n: int = MEASURED,
    workers: int | None = None,
) -> float:
    """Measure how many sounds are rendered in a second.

    Args:
        synth: The synth.
        values: Native values of presets, shape (n_presets, n_params).
        note: The note to play.
        n: Number of sounds.
        workers: Processes that render; all cores if left out.
    """
    with Renderer(synth, note, SAMPLE_RATE, workers=workers, keep_audio=False) as renderer:
        all_started = np.resize(values, (len(renderer.workers), values.shape[1]))
        renderer.render(all_started)  # a sound each
        began = time.monotonic()
        renderer.render(np.resize(values, (n, values.shape[1])))
    return n / (time.monotonic() - began)


def least_advice(
    synth: Synth, note: Note, n_sounds: int, seconds: float, workers: int | None = None
) -> str:
    """Say how long learning takes at least if that is more than the time given for it.

    Args:
        synth: A synth that is to be described.
        note: The note to play.
        n_sounds: Sounds that are rendered at least, beside those of the description.
        seconds: What was given.
        workers: Processes that render; all cores if left out.

    Returns:
        A line; empty if the time may be enough.
    """
    space = synth.param_space
    values = space.decode(np.random.default_rng(0).random((MEASURED, len(space))))
    rate = rendering_rate(synth, values, note, MEASURED, workers)
    described = CANDIDATES + BASES[0] * sum(len(probe_values(param)) for param in space.params)
    least = (described + n_sounds) / rate
    if least <= seconds:
        return ""
    minutes = math.ceil(least / 6) / 10
    return (
        f"  {rate:.2g} sounds a second: this takes {minutes:,g} minutes at least, not "
        f"{seconds / 60:g}; a shorter note (--hold, --duration) takes less, so does --fix of what "
        "makes it slow"
    )
