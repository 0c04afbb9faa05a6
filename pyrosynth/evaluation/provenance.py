"""With what, where and how results were made."""

import os
import platform
import sys
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

LIBRARIES = ("pyrosynth", "torch", "pyro-ppl", "numpy", "scipy", "cma")


def provenance(device: str = "cpu") -> dict[str, Any]:
    """Return versions, machine and time, JSON-ready.

    Args:
        device: Torch device that computes; a GPU is named.

    Returns:
        ``time`` (UTC), ``versions``, ``machine``, ``processor``, ``cores`` and, on a GPU,
        ``gpu``.
    """
    import torch

    from pyrosynth._version import __version__

    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # a checkout that is not installed
            versions[name] = __version__ if name == "pyrosynth" else "unknown"
    facts: dict[str, Any] = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": versions,
        "machine": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
    }
    if torch.device(device).type == "cuda":
        facts["gpu"] = torch.cuda.get_device_name(device)
    return facts


def command(arguments: Sequence[str] | None = None) -> str:
    """Return the command line of this process as one would type it."""
    import shlex

    given = sys.argv[1:] if arguments is None else arguments
    return shlex.join(["pyrosynth", *map(str, given)])


def _processor() -> str:
    """Return the processor's name, as far as the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown"
