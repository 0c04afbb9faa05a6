"""Tags: words for sounds, and what is known of them for each preset.

A tag is a name and its words in order, such as ``brightness: dark/bright``. What is known is
kept as *evidence*, one truth value for each preset, tag and word: whether the word may hold. One
that remains is a label, all of them mean that the label is missing, and some that one of the
others was excluded; everything that reads tags treats the three alike.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyrosynth.errors import InputError, unknown

BETWEEN = "|"  # between words of a cell of which either may hold
Evidence = NDArray[np.bool_]


@dataclass(frozen=True)
class Tag:
    """A name and the words it is about, in their order along an axis.

    Args:
        name: What the words are about.
        words: Two or more words, from one end to the other.

    Raises:
        InputError: The name is empty, there are fewer than two words, or one is there twice.
    """

    name: str
    words: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check the words."""
        distinct = len({word.casefold() for word in self.words})
        if not self.name or distinct < 2 or distinct < len(self.words) or "" in self.words:
            raise InputError(
                f"tag '{self}' is not usable; write a name, a colon, and different words with "
                "slashes between them, such as 'brightness: dark/bright'"
            )

    def __str__(self) -> str:
        """Return such as ``brightness: dark/bright``."""
        return f"{self.name}: {'/'.join(self.words)}"

    @classmethod
    def parse(cls, text: str) -> "Tag":
        """Read what ``str`` wrote."""
        name, _, words = text.partition(":")
        return cls(name.strip(), tuple(word.strip() for word in words.split("/")))

    def classes(self, cell: str) -> list[int]:
        """Return the numbers of the words that a cell of a table leaves possible.

        Args:
            cell: A word, its number, several with ``|`` between them, or nothing.

        Raises:
            InputError: One is not a word of the tag (the words are listed).
        """
        if not cell.strip():
            return list(range(len(self.words)))
        numbers = {word.casefold(): i for i, word in enumerate(self.words)}
        numbers |= {str(i): i for i in range(len(self.words))}
        found = []
        for word in cell.split(BETWEEN):
            if word.strip().casefold() not in numbers:
                raise unknown(f"value of {self.name}", word.strip(), (*self.words, "(empty)"))
            found.append(numbers[word.strip().casefold()])
        return found


@dataclass(frozen=True, eq=False)
class TagTable:
    """What is known of the tags of all presets of a dataset.

    Args:
        tags: The tags; no two of one name.
        evidence: Which words may hold, shape (n_presets, n_tags, n_classes); a tag of fewer
            words than another leaves the last ones out.
        descriptors: The number behind each tag, shape (n_presets, n_tags), NaN where there is
            none: what labels were made of, kept to measure how well an axis follows it.

    Raises:
        InputError: Two tags have one name, or the evidence rules out every word of a tag.
    """

    tags: tuple[Tag, ...]
    evidence: Evidence
    descriptors: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        """Check that the parts agree."""
        if len(set(self.names)) < len(self.names):
            raise InputError(f"tags {', '.join(self.names)}: each needs a name of its own")
        if not (self.evidence & missing(self.tags)).any(-1).all():
            raise InputError("the evidence rules out every word of a tag; leave one possible")

    def __len__(self) -> int:
        """Return the number of presets."""
        return len(self.evidence)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the tags."""
        return tuple(tag.name for tag in self.tags)

    @property
    def words(self) -> tuple[tuple[str, ...], ...]:
        """Words of each tag."""
        return tuple(tag.words for tag in self.tags)

    @property
    def labels(self) -> NDArray[np.float64]:
        """Number of the word that holds, NaN where it is not known, shape (n_presets, n_tags)."""
        single = self.evidence.sum(-1) == 1
        return np.where(single, self.evidence.argmax(-1), np.nan)

    def hide(self, share: float, seed: int = 0) -> "TagTable":
        """Return a table in which labels are missing at random.

        Args:
            share: Probability that a label is hidden, each by itself.
            seed: Of what is hidden; the same for the first presets of a longer table.

        Raises:
            InputError: The share is not one.
        """
        if not 0 <= share <= 1:
            raise InputError(f"{share} of the labels hidden: give a share from 0 to 1")
        hidden = np.random.default_rng(seed).random(self.evidence.shape[:2]) < share
        return replace(self, evidence=self.evidence | (hidden[..., None] & missing(self.tags)))

    def fingerprint(self) -> str:
        """Return a hash of the tags and the evidence."""
        digest = hashlib.sha256("\n".join(map(str, self.tags)).encode())
        digest.update(np.packbits(self.evidence).tobytes())
        return digest.hexdigest()


def missing(tags: Sequence[Tag]) -> Evidence:
    """Return the evidence of a preset of which nothing is known, shape (n_tags, n_classes)."""
    counts = np.array([len(tag.words) for tag in tags], int)
    return np.arange(counts.max(initial=0)) < counts[:, None]


def labelled(
    tags: Sequence[Tag], labels: ArrayLike, descriptors: NDArray[np.float64] | None = None
) -> TagTable:
    """Make a table of labels.

    Args:
        tags: The tags.
        labels: Number of the word that holds, NaN where unknown, shape (n_presets, n_tags).
        descriptors: The number behind each tag, same shape.
    """
    numbers = np.asarray(labels, np.float64)
    possible = missing(tags)
    holds = np.arange(possible.shape[1]) == numbers[..., None]
    evidence = np.where(np.isnan(numbers)[..., None], possible, holds)
    return TagTable(tuple(tags), evidence, descriptors)
