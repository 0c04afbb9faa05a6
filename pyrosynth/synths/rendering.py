"""Render presets in worker processes, on all cores.

The same values give the same bytes whatever was rendered before, in any order, with any number of
workers, if the synth's isolation is exact; `probe_isolation` finds out.
"""

import os
import pickle
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import wait
from threading import Lock, RLock
from types import NoneType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm.auto import tqdm

from pyrosynth.audio.note import Note, require_note
from pyrosynth.errors import (
    InputError,
    SynthError,
    integer,
    number,
    require_type,
    shown,
    unseen,
)
from pyrosynth.synths import Synth
from pyrosynth.synths.base import LONGEST_SECONDS, require_synth
from pyrosynth.synths.custom import require_imported
from pyrosynth.synths.presets import checked_values
from pyrosynth.synths.sandbox import Scratch
from pyrosynth.synths.second_tries import SecondTries
from pyrosynth.synths.worker import Worker, close_all
from pyrosynth.synths.worker_process import (
    BATCH_SIZE,
    CRASHED,
    REASONS,
    SLOTS,
    Slot,
    Transform,
    WorkerSettings,
    identity_of,
    require_same_synth,
)

MOST_WORKERS = 1024
LOOKS = 8  # how often the parent looks at a worker in the time allowed for a sound
LOOK_SECONDS = 0.25  # between two looks, at most
FATES = {"crashed": "crashed", "timed out": "hung", "not finite": "gave no numbers"}


@dataclass(frozen=True)
class RenderResult:
    """Rendered sounds, and which of them failed and why.

    Attributes:
        audio: Shape (n, n_samples), float32; zeros for a failed sound; None if not kept.
        features: Output of the transform, shape (n, ...); zeros for a failed sound; None without
            a transform.
        reason: One of `pyrosynth.synths.worker_process.REASONS` per sound, shape (n,): empty if
            all is well, ``crashed``, ``timed out`` or ``not finite`` if it failed, ``silent`` if
            its peak is below `pyrosynth.audio.io.SILENCE`.
    """

    audio: NDArray[np.float32] | None
    features: NDArray[Any] | None
    reason: NDArray[np.str_]

    @property
    def failed(self) -> NDArray[np.bool_]:
        """Which sounds failed, shape (n,); a silent one did not."""
        return (self.reason != "") & (self.reason != "silent")

    def fate(self, i: int) -> str:
        """Say what the synth did that cost a sound, such as ``hung``."""
        return FATES[str(self.reason[i])]


Finish = Callable[[Any, RenderResult], Any]


