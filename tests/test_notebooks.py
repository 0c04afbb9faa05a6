"""Every notebook runs at smoke size, in an empty folder; with `--notebooks`, it is kept."""

import os
import re
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from plain import PLAIN

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SECONDS = 600  # per cell, on a busy machine


def test_all_are_here():
    names = [
        "01_render_and_listen", "02_first_fit", "03_compose_a_variant",
        "04_infer_presets_from_audio", "05_posterior_checks", "06_tags_and_traversals",
        "07_explore_a_bank",
    ]  # fmt: skip
    assert [path.stem for path in NOTEBOOKS] == names


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_outputs_are_kept(path):
    for cell in nbformat.read(path, 4).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_imports_are_those_of_a_user(path):
    code = "\n".join(cell.source for cell in nbformat.read(path, 4).cells)
    imported = re.findall(r"^\s*(?:from|import) (pyrosynth[\w.]*)", code, re.MULTILINE)
    assert set(imported) <= {"pyrosynth", "pyrosynth.modeling"}
    assert "from pyrosynth import" not in code


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """A kernel for all notebooks, which imports the package once."""
    home = tmp_path_factory.mktemp("jupyter")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYROSYNTH_SMOKE", "1")
        patch.setenv("OMP_NUM_THREADS", "1")
        # The package of this checkout, also in the processes that a notebook starts.
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.getenv("PYTHONPATH", "")]))
        # Jupyter keeps its own files in the home folder.
        patch.setenv("IPYTHONDIR", str(home / "ipython"))
        patch.setenv("JUPYTER_RUNTIME_DIR", str(home / "runtime"))
        client = NotebookClient(
            nbformat.v4.new_notebook(), timeout=SECONDS, kernel_name="python3",
            startup_timeout=SECONDS, shutdown_kernel="immediate",
        )  # fmt: skip
        # The interpreter of these tests, whichever kernels are installed.
        client.create_kernel_manager().kernel_spec.argv[0] = sys.executable
        with client.setup_kernel():
            yield client


@pytest.fixture(scope="module")
def kept(request):
    """Where executed notebooks are kept, whatever the tests' own folder is; None for nowhere."""
    folder = request.config.getoption("--notebooks")
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        folder = folder.resolve()
    return folder


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs(path, tmp_path, client, kept):
    client.nb = notebook = nbformat.read(path, 4)
    afresh = f"%reset -f\nimport os\nos.chdir({str(tmp_path)!r})\ndel os"
    for cell in notebook.cells:  # a synth that starts quickly
        cell.source = cell.source.replace('SYNTH = "voice"', f'SYNTH = "{PLAIN}"')
    notebook.cells.insert(0, nbformat.v4.new_code_cell(afresh))
    client.execute(cleanup_kc=False)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) >= 2 or "compose" in path.stem
    assert not any("Traceback" in output.get("text", "") for output in outputs)
    if kept:
        del notebook.cells[0]
        nbformat.write(notebook, kept / path.name)
