"""What the trials of held-out presets add up to: scores of each method, and calibration."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyrosynth.audio.descriptors import NAMES
from pyrosynth.evaluation.cache import Arrays
from pyrosynth.evaluation.calibration import (
    LEVELS,
    coverage_table,
    density_uniform,
    expected_range,
    rank_uniform,
    region_coverage,
    tarp_uniform,
)
from pyrosynth.evaluation.tables import Scores, drawn, measured
from pyrosynth.evaluation.trials import Trials

Float = NDArray[np.float64]

TRUTH = "truth, rendered again"


@dataclass(frozen=True)
class Findings:
    """The results of a check's trials.

    Args:
        trials: The sounds; their presets are known.
        draws: Number of posterior draws of each.
        answers: Native values that rivals answered, shape (n, n_params) each.
        rivals: From ``Trials.rivals``.
        played: From ``Trials.play``.
        searched: From ``Trials.infer`` and ``Trials.evolve``, by method.
    """

    trials: Trials
    draws: int
    answers: Mapping[str, Float]
    rivals: Arrays
    played: Arrays
    searched: Mapping[str, Arrays]

    @cached_property
    def scores(self) -> dict[str, Scores]:
        """Scores of each method: guesses first, then draws and searches, the truth last."""
        rivals = {
            name: Scores(measured(self.rivals, np.s_[:, i]), 0)
            for i, name in enumerate(self.answers)
        }
        own = drawn(self.played, self.draws)
        for name, found in self.searched.items():
            own[name] = Scores(measured(found), float(np.mean(found["renders"])))
        return {**rivals, **own, TRUTH: Scores(measured(self.played, np.s_[:, -1]), 0)}

    @property
    def inferred(self) -> str | None:
        """What the full inference is called, if it was run."""
        return next((name for name in self.searched if name.startswith("infer")), None)

    @property
    def best(self) -> str:
        """The method that shows what the run can do: inference, else the nearest draw."""
        own = [name for name in self.scores if name.startswith(("one draw", "best of"))]
        return self.inferred or own[-1]

    @cached_property
    def uniform(self) -> dict[str, Float]:
        """Numbers that are uniform on (0, 1) if the run is calibrated.

        ``parameters`` (n, n_learnt), ``TARP`` (n,), if sounds were described ``descriptors``
        (n, n_descriptors) and, where the variant's density is exact, ``highest density`` (n,).
        """
        rng = np.random.default_rng(self.trials.seed)
        v, truth = self.played["v"].swapaxes(0, 1), self.played["v_true"]
        found = {
            "parameters": rank_uniform(v, truth, rng),
            "TARP": tarp_uniform(v, truth, rng.random(truth.shape), rng),
        }
        if "descriptors" in self.played:
            heard = self.played["descriptors"]
            # A draw that cannot be played is as far off as can be, not missing.
            guesses = np.nan_to_num(heard[:, : self.draws], nan=-np.inf).swapaxes(0, 1)
            found["descriptors"] = rank_uniform(guesses, heard[:, -1], rng)
        log_q = self.played["log_q_true"]
        if np.isfinite(log_q).all():
            found["highest density"] = density_uniform(self.played["log_q"].T, log_q, rng)
        return found

    @property
    def joint(self) -> dict[str, Float]:
        """The uniform numbers of the tests of all parameters together."""
        names = ("highest density", "TARP")
        return {name: self.uniform[name] for name in names if name in self.uniform}

    def coverage(self) -> dict[str, Any]:
        """Return how often intervals and regions of ``LEVELS`` hold the truth, JSON-ready."""
        params = self.trials.targets.space.names
        n = len(self.trials.targets)
        parameters = dict(coverage_table(self.uniform["parameters"], params))
        regions = {
            name: [float(region_coverage(numbers, level)) for level in LEVELS]
            for name, numbers in self.joint.items()
        }
        means = np.mean(list(parameters.values()), axis=0).tolist()
        return {
            "levels": list(LEVELS),
            "expected_by_chance": [list(expected_range(level, n)[1:]) for level in LEVELS],
            "coverage": {"mean of parameters": means, **regions},
            "coverage_of_parameters": parameters,
            "coverage_of_descriptors": dict(coverage_table(self.uniform["descriptors"], NAMES)),
        }
