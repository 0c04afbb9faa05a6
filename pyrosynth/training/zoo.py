"""Variants by name or file: those of the package, one file each, the user's, and their source."""

import ast
import builtins
import hashlib
import importlib.util
import inspect
import linecache
import os
import symtable
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pyrosynth.errors import InputError, RunError, checked_name, raised, reading
from pyrosynth.files import checked_path, regular_file

if TYPE_CHECKING:
    from pyrosynth.modeling import Variant

_BESIDE = Path(__file__).parents[1] / "models"  # in a wheel
FOLDER = _BESIDE if _BESIDE.is_dir() else Path(__file__).parents[2] / "models"  # in a checkout
NO_FILE = "<pyrosynth"  # how the names of sources begin that came without a file
ZOO = "pyrosynth.models."  # how those of modules begin that a variant by name has become
DEFINITIONS = (
    ast.Import, ast.ImportFrom, ast.ClassDef, ast.FunctionDef, ast.Assign, ast.AnnAssign, ast.Expr,
)  # fmt: skip
COPY = "pyrosynth_variant_"  # how the names of modules begin that a file of a model has become


def list_models() -> tuple[str, ...]:
    """Return the names of the variants, sorted."""
    return tuple(sorted(file.stem for file in FOLDER.glob("[!_]*.py")))


def load_model(name_or_path: "str | Path | type[Variant]") -> "type[Variant]":
    """Load a variant.

    Args:
        name_or_path: A name, or the path of a ``.py`` file that defines one variant. The
            file's code is run. A class is returned as it is.

    Returns:
        The class.

    Raises:
        InputError: The name is unknown (the known ones are listed), the file defines no variant
            or several, or it is a class or object of something else.
    """
    if not isinstance(name_or_path, str | Path):
        return _class(name_or_path)
    if str(name_or_path).lower().endswith(".py"):
        return load_copy(checked_path("model file", name_or_path))
    return load_variant(_file(str(name_or_path)), f"{ZOO}{name_or_path}")


def source(name: str) -> str:
    """Return the source of a variant, by name or ``.py`` file, to start one's own from."""
    file = _file(name)
    with reading(InputError, f"cannot read model '{name}'", "give a name or a .py file in UTF-8"):
        return regular_file(file).read_text(encoding="utf-8-sig")


def describe(name: str) -> str:
    """Return the first line of a variant's docstring."""
    return _docstring(name).partition("\n")[0]


def paper(name: str) -> str:
    """Return the first reference of a variant's docstring, empty without one."""
    text = _docstring(name).partition("References:\n")[2]
    # A reference ends with its address or a full stop at the end of a line.
    words: list[str] = []
    for line in text.partition("\n\n")[0].splitlines():
        words += line.split()
        if line.rstrip().endswith("."):
            break
    return " ".join(words).rstrip(".")


def _docstring(name: str) -> str:
    """Read the docstring of a variant, the last class of its file, without running the file."""
    classes = [node for node in ast.parse(source(name)).body if isinstance(node, ast.ClassDef)]
    return ast.get_docstring(classes[-1]) or ""


def load_variant(path: Path, module: str) -> "type[Variant]":
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
        loaded, file = ModuleType(module), str(path.absolute())  # one may work elsewhere later
        loaded.__file__ = file
        sys.modules[module] = loaded  # before it runs, so that `inspect` finds the source
        try:
            # Not through importlib, which would leave compiled files beside the source.
            exec(compile(path.read_bytes(), file, "exec"), vars(loaded))
        except BaseException as error:
            del sys.modules[module]
            if isinstance(error, KeyboardInterrupt):
                raise
            raise InputError(f"'{path}' cannot be run: {raised(error)}") from error
        linecache.checkcache(file)
        linecache.getlines(file)  # the source as it is now, should the file be edited later
    return _defined(module, str(path))


def load_source(source: str) -> "type[Variant]":
    """Load a variant from its source code, which is run."""
    module = COPY + hashlib.sha256(source.encode()).hexdigest()[:16]
    if module not in sys.modules:
        name = f"{NO_FILE} {module}>"
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        loaded = sys.modules[module] = ModuleType(module)
        exec(compile(source, name, "exec"), vars(loaded))
    return _defined(module, module)


