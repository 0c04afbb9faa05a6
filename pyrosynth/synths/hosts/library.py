"""Load a shared library, or say in one line why it cannot be loaded and what to do."""

import ctypes as C
import os
import platform
import re
import struct
from pathlib import Path

from pyrosynth.errors import SynthError, reading
from pyrosynth.files import regular_file

ELF_MACHINES = {  # number in the header, and what `platform.machine` calls it
    3: "i686", 40: "armv7l", 62: "x86_64", 183: "aarch64", 243: "riscv64", 21: "ppc64le",
}  # fmt: skip
_MISSING = re.compile(r"^(\S+): cannot open shared object file")


def load_library(path: Path) -> C.CDLL:
    """Load a shared library into this process.

    Raises:
        SynthError: It is missing, no library, cut short, for another kind of machine, or needs
            a library that is not there.
    """
    check_library(path)
    try:
        return C.CDLL(str(path))
    except OSError as error:
        why = loader_advice(str(error), path)
        raise SynthError(f"cannot open plugin '{path}': {why}") from error


def check_library(path: Path) -> None:
    """Look at the header of a library; loading one that is cut short kills the process.

    Raises:
        SynthError: It is no library for this machine, or not all of it is there.
    """
    with reading(SynthError, f"cannot read plugin '{path}'", "give another"):
        with regular_file(path).open("rb") as file:
            header = file.read(64)
        size = path.stat().st_size
    if platform.system() != "Linux":
        return
    if header[:4] == b"MZ\x90\0" or header[:4] in (b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe"):
        system = "Windows" if header[:2] == b"MZ" else "macOS"
        raise SynthError(f"'{path}' is a plugin for {system}; install the one for Linux")
    if header[:4] != b"\x7fELF" or len(header) < 64:
        raise SynthError(f"'{path}' is not a plugin: it is no shared library, or is cut short")
    wide, order = header[4] == 2, "<" if header[5] == 1 else ">"
    (machine,) = struct.unpack_from(f"{order}H", header, 18)
    here = platform.machine()
    if ELF_MACHINES.get(machine, here) != here or wide != (C.sizeof(C.c_void_p) == 8):
        name = ELF_MACHINES.get(machine, "another machine")
        raise SynthError(f"plugin '{path}' is for {name}, this machine is {here}; get that one")
    if wide:
        (start,) = struct.unpack_from(f"{order}Q", header, 40)
        entry, n_sections = struct.unpack_from(f"{order}HH", header, 58)
        if start + entry * n_sections > size:
            raise SynthError(f"plugin '{path}' is cut short at {size} bytes; install it again")


def is_vst2(path: Path) -> bool:
    """Return whether a library is a VST2 plugin, by its entry, and none of DSSI as well."""
    try:
        content = path.read_bytes() if os.path.isfile(path) else b""  # a pipe would wait for ever
    except OSError:
        return False
    return b"VSTPluginMain" in content and b"dssi_descriptor" not in content


def loader_advice(said: str, path: Path, else_do: str = "") -> str:
    """Return what the loader said, and what to do.

    Args:
        said: What it said.
        path: The library.
        else_do: What to do if its words give no hint, behind a semicolon.
    """
    missing = _MISSING.match(said)
    if missing and missing[1] != str(path):
        name = missing[1]
        stem, _, version = name.partition(".so")
        digits = version.lstrip(".")
        joint = "-" if stem[-1:].isdigit() else ""
        package = f"{stem}{joint if digits else ''}{digits}".lower().replace("_", "-")
        return f"{said}; install the package that holds {name}, on Debian 'apt install {package}'"
    if "GLIBC" in said or "GLIBCXX" in said:
        return f"{said}; it was built for a newer system, get one built for this system"
    if "undefined symbol" in said:
        return f"{said}; it does not fit the libraries on this machine, install it again"
    return said + else_do
