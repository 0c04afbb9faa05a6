"""The presets that were rendered for one sound, and which of them is the answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyrosynth.audio.io import Audio
from pyrosynth.audio.metrics import log_distance
from pyrosynth.audio.note import Note
from pyrosynth.errors import InputError
from pyrosynth.inference.answers import Match
from pyrosynth.synths.params import ParamSpace
from pyrosynth.synths.rendering import Renderer
from pyrosynth.synths.subspace import Subspace

Source = Literal["posterior", "bank", "model", "cma", "genetic"]

IN_TUNE = 0.2  # semitones from the pitch that is wanted, within which a preset is in tune
SURELY_IN_TUNE = 0.1  # the same with a margin, by which two ways to hear a pitch may differ
NO_FARTHER_DB = 1.0  # than the nearest preset may one be that is in tune


@dataclass
class Pool:
    """The presets rendered so far for one sound; none is rendered twice.

    Args:
        target: Features of the sound, shape (n_mels, n_frames).
        full_space: All parameters of the synth.
        space: The learnt ones; the others stay at their defaults.
        renderer: Renders, with the features as transform.
        on_render: Called with the number of sounds each time some were rendered.
        at_once: Sounds that are rendered between two such calls at most; left out for all that
            were proposed together.
        locked: Unit values of learnt parameters that no proposal changes, by their position.
        off_pitch: Tells how many semitones a sound, shape (n_samples,), is above the pitch that
            is wanted, None if it has no pitch; left out if none is wanted. It needs a renderer
            that keeps the audio.
        play: The note that the answer is played at; left out if it is the renderer's. Only its
            pitch and its hold may differ.

    Attributes:
        unit: Unit values of the learnt parameters, shape (n, n_learnt).
        x: Features of what the synth played, shape (n, n_mels, n_frames).
        lsd: Log-spectral distances to the sound in dB, shape (n,); infinite for a failed sound.
        off: Semitones above the pitch that is wanted, shape (n,); NaN where there is no pitch, or
            where the preset was too far from the sound for it to matter. At the note of the
            renderer, until `play_answer` has heard a preset where it is played.
        source: What proposed each, shape (n,).
        trace: Sounds rendered and the smallest distance, each time some were rendered.
    """

    target: NDArray[np.float32]
    full_space: ParamSpace
    space: ParamSpace
    renderer: Renderer
    on_render: Callable[[int], object] = lambda n: None
    locked: Mapping[int, float] = field(default_factory=dict)
    off_pitch: Callable[[Audio], float | None] | None = None
    play: Note | None = None
    at_once: int | None = None
    unit: NDArray[np.float64] = field(init=False)
    x: NDArray[np.float32] = field(init=False)
    lsd: NDArray[np.float64] = field(init=False)
    off: NDArray[np.float64] = field(init=False)
    source: NDArray[np.str_] = field(init=False)
    trace: list[tuple[int, float]] = field(default_factory=list)
    _position: dict[bytes, int] = field(init=False, default_factory=dict, repr=False)
    _played: set[int] = field(init=False, default_factory=set, repr=False)

    def __post_init__(self) -> None:
        """Start empty."""
        self.unit = np.empty((0, len(self.space)))
        self.x = np.empty((0, *self.target.shape), np.float32)
        self.lsd, self.off = np.empty(0), np.empty(0)
        self.source = np.empty(0, "U9")

    def __len__(self) -> int:
        """Return the number of presets rendered."""
        return len(self.lsd)

    @property
    def n_renders(self) -> int:
        """Number of sounds that were rendered, with those at the note of the answer."""
        return len(self) + len(self._played)

    @property
    def fixed(self) -> NDArray[np.bool_]:
        """Which learnt parameters no small step moves, or none may: shape (n_learnt,)."""
        fixed = ~self.space.gradual
        fixed[[*self.locked]] = True
        return fixed

    def add(self, unit: ArrayLike, source: Source) -> NDArray[np.float64]:
        """Render presets and keep them; those that are there already are not rendered again.

        Args:
            unit: Unit values of the learnt parameters, shape (n, n_learnt).
            source: What proposed them.

        Returns:
            Their distances to the target in dB, shape (n,); infinite for a failed sound.
        """
        proposed = self.settled(unit)
        if not len(proposed):
            return np.empty(0)
        fresh = self.fresh(proposed)
        at_once = self.at_once or max(1, len(fresh))
        for start in range(0, len(fresh), at_once):
            self._render(proposed[fresh[start : start + at_once]], source)
        return self.lsd[[self._position[one.tobytes()] for one in proposed]]

    def settled(self, unit: ArrayLike) -> NDArray[np.float64]:
        """Return proposals as they would be rendered: in range, rounded, with what is locked."""
        proposed = np.clip(np.asarray(unit, np.float64), 0.0, 1.0)
        if not len(proposed):
            return np.empty((0, len(self.space)))
        proposed[:, [*self.locked]] = [*self.locked.values()]
        return self.space.rounded(proposed)

    def fresh(self, proposed: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the positions of settled proposals that were not rendered, of equal ones once."""
        first: dict[bytes, int] = {}
        for i, one in enumerate(proposed):
            first.setdefault(one.tobytes(), i)
        return np.array([i for key, i in first.items() if key not in self._position], np.int64)

    def _render(self, unit: NDArray[np.float64], source: Source) -> None:
        rendered = self.renderer.render(self.values(unit))
        if rendered.features is None:
            raise InputError("the search needs features; give the renderer its transform")
        lsd = np.where(rendered.failed, np.inf, log_distance(rendered.features, self.target))
        off = np.full(len(lsd), np.nan)
        if self.off_pitch:
            if rendered.audio is None:
                raise InputError("pitches are measured in audio; give renderer(keep_audio=True)")
            nearest = min([*self.lsd, *lsd])
            near = np.isfinite(lsd) & (lsd <= nearest + NO_FARTHER_DB)
            off[near] = self._off(rendered.audio[near])
        self._position |= {one.tobytes(): i for i, one in enumerate(unit, len(self))}
        self.unit = np.concatenate([self.unit, unit])
        self.x = np.concatenate([self.x, rendered.features.astype(np.float32)])
        self.lsd = np.concatenate([self.lsd, lsd])
        self.off = np.concatenate([self.off, off])
        self.source = np.concatenate([self.source, np.full(len(lsd), source, "U9")])
        self.trace.append((self.n_renders, float(self.lsd.min())))
        self.on_render(len(lsd))

    def values(self, unit: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return native values of all parameters from unit values of the learnt ones."""
        return Subspace(self.full_space, self.space).complete(self.space.from_unit(unit))

    def best(self, n: int) -> NDArray[np.int64]:
        """Return the positions of the nearest presets, nearest first."""
        return np.argsort(self.lsd, kind="stable")[:n]

    def answers(self) -> tuple[NDArray[np.int64], bool]:
        """Put first the preset that is the answer: the nearest, or one that is better in tune.

        If a pitch is wanted, that is the nearest preset in tune, if it is hardly farther: a
        distance between spectrograms hardly tells a quarter of a tone, but ears do.

        Returns:
            Positions of all presets, the others nearest first; and whether the answer is in tune,
            or need not be.
        """
        order = self.best(len(self))
        if self.off_pitch is None or not len(order):
            return order, True
        near = order[self.lsd[order] <= self.lsd[order[0]] + NO_FARTHER_DB]
        for most in (SURELY_IN_TUNE, IN_TUNE):
            in_tune = near[np.abs(self.off[near]) <= most]
            if len(in_tune):
                return np.concatenate([in_tune[:1], order[order != in_tune[0]]]), True
        return order, False

    def play_answer(self, n: int) -> None:
        """Hear the answer where it is played; if it is out of tune there, so is the next one.

        A preset whose filter does not follow the keys, for one, is in tune at some notes only.

        Args:
            n: Number of sounds to render at most.
        """
        if self.play is None or self.off_pitch is None:
            return
        for _ in range(n):
            first = self.answers()[0][:1]
            if not len(first) or int(first[0]) in self._played:
                return
            rendered = self.renderer.render(self.values(self.unit[first]), note=self.play)
            assert rendered.audio is not None
            raised = self.play.pitch - self.renderer.note.pitch
            self.off[first] = self._off(rendered.audio) - raised
            self._played.add(int(first[0]))
            self.trace.append((self.n_renders, float(self.lsd.min())))
            self.on_render(1)

    def _off(self, audio: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return how far sounds are above the pitch that is wanted at the renderer's note."""
        assert self.off_pitch is not None
        return np.array([np.nan if (off := self.off_pitch(one)) is None else off for one in audio])

    def match(self) -> Match:
        """Return all presets, the answer first, then nearest first."""
        order, _ = self.answers()
        return Match(
            self.values(self.unit[order]),
            self.x[order],
            self.lsd[order],
            self.source[order],
            np.array(self.trace),
            self.target,
        )
