"""Auto-encoder, and a perceptron from the latent to the parameters."""

from collections.abc import Sequence

import pyro
from pyro.distributions import Delta
from torch import Tensor

from pyrosynth.modeling import (
    AutoEncoder, Batch, Dims, Networks, Term, WarmUp, paper_recipe, squared_error,
)  # fmt: skip


class AE(AutoEncoder):
    """Auto-encoder, and a perceptron from the latent to the parameters.

    Generative process, Phi the normal distribution function:

        z ~ N(0, I)                                 latent
        x | z ~ N(decoder(z), sigma²)               sound, one sigma for each mel band
        Phi⁻¹(v) | z ~ N(regressor(z), scale²)      parameters, one learnt scale each

    Guide: a point mass, z = code(encoder(x)), and q(v|z) = p(v|z). The density of z is in no
    term, as if it were flat: the objective is log p(x|z) and, where the preset is known,
    log p(v|z), which is what an auto-encoder maximises. Nothing gives the latent a shape, and
    what is drawn from the prior need not be near any sound; ``vae`` and ``wae`` see to that.

    q(v|x) = p(v|z) at that z, exactly; its mean is the answer. Its squared error, which is the
    published loss of the regression, is a term of its own; why is said in ``mlp``.

    Recipe ``paper``: the convolutions of ``cnn`` with half the channels and units on either side,
    as many latent dimensions as there are parameters, and no weight below 1.

    Args:
        dims: The sizes.
        latent_dim: Size of the latent; None for as many as there are parameters.
        networks: ``"mel"`` for the package's networks, ``"conv"`` for the published ones.
        embedding_dim: Size of what the encoder gives.
        channels: Channels of its convolutions.
        decoder_hidden: Width of the layers of the decoder.
        rank: Spectrograms that a ``"mel"`` decoder mixes.
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
    recipes = paper_recipe(
        latent_dim=None, networks="conv", embedding_dim=1024, alpha=1.0, channels=(64,) * 5,
        decoder_hidden=1024, regressor_hidden=(1024, 1024), gamma_steps=17_200,
    )  # fmt: skip

    def __init__(
        self, dims: Dims, *, latent_dim: int | None = 32, networks: Networks = "mel",
        embedding_dim: int = 256, channels: Sequence[int] = (128, 192, 256),
        decoder_hidden: int = 512, rank: int = 256, regressor_hidden: Sequence[int] = (256, 256),
        alpha: float = 0.01, gamma: float = 1.0, gamma_steps: int = 0, delta: float = 100.0,
    ) -> None:  # fmt: skip
        super().__init__(dims, latent_dim)
        self.terms = (
            Term("sound", ("x",), alpha),
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
        point = self.posterior(self.encode(batch["x"]))
        with self.rows(batch):
            pyro.sample("v", self.preset(pyro.sample("z", point)))
