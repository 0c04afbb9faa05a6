"""What the methods of a synth of one's own have to give, whoever wrote its class.

The methods that a class outside this package defines are wrapped when the class is made. So a
method that fails or gives something else is one line that names file, method and value, wherever
it is called. ``render`` is not wrapped: workers call it, and say so themselves.
"""

import functools
import inspect
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from pyrosynth.errors import PyrosynthError, SynthError, line_of, raised, shown
from pyrosynth.synths.presets import Preset

LONGEST_REASON = 120  # characters of somebody else's error

Check = Callable[[Any, Any], Any]  # from the synth and what a method gave to what is passed on


def wrap_methods(owner: type) -> None:
    """Wrap the methods of a class that `METHODS` names.

    Raises:
        SynthError: One of these names is no method.
    """
    for name, (check, rule) in METHODS.items():
        method = vars(owner).get(name)
        if inspect.isfunction(method):
            setattr(owner, name, _wrapped(owner, name, method, check, rule))
        elif method is not None and not isinstance(method, classmethod | staticmethod):
            raise SynthError(f"{_where(owner, name)} is {shown(method)}; make it a method")


def failure(synth: Any, error: BaseException) -> str:
    """Say what failed in a worker, and in which line if it is one of the synth's own module."""
    why = raised(error, LONGEST_REASON)
    line = line_of(error, type(synth).__module__)
    return f"{_where(type(synth), 'render')} fails{line} ({why}); correct it" if line else why


def _wrapped(
    owner: type, name: str, method: Callable[..., Any], check: Check, rule: str
) -> Callable[..., Any]:
    @functools.wraps(method)
    def checked(synth: Any, *args: Any, **kwargs: Any) -> Any:
        where = _where(owner, name)
        try:
            given = method(synth, *args, **kwargs)
        except (PyrosynthError, KeyboardInterrupt):  # it says so itself
            raise
        except BaseException as error:  # also of a Rust extension that panics
            why = raised(error, LONGEST_REASON)
            at = line_of(error, owner.__module__)
            raise SynthError(f"{where} fails{at} ({why}); correct it") from error
        try:
            return check(synth, given)
        except PyrosynthError as error:
            raise SynthError(f"{where}: {error}") from error
        except (TypeError, ValueError) as error:
            raise SynthError(f"{where} returned {shown(given)}; return {rule}") from error

    return checked


def _where(owner: type, name: str) -> str:
    file = getattr(sys.modules.get(owner.__module__), "__file__", None)
    return f"{owner.__name__}.{name}" + (f" of '{file}'" if file else "")


def _instance(*kinds: type) -> Check:
    def check(synth: Any, given: Any) -> Any:
        if not isinstance(given, kinds):
            raise TypeError
        return given

    return check


def _text(synth: Any, given: Any) -> str:
    if not isinstance(given, str) or not given:
        raise TypeError
    return given


def _spec(synth: Any, given: Any) -> dict[str, Any]:
    if not isinstance(given, dict) or not isinstance(given.get("synth"), str):
        raise TypeError
    json.dumps(given)
    return given


def _listed(synth: Any, given: Any) -> list[Preset]:  # whoever reads a file checks each
    if not isinstance(given, list | tuple) or not all(isinstance(item, Preset) for item in given):
        raise TypeError
    return list(given)


def _presets(synth: Any, given: Any) -> list[Preset]:
    presets = _listed(synth, given)
    for preset in presets:
        preset.array(synth.param_space)
    return presets


def _controllers(synth: Any, given: Any) -> dict[str, int]:
    if not isinstance(given, Mapping) or not all(
        isinstance(name, str) and type(number) is int for name, number in given.items()
    ):
        raise TypeError
    return dict(given)


METHODS: Mapping[str, tuple[Check, str]] = {
    "identity": (_text, "a text that changes with the sound of the synth"),
    "spec": (_spec, "a dictionary for JSON whose key 'synth' is MODULE:CLASS"),
    "presets": (_presets, "a list of Preset"),
    "read_bank": (_listed, "a list of Preset"),
    "write_bank": (_instance(bool), "whether it has written the file, True or False"),
    "read_controllers": (_controllers, "a dictionary of numbers by parameter"),
    "write_controllers": (_instance(str), "the content of the file as text"),
}
