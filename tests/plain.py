"""Synths for tests that are not about their sound: the controls of the voice, in NumPy.

A process that plays one starts in a quarter of the time, since it needs no torch.
"""

import os
from dataclasses import replace

import numpy as np

from pyrosynth.synths.base import Synth
from pyrosynth.synths.params import Param, ParamSpace
from pyrosynth.synths.voice_params import SPACE, bank

PLAIN, STEPPED = "plain:Plain", "plain:Stepped"  # what commands call them
# In the environment: a control or the pitch, and above which a sound fails, or is "silent".
FAILS = "PLAIN_FAILS"
LAST = 99  # setting of a control of `Stepped`
HARMONICS = np.arange(1, 65)
TABLE = 1024  # samples of one period
SLOPES = 3.0, 2.0, 1.0, 0.7  # of the harmonics of each wave


class Plain(Synth):
    """Two waves and noise, with a low pass that falls, and an envelope."""

    name = "plain"
    param_space = SPACE

    def identity(self):
        return "plain 2"

    def presets(self):
        return bank()

    def render(self, values, note, sample_rate):
        knob = dict(zip(SPACE.names, np.clip(values, SPACE.minimum, SPACE.maximum), strict=True))
        control, most, *silent = os.environ.get(FAILS, "level inf").split()
        if {**knob, "pitch": note.pitch}[control] > float(most):
            return np.full(note.n_samples(sample_rate), 0 if silent else np.nan, np.float32)
        time = np.arange(note.n_samples(sample_rate), dtype=np.float32) / sample_rate
        attack, decay, release, falling = (
            0.002 + 4 * knob[name] ** 3
            for name in ("amp_attack", "amp_decay", "amp_release", "filter_decay")
        )
        sustain = knob["amp_sustain"]
        envelope = np.minimum(time / attack, 1.0)
        envelope *= sustain + (1 - sustain) * np.exp(-time / decay)
        envelope *= np.exp(-np.maximum(time - note.hold_seconds, 0.0) / release)
        fallen = 1 - np.exp(-time / falling)

        first = note.pitch + 12 * knob["osc1_octave"]
        second = note.pitch + knob["osc2_pitch"] + knob["osc2_detune"] / 100
        sound = knob["noise_level"] * np.random.default_rng(0).random(len(time), np.float32)
        for wave, pitch, share in (
            (knob["osc1_waveform"], first, 1 - knob["osc_mix"]),
            (knob["osc2_waveform"], second, knob["osc_mix"]),
        ):
            hertz = 440 * 2 ** ((pitch - 69) / 12)
            bright, dark = (
                period(wave, hertz, cutoff, knob["filter_resonance"], sample_rate)
                for cutoff in (knob["filter_cutoff"] + knob["filter_envelope"],
                               knob["filter_cutoff"])
            )  # fmt: skip
            at = (time * (hertz * TABLE)).astype(np.int64) % TABLE
            sound += share * (bright[at] + fallen * (dark - bright)[at])
        level = 10 ** (knob["level"] / 20) * note.velocity / 100
        return (level * envelope * np.tanh(sound)).astype(np.float32)


def period(wave, hertz, cutoff, resonance, sample_rate):
    """Return one period of a wave behind a low pass, shape (TABLE,)."""
    ratio = (hertz * HARMONICS / (440 * 2 ** ((np.clip(cutoff, 0, 140) - 69) / 12))) ** 2
    passed = 1 / np.sqrt((1 - ratio) ** 2 + ratio * (1.4 - resonance))
    passed = np.where(hertz * HARMONICS < sample_rate / 2, passed, 0.0)
    level = passed * HARMONICS ** -SLOPES[round(wave)]
    return np.fft.irfft([0, *(-1j * level)], TABLE).astype(np.float32) * (TABLE / 2)


def stepped(param):
    """Return a continuous control with a hundred settings instead."""
    if param.kind != "continuous":
        return param
    return Param(
        param.name, "stepped", param.minimum, param.maximum, param.default, LAST + 1, param.unit
    )


class Stepped(Plain):
    """The plain synth with no continuous control, as Dexed has none."""

    param_space = ParamSpace(
        tuple(stepped(param) for param in Plain.param_space.params),
        Plain.param_space.selections,
    )


COLUMNS = ("name", "bank", "log_q", "macro", "position", "axis", "preset", "param", "value", "x")


def called(name):
    """Return what a control of `Called` is called, by its name in the plain synth."""
    return dict(zip(SPACE.selections["16"], COLUMNS, strict=False)).get(name, name)


class Called(Plain):
    """The plain synth with controls that are called like columns of the tables of this package."""

    name = "called"
    param_space = ParamSpace(
        tuple(replace(param, name=called(param.name)) for param in SPACE.params),
        {size: tuple(map(called, names)) for size, names in SPACE.selections.items()},
    )

    def presets(self):
        return [
            replace(one, values={called(name): value for name, value in one.values.items()})
            for one in bank()
        ]
