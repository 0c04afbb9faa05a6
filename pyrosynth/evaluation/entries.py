"""The models of a benchmark: which they are, their hyper-parameters, and how one is fitted."""

import inspect
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from pyrosynth.data.dataset import Dataset
from pyrosynth.data.tags import TagTable
from pyrosynth.errors import InputError, PyrosynthError, raised, require_type, unknown
from pyrosynth.files import checked_path
from pyrosynth.modeling import Variant, with_recipe
from pyrosynth.training import zoo
from pyrosynth.training.arguments import new_variant, require_hyperparameter, shape_of
from pyrosynth.training.fit import fit
from pyrosynth.training.run import AGAIN


@dataclass(frozen=True)
class ModelEntry:
    """A model of a benchmark.

    Args:
        name: What it is called: the name in the zoo, or the stem of its file.
        model: Its name, or the path of its file.
        options: Its hyper-parameters.
        uses_tags: Whether it reads tags.
    """

    name: str
    model: str
    options: Mapping[str, Any] = field(default_factory=dict)
    uses_tags: bool = False


def model_entries(
    models: Sequence[str | Path] | str | Path, options: Mapping[str, Any]
) -> list[ModelEntry]:
    """Find models, and deal hyper-parameters to them.

    Args:
        models: Names, or paths of ``.py`` files, or a single one; ``all`` stands for every name
            of the zoo.
        options: Hyper-parameters by name. ``KEY`` is for each model that takes it,
            ``MODEL.KEY`` for one model, and wins.

    Returns:
        The models, in the order given. The code of their files is run; a file whose code fails
        is an entry nevertheless.

    Raises:
        InputError: A model is unknown, or there is no such file; two have one name; or no model
            takes an option.
    """
    models = [models] if isinstance(models, str | Path | type | Variant) else models
    require_type("models", models, Sequence, "a list of names, or all")
    for one in models:
        if not isinstance(one, str | Path):
            name = one.__name__ if isinstance(one, type) else f"a {type(one).__name__}"
            raise InputError(
                f"models: {name} is no name; give a list of names or .py files, or all"
            )
    require_type("options", options, Mapping, "a dictionary of hyper-parameters")
    listed = zoo.list_models()
    given = [one for model in models for one in (listed if model == "all" else (str(model),))]
    names: dict[str, str] = {}
    for model in dict.fromkeys(given):
        path = checked_path("model", model)
        is_file = path.suffix.lower() == ".py"
        if is_file and not path.is_file():
            raise InputError(f"no model file '{model}'; give the name of a model or a .py file")
        if not is_file and model not in listed:
            raise unknown("model", model, (*listed, "all"))
        name = path.stem
        if name in names:
            raise InputError(
                f"two models are called '{name}' ('{names[name]}' and '{model}'), which names "
                "the rows and runs of each; rename one file"
            )
        names[name] = str(path.absolute()) if is_file else model
    if not names:
        raise InputError("there is no model to compare; name some, or all")
    variants = {name: _load(model) for name, model in names.items()}
    known = {name: _hyperparameters(variant) for name, variant in variants.items()}
    dealt: dict[str, dict[str, Any]] = {name: {} for name in names}
    for option, value in sorted(options.items(), key=lambda item: "." in item[0]):
        name, dot, key = option.rpartition(".")
        name = name if name in names else Path(name).name.removesuffix(".py")
        takers = [n for n in names if _takes(known[n], key, value) and (not dot or n == name)]
        if dot and name not in names:
            raise InputError(
                f"the setting '{option}' is one of the model '{name}', which is not compared; "
                "compare it as well, or leave the setting out"
            )
        if not takers:
            require_hyperparameter(key)
            taken = {k for n, keys in known.items() if not dot or n == name for k in keys or ()}
            raise unknown("hyper-parameter of these models", option, sorted(taken))
        for taker in takers:
            dealt[taker][key] = value
    return [
        ModelEntry(name, model, dealt[name], bool(variant and variant.uses_tags))
        for (name, model), variant in zip(names.items(), variants.values(), strict=True)
    ]


def require_options(entries: Sequence[ModelEntry], dataset: Dataset) -> None:
    """Make sure that models can be built with the hyper-parameters given for them.

    Raises:
        InputError: One cannot; a model whose code cannot be loaded costs its row only.
    """
    for entry in entries:
        if entry.options and (variant := _load(entry.model)):
            options, _ = with_recipe(variant, entry.options)
            new_variant(variant, options, dataset.space, shape_of(dataset))


def _load(model: str) -> type[Variant] | None:
    """Return the variant of a model; None if its code fails, which its fit will say."""
    try:
        return zoo.load_model(model)
    except InputError:
        return None


def _hyperparameters(variant: type[Variant] | None) -> dict[str, Any] | None:
    """Return what values each hyper-parameter takes, None for any; None if the code fails."""
    if variant is None:
        return None
    parameters = inspect.signature(variant.__init__).parameters.values()
    known: dict[str, Any] = {p.name: None for p in parameters if p.kind is p.KEYWORD_ONLY}
    return {**known, "recipe": [*variant.recipes]}


def _takes(known: Mapping[str, Any] | None, key: str, value: Any) -> bool:
    """Say whether a model takes a value of an option; one that does not load takes all."""
    return known is None or (key in known and (known[key] is None or value in known[key]))


class Failure(NamedTuple):
    """Why something failed: in a line, and where in the code."""

    reason: str
    traceback: str


def attempt(work: Callable[[], object]) -> Failure | None:
    """Do something; return why it failed, or None."""
    try:
        work()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever a model's own code does wrong
        known = isinstance(error, PyrosynthError)
        return Failure(str(error) if known else raised(error), traceback.format_exc())
    return None


@dataclass(frozen=True)
class Fitting:
    """Fits a model with a seed, and keeps its run; what is fitted already is left as it is.

    Args:
        dataset: What all learn from.
        folder: Of the runs.
        bank: File of the bank of the training presets.
        training: Arguments of the fit.
        tags: Tags for models that use them.
        device: Where models compute.
        threads: Torch threads of a fit.
        force: Whether to fit anew what has been fitted.
        progress: Whether to show progress bars.
    """

    dataset: Dataset
    folder: Path
    bank: Path
    training: Mapping[str, Any]
    tags: TagTable | None
    device: str
    threads: int | None
    force: bool
    progress: bool

    def __call__(self, wanted: tuple[ModelEntry, int]) -> Failure | None:
        """Fit it; return why that failed, or None."""
        entry, seed = wanted
        folder = self.folder / f"{entry.name}-{seed}"
        failure = attempt(
            lambda: fit(
                entry.model, self.dataset, folder,
                tags=self.tags if entry.uses_tags else None, options=entry.options, seed=seed,
                device=self.device, threads=self.threads, bank=self.bank, force=self.force,
                progress=self.progress, **self.training,
            )
        )  # fmt: skip
        if failure is None:
            return None
        one = f"delete '{folder}' and call the same again"  # --force would begin all of them anew
        return failure._replace(reason=failure.reason.replace(AGAIN, one))
