"""The metric suite against librosa, auraloss and formulas written out; and of silence."""

import auraloss
import librosa
import numpy as np
import pytest
import torch
from test_pitch import naive

from pyrosynth.audio import metrics as room
from pyrosynth.audio.features import FeatureSpec
from pyrosynth.audio.metrics import (
    METRICS,
    compare_audio,
    loudness,
    multi_scale_distance,
    power_spectrum,
)
from pyrosynth.errors import InputError

SPEC = FeatureSpec()
RATE = SPEC.sample_rate
N = 2 * RATE
NAMES = [name for name in METRICS if name != "mse_n"]


@pytest.fixture(scope="module")
def sounds():
    """Tones, noise, a decay, a burst in silence: shape (6, n_samples)."""
    rng = np.random.default_rng(0)
    t = np.arange(N) / RATE
    noise = rng.standard_normal(N)
    tone = sum(np.sin(2 * np.pi * 220 * k * t) / k for k in range(1, 20))
    burst = np.where((t > 0.5) & (t < 0.8), noise, 0.0)
    return np.stack(
        [
            0.3 * tone * np.exp(-2 * t),
            0.2 * noise,
            0.3 * np.sin(2 * np.pi * 440 * 2 ** (0.1 * np.sin(20 * t)) * t) + 0.001 * noise,
            0.5 * burst,
            0.2 * tone * np.minimum(1, 3 * t),
            0.1 * np.sign(np.sin(2 * np.pi * 98 * t)),
        ]
    ).astype(np.float32)


