"""The preset file of VST3: a class id, and the states of a plugin's two halves.

A header of 48 bytes (``VST3``, version, class id in hexadecimal, place of the list), the chunks,
and a list of their names, places and sizes; all numbers are little-endian. See "Preset format" in
the VST3 SDK's documentation.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

from pyrosynth.errors import InputError, reading
from pyrosynth.files import read_limited, write_bytes

HEADER = struct.Struct("<4si32sq")
LIST = struct.Struct("<4si")
ENTRY = struct.Struct("<4sqq")
LARGEST_FILE = 1 << 28  # bytes
MOST_CHUNKS = 128


@dataclass(frozen=True)
class VstPreset:
    """What a ``.vstpreset`` file holds.

    Attributes:
        class_id: Which class of plugin it is for, 32 hexadecimal digits.
        component: State of the half that plays.
        controller: State of the half that shows the controls; often empty.
    """

    class_id: str
    component: bytes
    controller: bytes = b""

    def save(self, path: str | Path) -> None:
        """Write the file, atomically; an existing one is replaced."""
        chunks = {b"Comp": self.component, b"Cont": self.controller}
        chunks = {name: chunk for name, chunk in chunks.items() if chunk}
        place, entries = HEADER.size, b""
        for name, chunk in chunks.items():
            entries += ENTRY.pack(name, place, len(chunk))
            place += len(chunk)
        header = HEADER.pack(b"VST3", 1, self.class_id.upper().encode("ascii"), place)
        listed = LIST.pack(b"List", len(chunks)) + entries
        write_bytes(path, b"".join([header, *chunks.values(), listed]))

    @classmethod
    def load(cls, path: str | Path) -> "VstPreset":
        """Read a file.

        Raises:
            InputError: It is missing, no ``.vstpreset`` file, or cut off.
        """
        with reading(InputError, f"cannot read a preset from '{path}'", "give a .vstpreset file"):
            content = read_limited(path, LARGEST_FILE)
            if content[:4] != b"VST3":
                raise ValueError("it does not begin with VST3")
            _, _, class_id, place = HEADER.unpack_from(content)
            listed, n = LIST.unpack_from(content, _place(place, content))
            if listed != b"List" or not 0 <= n <= MOST_CHUNKS:
                raise ValueError("there is no list of its chunks")
            chunks = {}
            for i in range(n):
                name, at, size = ENTRY.unpack_from(content, place + LIST.size + i * ENTRY.size)
                if size < 0 or _place(at, content) + size > len(content):
                    raise ValueError(f"the chunk {name!r} lies outside the file")
                chunks[name] = content[at : at + size]
            if b"Comp" not in chunks:
                raise ValueError("it holds no state of the plugin")
            bytes.fromhex(class_id.decode("ascii"))
        return cls(class_id.decode("ascii").upper(), chunks[b"Comp"], chunks.get(b"Cont", b""))


def _place(place: int, content: bytes) -> int:
    if not 0 <= place <= len(content):
        raise ValueError("it is cut off")
    return place
