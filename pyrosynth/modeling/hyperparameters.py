"""Ranges of the hyper-parameters that variants share: what no model can be built with."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from inspect import Parameter
from typing import Any

from pyrosynth.errors import MOST, InputError, integer, number, shown

MOST_LAYERS = 1000
LARGEST_WEIGHT = 1e9
LARGEST_SHARE = 0.99  # of units that are dropped: some must be left

Check = Callable[[str, Any], float]

SIZE: Check = partial(integer, low=1, high=MOST)
LAYERS: Check = partial(integer, low=1, high=MOST_LAYERS)
WIDTH: Check = partial(integer, low=2, high=MOST)  # `flow_audio` has parts of half the width
COUNT: Check = partial(integer, low=0)
WEIGHT: Check = partial(number, low=0, high=LARGEST_WEIGHT)
SPREAD: Check = partial(number, low=1e-6, high=LARGEST_WEIGHT)
SHARE: Check = partial(number, low=0, high=LARGEST_SHARE)

RANGES: Mapping[str, Check] = {
    **dict.fromkeys(
        ("bins", "channels", "decoder_hidden", "embedding_dim", "latent_dim",
         "n_mixture", "n_pairs", "n_presets", "n_probes", "n_steps", "rank", "regressor_hidden"),
        SIZE,
    ),
    **dict.fromkeys(
        ("dilation", "n_blocks", "n_disentangling_layers", "n_layers", "n_prior_layers",
         "n_regression_layers"),
        LAYERS,
    ),
    **dict.fromkeys(("beta_steps", "gamma_steps", "max_levels"), COUNT),
    **dict.fromkeys(("alpha", "beta", "delta", "gamma", "tension"), WEIGHT),
    "hidden": WIDTH,
    "noise": SPREAD,
    "dropout": SHARE,
    "kernel": integer,
}  # fmt: skip
"""What a value of this name must be, in every variant; one by one for those of a sequence."""


def require_ranges(
    owner: str, options: Mapping[str, Any], signature: Mapping[str, Parameter]
) -> None:
    """Make sure that hyper-parameters of the names in `RANGES` are usable.

    A variant of one's own may have others, which its constructor checks.

    Args:
        owner: Name of the variant.
        options: Its hyper-parameters.
        signature: Those of its constructor, by name: where the default is a sequence, one value
            for each layer is wanted; ``latent_dim`` may be None unless it is annotated ``int``.

    Raises:
        InputError: A value has another type, lies outside its range, or is nothing for JSON.
    """
    for name, value in options.items():
        check, wanted = RANGES.get(name), signature[name]
        if check is None or (
            name == "latent_dim" and value is None and wanted.annotation is not int
        ):
            _require_storable(f"{owner}: {name}", value)
            continue
        said = f"{owner}: {name}"
        if not isinstance(wanted.default, list | tuple):
            check(said, value)
        elif not isinstance(value, list | tuple) or not value:
            raise InputError(f"{said} {value!r}: give a list with a size for each layer")
        else:
            for size in value:
                check(f"{said} {list(value)!r} with", size)


def _require_storable(what: str, value: Any) -> None:
    """Make sure that JSON can hold a value, which is as a run stores it."""
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        raise InputError(
            f"{what} is {shown(value)}, which a run cannot store; give a number, a text, a list "
            "or None, and make of it in the constructor what it needs"
        ) from None
