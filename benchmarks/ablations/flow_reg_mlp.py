"""FlowReg with a perceptron of equal size in place of the regression flow."""

import math
from collections.abc import Sequence

import pyro
import torch
from pyro.distributions import TorchDistribution
from pyrosynth.modeling.convolutions import Networks, sound_decoder, sound_encoder
from torch import Generator, Tensor, nn

from pyrosynth.modeling.distributions import (
    CubeNormal,
    MelNormal,
    draw,
    flow_normal,
    standard_normal,
)
from pyrosynth.modeling.flows import Kind, posterior_flow, regression_flow
from pyrosynth.modeling.networks import MLP
from pyrosynth.modeling.variant import Batch, Dims, Term, Variant, WarmUp, where_known


class FlowRegMLP(Variant):
    """FlowReg with a perceptron of equal size in place of the regression flow.

    An ablation: encoder, decoder, posterior flow and size of the latent are those of ``flow_reg``,
    and the perceptron has as many weights as its regression flow. A preset no longer determines
    its latent, so a row maximises its evidence lower bound, with

        Phi⁻¹(v) | z ~ N(regressor(z), scale²)      parameters, one learnt scale each

    and q(v|x) is estimated by a mixture over draws of z. It is ``vae_flow`` with these sizes.

    Args:
        dims: The sizes.
        networks: ``"mel"`` for the package's networks, ``"conv"`` for the published ones.
        embedding_dim: Size of the encoder's output.
        channels: Channels of the encoder's convolutions.
        n_layers: Steps of the posterior flow.
        n_regression_layers: Steps of the regression flow whose size the regressor has.
        hidden: Width of the networks inside the flows.
        bins: Bins of each spline.
        kind: What the flows are made of: "spline", "affine" or "iaf".
        decoder_hidden: Width of the decoder's layers.
        rank: Spectrograms the ``"mel"`` decoder mixes.
        n_mixture: Draws of z that estimate q(v|x).
        alpha: Weight of log p(x|z).
        beta: Weight of the divergence from the prior, reached after ``beta_steps`` steps.
        beta_steps: Steps of beta's warm-up.
        gamma: Weight of log p(v|z), reached after ``gamma_steps`` steps.
        gamma_steps: Steps of gamma's warm-up.

    References:
        Esling et al. (2019), Universal audio synthesizer control with normalizing flows,
        https://arxiv.org/abs/1907.00971.
    """

    origin: Tensor

    def __init__(
        self,
        dims: Dims,
        *,
        networks: Networks = "mel",
        embedding_dim: int = 256,
        channels: Sequence[int] = (128, 192, 256),
        n_layers: int = 5,
        n_regression_layers: int = 3,
        hidden: int = 256,
        bins: int = 8,
        kind: Kind = "spline",
        decoder_hidden: int = 512,
        rank: int = 256,
        n_mixture: int = 64,
        alpha: float = 0.01,
        beta: float = 0.1,
        beta_steps: int = 0,
        gamma: float = 1.0,
        gamma_steps: int = 0,
    ) -> None:
        super().__init__(dims)
        self.n_mixture = n_mixture
        n = self.latent_dim = dims.n_params
        self.terms = (
            Term("sound", ("x",), alpha),
            Term("latent", ("z",), WarmUp(beta, beta_steps)),
            Term("preset", ("v",), WarmUp(gamma, gamma_steps)),
        )
        self.encoder = sound_encoder(networks, dims.x_shape, embedding_dim, channels)
        self.decoder = sound_decoder(
            networks, n, dims.x_shape, channels=channels, hidden=decoder_hidden, rank=rank
        )
        self.log_scale = nn.Parameter(torch.zeros(dims.x_shape[0]))
        with torch.device("meta"):
            flow = regression_flow(
                n, n_layers=n_regression_layers, hidden=hidden, bins=bins, kind=kind
            )
        width = _width(n, sum(p.numel() for p in flow.parameters()))
        self.regressor = MLP(n, (width, width), n)
        self.log_scale_v = nn.Parameter(torch.zeros(dims.n_params))
        self.posterior_flow = posterior_flow(
            n, embedding_dim, n_layers=n_layers, hidden=hidden, bins=bins, kind=kind
        )
        self.register_buffer("origin", torch.zeros(n), persistent=False)

    def encode(self, x: Tensor) -> Tensor:
        """Embed features (..., n_mels, n_frames)."""
        return self.encoder(x)

    def posterior(self, h: Tensor) -> TorchDistribution:
        """Return q(z|x) for embeddings."""
        return flow_normal(self.posterior_flow, self.origin.expand(*h.shape[:-1], -1), h)

    def preset(self, z: Tensor) -> CubeNormal:
        """Return p(v|z)."""
        return CubeNormal(self.regressor(z), self.log_scale_v)

    def params_of(self, z: Tensor) -> Tensor:
        """Return the mean of v given z."""
        return self.preset(z).mean

    def expected_x(self, z: Tensor) -> Tensor:
        """Decode latents."""
        return self.decoder(z)

    def model(self, batch: Batch) -> None:
        """Score the sound, and the preset where it is known."""
        with pyro.plate("presets", len(batch["x"])):
            z = pyro.sample("z", standard_normal(self.origin))
            pyro.sample("x", MelNormal(self.decoder(z), self.log_scale), obs=batch["x"])
            with where_known(batch):
                pyro.sample("v", self.preset(z), obs=batch["v"])

    def guide(self, batch: Batch) -> None:
        """Draw the latent."""
        with pyro.plate("presets", len(batch["x"])):
            pyro.sample("z", self.posterior(batch["h"]))

    def sample_v(
        self, x: Tensor, n: int, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw parameters (n, batch, n_params) and estimate their log q(v|x)."""
        v = self.preset(self._draws(x, n, generator)).rsample(generator=generator)
        return v, self.log_prob_v(v, x, generator)

    def log_prob_v(self, v: Tensor, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Estimate log q(v|x) by a mixture over draws of z."""
        return self.preset(self._draws(x, self.n_mixture, generator)).log_mixture(v)

    @torch.no_grad()
    def mean_v(self, x: Tensor, n: int = 64, generator: Generator | None = None) -> Tensor:
        """Return the mean of q(v|x): that of p(v|z), over draws of z."""
        return self.preset(self._draws(x, n, generator)).mean.mean(0)

    def _draws(self, x: Tensor, n: int, generator: Generator | None) -> Tensor:
        """Draw z from q(z|x), shape (n, batch, latent_dim)."""
        origin = self.origin.expand(len(x), -1)
        return draw(self.posterior_flow, n, origin, self.encode(x), generator)[0]


def _width(n: int, n_weights: int) -> int:
    """Return the width of two hidden layers between n numbers that has so many weights."""
    linear = 2 * n + 2  # width² + linear width + n is their number
    return round((math.sqrt(linear**2 + 4 * (n_weights - n)) - linear) / 2)
