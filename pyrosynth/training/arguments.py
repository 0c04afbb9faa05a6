"""What a fit is given, checked before anything takes time: tags, hyper-parameters, training."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pyrosynth.data.dataset import Dataset
from pyrosynth.data.labeling import DESCRIBED
from pyrosynth.data.tags import TagTable, read_tags
from pyrosynth.errors import InputError, counted, unknown
from pyrosynth.modeling import Dims, Variant, build
from pyrosynth.synths.params import ParamSpace
from pyrosynth.training import svi
from pyrosynth.training.capture import seed_noise
from pyrosynth.training.torch_modes import plain_torch

OF_THE_FIT = ("steps", "batch_size", "lr", "patience", "precision")  # which commands take too
# Arguments of a fit that do not change its result, or that are given apart.
APART = (
    "seed", "device", "threads", "capture", "initialise", "out", "resume", "progress", "processes",
)  # fmt: skip


def checked_tags(given: str | Path | TagTable, dataset: Dataset) -> TagTable:
    """Return tags that are given for a dataset.

    Raises:
        InputError: They cannot be read, or are of another dataset.
    """
    table = given if isinstance(given, TagTable) else read_tags(given, dataset)
    if len(table) != len(dataset):
        raise InputError(
            f"tags of {counted(len(table), 'preset')} "
            f"for a dataset of {len(dataset)}; give those of this one"
        )
    if not isinstance(given, TagTable):
        table.require_contrast(dataset.rows("train"))
    return table


def new_variant(
    kind: type[Variant],
    options: dict[str, Any],
    space: ParamSpace,
    shape: tuple[int, int],
    tags: TagTable | None = None,
    seed: int = 0,
) -> Variant:
    """Build a variant, which leaves torch's generators alone.

    Args:
        kind: The class.
        options: Its hyper-parameters.
        space: The parameters it is to learn.
        shape: Of the features of a sound, (n_mels, n_frames).
        tags: Tags of the presets; if left out, a variant that uses tags is built for those that
            `pyrosynth.data.labeling.default_tags` makes.
        seed: Of the first weights.

    Raises:
        InputError: An option is unknown, or has a value that is not usable.
    """
    for name in options:
        if name not in inspect.signature(kind.__init__).parameters:
            require_hyperparameter(name)
    known = tags.tags if tags else DESCRIBED if kind.uses_tags else ()
    dims = Dims(
        len(space), shape, tuple(space.resolution.tolist()),
        tuple(tag.name for tag in known), tuple(tag.classes for tag in known),
    )  # fmt: skip
    with torch.random.fork_rng([]), plain_torch():
        seed_noise(seed, torch.device("cpu"))
        return build(kind, dims, options)


def require_hyperparameter(name: str) -> None:
    """Make sure that a setting that a model does not have is not one of the fit.

    Raises:
        InputError: It is, and so is given apart.
    """
    if name in OF_THE_FIT:
        option = name.replace("_", "-")
        raise InputError(
            f"'{name}' is no hyper-parameter of a model but a setting of the fit; give it as "
            f"--{option} ({name}=), not by --set (options)"
        )


def shape_of(dataset: Dataset) -> tuple[int, int]:
    """Return the shape of the features of a dataset's sounds, (n_mels, n_frames)."""
    return dataset.features.shape(dataset.note.n_samples(dataset.features.sample_rate))


def checked_training(given: Mapping[str, Any], threads: int | None = None) -> dict[str, Any]:
    """Return all arguments of the training loop that decide its result.

    Args:
        given: Some of them.
        threads: Torch threads, which do not.

    Raises:
        InputError: One is unknown or out of range.
    """
    parameters = inspect.signature(svi.fit).parameters.values()
    known = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    known = {name: default for name, default in known.items() if name not in APART}
    svi.check_precision(given.get("precision"))
    for name, value in {**given, "threads": threads}.items():
        if name not in known and name != "threads":
            raise unknown("argument of the fit", name, known)
        if name in svi.LIMITS and value is not None:
            svi.checked(name, value)
    return {**known, **given}
