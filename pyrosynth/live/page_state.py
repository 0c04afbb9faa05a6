"""What the page of a run shows, as JSON: presets on a plane, controls, points, sounds."""

import base64
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from pyrosynth._version import __version__
from pyrosynth.audio.io import Audio, wav_bytes
from pyrosynth.errors import InputError, PyrosynthError, integer, numbers, require_type
from pyrosynth.explore.morphing import PresetPath, find_path
from pyrosynth.explore.places import Array, Float, Place
from pyrosynth.live import plane
from pyrosynth.live.engine import Live
from pyrosynth.live.protocol import PROTOCOL
from pyrosynth.live.questions import locked, named_numbers, presets_of, way_of
from pyrosynth.synths.knobs import Reading, grouped
from pyrosynth.training.identity import run_hash

AROUND = 4  # presets that a place on the plane is a mixture of
ANY = "to", "locked", "sound"
PLACES = {
    "z": ("values", *ANY),
    "knobs": ("near", *ANY),
    "preset": ANY,
    "random": ANY,
    "path": (),
    "through": ("locked",),
}  # what a point can be asked by, and what goes with it
POINT = {*PLACES, *PLACES["z"], *PLACES["knobs"]}  # keys of a question for a point
STARTS = 16  # places that were moved from and are remembered
LONGEST = 200  # places of a path asked at once
STOPS, ALONG = 8, 9  # presets that a morph leads through at most, and presets along it
FARTHEST = 10.0  # of a place from the corner of the plane, on which presets are from 0 to 1
DEEPEST_DB, HIGHEST_DB = -70.0, 0.0  # of the pictures of sounds, below their loudest


