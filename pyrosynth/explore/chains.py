"""Morphs of rendered presets: at every step the one that keeps the sounds even.

At each step of a straight line in the latent space a few presets are rendered: such as sound like
the place there, and such as lie between the two ends in their parameters. The chain of one of each
is taken whose sounds move evenly from end to end, by their spectrograms and by descriptors of
their timbre, which tell what a spectrogram hardly shows. What is random about the presets is the
same at every step, so that each has a neighbour at the next step from which it differs little.
"""

import numpy as np
import torch

from pyrosynth.audio.features import DB
from pyrosynth.audio.timbre import NAMES, Timbre
from pyrosynth.errors import InputError
from pyrosynth.explore.latent_space import LatentSpace
from pyrosynth.explore.places import Array, Float, Place
from pyrosynth.explore.steering import SoundModel
from pyrosynth.synths.rendering import Renderer
from pyrosynth.training.torch_modes import plain_torch

RENDERED = (8, 8, 8)  # presets rendered for each step, in rounds
PROPOSED = 48  # presets of each kind that these are chosen from
RENEWED = 0.5  # share of u that is drawn anew at most, or of the spread by which z is moved
SPREAD = 0.15  # of the parameters about the line between the ends, in the middle of it
CHANGED, CHANGE = 0.2, 0.1  # share of the parameters changed in later rounds, and by how much
STRAIGHT = 0.5  # weight of the distance from the line of sounds, against that of the steps
TIMBRE_DB = 10.0  # in spectrograms, as much as descriptors of the timbre one spread apart
TINY = 1e-6  # least spread of a descriptor
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
        renderer: From ``posterior.renderer(keep_audio=True)``. If it keeps no audio, spectrograms
            alone are compared.
        steps: Number of presets, both ends included.
        seed: Of the proposals.

    Returns:
        Unit values of the learnt parameters from one end to the other, (steps, n_learnt). Where
        an end cannot be rendered, they lie on a straight line.

    Raises:
        InputError: The renderer computes no features.
    """
    posterior, params = space.posterior, space.posterior.run.space
    ends = params.to_unit(posterior.learnt(np.stack([first.values, last.values])))
    share = np.linspace(0.0, 1.0, steps)[:, None]
    best = (1 - share) * ends[0] + share * ends[1]
    x, timbre = _rendered(space, renderer, ends)
    if steps == 2 or not np.isfinite(x).all():
        return best
    goals = (1 - share) * first.z + share * last.z
    model = SoundModel(space) if space.of_sound and posterior.predicts else None
    if model is not None:
        model.learn(ends, space.heard(x))
    tried, of_step = ends, np.array([0, steps - 1])
    for turn, count in enumerate(RENDERED):
        chosen = []
        for step in range(1, steps - 1):
            rng = np.random.default_rng((seed, turn))
            kinds = [*_between(space, first, last, ends, float(share[step, 0]), rng)]
            if turn:
                kinds.append(_around(space, best[step - 1 : step + 2], rng))
            chosen.append(_select(kinds, goals[step], model, count))
        unit = np.concatenate(chosen)
        new_x, new_timbre = _rendered(space, renderer, unit)
        if model is not None and turn + 1 < len(RENDERED):
            ok = np.isfinite(new_x).all(axis=(1, 2))
            model.learn(unit[ok], space.heard(new_x[ok]))
        x, timbre = np.concatenate([x, new_x]), np.concatenate([timbre, new_timbre])
        tried = np.concatenate([tried, unit])
        of_step = np.concatenate([of_step, np.repeat(np.arange(1, steps - 1), count)])
        points = _points(x, timbre)
        groups = [np.flatnonzero(of_step == step) for step in range(steps)]
        line = (1 - share) * points[0] + share * points[1]
        chain = even_chain([points[group] for group in groups], line)
        best = np.stack([tried[group[i]] for group, i in zip(groups, chain, strict=True)])
    return best


def even_chain(sounds: list[Float], line: Float) -> list[int]:
    """Choose one sound of each step so that they move evenly (Viterbi's algorithm).

    The chain has the least sum of squared distances from each to the next, and from the straight
    line between the ends.

    Args:
        sounds: Points of each step, (n_sounds, n_numbers) each; NaN where there is no sound.
        line: Points on the straight line, (n_steps, n_numbers).

    Returns:
        The number of the sound taken at each step.
    """
    total, back = np.zeros(len(sounds[0])), []
    for i in range(1, len(sounds)):
        away = np.square(sounds[i] - line[i]).sum(axis=1)
        moved = np.stack([np.square(sounds[i] - one).sum(axis=1) for one in sounds[i - 1]])
        cost = total[:, None] + moved + STRAIGHT * away
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


def _rendered(space: LatentSpace, renderer: Renderer, unit: Float) -> tuple[Array, Array]:
    """Render presets by their unit values (n, n_learnt).

    Returns:
        Features, (n, n_mels, n_frames), and descriptors of the timbre, (n, 50), or (n, 0) without
        audio; NaN where there is no sound.
    """
    posterior, run = space.posterior, space.posterior.run
    rendered = renderer.render(posterior.complete(run.space.from_unit(unit)))
    if rendered.features is None:
        raise InputError("a morph of rendered sounds needs features; use posterior.renderer()")
    x = np.where(rendered.failed[:, None, None], np.nan, rendered.features).astype(np.float32)
    if rendered.audio is None:
        return x, np.empty((len(x), 0), np.float32)
    timbre = np.full((len(x), len(NAMES)), np.nan, np.float32)
    ok = ~rendered.failed
    timbre[ok] = Timbre(run.features, run.note)(rendered.audio[ok])
    return x, timbre


def _points(x: Array, timbre: Array) -> Float:
    """Return sounds as points whose distances are in dB, shape (n, n_cells + n_descriptors)."""
    spread = np.maximum(np.nanstd(timbre, axis=0), TINY)
    parts = [DB * x.reshape(len(x), -1), TIMBRE_DB * timbre / spread]
    return np.concatenate([part / np.sqrt(max(1, part.shape[1])) for part in parts], axis=1)
