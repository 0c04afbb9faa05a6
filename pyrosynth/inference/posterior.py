"""What a fitted run says about a sound: draws of presets, their density, and the best match."""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.distributions import Normal

import pyrosynth.report as html
from pyrosynth.audio.background import load_note
from pyrosynth.audio.features import loudest, match_loudness
from pyrosynth.audio.io import Audio, checked_audio, load_audio
from pyrosynth.audio.tuning import TunedSound, tune
from pyrosynth.data.bank import Bank, require_bank
from pyrosynth.errors import MOST, InputError, SynthError, checked_seed, integer

from pyrosynth.errors import counted, numbers, require_type  # isort: skip
from pyrosynth.inference.answers import Draws, Match, given_presets
from pyrosynth.inference.hearing import Hearing, hear
from pyrosynth.inference.search import CONSIDERED, guesses, ranked, search
from pyrosynth.modeling import noise_from
from pyrosynth.synths import Synth, from_spec
from pyrosynth.synths.presets import checked_values
from pyrosynth.synths.rendering import Renderer
from pyrosynth.synths.subspace import Subspace
from pyrosynth.training.learnt import bank_of
from pyrosynth.training.run import Run, load_run
from pyrosynth.training.torch_modes import plain_torch

LARGEST = 100.0  # magnitude of log-mel features; no number of single precision has a larger log
USUAL = 256  # known presets whose loudness is the usual one
Array = NDArray[np.float32]


