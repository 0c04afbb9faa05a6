"""Moving through the latent space: another preset for what one wants to hear.

A step asks for another latent. To carry along what the sound does not tell is not enough: of a
step of one standard deviation a third is heard then. So ``u`` is chosen again, by how the presets
that come into question sound. Without a renderer that is what the preset encoder expects,
corrected by presets whose sounds are known; with one, the best are rendered, correct the encoder
in their turn, and the best that was heard is taken.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyrosynth.errors import MOST, InputError, checked_seed, integer, require_shapes, require_type
from pyrosynth.explore.latent_space import LatentSpace, require_renderer
from pyrosynth.explore.places import Array, Float, Place
from pyrosynth.inference.descent import descend_squares
from pyrosynth.synths.rendering import Renderer
from pyrosynth.training.torch_modes import plain_torch

BUDGET, EACH = 16, 8  # sounds rendered for a step, and of them at once
NEIGHBOURS = 24  # known presets around the goal that come into question
REACHED = (1.0, 1.5, 2.0)  # parts of the step that the flow is asked for, as presets fall short
KEPT_NOISE = (0.95, 0.8, 0.5)  # how much of u is kept by draws of the presets there
DRAWS = 8  # for each of these
MIXES, CHANGES = 32, 32  # presets between known ones, and such as have a few parameters changed
CHANGED, CHANGE = 4, 0.15  # parameters that are changed in each, and by how much, in unit values
DESCENDED = 3  # presets that are moved by least squares, the best known one among them
BEST = 4  # known presets that others are made of
STEPS = 2  # of least squares
TRUST = (0.3, 3.0, 30.0)  # cost of a squared unit step, in squared lengths of the step asked for
ALONG = 16.0  # weight of what is missing along the step, against what is heard besides
DOUBT = 0.25  # weight of what the model of the sounds does not know
PRICE = 0.02  # of moving one parameter over its range, in squared lengths of the step
RANGE = 1.0  # distance of expected latents (units of 5 dB) over which the encoder errs alike
ERROR = 0.2  # standard deviation of its error, times the root of that of a coordinate
NUGGET = 0.01  # share of its variance that even like presets do not share
ALIKE = 1e-2  # unit values by which two presets differ at least


@dataclass(frozen=True, eq=False)
class Step:
    """A step in the latent space: what was asked, and what is heard of it.

    Attributes:
        start: Where it began, shape (latent_dim,).
        goal: The latent that was asked for, shape (latent_dim,).
        place: Where it ended. Its latent is where the preset sounds, as rendered or expected.
        rendered: Whether that was rendered.
    """

    start: Array
    goal: Array
    place: Place
    rendered: bool

    @property
    def share(self) -> float:
        """How much of the step is heard, along its direction: 1 if all of it, 0 if nothing."""
        asked = (self.goal - self.start).astype(np.float64)
        moved = (self.place.z - self.start).astype(np.float64)
        return float(moved @ asked / max(float(asked @ asked), 1e-12))


class SoundModel:
    """Where presets sound: the preset encoder, corrected by presets whose sounds are known.

    Presets that are expected to sound alike err alike, the less so the farther apart they are
    expected: the error is interpolated between the known ones (kriging). At each of them it is
    corrected, far from all it is left as it is.

    Args:
        space: The latent space.
    """

    def __init__(self, space: LatentSpace) -> None:
        self.space, self.device = space, space.posterior.device
        self.resolution = torch.tensor(space.posterior.run.space.resolution, device=self.device)
        self._known = torch.empty(0, space.dim, device=self.device)
        self._error = torch.empty(0, space.dim, device=self.device)

    @plain_torch()
    def learn(self, unit: Float, z: Array) -> None:
        """Add presets, by unit values (n, n_learnt), and where they sound, (n, latent_dim)."""
        expected = self._encoded(torch.as_tensor(unit, device=self.device))
        self._known = torch.cat([self._known, expected])
        error = torch.as_tensor(z, device=self.device) - expected
        self._error = torch.cat([self._error, error])
        kernel = self._kernel(self._known)
        self._inverse = torch.linalg.inv(kernel + NUGGET * torch.eye(len(kernel)).to(kernel))
        self._weight = self._inverse @ self._error

    def expect(self, unit: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is expected of presets by their unit values, (n, n_learnt); differentiable.

        Returns:
            Latents, shape (n, latent_dim), and which share of the variance of the encoder's error
            is left of each, shape (n,).
        """
        expected = self._encoded(unit)
        kernel = self._kernel(expected)
        told = ((kernel @ self._inverse) * kernel).sum(-1)
        return expected + kernel @ self._weight, (1 - told).clamp(min=0.0)

    def _encoded(self, unit: Tensor) -> Tensor:
        v = (unit * (self.resolution - 1) + 0.5) / self.resolution
        return self.space.posterior.variant.encode_preset(v.float())

    def _kernel(self, expected: Tensor) -> Tensor:
        squares = (expected[:, None] - self._known).square().sum(-1)
        return torch.exp(-(squares + 1e-6).sqrt() / RANGE)


