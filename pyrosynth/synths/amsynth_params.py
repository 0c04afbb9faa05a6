"""The parameters of amsynth, what its panel shows for them, and the selections to learn."""

import math
from types import MappingProxyType

from pyrosynth.synths.knobs import Reading
from pyrosynth.synths.params import Param, ParamSpace

GRID = 301  # levels of a continuous control

_WAVES = ("sine", "square / pulse", "triangle / saw", "white noise", "noise + sample & hold")


def _knob(
    name: str, minimum: float, maximum: float, default: float, resolution: int = GRID
) -> Param:
    return Param(name, "continuous", minimum, maximum, default, resolution)


def _choice(name: str, default: float, *labels: str) -> Param:
    last = len(labels) - 1
    return Param(name, "categorical", 0.0, last, default, len(labels), labels=labels)


# In the order of the plugin's ports, with amsynth's own defaults, which the ports only hint at.
#
# Resolution: most knobs were moved on a grid of 300 steps, on which 73 % of all continuous
# values of the human presets lie exactly (42 % for 128 levels). Rounding a whole preset to it
# changes its sound by 0.08 dB in the median, against 1.5 dB for 129 levels; an odd number of
# levels also puts one on the middle of a range around zero.
PARAMS = (
    _knob("amp_attack", 0.0, 2.5, 0.0),
    _knob("amp_decay", 0.0, 2.5, 0.0),
    _knob("amp_sustain", 0.0, 1.0, 1.0),
    _knob("amp_release", 0.0, 2.5, 0.0),
    _choice("osc1_waveform", 2.0, *_WAVES),
    _knob("filter_attack", 0.0, 2.5, 0.0),
    _knob("filter_decay", 0.0, 2.5, 0.0),
    _knob("filter_sustain", 0.0, 1.0, 1.0),
    _knob("filter_release", 0.0, 2.5, 0.0),
    _knob("filter_resonance", 0.0, 0.97, 0.0),
    _knob("filter_env_amount", -16.0, 16.0, 0.0),
    _knob("filter_cutoff", -0.5, 1.5, 1.5),
    _knob("osc2_detune", -1.0, 1.0, 0.0),
    _choice("osc2_waveform", 2.0, *_WAVES),
    _knob("master_vol", 0.0, 1.0, 0.67),
    _knob("lfo_freq", 0.0, 7.5, 0.0),
    _choice(
        "lfo_waveform",
        0.0,
        "sine",
        "square",
        "triangle",
        "noise",
        "noise + sample & hold",
        "sawtooth (up)",
        "sawtooth (down)",
    ),
    Param("osc2_range", "stepped", -3.0, 4.0, 0.0, 8, "octaves"),
    _knob("osc_mix", -1.0, 1.0, 0.0),
    _knob("freq_mod_amount", 0.0, 1.2599210739135742, 0.0),
    _knob("filter_mod_amount", -1.0, 1.0, -1.0),
    _knob("amp_mod_amount", -1.0, 1.0, -1.0),
    _knob("osc_mix_mode", 0.0, 1.0, 0.0),
    _knob("osc1_pulsewidth", 0.0, 1.0, 1.0),
    _knob("osc2_pulsewidth", 0.0, 1.0, 1.0),
    _knob("reverb_roomsize", 0.0, 1.0, 0.0),
    _knob("reverb_damp", 0.0, 1.0, 0.0),
    _knob("reverb_wet", 0.0, 1.0, 0.0),
    _knob("reverb_width", 0.0, 1.0, 1.0),
    _knob("distortion_crunch", 0.0, 0.9, 0.0),
    Param("osc2_sync", "toggle", 0.0, 1.0, 0.0, 2),
    _knob("portamento_time", 0.0, 1.0, 0.0),
    _choice("keyboard_mode", 0.0, "poly", "mono", "legato"),
    Param("osc2_pitch", "stepped", -12.0, 12.0, 0.0, 25, "semitones"),
    _choice("filter_type", 0.0, "low pass", "high pass", "band pass", "notch", "bypass"),
    _choice("filter_slope", 1.0, "12 dB / octave", "24 dB / octave"),
    _choice("freq_mod_osc", 0.0, "osc 1 + 2", "osc 1", "osc 2"),
    _knob("filter_kbd_track", 0.0, 1.0, 1.0),
    _knob("filter_vel_sens", 0.0, 1.0, 1.0),
    _knob("amp_vel_sens", 0.0, 1.0, 1.0),
    _choice("portamento_mode", 0.0, "always", "legato"),
)

