"""The explorer end to end: the real server, the real page, a real browser."""

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
from browser import REFUSING, WAIT, Browser, chromium
from hums import hum
from lively import other_run, small_posterior
from ports import free_port

from pyrosynth.audio.note import Note
from pyrosynth.cli.app import main
from pyrosynth.live.engine import Live
from pyrosynth.live.static_site import PAGES, write_site
from pyrosynth.synths.knobs import titles

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module", autouse=True)
def _browser():
    if chromium() is None:
        pytest.skip("needs Chromium; install it, such as by apt install chromium")


class Server:
    """`pyrosynth serve` in a process of its own."""

    def __init__(self, port, run=None):
        run = run or small_posterior()[0]
        # A browser that notes what it is to open.
        self.opened = run.parent / "opened"
        browser = run.parent / "browser"
        browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {self.opened}\n')
        browser.chmod(0o755)
        # As a shell starts it in the background; it listens to SIGINT all the same.
        command = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable, "-m", "pyrosynth"]
        command += ["serve", str(run), "--open"]
        self.process = subprocess.Popen(
            [*command, "--port", str(port), "--osc-port", "0"], stderr=subprocess.PIPE, text=True,
            env={**os.environ, "BROWSER": f"{browser} %s"},
        )  # fmt: skip
        self.address = None
        lines = []
        for line in self.process.stderr:
            lines.append(line)
            if found := re.search(r"explorer: (http://\S+:(\d+)/)", line):
                self.address, self.port = found[1], int(found[2])
            if "Ctrl-C" in line:
                return
        raise AssertionError("".join(lines))

    def end(self):
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(WAIT)
        self.process.stderr.close()
        return code


SHOWN = "document.getElementById('name').textContent"
STATUS = "document.getElementById('status').textContent"


async def dot(page, number):
    """Return where a preset is on the screen."""
    box = await page.box("#map")
    x, y = await page.js(f"map.pixel(map.at[{number}])")
    return box["x"] + x, box["y"] + y


async def alone(page):
    """Return numbers of presets with no other one close by, and far from each other."""
    return await page.js(
        """map.at.map((a, i) => [i, Math.min(...map.at.map((b, j) => {
            const [x, y] = map.pixel(a), [u, v] = map.pixel(b);
            return i === j ? Infinity : Math.hypot(x - u, y - v);
        }))]).sort((a, b) => b[1] - a[1]).slice(0, 8).map(([i]) => i)"""
    )


async def drop(page, file):
    """Drop a file on the middle of the page, as a file manager does."""
    data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        await page.send("Input.dispatchDragEvent", type=kind, x=300, y=300, data=data)


async def names_of_controls(page):
    """Return role and name of everything one can operate, as a screen reader has them."""
    tree = (await page.send("Accessibility.getFullAXTree"))["nodes"]
    roles = ("button", "slider", "combobox", "searchbox", "application", "DisclosureTriangle")
    return [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in tree
        if node.get("role", {}).get("value") in roles and not node.get("ignored")
    ]


def save_tone(file):
    """Save the sound of a known preset; return the file."""
    _, posterior = small_posterior()
    with posterior.renderer(1, keep_audio=True) as renderer:
        soundfile.write(file, renderer.render(posterior.bank.values[:1]).audio[0], 22050)
    return file


@pytest.fixture(scope="module")
def servers():
    """Return the servers so far, of which the last one runs."""
    servers = [Server(free_port())]  # it comes back at the same one
    yield servers
    servers[-1].end()


def test_what_comes_late_or_is_refused_undoes_nothing(tmp_path, servers):
    asyncio.run(_what_comes_late(save_tone(tmp_path / "tone.wav"), servers[-1].address))


HOLD = """window.held = []; window.holding = ''; source.ask = async (path, options) => {
    const response = await Server.prototype.ask.call(source, path, options);
    if (holding && path.startsWith(holding)) await new Promise((go) => held.push(go));
    return response;
}"""  # answers come as late as the test wants them


GOING = """window.going = 0; {
    const act = trying;
    trying = async (action) => {
        going += 1;
        try { await act(action); } finally { going -= 1; }
    };
}"""  # how much of what was asked of the page is under way


# What lasts seconds, so that one can listen to it, is over soon.
HURRYING = "window.slowly = setTimeout; window.setTimeout = (go, ms) => slowly(go, ms / 20)"


async def done(page):
    """Wait until all that was asked of the page, and is no search, is at its end."""
    await page.true("going === 0")


async def heard(page, sound):
    """Wait until a sound is what the page plays, and has begun."""
    await page.true(f"player.now !== null && player.now.src === ({sound})?.url"
                    " && player.now.currentTime > 0")  # fmt: skip


HERE = "source.kept.get(source.key(now))"  # the sound of where one is


