"""From arrays to labelled data for ArviZ, and their file, which is written without ArviZ.

ArviZ is imported inside one function, and what it is built on as well: they cost seconds.
"""

import os
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType, NoneType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyrosynth.audio.metrics import log_distance
from pyrosynth.errors import InputError, numbers, require_shapes, require_type
from pyrosynth.files import checked_path, write_bytes
from pyrosynth.inference.answers import Draws
from pyrosynth.inference.contraction import contraction, correlations, known_points
from pyrosynth.synths.presets import distinct_names

if TYPE_CHECKING:
    from arviz import InferenceData

    from pyrosynth.inference.posterior import Posterior

Arrays = Mapping[str, ArrayLike]

# Dimensions of each variable after chain, draw and preset; any other variable has none.
DIMS: dict[str, tuple[str, ...]] = {
    "v": ("param",),
    "value": ("param",),
    "z": ("latent",),
    "x": ("mel", "frame"),
    "descriptors": ("descriptor",),
    "contraction": ("param",),
    "correlation": ("param", "other_param"),
}
PRIOR_DRAWS = 256  # known presets that stand for the prior
# How arrays of a file are compressed, but for small ones, where it takes time and saves nothing.
PACKED = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
SMALL_BYTES = 1 << 16


class Group(NamedTuple):
    """Variables and coordinates by name, each with its dimensions, and facts about them."""

    variables: dict[str, tuple[tuple[str, ...], NDArray[Any]]]
    coords: dict[str, NDArray[Any]]
    attrs: dict[str, Any]


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


