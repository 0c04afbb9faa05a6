"""A plugin that DawDreamer plays: its controls, one note, its state."""

import math
import re
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyrosynth.audio.io import Audio
from pyrosynth.audio.note import Note
from pyrosynth.errors import SynthError
from pyrosynth.synths.hosts.fxp import FxFile, FxPreset
from pyrosynth.synths.hosts.library import load_library
from pyrosynth.synths.hosts.plugin import (
    BLOCK,
    MOST_LABELLED,
    MOST_STEPS,
    Control,
    Instance,
    PluginClass,
    Program,
    Role,
)
from pyrosynth.synths.hosts.texts import labels_of, steps_of

TRIED = Note(hold_seconds=0.5, duration_seconds=0.5)  # what an effect does not answer
# JUCE makes a control for each MIDI controller of a VST3 plugin, and tells them by name only.
MIDI_CONTROLLER = re.compile(r"MIDI (Ch\. ?\d+ )?CC.*")
FEWEST_CONTROLLERS = 64  # with fewer, they are the plugin's own
PROGRAM = re.compile(r"\bprograms?\b", re.IGNORECASE)


class DawDreamerInstance(Instance):
    """One plugin in an engine of DawDreamer.

    Args:
        path: What DawDreamer loads.
        described: What is known of the plugin; of it, the controls are needed here.
        sample_rate: Rate in Hz.

    Raises:
        SynthError: DawDreamer cannot load the plugin.
    """

    def __init__(self, path: Path, described: PluginClass, sample_rate: int) -> None:
        """Load the plugin into an engine of its own."""
        import dawdreamer

        self.sample_rate = sample_rate
        self._indices = [int(control.id) for control in described.controls]
        self._engine = dawdreamer.RenderEngine(sample_rate, BLOCK)
        try:
            self._processor = self._engine.make_plugin_processor("plugin", str(path))
        except RuntimeError as error:
            if path.is_file():
                load_library(path)  # which says what it lacks, such as another library
            raise SynthError(
                f"DawDreamer cannot load the plugin '{path}'; it may be damaged or no instrument, "
                "install it again"
            ) from error
        if self._processor.get_num_output_channels() > 2:
            with suppress(RuntimeError):
                self._processor.disable_nonmain_buses()
        self._is_ready = False

    def read_controls(self) -> list[Control]:
        """Read the controls; steps and labels are told by the texts of values, one by one."""
        told = self._processor.get_parameters_description()
        now = self.all_values()
        played = {c["index"] for c in told if MIDI_CONTROLLER.fullmatch(c["name"])}
        controls = []
        if len(played) >= FEWEST_CONTROLLERS:  # one entry for all of them
            name = f"{len(played)} MIDI controllers"
            controls.append(Control(str(min(played)), name, role="midi controller"))
            told = [c for c in told if c["index"] not in played]
        controls += [self._control(info, now[info["index"]]) for info in told]
        for info in told:
            self._processor.set_parameter(info["index"], now[info["index"]])
        return controls

    def takes_notes(self) -> bool:
        """Return whether the plugin is an instrument: it has no input, or answers a note."""
        if not self._processor.get_num_input_channels():
            return True
        return bool(self._play(TRIED).any())

    @property
    def n_outputs(self) -> int:
        """Number of channels that come out."""
        return int(self._processor.get_num_output_channels())

    def set(self, values: NDArray[np.float64]) -> None:
        """Set all controls."""
        for index, value in zip(self._indices, values.tolist(), strict=True):
            self._processor.set_parameter(index, value)

    def play(self, values: ArrayLike, note: Note) -> Audio:
        """Play one note; see `Instance.play`."""
        self.set(np.asarray(values, np.float64))
        return self._play(note)

    def values(self) -> NDArray[np.float64]:
        """Read the controls back."""
        every = self.all_values()
        return np.array([every[index] for index in self._indices])

    def all_values(self) -> tuple[float, ...]:
        """Read all parameters of the plugin, those that are no controls as well."""
        return tuple(float(value) for _, value in self._processor.get_patch())

    def text(self, control: int, value: float) -> str:
        """Return a value of a control as the plugin writes it."""
        index = self._indices[control]
        before = self._processor.get_parameter(index)
        text = self._text(index, value)
        self._processor.set_parameter(index, before)
        return text

    def programs(self) -> list[Program]:
        """Return the presets that come with a VST2 plugin which keeps parameters, no chunk."""
        state = self.state()
        if state[:4] != b"CcnK":
            return []
        presets = FxFile.from_bytes(state).presets
        return [Program(preset.name, self.controls_of(preset)) for preset in presets]

    def controls_of(self, preset: FxPreset) -> tuple[float, ...]:
        """Return the values of the controls in a preset of parameters."""
        return tuple(preset.values[index] for index in self._indices)

    def state(self) -> bytes:
        """Return the state as JUCE keeps it: of a VST2 plugin, the content of an ``.fxb`` file."""
        with tempfile.TemporaryDirectory(prefix="pyrosynth-") as folder:
            file = Path(folder) / "state"
            self._processor.save_state(str(file))
            return file.read_bytes()

    def load_state(self, state: bytes) -> None:
        """Take up a state."""
        self._loaded("load_state", state)

    def values_of(self, preset: FxFile) -> tuple[float, ...]:
        """Return what a preset or a bank of a VST2 plugin makes of the controls.

        Raises:
            SynthError: The plugin does not take it.
        """
        if self._loaded("load_preset", preset.to_bytes()) is False:
            raise SynthError("the plugin does not take this preset; it may be of another version")
        return tuple(self.values().tolist())

    def close(self) -> None:
        """Let the plugin free the instance."""
        del self._processor, self._engine

    def _play(self, note: Note) -> Audio:
        """Play one note with the controls as they are."""
        n_samples = note.n_samples(self.sample_rate)
        release = min(int(note.hold_seconds * self.sample_rate), n_samples)
        # Half a sample more: DawDreamer rounds times down.
        held, seconds = ((n + 0.5) / self.sample_rate for n in (release, n_samples))
        self._processor.clear_midi()
        self._processor.add_midi_note(note.pitch, note.velocity, 0.0, held)
        if not self._is_ready:
            self._engine.load_graph([(self._processor, [])])
            self._is_ready = True
        self._engine.render(seconds)
        mono: Audio = self._engine.get_audio()[:, :n_samples].mean(axis=0, dtype=np.float32)
        return mono

    def _control(self, info: dict[str, Any], now: float) -> Control:
        index, name = info["index"], info["name"].strip()
        labels: tuple[str, ...] = ()
        if info["isDiscrete"] and 2 <= info["numSteps"] <= MOST_STEPS:
            steps = info["numSteps"]
            if steps <= MOST_LABELLED:
                labels = labels_of(
                    [self._text(index, i / (steps - 1)) for i in range(steps)], steps
                )
        else:
            steps, labels = steps_of(lambda unit: self._text(index, unit))
        default = min(max(now, 0.0), 1.0) if math.isfinite(now) else 0.0
        if steps:
            default = round(default * (steps - 1)) / (steps - 1)
        role: Role = "program change" if labels and PROGRAM.search(name) else ""
        return Control(str(index), name, default=default, steps=steps, labels=labels, role=role)

    def _text(self, index: int, unit: float) -> str:
        """Set a control, and return how the plugin writes its value."""
        self._processor.set_parameter(index, unit)
        return str(self._processor.get_parameter_text(index)).strip()

    def _loaded(self, method: str, content: bytes) -> Any:
        with tempfile.TemporaryDirectory(prefix="pyrosynth-") as folder:
            file = Path(folder) / "state.fxp"
            file.write_bytes(content)
            return getattr(self._processor, method)(str(file))