# Chosen by audibility x use. Audibility: mean change of the log-mel spectrum in dB when this one
# control of a human preset is replaced. Use: share of 3,303 human presets that have it off its
# default. The products, in dB, stand behind the names; master_vol is loudness alone, but a sound
# is matched with its loudness.
_SIXTEEN = (
    "filter_cutoff",  # 9.9
    "amp_sustain",  # 8.1
    "amp_attack",  # 7.0
    "master_vol",  # 5.6
    "amp_decay",  # 5.5
    "filter_env_amount",  # 5.1
    "osc2_detune",  # 4.5
    "amp_release",  # 3.9
    "distortion_crunch",  # 3.4
    "osc_mix",  # 3.2
    "osc1_waveform",  # 3.0
    "filter_sustain",  # 2.8
    "filter_resonance",  # 2.7
    "freq_mod_amount",  # 2.2
    "reverb_wet",  # 2.1
    "osc2_range",  # 2.0
)
# The nine left out: reverb_damp (0.16), filter_release, filter_vel_sens, keyboard_mode,
# amp_vel_sens and freq_mod_osc (all below 0.1), and portamento_mode, filter_kbd_track and
# reverb_width, which a single mono note at C4 cannot show.
_THIRTY_TWO = (
    *_SIXTEEN,
    "filter_attack",  # 2.0
    "filter_decay",  # 1.6
    "osc2_pulsewidth",  # 1.6
    "osc1_pulsewidth",  # 1.5
    "osc2_waveform",  # 1.4
    "filter_mod_amount",  # 1.2
    "osc_mix_mode",  # 1.1
    "lfo_freq",  # 1.0
    "osc2_pitch",  # 0.9
    "filter_type",  # 0.8
    "reverb_roomsize",  # 0.7
    "amp_mod_amount",  # 0.6
    "filter_slope",  # 0.6
    "lfo_waveform",  # 0.3
    "osc2_sync",  # 0.2
    "portamento_time",  # 0.2
)

SPACE = ParamSpace(PARAMS, {"16": _SIXTEEN, "32": _THIRTY_TWO})

_SECONDS = Reading("s", power=3.0, offset=0.0005)
_PERCENT, _FROM_NONE = Reading("%", 100.0), Reading("%", 50.0, offset=50.0)
# What the plugin itself tells of its native values. Modulations have none at their lowest value.
READINGS = MappingProxyType(
    {
        **dict.fromkeys((f"amp_{stage}" for stage in ("attack", "decay", "release")), _SECONDS),
        **dict.fromkeys((f"filter_{stage}" for stage in ("attack", "decay", "release")), _SECONDS),
        **dict.fromkeys(
            (
                "amp_sustain", "filter_sustain", "filter_resonance", "osc_mix", "osc_mix_mode",
                "osc1_pulsewidth", "osc2_pulsewidth", "reverb_roomsize", "reverb_damp",
                "reverb_wet", "reverb_width", "distortion_crunch", "filter_kbd_track",
                "filter_vel_sens", "amp_vel_sens",
            ),
            _PERCENT,
        ),
        "filter_cutoff": Reading("octaves", 4.0),
        "osc2_detune": Reading("cents", 1200 * math.log2(1.25)),
        "lfo_freq": Reading("Hz", power=2.0),
        "master_vol": Reading("%", 100.0, power=2.0),
        "freq_mod_amount": Reading("%", 50.0, power=3.0),
        "filter_mod_amount": _FROM_NONE,
        "amp_mod_amount": _FROM_NONE,
    }
)  # fmt: skip
