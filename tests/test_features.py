import numpy as np
import pytest

from pyrosynth.audio.features import FeatureSpec, hz_to_mel, mel_to_hz
from pyrosynth.errors import InputError


def sounds(n, n_samples=88200, seed=0):
    rng = np.random.default_rng(seed)
    t = np.arange(n_samples) / 22050
    hz = rng.uniform(50, 4000, (n, 1))
    tone = np.sin(2 * np.pi * hz * t) * np.exp(-t * rng.uniform(0, 3, (n, 1)))
    noise = 0.01 * rng.standard_normal((n, n_samples))
    return (0.4 * tone + noise).astype(np.float32)


@pytest.mark.parametrize(
    ("spec", "n_samples"),
    [
        (FeatureSpec(), 88200),
        (FeatureSpec(n_mels=128, hop_length=256), 20001),
        (FeatureSpec(sample_rate=44100, n_fft=4096, hop_length=1000, fmin=0, fmax=22050), 50000),
    ],
)
def test_equals_librosa(spec, n_samples):
    import librosa

    audio = sounds(2, n_samples)
    expected = librosa.feature.melspectrogram(
        y=audio,
        sr=spec.sample_rate,
        n_fft=spec.n_fft,
        hop_length=spec.hop_length,
        n_mels=spec.n_mels,
        fmin=spec.fmin,
        fmax=spec.fmax,
    )
    mel = spec.mel(audio)
    assert mel.dtype == np.float32
    assert mel.shape == expected.shape == (2, *spec.shape(n_samples))
    np.testing.assert_allclose(mel, expected, rtol=1e-4, atol=1e-6 * expected.max())
    assert np.abs(spec(audio) - np.log(expected + spec.floor)).max() < 1e-3


def test_filters_equal_librosa():
    import librosa

    spec = FeatureSpec()
    expected = librosa.filters.mel(sr=22050, n_fft=2048, n_mels=64, fmin=30.0, fmax=11000.0)
    np.testing.assert_allclose(spec.filters, expected, rtol=1e-5, atol=1e-9)
    hz = np.array([0.0, 30.0, 999.0, 1000.0, 1001.0, 11000.0])
    np.testing.assert_allclose(hz_to_mel(hz), librosa.hz_to_mel(hz), rtol=1e-12)
    np.testing.assert_allclose(mel_to_hz(hz_to_mel(hz)), hz, rtol=1e-12, atol=1e-9)


def test_default_shape_and_types():
    spec = FeatureSpec()
    assert spec.shape(88200) == (64, 87)
    x = spec(sounds(1)[0])
    assert x.shape == (64, 87)
    assert x.dtype == np.float32
    silence = spec(np.zeros(88200, np.float32))
    np.testing.assert_allclose(silence, np.log(1e-3), rtol=1e-6)


def test_result_does_not_depend_on_the_batch():
    spec = FeatureSpec()
    audio = sounds(7)
    whole = spec(audio)
    alone = np.stack([spec(sound) for sound in audio])
    assert whole.tobytes() == alone.tobytes()
    assert spec(audio[[3, 1]]).tobytes() == whole[[3, 1]].tobytes()
    assert spec(audio.reshape(7, 1, -1)).shape == (7, 1, 64, 87)


def test_power_undoes_the_logarithm():
    spec = FeatureSpec()
    mel = spec.mel(sounds(2))
    np.testing.assert_allclose(spec.power(spec(sounds(2))), mel, rtol=1e-5, atol=1e-8)


def test_json_round_trip():
    spec = FeatureSpec(n_mels=80, floor=1e-4)
    assert FeatureSpec.from_json(spec.to_json()) == spec


def test_bad_numbers_are_refused():
    with pytest.raises(InputError, match="fmin < fmax <= 4000"):
        FeatureSpec(sample_rate=8000)
    with pytest.raises(InputError, match="floor 0"):
        FeatureSpec(floor=0)
    with pytest.raises(InputError, match="give an integer"):
        FeatureSpec(hop_length=0)


def test_what_is_between_the_windows_would_not_be_heard():
    FeatureSpec(n_fft=1024, hop_length=1024, n_mels=16).require_all_heard()
    with pytest.raises(InputError, match="hop_length 4096 is above n_fft 256: .*; give n_fft or"):
        # What was rendered so by an earlier version can still be read.
        FeatureSpec(n_fft=256, hop_length=4096, n_mels=4).require_all_heard()
