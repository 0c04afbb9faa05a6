"""One step of a fit, which a CUDA device can capture as a graph and then replay.

A step reads all that changes (the rows, the learning rate, the weights of the terms) from tensors
that stay where they are, and reads nothing back. On a GPU a step spends most of its time in
launching thousands of small kernels one by one. Captured as a CUDA graph they are launched
together, and Python, Pyro included, runs no more.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pyro
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from pyrosynth.modeling import Variant
from pyrosynth.modeling import networks as nn
from pyrosynth.modeling.elbo import SyncFreeELBO
from pyrosynth.training.batches import TrainData
from pyrosynth.training.distributed import ALONE, Processes

WARM_UP = 3  # steps before the capture: what is made only once must be there already

log = logging.getLogger(__name__)


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
        self.networks = [m for m in variant.modules() if rounded and isinstance(m, nn.Network)]
        device = data.x.device
        self.rows = torch.zeros(batch_size, dtype=torch.long, device=device)
        self.weights = torch.zeros(len(elbo.terms), device=device)
        self.capture, self.check = capture and device.type == "cuda", check
        self.processes, self.taken = processes, 0
        self._held: list[float] = []  # what `weights` holds
        self._graph: torch.cuda.CUDAGraph | None = None
        self._loss = self.weights.new_zeros(())  # where the graph leaves the loss

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
        self.taken += 1
        torch.manual_seed(seed)
        if self.capture and self._graph is None and self.taken >= WARM_UP:
            try:
                return self._run_without_waiting() if self.taken == WARM_UP else self._capture()
            except RuntimeError as error:
                self._give_up(str(error))
                torch.manual_seed(seed)
        return self.run() if self._graph is None else self._replay()

    def run(self) -> Tensor:
        """Take the step that the buffers describe, kernel by kernel; return its loss."""
        check = self.check and self.taken == 1
        with (
            nn.rounded(self.networks), pyro.validation_enabled(check),
            self.processes.split(len(self.rows)),
        ):  # fmt: skip
            batch = self.data.batch(self.rows)
            if self.jitter:
                batch["x"] = batch["x"] + self.jitter * torch.randn_like(batch["x"])
            loss = self.elbo.loss(self.variant, batch, self.weights)
        self.optimiser.zero_grad()
        loss.backward()
        loss = self.processes.mean(loss.detach(), self.parameters)
        clip_grad_norm_(self.parameters, self.clip)
        self.optimiser.step()
        return loss

    def _run_without_waiting(self) -> Tensor:
        """Take a step in which waiting for the device is an error, as it is in a capture."""
        before = torch.cuda.get_sync_debug_mode()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that this mode is a prototype
            torch.cuda.set_sync_debug_mode("error")
        try:
            return self.run()
        finally:
            torch.cuda.set_sync_debug_mode(before)

    def _capture(self) -> Tensor:
        """Capture the step, and replay it for the first time."""
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        self.optimiser.param_groups[0]["capturable"] = True
        # The outer context gives the stream back even where the end of a capture fails.
        with torch.cuda.stream(stream), torch.cuda.graph(graph, stream=stream):
            self._loss = self.run()
        self._graph = graph
        return self._replay()

    def _replay(self) -> Tensor:
        """Launch the captured step."""
        assert self._graph is not None
        self._graph.replay()
        return self._loss.clone()

    def _give_up(self, reason: str) -> None:
        """Go on kernel by kernel."""
        self.capture = False
        self.optimiser.param_groups[0]["capturable"] = False
        log.warning(
            "the step of '%s' cannot be captured as a CUDA graph and is taken kernel by kernel, "
            "which is slower; the reason: %s",
            type(self.variant).__name__,
            reason.partition("\n")[0],
        )


@contextmanager
def side_stream(device: torch.device) -> Iterator[None]:
    """Use a stream of one's own on a GPU: nothing can be captured on the default one."""
    if device.type != "cuda":
        yield
        return
    before, stream = torch.cuda.current_stream(device), torch.cuda.Stream(device)
    stream.wait_stream(before)
    with torch.cuda.stream(stream):
        yield
    before.wait_stream(stream)
