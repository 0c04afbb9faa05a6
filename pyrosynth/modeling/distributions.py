"""Distributions of sounds and presets, standard normals behind flows, and their noise."""

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.distributions import TorchDistribution
from pyro.poutine.runtime import _DIM_ALLOCATOR
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.transforms import Transform
from torch.overrides import TorchFunctionMode

from pyrosynth.modeling.bijections import LOG_SQRT_2PI, Flow, UnitCube

_Shape = torch.Size | list[int] | tuple[int, ...]

ONE_AT_A_TIME = threading.RLock()
"""Held while a program runs: Pyro keeps the handlers of all threads in one list."""


@contextmanager
def apart() -> Iterator[None]:
    """Run a model or guide apart from a Pyro program that asks for its draws, one at a time.

    The handlers of that program see nothing of it, and its plates take no dimension from it.
    """
    with ONE_AT_A_TIME:
        taken, _DIM_ALLOCATOR._stack = _DIM_ALLOCATOR._stack, []
        try:
            with poutine.block():
                yield
        finally:
            _DIM_ALLOCATOR._stack = taken


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

    @property
    def mean(self) -> Tensor:
        """The means, shape (..., n_mels, n_frames)."""
        return self.loc

    def expand(self, batch_shape: _Shape, _instance: Any = None) -> "MelNormal":
        """Return the distribution with more leading axes."""
        return MelNormal(self.loc.expand(*batch_shape, *self.event_shape), self.log_scale)

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

    def expand(self, batch_shape: _Shape, _instance: Any = None) -> "CubeNormal":
        """Return the distribution with more leading axes."""
        return CubeNormal(self.loc.expand(*batch_shape, *self.event_shape), self.log_scale)

    def rsample(self, sample_shape: _Shape = ()) -> Tensor:
        """Draw from the cube, shape (*sample_shape, ..., features)."""
        shape = (*sample_shape, *self.loc.shape)
        noise = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        return self.cube(self.loc + self.log_scale.exp() * noise)[0]

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


class StreamResult:
    """What one stream of a GPU has computed and another may use.

    Args:
        result: A tensor or several, computed on the current stream; elsewhere than on a GPU
            nothing waits.
    """

    def __init__(self, result: Tensor | tuple[Tensor, ...]) -> None:
        self.result, self.stream = result, None
        self.tensors = result if isinstance(result, tuple) else (result,)
        if self.tensors[0].is_cuda:
            self.stream = torch.cuda.current_stream(self.tensors[0].device)
            self.event = self.stream.record_event()

    def get(self) -> Tensor | tuple[Tensor, ...]:
        """Return it, once the current stream waits for it."""
        if self.stream is not None:
            here = torch.cuda.current_stream(self.stream.device)
            if here != self.stream:
                here.wait_event(self.event)
                for tensor in self.tensors:
                    tensor.record_stream(here)
        return self.result


_values: ContextVar[dict[tuple[Any, ...], tuple[Any, ...]] | None] = ContextVar(
    "values", default=None
)


@contextmanager
def sharing() -> Iterator[None]:
    """Let `shared` remember while this lasts."""
    token = _values.set({})
    try:
        yield
    finally:
        _values.reset(token)


