"""Work beside the event loop of a server, for which the end of the program never waits."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from pyrosynth.live.connections import failure
from pyrosynth.live.sounds import BusyError
from pyrosynth.threads import in_daemon_thread

Result = TypeVar("Result")
TURN_SECONDS = 60.0  # of what others wait for, such as of sounds on a drive that does not answer
Tell = Callable[[dict[str, Any]], bool]


class Slots:
    """How much is worked on at once: so much in all, and less of it for one machine.

    Args:
        at_once: What is worked on at once.
        of_machine: What of one machine is.

    Attributes:
        asked: How much waits or is worked on, by machine.
    """

    def __init__(self, at_once: int, of_machine: int) -> None:
        self._all, self.asked = asyncio.Semaphore(at_once), Counter[str]()
        self._of = defaultdict[str, asyncio.Semaphore](lambda: asyncio.Semaphore(of_machine))

    @asynccontextmanager
    async def of(self, machine: str, most: int) -> AsyncIterator[None]:
        """Wait for a slot, in the order of asking, and hold it.

        Args:
            machine: Who asks.
            most: How much of it may wait or be worked on.

        Raises:
            BusyError: It is too much already.
        """
        if self.asked[machine] >= most:
            raise BusyError(f"{most} questions of yours wait; ask again in a moment")
        self.asked[machine] += 1
        try:
            async with self._of[machine], self._all:
                yield
        finally:
            self.asked[machine] -= 1
            if not self.asked[machine]:
                del self.asked[machine], self._of[machine]


async def in_thread(
    work: Callable[[Tell], object], is_there: Callable[[], bool], asked: str
) -> AsyncGenerator[dict[str, Any], None]:
    """Do something in a thread, and yield what it tells; what goes wrong is told as ``error``.

    Args:
        work: What to do.
        is_there: Asked in that thread, tells whether the client is still there.
        asked: What it is and for whom, for the log.
    """
    loop, listening = asyncio.get_running_loop(), True
    told: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

    def tell(news: dict[str, Any]) -> bool:
        if listening and news:
            loop.call_soon_threadsafe(told.put_nowait, news)
        return listening and is_there()

    def run() -> None:
        try:
            work(tell)
        except BaseException as error:  # whatever the code of a run or a synth does
            tell({"error": failure(error, asked)})
        finally:
            if listening:
                loop.call_soon_threadsafe(told.put_nowait, None)

    running = in_background(run)
    try:
        while (news := await told.get()) is not None:
            yield news
        await running
    finally:
        listening = False


def in_background(work: Callable[..., Result], *given: Any) -> "asyncio.Future[Result]":
    """Do something in a thread of its own.

    Unlike those of ``asyncio.wrap_future``, the futures hold nothing of each other's: what is
    given, such as an upload, goes as soon as the answer has been read, also if it is an error.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Result] = loop.create_future()

    def tell(done: Future[Result]) -> None:
        with suppress(RuntimeError):  # the loop has been closed
            loop.call_soon_threadsafe(_pass_on, done, answer)

    in_daemon_thread(work, *given).add_done_callback(tell)
    return answer


def _pass_on(done: Future[Result], answer: "asyncio.Future[Result]") -> None:
    if answer.done():  # nobody waits any more
        return
    if (error := done.exception()) is not None:  # which may be one that is false
        answer.set_exception(error)
    else:
        answer.set_result(done.result())


async def turn_of(answer: "asyncio.Future[Any]") -> bool:
    """Wait for something, but no longer than others have to; tell whether it is done."""
    try:
        _, pending = await asyncio.wait([answer], timeout=TURN_SECONDS)
    except asyncio.CancelledError:
        answer.cancel()  # nobody reads it, nor its error, which would be told to be lost
        raise
    return not pending