class PageState:
    """What the page shows.

    Args:
        live: The run.
        name: What it is called.
        sends_midi: Whether the page is to tell where it is, for the synth's own knobs.

    Attributes:
        identity: The run's name, a hash that tells it from others of that name, and the version.
    """

    def __init__(self, live: Live, name: str, *, sends_midi: bool = False) -> None:
        self.live, self.sends_midi = live, sends_midi
        self.identity = {
            "run": name, "hash": run_hash(live.posterior)[:16], "pyrosynth": __version__,
        }  # fmt: skip
        # A slider that is dragged asks from where it began, again and again.
        self._at = lru_cache(STARTS)(lambda asked: live.at(*json.loads(asked)))

    @cached_property
    def plane(self) -> Array:
        """Where each preset lies, shape (n, 2), see `pyrosynth.live.plane.places`."""
        return plane.places(self.live.space)

    @cached_property
    def plane_ends(self) -> list[tuple[str, str]]:
        """What lies at the ends of the plane: left and right, then below and above."""
        return plane.ends(self.live.space, self.plane)

    def state(self) -> dict[str, Any]:
        """Return everything that stays: run, parameters, controls, plane."""
        live = self.live
        run, space, readings = live.posterior.run, live.space, live.posterior.synth.readings
        return {
            **self.identity,
            "protocol": PROTOCOL,
            "sends_midi": self.sends_midi,
            "model": type(run.variant).__name__,
            "synth": live.posterior.synth.name,
            "note": run.note.to_json(),
            "latent_dim": space.dim,
            "params": [
                {
                    "name": p.name, "kind": p.kind, "min": p.minimum, "max": p.maximum,
                    "unit": p.unit, "labels": list(p.labels), "levels": p.resolution,
                    "curve": p.curve, "group": group, "label": label,
                    "reading": asdict(readings.get(p.name, Reading(p.unit))),
                }
                for p, (group, label) in zip(
                    run.full_space.params, grouped(run.full_space), strict=True
                )
            ],
            "controls": [
                {"name": c.name, "kind": c.kind, "ends": c.ends, "moves": c.moves}
                for c in live.controls.values()
            ],
            "names": list(space.names),
            "plane": np.round(self.plane.astype(float), 5).tolist(),
            "plane_ends": self.plane_ends,
            "colours": plane.colours(space),
            "tags": plane.tags(space),
        }  # fmt: skip

    def point(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Return what is at a point.

        Args:
            asked: One of ``z`` (the latent; and ``values``, the preset there), ``knobs`` (native
                values of all parameters; and ``near``, a latent for models that expect none of
                presets), ``preset`` (its number), ``random`` (a seed) or ``path`` (places on the
                plane, each two numbers from 0 to 1); then ``to``, positions of controls by name,
                ``locked``, native values by name that parameters keep whatever is asked, and
                ``sound``, whether its sound is to be told as well.

        Returns:
            Latent, parameters, positions, place on the plane; after a move, where
            latents are those of sounds, ``share``, how much of it is expected to be heard;
            ``sound``, see `sound`, unless it cannot be rendered now; of a path the latents alone.
            For a morph, which is asked for by ``through``, see `stops` and `morph`.

        Raises:
            InputError: It asks for nothing, for several things, or for something that does not
                exist.
        """
        live, by = self.live, way_of(asked, "a point", PLACES)
        if by == "path":
            places = numbers("places of a path", asked["path"], np.float64)
            if places.ndim != 2 or places.shape[1] != 2 or not 1 <= len(places) <= LONGEST:
                raise InputError(f"a path is 1 to {LONGEST} places of two numbers")
            if not (np.abs(places) <= FARTHEST).all():
                raise InputError(
                    "a place on the plane is two finite numbers; "
                    f"give -{FARTHEST:g} to {FARTHEST:g}"
                )
            return {"path": [self.mixture(place).tolist() for place in places]}
        on_plane = None
        if by == "z":
            place = self._at(json.dumps([asked["z"], asked.get("values")]))
        elif by == "knobs":
            values = live.checked(asked["knobs"])
            place = live.place_of(values, live.point(asked.get("near", np.zeros(live.space.dim))))
        elif by == "preset":
            number = integer("preset number", asked["preset"], 0, len(live.space) - 1)
            place = live.space.place(live.space.names[number])
            on_plane = self.plane[number].tolist()
        else:
            place = live.random(integer("random", asked["random"]))
        step = None
        if "to" in asked:
            step = live.steer(place, named_numbers("position on axis", asked["to"]))
            place = step.place
        held = live.hold(place, locked(asked))
        told = self.told(held, on_plane if step is None else None)
        if step and live.space.of_sound and np.array_equal(held.values, place.values):
            told["share"] = round(step.share, 3)
        wanted = asked.get("sound", False)
        require_type("sound", wanted, bool, "true or false")
        if wanted:
            with suppress(PyrosynthError):  # said when the sound alone is asked for
                sound = live.render(held.values)
                told["sound"] = self.sound(sound.audio, sound.x)
        return told

    def stops(self, asked: dict[str, Any]) -> list[Place]:
        """Return the places that a question for a morph leads through.

        Args:
            asked: ``through``, with ``z`` and ``values`` of 2 to 8 presets, and ``locked``.

        Raises:
            InputError: These are no presets.
        """
        way_of(asked, "a point", PLACES)
        through = presets_of(asked, "through", 2, STOPS)
        places = [self.live.at(stop["z"], stop["values"]) for stop in through]
        return [self.live.hold(place, locked(asked)) for place in places]

    def morph(self, stops: Sequence[Place], held: Mapping[str, float]) -> list[dict[str, Any]]:
        """Return points of a morph through places, the smoothest of those that are rendered.

        It is for whoever has the turn of ``live.searching``.

        Args:
            stops: See `stops`.
            held: Native values, by name, that parameters keep.
        """
        live, legs = self.live, len(stops) - 1
        steps = max(3, round((ALONG - 1) / legs) + 1)
        path = find_path(live.posterior, stops, renderer=live.search_renderer, steps=steps)
        position = np.linspace(0, legs, legs * (steps - 1) + 1)
        values = [live.held(one, held) for one in path.values(position)]
        z = PresetPath.through(live.space, stops, "latent").place(position).z
        return [self.told(live.place_of(*pair)) for pair in zip(values, z, strict=True)]

    def told(self, place: Place, on_plane: list[float] | None = None) -> dict[str, Any]:
        """Tell a place, where it is on the plane, and its preset."""
        unit = self.live.posterior.run.full_space.to_unit(place.values)
        return {
            "z": place.z.tolist(),
            "values": place.values.tolist(),
            "unit": unit.tolist(),
            "positions": self.live.positions(place.z),
            "place": on_plane or self.place(place.z),
        }

    def place(self, z: Array) -> list[float]:
        """Return where a latent is on the plane: amid the presets expected to sound like it."""
        near = self.live.near(z, min(AROUND, len(self.live.space)))
        weight = 1 / (np.array([lsd for _, lsd in near]) + 0.1) ** 2
        at = self.plane[[self._number[name] for name, _ in near]]
        return [float(c) for c in weight @ at / weight.sum()]

    def mixture(self, place: Float) -> Array:
        """Return a latent for a place on the plane: that of the presets around it."""
        distance = np.hypot(*(self.plane - place).T)
        near = np.argsort(distance, kind="stable")[:AROUND]
        weight = 1 / (distance[near] + 1e-3) ** 2
        mixed: Array = (weight / weight.sum()).astype(np.float32) @ self.live.space.z[near]
        return mixed

    def sound(self, audio: Audio, x: Array) -> dict[str, Any]:
        """Return a sound as the page plays and shows it, with its level: root mean square."""
        content = wav_bytes(audio, self.live.posterior.run.features.sample_rate)
        return {"wav": base64.b64encode(content).decode(), **self.seen(audio, x)}

    def seen(self, audio: Audio, x: Array, shades: int = 256) -> dict[str, Any]:
        """Return how the page shows a sound: its picture and its level.

        The picture is a spectrogram: a byte for a cell, frame after frame, low to high. The level
        is the root mean square.

        Args:
            audio: The sound, shape (n_samples,).
            x: Its features, shape (n_mels, n_frames).
            shades: Number of different bytes in the picture, at most 256.
        """
        power = self.live.posterior.run.features.power(x)
        level = 10 * np.log10(power / max(float(power.max()), 1e-12) + 1e-12)
        grey = np.clip((level - DEEPEST_DB) / (HIGHEST_DB - DEEPEST_DB), 0, 1)
        shade = np.round((shades - 1) * grey.T) * 255 / (shades - 1)  # frame after frame
        cells = np.round(shade).astype(np.uint8)
        picture = {
            "bands": int(x.shape[0]),
            "frames": int(x.shape[1]),
            "cells": base64.b64encode(cells.tobytes()).decode(),
        }
        return {
            "picture": picture,
            "level": float(np.sqrt(np.mean(np.square(audio, dtype=np.float64)))),
        }

    @cached_property
    def _number(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.live.space.names)}
