"""Synths that fail in other processes than one, like some demo versions and dongles."""

import fcntl
import os

import numpy as np

from pyrosynth.synths import Synth
from pyrosynth.synths.params import Param, ParamSpace


class AloneSynth(Synth):
    """A tone whose process ends if another one plays it."""

    name = "alone"
    isolations = ("reuse",)
    param_space = ParamSpace((Param("level", default=0.8),))
    lock = None

    def spec(self):
        return {"synth": "alone_synth:AloneSynth"}

    def identity(self):
        return "alone"

    def render(self, values, note, sample_rate):
        if self.lock is None:
            self.lock = os.open(os.environ["ALONE_LOCK"], os.O_CREAT | os.O_RDWR)
            try:
                fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os._exit(1)
        time = np.arange(note.n_samples(sample_rate)) / sample_rate
        return (values[0] * np.sin(2000 * time)).astype(np.float32)


class FirstFails(AloneSynth):
    """A tone whose process ends at the first sound of all, and at loud ones."""

    name = "first fails"

    def spec(self):
        return {"synth": "alone_synth:FirstFails"}

    def render(self, values, note, sample_rate):
        flag = os.environ["FIRST_FLAG"]
        if values[0] > 0.9 or not os.path.exists(flag):
            os.close(os.open(flag, os.O_CREAT))
            os._exit(1)
        time = np.arange(note.n_samples(sample_rate)) / sample_rate
        return (values[0] * np.sin(2000 * time)).astype(np.float32)


class Engine(AloneSynth):
    """A tone of an engine that ends at a loud one, after which nothing plays."""

    name = "engine"
    has_ended = False

    def spec(self):
        return {"synth": "alone_synth:Engine"}

    def render(self, values, note, sample_rate):
        self.has_ended = self.has_ended or values[0] > 0.9
        if self.has_ended:
            raise RuntimeError("the engine has ended")
        values *= 1  # as some do with what they are given
        time = np.arange(note.n_samples(sample_rate)) / sample_rate
        return (values[0] * np.sin(2000 * time)).astype(np.float32)


class SharedEngine(Engine):
    """One whose engine is that of the whole process, so that a new synth has the same."""

    name = "shared engine"

    def spec(self):
        return {"synth": "alone_synth:SharedEngine"}

    def render(self, values, note, sample_rate):
        type(self).has_ended = self.has_ended or values[0] > 0.9
        return super().render(values, note, sample_rate)


class Ranged(AloneSynth):
    """A tone that has no low notes."""

    name = "ranged"

    def spec(self):
        return {"synth": "alone_synth:Ranged"}

    def render(self, values, note, sample_rate):
        if note.pitch < 48:
            raise KeyError(f"no sample for note {note.pitch}")
        time = np.arange(note.n_samples(sample_rate)) / sample_rate
        return (values[0] * np.sin(2000 * time)).astype(np.float32)


class Writes(AloneSynth):
    """A tone, many at once, that changes the values it is given; it has none of a loud one."""

    name = "writes"
    batched = True

    def spec(self):
        return {"synth": "alone_synth:Writes"}

    def render_batch(self, values, note, sample_rate):
        values *= 0.5
        if (values > 0.45).any():
            raise ValueError("too loud")
        time = np.arange(note.n_samples(sample_rate)) / sample_rate
        return (values * np.sin(2000 * time)).astype(np.float32)