def reference(target, audio):
    """The metrics of one pair, by other libraries and plain NumPy, in double precision."""
    pair = [sound.astype(np.float64) for sound in (target, audio)]
    stft = {"n_fft": SPEC.n_fft, "hop_length": SPEC.hop_length}
    mel = [
        librosa.feature.melspectrogram(y=s, sr=RATE, n_mels=64, fmin=30, fmax=11000, **stft)
        for s in pair
    ]
    db = [10 * np.log10(m + 1e-3) for m in mel]
    mfcc = [librosa.feature.mfcc(S=d, n_mfcc=13) for d in db]
    log = [np.log(m + 1e-9) for m in mel]

    hz = np.maximum(librosa.fft_frequencies(sr=RATE, n_fft=SPEC.n_fft), 1e-3)
    weight = 10 ** (librosa.A_weighting(hz, min_db=None) / 10)
    window = np.sum(librosa.filters.get_window("hann", SPEC.n_fft) ** 2)
    levels = []
    for s in pair:
        both_sides = 2 * np.abs(librosa.stft(s, **stft)) ** 2
        both_sides[[0, -1]] /= 2
        level = weight @ both_sides / (SPEC.n_fft * window)
        levels.append(10 * np.log10(np.maximum(level, 1e-8)))

    spectral = auraloss.freq.MultiResolutionSTFTLoss(
        room.SCALES, [n // 4 for n in room.SCALES], room.SCALES, w_sc=0, w_lin_mag=1, eps=1e-8
    )
    mss = spectral(*(torch.from_numpy(s)[None, None].float() for s in (audio, target))).item()

    errors = []
    frames = [librosa.util.frame(np.pad(s, (0, SPEC.n_fft)), frame_length=2048, hop_length=1024)
              for s in pair]  # fmt: skip
    loudest = max(np.sum(frame**2) for frame in frames[0].T)
    for a, b in zip(frames[0].T, frames[1].T, strict=True):
        if np.sum(a**2) > 1e-6 * loudest:
            f, g = naive(a), naive(b)
            if np.isnan(f) or np.isnan(g):
                errors.append(0.0 if np.isnan(f) and np.isnan(g) else 12.0)
            else:
                errors.append(min(12.0, abs(librosa.hz_to_midi(f) - librosa.hz_to_midi(g))))
    return {
        "sc": np.linalg.norm(mel[0] - mel[1]) / np.linalg.norm(mel[0]),
        "mel_mse": np.mean((mel[0] - mel[1]) ** 2),
        "lm": np.abs(log[0] - log[1]).sum() / np.abs(log[0]).sum(),
        "lsd": np.sqrt(np.mean((db[0] - db[1]) ** 2)),
        "mss": mss,
        "mfcc": np.abs(mfcc[0] - mfcc[1]).mean(),
        "loudness": np.abs(levels[0] - levels[1]).mean(),
        "pitch": np.mean(errors),
    }


@pytest.mark.parametrize("pair", [(0, 4), (1, 3), (2, 0), (4, 1), (5, 2), (3, 5)])
def test_equals_other_implementations(sounds, pair):
    target, audio = sounds[list(pair)]
    found = compare_audio(target[None], audio[None], SPEC)
    expected = reference(target, audio)
    assert list(found) == NAMES
    for name, value in expected.items():
        assert found[name].item() == pytest.approx(value, rel=1e-5), name
        # Some of these have the same pitch, or none.
        assert value > 0.01 or name == "pitch", f"{name} does not tell these sounds apart"


def test_devices_and_shapes(sounds, device):
    on_cpu = compare_audio(sounds, sounds[::-1].copy(), SPEC)
    tensors = torch.from_numpy(sounds).to(device)
    found = compare_audio(tensors, tensors.flip(0), SPEC)
    for name, values in found.items():
        assert values.shape == (6,)
        assert values.dtype == torch.float64
        assert values.device.type == device.partition(":")[0]
        np.testing.assert_allclose(values.cpu(), on_cpu[name], rtol=1e-5, err_msg=name)


def test_a_result_depends_on_its_pair_alone(sounds):
    together = compare_audio(sounds, sounds[::-1].copy(), SPEC)
    one_target = compare_audio(sounds[:1], sounds, SPEC)
    alone = compare_audio(sounds[:1], sounds[5:], SPEC)
    for name in NAMES:
        assert alone[name].item() == pytest.approx(together[name][0].item(), rel=1e-6)
        assert alone[name].item() == pytest.approx(one_target[name][5].item(), rel=1e-6)


def test_equal_sounds_have_no_distance(sounds):
    everything = np.concatenate([sounds, np.zeros((1, N), np.float32)])
    for name, values in compare_audio(everything, everything, SPEC).items():
        assert (values == 0).all(), name


def test_silence(sounds):
    silence, tone = np.zeros((1, N), np.float32), sounds[4:5]
    missing, extra = compare_audio(tone, silence, SPEC), compare_audio(silence, tone, SPEC)
    assert missing["sc"].item() == 1
    assert extra["sc"].item() == np.inf
    assert extra["pitch"].item() == 0
    assert missing["pitch"].item() > 11
    for name in NAMES:
        assert np.isfinite(missing[name].item()), name
        assert np.isfinite(extra[name].item()) or name == "sc"
        assert missing[name].item() > 0, name


def test_known_distances(sounds):
    tone = sounds[4:5]
    found = compare_audio(tone, tone * np.float32(10 ** (-6 / 20)), SPEC)
    assert found["loudness"].item() == pytest.approx(6, abs=1e-4)
    assert found["pitch"].item() == pytest.approx(0, abs=1e-4)
    assert 4 < found["lsd"].item() <= 6
    assert found["sc"].item() == pytest.approx(1 - 10 ** (-6 / 10), rel=1e-5)
    t = np.arange(N) / RATE
    for hz, weight in ((1000, 0.0), (100, -19.1), (8000, -1.1)):  # IEC 61672-1, table 3
        sine = torch.from_numpy(np.sin(2 * np.pi * hz * t))[None]
        level = loudness(power_spectrum(sine, SPEC), SPEC)[0, 10].item()
        assert level == pytest.approx(weight - 10 * np.log10(2), abs=0.1)


def test_precision_of_the_multi_scale_distance(sounds):
    tensors = torch.from_numpy(sounds)
    single = multi_scale_distance(tensors[:3], tensors[3:])
    double = multi_scale_distance(tensors[:3].double(), tensors[3:].double())
    np.testing.assert_allclose(single, double, rtol=1e-5)


def test_headings():
    assert list(METRICS)[:4] == ["mse_n", "sc", "mel_mse", "lm"]  # the published ones first
    assert METRICS["lsd"].heading == "LSD (dB)"
    assert METRICS["sc"].heading == "SC"


@pytest.mark.parametrize(
    ("target", "audio", "message"),
    [
        (np.zeros(5000), np.zeros(5000), "shape \\(5000,\\); give floats of shape"),
        (np.zeros((2, 5000)), np.zeros((3, 5000)), "give \\(n, n_samples\\) twice"),
        (np.zeros((2, 5000)), np.zeros((2, 4000)), "give \\(n, n_samples\\) twice"),
        (np.zeros((1, 5000)), np.zeros((0, 5000)), "\\(n, n_samples\\), neither 0"),
        (np.zeros((2, 1000)), np.zeros((2, 1000)), "longer than 1024 samples"),
        (np.zeros((1, 5000)), np.full((1, 5000), np.nan), "NaN or infinite"),
    ],
)
def test_bad_input(target, audio, message):
    with pytest.raises(InputError, match=message):
        compare_audio(target, audio, SPEC)
