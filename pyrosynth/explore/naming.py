"""Axes with names that one can trust: chosen and named by what they do to rendered sounds.

For each quality of sounds a few directions of the latent space come into question. The one that
moves it most steadily at some held-out presets is measured at others: it has the name if the
quality follows it there, as the synth renders it. What is found is kept with the run.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import rankdata
from tqdm.auto import tqdm

from pyrosynth.audio.qualities import QUALITIES, qualities
from pyrosynth.data.dataset import Dataset
from pyrosynth.errors import SynthError, checked_name, counted, unseen
from pyrosynth.explore.axes import Axis, LinearAxis, NamedAxis
from pyrosynth.explore.latent_space import LatentSpace
from pyrosynth.explore.places import Float, Place
from pyrosynth.explore.result import json_numbers
from pyrosynth.explore.steering import move
from pyrosynth.inference.posterior import Posterior
from pyrosynth.statistics import spearman
from pyrosynth.synths.rendering import Renderer
from pyrosynth.training.identity import require_same_contract
from pyrosynth.training.learnt import require_unseen
from pyrosynth.training.run import write_axes

NAMES = tuple(quality.name for quality in QUALITIES)
POSITIONS = np.linspace(-2.0, 2.0, 5)  # to which presets are moved, in spreads of the axis
CHOSEN_AT = np.linspace(-2.0, 2.0, 3)  # the same while one still chooses
PLACES = (16, 16)  # held-out presets at which directions are chosen, and are measured
TRUSTED = 0.8  # rank correlation, mean over the places, from which an axis has a name
WHITENING = (0.0, 1.0, 2.0)  # powers of the spread by which a covariance is divided


class MeasuredAxis(NamedTuple):
    """The best axis of a quality, and how well the quality follows it.

    Attributes:
        axis: The axis.
        correlation: Rank correlation of position and quality, mean over the presets it was
            measured at; NaN if all of them are left out.
        right: Share of these presets at which the quality grows from end to end.
        chosen: The correlation at those at which it was chosen.
        n_presets: Number of presets to which it was applied to be measured.
        n_left_out: Number of these that were left out, since a position gave no sound.
    """

    axis: NamedAxis
    correlation: float
    right: float
    chosen: float
    n_presets: int
    n_left_out: int

    @property
    def trusted(self) -> bool:
        """Whether it has earned its name: it is followed, and measured at half of the presets."""
        return self.correlation >= TRUSTED and 2 * self.n_left_out <= self.n_presets

    def facts(self) -> dict[str, Any]:
        """Return the figures, JSON-ready."""
        figures = json_numbers([self.correlation, self.right, self.chosen])
        return {
            "name": self.axis.name,
            **dict(zip(("correlation", "right", "chosen"), figures, strict=True)),
            "n_left_out": self.n_left_out,
        }


def name_axes(
    posterior: Posterior,
    dataset: Dataset,
    renderer: Renderer,
    *,
    names: Sequence[str] = NAMES,
    places: tuple[int, int] = PLACES,
    seed: int = 0,
    progress: bool = True,
) -> list[MeasuredAxis]:
    """Find the axis of each quality, and measure whether the quality follows it.

    Presets are moved as the sliders of the explorer move them, without renders; then they are
    rendered.

    Args:
        posterior: The run.
        dataset: The dataset it was fitted on, or one rendered alike. Directions come from its
            training presets that are in the run's bank, are chosen at held-out ones of ``valid``,
            and measured at ``test``.
        renderer: From ``posterior.renderer()``.
        names: Of the qualities; all by default.
        places: Numbers of presets to choose at, and to measure at.
        seed: Of the choice of both.
        progress: Whether to show a progress bar.

    Returns:
        The axes, the most steady first; those with a correlation of ``TRUSTED``, measured at half
        of the presets or more, have earned their names.

    Raises:
        InputError: A quality is unknown, or an argument is of another type.
        SynthError: No preset sounds at all positions along any axis.
        DataError: The dataset is of another synth, note, parameters or features than the run.
    """
    require_same_contract(posterior.run, dataset)
    for name in names:
        checked_name("quality", name, NAMES)
    held_out = dataset.values(dataset.rows("test", human_only=True))
    require_unseen(posterior.run, posterior.bank, held_out)
    space = LatentSpace(posterior)
    chosen, measured = (
        _places(space, dataset, split, n, seed)
        for split, n in zip(("valid", "test"), places, strict=True)
    )
    named = []
    for name in tqdm(
        names, desc="name", unit="axis", dynamic_ncols=True, disable=unseen(progress)
    ):
        i = NAMES.index(name)
        tried = []
        for axis in directions(space, i):
            found, _, n_left_out = _follows(space, axis, i, chosen, CHOSEN_AT, renderer)
            tried.append((2 * n_left_out <= len(chosen), found, axis))
        if not tried:
            continue
        _, best, axis = max(tried, key=lambda one: (one[0], np.nan_to_num(one[1], nan=-2.0)))
        correlation, right, n_left_out = _follows(space, axis, i, measured, POSITIONS, renderer)
        named.append(MeasuredAxis(axis, correlation, right, best, len(measured), n_left_out))
    if named and all(one.n_left_out == one.n_presets for one in named):
        raise SynthError(
            f"none of {counted(len(measured), 'preset')} gives a sound at all positions along an "
            "axis; play one of its presets to see why"
        )
    return sorted(named, key=lambda one: -np.nan_to_num(one.correlation, nan=-2.0))


def keep(posterior: Posterior, path: str | Path, named: list[MeasuredAxis]) -> list[NamedAxis]:
    """Write the axes that have earned their names into the run directory, and return them.

    Args:
        posterior: The run, which has them from now on.
        path: Its folder.
        named: From `name_axes`.
    """
    trusted = [one for one in named if one.trusted]
    axes = tuple({**one.axis.to_json(), **one.facts()} for one in trusted)
    write_axes(path, axes)
    posterior.run.axes = axes
    return [one.axis for one in trusted]


def told(named: Sequence[MeasuredAxis]) -> list[str]:
    """Say in a line for each axis how well its quality follows it."""
    lines = []
    for one in named:
        said = []
        if one.n_left_out < one.n_presets:
            said += [f"rank correlation {one.correlation:+.2f}", f"grows at {one.right:.0%}"]
        if one.n_left_out:
            said += [f"{one.n_left_out} of {counted(one.n_presets, 'preset')} left out"]
        lines.append(f"{one.axis.name}: {', '.join(said)}{'' if one.trusted else '; no name'}")
    return lines


def failures(named: Sequence[MeasuredAxis]) -> list[str]:
    """Say in one line at how many presets axes were not measured; in none if at all of them."""
    most = max(named, key=lambda one: one.n_left_out, default=None)
    if most is None or not most.n_left_out:
        return []
    return [
        "presets that give no sound at a position along an axis are left out of its figures, most "
        f"along {most.axis.name}: {most.n_left_out} of {most.n_presets}; an axis that is measured "
        "at fewer than half has no name"
    ]


def directions(space: LatentSpace, quality: int) -> list[NamedAxis]:
    """Return the directions that come into question for a quality, by number.

    They are the covariance of latents and (ranks of) the quality among the known presets, its
    coordinates divided by powers of their spread: from what usually goes along with the quality
    to what alone would tell it. There are none of a quality in which the presets are all alike.
    """
    ranks = rankdata(space.qualities[:, quality])
    center = space.z.mean(axis=0)
    z = (space.z - center).astype(np.float64)
    covariance = z.T @ (ranks - ranks.mean()) / len(z)
    name, less, more = QUALITIES[quality]
    found: list[NamedAxis] = []
    if not covariance.any():
        return found
    for power in WHITENING:
        direction = covariance / z.std(axis=0) ** power
        # Position 1 is the spread of the presets along it.
        direction *= (z @ direction).std() / (direction @ direction)
        line = LinearAxis(name, center, direction.astype(np.float32))
        found.append(NamedAxis(line, less, more))
    return found


def _places(space: LatentSpace, dataset: Dataset, split: str, n: int, seed: int) -> list[Place]:
    rows = np.random.default_rng(seed).permutation(dataset.rows(split, human_only=True))[:n]
    values = dataset.values(rows)
    z = space.heard(dataset.x(rows)) if space.of_sound else None
    return [*space.place_of(values, z).each()]


def _follows(
    space: LatentSpace,
    axis: Axis,
    quality: int,
    places: list[Place],
    positions: Float,
    renderer: Renderer,
) -> tuple[float, float, int]:
    """Return how a quality follows an axis: mean rank correlation, and share that it grows at.

    Both are over the places that sound at all positions; the number of the others comes third.
    """
    run = space.posterior.run
    moved = [
        move(space, place, axis.at(place.z, position)).place.values
        for place in places
        for position in positions
    ]
    rendered = renderer.render(np.stack(moved))
    assert rendered.features is not None
    numbers = qualities(rendered.features, run.features, run.note)[:, quality]
    numbers[rendered.failed] = np.nan
    lines = numbers.reshape(len(places), len(positions))
    lines = lines[np.isfinite(lines).all(axis=1)]
    n_left_out = len(places) - len(lines)
    if not len(lines):
        return np.nan, np.nan, n_left_out
    follows = np.nan_to_num(spearman(positions, lines))  # what does not move follows nothing
    return float(np.mean(follows)), float(np.mean(lines[:, -1] > lines[:, 0])), n_left_out
