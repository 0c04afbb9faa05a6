"""A run that is played: points, axes, sounds, files."""

import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile
from lively import fine_axis, small_posterior

from pyrosynth.audio.descriptors import describe_features
from pyrosynth.audio.metrics import log_distance
from pyrosynth.data.labeling import DESCRIBED
from pyrosynth.errors import InputError, SynthError
from pyrosynth.inference.hearing import Hearing
from pyrosynth.live import sounds
from pyrosynth.live.controls import LONGEST_STEP
from pyrosynth.live.engine import Live
from pyrosynth.live.files import SessionFiles
from pyrosynth.synths.presets import Preset


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sounds")


@pytest.fixture(scope="module")
def live(folder):
    with Live(small_posterior()[1], [folder]) as live:
        yield live


def test_known_presets_and_axes(live):
    assert len(live.space) == live.posterior.bank.human.sum()
    z = live.space.locate(live.space.names[3])
    bank = live.posterior.bank.values[live.space.in_bank[3]]
    space = live.posterior.run.full_space
    np.testing.assert_array_equal(space.levels(live.space.values(z)), space.levels(bank))
    assert list(live.controls)[:5] == ["loudness", "brightness", "noisiness", "length", "movement"]
    assert sum(c.kind == "principal" for c in live.controls.values()) > 0
    with pytest.raises(InputError, match="unknown preset 'nobody'; known: .*in all"):
        live.space.locate("nobody")


def test_moving_sets_one_axis_and_steps_add_up(live):
    start = live.random(1)
    np.testing.assert_array_equal(start.values, live.random(1).values)
    there = live.move(start, {"brightness": 1.5})
    assert live.positions(there.z)["brightness"] == pytest.approx(1.5, abs=1e-4)
    twice = live.move(live.move(start, {"pc1": 0.5}, by=True), {"pc1": 0.5}, by=True)
    once = live.move(start, {"pc1": 1.0}, by=True)
    np.testing.assert_allclose(twice.z, once.z, atol=1e-4)
    end = live.move(start, {"pc1": 1e30}, by=True)
    assert live.positions(end.z)["pc1"] == pytest.approx(6.0, abs=1e-3)
    with pytest.raises(InputError, match="axis 'pc1' at 1e.30: give -6 to 6"):
        live.move(start, {"pc1": 1e30})
    with pytest.raises(
        InputError, match="unknown axis 'x'; known: loudness, .*z1 to z16"
    ) as error:
        live.move(start, {"x": 1})
    assert "pc1," not in str(error.value), "it is among pc1 to pc16"
    with pytest.raises(InputError, match="axis 'pc1' at nan: give a number"):
        live.move(start, {"pc1": float("nan")})
    with pytest.raises(InputError, match="16 finite numbers"):
        live.point([0.0])


def test_a_step_from_where_a_preset_is_far_out_goes_the_way_that_is_asked(live, monkeypatch):
    monkeypatch.setitem(live.controls, "fine", fine_axis(live))
    at = live.axis("fine").position(live.space.z)
    *_, far, farthest = np.argsort(abs(at), kind="stable")
    for step in (1.0, -1.0):
        for number in (far, farthest):
            moved = live.move(live.space.place(live.space.names[number]), {"fine": step}, by=True)
            goal = np.clip(at[number] + step, -abs(at[farthest]), abs(at[farthest]))
            assert live.positions(moved.z)["fine"] == pytest.approx(goal, abs=1e-3)
    there = live.move(live.space.place(None), {"fine": float(at[far])})
    assert live.positions(there.z)["fine"] == pytest.approx(at[far], abs=1e-3)
    most = f"{abs(at[farthest]):g}"
    with pytest.raises(InputError, match=f"give -{most} to {most}"):
        live.move(there, {"fine": 2 * float(at[farthest])})
    beyond = live.space.place(live.axis("fine").at(there.z, 2 * at[farthest]))
    back = live.move(beyond, {"fine": -float(np.sign(at[farthest]))}, by=True)
    assert abs(live.positions(back.z)["fine"]) == pytest.approx(
        2 * abs(at[farthest]) - 1, abs=0.01
    )


def test_a_step_on_a_control_raises_one_number_by_its_spread_and_keeps_the_others(live):
    space = live.space
    numbers = describe_features(space.features, live.posterior.run.features)
    slopes, *_ = np.linalg.lstsq(
        np.column_stack([space.z, np.ones(len(space))]), numbers / numbers.std(0), rcond=None
    )
    steps = np.stack([live.controls[tag.name].axis.direction for tag in DESCRIBED])
    raised = steps @ slopes[:-1]
    shortened = np.linalg.norm(steps, axis=1) > LONGEST_STEP - 1e-3
    np.testing.assert_allclose(raised.diagonal()[~shortened], 1.0, atol=0.1)
    assert (raised.diagonal() > 0).all()
    np.testing.assert_allclose(raised - np.diag(raised.diagonal()), 0.0, atol=0.1)


