"""The server behind the page, without a browser; see test_explorer for one with."""

import asyncio
import base64
import gc
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import weakref
import zipfile
import zlib
from contextlib import suppress
from functools import partial
from types import SimpleNamespace
from unittest.mock import create_autospec
from urllib.parse import quote, unquote, urlencode

import numpy as np
import pytest
import soundfile
from aiohttp import ClientError, ClientSession
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request
from lively import fine_axis, other_run, small_posterior

from pyrosynth.audio.closeness import closeness
from pyrosynth.audio.io import load_audio, save_audio, wav_bytes
from pyrosynth.audio.metrics import log_distance
from pyrosynth.audio.qualities import QUALITIES
from pyrosynth.data.labeling import DESCRIBED
from pyrosynth.errors import InputError, SynthError
from pyrosynth.inference.hearing import TRIED, Hearing, open_search, refine
from pyrosynth.inference.infer import infer_sounds
from pyrosynth.inference.posterior import Posterior
from pyrosynth.live import bodies, connections, osc, plane, searching, web
from pyrosynth.live.background import in_background, turn_of
from pyrosynth.live.engine import Live
from pyrosynth.live.files import IN_FILE
from pyrosynth.live.osc_packets import write
from pyrosynth.live.page_state import PageState
from pyrosynth.live.searching import FIRST_EACH, SHOWN, begin, shown
from pyrosynth.live.server import serve
from pyrosynth.live.sounds import WAITING
from pyrosynth.live.static_site import mp3, write_site
from pyrosynth.synths.voice_params import SPACE

WAIT = 180.0  # seconds; machines are busy


@pytest.fixture(scope="module")
def live():
    with Live(small_posterior()[1]) as live:
        yield live


def ask(live, *questions):
    """Ask the site in order; return status and answer of each."""

    async def run():
        async with TestClient(
            TestServer(web.Site(live, "small", ["good.example"]).app())
        ) as client:
            answers = []
            for method, path, options in questions:
                async with client.request(method, path, **options) as response:
                    answers.append((response.status, await response.read(), response.headers))
            return answers

    return asyncio.run(run())


def post(path, question):
    return (
        "POST",
        path,
        {"data": question if isinstance(question, bytes) else json.dumps(question)},
    )


def test_page_and_files_come_with_a_policy_and_need_nothing_from_elsewhere(live):
    paths = list(web.FILES)
    for path, (status, content, headers) in zip(
        paths, ask(live, *(("GET", path, {}) for path in paths)), strict=True
    ):
        assert status == 200, path
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert b"http://" not in content
        assert b"https://" not in content
    assert {"/", "/index.html", "/explorer.js", "/style.css"} <= set(paths)


def test_state_points_sounds_and_files(live):
    z = live.space.z[1].tolist()
    state, point, moved, path, sound, known, file, text = (
        (status, content)
        for status, content, _ in ask(
            live,
            ("GET", "/api/state", {}),
            post("/api/point", {"preset": 1}),
            post("/api/point", {"z": z, "to": {"brightness": 1.0}}),
            post("/api/point", {"path": [[0.1, 0.2], [0.9, 0.5]]}),
            post("/api/sound", {"values": live.known(1).tolist()}),
            ("GET", "/api/sound/1", {}),
            post("/api/file", {"values": live.known(1).tolist(), "name": "mine"}),
            post(
                "/api/file", {"values": live.known(1).tolist(), "name": "mine", "format": "json"}
            ),
        )
    )
    facts = json.loads(state[1])
    assert len(facts["names"]) == len(facts["plane"]) == len(live.space)
    assert all(len(one["of"]) == len(live.space) for one in facts["colours"] + facts["tags"])
    here = json.loads(point[1])
    np.testing.assert_allclose(here["z"], z)
    np.testing.assert_allclose(here["values"], live.known(1))
    np.testing.assert_allclose(here["place"], facts["plane"][1], atol=1e-4)
    assert 0 <= min(json.loads(moved[1])["place"]) <= max(json.loads(moved[1])["place"]) <= 1
    assert json.loads(moved[1])["positions"]["brightness"] == pytest.approx(1.0, abs=1e-3)
    assert np.shape(json.loads(path[1])["path"]) == (2, live.space.dim)
    played = json.loads(sound[1])
    audio, rate = soundfile.read(io.BytesIO(base64.b64decode(played["wav"])))
    expected = live.render(live.known(1)).audio
    np.testing.assert_allclose(audio, np.clip(expected, -1, 1), atol=1e-4)
    assert rate == live.posterior.run.features.sample_rate
    picture = played["picture"]
    cells = base64.b64decode(picture["cells"])
    assert len(cells) == picture["bands"] * picture["frames"]
    assert max(cells) == 255
    assert json.loads(known[1])["wav"]
    assert json.loads(file[1]) == json.loads(text[1])


def test_a_format_that_there_is_not_is_refused(live):
    asked = {"values": live.known(1).tolist(), "name": "mine"}
    wrong, right = ask(
        live, *(post("/api/file", {**asked, "format": name}) for name in ("vital", "own"))
    )
    assert wrong[0] == 400
    assert json.loads(wrong[1])["error"] == "unknown format 'vital'; known: own, json"
    assert right[0] == 200


def test_a_morph_goes_through_its_presets_and_is_rendered(live, monkeypatch):
    through = [parent(live, number) for number in (0, 3, 5)]
    param = live.posterior.run.space.params[0]
    asked = {"through": through, "locked": {param.name: param.maximum}}
    (status, content, _), (_, held, _) = ask(
        live, post("/api/point", {"through": through}), post("/api/point", asked)
    )
    assert status == 200
    points = json.loads(content)["path"]
    assert len(points) == 9
    for number, point in zip((0, 3, 5), points[::4], strict=True):
        np.testing.assert_allclose(point["values"], live.known(number), atol=1e-9)
    # Of some that were rendered, those were taken that sound even.
    x = np.stack([live.render(np.array(point["values"])).x for point in points[:5]])
    line = np.linspace(live.known(0), live.known(3), 5)
    knobs = np.stack([live.render(values).x for values in line])
    assert np.square(np.diff(x, axis=0)).sum() < np.square(np.diff(knobs, axis=0)).sum()
    index = live.posterior.run.full_space.names.index(param.name)
    assert {point["values"][index] for point in json.loads(held)["path"]} == {param.maximum}
    monkeypatch.setattr(web, "PATIENCE_SECONDS", 0.1)
    with live.searching:
        ((status, content, _),) = ask(live, post("/api/point", {"through": through}))
    assert (status, "search or path is under way" in json.loads(content)["error"]) == (400, True)


def search(asked=None):
    """Return the path that asks for a search."""
    return f"/api/search?{urlencode({'asked': json.dumps(asked or {})})}"


def news(content):
    return [json.loads(line) for line in content.splitlines()]


def test_a_search_grows_and_ends_where_infer_ends(live):
    sound = wav_bytes(live.render(live.known(2)).audio, 22050)
    ((status, content, headers),) = ask(live, ("POST", search({"budget": 51}), {"data": sound}))
    told = news(content)
    assert status == 200
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert told[0]["target"]["level"] > 0
    growing = [one for one in told if "candidates" in one]
    ways = live.files.upload(sound, "it")
    # The draws with which two ways were tried out stand in for guesses.
    assert growing[0]["renders"] == FIRST_EACH + (FIRST_EACH if len(ways) == 1 else TRIED)
    assert growing[-1]["renders"] + 3 * (len(ways) - 1) == 51
    nearest = [min(c["lsd_db"] for c in one["candidates"]) for one in growing]
    assert nearest == sorted(nearest, reverse=True)
    assert told[-1]["done"] is True
    assert told[-1]["says"].startswith("" if told[0]["play"] else told[0]["says"])
    # What is told of a candidate was measured, and is never farther than the nearest known one.
    heard = told[0]["says"], told[0]["play"]
    hearing = next(way for way in ways if (way.says, way.play) == heard)
    x = live.posterior.features(hearing.audio)
    for candidate in growing[-1]["candidates"]:
        played = live.render(np.array(candidate["values"]))
        assert candidate["lsd_db"] == pytest.approx(float(log_distance(played.x, x)), abs=1e-3)
    known = live.space.bank.values[live.space.bank.nearest(x[None])[0][0, 0]]
    assert nearest[0] <= float(log_distance(live.render(known).x, x)) + 1e-6
    with live.searching:
        match, way, n_renders = refine(live.posterior, ways, live.search_renderer, budget=51)
    assert (way.says, n_renders) == (hearing.says, 51)
    answer = growing[-1]["candidates"][0]
    assert answer["values"] == match.values[0].tolist()
    assert answer["lsd_db"] == match.lsd[0]
    (cloud,) = [one for one in told if "cloud" in one]
    assert set(cloud["halo"]) == set(live.posterior.run.space.names)


