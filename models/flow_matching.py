"""Amortised posterior: a rectified flow that carries noise to the parameters of a sound."""

import math
from collections.abc import Sequence

import pyro
import torch
from torch import Generator, Tensor, nn

from pyrosynth.modeling.distributions import log_normal
from pyrosynth.modeling.flows import UnitCube
from pyrosynth.modeling.networks import MLP, MelEncoder, ResidualMLP
from pyrosynth.modeling.variant import Batch, Dims, Term, Variant, where_known

AT_ONCE = 4096  # points and directions of one evaluation: they fit the cache of a processor


class FlowMatching(Variant):
    """Amortised posterior: a rectified flow that carries noise to the parameters of a sound.

    With y = Phi⁻¹(v), Phi the normal distribution function, and h = encoder(x), an ordinary
    differential equation carries noise at time 0 to parameters at time 1:

        y_0 ~ N(0, I),   dy_t / dt = velocity(y_t, t, h),   v = Phi(y_1)

    The velocity is learnt by regression: between noise y_0 and the parameters y_1 of a preset,
    drawn apart, it should be y_1 - y_0 at y_t = (1 - t) y_0 + t y_1. So the term is *not* a
    likelihood nor a bound of one, and is no number to compare with other variants; log q(v|x)
    is. Sounds without a preset teach it nothing.

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

    terms = (Term("velocity", ("velocity",)),)
    frequencies: Tensor

    def __init__(
        self,
        dims: Dims,
        *,
        embedding_dim: int = 256,
        channels: Sequence[int] = (128, 192, 256),
        hidden: int = 384,
        n_blocks: int = 3,
        n_pairs: int = 4,
        n_steps: int = 8,
        n_probes: int = 1,
    ) -> None:
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
        self.cube = UnitCube()
        self.register_buffer("frequencies", math.pi * torch.arange(1.0, 9.0), persistent=False)

    def encode(self, x: Tensor) -> Tensor:
        """Embed features (..., n_mels, n_frames)."""
        return self.encoder(x)

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

    def model(self, batch: Batch) -> None:
        """Compare the velocity between noise and preset with its aim, where it is known."""
        y, _ = self.cube.inverse(batch["v"])
        noise = torch.randn_like(y.expand(self.n_pairs, *y.shape))
        # One time in each part of the unit interval: the mean over the pairs is steadier. The root
        # makes late times more frequent (density 2t), where the posterior is sharp.
        part = torch.arange(self.n_pairs, device=y.device)[:, None, None]
        t = ((part + torch.rand_like(noise[..., :1])) / self.n_pairs).sqrt()
        found = self.velocity(noise + t * (y - noise), t, self.sound(batch["h"]))
        with pyro.plate("presets", len(y)), where_known(batch):
            pyro.factor("velocity", -(found - (y - noise)).square().sum(-1).mean(0))

    def guide(self, batch: Batch) -> None:
        """Do nothing: there is nothing hidden."""

    def sample_v(
        self, x: Tensor, n: int, generator: Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw parameters (n, batch, n_params) and estimate their log q(v|x)."""
        shape = (n, len(x), self.dims.n_params)
        noise = torch.randn(shape, generator=generator, device=x.device, dtype=x.dtype)
        y, divergence = self._carry(noise, x, 0.0, 1.0, generator)
        v, logdet = self.cube(y)
        return v, log_normal(noise) - divergence - logdet

    def log_prob_v(self, v: Tensor, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Estimate log q(v|x); the estimate is right on average."""
        y, logdet = self.cube.inverse(v)
        noise, divergence = self._carry(y, x, 1.0, 0.0, generator)
        return log_normal(noise) + divergence + logdet

    @torch.no_grad()
    def _carry(
        self, y: Tensor, x: Tensor, start: float, stop: float, generator: Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Carry points (..., batch, n_params) through time.

        Returns:
            Where they arrive, and the integral of the divergence on the way, shape (..., batch).
        """
        n = y.shape[-1]
        points = y.reshape(-1, n)
        sound = self.sound(self.encode(x)).expand(*y.shape[:-1], -1).reshape(len(points), -1)
        probes = self._probes(points, generator)
        rows = max(1, AT_ONCE // len(probes))
        arrived = [
            self._solve(*part, start, stop)
            for part in zip(
                points.split(rows), sound.split(rows), probes.split(rows, 1), strict=True
            )
        ]
        ends, divergences = (torch.cat(parts) for parts in zip(*arrived, strict=True))
        return ends.reshape(y.shape), divergences.reshape(y.shape[:-1])

    def _probes(self, y: Tensor, generator: Generator | None) -> Tensor:
        """Return directions (n_directions, batch, n_params) whose outer squares sum to one."""
        n = y.shape[-1]
        if self.n_probes >= n:
            return torch.eye(n, device=y.device, dtype=y.dtype)[:, None].expand(n, *y.shape)
        shape = (self.n_probes, *y.shape)
        signs = torch.randint(0, 2, shape, generator=generator, device=y.device)
        return (2 * signs - 1).to(y.dtype) / math.sqrt(self.n_probes)

    def _solve(
        self, y: Tensor, sound: Tensor, probes: Tensor, start: float, stop: float
    ) -> tuple[Tensor, Tensor]:
        """Integrate the velocity and its divergence by Runge and Kutta's fourth order."""

        def slope(y: Tensor, t: float) -> tuple[Tensor, Tensor]:
            with torch.enable_grad():
                point = y.detach().requires_grad_()
                velocity = self.velocity(point, point.new_full((), t), sound)
                rows = [torch.autograd.grad(velocity, point, p, retain_graph=True) for p in probes]
            changes = [(p * row).sum(-1) for p, (row,) in zip(probes, rows, strict=True)]
            return velocity.detach(), torch.stack(changes).sum(0)

        step = (stop - start) / self.n_steps
        total = y.new_zeros(y.shape[:-1])
        for i in range(self.n_steps):
            t = start + i * step
            k1, d1 = slope(y, t)
            k2, d2 = slope(y + step / 2 * k1, t + step / 2)
            k3, d3 = slope(y + step / 2 * k2, t + step / 2)
            k4, d4 = slope(y + step * k3, t + step)
            y = y + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
            total = total + step / 6 * (d1 + 2 * d2 + 2 * d3 + d4)
        return y, total
