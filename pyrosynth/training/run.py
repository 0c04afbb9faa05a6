"""Run directories: everything a fitted variant needs to be used again, without pickle.

    run.json              what was fitted on what, and the hash of each other file
    weights.safetensors   tensors only, with the mean and std that standardise the features
    variant.py            the source that was fitted
    checkpoints/          the state of the fit, to resume it

Loading a run runs the code in its ``variant.py``: load only runs whose source you trust.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from pyrosynth._version import __version__
from pyrosynth.audio.features import FeatureSpec
from pyrosynth.audio.note import Note
from pyrosynth.errors import InputError, RunError, numbers, reading
from pyrosynth.files import checked_path, read_json, require_kind, safe_name, write_bytes
from pyrosynth.modeling import Dims, Temperature, Variant, build, set_temperature
from pyrosynth.report import notebook
from pyrosynth.synths.params import ParamSpace
from pyrosynth.training.state import History, halved, read_tensors, write_tensors
from pyrosynth.training.svi import find_device
from pyrosynth.training.torch_modes import plain_torch
from pyrosynth.training.zoo import load_copy, load_source, variant_source

if TYPE_CHECKING:
    from pandas import DataFrame

WEIGHTS, SOURCE, FACTS = "weights.safetensors", "variant.py", "run.json"
BANK = "bank.safetensors"  # the known presets, which `pyrosynth.data.bank` reads
AGAIN = "fit again with --force (force=True)"  # what helps a damaged run
FORMAT = 2  # of run directories; those of versions before 0.2 carry no number
# What two runs have in common that are the same fit, perhaps with other weights or axes.
SAME = "variant arguments dims space full_space features note seed settings".split()
PRETRAINED = Path(__file__).parents[1] / "pretrained"  # runs that come with the package, by name


@dataclass(repr=False)
class Run:
    """A fitted variant and what it was fitted on.

    Args:
        variant: The variant, in evaluation mode.
        space: The parameters it learnt.
        full_space: All parameters of the synth; those not learnt stay at their defaults.
        features: How a sound becomes features.
        note: The note that was played.
        synth_spec: What `pyrosynth.synths.from_spec` rebuilds the synth from.
        mean: Mean of each feature cell over the training presets, shape (n_mels, n_frames).
        std: Standard deviation of each cell, same shape.
        dataset: Where the training data came from; JSON-ready.
        seed: Seed of the fit.
        settings: How it was fitted; JSON-ready.
        training: What happened during the fit.
        temperature: Temperatures of the posterior, which the variant is set to.
        conformal_scores: Of the held-out presets, in ascending order, see
            `pyrosynth.training.uncertainty`; empty if they were not computed.
        axes: Axes of the latent space that have a name, see `pyrosynth.explore.naming`;
            JSON-ready.
    """

    variant: Variant
    space: ParamSpace
    full_space: ParamSpace
    features: FeatureSpec
    note: Note
    synth_spec: dict[str, Any]
    mean: Tensor
    std: Tensor
    dataset: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    settings: dict[str, Any] = field(default_factory=dict)
    training: History = field(default_factory=History)
    temperature: Temperature = field(default_factory=Temperature)
    conformal_scores: tuple[float, ...] = ()
    axes: tuple[dict[str, Any], ...] = ()

    def __post_init__(self) -> None:
        """Set the variant to the temperatures."""
        set_temperature(self.variant, self.temperature)

    @property
    def history(self) -> "DataFrame":
        """Loss and scores over the steps of the fit, a row for each validation."""
        import pandas as pd

        columns = {"step": int, "loss": float, "lr": float}
        rows = pd.DataFrame(self.training.rows, columns=None if self.training.rows else [*columns])
        return rows.astype({"step": int}).set_index("step")

    def facts(self) -> dict[str, str]:
        """Return the facts of the fit in words: what was fitted, and on which data."""
        n, total = len(self.space), len(self.full_space)
        base, levels, doubt = self.temperature
        return {
            "model": type(self.variant).__name__,
            "synth": str(self.synth_spec.get("synth")),
            "parameters": f"{n} of {total}",
            "note": self.note.facts,
            "features": " × ".join(map(str, self.variant.dims.x_shape)) + " log-mel",
            "best step": str(self.training.best_step),
            "temperature": f"{base:g}, discrete {levels:g}, share in doubt {doubt:g}",
        }

    def __repr__(self) -> str:
        """Say what was fitted on what, in a line."""
        facts = self.facts()
        return f"Run({facts['model']}, {facts['parameters']} parameters of {facts['synth']})"

    def _repr_html_(self) -> str:
        """Show what was fitted on what in a notebook."""
        return notebook("Run", self.facts())

    def standardise(self, x: Tensor | ArrayLike) -> Tensor:
        """Turn log-mel features (..., n_mels, n_frames) into what the variant reads."""
        return (self._features(x) - self.mean) / self.std

    def unstandardise(self, x: Tensor | ArrayLike) -> Tensor:
        """Turn what the variant predicts back into log-mel features."""
        return self._features(x) * self.std + self.mean

    def _features(self, x: Tensor | ArrayLike) -> Tensor:
        array = x if isinstance(x, Tensor) else torch.as_tensor(numbers("features", x, np.float32))
        if array.shape[-2:] != self.mean.shape:
            shape, (mels, frames) = tuple(array.shape), self.mean.shape
            raise InputError(f"features have shape {shape}; give (..., {mels}, {frames})")
        return array.to(self.mean)

    def latents(self, z: ArrayLike, n_axes: int | None = None) -> Tensor:
        """Return latents on the run's device, after making sure that the variant can read them.

        Args:
            z: Latents, shape (..., latent_dim).
            n_axes: Number of axes that they must have; any if left out.

        Raises:
            InputError: They are no numbers, or of another shape.
        """
        latent, dim = numbers("latents", z, np.float32), self.variant.latent_dim
        if not np.isfinite(latent).all():
            raise InputError("latents are NaN or infinite; give numbers, such as place.z")
        if dim and (latent.shape[-1:] != (dim,) or latent.ndim != (n_axes or latent.ndim)):
            rows = "n" if n_axes else "..."
            raise InputError(f"latents have shape {latent.shape}; give ({rows}, {dim})")
        return torch.as_tensor(latent, device=self.mean.device)

    def unit_values(self, unit: Tensor | ArrayLike) -> Tensor:
        """Return unit values of the learnt parameters, (..., n_params), with their gradients.

        Raises:
            InputError: They are no numbers, or of another shape.
        """
        given = unit if isinstance(unit, Tensor) else np.float32(self.space.checked(unit))
        if given.shape[-1:] != (len(self.space),):
            shape = tuple(given.shape)
            raise InputError(f"unit values have shape {shape}; give (..., {len(self.space)})")
        return torch.as_tensor(given).to(self.mean)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the source of the variant, not its name: another process has not loaded it."""
        variant = self.variant
        others = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "variant"}
        parts = variant.dims, variant.hyperparameters(), variant.state_dict()
        return _rebuilt, (variant_source(type(variant)), *parts, others)

    def save(self, path: str | Path, *, half: bool = False) -> None:
        """Write the run directory.

        Args:
            path: The folder; made if missing. ``run.json`` is written last and completes it.
            half: Whether weights are rounded to 16 bits, which halves the file.

        Raises:
            PyrosynthError: It holds something else, such as another run, whose bank would be taken
                for that of this one; or the variant's source is not to be found.
        """
        folder, variant = require_kind(path, "fit", FACTS), self.variant
        source, facts = variant_source(type(variant)), self._facts()
        _require_same(folder, facts)
        write_bytes(folder / SOURCE, source.encode())
        tensors = {f"variant.{k}": t for k, t in variant.state_dict().items()}
        if half:  # of what was learnt; buffers are constants, such as 1e-8
            learnt = {f"variant.{n}" for n, _ in variant.named_parameters(remove_duplicate=False)}
            tensors = {k: halved(t) if k in learnt else t for k, t in tensors.items()}
        write_tensors(folder / WEIGHTS, {**tensors, "mean": self.mean, "std": self.std}, {})
        # The weights, and the bank if it has been put beside them.
        names = SOURCE, *sorted(file.name for file in folder.glob("*.safetensors"))
        _write_facts(folder, {**facts, "files": {name: _sha256(folder / name) for name in names}})

    def _facts(self) -> dict[str, Any]:
        variant = self.variant
        return {
            "format": FORMAT,
            "pyrosynth": __version__,
            "variant": type(variant).__name__,
            "arguments": variant.hyperparameters(),
            "dims": asdict(variant.dims),
            "terms": [term.facts() for term in variant.terms],
            "space": self.space.to_json(),
            "full_space": self.full_space.to_json(),
            "features": self.features.to_json(),
            "note": self.note.to_json(),
            "synth": self.synth_spec,
            "dataset": self.dataset,
            "seed": self.seed,
            "settings": self.settings,
            "history": asdict(self.training),
            "temperature": self.temperature._asdict(),
            "conformal_scores": list(self.conformal_scores),
            "axes": list(self.axes),
        }