@pytest.mark.parametrize("raised", [RuntimeError("wants louder"), ValueError("wants louder")])
def test_whatever_a_model_raises_a_search_ends_with_a_line(live, monkeypatch, caplog, raised):
    def sample_v(*_, **__):
        raise raised

    connections.server_log().filters[0]._last = -connections.LOG_SECONDS
    sound = wav_bytes(live.render(live.known(2)).audio, 22050)
    asked = {"budget": 12, "name": "mine.wav"}
    with monkeypatch.context() as patch:
        patch.setattr(type(live.posterior.variant), "sample_v", sample_v)
        ((status, content, _),) = ask(live, ("POST", search(asked), {"data": sound}))
    told = f"{type(raised).__name__}: wants louder; try another sound or preset"
    assert (status, news(content)[-1]) == (
        200, {"error": f"the code of the run or the synth raised {told}"}
    )  # fmt: skip
    (line,) = [record.getMessage() for record in caplog.records]
    assert "a search for 'mine.wav' of 127.0.0.1 failed" in line
    ((_, content, _),) = ask(live, ("POST", search(asked), {"data": sound}))
    assert news(content)[-1]["done"]


def test_a_model_that_raises_is_said_whatever_is_asked(live, monkeypatch):
    def raising(*_, **__):
        raise RuntimeError("wants louder")

    with monkeypatch.context() as patch:
        patch.setattr(type(live.posterior.variant), "params_of", raising)
        ((status, content, _),) = ask(live, post("/api/point", {"z": [0.1] * live.space.dim}))
    assert status == 500
    assert "raised RuntimeError: wants louder; try" in json.loads(content)["error"]


def test_a_search_for_a_short_sound_says_that_its_distance_weighs_more(live):
    seconds = np.arange(22050) / 22050
    kick = np.sin(2 * np.pi * 60 * seconds) * np.exp(-seconds / 0.01)
    told = news(ask(live, ("POST", search({"budget": 8}), {"data": wav_bytes(kick, 22050)}))[0][1])
    (answer, *_) = [one for one in told if "candidates" in one][-1]["candidates"]
    assert answer["closeness"] != closeness(answer["lsd_db"])
    assert "% of the spectrogram" in told[-1]["says"]


def test_the_first_candidates_are_six_that_differ_and_wait_for_no_draws(live):
    needed = set()
    for number in (0, 12, 20):
        way = Hearing(live.render(live.known(number)).audio)
        with live.searching:
            search = open_search(live.posterior, way, live.search_renderer)
            begin(search, 256)
        needed.add(len(search.pool))
        assert len(shown(search.pool)) == SHOWN
        assert set(search.pool.source.tolist()) == {"model", "bank"}
    assert max(needed) > 2 * FIRST_EACH  # as some sounded alike
    with live.searching:
        search = open_search(live.posterior, way, live.search_renderer)
        begin(search, 1)
    assert len(search.pool) == 2 * FIRST_EACH
    with live.searching:  # of two ways one was tried out: its draws stand in for guesses
        search = open_search(live.posterior, way, live.search_renderer)
        search.try_out(TRIED)
        begin(search, 256, guess=False)
    assert len(shown(search.pool)) == SHOWN
    assert set(search.pool.source.tolist()) == {"posterior", "bank"}


def test_a_search_keeps_what_is_locked_and_goes_on_from_a_preset(live):
    sound = wav_bytes(live.render(live.known(2)).audio, 22050)
    param = live.posterior.run.space.params[0]
    asked = {"budget": 24, "locked": {param.name: param.maximum}, "start": live.known(2).tolist()}
    ((_, content, _),) = ask(live, ("POST", search(asked), {"data": sound}))
    index = live.posterior.run.full_space.names.index(param.name)
    for one in news(content):
        for candidate in one.get("candidates", ()):
            assert candidate["values"][index] == param.maximum
    asked = {"budget": 1, "start": live.known(2).tolist()}
    ((_, content, _),) = ask(live, ("POST", search(asked), {"data": sound}))
    first = next(one for one in news(content) if "candidates" in one)
    assert first["candidates"][0]["lsd_db"] < 1.0
    np.testing.assert_allclose(first["candidates"][0]["values"], live.known(2))


def test_a_search_that_waits_for_another_says_so_once(live, monkeypatch):
    told = []
    monkeypatch.setattr(searching, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(searching, "PATIENCE_SECONDS", 0.1)
    search = searching.GrowingSearch(PageState(live, "small"), lambda news: not told.append(news))
    with live.searching:
        with pytest.raises(InputError, match="another search or path is under way; stop it"):
            search.run([], budget=1)
    assert [news for news in told if news] == [{"waits": True}]


@pytest.mark.parametrize(("left_at", "most"), [(b"target", 4000), (b"cloud", 150)])
def test_a_search_ends_when_its_client_has_left(live, monkeypatch, left_at, most):
    """At the first line, or when the first candidates are told and a thousand guesses follow."""
    rendered, render = [], live.search_renderer.render

    def counted(values, *more, **options):
        rendered.append(len(values))
        return render(values, *more, **options)

    monkeypatch.setattr(live.search_renderer, "render", counted)
    sound = wav_bytes(live.render(live.known(2)).audio, 22050)

    async def run():
        async with TestClient(TestServer(web.Site(live, "small").app())) as client:
            async with client.post(search({"budget": 4000}), data=sound) as response:
                while left_at not in await response.content.readline():
                    pass
            del rendered[:]
            async with client.post(search({"budget": 1}), data=sound) as response:  # the next one
                assert "done" in (await response.text()).splitlines()[-1]

    asyncio.run(run())
    assert sum(rendered) < most


@pytest.mark.parametrize("waits", [False, True])
def test_the_server_ends_at_once_whatever_is_under_way(monkeypatch, waits):
    """A search, and one that waits for its turn."""
    said, sound = [], wav_bytes(0.1 * np.sin(np.arange(22050) / 16), 22050)

    async def run(live):
        serving = asyncio.create_task(serve(live, "small", port=0, osc_port=0, say=said.append))
        while "Ctrl-C ends it" not in said:
            await asyncio.sleep(0.01)
        place = said[0].split()[1]
        async with ClientSession() as session:
            asked = search({"budget": 4000})[1:]
            response = await session.post(f"{place}{asked}", data=sound)
            assert response.headers["X-Accel-Buffering"] == "no"  # so that nginx passes lines on
            while b"cloud" not in await response.content.readline():
                pass
            if waits:
                other = await session.post(f"{place}{asked}", data=sound)
                assert b"waits" in await other.content.readline()
            signal.raise_signal(signal.SIGTERM)
            began = time.monotonic()
            await serving
            response.close()
            if waits:
                other.close()
            return began

    with Live(small_posterior()[1]) as live:
        began = asyncio.run(run(live))
    assert time.monotonic() - began < 10.0  # searches of a minute


@pytest.mark.parametrize("by", ["page", "OSC"])
def test_the_server_ends_though_the_code_of_a_synth_never_comes_back(tmp_path, monkeypatch, by):
    monkeypatch.setattr(osc, "ENDING_SECONDS", 0.5)
    said, called, never = [], threading.Event(), threading.Event()
    before = set(threading.enumerate())

    def write_bank(file, presets):
        called.set()
        return never.wait()

    async def run(live):
        options = {"port": 0, "osc_port": 0, "out": str(tmp_path), "say": said.append}
        serving = asyncio.create_task(serve(live, "small", **options))
        while "Ctrl-C ends it" not in said:
            await asyncio.sleep(0.01)
        async with ClientSession() as session, asyncio.timeout(30.0):
            if by == "page":
                asked = json.dumps({"values": live.known(1).tolist(), "name": "mine"})
                place = f"{said[0].split()[1]}api/file"
                asking = asyncio.create_task(session.post(place, data=asked))
            else:
                port = int(re.search(r":(\d+) \(UDP\)", said[1])[1])
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                    client.sendto(write("/save", ["mine"]), ("127.0.0.1", port))
                asking = asyncio.create_task(asyncio.sleep(0))
            while not called.is_set():
                await asyncio.sleep(0.01)
            signal.raise_signal(signal.SIGTERM)
            await serving
            with suppress(ClientError):
                await asking

    try:
        with Live(small_posterior()[1]) as live, monkeypatch.context() as patch:
            patch.setattr(live.posterior.synth, "write_bank", write_bank)
            asyncio.run(run(live))
            left = [thread for thread in threading.enumerate() if thread not in before]
    finally:
        never.set()
    assert left
    assert all(thread.daemon for thread in left)  # which the end of a program does not wait for


def test_a_server_that_warms_up_ends_at_once():
    command = [sys.executable, "-m", "pyrosynth", "serve", str(small_posterior()[0])]
    with subprocess.Popen(
        [*command, "--port", "0", "--osc-port", "0"], stderr=subprocess.PIPE, text=True
    ) as process:
        assert any("Ctrl-C ends it" in line for line in process.stderr)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT) == 0
        assert time.monotonic() - began < 1.5


