"""pyrosynth: probabilistic programming of sound synthesizers.

    import pyrosynth as ps

    data = ps.render_dataset(ps.load_synth("voice"), "data", params="16", derived=1000)
    run = ps.fit("flow_reg", data, "run", steps=500)
    posterior = ps.Posterior.load("run")

Names are imported when they are first used, so that the import itself takes no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyrosynth import explore as explore
    from pyrosynth.audio import Note, load_audio, save_audio
    from pyrosynth.checks import check
    from pyrosynth.comparisons import compare
    from pyrosynth.dataset import Dataset, open_dataset, render_dataset
    from pyrosynth.errors import PyrosynthError
    from pyrosynth.features import FeatureSpec
    from pyrosynth.fitting import fit
    from pyrosynth.inference import infer_sounds
    from pyrosynth.params import Param, ParamSpace
    from pyrosynth.posterior import Posterior
    from pyrosynth.presets import Preset
    from pyrosynth.rendering import Renderer
    from pyrosynth.retrieval import Bank
    from pyrosynth.run import Run, load_run
    from pyrosynth.synths import load as load_synth
    from pyrosynth.variant import Dims, Term, Variant

__version__ = "0.1.0"

__all__ = [
    "Bank",
    "Dataset",
    "Dims",
    "FeatureSpec",
    "Note",
    "Param",
    "ParamSpace",
    "Posterior",
    "Preset",
    "PyrosynthError",
    "Renderer",
    "Run",
    "Term",
    "Variant",
    "check",
    "compare",
    "fit",
    "infer_sounds",
    "load_audio",
    "load_run",
    "load_synth",
    "open_dataset",
    "render_dataset",
    "save_audio",
]

_HOMES = {
    "audio": ("Note", "load_audio", "save_audio"),
    "checks": ("check",),
    "comparisons": ("compare",),
    "dataset": ("Dataset", "open_dataset", "render_dataset"),
    "errors": ("PyrosynthError",),
    "features": ("FeatureSpec",),
    "fitting": ("fit",),
    "inference": ("infer_sounds",),
    "params": ("Param", "ParamSpace"),
    "posterior": ("Posterior",),
    "presets": ("Preset",),
    "rendering": ("Renderer",),
    "retrieval": ("Bank",),
    "run": ("Run", "load_run"),
    "synths": ("load_synth",),
    "variant": ("Dims", "Term", "Variant"),
}
_MODULES = ("explore",)  # public themselves
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name in _MODULES:
        return import_module(f"pyrosynth.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'pyrosynth' has no attribute '{name}'")
    found = getattr(import_module(f"pyrosynth.{_HOME[name]}"), name.replace("load_synth", "load"))
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """List the public names beside those imported already."""
    return sorted({*globals(), *__all__, *_MODULES})
