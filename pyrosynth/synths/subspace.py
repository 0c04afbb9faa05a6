"""The learnt controls of a synth, and how their values become those of all."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyrosynth.errors import fixed_array, require_type
from pyrosynth.synths.params import ParamSpace


@dataclass(frozen=True)
class Subspace:
    """The controls that are learnt, among all those of a synth; the others play their default.

    Args:
        full: All controls.
        learnt: Those that are learnt, as ``full.select`` returns them.

    Raises:
        InputError: One of them is no parameter space.

    Example:
        >>> from pyrosynth.synths.params import Param
        >>> full = ParamSpace((Param("cutoff", default=0.5), Param("wave"), Param("drive")))
        >>> part = Subspace(full, full.select("drive,wave"))
        >>> part.complete([0.25, 1.0]).tolist()
        [0.5, 0.25, 1.0]
        >>> part.of([0.5, 0.25, 1.0]).tolist()
        [0.25, 1.0]
    """

    full: ParamSpace
    learnt: ParamSpace

    def __post_init__(self) -> None:
        """Check the types."""
        for name in ("full", "learnt"):
            require_type(f"{name} controls", getattr(self, name), ParamSpace, "a ParamSpace")

    @fixed_array
    def columns(self) -> NDArray[np.int64]:
        """Positions of the learnt controls among all, shape (n_learnt,)."""
        return self.full.index(self.learnt.names)

    def of(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return the learnt part of values of all controls, shape (..., n_learnt)."""
        return self.full.checked(values)[..., self.columns]

    def complete(self, learnt: ArrayLike) -> NDArray[np.float64]:
        """Return the values of all controls, shape (..., n_params), from the learnt ones."""
        array = self.learnt.checked(learnt)
        values = np.empty((*array.shape[:-1], len(self.full)))
        values[...] = self.full.defaults
        values[..., self.columns] = array
        return values