def test_the_preset_of_a_sound_is_never_farther_from_it_than_the_nearest_known_one(live):
    rng = np.random.default_rng(0)
    rate = live.posterior.run.features.sample_rate
    time = np.arange(live.posterior.run.note.n_samples(rate)) / rate
    sounds = [live.render(live.known(0)).audio]
    sounds += [0.3 * np.sin(2 * np.pi * hz * time).astype(np.float32) for hz in (220, 440, 3000)]
    sounds += [0.1 * rng.standard_normal(len(time)).astype(np.float32)]
    for audio in sounds:
        match, _ = live.encode([Hearing(audio)])
        np.testing.assert_array_equal(match.x, live.posterior.features(audio))
        # What is said is measured.
        assert match.lsd_db == pytest.approx(
            log_distance(live.render(match.place.values).x, match.x)
        )
        nearest = live.space.bank.nearest(match.x[None])[0][0, 0]
        known = live.render(live.known(nearest)).x
        assert match.lsd_db <= log_distance(known, match.x) + 1e-6
    # The way that is met better counts.
    match, way = live.encode([Hearing(sounds[3]), Hearing(sounds[0])])
    assert match.lsd_db < 0.1
    assert way.audio is sounds[0]
    near = live.near(live.space.z[0], 3)
    assert near[0][1] <= near[2][1]
    with pytest.raises(InputError, match="k 0: give an integer from 1"):
        live.near(live.space.z[0], 0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda v, p: v.move(p, ["brightness"]),
            r"to is list \['brightness'\]; give positions by",
        ),
        (lambda v, p: v.move(p, {"brightness": "1"}), "axis 'brightness' at '1': give a number"),
        (lambda v, p: v.move(p, {"pc1": None}, by=True), "axis 'pc1' at None: give a number"),
        (
            lambda v, p: v.move("name", {"pc1": 1}),
            "place is str 'name'; give a Place, as space.pl",
        ),
        (lambda v, p: v.steer(p.values, {"pc1": 1}), "place is ndarray .*; give a Place"),
        (lambda v, p: v.render(p), "values that are no numbers .Place .*; give numbers"),
        (
            lambda v, p: v.render(Preset("a")),
            r"values are Preset.*; give preset.array\(synth.para",
        ),
        (lambda v, p: v.render(p.values, 60), "note is int 60; give one of live.note, or None"),
        (lambda v, p: v.known("x"), "preset number 'x': give an integer from 0 to"),
        (lambda v, p: v.known(99999), "preset number 99999: give an integer from 0 to"),
        (lambda v, p: v.known(-1), "preset number -1: give an integer from 0 to"),
        (lambda v, p: v.near(p.z, "3"), "k '3': give an integer from 1 to"),
        (lambda v, p: v.near("nobody"), "unknown preset 'nobody'; known: "),
        (lambda v, p: v.encode("a.wav"), r"ways is str 'a.wav'; give those of posterior.hear\("),
        (lambda v, p: v.encode(["a.wav"]), "one of the ways is str 'a.wav'; give those of"),
        (lambda v, p: v.encode([]), "there is no way to take the sound; give those"),
        (lambda v, p: v.hold("p", {"level": 1}), "place is str 'p'; give a Place"),
        (lambda v, p: v.hold(p, ["level"]), r"locked is list \['level'\]; give native values by"),
        (lambda v, p: v.held(p.values, {"level": "x"}), "'level' locked at 'x': give a number"),
        (lambda v, p: v.axis(1), "axis is int 1; give its name, such as pc1"),
        (lambda v, p: v.random(None), "seed None: give an integer"),
    ],
)
def test_arguments_of_another_kind_are_one_line(live, call, message):
    with pytest.raises(InputError, match=message):
        call(live, live.random(1))


def test_what_is_closed_renders_no_more():
    posterior = small_posterior()[1]
    with Live(posterior) as live:
        place = live.random(1)
    with pytest.raises(InputError, match="this renderer is closed; open another"):
        live.render(place.values)
    renderer = posterior.renderer(1)
    renderer.close()
    with pytest.raises(InputError, match="this renderer is closed; open another"):
        posterior.refine(posterior.features(np.zeros(11025, np.float32)), renderer)


