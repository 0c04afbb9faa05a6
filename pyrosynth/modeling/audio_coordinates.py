"""Principal coordinates of sounds, in which Euclidean distances are log-spectral ones."""

import math

import torch
from torch import Tensor, nn

from pyrosynth.modeling.whole_batch import whole_batch

DB = 10 / math.log(10)  # decibels of power per unit of natural logarithm
NEIGHBOURS = 15  # of each sound, whose distances count more
MORE = 10.0  # times as much
UNIT = 5.0  # decibels of log-spectral distance between two points at distance 1
OVERSAMPLED = 16  # dimensions beyond those asked for, which make the decomposition exact enough
LAGS = (1, 8)  # frames between which a sound changes, for one coordinate each
CHANGE_SPREAD = 0.1  # of these coordinates: about that of the last ones of the spectrogram
NO_CHANGE = 0.02  # nats that are added to a change, as its logarithm is taken


class AudioCoordinates(nn.Module):
    """The first principal coordinates of log-mel spectrograms, not whitened.

    Log-spectral distances are nearly low-rank: the distance of two points is at most that of the
    sounds, and comes close to it with a few dozen coordinates. Their spread falls steeply from the
    first to the last, which is what keeps neighbours neighbours; scaled to equal spread they would
    not be.

    What moves in a sound is spread over so many cells that principal coordinates miss it: of a
    tremolo they tell the mean level. So the last coordinates may tell how much the sound changes:
    the mean over cells, weighted by magnitude, of how far their levels are from those one frame,
    and eight frames, later; as a logarithm, and in a small unit, so that they separate sounds
    that are near, and hardly move those that are not.

    Args:
        n_coordinates: How many.
        x_shape: (n_mels, n_frames) of the features.
        n_changes: How many of them tell how much the sound changes, 0 to 2.

    Attributes:
        components: Orthonormal rows, shape (n_coordinates - n_changes, n_mels * n_frames).
        spread: Standard deviation of each coordinate, shape (n_coordinates,).
        std: Standard deviation of each cell, which the features were divided by,
            shape (n_mels, n_frames).
        mean: Mean of each cell, which was taken off before, likewise.
        usual_change: Mean of the logarithms of changes, shape (n_changes,).
        change_scale: What they are multiplied by, shape (n_changes,).
    """

    components: Tensor
    spread: Tensor
    std: Tensor
    mean: Tensor
    usual_change: Tensor
    change_scale: Tensor

    def __init__(self, n_coordinates: int, x_shape: tuple[int, int], n_changes: int = 0) -> None:
        super().__init__()
        self.n_changes = n_changes
        # Any orthonormal rows will do until `fit` has seen sounds.
        rng = torch.Generator().manual_seed(0)
        noise = torch.randn(math.prod(x_shape), n_coordinates - n_changes, generator=rng)
        self.register_buffer("components", torch.linalg.qr(noise)[0].T.contiguous())
        self.register_buffer("spread", torch.ones(n_coordinates))
        self.register_buffer("std", torch.ones(x_shape))
        if n_changes:
            self.register_buffer("mean", torch.zeros(x_shape))
            self.register_buffer("usual_change", torch.zeros(n_changes))
            self.register_buffer("change_scale", torch.ones(n_changes))
        self.unit = UNIT * math.sqrt(math.prod(x_shape)) / DB

    @torch.no_grad()
    def fit(self, x: Tensor, mean: Tensor, std: Tensor) -> None:
        """Find the coordinates of sounds.

        Args:
            x: Standardised features, shape (n, n_mels, n_frames).
            mean: What was taken off them, shape (n_mels, n_frames).
            std: What they were divided by, shape (n_mels, n_frames).
        """
        self.std.copy_(std)
        points = self.points(x)
        n = min(len(self.components), len(points))
        rank = min(n + OVERSAMPLED, *points.shape)
        _, singular, components = torch.svd_lowrank(points - points.mean(0), rank, niter=4)
        # Of a pair of opposite directions, the one along which sounds get louder.
        signs = torch.where(components.sum(0) < 0, -1.0, 1.0)
        self.components[:n] = (components * signs).T[:n]
        spread = singular[:n] / math.sqrt(len(points))
        self.spread[:n] = spread.clamp(min=1e-3 * float(spread.max()) or 1.0)
        if self.n_changes:
            self.mean.copy_(mean)
            changes = self._log_changes(x)
            self.usual_change.copy_(changes.mean(0))
            self.spread[-self.n_changes :] = CHANGE_SPREAD
            self.change_scale.copy_(CHANGE_SPREAD / changes.std(0, correction=0).clamp(min=1e-2))

    def points(self, x: Tensor) -> Tensor:
        """Return sounds as vectors (..., n_cells), whose distances are in units of 5 dB."""
        return (x * (self.std / self.unit)).flatten(-2)

    def forward(self, x: Tensor) -> Tensor:
        """Map standardised features (..., n_mels, n_frames) to (..., n_coordinates)."""
        z = self.points(x) @ self.components.T
        if not self.n_changes:
            return z
        return torch.cat([z, (self._log_changes(x) - self.usual_change) * self.change_scale], -1)

    def inverse(self, z: Tensor) -> Tensor:
        """Return the features nearest to the mean with coordinates (..., n_coordinates).

        What the last of them tell of changes is left out.
        """
        points = (z[..., : len(self.components)] @ self.components).unflatten(-1, self.std.shape)
        return points * (self.unit / self.std)

    def _log_changes(self, x: Tensor) -> Tensor:
        """Return logarithms of how much sounds change, in nats of power, (..., n_changes)."""
        level = x * self.std + self.mean
        magnitude = (level / 2).exp()
        changes = []
        for lag in LAGS[: self.n_changes]:
            n = max(level.shape[-1] - lag, 1)
            weight = magnitude[..., -n:] + magnitude[..., :n]
            change = weight * (level[..., -n:] - level[..., :n]).abs()
            changes.append(change.sum((-2, -1)) / weight.sum((-2, -1)))
        return (torch.stack(changes, -1) + NO_CHANGE).log()


def stress(z: Tensor, points: Tensor) -> Tensor:
    """Return the error of distances of latents against those of the sounds, shape (batch,).

    Squared errors over the pairs of a batch, each divided by the distance, so that near pairs
    count as much as far ones; those of the nearest neighbours count ten times.

    Args:
        z: Latents, shape (batch, n_coordinates).
        points: The sounds, from `AudioCoordinates.points`, shape (batch, n_cells).

    References:
        Sammon (1969), A nonlinear mapping for data structure analysis,
        https://doi.org/10.1109/T-C.1969.222678.
    """
    others = whole_batch(points)
    goal = torch.cdist(points, others)
    weight = 1 / (goal + 0.2)
    near = goal.argsort(-1)[:, 1 : NEIGHBOURS + 1]
    weight = weight.scatter(-1, near, MORE * weight.gather(-1, near))
    return (weight * (torch.cdist(z, whole_batch(z)) - goal).square()).mean(-1)
