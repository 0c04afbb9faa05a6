"""Work that a GPU records once, as a CUDA graph, and then replays.

A step of a fit launches hundreds of small kernels. On a GPU it spends most of its time in
launching them one by one. Captured as a graph they are launched together, and Python, Pyro
included, runs no more.
"""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

WARM_UP = 3  # calls before the capture: what is made only once must be there already

log = logging.getLogger(__name__)


class Captured:
    """A function that a GPU captures as a graph and then replays.

    It reads all that changes from tensors that stay where they are, and reads nothing back.

    Args:
        function: The function, of no arguments.
        what: What it is, for the warning where it cannot be captured.
        device: Where it runs; nothing is captured but on a CUDA device. All calls are then to be
            made inside one `side_stream`.
        capture: Whether to capture it at all.
        warm_up: Number of the call before which nothing is captured. That call may not wait for
            the device, which a capture may not either.
    """

    def __init__(
        self, function: Callable[[], Tensor], what: str, device: torch.device, *,
        capture: bool = True, warm_up: int = WARM_UP,
    ) -> None:  # fmt: skip
        self.function, self.what, self.warm_up = function, what, warm_up
        self.device = device
        self.capture = capture and device.type == "cuda"
        self.called = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._result = torch.empty(0)  # where the graph leaves it

    def __call__(self, seed: int) -> Tensor:
        """Call the function.

        Args:
            seed: Seed of all its noise.
        """
        self.called += 1
        seed_noise(seed, self.device)
        if self.capture and self._graph is None and self.called >= self.warm_up:
            try:
                return (
                    self._call_without_waiting() if self.called == self.warm_up else self._record()
                )
            except RuntimeError as error:
                self._give_up(str(error))
                seed_noise(seed, self.device)
        return self.function() if self._graph is None else self._replay()

    def _call_without_waiting(self) -> Tensor:
        """Call the function; waiting for the device is an error, as it is in a capture."""
        before = torch.cuda.get_sync_debug_mode()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that this mode is a prototype
            torch.cuda.set_sync_debug_mode("error")
        try:
            return self.function()
        finally:
            torch.cuda.set_sync_debug_mode(before)

    def _record(self) -> Tensor:
        """Capture the function, and replay it for the first time."""
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        # The outer context gives the stream back even where the end of a capture fails.
        with torch.cuda.stream(stream), torch.cuda.graph(graph, stream=stream):
            self._result = self.function()
        self._graph = graph
        return self._replay()

    def _replay(self) -> Tensor:
        """Launch what was captured."""
        assert self._graph is not None
        self._graph.replay()
        return self._result.clone()

    def _give_up(self, reason: str) -> None:
        """Go on kernel by kernel."""
        self.capture = False
        log.warning(
            "%s cannot be captured as a CUDA graph and is taken kernel by kernel, which is "
            "slower; the reason: %s",
            self.what,
            reason.partition("\n")[0],
        )


def seed_noise(seed: int, device: torch.device) -> None:
    """Seed torch's noise on the CPU and on one device.

    The noise is that of ``torch.manual_seed``, which seeds every kind of device there may be, and
    notes from where for those that are not in use. That takes longer than many a kernel, and it
    would change the noise of other GPUs, which nobody gives back afterwards.

    Args:
        seed: The seed.
        device: The device, a CPU or a GPU. Graphs that it has captured see the seed too.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.init()  # there are no generators before; does nothing if done already
        index = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.default_generators[index].manual_seed(seed)


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
