"""Organised latent, invertible regression flow, and a posterior with discrete parameters."""

from collections.abc import Sequence

import pyro
import torch
from pyro.distributions import TorchDistribution, TransformedDistribution
from torch import Tensor, nn

from pyrosynth.modeling import (
    AutoregressiveCategorical, Batch, Chain, Dims, FlowTransform, MelDecoder, MelEncoder,
    MelNormal, MixedDiscreteFlow, Term, UnitCube, Variant, WarmUp, posterior_flow, regression_flow,
    standard_normal,
)  # fmt: skip


class FlowMixed(Variant):
    """Organised latent, invertible regression flow, and a posterior with discrete parameters.

    The generative process is that of ``flow_reg``, ``r`` the regression flow:

        v = r(z), z ~ N(0, I)           parameters and latent, as many of either
        x | v ~ N(decoder(z), sigma²)   sound, one sigma for each mel band

    The guide differs. It is defined on presets; the latent follows, z = r⁻¹(v):

        k_1 | x, k_2 | x, k_1, ...      level of each parameter with few levels: categorical
        v_c | x, k                      the other parameters: a spline flow that reads the levels

    A flow cannot jump from one waveform to the next, it must stretch a continuous density over
    the steps; categorical parameters need not, and tell the flow which synth the others belong
    to. log q(v|x) stays exact, a level of K spreading its probability evenly over 1/K.

    The objective is that of ``flow_reg``. Where a preset is unknown, the levels are drawn
    without a gradient: the categorical part learns from known presets alone.

    Args:
        dims: The sizes.
        embedding_dim: Size of the encoder's output.
        channels: Channels of the encoder's convolutions.
        n_layers: Couplings of the posterior flow.
        n_regression_layers: Couplings of the regression flow.
        hidden: Width of the networks inside the flows.
        bins: Bins of each spline.
        max_levels: Parameters with at most so many levels are categorical.
        decoder_hidden: Width of the decoder's residual blocks.
        rank: Spectrograms the decoder mixes.
        alpha: Weight of log p(x|v).
        beta: Weight of log p(v), reached after ``beta_steps`` steps.
        beta_steps: Steps of beta's warm-up.
        gamma: Weight of log q(v|x).

    References:
        Esling et al. (2019), Universal audio synthesizer control with normalizing flows,
        https://arxiv.org/abs/1907.00971.
        Frey (1998), Graphical models for machine learning and digital communication: fully
        visible belief networks, from which the levels' order of one after another is taken.
    """

    exact = True

    def __init__(
        self, dims: Dims, *, embedding_dim: int = 256, channels: Sequence[int] = (128, 192, 256),
        n_layers: int = 6, n_regression_layers: int = 3, hidden: int = 256, bins: int = 8,
        max_levels: int = 25, decoder_hidden: int = 512, rank: int = 256, alpha: float = 0.01,
        beta: float = 0.1, beta_steps: int = 0, gamma: float = 1.0,
    ) -> None:  # fmt: skip
        n = dims.n_params
        super().__init__(dims, latent_dim=n)
        self.terms = (
            Term("sound", ("x",), alpha),
            Term("latent", ("v",), WarmUp(beta, beta_steps)),
            Term("preset", guide=("v",), weight=gamma),
        )
        self.encoder = MelEncoder(dims.x_shape, embedding_dim, channels=channels)
        self.decoder = MelDecoder(n, dims.x_shape, hidden=decoder_hidden, rank=rank)
        self.log_scale = nn.Parameter(torch.zeros(dims.x_shape[0]))
        self.switches = AutoregressiveCategorical(dims, max_levels, embedding_dim, hidden)
        flow = posterior_flow(
            n - len(self.switches.levels), embedding_dim + self.switches.n_one_hot,
            n_layers=n_layers, hidden=hidden, bins=bins,
        )  # fmt: skip
        self.posterior_flow = Chain([flow, UnitCube()])
        self.regression = regression_flow(
            n, n_layers=n_regression_layers, hidden=hidden, bins=bins
        )

    def presets(self, h: Tensor) -> MixedDiscreteFlow:
        """Return q(v|x) for embeddings."""
        return MixedDiscreteFlow(self.switches, self.posterior_flow, h)

    def posterior(self, h: Tensor) -> TorchDistribution:
        """Return q(z|x) for embeddings."""
        return TransformedDistribution(self.presets(h), [FlowTransform(self.regression).inv])

    def model(self, batch: Batch | None = None) -> None:
        """Draw presets, and their sounds from the latents they determine."""
        r = FlowTransform(self.regression)
        with self.rows(batch):
            v = pyro.sample("v", TransformedDistribution(standard_normal(self.origin), [r]))
            pyro.sample("x", MelNormal(self.decoder(r.inv(v)), self.log_scale))

    def guide(self, batch: Batch) -> None:
        """Draw the levels of presets given their sounds, then the other parameters."""
        with self.rows(batch):
            pyro.sample("v", self.presets(self.encode(batch["x"])))
