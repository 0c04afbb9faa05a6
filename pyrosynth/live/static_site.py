"""The page of a run as a folder that needs no server: its sounds are rendered beforehand."""

import base64
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from tqdm.auto import tqdm

from pyrosynth.errors import SynthError
from pyrosynth.files import whole
from pyrosynth.live.engine import Live
from pyrosynth.live.page_state import PageState

PAGES = Path(__file__).parent / "page"
POSITIONS = np.linspace(-4.0, 4.0, 9)
DIGITS = 7  # of numbers in the data


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
        center = live.space.z[points[0]["number"]]
        sweeps: dict[str, list[dict[str, Any]]] = {}
        for i, control in enumerate(live.controls):
            sweeps[control] = []
            for step, position in enumerate(POSITIONS):
                place = page.point({"z": center, "to": {control: float(position)}})
                point = _point(page, place, folder, f"s{i}-{step}")
                bar.update()
                if point is not None:
                    name_there = f"{points[0]['name']} (moved)"
                    sweeps[control].append({**point, "position": position, "name": name_there})
        kept = [point.pop("number") for point in points]
        state["names"] = [state["names"][i] for i in kept]
        state["plane"] = [state["plane"][i] for i in kept]
        for colour in state["colours"]:
            colour["of"] = [colour["of"][i] for i in kept]
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
    suffix, preset = live.files.preset(values, name)
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