async def _release(page):
    await page.js("holding = ''; held.splice(0).forEach((go) => go())")
    await page.js("new Promise((go) => setTimeout(go, 300))")


async def _what_comes_late(tone, address):
    async with Browser(REFUSING) as page:
        # a link of another run: the first preset instead, and it stays said
        link = "#run=other&name=x&z=0&values=0"
        await page.open(address + link)
        names = await page.js("state.names")
        assert await page.js(SHOWN) == names[0]
        says = (await page.js(STATUS)).split("; ")
        assert says[0].startswith("this link is of the run 'other'")
        assert says[1] == "the first preset is shown instead"

        # a file that is dropped before a browser allows sound is searched for to the end
        await drop(page, tone)
        await page.true(f"{SHOWN} === 'like tone.wav'")
        await page.press("#end-search")
        await page.true(f"{STATUS}.startsWith('Found a preset for tone.wav')")

        # the same link later: all stays
        shown, there = await page.js(SHOWN), await page.js("location.hash")
        await page.js(f"location.hash = {json.dumps(link)}")
        await page.true(f"{STATUS}.startsWith('this link is of the run')")
        assert await page.js(SHOWN) == shown
        assert await page.js("location.hash") == there

        # a link of this run that a mail program has cut, or whose commas have become blanks
        for damaged in (
            there.split("&colour")[0][:-60], there.split("&values")[0], there.replace("%2C", "+"),
            there.replace("&", "&amp;"), there.replace("run=", "ran="),
        ):  # fmt: skip
            await page.js(f"say(''); location.hash = {json.dumps(damaged)}")
            await page.true(f"{STATUS}.startsWith('this link is damaged and holds no whole')")
            assert await page.js(SHOWN) == shown
            assert await page.js("location.hash") == there

        # undo before the answer to a slider
        await page.js(HOLD)
        await page.js("load(1)")
        await page.true(f"{SHOWN} === {json.dumps(names[1])}")
        await page.js("holding = 'api/point'; document.getElementById('s-brightness').focus()")
        await page.key("ArrowRight")
        await page.true("held.length === 1")
        await page.press("#undo")
        await _release(page)
        assert await page.js(SHOWN) == names[1]

        # another preset is loaded while a search begins: the page stays there
        await page.js("holding = 'api/search'")
        await drop(page, tone)
        await page.true("held.length === 1")
        await page.js("load(0)")
        await page.true(f"{SHOWN} === {json.dumps(names[0])}")
        await _release(page)
        await page.true(f"/^(The first candidates|Found a preset) for tone.wav/.test({STATUS})")
        assert await page.js(SHOWN) == names[0]

        # another sound is dropped while the first candidate of one is loaded
        await page.js("source.kept.clear(); holding = 'api/sound'")
        await drop(page, tone)
        await page.true(f"{SHOWN} === 'like tone.wav' && held.length === 1")
        await page.js("holding = 'api/search'")
        await drop(page, tone.rename(tone.with_name("other.wav")))
        await page.true("held.length === 2")
        await page.js("held[0](); new Promise((go) => setTimeout(go, 300))")
        assert await page.js(STATUS) == "Listening to other.wav…"

        # and a sound that cannot be read while that one is searched for
        bad = tone.with_name("bad.m4a")
        bad.write_text("no sound")
        await drop(page, bad)
        await page.true(f"{STATUS}.startsWith(\"'bad.m4a' cannot be decoded here\")")
        await _release(page)
        assert await page.js("document.getElementById('end-search').disabled")
        assert not await page.js("document.getElementById('go-on').disabled")

        # the microphone is refused
        await page.press("#record")
        await page.true(f"{STATUS}.startsWith('no microphone')")
        assert await page.js("document.getElementById('record').textContent") == "Record"
        assert not await page.js("document.getElementById('record').disabled")
        assert not page.errors


EAR = """window.ear = {}; {
    const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = async (wanted) => {
        const stream = await ask(wanted);
        ear.context = new AudioContext();
        const node = new AnalyserNode(ear.context, { fftSize: 32768 });
        ear.context.createMediaStreamSource(stream).connect(node);
        const samples = new Float32Array(32768);
        ear.hears = () => {
            node.getFloatTimeDomainData(samples);
            return samples.some((sample) => Math.abs(sample) > 0.01);
        };
        return stream;
    };
}"""  # what the microphone hears


ORDER = """window.order = []; {
    const [ask, play, drawing] = [source.ask.bind(source), player.play.bind(player), showKnobs];
    source.ask = (path, options) => {
        if (path !== 'api/ping') order.push(path);
        return ask(path, options);
    };
    player.play = async (...asked) => { await play(...asked); order.push('heard'); };
    showKnobs = (moving) => { order.push('drawn'); drawing(moving); };
}"""  # what the page asks for, plays and draws, in turn


def test_the_whole_page(tmp_path, servers):
    asyncio.run(_the_whole_page(tmp_path, servers))


