"""Distributions of our own, and the standard normal pushed through a flow."""

import math

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.transforms import Transform

from pyrosynth.modeling.bijections import LOG_SQRT_2PI, Flow, UnitCube

_Shape = torch.Size | list[int] | tuple[int, ...]


class Known(TorchDistribution):
    """``q`` where a value is unknown, a point mass of log-density 0 where it is known.

    In a guide it says that a latent is observed on some rows. Score only what was drawn.

    Args:
        q: Distribution of the unknown values, with event shape (features,).
        value: The values, shape (batch, features); any legal number where unknown.
        known: Which rows are known, shape (batch,). None when all are, and ``q`` is not
            evaluated at all.
    """

    has_rsample = True
    support = constraints.real_vector
    arg_constraints: dict[str, constraints.Constraint] = {}

    def __init__(self, q: TorchDistribution, value: Tensor, known: Tensor | None) -> None:
        self.q, self.value, self.known = q, value, known
        self._draw: Tensor | None = None
        super().__init__(q.batch_shape, q.event_shape, validate_args=False)

    def rsample(self, sample_shape: _Shape = ()) -> Tensor:
        """Draw where unknown, copy where known."""
        if self.known is None:
            return self.value.expand(*sample_shape, *self.value.shape)
        self._draw = self.q.rsample(
            torch.Size(sample_shape)
        )  # kept, so that scoring it inverts no flow
        return torch.where(self.known.unsqueeze(-1), self.value, self._draw)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log q of the last draw where unknown and 0 where known, shape (..., batch)."""
        if self.known is None or self._draw is None:
            return value.new_zeros(value.shape[:-1])
        return torch.where(self.known, 0.0, self.q.log_prob(self._draw))


class MelNormal(TorchDistribution):
    """Independent normals over a spectrogram, one scale for all or one per mel band.

    The same density as ``Normal(loc, scale).to_event(2)``, three times faster: squares are
    summed before they are scaled.

    Args:
        loc: Means, shape (..., n_mels, n_frames).
        log_scale: Log standard deviation, shape () or (n_mels,).
    """

    has_rsample = True
    support = constraints.independent(constraints.real, 2)
    arg_constraints: dict[str, constraints.Constraint] = {}

    def __init__(self, loc: Tensor, log_scale: Tensor) -> None:
        self.loc, self.log_scale = loc, log_scale
        super().__init__(loc.shape[:-2], loc.shape[-2:], validate_args=False)

    def rsample(self, sample_shape: _Shape = ()) -> Tensor:
        """Draw spectrograms, shape (*sample_shape, ..., n_mels, n_frames)."""
        loc = self.loc.expand(*sample_shape, *self.loc.shape)
        return loc + self.log_scale.exp().unsqueeze(-1) * torch.randn_like(loc)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density of whole spectrograms, shape (...)."""
        n_frames = self.event_shape[-1]
        squares = (value - self.loc).square().sum(-1)
        cells = 0.5 * squares * (-2 * self.log_scale).exp()
        return -(cells + n_frames * (self.log_scale + LOG_SQRT_2PI)).sum(-1)


