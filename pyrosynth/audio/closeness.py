"""Words for distances between sounds."""

from math import inf, sqrt

import numpy as np

from pyrosynth.errors import number

TWINS, ALIKE, RELATED = 1.5, 5.0, 8.0  # largest log-spectral distances in dB of each word
OUT_OF_REACH = "out of this synth's reach"
# Random pairs of amsynth's presets are some 11 dB apart, divided by the root of their share over
# this one, at every share; three quarters of the presets sound in more cells.
FULL = 0.2
FAINTEST = 0.01  # share of a sound above the floor; that of 99.8 % of amsynth's presets is larger
SMALLEST = 1e-4  # the share that a sound which is not heard at all is taken to have


def weighed(lsd_db: float, audible: float = 1.0) -> float:
    """Return how far two sounds are apart, had they sounded in more of the spectrogram.

    The log-spectral distance is a root mean square over all cells; a drum is silent in most of
    them, and so is near every other drum. Its distance counts as if ``FULL`` of the cells were
    its own.

    Args:
        lsd_db: Log-spectral distance in dB, from 0 on; infinite where nothing was rendered.
        audible: Share of the cells in which the sound that is looked for sounds, from 0 to 1, see
            `pyrosynth.audio.features.FeatureSpec.audible`.

    Raises:
        InputError: The distance is not a number, or below 0; the share is not from 0 to 1.
    """
    if not (isinstance(lsd_db, float | np.floating) and lsd_db == inf):
        lsd_db = number("distance", lsd_db, 0)
    share = number("share of cells that sound", audible, 0, 1)
    return lsd_db * sqrt(FULL / min(max(share, SMALLEST), FULL))


def closeness(lsd_db: float, audible: float = 1.0) -> str:
    """Say in a word how near two sounds are.

    Args:
        lsd_db: Log-spectral distance in dB, from 0 on; infinite where nothing was rendered.
        audible: Share of the cells of the spectrogram in which the sound sounds, see `weighed`.

    Returns:
        ``twins``, ``alike``, ``related`` or ``out of this synth's reach``.

    Raises:
        InputError: As `weighed` does.

    Example:
        >>> closeness(1.0), closeness(6.0), closeness(6.0, audible=0.03)
        ('twins', 'related', "out of this synth's reach")
    """
    far = weighed(lsd_db, audible)
    if far <= TWINS:
        return "twins"
    if far <= ALIKE:
        return "alike"
    return "related" if far <= RELATED else OUT_OF_REACH


def short_advice(lsd_db: float, audible: float) -> str:
    """Say why the word for a distance is another than the table of words has; empty if not so."""
    if closeness(lsd_db, audible) == closeness(lsd_db):
        return ""
    return (
        f"it sounds in only {100 * audible:.1f} % of the spectrogram, so {lsd_db:.2f} dB weigh as "
        f"much as {weighed(lsd_db, audible):.1f} dB of a longer or broader sound"
    )


def faint_advice(audible: float) -> str:
    """Say that a sound is too faint for its distance to mean anything; empty if it is not."""
    if audible >= FAINTEST:
        return ""
    return (
        f"only {100 * audible:.1f} % of the sound lie above the floor of the features, so a small "
        "distance says nothing; leave out own_level (--own-level), or record it louder"
    )
