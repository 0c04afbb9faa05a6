"""Temperatures of a posterior: how much wider it is than it was fitted."""

from typing import NamedTuple

from torch import nn

from pyrosynth.modeling.bijections import Flow
from pyrosynth.modeling.mixed import AutoregressiveCategorical
from pyrosynth.modeling.variant import Variant


class Temperature(NamedTuple):
    """Temperatures of a posterior; draws and their exact density follow both.

    Args:
        base: Standard deviation of the normal noise that the posterior's flow starts from.
        levels: What the logits of discrete parameters are divided by.
    """

    base: float = 1.0
    levels: float = 1.0


def tempered_parts(variant: Variant) -> dict[str, list[nn.Module]]:
    """Return the modules of a variant that each temperature acts on; none for some variants."""
    flow = variant._modules.get("posterior_flow")
    discrete = [m for m in variant.modules() if isinstance(m, AutoregressiveCategorical)]
    return {
        "base": [flow] if isinstance(flow, Flow) else [],
        "levels": [levels for levels in discrete if levels.levels],
    }


def set_temperature(variant: Variant, temperature: Temperature) -> None:
    """Let a variant draw and score presets at temperatures; at 1 it does so as fitted."""
    for name, parts in tempered_parts(variant).items():
        for part in parts:
            part.temperature = getattr(temperature, name)
