"""Work beside the event loop of a server, in threads for which the end of the program never waits.

What belongs to others, such as the code of a synth's class, may never come back.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from pyrosynth.live.connections import failure

Result = TypeVar("Result")
Tell = Callable[[dict[str, Any]], bool]


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
        except (Exception, SystemExit) as error:  # whatever the code of a run or a synth does
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
    """Do something in a thread of its own."""
    done: Future[Result] = Future()
    done.set_running_or_notify_cancel()

    def run() -> None:
        try:
            done.set_result(work(*given))
        except StopIteration as error:  # which no future of an event loop takes
            ended = RuntimeError(repr(error))
            done.set_exception(ended.with_traceback(error.__traceback__))
        except BaseException as error:
            done.set_exception(error)

    waiting = asyncio.wrap_future(done)
    threading.Thread(target=run, daemon=True).start()
    return waiting
