"""VAE with a flow posterior and an invertible flow from the latent to the parameters."""

from collections.abc import Sequence
from typing import Any

import pyro
import torch
from pyro.distributions import TransformedDistribution
from torch import nn

from pyrosynth.modeling import (
    Batch, Dims, FlowTransform, Kind, MelNormal, Networks, Term, Variant, WarmUp, paper_recipe,
    posterior_flow, regression_flow, sound_decoder, sound_encoder, standard_normal,
)  # fmt: skip


class FlowReg(Variant):
    """VAE with a flow posterior and an invertible flow from the latent to the parameters.

    Generative process, ``r`` the regression flow (it ends in the unit cube):

        z ~ N(0, I), v = r(z)           latent and parameters, as many of either
        x | v ~ N(decoder(z), sigma²)   sound, one sigma for each mel band

    Guide: q(v|x), a standard normal pushed through a flow that reads the encoder, then through r.

    A preset determines its latent, r⁻¹(v). Rows with a preset maximise the exact log p(x, v) and,
    weighted by gamma, log q(v|x), which alone trains the guide there; those without maximise their
    evidence lower bound.

    Recipe ``paper``: the published convolutions, 16 autoregressive steps in either flow, beta's
    warm-up of 100 epochs, and no weight below 1. The published steps draw all features at once
    (IAF); this objective scores with them, so they are turned around (MAF), and draw one by one.

    Args:
        dims: The sizes.
        networks: ``"mel"`` for the package's networks, ``"conv"`` for the published ones.
        embedding_dim: Size of the encoder's output.
        channels: Channels of the encoder's convolutions.
        n_layers: Steps of the posterior flow.
        n_regression_layers: Steps of the regression flow.
        hidden: Width of the networks inside the flows.
        bins: Bins of each spline.
        kind: What both flows are made of: "spline", "affine" or "maf".
        decoder_hidden: Width of the decoder's layers.
        rank: Spectrograms the ``"mel"`` decoder mixes.
        alpha: Weight of log p(x|v).
        beta: Weight of log p(v), reached after ``beta_steps`` steps.
        beta_steps: Steps of beta's warm-up.
        gamma: Weight of log q(v|x), reached after ``gamma_steps`` steps.
        gamma_steps: Steps of gamma's warm-up.

    References:
        Esling et al. (2019), Universal audio synthesizer control with normalizing flows,
        https://arxiv.org/abs/1907.00971.
        Kingma et al. (2014), Semi-supervised learning with deep generative models,
        https://arxiv.org/abs/1406.5298.
    """

    exact = True
    recipes = paper_recipe(
        networks="conv", embedding_dim=1024, channels=(64,) * 5, decoder_hidden=1024, n_layers=16,
        n_regression_layers=16, hidden=64, kind="maf", alpha=1.0, beta=1.0, beta_steps=17_200,
    )  # fmt: skip

    def __init__(
        self, dims: Dims, *, networks: Networks = "mel", embedding_dim: int = 256,
        channels: Sequence[int] = (128, 192, 256), n_layers: int = 5, n_regression_layers: int = 3,
        hidden: int = 256, bins: int = 8, kind: Kind = "spline", decoder_hidden: int = 512,
        rank: int = 256, alpha: float = 0.01, beta: float = 0.1, beta_steps: int = 0,
        gamma: float = 1.0, gamma_steps: int = 0,
    ) -> None:  # fmt: skip
        n, shape = dims.n_params, dims.x_shape
        super().__init__(dims, latent_dim=n)
        self.terms = (
            Term("sound", ("x",), alpha),
            Term("latent", ("v",), WarmUp(beta, beta_steps)),
            Term("preset", guide=("v",), weight=WarmUp(gamma, gamma_steps)),
        )
        self.encoder = sound_encoder(networks, shape, embedding_dim, channels)
        self.decoder = sound_decoder(
            networks, n, shape, channels=channels, hidden=decoder_hidden, rank=rank
        )
        self.log_scale = nn.Parameter(torch.zeros(shape[0]))
        flow: dict[str, Any] = {"hidden": hidden, "bins": bins, "kind": kind}
        self.posterior_flow = posterior_flow(n, embedding_dim, n_layers=n_layers, **flow)
        self.regression = regression_flow(n, n_layers=n_regression_layers, **flow)

    def model(self, batch: Batch | None = None) -> None:
        """Draw presets, and their sounds from the latents they determine."""
        r = FlowTransform(self.regression)
        with self.rows(batch):
            v = pyro.sample("v", TransformedDistribution(standard_normal(self.origin), [r]))
            pyro.sample("x", MelNormal(self.decoder(r.inv(v)), self.log_scale))

    def guide(self, batch: Batch) -> None:
        """Draw presets given their sounds."""
        z = self.posterior(self.encode(batch["x"]))
        with self.rows(batch):
            pyro.sample("v", TransformedDistribution(z, [FlowTransform(self.regression)]))