def test_a_sound_at_another_pitch_comes_back_with_the_note_to_play(live):
    seconds = np.arange(22050) / 22050
    tones = sum(0.6**k * np.sin(2 * np.pi * k * 196.0 * seconds) for k in range(1, 6))
    hum = wav_bytes(0.2 * tones, 22050)
    noise = wav_bytes(0.1 * np.random.default_rng(0).standard_normal(22050), 22050)
    few = {"budget": 1}
    ((status, content, _), (_, other, _)) = ask(
        live,
        ("POST", search(few), {"data": hum}),
        ("POST", search({**few, "name": "b.wav"}), {"data": noise}),
    )
    told = news(content)[0]
    assert (status, told["play"]["name"], told["says"]) == (200, "G3", "play it at G3")
    assert told["play"]["note"]["hold_seconds"] == pytest.approx(1.0, abs=0.05)
    assert news(other)[0]["play"] is None


def test_notes_knobs_locks_and_banks(live):
    values, names = live.known(1).tolist(), list(live.posterior.run.full_space.names)
    near = live.space.z[1].tolist()
    turned = [*values]
    turned[0] = live.posterior.run.full_space.params[0].maximum
    (_, note, _), (_, knobs, _), (_, moved, _), (_, drawn, _), (status, bank, headers) = ask(
        live,
        post("/api/sound", {"values": values, "pitch": 72, "hold": 0.1}),
        post("/api/point", {"knobs": turned, "near": near}),
        post(
            "/api/point", {"z": near, "to": {"brightness": 2.0}, "locked": {names[0]: values[0]}}
        ),
        post("/api/point", {"random": 4, "locked": {names[0]: turned[0]}}),
        post("/api/bank", {"presets": [{"name": "a", "values": values}] * 2}),
    )
    audio, rate = soundfile.read(io.BytesIO(base64.b64decode(json.loads(note)["wav"])))
    played = live.posterior.synth.render(live.known(1), live.note(72, 0.1), rate)
    np.testing.assert_allclose(audio, np.clip(played, -1, 1), atol=1e-4)
    assert json.loads(knobs)["values"] == turned
    assert json.loads(moved)["values"][0] == pytest.approx(values[0])
    assert json.loads(moved)["positions"]["brightness"] == pytest.approx(2.0, abs=1e-3)
    assert json.loads(drawn)["values"][0] == turned[0]
    assert (status, headers["X-Suffix"], len(json.loads(bank))) == (200, ".json", 2)


def test_a_preset_that_does_not_fit_costs_only_itself_of_a_bank(live, monkeypatch):
    good = [{"name": name, "values": live.known(i).tolist()} for i, name in enumerate("ab")]
    bad = [
        {"name": "short", "values": [1, 2]}, {"name": "text", "values": ["x"] * len(SPACE)},
        {"name": "nothing"}, {"name": "é; far", "values": [1e9, *live.known(0).tolist()[1:]]},
    ]  # fmt: skip
    mixed, none = {"presets": [good[0], *bad, good[1]]}, {"presets": bad}
    (status, bank, headers), (refused, said, _), (*_, whole) = ask(
        live, *(post("/api/bank", asked) for asked in (mixed, none, {"presets": good}))
    )
    assert [preset["name"] for preset in json.loads(bank)] == ["a", "b"]
    left_out = unquote(headers["X-Left-Out"])
    assert left_out.startswith("'short' (values have shape (2,);")
    assert "'nothing' (it has no 'values'); 'é; far' (parameter '" in left_out
    assert (status, refused, whole["X-Left-Out"]) == (200, 400, "")
    odd = [{"name": 60 * "鍵", "values": [1.0]} for _ in range(9)]
    ((*_, headers),) = ask(live, post("/api/bank", {"presets": [good[0], *odd]}))
    assert len(headers["X-Left-Out"]) <= web.MOST_TOLD
    assert unquote(headers["X-Left-Out"]).startswith("'鍵鍵")
    assert "no preset fits this run and synth: 'short' (val" in json.loads(said)["error"]

    def write_bank(file, presets):
        if any(preset.name == "b" for preset in presets):
            raise ValueError("b is too long")
        return bool(file.write_text(" ".join(preset.name for preset in presets)))

    monkeypatch.setattr(live.posterior.synth, "write_bank", write_bank)
    ((status, bank, headers),) = ask(live, post("/api/bank", mixed))
    assert (status, bank) == (200, b"a")
    assert unquote(headers["X-Left-Out"]).endswith("; 'b' (b is too long)")


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (StopIteration(), "RuntimeError: StopIteration()"),
        (GeneratorExit(), "RuntimeError: GeneratorExit()"),
        (ValueError("too long"), "ValueError: too long"), (KeyError("osc"), "KeyError: 'osc'"),
    ],
)  # fmt: skip
def test_whatever_a_synth_raises_as_it_writes_is_answered(live, monkeypatch, raised, said):
    def write_bank(*_):
        raise raised

    asked = post("/api/file", {"values": live.known(1).tolist(), "name": "mine"})
    with monkeypatch.context() as patch:
        patch.setattr(live.posterior.synth, "write_bank", write_bank)
        ((status, content, _),) = ask(live, asked)
    assert status == 500
    assert f"the code of the run or the synth raised {said}; try" in json.loads(content)["error"]


def test_presets_of_more_than_one_file_come_in_several(live, monkeypatch):
    def write_bank(file, presets):
        return bool(file.write_text("\n".join(preset.name for preset in presets)))

    names = [f"preset {i}" for i in range(IN_FILE + 2)]
    kept = [{"name": name, "values": live.known(0).tolist()} for name in names]
    (_, whole, _), (_, longest, _) = ask(
        live, post("/api/bank", {"presets": kept}),
        post("/api/bank", {"presets": 10 * kept[:IN_FILE]}),  # more than other questions may have
    )  # fmt: skip
    assert [preset["name"] for preset in json.loads(whole)] == names
    assert len(json.loads(longest)) == 10 * IN_FILE
    with monkeypatch.context() as patch:
        patch.setattr(live.posterior.synth, "write_bank", write_bank)
        patch.setattr(live.posterior.synth, "preset_suffix", ".own")
        ((status, content, headers),) = ask(live, post("/api/bank", {"presets": kept}))
    assert (status, headers["X-Suffix"]) == (200, ".own.zip")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name: archive.read(name).decode().splitlines() for name in archive.namelist()}
    assert files == {
        "preset 0 1.own": names[:IN_FILE], f"preset {IN_FILE} {IN_FILE + 1}.own": names[IN_FILE:]
    }  # fmt: skip


def test_a_point_comes_with_its_sound_where_that_is_wanted_and_can_be_had(live):
    moved = {"z": live.space.z[2].tolist(), "to": {"brightness": 1.5}}
    (_, plain, _), (_, sounding, _) = ask(
        live, post("/api/point", moved), post("/api/point", {**moved, "sound": True})
    )
    point = json.loads(sounding)
    sound = point.pop("sound")
    assert point == json.loads(plain)
    ((_, alone, _),) = ask(live, post("/api/sound", {"values": point["values"]}))
    assert sound == json.loads(alone)
    for _ in range(WAITING):
        assert live._sounds._waiting.acquire(blocking=False)
    try:
        moved["to"] = {"brightness": -1.5}
        ((status, content, _),) = ask(live, post("/api/point", {**moved, "sound": True}))
        live._sounds._kept.clear()  # or it may be remembered
        ((busy, told, _),) = ask(live, ("GET", "/api/sound/3", {}))
    finally:
        live._sounds._waiting.release(WAITING)
    assert (status, "sound" in json.loads(content)) == (200, False)
    assert busy == 503
    assert b"sounds are waiting to be rendered; ask again in a moment" in told


def parent(live, number):
    return {"z": live.space.z[number].tolist(), "values": live.known(number).tolist()}


def test_presets_that_are_similar_are_near_and_measured(live):
    ((status, content, _),) = ask(live, post("/api/similar", parent(live, 3)))
    found = json.loads(content)["similar"]
    linked = parent(live, 3)
    linked["values"] = [float(f"{value:.7g}") for value in linked["values"]]
    ((_, content, _),) = ask(live, post("/api/similar", linked))
    assert 3 not in [one["preset"] for one in json.loads(content)["similar"]]
    far = np.linalg.norm((live.space.z - live.space.z[3]) / live.space.spread, axis=1)
    assert status == 200
    assert {one["preset"] for one in found} == set(np.argsort(far)[1:9].tolist())
    assert [one["lsd_db"] for one in found] == sorted(one["lsd_db"] for one in found)
    x = live.render(live.known(3)).x
    for one in found:
        heard = log_distance(live.render(live.known(one["preset"])).x, x)
        assert one["lsd_db"] == pytest.approx(float(heard))
        assert one["closeness"] in (closeness(one["lsd_db"]), "unlike")