async def _the_whole_page(tmp_path, servers):
    (server,) = servers
    assert server.opened.read_text() == server.address
    async with Browser() as page:
        await page.size(1280, 900)
        await page.open(server.address)
        await page.js(GOING)
        names = await page.js("state.names")
        assert len(names) > 10
        assert await page.js(SHOWN) == names[0]

        # what else a slider moves has the names of the knobs
        moving = "[...document.querySelectorAll('#principal .moving')].map((e) => e.textContent)"
        assert (said := await page.js(moving))
        knobs = set(titles(small_posterior()[1].run.full_space))
        assert {knob for text in said for knob in text.removeprefix("moves ").split(", ")} <= knobs

        # hover to hear, click to load
        first, second, third = (await alone(page))[:3]
        await page.mouse("Moved", *await dot(page, first))
        await heard(page, f"source.kept.get('p{first}')")
        await page.true(
            f"document.getElementById('tip').textContent === {json.dumps(names[first])}"
        )
        assert await page.js(SHOWN) == names[0]
        await page.js("document.getElementById('result').dataset.drawn = 0")
        await page.click(*await dot(page, second))
        await page.true(f"{SHOWN} === {json.dumps(names[second])}")
        await heard(page, HERE)
        await page.true("document.getElementById('result').dataset.drawn > 0")

        # and hover again
        await page.mouse("Moved", *await dot(page, third))
        await heard(page, f"source.kept.get('p{third}')")

        # a slider moves the sound while it is dragged, and is heard before the page is drawn
        before = await page.js("now.values")
        box = await page.box("#s-brightness")
        y, x = box["y"] + box["height"] / 2, box["x"]
        await page.mouse("Moved", x + box["width"] * 0.5, y)
        await done(page)
        await page.js(ORDER)
        await page.mouse("Pressed", x + box["width"] * 0.5, y, True)
        for share in (0.55, 0.6, 0.7, 0.8, 0.9):
            await page.mouse("Moved", x + box["width"] * share, y, True)
            await page.true("order.includes('heard')")
        await page.mouse("Released", x + box["width"] * 0.9, y, True)
        await done(page)
        assert await page.js("now.positions.brightness") == pytest.approx(3.2, abs=0.4)
        assert await page.js("now.values") != before
        order = await page.js("order")
        assert order == ["api/point", "heard", "drawn"] * (len(order) // 3)
        assert (await page.js(SHOWN)).endswith("(moved)")
        after = await page.js("now.values")
        await page.press("#undo")  # one step for the whole gesture
        await page.true(f"{SHOWN} === {json.dumps(names[second])}")
        assert await page.js("now.values") == before
        await page.press("#redo")
        await page.true(f"{SHOWN} === {json.dumps(names[second] + ' (moved)')}")
        assert await page.js("now.values") == after
        await done(page)

        # turn a knob, lock it; it stays when a slider moves, and after a reload
        knob = await page.js("state.params.findIndex((p) => p.kind === 'continuous')")
        await page.js(f"document.getElementById('k-{knob}').focus()")
        await page.key("ArrowRight" if await page.js(f"now.unit[{knob}] < 0.5") else "ArrowLeft")
        await page.true(f"now.values[{knob}] !== {after[knob]}")
        await done(page)
        turned = await page.js("now.values")
        assert [i for i, value in enumerate(turned) if value != after[i]] == [knob]
        await page.js(f"document.querySelectorAll('.lock')[{knob}].click()")
        await page.js("document.getElementById('s-loudness').focus()")
        await page.key("ArrowRight")
        await page.true(f"JSON.stringify(now.values) !== {json.dumps(json.dumps(turned))}")
        await done(page)
        slider = await page.js("Number(document.getElementById('s-loudness').value)")
        assert await page.js("now.positions.loudness") == pytest.approx(slider, abs=1e-3)
        assert await page.js(f"now.values[{knob}]") == turned[knob]
        shown, moved = await page.js(SHOWN), await page.js("now.values")
        await page.true("location.hash.includes('locked=')")
        kept = "new URLSearchParams(location.hash.slice(1)).get('values')"
        await page.true(f"{kept} === shortened(now.values)")  # in a moment
        await page.reload()
        await page.js(GOING)
        assert await page.js(SHOWN) == shown
        assert await page.js("now.values") == pytest.approx(moved, rel=1e-5)
        assert len(await page.js("[...locks]")) == 1
        await page.js(f"document.querySelectorAll('.lock')[{knob}].click()")

        # play a melody, by the computer's keys and with the mouse
        for code in ("KeyA", "KeyD"):
            played = await page.js("keyboard.notes")
            await page.js("document.activeElement.blur()")
            await page.key(code[-1].lower(), code)
            await page.true(f"keyboard.notes > {played}")
        played = await page.js("keyboard.notes")
        await page.press("#keys [data-pitch='67']")
        await page.true(f"keyboard.notes > {played}")

        # keep two presets of one name, and take them along as one bank
        await page.press("#keep")
        await page.press("#keep")
        assert await page.js(STATUS) == f"This is kept already, as {shown}."
        await page.js("document.getElementById('s-loudness').focus()")
        await page.key("ArrowLeft")
        await page.true("favourites.all()[0].values.join() !== now.values.join()")
        await done(page)
        assert await page.js(SHOWN) == shown
        await page.press("#keep")
        marked = "[...document.querySelectorAll('#favourites button')].map((b) => b.ariaCurrent)"
        assert await page.js(marked) == ["false", None, "true", None]
        await page.press("#save-bank")
        (bank,) = await page.downloaded()
        assert bank.match("kept*.json")
        names_kept = [kept["name"] for kept in json.loads(bank.read_text())]
        assert names_kept == [shown, f"{shown} 2"]
        bank.unlink()

        # the keyboard alone: to another preset, load it, move a slider
        await page.js("document.getElementById('map').focus()")
        focus = await page.js("map.focus")
        ahead = await page.js("map.beside([1, 0]) !== map.focus")
        await page.key("ArrowRight" if ahead else "ArrowLeft")
        await page.true(f"map.focus !== {focus}")
        focus = await page.js("map.focus")
        await page.key("Enter")
        await page.true(f"{SHOWN} === state.names[{focus}]")
        await done(page)
        position = await page.js("now.positions.loudness")
        await page.js("document.getElementById('s-loudness').focus()")
        await page.key("ArrowRight")
        await page.true(f"now.positions.loudness !== {position}")
        await done(page)

        # find by name
        await page.js("document.getElementById('search').focus()")
        await page.send("Input.insertText", text=names[third])
        await page.true("document.querySelector('#results button') !== null")
        hits = sum(names[third].lower() in name.lower() for name in names)
        assert await page.js("map.marks.hits.length") == hits
        assert (await page.js(STATUS)).startswith(f"{hits} preset")
        await page.press("#results button")
        await page.true(f"{SHOWN} === document.querySelector('#results button').textContent")
        await done(page)

        await _the_map(page, names)
        await _relatives(page, names)

        # drop a file, see target and result
        await page.js("source.kept.clear()")
        tone = save_tone(tmp_path / "tone.wav")
        await drop(page, tone)
        await page.true(f"{SHOWN} === 'like tone.wav'")
        await page.true("document.querySelectorAll('#candidates li').length > 1")
        await page.press("#end-search")
        await page.true(f"{STATUS}.startsWith('Found a preset for tone.wav')")
        assert await page.js("document.getElementById('target').dataset.drawn > 0")
        assert not await page.js("document.getElementById('target-figure').hidden")
        await page.js("window.first = now")
        await page.press("#candidates li:nth-child(2) button")
        await page.true("now !== first && Object.keys(now).includes('closeness')")
        await done(page)
        current = "document.querySelectorAll('#candidates [aria-current=true]')"
        assert await page.js(f"{current}.length") == 1
        assert await page.js(f"{current}[0].closest('li:nth-child(2)') !== null")

        # the target against the preset, by the space bar
        await page.js("document.activeElement.blur()")
        for pressed, sound in (("true", "target"), ("false", HERE)):
            await page.key(" ", "Space")
            await heard(page, sound)
            assert await page.js("document.getElementById('ab').ariaPressed") == pressed

        # a hum of another pitch and length
        soundfile.write(tmp_path / "hum.wav", hum(55, 1.2), 22050)
        await drop(page, tmp_path / "hum.wav")
        await page.true(f"{SHOWN} === 'like hum.wav'")
        await page.press("#end-search")
        await page.true(f"{STATUS}.includes('play it at G3, 1.2 s; it is ')")
        caption = "document.getElementById('target-caption').textContent"
        assert await page.js(caption) == "Target: G3, 1.2 s"
        for velocity in (Note.velocity, 40):
            note = Note(pitch=55, velocity=velocity, hold_seconds=1.2, duration_seconds=1.5)
            play = json.dumps({"name": note.name, "note": note.to_json()})
            assert await page.js(f"noteWords({play})") == note.words
        bad = tmp_path / "bad.wav"
        bad.write_text("no sound")
        await drop(page, bad)
        await page.true(f"{STATUS}.includes(\"'bad.wav' is not a readable sound file\")")

        # a recording, from the browser's own test tone
        await page.js(EAR)
        await page.press("#record")
        await page.true(f"{STATUS}.startsWith('Recording')")
        await page.true("ear.context.currentTime > 1.5 && ear.hears()")
        await page.press("#record")
        await page.true(f"{SHOWN} === 'like your recording'")
        await page.press("#end-search")
        await page.true(f"{STATUS}.startsWith('Found a preset for your recording')")

        # download what is shown
        await page.js("load(0)")
        await page.true(f"{SHOWN} === {json.dumps(names[0])}")
        await page.press("#save")
        (file,) = await page.downloaded()
        saved = json.loads(file.read_text())["parameters"]
        assert list(saved) == list(small_posterior()[1].run.full_space.names)
        assert list(saved.values()) == pytest.approx(await page.js("now.values"))

        # with a MIDI port, where the page goes is told, and nothing else changes
        await page.js("""window.told = []; state.sends_midi = true; source.tellMidi = (point) => {
            told.push(point.values);
            return Server.prototype.tellMidi.call(source, point);
        }""")
        await page.js("load(1)")
        await page.true(f"{SHOWN} === {json.dumps(names[1])} && told.length > 0")
        assert await page.js("told.at(-1)") == await page.js("now.values")
        await page.js("state.sends_midi = false; load(0)")
        await page.true(f"{SHOWN} === {json.dumps(names[0])}")

        # draw a path and play it
        await page.press("#draw")
        (x, y), (u, v) = await dot(page, first), await dot(page, third)
        await page.mouse("Moved", x, y)
        await page.mouse("Pressed", x, y, True)
        for share in (0.25, 0.5, 0.75, 1.0):
            await page.mouse("Moved", x + share * (u - x), y + share * (v - y), True)
        await page.mouse("Released", u, v, True)
        assert await page.js("map.path.length") == 5
        await page.press("#walk")
        await page.true(f"Number({SHOWN}.match(/^path (\\d+)\\/12$/)?.[1]) >= 3")
        await page.press("#stop")
        await page.press("#clear")
        await done(page)

        # a path of points that were added ends at exactly the last of them
        ends = []
        for number in (0, 1):
            await page.js(f"load({number})")
            await page.true(f"{SHOWN} === {json.dumps(names[number])}")
            ends.append(await page.js("now.values"))
            await page.press("#add")
        await page.js(HURRYING)
        await page.press("#walk")
        await page.true(f"{SHOWN} === 'path 9/9'")
        assert await page.js("now.values") == pytest.approx(ends[1])
        await page.js("window.setTimeout = slowly")
        await page.press("#clear")
        await done(page)

        # every control has a name, nothing is wider than a phone, both themes are there
        controls = await names_of_controls(page)
        assert len(controls) > 20
        assert not [role for role, name in controls if not name.strip()]
        light = await page.js("getComputedStyle(document.body).backgroundColor")
        await page.size(390, 844, dark=True)
        await page.true("innerWidth === 390 && document.documentElement.scrollWidth <= 390")
        await page.true(f"getComputedStyle(document.body).backgroundColor !== '{light}'")
        # what the page says is seen wherever one is; on a phone, finding comes before the map
        assert await page.js(
            "[0, 1e5].every((y) => { scrollTo(0, y); const { top, bottom } = "
            "document.getElementById('status').getBoundingClientRect(); "
            "return top >= 0 && bottom < innerHeight / 4; })"
        )
        assert await page.js(
            "document.getElementById('find').getBoundingClientRect().bottom"
            " < document.getElementById('map').getBoundingClientRect().top"
        )
        await page.size(1280, 900)
        await page.true("innerWidth === 1280")

        # the server ends, in the midst of a search, and comes back
        await drop(page, tone)
        await page.true(f"{SHOWN} === 'like tone.wav'")
        assert server.end() == 0
        await page.true(f"{STATUS}.startsWith('The server has gone')")
        await page.true("document.getElementById('end-search').disabled")
        servers.append(Server(server.port))
        await page.true(f"{STATUS} === 'The server is back.'")
        await page.click(*await dot(page, second))
        await page.true(f"{SHOWN} === {json.dumps(names[second])}")
        assert not page.errors


async def touch(page, kind, *points):
    fingers = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)]
    await page.send("Input.dispatchTouchEvent", type=f"touch{kind}", touchPoints=fingers)


