"""Fit the coordinates of tags once the rest of a run stands still."""

import numpy as np
import torch

from pyrosynth.data.dataset import Dataset
from pyrosynth.data.tags import TagTable
from pyrosynth.errors import InputError
from pyrosynth.modeling import AudioCoordinates, TagDirections
from pyrosynth.training.run import Run
from pyrosynth.training.torch_modes import plain_torch

STEPS = 4000  # of the fit of the coordinates
ROWS = 100_000  # sounds whose latents are computed at most
CHUNK = 2048  # sounds that pass the networks at once, at most


@plain_torch()
def fit_tags(
    run: Run, dataset: Dataset, tags: TagTable, *, steps: int = STEPS, seed: int = 0
) -> None:
    """Fit the coordinates of the tags of a run; nothing else of it changes.

    The latents of training sounds, all human presets among them, are read once, which takes a
    minute for a hundred thousand; the fit itself takes as long. A run that was saved before has
    to be saved again.

    Args:
        run: Of a variant whose tags follow `pyrosynth.modeling.TagDirections`.
        dataset: The presets it was fitted on.
        tags: What is known of their tags.
        steps: Steps of the fit.
        seed: Of the choice of the sounds and their order.

    Raises:
        InputError: The variant has no such coordinates, or the tags are not those of the run.
    """
    variant = run.variant
    directions = variant._modules.get("tags")
    if not isinstance(directions, TagDirections):
        raise InputError(
            f"variant '{type(variant).__name__}' has no directions of tags; use one that has, "
            "such as flow_audio"
        )
    if (tags.names, tags.classes) != (variant.dims.tags, variant.dims.classes):
        raise InputError(
            f"tags {', '.join(tags.names)}: the run has {', '.join(variant.dims.tags)}; give the "
            "tags it was fitted with"
        )
    if not tags.names:
        return
    human = dataset.rows("train", human_only=True)
    others = np.setdiff1d(dataset.rows("train"), human)
    rng = np.random.default_rng(seed)
    others = rng.permutation(others)[: max(0, ROWS - len(human))]
    rows = np.sort(np.concatenate([human, others]))
    parts = np.array_split(rows, -(-len(rows) // CHUNK))
    z = torch.cat([_latents(run, dataset.x(part)) for part in parts])
    mask = torch.from_numpy(tags.label_mask[rows]).to(z.device)
    coordinates = variant._modules["coordinates"]
    assert isinstance(coordinates, AudioCoordinates)
    directions.fit(z, coordinates.spread, mask, steps, seed)


@torch.no_grad()
def _latents(run: Run, x: np.ndarray) -> torch.Tensor:
    """Return the mean latents of sounds (n, n_mels, n_frames)."""
    there = run.standardise(torch.as_tensor(x, device=run.mean.device))
    return run.variant.posterior(run.variant.encode(there)).mean
