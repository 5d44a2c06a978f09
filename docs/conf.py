"""The documentation site: ``python -m sphinx -M html . docs/_build -c docs -W --keep-going``.

Its source is the whole checkout, so that pages, notebooks and data link to each other by the same
relative paths here and on a Git host. Notebooks, and pages with cells of code, are executed; what
they gave is kept below the output folder until the page changes. No page asks a network for
anything: the theme brings its fonts, charts are SVG or use Vega as ``vl_convert`` carries it, and
formulas are MathML, which docutils makes of them and browsers draw.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import vl_convert
from docutils import nodes
from docutils.utils.math import latex2mathml

from bigbench_meta import __version__

if TYPE_CHECKING:
    from sphinx.application import Sphinx

DOCS = Path(__file__).parent

project = "bigbench-meta"
author = "The bigbench-meta authors"
project_copyright = author
version = release = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_click",
]
root_doc = "docs/index"
include_patterns = [
    "docs/*.md", "docs/*/*.md", "docs/reference/api/*.rst", "notebooks/*.ipynb", "data/SOURCES.md",
    "CHANGELOG.md", "CONTRIBUTING.md",
]  # fmt: skip
exclude_patterns = ["docs/_*", ".*", "**/.ipynb_checkpoints"]

myst_heading_anchors = 3

nb_execution_mode = "cache"
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_execution_in_temp = True
nb_render_markdown_format = "myst"
nb_merge_streams = True

autosummary_generate = True
autosummary_imported_members = True
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_attr_annotations = False
toc_object_entries = False
# A public name that is referred to must be on the site; names of other packages, and those that
# are not public, need not.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!bigbench_meta\.\w+$).*")]

html_theme = "pydata_sphinx_theme"
html_title = "bigbench-meta"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/favicon.svg"
html_sidebars = {"docs/index": [], "docs/paper": [], "docs/sliders": []}
html_additional_pages = {"index": "to_start.html"}
templates_path = [str(DOCS / "_templates")]
html_math_renderer = "mathml"
html_copy_source = False
html_show_copyright = False
html_theme_options = {
    "show_nav_level": 1,
    "navigation_with_keys": False,
    "header_links_before_dropdown": 6,
    "show_toc_level": 2,
    "footer_start": [],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}
html_context = {"default_mode": "auto"}

# In the kernels that execute pages: charts as SVG, or ready for Vega.
_kernel = tempfile.mkdtemp(prefix="bigbench-meta-docs-")
shutil.copytree(DOCS / "_kernel", Path(_kernel) / "profile_default" / "startup")
os.environ["IPYTHONDIR"] = _kernel


def _write_vega(app: Sphinx) -> None:
    """Write Vega with the lines that start it, as a script for every browser and for files."""
    if app.builder.format == "html":
        script = (DOCS / "_kernel" / "charts.js").read_text("utf-8")
        bundle = vl_convert.javascript_bundle(script)
        static = Path(app.outdir) / "_static"
        static.mkdir(parents=True, exist_ok=True)
        (static / "vega.js").write_text(f"(async () => {{{bundle}}})();", "utf-8")


def _with_vega(app: Sphinx, _page: str, _template: str, _context: Any, doctree: Any) -> None:
    """Load Vega on pages with a chart that moves."""
    if doctree and any("vega-chart" in raw.astext() for raw in doctree.findall(nodes.raw)):
        app.add_js_file("vega.js", loading_method="defer")


def _options_as_code(_app: Sphinx, _context: Any, lines: list[str]) -> None:
    """Set options, and what stands in backticks, as code in the help of a command."""
    for place, line in enumerate(lines):
        if not line.startswith((".. option::", "|", " bigbench-meta")):
            parts = re.split(r"(`+[^`]+`+)", line)
            parts[::2] = [re.sub(r"(?<![\w-])--[a-z][\w-]*", r"``\g<0>``", p) for p in parts[::2]]
            parts[1::2] = ["``{}``".format(part.strip("`")) for part in parts[1::2]]
            lines[place] = "".join(parts)


def _examples_as_code(_app: Sphinx, _context: Any, lines: list[str]) -> None:
    """Set what a command's help keeps in lines, its examples, as code."""
    kept = [place for place, line in enumerate(lines) if line.startswith("|")]
    if kept:
        first, last = kept[0], kept[-1] + 1
        heading, *examples = (
            line.removeprefix("|").removeprefix(" ") for line in lines[first:last]
        )
        code = [".. code-block:: text", "", *(f" {example}" for example in examples), ""]
        lines[first:last] = [heading, "", *code]


def _formula(writer: Any, node: nodes.math | nodes.math_block) -> None:
    if isinstance(node, nodes.math_block):
        formula = latex2mathml.tex2mathml(node.astext(), as_block=True)
        formula = f'<div class="formula">{formula}</div>'
    else:
        formula = latex2mathml.tex2mathml(node.astext())
    writer.body.append(formula)
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Connect what is the site's own."""
    app.add_html_math_renderer("mathml", (_formula, None), (_formula, None))
    app.connect("sphinx-click-process-description", _options_as_code)
    app.connect("sphinx-click-process-description", _examples_as_code)
    app.connect("sphinx-click-process-options", _options_as_code)
    app.connect("builder-inited", _write_vega)
    app.connect("html-page-context", _with_vega)
    app.connect("build-finished", lambda *_: shutil.rmtree(_kernel, ignore_errors=True))
