"""Makers of out-of-domain sounds: they may fail in any way, and the sounds come out the same."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from benchmarks.outside import players
from benchmarks.outside.__main__ import main
from benchmarks.outside.families import FAMILIES, Family, Sound, find, programs
from benchmarks.outside.make import make
from benchmarks.outside.players import PEAK
from pyrosynth.audio.features import FeatureSpec
from pyrosynth.audio.note import Note
from pyrosynth.audio.pitch import pitch
from pyrosynth.errors import DataError, InputError, SynthError
from pyrosynth.synths.amsynth import data_folder
from pyrosynth.synths.apt import VERSIONS

NOTE = Note(hold_seconds=0.5, duration_seconds=0.8)
RATE = 22050

PLAYED = {  # what a program does, in the shell
    "low": "cp {sounds}/200.wav out.wav",
    "high": "cp {sounds}/400.wav out.wav",
    "silent": "cp {sounds}/0.wav out.wav",
    "crashes": "kill -SEGV $$",
    "hangs": "exec sleep 60",
    "complains": "echo out of strings >&2; exit 1",
    "forgets": ":",
}


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A family of sounds that need no package: a name for each thing that may happen."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    tree = tmp_path / "share" / "pyrosynth" / "outside" / "tone"
    tree.mkdir(parents=True)
    (tree / VERSIONS).write_text('{"tone": "1.0", "libtone": "3"}')
    for hz in (0, 200, 400):
        tone = 0.1 * np.sin(np.arange(2 * 44100) * 2 * np.pi * hz / 44100)
        soundfile.write(tmp_path / f"{hz}.wav", tone, 44100)

    def family(*names):
        made = Family(
            ("tone",),
            "tone",
            "MIT",
            True,
            True,
            lambda tree: [Sound(name, f"a {name} one", PLAYED[name]) for name in names],
            lambda tree, recipe, note, work: (["sh", "-c", recipe.format(sounds=tmp_path)], {}),
        )
        monkeypatch.setitem(FAMILIES, "toy", made)
        return made

    return family


def make_toys(out, **options):
    return make(out, NOTE, families=["toy"], workers=2, **options)


def read(folder):
    """The names of the sounds that a folder's index lists, and their audio."""
    with (folder / "index.csv").open() as lines:
        paths = [row["file"] for row in csv.DictReader(lines)]
    audio = np.stack([soundfile.read(folder / path, dtype="float32")[0] for path in paths])
    return [path.removesuffix(".wav") for path in paths], audio


def files(folder):
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def test_a_failing_program_costs_its_own_sound_only(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(players, "TIMEOUT_SECONDS", 1.0)
    toy(*PLAYED)
    made = make_toys(tmp_path / "out")
    assert made["sounds"] == {"toy": 2}
    assert made["left_out"] == {
        "toy/silent.wav": "is silent",
        "toy/crashes.wav": "kills its program (SIGSEGV)",
        "toy/hangs.wav": "does not end within 1 s",
        "toy/complains.wav": "cannot be rendered: out of strings",
        "toy/forgets.wav": "cannot be rendered: its program wrote nothing",
    }
    with (tmp_path / "out" / "index.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert rows[0] == {
        "file": "toy/high.wav",
        "family": "toy",
        "instrument": "a high one",
        "package": "tone",
        "version": "1.0",
        "licence": "MIT",
        "pitch": "60",
    }
    names, audio = read(tmp_path / "out")
    assert names == ["toy/high", "toy/low"]
    assert audio.shape == (2, NOTE.n_samples(RATE))
    np.testing.assert_allclose(np.abs(audio).max(axis=1), PEAK, atol=1e-4)
    crossings = np.sum(np.diff(np.sign(audio)) > 0, axis=1)
    np.testing.assert_allclose(crossings / NOTE.duration_seconds, [400, 200], rtol=0.02)
    info = soundfile.info(tmp_path / "out" / "toy" / "high.wav")
    assert (info.subtype, info.channels, info.samplerate) == ("PCM_16", 1, RATE)


def test_what_is_there_is_kept_and_what_is_missing_is_made(toy, tmp_path):
    out = tmp_path / "out"
    toy("low", "high", "silent")
    assert make_toys(out, each=1)["sounds"] == {"toy": 1}
    low = out / "toy" / "low.wav"
    before = low.stat().st_mtime_ns
    first = make_toys(out)
    assert first == {"sounds": {"toy": 2}, "left_out": {"toy/silent.wav": "is silent"}}
    assert low.stat().st_mtime_ns == before
    content = files(out)
    (out / "toy" / "high.wav").unlink()
    (out / "toy" / "low.wav.part").touch()  # as a kill leaves it behind
    assert make_toys(out) == first
    assert low.stat().st_mtime_ns == before
    assert {k: v for k, v in files(out).items() if k != "toy/low.wav.part"} == content
    make_toys(tmp_path / "again")
    assert files(tmp_path / "again") == content


def test_a_sound_that_its_program_does_not_end_ends_with_the_note(toy, tmp_path, monkeypatch):
    monkeypatch.setitem(FAMILIES, "toy", replace(toy("low"), released=False))
    make_toys(tmp_path / "out")
    (sound,) = read(tmp_path / "out")[1]
    end = int(NOTE.hold_seconds * RATE)
    assert np.abs(sound[end - 500 : end - 250]).max() > 0.9 * PEAK
    assert not sound[end:].any()


def test_folders_are_not_mixed(toy, tmp_path):
    out = tmp_path / "out"
    toy("low")
    make_toys(out)
    with pytest.raises(DataError, match=r'made with note = .*"pitch": 60.*give another folder'):
        make(out, Note(62), families=["toy"])
    with pytest.raises(DataError, match="made with sample_rate = 22050, not 44100"):
        make_toys(out, sample_rate=44100)
    contract = json.loads((out / "outside.json").read_text())
    contract["packages"]["tone"] = "0.9"
    (out / "outside.json").write_text(json.dumps(contract))
    with pytest.raises(DataError, match=r'made with tone = "0\.9", not "1\.0"'):
        make_toys(out)
    (out / "outside.json").write_text("{")
    with pytest.raises(DataError, match="is damaged"):
        make_toys(out)
    with pytest.raises(DataError, match="holds something else"):
        make_toys(tmp_path / "share")


def test_what_cannot_be_made_is_said(toy, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="unknown family of sounds 'dogs'; known: gm, zyn"):
        make(tmp_path / "out", families=["gm", "dogs"])
    for wrong in ({"each": 0}, {"sample_rate": 0}, {"families": []}):
        with pytest.raises(InputError, match="give at least"):
            make(tmp_path / "out", **wrong)
    assert not (tmp_path / "out").exists()
    toy("crashes")
    with pytest.raises(SynthError, match=r"no sound of the family 'toy' .*SIGSEGV.*--families"):
        make_toys(tmp_path / "out")
    (tmp_path / "out" / "toy").rmdir()
    (tmp_path / "out" / "toy").touch()
    with pytest.raises(InputError, match="is a file, where a folder is wanted"):
        make_toys(tmp_path / "out")
    (tmp_path / "share" / "pyrosynth" / "outside" / "tone" / VERSIONS).unlink()
    with pytest.raises(SynthError, match="is damaged; delete it to have it fetched again"):
        make_toys(tmp_path / "new")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "nothing"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SynthError, match="no apt-get"):
        make(tmp_path / "new", families=["speech"])


