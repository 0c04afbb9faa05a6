"""What a host lends to a VST3 plugin: streams, messages, and what is played in a block."""

import ctypes as C
from collections.abc import Sequence
from typing import Any

from pyrosynth.synths.hosts.vst3_com import (
    FALSE,
    NO_INTERFACE,
    NOT_IMPLEMENTED,
    OK,
    HostObject,
    String128,
    interface_id,
    write,
)

LARGEST_STREAM = 1 << 28  # bytes


class HostApplication(HostObject):
    """IHostApplication: says who the host is, and makes the messages that plugins send.

    Without messages the two halves of a JUCE plugin never meet.
    """

    interface = "IHostApplication"

    def getName(self, name: int) -> int:  # noqa: N802
        """Write the host's name."""
        write(name, String128, String128(*"pyrosynth".encode("utf-16-le")[::2]))
        return OK

    def createInstance(self, cid: int, _iid: int, made: int) -> int:  # noqa: N802
        """Make a message or a list of attributes."""
        kinds = {interface_id(kind.interface): kind for kind in (_Message, _Attributes)}
        kind = kinds.get(C.string_at(cid, 16))
        write(made, C.c_void_p, kind().lend() if kind else None)
        return OK if kind else NO_INTERFACE


class ComponentHandler(HostObject):
    """IComponentHandler: takes note of nothing that the plugin's own controller says."""

    interface = "IComponentHandler"

    def beginEdit(self, _id: int) -> int:  # noqa: N802
        """Accept."""
        return OK

    def performEdit(self, _id: int, _value: float) -> int:  # noqa: N802
        """Accept."""
        return OK

    def endEdit(self, _id: int) -> int:  # noqa: N802
        """Accept."""
        return OK

    def restartComponent(self, _flags: int) -> int:  # noqa: N802
        """Accept."""
        return OK


