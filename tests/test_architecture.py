"""What the import contracts of pyproject.toml cannot hold: lengths, names, lightness, models."""

import ast
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import pyrosynth
from pyrosynth.training import zoo

PACKAGE = Path(pyrosynth.__file__).parent
ROOT = PACKAGE.parent
LONGEST = 400
FILES = [
    file
    for file in sorted(PACKAGE.rglob("*.py"))
    if not {"models", "pretrained"} & set(file.relative_to(PACKAGE).parts)
]


def imports(file, *, top_only=False):
    """Yield the modules that a file imports, those for type checkers only excepted."""
    tree = ast.parse(file.read_text())
    typing_only = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and ast.unparse(branch.test) == "TYPE_CHECKING"
        for node in ast.walk(branch)
    }
    for node in tree.body if top_only else ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            yield node.module


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_slow_libraries_are_imported_where_they_are_used(file):
    at_top = {module.partition(".")[0] for module in imports(file, top_only=True)}
    assert not at_top & {"arviz", "librosa", "pandas"}


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_no_module_asks_the_package_for_its_lazy_names(file):
    """It would wait for a thread that has asked for one, and that one for this module."""
    assert "pyrosynth" not in set(imports(file))


@pytest.mark.parametrize("name", zoo.list_models())
def test_models_are_written_with_the_modeling_package(name):
    for module in imports(zoo.FOLDER / f"{name}.py"):
        if module.startswith("pyrosynth"):
            assert module.startswith("pyrosynth.modeling"), module
        else:
            assert module.partition(".")[0] in {"torch", "pyro", "math", "collections", "typing"}


@pytest.mark.parametrize("file", [*FILES, *zoo.FOLDER.glob("*.py")], ids=lambda f: f.stem)
def test_files_are_short(file):
    assert len(file.read_text().splitlines()) <= LONGEST


def test_the_house_stays_small():
    """Few modules at the root; models that are read in one go."""
    assert len(list(PACKAGE.glob("*.py"))) <= 8
    lengths = {f.stem: len(f.read_text("utf-8").splitlines()) for f in zoo.FOLDER.glob("*.py")}
    assert lengths["flow_reg"] <= 120
    assert max(lengths.values()) <= 170
    assert sum(lengths.values()) <= 1800


@pytest.mark.parametrize("text", ["/home/", "/tmp/", "/work/", "/Users/"])
def test_no_paths_of_one_machine(text):
    suffixes = {".py", ".md", ".toml", ".txt", ".ipynb", ".j2", ".html", ".css", ".js", ".json"}
    folders = [PACKAGE, zoo.FOLDER, ROOT / "docs", ROOT / "notebooks", ROOT / "benchmarks"]
    files = [f for folder in folders if folder.is_dir() for f in folder.rglob("*")]
    files += [f for f in ROOT.iterdir() if f.name in ("README.md", "Makefile", "constraints.txt")]
    # What building the documentation makes.
    made = [ROOT / "docs" / name for name in ("_build", "api", "jupyter_execute", "tutorials")]
    for file in files:
        if file.suffix in suffixes and not any(map(file.is_relative_to, made)):
            assert text not in file.read_text(), file


def test_make_test_can_be_run_again(tmp_path):
    """Once the folder of executed notebooks is there, pytest must not take it for tests."""
    (recipe,) = re.findall(r"-m pytest (-n .*?)\$\(ARGS\)", (ROOT / "Makefile").read_text(), re.S)
    options = recipe.replace("\\\n", " ").replace("docs/tutorials", str(tmp_path)).split()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--markers"], cwd=ROOT, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_make_says_what_is_wrong_with_a_python(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    older = tmp_path / "older"
    as_if = "import sys; sys.version_info = (3, 10); exec(sys.argv[1])"
    older.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{as_if}' \"$2\"\n")
    older.chmod(0o755)
    for python, wrong in (
        ("/not/there", "is not there"),
        (older, "is older than Python 3.11"),
        ("/bin/ls", "does not run"),
    ):
        done = subprocess.run(
            ["make", ".venv/.python", f"PYTHON={python}"], cwd=tmp_path, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        said = f"{python} {wrong}; name another: make PYTHON=/path/to/python3.12"
        assert said in done.stderr.splitlines()
        assert done.returncode


def test_public_names():
    """They are sorted, all there, and type checkers see the same ones."""
    assert sorted(pyrosynth.__all__) == pyrosynth.__all__
    assert set(pyrosynth.__all__) == set(dir(pyrosynth))
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    (block,) = (n for n in tree.body if isinstance(n, ast.If))
    seen = {alias.name for node in block.body for alias in node.names}
    assert seen == set(pyrosynth.__all__)
    for name in pyrosynth.__all__:
        public = getattr(pyrosynth, name)
        assert getattr(public, "__module__", public.__name__).startswith("pyrosynth.")
    with pytest.raises(AttributeError, match="nothing"):
        _ = pyrosynth.nothing


def test_progress_bars_are_hidden_where_nobody_sees_them():
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "tqdm":
                told = {word.arg: ast.unparse(word.value) for word in node.keywords}
                where = f"{file.name}:{node.lineno}"
                assert "unseen" in told["disable"] or file.parent.name == "cli", where


def test_threads_may_use_the_package_for_the_first_time_at_once():
    script = """
        import threading
        import pyrosynth as ps
        names = "Preset", "Param", "load_synth", "explore", "Posterior", "Bank"
        start, failed = threading.Barrier(len(names)), []
        def use(name):
            start.wait()
            try:
                getattr(ps, name)
            except Exception as error:
                failed.append(error)
        threads = [threading.Thread(target=use, args=(name,)) for name in names]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        print(failed)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("command", ["import pyrosynth", "from pyrosynth import cli"])
def test_importing_is_light(command):
    heavy = ("torch", "pyro", "arviz", "librosa", "pandas", "xarray", "scipy", "matplotlib")
    script = f"{command}; import sys; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_worker_imports_what_it_uses():
    """Each worker process pays for what rendering and the features need, and for no more."""
    heavy = ("torch", "pyro", "matplotlib", "pandas", "scipy.signal", "scipy.stats", "soundfile")
    script = "import pyrosynth.synths.worker_process, pyrosynth.synths.amsynth, sys;"
    script += "assert 'scipy' not in sys.modules;"  # where no features are made
    script += "import pyrosynth.audio.features;"
    script += f"print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
