"""Audio descriptors: librosa's numbers, and answers known in advance."""

import librosa
import numpy as np
import pytest

from pyrosynth.audio.descriptors import NAMES, UNITS, SoundSummary, attack_seconds, describe
from pyrosynth.audio.features import FeatureSpec

SPEC = FeatureSpec()
RATE = SPEC.sample_rate


def sounds():
    rng = np.random.default_rng(0)
    t = np.arange(RATE) / RATE
    noise = 0.1 * rng.standard_normal(RATE)
    tone = np.sin(2 * np.pi * 440 * t) * np.exp(-3 * t) + 1e-4 * noise  # above float32's own
    saw = 2 * (110 * t % 1) - 1
    return np.stack([tone, noise, 0.3 * saw * np.minimum(1, 4 * t)]).astype(np.float32)


@pytest.mark.parametrize("which", range(3))
def test_equals_librosa(which):
    audio = sounds()[which]
    options = {"n_fft": SPEC.n_fft, "hop_length": SPEC.hop_length}
    magnitude = np.abs(librosa.stft(audio, **options))
    weight = np.sum(magnitude**2, axis=0)
    flatness = librosa.feature.spectral_flatness(S=magnitude)
    expected = {
        "loudness": 20 * np.log10(np.sqrt(np.mean(audio**2))),
        "centroid": librosa.feature.spectral_centroid(y=audio, sr=RATE, **options),
        "bandwidth": librosa.feature.spectral_bandwidth(y=audio, sr=RATE, **options),
        "flatness": 10 * np.log10(flatness),
        "roll-off": librosa.feature.spectral_rolloff(y=audio, sr=RATE, **options),
    }
    found = dict(zip(NAMES, describe(audio, SPEC), strict=True))
    for name, value in expected.items():
        number = np.average(value[0], weights=weight) if np.ndim(value) else value
        assert found[name] == pytest.approx(number, rel=1e-3, abs=1e-3), name


def test_known_sounds():
    tone, noise, saw = describe(sounds(), SPEC)
    found = dict(zip(NAMES, tone, strict=True))
    assert found["centroid"] == pytest.approx(440, rel=0.1)
    flatness = NAMES.index("flatness")
    assert noise[flatness] == pytest.approx(-10 * np.euler_gamma / np.log(10), abs=0.1)  # -2.5
    click = np.zeros(RATE, np.float32)
    click[RATE // 2] = 1.0
    assert describe(click, SPEC)[flatness] == pytest.approx(0, abs=1e-3)
    assert tone[flatness] < -20
    assert dict(zip(NAMES, saw, strict=True))["attack"] == pytest.approx(0.2, abs=0.02)
    assert len(UNITS) == 6


def test_loudness_is_level():
    audio = sounds()
    louder = describe(2 * audio, SPEC) - describe(audio, SPEC)
    np.testing.assert_allclose(louder[:, 0], 20 * np.log10(2), atol=1e-4)
    np.testing.assert_allclose(louder[:, [1, 2, 4, 5]], 0, atol=0.5)


def test_silence_and_shapes():
    silence = describe(np.zeros((2, 3, RATE)), SPEC)
    assert silence.shape == (2, 3, 6)
    assert (silence == [-100, 0, 0, 0, 0, 0]).all()
    burst = np.zeros(RATE, np.float32)
    burst[1000:1200] = 0.5
    assert np.isfinite(describe(burst, SPEC)).all()


def test_attack():
    t = np.arange(RATE) / RATE
    for seconds in (0.05, 0.5):
        ramp = np.minimum(1, t / seconds) * np.sin(2 * np.pi * 1000 * t)
        assert attack_seconds(ramp, RATE) == pytest.approx(0.8 * seconds, abs=0.011)


def test_heard_splits_what_it_joins():
    audio = sounds()
    heard = SoundSummary(SPEC)
    x, numbers = heard.split(heard(audio))
    np.testing.assert_array_equal(x, SPEC(audio))
    np.testing.assert_allclose(numbers, describe(audio, SPEC), rtol=1e-6)