def test_the_command_says_what_it_made_and_what_it_left_out(toy, tmp_path, capfd):
    toy("low", "silent")
    command = ["--out", str(tmp_path / "out"), "--families", "toy"]
    assert main([*command, "--hold", "0.5", "--duration", "0.8", "--json"]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["sounds"] == {"toy": 1}
    assert "left out toy/silent.wav: is silent" in err
    assert main([*command, "--hold", "0.5", "--duration", "0.8"]) == 0
    assert capfd.readouterr().out == f"{tmp_path / 'out'}: 1 sound: 1 toy\n"


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """Two sounds of every real family, made twice."""
    for family in FAMILIES.values():
        if not (data_folder() / "outside" / family.packages[0]).is_dir():
            pytest.fail(
                "the players of outside sounds are not here; run 'make test' or "
                "'python -m benchmarks.outside --out DIR'"
            )
    folder = tmp_path_factory.mktemp("outside")
    for name, workers in (("one", 1), ("two", 4)):
        made = make(folder / name, NOTE, each=2, workers=workers)
        assert made == {"sounds": dict.fromkeys(FAMILIES, 2), "left_out": {}}
    return folder


@pytest.mark.plugin
def test_the_same_command_makes_the_same_bytes(real):
    assert files(real / "one") == files(real / "two")


@pytest.mark.plugin
def test_real_sounds_have_the_pitch_of_the_note_and_end_after_it(real):
    names, audio = read(real / "one")
    assert len(np.unique(audio, axis=0)) == len(names)
    spec = FeatureSpec(n_fft=2048, hop_length=512)
    frames = pitch(torch.from_numpy(audio), spec)[:, 2:16].nanmedian(dim=1).values
    away = 12 * np.log2(frames.numpy() / 261.63)
    octaves = np.abs(away - 12 * np.round(away / 12))  # organs and basses sound octaves apart
    names = [name for name, far in zip(names, octaves, strict=True) if far < 0.3]
    assert {"gm/000-yamaha-grand-piano", "speech/vowel-ah"} <= set(names)
    assert sum(name.startswith("zyn/") for name in names) == 2
    assert sum(name.startswith("speech/") for name in names) == 2
    level = np.abs(audio)
    assert level[:, : RATE // 10].max(axis=1).min() > 0.02  # they begin with the note
    assert np.median(level[:, -RATE // 10 :].max(axis=1)) < 0.1  # and most end with it


@pytest.mark.plugin
def test_there_are_enough_of_them():
    tree = data_folder() / "outside"
    counts = {n: len(f.sounds(tree / f.packages[0])) for n, f in FAMILIES.items()}
    assert counts == {"gm": 128, "zyn": 52, "drums": 47, "speech": 31}
    for family in FAMILIES.values():
        names = [sound.name for sound in family.sounds(tree / family.packages[0])]
        assert len(set(names)) == len(names)
    found = {row[:2]: row[2] for row in programs(find(tree / "fluidsynth", "*.sf3"))}
    assert found[0, 56] == "Trumpet"
