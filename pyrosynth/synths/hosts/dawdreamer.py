"""Host of VST2 plugins, and another one of VST3 plugins: the package DawDreamer.

DawDreamer is free software under the GPL, version 3, and no part of this package: the extra
``plugins`` installs it, and only the processes that render or ask a plugin import it. It knows all
controls by numbers normalised to [0, 1].
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pyrosynth.errors import InputError, SynthError, counted
from pyrosynth.files import expanded
from pyrosynth.synths.hosts.formats import DAWDREAMER, another_host
from pyrosynth.synths.hosts.fxp import FxFile, FxPreset
from pyrosynth.synths.hosts.library import check_library
from pyrosynth.synths.hosts.plugin import PluginClass, PluginFile, Program, distinct_names
from pyrosynth.synths.hosts.vst3 import Vst3File
from pyrosynth.synths.packages import version_of

if TYPE_CHECKING:
    from pyrosynth.synths.hosts.dawdreamer_instance import DawDreamerInstance

PACKAGE = "dawdreamer"
READ_RATE = 44100  # at which controls and presets are read


class DawDreamerFile(PluginFile):
    """A plugin file that DawDreamer plays; of several plugins in a file, it plays the first.

    Raises:
        SynthError: DawDreamer is not installed.
    """

    # To load a plugin takes long, since DawDreamer looks at all LV2 plugins as well.
    isolations = ("reuse", "fork", "fresh", "reload", "load")

    def __init__(self, path: Path) -> None:
        """Remember the file; it is opened when first needed."""
        super().__init__(path)
        self._host_version = version_of(
            PACKAGE, "the host 'dawdreamer'", "DawDreamer (GPL-3.0)", "plugins"
        )
        self._kept: DawDreamerInstance | None = None
        self._keeper = 0  # process that made it

    def binary(self, class_id: str = "") -> Path:
        """Return the file itself."""
        return self.path

    def fingerprint(self, class_id: str = "") -> str:
        """Return a SHA-256 of the plugin, and the version of DawDreamer."""
        return f"{super().fingerprint(class_id)} DawDreamer {self._host_version}"

    def prepare(self, class_id: str) -> None:
        """Import the package, which takes longer than to load most plugins."""
        import dawdreamer  # noqa: F401

    def load(self, described: PluginClass, sample_rate: int) -> None:
        """Make an instance that nobody plays but processes that are forked now, each its own."""
        if self._kept is None or self._kept.sample_rate != sample_rate:
            self.close()
            self._kept, self._keeper = self._new_instance(described, sample_rate), os.getpid()

    def close(self) -> None:
        """Unload the plugin, once every other instance is closed."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None
            self.generation += 1

    def classes(self) -> list[PluginClass]:
        """Return the plugin."""
        return [PluginClass(self.path.stem, self.path.stem)]

    def describe(self, class_id: str) -> PluginClass:
        """Describe the plugin: its controls, and whether it takes notes."""
        listed, unusable = PluginClass(class_id, self.path.stem), ""
        with self.instance(listed, READ_RATE) as instance:
            controls = distinct_names(instance.read_controls())
            if not instance.n_outputs:
                unusable = "has no audio output"
            elif not instance.takes_notes():
                unusable = "is an effect: it takes no notes"
        return PluginClass(
            class_id,
            self.path.stem,
            unusable=unusable,
            is_effect=bool(unusable),
            controls=tuple(control for control in controls if not control.role),
            dropped=tuple(control for control in controls if control.role),
        )

    def instance(self, described: PluginClass, sample_rate: int) -> "DawDreamerInstance":
        """Instantiate the plugin; a forked process takes the instance that was made for it."""
        if self._kept is not None and self._keeper != os.getpid():
            return self._kept
        self.close()  # a library that stays loaded keeps its static variables
        return self._new_instance(described, sample_rate)

    def _new_instance(self, described: PluginClass, sample_rate: int) -> "DawDreamerInstance":
        from pyrosynth.synths.hosts.dawdreamer_instance import DawDreamerInstance

        check_library(self.binary())
        try:
            return DawDreamerInstance(self.path, described, sample_rate)
        except SynthError as error:
            raise SynthError(f"{error}{another_host(self.path, DAWDREAMER)}") from error


