"""The example sound, and the words for distances."""

import numpy as np
import pytest

from pyrosynth.audio.closeness import FULL, OUT_OF_REACH, closeness, short_advice, weighed
from pyrosynth.audio.example import plucked_string, save_example, string_and_flute
from pyrosynth.audio.features import FeatureSpec
from pyrosynth.audio.io import load_audio
from pyrosynth.audio.metrics import log_distance
from pyrosynth.errors import InputError


def test_pitch_and_repeatability():
    sound = string_and_flute(69, 1.0, 48000)
    assert sound.shape == (48000, 2)
    assert sound.dtype == np.float32
    assert np.abs(sound).max() == 0.5
    np.testing.assert_array_equal(sound, string_and_flute(69, 1.0, 48000))
    for channel in sound.T:
        spectrum = np.abs(np.fft.rfft(channel))
        assert abs(300 + np.argmax(spectrum[300:600]) - 440) <= 3


def test_a_string_decays():
    string = plucked_string(220.0, 2.0, 48000, np.random.default_rng(0))
    power = np.square(string).reshape(8, -1).mean(axis=1)
    assert (np.diff(power) < 0).all()


def test_the_example_is_a_small_file_that_is_written_once(tmp_path):
    file = save_example(tmp_path / "found")
    assert file.name == "string-and-flute.wav"
    assert file.stat().st_size < 2**20
    assert len(load_audio(file, 22050)) == 4 * 22050
    written = file.stat().st_mtime_ns
    assert save_example(tmp_path / "found") == file
    assert file.stat().st_mtime_ns == written


def test_words_for_distances_follow_each_other():
    words = [closeness(lsd) for lsd in np.arange(0.0, 20.0, 0.5)]
    assert list(dict.fromkeys(words)) == ["twins", "alike", "related", OUT_OF_REACH]
    assert closeness(float("inf")) == OUT_OF_REACH
    for bad in (-1.0, float("nan")):
        with pytest.raises(InputError, match="distance"):
            closeness(bad)
    for bad in (-0.1, 1.1, float("nan")):
        with pytest.raises(InputError, match="share of cells"):
            closeness(1.0, bad)


def test_a_kick_is_not_like_a_hi_hat_because_both_are_short():
    spec, seconds = FeatureSpec(), np.arange(4 * 22050) / 22050
    kick = np.sin(2 * np.pi * 50 * seconds) * np.exp(-seconds / 0.03)
    noise = np.random.default_rng(0).normal(size=len(seconds)) * np.exp(-seconds / 0.01)
    hat = np.diff(noise, prepend=0)
    x = spec(np.stack([kick, hat, 0.9 * kick]).astype(np.float32))
    far, near, share = log_distance(x[1], x[0]), log_distance(x[2], x[0]), spec.audible(x)[0]
    assert share < 0.05
    assert closeness(far) == "alike"  # most of both is silence
    assert closeness(far, share) == OUT_OF_REACH
    assert closeness(near, share) == "twins"
    assert f"{far:.2f} dB weigh as much as {weighed(far, share):.1f}" in short_advice(far, share)
    assert not short_advice(near, share)
    assert weighed(far, FULL) == weighed(far, 1.0) == far  # longer sounds are as far as they are
    assert np.isfinite(weighed(far, 0.0))