def _require_same(folder: Path, facts: dict[str, Any]) -> None:
    """Make sure that a folder holds no other run, and nobody else's file of that name."""
    if not (folder / FACTS).exists():
        return
    try:
        held = _which(read_json(folder / FACTS))
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        held = {}  # of another program, or damaged
    if held != _which(json.loads(json.dumps(facts))):
        raise InputError(
            f"'{folder}' holds another run, or a '{FACTS}' of something else; give another folder"
        )


def _which(facts: dict[str, Any]) -> dict[str, Any]:
    """Return what tells a run from another, wherever its data and its plugin lie."""
    places = {name: {**facts[name], "path": None} for name in ("dataset", "synth")}
    return {name: facts[name] for name in SAME} | places


def write_axes(path: str | Path, axes: Sequence[dict[str, Any]]) -> None:
    """Put the axes that have a name into a run directory; all else of it stays.

    Args:
        path: The folder, of a run that can be loaded.
        axes: The new ones, JSON-ready; those that were there go.

    Raises:
        RunError: The folder is no run, or cannot be written.
    """
    folder = run_folder(path)
    with reading(RunError, f"'{folder / FACTS}' is damaged", AGAIN):
        facts = read_json(folder / FACTS)
        facts.pop("sha256")
    _write_facts(folder, {**facts, "axes": list(axes)})


