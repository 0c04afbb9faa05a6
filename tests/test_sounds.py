"""The example sound, the words for distances, and what functions of sounds refuse."""

import numpy as np
import pytest
import torch

from pyrosynth.audio import background, descriptors, metrics, timbre
from pyrosynth.audio.closeness import FULL, OUT_OF_REACH, closeness, short_advice, weighed
from pyrosynth.audio.example import RATE, plucked_string, save_example, string_and_flute
from pyrosynth.audio.features import FeatureSpec, loudest, match_loudness
from pyrosynth.audio.io import load_audio, wav_bytes
from pyrosynth.audio.metrics import log_distance
from pyrosynth.audio.note import Note
from pyrosynth.audio.pitch import pitch, pitch_error
from pyrosynth.audio.pitch_tracking import levels
from pyrosynth.audio.qualities import qualities
from pyrosynth.audio.tuning import tune
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


SPEC, NOTE = FeatureSpec(), Note(hold_seconds=0.3, duration_seconds=0.5)
SOUND = np.sin(np.arange(11025) * 0.06).astype(np.float32)
SOUNDS = torch.from_numpy(np.stack([SOUND, SOUND]))
X = SPEC(SOUNDS.numpy())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: descriptors.describe([], SPEC),
            r"audio has shape \(0,\); give at least 1 sample",
        ),
        (
            lambda: descriptors.describe_features(X[0], SPEC),
            r"features of sounds have the shape \(6",
        ),
        (lambda: descriptors.describe_features(X[:, :5], SPEC), r"give one of shape \(n, 64, n_f"),
        (lambda: descriptors.describe_features(X, RATE), "spec is int 44100; give a FeatureSpec"),
        (lambda: descriptors.attack_seconds(SOUND, 0), "sample_rate 0: give an integer from 1"),
        (
            lambda: descriptors.SoundSummary(SPEC)(SOUND),
            r"give mono audio of shape \(n, n_samples\)",
        ),
        (lambda: descriptors.SoundSummary(SPEC).split(X[:, 0]), "no summaries of 64 bands"),
        (lambda: qualities(X[0], SPEC, NOTE), r"features of sounds have the shape \(64, 11\)"),
        (lambda: qualities(X, SPEC, 60), "note is int 60; give a Note, such as run.note"),
        (lambda: tune(SOUND, 22050, 60), "note is int 60; give a Note, such as run.note"),
        (lambda: tune(SOUND, 0, NOTE), "sample_rate 0: give an integer from 1"),
        (
            lambda: background.measure_background(SOUND, "22050"),
            "sample_rate '22050': give an int",
        ),
        (lambda: background.only_clicks(SOUND, -1), "sample_rate -1: give an integer from 1"),
        (
            lambda: background.fit_length(SOUND, -1, RATE),
            "n_samples -1: give an integer of at least",
        ),
        (lambda: loudest(X[:, :, :0], SPEC), r"features of shape \(2, 64, 0\); give"),
        (lambda: match_loudness(SOUND, -1, SPEC), "power -1: give a number of at least 0"),
        (lambda: weighed("far"), "distance 'far': give a number of at least 0"),
        (lambda: string_and_flute(60, 0.0), "seconds 0.0: give a number from 0.1 to 60"),
        (lambda: string_and_flute(60, 1.0, 8000), "sample_rate 8000: give an integer from 11025"),
        (
            lambda: wav_bytes(np.zeros((2, 0)), RATE),
            r"audio has shape \(2, 0\); give .* 1 to 1024",
        ),
        (lambda: metrics.compare_audio(None, SOUNDS, SPEC), r"shape \(\); give floats of shape"),
        (
            lambda: metrics.multi_scale_distance(SOUNDS, SOUNDS[:, 1:]),
            r"targets have shape \(2, 11",
        ),
        (lambda: metrics.power_spectrum(SOUND, SPEC), "sounds is ndarray .*; give a tensor"),
        (
            lambda: metrics.loudness(SOUNDS, SPEC),
            r"power has shape \(2, 11025\); give \(n, 1025, n_",
        ),
        (
            lambda: pitch(SOUNDS[0], SPEC),
            r"sounds are torch.float32 of shape \(11025,\); give floats",
        ),
        (
            lambda: pitch_error(SOUNDS, SOUNDS[:, :9000], SPEC),
            r"sounds \(2, 9000\); give \(n, n_samp",
        ),
        (lambda: timbre.Timbre(SPEC, 60), "note is int 60; give a Note"),
        (
            lambda: timbre.Timbre(SPEC, NOTE)(SOUNDS[:, :99]),
            r"\(2, 99\); give at least 220 samples",
        ),
        (lambda: levels([]), r"audio has shape \(0,\); give at least 1 sample"),
    ],
)
def test_what_is_no_batch_rate_or_note_is_one_line(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_any_rate_above_zero_can_be_cut():
    """At 50 Hz a hundredth of a second has no sample to fade over."""
    assert background.fit_length(SOUND, 100, 50).shape == (100,)
    assert background.measure_background(SOUND[:1] + 1, 1).onset == 0
