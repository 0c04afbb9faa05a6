"""What one moves while playing: a few directions of the latent space, each with a name.

Those of the tags of the run come first. A run without tags has those of the numbers that
describe a sound instead: straight lines, found among the presets. The widest principal axes
follow, those first that are heard most.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pyrosynth.audio.metrics import log_distance
from pyrosynth.data.labeling import DESCRIBED
from pyrosynth.explore.latent_space import Axis, LatentSpace, LinearAxis

Array = NDArray[np.float32]

MACROS = 8  # principal axes that become a slider
STRONGEST = 5  # parameters named for each
SWEEP = np.linspace(-2.0, 2.0, 5, dtype=np.float32)
RIDGE = 1e-3  # share of the latent's variance added, for axes along which presets do not differ
FURTHEST = 3.0  # length of a step of 1 at most; a latent's own spread is 1


@dataclass(frozen=True, eq=False)
class Slider:
    """A direction with a name.

    Attributes:
        axis: Where it leads.
        kind: ``tag``, ``sound`` (a number that describes it) or ``macro``.
        words: What there is less and more of; empty strings if that has no name.
        moves: The parameters that move most along it, the strongest first.
    """

    axis: Axis
    kind: str
    words: tuple[str, str]
    moves: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name of the axis."""
        return self.axis.name


def sliders(space: LatentSpace) -> dict[str, Slider]:
    """Return the sliders of a run by name, in the order they are shown."""
    if space.tags:
        words = {tag.name: (tag.classes[0], tag.classes[-1]) for tag in DESCRIBED}
        found = [
            Slider(axis, "tag", words.get(axis.name, ("", "")), strongest(space, axis))
            for axis in map(space.axis, space.tags)
        ]
    else:
        lines = sound_lines(space)
        found = [
            Slider(line, "sound", (tag.classes[0], tag.classes[-1]), strongest(space, line))
            for line, tag in zip(lines, DESCRIBED, strict=True)
        ]
    principal = [line for name, line in space.linear_axes.items() if name.startswith("pc")]
    heard = {line.name: audible(space, line) for line in principal}
    for line in sorted(principal, key=lambda line: -heard[line.name])[:MACROS]:
        found.append(Slider(line, "macro", ("", ""), strongest(space, line)))
    return {slider.name: slider for slider in found}


def sound_lines(space: LatentSpace) -> list[LinearAxis]:
    """Find the direction of each number that describes a sound.

    A linear regression of the numbers on the latents of the presets gives what a step changes;
    the line of a number is the shortest step that raises it by the spread of the presets and
    keeps all others.

    Returns:
        The lines, in the order of `pyrosynth.data.labeling.DESCRIBED`.
    """
    described = space.descriptors
    center = space.z.mean(axis=0)
    z = (space.z - center).astype(np.float64)
    spread = described.std(axis=0)
    y = (described - described.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    gram = z.T @ z / len(z)
    ridge = RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
    slopes = np.linalg.solve(gram + ridge, z.T @ y / len(z))
    steps = np.linalg.pinv(slopes.T).T
    length = np.linalg.norm(steps, axis=1, keepdims=True)
    steps *= np.minimum(1.0, FURTHEST / np.maximum(length, 1e-9))
    return [
        LinearAxis(tag.name, center, step.astype(np.float32))
        for tag, step in zip(DESCRIBED, steps, strict=True)
    ]


def audible(space: LatentSpace, axis: Axis) -> float:
    """Return how far apart the model expects neighbouring points of an axis to sound, in dB."""
    expected = space.expected(_along(axis, space.z.mean(axis=0)))
    return float(log_distance(expected[1:], expected[:-1]).mean())


def strongest(space: LatentSpace, axis: Axis, n: int = STRONGEST) -> tuple[str, ...]:
    """Return the names of the parameters that move most along an axis."""
    values = space.values(_along(axis, space.z.mean(axis=0)))
    return moved(space, values)[:n]


def moved(space: LatentSpace, values: NDArray[np.float64]) -> tuple[str, ...]:
    """Return the names of the parameters that differ among presets, the strongest first.

    Args:
        space: Of the run.
        values: Native values of all parameters, shape (n, n_params).
    """
    params = space.posterior.run.full_space
    spread = params.to_unit(values).std(axis=0)
    order: Sequence[int] = np.argsort(-spread, kind="stable").tolist()
    return tuple(params.names[i] for i in order if spread[i] > 0)


def _along(axis: Axis, z: Array) -> Array:
    """Return latents (5, latent_dim) along an axis through a latent."""
    return axis.at(np.repeat(z[None], len(SWEEP), axis=0), SWEEP)
