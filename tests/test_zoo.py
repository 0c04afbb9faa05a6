"""Finding variants by name and by path."""

import inspect
import os
import re
import shutil
import subprocess
import sys
import textwrap

import pytest

from pyrosynth.errors import InputError, RunError
from pyrosynth.modeling import Dims, Variant
from pyrosynth.training import zoo
from pyrosynth.training.imports import imports_beside, require_alone


def test_names_and_sources():
    assert {"flow_reg", "vae_flow"} <= set(zoo.list_models())
    for name in zoo.list_models():
        variant = zoo.load_model(name)
        assert issubclass(variant, Variant)
        assert zoo.load_model(name) is variant
        (base,) = variant.__bases__
        assert f"class {variant.__name__}({base.__name__})" in zoo.source(name)
        assert zoo.describe(name) == inspect.getdoc(variant).splitlines()[0]
        assert len(zoo.describe(name)) > 20
        assert re.fullmatch(r".+ \(\d{4}\), .+, https?://[^ ]+", zoo.paper(name)), name


def test_unknown_name_lists_the_known_ones():
    for call in (zoo.load_model, zoo.source, zoo.describe):
        with pytest.raises(InputError, match="unknown model 'gan'; known: .*flow_reg"):
            call("gan")


def test_a_copied_file_is_a_variant_of_its_own(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(zoo.source("flow_reg").replace("gamma: float = 1.0", "gamma: float = 3.0"))
    variant = zoo.load_model(path)
    assert variant is not zoo.load_model("flow_reg")
    options = {"channels": (8,), "n_layers": 1, "n_regression_layers": 1, "rank": 4}
    assert variant(Dims(3, (8, 8)), **options).terms[2].at(0) == 3.0
    path.write_text(path.read_text().replace("gamma: float = 3.0", "gamma: float = 4.0"))
    assert zoo.load_model(str(path))(Dims(3, (8, 8)), **options).terms[2].at(0) == 4.0
    path.write_text(path.read_text().replace("gamma: float = 4.0", "gamma: float"))
    with pytest.raises(InputError, match="FlowReg needs gamma; give a default, or a value"):
        zoo.load_model(path)(Dims(3, (8, 8)), **options)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine.py"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("class Lone:\n    pass\n", "found: none, no class of it derives from .*Variant"),
        (
            "from pyrosynth.modeling import Variant\nclass Half(Variant):\n    pass\n",
            "found: Half, which lacks guide",
        ),
        ("def broken(:\n", "cannot be run: SyntaxError"),
        ("import pyrosynth_not_there\n", "cannot be run: ModuleNotFoundError"),
        (zoo.source("flow_reg") + "\n\nclass Two(FlowReg):\n    pass\n", "found: FlowReg, Two"),
    ],
)
def test_files_that_are_no_variant(tmp_path, text, message):
    path = tmp_path / "mine.py"
    path.write_text(text)
    modules = set(sys.modules)
    with pytest.raises(InputError, match=message) as error:
        zoo.load_model(path)
    assert "\n" not in str(error.value)
    assert set(sys.modules) - modules == set() or "found" in message


