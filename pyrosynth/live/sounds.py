"""Sounds of a live run, and the places that sounds are taken to."""

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock, Semaphore

import numpy as np

from pyrosynth.audio.io import Audio
from pyrosynth.audio.note import Note
from pyrosynth.errors import InputError, SynthError
from pyrosynth.explore.places import Array, Float, Place
from pyrosynth.synths.rendering import Renderer

KEPT = 128  # rendered sounds that are remembered
WAITING = 16  # renders that may wait at once


class BusyError(InputError):
    """More is asked for at once than can be rendered soon."""


@dataclass(frozen=True, eq=False)
class Sound:
    """A sound of the synth.

    Attributes:
        audio: Shape (n_samples,).
        x: Its features, shape (n_mels, n_frames).
    """

    audio: Audio
    x: Array


@dataclass(frozen=True, eq=False)
class Embedding:
    """The place of the latent space that a sound was taken to.

    Attributes:
        place: The preset, and where it is.
        x: Features of the sound, shape (n_mels, n_frames).
        lsd_db: Log-spectral distance in dB between the sound and what the synth renders there.
    """

    place: Place
    x: Array
    lsd_db: float


class RenderedSounds:
    """Sounds of presets as they are asked for; the last ones are remembered.

    Args:
        renderer: Of one process, which keeps audio; whoever made it closes it.

    Attributes:
        renderer: What was given.
    """

    def __init__(self, renderer: Renderer) -> None:
        """Remember none yet."""
        self.renderer = renderer
        self._waiting = Semaphore(WAITING)
        self._kept: OrderedDict[bytes, Sound] = OrderedDict()
        self._keeping = Lock()

    def render(self, preset: Float, note: Note) -> Sound:
        """Render a preset, or return the sound that is remembered.

        Args:
            preset: Native values of all parameters, shape (n_params,).
            note: What is played.

        Raises:
            InputError: Too many sounds are waiting.
            SynthError: The synth crashed, hung, or gave no numbers.
        """
        pressed = (note.pitch, note.velocity, note.hold_seconds)
        key = np.array([*preset, *pressed], np.float64).tobytes()
        with self._keeping:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        if not self._waiting.acquire(blocking=False):
            raise BusyError(f"{WAITING} sounds are waiting to be rendered; ask again in a moment")
        try:
            rendered = self.renderer.render(preset[None], note=note)
        finally:
            self._waiting.release()
        if rendered.failed[0]:
            raise SynthError(f"the synth {rendered.fate(0)}; try another preset")
        assert rendered.audio is not None
        assert rendered.features is not None
        sound = Sound(rendered.audio[0], rendered.features[0])
        with self._keeping:
            self._kept[key] = sound
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return sound
