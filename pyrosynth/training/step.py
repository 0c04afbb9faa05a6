"""One step of a fit.

A step reads all that changes (the rows, the learning rate, the weights of the terms) from tensors
that stay where they are, and reads nothing back, so that a GPU can capture it as a graph.
"""

from collections.abc import Iterable

import pyro
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from pyrosynth.errors import InputError, shown
from pyrosynth.modeling import Variant, networks
from pyrosynth.modeling.elbo import SyncFreeELBO
from pyrosynth.training.batches import TrainData
from pyrosynth.training.capture import Captured
from pyrosynth.training.distributed import ALONE, Processes
from pyrosynth.training.optimiser import FlatAdamW


class Step:
    """One step of a fit: gather, dequantise, loss, gradient, clipping, AdamW.

    Args:
        variant: What is fitted, on the device.
        elbo: Its objective.
        data: The data, on the device.
        optimiser: Fused AdamW whose learning rate is a tensor on the device.
        batch_size: Presets per step of this process.
        clip: Largest norm of the gradient.
        jitter: Standard deviation of the noise added to the features.
        rounded: Whether the products of the large networks are rounded to bfloat16.
        capture: Whether to capture the step as a CUDA graph where the device is a GPU; all steps
            are then to be taken inside one `side_stream`.
        check: Whether Pyro checks shapes and supports in the first step. In all others it must
            not: the checks cost a tenth of a step, and on a GPU they wait for the device.
        processes: The processes that take the step together, each with as many rows.
    """

    def __init__(
        self,
        variant: Variant,
        elbo: SyncFreeELBO,
        data: TrainData,
        optimiser: torch.optim.AdamW,
        *,
        batch_size: int,
        clip: float,
        jitter: float = 0.0,
        rounded: bool = False,
        capture: bool = True,
        check: bool = False,
        processes: Processes = ALONE,
    ) -> None:
        self.variant, self.elbo, self.data, self.optimiser = variant, elbo, data, optimiser
        self.parameters, self.clip, self.jitter = list(variant.parameters()), clip, jitter
        self.networks = [
            m for m in variant.modules() if rounded and isinstance(m, networks.Network)
        ]
        device = data.x.device
        self.rows = torch.zeros(batch_size, dtype=torch.long, device=device)
        self.weights = torch.zeros(len(elbo.terms), device=device)
        self.check, self.processes = check, processes
        self._held: list[float] = []  # what `weights` holds
        what = f"the step of '{type(variant).__name__}'"
        self.captured = Captured(self.run, what, device, capture=capture)
        if self.captured.capture:
            optimiser.param_groups[0]["capturable"] = True

    def __call__(self, number: int, rows: Tensor, rate: float, seed: int) -> Tensor:
        """Take a step.

        Args:
            number: Number of the step, for the weights of the terms.
            rows: Rows of the batch, on the device, shape (batch_size,).
            rate: Learning rate.
            seed: Seed of all noise of the step.

        Returns:
            The loss before the step, shape (), on the device.
        """
        self.rows.copy_(rows)
        self.optimiser.param_groups[0]["lr"].fill_(rate)
        weights = [term.at(number) for term in self.elbo.terms]
        if weights != self._held:
            for place, value in zip(self.weights, weights, strict=True):
                place.fill_(value)  # unlike a copy from the host, this waits for nothing
            self._held = weights
        return self.captured(seed)

    def run(self) -> Tensor:
        """Take the step that the buffers describe, kernel by kernel; return its loss."""
        check = self.check and self.captured.called == 1
        with (
            networks.rounded(self.networks), pyro.validation_enabled(check),
            self.processes.split(len(self.rows)),
        ):  # fmt: skip
            batch = self.data.batch(self.rows)
            if self.jitter:
                batch["x"] = batch["x"] + self.jitter * torch.randn_like(batch["x"])
            loss = self.elbo.loss(self.variant, batch, self.weights)
        self.optimiser.zero_grad()
        loss.backward()
        if check:
            require_dense(self.variant)
        loss = self.processes.mean(loss.detach(), self.parameters)
        parameters: Iterable[nn.Parameter] = self.parameters
        if isinstance(self.optimiser, FlatAdamW):
            parameters = self.optimiser.gather()
        clip_grad_norm_(parameters, self.clip)
        self.optimiser.step()
        return loss


def require_kept(variant: Variant) -> None:
    """Make sure that a model can be learnt and kept: all that it holds are tensors of numbers.

    Raises:
        InputError: Something is none, has no values or shape, or shares memory with itself.
    """
    for name, value in variant.state_dict().items():
        called = f"'{name}' of {type(variant).__name__}"
        if not isinstance(value, Tensor):
            raise InputError(
                f"{called} is {shown(value)}, which a run cannot keep; make it a buffer, or leave "
                "it out of the state"
            )
        if nn.parameter.is_lazy(value):
            raise InputError(f"{called} has no shape, as it is never used; take it away")
        if value.is_meta:
            raise InputError(f"{called} has no values; make it on no device, such as by zeros")
        if value.untyped_storage().nbytes() < value.numel() * value.itemsize:
            raise InputError(f"{called} has one value in several places; add .clone() to it")


def require_dense(variant: Variant) -> None:
    """Make sure that all gradients, once there are some, are those that AdamW takes.

    Raises:
        InputError: One is sparse.
    """
    for name, parameter in variant.named_parameters():
        if parameter.grad is not None and parameter.grad.is_sparse:
            raise InputError(
                f"the gradient of '{name}' of {type(variant).__name__} is sparse, which AdamW "
                "does not take; leave sparse=True out"
            )