def shared(function: Callable[..., Any], *points: Tensor | None) -> Any:
    """Evaluate a network or a flow, in a step of a fit only once for the same points.

    A model and its guide ask for the latent of the same presets, and for the presets of the same
    latents, which is a large part of a step.

    Args:
        function: A module, or a method of one.
        points: Its arguments.
    """
    values = _values.get()
    if values is None:
        return function(*points)
    owner = getattr(function, "__self__", function)
    key = id(owner), getattr(function, "__name__", ""), *map(id, points)
    if key not in values:
        # Points that are held cannot give their numbers to other tensors.
        values[key] = StreamResult(function(*points)), points
    return values[key][0].get()


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
        y, ladj = shared(self.flow, x, self.context)
        self._known = x, y, ladj
        return y

    def _inverse(self, y: Tensor) -> Tensor:
        x, ladj = shared(self.flow.inverse, y, self.context)
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
    """Push a standard normal, at the flow's temperature, through a flow.

    Args:
        flow: The flow; its forward direction is the direction of sampling.
        origin: Zeros of shape (..., features) that give the base its size, type and device.
        context: The flow's context, shape (..., n_context).

    Returns:
        The distribution, with event shape (features,).
    """
    base = dist.Normal(origin, flow.temperature * torch.ones_like(origin)).to_event(1)
    return dist.TransformedDistribution(base, [FlowTransform(flow, context)])


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
    points = (y - centre).reshape(y.shape[:-2].numel(), *y.shape[-2:]).movedim(1, 0)
    loc = (loc - centre).movedim(1, 0)
    precision = (-2 * log_scale).exp()
    # Every point against every component of its row, (batch, points, n_mixture), in one product.
    left = torch.cat([points.square(), points], -1)
    right = torch.cat([precision, -2 * precision * loc], -1)
    parts = 0.5 * precision * loc.square() + log_scale + LOG_SQRT_2PI
    log_p = -0.5 * left @ right.mT - parts.sum(-1).unsqueeze(1)
    log_p = log_p.logsumexp(-1) - math.log(loc.shape[1])
    return log_p.movedim(0, -1).reshape(y.shape[:-1])


class _Noise(TorchFunctionMode):
    """Draws all noise from one generator."""

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.generator = generator

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in NOISE_LIKE:
            tensor, func = args[0], NOISE_LIKE[func]
            given = {"dtype": tensor.dtype, "device": tensor.device, **kwargs}
            args, kwargs = (tensor.shape,), given
        if func in NOISE:
            kwargs = {"generator": self.generator, **kwargs}
        return func(*args, **kwargs)


NOISE_LIKE = {torch.randn_like: torch.randn, torch.rand_like: torch.rand}
NOISE = {
    torch.randn, torch.rand, torch.randint, torch.normal, torch.bernoulli, torch.multinomial,
    torch.poisson, Tensor.normal_, Tensor.uniform_, Tensor.exponential_, Tensor.bernoulli_,
    Tensor.cauchy_, Tensor.log_normal_, Tensor.geometric_, Tensor.multinomial, Tensor.bernoulli,
    torch._standard_gamma, torch._sample_dirichlet,
}  # fmt: skip


def noise_from(generator: torch.Generator | None) -> AbstractContextManager[Any]:
    """Make distributions draw from a generator, in this thread, while the context lasts.

    Torch's distributions know only its global generators, which other threads may use as well.

    Args:
        generator: Source of the noise, on the device of the draws; None keeps torch's own.

    Example:
        >>> import torch
        >>> from pyrosynth.modeling import noise_from, standard_normal
        >>> with noise_from(torch.Generator().manual_seed(0)):
        ...     first = standard_normal(torch.zeros(3)).sample()
        >>> with noise_from(torch.Generator().manual_seed(0)):
        ...     torch.equal(standard_normal(torch.zeros(3)).sample(), first)
        True
    """
    return nullcontext() if generator is None else _Noise(generator)


def log_mean_density(fn: TorchDistribution, value: Tensor) -> Tensor:
    """Score points by the mixture, in equal parts, over the first axis of a distribution.

    Args:
        fn: Distribution of batch shape (n_mixture, batch).
        value: Points, shape (..., batch, features).

    Returns:
        Nats, shape (..., batch).
    """
    if isinstance(fn, CubeNormal):
        return fn.log_mixture(value)
    n_mixture = fn.batch_shape[0]
    each = value.unsqueeze(-3).expand(*value.shape[:-2], n_mixture, *value.shape[-2:])
    return fn.log_prob(each).logsumexp(-2) - math.log(n_mixture)
