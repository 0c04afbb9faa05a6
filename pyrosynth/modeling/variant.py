"""What a variant is: one model/guide pair, and the weighted terms of its objective.

A variant is a plain module: no parameter store, no loss arithmetic, no data. Its model is the
joint density of presets, sounds and tags, its guide the posterior of a preset given a sound; both
are Pyro programs that run by themselves. `pyrosynth.modeling.elbo` conditions them on data, and
`pyrosynth.training.svi.fit` maximises the weighted sum of the terms.

Symbols: ``x`` (n_mels, n_frames) standardised log-mel features, ``v`` (n_params,) parameters in
the open unit cube, ``t`` (n_tags, n_classes) mask of the classes that a preset may belong to,
``z`` (latent_dim,) latent, ``h`` embedding of ``x``.
"""

import inspect
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

import pyro
import torch
from pyro import poutine
from pyro.distributions import TorchDistribution
from torch import Generator, Tensor, nn

from pyrosynth.errors import InputError, unknown
from pyrosynth.modeling.bijections import Flow, UnitCube
from pyrosynth.modeling.distributions import (
    MelNormal,
    flow_normal,
    log_mean_density,
    noise_from,
)

Batch = dict[str, Tensor]
"""``x`` (batch, n_mels, n_frames), ``v`` (batch, n_params) and, unless every row knows its
``v``, ``has_v`` (batch,) bool; where unknown, ``v`` holds any legal numbers. With tags,
``label_mask`` (batch, n_tags, n_classes) bool, see `pyrosynth.data.tags`."""

ONE_AT_A_TIME = threading.RLock()
"""Held while a program runs: Pyro keeps the handlers of all threads in one list."""


@dataclass(frozen=True)
class Dims:
    """The sizes a variant is built for.

    Args:
        n_params: Number of synth parameters learnt.
        x_shape: (n_mels, n_frames) of the features.
        resolution: Number of levels of each parameter; empty where nobody needs to know.
        tags: Names of the tags, none by default.
        classes: Names of the classes of each tag.
    """

    n_params: int
    x_shape: tuple[int, int]
    resolution: tuple[int, ...] = ()
    tags: tuple[str, ...] = ()
    classes: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True)
class WarmUp:
    """A weight that grows linearly over the first steps, then stays.

    Args:
        value: The final weight.
        steps: Number of steps to reach it; 0 starts with it.
        start: What it grows from.
    """

    value: float = 1.0
    steps: int = 0
    start: float = 0.0

    def __call__(self, step: int) -> float:
        """Return the weight at a step, counted from 0; never ``start`` itself."""
        done = min(1.0, (step + 1) / max(1, self.steps))
        return self.start + (self.value - self.start) * done


@dataclass(frozen=True)
class Term:
    """A named part of the objective.

    A site of the model counts by its log-density, less that of the guide where the guide has
    drawn it. A site whose value is not known, and which the guide is not taught, is left out on
    that row.

    Args:
        name: What it is called in the history.
        sites: Sites of the model.
        weight: Its weight, or a function of the step that gives it.
        guide: Sites of the guide, counted where their values are known.
        given: Sites that are conditioned on, among those with data: ``x``, ``v`` and ``t``; all
            of them by default. Of the others, ``v`` is drawn and ``t`` is summed over.
        score: What counts instead of the log-density, a function of a site's distribution and
            its value, (batch, ...) to (batch,); the larger the better.
    """

    name: str
    sites: tuple[str, ...] = ()
    weight: float | Callable[[int], float] = 1.0
    guide: tuple[str, ...] = ()
    given: tuple[str, ...] | None = None
    score: Callable[[Any, Tensor], Tensor] | None = None

    def at(self, step: int) -> float:
        """Return the weight at a step, counted from 0."""
        return self.weight(step) if callable(self.weight) else self.weight


def squared_error(distribution: TorchDistribution, value: Tensor) -> Tensor:
    """Return minus the squared distance of values from a distribution's mean, shape (batch,)."""
    return -(distribution.mean - value).square().sum(-1)


