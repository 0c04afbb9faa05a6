"""A dataset of the built-in voice and a run fitted to it, both of the smallest useful size."""

import numpy as np
from toys import SMALL

from pyrosynth import synths
from pyrosynth.audio.io import Note
from pyrosynth.data.dataset import render_dataset
from pyrosynth.inference.posterior import Posterior
from pyrosynth.training.fit import fit

NOTE = Note(hold_seconds=0.3, duration_seconds=0.5)


def small_dataset(folder, n=80, augmented=60):
    voice = synths.load_synth("voice")
    presets = voice.presets()
    chosen = np.random.default_rng(0).permutation(len(presets))[:n]
    return render_dataset(
        voice, folder / "data", params="16", augmented=augmented, note=NOTE, workers=1,
        presets=[presets[i] for i in chosen],
    )  # fmt: skip


def small_run(folder):
    dataset = small_dataset(folder)
    fit(
        "flow_reg", dataset, folder / "run", options=SMALL["flow_reg"], steps=60,
        batch_size=32, progress=False,
    )  # fmt: skip
    return dataset, Posterior.load(folder / "run")
