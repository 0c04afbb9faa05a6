"""From a dataset to a run: a variant is built, fitted, and kept with the presets it read."""

import hashlib
import json
import logging
import os
import shutil
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pyrosynth.data.bank import Bank
from pyrosynth.data.dataset import Dataset, require_dataset
from pyrosynth.data.labeling import HIDDEN, default_tags
from pyrosynth.data.tags import TagTable
from pyrosynth.errors import (
    DataError,
    InputError,
    RunError,
    checked_seed,
    counted,
    reading,
    require_type,
)
from pyrosynth.files import atomic, checked_path, claim, difference
from pyrosynth.modeling import Variant, set_temperature, with_recipe
from pyrosynth.modeling.recipes import plain, require_runnable
from pyrosynth.training import svi, zoo
from pyrosynth.training.arguments import checked_tags, checked_training, new_variant, shape_of
from pyrosynth.training.batches import TrainData
from pyrosynth.training.distributed import Processes, device_of_process, joined, leads
from pyrosynth.training.identity import (
    contract_hash,
    require_run,
    require_same_contract,
    weights_hash,
)
from pyrosynth.training.imports import imports_beside, require_alone
from pyrosynth.training.learnt import LEARNT, bank_of, has_learnt, learnt_presets
from pyrosynth.training.memory import memory_text, parse_memory
from pyrosynth.training.run import (
    BANK,
    FACTS,
    WEIGHTS,
    Run,
    load_run,
    require_own_source,
    run_folder,
)
from pyrosynth.training.state import settings_of
from pyrosynth.training.stream import StreamedData, buffer_size, memory_of, training_data
from pyrosynth.training.tags import STEPS, fit_tags
from pyrosynth.training.torch_modes import plain_torch
from pyrosynth.training.uncertainty import find_temperature, scores_of
from pyrosynth.training.zoo import variant_source

log = logging.getLogger(__name__)
# What to say of settings that are kept as a hash, when they differ.
HASHED = {
    "model": "another model",
    "dataset": "another dataset",
    "tags": "other tags",
    "start": "another run to begin with",
}
BANK_BYTES = 4096  # about what a preset takes while a bank is made and written


