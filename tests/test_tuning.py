"""Sounds of any pitch: hums of known pitch and length, and sounds of a synth played elsewhere."""

import fcntl
import json
import threading
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import soundfile
import torch
from hums import hum
from lively import small_posterior
from plain import FAILS

from pyrosynth.audio.background import fit_length
from pyrosynth.audio.coverage import coverage_advice
from pyrosynth.audio.features import FeatureSpec
from pyrosynth.audio.io import load_audio, save_audio
from pyrosynth.audio.metrics import log_distance
from pyrosynth.audio.note import Note
from pyrosynth.audio.pitch import pitch as yin
from pyrosynth.audio.pitch_tracking import load_librosa
from pyrosynth.audio.tuning import tune
from pyrosynth.cli.app import main
from pyrosynth.errors import InputError
from pyrosynth.explore.neighbors import nearest_presets
from pyrosynth.inference.hearing import (
    Hearing,
    choose,
    distance_as_played,
    hear,
    off_pitch,
    open_search,
    refine,
)
from pyrosynth.inference.hearing_words import hearing_advice, note_to_play
from pyrosynth.inference.infer import infer_sound, infer_sounds
from pyrosynth.inference.pool import NO_FARTHER_DB, Pool
from pyrosynth.live.searching import shown, tuning
from pyrosynth.synths import load_synth
from pyrosynth.synths.presets import Preset, preset_array
from pyrosynth.synths.rendering import Renderer

RATE = 22050
NOTE = Note(hold_seconds=1.0, duration_seconds=1.5)
N_FLAT = 12  # presets out of tune that are nearer


@pytest.mark.parametrize(
    ("cents", "says"),
    [(12.0, ""), (-20.0, ""), (41.6, "heard A3 +42 cents, "), (-50.0, "heard A3 -50 cents, ")],
)
def test_what_is_far_from_its_note_is_said(cents, says):
    found = replace(tune(hum(57, 1.0), RATE, NOTE), cents=cents)
    assert note_to_play(found.to_json()) == f"{says}play {found.words}"
    soft = replace(found, note=replace(found.note, velocity=30))
    assert note_to_play(soft.to_json()) == f"{says}play {found.words}, velocity 30"
    assert (NOTE.facts, replace(NOTE, velocity=30).facts) == (
        f"{NOTE.name}, {NOTE.hold_seconds:g} of {NOTE.duration_seconds:g} s held",
        f"{NOTE.facts}, velocity 30",
    )


@pytest.mark.parametrize("pitch", [43, 52.3, 60, 69, 84])
@pytest.mark.parametrize("seconds", [0.4, 1.3, 8.0])
@pytest.mark.parametrize("noise_db", [-60.0, -30.0])
def test_a_hum_is_heard_as_its_note(pitch, seconds, noise_db):
    found = tune(hum(pitch, seconds, noise_db=noise_db), RATE, NOTE)
    assert found.note.pitch == round(pitch)
    assert found.note.pitch + found.cents / 100 == pytest.approx(pitch, abs=0.25)
    assert found.note.hold_seconds == pytest.approx(seconds, abs=0.1)
    assert found.onset_seconds == pytest.approx(0.4, abs=0.05)
    assert found.held
    assert found.audio.shape == (NOTE.n_samples(RATE),)
    assert found.audio.dtype == np.float32


