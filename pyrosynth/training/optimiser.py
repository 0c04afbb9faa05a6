"""AdamW that keeps small weights together, for a GPU.

Torch's fused AdamW takes a few dozen tensors to a kernel, and every kernel takes as long as its
largest stretch of 65,536 weights. Hundreds of small tensors take as many kernels as large ones;
put together they take none of their own.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

SMALL = 65_536  # weights of a tensor


class FlatAdamW(torch.optim.AdamW):
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
        self.idle: list[nn.Parameter] = []  # those that the last step has no gradient for
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
        self.idle = [p for p in self.parameters if p.grad is None]
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
        whole = super().state_dict()
        state: dict[int, dict[str, Tensor]] = {}
        for i, parameter in enumerate(self._owners()):
            if i not in whole["state"]:
                continue
            entry = whole["state"][i]
            if parameter is not None:
                state[self._number(parameter)] = entry
                continue
            moments = zip(*(self._parts(entry[name]) for name in MOMENTS), strict=True)
            for small, (first, second) in zip(self.small, moments, strict=True):
                names = dict(zip(MOMENTS, (first, second), strict=True))
                state[self._number(small)] = {"step": entry["step"], **names}
        return {**whole, "state": state}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the state back."""
        each, state = state_dict["state"], {}
        for i, parameter in enumerate(self._owners() if each else ()):
            if parameter is not None:
                state[i] = each.get(self._number(parameter))
            elif self.small:
                entries = [each.get(self._number(p)) for p in self.small]
                known = next((entry for entry in entries if entry), None)
                if known:
                    state[i] = {"step": known["step"]} | {
                        name: _join(
                            [e[name] if e else torch.zeros_like(p)
                             for e, p in zip(entries, self.small, strict=True)], self.flat,
                        )
                        for name in MOMENTS
                    }  # fmt: skip
        state = {i: entry for i, entry in state.items() if entry}
        super().load_state_dict({**state_dict, "state": state})

    def _owners(self) -> list[nn.Parameter | None]:
        """Return whose state each entry of torch's holds, None for all small ones."""
        return [None, *self.large]

    def _number(self, parameter: nn.Parameter) -> int:
        return next(i for i, p in enumerate(self.parameters) if p is parameter)


MOMENTS = ("exp_avg", "exp_avg_sq")


def _join(tensors: Sequence[Tensor], like: Tensor) -> Tensor:
    """Put all numbers of tensors into one row."""
    if not tensors:
        return like.detach().new_zeros(0)
    return torch.cat([tensor.detach().flatten() for tensor in tensors])
