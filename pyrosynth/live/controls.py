"""The controls of a live run: a few directions of the latent space, each with a name.

The axes that have earned a name come first (`pyrosynth.explore.naming`), and the tags that are no
quality of sounds. A run whose axes were not named has those of its tags; without tags, of the
numbers that describe a sound: straight lines, found by a regression over the presets. The widest
principal axes follow, the most audible first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pyrosynth.audio.metrics import log_distance
from pyrosynth.audio.qualities import QUALITIES
from pyrosynth.data.labeling import DESCRIBED
from pyrosynth.explore.axes import Axis, LinearAxis
from pyrosynth.explore.latent_space import LatentSpace
from pyrosynth.explore.places import Array

PRINCIPAL = 8  # principal axes that become a control
STRONGEST = 5  # parameters named for each
SWEEP = np.linspace(-2.0, 2.0, 5, dtype=np.float32)
RIDGE = 1e-3  # share of the latent's variance added, for axes along which presets do not differ
LONGEST_STEP = 3.0  # length of a step of 1 at most; a latent's own spread is 1


@dataclass(frozen=True, eq=False)
class Control:
    """A direction with a name.

    Attributes:
        axis: Where it leads.
        kind: ``tag``, ``sound`` (a quality of it) or ``principal`` (a principal axis).
        ends: What there is less and more of; empty strings if that has no name.
        moves: The parameters that move most along it, the strongest first.
    """

    axis: Axis
    kind: str
    ends: tuple[str, str]
    moves: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name of the axis."""
        return self.axis.name


def controls(space: LatentSpace) -> dict[str, Control]:
    """Return the controls of a run by name, in the order they are shown."""
    listed = [
        Control(axis, kind, ends, strongest(space, axis)) for axis, kind, ends in _named(space)
    ]
    principal = [axis for name, axis in space.linear_axes.items() if name.startswith("pc")]
    effect = {axis.name: audible(space, axis) for axis in principal}
    for axis in sorted(principal, key=lambda axis: -effect[axis.name])[:PRINCIPAL]:
        listed.append(Control(axis, "principal", ("", ""), strongest(space, axis)))
    return {control.name: control for control in listed}


def _named(space: LatentSpace) -> list[tuple[Axis, str, tuple[str, str]]]:
    """Return the axes that bear a name, their kinds and their ends."""
    described = {tag.name: (tag.classes[0], tag.classes[-1]) for tag in DESCRIBED}
    tags = [(space.axis(tag), "tag", described.get(tag, ("", ""))) for tag in space.tags]
    if space.named_axes:
        named = [(axis, "sound", (axis.less, axis.more)) for axis in space.named_axes.values()]
        # A tag that is a quality of sounds has been measured: it is among them or has no slider.
        measured = {quality.name for quality in QUALITIES}
        return [*named, *(tag for tag in tags if tag[0].name not in measured)]
    if tags:
        return tags
    return [(axis, "sound", described[axis.name]) for axis in sound_axes(space)]


def sound_axes(space: LatentSpace) -> list[LinearAxis]:
    """Find the direction of each number that describes a sound.

    A linear regression of the numbers on the latents of the presets gives what a step changes;
    the axis of a number is the shortest step that raises it by the spread of the presets and
    keeps all others.

    Returns:
        The axes, in the order of `pyrosynth.data.labeling.DESCRIBED`.
    """
    from sklearn.linear_model import Ridge

    numbers = space.descriptors
    center = space.z.mean(axis=0)
    z = (space.z - center).astype(np.float64)
    spread = numbers.std(axis=0)
    y = (numbers - numbers.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    penalty = RIDGE * np.square(z).sum() / z.shape[1]
    slopes = Ridge(penalty, fit_intercept=False, solver="cholesky").fit(z, y).coef_
    steps = np.linalg.pinv(slopes).T
    length = np.linalg.norm(steps, axis=1, keepdims=True)
    steps *= np.minimum(1.0, LONGEST_STEP / np.maximum(length, 1e-9))
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
