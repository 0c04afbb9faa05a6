"""Building blocks of model files on torch and Pyro: variants, networks, flows, objective."""

from pyrosynth.modeling.audio_coordinates import AudioCoordinates, stress
from pyrosynth.modeling.autoencoder import AutoEncoder
from pyrosynth.modeling.bijections import (
    Chain,
    DiagonalAffine,
    Flow,
    Inverse,
    UnitCube,
    log_normal,
)
from pyrosynth.modeling.dims import Batch, Dims
from pyrosynth.modeling.distributions import (
    CubeNormal,
    FlowTransform,
    MelNormal,
    flow_normal,
    noise_from,
    shared,
    standard_normal,
)
from pyrosynth.modeling.elbo import Conditioned, SyncFreeELBO
from pyrosynth.modeling.flows import (
    Kind,
    autoregressive_flow,
    coupling_flow,
    flow_stack,
    posterior_flow,
    regression_flow,
    zuko_flow,
)
from pyrosynth.modeling.labels import Labels, TagBase, places_of_classes
from pyrosynth.modeling.mixed import AutoregressiveCategorical, MixedDiscreteFlow, PresetEncoder
from pyrosynth.modeling.networks import (
    MLP,
    ConvBlock,
    ConvDecoder,
    ConvEncoder,
    DenseLayers,
    MelDecoder,
    MelEncoder,
    Network,
    Networks,
    ResidualMLP,
    sound_decoder,
    sound_encoder,
)
from pyrosynth.modeling.recipes import (
    PAPER_TRAINING,
    Recipe,
    build,
    paper_recipe,
    with_recipe,
)
from pyrosynth.modeling.rectified import RectifiedFlow
from pyrosynth.modeling.tag_directions import TagDirections
from pyrosynth.modeling.temperature import Temperature, set_temperature
from pyrosynth.modeling.terms import Term, WarmUp, held_log_prob, squared_error
from pyrosynth.modeling.variant import Variant
from pyrosynth.modeling.whole_batch import whole_batch

__all__ = [
    "MLP", "PAPER_TRAINING", "AudioCoordinates", "AutoEncoder", "AutoregressiveCategorical",
    "Batch", "Chain", "Conditioned", "ConvBlock", "ConvDecoder", "ConvEncoder", "CubeNormal",
    "DenseLayers", "DiagonalAffine", "Dims", "Flow", "FlowTransform", "Inverse", "Kind", "Labels",
    "MelDecoder", "MelEncoder", "MelNormal", "MixedDiscreteFlow", "Network", "Networks",
    "PresetEncoder", "Recipe", "RectifiedFlow", "ResidualMLP", "SyncFreeELBO", "TagBase",
    "TagDirections", "Temperature", "Term", "UnitCube", "Variant", "WarmUp", "autoregressive_flow",
    "build", "coupling_flow", "flow_normal", "flow_stack", "held_log_prob", "log_normal",
    "noise_from", "paper_recipe", "places_of_classes", "posterior_flow", "regression_flow",
    "set_temperature", "shared", "sound_decoder", "sound_encoder", "squared_error",
    "standard_normal", "stress", "whole_batch", "with_recipe", "zuko_flow",
]  # fmt: skip
