import numpy as np
import pytest
import soundfile

from pyrosynth.audio.io import fit_length, load_audio, save_audio
from pyrosynth.audio.note import Note
from pyrosynth.errors import InputError

RATE = 22050


def tone(rate=RATE, seconds=0.5, frequency=440.0):
    time = np.arange(int(rate * seconds)) / rate
    return (0.5 * np.sin(2 * np.pi * frequency * time)).astype(np.float32)


def test_saved_audio_comes_back_exactly(tmp_path):
    save_audio(tmp_path / "a.wav", tone(), RATE)
    np.testing.assert_array_equal(load_audio(tmp_path / "a.wav", RATE), tone())
    assert [file.name for file in tmp_path.iterdir()] == ["a.wav"]


@pytest.mark.parametrize("rate", [8000, 44100, 96000])
def test_any_rate_and_channels_become_mono_at_the_wanted_rate(tmp_path, rate):
    channels = np.stack([tone(rate) * gain for gain in (2, 1, 0, 1, 1, 1, 1, 1)], axis=1)
    soundfile.write(tmp_path / "a.wav", channels, rate)
    audio = load_audio(tmp_path / "a.wav", RATE)
    assert audio.dtype == np.float32
    assert len(audio) == pytest.approx(RATE / 2, abs=2)
    middle = slice(1000, -1000)
    np.testing.assert_allclose(audio[middle], tone()[: len(audio)][middle], atol=2e-3)


def test_leading_silence_goes_and_a_cut_end_is_faded():
    audio = np.concatenate([np.zeros(1000, np.float32), tone()])
    fitted = fit_length(audio, 4000, RATE)
    assert len(fitted) == 4000
    assert np.abs(fitted[:100]).max() > 0.05
    assert fitted[-1] == 0
    np.testing.assert_array_equal(fit_length(tone(), 20_000, RATE)[len(tone()) :], 0)


def bad_files(folder):
    (folder / "text.wav").write_text("no sound")
    (folder / "empty.wav").touch()
    soundfile.write(folder / "none.wav", np.zeros(0), RATE)
    soundfile.write(folder / "short.wav", tone(seconds=0.01), RATE)
    soundfile.write(folder / "silent.wav", np.zeros(RATE), RATE)
    broken = tone()
    broken[7] = np.nan
    soundfile.write(folder / "nan.wav", broken, RATE, subtype="FLOAT")


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("missing.wav", "no sound file"),
        ("text.wav", "not a readable sound file"),
        ("empty.wav", "not a readable sound file"),
        ("none.wav", "lasts 0.000 s"),
        ("short.wav", "lasts 0.010 s"),
        ("silent.wav", "is silent"),
        ("nan.wav", "NaN"),
    ],
)
def test_unusable_files_are_refused_in_one_line(tmp_path, name, word):
    bad_files(tmp_path)
    with pytest.raises(InputError, match=word) as caught:
        load_audio(tmp_path / name, RATE)
    assert "\n" not in str(caught.value)


def test_notes_out_of_range_are_refused():
    assert Note().n_samples(RATE) == 88200
    for change in ({"pitch": 128}, {"velocity": 0}, {"hold_seconds": 5}, {"hold_seconds": -1}):
        with pytest.raises(InputError):
            Note(**change)
