"""Host of LV2 plugins: what their Turtle files say, and instances that play.

Structures are those of the public headers of LV2 1.18 (``lv2core``, ``atom``, ``options``,
``urid``, ``worker``, ``log``).
"""

import ctypes as C
import functools
import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyrosynth.audio.note import Note
from pyrosynth.errors import InputError, SynthError
from pyrosynth.synths.hosts import lv2_bundles, lv2_files, lv2_presets
from pyrosynth.synths.hosts.blocks import BlockInstance
from pyrosynth.synths.hosts.plugin import BLOCK, PluginClass, PluginFile, Program

URI, EXT = "http://lv2plug.in/ns/lv2core#", "http://lv2plug.in/ns/ext/"
WORKER = EXT + "worker#"
SEQUENCE_BYTES = 8192  # of events per block and port
WHOLE_BLOCKS = (EXT + "buf-size#fixedBlockLength", EXT + "buf-size#powerOf2BlockLength")
READY = (  # features that need nothing from the host
    URI + "hardRTCapable",
    URI + "inPlaceBroken",
    URI + "isLive",
    EXT + "buf-size#boundedBlockLength",
    *WHOLE_BLOCKS,
    EXT + "state#threadSafeRestore",
)
SERVED = (
    EXT + "urid#map",
    EXT + "urid#unmap",
    EXT + "options#options",
    WORKER + "schedule",
    EXT + "log#log",
)


class Descriptor(C.Structure):
    """LV2_Descriptor."""

    _fields_ = [
        ("uri", C.c_char_p),
        (
            "instantiate",
            C.CFUNCTYPE(C.c_void_p, C.c_void_p, C.c_double, C.c_char_p, C.c_void_p),
        ),
        ("connect_port", C.CFUNCTYPE(None, C.c_void_p, C.c_uint32, C.c_void_p)),
        ("activate", C.CFUNCTYPE(None, C.c_void_p)),
        ("run", C.CFUNCTYPE(None, C.c_void_p, C.c_uint32)),
        ("deactivate", C.CFUNCTYPE(None, C.c_void_p)),
        ("cleanup", C.CFUNCTYPE(None, C.c_void_p)),
        ("extension_data", C.CFUNCTYPE(C.c_void_p, C.c_char_p)),
    ]


class _Feature(C.Structure):
    _fields_ = [("uri", C.c_char_p), ("data", C.c_void_p)]


class _Option(C.Structure):
    _fields_ = [
        ("context", C.c_int),
        ("subject", C.c_uint32),
        ("key", C.c_uint32),
        ("size", C.c_uint32),
        ("type", C.c_uint32),
        ("value", C.c_void_p),
    ]


_Respond = C.CFUNCTYPE(C.c_int, C.c_void_p, C.c_uint32, C.c_void_p)


class _Worker(C.Structure):
    _fields_ = [
        (
            "work",
            C.CFUNCTYPE(C.c_int, C.c_void_p, _Respond, C.c_void_p, C.c_uint32, C.c_void_p),
        ),
        ("work_response", C.CFUNCTYPE(C.c_int, C.c_void_p, C.c_uint32, C.c_void_p)),
        ("end_run", C.CFUNCTYPE(C.c_int, C.c_void_p)),
    ]


class _Urids:
    """Numbers for URIs, the same in the whole process."""

    def __init__(self) -> None:
        self.uris: list[bytes] = []

    def map(self, uri: bytes) -> int:
        if uri not in self.uris:
            self.uris.append(uri)
        return self.uris.index(uri) + 1

    def unmap(self, urid: int) -> bytes | None:
        return self.uris[urid - 1] if 0 < urid <= len(self.uris) else None


