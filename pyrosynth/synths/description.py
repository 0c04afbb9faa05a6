"""The description of a synth's controls, in a file that people may edit: ``synth.json``.

The file says how the synth is loaded and played, and of each control what it is, whether it is
learnt, why, and what was heard of it. It is a synth itself: `DescribedSynth` plays the synth
with the controls as the file has them.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pyrosynth.audio.io import Audio
from pyrosynth.audio.note import Note
from pyrosynth.errors import InputError, SynthError, integer, number, one_line, unknown
from pyrosynth.files import read_limited, unrepeated_keys, write_bytes
from pyrosynth.synths.base import Synth
from pyrosynth.synths.params import Param, ParamSpace
from pyrosynth.synths.presets import LARGEST_FILE, Preset, all_good, preset_array, say_moved

FORMAT = 1
LEARN: Literal["learn"] = "learn"  # name of the selection of the controls that are learnt
Use = Literal["learn", "fix"]
USES: tuple[Use, ...] = ("learn", "fix")
UNFINISHED = "unfinished"  # key of what a description that is being made holds so far
SHA256 = "sha256"  # key of the hash by which edits are noticed


@dataclass(frozen=True)
class DescribedControl:
    """A control, and what was heard of it.

    Args:
        param: What it is.
        use: ``learn``, or ``fix`` to leave it at its default.
        why: The reason.
        audible_db: How far its values move the sound at most, for each note, in dB (RMS
            difference of the log-mel spectrogram).
        silent: Share of its values that were silent.
        failed: Number of its values with which the synth crashed, hung or gave no finite sound.
    """

    param: Param
    use: Use = LEARN
    why: str = ""
    audible_db: tuple[float, ...] = ()
    silent: float = 0.0
    failed: int = 0

    def __post_init__(self) -> None:
        """Check the use and the evidence."""
        if self.use not in USES:
            raise unknown(f"use of '{self.param.name}'", str(self.use), USES)
        number("silent", self.silent, 0, 1)
        integer("failed", self.failed, 0)

    def to_json(self) -> dict[str, Any]:
        """Return it as one flat JSON-ready dictionary."""
        own = {
            "use": self.use,
            "why": self.why,
            "audible_db": [round(db, 2) for db in self.audible_db],
            "silent": round(self.silent, 3),
            "failed": self.failed,
        }
        return {**self.param.to_json(), **own}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "DescribedControl":
        """Read `to_json`'s dictionary.

        Raises:
            InputError: A key is unknown or missing, or a value makes no sense.
        """
        of_param = {f.name for f in fields(Param)}
        own = {f.name for f in fields(cls)} - {"param"}
        for key in data:
            if key not in of_param | own:
                raise unknown("key", key, (*sorted(of_param), *sorted(own)))
        if "name" not in data:
            raise InputError("a control without a name; give it one")
        more = {key: data[key] for key in own if key in data}
        if "audible_db" in more:
            more["audible_db"] = tuple(number("audible_db", db) for db in more["audible_db"])
        return cls(Param.from_json(dict(data)), **more)


@dataclass(frozen=True)
class Description:
    """A description of a synth.

    Args:
        name: Name of the synth.
        spec: What `pyrosynth.synths.from_spec` rebuilds it from.
        identity: Its identity when it was described.
        controls: All its controls, in the order ``render`` takes them.
        notes: The notes it was listened to with.
        probe: How it was described, JSON-ready.
        dropped: What its plugin has beside the controls, and why it is none of the sound.
    """

    name: str
    spec: dict[str, Any]
    identity: str
    controls: tuple[DescribedControl, ...]
    notes: tuple[Note, ...] = ()
    probe: dict[str, Any] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)

    def space(self) -> ParamSpace:
        """Return all controls; its selection ``learn`` names those that are learnt."""
        learnt = tuple(c.param.name for c in self.controls if c.use == LEARN)
        return ParamSpace(tuple(c.param for c in self.controls), {LEARN: learnt})

    @staticmethod
    def asked_use(space: ParamSpace, use: Sequence[str], fix: Sequence[str]) -> dict[str, Use]:
        """Return what is asked for, by control: to learn it, or to leave it at its default.

        Raises:
            InputError: A name is unknown, or in both lists.
        """
        for names in (use, fix):
            space.index(names)
        if both := sorted({*use} & {*fix}):
            raise InputError(
                f"'{both[0]}' is named by --use and by --fix (use, fix); give one of them"
            )
        return {**dict.fromkeys(use, "learn"), **dict.fromkeys(fix, "fix")}

    def with_use(self, use: Sequence[str] = (), fix: Sequence[str] = ()) -> "Description":
        """Return a description in which some controls are learnt or left out, as asked.

        Raises:
            InputError: A name is unknown or in both lists, or no control would be learnt.
        """
        space = self.space()
        asked = self.asked_use(space, use, fix)
        controls = tuple(
            replace(c, use=asked[c.param.name], why=f"asked for: {asked[c.param.name]}")
            if c.param.name in asked
            else c
            for c in self.controls
        )
        if not any(c.use == LEARN for c in controls):
            raise InputError(f"no control of '{self.name}' is left to be learnt; --use some")
        return replace(self, controls=controls)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-ready description that `description_from_json` reads."""
        return {
            "format": FORMAT,
            "synth": {"name": self.name, "spec": self.spec, "identity": self.identity},
            "notes": [note.to_json() for note in self.notes],
            "params": [control.to_json() for control in self.controls],
            "probe": self.probe,
            "dropped": self.dropped,
        }

    def save(self, path: str | Path, *, made: bool = False) -> None:
        """Write it to a file with a line for each control, atomically.

        Args:
            path: The file.
            made: Whether nobody has edited it, which a hash in the file then tells.

        Raises:
            InputError: The file cannot be written.
        """
        write_bytes(path, self.to_bytes(made=made))

    def to_bytes(self, *, made: bool = False) -> bytes:
        """Return what `save` writes: JSON with a line for each control."""
        data = self.to_json()
        data |= {SHA256: json_hash(data)} if made else {}
        lines = [f" {json.dumps(key)}: {json.dumps(data[key])}" for key in data if key != "params"]
        controls = ",\n".join(f"  {json.dumps(c, ensure_ascii=False)}" for c in data["params"])
        lines.insert(3, f' "params": [\n{controls}\n ]')
        return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def json_hash(content: Any) -> str:
    """Return a hash of something JSON-ready; the order of its keys does not count."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def is_as_made(data: Mapping[str, Any]) -> bool:
    """Say whether nobody has edited the JSON of a finished description."""
    content = {key: value for key, value in data.items() if key != SHA256}
    return data.get(SHA256) == json_hash(content)


def read_description(path: str | os.PathLike[str]) -> Description:
    """Read a description from its file.

    Raises:
        InputError: It is missing, no description, unfinished, or edited wrongly; the message
            names the line.
    """
    data, text = read_file(path)
    if UNFINISHED in data:
        raise InputError(f"'{path}' is unfinished; run the same `pyrosynth describe` again")
    try:
        return description_from_json(data)
    except _WrongControl as error:
        line = _line_of(text, error.number, error.key)
        raise InputError(f"'{path}', line {line}: {error}") from error
    except (InputError, LookupError, TypeError, ValueError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(f"'{path}' is no description of a synth ({reason})") from error


def read_file(path: str | os.PathLike[str]) -> tuple[dict[str, Any], str]:
    """Read the JSON of a description, finished or not, and its text.

    Raises:
        InputError: It cannot be read, or is of another format.
    """
    try:
        text = read_limited(Path(path), LARGEST_FILE).decode("utf-8-sig")
        data = json.loads(text, object_pairs_hook=unrepeated_keys)
    except json.JSONDecodeError as error:
        near = error.doc[error.pos : error.pos + 20].partition("\n")[0].strip()
        before = error.doc[: error.pos].rstrip()[-1:]
        follows = f"follow '{before}'" if before else "begin it"
        said = f"'{near}' cannot {follows}" if near else "it ends too soon"
        raise InputError(
            f"'{path}', line {error.lineno}, column {error.colno}: {said}; JSON has a comma "
            "between two entries, none after the last, straight quotes, and no comments; put it "
            "right, or describe the synth anew"
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot read the synth '{path}' ({reason})") from error
    if not isinstance(data, dict) or "format" not in data:
        raise InputError(
            f"'{path}' is no description of a synth; name another file, such as one that "
            "`pyrosynth describe SYNTH --out synth.json` writes"
        )
    if data["format"] != FORMAT or data["format"] is True:
        raise InputError(
            f"'{path}' has format {data['format']!r}, this pyrosynth reads {FORMAT}; describe the "
            "synth anew"
        )
    return data, text


def description_from_json(data: Mapping[str, Any]) -> Description:
    """Read what `Description.to_json` returned.

    Raises:
        InputError: A control makes no sense.
        LookupError: Something is missing.
        TypeError: Something is of another type.
        ValueError: A value is none.
    """
    controls = []
    names: set[str] = set()
    for i, control in enumerate(data["params"]):
        try:
            controls.append(DescribedControl.from_json(control))
            if controls[-1].param.name in names:
                raise InputError(f"a second control of the name '{controls[-1].param.name}'")
        except (InputError, LookupError, TypeError, ValueError, AttributeError) as error:
            raise _WrongControl(str(error), i, _key(str(error), control)) from error
        names.add(controls[-1].param.name)
    if not any(control.use == LEARN for control in controls):
        raise InputError("no control has the use 'learn'")
    synth = data["synth"]
    return Description(
        str(synth["name"]),
        dict(synth["spec"]),
        str(synth["identity"]),
        tuple(controls),
        tuple(Note(**note) for note in data.get("notes", ())),
        dict(data.get("probe", {})),
        dict(data.get("dropped", {})),
    )


class DescribedSynth(Synth):
    """A synth with the controls that its description gives it.

    Args:
        synth: The synth, rebuilt from the description's ``spec``.
        description: The description.

    Raises:
        SynthError: The synth is another one than the one that was described.
    """

    usual_prior = "mixture"

    def __init__(self, synth: Synth, description: Description) -> None:
        """Compare the synth with its description."""
        if synth.identity() != description.identity:
            raise SynthError(
                f"the synth '{description.name}' has changed since it was described, so that its "
                "controls may mean something else; put back the one of then, or describe it again"
            )
        described = (control.param.name for control in description.controls)
        for i, (of_synth, name) in enumerate(zip_longest(synth.param_space.names, described), 1):
            if name != of_synth:
                raise InputError(
                    f"control {i} in the description of '{description.name}' is {name!r}, that of "
                    f"the synth {of_synth!r}; a description lists all, in the synth's order"
                )
        self.synth, self.description = synth, description
        self._moved = 0  # presets of which it was said that they are moved
        self.name, self.param_space = synth.name, description.space()
        self.isolation, self.isolations = synth.isolation, synth.isolations
        self.batched, self.memory_limit = synth.batched, synth.memory_limit
        self.preset_suffix, self.readings = synth.preset_suffix, synth.readings
        self.told = synth.told

    def spec(self) -> dict[str, Any]:
        """Return the whole description."""
        return {"synth": "described", "description": self.description.to_json()}

    def identity(self) -> str:
        """Return the synth's own identity and a hash of the controls that are learnt or not."""
        controls = json.dumps(self.param_space.to_json(), sort_keys=True)
        return f"{self.synth.identity()} {hashlib.sha256(controls.encode()).hexdigest()}"

    def presets(self) -> list[Preset]:
        """Return the synth's own presets, their values brought into the described ranges."""
        found = self.synth.presets()
        if not self._moved:
            self._moved = say_moved(found, self.param_space)
        return legal(found, self.param_space)

    def read_bank(self, path: str | os.PathLike[str]) -> list[Preset]:
        """Read a file of presets in the synth's own format."""
        return all_good(self.read_each(path))

    def read_each(self, path: str | os.PathLike[str]) -> list[Preset | InputError]:
        """Read a file of presets in the synth's own format; see `Synth.read_each`."""
        each = self.synth.read_each(path)
        good = [one for one in each if isinstance(one, Preset)]
        say_moved(good, self.param_space, f" of '{path}'")
        legalised = iter(legal(good, self.param_space))
        return [next(legalised) if isinstance(one, Preset) else one for one in each]

    def write_bank(self, path: Path, presets: Sequence[Preset]) -> bool:
        """Write presets in the synth's own format; False if it has none."""
        return self.synth.write_bank(path, presets)

    def render(self, values: NDArray[np.float64], note: Note, sample_rate: int) -> Audio:
        """Render one note; see `Synth.render`."""
        return self.synth.render(values, note, sample_rate)

    def render_batch(
        self, values: NDArray[np.float64], note: Note, sample_rate: int
    ) -> NDArray[np.float32]:
        """Render one note with each row of values; see `Synth.render_batch`."""
        return self.synth.render_batch(values, note, sample_rate)


