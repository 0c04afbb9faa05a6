"""The interface of a synth: its controls, and a function from a preset to audio."""

import inspect
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pyrosynth.audio.io import Audio
from pyrosynth.audio.note import Note, require_note
from pyrosynth.errors import InputError, counted, require_type
from pyrosynth.synths.answers import NOTHING
from pyrosynth.synths.contract import wrap_methods
from pyrosynth.synths.knobs import NO_READINGS, Reading
from pyrosynth.synths.params import ParamSpace
from pyrosynth.synths.presets import Preset

Isolation = Literal["reuse", "fresh", "reload", "load", "fork"]
ISOLATIONS: tuple[Isolation, ...] = ("reuse", "fresh", "reload", "load", "fork")
LONGEST_SECONDS = 3600.0  # that a sound, or an answer of a plugin, is waited for


class Synth(ABC):
    """A parameter space, and a function that renders any point of it to audio.

    ``render`` runs in the calling process. Work that must survive a crash, a hang or a leak of
    the synth goes through `pyrosynth.synths.rendering`, which rebuilds the synth from ``spec()``
    in worker processes.

    Attributes:
        name: Short lower-case name, such as ``"amsynth"``.
        param_space: All controls, in the order ``render`` takes them.
        isolation: What is renewed between two sounds: ``reuse`` nothing, ``fresh`` the instance,
            ``reload`` the plugin library; ``load`` renders in a forked process that loads the
            library, ``fork`` in one forked after loading it.
        isolations: Those it offers, in the order in which they are to be tried.
        batched: Whether ``render_batch`` is faster than one sound after the other.
        memory_limit: Bytes that a worker process may take beyond what it has when the synth is
            ready; None for no limit. A synth with one works in an empty folder, where files that
            it writes do no harm.
        preset_suffix: How the names of files of its own presets end, such as ``".syx"``;
            empty if it has none.
        controllers: The MIDI controllers that its parameters follow if nobody has assigned any, by
            the parameters' names.
        usual_prior: How its augmented presets are made where nothing else is asked for, see
            `pyrosynth.data.augmentation.augment`.
        dropped: Controls that its plugin has beside those of ``param_space``, and why they are
            none of the sound.
        readings: What people read for native values that have no unit, by the parameters' names.
        told: What its plugin has told of itself, as `pyrosynth.synths.answers` keeps it, so that
            it need not be asked again where the synth is rebuilt.
    """

    name: str
    param_space: ParamSpace
    isolation: Isolation = "reuse"
    isolations: tuple[Isolation, ...] = ("reuse",)
    batched: bool = False
    memory_limit: int | None = None
    preset_suffix: str = ""
    controllers: Mapping[str, int] = MappingProxyType({})
    usual_prior: str = "broadened"
    dropped: Mapping[str, str] = MappingProxyType({})
    readings: Mapping[str, Reading] = NO_READINGS
    told: Mapping[str, Any] = NOTHING

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Check what the methods of a class of one's own give."""
        super().__init_subclass__(**kwargs)
        if cls.__module__.partition(".")[0] != __name__.partition(".")[0]:
            wrap_methods(cls)

    def spec(self) -> dict[str, Any]:
        """Return what `pyrosynth.synths.from_spec` needs to rebuild this synth; JSON-ready.

        ``synth`` names it, by default as ``module:Class``; the rest are arguments of its class.

        Raises:
            InputError: Worker processes cannot import the class, or it takes arguments and does
                not say which it was given.
        """
        own = type(self)
        if own.__module__ == "__main__" or "<locals>" in own.__qualname__:
            raise InputError(
                f"worker processes cannot import the class '{own.__name__}' from a notebook, a "
                "function or the script that runs; put it into a file of its own, such as "
                f"{own.__name__.lower()}.py, and import it from there"
            )
        if own.spec is Synth.spec and (taken := list(inspect.signature(own).parameters)):
            raise InputError(
                f"the class '{own.__name__}' takes {', '.join(taken)}, of which worker processes "
                "are not told; define its method `spec`, which returns them beside 'synth'"
            )
        return {"synth": f"{own.__module__}:{own.__qualname__}"}

    @abstractmethod
    def identity(self) -> str:
        """Return a text that changes whenever the synth may sound different."""

    @abstractmethod
    def render(self, values: NDArray[np.float64], note: Note, sample_rate: int) -> Audio:
        """Render one note.

        Args:
            values: Native parameter values, shape (n_params,).
            note: What to play.
            sample_rate: Rate in Hz.

        Returns:
            Mono audio, shape (n_samples,), float32.
        """

    def render_batch(
        self, values: NDArray[np.float64], note: Note, sample_rate: int
    ) -> NDArray[np.float32]:
        """Render one note with each row of values; shape (n_presets, n_samples)."""
        return np.stack([self.render(row, note, sample_rate) for row in values])

    def presets(self) -> list[Preset]:
        """Return the presets that come with this synth; none unless a subclass has some."""
        return []

    def read_bank(self, path: str | os.PathLike[str]) -> list[Preset]:
        """Read a file of presets in the synth's own format.

        Raises:
            InputError: It is none, or the synth has no such format.
        """
        raise InputError(
            f"synth '{self.name}' reads no '{path}'; give presets as JSON or CSV files"
        )

    def read_each(self, path: str | os.PathLike[str]) -> list[Preset | InputError]:
        """Read a file as `read_bank` does, with an error in the place of a preset that is bad.

        A format in which one preset can be bad and the next one good overrides this.

        Raises:
            InputError: The file as a whole is bad.
        """
        return list(self.read_bank(path))

    def write_bank(self, path: Path, presets: Sequence[Preset]) -> bool:
        """Write presets in the synth's own format; False if it has none.

        Where a file of the format holds one preset, the first is written.
        """
        return False

    def read_controllers(self, content: str) -> dict[str, int]:
        """Read the synth's own file of MIDI controllers: their numbers by parameter.

        Raises:
            InputError: The synth has no such file, or it is none.
        """
        raise InputError(f"synth '{self.name}' has no file of controllers; give a .toml file")

    def write_controllers(self, controllers: Mapping[str, int]) -> str:
        """Write MIDI controllers, numbers by parameter, as the synth's own file has them.

        Raises:
            InputError: The synth has no such file.
        """
        raise InputError(f"synth '{self.name}' has no file of controllers; give a .toml file")

    def with_files(self, files: Sequence[Path], folder: Path) -> "Synth":
        """Return the synth with what files of presets hold beside the values of its controls.

        Args:
            files: Files and folders of presets.
            folder: Where it keeps copies, for as long as it is used; what is there already is
                taken instead.

        Returns:
            The synth itself, if its presets are values and no more.
        """
        return self

    def __repr__(self) -> str:
        """Return class, name and number of parameters."""
        params = counted(len(self.param_space), "parameter")
        return f"<{type(self).__name__} '{self.name}': {params}, isolation '{self.isolation}'>"

    def _repr_html_(self) -> str:
        """Return a table of the controls, as Jupyter shows it."""
        controls = self.param_space._repr_html_()
        return f"<b>{self.name}</b>, isolation {self.isolation}{controls}"


def require_synth(synth: Any) -> None:
    """Make sure that an argument is a `Synth`.

    Raises:
        InputError: It is something else.
    """
    require_type("synth", synth, Synth, "a synth, such as load_synth('voice')")


def checked_notes(notes: Any) -> list[Note]:
    """Return an argument that is a `Note`, or a sequence of one or more, as a list.

    Raises:
        InputError: It is something else.
    """
    if isinstance(notes, Note):
        return [notes]
    require_type("notes", notes, Sequence, "a Note, or a list of them")
    for note in notes:
        require_note(note)
    if not notes:
        raise InputError("notes: none; give a Note, or a list of them")
    return list(notes)
