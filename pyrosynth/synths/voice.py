"""The built-in synth: a differentiable subtractive voice in torch.

It needs no plugin and is the synth of the tests. Two oscillators and noise go through a resonant
filter, a distortion and an amplifier; two envelopes and an LFO move them. How they move is in
`pyrosynth.synths.voice_controls`, how they sound in `pyrosynth.synths.voice_sound`.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyrosynth.audio.io import Audio
from pyrosynth.audio.note import Note
from pyrosynth.errors import InputError, integer
from pyrosynth.synths.base import Synth
from pyrosynth.synths.presets import Preset, checked_values
from pyrosynth.synths.voice_params import SPACE, bank
from pyrosynth.synths.voice_sound import GROUP, synthesize

# To be raised with every change of the sound or of the table of controls: datasets rendered with
# another version are refused. `tests/data/voice.json` holds what this version sounds like.
VERSION = 1


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
            raise InputError(
                "there is no CUDA device here; use the option device=cpu of the voice"
            )
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
        return self.render_batch(
            checked_values(values, self.param_space, 1)[None], note, sample_rate
        )[0]

    def render_batch(
        self, values: NDArray[np.float64], note: Note, sample_rate: int
    ) -> NDArray[np.float32]:
        """Render one note with each row of values; see `Synth.render_batch`."""
        with torch.no_grad():
            rows = torch.tensor(checked_values(values, self.param_space, 2), device=self.device)
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
        return synthesize(values, note, sample_rate, self.seed)