async def _the_map(page, names):
    """Zoom and move the map by wheel, hand, fingers and keys; show some of its presets."""
    says = "document.getElementById('map-says').textContent"
    await page.press("#show-all")
    box = await page.box("#map")
    x, y = box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.6
    under = f"map.view.place([{box['width'] * 0.4 - 1}, {box['height'] * 0.6 - 1}])"
    place = await page.js(under)
    await page.send(
        "Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=-1000
    )
    await page.true("map.view.zoom > 3.9")
    assert await page.js(under) == pytest.approx(place, abs=3e-3)  # a pixel
    in_view = await page.js("map.at.filter((place) => map.view.sees(place)).length")
    assert 0 < in_view < len(names)
    assert await page.js(says) == (
        f"Enlarged 4.0 times, {in_view} preset{'s' if in_view > 1 else ''} in view"
    )

    # what is dragged stays under the hand, and is not loaded
    shown = await page.js(SHOWN)
    await page.mouse("Moved", x, y)
    await page.mouse("Pressed", x, y, True)
    for share in (0.5, 1):
        await page.mouse("Moved", x + 60 * share, y - 40 * share, True)
    await page.mouse("Released", x + 60, y - 40, True)
    moved = f"map.view.place([{box['width'] * 0.4 + 59}, {box['height'] * 0.6 - 41}])"
    assert await page.js(moved) == pytest.approx(place, abs=3e-3)
    assert await page.js(SHOWN) == shown

    # two fingers; a link has the part of the map
    await touch(page, "Start", (x - 20, y), (x + 20, y))
    await touch(page, "Move", (x - 40, y), (x + 40, y))
    await touch(page, "End")
    await page.true("map.view.zoom > 7")
    await page.js(
        "document.querySelector('#tags [name=brightness]').value = '2'; filters.change()"
    )
    bright = "state.tags.find((tag) => tag.name === 'brightness').of.filter((k) => k === 2).length"
    many = await page.js(bright)
    assert await page.js(STATUS) == f"{many} presets of {len(names)} shown"
    link, zoom = await page.js("location.hash"), await page.js("map.view.zoom")
    await page.press("#show-all")
    await page.js("document.getElementById('map').focus()")
    await page.key("0")
    assert await page.js(says) == f"The whole map, {len(names)} presets in view"
    await page.js(f"location.hash = {json.dumps(link)}")
    await page.true("map.view.zoom > 7")
    assert await page.js("map.view.zoom") == pytest.approx(zoom, rel=1e-5)
    assert await page.js("map.shown.filter(Boolean).length") == many

    # what a link has wrong is left out
    bad = "view=a,b&range=x&only=9:brightness&only=1:none&only=:&only=&colour=none&find="
    await page.js(f"filters.restore(new URLSearchParams('{bad}'))")
    assert await page.js("map.view.zoom === 1 && map.shown.every(Boolean)")
    await page.js(f"location.hash = {json.dumps(link)} + '&'")
    await page.true("map.view.zoom > 7")

    # names may hold anything, in a link too
    odd = ["a,b:c", "100 % / #?&=+", " \u00fc \U0001f3b9 ", "line\nbreak", "%2C%3A"]
    rename = """odd.map((name, i) => { const was = [state.params[i].name, state.tags[i].name];
        state.params[i].name = name; filters.selects[i].name = state.tags[i].name = name;
        return was; })"""
    await page.js("restoreFromAddress()")  # what is under way is at its end
    was = await page.js(f"odd = {json.dumps(odd)}; {rename}")
    held = "JSON.stringify([[...locks], [...filters.classes]])"
    await page.js("odd.forEach((name, i) => { locks.add(name); filters.selects[i].value = '1'; })")
    await page.js("filters.change()")
    odd_link, kept = await page.js("location.hash"), await page.js(held)
    assert json.loads(kept) == [odd, [[name, 1] for name in odd]]
    await page.js("locks.clear(); filters.clear(); filters.change()")
    assert await page.js(held) == "[[],[]]"
    await page.js(f"location.hash = {json.dumps(odd_link)}")
    await page.true(f"{held} === {json.dumps(kept)}")
    await page.js(f"""{json.dumps(was)}.forEach(([param, tag], i) => {{
        state.params[i].name = param; filters.selects[i].name = state.tags[i].name = tag; }});
        locks.clear()""")
    await page.js(f"history.replaceState(null, '', {json.dumps(link)}); restoreFromAddress()")
    assert await page.js("map.shown.filter(Boolean).length") == many

    # the darker half of the bright ones; keys go to those only, and the name is told
    await page.press("#whole")
    await page.js(
        "document.getElementById('range-high').value = 80; document.getElementById('range-high')"
        ".dispatchEvent(new Event('input')); document.getElementById('map').focus()"
    )
    fewer = await page.js("map.shown.filter(Boolean).length")
    assert 0 < fewer < many
    focus = await page.js("map.focus")
    for key in ("ArrowRight", "ArrowLeft"):
        await page.key(key)
    await page.true(f"map.focus !== {focus} || {says}.length > 0")
    focus = await page.js("map.focus")
    assert await page.js(f"map.shown[{focus}]")
    assert (await page.js(says)).startswith(names[focus])
    assert "bright" in await page.js(says)
    await page.press("#show-all")
    assert await page.js("map.shown.every(Boolean)")