@plain_torch(gradients=True)
def fit(
    model: str | Path | type[Variant],
    dataset: Dataset,
    out: str | Path | None = None,
    *,
    tags: str | Path | TagTable | None = None,
    options: Mapping[str, Any] | None = None,
    start: str | Path | Run | None = None,
    seed: int = 0,
    device: str = "cpu",
    threads: int | None = None,
    memory: int | str | None = None,
    bank: str | Path | None = None,
    force: bool = False,
    progress: bool = True,
    **training: Any,
) -> Run:
    """Fit a variant to a dataset.

    A stopped fit goes on where it stopped when it is called again, and a finished one is loaded.

    Args:
        model: Name of a variant, path of a ``.py`` file that defines one, or the class.
        dataset: What to learn.
        out: Folder of the run; without it nothing is written.
        tags: Tags of its presets, or the CSV file that holds them, for a variant that uses tags;
            those of `pyrosynth.data.labeling.default_tags` if left out. Other variants take none.
        options: Hyper-parameters of the variant; the others keep their defaults. ``recipe`` names
            one of its recipes, whose architecture and schedule hold where nothing else is given.
        start: A run to begin with, or its folder: the fit goes on from its weights, such as to
            learn more presets. The variant is the same, and the datasets are of the same synth,
            note, parameters and features; the statistics are those of the new one. A run in a
            folder must not have learnt what it holds out.
        seed: Of the first weights and of all else that is random.
        device: ``"cpu"`` or ``"cuda"``; of several processes that ``torchrun`` has started, each
            has a GPU of its own, see `pyrosynth.training.distributed`.
        threads: Torch threads during the fit; None leaves the setting alone.
        memory: What the sounds may take, in bytes or such as ``"2GB"``; three quarters of what is
            free if left out. More sounds than that are read during the fit, see
            `pyrosynth.training.stream`; it decides in which order, and a fit goes on as it began.
        bank: File of a bank of the same dataset, to be shared instead of made anew.
        force: Whether to discard what ``out`` holds of an earlier fit.
        progress: Whether to show a progress bar.
        **training: Arguments of `pyrosynth.training.svi.fit`, such as ``steps``, ``batch_size``,
        ``lr``.

    Returns:
        The run, on the device.

    Raises:
        InputError: The model, an option or the device is unknown, the tags are not usable or of
            no use to the model, the weights of ``start`` do not fit the model, or ``out`` cannot
            be written.
        DataError: The run to begin with is of another synth, note, parameters or features, or has
            learnt presets that the dataset holds out.
        RunError: ``out`` holds a fit with other settings, or one that is damaged.

    Example:
        >>> import pyrosynth as ps
        >>> data = ps.open_dataset("data")  # doctest: +SKIP
        >>> run = ps.fit("flow_audio", data, "run", steps=2000)  # doctest: +SKIP
    """
    require_dataset(dataset)
    require_type("options", options, (Mapping, type(None)), "a dictionary of hyper-parameters")
    device = device_of_process(device)
    svi.find_device(device)
    with joined(device) as processes:
        seed = checked_seed(seed)
        kind = zoo.load_model(model)
        options, recipe = with_recipe(kind, options or {})
        training = plain({**recipe.training, **training})
        if tags is not None and not kind.uses_tags:
            said = kind.__name__ if isinstance(model, type) else model
            raise InputError(
                f"model '{said}' uses no tags, but tags were given; leave out --tags (tags), or "
                "fit a model that uses them, such as flow_dis"
            )
        arguments = checked_training(training, threads)
        if memory is not None:
            parse_memory(memory)
        table = None if tags is None else checked_tags(tags, dataset)
        variant = new_variant(kind, options, dataset.space, shape_of(dataset), table, seed)
        require_runnable(variant)
        source = variant_source(kind)
        require_alone(variant, source)
        if processes.leads and (beside := imports_beside(kind, source)):
            says = "beside its file, which the run does not keep; install that, or put it in"
            log.warning("the model imports %s from %s", ", ".join(beside), says)
        place = None if out is None else checked_path("place", out)
        if force and place and isinstance(start, str | Path):
            _require_other(start, place)
        begun = None if start is None else _begin(variant, start, dataset)
        with claim(place, "fit") if place and processes.leads else nullcontext(place) as folder:
            if kind.uses_tags and table is None:  # minutes, so what is wrong is said before
                table = _default_tags(dataset, progress and processes.leads)
            settings = {
                "model": hashlib.sha256(source.encode()).hexdigest(),
                "options": variant.hyperparameters(),
                "dataset": contract_hash(dataset),
                "presets": len(dataset),
                "tags": table.fingerprint() if table else None,
                "seed": seed,
                "start": weights_hash(begun[0].variant) if begun else None,
                **arguments,
            }
            if folder and force and processes.leads:
                require_own_source(folder)
                for name in (FACTS, svi.CHECKPOINT):
                    (folder / name).unlink(missing_ok=True)
                for name in (WEIGHTS, BANK):  # what they may be links to stays as it is
                    if (folder / name).is_symlink():
                        (folder / name).unlink()
            if folder is not None and processes.of_first((folder / FACTS).exists):
                return _finished(folder, settings, device)
            return _fitted(
                variant, dataset, table, settings, training, folder, begun, seed=seed,
                device=device, threads=threads, memory=memory, bank=bank,
                progress=progress and processes.leads, processes=processes,
            )  # fmt: skip