class Vst2File(DawDreamerFile):
    """A VST2 plugin: a library with one plugin."""

    format = "VST2"
    preset_suffix = ".fxp"

    @classmethod
    def folders(cls) -> list[Path]:
        """Return the folders of ``VST_PATH`` and the usual ones."""
        given = [expanded(p) for p in os.environ.get("VST_PATH", "").split(":") if p]
        system = [
            Path(root) / name
            for root in ("/usr/lib", "/usr/local/lib")
            for name in ("vst", "lxvst")
        ]
        return [*given, expanded("~/.vst"), expanded("~/.lxvst"), *system]

    def classes(self) -> list[PluginClass]:
        """Return the plugin, known by its four characters."""
        with self.instance(PluginClass("", ""), READ_RATE) as instance:
            return [PluginClass(_readable(_kept_by(instance).plugin_id), self.path.stem)]

    def save_preset(
        self, path: Path, described: PluginClass, name: str, values: NDArray[np.float64]
    ) -> None:
        """Write the parameters as ``.fxp``, or what the plugin keeps of itself as ``.fxb``."""
        with self.instance(described, READ_RATE) as instance:
            instance.set(values)
            file = _kept_by(instance)
            if path.suffix.lower() != ".fxb":
                preset = FxPreset(name, instance.all_values())
                file = FxFile(file.plugin_id, file.plugin_version, (preset,))
        file.save(path)

    def load_presets(self, path: Path, described: PluginClass) -> Sequence[Program | InputError]:
        """Read an ``.fxp`` or ``.fxb`` file; chunks are read by the plugin."""
        file = FxFile.load(path)
        if (owner := _readable(file.plugin_id)) != described.id:
            raise InputError(
                f"'{path}' is of the VST2 plugin {owner}, not of {described.name} ({described.id})"
            )
        with self.instance(described, READ_RATE) as instance:
            if file.has_chunk and not _kept_by(instance).chunk:
                raise InputError(
                    f"'{path}' holds a chunk that only a plugin understands, but {described.name} "
                    "keeps parameters; give presets of parameters"
                )
            if file.chunk:
                return [Program(path.stem, instance.values_of(file))]
            n = len(instance.all_values())
            programs: list[Program | InputError] = []
            for preset in file.presets:
                name = preset.name or path.stem
                if not preset.chunk and len(preset.values) != n:
                    held = counted(len(preset.values), "parameter")
                    said = f"preset '{name}' in '{path}' holds {held}, {described.name} has {n}"
                    programs.append(InputError(said))
                elif not preset.chunk:
                    programs.append(Program(name, instance.controls_of(preset)))
                else:
                    one = FxFile(file.plugin_id, file.plugin_version, (preset,))
                    try:
                        programs.append(Program(name, instance.values_of(one)))
                    except SynthError as error:
                        programs.append(InputError(f"preset '{name}' in '{path}': {error}"))
        return programs


class DawDreamerVst3File(DawDreamerFile):
    """A VST3 plugin that DawDreamer plays instead of the own host."""

    format = "VST3"

    @classmethod
    def folders(cls) -> list[Path]:
        """Return the folders of the own host."""
        return Vst3File.folders()

    def binary(self, class_id: str = "") -> Path:
        """Return the library for this kind of machine."""
        return Vst3File(self.path).binary(class_id)


def _kept_by(instance: "DawDreamerInstance") -> FxFile:
    """Return what a VST2 plugin keeps of itself."""
    try:
        return FxFile.from_bytes(instance.state())
    except ValueError as error:
        raise SynthError(f"the VST2 plugin keeps nothing of itself: {error}") from error


def _readable(plugin_id: bytes) -> str:
    """Return the four characters of a plugin's id, or its hexadecimal digits."""
    text = plugin_id.decode("latin-1")
    return text if text.isascii() and text.isalnum() else plugin_id.hex()
