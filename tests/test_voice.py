"""The built-in synth."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.voice import Mel
from pyrosynth import synths
from pyrosynth.audio.features import FeatureSpec
from pyrosynth.audio.note import Note
from pyrosynth.errors import InputError
from pyrosynth.synths import voice_controls, voice_sound
from pyrosynth.synths.presets import distinct, preset_array
from pyrosynth.synths.voice import VERSION

RATE = 22050
DATA = Path(__file__).parent / "data"
NOTE = Note(hold_seconds=0.5, duration_seconds=0.8)


@pytest.fixture(scope="module")
def voice(request):
    return synths.load_synth("voice", device=request.config.getoption("--device"))


def bank(voice, n=None):
    return preset_array(voice.presets()[:n], voice.param_space)


def setting(voice, **controls):
    values = voice.param_space.defaults.copy()
    values[voice.param_space.index(list(controls))] = list(controls.values())
    return values


def spectrum(audio):
    power = np.abs(np.fft.rfft(audio * np.hanning(len(audio)))) ** 2
    return np.fft.rfftfreq(len(audio), 1 / RATE), power


def excerpts():
    """Every 441st sample of 24 presets, shape (24, 25)."""
    note = Note(pitch=65, velocity=90, hold_seconds=0.3, duration_seconds=0.5)
    voice = synths.load_synth("voice")
    return voice.render_batch(bank(voice)[::20], note, RATE)[:, ::441]


def test_the_version_changes_with_the_sound():
    """If this fails on purpose, raise VERSION and run this file as a script."""
    stored = json.loads((DATA / "voice.json").read_text())
    assert stored["version"] == VERSION
    np.testing.assert_allclose(excerpts(), stored["excerpts"], atol=2e-4)


def test_a_sound_is_the_same_alone_and_in_any_company(voice):
    values = bank(voice, 64)
    together = voice.render_batch(values, NOTE, RATE)
    alone = np.stack([voice.render(row, NOTE, RATE) for row in values])
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(voice.render_batch(values[40:], NOTE, RATE), alone[40:])
    np.testing.assert_array_equal(voice.render_batch(values[::-1], NOTE, RATE), alone[::-1])
    assert voice.render_batch(values[:0], NOTE, RATE).shape == (0, NOTE.n_samples(RATE))


def test_sounds_made_together_as_on_a_gpu_are_those_made_one_by_one():
    """With every wave and filter computed and chosen from; the gradients, too."""
    note = Note(hold_seconds=0.1, duration_seconds=0.2)
    space = synths.load_synth("voice").param_space
    unit = np.random.default_rng(4).random((24, len(space)))
    values = torch.tensor(space.from_unit(unit), requires_grad=True)
    constants = voice_controls.constants_of(note, RATE, 0, values.device)
    controls = voice_controls.controls_of(values, constants, note, RATE)
    together = voice_sound.samples_of(controls, constants)
    alone = voice_sound.synthesize(values, note, RATE, seed=0)
    torch.testing.assert_close(together, alone, atol=1e-6, rtol=0)
    gradients = [torch.autograd.grad(a.square().sum(), values)[0] for a in (together, alone)]
    torch.testing.assert_close(*gradients, atol=1e-4, rtol=1e-4)


def test_the_benchmark_computes_the_features_of_the_package(voice):
    spec = FeatureSpec(sample_rate=RATE)
    sounds = voice.render_batch(bank(voice, 8), NOTE, RATE)
    mel = Mel(spec, voice.device)(torch.tensor(sounds, device=voice.device))
    np.testing.assert_allclose(mel.cpu().numpy(), spec(sounds), atol=2e-3)


def test_bytes_do_not_depend_on_threads_or_global_seed(voice):
    values = bank(voice, 8)
    expected = voice.render_batch(values, NOTE, RATE)
    threads = torch.get_num_threads()
    torch.manual_seed(99)
    state = torch.get_rng_state()
    torch.set_num_threads(3)
    try:
        again = synths.from_spec(voice.spec()).render_batch(values, NOTE, RATE)
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_array_equal(again, expected)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_seed_is_that_of_the_noise(voice):
    noisy = setting(voice, noise_level=1.0)
    other = synths.load_synth("voice", device=str(voice.device), seed=1)
    assert not np.array_equal(voice.render(noisy, NOTE, RATE), other.render(noisy, NOTE, RATE))
    clean = setting(voice, noise_level=0.0)
    np.testing.assert_array_equal(voice.render(clean, NOTE, RATE), other.render(clean, NOTE, RATE))
    assert voice.identity() != other.identity()


def test_presets_are_many_distinct_audible_and_always_the_same(voice):
    presets = voice.presets()
    assert presets == voice.presets()
    assert len(distinct(presets, voice.param_space)) == len(presets) == 480
    sounds = voice.render_batch(bank(voice)[::6], NOTE, RATE)
    assert np.isfinite(sounds).all()
    peaks = np.abs(sounds).max(axis=1)
    assert (peaks > 1e-4).all()
    assert (peaks <= 1.0).all()


def test_corners_and_random_settings_are_finite(voice):
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 2, (24, len(voice.param_space)))
    inside = rng.random((24, len(voice.param_space)))
    for unit in (corners, inside):
        sounds = voice.render_batch(voice.param_space.from_unit(unit), NOTE, RATE)
        assert np.isfinite(sounds).all()
        assert np.abs(sounds).max() <= 1.0


def test_every_control_is_heard(voice):
    """Each control changes the sound of at least one of a few settings."""
    rng = np.random.default_rng(1)
    base = voice.param_space.to_unit(bank(voice, 12))
    mixed = voice.param_space.index(["osc_mix", "osc2_waveform", "osc1_waveform"])
    base[:4, mixed] = [0.5, 1.0, 1.0]  # both oscillators heard, as pulses
    note = Note(pitch=72, hold_seconds=0.3, duration_seconds=0.5)
    plain = voice.render_batch(voice.param_space.from_unit(base), note, RATE)
    for k, param in enumerate(voice.param_space.params):
        changed = base.copy()
        changed[:, k] = (changed[:, k] + rng.uniform(0.35, 0.65, len(base))) % 1
        sounds = voice.render_batch(voice.param_space.from_unit(changed), note, RATE)
        assert np.abs(sounds - plain).max() > 1e-4, param.name


@pytest.mark.parametrize(
    ("pitch", "octave", "hertz"), [(69, 0, 440.0), (69, 1, 880.0), (57, -1, 110.0)]
)
def test_pitch_is_exact(voice, pitch, octave, hertz):
    sine = setting(voice, osc1_waveform=0, osc1_octave=octave)
    note = Note(pitch=pitch, hold_seconds=2.0, duration_seconds=2.0)
    hertz_found, power = spectrum(voice.render(sine, note, RATE))
    assert hertz_found[power.argmax()] == pytest.approx(hertz, abs=0.5)


def test_sawtooth_hardly_aliases(voice):
    saw = setting(voice, osc1_waveform=2, filter_cutoff=136.0)
    note = Note(pitch=84, hold_seconds=2.0, duration_seconds=2.0)
    hertz, power = spectrum(voice.render(saw, note, RATE))
    near = np.abs(hertz / 1046.5 - np.round(hertz / 1046.5)) * 1046.5 < 8
    # A sawtooth that just jumps has 6 % of its power out of tune here.
    assert power[~near].sum() < 5e-3 * power[near].sum()


def test_filters_pass_what_their_names_say(voice):
    note = Note(pitch=36, hold_seconds=1.0, duration_seconds=1.0)
    share = {}
    for kind, name in enumerate(("low", "band", "high")):
        noise = setting(voice, noise_level=1.0, filter_type=kind, filter_cutoff=84.0, level=-24)
        noise[voice.param_space.index(["osc1_octave"])] = -2
        hertz, power = spectrum(voice.render(noise, note, RATE))
        cutoff = 440 * 2 ** ((84 - 69) / 12)
        bands = (hertz < cutoff / 2, np.abs(np.log2((hertz + 1) / cutoff)) < 0.5, hertz > 4000)
        share[name] = [power[band].mean() for band in bands]
    assert share["low"][0] > 10 * share["low"][2]
    assert share["high"][2] > 10 * share["high"][0]
    assert share["band"][1] > 3 * max(share["band"][0], share["band"][2])


def test_envelope_times_are_those_of_the_knobs(voice):
    slow = setting(voice, amp_attack=0.4, amp_sustain=1.0, amp_release=0.0)
    audio = np.abs(voice.render(slow, NOTE, RATE))
    attack = 0.002 + 4 * 0.4**3
    halves = [audio[: int(attack * RATE / 2)].max(), audio[: int(attack * RATE)].max()]
    assert halves[0] / halves[1] == pytest.approx(0.5, abs=0.1)
    assert audio[int(0.52 * RATE) :].max() < 1e-3 * audio.max()


def test_gradients_reach_every_continuous_control(voice):
    """And agree with finite differences, in directions that cross no step of a wave."""
    space = voice.param_space
    unit = np.random.default_rng(2).uniform(0.2, 0.8, (6, len(space)))
    values = space.from_unit(unit)
    values[:, space.index(["osc1_waveform"])] = np.arange(6)[:, None] % 4
    values[:, space.index(["osc2_waveform"])] = 3
    note = Note(pitch=66, hold_seconds=0.1, duration_seconds=0.2)
    tensor = torch.tensor(values, device=voice.device, requires_grad=True)
    voice.synthesize(tensor, note, RATE).square().mean().backward()
    gradient = tensor.grad.cpu().numpy()
    assert np.isfinite(gradient).all()
    for k, param in enumerate(space.params):
        if param.kind == "continuous":
            assert gradient[:, k].any(), param.name

    def energy(row):
        with torch.no_grad():
            rows = torch.tensor(row[None], device=voice.device)
            return float(voice.synthesize(rows, note, RATE).double().square().mean())

    for name in ("level", "drive", "osc_mix", "amp_sustain", "filter_cutoff", "noise_level"):
        k = int(space.index([name])[0])
        step = 1e-3 * (space.maximum[k] - space.minimum[k])
        up, down = values[0].copy(), values[0].copy()
        up[k] += step
        down[k] -= step
        slope = (energy(up) - energy(down)) / (2 * step)
        assert gradient[0, k] * 6 == pytest.approx(slope, rel=0.02, abs=1e-6), name


def test_unknown_devices_are_refused():
    with pytest.raises(InputError, match="known: cpu, cuda"):
        synths.load_synth("voice", device="abacus")
    for device in (["cpu"], "meta"):
        with pytest.raises(InputError, match="known: cpu, cuda"):
            synths.load_synth("voice", device=device)
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="no CUDA device"):
            synths.load_synth("voice", device="cuda")


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, "one", None])
def test_seeds_are_integers_that_fit(seed):
    with pytest.raises(InputError, match="seed"):
        synths.load_synth("voice", seed=seed)
    numpy_seed = synths.load_synth("voice", seed=np.int64(7))
    assert json.loads(json.dumps(numpy_seed.spec())) == synths.load_synth("voice", seed=7).spec()


@pytest.mark.gpu
def test_the_cuda_voice_sounds_like_the_cpu_voice(voice):
    values = bank(voice, 64)
    cpu = synths.load_synth("voice").render_batch(values, NOTE, RATE)
    np.testing.assert_allclose(voice.render_batch(values, NOTE, RATE), cpu, atol=2e-3)


if __name__ == "__main__":
    golden = {"version": VERSION, "excerpts": np.round(excerpts(), 6).tolist()}
    (DATA / "voice.json").write_text(json.dumps(golden) + "\n")
