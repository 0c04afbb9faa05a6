"""The variants that come with the package, one file each, and those of the user's files."""

import inspect
from pathlib import Path

from pyrosynth.errors import unknown
from pyrosynth.modeling.variant import Variant
from pyrosynth.training.sources import load_copy, load_variant

_BESIDE = Path(__file__).parents[1] / "models"  # in a wheel
FOLDER = _BESIDE if _BESIDE.is_dir() else Path(__file__).parents[2] / "models"  # in a checkout


def list_models() -> tuple[str, ...]:
    """Return the names of the variants, sorted."""
    return tuple(sorted(file.stem for file in FOLDER.glob("[!_]*.py")))


def load_model(name_or_path: str | Path) -> type[Variant]:
    """Load a variant.

    Args:
        name_or_path: A name, or the path of a ``.py`` file that defines one variant. The
            file's code is run.

    Returns:
        The class.

    Raises:
        InputError: The name is unknown (the known ones are listed), or the file defines no
            variant or several.
    """
    if str(name_or_path).endswith(".py"):
        return load_copy(Path(name_or_path))
    return load_variant(_file(str(name_or_path)), f"pyrosynth.models.{name_or_path}")


def source(name: str) -> str:
    """Return the source of a variant, to start one's own from."""
    return _file(name).read_text()


def describe(name: str) -> str:
    """Return the first line of a variant's docstring."""
    return (inspect.getdoc(load_model(name)) or "").partition("\n")[0]


def paper(name: str) -> str:
    """Return the first reference of a variant's docstring, empty without one."""
    text = (inspect.getdoc(load_model(name)) or "").partition("References:\n")[2]
    # A reference ends with its address or a full stop at the end of a line.
    words: list[str] = []
    for line in text.partition("\n\n")[0].splitlines():
        words += line.split()
        if line.rstrip().endswith("."):
            break
    return " ".join(words).rstrip(".")


def _file(name: str) -> Path:
    if name not in list_models():
        raise unknown("model", name, list_models())
    return FOLDER / f"{name}.py"
