"""How Sphinx builds the documentation; `make docs` runs it with warnings as errors."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]
os.environ["COLUMNS"] = "100"  # the width of the commands' help

import generate  # noqa: E402 - beside this file

project = "elastic"
author = "the elastic authors"
project_copyright = "the elastic authors"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "generated/*.md"]  # what is generated is included by other pages
default_role = "code"  # docstrings write code in single backticks

html_theme = "furo"
html_title = "elastic"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_theme_options = {"navigation_with_keys": True}
html_show_sourcelink = False
html_copy_source = False

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "cache"  # only notebooks that changed
nb_execution_in_temp = True
nb_execution_timeout = 900
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_output_stderr = "remove"

autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_numpy_docstring = False


def escape_bars(app, what, name, obj, options, lines):  # noqa: D103 - Sphinx's hook
    for at, line in enumerate(lines):  # |x| is an absolute value, except in code
        lines[at] = "`".join(part.replace("|", "\\|") if k % 2 == 0 else part for k, part in enumerate(line.split("`")))


def setup(app):  # noqa: D103 - Sphinx's hook
    app.connect("autodoc-process-docstring", escape_bars)
    app.connect("builder-inited", lambda app: generate.write(HERE / "generated"))
