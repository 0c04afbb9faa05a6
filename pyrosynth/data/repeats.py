"""Whether a synth plays a preset twice alike: a few presets of a dataset are rendered again."""

import numpy as np
from numpy.typing import NDArray

from pyrosynth.data.splits import DB
from pyrosynth.data.store import Store
from pyrosynth.synths.rendering import Renderer

PRESETS = 4  # that are rendered again
HEARD_DB = 0.1  # from which it is said


@np.errstate(under="ignore")  # of what is less than 16 bits can say
def repeats_db(store: Store, renderer: Renderer, values: NDArray[np.float64]) -> float:
    """Render presets again, and return the largest distance to their sounds in a store.

    Args:
        store: Its first rows are the presets, all of them rendered.
        renderer: What rendered them.
        values: Native values of the presets, shape (n, n_params).

    Returns:
        RMS difference of two log-mel spectrograms in dB; 0 of a synth that is exact, and if no
        preset gave a sound twice.
    """
    usable = np.flatnonzero(store.read("status", np.arange(len(values))) == "ok")
    if not len(usable):
        return 0.0
    rows = np.unique(usable[np.linspace(0, len(usable) - 1, PRESETS).astype(int)])
    again = renderer.render(values[rows])
    assert again.features is not None
    sounded = again.reason == ""
    x = again.features.astype(np.float16).astype(np.float64)  # as it is stored
    difference = x - store.read("x", rows)
    rms = np.sqrt(np.mean(np.square(difference), axis=(1, 2)))
    return round(float(DB * rms[sounded].max(initial=0.0)), 3)


def repeats_line(distance_db: float) -> list[str]:
    """Say that a synth plays a preset otherwise each time, in a line; in none if it does not."""
    if distance_db < HEARD_DB:
        return []
    return [
        f"  one preset rendered twice differs by up to {distance_db:.1f} dB: the synth is random, "
        "or keeps something of the sound before; smaller distances mean nothing"
    ]
