"""OSC packets: datagrams read into messages, and messages written as datagrams."""

import struct
from collections.abc import Iterator

from pythonosc.osc_message import OscMessage, ParseError
from pythonosc.osc_message_builder import OscMessageBuilder

from pyrosynth.errors import counted, reason
from pyrosynth.live.protocol import Arguments

BUNDLE = b"#bundle\0"
HEAD = 16  # bytes of a bundle before its first part: its name and its time tag
DEEPEST = 8  # bundles within bundles
IMMEDIATELY = 1  # time tag of a bundle that has none
TYPES = frozenset("ifsdhTF")  # of messages here; of the others some are OSC
NO_ARGUMENTS = b",\0\0\0"  # which some senders leave out
PADDED = "every text ends with 1 to 4 zeros, at a multiple of 4 bytes"


class Malformed(Exception):
    """A part of a datagram is not OSC, or uses what no message here needs.

    Args:
        why: What is wrong with it.
        address: Of the message that it is; empty if it is none.
    """

    def __init__(self, why: str, address: str = "") -> None:
        super().__init__(why if address else f"not an OSC message: {why}")
        self.address = address


Sent = tuple[str, Arguments]  # address and arguments of a message
Part = Sent | Malformed


def read(data: bytes) -> tuple[int, list[Part]]:
    """Read a datagram: a message, or a bundle of messages and of further bundles.

    Returns:
        The time tag of the outermost bundle, and in turn address and arguments of each message,
        or why it cannot be used; the others can.
    """
    tag = struct.unpack_from(">Q", data, 8)[0] if _is_whole(data) else IMMEDIATELY
    return tag, [*_parts(data)]


def _is_whole(data: bytes) -> bool:
    """Whether a datagram is a bundle that has a time tag."""
    return data.startswith(BUNDLE) and len(data) >= HEAD


def _parts(data: bytes, depth: int = 0) -> Iterator[Part]:
    """Yield the message that this is, or those in a bundle and in the bundles within it.

    Not by python-osc's OscPacket: it never ends where a size is negative, and logs each part that
    it does not know.
    """
    if not data.startswith(BUNDLE):
        try:
            yield _message(data)
        except Malformed as error:
            yield error
    elif not _is_whole(data):
        yield Malformed("a bundle without a time tag")
    elif depth > DEEPEST:
        yield Malformed(f"bundles within bundles, more than {DEEPEST} deep")
    else:
        at = HEAD
        while at < len(data):
            size = struct.unpack_from(">i", data, at)[0] if at + 4 <= len(data) else 0
            if not 0 < size <= len(data) - at - 4:
                yield Malformed("a bundle whose sizes do not fit; what is behind that is lost")
                return
            yield from _parts(data[at + 4 : at + 4 + size], depth + 1)
            at += 4 + size


def _message(data: bytes) -> Sent:
    if not data.startswith(b"/"):
        raise Malformed("it begins neither with / nor with #bundle")
    address = data.partition(b"\0")[0].decode("utf-8", "replace")
    if len(data) % 4:
        raise Malformed(f"it has {counted(len(data), 'byte')}; {PADDED}", address)
    _, comma, rest = data.partition(b"\0,")
    tags = rest.partition(b"\0")[0].decode("latin-1") if comma else ""
    if unknown := set(tags) - TYPES:
        told = " ".join(sorted(unknown))[:20]
        advice = "send numbers (i, h, f, d) and text (s)"
        raise Malformed(f"no message here takes type tags {told}; {advice}", address)
    try:
        message = OscMessage(data)
        arguments = [float(a) if isinstance(a, float) else a for a in message.params]
    except UnicodeError as error:
        raise Malformed(f"{reason(error)}; send text in UTF-8", address) from error
    except (ParseError, ValueError, IndexError, struct.error) as error:
        raise Malformed(f"a part of it is cut off; {PADDED}", address) from error
    # Some of what it does not know, python-osc passes over.
    between = "there is something between its parts or behind them"
    if len(arguments) != len(tags):
        raise Malformed(f"{between}; {PADDED}", address)
    whole = OscMessageBuilder(message.address)
    for argument, tag in zip(arguments, tags, strict=True):
        whole.add_arg(argument, tag)
    if data not in (again := whole.build().dgram, again.removesuffix(NO_ARGUMENTS)):
        raise Malformed(f"{between}; {PADDED}", address)
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
