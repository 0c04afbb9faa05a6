"""The answers for a sound: draws of the posterior, and the presets that a search has tried."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

import pyrosynth.report as report
from pyrosynth.audio.io import Audio, save_audio
from pyrosynth.errors import InputError, RunError, counted, number, require_shapes, shown
from pyrosynth.files import checked_path, write_bytes
from pyrosynth.synths.presets import Preset, own_columns, preset_json
from pyrosynth.training.uncertainty import conformal_quantile

if TYPE_CHECKING:
    from arviz import InferenceData
    from pandas import DataFrame

    from pyrosynth.inference.posterior import Posterior


def given_presets(v: NDArray[Any]) -> NDArray[Any]:
    """Return what a model gives as presets, on the unit cube, shape (..., n_learnt).

    Raises:
        RunError: Some of it is no finite number.
    """
    if not np.isfinite(v).all():
        raise RunError(
            "the model of the run gives presets with numbers that are not finite; correct its "
            "code, or fit it again with --force (force=True)"
        )
    return v


def _require_run(what: str, posterior: Any) -> None:
    if not hasattr(posterior, "run"):
        raise InputError(f"{what} is {shown(posterior)}; give Posterior.load(folder)")


@dataclass(frozen=True, eq=False, repr=False)
class Draws:
    """Presets drawn from the posterior of one sound.

    Attributes:
        v: Points of the unit cube, shape (n, n_learnt).
        values: Native values of all parameters, shape (n, n_params).
        log_q: log q(v|x) in nats, shape (n,).
        x: Features of the sound, shape (n_mels, n_frames).
        posterior: The run that they were drawn from.

    Raises:
        InputError: The parts do not belong together.

    Example:
        >>> import pyrosynth as ps
        >>> posterior = ps.Posterior.load("run")  # doctest: +SKIP
        >>> draws = posterior.sample(x, 64)  # doctest: +SKIP
        >>> draws.to_dataframe()["filter_cutoff"].median()  # doctest: +SKIP
        0.62
        >>> az.plot_posterior(draws.to_inference_data())  # doctest: +SKIP
    """

    v: NDArray[np.float32]
    values: NDArray[np.float64]
    log_q: NDArray[np.float32]
    x: NDArray[np.float32]
    posterior: "Posterior"

    def __post_init__(self) -> None:
        """Make sure that the parts belong together."""
        _require_run("posterior of draws", self.posterior)
        run = self.posterior.run
        require_shapes(
            "draws",
            {
                "v": (self.v, ("n", len(run.space))),
                "values": (self.values, ("n", len(run.full_space))),
                "log_q": (self.log_q, ("n",)), "x": (self.x, ("n_mels", "n_frames")),
            },
        )  # fmt: skip

    def __len__(self) -> int:
        """Return the number of draws."""
        return len(self.log_q)

    def region_threshold(self, level: float = 0.9) -> float:
        """Return the log q(v|x) above which presets lie in the region of a level.

        The region is of all controls together. It is conformal: of presets like those of the
        validation split, that share lies in it, whatever is wrong with the density. That is so on
        average over all sounds; of presets unlike any that was learnt it holds fewer.

        Args:
            level: Share of presets that it is to hold, between 0 and 1.

        Returns:
            Nats; minus infinity where the validation split is too small for the level.

        Raises:
            InputError: The level is not between 0 and 1, or the run keeps no scores.
        """
        level = number("level", level, 0, 1)
        scores = self.posterior.run.conformal_scores
        if not scores:
            raise InputError(
                "the run keeps no scores of validation presets, which regions need; fit it again, "
                "or call pyrosynth.training.fit.calibrate on it and its dataset"
            )
        away = conformal_quantile(scores, level)
        return float(np.median(self.log_q) - away * max(float(self.log_q.std()), 1e-6))

    def region_holds(self, values: ArrayLike, level: float = 0.9) -> NDArray[np.bool_]:
        """Tell which presets lie in the region of a level, see ``region_threshold``.

        Args:
            values: Native values of all parameters, shape (n, n_params).
            level: Share of presets that the region is to hold, between 0 and 1.

        Returns:
            Shape (n,).

        Raises:
            InputError: The level is not between 0 and 1, or the run keeps no scores.
        """
        threshold = self.region_threshold(level)
        return self.posterior.log_prob(values, self.x) >= threshold

    def to_dataframe(self) -> "DataFrame":
        """Return a table: a row for each draw, the native value of each parameter, ``log_q``.

        The last column is ``log_q (2)`` where a parameter is called ``log_q``.
        """
        import pandas as pd

        names = list(self.posterior.run.full_space.names)
        (log_q,) = own_columns(names, ["log_q"])
        return pd.DataFrame(self.values, columns=names).assign(**{log_q: self.log_q})

    def to_inference_data(
        self, name: str = "sound", sounds: NDArray[np.float32] | None = None
    ) -> "InferenceData":
        """Label the draws for ArviZ.

        Args:
            name: What the sound is called.
            sounds: Features of what the synth plays for the draws, shape
                (n, n_mels, n_frames), where they were rendered; NaN for a failed one.

        Returns:
            The groups ``posterior`` (``v``, ``value``), ``prior`` (the same of known presets),
            ``observed_data`` (``x``), ``constant_data`` (``contraction`` and ``correlation``, see
            `pyrosynth.inference.contraction`), ``sample_stats`` (``log_q``) and, in a variant that
            predicts sounds, ``log_likelihood`` (``x``); with sounds also
            ``posterior_predictive`` (``x``) and their distance ``lsd`` in dB.
        """
        from pyrosynth.inference.arviz import inference_data, label_draws

        return inference_data(label_draws(self, name, sounds))

    def __repr__(self) -> str:
        """Say how many there are, in a line."""
        low, high = self.log_q.min(), self.log_q.max()
        presets = f"{counted(len(self), 'preset')} of {self.posterior.synth.name}"
        return f"Draws({presets}, log q from {low:.1f} to {high:.1f} nats)"

    def _repr_html_(self) -> str:
        """Show the intervals of the parameters in a notebook."""
        import pyrosynth.plots as plots

        facts = {
            "presets": len(self),
            "synth": self.posterior.synth.name,
            "log q": f"{self.log_q.min():.1f} to {self.log_q.max():.1f} nats",
        }
        learnt = self.posterior.learnt(self.values)
        likeliest, readings = learnt[self.log_q.argmax()], self.posterior.synth.readings
        shown = plots.forest(self.posterior.run.space, learnt, likeliest, readings=readings)
        intervals = plots.png(shown)
        picture = report.picture(intervals, "Intervals of each parameter, the likeliest draw", "")
        return report.notebook("Draws of the posterior", facts, picture)


@dataclass(frozen=True, eq=False, repr=False)
class Match:
    """Presets tried for a sound, nearest first; before them may come one that is better in tune.

    Example:
        >>> import pyrosynth as ps
        >>> posterior = ps.Posterior.load("run")  # doctest: +SKIP
        >>> x = posterior.features(posterior.listen("flute.wav"))  # doctest: +SKIP
        >>> match = posterior.refine(x, budget=256)  # doctest: +SKIP
        >>> match.lsd[0], match.preset.values["osc1_waveform"]  # doctest: +SKIP
        (2.41, 1.0)
        >>> match.save("flute.bank")  # doctest: +SKIP

    Attributes:
        values: Native values of all parameters, shape (n, n_params).
        x: Features of what the synth plays for them, shape (n, n_mels, n_frames).
        lsd: Log-spectral distance to the sound in dB, shape (n,).
        source: What proposed each, shape (n,): ``posterior`` (a draw), ``bank`` (a known
            preset), ``model`` (a step along the model), ``cma`` or ``genetic`` (evolution).
        trace: Sounds rendered and the smallest distance so far, shape (n_batches, 2).
        target: Features of the sound, shape (n_mels, n_frames).
        posterior: The run that was searched with; without one there is no ``preset``, no
            ``audio``, and nothing to ``save``.

    Raises:
        InputError: The parts do not belong together, or nothing was tried.
    """

    values: NDArray[np.float64]
    x: NDArray[np.float32]
    lsd: NDArray[np.float64]
    source: NDArray[np.str_]
    trace: NDArray[np.float64]
    target: NDArray[np.float32]
    posterior: "Posterior | None" = None

    def __post_init__(self) -> None:
        """Make sure that the parts belong together."""
        require_shapes(
            "a match",
            {
                "target": (self.target, ("n_mels", "n_frames")), "lsd": (self.lsd, ("n",)),
                "x": (self.x, ("n", "n_mels", "n_frames")),
                "values": (self.values, ("n", "n_params")), "source": (self.source, ("n",)),
                "trace": (self.trace, ("n_batches", 2)),
            },
        )  # fmt: skip
        if not (len(self.lsd) and len(self.trace)):
            raise InputError("a match of no presets; give one at least, and its trace")
        if self.posterior is not None:
            _require_run("posterior of a match", self.posterior)

    @property
    def n_renders(self) -> int:
        """Number of sounds that were rendered."""
        return int(self.trace[-1, 0])

    @property
    def preset(self) -> Preset:
        """The preset that sounds nearest."""
        space = self._run_posterior.run.full_space
        return Preset.from_array(space, self.values[0], "match", "pyrosynth")

    @cached_property
    def audio(self) -> Audio:
        """What the synth plays for it at the run's note, shape (n_samples,)."""
        return self._run_posterior.render(self.values[:1])[0]

    def save(self, path: str | Path) -> None:
        """Write the preset that sounds nearest, for the synth or for any other program.

        A file that is there is replaced; a bank of many presets becomes one of this preset alone.

        Args:
            path: A ``.json`` file with every parameter in native values, a ``.wav`` file with
                its sound, or a file of the synth's own kind, such as ``.bank`` for amsynth.

        Raises:
            InputError: The synth has no file of its own, or the file cannot be written.
        """
        posterior, file = self._run_posterior, checked_path("file", path)
        if (suffix := file.suffix.lower()) == ".wav":
            save_audio(file, self.audio, posterior.run.features.sample_rate)
        elif suffix == ".json":
            space, note = posterior.run.full_space, posterior.run.note.to_json()
            name, score = posterior.synth.name, {"lsd_db": float(self.lsd[0])}
            facts = preset_json(self.preset, name, space, note, score=score)
            write_bytes(file, (json.dumps(facts, indent=1) + "\n").encode())
        elif not posterior.synth.write_bank(file, [self.preset]):
            raise InputError(
                f"'{file}': {posterior.synth.name} has no preset file of its own; give a .json or "
                "a .wav file"
            )

    @property
    def _run_posterior(self) -> "Posterior":
        if self.posterior is None:
            raise InputError(
                "a search without a run gives values only; Posterior.refine gives presets"
            )
        return self.posterior

    def __repr__(self) -> str:
        """Say what was reached, in a line."""
        renders = counted(self.n_renders, "render")
        return f"Match({self.lsd[0]:.2f} dB after {renders}, by {self.source[0]})"

    def _repr_html_(self) -> str:
        """Show the nearest preset in a notebook: its sound, and both spectrograms."""
        facts = {
            "distance (LSD)": f"{self.lsd[0]:.2f} dB",
            "sounds rendered": self.n_renders,
            "found by": self.source[0],
        }
        if self.posterior is None:
            return report.notebook("Match", facts)
        import pyrosynth.plots as plots

        spec = self.posterior.run.features
        (sound,) = report.wav_sources([self.audio], spec.sample_rate)
        pair = plots.png(plots.spectrograms(self.target, self.x[0], spec))
        return report.notebook(
            "Match", facts,
            report.players([report.player("nearest preset", "", sound)]),
            report.picture(pair, "Spectrograms of the sound and of the preset", ""),
        )  # fmt: skip
