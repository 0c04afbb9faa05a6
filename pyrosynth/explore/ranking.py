"""The ranking of axes of the latent space by audibility, and what each does to sounds."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyrosynth.audio.descriptors import describe_features
from pyrosynth.audio.metrics import log_distance
from pyrosynth.data.labeling import DESCRIBED
from pyrosynth.errors import (
    InputError,
    PyrosynthError,
    SynthError,
    checked_name,
    checked_seed,
    counted,
    integer,
    require_type,
)
from pyrosynth.explore.latent_space import LatentSpace, require_renderer
from pyrosynth.explore.places import Array, Float
from pyrosynth.explore.result import Result, json_numbers, rendered_sounds
from pyrosynth.inference.posterior import Posterior
from pyrosynth.statistics import spearman
from pyrosynth.synths.knobs import titles
from pyrosynth.synths.rendering import Renderer

REACH = 2.0  # how far axes are compared: 95 % of a standard normal
POSITIONS = np.linspace(-REACH, REACH, 5)
STRONG = 0.5  # change, in spreads of the presets times its monotony, that earns a name
STEADY = 0.5  # rank correlation, mean over the centers, without which there is no name
FAILED = "failed"  # attribute with the axes that were left out, as JSON
ALSO = 0.6  # share of the strongest change from which the second is part of the name

# What more, and what less, of each number of `describe_features` is called.
QUALITIES = {
    "loudness": ("loudness", "softness"),
    "brightness": ("brightness", "darkness"),
    "noisiness": ("noise", "purity"),
    "length": ("sustain", "percussivity"),
    "movement": ("movement", "stillness"),
}


class AxisRanking(Result):
    """Axes ranked by what they do to sounds.

    Attributes:
        data: By ``axis``, the most audible first: ``sounds``, whether they are ``rendered`` or
            ``expected`` by the model; ``effect``, how far the ends of the sweep sound
            from its middle, in dB; ``change`` (axis, number), what the sweep adds to each number
            of `pyrosynth.audio.descriptors.describe_features`, in spreads of the presets;
            ``monotony`` (axis, number), how monotone that is (mean rank correlation); ``spread``
            (axis, param) of the unit values; ``audible`` (axis, param), that times how many dB
            the sound is expected to change over the range of the parameter; ``title`` and
            ``evidence``, what each axis is called and why.
    """

    @property
    def failed(self) -> dict[str, str]:
        """Why an axis could not be ranked and was left out, by its name.

        Of ``sensitivity``, why ``audible`` is only ``spread``: the model fails to predict a sound.
        """
        said: dict[str, str] = json.loads(self.data.attrs.get(FAILED, "{}"))
        return said

    def plot(self, ax: NDArray[Any] | None = None) -> NDArray[Any]:
        """Draw the effects and changes of the most audible axes.

        Args:
            ax: Two axes to draw on.

        Returns:
            The axes.
        """
        from pyrosynth.explore.figures import ranking

        return ranking(self.data, ax)

    def updated(self, rendered: "AxisRanking") -> "AxisRanking":
        """Return a ranking in which what was rendered of some axes replaces what was expected.

        Args:
            rendered: Of the same run, all of its axes among these.

        Raises:
            InputError: It is no ranking, or has other axes.
        """
        require_type("rendered", rendered, AxisRanking, "what rank_axes returns")
        for axis in rendered.data["axis"].values:
            checked_name("axis", str(axis), [*self.data["axis"].values.tolist(), *self.failed])
        import xarray

        others = self.data.drop_sel(axis=rendered.data["axis"].values, errors="ignore")
        return AxisRanking(_most_audible_first(xarray.concat([rendered.data, others], "axis")))

    def sound_names(self) -> Sequence[str]:
        """Return nothing: a ranking keeps no sounds."""
        return ()

    def facts(self) -> list[dict[str, Any]]:
        """Return one row for each axis, JSON-ready."""
        data = self.data
        numbers = data["number"].values.tolist()
        return [
            {
                "axis": str(axis),
                "title": str(row["title"].values),
                "effect_db": float(row["effect"]),
                "sounds": str(row["sounds"].values),
                "change": dict(zip(numbers, json_numbers(row["change"]), strict=True)),
                "monotony": dict(zip(numbers, json_numbers(row["monotony"]), strict=True)),
                "evidence": str(row["evidence"].values),
            }
            for axis in data["axis"].values
            for row in [data.sel(axis=axis)]
        ]  # fmt: skip


def rank_axes(
    posterior: Posterior,
    axes: Sequence[str] | None = None,
    renderer: Renderer | None = None,
    *,
    centers: int = 32,
    seed: int = 0,
) -> AxisRanking:
    """Rank axes by how audible they are, and name them by what they change.

    Each axis is swept from -2 to 2 around the origin and around presets of the bank. A center
    around which a sound fails is left out of that axis, and ``evidence`` says so; an axis without
    a center is left out, and so is one along which the model fails; ``failed`` says why.

    Args:
        posterior: The run.
        axes: Their names, or one; by default all latent dimensions, principal axes, named ones and
            tags.
        renderer: From ``posterior.renderer()``, to compare what the synth renders; by default what
            the model expects is compared, which takes seconds.
        centers: Number of centers, the origin being the first. An axis does not do the same
            everywhere: with few centers, the order depends on which they are.
        seed: Of the choice of the others.

    Returns:
        The axes, the most audible first.

    Raises:
        InputError: An axis is unknown, or the model fails along every axis.
        SynthError: Along every axis, the synth fails around every center.
    """
    import xarray

    require_renderer(renderer)
    axes = [axes] if isinstance(axes, str) else axes
    require_type("axes", axes, (Sequence, type(None)), "a list of their names, or None")
    space = LatentSpace(posterior)
    every = [*space.linear_axes, *space.named_axes, *space.tags]
    names = list(dict.fromkeys(every if axes is None else (space.axis(one).name for one in axes)))
    if not names:
        raise InputError("axes to rank: none; give their names, or None for all")
    chosen = np.random.default_rng(checked_seed(seed)).permutation(len(space))
    chosen = chosen[: integer("centers", centers, 1) - 1]
    places = [space.place(None), *(space.place(space.names[i]) for i in chosen)]
    kept = np.repeat([[place.u] for place in places], len(POSITIONS), axis=1)
    spread = space.descriptors.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    columns: dict[str, list[Any]] = {key: [] for key in ("effect", "change", "monotony", "spread")}
    left_out: dict[str, int] = {}
    failed: dict[str, PyrosynthError] = {}
    for name in names:
        line = space.axis(name)
        try:
            z = np.stack([line.at(place.z, POSITIONS) for place in places])
            values = space.values(z, kept)
            x = _sounds(space, z, values, renderer)
            x = x.reshape(*z.shape[:2], *x.shape[1:])
            x = x[np.isfinite(x).all(axis=(1, 2, 3))]
            if not len(x):
                raise SynthError(
                    f"around none of {counted(len(places), 'center')} do all positions give a "
                    "sound; leave it out, or give more centers"
                )
        except (SynthError, InputError) as error:  # such as of a model that fails there
            failed[name] = type(error)(f"axis '{name}': {error}")
            continue
        left_out[name] = len(places) - len(x)
        numbers = describe_features(x.reshape(-1, *x.shape[2:]), posterior.run.features)
        numbers = numbers.reshape(*x.shape[:2], -1)
        middle = x[:, [len(POSITIONS) // 2]]
        unit = posterior.run.space.to_unit(posterior.learnt(values))
        columns["effect"].append(float(log_distance(x[:, [0, -1]], middle).mean()))
        columns["change"].append((numbers[:, -1] - numbers[:, 0]).mean(axis=0) / spread)
        follows = spearman(POSITIONS, np.moveaxis(numbers, 1, -1))
        columns["monotony"].append(np.nan_to_num(follows).mean(axis=0))
        columns["spread"].append(unit.std(axis=1).mean(axis=0))
    if not left_out:
        raise next(iter(failed.values()))
    arrays = {key: np.array(column) for key, column in columns.items()}
    params = posterior.run.space.names
    audible = arrays["spread"]
    if posterior.predicts:
        try:
            audible = audible * sensitivity(posterior, np.stack([p.values for p in places]))
        except InputError as error:  # the axes are told apart by what moves, heard or not
            failed["sensitivity"] = error
    readable = titles(posterior.run.space)
    told = [
        title(arrays["change"][i], arrays["monotony"][i], audible[i], readable)
        for i in range(len(left_out))
    ]
    data = xarray.Dataset(
        {
            "sounds": ("axis", ["expected" if renderer is None else "rendered"] * len(left_out)),
            "effect": ("axis", arrays["effect"]),
            "change": (("axis", "number"), arrays["change"]),
            "monotony": (("axis", "number"), arrays["monotony"]),
            "spread": (("axis", "param"), arrays["spread"]),
            "audible": (("axis", "param"), audible),
            "title": ("axis", [name for name, _ in told]),
            "evidence": (
                "axis",
                [
                    evidence + (f"; {n} of {counted(len(places), 'center')} left out" if n else "")
                    for (_, evidence), n in zip(told, left_out.values(), strict=True)
                ],
            ),
        },
        {"axis": list(left_out), "number": [tag.name for tag in DESCRIBED], "param": list(params)},
        {"reach": REACH, FAILED: json.dumps(failed, default=str)},
    )
    return AxisRanking(_most_audible_first(data))


def _most_audible_first(data: Any) -> Any:
    return data.isel(axis=np.argsort(-data["effect"].values, kind="stable"))


def _sounds(space: LatentSpace, z: Array, values: Float, renderer: Renderer | None) -> Array:
    """Return the features of places, shape (n, n_mels, n_frames); NaN where a sound fails."""
    if renderer is None:
        return space.expected(z.reshape(-1, space.dim))
    rendered = renderer.render(values.reshape(-1, values.shape[-1]))
    x: Array = rendered_sounds(rendered, "sound")["x"][1]
    return x


def title(
    change: Float, monotony: Float, audible: Float, params: Sequence[str]
) -> tuple[str, str]:
    """Name an axis by what it does, and say why.

    Args:
        change: What it adds to each number, in spreads of the presets, shape (5,).
        monotony: How monotone that is, from -1 to 1, shape (5,).
        audible: How much one hears of each parameter, shape (n_params,).
        params: Their names.

    Returns:
        Such as ``percussivity + darkness``, and the evidence in words.
    """
    score = np.abs(change) * np.abs(monotony)
    order = np.argsort(-score, kind="stable")
    steady = [i for i in order if abs(monotony[i]) >= STEADY and score[i] >= STRONG]
    kept = [i for i in steady[:2] if score[i] >= ALSO * score[steady[0]]]
    names = [tag.name for tag in DESCRIBED]
    qualities = [QUALITIES[names[i]][int(change[i] < 0)] for i in kept]
    strongest = [params[i] for i in np.argsort(-audible, kind="stable")[:3]]
    shown = [*kept, *(i for i in order if i not in kept)][:2]
    said = [f"{names[i]} {change[i]:+.1f} spreads (ρ {monotony[i]:+.2f})" for i in shown]
    name = " + ".join(qualities) or f"timbre ({strongest[0]})"
    return name, f"{', '.join(said)}; moves {', '.join(strongest)}"


def sensitivity(posterior: Posterior, values: Float) -> Float:
    """Return how much the expected sound depends on each learnt parameter.

    Args:
        posterior: A run that predicts the sound of presets.
        values: Native values of all parameters of some presets, shape (n, n_params).

    Returns:
        Mean distance in dB, per range of the parameter, between a preset and the one in which
        only that parameter is moved by a quarter of its range, or to the farther end if it has
        few settings; shape (n_learnt,).
    """
    params = posterior.run.space
    unit = params.to_unit(posterior.learnt(values))
    end = np.where(unit < 0.5, 1.0, 0.0)
    moved = params.rounded(np.where(params.gradual, unit + 0.25 * np.sign(end - unit), end))
    size = len(params)
    one = np.repeat(unit[:, None], size, axis=1)
    one[:, np.arange(size), np.arange(size)] = moved
    x = posterior.predict(values)[:, None]
    there = posterior.predict(posterior.complete(params.from_unit(one.reshape(-1, size))))
    distance = log_distance(there.reshape(len(values), size, *x.shape[2:]), x)
    return np.asarray((distance / np.abs(moved - unit)).mean(axis=0))