class Chooser:
    """Presets that come into question for a latent, by how they sound and how near they are.

    Args:
        space: The latent space; of a variant that reads latents off sounds and predicts them.
        start: The preset that is to stay near.
        goal: The latent asked for, shape (latent_dim,).
        seed: Of the proposals.
    """

    def __init__(self, space: LatentSpace, start: Place, goal: Array, seed: int = 0) -> None:
        self.space, self.start, self.goal = space, start, goal
        self.posterior = space.posterior
        self.params = self.posterior.run.space
        self.rng = np.random.default_rng(seed)
        self.model = SoundModel(space)
        step = goal - start.z
        # A miss counts as it is heard, and more along dimensions in which presets differ less.
        weight = space.spread[0] / space.spread
        direction = step / max(float(np.linalg.norm(step)), 1e-9)
        missing = (ALONG - 1) * float(weight @ direction**2)
        variance = ERROR**2 * space.spread
        self._weights = (
            self._tensor(weight), self._tensor(direction), missing,
            PRICE * float(weight @ step**2),
        )  # fmt: skip
        self._unsure = DOUBT * float(weight @ variance + missing * (direction**2 @ variance))
        near = np.argsort(np.square(space.z - goal).sum(axis=1), kind="stable")[:NEIGHBOURS]
        unit = self.units(np.concatenate([start.values[None], space.bank.values[near]]))
        # A known preset may be the start: it would be there twice.
        kept = np.concatenate([[True], np.abs(unit[1:] - unit[0]).max(axis=1) > ALIKE])
        z = np.concatenate([start.z[None], space.z[near]])
        self.unit, self.z = unit[kept], z[kept]
        self.model.learn(self.unit, self.z)

    def units(self, values: Float) -> Float:
        """Return unit values of the learnt parameters of presets (n, n_params)."""
        return self.params.to_unit(self.posterior.learnt(values))

    def values(self, unit: Float) -> Float:
        """Return native values of all parameters; those of the start for its unit values."""
        values = self.posterior.complete(self.params.from_unit(unit))
        values[np.abs(unit - self.unit[0]).max(axis=-1) < 1e-9] = self.start.values
        return values

    def best(self, n: int = 1) -> NDArray[np.int64]:
        """Return the numbers of the n best presets whose sounds are known."""
        cost = self._cost(self._tensor(self.unit), self._tensor(self.z))
        return np.argsort(cost.cpu().numpy(), kind="stable")[:n]

    def propose(self, n: int) -> tuple[Float, Array]:
        """Return n presets of least expected cost: unit values, and where they should sound.

        From the first to the last, what the model does not know counts less and less against
        them: of several, one may be a find.
        """
        unit = np.concatenate([self._draws(), self._turns(), self._changes(), self._mixes()])
        unit, cost, doubt, z = self._expected(unit)
        order = np.argsort(cost + doubt, kind="stable")[: DESCENDED - 1]
        moved = self._descend(np.concatenate([self.unit[self.best()], unit[order]]))
        unit_moved, cost_moved, doubt_moved, z_moved = self._expected(moved)
        unit, z = np.concatenate([unit, unit_moved]), np.concatenate([z, z_moved])
        cost = np.concatenate([cost, cost_moved])
        doubt = np.concatenate([doubt, doubt_moved])
        chosen: list[int] = []
        for share in np.linspace(1.0, 0.0, n):
            for i in np.argsort(cost + share * doubt, kind="stable"):  # no two alike
                others = np.concatenate([unit[chosen], self.unit])
                if np.abs(others - unit[i]).max(axis=1).min() > ALIKE:
                    chosen.append(int(i))
                    break
        return unit[chosen], z[chosen]

    def render(self, renderer: Renderer, n: int) -> None:
        """Render the n best proposals, and learn from them where presets sound."""
        unit, _ = self.propose(n)
        rendered = renderer.render(self.values(unit))
        if rendered.features is None:
            raise InputError("steering needs features; use posterior.renderer()")
        ok = ~rendered.failed
        if ok.any():
            z = self.space.heard(rendered.features[ok])
            self.unit, self.z = np.concatenate([self.unit, unit[ok]]), np.concatenate([self.z, z])
            self.model.learn(unit[ok], z)

    def _draws(self) -> Float:
        """Return presets at the goal, and past it, whose u is near that of the start."""
        kept = np.repeat(KEPT_NOISE, DRAWS)[:, None]
        noise = self.rng.standard_normal((len(kept), len(self.start.u)))
        u = kept * self.start.u + np.sqrt(1 - kept**2) * noise
        u = np.concatenate([np.repeat(self.start.u[None], len(REACHED), axis=0), u])
        reached = np.resize(REACHED, len(u))[:, None]
        z = self.start.z + reached * (self.goal - self.start.z)
        return self.units(self.space.values(z, u))

    def _turns(self) -> Float:
        """Return the best preset so far with each parameter of few settings at each of them."""
        best, turned = self.unit[self.best()], [self.unit[:0]]
        for i in np.flatnonzero(~self.params.gradual):
            count = int(self.params.resolution[i])
            levels = np.repeat(best, count, axis=0)
            levels[:, i] = np.linspace(0, 1, count)
            turned.append(levels)
        return np.concatenate(turned)

    def _changes(self) -> Float:
        """Return presets near the best so far, with a few parameters changed."""
        unit = self.unit[self.rng.choice(self.best(BEST), CHANGES)]
        chosen = self.rng.random(unit.shape) < CHANGED / unit.shape[1]
        moved = unit + CHANGE * self.rng.standard_normal(unit.shape)
        moved = np.where(self.params.gradual, moved, self.rng.random(unit.shape))
        return np.clip(np.where(chosen, moved, unit), 0, 1)

    def _mixes(self) -> Float:
        """Return presets between the best so far and others that are known."""
        first = self.unit[self.rng.choice(self.best(BEST), MIXES)]
        second = self.unit[self.rng.integers(len(self.unit), size=MIXES)]
        share = self.rng.random((MIXES, 1))
        either = np.where(self.rng.random(first.shape) < share, second, first)
        return np.where(self.params.gradual, first + share * (second - first), either)

    def _cost(self, unit: Tensor, z: Tensor) -> Tensor:
        """Return what it costs to take presets (n, n_learnt) that sound at latents."""
        weight, direction, missing, price = self._weights
        miss, moved = z - self._tensor(self.goal), unit - self._tensor(self.unit[0])
        besides = (weight * miss.square()).sum(-1)
        return besides + missing * (miss @ direction).square() + price * moved.square().sum(-1)

    @plain_torch()
    def _expected(self, unit: Float) -> tuple[Float, Float, Float, Array]:
        """Return presets as they can be set, expected costs, what doubt adds, and latents."""
        unit = self.params.to_unit(self.params.from_unit(unit))
        one = self._tensor(unit)
        z, left = self.model.expect(one)
        cost, doubt, latents = (
            tensor.cpu().numpy() for tensor in (self._cost(one, z), self._unsure * left, z)
        )
        return unit, cost, doubt, latents

    def _descend(self, unit: Float) -> Float:
        """Move presets (n, n_learnt) down the expected cost; those of few settings stay."""
        here, start = self._tensor(unit), self._tensor(self.unit[0])
        weight, direction, missing, price = self._weights
        held = torch.as_tensor(~self.params.gradual, device=here.device)

        def residuals(there: Tensor) -> Tensor:
            """Return numbers whose squares add up to the cost."""
            miss = self.model.expect(there)[0] - self._tensor(self.goal)
            along = missing**0.5 * (miss @ direction)[:, None]
            return torch.cat([weight.sqrt() * miss, along, price**0.5 * (there - start)], -1)

        trust = self._tensor(np.multiply(TRUST, price / PRICE))
        return descend_squares(residuals, here, held, trust, STEPS).double().cpu().numpy()

    def _tensor(self, array: NDArray[np.floating]) -> Tensor:
        return torch.as_tensor(array, dtype=torch.float32, device=self.posterior.device)


