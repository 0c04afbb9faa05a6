"""Out-of-domain sounds: any folder of sound files is read as `infer` reads one."""

import numpy as np
import pytest
import soundfile
from rights import python_without_rights
from small import NOTE, small_dataset

from pyrosynth.audio.background import fit_length
from pyrosynth.audio.example import string_and_flute
from pyrosynth.audio.io import load_audio, save_audio
from pyrosynth.errors import DataError, InputError
from pyrosynth.evaluation.targets import outside

RATE = 22050


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return small_dataset(tmp_path_factory.mktemp("targets"))


@pytest.fixture
def folder(tmp_path):
    """Three recordings of different formats and rates, in and below a folder, and a text."""
    (tmp_path / "more").mkdir()
    for i, (name, rate) in enumerate((("a.wav", 48000), ("more/b.flac", 22050), ("c.ogg", 44100))):
        soundfile.write(tmp_path / name, string_and_flute(60 + i, 0.7, rate), rate)
    (tmp_path / "read me.txt").write_text("not a sound")
    return tmp_path


def test_any_folder_of_sounds(dataset, folder):
    targets = outside(dataset, folder)
    assert targets.names == ["a", "c", "more/b"]
    assert targets.values is None
    assert len(set(targets.ids.tolist())) == 3
    for name, audio in zip(("a.wav", "c.ogg", "more/b.flac"), targets.audio, strict=True):
        wanted = fit_length(load_audio(folder / name, RATE), NOTE.n_samples(RATE), RATE)
        shape = audio / np.abs(audio).max()
        np.testing.assert_allclose(shape, wanted / np.abs(wanted).max(), atol=1e-6)
    known = dataset.x(dataset.rows("train", human_only=True))
    loudest = [dataset.features.power(x).sum(-2).max(-1) for x in (known, targets.x)]
    np.testing.assert_allclose(loudest[1], np.median(loudest[0]), rtol=1e-3)
    np.testing.assert_array_equal(
        targets.x, np.stack([dataset.features(a) for a in targets.audio])
    )
    one = outside(dataset, folder, 1)
    assert set(one.ids.tolist()) < set(targets.ids.tolist())  # known by what they sound like


def test_as_many_sounds_as_asked_are_taken_of_those_that_can_be_read(dataset, folder):
    for name in "defghij":
        (folder / f"{name}.wav").write_bytes(b"RIFF")
    for n in (1, 2, 3, 9):
        assert len(outside(dataset, folder, n).names) == min(n, 3)


def test_a_folder_that_may_not_be_read_is_named(dataset, folder):
    (folder / "closed").mkdir(0)
    script = (
        "import pyrosynth as ps; from pyrosynth.evaluation.targets import outside\n"
        f"found = outside(ps.open_dataset({str(dataset.path)!r}), {str(folder)!r})\n"
        "print(found.names, found.left_out)"
    )
    done = python_without_rights("-c", script)
    closed = f"{folder}/closed"
    said = f"'{closed}' cannot be opened (Permission denied); ask its owner to let you"
    assert done.stdout == f"{['a', 'c', 'more/b']} { ({closed: said}) }\n", done.stderr


def test_an_index_says_which(dataset, folder):
    (folder / "index.csv").write_text("file,family\nmore/b.flac,strings\n")
    assert outside(dataset, folder).names == ["more/b"]
    (folder / "index.csv").write_text("file,family\n")
    with pytest.raises(DataError, match="index.csv' names no sound; name some, or delete it"):
        outside(dataset, folder)
    (folder / "index.csv").write_text("sound\nmore/b.flac\n")
    with pytest.raises(DataError, match="index.csv' has no column 'file'"):
        outside(dataset, folder)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("between", [",", ";"])
def test_an_index_is_read_as_a_spreadsheet_writes_it(dataset, folder, encoding, between):
    text = f"note{between}file\n60{between}more/b.flac\n61\n"
    (folder / "index.csv").write_text(text, encoding=encoding)
    targets = outside(dataset, folder)
    assert targets.names == ["more/b"]
    line = f"{folder / 'index.csv'}, line 3"
    assert targets.left_out == {line: f"'{folder / 'index.csv'}' line 3 names no file"}


def test_an_index_may_name_sounds_elsewhere(dataset, folder, tmp_path):
    (tmp_path / "listed").mkdir()
    index = tmp_path / "listed" / "index.csv"
    index.write_text(f"file\n{folder / 'a.wav'}\n")
    (name,) = outside(dataset, tmp_path / "listed").names
    assert (tmp_path / "listed" / name).resolve() == folder.resolve() / "a"


def test_what_cannot_be_used(dataset, folder, tmp_path):
    with pytest.raises(InputError, match="nothing' is not there; give a folder that the sound"):
        outside(dataset, tmp_path / "nothing")
    with pytest.raises(InputError, match="a.wav' is a file; give the folder that the sound files"):
        outside(dataset, folder / "a.wav")
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataError, match="holds no sound files; give a folder of .wav, .flac"):
        outside(dataset, tmp_path / "nothing")
    (folder / "d.wav").write_bytes(b"RIFF")
    targets = outside(dataset, folder)
    assert targets.names == ["a", "c", "more/b"]  # a bad file costs only itself
    assert [*targets.left_out] == [str(folder / "d.wav")]
    assert "d.wav' is not a readable sound" in targets.left_out[str(folder / "d.wav")]
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "e.wav").write_bytes(b"RIFF")
    with pytest.raises(DataError, match="none of the sounds in .* can be used: .*e.wav"):
        outside(dataset, tmp_path / "bad")


def test_equal_sounds_count_once(dataset, tmp_path):

    sounds = np.random.default_rng(0).uniform(-0.3, 0.3, (2, 22050)).astype(np.float32)
    for name, sound in zip(("b", "a", "copy of b"), (*sounds, sounds[0]), strict=True):
        save_audio(tmp_path / f"{name}.wav", sound, 22050)
    found = outside(dataset, tmp_path)
    assert found.names == ["a", "b"]
    assert len(set(found.ids)) == len(found.x) == len(found.audio) == 2
    assert not found.left_out
    for n in (1, 2):
        assert len(outside(dataset, tmp_path, n).names) == n
    (tmp_path / "index.csv").write_text("file\na.wav\nb.wav\na.wav\nb.wav\na.wav\n")
    for n in (1, 2, None):
        assert len(outside(dataset, tmp_path, n).names) == (n or 2)
