"""The live server: the web explorer by HTTP and the messages by OSC, for one run.

The page keeps what it shows; every request says all that is needed to answer it, so a page that
goes away or a server that is started again loses nothing.
"""

import asyncio
import base64
import io
import ipaddress
import json
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from aiohttp import ClientError, ClientSession, ClientTimeout, web

from pyrosynth._version import __version__
from pyrosynth.errors import InputError, PyrosynthError, one_line
from pyrosynth.live import osc
from pyrosynth.live.engine import Live, Played
from pyrosynth.live.files import LARGEST_FILE
from pyrosynth.live.scene import Scene

PAGES = Path(__file__).parent / "web"
FILES = {f"/{file.name}": file for file in sorted(PAGES.glob("*.*"))} | {"/": PAGES / "index.html"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; media-src 'self' blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
LARGEST_QUESTION = 2**18  # bytes of a question as JSON
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Site:
    """Answers the page.

    Args:
        live: The run.
        name: What the run is called.
        hosts: Names under which it may be asked; a page of elsewhere that has found the port is
            turned away, and so is a name that was made to point here.
    """

    def __init__(self, live: Live, name: str, hosts: set[str]) -> None:
        self.live, self.hosts = live, hosts
        self.scene = Scene(live, name)
        self._state = json.dumps(self.scene.state()).encode()

    def app(self) -> web.Application:
        """Return the application."""
        app = web.Application(middlewares=[self._guard], client_max_size=LARGEST_FILE)
        app.router.add_get("/api/ping", self._ping)
        app.router.add_get("/api/state", self._get_state)
        app.router.add_get("/api/sound/{number:[0-9]{1,7}}", self._known)
        app.router.add_post("/api/sound", self._heard)
        app.router.add_post("/api/encode", self._encode)
        app.router.add_post("/api/file", self._file)
        app.router.add_post("/api/point", self._point)
        for path in FILES:
            app.router.add_get(path, self._page)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = request.headers.get("Origin")
        if not self._is_here(request) or origin not in (None, f"http://{request.host}"):
            return _say(403, "this server answers its own page only; open the address it printed")
        try:
            response = await handler(request)
        except web.HTTPException as error:
            return _say(error.status, error.reason)
        except PyrosynthError as error:
            return _say(400, str(error))
        except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
            return _say(400, f"a question that cannot be understood ({error!r})")
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Permissions-Policy"] = "microphone=(self)"
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    def _is_here(self, request: web.Request) -> bool:
        """Return whether a request names this server, or the address it came in by."""
        assert request.transport is not None
        here = request.transport.get_extra_info("sockname")
        return request.host in self.hosts or request.host == _place(*here[:2])

    async def _page(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(FILES[request.path])

    async def _ping(self, request: web.Request) -> web.Response:
        return web.json_response({"run": self.scene.name, "pyrosynth": __version__})

    async def _get_state(self, request: web.Request) -> web.Response:
        return web.Response(body=self._state, content_type="application/json")

    async def _point(self, request: web.Request) -> web.Response:
        return web.json_response(self.scene.point(await _question(request)))

    async def _heard(self, request: web.Request) -> web.Response:
        asked = await _question(request)
        values = self.live.values(self.live.point(asked["z"]))
        played = await asyncio.to_thread(self.live.render, values)
        return self._wave(played)

    async def _known(self, request: web.Request) -> web.Response:
        number = int(request.match_info["number"])
        if number >= len(self.live.space):
            raise InputError(f"preset number {number}; there are {len(self.live.space)}")
        return self._wave(await asyncio.to_thread(self.live.render, self.live.known(number)))

    async def _encode(self, request: web.Request) -> web.Response:
        name = request.query.get("name", "the sound")[:100]
        sketch = request.query.get("sketch") == "1"
        content = await request.read()
        return web.json_response(await asyncio.to_thread(self._find, content, name, sketch))

    def _find(self, content: bytes, name: str, sketch: bool) -> dict[str, Any]:
        files = self.live.files
        hummed = files.upload_sketch(content, name) if sketch else None
        found = self.live.encode(hummed.audio if hummed else files.upload(content, name))
        return {
            **self.scene.point({"z": found.z.tolist()}),
            "target": self.scene.picture(found.x),
            "lsd_db": found.lsd_db,
            "play": hummed.to_json() if hummed else None,
        }

    async def _file(self, request: web.Request) -> web.Response:
        asked = await _question(request)
        name = str(asked.get("name", ""))[:80] or "preset"
        values = self.live.values(self.live.point(asked["z"]))
        if asked.get("format") == "json":
            suffix, content = ".json", self.live.files.text(values, name).encode()
        else:
            suffix, content = await asyncio.to_thread(self.live.files.preset, values, name)
        headers = {"X-Suffix": suffix}
        return web.Response(body=content, content_type="application/octet-stream", headers=headers)

    def _wave(self, played: Played) -> web.Response:
        content = wave(played.audio, self.live.posterior.run.features.sample_rate)
        encoded = base64.b64encode(content).decode()
        return web.json_response({"wav": encoded, "picture": self.scene.picture(played.x)})


def wave(audio: np.ndarray[Any, Any], rate: int) -> bytes:
    """Return audio (n_samples,) as the content of a 16-bit WAV file."""
    content = io.BytesIO()
    soundfile.write(content, np.clip(audio, -1, 1), rate, subtype="PCM_16", format="WAV")
    return content.getvalue()


async def _question(request: web.Request) -> dict[str, Any]:
    content, size = bytearray(), 0
    # It comes in pieces; what is too much is read too, so that the browser hears the answer.
    async for piece in request.content.iter_chunked(2**16):
        size += len(piece)
        if size <= LARGEST_QUESTION:
            content += piece
        elif size > LARGEST_FILE:
            break
    if size > LARGEST_QUESTION:
        raise InputError(f"a question of more than {LARGEST_QUESTION >> 10} KiB; ask less")
    asked = json.loads(content)
    if not isinstance(asked, dict):
        raise InputError("a question is a JSON object")
    return asked


def _say(status: int, text: str) -> web.Response:
    return web.json_response({"error": one_line(text)}, status=status)


async def serve(
    live: Live,
    name: str,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    osc_port: int = 8766,
    out: str | None = None,
    say: Callable[[str], object] = print,
) -> None:
    """Serve a run until it is interrupted or told to stop.

    Args:
        live: The run.
        name: What it is called.
        host: Address to bind to; anything but a loopback address lets other machines in.
        port: TCP port of the web explorer; 0 for any that is free.
        osc_port: UDP port of the OSC messages; 0 for any that is free.
        out: Folder that clients may have files written into; None forbids it.
        say: Called with each line that tells what goes on.

    Raises:
        InputError: A port is in use, or the address is none of this machine.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    hosts: set[str] = set()
    runner = web.AppRunner(Site(live, name, hosts).app(), access_log=None)
    await runner.setup()
    try:
        try:
            site = web.TCPSite(runner, host, port)
            await site.start()
        except OSError as error:
            raise await _in_use(host, port, name, error) from error
        here = runner.addresses[0][:2]
        hosts.update(_place(h, here[1]) for h in (host, here[0], "localhost", "127.0.0.1"))
        server = await osc.listen(live, host, osc_port, out, stop.set)
        try:
            say(f"explorer: http://{_place(*here)}/")
            say(f"OSC: {here[0]}:{server.port} (UDP); see docs/live.md")
            if not ipaddress.ip_address(here[0]).is_loopback:
                say("anybody who can reach this machine can use it; it knows no passwords")
            say("Ctrl-C ends it")
            await stop.wait()
        finally:
            await server.close()
    finally:
        await runner.cleanup()


def _place(host: str, port: int) -> str:
    """Return a host and a port as they stand in an address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _in_use(host: str, port: int, name: str, error: OSError) -> InputError:
    """Say why the port cannot be had."""
    where = f"http://{_place(host, port)}/"
    try:
        async with (
            ClientSession(timeout=ClientTimeout(2)) as session,
            session.get(f"{where}api/ping") as response,
        ):
            found = await response.json()
        same = f"'{name}' is" if found["run"] == name else f"another run ('{found['run']}') is"
        return InputError(
            f"{same} being served at {where} already; open that, or give another --port and "
            "--osc-port"
        )
    except (ClientError, TimeoutError, ValueError, KeyError, TypeError):
        reason = error.strerror or error
        return InputError(f"cannot serve at {where} ({reason}); give another --port, or 0")


def run(live: Live, name: str, **options: Any) -> None:
    """Serve a run from a program of its own; see ``serve``."""
    import torch

    torch.set_num_threads(1)  # more of them only wait for each other, in computations this small
    asyncio.run(serve(live, name, say=lambda line: print(line, file=sys.stderr), **options))
