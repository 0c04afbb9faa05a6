"""Coupling flows: half of the features reshape the other half.

Both directions cost the same.

References:
    Dinh, Sohl-Dickstein & Bengio (2017), Density estimation using Real NVP,
    https://arxiv.org/abs/1605.08803.
    Durkan, Bekasov, Murray & Papamakarios (2019), Neural spline flows,
    https://arxiv.org/abs/1906.04032.
"""

from abc import abstractmethod

import torch
from torch import Tensor

from pyrosynth.errors import InputError
from pyrosynth.modeling.bijections import Conditioner, Flow, affine
from pyrosynth.modeling.splines import spline


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