def _fitted(
    variant: Variant,
    dataset: Dataset,
    table: TagTable | None,
    settings: dict[str, Any],
    training: Mapping[str, Any],
    folder: Path | None,
    start: tuple[Run, Bank | None] | None,
    *,
    seed: int,
    device: str,
    threads: int | None,
    memory: int | str | None,
    bank: str | Path | None,
    progress: bool,
    processes: Processes,
) -> Run:
    """Fit a variant and write its run, if there is a folder."""
    if bank is not None and not checked_path("file of a bank", bank).is_file():
        raise InputError(f"no file '{bank}' of a bank; give one that Bank.save wrote, or none")
    begun = settings_of(folder / svi.CHECKPOINT) if folder else None
    size = partial(buffer_size, dataset, table, memory, device, begun)
    data = training_data(dataset, table, processes.of_first(size))
    if progress:
        print(_taken(data, dataset, table), file=sys.stderr)
    history = svi.fit(
        variant, data, seed=seed, device=device, initialise=settings["start"] is None,
        threads=threads, out=folder, resume=True, progress=progress, processes=processes,
        **training,
    )  # fmt: skip
    most = None if isinstance(data, TrainData) else data.n_bytes // BANK_BYTES
    del data
    target = torch.device(device)
    run = Run(
        variant,
        space=dataset.space,
        full_space=dataset.full_space,
        features=dataset.features,
        note=dataset.note,
        synth_spec=dataset.synth_spec,
        mean=torch.tensor(dataset.mean).to(target),
        std=torch.tensor(dataset.std).to(target),
        dataset={
            "path": str(dataset.path.resolve()),
            "contract": contract_hash(dataset),
            LEARNT: learnt_presets(dataset, *(start or ())),
        },
        seed=seed,
        settings=settings,
        training=history,
    )
    if table is not None and "tags" in variant._modules:
        fit_tags(run, dataset, table, steps=min(STEPS, settings["steps"]), seed=seed)
    run = calibrate(run, dataset)
    if folder and processes.leads:
        if bank is None:
            Bank.from_dataset(dataset, most=most).save(folder / BANK)
        else:
            _share(bank, folder / BANK)
        run.save(folder)
    return run


@plain_torch()
def calibrate(run: Run, dataset: Dataset) -> Run:
    """Fit the temperatures of a run to its validation presets, and keep their conformal scores.

    `fit` does so at its end; this is for a run that was fitted before. Nothing is learnt but two
    numbers. A variant whose density is an estimate stays as it is.

    Args:
        run: The run; its variant is set to the temperatures.
        dataset: What it was fitted on.

    Returns:
        The run with what was found.

    Raises:
        InputError: ``run`` or ``dataset`` is something else.
    """
    require_run(run)
    require_dataset(dataset)
    rows = dataset.rows("valid", human_only=True)
    variant, device = run.variant, run.mean.device
    if not variant.exact or len(rows) == 0:
        return run
    x = run.standardise(torch.from_numpy(dataset.x(rows)).to(device))
    noise = np.random.default_rng(run.seed)  # presets are spread within their levels, as in a fit
    v = torch.from_numpy(dataset.space.encode(dataset.learnt(rows), noise)).to(device)
    temperature = find_temperature(variant, x, v)
    set_temperature(variant, temperature)
    scores = tuple(scores_of(variant, x, v))
    return replace(run, temperature=temperature, conformal_scores=scores)


def _begin(variant: Variant, start: str | Path | Run, dataset: Dataset) -> tuple[Run, Bank | None]:
    """Give a variant the weights of a run; return it, and its bank if it has one."""
    run, bank = (start, None) if isinstance(start, Run) else (load_run(start), bank_of(start))
    require_same_contract(run, dataset)
    _require_unlearnt(repr(run) if start is run else f"the run '{start}'", run, bank, dataset)
    advice = "give the model, hyper-parameters and tags that it was fitted with"
    with reading(InputError, f"the weights of {run!r} do not fit the model", advice):
        take_weights(variant, run.variant)
    return run, bank