class Posterior:
    """A run ready for inference.

    Args:
        run: The run; its device is where the variant computes.
        bank: Known presets of the same synth and note, to search from; None leaves them out.

    Example:
        >>> import pyrosynth as ps
        >>> posterior = ps.Posterior.load("run")  # doctest: +SKIP
        >>> x = posterior.features(posterior.listen("flute.wav"))  # doctest: +SKIP
        >>> posterior.sample(x, 64).values.shape  # doctest: +SKIP
        (64, 41)
    """

    def __init__(self, run: Run, bank: Bank | None = None) -> None:
        require_type("run", run, Run, "a run, or take Posterior.load(folder)")
        require_bank(bank, run.synth_spec.get("synth", ""), (len(run.full_space), *run.mean.shape))
        self.run, self.bank = run, bank
        self.variant, self.device = run.variant, run.mean.device
        self._subspace = Subspace(run.full_space, run.space)

    def __repr__(self) -> str:
        """Say what was learnt, in a line."""
        known = counted(len(self.bank), "known preset") if self.bank else "no bank"
        return f"Posterior({self.run!r}, {known})"

    def _repr_html_(self) -> str:
        """Show what was learnt in a notebook."""
        known = f"{len(self.bank):,}" if self.bank else "none"
        return html.notebook("Posterior", {**self.run.facts(), "known presets": known})

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu") -> "Posterior":
        """Load a run directory and its bank. The code in its ``variant.py`` is run.

        Args:
            path: The folder, or the name of a pretrained run.
            device: ``"cpu"`` or ``"cuda"``.

        Raises:
            RunError: A file is missing, damaged, or not what was written.
            InputError: There is no such device.
        """
        return cls(load_run(path, device), bank_of(path))

    @cached_property
    def synth(self) -> Synth:
        """The synth that was learnt."""
        return from_spec(self.run.synth_spec, space=self.run.full_space)

    def renderer(self, workers: int | None = None, *, keep_audio: bool = False) -> Renderer:
        """Return worker processes that play the run's note and compute its features."""
        return Renderer(
            self.synth, self.run.note, self.run.features.sample_rate, workers=workers,
            transform=self.run.features, keep_audio=keep_audio,
        )  # fmt: skip

    def render(self, values: ArrayLike, workers: int = 1) -> Array:
        """Play presets at the run's note.

        Args:
            values: Native values of all parameters, shape (n, n_params).
            workers: Processes that render.

        Returns:
            Sounds, shape (n, n_samples).

        Raises:
            SynthError: The synth failed on a preset, told by its number; `renderer` goes on.
        """
        rate = self.run.features.sample_rate
        with Renderer(self.synth, self.run.note, rate, workers=workers) as renderer:
            rendered = renderer.render(values)
        if (failed := np.flatnonzero(rendered.failed)).size:
            first, said = failed[0], f"{self.synth.name} {rendered.reason[failed[0]]} on preset"
            raise SynthError(f"{said} {first} of {len(rendered.failed)}; leave it out")
        assert rendered.audio is not None
        return rendered.audio

    def listen(self, path: str | Path, *, own_level: bool = False) -> Audio:
        """Read a sound file as the run needs it: mono, at its rate, from the onset, of its length.

        What comes before the sound is cut off or taken away, see `pyrosynth.audio.background`.

        Args:
            path: The file.
            own_level: Whether the level is the synth's own and stays. That of a recording says
                nothing of a preset, so it becomes the usual loudness of the known presets.

        Returns:
            Audio, shape (n_samples,).

        Raises:
            InputError: The file cannot be used.
        """
        rate = self.run.features.sample_rate
        audio = load_note(path, self.run.note.n_samples(rate), rate)
        return audio if own_level else self.match_loudness(audio)

    def hear(self, path: str | Path) -> list[Hearing]:
        """Read a sound file of any pitch: one way, or two; see `pyrosynth.inference.hearing`."""
        return hear(self, path)

    def tune(self, path: str | Path) -> TunedSound:
        """Read a sound file of one sung, hummed or played note of any pitch and length.

        It is brought to the run's note, see `pyrosynth.audio.tuning`, and to the usual loudness.

        Args:
            path: The file.

        Raises:
            InputError: The file cannot be used, or has no pitch.
        """
        rate = self.run.features.sample_rate
        found = tune(load_audio(path, rate), rate, self.run.note, f"'{path}'")
        return replace(found, audio=self.match_loudness(found.audio))

    def match_loudness(self, audio: Audio) -> Audio:
        """Scale a sound, shape (n_samples,), to the median loudness of the known presets."""
        sound = checked_audio(audio, ndim=1)
        return match_loudness(sound, self._usual, self.run.features) if self.bank else sound

    @cached_property
    def _usual(self) -> np.floating:
        assert self.bank is not None
        known = self.bank.sounds(np.arange(min(USUAL, len(self.bank))))
        return np.median(loudest(known, self.run.features))

    def features(self, audio: ArrayLike) -> Array:
        """Return log-mel features (..., n_mels, n_frames) of audio (..., n_samples).

        Raises:
            InputError: The audio is not of the length the run was fitted on, or holds integers.
        """
        sound = checked_audio(audio)
        n_samples = self.run.note.n_samples(self.run.features.sample_rate)
        if sound.shape[-1] != n_samples:
            raise InputError(
                f"audio has {counted(sound.shape[-1], 'sample')}; the run reads {n_samples:,} "
                f"({self.run.note.duration_seconds} s at {self.run.features.sample_rate} Hz), "
                "which audio.fit_length makes"
            )
        return self.run.features(sound)

    @plain_torch()
    def sample(self, x: ArrayLike, n: int, seed: int = 0) -> Draws:
        """Draw presets from q(v|x).

        Args:
            x: Features of one sound, shape (n_mels, n_frames), not standardised.
            n: Number of draws.
            seed: Of the draws.

        Returns:
            The draws.
        """
        count = integer("n", n, 1, MOST)
        points, log_q = self.variant.sample_v(self._sound(x), count, self._generator(seed))
        v = points[:, 0].cpu().numpy()
        values = self.complete(self.run.space.decode(given_presets(v)))
        return Draws(v, values, log_q[:, 0].cpu().numpy(), self._checked(x), self)

    @plain_torch()
    def draw(self, x: ArrayLike, n: int, seed: int = 0) -> NDArray[np.float64]:
        """Draw presets as `sample` does, without their density: values, shape (n, n_params)."""
        count, generator = integer("n", n, 1, MOST), self._generator(seed)
        v = self.variant.draw_v(self._sound(x), count, generator)[:, 0].cpu().numpy()
        return self.complete(self.run.space.decode(given_presets(v)))

    @plain_torch()
    def mean(self, x: ArrayLike, n: int = 64, seed: int = 0) -> NDArray[np.float64]:
        """Return the preset at the mean of q(v|x), the only answer of a regression.

        Args:
            x: Features of one sound, shape (n_mels, n_frames), not standardised.
            n: Number of draws it is the mean of, where it has no closed form.
            seed: Of these draws.

        Returns:
            Native values of all parameters, shape (n_params,).
        """
        count, generator = integer("n", n, 1, MOST), self._generator(seed)
        v = self.variant.mean_v(self._sound(x), count, generator)[0].cpu().numpy()
        return self.complete(self.run.space.decode(given_presets(v)))

    @plain_torch()
    def encode(self, x: ArrayLike, n: int = 1, seed: int = 0) -> Array:
        """Draw latents from q(z|x), shape (n, latent_dim)."""
        count, sound = integer("n", n, 1, MOST), self._sound(x)
        with noise_from(self._generator(seed)):
            z = self.variant.posterior(self.variant.encode(sound)).sample((count,))
        return z[:, 0].cpu().numpy()

    @plain_torch()
    def decode(self, z: ArrayLike) -> tuple[NDArray[np.float64], Array]:
        """Turn latents into presets and the sounds that the model expects for them.

        Args:
            z: Latents, shape (n, latent_dim).

        Returns:
            Native values of all parameters, shape (n, n_params), and features, shape
            (n, n_mels, n_frames).
        """
        latent = self.run.latents(z, 2)
        v = self.variant.params_of(latent).cpu().numpy()
        x = self.run.unstandardise(self.variant.expected_x(latent))
        return self.complete(self.run.space.decode(given_presets(v))), x.cpu().numpy()

    @plain_torch()
    def log_prob(self, values: ArrayLike, x: ArrayLike, seed: int = 0) -> Array:
        """Score presets by log q(v|x) at the middle of their levels.

        Args:
            values: Native values of all parameters, shape (n, n_params).
            x: Features of one sound, shape (n_mels, n_frames).
            seed: Of the estimate, in a variant whose density is not exact.

        Returns:
            Nats, shape (n,).
        """
        rows = checked_values(values, self.synth.param_space, 2)
        if not len(rows):
            return np.empty(0, np.float32)
        v = torch.as_tensor(self.run.space.encode(self.learnt(rows)), device=self.device)
        generator = self._generator(seed)
        return self.variant.log_prob_v(v[:, None], self._sound(x), generator)[:, 0].cpu().numpy()

    @plain_torch()
    def predict(self, values: ArrayLike) -> Array:
        """Return the features that the model predicts for presets, without rendering them.

        Args:
            values: Native values of all parameters, shape (n, n_params).

        Returns:
            Features, shape (n, n_mels, n_frames).

        Raises:
            InputError: The variant has no invertible flow between latent and parameters.
        """
        rows = checked_values(values, self.synth.param_space, 2)
        unit = self.run.space.to_unit(self.learnt(rows))
        return self.predict_unit(torch.as_tensor(unit).to(self.run.mean)).cpu().numpy()

    @plain_torch()
    def log_likelihood(self, v: ArrayLike, x: ArrayLike) -> Array | None:
        """Return the log-likelihood of a sound given presets, per cell, by the model's decoder.

        Args:
            v: Points of the unit cube, shape (n, n_learnt).
            x: Features of the sound, shape (n_mels, n_frames).

        Returns:
            log p(x|v) in nats, shape (n, n_mels, n_frames); None in a variant that predicts no
            sound.
        """
        if not self.predicts:
            return None
        rows = torch.tensor(self.run.space.checked(v), device=self.device).float()
        cells = Normal(self.variant.expected_x_of_v(rows), self.variant.log_scale.exp()[:, None])
        return (cells.log_prob(self._sound(x)) - self.run.std.log()).cpu().numpy()

    @property
    def predicts(self) -> bool:
        """Whether the variant predicts the sound of a preset without rendering it."""
        return self.variant.predicts

    @plain_torch(gradients=True)
    def refine(
        self,
        x: ArrayLike,
        renderer: Renderer | None = None,
        budget: int = 256,
        seed: int = 0,
        report: Callable[[int], object] = lambda n: None,
    ) -> Match:
        """Search for the preset behind a sound with the real synth, within a budget of renders.

        The first render is of ``guess``. Draws of the posterior and the nearest known presets are
        rendered and ranked. Then the nearest are moved by least squares along the model's own
        prediction, corrected by what was heard, and by CMA-ES; or, of many controls, recombined,
        and the prediction chooses what is rendered. See `pyrosynth.inference.search`.

        Args:
            x: Features of the sound, shape (n_mels, n_frames).
            renderer: From ``renderer()``; one on all cores is opened and closed if left out.
            budget: Number of sounds to render.
            seed: Of everything random.
            report: Called with the number of sounds each time some were rendered.

        Returns:
            All that was tried, nearest first.
        """
        budget, seed = integer("budget", budget, 1, MOST), checked_seed(seed)
        target = self._checked(x)
        if renderer is None:
            with self.renderer() as opened:
                return self.refine(target, opened, budget, seed, report)
        return search(self, target, renderer, budget, seed, report)

    @plain_torch(gradients=True)
    def guess(self, x: ArrayLike, seed: int = 0) -> NDArray[np.float64]:
        """Return the preset that should come nearest to a sound, without rendering any.

        It is the first of `pyrosynth.inference.search.guesses`. Without a bank it is the draw of
        the posterior whose predicted sound is nearest, or in a variant that predicts none a draw.

        Args:
            x: Features of the sound, shape (n_mels, n_frames).
            seed: Of the draws.

        Returns:
            Native values of all parameters, shape (n_params,).
        """
        target = self._checked(x)
        unit = guesses(self, target, 1)
        if len(unit):
            return self.complete(self.run.space.from_unit(unit))[0]
        return ranked(self, target, CONSIDERED, seed)[0]

    def complete(self, learnt: ArrayLike) -> NDArray[np.float64]:
        """Return native values of all parameters from those learnt, shape (n, n_params)."""
        return self._subspace.complete(learnt)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the run and the bank; all else is made of them."""
        return Posterior, (self.run, self.bank)

    def learnt(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return the learnt columns of native values, shape (n, n_learnt)."""
        return self._subspace.of(values)

    def predict_unit(self, unit: Tensor) -> Tensor:
        """Return the log-mel features predicted for unit values; differentiable."""
        resolution = torch.tensor(self.run.space.resolution, device=self.device)
        v = (self.run.unit_values(unit) * (resolution - 1) + 0.5) / resolution
        return self.run.unstandardise(self.variant.expected_x_of_v(v))

    def _sound(self, x: ArrayLike) -> Tensor:
        """Return standardised features as a batch of one sound."""
        return self.run.standardise(torch.as_tensor(self._checked(x))[None])

    def _checked(self, x: ArrayLike) -> Array:
        """Make sure that features are those of one sound."""
        features, shape = numbers("features", x, np.float32), self.variant.dims.x_shape
        if features.shape != shape:
            raise InputError(
                f"features have shape {features.shape}; posterior.features gives one sound {shape}"
            )
        if not (np.abs(features) <= LARGEST).all():
            why = "NaN, infinite or no logarithms of power"
            raise InputError(f"features are {why}; take those of posterior.features(audio)")
        return features

    def _generator(self, seed: int) -> torch.Generator:
        return torch.Generator(self.device).manual_seed(checked_seed(seed))
