"""Runs made small enough to be given away: half the bits, and the first presets of the bank."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pyrosynth.data.bank import Bank
from pyrosynth.errors import InputError, RunError, integer
from pyrosynth.files import checked_path, read_json, whole
from pyrosynth.training.run import BANK, FACTS, load_run, run_folder

AXES = 128  # principal axes of the exported bank; keep 95 % of the variance of amsynth's sounds


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
    so do the paths of this machine. What is there already is kept if it is the same.

    Args:
        path: The run; its code is run.
        out: Folder for the exported run.
        presets: Number of presets to keep in the bank at most; human ones come first.
        recipe: The commands that made the run, kept in its ``run.json``.
        force: Whether to replace another exported run that is there, once the new one is whole.

    Returns:
        The folder.

    Raises:
        InputError: The number of presets is below 1, or ``out`` cannot be written or holds
            something that this function did not write.
        RunError: The run cannot be read, or ``out`` holds another run.

    Example:
        >>> from pyrosynth.training.export import export_run
        >>> export_run("run", "small", presets=2000)  # doctest: +SKIP
    """
    n_presets = integer("presets", presets, 1)
    source, folder = run_folder(path), checked_path("place", out)
    run = load_run(source)
    exported = {
        "presets": n_presets,
        "recipe": list(recipe),
        "of": hashlib.sha256((source / FACTS).read_bytes()).hexdigest(),
    }
    if folder.resolve() == source.resolve():
        raise InputError(f"'{folder}' is the run itself; give another folder")
    if (folder / FACTS).exists() and not force:
        if _exported(folder) == exported:
            return folder
        raise RunError(
            f"'{folder}' holds another run; give another folder, or replace it with --force"
        )
    bank = Bank.load(source / BANK).first(n_presets, AXES) if (source / BANK).exists() else None
    kept = run.synth_spec["synth"] in ("dssi", "plugin")  # which are known by their path alone
    synth = {key: value for key, value in run.synth_spec.items() if kept or key != "path"}
    dataset = {key: value for key, value in run.dataset.items() if key != "path"}
    small = replace(run, synth_spec=synth, dataset={**dataset, **exported})
    with whole(folder, "export", unless=None if force else FACTS) as new:
        small.save(new, half=True)
        if bank is not None:
            bank.save(new / BANK)
    return folder


def _exported(folder: Path) -> dict[str, object] | None:
    """Read what an exported run was made of, or None."""
    try:
        held = read_json(folder / FACTS)["dataset"]
        return {key: held[key] for key in ("presets", "recipe", "of")}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
