"""Source code of variants: loaded from a file, and found again from a class."""

import ast
import builtins
import hashlib
import inspect
import linecache
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from pyrosynth.errors import InputError, RunError
from pyrosynth.modeling.variant import Variant


def load_variant(path: Path, module: str) -> type[Variant]:
    """Run a Python file, once, and return the one variant it defines.

    Args:
        path: The file; its code is run.
        module: Name under which it is imported; what was loaded under it is used again.

    Returns:
        The class.

    Raises:
        InputError: The file fails to run, or defines no variant or several.
    """
    if module not in sys.modules:
        loaded = ModuleType(module)
        loaded.__file__ = str(path)
        sys.modules[module] = loaded  # before it runs, so that `inspect` finds the source
        try:
            # Not through importlib, which would leave compiled files beside the source.
            exec(compile(path.read_text(), path, "exec"), vars(loaded))
        except Exception as error:
            del sys.modules[module]
            raise InputError(f"'{path}' cannot be run: {type(error).__name__}: {error}") from error
        linecache.checkcache(str(path))
        linecache.getlines(str(path))  # the source as it is now, should the file be edited later
    found = [
        value
        for value in vars(sys.modules[module]).values()
        if isinstance(value, type)
        and issubclass(value, Variant)
        and value.__module__ == module
        and not inspect.isabstract(value)
    ]
    if len(found) != 1:
        listed = ", ".join(value.__name__ for value in found) or "none"
        raise InputError(f"'{path}' must define exactly one complete variant; found: {listed}")
    return found[0]


def load_copy(path: Path) -> type[Variant]:
    """Load a variant under a module name made of the file's content, so never a stale one."""
    if not path.is_file():
        raise InputError(f"no variant file '{path}'; give the name of a model or a .py file")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return load_variant(path, f"pyrosynth_variant_{digest[:16]}")


def variant_source(variant: type[Variant]) -> str:
    """Return source code that defines a variant when it is run by itself.

    A class from a file gives the whole file. One from a notebook gives its cell, with the
    imports it needs from other cells put in front.

    Raises:
        RunError: There is no source, as for a class made by ``exec``.
    """
    code = variant.model.__code__
    text = "".join(linecache.getlines(code.co_filename, variant.model.__globals__))
    if not text:
        raise RunError(
            f"no source of variant '{variant.__name__}' was found, so the run could not be "
            "reloaded; define it in a file or a notebook cell"
        )
    if Path(code.co_filename).is_file():
        return text
    return _imports(text, variant.model.__globals__) + text


def _imports(cell: str, names: dict[str, Any]) -> str:
    """Write the imports of what a notebook cell uses but does not define."""
    tree = ast.parse(cell)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    lines = []
    for name in sorted(used & set(names) - set(dir(builtins))):
        value: Any = names[name]
        module = getattr(value, "__module__", None)
        if isinstance(value, ModuleType):
            lines.append(f"import {value.__name__} as {name}")
        elif hasattr(value, "__qualname__") and module not in (None, "__main__"):
            lines.append(f"from {module} import {value.__qualname__} as {name}")
        elif home := _home(name, value):
            lines.append(f"from {home} import {name}")
    return "\n".join([*lines, "", ""])


def _home(name: str, value: Any) -> str | None:
    """Return the module of this package that a constant or an alias is from, by its name there."""
    own = {key: module for key, module in sys.modules.items() if key.startswith("pyrosynth.")}
    return next((key for key in sorted(own) if vars(own[key]).get(name) is value), None)
