"""The protocol of a live run: which messages there are, and what a session remembers.

A message is an address and a list of arguments, as in OSC; an answer is a list of messages. There
is no network here.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from pyrosynth.errors import InputError, counted, number, unknown
from pyrosynth.explore.morphing import PresetPath
from pyrosynth.explore.places import Place
from pyrosynth.live.controllers import Controller
from pyrosynth.live.engine import Live

PROTOCOL = 3  # grows whenever a message changes its meaning
LONGEST_PATH = 256  # points of a path

Argument = str | int | float
Arguments = list[Argument]
Answer = tuple[str, Arguments]


@dataclass(frozen=True)
class Message:
    """A message that is understood.

    Attributes:
        address: Such as ``/load``.
        arguments: Names of the arguments; those in square brackets may be left out, dots repeat
            all of them.
        answers: Addresses of the messages it is answered by.
        does: What it does, for the documentation.
        run: Does it.
        slow: Whether it takes longer than a few milliseconds; it then sees the session as it was
            when it arrived.
        lane: Slow messages of one lane wait for each other.
    """

    address: str
    arguments: str
    answers: str
    does: str
    run: Callable[["Session", Arguments], list[Answer]]
    slow: bool = False
    lane: str = "work"

    def takes(self, n: int) -> bool:
        """Whether it can be sent with a number of arguments."""
        names = self.arguments.replace("[", " ").replace("]", " ").split()
        needed = self.arguments.partition("[")[0].split()
        if "..." in names:
            return n % (len(names) - 1) == 0 and n >= len(needed) - 1
        return len(needed) <= n <= len(names)


MESSAGES: dict[str, Message] = {}
"""All messages, by address; `pyrosynth.live.messages` fills it, the documentation is made from
it."""


def message(
    address: str,
    arguments: str,
    answers: str,
    does: str,
    *,
    slow: bool = False,
    lane: str = "work",
) -> Callable[[Callable[["Session", Arguments], list[Answer]]], Callable[..., list[Answer]]]:
    """Put a function into the table."""

    def add(run: Callable[["Session", Arguments], list[Answer]]) -> Callable[..., list[Answer]]:
        MESSAGES[address] = Message(address, arguments, answers, does, run, slow, lane)
        return run

    return add


class Session:
    """What one host has in its hands: a point of the latent space with its preset, and a path.

    Args:
        live: The run.
        out: Folder that presets and sounds may be written into; None forbids it.
        local: Whether the host is this machine.
        counts: What the server has counted.

    Attributes:
        place: The point and its preset: what is told, rendered and saved.
        name: What the preset is called.
        frozen: Whether ``/decode`` keeps the axes that it does not name.
        path: The points of the path.
        tells_midi: Whether what moves the preset is also told as MIDI controllers.
        straight: Whether the path is straight in the parameters instead of the latent space.
        wrote: The files that it has asked for by name, which it may replace.
        port: Where answers are wanted, instead of where messages come from.
        server_port: Port of the server at which it would answer itself, None if there is none.
        stopped: Whether the host has asked the server to stop.
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
        self.place = live.space.place(None)
        self.name, self.frozen = "origin", True
        self.path: list[Place] = []
        self.tells_midi = False
        self._told: dict[Controller, int] = {}
        self.straight = False
        self.wrote: set[Path] = set()
        self.port: int | None = None
        self.server_port: int | None = None

    def answer(self, address: str, arguments: Arguments) -> list[Answer]:
        """Do what a message asks.

        Raises:
            PyrosynthError: It cannot be done; the error says why in one line.
        """
        if address not in MESSAGES:
            raise unknown("message", address[:80], MESSAGES)
        known = MESSAGES[address]
        if not known.takes(len(arguments)):
            wanted = f" {known.arguments}" if known.arguments else " without arguments"
            raise InputError(
                f"{address} cannot be used with "
                f"{counted(len(arguments), 'such argument')}; send it{wanted}"
            )
        return known.run(self, arguments)

    def go(self, place: Place, name: str | None = None) -> list[Answer]:
        """Go to a place; say what is there."""
        self.place, self.name = place, self.name if name is None else name
        return [("/params", self.params()), ("/z", place.z.tolist())]

    def midi(self) -> list[Answer]:
        """Tell the controllers that are elsewhere than was told, if they are wanted.

        It is asked for after every answer, in the order in which answers are sent.
        """
        if not self.tells_midi:
            return []
        new = self.live.midi.changes(self.place.values, self._told)
        return [("/cc", [*controller, value]) for controller, value in new.items()]

    def tell_midi(self, wanted: bool) -> None:
        """Begin to tell controllers, all of them, or leave off."""
        self.tells_midi = wanted
        self._told.clear()

    def params(self) -> Arguments:
        """Return name and value of every parameter of the preset in turn."""
        names = self.live.posterior.run.full_space.names
        return list(chain.from_iterable(zip(names, self.place.values.tolist(), strict=True)))

    def add_to_path(self, place: Place) -> None:
        """Add a place to the end of the path.

        Raises:
            InputError: The path is as long as it may get.
        """
        if len(self.path) == LONGEST_PATH:
            raise InputError(
                f"the path has {LONGEST_PATH} points, the most there can be; clear it"
            )
        self.path.append(place)

    def follow_path(self, ratio: Argument) -> list[Answer]:
        """Go to where the path is at a ratio from 0 to 1.

        Raises:
            InputError: The path has no point, or the ratio is not a number from 0 to 1.
        """
        if not self.path:
            raise InputError("the path is empty; add points by /path/add")
        position = number("ratio", ratio, 0, 1) * (len(self.path) - 1)
        space = self.live.space
        latent = PresetPath.through(space, self.path, "latent").place(position)
        if not self.straight:
            return self.go(latent)
        values = PresetPath.through(space, self.path, "knobs").values(position)
        return self.go(self.live.place_of(values, latent.z))
