"""Words for distances between sounds."""

from pyrosynth.errors import InputError

TWINS, ALIKE, RELATED = 1.5, 5.0, 8.0  # largest log-spectral distances in dB of each word
OUT_OF_REACH = "out of this synth's reach"


def closeness(lsd_db: float) -> str:
    """Say in a word how near two sounds are.

    Args:
        lsd_db: Log-spectral distance in dB, from 0 on; infinite where nothing was rendered.

    Returns:
        ``twins``, ``alike``, ``related`` or ``out of this synth's reach``.

    Raises:
        InputError: The distance is not a number, or below 0.

    Example:
        >>> closeness(1.0), closeness(6.0)
        ('twins', 'related')
    """
    if not lsd_db >= 0:
        raise InputError(f"distance {lsd_db}: give a number of at least 0")
    if lsd_db <= TWINS:
        return "twins"
    if lsd_db <= ALIKE:
        return "alike"
    return "related" if lsd_db <= RELATED else OUT_OF_REACH