def _require_other(start: str | Path, place: Path) -> None:
    """Make sure that a run to begin with is not what the fit discards."""
    if run_folder(start).resolve() == place.resolve():
        raise InputError(
            f"'{place}' is the run to begin with, which would be discarded before the new one is "
            "there; give another --out"
        )


def _require_unlearnt(name: str, run: Run, bank: Bank | None, dataset: Dataset) -> None:
    """Make sure that a run to begin with has not learnt what a dataset holds out.

    Else the fit would be stopped, its posterior calibrated, and the run checked with presets that
    it knows.

    Raises:
        DataError: It has.
    """
    rows = [dataset.rows(split, human_only=True) for split in ("valid", "test")]
    held_out = np.concatenate([dataset.values(row) for row in rows])
    if seen := int(has_learnt(run, bank, held_out).sum()):
        raise DataError(
            f"{name} has learnt {seen} of {counted(len(held_out), 'preset')} that "
            f"'{dataset.path}' holds out, and a check would flatter it; render the same presets "
            "with the --seed of its dataset, or begin without it"
        )


def take_weights(variant: Variant, other: Variant) -> None:
    """Give a variant the weights of another one of its kind.

    Raises:
        ValueError: It was fitted to other tags, which weights of the same shapes do not tell, is
            another model, or has other hyper-parameters.
    """
    dims, held = variant.dims, other.dims
    if (held.tags, held.classes) != (dims.tags, dims.classes):
        raise ValueError(f"it knows the tags {held.tags} {held.classes}, not {dims.tags}")
    try:
        variant.load_state_dict(other.state_dict())
    except RuntimeError as error:
        given, wanted = type(other).__name__, type(variant).__name__
        found = difference(other.hyperparameters(), variant.hyperparameters())
        why = f"it has {found}" if found else str(error)
        raise ValueError(why if given == wanted else f"it is a {given}, not a {wanted}") from error


def _share(file: str | Path, target: Path) -> None:
    """Put a file at another place too, as a link where that is possible; nothing may change it."""
    with atomic(target) as new:
        try:
            os.link(file, new)
        except OSError:  # another disk, or one without links
            shutil.copyfile(file, new)


def _taken(data: TrainData | StreamedData, dataset: Dataset, tags: TagTable | None) -> str:
    """Say where the sounds are during a fit."""
    size = memory_text(memory_of(dataset, tags, data.n_train))
    if isinstance(data, TrainData):
        return f"held in memory: {counted(data.n_train, 'sound')}, {size} (--memory)"
    held, mixed = memory_text(data.n_bytes), data.buffer_chunks * dataset.chunk_rows
    return (
        f"read during the fit: {counted(data.n_train, 'sound')}, {size}, {held} at a time "
        f"(--memory), in buffers of up to {counted(mixed, 'sound')}"
    )


def _default_tags(dataset: Dataset, progress: bool) -> TagTable:
    """Return the tags of a dataset that follow from its sounds."""
    if leads():
        print(
            f"no tags were given: they are made from how the presets sound, {HIDDEN:.0%} of the "
            "labels hidden (--tags takes a file, pyrosynth tags writes one)",
            file=sys.stderr,
        )
    return default_tags(dataset, progress=progress)


def _finished(folder: Path, settings: dict[str, Any], device: str) -> Run:
    """Load a finished run if it is the one that was asked for."""
    run = load_run(folder, device)
    # Through JSON, as the stored settings went: tuples have become lists.
    asked, held = _flat(json.loads(json.dumps(settings))), _flat(run.settings)
    for name in asked:
        if held.get(name) != asked[name]:
            shown = f"{name} {held.get(name)}, not {asked[name]}"
            what = HASHED.get(name, shown)
            raise RunError(
                f"'{folder}' holds a finished run with {what}; give another folder, or fit it "
                "anew with --force (force=True)"
            )
    return run


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Put the hyper-parameters beside the other settings."""
    return {**settings, **settings.get("options", {}), "options": None}
