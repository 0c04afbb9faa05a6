"""The rules that keep the code readable: who imports whom, how long a file gets."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import pyrosynth
from pyrosynth import zoo

PACKAGE = Path(pyrosynth.__file__).parent
ROOT = PACKAGE.parent

# A room imports only from rooms before it.
ROOMS = """
    errors folders params presets audio statistics
    synths.base synths.abi synths.plugin synths.dssi synths.zyn synths.debian
    synths.amsynth_table synths.amsynth synths.voice_table synths.voice synths
    worker rendering families players outside
    features corpus splits store building dataset
    tags tag_files tagging
    nn convolutions splines bijections couplings autoregressive flows distributions
    variant mixed batches checkpoints history elbo steps svi sources run zoo
    metrics pitch sketch panel idata retrieval search posterior packing fitting
    disentanglement axes
    baselines descriptors calibration tables results targets trials findings
    plots report sketch_report check_report checks
    sweeps costs axes_plots axes_report axes_folder
    directions atlas timbre explore_plots macros rankings neighbourhoods morphs smoothness maps
    explore explore_report explore_folder
    sliders paths exchange live session messages osc scene export serve
    inference sounds demo
    provenance progress entrants rivals standings scoreboard compare_plots contest
    compare_report comparisons cli_options cli_models cli_tags cli_explore cli_live cli __main__
""".split()

SYNTH_SIDE = ROOMS[: ROOMS.index("nn")]
MODEL_SIDE = ROOMS[ROOMS.index("nn") : ROOMS.index("zoo") + 1]
PLACES = {  # the rooms that may import a library; ArviZ, librosa and pandas inside functions only
    "arviz": {"idata"},
    "librosa": {"sketch"},
    "pandas": set(ROOMS),
    "matplotlib": {"plots", "axes_plots", "explore_plots", "compare_plots"},
}
BLOCKS = {"nn", "convolutions", "flows", "distributions", "variant", "mixed"}
LONGEST = 400


def room(file):
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {
    room(file): file
    for file in sorted(PACKAGE.rglob("*.py"))
    if not {"models", "pretrained"} & set(file.relative_to(PACKAGE).parts)
}
ROOM_FILES = {name: file for name, file in FILES.items() if name}


def imports(file, *, top_only=False):
    """Yield the imported modules: rooms of the package, names of other distributions."""
    tree = ast.parse(file.read_text())
    typing_only = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and ast.unparse(branch.test) == "TYPE_CHECKING"
        for node in ast.walk(branch)
    }
    nodes = tree.body if top_only else ast.walk(tree)
    for node in nodes:
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            for name in node.names:
                inner = f"{node.module}.{name.name}"
                yield inner if inner.removeprefix("pyrosynth.") in FILES else node.module


def rooms(found):
    return {m.removeprefix("pyrosynth.") for m in found if m.startswith("pyrosynth.")}


def test_every_file_has_a_room():
    assert set(ROOM_FILES) <= set(ROOMS)


@pytest.mark.parametrize("name", ROOM_FILES)
def test_imports_point_one_way(name):
    before = set(ROOMS[: ROOMS.index(name)])
    # The package of the synths makes each of them by name, inside functions.
    outside = rooms(imports(ROOM_FILES[name])) - before
    assert not outside, f"{name} imports {sorted(outside)}, which come after it"


@pytest.mark.parametrize("name", ROOM_FILES)
def test_heavy_libraries_stay_in_their_rooms(name):
    used = {module.partition(".")[0] for module in imports(ROOM_FILES[name])}
    at_top = {module.partition(".")[0] for module in imports(ROOM_FILES[name], top_only=True)}
    if name in SYNTH_SIDE and name != "synths.voice":
        assert not used & {"torch", "pyro"}
    if name in MODEL_SIDE:
        assert not {r for r in rooms(imports(ROOM_FILES[name])) if r.startswith("synths")}
        assert not used & {"soundfile", "soxr", "ctypes"}
    assert not at_top & {"arviz", "librosa", "pandas"}
    for library, where in PLACES.items():
        assert library not in used or name in where


@pytest.mark.parametrize("name", zoo.names())
def test_models_are_made_of_blocks(name):
    found = list(imports(zoo.FOLDER / f"{name}.py"))
    assert rooms(found) <= BLOCKS
    others = {module.partition(".")[0] for module in found} - {"pyrosynth"}
    assert others <= {"torch", "pyro", "math", "collections", "typing"}


@pytest.mark.parametrize("file", [*FILES.values(), *zoo.FOLDER.glob("*.py")], ids=str)
def test_files_are_short(file):
    assert len(file.read_text().splitlines()) <= LONGEST


@pytest.mark.parametrize("text", ["/home/", "/tmp/", "/work/", "/Users/"])
def test_no_paths_of_one_machine(text):
    suffixes = {".py", ".md", ".toml", ".txt", ".ipynb", ".j2", ".html", ".css"}
    folders = [PACKAGE, zoo.FOLDER, ROOT / "docs", ROOT / "notebooks", ROOT / "benchmarks"]
    files = [f for folder in folders if folder.is_dir() for f in folder.rglob("*")]
    files += [f for f in ROOT.iterdir() if f.name in ("README.md", "Makefile", "constraints.txt")]
    for file in files:
        if file.suffix in suffixes and "_build" not in file.parts:
            assert text not in file.read_text(), file


def test_public_names():
    assert sorted(pyrosynth.__all__) == pyrosynth.__all__
    assert set(pyrosynth.__all__) == set(pyrosynth._HOME)
    assert set(pyrosynth.__all__) <= set(dir(pyrosynth))
    for name in pyrosynth.__all__:
        assert getattr(pyrosynth, name).__module__.startswith("pyrosynth.")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = pyrosynth.nothing


@pytest.mark.parametrize("command", ["import pyrosynth", "from pyrosynth import cli"])
def test_importing_is_light(command):
    heavy = ("torch", "pyro", "arviz", "librosa", "pandas", "xarray", "scipy", "matplotlib")
    script = f"{command}; import sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
