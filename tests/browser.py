"""A headless Chromium, driven by its DevTools protocol."""

import asyncio
import base64
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from aiohttp import ClientSession

WAIT = 180.0  # seconds; machines are busy
LOOK = 0.02  # seconds between two looks at what is waited for
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--mute-audio",
    "--no-first-run", "--remote-debugging-port=0",
    "--use-fake-device-for-media-stream", "--disable-extensions",
    "--disable-background-networking", "--disable-component-update", "--no-proxy-server",
    "--allow-file-access-from-files=false",
)  # fmt: skip
# What a user has allowed, or has not yet: sound, and the microphone.
ALLOWING = ("--autoplay-policy=no-user-gesture-required", "--use-fake-ui-for-media-stream")
REFUSING = ("--autoplay-policy=document-user-activation-required", "--deny-permission-prompts")


def chromium():
    """Return the path of the browser, None if there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Browser:
    """One page of a browser that allows sound and microphone or not; an asynchronous context."""

    def __init__(self, permissions=ALLOWING):
        self.permissions = permissions

    async def __aenter__(self):
        self.folder = Path(tempfile.mkdtemp())
        self.downloads = self.folder / "downloads"
        self.process = subprocess.Popen(
            [
                chromium(), *FLAGS, *self.permissions,
                f"--user-data-dir={self.folder / 'profile'}", "about:blank",
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            env={**os.environ, "HOME": str(self.folder)},
        )  # fmt: skip
        port = self.folder / "profile" / "DevToolsActivePort"
        await self.until(lambda: port.exists() and len(port.read_text().splitlines()) == 2)
        number = port.read_text().splitlines()[0]
        self.session = ClientSession()
        while not (pages := await self.pages(number)):
            await asyncio.sleep(LOOK)
        self.socket = await self.session.ws_connect(
            pages[0]["webSocketDebuggerUrl"], max_msg_size=2**27
        )
        self.ids, self.waiting, self.errors = itertools.count(1), {}, []
        self.loaded, self.n_downloads = asyncio.Event(), 0
        self.reader = asyncio.create_task(self.read())
        for domain in ("Page", "Runtime", "DOM", "Log"):
            await self.send(f"{domain}.enable")
        await self.send(
            "Browser.setDownloadBehavior", behavior="allow", downloadPath=str(self.downloads),
            eventsEnabled=True,
        )  # fmt: skip
        await self.true("document.readyState === 'complete'")
        return self

    async def pages(self, port):
        async with self.session.get(f"http://127.0.0.1:{port}/json") as response:
            return [page for page in await response.json() if page["type"] == "page"]

    async def __aexit__(self, *_):
        await self.socket.close()  # which ends the reader
        await self.reader
        await self.session.close()
        self.process.terminate()
        self.process.wait(WAIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    async def read(self):
        async for message in self.socket:
            said = json.loads(message.data)
            if "id" in said:
                self.waiting.pop(said["id"]).set_result(said)
            elif said["method"] == "Browser.downloadProgress":
                if said["params"]["state"] == "completed":
                    self.n_downloads += 1
            elif said["method"] == "Page.loadEventFired":
                self.loaded.set()
            elif said["method"] == "Runtime.exceptionThrown":
                self.errors.append(said["params"]["exceptionDetails"])
            elif said["method"] == "Log.entryAdded":
                entry = said["params"]["entry"]
                if entry["level"] == "error" and entry["source"] != "network":
                    self.errors.append(entry)

    async def send(self, method, **params):
        number = next(self.ids)
        self.waiting[number] = asyncio.get_running_loop().create_future()
        await self.socket.send_json({"id": number, "method": method, "params": params})
        said = await asyncio.wait_for(self.waiting[number], WAIT)
        assert "error" not in said, (method, said)
        return said["result"]

    async def open(self, address):
        await self.go("Page.navigate", url=address)
        await self.true("document.documentElement.dataset.ready === 'yes'")

    async def reload(self):
        await self.go("Page.reload")
        await self.true("document.documentElement.dataset.ready === 'yes'")

    async def go(self, method, **params):
        """Leave the page; nothing is asked of the next one before it is there."""
        await self.js("document.documentElement.dataset.ready = 'left'")
        self.loaded.clear()
        await self.send(method, **params)
        await asyncio.wait_for(self.loaded.wait(), WAIT)

    async def js(self, expression):
        """Return the value of an expression on the page."""
        said = await self.send(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in said, (expression, said)
        return said["result"].get("value")

    async def true(self, expression):
        """Wait until an expression on the page is true."""
        ends = time.monotonic() + WAIT
        while not await self.js(expression):
            if time.monotonic() > ends:
                text = await self.js("document.getElementById('status')?.textContent")
                raise TimeoutError(f"{expression}; the page says '{text}', errors {self.errors}")
            await asyncio.sleep(LOOK)

    async def downloaded(self):
        """Wait for a file to be downloaded; return all that are there."""
        await self.until(lambda: self.n_downloads)
        self.n_downloads = 0
        return list(self.downloads.iterdir())

    async def until(self, condition):
        ends = time.monotonic() + WAIT
        while not condition():
            assert time.monotonic() < ends, "waited too long"
            await asyncio.sleep(LOOK)

    async def mouse(self, kind, x, y, pressed=False):
        await self.send(
            "Input.dispatchMouseEvent", type=f"mouse{kind}", x=x, y=y, clickCount=1,
            button="left" if pressed else "none", buttons=int(pressed),
        )  # fmt: skip

    async def click(self, x, y):
        await self.mouse("Moved", x, y)
        await self.mouse("Pressed", x, y, True)
        await self.mouse("Released", x, y, True)

    async def press(self, selector):
        """Click an element."""
        box = await self.box(selector)
        await self.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)

    async def box(self, selector):
        await self.js(
            f"document.querySelector({json.dumps(selector)}).scrollIntoView({{block: 'center'}})"
        )
        return await self.js(
            f"document.querySelector({json.dumps(selector)}).getBoundingClientRect().toJSON()"
        )

    async def key(self, key, code=None):
        text = {"Enter": "\r", " ": " "}.get(key)
        more = {"text": text} if text else {}
        number = {"Enter": 13, " ": 32, "ArrowRight": 39, "ArrowLeft": 37}.get(key, 0)
        for kind in ("keyDown", "keyUp"):
            await self.send(
                "Input.dispatchKeyEvent", type=kind, key=key, code=code or key,
                windowsVirtualKeyCode=number, **(more if kind == "keyDown" else {}),
            )  # fmt: skip

    async def picture(self, file):
        said = await self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        Path(file).write_bytes(base64.b64decode(said["data"]))

    async def size(self, width, height, *, dark=False):
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height,
            deviceScaleFactor=1, mobile=width < 500,
        )  # fmt: skip
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        await self.send("Emulation.setEmulatedMedia", features=scheme)
