"""Continuous flows: points carried along a velocity that was learnt by regression."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from pyrosynth.modeling.bijections import UnitCube, log_normal

AT_ONCE = 4096  # points and directions of one evaluation: they fit the cache of a processor


class RectifiedFlow(TorchDistribution):
    """Points of the open unit cube as the images of noise under a differential equation.

    With y = Phi⁻¹(v), Phi the normal distribution function, y starts as standard normal noise at
    time 0, moves by dy/dt = velocity, and is there at time 1. The log-density integrates the
    divergence of the velocity on the way, measured along random directions.

    Args:
        velocity: Function of points (..., features), times (..., 1) or () and contexts.
        context: What it depends on, shape (..., n_context).
        features: Number of features.
        n_pairs: Pairs of noise and time in ``velocity_error``.
        n_steps: Steps of the solver, each of four evaluations.
        n_probes: Directions along which the divergence is measured; it is exact with as many as
            there are features.
        batch_shape: Shape of the leading axes, which those of the context are broadcast to.

    References:
        Liu, Gong & Liu (2023), Flow straight and fast: learning to generate and transfer data
        with rectified flow, https://arxiv.org/abs/2209.03003.
    """

    has_rsample = True  # but neither draws nor densities have a gradient
    support = constraints.independent(constraints.unit_interval, 1)
    arg_constraints: dict[str, constraints.Constraint] = {}
    cube = UnitCube()

    def __init__(
        self,
        velocity: Callable[[Tensor, Tensor, Tensor], Tensor],
        context: Tensor,
        features: int,
        *,
        n_pairs: int = 4,
        n_steps: int = 8,
        n_probes: int = 1,
        batch_shape: Sequence[int] | None = None,
    ) -> None:
        self.velocity, self.context = velocity, context
        self.n_pairs, self.n_steps, self.n_probes = n_pairs, n_steps, n_probes
        self._drawn: tuple[Tensor, Tensor] | None = None  # a draw, and its log-density
        shape = torch.Size(context.shape[:-1] if batch_shape is None else batch_shape)
        super().__init__(shape, torch.Size([features]), validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "RectifiedFlow":
        """Return the distribution with more leading axes."""
        return RectifiedFlow(
            self.velocity, self.context, self.event_shape[0], n_pairs=self.n_pairs,
            n_steps=self.n_steps, n_probes=self.n_probes, batch_shape=batch_shape,
        )  # fmt: skip

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Carry noise to parameters, shape (*sample_shape, ..., n_params)."""
        shape = (*sample_shape, *self.batch_shape, *self.event_shape)
        noise = torch.randn(shape, device=self.context.device, dtype=self.context.dtype)
        y, divergence = self._carry(noise, 0.0, 1.0)
        v, logdet = self.cube(y)
        self._drawn = v, log_normal(noise) - divergence - logdet
        return v

    def log_prob(self, value: Tensor) -> Tensor:
        """Estimate the log-density of parameters, shape (...); right on average."""
        if self._drawn is not None and value is self._drawn[0]:
            return self._drawn[1]
        y, logdet = self.cube.inverse(value)
        noise, divergence = self._carry(y, 1.0, 0.0)
        return log_normal(noise) + divergence + logdet

    def velocity_error(self, v: Tensor) -> Tensor:
        """Compare velocities between noise and parameters with their aim, shape (batch,)."""
        y, _ = self.cube.inverse(v)
        n_pairs = self.n_pairs
        noise = torch.randn_like(y.expand(n_pairs, *y.shape))
        # One time in each part of the unit interval: the mean over the pairs is steadier. The root
        # makes late times more frequent (density 2t), where the posterior is sharp.
        part = torch.arange(n_pairs, device=y.device)[:, None, None]
        t = ((part + torch.rand_like(noise[..., :1])) / n_pairs).sqrt()
        velocity = self.velocity(noise + t * (y - noise), t, self.context)
        return -(velocity - (y - noise)).square().sum(-1).mean(0)

    @torch.no_grad()
    def _carry(self, y: Tensor, start: float, stop: float) -> tuple[Tensor, Tensor]:
        """Carry points (..., batch, n_params) through time.

        Returns:
            Where they arrive, and the integral of the divergence on the way, shape (..., batch).
        """
        n = y.shape[-1]
        points = y.reshape(-1, n)
        sound = self.context.expand(*y.shape[:-1], -1).reshape(len(points), -1)
        probes = self._probes(points)
        rows = max(1, AT_ONCE // len(probes))
        arrived = [
            self._solve(*part, start, stop)
            for part in zip(
                points.split(rows), sound.split(rows), probes.split(rows, 1), strict=True
            )
        ]
        ends, divergences = (torch.cat(parts) for parts in zip(*arrived, strict=True))
        return ends.reshape(y.shape), divergences.reshape(y.shape[:-1])

    def _probes(self, y: Tensor) -> Tensor:
        """Return directions (n_directions, batch, n_params) whose outer squares sum to one."""
        n = y.shape[-1]
        if self.n_probes >= n:
            return torch.eye(n, device=y.device, dtype=y.dtype)[:, None].expand(n, *y.shape)
        signs = torch.randint(0, 2, (self.n_probes, *y.shape), device=y.device)
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
