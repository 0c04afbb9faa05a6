"""Variational auto-encoder, and a perceptron from the latent to the parameters."""

from collections.abc import Sequence

import pyro
import torch
from pyro.distributions import Normal, TorchDistribution
from torch import Tensor

from pyrosynth.modeling import (
    AutoEncoder, Batch, Dims, Networks, Term, WarmUp, paper_recipe, squared_error,
)  # fmt: skip


class VAE(AutoEncoder):
    """Variational auto-encoder, and a perceptron from the latent to the parameters.

    The generative process is that of ``ae``: latents z ~ N(0, I), and for each a sound and a
    preset. Guide: q(z|x) = N(loc, width²), independent dimensions, both read from encoder(x), and
    q(v|z) = p(v|z).

    Every row maximises its evidence lower bound, with the parameters where they are known. The
    density of parameters given a sound, q(v|x) = E over q(z|x) of p(v|z), is estimated by a
    mixture over draws of z: a lower bound on average. The squared error of p(v|z)'s mean, which
    is the published loss of the regression, is a term of its own; why is said in ``mlp``.

    Recipe ``paper``: the networks of ``ae`` in that recipe, and no weight below 1.

    Args:
        dims: The sizes.
        latent_dim: Size of the latent; None for as many as there are parameters.
        networks, embedding_dim, channels, decoder_hidden, rank, regressor_hidden: As in ``ae``.
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

    recipes = paper_recipe(
        latent_dim=None, networks="conv", embedding_dim=1024, channels=(64,) * 5,
        decoder_hidden=1024, regressor_hidden=(1024, 1024), alpha=1.0, beta=1.0, beta_steps=17_200,
        gamma_steps=17_200,
    )  # fmt: skip

    def __init__(
        self, dims: Dims, *, latent_dim: int | None = 32, n_mixture: int = 64,
        networks: Networks = "mel", embedding_dim: int = 256,
        channels: Sequence[int] = (128, 192, 256), decoder_hidden: int = 512, rank: int = 256,
        regressor_hidden: Sequence[int] = (256, 256), alpha: float = 0.01, beta: float = 0.1,
        beta_steps: int = 500, gamma: float = 1.0, gamma_steps: int = 0, delta: float = 100.0,
    ) -> None:  # fmt: skip
        super().__init__(dims, latent_dim)
        self.n_mixture = n_mixture
        self.terms = (
            Term("sound", ("x",), alpha),
            Term("latent", ("z",), WarmUp(beta, beta_steps)),
            Term("preset", ("v",), WarmUp(gamma, gamma_steps)),
            Term("error", ("v",), WarmUp(delta, gamma_steps), score=squared_error),
        )
        self.add_autoencoder(
            networks, 2 * self.latent_dim, embedding_dim=embedding_dim, channels=channels,
            decoder_hidden=decoder_hidden, rank=rank, regressor_hidden=regressor_hidden,
        )  # fmt: skip

    def posterior(self, h: Tensor) -> TorchDistribution:
        """Return q(z|x) for embeddings."""
        loc, log_width = self.code(h).chunk(2, -1)
        return Normal(loc, (4 * torch.tanh(log_width / 4)).exp()).to_event(1)

    def guide(self, batch: Batch) -> None:
        """Draw latents given sounds, and presets given latents."""
        with self.rows(batch):
            z = pyro.sample("z", self.posterior(self.encode(batch["x"])))
            pyro.sample("v", self.preset(z))
