"""The interface that a host of a plugin format provides, and its description of a plugin.

A format is one module with two classes: a `PluginFile`, which opens a file and lists the synths in
it, and an `Instance`, one synth that plays. `pyrosynth.synths.hosts.formats` lists the formats by
the suffix of their files; `pyrosynth.synths.plugin_synth` makes a synth of any plugin.

The block size and where a note starts and ends shape the sound, so every format shares them.
"""

import _ctypes
import ctypes as C
import hashlib
import itertools
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyrosynth.audio.io import Audio
from pyrosynth.audio.note import Note
from pyrosynth.errors import InputError, SynthError
from pyrosynth.synths.base import ISOLATIONS, Isolation
from pyrosynth.synths.hosts.library import load_library
from pyrosynth.synths.params import Curve, Param

BLOCK = 512  # samples per call of the plugin; another size gives another sound
NO_CONTROLS = "has no control to learn"
MOST_LABELLED = 40  # settings of a control that is a choice and not a number
MOST_STEPS = 128  # settings of a stepped control; with more, it counts as continuous

Role = Literal["", "midi controller", "program change", "bypass", "read-only", "hidden"]


@dataclass(frozen=True)
class Control:
    """One control as the plugin's format describes it.

    Attributes:
        id: How the format names it, such as the symbol of an LV2 port or the number of a VST3
            parameter, written in decimal; unique in its synth.
        name: What people read; made unique in its synth by `distinct_names`.
        minimum: Lowest value that `Instance.set` takes.
        maximum: Highest value.
        default: Value of the untouched control.
        steps: Number of settings, evenly spaced from minimum to maximum; 0 if it is continuous.
        labels: Text of each setting, where they are no mere numbers; ``steps`` of them, or none.
        unit: Physical unit; empty if none is told.
        group: Part of the synth that it belongs to; empty if none is told.
        curve: Whether the plugin asks for a logarithmic scale.
        role: Why it is no control of the sound; empty if it is one.
    """

    id: str
    name: str
    minimum: float = 0.0
    maximum: float = 1.0
    default: float = 0.0
    steps: int = 0
    labels: tuple[str, ...] = ()
    unit: str = ""
    group: str = ""
    curve: Curve = "linear"
    role: Role = ""

    def param(self) -> Param:
        """Return the parameter that it is, by what the format tells alone.

        Raises:
            InputError: The numbers contradict each other, for example by an empty range.
        """
        numbers = (self.minimum, self.maximum, min(max(self.default, self.minimum), self.maximum))
        told: dict[str, Any] = {"unit": self.unit, "group": self.group}
        if self.steps == 2 and not self.labels:
            return Param(self.name, "toggle", *numbers, 2, **told)
        if self.labels and self.steps <= MOST_LABELLED:
            return Param(
                self.name, "categorical", *numbers, self.steps, labels=self.labels, **told
            )
        if 2 <= self.steps <= MOST_STEPS:
            return Param(self.name, "stepped", *numbers, self.steps, **told)
        curve: Curve = self.curve if self.minimum > 0 else "linear"
        return Param(self.name, "continuous", *numbers, curve=curve, **told)


@dataclass(frozen=True)
class Program:
    """A preset that comes with the plugin.

    Attributes:
        name: What its maker called it.
        values: Native value of each control, in their order.
    """

    name: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class PluginClass:
    """One synth in a plugin file, as its format describes it.

    Attributes:
        id: How the format names it, such as the URI of an LV2 plugin; unique in its file.
        name: What people read.
        maker: Who made it; empty if it is not told.
        version: As the maker writes it; empty if it is not told.
        unusable: Why it cannot be played as an instrument, such as "it takes no notes"; empty if
            it can.
        is_effect: Whether it is meant for something else than playing notes.
        controls: Those that make up the sound, in the order of every array of values; none where
            only the classes of a file are listed.
        dropped: The others, each with its role.
        has_threads: Whether threads of the plugin run once it is loaded; found out by
            `pyrosynth.synths.hosts.process`.
    """

    id: str
    name: str
    maker: str = ""
    version: str = ""
    unusable: str = ""
    is_effect: bool = False
    controls: tuple[Control, ...] = ()
    dropped: tuple[Control, ...] = ()
    has_threads: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready description."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "PluginClass":
        """Read `to_json`'s description back."""
        controls, dropped = (
            tuple(Control(**{**c, "labels": tuple(c["labels"])}) for c in data[key])
            for key in ("controls", "dropped")
        )
        return cls(**{**data, "controls": controls, "dropped": dropped})


