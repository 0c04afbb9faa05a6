"""The presets of a run on a plane, for the map of the page, and what they are told apart by."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.stats import rankdata

from pyrosynth.audio.qualities import QUALITIES
from pyrosynth.data.labeling import DESCRIBED
from pyrosynth.explore.latent_space import LatentSpace
from pyrosynth.explore.places import Array, Float
from pyrosynth.explore.projection import principal_plane
from pyrosynth.statistics import spearman

APART = 6e-4  # of the plane's width, between presets: dots that can be told apart when enlarged
ROUNDS = 200  # of pushing presets apart


def places(space: LatentSpace) -> Array:
    """Return where each preset lies, both coordinates from 0 to 1, shape (n, 2).

    The first two coordinates of what one hears, or in a model whose latents are not read off
    sounds the first two principal axes of how the presets sound, turned so that long sounds lie
    to the left and noisy ones below; ranks instead of coordinates by a half, so that the crowd in
    the middle has room. No two presets are at the same place.
    """
    if space.of_sound and space.dim >= 2:
        points = space.z[:, :2].astype(np.float64)
    else:
        points = principal_plane(space.bank.codes.astype(np.float64))[0]
    names = [tag.name for tag in DESCRIBED]
    turned = space.descriptors[:, [names.index("length"), names.index("noisiness")]]
    against = ((turned - turned.mean(axis=0)) * points).sum(axis=0) > 0
    points = np.where(against, -points, points)
    low, high = np.quantile(points, (0.005, 0.995), axis=0)
    linear = np.clip((points - low) / np.maximum(high - low, 1e-9), 0, 1)
    return parted((linear + ranks(points)) / 2).astype(np.float32)


def parted(points: Float) -> Float:
    """Move points nearer than ``APART`` away from each other, by no more than it takes.

    Args:
        points: Shape (n, 2), from 0 to 1.

    Returns:
        The points, from 0 to 1, shape (n, 2); where too many crowd, some stay a little nearer.
    """
    moved = np.array(points, np.float64)
    for _ in range(ROUNDS):
        first, second = cKDTree(moved).query_pairs(APART, output_type="ndarray").T
        if not len(first):
            break
        away = moved[first] - moved[second]
        length = np.linalg.norm(away, axis=1, keepdims=True)
        angle = first + second  # any, for two at the same place
        away = np.where(length > 0, away, np.stack([np.cos(angle), np.sin(angle)], axis=1))
        away /= np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-12)
        push = away * (1.01 * APART - length) / 2
        np.add.at(moved, first, push)
        np.add.at(moved, second, -push)
        moved = np.clip(moved, 0.0, 1.0)
    return moved


def ends(space: LatentSpace, plane: Array) -> list[tuple[str, str]]:
    """Return what lies at the ends of the plane: left and right, then below and above.

    The quality of sounds that follows each coordinate best among the presets, in words.
    """
    follows, words = np.nan_to_num(spearman(plane.T[:, None], space.qualities.T)), []
    for row in range(2):
        best = int(np.abs(follows[row]).argmax())
        _, less, more = QUALITIES[best]
        words.append((less, more) if follows[row, best] > 0 else (more, less))
        follows[:, best] = 0.0  # the other coordinate is called by something else
    return words


def colours(space: LatentSpace) -> list[dict[str, Any]]:
    """Return each quality of sounds, its ends, and the rank of each preset in it, from 0 to 1."""
    return [
        {"name": name, "ends": (less, more), "of": column}
        for (name, less, more), column in zip(
            QUALITIES, np.round(ranks(space.qualities).T, 3).tolist(), strict=True
        )
    ]


def tags(space: LatentSpace) -> list[dict[str, Any]]:
    """Return the tags that presets are told apart by, their classes, and the class of each preset.

    Those that follow from sounds, then those of the run that do not. Each class has an equal share
    of the presets, in the order of what was measured, or of where they are along the tag's axis;
    equal presets share a class.
    """
    measured = zip(DESCRIBED, space.descriptors.T, strict=True)
    told = [(tag.name, tag.classes, along) for tag, along in measured]
    known = {name for name, _, _ in told}
    dims = space.posterior.variant.dims
    told += [
        (name, classes, space.axis(name).position(space.z).astype(np.float64))
        for name, classes in zip(dims.tags, dims.classes, strict=True)
        if name not in known
    ]
    return [
        {"name": name, "classes": classes, "of": shared(along, len(classes)).tolist()}
        for name, classes, along in told
    ]


def shared(along: Float, n: int) -> NDArray[np.int64]:
    """Return to which of ``n`` equal shares each number belongs, from 0 on, the lowest first."""
    share = (rankdata(along) - 0.5) / len(along)
    return np.minimum((n * share).astype(np.int64), n - 1)


def ranks(columns: Float) -> Float:
    """Return the ranks of each column of (n, k) numbers, from 0 to 1."""
    ranked: Float = columns.argsort(axis=0).argsort(axis=0) / max(len(columns) - 1, 1)
    return ranked
