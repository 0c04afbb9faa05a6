"""What the Turtle files of LV2 bundles say: plugins, their ports, and presets."""

import functools
import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pyrosynth.errors import InputError, SynthError
from pyrosynth.files import is_there
from pyrosynth.synths.hosts.plugin import (
    MOST_STEPS,
    Control,
    PluginClass,
    Role,
    distinct_names,
    shortest,
)
from pyrosynth.synths.hosts.turtle import RDF, Graph, content_of, file_of

log = logging.getLogger(__name__)
_NAME = re.compile(rb'doap:name\s+"([^"\\]+)"')
LV2, EXT = "http://lv2plug.in/ns/lv2core#", "http://lv2plug.in/ns/ext/"
EXTENSIONS = "http://lv2plug.in/ns/extensions/"
TYPE, VALUE = RDF + "type", RDF + "value"
RDFS, DOAP = "http://www.w3.org/2000/01/rdf-schema#", "http://usefulinc.com/ns/doap#"
FOAF_NAME = "http://xmlns.com/foaf/0.1/name"
SEE_ALSO, LABEL = RDFS + "seeAlso", RDFS + "label"
PROPS = EXT + "port-props#"
VERSION = "minorVersion", "microVersion"
UNITS = {
    "bar": "bars", "beat": "beats", "bpm": "bpm", "cent": "cents", "cm": "cm", "db": "dB",
    "degree": "degrees", "frame": "samples", "hz": "Hz", "inch": "in", "khz": "kHz", "m": "m",
    "mhz": "MHz", "midiNote": "MIDI note", "min": "min", "mm": "mm", "ms": "ms", "oct": "octaves",
    "pc": "%", "s": "s", "semitone12TET": "semitones",
}  # fmt: skip


@dataclass(frozen=True)
class Port:
    """A port of a plugin.

    Attributes:
        index: Its number.
        symbol: Its name among the ports of the plugin.
        kind: ``control``, ``audio``, ``atom`` or ``cv``; empty for one that a host may leave.
        input: Whether it is an input.
        default: Value it has unless it is set.
        bytes: Least size of an atom port's buffer.
        takes_notes: Whether it takes MIDI events.
        control: What it is as a control; None if it is none of the sound.
        per_rate: Whether its value is a multiple of the sample rate.
        points: Values of the settings of a choice, where they are not evenly spaced; the control
            is then the number of the setting.
    """

    index: int
    symbol: str
    kind: str
    input: bool
    default: float = 0.0
    bytes: int = 0
    takes_notes: bool = False
    control: Control | None = None
    per_rate: bool = False
    points: tuple[float, ...] = ()

    def native(self, value: float, sample_rate: float) -> float:
        """Return what the port takes for a value of the control."""
        if self.points:
            return self.points[min(max(round(value), 0), len(self.points) - 1)]
        return value * sample_rate if self.per_rate else value

    def value(self, native: float, sample_rate: float) -> float:
        """Return the value of the control for what the port has."""
        if self.points:
            return float(np.argmin(np.abs(np.array(self.points) - native)))
        return native / sample_rate if self.per_rate else native


