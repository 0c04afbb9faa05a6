"""Numbers of the timbre: known sounds give known numbers."""

import numpy as np
import pytest

from pyrosynth.audio.features import FeatureSpec
from pyrosynth.audio.note import Note
from pyrosynth.audio.timbre import NAMES, Timbre

RATE, PITCH = 22050, 69
TIME = np.arange(2 * RATE) / RATE
TONE = np.sin(2 * np.pi * 440 * TIME)


@pytest.fixture(scope="module")
def number():
    """Return a function that computes one number of a sound."""
    timbre = Timbre(FeatureSpec(), Note(pitch=PITCH))

    def number(sound, name):
        return float(timbre(np.asarray(sound, np.float32)[None])[0, NAMES.index(name)])

    return number


def test_there_are_enough_and_all_are_finite():
    assert len(NAMES) == len(set(NAMES)) >= 40
    rng = np.random.default_rng(0)
    click = np.zeros(RATE)
    click[1000] = 1
    sounds = [np.zeros(RATE), np.full(RATE, 1e-9), click, rng.standard_normal(RATE), TONE[:RATE]]
    numbers = Timbre(FeatureSpec(), Note())(np.array(sounds, np.float32))
    assert numbers.shape == (5, len(NAMES))
    assert np.isfinite(numbers).all()
    assert (numbers[0] == 0).all()


def test_a_sine(number):
    octaves = np.log2(1 + 4.4)
    assert number(TONE, "centroid, median") == pytest.approx(octaves, abs=0.05)
    assert number(TONE, "roll-off, median") == pytest.approx(octaves, abs=0.1)
    assert number(TONE, "tristimulus 1, median") > 0.95
    assert number(TONE, "harmonicity, median") > 0.95
    assert number(TONE, "variation, median") < 1e-3


def test_harmonics(number):
    odd = sum(np.sin(2 * np.pi * 440 * k * TIME) / k for k in (1, 3, 5))
    all_ = sum(np.sin(2 * np.pi * 440 * k * TIME) / k for k in (1, 2, 3, 4, 5))
    assert number(odd, "odd to even, median") > 4 > number(all_, "odd to even, median")
    assert number(all_, "tristimulus 1, median") == pytest.approx(1 / 2.283, abs=0.02)
    assert number(all_, "tristimulus 3, median") == pytest.approx(0.2 / 2.283, abs=0.02)
    noise = np.random.default_rng(0).standard_normal(len(TIME))
    assert number(noise, "flatness, median") > number(all_, "flatness, median")
    assert number(noise, "harmonicity, median") < 0.7 < number(all_, "harmonicity, median")


def test_envelopes(number):
    moving = (1 + 0.5 * np.sin(2 * np.pi * 5 * TIME)) * TONE
    assert number(moving, "modulation rate") == pytest.approx(5, abs=0.6)
    assert number(moving, "modulation depth") > 10 * number(TONE, "modulation depth")
    plucked = np.exp(-4 * TIME) * TONE
    assert number(plucked, "temporal centroid") == pytest.approx(0.25, abs=0.02)
    assert number(TONE, "temporal centroid") == pytest.approx(1, abs=0.02)
    assert number(plucked, "effective duration") == pytest.approx(np.log(2.5) / 4, abs=0.05)
    swelled = np.minimum(TIME, 1) * TONE
    assert number(swelled, "attack") > number(TONE, "attack")
    assert number(0.5 * TONE, "mean level") == pytest.approx(-9.03, abs=0.05)


def test_sounds_do_not_depend_on_each_other():
    rng = np.random.default_rng(0)
    sounds = rng.standard_normal((3, RATE)).astype(np.float32)
    timbre = Timbre(FeatureSpec(), Note())
    np.testing.assert_array_equal(timbre(sounds)[1:2], timbre(sounds[1:2]))
