"""Runs made small enough to be given away: half the bits, and the first presets of the bank."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pyrosynth.data.bank import Bank
from pyrosynth.errors import InputError, RunError
from pyrosynth.files import writable
from pyrosynth.training.run import BANK, FACTS, load_run, run_folder

AXES = 128  # principal axes of the packed bank; keep 95 % of the variance of amsynth's sounds


def export_run(
    path: str | Path,
    out: str | Path,
    *,
    presets: int = 8000,
    recipe: Sequence[str] = (),
    force: bool = False,
) -> Path:
    """Write a run again, as small as inference allows.

    Weights keep 16 bits, the bank keeps its first presets and axes; checkpoints stay behind, and
    so do the paths of this machine.

    Args:
        path: The run.
        out: Folder for the exported run.
        presets: Number of presets to keep in the bank at most; human ones come first.
        recipe: The commands that made the run, kept in its ``run.json``.
        force: Whether to replace a run that is there.

    Returns:
        The folder.

    Raises:
        InputError: The number of presets is below 1, or ``out`` cannot be written.
        RunError: The run cannot be read, or ``out`` holds one.
    """
    if presets < 1:
        raise InputError(f"a bank of {presets} presets; keep at least 1")
    run, bank = load_run(path), run_folder(path) / BANK
    folder = writable(out)
    if (folder / FACTS).exists() and not force:
        raise RunError(f"'{folder}' holds a run; give another folder, or replace it with --force")
    (folder / FACTS).unlink(missing_ok=True)
    if bank.exists():
        Bank.load(bank).first(presets, AXES).save(folder / BANK)
    synth = {key: value for key, value in run.synth_spec.items() if key != "path"}
    dataset = {key: value for key, value in run.dataset.items() if key != "path"}
    packed = replace(run, synth_spec=synth, dataset={**dataset, "recipe": list(recipe)})
    packed.save(folder, half=True)
    return folder
