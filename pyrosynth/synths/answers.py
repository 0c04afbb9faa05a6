"""What plugins have told of themselves, for which they were asked in processes of their own.

Such a process takes as long to start as a worker. Whoever makes a synth once more, such as a
worker, takes what it was told before, unless the plugin's file or bundle is gone or another.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from types import MappingProxyType
from typing import Any

NOTHING: Mapping[str, Any] = MappingProxyType({})
_known: ContextVar[Mapping[str, Any]] = ContextVar("known", default=NOTHING)


@contextmanager
def known(told: Mapping[str, Any]) -> Iterator[None]:
    """Take answers from those of before, in this thread, while the context lasts.

    Args:
        told: What `kept` returned; what is not there is asked.
    """
    token = _known.set({**_known.get(), **told})
    try:
        yield
    finally:
        _known.reset(token)


def answer(question: str, files: Iterable[Path], ask: Callable[[], Any]) -> Any:
    """Return the answer that is known and holds for the files as they are, or ask.

    Args:
        question: The question, with the plugin that is asked.
        files: The plugin's file or bundle.
        ask: Asks it.
    """
    if question in (told := _known.get()):
        with suppress(OSError):  # whoever asks says what is wrong with them
            state, content = told[question]
            if state == _state(files):
                return content
    return ask()


def kept(question: str, files: Iterable[Path], content: Any) -> dict[str, Any]:
    """Return an answer for `known`.

    Args:
        question: As in `answer`.
        files: As in `answer`.
        content: The answer.
    """
    return {question: (_state(files), content)}


def _state(files: Iterable[Path]) -> list[tuple[str, int, int]]:
    stats = ((str(file), file.stat()) for file in files)
    return [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]
