"""Synths that other packages and files bring: a class in a module, or an entry point."""

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from pyrosynth.errors import InputError, PyrosynthError, SynthError, one_line
from pyrosynth.synths.base import Synth
from pyrosynth.synths.contract import require_attributes

GROUP = "pyrosynth.synths"  # of the entry points


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
        loaded: object = _module(module_name)
        for part in class_name.split("."):
            loaded = getattr(loaded, part)
    except AttributeError as error:
        raise SynthError(
            f"module '{module_name}' has no class '{class_name}'; give MODULE:CLASS"
        ) from error
    except PyrosynthError as error:
        raise SynthError(f"cannot import '{module_name}': {error}") from error
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {one_line(str(error), 120)}"
        raise SynthError(
            f"cannot import '{module_name}' ({reason}); run the command in its folder, or install "
            "it, and try `import` in Python"
        ) from error
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
        SynthError: It lacks one.
        InputError: The code of its class fails.
    """
    try:
        synth = make(**options)
        require_attributes(synth, name)
    except PyrosynthError:
        raise
    except (Exception, SystemExit) as error:
        why = f"{type(error).__name__}: {one_line(str(error), 120)}"
        raise InputError(
            f"the synth '{name}' cannot be made ({why}); correct its class, or give its --option"
        ) from error
    return synth


def _module(name: str) -> ModuleType:
    """Import a module, from the working folder if it is nowhere else."""
    if name in sys.modules or importlib.util.find_spec(name.partition(".")[0]) is not None:
        return importlib.import_module(name)
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(here)
