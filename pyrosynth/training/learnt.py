"""Which presets a run has learnt, and so what neither a check nor a further fit may hold out."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyrosynth.data.bank import Bank
from pyrosynth.errors import DataError, counted
from pyrosynth.training.run import BANK, Run, run_folder

if TYPE_CHECKING:
    from pyrosynth.data.dataset import Dataset

LEARNT = "learnt"  # where a run keeps the fingerprints, among what it says of its dataset
ROUNDED = 1e-5  # of the range of a control, by which a host may round its values
BYTES = 8  # of a fingerprint: two of a million presets share one with a chance of 3e-8


def learnt_presets(
    dataset: "Dataset", begun: Run | None = None, bank: Bank | None = None
) -> list[str]:
    """Return fingerprints of the human presets that a fit learns, and of those it begins with.

    Args:
        dataset: What it is fitted on.
        begun: The run that it begins with.
        bank: The presets that this run knows.

    Returns:
        Fingerprints of the native values of all parameters, sorted.
    """
    own = dataset.values(dataset.rows("train", human_only=True))
    return sorted({*_fingerprints(own), *(_known(begun, bank, human_only=True) if begun else ())})


def has_learnt(run: Run, bank: Bank | None, values: ArrayLike) -> NDArray[np.bool_]:
    """Return which presets a run has learnt, to the last bit, or nearly so if its bank has them.

    Hosts keep values as shares of a range in single precision, so that they come back rounded.

    Args:
        run: The run.
        bank: The presets that it knows.
        values: Native values of all parameters, shape (n, n_params).

    Returns:
        Shape (n,).
    """
    values, known = np.asarray(values, np.float64), _known(run, bank)
    seen = np.array([fingerprint in known for fingerprint in _fingerprints(values)], bool)
    if bank is not None and len(seen):
        from scipy.spatial import cKDTree  # which a short inference has no use for

        space = run.full_space
        width = np.where(space.maximum > space.minimum, space.maximum - space.minimum, 1.0)
        near = {"p": np.inf, "distance_upper_bound": ROUNDED}
        seen |= np.isfinite(cKDTree(bank.values / width).query(values / width, **near)[0])
    return seen


def require_unseen(run: Run, bank: Bank | None, values: ArrayLike) -> None:
    """Make sure that no held-out preset is among those that a run has learnt.

    Args:
        run: The run.
        bank: The presets that it knows.
        values: Native values of all parameters of the held-out presets, shape (n, n_params).

    Raises:
        DataError: Some are.
    """
    seen = has_learnt(run, bank, values)
    if n := int(seen.sum()):
        raise DataError(
            f"the run has learnt {n} of {counted(len(seen), 'held-out preset')}, which would "
            "flatter it; give the dataset it was fitted on, or one split alike"
        )


def bank_of(path: str | Path) -> Bank | None:
    """Return the presets that the run of a folder knows, or None if it has no bank."""
    file = run_folder(path) / BANK
    return Bank.load(file) if file.exists() else None


def _known(run: Run, bank: Bank | None, human_only: bool = False) -> set[str]:
    """Return what a run and its bank have learnt; some runs do not say so themselves."""
    learnt = set(run.dataset.get(LEARNT, ()))
    if bank is None:
        return learnt
    return learnt.union(_fingerprints(bank.values[bank.human] if human_only else bank.values))


def _fingerprints(values: ArrayLike) -> list[str]:
    rows = np.ascontiguousarray(values, np.float64)
    return [hashlib.blake2b(row.tobytes(), digest_size=BYTES).hexdigest() for row in rows]
