"""Words for distances between sounds."""

from pyrosynth.errors import number

TWINS, ALIKE, RELATED = 1.5, 5.0, 8.0  # largest log-spectral distances in dB of each word
OUT_OF_REACH = "out of this synth's reach"


def closeness(lsd_db: float) -> str:
    """Say in a word how near two sounds are.

    Args:
        lsd_db: Log-spectral distance in dB, from 0 on.

    Returns:
        ``twins``, ``alike``, ``related`` or ``out of this synth's reach``.

    Raises:
        InputError: The distance is not a number, or below 0.

    Example:
        >>> closeness(1.0), closeness(6.0)
        ('twins', 'related')
    """
    lsd = number("distance", lsd_db, 0.0)
    if lsd <= TWINS:
        return "twins"
    if lsd <= ALIKE:
        return "alike"
    return "related" if lsd <= RELATED else OUT_OF_REACH
