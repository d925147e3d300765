"""How Sphinx makes the site: `make docs`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from sphinx.domains.python import PyObject

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import notebook_pages  # noqa: E402
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

smartquotes = False  # it would make dashes of the options of commands

html_theme = "furo"
html_title = f"Backlight {version}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_theme_options = {"top_of_page_buttons": []}
highlight_language = "text"
pygments_style, pygments_dark_style = "friendly", "native"

# Links to other sites are looked at by `make linkcheck` only: the site itself is built without a network.
linkcheck_timeout = 20
linkcheck_anchors = False

reference_pages.write_all(HERE / "reference" / "generated")
notebook_pages.write_all(HERE.parent / "examples", HERE / "notebooks")

_COLON = "\ue000"  # of Unicode's private use: in no text


def _keep_colons(_app, what, _name, _object, _options, lines):
    """Keep colons of sentences where napoleon would take what is before them for a type: in what is returned."""
    is_kept = what in ("attribute", "data", "property")
    for i, line in enumerate(lines):
        if line and not line.startswith(" "):
            is_kept = is_kept and i == 0
        if is_kept:
            lines[i] = line.replace(":", _COLON)
        is_kept = is_kept or line == "Returns:"


def _finish(_app, _what, _name, _object, _options, lines):
    """Leave |x|, a magnitude, as it is outside of code: reStructuredText would look for a substitution."""
    lines[:] = [
        line if ">>>" in line else re.sub(r"(``.*?``|`[^`]*`)|\|", lambda found: found[1] or r"\|", line)
        for line in (line.replace(_COLON, ":") for line in lines)
    ]


def setup(app):
    """Change docstrings on their way into pages: before napoleon has read them (at 500), and after."""
    for field in PyObject.doc_field_types:
        if field.name == "variable":
            field.label = "Attributes"
    app.connect("autodoc-process-docstring", _keep_colons, priority=400)
    app.connect("autodoc-process-docstring", _finish, priority=900)
