"""How the built-in voice makes the samples of a sound: plain torch, differentiable.

The controls of all sounds move once per block of samples, see `pyrosynth.synths.voice_controls`,
and the samples are made of them. The filter works on overlapping spectra, so that nothing loops
over samples and gradients reach every continuous control.

On a CPU the time goes into passes over the samples: one sound at a time, and of it some spectra at
a time, stay in the cache, results take the place of what is no longer needed, and only the waves
and the filter that a sound asks for are computed. On a GPU the time goes into starting kernels
and into waiting for the host: many sounds are made together, each with every wave and filter, of
which the wanted ones are chosen in the end, so that the host need not know what they are.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from pyrosynth.audio.note import Note, require_note
from pyrosynth.synths.voice_controls import (
    CONTROL,
    HOP,
    WINDOW,
    Constants,
    Controls,
    constants_of,
    controls_of,
)

# Sounds whose controls are computed together; a GPU makes their samples together, too.
GROUP = {"cpu": 32, "cuda": 128}
# Pieces of `HOP` samples that the filter makes together; a GPU makes all of them.
HOPS = {"cpu": 116, "cuda": None}
LAPS = WINDOW // HOP - 1  # earlier spectra that reach into a piece of HOP samples
PULSE = 3  # number of the wave


def synthesize(values: Tensor, note: Note, sample_rate: int, seed: int) -> Tensor:
    """Render one note with each row of values, see `pyrosynth.synths.voice.Voice.synthesize`."""
    require_note(note)
    constants = constants_of(note, sample_rate, seed, values.device)
    sounds = _sounds(values, constants, note, sample_rate)
    if values.is_cuda or values.requires_grad:
        return torch.cat([constants.noise.new_zeros((0, constants.n_samples)), *sounds])
    # NumPy asks for large pages of memory; small ones take as long to get as to fill.
    audio = torch.from_numpy(np.empty((len(values), constants.n_samples), np.float32))
    with torch.inference_mode():  # a call costs less where no gradient can be asked for
        for row, sound in zip(audio, sounds, strict=True):
            row.copy_(sound[0])
    return audio


def _sounds(
    values: Tensor, constants: Constants, note: Note, sample_rate: int
) -> Iterator[Tensor]:
    """Make the sounds, on a CPU one after the other, else groups of `GROUP`."""
    size = GROUP[values.device.type]
    for start in range(0, len(values), size):
        group = values[start : start + size].double()
        if values.is_cuda:  # filled up, so that a sound never depends on its company
            full = torch.cat([group, group[-1:].expand(size - len(group), -1)])
            controls = controls_of(full, constants, note, sample_rate)
            yield samples_of(controls, constants)[: len(group)]
        else:
            controls = controls_of(group, constants, note, sample_rate)
            rows = zip(*(tensor.split(1) for tensor in controls), strict=True)
            for row, known in zip(rows, controls.choices.tolist(), strict=True):
                yield samples_of(Controls(*row), constants, known)


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
    one, two = (_oscillator(controls, k, constants.steps, known).flatten(1) for k in (0, 1))
    product = one * two
    sound = torch.lerp(one, two, controls.mix, out=_spent(one))
    sound = torch.lerp(sound, product, controls.ring, out=_spent(sound))
    sound = torch.addcmul(sound, controls.hiss, constants.noise, out=_spent(sound))
    sound = _filter(sound, controls, constants, known)
    # tanh(y) / 2 = sigmoid(2 y) - 1 / 2, and a sigmoid is many times as fast.
    distorted = torch.mul(sound, controls.gain, out=_spent(sound)).sigmoid_()
    distorted = torch.sub(distorted, 0.5, out=_spent(distorted))
    loudness = _amplifier(controls, constants)
    return torch.mul(distorted, loudness, out=_spent(distorted))[:, : constants.n_samples]


def _choose(
    options: Sequence[Callable[[], Tensor]],
    controls: Controls,
    k: int,
    known: Sequence[int | None],
) -> Tensor:
    """Return for each row what its option makes, by the k-th of `CHOICES`.

    The last option is also that of higher numbers; if a number is known, only its option is made.
    """
    if (number := known[k]) is not None:
        return options[min(number, len(options) - 1)]()
    wanted = controls.choices[:, k, None, None]
    made = options[0]()
    for number, option in enumerate(options[1:], start=1):
        made = torch.where(wanted >= number, option(), made)
    return made


def _amplifier(controls: Controls, constants: Constants) -> Tensor:
    """Return the envelope times the loudness of every sample, shape (n, n_filled)."""
    n_held = constants.n_held
    last = n_held // CONTROL  # the block in which the note is released
    fall = controls.falls[:, : last + 1] * controls.within[:, 0]
    fall = torch.clamp(fall, max=1, out=_spent(fall))
    held = torch.mul(fall, 1 - controls.sustain, out=_spent(fall)).add_(controls.sustain)
    rise = constants.seconds[: last + 1] * controls.attack
    rise = torch.clamp(rise, max=1, out=_spent(rise))
    held = torch.mul(held, rise, out=_spent(held)).flatten(1)[:, :n_held]
    released = (controls.releases[:, last:] * controls.within[:, 1]).flatten(1)
    envelope = torch.cat([held, released[:, n_held - last * CONTROL :]], dim=1)
    start, end = controls.loudness[:, :-1], controls.loudness[:, 1:]
    loudness = _plus_product(start, end - start, constants.steps / CONTROL).flatten(1)
    return torch.mul(loudness, envelope, out=_spent(loudness))


def _oscillator(controls: Controls, k: int, steps: Tensor, known: Sequence[int | None]) -> Tensor:
    """Return a wave without steps that alias, shape (n, n_blocks, CONTROL)."""
    rate, width = controls.rate[:, k], controls.width[:, k]
    turned = _plus_product(rate, steps, controls.slope[:, k])
    phase = _wrap(_plus_product(controls.begin[:, k], steps, turned))
    waves = (
        lambda: torch.sin(2 * math.pi * phase),
        lambda: phase.abs().mul_(4).sub_(1),
        lambda: _sawtooth(phase, rate),
    )
    wave = _choose(waves, controls, k, known)
    if known[k] in (None, PULSE):  # the difference of two sawtooth waves
        second = _sawtooth(_wrap(phase + width), rate)
        if known[k] is None:
            second = second * (controls.choices[:, k, None, None] == PULSE)
        wave = torch.sub(wave, second, out=_spent(wave))
    return wave


def _wrap(phase: Tensor) -> Tensor:
    """Bring phases to [-1/2, 1/2], in place."""
    return phase.sub_(phase.detach().round())


def _sawtooth(phase: Tensor, rate: Tensor) -> Tensor:
    """Fall at phase 0, rounded over two samples (polyBLEP), and rise from -1 to 1 till the next.

    References:
        Valimaki and Huovilainen, 2007, "Antialiasing oscillators in subtractive synthesis".
    """
    step = phase / rate
    step = torch.clamp(step, -1, 1, out=_spent(step))
    rest = step.abs().sub_(2)
    return torch.mul(rest, step, out=_spent(rest)).add_(phase, alpha=2)


def _filter(
    sound: Tensor, controls: Controls, constants: Constants, known: Sequence[int | None]
) -> Tensor:
    """Weigh overlapping spectra by the magnitude response of a two- or four-pole filter."""
    n_samples, n_frames = constants.n_samples, controls.hertz.shape[1]
    padded = torch.nn.functional.pad(
        sound[:, :n_samples], (LAPS * HOP, n_frames * HOP - n_samples)
    )
    frames, n_hops = padded.unfold(1, WINDOW, HOP), n_frames - LAPS
    size = HOPS[sound.device.type] or n_hops
    pieces: list[Tensor] = []
    for start in range(0, n_hops, size):
        reaching = slice(start, min(start + size, n_hops) + LAPS)
        spectra = torch.fft.rfft(frames[:, reaching] * constants.window)
        response = _response(controls.hertz[:, reaching], controls, constants, known)
        weighed = torch.fft.irfft(_scaled(spectra, response), n=WINDOW)
        n_weighed = weighed.shape[1]
        overlapping = weighed.view(-1, n_weighed, LAPS + 1, HOP)
        whole = overlapping[:, LAPS:, 0] * constants.fade[0]
        for j in range(1, LAPS + 1):
            some = overlapping[:, LAPS - j : n_weighed - j, j]
            whole = torch.addcmul(whole, some, constants.fade[j], out=_spent(whole))
        pieces.append(whole.flatten(1))
    return torch.cat(pieces, dim=1) if len(pieces) > 1 else pieces[0]


def _response(
    hertz: Tensor, controls: Controls, constants: Constants, known: Sequence[int | None]
) -> Tensor:
    """Return a filter's magnitude at every frequency, shape (n, n_frames, n_bins).

    Args:
        hertz: The cutoff, shape (n, n_frames, 1).
        controls: Of the sounds.
        constants: Of the note.
        known: As in `samples_of`.
    """
    # Two poles, with frequencies in units of the cutoff; four are the square of two. The square
    # of the magnitude is 1 over a polynomial of ``power``, written so that nothing cancels out.
    ratio = constants.bins / hertz
    power = ratio * ratio
    distance = power - controls.resonant
    poles = torch.addcmul(controls.least, distance, distance, out=_spent(distance)).rsqrt_()
    passes = (
        lambda: poles,
        lambda: poles * ratio * controls.damping,
        lambda: poles * power,
    )
    if known[2] is None:  # the three as one sum, of which two parts are nothing
        kind = controls.choices[:, 2, None, None]
        low, band, high = ((kind == k).to(poles) for k in range(3))
        band = band * controls.damping
        two = poles * _plus_product(_plus_product(low, ratio, band), power, high)
    else:
        two = passes[known[2]]()
    slopes = (lambda: two, lambda: two * two)
    return _choose(slopes, controls, 3, known)


def _spent(tensor: Tensor) -> Tensor | None:
    """Return a tensor that nothing else reads as the place of a result, which stays in the cache.

    There is no such place where a gradient will be computed, for which tensors are kept.
    """
    return None if tensor.requires_grad else tensor


def _plus_product(sum_: Tensor, one: Tensor, two: Tensor) -> Tensor:
    """Return a sum and a product added, which is as large as the result.

    On a CPU, `torch.addcmul` is slow where two of the three repeat one number along their rows.
    """
    return torch.addcmul(sum_, one, two) if one.is_cuda else (one * two).add_(sum_)


def _scaled(spectra: Tensor, response: Tensor) -> Tensor:
    """Multiply complex by real numbers, in the way that is fast on the device."""
    if spectra.is_cuda:  # else the real ones would be copied to complex ones first
        return torch.view_as_complex(torch.view_as_real(spectra) * response[..., None])
    return torch.mul(spectra, response, out=_spent(spectra))
