"""AdamW that keeps small weights together, for a GPU.

Torch's fused AdamW takes a few dozen tensors to a kernel, and every kernel takes as long as its
largest stretch of 65,536 weights. Hundreds of small tensors take as many kernels as large ones;
put together they take none of their own.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pyrosynth.modeling.adamw import AdamW

SMALL = 65_536  # weights of a tensor
MOMENTS = ("exp_avg", "exp_avg_sq")


class FlatAdamW(AdamW):
    """AdamW whose small parameters become views of one tensor.

    Its state goes out and comes in one parameter at a time, as that of ``torch.optim.AdamW`` does.

    Args:
        parameters: The parameters, all of one type on one device.
        lr: Learning rate, a tensor on the device.
        weight_decay: Decoupled weight decay.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], lr: Tensor, *, weight_decay: float = 1e-2
    ) -> None:
        self.parameters = list(parameters)
        self.small = [p for p in self.parameters if p.numel() < SMALL]
        self.large = [p for p in self.parameters if p.numel() >= SMALL]
        self.idle: list[nn.Parameter] = []  # small ones that have no gradient for the next step
        self.flat = nn.Parameter(_join(self.small, lr))
        for parameter, part in zip(self.small, self._parts(self.flat.data), strict=True):
            parameter.data = part
        super().__init__([self.flat, *self.large], lr, weight_decay=weight_decay, fused=True)

    def _parts(self, flat: Tensor) -> list[Tensor]:
        """Split a tensor of the small weights into views of their shapes."""
        parts = flat.split([p.numel() for p in self.small]) if self.small else ()
        return [part.view_as(p) for part, p in zip(parts, self.small, strict=True)]

    def gather(self) -> list[nn.Parameter]:
        """Put the gradients of small parameters together; return what carries gradients."""
        self.idle = [p for p in self.small if p.grad is None]
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.small]
        self.flat.grad = _join(gradients, self.flat)
        return [self.flat, *self.large]

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Take a step; parameters without a gradient stay as they are."""
        kept = [(p, p.clone()) for p in self.idle]
        super().step(closure)
        for parameter, value in kept:
            parameter.copy_(value)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients."""
        self.flat.grad = None
        for parameter in self.parameters:
            parameter.grad = None

    def release(self) -> None:
        """Give every parameter memory of its own again."""
        for parameter in self.small:
            parameter.data = parameter.data.clone()

    def state_dict(self) -> dict[str, Any]:
        """Return the state, one entry for each parameter."""
        each = dict(self.state)
        if self.flat in each:
            together = each[self.flat]
            moments = (self._parts(together[name]) for name in MOMENTS)
            for parameter, *parts in zip(self.small, *moments, strict=True):
                named = dict(zip(MOMENTS, parts, strict=True))
                each[parameter] = {"step": together["step"], **named}
        state = {i: each[p] for i, p in enumerate(self.parameters) if p in each}
        return {**super().state_dict(), "state": state}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the state back."""
        state = state_dict["state"]
        each = {p: state[i] for i, p in enumerate(self.parameters) if i in state}
        if known := [each[p] for p in self.small if p in each]:
            # One that was never stepped has no entry where each parameter stands alone.
            moments = {
                name: [each[p][name] if p in each else torch.zeros_like(p) for p in self.small]
                for name in MOMENTS
            }
            joined = {name: _join(parts, self.flat) for name, parts in moments.items()}
            each[self.flat] = {"step": known[0]["step"], **joined}
        whole = {i: each[p] for i, p in enumerate([self.flat, *self.large]) if p in each}
        super().load_state_dict({**state_dict, "state": whole})


def _join(tensors: Sequence[Tensor], like: Tensor) -> Tensor:
    """Put all numbers of tensors into one row."""
    if not tensors:
        return like.detach().new_zeros(0)
    return torch.cat([tensor.detach().flatten() for tensor in tensors])
