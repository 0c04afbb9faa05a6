"""Work that one process loses and another does, with workers that are played."""

from types import SimpleNamespace

import numpy as np
import pytest

from pyrosynth.synths.second_tries import SecondTries

GOOD, CRASHES, CRASHES_ONCE = 0, 1, 2


class Pretended:
    """A worker whose plugin plays in one process at a time, or in all; it does a batch at once."""

    def __init__(self, plugin):
        self.plugin, self.batches, self.n_lost = plugin, [], 0
        self.plays = self.has_played = False
        self.n_saved = 0

    n_batches = property(lambda self: len(self.batches))
    keys = property(lambda self: [key for key, _ in self.batches])

    def stop(self):
        """End the process."""
        self.plays, self.n_lost = False, 0
        if self.plugin.held_by is self:
            self.plugin.held_by = None

    def hand_back(self):
        given = [(key, values, self.lost(values)) for key, values in self.batches]
        self.batches = []
        self.stop()
        return given

    def lost(self, values):
        """Play presets; return those at which the process ended."""
        lost = []
        for i, preset in enumerate(values):
            crashes = preset == CRASHES or (preset == CRASHES_ONCE and not self.plugin.crashed)
            self.plugin.crashed |= preset == CRASHES_ONCE
            if crashes or (self.plugin.alone and self.plugin.held_by not in (None, self)):
                lost.append(i)
                self.stop()
            else:
                self.plugin.held_by = self
                self.plays = self.has_played = True
                self.n_saved = 0
        return np.array(lost, np.intp)


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("seed", range(40))
def test_each_batch_is_given_out_once_and_none_that_plays_is_lost(alone, seed):
    rng = np.random.default_rng(seed)
    plugin = SimpleNamespace(alone=alone, held_by=None, crashed=False)
    workers = [Pretended(plugin) for _ in range(rng.integers(1, 5))]
    tries = SecondTries(workers, "played")
    shares = [[1, 0, 0], [0.7, 0.2, 0.1]][seed % 2]
    for _ in range(4):  # renderings with the same workers
        batches = [rng.choice(3, rng.integers(1, 4), p=shares) for _ in range(30)]
        waiting, given = iter(list(enumerate(batches))), {}
        stops = rng.integers(1, 60)  # after so many batches nobody wants the rest
        tries.begin()
        left_to_one = tries._alone is not None
        for _ in range(1000):
            for worker in workers:
                while worker.n_batches < 2 and (work := tries.next_for(worker, waiting)):
                    worker.batches.append(work)
            busy = [worker for worker in workers if worker.n_batches]
            if not busy or len(given) >= stops:
                break
            worker = busy[rng.integers(len(busy))]
            if rng.random() < 0.3:
                worker.n_lost = int(rng.integers(0, 4))
                tries.take_back(worker)
                continue
            key, values = worker.batches.pop(0)
            lost = worker.lost(values)
            slot = SimpleNamespace(lost=lambda n, lost=lost: lost, values=values)
            if tries.is_done(worker, key, slot, len(values)):
                assert key not in given
                given[key] = lost
        assert len(given) in (len(batches), stops)
        for worker in workers:
            if worker.n_batches:
                worker.batches = []
                worker.stop()
        if seed % 2 == 0:  # no preset is to blame, so that nothing is lost
            assert not any(len(lost) for lost in given.values())
        for key, lost in given.items():
            if not alone or left_to_one:
                assert (batches[key][lost] != GOOD).all()
