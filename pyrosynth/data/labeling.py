"""Automatic tags: classes measured from sounds, or taken from the names of presets.

The numbers that describe a sound are computed from its features, which a dataset holds for every
preset; `pyrosynth.audio.descriptors` has finer ones, for those that have audio.
"""

import re
from collections.abc import Callable, Mapping

import numpy as np
from tqdm.auto import tqdm

from pyrosynth.audio.descriptors import describe_features
from pyrosynth.data.dataset import Dataset, require_dataset
from pyrosynth.data.tags import Tag, TagTable, labelled
from pyrosynth.errors import DataError, unseen

DENIED_BY = {"no", "not", "non", "never", "hardly", "without"}  # "Not Bright" is not bright
DESCRIBED = (
    Tag("loudness", ("quiet", "medium", "loud")),
    Tag("brightness", ("dark", "medium", "bright")),
    Tag("noisiness", ("pure", "medium", "noisy")),
    Tag("length", ("short", "medium", "long")),
    Tag("movement", ("constant", "medium", "moving")),
)
"""The tags that follow from how a preset sounds; `describe_features` has the numbers."""
DESCRIBED_UNITS = {
    "loudness": "dB", "brightness": "octaves above 1 Hz", "noisiness": "nats below white noise",
    "length": "s", "movement": "nats from frame to frame",
}  # fmt: skip
"""The units of these numbers, in their order."""

# Words in the names of presets, whole and in lower case, that speak for a class of a tag.
NAMED: Mapping[Tag, tuple[str, str]] = {
    Tag("brightness", ("dark", "bright")): (
        "dark(er)?|dull|deep|low|sub|muted|mellow|warm(er|th)?|round(ed)?|wood(en|y)?",
        "bright(er|ness)?|brite|brilliant|sharp|shiny|shimmer|crystal|metal(lic)?|steel|thin|high",
    ),
    Tag("hardness", ("soft", "hard")): (
        "soft(er|ly)?|gentle|smooth|mellow|round(ed)?|warm(er|th)?|clean|calm|silky?",
        "hard(er)?|harsh|dirty|dist(ort|orted|ortion)?|aggressive|scream|fuzzy?|growl|grit(ty)?|raw",
    ),
    Tag("length", ("short", "long")): (
        "plucks?|plucked|perc(ussion|ussive)?|drums?|stabs?|hits?|pops?|clavi?|short|snappy|staccato",
        "pads?|strings?|drones?|organ|choir|voices?|swell|sustain(ed)?|long|slow|ambient|atmo",
    ),
    Tag("movement", ("constant", "moving")): (
        "constant|static|still|steady|plain|simple|sine|flute|organ",
        "moving|sweep(ing)?|wah|wow|lfo|tremolo|wobble|flutter|phas(e|ed|er)|flang(e|ed|er)|pulsing",
    ),
}

THIRDS = (1 / 3, 2 / 3)
TIED = 0.005  # of a number, which nobody hears
HIDDEN = 0.7  # share of labels `default_tags` hides; 69 % of Esling et al.'s presets had none
CHUNK = 4096  # sounds described at a time


def descriptor_tags(
    dataset: Dataset, *, human_only: bool = False, progress: bool = True
) -> TagTable:
    """Tag presets by how they sound.

    The lower third of each descriptor has the first class, the upper one the last, the third
    between them that in the middle. The thirds are those of the human presets of the train split.

    Args:
        dataset: The presets.
        human_only: Whether to leave out augmented presets, which is faster.
        progress: Whether to show a progress bar.

    Returns:
        The table of all presets; those without a sound, or left out, have no labels.

    Raises:
        DataError: No human preset of the train split has a sound.
    """
    require_dataset(dataset)
    described = np.full((len(dataset), len(DESCRIBED)), np.nan)
    rows = dataset.rows("all", human_only=human_only)
    bar = tqdm(
        desc="describe", total=len(rows), unit=" sounds", unit_scale=True, dynamic_ncols=True,
        disable=unseen(progress),
    )  # fmt: skip
    with bar:
        for start in range(0, len(rows), CHUNK):
            chunk = rows[start : start + CHUNK]
            described[chunk] = describe_features(dataset.x(chunk), dataset.features)
            bar.update(len(chunk))
    known = dataset.rows("train", human_only=True)
    if not len(known):
        raise DataError(f"'{dataset.path}' has no human preset to train on, so no tags; add some")
    low, high = np.quantile(described[known], THIRDS, axis=0)
    # Strictly: a number that many presets share, or nearly, is in the middle.
    middle = np.median(described[known], axis=0)
    apart = np.abs(described - middle) > TIED * np.abs(middle)
    labels = np.where(
        apart & (described < low), 0.0, np.where(apart & (described > high), 2.0, 1.0)
    )
    labels[np.isnan(described)] = np.nan
    return labelled(DESCRIBED, labels, described)


def default_tags(dataset: Dataset, *, progress: bool = True) -> TagTable:
    """Tag presets by how they sound, with most labels hidden: what people's tags are like."""
    return descriptor_tags(dataset, progress=progress).hide(HIDDEN)


def name_tags(dataset: Dataset) -> TagTable:
    """Tag human presets by the words in their names.

    Args:
        dataset: The presets.

    Returns:
        The table of all presets. A name that speaks for both classes of a tag, or for none, gives
        no label.
    """
    require_dataset(dataset)
    labels = np.full((len(dataset), len(NAMED)), np.nan)
    human = np.flatnonzero(dataset.origin == "human")
    for row, name in zip(human.tolist(), dataset.names(human), strict=True):
        for i, patterns in enumerate(NAMED.values()):
            said = [any(re.fullmatch(p, w) for w in _words(name)) for p in patterns]
            if sum(said) == 1:
                labels[row, i] = said.index(True)
    return labelled(tuple(NAMED), labels)


SOURCES: Mapping[str, Callable[[Dataset], TagTable]] = {
    "descriptors": descriptor_tags,
    "names": name_tags,
}
"""Where tags can come from, by name."""


def _words(name: str) -> list[str]:
    """Split a name such as ``DarkPad2`` into lower-case words, without those that are denied."""
    found = [*re.finditer(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]
    words: list[str] = []
    before: re.Match[str] | None = None
    for word in found:
        between = name[before.end() : word.start()] if before else ""
        # Of "No. 5" and "No 5", the word is a number's.
        denied = before and before[0].lower() in DENIED_BY and not between.strip(" _-")
        words += [] if denied else [word[0].lower()]
        before = word
    return words
