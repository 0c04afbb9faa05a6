"""What workers of a Dask cluster do for `pyrosynth.synths.cluster`: show versions, render."""

import platform
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyrosynth._version import __version__
from pyrosynth.audio.note import Note
from pyrosynth.errors import SynthError, one_line
from pyrosynth.synths.catalog import from_spec
from pyrosynth.synths.rendering import Finish, Renderer
from pyrosynth.synths.worker_process import Transform

IDLE_SECONDS = 300.0  # after which a renderer that its run has forgotten is closed
VERSIONS = ("numpy", "scipy", "torch", "librosa", "zarr", "numcodecs")  # they decide the bytes


@dataclass(frozen=True)
class Needed:
    """What a worker must have."""

    versions: dict[str, str]
    spec: dict[str, Any] | None = None
    identity: str = ""


@dataclass(frozen=True)
class RenderJob:
    """Renders a chunk on a worker of the cluster."""

    run: str
    spec: dict[str, Any]
    identity: str
    note: Note
    sample_rate: int
    timeout_seconds: float
    transform: Transform | None
    keep_audio: bool = field(default=True, compare=False)
    finish: Finish | None = field(default=None, compare=False)
    played: Note | None = field(default=None, compare=False)

    def __call__(self, chunk: tuple[Any, NDArray[np.float64]]) -> Any:
        """Render it, and finish it where it was rendered."""
        key, values = chunk
        renderer = RENDERERS.take(self)
        try:
            renderer.keep_audio = self.keep_audio
            rendered = renderer.render(values, note=self.played)
        except BaseException:
            renderer.close()
            raise
        RENDERERS.give_back(self, renderer)
        return rendered if self.finish is None else self.finish(key, rendered)

    def renderer(self) -> Renderer:
        """Start the renderer of one thread."""
        if differs := examine(Needed({}, self.spec, self.identity)):
            raise SynthError(f"a worker of the cluster {differs}")
        return Renderer(
            from_spec(self.spec), self.note, self.sample_rate, workers=1,
            timeout_seconds=self.timeout_seconds, transform=self.transform,
        )  # fmt: skip


class RendererPool:
    """Renderers that are between two tasks, since starting one takes long."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[tuple[RenderJob, Renderer, float]] = []

    def take(self, job: RenderJob) -> Renderer:
        """Return one that does such jobs; start it if there is none."""
        with self._lock:
            for i, (done, renderer, _) in enumerate(self._idle):
                if done == job:
                    del self._idle[i]
                    return renderer
        self.close(lambda held, since: time.monotonic() - since > IDLE_SECONDS)
        return job.renderer()

    def give_back(self, job: RenderJob, renderer: Renderer) -> None:
        """Keep one for the next job."""
        with self._lock:
            self._idle.append((job, renderer, time.monotonic()))

    def close(self, chosen: Callable[[RenderJob, float], bool]) -> None:
        """Close those that are chosen by their job and the time they were last used."""
        with self._lock:
            closing = [entry for entry in self._idle if chosen(entry[0], entry[2])]
            self._idle = [entry for entry in self._idle if entry not in closing]
        for _, renderer, _ in closing:
            renderer.close()


RENDERERS = RendererPool()  # of this process, where it is a worker of a cluster


def close_renderers(run: str) -> None:
    """End the renderers that a run has left idle in this process."""
    RENDERERS.close(lambda job, since: job.run == run)


def versions() -> dict[str, str]:
    """Return the versions in this process that decide the bytes of a dataset."""
    found = {"python": ".".join(platform.python_version_tuple()[:2]), "pyrosynth": __version__}
    for name in VERSIONS:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def examine(needed: Needed) -> str:
    """Say why this process cannot do tasks of another one; empty if it can."""
    for name, version in versions().items() if needed.versions else ():
        if version != needed.versions.get(name):
            return f"it has {name} {version}, not {needed.versions.get(name)}; install the same"
    if needed.spec is None:
        return ""
    try:
        identity = from_spec(needed.spec).identity()
    except Exception as error:  # also of a synth of one's own
        return f"it lacks the synth ({error})"
    if identity != needed.identity:
        return (
            f"it has another {needed.spec.get('synth')} ({one_line(identity, 40)}, not "
            f"{one_line(needed.identity, 40)}); install the same plugin file"
        )
    return ""
