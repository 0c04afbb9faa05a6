"""MIDI ports of this machine: a preset goes out as controllers; controllers and notes come in.

The map of controllers says which one carries which parameter, and which one moves which axis, see
`pyrosynth.live.controllers`. No controller is both sent and received, so nothing that a DAW sends
back makes a loop.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from pyrosynth.errors import InputError, reason
from pyrosynth.explore.places import Float
from pyrosynth.live.controllers import Controller
from pyrosynth.live.engine import Live
from pyrosynth.live.protocol import Session

CLIENT = "pyrosynth"  # under which other programs see new ports
LONGEST_NAME = 60  # of a port, in characters
MOST_NOTES = 32  # that wait to be rendered; one more is left out


class MidiPorts:
    """MIDI ports, open until they are closed.

    Args:
        out: Port that controllers are sent to; None for none. A part of the name of a port that
            is there, or the name of a new one that other programs can connect to.
        into: Port that controllers and notes are received from; likewise.

    Attributes:
        lines: Which ports were opened, a line for each.

    Raises:
        InputError: What opens ports is not installed, or a port cannot be opened.
    """

    def __init__(self, out: str | None = None, into: str | None = None) -> None:
        self.lines: list[str] = []
        self._live: Live | None = None
        self._told: dict[Controller, int] = {}
        self._received: dict[Controller, int] = {}  # the latest of each, not yet acted upon
        self._notes, self._n_notes = ThreadPoolExecutor(1, "midi-notes"), 0
        self._out = self._into = None
        try:
            wanted = {
                kind: name for kind, name in (("output", out), ("input", into)) if name is not None
            }
            # Before any is opened: what is made here is not to be found as another program's.
            there = {kind: _listed(kind, name) for kind, name in wanted.items()}
            if out is not None:
                self._out = self._opened("output", out, there["output"])
            if into is not None:
                self._into = self._opened("input", into, there["input"], callback=self._receive)
        except InputError:
            self.close()
            raise

    def __enter__(self) -> "MidiPorts":
        """Return them."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close them."""
        self.close()

    @property
    def sends(self) -> bool:
        """Whether presets are sent anywhere."""
        return self._out is not None

    def start(self, live: Live, session: Callable[[], Session]) -> None:
        """Begin to act on what is received, in the event loop that runs.

        Args:
            live: The run.
            session: Returns the session whose point controllers move and notes play.
        """
        self._session, self._loop = session, asyncio.get_running_loop()
        self._live = live

    def tell(self, values: Float) -> None:
        """Send the controllers that a preset has elsewhere than the one before.

        Args:
            values: Native values of all parameters, shape (n_params,).

        Raises:
            InputError: The port has gone.
        """
        if self._out is None or self._live is None:
            return
        from mido import Message

        try:
            for at, value in self._live.midi.changes(values, self._told).items():
                channel, number = at.channel - 1, at.number
                message = Message("control_change", channel=channel, control=number, value=value)
                self._out.send(message)
        except (OSError, ValueError) as error:
            self._told.clear()
            raise InputError(
                f"MIDI cannot be sent ({error}); connect the port again, and start the server anew"
            ) from error

    def close(self) -> None:
        """Close the ports; notes that wait are left out."""
        self._live = None
        for port in (self._into, self._out):
            if port is not None:
                port.close()
        self._notes.shutdown(cancel_futures=True)

    def _opened(self, kind: str, name: str, listed: list[str], **options: Any) -> Any:
        """Open a port that is there, or a new one."""
        import mido

        there = [port for port in listed if name == port] or [p for p in listed if name in p]
        if not there:  # a new one, which other programs see under our name
            options |= {"virtual": True, "client_name": CLIENT}
        try:
            port = getattr(mido, f"open_{kind}")(there[0] if there else name, **options)
        except Exception as error:  # each system has its own
            raise _cannot(kind, name, error, listed) from error
        what = f"port '{there[0]}'" if there else f"a new port '{name}', to be connected to"
        self.lines.append(f"MIDI {kind}: {what}")
        return port

    def _receive(self, message: Any) -> None:
        """Hand a message on to the event loop; this is called in a thread of the port's own."""
        live = self._live
        if live is None:
            return
        with suppress(RuntimeError):  # the server has just ended
            if message.type == "control_change":
                controller = Controller(message.channel + 1, message.control)
                if controller in live.midi.axes.values():  # others are not for us
                    self._loop.call_soon_threadsafe(self._keep, controller, message.value)
            elif message.type in ("note_on", "note_off") and live.speaker is not None:
                velocity = message.velocity if message.type == "note_on" else 0
                self._loop.call_soon_threadsafe(self._queue_note, message.note, velocity)

    def _keep(self, controller: Controller, value: int) -> None:
        """Keep the latest value of a controller; those that are there by then are one move."""
        if not self._received:
            self._loop.call_soon(self._move)
        self._received[controller] = value

    def _move(self) -> None:
        received, self._received = self._received, {}
        if self._live is None:
            return
        session, to = self._session(), dict[str, float]()
        for controller, value in received.items():
            to |= self._live.midi.moved(controller, value)
        session.go(self._live.move(session.place, to))
        self.tell(session.place.values)

    def _queue_note(self, pitch: int, velocity: int) -> None:
        if self._live is None or (velocity and self._n_notes >= MOST_NOTES):
            return
        self._n_notes += 1
        note = self._loop.run_in_executor(
            self._notes, self._play, self._live, self._session().place.values, pitch, velocity
        )
        note.add_done_callback(self._played)

    def _play(self, live: Live, values: Float, pitch: int, velocity: int) -> None:
        assert live.speaker is not None
        if velocity == 0:
            live.speaker.let_go(pitch)
            return
        note = live.note(pitch, live.posterior.run.note.hold_seconds, velocity)
        live.speaker.play(pitch, live.render(values, note).audio)

    def _played(self, note: "asyncio.Future[None]") -> None:
        self._n_notes -= 1
        if not note.cancelled() and (error := note.exception()):
            said = f"a note cannot be played: {reason(error)}"
            self._loop.call_exception_handler({"message": said})


def _listed(kind: str, name: str) -> list[str]:
    """Return the ports that there are of a kind, one of which is wanted."""
    if not name.strip() or not name.isprintable() or len(name) > LONGEST_NAME:
        raise InputError(
            f"'{name[:80]}' names no MIDI {kind}; give 1 to {LONGEST_NAME} printable characters"
        )
    try:
        import mido

        return list(getattr(mido, f"get_{kind}_names")())
    except ModuleNotFoundError as error:
        raise InputError(
            f"MIDI ports need '{error.name}'; install it: pip install 'pyrosynth[midi]'"
        ) from error
    except Exception as error:  # each system has its own
        raise _cannot(kind, name, error, []) from error


def _cannot(kind: str, name: str, error: Exception, listed: list[str]) -> InputError:
    there = ", ".join(listed) or "none"
    return InputError(f"no MIDI {kind} '{name}' can be opened ({error}); there are: {there}")