def test_children_lie_between_their_parents_and_keep_what_is_locked(live):
    parents = [parent(live, 0), parent(live, 5)]
    param = live.posterior.run.space.params[0]
    asked = {"parents": parents, "locked": {param.name: param.maximum}}
    (_, bred, _), (_, again, _), (_, others, _), (_, held, _) = ask(
        live,
        post("/api/breed", {"parents": parents}),
        post("/api/breed", {"parents": parents, "seed": 0}),
        post("/api/breed", {"parents": parents, "seed": 1}),
        post("/api/breed", asked),
    )
    assert bred == again != others
    x = [live.render(live.known(number)).x for number in (0, 5)]
    between = json.loads(bred)["children"]
    assert 1 <= len(between) <= 4
    for child in between:
        heard = live.render(np.array(child["values"])).x
        assert child["lsd_db"] == pytest.approx([float(log_distance(heard, one)) for one in x])
        assert min(child["lsd_db"]) >= 0.5
        assert max(child["lsd_db"]) < float(log_distance(*x))
    ((status, content, _),) = ask(live, post("/api/breed", {"parents": parents[:1] * 2}))
    assert (status, "take parents that differ more" in json.loads(content)["error"]) == (400, True)
    index = live.posterior.run.full_space.names.index(param.name)
    assert {c["values"][index] for c in json.loads(held)["children"]} == {param.maximum}


VALUES = [float(value) for value in SPACE.defaults]
BY_CURL = "send the file or the JSON itself, such as by curl --data-binary @x.wav"


def wrapped(path, name, value):
    """Ask with a body that is not what it should be, and a header that says so."""
    return "POST", path, {"data": gzip.compress(b"a sound"), "headers": {name: value}}


@pytest.mark.parametrize(
    ("question", "says"),
    [
        (post("/api/similar", {"z": [0.0] * 16}), "cannot be understood"),
        (post("/api/breed", {"parents": []}), "parents: 0 presets; give 2"),
        (post("/api/breed", {"parents": "ab"}), "parents is str 'ab'; give a list of presets"),
        (post("/api/breed", {"parents": [1, 2]}), "a preset is int 1; give a JSON object"),
        (post("/api/point", {"through": {"a": 1}}), "give a list of presets"),
        (post("/api/point", {"preset": 1, "values": [1]}), "unknown key beside preset 'values'"),
        (post("/api/point", {"path": [["\uff11", "2"]]}), "places of a path that are no numbers"),
        (post("/api/breed", {}), "cannot be understood (it has no 'parents')"),
        (post("/api/point", {}), "has one of z, knobs, preset, random, path, through"),
        (post("/api/point", {"through": []}), "through: 0 presets; give 2 to 8"),
        (post("/api/point", {"z": [1, 2]}), "16 finite numbers"),
        (post("/api/point", {"z": [0] * 15 + [57]}), "a point has the number 57; give -10 to 10"),
        (post("/api/point", {"preset": 0, "to": {"brightness": 7}}), "give -6 to 6"),
        (post("/api/point", {"z": "much"}), "a point is 16 numbers"),
        (post("/api/point", {"preset": 10**9}), "preset number 1000000000: give an integer"),
        (post("/api/point", {"preset": None}), "preset number None: give an integer from 0 to"),
        (post("/api/point", {"preset": 1.5}), "preset number 1.5: give an integer from 0 to"),
        (post("/api/point", {"random": "1"}), "random '1': give an integer"),
        (post("/api/point", {"preset": 0, "to": {"x": 1}}), "unknown axis 'x'; known:"),
        (post("/api/point", {"preset": 0, "to": 5}), "numbers by name is int 5; give"),
        (post("/api/point", {"path": [[0, 0]] * 1000}), "1 to 200 places"),
        (post("/api/point", {"path": [[0, 1e999]]}), "finite"),
        (post("/api/point", {"path": [[0, True]]}), "no numbers (true and false are none)"),
        (post("/api/point", {"z": [False] + [0] * 15}), "true and false are none"),
        (post("/api/point", {"knobs": [True, *VALUES[1:]]}), "true and false are none"),
        (post("/api/point", {"preset": True}), "preset number True: give an integer"),
        (post("/api/point", {"preset": 0, "to": {"brightness": True}}), "True: give a number"),
        (post("/api/point", {"path": [[0, 10.5]]}), "two finite numbers; give -10 to 10"),
        (post("/api/sound", {"values": VALUES, "hold": None}), "hold None: give a number of at"),
        (post("/api/point", [1]), "a JSON object"),
        (post("/api/point", b"\xff\x00"), "cannot be understood"),
        (post("/api/point", b" " * (2**19 + 1)), "more than 512 KiB"),
        (post("/api/sound", {}), "cannot be understood"),
        (post(search({"name": "x.wav"}), b"no sound"), "'x.wav' is not a readable sound file"),
        (post(search({"name": "x.wav"}), b""), "'x.wav' is not a readable sound file"),
        (("GET", "/api/sound/9999999", {}), "preset number 9999999: give"),
        (("GET", "/../pyproject.toml", {}), "Not Found"),
        (post("/api/point", b"[" * 100_000), "cannot be understood"),
        (post("/api/sound", {"values": [1.0]}), "the last axis must hold"),
        (post("/api/sound", {"values": ["1"] * 32}), "values that are no numbers"),
        (post("/api/point", {"knobs": [1e9] * 32}), "is 1e+09, outside its range from"),
        (post("/api/point", {"preset": 0, "to": {"brightness": "1"}}), "give a number"),
        (post("/api/point", {"preset": 0, "locked": {"level": "1"}}), "give a number"),
        (post("/api/point", {"preset": 0, "locked": {"level": 1e9}}), "outside its range"),
        (post("/api/bank", {"presets": []}), "presets: 0 presets; give 1 to 4096"),
        (post("/api/point", {"preset": 0, "locked": {"no": 1}}), "unknown parameter 'no'"),
        (post(search({"budget": 0}), b"x"), "budget 0: give an integer from 1"),
        (post("/api/search?asked=[]", b"x"), "a JSON object"),
        (("GET", "/api/ping", {"headers": {"Origin": "http://elsewhere"}}), "its own page only"),
        (
            ("GET", "/api/ping", {"headers": {"Host": "elsewhere:80"}}),
            "start it with --allow elsewhere",
        ),
        (("GET", "/api/ping", {"headers": {"Origin": ""}}), "its own page only"),
        (("DELETE", "/api/point", {}), "DELETE is not answered here; send POST"),
        (("PUT", "/api/sound/1", {}), "PUT is not answered here; send GET or HEAD"),
        (wrapped(search(), "Content-Type", "multipart/form-data; boundary=x"), BY_CURL),
        (wrapped(search(), "Content-Encoding", "gzip"), f"the body is gzip; {BY_CURL}"),
        (wrapped("/api/point", "Content-Encoding", "gzip"), BY_CURL),
        (post("/api/point", b'{"preset": 1, "preset": 2}'), "'preset' is there twice"),
        (
            post("/api/point", b'{"preset": 1, "to": {"pc1": 1, "pc1": 2}}'),
            "'pc1' is there twice",
        ),
        (post("/api/point", {"preset": 0, "to": [["pc1", 1]]}), "give a JSON object with one for"),
        (post("/api/point", {"preset": 0, "lock": {}}), "unknown key of a question 'lock'; known"),
        (post("/api/point", {"preset": 0, "random": 1}), "not preset and random"),
        (post("/api/point", {"preset": 0, "sound": "no"}), "sound is str 'no'; give true or"),
        (post("/api/file", {"values": [], "formats": "json"}), "unknown key of a question"),
        (post("/api/bank", {"presets": [5]}), "a preset is int 5; give a JSON object"),
        (post("/api/bank", {"presets": [{"name": 5}]}), "name is int 5; give a text"),
        (post(search({"name": None}), b"x"), "name is None; give a text"),
        (post(search() + "&asked={}", b"x"), "send one, 'asked', a JSON object"),
        (post("/api/search?budget=5", b"x"), "queries budget: send one, 'asked'"),
    ],
    ids=range(68),
)
def test_mistakes_get_one_clear_line(live, question, says):
    (status, content, headers), (after, *_) = ask(live, question, ("GET", "/api/ping", {}))
    text = json.loads(content)["error"]
    assert ("Allow" in headers) == (status == 405)
    assert 400 <= status < 500
    assert says in text
    assert text.isprintable()
    assert len(text) <= 300
    assert after == 200


def test_who_may_ask(live):
    """This machine's names at any port, and those that are allowed; never pages of other sites."""

    def get(path="/api/sound/0", **headers):
        return ("GET", path, {"headers": {k.replace("_", "-"): v for k, v in headers.items()}})

    cases = [
        (get(), 200),
        (get(Host="localhost:9000"), 200),
        (get(Host="localhost.:9000"), 200),
        (get(Host="Good.Example."), 200),
        (get(Host="127.0.0.1:9000", Origin="http://127.0.0.1:9000"), 200),
        (get(Host="[::1]:1", Sec_Fetch_Site="same-origin"), 200),
        (get(Host="good.example", Origin="https://good.example"), 200),
        (get(Host="good.example:443", Origin="https://good.example"), 200),
        (get(Host="good.example:80", Origin="https://good.example"), 403),
        (get(Host="good.example", Origin="null"), 403),
        (get(Host="bad.example"), 403),
        (get(Host="localhost.bad.example:80"), 403),
        (get(Host="127.0.0.1:9000", Origin="http://127.0.0.1:9001"), 403),
        (get(Sec_Fetch_Site="cross-site"), 403),
        (get(Sec_Fetch_Site="same-site"), 403),
        (get("/", Sec_Fetch_Site="cross-site"), 200),  # a link to the page
    ]
    for (question, wanted), (status, _, _) in zip(
        cases, ask(live, *(question for question, _ in cases)), strict=True
    ):
        assert status == wanted, question


