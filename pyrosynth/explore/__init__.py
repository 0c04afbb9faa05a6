"""Play a fitted run: macro-controls, neighbourhoods, morphs, new presets, the map of a bank.

    import pyrosynth as ps

    posterior = ps.Posterior.load("run")
    with posterior.renderer(keep_audio=True) as renderer:
        sweep = ps.explore.macro(posterior, "pc1", renderer)
    sweep.plot()
    sweep.mapping().to_csv("pc1.csv")

Each call takes a posterior and returns labelled xarray data, as ``data``, with ``plot()``, a
figure, and ``facts()``, ready for JSON. Those that take a renderer play what they find, the
others ask the model what it would sound like. See the modules for what the data holds.
"""

from pyrosynth.explore.axes import Axis
from pyrosynth.explore.latent_space import Atlas, Place
from pyrosynth.explore.macros import Macro, macro
from pyrosynth.explore.morphing import Morph, Path, morph, path
from pyrosynth.explore.neighbors import Sounds, around, gaps, imagine, neighbours
from pyrosynth.explore.projection import Map, category, map
from pyrosynth.explore.ranking import Macros, macros

__all__ = [
    "Atlas",
    "Axis",
    "Macro",
    "Macros",
    "Map",
    "Morph",
    "Path",
    "Place",
    "Sounds",
    "around",
    "category",
    "gaps",
    "imagine",
    "macro",
    "macros",
    "map",
    "morph",
    "neighbours",
    "path",
]
