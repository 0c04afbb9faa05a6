"""Render and do other tasks on the workers of a Dask cluster.

A task goes to any worker that has the same versions and the same plugin as this process; another
one is refused with a line that says why. The task of a worker that is lost is done by another one.
Every thread of a worker renders in one process of its own, which is watched as on one machine.
"""

import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from numpy.typing import ArrayLike
from tqdm.auto import tqdm

from pyrosynth.audio.note import Note
from pyrosynth.errors import (
    InputError,
    PyrosynthError,
    SynthError,
    one_line,
    raised,
    reason,
    unseen,
)
from pyrosynth.synths.base import Synth
from pyrosynth.synths.cluster_worker import (
    Needed,
    RenderJob,
    close_renderers,
    examine,
    versions,
)
from pyrosynth.synths.rendering import Finish, Renderer, RenderResult
from pyrosynth.threads import in_daemon_thread

Item = TypeVar("Item")
Result = TypeVar("Result")

CONNECT_SECONDS = 5.0  # to reach the scheduler
WAIT_SECONDS = 60.0  # for a worker, where there is none
EXAMINE_SECONDS = 20.0  # for the answers of the others, where one fits
LOOK_SECONDS = 1.0  # between two looks at who is there
AHEAD = 2  # tasks per thread that are given at a time
MOST_TASK_SOUNDS = 64  # of one task, where sounds are sent back


