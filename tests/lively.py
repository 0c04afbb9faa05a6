"""A small run that is played, shared by the tests of one process."""

import tempfile
from functools import cache
from pathlib import Path

import torch
from small import small_run

from pyrosynth.explore.axes import LinearAxis
from pyrosynth.live.controls import Control
from pyrosynth.training.run import load_run


@cache
def small_posterior():
    """Return the run's folder, and the run."""
    folder = Path(
        tempfile.mkdtemp(dir=Path.home())
    )  # in the home of the tests, which goes at their end
    _, posterior = small_run(folder)
    return folder / "run", posterior


def fine_axis(live):
    """Return a control whose steps are so short that known presets lie beyond 6."""
    axis = live.space.axis("pc1")
    fine = LinearAxis("fine", axis.origin, axis.direction / 10)
    assert sum(abs(fine.position(live.space.z)) > 7) > 2
    return Control(fine, "sound", ("less", "more"), ())


@cache
def other_run():
    """Return the folder of another run, of the same name and the same parameters."""
    folder = Path(tempfile.mkdtemp(dir=Path.home()))
    small_run(folder)
    run = load_run(folder / "run")
    with torch.no_grad():
        next(run.variant.parameters()).mul_(1.001)
    run.save(folder / "run")
    return folder / "run"
