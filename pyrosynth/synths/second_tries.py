"""What a process has lost of a plugin of which only one process may play, done again by another.

Of some plugins, such as demo versions and those with a dongle, only one process may be open: all
that the others render is lost, though nothing is wrong with the presets.
"""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyrosynth.synths.worker import Worker
from pyrosynth.synths.worker_process import Slot

log = logging.getLogger(__name__)
LOST = 2  # sounds of a batch from which on a process that has given none hands its work back

Work = tuple[Any, NDArray[np.float64]]  # a key to recognise it by, and values


class SecondTries:
    """Gives work to workers, and what one has lost to another, once.

    Args:
        workers: Those that share the work.
        name: Name of the synth, for what is told.
    """

    def __init__(self, workers: Sequence[Worker], name: str) -> None:
        self._workers, self._name = workers, name
        self._resting: set[Worker] = set()  # those that give nothing beside another
        self._again: list[Work] = []
        self._tried: dict[Any, tuple[Worker, NDArray[np.intp]]] = {}  # who has lost what, by key

    def begin(self) -> None:
        """Forget the work of before, which may have been given up."""
        self._again, self._tried = [], {}

    def next_for(self, worker: Worker, waiting: Iterator[Work]) -> Work | None:
        """Return what a worker is to do next; None if there is nothing for it."""
        if worker in self._resting:
            return None
        others = [one for one in self._workers if one is not worker]
        last = not any(one.plays or one.n_batches for one in others)
        if self._again and (worker.plays or last):
            return self._again.pop()
        if any(worker is one for one, _ in self._tried.values()):  # until that is known
            return None
        return next(waiting, None)

    def take_back(self, worker: Worker) -> None:
        """Take the work of a worker that loses it where another may do it."""
        if worker.n_lost >= LOST and self._is_odd(worker) and not self._tried.keys() & worker.keys:
            for key, values, lost in worker.hand_back():
                self._again.append((key, values))
                self._tried[key] = worker, lost

    def is_done(self, worker: Worker, key: Any, slot: Slot, n: int) -> bool:
        """Whether a batch that a worker has finished is given out; else another tries it."""
        lost = slot.lost(n)
        if len(lost) < n:
            self._resting.discard(worker)
        if key in self._tried:
            other, before = self._tried.pop(key)
            if other is not worker and len(before) and not np.isin(before, lost).any():
                self._saved(other)
        elif len(lost) == n and self._is_odd(worker):
            self._again.append((key, slot.values[:n].copy()))
            self._tried[key] = worker, lost
            return False
        return True

    def _is_odd(self, worker: Worker) -> bool:
        """Whether a worker's process has given no sound yet, but another has, or may still."""
        others = [one for one in self._workers if one is not worker]
        return not worker.plays and any(
            one.plays or (one.n_batches and not one.n_lost) for one in others
        )

    def _saved(self, worker: Worker) -> None:
        """Let a worker rest of which another has given what it had lost.

        One that has given sounds may have met a preset that ends it by chance, so once more.
        """
        worker.n_saved += 1
        if worker.plays or worker.n_saved <= worker.has_played:
            return
        if not self._resting:
            says = "gives no sound in a process beside another, so that one renders what is left"
            log.warning("%s %s; give --workers 1", self._name, says)
        self._resting.add(worker)
