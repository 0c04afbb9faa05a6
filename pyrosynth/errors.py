"""The errors pyrosynth raises on purpose.

    PyrosynthError
    ├── InputError    a value, name or file given by the user is not usable
    ├── SynthError    a synth or plugin is missing, broken or crashed
    ├── DataError     a dataset is missing, damaged or made under another contract
    └── RunError      a run directory is missing, damaged or does not fit

Every message is one line of at most 300 printable characters: the value received, the rule, and
the next step. The command line prints it and exits with code 2.
"""

from collections.abc import Iterable

LONGEST = 300  # characters of a message


class PyrosynthError(Exception):
    """Base of every error that pyrosynth raises on purpose.

    Args:
        message: What is wrong, why, and what to do; made one printable line (`one_line`).
    """

    def __init__(self, message: str = "") -> None:
        """Keep the message."""
        super().__init__(one_line(message))


class InputError(PyrosynthError):
    """A value, name or file given by the user is not usable."""


class SynthError(PyrosynthError):
    """A synth or plugin is missing, broken or crashed."""


class DataError(PyrosynthError):
    """A dataset is missing, damaged or made under another contract."""


class RunError(PyrosynthError):
    """A run directory is missing, damaged or does not fit what is asked of it."""


def one_line(text: str, longest: int = LONGEST) -> str:
    """Turn a text that may quote anything into one printable line of bounded length.

    Args:
        text: The text. White space is joined, other characters that cannot be printed are
            escaped.
        longest: Number of characters to keep; what is cut is cut after two thirds, since the end
            says what to do.

    Returns:
        The line.
    """
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(text.split()))
    if len(line) > longest:
        head = 2 * longest // 3
        line = f"{line[:head]} … {line[len(line) - (longest - head - 3) :]}"
    return line


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
