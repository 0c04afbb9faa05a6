"""VAE with invertible flows from the latent to the parameters and to axes that follow tags."""

from collections.abc import Sequence
from typing import Any

import pyro
import torch
from pyro.distributions import TransformedDistribution
from torch import Tensor, nn

from pyrosynth.modeling import (
    Batch, Dims, FlowTransform, Kind, Labels, MelNormal, Networks, TagBase, Term, Variant, WarmUp,
    flow_stack, paper_recipe, places_of_classes, posterior_flow, regression_flow, sound_decoder,
    sound_encoder,
)  # fmt: skip


class FlowDis(Variant):
    """VAE with invertible flows from the latent to the parameters and to axes that follow tags.

    Generative process, ``r`` the regression flow (it ends in the unit cube), ``g`` the
    disentangling flow:

        t_j ~ Categorical(weights_j)        class of each tag
        u_j | t_j ~ N(m(t_j), s_j²)         one coordinate for each tag
        u_rest ~ N(0, I)                    the other coordinates
        z = g⁻¹(u), v = r(z)                latent and parameters, as many of each
        x | v ~ N(decoder(z), sigma²)       sound, one sigma for each mel band

    The classes of a tag lie evenly from −√(1 − s²) to √(1 − s²). With two that are equally
    frequent its coordinate has spread 1, as all others have; with more it has less.

    What sets it apart from ``flow_reg`` is the prior. log p(v | t) has the whole log-determinant
    of g and r, once for each preset, labelled or not. A label that is missing is summed over, so
    the coordinate of its tag follows the mixture of its classes.

    The guide is that of ``flow_reg``, and the objective that of the joint density of presets,
    sounds and labels. That alone would learn the axes slowly: a class is worth less than a nat
    among the dozens of a preset. So log p(t|v) = log p(t, v) - log p(v) has a weight of its own,
    delta: the model, conditioned on the labels and not.

    Recipe ``paper``: as in ``flow_reg``, with 8 steps in the disentangling flow.

    Args:
        dims: The sizes.
        networks, embedding_dim, channels, decoder_hidden, rank: As in ``flow_reg``.
        n_layers, n_regression_layers, hidden, bins, kind: Of the flows, as in ``flow_reg``.
        n_disentangling_layers: Steps of g.
        alpha, gamma, gamma_steps: Weights of log p(x|v) and log q(v|x), as in ``flow_reg``.
        beta: Weight of log p(t, v), reached after ``beta_steps`` steps.
        beta_steps: Steps of its warm-up.
        delta: Weight of log p(t|v). It trains the axes; q(v|x) meets them only through the
            regression flow that both share.

    References:
        Esling et al. (2019), Universal audio synthesizer control with normalizing flows,
        https://arxiv.org/abs/1907.00971.
        Kingma et al. (2014), Semi-supervised learning with deep generative models,
        https://arxiv.org/abs/1406.5298.
    """

    exact = True
    uses_tags = True
    recipes = paper_recipe(
        networks="conv", embedding_dim=1024, channels=(64,) * 5, hidden=64, decoder_hidden=1024,
        n_layers=16, n_regression_layers=16, kind="maf", n_disentangling_layers=8, alpha=1.0,
        beta=1.0, beta_steps=17_200,
    )  # fmt: skip
    classes: Tensor
    place: Tensor

    def __init__(
        self, dims: Dims, *, networks: Networks = "mel", embedding_dim: int = 256,
        channels: Sequence[int] = (128, 192, 256), n_layers: int = 5,
        n_regression_layers: int = 3, n_disentangling_layers: int = 4, hidden: int = 256,
        bins: int = 8, kind: Kind = "spline", decoder_hidden: int = 512, rank: int = 256,
        alpha: float = 0.01, beta: float = 0.1, beta_steps: int = 0, gamma: float = 1.0,
        gamma_steps: int = 0, delta: float = 10.0,
    ) -> None:  # fmt: skip
        n = dims.n_params
        super().__init__(dims, latent_dim=n)
        self.terms = (
            Term("sound", ("x",), alpha),
            Term("joint", ("t", "v"), WarmUp(beta + delta, beta_steps, start=delta)),
            Term("latent", ("t", "v"), -delta, given=("x", "v")),
            Term("preset", guide=("v",), weight=WarmUp(gamma, gamma_steps)),
        )
        self.encoder = sound_encoder(networks, dims.x_shape, embedding_dim, channels)
        self.decoder = sound_decoder(
            networks, n, dims.x_shape, channels=channels, hidden=decoder_hidden, rank=rank
        )
        self.log_scale = nn.Parameter(torch.zeros(dims.x_shape[0]))
        flow: dict[str, Any] = {"hidden": hidden, "bins": bins, "kind": kind}
        self.posterior_flow = posterior_flow(n, embedding_dim, n_layers=n_layers, **flow)
        self.regression = regression_flow(n, n_layers=n_regression_layers, **flow)
        self.disentangling = flow_stack(n, n_layers=n_disentangling_layers, **flow)
        place, classes = places_of_classes(dims, n)
        self.register_buffer("place", place, persistent=False)
        self.register_buffer("classes", classes, persistent=False)
        self.log_weight = nn.Parameter(torch.zeros_like(place))
        self.logit_scale = nn.Parameter(torch.zeros(len(place), 1))

    def axes(self, z: Tensor) -> Tensor:
        """Return u = g(z), the coordinates of the tags first."""
        return self.disentangling.inverse(z)[0]

    def latent_of(self, axes: Tensor) -> Tensor:
        """Return z = g⁻¹(u)."""
        return self.disentangling(axes)[0]

    def model(self, batch: Batch | None = None) -> None:
        """Draw labels, presets that follow them, and their sounds."""
        g, r = FlowTransform(self.disentangling), FlowTransform(self.regression)
        log_weight = self.log_weight.masked_fill(~self.classes, -torch.inf).log_softmax(-1)
        scale = self.logit_scale.sigmoid()
        place = self.place * (1 - scale.square()).sqrt()
        with self.rows(batch):
            t = pyro.sample("t", Labels(log_weight))
            u = TagBase(place, scale, log_weight, t, self.latent_dim)
            v = pyro.sample("v", TransformedDistribution(u, [g, r]))
            pyro.sample("x", MelNormal(self.decoder(r.inv(v)), self.log_scale))

    def guide(self, batch: Batch) -> None:
        """Draw presets given their sounds."""
        z = self.posterior(self.encode(batch["x"]))
        with self.rows(batch):
            pyro.sample("v", TransformedDistribution(z, [FlowTransform(self.regression)]))
