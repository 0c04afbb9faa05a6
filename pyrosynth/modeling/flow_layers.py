"""Layers of flows whose features reshape each other: couplings and autoregressive maps.

In a coupling half of the features reshape the other half, and both directions cost the same. In
an autoregressive map every feature is reshaped by those before it: one direction is computed at
once, the other feature by feature, with as many evaluations of the network as there are features.
Which of the two is the direction of sampling is the difference between an inverse autoregressive
flow (sampling at once) and a masked one (scoring at once).

References:
    Dinh, Sohl-Dickstein & Bengio (2017), Density estimation using Real NVP,
    https://arxiv.org/abs/1605.08803.
    Durkan, Bekasov, Murray & Papamakarios (2019), Neural spline flows,
    https://arxiv.org/abs/1906.04032.
    Germain, Gregor, Murray & Larochelle (2015), MADE: masked autoencoder for distribution
    estimation, https://arxiv.org/abs/1502.03509.
    Kingma et al. (2016), Improved variational inference with inverse autoregressive flow,
    https://arxiv.org/abs/1606.04934.
    Papamakarios, Pavlakou & Murray (2017), Masked autoregressive flow for density estimation,
    https://arxiv.org/abs/1705.07057.
"""

import math
from abc import abstractmethod
from importlib.util import find_spec

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyrosynth.modeling.bijections import Chain, Conditioner, Flow, Permutation, affine

SMALLEST = 1e-3  # least width and height (as a share of the range) and slope of a bin
WIDEST_STACK = 128  # hidden units and features whose weights fit a multiprocessor of a GPU
ONE = math.log(math.expm1(1 - SMALLEST))  # softplus of this plus SMALLEST is a slope of 1


def kernels_usable(x: Tensor) -> bool:
    """Return whether points can be mapped by Triton's kernels: float32 on a GPU, with Triton."""
    return x.is_cuda and x.dtype == torch.float32 and find_spec("triton") is not None


class Coupling(Flow):
    """Half of the features reshape the other half; then the halves swap places.

    Args:
        features: Number of features; a single one is reshaped by the context alone.
        n_context: Size of the context; 0 for none.
        hidden: Width of the conditioner.
        n_shape: Numbers the conditioner gives to each reshaped feature.
    """

    def __init__(self, features: int, n_context: int, hidden: int, n_shape: int) -> None:
        super().__init__()
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

    def _shape(self, kept: Tensor, context: Tensor | None) -> Tensor:
        """Return the conditioner's numbers for points, shape (..., reshaped, n_shape)."""
        shape = self.net(kept, context).unflatten(-1, (self.reshaped, -1))
        # What depends on the context alone is the same for every draw.
        return shape if self.kept else shape.expand(*kept.shape[:-1], *shape.shape[-2:])

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Reshape the second half by the first, then swap."""
        kept, rest = x.split([self.kept, self.reshaped], -1)
        shape = self._shape(kept, context)
        rest, ladj = self._map(rest, shape, invert=False)
        return torch.cat([rest, kept], -1), ladj.sum(-1)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Swap back, then undo the reshaping."""
        rest, kept = y.split([self.reshaped, self.kept], -1)
        shape = self._shape(kept, context)
        rest, ladj = self._map(rest, shape, invert=True)
        return torch.cat([kept, rest], -1), ladj.sum(-1)


class AffineCoupling(Coupling):
    """Coupling that scales (by e^-2 to e^2) and shifts. It cannot split one mode into two.

    Args:
        features: Number of features; a single one is reshaped by the context alone.
        n_context: Size of the context; 0 for none.
        hidden: Width of the conditioner.
    """

    def __init__(self, features: int, *, n_context: int = 0, hidden: int = 192) -> None:
        super().__init__(features, n_context, hidden, 2)

    def _map(self, x: Tensor, shape: Tensor, *, invert: bool) -> tuple[Tensor, Tensor]:
        return affine(x, shape, invert=invert)


