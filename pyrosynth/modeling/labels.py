"""What is known of the tags of a preset, and normals whose coordinates follow them."""

from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from pyrosynth.errors import InputError, counted
from pyrosynth.modeling.bijections import LOG_SQRT_2PI, log_normal
from pyrosynth.modeling.dims import Dims

_Shape = torch.Size | list[int] | tuple[int, ...]


def places_of_classes(dims: Dims, features: int) -> tuple[Tensor, Tensor]:
    """Lay the classes of each tag out along the coordinate that is to follow it.

    Args:
        dims: The sizes, with the tags.
        features: Size of the latent.

    Returns:
        Where the classes lie, evenly from -1 to 1, and which there are (a tag may have fewer than
        another), each of shape (n_tags, n_classes).

    Raises:
        InputError: There are more tags than dimensions.
    """
    counts = [len(classes) for classes in dims.classes]
    n_tags, most = len(counts), max(counts, default=0)
    if n_tags > features:
        raise InputError(
            f"{counted(n_tags, 'tag')} for a latent of {counted(features, 'dimension')}, one "
            f"direction each; give fewer tags, or a latent of {n_tags} or more, which a model has "
            "by its latent_dim, or by as many parameters"
        )
    place, classes = torch.zeros(n_tags, most), torch.zeros(n_tags, most, dtype=torch.bool)
    for i, count in enumerate(counts):
        place[i, :count], classes[i, :count] = torch.linspace(-1, 1, count), True
    return place, classes


class Labels(TorchDistribution):
    """The classes of each tag that a preset may belong to, as a mask.

    Drawn, a mask leaves one class of each tag. Observed, it may leave several, and its
    probability is that of the event that one of them holds; so a missing label, which rules no
    class out, is summed over and not guessed.

    Args:
        log_weight: Log probability of each class, shape (..., n_tags, n_classes); minus infinity
            fills up the row of a tag with fewer.
        batch_shape: Shape of the leading axes; that of ``log_weight`` by default.
    """

    support = constraints.independent(constraints.boolean, 2)
    arg_constraints: dict[str, constraints.Constraint] = {}

    def __init__(self, log_weight: Tensor, batch_shape: _Shape = ()) -> None:
        shape = torch.Size(batch_shape) or log_weight.shape[:-2]
        self.log_weight = log_weight
        super().__init__(shape, log_weight.shape[-2:], validate_args=False)

    def expand(self, batch_shape: _Shape, _instance: Any = None) -> "Labels":
        """Return the distribution with more leading axes."""
        return Labels(self.log_weight, batch_shape)

    @property
    def missing(self) -> Tensor:
        """The mask of which nothing is known, shape (..., n_tags, n_classes)."""
        shape = (*self.batch_shape, *self.event_shape)
        return torch.ones(shape, dtype=torch.bool, device=self.log_weight.device)

    def sample(self, sample_shape: _Shape = ()) -> Tensor:
        """Draw masks with one class of each tag, (*sample_shape, ..., n_tags, n_classes)."""
        if not self.event_shape.numel():
            return self.missing.expand(*sample_shape, *self.missing.shape)
        logits = self.log_weight.expand(*self.batch_shape, *self.event_shape)
        label = dist.Categorical(logits=logits).sample(torch.Size(sample_shape))
        classes = torch.arange(self.event_shape[-1], device=label.device)
        return label.unsqueeze(-1) == classes

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log probability of what masks leave, shape (...)."""
        return self.log_weight.masked_fill(~value, -torch.inf).logsumexp(-1).sum(-1)


class TagBase(TorchDistribution):
    """Standard normals, but for the first coordinates, one for each tag: there lie its classes.

    Given class c of tag j, coordinate j is N(loc[j, c], scale[j]²). Where several may hold it is
    the mixture of theirs by their probabilities. A coordinate meets the tags only through its
    own, so the sum is closed and linear in their number.

    Args:
        loc: Where each class lies, shape (n_tags, n_classes).
        scale: Standard deviation about it, shape (n_tags, 1) or (n_tags, n_classes).
        log_weight: Log probability of each class, shape (n_tags, n_classes).
        label_mask: Which classes may hold, at least one of each tag, shape
            (..., n_tags, n_classes).
        features: Number of coordinates, at least n_tags.
    """

    has_rsample = True
    support = constraints.real_vector
    arg_constraints: dict[str, constraints.Constraint] = {}

    def __init__(
        self, loc: Tensor, scale: Tensor, log_weight: Tensor, label_mask: Tensor, features: int
    ) -> None:
        self.loc, self.scale, self.log_weight = loc, scale, log_weight
        self.label_mask = label_mask
        self.log_joint = log_weight.masked_fill(~label_mask, -torch.inf)
        super().__init__(label_mask.shape[:-2], torch.Size([features]), validate_args=False)

    def expand(self, batch_shape: _Shape, _instance: Any = None) -> "TagBase":
        """Return the distribution with more leading axes."""
        mask = self.label_mask.expand(*batch_shape, *self.log_weight.shape)
        return TagBase(self.loc, self.scale, self.log_weight, mask, self.event_shape[0])

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density of points (..., features) given what is known of the tags."""
        steered, free = value.tensor_split([self.loc.shape[0]], -1)
        distance = (steered.unsqueeze(-1) - self.loc) / self.scale
        joint = self.log_joint - 0.5 * distance.square() - self.scale.log() - LOG_SQRT_2PI
        given = joint.logsumexp(-1) - self.log_joint.logsumexp(-1)
        return given.sum(-1) + log_normal(free)

    def rsample(self, sample_shape: _Shape = ()) -> Tensor:
        """Draw classes among those that may hold, then points, (*sample_shape, ..., features)."""
        shape = (*sample_shape, *self.batch_shape, *self.event_shape)
        noise = torch.randn(shape, device=self.loc.device, dtype=self.loc.dtype)
        n_tags = self.loc.shape[0]
        if not n_tags:
            return noise
        label = dist.Categorical(logits=self.log_joint).sample(torch.Size(sample_shape))
        loc, scale = (
            t.expand(*label.shape, -1).gather(-1, label.unsqueeze(-1)).squeeze(-1)
            for t in (self.loc, self.scale.expand_as(self.loc))
        )
        return torch.cat([loc + scale * noise[..., :n_tags], noise[..., n_tags:]], -1)