def test_a_preset_is_finite_numbers_within_their_ranges(live):
    params = live.posterior.run.full_space
    rounded = live.checked(params.maximum + 0.001 * (params.maximum - params.minimum))
    np.testing.assert_array_equal(rounded, params.maximum)
    settings = params.discrete & (params.maximum - params.minimum >= 1)
    between = live.checked(np.where(settings, params.minimum + 0.4, params.defaults))
    assert settings.any()
    np.testing.assert_array_equal(between[settings], params.minimum[settings])
    defaults, first = params.defaults.tolist(), f"parameter '{params.names[0]}'"
    for bad, says in (
        ([1.0], r"values have shape \(1,\); the last axis must hold"),
        ("much", "values that are no numbers"),
        ([*map(str, defaults)], "values that are no numbers"),
        ([defaults], r"they must be \(n_params,\)"),
        ([np.nan] * len(params), f"{first} is not a finite number"),
        ([1e9, *defaults[1:]], rf"{first} is 1e\+09, outside its range from"),
    ):
        with pytest.raises(InputError, match=says):
            live.checked(bad)
    with pytest.raises(InputError, match="a point is .* that are no numbers"):
        live.point(["0"] * live.space.dim)


def test_rendering_from_many_threads_is_the_synths_own_sound(live):
    values = [live.space.values(z) for z in live.space.z[:6]]
    with ThreadPoolExecutor(6) as pool:
        sounds = list(pool.map(live.render, values * 2))
    with live.posterior.renderer(1, keep_audio=True) as renderer:
        expected = renderer.render(values).audio
    for i, played in enumerate(sounds):
        np.testing.assert_array_equal(played.audio, expected[i % 6])
    # Of two threads that render the same at once, the sound of one is kept.
    assert any(live.render(values[0]) is sound for sound in sounds[::6])


def test_a_tone_is_heard_and_both_renderers_play_before_they_are_wanted(live):
    live.warm_up()  # which the server does not wait for, and would not tell of


def test_what_is_rendered_is_remembered_up_to_a_limit(live, monkeypatch):
    monkeypatch.setattr(sounds, "KEPT", 2)
    values = [live.space.values(z) for z in live.space.z[10:14]]
    first = live.render(values[0])
    assert live.render(values[0]) is first
    for row in values[1:]:
        live.render(row)
    assert live.render(values[0]) is not first


def test_only_sounds_in_the_folders_are_read(live, folder, tmp_path, caplog):
    tone = 0.3 * np.sin(np.arange(22050) * 0.05)
    soundfile.write(folder / "tone.wav", tone, 22050)
    soundfile.write(tmp_path / "secret.wav", tone, 22050)
    os.symlink(tmp_path / "secret.wav", folder / "link.wav")
    soundfile.write(folder / "silent.wav", 0 * tone, 22050)
    soundfile.write(folder / "long.wav", np.zeros(8000 * 200, "int16"), 8000)
    shutil.copy(folder / "tone.wav", os.fsencode(folder) + b"/caf\xe9.wav")  # no UTF-8
    assert "tone.wav" in live.files.sounds()
    assert "\n".join(live.files.sounds()).encode().count(b"caf") == 0
    assert "link.wav" not in live.files.sounds()
    os.mkfifo(folder / "pipe.wav")
    assert "pipe.wav" not in live.files.sounds()
    with pytest.raises(InputError, match="unknown sound 'pipe.wav'"):
        live.files.sound("pipe.wav")
    shutil.copy(folder / "tone.wav", folder / "flo\u0308te.wav")  # as a Mac spells it
    assert len(live.files.sound("fl\u00f6te.wav")) == len(live.files.sound("tone.wav"))
    soundfile.write(folder / "stream.flac", tone, 22050)
    content = bytearray((folder / "stream.flac").read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)  # as a recorder writes it that cannot seek: it says no length
    (folder / "stream.flac").write_bytes(content)
    assert len(live.files.sound("stream.flac")) == len(live.files.sound("tone.wav"))
    (folder / "text.wav").write_text("no sound")
    n_samples = live.posterior.run.note.n_samples(22050)
    for ways in (
        live.files.sound("tone.wav"),
        live.files.upload((folder / "tone.wav").read_bytes(), "me"),
    ):
        assert (ways[-1].audio.shape, ways[-1].tuned.words) == ((n_samples,), "F3, 1.0 s")
    noise = np.random.default_rng(0).standard_normal(22050)
    soundfile.write(folder / "noise.wav", 0.1 * noise, 22050)
    (as_it_is,) = live.files.sound("noise.wav")
    assert as_it_is.tuned is None
    with pytest.raises(InputError, match="'a.wav': --sounds names no folder of sounds yet"):
        SessionFiles(live.posterior).sound("a.wav")
    outside = ("link.wav", "../secret.wav", str(tmp_path / "secret.wav"), "\0", "", "a" * 5000)
    for name in outside:
        with pytest.raises(InputError, match="unknown sound|not the name of a file"):
            live.files.sound(name)
    with pytest.raises(InputError, match=r"^'silent.wav' is silent"):
        live.files.sound("silent.wav")
    with pytest.raises(InputError, match="'long.wav' lasts 200 s"):
        live.files.sound("long.wav")
    with pytest.raises(InputError, match="'text.wav' is not a readable"):
        live.files.sound("text.wav")
    with pytest.raises(InputError, match="the name of a sound is int 5; give one that sounds"):
        live.files.sound(5)
    (tmp_path / "twin").mkdir()
    shutil.copy(live.files.folders[0] / "tone.wav", tmp_path / "twin")
    both = SessionFiles(live.posterior, [live.files.folders[0], tmp_path / "twin"])
    for _ in range(2):
        assert both.sounds() == live.files.sounds()
    (line,) = caplog.messages
    assert f"tone.wav' is the sound of that name, not '{tmp_path}" in line
    with pytest.raises(InputError, match=r"^'dropped' is not a readable"):
        live.files.upload(b"nothing", "dropped")
    with pytest.raises(InputError, match="nowhere' is not there; give a folder that the sound"):
        Live(live.posterior, [tmp_path / "nowhere"])
    with pytest.raises(InputError, match="text.wav' is a file; give the folder that the sound"):
        Live(live.posterior, [live.files.folders[0] / "text.wav"])


