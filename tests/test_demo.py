"""The demonstration at smoke size: complete, honest about its synth, and not done twice."""

import json
import re

import pytest

from pyrosynth.cli.demo import SMOKE, demo
from pyrosynth.errors import InputError, SynthError
from pyrosynth.evaluation import methods
from pyrosynth.files import MARK
from pyrosynth.synths import amsynth


def state(folder):
    return {
        file.relative_to(folder): file.stat().st_mtime_ns
        for file in folder.rglob("*")
        if file.is_file() and file.name != "report.html"
    }


def test_demo(few_presets, tmp_path, monkeypatch):
    def no_package(dest=None):
        raise SynthError("there is no apt-get here")

    monkeypatch.setattr(amsynth, "find", lambda: None)
    monkeypatch.setattr(amsynth, "install", no_package)
    monkeypatch.setattr(methods, "STEPS", 2)
    lines = []
    facts = demo(tmp_path, sizes=SMOKE, workers=1, say=lines.append)
    assert any("'voice' takes the place of amsynth: there is no apt-get" in line for line in lines)
    assert facts["synth"] == "voice"
    *_, wins, nearest, look, play = lines
    assert look == f"Look and listen: open {tmp_path / 'report.html'}"
    assert play.startswith("To play it and change it: pyrosynth serve ")
    assert re.search(r"infer, 12 renders \d+\.\d\d dB; best of 4 draws \d+\.\d\d dB", wins)
    assert re.search(r"nearest human preset \d+\.\d\d dB[.;] .* on (0|50|100) % of the", nearest)
    html = (tmp_path / "report.html").read_text()
    assert html.count("<audio") == 4
    assert html.count(" data-switch>") == 2  # target and found, one row each
    assert html.count("<img") == 1
    links = re.findall(r'href="([^"]+)"', html)
    assert len(links) == 3
    assert all((tmp_path / link).is_file() for link in links)
    names = {folder.name for folder in (tmp_path / "voice" / "infer").iterdir()}
    assert len(names) == 2
    assert "string-and-flute" in names

    before = state(tmp_path)
    assert demo(tmp_path, sizes=SMOKE, workers=1, say=lines.append)["methods"] == facts["methods"]
    assert state(tmp_path) == before

    answer = tmp_path / "voice" / "infer" / "string-and-flute"
    for name in ("render.wav", "report.html"):
        (answer / name).unlink()
    demo(tmp_path, sizes=SMOKE, workers=1, say=lines.append)
    assert state(tmp_path).keys() == before.keys()
    assert (answer / "report.html").is_file()

    (answer / "render.wav").unlink()  # as if the synth had failed to play the preset once more
    mark = json.loads((answer / MARK).read_text())
    del mark["files"]["render.wav"]
    (answer / MARK).write_text(json.dumps(mark))
    facts = json.loads((answer / "preset.json").read_text())
    (answer / "preset.json").write_text(json.dumps({**facts, "advice": "no render.wav"}))
    demo(tmp_path, sizes=SMOKE, workers=1, say=lines.append)
    assert any(line.endswith("string-and-flute.wav: no render.wav") for line in lines)
    assert (tmp_path / "report.html").read_text().count("<audio") == 2


def test_unknown_synth(tmp_path):
    with pytest.raises(InputError, match="unknown synth of the demonstration 'moog'; known"):
        demo(tmp_path / "out", "moog")
    assert not (tmp_path / "out").exists()
