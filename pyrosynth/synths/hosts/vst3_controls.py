"""Read the controls of a VST3 plugin from its controller: ranges, steps, labels, units, groups.

Plugins publish a parameter for each controller of each MIDI channel, 2,080 in all, which are no
controls of the sound; the plugin's own MIDI mapping tells which they are. Texts are asked for
only after those are left out, since they cost the most.
"""

import ctypes as C
import itertools
import math
from collections import defaultdict
from dataclasses import replace
from typing import Any

from pyrosynth.synths.hosts import vst3_com as com
from pyrosynth.synths.hosts.plugin import MOST_LABELLED, Control, Role, distinct_names
from pyrosynth.synths.hosts.texts import labels_of, steps_of
from pyrosynth.synths.hosts.vst3_com import OK, PluginObject, text
from pyrosynth.synths.params import Curve

CHANNELS, CONTROLLERS = 16, 130  # 128 MIDI controllers, aftertouch and pitch bend
# Played and not set: wheel, breath, foot, expression, pedals, channel modes, aftertouch, bend.
PLAYED = {1, 2, 4, 11, *range(64, 70), *range(120, 130)}
MOST_MAPPED = 64  # with more, the plugin makes parameters of all controllers
POINTS = (0.0, 0.25, 0.5, 0.75, 1.0)  # at which the mapping to plain values is looked at
CLOSE = 1e-6


