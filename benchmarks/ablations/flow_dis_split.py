"""FlowDis with the published objective: partial densities, hardly any Jacobian."""

import math
from collections.abc import Sequence

import pyro
import torch
from pyro.distributions import TorchDistribution
from pyrosynth.modeling.convolutions import Networks, sound_decoder, sound_encoder
from torch import Generator, Tensor, nn

from pyrosynth.modeling.distributions import (
    LOG_SQRT_2PI,
    Known,
    MelNormal,
    draw,
    flow_normal,
    standard_normal,
)
from pyrosynth.modeling.flows import Kind, flow_stack, posterior_flow, regression_flow
from pyrosynth.modeling.variant import Batch, Dims, Term, Variant, WarmUp, where_known


class FlowDisSplit(Variant):
    """FlowDis with the published objective: partial densities, hardly any Jacobian.

    An ablation: as in the paper, z is a standard normal, the disentangling flow leads on to
    u = g(z), and decoder and regression flow read u. Tags enter by a sum that is no density: for
    each, with B presets and D coordinates,

        10 Σ log N(u_j; ∓1, s∓²)            over the presets with its first or last word
        mean of log N(u_rest; 0, e²)        over those of each of these two words
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
        alpha: Weight of log p(x|z).
        beta: Weight of the latent terms, reached after ``beta_steps`` steps.
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
    origin: Tensor
    words: Tensor

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
        super().__init__(dims)
        self.terms = (
            Term("sound", ("x",), alpha),
            Term("latent", ("z", "dz_dv"), WarmUp(beta, beta_steps)),
            Term("preset", ("v|x",), WarmUp(gamma, gamma_steps)),
            Term("words", ("tags",), WarmUp(beta, beta_steps)),
        )
        n = self.latent_dim = dims.n_params
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
        counts = torch.tensor([len(words) for words in dims.words], dtype=torch.long)
        words = torch.arange(int(counts.max()) if len(counts) else 0) < counts[:, None]
        self.register_buffer("words", words, persistent=False)
        self.log_scale_tags = nn.Parameter(torch.ones(len(counts), 2))
        self.register_buffer("origin", torch.zeros(n), persistent=False)

    def encode(self, x: Tensor) -> Tensor:
        """Embed features (..., n_mels, n_frames)."""
        return self.encoder(x)

    def posterior(self, h: Tensor) -> TorchDistribution:
        """Return q(z|x) for embeddings."""
        return flow_normal(self.posterior_flow, self.origin.expand(*h.shape[:-1], -1), h)

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

    def split(self, u: Tensor, ladj: Tensor, evidence: Tensor) -> Tensor:
        """Return the published sum for the tags, on the scale of one preset, shape ()."""
        known = evidence.sum(-1).expand(len(u), -1) == 1
        label = evidence.int().argmax(-1)
        first, last = known & (label == 0), known & (label == self.words.sum(-1) - 1)
        wide = _log_normal(u / math.e) - 1
        total = ladj.mean() / u.numel()
        for j, log_scales in enumerate(self.log_scale_tags):
            rest = wide.sum(-1) - wide[:, j]
            for place, log_scale, chosen in zip(
                (-1.0, 1.0), log_scales, (first, last), strict=True
            ):
                near = _log_normal((u[:, j] - place) * (-log_scale).exp()) - log_scale
                total = total + 10 * (chosen[:, j] * near).sum() + _mean(rest, chosen[:, j])
            total = total + _mean(wide.sum(-1), ~(first | last)[:, j])
        return total

    def prepare(self, batch: Batch) -> Batch:
        """Add the embedding, and the latent that a known preset determines."""
        z, logdet = self.latent(batch["v"])
        return {**batch, "h": self.encode(batch["x"]), "z": z, "logdet": logdet}

    def model(self, batch: Batch) -> None:
        """Score the sound, and the preset where it is known."""
        with pyro.plate("presets", len(batch["x"])):
            z = pyro.sample("z", standard_normal(self.origin))
            u, ladj = self.disentangling.inverse(z)
            pyro.sample("x", MelNormal(self.decoder(u), self.log_scale), obs=batch["x"])
            with where_known(batch):
                log_q = self.posterior(batch["h"]).log_prob(batch["z"])
                pyro.factor("dz_dv", batch["logdet"])
                pyro.factor("v|x", log_q + batch["logdet"])
        tags = self.split(u, ladj, batch.get("evidence", self.words))
        pyro.factor("tags", len(u) * tags)

    def guide(self, batch: Batch) -> None:
        """Draw the latent where the preset is unknown."""
        with pyro.plate("presets", len(batch["x"])):
            q = self.posterior(batch["h"])
            pyro.sample("z", Known(q, batch["z"], batch.get("has_v")))

    def sample_v(
        self, x: Tensor, n: int, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw parameters (n, batch, n_params) and their exact log q(v|x)."""
        origin = self.origin.expand(len(x), -1)
        z, log_q = draw(self.posterior_flow, n, origin, self.encode(x), generator)
        u, ladj_g = self.disentangling.inverse(z)
        v, ladj = self.regression(u)
        return v, log_q - ladj_g - ladj

    def log_prob_v(self, v: Tensor, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Return the exact log q(v|x)."""
        z, logdet = self.latent(v)
        q = flow_normal(self.posterior_flow, torch.zeros_like(z), self.encode(x))
        return q.log_prob(z) + logdet


def _log_normal(x: Tensor) -> Tensor:
    """Return the log-density of a standard normal at each number."""
    return -0.5 * x.square() - LOG_SQRT_2PI


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    """Return the mean of those chosen, 0 if there are none."""
    return (values * chosen).sum() / chosen.sum().clamp_min(1)
