"""Serve a run: the page and the messages by OSC, from the first request to the last."""

import asyncio
import errno
import ipaddress
import os
import re
import signal
import socket
import sys
import webbrowser
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout, web

from pyrosynth.errors import (
    InputError,
    PyrosynthError,
    integer,
    one_line,
    reason,
    require_type,
)
from pyrosynth.live import osc
from pyrosynth.live.background import in_background
from pyrosynth.live.connections import MOST, server_log
from pyrosynth.live.engine import Live
from pyrosynth.live.midi import MidiPorts
from pyrosynth.live.web import Site, address

HOST = re.compile(r"[\w-]+(\.[\w-]+)*\.?")  # a name
LONGEST_LINE = 2**17  # bytes; all controls of a synth that a search begins with are in one
ENDING_SECONDS = 0.5  # for what is being answered to end by itself, then for it to be cancelled


async def serve(
    live: Live,
    name: str,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    osc_port: int = 8766,
    allow: Collection[str] = (),
    out: str | None = None,
    browse: bool = False,
    midi: MidiPorts | None = None,
    say: Callable[[str], object] = print,
) -> None:
    """Serve a run until it is interrupted or told to stop.

    Args:
        live: The run; told to stop, it renders nothing any more.
        name: What it is called.
        host: Address to bind to; anything but a loopback address lets other machines in.
        port: TCP port of the page; 0 for any that is free.
        osc_port: UDP port of the OSC messages; 0 for any that is free.
        allow: Names of hosts under which the page may be reached, such as that of a proxy.
        out: Folder that clients may have files written into; None forbids it.
        browse: Whether to open the page in the browser, where there is one.
        midi: Ports by which presets go out and controllers and notes come in.
        say: Called with each line that tells what goes on.

    Raises:
        InputError: A port is in use, the address is none of this machine, or the name of a host is
            none, such as a URL.
    """
    port, stop = integer("port", port, 0, 65535), asyncio.Event()
    require_type("allow", allow, Iterable, "a list of names of hosts")
    host, allow = _host("host", host), [_host("allow", name) for name in allow]
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Under nohup a closed terminal ends nothing; SIGINT is ignored by whatever & has started.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            loop.add_signal_handler(number, stop.set)
    log = server_log()
    loop.set_exception_handler(
        lambda _, context: log.error(context["message"], exc_info=context.get("exception"))
    )
    site = Site(live, name, (*allow, host), midi)
    # Bodies are taken as they come: few bytes could unpack to many.
    runner = web.AppRunner(
        site.app(), access_log=None, logger=log, auto_decompress=False,
        shutdown_timeout=ENDING_SECONDS, max_line_size=LONGEST_LINE,
    )  # fmt: skip
    await runner.setup()
    assert runner.server is not None
    try:
        try:
            # Few of those that knock are let in at once, so that files never run out.
            listening = await loop.create_server(
                site.connections.watch(runner.server), host, port, backlog=8
            )
            for one in listening.sockets:  # but more may wait, or the system would refuse them
                with socket.fromfd(one.fileno(), one.family, one.type) as shared:
                    shared.listen(MOST)
        except (OSError, UnicodeError) as error:
            raise await _in_use(host, port, site.page.identity, error) from error
        here = listening.sockets[0].getsockname()[:2]
        closing = loop.create_task(site.connections.close_late_ones())
        warming = in_background(_warm_up, live)
        try:
            server = await osc.listen(
                live, host, osc_port, out, stop.set, lambda told: site.midi.tell(told.place.values)
            )
            site.midi.start(live, server.session_here)
            try:
                say(f"explorer: http://{address(*here)}/")
                say(f"OSC: {here[0]}:{server.port} (UDP); see docs/live.md")
                for line in (*site.midi.lines, live.midi.left_out(list(live.controls))):
                    if line:
                        say(one_line(line))
                if not ipaddress.ip_address(here[0]).is_loopback:
                    say("anybody who can reach this machine can use it; it knows no passwords")
                    say("from elsewhere: by its address, or by a name that --allow NAME gives")
                if browse and not await in_background(_opened, f"http://{address(*here)}/"):
                    say("there is no browser here; open that address in one")
                say("Ctrl-C ends it")
                await stop.wait()
                live.stop()
            finally:
                await server.close()
        finally:
            closing.cancel()
            warming.cancel()
            listening.close()
    finally:
        await runner.cleanup()


def _host(what: str, name: str) -> str:
    """Return the name of a host as browsers write it, or an address of IP.

    Raises:
        InputError: It is something else, such as a URL or a name with a port.
    """
    with suppress(ValueError):
        return str(ipaddress.ip_address(str(name)))
    if not isinstance(name, str) or not HOST.fullmatch(name):
        raise InputError(
            f"{what} {str(name)!r}: give the name or the address of a host alone, such as "
            "studio.local; its port has an option of its own (--port), and http:// is left out"
        )
    return name.lower().removesuffix(".")


def _warm_up(live: Live) -> None:
    """Start what renders, before it is wanted; what is wrong is said when it is wanted."""
    with suppress(PyrosynthError):
        live.warm_up()


def _opened(address: str) -> bool:
    """Open an address in the browser; tell whether there is one with windows."""
    windows = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")  # one in the terminal would take it over
    if sys.platform == "linux" and not any(os.environ.get(name) for name in windows):
        return False
    try:
        return webbrowser.open(address)
    except (LookupError, ValueError):  # BROWSER is no command
        return False


async def _in_use(host: str, port: int, ours: Mapping[str, str], error: Exception) -> InputError:
    """Say why the port cannot be had."""
    where = f"http://{address(host, port)}/"
    try:
        async with (
            ClientSession(timeout=ClientTimeout(10)) as session,
            session.get(f"{where}api/ping") as response,
        ):
            served = await response.json()
        same = all(served.get(part) == ours[part] for part in ("run", "hash"))
        which = f"'{ours['run']}' is" if same else f"another run ('{served['run']}') is"
        return InputError(
            f"{which} being served at {where} already; open that, or give another --port and "
            "--osc-port"
        )
    except (
        ClientError,
        TimeoutError,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
    ):
        named = isinstance(error, OSError) and error.errno in (errno.EADDRINUSE, errno.EACCES)
        other = "--port, or 0 for any" if named else "--host"
        return InputError(f"cannot serve at {where} ({reason(error)}); give another {other}")


def run(live: Live, name: str, **options: Any) -> None:
    """Serve a run from a program of its own; see ``serve``."""
    import torch

    torch.set_num_threads(1)  # more of them only wait for each other, in computations this small
    asyncio.run(serve(live, name, **options))
