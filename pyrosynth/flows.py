"""Normalising flows: invertible maps whose log-determinant is known.

A flow is a module with ``forward(x, context) -> (y, ladj)`` and ``inverse(y, context) ->
(x, ladj)``, pure tensor code on the last axis; ``ladj`` is the log absolute determinant of the
Jacobian of the direction that was computed. Both directions cost the same. Every flow here
starts as the identity (but `UnitCube`, which is fixed).

`pyrosynth.distributions.FlowTransform` shows a whole flow to Pyro as one transform.

References:
    Dinh, Sohl-Dickstein & Bengio (2017), Density estimation using Real NVP,
    https://arxiv.org/abs/1605.08803.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pyrosynth.errors import InputError, unknown
from pyrosynth.params import EDGE
from pyrosynth.splines import spline

LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


class Flow(nn.Module, ABC):
    """An invertible map of the last axis, maybe depending on a context."""

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
        total: Tensor | float = 0.0
        for flow in self.flows:
            x, ladj = flow(x, context)
            total = total + ladj
        return x, total + x.new_zeros(x.shape[:-1])

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map images back through the flows in reverse order."""
        total: Tensor | float = 0.0
        for flow in reversed(self.flows):
            y, ladj = flow.inverse(y, context)  # type: ignore[operator]
            total = total + ladj
        return y, total + y.new_zeros(y.shape[:-1])


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

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Reorder."""
        return x.index_select(-1, self.order), x.new_zeros(())

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Restore the order."""
        return y.index_select(-1, self.restore), y.new_zeros(())


