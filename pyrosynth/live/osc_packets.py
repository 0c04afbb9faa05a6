"""OSC packets: datagrams read into messages, and messages written as datagrams."""

import struct
from collections.abc import Iterator

from pythonosc.osc_message import OscMessage, ParseError
from pythonosc.osc_message_builder import OscMessageBuilder

from pyrosynth.errors import counted, reason
from pyrosynth.live.protocol import Arguments

BUNDLE = b"#bundle\0"
DEEPEST = 8  # bundles within bundles
IMMEDIATELY = 1  # time tag of a bundle that has none
TYPES = frozenset("ifsdhTF")  # python-osc logs any other
NO_ARGUMENTS = b",\0\0\0"  # which some senders leave out
PADDED = "every text ends with 1 to 4 zeros, at a multiple of 4 bytes"


class Malformed(Exception):
    """A datagram is not OSC, or uses a part of it that no message here needs."""


def read(data: bytes) -> tuple[int, list[tuple[str, Arguments]]]:
    """Read a datagram: a message, or a bundle of messages and of further bundles.

    Returns:
        The time tag of the outermost bundle, and address and arguments of each message.

    Raises:
        Malformed: It is neither.
    """
    if not data.startswith(BUNDLE):
        return IMMEDIATELY, [_message(data)]
    parts = [_message(part) for part in _parts(data)]
    return struct.unpack_from(">Q", data, 8)[0], parts


def _parts(data: bytes, depth: int = 0) -> Iterator[bytes]:
    """Yield the messages in a bundle, those of the bundles within it too.

    Not by python-osc's OscPacket: it never ends where a size is negative, and logs each part that
    it does not know.
    """
    if len(data) < 16:
        raise Malformed("a bundle without a time tag")
    if depth > DEEPEST:
        raise Malformed(f"bundles within bundles, more than {DEEPEST} deep")
    at = 16
    while at < len(data):
        size = struct.unpack_from(">i", data, at)[0] if at + 4 <= len(data) else 0
        if not 0 < size <= len(data) - at - 4:
            raise Malformed("a bundle whose sizes do not fit")
        part = data[at + 4 : at + 4 + size]
        if part.startswith(BUNDLE):
            yield from _parts(part, depth + 1)
        else:
            yield part
        at += 4 + size


def _message(data: bytes) -> tuple[str, Arguments]:
    if not data.startswith(b"/"):
        raise Malformed("it begins neither with / nor with #bundle")
    if len(data) % 4:
        raise Malformed(f"it has {counted(len(data), 'byte')}; {PADDED}")
    _, comma, rest = data.partition(b"\0,")
    tags = rest.partition(b"\0")[0].decode("latin-1") if comma else ""
    if unknown := set(tags) - TYPES:
        raise Malformed(
            f"type tags {' '.join(sorted(unknown))[:20]}; send numbers (i, h, f, d) and text (s)"
        )
    try:
        message = OscMessage(data)
        arguments = [float(a) if isinstance(a, float) else a for a in message.params]
    except UnicodeError as error:
        raise Malformed(reason(error)) from error
    except (ParseError, ValueError, IndexError, struct.error) as error:
        raise Malformed(f"a part of it is cut off; {PADDED}") from error
    # Some of what it does not know, python-osc passes over.
    whole = OscMessageBuilder(message.address)
    for argument, tag in zip(arguments, tags, strict=True):
        whole.add_arg(argument, tag)
    if data not in (again := whole.build().dgram, again.removesuffix(NO_ARGUMENTS)):
        raise Malformed(f"there is something between its parts or behind them; {PADDED}")
    return message.address, arguments


def write(address: str, arguments: Arguments) -> bytes:
    """Write a message as a datagram.

    Raises:
        BuildError: A part of it is not to be written, such as text beyond UTF-8.
    """
    builder = OscMessageBuilder(address)
    for argument in arguments:
        builder.add_arg(argument)
    return builder.build().dgram