class SplineCoupling(Coupling):
    """Coupling by monotone rational-quadratic splines, the identity outside the bound.

    Args:
        features: Number of features; a single one is reshaped by the context alone.
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

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Reshape the second half by the first, then swap."""
        if self.kept and kernels_usable(x):
            return self._fused(x, context, invert=False)
        return super().forward(x, context)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Swap back, then undo the reshaping."""
        if self.kept and kernels_usable(y):
            return self._fused(y, context, invert=True)
        return super().inverse(y, context)

    def _map(self, x: Tensor, shape: Tensor, *, invert: bool) -> tuple[Tensor, Tensor]:
        return spline(x, shape, self.bins, self.bound, invert=invert)

    def _fused(self, x: Tensor, context: Tensor | None, *, invert: bool) -> tuple[Tensor, Tensor]:
        """Map points by the kernels of a GPU."""
        from pyrosynth.modeling import coupling_kernels

        net, first = self.net, self.net.features
        assert first is not None  # the coupling keeps a feature or more
        given: Tensor = first.bias
        if net.context is not None:
            assert context is not None
            given = F.linear(context, net.context.weight, first.bias)
        weights = first.weight, net.middle.weight, net.middle.bias
        return coupling_kernels.coupling(
            x, given, (*weights, net.last.weight, net.last.bias), bins=self.bins,
            bound=self.bound, one=ONE, least=SMALLEST, invert=invert,
        )  # fmt: skip


def spline(
    x: Tensor, shape: Tensor, bins: int, bound: float, *, invert: bool
) -> tuple[Tensor, Tensor]:
    """Evaluate rational-quadratic splines, or their inverse, element by element.

    Args:
        x: Points, shape (...).
        shape: Unconstrained widths and heights (``bins`` each) and inner slopes (``bins`` - 1),
            shape (..., 3 * bins - 1); all zero makes the identity.
        bins: Number of bins.
        bound: The spline acts on [-bound, bound]; outside, it is the identity.
        invert: Whether to evaluate the inverse.

    Returns:
        Images and log-derivatives, both of shape (...).
    """
    # Bins come first: over a short last axis a softmax is ten times slower on a CPU. Widths and
    # heights are one tensor, half as many kernels.
    raw = shape.movedim(-1, 0)
    share = raw[: 2 * bins].unflatten(0, (2, bins)).softmax(1)
    size = 2 * bound * (SMALLEST + (1 - bins * SMALLEST) * share)
    end = size.cumsum(1) - bound

    inside = x.clamp(-bound, bound)
    searched = end[1 if invert else 0, :-1].detach()
    bin_ = (inside.detach() >= searched).sum(0, keepdim=True)
    pair = bin_.expand(2, 1, *bin_.shape[1:])
    width, height = size.gather(1, pair).squeeze(1).unbind(0)
    right, top = end.gather(1, pair).squeeze(1).unbind(0)
    left, bottom = right - width, top - height
    flat = torch.zeros_like(raw[:1])
    slope = torch.cat([flat, raw[2 * bins :], flat]).gather(0, torch.cat([bin_, bin_ + 1]))
    d0, d1 = (SMALLEST + F.softplus(slope + ONE)).unbind(0)

    mean = height / width
    bend = d0 + d1 - 2 * mean
    if invert:
        rise = inside - bottom
        a = height * (mean - d0) + rise * bend
        b = height * d0 - rise * bend
        c = -mean * rise
        # The root that does not subtract nearly equal numbers; clamping guards against rounding.
        t = (2 * c / (-b - (b.square() - 4 * a * c).clamp_min(1e-30).sqrt())).clamp(0.0, 1.0)
        y = left + t * width
    else:
        t = ((inside - left) / width).clamp(0.0, 1.0)
    tt = t * (1 - t)
    denominator = mean + bend * tt
    if not invert:
        y = bottom + height * (mean * t.square() + d0 * tt) / denominator
    derivative = d1 * t.square() + 2 * mean * tt + d0 * (1 - t).square()
    ladj = 2 * (mean.log() - denominator.log()) + derivative.log()
    within = (x > -bound) & (x < bound)
    return torch.where(within, y, x), torch.where(within, -ladj if invert else ladj, 0.0)


class MaskedLinear(nn.Linear):
    """Linear layer some of whose weights are held at zero.

    Args:
        mask: Which weights are used, shape (n_out, n_in), bool.
    """

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., n_in) to (..., n_out)."""
        return F.linear(x, self.weight * self.mask, self.bias)


