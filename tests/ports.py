"""Ports of this machine."""

import random
import socket
from contextlib import suppress

GIVEN = 32768  # and above are ports that the system gives to whoever asks for any


def free_port():
    """Return a TCP port that is free, and that nobody gets by chance before it is used."""
    while True:
        number = random.SystemRandom().randrange(10_000, GIVEN)
        with socket.socket() as one, suppress(OSError):
            one.bind(("127.0.0.1", number))
            return number
