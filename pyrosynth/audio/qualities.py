"""Qualities of sounds that have a name, each with a number that says how much of it there is.

They are computed from features, so that they are known of every preset of a dataset. Frames are
about 50 ms apart: what happens faster, such as the click of a pluck, they do not see.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyrosynth.audio.descriptors import describe_features
from pyrosynth.audio.features import FeatureSpec, power_of_each
from pyrosynth.audio.note import Note, require_note


class Quality(NamedTuple):
    """A quality, and what there is less and more of."""

    name: str
    less: str
    more: str


QUALITIES = (
    Quality("loudness", "quiet", "loud"),
    Quality("brightness", "dark", "bright"),
    Quality("noisiness", "pure", "noisy"),
    Quality("length", "short", "long"),
    Quality("movement", "constant", "moving"),
    Quality("bass", "light", "deep"),
    Quality("treble", "dull", "crisp"),
    Quality("width", "narrow", "wide"),
    Quality("register", "low", "high"),
    Quality("attack", "fast", "slow"),
    Quality("hardness", "soft", "hard"),
    Quality("sustain", "dying", "lasting"),
    Quality("release", "dry", "ringing"),
)
"""What `qualities` measures, in its order."""

BASS_HZ, TREBLE_HZ = 200.0, 4000.0
DEEPEST_DB = -60.0  # of a share of the energy, or of a level below the loudest frame
HEARD_DB = 20.0  # below the loudest band, where the register of a sound begins
ONSET_SECONDS = 0.15  # of which the hardness is that of
LATE = 0.75  # share of the held note after which its level is the sustain
TINY = 1e-12


@np.errstate(under="ignore")
def qualities(x: ArrayLike, spec: FeatureSpec, note: Note) -> NDArray[np.float64]:
    """Measure the qualities of sounds.

    Args:
        x: Features, shape (n, n_mels, n_frames).
        spec: How they were computed.
        note: What was played.

    Returns:
        Shape (n, 13), in the order of ``QUALITIES``: the five of `describe_features`; the shares
        of the energy below 200 Hz and above 4 kHz in dB; the spread of the spectrum, and where it
        begins, in octaves; the mean time at which the level grows, in seconds; the height of the
        spectrum of the first 0.15 s, in octaves above 1 Hz; and the levels of the last quarter of
        the held note, and after its end, in dB below the loudest frame.

    Raises:
        InputError: The features have another shape, or the spec or the note is none.
    """
    require_note(note)
    power = power_of_each(x, spec).astype(np.float64)
    hz, octaves = spec.centers_hz, np.log2(spec.centers_hz)
    seconds = np.arange(power.shape[2]) * (spec.hop_length / spec.sample_rate)
    bands, energy = power.sum(axis=2), power.sum(axis=1)
    whole, loudest = bands.sum(axis=1) + TINY, energy.max(axis=1) + TINY
    magnitude = np.sqrt(bands)
    weight = magnitude / (magnitude.sum(axis=1, keepdims=True) + TINY)
    middle = weight @ octaves
    spread = np.sqrt((weight * np.square(octaves - middle[:, None])).sum(axis=1))
    heard = bands >= bands.max(axis=1, keepdims=True) * 10 ** (-HEARD_DB / 10)
    level = np.maximum.accumulate(np.sqrt(energy), axis=1)
    growth = np.diff(level, axis=1, prepend=0.0)
    growth /= growth.sum(axis=1, keepdims=True) + TINY
    onset = np.sqrt(power[:, :, seconds <= ONSET_SECONDS]).sum(axis=2)
    late = (seconds >= LATE * note.hold_seconds) & (seconds <= note.hold_seconds)
    after = seconds > note.hold_seconds + spec.n_fft / spec.sample_rate
    measured = (
        _decibels(bands[:, hz < BASS_HZ].sum(axis=1) / whole),
        _decibels(bands[:, hz > TREBLE_HZ].sum(axis=1) / whole),
        spread,
        octaves[heard.argmax(axis=1)],
        growth @ seconds,
        onset @ octaves / (onset.sum(axis=1) + TINY),
        *(
            _decibels(energy[:, part].mean(axis=1) / loudest if part.any() else 0 * loudest)
            for part in (late, after)
        ),
    )
    return np.concatenate([describe_features(x, spec), np.stack(measured, axis=1)], axis=1)


def _decibels(share: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(10 * np.log10(share + TINY), DEEPEST_DB)
