"""The field's terms, not a private language: words that are gone from code, tables and docs.

Each pattern is looked for in the text of every file that is written by hand, without regard to
case. Plain English stays usable: *map* as a verb, *heard* of a listener, *found* of a finder.
"""

import re
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


def files(folder):
    """List the files of a folder that people write."""
    for file in sorted((ROOT / folder).rglob("*")):
        parts = file.relative_to(ROOT).parts
        if file.suffix in SUFFIXES and not {"_build", "__pycache__", "pretrained"} & set(parts):
            yield file


def hits(pattern, folder):
    """List the places of a pattern in a folder, and in the texts beside the folders."""
    for file in files(folder):
        if file in HISTORY:
            continue
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            if len(line) < 2000 and re.search(pattern, line, re.IGNORECASE):
                yield f"{file.relative_to(ROOT)}:{number}: {line.strip()[:90]}"


@pytest.mark.parametrize("pattern", GONE)
def test_a_word_is_gone(pattern):
    there = [hit for folder in FOLDERS for hit in hits(pattern, folder)]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    there += re.findall(f"README.*{pattern}", f"README {readme}", re.IGNORECASE)
    there = [hit for hit in there if not any(hit.startswith(p) for p in YET.get(pattern, ()))]
    assert not there, f"say {GONE[pattern]}:\n" + "\n".join(there[:20])
