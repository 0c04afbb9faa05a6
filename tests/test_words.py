"""The field's terms, not a private language: words that are gone from code, tables and docs.

Each pattern is looked for in the text of every file that is written by hand, without regard to
case. Plain English stays usable: *map* as a verb, *heard* of a listener, *found* of a finder.
"""

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("pyrosynth", "models", "docs", "notebooks", "benchmarks", "tests")
SUFFIXES = {".py", ".md", ".ipynb", ".js", ".html", ".css", ".jinja", ".toml"}
HISTORY = (Path(__file__), ROOT / "docs/changelog.md")  # say what was

# What each was, and what it is called now.
GONE = {
    r"\bderived presets?\b": "augmented presets",
    r"--derived\b": "--augmented",
    r"\bderived=": "augmented=",
    r"\bcorpus\b": "dataset, augmentation",
    r"\brivals?\b": "baselines and searches, methods",
    r"\bcontests?\b": "benchmark",
    r"\bentrants?\b": "model entry",
    r"\bjudged\b": "compared, or FitResult",
    r"\bstandings\b": "results table",
    r"\bscoreboard\b": "results table",
    r"\bfindings\b": "results",
    r"(?-i:\bTrials\b)": "EvaluationRunner",
    r"\bmetric panel\b|\bpanel of metrics\b|\bMetricPanel\b": "metric suite",
    r"\batlas\b": "LatentSpace",
    r"\bneighbourhoods?\b": "neighbors, PresetSet",
    r"\bmacro-?controls?\b": "traversal",
    r"\bmacros\b|(?-i:\bMacro\()": "traversals",  # a macro is a knob of a DAW
    r"\brankings\b": "AxisRanking",
    r"\bimagine\b": "sample_prior",
    r"\bgaps\(": "novel_presets",
    r"\bsave_idata\b|\bidata\.py\b|\btest_idata\b": "ArviZ data",
    r"\bpyrosynth pack\b": "pyrosynth export",
    r"\bpacking\b": "export",
    r"\bpyrosynth outside\b": "compare --outside",
    r"\bsize=paper\b": "recipe=paper",
    r"\bsized\(": "with_recipe",
    r"\bRun\.restore\b|\brun\.restore\(": "unstandardise",
    r"\busually_loud\b": "match_loudness",
    r"\bwhere_known\b|(?-i:\bKnown\()": "conditioning from outside",
    r"(?-i:\bSwitches\()|\bMixedPreset\b": "AutoregressiveCategorical, MixedDiscreteFlow",
    r"(?<![.\w])switches\b(?! =|\[)": "discrete parameters",
    r"\b(dims|tags?)\.words\b": "classes",
    r"\bevidence=|(?-i:batch)\[.evidence": "label mask",
    r"\bFitState\b": "TrainingState",
    r"\brehearse\b": "warm-up",
    r"(?-i:\b(Rendered|Played|Found)\()": "RenderResult, Sound, Embedding",
    r"\bread_preset\b": "Preset.load",
    r"\bdebian\.py\b|\babi\.py\b|\bplugin\.py\b": "apt, ladspa, host",
    r"\bsketch(es)?\b": "a sound of any pitch, Hearing, TunedSound",
    r"\bsliders\.py\b|\bscene\.py\b|\bexchange\.py\b": "controls, page state, session files",
}

# Words that are there yet, by the first part of the file's path; a list that only shrinks.
YET: dict[str, tuple[str, ...]] = {}


@cache
def texts():
    """Return name and text of all files that people write, without lines that machines write."""
    files = [file for folder in FOLDERS for file in sorted((ROOT / folder).rglob("*"))]
    found = []
    for file in [*files, ROOT / "README.md"]:
        name = file.relative_to(ROOT)
        made = {"_build", "__pycache__", "pretrained"} & set(name.parts)
        if file.suffix in SUFFIXES and not made and file not in HISTORY:
            lines = file.read_text(encoding="utf-8").splitlines()
            found.append((name, "\n".join(line if len(line) < 2000 else "" for line in lines)))
    return found


def hits(pattern):
    """List the places of a pattern."""
    for name, text in texts():
        for hit in re.finditer(pattern, text, re.IGNORECASE):
            number = text.count("\n", 0, hit.start())
            yield f"{name}:{number + 1}: {text.splitlines()[number].strip()[:90]}"


@pytest.mark.parametrize("pattern", GONE)
def test_a_word_is_gone(pattern):
    there = [hit for hit in hits(pattern) if not hit.startswith(YET.get(pattern, ()))]
    assert not there, f"say {GONE[pattern]}:\n" + "\n".join(there[:20])


def test_one_of_a_thing_is_one_in_messages():
    """Numbers that may be 1 stand before their noun by `pyrosynth.errors.counted` only."""
    number = r"\{(?:len\([^{}]*\)|n|n_\w+|count|[^{}\"']*:,)\}"
    no_noun = r"(?!(?:is|was|has|as|this)\b)"
    pattern = re.compile(f"{number} {no_noun}(?:[a-z-]+ )?{no_noun}[a-z]+s\\b")
    hits = [
        f"{file.relative_to(ROOT)}: {found.group()}"
        for file in sorted((ROOT / "pyrosynth").rglob("*.py"))
        for found in pattern.finditer(file.read_text(encoding="utf-8"))
    ]
    assert not hits, hits