def test_a_second_name_of_a_variant_is_no_second_variant(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(zoo.source("flow_reg") + "\n\nmodel = FlowReg\n")
    assert zoo.load_model(path).__name__ == "FlowReg"


def test_hyper_parameters_that_a_run_cannot_store_are_refused(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(
        "import torch\nfrom pyrosynth.training.zoo import load_model\n"
        "class Mine(load_model('flow_reg')):\n"
        "    def __init__(self, dims, *, activation=torch.nn.ReLU):\n"
        "        super().__init__(dims)\n"
    )
    with pytest.raises(InputError, match="Mine: activation is type .*ReLU.*, which a run cannot"):
        zoo.load_model(path)(Dims(3, (8, 8)))


def test_the_source_of_a_file_is_its_text(tmp_path):
    (tmp_path / "own.py").write_bytes(b"\xef\xbb\xbf" + zoo.source("mlp").encode())
    assert zoo.source(str(tmp_path / "own.py")) == zoo.source("mlp")
    assert zoo.describe(str(tmp_path / "own.py")) == zoo.describe("mlp")
    (tmp_path / "odd.py").write_bytes(b"\xff\xff")
    os.mkfifo(tmp_path / "pipe.py")
    for name, why in (
        ("none.py", "No such file or directory"),
        ("odd.py", "it is no text in utf-8"),
        ("pipe.py", "it is no regular file"),
    ):
        with pytest.raises(InputError, match=rf"{name}' \({why}\); give a name or a .py file in"):
            zoo.source(str(tmp_path / name))


def test_missing_file(tmp_path):
    (tmp_path / "mine.txt").write_text(zoo.source("flow_reg"))
    with pytest.raises(InputError, match="is a file, but a file of a model ends in .py"):
        zoo.load_model(str(tmp_path / "mine.txt"))
    with pytest.raises(InputError, match="no variant file"):
        zoo.load_model(tmp_path / "none.py")


def test_a_file_that_reads_another_beside_it_is_refused_before_it_is_fitted(tmp_path):
    (tmp_path / "basis.txt").write_text("1")
    for place, alone in (("Path(__file__).parent", False), (repr(str(tmp_path)), True)):
        own = tmp_path / f"own{alone}.py"
        read = f'from pathlib import Path\nBASIS = (Path({place}) / "basis.txt").read_text()'
        where = "" if alone else "# of __file__\n"
        own.write_text(f"{zoo.source('mlp')}\n{where}{read}\n")
        variant = zoo.load_model(own)
        if alone:
            require_alone(variant(Dims(3, (8, 8))), own.read_text())
            continue
        with pytest.raises(RunError, match=r"own.*py' cannot be run .*\(FileNotFoundError.*basis"):
            require_alone(variant(Dims(3, (8, 8))), own.read_text())
    later = tmp_path / "later.py"  # where it is made, not where it is defined
    start = next(x for x in zoo.source("mlp").splitlines() if "super().__init__(" in x)
    opened = '        open(__file__.replace("later.py", "basis.txt")).close()'
    later.write_text(zoo.source("mlp").replace(start, f"{start}\n{opened}"))
    model = zoo.load_model(later)(Dims(3, (8, 8)))
    with pytest.raises(RunError, match=r"later.py' cannot be run .*basis"):
        require_alone(model, later.read_text())


def test_modules_beside_a_model_are_named(tmp_path, monkeypatch):
    (tmp_path / "layers_here.py").write_text("WIDTH = 3\n")
    (tmp_path / "part_here").mkdir()
    (tmp_path / "part_here" / "__init__.py").write_text("")
    own = tmp_path / "own.py"
    lines = "import json, layers_here\nfrom part_here import nothing\nimport numpy.linalg\n"
    own.write_text(zoo.source("mlp") + "def later():\n" + textwrap.indent(lines, "    "))
    monkeypatch.syspath_prepend(str(tmp_path))
    variant = zoo.load_model(own)
    assert imports_beside(variant, own.read_text()) == ["layers_here", "part_here"]
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    assert imports_beside(variant, own.read_text()) == []  # found in any folder
    assert imports_beside(zoo.load_model("mlp"), zoo.source("mlp")) == []


def test_wheel_layout(tmp_path, monkeypatch):
    """In a wheel the files lie in pyrosynth/models."""
    shutil.copytree(zoo.FOLDER, tmp_path / "models", ignore=lambda *_: ["__pycache__"])
    monkeypatch.setattr(zoo, "FOLDER", tmp_path / "models")
    assert "flow_reg" in zoo.list_models()


def test_source_files_are_utf_8_whatever_the_locale(tmp_path, monkeypatch):
    """A file may begin with a byte order mark; nothing is read in the encoding of the locale."""
    path = tmp_path / "marked.py"
    path.write_bytes(b"\xef\xbb\xbf" + zoo.source("mlp").encode())
    variant = zoo.load_model(path)
    assert variant(Dims(4, (8, 11)), hidden=(8,)).dims.n_params == 4
    source = zoo.variant_source(variant)
    assert source.startswith('"""Multi-layer')
    assert "Phi⁻¹" in source
    script = (
        f"from pyrosynth.training import zoo; zoo.load_model({str(path)!r}); zoo.source('mlp')"
    )
    for key, value in {"PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}.items():
        monkeypatch.setenv(key, value)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
