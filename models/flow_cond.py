"""VAE with a flow posterior and a regression flow whose parameters are read from the latent."""

from collections.abc import Sequence
from typing import Any

import pyro
import torch
from pyro.distributions import TransformedDistribution
from torch import Tensor, nn

from pyrosynth.modeling import (
    MLP, Batch, Chain, Dims, Kind, Networks, Term, UnitCube, Variant, WarmUp, flow_normal,
    paper_recipe, posterior_flow, shared, sound_decoder, sound_encoder,
)  # fmt: skip


class FlowCond(Variant):
    """VAE with a flow posterior and a regression flow whose parameters are read from the latent.

    Generative process, Phi the normal distribution function:

        z ~ N(0, I)                              latent, of any size
        x | z ~ N(decoder(z), sigma²)            sound, one sigma for each mel band
        v | z = Phi(flow(u; net(z))), u ~ N(0, I)  parameters: a whole density for every z

    Guide: q(z|x) is a standard normal pushed through a flow that reads the encoder, and
    q(v|z) = p(v|z). Every row maximises its evidence lower bound, with the parameters where they
    are known.

    Published is the "conditional amortisation": the parameters of the flow that makes v come from
    a network of z. The flow is invertible between v and u given z, not between v and z. What is
    corrected against the released code:

    - v is scored by the density of the flow, log-determinant in full; it was compared with a
      forward pass by squares, with a noise scale whose divergence had the wrong sign;
    - u has the law whose density is used (it was uniform);
    - every step of the flow reads z (theirs overwrote what the network gave, or read nothing);
    - the flow ends inside the unit cube, and the posterior's flow reads the sound.

    q(v|x) = E over q(z|x) of p(v|z) is estimated by a mixture over draws of z: a lower bound on
    average. The parameters of a latent are those of u = 0.

    Recipe ``paper``: the published convolutions, as many latent dimensions as there are
    parameters, 16 autoregressive steps in either flow, those of the posterior drawing and those
    of the parameters scoring all features at once, 64 units inside, warm-ups of 100 epochs, and
    no weight below 1.

    Args:
        dims: The sizes.
        latent_dim: Size of the latent; None for as many as there are parameters.
        networks: ``"mel"`` for the package's networks, ``"conv"`` for the published ones.
        embedding_dim: Size of the encoder's output.
        channels: Channels of the encoder's convolutions.
        n_layers: Steps of the flow of z.
        n_regression_layers: Steps of the flow of v.
        hidden: Width of the networks inside the flows, and of what they read of z.
        bins: Bins of each spline.
        kind: What the flow of z is made of: "spline", "affine" or "iaf".
        regression_kind: What the flow of v is made of: "spline", "affine" or "maf".
        decoder_hidden: Width of the decoder.
        rank: Spectrograms the ``"mel"`` decoder mixes.
        n_mixture: Draws of z that estimate q(v|x).
        alpha: Weight of log p(x|z).
        beta: Weight of the divergence from the prior, reached after ``beta_steps`` steps.
        beta_steps: Steps of its warm-up.
        gamma: Weight of log p(v|z), reached after ``gamma_steps`` steps.
        gamma_steps: Steps of its warm-up.

    References:
        Esling et al. (2020), Flow synthesizer: universal audio synthesizer control with
        normalizing flows, section 3.2.2, https://doi.org/10.3390/app10010302.
    """

    recipes = paper_recipe(
        latent_dim=None, networks="conv", embedding_dim=1024, kind="iaf", channels=(64,) * 5,
        decoder_hidden=1024, n_layers=16, hidden=64, n_regression_layers=16, regression_kind="maf",
        alpha=1.0, beta=1.0, beta_steps=17_200, gamma_steps=17_200,
    )  # fmt: skip

    def __init__(
        self, dims: Dims, *, latent_dim: int | None = 32, networks: Networks = "mel",
        embedding_dim: int = 256, channels: Sequence[int] = (128, 192, 256), n_layers: int = 4,
        n_regression_layers: int = 5, hidden: int = 256, bins: int = 8, kind: Kind = "spline",
        regression_kind: Kind = "spline", decoder_hidden: int = 512, rank: int = 256,
        n_mixture: int = 16, alpha: float = 0.01, beta: float = 0.1, beta_steps: int = 500,
        gamma: float = 1.0, gamma_steps: int = 0,
    ) -> None:  # fmt: skip
        super().__init__(dims, latent_dim)
        n = self.latent_dim
        self.n_mixture = n_mixture
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
        inside: dict[str, Any] = {"hidden": hidden, "bins": bins}
        self.posterior_flow = posterior_flow(
            n, embedding_dim, n_layers=n_layers, kind=kind, **inside
        )
        self.reader = MLP(n, (hidden,), hidden)
        regression = posterior_flow(
            dims.n_params, hidden, n_layers=n_regression_layers, kind=regression_kind, **inside
        )
        self.regression = Chain([regression, UnitCube()])

    def preset(self, z: Tensor) -> TransformedDistribution:
        """Return p(v|z)."""
        return flow_normal(self.regression, self._u(z), shared(self.reader, z))

    def params_of(self, z: Tensor) -> Tensor:
        """Return v for u = 0."""
        return self.regression(self._u(z), self.reader(z))[0]

    def guide(self, batch: Batch) -> None:
        """Draw latents given sounds, and presets given latents."""
        with self.rows(batch):
            z = pyro.sample("z", self.posterior(self.encode(batch["x"])))
            pyro.sample("v", self.preset(z))

    def _u(self, z: Tensor) -> Tensor:
        """Return zeros of the size of u."""
        return z.new_zeros(*z.shape[:-1], self.dims.n_params)