@pytest.mark.parametrize("seconds", [0.4, 8.0])
def test_a_held_hum_comes_to_the_pitch_and_the_hold_of_the_note(seconds):
    found = tune(hum(52.3, seconds), RATE, NOTE)
    heard = yin(torch.as_tensor(found.audio[None]), FeatureSpec())[0].numpy()
    middle = heard[5:-14]
    assert np.nanmedian(69 + 12 * np.log2(middle / 440)) == pytest.approx(60, abs=0.25)
    level = np.abs(found.audio)
    assert level[: RATE // 10].max() > 0.3 * level.max()  # nothing before the onset
    assert level[int(0.85 * RATE) : int(0.95 * RATE)].max() > 0.3 * level.max()
    assert level[int(1.1 * RATE) :].max() < 0.05 * level.max()


def test_what_decays_by_itself_keeps_its_length():
    found = tune(hum(48, 0.6, decay_db=40.0), RATE, NOTE)
    assert not found.held
    assert found.note.hold_seconds == pytest.approx(0.6, abs=0.1)
    assert np.abs(found.audio[int(0.75 * RATE) :]).max() < 0.01 * np.abs(found.audio).max()


def test_a_sound_at_the_note_itself_stays_as_it_is():
    audio = hum(60, 1.2, before=0.0, after=0.3, noise_db=-90.0)
    found = tune(audio, RATE, NOTE)
    kept = slice(2000, int(1.1 * RATE))
    np.testing.assert_allclose(found.audio[kept], audio[kept], atol=1e-3)


def test_of_several_sounds_the_strongest_counts():
    audio = np.concatenate([silence(), hum(57, 1.0)])
    audio[5000:5040] = 0.3
    found = tune(audio, RATE, NOTE)
    assert found.note.name == "A3"
    assert found.onset_seconds == pytest.approx(1.4, abs=0.05)


def silence():
    return np.zeros(RATE, np.float32)


def noise():
    return np.random.default_rng(0).standard_normal(2 * RATE).astype(np.float32)


def click():
    audio = silence()
    audio[5000] = 1.0
    return audio


@pytest.mark.parametrize(
    ("audio", "says"),
    [
        (silence(), "^the sound is silent"),
        (noise(), "^the sound has no pitch .* give one sung, hummed or played note"),
        (click(), "^the sound has no pitch"),
        (noise()[:1000], "^the sound has shape .* at least 0.05 s"),
        (np.zeros((2, RATE)), "give mono audio"),
        (np.full(RATE, np.nan), "NaN"),
    ],
)
def test_what_cannot_be_used_is_one_message(audio, says):
    with pytest.raises(InputError, match=says) as error:
        tune(audio, RATE, NOTE)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("hertz", [15, 27.5, 30.87, 2093, 2217.5, 3520, 3768, 3951, 4186, 5920])
def test_pitches_out_of_range_are_none_of_the_range(hertz):
    time = np.arange(RATE) / RATE
    sound = sum(np.sin(2 * np.pi * hertz * k * time) / k for k in (1, 2) if k * hertz < RATE / 2)
    with pytest.raises(InputError, match="the pitch of the sound is not from C1 to B6"):
        tune((0.2 * sound * np.exp(-time)).astype(np.float32), RATE, Note())


@pytest.mark.parametrize("pitch", [24, 25, 94, 95])
def test_pitches_at_the_ends_of_the_range_are_heard(pitch):
    time = np.arange(RATE) / RATE
    hertz = 440 * 2 ** ((pitch - 69) / 12)
    sound = sum(np.sin(2 * np.pi * hertz * k * time) / k for k in (1, 2))
    heard = tune((0.2 * sound * np.exp(-time)).astype(np.float32), RATE, Note())
    assert (heard.note.pitch, heard.sure) == (pitch, True)


@pytest.mark.parametrize("pitch", [*range(84, 96), 92.79])
@pytest.mark.parametrize("levels", [[1 / k for k in range(1, 6)], [1, 0.8, 0.5, 0.6, 0, 0.3]])
def test_a_high_note_is_not_heard_an_octave_low(pitch, levels):
    time = np.arange(RATE // 2) / RATE
    hertz = 440 * 2 ** ((pitch - 69) / 12)
    partials = [(k, a) for k, a in enumerate(levels, 1) if k * hertz < 10500]
    sound = sum(a * np.sin(2 * np.pi * hertz * k * time) for k, a in partials)
    heard = tune((0.2 * sound * np.exp(-time)).astype(np.float32), RATE, Note())
    assert heard.note.pitch + heard.cents / 100 == pytest.approx(pitch, abs=0.25)
    assert heard.sure


def test_very_short_and_very_long_recordings():
    assert tune(hum(57, 0.15, before=0, after=0), RATE, NOTE).note.hold_seconds < 0.25
    long = tune(np.tile(hum(57, 8.0, before=0, after=0), 10), RATE, NOTE)
    assert long.note.name == "A3"
    assert long.note.hold_seconds == 60.0


def test_the_synths_own_sound_from_elsewhere_is_nearly_the_sound_itself():
    """Presets played five semitones higher, and later."""
    voice, spec = load_synth("voice"), FeatureSpec()
    values = preset_array(voice.presets()[::19], voice.param_space)
    near, plain = [], []
    for preset in values:
        own = spec(voice.render(preset, NOTE, RATE))
        for there in (Note(65, 100, 1.0, 1.5), Note(65, 100, 0.5, 1.0)):
            audio = voice.render(preset, there, RATE)
            try:
                found = tune(np.concatenate([silence(), audio]), RATE, NOTE)
            except InputError:
                continue
            if found.note.pitch == there.pitch:
                near.append(log_distance(spec(found.audio), own))
                plain.append(log_distance(spec(fit_length(audio, 33075, RATE)), own))

    assert len(near) >= 12
    assert np.mean(near) < 0.5 * np.mean(plain)


def test_a_file_of_any_rate_and_level_comes_to_the_loudness_of_known_presets(tmp_path):
    _, posterior = small_posterior()
    spec = posterior.run.features
    x = []
    for rate, gain in ((48000, 1.0), (22050, 0.01)):
        audio = gain * hum(57, 1.2, rate=rate)
        file = tmp_path / f"{rate}.wav"
        soundfile.write(file, np.stack([audio, 0.5 * audio], axis=1), rate, subtype="FLOAT")
        found = posterior.tune(file)
        assert (found.note.name, found.note.velocity) == ("A3", posterior.run.note.velocity)
        assert found.note.hold_seconds == pytest.approx(1.2, abs=0.1)
        x.append(posterior.features(found.audio))
    assert log_distance(*x) < 2.0
    known = spec.power(posterior.bank.sounds(np.arange(len(posterior.bank))))
    loudest = spec.power(np.stack(x)).sum(axis=1).max(axis=1)
    np.testing.assert_allclose(loudest, np.median(known.sum(axis=1).max(axis=1)), rtol=0.3)
    save_audio(tmp_path / "noise.wav", noise(), RATE)
    with pytest.raises(InputError, match=r"noise.wav' has no pitch"):
        posterior.tune(tmp_path / "noise.wav")


def write_tone(file, pitch):
    """Write a steady tone."""
    time = np.arange(2 * RATE) / RATE
    hz = 440 * 2 ** ((pitch - 69) / 12)
    tone = sum(0.6**k * np.sin(2 * np.pi * k * hz * time) for k in range(1, 6))
    save_audio(file, (0.2 * tone).astype(np.float32), RATE)


def test_a_sure_pitch_is_brought_to_the_note_and_an_octave_is_taken_both_ways(tmp_path):
    _, posterior = small_posterior()
    file = tmp_path / "a.wav"
    write_tone(file, 55)
    (way,) = posterior.hear(file)
    assert (way.says, way.tuned.note.name) == ("play it at G3", "G3")
    assert way.pitch == posterior.run.note.pitch
    write_tone(file, 48)  # by its key, or by a preset that sounds an octave below its key
    as_it_is, brought = posterior.hear(file)
    assert as_it_is.says == "the sound is at C3, and the preset plays C3 when C4 is pressed"
    assert brought.play["name"] == "C3"
    assert (as_it_is.pitch, brought.pitch) == (48, 60)
    np.testing.assert_array_equal(as_it_is.audio, posterior.listen(file))
    write_tone(file, 60)
    (way,) = posterior.hear(file)
    assert (way.tuned, way.says, way.pitch) == (None, "", 60)
    save_audio(file, noise(), RATE)
    (way,) = posterior.hear(file)
    np.testing.assert_array_equal(way.audio, posterior.listen(file))
    assert way.pitch is None


def test_a_pitch_that_is_too_low_to_be_told_is_no_reason_for_silence(tmp_path):
    _, posterior = small_posterior()
    time = np.arange(2 * RATE) / RATE
    saw = sum(np.sin(2 * np.pi * 27.5 * k * time) / k for k in range(1, 300))
    save_audio(tmp_path / "a.wav", (0.1 * saw).astype(np.float32), RATE)
    (way,) = posterior.hear(tmp_path / "a.wav")
    assert way.says.startswith("no pitch from C1 to B6 is told")
    assert hearing_advice(way, None) == way.says


@pytest.mark.parametrize("pitch", [59, 60])
def test_a_short_held_note_is_stretched_at_the_runs_own_note_too(tmp_path, pitch):
    """Else it would be answered by presets that end by themselves, and at B3 by others."""
    _, posterior = small_posterior()
    own = posterior.run.note
    file = tmp_path / "a.wav"
    time = np.arange(2 * RATE) / RATE
    phase = 2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * time
    tone = sum(0.2 * 0.6**k * np.sin(k * phase) for k in range(1, 6))
    held = tone * np.minimum(1, 20 * np.maximum(0, 0.4 * own.hold_seconds - time))
    save_audio(file, held.astype(np.float32), RATE)
    *as_it_is, brought = posterior.hear(file)
    assert brought.tuned.held
    assert brought.tuned.note.hold_seconds < 0.6 * own.hold_seconds
    assert brought.play["name"] == ("B3" if pitch == 59 else "C4")
    assert len(as_it_is) == (pitch == 60)
    for way in as_it_is:
        assert way.says.startswith("was it let go after 0.")
        np.testing.assert_array_equal(way.audio, posterior.listen(file))
    pluck = tone * np.exp(-time / 0.1)
    save_audio(file, pluck.astype(np.float32), RATE)
    (way,) = posterior.hear(file)
    assert bool(way.tuned) == (pitch == 59)


def tone(envelope, pitch=60):
    """Return a steady tone with a level at every quarter of a second."""
    time = np.arange(len(envelope) * RATE // 4) / RATE
    hz = 440 * 2 ** ((pitch - 69) / 12)
    level = np.interp(4 * time, np.arange(len(envelope)), envelope)
    sound = sum(0.6**k * np.sin(2 * np.pi * k * hz * time) for k in range(1, 6))
    return (0.2 * level * sound).astype(np.float32)


HELD = tone(np.ones(16))


@pytest.mark.parametrize(
    ("recording", "told"),
    [
        (tone(np.ones(48)), False),  # held for 12 s
        (tone(0.9 ** np.arange(48.0)), False),  # dies away for as long
        (np.concatenate([HELD[:RATE], silence(), HELD[:RATE], silence(), HELD[:RATE]]), False),
        (np.concatenate([HELD, 0.1 * tone(np.ones(32), 67)]), False),  # faint
        (np.concatenate([HELD, tone(np.ones(32), 67)]), True),  # another note
        (np.concatenate([HELD, 0.1 * noise(), 0.1 * noise(), 0.1 * noise()]), True),
        (tone(np.bartlett(48)), True),  # a swell with its peak at 6 s
    ],
)
def test_what_is_not_used_is_told_if_it_is_much_and_unlike_what_is(recording, told):
    used = (0, 4 * RATE)
    advice = coverage_advice(recording, used, FeatureSpec())
    assert bool(advice) == told
    later = (len(recording) - 4 * RATE, len(recording))
    assert not told or coverage_advice(recording[::-1].copy(), later, FeatureSpec())  # before it


def test_an_answer_to_a_part_of_a_recording_says_so_wherever_it_is_shown(tmp_path):
    _, posterior = small_posterior()
    file = tmp_path / "two.wav"
    save_audio(file, np.concatenate([HELD, tone(np.ones(32), 67)]), RATE)
    says = "of its 12.0 s were used, and the rest sounds different; cut the file"
    for own_level in (False, True):
        out = tmp_path / str(own_level)
        (found,), failed = infer_sounds(
            posterior, [file], out, budget=2, draws=2, own_level=own_level, workers=1
        )
        assert not failed
        assert says in found.advice
        assert says in (out / "two" / "report.html").read_text()
        assert says in json.loads((out / "two" / "preset.json").read_text())["advice"]
    assert says in nearest_presets(posterior, file, 1).heard["advice"]
    save_audio(file, tone(np.ones(24)), RATE)
    assert not any(way.coverage for way in posterior.hear(file))


@pytest.mark.parametrize(("cymbal", "told"), [(0.5, False), (10.0, True)])
def test_a_sound_of_which_little_is_heard_at_the_rate_of_the_run_says_so(tmp_path, cymbal, told):
    """Most of a closed hi-hat is above 11 kHz, of which a run at 22,050 Hz hears nothing."""
    _, posterior = small_posterior()
    time = np.arange(2 * 44100) / 44100
    random = np.random.default_rng(1)
    high = np.diff(random.standard_normal(len(time) + 6), 6) / 30  # rises towards 22 kHz
    hat = 0.02 * (np.sin(2 * np.pi * 3000 * time) + cymbal * high)
    file = tmp_path / "hat.wav"
    save_audio(file, hat.astype(np.float32), 44100)
    (found,), failed = infer_sounds(
        posterior, [file], tmp_path / "out", budget=2, draws=2, workers=1
    )
    assert not failed
    assert ("% of its energy is above 11025 Hz" in (found.advice or "")) == told
    assert all(bool(way.coverage) == told for way in posterior.hear(file))


@pytest.mark.parametrize(("full", "told"), [(1.0, False), (30_000.0, True)])
def test_integers_as_floats_are_no_level_of_a_synths_own(tmp_path, full, told):
    _, posterior = small_posterior()
    time = np.arange(2 * 22050) / 22050
    file = tmp_path / "a.wav"
    soundfile.write(file, full * 0.3 * np.sin(2 * np.pi * 261.6 * time), 22050, "FLOAT")
    (way,) = hear(posterior, file, own_level=True)
    assert ("samples reach 9,000, where 1 is full scale" in way.coverage) == told


def test_the_common_period_of_a_chord_is_no_sure_pitch(tmp_path):
    _, posterior = small_posterior()
    time = np.arange(2 * RATE) / RATE
    roots = 440 * 2 ** ((np.array([52, 56, 59]) - 69) / 12)
    chord = sum(0.1 * np.sin(2 * np.pi * k * hz * time) / k for hz in roots for k in (1, 2, 3))
    file = tmp_path / "chord.wav"
    save_audio(file, chord.astype(np.float32), RATE)
    as_it_is, brought = posterior.hear(file)
    assert as_it_is.tuned is None
    assert not brought.tuned.sure
    assert as_it_is.pitch is brought.pitch is None
    assert "or a chord?): press C4 for what was heard" in as_it_is.says


@pytest.mark.parametrize(
    ("root", "above"), [(48, 2), (50, 3), (60, 5), (60, 7), (50, 8), (60, 9), (60, 16)]
)
def test_a_pitch_of_two_notes_is_not_sure(root, above):
    time = np.arange(2 * RATE) / RATE
    hz = 440 * 2 ** ((root - 69 + np.array([[0], [above]])) / 12) * np.arange(1, 7)
    partials = np.sin(2 * np.pi * hz[..., None] * time) / np.arange(1, 7)[:, None]
    one, other = 0.1 * partials.sum(axis=1).astype(np.float32)
    for single in (one, other, one - 0.1 * partials[0, 0].astype(np.float32)):
        assert tune(single, RATE, Note()).sure  # the last one without its fundamental
    assert not tune(one + other, RATE, Note()).sure


def test_an_unsure_pitch_is_taken_the_way_that_is_met_better(tmp_path):
    _, posterior = small_posterior()
    known = posterior.render(posterior.bank.values[:1])[0]
    right, wrong = Hearing(known, says="right"), Hearing(noise()[: len(known)], says="wrong")
    ways = [wrong, right]
    with posterior.renderer(1, keep_audio=True) as renderer:
        for budget, tried in ((16, []), (32, ["bank", "posterior", "posterior"])):
            searches = [open_search(posterior, way, renderer) for way in ways]
            assert ways[choose(searches, budget)] is right
            assert all(search.pool.source.tolist() == tried for search in searches)
        rendered = []
        for wrong, message in (
            ([], "ways are no list of Hearing; give what posterior.hear"),
            ("note.wav", "ways is str 'note.wav'; give what posterior.hear"),
            (ways[0], "ways is Hearing .*; give what posterior.hear"),
        ):
            with pytest.raises(InputError, match=message):
                refine(posterior, wrong, renderer, 64)
        match, way, spent = refine(posterior, ways, renderer, 64, report=rendered.append)
    assert way is right
    assert spent == sum(rendered) == 64
    assert match.n_renders == 61


def test_of_near_presets_one_that_is_in_tune_comes_first():
    """The nearest ones are a second oscillator that is 45 cents flat."""
    synth, spec = load_synth("voice"), FeatureSpec(sample_rate=RATE)
    space = synth.param_space
    values = np.tile(space.defaults, (N_FLAT + 1, 1))
    mix, detune = space.index(["osc_mix", "osc2_detune"])
    values[:, mix] = 1.0
    values[:, detune] = [*np.linspace(-45, -44, N_FLAT), 10.0]
    unit = space.to_unit(values)
    way = Hearing(np.zeros(1, np.float32), pitch=NOTE.pitch)
    with Renderer(synth, NOTE, RATE, workers=1, transform=spec, keep_audio=True) as renderer:
        flat, right = renderer.render(values[[0, -1]]).features
        apart = float(log_distance(flat, right))

        def answer(farther, chosen, way=way):
            """Return the detune of the answer if the one in tune is so many dB farther."""
            share = (1 + farther / apart) / 2
            target = share * flat + (1 - share) * right
            off = None if way.pitch is None else partial(off_pitch, way=way, spec=spec)
            pool = Pool(target, space, space, renderer, off_pitch=off)
            pool.add(unit[chosen], "bank")
            order, in_tune = pool.answers()
            assert sorted(order) == [*range(len(chosen))]
            assert (np.diff(pool.lsd[order][1:]) >= 0).all()
            match = pool.match()
            np.testing.assert_array_equal(match.lsd, pool.lsd[order])
            assert shown(pool)[0] == order[0]  # on the page
            return round(match.values[0, detune]), in_tune, pool.off

        assert apart > 2 * NO_FARTHER_DB
        found, in_tune, off = answer(0.5, [0, 1, -1])
        assert (found, in_tune) == (10, True)
        np.testing.assert_allclose(off, [-0.45, -0.45, 0.1], atol=0.03)
        assert answer(1.5, [0, -1])[:2] == (-45, False)  # too far to be worth it
        assert answer(0.5, [*range(N_FLAT), -1])[:2] == (10, True)  # however many are nearer
        assert answer(0.5, [0, -1], Hearing(way.audio))[:2] == (-45, True)  # of a drum
    assert [tuning(one) for one in (*off[1:], np.nan)] == ["45 cents flat", "in tune", ""]
    assert hearing_advice(way, off[0]) == "the preset sounds 45 cents below its key"
    kept = Hearing(way.audio, says="the preset plays C3 when C4 is pressed", pitch=48)
    assert hearing_advice(kept, off[0]) == f"{kept.says}; the preset sounds 45 cents below that"
    assert hearing_advice(way, off[2]) == ""
    assert off_pitch(np.zeros(9, np.float32), way, spec) is None


def test_an_answer_is_in_tune_where_it_is_played():
    """The nearest one is a resonance that does not follow the keys."""
    synth, spec = load_synth("voice"), FeatureSpec(sample_rate=RATE)
    space = synth.param_space
    values = np.tile(space.defaults, (2, 1))
    resonance = space.index(["filter_type", "filter_slope", "filter_cutoff", "filter_resonance"])
    values[0, resonance] = [1, 0, NOTE.pitch, 1.0]
    low = replace(NOTE, pitch=NOTE.pitch - 19)  # the resonance is at its third partial
    off = partial(off_pitch, way=Hearing(np.zeros(1, np.float32), pitch=NOTE.pitch), spec=spec)
    with Renderer(synth, NOTE, RATE, workers=1, transform=spec, keep_audio=True) as renderer:
        fixed, right = renderer.render(values).features
        share = (1 + 0.5 / float(log_distance(fixed, right))) / 2
        target = share * fixed + (1 - share) * right

        def answer(play, n, chosen=(0, 1)):
            """Return the answer, whether it is in tune, and its pitch, after n more renders."""
            rendered = []
            pool = Pool(target, space, space, renderer, rendered.append, off_pitch=off, play=play)
            pool.add(space.to_unit(values[[*chosen]]), "bank")
            pool.play_answer(n)
            order, in_tune = pool.answers()
            assert sum(rendered) == pool.n_renders == pool.match().n_renders
            return order[0], in_tune, round(float(pool.off[order[0]])), sum(rendered)

        assert answer(None, 9) == (0, True, 0, 2)  # at the note that is learnt
        assert answer(low, 9) == (1, True, 0, 4)  # each was played once, as long as it was needed
        assert answer(low, 0) == (0, True, 0, 2)
        assert answer(low, 9, [0]) == (0, False, 19, 2)  # there is none in tune, and that is known


def test_a_search_of_any_pitch_counts_the_answers_it_plays(tmp_path):
    _, posterior = small_posterior()
    save_audio(tmp_path / "hum.wav", hum(55, 0.9), RATE)
    (way,) = posterior.hear(tmp_path / "hum.wav")
    key = way.key(posterior.run.note)
    assert (key.pitch, key.duration_seconds) == (55, posterior.run.note.duration_seconds)
    rendered = []
    with posterior.renderer(1, keep_audio=True) as renderer:
        search = open_search(posterior, way, renderer, report=rendered.append)
        search.run(64)
    assert len(search.pool) < search.pool.n_renders == sum(rendered) <= 64
    assert search.match().n_renders == search.pool.n_renders


def test_infer_says_what_to_play_and_keeps_what_was_made(tmp_path, capfd):
    run, posterior = small_posterior()
    save_audio(tmp_path / "hum.wav", hum(55, 0.9), RATE)
    save_audio(tmp_path / "noise.wav", noise(), RATE)
    out = tmp_path / "out"
    infer = ["infer", str(run), str(tmp_path / "hum.wav"), str(tmp_path / "noise.wav")]
    infer += ["--out", str(out), "--budget", "12", "--draws", "4", "--workers", "1"]
    assert main(infer) == 0
    printed, _ = capfd.readouterr()
    said = printed.splitlines()[0]
    folder = out / "hum"
    assert sorted(f.name for f in out.iterdir()) == ["hum", "noise"]
    assert "play" not in json.loads((out / "noise" / "preset.json").read_text())
    facts = json.loads((folder / "preset.json").read_text())
    assert facts["note"] == posterior.run.note.to_json()
    assert (facts["play"]["name"], facts["play"]["held"]) == ("G3", True)
    assert said.endswith(f"; play G3, 0.9 s ({facts['play']['lsd_db']:.2f} dB there)")
    note = Note(**facts["play"]["note"])
    assert note.hold_seconds == pytest.approx(0.9, abs=0.1)

    synth = posterior.synth
    values = Preset.load(folder / "preset.json", synth.name)
    values = values.array(synth.param_space)
    for name, played in (("render.wav", posterior.run.note), ("played.wav", note)):
        audio, rate = soundfile.read(folder / name, dtype="float32")
        np.testing.assert_array_equal(audio, synth.render(values, played, rate))
    assert rate == RATE
    there = posterior.features(fit_length(audio, posterior.run.note.n_samples(rate), rate))
    wanted = posterior.features(posterior.listen(tmp_path / "hum.wav"))
    assert facts["play"]["lsd_db"] == pytest.approx(float(log_distance(there, wanted)), abs=0.01)
    html = (folder / "report.html").read_text()
    assert "played at G3, 0.9 s" in html
    assert f"Played there, the preset is {facts['play']['lsd_db']:.2f} dB from" in html
    assert "Pitch of the recording over time" in html

    kept = {f: f.stat().st_mtime_ns for f in folder.iterdir()}
    one = [*infer[:3], *infer[4:]]
    assert main(one) == 0
    assert "made earlier; play G3, 0.9 s" in capfd.readouterr().out
    written = (folder / "preset.json").read_bytes()
    (folder / "preset.json").write_text(json.dumps({**facts, "play": {"name": "G3"}}))
    assert main(one) == 2
    assert "holds something else than an inferred preset" in capfd.readouterr().err
    (folder / "preset.json").write_bytes(written)
    kept[folder / "preset.json"] = (folder / "preset.json").stat().st_mtime_ns
    assert main([*one, "--own-level"]) == 0
    assert "with other settings" in capfd.readouterr().out
    assert {f: f.stat().st_mtime_ns for f in folder.iterdir()} == kept
    assert main([*one, "--own-level", "--force"]) == 0
    assert not (folder / "played.wav").exists()
    assert "play" not in json.loads((folder / "preset.json").read_text())


@pytest.mark.parametrize(
    ("how", "says"), [("pitch 61", "gave no numbers"), ("pitch 61 silent", "was silent")]
)
def test_a_preset_that_fails_where_it_is_to_be_played_is_kept(tmp_path, monkeypatch, how, says):
    monkeypatch.setenv(FAILS, how)
    save_audio(tmp_path / "hum.wav", hum(67, 0.9), RATE)
    (found,), failed = infer_sounds(
        small_posterior()[1], [tmp_path / "hum.wav"], tmp_path / "out", budget=12, draws=4,
        workers=1, progress=False,
    )  # fmt: skip
    assert failed == []
    assert f"the synth {says} when it played" in found.advice
    assert found.advice.endswith("no played.wav")
    facts = json.loads((tmp_path / "out" / "hum" / "preset.json").read_text())
    assert facts["play"] == found.play
    assert "lsd_db" not in found.play
    written = {file.name for file in (tmp_path / "out" / "hum").iterdir()}
    assert {"render.wav", "posterior.nc", "report.html"} < written
    assert "played.wav" not in written


class Tiring(Renderer):
    """A synth that fails, or falls silent, after so many sounds."""

    left, fate = 12, "crashed"

    def render(self, values, **options):
        rendered = super().render(values, **options)
        self.left -= len(rendered.reason)
        if self.left < 0:
            rendered.reason[:] = self.fate
            rendered.audio[:] = 0.0
        return rendered


@pytest.mark.parametrize(
    ("fate", "said", "files"),
    [
        ("crashed", "the synth crashed when it played the preset again; no render.wav", set()),
        ("silent", "preset that was found is silent; give a larger --budget", {"render.wav"}),
    ],
)
def test_a_preset_that_has_no_sound_when_it_is_played_again_is_kept(tmp_path, fate, said, files):
    _, posterior = small_posterior()
    save_audio(tmp_path / "noise.wav", noise(), RATE)
    features = posterior.run.features
    with Tiring(
        posterior.synth, posterior.run.note, features.sample_rate, workers=1, keep_audio=True,
        transform=features,
    ) as renderer:  # fmt: skip
        renderer.fate = fate
        found = infer_sound(
            posterior, tmp_path / "noise.wav", tmp_path / "noise", renderer, budget=12, draws=4
        )
    assert found.advice.endswith(said)
    written = {file.name for file in (tmp_path / "noise").iterdir()}
    assert written - {".pyrosynth.json"} - files == {
        "posterior.nc", "preset.json", "report.html"
    }  # fmt: skip
    assert files < written


@pytest.mark.parametrize("begins", [0.0, np.pi])
def test_a_wide_vibrato_is_heard_at_its_middle(begins):
    """As singers have it: a semitone to either side, of which the turns last the longest."""
    time = np.arange(2 * RATE) / RATE
    phase = np.cumsum(220 * 2 ** (np.sin(2 * np.pi * 5.5 * time + begins) / 12)) / RATE
    sung = sum(np.sin(2 * np.pi * k * phase) / k for k in range(1, 30)).astype(np.float32)
    found = tune(0.2 * sung, RATE, Note(), "sung")
    assert found.note.pitch == 57
    assert abs(found.cents) < 12
    assert found.sure


def test_one_process_compiles_at_a_time():
    """What two write into numba's cache at once crashes those that read it, for good."""
    librosa = load_librosa()
    load_librosa.cache_clear()
    other = threading.Thread(target=load_librosa)
    with open(librosa.__file__, "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another file is open, as in another process
        other.start()
        other.join(0.3)
        assert other.is_alive()
    other.join()
    assert load_librosa() is librosa


def test_a_count_in_before_a_note_is_not_compared_with_it(tmp_path):
    _, posterior = small_posterior()
    beep = 0.3 * np.sin(2 * np.pi * 1000 * np.arange(int(0.06 * RATE)) / RATE)
    beeps = np.concatenate([np.r_[beep, np.zeros(int(0.44 * RATE))]] * 4).astype(np.float32)
    note, distances = hum(67, 0.9), []
    for name, sound in (("alone.wav", note), ("counted.wav", np.concatenate([beeps, note]))):
        save_audio(tmp_path / name, sound, RATE)
        tuned = posterior.tune(tmp_path / name)
        recording = load_audio(tmp_path / name, posterior.run.features.sample_rate)
        distances.append(distance_as_played(posterior, recording, tuned, note))
    assert distances[0] < 3  # the levels differ
    assert distances[1] == pytest.approx(distances[0], abs=0.3)
