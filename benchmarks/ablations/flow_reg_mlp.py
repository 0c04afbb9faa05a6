"""FlowReg with a perceptron of equal size in place of the regression flow."""

import math
from collections.abc import Sequence

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Generator, Tensor, nn

from pyrosynth.distributions import LOG_SQRT_2PI, MelNormal, draw, flow_normal
from pyrosynth.flows import UnitCube, coupling_flow, posterior_flow
from pyrosynth.nn import MLP, MelDecoder, MelEncoder
from pyrosynth.variant import Batch, Dims, Term, Variant, WarmUp, where_known


class FlowRegMLP(Variant):
    """FlowReg with a perceptron of equal size in place of the regression flow.

    An ablation: encoder, decoder, posterior flow and size of the latent are those of ``flow_reg``,
    and the perceptron has as many weights as its regression flow. A preset no longer determines
    its latent, so a row maximises its evidence lower bound, with

        Phi⁻¹(v) | z ~ N(regressor(z), scale²)      parameters, one learnt scale each

    and q(v|x) is estimated by a mixture over draws of z. It is ``vae_flow`` with these sizes.

    Args:
        dims: The sizes.
        embedding_dim: Size of the encoder's output.
        channels: Channels of the encoder's convolutions.
        n_layers: Couplings of the posterior flow.
        n_regression_layers: Couplings of the regression flow whose size the regressor has.
        hidden: Width of the networks inside the flows.
        bins: Bins of each spline.
        decoder_hidden: Width of the decoder's residual blocks.
        rank: Spectrograms the decoder mixes.
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
        embedding_dim: int = 256,
        channels: Sequence[int] = (128, 192, 256),
        n_layers: int = 5,
        n_regression_layers: int = 3,
        hidden: int = 256,
        bins: int = 8,
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
        latent_dim = self.latent_dim = dims.n_params
        self.n_mixture = n_mixture
        self.terms = (
            Term("sound", ("x",), alpha),
            Term("latent", ("z",), WarmUp(beta, beta_steps)),
            Term("preset", ("v", "dv"), WarmUp(gamma, gamma_steps)),
        )
        self.encoder = MelEncoder(dims.x_shape, embedding_dim, channels=channels)
        self.decoder = MelDecoder(latent_dim, dims.x_shape, hidden=decoder_hidden, rank=rank)
        self.log_scale = nn.Parameter(torch.zeros(dims.x_shape[0]))
        with torch.device("meta"):
            flow = coupling_flow(
                latent_dim, n_layers=n_regression_layers, hidden=hidden, bins=bins
            )
        width = _width(latent_dim, sum(p.numel() for p in flow.parameters()))
        self.regressor = MLP(latent_dim, (width, width), latent_dim)
        self.log_scale_v = nn.Parameter(torch.zeros(dims.n_params))
        self.posterior_flow = posterior_flow(
            latent_dim, embedding_dim, n_layers=n_layers, hidden=hidden, bins=bins
        )
        self.cube = UnitCube()
        self.register_buffer("origin", torch.zeros(latent_dim), persistent=False)

    def encode(self, x: Tensor) -> Tensor:
        """Embed features (..., n_mels, n_frames)."""
        return self.encoder(x)

    def posterior(self, h: Tensor) -> TorchDistribution:
        """Return q(z|x) for embeddings."""
        return flow_normal(self.posterior_flow, self.origin.expand(*h.shape[:-1], -1), h)

    def stretched(self, z: Tensor) -> TorchDistribution:
        """Return the density of Phi⁻¹(v) given z."""
        return dist.Normal(self.regressor(z), self.log_scale_v.exp()).to_event(1)

    def params_of(self, z: Tensor) -> Tensor:
        """Return the median of v given z."""
        return self.cube(self.regressor(z))[0]

    def expected_x(self, z: Tensor) -> Tensor:
        """Decode latents."""
        return self.decoder(z)

    def model(self, batch: Batch) -> None:
        """Score the sound, and the preset where it is known."""
        y, logdet = self.cube.inverse(batch["v"])
        with pyro.plate("presets", len(batch["x"])):
            z = pyro.sample("z", dist.Normal(self.origin, 1.0).to_event(1))
            pyro.sample("x", MelNormal(self.decoder(z), self.log_scale), obs=batch["x"])
            with where_known(batch):
                pyro.sample("v", self.stretched(z), obs=y)
                pyro.factor("dv", logdet)

    def guide(self, batch: Batch) -> None:
        """Draw the latent."""
        with pyro.plate("presets", len(batch["x"])):
            pyro.sample("z", self.posterior(batch["h"]))

    def sample_v(
        self, x: Tensor, n: int, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw parameters (n, batch, n_params) and estimate their log q(v|x)."""
        origin = self.origin.expand(len(x), -1)
        z, _ = draw(self.posterior_flow, n, origin, self.encode(x), generator)
        loc = self.regressor(z)
        noise = torch.randn(loc.shape, generator=generator, device=loc.device)
        v, _ = self.cube(loc + self.log_scale_v.exp() * noise)
        return v, self.log_prob_v(v, x, generator)

    def log_prob_v(self, v: Tensor, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Estimate log q(v|x) by a mixture over draws of z."""
        origin = self.origin.expand(len(x), -1)
        z, _ = draw(self.posterior_flow, self.n_mixture, origin, self.encode(x), generator)
        y, logdet = self.cube.inverse(v)
        scale = self.log_scale_v.exp()
        # Every point against every draw of its own sound: (batch, points, n_mixture).
        points = (y / scale).reshape(-1, *y.shape[-2:]).movedim(1, 0)
        centres = (self.regressor(z) / scale).movedim(1, 0)
        squares = torch.cdist(points, centres).square()
        log_p = (-0.5 * squares).logsumexp(-1) - math.log(self.n_mixture)
        log_p = log_p - (self.log_scale_v + LOG_SQRT_2PI).sum()
        return log_p.movedim(0, -1).reshape(v.shape[:-1]) + logdet


def _width(n: int, n_weights: int) -> int:
    """Return the width of two hidden layers between n numbers that has so many weights."""
    linear = 2 * n + 2  # width² + linear width + n is their number
    return round((math.sqrt(linear**2 + 4 * (n_weights - n)) - linear) / 2)