def _write_facts(folder: Path, facts: dict[str, Any]) -> None:
    facts["sha256"] = _sha256_of(facts)
    write_bytes(folder / FACTS, json.dumps(facts, indent=1).encode())


@torch.random.fork_rng([])  # of the weights that a variant is made with
@plain_torch()
def _rebuilt(
    source: str, dims: Dims, options: dict[str, Any], state: dict[str, Tensor], others: Any
) -> Run:
    """Make a run of what was pickled. The source of its variant is run."""
    variant = build(load_source(source), dims, options)
    variant.load_state_dict(state)
    return Run(variant.to(others["mean"].device).eval(), **others)


def pretrained() -> tuple[str, ...]:
    """Return the names of the runs that come with the package, sorted."""
    return tuple(sorted(folder.name for folder in PRETRAINED.glob("[!_.]*")))


def run_folder(path: str | Path) -> Path:
    """Return the folder of a run given by its path, or by name if it is a pretrained one.

    A path that holds a run comes before a name; another folder of that name does not.
    """
    folder = checked_path("run", path)
    named = str(path) in pretrained() and not (folder / FACTS).exists()
    return PRETRAINED / folder if named else folder


@torch.random.fork_rng([])
@plain_torch()
def load_run(path: str | Path, device: str = "cpu") -> Run:
    """Read a run directory. The code in its ``variant.py`` is run; nothing is unpickled.

    Args:
        path: The folder, or the name of a pretrained run.
        device: Where the variant and the statistics go, ``"cpu"`` or ``"cuda"``.

    Returns:
        The run.

    Raises:
        RunError: A file is missing, damaged, or not what was written.
        InputError: There is no such device.
    """
    folder, target = run_folder(path), find_device(device)
    if folder.is_file():
        raise RunError(f"'{folder}' is a file, a run is a folder; unpack it if it is an archive")
    if not folder.is_dir():
        named = f", or take a pretrained one: {', '.join(pretrained())}" if pretrained() else ""
        raise RunError(f"no run directory '{folder}'; make one with pyrosynth fit{named}")
    if not (folder / FACTS).exists():
        raise RunError(
            f"'{folder}' holds no finished fit ('{FACTS}' is missing); give the folder of a run, "
            "or call the same fit again"
        )
    with reading(RunError, f"'{folder / FACTS}' is damaged", AGAIN):
        facts = read_json(folder / FACTS)
        held, made_by = facts.get("format", 1), facts.get("pyrosynth", "?")
    _require_format(folder, held, made_by)
    with reading(RunError, f"'{folder / FACTS}' is damaged", AGAIN):
        expected = facts.pop("sha256")
        files = {safe_name(name): digest for name, digest in facts["files"].items()}
    if _sha256_of(facts) != expected:
        raise RunError(f"'{folder / FACTS}' was changed after the fit; restore it, or {AGAIN}")
    for name, digest in files.items():
        if not (folder / name).is_file():
            raise RunError(f"'{folder / name}' is missing; the run is incomplete, {AGAIN}")
        if _sha256(folder / name) != digest:
            raise RunError(f"'{folder / name}' is not what the fit wrote; restore it, or {AGAIN}")
    tensors, _ = read_tensors(folder / WEIGHTS, target)
    weights = {k.removeprefix("variant."): t for k, t in tensors.items() if "." in k}
    with reading(RunError, f"run '{folder}' of pyrosynth {made_by} cannot be rebuilt", AGAIN):
        dims = Dims.from_json(facts["dims"])
        variant = build(load_copy(folder / SOURCE), dims, facts["arguments"])
        variant.load_state_dict(weights)
        if not all(tensor.isfinite().all() for tensor in tensors.values()):
            raise ValueError("weights that are not finite")
        space = ParamSpace.from_json(facts["space"])
        if len(space) != dims.n_params or tensors["mean"].shape != dims.x_shape:
            raise ValueError("its parameters or sounds are of other sizes than those of its model")
        return Run(
            variant.to(target).eval(),
            space=space,
            full_space=ParamSpace.from_json(facts["full_space"]),
            features=FeatureSpec.from_json(facts["features"]),
            note=Note(**facts["note"]),
            synth_spec=dict(facts["synth"]),
            mean=tensors["mean"],
            std=tensors["std"],
            dataset=dict(facts["dataset"]),
            seed=facts["seed"],
            settings=dict(facts["settings"]),
            training=History(**facts["history"]),
            temperature=Temperature(
                **{k: float(t) for k, t in facts.get("temperature", {}).items()}
            ),
            conformal_scores=tuple(map(float, facts.get("conformal_scores", ()))),
            axes=tuple(facts.get("axes", ())),
        )


def _require_format(folder: Path, held: Any, made_by: Any) -> None:
    """Make sure that a run is of the format that this version reads."""
    if held != FORMAT:
        newer = isinstance(held, int) and held > FORMAT
        what = "update pyrosynth" if newer else "fit it again with `pyrosynth fit`"
        raise RunError(
            f"run '{folder}' has format {held!r}, written by pyrosynth {made_by}; version "
            f"{__version__} reads format {FORMAT}: {what}"
        )


def require_own_source(folder: Path) -> None:
    """Make sure that a run's folder holds no file of a variant that somebody has changed.

    Raises:
        RunError: It does.
    """
    source = folder / SOURCE
    try:
        written = read_json(folder / FACTS)["files"][SOURCE]
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return  # none was written, or nobody knows how
    if source.is_file() and _sha256(source) != written:
        raise RunError(
            f"'{source}' was changed after the fit, and a new fit would replace it; move it "
            "elsewhere, then fit again"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sha256_of(facts: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
