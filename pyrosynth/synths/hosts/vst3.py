"""Host of VST3 plugins: bundles, the classes in them, and their preset files."""

import ctypes as C
import logging
import os
import platform
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pyrosynth.errors import InputError, SynthError
from pyrosynth.files import expanded, files_below
from pyrosynth.synths.hosts import vst3_com as com
from pyrosynth.synths.hosts.denormals import denormals_flushed
from pyrosynth.synths.hosts.formats import another_host
from pyrosynth.synths.hosts.plugin import (
    BLOCK,
    PluginClass,
    PluginFile,
    Program,
)
from pyrosynth.synths.hosts.vst3_com import OK, PluginObject
from pyrosynth.synths.hosts.vst3_controls import ControlReader
from pyrosynth.synths.hosts.vst3_instance import Halves, Vst3Instance
from pyrosynth.synths.hosts.vst3_objects import HostApplication
from pyrosynth.synths.hosts.vstpreset import VstPreset

log = logging.getLogger(__name__)
AUDIO_CLASS = b"Audio Module Class"
READ_RATE = 44100  # at which presets are read
MACHINES = "*-*", "MacOS"  # folders of a bundle that hold its library for a kind of machine


class Vst3File(PluginFile):
    """A VST3 bundle, its module open at most once per process."""

    format = "VST3"
    preset_suffix = ".vstpreset"

    def __init__(self, path: Path) -> None:
        """Remember the bundle."""
        super().__init__(path)
        self.context = HostApplication()
        self._factory: PluginObject | None = None

    @classmethod
    def folders(cls) -> list[Path]:
        """Return the user's own folder and those of the system."""
        return [expanded("~/.vst3"), Path("/usr/lib/vst3"), Path("/usr/local/lib/vst3")]

    def binary(self, class_id: str = "") -> Path:
        """Return the library for this kind of machine.

        Raises:
            SynthError: The bundle holds none.
        """
        if os.path.isfile(self.path):
            return self.path
        machine = f"{platform.machine()}-linux" if sys.platform == "linux" else sys.platform
        contents = self.path / "Contents"
        library = contents / machine / f"{self.path.stem}.so"
        others = sorted((contents / machine).glob("*.so"))
        if os.path.isfile(library) or len(others) == 1:
            return library if os.path.isfile(library) else others[0]
        places = filter(os.path.isdir, (place for one in MACHINES for place in contents.glob(one)))
        held = sorted(place.name for place in places)
        found = f"only for {', '.join(held)}" if held and machine not in held else "nor for others"
        raise SynthError(
            f"VST3 bundle '{self.path}' holds no library for {machine}, {found}; install the "
            "plugin for this kind of machine"
        )

    def open(self, class_id: str = "") -> C.CDLL:
        """Return the library, loaded and entered.

        Raises:
            SynthError: It cannot be loaded, or is no VST3 plugin.
        """
        library = super().open(class_id)
        if self._factory is None:
            try:
                entry, factory = library.ModuleEntry, library.GetPluginFactory
            except AttributeError as error:
                self.close()
                raise SynthError(f"'{self.path}' is no VST3 plugin: {error}") from error
            entry.argtypes, entry.restype = [C.c_void_p], C.c_bool
            factory.argtypes, factory.restype = [], C.c_void_p
            pointer = factory() if entry(library._handle) else None
            if not pointer:
                self.close()
                raise SynthError(
                    f"VST3 plugin '{self.path}' does not start{another_host(self.path)}"
                )
            self._factory = PluginObject("IPluginFactory", pointer)
            if third := self._factory.query("IPluginFactory3"):
                third.setHostContext(self.context.pointer)
                third.release()
        return library

    def close(self) -> None:
        """Unload the module; every instance made from it is gone with it."""
        if self._factory is not None:
            self._factory.release()
            self._factory = None
            library = super().open()
            if hasattr(library, "ModuleExit"):
                library.ModuleExit()
        super().close()

    def make(self, class_id: bytes, interface: str) -> PluginObject:
        """Make an object of a class.

        Args:
            class_id: Its 16 bytes.
            interface: Through which it is seen.

        Raises:
            SynthError: The plugin makes none.
        """
        self.open()
        assert self._factory is not None
        made = C.c_void_p()
        wanted = com.interface_id(interface)
        if self._factory.createInstance(class_id, wanted, C.byref(made)) != OK or not made.value:
            raise SynthError(
                f"VST3 plugin '{self.path}' gives no {interface} of {class_id.hex()}"
                f"{another_host(self.path)}"
            )
        return PluginObject(interface, made.value)

    def classes(self) -> list[PluginClass]:
        """List the plugins of the bundle; those that do not call themselves instruments, too."""
        self.open()
        assert self._factory is not None
        second = self._factory.query("IPluginFactory2")
        of_all = com.FactoryInfo()
        self._factory.getFactoryInfo(C.byref(of_all))
        listed = []
        for index in range(self._factory.countClasses()):
            info = com.ClassInfo()
            if second is None or second.getClassInfo2(index, C.byref(info)) != OK:
                self._factory.getClassInfo(index, C.byref(info))
            if info.category != AUDIO_CLASS:
                continue
            kinds = info.sub_categories.decode("utf-8", "replace")
            is_instrument = "Instrument" in kinds or second is None
            listed.append(
                PluginClass(
                    id=bytes(info.cid).hex().upper(),
                    name=info.name.decode("utf-8", "replace"),
                    maker=(info.vendor or of_all.vendor).decode("utf-8", "replace"),
                    version=info.version.decode("utf-8", "replace"),
                    unusable="" if is_instrument else f"is no instrument but '{kinds}'",
                )
            )
        if second is not None:
            second.release()
        return listed

    def describe(self, class_id: str) -> PluginClass:
        """Describe one synth, with its controls."""
        told = next(listed for listed in self.classes() if listed.id == class_id)
        with Halves(self, class_id) as halves:
            halves.show(halves.state_of(halves.component))
            has_notes = halves.component.getBusCount(com.EVENT, com.INPUT) > 0
            has_sound = halves.component.getBusCount(com.AUDIO, com.OUTPUT) > 0
            if not (has_notes and has_sound):
                lacks = "has no output" if has_notes else "takes no notes"
                raise SynthError(f"{told.name} in '{self.path}' {lacks}, so it is no instrument")
            with denormals_flushed():
                controls, dropped = ControlReader(halves.controller).read()
        return replace(told, controls=controls, dropped=dropped)

    def instance(self, described: PluginClass, sample_rate: int) -> Vst3Instance:
        """Instantiate a synth, ready to play."""
        return Vst3Instance(self, described, sample_rate)

    def save_preset(
        self, path: Path, described: PluginClass, name: str, values: NDArray[np.float64]
    ) -> None:
        """Write a ``.vstpreset`` file, which has no room for a name."""
        with self.instance(described, READ_RATE) as instance:
            instance.set(values)
            instance.process(BLOCK, [])
            VstPreset(described.id, *instance.states()).save(path)

    def preset_files(self, described: PluginClass) -> list[Path]:
        """Return the ``.vstpreset`` files of the user and the system, by maker and plugin."""
        shares = (Path(share) / "vst3" for share in ("/usr/share", "/usr/local/share"))
        roots = [root / "presets" for root in (expanded("~/.vst3"), *shares)]
        own = Path(described.maker) / described.name
        files: list[Path] = []
        for root in roots:
            found, wrong = files_below(root / own, self.preset_suffix)
            files += found
            for line in wrong.values():
                log.warning("left out: %s", line)
        return files

    def load_presets(self, path: Path, described: PluginClass) -> list[Program]:
        """Read a ``.vstpreset`` file through the plugin."""
        preset = VstPreset.load(path)
        if preset.class_id != described.id:
            raise InputError(
                f"'{path}' is a preset of the VST3 class {preset.class_id}, not of "
                f"{described.name} ({described.id})"
            )
        with self.instance(described, READ_RATE) as instance:
            instance.load_states(preset.component, preset.controller)
            return [Program(path.stem, tuple(instance.values().tolist()))]
