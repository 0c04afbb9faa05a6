"""One VST3 synth that plays: an object that renders and one that knows the controls, connected.

Values travel normalised to [0, 1]. Where the plugin says how that maps to plain values, linearly
or logarithmically, controls have their plain ranges; else they stay normalised.
"""

import ctypes as C
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pyrosynth.audio.note import Note
from pyrosynth.errors import SynthError
from pyrosynth.synths.hosts import vst3_com as com
from pyrosynth.synths.hosts.blocks import BlockInstance
from pyrosynth.synths.hosts.formats import another_host
from pyrosynth.synths.hosts.plugin import BLOCK, PluginClass, Program
from pyrosynth.synths.hosts.vst3_com import OK, PluginObject
from pyrosynth.synths.hosts.vst3_controls import ControlReader, param_text
from pyrosynth.synths.hosts.vst3_objects import ComponentHandler, Events, ParamChanges, Stream
from pyrosynth.synths.params import ParamSpace

if TYPE_CHECKING:
    from pyrosynth.synths.hosts.vst3 import Vst3File

OFFLINE = 2  # mode of processing: not in real time
# Playing, with project time in samples and quarters, bar, tempo and time signature valid.
TRANSPORT = 1 << 1 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 13 | 1 << 17
TEMPO = 120.0
DPF_FIRST_VALUE = re.compile(rb"__dpf_parameters_begin__\0[^\0]*\0([^\0]*)\0")


class Halves:
    """The component of a plugin, which plays, and its controller, connected; a context.

    Attributes:
        component: The half that plays.
        controller: The half that knows the controls; with some plugins the same object.

    Raises:
        SynthError: The plugin does not make them or does not start.
    """

    def __init__(self, file: "Vst3File", class_id: str) -> None:
        """Make and connect them."""
        self._host = (file.context, ComponentHandler())
        context, handler = self._host
        self._held: list[PluginObject] = []
        self.component = self._hold(file.make(bytes.fromhex(class_id), "IComponent"))
        if self.component.initialize(context.pointer) != OK:
            self._release()
            raise SynthError(f"VST3 plugin '{file.path}' does not start{another_host(file.path)}")
        own = self.component.query("IEditController")
        self._separate = own is None
        if own is None:
            cid = (C.c_uint8 * 16)()
            if self.component.getControllerClassId(cid) == OK:
                own = file.make(bytes(cid), "IEditController")
                own.initialize(context.pointer)
        if own is None:
            self._release()
            raise SynthError(
                f"VST3 plugin '{file.path}' tells nothing of its controls{another_host(file.path)}"
            )
        self.controller = self._hold(own)
        self.controller.setComponentHandler(handler.pointer)
        self._ends: list[PluginObject] = []
        if self._separate:
            ends = [half.query("IConnectionPoint") for half in (self.component, self.controller)]
            self._ends = [self._hold(end) for end in ends if end]
            if len(self._ends) == 2:
                for end, other in (self._ends, self._ends[::-1]):
                    end.connect(other.pointer)

    def __enter__(self) -> "Halves":
        """Return the halves."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close them."""
        self.close()

    def query(self, interface: str) -> PluginObject:
        """Return the component through another interface.

        Raises:
            SynthError: It does not have that.
        """
        found = self.component.query(interface)
        if found is None:
            raise SynthError(f"the VST3 plugin has no {interface}, so that it cannot play")
        return self._hold(found)

    def state_of(self, half: PluginObject) -> bytes:
        """Return the state of a half; empty if it has none."""
        stream = Stream()
        return bytes(stream.data) if half.getState(stream.pointer) == OK else b""

    def show(self, component_state: bytes) -> None:
        """Have the controller show what the component plays."""
        if component_state:
            stream = Stream(component_state)
            self.controller.setComponentState(stream.pointer)

    def close(self) -> None:
        """Disconnect and end the halves, in the order that the interface asks for."""
        if len(self._ends) == 2:
            for end, other in (self._ends, self._ends[::-1]):
                end.disconnect(other.pointer)
        self.controller.setComponentHandler(None)
        if self._separate:
            self.controller.terminate()
        self.component.terminate()
        self._release()

    def _hold(self, plugin_object: PluginObject) -> PluginObject:
        self._held.append(plugin_object)
        return plugin_object

    def _release(self) -> None:
        for plugin_object in reversed(self._held):
            plugin_object.release()
        self._held = []


