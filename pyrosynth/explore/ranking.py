"""Axes ranked by how much one hears of them, and named by what they do."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pyrosynth.audio.descriptors import describe_features
from pyrosynth.audio.metrics import log_distance
from pyrosynth.data.labeling import DESCRIBED
from pyrosynth.explore.axes import Array
from pyrosynth.explore.latent_space import Atlas
from pyrosynth.explore.macros import heard, plain
from pyrosynth.inference.posterior import Posterior
from pyrosynth.statistics import spearman
from pyrosynth.synths.rendering import Renderer

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from xarray import Dataset

Float = NDArray[np.float64]

NEAR = 2.0  # how far axes are compared: 95 % of a standard normal
NEAR_STEPS = 5
STRONG = 0.5  # change, in spreads of the presets times its monotony, that earns a name
STEADY = 0.5  # rank correlation, mean over the centers, without which there is no name
ALSO = 0.6  # share of the strongest change from which the second is part of the name
JUDGES = ("model", "synth")  # whose sounds axes are compared by

# What more, and what less, of each number of `tagging.describe_features` is called.
QUALITIES = {
    "loudness": ("loudness", "softness"),
    "brightness": ("brightness", "darkness"),
    "noisiness": ("noise", "purity"),
    "length": ("sustain", "percussivity"),
    "movement": ("movement", "stillness"),
}


@dataclass(frozen=True, eq=False)
class Macros:
    """Axes compared by what they do to sounds.

    Attributes:
        data: By ``axis``, the most audible first: ``effect``, how far the ends of the sweep sound
            from its middle, in dB; ``change`` (axis, number), what the sweep adds to each number
            of `pyrosynth.audio.descriptors.describe_features`, in spreads of the presets;
            ``follows``, how
            monotone that is (rank correlation); ``spread`` (axis, param) of the unit values;
            ``heard`` (axis, param), that times how many dB the sound is expected to change over
            the range of the parameter; ``title`` and ``evidence``, what each is called and why.
    """

    data: "Dataset"

    def plot(self) -> "Figure":
        """Draw the effects and changes of the most audible axes."""
        from pyrosynth.explore.figures import macros

        return macros(self.data)

    def facts(self) -> list[dict[str, Any]]:
        """Return one row for each axis, JSON-ready."""
        data = self.data
        numbers = data["number"].values.tolist()
        return [
            {
                "axis": str(axis),
                "title": str(row["title"].values),
                "effect_db": float(row["effect"]),
                "change": dict(zip(numbers, plain(row["change"]), strict=True)),
                "follows": dict(zip(numbers, plain(row["follows"]), strict=True)),
                "evidence": str(row["evidence"].values),
            }
            for axis in data["axis"].values
            for row in [data.sel(axis=axis)]
        ]  # fmt: skip


def macros(
    posterior: Posterior,
    axes: Sequence[str] | None = None,
    renderer: Renderer | None = None,
    *,
    centers: int = 32,
    seed: int = 0,
) -> Macros:
    """Rank axes by how much one hears of them, and name them by what they do.

    Each axis is swept from -2 to 2 around the origin and around presets of the bank.

    Args:
        posterior: The run.
        axes: Their names; by default all latent dimensions, principal axes and tags.
        renderer: From ``posterior.renderer()``, to judge by what the synth plays; by default by
            what the model expects, which takes seconds.
        centers: Number of centers, the origin being the first. Axes do not the same everywhere:
            with few of them, the order depends on which.
        seed: Of the choice of the others.

    Returns:
        The axes, the most audible first.

    Raises:
        InputError: An axis is unknown.
    """
    import xarray

    atlas = Atlas(posterior)
    names = [*atlas.lines, *atlas.tags] if axes is None else list(axes)
    chosen = np.random.default_rng(seed).permutation(len(atlas))[: max(0, centers - 1)]
    places = np.concatenate([np.zeros((1, atlas.z.shape[1]), np.float32), atlas.z[chosen]])
    position = np.linspace(-NEAR, NEAR, NEAR_STEPS)
    spec = posterior.run.features
    usual = atlas.numbers.std(axis=0)
    usual = np.where(usual > 0, usual, 1.0)
    columns: dict[str, list[Any]] = {key: [] for key in ("effect", "change", "follows", "spread")}
    for name in names:
        line = atlas.axis(name)
        z = np.stack([line.at(place, position) for place in places]).reshape(-1, places.shape[1])
        values = atlas.values(z)
        x = atlas.expected(z) if renderer is None else _features(renderer, values, spec.floor)
        x = x.reshape(len(places), len(position), *x.shape[1:])
        middle = x[:, len(position) // 2]
        numbers = describe_features(x.reshape(-1, *x.shape[2:]), spec)
        numbers = numbers.reshape(*x.shape[:2], -1)
        unit = posterior.run.space.to_unit(posterior.learnt(values))
        columns["effect"].append(float(log_distance(x[:, [0, -1]], middle[:, None]).mean()))
        columns["change"].append((numbers[:, -1] - numbers[:, 0]).mean(axis=0) / usual)
        columns["follows"].append(
            [
                np.mean([np.nan_to_num(spearman(position, n)) for n in numbers[..., i]])
                for i in range(numbers.shape[-1])
            ]
        )
        columns["spread"].append(unit.reshape(*x.shape[:2], -1).std(axis=1).mean(axis=0))
    arrays = {key: np.array(column) for key, column in columns.items()}
    params = posterior.run.space.names
    heard = arrays["spread"]
    if posterior.predicts:
        heard = heard * sensitivity(posterior, atlas.values(places))
    told = [
        title(arrays["change"][i], arrays["follows"][i], heard[i], params)
        for i in range(len(names))
    ]
    data = xarray.Dataset(
        {
            "effect": ("axis", arrays["effect"]),
            "change": (("axis", "number"), arrays["change"]),
            "follows": (("axis", "number"), arrays["follows"]),
            "spread": (("axis", "param"), arrays["spread"]),
            "heard": (("axis", "param"), heard),
            "title": ("axis", [name for name, _ in told]),
            "evidence": ("axis", [evidence for _, evidence in told]),
        },
        {"axis": names, "number": [tag.name for tag in DESCRIBED], "param": list(params)},
        {"judged_by": JUDGES[renderer is not None], "centers": len(places), "reach": NEAR},
    )
    return Macros(data.isel(axis=np.argsort(-arrays["effect"], kind="stable")))


def title(change: Float, follows: Float, heard: Float, params: Sequence[str]) -> tuple[str, str]:
    """Name an axis by what it does, and say why.

    Args:
        change: What it adds to each number, in spreads of the presets, shape (5,).
        follows: How monotone that is, from -1 to 1, shape (5,).
        heard: How much one hears of each parameter, shape (n_params,).
        params: Their names.

    Returns:
        Such as ``percussivity + darkness``, and the evidence in words.
    """
    score = np.abs(change) * np.abs(follows)
    order = np.argsort(-score, kind="stable")
    steady = [i for i in order if abs(follows[i]) >= STEADY and score[i] >= STRONG]
    kept = [i for i in steady[:2] if score[i] >= ALSO * score[steady[0]]]
    names = [tag.name for tag in DESCRIBED]
    found = " + ".join(QUALITIES[names[i]][int(change[i] < 0)] for i in kept)
    strongest = [params[i] for i in np.argsort(-heard, kind="stable")[:3]]
    shown = [*kept, *(i for i in order if i not in kept)][:2]
    said = [f"{names[i]} {change[i]:+.1f} spreads (ρ {follows[i]:+.2f})" for i in shown]
    return found or f"timbre ({strongest[0]})", f"{', '.join(said)}; moves {', '.join(strongest)}"


def sensitivity(posterior: Posterior, values: Float) -> Float:
    """Return how much the expected sound depends on each learnt parameter.

    Args:
        posterior: A run that predicts the sound of presets.
        values: Native values of all parameters of some presets, shape (n, n_params).

    Returns:
        Mean distance in dB, per range of the parameter, between a preset and the one in which
        only that parameter is moved by a quarter of its range, or to a switch's farther end;
        shape (n_learnt,).
    """
    space = posterior.run.space
    unit = space.to_unit(posterior.learnt(values))
    end = np.where(unit < 0.5, 1.0, 0.0)
    moved = np.where(space.discrete, end, unit + 0.25 * np.sign(end - unit))
    size = len(space)
    one = np.repeat(unit[:, None], size, axis=1)
    one[:, np.arange(size), np.arange(size)] = moved
    x = posterior.predict(values)[:, None]
    there = posterior.predict(posterior.complete(space.from_unit(one.reshape(-1, size))))
    distance = log_distance(there.reshape(len(values), size, *x.shape[2:]), x)
    return np.asarray((distance / np.abs(moved - unit)).mean(axis=0))


def _features(renderer: Renderer, values: Float, floor: float) -> Array:
    """Return the features of what the synth plays; a sound that fails counts as silence."""
    return np.nan_to_num(heard(renderer.render(values)), nan=math.log(floor))
