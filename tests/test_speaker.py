"""Notes that sound on the server's machine."""

import os
import subprocess
import sys

import numpy as np
import pytest

from pyrosynth.errors import InputError
from pyrosynth.live.speaker import LETTING_GO_SECONDS, LEVEL, VOICES, Mixer, Speaker

RATE = 8000
PLAY = """
import time, numpy as np
from pyrosynth.live.speaker import Speaker
speaker = Speaker(22050)
speaker.play(60, np.full(2205, 0.8, np.float32))
end = time.monotonic() + 200
while len(speaker._mixer) and time.monotonic() < end:
    time.sleep(0.01)
speaker.close()
"""


def test_notes_add_up_block_by_block():
    mixer = Mixer(RATE)
    mixer.play(60, np.full(10, 0.4, np.float32))
    first = mixer.block(4)
    mixer.play(64, np.full(3, 0.6, np.float32))
    both, rest = mixer.block(4), mixer.block(4)
    np.testing.assert_allclose(first, LEVEL * 0.4)
    np.testing.assert_allclose(both, LEVEL * np.array([1.0, 1.0, 1.0, 0.4]))
    np.testing.assert_allclose(rest, LEVEL * np.array([0.4, 0.4, 0.0, 0.0]))
    assert len(mixer) == 0


def test_a_key_that_is_let_go_fades_and_one_struck_again_does_not_double():
    mixer, long = Mixer(RATE), np.full(RATE, 1.0, np.float32)
    mixer.play(60, long)
    mixer.play(64, long)
    mixer.let_go(60)
    fading = mixer.block(int(LETTING_GO_SECONDS * RATE))
    assert fading[0] == pytest.approx(2 * LEVEL)
    assert (np.diff(fading) <= 0).all()
    np.testing.assert_allclose(mixer.block(10), LEVEL)
    mixer.play(64, long)
    mixer.block(int(LETTING_GO_SECONDS * RATE))
    np.testing.assert_allclose(mixer.block(10), LEVEL)


def test_many_notes_are_bounded_in_number_and_in_level():
    mixer = Mixer(RATE)
    for pitch in range(3 * VOICES):
        mixer.play(pitch, np.ones(100, np.float32))
    assert len(mixer) == VOICES
    assert mixer.block(100).max() == 1.0


def test_a_machine_without_sound_is_one_line(tmp_path, monkeypatch):
    quiet = tmp_path / "asound.conf"
    quiet.write_text("pcm.nothing { type empty }\n")
    done = _with_sound(quiet, PLAY)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "InputError: there is no sound output to play on (" in last or "PortAudio" in last
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(InputError, match=r"pip install 'pyrosynth\[play\]'"):
        Speaker(RATE)


def test_a_note_reaches_the_sound_output(tmp_path):
    """The sound output is one of ALSA that writes a file."""
    try:
        import sounddevice  # noqa: F401
    except OSError:
        pytest.skip("needs PortAudio; install it, such as by apt install libportaudio2")
    heard, config = tmp_path / "heard.raw", tmp_path / "asound.conf"
    config.write_text(
        "pcm.nothing { type null }\n"
        f'pcm.default {{ type file slave.pcm nothing file "{heard}" format raw }}\n'
        "ctl.default { type hw card 0 }\n"
    )
    done = _with_sound(config, PLAY)
    if "no sound output" in done.stderr:
        pytest.skip("needs ALSA")
    assert done.returncode == 0, done.stderr
    samples = np.frombuffer(heard.read_bytes(), np.float32)
    assert (np.abs(samples - LEVEL * 0.8) < 1e-6).sum() == 2205


def _with_sound(config, program):
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=600,
        env={**os.environ, "ALSA_CONFIG_PATH": str(config), "PULSE_SERVER": "none"},
    )  # fmt: skip