class Cluster:
    """The workers of a Dask cluster, as an `pyrosynth.synths.executor.Executor`; a context.

    Args:
        address: Of the scheduler, such as ``tcp://host:8786``.

    Raises:
        InputError: ``dask.distributed`` is not installed, or there is no scheduler.
    """

    def __init__(self, address: str) -> None:
        """Connect to the scheduler."""
        try:
            from distributed import Client
        except ImportError as error:
            raise InputError(
                'a scheduler needs dask.distributed; install it: pip install "pyrosynth[scale]"'
            ) from error
        self.address = address
        try:
            # Dask waits for ever for what is no scheduler, such as its dashboard, to greet it.
            connecting = in_daemon_thread(
                partial(Client, address, timeout=CONNECT_SECONDS, set_as_default=False)
            )
            self._client = connecting.result(2 * CONNECT_SECONDS)
        except (OSError, ValueError, TypeError, RuntimeError, ImportError) as error:
            raise InputError(
                f"no Dask scheduler answers at '{address}' ({reason(error)}); start one with "
                "`dask scheduler`, or give its address, such as tcp://host:8786"
            ) from error
        self._run = uuid.uuid4().hex
        self._needed = Needed(versions())
        self._asked: dict[str, Any] = {}  # what a worker will answer, by its address
        self._verdicts: dict[str, str] = {}  # why it is refused, empty if it is not

    def __enter__(self) -> "Cluster":
        """Return the cluster."""
        return self

    def __exit__(self, *_: object) -> None:
        """End what the workers keep for this run, and close the connection."""
        with suppress(Exception):  # what is gone needs no end
            if self._client.status == "running":
                self._client.run(close_renderers, self._run, on_error="ignore")
            self._client.close()

    def renderer(self, synth: Synth, note: Note, sample_rate: int, **options: Any) -> Renderer:
        """Return a renderer that renders on the workers; they need the same plugin as is here.

        Args:
            synth: The synth.
            note: What to play.
            sample_rate: Rate in Hz.
            options: Further arguments of `pyrosynth.synths.rendering.Renderer`, except
                ``workers``.

        Raises:
            InputError: No worker has the plugin.
        """
        needed = replace(self._needed, spec=synth.spec(), identity=synth.identity())
        if needed != self._needed:
            self._needed, self._verdicts, self._asked = needed, {}, {}
        self.fitting(EXAMINE_SECONDS)
        return ClusterRenderer(self, self._run, synth, note, sample_rate, **options)

    def map(
        self, function: Callable[[Item], Result], items: Iterable[Item]
    ) -> Iterator[tuple[Item, Result]]:
        """Do a task for each item, and give items and results in the order they are finished.

        Raises:
            InputError: No worker fits, or scheduler or workers are gone.
            PyrosynthError: A task raised it.
        """
        from distributed import wait

        waiting = iter(items)
        running: dict[Any, tuple[Item, set[str]]] = {}
        fitting, looked = self.fitting(0), time.monotonic()

        def submit(item: Item) -> None:
            future = self._client.submit(
                function, item, pure=False, workers=list(fitting), allow_other_workers=False
            )
            running[future] = item, set(fitting)

        try:
            while True:
                for item in islice(waiting, max(0, AHEAD * sum(fitting.values()) - len(running))):
                    submit(item)
                if not running:
                    return
                with self._reached(), suppress(TimeoutError), self._client.as_current():
                    wait(list(running), timeout=LOOK_SECONDS, return_when="FIRST_COMPLETED")
                for future in [future for future in running if future.done()]:
                    item, _ = running.pop(future)
                    yield item, self._result(future)
                if time.monotonic() - looked > LOOK_SECONDS:
                    fitting, looked = self.fitting(0), time.monotonic()
                    for future in [
                        f for f, (_, asked) in running.items() if not asked & {*fitting}
                    ]:
                        item, _ = running.pop(future)  # all that might do it are gone
                        future.cancel()
                        submit(item)
        finally:
            with suppress(Exception):
                self._client.cancel(list(running))

    def fitting(self, patience_seconds: float) -> dict[str, int]:
        """Return the addresses of the workers that fit, and their threads; wait for the first.

        Args:
            patience_seconds: How long to wait for the answers of the others.

        Raises:
            InputError: There is no worker, or none that fits; or the scheduler is gone.
        """
        began = time.monotonic()
        while True:
            with self._reached():
                threads = self._client.nthreads()
            for address in threads:
                self._examine(address)
            fit = {a: n for a, n in threads.items() if self._verdicts.get(a) == ""}
            refused = [f"{a}: {self._verdicts[a]}" for a in threads if self._verdicts.get(a)]
            waited, unknown = time.monotonic() - began, len(threads) - len(fit) - len(refused)
            if fit and (not unknown or waited >= patience_seconds):
                return fit
            if refused and not fit and not unknown:
                raise InputError(f"no worker of '{self.address}' can be used; {refused[0]}")
            if waited > WAIT_SECONDS:
                raise InputError(
                    f"no worker of '{self.address}' has answered for {WAIT_SECONDS:g} seconds; "
                    f"start some with `dask worker {self.address}` and run the same command "
                    "again: what is complete stays"
                )
            time.sleep(LOOK_SECONDS / 10)

    def _examine(self, address: str) -> None:
        """Ask a worker what it has, or take its answer; say so if it is refused."""
        if address in self._verdicts:
            return
        asked = self._asked.get(address)
        if asked is None:
            self._asked[address] = self._client.submit(
                examine, self._needed, workers=[address], pure=False, priority=1
            )
        elif asked.status == "finished":
            self._verdicts[address] = asked.result()
        elif asked.status == "error":
            error = asked.exception()
            self._verdicts[address] = f"cannot run pyrosynth ({raised(error)})"
        if why := self._verdicts.get(address):
            if not unseen():
                tqdm.write(one_line(f"worker {address} is refused: {why}"), sys.stderr)

    def _result(self, future: Any) -> Any:
        """Return what a task returned, or raise what it raised."""
        from distributed import KilledWorker

        with self._reached():
            if future.status != "error":
                return future.result()
            error = future.exception()
        if isinstance(error, PyrosynthError):
            raise error
        if isinstance(error, KilledWorker):
            raise SynthError(
                f"the same task ended several workers ({error}); they may want more memory"
            )
        raise SynthError(f"a task failed on the cluster ({raised(error)})")

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Turn the loss of the scheduler into one clear error."""
        from distributed import CancelledError
        from distributed.comm import CommClosedError

        try:
            yield
        except (CancelledError, CommClosedError, TimeoutError, ConnectionError) as error:
            raise InputError(
                f"the scheduler '{self.address}' is gone; start it again and run the same "
                "command again: what is complete stays"
            ) from error


class ClusterRenderer(Renderer):
    """Renders on the workers of a cluster, as a `Renderer` does on this machine.

    Args:
        cluster: The cluster.
        run: What its workers know the renderers of this run by.
        synth: The synth.
        note: What to play.
        sample_rate: Rate in Hz.
        options: Further arguments of `Renderer`.
    """

    def __init__(
        self,
        cluster: Cluster,
        run: str,
        synth: Synth,
        note: Note,
        sample_rate: int,
        **options: Any,
    ) -> None:
        """Check the arguments as on this machine, where no process is started."""
        super().__init__(synth, note, sample_rate, workers=1, **options)
        self._cluster = cluster
        self._job = RenderJob(
            run, synth.spec(), synth.identity(), note, sample_rate,
            options.get("timeout_seconds", 10.0), options.get("transform"),
        )  # fmt: skip

    def render(
        self, values: ArrayLike, progress: str | None = None, note: Note | None = None
    ) -> RenderResult:
        """Render sounds, in the order given; see `Renderer.render`."""
        array = self._checked(values)
        rendered = self._blank(len(array))
        job = replace(self._job, keep_audio=self.keep_audio, played=note)
        threads = sum(self._cluster.fitting(0).values())
        size = min(MOST_TASK_SOUNDS, max(1, -(-len(array) // threads)))
        parts = ((i, array[i : i + size]) for i in range(0, len(array), size))
        with tqdm(total=len(array), desc=progress, unit="sound", disable=unseen(progress)) as bar:
            for (start, _), part in self._cluster.map(job, parts):
                rows = slice(start, start + len(part.reason))
                for name in ("audio", "features", "reason"):
                    if (whole := getattr(rendered, name)) is not None:
                        whole[rows] = getattr(part, name)
                bar.update(len(part.reason))
        return rendered

    def stream(
        self, chunks: Iterable[tuple[Any, ArrayLike]], finish: Finish | None = None
    ) -> Iterator[tuple[Any, Any]]:
        """Render chunks, each as one task of the cluster; see `Renderer.stream`."""
        job = replace(self._job, keep_audio=self.keep_audio, finish=finish)
        items = ((key, self._checked(values)) for key, values in chunks)
        for (key, _), result in self._cluster.map(job, items):
            yield key, result