class Renderer:
    """Worker processes that render sounds; leaving the context ends them.

    A crash, a hang or a NaN costs the sound it happens in and no other. Workers do not outlive
    the process that started them. Threads may share one: `render` and `close` wait for each other,
    but while a `stream` is under way nothing else is rendered.

    Attributes:
        workers: The processes, each a `pyrosynth.synths.worker.Worker`.

    Args:
        synth: The synth; each worker rebuilds it from its ``spec``.
        note: What to play.
        sample_rate: Rate in Hz.
        workers: Number of processes; None for one per core this process may use.
        timeout_seconds: Time for one sound; more if the machine is too busy to give it a core.
        transform: Function of audio (n, n_samples) that gives features (n, ...), run in the
            workers; importable from a module, since it travels by name.
        keep_audio: Whether results carry the audio.

    Raises:
        InputError: An argument is out of range, or the transform cannot travel.

    Example:
        >>> from pyrosynth import synths
        >>> from pyrosynth.audio.note import Note
        >>> voice = synths.load_synth("voice")
        >>> with Renderer(voice, Note(duration_seconds=3.5), 22050, workers=1) as renderer:
        ...     rendered = renderer.render([voice.param_space.defaults])
        >>> rendered.audio.shape, rendered.reason.tolist()
        ((1, 77175), [''])
    """

    def __init__(
        self,
        synth: Synth,
        note: Note,
        sample_rate: int,
        *,
        workers: int | None = None,
        timeout_seconds: float = 10.0,
        transform: Transform | None = None,
        keep_audio: bool = True,
    ) -> None:
        """Check the arguments; a worker starts when there is something for it to do."""
        require_synth(synth)
        require_note(note)
        n_workers = n_cores() if workers is None else integer("workers", workers, 1, MOST_WORKERS)
        sample_rate = integer("sample_rate", sample_rate, 1)
        timeout_seconds = number("timeout_seconds", timeout_seconds, 1e-3, LONGEST_SECONDS)
        self._look_seconds = min(LOOK_SECONDS, timeout_seconds / LOOKS)
        self._stopped = False
        self.synth, self.note, self.sample_rate = synth, note, sample_rate
        self.keep_audio = keep_audio
        n_samples = note.n_samples(sample_rate)
        shape, dtype = (0,), "float32"
        if transform is not None:
            if not callable(transform):
                raise InputError(
                    f"transform is {shown(transform)}; give a function of audio, or a FeatureSpec"
                )
            try:
                pickle.dumps(transform)
            except (pickle.PicklingError, AttributeError, TypeError) as error:
                raise InputError(
                    f"the transform cannot be sent to the workers ({error}); define it at the "
                    "top level of a module"
                ) from error
            example = transform(np.zeros((1, n_samples), np.float32))
            require_type("what transform gives", example, np.ndarray, "an array of NumPy")
            shape, dtype = example.shape[1:], example.dtype.str
        self._transforms = transform is not None
        self._identity = identity_of(synth)
        settings = WorkerSettings(
            synth.spec(),
            dict(synth.told),
            self._identity,
            synth.batched,
            note,
            sample_rate,
            timeout_seconds,
            transform,
            len(synth.param_space),
            shape,
            dtype,
        )
        require_imported(settings.spec)
        self._scratch = Scratch()
        self.workers = [Worker(settings, self._scratch) for _ in range(n_workers)]
        # A notebook drops a renderer where a cell is run again. At exit the guard does it.
        self._end = weakref.finalize(self, close_all, self.workers, self._scratch, os.getpid())
        self._end.atexit = False
        self._tries = SecondTries(self.workers, synth.name)
        self._rendering, self._working = RLock(), Lock()
        self._closed, self._process = False, os.getpid()

    def __enter__(self) -> "Renderer":
        """Return the renderer."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the renderer."""
        self.close()

    def stop(self) -> None:
        """Render nothing any more: what another thread renders ends at once by a `SynthError`."""
        self._stopped = True

    def close(self) -> None:
        """End all workers; nothing of them is left behind, and nothing more can be rendered."""
        with self._rendering:
            self._closed = True
            self._end()

    def render(
        self, values: ArrayLike, progress: str | None = None, note: Note | None = None
    ) -> RenderResult:
        """Render sounds, in the order given.

        Args:
            values: Native parameter values, shape (n, n_params).
            progress: Label of a progress bar; None for no bar.
            note: Another note than the renderer's, of the same length.

        Returns:
            The sounds, in the same order.

        Raises:
            InputError: The values do not fit the synth, the note is of another length than the
                renderer's, or the renderer is closed or has a stream under way.
            SynthError: The synth does not load in a worker, or the renderer was stopped.
        """
        with self._rendering:
            return self._render(values, progress, note)

    def _render(self, values: ArrayLike, progress: str | None, note: Note | None) -> RenderResult:
        array = self._checked(values)
        require_type("progress", progress, (str, NoneType), "the label of a bar, or None")
        require_type("note", note, (Note, NoneType), "a Note, or None")
        if note and note.duration_seconds != self.note.duration_seconds:
            raise InputError(
                f"{note}: this renderer plays notes of {self.note.duration_seconds} s only"
            )
        rendered = self._blank(len(array))
        # Small jobs are spread over all workers instead of filling the first.
        size = min(BATCH_SIZE, max(1, -(-len(array) // len(self.workers))))
        batches = ((i, array[i : i + size]) for i in range(0, len(array), size))
        with tqdm(total=len(array), desc=progress, unit="sound", disable=unseen(progress)) as bar:
            for start, slot, n in self._finished(batches, note):
                _copy(slot, rendered, start, n)
                bar.update(n)
        return rendered

    def stream(
        self, chunks: Iterable[tuple[Any, ArrayLike]], finish: Finish | None = None
    ) -> Iterator[tuple[Any, Any]]:
        """Render chunks on demand, a few ahead, and yield each when it is complete.

        Args:
            chunks: Pairs of a key and native values, shape (n, n_params).
            finish: What is done with key and sounds where they are rendered, which may be another
                machine; None to give the sounds.

        Yields:
            Key and sounds of each chunk, or what ``finish`` returned, in the order they are
            finished.

        Raises:
            InputError: Values do not fit the synth, the renderer is closed, or something else is
                being rendered, by another thread or by another stream.
            SynthError: The synth does not load in a worker, or its file was changed meanwhile.
        """
        require_type("chunks", chunks, Iterable, "pairs of a key and values")
        if not (finish is None or callable(finish)):
            raise InputError(f"finish is {shown(finish)}; give a function, or None")
        keys: dict[int, Any] = {}
        missing: dict[int, int] = {}
        results: dict[int, RenderResult] = {}

        def batches() -> Iterator[tuple[tuple[int, int], NDArray[np.float64]]]:
            for index, chunk in enumerate(chunks):
                if not isinstance(chunk, tuple | list) or len(chunk) != 2:
                    raise InputError(f"a chunk is {shown(chunk)}; give a key and values")
                key, values = chunk
                array = self._checked(values)
                keys[index], missing[index] = key, len(array)
                results[index] = self._blank(len(array))
                for start in range(0, len(array), BATCH_SIZE):
                    yield (index, start), array[start : start + BATCH_SIZE]

        for (index, start), slot, n in self._finished(batches()):
            _copy(slot, results[index], start, n)
            missing[index] -= n
            if not missing[index]:
                key, result = keys.pop(index), results.pop(index)
                require_same_synth(self.synth, self._identity)
                yield key, result if finish is None else finish(key, result)
        for index, key in keys.items():  # chunks without a sound
            yield key, results[index] if finish is None else finish(key, results[index])

    def _finished(
        self, batches: Iterable[tuple[Any, NDArray[np.float64]]], note: Note | None = None
    ) -> Iterator[tuple[Any, Slot, int]]:
        """Yield key, slot and size of each batch as it is finished; read it before the next."""
        if not self._working.acquire(blocking=False):
            raise InputError(
                "this renderer is at work on a stream or in another thread; let that end first, "
                "or open another renderer"
            )
        waiting = iter(batches)
        self._tries.begin()
        try:
            while True:
                if self._stopped:
                    raise SynthError("nothing is rendered any more, as the program is ending")
                for depth in range(1, SLOTS + 1):
                    for worker in self.workers:
                        if worker.n_batches < depth and (
                            work := self._tries.next_for(worker, waiting)
                        ):
                            worker.give(*work, note)
                busy = [worker for worker in self.workers if worker.n_batches]
                if not busy:
                    return
                wait([h for worker in busy for h in worker.handles], self._look_seconds)
                for worker in busy:
                    if not worker.n_batches:  # another one does them
                        continue
                    if finished := worker.take():
                        if self._tries.is_done(worker, *finished):
                            yield finished
                    else:
                        self._tries.take_back(worker)
        finally:
            for worker in self.workers:
                if worker.n_batches:
                    worker.stop()
            self._working.release()

    def _checked(self, values: ArrayLike) -> NDArray[np.float64]:
        if self._closed:
            raise InputError("this renderer is closed; open another, as posterior.renderer() does")
        if os.getpid() != self._process:  # which would get the sounds of the other
            raise InputError(
                "this renderer belongs to the process that opened it, not to one forked from it; "
                "open one there, as posterior.renderer(1) does"
            )
        return checked_values(values, self.synth.param_space, 2)

    def _blank(self, n: int) -> RenderResult:
        slot = self.workers[0].slots[0]
        audio = np.empty((n, slot.audio.shape[1]), np.float32) if self.keep_audio else None
        features = None
        if self._transforms:
            features = np.empty((n, *slot.features.shape[1:]), slot.features.dtype)
        reasons = np.array(REASONS)  # until it is rendered, a sound is none
        return RenderResult(audio, features, np.full(n, REASONS[CRASHED], reasons.dtype))


def n_cores() -> int:
    """Return the number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _copy(slot: Slot, rendered: RenderResult, start: int, n: int) -> None:
    rows = slice(start, start + n)
    reason = np.where(slot.reason[:n] < len(REASONS), slot.reason[:n], CRASHED)
    rendered.reason[rows] = np.array(REASONS)[reason]
    if rendered.audio is not None:
        rendered.audio[rows] = slot.audio[:n]
    if rendered.features is not None:
        rendered.features[rows] = slot.features[:n]
