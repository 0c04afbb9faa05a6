"""The parameters of CLAP plugins, as the plugins describe them."""

import ctypes as C
import re
from dataclasses import replace
from typing import Any

import numpy as np

from pyrosynth.synths.hosts import clap_abi as abi
from pyrosynth.synths.hosts.plugin import MOST_STEPS, Control, Role, shortest

STEPPED, HIDDEN, READ_ONLY, BYPASS = 1, 4, 8, 16  # flags of a parameter
_NUMBER = re.compile(r"\s*[-+]?[\d.,]+(?:e[-+]?\d+)?\s*(\S.*)?$", re.IGNORECASE)


def controls_of(params: abi.Params | None, plugin: Any) -> list[Control]:
    """Describe the parameters of a plugin.

    Args:
        params: The plugin's extension; None if it has none.
        plugin: Pointer to the plugin.
    """
    if params is None:
        return []
    listed = []
    for index in range(params.count(plugin)):
        info = abi.ParamInfo()
        if params.get_info(plugin, index, C.byref(info)):
            listed.append(_control(params, plugin, info))
    if len({control.group for control in listed}) == len(listed) > 1:
        # Each in a module of its own: a path that ends with the control itself.
        listed = [replace(c, group=c.group.rpartition("/")[0]) for c in listed]
    return listed


def _control(params: abi.Params, plugin: Any, info: abi.ParamInfo) -> Control:
    low, high, flags = info.min_value, info.max_value, info.flags
    steps = round(high - low) + 1 if flags & STEPPED and high - low < MOST_STEPS else 0
    role: Role = "bypass" if flags & BYPASS else "hidden" if flags & HIDDEN else ""
    if flags & READ_ONLY or not low < high:
        role = "read-only"
    labels: tuple[str, ...] = ()
    unit = ""
    if not role:
        ends = low + np.arange(steps) if steps else (low, high)
        texts = tuple(text_of(params, plugin, info.id, float(value)) for value in ends)
        read = [_NUMBER.match(text) for text in texts]
        if not all(read):
            labels = texts if steps and all(texts) else ()
        elif len({match[1] for match in read if match}) == 1 and read[0]:
            unit = read[0][1] or ""
    name, module = (text.decode("utf-8", "replace") for text in (info.name, info.module))
    numbers = (shortest(low), shortest(high), shortest(info.default_value))
    return Control(str(info.id), name, *numbers, steps, labels, unit, module.strip("/"), role=role)


def text_of(params: abi.Params, plugin: Any, number: int, value: float) -> str:
    """Return a value of a parameter as the plugin writes it."""
    room = C.create_string_buffer(256)
    params.value_to_text(plugin, number, value, room, len(room))
    return room.value.decode("utf-8", "replace").strip()