def _defined(module: str, where: str) -> "type[Variant]":
    """Return the one variant that a module defines."""
    from pyrosynth.modeling import Variant  # torch, which a list of the models can do without

    held = {
        value
        for value in vars(sys.modules[module]).values()
        if isinstance(value, type) and issubclass(value, Variant) and value.__module__ == module
    }
    found = [value for value in held if not inspect.isabstract(value)]
    if len(found) != 1:
        lacking = "; ".join(
            f"{value.__name__}, which lacks {', '.join(sorted(value.__abstractmethods__))}"
            for value in held.difference(found)
        )
        listed = ", ".join(sorted(value.__name__ for value in found)) or lacking
        raise InputError(
            f"'{where}' must define exactly one complete variant; found: "
            f"{listed or 'none, no class of it derives from pyrosynth.modeling.Variant'}"
        )
    return found[0]


def load_copy(path: Path) -> "type[Variant]":
    """Load a variant under a module name made of the file's content, so never a stale one."""
    if not path.is_file():
        raise InputError(f"no variant file '{path}'; give the name of a model or a .py file")
    return load_variant(path, COPY + hashlib.sha256(path.read_bytes()).hexdigest()[:16])


def place_in(error: BaseException) -> str:
    """Say in which line of a model's file an error arose; empty if it came from elsewhere."""
    stack = traceback.walk_tb(error.__traceback__)
    own = [(at, line) for at, line in stack if str(at.f_globals.get("__name__")).startswith(COPY)]
    return f"line {own[-1][1]} of '{own[-1][0].f_code.co_filename}'" if own else ""


def variant_source(variant: "type[Variant]") -> str:
    """Return source code that defines a variant when it is run by itself.

    A class from a file gives the whole file. One from a notebook gives its cell, with the
    imports it needs from other cells put in front.

    Raises:
        RunError: There is no source, as for a class made by ``exec``; or that of a cell would not
            be a model by itself.
    """
    methods = (value for value in vars(variant).values() if inspect.isfunction(value))
    method: Any = next(methods, None)
    if method is None:
        raise RunError(
            f"variant '{variant.__name__}' has no method of its own, by which its source would be "
            f"found; give it one, or fit {variant.__mro__[1].__name__}, from which it inherits"
        )
    code, names_there = method.__code__, method.__globals__
    text = "".join(linecache.getlines(code.co_filename, names_there))
    if not text:
        raise RunError(
            f"no source of variant '{variant.__name__}' was found, so the run could not be "
            "reloaded; define it in a file, or in a notebook cell without a magic such as %%time"
        )
    whole = getattr(sys.modules.get(variant.__module__), "__file__", None) == code.co_filename
    if whole or Path(code.co_filename).is_file() or code.co_filename.startswith(NO_FILE):
        _require_not_run_now(text, code.co_filename, variant.__name__)
        return text
    imports, lines = _imports(text, names_there, variant.__name__), text.splitlines(keepends=True)
    future = (
        node.end_lineno or 0
        for node in ast.parse(text).body
        if isinstance(node, ast.ImportFrom) and node.module == "__future__"
    )
    end = max(future, default=0)  # which nothing may come before
    return "".join([*lines[:end], imports, *lines[end:]])


def _class(given: Any) -> "type[Variant]":
    """Return a class that is a variant."""
    from pyrosynth.modeling import Variant

    if not isinstance(given, type):
        name = type(given).__name__
        if isinstance(given, Variant):
            raise InputError(f"model is an object of the class {name}; give the class itself")
        raise InputError(f"model is of type {name}; give a name, a .py file or a class")
    if not issubclass(given, Variant):
        raise InputError(
            f"class {given.__name__} is no Variant; inherit from pyrosynth.modeling.Variant"
        )
    return given


def _file(name: str) -> Path:
    if isinstance(name, str) and name.lower().endswith(".py"):
        return checked_path("model file", name)
    if isinstance(name, str) and name not in list_models() and os.path.isfile(name):
        raise InputError(f"'{name}' is a file, but a file of a model ends in .py; rename it")
    checked_name("model", name, list_models())
    return FOLDER / f"{name}.py"


