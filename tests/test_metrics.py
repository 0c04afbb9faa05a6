import math

import librosa
import numpy as np
import pytest
import torch

from pyrosynth.audio.features import FeatureSpec, loudest, match_loudness
from pyrosynth.audio.metrics import (
    compare_audio,
    log_distance,
    log_magnitude,
    mel_mse,
    mfcc_distance,
    mse_n,
    spectral_convergence,
)
from pyrosynth.errors import InputError

ALL = (log_distance, log_magnitude, mel_mse, mfcc_distance, mse_n, spectral_convergence)


@pytest.fixture
def mels():
    rng = np.random.default_rng(0)
    return 10 ** rng.uniform(-6, 2, (2, 5, 8, 6))


def test_log_distance_is_the_formula(mels):
    a, b = mels
    x, y = np.log(a + 1e-3), np.log(b + 1e-3)
    for i in range(5):
        total = 0.0
        for p, q in zip(a[i].ravel(), b[i].ravel(), strict=True):
            total += (10 * math.log10((p + 1e-3) / (q + 1e-3))) ** 2
        assert log_distance(x, y)[i] == pytest.approx(math.sqrt(total / a[i].size), rel=1e-12)
    assert log_distance(x[0], x[0] + np.log(10)) == pytest.approx(10.0)


def test_one_target_against_many(mels):
    a, b = np.log(mels)
    many = log_distance(a[:, None], b[None])
    assert many.shape == (5, 5)
    assert many[1, 3] == log_distance(a[1], b[3])
    assert spectral_convergence(a[0], b)[2] == spectral_convergence(a[0], b[2])


def test_spectral_convergence_is_the_formula(mels):
    a, b = mels
    expected = math.sqrt(((a[0] - b[0]) ** 2).sum()) / math.sqrt((a[0] ** 2).sum())
    assert spectral_convergence(a, b)[0] == pytest.approx(expected, rel=1e-12)
    assert spectral_convergence(a[0], 0 * a[0]) == 1
    assert spectral_convergence(0 * a[0], a[0]) == np.inf
    assert spectral_convergence(0 * a[0], 0 * a[0]) == 0


def test_mse_n_is_the_formula():
    p = np.array([[0.0, 0.5, 1.0], [0.2, 0.2, 0.2]])
    q = np.array([[0.5, 0.5, 0.0], [0.2, 0.2, 0.2]])
    np.testing.assert_allclose(mse_n(p, q), [1.25 / 1.25, 0.0])


def test_mel_mse_is_the_formula(mels):
    a, b = mels
    total = sum((p - q) ** 2 for p, q in zip(a[2].ravel(), b[2].ravel(), strict=True))
    assert mel_mse(a, b)[2] == pytest.approx(total / a[2].size, rel=1e-12)


def test_log_magnitude_is_the_formula(mels):
    a, b = mels
    a[1, 0, 0] = 0.0  # the offset makes it finite
    error = size = 0.0
    for p, q in zip(a[1].ravel(), b[1].ravel(), strict=True):
        error += abs(math.log(p + 1e-9) - math.log(q + 1e-9))
        size += abs(math.log(p + 1e-9))
    assert log_magnitude(a, b)[1] == pytest.approx(error / size, rel=1e-12)
    silence = 0 * a[0]
    assert log_magnitude(silence, silence) == 0
    assert log_magnitude(silence, silence + 1.0 - 1e-9) == pytest.approx(1)


def test_mfcc_distance_is_that_of_librosa(mels):
    a, b = np.log(mels[:, 0] + 1e-3)
    coefficients = [librosa.feature.mfcc(S=10 / np.log(10) * x, n_mfcc=13) for x in (a, b)]
    assert len(coefficients[0]) == 8  # no more than there are bands
    expected = np.abs(coefficients[0] - coefficients[1]).mean()
    assert mfcc_distance(a, b) == pytest.approx(expected, rel=1e-9)
    flat = np.zeros((64, 3))
    # Ten dB more everywhere: the first coefficient differs by 10 sqrt(64), the others do not.
    assert mfcc_distance(flat, flat + np.log(10)) == pytest.approx(80 / 13)


@pytest.mark.parametrize("metric", ALL)
def test_tensors_in_tensors_out(metric, mels, device):
    a, b = mels.astype(np.float32)
    a[0], b[1] = 0, 0
    expected = metric(a, b)
    found = metric(*(torch.from_numpy(m).to(device) for m in (a, b)))
    assert isinstance(expected, np.ndarray)
    assert found.dtype == torch.float64
    assert found.device.type == device.partition(":")[0]
    np.testing.assert_allclose(found.cpu().numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("metric", ALL)
def test_equal_ones_have_no_distance(metric, mels):
    assert (metric(mels[0], mels[0]) == 0).all()
    assert (metric(0 * mels[0], 0 * mels[0]) == 0).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: log_distance(x, x[:, :3]), r"shapes are \(8, 9\) and \(8, 3\); give"),
        (lambda x: log_distance(x[0], x[0]), r"shapes are \(9,\) and \(9,\)"),
        (lambda x: mfcc_distance(torch.ones(2, 8, 9), torch.ones(3, 8, 9)), "shapes are"),
        (lambda x: log_distance(torch.ones(8, 9), x), "the other is ndarray .*; give two tensors"),
        (lambda x: mse_n(x, x[0, :3]), r"give \(..., n_params\) twice"),
        (lambda x: compare_audio("a", x, FeatureSpec()), "sounds that are no numbers"),
        (
            lambda x: compare_audio(x, np.int16(x), FeatureSpec()),
            "sounds are torch.int16 of shape",
        ),
        (lambda x: compare_audio(x, x, 22050), "spec is int 22050; give a FeatureSpec"),
        (lambda x: loudest(x[0], FeatureSpec()), r"features of shape \(9,\)"),
        (lambda x: match_loudness("x", 1.0, FeatureSpec()), "audio that are no numbers"),
        (lambda x: match_loudness(x, 1.0, FeatureSpec()), r"audio has shape \(8, 9\)"),
    ],
)
def test_what_cannot_be_compared_is_one_line(call, message):
    with pytest.raises(InputError, match=message):
        call(np.ones((8, 9)))
