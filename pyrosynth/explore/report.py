"""The report of an exploration: pictures and sounds in one file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pyrosynth.explore.figures import signed
from pyrosynth.explore.latent_space import Atlas
from pyrosynth.explore.macros import Macro
from pyrosynth.explore.projection import Map
from pyrosynth.explore.ranking import Macros
from pyrosynth.inference.posterior import Posterior
from pyrosynth.plots import png
from pyrosynth.report import (
    Block,
    picture,
    player,
    players,
    section,
    table,
    wav_sources,
    write_report,
)

HEARD = 5  # sounds of a sweep
PICTURE = "picture.png"  # of a part, in its folder
LISTED = 12  # axes in the table


def explore_report(
    path: Path,
    atlas: Atlas,
    ranking: Macros,
    sweeps: Mapping[str, Macro],
    titles: Mapping[str, str],
    parts: Mapping[str, Any],
) -> None:
    """Write the report of an exploration.

    Pictures of parts that were drawn already, in the folders beside it, are taken from there.

    Args:
        path: The HTML file.
        atlas: Of the run.
        ranking: All axes.
        sweeps: Those that were played, by axis.
        titles: What these are called.
        parts: The other parts, by the names of their folders.

    Raises:
        RunError: The file cannot be written.
    """
    posterior = atlas.posterior
    rows = [
        [row["axis"], row["title"], f"{row['effect_db']:.1f}", row["evidence"]]
        for row in ranking.facts()[:LISTED]
    ]
    sections = [
        section(
            "What one can turn",
            picture(
                _drawn(path.with_name("ranking.png"), ranking),
                "Audible effect of the axes and what they change",
                "Each axis from −2 to 2 around the origin and some presets, as the model expects "
                "it to sound. z: a dimension of the latent; pc: a principal axis of the presets.",
            ),
            table(
                ("axis", "title", "effect dB", "evidence"), rows,
                note="Spreads are standard deviations of all presets. The macros below are named "
                "by what the synth plays, so their titles may differ.",
            ),
        )
    ]  # fmt: skip
    for axis, sweep in sweeps.items():
        data = sweep.data
        every = np.linspace(0, data.sizes["position"] - 1, HEARD).round().astype(int)
        labels = [signed(data["position"].values[i]) for i in every]
        knobs = sweep.mapping()
        sections.append(
            section(
                f"Macro {axis}: {titles[axis]}",
                _players(posterior, data.isel(position=every), labels),
                picture(
                    _drawn(path.parent / f"macro-{axis}" / PICTURE, sweep),
                    f"Parameters, spectrograms and descriptors along {axis}",
                    "Above: the parameters that move most. Below: descriptors of what the synth "
                    "plays (line), and the 5 % to 95 % of the same sweep from latents drawn from "
                    "the posterior of the sound in the middle.",
                ),
                table(
                    ("macro", *knobs.columns[2:]),
                    [[f"{row['macro']:.2f}", *(f"{row[k]:.4g}" for k in knobs.columns[2:])]
                     for row in knobs.to_dict("records")],
                    folded="knob mapping (native values)",
                ),
            )
        )  # fmt: skip
    colors = ("category", "brightness", "length", *atlas.tags)
    chart: Map = parts["map"]
    sections.append(
        section(
            "The map of the bank",
            *(
                picture(
                    _drawn(path.parent / "map" / PICTURE, chart)
                    if color == colors[0]
                    else png(chart.plot(color)),
                    f"Map by {color}", f"Coloured by {color}.",
                )
                for color in colors
            ),
        )
    )  # fmt: skip
    captions = {
        "neighbours": ("Nearest presets by sound", "As the bank keeps their sounds."),
        "neighbourhood": ("A neighbourhood", "Samples around a preset, played."),
        "morph": ("A morph", "From preset to preset, played."),
        "imagined": ("Presets nobody made", "Drawn from the prior of the latent, played."),
        "gaps": ("Where nobody has been", "Plausible presets that sound unlike all others."),
    }
    for name, (heading, caption) in captions.items():
        if name not in parts:
            continue
        data = parts[name].data
        drawn = _drawn(path.parent / name / PICTURE, parts[name])
        blocks = [picture(drawn, heading, caption)]
        if "audio" in data:
            position = data["position"].values if name == "morph" else ()
            labels = [f"{p:.2f}" for p in position] or data["preset"].values.tolist()
            blocks.insert(0, _players(posterior, data, labels))
        sections.append(section(heading, *blocks))
    facts = {"human presets": f"{len(atlas):,}", "latent": f"{atlas.z.shape[1]} dimensions"}
    lead = (
        f"What the latent space of the model '{type(posterior.variant).__name__}' holds: ways to "
        f"move through the presets of {posterior.synth.name}, played by the real synth."
    )
    write_report(path, f"{posterior.synth.name} explored", lead, facts, sections)


def _drawn(file: Path, found: Any) -> bytes:
    """Return the picture of a part from its file, else draw it."""
    return file.read_bytes() if file.is_file() else png(found.plot())


def _players(posterior: Posterior, data: Any, labels: Sequence[str]) -> Block:
    """Return the sounds of some data to listen to."""
    rate = posterior.run.features.sample_rate
    sources = wav_sources(list(data["audio"].values), rate)
    return players(
        [player(label, "", source) for label, source in zip(labels, sources, strict=True)]
    )
