"""Synths that other packages and files bring: a class in a module, or an entry point."""

import importlib
import importlib.util
import math
import os
import sys
from collections.abc import Callable, Mapping
from traceback import extract_stack
from types import ModuleType
from typing import Any

from pyrosynth.errors import InputError, PyrosynthError, SynthError, raised, shown, unknown
from pyrosynth.synths.base import ISOLATIONS, Synth
from pyrosynth.synths.knobs import Reading
from pyrosynth.synths.params import ParamSpace

GROUP = "pyrosynth.synths"  # of the entry points
_importing: set[str] = set()  # modules of synths that are being imported


def entry_points() -> dict[str, str]:
    """Return names and classes, as ``module:Class``, of the synths that packages announce."""
    from importlib import metadata  # workers, which never ask, start faster without it

    found = metadata.entry_points(group=GROUP)
    return {point.name: point.value for point in found}


def is_class(name: str) -> bool:
    """Tell whether a text is of the form ``module:Class``."""
    module, colon, class_name = name.partition(":")
    parts = (*module.split("."), *class_name.split("."))
    return bool(colon) and all(part.isidentifier() for part in parts)


def load_class(name: str) -> type[Synth]:
    """Import the class of a synth; the code of its module is run.

    Args:
        name: ``module:Class``. The module is looked for where Python looks, then in the working
            folder, whose worker processes do the same.

    Returns:
        The class, a subclass of `Synth`.

    Raises:
        SynthError: There is no such module or class, or it is no synth.
    """
    module_name, _, class_name = name.partition(":")
    try:
        module = _module(module_name)
        loaded: object = module
        for part in class_name.split("."):
            loaded = getattr(loaded, part, None)
    except PyrosynthError as error:
        raise SynthError(f"cannot import '{module_name}': {error}") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        advice = f"mend it; `import {module_name}` in Python shows where it fails"
        if isinstance(error, SyntaxError):
            advice = "correct the line"
        elif isinstance(error, ImportError):
            advice = "run the command in its folder, or install it, and try `import` in Python"
        raise SynthError(
            f"cannot import '{module_name}' ({raised(error, 140)}); {advice}"
        ) from error
    if loaded is None:
        there = [
            one for one, value in vars(module).items()
            if isinstance(value, type) and issubclass(value, Synth) and value is not Synth
        ]  # fmt: skip
        advice = f"it has {', '.join(there[:5])}" if there else "give MODULE:CLASS"
        taken = getattr(module, "__file__", None)
        own = f"{module_name.partition('.')[0]}.py"
        if os.path.isfile(own) and os.path.realpath(own) != os.path.realpath(taken or ""):
            advice = f"it is Python's or a library's, not '{own}' here: give that another name"
        raise SynthError(f"module '{module_name}' has no class '{class_name}'; {advice}")
    if not (isinstance(loaded, type) and issubclass(loaded, Synth)):
        raise SynthError(f"'{name}' is no subclass of pyrosynth.synths.Synth; make it one")
    missing = sorted(getattr(loaded, "__abstractmethods__", ()))
    if missing:
        raise SynthError(
            f"the synth '{name}' lacks {', '.join(missing)}; define them in its class"
        )
    return loaded


def made(make: Callable[..., Synth], options: dict[str, Any], name: str) -> Synth:
    """Make a synth, and make sure that it has the attributes every synth has.

    Raises:
        SynthError: It lacks one, or one is not what it has to be.
        InputError: The code of its class fails.
    """
    try:
        synth = make(**options)
        _require_attributes(synth, name)
    except (PyrosynthError, KeyboardInterrupt):
        raise
    except BaseException as error:
        why = raised(error, 140)
        raise InputError(
            f"the synth '{name}' cannot be made ({why}); correct its class, or give its --option"
        ) from error
    return synth


