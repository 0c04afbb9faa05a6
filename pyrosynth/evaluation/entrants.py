"""The models of a comparison, and the hyper-parameters each of them gets."""

import inspect
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyrosynth.errors import InputError, unknown
from pyrosynth.modeling import Variant, with_recipe
from pyrosynth.training import svi, zoo


@dataclass(frozen=True)
class Entrant:
    """A model of a comparison.

    Args:
        name: What it is called: the name in the zoo, or the stem of its file.
        model: Its name, or the path of its file.
        options: Its hyper-parameters.
    """

    name: str
    model: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def presets(self, training: Mapping[str, Any]) -> int:
        """Return how many presets a fit with these arguments reads."""
        arguments = inspect.signature(svi.fit).parameters
        given: dict[str, Any] = {k: arguments[k].default for k in ("steps", "batch_size")}
        with suppress(InputError):  # a model that does not load reads none, which is soon known
            given |= with_recipe(zoo.load_model(self.model), self.options)[1].training
        given |= training
        return int(given["steps"] * given["batch_size"])

    @property
    def uses_tags(self) -> bool:
        """Whether it reads tags; one that does not load reads none."""
        with suppress(InputError):
            return zoo.load_model(self.model).uses_tags
        return False


def entrants(models: Sequence[str | Path], options: Mapping[str, Any]) -> list[Entrant]:
    """Find models, and deal hyper-parameters to them.

    Args:
        models: Names, or paths of ``.py`` files; ``all`` stands for every name of the zoo.
        options: Hyper-parameters by name. ``KEY`` is for each model that takes it,
            ``MODEL.KEY`` for one model, and wins.

    Returns:
        The models, in the order given. The code of their files is run; a file whose code fails
        is an entrant nevertheless.

    Raises:
        InputError: A model is unknown, or there is no such file; two have one name; or no model
            takes an option.
    """
    given = [
        one for model in models for one in (zoo.list_models() if model == "all" else (str(model),))
    ]
    names: dict[str, str] = {}
    for model in dict.fromkeys(given):
        path = Path(model)
        if path.suffix == ".py" and not path.is_file():
            raise InputError(f"no model file '{model}'; give the name of a model or a .py file")
        if path.suffix != ".py" and model not in zoo.list_models():
            raise unknown("model", model, (*zoo.list_models(), "all"))
        name = path.stem
        if name in names:
            raise InputError(
                f"two models are called '{name}' ('{names[name]}' and '{model}'), which names "
                "the rows and runs of each; rename one file"
            )
        names[name] = model
    if not names:
        raise InputError("there is no model to compare; name some, or all")
    known = {name: _known(model) for name, model in names.items()}
    dealt: dict[str, dict[str, Any]] = {name: {} for name in names}
    for option, value in sorted(options.items(), key=lambda item: "." in item[0]):
        name, dot, key = option.rpartition(".")
        takers = [n for n in names if _takes(known[n], key, value) and (not dot or n == name)]
        if not takers:
            taken = {k for n, keys in known.items() if not dot or n == name for k in keys or ()}
            raise unknown("hyper-parameter of these models", option, sorted(taken))
        for taker in takers:
            dealt[taker][key] = value
    return [Entrant(name, model, dealt[name]) for name, model in names.items()]


def _known(model: str) -> dict[str, Any] | None:
    """Return what values each hyper-parameter takes, None for any; None if the code fails."""
    try:
        kind: type[Variant] = zoo.load_model(model)
    except InputError:
        return None
    parameters = inspect.signature(kind.__init__).parameters.values()
    known: dict[str, Any] = {p.name: None for p in parameters if p.kind is p.KEYWORD_ONLY}
    return {**known, "recipe": [*kind.recipes]}


def _takes(known: Mapping[str, Any] | None, key: str, value: Any) -> bool:
    """Say whether a model takes a value of an option; one that does not load takes all."""
    return known is None or (key in known and (known[key] is None or value in known[key]))
