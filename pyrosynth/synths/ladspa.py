"""The C structures of LADSPA and DSSI plugins, and a script that describes a library.

Layouts are those of the public headers ``ladspa.h`` 1.1, ``dssi.h`` 1.0 and ALSA's
``seq_event.h``. This file needs the standard library alone and runs as a script, so that a
library can be opened in a bare child process: a truncated one kills whoever opens it.

    python ladspa.py LIBRARY ANSWER PARENT

writes a JSON list of the synths to the file ANSWER, or the text of the error; on Linux it dies
with the process PARENT, which has started it.
"""

import ctypes as C
import json
import os
import signal
import sys
from typing import Any

AUDIO, CONTROL, INPUT, OUTPUT = 8, 4, 1, 2  # bits of a port's kind
BELOW, ABOVE, TOGGLED, PER_RATE, LOGARITHMIC, INTEGER = 1, 2, 4, 8, 16, 32  # bits of a hint
DEFAULT_MASK = 0x3C0
# How the default follows from the bounds: a share of the way up, or a number.
DEFAULT_SHARE = {0x40: 0.0, 0x80: 0.25, 0xC0: 0.5, 0x100: 0.75, 0x140: 1.0}
DEFAULT_NUMBER = {0x200: 0.0, 0x240: 1.0, 0x280: 100.0, 0x2C0: 440.0}
NOTE_ON, NOTE_OFF = 6, 7  # ALSA event types
PR_SET_PDEATHSIG = 1


class Hint(C.Structure):
    """Range of a port."""

    _fields_ = [("flags", C.c_int), ("lower", C.c_float), ("upper", C.c_float)]


class Ladspa(C.Structure):
    """LADSPA_Descriptor."""

    _fields_ = [
        ("unique_id", C.c_ulong),
        ("label", C.c_char_p),
        ("properties", C.c_int),
        ("name", C.c_char_p),
        ("maker", C.c_char_p),
        ("copyright", C.c_char_p),
        ("n_ports", C.c_ulong),
        ("port_kinds", C.POINTER(C.c_int)),
        ("port_names", C.POINTER(C.c_char_p)),
        ("port_hints", C.POINTER(Hint)),
        ("implementation", C.c_void_p),
        ("instantiate", C.CFUNCTYPE(C.c_void_p, C.c_void_p, C.c_ulong)),
        ("connect_port", C.CFUNCTYPE(None, C.c_void_p, C.c_ulong, C.c_void_p)),
        ("activate", C.CFUNCTYPE(None, C.c_void_p)),
        ("run", C.c_void_p),
        ("run_adding", C.c_void_p),
        ("set_run_adding_gain", C.c_void_p),
        ("deactivate", C.CFUNCTYPE(None, C.c_void_p)),
        ("cleanup", C.CFUNCTYPE(None, C.c_void_p)),
    ]


class Event(C.Structure):
    """snd_seq_event_t holding a note: 28 bytes."""

    _fields_ = [
        ("type", C.c_ubyte),
        ("flags", C.c_ubyte),
        ("tag", C.c_ubyte),
        ("queue", C.c_ubyte),
        ("tick", C.c_uint),
        ("time", C.c_uint),
        ("source", C.c_ushort),
        ("destination", C.c_ushort),
        ("channel", C.c_ubyte),
        ("note", C.c_ubyte),
        ("velocity", C.c_ubyte),
        ("off_velocity", C.c_ubyte),
        ("duration", C.c_uint),
        ("padding", C.c_uint),
    ]


class Program(C.Structure):
    """DSSI_Program_Descriptor."""

    _fields_ = [("bank", C.c_ulong), ("program", C.c_ulong), ("name", C.c_char_p)]


