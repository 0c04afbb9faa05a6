"""What a variant is: one model/guide pair, and the weighted terms of its objective.

A variant is a plain module: no parameter store, no loss arithmetic, no data.
`pyrosynth.training.svi.fit`
maximises the weighted sum of its terms, each term being the log-densities of some sites, those
of the model less those of the guide.

Symbols: ``x`` (n_mels, n_frames) standardised log-mel features, ``v`` (n_params,) parameters in
the open unit cube, ``z`` (latent_dim,) latent, ``h`` embedding of ``x``.
"""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

import torch
from pyro import poutine
from pyro.distributions import TorchDistribution
from torch import Generator, Tensor, nn

from pyrosynth.errors import InputError, unknown

Batch = dict[str, Tensor]
"""``x`` (batch, n_mels, n_frames), ``v`` (batch, n_params) and, unless every row knows its
``v``, ``has_v`` (batch,) bool; where unknown, ``v`` holds any legal numbers. With tags,
``evidence`` (batch, n_tags, n_classes) bool, see `pyrosynth.data.tags`."""


@dataclass(frozen=True)
class Dims:
    """The sizes a variant is built for.

    Args:
        n_params: Number of synth parameters learnt.
        x_shape: (n_mels, n_frames) of the features.
        resolution: Number of levels of each parameter; empty where nobody needs to know.
        tags: Names of the tags, none by default.
        words: Words of each tag.
    """

    n_params: int
    x_shape: tuple[int, int]
    resolution: tuple[int, ...] = ()
    tags: tuple[str, ...] = ()
    words: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class WarmUp:
    """A weight that grows linearly over the first steps, then stays.

    Args:
        value: The final weight.
        steps: Number of steps to reach it; 0 starts with it.
    """

    value: float = 1.0
    steps: int = 0

    def __call__(self, step: int) -> float:
        """Return the weight at a step, counted from 0; never 0 itself."""
        return self.value * min(1.0, (step + 1) / max(1, self.steps))


@dataclass(frozen=True)
class Term:
    """A named part of the objective.

    Args:
        name: What it is called in the history.
        sites: The sites of the model/guide pair whose log-densities it sums.
        weight: Its weight, or a function of the step that gives it.
    """

    name: str
    sites: tuple[str, ...]
    weight: float | Callable[[int], float] = 1.0

    def at(self, step: int) -> float:
        """Return the weight at a step, counted from 0."""
        return self.weight(step) if callable(self.weight) else self.weight


