import math

import numpy as np
import pytest

from pyrosynth.features import FeatureSpec
from pyrosynth.metrics import (
    log_distance,
    lsd,
    mse_n,
    spectral_convergence,
)


@pytest.fixture
def mels():
    rng = np.random.default_rng(0)
    return 10 ** rng.uniform(-6, 2, (2, 5, 8, 6))


def test_lsd_is_the_formula(mels):
    a, b = mels
    for i in range(5):
        total = 0.0
        for p, q in zip(a[i].ravel(), b[i].ravel(), strict=True):
            total += (10 * math.log10((p + 1e-3) / (q + 1e-3))) ** 2
        assert lsd(a, b)[i] == pytest.approx(math.sqrt(total / a[i].size), rel=1e-12)
    assert lsd(a[0], 10 * a[0], floor=0) == pytest.approx(10.0)
    assert lsd(a[0], a[0]) == 0


def test_lsd_of_features_is_that_of_the_power(mels):
    rng = np.random.default_rng(1)
    spec = FeatureSpec()
    a, b = 0.1 * rng.standard_normal((2, 3, 20000)).astype(np.float32)
    direct = lsd(spec.mel(a), spec.mel(b), spec.floor)
    np.testing.assert_allclose(log_distance(spec(a), spec(b)), direct, rtol=1e-5)


def test_one_target_against_many(mels):
    a, b = mels
    many = lsd(a[:, None], b[None])
    assert many.shape == (5, 5)
    assert many[1, 3] == lsd(a[1], b[3])
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
