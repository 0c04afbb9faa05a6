from dataclasses import replace

import numpy as np
import pyro
import pytest
import soundfile
import torch
from small import small_run

from pyrosynth.audio.io import save_audio
from pyrosynth.audio.metrics import log_distance
from pyrosynth.errors import InputError, RunError
from pyrosynth.explore import places
from pyrosynth.inference.infer import infer_sounds
from pyrosynth.inference.pool import Pool
from pyrosynth.inference.posterior import Posterior
from pyrosynth.inference.search import Search


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    return small_run(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def target(fitted):
    dataset, _ = fitted
    return dataset.x(dataset.rows("test"))[0]


def test_programs_of_ones_own_neither_change_draws_nor_see_their_sites(fitted, target):
    _, posterior = fitted
    expected = posterior.sample(target, 3, seed=1).values
    drawn = []

    def program():
        pyro.sample("mine", pyro.distributions.Normal(0.0, 1.0))
        drawn.append(posterior.sample(target, 3, seed=1).values)
        drawn.append(places.drawn(posterior, 3, seed=1))

    latents, _ = places.drawn(posterior, 3, seed=1)
    own = pyro.poutine.condition(program, data={"v": torch.zeros(3), "z": torch.zeros(3)})
    sites = pyro.poutine.trace(own).get_trace().nodes
    assert {*sites} == {"_INPUT", "mine", "_RETURN"}
    np.testing.assert_array_equal(drawn[0], expected)
    np.testing.assert_array_equal(drawn[1][0], latents)
    for dim in (-1, -2, -3):
        with pyro.plate("draws", 5, dim=dim) as indices:
            values = posterior.sample(target, 3, seed=1).values
            mine = pyro.sample("mine", pyro.distributions.Normal(0.0, 1.0))
        assert mine.shape[dim] == len(indices) == 5
        np.testing.assert_array_equal(values, expected)


def test_draws_are_legal_presets_with_their_density(fitted, target):
    _, posterior = fitted
    draws = posterior.sample(target, 32, seed=1)
    space = posterior.run.full_space
    assert draws.values.shape == (32, len(space))
    assert (draws.values >= space.minimum).all()
    assert (draws.values <= space.maximum).all()
    unlearnt = [i for i, n in enumerate(space.names) if n not in posterior.run.space.names]
    assert (draws.values[:, unlearnt] == space.defaults[unlearnt]).all()
    np.testing.assert_array_equal(draws.values, posterior.sample(target, 32, seed=1).values)
    assert (draws.values != posterior.sample(target, 32, seed=2).values).any()


def test_log_prob_scores_the_level_a_draw_falls_in(fitted, target):
    """Of many draws, those in the middle of their level keep the density they were drawn with."""
    _, posterior = fitted
    draws = posterior.sample(target, 256, seed=1)
    scored = posterior.log_prob(draws.values, target)
    assert np.corrcoef(scored, draws.log_q)[0, 1] > 0.9


def test_decode_and_encode_close_the_loop(fitted, target):
    _, posterior = fitted
    z = posterior.encode(target, 8, seed=0)
    values, x = posterior.decode(z)
    np.testing.assert_array_equal(z, posterior.encode(target, 8, seed=0))
    assert x.shape == (8, *target.shape)
    # What the model expects of the decoded preset is what it expects of the latent, up to levels.
    assert log_distance(posterior.predict(values), x).mean() < 1.0


def test_refine_improves_with_the_budget_and_repeats(fitted, target):
    _, posterior = fitted
    with posterior.renderer(workers=1) as renderer:
        short = posterior.refine(target, renderer, budget=8)
        done = []
        long = posterior.refine(target, renderer, budget=96, report=done.append)
        pool = Pool(target, posterior.run.full_space, posterior.run.space, renderer)
        search = Search(posterior, pool)
        search.begin(2)
        assert pool.source.tolist() == ["model", "model", "bank", "bank"]
        search.run(96)
        rendered = renderer.render(long.values[:1])
    assert short.n_renders <= 8
    assert long.n_renders == sum(done) == 96
    assert (np.diff(long.trace[:, 1]) <= 0).all()
    assert long.lsd[0] == long.trace[-1, 1] < long.trace[0, 1]
    assert set(long.source.tolist()) == {"posterior", "bank", "model"}
    assert short.source.tolist().count("model") == 4  # the guess and a round of three steps
    # It repeats, also if it began with few, and renders nothing twice.
    np.testing.assert_array_equal(search.match().values, long.values)
    assert len(np.unique(pool.unit, axis=0)) == 96
    # The distance reported is the distance of the sound that these values make.
    assert log_distance(rendered.features[0], target) == pytest.approx(long.lsd[0], abs=1e-6)


def test_a_bank_of_another_synth_or_note_is_refused(fitted):
    posterior, known = fitted[1], fitted[1].bank
    own = posterior.run.synth_spec["synth"]
    Posterior(posterior.run, replace(known, synth=own))
    for other, said in (
        (replace(known, synth="dexed"), f"the bank is of 'dexed' .*, the run of '{own}' .*; take"),
        (replace(known, values=known.values[:, 1:]), "of .a synth. .* parameters, sounds"),
        ("bank", "bank is str 'bank'; give a bank"),
    ):
        with pytest.raises(InputError, match=said):
            Posterior(posterior.run, other)


def test_refine_without_bank_or_with_one_render(fitted, target):
    _, posterior = fitted
    bare = Posterior(posterior.run)
    with bare.renderer(workers=1) as renderer:
        match = bare.refine(target, renderer, budget=1)
        with pytest.raises(InputError, match="from 1 to"):
            bare.refine(target, renderer, budget=0)
        guess = bare.guess(target)
    assert match.source.tolist() == ["posterior"]
    np.testing.assert_array_equal(match.values[0], guess)


def test_the_first_render_is_the_guess_and_it_starts_from_known_presets(fitted, target):
    _, posterior = fitted
    with posterior.renderer(workers=1) as renderer:
        match = posterior.refine(target, renderer, budget=1)
        nearest = posterior.bank.values[posterior.bank.nearest(target[None], 16)[0][0]]
    assert match.source.tolist() == ["model"]
    guess = posterior.guess(target)
    np.testing.assert_array_equal(match.values[0], guess)
    space = posterior.run.space
    discrete = posterior.learnt(np.vstack([guess, nearest]))[:, space.discrete]
    assert (discrete[1:] == discrete[0]).all(axis=1).any()


def test_a_model_that_gives_no_numbers_is_named_not_the_preset(fitted, target, monkeypatch):
    _, posterior = fitted
    like = posterior.variant.mean_v

    def mean_v(*given):
        return like(*given) * np.nan

    monkeypatch.setattr(posterior.variant, "mean_v", mean_v)
    with pytest.raises(RunError, match="the model of the run gives presets with numbers that are"):
        posterior.mean(target)


def test_tensors_of_any_real_type_are_taken(fitted, target):
    _, posterior = fitted
    unit = torch.full((2, len(posterior.run.space)), 0.4)
    expected = posterior.predict_unit(unit)
    assert torch.equal(posterior.predict_unit(unit.double()), expected)
    assert torch.allclose(posterior.predict_unit(unit.bfloat16()), expected, atol=0.1)
    x = torch.from_numpy(target).bfloat16()
    assert np.array_equal(posterior.sample(x, 2).v, posterior.sample(x.float(), 2).v)


def test_features_of_another_length_are_refused(fitted):
    _, posterior = fitted
    with pytest.raises(InputError, match="fit_length"):
        posterior.features(np.zeros(100, np.float32))


def test_listening_to_any_file_gives_the_length_of_the_note(fitted, tmp_path):
    _, posterior = fitted
    tone = np.sin(np.arange(96000) * 0.05)[:, None] * [0.3, 0.2]
    soundfile.write(tmp_path / "tone.wav", tone, 96000)
    audio = posterior.listen(tmp_path / "tone.wav")
    assert posterior.features(audio).shape == posterior.run.variant.dims.x_shape


def test_the_note_is_found_whatever_its_recording_holds(fitted, tmp_path):
    """Noise, an offset and clicks before it, and its level: the run hears the same sound."""
    _, posterior = fitted
    rate = 22050
    rng = np.random.default_rng(0)
    time = np.arange(rate) / rate
    note = np.concatenate([np.zeros(2 * rate), 0.4 * np.exp(-4 * time) * np.sin(1600 * time)])
    clicks = np.zeros(3 * rate)
    clicks[[rate // 2, rate]] = 0.5
    recordings = {
        "clean": note,
        "hiss": note + 0.002 * rng.standard_normal(3 * rate),
        "offset": note + 0.03,
        "clicks": note + clicks,
        "quiet": note * 1e-3,
        "cut": note[2 * rate :],
    }
    heard = {}
    for name, recording in recordings.items():
        soundfile.write(tmp_path / f"{name}.wav", recording, rate, subtype="FLOAT")
        heard[name] = posterior.features(posterior.listen(tmp_path / f"{name}.wav"))
        assert log_distance(heard[name], heard["clean"]) < (3 if name == "hiss" else 0.2), name
    own = posterior.features(posterior.listen(tmp_path / "quiet.wav", own_level=True))
    assert (
        posterior.run.features.audible(own) < 0.01 < posterior.run.features.audible(heard["cut"])
    )


def test_a_sound_below_the_floor_is_flagged(fitted, tmp_path):
    _, posterior = fitted
    sound = np.sin(np.arange(22050) * 0.05).astype(np.float32)
    save_audio(tmp_path / "faint.wav", 2e-4 * sound, 22050)
    for own_level in (True, False):
        settings = {"budget": 2, "draws": 1, "workers": 1, "progress": False}
        done, failed = infer_sounds(
            posterior, [tmp_path / "faint.wav"], tmp_path / str(own_level), own_level=own_level,
            **settings,
        )  # fmt: skip
        assert not failed
        assert ("a small distance says nothing" in done[0].advice) == own_level
