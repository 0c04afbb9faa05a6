import gzip
import io
import json
import os
import re
import subprocess
import sys
from contextlib import suppress
from time import sleep

import numpy as np
import pytest
import soundfile

from pyrosynth.audio.background import fit_length, load_note, measure_background
from pyrosynth.audio.channels import Cancellation
from pyrosynth.audio.coverage import channel_advice, say_late
from pyrosynth.audio.decoder_notes import decoder_errors
from pyrosynth.audio.descriptors import describe
from pyrosynth.audio.features import FeatureSpec
from pyrosynth.audio.io import load_audio, load_heard, save_audio, wav_bytes
from pyrosynth.audio.metrics import compare_audio
from pyrosynth.audio.note import Note
from pyrosynth.audio.tuning import tune
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
    soundfile.write(folder / "cut.ogg", tone(seconds=5), RATE)
    whole = (folder / "cut.ogg").read_bytes()
    (folder / "cut.ogg").write_bytes(whole[: len(whole) // 2])
    soundfile.write(folder / "short.wav", tone(seconds=0.01), RATE)
    soundfile.write(folder / "silent.wav", np.zeros(RATE), RATE)
    soundfile.write(folder / "offset.wav", np.full(RATE, 0.3), RATE)
    broken = tone()
    broken[7] = np.nan
    soundfile.write(folder / "nan.wav", broken, RATE, subtype="FLOAT")


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("missing.wav", "no sound file"),
        ("text.wav", "it holds text, such as a playlist, .*; give or download the sound itself"),
        ("empty.wav", "not a readable sound file .*; convert it to WAV"),
        ("none.wav", "is empty or cut off"),
        ("cut.ogg", "is cut off: its last page is not whole; copy it again"),
        ("short.wav", "lasts 9.98 ms; at least 50 ms"),
        ("silent.wav", "is silent"),
        ("offset.wav", "silent but for a constant offset"),
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


@pytest.mark.parametrize("rate", [8000, 22050, 44100])
@pytest.mark.parametrize(
    "before",
    ["silence", "hiss", "loud hiss", "rumble", "offset", "click", "clicks in hiss", "all"],
)
def test_what_is_before_a_note_is_cut(rate, before):
    """The note that is heard is the note, whatever its recording begins with."""
    rng = np.random.default_rng(0)
    n, at = 5 * rate, 3 * rate // 2
    note = np.zeros(n, np.float32)
    note[at:] = tone(rate, (n - at) / rate) * np.exp(-np.arange(n - at) / rate)
    noise = rng.standard_normal(n).astype(np.float32)
    rumble = np.convolve(noise, np.full(rate // 100, 0.1), "same").astype(np.float32)
    clicks = np.zeros(n, np.float32)
    clicks[[rate // 3, rate // 3 + 1, rate]] = 0.9
    added = {
        "silence": 0,
        "hiss": 0.002 * noise,
        "loud hiss": 0.01 * noise,
        "rumble": 0.002 * rumble,
        "offset": np.float32(0.03),
        "click": np.where(np.arange(n) < rate // 2, clicks, 0),
        "clicks in hiss": clicks + 0.001 * noise,
        "all": clicks + 0.004 * noise - np.float32(0.02),
    }[before]
    found = measure_background(note + added, rate)
    assert found.onset / rate == pytest.approx(1.5, abs=0.006)
    offset = {"offset": 0.03, "all": -0.02}.get(before, 0.0)
    assert found.offset == pytest.approx(offset, abs=2e-3)
    fitted = fit_length(note + added, 2 * rate, rate)
    inner = slice(rate // 100, -rate // 50)
    assert np.abs(fitted - note[found.onset :][: 2 * rate])[inner].max() < 0.06


@pytest.mark.parametrize("rate", [8000, RATE, 96000])
@pytest.mark.parametrize("kind", ["one sample", "a burst", "many", "in hiss", "two channels"])
def test_a_recording_of_clicks_only_is_refused(tmp_path, rate, kind):
    rng = np.random.default_rng(0)
    sound = np.zeros(3 * rate)
    sound[rate // 2 :: rate // 4 if kind == "many" else 3 * rate] = 0.7
    if kind != "one sample":
        sound[rate : rate + rate // 50] = 0.5 * rng.standard_normal(rate // 50)
    if kind == "in hiss":
        sound += 0.001 * rng.standard_normal(len(sound)) + 0.05
    stored = np.stack([sound, 0.5 * sound], 1) if kind == "two channels" else sound
    soundfile.write(tmp_path / "a.wav", stored, rate, subtype="FLOAT")
    with pytest.raises(InputError, match=r"a\.wav' holds only clicks, none longer than 30 ms"):
        load_note(tmp_path / "a.wav", 4000, RATE)


@pytest.mark.parametrize("kind", ["a woodblock", "a low buzz", "hiss", "a late note"])
def test_what_is_short_or_sparse_is_no_click(tmp_path, kind):
    rng, time = np.random.default_rng(0), np.arange(2 * RATE) / RATE
    sound = {
        "a woodblock": np.sin(5000 * time) * np.exp(-time / 0.012),
        "a low buzz": np.where(np.arange(len(time)) % (RATE // 25) == 0, 0.7, 0.0),
        "hiss": 0.1 * rng.standard_normal(len(time)),
        "a late note": np.where(time > 1.9, np.sin(2000 * time), time == 0.5),
    }[kind]
    soundfile.write(tmp_path / "a.wav", sound, RATE)
    assert np.abs(load_note(tmp_path / "a.wav", 4000, RATE)).max() > 0.1


@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.3, 2.0])
@pytest.mark.parametrize("steep", [1, 3])
def test_a_slow_attack_is_no_background(seconds, steep):
    time = np.arange(3 * RATE) / RATE
    rise = np.minimum(1, time / max(seconds, 1e-3)) ** steep
    found = measure_background((rise * np.sin(2 * np.pi * 110 * time)).astype(np.float32), RATE)
    assert found.onset / RATE < 0.02 + seconds * 0.01 ** (1 / steep)
    assert (found.level, found.offset) == (0, 0)


@pytest.mark.parametrize("hiss_db", [-30, -40, -50])
@pytest.mark.parametrize("steep", [1, 2])
def test_a_swell_behind_hiss_begins_where_it_leaves_it(hiss_db, steep):
    """It rises by less than 15 dB at once, and yet the hiss before it is none of it."""
    time = np.arange(3 * RATE) / RATE
    rise = np.minimum(1, np.maximum(0, time - 0.7) / 2) ** steep
    hiss = 10 ** (hiss_db / 20) * np.random.default_rng(0).standard_normal(len(time))
    sound = 0.3 * (rise * np.sin(2 * np.pi * 262 * time) + 0.7 * hiss)
    found = measure_background(sound.astype(np.float32), RATE)
    assert 0.7 <= found.onset / RATE < 0.7 + 2 * (2 * 10 ** (hiss_db / 20)) ** (1 / steep)
    assert found.level == pytest.approx(0.21 * 10 ** (hiss_db / 20), rel=0.05)


@pytest.mark.parametrize(("hz", "quiet"), [(262, 1.0), (110, 0.15), (55, 0.3)])
@pytest.mark.parametrize("seconds", [0.5, 2.0])
def test_a_note_that_begins_quietly_and_grows_begins_there(seconds, hz, quiet):
    time = np.arange(4 * RATE) / RATE
    level = 10 ** (np.interp(time, [0, quiet, quiet + seconds], [-20, -20, 0]) / 20)
    saw = sum(np.sin(2 * np.pi * hz * k * time) / k for k in range(1, 30))
    note = 0.2 * level * saw * np.clip(time / 0.02, 0, 1)
    assert measure_background(note.astype(np.float32), RATE).onset < 0.05 * RATE


def test_short_sounds_have_an_onset_too():
    for n in (1, 2, 100, 1102, 3000):
        assert measure_background(tone()[1 : n + 1], RATE).onset < 10
        assert fit_length(tone()[1 : n + 1], 5000, RATE).shape == (5000,)
    assert measure_background(np.zeros(RATE, np.float32), RATE).onset == 0


def test_integers_and_other_shapes_are_no_audio():
    for work in (
        lambda audio: fit_length(audio, 100, RATE),
        lambda audio: measure_background(audio, RATE),
        lambda audio: tune(audio, RATE, Note()),
    ):
        with pytest.raises(InputError, match=r"int16 values; give floats"):
            work((tone() * 32767).astype(np.int16))
        with pytest.raises(InputError, match="give mono audio of shape"):
            work(np.stack([tone(), tone()]))
    for work in (FeatureSpec(), lambda audio: describe(audio, FeatureSpec())):
        with pytest.raises(InputError, match=r"int16 values; give floats"):
            work((tone() * 32767).astype(np.int16))
        with pytest.raises(InputError, match="has shape"):
            work(np.float32(1))
    for work in (FeatureSpec(), lambda audio: fit_length(audio, 100, RATE), wav_bytes):
        for bad in (np.nan, np.inf, 1e300):
            with pytest.raises(InputError, match="audio contains NaN or infinite samples"):
                work(np.append(tone().astype(np.float64), bad), *[RATE] * (work is wav_bytes))
    sounds = np.stack([tone(), tone()])
    sounds[1, 7] = np.nan
    with pytest.raises(InputError, match=r"infinite samples at \(1, 7\); give finite"):
        FeatureSpec()(sounds)
    with pytest.raises(InputError, match=r"sound 1 of 2 \(from 0 on\) contains NaN"):
        compare_audio(sounds, sounds, FeatureSpec())


def flac_without_a_length(path):
    """A FLAC stream as recorders write it that cannot seek back: the count of samples is 0."""
    soundfile.write(path, tone(seconds=3.0), RATE)
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    path.write_bytes(content)


def test_what_was_read_of_an_open_file_and_a_pipe_do_no_harm(tmp_path):
    file = tmp_path / "a.wav"
    save_audio(file, 0.5 * np.sin(np.arange(22050) / 9, dtype=np.float32), 22050)
    whole = load_audio(file, 22050)
    with file.open("rb") as opened:
        assert opened.read(4) == b"RIFF"
        opened.seek(0)
        np.testing.assert_array_equal(load_audio(opened, 22050), whole)
    with subprocess.Popen(["cat", file], stdout=subprocess.PIPE) as cat:
        np.testing.assert_array_equal(load_audio(cat.stdout, 22050), whole)


@pytest.mark.parametrize(
    ("kind", "subtype"), [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III")]
)
def test_recordings_that_were_joined_are_not_taken_for_the_first(tmp_path, kind, subtype):
    """As by `cat a.ogg b.ogg`; libsndfile reads the first one without a word."""
    takes = []
    for hz in (220, 330):
        content = io.BytesIO()
        take = 0.3 * np.sin(2 * np.pi * hz * np.arange(24000) / 24000)
        soundfile.write(content, take, 24000, format=kind, subtype=subtype)
        takes.append(content.getvalue())
    if kind == "MP3":
        takes[0] += b"TAG" + bytes(125 + 7)
    for n, file in ((1, tmp_path / "one"), (2, tmp_path / "two")):
        file.write_bytes(b"".join(takes[:n]))
    assert len(load_audio(tmp_path / "one", 24000)) >= 24000
    if kind == "MP3":  # a tag at the end is none of another recording
        tag = b"ID3\4\0\x10" + bytes(3) + b"\x0a" + bytes(10) + b"3DI\4\0\x10" + bytes(4)
        (tmp_path / "tagged").write_bytes(takes[0] + tag)
        assert len(load_audio(tmp_path / "tagged", 24000)) >= 24000
    with pytest.raises(InputError, match="'.*two' holds several recordings .* export it as one"):
        load_audio(tmp_path / "two", 24000)


class Reads:
    """What has a method `read`, and nothing else of a file."""

    def __init__(self, given):
        self.given = given

    def read(self, n=-1):
        if isinstance(self.given, Exception):
            raise self.given
        return self.given


def test_an_open_file_that_gives_no_sound_is_one_line(tmp_path):
    file = tmp_path / "a.wav"
    save_audio(file, 0.5 * np.sin(np.arange(22050) / 9, dtype=np.float32), 22050)
    packed = gzip.compress(file.read_bytes())
    (tmp_path / "a.wav.gz").write_bytes(packed)
    for unpacking in (io.BytesIO(packed), tmp_path / "a.wav.gz"):
        with gzip.open(unpacking) as opened:
            np.testing.assert_array_equal(load_audio(opened, 22050), load_audio(file, 22050))
    for given, said in (
        (gzip.open(io.BytesIO(packed[:-200])), "cannot be read .EOFError: "),
        (gzip.open(io.BytesIO(b"nothing packed")), "cannot be read .BadGzipFile: "),
        (io.StringIO("text"), "cannot be read .* binary mode"),
        (Reads("text"), "cannot be read .* binary mode"),
        (Reads(RuntimeError("cut off")), "cannot be read .RuntimeError: cut off"),
        (Reads(None), "not a readable sound file"),
    ):
        with pytest.raises(InputError, match=said):
            load_audio(given, 22050)
    with (tmp_path / "b.wav").open("wb") as opened, pytest.raises(InputError, match="for writing"):
        load_audio(opened, 22050)


def test_a_flac_file_may_leave_its_length_open(tmp_path):
    flac_without_a_length(tmp_path / "a.flac")
    np.testing.assert_allclose(load_audio(tmp_path / "a.flac", RATE), tone(seconds=3.0), atol=1e-4)


@pytest.mark.parametrize("claim", [0, 10**6, 2**32 - 1])
def test_a_header_may_lie_about_the_length(tmp_path, claim):
    """Of a WAV file, and of a FLAC file that claims ten thousand million samples."""
    save_audio(tmp_path / "a.wav", tone(), RATE, "PCM_16")
    content = bytearray((tmp_path / "a.wav").read_bytes())
    content[40:44] = claim.to_bytes(4, "little")
    (tmp_path / "a.wav").write_bytes(content)
    soundfile.write(tmp_path / "a.flac", tone(), RATE)
    content = bytearray((tmp_path / "a.flac").read_bytes())
    content[21] = content[21] & 0xF0 | 0x02
    (tmp_path / "a.flac").write_bytes(content)
    for name in ("a.wav", "a.flac"):
        with suppress(InputError):
            assert len(load_audio(tmp_path / name, RATE)) <= len(tone())


@pytest.mark.parametrize("n_damaged", [1, 40])
def test_the_decoder_of_mp3_writes_nothing_itself(tmp_path, capfd, n_damaged):
    """A frame that cannot be decoded costs itself, many of them the file."""
    file = tmp_path / "a.mp3"
    soundfile.write(file, tone(seconds=3.0), RATE, format="MP3")
    content = bytearray(file.read_bytes())
    frames = [found.start() for found in re.finditer(re.escape(content[:2]), content)]
    for at in frames[20 : 20 + n_damaged]:
        content[at + 4 : at + 14] = b"\xff" * 10  # which says how the frame is packed
    file.write_bytes(content)
    if n_damaged == 1:
        assert len(load_audio(file, RATE)) == len(tone(seconds=3.0))
    else:
        with pytest.raises(InputError, match="a.mp3' is damaged.*; copy it again"):
            load_audio(file, RATE)
    with file.open("rb") as opened, decoder_errors(opened.fileno()):
        os.write(2, b"[src/libmpg123/layer3.c:x():1] error: no\nNote: no\nof somebody else\n")
    assert capfd.readouterr().err == "of somebody else\n"


@pytest.mark.parametrize("ending", ["wav", "mp3"])
def test_a_file_of_which_the_end_is_missing_is_refused(tmp_path, ending):
    whole, cut = tmp_path / f"a.{ending}", tmp_path / f"b.{ending}"
    soundfile.write(whole, tone(seconds=3.0), RATE)
    assert len(load_audio(whole, RATE)) >= len(tone(seconds=3.0))
    content = whole.read_bytes()
    cut.write_bytes(content[: len(content) // 2])
    for file in (cut, io.BytesIO(cut.read_bytes())):
        with pytest.raises(InputError, match="is damaged or cut off: of 3.* s only 1.* s can be"):
            load_audio(file, RATE)
    cut.write_bytes(content[: round(len(content) * 0.98)])
    assert len(load_audio(cut, RATE)) > 0.9 * len(tone(seconds=3.0))


MEMORY = """
import resource, sys
from pyrosynth.audio.metrics import compare_audio
from pyrosynth.audio.io import load_audio
from pyrosynth.errors import InputError
import soundfile, soxr
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    print(len(load_audio(sys.argv[1], 96000)))
except InputError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.parametrize(("rate", "channels", "seconds"), [(655350, 8, 20), (8000, 1, 590)])
def test_memory_of_reading_is_bounded(tmp_path, rate, channels, seconds):
    path = tmp_path / "a.flac"
    with soundfile.SoundFile(path, "w", rate, channels, "PCM_16") as file:
        for _ in range(seconds):
            file.write(np.tile([[1000], [-1000]], (rate // 2, channels)).astype(np.int16))
    done = subprocess.run([sys.executable, "-c", MEMORY, path], capture_output=True, text=True)
    said, megabytes = done.stdout.splitlines()
    assert float(megabytes) < 700
    assert said.isdecimal() == (channels == 1), said


@pytest.mark.parametrize("share", [-1.0, -0.995, -0.9])
def test_channels_that_cancel_are_named(tmp_path, share):
    soundfile.write(tmp_path / "a.wav", np.stack([tone(), share * tone()], 1), RATE)
    with pytest.raises(InputError, match=r"the channels of '.*a\.wav' cancel each other"):
        load_audio(tmp_path / "a.wav", RATE)


@pytest.mark.parametrize(("late", "said"), [(0.0, ""), (0.02, ""), (0.25, "before 0.23 s")])
def test_a_synth_of_which_no_sound_begins_at_once_is_told(late, said, caplog):
    spec = FeatureSpec(sample_rate=RATE)
    sounds = [np.concatenate([np.zeros(int(late * RATE)), tone(frequency=f)]) for f in (220, 900)]
    say_late(np.mean([spec(one.astype(np.float32)) for one in sounds], axis=0), spec)
    assert said in caplog.text
    assert bool(caplog.text) == bool(said)


@pytest.mark.parametrize(
    ("form", "subtype"),
    [("AIFF", "PCM_16"), ("AU", "FLOAT"), ("W64", "PCM_16"), ("RF64", "PCM_24"), ("SVX", "PCM_16"),
     ("OGG", "VORBIS"), ("WAV", "PCM_16"), ("FLAC", "PCM_16")],
)  # fmt: skip
@pytest.mark.parametrize("share", [0.3, 0.6, 1.0])
def test_files_that_are_cut_off_are_refused_whatever_their_format(form, subtype, share):
    file = io.BytesIO()
    noise = 0.3 * np.random.default_rng(0).standard_normal(4 * RATE)
    soundfile.write(file, noise, RATE, subtype, format=form)
    part = io.BytesIO(file.getvalue()[: int(share * len(file.getvalue()))])
    if share == 1:
        assert len(load_audio(part, RATE)) == 4 * RATE
        return
    with pytest.raises(InputError, match="cut off|not a readable sound file"):
        load_audio(part, RATE)


def test_counts_of_all_channels_and_sizes_that_a_pipe_leaves_open_are_no_cuts():
    """As dr_wav writes RF64 files, and sox AIFF files to a pipe."""
    noise = 0.3 * np.random.default_rng(0).standard_normal((2 * RATE, 2))
    file = io.BytesIO()
    soundfile.write(file, noise, RATE, "PCM_16", format="RF64")
    content = bytearray(file.getvalue())
    at = content.find(b"ds64") + 24
    content[at : at + 8] = (2 * len(noise)).to_bytes(8, "little")
    assert len(load_audio(io.BytesIO(content), RATE)) == len(noise)
    for cut in (content, file.getvalue()):  # at half, which is what is there by either count
        with pytest.raises(InputError, match="is damaged or cut off: of .* only 1 s"):
            load_audio(io.BytesIO(cut[: len(cut) - 4 * RATE]), RATE)
    file = io.BytesIO()
    soundfile.write(file, np.repeat(noise, 4, axis=1), 192_000, "FLOAT", format="RF64")
    content = bytearray(file.getvalue())
    at = content.find(b"ds64") + 8
    content[at : at + 8] = (2_500_000_000).to_bytes(8, "little")  # of 64 bits, as it says
    with pytest.raises(InputError, match="is damaged or cut off: of 407 s only"):
        load_audio(io.BytesIO(content), 192_000)
    file = io.BytesIO()
    soundfile.write(file, noise, 192_000, "PCM_24", format="AIFF")
    content = bytearray(file.getvalue())
    for mark, at, size in ((b"SSND", 4, 0x7F000000), (b"COMM", 10, 0x7F000000 // 6)):
        at += content.find(mark)
        content[at : at + 4] = size.to_bytes(4, "big")
    content[4:8] = (0x7F000000).to_bytes(4, "big")
    assert len(load_audio(io.BytesIO(content), 192_000)) == len(noise)


@pytest.mark.parametrize("rate", [22050, 44100, 96000, 192000])
def test_channels_are_compared_alike_at_every_rate(rate):
    time = np.arange(2 * rate) / rate
    bass = sum(np.sin(2 * np.pi * 55 * k * time) / k for k in (1, 2, 3)) * np.exp(-time)
    late = round(0.009 * rate)
    other = np.concatenate([np.zeros(late), bass])[: len(bass)]
    cancellation = Cancellation(rate)
    cancellation.add(np.stack([bass, other], axis=1).astype(np.float32) / 4)
    assert channel_advice(cancellation.decibels())


def test_many_channels_are_no_recording_of_one_sound_and_take_no_spectra():
    """Of 16 MB of them, in blocks shorter than a window, the spectra took minutes."""
    saw = np.resize(np.linspace(-1, 1, 50, dtype=np.float32), 20_000)
    for n_channels, told in ((8, True), (9, False)):
        late = [np.roll(saw, 7 * n) for n in range(n_channels)]
        cancellation = Cancellation(192_000)
        cancellation.add(np.stack(late, axis=1))
        assert bool(cancellation.decibels()) == told


def test_of_one_partial_channels_change_the_level_alone():
    cancellation = Cancellation()
    cancellation.add(np.stack([tone(seconds=2), -0.9 * tone(seconds=2)], axis=1))
    assert cancellation.decibels() == 0


@pytest.mark.parametrize(
    ("late", "said"), [(50, True), (25, True), (0, False), (None, False)]
)  # of samples
def test_channels_that_cancel_in_part_are_told(late, said):
    time = np.arange(2 * RATE) / RATE
    saw = (2 * (440 * time % 1) - 1) * np.exp(-time)
    other = np.random.default_rng(0).standard_normal(len(saw))
    if late is not None:
        other = np.concatenate([np.zeros(late), saw])[: len(saw)]
    file = io.BytesIO()
    soundfile.write(file, np.stack([saw, other], axis=1) / 4, RATE, "FLOAT", format="WAV")
    file.seek(0)
    *_, cancelled = load_heard(file, RATE)
    assert bool(channel_advice(cancelled)) == said
    assert "cancel each other in part" in channel_advice(np.inf)


def test_one_channel_of_many_does_not_cancel(tmp_path):
    channels = np.zeros((RATE, 128), np.float32)
    channels[:, 77] = tone(seconds=1)
    soundfile.write(tmp_path / "a.wav", channels, RATE, subtype="FLOAT")
    np.testing.assert_allclose(load_audio(tmp_path / "a.wav", RATE), channels[:, 77] / 128)


def test_what_is_above_all_that_is_heard_is_named(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(48000, frequency=18000.0), 48000)
    assert len(load_audio(tmp_path / "a.wav", 44100))
    with pytest.raises(InputError, match=r"all of '.*' is above 11025 Hz"):
        load_audio(tmp_path / "a.wav", 22050)


def test_an_offset_may_be_larger_than_the_sound():
    note = tone() * np.linspace(1, 0, len(tone()), dtype=np.float32)
    expected = fit_length(note, len(note), RATE)
    found = fit_length(0.1 * note + np.float32(0.9), len(note), RATE)
    np.testing.assert_allclose(found, 0.1 * expected, atol=1e-3)


@pytest.mark.parametrize("offset", [0.9, -0.5])
def test_an_offset_leaves_nothing_at_another_rate(tmp_path, offset):
    note = 0.01 * tone() * np.linspace(1, 0, len(tone()), dtype=np.float32)
    for name, sound in (("a", note), ("b", note + np.float32(offset))):
        soundfile.write(tmp_path / f"{name}.wav", sound, RATE, subtype="FLOAT")
    clean, found = (load_note(tmp_path / f"{name}.wav", 5000, RATE // 2) for name in "ab")
    np.testing.assert_allclose(found, clean, atol=1e-4)


def test_any_name_and_open_files_are_read(tmp_path):
    save_audio(tmp_path / "a.wav", tone(), RATE)
    strange = os.fsencode(tmp_path) + b"/\xff\n.wav"
    os.rename(tmp_path / "a.wav", strange)
    assert len(load_audio(os.fsdecode(strange), RATE)) == len(tone())
    with open(strange, "rb") as file:
        assert len(load_audio(file, RATE)) == len(tone())
    (tmp_path / "a.raw").write_bytes(bytes(1000))
    with pytest.raises(InputError, match=r"raw' is not a readable sound file"):
        load_audio(tmp_path / "a.raw", RATE)


def test_numbers_of_numpy_make_a_note():
    note = Note(np.int64(61), np.int32(90), np.float32(0.5), np.float64(1))
    assert json.dumps(note.to_json())
    assert note == Note(61, 90, 0.5, 1.0)
    for change in ({"pitch": 60.5}, {"pitch": "60"}, {"hold_seconds": np.nan}, {"velocity": None}):
        with pytest.raises(InputError, match=next(iter(change))):
            Note(**change)
    with pytest.raises(InputError, match="0.01 to 60"):
        Note(hold_seconds=1e-5, duration_seconds=1e-5)


def test_a_damaged_sound_says_nothing_beside_the_error(tmp_path, capfd):
    """An AIFF whose chunk claims a negative length makes libsndfile seek before the file."""
    soundfile.write(tmp_path / "a.aiff", tone(), RATE, "PCM_24", format="AIFF")
    content = bytearray((tmp_path / "a.aiff").read_bytes())
    for at in range(12, 60):
        damaged = bytearray(content)
        damaged[at] = 0xFF
        (tmp_path / "a.aiff").write_bytes(damaged)
        for file in (tmp_path / "a.aiff", io.BytesIO(damaged)):
            with suppress(InputError):
                load_audio(file, RATE)
    assert capfd.readouterr().err == ""


def test_the_bytes_of_a_file_depend_on_the_sound_alone():
    """A command that was killed and called again writes the same files."""
    stereo = np.random.default_rng(0).uniform(-2, 2, (1000, 2)).astype(np.float32)
    contents = [wav_bytes(sound, RATE, "FLOAT") for sound in (stereo[:, :1], stereo)]
    sleep(1.1)  # the format knows whole seconds
    for sound, content in zip((stereo[:, :1], stereo), contents, strict=True):
        assert wav_bytes(sound, RATE, "FLOAT") == content
        stored, _ = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
        np.testing.assert_array_equal(stored, sound)
