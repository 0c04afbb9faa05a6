"""The state of a fit: where it stands, what happened so far, and the checkpoint of both.

Files of tensors are written whole or not at all, and read without running code.
"""

import hashlib
import json
import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from pyrosynth.errors import RunError, reading
from pyrosynth.files import difference, regular_file, write_bytes
from pyrosynth.modeling import Variant

COVERAGE_NATS = 10.0  # what an error of coverage of 1 counts for
SAVE_EVERY = 30.0  # seconds between two checkpoints, at least

Row = dict[str, float]


@dataclass
class History:
    """What happened during a fit.

    Args:
        rows: One per validation: ``step``, ``lr``, ``loss`` (training, mean since the row
            before) and, on the held-out rows, ``valid_loss``, ``valid_log_q`` (log q(v|x), nats
            per preset), each term as ``valid_<name>``, and, where the density is exact,
            ``valid_coverage_error`` (how far shares of truths are from their levels, averaged over
            highest-density regions of 50, 80 and 90 %).
        best_step: Step of the weights that were kept.
        stopped: ``"finished"``, or ``"early"`` when validation had stopped improving.
        seconds: Duration of the fit, over all calls that it took.
        cpu_seconds: Processor time of this process meanwhile.
    """

    rows: list[Row] = field(default_factory=list)
    best_step: int = 0
    stopped: str = "finished"
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def summary(self) -> str:
        """Say in a sentence which weights were kept, and how good they are on held-out presets."""
        if not self.rows:
            return "no step was taken."
        kept = next((row for row in self.rows if row["step"] == self.best_step), self.rows[-1])
        last = int(self.rows[-1]["step"])
        told = f"the weights of step {self.best_step} of {last} are kept, after "
        told += f"{self.seconds / 60:.1f} minutes"
        if "valid_log_q" in kept:
            told += (
                f"; held-out presets have {kept['valid_log_q']:.1f} nats of log q(v|x) on average "
                "(more is better)"
            )
        if "valid_coverage_error" in kept:
            told += (
                f", and regions hold {100 * kept['valid_coverage_error']:.0f} % more or fewer of "
                "them than they should"
            )
        return f"{told}."


def likelihood(row: Row) -> float:
    """Return what a fit maximises, on the held-out rows; without them, later is better."""
    return row.get("valid_log_q", -row["valid_loss"] if "valid_loss" in row else row["step"])


def score(row: Row) -> float:
    """Return what the kept weights maximise: the likelihood, less what they are too sure.

    A fit that learns its training presets by heart goes on to gain log q(v|x) on relatives of
    theirs, and becomes too sure of all others. So regions that hold 5 % too few or too many of
    the held-out presets cost as much as half a nat.
    """
    return likelihood(row) - COVERAGE_NATS * row.get("valid_coverage_error", 0.0)