class ControlReader:
    """Reads what a controller tells.

    Args:
        controller: The plugin's IEditController, after it was shown the component's state.
    """

    def __init__(self, controller: PluginObject) -> None:
        """Keep the controller."""
        self._controller = controller

    def read(self) -> tuple[tuple[Control, ...], tuple[Control, ...]]:
        """Return the controls of the sound, and the others with their roles."""
        played = self._midi_parameters()
        groups = self._units()
        controls: list[Control] = []
        dropped: list[Control] = []
        if len(played) > MOST_MAPPED:  # one entry for all of them
            name = f"{len(played)} MIDI controllers"
            dropped.append(Control(str(max(played)), name, role="midi controller"))
        for index in range(self._controller.getParameterCount()):
            info = com.ParameterInfo()
            if self._controller.getParameterInfo(index, C.byref(info)) != OK:
                continue
            role = _role(info, played)
            group = groups.get(info.unit_id, ("", -1))[0]
            control = Control(str(info.id), text(info.title).strip(), group=group, role=role)
            if not role:
                controls.append(self._described(control, info))
            elif role != "midi controller" or len(played) <= MOST_MAPPED:
                dropped.append(control)
        return distinct_names(controls), tuple(dropped)

    def program_names(self, program_id: int) -> list[str]:
        """Return the names of the factory programs that a parameter chooses from."""
        infos = [com.ParameterInfo() for _ in range(self._controller.getParameterCount())]
        for index, info in enumerate(infos):
            self._controller.getParameterInfo(index, C.byref(info))
        info = next(info for info in infos if info.id == program_id)
        n = info.steps + 1
        listed = self._units().get(info.unit_id, ("", -1))[1]
        units = self._controller.query("IUnitInfo")
        names = []
        for index in range(n):
            name = com.String128()
            told = units is not None and units.getProgramName(listed, index, name) == OK
            unit = index / max(1, n - 1)
            names.append(
                (text(name) if told else "") or param_text(self._controller, program_id, unit)
            )
        if units is not None:
            units.release()
        return names

    def _midi_parameters(self) -> set[int]:
        """Return the parameters that stand for MIDI controllers."""
        mapping = self._controller.query("IMidiMapping")
        if mapping is None:
            return set()
        controllers: dict[int, set[int]] = defaultdict(set)
        found = C.c_uint32()
        for channel, controller in itertools.product(range(CHANNELS), range(CONTROLLERS)):
            asked = mapping.getMidiControllerAssignment(0, channel, controller, C.byref(found))
            if asked == OK:
                controllers[found.value].add(controller)
        mapping.release()
        if len(controllers) > MOST_MAPPED:
            return set(controllers)
        return {param_id for param_id, mapped in controllers.items() if mapped & PLAYED}

    def _units(self) -> dict[int, tuple[str, int]]:
        """Return name and program list of each unit, by its number."""
        units = self._controller.query("IUnitInfo")
        if units is None:
            return {}
        known = {}
        for index in range(units.getUnitCount()):
            info = com.UnitInfo()
            if units.getUnitInfo(index, C.byref(info)) == OK:
                # The first unit is the root, whose name says nothing of its controls.
                known[info.id] = (text(info.name) if info.id else "", info.program_list)
        units.release()
        return known

    def _described(self, control: Control, info: Any) -> Control:
        minimum, maximum, curve = self._range(info)
        default = min(max(self._untouched(info), 0.0), 1.0)
        labels: tuple[str, ...] = ()
        steps = info.steps + 1 if info.steps > 0 else 0
        if not steps:
            steps, labels = steps_of(lambda unit: param_text(self._controller, info.id, unit))
        elif steps <= MOST_LABELLED:
            texts = [param_text(self._controller, info.id, i / info.steps) for i in range(steps)]
            labels = labels_of(texts, steps)
        if steps:
            curve, default = "linear", round(default * (steps - 1)) / (steps - 1)
        is_plain = (minimum, maximum) != (0.0, 1.0) or curve != "linear"
        unit = text(info.units).strip() if is_plain else ""
        if curve == "logarithmic":
            native = minimum * (maximum / minimum) ** default
        else:
            native = minimum + default * (maximum - minimum)
        return replace(
            control,
            minimum=minimum,
            maximum=maximum,
            default=native,
            steps=steps,
            labels=labels,
            unit=unit,
            curve=curve,
        )

    def _untouched(self, info: Any) -> float:
        """Return the value the plugin starts with, which is not always the default it tells.

        Not all let it be read: the controllers of some always answer with the same number.
        """
        now: float = self._controller.getParamNormalized(info.id)
        if math.isfinite(now) and abs(now - info.default) > CLOSE:
            self._controller.setParamNormalized(info.id, 0.25 if now > 0.5 else 0.75)
            is_told = self._controller.getParamNormalized(info.id) != now
            self._controller.setParamNormalized(info.id, now)
            if is_told:
                return now
        return info.default if math.isfinite(info.default) else 0.0

    def _range(self, info: Any) -> tuple[float, float, Curve]:
        """Return the plain range of a parameter if its mapping is linear or logarithmic."""
        steps = max(info.steps, 0)
        points = [round(at * steps) / steps if steps else at for at in POINTS]
        plain = [self._controller.normalizedParamToPlain(info.id, at) for at in points]
        low, high = plain[0], plain[-1]
        if all(map(math.isfinite, plain)) and low < high:
            tolerance = CLOSE * (high - low)
            curves: list[Curve] = ["linear", "logarithmic"] if low > 0 else ["linear"]
            for curve in curves:
                fitted = [
                    low + at * (high - low) if curve == "linear" else low * (high / low) ** at
                    for at in points
                ]
                if all(abs(a - b) <= tolerance for a, b in zip(plain, fitted, strict=True)):
                    return low, high, curve
        return 0.0, 1.0, "linear"


def param_text(controller: PluginObject, param_id: int, unit: float) -> str:
    """Return a normalised value as the plugin writes it; empty if it does not."""
    written = com.String128()
    told = controller.getParamStringByValue(param_id, unit, written) == OK
    return text(written).strip() if told else ""


def _role(info: Any, played: set[int]) -> Role:
    if info.id in played:
        return "midi controller"
    flags: list[tuple[int, Role]] = [
        (com.PROGRAM_CHANGE, "program change"),
        (com.BYPASS, "bypass"),
        (com.HIDDEN, "hidden"),
        (com.READ_ONLY, "read-only"),
    ]
    return next((role for flag, role in flags if info.flags & flag), "")
