"""The bases: settings in which a synth is tested, and which of its controls are tested in each.

Most of several hundred controls do nothing in most presets, since the part they belong to is off.
So those of a large synth are listened to in presets that move them, and until they are heard.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pyrosynth.synths.params import ParamSpace
from pyrosynth.synths.verdicts import AUDIBLE_DB, NOISE_FACTOR, SILENT_VALUES, Heard

MANY = 256  # controls of a synth from which on what people move decides
FEW_PRESETS = 8  # with fewer, nothing is known of it
LEAST_MOVED = 0.05  # share of the presets that have to move a control
MOST_BASES = 48  # of a synth with many controls; once all are heard, a further one costs nothing
TWICE = 2  # in so many bases each control is moved, if there are such presets
LISTENED = (6, 2)  # bases in which a control is listened to at most: with the first note, others
TOLERANCE = 1e-3  # unit values that differ by less are the same

Moved = NDArray[np.bool_]


@dataclass(frozen=True)
class Usage:
    """What people move of a synth with many controls.

    Attributes:
        share: Share of the presets that move each control away from the value that it has in
            most of them, shape (n_params,).
        moved: Which preset moves which control, of those that enough presets move, shape
            (n_presets, n_params).
    """

    share: NDArray[np.float64]
    moved: Moved


def usage_of(space: ParamSpace, presets: NDArray[np.float64]) -> Usage | None:
    """Count what presets move; None for a synth with fewer controls, or too few presets.

    Args:
        space: The controls.
        presets: Native values, shape (n_presets, n_params).
    """
    if len(space) < MANY or len(presets) < FEW_PRESETS:
        return None
    steps = np.round(space.to_unit(presets) / TOLERANCE).astype(np.int64)
    usual = np.array([np.bincount(column).argmax() for column in steps.T])
    moved = np.abs(steps - usual) > 1
    share = moved.mean(axis=0)
    return Usage(share, moved & (share >= LEAST_MOVED))


def covering(moved: Moved, n: int) -> list[int]:
    """Choose presets that together move each control twice, those that move the most first.

    Args:
        moved: Which preset moves which control, shape (n_presets, n_params).
        n: Number of presets, if there are so many.

    Returns:
        Their rows.

    Example:
        >>> covering(np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1]], bool), 2)
        [1, 0]
    """
    chosen: list[int] = []
    times = np.zeros(moved.shape[1], np.int64)
    while len(chosen) < min(n, len(moved)):
        gain = moved[:, times < TWICE].sum(axis=1)
        gain[chosen] = -1
        chosen.append(int(gain.argmax()))
        times += moved[chosen[-1]]
    return chosen


def spread_out(points: NDArray[np.floating], n: int) -> list[int]:
    """Choose points that cover all: the first, then always the one farthest from those chosen.

    It is known as farthest-first traversal.

    Args:
        points: Such as features of sounds or places on a plane, shape (n_points, …).
        n: Number of them at most.

    Returns:
        Their numbers in the order of the choice, no two alike.
    """
    flat = points.reshape(len(points), -1).astype(np.float64)
    chosen, nearest = [0], np.full(len(flat), np.inf)
    while len(chosen) < min(n, len(flat)):
        nearest = np.minimum(nearest, np.square(flat - flat[chosen[-1]]).mean(axis=1))
        nearest[chosen] = -1.0
        chosen.append(int(nearest.argmax()))
    return chosen


def still_to_hear(moved: Moved, heard: Sequence[Sequence[Heard]]) -> NDArray[np.bool_]:
    """Tell which controls are to be listened to next: those a base moves and nobody has heard.

    Args:
        moved: Which base moves which control, shape (n_bases, n_params).
        heard: What was heard so far, by note and base; the next base is the one after the last.

    Returns:
        Shape (n_params,).
    """
    wanted = moved[len(heard[-1])].copy()
    most = LISTENED[min(len(heard) - 1, 1)]
    for i in np.flatnonzero(wanted):
        before = [h for row in heard for h in row if h.db[i]]
        times = sum(bool(h.db[i]) for h in heard[-1])
        wanted[i] = times < most and not any(_is_heard(h, int(i)) for h in before)
    return wanted


def _is_heard(heard: Heard, i: int) -> bool:
    """Tell whether a control was heard, and did more than to silence the sound."""
    loud = max(heard.db[i]) >= max(AUDIBLE_DB, NOISE_FACTOR * heard.noise_db)
    return heard.loud and loud and float(np.mean(heard.silent[i])) <= SILENT_VALUES
