"""How Sphinx builds this folder: `make docs`, or `sphinx-build -W -b html docs outputs/docs`."""

import re
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS))

from reference import write_pages  # noqa: E402

from featurefields import __version__  # noqa: E402 (after the path, as below)

project = "featurefields"
author = "the authors of featurefields"
copyright = "the authors of featurefields, Apache-2.0"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = f"featurefields {__version__}"
html_show_sphinx = False
pygments_style, pygments_dark_style = "friendly", "monokai"
suppress_warnings = ["myst.header"]  # a page may begin its sections one level deeper

autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True, "show-inheritance": False}
napoleon_numpy_docstring = False
napoleon_use_ivar = True

CODE = re.compile(r"(?<!`)`([^`]+)`(?!`)")


def plain_docstring(app, what, name, obj, options, lines: list[str]) -> None:
    """Our docstrings are plain text with `code`, not reStructuredText: what that would read as markup is text here."""
    for index, line in enumerate(lines):
        if line.lstrip().startswith((":", "..")):  # napoleon's fields
            continue
        pieces = CODE.split(line)
        plain = [re.sub(r"([*|]|(?<=\w)_(?=\W|$))", r"\\\1", piece) for piece in pieces[::2]]
        code = [f"``{piece}``" for piece in pieces[1::2]]
        woven = [piece for pair in zip(plain, [*code, ""], strict=True) for piece in pair]
        lines[index] = "".join(woven)


def setup(app) -> None:
    """Reference pages are written before Sphinx looks for pages; docstrings are read as plain text."""
    write_pages(DOCS / "_made")
    app.connect("autodoc-process-docstring", plain_docstring)
