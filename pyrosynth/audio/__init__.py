"""Sounds as arrays: notes, files, features, distances, descriptors, pitch."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=(
        "background",
        "closeness",
        "descriptors",
        "example",
        "features",
        "io",
        "metrics",
        "pitch",
        "pitch_tracking",
        "qualities",
        "tuning",
    ),  # fmt: skip
)
