"""MIDI controllers: which one carries which parameter of the synth, and which moves which axis.

The map is a file that people edit: TOML, or the synth's own file of controllers, if it has one.
"""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pyrosynth.errors import InputError, integer, one_line, reading, unknown
from pyrosynth.files import checked_path, read_limited, write_bytes
from pyrosynth.synths.base import Synth

VERSION = 1  # of the file; grows whenever a key changes its meaning
LARGEST_FILE = 2**20  # bytes
HIGHEST = 127  # value of a controller
FURTHEST = 3.0  # position of an axis at that value; the presets lie within
# Controllers that MIDI gives no other meaning, such as that of a pedal, a bank or a volume.
FREE = (
    3, 9, 14, 15, *range(16, 32), *range(70, 84), *range(85, 88), *range(89, 96),
    *range(102, 120),
)  # fmt: skip
CHANNELS, FOR_AXES = range(1, 16), 16
FORM = "name = { channel = 1, controller = 3 }"
SHOWN = 5  # names of those that have no controller
HEAD = """\
# Which MIDI controller carries which parameter of {synth}, and which one moves which axis.
# Edit it: take lines away, or give other channels (1 to 16) and controllers (0 to 127).
version = {version}
synth = {quoted}

# Sent to the synth: 0 to 127 from the least value of a parameter to its largest.
[parameters]
"""
AXES = """
# Received: 0 to 127 go from -3 to 3 on an axis of the run; 64 is the middle of all presets.
[axes]
"""


class Controller(NamedTuple):
    """A controller of a MIDI channel.

    Attributes:
        channel: 1 to 16.
        number: 0 to 127.
    """

    channel: int
    number: int


