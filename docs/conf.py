"""How Sphinx makes the site: `make docs`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import reference_pages  # noqa: E402

import backlight  # noqa: E402

project = "Backlight"
author = "the Backlight authors"
version = release = backlight.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["figures/*"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
suppress_warnings = ["myst.xref_missing_file_root"]

# Docstrings are written in plain text with Markdown's single backquotes.
default_role = "code"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88
python_use_unqualified_type_names = True
add_module_names = False

html_theme = "furo"
html_title = f"Backlight {version}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"top_of_page_buttons": []}
pygments_style, pygments_dark_style = "friendly", "native"

# Links to other sites are looked at by `make linkcheck` only: the site itself is built without a network.
linkcheck_timeout = 20
linkcheck_anchors = False

reference_pages.write_all(HERE / "reference" / "generated")


def _escape_bars(_app, _what, _name, _object, _options, lines):
    """Leave |x|, a magnitude, as it is outside of code: reStructuredText would look for a substitution."""
    lines[:] = [
        line if ">>>" in line else re.sub(r"(``.*?``|`[^`]*`)|\|", lambda found: found[1] or r"\|", line)
        for line in lines
    ]


def setup(app):
    """Change docstrings on their way into pages."""
    app.connect("autodoc-process-docstring", _escape_bars, priority=900)
