"""A small run that is played, shared by the tests of one process."""

import tempfile
from functools import cache
from pathlib import Path

from small import small_run


@cache
def small_posterior():
    """Return the run's folder, and the run."""
    folder = Path(
        tempfile.mkdtemp(dir=Path.home())
    )  # in the home of the tests, which goes at their end
    _, posterior = small_run(folder)
    return folder / "run", posterior
