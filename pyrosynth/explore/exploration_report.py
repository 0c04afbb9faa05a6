"""The report of an exploration: axes, a map, and presets near, between and beyond known ones."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pyrosynth.explore.latent_space import LatentSpace
from pyrosynth.explore.neighbors import PresetSet, heard_words
from pyrosynth.explore.ranking import AxisRanking
from pyrosynth.explore.result import Result
from pyrosynth.explore.traversal import Traversal
from pyrosynth.files import safe_name
from pyrosynth.plots import png
from pyrosynth.report import Section, picture, section, table, write_report

PICTURE = "picture.png"
PLAYED = 5  # sounds of a traversal in the report
LISTED = 12  # axes in its table
COLORS = ("category", "brightness", "length")
PARTS = {
    "nearest": ("Nearest presets by sound", "As the bank keeps their sounds."),
    "variations": ("Variations of a preset", "Small random steps in the latent space, rendered."),
    "morph": ("A morph", "From preset to preset, rendered."),
    "prior": ("New presets", "Drawn from the prior of the latent, rendered."),
    "novel": ("Novel presets", "Plausible ones that sound unlike all known presets, rendered."),
}


def write_exploration(
    path: Path,
    space: LatentSpace,
    ranking: AxisRanking,
    traversals: Mapping[str, Traversal],
    parts: Mapping[str, Result],
) -> None:
    """Write the report of an exploration.

    Figures of parts that were drawn already, in the folders beside it, are taken from there.

    Args:
        path: The HTML file.
        space: The latent space of the run.
        ranking: All axes.
        traversals: Those that were rendered, by axis.
        parts: The other parts that could be made, by the names of their folders.

    Raises:
        InputError: The file cannot be written.
    """
    synth, model = space.posterior.synth.name, type(space.posterior.variant).__name__
    titles = dict(zip(ranking.data["axis"].values, ranking.data["title"].values, strict=True))
    sections = [_ranking(path, ranking)]
    sections += [
        _traversal(path, axis, titles[axis], result) for axis, result in traversals.items()
    ]
    if (plane := parts.get("projection")) is not None:
        pictures = [
            picture(
                _drawn(path, "projection", plane)
                if color == COLORS[0]
                else png(plane.plot(color)),  # type: ignore[call-arg]
                f"Presets by {color}", f"Coloured by {color}.",
            )
            for color in (*COLORS, *space.tags)
        ]  # fmt: skip
        sections.append(section("The presets of the bank on a plane", *pictures))
    for name, part in parts.items():
        if name not in PARTS:
            continue
        heading, caption = PARTS[name]
        if isinstance(part, PresetSet) and (words := heard_words(part.heard)):
            caption += f" Of the sound: {words}."
        drawn = picture(_drawn(path, name, part), heading, caption)
        sounds = part.players()
        sections.append(section(heading, *([sounds] if sounds else []), drawn))
    facts = {"human presets": f"{len(space):,}", "latent": f"{space.dim} dimensions"}
    lead = (
        f"What the latent space of the model '{model}' holds: axes along which sounds change, and "
        f"presets near, between and beyond those that people made for {synth}, rendered by the "
        "synth itself."
    )
    write_report(path, f"{synth} explored", lead, facts, sections)


def _ranking(path: Path, ranking: AxisRanking) -> Section:
    rows = [
        [row["axis"], row["title"], f"{row['effect_db']:.1f}", row["sounds"], row["evidence"]]
        for row in ranking.facts()[:LISTED]
    ]
    return section(
        "What one can turn",
        picture(
            _drawn(path, "", ranking, "ranking.png"),
            "Audible effect of the axes and what they change",
            "Each axis from −2 to 2 around the origin and some presets: as the synth renders it "
            "(dark), or as the model expects it to sound (pale). z: a dimension of the latent; "
            "pc: a principal axis of the presets.",
        ),
        table(
            ("axis", "title", "effect dB", "sounds", "evidence"), rows,
            note="Spreads are standard deviations of all presets.",
        ),
    )  # fmt: skip


def _traversal(path: Path, axis: str, title: str, result: Traversal) -> Section:
    data = result.data
    every = np.linspace(0, data.sizes["position"] - 1, PLAYED).round().astype(int)
    sounds = Traversal(data.isel(position=every)).players()
    mapping = result.mapping()
    return section(
        f"Axis {axis}: {title}",
        *([sounds] if sounds else []),
        picture(
            _drawn(path, part_of(axis), result),
            f"Parameters, spectrograms and descriptors along {axis}",
            "Above: the parameters that move most. Below: descriptors of what the synth renders "
            "(line), and the 5 % to 95 % of the same sweep from latents drawn from the posterior "
            "of the sound in the middle.",
        ),
        table(
            (mapping.columns[0], *mapping.columns[2:]),
            [[f"{macro:.2f}", *(f"{value:.4g}" for value in moved)]
             for macro, _, *moved in mapping.to_numpy()],
            folded="Mapping for the macro knob of a host (native values)",
        ),
    )  # fmt: skip


def part_of(axis: str) -> str:
    """Return the name of the folder of the traversal of an axis."""
    return safe_name(f"traversal-{axis}")


def _drawn(path: Path, part: str, result: Result, name: str = PICTURE) -> bytes:
    """Return the picture of a part from its file, else draw it."""
    file = path.parent / part / name
    return file.read_bytes() if file.is_file() else png(result.plot())
