"""DX7 voices in .syx files, and the engine that plays them."""

import sys
from pathlib import Path

import numpy as np
import pytest

from pyrosynth import synths
from pyrosynth.audio.note import Note
from pyrosynth.data.gathering import gather
from pyrosynth.errors import InputError, SynthError
from pyrosynth.synths.dexed import cartridges
from pyrosynth.synths.dx7 import SPACE, read_each_syx, read_syx, write_syx
from pyrosynth.synths.presets import Preset, preset_array
from pyrosynth.synths.rendering import Renderer

NOTE = Note(hold_seconds=0.2, duration_seconds=0.4)


def drawn(n, seed=0):
    """Voices drawn from all settings that a DX7 has."""
    rng = np.random.default_rng(seed)
    levels = rng.integers(0, SPACE.resolution, (n, len(SPACE)))
    return [Preset.from_array(SPACE, row, f"VOICE {i}") for i, row in enumerate(levels)]


@pytest.mark.parametrize(("n", "n_read", "size"), [(1, 1, 163), (32, 32, 4104), (40, 64, 8208)])
def test_voices_come_back_exactly(tmp_path, n, n_read, size):
    voices = drawn(n)
    file = tmp_path / "voices.syx"
    write_syx(file, voices)
    assert file.stat().st_size == size
    back = read_syx(file)
    assert len(back) == n_read
    np.testing.assert_array_equal(
        preset_array(back[:n], SPACE), preset_array(voices, SPACE), strict=True
    )
    assert [voice.name for voice in back[:n]] == [voice.name for voice in voices]
    assert all(
        voice.values == Preset.from_array(SPACE, SPACE.defaults).values for voice in back[n:]
    )
    for message in file.read_bytes().split(b"\xf7")[:-1]:
        assert sum(message[6:]) % 128 == 0  # data and checksum


def test_bare_voices_and_several_messages(tmp_path):
    voices = drawn(32)
    write_syx(tmp_path / "bank.syx", voices)
    write_syx(tmp_path / "voice.syx", voices[:1])
    bank, voice = ((tmp_path / f"{name}.syx").read_bytes() for name in ("bank", "voice"))
    other = b"\xf0\x43\x00\x05\x00\x31" + bytes(50) + b"\xf7"  # Yamaha's, but no voice
    for content, n in (
        (bank[6:-2], 32),
        (bank[6 : 6 + 3 * 128], 3),
        (voice[6:-2], 1),
        (voice[6:-2] + b"\x3f", 1),
        (voice + other + bank, 33),
        (bank.replace(bank[-2:], b"\x00\xf7"), 32),  # a wrong checksum
    ):
        (tmp_path / "some.syx").write_bytes(content)
        back = read_syx(tmp_path / "some.syx")
        assert len(back) == n
        assert back[0].values == voices[0].values


def test_a_message_that_is_bad_costs_only_itself(tmp_path, monkeypatch, caplog):
    write_syx(tmp_path / "one.syx", drawn(1))
    voice = (tmp_path / "one.syx").read_bytes()
    heard = b"\xfe" + voice[:80] + b"\xf8\xfe" + voice[80:]  # as a sequencer's clock runs along
    file = tmp_path / "capture.syx"
    file.write_bytes(heard + voice[:81] + b"\xf0\x41\x10\xf7" + voice)
    good, cut, other, last = read_each_syx(file)
    assert good.values == last.values == drawn(1)[0].values
    assert str(cut) == f"'{file}' is cut off: 75 of 155 bytes of voices; copy it again"
    assert "another instrument (manufacturer 0x41" in str(other)
    with pytest.raises(InputError, match="cut off"):
        read_syx(file)
    gathered = gather(synths.load_synth("dexed"), [file], strict=False, workers=1, progress=False)
    assert gathered.failed == [str(cut), str(other)]
    (tmp_path / "from a Mac").mkdir()
    (tmp_path / "from a Mac" / "one.syx").write_bytes(voice)
    (tmp_path / "from a Mac" / "._one.syx").write_bytes(bytes(4096))
    gathered = gather(
        synths.load_synth("dexed"), [tmp_path / "from a Mac"], workers=1, progress=False
    )
    assert [Path(source).name for source in gathered.sources] == ["one.syx"]
    assert len(gathered.presets) == 1  # the same one twice
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    cartridges().mkdir(parents=True)
    file.rename(cartridges() / "capture.syx")
    assert len(synths.load_synth("dexed").presets()) == 2
    assert [record.getMessage()[:10] for record in caplog.records] == ["left out: "] * 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no voice of a DX7"),
        (b"<html>", "no voice of a DX7"),
        (b"\xf0\x41\x10\x16\x12" + bytes(20) + b"\xf7", "another instrument .manufacturer 0x41"),
        (b"\xf0\x43\x00\x04\x20\x00" + bytes(4096) + b"\x00\xf7", "no voice of a DX7"),
        (b"\xf0\x43\x00\x09\x20\x00" + bytes(1000), "cut off: 1000 of 4096 bytes"),
        (b"\xf0", "another instrument .manufacturer none"),
    ],
)
def test_what_is_no_voice_is_one_clear_line(tmp_path, content, message):
    file = tmp_path / "other.syx"
    file.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_syx(file)


def test_numbers_out_of_range_are_brought_into_it(tmp_path):
    (tmp_path / "wild.syx").write_bytes(b"\xf0\x43\x00\x00\x01\x1b" + b"\x7f" * 155 + b"\x00\xf7")
    (voice,) = read_syx(tmp_path / "wild.syx")
    np.testing.assert_array_equal(voice.array(SPACE), SPACE.maximum)
    with pytest.raises(InputError, match="no presets"):
        write_syx(tmp_path / "none.syx", [])


def test_dexed_plays_in_workers_whatever_was_played_before():
    dexed = synths.load_synth("dexed")
    assert len(dexed.param_space) == 145
    values = preset_array(drawn(6), dexed.param_space)
    values[0] = dexed.param_space.defaults
    with Renderer(dexed, NOTE, 22050, workers=1) as renderer:
        sounds = renderer.render(values)
        backwards = renderer.render(values[::-1])
    assert not sounds.failed.any()
    np.testing.assert_array_equal(sounds.audio, backwards.audio[::-1])
    assert sounds.audio.shape == (6, NOTE.n_samples(22050))
    assert 0.1 < np.abs(sounds.audio[0]).max() < 1.0
    peaks = np.abs(np.fft.rfft(sounds.audio[0][: int(0.2 * 22050)]))
    assert peaks.argmax() / 0.2 == pytest.approx(261.6, abs=5)
    with pytest.raises(InputError, match="note is int 60; give a Note"):
        dexed.render(values[0], 60, 22050)
    assert "dexed" not in sys.modules


def test_cartridges_of_the_user_are_found(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    cartridges().mkdir(parents=True)
    (cartridges() / "._a.syx").write_bytes(bytes(4096))  # what a Mac keeps beside a file
    for name in ("a.syx", "ROM1A.SYX"):
        write_syx(cartridges() / name, drawn(1))
    assert len(synths.load_synth("dexed").presets()) == 2
    (cartridges() / "cut.syx").write_bytes((cartridges() / "a.syx").read_bytes()[:-9])
    assert len(synths.load_synth("dexed").presets()) == 2
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("left out: ")
    assert "cut.syx" in line


def test_without_the_package_dexed_says_what_to_install(monkeypatch):
    monkeypatch.setattr("pyrosynth.synths.dexed.PACKAGE", "no-such-package")
    with pytest.raises(SynthError, match=r"pip install 'pyrosynth\[dexed\]'"):
        synths.load_synth("dexed")