def test_who_is_refused_by_name_learns_what_to_do(live):
    ((_, content, _),) = ask(live, ("GET", "/", {"headers": {"Host": "studio:8765"}}))
    said = json.loads(content)["error"]
    assert re.fullmatch(
        "this server is not to be reached as 'studio'; start it with --allow studio, or open "
        r"http://127\.0\.0\.1:\d+/",
        said,
    )


def test_a_sound_that_says_it_is_huge_is_refused_before_it_is_read(live):
    wave = bytearray(wav_bytes(np.zeros(100), 8000))
    struct.pack_into("<I", wave, 40, 2**31)  # length of its data
    struct.pack_into("<I", wave, 24, 1)  # one sample a second
    ((status, content, _),) = ask(
        live, ("POST", search({"name": "big.wav"}), {"data": bytes(wave)})
    )
    assert status == 400
    assert "big.wav" in json.loads(content)["error"]


def test_a_small_file_that_unpacks_to_gigabytes_is_refused(live):
    content = io.BytesIO()
    frames = np.zeros((119 * 655_350 // 4, 8), np.int16)
    soundfile.write(content, frames, 655_350, format="FLAC")
    assert len(content.getvalue()) < 2**20
    ((status, said, _),) = ask(
        live, ("POST", search({"name": "big.flac"}), {"data": content.getvalue()})
    )
    assert status == 400
    assert "'big.flac' holds more than" in json.loads(said)["error"]


@pytest.fixture
def held_point():
    """Return an event, those who ask for a point, and what answers them when it is set."""
    go_on, at_work = threading.Event(), []

    def point(asked):
        at_work.append(asked)
        assert go_on.wait(60)
        return {}

    return go_on, at_work, point


def test_of_too_many_questions_of_a_machine_the_last_are_refused_at_once(
    live, monkeypatch, held_point
):
    monkeypatch.setattr(web, "MOST_ASKED", 3)
    go_on, at_work, point = held_point

    async def run():
        site = web.Site(live, "small")
        monkeypatch.setattr(site, "_threads", web.Slots(2, 2))
        monkeypatch.setattr(site.page, "point", point)
        async with TestClient(TestServer(site.app())) as client:

            async def send():
                async with client.post("/api/point", data=b"{}") as response:
                    return response.status, await response.text()

            waiting = [asyncio.create_task(send()) for _ in range(3)]
            while site._threads.asked["127.0.0.1"] < 3:
                await asyncio.sleep(0.01)
            refused, n_at_work = await send(), len(at_work)
            async with client.get("/api/ping") as ping:
                assert ping.status == 200
            go_on.set()
            return refused, n_at_work, await asyncio.gather(*waiting), dict(site._threads.asked)

    refused, n_at_work, answered, left = asyncio.run(run())
    assert refused[0] == 503
    assert "3 questions of yours wait; ask again in a moment" in refused[1]
    assert n_at_work <= 2
    assert answered == [(200, "{}")] * 3
    assert left == {}


def test_a_refused_upload_is_not_kept_until_garbage_is_collected(live):
    class Name(str):
        """What a reference can be had to, unlike the content that goes the same way."""

    left = []

    async def run():
        name = Name("dropped")
        left.append(weakref.ref(name))
        with pytest.raises(InputError, match="is not a readable sound"):
            await in_background(live.files.upload, b"no sound", name)

    gc.collect()
    gc.disable()
    try:
        asyncio.run(run())
        until = time.monotonic() + WAIT
        while left[0]() is not None and time.monotonic() < until:  # the thread is ending
            time.sleep(0.01)
        assert left[0]() is None
    finally:
        gc.enable()


def test_an_answer_that_nobody_waits_for_any_more_is_given_up(caplog):
    go_on = threading.Event()

    def fails():
        assert go_on.wait(60)
        raise ValueError("too late")

    async def run():
        answer = in_background(fails)
        waiting = asyncio.create_task(turn_of(answer))
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        go_on.set()
        await asyncio.sleep(0.1)
        return answer.cancelled()

    assert asyncio.run(run())
    gc.collect()
    assert "never retrieved" not in caplog.text


def test_a_machine_takes_half_of_the_threads_at_most_and_none_when_it_has_gone(
    live, monkeypatch, held_point
):
    go_on, at_work, point = held_point

    async def run():
        site = web.Site(live, "small")
        monkeypatch.setattr(site.page, "point", point)
        async with TestClient(TestServer(site.app())) as client:

            async def send():
                async with client.post("/api/point", data=b"{}") as response:
                    return response.status

            many = [asyncio.create_task(send()) for _ in range(web.THREADS + 2)]
            while len(at_work) < web.THREADS // 2 or site._threads.asked["127.0.0.1"] < len(many):
                await asyncio.sleep(0.01)
            for task in many:
                task.cancel()  # who closes the connection
            await asyncio.gather(*many, return_exceptions=True)
            free = site._threads._all._value
            await asyncio.sleep(0.5)  # until the server knows that they have gone
            go_on.set()
            while site._threads.asked:
                await asyncio.sleep(0.01)
            return free, await send(), len(at_work)

    free, status, n_at_work = asyncio.run(run())
    assert free >= web.THREADS // 2
    assert (status, n_at_work) == (200, web.THREADS // 2 + 1)


def test_morphs_that_wait_take_no_threads_from_others(live, monkeypatch):
    through = [parent(live, number) for number in (0, 3)]

    async def run():
        site = web.Site(live, "small")
        monkeypatch.setattr(site.page, "morph", lambda stops, held: [])
        async with TestClient(TestServer(site.app())) as client:

            async def send(asked):
                async with client.post("/api/point", json=asked) as response:
                    return response.status, await response.json()

            search = live.searching.ask()  # as one that is at work
            many = web.THREADS + 2
            morphs = [asyncio.create_task(send({"through": through})) for _ in range(many)]
            while site._morphs.asked["127.0.0.1"] < many:
                await asyncio.sleep(0.01)
            wrong = await send({"through": None})  # which is told at once
            others = [await send({"preset": 1}) for _ in range(web.THREADS)]
            gone = morphs.pop()
            gone.cancel()
            n_waiting = len(live.searching._queue)
            live.searching.leave(search)
            return wrong, others, n_waiting, await asyncio.gather(*morphs), site._morphs.asked

    wrong, others, n_waiting, morphs, left = asyncio.run(run())
    assert wrong[0] == 400
    assert {status for status, _ in others} == {200}
    assert n_waiting == 2  # the search, and one morph of the machine
    assert [told for _, told in morphs] == [{"path": []}] * (web.THREADS + 1)
    assert not left
    assert not live.searching._queue


def test_a_page_of_another_run_is_told_to_be_loaded_again(live):
    own = web.Site(live, "small").page.identity["hash"]
    asked = [
        ("GET", path, {"headers": {"X-Run": run}} if run is not None else {})
        for path in ("/api/sound/1", "/api/ping")
        for run in (own, "", None, "another")
    ]
    answers = ask(live, *asked)
    assert [status for status, _, _ in answers] == [200, 200, 200, 409, 200, 200, 200, 200]
    assert b"another run is served here now; load the page again" in answers[3][1]


def test_of_too_many_searches_the_last_is_refused_at_once(live, monkeypatch):
    monkeypatch.setattr(web, "MOST_SEARCHES", 2)
    sound = wav_bytes(live.render(live.known(0)).audio, 22050)

    async def run():
        site = web.Site(live, "small")
        async with TestClient(TestServer(site.app())) as client:

            async def send():
                async with client.post(search({"budget": 1}), data=sound) as response:
                    return response.status, await response.text()

            with live.searching:
                waiting = [asyncio.create_task(send()) for _ in range(2)]
                while site._searches < 2:
                    await asyncio.sleep(0.01)
                refused = await send()
            return refused, await asyncio.gather(*waiting), site._searches

    refused, answered, left = asyncio.run(run())
    assert refused[0] == 503
    assert "2 searches wait or are at work; try again in a moment" in refused[1]
    assert [status for status, _ in answered] == [200, 200]
    assert left == 0


def test_slow_uploads_keep_nobody_from_searching(live, monkeypatch):
    async def run():
        site = web.Site(live, "small")
        sound = wav_bytes(live.render(live.known(0)).audio, 22050)
        async with TestClient(TestServer(site.app())) as client:
            go_on = asyncio.Event()

            async def send(content):
                async with client.post(search({"budget": 1}), data=content) as response:
                    return response.status, await response.text()

            async def slowly():
                yield sound[:100]
                await go_on.wait()
                yield sound[100:]

            slow = [asyncio.create_task(send(slowly())) for _ in range(2 * web.UPLOADS)]
            while site.bodies.held < 100 * len(slow):
                await asyncio.sleep(0.01)
            quick = await send(sound)
            monkeypatch.setattr(bodies, "MOST_HELD", len(sound) // 2)
            refused = await send(sound)  # is too large beside none, too
            assert site.bodies.held == 0
            ended = await asyncio.gather(*slow)
            monkeypatch.undo()
            slow = [asyncio.create_task(send(slowly())) for _ in range(2 * web.UPLOADS)]
            while site.bodies.held < 100 * len(slow):
                await asyncio.sleep(0.01)
            monkeypatch.setattr(bodies, "MOST_HELD", len(sound) + 250)
            assert (await send(sound))[0] == 200  # what is longest on its way gives way
            monkeypatch.undo()
            go_on.set()
            answered = await asyncio.gather(*slow)
            assert site.bodies.held == 0
            monkeypatch.setattr(web, "BODY_SECONDS", 0.2)
            go_on.clear()
            return quick, [refused, *ended], answered, await send(slowly())

    quick, refused, answered, late = asyncio.run(run())
    assert quick[0] == 200
    assert [status for status, _ in refused] == [503] * (1 + 2 * web.UPLOADS)
    assert all("too many sounds are on their way; try again" in told for _, told in refused)
    assert [status for status, _ in answered] == [503, 503, 200, 200]
    assert late[0] == 408
    assert "100 bytes have come, too slowly; send 256 KiB or all of it" in late[1]


@pytest.fixture
def opens(monkeypatch):
    """Opens a connection of a machine, of five at most, a second after the one before."""
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(connections, "time", clock)
    monkeypatch.setattr(connections, "FEW", 2)
    watched = connections.Connections()
    watched.most = 5

    def opened(machine, state="idle", *, hurry=False):
        clock.now += 0.1 if hurry else 1
        one = create_autospec(asyncio.Transport, instance=True)
        one.get_extra_info.return_value = (machine, 50_000)
        one.is_closing.side_effect = lambda: one.abort.called
        watched.opened(one)
        if one.is_closing():
            return one
        if state == "body":
            watched.waits(one, 2 * connections.BODY_SECONDS)
        elif state == "answered":
            watched.answers(one)
        return one

    return opened


def closed(*ones):
    return [one.abort.called for one in ones]


def test_of_too_many_connections_one_between_two_requests_is_closed(opens):
    body, first, second = opens("a", "body"), opens("a"), opens("b")
    search, other = opens("a", "answered"), opens("c")
    new = opens("d")
    assert closed(body, first, second, search, other, new) == [0, 1, 0, 0, 0, 0]  # of who has most
    opens("d")
    assert closed(body, second, search, other, new) == [0, 0, 0, 0, 1]


def test_if_all_connections_are_at_work_one_is_closed_of_who_has_the_most(opens):
    slow, last = opens("a", "body"), opens("a", "answered")
    others = [opens("b", "answered"), opens("c", "body"), opens("d", "answered")]
    assert not any(closed(opens("e", "answered"), last, *others))
    assert closed(slow) == [1]
    many = opens("e", "answered")  # which has the most then, all being answered
    assert closed(many, last, *others) == [1, 0, 0, 0, 0]


def test_bodies_of_many_machines_that_never_come_keep_nobody_out(opens):
    bodies = [opens(machine, "body") for machine in "abcde"]
    assert closed(opens("f"), *bodies) == [0, 1, 0, 0, 0, 0]


def test_bodies_of_one_machine_that_never_come_keep_nobody_out(opens):
    slow = [opens("slow", "body") for _ in range(4)]
    page = opens("page")
    news = [opens(machine) for machine in "abc"]
    assert closed(*slow, page, *news) == [1, 1, 0, 0, 1, 0, 0, 0]  # then only a few are left
    assert closed(opens("slow", "body"), *slow[2:], *news) == [0, 1, 0, 0, 0, 0]


def test_a_request_whose_head_is_on_its_way_is_not_cut_off_for_another(opens):
    busy = [opens("busy", "answered") for _ in range(3)]
    page, first = opens("page", "answered"), opens("first", hurry=True)
    second = opens("second", hurry=True)
    assert closed(page, first, second, *busy) == [0, 0, 0, 0, 0, 1]


def test_if_nobody_has_many_an_answer_at_work_is_not_cut_off_for_another(opens):
    busy = [opens(machine, "answered") for machine in "aabbc"]
    assert closed(opens("d"), *busy) == [1] + [0] * 5


def test_of_ones_own_connections_a_body_on_its_way_goes_last(opens):
    body, idle, *busy = (
        opens("a", state) for state in ("body", "idle", "answered", "answered", "idle")
    )
    assert closed(opens("a"), body, idle, *busy) == [0, 0, 1, 0, 0, 0]


def test_machines_that_have_many_connections_keep_nobody_else_out(opens):
    busy = [opens("busy", "answered") for _ in range(3)]
    page, upload = opens("page"), opens("upload", "body")
    for _ in range(3):
        assert closed(opens("busy")) == [1]  # which has more than a few
    assert closed(page, upload, *busy) == [0] * 5
    again = opens("page", "answered")
    assert closed(page, again, upload, *busy) == [1] + [0] * 5  # its own, between two requests
    third = opens("third", "answered")
    assert closed(again, upload, third, *busy) == [0, 0, 0, 0, 0, 1]


def test_a_connection_that_is_one_too_many_is_closed_without_a_word_in_the_log(caplog):
    async def run():
        watched = connections.Connections()
        watched.most = 0
        loop = asyncio.get_running_loop()
        runner = web.web.AppRunner(web.web.Application())
        await runner.setup()
        server = await loop.create_server(watched.watch(runner.server), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        with suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
        server.close()
        await runner.cleanup()
        return len(watched)

    assert asyncio.run(run()) == 0
    gc.collect()
    assert caplog.text == ""


def test_the_news_of_a_search_end_for_clients_that_know_no_chunks(live):
    note, rate = live.posterior.run.note, live.posterior.run.features.sample_rate
    sound = wav_bytes(live.posterior.synth.render(live.known(0), note, rate), rate)

    async def run():
        async with TestServer(web.Site(live, "small").app()) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            head = f"POST {search({'budget': 8})} HTTP/1.0\r\nHost: localhost\r\n"
            head += f"Connection: keep-alive\r\nContent-Length: {len(sound)}\r\n\r\n"
            writer.write(head.encode() + sound)
            head = await reader.readuntil(b"\r\n\r\n")
            last = None
            while line := await asyncio.wait_for(reader.readline(), WAIT):
                last = json.loads(line), time.monotonic()
            ended = time.monotonic()
            writer.close()
            return head, last, ended

    head, (told, at), ended = asyncio.run(run())
    assert b"200 OK" in head
    assert "error" not in told
    assert ended - at < connections.WAIT_SECONDS / 2


def test_connections_that_wait_too_long_or_are_too_many_are_closed(live, monkeypatch):
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(connections, "time", clock)

    async def run():
        site = web.Site(live, "small")
        site.connections.most = 8
        runner = web.web.AppRunner(site.app())
        await runner.setup()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            site.connections.watch(runner.server), "127.0.0.1", 0, backlog=8
        )
        port = server.sockets[0].getsockname()[1]
        late = loop.create_task(site.connections.close_late_ones())
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
        idle[-1][1].write(b"GET / HTTP/1.1\r\n")  # a head that never ends

        async def ask():
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET /api/ping HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
            line = await asyncio.wait_for(reader.readline(), WAIT)
            writer.close()
            return line

        first = await ask()
        n_open = len(site.connections)
        clock.now += connections.WAIT_SECONDS + 1
        ends = [asyncio.wait_for(reader.read(), WAIT) for reader, _ in idle]
        closed = await asyncio.gather(*ends, return_exceptions=True)
        second = await ask()
        for _, writer in idle:
            writer.close()
        late.cancel()
        server.close()
        await runner.cleanup()
        return first, n_open, closed, second

    first, n_open, closed, second = asyncio.run(run())
    assert first == second == b"HTTP/1.1 200 OK\r\n"
    assert n_open <= 8
    assert not any(isinstance(end, TimeoutError) for end in closed)


class Line(asyncio.Transport):
    """A connection whose client has not taken all that it was sent."""

    unsent, closed = 9000, False

    def get_write_buffer_size(self):
        return self.unsent

    def abort(self):
        self.closed = True


def test_a_client_on_a_slow_line_gets_the_whole_answer(monkeypatch):
    """As long as it goes on taking what it is sent; one that has fallen asleep does not."""
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(connections, "time", clock)
    watched = connections.Connections()
    slow = Line()
    watched.waits(slow, connections.WAIT_SECONDS)
    for unsent, closed in (
        (9000, False),
        (8000, False),
        (9500, False),
        (7000, False),
        (7000, True),
    ):
        if unsent > slow.unsent:
            watched.answers(slow)  # another question, with a longer answer
            watched.waits(slow, connections.WAIT_SECONDS)
        slow.unsent = unsent
        clock.now += connections.WAIT_SECONDS + 1
        watched.close_late()
        assert slow.closed == closed
    assert not len(watched)


@pytest.mark.parametrize("browser", [" ", 'firefox "%s'])
def test_a_browser_that_is_no_command_is_none(browser):
    script = "from pyrosynth.live.server import _opened; print(_opened('http://localhost'))"
    done = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, "BROWSER": browser},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout == "False\n", done.stderr


def test_a_long_path_is_not_looked_up_part_by_part(live):
    """As many parts as fit into a line would stop everything for seconds."""

    async def run(path):
        asked = []
        app = web.Site(live, "small").app()
        for resource in app.router.resources():
            resource.resolve = partial(match, asked)
        found = await app.router.resolve(make_mocked_request("GET", path))
        return found.http_exception.status, asked

    async def match(asked, request):
        asked.append(request.path)
        return None, set()

    assert asyncio.run(run("/api/ping/a")) == (404, ["/api/ping/a"] * 2)
    assert asyncio.run(run("/api/ping" + "/a" * 2**15)) == (404, ["/no such path"])


POINT = b"POST /api/point HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = POINT + b"Transfer-Encoding: chunked\r\n"
PING = b"GET /api/ping HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET /..%2f..%2fetc%2fpasswd HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET /%252e%252e/%00 HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET //etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET http://bad.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 403),
        (b"GET /api/ping HTTP/1.1\r\nHost: [::1\r\n\r\n", 400),
        (b"GET /api/ping HTTP/1.1\r\n\r\n", 400),
        (PING + b"Host: bad.example\r\n\r\n", 400),
        (PING + b"Origin: http://[\r\n\r\n", 400),
        (PING + b"Origin: null\r\n\r\n", 403),
        (PING + b"X: " + b"a" * 2**14 + b"\r\n\r\n", 400),
        (PING + b"X: a\r\n" * 2**15 + b"\r\n", 400),
        (PING + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 200),
        (POINT + b"Content-Length: -1\r\n\r\n{}", 400),
        (CHUNKED + b"Content-Length: 2\r\n\r\n{}", 400),
        (CHUNKED + b'\r\n8\r\n{"preset\r\n5\r\n": 1}\r\n0\r\n\r\n', 200),
        (CHUNKED + b"\r\nzz\r\n{}\r\n0\r\n\r\n", 400),
        (CHUNKED + b"\r\n" + b"f" * 20 + b"\r\n{}", 400),
        (CHUNKED + b"\r\n2\r\n{}\r\n0\r\n" + b"X: a\r\n" * 2**15, 400),
        (POINT + b"Content-Type: multipart/form-data\r\nContent-Length: 4\r\n\r\n--x\r", 400),
        (b"\x16\x03\x01\x00\xc8" + bytes(200), 400),
    ],
    ids=range(21),
)
def test_requests_that_no_browser_sends(live, sent, status):
    """Each gets an answer, with no bytes of a file, and the next client gets his."""

    async def run():
        async with TestClient(TestServer(web.Site(live, "small").app())) as client:
            reader, writer = await asyncio.open_connection(client.host, client.port)
            writer.write(sent)
            with suppress(ConnectionError):
                await writer.drain()
            head = b""
            with suppress(ConnectionError):
                head = await asyncio.wait_for(reader.read(2**12), WAIT)
            writer.transport.abort()
            async with client.get("/api/ping") as after:
                return head, after.status

    head, after = asyncio.run(run())
    assert after == 200
    assert b"root:" not in head
    # Who is still sending when he is refused may see no more than the end of the connection.
    assert head == b"" or int(head.split()[1]) == status
    assert head or len(sent) > 2**16


def test_the_log_has_a_line_a_minute(capfd):
    log = connections.server_log()
    log.filters[0]._last = -connections.LOG_SECONDS
    for _ in range(1000):
        try:
            raise OSError(24, "Too many open files")
        except OSError:
            log.exception("socket.accept() out of system resource")
    error = capfd.readouterr().err
    assert error.count("\n") <= 1
    assert "Traceback" not in error


def test_a_static_site_replaces_nothing_of_others(live, tmp_path, monkeypatch):
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "mine.txt").write_text("keep")
    with pytest.raises(InputError, match="which pyrosynth did not write"):
        write_site(live, "small", folder, presets=2, moved=0, progress=False)
    assert (folder / "mine.txt").read_text() == "keep"
    (folder / "mine.txt").unlink()
    for _ in range(2):  # an empty folder, and one with a site of before
        write_site(live, "small", folder, presets=2, moved=0, progress=False)
        assert (folder / "index.html").is_file()
    # Whoever stands in a folder would lose the ground.
    monkeypatch.chdir(folder / "sounds")
    for name in (".", ".."):
        with pytest.raises(InputError, match="is the folder that this command runs in"):
            write_site(live, "small", name, presets=2, moved=0, progress=False)
    assert (folder / "index.html").is_file()


