"""One run, ready to be played: sounds and presets in, presets and sounds out, in milliseconds.

Nothing here knows of networks. Every method may be called from any thread.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, Semaphore
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from pyrosynth.audio.io import Audio
from pyrosynth.audio.metrics import log_distance
from pyrosynth.errors import InputError, SynthError, unknown
from pyrosynth.explore.latent_space import LatentSpace
from pyrosynth.inference.posterior import Posterior
from pyrosynth.live.files import Files
from pyrosynth.live.sliders import Slider, sliders

Array = NDArray[np.float32]
Values = NDArray[np.float64]

DRAWS = 24  # of the posterior, among which the preset of a sound is looked for
KEPT = 64  # rendered sounds that are remembered
WAITING = 16  # renders that may wait at once
FURTHEST = 6.0  # largest position on an axis; the presets lie within 3


@dataclass(frozen=True, eq=False)
class Played:
    """A sound of the synth.

    Attributes:
        audio: Shape (n_samples,).
        x: Its features, shape (n_mels, n_frames).
    """

    audio: Audio
    x: Array


@dataclass(frozen=True, eq=False)
class Found:
    """The place of a sound in the latent space.

    Attributes:
        z: The latent, shape (latent_dim,).
        x: Features of the sound, shape (n_mels, n_frames).
        lsd_db: How far from the sound the model expects that place to sound, in dB.
    """

    z: Array
    x: Array
    lsd_db: float


class Live:
    """A run ready to be played.

    Args:
        posterior: The run.
        folders: Where sound files may be read from by name.

    Attributes:
        posterior: The run.
        space: Its known presets and axes.
        sliders: The axes that have a name, see `pyrosynth.live.sliders`.
        files: Sounds and presets as files.

    Raises:
        InputError: The variant has no latent, the run has no bank, or a folder is missing.

    Example:
        >>> import pyrosynth as ps
        >>> with Live(ps.Posterior.load("run")) as live:  # doctest: +SKIP
        ...     z = live.place("Warm Pad")
        ...     darker = live.move(z, {"brightness": -1.0})
        ...     played = live.render(live.values(darker))
    """

    def __init__(self, posterior: Posterior, folders: Sequence[str | Path] = ()) -> None:
        """Compute what is needed of the bank; the synth starts with the first sound."""
        self.posterior = posterior
        self.space = LatentSpace(posterior)
        self.sliders: dict[str, Slider] = sliders(self.space)
        self.files = Files(posterior, folders)
        self._renderer = posterior.renderer(1, keep_audio=True)
        self._rendering, self._waiting = Lock(), Semaphore(WAITING)
        self._kept: OrderedDict[bytes, Played] = OrderedDict()
        self._keeping = Lock()

    def __enter__(self) -> "Live":
        """Return it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """End the process that renders, once it has rendered what it is at."""
        with self._rendering:
            self._renderer.close()

    @property
    def latent_dim(self) -> int:
        """Size of the latent space."""
        return self.space.dim

    def place(self, name: str) -> Array:
        """Return the latent of a known preset.

        Raises:
            InputError: There is none of that name (similar ones are listed).
        """
        return self.space.locate(name)

    def known(self, number: int) -> Values:
        """Return the values of a known preset by its number, shape (n_params,)."""
        return self.space.bank.values[number]

    def point(self, z: ArrayLike) -> Array:
        """Check numbers that should be a latent.

        Raises:
            InputError: They are too few or too many, or not finite.
        """
        try:
            with np.errstate(over="ignore"):
                latent = np.asarray(z, np.float32)
        except (TypeError, ValueError) as error:
            raise InputError(f"a point is {self.latent_dim} numbers ({error})") from error
        return np.clip(self.space.locate(latent), -10.0, 10.0)

    def values(self, z: Array) -> Values:
        """Return the preset at a latent: native values of all parameters, shape (n_params,)."""
        return self.space.values(z)

    def positions(self, z: Array) -> dict[str, float]:
        """Return where a latent is along each slider."""
        return {name: float(s.axis.position(z)) for name, s in self.sliders.items()}

    def move(self, z: Array, to: Mapping[str, float], *, by: bool = False) -> Array:
        """Move a latent along axes, one after the other.

        Args:
            z: The latent, shape (latent_dim,).
            to: Position on each axis, of at most 6 either way.
            by: Whether the numbers are steps from where the latent is, instead of positions.

        Raises:
            InputError: An axis is unknown (the known ones are listed), or a number not finite.
        """
        for name, number in to.items():
            axis = self.sliders[name].axis if name in self.sliders else self._line(name)
            goal = float(axis.position(z)) + number if by else float(number)
            if not np.isfinite(goal):
                raise InputError(f"axis '{name}' at {number}: give a finite number")
            z = axis.at(z, np.clip(goal, -FURTHEST, FURTHEST))
        return z

    @torch.no_grad()
    def encode(self, audio: Audio, seed: int = 0) -> Found:
        """Find the place of a sound, without rendering: the best of some that the model proposes.

        Draws of the posterior and the nearest known preset are compared by the sound that the
        model expects of each, the preset by the one it is known to have.

        Args:
            audio: Sound of the length of the run's note, see ``Posterior.listen``.
            seed: Of the draws.
        """
        posterior = self.posterior
        x = posterior.features(audio)
        near, near_lsd = self.space.bank.nearest(x[None])
        if posterior.predicts:
            sound = posterior.run.standardise(torch.as_tensor(x)[None])
            generator = torch.Generator(posterior.device).manual_seed(seed)
            v = posterior.variant.sample_v(sound, DRAWS, generator)[0][:, 0]
            z = posterior.variant.latent(v)[0].cpu().numpy()
        else:
            z = posterior.encode(x, DRAWS, seed)
        lsd = log_distance(self.space.expected(z), x)
        best = int(lsd.argmin())
        if near_lsd[0, 0] < lsd[best]:
            return Found(self.space.z[near[0, 0]], x, float(near_lsd[0, 0]))
        return Found(z[best], x, float(lsd[best]))

    def near(self, z: Array, n: int = 8) -> list[tuple[str, float]]:
        """Return the presets that sound most like what the model expects at a latent.

        Returns:
            Their names and log-spectral distances in dB, the nearest first.
        """
        if not 1 <= n <= len(self.space):
            raise InputError(f"{n} neighbours of {len(self.space)} presets; ask for at least 1")
        found, lsd = self.space.bank.nearest(self.space.expected(z[None]), n)
        return [(self.space.names[i], float(d)) for i, d in zip(found[0], lsd[0], strict=True)]

    def random(self, seed: int) -> Array:
        """Draw a latent from the prior."""
        rng = np.random.default_rng(abs(seed))
        return rng.standard_normal(self.latent_dim).astype(np.float32)

    def sweep(self, name: str, z: Array, positions: ArrayLike) -> Array:
        """Return latents along an axis through a latent, shape (n, latent_dim)."""
        return np.stack([self.move(z, {name: float(p)}) for p in np.asarray(positions)])

    def render(self, values: Values) -> Played:
        """Play a preset on the synth; sounds played a moment ago are remembered.

        Args:
            values: Native values of all parameters, shape (n_params,).

        Raises:
            InputError: Too many sounds are waiting, or the values do not fit the synth.
            SynthError: The synth crashed, hung, or gave no numbers.
        """
        key = np.asarray(values, np.float64).tobytes()
        with self._keeping:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        if not self._waiting.acquire(blocking=False):
            raise InputError(f"{WAITING} sounds are waiting to be rendered; ask again in a moment")
        try:
            with self._rendering:
                rendered = self._renderer.render(np.asarray(values)[None])
        finally:
            self._waiting.release()
        if rendered.failed[0]:
            raise SynthError(f"the synth {_FATES[str(rendered.reason[0])]}; try another preset")
        assert rendered.audio is not None
        assert rendered.features is not None
        played = Played(rendered.audio[0], rendered.features[0])
        with self._keeping:
            self._kept[key] = played
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return played

    def _line(self, name: str) -> Any:
        try:
            return self.space.axis(name)
        except InputError:
            size = self.latent_dim
            kinds = (
                *self.sliders,
                f"z1 to z{size}",
                f"pc1 to pc{len(self.space.linear_axes) - size}",
            )
            raise unknown("axis", name, kinds) from None


_FATES = {"crashed": "crashed", "timed out": "hung", "not finite": "gave no numbers"}