def legal(presets: Sequence[Preset], space: ParamSpace) -> list[Preset]:
    """Bring the values of presets into the ranges and to the settings of a space."""
    if not presets:
        return []
    values = space.from_unit(space.to_unit(preset_array(presets, space, clamp=True)))
    return [
        Preset.from_array(space, row, preset.name, preset.bank)
        for row, preset in zip(values, presets, strict=True)
    ]


class _WrongControl(InputError):
    """A control in a file that makes no sense: its number, and the key that is to blame."""

    def __init__(self, message: str, number: int, key: str) -> None:
        super().__init__(one_line(message, 200))
        self.number, self.key = number, key


def _key(message: str, control: Any) -> str:
    """Guess which key of a control an error is about."""
    keys = list(control) if isinstance(control, dict) else []
    return next((key for key in keys if re.search(rf"\b{re.escape(key)}\b", message)), "name")


def _line_of(text: str, number: int, key: str) -> int:
    """Return the line of a key of the control of that number in the text of a description."""
    start = text.index("[", text.index('"params"')) + 1
    decoder = json.JSONDecoder()
    end = start
    for _ in range(number + 1):
        start = end + len(text[end:]) - len(text[end:].lstrip(" \t\r\n,"))
        _, end = decoder.raw_decode(text, start)
    at = text.find(json.dumps(key), start, end)
    return text.count("\n", 0, at if at >= 0 else start) + 1
