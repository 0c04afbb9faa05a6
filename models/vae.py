"""Variational auto-encoder, and a perceptron from the latent to the parameters."""

from collections.abc import Sequence

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Generator, Tensor, nn

from pyrosynth.modeling.convolutions import Networks, sound_decoder, sound_encoder
from pyrosynth.modeling.distributions import CubeNormal, MelNormal, standard_normal
from pyrosynth.modeling.networks import MLP
from pyrosynth.modeling.variant import (
    PAPER_TRAINING,
    Batch,
    Dims,
    Size,
    Term,
    Variant,
    WarmUp,
    where_known,
)


class VAE(Variant):
    """Variational auto-encoder, and a perceptron from the latent to the parameters.

    Generative process, Phi the normal distribution function:

        z ~ N(0, I)                                 latent
        x | z ~ N(decoder(z), sigma²)               sound, one sigma for each mel band
        Phi⁻¹(v) | z ~ N(regressor(z), scale²)      parameters, one learnt scale each

    Guide: q(z|x) = N(loc, width²), independent dimensions, both read from encoder(x).

    Every row maximises its evidence lower bound, with the parameters where they are known. The
    density of parameters given a sound, q(v|x) = E over q(z|x) of p(v|z), is estimated by a
    mixture over draws of z: a lower bound on average. The squared error of p(v|z)'s mean, which
    is the published loss of the regression, is a term of its own; why is said in ``mlp``.

    Size ``paper``: the networks of ``ae`` at its size, and no weight below 1.

    Args:
        dims: The sizes.
        latent_dim: Size of the latent; None for as many as there are parameters.
        networks: ``"mel"`` for the package's networks, ``"conv"`` for the published ones.
        embedding_dim: Size of the encoder's output.
        channels: Channels of the encoder's convolutions.
        decoder_hidden: Width of the decoder's layers.
        rank: Spectrograms the ``"mel"`` decoder mixes.
        regressor_hidden: Hidden layers of the regressor.
        n_mixture: Draws of z that estimate q(v|x).
        alpha: Weight of log p(x|z).
        beta: Weight of the divergence from the prior, reached after ``beta_steps`` steps.
        beta_steps: Steps of beta's warm-up.
        gamma: Weight of log p(v|z), reached after ``gamma_steps`` steps.
        gamma_steps: Steps of gamma's warm-up.
        delta: Weight of the squared error of v, reached after as many steps.

    References:
        Esling et al. (2019), Universal audio synthesizer control with normalizing flows,
        https://arxiv.org/abs/1907.00971.
        Kingma & Welling (2014), Auto-encoding variational Bayes,
        https://arxiv.org/abs/1312.6114.
    """

    origin: Tensor

    sizes = {
        "paper": Size(
            {
                "latent_dim": None, "networks": "conv", "embedding_dim": 1024,
                "channels": (64,) * 5, "decoder_hidden": 1024, "regressor_hidden": (1024, 1024),
                "alpha": 1.0, "beta": 1.0, "beta_steps": 17_200, "gamma_steps": 17_200,
            },
            PAPER_TRAINING,
        )
    }  # fmt: skip

    def __init__(
        self,
        dims: Dims,
        *,
        latent_dim: int | None = 32,
        networks: Networks = "mel",
        embedding_dim: int = 256,
        channels: Sequence[int] = (128, 192, 256),
        decoder_hidden: int = 512,
        rank: int = 256,
        regressor_hidden: Sequence[int] = (256, 256),
        n_mixture: int = 64,
        alpha: float = 0.01,
        beta: float = 0.1,
        beta_steps: int = 500,
        gamma: float = 1.0,
        gamma_steps: int = 0,
        delta: float = 100.0,
    ) -> None:
        super().__init__(dims)
        self.n_mixture = n_mixture
        n = self.latent_dim = dims.n_params if latent_dim is None else latent_dim
        self.terms = (
            Term("sound", ("x",), alpha),
            Term("latent", ("z",), WarmUp(beta, beta_steps)),
            Term("preset", ("v",), WarmUp(gamma, gamma_steps)),
            Term("error", ("error",), WarmUp(delta, gamma_steps)),
        )
        self.encoder = sound_encoder(networks, dims.x_shape, embedding_dim, channels)
        self.code = nn.Linear(embedding_dim, 2 * n)
        self.decoder = sound_decoder(
            networks, n, dims.x_shape, channels=channels, hidden=decoder_hidden, rank=rank
        )
        self.log_scale = nn.Parameter(torch.zeros(dims.x_shape[0]))
        self.regressor = MLP(n, regressor_hidden, dims.n_params)
        self.log_scale_v = nn.Parameter(torch.zeros(dims.n_params))
        self.register_buffer("origin", torch.zeros(n), persistent=False)

    def encode(self, x: Tensor) -> Tensor:
        """Embed features (..., n_mels, n_frames)."""
        return self.encoder(x)

    def posterior(self, h: Tensor) -> TorchDistribution:
        """Return q(z|x) for embeddings."""
        loc, log_width = self.code(h).chunk(2, -1)
        return dist.Normal(loc, (4 * torch.tanh(log_width / 4)).exp()).to_event(1)

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
                p, v = self.preset(z), batch["v"]
                pyro.sample("v", p, obs=v)
                pyro.factor("error", -(p.mean - v).square().sum(-1))

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
        q = self.posterior(self.encode(x))
        shape, loc = (n, *q.mean.shape), q.mean
        noise = torch.randn(shape, generator=generator, device=loc.device, dtype=loc.dtype)
        return loc + q.stddev * noise
