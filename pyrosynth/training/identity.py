"""What tells one run or dataset from another: hashes of what decides their answers."""

import hashlib
import json
from typing import Any

from pyrosynth.data.dataset import Dataset, require_dataset
from pyrosynth.errors import DataError, require_type
from pyrosynth.modeling import Variant
from pyrosynth.training.run import Run
from pyrosynth.training.zoo import variant_source


def require_run(run: Any) -> None:
    """Make sure that an argument is a `Run`.

    Raises:
        InputError: It is something else.
    """
    require_type("run", run, Run, "a run, such as load_run(folder)")


def contract_hash(dataset: Dataset) -> str:
    """Return a hash of all that decides what the rows of a dataset hold."""
    require_dataset(dataset)
    return hashlib.sha256(json.dumps(dataset.contract, sort_keys=True).encode()).hexdigest()


def require_same_contract(run: Run, dataset: Dataset) -> None:
    """Make sure that a dataset is of the synth, note, parameters and features of a run.

    Raises:
        InputError: One of the two is something else.
        DataError: It is not; the first difference is named.
    """
    require_run(run)
    require_dataset(dataset)
    parts = {
        "synth": (run.synth_spec.get("synth"), dataset.synth_spec.get("synth")),
        "learnt parameters": (list(run.space.names), list(dataset.space.names)),
        "note": (run.note, dataset.note),
        "features": (run.features, dataset.features),
        "parameter space": (run.full_space, dataset.full_space),
    }
    for part, (learnt, given) in parts.items():
        if learnt != given:
            shown = "" if part == "parameter space" else f" ({given}, the run learnt {learnt})"
            raise DataError(
                f"dataset '{dataset.path}' has another {part} than the run{shown}; give the "
                "dataset the run was fitted on, or one rendered alike"
            )


def run_hash(posterior: Any) -> str:
    """Return a hash of all that decides what a run answers."""
    variant = posterior.variant
    digest = hashlib.sha256(variant_source(type(variant)).encode())
    options = {**variant.hyperparameters(), "temperature": posterior.run.temperature}
    digest.update(json.dumps(options, sort_keys=True).encode())
    _add_weights(digest, variant)
    return digest.hexdigest()


def weights_hash(variant: Variant) -> str:
    """Return a hash of the weights of a variant."""
    digest = hashlib.sha256()
    _add_weights(digest, variant)
    return digest.hexdigest()


def _add_weights(digest: "hashlib._Hash", variant: Variant) -> None:
    for name, tensor in sorted(variant.state_dict().items()):
        digest.update(name.encode() + tensor.cpu().numpy().tobytes())
