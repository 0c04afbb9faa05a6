"""The demonstration's own sound."""

import numpy as np

from pyrosynth.cli.demo import plucked_string, string_and_flute


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
