"""A client of a live run: what it has in its hands, and the messages it may send.

A message is an address and a list of arguments, as in OSC; an answer is a list of messages. There
is no network here.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from pyrosynth.errors import InputError, unknown
from pyrosynth.live.engine import Live
from pyrosynth.live.paths import Trail

Argument = str | int | float
Arguments = list[Argument]
Answer = tuple[str, Arguments]


@dataclass(frozen=True)
class Message:
    """A message that is understood.

    Attributes:
        address: Such as ``/load``.
        arguments: Names of the arguments; those in square brackets may be left out, dots repeat.
        answers: Addresses of the messages it is answered by.
        does: What it does, for the documentation.
        run: Does it.
        slow: Whether it takes longer than a few milliseconds.
    """

    address: str
    arguments: str
    answers: str
    does: str
    run: Callable[["Session", Arguments], list[Answer]]
    slow: bool = False


MESSAGES: dict[str, Message] = {}
"""All messages, by address; `pyrosynth.live.messages` fills it, the documentation is made from
it."""


def message(
    address: str, arguments: str, answers: str, does: str, *, slow: bool = False
) -> Callable[[Callable[["Session", Arguments], list[Answer]]], Callable[..., list[Answer]]]:
    """Put a function into the table."""

    def add(run: Callable[["Session", Arguments], list[Answer]]) -> Callable[..., list[Answer]]:
        MESSAGES[address] = Message(address, arguments, answers, does, run, slow)
        return run

    return add


class Session:
    """What one client has in its hands: a point of the latent space, and a path.

    Args:
        live: The run.
        out: Folder that presets and sounds may be written into; None forbids it.

    Attributes:
        z: The point.
        name: What the preset there is called.
        frozen: Whether ``/decode`` keeps the axes that it does not name.
        trail: The path.
        port: Where answers are wanted, instead of where messages come from.
        local: Whether the client is on this machine.
        stopped: Whether it has asked the server to stop.
        counts: What the server has counted.
    """

    def __init__(
        self,
        live: Live,
        out: str | None = None,
        *,
        local: bool = True,
        counts: Counter[str] | None = None,
    ) -> None:
        self.live, self.out, self.local = live, out, local
        self.counts = Counter[str]() if counts is None else counts
        self.stopped = False
        self.z = live.point(np.zeros(live.latent_dim))
        self.name, self.frozen = "origin", True
        self.trail = Trail()
        self.port: int | None = None

    def answer(self, address: str, arguments: Arguments) -> list[Answer]:
        """Do what a message asks.

        Raises:
            PyrosynthError: It cannot be done; the error says why in one line.
        """
        if address not in MESSAGES:
            raise unknown("message", address[:80], MESSAGES)
        known = MESSAGES[address]
        try:
            if arguments and not known.arguments:
                raise ValueError("arguments")
            return known.run(self, arguments)
        except (ValueError, TypeError, IndexError, OverflowError) as error:
            wanted = f" {known.arguments}" if known.arguments else " without arguments"
            raise InputError(
                f"{address} cannot be used with these {len(arguments)} arguments; send it{wanted}"
            ) from error

    def moved(self, z: NDArray[np.float32], name: str | None = None) -> list[Answer]:
        """Go to a point, and say what is there."""
        self.z, self.name = z, self.name if name is None else name
        return [("/params", self.params()), ("/z", z.tolist())]

    def params(self, values: NDArray[np.float64] | None = None) -> Arguments:
        """Return name and value of every parameter in turn, of the point if not given."""
        values = self.live.values(self.z) if values is None else values
        names = self.live.posterior.run.full_space.names
        return list(chain.from_iterable(zip(names, values.tolist(), strict=True)))
