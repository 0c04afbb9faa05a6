"""Find a synth: by name, by the path of its plugin, or by a stored description."""

import functools
import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pyrosynth.errors import (
    InputError,
    SynthError,
    counted,
    one_line,
    reading,
    require_type,
    unknown,
)
from pyrosynth.files import checked_path
from pyrosynth.synths.answers import NOTHING, known
from pyrosynth.synths.base import ISOLATIONS, Isolation, Synth
from pyrosynth.synths.custom import entry_points, is_class, load_class, made
from pyrosynth.synths.description import (
    DescribedSynth,
    Description,
    description_from_json,
    read_description,
)
from pyrosynth.synths.dssi import split_label
from pyrosynth.synths.hosts.formats import OWN, URI, names_plugin, split_class
from pyrosynth.synths.params import ParamSpace

__all__ = [
    "ISOLATIONS",
    "Isolation",
    "Synth",
    "from_spec",
    "load_synth",
    "names",
    "status",
]

# What a native value of a parameter depends on.
MEANING = "name", "kind", "minimum", "maximum", "resolution", "labels", "curve"


def names() -> tuple[str, ...]:
    """Return the names that `load_synth` knows, beside paths of plugins and classes."""
    return ("voice", "amsynth", "dexed", "vital", *entry_points())


def load_synth(name_or_path: str | os.PathLike[str], **options: Any) -> Synth:
    """Load a synth.

    Args:
        name_or_path: One of `names`; the path of a DSSI plugin library, with ``#label`` behind it
            where it holds several synths; a description, such as ``synth.json``; or
            ``module:Class``, a synth of one's own, whose module is imported.
        **options: Arguments of the synth's class, such as ``isolation``, ``device``, or ``host``
            of a plugin.

    Returns:
        The synth, ready to render.

    Raises:
        InputError: The name or an option is unknown, or an option has no such value.
        SynthError: The plugin is missing or not usable.
    """
    if not str(name_or_path).startswith(URI):
        path = checked_path("synth", name_or_path)
        name_or_path = path if str(name_or_path).startswith("~") else name_or_path
    text = os.fspath(name_or_path)
    text = text if os.path.exists(text) else text.strip()  # as a spreadsheet gives a name
    make: Callable[..., Synth]
    module, _, name = text.partition(":")
    if module.lower().endswith(".py"):
        raise InputError(
            f"'{text}' is a Python file; give {Path(module).stem}:{name or 'CLASS'}, the class in "
            "it, from the folder of the file"
        )
    if text == "voice":
        from pyrosynth.synths.voice import Voice

        make = Voice
    elif text == "amsynth":
        from pyrosynth.synths.amsynth import Amsynth

        make = Amsynth
    elif text == "dexed":
        from pyrosynth.synths.dexed import Dexed

        make = Dexed
    elif text == "vital":
        from pyrosynth.synths.vital import Vital

        make = Vital
    elif text.lower().endswith(".json"):
        make = functools.partial(_described, read_description(text))
    elif is_class(text) or text in entry_points():
        make = load_class(entry_points().get(text, text))
    elif names_plugin(text) or options.get("host", OWN) != OWN:
        from pyrosynth.synths.plugin_synth import PluginSynth

        make = functools.partial(PluginSynth, text)
    else:
        from pyrosynth.synths.dssi import DssiSynth, split_label

        if os.sep not in text and not split_label(text)[0].lower().endswith(".so"):
            raise unknown(
                "synth",
                text,
                (*names(), "or MODULE:CLASS, or the path of a plugin or a synth.json"),
            )
        make = functools.partial(DssiSynth, text)
    known = inspect.signature(make).parameters
    for option in options:
        if option not in known:
            listed = ", ".join(known) or "none"
            raise InputError(f"synth '{text}' has no option '{option}'; known: {listed}")
    return made(make, options, text)


