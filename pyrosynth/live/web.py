"""The web pages: the explorer of a run, and what it asks for.

The page keeps what it shows; every request says all that is needed to answer it, so a page that
goes away or a server that is started again loses nothing.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection
from contextlib import AsyncExitStack, aclosing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from aiohttp import ClientError, HttpVersion11, web

from pyrosynth.errors import InputError, PyrosynthError, checked_seed, integer, one_line, reason
from pyrosynth.live.background import Result, Slots, in_background, in_thread, turn_of
from pyrosynth.live.bodies import LARGEST_QUESTION, Bodies
from pyrosynth.live.connections import BODY_SECONDS, WAIT_SECONDS, Connections, failure
from pyrosynth.live.engine import Live
from pyrosynth.live.files import LARGEST_FILE
from pyrosynth.live.kept import kept_bank
from pyrosynth.live.midi import MidiPorts
from pyrosynth.live.page_state import POINT, PageState
from pyrosynth.live.questions import (
    is_loopback,
    locked,
    name_of,
    one_of,
    place_of,
    presets_of,
    question,
    question_of,
)
from pyrosynth.live.relatives import children, similar
from pyrosynth.live.searching import GrowingSearch
from pyrosynth.live.sounds import BusyError, Sound

PAGES = Path(__file__).parent / "page"
FILES = {f"/{file.name}": file for file in sorted(PAGES.glob("*.*"))} | {"/": PAGES / "index.html"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; media-src 'self' blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
LARGEST_BANK = 2**22  # bytes of one with presets; a browser keeps hardly more
THREADS = 8  # in which questions are worked on; half of them for one machine at most
MOST_ASKED = 32  # questions of a machine that wait or are worked on
MOST_SEARCHES = 8  # that wait, with the one at work
UPLOADS = 2  # sounds that are read at once
PATIENCE_SECONDS = 30.0  # for the searches and morphs before one to end
ANOTHER_RUN = "another run is served here now; load the page again"
BUDGET, MOST_RENDERS = 256, 4096  # sounds that a search renders
LONGEST_PATH = 256  # characters of one that is answered, at most
MOST_TOLD = 4000  # letters of a header; servers in between take 8 kB of headers
MOST_PRESETS = 4096  # of a bank
FORMATS = "own", "json"  # of a preset: that of the synth, or one that any host can play
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Site:
    """Answers the page.

    Args:
        live: The run.
        name: What the run is called.
        allow: Names of hosts under which it may be reached, beside this machine's own.
        midi: Ports that the page's presets are sent to.

    Attributes:
        connections: Those that are open.
    """

    def __init__(
        self, live: Live, name: str, allow: Collection[str] = (), midi: MidiPorts | None = None
    ) -> None:
        self.live, self.allow, self.midi = live, allow, midi or MidiPorts()
        self.page = PageState(live, name, sends_midi=self.midi.sends)
        self.connections = Connections()
        self._state = json.dumps(self.page.state()).encode()
        self._reading, self.bodies = asyncio.Semaphore(UPLOADS), Bodies(self.connections)
        self._searches, self._threads = 0, Slots(THREADS, THREADS // 2)
        self._morphs = Slots(MOST_SEARCHES, 1)  # that wait for their turn, of each machine one

    def app(self) -> web.Application:
        """Return the application."""
        app = web.Application(middlewares=[self._guard])
        app.on_response_prepare.append(_protect)
        app.router.resolve = _of_short_paths(app.router.resolve)  # type: ignore[assignment, method-assign]
        app.router.add_get("/api/ping", self._ping)
        app.router.add_get("/api/state", self._get_state)
        app.router.add_get("/api/sound/{number:[0-9]{1,7}}", self._known)
        app.router.add_post("/api/sound", self._sound)
        app.router.add_post("/api/search", self._search)
        app.router.add_post("/api/similar", self._similar)
        app.router.add_post("/api/breed", self._breed)
        app.router.add_post("/api/bank", self._bank)
        app.router.add_post("/api/file", self._file)
        app.router.add_post("/api/midi", self._midi)
        app.router.add_post("/api/point", self._point)
        for path in FILES:
            app.router.add_get(path, self._page)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method == "POST":
            self.connections.waits(request.transport, 2 * BODY_SECONDS)
        else:
            self.connections.answers(request.transport)
        try:
            if refusal := self._refusal(request):
                raise web.HTTPForbidden(reason=refusal)
            if self._is_of_another_run(request):
                raise web.HTTPConflict(reason=ANOTHER_RUN)
            response = await handler(request)
        except web.HTTPMethodNotAllowed as error:
            known = sorted(error.allowed_methods)
            says = f"{error.method[:20]} is not answered here; send {' or '.join(known)}"
            response = _say(error.status, says)
            response.headers["Allow"] = ", ".join(known)
        except web.HTTPException as error:
            response = _say(error.status, error.reason)
        except PyrosynthError as error:
            status = 503 if isinstance(error, BusyError) else 400
            response = _say(status, failure(error, f"{request.path} of {request.remote}"))
        except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
            response = _say(400, f"a question that cannot be understood ({reason(error)})")
        except (ConnectionError, ClientError, web.RequestPayloadError):  # the page has gone
            raise
        except (Exception, SystemExit) as error:  # whatever the code of a run or a synth does
            raised = error.__cause__ if isinstance(error, _WorkError) else None
            where = f"{request.path} of {request.remote}"
            response = _say(500, failure(raised or error, where))
        finally:
            if request.transport is not None and not request.transport.is_closing():
                self.connections.waits(request.transport, WAIT_SECONDS)
        return response

    def _refusal(self, request: web.Request) -> str | None:
        """Say why a request is not answered: it comes from another site, or under a strange name.

        A page of another site that has found the port is turned away, and so is a name that was
        made to point here. This machine's own names are good at any port: who forwards a port to
        here, as by SSH, sees the page at another one.
        """
        assert request.transport is not None
        name = (urlsplit(f"//{request.host}").hostname or "").removesuffix(".")
        here, port = request.transport.get_extra_info("sockname")[:2]
        if not is_loopback(name) and name not in (here, *self.allow):
            return (
                f"this server is not to be reached as '{name[:80]}'; start it with --allow "
                f"{name[:80]}, or open http://{address(here, port)}/"
            )
        origin = urlsplit(request.headers.get("Origin", f"http://{request.host}"))
        site = request.headers.get("Sec-Fetch-Site", "none")
        api = request.path.startswith("/api/")
        host = urlsplit(f"{origin.scheme}://{request.host}")
        is_own = origin.hostname is not None and place_of(origin) == place_of(host)
        if not is_own or (api and site not in ("same-origin", "none")):
            return "this server answers its own page only, not pages of other sites"
        return None

    def _is_of_another_run(self, request: web.Request) -> bool:
        """Whether a question is of a page that was loaded from a server of another run."""
        run = request.headers.get("X-Run") or self.page.identity["hash"]
        return request.path != "/api/ping" and run != self.page.identity["hash"]

    async def _page(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(FILES[request.path])

    async def _ping(self, request: web.Request) -> web.Response:
        return web.json_response(self.page.identity)

    async def _get_state(self, request: web.Request) -> web.Response:
        return web.Response(body=self._state, content_type="application/json")

    async def _point(self, request: web.Request) -> web.Response:
        asked = await self._question(request, *POINT)
        if "through" in asked:
            return web.json_response({"path": await self._morph(request, asked)})
        return web.json_response(await self._worked(request, self.page.point, asked))

    async def _morph(self, request: web.Request, asked: dict[str, Any]) -> list[dict[str, Any]]:
        """Wait for the turn of a morph among searches and other morphs, and work it out."""
        stops = await self._worked(request, self.page.stops, asked)
        async with AsyncExitStack() as held:
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    own = self._morphs.of(request.remote or "", MOST_ASKED)
                    await held.enter_async_context(own)
                    turn = self.live.searching.taken(lambda: request.transport is not None)
                    await held.enter_async_context(turn)
            except TimeoutError:
                raise InputError(
                    "another search or path is under way; stop it, then play the path again"
                ) from None
            return await self._worked(request, self.page.morph, stops, locked(asked))

    async def _sound(self, request: web.Request) -> web.Response:
        asked = await self._question(request, "values", "pitch", "hold")
        values, note = self.live.checked(asked["values"]), None
        if "pitch" in asked or "hold" in asked:
            own = self.live.posterior.run.note
            note = self.live.note(
                asked.get("pitch", own.pitch), asked.get("hold", own.hold_seconds)
            )
        return self._told(await self._worked(request, self.live.render, values, note))

    async def _known(self, request: web.Request) -> web.Response:
        number = int(request.match_info["number"])
        number = integer("preset number", number, 0, len(self.live.space) - 1)
        return self._told(await self._worked(request, self.live.render, self.live.known(number)))

    async def _search(self, request: web.Request) -> web.StreamResponse:
        """Answer by lines of JSON, whenever there is something new, until the page has gone."""
        asked = question_of(request.query, ("name", "budget", "start", "seed", "locked"))
        name = name_of(asked, "the sound")
        budget = integer("budget", asked.get("budget", BUDGET), 1, MOST_RENDERS)
        start = self.live.checked(asked["start"]) if "start" in asked else None
        options: dict[str, Any] = {
            "budget": budget, "seed": checked_seed(asked.get("seed", 0)), "start": start,
            "locked": locked(asked),
        }  # fmt: skip
        content = await self.bodies.read(request, LARGEST_FILE)
        if self._searches >= MOST_SEARCHES:
            raise web.HTTPServiceUnavailable(
                reason=f"{MOST_SEARCHES} searches wait or are at work; try again in a moment"
            )
        self._searches += 1
        try:
            return await self._searched(request, content, name, options)
        finally:
            self._searches -= 1

    async def _searched(
        self, request: web.Request, content: bytes, name: str, options: dict[str, Any]
    ) -> web.StreamResponse:
        held = len(content)
        self.bodies.hold(held)
        try:
            async with self._reading:
                if request.transport is None:  # who has waited here may have gone
                    raise ConnectionResetError
                hearings = await self._worked(request, self.live.files.upload, content, name)
        finally:
            self.bodies.held -= held
        # A server in between must pass on each line as it comes.
        headers = {"Content-Type": "application/x-ndjson", "X-Accel-Buffering": "no"}
        response = web.StreamResponse(headers=headers)
        if request.version < HttpVersion11:  # where its end is the end of the connection
            response.force_close()
        await response.prepare(request)
        work = in_thread(
            lambda tell: GrowingSearch(self.page, tell).run(hearings, **options),
            lambda: request.transport is not None,
            f"a search for '{name}' of {request.remote}",
        )
        with suppress(ConnectionError):  # the page has stopped it, or has gone
            async with aclosing(work) as told:
                async for news in told:
                    self.connections.answers(request.transport)
                    await response.write(json.dumps(news).encode() + b"\n")
            await response.write_eof()
        return response

    async def _similar(self, request: web.Request) -> web.Response:
        asked = await self._question(request, "z", "values")
        place = self.live.at(asked["z"], asked["values"])
        found = await self._worked(request, similar, self.page, place)
        return web.json_response({"similar": found})

    async def _breed(self, request: web.Request) -> web.Response:
        asked = await self._question(request, "parents", "seed", "locked")
        parents = presets_of(asked, "parents", 2, 2)
        first, second = (self.live.at(parent["z"], parent["values"]) for parent in parents)
        seed = checked_seed(asked.get("seed", 0))
        bred = await self._worked(request, children, self.page, first, second, seed, locked(asked))
        return web.json_response({"children": bred})

    async def _bank(self, request: web.Request) -> web.Response:
        asked = await self._question(request, "presets", largest=LARGEST_BANK)
        presets = presets_of(asked, "presets", 1, MOST_PRESETS)
        written = await self._worked(request, kept_bank, self.live, presets)
        return self._written(*written)

    async def _file(self, request: web.Request) -> web.Response:
        asked = await self._question(request, "values", "name", "format")
        name, values = name_of(asked, "preset"), self.live.checked(asked["values"])
        if one_of(asked, "format", FORMATS) == "json":
            suffix, content = ".json", self.live.files.text(values, name).encode()
        else:
            suffix, content = await self._worked(request, self.live.files.bank, [(name, values)])
        return self._written(suffix, content)

    async def _midi(self, request: web.Request) -> web.Response:
        values = self.live.checked((await self._question(request, "values"))["values"])
        self.midi.tell(values)
        return web.json_response({})

    def _written(self, suffix: str, content: bytes, left_out: str = "") -> web.Response:
        while len(quote(left_out)) > MOST_TOLD:
            left_out = one_line(left_out, len(left_out) * 3 // 4)
        headers = {"X-Suffix": suffix, "X-Left-Out": quote(left_out)}
        return web.Response(body=content, content_type="application/octet-stream", headers=headers)

    def _told(self, sound: Sound) -> web.Response:
        return web.json_response(self.page.sound(sound.audio, sound.x))

    async def _question(
        self, request: web.Request, *keys: str, largest: int = LARGEST_QUESTION
    ) -> dict[str, Any]:
        return question(await self.bodies.read(request, largest), keys)

    async def _worked(
        self, request: web.Request, work: Callable[..., Result], *given: Any
    ) -> Result:
        """Do in a thread of its own what a question asks for: few at once, few of a machine."""
        try:
            async with self._threads.of(request.remote or "", MOST_ASKED):
                if request.transport is None:
                    raise BusyError("who has asked did not wait; ask again")
                answer = in_background(work, *given)
                await turn_of(answer)
            try:
                return await answer
            finally:
                del answer  # whose error holds this frame, and so what was given
        except (PyrosynthError, MemoryError):
            raise
        except (Exception, SystemExit) as error:
            raise _WorkError from error


class _WorkError(Exception):
    """The work that a question asks for has failed, not the question."""


async def _protect(request: web.Request, response: web.StreamResponse) -> None:
    """Let the page of an answer load nothing from elsewhere."""
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Permissions-Policy"] = "microphone=(self), midi=(self)"
    response.headers.setdefault("Cache-Control", "no-store")


def _of_short_paths(resolve: Callable[[web.Request], Any]) -> Callable[[web.Request], Any]:
    """Return how a request finds what answers it, in a time that is not that of a long path."""

    async def resolved(request: web.Request) -> Any:
        long = len(request.rel_url.raw_path) > LONGEST_PATH  # which is looked up part by part
        return await resolve(request.clone(rel_url="/no such path") if long else request)

    return resolved


def address(host: str, port: int) -> str:
    """Return a host and a port as they stand in an address of the web."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _say(status: int, text: str) -> web.Response:
    return web.json_response({"error": one_line(text)}, status=status)
