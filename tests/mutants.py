"""Seeded mutants of files: what disks, transfers, people and attackers make of them."""

import copy
import json

import numpy as np

DEEP, DIGITS = "@deep@", "@digits@"  # what JSON cannot write, put in as text afterwards
WRITTEN = {
    json.dumps(DEEP).encode(): b"[" * 100_000 + b"]" * 100_000,
    json.dumps(DIGITS).encode(): b"9" * 5000,
}
ODD = (
    None, True, False, -1, 0, 1, 2, 0.5, 10**12, -(2**63), 2**64, 1e308, float("nan"),
    float("inf"), "", "text", "0", "\0", "a\nb\x1b[31m", "\u202e", "x" * 5000, [], [[]], {},
    {"": None}, [1, 2],
    DEEP, DIGITS,
)  # fmt: skip
NUMBERS = (
    b"0", b"-1", b"1e999", b"-1e308", b"nan", b"99999999999999999999", b"9" * 5000, b"0x10",
    b"1.5", b"", b"\xff", b"\0", b"1_0", "\u0661".encode(), b"1e-400",
)  # fmt: skip
PIECES = (
    b"\0" * 16, b"\xff" * 16, b"\x80\x00\x00\x00", b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff",
    b"\0\0\0\0", b"\x1b[2J", b"\r\n", b"\n\n\n", b"[" * 5000, b'"', b",,,,", b";", b"\xe2\x80\xae",
    b"<" * 100, b"A" * 3000, b"\xef\xbb\xbf", b"\xff\xfe", b"\xc3", b"\xed\xa0\x80", b"|", b"/",
)  # fmt: skip


def mutants(content, n, seed=0):
    """Yield n damaged copies of the bytes of a file; every other one is hit near its start."""
    rng = np.random.default_rng([seed, len(content)])
    kinds = (_flip, _cut, _splice, _drop, _overwrite, _insert, _number)
    for i in range(n):
        reach = len(content) if i % 2 else min(len(content), 128)
        data = kinds[i % len(kinds)](bytearray(content), rng, max(reach, 1))
        if rng.random() < 0.2:
            data = _flip(bytearray(data), rng, max(len(data), 1))
        yield bytes(data)


def json_mutants(content, n, seed=0):
    """Yield n copies of a JSON document that are JSON, with something of it replaced."""
    rng = np.random.default_rng([seed, len(content)])
    for _ in range(n):
        document = json.loads(content)
        for _ in range(int(rng.integers(1, 3))):
            document = _replaced(document, rng)
        yield _written(document, rng)


def _replaced(document, rng):
    node = document
    while isinstance(node, dict | list) and node:
        keys = list(node) if isinstance(node, dict) else range(len(node))
        key = keys[int(rng.integers(len(keys)))]
        if isinstance(node[key], dict | list) and node[key] and rng.random() < 0.75:
            node = node[key]
            continue
        kind, odd = rng.random(), copy.deepcopy(ODD[int(rng.integers(len(ODD)))])
        if kind < 0.65:
            node[key] = odd
        elif kind < 0.8:
            del node[key]
        elif isinstance(node, dict):
            node[str(odd)[:50]] = node.pop(key) if kind < 0.9 else copy.deepcopy(node[key])
        else:
            node.extend(copy.deepcopy(node) * int(rng.integers(1, 5)))
        return document
    return copy.deepcopy(ODD[int(rng.integers(len(ODD)))])


def _written(document, rng):
    text = json.dumps(document, ensure_ascii=bool(rng.random() < 0.5))
    content = text.encode("utf-8", "surrogatepass")
    for name, what in WRITTEN.items():
        content = content.replace(name, what)
    return content


def _flip(data, rng, reach):
    for _ in range(int(rng.integers(1, 9))):
        if data:
            data[int(rng.integers(min(reach, len(data))))] ^= 1 << int(rng.integers(8))
    return data


def _cut(data, rng, reach):
    return data[: int(rng.integers(reach))]


def _splice(data, rng, reach):
    start, size = int(rng.integers(len(data))), int(rng.integers(1, 200))
    at = int(rng.integers(reach))
    data[at:at] = data[start : start + size]
    return data


def _drop(data, rng, reach):
    at = int(rng.integers(reach))
    del data[at : at + int(rng.integers(1, 64))]
    return data


def _overwrite(data, rng, reach):
    at, piece = int(rng.integers(reach)), PIECES[int(rng.integers(len(PIECES)))]
    data[at : at + len(piece)] = piece
    return data


def _insert(data, rng, reach):
    at, piece = int(rng.integers(reach)), PIECES[int(rng.integers(len(PIECES)))]
    data[at:at] = piece
    return data


def _number(data, rng, reach):
    """Replace a number in a text; bytes without one get four that are large."""
    digits = [i for i, byte in enumerate(data[:4000]) if chr(byte).isdigit()]
    if not digits:
        return _overwrite(data, rng, reach)
    at = stop = digits[int(rng.integers(len(digits)))]
    while stop < len(data) and chr(data[stop]) in "0123456789.eE-":
        stop += 1
    data[at:stop] = NUMBERS[int(rng.integers(len(NUMBERS)))]
    return data