async def _relatives(page, names):
    """Find presets similar to one; breed two, play a child, keep one, go back by one step."""
    for number in (0, 1):
        await page.js(f"load({number})")
        await page.true(f"{SHOWN} === {json.dumps(names[number])}")
        # a screen reader is told
        assert (
            await page.js("document.getElementById('map-says').textContent")
            == f"At {names[number]}"
        )
    await page.press("#find-similar")
    await page.true("document.querySelectorAll('#similar li').length === 8")
    assert await page.js("map.marks.similar.length") == 8
    await page.press("#zoom-to-marked")
    assert await page.js("[...map.marks.similar, map.here].every((place) => map.view.sees(place))")
    await page.press("#whole")
    await page.js("document.getElementById('second-parent').selectedIndex = 0")
    second = await page.js("breeding.parent(document.getElementById('second-parent')).name")
    parents = f"{names[1]} × {second}"
    await page.press("#breed")
    await page.true("document.querySelectorAll('#children li').length > 0")
    assert await page.js(SHOWN) == names[1]
    await done(page)
    plays = await page.js("player.plays")
    await page.press("#children li button:nth-child(2)")
    await page.true(f"player.plays > {plays}")
    kept = await page.js("favourites.all().length")
    await page.press("#children li button:nth-child(3)")
    assert await page.js("favourites.all().at(-1).name") == f"{parents} 1"
    assert await page.js("favourites.all().length") == kept + 1
    await page.press("#children li button")
    await page.true(f"{SHOWN} === {json.dumps(f'{parents} 1')}")
    assert await page.js("now.values") == await page.js("favourites.all().at(-1).values")
    await page.press("#other-children")
    await page.true("breeding.born > document.querySelectorAll('#children li').length")
    await page.press("#undo")
    await page.true(f"{SHOWN} === {json.dumps(names[1])}")