class Bundle:
    """The files of one bundle.

    Args:
        path: The folder.

    Raises:
        SynthError: It has no manifest, or one that cannot be read.
    """

    def __init__(self, path: Path) -> None:
        """Read the manifest."""
        self.path = path
        if not is_there(path / "manifest.ttl"):
            raise SynthError(f"'{path}' is no LV2 bundle: it holds no manifest.ttl")
        self.manifest = Graph()
        read_into(self.manifest, path / "manifest.ttl")
        self.uris = [
            uri for uri in self.manifest.subjects(LV2 + "Plugin") if not uri.startswith("_:")
        ]
        self._graphs: dict[str, Graph] = {}

    def binary(self, uri: str) -> Path:
        """Return the library of a plugin, or the first of the bundle if none is named."""
        named = self.manifest.one(uri or next(iter(self.uris), ""), LV2 + "binary")
        file = file_of(str(named))
        if file is None or not os.path.isfile(file):
            name = file.name if file else "the library"
            raise SynthError(f"'{self.path}' lacks {name}; install the plugin again")
        return file

    def version(self, uri: str) -> tuple[float, ...]:
        """Return the version of a plugin, greater if newer; that of a damaged one is least."""
        try:
            graph = self.graph(uri)
        except SynthError:
            return ()
        return tuple(graph.number(uri, LV2 + key, 0) for key in VERSION)

    def sources(self, uri: str) -> list[Path]:
        """Return the files that describe a plugin, of those that are there."""
        return [self.path / "manifest.ttl", *filter(is_there, self.named(uri))]

    def named(self, subject: str) -> list[Path]:
        """Return the files of which the manifest says that they describe something."""
        listed = [file_of(str(iri)) for iri in self.manifest.all(subject, SEE_ALSO)]
        return [file for file in listed if file is not None]

    def graph(self, uri: str) -> Graph:
        """Return what is said of a plugin."""
        if uri not in self._graphs:
            graph = self._graphs[uri] = Graph()
            for file in self.sources(uri):
                read_into(graph, file)
        return self._graphs[uri]

    def effect(self, uri: str) -> PluginClass | None:
        """Describe a plugin whose files never speak of notes; None if they may.

        They are not taken apart, since those of large collections of effects take seconds.

        Raises:
            SynthError: One cannot be read.
        """
        if not all(map(is_there, self.named(uri))):
            return None  # what is not there may have spoken of them
        try:
            texts = [content_of(file) for file in self.sources(uri)]
        except InputError as error:
            raise SynthError(str(error)) from error
        if any(re.search(rb"InstrumentPlugin|MidiEvent|EventPort", text) for text in texts):
            return None
        if any(not text.rstrip().endswith(b".") for text in texts):
            return None  # one that was cut may have spoken of them later
        names = [match[1] for text in texts[1:] if (match := _NAME.search(text))]
        name = names[0].decode("utf-8", "replace") if names else uri
        return PluginClass(uri, name, unusable="is an effect: it takes no notes", is_effect=True)

    def plugin(self, uri: str, features: Sequence[str], controls: bool = False) -> PluginClass:
        """Describe a plugin.

        Args:
            uri: The plugin.
            features: Those that the host serves.
            controls: Whether its controls are described too.
        """
        graph = self.graph(uri)
        project = str(graph.one(uri, LV2 + "project"))
        maintainer = graph.one(uri, DOAP + "maintainer") or graph.one(project, DOAP + "maintainer")
        unusable = self._unusable(uri, features)
        described = PluginClass(
            uri,
            str(graph.one(uri, DOAP + "name", uri)),
            str(graph.one(str(maintainer), FOAF_NAME)),
            ".".join(f"{graph.number(uri, LV2 + key, 0):.0f}" for key in VERSION),
            unusable,
            is_effect=bool(unusable) and LV2 + "InstrumentPlugin" not in graph.all(uri, TYPE),
        )
        if not controls:
            return described
        listed = tuple(port.control for port in self.ports(uri) if port.control)
        return replace(described, controls=listed, dropped=tuple(self._dropped(uri)))

    def ports(self, uri: str) -> list[Port]:
        """Return the ports of a plugin, in the order of their numbers.

        Raises:
            SynthError: Their numbers are not 0, 1, 2 ….
        """
        return self._ports[uri]

    @functools.cached_property
    def _ports(self) -> "_Ports":
        return _Ports(self)

    def required_features(self, uri: str) -> set[str]:
        """Return the features without which a plugin does not run."""
        return {str(feature) for feature in self.graph(uri).all(uri, LV2 + "requiredFeature")}

    def _dropped(self, uri: str) -> list[Control]:
        return self._ports.dropped(uri)

    def _unusable(self, uri: str, features: Sequence[str]) -> str:
        kinds = self.graph(uri).all(uri, TYPE)
        ports = self.ports(uri)
        missing = sorted(self.required_features(uri) - set(features))
        names = ", ".join(feature.replace(EXT, "") for feature in missing)
        if not any(port.kind == "audio" and not port.input for port in ports):
            return "has no audio output"
        if any(port.kind == "event" for port in ports):
            return "takes notes by LV2's old event extension, which this host does not serve"
        if not any(port.takes_notes for port in ports):
            return "is an effect: it takes no notes"
        inputs = any(port.kind == "audio" and port.input for port in ports)
        if LV2 + "InstrumentPlugin" not in kinds and inputs:
            return "is an effect: it takes notes, but works on the sound of an input"
        if missing:
            return f"needs what this host does not serve: {names}"
        return ""