class _Attributes(HostObject):
    """IAttributeList: a dictionary."""

    interface = "IAttributeList"

    def __init__(self) -> None:
        super().__init__()
        self._values: dict[bytes, Any] = {}

    def setInt(self, key: bytes, value: int) -> int:  # noqa: N802
        self._values[key] = value
        return OK

    def getInt(self, key: bytes, value: int) -> int:  # noqa: N802
        return self._get(key, int, value, C.c_int64)

    def setFloat(self, key: bytes, value: float) -> int:  # noqa: N802
        self._values[key] = value
        return OK

    def getFloat(self, key: bytes, value: int) -> int:  # noqa: N802
        return self._get(key, float, value, C.c_double)

    def setString(self, key: bytes, string: int) -> int:  # noqa: N802
        n = 0
        while C.string_at(string + 2 * n, 2) != b"\0\0":
            n += 1
        self._values[key] = C.string_at(string, 2 * n + 2)
        return OK

    def getString(self, key: bytes, string: int, size: int) -> int:  # noqa: N802
        kept = self._values.get(key)
        if not isinstance(kept, bytes) or size < 2:
            return FALSE
        n = min(len(kept) - 2, size // 2 * 2 - 2)
        C.memmove(string, kept[:n] + b"\0\0", n + 2)
        return OK

    def setBinary(self, key: bytes, data: int, size: int) -> int:  # noqa: N802
        self._values[key] = C.create_string_buffer(C.string_at(data, size), size)
        return OK

    def getBinary(self, key: bytes, data: int, size: int) -> int:  # noqa: N802
        kept = self._values.get(key)
        if not isinstance(kept, C.Array):
            return FALSE
        write(data, C.c_void_p, C.addressof(kept))
        write(size, C.c_uint32, len(kept))
        return OK

    def _get(self, key: bytes, wanted: type, place: int, kind: Any) -> int:
        if not isinstance(self._values.get(key), wanted):
            return FALSE
        write(place, kind, self._values[key])
        return OK


class _Message(HostObject):
    """IMessage: a name and attributes."""

    interface = "IMessage"

    def __init__(self) -> None:
        super().__init__()
        self._name = C.create_string_buffer(1)
        self._attributes = _Attributes()

    def getMessageID(self) -> int:  # noqa: N802
        return C.addressof(self._name)

    def setMessageID(self, name: bytes | None) -> None:  # noqa: N802
        self._name = C.create_string_buffer(name or b"")

    def getAttributes(self) -> int:  # noqa: N802
        return self._attributes.pointer


class Stream(HostObject):
    """IBStream: bytes in memory.

    _Attributes:
        data: The bytes.
    """

    interface = "IBStream"

    def __init__(self, data: bytes = b"") -> None:
        """Begin at the first byte."""
        super().__init__()
        self.data, self._at = bytearray(data), 0

    def read(self, buffer: int, n: int, n_read: int) -> int:
        """Copy bytes to the plugin."""
        part = bytes(self.data[self._at : self._at + max(n, 0)])
        C.memmove(buffer, part, len(part))
        self._at += len(part)
        write(n_read, C.c_int32, len(part))
        return OK

    def write(self, buffer: int, n: int, n_written: int) -> int:
        """Copy bytes from the plugin."""
        if n < 0 or self._at + n > LARGEST_STREAM:
            return FALSE
        self.data.extend(bytes(max(0, self._at - len(self.data))))
        self.data[self._at : self._at + n] = C.string_at(buffer, n)
        self._at += n
        write(n_written, C.c_int32, n)
        return OK

    def seek(self, position: int, mode: int, result: int) -> int:
        """Move from the beginning (0), from here (1) or from the end (2)."""
        self._at = max(0, position + (0, self._at, len(self.data))[mode])
        write(result, C.c_int64, self._at)
        return OK

    def tell(self, position: int) -> int:
        """Write where it is."""
        write(position, C.c_int64, self._at)
        return OK


class _ParamQueue(HostObject):
    """IParamValueQueue: one value of one parameter, at the first sample of a block."""

    interface = "IParamValueQueue"

    def __init__(self, param_id: int) -> None:
        super().__init__()
        self.param_id, self.value = param_id, 0.0

    def getParameterId(self) -> int:  # noqa: N802
        return self.param_id

    def getPointCount(self) -> int:  # noqa: N802
        return 1

    def getPoint(self, index: int, offset: int, value: int) -> int:  # noqa: N802
        if index:
            return FALSE
        write(offset, C.c_int32, 0)
        write(value, C.c_double, self.value)
        return OK

    def addPoint(self, _offset: int, _value: float, index: int) -> int:  # noqa: N802
        write(index, C.c_int32, 0)
        return OK


class ParamChanges(HostObject):
    """IParameterChanges: values to set, or a place for what the plugin says.

    _Attributes:
        due: Whether the plugin is told of the values in the next block.
    """

    interface = "IParameterChanges"

    def __init__(self, param_ids: Sequence[int] = ()) -> None:
        """Make a queue for each parameter."""
        super().__init__()
        self._queues = [_ParamQueue(param_id) for param_id in param_ids]
        self._ignored = _ParamQueue(0)
        self.due = False

    def set(self, values: Sequence[float]) -> None:
        """Have the values told in the next block."""
        for queue, value in zip(self._queues, values, strict=True):
            queue.value = value
        self.due = True

    def getParameterCount(self) -> int:  # noqa: N802
        """Return how many values are due."""
        return len(self._queues) if self.due else 0

    def getParameterData(self, index: int) -> int | None:  # noqa: N802
        """Return the queue of a parameter."""
        fits = self.due and 0 <= index < len(self._queues)
        return self._queues[index].pointer if fits else None

    def addParameterData(self, _id: int, index: int) -> int:  # noqa: N802
        """Return a queue for what the plugin says."""
        write(index, C.c_int32, 0)
        return self._ignored.pointer


class Events(HostObject):
    """IEventList: the notes that begin and end in a block.

    _Attributes:
        due: Those of the next block.
    """

    interface = "IEventList"

    def __init__(self) -> None:
        """Begin without any."""
        super().__init__()
        self.due: list[Any] = []

    def getEventCount(self) -> int:  # noqa: N802
        """Return how many there are."""
        return len(self.due)

    def getEvent(self, index: int, event: int) -> int:  # noqa: N802
        """Write one of them."""
        if not 0 <= index < len(self.due):
            return FALSE
        due = self.due[index]
        C.memmove(event, C.byref(due), C.sizeof(due))
        return OK

    def addEvent(self, _event: int) -> int:  # noqa: N802
        """Take nothing."""
        return NOT_IMPLEMENTED