@dataclass(frozen=True)
class ControllerMap:
    """Which controller carries which parameter, and which one moves which axis.

    Attributes:
        synth: The synth.
        parameters: The controllers of parameters, by name.
        axes: The controllers of axes, by name.
    """

    synth: Synth
    parameters: Mapping[str, Controller]
    axes: Mapping[str, Controller]

    @classmethod
    def usual(cls, synth: Synth, axes: Sequence[str]) -> "ControllerMap":
        """Give each parameter a controller, those that the synth follows anyway first.

        Axes are on channel 16.
        """
        names = synth.param_space.names
        taken = {name: Controller(1, number) for name, number in synth.controllers.items()}
        free = iter(
            Controller(channel, number)
            for channel in CHANNELS
            for number in FREE
            if Controller(channel, number) not in taken.values()
        )
        parameters = {n: c for n in names if (c := taken.get(n) or next(free, None))}
        moved = {n: Controller(FOR_AXES, c) for n, c in zip(axes, FREE, strict=False)}
        return cls(synth, parameters, moved)

    @classmethod
    def load(cls, path: str | Path | None, synth: Synth, axes: Sequence[str]) -> "ControllerMap":
        """Read a map; where there is no file yet, write the usual map there first.

        Args:
            path: TOML if its name ends so, else the synth's own file, in which axes have none but
                their usual controllers; None for the usual map.
            synth: The synth.
            axes: Names of the axes.

        Raises:
            InputError: It is no such file, is of another synth or version, or names what there is
                not; or it cannot be written.
        """
        usual = cls.usual(synth, axes)
        if path is None:
            return usual
        file = checked_path("map of controllers", path)
        advice = "mend it, or name a new .toml file, which is then written"
        with reading(InputError, f"'{file}' is no map of controllers", advice):
            there = file.exists()
        if not there:
            usual.save(file)
            return usual
        with reading(InputError, f"'{file}' is no map of controllers", advice):
            content = read_limited(file, LARGEST_FILE).decode("utf-8-sig")
            if file.suffix.lower() != ".toml":
                own = {
                    name: {"channel": 1, "controller": number}
                    for name, number in synth.read_controllers(content).items()
                }
                names = synth.param_space.names
                return cls(synth, _held("parameters", "parameter", own, names), usual.axes)
            return cls._read(tomllib.loads(content), synth, axes)

    @classmethod
    def _read(cls, given: Mapping[str, Any], synth: Synth, axes: Sequence[str]) -> "ControllerMap":
        if given.get("version") != VERSION or given["version"] is True:
            raise InputError(f"version {given.get('version')!r}: this reads {VERSION}")
        if given.get("synth") != synth.name:
            raise InputError(f"it is of synth {given.get('synth')!r}, the run is of {synth.name}")
        names = synth.param_space.names
        sent = _held("parameters", "parameter", given.get("parameters", {}), names)
        received = _held("axes", "axis", given.get("axes", {}), axes)
        for axis, controller in received.items():
            for name in (n for n in sent if sent[n] == controller):
                raise InputError(
                    f"parameter {name} and axis {axis} have one controller, so each move would "
                    "be answered by another; give one of them another"
                )
        return cls(synth, sent, received)

    def save(self, path: str | Path) -> None:
        """Write the map, as TOML or in the synth's own format, by the ending of the name.

        Raises:
            InputError: The synth has no such format, or the file cannot be written.
        """
        file = Path(path)
        if file.suffix.lower() == ".toml":
            content = self.text()
        else:
            content = self.synth.write_controllers(
                {name: c.number for name, c in self.parameters.items() if c.channel == 1}
            )
        write_bytes(file, content.encode())

    def text(self) -> str:
        """Return the map as TOML."""
        lines = [
            "".join(
                f"{_quoted(name)} = {{ channel = {c.channel}, controller = {c.number} }}\n"
                for name, c in part.items()
            )
            for part in (self.parameters, self.axes)
        ]
        name = self.synth.name
        head = HEAD.format(synth=one_line(name), quoted=_quoted(name), version=VERSION)
        return head + lines[0] + AXES + lines[1]

    def left_out(self, axes: Sequence[str]) -> str:
        """Say which parameters and axes have no controller, in a line; empty if all have one.

        Args:
            axes: Names of all axes.
        """
        parts = []
        for kind, every, held in (
            ("parameters", self.synth.param_space.names, self.parameters),
            ("axes", axes, self.axes),
        ):
            if names := [name for name in every if name not in held]:
                shown = ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
                parts.append(f"{len(names)} of {len(every)} {kind} ({shown})")
        return f"no MIDI controller for {' and '.join(parts)}; see --midi-map" if parts else ""

    def values(self, preset: NDArray[np.float64]) -> dict[Controller, int]:
        """Return what each controller is at for a preset.

        Args:
            preset: Native values of all parameters, shape (n_params,).
        """
        space = self.synth.param_space
        share = (preset - space.minimum) / (space.maximum - space.minimum)
        at = dict(zip(space.names, np.rint(HIGHEST * share).astype(int).tolist(), strict=True))
        return {c: at[name] for name, c in self.parameters.items()}

    def changes(
        self, preset: NDArray[np.float64], told: dict[Controller, int]
    ) -> dict[Controller, int]:
        """Return the controllers that a preset has elsewhere than was told; they are now told.

        Args:
            preset: Native values of all parameters, shape (n_params,).
            told: What each controller was told before; changed.
        """
        new = {c: value for c, value in self.values(preset).items() if told.get(c) != value}
        told.update(new)
        return new

    def moved(self, controller: Controller, value: int) -> dict[str, float]:
        """Return the axis that a controller moves, and where to.

        Raises:
            InputError: It moves none.
        """
        for name, c in self.axes.items():
            if c == controller:
                return {name: float(np.clip((value - 64) / 63, -1.0, 1.0)) * FURTHEST}
        known = ", ".join(f"{c.number} ({name})" for name, c in self.axes.items())
        raise InputError(
            f"controller {controller.number} of channel {controller.channel} moves no axis; on "
            f"channel {FOR_AXES} these do: {known or 'none'}"
        )


def _held(part: str, kind: str, listed: Any, known: Sequence[str]) -> dict[str, Controller]:
    """Read one table of a map: the controllers of parameters or of axes, by name."""
    held: dict[str, Controller] = {}
    for name, c in listed.items() if isinstance(listed, dict) else [("", None)]:
        if name and name not in known:
            raise unknown(kind, name[:80], known)
        if not isinstance(c, dict):
            raise InputError(f"{part} is no table of {FORM}")
        held[name] = Controller(
            integer(f"channel of {name}", c["channel"], 1, 16),
            integer(f"controller of {name}", c["controller"], 0, HIGHEST),
        )
        twice = next(n for n in held if held[n] == held[name])
        if twice != name:
            raise InputError(f"{twice} and {name} have one controller")
    return held


def _quoted(text: str) -> str:
    """Return a text in quotes; TOML takes those of JSON, but no halves of characters."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