def label_groups(
    *,
    presets: Sequence[str],
    params: Sequence[str],
    posterior: Arrays,
    posterior_predictive: Arrays | None = None,
    prior: Arrays | None = None,
    prior_predictive: Arrays | None = None,
    observed_data: Arrays | None = None,
    constant_data: Arrays | None = None,
    log_likelihood: Arrays | None = None,
    sample_stats: Arrays | None = None,
    coords: Mapping[str, ArrayLike] | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> dict[str, Group]:
    """Label what is known of some sounds and of their presets, in the groups that ArviZ knows.

    Variables are ``v`` (..., param) on the unit cube, ``value`` (..., param) native, ``z``
    (..., latent), ``x`` (..., mel, frame) log-mel, ``descriptors`` (..., descriptor),
    ``contraction`` (..., param) and ``correlation`` (..., param, other_param), see
    `pyrosynth.inference.contraction`, and any other name for one number.

    Args:
        presets: What the sounds are called; those of the same name get a number.
        params: Names of the parameters.
        posterior: Draws given each sound, arrays (draw, preset, ...).
        posterior_predictive: What the draws sound like, arrays (draw, preset, ...).
        prior: Presets drawn without a sound, arrays (draw, ...).
        prior_predictive: What presets drawn without a sound are like, arrays (draw, ...).
        observed_data: The sounds themselves, (preset, ...). ArviZ compares each variable with
            the one of that name in ``posterior_predictive``.
        constant_data: What the sounds were made from and what is read of them, (preset, ...).
        log_likelihood: Of the sounds given the draws, arrays (draw, preset), or
            (draw, preset, mel, frame) for ``x``.
        sample_stats: Further facts of the draws, such as ``log_q`` and ``lsd``, (draw, preset).
        coords: Coordinates of further dimensions, such as ``mel``, ``frame``, ``descriptor``.
        attrs: Facts about all of it, such as the run and the seed; text or numbers.

    Returns:
        What each group that is given holds; the dimensions ``chain`` (of length 1) and
        ``draw`` come first.

    Raises:
        InputError: Names are no texts, or an array has not the axes that it should have.
    """
    for what, names in (("presets", presets), ("params", params)):
        require_type(what, names, Sequence, "a list of names")
        for one in names:
            require_type(f"one of {what}", one, str, "its name")
    for what, told in (("coords", coords), ("attrs", attrs)):
        require_type(what, told, (Mapping, NoneType), "a dictionary by name, or None")
    named: dict[str, Any] = {
        "preset": distinct_names(presets),
        "param": list(params),
        "other_param": list(params),
        **(coords or {}),
    }
    labels = {dim: np.atleast_1d(held) for dim, held in named.items()}

    def group(name: str, arrays: Arrays, lead: tuple[str, ...]) -> Group:
        require_type(name, arrays, Mapping, "a dictionary of arrays by name")
        variables: dict[str, Any] = {}
        sizes = {dim: len(held) for dim, held in labels.items()} | {"chain": 1}
        axes: dict[str, NDArray[Any]] = {}
        for key, given in arrays.items():
            array = _array(f"{key} of {name}", given)
            shape = (1, *array.shape) if "chain" in lead else array.shape
            dims = (*lead, *DIMS.get(key, ()))
            if not len(lead) <= len(shape) <= len(dims) or any(
                sizes.setdefault(dim, n) != n for dim, n in zip(dims, shape, strict=False)
            ):
                wanted = ", ".join(f"{dim} {sizes.get(dim, '')}".strip() for dim in dims)
                raise InputError(
                    f"{key} of {name} has the shape {array.shape}; give an array "
                    f"({wanted.removeprefix('chain 1, ')})"
                )
            dims = dims[: len(shape)]
            variables[key] = (dims, array.reshape(shape))
            axes |= {dim: labels.get(dim, np.arange(sizes[dim])) for dim in dims}
        return Group(variables, axes, dict(attrs or {}))

    drawn = ("chain", "draw", "preset")
    given = {
        "posterior": (posterior, drawn),
        "posterior_predictive": (posterior_predictive, drawn),
        "prior": (prior, drawn[:2]),
        "prior_predictive": (prior_predictive, drawn[:2]),
        "observed_data": (observed_data, drawn[2:]),
        "constant_data": (constant_data, drawn[2:]),
        "log_likelihood": (log_likelihood, drawn),
        "sample_stats": (sample_stats, drawn),
    }
    return {
        name: group(name, arrays, lead)
        for name, (arrays, lead) in given.items()
        if arrays is not None and not (isinstance(arrays, Mapping) and not arrays)
    }


def _array(what: str, given: Any) -> NDArray[Any]:
    """Return numbers or texts as an array."""
    try:
        array = np.asarray(given)
    except ValueError:  # lists of differing lengths
        array = np.empty(0, object)
    return array if array.dtype.kind in "USb" else numbers(what, given)


def inference_data(groups: Mapping[str, Group]) -> "InferenceData":
    """Turn labelled groups into what ArviZ's functions take.

    Raises:
        InputError: They are not what `label_groups` returns.
    """
    import xarray

    _require_groups(groups)
    return arviz().InferenceData(
        **{name: xarray.Dataset(*group) for name, group in groups.items()}
    )


def _require_groups(groups: Any) -> None:
    require_type("groups", groups, Mapping, "what label_groups returns")
    for group in groups.values():
        require_type("one of the groups", group, Group, "what label_groups returns")


def label_draws(
    draws: Draws,
    name: str,
    sounds: ArrayLike | None = None,
    attrs: Mapping[str, Any] | None = None,
) -> dict[str, Group]:
    """Label draws of one sound, see `pyrosynth.inference.answers.Draws.to_inference_data`."""
    require_type("draws", draws, Draws, "what posterior.sample(x) returns")
    require_type("name", name, str, "what the sound is called")
    posterior, x = draws.posterior, draws.x
    likelihood = posterior.log_likelihood(draws.v, x)
    spec = posterior.run.features
    stats = {"log_q": draws.log_q[:, None]}
    predictive, lsd = None, None
    if sounds is not None:
        played = numbers("sounds", sounds)
        require_shapes("the draws", {"sounds": (played, (len(draws), *x.shape))})
        predictive = {"x": played[:, None]}
        lsd = log_distance(played, x)
        stats["lsd"] = lsd[:, None]
    return label_groups(
        presets=[name],
        params=posterior.run.space.names,
        posterior={"v": draws.v[:, None], "value": posterior.learnt(draws.values)[:, None]},
        posterior_predictive=predictive,
        prior=prior_of(posterior),
        observed_data={"x": x[None]},
        constant_data=told(posterior, draws.v[:, None], None if lsd is None else lsd[:, None]),
        log_likelihood=None if likelihood is None else {"x": likelihood[:, None]},
        sample_stats=stats,
        coords={
            "mel": spec.centers_hz,
            "frame": np.arange(x.shape[1]) * spec.hop_length / spec.sample_rate,
        },
        attrs=attrs,
    )


def prior_of(posterior: "Posterior") -> dict[str, NDArray[Any]] | None:
    """Return some known presets, which stand for the prior; None where a run has no bank."""
    known = known_points(posterior)
    if known is None:
        return None
    rows = np.linspace(0, len(known) - 1, min(len(known), PRIOR_DRAWS)).round().astype(int)
    points = known[rows].astype(np.float32)
    return {"v": points, "value": posterior.run.space.decode(points)}


def told(
    posterior: "Posterior", v: NDArray[np.float32], lsd: NDArray[Any] | None = None
) -> dict[str, NDArray[Any]]:
    """Return what sounds tell of each control, and how controls trade off given each sound.

    Args:
        posterior: The run.
        v: Draws on the unit cube, shape (n_draws, n, n_params).
        lsd: Distances of what the synth plays for them, shape (n_draws, n), where it was heard.

    Returns:
        ``correlation`` (n, n_params, n_params) and, where the run has a bank, ``contraction``
        (n, n_params).
    """
    each = [correlations(v[:, i], None if lsd is None else lsd[:, i]) for i in range(v.shape[1])]
    found = {"correlation": np.stack(each).astype(np.float32)}
    known = known_points(posterior)
    if known is not None:
        found["contraction"] = contraction(v, known, posterior.run.space).astype(np.float32)
    return found


def save_groups(groups: Mapping[str, Group], path: str | Path) -> None:
    """Write labelled groups to a netCDF file, atomically; ``arviz.from_netcdf`` reads it.

    Raises:
        InputError: The groups are not what `label_groups` returns, or the file cannot be
            written, for example on a full disk.
    """
    _require_groups(groups)
    path = checked_path("path", path)
    import io

    import h5netcdf
    import h5py

    # In memory first: HDF5 ends the process if the disk fills while it closes a file.
    content = io.BytesIO()
    with h5netcdf.File(content, "w") as file:
        for name, data in groups.items():
            group = file.create_group(name)
            group.dimensions = {dim: len(labels) for dim, labels in data.coords.items()}
            group.attrs.update(data.attrs)
            along = {dim: ((dim,), labels) for dim, labels in data.coords.items()}
            for key, (dims, array) in (along | data.variables).items():
                if array.dtype.kind == "U":
                    group.create_variable(key, dims, h5py.string_dtype(), array.astype(object))
                    continue
                truth = array.dtype.kind == "b"  # netCDF has no such type; xarray restores it
                stored = array.astype(np.int8) if truth else array
                packed = PACKED if stored.nbytes > SMALL_BYTES else {}
                variable = group.create_variable(key, dims, stored.dtype, data=stored, **packed)
                if truth:
                    variable.attrs["dtype"] = "bool"
    write_bytes(path, content.getvalue())