def test_a_static_site_tells_presets_without_a_sound(live, tmp_path, monkeypatch):
    render, called = live.render, []

    def second_fails(values, *arguments, **options):
        called.append(values)
        if len(called) == 2:
            raise SynthError("the synth crashed")
        return render(values, *arguments, **options)

    monkeypatch.setattr(live, "render", second_fails)
    facts = write_site(live, "small", tmp_path / "site", presets=3, moved=0, progress=False)
    assert facts["presets"] == 2
    ((silent, why),) = facts["failed"].items()
    assert why == "the synth crashed"
    values = live.posterior.bank.values[live.space.index(silent)]
    np.testing.assert_allclose(values, called[1], rtol=1e-6)


def test_who_goes_away_while_a_sound_is_rendered_takes_nothing_along(live):
    async def run():
        server = TestServer(web.Site(live, "small").app())
        async with TestClient(server) as client:
            for seed in range(5):
                question = json.dumps({"values": live.random(seed).values.tolist()})
                _, writer = await asyncio.open_connection(server.host, server.port)
                writer.write(
                    f"POST /api/sound HTTP/1.1\r\nHost: {server.host}:{server.port}\r\n"
                    f"Content-Length: {len(question)}\r\n\r\n{question}".encode()
                )
                await writer.drain()
                await asyncio.sleep(0.01 * seed)
                writer.transport.abort()
            async with client.post(
                "/api/sound", json={"values": live.random(9).values.tolist()}
            ) as response:
                return response.status

    assert asyncio.run(run()) == 200


