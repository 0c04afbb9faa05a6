"""Questions of the page: JSON objects that say nothing twice, and nothing unknown."""

import ipaddress
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import SplitResult

from pyrosynth.errors import InputError, counted, number, require_type, unknown
from pyrosynth.files import unrepeated_keys

LONGEST_NAME = 80  # characters of a preset's name


def question(text: str | bytes, keys: Iterable[str]) -> dict[str, Any]:
    """Read a question.

    Args:
        text: JSON.
        keys: Those that it may have.

    Raises:
        InputError: It is no object, or has another key.
        ValueError: It is no JSON, or a key is there twice.
        RecursionError: It is nested too deeply.
    """
    asked = json.loads(text, object_pairs_hook=unrepeated_keys)
    require_type("a question", asked, dict, "a JSON object")
    for key in asked:
        if key not in keys:
            raise unknown("key of a question", key[:LONGEST_NAME], keys)
    return asked


def question_of(query: Mapping[str, str], keys: Iterable[str]) -> dict[str, Any]:
    """Read a question that is the query ``asked`` of an address; empty if there is none.

    Raises:
        InputError: There is another query, or one twice; see `question` for more.
    """
    if len(query) > 1 or set(query) - {"asked"}:
        raise InputError(
            f"queries {', '.join(query)[:LONGEST_NAME]}: send one, 'asked', a JSON object"
        )
    return question(query.get("asked", "{}"), keys)


def name_of(asked: Mapping[str, Any], otherwise: str) -> str:
    """Return the name of a question, or of a preset in one, of 80 characters at most.

    Raises:
        InputError: It is no text.
    """
    name = asked.get("name", otherwise)
    require_type("name", name, str, "a text")
    return str(name)[:LONGEST_NAME] or otherwise


def one_of(asked: Mapping[str, Any], key: str, known: Sequence[str]) -> str:
    """Return which of a few words a question says under a key; the first if it does not say.

    Raises:
        InputError: It says another one.
    """
    word = asked.get(key, known[0])
    if word not in known:
        raise unknown(key, str(word)[:LONGEST_NAME], known)
    return str(word)


def locked(asked: Mapping[str, Any]) -> dict[str, float]:
    """Return the native values, by name, that a question wants parameters to keep."""
    return named_numbers("parameter", asked.get("locked", {}))


def named_numbers(kind: str, given: Any) -> dict[str, float]:
    """Return numbers by name, after making sure that they are some."""
    require_type("numbers by name", given, dict, f"a JSON object with one for each {kind}")
    return {name: number(f"{kind} '{name}':", value) for name, value in given.items()}


def presets_of(asked: Mapping[str, Any], key: str, fewest: int, most: int) -> list[dict[str, Any]]:
    """Return the presets that a question holds, each with its ``values``.

    Raises:
        InputError: They are too few, too many, or no presets.
    """
    presets = asked[key]
    require_type(key, presets, list, "a list of presets")
    if not fewest <= len(presets) <= most:
        wanted = f"{fewest} to {most}" if most > fewest else fewest
        raise InputError(f"{key}: {counted(len(presets), 'preset')}; give {wanted}")
    for preset in presets:
        require_type("a preset", preset, dict, "a JSON object")
    return list(presets)


def way_of(asked: Mapping[str, Any], what: str, ways: Mapping[str, Collection[str]]) -> str:
    """Return which of several keys, of which there must be one, a question has.

    Args:
        asked: The question.
        what: What it asks for.
        ways: The keys, each with those that go with it.

    Raises:
        InputError: It has none of them, several, or another key beside it.
    """
    found = [way for way in ways if way in asked]
    if len(found) != 1:
        several = f", not {' and '.join(found)}" if found else ""
        raise InputError(f"a question for {what} has one of {', '.join(ways)}{several}")
    way = found[0]
    for key in asked:
        if key not in (way, *ways[way]):
            raise unknown(f"key beside {way}", key[:LONGEST_NAME], ways[way])
    return way


def place_of(site: SplitResult) -> tuple[str | None, int | None]:
    """Return name and port of a site; browsers leave out the port that is usual."""
    return site.hostname, site.port or {"http": 80, "https": 443}.get(site.scheme)


def is_loopback(name: str) -> bool:
    """Return whether a name is one of a machine for itself."""
    with suppress(ValueError):
        return ipaddress.ip_address(name).is_loopback
    return name == "localhost" or name.endswith(".localhost")