class TagBase(TorchDistribution):
    """Standard normals, but for the first coordinates, one for each tag: there lie its words.

    Given word c of tag j, coordinate j is N(loc[j, c], scale[j]²). Where several words may hold,
    it is the mixture of theirs by their probabilities: a missing label is summed over, never
    guessed. A coordinate meets the tags only through its own, so the sum is closed and linear in
    their number.

    Args:
        loc: Where each word lies, shape (n_tags, n_classes).
        scale: Standard deviation about it, shape (n_tags, 1) or (n_tags, n_classes).
        log_weight: Log probability of each word, shape (n_tags, n_classes).
        evidence: Which words may hold, at least one of each tag, shape (..., n_tags, n_classes).
        features: Number of coordinates, at least n_tags.
    """

    support = constraints.real_vector
    arg_constraints: dict[str, constraints.Constraint] = {}

    def __init__(
        self, loc: Tensor, scale: Tensor, log_weight: Tensor, evidence: Tensor, features: int
    ) -> None:
        self.loc, self.scale, self.evidence = loc, scale, evidence
        self.log_joint = log_weight.masked_fill(~evidence, -torch.inf)  # (..., n_tags, n_classes)
        super().__init__(evidence.shape[:-2], torch.Size([features]), validate_args=False)

    def log_evidence(self) -> Tensor:
        """Return the log probability of what is known of the tags, shape (...)."""
        return self.log_joint.logsumexp(-1).sum(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density of points (..., features) given what is known of the tags."""
        steered, free = value.tensor_split([self.loc.shape[0]], -1)
        both = self._log_joint(steered).logsumexp(-1) - self.log_joint.logsumexp(-1)
        return both.sum(-1) + log_normal(free)

    def responsibilities(self, value: Tensor) -> Tensor:
        """Return the probability of each word given points (..., features).

        Returns:
            Shape (..., n_tags, n_classes); the last axis sums to 1.
        """
        return self._log_joint(value[..., : self.loc.shape[0]]).softmax(-1)

    def log_posterior(self, value: Tensor, evidence: Tensor) -> Tensor:
        """Return the log probability that further evidence has given points (..., features).

        Args:
            value: The points.
            evidence: Words of each tag of which one holds, shape (..., n_tags, n_classes).

        Returns:
            Nats summed over the tags, shape (...); 0 where the evidence says nothing new.
        """
        joint = self._log_joint(value[..., : self.loc.shape[0]])
        kept = joint.masked_fill(~evidence, -torch.inf)
        return (kept.logsumexp(-1) - joint.logsumexp(-1)).sum(-1)

    def sample(self, sample_shape: _Shape = ()) -> Tensor:
        """Draw words among those that may hold, then points, (*sample_shape, ..., features)."""
        shape = (*sample_shape, *self.batch_shape, *self.event_shape)
        noise = torch.randn(shape, device=self.loc.device, dtype=self.loc.dtype)
        n_tags = self.loc.shape[0]
        if not n_tags:
            return noise
        word = dist.Categorical(logits=self.log_joint).sample(torch.Size(sample_shape))
        loc, scale = (
            t.expand(*word.shape, -1).gather(-1, word.unsqueeze(-1)).squeeze(-1)
            for t in (self.loc, self.scale.expand_as(self.loc))
        )
        return torch.cat([loc + scale * noise[..., :n_tags], noise[..., n_tags:]], -1).detach()

    def _log_joint(self, steered: Tensor) -> Tensor:
        """Return log p(word and evidence) + log p(coordinate | word), (..., n_tags, n_classes)."""
        distance = (steered.unsqueeze(-1) - self.loc) / self.scale
        return self.log_joint - 0.5 * distance.square() - self.scale.log() - LOG_SQRT_2PI


class CubeNormal(TorchDistribution):
    """Independent normals pushed onto the open unit cube: Phi⁻¹(v) ~ N(loc, scale²).

    A density of parameters around one answer. On the stretched axis a control at its lowest or
    highest level is a bump like any other, draws never leave the cube, and the mean is known.

    Args:
        loc: Means of Phi⁻¹(v), shape (..., features).
        log_scale: Their log standard deviations, of a shape that broadcasts with ``loc``.

    References:
        Owen (1980), A table of normal integrals, for the mean (10,010.8),
        https://doi.org/10.1080/03610918008812164.
    """

    has_rsample = True
    support = constraints.independent(constraints.unit_interval, 1)
    arg_constraints: dict[str, constraints.Constraint] = {}
    cube = UnitCube()

    def __init__(self, loc: Tensor, log_scale: Tensor) -> None:
        self.loc, self.log_scale = loc, log_scale
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The mean of v, shape (..., features)."""
        return self.cube(self.loc * (1 + (2 * self.log_scale).exp()).rsqrt())[0]

    def rsample(
        self, sample_shape: _Shape = (), generator: torch.Generator | None = None
    ) -> Tensor:
        """Draw from the cube, shape (*sample_shape, ..., features)."""
        shape, loc = (*sample_shape, *self.loc.shape), self.loc
        noise = torch.randn(shape, generator=generator, device=loc.device, dtype=loc.dtype)
        return self.cube(loc + self.log_scale.exp() * noise)[0]

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density of points of the cube, shape (...)."""
        y, logdet = self.cube.inverse(value)
        away = (y - self.loc) * (-self.log_scale).exp()
        return logdet - (0.5 * away.square() + self.log_scale + LOG_SQRT_2PI).sum(-1)

    def log_mixture(self, value: Tensor) -> Tensor:
        """Score points by the mixture over the first axis of ``loc``, in equal parts.

        Args:
            value: Points of the cube, shape (..., batch, features); ``loc`` is of shape
                (n_mixture, batch, features).

        Returns:
            Nats, shape (..., batch).
        """
        y, logdet = self.cube.inverse(value)
        return log_mixture(y, self.loc, self.log_scale) + logdet


class FlowTransform(Transform):
    """A whole flow as one transform of torch and Pyro.

    Make a fresh one for each use: it remembers its last pair of points and their log-determinant,
    which makes scoring a draw free, and a second use would evict them.

    Args:
        flow: The flow.
        context: Its context, shape (..., n_context).
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True

    def __init__(self, flow: Flow, context: Tensor | None = None) -> None:
        super().__init__(cache_size=1)
        self.flow, self.context = flow, context
        self._known: tuple[Tensor, Tensor, Tensor] | None = None

    def _call(self, x: Tensor) -> Tensor:
        y, ladj = self.flow(x, self.context)
        self._known = x, y, ladj
        return y

    def _inverse(self, y: Tensor) -> Tensor:
        x, ladj = self.flow.inverse(y, self.context)
        self._known = x, y, -ladj
        return x

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        """Return log|det dy/dx|, shape (...)."""
        if self._known is None or self._known[0] is not x or self._known[1] is not y:
            self._known = x, y, self.flow(x, self.context)[1]
        return self._known[2]


def standard_normal(origin: Tensor) -> TorchDistribution:
    """Return independent standard normals, with event shape (features,).

    A scale given as a number would be copied from the host at every call, which a GPU waits for.

    Args:
        origin: Zeros of shape (..., features) that give the size, type and device.
    """
    return dist.Normal(origin, torch.ones_like(origin)).to_event(1)


def flow_normal(
    flow: Flow, origin: Tensor, context: Tensor | None = None
) -> dist.TransformedDistribution:
    """Push a standard normal through a flow.

    Args:
        flow: The flow; its forward direction is the direction of sampling.
        origin: Zeros of shape (..., features) that give the base its size, type and device.
        context: The flow's context, shape (..., n_context).

    Returns:
        The distribution, with event shape (features,).
    """
    return dist.TransformedDistribution(standard_normal(origin), [FlowTransform(flow, context)])


def log_normal(x: Tensor) -> Tensor:
    """Return the log-density of a standard normal summed over the last axis."""
    return -(0.5 * x.square() + LOG_SQRT_2PI).sum(-1)


def log_mixture(y: Tensor, loc: Tensor, log_scale: Tensor) -> Tensor:
    """Return the log-density of points under mixtures of normals of equal weight.

    Args:
        y: Points, shape (..., batch, features).
        loc: Means, one mixture for each row of the batch, shape (n_mixture, batch, features).
        log_scale: Log standard deviations, of a shape that broadcasts with ``loc``.

    Returns:
        Nats, shape (..., batch).
    """
    log_scale = log_scale.expand_as(loc).movedim(0, 1)
    centre = loc.mean(0)  # less is lost to rounding where the numbers are small
    points = (y - centre).reshape(-1, *y.shape[-2:]).movedim(1, 0)
    loc = (loc - centre).movedim(1, 0)
    precision = (-2 * log_scale).exp()
    # Every point against every component of its row, (batch, points, n_mixture), in one product.
    left = torch.cat([points.square(), points], -1)
    right = torch.cat([precision, -2 * precision * loc], -1)
    parts = 0.5 * precision * loc.square() + log_scale + LOG_SQRT_2PI
    log_p = -0.5 * left @ right.mT - parts.sum(-1).unsqueeze(1)
    log_p = log_p.logsumexp(-1) - math.log(loc.shape[1])
    return log_p.movedim(0, -1).reshape(y.shape[:-1])


def draw(
    flow: Flow,
    n: int,
    origin: Tensor,
    context: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Draw from a standard normal pushed through a flow, with a generator of one's own.

    Args:
        flow: The flow.
        n: Number of draws.
        origin: Zeros of shape (..., features).
        context: The flow's context, shape (..., n_context).
        generator: Source of the noise, on the device of ``origin``; torch's own by default.

    Returns:
        Draws, shape (n, ..., features), and their log-density, shape (n, ...).
    """
    shape = (n, *origin.shape)
    noise = torch.randn(shape, generator=generator, device=origin.device, dtype=origin.dtype)
    y, ladj = flow(noise, context)
    return y, log_normal(noise) - ladj
