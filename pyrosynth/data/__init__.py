"""Datasets of rendered presets, their splits and tags, and the bank of known presets."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submodules=("labeling", "tags"))
