"""The knobs of a synth as people read them: parts of the synth, and a label within the part."""

from collections import Counter

from pyrosynth.synths.params import ParamSpace

OTHERS = "others"  # the part of parameters that share none with any other


def grouped(space: ParamSpace) -> list[tuple[str, str]]:
    """Return the group and the label of each parameter.

    A parameter that says its own group keeps it. Others are grouped by the first word of their
    names, where at least two share it: ``osc1_waveform`` becomes *osc1* and *waveform*.

    Args:
        space: All parameters of the synth.

    Example:
        >>> from pyrosynth.synths import load_synth
        >>> space = load_synth("voice").param_space
        >>> dict(zip(space.names, grouped(space), strict=True))["osc1_waveform"]
        ('osc1', 'waveform')
    """
    words = [name.replace("-", "_").replace(" ", "_").split("_") for name in space.names]
    shared = Counter(first for first, *_ in words)
    groups = []
    for param, (first, *rest) in zip(space.params, words, strict=True):
        if param.group:
            groups.append((param.group, " ".join([first, *rest])))
        elif rest and shared[first] > 1:
            groups.append((first, " ".join(rest)))
        else:
            groups.append((OTHERS, " ".join([first, *rest])))
    return groups
