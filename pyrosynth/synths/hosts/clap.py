"""Host of CLAP plugins.

Structures are those of the public headers of CLAP 1.1. Values go in as events at the first sample
of a block; notes as CLAP's own events or as raw MIDI, whichever the plugin speaks.
"""

import ctypes as C
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyrosynth.audio.note import Note
from pyrosynth.errors import InputError, SynthError, reading
from pyrosynth.files import expanded, read_limited, write_bytes
from pyrosynth.synths.hosts import clap_abi as abi
from pyrosynth.synths.hosts.blocks import BlockInstance
from pyrosynth.synths.hosts.clap_controls import controls_of, text_of
from pyrosynth.synths.hosts.clap_host import CLAP_NOTES, MIDI_NOTES, host_table
from pyrosynth.synths.hosts.plugin import (
    BLOCK,
    PluginClass,
    PluginFile,
    Program,
    distinct_names,
)

HEAD = b"pyrosynth CLAP state 1\n"  # first line of a file of ours
LARGEST_FILE = 1 << 28  # bytes


class ClapFile(PluginFile):
    """A CLAP plugin library, which may hold several synths."""

    format = "CLAP"
    preset_suffix = ".clapstate"

    @classmethod
    def folders(cls) -> list[Path]:
        """Return the folders of ``CLAP_PATH`` and the standard ones."""
        given = [expanded(p) for p in os.environ.get("CLAP_PATH", "").split(":") if p]
        return [*given, expanded("~/.clap"), Path("/usr/lib/clap"), Path("/usr/local/lib/clap")]

    def binary(self, class_id: str = "") -> Path:
        """Return the library itself, or that inside a bundle of macOS."""
        inside = self.path / "Contents" / "MacOS" / self.path.stem
        return inside if os.path.isdir(self.path) else self.path

    def open(self, class_id: str = "") -> C.CDLL:
        """Return the library, opened and initialised if it is closed."""
        is_new = not self._libraries
        library = super().open()
        if is_new and not self._entry(library).init(str(self.path).encode()):
            self.close()
            raise SynthError(f"plugin '{self.path}' does not start; install it again")
        return library

    def close(self) -> None:
        """Let the library clean up, and unload it."""
        for library in self._libraries.values():
            self._entry(library).deinit()
        super().close()

    def classes(self) -> list[PluginClass]:
        """List the plugins of the library."""
        factory = self._factory()
        count = factory.get_plugin_count(C.byref(factory))
        pointers = [factory.get_plugin_descriptor(C.byref(factory), i) for i in range(count)]
        return [_class(pointer.contents) for pointer in pointers if pointer]

    def describe(self, class_id: str) -> PluginClass:
        """Describe a plugin, from an instance of it."""
        listed = next(c for c in self.classes() if c.id == class_id)
        with self.instance(listed, 44100) as instance:
            return instance.describe(listed)

    def instance(self, described: PluginClass, sample_rate: int) -> "ClapInstance":
        """Instantiate a plugin."""
        return ClapInstance(self._factory(), described, sample_rate)

    def save_preset(
        self, path: Path, described: PluginClass, name: str, values: NDArray[np.float64]
    ) -> None:
        """Write the plugin's state, if it has one, behind a line of JSON with the values.

        CLAP defines no preset file, so this one is pyrosynth's own.
        """
        with self.instance(described, 44100) as instance:
            instance.set(values)
            state = instance.state() if instance.has_state else b""
        numbers = {c.id: float(v) for c, v in zip(described.controls, values, strict=True)}
        head = json.dumps({"plugin": described.id, "name": name, "values": numbers}).encode()
        write_bytes(path, HEAD + head + b"\n" + state)

    def load_presets(self, path: Path, described: PluginClass) -> list[Program]:
        """Read a file that `save_preset` wrote, and what its state makes of the controls."""
        with reading(InputError, f"cannot read '{path}'", "give a CLAP state"):
            content = read_limited(path, LARGEST_FILE)
        head, _, state = content.removeprefix(HEAD).partition(b"\n")
        try:
            told: Any = json.loads(head) if content.startswith(HEAD) else None
            owner, name, numbers = str(told["plugin"]), str(told["name"]), told["values"]
            values = tuple(float(numbers.get(c.id, c.default)) for c in described.controls)
        except (
            ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError
        ) as error:  # fmt: skip
            raise InputError(f"'{path}' is no CLAP state that pyrosynth wrote") from error
        if owner != described.id:
            raise InputError(f"'{path}' is a preset of '{owner}', not of '{described.id}'")
        if not state:
            return [Program(name, values)]
        with self.instance(described, 44100) as instance:
            instance.load_state(state)
            return [Program(name, tuple(instance.values().tolist()))]

    def _entry(self, library: C.CDLL) -> abi.Entry:
        try:
            return abi.Entry.in_dll(library, "clap_entry")
        except ValueError as error:
            raise SynthError(f"'{self.path}' is no CLAP plugin: it has no clap_entry") from error

    def _factory(self) -> abi.Factory:
        address = self._entry(self.open()).get_factory(b"clap.plugin-factory")
        if not address:
            raise SynthError(f"'{self.path}' holds no CLAP plugins")
        return abi.Factory.from_address(address)


