"""Steering: presets moved along tag axes in steps, rendered by the synth, and described."""

import hashlib
import json
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm.auto import tqdm

from pyrosynth.audio.descriptors import describe_features
from pyrosynth.audio.features import FeatureSpec
from pyrosynth.data.dataset import Dataset, Rows
from pyrosynth.data.labeling import DESCRIBED
from pyrosynth.errors import InputError, SynthError, checked_name, counted, numbers, unseen
from pyrosynth.evaluation.cache import Arrays, each
from pyrosynth.evaluation.disentanglement import or_none
from pyrosynth.explore.axes import TagAxis
from pyrosynth.explore.latent_space import LatentSpace
from pyrosynth.explore.places import Array, Place
from pyrosynth.explore.steering import move
from pyrosynth.inference.posterior import Posterior
from pyrosynth.statistics import spearman
from pyrosynth.synths.presets import checked_values
from pyrosynth.synths.rendering import Renderer, RenderResult
from pyrosynth.training.identity import contract_hash, run_hash

Float = NDArray[np.float64]

AMOUNTS = np.linspace(-2.0, 2.0, 9)  # in standard deviations of the axis, from the preset
DOWN, CENTER, UP = (int(np.flatnonzero(AMOUNTS == amount)[0]) for amount in (-1.0, 0.0, 1.0))
DESCRIPTORS = tuple(tag.name for tag in DESCRIBED)


@dataclass(frozen=True, eq=False)
class Steering:
    """What moving presets along tag axes does to the descriptors of their sounds.

    The figures of an axis are over the presets that sound at all steps along it.

    Attributes:
        tags: Names of the tags.
        presets: Names of the presets.
        descriptors: Those of `pyrosynth.audio.descriptors.describe_features` at each of
            ``AMOUNTS``, shape (n_tags, n, 9, 5); NaN where a sound failed.
        spread: Standard deviation of each descriptor among the human training presets, shape (5,).
        falling: Names of the tags from whose first class to the last one their own descriptor
            falls, such as bright/dark; steering that lowers it is right.
    """

    tags: tuple[str, ...]
    presets: list[str]
    descriptors: Float
    spread: Float
    falling: tuple[str, ...] = ()

    def way(self, i: int) -> float:
        """Return in which direction the own descriptor of a tag goes along it, 1 or −1."""
        return -1.0 if self.tags[i] in self.falling else 1.0

    def own(self, i: int) -> int | None:
        """Return which descriptor is the one behind a tag, None if there is none."""
        return DESCRIPTORS.index(self.tags[i]) if self.tags[i] in DESCRIPTORS else None

    @property
    def sounding(self) -> NDArray[np.bool_]:
        """Which presets sound at all steps along each axis, shape (n_tags, n)."""
        return np.asarray(np.isfinite(self.descriptors).all(axis=(2, 3)))

    @property
    def failures(self) -> list[str]:
        """One line that says how many presets are left out of an axis; none if none is."""
        missing = np.argwhere(~self.sounding)
        if not len(missing):
            return []
        n, (i, k) = len(np.unique(missing[:, 1])), missing[0]
        return [
            f"{n} of {counted(len(self.presets), 'preset')} left out of the means of axes along "
            f"which a step gives no sound, such as '{self.presets[k]}' along {self.tags[i]}; "
            "axes.json lists them as left_out"
        ]

    @property
    def monotony(self) -> Float:
        """Rank correlation of amount and own descriptor, mean over the presets, shape (n_tags,).

        A preset whose descriptor does not move counts as 0.
        """

        def measure(lines: Float) -> float:
            return float(np.mean(np.nan_to_num(spearman(AMOUNTS, lines))))

        return self._of_own(measure)

    @property
    def rising(self) -> Float:
        """Share of steps that move the own descriptor towards the last class, shape (n_tags,).

        Steps that do not move it count half.
        """

        def measure(lines: Float) -> float:
            steps = np.sign(np.diff(lines, axis=1))
            return float((1 + np.nanmean(steps)) / 2)

        return self._of_own(measure)

    @property
    def changes(self) -> Float:
        """What steering from −1 to 1 adds to each descriptor, in ``spread``, (n_tags, n, 5).

        NaN for a preset that is left out.
        """
        moved = (self.descriptors[:, :, UP] - self.descriptors[:, :, DOWN]) / self.spread
        moved[~self.sounding] = np.nan
        return np.asarray(moved)

    @property
    def change(self) -> Float:
        """Mean of that change over the presets, shape (n_tags, 5)."""
        return _mean(self.changes)

    @property
    def size(self) -> Float:
        """Mean of its size, whatever its sign, over the presets, shape (n_tags, 5)."""
        return _mean(np.abs(self.changes))

    @property
    def right_way(self) -> Float:
        """Share of presets whose own descriptor that change moves the right way, (n_tags,)."""
        found = np.full(len(self.tags), np.nan)
        for i in range(len(found)):
            own = self.own(i)
            if own is not None and self.sounding[i].any():
                moved = self.way(i) * self.changes[i, :, own]
                found[i] = np.mean(moved[np.isfinite(moved)] > 0)
        return found

    def to_json(self) -> dict[str, Any]:
        """Return the figures by tag, and the names of the presets left out; NaN as None."""
        tags = {
            tag: {
                "monotony": or_none(self.monotony[i]),
                "rising": or_none(self.rising[i]),
                "right_way": or_none(self.right_way[i]),
                "change": dict(zip(DESCRIPTORS, map(or_none, self.change[i]), strict=True)),
                "size_of_change": dict(zip(DESCRIPTORS, map(or_none, self.size[i]), strict=True)),
                "left_out": [self.presets[k] for k in np.flatnonzero(~self.sounding[i])],
            }
            for i, tag in enumerate(self.tags)
        }
        return {"n_presets": len(self.presets), "amounts": AMOUNTS.tolist(), "tags": tags}

    def _of_own(self, measure: Callable[[Float], float]) -> Float:
        """Measure the own descriptor of each tag at all amounts; NaN where there is none."""
        found = np.full(len(self.tags), np.nan)
        for i, sounding in enumerate(self.sounding):
            own = self.own(i)
            if own is not None and sounding.any():
                found[i] = measure(self.way(i) * self.descriptors[i, sounding][:, :, own])
        return found


