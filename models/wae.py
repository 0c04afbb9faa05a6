"""Wasserstein auto-encoder, and a perceptron from the latent to the parameters."""

from collections.abc import Sequence

import pyro
from pyro.distributions import Delta, TorchDistribution
from torch import Tensor

from pyrosynth.modeling import (
    AutoEncoder, Batch, Dims, Networks, Term, WarmUp, paper_recipe, squared_error, whole_batch,
)  # fmt: skip


def mmd(z: Tensor, y: Tensor) -> Tensor:
    """Estimate the squared maximum mean discrepancy of two laws, without bias.

    Args:
        z: Points of the one, shape (n, latent_dim), n at least 2.
        y: Points of the other, of the same shape.

    Returns:
        The estimate, shape (); it may be a little below 0.
    """
    n, dim = z.shape

    def mean_kernel(a: Tensor, b: Tensor, *, same: bool) -> Tensor:
        squares = a.square().sum(-1, keepdim=True) + b.square().sum(-1) - 2 * a @ b.mT
        total = (-squares / (2 * dim)).exp().sum()
        return (total - n) / max(1, n * (n - 1)) if same else total / n**2

    within = mean_kernel(z, z, same=True) + mean_kernel(y, y, same=True)
    return within - 2 * mean_kernel(z, y, same=False)


def likeness(prior: TorchDistribution, z: Tensor) -> Tensor:
    """Score the latents of a batch by how near their law is to the prior, shape (batch,)."""
    return -mmd(whole_batch(z), whole_batch(prior.rsample().detach())).expand(len(z))


class WAE(AutoEncoder):
    """Wasserstein auto-encoder, and a perceptron from the latent to the parameters.

    The generative process is that of ``ae``, z ~ N(0, I) the latent. Guide: a point mass,
    z = code(encoder(x)), and q(v|z) = p(v|z). Not each q(z|x) is drawn to the prior, as in
    ``vae``, but all of them together: the divergence is the maximum mean discrepancy between the
    latents of a batch and as many draws from the prior,

        mmd = mean k(z, z') + mean k(y, y') - 2 mean k(z, y),   y ~ N(0, I)
        k(a, b) = exp(-|a - b|² / 2 latent_dim)

    the means over different points only. (Published were |a - b|² / latent_dim², so wide a
    kernel that it sees the mean of the latents and hardly their spread; means with a point and
    itself, which draw the latents together; and a weight of 1 beside the squares of thousands of
    cells, where it does nothing.) It couples the rows of a batch in training, and only there.

    As in ``ae``, q(v|x) = p(v|z) is exact, and the squared error of its mean is a term of its own.

    Recipe ``paper``: the networks of ``ae`` in that recipe.

    Args:
        dims: The sizes.
        latent_dim: Size of z; None makes it that of the parameters.
        networks, embedding_dim, channels, decoder_hidden, rank, regressor_hidden: As in ``ae``.
        alpha: Weight of the sound.
        beta: Weight of the discrepancy from the prior, reached after ``beta_steps`` steps.
        beta_steps: Steps of its warm-up.
        gamma: Weight of the parameters, reached after ``gamma_steps`` steps.
        gamma_steps: Steps of its warm-up, and of that of ``delta``.
        delta: Weight of their squared error.

    References:
        Esling et al. (2019), Universal audio synthesizer control with normalizing flows,
        https://arxiv.org/abs/1907.00971.
        Tolstikhin et al. (2018), Wasserstein auto-encoders, https://arxiv.org/abs/1711.01558.
    """

    exact = True
    recipes = paper_recipe(
        latent_dim=None, networks="conv", embedding_dim=1024, alpha=1.0, channels=(64,) * 5,
        decoder_hidden=1024, regressor_hidden=(1024, 1024), beta=1000.0, beta_steps=17_200,
        gamma_steps=17_200,
    )  # fmt: skip

    def __init__(
        self, dims: Dims, *, networks: Networks = "mel", latent_dim: int | None = 32,
        channels: Sequence[int] = (128, 192, 256), embedding_dim: int = 256, rank: int = 256,
        regressor_hidden: Sequence[int] = (256, 256), decoder_hidden: int = 512,
        alpha: float = 0.01, beta: float = 10.0, beta_steps: int = 0, gamma: float = 1.0,
        gamma_steps: int = 0, delta: float = 100.0,
    ) -> None:  # fmt: skip
        super().__init__(dims, latent_dim)
        self.terms = (
            Term("sound", ("x",), alpha),
            Term("latent", ("z",), WarmUp(beta, beta_steps), score=likeness),
            Term("preset", ("v",), WarmUp(gamma, gamma_steps)),
            Term("error", ("v",), WarmUp(delta, gamma_steps), score=squared_error),
        )
        self.add_autoencoder(
            networks, self.latent_dim, embedding_dim=embedding_dim, channels=channels,
            decoder_hidden=decoder_hidden, rank=rank, regressor_hidden=regressor_hidden,
        )  # fmt: skip

    def posterior(self, h: Tensor) -> Delta:
        """Return q(z|x) for embeddings: a point."""
        return Delta(self.code(h), event_dim=1)

    def guide(self, batch: Batch) -> None:
        """Place latents, and draw presets given them."""
        with self.rows(batch):
            z = pyro.sample("z", self.posterior(self.encode(batch["x"])))
            pyro.sample("v", self.preset(z))