class ClapInstance(BlockInstance):
    """One CLAP plugin, active at one rate.

    Args:
        factory: Of its library.
        described: What the format tells of it; without controls, all of them are asked for.
        sample_rate: Rate in Hz.

    Raises:
        SynthError: The plugin gives no instance, or none that plays.
    """

    def __init__(self, factory: abi.Factory, described: PluginClass, sample_rate: int) -> None:
        """Create, initialise and activate it."""
        self.sample_rate = sample_rate
        self._ids = [int(control.id) for control in described.controls]
        self._pending: list[abi.Event] = []
        self._processing = self._wants_call = False
        self._host = host_table(lambda: self._processing, self._want_call)
        pointer = factory.create_plugin(
            C.byref(factory), C.byref(self._host), described.id.encode()
        )
        if not pointer:
            raise SynthError(f"CLAP plugin '{described.name}' gives no instance")
        self._pointer, self._plugin = pointer, pointer.contents
        if not self._plugin.init(pointer):
            self._plugin.destroy(pointer)
            raise SynthError(
                f"CLAP plugin '{described.name}' does not start; it may want a display or licence"
            )
        self._params = self._extension("clap.params", abi.Params)
        self._state = self._extension("clap.state", abi.State)
        self._speaks_midi, self._takes_notes = self._dialect()
        self._channels = self._main_channels()
        self._active = False
        # Kept as long as the instance: what a block is made of.
        self._buffers = {
            is_input: [np.zeros((n, BLOCK), np.float32) for n in counts]
            for is_input, counts in self._channels.items()
        }
        self._kept: list[Any] = []
        self._inputs, self._outputs = (self._bus(is_input) for is_input in (True, False))
        self._steady = 0

    def describe(self, listed: PluginClass) -> PluginClass:
        """Describe the plugin with its controls."""
        unusable = listed.unusable
        if not self._channels[False]:
            unusable = "has no audio output"
        elif not self._takes_notes:
            unusable = "is an effect: it takes no notes"
        controls = distinct_names(controls_of(self._params, self._pointer))
        return replace(
            listed,
            unusable=unusable,
            is_effect=bool(unusable),
            controls=tuple(control for control in controls if not control.role),
            dropped=tuple(control for control in controls if control.role),
        )

    def set(self, values: NDArray[np.float64]) -> None:
        """Set all controls."""
        self._pending = [
            abi.value_event(number, float(value))
            for number, value in zip(self._ids, values, strict=True)
        ]

    def process(self, size: int, notes: Sequence[tuple[int, bool, Note]]) -> NDArray[np.float32]:
        """Run one block."""
        plugin = self._plugin
        if not self._active:
            self._activate()
        events = self._pending + [self._note(*note) for note in notes]
        self._pending = []
        inputs, outputs = abi.input_events(events), abi.output_events()
        block = abi.Process(
            self._steady,
            size,
            None,
            *(self._inputs, self._outputs, len(self._inputs), len(self._outputs)),
            *(C.pointer(inputs), C.pointer(outputs)),
        )
        self._processing = True
        status = plugin.process(self._pointer, C.byref(block))
        self._processing = False
        self._steady += size
        if status == 0:
            raise SynthError("the plugin says that it cannot go on")
        self._serve()
        return self._buffers[False][0]

    def values(self) -> NDArray[np.float64]:
        """Read the controls back."""
        self._flush()
        value, read = C.c_double(), []
        for number in self._ids:
            if not self._parameters.get_value(self._pointer, number, C.byref(value)):
                raise SynthError(f"the plugin does not tell the value of its control {number}")
            read.append(value.value)
        return np.array(read)

    def text(self, control: int, value: float) -> str:
        """Return a value of a control as the plugin writes it."""
        return text_of(self._parameters, self._pointer, self._ids[control], value)

    @property
    def has_state(self) -> bool:
        """Whether the plugin keeps a state."""
        return self._state is not None

    def state(self) -> bytes:
        """Return the plugin's state."""
        self._flush()
        if self._state is None:
            return super().state()
        parts: list[bytes] = []

        def write(_: int, data: int, size: int) -> int:
            parts.append(C.string_at(data, size))
            return size

        stream = abi.Stream(None, abi.Transfer(write))
        if not self._state.save(self._pointer, C.byref(stream)):
            raise SynthError("the plugin does not save its state")
        return b"".join(parts)

    def load_state(self, state: bytes) -> None:
        """Take up a state."""
        if self._state is None:
            return super().load_state(state)
        at = 0

        def read(_: int, data: int, size: int) -> int:
            nonlocal at
            part = state[at : at + size]
            C.memmove(data, part, len(part))
            at += len(part)
            return len(part)

        stream = abi.Stream(None, abi.Transfer(read))
        if not self._state.load(self._pointer, C.byref(stream)):
            raise SynthError("the plugin does not take this state; it may be of another version")

    def close(self) -> None:
        """Let the plugin free the instance."""
        if self._active:
            self._plugin.stop_processing(self._pointer)
            self._plugin.deactivate(self._pointer)
        self._plugin.destroy(self._pointer)

    @property
    def _parameters(self) -> abi.Params:
        if self._params is None:
            raise SynthError("the plugin has no parameters")
        return self._params

    def _activate(self) -> None:
        if not self._plugin.activate(self._pointer, self.sample_rate, 1, BLOCK):
            raise SynthError(f"the plugin refuses to play at {self.sample_rate} Hz; try 44100")
        self._active = True
        if not self._plugin.start_processing(self._pointer):
            raise SynthError("the plugin does not start to play")

    def _note(self, at: int, down: bool, note: Note) -> abi.Event:
        velocity = note.velocity if down else 64
        if self._speaks_midi:
            return abi.midi_event(at, (0x90 if down else 0x80, note.pitch, velocity))
        return abi.note_event(at, down, note.pitch, velocity / 127)

    def _flush(self) -> None:
        """Have controls that are set taken up without running a block."""
        if self._pending:
            inputs, outputs = abi.input_events(self._pending), abi.output_events()
            self._parameters.flush(self._pointer, C.byref(inputs), C.byref(outputs))
            self._pending = []
        self._serve()

    def _want_call(self) -> None:
        self._wants_call = True

    def _serve(self) -> None:
        if self._wants_call:
            self._wants_call = False
            self._plugin.on_main_thread(self._pointer)

    def _extension(self, name: str, kind: type[Any]) -> Any:
        address = self._plugin.get_extension(self._pointer, name.encode())
        return kind.from_address(address) if address else None

    def _dialect(self) -> tuple[bool, bool]:
        """Return whether notes go in as raw MIDI, and whether they go in at all."""
        ports = self._extension("clap.note-ports", abi.Ports)
        if ports is None or not ports.count(self._pointer, True):
            return False, False
        info = abi.NotePortInfo()
        ports.get(self._pointer, 0, True, C.byref(info))
        speaks_clap = bool(info.supported_dialects & CLAP_NOTES)
        prefers_midi = info.preferred_dialect == MIDI_NOTES
        speaks_midi = bool(info.supported_dialects & MIDI_NOTES)
        return speaks_midi and (prefers_midi or not speaks_clap), speaks_midi or speaks_clap

    def _main_channels(self) -> dict[bool, list[int]]:
        """Return the number of channels of each input (True) and output (False) port."""
        ports, channels = self._extension("clap.audio-ports", abi.Ports), {}
        for is_input in (True, False):
            counts = []
            for index in range(ports.count(self._pointer, is_input) if ports else 0):
                info = abi.AudioPortInfo()
                ports.get(self._pointer, index, is_input, C.byref(info))
                counts.append(info.channel_count)
            channels[is_input] = counts
        return channels

    def _bus(self, is_input: bool) -> Any:
        buffers = self._buffers[is_input]
        array = (abi.AudioBuffer * len(buffers))()
        for bus, buffer in zip(array, buffers, strict=True):
            channels = (C.c_void_p * len(buffer))(*(row.ctypes.data for row in buffer))
            bus.data32, bus.channel_count = C.addressof(channels), len(buffer)
            self._kept.append(channels)
        return array


def _class(descriptor: abi.Descriptor) -> PluginClass:
    id_, name, maker, version = (
        (text or b"").decode("utf-8", "replace")
        for text in (descriptor.id, descriptor.name, descriptor.vendor, descriptor.version)
    )
    features, index = set(), 0
    while descriptor.features and (feature := descriptor.features[index]):
        features.add(feature.decode("utf-8", "replace"))
        index += 1
    is_effect = "instrument" not in features
    unusable = "is an effect, not an instrument" if is_effect else ""
    return PluginClass(id_, name, maker, version, unusable, is_effect)
