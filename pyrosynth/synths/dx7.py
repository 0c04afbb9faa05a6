"""Voices of the DX7: their 145 controls, and the system-exclusive files (``.syx``) they come in.

A voice is 155 bytes: 21 for each operator, the last operator first, 19 for the whole voice, ten
letters of a name. Banks of 32 pack each voice into 128 bytes. The order of the parameters here is
that of the bytes, so a preset and a voice are the same numbers.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pyrosynth.errors import InputError, reading
from pyrosynth.files import read_limited, write_bytes
from pyrosynth.synths.params import Param, ParamSpace
from pyrosynth.synths.presets import LARGEST_FILE, Preset, all_good

VOICE, PACKED, BANK = 155, 128, 32  # bytes of a voice, of one in a bank; voices in a bank
YAMAHA = 0x43
REAL_TIME = bytes(range(0xF8, 0x100))  # messages of one byte
VOICE_FORMAT, BANK_FORMAT = 0, 9  # formats of Yamaha's bulk dumps
OPERATORS = (6, 5, 4, 3, 2, 1)  # in the order of the bytes

Bytes = NDArray[np.uint8]


def read_each_syx(path: str | Path) -> list[Preset | InputError]:
    """Read the voices of a file, with an error in the place of a message that is bad.

    It may hold any number of single voices and banks of 32 as system-exclusive messages, bare
    packed voices of 128 bytes each, or one bare voice of 155 or 156 bytes. Checksums are not
    compared, since those of many old files are wrong; numbers out of range are brought into it.

    Args:
        path: The file.

    Returns:
        Its voices; ``bank`` is the file's name.

    Raises:
        InputError: It cannot be read, or holds no voice of a DX7.
    """
    file = Path(path)
    with reading(InputError, f"cannot read the voices in '{path}'", "give a .syx file"):
        content = read_limited(file, LARGEST_FILE)
    voices: Sequence[Bytes | InputError] = []
    if content.lstrip(REAL_TIME)[:1] == b"\xf0":
        voices = [voice for message in _messages(content) for voice in _voices(message, path)]
    elif len(content) in (VOICE, VOICE + 1):
        voices = [np.frombuffer(content, np.uint8)[:VOICE]]
    elif content and len(content) % PACKED == 0:
        voices = _unpacked(content)
    if not voices:
        raise InputError(
            f"'{path}' holds no voice of a DX7; give a .syx file with single voices or banks of 32"
        )
    return [
        voice if isinstance(voice, InputError) else _preset(voice, file.name) for voice in voices
    ]


def read_syx(path: str | Path) -> list[Preset]:
    """Read the voices of a file, see `read_each_syx`.

    Raises:
        InputError: It cannot be read, holds no voice of a DX7, or a message is bad.
    """
    return all_good(read_each_syx(path))


def write_syx(path: str | Path, presets: Sequence[Preset]) -> None:
    """Write voices, atomically: one as a single voice, more as banks filled up to 32 voices.

    Args:
        path: The file.
        presets: The voices; values are rounded to the whole numbers that a DX7 has.

    Raises:
        InputError: There is none, one names an unknown control, or the file cannot be written.
    """
    if not presets:
        raise InputError("no presets to write; give at least one")
    voices = [_voice(preset) for preset in presets]
    if len(voices) == 1:
        write_bytes(path, _message(VOICE_FORMAT, voices[0].tobytes()))
        return
    voices += [_voice(Preset("INIT VOICE"))] * (-len(voices) % BANK)
    banks = (voices[i : i + BANK] for i in range(0, len(voices), BANK))
    write_bytes(path, b"".join(_message(BANK_FORMAT, _packed(bank)) for bank in banks))


def _messages(content: bytes) -> Iterator[bytes]:
    """Yield what is between the start and the end of each system-exclusive message.

    What MIDI may send in the midst of one, such as a clock, is left out.
    """
    for piece in content.translate(None, REAL_TIME).split(b"\xf0")[1:]:
        yield piece.split(b"\xf7")[0]


def _voices(message: bytes, path: str | Path) -> list[Bytes | InputError]:
    """Return the voices in a message, or what is wrong with it; none if of another kind."""
    if message[:1] != bytes([YAMAHA]):
        maker = f"0x{message[0]:02x}" if message else "none"
        wrong = f"data for another instrument (manufacturer {maker}, not Yamaha)"
        return [InputError(f"'{path}' holds {wrong}; give a .syx file of a DX7")]
    kind, data = message[2:3], message[5:]
    sizes = {bytes([VOICE_FORMAT]): VOICE, bytes([BANK_FORMAT]): PACKED * BANK}
    if message[1:2] > b"\x0f" or kind not in sizes:
        return []
    size = sizes[kind]
    if len(data) < size:
        told = f"{len(data)} of {size} bytes of voices"
        return [InputError(f"'{path}' is cut off: {told}; copy it again")]
    if kind == bytes([VOICE_FORMAT]):
        return [np.frombuffer(data[:VOICE], np.uint8)]
    return [*_unpacked(data[:size])]


def _message(kind: int, data: bytes) -> bytes:
    size = [len(data) >> 7, len(data) & 0x7F]
    checksum = -sum(data) & 0x7F
    return bytes([0xF0, YAMAHA, 0, kind, *size]) + data + bytes([checksum, 0xF7])


def _preset(voice: Bytes, bank: str) -> Preset:
    name = "".join(chr(c) if 32 <= c < 127 else " " for c in voice[len(SPACE) :]).strip()
    values = np.clip(voice[: len(SPACE)], SPACE.minimum, SPACE.maximum)
    return Preset.from_array(SPACE, values, name or "unnamed", bank)


def voice_bytes(values: NDArray[np.float64]) -> Bytes:
    """Return parameter values, shape (145,), as the bytes of a voice without its name."""
    legal = np.clip(np.round(values), SPACE.minimum, SPACE.maximum)
    return legal.astype(np.uint8)


def _voice(preset: Preset) -> Bytes:
    name = preset.name.encode("ascii", "replace")[:10].ljust(10)
    letters = np.frombuffer(name, np.uint8) & 0x7F
    return np.concatenate([voice_bytes(preset.array(SPACE)), letters])


def _packed(voices: Sequence[Bytes]) -> bytes:
    """Pack voices of 155 bytes into 128 each."""
    v = np.stack(voices)
    columns = [
        part
        for start in range(0, 126, 21)
        for part in (
            *v[:, start : start + 11].T,  # envelope and level scaling
            v[:, start + 11] | v[:, start + 12] << 2,  # curves
            v[:, start + 13] | v[:, start + 20] << 3,  # rate scaling, detune
            v[:, start + 14] | v[:, start + 15] << 2,  # sensitivities
            v[:, start + 16],
            v[:, start + 17] | v[:, start + 18] << 1,  # mode, coarse
            v[:, start + 19],
        )
    ]
    columns += [
        *v[:, 126:135].T,  # pitch envelope, algorithm
        v[:, 135] | v[:, 136] << 3,  # feedback, key sync
        *v[:, 137:141].T,  # LFO
        v[:, 141] | v[:, 142] << 1 | v[:, 143] << 4,
        *v[:, 144:].T,  # transpose, name
    ]
    return np.stack(columns, 1).tobytes()


def _unpacked(data: bytes) -> list[Bytes]:
    """Unpack voices of 128 bytes into 155 each; the top bits mean nothing."""
    p = np.frombuffer(data, np.uint8).reshape(-1, PACKED) & 0x7F
    columns = [
        part
        for start in range(0, 102, 17)
        for part in (
            *p[:, start : start + 11].T,
            p[:, start + 11] & 3,
            p[:, start + 11] >> 2 & 3,
            p[:, start + 12] & 7,
            p[:, start + 13] & 3,
            p[:, start + 13] >> 2 & 7,
            p[:, start + 14],
            p[:, start + 15] & 1,
            p[:, start + 15] >> 1 & 31,
            p[:, start + 16],
            p[:, start + 12] >> 3,
        )
    ]
    columns += [
        *p[:, 102:111].T,
        p[:, 111] & 7,
        p[:, 111] >> 3 & 1,
        *p[:, 112:116].T,
        p[:, 116] & 1,
        p[:, 116] >> 1 & 7,
        p[:, 116] >> 4,
        *p[:, 117:].T,
    ]
    return list(np.stack(columns, 1))


CURVES = ("-linear", "-exponential", "+exponential", "+linear")


def _number(name: str, maximum: int, default: int, group: str) -> Param:
    if maximum == 1:
        return Param(name, "toggle", 0, 1, default, 2, group=group)
    return Param(name, "stepped", 0, maximum, default, maximum + 1, group=group)


def _choice(name: str, labels: Sequence[str], group: str) -> Param:
    n = len(labels)
    return Param(name, "categorical", 0, n - 1, 0, n, labels=tuple(labels), group=group)


def _operator(number: int) -> list[Param]:
    group = f"operator {number}"

    def named(name: str, maximum: int, default: int = 0) -> Param:
        return _number(f"op{number} {name}", maximum, default, group)

    return [
        *[named(f"rate {i}", 99, 99) for i in range(1, 5)],
        *[named(f"level {i}", 99, 0 if i == 4 else 99) for i in range(1, 5)],
        named("breakpoint", 99, 39),
        named("left depth", 99),
        named("right depth", 99),
        _choice(f"op{number} left curve", CURVES, group),
        _choice(f"op{number} right curve", CURVES, group),
        named("rate scaling", 7),
        named("amp mod sensitivity", 3),
        named("velocity sensitivity", 7),
        named("output level", 99, 99 if number == 1 else 0),
        _choice(f"op{number} mode", ("ratio", "fixed"), group),
        named("coarse", 31, 1),
        named("fine", 99),
        named("detune", 14, 7),
    ]


PARAMS = (
    *[param for number in OPERATORS for param in _operator(number)],
    *[_number(f"pitch rate {i}", 99, 99, "pitch envelope") for i in range(1, 5)],
    *[_number(f"pitch level {i}", 99, 50, "pitch envelope") for i in range(1, 5)],
    _choice("algorithm", [str(i) for i in range(1, 33)], "algorithm"),
    _number("feedback", 7, 0, "algorithm"),
    _number("key sync", 1, 1, "algorithm"),
    _number("lfo speed", 99, 35, "lfo"),
    _number("lfo delay", 99, 0, "lfo"),
    _number("lfo pitch depth", 99, 0, "lfo"),
    _number("lfo amp depth", 99, 0, "lfo"),
    _number("lfo sync", 1, 1, "lfo"),
    _choice("lfo wave", ("triangle", "saw down", "saw up", "square", "sine", "random"), "lfo"),
    _number("pitch mod sensitivity", 7, 3, "lfo"),
    _number("transpose", 48, 24, "transpose"),
)
SPACE = ParamSpace(PARAMS)