class UnitCube(Flow):
    """The normal distribution function, from the whole space onto the open unit cube.

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
        h = x.new_zeros(()) if self.features is None else self.features(x)
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


class Coupling(Flow):
    """Half of the features reshape the other half; then the halves swap places.

    Args:
        features: Number of features, at least 2.
        n_context: Size of the context; 0 for none.
        hidden: Width of the conditioner.
        n_shape: Numbers the conditioner gives to each reshaped feature.
    """

    def __init__(self, features: int, n_context: int, hidden: int, n_shape: int) -> None:
        super().__init__()
        if features < 2:
            raise InputError(f"a coupling flow of {features} feature; it needs at least 2")
        self.kept, self.reshaped = features // 2, features - features // 2
        self.net = Conditioner(self.kept, n_context, hidden, self.reshaped * n_shape)

    @abstractmethod
    def _map(self, x: Tensor, shape: Tensor, *, invert: bool) -> tuple[Tensor, Tensor]:
        """Map each feature by itself.

        Args:
            x: Features, shape (..., reshaped).
            shape: The conditioner's numbers, shape (..., reshaped, n_shape).
            invert: Whether to compute the inverse.

        Returns:
            Features and log-derivatives, both of shape (..., reshaped).
        """

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Reshape the second half by the first, then swap."""
        kept, rest = x.split([self.kept, self.reshaped], -1)
        shape = self.net(kept, context).unflatten(-1, (self.reshaped, -1))
        rest, ladj = self._map(rest, shape, invert=False)
        return torch.cat([rest, kept], -1), ladj.sum(-1)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Swap back, then undo the reshaping."""
        rest, kept = y.split([self.reshaped, self.kept], -1)
        shape = self.net(kept, context).unflatten(-1, (self.reshaped, -1))
        rest, ladj = self._map(rest, shape, invert=True)
        return torch.cat([kept, rest], -1), ladj.sum(-1)


class AffineCoupling(Coupling):
    """Coupling that scales (by e^-2 to e^2) and shifts. It cannot split one mode into two.

    Args:
        features: Number of features, at least 2.
        n_context: Size of the context; 0 for none.
        hidden: Width of the conditioner.
    """

    def __init__(self, features: int, *, n_context: int = 0, hidden: int = 192) -> None:
        super().__init__(features, n_context, hidden, 2)

    def _map(self, x: Tensor, shape: Tensor, *, invert: bool) -> tuple[Tensor, Tensor]:
        shift, log_scale = shape[..., 0], 2 * torch.tanh(shape[..., 1] / 2)
        if invert:
            return (x - shift) * (-log_scale).exp(), -log_scale
        return x * log_scale.exp() + shift, log_scale


class SplineCoupling(Coupling):
    """Coupling by monotone rational-quadratic splines, the identity outside the bound.

    Args:
        features: Number of features, at least 2.
        n_context: Size of the context; 0 for none.
        hidden: Width of the conditioner.
        bins: Number of bins of a spline.
        bound: The splines act on [-bound, bound].
    """

    def __init__(
        self,
        features: int,
        *,
        n_context: int = 0,
        hidden: int = 192,
        bins: int = 8,
        bound: float = 5.0,
    ) -> None:
        super().__init__(features, n_context, hidden, 3 * bins - 1)
        self.bins, self.bound = bins, bound

    def _map(self, x: Tensor, shape: Tensor, *, invert: bool) -> tuple[Tensor, Tensor]:
        return spline(x, shape, self.bins, self.bound, invert=invert)


def coupling_flow(
    features: int,
    *,
    n_context: int = 0,
    n_layers: int = 4,
    hidden: int = 192,
    kind: Literal["spline", "affine"] = "spline",
    bins: int = 8,
    bound: float = 5.0,
) -> Chain:
    """Build a stack of couplings, with the features shuffled after every second one.

    Args:
        features: Number of features, at least 2.
        n_context: Size of the context; 0 for none.
        n_layers: Number of couplings.
        hidden: Width of each conditioner.
        kind: ``"spline"`` or ``"affine"``.
        bins: Bins of a spline.
        bound: The splines act on [-bound, bound].

    Returns:
        The flow, the identity at the start. The shuffles are always the same ones.

    Raises:
        InputError: The kind is unknown, or there are fewer than 2 features.
    """
    if kind not in ("spline", "affine"):
        raise unknown("coupling", kind, ("spline", "affine"))
    rng = torch.Generator().manual_seed(features)
    order = torch.arange(features)
    flows: list[Flow] = []
    for i in range(n_layers):
        if i and i % 2 == 0:
            shuffle = torch.randperm(features, generator=rng)
            flows.append(Permutation(shuffle))
            order = order[shuffle]
        if kind == "affine":
            flows.append(AffineCoupling(features, n_context=n_context, hidden=hidden))
        else:
            flows.append(
                SplineCoupling(
                    features, n_context=n_context, hidden=hidden, bins=bins, bound=bound
                )
            )
        order = order.roll(-(features // 2))  # what a coupling's swap does
    return Chain([*flows, Permutation(order.argsort())])


def posterior_flow(
    features: int, n_context: int, *, n_layers: int = 4, hidden: int = 192, bins: int = 8
) -> Chain:
    """Build the flow of a posterior: mean and width from the context, then spline couplings.

    Args:
        features: Number of features, at least 2.
        n_context: Size of the context.
        n_layers: Number of couplings.
        hidden: Width of each conditioner.
        bins: Bins of a spline.

    Returns:
        The flow, the identity at the start.
    """
    spread = DiagonalAffine(features, n_context, hidden=hidden)
    shape = coupling_flow(
        features, n_context=n_context, n_layers=n_layers, hidden=hidden, bins=bins
    )
    return Chain([spread, shape])


def zuko_flow(name: str, features: int, *, n_context: int = 0, **options: Any) -> Flow:
    """Take a flow from the zuko library.

    Args:
        name: Class in ``zuko.flows``, such as ``"NSF"``.
        features: Number of features.
        n_context: Size of the context; 0 for none.
        **options: Passed to zuko's class; ``passes=2`` makes couplings of autoregressive flows.

    Returns:
        The flow. Its forward direction is the inverse of zuko's, which runs from data to noise.

    Raises:
        InputError: zuko is not installed, or has no such flow.
    """
    try:
        import zuko
    except ImportError as error:
        raise InputError(f"flow '{name}' needs zuko; run: pip install zuko") from error
    if not hasattr(zuko.flows, name):
        known = sorted(n for n in dir(zuko.flows) if n[0].isupper())
        raise unknown("zuko flow", name, known)
    return _Zuko(getattr(zuko.flows, name)(features, n_context, **options))


class _Zuko(Flow):
    """A zuko flow behind our two methods."""

    def __init__(self, flow: nn.Module) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.flow(context).transform.inv.call_and_ladj(x)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.flow(context).transform.call_and_ladj(y)