def test_two_servers_and_ports_in_use_are_one_message_each(live):
    async def run(name, other=live):
        server = TestServer(web.Site(live, "small").app())
        await server.start_server()
        try:
            await serve(other, name, port=server.port, osc_port=0)
        finally:
            await server.close()

    with pytest.raises(InputError, match="^'small' is being served at http://127.* already"):
        asyncio.run(run("small"))
    with pytest.raises(InputError, match=r"^another run \('small'\) is being served at"):
        asyncio.run(run("other"))
    with (
        Live(Posterior.load(other_run())) as other,
        pytest.raises(InputError, match=r"^another run \('small'\) is being served at"),
    ):
        asyncio.run(run("small", other))

    async def blocked():
        taken = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
        async with taken:
            await serve(live, "small", port=taken.sockets[0].getsockname()[1], osc_port=0)

    with pytest.raises(InputError, match="cannot serve at http://127.*give another --port, or 0"):
        asyncio.run(blocked())


@pytest.mark.parametrize("host", ["x" * 300, "nobody.invalid"])
def test_a_name_that_no_machine_has_is_one_message(live, host):
    with pytest.raises(InputError, match="cannot serve at .*; give another --host$"):
        asyncio.run(serve(live, "small", host=host, port=0, osc_port=0))
    with pytest.raises(InputError, match="cannot listen for OSC"):
        asyncio.run(osc.listen(live, host, 0))


@pytest.mark.parametrize("name", ["localhost:9000", "http://localhost", "*", "..", "[::1]", "", 5])
def test_a_host_is_a_name_or_an_address_alone(live, name):
    for option in ({"host": name}, {"allow": ["studio.local", name]}):
        what, given = next(iter(option)), re.escape(repr(str(name)))
        with pytest.raises(InputError, match=f"{what} {given}: give the name .* its port has an "):
            asyncio.run(serve(live, "small", port=0, osc_port=0, **option))
    with pytest.raises(InputError, match="allow is str 'studio'; give a list of names"):
        asyncio.run(serve(live, "small", port=0, osc_port=0, allow="studio"))


def test_ports_that_are_none_are_refused(live):
    for port in (-1, 70000):
        with pytest.raises(InputError, match="from 0 to 65535"):
            asyncio.run(serve(live, "small", port=port, osc_port=0))
        with pytest.raises(InputError, match="from 0 to 65535"):
            asyncio.run(osc.listen(live, "127.0.0.1", port))


def test_packed_bodies_are_not_unpacked(live):
    """Neither a body that is none, which aiohttp answers by an error, nor one that grows."""

    async def run():
        said = []
        serving = asyncio.create_task(serve(live, "small", port=0, osc_port=0, say=said.append))
        while not any("explorer" in line for line in said):
            await asyncio.sleep(0.05)
        address = said[0].split()[1]
        packed = {"Content-Encoding": "gzip"}
        answers = []
        async with ClientSession(headers=packed) as session:
            for body in (b"no gzip", gzip.compress(b'{"preset": 1}')):
                async with session.post(f"{address}api/point", data=body) as response:
                    answers.append((response.status, len((await response.json())["error"]) < 300))
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving
        return answers

    assert asyncio.run(run()) == [(400, True), (400, True)]


