"""Sounds of a live run, and the places that sounds are taken to."""

from dataclasses import dataclass

from pyrosynth.audio.io import Audio
from pyrosynth.explore.places import Array, Place


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
