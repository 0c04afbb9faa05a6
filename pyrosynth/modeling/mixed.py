"""Presets with discrete parameters: first their levels, then a flow of the continuous ones."""

import math
from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import constraints

from pyrosynth.modeling.bijections import Flow, log_normal
from pyrosynth.modeling.dims import Dims
from pyrosynth.modeling.networks import MLP, Network, ResidualMLP

WIDER = 1.5  # times as high are the temperatures of draws that are made in doubt
SLIVER = 1e-7  # distance from the ends of the unit interval, where noise would be infinite

_Shape = torch.Size | list[int] | tuple[int, ...]


class AutoregressiveCategorical(nn.Module):
    """Probabilities of the levels of the discrete parameters, one parameter after another.

    The logits of a parameter are a perceptron of the context plus a linear function of the levels
    of the parameters before it (a fully visible belief network).

    Args:
        dims: The sizes, with the resolution of each parameter; without it none is discrete.
        max_levels: Parameters with at most so many levels are discrete. Where fewer than 2
            parameters would remain, none is.
        n_context: Size of the context.
        hidden: Width of the perceptron.

    Attributes:
        levels: Number of levels of each discrete parameter.
        n_one_hot: Their sum.
        temperature: What logits are divided by, see `pyrosynth.modeling.temperature`.
        doubt: Share of presets whose temperatures are ``WIDER`` times as high.
    """

    temperature: float = 1.0
    doubt: float = 0.0

    discrete: Tensor
    continuous: Tensor
    order: Tensor
    owner: Tensor
    rank: Tensor
    earlier: Tensor
    padded: Tensor
    counts: Tensor

    def __init__(self, dims: Dims, max_levels: int, n_context: int, hidden: int) -> None:
        super().__init__()
        discrete = [i for i, k in enumerate(dims.resolution) if k <= max_levels]
        if dims.n_params - len(discrete) < 2:
            discrete = []
        continuous = [i for i in range(dims.n_params) if i not in discrete]
        self.levels = tuple(dims.resolution[i] for i in discrete)
        self.n_one_hot = sum(self.levels)
        slots = [(i, rank) for i, k in enumerate(self.levels) for rank in range(k)]
        owner = torch.tensor([i for i, _ in slots], dtype=torch.long)
        # Slots of each parameter in a row of its own; rows are filled up with a slot of no chance.
        padded = torch.full((len(discrete), max(self.levels, default=0)), self.n_one_hot)
        for slot, (i, rank) in enumerate(slots):
            padded[i, rank] = slot
        constants = {
            "discrete": torch.tensor(discrete, dtype=torch.long),
            "continuous": torch.tensor(continuous, dtype=torch.long),
            "order": torch.tensor([*discrete, *continuous]).argsort(),
            "owner": owner,
            "rank": torch.tensor([rank for _, rank in slots], dtype=torch.long),
            "earlier": (owner[:, None] < owner).float(),
            "padded": padded,
            "counts": torch.tensor(self.levels, dtype=torch.float32),
        }
        for name, constant in constants.items():
            self.register_buffer(name, constant, persistent=False)
        if discrete:
            self.net = MLP(n_context, (hidden,), self.n_one_hot)
        if len(discrete) > 1:
            self.among = nn.Parameter(torch.zeros(self.n_one_hot, self.n_one_hot))

    def split(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return levels (..., n_discrete) and continuous parameters of v (..., n_params)."""
        points = v.index_select(-1, self.discrete) * self.counts
        level = points.long().clamp(max=self.counts.long() - 1)
        return level, v.index_select(-1, self.continuous)

    def join(self, level: Tensor, noise: Tensor, continuous: Tensor) -> Tensor:
        """Return v (..., n_params) of levels, noise on (0, 1) within them, and the rest."""
        v = torch.cat([(level + noise) / self.counts, continuous], -1)
        return v.index_select(-1, self.order)

    def one_hot(self, level: Tensor) -> Tensor:
        """Return indicators of levels, shape (..., n_one_hot)."""
        return (level.index_select(-1, self.owner) == self.rank).float()

    def log_prob(self, level: Tensor, context: Tensor, wider: float = 1.0) -> Tensor:
        """Return the log-density of the discrete v, even within a level, shape (...).

        Args:
            level: Levels, shape (..., n_discrete).
            context: Shape (..., n_context).
            wider: How many times as high the temperature is.
        """
        logits = (self._logits(context) + self.one_hot(level) @ self._weights()) / wider
        logits = nn.functional.pad(logits, (0, 1), value=-1e9)
        rows = logits[..., self.padded].log_softmax(-1)
        chosen = rows.gather(-1, level[..., None].expand(*rows.shape[:-1], 1))
        return chosen[..., 0].sum(-1) + self.counts.log().sum()

    def sample(self, context: Tensor, batch_shape: _Shape, wider: Tensor | None = None) -> Tensor:
        """Draw levels, shape (*batch_shape, n_discrete), one parameter after another.

        Args:
            context: Shape (..., n_context).
            batch_shape: Shape of the draws.
            wider: How many times as high the temperature of each is, shape (*batch_shape, 1).
        """
        logits, weights = self._logits(context), self._weights()
        # Gumbel noise turns the largest logit into a draw.
        shape = (*batch_shape, self.n_one_hot)
        noise = torch.rand(shape, dtype=logits.dtype, device=logits.device)
        noise = -(-noise.clamp(1e-20, 1 - 1e-7).log()).log()
        logits = logits + (noise if wider is None else wider * noise)
        drawn, start = [], 0
        for k in self.levels:
            level = logits[..., start : start + k].argmax(-1)
            logits = logits + weights[start : start + k][level]
            drawn.append(level)
            start += k
        return torch.stack(drawn, -1)

    def quantile(self, level: Tensor, within: Tensor, context: Tensor) -> Tensor:
        """Return where levels lie in the unit interval, each as wide there as it is probable.

        Args:
            level: Levels, shape (..., n_discrete).
            within: Where in the level, on (0, 1), of the same shape, float64.
            context: Shape (..., n_context).

        Returns:
            Uniform on (0, 1) if the levels follow their probabilities, float64.
        """
        logits = self._logits(context) + self.one_hot(level) @ self._weights()
        logits = nn.functional.pad(logits, (0, 1), value=-1e9)
        p = logits[..., self.padded].double().softmax(-1)
        chosen = level.unsqueeze(-1)
        upper, width = p.cumsum(-1).gather(-1, chosen), p.gather(-1, chosen)
        return (upper - width + within.unsqueeze(-1) * width).squeeze(-1)

    def at_quantile(self, quantile: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Return the levels at points of the unit cube, and where in them: inverts `quantile`."""
        logits = self._logits(context).expand(*quantile.shape[:-1], -1)
        weights, levels, withins, start = self._weights(), [], [], 0
        for i, k in enumerate(self.levels):
            p = logits[..., start : start + k].double().softmax(-1)
            upper, point = p.cumsum(-1), quantile[..., i : i + 1]
            level = (upper[..., :-1] < point).sum(-1, keepdim=True)
            width = p.gather(-1, level)
            withins.append((point - upper.gather(-1, level) + width) / width)
            levels.append(level)
            logits = logits + weights[start : start + k][level.squeeze(-1)]
            start += k
        return torch.cat(levels, -1), torch.cat(withins, -1)

    def _logits(self, context: Tensor) -> Tensor:
        """Return the logits of all levels as far as the context decides, (..., n_one_hot)."""
        return self.net(context) / self.temperature

    def _weights(self) -> Tensor:
        """Return how much each level (rows) raises the logits of the parameters after its own."""
        weights = self.among * self.earlier if len(self.levels) > 1 else self.earlier
        return weights / self.temperature


class MixedDiscreteFlow(TorchDistribution):
    """q(v|x): the levels of the discrete parameters, then a flow onto the cube that reads them.

    Args:
        levels: The probabilities of the levels.
        flow: Flow of the continuous parameters, from the whole space onto the open unit cube.
        context: Embeddings, shape (..., n_context).
        batch_shape: Shape of the leading axes, which those of the context are broadcast to.
    """

    has_rsample = True
    support = constraints.independent(constraints.unit_interval, 1)
    arg_constraints: dict[str, constraints.Constraint] = {}

    def __init__(
        self,
        levels: AutoregressiveCategorical,
        flow: Flow,
        context: Tensor,
        batch_shape: _Shape | None = None,
    ) -> None:
        self.levels, self.flow, self.context = levels, flow, context
        shape = context.shape[:-1] if batch_shape is None else torch.Size(batch_shape)
        super().__init__(shape, levels.order.shape, validate_args=False)

    def expand(self, batch_shape: _Shape, _instance: Any = None) -> "MixedDiscreteFlow":
        """Return the distribution with more leading axes."""
        return MixedDiscreteFlow(self.levels, self.flow, self.context, batch_shape)

    def rsample(self, sample_shape: _Shape = ()) -> Tensor:
        """Draw presets; the levels carry no gradient."""
        shape, like = (*sample_shape, *self.batch_shape), self.context
        size = len(self.levels.levels), len(self.levels.continuous)
        wider = None
        if self.levels.doubt:
            point = torch.rand((*shape, 1), dtype=like.dtype, device=like.device)
            wider = torch.where(point < self.levels.doubt, WIDER, 1.0).to(like)
        if not self.levels.levels:
            noise = torch.randn((*shape, size[1]), dtype=like.dtype, device=like.device)
            return self.flow(self._widened(noise, wider), self.context)[0]
        with torch.no_grad():
            level = self.levels.sample(self.context, shape, wider)
        within = torch.rand((*shape, size[0]), dtype=like.dtype, device=like.device)
        noise = torch.randn((*shape, size[1]), dtype=like.dtype, device=like.device)
        continuous = self.flow(self._widened(noise, wider), self._seen(level))[0]
        return self.levels.join(level, within, continuous)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the exact log-density of presets in the unit cube, shape (...)."""
        level, continuous = self.levels.split(value)
        seen = self._seen(level) if self.levels.levels else self.context
        noise, ladj = self._noise(continuous, seen)
        doubt = self.levels.doubt
        sure = ladj + self._log_base(level, noise, 1.0)
        if not doubt:
            return sure
        unsure = ladj + self._log_base(level, noise, WIDER)
        return torch.logaddexp(math.log1p(-doubt) + sure, math.log(doubt) + unsure)

    def noise(self, value: Tensor) -> Tensor:
        """Map presets to the standard normal noise that makes them, the inverse of `at`.

        A discrete parameter has the quantile of its level, so noise and preset have the same
        numbers. It is standard normal for presets that are drawn without doubt; the map is the
        same for the others.

        Args:
            value: Presets in the unit cube, shape (..., n_params).

        Returns:
            Noise of the discrete parameters, then of the others, shape (..., n_params), float64:
            a level of little probability takes a sliver of it.
        """
        level, continuous = self.levels.split(value)
        if not self.levels.levels:
            return self._noise(continuous, self.context)[0].double()
        points = value.index_select(-1, self.levels.discrete).double() * self.levels.counts
        within = (points - level).clamp(SLIVER, 1 - SLIVER)
        context = self.context.expand(*level.shape[:-1], -1)
        quantile = self.levels.quantile(level, within, context)
        rest = self._noise(continuous, self._seen(level))[0]
        return torch.cat([torch.special.ndtri(quantile), rest.double()], -1)

    def at(self, noise: Tensor) -> Tensor:
        """Map noise (..., n_params) to presets; that of the discrete parameters comes first."""
        n = len(self.levels.levels)
        like = self.context.dtype
        if not n:
            context = self.context.expand(*noise.shape[:-1], -1)
            return self.flow(self.flow.temperature * noise.to(like), context)[0]
        quantile = torch.special.ndtr(noise[..., :n].double())
        quantile = quantile.clamp(SLIVER, 1 - SLIVER)
        context = self.context.expand(*noise.shape[:-1], -1)
        level, within = self.levels.at_quantile(quantile, context)
        rest = self.flow.temperature * noise[..., n:].to(like)
        continuous = self.flow(rest, self._seen(level))[0]
        return self.levels.join(level, within.clamp(SLIVER, 1 - SLIVER).to(like), continuous)

    def _noise(self, continuous: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Return the standard normal noise of continuous parameters, and log|det| of the map."""
        noise, ladj = self.flow.inverse(continuous, context)
        temperature = self.flow.temperature
        return noise / temperature, ladj - noise.shape[-1] * math.log(temperature)

    def _log_base(self, level: Tensor, noise: Tensor, wider: float) -> Tensor:
        """Return the log-density of noise and levels, at temperatures so many times as high."""
        base = log_normal(noise / wider) - noise.shape[-1] * math.log(wider)
        if not self.levels.levels:
            return base
        return base + self.levels.log_prob(level, self.context, wider)

    def _widened(self, noise: Tensor, wider: Tensor | None) -> Tensor:
        """Return normal noise at the temperature of the flow."""
        return self.flow.temperature * (noise if wider is None else wider * noise)

    def _seen(self, level: Tensor) -> Tensor:
        """Return what the flow reads: the embedding and the levels."""
        context = self.context.expand(*level.shape[:-1], -1)
        return torch.cat([context, self.levels.one_hot(level)], -1)


class PresetEncoder(Network):
    """Perceptron from presets to points, which reads discrete parameters as indicators.

    Args:
        levels: Which parameters are discrete.
        hidden: Width of its blocks.
        n_out: Size of the points.
    """

    def __init__(self, levels: AutoregressiveCategorical, hidden: int, n_out: int) -> None:
        super().__init__()
        n_in = len(levels.continuous) + levels.n_one_hot
        self._levels = (levels,)  # in a tuple: it is read, and its weights are not this network's
        self.net = ResidualMLP(n_in, hidden, n_out, n_blocks=3)

    def forward(self, v: Tensor) -> Tensor:
        """Map presets in the unit cube (..., n_params) to points (..., n_out)."""
        (levels,) = self._levels
        level, continuous = levels.split(v)
        read = [2 * continuous - 1]
        if levels.levels:
            read.append(levels.one_hot(level))
        return self.net(torch.cat(read, -1))
