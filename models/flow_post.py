"""VAE with a flow posterior and a noisy invertible regression (the paper's first form)."""

from collections.abc import Sequence

import pyro
import torch
from pyro.distributions import Normal, TransformedDistribution
from torch import Tensor, nn

from pyrosynth.modeling import (
    Batch, Dims, FlowTransform, Kind, MelNormal, Networks, Term, UnitCube, Variant, WarmUp,
    flow_stack, paper_recipe, posterior_flow, sound_decoder, sound_encoder, standard_normal,
)  # fmt: skip


class FlowPost(Variant):
    """VAE with a flow posterior and a noisy invertible regression (the paper's first form).

    Generative process, f the regression flow, Phi the normal distribution function:

        f(z) ~ N(loc, scale²)            prior over the parameters, learnt; z follows from it
        x | z ~ N(decoder(z), sigma²)    sound, one sigma for each mel band
        s ~ N(0, I)                      logarithm of the noise scale of each parameter
        Phi⁻¹(v) | z, s ~ N(f(z), e^2s)  parameters

    Guide: q(z|x) is a standard normal pushed through a flow that reads the encoder,
    q(s) = N(loc_s, scale_s²) belongs to all presets, and q(v|z, s) = p(v|z, s). Every row
    maximises its evidence lower bound, with the parameters where they are known.

    Published is the "posterior parameterisation": f itself is a point estimate, the noise scale
    is variational, and a prior over the parameters comes with the log-determinant of f. What is
    corrected against the released code:

    - the prior is evaluated at f(z), where it was evaluated at v and constant, and the
      log-determinant is counted in full, once; together they are the density of z, and take the
      place of the standard normal, which would count the latent twice;
    - the divergence of q(s) is subtracted, not added, and counted once for all presets;
    - s is drawn from the law whose density is used (it was uniform), by reparameterisation;
    - the noise is put on Phi⁻¹(v), so that no draw leaves the unit cube;
    - the posterior's flow reads the sound.

    ``flow_reg`` is the better form: here the map from z to v is invertible but noisy, so a preset
    does not determine its latent, and q(v|x) = E over q of p(v|z, s) is estimated by a mixture
    over draws: a lower bound on average. The parameters of a latent are the median of v.

    Recipe ``paper``: the published convolutions, 16 steps of inverse autoregressive flow on
    either side with 64 units inside, warm-ups of 100 epochs, and no weight below 1.

    Args:
        dims: The sizes.
        networks: ``"mel"`` for the package's networks, ``"conv"`` for the published ones.
        embedding_dim: Size of the encoder's output.
        channels: Channels of the encoder's convolutions.
        n_layers: Steps of the posterior's flow.
        n_regression_layers: Steps of f.
        hidden: Width of the networks inside the flows.
        bins: Bins of each spline.
        kind: What both flows are made of: "spline", "affine" or "iaf".
        decoder_hidden: Width of the decoder's layers.
        rank: Spectrograms the ``"mel"`` decoder mixes.
        n_mixture: Draws of z and s that estimate q(v|x).
        n_presets: Number of training presets, over which the divergence of q(s) is shared.
        alpha: Weight of log p(x|z).
        beta: Weight of the divergence of q(z|x), reached after ``beta_steps`` steps.
        beta_steps: Steps of beta's warm-up.
        gamma: Weight of log p(v|z, s), reached after ``gamma_steps`` steps.
        gamma_steps: Steps of gamma's warm-up.

    References:
        Esling et al. (2020), Flow synthesizer: universal audio synthesizer control with
        normalizing flows, section 3.2.1, https://doi.org/10.3390/app10010302.
    """

    recipes = paper_recipe(
        networks="conv", embedding_dim=1024, channels=(64,) * 5, kind="iaf", decoder_hidden=1024,
        n_layers=16, n_regression_layers=16, hidden=64, n_presets=11_000, alpha=1.0, beta=1.0,
        beta_steps=17_200, gamma_steps=17_200,
    )  # fmt: skip

    def __init__(
        self, dims: Dims, *, networks: Networks = "mel", embedding_dim: int = 256,
        channels: Sequence[int] = (128, 192, 256), n_layers: int = 5, n_regression_layers: int = 3,
        hidden: int = 256, bins: int = 8, kind: Kind = "spline", decoder_hidden: int = 512,
        rank: int = 256, n_mixture: int = 64, n_presets: int = 10_000, alpha: float = 0.01,
        beta: float = 0.1, beta_steps: int = 500, gamma: float = 1.0, gamma_steps: int = 0,
    ) -> None:  # fmt: skip
        n = dims.n_params
        super().__init__(dims, latent_dim=n)
        self.n_mixture = n_mixture
        self.terms = (
            Term("sound", ("x",), alpha),
            Term("latent", ("z",), WarmUp(beta, beta_steps)),
            Term("preset", ("v",), WarmUp(gamma, gamma_steps)),
            Term("noise", ("s",), gamma / n_presets),
        )
        self.encoder = sound_encoder(networks, dims.x_shape, embedding_dim, channels)
        self.decoder = sound_decoder(
            networks, n, dims.x_shape, channels=channels, hidden=decoder_hidden, rank=rank
        )
        self.log_scale = nn.Parameter(torch.zeros(dims.x_shape[0]))
        self.posterior_flow = posterior_flow(
            n, embedding_dim, n_layers=n_layers, hidden=hidden, bins=bins, kind=kind
        )
        self.regression = flow_stack(
            n, n_layers=n_regression_layers, hidden=hidden, bins=bins, kind=kind
        )
        self.loc, self.log_width = nn.Parameter(torch.zeros(n)), nn.Parameter(torch.zeros(n))
        self.loc_s = nn.Parameter(torch.zeros(n))
        self.log_scale_s = nn.Parameter(torch.full((n,), -3.0))
        self.cube = UnitCube()

    def params_of(self, z: Tensor) -> Tensor:
        """Return the median of v given z."""
        return self.cube(self.regression(z)[0])[0]

    def preset(self, z: Tensor, s: Tensor | None = None) -> TransformedDistribution:
        """Return p(v|z, s), by default for the s that is likeliest."""
        scale = (self.loc_s if s is None else s).exp()
        y = Normal(FlowTransform(self.regression)(z), scale).to_event(1)
        return TransformedDistribution(y, [FlowTransform(self.cube)])

    def model(self, batch: Batch | None = None) -> None:
        """Draw latents and their sounds, and noise for their presets."""
        f = FlowTransform(self.regression)
        parameters = Normal(self.loc, self.log_width.exp()).to_event(1)
        with self.rows(batch):
            z = pyro.sample("z", TransformedDistribution(parameters, [f.inv]))
            pyro.sample("x", MelNormal(self.decoder(z), self.log_scale))
            s = pyro.sample("s", standard_normal(self.origin))
            pyro.sample("v", self.preset(z, s))

    def guide(self, batch: Batch) -> None:
        """Draw latents given sounds, and the noise scale anew for every preset."""
        with self.rows(batch):
            z = pyro.sample("z", self.posterior(self.encode(batch["x"])))
            q = Normal(self.loc_s, self.log_scale_s.exp())
            s = pyro.sample("s", q.to_event(1))
            pyro.sample("v", self.preset(z, s))