def from_spec(
    spec: dict[str, Any], told: Mapping[str, Any] = NOTHING, *, space: ParamSpace | None = None
) -> Synth:
    """Rebuild a synth from what its ``spec`` returned, perhaps on another machine.

    Args:
        spec: ``synth`` and the arguments of its class.
        told: What the synth's plugin is known to tell of itself, such as the ``told`` of a synth
            with the same plugin; it is not asked for that again.
        space: The parameters that it had, if presets of that time are to be played.

    Returns:
        The synth. An amsynth that is no longer at the stored path is looked for where `load_synth`
        looks; its ``identity`` tells whether it is the same.

    Raises:
        InputError: The description is not one of a synth.
        SynthError: The plugin is missing or not usable, or has other parameters now.
    """
    require_type("description of a synth", spec, Mapping, "what its spec() returns")
    require_type("what is told of a synth", told, Mapping, "the synth's told")
    with known(told):
        if space is None:
            return _rebuilt(dict(spec))
        require_type("space", space, ParamSpace, "the ParamSpace that the synth had")
        synth = _rebuilt(dict(spec), changed=True)
    if differs := _difference(synth, space):
        raise SynthError(
            f"synth '{synth.name}' has changed since it was rendered: {one_line(differs, 120)}; "
            "put back what was rendered then, or render and fit again"
        )
    return synth


def _difference(synth: Synth, space: ParamSpace) -> str:
    """Say why native values do not mean to a synth what they mean in a space; empty if they do."""
    if len(synth.param_space) != len(space):
        return f"it has {counted(len(synth.param_space), 'parameter')}, it had {len(space)}"
    for now, before in zip(synth.param_space.params, space.params, strict=True):
        for field in MEANING:
            new, old = getattr(now, field), getattr(before, field)
            if new != old:
                return f"{field} of its parameter '{before.name}' is {new!r}, it was {old!r}"
    return ""


def _rebuilt(options: dict[str, Any], *, changed: bool = False) -> Synth:
    name = options.pop("synth", None)
    if name == "described":
        with reading(InputError, "the description of a synth is damaged", "describe it again"):
            description = description_from_json(options["description"])
        synth = from_spec(description.spec)
        if changed and not _difference(synth, description.space()):
            # It may sound different, as it may without a description.
            description = replace(description, identity=synth.identity())
        return DescribedSynth(synth, description)
    if name in ("dssi", "plugin") and isinstance(options.get("path"), str):
        from pyrosynth.synths.scanning import still_there

        path = options.pop("path")
        host = options.get("host", OWN)
        parts = split_label(path) if name == "dssi" else split_class(path, host)
        return load_synth(still_there(*parts), **options)
    if not isinstance(name, str) or not (name in names() or is_class(name)):
        raise unknown("synth", str(name), names())
    if name == "amsynth" and not os.path.isfile(options.get("path") or ""):
        options["path"] = None
    return load_synth(name, **options)


def argument(spec: dict[str, Any]) -> str:
    """Return what commands call a synth; ``SYNTH`` if it is described, by a file anywhere."""
    name = str(spec["synth"])
    if name in ("dssi", "plugin"):
        return str(spec["path"])
    return "SYNTH" if name == "described" else name


def _described(description: Description) -> Synth:
    """Rebuild the synth that was described, and play it as the description says."""
    return DescribedSynth(from_spec(description.spec), description)


def status() -> list[tuple[str, bool, str]]:
    """Return name, availability and a note for each synth of `names`."""
    from pyrosynth.synths.amsynth import bank_files, find
    from pyrosynth.synths.dexed import Dexed
    from pyrosynth.synths.vital import package_version

    plugin = find()
    if plugin is None:
        amsynth = ("amsynth", False, "not installed; run 'pyrosynth install amsynth'")
    else:
        banks = len(bank_files(plugin))
        amsynth = ("amsynth", True, f"{plugin}, {banks} preset banks")
    try:
        dexed = ("dexed", True, f"dexed-py {Dexed().version}")
    except SynthError as error:
        dexed = ("dexed", False, str(error))
    try:
        vital = ("vital", True, f"vita {package_version()}")
    except SynthError as error:
        vital = ("vital", False, str(error))
    own = [(name, True, where) for name, where in entry_points().items()]
    return [("voice", True, "built in"), amsynth, dexed, vital, *own]
