"""What requests bring along: so many bytes at once of all clients, none too slowly."""

import asyncio

from aiohttp import web

from pyrosynth.errors import InputError
from pyrosynth.live.connections import BODY_SECONDS, Connections
from pyrosynth.live.files import LARGEST_FILE

LARGEST_QUESTION = 2**19  # bytes of a question as JSON
MOST_HELD = 2 * LARGEST_FILE  # bytes of bodies that are on their way or wait, of all clients
LEAST_BYTES = 2**18  # of a body, that come in the time for one
UPLOAD_SECONDS = 600.0  # for a body, however fast it comes
CROWDED = "too many sounds are on their way; try again in a moment"


class Bodies:
    """Reads the bodies of requests.

    Args:
        connections: Those that bring them, of which one that is at it is not closed.

    Attributes:
        held: How many bytes are on their way, or wait.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections, self.held = connections, 0
        self._coming: dict[asyncio.Timeout, int] = {}  # bytes held of the bodies on their way

    def hold(self, n: int, body: asyncio.Timeout | None = None) -> None:
        """Count bytes that are kept; of too many, the body that is longest on its way ends."""
        while self.held + n > MOST_HELD:
            oldest = next(iter(self._coming), None)
            if oldest is None or oldest is body:
                raise web.HTTPServiceUnavailable(reason=CROWDED)
            self.held -= self._coming.pop(oldest)
            oldest.reschedule(asyncio.get_running_loop().time())
        self.held += n
        if body is not None:
            self._coming[body] += n

    async def read(self, request: web.Request, largest: int) -> bytes:
        """Return what a request brings along, as long as it goes on coming."""
        content, size = bytearray(), 0
        clock = asyncio.get_running_loop().time
        ends, patience = clock() + UPLOAD_SECONDS, asyncio.timeout(BODY_SECONDS)
        if counts := largest > LARGEST_QUESTION:  # small ones are few bytes
            self._coming[patience] = 0
        try:
            async with patience:
                # It comes in pieces; what is too much is read too, so that the browser hears the
                # answer.
                async for piece in request.content.iter_chunked(2**16):
                    if counts and patience not in self._coming:
                        raise TimeoutError
                    if (size + len(piece)) // LEAST_BYTES > size // LEAST_BYTES:
                        patience.reschedule(min(clock() + BODY_SECONDS, ends))
                        self._connections.waits(request.transport, 2 * BODY_SECONDS)
                    size += len(piece)
                    if size <= largest:
                        content += piece
                        if counts:
                            self.hold(len(piece), patience)
                    elif size > 2 * LARGEST_FILE:
                        break
        except TimeoutError:
            if counts and patience not in self._coming:
                raise web.HTTPServiceUnavailable(reason=CROWDED) from None
            raise web.HTTPRequestTimeout(
                reason=f"{size} bytes have come, too slowly; send {LEAST_BYTES >> 10} KiB or all "
                f"of it in {BODY_SECONDS:g} s, and all in {UPLOAD_SECONDS:g} s"
            ) from None
        finally:
            self.held -= self._coming.pop(patience, 0)
        if size > largest:
            raise InputError(f"a request of more than {largest >> 10} KiB; send less")
        packed = request.headers.get("Content-Encoding", "identity")
        if packed != "identity" or request.content_type.startswith("multipart/"):
            raise InputError(
                f"the body is {packed[:40] if packed != 'identity' else 'a form (multipart)'}; "
                "send the file or the JSON itself, such as by curl --data-binary @x.wav"
            )
        self._connections.answers(request.transport)
        return bytes(content)
