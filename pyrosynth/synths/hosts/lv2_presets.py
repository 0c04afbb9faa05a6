"""Presets of LV2 plugins, which lie as Turtle files in bundles."""

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pyrosynth.errors import InputError, SynthError, counted
from pyrosynth.synths.hosts.lv2_bundles import bundles
from pyrosynth.synths.hosts.lv2_files import (
    EXT,
    LABEL,
    LV2,
    RDFS,
    Bundle,
    Port,
    read_into,
)
from pyrosynth.synths.hosts.plugin import Program
from pyrosynth.synths.hosts.turtle import Graph, content_of
from pyrosynth.synths.params import SLACK

PRESET = EXT + "presets#Preset"

log = logging.getLogger(__name__)


def programs(bundle: Bundle, uri: str) -> list[Program]:
    """Return the presets for a plugin in this bundle and in all others on this machine.

    A file that is damaged is left out, and named in the log; so is what comes with another copy
    of the plugin, whose presets have the same names.
    """
    ports, listed, copies = bundle.ports(uri), list[Program](), dict[str, Path]()
    places = [bundle.path, *(place for place in bundles() if place != bundle.path)]
    for place in places:
        try:
            if place != bundle.path and not _may_hold_preset(place / "manifest.ttl", uri):
                continue
            other = bundle if place == bundle.path else Bundle(place)
            if place != bundle.path and uri in other.uris:
                copies.setdefault(os.path.realpath(place), place)
                continue
        except (InputError, SynthError) as error:
            log.warning("left out: %s", error)
            continue
        found, damaged = _own_programs(other, uri, ports)
        listed += found
        for wrong in damaged:
            log.warning("left out: %s", wrong)
    copies.pop(os.path.realpath(bundle.path), None)
    if copies:
        others = f" and {counted(len(copies) - 1, 'other')}" if len(copies) > 1 else ""
        log.warning(
            "left out: the presets in '%s'%s, another copy of the plugin than '%s'",
            next(iter(copies.values())), others, bundle.path,
        )  # fmt: skip
    return listed


def _own_programs(
    bundle: Bundle, uri: str, ports: Sequence[Port]
) -> tuple[list[Program], list[SynthError]]:
    """Return the presets for a plugin in this bundle, and what is wrong with files of presets."""
    graph, damaged = Graph(), []
    of_plugin = [
        preset
        for preset in bundle.manifest.subjects(PRESET)
        if uri in bundle.manifest.all(preset, LV2 + "appliesTo")
    ]
    files = [bundle.path / "manifest.ttl", *(f for one in of_plugin for f in bundle.named(one))]
    for file in dict.fromkeys(files):
        try:
            read_into(graph, file)
        except SynthError as error:
            damaged.append(error)
    controls = [port for port in ports if port.control]
    listed, odd = [], []
    for preset in of_plugin:
        given = {
            str(graph.one(str(port), LV2 + "symbol")): graph.one(str(port), EXT + "presets#value")
            for port in graph.all(preset, LV2 + "port")
        }
        if not given:  # one that keeps its state otherwise, or whose file is damaged
            continue
        name = str(graph.one(preset, LABEL, preset.rpartition("#")[2]))
        native = {port: given.get(port.symbol, port.default) for port in controls}
        if foreign := given.keys() - {port.symbol for port in ports}:
            said = f"preset '{name}' in '{bundle.path}' sets '{min(foreign)}'"
            if len(foreign) == len(given):
                other = f"{said} and nothing that the plugin has; get the preset for this version"
                damaged.append(SynthError(other))
                continue
            odd.append(f"{said}, which the plugin does not have: it may be of another version")
        values = [
            port.value(float(value), 1.0)
            for port, value in native.items()
            if isinstance(value, float | bool)
        ]
        if len(values) == len(native):
            listed.append(Program(name, tuple(values)))
            far = [port for port, v in zip(controls, values, strict=True) if _is_far(port, v)]
            if far:
                moved = f"'{far[0].symbol}' to {native[far[0]]}, which is brought into its range"
                odd.append(f"preset '{name}' in '{bundle.path}' sets {moved}")
        else:
            bad = next(port for port, v in native.items() if not isinstance(v, float | bool))
            said = f"preset '{name}' in '{bundle.path}' has no number for '{bad.symbol}'"
            damaged.append(SynthError(f"{said}; install the plugin again"))
    if odd:
        others = (
            f"; {counted(len(odd) - 1, 'other preset')} of it likewise" if len(odd) > 1 else ""
        )
        log.warning("%s%s", odd[0], others)
    return listed, damaged


def _is_far(port: Port, value: float) -> bool:
    """Whether a value is clearly beyond the range of a control."""
    assert port.control is not None
    low, high = port.control.minimum, port.control.maximum
    return not low - SLACK * (high - low) <= value <= high + SLACK * (high - low)


def write_preset(
    path: Path, ports: Sequence[Port], uri: str, name: str, values: NDArray[np.float64]
) -> None:
    """Write a bundle with one preset.

    Args:
        path: The folder to make.
        ports: Of the plugin.
        uri: The plugin.
        name: Of the preset.
        values: Of the controls, shape (n_controls,).
    """
    controls = [port for port in ports if port.control]
    label = re.sub(r'["\\\n\r]', lambda match: f"\\u{ord(match[0]):04x}", name)
    settings = ",\n".join(
        f'  [ lv2:symbol "{port.symbol}" ; pset:value {port.native(float(value), 1.0):.9e} ]'
        for port, value in zip(controls, values, strict=True)
    )
    prefixes = (
        f"@prefix lv2: <{LV2}> .\n@prefix pset: <{EXT}presets#> .\n@prefix rdfs: <{RDFS}> .\n\n"
    )
    head = f"<preset.ttl>\n  a pset:Preset ;\n  lv2:appliesTo <{uri}> ;\n"
    path.mkdir()
    manifest = f"{prefixes}{head}  rdfs:seeAlso <preset.ttl> .\n"
    preset = f'{prefixes}{head}  rdfs:label "{label}" ;\n  lv2:port\n{settings} .\n'
    (path / "manifest.ttl").write_text(manifest, encoding="utf-8")
    (path / "preset.ttl").write_text(preset, encoding="utf-8")


def load_programs(path: Path, ports: Sequence[Port], uri: str) -> list[Program | InputError]:
    """Read the presets for a plugin in a bundle, with errors for files that are damaged.

    Raises:
        InputError: It holds none.
    """
    try:
        listed, damaged = _own_programs(Bundle(path), uri, ports)
    except SynthError as error:
        raise InputError(str(error)) from error
    if not listed and not damaged:
        raise InputError(f"'{path}' holds no preset for {uri} with values of its controls")
    return [*listed, *(InputError(str(error)) for error in damaged)]


def _may_hold_preset(manifest: Path, uri: str) -> bool:
    """Tell quickly whether a manifest may name a preset of a plugin.

    Raises:
        InputError: It cannot be read.
    """
    content = content_of(manifest)
    last = re.split(r"[/#:]", uri)[-1].encode()
    return b"Preset" in content and last in content
