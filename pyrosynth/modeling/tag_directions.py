"""Coordinates of a latent, of which the first follow the tags, one each."""

import torch
from torch import Tensor, nn

from pyrosynth.modeling.adamw import AdamW
from pyrosynth.modeling.dims import Dims
from pyrosynth.modeling.labels import Labels, places_of_classes
from pyrosynth.modeling.networks import MLP

HIDDEN = 128  # units of the networks
BATCH, LEARNING_RATE = 512, 5e-3
DROPOUT = 0.1  # of the network that bends the coordinates, while it is fitted
# Weight of what the tags cannot tell of the rest, beside that of the labels. With 0.1 coordinates
# say what the rest is rather than what the labels are; with 0.01 steps along them are less sure.
TAKEN_ALONG = 0.03


class TagDirections(nn.Module):
    """Coordinates of a latent of which the first follow the tags, one each: an invertible map.

    Latents are divided by their spread and turned. The first coordinates are mixed, scaled and
    shifted by what the others say; what they tell of the others is then taken off those:

        s, r = turn(z / spread)
        c = (s + M s) exp(tanh a(r)) + b(r)     a coordinate for each tag, M lower triangular
        z <-> (c, r - h(c))                     each divided by its own spread

    Given the coordinate of a tag, its classes have the probabilities of a mixture of normals with
    one width, whose means lie in order. Moving along it keeps all other coordinates and takes the
    latent where sounds of those classes are, as ``h`` takes the rest along.

    The turn is learnt with the rest of a variant. The others are zero until `fit`, which needs a
    latent that stands still.

    Args:
        dims: The sizes, with the tags.
        features: Size of the latent, at least the number of tags.

    Raises:
        InputError: There are more tags than dimensions.
    """

    classes: Tensor
    place: Tensor
    center: Tensor
    scale: Tensor

    def __init__(self, dims: Dims, features: int) -> None:
        super().__init__()
        place, classes = places_of_classes(dims, features)
        n_tags, most = place.shape
        self.register_buffer("place", place, persistent=False)
        self.register_buffer("classes", classes, persistent=False)
        self.n_tags = n_tags
        # As many reflections as there are tags reach any of their directions.
        rng = torch.Generator().manual_seed(features)
        self.normals = nn.Parameter(torch.randn(n_tags, features, generator=rng))
        self.weight = nn.Parameter(torch.zeros(n_tags, most))
        self.log_sharpness = nn.Parameter(torch.zeros(n_tags, 1))
        self.mixing = nn.Parameter(torch.zeros(n_tags, n_tags), requires_grad=False)
        self.register_buffer("center", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.shift = self.rest = None
        if 0 < n_tags < features:
            with torch.random.fork_rng([]):
                self.shift = MLP(features - n_tags, (HIDDEN, HIDDEN), 2 * n_tags)
                self.rest = MLP(n_tags, (HIDDEN // 2,), features - n_tags)
            for network in (self.shift, self.rest):
                network.requires_grad_(False)
                for parameter in network[-1].parameters():
                    nn.init.zeros_(parameter)

    def axes(self, z: Tensor, spread: Tensor) -> Tensor:
        """Map latents (..., features) whose coordinates have a spread (features,).

        Returns:
            Coordinates, each divided by its own spread, shape (..., features).
        """
        tags, rest = self._bent(z, spread)
        if self.rest is not None:
            rest = rest - self.rest(tags)
        return (torch.cat([tags, rest], -1) - self.center) / self.scale

    def latent_of(self, axes: Tensor, spread: Tensor) -> Tensor:
        """Map coordinates (..., features) back, the inverse of ``axes``."""
        tags, rest = self._split(axes * self.scale + self.center)
        if self.shift is not None and self.rest is not None:
            rest = rest + self.rest(tags)
            log_scale, shift = self._bend(rest)
            tags = (tags - shift) * (-log_scale).exp()
        mixing = self._mixing()
        tags = torch.linalg.solve_triangular(mixing, tags.unsqueeze(-1), upper=False).squeeze(-1)
        z = torch.cat([tags, rest], -1)
        for normal in reversed(self._reflections()):
            z = z - 2 * (z @ normal).unsqueeze(-1) * normal
        return z * spread

    def log_weight(self, axes: Tensor) -> Tensor:
        """Return log probabilities of the classes, shape (..., n_tags, n_classes)."""
        along = axes[..., : self.n_tags, None]
        logits = self.log_sharpness.exp() * along * self.place + self.weight
        return logits.masked_fill(~self.classes, -torch.inf).log_softmax(-1)

    @torch.enable_grad()
    def fit(self, z: Tensor, spread: Tensor, label_mask: Tensor, steps: int, seed: int) -> None:
        """Find the coordinates of latents that stand still, from the turn there is.

        By maximum likelihood of the labels, missing ones summed over, and the least squares of
        what the tags cannot tell of the rest.

        Args:
            z: Latents, shape (n, features).
            spread: Their spread, shape (features,).
            label_mask: Which classes may hold, shape (n, n_tags, n_classes).
            steps: Steps, of 512 latents each.
            seed: Of the order of the latents, the first weights, and what is dropped.
        """
        generator = torch.Generator().manual_seed(seed)
        self._restart(generator)
        parameters = [*self.parameters()]
        frozen = [p for p in parameters if not p.requires_grad]
        for parameter in frozen:
            parameter.requires_grad_(True)
        optimiser = AdamW(parameters, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, LEARNING_RATE, total_steps=steps + 1
        )
        for _ in range(steps):
            batch = torch.randint(len(z), (min(len(z), BATCH),), generator=generator)
            tags, rest = self._bent(z[batch], spread, generator)
            loss = -Labels(self.log_weight(tags)).log_prob(label_mask[batch]).mean()
            if self.rest is not None:
                untold = (rest - self.rest(tags)).square().sum(-1).mean()
                loss = loss + TAKEN_ALONG / 2 * untold
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        for parameter in frozen:
            parameter.requires_grad_(False)
        self._standardise(z, spread)

    @torch.no_grad()
    def _restart(self, generator: torch.Generator) -> None:
        """Forget all but the turn."""
        for tensor in (self.weight, self.log_sharpness, self.mixing, self.center):
            tensor.zero_()
        self.scale.fill_(1.0)
        for network in filter(None, (self.shift, self.rest)):
            for layer in network:
                if isinstance(layer, nn.Linear):
                    bound = layer.in_features**-0.5 if layer is not network[-1] else 0.0
                    layer.weight.uniform_(-bound, bound, generator=generator)
                    layer.bias.zero_()

    @torch.no_grad()
    def _standardise(self, z: Tensor, spread: Tensor) -> None:
        """Let the coordinates of latents have mean 0 and spread 1, the classes where they are."""
        axes = self.axes(z, spread)
        self.center.copy_(axes.mean(0))
        self.scale.copy_(axes.std(0).clamp(min=1e-6))
        n = self.n_tags
        self.weight.add_(self.log_sharpness.exp() * self.center[:n, None] * self.place)
        self.log_sharpness.add_(self.scale[:n, None].log())

    def _bent(
        self, z: Tensor, spread: Tensor, dropped: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the coordinates c of the tags, and r."""
        z = z / spread
        for normal in self._reflections():
            z = z - 2 * (z @ normal).unsqueeze(-1) * normal
        tags, rest = self._split(z)
        tags = tags @ self._mixing().T
        if self.shift is not None:
            log_scale, shift = self._bend(rest, dropped)
            tags = tags * log_scale.exp() + shift
        return tags, rest

    def _bend(self, rest: Tensor, dropped: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Return log scales and shifts (..., n_tags), without the units a generator drops."""
        assert self.shift is not None
        hidden = rest
        for layer in self.shift:
            hidden = layer(hidden)
            if dropped is not None and not isinstance(layer, nn.Linear):
                kept = torch.rand(hidden.shape, generator=dropped) >= DROPOUT
                hidden = hidden * kept.to(hidden) / (1 - DROPOUT)
        log_scale, shift = hidden.chunk(2, -1)
        return log_scale.tanh(), shift

    def _split(self, coordinates: Tensor) -> tuple[Tensor, ...]:
        return coordinates.tensor_split([self.n_tags], -1)

    def _mixing(self) -> Tensor:
        return self.mixing.tril(-1) + torch.eye(self.n_tags, device=self.mixing.device)

    def _reflections(self) -> list[Tensor]:
        return list((self.normals / self.normals.norm(dim=-1, keepdim=True)).unbind(0))
