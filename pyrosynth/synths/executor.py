"""Where work is done: on this machine, or on the workers of a Dask cluster."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from pyrosynth.audio.note import Note
from pyrosynth.errors import InputError
from pyrosynth.synths.base import Synth
from pyrosynth.synths.rendering import Renderer

Item = TypeVar("Item")
Result = TypeVar("Result")


class Executor(Protocol):
    """Does tasks, and renders."""

    def map(
        self, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Iterator[tuple[Item, Result]]:
        """Do a task for each item, and give items and results in the order they are finished.

        Args:
            function: The task. With a cluster it travels to another machine, and so do its
                results; files that it names must be reached from there.
            items: What it takes.
        """
        ...

    def renderer(self, synth: Synth, note: Note, sample_rate: int, **options: Any) -> Renderer:
        """Return a renderer, to be used as a context.

        Args:
            synth: The synth.
            note: What to play.
            sample_rate: Rate in Hz.
            options: Further arguments of `pyrosynth.synths.rendering.Renderer`.
        """
        ...


class Local:
    """Does tasks in this process, one after the other, and renders in processes beside it.

    Args:
        workers: Processes that render; all cores if left out.
    """

    def __init__(self, workers: int | None = None) -> None:
        """Start nothing yet."""
        self.workers = workers

    def map(
        self, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Iterator[tuple[Item, Result]]:
        """Do a task for each item, each when its result is asked for."""
        for item in items:
            yield item, function(item)

    def renderer(self, synth: Synth, note: Note, sample_rate: int, **options: Any) -> Renderer:
        """Return a renderer with processes of this machine."""
        return Renderer(synth, note, sample_rate, workers=self.workers, **options)


@contextmanager
def open_executor(workers: int | None = None, scheduler: str | None = None) -> Iterator[Executor]:
    """Open this machine, or a Dask cluster, for work.

    Args:
        workers: Processes of this machine that render; all cores if left out.
        scheduler: Address of the scheduler of a cluster, such as ``tcp://host:8786``; None for
            this machine.

    Raises:
        InputError: Both are given, ``dask.distributed`` is not installed, or the cluster cannot be
            reached.
    """
    if scheduler is None:
        yield Local(workers)
        return
    if workers is not None:
        raise InputError(
            f"workers {workers} are of this machine, but the cluster '{scheduler}' renders: its "
            "own workers say how many sounds at a time; leave one of the two out"
        )
    from pyrosynth.synths.cluster import Cluster

    with Cluster(scheduler) as cluster:
        yield cluster
