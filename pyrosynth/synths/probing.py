"""Which isolation of a synth is exact: that in which a sound does not depend on those before."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyrosynth.audio.note import Note
from pyrosynth.errors import InputError, checked_seed, numbers
from pyrosynth.synths.base import Synth, checked_notes, require_synth
from pyrosynth.synths.catalog import from_spec
from pyrosynth.synths.rendering import Renderer


def probe_isolation(
    synth: Synth,
    note: Note | Sequence[Note],
    sample_rate: int,
    values: ArrayLike,
    seed: int = 0,
    *,
    first_exact: bool = False,
) -> dict[str, Any]:
    """Find out what must be renewed between two sounds of a synth.

    Each isolation renders the sounds in order and, in a new process, shuffled; a sound that is
    the same both times does not depend on those before it. A plugin that reads memory it has not
    written may seem exact with few sounds, or with one note.

    Args:
        synth: The synth, which is probed with each of its ``isolations``.
        note: The note to play, or several; all have to be the same.
        sample_rate: Rate in Hz.
        values: Native parameter values, shape (n, n_params); the more different the better.
        seed: Of the shuffling.
        first_exact: Whether to leave out those after the first that is exact, and further notes
            of those that are not.

    Returns:
        ``identical``: share of identical sounds for each isolation; ``seconds``: time per sound;
        ``exact``: the first of the synth's isolations with all sounds identical, None if there
        is none. A sound that failed is not identical.

    Raises:
        InputError: ``synth`` is none, or there is no note or no row of values.
    """
    require_synth(synth)
    notes, names = checked_notes(note), synth.param_space.names
    array = numbers("values", values, np.float64, names)
    if array.ndim != 2 or not array.size:
        raise InputError(f"values have shape {array.shape}; give (n, n_params), n at least 1")
    order = np.random.default_rng(checked_seed(seed)).permutation(len(array))
    spec = synth.spec()
    identical: dict[str, float] = {}
    seconds: dict[str, float] = {}
    for mode in synth.isolations:
        probed = (
            from_spec({**spec, "isolation": mode}, synth.told) if "isolation" in spec else synth
        )
        shares = []
        began = time.perf_counter()
        for played in notes:
            shares.append(_share_identical(probed, played, sample_rate, array, order))
            if first_exact and shares[-1] < 1.0:
                break
        seconds[mode] = (time.perf_counter() - began) / (2 * len(array) * len(shares))
        identical[mode] = min(shares)
        if first_exact and identical[mode] == 1.0:
            break
    exact = next((mode for mode, share in identical.items() if share == 1.0), None)
    return {"identical": identical, "seconds": seconds, "exact": exact}


def _share_identical(
    synth: Synth, note: Note, sample_rate: int, values: NDArray[Any], order: NDArray[Any]
) -> float:
    """Return the share of sounds that are the same in order and shuffled, in new processes."""
    sounds, failed = [], np.zeros(len(values), bool)
    for turn in (np.arange(len(values)), order):
        with Renderer(synth, note, sample_rate, workers=1) as renderer:
            rendered = renderer.render(values[turn])
        assert rendered.audio is not None
        sound = np.empty_like(rendered.audio)
        sound[turn], failed[turn] = rendered.audio, failed[turn] | rendered.failed
        sounds.append(sound)
    return float(((sounds[0] == sounds[1]).all(axis=1) & ~failed).mean())
