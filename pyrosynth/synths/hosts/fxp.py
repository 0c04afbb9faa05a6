"""The preset files of VST2: one preset (``.fxp``) or a bank of them (``.fxb``).

All numbers are big-endian. A preset is a header (``CcnK``, size, kind, version, id and version of
the plugin, number of its parameters, a name of 28 bytes) and either the parameters, normalised to
[0, 1] (kind ``FxCk``), or a chunk of bytes that only the plugin understands (``FPCh``). A bank
holds such presets one after the other (``FxBk``), or one chunk (``FBCh``). See ``vstfxstore.h`` of
the VST 2.4 SDK.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

from pyrosynth.errors import InputError, counted, one_line, reading
from pyrosynth.files import read_limited, write_bytes

HEADER = struct.Struct(">4si4si4sii")  # the last is the number of parameters or of presets
NAME_BYTES = 28
BANK_REST = 128  # bytes behind the header of a bank: the current preset, and zeros
SIZE = struct.Struct(">i")
MAGIC = b"CcnK"
PRESETS = {b"FxCk": False, b"FPCh": True}  # whether the rest is a chunk
BANKS = {b"FxBk": False, b"FBCh": True}
LARGEST_FILE = 1 << 28  # bytes
MOST = 1 << 16  # parameters, or presets of a bank


@dataclass(frozen=True)
class FxPreset:
    """One preset of a VST2 plugin.

    Attributes:
        name: What its maker called it.
        values: All parameters of the plugin, normalised to [0, 1]; none if there is a chunk.
        chunk: What only the plugin understands; empty if there are parameters.
    """

    name: str
    values: tuple[float, ...] = ()
    chunk: bytes = b""


@dataclass(frozen=True)
class FxFile:
    """What an ``.fxp`` or ``.fxb`` file holds.

    Attributes:
        plugin_id: Four bytes by which the plugin is known.
        plugin_version: As the plugin counts.
        presets: One in an ``.fxp`` file; those of a bank, none if it is one chunk.
        is_bank: Whether it is a bank.
        chunk: Of a bank that is one chunk; else empty.
    """

    plugin_id: bytes
    plugin_version: int
    presets: tuple[FxPreset, ...] = ()
    is_bank: bool = False
    chunk: bytes = b""

    @property
    def has_chunk(self) -> bool:
        """Whether any part is one that only the plugin understands."""
        return bool(self.chunk) or any(preset.chunk for preset in self.presets)

    def to_bytes(self) -> bytes:
        """Return the content of the file."""
        presets = b"".join(self._preset_bytes(preset) for preset in self.presets)
        if not self.is_bank:
            return presets
        rest = SIZE.pack(len(self.chunk)) + self.chunk if self.chunk else presets
        n = len(self.presets) or 1
        return self._framed(b"FBCh" if self.chunk else b"FxBk", n, bytes(BANK_REST) + rest)

    def save(self, path: str | Path) -> None:
        """Write the file, atomically; an existing one is replaced."""
        write_bytes(path, self.to_bytes())

    @classmethod
    def load(cls, path: str | Path) -> "FxFile":
        """Read a file.

        Raises:
            InputError: It is missing, no preset file of VST2, or cut off.
        """
        with reading(InputError, f"cannot read presets from '{path}'", "give .fxp or .fxb files"):
            return cls.from_bytes(read_limited(path, LARGEST_FILE))

    @classmethod
    def from_bytes(cls, content: bytes) -> "FxFile":
        """Read the content of a file.

        Raises:
            ValueError: It is none, or cut off.
        """
        kind, plugin_id, version, n, at = _header(content, 0)
        if kind in PRESETS:
            preset, _ = _preset(content, 0)
            return cls(plugin_id, version, (preset,))
        at += BANK_REST
        if BANKS[kind]:
            chunk, _ = _chunk(content, at)
            return cls(plugin_id, version, is_bank=True, chunk=chunk)
        presets = []
        for _ in range(n):
            preset, at = _preset(content, at)
            presets.append(preset)
        return cls(plugin_id, version, tuple(presets), is_bank=True)

    def _preset_bytes(self, preset: FxPreset) -> bytes:
        name = preset.name.encode("latin-1", "replace")[: NAME_BYTES - 1].ljust(NAME_BYTES, b"\0")
        if preset.chunk:
            rest = name + SIZE.pack(len(preset.chunk)) + preset.chunk
            return self._framed(b"FPCh", len(preset.values), rest)
        values = struct.pack(f">{len(preset.values)}f", *preset.values)
        return self._framed(b"FxCk", len(preset.values), name + values)

    def _framed(self, kind: bytes, n: int, rest: bytes) -> bytes:
        size = HEADER.size - 8 + len(rest)  # what follows after the number itself
        return HEADER.pack(MAGIC, size, kind, 1, self.plugin_id, self.plugin_version, n) + rest


def _header(content: bytes, at: int) -> tuple[bytes, bytes, int, int, int]:
    """Return kind, id and version of the plugin, number of parts, and where the rest begins."""
    if content[at : at + 4] != MAGIC:
        raise ValueError("it is cut off" if at else "it does not begin with CcnK")
    if len(content) < at + HEADER.size:
        raise ValueError("it is cut off")
    # Many writers leave the size at 0.
    _, _, kind, _, plugin_id, version, n = HEADER.unpack_from(content, at)
    if kind not in PRESETS and (at or kind not in BANKS):
        raise ValueError(f"it is of the unknown kind {kind!r}")
    if not 0 <= n <= MOST:
        raise ValueError(f"it says that it holds {counted(n, 'part')}")
    return kind, plugin_id, version, n, at + HEADER.size


def _preset(content: bytes, at: int) -> tuple[FxPreset, int]:
    """Read the preset at a place; return it and where it ends."""
    kind, _, _, n, at = _header(content, at)
    if kind not in PRESETS:
        raise ValueError("a bank lies in a bank")
    name = one_line(content[at : at + NAME_BYTES].partition(b"\0")[0].decode("latin-1"))
    at += NAME_BYTES
    if PRESETS[kind]:
        chunk, at = _chunk(content, at)
        return FxPreset(name, chunk=chunk), at
    if len(content) < at + 4 * n:
        raise ValueError(f"it is cut off: there are fewer than {counted(n, 'parameter')}")
    return FxPreset(name, struct.unpack_from(f">{n}f", content, at)), at + 4 * n


def _chunk(content: bytes, at: int) -> tuple[bytes, int]:
    if len(content) < at + SIZE.size:
        raise ValueError("it is cut off")
    (size,) = SIZE.unpack_from(content, at)
    at += SIZE.size
    if size <= 0 or len(content) < at + size:
        raise ValueError(
            f"it is cut off: {len(content) - at} of {counted(size, 'byte')} of a chunk"
        )
    return content[at : at + size], at + size