class MaskedConditioner(nn.Module):
    """Perceptron whose output for a feature reads the features before it, zero at the start.

    Args:
        features: Number of features.
        n_context: Size of the context, which every output reads; 0 for none.
        hidden: Width of the two hidden layers.
        n_shape: Numbers given to each feature.
    """

    def __init__(self, features: int, n_context: int, hidden: int, n_shape: int) -> None:
        super().__init__()
        place = torch.arange(features)
        reads = torch.arange(hidden) * features // hidden  # number of features a unit may read
        self.features = MaskedLinear(place < reads.unsqueeze(-1))
        self.context = nn.Linear(n_context, hidden, bias=False) if n_context else None
        self.middle = MaskedLinear(reads <= reads.unsqueeze(-1))
        self.last = MaskedLinear(reads <= place.repeat_interleave(n_shape).unsqueeze(-1))
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def read(self, context: Tensor | None) -> Tensor | float:
        """Return the context's part of the first layer, shape (..., hidden)."""
        return 0.0 if self.context is None else self.context(context)

    def forward(self, x: Tensor, given: Tensor | float) -> Tensor:
        """Map features (..., features) and what was read to (..., features * n_shape)."""
        h = F.silu(self.features(x) + given)
        h = h + F.silu(self.middle(h))
        return self.last(h)


class Autoregressive(Flow):
    """Every feature is scaled (by e^-2 to e^2) and shifted as those before it say.

    Mapping is computed at once, mapping back feature by feature.

    Args:
        features: Number of features.
        n_context: Size of the context; 0 for none.
        hidden: Width of the conditioner.
    """

    place: Tensor

    def __init__(self, features: int, *, n_context: int = 0, hidden: int = 192) -> None:
        super().__init__()
        self.net = MaskedConditioner(features, n_context, hidden, 2)
        self.register_buffer("place", torch.arange(features), persistent=False)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Reshape every feature by those before it."""
        shape = self.net(x, self.net.read(context)).unflatten(-1, (-1, 2))
        y, ladj = affine(x, shape, invert=False)
        return y, ladj.sum(-1)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Find the features one after the other."""
        given = self.net.read(context)
        x, ladj = torch.zeros_like(y), torch.zeros_like(y)
        for i in range(len(self.place)):
            shape = self.net(x, given).unflatten(-1, (-1, 2))
            found, ladj = affine(y, shape, invert=True)
            x = torch.where(self.place <= i, found, 0.0)  # the others are not known yet
        return x, ladj.sum(-1)


class AutoregressiveStack(Chain):
    """Autoregressive steps, with the features reversed between them.

    A GPU maps points through all steps in one kernel, see `pyrosynth.modeling.stack_kernels`.

    Args:
        features: Number of features.
        n_context: Size of the context; 0 for none.
        n_layers: Number of steps.
        hidden: Width of each conditioner.
    """

    positions: Tensor

    def __init__(
        self, features: int, *, n_context: int = 0, n_layers: int = 4, hidden: int = 192
    ) -> None:
        backwards = torch.arange(features).flip(0)
        flows: list[Flow] = []
        for i in range(n_layers):
            step = Autoregressive(features, n_context=n_context, hidden=hidden)
            flows += [Permutation(backwards), step] if i else [step]
        if n_layers % 2 == 0:
            flows.append(Permutation(backwards))
        super().__init__(flows)
        self.steps = [flow.net for flow in flows if isinstance(flow, Autoregressive)]
        self.fits = n_layers > 0 and max(features, hidden) <= WIDEST_STACK
        orders = [backwards if i % 2 else torch.arange(features) for i in range(n_layers)]
        orders.append(torch.arange(features))  # what comes out is in the order of what goes in
        self.register_buffer("positions", torch.stack(orders).int(), persistent=False)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map points through the steps in order, at once."""
        if self.fits and kernels_usable(x):
            return self._fused(x, context, invert=False)
        return super().forward(x, context)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map images back through the steps in reverse order, feature by feature."""
        if self.fits and kernels_usable(y) and not torch.is_grad_enabled():
            return self._fused(y, context, invert=True)
        return super().inverse(y, context)

    def _fused(self, x: Tensor, context: Tensor | None, *, invert: bool) -> tuple[Tensor, Tensor]:
        """Map points by a kernel of a GPU."""
        from pyrosynth.modeling import stack_kernels

        return stack_kernels.stack(x, *self._stacked(x, context), invert=invert)

    def _stacked(
        self, x: Tensor, context: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...], Tensor]:
        """Return what the steps read of the context, and their weights, each as one tensor."""
        first = self.steps[0]
        given = x.new_zeros(len(self.steps) * len(first.middle.bias))
        if context is not None and first.context is not None:
            each = [net.context.weight for net in self.steps if net.context is not None]
            given = F.linear(context, torch.cat(each))
        weights: list[Tensor] = []
        for name in ("features", "middle", "last"):
            layers = [getattr(net, name) for net in self.steps]
            weights.append(torch.stack([layer.weight for layer in layers]) * layers[0].mask)
            weights.append(torch.stack([layer.bias for layer in layers]))
        return given, tuple(weights), self.positions
