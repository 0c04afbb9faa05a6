"""Amortised posterior: a spline flow over the parameters that reads the sound."""

from collections.abc import Sequence

import pyro

from pyrosynth.modeling import (
    Batch, Chain, Dims, MelEncoder, Term, UnitCube, Variant, flow_normal, posterior_flow,
)  # fmt: skip


class NPE(Variant):
    """Amortised posterior: a spline flow over the parameters that reads the sound.

    Neural posterior estimation, the method without a latent: no decoder, no regression flow, no
    bound. With e standard normal and Phi the normal distribution function, the guide is

        v = Phi(flow(e; encoder(x)))        parameters given the sound

    and the exact log q(v|x) is maximised where the preset is known. Sounds without a preset
    teach it nothing, and there is no space to explore. How a preset sounds is left to the synth:
    the model's presets are uniform, and its sounds standard normal whatever the preset.

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
    terms = (Term("preset", guide=("v",)),)

    def __init__(
        self, dims: Dims, *, embedding_dim: int = 256, channels: Sequence[int] = (128, 192, 256),
        n_layers: int = 8, hidden: int = 256, bins: int = 8,
    ) -> None:  # fmt: skip
        super().__init__(dims)
        n = dims.n_params
        self.encoder = MelEncoder(dims.x_shape, embedding_dim, channels=channels)
        flow = posterior_flow(n, embedding_dim, n_layers=n_layers, hidden=hidden, bins=bins)
        self.posterior_flow = Chain([flow, UnitCube()])

    def guide(self, batch: Batch) -> None:
        """Draw presets given their sounds."""
        q = flow_normal(self.posterior_flow, self.origin, self.encode(batch["x"]))
        with self.rows(batch):
            pyro.sample("v", q)
