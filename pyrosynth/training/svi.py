"""Stochastic variational inference: the loop that maximises the objective of a variant.

Every random number of a step depends on the seed and the step's number alone. So a fit that was
stopped goes on exactly as if it had not been, and torch's own generators are left as they were.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyro
import torch
from torch import Tensor
from tqdm.auto import tqdm

from pyrosynth.errors import MOST, InputError, checked_seed, integer, number, unknown, unseen
from pyrosynth.modeling import Variant
from pyrosynth.modeling.adamw import AdamW
from pyrosynth.modeling.elbo import SyncFreeELBO
from pyrosynth.modeling.recipes import plain
from pyrosynth.threads import collected_interrupts
from pyrosynth.training.batches import TrainData, seed_of
from pyrosynth.training.capture import Captured, seed_noise, side_stream
from pyrosynth.training.distributed import ALONE, Processes
from pyrosynth.training.optimiser import FlatAdamW
from pyrosynth.training.state import History, Row, TrainingState
from pyrosynth.training.step import Step, require_kept
from pyrosynth.training.torch_modes import plain_torch
from pyrosynth.training.uncertainty import FEWEST, coverage_error, shares_denser, watched

if TYPE_CHECKING:
    from pyrosynth.training.stream import StreamedData

CHECKPOINT = "checkpoints/last.safetensors"  # inside the folder of a run
LIMITS: dict[str, tuple[Any, float, float | None]] = {  # of arguments that commands take, too
    "steps": (integer, 1, 10**9),
    "batch_size": (integer, 1, MOST),
    "lr": (number, 1e-12, 1000.0),
    "patience": (integer, 1, None),
    "threads": (integer, 1, 1024),
}
LOOKED_AT = 8192  # training sounds that a variant may look at before the first step
SCORED = 256  # held-out rows that are scored at once, or more where batches are larger
SCORED_BY_GPU = 4096  # the same on a GPU
# Steps between two looks at the loss; each look waits for the device.
CHECK_EVERY = {"cpu": 25, "cuda": 100}


@plain_torch(gradients=True)
def fit(
    variant: Variant,
    data: "TrainData | StreamedData",
    *,
    steps: int = 4000,
    batch_size: int = 256,
    lr: float = 1e-3,
    warm_up: int = 200,
    weight_decay: float = 1e-2,
    clip: float = 20.0,
    jitter: float = 0.0,
    halve_after: int | None = None,
    validate_every: int = 250,
    patience: int | None = None,
    precision: Literal["bfloat16", "tf32"] | None = None,
    seed: int = 0,
    device: str = "cpu",
    threads: int | None = None,
    capture: bool = True,
    initialise: bool = True,
    out: Path | None = None,
    resume: bool = False,
    progress: bool = True,
    processes: Processes = ALONE,
) -> History:
    """Fit a variant by stochastic variational inference with AdamW.

    The weights that did best on the held-out rows are kept, on the device: those of the highest
    log q(v|x), less what they are too sure or too unsure, see `pyrosynth.training.state.score`.

    Args:
        variant: What to fit, in place.
        data: The sounds and parameters, in memory or to be read during the fit.
        steps: Number of steps.
        batch_size: Presets per step.
        lr: Highest learning rate.
        warm_up: Steps over which the learning rate rises to it.
        weight_decay: AdamW's weight decay.
        clip: Largest norm of the gradient.
        jitter: Standard deviation of noise added to the standardised features in training.
        halve_after: Validations without improvement after which the rate is halved; None lets it
            fall to 0 over the steps along a cosine.
        validate_every: Steps between two validations; checkpoints are written after them.
        patience: Validations without improvement after which to stop; None never stops early.
        precision: ``"bfloat16"`` rounds the products of the large networks in the steps, which is
            faster on processors made for it; ``"tf32"`` shortens the factors of all products on a
            GPU to 10 bits of mantissa, as torch does those of convolutions anyway; None computes
            in float32 throughout.
        seed: Fixes every random number.
        device: ``"cpu"`` or ``"cuda"``.
        threads: Torch threads during the fit; None leaves the setting alone.
        capture: Whether to capture the step as a CUDA graph on a GPU, see
            `pyrosynth.training.step`.
        initialise: Whether the variant looks at sounds before the first step, as one does that
            has not been fitted yet.
        out: Folder of the run, for checkpoints; None keeps none.
        resume: Go on from the checkpoint in ``out``, if there is one. Only ``steps`` may differ
            from the stopped fit's; the rate then goes on along the new schedule.
        progress: Whether to show a progress bar.
        processes: The processes that take every step together, each with its part of the batch.

    Returns:
        The history.

    Raises:
        InputError: There is no such device, or there are no training rows.
        RunError: The loss is not finite any more, or the checkpoint cannot be used.
        KeyboardInterrupt: The fit was interrupted; a checkpoint has been written.
    """
    target = find_device(device)
    steps, batch_size = checked("steps", steps), checked("batch_size", batch_size)
    validate_every = integer("validate_every", validate_every, 1)
    warm_up = integer("warm_up", warm_up, 0)
    lr, clip, jitter = checked("lr", lr), number("clip", clip, 0), number("jitter", jitter, 0)
    weight_decay, seed = number("weight_decay", weight_decay, 0), checked_seed(seed)
    patience = None if patience is None else checked("patience", patience)
    halve_after = None if halve_after is None else integer("halve_after", halve_after, 1)
    if data.n_train == 0:
        raise InputError("there are no training rows; render more presets")
    check_precision(precision)
    settings = plain({  # what decides most comes first: of a refusal the first is named
        "variant": type(variant).__name__, "hyperparameters": variant.hyperparameters(),
        "steps": steps, "batch_size": batch_size, "lr": lr, "warm_up": warm_up,
        "weight_decay": weight_decay, "clip": clip, "jitter": jitter,
        "halve_after": halve_after, "validate_every": validate_every, "patience": patience,
        "precision": precision, "seed": seed, "data": data.fingerprint(),
        "buffer_chunks": data.buffer_chunks,
    })  # fmt: skip
    require_kept(variant)
    variant.to(target, torch.float32)
    batch_size = min(batch_size, data.n_train)
    rows_each = processes.rows_each(batch_size)
    elbo = SyncFreeELBO(variant.terms)
    optimiser = adamw(variant, lr, weight_decay)
    file = out and Path(out) / CHECKPOINT
    state = TrainingState(variant, optimiser, settings, file, processes.leads)
    state.restore(resume, target)
    bar = tqdm(
        desc="fit", total=steps * batch_size, initial=state.step * batch_size, unit=" presets",
        unit_scale=True, disable=unseen(progress), dynamic_ncols=True,
    )  # fmt: skip
    gpus = [target] if target.type == "cuda" else []
    waiting: list[Tensor] = []
    halved = state.halved(halve_after)
    with (
        bar, torch_threads(threads), shortened(precision == "tf32"),
        torch.random.fork_rng(gpus), side_stream(target),
        data.batches(target, batch_size, seed) as batches,
        # A second Ctrl-C stops at once; `torchrun` passes on what the terminal has sent as well.
        collected_interrupts(patiently=processes.n > 1) as pressed,
    ):  # fmt: skip
        if state.step == 0:
            seed_noise(seed_of(seed, 3, 1), target)
            if initialise:
                seen = batches.data.standardised(batches.first(LOOKED_AT))
                variant.initialise(seen, batches.data.mean, batches.data.std)
            processes.copy_first(variant)
        take = Step(
            variant, elbo, batches.data, optimiser,
            batch_size=rows_each, clip=clip, jitter=jitter, rounded=precision == "bfloat16",
            capture=capture, check=True, processes=processes,
        )  # fmt: skip
        score = _Validation(variant, elbo, batches.data, batch_size, capture=capture)
        while state.step < steps and state.stopped(patience) is None:
            step = state.step
            rows = processes.part(batches(step))
            rate = lr * min(1.0, (step + 1) / max(1, warm_up))
            rate *= _cosine(step, steps) if halve_after is None else halved
            waiting.append(take(step, rows, rate, seed_of(seed, 1, step)))
            state.step += 1
            bar.update(batch_size)

            validate = state.step % validate_every == 0 or state.step == steps
            look = validate or len(waiting) == CHECK_EVERY[target.type]
            # Several processes have to stop at the same step, which they agree on when they look.
            stop = (look or processes.n == 1) and processes.any(bool(pressed))
            if look or stop:
                state.read(waiting)
            if validate:
                row = processes.of_first(partial(score, seed, elbo.weights(steps, target)))
                state.record({"step": state.step, "lr": rate, **row})
                halved = state.halved(halve_after)
                bar.set_postfix({k[6:]: f"{v:.2f}" for k, v in row.items()}, refresh=False)
            over = state.step == steps or state.stopped(patience) is not None
            if stop or (validate and (over or state.due())):
                state.save()
            if stop:
                break
        if processes.any(bool(pressed)):  # perhaps while the last step was validated
            raise KeyboardInterrupt(f"stopped after step {state.step}; {state.how_to_resume()}")
    variant.load_state_dict(state.best)
    variant.eval()
    if isinstance(optimiser, FlatAdamW):
        optimiser.release()
    stopped = state.stopped(patience) or "finished"
    return History(state.rows, state.best_step, stopped, *state.times)


def adamw(variant: Variant, lr: float, weight_decay: float) -> AdamW:
    """Return a fused AdamW whose rate is a tensor, so that a captured step sees it change."""
    parameters, device = list(variant.parameters()), variant.origin.device
    if not any(parameter.requires_grad for parameter in parameters):
        name = type(variant).__name__
        raise InputError(f"{name} has no parameters to learn; make layers attributes, not frozen")
    rate = torch.tensor(lr, dtype=torch.float32, device=device)
    if device.type == "cuda":
        return FlatAdamW(parameters, rate, weight_decay=weight_decay)
    return AdamW(parameters, rate, weight_decay=weight_decay, fused=True)


def find_device(name: str) -> torch.device:
    """Turn a device's name into a device that is there.

    Raises:
        InputError: The name is unknown, or there is no such device.
    """
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"unknown device '{name}'; give cpu or cuda") from error
    if device.type not in ("cpu", "cuda") or device.type == "cpu" and device.index:
        raise InputError(f"device '{name}' is not supported; give cpu or cuda")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"device '{name}' was asked for, but torch sees {torch.cuda.device_count()} CUDA "
            "devices; use cpu, or install a driver and a CUDA build of torch"
        )
    return device


def check_precision(name: str | None) -> None:
    """Make sure that a precision is None or known.

    Raises:
        InputError: It is not.
    """
    if name not in (None, "bfloat16", "tf32"):
        raise unknown("precision", name, ("bfloat16", "tf32"))


def _cosine(step: int, steps: int) -> float:
    """Return the factor that falls from 1 to 0 along half a cosine."""
    return 0.5 * (1 + math.cos(math.pi * step / steps))


class _Validation:
    """Scores the held-out rows, if there are any.

    Args:
        variant: What is fitted.
        elbo: Its objective.
        data: The data, on the device.
        batch_size: Rows of a step; at least as many are scored at once.
        capture: Whether a GPU may capture the work.
    """

    def __init__(
        self, variant: Variant, elbo: SyncFreeELBO, data: TrainData, batch_size: int, *,
        capture: bool,
    ) -> None:  # fmt: skip
        self.variant, self.elbo, self.data = variant, elbo, data
        device = data.x.device
        at_once = SCORED_BY_GPU if device.type == "cuda" else SCORED
        self.rows = data.valid.split(max(batch_size, at_once))
        self.watched = watched(data.valid)
        what = f"the validation of '{type(variant).__name__}'"
        self.terms, self.shares = (
            Captured(function, what, device, capture=capture, warm_up=2)
            for function in (self._terms, self._shares)
        )

    @torch.no_grad()
    def __call__(self, seed: int, weights: Tensor) -> Row:
        """Return the figures of a row of the history.

        Args:
            seed: Seed of the fit.
            weights: Weights of the terms, shape (n_terms,).
        """
        if len(self.data.valid) == 0:
            return {}
        self.variant.eval()
        *terms, log_q, known = self.terms(seed_of(seed, 2, 0)).tolist()
        row: Row = {}
        if len(self.data.valid) >= FEWEST and self.data.has_v is None and self.variant.exact:
            row["valid_coverage_error"] = coverage_error(self.shares(seed_of(seed, 2, 1)))
        self.variant.train()
        terms = [term / len(self.data.valid) for term in terms]
        loss = -sum(w * t for w, t in zip(weights.tolist(), terms, strict=True))
        likelihood = {"valid_log_q": log_q / known} if known else {}
        each = {f"valid_{t.name}": v for t, v in zip(self.elbo.terms, terms, strict=True)}
        return {"valid_loss": loss, **likelihood, **each, **row}

    def _shares(self) -> Tensor:
        """Look at the coverage of some rows: the shares of draws that are denser than they."""
        batch = self.data.batch(self.watched)
        with pyro.validation_enabled(False):
            return shares_denser(self.variant, batch["x"], batch["v"])

    def _terms(self) -> Tensor:
        """Return each term and log q(v|x), summed over the rows, and how many know their v."""
        sums = []
        with pyro.validation_enabled(False):
            for rows in self.rows:
                batch = self.data.batch(rows)
                terms = len(rows) * self.elbo.values(self.variant, batch)
                log_q = self.variant.log_prob_v(batch["v"], batch["x"])
                known = batch.get("has_v", torch.ones_like(rows, dtype=torch.bool))
                log_q = torch.where(known, log_q, 0.0).sum()
                sums.append(torch.cat([terms, torch.stack([log_q, known.sum()])]))
        return torch.stack(sums).sum(0)


def checked(name: str, value: Any) -> Any:
    """Return an argument as a plain number.

    Raises:
        InputError: It is out of range.
    """
    kind, low, high = LIMITS[name]
    return kind(name, value, low, high)


@contextmanager
def torch_threads(n: int | None) -> Iterator[None]:
    """Use a number of torch threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(before if n is None else checked("threads", n))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def shortened(wanted: bool) -> Iterator[None]:
    """Let a GPU shorten the factors of products to TF32 for a while."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = before or wanted
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
