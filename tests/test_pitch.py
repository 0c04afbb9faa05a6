"""YIN against its formula written out, against librosa's, and against pitches known in advance."""

import librosa
import numpy as np
import pytest
import torch

from pyrosynth.audio.features import FeatureSpec
from pyrosynth.audio.pitch import pitch, pitch_error

SPEC = FeatureSpec()
RATE = SPEC.sample_rate


def saw(hz, seconds=1.0, amplitude=0.3):
    """A saw-tooth without aliasing; `hz` may change with time."""
    hz = np.broadcast_to(hz, int(seconds * RATE))
    phase = 2 * np.pi * np.cumsum(hz) / RATE
    harmonics = range(1, int(RATE / 2 / hz.max()) + 1)
    return amplitude * sum(np.sin(k * phase) / k for k in harmonics)


def noise(seconds=1.0):
    return 0.1 * np.random.default_rng(0).standard_normal(int(seconds * RATE))


def batch(*sounds):
    return torch.from_numpy(np.stack(sounds).astype(np.float32))


def naive(frame, low=32.7, high=2033.0, threshold=0.1):
    """Equations 6 and 8 of the paper and its steps 4 and 5, sum by sum."""
    w = len(frame) // 2
    lags = range(1, min(int(np.ceil(RATE / low)), len(frame) - w - 1) + 2)
    d = np.array([0.0] + [np.sum((frame[:w] - frame[lag : lag + w]) ** 2) for lag in lags])
    normal = np.ones(len(d))
    for lag in lags:
        mean = d[1 : lag + 1].sum() / lag
        normal[lag] = d[lag] / mean if mean > 0 else 1.0
    for lag in list(lags)[1:-1]:
        is_minimum = normal[lag] < normal[lag - 1] and normal[lag] <= normal[lag + 1]
        if lag >= int(RATE / high) and is_minimum and normal[lag] < threshold:
            a, b, c = d[lag - 1 : lag + 2]
            bend = a - 2 * b + c
            shift = np.clip((a - c) / (2 * bend), -1, 1) if bend > 0 else 0.0
            return RATE / (lag + shift)
    return np.nan


def test_equals_the_formula():
    glide = np.geomspace(40, 1500, RATE)
    sounds = batch(saw(130.8), saw(glide), saw(261.6) + 0.95 * noise(), noise())
    found = pitch(sounds, SPEC).numpy()
    padded = np.pad(sounds.numpy().astype(np.float64), ((0, 0), (0, SPEC.n_fft)))
    assert found.shape == (4, SPEC.shape(RATE)[1])
    assert 0 < np.isnan(found[2]).sum() < 22  # the threshold decides between frames
    for row, sound in enumerate(padded):
        for i in range(found.shape[1]):
            start = i * SPEC.hop_length
            expected = naive(sound[start : start + SPEC.n_fft])
            assert found[row, i] == pytest.approx(expected, rel=1e-5, nan_ok=True), (row, i)


@pytest.mark.parametrize("hz", [41.2, 65.4, 110.0, 261.63, 440.0, 987.8, 1500.0])
def test_harmonic_sounds(hz):
    # librosa's window is the whole frame with silence after it, hence not quite the same.
    sound = saw(hz).astype(np.float32)
    found = pitch(batch(sound), SPEC)[0].numpy()[:19]  # frames within the sound
    theirs = librosa.yin(
        sound, fmin=32.7, fmax=2093, sr=RATE, frame_length=SPEC.n_fft,
        hop_length=SPEC.hop_length, trough_threshold=0.2, center=False,
    )[:19]  # fmt: skip
    assert np.abs(1200 * np.log2(found / theirs)).max() < 12
    assert np.abs(1200 * np.log2(found / hz)).max() < 8


def test_level_and_offset_do_not_matter():
    sound = saw(196.0)
    found = pitch(batch(sound, 1e-3 * sound, sound + 0.5), SPEC).numpy()
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5)
    np.testing.assert_allclose(found[2, :19], found[0, :19], rtol=1e-5)


def test_no_pitch():
    sounds = batch(np.zeros(RATE), np.full(RATE, 0.25), noise(), saw(20.0))
    assert pitch(sounds, SPEC)[:, :20].isnan().all()


def organ(hz, cycles):
    """The partials 1, 2, 3, 4, 6 and 8 at random phases, of which the highest reaches 10 kHz."""
    phase = 2 * np.pi * hz * np.arange(RATE) / RATE
    levels = {1: 1.0, 2: 0.8, 3: 0.5, 4: 0.6, 6: 0.3, 8: 0.4}
    heard = [(k, level) for k, level in levels.items() if k * hz < 10500]
    return 0.2 * sum(a * np.sin(k * phase + c) for (k, a), c in zip(heard, cycles, strict=False))


def test_a_short_period_between_two_samples_is_not_taken_for_a_longer_one():
    hertz = 440 * 2 ** (np.arange(84, 95.4, 0.1) / 12 - 69 / 12)
    cycles = np.random.default_rng(0).uniform(0, 2 * np.pi, (len(hertz), 6))
    sounds = batch(*(organ(hz, c) for hz, c in zip(hertz, cycles, strict=True)))
    found = pitch(sounds, SPEC)[:, :19].numpy()
    assert np.abs(1200 * np.log2(found / hertz[:, None])).max() < 12


@pytest.mark.parametrize("hz", [2093, 2217.5, 2349.3, 3136, 4000, 5274, 8000])
def test_a_pitch_above_the_range_is_none(hz):
    sine = 0.3 * np.sin(2 * np.pi * hz * np.arange(RATE) / RATE)
    sounds = batch(sine, saw(hz), sine + 0.1 * noise())
    assert pitch(sounds, SPEC)[:, :19].isnan().all()


def test_errors_known_in_advance():
    c4 = saw(261.63)
    half = np.concatenate([c4[: RATE // 2], np.zeros(RATE - RATE // 2)])
    targets = batch(c4, c4, c4, c4, noise(), noise(), half)
    sounds = batch(c4, saw(261.63 * 2 ** (1 / 12)), saw(261.63 / 8), noise(), noise(), c4, c4)
    found = pitch_error(targets, sounds, SPEC).numpy()
    expected = [0, 1, 12, 12, 0, 12, 0]
    np.testing.assert_allclose(found[[0, 2, 3, 4, 5]], np.take(expected, [0, 2, 3, 4, 5]))
    assert found[1] == pytest.approx(1, abs=0.02)
    assert found[6] < 2  # where the target is silent does not count, but the edge does
    other = pitch_error(sounds, targets, SPEC).numpy()
    assert other[6] > 4  # here the rest of the note is missing


def test_frames_without_a_pitch_cost_an_octave():
    frames = 10
    n = frames * SPEC.hop_length
    tone = saw(220.0, seconds=n / RATE + 1)[:n]
    start = 4 * SPEC.hop_length
    broken = np.concatenate([noise()[:start], tone[start:]])
    found = pitch_error(batch(tone), batch(broken), SPEC).item()
    # Frames 0 to 3 begin in noise; the last two of eleven, beyond the end, have no pitch in both.
    assert found == pytest.approx(12 * 4 / 10, abs=0.3)


def test_silence():
    silence, tone = np.zeros(RATE), saw(220.0)
    found = pitch_error(batch(silence, silence, tone), batch(silence, tone, silence), SPEC)
    assert found[:2].tolist() == [0, 0]
    assert found[2] > 11
