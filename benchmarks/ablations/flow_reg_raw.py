"""FlowReg without dequantisation: presets are points on a grid."""

from collections.abc import Sequence
from typing import Any

import pyro
import torch
from pyro.distributions import TransformedDistribution
from torch import Tensor, nn

from pyrosynth.modeling import (
    Batch, Dims, Flow, FlowTransform, Kind, MelNormal, Networks, Term, Variant, WarmUp,
    posterior_flow, regression_flow, sound_decoder, sound_encoder, standard_normal,
)  # fmt: skip


class Grid(Flow):
    """Leaves points alone, and takes them for the middle of their levels when it maps back.

    Args:
        resolution: Number of levels of each parameter.
    """

    resolution: Tensor

    def __init__(self, resolution: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("resolution", torch.tensor(resolution), persistent=False)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the points."""
        return x, x.new_zeros(x.shape[:-1])

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the middle of the levels that points lie in."""
        middle = ((y * self.resolution).floor() + 0.5) / self.resolution
        return middle, y.new_zeros(y.shape[:-1])


class FlowRegRaw(Variant):
    """FlowReg without dequantisation: presets are points on a grid.

    An ablation: everything is as in ``flow_reg``, but a preset is the middle of its levels instead
    of a random point within them. A density on a grid has no bound, so its value means nothing;
    what counts is how its draws sound. ``log_prob_v`` moves its points to the grid as well, as
    whoever fits raw values would have it, and is therefore not the density of ``sample_v``.

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
        self.grid = Grid(dims.resolution)

    def model(self, batch: Batch | None = None) -> None:
        """Draw presets, and their sounds from the latents they determine."""
        r, grid = FlowTransform(self.regression), FlowTransform(self.grid)
        with self.rows(batch):
            z = standard_normal(self.origin)
            v = pyro.sample("v", TransformedDistribution(z, [r, grid]))
            pyro.sample("x", MelNormal(self.decoder(r.inv(grid.inv(v))), self.log_scale))

    def guide(self, batch: Batch) -> None:
        """Draw presets given their sounds."""
        r, grid = FlowTransform(self.regression), FlowTransform(self.grid)
        with self.rows(batch):
            q = self.posterior(self.encode(batch["x"]))
            pyro.sample("v", TransformedDistribution(q, [r, grid]))
