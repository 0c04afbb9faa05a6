"""Presets whose controls are partly switches: their levels first, then a flow of the rest."""

import math

import torch
from pyro.distributions import TorchDistribution
from torch import Generator, Tensor, nn
from torch.distributions import constraints

from pyrosynth.modeling.distributions import draw, log_normal
from pyrosynth.modeling.flows import Flow
from pyrosynth.modeling.networks import MLP
from pyrosynth.modeling.variant import Dims

_Shape = torch.Size | list[int] | tuple[int, ...]


class Switches(nn.Module):
    """Probabilities of the levels of the controls that have few, one control after another.

    The logits of a control are a perceptron of the context plus a linear function of the levels
    of the controls before it (a fully visible belief network).

    Args:
        dims: The sizes, with the resolution of each parameter; without it nothing is a switch.
        max_levels: Controls with at most so many levels are switches. Where fewer than 2
            parameters would remain, none is.
        n_context: Size of the context.
        hidden: Width of the perceptron.

    Attributes:
        levels: Number of levels of each switch.
        n_one_hot: Their sum.
    """

    switches: Tensor
    others: Tensor
    restore: Tensor
    owner: Tensor
    rank: Tensor
    earlier: Tensor
    padded: Tensor
    counts: Tensor

    def __init__(self, dims: Dims, max_levels: int, n_context: int, hidden: int) -> None:
        super().__init__()
        found = [i for i, k in enumerate(dims.resolution) if k <= max_levels]
        if dims.n_params - len(found) < 2:
            found = []
        others = [i for i in range(dims.n_params) if i not in found]
        self.levels = tuple(dims.resolution[i] for i in found)
        self.n_one_hot = sum(self.levels)
        slots = [(i, rank) for i, k in enumerate(self.levels) for rank in range(k)]
        owner = torch.tensor([i for i, _ in slots], dtype=torch.long)
        # Slots of each switch in a row of its own; rows are filled up with a slot of no chance.
        padded = torch.full((len(found), max(self.levels, default=0)), self.n_one_hot)
        for slot, (i, rank) in enumerate(slots):
            padded[i, rank] = slot
        constants = {
            "switches": torch.tensor(found, dtype=torch.long),
            "others": torch.tensor(others, dtype=torch.long),
            "restore": torch.tensor([*found, *others]).argsort(),
            "owner": owner,
            "rank": torch.tensor([rank for _, rank in slots], dtype=torch.long),
            "earlier": (owner[:, None] < owner).float(),
            "padded": padded,
            "counts": torch.tensor(self.levels, dtype=torch.float32),
        }
        for name, constant in constants.items():
            self.register_buffer(name, constant, persistent=False)
        if found:
            self.net = MLP(n_context, (hidden,), self.n_one_hot)
        if len(found) > 1:
            self.among = nn.Parameter(torch.zeros(self.n_one_hot, self.n_one_hot))

    def split(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return the levels (..., n_switches) and the other parameters of v (..., n_params)."""
        points = v.index_select(-1, self.switches) * self.counts
        return points.long().clamp(max=self.counts.long() - 1), v.index_select(-1, self.others)

    def join(self, level: Tensor, noise: Tensor, others: Tensor) -> Tensor:
        """Return v (..., n_params) of levels, noise on (0, 1) within them, and the others."""
        return torch.cat([(level + noise) / self.counts, others], -1).index_select(
            -1, self.restore
        )

    def one_hot(self, level: Tensor) -> Tensor:
        """Return indicators of levels, shape (..., n_one_hot)."""
        return (level.index_select(-1, self.owner) == self.rank).float()

    def log_prob(self, level: Tensor, context: Tensor) -> Tensor:
        """Return the log-density of the switches' v, even within a level, shape (...)."""
        logits = self.net(context) + self.one_hot(level) @ self._weights()
        logits = nn.functional.pad(logits, (0, 1), value=-1e9)
        rows = logits[..., self.padded].log_softmax(-1)
        found = rows.gather(-1, level[..., None].expand(*rows.shape[:-1], 1))
        return found[..., 0].sum(-1) + self.counts.log().sum()

    def sample(self, context: Tensor, n: int, generator: Generator | None = None) -> Tensor:
        """Draw levels, shape (n, ..., n_switches), one switch after another."""
        logits = self.net(context)
        shape = (n, *logits.shape)
        # Gumbel noise turns the largest logit into a draw.
        noise = torch.rand(shape, generator=generator, device=logits.device).clamp(1e-20, 1 - 1e-7)
        logits = logits - (-noise.log()).log()
        weights, drawn, start = self._weights(), [], 0
        for k in self.levels:
            level = logits[..., start : start + k].argmax(-1)
            logits = logits + weights[start : start + k][level]
            drawn.append(level)
            start += k
        return torch.stack(drawn, -1)

    def _weights(self) -> Tensor:
        """Return how much each level (rows) raises the logits of the switches after its own."""
        return self.among * self.earlier if len(self.levels) > 1 else self.earlier


class MixedPreset(TorchDistribution):
    """q(v|x): the levels of the switches, then a flow onto the cube that reads them.

    Args:
        switches: The probabilities of the levels.
        flow: Flow of the other parameters, from the whole space onto the open unit cube.
        context: Embeddings, shape (..., n_context).
        generator: Source of the noise of draws; torch's own by default.
    """

    has_rsample = True
    support = constraints.independent(constraints.unit_interval, 1)
    arg_constraints: dict[str, constraints.Constraint] = {}

    def __init__(
        self,
        switches: Switches,
        flow: Flow,
        context: Tensor,
        generator: Generator | None = None,
    ) -> None:
        self.switches, self.flow, self.context = switches, flow, context
        self.generator = generator
        n_params = len(switches.restore)
        super().__init__(context.shape[:-1], torch.Size([n_params]), validate_args=False)

    def rsample(self, sample_shape: _Shape = ()) -> Tensor:
        """Draw presets; the levels carry no gradient."""
        n, switches = math.prod(sample_shape), self.switches
        context = self.context.expand(n, *self.context.shape)
        origin = context.new_zeros(*context.shape[:-1], len(switches.others))
        if not switches.levels:
            v = draw(self.flow, 1, origin, context, self.generator)[0][0]
            return v.reshape(*sample_shape, *v.shape[1:])
        with torch.no_grad():
            level = switches.sample(self.context, n, self.generator)
        noise = torch.rand(level.shape, generator=self.generator, device=level.device)
        others, _ = draw(self.flow, 1, origin, self._seen(level), self.generator)
        v = switches.join(level, noise, others[0])
        return v.reshape(*sample_shape, *v.shape[1:])

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the exact log-density of presets in the unit cube, shape (...)."""
        level, others = self.switches.split(value)
        if not self.switches.levels:
            noise, ladj = self.flow.inverse(others, self.context)
            return log_normal(noise) + ladj
        noise, ladj = self.flow.inverse(others, self._seen(level))
        return log_normal(noise) + ladj + self.switches.log_prob(level, self.context)

    def _seen(self, level: Tensor) -> Tensor:
        """Return what the flow reads: the embedding and the levels."""
        context = self.context.expand(*level.shape[:-1], -1)
        return torch.cat([context, self.switches.one_hot(level)], -1)
