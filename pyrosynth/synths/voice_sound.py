"""How the built-in voice makes a sound of its controls: plain torch, differentiable.

The controls of all sounds move once per block of samples (`controls_of`), then the samples are
made of them (`samples_of`). The filter works on overlapping spectra, so that nothing loops over
samples and gradients reach every continuous control.

On a CPU the time goes into passes over the samples: one sound at a time stays in the cache, and
only the waves and the filter that it asks for are computed. On a GPU it goes into starting kernels
and into waiting for the host: many sounds are made together, each with every wave and filter, of
which the wanted ones are chosen in the end, so that the host need not know what they are.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pyrosynth.audio.io import Note
from pyrosynth.synths.voice_params import SPACE

CONTROL = 64  # samples between two settings of pitch and tremolo
WINDOW, HOP = 1024, 256  # samples of the filter's spectra and between them
# Sounds whose controls are computed together; a GPU makes their samples together, too.
GROUP = {"cpu": 32, "cuda": 128}
SEMITONE = math.log(2.0) / 12
ENVELOPE = ("attack", "decay", "sustain", "release")
SAWTOOTH, PULSE = 2, 3  # numbers of waves
CHOICES = ("osc1_waveform", "osc2_waveform", "filter_type", "filter_slope")


class Times(NamedTuple):
    """Moments of a sound in seconds."""

    all: Tensor
    held: Tensor  # those before the note is released
    end: Tensor  # when that is, shape (1,)
    since: Tensor  # of the others, from the release on


class Constants(NamedTuple):
    """What all sounds of a note share; samples are filled up to whole pieces of `HOP`."""

    n_samples: int
    low: Tensor  # of the controls
    high: Tensor
    blocks: Times  # of the borders of blocks; float64, as phases add up over the whole sound
    frames: Times  # of the middles of the filter's spectra
    samples: Times
    noise: Tensor
    steps: Tensor  # samples within a block
    window: Tensor
    bins: Tensor  # frequencies of the filter's spectra in Hz


class Controls(NamedTuple):
    """What the samples of n sounds are made of; frequencies in cycles per sample."""

    begin: Tensor  # phase at the start of each block, (n, 2 oscillators, n_blocks, 1)
    rate: Tensor  # frequency there, same shape
    slope: Tensor  # half of its change per sample, same shape
    width: Tensor  # of the pulses, (n, 2, 1, 1)
    mix: Tensor  # (n, 1), as the next two
    ring: Tensor
    hiss: Tensor
    hertz: Tensor  # the filter's cutoff, (n, n_frames, 1)
    damping: Tensor  # (n, 1, 1)
    drive: Tensor  # (n, 1)
    loudness: Tensor  # at the borders of blocks, (n, n_blocks + 1)
    amp: Tensor  # the controls `ENVELOPE`, (n, 4)
    choices: Tensor  # numbers of `CHOICES`, (n, 4)


def synthesize(values: Tensor, note: Note, sample_rate: int, seed: int) -> Tensor:
    """Render one note with each row of values, see `pyrosynth.synths.voice.Voice.synthesize`."""
    constants = constants_of(note, sample_rate, seed, values.device)
    sounds = [constants.noise.new_zeros((0, constants.n_samples))]
    size = GROUP[values.device.type]
    for start in range(0, len(values), size):
        group = values[start : start + size].double()
        if values.device.type == "cpu":
            controls = controls_of(group, constants, note, sample_rate)
            rows = zip(*(tensor.split(1) for tensor in controls), strict=True)
            for row, known in zip(rows, controls.choices.tolist(), strict=True):
                sounds.append(samples_of(Controls(*row), constants, known))
        else:  # filled up, so that a sound never depends on its company
            full = torch.cat([group, group[-1:].expand(size - len(group), -1)])
            controls = controls_of(full, constants, note, sample_rate)
            sounds.append(samples_of(controls, constants)[: len(group)])
    return torch.cat(sounds)


@functools.lru_cache(maxsize=8)
def constants_of(note: Note, sample_rate: int, seed: int, device: torch.device) -> Constants:
    """Compute what all sounds of a note share; ``seed`` is that of the noise."""
    n_samples = note.n_samples(sample_rate)
    n_pieces = -(-n_samples // HOP)
    n_filled, n_frames = n_pieces * HOP, n_pieces + WINDOW // HOP - 1
    n_blocks = n_filled // CONTROL

    def times(seconds: Tensor) -> Times:
        end = torch.full_like(seconds[:1], note.hold_seconds)
        held, since = seconds[seconds < end], seconds[seconds >= end] - end
        return Times(seconds.to(device), held.to(device), end.to(device), since.to(device))

    with torch.inference_mode(False), torch.device("cpu"):
        middles = torch.arange(n_frames).double() * HOP - (WINDOW - HOP) + WINDOW / 2
        generator = torch.Generator().manual_seed(seed)
        noise = torch.rand(n_samples, generator=generator) * 2 - 1
        return Constants(
            n_samples=n_samples,
            low=torch.as_tensor(SPACE.minimum).to(device),
            high=torch.as_tensor(SPACE.maximum).to(device),
            blocks=times(torch.arange(n_blocks + 1).double() * (CONTROL / sample_rate)),
            frames=times((middles / sample_rate).clamp(min=0)),
            samples=times(torch.arange(n_filled, dtype=torch.float32) / sample_rate),
            noise=torch.nn.functional.pad(noise, (0, n_filled - n_samples)).to(device),
            steps=torch.arange(CONTROL, dtype=torch.float32).to(device),
            window=torch.hann_window(WINDOW).to(device),
            bins=(torch.arange(WINDOW // 2 + 1) * (sample_rate / WINDOW)).to(device),
        )


def controls_of(values: Tensor, constants: Constants, note: Note, sample_rate: int) -> Controls:
    """Compute what moves block by block.

    Args:
        values: Parameter values, shape (n, n_params), float64.
        constants: Of the note.
        note: What to play.
        sample_rate: Rate in Hz.
    """
    clamped = torch.clamp(values, constants.low, constants.high)
    knob = dict(zip(SPACE.names, clamped.split(1, dim=1), strict=True))
    sweep = [knob[f"filter_{part}"] for part in ENVELOPE]

    lfo = _lfo(knob, constants.blocks)
    bend = knob["lfo_to_pitch"] ** 3 * 12 * lfo
    bend = bend + knob["pitch_envelope"] * _envelope(sweep, constants.blocks)
    first = note.pitch + 12 * knob["osc1_octave"] + bend
    second = first + knob["osc2_pitch"] + knob["osc2_detune"] / 100
    pitch = torch.stack([first, second], dim=1)
    cycles = (440 / sample_rate * torch.exp((pitch - 69) * SEMITONE)).clamp(max=0.45)
    start, end = cycles[..., :-1], cycles[..., 1:]
    done = torch.cumsum((start + end) * (CONTROL / 2), dim=-1)
    begin = torch.nn.functional.pad(done[..., :-1], (1, 0)).frac()

    cutoff = knob["filter_cutoff"] + knob["filter_key_track"] * (note.pitch - 60)
    cutoff = cutoff + knob["filter_envelope"] * _envelope(sweep, constants.frames)
    cutoff = cutoff + 36 * knob["lfo_to_filter"] * _lfo(knob, constants.frames)
    hertz = 440 * torch.exp((cutoff.clamp(0, 140) - 69) * SEMITONE)
    steep = knob["filter_slope"].round() == 1
    sharpness = torch.where(steep, 1.6, 3.2)  # two stages ring together as one alone would

    loudness = torch.exp(knob["level"] * (math.log(10) / 20)) * (note.velocity / 127)
    widths = torch.stack([knob["osc1_pulse_width"], knob["osc2_pulse_width"]], dim=1)
    return Controls(
        begin=begin.float()[..., None],
        rate=start.float()[..., None],
        slope=((end - start) / (2 * CONTROL)).float()[..., None],
        width=widths.float()[..., None],
        mix=knob["osc_mix"].float(),
        ring=knob["ring_mod"].float(),
        hiss=knob["noise_level"].float(),
        hertz=hertz.float()[..., None],
        damping=1.4 * torch.exp(-sharpness * knob["filter_resonance"]).float()[..., None],
        drive=knob["drive"].float(),
        loudness=(loudness * (1 - knob["lfo_to_amp"] * (0.5 - 0.5 * lfo))).float(),
        amp=torch.cat([knob[f"amp_{part}"] for part in ENVELOPE], dim=1).float(),
        choices=torch.cat([knob[name] for name in CHOICES], dim=1).round().long(),
    )


def samples_of(
    controls: Controls, constants: Constants, known: Sequence[int | None] = (None,) * 4
) -> Tensor:
    """Make the samples of n sounds, shape (n, n_samples).

    Args:
        controls: Of the sounds.
        constants: Of the note.
        known: What all the sounds choose of `CHOICES`; None computes everything there is to
            choose from.
    """
    one, two = (_oscillator(controls, k, constants.steps, known[k]).flatten(1) for k in (0, 1))
    sound = torch.lerp(one, two, controls.mix)
    sound = torch.lerp(sound, one * two, controls.ring)
    sound = _plus_product(sound, controls.hiss, constants.noise)
    sound = _filter(sound, controls, constants, known)
    # tanh(y) / 2 = sigmoid(2 y) - 1 / 2, and a sigmoid is many times as fast.
    distorted = torch.sigmoid((2 + 14 * controls.drive**2) * sound) - 0.5

    between = constants.steps / CONTROL
    start, end = 2 * controls.loudness[:, :-1, None], 2 * controls.loudness[:, 1:, None]
    loudness = _plus_product(start, end - start, between).flatten(1)
    envelope = _envelope(controls.amp.split(1, dim=1), constants.samples)
    return (distorted * (loudness * envelope))[:, : constants.n_samples]


def _choose(options: Sequence[Callable[[], Tensor]], wanted: Tensor, known: int | None) -> Tensor:
    """Return for each row what its option makes; only the known one is computed."""
    if known is not None:
        return options[known]()
    made = options[0]()
    for k, option in enumerate(options[1:], start=1):
        made = torch.where(wanted == k, option(), made)
    return made


def _lfo(knob: dict[str, Tensor], times: Times) -> Tensor:
    """Return the LFO on [-1, 1], shape (n, n_times)."""
    phase = (times.all * (0.1 * torch.exp(math.log(100) * knob["lfo_rate"]))).frac()
    shape = knob["lfo_waveform"].round()
    sine = torch.sin(2 * math.pi * phase)
    triangle = 1 - 4 * (phase - 0.5).abs()
    return torch.where(shape == 0, sine, torch.where(shape == 1, triangle, sine.sign()))


def _envelope(knobs: Sequence[Tensor], times: Times) -> Tensor:
    """Return an ADSR curve on [0, 1], shape (n, n_times): straight rise, exponential falls.

    Args:
        knobs: Those of `ENVELOPE`, each of shape (n, 1).
        times: When.
    """
    attack, decay, release = (0.002 + 4 * knobs[k] ** 3 for k in (0, 1, 3))
    sustain, fallen = knobs[2], 1 - knobs[2]

    def held(moments: Tensor) -> Tensor:
        fall = torch.exp((attack - moments).clamp(max=0) * (3 / decay))
        return (moments / attack).clamp(max=1) * (fall * fallen + sustain)

    released = held(times.end) * torch.exp(times.since * (-4 / release))
    return torch.cat([held(times.held), released], dim=1)


def _oscillator(controls: Controls, k: int, steps: Tensor, known: int | None) -> Tensor:
    """Return a wave without steps that alias, shape (n, n_blocks, CONTROL)."""
    rate, width = controls.rate[:, k], controls.width[:, k]
    turned = _plus_product(rate, steps, controls.slope[:, k])
    phase = _wrap(_plus_product(controls.begin[:, k], steps, turned))
    shape = controls.choices[:, k, None, None]
    waves = (
        lambda: torch.sin(2 * math.pi * phase),
        lambda: 4 * phase.abs() - 1,
        lambda: _sawtooth(phase, rate),
    )
    of_waves = None if known is None else min(known, SAWTOOTH)
    wave = _choose(waves, shape.clamp(max=SAWTOOTH), of_waves)
    if known in (None, PULSE):  # the difference of two sawtooth waves
        second = _sawtooth(_wrap(phase + width), rate)
        wave = _plus_product(wave, (shape == PULSE) * -1.0, second)
    return wave


def _wrap(phase: Tensor) -> Tensor:
    """Bring phases to [-1/2, 1/2]."""
    return phase - phase.round()


def _sawtooth(phase: Tensor, rate: Tensor) -> Tensor:
    """Fall at phase 0, rounded over two samples (polyBLEP), and rise from -1 to 1 till the next.

    References:
        Valimaki and Huovilainen, 2007, "Antialiasing oscillators in subtractive synthesis".
    """
    step = (phase / rate).clamp(-1, 1)
    return _plus_product(2 * phase, step, step.abs() - 2)


def _filter(
    sound: Tensor, controls: Controls, constants: Constants, known: Sequence[int | None]
) -> Tensor:
    """Weigh overlapping spectra by the magnitude response of a two- or four-pole filter."""
    n_samples, n_frames = constants.n_samples, controls.hertz.shape[1]
    laps = WINDOW // HOP - 1  # earlier spectra that reach into a piece of HOP samples
    padded = torch.nn.functional.pad(
        sound[:, :n_samples], (laps * HOP, n_frames * HOP - n_samples)
    )
    spectra = torch.fft.rfft(padded.unfold(1, WINDOW, HOP) * constants.window)

    # Two poles, with frequencies in units of the cutoff; four are the square of two.
    ratio = constants.bins / controls.hertz
    power = ratio * ratio
    rest = 1 - power
    poles = torch.rsqrt(_plus_product(rest * rest, power, controls.damping**2))
    passes = (
        lambda: poles,
        lambda: poles * ratio * controls.damping,
        lambda: poles * power,
    )
    kind = controls.choices[:, 2, None, None]
    if known[2] is None:  # the three as one sum, of which two parts are nothing
        low, band, high = ((kind == k).to(poles) for k in range(3))
        band = band * controls.damping
        two = poles * _plus_product(_plus_product(low, ratio, band), power, high)
    else:
        two = passes[known[2]]()
    slopes = (lambda: two, lambda: two * two)
    response = _choose(slopes, controls.choices[:, 3, None, None], known[3])

    weighed = torch.fft.irfft(_scaled(spectra, response), n=WINDOW)
    weighed = weighed * (constants.window / 1.5)
    overlapping = weighed.unflatten(2, (laps + 1, HOP))
    whole = overlapping[:, laps:, 0]
    for j in range(1, laps + 1):
        whole = whole + overlapping[:, laps - j : n_frames - j, j]
    return whole.flatten(1)


def _plus_product(sum_: Tensor, one: Tensor, two: Tensor) -> Tensor:
    """Return a sum and a product added, on a GPU in one pass, whose rounding differs."""
    return torch.addcmul(sum_, one, two) if one.is_cuda else sum_ + one * two


def _scaled(spectra: Tensor, response: Tensor) -> Tensor:
    """Multiply complex by real numbers, in the way that is fast on the device."""
    if spectra.is_cuda:  # else the real ones would be copied to complex ones first
        return torch.view_as_complex(torch.view_as_real(spectra) * response[..., None])
    return spectra * response
