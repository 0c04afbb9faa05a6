"""Find the instruments on this machine, in every format, or say why one cannot be used.

Each is asked in a child process with a deadline, so that none can take the others down.
"""

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pyrosynth.errors import (
    PyrosynthError,
    SynthError,
    counted,
    not_opened,
    number,
    reading,
    require_type,
)
from pyrosynth.files import expanded, is_there, resolved
from pyrosynth.synths.base import LONGEST_SECONDS
from pyrosynth.synths.dssi import NO_SYNTH, DssiSynth, probe, split_label
from pyrosynth.synths.hosts.formats import (
    DAWDREAMER,
    FORMATS,
    OWN,
    choose,
    host_of,
    names_plugin,
    open_plugin,
    split_class,
    suffix_of,
)
from pyrosynth.synths.hosts.library import is_vst2
from pyrosynth.synths.hosts.plugin import NO_CONTROLS, PluginClass
from pyrosynth.synths.hosts.process import ask
from pyrosynth.synths.params import Param

log = logging.getLogger(__name__)
SECONDS = 20.0  # for one question to a plugin
LOOK_SECONDS = 0.25  # between two looks for a signal
LARGEST_DEPTH = 6  # of folders below those that are searched


@dataclass(frozen=True)
class Instrument:
    """An instrument on this machine, or a file that may hold one but cannot be used.

    Attributes:
        path: What `pyrosynth.synths.load_synth` takes.
        format: Of the plugin, such as ``"LV2"``.
        name: What people read; the file's name if it does not load.
        maker: Who made it; empty if it is not told.
        params: Its controls.
        presets: Number of presets that come with it; None if the format does not tell.
        reason: Why it cannot be learnt: it does not load, or has no control; empty if it can.
        host: What plays it, see `pyrosynth.synths.hosts.formats.HOSTS`.
    """

    path: str
    format: str
    name: str
    maker: str = ""
    params: tuple[Param, ...] = ()
    presets: int | None = 0
    reason: str = ""
    host: str = OWN

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready description."""
        return {**asdict(self), "params": [param.to_json() for param in self.params]}

    def line(self) -> str:
        """Describe it in a line: name, format, numbers of controls and presets, path."""
        facts = f"not usable: {self.reason}"
        if not self.reason:
            presets = "" if self.presets is None else counted(self.presets, "preset")
            option = "" if self.host == OWN else f"  --option host={self.host}"
            facts = (
                f"{counted(len(self.params), 'control'):>14} {presets:>14}  {self.path}{option}"
            )
        return f"{self.name:28} {self.format:5} {facts}"


def scan(
    paths: Sequence[str | os.PathLike[str]] = (), seconds: float = SECONDS
) -> Iterator[Instrument]:
    """Describe the instruments in files or folders, or on this machine; effects are left out.

    Args:
        paths: Plugin files, with ``#name`` for one of several synths, URIs of LV2 plugins, or
            folders to search; the standard folders of every format if there is none.
        seconds: Deadline for each question to a plugin.

    Yields:
        The instruments, by file; first a path at which there is no plugin, with the reason.

    Raises:
        InputError: The deadline is not from 0.1 to 3600 s.
    """
    seconds = number("seconds", seconds, 0.1, LONGEST_SECONDS)
    require_type("paths", paths, Iterable, "a list of files and folders")
    files = [] if paths else [(file, "") for file in _everywhere()]
    for path in paths:
        text = os.fspath(path)
        try:
            files += _files_at(text)
        except PyrosynthError as error:
            yield Instrument(text, "", text, presets=None, reason=str(error))
    # Importing it fails in a thread that outlives the main one.
    from concurrent.futures import ThreadPoolExecutor, wait

    told: set[str] = set()  # what is wrong with a file is told once, not with each instrument
    pool = ThreadPoolExecutor(os.cpu_count() or 1)
    try:
        for asked in [pool.submit(_instruments, *file, seconds, told) for file in files]:
            while wait([asked], LOOK_SECONDS).not_done:
                pass  # Python sees a signal that came just before a wait only after it
            yield from asked.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # who interrupts it waits for no plugin


def still_there(file: str, name: str) -> str:
    """Return the path of a plugin that was learnt, where it lies now.

    Args:
        file: Where it lay. If it has gone, one of that name in a standard folder is taken; the
            identity of a synth tells whether it is the same.
        name: Of the synth in it; empty for the only one.

    Raises:
        SynthError: It is neither there nor in a standard folder.
    """
    place, called = resolved(file), Path(file).name
    if not is_there(place):
        found = next((one for one in _everywhere() if one.name == called), None)
        if found is None:
            raise SynthError(
                f"the plugin that was learnt, '{file}', has gone, and no standard folder of "
                f"plugins holds a '{called}'; put it, or a link to it, at one of them"
            )
        file = str(found)
    return f"{file}#{name}" if name else file


def _instruments(file: Path, wanted: str, seconds: float, told: set[str]) -> list[Instrument]:
    """Describe the instruments of one file."""
    host = OWN
    if suffix_of(file) not in FORMATS:
        if not is_vst2(file):
            return _dssi(file, wanted, seconds)
        host = DAWDREAMER
    kind = host_of(file, host).format

    def question(operation: str, *arguments: Any) -> Any:
        return ask(operation, file, *arguments, host=host, seconds=seconds, told=told)

    try:
        open_plugin(file, host)  # is the host there?
        classes = [PluginClass.from_json(c) for c in question("classes")]
        listed = [choose(file, classes, wanted)] if wanted else classes
    except PyrosynthError as error:
        return [Instrument(str(file), kind, file.stem, reason=str(error), host=host)]
    instruments = []
    for plugin in listed:
        if plugin.is_effect and not wanted:
            continue
        name = plugin.id if [c.name for c in classes].count(plugin.name) > 1 else plugin.name
        path = str(file) if len(classes) == 1 and not wanted else f"{file}#{name}"
        try:
            if plugin.unusable:
                raise SynthError(plugin.unusable)
            answer, presets = question("survey", plugin.id)
            described = PluginClass.from_json(answer)
            if described.is_effect and not wanted:
                continue
            if described.unusable:
                raise SynthError(described.unusable)
            if not described.controls:
                raise SynthError(f"{described.name} {NO_CONTROLS}")
            params = tuple(control.param() for control in described.controls)
        except PyrosynthError as error:
            why = str(error)
            instruments.append(
                Instrument(path, kind, plugin.name, plugin.maker, reason=why, host=host)
            )
            continue
        found = Instrument(path, kind, plugin.name, plugin.maker, params, presets, host=host)
        instruments.append(found)
    return instruments


def _dssi(file: Path, wanted: str, seconds: float) -> list[Instrument]:
    try:
        listed = probe(file, seconds)
    except PyrosynthError as error:
        if str(error).endswith(NO_SYNTH):
            return []  # an effect
        return [Instrument(str(file), "DSSI", file.stem, presets=None, reason=str(error))]
    instruments = []
    labels = [described["label"] for described in listed]
    if wanted and wanted not in labels:
        reason = f"'{file}' holds no '{wanted}'; known: {', '.join(labels)}"
        return [Instrument(str(file), "DSSI", file.stem, presets=None, reason=reason)]
    for described in listed:
        if wanted and wanted != described["label"]:
            continue
        path, reason = f"{file}#{described['label']}", ""
        params: tuple[Param, ...] = ()
        try:
            if described["wrong"]:
                raise SynthError(f"{described['wrong']}; get another one")
            params = DssiSynth(path).param_space.params
        except PyrosynthError as error:
            reason = str(error)
        name, maker = described["name"], described["maker"]
        instruments.append(Instrument(path, "DSSI", name, maker, params, None, reason))
    return instruments


def _files_at(path: str) -> list[tuple[Path, str]]:
    """Return the plugin files at a path, each with the name of a synth in it that is wanted."""
    if names_plugin(path):
        place, wanted = split_class(path)
    else:
        place, wanted = split_label(path)
    file = resolved(place)
    if not is_there(file):
        raise SynthError(
            f"no plugin '{path}'; give a plugin, or a folder of plugins ('pyrosynth synths' lists "
            "the synths that need none)"
        )
    suffixes = (*FORMATS, ".so")
    if suffix_of(file) not in suffixes and not os.path.isdir(file):
        raise SynthError(
            f"'{path}' is no plugin by its name; give a plugin, which ends in "
            f"{', '.join(suffixes)}, or a folder of plugins"
        )
    if suffix_of(file) in suffixes:
        return [(file, wanted)]
    with reading(SynthError, f"cannot read the folder '{path}'", "give another"):
        os.listdir(file)
    return [(found, "") for found in _search(file, suffixes)]


def _everywhere() -> list[Path]:
    """Return the plugin files in the standard folders, in every format."""
    places: dict[Path, None] = {}
    for suffix in FORMATS:
        for folder in host_of(f"x{suffix}").folders():
            places.update(dict.fromkeys(_search(folder, (suffix,))))
    for folder in host_of("x.so", DAWDREAMER).folders():
        places.update(dict.fromkeys(filter(is_vst2, _search(folder, (".so",)))))
    for folder in dssi_folders():
        places.update(dict.fromkeys(_search(folder, (".so",), LARGEST_DEPTH - 1)))
    return list(places)


def dssi_folders() -> list[Path]:
    """Return the folders of ``DSSI_PATH`` and the system's."""
    folders = [expanded(p) for p in os.environ.get("DSSI_PATH", "").split(":") if p]
    for root in ("/usr/lib", "/usr/local/lib", "/usr/lib64"):
        folders += [Path(root) / "dssi", *sorted(Path(root).glob("*-linux-gnu*/dssi"))]
    return [*folders, expanded("~/.dssi")]


def _search(
    folder: Path, suffixes: Sequence[str], depth: int = 0, seen: dict[str, int] | None = None
) -> list[Path]:
    """Return the plugins in a folder and those below, without looking into bundles.

    What may not be read is left out, and named in the log. A folder to which links lead back is
    searched once.

    Args:
        folder: The folder.
        suffixes: Those of plugins.
        depth: How many folders below the first one it is.
        seen: The depth of each folder that was searched.
    """
    seen = {} if seen is None else seen
    place = os.path.realpath(folder)
    if depth >= seen.get(place, LARGEST_DEPTH):
        return []
    seen[place] = depth
    found: list[Path] = []
    try:
        entries = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):  # as most of the standard ones
        return []
    except OSError as error:
        log.warning("left out: %s", not_opened(error))
        return []
    for entry in entries:
        if suffix_of(entry) in suffixes:
            found.append(resolved(entry))
        elif os.path.isdir(entry):
            found += _search(entry, suffixes, depth + 1, seen)
    return list(dict.fromkeys(found))