def test_a_file_that_somebody_has_made_long_is_not_read_to_find_that_out(live, tmp_path):
    files = SessionFiles(live.posterior)
    (tmp_path / "take.wav").write_bytes(b"rendered")
    files.wrote(tmp_path / "take.wav")
    assert files.may_write(tmp_path / "take.wav")
    os.truncate(tmp_path / "take.wav", 2**43)
    assert not files.may_write(tmp_path / "take.wav")


def test_a_note_is_rendered_at_its_pitch_and_length(live):
    values, own = live.known(0), live.posterior.run.note
    synth, rate = live.posterior.synth, live.posterior.run.features.sample_rate
    note = live.note(own.pitch + 7, 0.1)
    assert live.render(values, note) is live.render(values, note)
    np.testing.assert_array_equal(
        live.render(values, note).audio, synth.render(values, note, rate)
    )
    np.testing.assert_array_equal(live.render(values).audio, synth.render(values, own, rate))
    assert live.note(own.pitch, 99.0) == own  # no longer than the run's note
    for pitch, hold in ((128, 1.0), (60.5, 1.0), (60, 0.0), (60, float("nan"))):
        with pytest.raises(InputError, match="pitch|hold"):
            live.note(pitch, hold)


def test_locked_parameters_stay_whatever_moves(live):
    place = live.space.place(live.space.z[3])
    names = live.posterior.run.space.names[:2]
    params = {p.name: p for p in live.posterior.run.full_space.params}
    locked = {name: params[name].minimum for name in names}
    held = live.hold(place, locked)
    index = live.posterior.run.full_space.index(list(names))
    assert held.values[index].tolist() == list(locked.values())
    others = np.setdiff1d(np.arange(len(params)), index)
    np.testing.assert_array_equal(held.values[others], place.values[others])
    with pytest.raises(InputError, match="unknown parameter 'no'"):
        live.hold(place, {"no": 1.0})


def test_a_preset_leaves_in_full(live):
    suffix, content = live.files.bank([("mine", live.space.values(live.space.z[0]))])
    facts = json.loads(content)
    assert (suffix, facts["name"], facts["synth"]) == (".json", "mine", "plain")
    assert list(facts["parameters"]) == list(live.posterior.run.full_space.names)
    several = live.files.bank([(name, live.known(i)) for i, name in enumerate("ab")])[1]
    assert [preset["name"] for preset in json.loads(several)] == ["a", "b"]


def test_what_is_being_rendered_ends_when_a_run_is_closed():
    with Live(small_posterior()[1]) as live:
        live.render(live.known(0))
        values = np.repeat(live.known(1)[None], 20_000, axis=0)
        with ThreadPoolExecutor(1) as pool:
            rendering = pool.submit(live.search_renderer.render, values)
            while not live.search_renderer.workers[0].pid:
                time.sleep(0.01)
            live.stop()
            with pytest.raises(SynthError, match="nothing is rendered any more"):
                rendering.result(10.0)
        with pytest.raises(SynthError, match="nothing is rendered any more"):
            live.render(live.known(2))