@dataclass(frozen=True)
class Size:
    """Hyper-parameters and a schedule that go by one name.

    Args:
        options: Hyper-parameters of the variant; the others keep their defaults.
        training: Arguments of `pyrosynth.training.svi.fit`; the others keep theirs.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)


# The schedule of Esling et al. (2019): 500 epochs of 11,000 presets, a rate of 2e-4 that is
# halved when validation has stalled for 20 epochs. They do not say how large a batch is; 64 is
# what their code has.
PAPER_TRAINING: Mapping[str, Any] = {
    "steps": 86_000,
    "batch_size": 64,
    "lr": 2e-4,
    "warm_up": 0,
    "weight_decay": 0.0,
    "validate_every": 172,
    "halve_after": 20,
}


class Variant(nn.Module, ABC):
    """A generative model of presets and sounds, and the guide that inverts it.

    To write one: take ``dims`` and keyword-only hyper-parameters with defaults that JSON can
    hold, define the terms, and implement the abstract methods; with a latent, also those that
    read it.

    Attributes:
        exact: Whether ``log_prob_v`` is the density itself or a Monte-Carlo estimate of it.
        uses_tags: Whether it reads ``evidence``; a fit then sees to it that there is some.
        sizes: Settings that go by a name, given as ``size``.
        latent_dim: Size of ``z``; 0 in a variant that has none.
        terms: The objective.
    """

    exact: ClassVar[bool] = False
    uses_tags: ClassVar[bool] = False
    sizes: ClassVar[Mapping[str, Size]] = {}
    latent_dim: int = 0
    terms: tuple[Term, ...]

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.dims = dims

    def __new__(cls, *args: Any, **kwargs: Any) -> "Variant":
        """Record the hyper-parameters, so that no variant has to."""
        variant = super().__new__(cls)
        signature = inspect.signature(cls.__init__).parameters.values()
        options = {p.name: p.default for p in signature if p.kind is p.KEYWORD_ONLY}
        variant.__dict__["_hyperparameters"] = {k: kwargs.get(k, v) for k, v in options.items()}
        return variant

    def hyperparameters(self) -> dict[str, Any]:
        """Return the constructor's keyword arguments, from which an equal instance is built."""
        return dict(self.__dict__["_hyperparameters"])

    def prepare(self, batch: Batch) -> Batch:
        """Add what model and guide share, so that it is computed once."""
        return {**batch, "h": self.encode(batch["x"])}

    @abstractmethod
    def model(self, batch: Batch) -> None:
        """Run the generative program on a prepared batch; one plate, ``presets``."""

    @abstractmethod
    def guide(self, batch: Batch) -> None:
        """Run the variational program on a prepared batch."""

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """Embed features (..., n_mels, n_frames) as ``h``, (..., n_embedding)."""

    @abstractmethod
    def sample_v(
        self, x: Tensor, n: int, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw parameters from q(v|x).

        Args:
            x: Features, shape (batch, n_mels, n_frames).
            n: Number of draws for each.
            generator: Source of the noise, on the variant's device; torch's own by default.

        Returns:
            ``v``, shape (n, batch, n_params), and log q(v|x), shape (n, batch).
        """

    @abstractmethod
    def log_prob_v(self, v: Tensor, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Score parameters.

        Args:
            v: Parameters in (0, 1), shape (..., batch, n_params).
            x: Features, shape (batch, n_mels, n_frames).
            generator: Source of the noise where the density is estimated.

        Returns:
            log q(v|x) in nats, shape (..., batch).
        """

    @torch.no_grad()
    def mean_v(self, x: Tensor, n: int = 64, generator: Generator | None = None) -> Tensor:
        """Return the mean of q(v|x), the answer of least squared error.

        Args:
            x: Features, shape (batch, n_mels, n_frames).
            n: Number of draws it is the mean of, where it has no closed form.
            generator: Source of their noise.

        Returns:
            Parameters in (0, 1), shape (batch, n_params).
        """
        return self.sample_v(x, n, generator)[0].mean(0)

    @property
    def has_latent(self) -> bool:
        """Whether there is a latent ``z``."""
        return self.latent_dim > 0

    def posterior(self, h: Tensor) -> TorchDistribution:
        """Return q(z|x) for embeddings (..., n_embedding).

        Raises:
            InputError: The variant has no latent.
        """
        raise self._no_latent()

    def expected_x(self, z: Tensor) -> Tensor:
        """Decode latents (..., latent_dim) to features (..., n_mels, n_frames).

        Raises:
            InputError: The variant has no latent.
        """
        raise self._no_latent()

    def params_of(self, z: Tensor) -> Tensor:
        """Map latents (..., latent_dim) to parameters (..., n_params).

        Raises:
            InputError: The variant has no latent.
        """
        raise self._no_latent()

    def latent(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Map parameters to the latent they determine.

        Args:
            v: Parameters in (0, 1), shape (..., n_params).

        Returns:
            ``z``, shape (..., latent_dim), and log|det dz/dv|, shape (...).

        Raises:
            InputError: In this variant a preset does not determine its latent.
        """
        raise InputError(
            f"in variant '{type(self).__name__}' a preset does not determine its latent; use a "
            "variant with an invertible regression flow, such as flow_reg"
        )

    def expected_x_of_v(self, v: Tensor) -> Tensor:
        """Predict the sound of parameters: the model's own differentiable proxy of the synth.

        Args:
            v: Parameters in (0, 1), shape (..., n_params).

        Returns:
            Features, shape (..., n_mels, n_frames).

        Raises:
            InputError: In this variant a preset does not determine its latent.
        """
        return self.expected_x(self.latent(v)[0])

    def axes(self, z: Tensor) -> Tensor:
        """Map latents to coordinates of which the first follow the tags, one each.

        Along a tag's coordinate its words lie in order; 1 is about the spread of all presets.

        Args:
            z: Latents, shape (..., latent_dim).

        Returns:
            Coordinates, shape (..., latent_dim).

        Raises:
            InputError: The variant has no such coordinates.
        """
        raise self._no_axes()

    def latent_of(self, axes: Tensor) -> Tensor:
        """Map coordinates (..., latent_dim) to latents, the inverse of ``axes``.

        Raises:
            InputError: The variant has no such coordinates.
        """
        raise self._no_axes()

    def steer(self, z: Tensor, tag: str, amount: float | Tensor) -> Tensor:
        """Move latents along the axis of a tag, and keep all other coordinates.

        Args:
            z: Latents, shape (..., latent_dim).
            tag: Name of the tag.
            amount: How far, towards the last word; negative towards the first. Shape (...).

        Returns:
            The latents there.

        Raises:
            InputError: The tag is unknown, or the variant has no axes of tags.
        """
        coordinates = self.axes(z)
        if tag not in self.dims.tags:
            raise unknown("tag", tag, self.dims.tags)
        along = coordinates.new_zeros(coordinates.shape[-1])
        along[self.dims.tags.index(tag)] = 1.0
        step = torch.as_tensor(amount, dtype=z.dtype, device=z.device).unsqueeze(-1)
        return self.latent_of(coordinates + step * along)

    def _no_axes(self) -> InputError:
        return InputError(
            f"variant '{type(self).__name__}' has no axes of tags; use one that has, such as "
            "flow_dis"
        )

    def _no_latent(self) -> InputError:
        return InputError(
            f"variant '{type(self).__name__}' has no latent space; use one that has, such as "
            "flow_reg"
        )


def where_known(batch: Batch) -> AbstractContextManager[Any]:
    """Count the sites inside only on the rows that know their parameters."""
    known: Any = batch.get("has_v", True)
    return poutine.mask(mask=known)


V = TypeVar("V", bound=Variant)


def sized(variant: type[Variant], options: Mapping[str, Any]) -> tuple[dict[str, Any], Size]:
    """Resolve the option ``size``.

    Args:
        variant: The class.
        options: Its hyper-parameters, and perhaps ``size``, the name of one of its sizes.

    Returns:
        The hyper-parameters, those given before those of the size; and the size.

    Raises:
        InputError: There is no such size (the known ones are listed).
    """
    given = dict(options)
    name = given.pop("size", None)
    if name is None:
        return given, Size()
    if name not in variant.sizes:
        raise unknown(f"size of {variant.__name__}", str(name), variant.sizes)
    size = variant.sizes[name]
    return {**size.options, **given}, size


def build(variant: type[V], dims: Dims, options: dict[str, Any]) -> V:
    """Build a variant from hyper-parameters given by name.

    Args:
        variant: The class.
        dims: The sizes.
        options: Keyword arguments of its constructor.

    Returns:
        The instance.

    Raises:
        InputError: An argument is unknown (the known ones are listed) or its value unusable.
    """
    parameters = inspect.signature(variant.__init__).parameters.values()
    known = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    for name in options:
        if name not in known:
            raise unknown(f"argument of {variant.__name__}", name, known)
    try:
        return variant(dims, **options)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"cannot build {variant.__name__} with {options}: {error}") from error
