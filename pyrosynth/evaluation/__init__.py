"""How good runs are: calibration, baselines, comparisons, axes of tags."""
