"""Hums of known pitch and length."""

import numpy as np


def hum(pitch, seconds, *, rate=22050, noise_db=-45.0, before=0.4, after=0.5, decay_db=0.0):
    """A voice that glides into a note and holds it with vibrato, in a room that is not silent."""
    rng = np.random.default_rng(0)
    time = np.arange(int(seconds * rate)) / rate
    vibrato = 0.3 * np.clip(time - 0.2, 0, 1) * np.sin(2 * np.pi * 5.5 * time)
    semitones = pitch - 69 - 3 * np.exp(-time / 0.05) + vibrato
    phase = 2 * np.pi * np.cumsum(440 * 2 ** (semitones / 12)) / rate
    tone = sum(0.6**k * np.sin((k + 1) * phase) for k in range(8))
    tone *= np.minimum(1, time / 0.03) * np.minimum(1, (seconds - time) / 0.05)
    tone *= 10 ** (-decay_db * time / seconds / 20)
    audio = np.concatenate([np.zeros(int(before * rate)), tone, np.zeros(int(after * rate))])
    noise = 10 ** (noise_db / 20) * rng.standard_normal(len(audio))
    return (0.2 * (audio / np.abs(tone).max() + noise)).astype(np.float32)