class TrainingState:
    """The state of a fit between two steps, and its checkpoint.

    Args:
        variant: What is fitted.
        optimiser: What fits it.
        settings: JSON-ready arguments of the fit; a checkpoint made with others is refused.
        path: The checkpoint's file; None keeps none.
        writes: Whether it is this process that writes it; all read it.
    """

    def __init__(
        self,
        variant: Variant,
        optimiser: torch.optim.Optimizer,
        settings: dict[str, Any],
        path: Path | None,
        writes: bool = True,
    ) -> None:
        self.writes = writes
        self.variant, self.optimiser, self.settings, self.path = variant, optimiser, settings, path
        self.step, self.best_step = 0, 0
        self.rows: list[Row] = []
        self.losses: list[float] = []  # since the last row
        self.best = _copy(variant.state_dict())
        self._saved = -math.inf
        self._began = time.monotonic(), time.process_time()

    @property
    def times(self) -> tuple[float, float]:
        """Seconds spent so far, by the clock and by the processor."""
        return time.monotonic() - self._began[0], time.process_time() - self._began[1]

    def read(self, waiting: list[Tensor]) -> None:
        """Read losses back from the device and make sure that they are finite."""
        values = torch.stack(waiting).tolist()
        first = self.step - len(values)
        waiting.clear()
        for i, value in enumerate(values):
            if not math.isfinite(value):
                kept = (
                    f"; the last good checkpoint is '{self.path}'"
                    if self.path and self.path.exists()
                    else ""
                )
                raise RunError(
                    f"the loss became {value} at step {first + i + 1}; lower lr, or look for "
                    f"values that are not finite in the data{kept}"
                )
        self.losses += values

    def record(self, row: Row) -> None:
        """Add a row to the history, and keep the weights if they are the best so far."""
        self.rows.append({"loss": sum(self.losses) / len(self.losses), **row})
        self.losses.clear()
        scores = [score(row) for row in self.rows]
        if scores[-1] == max(scores):
            self.best, self.best_step = _copy(self.variant.state_dict()), self.step

    def stopped(self, patience: int | None) -> str | None:
        """Say whether validation has stopped improving."""
        if patience is None:
            return None
        late = sum(row["step"] > self.best_step for row in self.rows)
        return "early" if late >= patience else None

    def halved(self, patience: int | None) -> float:
        """Return 2 to the minus number of times that validation has stalled so long."""
        best, late, halvings = -math.inf, 0, 0
        for row in self.rows:
            late = 0 if likelihood(row) > best else late + 1
            best = max(best, likelihood(row))
            if late == patience:
                late, halvings = 0, halvings + 1
        return 0.5**halvings

    def due(self) -> bool:
        """Say whether the last checkpoint is old: fast steps shall not wait for slow disks."""
        return time.monotonic() - self._saved > SAVE_EVERY

    def save(self) -> None:
        """Write the checkpoint."""
        if self.path is None or not self.writes:
            return
        self._saved = time.monotonic()
        tensors = {f"model.{k}": t for k, t in self.variant.state_dict().items()}
        tensors |= {f"best.{k}": t for k, t in self.best.items()}
        for i, moments in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{i}.{k}": t for k, t in moments.items()}
        info = {
            "settings": self.settings, "step": self.step, "best_step": self.best_step,
            "rows": self.rows, "losses": self.losses, "times": self.times,
        }  # fmt: skip
        write_tensors(self.path, tensors, {**info, "sha256": _digest(tensors, info)})

    def restore(self, resume: bool, device: torch.device) -> None:
        """Go on from the checkpoint, if there is one."""
        if self.path is None or not self.path.exists():
            return
        if not resume:
            raise RunError(
                f"'{self.path}' holds an earlier fit; give resume=True to go on, or another folder"
            )
        tensors, info = read_tensors(self.path, device)
        with reading(RunError, f"'{self.path}' is damaged", "delete it to fit from the start"):
            if info.pop("sha256") != _digest(tensors, info):
                raise ValueError("other tensors than were saved")
        held, asked = dict(info["settings"]), self.settings
        if info["step"] < asked["steps"]:
            # A stopped fit may be made longer or shorter: a step reads its rate off the new one.
            held["steps"] = asked["steps"]
        if found := difference(held, asked):
            raise RunError(
                f"'{self.path}' was fitted with {found}; resume with the same settings or choose "
                "another folder"
            )
        self.step, self.best_step = info["step"], info["best_step"]
        self.rows, self.losses = info["rows"], info["losses"]
        clock, processor = info["times"]
        self._began = self._began[0] - clock, self._began[1] - processor
        self.variant.load_state_dict(_part(tensors, "model."))
        self.best = _part(tensors, "best.")
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _part(tensors, "optimiser.").items():
            i, key = name.split(".")
            state.setdefault(int(i), {})[key] = tensor
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": state})

    def how_to_resume(self) -> str:
        """Say how to go on."""
        if self.path is None:
            return "nothing was saved, since no folder was given (out=...)"
        return f"the same fit into the same folder goes on ('{self.path}')"


def settings_of(path: Path) -> dict[str, Any] | None:
    """Return the settings of the fit whose checkpoint a file is, None if there is no file.

    Raises:
        RunError: The file is damaged.
    """
    if not path.exists():
        return None
    with (
        reading(RunError, f"'{path}' is damaged", "delete it to fit from the start"),
        safetensors.safe_open(regular_file(path), framework="pt") as file,
    ):
        return dict(json.loads(file.metadata()["info"])["settings"])


def _copy(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in state.items()}


def _digest(tensors: dict[str, Tensor], info: dict[str, Any]) -> str:
    """Return a hash of all that a checkpoint holds: a disk may damage it without a word."""
    digest = hashlib.sha256(json.dumps(info, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        content = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
        digest.update(name.encode() + content.numpy().tobytes())
    return digest.hexdigest()


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}


def write_tensors(path: Path, tensors: dict[str, Tensor], info: dict[str, Any]) -> None:
    """Write tensors as safetensors, with JSON in the header: one file, so they always agree.

    Args:
        path: Where to write.
        tensors: What to write, by name.
        info: JSON-ready facts that belong to the tensors.

    Raises:
        InputError: The file cannot be written.
    """
    # Clones, as tensors that share their memory are refused.
    whole = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    write_bytes(path, safetensors.torch.save(whole, {"info": json.dumps(info)}))


def halved(tensor: Tensor) -> Tensor:
    """Round floats to 16 bits, unless the largest of them is too large or too small for that."""
    if not tensor.is_floating_point():
        return tensor
    half = tensor.half()
    kept = tensor.numel() == 0 or (half - tensor).abs().max() <= tensor.abs().max() / 1000
    return half if kept else tensor


def read_tensors(path: Path, device: torch.device | str = "cpu") -> tuple[dict[str, Tensor], Any]:
    """Read what ``write_tensors`` wrote.

    Returns:
        The tensors, on the device, and the facts.

    Raises:
        RunError: The file is missing or damaged.
    """
    if not path.exists():
        raise RunError(f"'{path}' is missing; the run is incomplete")
    with reading(RunError, f"'{path}' is damaged", "delete it or fit again"):
        with safetensors.safe_open(regular_file(path), framework="pt", device=str(device)) as file:
            info = json.loads(file.metadata()["info"])
            return {name: file.get_tensor(name) for name in file.keys()}, info  # noqa: SIM118
