"""How good runs are: comparison with baselines, calibration, disentanglement, steering."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=(
        "calibration", "disentanglement", "figures", "methods", "scores", "steering", "tables",
        "targets",
    ),
)  # fmt: skip