def test_what_is_kept_is_kept_for_one_run(tmp_path):
    """Two runs in folders of one name, one after the other at one address."""
    asyncio.run(_what_is_kept())


KEPT = (
    "[...document.querySelectorAll('#favourites li')].map((item) => item.firstChild.textContent)"
)


async def _what_is_kept():
    port = free_port()
    served = [Server(port)]
    try:
        async with Browser() as page:
            await page.open(served[0].address)
            await page.press("#keep")
            assert await page.js(KEPT) == [await page.js(SHOWN)]
            await page.true("location.hash !== ''")
            link = await page.js("location.hash")
            served.pop().end()
            served.append(Server(port, other_run()))
            await page.true(f"{STATUS}.startsWith('Another run is served here now')")
            await page.open(served[0].address + "?")
            assert (await page.js("state.run"), await page.js(KEPT)) == ("run", [])
            assert await page.js("document.getElementById('save-bank').disabled")

            # What was kept by the name alone stays, where it can be of this run.
            short, far = {"name": "short", "values": [1, 2], "z": [0]}, {"name": "far"}
            point = await page.js("({ z: now.z, values: now.values })")
            far |= {**point, "values": [1e9, *point["values"][1:]]}
            old = json.dumps([short, {"name": "mine", **point}, far])
            await page.js(f"localStorage.setItem('pyrosynth kept run', {json.dumps(old)})")
            await page.reload()
            assert await page.js(KEPT) == ["mine"]
            await page.press("#random")
            await page.true(f"{SHOWN}.startsWith('random')")
            await page.press("#keep")
            assert (await page.js(KEPT))[0] == "mine"
            assert await page.js("localStorage.getItem('pyrosynth kept run')") == old

            # One that does not fit costs only itself.
            await page.js(
                "favourites.store([...favourites.all(), { name: 'short', values: [1], z: [] }])"
            )
            await page.press("#save-bank")
            (bank,) = await page.downloaded()
            assert [one["name"] for one in json.loads(bank.read_text())][0] == "mine"
            await page.true(f"{STATUS}.startsWith(\"The bank is without 'short' (values have\")")

            await page.js(f"location.hash = {json.dumps(link)}")
            await page.true(f"{STATUS}.includes(\"this link is of another run called 'run'\")")
            assert not page.errors
    finally:
        for server in served:
            server.end()