def _require_attributes(synth: Any, name: str) -> None:
    """Make sure that the attributes of a synth have their types, and values that there are."""
    for attribute, kinds in ATTRIBUTES.items():
        value = getattr(synth, attribute, None)
        if not isinstance(value, kinds):
            wanted = " or ".join("None" if k is type(None) else k.__name__ for k in kinds)
            raise SynthError(
                f"the synth '{name}' has no {attribute} of type {wanted} (it is {shown(value)}); "
                f"give its class one"
            )
    for attribute, (holds, rule) in VALUES.items():
        value = getattr(synth, attribute)
        if not holds(value):
            raise SynthError(
                f"the synth '{name}' has the {attribute} {shown(value)}; give its class {rule}"
            )
    params = {param.name: param for param in synth.param_space.params}
    for attribute in ("controllers", "readings"):
        for one in getattr(synth, attribute):
            if one not in params:
                why = unknown("parameter", one, params)
                raise SynthError(f"the synth '{name}' has {attribute} of an {why}")
    for one, reading in synth.readings.items():
        for value in (params[one].minimum, params[one].maximum):
            if not math.isfinite(read := reading.of(value)):
                raise SynthError(
                    f"the synth '{name}' has a reading of '{one}' that is {read} at {value:g}; "
                    "give it a smaller power or scale"
                )


ATTRIBUTES: Mapping[str, tuple[type, ...]] = {
    "name": (str,), "param_space": (ParamSpace,), "isolation": (str,), "isolations": (tuple,),
    "batched": (bool,), "memory_limit": (int, type(None)), "preset_suffix": (str,),
    "controllers": (Mapping,), "usual_prior": (str,), "dropped": (Mapping,),
    "readings": (Mapping,),
}  # fmt: skip
VALUES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "name": (str.isprintable, "a name that can be printed"),
    "param_space": (lambda value: len(value) > 0, "a space of at least one parameter"),
    "isolation": (ISOLATIONS.__contains__, f"one of {', '.join(ISOLATIONS)}"),
    "isolations": (
        lambda value: 0 < len(value) and {*value} <= {*ISOLATIONS},
        f"some of {', '.join(ISOLATIONS)}",
    ),
    "memory_limit": (lambda value: value is None or value > 0, "bytes above 0, or None"),
    "preset_suffix": (
        lambda value: not value or (value[0] == "." and "/" not in value and len(value) > 1),
        "the end of a file's name, such as '.syx', or ''",
    ),
    "controllers": (
        lambda value: (
            all(type(n) is int and 0 <= n <= 127 for n in value.values())
            and len({*value.values()}) == len(value)
        ),
        "numbers from 0 to 127, another for each parameter",
    ),
    "readings": (
        lambda value: all(isinstance(one, Reading) for one in value.values()),
        "a pyrosynth.synths.knobs.Reading for each parameter",
    ),
}


def require_imported(spec: Mapping[str, Any]) -> None:
    """Make sure that no module plays the synth it defines whenever it is imported.

    Each worker process imports it, and would start worker processes in turn, without end.

    Args:
        spec: What the synth's ``spec`` returned.

    Raises:
        SynthError: The module is being imported.
    """
    if (module := str(spec.get("synth")).partition(":")[0]) in _importing:
        here = f"'{module}'"  # in a thread that it starts
        for one in extract_stack():
            if one.name == "<module>":
                here = f"line {one.lineno} of '{os.path.basename(one.filename)}'"
        raise SynthError(
            f"{here} plays the synth, and would whenever a worker process imports {module}; put "
            'it under `if __name__ == "__main__":`, or into another file'
        )


def _module(name: str) -> ModuleType:
    """Import a module, from the working folder if it is nowhere else."""
    if name in sys.modules or name in _importing:
        return importlib.import_module(name)
    here = os.getcwd()
    elsewhere = importlib.util.find_spec(name.partition(".")[0]) is not None
    _importing.add(name)
    sys.path[:0] = [] if elsewhere else [here]
    try:
        return importlib.import_module(name)
    finally:
        _importing.discard(name)
        if not elsewhere:
            sys.path.remove(here)