def test_a_place_on_the_plane_is_a_mixture_of_presets_around_it(live):
    page = PageState(live, "small")
    at = page.plane[5].astype(float)
    np.testing.assert_allclose(page.mixture(at), live.space.z[5], atol=0.05)
    assert page.plane.min() >= 0
    assert page.plane.max() <= 1
    ends = {frozenset((quality.less, quality.more)) for quality in QUALITIES}
    (left, right), (bottom, top) = page.plane_ends
    assert {frozenset((left, right)), frozenset((bottom, top))} <= ends
    assert left != bottom


@pytest.mark.parametrize(
    ("rate", "written"),
    [(96000, 48000), (50000, 48000), (44100, 44100), (9000, 8000), (6000, 8000)],
)
def test_sounds_of_a_static_site_have_a_rate_that_mp3_has(rate, written):
    sound = 0.5 * np.sin(2 * np.pi * 500 * np.arange(rate) / rate).astype(np.float32)
    heard, at = soundfile.read(io.BytesIO(mp3(sound, rate)))
    assert (at, len(heard)) == (written, pytest.approx(written, abs=3000))
    spectrum = np.abs(np.fft.rfft(heard[: written // 2]))
    assert 2 * spectrum.argmax() == pytest.approx(500, abs=3)


def test_a_static_site_is_a_whole_folder(live, tmp_path):
    facts = write_site(
        live, "small", tmp_path / "page", presets=5, moved=2, steps=(-1, 1), progress=False
    )
    assert facts["presets"] == 5
    assert facts["moved"] == 2
    page = tmp_path / "page"
    exported = exported_by(page)
    moved = [p for sweep in exported["sweeps"] for points in sweep.values() for p in points]
    sounds = {point["sound"] for point in [*exported["presets"], *moved]}
    assert len(sounds) == facts["sounds"] == len(list((page / "sounds").iterdir()))
    for name in sounds:
        audio, _ = soundfile.read(page / name)
        assert len(audio) >= live.posterior.run.note.n_samples(22050)
    assert {f.name for f in page.iterdir()} >= {"index.html", "explorer.js", "style.css"}
    named = {name for name, c in live.controls.items() if c.kind != "principal"}
    assert named == {control["name"] for control in exported["state"]["controls"]}
    for number, sweep in enumerate(exported["sweeps"]):
        (start,) = [p for p in exported["presets"] if p.get("sweep") == number]
        assert set(sweep) == named
        for points in sweep.values():
            assert {p["sweep"] for p in points} <= {number}
            assert all(p["values"] != start["values"] for p in points)
    # Where a moved preset is on its axis is what its own sound says, not what was asked for.
    point = exported["sweeps"][0]["brightness"][-1]
    heard = live.place_of_sound(
        np.array(point["values"]), live.render(np.array(point["values"])).x
    )
    assert point["positions"]["brightness"] == pytest.approx(
        live.positions(heard.z)["brightness"], abs=0.01
    )
    with pytest.raises(InputError, match="unknown axis 'warmth'"):
        write_site(live, "small", tmp_path / "other", axes=["warmth"], progress=False)


def test_the_sliders_of_a_static_site_end_where_the_farthest_preset_is(
    live, tmp_path, monkeypatch
):
    monkeypatch.setitem(live.controls, "fine", fine_axis(live))
    at = live.axis("fine").position(live.space.z)
    write_site(
        live, "small", tmp_path / "page", presets=20, moved=20, axes=["fine"], steps=(-1, 1),
        progress=False,
    )  # fmt: skip
    exported = exported_by(tmp_path / "page")
    start = at[[live.space.names.index(point["name"]) for point in exported["presets"]]]
    counts = [len(sweep["fine"]) for sweep in exported["sweeps"]]
    assert counts == [1 + (abs(one) <= abs(at).max() - 1) for one in start]
    assert sum(abs(start) > 6) > 1


def exported_by(page):
    """Return the data of a static site."""
    packed = re.search('EXPORTED = "(.*)"', (page / "data.js").read_text())[1]
    return json.loads(zlib.decompress(base64.b64decode(packed)))


def test_a_static_site_shows_sounds_that_were_looked_for(live, tmp_path):
    note, rate = live.posterior.run.note, live.posterior.run.features.sample_rate
    longest = np.argsort(-live.space.descriptors[:, 3])  # as names of descriptors go: length
    for name, number in zip(("known", "other"), longest, strict=False):
        values = live.known(number)
        save_audio(tmp_path / f"{name}.wav", live.render(values).audio, rate)
    done, failed = infer_sounds(
        live.posterior, [tmp_path / "known.wav"], tmp_path / "found", budget=16, draws=2,
        workers=1, progress=False,
    )  # fmt: skip
    assert not failed
    answer = (tmp_path / "known.wav", tmp_path / "found" / "known")
    copied = shutil.copytree(answer[1], tmp_path / "again" / "known #1?")
    write_site(
        live, "small", tmp_path / "page", presets=2, moved=0, axes=["brightness"], steps=[1],
        answers=[answer, (answer[0], copied)], progress=False,
    )  # fmt: skip
    exported = exported_by(tmp_path / "page")
    found, again = exported["found"]
    assert (found["target"], again["target"]) == ("known", "known #1?")
    for sound in (again["sound"], again["heard"]["sound"]):  # whatever the folder is called
        assert quote(sound) == sound
        assert (tmp_path / "page" / sound).is_file()
    assert found["lsd_db"] == pytest.approx(done[0].lsd_db, abs=0.01)
    assert found["closeness"] == closeness(found["lsd_db"])
    assert len(exported["sweeps"][found["sweep"]]["brightness"]) == 1
    heard, _ = soundfile.read(tmp_path / "page" / found["heard"]["sound"])
    assert len(heard) >= note.n_samples(rate)
    facts = write_site(  # one that cannot be shown costs only itself
        live, "small", tmp_path / "page", presets=2, moved=0, axes=["brightness"], steps=[1],
        answers=[(tmp_path / "other.wav", answer[1]), answer, (answer[0], tmp_path / "none")],
        progress=False,
    )  # fmt: skip
    assert facts["answers"] == len(exported_by(tmp_path / "page")["found"]) == 1
    other, none = facts["failed"].items()
    assert other[0] == f"the answer to {tmp_path / 'other.wav'}"
    assert "was inferred from another sound" in other[1]
    assert "'none'" in none[1] or "/none" in none[1]
    # What has no pitch cannot have been brought to another one.
    noise = np.random.default_rng(0).normal(0, 0.1, 2 * rate).astype(np.float32)
    save_audio(tmp_path / "noise.wav", noise, rate)
    facts = json.loads((copied / "preset.json").read_text())
    kept = load_audio(tmp_path / "noise.wav", rate).tobytes()
    facts["made"]["sound_sha256"] = hashlib.sha256(kept).hexdigest()
    (copied / "preset.json").write_text(json.dumps({**facts, "play": {"name": "A2"}}))
    facts = write_site(
        live, "small", tmp_path / "page", presets=1, moved=0,
        answers=[(tmp_path / "noise.wav", copied)], progress=False,
    )  # fmt: skip
    (why,) = facts["failed"].values()
    assert "at another pitch than the sound has now" in why


def test_presets_that_crowd_are_parted_where_they_are():
    crowd = np.full((60, 2), 0.5)
    points = np.concatenate([np.random.default_rng(0).random((500, 2)), crowd])
    moved = plane.parted(points)
    distances = np.linalg.norm(moved[:, None] - moved, axis=2) + np.eye(len(moved))
    assert distances.min() >= 0.99 * plane.APART
    assert np.abs(moved - points).max() < 5 * plane.APART
    alone = np.linalg.norm(points[:, None] - points, axis=2) + np.eye(len(points))
    untouched = alone.min(axis=1) > 6 * plane.APART
    np.testing.assert_array_equal(moved[untouched], points[untouched])


def test_classes_share_the_presets_and_equal_ones_a_class(live):
    assert plane.shared(np.array([3.0, 1, 2, 6, 5, 4]), 3).tolist() == [1, 0, 0, 2, 2, 1]
    assert plane.shared(np.array([1.0, 1, 1, 1, 0, 2]), 3).tolist() == [1, 1, 1, 1, 0, 2]
    told = plane.tags(live.space)
    assert [tag["name"] for tag in told] == [tag.name for tag in DESCRIBED]
    bright = live.space.descriptors[:, 1]
    dark = bright[np.array(told[1]["of"]) == 0]
    assert dark.max() <= np.quantile(bright, 0.34)


@pytest.mark.parametrize("error", [MemoryError(), OSError(28, "No space left on device")])
def test_a_server_without_room_does_not_blame_the_synth(error):
    said = connections.failure(error, "a search")
    assert said.startswith("the server has no room left (")
    assert "synth" not in said