def _mean(changes: Float) -> Float:
    """Return the means (n_tags, 5) over the presets that are not left out; NaN if all are."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice", RuntimeWarning)
        return np.asarray(np.nanmean(changes, axis=1))


def steps(posterior: Posterior, values: Float, x: Array | None = None) -> Float:
    """Return one preset moved along all axes.

    Args:
        posterior: A run of a variant with tag axes.
        values: Native values of all parameters, shape (n_params,).
        x: Features of its sound, shape (n_mels, n_frames), if they are at hand.

    Returns:
        Native values, shape (n_tags, 9, n_params), at each of ``AMOUNTS``.
    """
    space, tags = LatentSpace(posterior), posterior.variant.dims.tags
    z = space.heard(x[None]) if space.of_sound and x is not None else None
    places = space.place_of(values[None], z)
    return np.stack([_steered(space, places, tag, AMOUNTS[:, None])[:, 0] for tag in tags])


def render_steering(
    posterior: Posterior,
    dataset: Dataset,
    rows: Rows,
    renderer: Renderer,
    folder: str | Path,
    *,
    progress: bool = True,
) -> Steering:
    """Move presets along all axes, and describe what the synth renders.

    What was rendered is cached in a file for each preset; called again, it goes on where it was.

    Args:
        posterior: A run of a variant with tag axes.
        dataset: The presets.
        rows: Those to move, shape (n,).
        renderer: From ``posterior.renderer()``.
        folder: Where results are cached.
        progress: Whether to show a progress bar.

    Returns:
        The descriptors along all axes.

    Raises:
        InputError: The variant has no tag axes.
        SynthError: No preset sounds at all steps along any axis.
        DataError: A file cannot be written.
    """
    run, spec = posterior.run, posterior.run.features
    n_tags = len(run.variant.dims.tags)
    of = {"run": run_hash(posterior), "dataset": contract_hash(dataset), "at": AMOUNTS.tolist()}
    key = hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()[:12]
    place = Path(folder) / f"steering-{key}"
    n_sounds = n_tags * (len(AMOUNTS) - 1) + 1
    beside = np.delete(np.arange(len(AMOUNTS)), CENTER)

    def work(missing: list[int]) -> Iterator[tuple[int, Arrays]]:
        def chunks() -> Iterator[tuple[int, Float]]:
            for i in missing:
                moved = steps(posterior, dataset.values(rows[[i]])[0], dataset.x(rows[[i]])[0])
                # Where it is, it is the same preset on all axes.
                yield i, np.concatenate([moved[:1, CENTER], moved[:, beside].reshape(
                    -1, moved.shape[-1])])  # fmt: skip

        with tqdm(
            total=len(rows) * n_sounds, initial=(len(rows) - len(missing)) * n_sounds,
            desc="steer", unit="sound", dynamic_ncols=True, disable=unseen(progress),
        ) as bar:  # fmt: skip
            for i, rendered in renderer.stream(chunks()):
                found = described(rendered, spec)
                moved = np.empty((n_tags, len(AMOUNTS), found.shape[1]))
                moved[:, CENTER] = found[0]
                moved[:, beside] = found[1:].reshape(n_tags, len(beside), -1)
                yield i, {"descriptors": moved}
                bar.update(n_sounds)

    results = each([place / f"{row:06d}.npz" for row in rows], work)
    known = describe_features(dataset.x(dataset.rows("train", human_only=True)), spec)
    spread = known.std(axis=0)
    spread[spread == 0] = np.inf  # what no preset varies does not count as changed
    found = Steering(
        run.variant.dims.tags, dataset.names(rows), results["descriptors"].swapaxes(0, 1), spread
    )
    if not found.sounding.any():
        raise SynthError(
            f"none of {counted(len(rows), 'preset')} gives a sound at all steps along an axis; "
            "play one of its presets to see why, then measure in another folder"
        )
    return found


def steer(posterior: Posterior, values: ArrayLike, tag: str, amount: ArrayLike) -> Float:
    """Move presets along the axis of a tag and keep all other coordinates.

    Nothing is rendered: where a latent belongs to a sound, presets are chosen by how they are
    expected to sound, see `pyrosynth.explore.steering.move`.

    Args:
        posterior: A run of a variant with tag axes.
        values: Native values of all parameters, shape (n, n_params).
        tag: Name of the tag.
        amount: How far, in standard deviations of the axis; positive towards the last class. A
            number, or an array that broadcasts with shape (n,), such as (k, 1) for k steps of
            each.

    Returns:
        Native values of the presets there, shape (n, n_params) or (..., n, n_params); parameters
        that were not learnt are at their defaults, unless the preset stays as it is.

    Raises:
        InputError: The tag is unknown, the variant has no tag axes, or values or amounts have
            another shape.
    """
    space = LatentSpace(posterior)
    rows = checked_values(values, posterior.run.full_space, 2)
    return _steered(space, space.place_of(rows), tag, amount)


def _steered(space: LatentSpace, places: Place, tag: str, amount: ArrayLike) -> Float:
    """Move places (n) along the axis of a tag; see `steer`."""
    space.posterior.variant.axes(space.posterior.variant.origin)  # says what it lacks
    checked_name("tag", tag, space.tags)
    axis, n = TagAxis(tag, space.posterior), len(places.z)
    amounts = numbers("amounts", amount, np.float64)
    try:
        amounts = np.broadcast_to(amounts, np.broadcast_shapes(amounts.shape, (n,)))
    except ValueError:
        raise InputError(
            f"amounts of shape {amounts.shape} for {counted(n, 'preset')}; give a number, one for "
            "each, or shape (k, 1) for k steps of each"
        ) from None
    goals = axis.at(places.z, axis.position(places.z) + amounts)
    goals = np.where(amounts[..., None] == 0, places.z, goals).reshape(-1, n, space.dim)
    moved = [
        move(space, place, goal).place.values
        for row in goals
        for place, goal in zip(places.each(), row, strict=True)
    ]
    return np.reshape(moved, (*amounts.shape, -1))


def described(rendered: RenderResult, spec: FeatureSpec) -> Float:
    """Describe rendered sounds, see `pyrosynth.audio.descriptors.describe_features`.

    Args:
        rendered: Sounds with their features.
        spec: What the features are.

    Returns:
        Shape (n, 5), NaN where there is no sound.
    """
    assert rendered.features is not None
    numbers = describe_features(rendered.features, spec)
    numbers[rendered.reason != ""] = np.nan
    return numbers
