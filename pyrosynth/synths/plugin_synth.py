"""Any plugin as a synth: what its host tells becomes parameters."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyrosynth.audio.io import Audio
from pyrosynth.audio.note import Note
from pyrosynth.errors import InputError, SynthError
from pyrosynth.files import atomic, checked_path
from pyrosynth.synths.answers import answer, kept
from pyrosynth.synths.base import Isolation
from pyrosynth.synths.hosts.formats import OWN, open_plugin, split_class
from pyrosynth.synths.hosts.plugin import NO_CONTROLS, Instance, PluginClass, PluginFile
from pyrosynth.synths.hosts.process import ask
from pyrosynth.synths.isolation import IsolatedSynth, require_isolation
from pyrosynth.synths.params import ParamSpace
from pyrosynth.synths.presets import Preset, all_good, checked_presets, checked_values

log = logging.getLogger(__name__)
NO_NUMBER = "has a value that is no number"


class PluginSynth(IsolatedSynth):
    """A plugin of any hosted format as a synth.

    Args:
        path: The plugin, with ``#name`` behind it where it holds several instruments; or the URI
            of an LV2 plugin.
        isolation: What is renewed between two sounds. ``load`` is exact for all plugins known;
            `pyrosynth.synths.probing.probe_isolation` finds a cheaper one. ``fork`` is not
            offered where the plugin starts threads when it is loaded.
        host: What plays it, one of `pyrosynth.synths.hosts.formats.HOSTS`: ``own``, or
            ``dawdreamer`` for VST2 plugins and for VST3 plugins that the own host cannot load;
            the extra ``plugins`` installs it.

    Attributes:
        described: What the plugin's format tells of it.

    Raises:
        SynthError: The plugin is missing, damaged, no instrument or lacks something, or the host
            is not installed.
        InputError: The name, the host or the isolation is unknown, or the isolation is not
            offered.
    """

    usual_prior = "mixture"

    def __init__(
        self, path: str | os.PathLike[str], isolation: Isolation = "load", host: str = OWN
    ) -> None:
        """Describe the plugin in a child process; it is loaded by the first ``render``."""
        require_isolation(isolation)
        place, wanted = split_class(os.fspath(path), host)
        self.host = host
        self.file: PluginFile = open_plugin(place, host)
        files = [self.path]
        told = answer(self._question(wanted), files, lambda: self._ask("describe", wanted))
        self.described = PluginClass.from_json(told)
        self.told = kept(self._question(self.described.id), files, told)
        self.name = self.described.name.lower()
        self.preset_suffix = self.file.preset_suffix
        has_threads = self.described.has_threads
        self.set_isolation(isolation, self.path, has_threads, self.file.isolations)
        if not self.described.controls:
            raise SynthError(f"{self.described.name} in '{self.path}' {NO_CONTROLS}")
        try:
            params = tuple(control.param() for control in self.described.controls)
        except InputError as error:
            raise SynthError(f"{self.described.name} in '{self.path}': {error}") from error
        self.param_space = ParamSpace(params)

    @property
    def dropped(self) -> dict[str, str]:  # type: ignore[override]
        """Controls that are none of the sound, and why."""
        return {control.name: control.role for control in self.described.dropped}

    @property
    def path(self) -> Path:
        """The plugin file or bundle."""
        return self.file.path

    def spec(self) -> dict[str, Any]:
        """Return the path with the synth's id, the isolation, and the host if it is another."""
        return {
            "synth": "plugin",
            "path": f"{self.path}#{self.described.id}",
            "isolation": self.isolation,
            **({} if self.host == OWN else {"host": self.host}),
        }

    def identity(self) -> str:
        """Return a hash of the plugin's files and the version of its host, and the synth's id."""
        return f"{self.file.fingerprint(self.described.id)} {self.described.id}"

    def presets(self) -> list[Preset]:
        """Return the plugin's own programs and its user's, read through it in child processes.

        What is damaged is left out, and named in the log.
        """
        described = self.described.to_json()
        told = [(name, v, "factory") for name, v in self._ask("programs", described)]
        if files := [str(file) for file in self.file.preset_files(self.described)]:
            loaded = self._ask("load_files", described, files)
            told += [(name, v, Path(file).parent.name) for file, name, v in loaded]
        presets = []
        for name, values, bank in told:
            if np.isfinite(values).all():
                presets.append(self._preset(name, values, bank))
            else:
                log.warning("left out: preset '%s' in '%s' %s", name, bank, NO_NUMBER)
        return presets

    def write_bank(self, path: Path, presets: Sequence[Preset]) -> bool:
        """Write the first preset in the file or bundle of the format; False if it has none."""
        if not self.preset_suffix:
            return False
        preset = checked_presets(presets)[0]
        values = preset.array(self.param_space).tolist()
        with atomic(checked_path("preset file", path)) as new:
            self._ask("save_preset", self.described.to_json(), str(new), preset.name, values)
        return True

    def read_bank(self, path: str | os.PathLike[str]) -> list[Preset]:
        """Read a file of the format's own presets, such as `write_bank` writes.

        Raises:
            InputError: It is none, is of another synth, or has a value that is no number.
            SynthError: The format has none, or the plugin does not take it.
        """
        return all_good(self.read_each(path))

    def read_each(self, path: str | os.PathLike[str]) -> list[Preset | InputError]:
        """Read a file, of which one preset may be bad; see `Synth.read_each`."""
        file = checked_path("preset file", path)
        each: list[Preset | InputError] = []
        for one in self._ask("load_presets", self.described.to_json(), os.path.realpath(file)):
            if isinstance(one, str):
                each.append(InputError(one))
                continue
            name, values = one
            if np.isfinite(values).all():
                each.append(self._preset(name, values, file.name))
            else:
                each.append(InputError(f"preset '{name}' in '{file}' {NO_NUMBER}"))
        return each

    def render(self, values: NDArray[np.float64], note: Note, sample_rate: int) -> Audio:
        """Render one note.

        Args:
            values: Native parameter values, shape (n_params,).
            note: What to play.
            sample_rate: Rate in Hz.

        Returns:
            Mean of the outputs, shape (n_samples,), float32.

        Raises:
            InputError: Values or note are none.
            SynthError: The plugin gives no instance, or its forked child died.
        """
        return self.play(checked_values(values, self.param_space, 1), note, sample_rate)

    @property
    def library(self) -> PluginFile:
        """The plugin file."""
        return self.file

    def open_library(self, sample_rate: int) -> None:
        """Load what an instance needs."""
        self.file.load(self.described, sample_rate)

    def prepare(self) -> None:
        """Read the files that describe the plugin, which forked processes need not do then."""
        self.file.prepare(self.described.id)

    def new_instance(self, sample_rate: int) -> Instance:
        """Return an instance of the plugin.

        Raises:
            SynthError: The plugin gives none.
        """
        try:
            instance = self.file.instance(self.described, sample_rate)
        except AttributeError as error:
            raise SynthError(f"cannot open plugin '{self.path}': {error}") from error
        instance.generation = self.file.generation
        return instance

    def _preset(self, name: str, values: ArrayLike, bank: str) -> Preset:
        """Return what a plugin or a file tells as a preset, within the ranges of the controls."""
        space = self.param_space
        return Preset.from_array(space, np.clip(values, space.minimum, space.maximum), name, bank)

    def _question(self, wanted: str) -> str:
        return f"{self.host}: describe {self.path}#{wanted}"

    def _ask(self, operation: str, *arguments: Any) -> Any:
        return ask(operation, self.path, *arguments, host=self.host)
