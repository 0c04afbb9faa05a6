"""VAE with a flow posterior and a perceptron from the latent to the parameters."""

from collections.abc import Sequence

import pyro
import torch
from torch import nn

from pyrosynth.modeling import (
    MLP, Batch, Dims, Kind, Networks, Term, Variant, WarmUp, paper_recipe, posterior_flow,
    sound_decoder, sound_encoder, squared_error,
)  # fmt: skip


class VAEFlow(Variant):
    """VAE with a flow posterior and a perceptron from the latent to the parameters.

    The generative process is that of ``ae``; the guide's q(z|x) is a standard normal pushed
    through a flow that reads the encoder, and q(v|z) = p(v|z).

    The objective is that of ``vae`` as well: every row maximises its evidence lower bound, with
    the parameters where they are known, and minimises the squared error of p(v|z)'s mean there.
    q(v|x) = E over q(z|x) of p(v|z) is estimated by a mixture over draws of z: a lower bound on
    average.

    Recipe ``paper``: the networks of ``ae`` in that recipe, 16 inverse autoregressive steps in
    the posterior, and no weight below 1.

    Args:
        dims: The sizes.
        latent_dim: Size of the latent; None for as many as there are parameters.
        networks, embedding_dim, channels, decoder_hidden, rank, regressor_hidden: As in ``ae``.
        n_layers: Couplings or steps of the flow.
        hidden: Width of the networks inside the flow.
        bins: Bins of each spline.
        kind: What the flow is made of: "spline", "affine" or "iaf".
        n_mixture: Number of latents that estimate q(v|x).
        alpha: Weight of log p(x|z).
        beta: Weight of the divergence of q(z|x) from p(z), reached after ``beta_steps`` steps.
        beta_steps: Steps of its warm-up.
        gamma: Weight of log p(v|z), reached after ``gamma_steps`` steps.
        gamma_steps: Steps of its warm-up, and of that of ``delta``.
        delta: Weight of the squared error.

    References:
        Esling et al. (2019), Universal audio synthesizer control with normalizing flows,
        https://arxiv.org/abs/1907.00971.
    """

    recipes = paper_recipe(
        latent_dim=None, networks="conv", embedding_dim=1024, channels=(64,) * 5,
        decoder_hidden=1024, regressor_hidden=(1024, 1024), kind="iaf", n_layers=16, hidden=64,
        alpha=1.0, beta=1.0, beta_steps=17_200, gamma_steps=17_200,
    )  # fmt: skip

    def __init__(
        self, dims: Dims, *, latent_dim: int | None = 32, networks: Networks = "mel",
        embedding_dim: int = 256, channels: Sequence[int] = (128, 192, 256), n_layers: int = 4,
        hidden: int = 192, bins: int = 8, kind: Kind = "spline", decoder_hidden: int = 512,
        rank: int = 256, regressor_hidden: Sequence[int] = (256, 256), n_mixture: int = 64,
        alpha: float = 0.01, beta: float = 0.1, beta_steps: int = 500, gamma: float = 1.0,
        gamma_steps: int = 0, delta: float = 100.0,
    ) -> None:  # fmt: skip
        super().__init__(dims, latent_dim)
        size = self.latent_dim
        self.n_mixture = n_mixture
        known = WarmUp(gamma, gamma_steps), WarmUp(delta, gamma_steps)
        self.terms = (
            Term("sound", ("x",), alpha), Term("latent", ("z",), WarmUp(beta, beta_steps)),
            Term("preset", ("v",), known[0]), Term("error", ("v",), known[1], score=squared_error),
        )  # fmt: skip
        self.encoder = sound_encoder(networks, dims.x_shape, embedding_dim, channels)
        self.decoder = sound_decoder(
            networks, size, dims.x_shape, channels=channels, hidden=decoder_hidden, rank=rank
        )
        self.log_scale = nn.Parameter(torch.zeros(dims.x_shape[0]))
        self.regressor = MLP(size, regressor_hidden, dims.n_params)
        self.log_scale_v = nn.Parameter(torch.zeros(dims.n_params))
        self.posterior_flow = posterior_flow(
            size, embedding_dim, n_layers=n_layers, hidden=hidden, bins=bins, kind=kind
        )

    def guide(self, batch: Batch) -> None:
        """Draw latents by the flow, and presets given latents."""
        h = self.encode(batch["x"])
        with self.rows(batch):
            pyro.sample("v", self.preset(pyro.sample("z", self.posterior(h))))
