"""What the decoder of MP3 files writes to standard error by itself, kept from the user's sight."""

import os
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

BEGINNING = re.compile(rb"ID3|\xff[\xe0-\xff]")  # of an MP3 file
NOTE = re.compile(rb"Note: |Warning ?: |\[.*libmpg123/")  # a line of the decoder
ERROR = re.compile(rb"\[.*libmpg123/.* error: ")
_LOCK = threading.Lock()  # standard error is that of all threads


@contextmanager
def decoder_errors(file: int) -> Iterator[list[str]]:
    """Keep the decoder from standard error while it reads a file; what others write comes later.

    libmpg123, in libsndfile, has a voice of its own, which nothing there turns off.

    Args:
        file: Descriptor of the file; nothing is kept of one that is no MP3.

    Yields:
        The errors among its notes, once the block has ended: about one for each frame that it has
        left out.
    """
    errors: list[str] = []
    if not (BEGINNING.match(os.pread(file, 3, 0)) and _is_open(2)):
        yield errors
        return
    with _LOCK, tempfile.TemporaryFile() as kept:
        there = os.dup(2)
        os.dup2(kept.fileno(), 2)
        try:
            yield errors
        finally:
            os.dup2(there, 2)
            os.close(there)
            kept.seek(0)
            lines = kept.read().splitlines(keepends=True)
            errors += [line.decode("latin-1").strip() for line in lines if ERROR.match(line)]
            others = b"".join(line for line in lines if line.strip() and not NOTE.match(line))
            with suppress(OSError):
                os.write(2, others)


def _is_open(descriptor: int) -> bool:
    with suppress(OSError):
        os.fstat(descriptor)
        return True
    return False