def _imports(cell: str, names: dict[str, Any], variant: str) -> str:
    """Write the imports of what a notebook cell uses but does not define.

    Raises:
        RunError: Another cell defines it, or the cell does more than define one variant, so that
            its source would not be a model by itself.
    """
    from pyrosynth.modeling import Variant

    _require_definitions(cell, names, variant)
    lines = []
    for name in sorted(_taken(cell) & set(names)):
        value: Any = names[name]
        module = str(getattr(value, "__module__", ""))
        if value is vars(builtins).get(name, ...) or module.startswith("IPython."):
            continue
        if isinstance(value, ModuleType) and not value.__name__.startswith(COPY):
            lines.append(f"import {value.__name__} as {name}")
        elif module.startswith(ZOO):
            of_zoo = f"load_model({module.removeprefix(ZOO)!r})"
            lines.append(f"from {__name__} import load_model\n{name} = {of_zoo}")
        elif home := _home(name, value):
            lines.append(f"from {home[0]} import {home[1]} as {name}")
        elif isinstance(value, type) and issubclass(value, Variant):
            raise RunError(
                f"variant '{variant}' uses the variant '{name}' of another cell; a model is one "
                f"complete class: copy what it takes from '{name}' into it"
            )
        else:
            raise RunError(
                f"the cell of variant '{variant}' uses '{name}' of another cell, without which "
                "the run could not be loaded; define that in the same cell, or write a .py file"
            )
    return "\n".join([*lines, "", ""])


def _taken(cell: str) -> set[str]:
    """Return the names that a cell uses and does not define."""
    top = symtable.symtable(cell, "cell", "exec")
    own = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported()}
    scopes, used = [top], set()
    for scope in scopes:
        scopes += scope.get_children()
        symbols = (s for s in scope.get_symbols() if s.is_referenced())
        used |= {s.get_name() for s in symbols if scope is top or s.is_global()}
    return used - own


def _require_definitions(cell: str, names: dict[str, Any], variant: str) -> None:
    """Make sure that a cell defines one variant and does nothing else.

    Raises:
        RunError: It does, as where it also fits the variant.
    """
    from pyrosynth.modeling import Variant

    tree = ast.parse(cell)
    used = {
        n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)
    }
    for node in tree.body:
        does = isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant)
        if isinstance(node, ast.Assign):  # such as of a run that is fitted there
            calls = any(isinstance(part, ast.Call) for part in ast.walk(node.value))
            given = {
                n.id
                for target in node.targets
                for n in ast.walk(target)
                if isinstance(n, ast.Name)
            }
            does = calls and not given & used
        if does or not isinstance(node, DEFINITIONS):
            raise RunError(
                f"the cell of variant '{variant}' does more than define it, in line "
                f"{node.lineno}: {ast.unparse(node).splitlines()[0][:60]}; put that into another "
                "cell, since all of this one is run whenever the run is loaded"
            )
    kinds = [names.get(node.name) for node in tree.body if isinstance(node, ast.ClassDef)]
    found = [
        kind.__name__
        for kind in kinds
        if isinstance(kind, type) and issubclass(kind, Variant) and not inspect.isabstract(kind)
    ]
    if len(found) > 1:
        raise RunError(
            f"the cell of variant '{variant}' defines several, {', '.join(found)}; a model is one "
            "complete class: leave one in the cell, with what it takes from the others"
        )


def _require_not_run_now(text: str, file: str, variant: str) -> None:
    """Make sure that a script does not work just now, where it is run whenever it is loaded.

    Raises:
        RunError: It is, such as at a fit of the variant that it defines.
    """
    frame = sys._getframe()
    while frame.f_back and (frame.f_code.co_filename, frame.f_code.co_name) != (file, "<module>"):
        frame = frame.f_back
    if (frame.f_code.co_filename, frame.f_code.co_name) != (file, "<module>"):
        return
    for node in ast.parse(text).body:
        guarded = isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)
        if node.lineno <= frame.f_lineno <= (node.end_lineno or 0) and not guarded:
            raise RunError(
                f"'{file}' defines variant '{variant}' and works with it in line {node.lineno}, "
                "which would be run whenever the run is loaded; put all but definitions under "
                'if __name__ == "__main__":'
            )


def _home(name: str, value: Any) -> tuple[str, str] | None:
    """Return a module from which every session can import something, and its name there.

    Of constants, only those of this package are looked for: others may be equal by chance.
    """
    own = str(getattr(value, "__module__", ""))
    names = [name]
    if callable(value):
        names.append(str(getattr(value, "__name__", name)))
    modules = sorted(sys.modules, key=lambda key: (key != own, len(key), key))
    for key in modules:
        if key == "__main__" or key.startswith((COPY, ZOO)):
            continue
        if not (callable(value) or key.startswith("pyrosynth.")):
            continue
        held = getattr(sys.modules[key], "__dict__", {})
        found = next((one for one in names if held.get(one) is value), None)
        if found and _can_be_imported(key):
            return key, found
    return None


def _can_be_imported(module: str) -> bool:
    """Tell whether another session can import a module by its name."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError, AttributeError):
        return False
