"""Configuration of Sphinx: ``python -m sphinx -W docs docs/_build``."""

import colorcv

project = "colorcv"
author = "The colorcv developers"
copyright = author
release = version = colorcv.__version__
html_theme = "furo"
html_title = f"colorcv {release}"
html_static_path: list[str] = []
exclude_patterns = ["_build"]

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "myst_parser"]
napoleon_google_docstring = False
napoleon_use_param = napoleon_use_rtype = False  # types are shapes and ranges in words
autodoc_typehints = "none"  # docstrings give types with shapes and ranges
autodoc_member_order = "bysource"
default_role = "py:obj"
