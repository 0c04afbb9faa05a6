"""The page of a run: its state, as JSON, and the page as a folder that needs no server.

The state is presets on a plane, controls, points, and pictures of sounds. The sounds of a folder
are rendered beforehand.
"""

import base64
import io
import json
import shutil
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from tqdm.auto import tqdm

from pyrosynth._version import __version__
from pyrosynth.audio.io import Audio, wav_bytes
from pyrosynth.errors import InputError, SynthError, integer
from pyrosynth.explore.places import Array, Float, Place
from pyrosynth.files import whole
from pyrosynth.live import plane
from pyrosynth.live.engine import Live
from pyrosynth.live.knobs import grouped
from pyrosynth.live.protocol import PROTOCOL

PAGES = Path(__file__).parent / "page"
POSITIONS = np.linspace(-4.0, 4.0, 9)  # of each control, in a site
DIGITS = 7  # of numbers in the data of a site
AROUND = 4  # presets that a place on the plane is a mixture of
LONGEST = 200  # places of a path asked at once
FARTHEST = 10.0  # of a place from the corner of the plane, on which presets are from 0 to 1
DEEPEST_DB, HIGHEST_DB = -70.0, 0.0  # of the pictures of sounds, below their loudest


class PageState:
    """What the page shows.

    Args:
        live: The run.
        name: What it is called.
    """

    def __init__(self, live: Live, name: str) -> None:
        self.live, self.name = live, name

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
        run, space = live.posterior.run, live.space
        return {
            "run": self.name,
            "pyrosynth": __version__,
            "protocol": PROTOCOL,
            "model": type(run.variant).__name__,
            "synth": live.posterior.synth.name,
            "note": run.note.to_json(),
            "latent_dim": space.dim,
            "params": [
                {
                    "name": p.name, "kind": p.kind, "min": p.minimum, "max": p.maximum,
                    "unit": p.unit, "labels": list(p.labels), "levels": p.resolution,
                    "curve": p.curve, "group": group, "label": label,
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
                and ``locked``, native values by name that parameters keep whatever is asked.

        Returns:
            Latent, parameters, positions, place on the plane; after a move, where
            latents are those of sounds, ``share``, how much of it is expected to be heard; of a
            path the latents alone.

        Raises:
            InputError: It asks for nothing, or for something that does not exist.
        """
        live = self.live
        if "path" in asked:
            places = np.asarray(asked["path"], np.float64)
            if places.ndim != 2 or places.shape[1] != 2 or not 1 <= len(places) <= LONGEST:
                raise InputError(f"a path is 1 to {LONGEST} places of two numbers")
            if not np.isfinite(places).all():
                raise InputError("a place on the plane is two finite numbers")
            places = np.clip(places, -FARTHEST, FARTHEST)
            return {"path": [self.mixture(place).tolist() for place in places]}
        on_plane = None
        if "z" in asked:
            place = live.at(asked["z"], asked.get("values"))
        elif "knobs" in asked:
            values = live.checked(asked["knobs"])
            place = live.place_of(values, live.point(asked.get("near", np.zeros(live.space.dim))))
        elif "preset" in asked:
            number = integer("preset number", asked["preset"], 0, len(live.space) - 1)
            place = live.space.place(live.space.names[number])
            on_plane = self.plane[number].tolist()
        elif "random" in asked:
            place = live.random(integer("random", asked["random"]))
        else:
            raise InputError("a question for a point has z, knobs, preset, random or path")
        if "to" in asked:
            step = live.steer(place, {str(k): float(p) for k, p in dict(asked["to"]).items()})
            held = live.hold(step.place, locked(asked))
            told = self.told(held)
            if live.space.of_sound and np.array_equal(held.values, step.place.values):
                told["share"] = round(step.share, 3)
            return told
        return self.told(live.hold(place, locked(asked)), on_plane)

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
        return {
            "wav": base64.b64encode(content).decode(),
            "picture": self.picture(x),
            "level": float(np.sqrt(np.mean(np.square(audio, dtype=np.float64)))),
        }

    def picture(self, x: Array) -> dict[str, Any]:
        """Return the spectrogram of a sound: a byte for a cell, frame after frame, low to high."""
        power = self.live.posterior.run.features.power(x)
        level = 10 * np.log10(power / max(float(power.max()), 1e-12) + 1e-12)
        grey = np.clip((level - DEEPEST_DB) / (HIGHEST_DB - DEEPEST_DB), 0, 1)
        cells = np.round(255 * grey.T).astype(np.uint8)  # frame after frame
        return {
            "bands": int(x.shape[0]),
            "frames": int(x.shape[1]),
            "cells": base64.b64encode(cells.tobytes()).decode(),
        }

    @cached_property
    def _number(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.live.space.names)}


def locked(asked: dict[str, Any]) -> dict[str, float]:
    """Return the native values, by name, that a question wants parameters to keep."""
    return {str(name): float(value) for name, value in dict(asked.get("locked", {})).items()}


def write_site(
    live: Live, name: str, out: str | Path, *, presets: int = 200, progress: bool = True
) -> dict[str, int]:
    """Write the page of a run to a folder, which appears complete.

    Presets are chosen so that they cover the plane; each control is swept through the first of
    them, and the page says that its sliders move that one. It cannot find the preset of a new
    sound, nor mix controls.

    Args:
        live: The run.
        name: What it is called.
        out: The folder; a site of before is replaced, anything else is refused.
        presets: Number of presets at most.
        progress: Whether to show a progress bar.

    Returns:
        The numbers of ``presets`` and ``sounds`` in it.

    Raises:
        InputError: The folder holds something else or cannot be written.
        SynthError: The synth renders none of the presets.
    """
    page = PageState(live, name)
    state = page.state()
    chosen = spread(page.plane, presets)
    total = len(chosen) + len(live.controls) * len(POSITIONS)
    with (
        whole(out, "serve --static") as folder,
        tqdm(total=total, desc="site", unit="sound", disable=not progress) as bar,
    ):
        (folder / "sounds").mkdir()
        points = []
        for number in chosen:
            point = _point(page, page.point({"preset": number}), folder, f"p{number}")
            bar.update()
            if point is not None:
                points.append({**point, "number": number, "name": live.space.names[number]})
        if not points:
            raise SynthError(f"the synth renders none of {len(chosen)} presets; check the synth")
        center = live.space.place(live.space.names[points[0]["number"]])
        sweeps: dict[str, list[dict[str, Any]]] = {}
        for i, control in enumerate(live.controls):
            sweeps[control] = []
            for step, position in enumerate(POSITIONS):
                asked = {"z": center.z, "values": center.values}
                place = page.point({**asked, "to": {control: float(position)}})
                point = _point(page, place, folder, f"s{i}-{step}")
                bar.update()
                if point is not None:
                    name_there = f"{points[0]['name']} (moved)"
                    sweeps[control].append({**point, "position": position, "name": name_there})
        kept = [point.pop("number") for point in points]
        state["names"] = [state["names"][i] for i in kept]
        state["plane"] = [state["plane"][i] for i in kept]
        for one in (*state["colours"], *state["tags"]):
            one["of"] = [one["of"][i] for i in kept]
        data = json.dumps({"state": state, "presets": points, "sweeps": sweeps})
        for file in PAGES.glob("*.*"):
            shutil.copyfile(file, folder / file.name)
        (folder / "data.js").write_text(f'"use strict";\nconst EXPORTED = {data};\n')
    n_sounds = len(points) + sum(map(len, sweeps.values()))
    return {"presets": len(points), "sounds": n_sounds}


def spread(places: NDArray[np.float32], n: int) -> list[int]:
    """Choose places that cover the plane: each is the one furthest from those chosen before.

    Args:
        places: Shape (n_places, 2).
        n: Number of them at most.

    Returns:
        Their numbers, ascending; the first place is one of them.
    """
    chosen = [0]
    far = np.hypot(*(places - places[0]).T)
    while len(chosen) < min(n, len(places)):
        chosen.append(int(far.argmax()))
        far = np.minimum(far, np.hypot(*(places - places[chosen[-1]]).T))
        far[chosen] = -1.0
    return sorted(chosen)


def _point(
    page: PageState, point: dict[str, Any], folder: Path, name: str
) -> dict[str, Any] | None:
    """Add sound, picture and preset file to a point; None if the synth cannot render it."""
    live = page.live
    values = np.array(point["values"])
    try:
        sound = live.render(values)
    except SynthError:
        return None
    content = io.BytesIO()
    rate = live.posterior.run.features.sample_rate
    soundfile.write(content, np.clip(sound.audio, -1, 1), rate, format="MP3")
    (folder / "sounds" / f"{name}.mp3").write_bytes(content.getvalue())
    suffix, preset = live.files.bank([(name, values)])
    return {
        **{key: _rounded(value) for key, value in point.items()},
        "sound": f"sounds/{name}.mp3",
        "picture": page.picture(sound.x),
        "bank": base64.b64encode(preset).decode() if suffix != ".json" else None,
    }


def _rounded(value: Any) -> Any:
    """Shorten numbers in lists and dictionaries."""
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    return float(f"{value:.{DIGITS}g}")
