"""Memory: sizes as people write them, and how much of it a fit may take."""

import os
import re

import psutil
import torch

from pyrosynth.errors import InputError

SHARE = 0.75  # of the free memory that sounds may take; the rest is for the fit itself
LEAST = 10**6  # bytes that a text means without a unit; 2 is meant to be 2GB
UNITS = ("B", "KB", "MB", "GB", "TB")


def parse_memory(size: int | str) -> int:
    """Return a size in bytes.

    Args:
        size: Bytes, or a number and a unit such as ``"2GB"`` or ``"1.5 GiB"``; ``"GB"`` counts
            thousands, ``"GiB"`` 1,024s.

    Raises:
        InputError: It is something else, or less than a byte.

    Example:
        >>> parse_memory("1.5 MB"), parse_memory("2KiB")
        (1500000, 2048)
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([KMGT]?)(i?)B?\s*", str(size), re.IGNORECASE)
    if found:
        power = UNITS.index(f"{found[2].upper()}B" if found[2] else "B")
        n_bytes = int(float(found[1]) * (1024 if found[3] else 1000) ** power)
        slip = isinstance(size, str) and size.strip().isdigit() and n_bytes < LEAST
        if 1 <= n_bytes < 2**60 and not slip:
            return n_bytes
    raise InputError(f"memory '{size}': give a size with its unit, such as 2GB or 500MB")


def memory_text(n_bytes: int) -> str:
    """Return bytes as text that `parse_memory` reads, rounded up to the fourth digit.

    Example:
        >>> memory_text(22_600_123_456)
        '22.61GB'
    """
    power = min(max(0, (len(str(n_bytes)) - 1) // 3), len(UNITS) - 1)
    digits = len(str(n_bytes)) - 3 * power
    step = 10 ** max(0, 3 * power - (4 - digits))
    return f"{-(-n_bytes // step) * step / 1000**power:g}{UNITS[power]}"


def free_memory(device: torch.device) -> int:
    """Return how many bytes sounds may take on a device: a share of what is free there.

    They pass through the memory of the host, so there must be room on both. Processes that
    ``torchrun`` has started on one host share it.
    """
    several = os.environ.get("LOCAL_WORLD_SIZE", "")
    n_processes = max(1, int(several)) if several.isdecimal() else 1
    host = psutil.virtual_memory().available // n_processes
    free = min(host, torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else host
    return int(SHARE * free)
