"""A synth with traps, for tests: what a description has to find out by listening."""

import os

import numpy as np

from pyrosynth.synths import Synth
from pyrosynth.synths.params import Param, ParamSpace


class TrapSynth(Synth):
    """A decaying sine whose controls are not all what they are declared to be."""

    name = "trap"
    isolations = ("reuse", "fresh")
    param_space = ParamSpace(
        (
            Param("Level", default=0.8),
            Param("Brightness", default=0.3),
            Param("Octave", default=0.5),  # declared continuous, three settings
            Param("Uneven", default=0.2),  # three settings, not evenly spaced
            Param("Dead", default=0.5),
            Param("Key Track", default=0.5),  # not heard at C4
            Param("MIDI Channel", "stepped", 1, 16, 1, 16),  # any but the first is silent
            Param("Boom", "stepped", 0, 15, 0, 16),  # the last setting ends the process
            Param("Fragile", "stepped", 0, 4, 0, 5),  # a value in the middle gives no number
            Param("Polyphony", "stepped", 1, 8, 8, 8),  # heard, but not of the sound
            Param("Wave", "categorical", 0, 2, 0, 3, labels=("sine", "octave", "fifth")),
        )
    )

    def __init__(self, isolation: str = "fresh") -> None:
        self.isolation = isolation
        self._before = 0.0

    def spec(self):
        return {"synth": "trap_synth:TrapSynth", "isolation": self.isolation}

    def identity(self):
        return f"trap, version {os.environ.get('TRAP_VERSION', '1')}"

    def render(self, values, note, sample_rate):
        of = dict(zip(self.param_space.names, values, strict=True))
        if of["Boom"] >= 15:
            os._exit(1)
        time = np.arange(note.n_samples(sample_rate)) / sample_rate
        octave = round(2 * of["Octave"]) - 1
        pitch = note.pitch + 12 * octave + (note.pitch - 60) * of["Key Track"]
        pitch += {0: 0, 1: 12, 2: 7}[round(of["Wave"])]
        phase = 2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * time
        sound = np.sin(phase + 5 * of["Brightness"] * np.sin(2 * phase)) * np.exp(-3 * time)
        sound *= of["Level"] * (1 - 0.05 * of["Boom"]) * (0.9 + 0.1 / of["Polyphony"])
        sound *= 1 - 0.3 * sum(of["Uneven"] > edge for edge in (0.8, 0.9))
        if self.isolation == "reuse":
            sound += self._before
            self._before += 1e-3
        if of["Fragile"] == 2:
            sound[0] = np.nan
        return (sound * (round(of["MIDI Channel"]) == 1) * note.velocity / 127).astype(np.float32)
