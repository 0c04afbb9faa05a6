"""Amortised posterior: a spline flow over the parameters that reads the sound."""

from collections.abc import Sequence

import pyro
import torch
from pyro.distributions import TorchDistribution
from torch import Generator, Tensor

from pyrosynth.modeling.distributions import draw, flow_normal
from pyrosynth.modeling.flows import Chain, UnitCube, posterior_flow
from pyrosynth.modeling.networks import MelEncoder
from pyrosynth.modeling.variant import Batch, Dims, Term, Variant, where_known


class NPE(Variant):
    """Amortised posterior: a spline flow over the parameters that reads the sound.

    Neural posterior estimation, the rival without a latent: no decoder, no regression flow, no
    bound. With e standard normal and Phi the normal distribution function,

        v = Phi(flow(e; encoder(x)))        parameters given the sound

    and the exact log q(v|x) is maximised where the preset is known. Sounds without a preset
    teach it nothing, and there is no space to explore.

    The encoder is that of ``flow_reg``. The flow works on Phi⁻¹(v), where its base is uniform on
    the unit cube, so that no draw leaves the parameters' range.

    Args:
        dims: The sizes.
        embedding_dim: Size of the encoder's output.
        channels: Channels of the encoder's convolutions.
        n_layers: Couplings of the flow.
        hidden: Width of the networks inside the flow.
        bins: Bins of each spline.

    References:
        Papamakarios & Murray (2016), Fast epsilon-free inference of simulation models with
        Bayesian conditional density estimation, https://arxiv.org/abs/1605.06376.
        Greenberg, Nonnenmacher & Macke (2019), Automatic posterior transformation for
        likelihood-free inference, https://arxiv.org/abs/1905.07488.
        Durkan et al. (2019), Neural spline flows, https://arxiv.org/abs/1906.04032.
    """

    exact = True
    terms = (Term("preset", ("v",)),)
    origin: Tensor

    def __init__(
        self,
        dims: Dims,
        *,
        embedding_dim: int = 256,
        channels: Sequence[int] = (128, 192, 256),
        n_layers: int = 8,
        hidden: int = 256,
        bins: int = 8,
    ) -> None:
        super().__init__(dims)
        n = dims.n_params
        self.encoder = MelEncoder(dims.x_shape, embedding_dim, channels=channels)
        self.flow = Chain(
            [
                posterior_flow(n, embedding_dim, n_layers=n_layers, hidden=hidden, bins=bins),
                UnitCube(),
            ]
        )
        self.register_buffer("origin", torch.zeros(n), persistent=False)

    def encode(self, x: Tensor) -> Tensor:
        """Embed features (..., n_mels, n_frames)."""
        return self.encoder(x)

    def preset(self, h: Tensor) -> TorchDistribution:
        """Return q(v|x) for embeddings."""
        return flow_normal(self.flow, self.origin.expand(*h.shape[:-1], -1), h)

    def model(self, batch: Batch) -> None:
        """Score the preset where it is known."""
        with pyro.plate("presets", len(batch["x"])), where_known(batch):
            pyro.sample("v", self.preset(batch["h"]), obs=batch["v"])

    def guide(self, batch: Batch) -> None:
        """Do nothing: there is nothing hidden."""

    def sample_v(
        self, x: Tensor, n: int, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw parameters (n, batch, n_params) and their exact log q(v|x)."""
        return draw(self.flow, n, self.origin.expand(len(x), -1), self.encode(x), generator)

    def log_prob_v(self, v: Tensor, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Return the exact log q(v|x)."""
        return self.preset(self.encode(x)).log_prob(v)
