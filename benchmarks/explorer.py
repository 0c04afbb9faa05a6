"""Speed of the explorer as its user meets it: drop to candidates, slider, key and hover to sound.

    taskset -c 1 python -m benchmarks.explorer RUN [SOUND ...]

Starts the server, opens the page in Chromium and operates it by mouse and keys; the times are wall
times that the page itself measures, from the input to the moment when the sound starts or the
candidates are on the page. With ``taskset`` server, browser and renderers share one core. Needs
Chromium and an otherwise idle core; the load is printed, for these times mean little without it.
"""

import argparse
import asyncio
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pyrosynth.audio.example import save_example
from pyrosynth.audio.sound_files import no_sound
from pyrosynth.cli.process import run_program
from pyrosynth.errors import InputError
from pyrosynth.training.run import load_run
from tests.browser import Browser

TIMES = 15  # each gesture is made so often
WARM_UP_SECONDS = 8  # in which the server starts what renders, and what finds pitches
# Tells when a sound has begun, before anything else is done.
HEAR = """for (const one of [player, keyboard]) {
    const play = one.play.bind(one);
    one.play = async (...asked) => { await play(...asked); window.heard?.(performance.now()); };
}"""
# Resolves with the milliseconds from an input to the moment when its sound has begun.
TIMED = """new Promise((done) => {{
    const begun = performance.now();
    window.heard = (at) => done(at - begun);
    {action};
}})"""

# Notes how many candidates are on the page, and when, since a sound was dropped.
WATCH = """{
    const list = document.getElementById('candidates');
    window.watcher?.disconnect();
    list.replaceChildren();
    [window.shown, window.begun] = [[], null];
    window.watcher = new MutationObserver(
        () => shown.push([performance.now(), list.children.length])
    );
    watcher.observe(list, { childList: true });
    const note = () => { begun = performance.now(); };
    addEventListener('drop', note, { once: true, capture: true });
}"""
FOUND = "document.getElementById('status').textContent"


async def timed(page: Browser, action: str) -> float:
    """Return the milliseconds from an action on the page until its sound has begun."""
    return await page.js(TIMED.format(action=action))


async def measure(address: str, sounds: Sequence[Path]) -> dict[str, list[float]]:
    """Operate the page; return the milliseconds of each gesture."""
    times: dict[str, list[float]] = {}

    def add(what: str, milliseconds: float) -> None:
        times.setdefault(what, []).append(milliseconds)

    async with Browser() as page:
        await page.size(1280, 900)
        await page.open(address)
        await asyncio.sleep(WARM_UP_SECONDS)
        for sound in sounds:
            await page.js(WATCH)
            data = {"items": [], "files": [str(sound)], "dragOperationsMask": 1}
            for kind in ("dragEnter", "dragOver", "drop"):
                await page.send("Input.dispatchDragEvent", type=kind, x=300, y=300, data=data)
            await page.true(f"{FOUND}.startsWith('Found')")
            shown = await page.js("shown.filter(([, n]) => n >= 6).map(([at]) => at - begun)")
            add("drop to the first six candidates", shown[0])
            print(f"{sound.name}: {shown[0]:.0f} ms to the first six candidates", file=sys.stderr)
            add("drop to the end of the search", shown[-1])
            print(await page.js(FOUND), file=sys.stderr)
            print(
                await page.js("document.getElementById('progress').textContent"), file=sys.stderr
            )
        await page.js(HEAR)
        slider = await page.js("document.querySelector('.slider input').id")
        for i in range(TIMES):
            position = 0.3 * (i % 9) - 1.2
            action = (
                f"const input = document.getElementById('{slider}'); "
                f"input.value = {position}; input.dispatchEvent(new Event('input'))"
            )
            add("slider to sound", await timed(page, action))
            await page.js("new Promise((go) => setTimeout(go, 200))")
        for i in range(TIMES):
            add("key to sound", await timed(page, f"press({48 + i})"))
            await page.js("new Promise((go) => setTimeout(go, 100))")
        for i in range(TIMES):
            add("hover to sound", await timed(page, f"hover({17 * i + 3})"))
            await page.js("hover(null); new Promise((go) => setTimeout(go, 200))")
    return times


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", help="a run")
    parser.add_argument("sounds", nargs="*", type=Path, help="what to drop; the example without")
    given = parser.parse_args()
    sounds = given.sounds or [save_example(Path(tempfile.mkdtemp()))]
    load_run(given.run)  # what is wrong is said before a browser is started
    for why in filter(None, map(no_sound, sounds)):
        raise InputError(why)
    command = [sys.executable, "-m", "pyrosynth", "serve", given.run, "--port", "0"]
    print(f"load {os.getloadavg()[0]:.1f}, {len(os.sched_getaffinity(0))} cores; milliseconds")
    server = subprocess.Popen([*command, "--osc-port", "0"], stderr=subprocess.PIPE, text=True)
    try:
        address = ""
        for line in server.stderr or ():
            if found := re.search(r"explorer: (http://\S+/)", line):
                address = found[1]
            if "Ctrl-C" in line:
                break
        times = asyncio.run(measure(address, [sound.resolve() for sound in sounds]))
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(60)
    print("| what | median | worst | times |\n|---|---|---|---|")
    for what, each in times.items():
        print(f"| {what} | {statistics.median(each):.0f} | {max(each):.0f} | {len(each)} |")


if __name__ == "__main__":
    run_program(main)
