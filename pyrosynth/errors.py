"""The errors that pyrosynth raises on purpose.

    PyrosynthError
    ├── InputError    a value, name or file given by the user is not usable
    ├── SynthError    a synth or plugin is missing, broken or crashed
    ├── DataError     a dataset is missing, damaged or made under another contract
    └── RunError      a run directory is missing, damaged or does not fit

Every message is a line of at most 300 printable characters: the value, the rule, the next step.
"""

import functools
import math
import operator
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any, TypeVar

Made = TypeVar("Made", bound=Any)
LONGEST = 300  # characters of a message
MOST = 10**6  # draws, renders of a search, or presets of a step: beyond it memory runs out
DETAILS = re.compile(r" in [\d.]+m?s, after .*?retry_timeout: \w+|\s*Debug source:.*", re.DOTALL)
"""What object stores tell their makers: how often was tried, and what each part of them said."""
LARGEST_SEED = 2**63 - 1  # the largest that both NumPy and torch take


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


@contextmanager
def reading(failure: Callable[[str], PyrosynthError], what: str, advice: str) -> Iterator[None]:
    """Turn whatever a reader makes of damaged or hostile content into one clear error.

    Libraries raise many types on it, and so does code that takes it apart. A file that one may
    not read, which may be whole, is told as that.

    Args:
        failure: The type of the error that is raised.
        what: What cannot be read.
        advice: What to do.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, PermissionError) and error.filename:
            raise failure(not_opened(error)) from error
        raise failure(f"{what} ({reason(error)}); {advice}") from error


def not_opened(error: OSError) -> str:
    """Say of a file or folder that cannot be opened, and which may be whole, what to do."""
    advice = (
        "ask its owner to let you"
        if isinstance(error, PermissionError)
        else "repair it, or leave it out"
    )
    return f"'{error.filename}' cannot be opened ({reason(error)}); {advice}"


def reason(error: BaseException) -> str:
    """Say in a few words what an error of a reader means, without its type where that is clear."""
    if isinstance(error, PyrosynthError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return f"it is no text in {error.encoding}"
    if isinstance(error, KeyError):
        return f"it has no {_said(error)}"
    name, text = type(error).__name__, DETAILS.sub("", _said(error)).strip()
    if text and (isinstance(error, ValueError) or type(error).__module__.startswith("obstore")):
        return text
    return f"{name}: {text}" if text else name


def raised(error: BaseException, longest: int = LONGEST) -> str:
    """Name an error that code of others raised, in one line: its type, and what it says.

    Args:
        error: The error; also one that cannot say anything, as its ``__str__`` fails.
        longest: Number of characters of the line.
    """
    return one_line(f"{type(error).__name__}: {_said(error)}".removesuffix(": "), longest)


def _said(error: BaseException) -> str:
    """Return what an error says; nothing if its own code fails."""
    try:
        return str(error)
    except (Exception, SystemExit):
        return ""


def line_of(error: BaseException, module: str) -> str:
    """Say in which line of a module's file an error arose, such as " in line 3"; empty if none."""
    file = getattr(sys.modules.get(module), "__file__", None)
    lines = [at.lineno for at in traceback.extract_tb(error.__traceback__) if at.filename == file]
    return f" in line {lines[-1]}" if lines else ""


def unknown(kind: str, name: Any, known: Iterable[str]) -> InputError:
    """Build the error for a name that is none of those known, of which the nearest come first."""
    given, names = str(name), [*known]
    name = one_line(given, 60)
    blank = " with blanks or line breaks around it" if given != given.strip() else ""
    near = [one for one in names if len(name) > 2 and name in one]
    near += get_close_matches(name, names, cutoff=0.7)
    listed = ", ".join(dict.fromkeys([*near, *names])) or "none"
    return InputError(f"unknown {kind} '{name}'{blank}; known: {listed}")


