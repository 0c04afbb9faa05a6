"""pYIN, its path and the phase vocoder against librosa's."""

import librosa
import numpy as np
import pytest

from pyrosynth.audio.pitch_track import _likeliest_path, pyin
from pyrosynth.audio.stretching import time_stretch

RATE = 22050
TIME = np.arange(RATE // 2) / RATE


def sine(hz):
    return 0.3 * np.sin(2 * np.pi * hz * TIME)


SOUNDS = {
    "vibrato": np.sin(2 * np.pi * 300 * TIME + 8 * np.sin(2 * np.pi * 5 * TIME)),
    "low sawtooth": (TIME * 55) % 1 - 0.5,
    "noise": 0.1 * np.random.default_rng(0).standard_normal(RATE // 2),
    "two notes apart": np.concatenate([np.zeros(4000), sine(90), np.zeros(5000), sine(1400)]),
    "a fifth without a pause": np.concatenate([sine(200), sine(900)]),
    "silence": np.zeros(6000),
}


@pytest.mark.parametrize("name", SOUNDS)
def test_pitches_are_those_of_librosa(name):
    sound = SOUNDS[name].astype(np.float32)
    theirs, _, chances = librosa.pyin(
        sound, fmin=32.7, fmax=2093.0, sr=RATE, frame_length=2048, hop_length=512, resolution=0.2
    )
    ours, voiced = pyin(sound, RATE, 2048, 512, (32.7, 2093.0), 0.2)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    # Rounding decides on which side of one of the hundred thresholds a trough lies.
    np.testing.assert_allclose(voiced, chances, atol=0.02)


@pytest.mark.parametrize("share", [0.02, 0.3])
def test_no_path_is_likelier_also_where_only_leaps_are_possible(share):
    rng, n, width = np.random.default_rng(1), 40, 5
    voiced = np.where(rng.random((60, n)) < share, rng.random((60, n)), 0.0)
    voiced /= np.maximum(voiced.sum(axis=1, keepdims=True), 1)
    unvoiced = np.where(rng.random(60) < 0.5, (1 - voiced.sum(axis=1)) / n, 0.0).clip(0)
    near = librosa.sequence.transition_local(n, 2 * width + 1, window="triangle", wrap=False)
    moves = np.kron(librosa.sequence.transition_loop(2, 0.99), near)
    seen = np.concatenate([voiced, np.repeat(unvoiced[:, None], n, axis=1)], axis=1)
    log_moves, log_seen = (np.log(p + np.finfo(float).tiny) for p in (moves, seen))
    best = log_seen[0]
    for frame in log_seen[1:]:
        best = (best[:, None] + log_moves).max(axis=0) + frame
    path = _likeliest_path(voiced, unvoiced, width)
    score = log_seen[np.arange(60), path].sum() + log_moves[path[:-1], path[1:]].sum()
    assert score == pytest.approx(best.max(), rel=1e-12)


@pytest.mark.parametrize("rate", [0.4, 0.83, 1.7])
def test_stretched_sounds_are_those_of_librosa(rate):
    sound = SOUNDS["two notes apart"].astype(np.float32)
    theirs = librosa.effects.time_stretch(sound, rate=rate, n_fft=2048)
    np.testing.assert_allclose(time_stretch(sound, rate, 2048), theirs, atol=1e-5)
