"""The sweep of an axis: how parameters and sound change along it."""

import numpy as np

from pyrosynth.audio.descriptors import NAMES as DESCRIPTORS
from pyrosynth.audio.descriptors import describe
from pyrosynth.errors import SynthError, one_line
from pyrosynth.explore.places import Float, Place
from pyrosynth.live.controls import moved
from pyrosynth.live.engine import Live
from pyrosynth.live.protocol import Answer

CURVES = 6  # parameters whose curves are told
FIRST, LAST = -4.0, 4.0  # positions that it goes through


def sweep(live: Live, start: Place, name: str, n: int) -> list[Answer]:
    """Sweep an axis through a point.

    Args:
        live: The run.
        start: The point.
        name: Of the axis.
        n: Number of positions.

    Returns:
        The curves of the parameters that move most, then those of the descriptors of what the
        synth renders, with NaN where it gives no sound; then an error that names these positions,
        if there are some.

    Raises:
        InputError: The axis is unknown, or too many sounds are waiting to be rendered.
    """
    positions = np.linspace(FIRST, LAST, n).tolist()
    values = np.stack([live.move(start, {name: position}).values for position in positions])
    described, failures = _described(live, values)
    names = live.posterior.run.full_space.names
    answers: list[Answer] = [
        ("/curve", [name, "parameter", p, *values[:, names.index(p)].tolist()])
        for p in moved(live.space, values)[:CURVES]
    ]
    answers += [
        ("/curve", [name, "descriptor", d, *described[:, i].tolist()])
        for i, d in enumerate(DESCRIPTORS)
    ]
    if failures:
        silent = ", ".join(f"{positions[i]:g}" for i in failures)
        why = next(iter(failures.values()))
        said = f"no sound on '{name}' at {silent}, NaN in the curves: {why}"
        answers.append(("/error", ["/analysis", one_line(said)]))
    return answers


def _described(live: Live, values: Float) -> tuple[Float, dict[int, SynthError]]:
    """Describe the sounds of presets, shape (n, n_descriptors); say which there are not."""
    described, failures = np.full((len(values), len(DESCRIPTORS)), np.nan), {}
    for i, preset in enumerate(values):
        try:
            described[i] = describe(live.render(preset).audio, live.posterior.run.features)
        except SynthError as error:
            failures[i] = error
    return described, failures
