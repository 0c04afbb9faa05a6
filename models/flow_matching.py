"""Amortised posterior: a rectified flow that carries noise to the parameters of a sound."""

import math
from collections.abc import Sequence

import pyro
import torch
from torch import Tensor, nn

from pyrosynth.modeling import (
    MLP, Batch, Dims, MelEncoder, RectifiedFlow, ResidualMLP, Term, Variant,
)  # fmt: skip


class FlowMatching(Variant):
    """Amortised posterior: a rectified flow that carries noise to the parameters of a sound.

    With y = Phi⁻¹(v), Phi the normal distribution function, and h = encoder(x), an ordinary
    differential equation carries noise at time 0 to parameters at time 1:

        y_0 ~ N(0, I),   dy_t / dt = velocity(y_t, t, h),   v = Phi(y_1)

    The velocity is learnt by regression: between noise y_0 and the parameters y_1 of a preset,
    drawn apart, it should be y_1 - y_0 at y_t = (1 - t) y_0 + t y_1. So the term is *not* a
    likelihood nor a bound of one, and is no number to compare with other variants; log q(v|x)
    is. Sounds without a preset teach it nothing. All of this is the guide; the model knows nothing
    of how presets sound: they are uniform, and sounds standard normal.

    The principle, flow matching conditioned on sound, is that of Hayes et al. (2025); their
    answer to the symmetries of a synth (parameters that may swap places) is not part of it. The
    encoder is that of ``flow_reg``. At the start q(v|x) is uniform: the velocity is that which
    carries noise to noise, plus a network whose last layer is zero.

    log q(v|x) integrates the divergence of the velocity along the path, both by Runge and Kutta's
    fourth order with fixed steps. The divergence is estimated from ``n_probes`` random
    directions, which is right on average and costs an evaluation and a half each; with at least
    as many directions as there are parameters it is taken along every axis, and exact. Neither
    draws nor densities have a gradient.

    Args:
        dims: The sizes.
        embedding_dim: Size of the encoder's output.
        channels: Channels of the encoder's convolutions.
        hidden: Width of the velocity's residual blocks.
        n_blocks: Number of them.
        n_pairs: Pairs of noise and time for each sound and step: the encoder is dearer than they.
        n_steps: Steps of the solver, each of four evaluations.
        n_probes: Directions along which the divergence is measured.

    References:
        Lipman et al. (2023), Flow matching for generative modeling,
        https://arxiv.org/abs/2210.02747.
        Liu, Gong & Liu (2023), Flow straight and fast: learning to generate and transfer data
        with rectified flow, https://arxiv.org/abs/2209.03003.
        Hayes, Saitis & Fazekas (2025), Audio synthesizer inversion in symmetric parameter spaces
        with approximately equivariant flow matching, https://arxiv.org/abs/2506.07199.
        Wildberger et al. (2023), Flow matching for scalable simulation-based inference,
        https://arxiv.org/abs/2305.17161, for the density of the times.
        Grathwohl et al. (2019), FFJORD: free-form continuous dynamics for scalable reversible
        generative models, https://arxiv.org/abs/1810.01367, for the density.
    """

    terms = (Term("velocity", guide=("v",), score=RectifiedFlow.velocity_error),)
    frequencies: Tensor

    def __init__(
        self, dims: Dims, *, embedding_dim: int = 256, channels: Sequence[int] = (128, 192, 256),
        hidden: int = 384, n_blocks: int = 3, n_pairs: int = 4, n_steps: int = 8,
        n_probes: int = 1,
    ) -> None:  # fmt: skip
        super().__init__(dims)
        self.n_pairs, self.n_steps, self.n_probes = n_pairs, n_steps, n_probes
        n = dims.n_params
        self.encoder = MelEncoder(dims.x_shape, embedding_dim, channels=channels)
        self.sound = nn.Linear(embedding_dim, hidden)
        self.time = MLP(16, (hidden,), hidden)
        self.point = nn.Linear(n, hidden, bias=False)
        self.network = ResidualMLP(hidden, hidden, n, n_blocks=n_blocks)
        for parameter in self.network.last[-1].parameters():
            nn.init.zeros_(parameter)
        self.register_buffer("frequencies", math.pi * torch.arange(1.0, 9.0), persistent=False)

    def velocity(self, y: Tensor, t: Tensor, sound: Tensor) -> Tensor:
        """Return the velocity of points.

        Args:
            y: Points, shape (..., n_params).
            t: Times from 0 to 1, shape (..., 1) or ().
            sound: Embeddings through the layer ``sound``, shape (..., hidden).

        Returns:
            Velocities, shape (..., n_params).
        """
        waves = t * self.frequencies
        time = self.time(torch.cat([waves.sin(), waves.cos()], -1))
        noise_to_noise = (2 * t - 1) / (t.square() + (1 - t).square())
        return noise_to_noise * y + self.network(self.point(y) + time + sound)

    def guide(self, batch: Batch) -> None:
        """Draw presets given their sounds."""
        h = self.encode(batch["x"])
        with self.rows(batch):
            pyro.sample("v", RectifiedFlow(
                self.velocity, self.sound(h), self.dims.n_params, n_pairs=self.n_pairs,
                n_steps=self.n_steps, n_probes=self.n_probes,
            ))  # fmt: skip
