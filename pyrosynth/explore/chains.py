"""Morphs of rendered presets: at every step the one that keeps the sounds even.

At each step of a straight line in the latent space a few presets are rendered: such as sound like
the place there, and such as lie between the two ends in their parameters. The chain of one of each
is taken whose sounds move evenly from end to end.
"""

import numpy as np
import torch

from pyrosynth.audio.features import DB
from pyrosynth.errors import InputError
from pyrosynth.explore.latent_space import LatentSpace
from pyrosynth.explore.places import Array, Float, Place
from pyrosynth.explore.steering import SoundModel
from pyrosynth.synths.rendering import Renderer
from pyrosynth.training.svi import plain_torch

RENDERED = (8, 8)  # presets rendered for each step, in rounds
PROPOSED = 48  # presets of each kind that these are chosen from
RENEWED = 0.5  # share of u that is drawn anew at most, or of the spread by which z is moved
SPREAD = 0.15  # of the parameters about the line between the ends, in the middle of it
CHANGED, CHANGE = 0.2, 0.1  # share of the parameters changed in later rounds, and by how much
STRAIGHT = 0.5  # weight of the distance from the line of sounds, against that of the steps
FAILED = 1e12  # cost of a preset that cannot be rendered


@plain_torch()
def smooth_chain(
    space: LatentSpace, first: Place, last: Place, renderer: Renderer, steps: int, seed: int = 0
) -> Float:
    """Render presets between two places, and take the chain that sounds even.

    Args:
        space: The latent space.
        first: Where it begins.
        last: Where it ends.
        renderer: From ``posterior.renderer()``.
        steps: Number of presets, both ends included.
        seed: Of the proposals.

    Returns:
        Unit values of the learnt parameters from one end to the other, (steps, n_learnt). Where
        an end cannot be rendered, they lie on a straight line.

    Raises:
        InputError: The renderer computes no features.
    """
    posterior, rng = space.posterior, np.random.default_rng(seed)
    params = posterior.run.space
    ends = params.to_unit(posterior.learnt(np.stack([first.values, last.values])))
    share = np.linspace(0.0, 1.0, steps)[:, None]
    best = (1 - share) * ends[0] + share * ends[1]
    x = _rendered(space, renderer, ends)
    if steps == 2 or not np.isfinite(x).all():
        return best
    line = (1 - share) * x[0] + share * x[1]
    goals = (1 - share) * first.z + share * last.z
    model = SoundModel(space) if space.of_sound and posterior.predicts else None
    if model is not None:
        model.learn(ends, space.heard(x.reshape(2, *_shape(space))))
    tried = [ends[:1], *[ends[:0]] * (steps - 2), ends[1:]]
    sounds = [x[:1], *[x[:0]] * (steps - 2), x[1:]]
    for turn, count in enumerate(RENDERED):
        chosen = []
        for step in range(1, steps - 1):
            kinds = [*_between(space, first, last, ends, float(share[step, 0]), rng)]
            if turn:
                kinds.append(_around(space, best[step - 1 : step + 2], rng))
            chosen.append(_select(kinds, goals[step], model, count))
        unit = np.concatenate(chosen)
        x = _rendered(space, renderer, unit)
        if model is not None and turn + 1 < len(RENDERED):
            ok = np.isfinite(x).all(axis=1)
            model.learn(unit[ok], space.heard(x[ok].reshape(-1, *_shape(space))))
        for step, part in enumerate(np.split(np.arange(len(unit)), steps - 2), 1):
            tried[step] = np.concatenate([tried[step], unit[part]])
            sounds[step] = np.concatenate([sounds[step], x[part]])
        best = np.stack([t[i] for t, i in zip(tried, even_chain(sounds, line), strict=True)])
    return best


