"""Presets moved along axes: measured by hand, and rendered by the real synth."""

import numpy as np
import pytest
from small import small_dataset
from toys import SMALL

from pyrosynth.audio.descriptors import describe_features
from pyrosynth.data.labeling import descriptor_tags
from pyrosynth.evaluation import tag_figures
from pyrosynth.evaluation.steering import (
    AMOUNTS,
    CENTER,
    DESCRIPTORS,
    DOWN,
    UP,
    Steering,
    render_steering,
    steer,
)
from pyrosynth.inference.posterior import Posterior
from pyrosynth.training.fit import fit


def test_figures_by_hand():
    descriptors = np.zeros((2, 2, len(AMOUNTS), 5))
    descriptors[0, 0, :, 1] = AMOUNTS  # the first preset gets brighter all the way
    descriptors[0, 1, :, 1] = -AMOUNTS  # the second darker
    descriptors[0, :, :, 3] = 3 * AMOUNTS  # and both longer
    found = Steering(
        ("brightness", "warmth"), ["a", "b"], descriptors, np.array([1, 0.5, 1, 2, 1.0])
    )
    assert found.monotony[0] == pytest.approx(0)
    assert found.rising[0] == pytest.approx(0.5)
    assert found.right_way[0] == 0.5
    np.testing.assert_allclose(found.changes[0, :, 1], [4, -4])
    np.testing.assert_allclose(found.change[0], [0, 0, 0, 3, 0], atol=1e-12)
    assert np.isnan(found.monotony[1])
    facts = found.to_json()["tags"]
    assert facts["brightness"]["size_of_change"]["brightness"] == 4
    assert facts["warmth"]["rising"] is None
    descriptors[0, 1] = descriptors[0, 0]
    descriptors[0, 1, 6:, 1] = 1.0  # rises, then stays
    found = Steering(("brightness",), ["a", "b"], descriptors[:1], np.ones(5))
    assert found.rising[0] == pytest.approx((8 + 6 + 0.5 * 2) / 16)
    assert 0.9 < found.monotony[0] < 1
    assert found.failures == []
    turned = Steering(("brightness",), ["a", "b"], -descriptors[:1], np.ones(5), ("brightness",))
    assert turned.monotony[0] == found.monotony[0]
    assert turned.rising[0] == found.rising[0]
    assert turned.right_way[0] == found.right_way[0] == 1
    descriptors[0, 1] = 0.0
    found = Steering(("brightness",), ["a", "b"], descriptors[:1], np.ones(5))
    assert found.monotony[0] == pytest.approx(0.5)  # what does not move follows nothing


@pytest.mark.parametrize("missing", [slice(None), 0, CENTER, UP])
def test_a_preset_that_does_not_sound_at_all_steps_counts_for_nothing(missing):
    descriptors = np.zeros((2, 3, len(AMOUNTS), 5))
    descriptors[:, 0, :, 1] = AMOUNTS
    descriptors[:, 1, :, 1] = -AMOUNTS
    descriptors[0, 1, missing] = np.nan
    found = Steering(("brightness", "length"), ["a", "b", "c"], descriptors, np.ones(5))
    assert found.sounding.tolist() == [[True, False, True], [True, True, True]]
    assert found.monotony[0] == pytest.approx(0.5)  # of one that follows, and one that stays
    assert found.rising[0] == pytest.approx(0.75)
    assert found.right_way[0] == 0.5
    assert found.change[0, 1] == found.size[0, 1] == 1
    assert [tag["left_out"] for tag in found.to_json()["tags"].values()] == [["b"], []]
    (line,) = found.failures
    assert line.startswith("1 of 3 presets left out of the means of axes")
    assert "such as 'b' along brightness" in line


@pytest.mark.filterwarnings("error")
def test_an_axis_along_which_no_preset_sounds_has_no_figures_and_others_keep_theirs():
    descriptors = np.zeros((2, 2, len(AMOUNTS), 5))
    descriptors[..., 1] = AMOUNTS
    descriptors[0, [0, 1], [2, 7]] = np.nan
    tags = ("brightness", "length")
    found = Steering(tags, ["a", "b"], descriptors, np.ones(5))
    told = found.to_json()["tags"]
    assert told["brightness"]["monotony"] is told["brightness"]["right_way"] is None
    assert set(told["brightness"]["change"].values()) == {None}
    assert told["brightness"]["left_out"] == ["a", "b"]
    assert told["length"]["change"]["brightness"] == 2
    assert len(tag_figures.steering(found)) == 2


def test_steering_is_rendered_and_cached(tmp_path):
    dataset = small_dataset(tmp_path)
    fit(
        "flow_dis", dataset, tmp_path / "run", tags=descriptor_tags(dataset, progress=False),
        options=SMALL["flow_dis"], steps=20, batch_size=32, progress=False,
    )  # fmt: skip
    posterior = Posterior.load(tmp_path / "run")
    rows = dataset.rows("train", human_only=True)[:3]
    with posterior.renderer(1) as renderer:
        found = render_steering(posterior, dataset, rows, renderer, tmp_path, progress=False)
        assert found.descriptors.shape == (5, 3, len(AMOUNTS), 5)
        assert np.ptp(found.descriptors[:, :, CENTER], axis=0) == pytest.approx(
            0
        )  # the same preset
        truth = descriptor_tags(dataset, progress=False).descriptors[rows]
        # Not the same values: the model has the middle of each level.
        np.testing.assert_allclose(found.descriptors[0, :, CENTER], truth, atol=0.3)
        tag = DESCRIPTORS[1]
        ends = [
            posterior.features(np.stack([
                posterior.synth.render(v, posterior.run.note, posterior.run.features.sample_rate)
                for v in steer(posterior, dataset.values(rows), tag, AMOUNTS[end])
            ]))
            for end in (DOWN, UP)
        ]  # fmt: skip
        low, high = (describe_features(x, posterior.run.features) for x in ends)
        np.testing.assert_allclose(found.changes[1], (high - low) / found.spread, atol=1e-3)
        files = sorted(tmp_path.glob("steering-*/*.npz"))
        assert len(files) == 3
        files[1].unlink()
        files[2].write_bytes(b"damaged")
        before = files[0].stat().st_mtime_ns
        again = render_steering(posterior, dataset, rows, renderer, tmp_path, progress=False)
    np.testing.assert_array_equal(again.descriptors, found.descriptors)
    assert files[0].stat().st_mtime_ns == before
