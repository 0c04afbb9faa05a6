"""A run ready to be played live: sounds and presets in, presets and sounds out, in milliseconds.

Nothing here knows of networks. Every method may be called from any thread.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pyrosynth.audio.io import Audio
from pyrosynth.audio.metrics import log_distance
from pyrosynth.audio.note import Note
from pyrosynth.audio.pitch_tracking import RATE
from pyrosynth.audio.tuning import tune
from pyrosynth.errors import (
    InputError,
    SynthError,
    integer,
    number,
    numbers,
    require_type,
    unknown,
)
from pyrosynth.explore.axes import Axis, outermost
from pyrosynth.explore.latent_space import LatentSpace
from pyrosynth.explore.places import Array, Float, Place, latents
from pyrosynth.explore.steering import Step, move
from pyrosynth.inference.hearing import Hearing
from pyrosynth.inference.posterior import Posterior
from pyrosynth.live.controllers import ControllerMap
from pyrosynth.live.controls import Control, controls
from pyrosynth.live.files import SessionFiles
from pyrosynth.live.sounds import Embedding, RenderedSounds, Sound
from pyrosynth.live.speaker import Speaker
from pyrosynth.live.turns import Turns
from pyrosynth.synths.presets import checked_values

DRAWS = 24  # of the posterior, among which the preset of a sound is looked for
RENDERED = 2  # of these draws that are rendered, those expected to come nearest
SHORTEST_HOLD = 0.05  # seconds of a key that is played
FURTHEST = 6.0  # largest position on an axis, unless a known preset is farther out
LARGEST = 10.0  # coordinate of a latent, unless a known preset is farther out
ROUNDED = 1.0001  # what rounding may add to a largest number


class Live:
    """A run ready to be played.

    Args:
        posterior: The run.
        folders: Where sound files may be read from by name.
        play: Whether notes are to sound on this machine.
        midi_map: File of the map of MIDI controllers, see `ControllerMap.load`.

    Attributes:
        posterior: The run.
        space: Its latent space, with the known presets.
        controls: The axes that have a name, see `pyrosynth.live.controls`.
        files: Sounds and presets as files.
        midi: The map of MIDI controllers.
        speaker: Where notes sound; None if they are not to.

    Raises:
        InputError: The variant has no latent, the run has no bank, a folder is missing, or there
            is nothing to play on.

    Example:
        >>> import pyrosynth as ps
        >>> with Live(ps.Posterior.load("run")) as live:  # doctest: +SKIP
        ...     pad = live.space.place("Warm Pad")
        ...     darker = live.steer(pad, {"brightness": -1.0})
        ...     sound = live.render(darker.place.values)
    """

    def __init__(
        self,
        posterior: Posterior,
        folders: Sequence[str | Path] = (),
        *,
        play: bool = False,
        midi_map: str | Path | None = None,
    ) -> None:
        """Compute what is needed of the bank; the synth starts with the first sound."""
        self.posterior = posterior
        self.space = LatentSpace(posterior)
        self.controls: dict[str, Control] = controls(self.space)
        self.midi = ControllerMap.load(midi_map, posterior.synth, list(self.controls))
        self.files = SessionFiles(posterior, folders)
        self._outermost = cache(lambda axis: outermost(self.axis(axis), self.space.z))
        self._sounds = RenderedSounds(posterior.renderer(1, keep_audio=True))
        # Searches render in a process of their own, so that keys and sliders never wait for them.
        self.search_renderer, self.searching = posterior.renderer(1, keep_audio=True), Turns()
        # Last, as nobody closes it if something else fails.
        self.speaker = Speaker(posterior.run.features.sample_rate) if play else None

    def __enter__(self) -> "Live":
        """Return it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """End the processes that render, and fall silent."""
        if self.speaker:
            self.speaker.close()
        self.stop()
        self._sounds.renderer.close()
        self.search_renderer.close()

    def stop(self) -> None:
        """Render nothing any more: what is being rendered ends at once by a `SynthError`."""
        self._sounds.renderer.stop()
        self.search_renderer.stop()

    def warm_up(self) -> None:
        """Start both processes that render, and what finds pitches; it takes some seconds."""
        tune(np.sin(np.arange(RATE) / 16, dtype=np.float32), RATE, self.posterior.run.note)
        self.render(self.known(0))
        with self.searching:
            self.search_renderer.render(self.known(0)[None])

    def point(self, z: ArrayLike) -> Array:
        """Check numbers that should be a latent.

        Raises:
            InputError: They are too few or too many, not finite, or farther out than 10 and than
                every known preset.
        """
        with np.errstate(over="ignore"):
            latent = numbers(f"a point is {self.space.dim} numbers: values", z, np.float32)
        point, most = self.space.locate(latent), max(LARGEST, float(np.abs(self.space.z).max()))
        far = float(point[np.abs(point).argmax()])
        if abs(far) > most * ROUNDED:
            raise InputError(f"a point has the number {far:g}; give -{most:g} to {most:g}")
        return point

    def checked(self, values: ArrayLike) -> Float:
        """Check numbers that should be a preset; they come back to their ranges and settings.

        Raises:
            InputError: They are too few or too many, no finite numbers, or far outside the
                parameters' ranges.
        """
        params = self.posterior.run.full_space
        inside = np.clip(checked_values(values, params, 1), params.minimum, params.maximum)
        return np.where(params.discrete, params.from_unit(params.to_unit(inside)), inside)

    def known(self, number: int) -> Float:
        """Return the values of a known preset by its number, from 0 on, shape (n_params,)."""
        return self.space.bank.values[integer("preset number", number, 0, len(self.space) - 1)]

    def at(self, z: ArrayLike, values: ArrayLike | None = None) -> Place:
        """Return the place of a latent, and of a preset there that is not the most ordinary one.

        Raises:
            InputError: The numbers are not a latent, or not a preset.
        """
        point = self.point(z)
        if values is None:
            return self.space.place(point)
        return self.space.place_of(self.checked(values), point)

    def place_of_sound(self, values: Float, x: Array) -> Place:
        """Return the place of a preset whose sound, features (n_mels, n_frames), is at hand."""
        if self.posterior.predicts and not self.space.of_sound:
            return self.place_of(values, np.zeros(self.space.dim, np.float32))
        heard = np.clip(self.space.heard(x[None])[0], -LARGEST, LARGEST)
        return self.space.place_of(values, heard)

    def place_of(self, values: Float, otherwise: Array) -> Place:
        """Return the place of a preset, at another latent where the variant expects none of it."""
        if not self.posterior.predicts:
            return self.space.place_of(values, otherwise)
        place = self.space.place_of(values)
        return self.space.place_of(values, np.clip(place.z, -LARGEST, LARGEST))

    def positions(self, z: Array) -> dict[str, float]:
        """Return where a latent is along each control."""
        return {name: float(c.axis.position(z)) for name, c in self.controls.items()}

    def move(self, place: Place, to: Mapping[str, float], *, by: bool = False) -> Place:
        """Move along axes, one after the other; what the sound does not tell is carried along.

        It takes milliseconds, and small steps make small changes; see `steer` for what is heard.

        Args:
            place: Where it starts.
            to: Position on each axis, no farther out than `furthest`.
            by: Whether the numbers are steps from where the place is, instead of positions.

        Raises:
            InputError: An axis is unknown (the known ones are listed), a number not finite, or a
                position farther out; a step ends there.
        """
        z = self._goal(place, to, by)
        return Place(z, place.u, self.space.values(z, place.u))

    def steer(self, place: Place, to: Mapping[str, float]) -> Step:
        """Move along axes by what is heard: another preset is chosen, in a tenth of a second.

        Args:
            place: Where it starts.
            to: Position on each axis, no farther out than `furthest`.

        Raises:
            InputError: As for `move`.
        """
        return move(self.space, place, self._goal(place, to))

    def _goal(self, place: Place, to: Mapping[str, float], by: bool = False) -> Array:
        """Return the latent at positions on axes."""
        require_type("place", place, Place, "a Place, as space.place(name) is one")
        require_type("to", to, Mapping, "positions by the names of axes")
        z = place.z
        for name, wanted in to.items():
            axis, most = self.axis(name), self.furthest(name, z)
            goal = number(f"axis '{name}' at", wanted) + (float(axis.position(z)) if by else 0.0)
            if not by and abs(goal) > most * ROUNDED:
                raise InputError(f"axis '{name}' at {wanted}: give -{most:g} to {most:g}")
            z = axis.at(z, np.clip(goal, -most, most))
        return z

    def furthest(self, name: str, z: Array) -> float:
        """Return how far out one may go on an axis: 6, or where a latent or a known preset is."""
        return max(FURTHEST, self._outermost(name), abs(float(self.axis(name).position(z))))

    def axis(self, name: str) -> Axis:
        """Return an axis by the name of a control, or any other of the latent space.

        Raises:
            InputError: There is none of that name; the known ones are listed.
        """
        require_type("axis", name, str, "its name, such as pc1")
        if name in self.controls:
            return self.controls[name].axis
        try:
            return self.space.axis(name)
        except InputError:
            named = (one for one in self.controls if one not in self.space.linear_axes)
            raise unknown("axis", name[:80], (*named, *self.space.axis_kinds())) from None

    def encode(self, ways: Sequence[Hearing], seed: int = 0) -> tuple[Embedding, Hearing]:
        """Find the preset of a sound: the best of a few that are rendered.

        Those are the draws of the posterior that the model expects to come nearest, and the known
        preset that sounds nearest, so that the answer is never farther from the sound than that.

        Args:
            ways: How to take the sound, from ``Posterior.hear``; the one that is met better
                counts.
            seed: Of the draws.

        Returns:
            The place, and the way that it was found by.

        Raises:
            InputError: Too many sounds are waiting to be rendered, or they are no such ways.
            SynthError: The synth renders none of them.
        """
        require_type("ways", ways, (list, tuple), "those of posterior.hear(path)")
        for way in ways:
            require_type("one of the ways", way, Hearing, "those of posterior.hear(path)")
        if not ways:
            raise InputError("there is no way to take the sound; give those of posterior.hear")
        found = [(self._embedding(way.audio, seed), way) for way in ways]
        return min(found, key=lambda pair: pair[0].lsd_db)

    def _embedding(self, audio: Audio, seed: int) -> Embedding:
        x = self.posterior.features(audio)
        z, values = self.draws(x, seed)
        nearest = int(self.space.bank.nearest(x[None])[0][0, 0])
        order = np.argsort(log_distance(self.space.expected(z), x), kind="stable")[:RENDERED]
        candidates = [(self.space.z[nearest], self.space.bank.values[nearest])]
        candidates += [(z[i], values[i]) for i in order]
        embeddings, failure = [], None
        for latent, preset in candidates:
            try:
                sound = self.render(preset)
                if self.space.of_sound:
                    latent = self.space.heard(sound.x[None])[0]
                place = self.space.place_of(preset, latent)
                embeddings.append(Embedding(place, x, float(log_distance(sound.x, x))))
            except SynthError as error:
                failure = error
        if failure and not embeddings:
            raise failure
        return min(embeddings, key=lambda embedding: embedding.lsd_db)

    def draws(self, x: Array, seed: int) -> tuple[Array, Float]:
        """Draw latents (n, latent_dim) and presets (n, n_params) from the posterior of a sound."""
        posterior = self.posterior
        if not posterior.predicts:
            z = posterior.encode(x, DRAWS, seed)
            return z, self.space.values(z)
        values = posterior.sample(x, DRAWS, seed).values
        return latents(posterior, values), values

    def near(self, z: Array, n: int = 8) -> list[tuple[str, float]]:
        """Return the known presets that sound most like what the model expects at a latent.

        Returns:
            Their names and log-spectral distances in dB, the nearest first.
        """
        near, lsd = self.space.bank.nearest(self.space.expected(self.space.locate(z)[None]), n)
        return [(self.space.names[i], float(d)) for i, d in zip(near[0], lsd[0], strict=True)]

    def random(self, seed: int) -> Place:
        """Draw a place from the model."""
        drawn = self.space.sample(1, abs(integer("seed", seed)) % 2**63)
        return self.at(drawn.z[0], drawn.values[0])

    def hold(self, place: Place, locked: Mapping[str, float]) -> Place:
        """Return a place with the values that some parameters are locked at.

        Args:
            place: Where the other parameters are.
            locked: Native values by the parameters' names.

        Raises:
            InputError: A parameter is unknown, or a value far outside its range.
        """
        require_type("place", place, Place, "a Place, as space.place(name) is one")
        if not locked:
            return place
        return self.space.place_of(self.held(place.values, locked), place.z)

    def held(self, values: Float, locked: Mapping[str, float]) -> Float:
        """Return a preset, shape (n_params,), with the values that parameters are locked at."""
        require_type("locked", locked, Mapping, "native values by the names of parameters")
        held = checked_values(values, self.posterior.run.full_space, 1)
        index = self.posterior.run.full_space.index(list(locked))
        held[index] = [number(f"'{name}' locked at", value) for name, value in locked.items()]
        return self.checked(held)

    def note(self, pitch: Any, hold_seconds: Any, velocity: Any = None) -> Note:
        """Return another note, held for as long as the run's note at most.

        Args:
            pitch: MIDI number.
            hold_seconds: Until it is let go, at least 0.05.
            velocity: 1 to 127; that of the run's note if left out.

        Raises:
            InputError: The pitch or the velocity is none of MIDI's, or the hold no time.
        """
        note = self.posterior.run.note
        return replace(
            note,
            pitch=integer("pitch", pitch, 0, 127),
            velocity=integer("velocity", note.velocity if velocity is None else velocity, 1, 127),
            hold_seconds=min(number("hold", hold_seconds, SHORTEST_HOLD), note.hold_seconds),
        )

    def render(self, values: Float, note: Note | None = None) -> Sound:
        """Render a preset on the synth; sounds rendered a moment ago are remembered.

        Args:
            values: Native values of all parameters, shape (n_params,).
            note: Another note than the run's, from ``note``.

        Raises:
            InputError: Too many sounds are waiting, or the values do not fit the synth.
            SynthError: The synth crashed, hung, or gave no numbers.
        """
        preset = checked_values(values, self.posterior.run.full_space, 1)
        require_type("note", note, (Note, type(None)), "one of live.note, or None")
        return self._sounds.render(preset, note or self.posterior.run.note)
