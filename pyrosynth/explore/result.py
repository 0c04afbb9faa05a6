"""What every function of `pyrosynth.explore` returns: labelled data that shows itself."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pyrosynth.errors import InputError, SynthError, counted
from pyrosynth.explore.latent_space import Location
from pyrosynth.explore.places import Float
from pyrosynth.inference.posterior import Posterior
from pyrosynth.report import Block, notebook, picture, player, players, wav_sources
from pyrosynth.synths.knobs import native, titles
from pyrosynth.synths.presets import Preset
from pyrosynth.synths.rendering import RenderResult

if TYPE_CHECKING:
    from xarray import Dataset

PLAYERS = 9  # sounds that a notebook shows at most
COUNTED = ("axis", "position", "preset")  # dimensions that say how much there is


@dataclass(frozen=True, eq=False, repr=False)
class Result(ABC):
    """Labelled data with a picture, facts, and a short name.

    A notebook shows the picture, and a player for each of the first rendered sounds.

    Args:
        data: The arrays, see the classes below; ``sample_rate`` among the attributes if sounds
            were rendered.
    """

    data: "Dataset"

    @abstractmethod
    def plot(self) -> Any:
        """Draw it."""

    @abstractmethod
    def facts(self) -> Any:
        """Return what it says, JSON-ready."""

    @abstractmethod
    def sound_names(self) -> Sequence[str]:
        """Return what the sounds are called."""

    def sizes(self) -> dict[str, int]:
        """Return what there is how many of, such as ``{"position": 9}``."""
        return {str(dim): n for dim, n in self.data.sizes.items() if dim in COUNTED}

    def __repr__(self) -> str:
        """Say what it is and how much of it, in a line."""
        counts = ", ".join(f"{n:,} {dim}s" for dim, n in self.sizes().items())
        return f"{type(self).__name__}({counts.replace('axiss', 'axes')})"

    def _repr_html_(self) -> str:
        """Show the picture and the first sounds in a notebook."""
        from pyrosynth.plots import png

        drawn = picture(png(self.plot()), repr(self), "")
        listed = self.players()
        if listed is None:
            return notebook(type(self).__name__, self.sizes(), drawn)
        first = players(listed["sounds"][:PLAYERS])
        return notebook(type(self).__name__, self.sizes(), drawn, first)

    def players(self) -> Block | None:
        """Return the rendered sounds as a block of a report, None if there are none."""
        if "audio" not in self.data:
            return None
        sources = wav_sources(list(self.data["audio"].values), self.data.attrs["sample_rate"])
        named = zip(self.sound_names(), sources, strict=True)
        return players([player(name, "", source) for name, source in named])


def labelled(
    posterior: Posterior,
    variables: Mapping[str, Any],
    coords: Mapping[str, Any],
    attrs: Mapping[str, Any] | None = None,
) -> "Dataset":
    """Return labelled data with the coordinates of features: ``mel`` in Hz, ``frame`` in s."""
    import xarray

    spec = posterior.run.features
    frames = spec.shape(posterior.run.note.n_samples(spec.sample_rate))[1]
    seconds = np.arange(frames) * spec.hop_length / spec.sample_rate
    shared = {
        "mel": ("mel", spec.centers_hz, {"units": "Hz"}),
        "frame": ("frame", seconds, {"units": "s"}),
    }
    rate = {"sample_rate": spec.sample_rate}
    return xarray.Dataset(variables, {**coords, **shared}, {**(attrs or {}), **rate})


def controls(posterior: Posterior, values: Float) -> dict[str, tuple[tuple[str, ...], Any]]:
    """Return the learnt controls of presets along ``position`` as variables of labelled data.

    Args:
        posterior: The run.
        values: Native values of all parameters, shape (n_positions, n_params).

    Returns:
        ``value``, native, ``unit``, on [0, 1], and ``setting``, as people read it; of each control
        ``label``, what people call it, and ``gradual``, whether small steps move it.
    """
    space, learnt = posterior.run.space, posterior.learnt(values)
    readings = posterior.synth.readings
    settings = [
        [native(*pair, readings) for pair in zip(space.params, row, strict=True)]
        for row in learnt.tolist()
    ]
    along = ("position", "param")
    return {
        "value": (along, learnt),
        "unit": (along, space.to_unit(learnt)),
        "setting": (along, settings),
        "label": (("param",), titles(space)),
        "gradual": (("param",), space.gradual),
    }


def rendered_sounds(rendered: RenderResult, dim: str) -> dict[str, tuple[tuple[str, ...], Any]]:
    """Return what the synth rendered as variables of labelled data.

    Args:
        rendered: From a renderer of `Posterior.renderer`.
        dim: What the sounds lie along, such as ``position``.

    Returns:
        ``x``, the features, NaN where the synth failed; ``reason``; and ``audio`` if the renderer
        keeps it.

    Raises:
        InputError: The renderer computes no features.
        SynthError: None of several presets gave a sound, so that there is nothing to show.
    """
    if rendered.features is None:
        raise InputError("exploring needs features; use posterior.renderer()")
    if len(rendered.failed) > 1 and rendered.failed.all():
        raise SynthError(
            f"none of {counted(len(rendered.failed), 'preset')} gave a sound (the synth "
            f"{rendered.reason[0]} on the first); play one of its presets to see why"
        )
    failed = rendered.failed[:, None, None]
    variables: dict[str, tuple[tuple[str, ...], Any]] = {
        "x": ((dim, "mel", "frame"), np.where(failed, np.float32(np.nan), rendered.features)),
        "reason": ((dim,), rendered.reason),
    }
    if rendered.audio is not None:
        variables["audio"] = ((dim, "sample"), rendered.audio)
    return variables


def location_name(where: Location) -> str:
    """Return how a location is called."""
    if where is None:
        return "origin"
    if isinstance(where, str | Preset):
        return where if isinstance(where, str) else where.name
    return "a latent"


def json_numbers(array: Any) -> list[float | None]:
    """Return numbers JSON-ready; those that are none as None."""
    return [float(v) if np.isfinite(v) else None for v in np.ravel(np.asarray(array))]


def signed(number: float) -> str:
    """Return a number with its sign, one decimal at most, such as ``−1.5`` and ``+2``."""
    text = f"{number:+.1f}".removesuffix(".0").replace("-", "−")
    return "0" if text in ("+0", "−0") else text