def fixed_array(make: Callable[[Any], Made]) -> "functools.cached_property[Made]":
    """Make a property of an array that is worked out once, and that nobody can change.

    Whoever wrote to it would change what others get; NumPy refuses that by a ``ValueError``, and
    ``array.copy()`` is one's own.
    """

    @functools.wraps(make)
    def once(owner: Any) -> Made:
        array = make(owner)
        array.setflags(write=False)
        return array

    return functools.cached_property(once)


def checked_name(kind: str, name: Any, known: Iterable[str]) -> str:
    """Return a name that is one of those known; else raise InputError, see `unknown`."""
    names = [*known]
    if not isinstance(name, str) or name not in names:
        raise unknown(kind, name, names)
    return name


def counted(n: int, noun: str) -> str:
    """Return a number with its noun, in the plural with an s unless it is 1.

    Example:
        >>> counted(1, "render"), counted(2000, "preset")
        ('1 render', '2,000 presets')
    """
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def shown(value: Any, longest: int = 60) -> str:
    """Describe a value of any type in a few words, such as "int 3"."""
    try:
        text = repr(value)
    except Exception:  # it is somebody else's code
        text = "an object"
    return one_line(text if value is None else f"{type(value).__name__} {text}", longest)


def unseen(progress: object = True) -> bool:
    """Tell whether a progress bar is hidden: it is not wanted, or nobody could see it.

    Args:
        progress: Whether there should be one, such as its label.
    """
    return not progress or sys.stderr is None  # as in a program with windows of its own


def require_type(what: str, value: Any, kind: type | tuple[type, ...], advice: str) -> None:
    """Make sure that an argument has its type.

    Args:
        what: What an error calls it.
        value: What was given.
        kind: The type, or several; a text and an array without axes are sequences of none.
        advice: What to give instead.

    Raises:
        InputError: It has another one.
    """
    kinds = {*kind} if isinstance(kind, tuple) else {kind}
    single = isinstance(value, str) and str not in kinds or getattr(value, "ndim", None) == 0
    if single and kinds & {Sequence, Iterable} or not isinstance(value, kind):
        raise InputError(f"{what} is {shown(value)}; give {advice}")


def require_shapes(what: str, arrays: Mapping[str, tuple[Any, Sequence[str | int]]]) -> None:
    """Make sure that the arrays of one thing have their axes, equally long where named alike.

    Args:
        what: What an error calls the thing, such as ``"a bank"``.
        arrays: By name, each with the names or the lengths of its axes.

    Raises:
        InputError: One is no array, or has another shape; the message names it.
    """
    import numpy as np

    sizes: dict[str | int, int] = {}
    for name, (array, axes) in arrays.items():
        require_type(f"{name} of {what}", array, np.ndarray, "an array of NumPy")
        sizes |= {axis: axis for axis in axes if isinstance(axis, int)}
        wanted = ", ".join(str(sizes.get(axis, axis)) for axis in axes)
        if len(array.shape) != len(axes) or any(
            sizes.setdefault(axis, n) != n for axis, n in zip(axes, array.shape, strict=True)
        ):
            raise InputError(
                f"{name} of {what} have the shape {array.shape}; give one of shape ({wanted})"
            )


def _unreadable(what: str, error: RuntimeError) -> str:
    return (
        f"{what}: a tensor whose numbers cannot be read ({one_line(reason(error), 120)}); give a "
        "plain one, outside of torch.func"
    )


