"""Make the pictures and sounds of explore.md from a folder that `pyrosynth explore` wrote.

The page shows the commands.
"""

import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
import xarray
from PIL import Image

from pyrosynth.explore.projection import Projection
from pyrosynth.plots import new_axes, png

WIDTH, COLORS = 900, 160  # of pictures: pixels at most, and number
PLANE = (5.4, 6.4)  # inches: the presets are a tall cloud, which leaves a wide picture empty
SECONDS, PAUSE_SECONDS = 3.2, 0.15  # that are kept of each sound
PEAK = 0.9


def main(explored: Path, media: Path) -> None:
    """Write all of them."""
    media.mkdir(parents=True, exist_ok=True)
    axis = next(iter(json.loads((explored / "facts.json").read_text())["traversals"]))
    parts = {"ranking": explored, "traversal": explored / f"traversal-{axis}"}
    parts |= {name: explored / name for name in ("morph", "novel")}
    for name, folder in parts.items():
        file = folder / ("ranking.png" if name == "ranking" else "picture.png")
        small(file.read_bytes(), media / f"{name}.png")
    plane = Projection(read(explored / "projection")).plot("brightness", new_axes(PLANE))
    small(png(plane), media / "projection.png")
    rendered(parts["traversal"], (0, 2, 4, 6, 8), media / "traversal.ogg")
    rendered(parts["morph"], (0, 2, 4, 6, 8), media / "morph.ogg")
    rendered(parts["novel"], (0, 1, 2), media / "novel.ogg")


def small(picture: bytes, file: Path) -> None:
    """Write a picture of few pixels and colours."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image.thumbnail((WIDTH, image.height), Image.Resampling.LANCZOS)
    image.quantize(COLORS).save(file, optimize=True)


def rendered(folder: Path, chosen: Sequence[int], file: Path) -> None:
    """Write some sounds of a part one after the other."""
    rate = 22050  # of the pretrained run
    audio = read(folder)["audio"].values[list(chosen), : int(SECONDS * rate)]
    fade = rate // 20
    audio[:, -fade:] *= np.linspace(1, 0, fade)
    sound = np.pad(audio, ((0, 0), (0, int(PAUSE_SECONDS * rate)))).ravel()
    sound *= PEAK / np.abs(sound).max()
    soundfile.write(file, sound, rate, format="OGG", subtype="VORBIS", compression_level=0.9)


def read(folder: Path) -> xarray.Dataset:
    """Return the data of a part."""
    return xarray.load_dataset(folder / "data.nc", engine="h5netcdf")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
