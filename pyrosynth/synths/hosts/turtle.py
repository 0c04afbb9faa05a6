"""A reader of Turtle, the text format in which LV2 plugins describe themselves.

It reads what the W3C recommendation "RDF 1.1 Turtle" defines, except that it does not check
the characters of names to the last.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from pyrosynth.errors import InputError

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
LARGEST_FILE = 2**25  # bytes

_EXPONENT = r"[eE][+-]?\d+"
_CHARACTER = r"(?:[\w:\-]|%[0-9A-Fa-f]{2}|\\[_~.\-!$&'()*+,;=/?\#@%])"
_TOKEN = re.compile(
    rf"""
      (?P<space>\s+|\#[^\r\n]*)
    | (?P<iri><[^<>"{{}}|^`\x00-\x20]*>)
    | (?P<text>\"\"\"(?:[^"\\]|\\.|"(?!""))*\"\"\"|'''(?:[^'\\]|\\.|'(?!''))*'''
             |"(?:[^"\\\r\n]|\\.)*"|'(?:[^'\\\r\n]|\\.)*')
    | (?P<at>@[A-Za-z]+(?:-[A-Za-z0-9]+)*)
    | (?P<number>[+-]?(?:\d+\.\d*{_EXPONENT}|\.?\d+{_EXPONENT}|\d*\.\d+|\d+))
    | (?P<name>(?:\w(?:[\w.\-]*[\w\-])?)?:(?:{_CHARACTER}(?:(?:{_CHARACTER}|\.)*{_CHARACTER})?)?)
    | (?P<word>a\b|true\b|false\b|(?:PREFIX|BASE|prefix|base)\b)
    | (?P<mark>\^\^|[.;,\[\]()])
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)", re.DOTALL)
_ESCAPES = {"t": "\t", "b": "\b", "n": "\n", "r": "\r", "f": "\f"}


class Iri(str):
    """The name of a thing; that of a blank node begins with ``_:``."""

    __slots__ = ()


Value = Iri | str | float | bool


class Graph:
    """What some files say: the values of each property of each subject."""

    def __init__(self) -> None:
        """Start with nothing said."""
        self.statements: dict[str, dict[str, list[Value]]] = defaultdict(lambda: defaultdict(list))
        self.n_blank = 0

    def add(self, subject: str, predicate: str, value: Value) -> None:
        """Add a statement."""
        self.statements[subject][predicate].append(value)

    def all(self, subject: str, predicate: str) -> list[Value]:
        """Return the values of a property, in the order in which they are written."""
        return self.statements.get(subject, {}).get(predicate, [])

    def one(self, subject: str, predicate: str, default: Value = "") -> Value:
        """Return the first value of a property, or a default."""
        return next(iter(self.all(subject, predicate)), default)

    def number(self, subject: str, predicate: str, default: float) -> float:
        """Return the first value of a property that is a number, or a default."""
        values = self.all(subject, predicate)
        return next((float(v) for v in values if isinstance(v, float | bool)), default)

    def subjects(self, kind: str) -> list[str]:
        """Return the subjects of a type, in the order in which they are written."""
        return [s for s, said in self.statements.items() if kind in said.get(RDF + "type", [])]

    def read(self, path: Path) -> None:
        """Add what a file says.

        Raises:
            InputError: It cannot be read, or is no Turtle; the line is told.
        """
        try:
            with path.open("rb") as file:
                content = file.read(LARGEST_FILE + 1)
        except OSError as error:
            raise InputError(f"cannot read '{path}': {error.strerror}") from error
        if len(content) > LARGEST_FILE:
            raise InputError(f"'{path}' is larger than {LARGEST_FILE >> 20} MiB")
        _Parser(self, path, content.decode("utf-8-sig", "replace")).run()


def file_of(iri: str) -> Path | None:
    """Return the path of a ``file:`` address; None for any other."""
    parts = urlsplit(iri)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