class Vst3Instance(BlockInstance):
    """One synth of a bundle that plays."""

    def __init__(self, file: "Vst3File", described: PluginClass, sample_rate: int) -> None:
        """Make the halves, and set the component up to play."""
        self.sample_rate = sample_rate
        self._space = ParamSpace(tuple(control.param() for control in described.controls))
        self._ids = [int(control.id) for control in described.controls]
        self._program_ids, self._midi_ids = (
            [int(control.id) for control in described.dropped if control.role == role]
            for role in ("program change", "midi controller")
        )
        self._changes, self._ignored, self._events = (
            ParamChanges(self._ids),
            ParamChanges(),
            Events(),
        )
        self._no_events = Events()
        # Some states are read in thousands of pieces, and who sets all controls needs none.
        self._controller_is_told = False
        self._samples: list[NDArray[np.float32]] = []  # of all buses, which the plugin writes to
        self._pointers: list[Any] = []  # to the samples; kept alive here
        self._halves = Halves(file, described.id)
        self._controller = self._halves.controller
        component = self._halves.component
        self._processor = self._halves.query("IAudioProcessor")
        setup = com.ProcessSetup(OFFLINE, 0, BLOCK, sample_rate)
        self._keep_arrangements()
        if self._processor.setupProcessing(C.byref(setup)) != OK:
            self._halves.close()
            raise SynthError(f"the plugin refuses to play at {sample_rate} Hz; try 44100")
        inputs, _ = self._buses(com.INPUT)
        outputs, self._outputs = self._buses(com.OUTPUT)
        component.activateBus(com.EVENT, com.INPUT, 0, 1)
        component.activateBus(com.AUDIO, com.OUTPUT, 0, 1)
        component.setActive(1)
        self._processor.setProcessing(1)
        self._context = com.ProcessContext(
            state=TRANSPORT, sample_rate=sample_rate, tempo=TEMPO, numerator=4, denominator=4
        )
        self._data = com.ProcessData(
            OFFLINE,
            0,
            BLOCK,
            len(inputs),
            len(outputs),
            C.addressof(inputs),
            C.addressof(outputs),
            self._changes.pointer,
            self._ignored.pointer,
            self._events.pointer,
            self._no_events.pointer,
            C.addressof(self._context),
        )

    def set(self, values: NDArray[np.float64]) -> None:
        """Set all controls in both halves, from the first sample of the next block on."""
        units = self._space.to_unit(values).tolist()
        for param_id, unit in zip(self._ids, units, strict=True):
            self._controller.setParamNormalized(param_id, unit)
        self._changes.set(units)
        self._controller_is_told = True
        self._context.samples = 0

    def process(self, size: int, notes: Sequence[tuple[int, bool, Note]]) -> NDArray[np.float32]:
        """Run one block; return the main output."""
        self._events.due = [_event(at, down, note) for at, down, note in notes]
        context = self._context
        context.continuous_samples = context.samples
        context.quarters = context.samples / self.sample_rate * TEMPO / 60
        context.bar = context.quarters // 4 * 4
        self._data.samples = size
        self._processor.process(C.byref(self._data))
        self._changes.due = False
        context.samples += size
        return self._outputs

    def close(self) -> None:
        """Stop, and end both halves."""
        self._processor.setProcessing(0)
        self._halves.component.setActive(0)
        self._halves.close()

    def values(self) -> NDArray[np.float64]:
        """Read the controls back from the controller."""
        self._tell_controller()
        told = [self._controller.getParamNormalized(param_id) for param_id in self._ids]
        units = np.clip(np.nan_to_num(told), 0.0, 1.0)
        # Plugins cut the interval into equal parts, and not all answer with the step itself.
        space = self._space
        levels = np.minimum(np.floor(units * space.resolution), space.resolution - 1)
        units = np.where(space.discrete, levels / (space.resolution - 1), units)
        values = space.from_unit(units)
        if self._ids[0] - 1 in self._midi_ids:
            # Controllers of DPF plugins take the parameter behind the last MIDI controller for
            # one too, and answer 0; the component's state has its value.
            found = DPF_FIRST_VALUE.search(self._halves.state_of(self._halves.component))
            values[0] = float(found.group(1)) if found else values[0]
        return values

    def text(self, control: int, value: float) -> str:
        """Return a value as the controller writes it."""
        self._tell_controller()
        values = self._space.defaults.copy()
        values[control] = value
        unit = float(self._space.to_unit(values)[control])
        return param_text(self._controller, self._ids[control], unit)

    def programs(self) -> list[Program]:
        """Read the factory programs back through the controller.

        The program parameter is set in the controller alone: many components ignore it.
        """
        programs = []
        self._tell_controller()
        for program_id in self._program_ids[:1]:
            names = ControlReader(self._controller).program_names(program_id)
            for index, name in enumerate(names):
                self._controller.setParamNormalized(program_id, index / max(1, len(names) - 1))
                programs.append(Program(name, tuple(self.values().tolist())))
        return programs

    def state(self) -> bytes:
        """Return the component's state."""
        component, _ = self.states()
        return component

    def load_state(self, state: bytes) -> None:
        """Take up the component's state."""
        self.load_states(state, b"")

    def states(self) -> tuple[bytes, bytes]:
        """Return the states of component and controller; the second may be empty.

        Raises:
            SynthError: The component has none.
        """
        component = self._halves.state_of(self._halves.component)
        if not component:
            raise SynthError("the VST3 plugin has no state that can be kept")
        return component, self._halves.state_of(self._controller)

    def load_states(self, component: bytes, controller: bytes) -> None:
        """Take up the states of both halves.

        Raises:
            SynthError: The plugin does not take them.
        """
        stream = Stream(component)
        if self._halves.component.setState(stream.pointer) != OK:
            raise SynthError("the VST3 plugin does not take this state")
        self._halves.show(component)
        self._controller_is_told = True
        if controller:
            stream = Stream(controller)
            self._controller.setState(stream.pointer)

    def _tell_controller(self) -> None:
        if not self._controller_is_told:
            self._halves.show(self._halves.state_of(self._halves.component))
            self._controller_is_told = True

    def _keep_arrangements(self) -> None:
        """Confirm the loudspeakers that the plugin proposes for each of its buses."""
        proposed = []
        for direction in (com.INPUT, com.OUTPUT):
            n = self._halves.component.getBusCount(com.AUDIO, direction)
            of_buses = (C.c_uint64 * n)()
            for i in range(n):
                place = C.byref(of_buses, i * C.sizeof(C.c_uint64))
                self._processor.getBusArrangement(direction, i, place)
            proposed += [of_buses, n]
        self._processor.setBusArrangements(*proposed)

    def _buses(self, direction: int) -> tuple[Any, NDArray[np.float32]]:
        """Lay out the buffers of all buses; return them and those of the first bus.

        A bus that is not active has buffers too, since some plugins write to it.
        """
        n = self._halves.component.getBusCount(com.AUDIO, direction)
        buses = (com.BusBuffers * n)()
        for i, bus in enumerate(buses):
            info = com.BusInfo()
            self._halves.component.getBusInfo(com.AUDIO, direction, i, C.byref(info))
            samples = np.zeros((max(0, info.channels), BLOCK), np.float32)
            bus.channels = len(samples)
            rows = (C.c_void_p * len(samples))(*(row.ctypes.data for row in samples))
            bus.buffers = C.addressof(rows)
            self._pointers.append(rows)
            self._samples.append(samples)
        first: NDArray[np.float32] = self._samples[-n] if n else np.zeros((0, BLOCK), np.float32)
        self._pointers.append(buses)
        return buses, first


def _event(at: int, down: bool, note: Note) -> Any:
    kind, number = (com.NoteOn, com.NOTE_ON) if down else (com.NoteOff, com.NOTE_OFF)
    return kind(offset=at, type=number, pitch=note.pitch, velocity=note.velocity / 127, note_id=-1)
