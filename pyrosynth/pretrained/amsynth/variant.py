"""Audio latent in which distances are heard, and an exact flow from it to presets."""

from collections.abc import Sequence

import pyro
import torch
from pyro.distributions import Normal, TransformedDistribution
from pyro.distributions.transforms import AffineTransform
from torch import Tensor, nn
from torch.nn.functional import pad, silu

from pyrosynth.modeling import (
    MLP, AudioCoordinates, AutoregressiveCategorical, Batch, Chain, Dims, FlowTransform, Labels,
    MelDecoder, MelEncoder, MelNormal, MixedDiscreteFlow, PresetEncoder, TagDirections, Term,
    UnitCube, Variant, coupling_flow, held_log_prob, posterior_flow, standard_normal, stress,
)  # fmt: skip


class FlowAudio(Variant):
    """Audio latent in which distances are heard, and an exact flow from it to presets.

    Generative process:

        w ~ N(0, I), z = prior(w)           latent: what one hears
        x | z ~ N(decoder(z), sigma²)       sound, one sigma for each mel band
        u ~ N(0, I), v = r(u; z)            preset; u is what the sound does not tell
        t_j | z ~ Categorical               class of each tag, by one direction of z

    ``z`` is the principal coordinates of the log-mel spectrogram, in units of 5 dB and with the
    spread they have and a small learnt correction, and two of how much the sound changes. A
    standard normal prior would press them into a ball, where other presets are neighbours; so the
    prior is a flow that is fitted to them and cannot move them. Given z, discrete parameters are
    categorical and the others follow a spline flow, as in ``flow_mixed``: (z, v) and (z, u) are
    the same point.

    The guide reads z off the sound, with a little noise. Its q(v|x) also reads the embedding, on
    half of the rows in training; without the embedding it is p(v|z).

    The objective adds what is no density: the stress between distances in z and of sounds, and the
    error of the network that places a preset without its sound.

    Args:
        dims: The sizes.
        latent_dim, embedding_dim, channels: Sizes of z, the encoder's output and its layers.
        n_layers, hidden, bins: Couplings of the flow of presets, width of its networks, bins.
        n_prior_layers: Couplings of the prior.
        max_levels, decoder_hidden, rank: As in ``flow_mixed``.
        dropout: Share of the embedding that q(v|x) does not read, in training.
        noise: Standard deviation of z given the sound, in that of each coordinate.
        alpha, beta, gamma, delta, tension: Weights of log p(x|z), log p(z), log q(v|x),
            log p(t|z), and of the stress.

    References:
        Esling et al. (2019), Universal audio synthesizer control with normalizing flows,
        https://arxiv.org/abs/1907.00971.
    """

    exact = True
    uses_tags = True
    predicts = True

    def __init__(
        self, dims: Dims, *, latent_dim: int = 32, embedding_dim: int = 256,
        channels: Sequence[int] = (128, 192, 256), n_layers: int = 6, n_prior_layers: int = 4,
        hidden: int = 256, bins: int = 8, max_levels: int = 25, decoder_hidden: int = 256,
        rank: int = 128, dropout: float = 0.2, noise: float = 0.05, alpha: float = 0.01,
        beta: float = 1.0, gamma: float = 1.0, delta: float = 1.0, tension: float = 300.0,
    ) -> None:  # fmt: skip
        super().__init__(dims, latent_dim=latent_dim)
        self.noise = noise
        self.terms = (
            Term("sound", ("x",), alpha),
            Term("prior", ("z",), beta, score=held_log_prob),
            Term("preset", guide=("v",), weight=gamma),
            Term("tags", ("t",), delta),
            Term("stress", guide=("stress",), weight=tension),
            Term("encoding", guide=("encoding",)),
        )
        self.encoder = MelEncoder(dims.x_shape, embedding_dim, channels=channels)
        self.coordinates = AudioCoordinates(latent_dim, dims.x_shape, min(2, latent_dim // 4))
        self.correction = nn.Linear(embedding_dim, len(self.coordinates.components))
        self.decoder = MelDecoder(latent_dim, dims.x_shape, hidden=decoder_hidden, rank=rank)
        for layer in (self.correction, self.decoder.spectrograms):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.log_scale = nn.Parameter(torch.zeros(dims.x_shape[0]))
        self.prior = coupling_flow(latent_dim, n_layers=n_prior_layers, hidden=hidden // 2)
        self.reader = nn.Linear(latent_dim, hidden)
        self.second = nn.Sequential(nn.Dropout(dropout), MLP(embedding_dim, (hidden,), hidden))
        self.levels = AutoregressiveCategorical(dims, max_levels, hidden, hidden)
        n_read = hidden + self.levels.n_one_hot
        n = len(self.levels.continuous)
        flow = posterior_flow(n, n_read, n_layers=n_layers, hidden=hidden, bins=bins)
        self.posterior_flow = Chain([flow, UnitCube()])
        self.preset_encoder = PresetEncoder(self.levels, 2 * hidden, latent_dim)
        self.tags = TagDirections(dims, latent_dim)

    def initialise(self, x: Tensor, mean: Tensor, std: Tensor) -> None:
        """Find the principal coordinates of sounds."""
        self.coordinates.fit(x, mean, std)

    def encode(self, x: Tensor) -> Tensor:
        """Embed features as their coordinates, then the embedding."""
        return torch.cat([self.coordinates(x), self.encoder(x)], -1)

    def posterior(self, h: Tensor) -> Normal:
        """Return q(z|x) for what ``encode`` made of sounds."""
        (z, embedding), spread = h.tensor_split([self.latent_dim], -1), self.coordinates.spread
        correction = pad(self.correction(embedding), (0, self.coordinates.n_changes))
        return Normal(z + spread * correction, self.noise * spread).to_event(1)

    def expected_x(self, z: Tensor) -> Tensor:
        """Decode latents (..., latent_dim): the sound of their coordinates, corrected."""
        return self.coordinates.inverse(z) + self.decoder(z / self.coordinates.spread)

    def encode_preset(self, v: Tensor) -> Tensor:
        """Return about where presets (..., n_params) sound, without rendering them."""
        return self.coordinates.spread * self.preset_encoder(v)

    def presets(self, z: Tensor, embedding: Tensor | float = 0.0) -> MixedDiscreteFlow:
        """Return p(v|z), or q(v|x) of latents and what else is read of the sound."""
        read = self.reader(z / self.coordinates.spread) + embedding
        return MixedDiscreteFlow(self.levels, self.posterior_flow, silu(read))

    def params_of(self, z: Tensor) -> Tensor:
        """Map latents to their most ordinary presets, those of u = 0."""
        return self.params_at(z, z.new_zeros(*z.shape[:-1], self.dims.n_params))

    def params_at(self, z: Tensor, u: Tensor) -> Tensor:
        """Map latents and what remains to presets: v = r(u; z)."""
        return self.presets(z).at(u)

    def remainder(self, v: Tensor, z: Tensor) -> Tensor:
        """Return u = r⁻¹(v; z), (..., n_params) in float64."""
        return self.presets(z).noise(v)

    def axes(self, z: Tensor) -> Tensor:
        """Return coordinates of which the first follow the tags: z, turned."""
        return self.tags.axes(z, self.coordinates.spread)

    def latent_of(self, axes: Tensor) -> Tensor:
        """Turn coordinates back to z."""
        return self.tags.latent_of(axes, self.coordinates.spread)

    def model(self, batch: Batch | None = None) -> None:
        """Draw what is heard, then sound, preset and labels given it."""
        scales = AffineTransform(0.0, self.coordinates.spread, event_dim=1)
        w = standard_normal(self.origin)
        with self.rows(batch):
            z = pyro.sample("z", TransformedDistribution(w, [FlowTransform(self.prior), scales]))
            pyro.sample("x", MelNormal(self.expected_x(z), self.log_scale))
            pyro.sample("v", self.presets(z))
            pyro.sample("t", Labels(self.tags.log_weight(self.axes(z.detach()))))

    def guide(self, batch: Batch) -> None:
        """Read what is heard off the sounds, then draw presets given both."""
        x, n = batch["x"], self.latent_dim
        with self.rows(batch):
            h = self.encode(x)
            q = self.posterior(h)
            z, read = pyro.sample("z", q), self.second(h[..., n:])
            if self.training:
                read = read * (torch.rand(len(x), 1, device=x.device) < 0.5)
            pyro.sample("v", self.presets(z if self.training else q.mean, read))
            if "v" in batch and x.dim() == batch["v"].dim() + 1:
                known = batch.get("has_v", torch.ones_like(x[:, 0, 0], dtype=torch.bool))
                spread = self.coordinates.spread
                away = (self.encode_preset(batch["v"]) - q.mean.detach()).square() / spread
                pyro.factor("encoding", -2 * torch.where(known, away.sum(-1), 0.0))
                pyro.factor("stress", -stress(q.mean, self.coordinates.points(x)))