class _Parser:
    """Reads one text into a graph; ``kind`` and ``token`` are what comes next."""

    def __init__(self, graph: Graph, path: Path, text: str) -> None:
        self.graph, self.path, self.text = graph, path, text
        self.base = path.resolve().as_uri()
        self.prefixes: dict[str, str] = {}
        self.tokens = self._tokens()
        self.line, self.depth = 1, 0
        self.advance()

    def run(self) -> None:
        while self.kind:
            directive = self.token.lstrip("@").lower()
            if self.kind in ("at", "word") and directive in ("prefix", "base"):
                self.directive(directive, self.kind == "at")
                continue
            bare = self.token == "["
            subject = self.value()
            if not isinstance(subject, Iri):
                self.fail("a subject is no text")
            if not (bare and self.token == "."):
                self.properties(subject)
            self.expect(".")

    def directive(self, name: str, ends_with_dot: bool) -> None:
        self.advance()
        prefix = ""
        if name == "prefix":
            prefix = self.token
            if self.kind != "name" or not prefix.endswith(":"):
                self.fail("a prefix ends in ':'")
            self.advance()
        if self.kind != "iri":
            self.fail("an address in <> is missing")
        address = _joined(self.base, self.token)
        if name == "prefix":
            self.prefixes[prefix[:-1]] = address
        else:
            self.base = address
        self.advance()
        if ends_with_dot:
            self.expect(".")

    def properties(self, subject: Value) -> None:
        while True:
            predicate: Value
            if self.token == "a" and self.kind == "word":
                self.advance()
                predicate = RDF + "type"
            else:
                predicate = self.value()
            while True:
                self.graph.add(str(subject), str(predicate), self.value())
                if self.token != "," or self.kind != "mark":
                    break
                self.advance()
            while self.kind == "mark" and self.token == ";":
                self.advance()
                if self.kind == "mark" and self.token in (".", "]"):
                    return
            if self.kind == "mark":
                return

    def value(self) -> Value:
        kind, token = self.kind, self.token
        self.depth += 1
        if self.depth > 100:
            self.fail("it is nested too deeply")
        self.advance()
        result: Value
        if kind == "iri":
            result = Iri(_joined(self.base, token))
        elif kind == "name":
            result = self.full(token)
        elif kind == "number":
            result = float(token)
        elif kind == "text":
            result = self.literal(token)
        elif kind == "word" and token in ("true", "false"):
            result = token == "true"
        elif token == "[":
            result = self.blank()
            if self.token != "]":
                self.properties(result)
            self.expect("]")
        elif token == "(":
            result = self.collection()
        else:
            self.fail(f"'{token[:20]}' is not expected here")
        self.depth -= 1
        return result

    def literal(self, token: str) -> Value:
        quotes = 3 if token[:3] in ('"""', "'''") and len(token) >= 6 else 1
        text = _unescaped(token[quotes:-quotes])
        if self.kind == "at":
            self.advance()
        elif self.token == "^^":
            self.advance()
            kind = str(self.value()).rpartition("#")[2]
            if kind in ("integer", "int", "decimal", "float", "double", "long"):
                try:
                    return float(text)
                except ValueError:
                    self.fail(f"'{text[:20]}' is no number")
            if kind == "boolean":
                return text in ("true", "1")
        return text

    def collection(self) -> Iri:
        items = []
        while self.token != ")" or self.kind != "mark":
            items.append(self.value())
        self.advance()
        rest = Iri(RDF + "nil")
        for item in reversed(items):
            node = self.blank()
            self.graph.add(node, RDF + "first", item)
            self.graph.add(node, RDF + "rest", rest)
            rest = node
        return rest

    def blank(self) -> Iri:
        self.graph.n_blank += 1
        return Iri(f"_:{self.graph.n_blank}")

    def full(self, name: str) -> Iri:
        prefix, _, local = name.partition(":")
        if prefix == "_":
            return Iri(f"_:{self.path}:{local}")
        if prefix not in self.prefixes:
            self.fail(f"the prefix '{prefix}:' is not declared")
        return Iri(self.prefixes[prefix] + re.sub(r"\\(.)", r"\1", local))

    def expect(self, mark: str) -> None:
        if self.kind != "mark" or self.token != mark:
            self.fail(f"'{mark}' is expected instead of '{self.token[:20] or 'the end'}'")
        self.advance()

    def advance(self) -> None:
        self.kind, self.token = next(self.tokens)

    def fail(self, why: str) -> None:
        raise InputError(f"'{self.path}', line {self.line}: {why}; install the plugin again")

    def _tokens(self) -> Iterator[tuple[str, str]]:
        at = 0
        while at < len(self.text):
            match = _TOKEN.match(self.text, at)
            if match is None:
                self.fail(f"'{self.text[at : at + 20]}' is no Turtle")
                return
            kind = str(match.lastgroup)
            if kind != "space":
                yield kind, match[0]
            self.line += match[0].count("\n")
            at = match.end()
        while True:
            yield "", ""


def _joined(base: str, token: str) -> str:
    """Return the address in an ``<…>``, which may be relative to the base."""
    address = _unescaped(token[1:-1])
    joined = urljoin(base, address)
    return f"{joined}#" if address.endswith("#") and not joined.endswith("#") else joined


def _unescaped(text: str) -> str:
    def character(match: re.Match[str]) -> str:
        code = match[1]
        if len(code) > 1:
            number = int(code[1:], 16)
            return chr(number) if number < 0x110000 else "\ufffd"
        return _ESCAPES.get(code, code)

    return _ESCAPE.sub(character, text) if "\\" in text else text
