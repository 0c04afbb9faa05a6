"""Explore a fitted run: what its latent space holds between and around the known presets.

    import pyrosynth as ps

    posterior = ps.Posterior.load("run")
    with posterior.renderer(keep_audio=True) as renderer:
        sweep = ps.explore.traverse(posterior, "pc1", renderer)
    sweep.plot()
    sweep.mapping().to_csv("pc1.csv")

Each function takes a posterior and returns labelled xarray data, as ``data``, with ``plot()``,
a picture, and ``facts()``, ready for JSON; a notebook shows the picture and the sounds. Those that
take a renderer render what they find, the others ask the model what it would sound like. See the
modules for what the data holds.
"""

from pyrosynth.explore.axes import Axis, LinearAxis, NamedAxis, TagAxis
from pyrosynth.explore.latent_space import LatentSpace, Location
from pyrosynth.explore.morphing import Morph, PresetPath, find_path, morph
from pyrosynth.explore.neighbors import (
    PresetSet,
    nearest_presets,
    novel_presets,
    sample_around,
    sample_prior,
)
from pyrosynth.explore.places import Place
from pyrosynth.explore.projection import Projection, category, project
from pyrosynth.explore.ranking import AxisRanking, rank_axes
from pyrosynth.explore.traversal import Traversal, traverse

__all__ = [
    "Axis",
    "AxisRanking",
    "LatentSpace",
    "LinearAxis",
    "Location",
    "Morph",
    "NamedAxis",
    "Place",
    "PresetPath",
    "PresetSet",
    "Projection",
    "TagAxis",
    "Traversal",
    "category",
    "find_path",
    "morph",
    "nearest_presets",
    "novel_presets",
    "project",
    "rank_axes",
    "sample_around",
    "sample_prior",
    "traverse",
]
