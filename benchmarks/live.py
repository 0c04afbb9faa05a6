"""Speed of a live run: OSC message to parameters, sound to preset, preset to sound.

    python benchmarks/live.py RUN --messages 2000 --soak 36000

Sends messages to the server over a real socket, one after the other, and measures the time to the
answer that has the parameters; then encodes and renders. A soak sends an hour's worth of messages
of a fader (ten a second) by several clients as fast as they are taken, and looks at the memory.
Each figure is given in wall time and in processor time of the process concerned, since on a busy
machine the former is mostly waiting. Linux.
"""

import argparse
import asyncio
import os
import random
import socket
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from pyrosynth.cli.process import run_program
from pyrosynth.inference.hearing import Hearing
from pyrosynth.inference.posterior import Posterior
from pyrosynth.live import osc, osc_hosts
from pyrosynth.live.engine import Live
from pyrosynth.live.osc_packets import write
from pyrosynth.live.page_state import PageState
from pyrosynth.live.searching import GrowingSearch

Rows = list[tuple[str, list[float], list[float]]]


def measured(action: Callable[[int], object], n: int, pid: int | None = None) -> tuple[list, list]:
    """Return wall and processor seconds of each of n calls; those of another process by pid."""
    wall, busy = [], []
    for i in range(n):
        began, before = time.perf_counter(), _processor(pid)
        action(i)
        wall.append(time.perf_counter() - began)
        busy.append(_processor(pid) - before)
    return wall, busy


def _processor(pid: int | None) -> float:
    if pid is None:
        return time.process_time()
    return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="utf-8").split()[0]) / 1e9


def _memory() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class Asker(asyncio.DatagramProtocol):
    """A client that waits for the parameters."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Keep an answer that has parameters."""
        if data.startswith(b"/params\0"):
            self.heard.put_nowait(data)


async def messages(live: Live, n: int) -> Rows:
    """Measure messages that change the point, in the server's own process."""
    osc_hosts.HOST_SHARE = osc.SHARE = osc_hosts.BURST_SECONDS = 1e9
    server = await osc.listen(live, "127.0.0.1", 0)
    loop = asyncio.get_running_loop()
    transport, asker = await loop.create_datagram_endpoint(
        Asker, remote_addr=("127.0.0.1", server.port)
    )
    rng = random.Random(0)
    names = live.space.names
    kinds: dict[str, Callable[[], list]] = {
        "/decode": lambda: ["brightness", rng.uniform(-2, 2), "pc1", rng.uniform(-2, 2)],
        "/move": lambda: ["pc2", rng.uniform(-1, 1)],
        "/load": lambda: [rng.choice(names)],
        "/random": lambda: [rng.randrange(2**31)],
    }
    rows: Rows = []
    for address, arguments in kinds.items():
        wall, busy = [], []
        for _ in range(max(1, n // len(kinds))):
            content = write(address, arguments())
            began, before = time.perf_counter(), time.process_time()
            transport.sendto(content)
            await asker.heard.get()
            wall.append(time.perf_counter() - began)
            busy.append(time.process_time() - before)
        rows.append((f"OSC {address} to /params", wall, busy))
    transport.close()
    await server.close()
    return rows


def soak(live: Live, n: int) -> None:
    """Print the memory while many clients send messages, some of them bad."""
    osc_hosts.HOST_SHARE = osc.SHARE = osc_hosts.BURST_SECONDS = 1e9

    server = osc.OscServer(live)
    server.endpoint = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    rng = random.Random(0)
    requests = [write("/ping", []), write("/near", []), write("/path/add", [])]
    requests += [write("/load", [name]) for name in live.space.names[:20]]
    requests += [b"", b"junk", b"#bundle\0", os.urandom(64), bytes(9000)]
    for part in range(10):
        for _ in range(n // 10):
            content = rng.choice(requests)
            if rng.random() < 0.7:
                content = write("/decode", ["brightness", rng.uniform(-3, 3)])
            server.receive(content, ("127.0.0.1", rng.randrange(1024, 1324)))
            while server.step():
                pass
        print(f"  after {(part + 1) * (n // 10)} messages: {_memory():.1f} MiB")
    server.endpoint.close()
    print(f"  counted: {dict(server.counts)}")


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", help="a run")
    parser.add_argument("--messages", type=int, default=2000, help="OSC messages")
    parser.add_argument("--sounds", type=int, default=100, help="sounds encoded and rendered")
    parser.add_argument("--soak", type=int, default=0, help="messages of the soak")
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    with Live(Posterior.load(arguments.run)) as live:
        rows = asyncio.run(messages(live, arguments.messages))
        values = [live.known(i % len(live.space)) for i in range(arguments.sounds)]
        sounds = [live.render(row).audio for row in values]
        ways = [[Hearing(sound)] for sound in sounds]
        live.encode(ways[0])
        rows.append(("encode", *measured(lambda i: live.encode(ways[i]), len(sounds))))
        search = GrowingSearch(PageState(live, "run"), lambda news: "candidates" not in news)
        search.run(ways[0], budget=1)
        six = measured(lambda i: search.run(ways[i], budget=1), len(ways))
        rows.append(("six candidates, without their renders' processor time", *six))
        live._sounds._kept.clear()
        pid = live._sounds.renderer.workers[0].pid
        rows.append(("render", *measured(lambda i: live.render(values[i]), len(values), pid)))
        load = os.getloadavg()[0]
        print(f"{os.cpu_count()} cores, load {load:.1f}; milliseconds")
        print("| what | wall: median | 99 % | processor: median | 99 % |")
        print("|---|---|---|---|---|")
        for name, wall, busy in rows:
            cells = [
                f"{1e3 * np.quantile(seconds, share):.1f}"
                for seconds in (wall, busy)
                for share in (0.5, 0.99)
            ]
            print(f"| {name} | {' | '.join(cells)} |")
        if arguments.soak:
            print(f"soak, {_memory():.1f} MiB at the start")
            soak(live, arguments.soak)


if __name__ == "__main__":
    run_program(main)
