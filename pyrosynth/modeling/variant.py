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
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import pyro
import torch
from pyro import poutine
from pyro.distributions import TorchDistribution
from torch import Generator, Tensor, nn

from pyrosynth.errors import InputError, checked_name
from pyrosynth.modeling.bijections import Flow, UnitCube
from pyrosynth.modeling.dims import Batch, Dims, tensor_like
from pyrosynth.modeling.distributions import (
    CubeNormal,
    MelNormal,
    apart,
    flow_normal,
    log_mean_density,
    noise_from,
    shared,
    standard_normal,
)
from pyrosynth.modeling.hyperparameters import require_ranges
from pyrosynth.modeling.recipes import Recipe, plain
from pyrosynth.modeling.terms import Term


class Variant(nn.Module, ABC):
    """A generative model of presets and sounds, and the guide that inverts it.

    To write one: take ``dims`` and keyword-only hyper-parameters with defaults that JSON can
    hold, define the terms and the guide, and, unless nothing is to be learnt of how presets
    sound, the model. All else follows from the two programs and from what they are made of.

    Args:
        dims: The sizes.
        latent_dim: Size of ``z``; 0 where there is none, None for that of the parameters.

    Attributes:
        exact: Whether ``log_prob_v`` is the density itself or a Monte-Carlo estimate of it.
        uses_tags: Whether it reads tags; a fit then sees to it that there are some.
        recipes: Settings that go by a name, given as ``recipe``.
        terms: The objective.
        n_mixture: Number of latents whose mixture estimates log q(v|x).
        origin: Zeros of the size of the latent, or of the parameters where there is none.
        encoder: Network from ``x`` to ``h``.
        decoder: Network from ``z`` to the expected ``x``.
        log_scale: Log standard deviation of ``x`` about it, shape (n_mels,).
        posterior_flow: Flow from noise to ``z`` that reads ``h``.
        regression: Flow from ``z`` to ``v``, in a variant whose presets determine their latents.
        regressor: Network from ``z`` to the mean of Phi⁻¹(v), in others.
        log_scale_v: Log standard deviations about it, shape (n_params,).
    """

    exact: ClassVar[bool] = False
    uses_tags: ClassVar[bool] = False
    recipes: ClassVar[Mapping[str, Recipe]] = {}
    terms: tuple[Term, ...]
    n_mixture: int = 1
    origin: Tensor
    encoder: nn.Module
    decoder: nn.Module
    log_scale: Tensor
    posterior_flow: Flow
    regression: Flow
    regressor: nn.Module
    log_scale_v: Tensor

    def __init__(self, dims: Dims, latent_dim: int | None = 0) -> None:
        super().__init__()
        self.dims = dims
        self.latent_dim = dims.n_params if latent_dim is None else latent_dim
        origin = torch.zeros(self.latent_dim or dims.n_params)
        self.register_buffer("origin", origin, persistent=False)

    def __new__(cls, *args: Any, **kwargs: Any) -> "Variant":
        """Check and record the hyper-parameters, so that no variant has to."""
        variant = super().__new__(cls)
        signature = inspect.signature(cls.__init__).parameters
        options = {k: p for k, p in signature.items() if p.kind is p.KEYWORD_ONLY}
        given = {k: plain(kwargs.get(k, p.default)) for k, p in options.items()}
        if lacking := [k for k, value in given.items() if value is inspect.Parameter.empty]:
            needs = ", ".join(lacking)
            raise InputError(f"{cls.__name__} needs {needs}; give a default, or a value (--set)")
        require_ranges(cls.__name__, given, options)
        variant.__dict__["_hyperparameters"] = given
        return variant

    def hyperparameters(self) -> dict[str, Any]:
        """Return the constructor's keyword arguments, from which an equal instance is built."""
        return dict(self.__dict__["_hyperparameters"])

    def initialise(self, x: Tensor, mean: Tensor, std: Tensor) -> None:
        """Set what depends only on the training sounds, before the first step of a fit.

        Args:
            x: Standardised features of training sounds, shape (n, n_mels, n_frames).
            mean: What was taken off them, shape (n_mels, n_frames).
            std: What they were divided by, shape (n_mels, n_frames).
        """

    def rows(self, batch: Batch | None) -> pyro.plate:
        """Return the plate of the presets of a batch, or of one preset."""
        return pyro.plate("presets", len(batch["x"]) if batch else 1, dim=-1)

    def model(self, batch: Batch | None = None) -> None:
        """Draw presets and their sounds.

        By default latents are standard normal, sounds normal about what the decoder makes of
        them, and presets what the regressor does: p(z) p(x|z) p(v|z). Without a latent, presets
        are uniform, and sounds standard normal about the mean of all: the model of a variant that
        learns the posterior alone, and not how a preset sounds.

        Args:
            batch: What gives the number of presets; one by default.
        """
        zeros = self.origin.new_zeros
        with self.rows(batch):
            if self.has_latent:
                z = pyro.sample("z", standard_normal(self.origin))
                pyro.sample("x", MelNormal(self.decoder(z), self.log_scale))
                pyro.sample("v", self.preset(z))
            else:
                pyro.sample("v", flow_normal(UnitCube(), zeros(self.dims.n_params)))
                pyro.sample("x", MelNormal(zeros(self.dims.x_shape), zeros(())))

    @abstractmethod
    def guide(self, batch: Batch) -> None:
        """Draw presets, and their latents if there are any, given the sounds ``x`` of a batch."""

    def encode(self, x: Tensor) -> Tensor:
        """Embed features (..., n_mels, n_frames) as ``h``, (..., n_embedding)."""
        return self.encoder(x)

    def draw_v(self, x: Tensor, n: int, generator: Generator | None = None) -> Tensor:
        """Draw parameters as `sample_v` does, without their density: half of the work."""
        with noise_from(generator):
            return self._guided({"x": x}, n)["value"]

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
        exact = self.n_mixture == 1
        return v, site["fn"].log_prob(v) if exact else self.log_prob_v(v, x, generator)

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

    def _guided(self, batch: Batch, n: int | None = None) -> Any:
        """Run the guide, n times side by side, and return its site ``v``."""
        guide = self.guide
        if "v" in batch:
            guide = poutine.condition(guide, {"v": batch["v"]})
        with apart():
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
        """Return p(v|z) for latents (..., latent_dim), in a variant that has a regressor."""
        return CubeNormal(shared(self.regressor, z), self.log_scale_v)

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

    @property
    def predicts(self) -> bool:
        """Whether the sound of a preset is predicted without rendering it."""
        return self.invertible

    def encode_preset(self, v: Tensor) -> Tensor:
        """Return the predicted latent of presets that have not been rendered.

        It is the latent that a preset determines, or what a network expects it to be.

        Args:
            v: Parameters in (0, 1), shape (..., n_params).

        Returns:
            ``z``, shape (..., latent_dim).

        Raises:
            InputError: The variant does not predict the sound of a preset.
        """
        return self.latent(v)[0]

    def remainder(self, v: Tensor, z: Tensor) -> Tensor:
        """Return the remainder ``u`` of presets given their latents, a standard normal variable.

        Where a preset determines its latent, nothing remains.

        Args:
            v: Parameters in (0, 1), shape (..., n_params).
            z: Latents, shape (..., latent_dim).

        Returns:
            ``u``, shape (..., n_remainder).
        """
        return z[..., :0]

    def params_at(self, z: Tensor, u: Tensor) -> Tensor:
        """Map latents and remainders to parameters, the inverse of ``remainder``.

        Args:
            z: Latents, shape (..., latent_dim).
            u: What remains, shape (..., n_remainder).

        Returns:
            Parameters in (0, 1), shape (..., n_params).
        """
        return self.params_of(z)

    def expected_x_of_v(self, v: Tensor) -> Tensor:
        """Predict the sound of parameters: the model's own differentiable proxy of the synth.

        Args:
            v: Parameters in (0, 1), shape (..., n_params).

        Returns:
            Features, shape (..., n_mels, n_frames).

        Raises:
            InputError: The variant does not predict the sound of a preset.
        """
        return self.expected_x(self.encode_preset(v))

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
            z: Latents, shape (..., latent_dim), of torch or NumPy.
            tag: Name of the tag.
            amount: How far, towards the last class; negative towards the first. Shape (...).

        Returns:
            The latents there.

        Raises:
            InputError: The tag is unknown, or the variant has no axes of tags.
        """
        coordinates = self.axes(tensor_like(self.origin, "latents", z, width=True))
        checked_name("tag", tag, self.dims.tags)
        along = coordinates.new_zeros(coordinates.shape[-1])
        along[self.dims.tags.index(tag)] = 1.0
        step = tensor_like(coordinates, "amount", amount).unsqueeze(-1)
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
                "flow_reg, or pass latent_dim to super().__init__ in one of your own"
            )
