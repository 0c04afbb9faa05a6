"""How the controls of the built-in voice move: what the samples of a sound are made of.

Pitch and loudness are computed once per block of samples, the filter's cutoff once per spectrum,
for many sounds together; `pyrosynth.synths.voice_sound` makes the samples.
"""

import functools
import math
from typing import NamedTuple

import torch
from torch import Tensor

from pyrosynth.audio.note import Note
from pyrosynth.synths.voice_params import SPACE

CONTROL = 64  # samples between two settings of pitch and tremolo
WINDOW, HOP = 1024, 256  # samples of the filter's spectra and between them
SEMITONE = math.log(2.0) / 12
DURATIONS = tuple(
    f"{curve}_{part}" for curve in ("filter", "amp") for part in ("attack", "decay", "release")
)
CHOICES = ("osc1_waveform", "osc2_waveform", "filter_type", "filter_slope")


class Times(NamedTuple):
    """Moments of a sound in seconds."""

    all: Tensor
    held: Tensor  # those before the note is released
    end: Tensor  # when that is, shape (1,)
    since: Tensor  # of the others, from the release on


class Envelope(NamedTuple):
    """A curve on [0, 1]: straight rise, exponential falls; its times in seconds, each (n, 1)."""

    attack: Tensor
    decay: Tensor
    sustain: Tensor
    release: Tensor


class Constants(NamedTuple):
    """What all sounds of a note share; samples are filled up to whole pieces of `HOP`."""

    n_samples: int
    n_held: int  # samples before the note is released
    low: Tensor  # of the controls
    high: Tensor
    blocks: Times  # of the borders of blocks; float64, as phases add up over the whole sound
    frames: Times  # of the middles of the filter's spectra
    seconds: Tensor  # of the samples, (n_blocks, CONTROL)
    noise: Tensor
    steps: Tensor  # numbers of the samples within a block
    window: Tensor
    fade: Tensor  # of weighed spectra that overlap, (4, HOP)
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
    damping: Tensor  # (n, 1, 1), as the next two
    resonant: Tensor  # square of the frequency, over the cutoff, at which two poles pass most
    least: Tensor  # what the polynomial is there, see `voice_sound._response`
    gain: Tensor  # of the distortion, (n, 1)
    attack: Tensor  # how much the amplifier's envelope rises in a second, (n, 1, 1)
    sustain: Tensor  # (n, 1, 1)
    falls: Tensor  # how far above it the envelope is at the start of each block, (n, n_blocks, 1)
    releases: Tensor  # the envelope after the release there, same shape
    within: Tensor  # both within a block that starts with 1, (n, 2, 1, CONTROL)
    loudness: Tensor  # twice, at the borders of blocks, (n, n_blocks + 1, 1)
    choices: Tensor  # numbers of `CHOICES`, (n, 4)


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
        seconds = (torch.arange(n_filled, dtype=torch.float32) / sample_rate).unflatten(
            0, (-1, CONTROL)
        )
        middles = torch.arange(n_frames).double() * HOP - (WINDOW - HOP) + WINDOW / 2
        generator = torch.Generator().manual_seed(seed)
        noise = torch.rand(n_samples, generator=generator) * 2 - 1
        window = torch.hann_window(WINDOW)
        return Constants(
            n_samples=n_samples,
            n_held=int((seconds < note.hold_seconds).sum()),
            low=torch.tensor(SPACE.minimum).to(device),
            high=torch.tensor(SPACE.maximum).to(device),
            blocks=times(torch.arange(n_blocks + 1).double() * (CONTROL / sample_rate)),
            frames=times((middles / sample_rate).clamp(min=0)),
            seconds=seconds.to(device),
            noise=torch.nn.functional.pad(noise, (0, n_filled - n_samples)).to(device),
            steps=torch.arange(CONTROL, dtype=torch.float32).to(device),
            window=window.to(device),
            fade=(window / 1.5).unflatten(0, (-1, HOP)).to(device),
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
    seconds = 0.002 + 4 * torch.cat([knob[name] for name in DURATIONS], dim=1) ** 3
    knob |= zip(DURATIONS, seconds.split(1, dim=1), strict=True)
    sweep = Envelope(*(knob[f"filter_{part}"] for part in Envelope._fields))
    amp = Envelope(*(knob[f"amp_{part}"] for part in Envelope._fields))

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
    damping = 1.4 * torch.exp(-sharpness * knob["filter_resonance"])[..., None]
    half = damping**2 / 2

    # An exponential at evenly spaced times is a product of those at fewer. Before a fall begins,
    # its exponent is positive: `_amplifier` does without it.
    starts, ends = constants.blocks.all[:-1], constants.blocks.end
    fall, release = 3 / amp.decay, 4 / amp.release
    falls = torch.exp(((amp.attack - starts) * fall).clamp(max=60))
    releases = torch.exp(((ends - starts) * release).clamp(max=60)) * _held(amp, ends)
    speeds = torch.stack([fall, release], dim=1) * (-1 / sample_rate)

    loudness = torch.exp(knob["level"] * (math.log(10) / 20)) * (note.velocity / 127)
    loudness = 2 * loudness * (1 - knob["lfo_to_amp"] * (0.5 - 0.5 * lfo))
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
        damping=damping.float(),
        resonant=(1 - half).float(),
        least=(half * (2 - half)).float(),
        gain=(2 + 14 * knob["drive"] ** 2).float(),
        attack=(1 / amp.attack).float()[..., None],
        sustain=knob["amp_sustain"].float()[..., None],
        falls=falls.float()[..., None],
        releases=releases.float()[..., None],
        within=torch.exp(speeds * constants.steps).float()[:, :, None],
        loudness=loudness.float()[..., None],
        choices=torch.cat([knob[name] for name in CHOICES], dim=1).round().long(),
    )


def _lfo(knob: dict[str, Tensor], times: Times) -> Tensor:
    """Return the LFO on [-1, 1], shape (n, n_times)."""
    phase = (times.all * (0.1 * torch.exp(math.log(100) * knob["lfo_rate"]))).frac()
    shape = knob["lfo_waveform"].round()
    sine = torch.sin(2 * math.pi * phase)
    triangle = 1 - 4 * (phase - 0.5).abs()
    return torch.where(shape == 0, sine, torch.where(shape == 1, triangle, sine.sign()))


def _envelope(curve: Envelope, times: Times) -> Tensor:
    """Return a curve at some times, shape (n, n_times)."""
    released = _held(curve, times.end) * torch.exp(times.since * (-4 / curve.release))
    return torch.cat([_held(curve, times.held), released], dim=1)


def _held(curve: Envelope, moments: Tensor) -> Tensor:
    """Return a curve before the note is released."""
    fall = torch.exp((curve.attack - moments).clamp(max=0) * (3 / curve.decay))
    return (moments / curve.attack).clamp(max=1) * (fall * (1 - curve.sustain) + curve.sustain)
