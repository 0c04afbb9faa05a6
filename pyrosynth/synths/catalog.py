"""The synths that can be learnt: by name, by plugin path, or from a stored description."""

import inspect
import os
from typing import Any

from pyrosynth.errors import InputError, unknown
from pyrosynth.synths.base import ISOLATIONS, Isolation, Synth

__all__ = ["ISOLATIONS", "Isolation", "Synth", "from_spec", "load", "names", "scan", "status"]


def names() -> tuple[str, ...]:
    """Return the names that `load` knows; besides them it takes the path of a DSSI plugin."""
    return ("voice", "amsynth")


def load(name_or_path: str | os.PathLike[str], **options: Any) -> Synth:
    """Make a synth ready to play.

    Args:
        name_or_path: One of `names`, or the path of a DSSI plugin library, with ``#label``
            behind it where it holds several synths.
        **options: Arguments of the synth's class, such as ``isolation`` or ``device``.

    Returns:
        The synth.

    Raises:
        InputError: The name or an option is unknown.
        SynthError: The plugin is missing or not usable.
    """
    text = os.fspath(name_or_path)
    synth: type[Synth]
    if text == "voice":
        from pyrosynth.synths.voice import Voice

        synth = Voice
    elif text == "amsynth":
        from pyrosynth.synths.amsynth import Amsynth

        synth = Amsynth
    elif os.sep in text or text.partition("#")[0].endswith(".so"):
        from pyrosynth.synths.dssi import DssiSynth

        synth, options["path"] = DssiSynth, text
    else:
        raise unknown("synth", text, (*names(), "or the path of a DSSI plugin (.so)"))
    try:
        inspect.signature(synth).bind(**options)
    except TypeError as error:
        raise InputError(f"synth '{text}': {error}") from error
    return synth(**options)


def from_spec(spec: dict[str, Any]) -> Synth:
    """Rebuild a synth from what its ``spec`` returned, perhaps on another machine.

    Args:
        spec: ``synth`` and the arguments of its class.

    Returns:
        The synth. An amsynth that is no longer at the stored path is looked for where `load`
        looks; its ``identity`` tells whether it is the same.

    Raises:
        InputError: The description is not one of a synth.
        SynthError: The plugin is missing or not usable.
    """
    options = dict(spec)
    name = options.pop("synth", None)
    if name == "dssi" and "path" in options:
        return load(options.pop("path"), **options)
    if name not in names():
        raise unknown("synth", str(name), names())
    if name == "amsynth" and not os.path.isfile(options.get("path") or ""):
        options["path"] = None
    return load(name, **options)


def status() -> list[tuple[str, bool, str]]:
    """Return name, availability and a note for each synth of `names`."""
    from pyrosynth.synths.amsynth import bank_files, find

    plugin = find()
    if plugin is None:
        amsynth = ("amsynth", False, "not installed; run 'pyrosynth install amsynth'")
    else:
        banks = len(bank_files(plugin))
        amsynth = ("amsynth", True, f"{plugin}, {banks} preset banks")
    return [("voice", True, "built in"), amsynth]


def scan(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Describe the synths in a plugin library without opening it in this process.

    Args:
        path: A DSSI plugin library.

    Returns:
        One dictionary per synth: ``path`` to give to `load`, ``name``, ``maker`` and ``params``.

    Raises:
        SynthError: The file is missing, damaged or no DSSI plugin.
    """
    from pyrosynth.synths.dssi import DssiSynth, probe

    file = os.fspath(path).partition("#")[0]
    found = []
    for synth in probe(file):
        where = f"{file}#{synth['label']}"
        params = DssiSynth(where).param_space.params
        found.append(
            {"path": where, "name": synth["name"], "maker": synth["maker"], "params": params}
        )
    return found
