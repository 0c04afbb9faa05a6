"""What plugins have told of themselves, for which they were asked in processes of their own.

Such a process takes as long to start as a worker. Whoever makes a synth once more, such as a
worker, takes what it was told before.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

NOTHING: Mapping[str, Any] = MappingProxyType({})
_known: ContextVar[Mapping[str, Any]] = ContextVar("known", default=NOTHING)


@contextmanager
def known(told: Mapping[str, Any]) -> Iterator[None]:
    """Take answers from those of before, in this thread, while the context lasts.

    Args:
        told: The answers by their questions; what is not among them is asked.
    """
    token = _known.set({**_known.get(), **told})
    try:
        yield
    finally:
        _known.reset(token)


def answer(question: str, ask: Callable[[], Any]) -> Any:
    """Return the answer that is known, or ask.

    Args:
        question: The question, with the plugin that is asked.
        ask: Asks it.
    """
    told = _known.get()
    return told[question] if question in told else ask()
