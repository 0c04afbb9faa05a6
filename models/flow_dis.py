"""VAE with invertible flows from the latent to the parameters and to axes that follow tags."""

from collections.abc import Sequence

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Generator, Tensor, nn

from pyrosynth.modeling.convolutions import Networks, sound_decoder, sound_encoder
from pyrosynth.modeling.distributions import (
    FlowTransform,
    Known,
    MelNormal,
    TagBase,
    draw,
    flow_normal,
)
from pyrosynth.modeling.flows import Kind, flow_stack, posterior_flow, regression_flow
from pyrosynth.modeling.variant import (
    PAPER_TRAINING,
    Batch,
    Dims,
    Size,
    Term,
    Variant,
    WarmUp,
    where_known,
)


class FlowDis(Variant):
    """VAE with invertible flows from the latent to the parameters and to axes that follow tags.

    Generative process, ``r`` the regression flow (it ends in the unit cube), ``g`` the
    disentangling flow:

        t_j ~ Categorical(weights_j)        word of each tag
        u_j | t_j ~ N(m(t_j), s_j²)         one coordinate for each tag
        u_rest ~ N(0, I)                    the other coordinates
        z = g⁻¹(u)                          latent, as many dimensions as there are parameters
        v = r(z)                            parameters
        x | z ~ N(decoder(z), sigma²)       sound, one sigma for each mel band

    The words of a tag lie evenly from −√(1 − s²) to √(1 − s²). With two that are equally frequent
    its coordinate has spread 1, as all others have; with more it has less.

    The prior of z, and what follows from it, sets it apart from ``flow_reg``:

        log p(z | tags) = log p(g(z) | tags) + log|det dg/dz|,

    the whole log-determinant, once for each preset, labelled or not. A label that is missing is
    summed over, so the coordinate of its tag follows the mixture of its words.

    Guide: q(z|x) is a standard normal pushed through a flow that reads the encoder.

    A preset that is known makes its latent known, z* = r⁻¹(v); that row maximises the exact
    log p(x, v, tags) = log p(x|z*) + log p(z*|tags) + log|det dz*/dv| + log p(tags), and, weighted
    by gamma, the exact log q(v|x) = log q(z*|x) + log|det dz*/dv|, which alone trains the guide
    there. A sound without preset maximises its evidence lower bound.

    The joint density alone would learn the axes slowly: a word is worth less than a nat among the
    dozens of a preset. So log p(tags|z*), which the model implies, has a weight of its own, delta.

    Size ``paper``: as in ``flow_reg``, with 8 steps in the disentangling flow.

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
        delta: Weight of log p(tags|z). It trains the axes; q(v|x) meets them only through the
            regression flow that both share.

    References:
        Esling et al. (2019), Universal audio synthesizer control with normalizing flows,
        https://arxiv.org/abs/1907.00971.
        Kingma et al. (2014), Semi-supervised learning with deep generative models,
        https://arxiv.org/abs/1406.5298.
    """

    exact = True
    uses_tags = True
    sizes = {
        "paper": Size(
            {
                "networks": "conv", "embedding_dim": 1024, "channels": (64,) * 5,
                "decoder_hidden": 1024, "n_layers": 16, "n_regression_layers": 16,
                "n_disentangling_layers": 8, "hidden": 64, "kind": "maf", "alpha": 1.0,
                "beta": 1.0, "beta_steps": 17_200,
            },
            PAPER_TRAINING,
        )
    }  # fmt: skip
    origin: Tensor
    words: Tensor
    place: Tensor

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
        delta: float = 10.0,
    ) -> None:
        super().__init__(dims)
        self.terms = (
            Term("sound", ("x",), alpha),
            Term("latent", ("z", "dz_dv", "tags"), WarmUp(beta, beta_steps)),
            Term("preset", ("v|x",), WarmUp(gamma, gamma_steps)),
            Term("words", ("tags|z",), delta),
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
        counts = [len(words) for words in dims.words]
        n_tags, most = len(counts), max(counts, default=0)
        place, words = torch.zeros(n_tags, most), torch.zeros(n_tags, most, dtype=torch.bool)
        for i, count in enumerate(counts):
            place[i, :count], words[i, :count] = torch.linspace(-1, 1, count), True
        self.register_buffer("place", place, persistent=False)
        self.register_buffer("words", words, persistent=False)
        self.log_weight = nn.Parameter(torch.zeros(n_tags, most))
        self.logit_scale = nn.Parameter(torch.zeros(n_tags, 1))
        self.register_buffer("origin", torch.zeros(n), persistent=False)

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

    def axes(self, z: Tensor) -> Tensor:
        """Return u = g(z), the coordinates of the tags first."""
        return self.disentangling.inverse(z)[0]

    def latent_of(self, axes: Tensor) -> Tensor:
        """Return z = g⁻¹(u)."""
        return self.disentangling(axes)[0]

    def base(self, evidence: Tensor) -> TagBase:
        """Return p(u | tags) for what is known of them."""
        scale = self.logit_scale.sigmoid()
        place = self.place * (1 - scale.square()).sqrt()
        log_weight = self.log_weight.masked_fill(~self.words, -torch.inf).log_softmax(-1)
        return TagBase(place, scale, log_weight, evidence, self.latent_dim)

    def prepare(self, batch: Batch) -> Batch:
        """Add the embedding, and the latent that a known preset determines."""
        z, logdet = self.latent(batch["v"])
        return {**batch, "h": self.encode(batch["x"]), "z": z, "logdet": logdet}

    def model(self, batch: Batch) -> None:
        """Score the sound, and the preset where it is known."""
        with pyro.plate("presets", len(batch["x"])):
            evidence = batch.get("evidence", self.words)
            base, disentangle = self.base(evidence), FlowTransform(self.disentangling)
            z = pyro.sample("z", dist.TransformedDistribution(base, [disentangle]))
            u = disentangle.inv(z)  # remembered: to score z inverts no flow again
            pyro.factor("tags", base.log_evidence())
            pyro.factor("tags|z", self.base(self.words).log_posterior(u, evidence))
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
        """Return the exact log q(v|x)."""
        z, logdet = self.latent(v)
        q = flow_normal(self.posterior_flow, torch.zeros_like(z), self.encode(x))
        return q.log_prob(z) + logdet
