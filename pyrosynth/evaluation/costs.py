"""What axes of tags cost: how near a run comes to sounds, beside one without tags."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyrosynth.audio.descriptors import Heard
from pyrosynth.data.dataset import Dataset
from pyrosynth.evaluation.targets import held_out
from pyrosynth.evaluation.trials import Trials
from pyrosynth.inference.posterior import Posterior
from pyrosynth.statistics import Interval, paired_difference, relative_difference
from pyrosynth.synths.rendering import Renderer
from pyrosynth.training.fit import require_same_contract

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Cost:
    """Two runs that met the same held-out sounds.

    Attributes:
        model: Name of the other run's variant.
        draws: Draws of each sound's posterior, of which the nearest is the answer.
        lsd: Distance of each answer of the run in dB, shape (n,).
        other_lsd: That of the other run, shape (n,).
    """

    model: str
    draws: int
    lsd: Float
    other_lsd: Float

    @property
    def difference(self) -> Interval:
        """Mean of the differences in dB; positive where tags cost something."""
        return paired_difference(self.lsd, self.other_lsd)

    @property
    def share(self) -> Interval:
        """By which share the mean distance is larger than that of the other run."""
        return relative_difference(self.lsd, self.other_lsd)

    def to_json(self) -> dict[str, Any]:
        """Return the figures."""
        return {
            "beside": self.model, "n_presets": len(self.lsd), "draws": self.draws,
            "lsd_db": float(self.lsd.mean()), "other_lsd_db": float(self.other_lsd.mean()),
            "difference_db": list(self.difference), "share": list(self.share),
        }  # fmt: skip


def cost(
    posterior: Posterior,
    other: Posterior,
    dataset: Dataset,
    folder: str | Path,
    *,
    n_presets: int | None = None,
    draws: int = 16,
    seed: int = 0,
    workers: int | None = None,
    progress: bool = True,
) -> Cost:
    """Let two runs meet the same held-out presets by the nearest of some draws.

    What was rendered is kept below ``folder``; called again, it goes on where it was.

    Args:
        posterior: The run with tags.
        other: One fitted alike, without.
        dataset: The dataset both were fitted on.
        folder: Where results are kept.
        n_presets: Number of held-out presets, picked at random; None for all.
        draws: Draws of each.
        seed: Of everything random.
        workers: Processes that render; all cores if left out.
        progress: Whether to show progress bars.

    Raises:
        DataError: A run is of another synth, note, parameters or features, or there are no
            held-out presets.
    """
    targets = held_out(dataset, n_presets, seed)
    spec = posterior.run.features
    nearest = []
    with (
        Renderer(
            posterior.synth, posterior.run.note, spec.sample_rate, workers=workers,
            transform=Heard(spec), keep_audio=False,
        ) as listener,
        posterior.renderer(workers) as searcher,
    ):  # fmt: skip
        trials = Trials(targets, Path(folder), listener, searcher, seed, progress)
        for one in (posterior, other):
            require_same_contract(one.run, dataset)
            nearest.append(trials.play(one, draws)["lsd"][:, :draws].min(axis=1))
    return Cost(type(other.variant).__name__, draws, *nearest)
