"""Host of DSSI plugins: a library that is opened once, and an instance that plays a note."""

import _ctypes
import ctypes as C
import functools
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyrosynth.audio.io import Audio
from pyrosynth.audio.note import Note
from pyrosynth.errors import SynthError
from pyrosynth.synths import ladspa
from pyrosynth.synths.hosts.denormals import denormals_flushed

BLOCK = 512  # samples per call of the plugin; another size gives another sound


class Library:
    """One plugin library, open at most once per process.

    A second handle on the same file would keep it loaded, so that closing it no longer resets
    its static variables; hence one object per file, shared by every synth in it.
    """

    def __init__(self, path: Path) -> None:
        """Remember the file; it is opened when first needed."""
        self.path = path
        self.lock = threading.RLock()
        self.generation = 0
        self._handle: C.CDLL | None = None

    def open(self) -> C.CDLL:
        """Return the handle, opening the library if it is closed."""
        if self._handle is None:
            self._handle = C.CDLL(str(self.path))
        return self._handle

    def close(self) -> None:
        """Unload the library; every instance made from it is gone with it."""
        if self._handle is not None:
            _ctypes.dlclose(self._handle._handle)
            self._handle = None
            self.generation += 1


@functools.cache
def library(path: Path) -> Library:
    """Return this process's only `Library` of a file."""
    return Library(path)


class Instance:
    """One instantiated plugin with its ports connected to buffers; a context that closes it.

    Args:
        dssi: Its ``Dssi`` descriptor.
        controls: Indices of the control inputs.
        outputs: Indices of the audio outputs.
        sample_rate: Rate in Hz.
        generation: That of the library when it is opened; past it, the instance is gone.

    Raises:
        SynthError: The plugin gives no instance.
    """

    def __init__(
        self, dssi: Any, controls: list[int], outputs: list[int], sample_rate: int, generation: int
    ) -> None:
        """Instantiate it and connect its ports."""
        self.sample_rate, self.generation = sample_rate, generation
        self._dssi, self._ladspa = dssi, dssi.ladspa.contents
        self._controls, self._outputs = controls, outputs
        n_ports = self._ladspa.n_ports
        self._values = np.zeros(n_ports, np.float32)
        self._buffers = np.zeros((n_ports, BLOCK), np.float32)
        self._handle = self._ladspa.instantiate(C.addressof(self._ladspa), sample_rate)
        if not self._handle:
            raise SynthError(f"the plugin refuses to play at {sample_rate} Hz; try 44100")
        for i in range(n_ports):
            control = self._ladspa.port_kinds[i] & ladspa.CONTROL
            memory = self._values[i:] if control else self._buffers[i]
            self._ladspa.connect_port(self._handle, i, memory.ctypes.data)
        self._active = False

    def __enter__(self) -> "Instance":
        """Return the instance."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the instance."""
        self.close()

    def play(self, controls: NDArray[np.float32], note: Note) -> Audio:
        """Play one note.

        Args:
            controls: Values of the control inputs, shape (n_controls,).
            note: What to play.

        Returns:
            Mean of the outputs, shape (n_samples,).
        """
        n_samples = note.n_samples(self.sample_rate)
        release = min(int(note.hold_seconds * self.sample_rate), n_samples)
        events = {0: ladspa.NOTE_ON, release: ladspa.NOTE_OFF}
        sound = np.empty((len(self._outputs), n_samples), np.float32)
        self._values[self._controls] = controls
        outputs = self._buffers[self._outputs[0] : self._outputs[-1] + 1]
        adjacent = len(outputs) == len(self._outputs)
        run, handle, none = self._dssi.run_synth, self._handle, (ladspa.Event * 0)()
        with denormals_flushed():
            if not self._active:
                if self._ladspa.activate:
                    self._ladspa.activate(handle)
                self._active = True
            for start in range(0, n_samples, BLOCK):
                size = min(BLOCK, n_samples - start)
                due = none
                here = [tick for tick in events if start <= tick < start + size]
                if here:
                    due = (ladspa.Event * len(here))()
                    for event, tick in zip(due, here, strict=True):
                        event.type, event.tick = events[tick], tick - start
                        event.note, event.velocity = note.pitch, note.velocity
                run(handle, size, due, len(here))
                block = outputs if adjacent else self._buffers[self._outputs]
                sound[:, start : start + size] = block[:, :size]
        mono: Audio = sound.mean(axis=0, dtype=np.float32)
        return mono

    def select(self, program: str) -> None:
        """Choose one of the plugin's own programs, which it may load in a thread of its own.

        Raises:
            SynthError: The plugin has none of that name.
        """
        index = 0
        while self._dssi.get_program and (at := self._dssi.get_program(self._handle, index)):
            if at.contents.name.decode("utf-8", "replace") == program:
                self._dssi.select_program(self._handle, at.contents.bank, at.contents.program)
                return
            index += 1
        raise SynthError(f"the plugin has no program '{program}' among its {index}")

    def rest(self) -> None:
        """Run one block without a note, in which the plugin takes up what was chosen."""
        self._dssi.run_synth(self._handle, BLOCK, (ladspa.Event * 0)(), 0)

    def close(self) -> None:
        """Let the plugin free the instance."""
        if self._active and self._ladspa.deactivate:
            self._ladspa.deactivate(self._handle)
        if self._ladspa.cleanup:
            self._ladspa.cleanup(self._handle)
