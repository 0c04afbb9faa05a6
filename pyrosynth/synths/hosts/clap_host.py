"""What CLAP plugins may ask of this host."""

import ctypes as C
from collections.abc import Callable
from typing import Any

from pyrosynth._version import __version__
from pyrosynth.synths.hosts import clap_abi as abi

CLAP_NOTES, MIDI_NOTES = 1, 2  # dialects of notes
_TABLES: list[Any] = []


def host_table(processing: Callable[[], bool], want_call: Callable[[], None]) -> abi.Host:
    """Build what a plugin may ask of its host.

    Args:
        processing: Tells whether a block is being run.
        want_call: Called when the plugin asks for a call from outside of blocks.

    Returns:
        The structure, which stays in memory until the process ends, as plugins may keep it.
    """
    yes_no, nothing, with_number = (
        C.CFUNCTYPE(C.c_bool, C.c_void_p),
        C.CFUNCTYPE(None, C.c_void_p),
        C.CFUNCTYPE(None, C.c_void_p, C.c_uint32),
    )
    tables: dict[bytes, Any] = {}

    def offer(name: str, *functions: Any) -> None:
        table = (C.c_void_p * len(functions))(
            *(C.cast(function, C.c_void_p).value for function in functions)
        )
        tables[f"clap.{name}".encode()] = (table, functions)

    quiet, quiet_number = nothing(lambda _: None), with_number(lambda *_: None)
    offer(
        "thread-check",
        yes_no(lambda _: not processing()),
        yes_no(lambda _: processing()),
    )
    clear = C.CFUNCTYPE(None, C.c_void_p, C.c_uint32, C.c_uint32)(lambda *_: None)
    offer("params", quiet_number, clear, quiet)
    offer("state", quiet)
    offer("latency", quiet)
    dialects = C.CFUNCTYPE(C.c_uint32, C.c_void_p)(lambda _: CLAP_NOTES | MIDI_NOTES)
    offer("note-ports", dialects, quiet_number)
    no_flag = C.CFUNCTYPE(C.c_bool, C.c_void_p, C.c_uint32)(lambda *_: False)
    offer("audio-ports", no_flag, quiet_number)
    offer("log", C.CFUNCTYPE(None, C.c_void_p, C.c_int32, C.c_char_p)(lambda *_: None))

    def extension(_: int, name: bytes) -> int:
        return C.addressof(tables[name][0]) if name in tables else 0

    ask = C.CFUNCTYPE(C.c_void_p, C.c_void_p, C.c_char_p)(extension)
    texts = (b"pyrosynth", b"pyrosynth", b"", __version__.encode())
    host = abi.Host(
        abi.Version(1, 1, 1), None, *texts, ask, quiet, quiet, nothing(lambda _: want_call())
    )
    _TABLES.append((host, tables))
    return host
