import json

import numpy as np
import pytest

from pyrosynth.audio.note import Note
from pyrosynth.errors import InputError
from pyrosynth.synths.params import Param, ParamSpace
from pyrosynth.synths.presets import Preset, distinct, preset_array, preset_json

SPACE = ParamSpace((Param("a", default=0.5), Param("b", "stepped", 0, 3, 1, 4)))


def test_missing_values_are_defaults_and_arrays_come_back():
    preset = Preset("one", {"b": 2})
    np.testing.assert_array_equal(preset.array(SPACE), [0.5, 2.0])
    again = Preset.from_array(SPACE, preset.array(SPACE), "one")
    assert again.values == {"a": 0.5, "b": 2.0}


def test_distinct_keeps_the_first_of_equal_sounds_in_order():
    presets = [
        Preset("first", {"a": 0.1}),
        Preset("other", {"a": 0.2}),
        Preset("same", {"a": 0.1 + 1e-9, "b": 1.2}),
    ]
    assert [preset.name for preset in distinct(presets, SPACE)] == ["first", "other"]
    assert preset_array(presets, SPACE).shape == (3, 2)


def test_json_is_complete_and_exact(tmp_path):
    preset = Preset("third", {"a": 1 / 3})
    data = preset_json(preset, "toy", SPACE, Note().to_json(), score={"lsd": 1.5})
    assert data["parameters"] == {"a": 1 / 3, "b": 1.0}
    file = tmp_path / "third.json"
    file.write_text(json.dumps(data))
    back = Preset.load(file, "toy")
    assert (back.name, back.bank) == ("third", "third")
    np.testing.assert_array_equal(back.array(SPACE), preset.array(SPACE))
    assert Note(**data["note"]) == Note()


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (None, "cannot read"),
        ("{", "cannot read"),
        ('{"synth": "toy", "name": "x"}', "parameters"),
        ('{"synth": "other", "name": "x", "parameters": {}}', "of 'other', not of 'toy'"),
        ('{"synth": "toy", "name": "x", "parameters": {"c": "loud"}}', "c 'loud': give a number"),
        ('{"synth": "toy", "name": "x", "parameters": {"c": NaN}}', "c nan: give a number"),
        ('{"synth": "toy", "name": "x", "parameters": {"c": 0, "c": 1}}', "'c' is there twice"),
        ('{"synth": "toy", "name": null, "parameters": {}}', "name are text"),
        ("[" * 100_000, "nested too deeply"),
        ("\xff\xfe", "cannot read"),
        ("1" * 5000, "cannot read"),
    ],
)
def test_unreadable_presets_are_refused(tmp_path, content, word):
    file = tmp_path / "x.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(InputError, match=word):
        Preset.load(file, "toy")


def test_what_is_saved_is_loaded(tmp_path):
    preset = Preset("Préset / 1", {"a": 1 / 3, "b": np.float32(2)}, "mine")
    preset.save(tmp_path / "x.json", "toy")
    assert Preset.load(tmp_path / "x.json") == Preset.load(tmp_path / "x.json", "toy") == preset
    with pytest.raises(InputError, match="of 'toy', not of 'other'"):
        Preset.load(tmp_path / "x.json", "other")
    with pytest.raises(InputError, match="synth of a preset is int 5; give its name"):
        preset.save(tmp_path / "x.json", 5)
    with pytest.raises(InputError, match="synth of a preset is int 5; give its name"):
        Preset.load(tmp_path / "x.json", 5)
    with pytest.raises(InputError, match="a nan: give a number"):
        Preset("bad", {"a": np.nan}).save(tmp_path / "x.json")
    assert Preset.load(tmp_path / "x.json") == preset
    preset.save(tmp_path / "x.json")  # of any synth that has its parameters
    assert Preset.load(tmp_path / "x.json", "toy") == preset


def test_a_folder_is_no_place_for_a_preset(tmp_path):
    with pytest.raises(
        InputError, match="^'.*' is a folder, where a file is .*the name of a file$"
    ):
        Preset("a", {}).save(tmp_path)


def test_values_that_are_no_numbers():
    with pytest.raises(InputError, match=r"'x' has a value that is no number \(\w+: nan\)"):
        Preset("x", {"a": np.nan}).array(SPACE)
    with pytest.raises(InputError, match="preset 'x' has a value that is no number"):
        Preset("x", {"a": "loud"}).array(SPACE)
    with pytest.raises(InputError, match="give 2 numbers"):
        Preset.from_array(SPACE, [1.0])
    with pytest.raises(InputError, match="known: a, b"):
        Preset("x", {"c": 1}).array(SPACE)


def test_it_shows_itself_briefly():
    preset = Preset("<b>", {"a": 0.5}, "mine")
    assert repr(preset) == "Preset('<b>', 1 value, bank 'mine')"
    assert "&lt;b&gt;" in preset._repr_html_()
    assert repr(SPACE) == "ParamSpace(2 parameters: a, b)"
    assert SPACE._repr_html_().count("<tr") == 3
