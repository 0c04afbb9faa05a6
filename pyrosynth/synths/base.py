"""What a synth is to the rest of the package."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pyrosynth.audio.io import Audio
from pyrosynth.audio.note import Note
from pyrosynth.synths.params import ParamSpace
from pyrosynth.synths.presets import Preset

Isolation = Literal["reuse", "fresh", "reload", "fork"]
ISOLATIONS: tuple[Isolation, ...] = ("reuse", "fresh", "reload", "fork")


class Synth(ABC):
    """A parameter space and a way to hear a point of it.

    ``render`` runs in the calling process. Work that must survive a crash, a hang or a leak of
    the synth goes through `pyrosynth.synths.rendering`, which rebuilds the synth in worker
    processes
    from ``spec()``.

    Attributes:
        name: Short lower-case name, such as ``"amsynth"``.
        param_space: All controls, in the order ``render`` takes them.
        isolation: What is renewed between two sounds: ``reuse`` nothing, ``fresh`` the instance,
            ``reload`` the plugin library, ``fork`` the process.
        batched: Whether ``render_batch`` is faster than one sound after the other.
    """

    name: str
    param_space: ParamSpace
    isolation: Isolation = "reuse"
    batched: bool = False

    @abstractmethod
    def spec(self) -> dict[str, Any]:
        """Return what `pyrosynth.synths.from_spec` needs to rebuild this synth; JSON-ready."""

    @abstractmethod
    def identity(self) -> str:
        """Return a hash that changes whenever the synth may sound different."""

    @abstractmethod
    def render(self, values: NDArray[np.float64], note: Note, sample_rate: int) -> Audio:
        """Play one note.

        Args:
            values: Native parameter values, shape (n_params,).
            note: What to play.
            sample_rate: Rate in Hz.

        Returns:
            Mono audio, shape (n_samples,), float32.
        """

    def render_batch(
        self, values: NDArray[np.float64], note: Note, sample_rate: int
    ) -> NDArray[np.float32]:
        """Play one note with each row of values; shape (n_presets, n_samples)."""
        return np.stack([self.render(row, note, sample_rate) for row in values])

    def presets(self) -> list[Preset]:
        """Return the presets people made for this synth; none unless a synth says otherwise."""
        return []

    def write_bank(self, path: Path, presets: Sequence[Preset]) -> bool:
        """Write presets in the synth's own format; False if it has none."""
        return False