class Instance(ABC):
    """One instantiated synth of a plugin; a context that closes it.

    A host implements `set`, `play` and `close`, and of the rest what its format can do; one that
    runs blocks is a `pyrosynth.synths.hosts.blocks.BlockInstance`.

    Attributes:
        sample_rate: Rate in Hz.
        generation: That of its file when it was made; past it, the instance is gone.
    """

    sample_rate: int
    generation: int = 0

    def __enter__(self) -> Self:
        """Return the instance."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the instance."""
        self.close()

    @abstractmethod
    def set(self, values: NDArray[np.float64]) -> None:
        """Set all controls, from the first sample of the next block on.

        Args:
            values: Native values in the order of `PluginClass.controls`, shape (n_controls,).
        """

    @abstractmethod
    def play(self, values: ArrayLike, note: Note) -> Audio:
        """Play one note.

        Args:
            values: Native values of the controls, shape (n_controls,).
            note: What to play.

        Returns:
            Mean of the outputs, shape (n_samples,).
        """

    @abstractmethod
    def close(self) -> None:
        """Let the plugin free the instance and everything asked of it."""

    def values(self) -> NDArray[np.float64]:
        """Read the controls back, shape (n_controls,).

        Raises:
            SynthError: The format does not tell.
        """
        raise SynthError("plugins of this format do not tell the values of their controls")

    def text(self, control: int, value: float) -> str:
        """Return a value of a control as the plugin writes it; empty if it does not."""
        return ""

    def programs(self) -> list[Program]:
        """Return the presets that come with the plugin, each read back from it."""
        return []

    def state(self) -> bytes:
        """Return everything the plugin wants to keep of its setting, as its format stores it.

        Raises:
            SynthError: The plugin has no state.
        """
        raise SynthError("this plugin has no state that can be kept")

    def load_state(self, state: bytes) -> None:
        """Take up what `state` returned.

        Raises:
            SynthError: The plugin does not take it.
        """
        raise SynthError("this plugin has no state that can be loaded")


