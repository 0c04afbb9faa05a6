"""Synths: parameters and presets, plugin hosts, and worker processes that render."""

from pyrosynth.synths.base import ISOLATIONS, Isolation, Synth
from pyrosynth.synths.catalog import from_spec, load_synth, names, scan, status

__all__ = [
    "ISOLATIONS",
    "Isolation",
    "Synth",
    "from_spec",
    "load_synth",
    "names",
    "scan",
    "status",
]
