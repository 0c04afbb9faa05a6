"""Hyper-parameters and schedules that go by a name, and variants built from hyper-parameters."""

import importlib
import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from pyro import poutine
from pyro.poutine.util import site_is_subsample

from pyrosynth.errors import (
    InputError,
    PyrosynthError,
    line_of,
    one_line,
    reason,
    require_type,
    shown,
    unknown,
)
from pyrosynth.modeling.dims import DATA
from pyrosynth.modeling.distributions import ONE_AT_A_TIME, noise_from
from pyrosynth.threads import collected_interrupts

if TYPE_CHECKING:
    from pyrosynth.modeling.dims import Dims
    from pyrosynth.modeling.variant import Variant


@dataclass(frozen=True)
class Recipe:
    """Named hyper-parameters and a training schedule.

    Args:
        options: Hyper-parameters of the variant; the others keep their defaults.
        training: Arguments of `pyrosynth.training.svi.fit`; the others keep theirs.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)


# The schedule of Esling et al. (2019): 500 epochs of 11,000 presets, a rate of 2e-4 that is
# halved when validation has stalled for 20 epochs. They do not say how large a batch is; 64 is
# what their code has.
PAPER_TRAINING: Mapping[str, Any] = {
    "steps": 86_000,
    "batch_size": 64,
    "lr": 2e-4,
    "warm_up": 0,
    "weight_decay": 0.0,
    "validate_every": 172,
    "halve_after": 20,
}


def paper_recipe(**options: Any) -> Mapping[str, Recipe]:
    """Return the recipe ``paper``: hyper-parameters, and the published schedule."""
    return {"paper": Recipe(options, PAPER_TRAINING)}


def plain(value: Any) -> Any:
    """Turn numbers of NumPy and torch into Python's own, which JSON can hold, also in tuples."""
    if isinstance(value, list | tuple):
        parts = map(plain, value)
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", 0) == 0 else value


def require_runnable(variant: "Variant") -> None:
    """Make sure that a variant can be fitted: its parts may not fit each other.

    Raises:
        InputError: A program fails or keeps a parameter in Pyro's store, there are no terms, or
            the model draws what the guide does not.
    """
    _import_whole("torch.fx.experimental.symbolic_shapes")  # as torch does for the first shapes
    training, dims = variant.training, variant.dims
    batch = {"x": variant.origin.new_zeros(2, *dims.x_shape)}
    variant.eval()
    try:
        with torch.no_grad(), noise_from(torch.Generator(variant.origin.device)):
            with ONE_AT_A_TIME:
                model = poutine.trace(variant.model).get_trace(batch)
                guide = poutine.trace(variant.guide).get_trace(batch)
            variant.log_prob_v(*variant.sample_v(batch["x"], 1)[:1], batch["x"])
    except (PyrosynthError, KeyboardInterrupt):  # it says so itself
        raise
    except BaseException as error:
        raise _failed(type(variant), "run", variant.hyperparameters(), error) from error
    finally:
        variant.train(training)
    _require_objective(variant, model, guide)


def _import_whole(name: str) -> None:
    """Import a module and all that it needs; Ctrl-C waits until it is there.

    Of an import that is broken off, halves stay in the process, and each later one fails.
    """
    with collected_interrupts() as pressed:
        importlib.import_module(name)
    if pressed:
        raise KeyboardInterrupt


def _require_objective(variant: "Variant", model: poutine.Trace, guide: poutine.Trace) -> None:
    """Refuse what Pyro allows, and what a fit would silently not train or not sum over."""
    name = type(variant).__name__
    if not getattr(variant, "terms", ()):
        raise InputError(f"{name} has no terms; set self.terms in its constructor")
    for store in sorted({*model.param_nodes, *guide.param_nodes}):
        raise InputError(
            f"{name} has '{store}' in Pyro's parameter store, which a fit does not train; "
            "assign an nn.Parameter or a module in its constructor"
        )
    for latent, site in model.nodes.items():
        drawn = (
            site["type"] == "sample" and not site["is_observed"] and not site_is_subsample(site)
        )
        if drawn and latent not in DATA and latent not in guide:
            raise InputError(
                f"the model of {name} draws '{latent}', and its guide does not; draw it in the "
                "guide as well, or sum over it in the model"
            )


V = TypeVar("V", bound="Variant")


def with_recipe(
    variant: "type[Variant]", options: Mapping[str, Any]
) -> tuple[dict[str, Any], Recipe]:
    """Resolve the option ``recipe``.

    Args:
        variant: The class.
        options: Its hyper-parameters, and perhaps ``recipe``, the name of one of its recipes.

    Returns:
        The hyper-parameters, those given before those of the recipe; and the recipe.

    Raises:
        InputError: There is no such recipe (the known ones are listed), or the options are none.
    """
    _require_options(options)
    given = dict(options)
    name = given.pop("recipe", None)
    if name is None:
        return given, Recipe()
    if not isinstance(name, str) or name not in variant.recipes:
        raise unknown(f"recipe of {variant.__name__}", str(name), variant.recipes)
    recipe = variant.recipes[name]
    return {**recipe.options, **given}, recipe


def build(variant: type[V], dims: "Dims", options: dict[str, Any]) -> V:
    """Build a variant from hyper-parameters given by name.

    Args:
        variant: The class.
        dims: The sizes.
        options: Keyword arguments of its constructor.

    Returns:
        The instance.

    Raises:
        InputError: An argument is unknown (the known ones are listed) or its value unusable.
    """
    if not (isinstance(variant, type) and hasattr(variant, "recipes")):
        raise InputError(f"variant is {shown(variant)}; give a class of variants, no object")
    _require_options(options)
    parameters = inspect.signature(variant.__init__).parameters.values()
    known = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    for name in options:
        if name not in known:
            raise unknown(f"argument of {variant.__name__}", name, known)
    try:
        with torch.inference_mode(False), torch.enable_grad():  # a caller's modes are not ours
            return variant(dims, **options).float()
    except (PyrosynthError, KeyboardInterrupt):  # it says so itself
        raise
    except BaseException as error:
        raise _failed(variant, "start", options, error) from error


def _require_options(options: Any) -> None:
    require_type("options", options, Mapping, "a dictionary of hyper-parameters by name")


def _failed(
    variant: "type[Variant]", what: str, options: Mapping[str, Any], error: BaseException
) -> InputError:
    """Build the error for a variant whose code fails: why, in which line, and with what."""
    file = getattr(sys.modules.get(variant.__module__), "__file__", None)
    line = line_of(error, variant.__module__)
    where = f"{line} of '{file}'" if line else ""
    why = reason(error).partition("\n")[0]
    return InputError(
        f"{variant.__name__} does not {what}{where} ({one_line(why, 120)}); correct its code, or "
        f"its arguments {dict(options)}"
    )
