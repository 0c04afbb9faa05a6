"""The patches of the documentation: each message they hold, and Pure Data without a window."""

import json
import re
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
import soundfile
from lively import small_posterior
from test_osc import WAIT, Client, Served

from pyrosynth.live.engine import Live
from pyrosynth.live.messages import MESSAGES

DOCS = Path(__file__).parents[1] / "docs"
PATCH, MAX_PATCH = DOCS / "pyrosynth.pd", DOCS / "pyrosynth.maxpat"
FINDS_PLAYS_MOVES = {"/load", "/encode", "/random", "/note", "/decode", "/cc", "/midi"}


def from_pure_data():
    """Return the messages of the Pure Data patch, each as its words, and the answers it takes."""
    records = [" ".join(r.split()) for r in re.split(r"(?<!\\);", PATCH.read_text())]
    boxes = [r.split(" ", 4) for r in records if re.match(r"#X (?!connect)", r)]
    texts = [box[4].replace("\\", "") if len(box) > 4 else "" for box in boxes]
    wires = [tuple(map(int, r.split()[2:])) for r in records if r.startswith("#X connect")]

    def above(i):
        return [source for source, _, to, inlet in wires if (to, inlet) == (i, 0)]

    (end,) = (i for i, text in enumerate(texts) if text.startswith("netsend"))
    reached, new = set(), {end}
    while new:
        reached |= new
        new = {source for i in new for source in above(i)} - reached
    found = []
    for i in reached:
        if texts[i].startswith("oscformat "):
            address = "/" + "/".join(texts[i].split()[1:])
            words = [texts[s].removeprefix("list ") for s in above(i) if boxes[s][1] == "msg"]
            found += [[address, *w.removeprefix("bang").split()] for w in words] or [[address]]
    (route,) = (text.split()[1:] for text in texts if text.startswith("route params"))
    return found, {f"/{name}" for name in route}


def from_max():
    """Return the same of the Max patch."""
    patch = json.loads(MAX_PATCH.read_text(encoding="utf-8"))["patcher"]
    boxes = {box["box"]["id"]: box["box"] for box in patch["boxes"]}
    wires = [line["patchline"] for line in patch["lines"]]
    for wire in wires:  # each ends at an outlet and an inlet that there are
        (source, outlet), (to, inlet) = wire["source"], wire["destination"]
        assert outlet < boxes[source]["numoutlets"], boxes[source]
        assert inlet < boxes[to]["numinlets"], boxes[to]
    (end,) = (i for i, box in boxes.items() if box.get("text", "").startswith("udpsend"))
    last = [boxes[w["source"][0]]["text"] for w in wires if w["destination"][0] == end]
    (route,) = (
        box["text"].split()[1:]
        for box in boxes.values()
        if box.get("text", "").startswith("route /params")
    )
    return [text.removeprefix("prepend ").split() for text in last], set(route)


@pytest.mark.parametrize("read", [from_pure_data, from_max])
def test_a_server_understands_every_message_of_a_patch(read, tmp_path):
    sent, answers = read()
    assert {address for address, *_ in sent} >= FINDS_PLAYS_MOVES
    assert answers <= {a for m in MESSAGES.values() for a in m.answers.split()} | {"/error", "/cc"}
    _, posterior = small_posterior()
    with Live(posterior, [tmp_path]) as live:
        tone = live.render(live.known(0)).audio
        soundfile.write(tmp_path / "tone.wav", tone, 22050)
        served = Served(live, str(tmp_path / "out"))
        client = Client(served.server.port)
        # What a person types or plays, where the message itself does not hold it.
        given = {
            "/load": [live.space.names[0]], "/encode": ["tone.wav"], "/note": [60, 100],
            "/cc": [16, 3, 100], "/midi": [0],
        }  # fmt: skip
        try:
            for address, *words in sent:
                if address == "/listen":
                    continue  # the answers are wanted here
                # A fader of these has been scaled to the positions of an axis.
                scaled = address == "/decode"
                holes = [2.0 if scaled and w.startswith("$") else number(w) for w in words]
                told = client.ask(address, *holes, *given.get(address, [])[len(holes) :])
                assert isinstance(told, dict), (address, words, told)
        finally:
            client.socket.close()
            served.close()


def test_the_page_names_messages_that_there_are():
    """Its table is written from the program; here are the messages that its sentences name."""
    page = (DOCS / "live.md").read_text(encoding="utf-8")
    assert "<!-- messages -->" in page
    named = set(re.findall(r"`(/[a-z]+(?:/[a-z]+)*)(?=[ `])", page))
    known = {*MESSAGES, "/error", "/cc"} | {
        a for m in MESSAGES.values() for a in m.answers.split()
    }
    assert {"/decode", "/note", "/noted", "/midi", "/cc"} <= named <= known


def number(word):
    """Return a word of a message as Pure Data and Max send it."""
    if word.startswith("$"):
        return {"$1": 64, "$2": 100}[word]
    try:
        return float(word) if "." in word else int(word)
    except ValueError:
        return word


def test_the_patch_drives_the_server(tmp_path):
    if shutil.which("pd") is None:
        pytest.skip("needs Pure Data; install it, such as by apt install puredata-core")
    _, posterior = small_posterior()
    with Live(posterior, [tmp_path]) as live:
        tone = live.render(live.known(0)).audio
        soundfile.write(tmp_path / "tone.wav", tone, 22050)
        served = Served(live, str(tmp_path / "out"))
        name = live.space.names[0]
        escaped = name.replace(" ", "\\ ")
        sent = (
            f"pyrosynth-server disconnect; pyrosynth-server connect 127.0.0.1 {served.server.port}"
            f"; load symbol {escaped}; brightness 2; load symbol nobody; note 67 80 0.2; midi 1"
            "; encode symbol tone.wav"
        )
        process = subprocess.Popen(
            ["pd", "-nogui", "-noaudio", "-nomidi", "-stderr", "-open", PATCH, "-send", sent],
            stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        timer = threading.Timer(WAIT, process.kill)
        timer.start()
        lines, wanted = [], {"encoded:", "played:"}
        try:
            for line in process.stderr:
                lines.append(line.rstrip())
                wanted -= {line.split(" ")[0]}
                if not wanted:
                    break
        finally:
            timer.cancel()
            process.kill()
            process.wait()
            process.stderr.close()
            served.close()
        params, z = ([r for r in lines if r.startswith(f"{n}: ")] for n in ("params", "z"))
        assert len(params) == len(z) == 3, lines
        loaded, moved = ([float(c) for c in row.split()[1:]] for row in z[:2])
        assert loaded == pytest.approx(live.space.locate(name).tolist(), rel=1e-4)
        expected = live.move(live.space.place(name), {"brightness": 2.0})
        assert moved == pytest.approx(expected.z.tolist(), rel=1e-3, abs=1e-4)
        assert params[0].split()[1] == live.posterior.run.full_space.names[0]
        assert any("unknown" in line and "nobody" in line for line in lines)
        said = {r.split()[0]: r.split()[1:] for r in lines if ": " in r}
        assert said["encoded:"][0] == "tone.wav"
        n, milliseconds = map(float, said["played:"])  # what Pure Data has read of the note
        assert n / 22050 == pytest.approx(live.posterior.run.note.duration_seconds, abs=1e-3)
        assert milliseconds == pytest.approx(1000 * n / 22050, rel=1e-4)
        told = {tuple(map(int, r.split()[1:3])) for r in lines if r.startswith("cc: ")}
        assert told == set(live.midi.parameters.values())
