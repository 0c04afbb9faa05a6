"""The controls of the built-in voice, and the presets drawn for it at random."""

import numpy as np

from pyrosynth.synths.params import Param, ParamSpace
from pyrosynth.synths.presets import Preset

WAVES = ("sine", "triangle", "sawtooth", "pulse")
LFO_WAVES = ("sine", "triangle", "square")
FILTERS = ("low pass", "band pass", "high pass")

BANK_SIZE = 480
BANK_SEED = 20


def _knob(
    name: str,
    default: float,
    low: float = 0.0,
    high: float = 1.0,
    unit: str = "",
    levels: int = 128,
) -> Param:
    return Param(name, "continuous", low, high, default, levels, unit)


def _choice(name: str, default: int, labels: tuple[str, ...]) -> Param:
    return Param(name, "categorical", 0, len(labels) - 1, default, len(labels), labels=labels)


# Times of envelopes are 2 ms + 4 s x^3 of a knob x, the LFO's rate is 0.1 Hz 100^x.
PARAMS = (
    _choice("osc1_waveform", 2, WAVES),
    Param("osc1_octave", "stepped", -2, 2, 0, 5, "octaves"),
    _knob("osc1_pulse_width", 0.5, 0.05, 0.95),
    _choice("osc2_waveform", 2, WAVES),
    Param("osc2_pitch", "stepped", -24, 24, 0, 49, "semitones"),
    _knob("osc2_detune", 0.0, -50.0, 50.0, "cents", 201),
    _knob("osc2_pulse_width", 0.5, 0.05, 0.95),
    _knob("osc_mix", 0.0),
    _knob("ring_mod", 0.0),
    _knob("noise_level", 0.0),
    _choice("filter_type", 0, FILTERS),
    Param("filter_slope", "categorical", 0, 1, 1, 2, labels=("12 dB / octave", "24 dB / octave")),
    _knob("filter_cutoff", 120.0, 16.0, 136.0, "semitones"),
    _knob("filter_resonance", 0.0),
    _knob("filter_envelope", 0.0, -72.0, 72.0, "semitones"),
    _knob("filter_key_track", 0.0),
    _knob("filter_attack", 0.0),
    _knob("filter_decay", 0.5),
    _knob("filter_sustain", 1.0),
    _knob("filter_release", 0.3),
    _knob("pitch_envelope", 0.0, -24.0, 24.0, "semitones"),
    _knob("amp_attack", 0.0),
    _knob("amp_decay", 0.5),
    _knob("amp_sustain", 1.0),
    _knob("amp_release", 0.3),
    _choice("lfo_waveform", 0, LFO_WAVES),
    _knob("lfo_rate", 0.8),
    _knob("lfo_to_pitch", 0.0),
    _knob("lfo_to_filter", 0.0),
    _knob("lfo_to_amp", 0.0),
    _knob("drive", 0.0),
    _knob("level", -6.0, -24.0, 0.0, "dB"),
)
# The sixteen that shape most sounds; "32" is the whole voice, so that the names fit every synth.
_SIXTEEN = (
    "osc1_waveform",
    "osc1_octave",
    "osc2_waveform",
    "osc2_pitch",
    "osc2_detune",
    "osc_mix",
    "noise_level",
    "filter_cutoff",
    "filter_resonance",
    "filter_envelope",
    "filter_decay",
    "amp_attack",
    "amp_decay",
    "amp_sustain",
    "amp_release",
    "level",
)
SPACE = ParamSpace(PARAMS, {"16": _SIXTEEN, "32": tuple(param.name for param in PARAMS)})

# Unit ranges that make a kind of sound; what a family leaves open is drawn as in ``bank``.
_FAMILIES: dict[str, dict[str, tuple[float, float]]] = {
    "bass": {
        "osc1_octave": (0.0, 0.3),
        "filter_cutoff": (0.2, 0.5),
        "filter_envelope": (0.55, 0.8),
        "amp_attack": (0.0, 0.1),
        "noise_level": (0.0, 0.05),
    },
    "lead": {
        "filter_cutoff": (0.5, 0.9),
        "amp_attack": (0.0, 0.25),
        "amp_sustain": (0.6, 1.0),
        "osc_mix": (0.2, 0.6),
        "noise_level": (0.0, 0.05),
    },
    "pad": {
        "amp_attack": (0.4, 0.75),
        "amp_sustain": (0.5, 1.0),
        "amp_release": (0.4, 0.8),
        "osc_mix": (0.3, 0.7),
        "filter_attack": (0.3, 0.8),
        "filter_cutoff": (0.3, 0.7),
    },
    "pluck": {
        "amp_attack": (0.0, 0.05),
        "amp_decay": (0.3, 0.7),
        "amp_sustain": (0.0, 0.2),
        "filter_decay": (0.2, 0.6),
        "filter_sustain": (0.0, 0.3),
        "filter_envelope": (0.55, 0.9),
        "filter_cutoff": (0.2, 0.6),
    },
    "organ": {
        "amp_attack": (0.0, 0.1),
        "amp_sustain": (0.8, 1.0),
        "amp_release": (0.0, 0.3),
        "filter_envelope": (0.45, 0.55),
        "osc_mix": (0.3, 0.7),
        "lfo_to_amp": (0.0, 0.4),
    },
    "effect": {
        "noise_level": (0.2, 1.0),
        "pitch_envelope": (0.1, 0.9),
        "lfo_to_filter": (0.0, 0.8),
        "ring_mod": (0.0, 1.0),
    },
}
# How often a control is touched at all where a family does not say, when it is not one half.
_TOUCHED = {
    "ring_mod": 0.1,
    "noise_level": 0.2,
    "filter_type": 0.25,
    "pitch_envelope": 0.1,
    "lfo_to_pitch": 0.35,
    "lfo_to_filter": 0.25,
    "lfo_to_amp": 0.15,
    "drive": 0.3,
    "osc1_waveform": 0.75,
    "osc2_waveform": 0.75,
    "filter_resonance": 0.8,
    "level": 0.9,
}


def bank() -> list[Preset]:
    """Draw the voice's presets: always the same ones, made by a program and not by people.

    They come in six families of sounds. A control is either at its default, as it mostly is in
    presets people make, or drawn from the range its family gives it; modulation depths lean to
    small values.

    Returns:
        480 presets.
    """
    rng = np.random.default_rng(BANK_SEED)
    defaults = SPACE.to_unit(SPACE.defaults)
    small = np.array([name.startswith("lfo_to") or name == "ring_mod" for name in SPACE.names])
    units, names = np.tile(defaults, (BANK_SIZE, 1)), []
    for i, unit in enumerate(units):
        family = list(_FAMILIES)[i % len(_FAMILIES)]
        ranges = _FAMILIES[family]
        drawn = rng.random(len(SPACE))
        touch = rng.random(len(SPACE))
        for k, name in enumerate(SPACE.names):
            if name in ranges:
                low, high = ranges[name]
                unit[k] = low + (high - low) * drawn[k]
            elif touch[k] < _TOUCHED.get(name, 0.5):
                unit[k] = drawn[k] ** 3 if small[k] else drawn[k]
        names.append(f"{family} {i // len(_FAMILIES) + 1}")
    return [
        Preset(name, dict(zip(SPACE.names, values, strict=True)), "drawn")
        for name, values in zip(names, SPACE.from_unit(units).tolist(), strict=True)
    ]
