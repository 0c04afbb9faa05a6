"""VAE with a flow posterior and a perceptron from the latent to the parameters."""

import math
from collections.abc import Sequence

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Generator, Tensor, nn

from pyrosynth.distributions import LOG_SQRT_2PI, MelNormal, draw, flow_normal, standard_normal
from pyrosynth.flows import UnitCube, posterior_flow
from pyrosynth.nn import MLP, MelDecoder, MelEncoder
from pyrosynth.variant import Batch, Dims, Term, Variant, WarmUp, where_known


class VAEFlow(Variant):
    """VAE with a flow posterior and a perceptron from the latent to the parameters.

    Generative process, Phi the normal distribution function:

        z ~ N(0, I)                                 latent
        x | z ~ N(decoder(z), sigma²)               sound, one sigma for each mel band
        Phi⁻¹(v) | z ~ N(regressor(z), scale²)      parameters, one learnt scale each

    Guide: q(z|x) is a standard normal pushed through a flow that reads the encoder.

    Every row maximises its evidence lower bound, with the parameters where they are known. The
    density of parameters given a sound, q(v|x) = E over q(z|x) of p(v|z), is estimated by a
    mixture over draws of z: a lower bound on average.

    Args:
        dims: The sizes.
        latent_dim: Size of the latent.
        embedding_dim: Size of the encoder's output.
        channels: Channels of the encoder's convolutions.
        n_layers: Couplings of the posterior flow.
        hidden: Width of the networks inside the flow.
        bins: Bins of each spline.
        decoder_hidden: Width of the decoder's residual blocks.
        rank: Spectrograms the decoder mixes.
        regressor_hidden: Hidden layers of the regressor.
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
        latent_dim: int = 32,
        embedding_dim: int = 256,
        channels: Sequence[int] = (128, 192, 256),
        n_layers: int = 4,
        hidden: int = 192,
        bins: int = 8,
        decoder_hidden: int = 512,
        rank: int = 256,
        regressor_hidden: Sequence[int] = (256, 256),
        n_mixture: int = 64,
        alpha: float = 0.01,
        beta: float = 0.1,
        beta_steps: int = 500,
        gamma: float = 1.0,
        gamma_steps: int = 500,
    ) -> None:
        super().__init__(dims)
        self.latent_dim, self.n_mixture = latent_dim, n_mixture
        self.terms = (
            Term("sound", ("x",), alpha),
            Term("latent", ("z",), WarmUp(beta, beta_steps)),
            Term("preset", ("v", "dv"), WarmUp(gamma, gamma_steps)),
        )
        self.encoder = MelEncoder(dims.x_shape, embedding_dim, channels=channels)
        self.decoder = MelDecoder(latent_dim, dims.x_shape, hidden=decoder_hidden, rank=rank)
        self.log_scale = nn.Parameter(torch.zeros(dims.x_shape[0]))
        self.regressor = MLP(latent_dim, regressor_hidden, dims.n_params)
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
            z = pyro.sample("z", standard_normal(self.origin))
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
