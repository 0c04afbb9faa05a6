"""Coupling flows: half of the features reshape the other half.

Both directions cost the same.

References:
    Dinh, Sohl-Dickstein & Bengio (2017), Density estimation using Real NVP,
    https://arxiv.org/abs/1605.08803.
    Durkan, Bekasov, Murray & Papamakarios (2019), Neural spline flows,
    https://arxiv.org/abs/1906.04032.
"""

import math
from abc import abstractmethod

import torch
from torch import Tensor
from torch.nn import functional as F

from pyrosynth.errors import InputError
from pyrosynth.modeling.bijections import Conditioner, Flow, affine

SMALLEST = 1e-3  # least width and height (as a share of the range) and slope of a bin


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
        return affine(x, shape, invert=invert)


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
    one = math.log(math.expm1(1 - SMALLEST))  # softplus of this plus SMALLEST is a slope of 1
    flat = torch.zeros_like(raw[:1])
    slope = torch.cat([flat, raw[2 * bins :], flat]).gather(0, torch.cat([bin_, bin_ + 1]))
    d0, d1 = (SMALLEST + F.softplus(slope + one)).unbind(0)

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
