"""The errors pyrosynth raises on purpose.

    PyrosynthError
    ├── InputError    a value, name or file given by the user is not usable
    ├── SynthError    a synth or plugin is missing, broken or crashed
    ├── DataError     a dataset is missing, damaged or made under another contract
    └── RunError      a run directory is missing, damaged or does not fit

Every message is one line: the value received, the rule, and the next step. The
command line prints it and exits with code 2.
"""

from collections.abc import Iterable


class PyrosynthError(Exception):
    """Base of every error that pyrosynth raises on purpose."""


class InputError(PyrosynthError):
    """A value, name or file given by the user is not usable."""


class SynthError(PyrosynthError):
    """A synth or plugin is missing, broken or crashed."""


class DataError(PyrosynthError):
    """A dataset is missing, damaged or made under another contract."""


class RunError(PyrosynthError):
    """A run directory is missing, damaged or does not fit what is asked of it."""


def unknown(kind: str, name: str, known: Iterable[str]) -> InputError:
    """Build the error for a name that does not exist, with the known ones listed.

    Args:
        kind: What the name should have named, such as ``"synth"``.
        name: The name received.
        known: The names that exist.

    Returns:
        The error, ready to be raised.
    """
    return InputError(f"unknown {kind} '{name}'; known: {', '.join(known) or 'none'}")
