"""Auto-encoder, and a perceptron from the latent to the parameters."""

from collections.abc import Sequence

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Generator, Tensor, nn
from torch.distributions import constraints

from pyrosynth.modeling.convolutions import Networks, sound_decoder, sound_encoder
from pyrosynth.modeling.distributions import CubeNormal, MelNormal
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


class AE(Variant):
    """Auto-encoder, and a perceptron from the latent to the parameters.

    Generative process, Phi the normal distribution function:

        z ~ flat over the whole space               latent
        x | z ~ N(decoder(z), sigma²)               sound, one sigma for each mel band
        Phi⁻¹(v) | z ~ N(regressor(z), scale²)      parameters, one learnt scale each

    Guide: a point mass, z = code(encoder(x)). With the flat prior, which knows no size of z, the
    bound is log p(x|z) and, where the preset is known, log p(v|z): what an auto-encoder
    maximises. Nothing else gives the latent a shape; ``vae`` and ``wae`` do.

    q(v|x) = p(v|z) at that z, exactly; its mean is the answer. Its squared error, which is the
    published loss of the regression, is a term of its own; why is said in ``mlp``.

    Size ``paper``: the convolutions of ``cnn`` with half the channels and units on either side,
    as many latent dimensions as there are parameters, and no weight below 1.

    Args:
        dims: The sizes.
        latent_dim: Size of the latent; None for as many as there are parameters.
        networks: ``"mel"`` for the package's networks, ``"conv"`` for the published ones.
        embedding_dim: Size of the encoder's output.
        channels: Channels of the encoder's convolutions.
        decoder_hidden: Width of the decoder's layers.
        rank: Spectrograms the ``"mel"`` decoder mixes.
        regressor_hidden: Hidden layers of the regressor.
        alpha: Weight of log p(x|z).
        gamma: Weight of log p(v|z), reached after ``gamma_steps`` steps.
        gamma_steps: Steps of gamma's warm-up.
        delta: Weight of the squared error of v, reached after as many steps.

    References:
        Esling et al. (2019), Universal audio synthesizer control with normalizing flows,
        https://arxiv.org/abs/1907.00971.
    """

    exact = True
    sizes = {
        "paper": Size(
            {
                "latent_dim": None, "networks": "conv", "embedding_dim": 1024,
                "channels": (64,) * 5, "decoder_hidden": 1024, "regressor_hidden": (1024, 1024),
                "alpha": 1.0, "gamma_steps": 17_200,
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
        alpha: float = 0.01,
        gamma: float = 1.0,
        gamma_steps: int = 0,
        delta: float = 100.0,
    ) -> None:
        super().__init__(dims)
        n = self.latent_dim = dims.n_params if latent_dim is None else latent_dim
        self.terms = (
            Term("sound", ("z", "x"), alpha),
            Term("preset", ("v",), WarmUp(gamma, gamma_steps)),
            Term("error", ("error",), WarmUp(delta, gamma_steps)),
        )
        self.encoder = sound_encoder(networks, dims.x_shape, embedding_dim, channels)
        self.code = nn.Linear(embedding_dim, n)
        self.decoder = sound_decoder(
            networks, n, dims.x_shape, channels=channels, hidden=decoder_hidden, rank=rank
        )
        self.log_scale = nn.Parameter(torch.zeros(dims.x_shape[0]))
        self.regressor = MLP(n, regressor_hidden, dims.n_params)
        self.log_scale_v = nn.Parameter(torch.zeros(dims.n_params))

    def encode(self, x: Tensor) -> Tensor:
        """Embed features (..., n_mels, n_frames)."""
        return self.encoder(x)

    def posterior(self, h: Tensor) -> TorchDistribution:
        """Return q(z|x) for embeddings: a point."""
        return dist.Delta(self.code(h), event_dim=1)

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
        flat = dist.ImproperUniform(constraints.real_vector, (), (self.latent_dim,))
        with pyro.plate("presets", len(batch["x"])):
            z = pyro.sample("z", flat)
            pyro.sample("x", MelNormal(self.decoder(z), self.log_scale), obs=batch["x"])
            with where_known(batch):
                p, v = self.preset(z), batch["v"]
                pyro.sample("v", p, obs=v)
                pyro.factor("error", -(p.mean - v).square().sum(-1))

    def guide(self, batch: Batch) -> None:
        """Place the latent."""
        with pyro.plate("presets", len(batch["x"])):
            pyro.sample("z", self.posterior(batch["h"]))

    def sample_v(
        self, x: Tensor, n: int, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw parameters (n, batch, n_params) and their exact log q(v|x)."""
        q = self.preset(self.code(self.encode(x)))
        v = q.rsample((n,), generator)
        return v, q.log_prob(v)

    def log_prob_v(self, v: Tensor, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Return the exact log q(v|x)."""
        return self.preset(self.code(self.encode(x))).log_prob(v)

    @torch.no_grad()
    def mean_v(self, x: Tensor, n: int = 64, generator: Generator | None = None) -> Tensor:
        """Return the answer: the exact mean of q(v|x)."""
        return self.preset(self.code(self.encode(x))).mean
