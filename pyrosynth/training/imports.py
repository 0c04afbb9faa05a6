"""What lies beside a model's file and is used by it: its run keeps the file alone."""

import ast
import importlib.util
import inspect
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from pyrosynth.errors import InputError, RunError, one_line, raised
from pyrosynth.modeling import Variant, build
from pyrosynth.synths.sandbox import python
from pyrosynth.training.zoo import COPY, load_variant

THERE = "import importlib.util, sys; sys.exit(importlib.util.find_spec(sys.argv[1]) is None)"


def require_alone(variant: Variant, source: str) -> None:
    """Make sure that a model can be made in the folder of a run, if it asks where its file lies.

    Args:
        variant: The model, which is made once more.
        source: The text of its file.

    Raises:
        RunError: It cannot, such as for want of a table that lies beside its file.
    """
    file = getattr(inspect.getmodule(type(variant)), "__file__", None)
    if file is None or "__file__" not in source:
        return
    module = f"{COPY}alone"
    with tempfile.TemporaryDirectory(prefix="pyrosynth-") as folder:
        copy = Path(folder) / Path(file).name
        copy.write_text(source, encoding="utf-8")
        try:
            with torch.random.fork_rng([]):
                build(load_variant(copy, module), variant.dims, variant.hyperparameters())
        except InputError as error:
            why = raised(error.__cause__ or error).replace(str(copy), file)
            raise RunError(
                f"'{file}' cannot be run in the folder of a run ({one_line(why, 120)}); write "
                "what it reads into the file itself, or name it by its whole path"
            ) from error
        finally:
            sys.modules.pop(module, None)


def imports_beside(variant: type[Variant], source: str) -> list[str]:
    """Return the modules that a model imports and that only programs in its folder find.

    Args:
        variant: The model.
        source: Its source code.

    Returns:
        Their names, sorted; of a model without a file, none.
    """
    file = getattr(inspect.getmodule(variant), "__file__", None)
    if file is None:
        return []
    folder = Path(file).resolve().parent
    return sorted(
        name
        for name in set(_imported(source))
        if folder in _place(name).parents[:2] and not _is_found_elsewhere(name)
    )


def _imported(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def _place(module: str) -> Path:
    """Return the file of a module, or that of nothing."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError, AttributeError):
        spec = None
    return Path(spec.origin or "").resolve() if spec and spec.has_location else Path()


def _is_found_elsewhere(module: str) -> bool:
    """Tell whether a program in another folder finds a module."""
    command = [*python(), "-P", "-c", THERE, module]
    return subprocess.run(command, cwd="/", capture_output=True).returncode == 0
