"""Invertible maps whose log-determinant is known: the parts that every flow is made of.

A flow is a module with ``forward(x, context) -> (y, ladj)`` and ``inverse(y, context) ->
(x, ladj)``, pure tensor code on the last axis; ``ladj`` is the log absolute determinant of the
Jacobian of the direction that was computed. Every flow of the package starts as the identity
(but `UnitCube`, which is fixed).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

EDGE = 1e-6  # v keeps this distance from the faces of the cube, as in `synths.params`
LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


def log_normal(x: Tensor) -> Tensor:
    """Return the log-density of a standard normal summed over the last axis."""
    return -(0.5 * x.square() + LOG_SQRT_2PI).sum(-1)


class Flow(nn.Module, ABC):
    """An invertible map of the last axis, maybe depending on a context.

    Attributes:
        temperature: Standard deviation of the normal noise that draws start from, where the flow
            is that of a distribution; 1 unless `pyrosynth.modeling.temperature` sets it.
    """

    temperature: float = 1.0

    @abstractmethod
    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map points.

        Args:
            x: Points, shape (..., features).
            context: What the map depends on, shape (..., n_context), leading axes broadcast.

        Returns:
            The images, shape (..., features), and log|det dy/dx|, shape (...).
        """

    @abstractmethod
    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map images back; returns the points and log|det dx/dy|."""


class Chain(Flow):
    """Flows applied one after the other, each with the same context."""

    def __init__(self, flows: Sequence[Flow]) -> None:
        super().__init__()
        self.flows = nn.ModuleList(flows)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map points through the flows in order."""
        ladjs = []
        for flow in self.flows:
            x, ladj = flow(x, context)
            ladjs += [] if isinstance(flow, Permutation) else [ladj]
        return x, _sum(ladjs, x)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map images back through the flows in reverse order."""
        ladjs = []
        for flow in reversed(self.flows):
            y, ladj = flow.inverse(y, context)  # type: ignore[operator]
            ladjs += [] if isinstance(flow, Permutation) else [ladj]
        return y, _sum(ladjs, y)


def _sum(ladjs: Sequence[Tensor], x: Tensor) -> Tensor:
    """Return the sum of log-determinants of points, shape (...); permutations have none."""
    total = sum(ladjs[1:], ladjs[0]) if ladjs else x.new_zeros(())
    return total.expand(x.shape[:-1])


class Inverse(Flow):
    """The inverse of a flow.

    Args:
        flow: The flow.
    """

    def __init__(self, flow: Flow) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map as the flow maps back."""
        return self.flow.inverse(x, context)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map back as the flow maps."""
        return self.flow(y, context)


class Permutation(Flow):
    """A fixed reordering of the features.

    Args:
        order: Position in the input of each feature of the output.
    """

    order: Tensor
    restore: Tensor

    def __init__(self, order: Tensor) -> None:
        super().__init__()
        self.register_buffer("order", order)
        self.register_buffer("restore", order.argsort())
        self.register_load_state_dict_post_hook(_require_permutation)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Reorder."""
        return x.index_select(-1, self.order), x.new_zeros(())

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Restore the order."""
        return y.index_select(-1, self.restore), y.new_zeros(())


def _require_permutation(flow: nn.Module, _: object) -> None:
    """Make sure that what a permutation has loaded is one; a file may hold anything."""
    assert isinstance(flow, Permutation)
    positions = torch.arange(len(flow.order), device=flow.order.device)
    if not torch.equal(flow.order.sort().values, positions) or not torch.equal(
        flow.restore, flow.order.argsort()
    ):
        raise ValueError("an order of features that is none")


class UnitCube(Flow):
    """The standard normal CDF as a flow, from the whole space onto the open unit cube.

    It is preferred to the logistic function because a standard normal becomes the uniform
    density, also at the edges: a control that sits at its lowest level is uniform on
    (0, 1/K), a tail that a normal base can then follow exactly.
    """

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Squash; images keep `params.EDGE` away from the faces of the cube."""
        v = torch.special.ndtr(x).clamp(EDGE, 1 - EDGE)
        return v, -(0.5 * x.square() + LOG_SQRT_2PI).sum(-1)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Stretch points of the cube; those on its faces count as `params.EDGE` inside."""
        x = torch.special.ndtri(y.clamp(EDGE, 1 - EDGE))
        return x, (0.5 * x.square() + LOG_SQRT_2PI).sum(-1)


class Conditioner(nn.Module):
    """Perceptron of features and context, zero at the start.

    The context has its own first layer: it is multiplied once per sound, not once per draw.

    Args:
        n_in: Number of features read.
        n_context: Size of the context; 0 for none.
        hidden: Width of the two hidden layers.
        n_out: Size of the output.
    """

    def __init__(self, n_in: int, n_context: int, hidden: int, n_out: int) -> None:
        super().__init__()
        self.features = nn.Linear(n_in, hidden) if n_in else None
        self.context = nn.Linear(n_context, hidden, bias=not n_in) if n_context else None
        self.middle = nn.Linear(hidden, hidden)
        self.last = nn.Linear(hidden, n_out)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        """Map (..., n_in) and (..., n_context) to (..., n_out)."""
        h = x.new_zeros(self.middle.in_features) if self.features is None else self.features(x)
        if self.context is not None:
            h = h + self.context(context)
        h = nn.functional.silu(h)
        h = h + nn.functional.silu(self.middle(h))
        return self.last(h)


class DiagonalAffine(Flow):
    """Scale and shift of every feature by the context: the mean and width of a posterior.

    Args:
        features: Number of features.
        n_context: Size of the context.
        hidden: Width of the network that reads the context.
    """

    def __init__(self, features: int, n_context: int, *, hidden: int = 192) -> None:
        super().__init__()
        self.net = Conditioner(0, n_context, hidden, 2 * features)

    def _of(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        loc, log_scale = self.net(x, context).chunk(2, -1)
        return loc, 4 * torch.tanh(log_scale / 4)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Scale, then shift."""
        loc, log_scale = self._of(x, context)
        return loc + x * log_scale.exp(), log_scale.sum(-1)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Undo the shift, then the scale."""
        loc, log_scale = self._of(y, context)
        return (y - loc) * (-log_scale).exp(), -log_scale.sum(-1)


def affine(x: Tensor, shape: Tensor, *, invert: bool) -> tuple[Tensor, Tensor]:
    """Scale each feature by e^-2 to e^2, then shift it.

    Args:
        x: Features, shape (..., features).
        shape: Shift and unconstrained log-scale of each, shape (..., features, 2).
        invert: Whether to compute the inverse.

    Returns:
        Features and log-derivatives, both of shape (..., features).
    """
    shift, log_scale = shape[..., 0], 2 * torch.tanh(shape[..., 1] / 2)
    if invert:
        return (x - shift) * (-log_scale).exp(), -log_scale
    return x * log_scale.exp() + shift, log_scale
