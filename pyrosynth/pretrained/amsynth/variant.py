"""Organised latent, invertible regression flow, and a posterior that knows switches."""

from collections.abc import Sequence

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Generator, Tensor, nn

from pyrosynth.modeling.distributions import FlowTransform, Known, MelNormal, standard_normal
from pyrosynth.modeling.flows import Chain, UnitCube, coupling_flow, posterior_flow
from pyrosynth.modeling.mixed import MixedPreset, Switches
from pyrosynth.modeling.networks import MelDecoder, MelEncoder
from pyrosynth.modeling.variant import Batch, Dims, Term, Variant, WarmUp, where_known


class FlowMixed(Variant):
    """Organised latent, invertible regression flow, and a posterior that knows switches.

    The generative process is that of ``flow_reg``, ``r`` the regression flow:

        z ~ N(0, I)                     latent, as many dimensions as there are parameters
        v = r(z)                        parameters
        x | z ~ N(decoder(z), sigma²)   sound, one sigma for each mel band

    The guide differs. It is defined on presets, and pulled back to the latent by ``r``:

        k_1 | x, k_2 | x, k_1, ...      level of each control with few levels: categorical
        v_c | x, k                      the other controls: a spline flow that reads the levels
        z = r⁻¹(v)

    A flow cannot jump from one waveform to the next, it must stretch a continuous density over
    the steps; categorical controls need not, and tell the flow which synth the other controls
    belong to. log q(v|x) stays exact, a level of K spreading its probability evenly over 1/K.

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
        max_levels: Controls with at most so many levels are categorical.
        decoder_hidden: Width of the decoder's residual blocks.
        rank: Spectrograms the decoder mixes.
        alpha: Weight of log p(x|z).
        beta: Weight of the latent terms, reached after ``beta_steps`` steps.
        beta_steps: Steps of beta's warm-up.
        gamma: Weight of log q(v|x).

    References:
        Esling et al. (2019), Universal audio synthesizer control with normalizing flows,
        https://arxiv.org/abs/1907.00971.
        Frey (1998), Graphical models for machine learning and digital communication: fully
        visible belief networks, from which the levels' order of one after another is taken.
    """

    exact = True
    origin: Tensor

    def __init__(
        self,
        dims: Dims,
        *,
        embedding_dim: int = 256,
        channels: Sequence[int] = (128, 192, 256),
        n_layers: int = 6,
        n_regression_layers: int = 3,
        hidden: int = 256,
        bins: int = 8,
        max_levels: int = 25,
        decoder_hidden: int = 512,
        rank: int = 256,
        alpha: float = 0.01,
        beta: float = 0.1,
        beta_steps: int = 0,
        gamma: float = 1.0,
    ) -> None:
        super().__init__(dims)
        self.terms = (
            Term("sound", ("x",), alpha),
            Term("latent", ("z", "dz_dv"), WarmUp(beta, beta_steps)),
            Term("preset", ("v|x",), gamma),
        )
        n = self.latent_dim = dims.n_params
        self.encoder = MelEncoder(dims.x_shape, embedding_dim, channels=channels)
        self.decoder = MelDecoder(n, dims.x_shape, hidden=decoder_hidden, rank=rank)
        self.log_scale = nn.Parameter(torch.zeros(dims.x_shape[0]))
        self.switches = Switches(dims, max_levels, embedding_dim, hidden)
        n_context = embedding_dim + self.switches.n_one_hot
        n_continuous = n - len(self.switches.levels)
        posterior = posterior_flow(
            n_continuous, n_context, n_layers=n_layers, hidden=hidden, bins=bins
        )
        self.posterior_flow = Chain([posterior, UnitCube()])
        regression = coupling_flow(n, n_layers=n_regression_layers, hidden=hidden, bins=bins)
        self.regression = Chain([regression, UnitCube()])
        self.register_buffer("origin", torch.zeros(n), persistent=False)

    def encode(self, x: Tensor) -> Tensor:
        """Embed features (..., n_mels, n_frames)."""
        return self.encoder(x)

    def presets(self, h: Tensor, generator: Generator | None = None) -> MixedPreset:
        """Return q(v|x) for embeddings."""
        return MixedPreset(self.switches, self.posterior_flow, h, generator)

    def posterior(self, h: Tensor) -> TorchDistribution:
        """Return q(z|x) for embeddings."""
        pulled_back = FlowTransform(self.regression).inv
        return dist.TransformedDistribution(self.presets(h), [pulled_back])

    def latent(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return z* = r⁻¹(v) and log|det dz*/dv|."""
        return self.regression.inverse(v)

    def params_of(self, z: Tensor) -> Tensor:
        """Return v = r(z)."""
        return self.regression(z)[0]

    def expected_x(self, z: Tensor) -> Tensor:
        """Decode latents."""
        return self.decoder(z)

    def prepare(self, batch: Batch) -> Batch:
        """Add the embedding, and the latent that a known preset determines."""
        z, logdet = self.latent(batch["v"])
        return {**batch, "h": self.encode(batch["x"]), "z": z, "logdet": logdet}

    def model(self, batch: Batch) -> None:
        """Score the sound, and the preset where it is known."""
        with pyro.plate("presets", len(batch["x"])):
            z = pyro.sample("z", standard_normal(self.origin))
            pyro.sample("x", MelNormal(self.decoder(z), self.log_scale), obs=batch["x"])
            with where_known(batch):
                pyro.factor("dz_dv", batch["logdet"])
                pyro.factor("v|x", self.presets(batch["h"]).log_prob(batch["v"]))

    def guide(self, batch: Batch) -> None:
        """Draw the latent where the preset is unknown."""
        with pyro.plate("presets", len(batch["x"])):
            q = self.posterior(batch["h"])
            pyro.sample("z", Known(q, batch["z"], batch.get("has_v")))

    def sample_v(
        self, x: Tensor, n: int, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw parameters (n, batch, n_params) and their exact log q(v|x)."""
        q = self.presets(self.encode(x), generator)
        v = q.sample((n,))
        return v, q.log_prob(v)

    def log_prob_v(self, v: Tensor, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Return the exact log q(v|x)."""
        return self.presets(self.encode(x)).log_prob(v)