@plain_torch()
def move(
    space: LatentSpace,
    place: Place,
    goal: Array,
    renderer: Renderer | None = None,
    *,
    budget: int = BUDGET,
    seed: int = 0,
) -> Step:
    """Find a preset near another one that sounds as is asked.

    Where a preset determines its latent, it is the preset at the goal.

    Args:
        space: The latent space.
        place: Where the step begins.
        goal: The latent asked for, shape (latent_dim,).
        renderer: From ``posterior.renderer()``, to choose by what the synth renders; without it,
            by what is expected, in less than a tenth of a second.
        budget: Number of sounds to render at most.
        seed: Of the proposals.

    Returns:
        The step, and how much of it is heard.

    Raises:
        InputError: The renderer computes no features, or an argument is of another kind.
    """
    require_renderer(renderer)
    require_type("space", space, LatentSpace, "LatentSpace(posterior)")
    require_type("place", place, Place, "space.place(name)")
    require_shapes("a step", {"goal": (goal, (space.dim,))})
    budget, seed = integer("budget", budget, 1, MOST), checked_seed(seed)
    if np.array_equal(place.z, goal):
        return Step(place.z, goal, place, False)
    if not space.of_sound or not space.posterior.predicts:
        return Step(place.z, goal, Place(goal, place.u, space.values(goal, place.u)), False)
    chooser = Chooser(space, place, goal, seed)
    if renderer is None:
        unit, z = chooser.propose(1)
        return Step(place.z, goal, space.place_of(chooser.values(unit)[0], z[0]), False)
    for first in range(0, budget, EACH):
        chooser.render(renderer, min(EACH, budget - first))
    best = chooser.best()
    values = chooser.values(chooser.unit[best])[0]
    return Step(place.z, goal, space.place_of(values, chooser.z[best[0]]), True)
