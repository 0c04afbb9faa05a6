"""What a process has lost of a plugin of which only one process may play, done again by another.

Of some plugins, such as demo versions and those with a dongle, only one process may be open: all
that the others render is lost, though nothing is wrong with the presets.
"""

import logging
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pyrosynth.synths.worker import Worker
from pyrosynth.synths.worker_process import Slot

log = logging.getLogger(__name__)
TRIES = 4  # of a batch, at most; 2 until one has given what another had lost
LOST = 2  # sounds of a batch from which on a process that has given none hands its work back

Work = tuple[Any, NDArray[np.float64]]  # a key to recognise it by, and values


class Tried(NamedTuple):
    """A batch that has been lost: by whom the last time, which of its sounds, and how often."""

    worker: Worker
    lost: NDArray[np.intp]
    times: int


class SecondTries:
    """Gives work to workers, and what one has lost to another.

    Args:
        workers: Those that share the work.
        name: Name of the synth, for what is told.
    """

    def __init__(self, workers: Sequence[Worker], name: str) -> None:
        self._workers, self._name = workers, name
        self._alone: Worker | None = None  # who does all that is left
        self._has_helped = False  # whether one has given a sound that another had lost
        self._again: list[Work] = []
        self._tried: dict[Any, Tried] = {}  # by key

    def begin(self) -> None:
        """Forget the work of before, which may have been given up."""
        self._again, self._tried = [], {}

    def next_for(self, worker: Worker, waiting: Iterator[Work]) -> Work | None:
        """Return what a worker is to do next; None if there is nothing for it."""
        if self._alone not in (None, worker):
            return None
        last = not any(one.plays or one.n_batches for one in self._others(worker))
        if self._again and (worker.plays or last):
            return self._again.pop()
        if any(worker is one.worker for one in self._tried.values()):  # until that is known
            return None
        return next(waiting, None)

    def take_back(self, worker: Worker) -> None:
        """Take the work of a worker that loses it where another may do it."""
        if worker.n_lost >= LOST and all(self._is_tried_again(worker, key) for key in worker.keys):
            for key, values, lost in worker.hand_back():
                self._try_again(worker, key, values, lost)

    def is_done(self, worker: Worker, key: Any, slot: Slot, n: int) -> bool:
        """Whether a batch that a worker has finished is given out; else another tries it."""
        lost = slot.lost(n)
        if len(lost) == n and self._is_tried_again(worker, key):
            self._try_again(worker, key, slot.values[:n].copy(), lost)
            return False
        if (before := self._tried.pop(key, None)) and before.worker is not worker:
            self._saved(before.worker, worker, len(np.setdiff1d(before.lost, lost)))
        return True

    def _others(self, worker: Worker) -> list[Worker]:
        return [one for one in self._workers if one is not worker]

    def _is_tried_again(self, worker: Worker, key: Any) -> bool:
        """Whether a worker's process has given no sound yet, but another has, or may still."""
        before, most = self._tried.get(key), TRIES if self._has_helped else 2
        return not (worker.plays or (before and before.times + 1 >= most)) and any(
            one.plays or (one.n_batches and not one.n_lost) for one in self._others(worker)
        )

    def _try_again(
        self, worker: Worker, key: Any, values: NDArray[np.float64], lost: NDArray[np.intp]
    ) -> None:
        before = self._tried.get(key)
        self._again.append((key, values))
        self._tried[key] = Tried(worker, lost, before.times + 1 if before else 1)

    def _saved(self, loser: Worker, giver: Worker, n: int) -> None:
        """Leave all to a worker that has given sounds which another had lost, if they are some.

        The other may have met a preset that ends it by chance: twice as many if it has played.
        """
        self._has_helped |= n > 0
        loser.n_saved += n
        if loser.n_saved < LOST * (1 + loser.has_played) or self._alone:
            return
        if any(one.plays for one in self._others(giver)):  # side by side, so that it was chance
            return
        says = "gives no sound in a process beside another, so that one renders what is left"
        log.warning("%s %s; give --workers 1", self._name, says)
        self._alone = giver
        for worker in self._others(giver):  # whose processes might take its place if it ends
            self._again += [(key, values) for key, values, _ in worker.hand_back()]
