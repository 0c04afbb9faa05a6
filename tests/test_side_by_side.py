"""Sounds inferred side by side: the same results, and a process that ends costs one sound."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from doubling import doubling, telling

from pyrosynth.errors import InputError
from pyrosynth.inference.side_by_side import LEAST_RENDERS, WORKER_RENDERS, side_by_side


def test_items_are_shared_among_processes():
    ticks = []
    results = dict(
        side_by_side(doubling, range(6), LEAST_RENDERS, 4, lambda *tick: ticks.append(tick))
    )
    assert [results[i][0] for i in range(6)] == [0, 2, 4, 6, 8, 10]
    pids = {pid for _, _, pid in results.values()}
    assert len(pids) == 4
    assert os.getpid() not in pids
    assert {(i, sum(n for j, n in ticks if i == j)) for i in range(6)} == {
        (i, 3) for i in range(6)
    }
    # Few items have more workers each; little work is done here.
    assert {w for _, (_, w, _) in side_by_side(doubling, [1, 2], LEAST_RENDERS, 5)} == {2}
    for n_renders, workers in ((8, 1), (2 * WORKER_RENDERS, 4), (200, 5)):
        assert [r for _, r in side_by_side(doubling, [1, 2], n_renders, 5)] == [
            (2, workers, os.getpid()),
            (4, workers, os.getpid()),
        ]


def test_a_process_that_ends_costs_its_item():
    results = dict(side_by_side(doubling, [99, 1, 2, 99, 3], LEAST_RENDERS, 2))
    assert [i for i, r in results.items() if isinstance(r, ChildProcessError)] in ([0, 3], [3, 0])
    assert [results[i][0] for i in (1, 2, 4)] == [2, 4, 6]
    assert "signal 9" in str(results[0])


def test_processes_share_what_was_imported_and_no_threads():
    told = dict(side_by_side(telling, range(4), LEAST_RENDERS, 2, imports=["colorsys"]))
    parents, threads, imported = (set(of) for of in zip(*told.values(), strict=True))
    assert len(parents) == 1
    assert os.getpid() not in parents
    assert (threads, imported) == ({1}, {True})


def test_the_end_of_the_process_that_is_forked_costs_the_items_in_work():
    items = ["last of its parent", *range(5)]
    told = dict(side_by_side(telling, items, LEAST_RENDERS, 2))
    lost = [i for i, result in told.items() if isinstance(result, ChildProcessError)]
    assert 0 in lost
    assert len(lost) <= 2
    assert "signal 9" in str(told[0])


def test_what_is_raised_arrives_and_ends_the_others():
    began = time.monotonic()
    with pytest.raises(InputError, match="no 13") as raised:
        list(side_by_side(doubling, [60, 13], LEAST_RENDERS, 2))
    assert "in work" in raised.value.__notes__[0]
    assert time.monotonic() - began < 500
    with pytest.raises(InputError, match="workers"):
        list(side_by_side(doubling, [1], LEAST_RENDERS, 0))


def test_no_process_outlives_its_parent():
    code = (
        "from doubling import doubling\n"
        "from pyrosynth.inference.side_by_side import side_by_side\n"
        "for _, (_, _, pid) in side_by_side(doubling, [1, 60, 60], 512, 3):\n"
        "    print(pid, flush=True)"
    )
    paths = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    environment = {**os.environ, "PYTHONPATH": paths}
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 120
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    parent.stdout.close()