@dataclass(frozen=True)
class Recipe:
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
    hold, define the terms and the guide, and, unless nothing is to be learnt of how presets
    sound, the model. All else follows from the two programs and from what they are made of.

    Args:
        dims: The sizes.
        latent_dim: Size of ``z``; 0 where there is none.

    Attributes:
        exact: Whether ``log_prob_v`` is the density itself or a Monte-Carlo estimate of it.
        uses_tags: Whether it reads tags; a fit then sees to it that there are some.
        recipes: Settings that go by a name, given as ``recipe``.
        terms: The objective.
        n_mixture: Number of latents whose mixture estimates log q(v|x).
        origin: Zeros of the size of the latent, or of the parameters where there is none.
        encoder: Network from ``x`` to ``h``.
        decoder: Network from ``z`` to the expected ``x``.
        posterior_flow: Flow from noise to ``z`` that reads ``h``.
        regression: Flow from ``z`` to ``v``, in a variant whose presets determine their latents.
    """

    exact: ClassVar[bool] = False
    uses_tags: ClassVar[bool] = False
    recipes: ClassVar[Mapping[str, Recipe]] = {}
    terms: tuple[Term, ...]
    n_mixture: int = 1
    origin: Tensor
    encoder: nn.Module
    decoder: nn.Module
    posterior_flow: Flow
    regression: Flow

    def __init__(self, dims: Dims, latent_dim: int = 0) -> None:
        super().__init__()
        self.dims, self.latent_dim = dims, latent_dim
        self.register_buffer("origin", torch.zeros(latent_dim or dims.n_params), persistent=False)

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

    def rows(self, batch: Batch | None) -> pyro.plate:
        """Return the plate of the presets of a batch, or of one preset."""
        return pyro.plate("presets", len(batch["x"]) if batch else 1, dim=-1)

    def model(self, batch: Batch | None = None) -> None:
        """Draw presets and their sounds.

        By default the presets are uniform, and the sounds standard normal about the mean of all:
        the model of a variant that learns the posterior alone, and not how a preset sounds.

        Args:
            batch: What gives the number of presets; one by default.
        """
        zeros = self.origin.new_zeros
        with self.rows(batch):
            pyro.sample("v", flow_normal(UnitCube(), zeros(self.dims.n_params)))
            pyro.sample("x", MelNormal(zeros(self.dims.x_shape), zeros(())))

    @abstractmethod
    def guide(self, batch: Batch) -> None:
        """Draw presets, and their latents if there are any, given the sounds ``x`` of a batch."""

    def encode(self, x: Tensor) -> Tensor:
        """Embed features (..., n_mels, n_frames) as ``h``, (..., n_embedding)."""
        return self.encoder(x)

    def sample_v(
        self, x: Tensor, n: int, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw parameters from q(v|x): run the guide forward.

        Args:
            x: Features, shape (batch, n_mels, n_frames).
            n: Number of draws for each.
            generator: Source of the noise, on the variant's device; torch's own by default.

        Returns:
            ``v``, shape (n, batch, n_params), and log q(v|x), shape (n, batch).
        """
        with noise_from(generator):
            site = self._guided({"x": x}, n)
            v = site["value"]
            return v, site["fn"].log_prob(v) if self.n_mixture == 1 else self.log_prob_v(v, x)

    def log_prob_v(self, v: Tensor, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Score parameters: condition the guide on them.

        Args:
            v: Parameters in (0, 1), shape (..., batch, n_params).
            x: Features, shape (batch, n_mels, n_frames).
            generator: Source of the noise where the density is estimated, by a mixture over
                ``n_mixture`` latents: a lower bound on average.

        Returns:
            log q(v|x) in nats, shape (..., batch).
        """
        with noise_from(generator):
            if self.n_mixture == 1:
                return self._guided({"x": x, "v": v})["fn"].log_prob(v)
            return log_mean_density(self._guided({"x": x, "v": v}, self.n_mixture)["fn"], v)

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
        with noise_from(generator):
            site = self._guided({"x": x}, n)
        try:
            mean = site["fn"].mean
        except NotImplementedError:
            return site["value"].mean(0)
        return mean[0] if self.n_mixture == 1 else mean.mean(0)

    def _guided(self, batch: Batch, n: int | None = None) -> dict[str, Any]:
        """Run the guide, n times side by side, and return its site ``v``."""
        guide = self.guide
        if "v" in batch:
            guide = poutine.condition(guide, {"v": batch["v"]})
        with ONE_AT_A_TIME:
            if n is None:
                trace = poutine.trace(guide).get_trace(batch)
            else:
                with pyro.plate("draws", n, dim=-2):
                    trace = poutine.trace(guide).get_trace(batch)
        return trace.nodes["v"]

    @property
    def has_latent(self) -> bool:
        """Whether there is a latent ``z``."""
        return self.latent_dim > 0

    def posterior(self, h: Tensor) -> TorchDistribution:
        """Return q(z|x) for embeddings (..., n_embedding).

        Raises:
            InputError: The variant has no latent.
        """
        self._require_latent()
        return flow_normal(self.posterior_flow, self.origin.expand(*h.shape[:-1], -1), h)

    def expected_x(self, z: Tensor) -> Tensor:
        """Decode latents (..., latent_dim) to features (..., n_mels, n_frames).

        Raises:
            InputError: The variant has no latent.
        """
        self._require_latent()
        return self.decoder(z)

    def preset(self, z: Tensor) -> Any:
        """Return p(v|z) for latents (..., latent_dim), in a variant that has it."""
        raise NotImplementedError

    def params_of(self, z: Tensor) -> Tensor:
        """Map latents (..., latent_dim) to parameters (..., n_params), by r or the mean of p(v|z).

        Raises:
            InputError: The variant has no latent.
        """
        self._require_latent()
        return self.regression(z)[0] if self.invertible else self.preset(z).mean

    @property
    def invertible(self) -> bool:
        """Whether a preset determines its latent."""
        return type(self).preset is Variant.preset and "regression" in self._modules

    def latent(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Map parameters to the latent they determine.

        Args:
            v: Parameters in (0, 1), shape (..., n_params).

        Returns:
            ``z``, shape (..., latent_dim), and log|det dz/dv|, shape (...).

        Raises:
            InputError: In this variant a preset does not determine its latent.
        """
        if not self.invertible:
            raise InputError(
                f"in variant '{type(self).__name__}' a preset does not determine its latent; use "
                "a variant with an invertible regression flow, such as flow_reg"
            )
        return self.regression.inverse(v)

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

        Along a tag's coordinate its classes lie in order; 1 is about the spread of all presets.

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
            amount: How far, towards the last class; negative towards the first. Shape (...).

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

    def _require_latent(self) -> None:
        if not self.has_latent:
            raise InputError(
                f"variant '{type(self).__name__}' has no latent space; use one that has, such as "
                "flow_reg"
            )


V = TypeVar("V", bound=Variant)


def with_recipe(
    variant: type[Variant], options: Mapping[str, Any]
) -> tuple[dict[str, Any], Recipe]:
    """Resolve the option ``recipe``.

    Args:
        variant: The class.
        options: Its hyper-parameters, and perhaps ``recipe``, the name of one of its recipes.

    Returns:
        The hyper-parameters, those given before those of the recipe; and the recipe.

    Raises:
        InputError: There is no such recipe (the known ones are listed).
    """
    given = dict(options)
    name = given.pop("recipe", None)
    if name is None:
        return given, Recipe()
    if name not in variant.recipes:
        raise unknown(f"recipe of {variant.__name__}", str(name), variant.recipes)
    recipe = variant.recipes[name]
    return {**recipe.options, **given}, recipe


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
        with torch.inference_mode(False), torch.enable_grad():  # a caller's modes are not ours
            return variant(dims, **options).float()
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"cannot build {variant.__name__} with {options}: {error}") from error
