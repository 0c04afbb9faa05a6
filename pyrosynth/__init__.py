"""Find the presets of a synthesizer behind a sound, with probabilistic programs in Pyro.

    import pyrosynth as ps

    data = ps.render_dataset(ps.load_synth("voice"), "data", params="16", augmented=1000)
    run = ps.fit("flow_audio", data, "run", steps=500)
    posterior = ps.Posterior.load("run")

Names are imported when they are first used, so that the import itself takes no time. What a model
file is written with comes from `pyrosynth.modeling`.
"""

from threading import RLock
from typing import TYPE_CHECKING, Any

import lazy_loader

from pyrosynth._version import __version__ as __version__

if TYPE_CHECKING:  # what type checkers and editors see; the same names as below
    from pyrosynth import audio, data, evaluation, explore, inference, modeling, plots, statistics
    from pyrosynth.audio.features import FeatureSpec
    from pyrosynth.audio.io import load_audio, save_audio
    from pyrosynth.audio.note import Note
    from pyrosynth.data.bank import Bank
    from pyrosynth.data.dataset import Dataset, open_dataset, render_dataset
    from pyrosynth.errors import PyrosynthError
    from pyrosynth.evaluation.check import check
    from pyrosynth.evaluation.compare import compare
    from pyrosynth.inference.answers import Draws, Match
    from pyrosynth.inference.infer import infer_sounds
    from pyrosynth.inference.posterior import Posterior
    from pyrosynth.modeling import Dims, Term, Variant
    from pyrosynth.synths.catalog import load_synth
    from pyrosynth.synths.params import Param, ParamSpace
    from pyrosynth.synths.presets import Preset
    from pyrosynth.synths.rendering import Renderer
    from pyrosynth.training.fit import fit
    from pyrosynth.training.run import Run, load_run
    from pyrosynth.training.zoo import list_models, load_model

__all__ = [
    "Bank", "Dataset", "Dims", "Draws", "FeatureSpec", "Match", "Note", "Param", "ParamSpace",
    "Posterior", "Preset", "PyrosynthError", "Renderer", "Run", "Term", "Variant", "audio",
    "check", "compare", "data", "evaluation", "explore", "fit", "infer_sounds", "inference",
    "list_models", "load_audio", "load_model", "load_run", "load_synth", "modeling",
    "open_dataset", "plots", "render_dataset", "save_audio", "statistics",
]  # fmt: skip

_imported, __dir__, _ = lazy_loader.attach(
    __name__,
    submodules=(
        "audio",
        "data",
        "evaluation",
        "explore",
        "inference",
        "modeling",
        "plots",
        "statistics",
    ),
    submod_attrs={
        "audio.features": ["FeatureSpec"],
        "audio.io": ["load_audio", "save_audio"],
        "audio.note": ["Note"],
        "data.bank": ["Bank"],
        "data.dataset": ["Dataset", "open_dataset", "render_dataset"],
        "errors": ["PyrosynthError"],
        "evaluation.check": ["check"],
        "evaluation.compare": ["compare"],
        "inference.answers": ["Draws", "Match"],
        "inference.infer": ["infer_sounds"],
        "inference.posterior": ["Posterior"],
        "modeling": ["Dims", "Term", "Variant"],
        "synths.catalog": ["load_synth"],
        "synths.params": ["Param", "ParamSpace"],
        "synths.presets": ["Preset"],
        "synths.rendering": ["Renderer"],
        "training.fit": ["fit"],
        "training.run": ["Run", "load_run"],
        "training.zoo": ["list_models", "load_model"],
    },
)
_importing = RLock()


def __getattr__(name: str) -> Any:
    """Import what a name stands for, for one thread at a time.

    Of modules that import each other, a second thread would see some that are not whole yet. No
    module of the package comes here: what it holds while it is imported might be waited for.
    """
    with _importing:
        return _imported(name)
