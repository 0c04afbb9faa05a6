"""The synths that can be learnt: parameters, presets, hosts, and processes that render."""

from pyrosynth.synths.base import ISOLATIONS, Isolation, Synth
from pyrosynth.synths.catalog import from_spec, load, names, scan, status

__all__ = ["ISOLATIONS", "Isolation", "Synth", "from_spec", "load", "names", "scan", "status"]
