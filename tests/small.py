"""A dataset of a synth and a run fitted to it, both of the smallest useful size.

They are made once in a process of tests. Every test gets a copy, which it may change or damage.
"""

import shutil
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from plain import PLAIN
from toys import SMALL

from pyrosynth import synths
from pyrosynth.audio.note import Note
from pyrosynth.data.dataset import open_dataset, render_dataset
from pyrosynth.inference.posterior import Posterior
from pyrosynth.training.fit import fit
from pyrosynth.training.run import load_run

NOTE = Note(hold_seconds=0.3, duration_seconds=0.5)


@cache
def _rendered(n, augmented, name, params):
    """Return the folder of a dataset, in the home of the tests, which goes at their end."""
    path = Path(tempfile.mkdtemp(dir=Path.home())) / "data"
    synth = synths.load_synth(name)
    presets = synth.presets()
    chosen = np.random.default_rng(0).permutation(len(presets))[:n]
    render_dataset(
        synth, path, params=params, augmented=augmented, note=NOTE, workers=1,
        presets=[presets[i] for i in chosen],
    )  # fmt: skip
    return path


@cache
def _fitted(name):
    """Return the folder of a run fitted to the dataset."""
    path = Path(tempfile.mkdtemp(dir=Path.home())) / "run"
    fit(
        "flow_reg", open_dataset(_rendered(80, 60, name, "16")), path, options=SMALL["flow_reg"],
        steps=60, batch_size=32, progress=False,
    )  # fmt: skip
    return path


def small_dataset(folder, n=80, augmented=60, synth=PLAIN, params="16"):
    return open_dataset(shutil.copytree(_rendered(n, augmented, synth, params), folder / "data"))


def small_run(folder, synth=PLAIN):
    dataset = small_dataset(folder, synth=synth)
    run = load_run(shutil.copytree(_fitted(synth), folder / "run"))
    run.dataset["path"] = str(dataset.path.resolve())  # that of the copy
    run.save(folder / "run")
    return dataset, Posterior.load(folder / "run")
