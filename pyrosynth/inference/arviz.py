"""The one conversion from arrays to ArviZ ``InferenceData``, and its file.

ArviZ is imported inside the functions: it costs seconds.
"""

import os
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from pyrosynth.audio.metrics import log_distance
from pyrosynth.errors import DataError
from pyrosynth.inference.answers import Draws

if TYPE_CHECKING:
    from arviz import InferenceData

Arrays = Mapping[str, ArrayLike]

# Dimensions of each variable after chain, draw and preset; any other variable has none.
DIMS: dict[str, tuple[str, ...]] = {
    "v": ("param",),
    "value": ("param",),
    "z": ("latent",),
    "x": ("mel", "frame"),
    "descriptors": ("descriptor",),
}


def arviz() -> ModuleType:
    """Import ArviZ, without its daily warning and also where no cache folder can be made."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"\s*ArviZ is undergoing", FutureWarning)
        try:
            import arviz
        except OSError:  # it insists on writing the date of its last warning there
            before = os.environ.get("XDG_CACHE_HOME")
            with tempfile.TemporaryDirectory() as folder:
                os.environ["XDG_CACHE_HOME"] = folder
                try:
                    import arviz
                finally:
                    del os.environ["XDG_CACHE_HOME"]
                    if before is not None:
                        os.environ["XDG_CACHE_HOME"] = before
    return arviz


def inference_data(
    *,
    presets: Sequence[str],
    params: Sequence[str],
    posterior: Arrays,
    posterior_predictive: Arrays | None = None,
    prior_predictive: Arrays | None = None,
    observed_data: Arrays | None = None,
    log_likelihood: Arrays | None = None,
    sample_stats: Arrays | None = None,
    coords: Mapping[str, ArrayLike] | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> "InferenceData":
    """Label what is known of some sounds and of their presets.

    Variables are ``v`` (..., param) on the unit cube, ``value`` (..., param) native, ``z``
    (..., latent), ``x`` (..., mel, frame) log-mel, ``descriptors`` (..., descriptor), and any
    other name for one number.

    Args:
        presets: What the sounds are called; those of the same name get a number.
        params: Names of the parameters.
        posterior: Draws given each sound, arrays (draw, preset, ...).
        posterior_predictive: What the draws sound like, arrays (draw, preset, ...).
        prior_predictive: What presets drawn without a sound are like, arrays (draw, ...).
        observed_data: The sounds themselves and, where known, their presets, (preset, ...).
        log_likelihood: Of the draws, arrays (draw, preset).
        sample_stats: Further facts of the draws, such as ``log_q`` and ``lsd``, (draw, preset).
        coords: Coordinates of further dimensions, such as ``mel``, ``frame``, ``descriptor``.
        attrs: Facts about all of it, such as the run and the seed; text or numbers.

    Returns:
        The labelled data; the dimensions ``chain`` (of length 1) and ``draw`` come first.
    """
    az = arviz()
    named = {
        "preset": distinct_names(presets),
        "param": list(params),
        **{key: np.asarray(value) for key, value in (coords or {}).items()},
    }

    def group(arrays: Arrays, lead: tuple[str, ...], dims: dict[str, tuple[str, ...]]) -> Any:
        shaped = {key: np.asarray(array) for key, array in arrays.items()}
        return az.dict_to_dataset(
            {key: a[None] if "chain" in lead else a for key, a in shaped.items()},
            dims={key: [*lead, *dims.get(key, ())] for key in shaped},
            coords=named,
            attrs=dict(attrs or {}),
            default_dims=[],
        )

    drawn = ("chain", "draw", "preset")
    given: dict[str, tuple[Arrays | None, tuple[str, ...], dict[str, tuple[str, ...]]]] = {
        "posterior": (posterior, drawn, DIMS),
        "posterior_predictive": (posterior_predictive, drawn, DIMS),
        "prior_predictive": (prior_predictive, drawn[:2], DIMS),
        "observed_data": (observed_data, drawn[2:], DIMS),
        "log_likelihood": (log_likelihood, drawn, {}),  # one number per draw, whatever the site
        "sample_stats": (sample_stats, drawn, {}),
    }
    whole: InferenceData = az.InferenceData(
        **{name: group(a, lead, dims) for name, (a, lead, dims) in given.items() if a}
    )
    return whole


def label_draws(
    draws: Draws,
    name: str,
    sounds: ArrayLike | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> "InferenceData":
    """Label draws of one sound, see `pyrosynth.inference.answers.Draws.to_inference_data`."""
    posterior, x = draws.posterior, draws.x
    spec = posterior.run.features
    stats = {"log_q": draws.log_q[:, None]}
    predictive = None
    if sounds is not None:
        predictive = {"x": np.asarray(sounds)[:, None]}
        stats["lsd"] = log_distance(np.asarray(sounds), x)[:, None]
    return inference_data(
        presets=[name],
        params=posterior.run.space.names,
        posterior={"v": draws.v[:, None], "value": posterior.learnt(draws.values)[:, None]},
        posterior_predictive=predictive,
        observed_data={"x": x[None]},
        sample_stats=stats,
        coords={
            "mel": spec.centers_hz,
            "frame": np.arange(x.shape[1]) * spec.hop_length / spec.sample_rate,
        },
        attrs=attrs,
    )


def save_idata(idata: "InferenceData", path: str | Path) -> None:
    """Write labelled data to a netCDF file, atomically; ``arviz.from_netcdf`` reads it.

    Raises:
        DataError: The file cannot be written, for example on a full disk.
    """
    target = Path(path)
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        idata.to_netcdf(str(part))
        part.replace(target)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise DataError(
            f"cannot write '{target}' ({error.strerror or error}); free space or choose another "
            "folder"
        ) from error


def distinct_names(names: Iterable[str]) -> list[str]:
    """Number the second and later ones of equal names: coordinates must tell them apart."""
    counts: Counter[str] = Counter()
    taken = set(names := list(names))
    result = []
    for name in names:
        counts[name] += 1
        label = name
        while counts[name] > 1 and (label := f"{name} ({counts[name]})") in taken:
            counts[name] += 1
        taken.add(label)
        result.append(label)
    return result
