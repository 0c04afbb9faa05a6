"""Synths whose plugin is reset between two sounds, in the way that `Isolation` names.

What one sound leaves behind (reverb tails, held voices, the state of a noise generator) must be
cleared before the next.
"""

import mmap
import os
import signal
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy as np

from pyrosynth.audio.io import Audio
from pyrosynth.audio.note import Note, require_note
from pyrosynth.errors import InputError, SynthError, checked_name
from pyrosynth.synths.base import ISOLATIONS, Isolation, Synth
from pyrosynth.synths.sandbox import die_with_parent, zero_new_memory

TEXT_BYTES = 1024  # of an error that a forked child tells
PLAYED = 87  # exit code of a forked child that has played; a plugin that ends it says 0


class Opened(Protocol):
    """A plugin library that is open at most once per process.

    Attributes:
        generation: How often it was closed.
    """

    generation: int

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """Held by whoever uses the library."""

    def close(self) -> None:
        """Unload the library; every instance made from it is gone with it."""


class Playing(Protocol):
    """One instance of a plugin.

    Attributes:
        sample_rate: Rate in Hz.
        generation: That of its library when it was made; past it, the instance is gone.
    """

    sample_rate: int
    generation: int

    def __enter__(self) -> Any:
        """Return the instance."""

    def __exit__(self, *_: object) -> None:
        """Close the instance."""

    def play(self, values: Any, note: Note) -> Audio:
        """Play one note; mean of the outputs, shape (n_samples,)."""

    def close(self) -> None:
        """Let the plugin free the instance."""


class IsolatedSynth(Synth):
    """A plugin as a synth, of which something is renewed between two sounds."""

    memory_limit = 8 << 30
    _kept: Playing | None = None

    @property
    @abstractmethod
    def library(self) -> Opened:
        """The plugin's library, shared by every synth in it."""

    @abstractmethod
    def new_instance(self, sample_rate: int) -> Playing:
        """Return an instance, from a library that is opened if it is closed.

        Raises:
            SynthError: The plugin gives none.
        """

    @abstractmethod
    def open_library(self, sample_rate: int) -> None:
        """Load the library, before a process is forked that plays at a rate in Hz."""

    def prepare(self) -> None:  # noqa: B027
        """Do what is needed for any instance and does not load the library."""

    def set_isolation(
        self,
        isolation: Isolation,
        path: object,
        has_threads: bool,
        offered: Sequence[Isolation] = ISOLATIONS,
    ) -> None:
        """Choose what is renewed between two sounds, among what the plugin allows.

        Args:
            isolation: What is renewed.
            path: The plugin, for the error.
            has_threads: Whether it starts threads when it is loaded, of which a forked process
                has none.
            offered: All of them, in the order in which they are to be tried.

        Raises:
            InputError: The isolation is not offered.
        """
        self.isolation = isolation
        self.isolations = tuple(m for m in offered if m != "fork" or not has_threads)
        if isolation not in self.isolations:
            raise InputError(
                f"plugin '{path}' starts threads when it is loaded, which do not live on in "
                f"a forked process; use isolation 'load' instead of '{isolation}'"
            )

    def play(self, values: Any, note: Note, sample_rate: int) -> Audio:
        """Play one note in isolation from the one before.

        Args:
            values: What `Playing.play` takes.
            note: What to play.
            sample_rate: Rate in Hz.

        Returns:
            Mean of the outputs, shape (n_samples,), float32.

        Raises:
            InputError: The note is something else.
            SynthError: The plugin gives no instance, or its forked child died.
        """
        require_note(note)
        library = self.library
        with library.lock:
            if self.isolation in ("load", "fork"):
                return self._play_in_child(values, note, sample_rate)
            if self.isolation == "reuse":
                return self._kept_instance(sample_rate).play(values, note)
            if self.isolation == "reload":
                library.close()
            try:
                with self._zeroed_instance(sample_rate) as instance:
                    sound: Audio = instance.play(values, note)
                    return sound
            finally:
                if self.isolation == "reload":
                    library.close()

    def _kept_instance(self, sample_rate: int) -> Playing:
        kept = self._kept
        if kept and kept.generation == self.library.generation:
            if kept.sample_rate == sample_rate:
                return kept
            kept.close()
        self._kept = self._zeroed_instance(sample_rate)
        return self._kept

    def _zeroed_instance(self, sample_rate: int) -> Playing:
        """Return an instance in memory that was zeroed, where another one may have been."""
        zero_new_memory()
        try:
            return self.new_instance(sample_rate)
        finally:
            zero_new_memory(False)

    def _play_in_child(self, values: Any, note: Note, sample_rate: int) -> Audio:
        n_bytes = 4 * note.n_samples(sample_rate)
        parent = os.getpid()
        self.prepare()
        if self.isolation == "load":
            self.library.close()  # if another synth has opened it
        else:
            self.open_library(sample_rate)
        with mmap.mmap(-1, n_bytes + TEXT_BYTES) as memory:
            child = os.fork()
            if child == 0:
                try:
                    die_with_parent(parent)
                    zero_new_memory()
                    with self.new_instance(sample_rate) as instance:
                        memory[:n_bytes] = instance.play(values, note).tobytes()
                    os._exit(PLAYED)
                except SynthError as error:
                    said = str(error).encode("utf-8", "replace")[:TEXT_BYTES]
                    memory[n_bytes : n_bytes + len(said)] = said
                finally:
                    os._exit(1)
            _, status = os.waitpid(child, 0)
            if os.WIFSTOPPED(status):  # the plugin has asked that it be traced
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
            if not (os.WIFEXITED(status) and os.WEXITSTATUS(status) == PLAYED):
                text = memory[n_bytes:].rstrip(b"\0").decode("utf-8", "replace")
                raise SynthError(text or f"synth '{self.name}' crashed while playing a note")
            return np.frombuffer(memory[:n_bytes], np.float32)


def require_isolation(name: str) -> None:
    """Make sure that there is an isolation of a name.

    Raises:
        InputError: There is none.
    """
    checked_name("isolation", name, ISOLATIONS)