def even_chain(sounds: list[Array], line: Array) -> list[int]:
    """Choose one sound of each step so that they move evenly (Viterbi's algorithm).

    The chain has the least sum of squared distances from each to the next, in dB, and from the
    straight line between the ends.

    Args:
        sounds: Features of each step, (n_sounds, n_cells) each; NaN where there is none.
        line: Features on the straight line, (n_steps, n_cells).

    Returns:
        The number of the sound taken at each step.
    """
    total, back = np.zeros(len(sounds[0])), []
    for i in range(1, len(sounds)):
        away = np.square(sounds[i] - line[i]).mean(axis=1)
        moved = np.stack([np.square(sounds[i] - one).mean(axis=1) for one in sounds[i - 1]])
        cost = total[:, None] + DB**2 * (moved + STRAIGHT * away)
        cost = np.where(np.isfinite(cost), cost, FAILED)
        back.append(cost.argmin(axis=0))
        total = cost.min(axis=0)
    at = [int(total.argmin())]
    for origin in reversed(back):
        at.append(int(origin[at[-1]]))
    return at[::-1]


def _between(
    space: LatentSpace, first: Place, last: Place, ends: Float, share: float,
    rng: np.random.Generator,
) -> tuple[Float, Float]:  # fmt: skip
    """Propose presets for a step: by the latent space, and by the parameters."""
    posterior, params = space.posterior, space.posterior.run.space
    z = (1 - share) * first.z + share * last.z
    u = (1 - share) * first.u + share * last.u
    renewed = rng.uniform(0.0, RENEWED, (PROPOSED, 1))
    if u.size:
        # A line between two draws is nearer to the origin than draws are.
        u = u / np.sqrt((1 - share) ** 2 + share**2)
        noise = rng.standard_normal((PROPOSED, u.size))
        values = space.values(z, np.sqrt(1 - renewed**2) * u + renewed * noise)
    else:
        values = space.values(z + renewed * space.spread * rng.standard_normal((PROPOSED, z.size)))
    unit = params.to_unit(posterior.learnt(values))
    line = (1 - share) * ends[0] + share * ends[1]
    noise = SPREAD * 2 * min(share, 1 - share) * rng.standard_normal(unit.shape)
    mixed = np.clip(np.where(ends[0] != ends[1], line + noise, line), 0, 1)
    mixed[0] = line
    either = np.where(rng.random(unit.shape) < share, ends[1], ends[0])
    either[0] = ends[int(share >= 0.5)]
    return unit, np.where(params.gradual, mixed, either)


def _around(space: LatentSpace, three: Float, rng: np.random.Generator) -> Float:
    """Propose presets near the best of a step so far and its neighbours, (3, n_learnt)."""
    gradual = space.posterior.run.space.gradual
    weight = rng.dirichlet((1.0, 2.0, 1.0), PROPOSED)
    nearest = three[rng.integers(3, size=(PROPOSED, three.shape[1])), np.arange(three.shape[1])]
    moved = weight @ three
    noise = CHANGE * rng.standard_normal(moved.shape) * (rng.random(moved.shape) < CHANGED)
    return np.where(gradual, np.clip(moved + noise, 0, 1), nearest)


def _select(kinds: list[Float], goal: Array, model: SoundModel | None, n: int) -> Float:
    """Take of each kind of presets as many, those expected nearest to a latent if a model is."""
    chosen = []
    for unit, count in zip(kinds, np.diff(np.linspace(0, n, len(kinds) + 1).round()), strict=True):
        order = np.arange(len(unit))
        if model is not None:
            expected, _ = model.expect(torch.as_tensor(unit, dtype=torch.float32).to(model.device))
            order = np.argsort(np.square(expected.cpu().numpy() - goal).sum(axis=1))
        chosen.append(unit[order[: int(count)]])
    return np.concatenate(chosen)


def _rendered(space: LatentSpace, renderer: Renderer, unit: Float) -> Array:
    """Return the features of presets by their unit values, (n, n_cells); NaN where none are."""
    posterior = space.posterior
    rendered = renderer.render(posterior.complete(posterior.run.space.from_unit(unit)))
    if rendered.features is None:
        raise InputError("a morph of rendered sounds needs features; use posterior.renderer()")
    x = rendered.features.astype(np.float32).reshape(len(unit), -1)
    x[rendered.failed] = np.nan
    return x


def _shape(space: LatentSpace) -> tuple[int, int]:
    return space.posterior.variant.dims.x_shape
