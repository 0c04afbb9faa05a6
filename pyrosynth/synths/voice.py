"""The built-in synth: a differentiable subtractive voice in torch.

It needs no plugin and is the synth of the tests. Two oscillators and noise go through a resonant
filter, a distortion and an amplifier; two envelopes and an LFO move them. Controls move once per
block of samples, the filter works on overlapping spectra, so that nothing loops over samples and
gradients reach every continuous control.
"""

import functools
import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyrosynth.audio.io import Audio, Note
from pyrosynth.errors import InputError, integer
from pyrosynth.synths.base import Synth
from pyrosynth.synths.presets import Preset
from pyrosynth.synths.voice_params import SPACE, bank

# To be raised with every change of the sound or of the table of controls: datasets rendered with
# another version are refused. `tests/data/voice.json` holds what this version sounds like.
VERSION = 1
CONTROL = 64  # samples between two settings of pitch and tremolo
WINDOW, HOP = 1024, 256  # samples of the filter's spectra and between them
# Sounds computed together. On a CPU one at a time is fastest, as it stays in the cache; a GPU
# gets equal groups, filled up if need be, so that a sound never depends on its company.
GROUP = {"cpu": 1, "cuda": 64}
SEMITONE = math.log(2.0) / 12


class Voice(Synth):
    """A subtractive synth with 32 controls, differentiable and exactly repeatable.

    Args:
        device: ``"cpu"`` or ``"cuda"``.
        seed: Seed of the noise, which is the same in every sound; from 0 to 2⁶³ - 1.

    Raises:
        InputError: The device is not there, or the seed is no such integer.
    """

    name = "voice"
    param_space = SPACE
    isolation = "reuse"
    batched = True

    def __init__(self, device: str = "cpu", seed: int = 0) -> None:
        """Check the arguments."""
        try:
            self.device = torch.device(device)
        except (RuntimeError, TypeError) as error:
            raise InputError(f"unknown device '{device}'; known: cpu, cuda") from error
        if self.device.type not in GROUP:
            raise InputError(f"unknown device '{device}'; known: cpu, cuda")
        if self.device.type == "cuda" and not torch.cuda.is_available():
            raise InputError("there is no CUDA device here; use --device cpu")
        self.seed = integer("seed of the voice", seed, 0, 2**63 - 1)

    def spec(self) -> dict[str, Any]:
        """Return device and seed."""
        return {"synth": "voice", "device": str(self.device), "seed": self.seed}

    def identity(self) -> str:
        """Return `VERSION`, the seed and the kind of device."""
        return f"voice {VERSION}, seed {self.seed}, {self.device.type}"

    def presets(self) -> list[Preset]:
        """Return 480 presets drawn by a program, see `pyrosynth.synths.voice_params.bank`."""
        return bank()

    def render(self, values: NDArray[np.float64], note: Note, sample_rate: int) -> Audio:
        """Render one note; see `Synth.render`."""
        return self.render_batch(np.asarray(values)[None], note, sample_rate)[0]

    def render_batch(
        self, values: NDArray[np.float64], note: Note, sample_rate: int
    ) -> NDArray[np.float32]:
        """Render one note with each row of values; see `Synth.render_batch`."""
        with torch.no_grad():
            rows = torch.tensor(np.ascontiguousarray(values, np.float64), device=self.device)
            audio: NDArray[np.float32] = self.synthesize(rows, note, sample_rate).cpu().numpy()
        return audio

    def synthesize(self, values: Tensor, note: Note, sample_rate: int) -> Tensor:
        """Render one note with each row of values, differentiably.

        Args:
            values: Native parameter values on this synth's device, shape (n, n_params); outside
                their range they are clamped. Gradients flow to the continuous ones.
            note: What to play.
            sample_rate: Rate in Hz.

        Returns:
            Audio, shape (n, n_samples), float32.
        """
        size = GROUP[self.device.type]
        noise = _noise(self.seed, note.n_samples(sample_rate)).to(self.device)
        sounds = []
        for start in range(0, len(values), size):
            group = values[start : start + size].double()
            padded = torch.cat([group, group[-1:].expand(size - len(group), -1)])
            sounds.append(_synthesize(padded, noise, note, sample_rate)[: len(group)])
        return torch.cat(sounds) if sounds else noise.new_zeros((0, len(noise)))


@functools.lru_cache(maxsize=8)
def _noise(seed: int, n_samples: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n_samples, generator=generator) * 2 - 1