class Dssi(C.Structure):
    """DSSI_Descriptor, up to the last member used here."""

    _fields_ = [
        ("api", C.c_int),
        ("ladspa", C.POINTER(Ladspa)),
        ("configure", C.c_void_p),
        ("get_program", C.CFUNCTYPE(C.POINTER(Program), C.c_void_p, C.c_ulong)),
        ("select_program", C.CFUNCTYPE(None, C.c_void_p, C.c_ulong, C.c_ulong)),
        ("midi_controller", C.c_void_p),
        ("run_synth", C.CFUNCTYPE(None, C.c_void_p, C.c_ulong, C.POINTER(Event), C.c_ulong)),
    ]


def descriptors(library: C.CDLL) -> list[Any]:
    """Return the DSSI descriptors of an open library, each a ``Dssi``.

    Raises:
        AttributeError: The library is no DSSI plugin.
    """
    entry = library.dssi_descriptor
    entry.restype, entry.argtypes = C.POINTER(Dssi), [C.c_ulong]
    listed: list[Any] = []
    while (pointer := entry(len(listed))) and len(listed) < 1000:
        listed.append(pointer.contents)
    return listed


def describe(path: str) -> list[dict[str, Any]]:
    """Open a plugin library and describe its synths; JSON-ready.

    Args:
        path: The library. Opening it runs its start-up code in this process.

    Returns:
        One dictionary per synth: ``label``, ``name``, ``maker``, ``has_threads`` (whether the
        library started threads when it was opened), ``wrong`` (why it cannot be used; empty if
        it can) and ``ports``, each port with ``index``, ``name``, ``kind``, ``flags``, ``lower``
        and ``upper``.

    Raises:
        OSError: The file cannot be opened as a library.
        AttributeError: It is no DSSI plugin.
        ValueError: A label or a name of a port is none, in each of its synths.
    """
    synths: dict[str, dict[str, Any]] = {}  # by label; of equal ones the first is found
    library = C.CDLL(path)
    has_threads = os.path.isdir("/proc/self/task") and len(os.listdir("/proc/self/task")) > 1
    for number, dssi in enumerate(descriptors(library), 1):
        ladspa = dssi.ladspa.contents
        label = label_of(dssi)
        unnamed = next((i for i in range(ladspa.n_ports) if ladspa.port_names[i] is None), None)
        wrong = f"port {unnamed} of '{label}' has no name" if unnamed is not None else ""
        if not label or "/" in label:
            wrong = f"a synth in it has the label '{label}', by which it cannot be named"
        label = label or f"synth {number}"
        if label in synths:
            continue
        ports = [
            {
                "index": i,
                "name": ladspa.port_names[i].decode("utf-8", "replace"),
                "kind": ladspa.port_kinds[i],
                "flags": ladspa.port_hints[i].flags,
                "lower": ladspa.port_hints[i].lower,
                "upper": ladspa.port_hints[i].upper,
            }
            for i in range(0 if wrong else ladspa.n_ports)
        ]
        if dssi.run_synth:
            text = {
                key: (getattr(ladspa, key) or b"").decode("utf-8", "replace")
                for key in ("name", "maker")
            }
            facts = {"has_threads": has_threads, "wrong": wrong, "ports": ports}
            synths[label] = {"label": label, **text, **facts}
    if synths and all(one["wrong"] for one in synths.values()):
        raise ValueError(next(iter(synths.values()))["wrong"])
    return list(synths.values())


def label_of(dssi: Dssi) -> str:
    """Return the label of a synth; empty if it has none."""
    label: bytes | None = dssi.ladspa.contents.label
    return (label or b"").decode("utf-8", "replace")


def die_with(parent: int) -> None:
    """Have the kernel kill this process with its parent; `pyrosynth.synths.sandbox` has the same.

    Args:
        parent: Number of the process that has started this one, and may have ended already.
    """
    if sys.platform == "linux":
        C.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)


if __name__ == "__main__":
    die_with(int(sys.argv[3]))
    answer: list[dict[str, Any]] | str
    try:
        answer = describe(sys.argv[1])
    except (OSError, AttributeError, ValueError) as error:
        answer = str(error)
    with open(sys.argv[2], "w", encoding="ascii") as file:
        json.dump(answer, file)
    os._exit(0)  # leaves out what the plugin wants to do at the end
