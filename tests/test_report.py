"""Reports: one file, nothing from elsewhere, and what people named cannot run in them."""

import asyncio
import base64
import hashlib
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile
from browser import Browser, chromium
from small import small_run

from pyrosynth.errors import InputError
from pyrosynth.inference.answers import Match
from pyrosynth.inference.report import candidates, infer_report
from pyrosynth.report import (
    files_beside,
    heading,
    matched_gains,
    player,
    players,
    section,
    table,
    text,
    wav_sources,
    write_report,
)
from pyrosynth.synths.knobs import grouped

LINKS = {"src", "href", "srcset", "poster", "data", "action", "background"}


class Page(HTMLParser):
    """What a page would load, and its tags."""

    def __init__(self, html):
        super().__init__()
        self.links, self.tags = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in LINKS]


def assert_self_contained(path):
    html = path.read_text(encoding="utf-8")
    page = Page(html)
    for link in page.links:  # or of a file beside it
        assert link.startswith("data:") or re.fullmatch(r"(?!/)[\w/%.-]+", link), link
    without_data = re.sub(r"data:[a-z]+/[a-z]+;base64,[A-Za-z0-9+/=]+", "", html)
    assert not re.search(r"https?://|url\(|@import", without_data)
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    policy = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{policy}'" in html  # no other one may run
    assert "default-src 'none'" in html
    assert "prefers-color-scheme: dark" in html
    return page


def match(n=12):
    rng = np.random.default_rng(0)
    source = np.array(["cma"] * 6 + ["model"] * 3 + ["bank"] * 2 + ["posterior"])
    return Match(
        rng.random((n, 3)), rng.random((n, 2, 2)), np.sort(rng.random(n)), source,
        np.array([[6.0, 2.0], [12.0, 1.0]]), rng.random((2, 2)),
    )  # fmt: skip


def test_candidates_show_every_source():
    found = match()
    assert candidates(found).tolist() == [0, 1, 6, 9, 11]
    assert candidates(found, 2).tolist() == [0, 6]
    assert candidates(found, 99).tolist() == list(range(12))


def test_sounds_keep_their_relative_level():
    loud, soft = np.array([2.0, -1.0]), np.array([0.5, 0.0])
    heard = []
    for source in wav_sources([loud, soft], 8000):
        assert source.startswith("data:audio/wav;base64,")
        audio, rate = soundfile.read(io.BytesIO(base64.b64decode(source.partition(",")[2])))
        assert rate == 8000
        heard.append(audio)
    np.testing.assert_allclose(heard[0], [0.98, -0.49], atol=1e-4)
    np.testing.assert_allclose(heard[1], [0.245, 0.0], atol=1e-4)


def test_sounds_are_compared_equally_loud():
    loud, soft, silent = np.full(8, 0.8), np.full(8, 0.2), np.zeros(8)
    np.testing.assert_allclose(matched_gains([loud, soft, silent]), [0.25, 1, 1])
    assert matched_gains([silent]) == [1]


def test_links_lead_to_files_that_are_there(tmp_path):
    (tmp_path / "a table.csv").write_text("x")
    found = files_beside(tmp_path / "r.html", {"a table.csv": "scores", "gone.nc": "draws"})
    (block,) = found["blocks"]
    assert block["rows"] == [[{"href": "a%20table.csv", "text": "a table.csv"}, "scores"]]


@pytest.mark.browser
@pytest.mark.skipif(chromium() is None, reason="there is no Chromium here")
def test_one_switches_between_sounds(tmp_path):
    """In a browser: by the button, then by the space bar, from the same place, equally loud."""
    rate = 8000
    tones = [gain * np.sin(np.arange(60 * rate) * 0.3) for gain in (0.8, 0.2)]
    items = map(player, ("target", "inferred"), ("", ""), wav_sources(tones, rate),
                matched_gains(tones))  # fmt: skip
    listen = section("Listen", players(list(items), switch=True))
    write_report(tmp_path / "r.html", "t", "l", {}, [listen])

    async def use():
        async with Browser() as page:
            await page.go("Page.navigate", url=(tmp_path / "r.html").as_uri())
            state = "[...document.querySelectorAll('audio')].map((a) => !a.paused)"
            await page.press("button")
            await page.true(f"{state}.join() === 'true,false'")
            await page.true("document.querySelector('audio').currentTime > 0.3")
            await page.js("document.activeElement.blur()")
            await page.key(" ", "Space")
            await page.true(f"{state}.join() === 'false,true'")
            volumes = await page.js("[...document.querySelectorAll('audio')].map((a) => a.volume)")
            np.testing.assert_allclose(volumes, [0.25, 1.0])
            assert await page.js("document.querySelectorAll('audio')[1].currentTime") > 0.2
            assert "inferred" in await page.js("document.querySelector('button').textContent")
            assert not page.errors

    asyncio.run(use())


def test_names_are_text(tmp_path):
    evil = '<script>alert(1)</script> "quoted" <img src=http://example.org/x.png>'
    blocks = [text(evil), heading(evil), table((evil,), [[evil]], note=evil, folded=evil)]
    sound = player(evil, evil, wav_sources([np.zeros(4)], 8000)[0])
    blocks += [players([sound]), table(("sound",), [[sound]])]
    write_report(tmp_path / "r.html", evil, evil, {evil: evil}, [section(evil, *blocks)])
    html = (tmp_path / "r.html").read_text()
    page = Page(html)
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    policy = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{policy}'" in html  # no other one may run
    assert "img" not in page.tags
    assert page.tags.count("audio") == 2
    for link in page.links:  # or of a file beside it
        assert link.startswith("data:") or re.fullmatch(r"(?!/)[\w/%.-]+", link), link


def test_unwritable_place(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file, where a folder is wanted"):
        write_report(tmp_path / "file" / "r.html", "t", "l", {}, [])


def test_report_of_one_sound(tmp_path):
    dataset, posterior = small_run(tmp_path)
    row = dataset.rows("test")[0]
    target = dataset.audio([row])[0]
    x = posterior.features(target)
    with posterior.renderer(1, keep_audio=True) as renderer:
        found = posterior.refine(x, renderer, 24)
        chosen = candidates(found)
        audio = renderer.render(found.values[chosen]).audio
    infer_report(
        tmp_path / "report.html", name="a <sound>", posterior=posterior, target=target,
        match=found, audio=audio, draws=posterior.sample(x, 16), lsd=np.arange(16),
        files={"preset.json": "every parameter", "a.bank": "the synth's own"},
        truth=dataset.values([row])[0],
    )  # fmt: skip
    page = assert_self_contained(tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text()
    assert page.tags.count("audio") == 2 + len(chosen)
    assert page.tags.count("button") == 1  # from the target to what was inferred and back
    assert page.tags.count("img") == 3
    assert "a &lt;sound&gt;: inferred preset" in html
    assert "What the sound tells" in html
    assert "A wide bar means" in html
    assert "contraction" in html
    assert f"{found.lsd[0]:.2f} dB" in html
    for name, (part, control) in zip(
        dataset.full_space.names, grouped(dataset.full_space), strict=True
    ):
        assert re.search(f"<td>{part}</td><td>{control}</td><td>[^<]+</td><td>{name}</td>", html)
    infer_report(
        tmp_path / "few.html", name="few", posterior=posterior, target=target, match=found,
        audio=audio, draws=posterior.sample(x, 1), lsd=np.arange(1), files={}, truth=None,
    )  # fmt: skip
    assert "Of 1 draw, their width says nothing" in (tmp_path / "few.html").read_text()
