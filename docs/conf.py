"""How the documentation is built: sphinx -W --keep-going -b html docs docs/_build/html.

The tutorials are the notebooks that `pytest tests/test_notebooks.py --notebooks docs/tutorials`
has executed. The build needs no network: equations become MathML here, and nothing is fetched from
other sites.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from docutils.nodes import SkipNode
from docutils.utils.math.latex2mathml import tex2mathml
from numpy.typing import ArrayLike
from sphinx.util.typing import stringify_annotation

sys.path.insert(0, str(Path(__file__).parents[1]))

from pyrosynth._version import __version__

project = "pyrosynth"
author = "the pyrosynth authors"
copyright = "the pyrosynth authors, Apache License 2.0"
version = release = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build", "_templates"]
templates_path = ["_templates"]
highlight_language = "none"  # blocks in docstrings; those of pages name theirs
default_role = "code"  # single backticks in docstrings
myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 3
myst_links_external_new_tab = False

autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
napoleon_use_ivar = True
napoleon_attr_annotations = False  # the signatures show them

# The test of the notebooks has executed them (Makefile); the site shows what came of it.
nb_execution_mode = "off"
nb_output_stderr = "remove"  # progress bars
nb_mime_priority_overrides = [("html", "text/html", 0)]

html_theme = "furo"
html_title = "pyrosynth"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["players.js"]
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
html_math_renderer = "mathml"
pygments_style = "friendly"
pygments_dark_style = "github-dark"

COMMANDS = "<!-- commands -->"
MESSAGES = "<!-- messages -->"
ARRAY_LIKE = stringify_annotation(ArrayLike, "smart")


def commands(app, page, source):
    """Write every command and option into the page of the command line, from the program."""
    if COMMANDS in source[0]:
        command = [sys.executable, "-m", "typer", "pyrosynth.cli", "utils", "docs"]
        done = subprocess.run(
            [*command, "--name", "pyrosynth"], cwd=Path(__file__).parents[1], text=True,
            check=True, capture_output=True,
        )  # fmt: skip
        _, _, listed = done.stdout.partition("\n## ")
        source[0] = source[0].replace(COMMANDS, f"## {listed}")


def messages(app, page, source):
    """Write the table of OSC messages into its page, from the program."""
    if MESSAGES in source[0]:
        from pyrosynth.live.messages import MESSAGES as known
        from pyrosynth.live.messages import PROTOCOL

        rows = [f"Protocol {PROTOCOL}.\n", "| message | answers | what it does |", "|---|---|---|"]
        for m in known.values():
            sent = f"`{m.address} {m.arguments}`" if m.arguments else f"`{m.address}`"
            answers = " ".join(f"`{a}`" for a in m.answers.replace(" ...", "").split())
            does = f"{m.does} *(later)*" if m.slow else m.does
            rows.append(f"| {sent} | {answers} | {does} |".replace("0|1", "0/1"))
        source[0] = source[0].replace(MESSAGES, "\n".join(rows))


def literal_blocks(app, what, name, thing, options, lines):
    """Keep the layout of indented blocks in docstrings: trees, file lists, little programs."""
    lines[:] = [re.sub(r"(?<=\()\*(?=\w)", r"\*", line) for line in lines]  # (*shape, ...)
    for i in range(len(lines) - 3, -1, -1):
        text, blank, block = lines[i : i + 3]
        if re.match(r"[^\s:.]", text) and not blank and re.match(r" {4}\S", block):
            lines[i + 1 : i + 1] = ["", "::"]


def short_types(app, what, name, thing, options, signature, returns):
    """Call arrays by the names they have in the source."""
    array = r"~?numpy\.ndarray\[tuple\[~?typing\.Any, \.\.\.\], ~?numpy\.dtype\[(.*?)\]\]"
    texts = [signature or "", returns or ""]
    texts = [text.replace(ARRAY_LIKE, "ArrayLike").replace("<factory>", "...") for text in texts]
    return tuple(re.sub(array, r"NDArray[\1]", text) or None for text in texts)


def demo(app, error):
    """Put the demo into the site: the page of the explorer, and the data kept for it here."""
    if app.builder.format == "html" and error is None:
        kept = Path(__file__).parent / "demo"
        for folder in (kept.parents[1] / "pyrosynth" / "live" / "page", kept):
            shutil.copytree(folder, Path(app.outdir) / "demo", dirs_exist_ok=True)


def visit_math(self, node):
    """Write an equation as MathML, which browsers draw by themselves."""
    block = node.tagname == "math_block"
    text = re.sub(r"\\(log|ln|det) ", r"\\\1\\, ", node.astext())
    if block and ("&" in text or r"\\" in text):
        text = rf"\begin{{aligned}}{text}\end{{aligned}}"
    mathml = tex2mathml(text, as_block=block)
    self.body.append(f'<div class="math">{mathml}</div>' if block else mathml)
    raise SkipNode


def setup(app):
    """Connect the above."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math, None))
    app.connect("source-read", commands)
    app.connect("source-read", messages)
    app.connect("build-finished", demo)
    app.connect("autodoc-process-signature", short_types)
    app.connect("autodoc-process-docstring", literal_blocks, priority=900)  # after napoleon