def test_the_static_site_opens_without_a_server(tmp_path):
    with Live(small_posterior()[1]) as live:
        write_site(
            live, "small", tmp_path / "page", presets=6, moved=2, axes=["brightness", "loudness"],
            steps=(-2, 2), progress=False,
        )  # fmt: skip
    demo = tmp_path / "demo"  # as docs/conf.py puts it together
    for folder in (PAGES, Path(__file__).parents[1] / "docs" / "demo"):
        shutil.copytree(folder, demo, dirs_exist_ok=True)
    asyncio.run(_the_static_site(tmp_path / "page", demo))


WRITTEN = """(() => {
    const [found, write] = [[], CanvasRenderingContext2D.prototype.fillText];
    CanvasRenderingContext2D.prototype.fillText = function (text, u, v) {
        const wide = this.measureText(text).width;
        const left = { left: u, right: u - wide, center: u - wide / 2 }[this.textAlign];
        found.push([text, left, left + wide, v]);
    };
    try { map.paint(); } finally { CanvasRenderingContext2D.prototype.fillText = write; }
    return found;
})()"""  # what the map writes, and where


async def _the_static_site(folder, demo):
    async with Browser() as page:
        await page.size(390, 844)
        await page.open((folder / "index.html").as_uri())
        names = await page.js("state.names")
        assert len(names) == 6
        plays = await page.js("player.plays")
        await page.js("load(3)")
        assert await page.js(SHOWN) == names[3]
        assert await page.js("player.plays") > plays
        # The sliders move the preset that is loaded, if there are sweeps of it.
        title = "document.getElementById('sliders-title').textContent"
        slider = "document.getElementById('s-brightness')"
        movable = await page.js("source.swept.map((point) => point.name)")
        assert len(movable) == 2
        moved = []
        for name in movable:
            await page.js(f"load({names.index(name)})")
            await page.true(f"{SHOWN} === {json.dumps(name)}")
            assert await page.js(title) == f"Move “{name}”"
            assert await page.js(f"{slider}.max") == "2"
            way = "ArrowRight" if await page.js(f"{slider}.value") == "0" else "ArrowLeft"
            await page.js(f"{slider}.focus()")
            await page.key(way)
            await page.true(f"{SHOWN} === {json.dumps(name + ' (moved)')}")
            assert await page.js(title) == f"Move “{name}”"
            moved.append(await page.js("now.values"))
            # Another slider begins where the preset is, and says so.
            assert await page.js(
                "document.getElementById('s-loudness').value === "
                "String(source.scale(source.start(now), 'loudness').value)"
            )
        assert moved[0] != moved[1]
        other = next(i for i, name in enumerate(names) if name not in movable)
        await page.js(f"load({other})")
        await page.true(f"{SHOWN} === {json.dumps(names[other])}")
        assert await page.js("now.values") == await page.js(f"source.data.presets[{other}].values")
        assert await page.js(title) == f"“{names[other]}” cannot be moved on this page"
        assert await page.js("document.getElementById('sliders').hidden")
        await page.press("#moved button")
        await page.true(f"{SHOWN} === {json.dumps(movable[0])}")
        # A preset that people made keeps its name, also by chance.
        assert await page.js("document.getElementById('random').textContent") == "Any preset"
        for _ in range(3):
            await page.press("#random")
            await page.true(f"state.names.includes({SHOWN})")
        assert await page.js("document.getElementById('result').dataset.drawn > 0")
        for panel in ("find", "breed-panel", "find-similar"):
            assert await page.js(f"document.getElementById('{panel}').hidden")
        # The map works as with a server.
        await page.js("map.view.enlarge(3); document.querySelector('#tags select').value = '0'")
        await page.js("filters.change()")
        quiet = await page.js("state.tags[0].of.filter((k) => k === 0).length")
        assert await page.js(STATUS) == f"{quiet} preset{'s' * (quiet != 1)} of {len(names)} shown"
        assert await page.js("document.getElementById('map-says').textContent.length") > 0
        await page.press("#show-all")
        await page.press("#save")
        assert await page.downloaded()
        assert await page.js("document.documentElement.scrollWidth") <= 390

        # The demo of the documentation: sounds that were looked for, and what was found.
        await page.open((demo / "index.html").as_uri())
        # names of presets and words of axes are not written over each other
        written = await page.js(WRITTEN)
        assert sum(text[0] in "←→↑↓" or text[-1] == "→" for text, *_ in written) == 4
        assert len(written) > 10
        for i, (_, left, right, v) in enumerate(written):
            for _, other_left, other_right, other_v in written[:i]:
                assert right <= other_left or other_right <= left or abs(v - other_v) >= 12
        answers = await page.js("source.data.found.map((point) => point.target)")
        assert len(answers) == 10
        for i in (0, 9):
            await page.js(f"document.querySelectorAll('#answers button')[{i}].click()")
            await page.true(f"{SHOWN} === {json.dumps(f'like {answers[i]}')}")
            assert await page.js("document.getElementById('target').dataset.drawn > 0")
            await page.press("#ab")
            await page.true("player.now.src.endsWith(source.data.found.find("
                            "(point) => point.name === title).heard.sound)")  # fmt: skip
            assert not await page.js("document.getElementById('sliders').hidden")
        assert await page.js("document.documentElement.scrollWidth") <= 390
        assert not page.errors


def test_serve_says_what_is_wrong_in_one_line(tmp_path, capfd):
    for more, says in (
        (["--sounds", str(tmp_path / "nowhere")], "nowhere' is not there; give a folder"),
        (["--host", "localhost:9000"], "its port has an option of its own (--port)"),
        (["--host", "203.0.113.1"], "cannot serve at http://203.0.113.1"),
    ):
        run = str(small_posterior()[0])
        capfd.readouterr()
        assert main(["serve", run, *more]) == 2
        error = capfd.readouterr().err
        assert says in error
        assert error.count("\n") == 1
