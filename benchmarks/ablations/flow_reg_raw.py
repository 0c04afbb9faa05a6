"""FlowReg without dequantisation: presets are points on a grid."""

from collections.abc import Sequence

import pyro
import torch
from pyro.distributions import TorchDistribution
from pyrosynth.modeling.convolutions import Networks, sound_decoder, sound_encoder
from torch import Generator, Tensor, nn

from pyrosynth.modeling.distributions import Known, MelNormal, draw, flow_normal, standard_normal
from pyrosynth.modeling.flows import Kind, posterior_flow, regression_flow
from pyrosynth.modeling.variant import Batch, Dims, Term, Variant, WarmUp, where_known


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

    origin: Tensor
    resolution: Tensor

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
        self.register_buffer("origin", torch.zeros(n), persistent=False)
        self.register_buffer("resolution", torch.tensor(dims.resolution), persistent=False)

    def encode(self, x: Tensor) -> Tensor:
        """Embed features (..., n_mels, n_frames)."""
        return self.encoder(x)

    def posterior(self, h: Tensor) -> TorchDistribution:
        """Return q(z|x) for embeddings."""
        return flow_normal(self.posterior_flow, self.origin.expand(*h.shape[:-1], -1), h)

    def latent(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return z* = r⁻¹(v) and log|det dz*/dv|."""
        return self.regression.inverse(v)

    def params_of(self, z: Tensor) -> Tensor:
        """Return v = r(z)."""
        return self.regression(z)[0]

    def expected_x(self, z: Tensor) -> Tensor:
        """Decode latents."""
        return self.decoder(z)

    def middle(self, v: Tensor) -> Tensor:
        """Return the middle of the levels that parameters lie in."""
        return ((v * self.resolution).floor() + 0.5) / self.resolution

    def prepare(self, batch: Batch) -> Batch:
        """Add the embedding, and the latent that a known preset determines."""
        z, logdet = self.latent(self.middle(batch["v"]))
        return {**batch, "h": self.encode(batch["x"]), "z": z, "logdet": logdet}

    def model(self, batch: Batch) -> None:
        """Score the sound, and the preset where it is known."""
        with pyro.plate("presets", len(batch["x"])):
            z = pyro.sample("z", standard_normal(self.origin))
            pyro.sample("x", MelNormal(self.decoder(z), self.log_scale), obs=batch["x"])
            with where_known(batch):
                log_q = self.posterior(batch["h"]).log_prob(batch["z"])
                pyro.factor("dz_dv", batch["logdet"])
                pyro.factor("v|x", log_q + batch["logdet"])

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
        v, ladj = self.regression(z)
        return v, log_q - ladj

    def log_prob_v(self, v: Tensor, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Return log q(v|x) at the middle of the levels."""
        z, logdet = self.latent(self.middle(v))
        q = flow_normal(self.posterior_flow, torch.zeros_like(z), self.encode(x))
        return q.log_prob(z) + logdet