def _synthesize(values: Tensor, noise: Tensor, note: Note, sample_rate: int) -> Tensor:
    low, high = (
        torch.as_tensor(bound, device=values.device) for bound in (SPACE.minimum, SPACE.maximum)
    )
    clamped = torch.minimum(torch.maximum(values, low), high)
    knob = {name: clamped[:, i : i + 1] for i, name in enumerate(SPACE.names)}
    n_samples = len(noise)
    n_blocks = -(-n_samples // CONTROL)

    # Pitch and tremolo at the block borders, in float64 as phases add up over the whole sound.
    time = torch.arange(n_blocks + 1, device=values.device).double() * (CONTROL / sample_rate)
    lfo = _lfo(knob, time)
    bend = knob["lfo_to_pitch"] ** 3 * 12 * lfo
    bend = bend + knob["pitch_envelope"] * _envelope(knob, "filter", time, note.hold_seconds)
    first = note.pitch + 12 * knob["osc1_octave"] + bend
    second = first + knob["osc2_pitch"] + knob["osc2_detune"] / 100
    one = _oscillator(knob, "osc1", first, sample_rate)[:, :n_samples]
    two = _oscillator(knob, "osc2", second, sample_rate)[:, :n_samples]

    mix, ring, hiss = (knob[name].float() for name in ("osc_mix", "ring_mod", "noise_level"))
    sound = (1 - mix) * one + mix * two
    sound = (1 - ring) * sound + ring * one * two + hiss * noise
    sound = _filter(knob, sound, note, sample_rate)
    gain = 1 + 7 * knob["drive"].float() ** 2
    sound = torch.tanh(gain * sound)

    time = torch.arange(n_samples, device=values.device, dtype=torch.float32) / sample_rate
    floats = {name: value.float() for name, value in knob.items()}
    loudness = torch.exp(floats["level"] * (math.log(10) / 20)) * (note.velocity / 127)
    tremolo = 1 - knob["lfo_to_amp"] * (0.5 - 0.5 * lfo)
    curve = _between(tremolo.float()).flatten(1)[:, :n_samples]
    return sound * loudness * curve * _envelope(floats, "amp", time, note.hold_seconds)


def _lfo(knob: dict[str, Tensor], time: Tensor) -> Tensor:
    """Return the LFO on [-1, 1], shape (n, n_times)."""
    turns = time * (0.1 * torch.exp(math.log(100) * knob["lfo_rate"]))
    phase = turns - turns.floor()
    shape = knob["lfo_waveform"].round()
    sine = torch.sin(2 * math.pi * phase)
    triangle = 1 - 4 * (phase - 0.5).abs()
    return torch.where(shape == 0, sine, torch.where(shape == 1, triangle, sine.sign()))


def _envelope(knob: dict[str, Tensor], which: str, time: Tensor, hold_seconds: float) -> Tensor:
    """Return an ADSR curve on [0, 1], shape (n, n_times): straight rise, exponential falls."""
    attack, decay, release = (
        0.002 + 4 * knob[f"{which}_{part}"] ** 3 for part in ("attack", "decay", "release")
    )
    sustain = knob[f"{which}_sustain"]

    def held(moment: Tensor) -> Tensor:
        rise = (moment / attack).clamp(max=1)
        fall = torch.exp(-(moment - attack).clamp(min=0) * (3 / decay))
        return rise * (sustain + (1 - sustain) * fall)

    end = held(torch.full_like(time[:1], hold_seconds))
    released = end * torch.exp(-(time - hold_seconds).clamp(min=0) * (4 / release))
    return torch.where(time < hold_seconds, held(time), released)


def _between(borders: Tensor) -> Tensor:
    """Fill (n, n_blocks + 1) values at block borders to (n, n_blocks, CONTROL) samples."""
    step = torch.arange(CONTROL, device=borders.device, dtype=borders.dtype) / CONTROL
    start, end = borders[:, :-1, None], borders[:, 1:, None]
    return start + (end - start) * step


def _oscillator(knob: dict[str, Tensor], which: str, pitch: Tensor, sample_rate: int) -> Tensor:
    """Return a wave without steps that alias, shape (n, n_blocks * CONTROL)."""
    cycles = 440 / sample_rate * torch.exp((pitch - 69) * SEMITONE)  # per sample
    cycles = cycles.clamp(max=0.45)
    start, end = cycles[:, :-1], cycles[:, 1:]
    done = torch.cumsum((start + end) * (CONTROL / 2), dim=1)
    begin = torch.nn.functional.pad(done[:, :-1], (1, 0))
    begin = (begin - begin.floor()).float()[..., None]
    step = torch.arange(CONTROL, device=pitch.device, dtype=torch.float32)
    slope = ((end - start) / (2 * CONTROL)).float()[..., None]
    rate = start.float()[..., None]
    phase = (begin + step * (rate + step * slope)).flatten(1)
    phase = phase - phase.floor()
    rate = rate.expand(-1, -1, CONTROL).flatten(1)
    width = knob[f"{which}_pulse_width"].float()
    shape = knob[f"{which}_waveform"].round().long().flatten()
    wave = torch.zeros_like(phase)
    for k in shape.unique().tolist():  # only the waves that are asked for
        rows = (shape == k).nonzero().flatten()
        made = _wave(k, phase[rows], rate[rows], width[rows])
        wave = wave.index_copy(0, rows, made)
    return wave


def _wave(shape: int, phase: Tensor, rate: Tensor, width: Tensor) -> Tensor:
    if shape == 0:
        return torch.sin(2 * math.pi * phase)
    if shape == 1:
        return 1 - 4 * (phase - 0.5).abs()
    if shape == 2:
        return _sawtooth(phase, rate)
    shifted = phase + width
    return _sawtooth(phase, rate) - _sawtooth(shifted - shifted.floor(), rate)


def _sawtooth(phase: Tensor, rate: Tensor) -> Tensor:
    """Rise from -1 to 1, the fall rounded over two samples (polyBLEP).

    References:
        Valimaki and Huovilainen, 2007, "Antialiasing oscillators in subtractive synthesis".
    """
    after = (1 - phase / rate).clamp(min=0)
    before = (1 - (1 - phase) / rate).clamp(min=0)
    return 2 * phase - 1 + after * after - before * before


def _filter(knob: dict[str, Tensor], sound: Tensor, note: Note, sample_rate: int) -> Tensor:
    """Weigh overlapping spectra by the magnitude response of a two- or four-pole filter."""
    n_samples = sound.shape[1]
    n_frames = -(-n_samples // HOP) + WINDOW // HOP - 1
    overlap = WINDOW - HOP
    padded = torch.nn.functional.pad(sound, (overlap, n_frames * HOP - n_samples))
    window = torch.hann_window(WINDOW, device=sound.device)
    spectra = torch.fft.rfft(padded.unfold(1, WINDOW, HOP) * window)

    frames = torch.arange(n_frames, device=sound.device).double()
    time = ((frames * HOP - overlap + WINDOW / 2) / sample_rate).clamp(min=0)
    envelope = _envelope(knob, "filter", time, note.hold_seconds)
    cutoff = knob["filter_cutoff"] + knob["filter_envelope"] * envelope
    cutoff = cutoff + knob["filter_key_track"] * (note.pitch - 60)
    cutoff = cutoff + 36 * knob["lfo_to_filter"] * _lfo(knob, time)
    hertz = 440 * torch.exp((cutoff.clamp(0, 140) - 69) * SEMITONE)
    bins = torch.arange(WINDOW // 2 + 1, device=sound.device) * (sample_rate / WINDOW)
    ratio = bins / hertz.float()[..., None]
    power = ratio * ratio
    steep = knob["filter_slope"].round() == 1
    sharpness = torch.where(steep, 1.6, 3.2)  # two stages ring together as one alone would
    damping = 1.4 * torch.exp(-sharpness * knob["filter_resonance"]).float()[..., None]
    band = power * damping * damping
    rest = 1 - power
    shape = knob["filter_type"].round()[..., None]
    passed = torch.where(
        shape == 0, torch.ones_like(power), torch.where(shape == 1, band, power * power)
    )
    response = passed / (rest * rest + band + 1e-9)
    response = torch.where(steep[..., None], response, torch.sqrt(response + 1e-12))

    weighed = torch.fft.irfft(spectra * response, n=WINDOW) * (window / 1.5)
    pieces = weighed.unflatten(2, (WINDOW // HOP, HOP))
    n_pieces = n_frames - WINDOW // HOP + 1
    whole = sum(
        (pieces[:, WINDOW // HOP - 1 - j :][:, :n_pieces, j] for j in range(WINDOW // HOP)),
        start=torch.zeros_like(pieces[:, :n_pieces, 0]),
    )
    return whole.flatten(1)[:, :n_samples]
