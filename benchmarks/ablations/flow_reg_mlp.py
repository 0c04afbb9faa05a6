"""FlowReg with a perceptron of equal size in place of the regression flow."""

import math
from collections.abc import Sequence

import pyro
import torch
from torch import Tensor, nn

from pyrosynth.modeling import (
    MLP, Batch, CubeNormal, Dims, Kind, MelNormal, Networks, Term, Variant, WarmUp, posterior_flow,
    regression_flow, sound_decoder, sound_encoder, standard_normal,
)  # fmt: skip


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
        n = dims.n_params
        super().__init__(dims, latent_dim=n)
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

    def preset(self, z: Tensor) -> CubeNormal:
        """Return p(v|z)."""
        return CubeNormal(self.regressor(z), self.log_scale_v)

    def model(self, batch: Batch | None = None) -> None:
        """Draw latents, and from each a sound and a preset."""
        with self.rows(batch):
            z = pyro.sample("z", standard_normal(self.origin))
            pyro.sample("x", MelNormal(self.decoder(z), self.log_scale))
            pyro.sample("v", self.preset(z))

    def guide(self, batch: Batch) -> None:
        """Draw latents by the flow, and presets given latents."""
        h = self.encode(batch["x"])
        with self.rows(batch):
            pyro.sample("v", self.preset(pyro.sample("z", self.posterior(h))))


def _width(n: int, n_weights: int) -> int:
    """Return the width of two hidden layers between n numbers that has so many weights."""
    linear = 2 * n + 2  # width² + linear width + n is their number
    return round((math.sqrt(linear**2 + 4 * (n_weights - n)) - linear) / 2)
