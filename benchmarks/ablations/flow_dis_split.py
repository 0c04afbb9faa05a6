"""FlowDis with the published objective: partial densities, hardly any Jacobian."""

import math
from collections.abc import Sequence
from typing import Any

import pyro
import torch
from pyro.distributions import TransformedDistribution
from torch import Tensor, nn

from pyrosynth.modeling import (
    Batch, Dims, FlowTransform, Kind, Labels, MelNormal, Networks, Term, Variant, WarmUp,
    flow_stack, posterior_flow, regression_flow, sound_decoder, sound_encoder, standard_normal,
)  # fmt: skip
from pyrosynth.modeling.bijections import LOG_SQRT_2PI


class SplitLabels(Labels):
    """Labels that count by the published sum, which is no probability.

    Args:
        u: Coordinates, shape (batch, features).
        ladj: Log-determinant of the disentangling flow there, shape (batch,).
        log_scales: Of the first and the last class of each tag, shape (n_tags, 2).
        classes: Which classes each tag has, shape (n_tags, n_classes).
        batch_shape: Shape of the leading axes.
    """

    def __init__(
        self, u: Tensor, ladj: Tensor, log_scales: Tensor, classes: Tensor,
        batch_shape: tuple[int, ...] = (),
    ) -> None:  # fmt: skip
        self.u, self.ladj, self.log_scales, self.classes = u, ladj, log_scales, classes
        super().__init__(classes.float().log().log_softmax(-1), batch_shape)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "SplitLabels":
        """Return the labels with more leading axes."""
        return SplitLabels(self.u, self.ladj, self.log_scales, self.classes, batch_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the published sum, on the scale of one preset, for each of them."""
        return self.total(value).expand(len(self.u))

    def total(self, label_mask: Tensor) -> Tensor:
        """Return the published sum for the tags, on the scale of one preset, shape ()."""
        u, ladj = self.u, self.ladj
        known = label_mask.sum(-1).expand(len(u), -1) == 1
        label = label_mask.int().argmax(-1)
        first, last = known & (label == 0), known & (label == self.classes.sum(-1) - 1)
        wide = _log_normal(u / math.e) - 1
        total = ladj.mean() / u.numel()
        for j, log_scales in enumerate(self.log_scales):
            rest = wide.sum(-1) - wide[:, j]
            for place, log_scale, chosen in zip(
                (-1.0, 1.0), log_scales, (first, last), strict=True
            ):
                near = _log_normal((u[:, j] - place) * (-log_scale).exp()) - log_scale
                total = total + 10 * (chosen[:, j] * near).sum() + _mean(rest, chosen[:, j])
            total = total + _mean(wide.sum(-1), ~(first | last)[:, j])
        return total


class FlowDisSplit(Variant):
    """FlowDis with the published objective: partial densities, hardly any Jacobian.

    An ablation: as in the paper, z is a standard normal, the disentangling flow leads on to
    u = g(z), and decoder and regression flow read u. Tags enter by a sum that is no density: for
    each, with B presets and D coordinates,

        10 Σ log N(u_j; ∓1, s∓²)            over the presets with its first or last class
        mean of log N(u_rest; 0, e²)        over those of each of these two classes
        mean of log N(u; 0, e²)             over those with neither
        mean of log|det dg/dz| / (B D)      once

    All else is as in ``flow_dis``, the log-determinants of the other terms are whole. The noise
    that the authors add to s is left out.

    Args:
        dims: The sizes.
        networks: ``"mel"`` for the package's networks, ``"conv"`` for the published ones.
        embedding_dim: Size of the encoder's output.
        channels: Channels of the encoder's convolutions.
        n_layers: Steps of the posterior flow.
        n_regression_layers: Steps of the regression flow.
        n_disentangling_layers: Steps of the disentangling flow.
        hidden: Width of the networks inside the flows.
        bins: Bins of each spline.
        kind: What the flows are made of: "spline", "affine" or "maf".
        decoder_hidden: Width of the decoder's layers.
        rank: Spectrograms the ``"mel"`` decoder mixes.
        alpha: Weight of log p(x|v).
        beta: Weight of log p(v), and of the sum, reached after ``beta_steps`` steps.
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
    uses_tags = True
    classes: Tensor

    def __init__(
        self,
        dims: Dims,
        *,
        networks: Networks = "mel",
        embedding_dim: int = 256,
        channels: Sequence[int] = (128, 192, 256),
        n_layers: int = 5,
        n_regression_layers: int = 3,
        n_disentangling_layers: int = 4,
        hidden: int = 256,
        bins: int = 8,
        kind: Kind = "spline",
        decoder_hidden: int = 512,
        rank: int = 256,
        alpha: float = 0.01,
        beta: float = 0.1,
        beta_steps: int = 0,
        gamma: float = 1.0,
        gamma_steps: int = 0,
    ) -> None:
        n = dims.n_params
        super().__init__(dims, latent_dim=n)
        self.terms = (
            Term("sound", ("x",), alpha),
            Term("latent", ("v",), WarmUp(beta, beta_steps)),
            Term("preset", guide=("v",), weight=WarmUp(gamma, gamma_steps)),
            Term("labels", ("t",), WarmUp(beta, beta_steps)),
        )
        self.encoder = sound_encoder(networks, dims.x_shape, embedding_dim, channels)
        self.decoder = sound_decoder(
            networks, n, dims.x_shape, channels=channels, hidden=decoder_hidden, rank=rank
        )
        self.log_scale = nn.Parameter(torch.zeros(dims.x_shape[0]))
        self.posterior_flow = posterior_flow(
            n, embedding_dim, n_layers=n_layers, hidden=hidden, bins=bins, kind=kind
        )
        self.regression = regression_flow(
            n, n_layers=n_regression_layers, hidden=hidden, bins=bins, kind=kind
        )
        self.disentangling = flow_stack(
            n, n_layers=n_disentangling_layers, hidden=hidden, bins=bins, kind=kind
        )
        counts = torch.tensor([len(classes) for classes in dims.classes], dtype=torch.long)
        classes = torch.arange(int(counts.max()) if len(counts) else 0) < counts[:, None]
        self.register_buffer("classes", classes, persistent=False)
        self.log_scale_tags = nn.Parameter(torch.ones(len(counts), 2))

    def latent(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return z* = g⁻¹(r⁻¹(v)) and log|det dz*/dv|."""
        u, logdet = self.regression.inverse(v)
        z, ladj = self.disentangling(u)
        return z, logdet + ladj

    def params_of(self, z: Tensor) -> Tensor:
        """Return v = r(g(z))."""
        return self.regression(self.axes(z))[0]

    def expected_x(self, z: Tensor) -> Tensor:
        """Decode latents."""
        return self.decoder(self.axes(z))

    def axes(self, z: Tensor) -> Tensor:
        """Return u = g(z), the coordinates of the tags first."""
        return self.disentangling.inverse(z)[0]

    def latent_of(self, axes: Tensor) -> Tensor:
        """Return z = g⁻¹(u)."""
        return self.disentangling(axes)[0]

    def model(self, batch: Batch | None = None) -> None:
        """Draw presets, their sounds, and labels."""
        g, r = FlowTransform(self.disentangling), FlowTransform(self.regression)
        with self.rows(batch):
            z = standard_normal(self.origin)
            v = pyro.sample("v", TransformedDistribution(z, [g.inv, r]))
            u = r.inv(v)
            pyro.sample("x", MelNormal(self.decoder(u), self.log_scale))
            ladj = -g.log_abs_det_jacobian(u, g(u))
            pyro.sample("t", SplitLabels(u, ladj, self.log_scale_tags, self.classes))

    def guide(self, batch: Batch) -> None:
        """Draw presets given their sounds."""
        g, r = FlowTransform(self.disentangling), FlowTransform(self.regression)
        with self.rows(batch):
            z = self.posterior(self.encode(batch["x"]))
            pyro.sample("v", TransformedDistribution(z, [g.inv, r]))


def _log_normal(x: Tensor) -> Tensor:
    """Return the log-density of a standard normal at each number."""
    return -0.5 * x.square() - LOG_SQRT_2PI


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    """Return the mean of those chosen, 0 if there are none."""
    return (values * chosen).sum() / chosen.sum().clamp_min(1)
