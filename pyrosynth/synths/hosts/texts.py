"""What the texts of a control's values tell of it: steps that are not told, and their labels."""

import itertools
from collections.abc import Callable

from pyrosynth.synths.hosts.plugin import MOST_LABELLED

TEXT_STEPS = 128  # intervals between the texts of a continuous control
SWITCHED = {("off", "on"), ("no", "yes"), ("false", "true")}  # texts of a toggle


def steps_of(text_at: Callable[[float], str]) -> tuple[int, tuple[str, ...]]:
    """Find the steps of a control that says it is continuous, and their labels, from its texts.

    Whole numbers and words in few evenly spaced plateaus are steps: JUCE does not tell those of
    its integers. Numbers with decimals may merely be written with few of them.

    Args:
        text_at: Returns the text of a value, normalised to [0, 1].

    Returns:
        Number of steps, 0 if it is continuous; and a label for each, or none.
    """
    texts = [text_at(i / TEXT_STEPS) for i in range(TEXT_STEPS + 1)]
    plateaus = [key for key, _ in itertools.groupby(texts)]
    n = len(plateaus)
    if not 2 <= n <= MOST_LABELLED or len(set(plateaus)) < n or not all(plateaus):
        return 0, ()
    labels = labels_of(plateaus, n)
    if not labels and not all(map(_is_whole, plateaus)):
        return 0, ()
    if [text_at(i / (n - 1)) for i in range(n)] != plateaus:
        return 0, ()
    return n, labels


def labels_of(texts: list[str], steps: int) -> tuple[str, ...]:
    """Return the texts as labels if they are distinct, not all numbers, and no mere off and on."""
    if len(set(texts)) < steps or not all(texts) or all(map(_is_number, texts)):
        return ()
    if tuple(map(str.lower, texts)) in SWITCHED:
        return ()
    return tuple(texts)


def _is_number(written: str) -> bool:
    """Return whether a text begins with a number, a unit may follow."""
    try:
        float(written.split()[0].rstrip("%"))
    except (ValueError, IndexError):
        return False
    return True


def _is_whole(written: str) -> bool:
    try:
        int(written.split()[0].rstrip("%"))
    except (ValueError, IndexError):
        return False
    return True
