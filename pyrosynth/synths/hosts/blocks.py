"""An instance of a plugin that its host runs block by block: where a note starts and ends."""

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyrosynth.audio.io import Audio
from pyrosynth.audio.note import Note
from pyrosynth.synths.hosts.denormals import denormals_flushed
from pyrosynth.synths.hosts.plugin import BLOCK, Instance


class BlockInstance(Instance):
    """An instance that computes a sound in blocks of `BLOCK` samples."""

    @abstractmethod
    def process(
        self, size: int, notes: Sequence[tuple[int, bool, Note]]
    ) -> Sequence[NDArray[np.float32]] | NDArray[np.float32]:
        """Run one block.

        Args:
            size: Number of samples, at most `BLOCK`.
            notes: Sample within the block, whether a key goes down (else up), and the note.

        Returns:
            The main outputs, shape (n_outputs, at least size); valid until the next call.
        """

    def play(self, values: ArrayLike, note: Note) -> Audio:
        """Play one note; see `Instance.play`."""
        n_samples = note.n_samples(self.sample_rate)
        release = min(int(note.hold_seconds * self.sample_rate), n_samples)
        events = [(0, True), (release, False)]
        sound: NDArray[np.float32] | None = None
        self.set(np.asarray(values, np.float64))
        with denormals_flushed():
            for start in range(0, n_samples, BLOCK):
                size = min(BLOCK, n_samples - start)
                due = [
                    (at - start, down, note) for at, down in events if start <= at < start + size
                ]
                outputs = self.process(size, due)
                if sound is None:
                    sound = np.empty((len(outputs), n_samples), np.float32)
                for channel, output in zip(sound, outputs, strict=True):
                    channel[start : start + size] = output[:size]
        assert sound is not None
        mono: Audio = sound.mean(axis=0, dtype=np.float32)
        return mono