class Lv2File(PluginFile):
    """A bundle of LV2 plugins: a folder with ``manifest.ttl``."""

    format = "LV2"
    preset_suffix = ".lv2"

    @classmethod
    def folders(cls) -> list[Path]:
        """Return the folders of ``LV2_PATH``, or the standard ones."""
        return lv2_bundles.folders()

    @classmethod
    def environment(cls) -> dict[str, str]:
        """Have presets found in the user's folder, which is not that of the child process."""
        return {"LV2_PATH": os.pathsep.join(map(str, lv2_bundles.folders()))}

    def binary(self, class_id: str = "") -> Path:
        """Return the library of a plugin, or the first one of the bundle."""
        return self.bundle.binary(class_id)

    def files(self, class_id: str = "") -> list[Path]:
        """Return the library of a plugin and the files that describe it."""
        return [self.binary(class_id), *self.bundle.sources(class_id)]

    def classes(self) -> list[PluginClass]:
        """List the plugins of the bundle, from its files alone; damaged ones are not usable."""
        return [self._listed(uri) for uri in self.bundle.uris]

    def _listed(self, uri: str) -> PluginClass:
        try:
            return self.bundle.effect(uri) or self.bundle.plugin(uri, (*READY, *SERVED))
        except SynthError as error:
            name = uri.rstrip("/").rpartition("/")[2]
            return PluginClass(uri, name, unusable=f"cannot be read: {error}")

    def describe(self, class_id: str) -> PluginClass:
        """Describe a plugin, and make sure that it can be instantiated."""
        described = self.bundle.plugin(class_id, (*READY, *SERVED), controls=True)
        if not described.unusable:
            self.instance(described, 44100).close()
        return described

    def prepare(self, class_id: str) -> None:
        """Read the files that describe a plugin."""
        self.bundle.ports(class_id)

    def instance(self, described: PluginClass, sample_rate: int) -> "Lv2Instance":
        """Instantiate a plugin."""
        library = self.open(described.id)
        try:
            entry = library.lv2_descriptor
        except AttributeError as error:
            raise SynthError(
                f"'{self.binary(described.id)}' is no LV2 plugin: it has no lv2_descriptor"
            ) from error
        entry.restype, entry.argtypes = C.POINTER(Descriptor), [C.c_uint32]
        for index in itertools.count():
            if not (pointer := entry(index)):
                raise SynthError(f"'{self.binary(described.id)}' holds no plugin {described.id}")
            if pointer.contents.uri == described.id.encode():
                break
        return Lv2Instance(pointer.contents, self.bundle, sample_rate)

    def save_preset(
        self, path: Path, described: PluginClass, name: str, values: NDArray[np.float64]
    ) -> None:
        """Write a bundle with one preset; it is loaded once it lies in a folder of `folders`."""
        lv2_presets.write_preset(path, self.bundle.ports(described.id), described.id, name, values)

    def load_presets(self, path: Path, described: PluginClass) -> Sequence[Program | InputError]:
        """Read the presets for the plugin in a bundle."""
        return lv2_presets.load_programs(path, self.bundle.ports(described.id), described.id)

    @functools.cached_property
    def bundle(self) -> lv2_files.Bundle:
        """What the files of the bundle say."""
        return lv2_files.Bundle(self.path)


