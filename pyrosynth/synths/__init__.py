"""Synths: parameters and presets, plugin hosts, and worker processes that render."""

from pyrosynth.synths.base import ISOLATIONS, Isolation, Synth
from pyrosynth.synths.catalog import from_spec, load_synth, names, status
from pyrosynth.synths.scanning import Instrument, scan

__all__ = [
    "ISOLATIONS",
    "Instrument",
    "Isolation",
    "Synth",
    "from_spec",
    "load_synth",
    "names",
    "scan",
    "status",
]