def numbers(what: str, values: Any, dtype: Any = None, names: Sequence[str] = ()) -> Any:
    """Return what a caller gives as numbers as an array of NumPy.

    Args:
        what: What an error calls them.
        values: An array of any library, nested lists, or a tensor of any device.
        dtype: Type of the result; that of the values if left out.
        names: What the last axis holds, which columns of tables may tell in another order.

    Raises:
        InputError: They are no real numbers, not of equal lengths, some are masked, or columns
            that have ``names`` have another order.
    """
    import numpy as np

    try:
        given = values.detach().cpu() if hasattr(values, "cpu") else values  # files detach, too
    except RuntimeError as error:
        raise InputError(_unreadable(what, error)) from error
    if str(getattr(given, "dtype", "")) == "torch.bfloat16":  # which NumPy does not have
        given = given.float()
    parts = [*_parts(given)]
    if any(isinstance(part, np.ma.MaskedArray) and np.ma.is_masked(part) for part in parts):
        raise InputError(
            f"{what}: some are masked, and a mask would be lost; fill them (array.filled), or "
            "leave those rows out"
        )
    for labels in map(_labels, parts if names else ()):
        pairs = enumerate(zip(labels, names, strict=True) if len(labels) == len(names) else ())
        for i, (label, name) in pairs:
            if label != name and label in names:
                raise InputError(
                    f"{what} have '{one_line(label, 40)}' in column {i}, where '{name[:40]}' "
                    "belongs; give table[list(space.names)]"
                )
    try:
        array = np.asarray(given)
        if array.dtype.kind in "cSUmM":
            raise TypeError(f"they are {array.dtype}")
        if any(isinstance(part, bool) for part in parts) and (dtype or array.dtype.kind != "b"):
            raise TypeError("true and false are none")
        array = array if dtype is None else array.astype(dtype, copy=False)
        # Torch takes no array that is read backwards, such as x[::-1].
        return array if min(array.strides, default=0) >= 0 else array.copy()
    except (TypeError, ValueError, OverflowError) as error:
        odd = next((shown(part) for part in parts if not hasattr(part, "__float__")), error)
        raise InputError(f"{what} that are no numbers ({odd}); give numbers") from error
    except RuntimeError as error:  # such as of torch.func, whose tensors stand for others
        raise InputError(_unreadable(what, error)) from error


def _labels(values: Any) -> list[Any]:
    """Return what a table or a row of Pandas, or an array of xarray, calls its last axis."""
    if isinstance(dims := getattr(values, "dims", None), tuple):
        return [*getattr(values, "indexes", {}).get(dims[-1], ())] if dims else []
    labels = getattr(values, "columns", getattr(values, "index", ()))
    return [] if callable(labels) else [*labels]


def _parts(values: Any) -> Iterator[Any]:
    """Yield what lists, and those within them, hold."""
    if isinstance(values, list | tuple):
        for value in values:
            yield from _parts(value)
    else:
        yield values


def integer(name: str, value: Any, low: int | None = None, high: int | None = None) -> int:
    """Return an argument as a plain integer; those of NumPy, and whole floats, are taken too.

    Args:
        name: What an error calls it.
        value: What was given.
        low: The least it may be.
        high: The most.

    Raises:
        InputError: It is no integer, or out of range.
    """
    try:
        result = int(value) if float(value).is_integer() else operator.index(value)
    except (TypeError, ValueError, OverflowError):
        result = None
    if result is None or isinstance(value, bool | str | bytes) or not _within(result, low, high):
        raise InputError(f"{name} {value!r}: give an integer{_bounds(low, high)}")
    return result


def number(name: str, value: Any, low: float | None = None, high: float | None = None) -> float:
    """Return an argument as a plain float; the scalars of NumPy and torch are taken too.

    Args:
        name: What an error calls it.
        value: What was given.
        low: The least it may be.
        high: The most.

    Raises:
        InputError: It is no finite number, or out of range.
    """
    try:
        result = float(value)
    except (TypeError, ValueError, OverflowError):
        result = math.nan
    other = isinstance(value, bool | str | bytes)
    if other or not math.isfinite(result) or not _within(result, low, high):
        raise InputError(f"{name} {value!r}: give a number{_bounds(low, high)}")
    return result


def checked_seed(seed: Any) -> int:
    """Return a seed as a plain integer from 0 to 2^63 - 1, which NumPy and torch take.

    Raises:
        InputError: It is something else.
    """
    return integer("seed", seed, 0, LARGEST_SEED)


def _within(value: float, low: float | None, high: float | None) -> bool:
    return (low is None or value >= low) and (high is None or value <= high)


def _bounds(low: float | None, high: float | None) -> str:
    if low is None and high is None:
        return ""
    return f" of at least {low}" if high is None else f" from {low} to {high}"
