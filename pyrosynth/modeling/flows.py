"""The flows that models are made of, each built by one call.

The parts are in `pyrosynth.modeling.bijections` and `pyrosynth.modeling.flow_layers`;
`pyrosynth.modeling.distributions.FlowTransform` shows a whole flow to Pyro as one transform.
"""

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from pyrosynth.errors import InputError, checked_name, unknown
from pyrosynth.modeling.bijections import (
    Chain,
    DiagonalAffine,
    Flow,
    Inverse,
    Permutation,
    UnitCube,
)
from pyrosynth.modeling.flow_layers import AffineCoupling, AutoregressiveStack, SplineCoupling

Kind = Literal["spline", "affine", "iaf", "maf"]
"""Couplings by splines or affine maps; autoregressive affine maps that sample (inverse
autoregressive flow) or score (masked autoregressive flow) all features at once."""


def coupling_flow(
    features: int,
    *,
    n_context: int = 0,
    n_layers: int = 4,
    hidden: int = 192,
    kind: Literal["spline", "affine"] = "spline",
    bins: int = 8,
    bound: float = 5.0,
) -> Chain:
    """Build a stack of couplings, with the features shuffled after every second one.

    Args:
        features: Number of features.
        n_context: Size of the context; 0 for none.
        n_layers: Number of couplings.
        hidden: Width of each conditioner.
        kind: ``"spline"`` or ``"affine"``.
        bins: Bins of a spline.
        bound: The splines act on [-bound, bound].

    Returns:
        The flow, the identity at the start. The shuffles are always the same ones.

    Raises:
        InputError: The kind is unknown.
    """
    checked_name("coupling", kind, ("spline", "affine"))
    rng = torch.Generator().manual_seed(features)
    order = torch.arange(features)
    flows: list[Flow] = []
    for i in range(n_layers):
        if i and i % 2 == 0:
            shuffle = torch.randperm(features, generator=rng)
            flows.append(Permutation(shuffle))
            order = order[shuffle]
        if kind == "affine":
            flows.append(AffineCoupling(features, n_context=n_context, hidden=hidden))
        else:
            flows.append(
                SplineCoupling(
                    features, n_context=n_context, hidden=hidden, bins=bins, bound=bound
                )
            )
        order = order.roll(-(features // 2))  # what a coupling's swap does
    return Chain([*flows, Permutation(order.argsort())])


def autoregressive_flow(
    features: int,
    *,
    n_context: int = 0,
    n_layers: int = 4,
    hidden: int = 192,
    kind: Literal["iaf", "maf"] = "iaf",
) -> Flow:
    """Build a stack of autoregressive steps, with the features reversed between them.

    Args:
        features: Number of features.
        n_context: Size of the context; 0 for none.
        n_layers: Number of steps.
        hidden: Width of each conditioner.
        kind: ``"iaf"`` maps all features at once and maps back one by one, ``"maf"`` the other
            way around.

    Returns:
        The flow, the identity at the start.

    Raises:
        InputError: The kind is unknown.
    """
    checked_name("autoregressive flow", kind, ("iaf", "maf"))
    stack = AutoregressiveStack(features, n_context=n_context, n_layers=n_layers, hidden=hidden)
    return stack if kind == "iaf" else Inverse(stack)


def flow_stack(
    features: int,
    *,
    n_context: int = 0,
    n_layers: int = 4,
    hidden: int = 192,
    bins: int = 8,
    kind: Kind = "spline",
) -> Flow:
    """Build a stack of couplings or of autoregressive steps.

    Args:
        features: Number of features.
        n_context: Size of the context; 0 for none.
        n_layers: Number of couplings or steps.
        hidden: Width of each conditioner.
        bins: Bins of a spline.
        kind: What the stack is made of.

    Returns:
        The flow, the identity at the start.

    Raises:
        InputError: The kind is unknown.
    """
    if kind == "spline" or kind == "affine":
        return coupling_flow(
            features, n_context=n_context, n_layers=n_layers, hidden=hidden, kind=kind, bins=bins
        )
    if kind == "iaf" or kind == "maf":
        return autoregressive_flow(
            features, n_context=n_context, n_layers=n_layers, hidden=hidden, kind=kind
        )
    raise unknown("kind of flow", kind, get_args(Kind))


def posterior_flow(
    features: int,
    n_context: int,
    *,
    n_layers: int = 4,
    hidden: int = 192,
    bins: int = 8,
    kind: Kind = "spline",
) -> Chain:
    """Build the flow of a posterior: mean and width from the context, then a stack.

    Args:
        features: Number of features.
        n_context: Size of the context.
        n_layers: Number of couplings or autoregressive steps.
        hidden: Width of each conditioner.
        bins: Bins of a spline.
        kind: What the stack is made of.

    Returns:
        The flow, the identity at the start.

    Raises:
        InputError: The kind is unknown.
    """
    spread = DiagonalAffine(features, n_context, hidden=hidden)
    shape = flow_stack(
        features, n_context=n_context, n_layers=n_layers, hidden=hidden, bins=bins, kind=kind
    )
    return Chain([spread, shape])


def regression_flow(
    features: int,
    *,
    n_layers: int = 3,
    hidden: int = 192,
    bins: int = 8,
    kind: Kind = "spline",
) -> Chain:
    """Build the flow from a latent to parameters: a stack that ends in the unit cube.

    Args:
        features: Number of features.
        n_layers: Number of couplings or autoregressive steps.
        hidden: Width of each conditioner.
        bins: Bins of a spline.
        kind: What the stack is made of.

    Returns:
        The flow, `UnitCube` at the start.

    Raises:
        InputError: The kind is unknown.
    """
    stack = flow_stack(features, n_layers=n_layers, hidden=hidden, bins=bins, kind=kind)
    return Chain([stack, UnitCube()])


def zuko_flow(name: str, features: int, *, n_context: int = 0, **options: Any) -> Flow:
    """Take a flow from the zuko library.

    Args:
        name: Class in ``zuko.flows``, such as ``"NSF"``.
        features: Number of features.
        n_context: Size of the context; 0 for none.
        **options: Passed to zuko's class; ``passes=2`` makes couplings of autoregressive flows.

    Returns:
        The flow. Its forward direction is the inverse of zuko's, which runs from data to noise.

    Raises:
        InputError: zuko is not installed, or has no such flow.
    """
    try:
        import zuko
    except ImportError as error:
        raise InputError(f"flow '{name}' needs zuko; run: pip install zuko") from error
    if not hasattr(zuko.flows, name):
        known = sorted(n for n in dir(zuko.flows) if n[0].isupper())
        raise unknown("zuko flow", name, known)
    return _Zuko(getattr(zuko.flows, name)(features, n_context, **options))


class _Zuko(Flow):
    """A zuko flow behind our two methods."""

    def __init__(self, flow: nn.Module) -> None:
        super().__init__()
        self.flow = flow

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.flow(context).transform.inv.call_and_ladj(x)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.flow(context).transform.call_and_ladj(y)
