"""From a sound to presets: the posterior, the search with the real synth, ArviZ."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submodules=("arviz",))
