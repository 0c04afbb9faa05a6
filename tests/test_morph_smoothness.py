"""The benchmark of morphs: its measures by hand, and a small run of it."""

import numpy as np
import pytest
from small import small_run

from benchmarks.morph_smoothness import bend, figure, measure, resampled, roughness, summary
from pyrosynth.audio.timbre import NAMES
from pyrosynth.errors import InputError
from pyrosynth.explore.morphing import METHODS


@pytest.fixture(scope="module")
def posterior(tmp_path_factory):
    return small_run(tmp_path_factory.mktemp("smoothness"))[1]


def test_roughness_and_bend():
    steps = np.linspace(0, 1, 9)[:, None]
    line = np.concatenate([steps, 3 - 2 * steps], axis=1)
    np.testing.assert_allclose(roughness(line), 0, atol=1e-12)
    np.testing.assert_allclose(bend(line), 0, atol=1e-12)
    jump = (steps > 0.5).astype(float)
    np.testing.assert_allclose(roughness(jump), np.sqrt(2 / 7))
    np.testing.assert_allclose(roughness(jump / 2), np.sqrt(2 / 7) / 2)
    np.testing.assert_allclose(bend(steps**2), np.sqrt(np.mean((steps**2 - steps) ** 2)))


def test_methods_of_morphing_are_compared(posterior):
    data = measure(posterior, 2, workers=1, progress=False)
    assert dict(data.sizes) == {"method": 5, "pair": 2, "feature": len(NAMES)}
    np.testing.assert_array_equal(data["change"].sel({"method": "knobs"}), 0)
    mean = data["roughness"].mean("pair")
    wanted = mean.sel({"method": "sound"}) / mean.sel({"method": "knobs"}) - 1
    np.testing.assert_allclose(data["change"].sel({"method": "sound"}), wanted.fillna(0))
    facts = summary(data)
    assert set(facts) == {"pairs", "steps", "features", *METHODS} - {"knobs"}
    low, high = facts["sound"]["roughness_change_95"]
    assert low - 1e-9 <= facts["sound"]["roughness_change"] <= high + 1e-9
    assert low < high
    # Resampling two pairs gives each pair alone, or both.
    drawn = resampled(data, "sound")
    alone = (
        data["roughness"].sel({"method": "sound"}) / data["roughness"].sel({"method": "knobs"}) - 1
    )
    for change in (*alone.fillna(0).values, data["change"].sel({"method": "sound"}).values):
        assert np.isclose(drawn, change).all(axis=1).any()
    assert len(figure(data).axes) == 4
    with pytest.raises(InputError, match="pairs of"):
        measure(posterior, 10**6)