class PluginFile(ABC):
    """One plugin file or bundle, its library open at most once per process.

    A second handle on the same library would keep it loaded, so that closing it no longer resets
    its static variables; hence one object per file, which
    `pyrosynth.synths.hosts.formats.open_plugin` gives, shared by every synth in it.

    Attributes:
        format: Name of the format, such as ``"LV2"``.
        preset_suffix: Of the files that `save_preset` writes; empty if it writes none.
        isolations: What may be renewed between two sounds, the cheapest first.
        version: Number of this host, part of the identity of each synth; it grows when the
            host changes what one hears.
        path: The file or bundle.
        lock: Held by whoever uses the library.
        generation: How often the library was closed.
    """

    format: ClassVar[str]
    preset_suffix: ClassVar[str] = ""
    isolations: ClassVar[tuple[Isolation, ...]] = ISOLATIONS
    version: ClassVar[int] = 1

    def __init__(self, path: Path) -> None:
        """Remember the file; it is opened when first needed."""
        self.path = path
        self.lock = threading.RLock()
        self.generation = 0
        self._libraries: dict[Path, C.CDLL] = {}

    @classmethod
    @abstractmethod
    def folders(cls) -> list[Path]:
        """Return the folders in which plugins of the format are looked for on this machine."""

    @classmethod
    def environment(cls) -> dict[str, str]:
        """Return environment variables that a child process needs beside its private home."""
        return {}

    @abstractmethod
    def binary(self, class_id: str = "") -> Path:
        """Return the library that is loaded, which lies inside a bundle.

        Args:
            class_id: The synth, where each has a library of its own.

        Raises:
            SynthError: There is none for this kind of machine.
        """

    @abstractmethod
    def classes(self) -> list[PluginClass]:
        """List what is in the file, instruments and others, without their controls.

        Raises:
            SynthError: It is no plugin.
        """

    @abstractmethod
    def describe(self, class_id: str) -> PluginClass:
        """Describe one synth, with its controls."""

    @abstractmethod
    def instance(self, described: PluginClass, sample_rate: int) -> Instance:
        """Instantiate a synth, ready to play in blocks of `BLOCK`.

        Args:
            described: What `describe` returned, perhaps in another process.
            sample_rate: Rate in Hz.

        Raises:
            SynthError: The plugin gives no instance.
        """

    def save_preset(
        self, path: Path, described: PluginClass, name: str, values: NDArray[np.float64]
    ) -> None:
        """Write a preset in the format's own file or bundle; the place is new.

        Args:
            path: Where to write.
            described: The synth.
            name: Of the preset.
            values: Native values of the controls, shape (n_controls,).

        Raises:
            SynthError: The format has no such file, or the plugin gives no state.
        """
        raise SynthError(f"plugins of the format {self.format} have no preset file")

    def load_presets(self, path: Path, described: PluginClass) -> Sequence[Program | InputError]:
        """Read the presets of a file of the format, with an error in the place of a bad one.

        Raises:
            InputError: It is none, of another synth, or bad as a whole.
            SynthError: The format has no such file, or the plugin does not take it.
        """
        raise SynthError(f"plugins of the format {self.format} have no preset file")

    def preset_files(self, described: PluginClass) -> list[Path]:
        """Return the files of presets in the folders where users of the format keep them."""
        return []

    def files(self, class_id: str = "") -> list[Path]:
        """Return the files that make up the sound of a synth, which `fingerprint` covers."""
        return [self.binary(class_id)]

    def fingerprint(self, class_id: str = "") -> str:
        """Return a SHA-256 that changes whenever the files of a synth or this host do."""
        digest = hashlib.sha256(f"{self.format} host {self.version}".encode())
        for file in self.files(class_id):
            digest.update(hashlib.sha256(file.read_bytes()).digest())
        return digest.hexdigest()

    def prepare(self, class_id: str) -> None:  # noqa: B027
        """Read what an instance needs beside the library, once, before processes are forked."""

    def load(self, described: PluginClass, sample_rate: int) -> None:
        """Load what instances need, before processes are forked that play at a rate in Hz."""
        self.open(described.id)

    def open(self, class_id: str = "") -> Any:
        """Return the library of a synth, opened if it is closed.

        Raises:
            SynthError: It cannot be loaded.
        """
        if (binary := self.binary(class_id)) not in self._libraries:
            self._libraries[binary] = load_library(binary)
        return self._libraries[binary]

    def close(self) -> None:
        """Unload the library; every instance made from it is gone with it."""
        for library in self._libraries.values():
            _ctypes.dlclose(library._handle)
        self.generation += bool(self._libraries)
        self._libraries.clear()


def distinct_names(controls: Sequence[Control]) -> tuple[Control, ...]:
    """Give controls of one name a number each: ``Level``, ``Level 2``, ``Level 3``."""
    taken: dict[str, Control] = {}
    for control in controls:
        first = control.name or control.id
        candidates = itertools.chain([first], (f"{first} {i}" for i in itertools.count(2)))
        name = next(name for name in candidates if name not in taken)
        taken[name] = replace(control, name=name)
    return tuple(taken.values())


def shortest(value: float) -> float:
    """Return the shortest number that is the same in single precision: 0.2, not 0.200000003."""
    single = np.float32(value)
    return float(str(single)) if float(single) == value else value
