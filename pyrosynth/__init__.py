"""pyrosynth: probabilistic programming of sound synthesizers.

    import pyrosynth as ps

    data = ps.render_dataset(ps.load_synth("voice"), "data", params="16", augmented=1000)
    run = ps.fit("flow_reg", data, "run", steps=500)
    posterior = ps.Posterior.load("run")

Names are imported when they are first used, so that the import itself takes no time.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pyrosynth._version import __version__ as __version__

if TYPE_CHECKING:
    from pyrosynth import explore as explore
    from pyrosynth.audio.features import FeatureSpec
    from pyrosynth.audio.io import load_audio, save_audio
    from pyrosynth.audio.note import Note
    from pyrosynth.data.bank import Bank
    from pyrosynth.data.dataset import Dataset, open_dataset, render_dataset
    from pyrosynth.errors import PyrosynthError
    from pyrosynth.evaluation.check import check
    from pyrosynth.evaluation.compare import compare
    from pyrosynth.inference.infer import infer_sounds
    from pyrosynth.inference.posterior import Posterior
    from pyrosynth.modeling.variant import Dims, Term, Variant
    from pyrosynth.synths import load as load_synth
    from pyrosynth.synths.params import Param, ParamSpace
    from pyrosynth.synths.presets import Preset
    from pyrosynth.synths.rendering import Renderer
    from pyrosynth.training.fit import fit
    from pyrosynth.training.run import Run, load_run


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
    "audio.io": ("load_audio", "save_audio"),
    "audio.note": ("Note",),
    "evaluation.check": ("check",),
    "evaluation.compare": ("compare",),
    "data.dataset": ("Dataset", "open_dataset", "render_dataset"),
    "errors": ("PyrosynthError",),
    "audio.features": ("FeatureSpec",),
    "training.fit": ("fit",),
    "inference.infer": ("infer_sounds",),
    "synths.params": ("Param", "ParamSpace"),
    "inference.posterior": ("Posterior",),
    "synths.presets": ("Preset",),
    "synths.rendering": ("Renderer",),
    "data.bank": ("Bank",),
    "training.run": ("Run", "load_run"),
    "synths": ("load_synth",),
    "modeling.variant": ("Dims", "Term", "Variant"),
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
