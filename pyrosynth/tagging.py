"""Where tags come from when nobody has written them: sounds, and names of presets.

The numbers that describe a sound are computed from its features, which a dataset holds for every
preset; `pyrosynth.descriptors` has finer ones, for those that have audio.
"""

import re
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm.auto import tqdm

from pyrosynth.dataset import Dataset
from pyrosynth.errors import DataError
from pyrosynth.features import FeatureSpec
from pyrosynth.tags import Tag, TagTable, labelled

DESCRIBED = (
    Tag("loudness", ("quiet", "medium", "loud")),
    Tag("brightness", ("dark", "medium", "bright")),
    Tag("noisiness", ("pure", "medium", "noisy")),
    Tag("length", ("short", "medium", "long")),
    Tag("movement", ("constant", "medium", "moving")),
)
"""The tags that follow from how a preset sounds; `describe_features` has the numbers."""

# Words in the names of presets, whole and in lower case, that speak for a word of a tag.
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
HIDDEN = 0.7  # share of labels `default_tags` hides; 69 % of Esling et al.'s presets had none
CHUNK = 4096  # sounds described at a time
SILENT = 1e-9  # power added where a silent frame would divide by zero
NOISE_DB, MOTION_DB = 60.0, 40.0  # how far below its peak a sound is heard, in two descriptors
ONSET_SECONDS = 0.3  # at the start, where every sound changes


def describe_features(x: ArrayLike, spec: FeatureSpec) -> NDArray[np.float64]:
    """Describe sounds by one number for each tag of ``DESCRIBED``.

    All but the first are averages by energy, so that silence after the note does not count.

    Args:
        x: Features, shape (n, n_mels, n_frames).
        spec: How they were computed.

    Returns:
        Shape (n, 5): the mean level in dB; the mean height of the spectrum in octaves above
        1 Hz (by magnitude); the flatness of the mel spectrum in nats, 0 for bands of equal power,
        down to 60 dB below the loudest cell; the mean time of the energy in seconds; and how much
        a cell differs from the one before in nats, after the onset and down to 40 dB.
    """
    power = spec.power(x)
    energy = power.sum(1) + SILENT
    share = energy / energy.sum(1, keepdims=True)
    magnitude = np.sqrt(power)
    octaves = np.log2(spec.centers_hz).astype(np.float32)
    heights = np.einsum("nft,f->nt", magnitude, octaves) / (magnitude.sum(1) + SILENT)
    peak = power.max((1, 2), keepdims=True) + SILENT
    log_power = np.log(power + peak * np.float32(10 ** (-NOISE_DB / 10)))
    flatness = log_power.mean(1) - np.log(np.exp(log_power).mean(1))
    seconds = np.arange(power.shape[2]) * (spec.hop_length / spec.sample_rate)
    log_power = np.log(power + peak * np.float32(10 ** (-MOTION_DB / 10)))
    later = (power[:, :, 1:] + power[:, :, :-1]) * (seconds[1:] > ONSET_SECONDS)
    change = (later * np.abs(np.diff(log_power, axis=2))).sum((1, 2))
    described = (
        10 * np.log10(energy.mean(1)),
        (share * heights).sum(1),
        (share * flatness).sum(1),
        (share * seconds).sum(1),
        change / (later.sum((1, 2)) + SILENT),
    )
    return np.stack(described, 1).astype(np.float64)


def descriptor_tags(
    dataset: Dataset, *, human_only: bool = False, progress: bool = True
) -> TagTable:
    """Tag presets by how they sound.

    The lower third of each descriptor has the first word, the upper one the last, the third
    between them that in the middle. The thirds are those of the human presets of the train split.

    Args:
        dataset: The presets.
        human_only: Whether to leave out derived presets, which is faster.
        progress: Whether to show a progress bar.

    Returns:
        The table of all presets; those without a sound, or left out, have no labels.

    Raises:
        DataError: No human preset of the train split has a sound.
    """
    described = np.full((len(dataset), len(DESCRIBED)), np.nan)
    rows = dataset.rows("all", human_only=human_only)
    bar = tqdm(
        desc="describe", total=len(rows), unit=" sounds", unit_scale=True, dynamic_ncols=True,
        disable=not progress,
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
    # Strictly: a number that many presets share is in the middle.
    labels = np.where(described < low, 0.0, np.where(described > high, 2.0, 1.0))
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
        The table of all presets. A name that speaks for both words of a tag, or for none, gives
        no label.
    """
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
    """Split a name such as ``DarkPad2`` into lower-case words."""
    return [w.lower() for w in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]
