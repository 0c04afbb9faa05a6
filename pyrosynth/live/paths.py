"""Paths through the latent space: points one after the other, and straight lines between them."""

import numpy as np
from numpy.typing import NDArray

from pyrosynth.errors import InputError
from pyrosynth.synths.params import ParamSpace

Array = NDArray[np.float32]
Values = NDArray[np.float64]

LONGEST = 256  # points of a path


class Trail:
    """A path.

    Attributes:
        z: The points, each of shape (latent_dim,).
        values: Native values of all parameters there, each of shape (n_params,).
        knobs: Whether it is straight in the parameters instead of the latent.

    Example:
        >>> trail = Trail()
        >>> trail.add(np.zeros(2), np.zeros(3))
        >>> trail.add(np.ones(2), np.ones(3))
        >>> trail.z_at(0.25).tolist()
        [0.25, 0.25]
    """

    def __init__(self) -> None:
        self.z: list[Array] = []
        self.values: list[Values] = []
        self.knobs = False

    def __len__(self) -> int:
        """Return the number of points."""
        return len(self.z)

    def add(self, z: Array, values: Values) -> None:
        """Add a point.

        Raises:
            InputError: The path is as long as it may get.
        """
        if len(self) == LONGEST:
            raise InputError(f"the path has {LONGEST} points, the most there can be; clear it")
        self.z.append(np.asarray(z, np.float32))
        self.values.append(values)

    def z_at(self, ratio: float) -> Array:
        """Return the latent at a ratio of the path, from 0 to 1.

        Raises:
            InputError: The path has no point, or the ratio is not a number.
        """
        return np.asarray(self._between(self.z, ratio), np.float32)

    def values_at(self, ratio: float, space: ParamSpace) -> Values:
        """Return the parameters there, on straight lines in unit values; discrete parameters jump.

        Raises:
            InputError: The path has no point, or the ratio is not a number.
        """
        return space.from_unit(self._between([space.to_unit(v) for v in self.values], ratio))

    def _between(self, points: list[NDArray[np.floating]], ratio: float) -> NDArray[np.floating]:
        if not points:
            raise InputError("the path is empty; add points by /path/add")
        if not np.isfinite(ratio):
            raise InputError(f"ratio {ratio}; give a number from 0 to 1")
        at = float(np.clip(ratio, 0, 1)) * (len(points) - 1)
        i = min(int(at), max(len(points) - 2, 0))
        j = min(i + 1, len(points) - 1)
        return points[i] + (at - i) * (points[j] - points[i])
