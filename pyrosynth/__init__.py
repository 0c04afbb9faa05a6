"""pyrosynth: probabilistic programming of sound synthesizers."""

__version__ = "0.1.0"
