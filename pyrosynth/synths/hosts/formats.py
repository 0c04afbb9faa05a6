"""The plugin formats, by the suffix of their files, and the hosts that play them."""

import functools
import importlib
import os
from pathlib import Path

from pyrosynth.errors import InputError, SynthError, counted, unknown
from pyrosynth.files import is_there, resolved, with_home
from pyrosynth.synths.hosts.plugin import PluginClass, PluginFile

OWN, DAWDREAMER = "own", "dawdreamer"  # names of hosts
# For each host the suffixes of files or bundles, and what plays them: a module of this package
# and its `PluginFile`.
HOSTS: dict[str, dict[str, tuple[str, str]]] = {
    OWN: {
        ".lv2": ("lv2", "Lv2File"),
        ".clap": ("clap", "ClapFile"),
        ".vst3": ("vst3", "Vst3File"),
    },
    DAWDREAMER: {
        ".so": ("dawdreamer", "Vst2File"),
        ".vst3": ("dawdreamer", "DawDreamerVst3File"),
    },
}
FORMATS = HOSTS[OWN]
URI = ("http://", "https://", "urn:")  # how the names of LV2 plugins begin


def host_of(path: str | os.PathLike[str], host: str = OWN) -> type[PluginFile]:
    """Return what plays a file.

    Args:
        path: The file or bundle.
        host: One of `HOSTS`.

    Raises:
        InputError: The host takes no files with this suffix.
    """
    suffix = suffix_of(Path(path))
    if suffix not in HOSTS[host]:
        plays = "is not a plugin by its name" if host == OWN else f"is not for the host '{host}'"
        raise InputError(
            f"'{path}' {plays}; its plugins end in {', '.join(HOSTS[host])}"
            f"{another_host(path, host)}"
        )
    module, name = HOSTS[host][suffix]
    kind: type[PluginFile] = getattr(
        importlib.import_module(f"pyrosynth.synths.hosts.{module}"), name
    )
    return kind


def another_host(path: str | os.PathLike[str], host: str = OWN) -> str:
    """Say which other host may play a file that a host cannot play; empty if there is none."""
    suffix = suffix_of(Path(path))
    others = [other for other in HOSTS if other != host and suffix in HOSTS[other]]
    return "".join(f"; another host may: --option host={other}" for other in others)


def suffix_of(path: Path) -> str:
    """Return the suffix that says of which format a file is; some LV2 bundles have none."""
    return ".lv2" if os.path.isfile(path / "manifest.ttl") else path.suffix.lower()


def open_plugin(path: str | os.PathLike[str], host: str = OWN) -> PluginFile:
    """Return this process's only `PluginFile` of a file or bundle in a host.

    Raises:
        InputError: The host takes no files with this suffix.
        SynthError: There is no such file, or the host is not installed.
    """
    file = resolved(path)
    if not is_there(file):
        raise SynthError(f"no plugin '{path}'; 'pyrosynth scan' lists those on this machine")
    return _opened(host_of(file, host), file)


def names_plugin(text: str) -> bool:
    """Return whether a text names a plugin: by a URI, or by a path with one of the suffixes."""
    return text.startswith(URI) or suffix_of(Path(split_class(text)[0])) in FORMATS


def split_class(text: str, host: str = OWN) -> tuple[str, str]:
    """Split ``PATH#NAME`` into the path and the name of a synth in it, empty if there is none.

    The URI of an LV2 plugin becomes the path of its bundle and the URI.

    A ``#`` in the path of an existing file, or in the name of a folder, belongs to the path.

    Raises:
        InputError: There is no such host.
    """
    if host not in HOSTS:
        raise unknown("host", str(host), HOSTS)
    if text.startswith(URI):
        from pyrosynth.synths.hosts.lv2_bundles import locate

        return str(locate(text)), text
    places, known = [i for i, c in enumerate(text) if c == "#"], {*FORMATS, *HOSTS[host]}
    for i in (*places, len(text)):
        path = with_home(text[:i])
        if os.path.exists(path) and suffix_of(path) in known:
            return text[:i], text[i + 1 :]
    for i in places:
        named = os.sep not in text[i:] or text[i + 1 :].startswith(URI)
        if Path(text[:i]).suffix.lower() in known and named:
            return text[:i], text[i + 1 :]
    return text, ""


def choose(path: Path, classes: list[PluginClass], wanted: str) -> PluginClass:
    """Choose a synth of a file by its name or id, or the only instrument if nothing is wanted.

    Args:
        path: The file, for errors.
        classes: What is in it.
        wanted: Name or id, or a part of a name that no other has.

    Raises:
        InputError: There is none of the name, or there are several.
        SynthError: The file holds no instrument, or what is wanted is none.
    """
    usable = [c for c in classes if not c.unusable]
    found = usable
    if wanted:
        found = [c for c in classes if wanted in (c.id, c.name)] or [
            c for c in usable if wanted.lower() in c.name.lower()
        ]
    elif not usable and classes:
        raise SynthError(f"'{path}' holds no instrument: {classes[0].name} {classes[0].unusable}")
    known = ", ".join(c.name for c in usable) or "no instrument"
    if not found:
        raise InputError(f"'{path}' holds no '{wanted}'; known: {known}")
    if len(found) > 1:
        same = len({c.name for c in found}) < len(found)
        names = ", ".join(f"#{c.id} ({c.name})" if same else f"#{c.name}" for c in found)
        raise InputError(
            f"'{path}' holds {counted(len(found), 'instrument')}; add one to the path: {names}"
        )
    if found[0].unusable:
        raise SynthError(f"{found[0].name} in '{path}' {found[0].unusable}")
    return found[0]


@functools.cache
def _opened(kind: type[PluginFile], path: Path) -> PluginFile:
    return kind(path)
