"""What files of Turtle say, the text format in which LV2 plugins describe themselves."""

import re
from collections import defaultdict
from pathlib import Path
from urllib.parse import unquote

import pyoxigraph

from pyrosynth.errors import InputError, reading
from pyrosynth.files import is_there, read_limited, regular_file

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
LARGEST_FILE = 2**25  # bytes
FILE = re.compile(r"file:(?://[^/]*)?(/(?:.*/)?)([^/]*)", re.DOTALL)  # its folder, its name
NUMBERS = ("integer", "int", "decimal", "float", "double", "long")

Value = str | float | bool
"""An address, which is also that of a blank node, a text, a number, or a truth value."""


class Graph:
    """What some files say: the values of each property of each subject."""

    def __init__(self) -> None:
        """Start with nothing said."""
        self.statements: dict[str, dict[str, list[Value]]] = defaultdict(lambda: defaultdict(list))

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
        content = content_of(path)
        try:
            said = [
                (_value(one.subject), one.predicate.value, _value(one.object))
                for one in pyoxigraph.parse(
                    content.decode("utf-8-sig", "replace"),
                    pyoxigraph.RdfFormat.TURTLE,
                    base_iri=path.resolve().as_uri(),
                    rename_blank_nodes=True,  # two files may mean two things by one name
                    lenient=True,  # some plugins have spaces in addresses
                )
            ]
        except (SyntaxError, ValueError) as error:
            where, why = "", str(error)
            if isinstance(error, SyntaxError):
                where, why = f", line {error.lineno}", error.msg.partition(": ")[2]
            raise InputError(f"'{path}'{where}: {why[:80]}; install the plugin again") from error
        for subject, predicate, value in said:
            self.statements[str(subject)][predicate].append(value)


def content_of(path: Path) -> bytes:
    """Return the content of a file of Turtle.

    Raises:
        InputError: It cannot be read, is no file, or too large.
    """
    with reading(InputError, f"cannot read '{path}'", "install the plugin again"):
        return read_limited(regular_file(path), LARGEST_FILE)


def file_of(iri: str) -> Path | None:
    """Return the path of a ``file:`` address; None for any other.

    Plugins write names as they are, where a "#", "?" or "%" is of the name, as well as encoded and
    with a fragment behind: of what an address may mean, the first that is there is returned.
    """
    if not (address := FILE.fullmatch(iri)):
        return None
    folder, name = address.groups()
    plain = re.split("[?#]", folder + name)[0]
    meant = [Path(unquote(folder + name)), Path(unquote(folder) + name), Path(unquote(plain))]
    return next(filter(is_there, meant), meant[0])


def _value(term: pyoxigraph.NamedNode | pyoxigraph.BlankNode | pyoxigraph.Literal) -> Value:
    """Return a term as a value.

    Raises:
        ValueError: It is called a number and is none.
    """
    if isinstance(term, pyoxigraph.BlankNode):
        return f"_:{term.value}"
    if isinstance(term, pyoxigraph.Literal):
        kind = term.datatype.value.rpartition("#")[2]
        if kind in NUMBERS:
            return float(term.value)
        if kind == "boolean":
            return term.value in ("true", "1")
    return str(term.value)
