"""Temperatures of a posterior: how much wider it is than it was fitted."""

from typing import NamedTuple

from torch import nn

from pyrosynth.errors import number
from pyrosynth.modeling.bijections import Flow
from pyrosynth.modeling.mixed import AutoregressiveCategorical
from pyrosynth.modeling.variant import Variant

LOWEST = 1e-6  # temperature


class Temperature(NamedTuple):
    """Temperatures of a posterior; draws and their exact density follow all of them.

    Args:
        base: Standard deviation of the normal noise that the posterior's flow starts from.
        levels: What the logits of discrete parameters are divided by.
        doubt: Share of the draws for which both are ``WIDER`` times as high. It gives the density
            heavier tails, for presets unlike those that were learnt.
    """

    base: float = 1.0
    levels: float = 1.0
    doubt: float = 0.0


def tempered_parts(variant: Variant) -> dict[str, list[nn.Module]]:
    """Return the modules of a variant that each temperature acts on; none for some variants."""
    flow = variant._modules.get("posterior_flow")
    discrete = [m for m in variant.modules() if isinstance(m, AutoregressiveCategorical)]
    return {
        "base": [flow] if isinstance(flow, Flow) else [],
        "levels": [levels for levels in discrete if levels.levels],
        "doubt": [*discrete],
    }


def set_temperature(variant: Variant, temperature: Temperature) -> None:
    """Let a variant draw and score presets at temperatures; at 1 it does so as fitted.

    Raises:
        InputError: A temperature is not a positive number, or the share in doubt none.
    """
    for name, value in temperature._asdict().items():
        doubt = name == "doubt"
        number(f"temperature {name}", value, 0.0 if doubt else LOWEST, 1.0 if doubt else None)
    for name, parts in tempered_parts(variant).items():
        attribute = "doubt" if name == "doubt" else "temperature"
        for part in parts:
            setattr(part, attribute, getattr(temperature, name))
