"""Presets near one, and between two: rendered, with the distances that were measured."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from pyrosynth.audio.closeness import OUT_OF_REACH, closeness
from pyrosynth.audio.metrics import log_distance
from pyrosynth.errors import InputError, SynthError
from pyrosynth.explore.places import Float, Place
from pyrosynth.live.engine import Live
from pyrosynth.live.page_state import PageState
from pyrosynth.live.sounds import Sound

SIMILAR = 8  # presets near another one
CHILDREN = 4  # of two presets
BRED = 24  # places between two presets that are rendered for them
FROM, TO = 0.25, 0.75  # of the way from one parent to the other, where these are
ASIDE = 0.1  # spread of each coordinate's share of the way
APART_DB = 0.5  # between a child and its parents, and between two children


def similar(page: PageState, place: Place) -> list[dict[str, Any]]:
    """Return the known presets that are nearest to a place in the latent space.

    Args:
        page: The page of the run.
        place: The place; a known preset is not near itself.

    Returns:
        Of each its ``preset`` (number), ``lsd_db``, the log-spectral distance between what the
        synth renders of both, and its ``closeness`` in a word; the most similar sound first.

    Raises:
        SynthError: The synth cannot render the preset of the place.
    """
    live, space = page.live, page.live.space
    far = np.linalg.norm((space.z - place.z) / space.spread, axis=1)
    # A link holds values with seven digits.
    itself = np.isclose(space.bank.values, place.values, rtol=1e-6).all(axis=1)
    order = np.argsort(np.where(itself, np.inf, far), kind="stable")
    near = order[: min(SIMILAR, len(space) - int(itself.sum()))].tolist()
    x = live.render(place.values).x
    audible = float(live.posterior.run.features.audible(x))
    told = []
    for number, sound in _played(live, space.bank.values[near]):
        lsd = float(log_distance(sound.x, x))
        word = closeness(lsd, audible)
        word = "unlike" if word == OUT_OF_REACH else word
        told.append({"preset": near[number], "lsd_db": lsd, "closeness": word})
    return sorted(told, key=lambda one: one["lsd_db"])


def children(
    page: PageState,
    first: Place,
    second: Place,
    seed: int = 0,
    locked: Mapping[str, float] | None = None,
) -> list[dict[str, Any]]:
    """Breed two presets.

    Places between the parents are rendered: on the way from one to the other in the latent space,
    with what the sound does not tell taken from either. Children are those that came out nearest
    to the parent they are farther from, and are heard to differ.

    Args:
        page: The page of the run.
        first: A parent.
        second: The other.
        seed: Of everything random; another one gives other children.
        locked: Native values, by name, that parameters keep.

    Returns:
        At most four points as ``page.told`` has them, and for each ``lsd_db``, its distance in dB
        to the first and to the second parent.

    Raises:
        InputError: No place between them differs from both.
        SynthError: The synth cannot render a parent.
    """
    live = page.live
    parents = np.stack([live.render(parent.values).x for parent in (first, second)])
    values = _between(live, first, second, seed)
    values = np.stack([live.held(one, locked or {}) for one in values])
    bred = [
        (number, sound, log_distance(sound.x, parents)) for number, sound in _played(live, values)
    ]
    chosen: list[tuple[int, Sound, Float]] = []
    for number, sound, lsd in sorted(bred, key=lambda one: float(one[2].max())):
        others = [float(log_distance(sound.x, other.x)) for _, other, _ in chosen]
        if min(*lsd.tolist(), *others) >= APART_DB:
            chosen.append((number, sound, lsd))
        if len(chosen) == CHILDREN:
            break
    if not chosen:
        raise InputError(
            "nothing between these two presets differs from both; take parents that differ more"
            + (", or unlock some controls" if locked else "")
        )
    return [
        {
            **page.told(live.place_of_sound(values[number], sound.x)),
            "lsd_db": np.asarray(lsd, np.float64).tolist(),
        }
        for number, sound, lsd in chosen
    ]


def _between(live: Live, first: Place, second: Place, seed: int) -> Float:
    """Return presets between two, native values of all parameters, shape (24, n_params)."""
    rng = np.random.default_rng(seed)
    share = rng.uniform(FROM, TO, (BRED, 1))
    aside = ASIDE * rng.standard_normal((BRED, len(first.z)))
    z = first.z + (share + aside) * (second.z - first.z)
    u = np.where(rng.random((BRED, len(first.u))) < share, second.u, first.u)
    return live.space.values(z.astype(np.float32), u)


def _played(live: Live, presets: Float) -> Iterator[tuple[int, Sound]]:
    """Render presets (n, n_params); yield number and sound of those that the synth can render."""
    for number, values in enumerate(presets):
        try:
            yield number, live.render(values)
        except SynthError:
            continue
