"""Files of a synth's own presets where its format refuses some presets."""

import json

import numpy as np
import pytest
from lively import small_posterior

from pyrosynth.audio.io import save_audio
from pyrosynth.errors import InputError, PyrosynthError
from pyrosynth.explore.folder import explore
from pyrosynth.inference.infer import infer_sounds
from pyrosynth.synths.banks import write_presets
from pyrosynth.synths.presets import Preset


class Choosy:
    """Writes the names of presets into a file, but for those that it was told to refuse."""

    preset_suffix = ".choosy"

    def __init__(self, *refused):
        self.refused = refused

    def write_bank(self, path, presets):
        path.write_text("begun")
        for preset in presets:
            if any(part in preset.name for part in self.refused):
                raise InputError(f"'{preset.name}' has a decay that is too short")
        path.write_text("\n".join(preset.name for preset in presets))
        return True


PRESETS = [Preset(name, {}) for name in ("soft", "hard", "harder", "warm")]


def test_presets_that_a_format_refuses_cost_only_themselves(tmp_path):
    file = tmp_path / "a.choosy"
    assert write_presets(Choosy(), file, PRESETS) == (True, "")
    file.unlink()
    written, missing = write_presets(Choosy("hard"), file, PRESETS)
    assert written
    assert (
        missing == "'a.choosy' is without 'hard' and 1 more: 'hard' has a decay that is too short"
    )
    assert file.read_text().split() == ["soft", "warm"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.choosy"]


def test_a_format_that_refuses_every_preset_says_why(tmp_path):
    with pytest.raises(PyrosynthError, match="'soft' has a decay"):
        write_presets(Choosy(""), tmp_path / "a.choosy", PRESETS)
    assert not list(tmp_path.iterdir())


def test_further_draws_that_a_format_refuses_do_not_cost_the_answer(tmp_path, monkeypatch):
    _, posterior = small_posterior()
    choosy = Choosy(" draw ")
    for name in ("write_bank", "preset_suffix"):
        monkeypatch.setattr(posterior.synth, name, getattr(choosy, name), raising=False)
    save_audio(tmp_path / "a.wav", 0.3 * np.sin(np.arange(22050, dtype=np.float32) * 0.05), 22050)
    (found,), failed = infer_sounds(
        posterior, [tmp_path / "a.wav"], tmp_path / "out", budget=8, draws=4, workers=1
    )
    assert not failed
    assert (tmp_path / "out" / "a" / "a.choosy").read_text() == "a"
    assert "'a.choosy' is without 'a draw 1' and " in found.advice
    assert "is without" in (tmp_path / "out" / "a" / "report.html").read_text()


def test_a_part_of_an_exploration_says_which_presets_are_not_in_its_file(tmp_path, monkeypatch):
    _, posterior = small_posterior()
    choosy = Choosy(" 1")
    for name in ("write_bank", "preset_suffix"):
        monkeypatch.setattr(posterior.synth, name, getattr(choosy, name), raising=False)
    for _ in range(2):  # made, and found again
        facts = explore(posterior, tmp_path / "out", n_axes=1, draws=4, workers=1, progress=False)
        assert "'presets.choosy' is without " in facts["failed"]["novel presets"]
    named = json.loads((tmp_path / "out" / "novel" / "presets.json").read_text())["presets"]
    written = (tmp_path / "out" / "novel" / "presets.choosy").read_text().splitlines()
    assert 0 < len(written) < len(named)
