"""Autoregressive flows: every feature is reshaped by those before it.

One direction is computed at once, the other feature by feature: as many evaluations of the
network as there are features. Which of the two is the direction of sampling is the difference
between an inverse autoregressive flow (sampling at once) and a masked one (scoring at once).

References:
    Germain, Gregor, Murray & Larochelle (2015), MADE: masked autoencoder for distribution
    estimation, https://arxiv.org/abs/1502.03509.
    Kingma et al. (2016), Improved variational inference with inverse autoregressive flow,
    https://arxiv.org/abs/1606.04934.
    Papamakarios, Pavlakou & Murray (2017), Masked autoregressive flow for density estimation,
    https://arxiv.org/abs/1705.07057.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyrosynth.modeling.bijections import Flow, affine


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
