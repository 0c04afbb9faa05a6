"""Synths behind DSSI, the open C interface of Linux soft-synths.

The block size and the sample at which a note starts and ends are part of the sound, so the host
fixes both.
"""

import hashlib
import json
import math
import os
import signal
import subprocess
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyrosynth.audio.io import Audio
from pyrosynth.audio.note import Note
from pyrosynth.errors import InputError, SynthError, reading, unknown
from pyrosynth.files import is_there, regular_file, resolved, with_home
from pyrosynth.synths import ladspa
from pyrosynth.synths.answers import answer, kept
from pyrosynth.synths.base import Isolation
from pyrosynth.synths.host import Instance, Library, library
from pyrosynth.synths.hosts.formats import DAWDREAMER
from pyrosynth.synths.hosts.library import is_vst2, loader_advice
from pyrosynth.synths.isolation import IsolatedSynth, require_isolation
from pyrosynth.synths.params import Param, ParamSpace
from pyrosynth.synths.presets import checked_values
from pyrosynth.synths.sandbox import (
    Scratch,
    has_ended,
    kill_all,
    private_home,
    python,
)

PROBE_SECONDS = 20.0  # to load a library
NO_SYNTH = "holds no synth that plays notes"


def probe(path: str | os.PathLike[str], seconds: float) -> list[dict[str, Any]]:
    """Describe a plugin library from a child process, which it may kill or hang.

    Args:
        path: The library.
        seconds: Deadline.

    Returns:
        One dictionary per synth, as `pyrosynth.synths.ladspa.describe` gives it.

    Raises:
        SynthError: The file is missing, no library, damaged, or no DSSI synth.
    """
    file = resolved(path)
    if not is_there(file):
        raise SynthError(f"no plugin '{path}'; give the path of a plugin, such as a .so")
    with reading(SynthError, f"cannot read plugin '{path}'", "give a file that you may read"):
        regular_file(file)
    with Scratch() as scratch:
        home = scratch.path / "home"
        home.mkdir()
        answer = home / "answer.json"
        child = subprocess.Popen(
            [*python(), "-I", ladspa.__file__, str(file), str(answer), str(os.getpid())],
            env={**os.environ, **private_home(home)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=home,
            start_new_session=True,
        )
        scratch.adopt(child.pid)
        in_time = has_ended(child, seconds)
        code = kill_all(child, home)
        text = answer.read_text(encoding="ascii") if answer.exists() else ""
    if not in_time:
        raise SynthError(
            f"plugin '{file}' does not finish loading within {seconds:g} s; it may wait for a "
            "display or a licence"
        )
    if code or not text:
        cause = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        raise SynthError(
            f"plugin '{file}' ends the process that opens it ({cause}); it is damaged or "
            "incomplete, install it again"
        )
    synths: list[dict[str, Any]] | str = json.loads(text)
    if isinstance(synths, str) and is_vst2(file):
        raise SynthError(
            f"'{file}' is a VST2 plugin, which pyrosynth does not host itself; get its VST3, CLAP "
            f"or LV2 version, or try --option host={DAWDREAMER}"
        )
    if isinstance(synths, str) and is_there(file.parent / "manifest.ttl"):
        raise SynthError(f"'{file}' is a part of an LV2 plugin; give its folder, '{file.parent}'")
    if isinstance(synths, str):
        why = loader_advice(synths.removeprefix(f"{file}: "), file, "; get another one")
        raise SynthError(f"'{file}' is not a usable DSSI plugin: {why}")
    if not synths:
        raise SynthError(f"plugin '{file}' {NO_SYNTH}")
    return synths


def split_label(path: str | os.PathLike[str]) -> tuple[str, str]:
    """Split ``PATH#LABEL`` into the path and the label, which is empty if there is none.

    A ``#`` in the path of an existing file, or in the name of a folder, belongs to the path.

    Raises:
        InputError: It is no path.
    """
    try:
        text = os.fspath(path)
    except TypeError as error:
        raise InputError(f"plugin {path!r} is not a path; give a DSSI library (.so)") from error
    file, _, label = text.rpartition("#")
    if not file or os.sep in label or os.path.isfile(with_home(text)):
        return text, ""
    return file, label


def param_of_port(port: dict[str, Any], name: str) -> Param:
    """Turn a control port and its hints into a parameter.

    A port whose range is in multiples of the sample rate keeps it so. Hints may say that a
    control works on a logarithmic scale; its native values stay what the plugin takes.

    Args:
        port: One of ``probe``'s ports.
        name: Its name, made distinct among the plugin's.
    """
    flags, lower, upper = port["flags"], port["lower"], port["upper"]
    low = lower if flags & ladspa.BELOW else 0.0
    high = upper if flags & ladspa.ABOVE else max(1.0, low + 1.0)
    if flags & ladspa.TOGGLED:
        low, high = 0.0, 1.0
    how = flags & ladspa.DEFAULT_MASK
    share = ladspa.DEFAULT_SHARE.get(how, 0.0)
    if flags & ladspa.LOGARITHMIC and low > 0:
        default = math.exp(math.log(low) * (1 - share) + math.log(high) * share)
    else:
        default = low * (1 - share) + high * share
    default = ladspa.DEFAULT_NUMBER.get(how, default)
    if flags & ladspa.TOGGLED:
        return Param(name, "toggle", 0.0, 1.0, float(default >= 0.5), 2)
    if flags & ladspa.INTEGER:
        low, high = round(low), round(high)
        default = min(max(round(default), low), high)
        return Param(name, "stepped", low, high, default, high - low + 1)
    unit = "logarithmic" if flags & ladspa.LOGARITHMIC else ""
    return Param(name, "continuous", low, high, min(max(default, low), high), unit=unit)


class DssiSynth(IsolatedSynth):
    """A DSSI plugin as a synth.

    Args:
        path: The plugin library, with ``#label`` behind it where it holds several synths.
        isolation: What is renewed between two sounds. ``fresh`` suffices for most synths;
            `pyrosynth.synths.probing.probe_isolation` tells. ``fork`` is not offered where the
            plugin starts threads when it is loaded.

    Attributes:
        logarithmic: Names of the controls that the plugin asks to be shown on a log scale.

    Raises:
        SynthError: The library is missing, damaged or no DSSI synth.
        InputError: The label or the isolation is unknown, or the isolation is not offered.
    """

    def __init__(self, path: str | os.PathLike[str], isolation: Isolation = "fresh") -> None:
        """Read the ports in a child process; the library is opened by the first ``render``."""
        require_isolation(isolation)
        file, label = split_label(path)
        self.path = resolved(file)
        question = f"dssi: probe {self.path}"
        files = [self.path]
        listed = answer(question, files, lambda: probe(self.path, PROBE_SECONDS))
        self.told = kept(question, files, listed)
        labelled = {synth["label"]: synth for synth in listed}
        self.label = label or next(name for name, one in labelled.items() if not one["wrong"])
        if self.label not in labelled:
            raise unknown(f"synth in '{self.path}'", self.label, labelled)
        if wrong := labelled[self.label]["wrong"]:
            raise SynthError(f"{wrong}, in '{self.path}'; get another one")
        self.name = self.label.lower()
        self.set_isolation(isolation, self.path, labelled[self.label]["has_threads"])
        ports = labelled[self.label]["ports"]
        self._outputs = _ports(ports, ladspa.AUDIO | ladspa.OUTPUT)
        self._controls = _ports(ports, ladspa.CONTROL | ladspa.INPUT)
        if not self._outputs or not self._controls:
            raise SynthError(f"synth '{self.label}' in '{self.path}' has no output or no control")
        taken: dict[str, int] = {}
        params = []
        for index in self._controls:
            name = ports[index]["name"]
            taken[name] = taken.get(name, 0) + 1
            distinct = name if taken[name] == 1 else f"{name} {taken[name]}"
            try:
                params.append(param_of_port(ports[index], distinct))
            except InputError as error:
                raise SynthError(f"synth '{self.label}' in '{self.path}': {error}") from error
        self.param_space = ParamSpace(tuple(params))
        hints = [ports[index]["flags"] for index in self._controls]
        self._per_rate = np.array([bool(flags & ladspa.PER_RATE) for flags in hints])
        self.logarithmic = tuple(
            param.name
            for param, flags in zip(params, hints, strict=True)
            if flags & ladspa.LOGARITHMIC
        )
        self._library = library(self.path)

    def spec(self) -> dict[str, Any]:
        """Return the path, label and isolation."""
        return {
            "synth": "dssi",
            "path": f"{self.path}#{self.label}",
            "isolation": self.isolation,
        }

    def identity(self) -> str:
        """Return the SHA-256 of the plugin library."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()

    def render(self, values: NDArray[np.float64], note: Note, sample_rate: int) -> Audio:
        """Render one note.

        Args:
            values: Native parameter values, shape (n_params,).
            note: What to play.
            sample_rate: Rate in Hz.

        Returns:
            Mean of the outputs, shape (n_samples,), float32.

        Raises:
            InputError: Values or note are none.
            SynthError: The plugin gives no instance, or its forked child died.
        """
        scale = np.where(self._per_rate, sample_rate, 1)
        controls = (checked_values(values, self.param_space, 1) * scale).astype(np.float32)
        return self.play(controls, note, sample_rate)

    @property
    def library(self) -> Library:
        """The plugin library."""
        return self._library

    def open_library(self, sample_rate: int) -> None:
        """Load the library of the plugin."""
        self._library.open()

    def new_instance(self, sample_rate: int) -> Instance:
        """Return an instance of the plugin.

        Raises:
            SynthError: The plugin gives none.
        """
        try:
            descriptors = ladspa.descriptors(self._library.open())
        except (OSError, AttributeError) as error:
            raise SynthError(f"cannot open plugin '{self.path}': {error}") from error
        dssi = next((d for d in descriptors if ladspa.label_of(d) == self.label), None)
        if dssi is None:
            raise SynthError(f"plugin '{self.path}' has no synth '{self.label}' any more")
        return Instance(dssi, self._controls, self._outputs, sample_rate, self._library.generation)


def _ports(ports: list[dict[str, Any]], bits: int) -> list[int]:
    return [port["index"] for port in ports if port["kind"] & bits == bits]