class _Ports(dict[str, list[Port]]):
    """The ports of the plugins of a bundle, made when they are asked for."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__()
        self.bundle = bundle
        self._dropped: dict[str, list[Control]] = {}

    def dropped(self, uri: str) -> list[Control]:
        self[uri]
        return self._dropped[uri]

    def __missing__(self, uri: str) -> list[Port]:
        graph = self.bundle.graph(uri)
        names = [str(name) for name in graph.all(uri, LV2 + "port")]
        ports = sorted((_port(graph, name) for name in names), key=lambda port: port.index)
        if not ports:
            lost = [file.name for file in self.bundle.named(uri) if not is_there(file)]
            lacks = f" and lacks {', '.join(lost)}" if lost else ""
            told = f"'{self.bundle.path}' tells no ports of {uri}{lacks}"
            raise SynthError(f"{told}; install it again")
        if [port.index for port in ports] != list(range(len(ports))):
            raise SynthError(f"the ports of {uri} are not numbered 0, 1, 2 …; install it again")
        by_symbol: dict[str, Port] = {}
        for port in ports:
            other = by_symbol.setdefault(port.symbol, port)
            if port.control and other is not port:
                raise SynthError(
                    f"'{self.bundle.path}': ports {other.index} and {port.index} of {uri} have "
                    f"one lv2:symbol, '{port.symbol}'; give each a symbol of its own, or ask its "
                    "author to"
                )
        controls = distinct_names([port.control for port in ports if port.control])
        renamed = {control.id: control for control in controls}
        self._dropped[uri] = [control for control in controls if control.role]
        self[uri] = [replace(port, control=_of_sound(renamed.get(port.symbol))) for port in ports]
        return self[uri]


def _of_sound(control: Control | None) -> Control | None:
    return None if control is None or control.role else control


def _port(graph: Graph, name: str) -> Port:
    kinds = [str(kind).rpartition("#")[2] for kind in graph.all(name, TYPE)]
    index = round(graph.number(name, LV2 + "index", -1))
    symbol, is_input = str(graph.one(name, LV2 + "symbol")), "InputPort" in kinds
    low = graph.number(name, LV2 + "minimum", 0.0)
    high = graph.number(name, LV2 + "maximum", 1.0)
    default = graph.number(name, LV2 + "default", low)
    with np.errstate(over="ignore"):
        finite = np.isfinite(np.array([low, high, default], np.float32))
    default = default if finite[2] else low if finite[0] else 0.0
    if not finite[:2].all():  # it has no range in which it could be moved
        low = high = default
    known = ("Control", "Audio", "Atom", "CV", "Event")
    kind = next((k.lower() for k in known if f"{k}Port" in kinds), "")
    port = Port(
        index, symbol, kind, is_input, default,
        bytes=round(graph.number(name, EXT + "resize-port#minimumSize", 0)),
        takes_notes=kind == "atom" and is_input
        and EXT + "midi#MidiEvent" in graph.all(name, EXT + "atom#supports"),
    )  # fmt: skip
    if kind != "control" or not is_input:
        return port
    control, points = _control(graph, name, symbol, (low, high, default))
    per_rate = LV2 + "sampleRate" in graph.all(name, LV2 + "portProperty")
    return replace(port, control=control, per_rate=per_rate, points=points)


def _control(
    graph: Graph, name: str, symbol: str, numbers: tuple[float, float, float]
) -> tuple[Control, tuple[float, ...]]:
    """Describe a control port; second, its settings if they are not evenly spaced."""
    low, high, default = numbers
    properties = {str(p) for p in graph.all(name, LV2 + "portProperty")}
    told = {
        graph.number(str(point), VALUE, np.nan): str(graph.one(str(point), LABEL))
        for point in graph.all(name, LV2 + "scalePoint")
    }
    points = tuple(sorted(value for value in told if np.isfinite(value)))
    labels, steps = tuple(told[value] for value in points), 0
    uneven: tuple[float, ...] = ()
    if LV2 + "enumeration" in properties and len(points) > 1:
        steps = len(points)
        if np.allclose(points, np.linspace(points[0], points[-1], steps)):
            low, high = points[0], points[-1]
        else:
            default = float(np.argmin(np.abs(np.array(points) - default)))
            low, high, uneven = 0.0, steps - 1.0, points
    elif LV2 + "toggled" in properties:
        steps, low, high = 2, 0.0, 1.0
        default = float(default > 0)
    elif LV2 + "integer" in properties:
        low, high = float(np.ceil(low)), float(np.floor(high))
        steps = round(high - low) + 1 if high - low < MOST_STEPS else 0
    low, high, default = (shortest(float(np.float32(n))) for n in (low, high, default))
    described = Control(
        symbol,
        str(graph.one(name, LV2 + "name", symbol)),
        low,
        high,
        default,
        steps,
        labels if steps and len(labels) == steps else (),
        _unit(graph, name),
        _group(graph, name),
        "logarithmic" if PROPS + "logarithmic" in properties else "linear",
        _role(graph, name, properties, low < high),
    )
    return described, uneven


def _role(graph: Graph, name: str, properties: set[str], has_range: bool) -> Role:
    designations = {str(d) for d in graph.all(name, LV2 + "designation")}
    if LV2 + "enabled" in designations:
        return "bypass"
    if LV2 + "freeWheeling" in designations or not has_range:
        return "read-only"
    if PROPS + "notOnGUI" in properties or PROPS + "trigger" in properties:
        return "hidden"
    return ""


def _unit(graph: Graph, name: str) -> str:
    unit = str(graph.one(name, EXTENSIONS + "units#unit"))
    own = graph.one(unit, EXTENSIONS + "units#symbol")
    return str(own) or UNITS.get(unit.rpartition("#")[2], "")


def _group(graph: Graph, name: str) -> str:
    group = str(graph.one(name, EXT + "port-groups#group"))
    label = graph.one(group, LABEL) or graph.one(group, LV2 + "name")
    return str(label or graph.one(group, LV2 + "symbol"))


def read_into(graph: Graph, file: Path) -> None:
    """Add what a file says to a graph.

    Raises:
        SynthError: It is no Turtle.
    """
    try:
        graph.read(file)
    except InputError as error:
        raise SynthError(str(error)) from error