class Lv2Instance(BlockInstance):
    """One instantiated plugin with its ports connected to buffers.

    Args:
        descriptor: Its ``LV2_Descriptor``.
        bundle: What its files say.
        sample_rate: Rate in Hz.

    Raises:
        SynthError: The plugin gives no instance.
    """

    def __init__(self, descriptor: Descriptor, bundle: lv2_files.Bundle, sample_rate: int) -> None:
        """Instantiate it and connect its ports."""
        self.sample_rate = sample_rate
        self._descriptor, self._bundle = descriptor, bundle
        self._uri: str = descriptor.uri.decode()
        self._ports = ports = bundle.ports(self._uri)
        self._whole_blocks = bool(bundle.required_features(self._uri) & set(WHOLE_BLOCKS))
        self._controls = [port for port in ports if port.control]
        self._urids = _Urids()
        self._work: list[bytes] = []
        self._values = np.zeros(len(ports), np.float32)
        self._values[[port.index for port in ports]] = [port.default for port in ports]
        self._audio = np.zeros((len(ports), BLOCK), np.float32)
        self._outputs = [port.index for port in ports if port.kind == "audio" and not port.input]
        self._handle = descriptor.instantiate(
            C.addressof(descriptor), sample_rate, f"{bundle.path}/".encode(), self._features()
        )
        if not self._handle:
            raise SynthError(
                f"plugin {self._uri} gives no instance at {sample_rate} Hz; it may need a file or "
                "a library that is not there, or another rate"
            )
        self._sequences: dict[int, C.Array[C.c_char]] = {}
        for port in ports:
            if port.kind == "control":
                memory = self._values[port.index :].ctypes.data
            elif port.kind == "atom":
                room = C.create_string_buffer(max(port.bytes, SEQUENCE_BYTES))
                self._sequences[port.index] = room
                memory = C.addressof(room)
            else:
                memory = self._audio[port.index].ctypes.data
            descriptor.connect_port(self._handle, port.index, memory)
        self._worker = None
        if descriptor.extension_data:
            address = descriptor.extension_data((WORKER + "interface").encode())
            self._worker = _Worker.from_address(address) if address else None
        self._active = False

    def set(self, values: NDArray[np.float64]) -> None:
        """Set all controls."""
        for port, value in zip(self._controls, values, strict=True):
            self._values[port.index] = port.native(float(value), self.sample_rate)

    def values(self) -> NDArray[np.float64]:
        """Read the controls back."""
        return np.array(
            [p.value(float(self._values[p.index]), self.sample_rate) for p in self._controls]
        )

    def process(
        self, size: int, notes: Sequence[tuple[int, bool, Note]]
    ) -> list[NDArray[np.float32]]:
        """Run one block, and the work that the plugin wants done outside it."""
        if not self._active:
            if self._descriptor.activate:
                self._descriptor.activate(self._handle)
            self._active = True
        for port in self._ports:
            if port.kind == "atom":
                self._fill(port, notes if port.takes_notes else ())
        self._descriptor.run(self._handle, BLOCK if self._whole_blocks else size)
        if self._worker is not None:
            self._run_work(self._worker)
        return [self._audio[index] for index in self._outputs]

    def programs(self) -> list[Program]:
        """Return the presets that lie in bundles on this machine."""
        return lv2_presets.programs(self._bundle, self._uri)

    def close(self) -> None:
        """Let the plugin free the instance."""
        if self._active and self._descriptor.deactivate:
            self._descriptor.deactivate(self._handle)
        if self._descriptor.cleanup:
            self._descriptor.cleanup(self._handle)

    def _fill(self, port: lv2_files.Port, notes: Sequence[tuple[int, bool, Note]]) -> None:
        """Write a sequence of MIDI events, or the room that an output may fill."""
        room = self._sequences[port.index]
        if not port.input:
            head = [len(room) - 8, self._map(EXT + "atom#Chunk"), 0, 0]
            C.memmove(room, np.array(head, np.uint32).tobytes(), 16)
            return
        midi = self._map(EXT + "midi#MidiEvent") if notes else 0
        body = np.zeros(2, np.uint32).tobytes()
        for at, down, note in notes:
            status, velocity = (0x90, note.velocity) if down else (0x80, 64)
            body += np.int64(at).tobytes() + np.array([3, midi], np.uint32).tobytes()
            body += bytes([status, note.pitch, velocity, 0, 0, 0, 0, 0])
        head = [len(body), self._map(EXT + "atom#Sequence")]
        content = np.array(head, np.uint32).tobytes() + body
        C.memmove(room, content, len(content))

    def _run_work(self, worker: _Worker) -> None:
        answers: list[bytes] = []

        def respond(_: int, size: int, data: int) -> int:
            answers.append(C.string_at(data, size) if size else b"")
            return 0

        callback = _Respond(respond)
        while self._work:
            content = self._work.pop(0)
            worker.work(self._handle, callback, None, len(content), content)
        if worker.work_response:
            for answer in answers:
                worker.work_response(self._handle, len(answer), answer)
        if worker.end_run:
            worker.end_run(self._handle)

    def _map(self, uri: str) -> int:
        return self._urids.map(uri.encode())

    def _features(self) -> int:
        """Build the null-ended array of pointers to features; all of it is kept alive."""

        def schedule(_: int, size: int, data: int) -> int:
            self._work.append(C.string_at(data, size) if size else b"")
            return 0

        kept: list[Any] = []
        self._kept = kept
        texts: dict[int, C.Array[C.c_char]] = {}

        def unmap(_: int, urid: int) -> int:
            uri = self._urids.unmap(urid)
            if uri is None:
                return 0
            return C.addressof(texts.setdefault(urid, C.create_string_buffer(uri)))

        def pair(*callbacks: Any) -> int:
            table = (C.c_void_p * (1 + len(callbacks)))(
                None, *(C.cast(callback, C.c_void_p).value for callback in callbacks)
            )
            kept.extend([table, *callbacks])
            return C.addressof(table)

        number = C.CFUNCTYPE(C.c_uint32, C.c_void_p, C.c_char_p)
        text = C.CFUNCTYPE(C.c_void_p, C.c_void_p, C.c_uint32)
        printed = C.CFUNCTYPE(C.c_int, C.c_void_p, C.c_uint32, C.c_char_p)
        quiet = [printed(lambda *_: 0), printed(lambda *_: 0)]
        data = {
            EXT + "urid#map": pair(number(lambda _, uri: self._urids.map(uri))),
            EXT + "urid#unmap": pair(text(unmap)),
            EXT + "options#options": self._options(kept),
            WORKER + "schedule": pair(_Respond(schedule)),
            EXT + "log#log": pair(*quiet),
            **dict.fromkeys(READY, 0),
        }
        structures = [_Feature(uri.encode(), address or None) for uri, address in data.items()]
        pointers = (C.c_void_p * (len(structures) + 1))(*map(C.addressof, structures), None)
        kept.extend([structures, pointers])
        return C.addressof(pointers)

    def _options(self, kept: list[Any]) -> int:
        """Build the zero-ended array of options: block lengths and the sample rate."""
        sizes = ("minBlockLength", "maxBlockLength", "nominalBlockLength")
        numbers: dict[str, Any] = {f"{EXT}buf-size#{name}": C.c_int32(BLOCK) for name in sizes}
        numbers[f"{EXT}buf-size#minBlockLength"] = C.c_int32(1)
        numbers[f"{EXT}buf-size#sequenceSize"] = C.c_int32(SEQUENCE_BYTES)
        numbers[f"{EXT}parameters#sampleRate"] = C.c_float(self.sample_rate)
        options = (_Option * (len(numbers) + 1))()
        for option, (uri, value) in zip(options, numbers.items(), strict=False):
            kind = "Float" if isinstance(value, C.c_float) else "Int"
            option.key, option.size = self._map(uri), 4
            option.type, option.value = self._map(f"{EXT}atom#{kind}"), C.addressof(value)
        kept.extend([numbers, options])
        return C.addressof(options)
